/**
 * The store as Kedify's scaler shows its own: names of metrics, and for each the series with their samples within the
 * window and what every operation makes of them.
 */
import { METRIC_NAME } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { HeadReader } from '../../tsdb/head.ts';
import { AHEAD_MS_MAX, readPoints } from './evaluate.ts';
import { OPERATIONS } from './metric-query.ts';
import type { OriginalNames, StoredMetric } from './original-names.ts';
import { overTime, type Points } from './over-time.ts';

export interface MemoryView {
  readonly head: Pick<HeadReader, 'select' | 'labelValues'>;
  readonly names: OriginalNames;
  readonly nowMs: number;
  readonly windowMs: number;
  /** What is not newer was wiped: it is not there. */
  readonly sinceMs: number;
}

export interface ViewedSeries {
  readonly labels: Readonly<Record<string, string>>;
  /** Times in seconds. */
  readonly data: readonly { readonly value: number; readonly time: number }[];
  readonly aggregatesOverTime: Readonly<Record<string, number>>;
  readonly lastUpdate: number;
}

/** Names of metrics with samples in the store, sorted. */
export function memoryNames({ head, names, sinceMs }: MemoryView): readonly string[] {
  const matchers = [{ type: '!=', name: METRIC_NAME, value: '' }] as const;
  const stored = head.labelValues(METRIC_NAME, {
    matchers,
    fromMs: sinceMs,
    toMs: Number.MAX_SAFE_INTEGER,
    scope: SCOPE_ALL,
  });
  return [...new Set(stored.flatMap((name) => names.namesOf(name)))].sort();
}

/** Live series by the names that they are asked for; the first `memstoreSeriesMax` of them. */
export function memoryData(view: MemoryView): Readonly<Record<string, ViewedSeries[]>> {
  const data: Record<string, ViewedSeries[]> = Object.create(null);
  let left = LIMITS.memstoreSeriesMax;
  for (const name of memoryNames(view)) {
    const series: ViewedSeries[] = [];
    for (const metric of view.names.find(name)) {
      const found = left > 0 ? seriesOf(metric, view, left) : [];
      left -= found.length;
      series.push(...found);
    }
    if (series.length > 0) data[name] = series;
  }
  return data;
}

function seriesOf(metric: StoredMetric, view: MemoryView, seriesMax: number): readonly ViewedSeries[] {
  const { head, names, nowMs, windowMs, sinceMs } = view;
  const fromMs = Math.max(nowMs - windowMs - 1, sinceMs);
  const toMs = nowMs + AHEAD_MS_MAX;
  const matchers = [{ type: '=', name: METRIC_NAME, value: metric.name }] as const;
  const selection = head.select({ matchers, fromMs, toMs, scope: SCOPE_ALL });
  const found: ViewedSeries[] = [];
  for (let i = 0; i < selection.count && found.length < seriesMax; i++) {
    const points = readPoints(selection, i, metric.part, fromMs, toMs);
    if (points !== null) found.push(viewed(labelsOf(selection.labels(i), names), points, metric.isDelta));
  }
  selection.close();
  return found;
}

function viewed(labels: ViewedSeries['labels'], points: Points, isDelta: boolean): ViewedSeries {
  const { timesMs, values, count } = points;
  return {
    labels,
    data: Array.from({ length: count }, (_, p) => ({ value: values[p]!, time: Math.floor(timesMs[p]! / 1000) })),
    aggregatesOverTime: Object.fromEntries(
      OPERATIONS.map((operation) => [operation, overTime(operation, points, isDelta)]),
    ),
    lastUpdate: Math.floor(timesMs[count - 1]! / 1000),
  };
}

/** Under the keys that their sender gave them. */
function labelsOf(labels: readonly string[], names: OriginalNames): ViewedSeries['labels'] {
  const shown: Record<string, string> = Object.create(null);
  for (let l = 0; l < labels.length; l += 2) {
    if (labels[l] !== METRIC_NAME) shown[names.keyOf(labels[l]!)] = labels[l + 1]!;
  }
  return shown;
}
