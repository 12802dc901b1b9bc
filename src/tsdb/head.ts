/** The words of the store: what goes into the head, what comes out, and what both sides may rely on. */

import type { HistogramSamples } from '../model/histogram.ts';
import type { Labels } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';
import type { SampleBuffer } from '../model/sample.ts';
import type { Scope } from '../model/scope.ts';
import type { RhythmRequest } from './rhythm.ts';

/** Names a series of the head for as long as it lives; a ref may be reused after its series was removed. */
export type SeriesRef = number & { readonly brand: 'SeriesRef' };

/** What became of a sample. */
export const APPENDED = {
  stored: 0,
  /** Same timestamp, same bits as a stored sample: nothing to do, a sender repeated itself. */
  duplicate: 1,
  /** Older than the newest sample of the series by more than the out-of-order window. */
  outOfOrder: 2,
  /** Same timestamp as a stored sample, other bits: the first one stays. */
  conflicting: 3,
  /** Older than retention. */
  tooOld: 4,
  /** Further ahead of the clock than `futureMsMax`. */
  tooFarAhead: 5,
} as const;
export type Appended = (typeof APPENDED)[keyof typeof APPENDED];

export interface SelectRequest {
  readonly matchers: readonly Matcher[];
  /** Samples with fromMs < t <= toMs are asked for. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly scope: Scope;
}

/** A snapshot of the series that fulfil a request: what is appended later is not in it. Close it when done. */
export interface Selection {
  /** Series in it, in no particular order. Each has at least one sample in the request's range. */
  readonly count: number;
  /** Upper bound of the samples in the request's range, all series together: the cost of reading everything. */
  readonly samplesMax: number;
  ref(i: number): SeriesRef;
  labels(i: number): Labels;
  /**
   * Decodes the samples of series i with fromMs < t <= toMs (within the request's range) into the buffer, which grows
   * as needed, and returns their number. Ascending in time, one a timestamp, stale markers included.
   */
  read(i: number, fromMs: number, toMs: number, into: SampleBuffer): number;
  /** True if some series has histogram samples: `lastValues` and `rates` then say nothing of those. */
  readonly anyHistograms: boolean;
  hasHistograms(i: number): boolean;
  /** Histogram samples of series i with fromMs < t <= toMs, stale markers included. No time has a float and a histogram. */
  readHistograms(i: number, fromMs: number, toMs: number): HistogramSamples;
  /** True if some sample came with a start timestamp; `rates` knows nothing of them. */
  readonly anyStarts: boolean;
  /**
   * Writes the start timestamps (0 where unknown) of the samples of series i at timesMs[0..count) into the array. False,
   * and nothing written, if the series has none.
   */
  readStarts(i: number, timesMs: Float64Array, count: number, into: Float64Array): boolean;
  /** The newest value in (atMs - lookbackMs, atMs] of the series from <= i < to; a stale marker is none. */
  lastValues(from: number, to: number, atMs: number, lookbackMs: number, into: WholeColumn): void;
  /**
   * rate, increase or delta, extrapolated as Prometheus does, of the series from <= i < to over the windows
   * (t - rangeMs, t]; series-major, `windows.steps` slots a series. False where the store cannot do that at once: then the
   * caller reads the samples and computes.
   */
  rates(kind: RateKind, from: number, to: number, windows: RateWindows, into: WholeColumn): boolean;
  /**
   * The same as `lastValues` and `rates`, added up by group instead of handed out; absent where the store cannot. At most
   * `sumSlotsMax` sums at a time. `addRates` returns the first row that it did not take, and the caller goes on from there.
   */
  readonly sumSlotsMax?: number;
  addLastValues?(from: number, to: number, atMs: number, lookbackMs: number, into: GroupSums): void;
  addRates?(kind: RateKind, from: number, to: number, windows: RateWindows, into: GroupSums): number;
  /** Writes the rhythms (rhythm.ts) of the series from <= i < to, of their floats alone, RHYTHM_SIZE numbers each. */
  rhythms(from: number, to: number, request: RhythmRequest, into: Float64Array): void;
  /**
   * For each series from <= i < to (all by default) a number that stands for its value of a label: equal numbers, equal
   * values; 0 where it is absent; below 2^30.
   */
  labelCodes(name: string, from?: number, to?: number): Uint32Array;
  /**
   * The same object for selections of the very same series in the same order, while what is known of their labels holds;
   * null where the store does not tell.
   */
  identity?(): object | null;
  /** False if no series of the store has the label. */
  mayHave(name: string): boolean;
  /** The value that a number of `labelCodes` stands for; '' for 0. */
  labelText(code: number): string;
  close(): void;
}

/** The newest values of many series, added up by Kahan and Neumaier. */
export interface NewestSum {
  /** Series with a sample in the range. */
  readonly series: number;
  readonly sum: number;
  /** What the sum has lost to rounding. */
  readonly lost: number;
  /** What `WholeColumn` says; 0 samples: nothing was added. */
  readonly samples: number;
  readonly newestMs: number;
}

/** Sums of groups × steps, group-major, by Kahan and Neumaier. All three arrays have one length. */
export interface GroupSums {
  /** Row → group; null if all rows are of the only one. */
  readonly of: Int32Array | null;
  readonly sum: Float64Array;
  /** What the sums have lost to rounding. */
  readonly lost: Float64Array;
  /** 1 where anything was added. */
  readonly seen: Uint8Array;
  /** Of the last call: what `WholeColumn` says, and the first row with a value, or -1. */
  samples: number;
  newestMs: number;
  first: number;
}

export type RateKind = 'rate' | 'increase' | 'delta';

/** Windows end at firstEndMs + k*stepMs for 0 <= k < steps. */
export interface RateWindows {
  readonly firstEndMs: number;
  readonly stepMs: number;
  readonly steps: number;
  readonly rangeMs: number;
}

/** One number for each of many series (and steps), and what was read for it. */
export interface WholeColumn {
  readonly values: Float64Array;
  /** 1 where there is a value; NaN is a legal one. */
  readonly present: Uint8Array;
  /** Samples read that are no stale markers, and the newest of them; -Infinity if there is none. */
  samples: number;
  newestMs: number;
}

/** What reading floors need of a head. */
export interface HeadReader {
  /** Series that fulfil all matchers within the scope and have samples in the range. */
  select(request: SelectRequest): Selection;
  /**
   * The same in slices of well below a millisecond: yields how many series it has looked at wherever it may pause. Whoever
   * does not take it to its end calls `return`.
   */
  selectSlices?(request: SelectRequest): Generator<number, Selection, void>;
  /**
   * Adds up the newest values of what `selectSlices` would select, in slices as there; a stale marker is none. Null where
   * some series has histograms.
   */
  sumNewestSlices?(request: SelectRequest): Generator<number, NewestSum | null, void>;
  /** Names of the labels that the selected series carry, sorted. */
  labelNames(request: SelectRequest): string[];
  /** Values of one label among the selected series, sorted. */
  labelValues(name: string, request: SelectRequest): string[];
  /** True if a series of this metric name is in the head, whatever its samples. */
  hasMetric(name: string): boolean;
  stats(): HeadStats;
  /** Another number whenever series came or went; cheap, unlike the sums of {@link stats}. */
  seriesVersion(): number;
}

/** What decoders need of a head. */
export interface HeadWriter {
  /** The series with these labels (sorted, without empty values), created if new. Throws `series_limit`. */
  series(labels: Labels): SeriesRef;
  /**
   * Appends one sample; the value comes as the two halves of its bits, so that a stale marker survives. A start timestamp
   * of 0 is unknown.
   */
  append(ref: SeriesRef, timestampMs: number, low: number, high: number, startTimestampMs?: number): Appended;
  /** Appends one histogram sample, as the bytes of model/histogram.ts; they belong to the head from now on. */
  appendHistogram(ref: SeriesRef, timestampMs: number, blob: Uint8Array, startTimestampMs?: number): Appended;
}

export interface HeadStats {
  readonly series: number;
  readonly seriesCreated: number;
  readonly seriesRemoved: number;
  readonly samples: number;
  readonly samplesAppended: number;
  /** Bytes of the sample columns. */
  readonly bytes: number;
  /** Oldest and newest timestamp, or null while empty. */
  readonly minTimeMs: number | null;
  readonly maxTimeMs: number | null;
}
