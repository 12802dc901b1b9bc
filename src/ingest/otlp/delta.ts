/**
 * Delta temporality: points that say what was added since the one before become points of a running sum.
 *
 * One sum a series. A point that was seen before is not added again (senders repeat requests); a point that comes late,
 * after newer ones, is added all the same, and the new sum is stored right behind the newest sample, since samples that
 * are stored do not change. What is remembered is bounded: the last few points of a series, and series by number and by
 * time of silence. The start of the first point is the start of the sum.
 *
 * A point is looked at (`prepare`), stored by the caller, and added (`commit`) only if it was stored.
 */
import { deserialize, serialize } from 'node:v8';
import type { Clock } from '../../model/clock.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Reason } from '../reasons.ts';
import { addExponential, type Exponential, sizeRefusal } from './exponential.ts';
import { KIND, type Kind } from './messages.ts';
import type { Point } from './point.ts';
import { bucketsRefusal, exponentialOf, float64 } from './series.ts';

/** The running sum of a series after some point. That of numbers belongs to its sum alone; others are never changed in place. */
type Total =
  | { readonly kind: 'number'; value: number }
  | {
      readonly kind: 'histogram';
      readonly count: number;
      readonly hasSum: boolean;
      readonly sum: number;
      readonly bounds: Float64Array;
      readonly counts: Float64Array;
    }
  | { readonly kind: 'exponential'; readonly hasSum: boolean; readonly histogram: Exponential };

export interface Sum {
  total: Total;
  /** Start of the sum, as halves of its nanoseconds. */
  startLow: number;
  startHigh: number;
  /** Time of the newest sample that was stored of it. */
  newestMs: number;
  /** The remembered points, two numbers each: time, and start mixed with the stream. A ring. */
  readonly seen: Float64Array;
  points: number;
  usedMs: number;
  /** The body of known points that it was looked up for last. */
  body: number;
}

/** A point that may be added. */
export interface Prepared {
  readonly key: string;
  /** Null for a point that was added before: there is nothing to store. */
  readonly total: Total | null;
  /** When the sum is stored: the time of the point, or right behind the newest sample. */
  readonly timestampMs: number;
  readonly isRestart: boolean;
  readonly time: number;
  readonly mark: number;
}

const POINTS = LIMITS.deltaPointsRememberedMax;
/** Sums that are looked at for having fallen silent with each point; and when there is no room for another one. */
const LOOKED_AT = 2;
const LOOKED_AT_FULL = 64;

export class DeltaSums {
  readonly #clock: Clock;
  /** Those that were not looked at for long first; see #forgetIdle. */
  readonly #sums = new Map<string, Sum>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Series whose sums are remembered. */
  get count(): number {
    return this.#sums.size;
  }

  /** All sums as bytes, for `load` of another process. */
  save(): Uint8Array {
    return this.#sums.size === 0 ? new Uint8Array(0) : serialize({ bootMs: this.#bootMs, sums: this.#sums });
  }

  /** Takes the place of all sums. They are as long idle as they are by the wall clock. */
  load(bytes: Uint8Array): void {
    this.#sums.clear();
    if (bytes.length === 0) return;
    const saved = deserialize(bytes) as { readonly bootMs: number; readonly sums: ReadonlyMap<string, Sum> };
    const shiftMs = saved.bootMs - this.#bootMs;
    for (const [key, sum] of saved.sums) this.#sums.set(key, { ...sum, usedMs: sum.usedMs + shiftMs });
  }

