/** The envelope of every reply, `{"status":…,"data":…}`, and coded errors in it. */
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError, type ErrorCode } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { describeError } from '../http.ts';
import { encodeString, PIECE_LENGTH } from './json.ts';

/** What a handler answers: the JSON text of `data` in pieces, and notes about it. */
export interface Answer {
  readonly data: Iterable<string>;
  readonly warnings?: readonly string[];
  readonly infos?: readonly string[];
}

/** Exactly this, without a charset: some clients compare. */
export const JSON_TYPE = 'application/json';
const TRUNCATED = 'results truncated due to limit';

/** An answer whose data is small and known as a value. */
export function plain(data: unknown): Answer {
  return { data: [JSON.stringify(data)] };
}

/** The first `limit` items (0 for all) under `encode`, with a warning if some were left out. */
export function limited<T>(
  items: readonly T[],
  limit: number,
  encode: (items: readonly T[]) => Iterable<string>,
): Answer {
  if (limit === 0 || items.length <= limit) return { data: encode(items) };
  return { data: encode(items.slice(0, limit)), warnings: [TRUNCATED] };
}

/** Warnings of a query, with the one about a limit in front if it cut the result. */
export function withTruncation(warnings: readonly string[], truncated: boolean): readonly string[] {
  return truncated ? [TRUNCATED, ...warnings] : warnings;
}

export function replyAnswer(reply: FastifyReply, answer: Answer): FastifyReply {
  return sendPieces(reply.code(200).type(JSON_TYPE), envelopeOf(answer));
}

/** Replies an error of any kind; what is not coded is logged, and its text is not told. */
export function replyFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, body } = describeFailure(error, request.log, request.routeOptions.url);
  return reply.code(status).type(JSON_TYPE).send(Buffer.from(body));
}

export function describeFailure(
  error: unknown,
  log: Pick<FastifyBaseLogger, 'error'>,
  path: string | undefined,
): { readonly status: number; readonly body: string } {
  const { status, text } = describeError(error);
  if (status === 500) log.error({ err: error, path }, 'request failed');
  const body = `{"status":"error","errorType":"${errorTypeOf(error, status)}","error":${encodeString(text)}}`;
  return { status, body };
}

const ERROR_TYPES: Partial<Record<ErrorCode, string>> = {
  query_failed: 'execution',
  query_too_large: 'execution',
  query_timeout: 'timeout',
  query_canceled: 'canceled',
  not_found: 'not_found',
  internal: 'internal',
};

function errorTypeOf(error: unknown, status: number): string {
  const known = error instanceof CodedError ? ERROR_TYPES[error.code] : undefined;
  if (known !== undefined) return known;
  if (status < 500) return 'bad_data';
  return status === 500 ? 'internal' : 'unavailable';
}

function* envelopeOf({ data, warnings = [], infos = [] }: Answer): Generator<string> {
  yield '{"status":"success","data":';
  yield* data;
  yield `${notes('warnings', 'warning', warnings)}${notes('infos', 'info', infos)}}`;
}

function notes(key: string, kind: string, texts: readonly string[]): string {
  if (texts.length === 0) return '';
  const max = LIMITS.queryAnnotationsMax;
  const shown =
    texts.length <= max ? texts : [...texts.slice(0, max), `${texts.length - max} more ${kind} annotations omitted`];
  return `,"${key}":[${shown.map(encodeString).join(',')}]`;
}

/** Sends what fits into one piece at once, and a longer text as a stream. */
function sendPieces(reply: FastifyReply, pieces: Iterator<string>): FastifyReply {
  const body = bodyOf(pieces);
  return reply.send(typeof body === 'string' ? Buffer.from(body) : body);
}

/** An answer in its envelope: its text if that fits into one piece, else a stream of it. */
export function bodyOfAnswer(answer: Answer): string | Readable {
  return bodyOf(envelopeOf(answer));
}

function bodyOf(pieces: Iterator<string>): string | Readable {
  let text = '';
  while (text.length < PIECE_LENGTH) {
    const next = pieces.next();
    if (next.done === true) return text;
    text += next.value;
  }
  return Readable.from(chunksOf(text, pieces), { objectMode: false, highWaterMark: PIECE_LENGTH });
}

/** Gives the loop back after each chunk, so that a long reply lets others in between. */
async function* chunksOf(begin: string, pieces: Iterator<string>): AsyncGenerator<Buffer> {
  let text = begin;
  for (let next = pieces.next(); next.done !== true; next = pieces.next()) {
    text += next.value;
    if (text.length < PIECE_LENGTH) continue;
    yield Buffer.from(text);
    text = '';
    await setImmediate();
  }
  yield Buffer.from(text);
}
