/** Replies under gzip or deflate, for clients that ask for it. */
import { pipeline, Readable } from 'node:stream';
import { promisify } from 'node:util';
import { constants, createDeflate, createGzip, deflate, gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';

export const ENCODERS = {
  gzip: { whole: promisify(gzip) as Whole, stream: createGzip },
  deflate: { whole: promisify(deflate) as Whole, stream: createDeflate },
} as const;
type Whole = (bytes: Buffer, options: typeof OPTIONS) => Promise<Buffer>;

/** Numbers compress nearly as well at the fastest level, and a reply must not hold up a core. */
export const OPTIONS = { level: constants.Z_BEST_SPEED };
/** Below this a reply fits into one packet anyway. */
export const BYTES_MIN = 1024;

/**
 * An `onSend` hook. `Vary` says in any case that the reply depends on what the client takes. What is not compressed goes on
 * at once, without a turn in which its client may go away.
 */
export function compressReply(
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  done: (error: Error | null, payload?: unknown) => void,
): void {
  addVary(reply, 'Accept-Encoding');
  const encoding = acceptedEncoding(request.headers['accept-encoding']);
  const encoder = encoding === null || reply.hasHeader('content-encoding') ? null : ENCODERS[encoding];
  if (encoder !== null && payload instanceof Readable) {
    reply.header('content-encoding', encoding).removeHeader('content-length');
    // A pipeline ends both sides when either ends early.
    done(
      null,
      pipeline(payload, encoder.stream(OPTIONS), () => {}),
    );
  } else if (encoder !== null && Buffer.isBuffer(payload) && payload.length >= BYTES_MIN) {
    encoder.whole(payload, OPTIONS).then((bytes) => {
      reply.header('content-encoding', encoding).header('content-length', bytes.length);
      done(null, bytes);
    }, done);
  } else done(null, payload);
}

/** Whichever comes first as a bare token; one with a quality is not recognised. (prometheus, util/httputil/compression.go) */
export function acceptedEncoding(header: string | readonly string[] | undefined): keyof typeof ENCODERS | null {
  for (const token of String(header ?? '').split(',')) {
    const name = token.trim();
    if (name === 'gzip' || name === 'deflate') return name;
  }
  return null;
}

export function addVary(reply: FastifyReply, name: string): void {
  const before = reply.getHeader('vary');
  reply.header('vary', before === undefined ? name : `${before}, ${name}`);
}
