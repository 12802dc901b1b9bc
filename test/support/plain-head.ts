/**
 * A plain head, the model that the kernel is compared with: one growing pair of typed arrays a series (times, value bits),
 * sorted by time, and an inverted index of label pairs. Selections borrow the arrays of a moment: appends go behind what
 * a selection has seen, and whatever must move samples (an insertion out of order, retention) makes new arrays instead.
 */
import type { Clock } from '../../src/model/clock.ts';
import { CodedError } from '../../src/model/errors.ts';
import { type HistogramSamples, NO_HISTOGRAM_SAMPLES } from '../../src/model/histogram.ts';
import { compareCodePoints, type Labels, labelsKey, labelsText, METRIC_NAME } from '../../src/model/labels.ts';
import { compileMatcher, type Matcher, matcherLiterals } from '../../src/model/matcher.ts';
import { isStaleBits, type SampleBuffer } from '../../src/model/sample.ts';
import { inScope, type Scope } from '../../src/model/scope.ts';
import {
  APPENDED,
  type Appended,
  type HeadReader,
  type HeadStats,
  type HeadWriter,
  type Selection,
  type SelectRequest,
  type SeriesRef,
  type WholeColumn,
} from '../../src/tsdb/head.ts';
import { RHYTHM_SIZE, type RhythmRequest, rhythmOf } from '../../src/tsdb/rhythm.ts';

interface PlainHeadOptions {
  readonly clock: Clock;
  readonly retentionMs: number;
  readonly outOfOrderMsMax: number;
  readonly futureMsMax: number;
  readonly seriesMax: number;
}

interface Series {
  readonly ref: SeriesRef;
  readonly labels: Labels;
  readonly key: string;
  times: Float64Array;
  /** Two halves a value, low first. */
  halves: Uint32Array;
  count: number;
  /** What few series have; null for the others. */
  extras: Extras | null;
}

/** Histogram samples, ascending in time, and the start timestamps that are known, by the time of their sample. */
interface Extras {
  times: number[];
  blobs: Uint8Array[];
  readonly starts: Map<number, number>;
}

/** Capacity of a new series' columns; four minutes at 15 s. */
const INITIAL_CAPACITY = 16;

export class PlainHead implements HeadReader, HeadWriter {
  readonly #options: PlainHeadOptions;
  readonly #byRef: (Series | null)[] = [];
  readonly #byKey = new Map<string, Series>();
  readonly #freeRefs: SeriesRef[] = [];
  /** Label name → value → refs. */
  readonly #postings = new Map<string, Map<string, Set<SeriesRef>>>();
  #samples = 0;
  #samplesAppended = 0;
  #seriesCreated = 0;
  #seriesRemoved = 0;
  #bytes = 0;

  constructor(options: PlainHeadOptions) {
    this.#options = options;
  }

  /** The series with these labels (sorted, without empty values), created if new. Throws `series_limit`. */
  series(labels: Labels): SeriesRef {
    const key = labelsKey(labels);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known.ref;
    if (this.#byKey.size >= this.#options.seriesMax) {
      throw new CodedError(
        'series_limit',
        `cannot create series ${labelsText(labels)}: got ${this.#byKey.size} series, want at most ${this.#options.seriesMax}`,
      );
    }
    return this.#create(labels, key);
  }

