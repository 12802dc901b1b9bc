/** Decompression of bodies that came over HTTP. */
import { gunzip } from 'node:zlib';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { type Inflate, inflateWithin, TooMuchInflated } from '../inflating.ts';

/** Throws `body_too_large` or `bad_body`. */
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
    return await inflateWithin(body, bytesMax, inflate);
  } catch (cause) {
    if (cause instanceof TooMuchInflated) {
      const what = cause.bytesMax === null ? `${LIMITS.inflateRatioMax} times as many` : `${cause.bytesMax}`;
      throw new CodedError('body_too_large', `cannot take body: got more than ${what} bytes after decompression`, {
        cause,
      });
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError('bad_body', `cannot decompress ${encoding} body: ${reason}`, { cause });
  }
}
