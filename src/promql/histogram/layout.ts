/**
 * Layouts: what two histograms must have in common before their buckets can be added or compared, and how one is brought
 * to it. The coarser schema, a zero threshold that cuts no populated bucket of either, and the bounds both have.
 */
import { type FloatHistogram, hasCustomBuckets, NO_BOUNDS } from '../../model/histogram.ts';
import { bucketBound } from './bounds.ts';
import { indexesOf } from './buckets.ts';

export interface Layout {
  readonly schema: number;
  readonly zeroThreshold: number;
  readonly customValues: Float64Array;
}

/** Buckets of one side by their index; several may have the same index until they are added up. */
export interface Side {
  readonly indexes: Int32Array;
  readonly counts: Float64Array;
}

/** A histogram's counts in another layout. */
export interface Conformed {
  readonly zeroCount: number;
  readonly positive: Side;
  readonly negative: Side;
}

export function sameBounds(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((bound, i) => Object.is(bound, b[i]));
}

export function sameSpans(a: Int32Array, b: Int32Array): boolean {
  return a === b || (a.length === b.length && a.every((value, i) => value === b[i]));
}

/** True if the buckets of both can be taken pairwise. */
export function sameLayout(a: FloatHistogram, b: FloatHistogram): boolean {
  return (
    a.schema === b.schema &&
    a.zeroThreshold === b.zeroThreshold &&
    sameSpans(a.positive.spans, b.positive.spans) &&
    sameSpans(a.negative.spans, b.negative.spans) &&
    sameBounds(a.customValues, b.customValues)
  );
}

/** Null if one has custom buckets and the other exponential ones. */
export function commonLayout(a: FloatHistogram, b: FloatHistogram): Layout | null {
  if (hasCustomBuckets(a) !== hasCustomBuckets(b)) return null;
  if (hasCustomBuckets(a)) {
    const customValues = sameBounds(a.customValues, b.customValues) ? a.customValues : intersection(a, b);
    return { schema: a.schema, zeroThreshold: 0, customValues };
  }
  return {
    schema: Math.min(a.schema, b.schema),
    zeroThreshold: commonThreshold(a, b),
    customValues: NO_BOUNDS,
  };
}

function intersection(a: FloatHistogram, b: FloatHistogram): Float64Array {
  const others = new Set(b.customValues);
  return a.customValues.filter((bound) => others.has(bound));
}

/** The larger threshold, widened until it cuts no populated bucket of either. */
function commonThreshold(a: FloatHistogram, b: FloatHistogram): number {
  let threshold = Math.max(a.zeroThreshold, b.zeroThreshold);
  for (;;) {
    const widened = widenedThreshold(b, widenedThreshold(a, threshold));
    if (widened === threshold) return threshold;
    threshold = widened;
  }
}

/** The threshold, or the upper bound of the populated bucket that it would cut. */
export function widenedThreshold(histogram: FloatHistogram, threshold: number): number {
  if (threshold === histogram.zeroThreshold) return threshold;
  let widened = threshold;
  for (let before = Number.NaN; before !== widened; ) {
    before = widened;
    for (const buckets of [histogram.positive, histogram.negative]) {
      const indexes = indexesOf(buckets);
      for (let i = 0; i < indexes.length; i++) {
        if (bucketBound(indexes[i]! - 1, histogram.schema, NO_BOUNDS) >= widened) break;
        if (buckets.counts[i] === 0) continue;
        widened = Math.max(widened, bucketBound(indexes[i]!, histogram.schema, NO_BOUNDS));
        // The bucket is swallowed whole; whether the next one is cut decides the next round's comparison.
        if (widened > before) break;
      }
    }
  }
  return widened;
}

/** Counts of a histogram in a layout that {@link commonLayout} made of it and another. */
export function conform(histogram: FloatHistogram, layout: Layout): Conformed {
  const { positive, negative, zeroCount } = histogram;
  const map = bucketMap(histogram, layout);
  const above = regroup({ indexes: indexesOf(positive), counts: positive.counts }, map);
  const below = regroup({ indexes: indexesOf(negative), counts: negative.counts }, map);
  return { zeroCount: zeroCount + above.swallowed + below.swallowed, positive: above.side, negative: below.side };
}

/** Says where a bucket goes in another layout: its new index, or null for the zero bucket. */
export type BucketMap = (index: number) => number | null;

/** Null if all buckets stay where they are. */
export function bucketMap(from: Layout, to: Layout): BucketMap | null {
  if (hasCustomBuckets(from)) {
    if (sameBounds(from.customValues, to.customValues)) return null;
    return (index) => customIndex(from.customValues, to.customValues, index);
  }
  const { schema } = from;
  const factor = 2 ** (schema - to.schema);
  const { zeroThreshold } = to;
  const widened = zeroThreshold > from.zeroThreshold;
  if (factor === 1 && !widened) return null;
  return (index) => {
    if (widened && bucketBound(index - 1, schema, NO_BOUNDS) < zeroThreshold) return null;
    return Math.floor((index - 1) / factor) + 1;
  };
}

/** Index of the first bound that is not below the old bucket's one. */
function customIndex(from: Float64Array, to: Float64Array, index: number): number {
  if (index >= from.length) return to.length;
  const at = to.findIndex((bound) => bound >= from[index]!);
  return at < 0 ? to.length : at;
}

export function regroup(side: Side, map: BucketMap | null): { side: Side; swallowed: number } {
  if (map === null) return { side, swallowed: 0 };
  const indexes = new Int32Array(side.indexes.length);
  const counts = new Float64Array(side.indexes.length);
  let size = 0;
  let swallowed = 0;
  for (let i = 0; i < side.indexes.length; i++) {
    const index = map(side.indexes[i]!);
    if (index === null) swallowed += side.counts[i]!;
    else if (size > 0 && indexes[size - 1] === index) counts[size - 1]! += side.counts[i]!;
    else {
      indexes[size] = index;
      counts[size++] = side.counts[i]!;
    }
  }
  return { side: { indexes: indexes.subarray(0, size), counts: counts.subarray(0, size) }, swallowed };
}
