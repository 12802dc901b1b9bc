/**
 * OTLP metrics over HTTP, as protobuf or JSON. Replies and errors come in the content type of the request, as the protocol
 * wants it.
 * Source: open-telemetry/opentelemetry-proto, docs/specification.md, "OTLP/HTTP".
 */
import * as zlib from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { identityOf } from '../access.ts';
import type { Inflate } from '../inflating.ts';
import { described } from '../openapi.ts';
import { TURN_BUDGET } from '../turn.ts';
import { OTLP } from './described.ts';
import { inflateBody } from './inflate.ts';
import { encodingOf, parseMediaType, rawBody, takeRawBodies } from './media.ts';
import { encodeExportResponse, encodeStatus, exportResponseJson, shorten } from './otlp-reply.ts';
import type { PushDeps } from './push.ts';
import { type Fault, faultOf } from './reply.ts';
import { senderOfRequest } from './sender.ts';
import { boundBodiesInFlight, sayRetryAfter } from './shedding.ts';

const PROTOBUF = 'application/x-protobuf';
const JSON_TYPE = 'application/json';

/** Node has zstd from 22.15 and 23.8 on. */
const { zstdDecompress } = zlib as { readonly zstdDecompress?: Inflate };
/** What senders' encoders use at most; a window of its own size would be set aside at once. */
const ZSTD_WINDOW_LOG_MAX = 25;
const { ZSTD_d_windowLogMax: windowLogMax = 0 } = zlib.constants as { readonly ZSTD_d_windowLogMax?: number };
const unzstd = (decompress: Inflate): Inflate => {
  return (body, options, done) =>
    decompress(body, { ...options, ...{ params: { [windowLogMax]: ZSTD_WINDOW_LOG_MAX } } }, done);
};
const INFLATE: Readonly<Record<string, Inflate>> = {
  gzip: zlib.gunzip,
  ...(zstdDecompress && { zstd: unzstd(zstdDecompress) }),
};

/** The route, on a scope of its own: its parser and error handler reach no other route. */
export function registerOtlp(scope: FastifyInstance, url: string, { writer, logger }: PushDeps): void {
  takeRawBodies(scope, LIMITS.otlpBodyBytesMax);
  boundBodiesInFlight(scope);
  scope.setErrorHandler((error, request, reply) => {
    const fault = faultOf(error, logger);
    // What the writer itself threw is counted there.
    if (!request.writerCalled) {
      writer.countRefused('otlp', fault.code, fault.message, senderOfRequest(request, 'otlp', writer));
    }
    return sendStatus(request, reply, fault);
  });
  scope.post(url, {
    schema: described(OTLP),
    // Before the body is read: nobody should send megabytes to learn that their type is wrong.
    onRequest: async (request) => checkHeaders(request),
    handler: async (request, reply) => {
      const encoding = encodingOf(request.headers['content-encoding']);
      const sent = rawBody(request.body);
      const inflate = Object.hasOwn(INFLATE, encoding) ? INFLATE[encoding] : undefined;
      const body = inflate === undefined ? sent : await inflateBody(sent, LIMITS.otlpBodyBytesMax, encoding, inflate);
      request.writerCalled = true;
      const { namespace } = identityOf(request);
      const sender = senderOfRequest(request, 'otlp', writer);
      const outcome = await TURN_BUDGET.do(() =>
        isJson(request) ? writer.otlpJson(body, namespace, sender) : writer.otlp(body, namespace, sender),
      );
      if (outcome.logged !== undefined) await outcome.logged;
      if (isJson(request)) return reply.code(200).type(JSON_TYPE).send(exportResponseJson(outcome));
      return reply.code(200).type(PROTOBUF).send(encodeExportResponse(outcome));
    },
  });
}

function isJson(request: FastifyRequest): boolean {
  return parseMediaType(request.headers['content-type']).type === JSON_TYPE;
}

function checkHeaders(request: FastifyRequest): void {
  const contentType = request.headers['content-type'];
  const { type } = parseMediaType(contentType);
  if (type !== PROTOBUF && type !== JSON_TYPE) {
    throw unsupported(
      `cannot take Content-Type: got ${JSON.stringify(contentType ?? '')}, want ${PROTOBUF} or ${JSON_TYPE}`,
    );
  }
  const encoding = encodingOf(request.headers['content-encoding']);
  if (encoding === '' || encoding === 'identity' || Object.hasOwn(INFLATE, encoding)) return;
  const why = encoding === 'zstd' ? `; Node ${process.versions.node} has no zstd` : '';
  const taken = Object.keys(INFLATE).join(', ');
  throw unsupported(`cannot take Content-Encoding: got ${JSON.stringify(encoding)}, want ${taken} or none${why}`);
}

function sendStatus(request: FastifyRequest, reply: FastifyReply, fault: Fault): FastifyReply {
  reply.code(fault.httpStatus);
  sayRetryAfter(reply, fault.httpStatus);
  if (isJson(request)) {
    return reply.type(JSON_TYPE).send(JSON.stringify({ code: fault.grpcStatus, message: shorten(fault.message) }));
  }
  return reply.type(PROTOBUF).send(encodeStatus(fault.grpcStatus, fault.message));
}

function unsupported(message: string): CodedError {
  return new CodedError('unsupported_media_type', message);
}
