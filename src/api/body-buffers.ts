/**
 * Buffers for bodies that come in pieces, used again and again: a fresh one a request is what the collector is set off by.
 */

const BYTES_MIN = 64 * 1024;
/** Larger ones are made for one body. */
const BYTES_MAX = 1024 * 1024;
/** Kept of each size: as many bodies as are likely to be on their way at a time. */
const KEPT_MAX = 4;

export class BodyBuffers {
  readonly #kept = new Map<number, Buffer[]>();

  /** A buffer of at least so many bytes, with whatever was in it. */
  take(bytes: number): Buffer {
    if (bytes > BYTES_MAX) return Buffer.allocUnsafeSlow(bytes);
    const size = Math.max(BYTES_MIN, 2 ** Math.ceil(Math.log2(bytes)));
    return this.#kept.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
  }

  /** Takes back a buffer that nobody reads any more. */
  give(buffer: Buffer): void {
    const size = buffer.length;
    if (size > BYTES_MAX) return;
    const kept = this.#kept.get(size);
    if (kept === undefined) this.#kept.set(size, [buffer]);
    else if (kept.length < KEPT_MAX) kept.push(buffer);
  }
}
