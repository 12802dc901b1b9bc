/**
 * The store as Kedify's scaler shows its own: names of metrics, and for each the series with their samples within the
 * window and what every operation makes of them.
 */
import { isStaleHistogram } from '../../model/histogram.ts';
import { METRIC_NAME } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import { SampleBuffer } from '../../model/sample.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { HeadReader } from '../../tsdb/head.ts';
import { OPERATIONS } from './metric-query.ts';
import type { OriginalNames } from './original-names.ts';
import { overTime } from './over-time.ts';

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

/** Series with samples within the window, by name; the first `memstoreSeriesMax` of them. */
export function memoryData(view: MemoryView): Readonly<Record<string, ViewedSeries[]>> {
  const { head, names, nowMs, windowMs, sinceMs } = view;
  const data: Record<string, ViewedSeries[]> = Object.create(null);
  const matchers = [{ type: '!=', name: METRIC_NAME, value: '' }] as const;
  const fromMs = Math.max(nowMs - windowMs - 1, sinceMs);
  const selection = head.select({ matchers, fromMs, toMs: nowMs, scope: SCOPE_ALL });
  const buffer = new SampleBuffer(256);
  const seriesMax = Math.min(selection.count, LIMITS.memstoreSeriesMax);
  for (let i = 0; i < seriesMax; i++) {
    const count = readFloats(selection.read(i, fromMs, nowMs, buffer), buffer);
    if (count === 0 && !hasHistograms(selection, i, fromMs, nowMs)) continue;
    const labels = selection.labels(i);
    const shown: Record<string, string> = Object.create(null);
    let stored = '';
    for (let l = 0; l < labels.length; l += 2) {
      if (labels[l] === METRIC_NAME) stored = labels[l + 1]!;
      else shown[names.keyOf(labels[l]!)] = labels[l + 1]!;
    }
    const points = { timesMs: buffer.timesMs, values: buffer.values, count };
    const viewed: ViewedSeries = {
      labels: shown,
      data: Array.from({ length: count }, (_, p) => ({
        value: buffer.values[p]!,
        time: Math.floor(buffer.timesMs[p]! / 1000),
      })),
      aggregatesOverTime:
        count === 0
          ? {}
          : Object.fromEntries(OPERATIONS.map((operation) => [operation, overTime(operation, points, false)])),
      lastUpdate: count === 0 ? 0 : Math.floor(buffer.timesMs[count - 1]! / 1000),
    };
    for (const name of names.namesOf(stored)) {
      data[name] ??= [];
      data[name].push(viewed);
    }
  }
  selection.close();
  return data;
}

/** Moves the samples that are no stale markers to the front, and counts them. */
function readFloats(read: number, buffer: SampleBuffer): number {
  let count = 0;
  for (let at = 0; at < read; at++) {
    if (buffer.isStale(at)) continue;
    buffer.timesMs[count] = buffer.timesMs[at]!;
    buffer.values[count] = buffer.values[at]!;
    count++;
  }
  return count;
}

function hasHistograms(
  selection: ReturnType<MemoryView['head']['select']>,
  i: number,
  fromMs: number,
  toMs: number,
): boolean {
  return selection.hasHistograms(i) && !selection.readHistograms(i, fromMs, toMs).blobs.every(isStaleHistogram);
}
