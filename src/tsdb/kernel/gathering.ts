/**
 * Gathering: from the bitmap that a match left to the ids of series with samples in a range, window by window of ids.
 * Each window touches the records of its series, which for a million of them takes tens of milliseconds.
 */
import type { IdLists } from './id-lists.ts';
import type { Kernel } from './kernel.ts';
import { RESULT_EXTRAS, RESULT_SAMPLES_MAX, SB_IDS, SB_RESULT } from './layout.ts';
import { Matched } from './matched.ts';
import { RESULT } from './matching.ts';
import type { KernelSelection } from './selection.ts';
import { copyWords, SHORT_MAX } from './words.ts';

export class Gathering {
  readonly #kernel: Kernel;
  readonly #fromMs: number;
  readonly #toMs: number;
  readonly #matched: Matched;
  readonly #lists: IdLists;
  #ids: Uint32Array = NO_IDS;
  #count = 0;
  #samplesMax = 0;
  #extras = 0;
  /** Made before its time because the store was about to be written. */
  selection: KernelSelection | null = null;

  /** Begins right after a match. */
  constructor(kernel: Kernel, lists: IdLists, fromMs: number, toMs: number) {
    this.#kernel = kernel;
    this.#lists = lists;
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
      this.#add(u32, ids >>> 2, count);
      this.#samplesMax += f64[(SB_RESULT + RESULT_SAMPLES_MAX) >>> 3]!;
      this.#extras |= u32[(SB_RESULT + RESULT_EXTRAS) >>> 2]!;
    }
    return this.#matched.isOver;
  }

  /** Ids in ascending order, an upper bound of their samples, and what extras some of them have. */
  result(): [ids: Uint32Array, samplesMax: number, extras: number] {
    return [this.#ids.subarray(0, this.#count), this.#samplesMax, this.#extras];
  }

  /** Puts its ids away; nobody has asked for the result. */
  drop(): void {
    this.#lists.give(this.#ids);
    this.#ids = NO_IDS;
    this.#count = 0;
  }

  #add(words: Uint32Array, at: number, count: number): void {
    const sum = this.#count + count;
    if (sum <= SHORT_MAX && this.#count === 0) this.#ids = copyWords(words, at, count);
    else {
      if (sum > this.#ids.length) this.#grow(sum);
      this.#ids.set(words.subarray(at, at + count), this.#count);
    }
    this.#count = sum;
  }

  #grow(wordsMin: number): void {
    const list = this.#lists.take(wordsMin);
    list.set(this.#ids.subarray(0, this.#count));
    this.#lists.give(this.#ids);
    this.#ids = list;
  }
}

const NO_IDS: Uint32Array = new Uint32Array(0);
