/** What a query answers: plain data, as columns. Surfaces encode it, `scaling/` reads one value out of it. */
import type { FloatHistogram } from '../model/histogram.ts';
import type { Labels } from '../model/labels.ts';

export interface ScalarResult {
  readonly kind: 'scalar';
  readonly timeMs: number;
  readonly value: number;
}

export interface StringResult {
  readonly kind: 'string';
  readonly timeMs: number;
  readonly value: string;
}

/** One point a series at one time. `values.length === labels.length`; order is the order of evaluation. */
export interface VectorResult {
  readonly kind: 'vector';
  readonly timeMs: number;
  readonly labels: readonly Labels[];
  /** NaN where the point is a histogram. */
  readonly values: Float64Array;
  /** Present only if some point is a histogram; null where it is a float. */
  readonly histograms?: readonly (FloatHistogram | null)[];
}

/** Points of one series, floats and histograms each ascending in time. `values.length === timesMs.length`. */
export interface SeriesPoints {
  readonly labels: Labels;
  readonly timesMs: Float64Array;
  readonly values: Float64Array;
  /** Present only if there are any. */
  readonly histograms?: HistogramPoints;
}

/** `values.length === timesMs.length`. */
export interface HistogramPoints {
  readonly timesMs: Float64Array;
  readonly values: readonly FloatHistogram[];
}

/** Sorted by labels after a range query. */
export interface MatrixResult {
  readonly kind: 'matrix';
  readonly series: readonly SeriesPoints[];
}

export type QueryValue = ScalarResult | StringResult | VectorResult | MatrixResult;

/** What was read to answer: for limits, for the age of an answer and for its reason. */
export interface ReadStats {
  readonly series: number;
  readonly samples: number;
  /** Timestamp of the newest sample read (stale markers not counted), or null if none was. */
  readonly newestMs: number | null;
}

export interface QueryResult {
  readonly value: QueryValue;
  readonly warnings: readonly string[];
  readonly infos: readonly string[];
  readonly read: ReadStats;
}
