/**
 * One data point of OTLP becomes one sample in each of its series: a classic histogram is `_bucket{le}`, `_sum` and
 * `_count`, an exponential one is one native histogram, and so is a classic one that is kept as custom buckets. A point with
 * NO_RECORDED_VALUE is a stale marker in every series that it would have.
 */
import {
  CUSTOM_BUCKETS_SCHEMA,
  EMPTY_HISTOGRAM,
  encodeHistogram,
  type FloatHistogram,
  histogramFault,
  NO_BUCKETS,
} from '../../model/histogram.ts';
import { type Labels, METRIC_NAME } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import { STALE_NAN_HIGH, STALE_NAN_LOW } from '../../model/sample.ts';
import type { Reason } from '../reasons.ts';
import { labelsRefusal, withLabel } from '../series-labels.ts';
import { type Exponential, nativeHistogram } from './exponential.ts';
import type { Point } from './point.ts';

/** The series of one point and their samples; arrays of the same length, filled anew for each point. */
export class PointSeries {
  readonly labels: Labels[] = [];
  /** The bits of the value of a float. */
  readonly low: number[] = [];
  readonly high: number[] = [];
  /** The histogram that the sample is; null for a float. */
  readonly blobs: (Uint8Array | null)[] = [];

  clear(): void {
    this.labels.length = 0;
    this.low.length = 0;
    this.high.length = 0;
    this.blobs.length = 0;
  }
}

const scratchFloat = new Float64Array(1);
const scratchHalves = new Uint32Array(scratchFloat.buffer);

export function numberSeries(name: string, labels: Labels, point: Point, into: PointSeries): Reason | null {
  if (!point.hasValue && !point.isStale) return 'value_unset';
  return add(into, withLabel(labels, METRIC_NAME, name), point, point.valueLow, point.valueHigh);
}

export function histogramSeries(name: string, labels: Labels, point: Point, into: PointSeries): Reason | null {
  const malformed = bucketsRefusal(point);
  if (malformed !== null) return malformed;
  const bucket = withLabel(labels, METRIC_NAME, `${name}_bucket`);
  let refusal = addTotals(into, name, labels, point);
  // Counts are added up in two halves: exact, like the unsigned integers that they are.
  let low = 0;
  let high = 0;
  for (let i = 0; i < point.bounds.length; i++) {
    // A point without a value may have bounds and no counts.
    low += point.counts.low[i] ?? 0;
    high += (point.counts.high[i] ?? 0) + (low >= 0x100000000 ? 1 : 0);
    low %= 0x100000000;
    const le = plainDecimal(float64(point.bounds.low[i]!, point.bounds.high[i]!));
    refusal ??= addNumber(into, withLabel(bucket, 'le', le), point, high * 0x100000000 + low);
  }
  return refusal ?? addNumber(into, withLabel(bucket, 'le', '+Inf'), point, point.count);
}

/** A histogram with explicit bounds as one native histogram with custom buckets. */
export function customBucketSeries(name: string, labels: Labels, point: Point, into: PointSeries): Reason | null {
  const malformed = bucketsRefusal(point);
  if (malformed !== null) return malformed;
  const { counts, bounds } = point;
  const values = Float64Array.from(bounds.low, (low, i) => float64(low, bounds.high[i]!));
  const all = Float64Array.from(counts.low, (low, i) => counts.high[i]! * 0x100000000 + low);
  // A point that names no buckets has all of its observations in the one that ends at +Inf.
  const present = all.length === 0 && point.count > 0 ? Float64Array.of(point.count) : all;
  const first = present.findIndex((count) => count !== 0);
  const positive =
    first < 0 ? NO_BUCKETS : { spans: Int32Array.of(first, present.length - first), counts: present.subarray(first) };
  const sum = point.hasSum ? float64(point.sumLow, point.sumHigh) : 0;
  const { count } = point;
  const histogram = { ...EMPTY_HISTOGRAM, schema: CUSTOM_BUCKETS_SCHEMA, count, sum, positive, customValues: values };
  if (!point.isStale && histogramFault(histogram, true) !== null) return 'malformed_buckets';
  return addHistogram(into, withLabel(labels, METRIC_NAME, name), point, histogram);
}

