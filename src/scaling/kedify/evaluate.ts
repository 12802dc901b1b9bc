/**
 * What a `metricQuery` makes of the store at a moment: which series are meant, and their value.
 *
 * Live is a series whose newest sample lies within the window, its beginning included. Of the live ones
 *
 *     1. those that carry exactly the labels asked for, and no others, count alone, if there are any;
 *     2. else every one that does not contradict a label asked for: a label that a series lacks matches.
 *
 * With `lenientLabels` off, plain equality of labels decides. Labels that come from the resource may be asked for, and do
 * not count as others: there, they do not exist.
 * Source: kedify/otel-add-on v0.1.4, metric/mem_store.go.
 */
import { CodedError } from '../../model/errors.ts';
import { decodeHistogram, isStaleHistogram } from '../../model/histogram.ts';
import { METRIC_NAME } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import { SampleBuffer } from '../../model/sample.ts';
import type { Scope } from '../../model/scope.ts';
import type { HeadReader, Selection } from '../../tsdb/head.ts';
import type { MetricQuery, Operation } from './metric-query.ts';
import type { OriginalNames, StoredMetric } from './original-names.ts';
import { aggregate, overTime, type Points } from './over-time.ts';

export interface KedifyQuestion {
  readonly query: MetricQuery;
  readonly operation: Operation;
  readonly scope: Scope;
  readonly timeMs: number;
  readonly windowMs: number;
  /** How old the newest sample of a live series may be; at most the window. */
  readonly freshnessMs: number;
  readonly lenientLabels: boolean;
  /** What is not newer was wiped: it is not there. */
  readonly sinceMs: number;
}

export interface KedifyResult {
  /** Null where no live series is meant, or the result is not finite. */
  readonly value: number | null;
  /** Live series that count. */
  readonly series: number;
  /** Newest sample of them. */
  readonly newestMs: number | null;
  /** The metric's name leads to samples, of whatever age. */
  readonly isKnown: boolean;
  /** Labels asked for that no series that counts carries: they decide nothing. */
  readonly ignoredLabels: readonly string[];
}

export interface KedifySurroundings {
  readonly head: Pick<HeadReader, 'select'>;
  readonly names: OriginalNames;
}

/** How far ahead of our clock a sender's may be. */
export const AHEAD_MS_MAX = 30_000;
const SERIES_BETWEEN_YIELDS = 256;

/** Evaluates, in slices: yields between some hundred series. Throws `query_too_large`. */
export function* evaluateMetricQuery(
  question: KedifyQuestion,
  { head, names }: KedifySurroundings,
): Generator<void, KedifyResult, void> {
  const stored = names.find(question.query.metric);
  const all = new Gathered();
  const exact = new Gathered();
  for (const metric of stored) yield* gather(metric, question, head, names, all, exact);
  const isKnown = all.count > 0 || stored.some((metric) => hasSamples(metric, question, head));
  const counted = question.lenientLabels && exact.count > 0 ? exact : all;
  if (counted.count === 0) return { value: null, series: 0, newestMs: null, isKnown, ignoredLabels: [] };
  const value = aggregate(question.query.aggregator, Float64Array.from(counted.values));
  return {
    value: Number.isFinite(value) ? value : null,
    series: counted.count,
    newestMs: counted.newestMs,
    isKnown,
    ignoredLabels: [...question.query.labels.keys()].filter((key) => !counted.keys.has(key)),
  };
}

/** Values of the series that count so far. */
class Gathered {
  readonly values: number[] = [];
  /** Labels asked for that some series carries. */
  readonly keys = new Set<string>();
  newestMs = -Infinity;

  get count(): number {
    return this.values.length;
  }
}

function* gather(
  metric: StoredMetric,
  question: KedifyQuestion,
  head: KedifySurroundings['head'],
  names: OriginalNames,
  all: Gathered,
  exact: Gathered,
): Generator<void, void, void> {
  const { timeMs, windowMs, freshnessMs, scope, operation, sinceMs } = question;
  const fromMs = Math.max(timeMs - windowMs - 1, sinceMs);
  const selection = head.select({ matchers: matchersOf(metric), fromMs, toMs: timeMs + AHEAD_MS_MAX, scope });
  try {
    if (selection.samplesMax > LIMITS.scalerSamplesMax) throw tooLarge(selection.samplesMax);
    const wanted = wantedLabels(question.query.labels, names, selection);
    for (let i = 0; i < selection.count; i++) {
      if (i % SERIES_BETWEEN_YIELDS === SERIES_BETWEEN_YIELDS - 1) yield;
      const match = matchOf(i, wanted, question.lenientLabels);
      if (match === null) continue;
      const points = readPoints(selection, i, metric.part, fromMs, timeMs + AHEAD_MS_MAX);
      if (points === null || points.timesMs[points.count - 1]! < timeMs - freshnessMs) continue;
      const value = overTime(operation, points, metric.isDelta);
      const newestMs = points.timesMs[points.count - 1]!;
      add(all, value, newestMs, match);
      if (question.lenientLabels && isExact(selection, i, wanted, names)) add(exact, value, newestMs, match);
    }
  } finally {
    selection.close();
  }
}

