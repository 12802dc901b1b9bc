/**
 * Remote write over HTTP, with the status codes of Prometheus: a sender repeats a request on 5xx for ever and never on
 * 4xx, so what can never succeed is a 400, and nothing is a 429.
 *
 * Replies to 1.0 carry no X-Prometheus-Remote-Write-*-Written headers: they are how a sender of 2.0 recognises a
 * receiver of 2.0 (prometheus/docs, docs/specs/prw/remote_write_spec_2_0.md).
 */
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { encodingOf, parseMediaType, rawBody, takeRawBodies } from './media.ts';
import type { PushDeps } from './push.ts';
import { faultOf } from './reply.ts';
import { boundBodiesInFlight, sayRetryAfter } from './shedding.ts';

const PATHS = ['/api/v1/write', '/api/v1/push', '/write'];
const PROTO_1 = 'prometheus.WriteRequest';
const PROTO_2 = 'io.prometheus.write.v2.Request';

/** The routes, on a scope of their own: its parser and error handler reach no other route. */
export function registerRemoteWrite(scope: FastifyInstance, { writer, logger }: PushDeps): void {
  takeRawBodies(scope, LIMITS.remoteWriteBodyBytesMax);
  boundBodiesInFlight(scope);
  scope.setErrorHandler((error, _request, reply) => {
    const fault = faultOf(error, logger);
    // What the writer itself threw is counted there.
    if (!reply.request.writerCalled) writer.countRefused('remote_write', fault.code);
    sayRetryAfter(reply, fault.httpStatus);
    return reply.code(fault.httpStatus).type('text/plain; charset=utf-8').send(`${fault.message}\n`);
  });
  for (const url of PATHS) {
    scope.post(url, {
      // Before the body is read: nobody should send megabytes to learn that their type is wrong.
      onRequest: async (request) => checkHeaders(request.headers['content-type'], request.headers['content-encoding']),
      handler: async (request, reply) => {
        request.writerCalled = true;
        const outcome = writer.remoteWrite(rawBody(request.body), connectionOf(request.raw.socket));
        if (outcome.logged !== undefined) await outcome.logged;
        if (outcome.samplesRefused === 0) return reply.code(204).send();
        return reply.code(400).type('text/plain; charset=utf-8').send(`${outcome.message}\n`);
      },
    });
  }
}

const connections = new WeakMap<Socket, number>();
let connectionsSeen = 0;

/** A number for a connection: a sender repeats the order of its series over each of its connections. */
function connectionOf(socket: Socket): number {
  let connection = connections.get(socket);
  if (connection === undefined) {
    connection = ++connectionsSeen;
    connections.set(socket, connection);
  }
  return connection;
}

/** Throws `unsupported_media_type` unless this is remote-write 1.0; absent headers are taken as such. */
function checkHeaders(contentType: string | undefined, contentEncoding: string | undefined): void {
  const { type, parameters } = parseMediaType(contentType);
  const proto = parameters.get('proto') ?? PROTO_1;
  if (proto === PROTO_2) {
    throw unsupported(`remote-write 2.0 is not supported yet: got proto ${proto}, want ${PROTO_1}`);
  }
  if ((type !== '' && type !== 'application/x-protobuf') || proto !== PROTO_1) {
    throw unsupported(`cannot take Content-Type: got ${JSON.stringify(contentType)}, want application/x-protobuf`);
  }
  const encoding = encodingOf(contentEncoding);
  if (encoding !== '' && encoding !== 'snappy') {
    throw unsupported(`cannot take Content-Encoding: got ${JSON.stringify(encoding)}, want snappy`);
  }
}

function unsupported(message: string): CodedError {
  return new CodedError('unsupported_media_type', message);
}
