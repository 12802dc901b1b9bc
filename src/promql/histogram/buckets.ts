/** Walking over buckets, and making them: from spans to indexes and back, and all buckets of a histogram in order. */
import { type Buckets, type FloatHistogram, hasCustomBuckets, NO_BUCKETS } from '../../model/histogram.ts';
import { bucketBound } from './bounds.ts';

/** Index of each bucket, ascending. `result.length === buckets.counts.length`. */
export function indexesOf({ spans, counts }: Buckets): Int32Array {
  const indexes = new Int32Array(counts.length);
  let index = 0;
  for (let span = 0, i = 0; span < spans.length; span += 2) {
    index += spans[span]!;
    for (let end = i + spans[span + 1]!; i < end; i++) indexes[i] = index++;
  }
  return indexes;
}

/** Buckets from ascending indexes; with `compact`, empty ones are left out. */
export function bucketsOf(indexes: Int32Array, counts: Float64Array, compact: boolean): Buckets {
  const kept = new Float64Array(indexes.length);
  const spans: number[] = [];
  let size = 0;
  let next = 0;
  for (let i = 0; i < indexes.length; i++) {
    const count = counts[i]!;
    if (compact && count === 0) continue;
    const index = indexes[i]!;
    if (size > 0 && index === next) spans[spans.length - 1]!++;
    else spans.push(index - next, 1);
    next = index + 1;
    kept[size++] = count;
  }
  if (size === 0) return NO_BUCKETS;
  return { spans: Int32Array.from(spans), counts: kept.subarray(0, size) };
}

/** The histogram without its empty buckets. */
export function compact(histogram: FloatHistogram): FloatHistogram {
  const { positive, negative } = histogram;
  if (!hasEmpty(positive) && !hasEmpty(negative)) return histogram;
  return {
    ...histogram,
    positive: bucketsOf(indexesOf(positive), positive.counts, true),
    negative: bucketsOf(indexesOf(negative), negative.counts, true),
  };
}

function hasEmpty({ counts, spans }: Buckets): boolean {
  return counts.includes(0) || (counts.length === 0 && spans.length > 0);
}

/** Buckets in ascending order, by columns. */
export interface BucketList {
  readonly size: number;
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  readonly counts: Float64Array;
  /** Position of the zero bucket, or -1 if it is empty. */
  readonly zero: number;
}

/** All buckets: negative, zero, positive. What the zero bucket overlaps is clipped to its threshold. */
export function allBuckets(histogram: FloatHistogram): BucketList {
  const { schema, positive, negative, customValues, zeroThreshold, zeroCount } = histogram;
  const hasZero = zeroCount !== 0;
  const size = positive.counts.length + negative.counts.length + (hasZero ? 1 : 0);
  const list = {
    size,
    lower: new Float64Array(size),
    upper: new Float64Array(size),
    counts: new Float64Array(size),
    zero: hasZero ? negative.counts.length : -1,
  };
  const below = indexesOf(negative);
  let at = 0;
  for (let i = below.length - 1; i >= 0; i--, at++) {
    list.lower[at] = -bucketBound(below[i]!, schema, customValues);
    list.upper[at] = Math.min(-zeroThreshold, -bucketBound(below[i]! - 1, schema, customValues));
    list.counts[at] = negative.counts[i]!;
  }
  if (hasZero) {
    list.lower[at] = -zeroThreshold;
    list.upper[at] = zeroThreshold;
    list.counts[at++] = zeroCount;
  }
  const custom = hasCustomBuckets(histogram);
  const above = indexesOf(positive);
  for (let i = 0; i < above.length; i++, at++) {
    const lower = bucketBound(above[i]! - 1, schema, customValues);
    list.lower[at] = custom ? lower : Math.max(zeroThreshold, lower);
    list.upper[at] = bucketBound(above[i]!, schema, customValues);
    list.counts[at] = positive.counts[i]!;
  }
  return list;
}

/**
 * Where the zero bucket begins and ends for interpolation: with positive buckets only it is taken to begin at 0, with
 * negative ones only to end there.
 */
export function zeroRange({ positive, negative, zeroThreshold }: FloatHistogram): readonly [number, number] {
  const onlyPositive = negative.counts.length === 0 && positive.counts.length > 0;
  const onlyNegative = positive.counts.length === 0 && negative.counts.length > 0;
  return [onlyPositive ? 0 : -zeroThreshold, onlyNegative ? 0 : zeroThreshold];
}

/** The middle of a bucket's range: geometric for exponential buckets. */
export function middleOf(lower: number, upper: number, linear: boolean): number {
  if (linear) return (lower + upper) / 2;
  const middle = Math.sqrt(lower * upper);
  return upper < 0 ? -middle : middle;
}

/** How far into an exponential bucket a value lies, as a share of its observations. */
export function exponentialShare(lower: number, upper: number, value: number): number {
  const logLower = Math.log2(Math.abs(lower));
  const logUpper = Math.log2(Math.abs(upper));
  const logValue = Math.log2(Math.abs(value));
  if (value > 0) return (logValue - logLower) / (logUpper - logLower);
  return 1 - (logValue - logUpper) / (logLower - logUpper);
}
