/**
 * Decompression of what clients send: outside of the main thread, up to a limit and to a ratio, and only so many bytes at a
 * time over all clients. What is more waits for its turn: a small body must not become a flood, nor many of them together.
 */
import { LIMITS } from '../model/limits.ts';

/** A decompressor of `node:zlib`. */
export type Inflate = (
  body: Uint8Array,
  options: { maxOutputLength: number },
  done: (error: Error | null, inflated: Buffer) => void,
) => void;

/** More came out than may. */
export class TooMuchInflated extends Error {
  /** Null if it was the ratio. */
  readonly bytesMax: number | null;

  constructor(bytesMax: number | null, options: ErrorOptions) {
    super('more than may come out', options);
    this.bytesMax = bytesMax;
  }
}

interface Waiting {
  readonly bytes: number;
  begin(): void;
}

let bytesInUse = 0;
const waiting: Waiting[] = [];

/** Bytes that what is being decompressed may become. */
export function inflatingBytes(): number {
  return bytesInUse;
}

/** Rejects with {@link TooMuchInflated}, or with what the decompressor says. */
export async function inflateWithin(body: Uint8Array, bytesMax: number, inflate: Inflate): Promise<Buffer> {
  const byRatio = Math.max(LIMITS.inflateFreeBytes, body.length * LIMITS.inflateRatioMax);
  const maxOutputLength = Math.min(bytesMax, byRatio);
  await take(maxOutputLength);
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      inflate(body, { maxOutputLength }, (error, inflated) => (error === null ? resolve(inflated) : reject(error)));
    });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw cause;
    throw new TooMuchInflated(byRatio < bytesMax ? null : bytesMax, { cause });
  } finally {
    give(maxOutputLength);
  }
}

function fits(bytes: number): boolean {
  // One alone is always let in: its own limit bounds it.
  return bytesInUse === 0 || bytesInUse + bytes <= LIMITS.inflateBytesMax;
}

async function take(bytes: number): Promise<void> {
  if (waiting.length > 0 || !fits(bytes)) await new Promise<void>((begin) => waiting.push({ bytes, begin }));
  else bytesInUse += bytes;
}

function give(bytes: number): void {
  bytesInUse -= bytes;
  while (waiting.length > 0 && fits(waiting[0]!.bytes)) {
    const next = waiting.shift()!;
    bytesInUse += next.bytes;
    next.begin();
  }
}