  /**
   * Appends one sample; the value comes as the two halves of its bits, so that a stale marker survives. A start timestamp
   * of 0 is unknown.
   */
  append(ref: SeriesRef, timestampMs: number, low: number, high: number, startTimestampMs = 0): Appended {
    const series = this.#seriesOf(ref);
    const { extras } = series;
    const refusal = this.#outside(timestampMs);
    if (refusal !== null) return refusal;
    const newestMs = newestOf(series);
    if (timestampMs > newestMs) this.#push(series, timestampMs, low, high);
    else {
      if (extras !== null && indexOfTime(extras.times, timestampMs) >= 0) return APPENDED.conflicting;
      const at = lowerBound(series.times, series.count, timestampMs);
      if (at < series.count && series.times[at] === timestampMs) {
        const same = series.halves[2 * at] === low && series.halves[2 * at + 1] === high;
        return same ? APPENDED.duplicate : APPENDED.conflicting;
      }
      if (timestampMs < newestMs - this.#options.outOfOrderMsMax) return APPENDED.outOfOrder;
      this.#insert(series, at, timestampMs, low, high);
    }
    if (startTimestampMs !== 0) extrasOf(series).starts.set(timestampMs, startTimestampMs);
    return APPENDED.stored;
  }

  /** Appends one histogram sample, as the bytes of model/histogram.ts; they belong to the head from now on. */
  appendHistogram(ref: SeriesRef, timestampMs: number, blob: Uint8Array, startTimestampMs = 0): Appended {
    const series = this.#seriesOf(ref);
    const refusal = this.#outside(timestampMs);
    if (refusal !== null) return refusal;
    const newestMs = newestOf(series);
    const extras = extrasOf(series);
    if (timestampMs <= newestMs) {
      const at = indexOfTime(extras.times, timestampMs);
      if (at >= 0) return Buffer.compare(extras.blobs[at]!, blob) === 0 ? APPENDED.duplicate : APPENDED.conflicting;
      const float = lowerBound(series.times, series.count, timestampMs);
      if (float < series.count && series.times[float] === timestampMs) return APPENDED.conflicting;
      if (timestampMs < newestMs - this.#options.outOfOrderMsMax) return APPENDED.outOfOrder;
    }
    this.#insertHistogram(extras, timestampMs, blob);
    if (startTimestampMs !== 0) extras.starts.set(timestampMs, startTimestampMs);
    return APPENDED.stored;
  }

  #seriesOf(ref: SeriesRef): Series {
    const series = this.#byRef[ref];
    if (series == null) throw new Error(`append to series ${ref}, which does not exist`);
    return series;
  }

  #outside(timestampMs: number): Appended | null {
    const nowMs = this.#options.clock.nowMs();
    if (timestampMs > nowMs + this.#options.futureMsMax) return APPENDED.tooFarAhead;
    return timestampMs <= nowMs - this.#options.retentionMs ? APPENDED.tooOld : null;
  }

  /** Series that fulfil all matchers within the scope and have samples in the range. */
  select(request: SelectRequest): Selection {
    const chosen = this.#matching(request.matchers, request.scope).filter((series) => hasSamples(series, request));
    return new HeadSelection(chosen, request);
  }

  /** Names of the labels that the selected series carry, sorted. */
  labelNames(request: SelectRequest): string[] {
    const names = new Set<string>();
    for (const series of this.#within(request))
      for (let i = 0; i < series.labels.length; i += 2) names.add(series.labels[i]!);
    return [...names].sort(compareCodePoints);
  }

  /** Values of one label among the selected series, sorted. */
  labelValues(name: string, request: SelectRequest): string[] {
    const values = new Set<string>();
    for (const series of this.#within(request)) {
      for (let i = 0; i < series.labels.length; i += 2)
        if (series.labels[i] === name) values.add(series.labels[i + 1]!);
    }
    return [...values].sort(compareCodePoints);
  }

  /** True if a series of this metric name is in the head, whatever its samples. */
  hasMetric(name: string): boolean {
    return (this.#postings.get(METRIC_NAME)?.get(name)?.size ?? 0) > 0;
  }

  /** Drops samples older than retention, and series that have none left. Called regularly by the daemon. */
  enforceRetention(): void {
    const oldestMs = this.#options.clock.nowMs() - this.#options.retentionMs;
    for (const series of this.#byRef) {
      if (series === null) continue;
      const ownOldestMs = oldestOf(series);
      if (ownOldestMs > oldestMs && ownOldestMs !== Infinity) continue;
      const dropped = upperBound(series.times, series.count, oldestMs);
      const isEmpty = dropped === series.count && (series.extras === null || !(newestOf(series) > oldestMs));
      if (isEmpty) this.#remove(series);
      else {
        // Samples are dropped by the half, not one by one: each drop copies what stays.
        if (dropped > 0 && dropped * 2 >= series.count) this.#dropOldest(series, dropped);
        if (series.extras !== null) this.#dropOldestExtras(series.extras, oldestMs);
      }
    }
  }

  #dropOldestExtras(extras: Extras, oldestMs: number): void {
    const dropped = extras.times.filter((timeMs) => timeMs <= oldestMs).length;
    if (dropped > 0 && dropped * 2 >= extras.times.length) {
      for (let i = 0; i < dropped; i++) this.#bytes -= histogramBytes(extras.blobs[i]!);
      extras.times = extras.times.slice(dropped);
      extras.blobs = extras.blobs.slice(dropped);
      this.#samples -= dropped;
    }
    for (const timeMs of extras.starts.keys()) if (timeMs <= oldestMs) extras.starts.delete(timeMs);
  }

  seriesVersion(): number {
    return this.#seriesCreated + this.#seriesRemoved;
  }

  stats(): HeadStats {
    let minTimeMs = Infinity;
    let maxTimeMs = -Infinity;
    for (const series of this.#byRef) {
      if (series === null) continue;
      minTimeMs = Math.min(minTimeMs, oldestOf(series));
      maxTimeMs = Math.max(maxTimeMs, newestOf(series));
    }
    return {
      series: this.#byKey.size,
      seriesCreated: this.#seriesCreated,
      seriesRemoved: this.#seriesRemoved,
      samples: this.#samples,
      samplesAppended: this.#samplesAppended,
      bytes: this.#bytes,
      minTimeMs: minTimeMs === Infinity ? null : minTimeMs,
      maxTimeMs: maxTimeMs === -Infinity ? null : maxTimeMs,
    };
  }

  #create(labels: Labels, key: string): SeriesRef {
    const ref = this.#freeRefs.pop() ?? (this.#byRef.length as SeriesRef);
    const series: Series = {
      ref,
      labels: Object.freeze([...labels]),
      key,
      times: new Float64Array(INITIAL_CAPACITY),
      halves: new Uint32Array(2 * INITIAL_CAPACITY),
      count: 0,
      extras: null,
    };
    this.#byRef[ref] = series;
    this.#byKey.set(key, series);
    for (let i = 0; i < labels.length; i += 2) this.#index(labels[i]!, labels[i + 1]!).add(ref);
    this.#seriesCreated++;
    this.#bytes += INITIAL_CAPACITY * 16;
    return ref;
  }

  #index(name: string, value: string): Set<SeriesRef> {
    const values = this.#postings.get(name) ?? new Map<string, Set<SeriesRef>>();
    const refs = values.get(value) ?? new Set<SeriesRef>();
    this.#postings.set(name, values.set(value, refs));
    return refs;
  }

