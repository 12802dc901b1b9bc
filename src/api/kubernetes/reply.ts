/** How answers leave: JSON (pretty for people), documents with an ETag, and every error as a `Status`. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { Document } from './discovery.ts';
import { AGGREGATED_TYPE, negotiate } from './negotiation.ts';
import { StatusError, statusBody, toStatusError } from './status.ts';

/** The first of repeated parameters, '' if there is none. A URL that cannot be read has no parameters at all. */
export function queryParameter(request: FastifyRequest, name: string): string {
  const parameters = request.query as Readonly<Record<string, string | readonly string[] | undefined>> | null;
  const value = parameters?.[name];
  return (typeof value === 'string' ? value : value?.[0]) ?? '';
}

/** Segments of the path, each decoded after splitting, so that `%2F` is no separator; null if one cannot be decoded. */
export function pathSegments(request: FastifyRequest): string[] | null {
  const [path = ''] = (request.raw.url ?? '').split('?');
  try {
    return path
      .split('/')
      .filter((segment, i, all) => segment !== '' || (i > 0 && i < all.length - 1))
      .map(decodeURIComponent);
  } catch {
    return null;
  }
}

export function sendPlain(request: FastifyRequest, reply: FastifyReply, body: object): FastifyReply {
  negotiate(request.headers.accept, ['json']);
  return sendJson(request, reply, body);
}

/** A kept document. Never 304: the aggregator falls back to these with the ETag of the aggregated one. */
export function sendDocument(request: FastifyRequest, reply: FastifyReply, { bytes }: Document): FastifyReply {
  negotiate(request.headers.accept, ['json']);
  if (isPretty(request)) return sendJson(request, reply, JSON.parse(bytes.toString('utf8')) as object);
  return reply.header('Content-Type', 'application/json').send(bytes);
}

/** A kept document whose ETag the client may name. */
export function sendCached(
  request: FastifyRequest,
  reply: FastifyReply,
  document: Document,
  type: string,
): FastifyReply {
  reply.header('ETag', document.etag).header('Cache-Control', 'public').header('Vary', 'Accept');
  if (request.headers['if-none-match'] === document.etag) return reply.code(304).send();
  return reply.header('Content-Type', type).send(document.bytes);
}

export function sendAggregated(request: FastifyRequest, reply: FastifyReply, document: Document): FastifyReply {
  return sendCached(request, reply, document, AGGREGATED_TYPE);
}

/** People read with curl; programs get it dense. */
export function sendJson(request: FastifyRequest, reply: FastifyReply, body: object): FastifyReply {
  const text = isPretty(request) ? `${JSON.stringify(body, null, 2)}\n` : JSON.stringify(body);
  return reply.header('Content-Type', 'application/json').send(text);
}

function isPretty(request: FastifyRequest): boolean {
  return (
    /^(?:curl|Wget|Mozilla\/5\.0)/.test(request.headers['user-agent'] ?? '') ||
    queryParameter(request, 'pretty') === 'true'
  );
}

/** kubectl prints it. */
export function warn(reply: FastifyReply, text: string): void {
  if (text !== '') reply.header('Warning', `299 - ${JSON.stringify(text.replace(/[^\x20-\x7e]/g, '?'))}`);
}

export function sendError(request: FastifyRequest, reply: FastifyReply, error: unknown, logger: Logger): FastifyReply {
  const status = toStatusError(error);
  if (status.httpStatus === 500 && !(error instanceof StatusError))
    logger.error({ err: error, url: request.url }, 'a request failed');
  reply.code(status.httpStatus).header('X-Content-Type-Options', 'nosniff');
  return sendJson(request, reply, statusBody(status));
}
