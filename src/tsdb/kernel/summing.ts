/**
 * Summing: the newest values of what a match left, straight from the records. Nothing is kept of a series, so a million
 * of them are read once, and not copied where somebody writes meanwhile: the rest is added up before that.
 */
import type { NewestSum } from '../head.ts';
import type { Kernel } from './kernel.ts';
import { RESULT_EXTRAS, RESULT_READ_NEWEST, RESULT_READ_SAMPLES, SB_COLUMNS, SB_RESULT } from './layout.ts';
import { Matched } from './matched.ts';
import { RESULT } from './matching.ts';

export class Summing {
  readonly #kernel: Kernel;
  readonly #fromMs: number;
  readonly #toMs: number;
  readonly #matched: Matched;
  #series = 0;
  #sum = 0;
  #lost = 0;
  #samples = 0;
  #newestMs = -Infinity;
  #hasHistograms = false;

  /** Begins right after a match. */
  constructor(kernel: Kernel, fromMs: number, toMs: number) {
    this.#kernel = kernel;
    this.#fromMs = fromMs;
    this.#toMs = toMs;
    this.#matched = new Matched(kernel);
  }

  /** Does one window; true if it was the last. */
  slice(): boolean {
    if (this.#matched.isOver) return true;
    this.#matched.openNext();
    const { u32, f64 } = this.#kernel;
    const sums = u32[SB_COLUMNS >>> 2]!;
    f64[sums >>> 3] = this.#sum;
    f64[(sums >>> 3) + 1] = this.#lost;
    this.#series += this.#kernel.sumNewest(RESULT, this.#fromMs, this.#toMs, sums) >>> 0;
    this.#sum = f64[sums >>> 3]!;
    this.#lost = f64[(sums >>> 3) + 1]!;
    this.#samples += f64[(SB_RESULT + RESULT_READ_SAMPLES) >>> 3]!;
    this.#newestMs = Math.max(this.#newestMs, f64[(SB_RESULT + RESULT_READ_NEWEST) >>> 3]!);
    this.#hasHistograms ||= u32[(SB_RESULT + RESULT_EXTRAS) >>> 2] !== 0;
    return this.#hasHistograms || this.#matched.isOver;
  }

  /** Does what is left. */
  end(): void {
    while (!this.slice()) {
      // Each slice does a part.
    }
  }

  result(): NewestSum | null {
    if (this.#hasHistograms) return null;
    return {
      series: this.#series,
      sum: this.#sum,
      lost: this.#lost,
      samples: this.#samples,
      newestMs: this.#newestMs,
    };
  }
}
