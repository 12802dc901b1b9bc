/**
 * Gathering: from the bitmap that a match left to the ids of series with samples in a range, window by window of ids.
 *
 * Each window touches the records of its series, which for a million of them takes tens of milliseconds. Between two
 * windows others may use the query scratch, so the bitmap is kept aside, and put back part by part.
 */
import type { Kernel } from './kernel.ts';
import {
  RESULT_EXTRAS,
  RESULT_SAMPLES_MAX,
  SB_BITMAP_BYTES,
  SB_BITMAPS,
  SB_IDS,
  SB_RESULT,
  SB_WINDOW_HI,
  SB_WINDOW_LO,
} from './layout.ts';
import { RESULT } from './matching.ts';
import type { KernelSelection } from './selection.ts';
import { copyWords } from './words.ts';

/** Ids of one window; a multiple of 128, in which windows are counted. */
export const GATHERED_IDS = 16_384;

export class Gathering {
  readonly #kernel: Kernel;
  readonly #fromMs: number;
  readonly #toMs: number;
  /** Bits of the ids from #lo on; null while everything fits one window, which then is in place. */
  readonly #bits: Uint8Array | null;
  readonly #lo: number;
  readonly #hi: number;
  #next: number;
  readonly #parts: Uint32Array[] = [];
  #samplesMax = 0;
  #extras = 0;
  /** Made before its time because the store was about to be written. */
  selection: KernelSelection | null = null;

  /** Begins right after a match. */
  constructor(kernel: Kernel, fromMs: number, toMs: number) {
    this.#kernel = kernel;
    this.#fromMs = fromMs;
    this.#toMs = toMs;
    const { u32, u8 } = kernel;
    this.#lo = u32[SB_WINDOW_LO >>> 2]!;
    this.#hi = u32[SB_WINDOW_HI >>> 2]!;
    this.#next = this.#lo;
    const at = this.#bitmapAt(this.#lo);
    this.#bits = this.#hi - this.#lo <= GATHERED_IDS ? null : u8.slice(at, at + ((this.#hi - this.#lo) >>> 3));
  }

  /** Does one window; true if it was the last. */
  slice(): boolean {
    if (this.#next >= this.#hi) return true;
    const { u8, u32, f64 } = this.#kernel;
    const to = Math.min(this.#next + GATHERED_IDS, this.#hi);
    if (this.#bits !== null) {
      u8.set(this.#bits.subarray((this.#next - this.#lo) >>> 3, (to - this.#lo) >>> 3), this.#bitmapAt(this.#next));
      u32[SB_WINDOW_LO >>> 2] = this.#next;
      u32[SB_WINDOW_HI >>> 2] = to;
    }
    const ids = u32[SB_IDS >>> 2]!;
    const count = this.#kernel.collect(RESULT, this.#fromMs, this.#toMs, ids, 0) >>> 0;
    if (count > 0) {
      this.#parts.push(copyWords(u32, ids >>> 2, count));
      this.#samplesMax += f64[(SB_RESULT + RESULT_SAMPLES_MAX) >>> 3]!;
      this.#extras |= u32[(SB_RESULT + RESULT_EXTRAS) >>> 2]!;
    }
    this.#next = to;
    return to >= this.#hi;
  }

  /** Ids in ascending order, an upper bound of their samples, and what extras some of them have. */
  result(): [ids: Uint32Array, samplesMax: number, extras: number] {
    if (this.#parts.length === 1) return [this.#parts[0]!, this.#samplesMax, this.#extras];
    const ids = new Uint32Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      ids.set(part, at);
      at += part.length;
    }
    return [ids, this.#samplesMax, this.#extras];
  }

  #bitmapAt(id: number): number {
    const { u32 } = this.#kernel;
    return u32[SB_BITMAPS >>> 2]! + RESULT * u32[SB_BITMAP_BYTES >>> 2]! + (id >>> 3);
  }
}
