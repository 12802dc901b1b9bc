/** Replies under gzip or deflate, for clients that ask for it. */
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { constants, createDeflate, createGzip, deflate, gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';

const ENCODERS = {
  gzip: { whole: promisify(gzip) as Whole, stream: createGzip },
  deflate: { whole: promisify(deflate) as Whole, stream: createDeflate },
} as const;
type Whole = (bytes: Buffer, options: typeof OPTIONS) => Promise<Buffer>;

/** Numbers compress nearly as well at the fastest level, and a reply must not hold up a core. */
const OPTIONS = { level: constants.Z_BEST_SPEED };
/** Below this a reply fits into one packet anyway. */
const BYTES_MIN = 1024;

/** An `onSend` hook. `Vary` says in any case that the reply depends on what the client takes. */
export async function compressReply(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  addVary(reply, 'Accept-Encoding');
  const encoding = acceptedEncoding(request.headers['accept-encoding']);
  if (encoding === null || reply.hasHeader('content-encoding')) return payload;
  const encoder = ENCODERS[encoding];
  if (payload instanceof Readable) {
    reply.header('content-encoding', encoding).removeHeader('content-length');
    return payload.pipe(encoder.stream(OPTIONS)).once('close', () => payload.destroy());
  }
  if (!Buffer.isBuffer(payload) || payload.length < BYTES_MIN) return payload;
  const bytes = await encoder.whole(payload, OPTIONS);
  reply.header('content-encoding', encoding).header('content-length', bytes.length);
  return bytes;
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
