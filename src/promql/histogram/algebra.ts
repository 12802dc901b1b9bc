/** Adding, subtracting, scaling and comparing histograms (reference section 9). Nothing here changes its operands. */
import { type Buckets, type FloatHistogram, NO_BUCKETS, RESET_HINT, type ResetHint } from '../../model/histogram.ts';
import { bucketsOf } from './buckets.ts';
import { commonLayout, conform, type Layout, type Side, sameBounds, sameLayout, widenedThreshold } from './layout.ts';

/** What came of two histograms, and what is to be said about it. */
export interface Combined {
  readonly histogram: FloatHistogram;
  /** One was known to be a reset, the other known to be none. */
  readonly conflict: boolean;
  /** Custom bounds differed; the ones both have are left. */
  readonly reconciled: boolean;
}

/** a + b, or null if one has custom buckets and the other exponential ones. */
export function add(a: FloatHistogram, b: FloatHistogram): Combined | null {
  return combine(a, b, 1);
}

/** a - b, or null; see {@link add}. */
export function subtract(a: FloatHistogram, b: FloatHistogram): Combined | null {
  return combine(a, b, -1);
}

function combine(a: FloatHistogram, b: FloatHistogram, sign: 1 | -1): Combined | null {
  const totals = {
    hint: commonHint(a.hint, b.hint),
    count: a.count + sign * b.count,
    sum: a.sum + sign * b.sum,
  };
  const conflict = hintsConflict(a.hint, b.hint);
  if (sameLayout(a, b)) return { histogram: { ...a, ...totals, ...pairwise(a, b, sign) }, conflict, reconciled: false };
  const layout = commonLayout(a, b);
  if (layout === null) return null;
  const left = conform(a, layout);
  const right = conform(b, layout);
  const histogram = {
    ...layout,
    ...totals,
    zeroCount: left.zeroCount + sign * right.zeroCount,
    positive: merged(left.positive, right.positive, sign),
    negative: merged(left.negative, right.negative, sign),
  };
  return { histogram, conflict, reconciled: !sameBounds(a.customValues, b.customValues) };
}

/** Fast path: the buckets of both are the same ones. */
function pairwise(
  a: FloatHistogram,
  b: FloatHistogram,
  sign: 1 | -1,
): Pick<FloatHistogram, 'zeroCount' | 'positive' | 'negative'> {
  return {
    zeroCount: a.zeroCount + sign * b.zeroCount,
    positive: pairwiseBuckets(a.positive, b.positive, sign),
    negative: pairwiseBuckets(a.negative, b.negative, sign),
  };
}

function pairwiseBuckets(a: Buckets, b: Buckets, sign: 1 | -1): Buckets {
  if (a.counts.length === 0) return a;
  const counts = new Float64Array(a.counts.length);
  for (let i = 0; i < counts.length; i++) counts[i] = a.counts[i]! + sign * b.counts[i]!;
  return { spans: a.spans, counts };
}

function merged(a: Side, b: Side, sign: 1 | -1): Buckets {
  const size = a.indexes.length + b.indexes.length;
  const indexes = new Int32Array(size);
  const counts = new Float64Array(size);
  let at = 0;
  for (let i = 0, j = 0; i < a.indexes.length || j < b.indexes.length; at++) {
    const left = i < a.indexes.length ? a.indexes[i]! : Infinity;
    const right = j < b.indexes.length ? b.indexes[j]! : Infinity;
    indexes[at] = Math.min(left, right);
    if (left <= right) counts[at]! += a.counts[i++]!;
    if (right <= left) counts[at]! += sign * b.counts[j++]!;
  }
  return bucketsOf(indexes.subarray(0, at), counts, false);
}

// ── Hints ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Equal hints stay; a gauge wins, then what is unknown; and nothing is known of a reset together with none. */
export function commonHint(a: ResetHint, b: ResetHint): ResetHint {
  if (a === b) return a;
  return a === RESET_HINT.gauge || b === RESET_HINT.gauge ? RESET_HINT.gauge : RESET_HINT.unknown;
}

function hintsConflict(a: ResetHint, b: ResetHint): boolean {
  return (a === RESET_HINT.reset && b === RESET_HINT.notReset) || (a === RESET_HINT.notReset && b === RESET_HINT.reset);
}

export function withHint(histogram: FloatHistogram, hint: ResetHint): FloatHistogram {
  return histogram.hint === hint ? histogram : { ...histogram, hint };
}