  #push(series: Series, timestampMs: number, low: number, high: number): void {
    if (series.count === series.times.length) this.#grow(series, series.count * 2);
    series.times[series.count] = timestampMs;
    series.halves[2 * series.count] = low;
    series.halves[2 * series.count + 1] = high;
    series.count++;
    this.#samples++;
    this.#samplesAppended++;
  }

  #insert(series: Series, at: number, timestampMs: number, low: number, high: number): void {
    const count = series.count;
    const capacity = Math.max(series.times.length, count + 1);
    const { times, halves } = series;
    this.#grow(series, capacity);
    series.times.set(times.subarray(at, count), at + 1);
    series.halves.set(halves.subarray(2 * at, 2 * count), 2 * at + 2);
    series.times[at] = timestampMs;
    series.halves[2 * at] = low;
    series.halves[2 * at + 1] = high;
    series.count++;
    this.#samples++;
    this.#samplesAppended++;
  }

  /** Selections keep the lists they know: those only ever grow at the end. */
  #insertHistogram(extras: Extras, timestampMs: number, blob: Uint8Array): void {
    const { times, blobs } = extras;
    const at = timeAfter(times, times.length, timestampMs);
    if (at === times.length) {
      times.push(timestampMs);
      blobs.push(blob);
    } else {
      extras.times = [...times.slice(0, at), timestampMs, ...times.slice(at)];
      extras.blobs = [...blobs.slice(0, at), blob, ...blobs.slice(at)];
    }
    this.#samples++;
    this.#samplesAppended++;
    this.#bytes += histogramBytes(blob);
  }

  /** Copies a series' samples into fresh columns; selections keep the old ones. */
  #grow(series: Series, capacity: number): void {
    const times = new Float64Array(capacity);
    const halves = new Uint32Array(2 * capacity);
    times.set(series.times.subarray(0, series.count));
    halves.set(series.halves.subarray(0, 2 * series.count));
    this.#bytes += (capacity - series.times.length) * 16;
    series.times = times;
    series.halves = halves;
  }

  #dropOldest(series: Series, dropped: number): void {
    const kept = series.count - dropped;
    const capacity = Math.max(INITIAL_CAPACITY, kept + (kept >> 1));
    const times = new Float64Array(capacity);
    const halves = new Uint32Array(2 * capacity);
    times.set(series.times.subarray(dropped, series.count));
    halves.set(series.halves.subarray(2 * dropped, 2 * series.count));
    this.#bytes += (capacity - series.times.length) * 16;
    this.#samples -= dropped;
    series.times = times;
    series.halves = halves;
    series.count = kept;
  }

  #remove(series: Series): void {
    for (let i = 0; i < series.labels.length; i += 2)
      this.#unindex(series.labels[i]!, series.labels[i + 1]!, series.ref);
    this.#byKey.delete(series.key);
    this.#byRef[series.ref] = null;
    this.#freeRefs.push(series.ref);
    this.#samples -= series.count + (series.extras?.times.length ?? 0);
    this.#bytes -= series.times.length * 16;
    for (const blob of series.extras?.blobs ?? []) this.#bytes -= histogramBytes(blob);
    this.#seriesRemoved++;
  }

  #unindex(name: string, value: string, ref: SeriesRef): void {
    const values = this.#postings.get(name);
    const refs = values?.get(value);
    if (values === undefined || refs === undefined) return;
    refs.delete(ref);
    if (refs.size === 0) values.delete(value);
    if (values.size === 0) this.#postings.delete(name);
  }

  #within(request: SelectRequest): Series[] {
    return this.#matching(request.matchers, request.scope).filter((series) => hasSamples(series, request));
  }

  #matching(matchers: readonly Matcher[], scope: Scope): Series[] {
    const predicates = matchers.map((matcher) => ({ name: matcher.name, holds: compileMatcher(matcher) }));
    const fulfils = (series: Series): boolean =>
      predicates.every(({ name, holds }) => holds(labelOf(series.labels, name))) && inScope(series.labels, scope);
    const chosen: Series[] = [];
    for (const ref of this.#candidates(matchers)) {
      const series = this.#byRef[ref];
      if (series != null && fulfils(series)) chosen.push(series);
    }
    return chosen;
  }

  /** The smallest set of refs that one matcher alone allows; all refs if none narrows. */
  #candidates(matchers: readonly Matcher[]): Iterable<SeriesRef> {
    let best: SeriesRef[] | null = null;
    for (const matcher of matchers) {
      const literals = matcherLiterals(matcher);
      if (literals === null || literals.includes('')) continue;
      const values = this.#postings.get(matcher.name);
      const refs: SeriesRef[] = [];
      for (const literal of new Set(literals)) for (const ref of values?.get(literal) ?? []) refs.push(ref);
      if (best === null || refs.length < best.length) best = refs;
    }
    return best ?? (this.#byRef.keys() as Iterable<SeriesRef>);
  }
}

