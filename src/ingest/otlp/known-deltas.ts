/**
 * Points of delta sums that are known by their bytes: what is added to which sum, without a word or an object each.
 *
 * An identity has a number; under it stands what the walk of its first point found out. A body is taken here only if each of
 * its delta points is a plain addition, none to the sum of another one; everything else (repeated, very late, a sum that was
 * forgotten) is walked, which tells them apart (delta.ts, walk.ts).
 */
import type { SeriesRef } from '../../tsdb/head.ts';
import { type DeltaSums, markOf, type Sum } from './delta.ts';
import type { Rows } from './identities.ts';
import {
  DELTA_BYTES,
  DELTA_ROW,
  DELTA_SLOT,
  DELTA_START,
  DELTA_TIME,
  ROW_BITS,
  ROW_BYTES,
  ROW_GENERATION,
  ROW_OUTCOME,
  ROW_SERIES,
  ROW_START,
  ROW_TIME,
} from './identity-layout.ts';
import { millisecondsOf } from './point.ts';

/** What is known of the points of an identity. */
export interface KnownDelta {
  /** Of the sum, and of who adds to it; see `DeltaSums.prepare`. */
  readonly key: string;
  readonly stream: number;
  /** Whether start timestamps say anything. */
  readonly hasStarts: boolean;
  /** Where the points are kept as they came; null if they are not. */
  readonly raw: SeriesRef | null;
  readonly rawGeneration: number;
}

const DELTA_WORDS = DELTA_BYTES >>> 2;
const ROW_WORDS = ROW_BYTES >>> 2;
/** Outcomes up to this one say that the sample is in the store: stored, or stored before. */
const OUTCOME_IN_STORE = 1;

export class KnownDeltas {
  readonly #sums: DeltaSums;
  /** By number; 0 is none. */
  readonly #known: (KnownDelta | null)[] = [null];
  /** Of the body in hand, an entry a point: its sum, and what that becomes. */
  #inHand: Sum[] = [];
  #totals = new Float64Array(0);
  #marks = new Float64Array(0);
  #bodies = 0;

  constructor(sums: DeltaSums) {
    this.#sums = sums;
  }

  /** The number that the next identity gets. */
  get next(): number {
    return this.#known.length;
  }

  set(number: number, known: KnownDelta): void {
    this.#known[number] = known;
  }

  clear(): void {
    this.#known.length = 1;
  }

  /**
   * Puts sums into the rows of points and gives the points back as rows of their own. Null, and nothing is to be stored of the
   * rows, if a point is more than an addition.
   */
  prepare(points: Uint32Array, rows: Rows): Rows | null {
    const count = points.length / DELTA_WORDS;
    if (this.#totals.length < count) {
      this.#totals = new Float64Array(count);
      this.#marks = new Float64Array(count);
    }
    this.#inHand.length = 0;
    this.#bodies++;
    const raw = new Uint8Array(count * ROW_BYTES);
    const [words, floats] = viewsOf(rows.bytes);
    const [rawWords, rawFloats] = viewsOf(raw);
    let rawCount = 0;
    for (let i = 0; i < count; i++) {
      const at = i * DELTA_WORDS;
      const known = this.#known[points[at + (DELTA_SLOT >>> 2)]!] ?? null;
      const row = points[at + (DELTA_ROW >>> 2)]! * ROW_WORDS;
      if (known === null || !this.#add(i, known, points, at, floats[(row >>> 1) + (ROW_BITS >>> 3)]!)) return null;
      if (known.raw !== null) {
        const rawRow = rawCount++ * ROW_WORDS;
        rawWords[rawRow + (ROW_SERIES >>> 2)] = known.raw;
        rawWords[rawRow + (ROW_GENERATION >>> 2)] = known.rawGeneration;
        rawFloats[(rawRow >>> 1) + (ROW_TIME >>> 3)] = floats[(row >>> 1) + (ROW_TIME >>> 3)]!;
        rawWords[rawRow + (ROW_BITS >>> 2)] = words[row + (ROW_BITS >>> 2)]!;
        rawWords[rawRow + (ROW_BITS >>> 2) + 1] = words[row + (ROW_BITS >>> 2) + 1]!;
      }
    }
    for (let i = 0; i < count; i++) {
      const row = points[i * DELTA_WORDS + (DELTA_ROW >>> 2)]! * ROW_WORDS;
      const sum = this.#inHand[i]!;
      const half = row >>> 1;
      const timeMs = floats[half + (ROW_TIME >>> 3)]!;
      const atMs = timeMs > sum.newestMs ? timeMs : sum.newestMs + 1;
      const known = this.#known[points[i * DELTA_WORDS + (DELTA_SLOT >>> 2)]!]!;
      const startMs = known.hasStarts ? millisecondsOf(sum.startLow, sum.startHigh) : 0;
      floats[half + (ROW_TIME >>> 3)] = atMs;
      floats[half + (ROW_BITS >>> 3)] = this.#totals[i]!;
      floats[half + (ROW_START >>> 3)] = startMs < atMs ? startMs : 0;
      words[row + (ROW_OUTCOME >>> 2)] = 0;
    }
    return { bytes: raw.subarray(0, rawCount * ROW_BYTES), count: rawCount };
  }

  /** Notes what the sum of a point becomes; false if that is not for here to say. */
  #add(i: number, { key, stream }: KnownDelta, points: Uint32Array, at: number, value: number): boolean {
    const time = points[at + (DELTA_TIME >>> 2) + 1]! * 0x100000000 + points[at + (DELTA_TIME >>> 2)]!;
    const mark = markOf(points[at + (DELTA_START >>> 2)]!, points[at + (DELTA_START >>> 2) + 1]!, stream);
    const sum = this.#sums.sumOf(key, time, mark);
    if (sum === null || sum.total.kind !== 'number' || sum.body === this.#bodies) return false;
    sum.body = this.#bodies;
    this.#inHand.push(sum);
    this.#totals[i] = sum.total.value + value;
    this.#marks[i] = mark;
    return true;
  }

  /** Adds the points whose sums were stored. */
  commit(points: Uint32Array, rows: Rows): void {
    const [words, floats] = viewsOf(rows.bytes);
    for (let i = 0; i < this.#inHand.length; i++) {
      const sum = this.#inHand[i]!;
      const at = i * DELTA_WORDS;
      const row = points[at + (DELTA_ROW >>> 2)]! * ROW_WORDS;
      if (words[row + (ROW_OUTCOME >>> 2)]! > OUTCOME_IN_STORE) continue;
      const time = points[at + (DELTA_TIME >>> 2) + 1]! * 0x100000000 + points[at + (DELTA_TIME >>> 2)]!;
      this.#sums.add(sum, this.#totals[i]!, floats[(row >>> 1) + (ROW_TIME >>> 3)]!, time, this.#marks[i]!);
    }
    this.#inHand.length = 0;
  }
}

/** The rows of points of delta sums. */
export function* rowsOf(points: Uint32Array): Generator<number> {
  for (let at = DELTA_ROW >>> 2; at < points.length; at += DELTA_WORDS) yield points[at]!;
}

function viewsOf({ buffer, byteOffset, byteLength }: Uint8Array): [words: Uint32Array, floats: Float64Array] {
  return [
    new Uint32Array(buffer, byteOffset, byteLength >>> 2),
    new Float64Array(buffer, byteOffset, byteLength >>> 3),
  ];
}