// ── Scalars ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The histogram times a number; a negative one makes it a gauge. */
export function multiply(histogram: FloatHistogram, factor: number): FloatHistogram {
  return mapCounts(histogram, (value) => value * factor, factor < 0);
}

/** The histogram divided by a number; division by 0 leaves no buckets. */
export function divide(histogram: FloatHistogram, divisor: number): FloatHistogram {
  const quotient = mapCounts(histogram, (value) => value / divisor, divisor < 0);
  return divisor === 0 ? { ...quotient, positive: NO_BUCKETS, negative: NO_BUCKETS } : quotient;
}

function mapCounts(h: FloatHistogram, change: (value: number) => number, isGauge: boolean): FloatHistogram {
  return {
    ...h,
    hint: isGauge ? RESET_HINT.gauge : h.hint,
    count: change(h.count),
    sum: change(h.sum),
    zeroCount: change(h.zeroCount),
    positive: { spans: h.positive.spans, counts: h.positive.counts.map(change) },
    negative: { spans: h.negative.spans, counts: h.negative.counts.map(change) },
  };
}

// ── Comparison ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** True if both say the same, bit by bit; what is known of resets does not matter. */
export function equal(a: FloatHistogram, b: FloatHistogram): boolean {
  return (
    sameLayout(a, b) &&
    Object.is(a.count, b.count) &&
    Object.is(a.sum, b.sum) &&
    Object.is(a.zeroCount, b.zeroCount) &&
    sameBounds(a.positive.counts, b.positive.counts) &&
    sameBounds(a.negative.counts, b.negative.counts)
  );
}

/** True if a counter cannot have come from `previous` to `current` without a reset, or is known to have had one. */
export function isReset(current: FloatHistogram, previous: FloatHistogram): boolean {
  if (current.hint === RESET_HINT.reset) return true;
  if (current.hint === RESET_HINT.notReset) return false;
  return decreased(current, previous);
}

/** Like {@link isReset}, from the counts alone. */
export function decreased(current: FloatHistogram, previous: FloatHistogram): boolean {
  if (current.count < previous.count) return true;
  if (sameLayout(current, previous)) return anyBelow(current, previous);
  const layout = commonLayout(current, previous);
  if (layout === null) return true;
  // A finer schema or a narrower zero bucket comes with a restart only.
  if (current.schema > previous.schema || current.zeroThreshold < previous.zeroThreshold) return true;
  if (widenedThreshold(previous, current.zeroThreshold) !== current.zeroThreshold) return true;
  return lostBuckets(current, previous, { ...layout, zeroThreshold: current.zeroThreshold });
}

function anyBelow(current: FloatHistogram, previous: FloatHistogram): boolean {
  if (current.zeroCount < previous.zeroCount) return true;
  return (
    current.positive.counts.some((count, i) => count < previous.positive.counts[i]!) ||
    current.negative.counts.some((count, i) => count < previous.negative.counts[i]!)
  );
}

function lostBuckets(current: FloatHistogram, previous: FloatHistogram, layout: Layout): boolean {
  const now = conform(current, layout);
  const before = conform(previous, layout);
  if (now.zeroCount < before.zeroCount) return true;
  return lost(now.positive, before.positive) || lost(now.negative, before.negative);
}

/** True if a bucket has fewer observations than before, or is gone with them. */
function lost(now: Side, before: Side): boolean {
  for (let i = 0, j = 0; j < before.indexes.length; j++) {
    while (i < now.indexes.length && now.indexes[i]! < before.indexes[j]!) i++;
    const found = i < now.indexes.length && now.indexes[i] === before.indexes[j];
    if (found ? now.counts[i]! < before.counts[j]! : before.counts[j] !== 0) return true;
  }
  return false;
}

/**
 * What the store may say of a sample right behind another: no reset, where both have one layout that only grew. Everything
 * else is unknown, as in Prometheus, whose chunks hold samples of one layout without a reset between them.
 */
export function hintAfter(current: FloatHistogram, previous: FloatHistogram | null): ResetHint {
  if (current.hint === RESET_HINT.gauge) return RESET_HINT.gauge;
  if (previous === null || previous.hint === RESET_HINT.gauge || current.hint === RESET_HINT.reset)
    return RESET_HINT.unknown;
  const comparable =
    current.schema === previous.schema &&
    current.zeroThreshold === previous.zeroThreshold &&
    sameBounds(current.customValues, previous.customValues);
  return comparable && !decreased(current, previous) ? RESET_HINT.notReset : RESET_HINT.unknown;
}
