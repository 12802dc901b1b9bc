/** Decompression of bodies that came over HTTP. */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { CodedError } from '../../model/errors.ts';

const inflate = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(gunzip);

/**
 * Inflates piece by piece outside of the main thread and stops at the limit, so that a small body cannot become a flood.
 * Throws `body_too_large` or `bad_body`.
 */
export async function inflateGzip(body: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  try {
    return await inflate(body, { maxOutputLength: bytesMax });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new CodedError('body_too_large', `cannot take body: got more than ${bytesMax} bytes after decompression`, {
        cause,
      });
    }
    throw new CodedError('bad_body', `cannot decompress gzip body: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}
