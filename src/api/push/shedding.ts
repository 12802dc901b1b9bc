/**
 * Shedding load: what senders are told when it is too much, so that they send it again (a 503 with `Retry-After`, UNAVAILABLE
 * with RetryInfo; never a 429, on which Prometheus drops data), and a bound on the bodies that are in memory at a time.
 * Sources: prometheus/prometheus storage/remote/client.go; opentelemetry-proto docs/specification.md, "Throttling".
 */

import type { FastifyInstance, FastifyReply } from 'fastify';
import protobuf from 'protobufjs/minimal.js';
import { CodedError, GRPC } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';

const RETRY_SECONDS_MIN = 1;
const RETRY_SECONDS_MAX = 5;
/** What a body counts as whose length is not known. */
const UNKNOWN_BYTES = 2 ** 20;

/** A random time, so that those who are told to wait do not all come back at once. */
export function retrySeconds(): number {
  return RETRY_SECONDS_MIN + Math.floor(Math.random() * (RETRY_SECONDS_MAX - RETRY_SECONDS_MIN + 1));
}

/** Says when to come again, if this is a refusal for now. */
export function sayRetryAfter(reply: FastifyReply, httpStatus: number): void {
  if (httpStatus === 503) reply.header('retry-after', String(retrySeconds()));
}

/** The details of a gRPC refusal for now: google.rpc.Status with RetryInfo, as a trailer; none for any other status. */
export function retryInfo(grpcStatus: number, message: string): Readonly<Record<string, string>> {
  if (grpcStatus !== GRPC.unavailable) return {};
  // RetryInfo { 1 retry_delay: Duration { 1 seconds } } in Any { 1 type_url, 2 value } in Status { 1 code, 2 message, 3 details }
  const info = protobuf.Writer.create().uint32(0x0a).fork().uint32(0x08).int64(retrySeconds()).ldelim().finish();
  const status = protobuf.Writer.create().uint32(0x08).int32(grpcStatus).uint32(0x12).string(message);
  status.uint32(0x1a).fork().uint32(0x0a).string('type.googleapis.com/google.rpc.RetryInfo');
  status.uint32(0x12).bytes(info).ldelim();
  return { 'grpc-status-details-bin': Buffer.from(status.finish()).toString('base64') };
}

let bytesInFlight = 0;
let admitBody: (bytes: number) => void = () => {};

/** Has it asked before a body is received; it throws if there is no memory for it now. */
export function boundBodiesByMemory(admit: (bytes: number) => void): void {
  admitBody = admit;
}

/** Bytes of bodies that are being received or stored. */
export function bodyBytesInFlight(): number {
  return bytesInFlight;
}

/** Refuses a body of these routes before it is read, if those that are in memory already are too many. */
export function boundBodiesInFlight(scope: FastifyInstance): void {
  scope.addHook('onRequest', async (request, reply) => {
    // However it ends: answered, or gone.
    takeIntoFlight(request.headers['content-length'], (release) => reply.raw.once('close', release));
  });
}

/**
 * Counts a body in until what it gives to `whenOver` is called. Throws `overloaded` if those that are in memory already are
 * too many.
 */
export function takeIntoFlight(contentLength: string | undefined, whenOver: (release: () => void) => void): void {
  const announced = Number(contentLength);
  const bytes = Number.isFinite(announced) ? announced : UNKNOWN_BYTES;
  // One alone is always let in: its own limit bounds it.
  if (bytesInFlight > 0 && bytesInFlight + bytes > LIMITS.ingestBytesInFlightMax) {
    throw new CodedError(
      'overloaded',
      `cannot take body: ${bytesInFlight + bytes} bytes are being received, want at most ${LIMITS.ingestBytesInFlightMax}; send it again later`,
    );
  }
  admitBody(bytes);
  bytesInFlight += bytes;
  whenOver(() => {
    bytesInFlight -= bytes;
  });
}
