/**
 * OTLP metrics over HTTP. Replies and errors come in the content type of the request, as the protocol wants it.
 * Source: open-telemetry/opentelemetry-proto, docs/specification.md, "OTLP/HTTP".
 */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { encodingOf, parseMediaType, rawBody, takeRawBodies } from './media.ts';
import { encodeExportResponse, encodeStatus, shorten } from './otlp-reply.ts';
import type { PushDeps } from './push.ts';
import { type Fault, faultOf } from './reply.ts';
import { boundBodiesInFlight, sayRetryAfter } from './shedding.ts';

const PROTOBUF = 'application/x-protobuf';
const JSON_TYPE = 'application/json';
const inflate = promisify<Buffer | Uint8Array, { maxOutputLength: number }, Buffer>(gunzip);

/** The route, on a scope of its own: its parser and error handler reach no other route. */
export function registerOtlp(scope: FastifyInstance, url: string, { writer, logger }: PushDeps): void {
  takeRawBodies(scope, LIMITS.otlpBodyBytesMax);
  boundBodiesInFlight(scope);
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
      const body = await decompress(rawBody(request.body), encodingOf(request.headers['content-encoding']));
      request.writerCalled = true;
      const outcome = writer.otlp(body);
      if (outcome.logged !== undefined) await outcome.logged;
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

/** Inflates piece by piece outside of the main thread and stops at the limit, so that a small body cannot become a flood. */
async function decompress(body: Uint8Array, encoding: string): Promise<Uint8Array> {
  if (encoding !== 'gzip') return body;
  try {
    return await inflate(body, { maxOutputLength: LIMITS.otlpBodyBytesMax });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new CodedError(
        'body_too_large',
        `cannot take body: got more than ${LIMITS.otlpBodyBytesMax} bytes after decompression`,
        { cause },
      );
    }
    throw new CodedError('bad_body', `cannot decompress gzip body: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

function sendStatus(request: FastifyRequest, reply: FastifyReply, fault: Fault): FastifyReply {
  reply.code(fault.httpStatus);
  sayRetryAfter(reply, fault.httpStatus);
  if (parseMediaType(request.headers['content-type']).type === JSON_TYPE) {
    return reply.type(JSON_TYPE).send(JSON.stringify({ code: fault.grpcStatus, message: shorten(fault.message) }));
  }
  return reply.type(PROTOBUF).send(encodeStatus(fault.grpcStatus, fault.message));
}

function unsupported(message: string): CodedError {
  return new CodedError('unsupported_media_type', message);
}
