/**
 * Exponential histograms of OTLP, and how they become native ones.
 *
 * OTLP's bucket `index` of a scale covers (base^index, base^(index+1)]; a native histogram counts the upper bound, so its
 * index is one higher. Scales above 8 are merged down: 2^(scale-8) neighbours become one. Scales below -4 have no native
 * counterpart.
 * Source: prometheus/prometheus, storage/remote/otlptranslator/prometheusremotewrite/histograms.go.
 */
import {
  type Buckets,
  type FloatHistogram,
  histogramFault,
  NO_BOUNDS,
  NO_BUCKETS,
  RESET_HINT,
  SCHEMA_MAX,
  SCHEMA_MIN,
} from '../../model/histogram.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Reason } from '../reasons.ts';

/** Counts of neighbouring buckets; the first one has the index `offset`. */
export interface ExponentialBuckets {
  readonly offset: number;
  readonly counts: readonly number[];
}

export interface Exponential {
  readonly scale: number;
  readonly count: number;
  readonly sum: number;
  readonly zeroCount: number;
  readonly positive: ExponentialBuckets;
  readonly negative: ExponentialBuckets;
}

/** What Prometheus takes for the width of the zero bucket: the protocol's own field is not used. */
const ZERO_THRESHOLD = 1e-128;
/** Indexes beyond these could not be written as spans of 32 bits. */
const INDEX_MAX = 2 ** 31 - 2;
/** A gap of more empty buckets than this begins a new span. */
const GAP_MAX = 2;

/** The native histogram, or why there is none. */
export function nativeHistogram(received: Exponential): FloatHistogram | Reason {
  if (received.scale < SCHEMA_MIN) return 'exponential_scale_too_low';
  const refusal = sizeRefusal(received);
  if (refusal !== null) return refusal;
  const scaled = downscale(received, Math.min(received.scale, SCHEMA_MAX));
  const histogram: FloatHistogram = {
    schema: scaled.scale,
    hint: RESET_HINT.unknown,
    count: scaled.count,
    sum: scaled.sum,
    zeroThreshold: ZERO_THRESHOLD,
    zeroCount: scaled.zeroCount,
    positive: spansOf(scaled.positive),
    negative: spansOf(scaled.negative),
    customValues: NO_BOUNDS,
  };
  return histogramFault(histogram, true) === null ? histogram : 'malformed_buckets';
}

/** Why the buckets cannot be taken, or null. */
export function sizeRefusal({ positive, negative }: Exponential): Reason | null {
  for (const { offset, counts } of [positive, negative]) {
    if (counts.length > LIMITS.bucketsPerPointMax) return 'too_many_buckets';
    if (offset < -INDEX_MAX || offset + counts.length > INDEX_MAX) return 'malformed_buckets';
  }
  return null;
}

/** The same observations in the buckets of a lower scale. */
function downscale(histogram: Exponential, scale: number): Exponential {
  const shift = histogram.scale - scale;
  if (shift === 0) return histogram;
  return {
    ...histogram,
    scale,
    positive: merge(histogram.positive, shift),
    negative: merge(histogram.negative, shift),
  };
}

/** Merges 2^shift buckets into one. Rounds towards minus infinity, as a shift of a signed index does. */
function merge({ offset, counts }: ExponentialBuckets, shift: number): ExponentialBuckets {
  if (counts.length === 0) return { offset: 0, counts: [] };
  // No index has more than 32 bits: a wider shift does no more.
  const width = 2 ** Math.min(shift, 40);
  const first = Math.floor(offset / width);
  const merged = new Array<number>(Math.floor((offset + counts.length - 1) / width) - first + 1).fill(0);
  for (const [i, count] of counts.entries()) merged[Math.floor((offset + i) / width) - first]! += count;
  return { offset: first, counts: merged };
}

function spansOf({ offset, counts }: ExponentialBuckets): Buckets {
  const spans: number[] = [];
  const kept: number[] = [];
  let next = Number.NaN;
  for (const [i, count] of counts.entries()) {
    if (count === 0) continue;
    const index = offset + i + 1;
    const gap = index - next;
    if (spans.length === 0) spans.push(index, 0);
    else if (gap > GAP_MAX) spans.push(gap, 0);
    else {
      for (let j = 0; j < gap; j++) kept.push(0);
      spans[spans.length - 1]! += gap;
    }
    kept.push(count);
    spans[spans.length - 1]!++;
    next = index + 1;
  }
  return spans.length === 0 ? NO_BUCKETS : { spans: Int32Array.from(spans), counts: Float64Array.from(kept) };
}

/** Both together, in the finest scale in which the buckets of each side are few enough. */
export function addExponential(a: Exponential, b: Exponential): Exponential {
  let scale = Math.min(a.scale, b.scale);
  for (;;) {
    const left = downscale(a, scale);
    const right = downscale(b, scale);
    const positive = addBuckets(left.positive, right.positive);
    const negative = addBuckets(left.negative, right.negative);
    if (positive !== null && negative !== null) {
      const sum = a.sum + b.sum;
      return { scale, count: a.count + b.count, sum, zeroCount: a.zeroCount + b.zeroCount, positive, negative };
    }
    scale--;
  }
}

/** Null if they would reach over too many buckets. */
function addBuckets(a: ExponentialBuckets, b: ExponentialBuckets): ExponentialBuckets | null {
  if (a.counts.length === 0) return b;
  if (b.counts.length === 0) return a;
  const offset = Math.min(a.offset, b.offset);
  const length = Math.max(a.offset + a.counts.length, b.offset + b.counts.length) - offset;
  if (length > LIMITS.bucketsPerPointMax) return null;
  const counts = new Array<number>(length).fill(0);
  for (const [i, count] of a.counts.entries()) counts[a.offset - offset + i]! += count;
  for (const [i, count] of b.counts.entries()) counts[b.offset - offset + i]! += count;
  return { offset, counts };
}
