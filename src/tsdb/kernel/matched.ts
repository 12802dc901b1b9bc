/**
 * What a match left, window by window of ids. Between two windows others may use the query scratch, so the bitmap is kept
 * aside, and put back part by part.
 */
import type { Kernel } from './kernel.ts';
import { SB_BITMAP_BYTES, SB_BITMAPS, SB_WINDOW_HI, SB_WINDOW_LO } from './layout.ts';
import { RESULT } from './matching.ts';

/** Ids of one window; a multiple of 128, in which windows are counted. */
export const WINDOW_IDS = 16_384;

export class Matched {
  readonly #kernel: Kernel;
  /** Bits of the ids from #lo on; null while everything fits one window, which then is in place. */
  readonly #bits: Uint8Array | null;
  readonly #lo: number;
  readonly #hi: number;
  #next: number;

  /** Begins right after a match. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    const { u32, u8 } = kernel;
    this.#lo = u32[SB_WINDOW_LO >>> 2]!;
    this.#hi = u32[SB_WINDOW_HI >>> 2]!;
    this.#next = this.#lo;
    const at = this.#bitmapAt(this.#lo);
    this.#bits = this.#hi - this.#lo <= WINDOW_IDS ? null : u8.slice(at, at + ((this.#hi - this.#lo) >>> 3));
  }

  /** True if every window was opened. */
  get isOver(): boolean {
    return this.#next >= this.#hi;
  }

  /** Puts the next window in place; there must be one. */
  openNext(): void {
    const { u8, u32 } = this.#kernel;
    const to = Math.min(this.#next + WINDOW_IDS, this.#hi);
    if (this.#bits !== null) {
      u8.set(this.#bits.subarray((this.#next - this.#lo) >>> 3, (to - this.#lo) >>> 3), this.#bitmapAt(this.#next));
      u32[SB_WINDOW_LO >>> 2] = this.#next;
      u32[SB_WINDOW_HI >>> 2] = to;
    }
    this.#next = to;
  }

  #bitmapAt(id: number): number {
    const { u32 } = this.#kernel;
    return u32[SB_BITMAPS >>> 2]! + RESULT * u32[SB_BITMAP_BYTES >>> 2]! + (id >>> 3);
  }
}