function add(into: Gathered, value: number, newestMs: number, keys: readonly string[]): void {
  into.values.push(value);
  into.newestMs = Math.max(into.newestMs, newestMs);
  for (const key of keys) into.keys.add(key);
}

/** A label asked for, and the columns of the labels that its key may have become. */
interface Wanted {
  readonly key: string;
  readonly value: string;
  readonly labelNames: readonly string[];
  readonly columns: readonly Uint32Array[];
  readonly isEqual: (code: number) => boolean;
}

function wantedLabels(
  labels: ReadonlyMap<string, string>,
  names: OriginalNames,
  selection: Selection,
): readonly Wanted[] {
  return [...labels].map(([key, value]) => {
    const labelNames = names.labelNames(key);
    const known = new Map<number, boolean>();
    const isEqual = (code: number): boolean => {
      let equal = known.get(code);
      if (equal === undefined) {
        equal = selection.labelText(code) === value;
        known.set(code, equal);
      }
      return equal;
    };
    return { key, value, labelNames, columns: labelNames.map((name) => selection.labelCodes(name)), isEqual };
  });
}

/** The keys asked for that the series carries, or null if it is not meant. */
function matchOf(i: number, wanted: readonly Wanted[], isLenient: boolean): readonly string[] | null {
  const carried: string[] = [];
  for (const { key, value, columns, isEqual } of wanted) {
    const code = columns.find((column) => column[i] !== 0)?.[i] ?? 0;
    if (code === 0 && (isLenient || value === '')) continue;
    if (code === 0 || !isEqual(code)) return null;
    carried.push(key);
  }
  return carried;
}

/** Whether a series that is meant carries all labels asked for, and of its own no others. */
function isExact(selection: Selection, i: number, wanted: readonly Wanted[], names: OriginalNames): boolean {
  if (wanted.some(({ columns }) => columns.every((column) => column[i] === 0))) return false;
  const labels = selection.labels(i);
  for (let l = 0; l < labels.length; l += 2) {
    const name = labels[l]!;
    if (name === METRIC_NAME || names.isOfResource(name)) continue;
    if (!wanted.some(({ labelNames }) => labelNames.includes(name))) return false;
  }
  return true;
}

/** Borrowed from one series to the next. */
const buffer = new SampleBuffer(256);

/** Samples of a series after `fromMs`; null if there are none, or if its sender has ended it. */
export function readPoints(
  selection: Selection,
  i: number,
  part: StoredMetric['part'],
  fromMs: number,
  toMs: number,
): Points | null {
  if (part !== 'float') return readHistogramPoints(selection, i, part, fromMs, toMs);
  const read = selection.read(i, fromMs, toMs, buffer);
  if (read === 0 || buffer.isStale(read - 1)) return null;
  let count = 0;
  for (let at = 0; at < read; at++) {
    if (buffer.isStale(at)) continue;
    buffer.timesMs[count] = buffer.timesMs[at]!;
    buffer.values[count] = buffer.values[at]!;
    count++;
  }
  return { timesMs: buffer.timesMs, values: buffer.values, count };
}

function readHistogramPoints(
  selection: Selection,
  i: number,
  part: 'count' | 'sum',
  fromMs: number,
  toMs: number,
): Points | null {
  if (!selection.hasHistograms(i)) return null;
  const { timesMs, blobs } = selection.readHistograms(i, fromMs, toMs);
  if (blobs.length === 0 || isStaleHistogram(blobs.at(-1)!)) return null;
  const kept = blobs.map((_, at) => at).filter((at) => !isStaleHistogram(blobs[at]!));
  return {
    timesMs: Float64Array.from(kept, (at) => timesMs[at]!),
    values: Float64Array.from(kept, (at) => decodeHistogram(blobs[at]!)[part]),
    count: kept.length,
  };
}

/** Whether a metric has samples of the kind that is meant, however old. */
function hasSamples(
  metric: StoredMetric,
  { scope, sinceMs: fromMs }: KedifyQuestion,
  head: KedifySurroundings['head'],
): boolean {
  const toMs = Number.MAX_SAFE_INTEGER;
  const selection = head.select({ matchers: matchersOf(metric), fromMs, toMs, scope });
  try {
    const seriesMax = Math.min(selection.count, LIMITS.explainedSeriesMax);
    for (let i = 0; i < seriesMax; i++) {
      const has =
        metric.part === 'float'
          ? selection.read(i, fromMs, toMs, buffer) > 0
          : selection.hasHistograms(i) && selection.readHistograms(i, fromMs, toMs).blobs.length > 0;
      if (has) return true;
    }
    return false;
  } finally {
    selection.close();
  }
}

function matchersOf({ name }: StoredMetric) {
  return [{ type: '=', name: METRIC_NAME, value: name }] as const;
}

function tooLarge(samples: number): CodedError {
  return new CodedError(
    'query_too_large',
    `cannot evaluate metricQuery: it would read ${samples} samples, want at most ${LIMITS.scalerSamplesMax}`,
  );
}