  /** Where the monotonic clock began. */
  get #bootMs(): number {
    return this.#clock.nowMs() - this.#clock.monotonicMs();
  }

  /**
   * Looks at a delta point of the series named by `key`; `stream` tells the resources and scopes apart that write to it.
   * Changes nothing.
   */
  prepare(key: string, stream: number, kind: Kind, point: Point): Prepared | Reason {
    this.#forgetIdle(LOOKED_AT);
    const added = totalOf(kind, point);
    if (typeof added === 'string') return added;
    const time = point.timeHigh * 0x100000000 + point.timeLow;
    const mark = markOf(point.startLow, point.startHigh, stream);
    const { timestampMs } = point;
    const sum = this.#live(key);
    if (sum === undefined) {
      if (this.#sums.size >= LIMITS.deltaSeriesMax) this.#forgetIdle(LOOKED_AT_FULL);
      if (this.#sums.size >= LIMITS.deltaSeriesMax) return 'delta_series_limit';
      return { key, total: added, timestampMs, isRestart: true, time, mark };
    }
    if (wasSeen(sum, time, mark)) return { key, total: null, timestampMs, isRestart: false, time, mark };
    if (sum.points >= POINTS && time < oldestOf(sum)) return 'delta_too_late';
    const total = addTotals(sum.total, added);
    const atMs = timestampMs > sum.newestMs ? timestampMs : sum.newestMs + 1;
    return { key, total: total ?? added, timestampMs: atMs, isRestart: total === null, time, mark };
  }

  /** Puts the sum in the place of the point's own value, and its start in the place of the point's start. */
  fill({ key, total, isRestart }: Prepared, point: Point): void {
    if (total === null) return;
    const sum = this.#sums.get(key);
    if (!isRestart && sum !== undefined) {
      point.startLow = sum.startLow;
      point.startHigh = sum.startHigh;
    }
    fillTotal(total, point);
  }

  /** Adds a point whose sum was stored. `point` is the one that `fill` was called with. */
  commit({ key, total, timestampMs, isRestart, time, mark }: Prepared, point: Point): void {
    const known = this.#sums.get(key);
    const sum = known ?? newSum();
    if (known === undefined) this.#sums.set(key, sum);
    sum.usedMs = this.#clock.monotonicMs();
    if (total === null) return;
    if (isRestart) {
      sum.startLow = point.startLow;
      sum.startHigh = point.startHigh;
    }
    sum.total = total;
    note(sum, timestampMs, time, mark);
  }

  /** The sum of numbers that a point is simply added to; null if there is more to say about it. Changes nothing. */
  sumOf(key: string, time: number, mark: number): Sum | null {
    const sum = this.#live(key);
    if (sum === undefined || sum.total.kind !== 'number' || wasSeen(sum, time, mark)) return null;
    return sum.points >= POINTS && time < oldestOf(sum) ? null : sum;
  }

  /** Adds a point to a sum that `sumOf` gave: it is stored as `value` at `timestampMs`. */
  add(sum: Sum, value: number, timestampMs: number, time: number, mark: number): void {
    if (sum.total.kind !== 'number') return;
    sum.total.value = value;
    sum.usedMs = this.#clock.monotonicMs();
    note(sum, timestampMs, time, mark);
  }

  /** The sum of a series, unless it fell silent long ago. */
  #live(key: string): Sum | undefined {
    const sum = this.#sums.get(key);
    if (sum === undefined || sum.usedMs >= this.#clock.monotonicMs() - LIMITS.deltaIdleMsMax) return sum;
    this.#sums.delete(key);
    return undefined;
  }

  /** Forgets those of the next `count` sums that are idle; the others come last from then on. */
  #forgetIdle(count: number): void {
    const oldestMs = this.#clock.monotonicMs() - LIMITS.deltaIdleMsMax;
    for (const [key, sum] of this.#sums) {
      if (count-- === 0) return;
      this.#sums.delete(key);
      if (sum.usedMs >= oldestMs) this.#sums.set(key, sum);
    }
  }
}

function note(sum: Sum, timestampMs: number, time: number, mark: number): void {
  sum.newestMs = timestampMs;
  const at = 2 * (sum.points % POINTS);
  sum.seen[at] = time;
  sum.seen[at + 1] = mark;
  sum.points++;
}

function newSum(): Sum {
  return {
    total: { kind: 'number', value: 0 },
    startLow: 0,
    startHigh: 0,
    newestMs: -Infinity,
    seen: new Float64Array(2 * POINTS),
    points: 0,
    usedMs: 0,
    body: 0,
  };
}

