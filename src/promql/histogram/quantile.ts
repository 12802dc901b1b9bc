/**
 * What a histogram says of its observations: quantile, fraction, mean and deviation.
 * Source of the rules: prometheus/prometheus, promql/quantile.go (reference section 9).
 */
import { type FloatHistogram, hasCustomBuckets } from '../../model/histogram.ts';
import { KahanSum } from '../functions/sums.ts';
import { allBuckets, type BucketList, exponentialShare, middleOf, zeroRange } from './buckets.ts';

/** What is to be said of NaN observations: they are counted, but lie in no bucket. */
export type NanNote = 'nan' | 'skewed' | null;

export interface Quantile {
  readonly value: number;
  readonly note: NanNote;
}

export function histogramQuantile(q: number, histogram: FloatHistogram): Quantile {
  const { count, sum } = histogram;
  if (q < 0) return plain(-Infinity);
  if (q > 1) return plain(Infinity);
  if (count === 0 || Number.isNaN(q)) return plain(Number.NaN);
  const buckets = allBuckets(histogram);
  // From the nearer end, because counts may be inexact; but NaN observations count as if they lay above all others.
  const forward = Number.isNaN(sum) || q < 0.5;
  const rank = (forward ? q : 1 - q) * count;
  const { at, seen } = reach(buckets, rank, forward);
  if (Number.isNaN(sum)) {
    if (at < 0 || seen < rank) return { value: Number.NaN, note: 'nan' };
    const value = within(histogram, buckets, at, (rank - (seen - buckets.counts[at]!)) / buckets.counts[at]!);
    return { value, note: totalOf(buckets) < count ? 'skewed' : null };
  }
  if (at < 0) return plain(Number.NaN);
  const inBucket = buckets.counts[at]!;
  const reached = Math.min(seen, count);
  if (reached < rank) return plain(forward ? buckets.upper[at]! : buckets.lower[at]!);
  const share = (forward ? rank - (reached - inBucket) : reached - rank) / inBucket;
  return plain(within(histogram, buckets, at, share));
}

function plain(value: number): Quantile {
  return { value, note: null };
}

/** The populated bucket in which the rank is reached, or the last one; -1 if none is populated. */
function reach(buckets: BucketList, rank: number, forward: boolean): { at: number; seen: number } {
  const { size, counts } = buckets;
  let at = -1;
  let seen = 0;
  for (let i = 0; i < size; i++) {
    const bucket = forward ? i : size - 1 - i;
    if (counts[bucket] === 0) continue;
    at = bucket;
    seen += counts[bucket]!;
    if (seen >= rank) break;
  }
  return { at, seen };
}

function totalOf({ counts }: BucketList): number {
  return counts.reduce((total, count) => total + count, 0);
}

/** The value at a share of a bucket. */
function within(histogram: FloatHistogram, buckets: BucketList, at: number, share: number): number {
  let lower = buckets.lower[at]!;
  let upper = buckets.upper[at]!;
  const custom = hasCustomBuckets(histogram);
  if (custom) {
    if (lower === -Infinity) {
      if (upper <= 0) return upper;
      lower = 0;
    } else if (upper === Infinity) return lower;
  } else if (at === buckets.zero) [lower, upper] = zeroRange(histogram);
  if (custom || (lower <= 0 && upper >= 0)) return lower + (upper - lower) * share;
  const logLower = Math.log2(Math.abs(lower));
  const logUpper = Math.log2(Math.abs(upper));
  if (lower > 0) return 2 ** (logLower + (logUpper - logLower) * share);
  return -(2 ** (logUpper + (logLower - logUpper) * (1 - share)));
}

export interface Fraction {
  readonly value: number;
  /** True if there are NaN observations, which are in no fraction. */
  readonly hasNaN: boolean;
}

/** Share of the observations between two values. */
export function histogramFraction(lower: number, upper: number, histogram: FloatHistogram): Fraction {
  const { count, sum } = histogram;
  if (count === 0 || Number.isNaN(lower) || Number.isNaN(upper)) return { value: Number.NaN, hasNaN: false };
  const buckets = allBuckets(histogram);
  const hasNaN = Number.isNaN(sum) && totalOf(buckets) < count;
  if (lower >= upper) return { value: 0, hasNaN };
  const above = Math.min(count, rankOf(upper, histogram, buckets));
  const below = Math.min(count, rankOf(lower, histogram, buckets));
  return { value: (above - below) / count, hasNaN };
}

/** Observations below a value. */
function rankOf(value: number, histogram: FloatHistogram, buckets: BucketList): number {
  const custom = hasCustomBuckets(histogram);
  let rank = 0;
  for (let i = 0; i < buckets.size; i++) {
    let lower = buckets.lower[i]!;
    let upper = buckets.upper[i]!;
    const isZero = i === buckets.zero;
    if (isZero) [lower, upper] = zeroRange(histogram);
    // A first custom bucket begins at 0, unless it ends there or before: then it counts as a whole.
    if (custom && lower === -Infinity && upper > 0) lower = 0;
    if (lower >= value) return rank;
    if (value < upper) {
      if (lower === -Infinity && upper !== Infinity) return rank + buckets.counts[i]!;
      if (custom && upper === Infinity) return rank;
      const share = custom || isZero ? (value - lower) / (upper - lower) : exponentialShare(lower, upper, value);
      return rank + buckets.counts[i]! * share;
    }
    rank += buckets.counts[i]!;
  }
  return rank;
}

export function histogramAverage({ sum, count }: FloatHistogram): number {
  return sum / count;
}

/** Population variance, as if each observation lay in the middle of its bucket. */
export function histogramVariance(histogram: FloatHistogram): number {
  const buckets = allBuckets(histogram);
  const mean = histogramAverage(histogram);
  const total = new KahanSum();
  const custom = hasCustomBuckets(histogram);
  for (let i = 0; i < buckets.size; i++) {
    if (buckets.counts[i] === 0) continue;
    const lower = buckets.lower[i]!;
    const upper = buckets.upper[i]!;
    const middle = !custom && lower <= 0 && upper >= 0 ? 0 : middleOf(lower, upper, custom);
    total.add(buckets.counts[i]! * (middle - mean) ** 2);
  }
  return total.total / histogram.count;
}