class HeadSelection implements Selection {
  readonly count: number;
  readonly samplesMax: number;
  readonly #series: readonly Series[];
  readonly #times: readonly Float64Array[];
  readonly #halves: readonly Uint32Array[];
  readonly #counts: readonly number[];
  readonly #texts: string[] = [''];
  readonly anyHistograms: boolean;
  readonly anyStarts: boolean;
  /** Null where no series has any, so that most selections do without. */
  readonly #histograms: readonly (HistogramColumn | null)[] | null;

  constructor(series: readonly Series[], request: SelectRequest) {
    this.count = series.length;
    this.#series = series;
    this.#times = series.map((one) => one.times);
    this.#halves = series.map((one) => one.halves);
    this.#counts = series.map((one) => one.count);
    this.anyHistograms = series.some(({ extras }) => extras !== null && extras.times.length > 0);
    this.anyStarts = series.some(({ extras }) => extras !== null && extras.starts.size > 0);
    this.#histograms = this.anyHistograms ? series.map(histogramColumn) : null;
    let samplesMax = 0;
    for (const one of series) {
      samplesMax += upperBound(one.times, one.count, request.toMs) - upperBound(one.times, one.count, request.fromMs);
    }
    this.samplesMax = samplesMax + this.#histogramSamples(request);
  }