/** Tells points of the same time apart: by their start, and by who sent them. */
export function markOf(startLow: number, startHigh: number, stream: number): number {
  const mixed = Math.imul(startLow ^ stream, 0x9e3779b1) ^ Math.imul(startHigh, 0x85ebca6b);
  return (mixed >>> 0) + (stream >>> 0) * 0x100000 + 1;
}

function wasSeen({ seen, points }: Sum, time: number, mark: number): boolean {
  const count = Math.min(points, POINTS);
  for (let i = 0; i < count; i++) if (seen[2 * i] === time && seen[2 * i + 1] === mark) return true;
  return false;
}

function oldestOf({ seen }: Sum): number {
  let oldest = Infinity;
  for (let i = 0; i < POINTS; i++) oldest = Math.min(oldest, seen[2 * i]!);
  return oldest;
}

/** What a point adds, or why it cannot be added. */
function totalOf(kind: Kind, point: Point): Total | Reason {
  if (kind === KIND.sum) {
    if (!point.hasValue) return 'value_unset';
    return { kind: 'number', value: float64(point.valueLow, point.valueHigh) };
  }
  const { hasSum } = point;
  if (kind === KIND.exponentialHistogram) {
    const received = exponentialOf(point);
    const { positive, negative } = received;
    const histogram = {
      ...received,
      positive: { ...positive, counts: [...positive.counts] },
      negative: { ...negative, counts: [...negative.counts] },
    };
    return sizeRefusal(received) ?? { kind: 'exponential', hasSum, histogram };
  }
  const { bounds, counts } = point;
  return (
    bucketsRefusal(point) ?? {
      kind: 'histogram',
      count: point.count,
      hasSum,
      sum: hasSum ? float64(point.sumLow, point.sumHigh) : 0,
      bounds: Float64Array.from(bounds.low, (low, i) => float64(low, bounds.high[i]!)),
      counts: Float64Array.from(counts.low, (low, i) => counts.high[i]! * 0x100000000 + low),
    }
  );
}

/** Null if they cannot be added: another kind or other bounds begin a new sum. */
function addTotals(a: Total, b: Total): Total | null {
  if (a.kind === 'number' && b.kind === 'number') return { kind: 'number', value: a.value + b.value };
  if (a.kind === 'exponential' && b.kind === 'exponential') {
    const histogram = addExponential(a.histogram, b.histogram);
    return { kind: 'exponential', hasSum: a.hasSum && b.hasSum, histogram };
  }
  if (a.kind !== 'histogram' || b.kind !== 'histogram' || !sameNumbers(a.bounds, b.bounds)) return null;
  if (a.counts.length !== b.counts.length) return null;
  return {
    ...a,
    count: a.count + b.count,
    hasSum: a.hasSum && b.hasSum,
    sum: a.sum + b.sum,
    counts: a.counts.map((count, i) => count + b.counts[i]!),
  };
}

function sameNumbers(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

const scratchFloat = new Float64Array(1);
const scratchHalves = new Uint32Array(scratchFloat.buffer);

function fillTotal(total: Total, point: Point): void {
  if (total.kind === 'number') {
    scratchFloat[0] = total.value;
    point.valueLow = scratchHalves[0]!;
    point.valueHigh = scratchHalves[1]!;
    return;
  }
  const { hasSum } = total;
  const { count, sum } = total.kind === 'histogram' ? total : total.histogram;
  point.count = count;
  point.hasSum = hasSum;
  scratchFloat[0] = sum;
  point.sumLow = scratchHalves[0]!;
  point.sumHigh = scratchHalves[1]!;
  if (total.kind === 'histogram') {
    point.counts.clear();
    for (const bucket of total.counts) point.counts.push(bucket % 0x100000000, Math.floor(bucket / 0x100000000));
    return;
  }
  const { scale, zeroCount, positive, negative } = total.histogram;
  point.scale = scale;
  point.zeroCount = zeroCount;
  point.positiveOffset = positive.offset;
  point.negativeOffset = negative.offset;
  point.positive = [...positive.counts];
  point.negative = [...negative.counts];
}
