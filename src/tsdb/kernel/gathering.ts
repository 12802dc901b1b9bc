/**
 * Gathering: from the bitmap that a match left to the ids of series with samples in a range, window by window of ids.
 * Each window touches the records of its series, which for a million of them takes tens of milliseconds.
 */
import type { Kernel } from './kernel.ts';
import { RESULT_EXTRAS, RESULT_SAMPLES_MAX, SB_IDS, SB_RESULT } from './layout.ts';
import { Matched } from './matched.ts';
import { RESULT } from './matching.ts';
import type { KernelSelection } from './selection.ts';
import { copyWords } from './words.ts';

export class Gathering {
  readonly #kernel: Kernel;
  readonly #fromMs: number;
  readonly #toMs: number;
  readonly #matched: Matched;
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
    this.#matched = new Matched(kernel);
  }

  /** Does one window; true if it was the last. */
  slice(): boolean {
    if (this.#matched.isOver) return true;
    this.#matched.openNext();
    const { u32, f64 } = this.#kernel;
    const ids = u32[SB_IDS >>> 2]!;
    const count = this.#kernel.collect(RESULT, this.#fromMs, this.#toMs, ids, 0) >>> 0;
    if (count > 0) {
      this.#parts.push(copyWords(u32, ids >>> 2, count));
      this.#samplesMax += f64[(SB_RESULT + RESULT_SAMPLES_MAX) >>> 3]!;
      this.#extras |= u32[(SB_RESULT + RESULT_EXTRAS) >>> 2]!;
    }
    return this.#matched.isOver;
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
}
