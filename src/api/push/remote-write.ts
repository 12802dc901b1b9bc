/**
 * Remote write over HTTP, with the status codes of Prometheus: a sender repeats a request on 5xx for ever and never on
 * 4xx, so what can never succeed is a 400, and nothing is a 429.
 *
 * Replies to 1.0 carry no X-Prometheus-Remote-Write-*-Written headers: they are how a sender of 2.0 recognises a
 * receiver of 2.0 (prometheus/docs, docs/specs/prw/remote_write_spec_2_0.md).
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { type Answer, addHotRoute } from '../hot-route.ts';
import { encodingOf, parseMediaType } from './media.ts';
import type { PushDeps } from './push.ts';
import { faultOf } from './reply.ts';

const PATHS = ['/api/v1/write', '/api/v1/push', '/write'];
const PROTO_1 = 'prometheus.WriteRequest';
const PROTO_2 = 'io.prometheus.write.v2.Request';
const ALL_STORED: Answer = { status: 204 };

export function registerRemoteWrite(app: FastifyInstance, deps: PushDeps): void {
  const { writer, logger } = deps;
  for (const url of PATHS) {
    addHotRoute(app, {
      url,
      bodyBytesMax: LIMITS.remoteWriteBodyBytesMax,
      check: checkHeaders,
      answer: (body, request) => store(body, request, deps),
      refuse: (error) => {
        const { code, httpStatus, message } = faultOf(error, logger);
        writer.countRefused('remote_write', code);
        return { status: httpStatus, text: `${message}\n` };
      },
    });
  }
}

function store(body: Uint8Array, request: IncomingMessage, { writer, logger }: PushDeps): Answer {
  try {
    const { samplesRefused, message } = writer.remoteWrite(body, connectionOf(request.socket));
    return samplesRefused === 0 ? ALL_STORED : { status: 400, text: `${message}\n` };
  } catch (error) {
    // The writer has counted what it threw.
    const { httpStatus, message } = faultOf(error, logger);
    return { status: httpStatus, text: `${message}\n` };
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
function checkHeaders(headers: IncomingHttpHeaders): void {
  const contentType = headers['content-type'];
  // What every sender sends needs no parsing.
  if (contentType === 'application/x-protobuf' && headers['content-encoding'] === 'snappy') return;
  const { type, parameters } = parseMediaType(contentType);
  const proto = parameters.get('proto') ?? PROTO_1;
  if (proto === PROTO_2) {
    throw unsupported(`remote-write 2.0 is not supported yet: got proto ${proto}, want ${PROTO_1}`);
  }
  if ((type !== '' && type !== 'application/x-protobuf') || proto !== PROTO_1) {
    throw unsupported(`cannot take Content-Type: got ${JSON.stringify(contentType)}, want application/x-protobuf`);
  }
  const encoding = encodingOf(headers['content-encoding']);
  if (encoding !== '' && encoding !== 'snappy') {
    throw unsupported(`cannot take Content-Encoding: got ${JSON.stringify(encoding)}, want snappy`);
  }
}

function unsupported(message: string): CodedError {
  return new CodedError('unsupported_media_type', message);
}