  ref(i: number): SeriesRef {
    return this.#series[i]!.ref;
  }

  labels(i: number): Labels {
    return this.#series[i]!.labels;
  }

  read(i: number, fromMs: number, toMs: number, into: SampleBuffer): number {
    const times = this.#times[i]!;
    const first = upperBound(times, this.#counts[i]!, fromMs);
    const end = upperBound(times, this.#counts[i]!, toMs);
    const count = Math.max(0, end - first);
    into.ensure(count);
    into.timesMs.set(times.subarray(first, first + count));
    into.halves.set(this.#halves[i]!.subarray(2 * first, 2 * (first + count)));
    return count;
  }

  lastValues(from: number, to: number, atMs: number, lookbackMs: number, into: WholeColumn): void {
    into.samples = 0;
    into.newestMs = -Infinity;
    for (let i = from; i < to; i++) {
      const times = this.#times[i]!;
      const at = upperBound(times, this.#counts[i]!, atMs) - 1;
      const halves = this.#halves[i]!;
      const seen = at >= 0 && times[at]! > atMs - lookbackMs && !isStaleBits(halves[2 * at]!, halves[2 * at + 1]!);
      into.present[i - from] = seen ? 1 : 0;
      if (!seen) continue;
      into.values[i - from] = new Float64Array(halves.buffer)[at]!;
      into.samples++;
      into.newestMs = Math.max(into.newestMs, times[at]!);
    }
  }

  rates(): boolean {
    return false;
  }

  rhythms(from: number, to: number, request: RhythmRequest, into: Float64Array): void {
    for (let i = from; i < to; i++) {
      const times = this.#times[i]!;
      const halves = this.#halves[i]!;
      const first = upperBound(times, this.#counts[i]!, request.fromMs);
      const end = Math.max(first, upperBound(times, this.#counts[i]!, request.endMs));
      const hasEnded = end > first && isStaleBits(halves[2 * end - 2]!, halves[2 * end - 1]!);
      rhythmOf(times.subarray(first, end), end - first, hasEnded, request, into, (i - from) * RHYTHM_SIZE);
    }
  }

  /** A histogram is charged by its bytes, as Prometheus does. */
  #histogramSamples(request: SelectRequest): number {
    let samples = 0;
    for (const column of this.#histograms ?? []) {
      if (column === null) continue;
      const end = timeAfter(column.times, column.count, request.toMs);
      for (let i = timeAfter(column.times, column.count, request.fromMs); i < end; i++)
        samples += Math.ceil((column.blobs[i]!.byteLength + 8) / 16);
    }
    return samples;
  }

  hasHistograms(i: number): boolean {
    return this.#histograms !== null && this.#histograms[i] !== null;
  }

  readHistograms(i: number, fromMs: number, toMs: number): HistogramSamples {
    const column = this.#histograms?.[i];
    if (column == null) return NO_HISTOGRAM_SAMPLES;
    const first = timeAfter(column.times, column.count, fromMs);
    const end = timeAfter(column.times, column.count, toMs);
    if (end <= first) return NO_HISTOGRAM_SAMPLES;
    return {
      timesMs: Float64Array.from(column.times.slice(first, end)),
      blobs: column.blobs.slice(first, end),
      before: this.#before(i, column, first),
    };
  }

  #before(i: number, { times, blobs }: HistogramColumn, first: number): Uint8Array | null {
    if (first === 0) return null;
    const floats = upperBound(this.#times[i]!, this.#counts[i]!, times[first]!);
    const between = floats > 0 && this.#times[i]![floats - 1]! > times[first - 1]!;
    return between ? null : blobs[first - 1]!;
  }

  readStarts(i: number, timesMs: Float64Array, count: number, into: Float64Array): boolean {
    const starts = this.#series[i]!.extras?.starts;
    if (starts === undefined || starts.size === 0) return false;
    for (let k = 0; k < count; k++) into[k] = starts.get(timesMs[k]!) ?? 0;
    return true;
  }

  labelCodes(name: string, from = 0, to = this.count): Uint32Array {
    return Uint32Array.from(this.#series.slice(from, to), (series) => {
      const value = labelOf(series.labels, name);
      const known = this.#texts.indexOf(value);
      return known >= 0 ? known : this.#texts.push(value) - 1;
    });
  }

  mayHave(name: string): boolean {
    return this.#series.some(({ labels }) => labelOf(labels, name) !== '');
  }

  labelText(code: number): string {
    return this.#texts[code]!;
  }

  close(): void {
    // Nothing is pinned: the columns of a moment live as long as somebody refers to them.
  }
}

function labelOf(labels: Labels, name: string): string {
  for (let i = 0; i < labels.length; i += 2) if (labels[i] === name) return labels[i + 1]!;
  return '';
}

function hasSamples(series: Series, { fromMs, toMs }: SelectRequest): boolean {
  if (upperBound(series.times, series.count, toMs) > upperBound(series.times, series.count, fromMs)) return true;
  if (series.extras === null) return false;
  const { times } = series.extras;
  return timeAfter(times, times.length, toMs) > timeAfter(times, times.length, fromMs);
}

// ── Histograms ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Histograms of a series at the moment of a selection. */
interface HistogramColumn {
  readonly times: readonly number[];
  readonly blobs: readonly Uint8Array[];
  readonly count: number;
}

function histogramColumn({ extras }: Series): HistogramColumn | null {
  if (extras === null || extras.times.length === 0) return null;
  return { times: extras.times, blobs: extras.blobs, count: extras.times.length };
}

function extrasOf(series: Series): Extras {
  series.extras ??= { times: [], blobs: [], starts: new Map() };
  return series.extras;
}

function newestOf({ times, count, extras }: Series): number {
  const newestMs = count === 0 ? -Infinity : times[count - 1]!;
  return extras === null ? newestMs : Math.max(newestMs, extras.times.at(-1) ?? -Infinity);
}

function oldestOf({ times, count, extras }: Series): number {
  const oldestMs = count === 0 ? Infinity : times[0]!;
  return extras === null ? oldestMs : Math.min(oldestMs, extras.times[0] ?? Infinity);
}

/** Bytes of a blob and of the two list entries that hold it. */
function histogramBytes(blob: Uint8Array): number {
  return blob.byteLength + 16;
}

/** Position of a time, or -1. */
function indexOfTime(times: readonly number[], wanted: number): number {
  const at = timeAfter(times, times.length, wanted) - 1;
  return at >= 0 && times[at] === wanted ? at : -1;
}

/** Index of the first time > wanted. */
function timeAfter(times: readonly number[], count: number, wanted: number): number {
  let lo = 0;
  let hi = count;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (times[mid]! <= wanted) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** Index of the first time >= wanted. */
function lowerBound(times: Float64Array, count: number, wanted: number): number {
  let lo = 0;
  let hi = count;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (times[mid]! < wanted) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** Index of the first time > wanted. */
function upperBound(times: Float64Array, count: number, wanted: number): number {
  let lo = 0;
  let hi = count;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (times[mid]! <= wanted) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
