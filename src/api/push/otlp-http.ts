/**
 * OTLP metrics over HTTP. Replies and errors come in the content type of the request, as the protocol wants it.
 * Source: open-telemetry/opentelemetry-proto, docs/specification.md, "OTLP/HTTP".
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { inflateGzip } from './inflate.ts';
import { encodingOf, parseMediaType, rawBody, takeRawBodies } from './media.ts';
import { encodeExportResponse, encodeStatus, shorten } from './otlp-reply.ts';
import type { PushDeps } from './push.ts';
import { type Fault, faultOf } from './reply.ts';

const PROTOBUF = 'application/x-protobuf';
const JSON_TYPE = 'application/json';

/** The route, on a scope of its own: its parser and error handler reach no other route. */
export function registerOtlp(scope: FastifyInstance, url: string, { writer, logger }: PushDeps): void {
  takeRawBodies(scope, LIMITS.otlpBodyBytesMax);
  scope.setErrorHandler((error, request, reply) => {
    const fault = faultOf(error, logger);
    // What the writer itself threw is counted there.
    if (!request.writerCalled) writer.countRefused('otlp', fault.code);
    return sendStatus(request, reply, fault);
  });
  scope.post(url, {
    // Before the body is read: nobody should send megabytes to learn that their type is wrong.
    onRequest: async (request) => checkHeaders(request),
    handler: async (request, reply) => {
      const sent = rawBody(request.body);
      const isGzip = encodingOf(request.headers['content-encoding']) === 'gzip';
      const body = isGzip ? await inflateGzip(sent, LIMITS.otlpBodyBytesMax) : sent;
      request.writerCalled = true;
      const outcome = writer.otlp(body);
      return reply.code(200).type(PROTOBUF).send(encodeExportResponse(outcome));
    },
  });
}

function checkHeaders(request: FastifyRequest): void {
  const contentType = request.headers['content-type'];
  const { type } = parseMediaType(contentType);
  if (type === JSON_TYPE) {
    throw unsupported(
      `OTLP as JSON is not supported yet: got Content-Type ${JSON_TYPE}, want ${PROTOBUF} (protocol http/protobuf)`,
    );
  }
  if (type !== PROTOBUF)
    throw unsupported(`cannot take Content-Type: got ${JSON.stringify(contentType ?? '')}, want ${PROTOBUF}`);
  const encoding = encodingOf(request.headers['content-encoding']);
  if (!['', 'identity', 'gzip'].includes(encoding)) {
    throw unsupported(`cannot take Content-Encoding: got ${JSON.stringify(encoding)}, want gzip or none`);
  }
}

function sendStatus(request: FastifyRequest, reply: FastifyReply, fault: Fault): FastifyReply {
  reply.code(fault.httpStatus);
  if (parseMediaType(request.headers['content-type']).type === JSON_TYPE) {
    return reply.type(JSON_TYPE).send(JSON.stringify({ code: fault.grpcStatus, message: shorten(fault.message) }));
  }
  return reply.type(PROTOBUF).send(encodeStatus(fault.grpcStatus, fault.message));
}

function unsupported(message: string): CodedError {
  return new CodedError('unsupported_media_type', message);
}