export function exponentialSeries(name: string, labels: Labels, point: Point, into: PointSeries): Reason | null {
  const histogram = point.isStale ? EMPTY_HISTOGRAM : nativeHistogram(exponentialOf(point));
  if (typeof histogram === 'string') return histogram;
  return addHistogram(into, withLabel(labels, METRIC_NAME, name), point, histogram);
}

/** Borrows the lists of the point. */
export function exponentialOf(point: Point): Exponential {
  return {
    scale: point.scale,
    count: point.count,
    sum: point.hasSum ? float64(point.sumLow, point.sumHigh) : 0,
    zeroCount: point.zeroCount,
    positive: { offset: point.positiveOffset, counts: point.positive },
    negative: { offset: point.negativeOffset, counts: point.negative },
  };
}

export function summarySeries(name: string, labels: Labels, point: Point, into: PointSeries): Reason | null {
  if (point.bounds.length > LIMITS.bucketsPerPointMax) return 'too_many_buckets';
  const quantiles = withLabel(labels, METRIC_NAME, name);
  let refusal = addTotals(into, name, labels, point);
  for (let i = 0; i < point.bounds.length; i++) {
    const quantile = plainDecimal(float64(point.bounds.low[i]!, point.bounds.high[i]!));
    const series = withLabel(quantiles, 'quantile', quantile);
    refusal ??= add(into, series, point, point.counts.low[i]!, point.counts.high[i]!);
  }
  return refusal;
}

/** The shortest decimal that reads back as the same float64, never in exponent form; `+Inf`, `-Inf`, `NaN`. */
export function plainDecimal(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  const [mantissa, exponentText] = String(value).split('e') as [string, string | undefined];
  if (exponentText === undefined) return mantissa;
  const exponent = Number(exponentText);
  const sign = mantissa.startsWith('-') ? '-' : '';
  const [whole, fraction = ''] = mantissa.slice(sign.length).split('.') as [string, string | undefined];
  const digits = whole + fraction;
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  return sign + digits.padEnd(exponent + 1, '0');
}

function addTotals(into: PointSeries, name: string, labels: Labels, point: Point): Reason | null {
  const refusal = addNumber(into, withLabel(labels, METRIC_NAME, `${name}_count`), point, point.count);
  if (refusal !== null || !point.hasSum) return refusal;
  return add(into, withLabel(labels, METRIC_NAME, `${name}_sum`), point, point.sumLow, point.sumHigh);
}

function addNumber(into: PointSeries, labels: Labels, point: Point, value: number): Reason | null {
  scratchFloat[0] = value;
  return add(into, labels, point, scratchHalves[0]!, scratchHalves[1]!);
}

export function add(into: PointSeries, labels: Labels, point: Point, low: number, high: number): Reason | null {
  const refusal = labelsRefusal(labels);
  if (refusal !== null) return refusal;
  const stale = point.isStale;
  into.labels.push(labels);
  into.low.push(stale ? STALE_NAN_LOW : low);
  into.high.push(stale ? STALE_NAN_HIGH : high);
  into.blobs.push(null);
  return null;
}

function addHistogram(into: PointSeries, labels: Labels, point: Point, histogram: FloatHistogram): Reason | null {
  const refusal = labelsRefusal(labels);
  if (refusal !== null) return refusal;
  into.labels.push(labels);
  into.low.push(0);
  into.high.push(0);
  into.blobs.push(encodeHistogram(histogram, point.isStale));
  return null;
}

/** Bounds ascend and are finite, and there is one bucket more than bounds, or no bucket at all. */
export function bucketsRefusal(point: Point): Reason | null {
  const { counts, bounds } = point;
  if (counts.length > LIMITS.bucketsPerPointMax || bounds.length > LIMITS.bucketsPerPointMax) return 'too_many_buckets';
  const noBuckets = counts.length === 0 && (bounds.length === 0 || point.isStale);
  if (!noBuckets && counts.length !== bounds.length + 1) return 'malformed_buckets';
  let previous = -Infinity;
  for (let i = 0; i < bounds.length; i++) {
    const bound = float64(bounds.low[i]!, bounds.high[i]!);
    if (!(bound > previous && bound < Infinity)) return 'malformed_buckets';
    previous = bound;
  }
  return null;
}

export function float64(low: number, high: number): number {
  scratchHalves[0] = low;
  scratchHalves[1] = high;
  return scratchFloat[0]!;
}
