/** Decompression of bodies that came over HTTP. */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { CodedError } from '../../model/errors.ts';

/** A decompressor of `node:zlib`. */
export type Inflate = (
  body: Uint8Array,
  options: { maxOutputLength: number },
  done: (error: Error | null, inflated: Buffer) => void,
) => void;

/**
 * Inflates piece by piece outside of the main thread and stops at the limit, so that a small body cannot become a flood.
 * Throws `body_too_large` or `bad_body`.
 */
export function inflateGzip(body: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  return inflateBody(body, bytesMax, 'gzip', gunzip);
}

/** The same for any encoding that there is a decompressor for. */
export async function inflateBody(
  body: Uint8Array,
  bytesMax: number,
  encoding: string,
  inflate: Inflate,
): Promise<Uint8Array> {
  try {
    return await promisify<Uint8Array, { maxOutputLength: number }, Buffer>(inflate)(body, {
      maxOutputLength: bytesMax,
    });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new CodedError('body_too_large', `cannot take body: got more than ${bytesMax} bytes after decompression`, {
        cause,
      });
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError('bad_body', `cannot decompress ${encoding} body: ${reason}`, { cause });
  }
}
