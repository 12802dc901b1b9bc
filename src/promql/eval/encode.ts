/** From bound expressions to results: names return, series are sorted, points without a sample are left out. */

import type { FloatHistogram } from '../../model/histogram.ts';
import { compareLabels, type Labels } from '../../model/labels.ts';
import { extendedPoints } from '../functions/extended.ts';
import type { MatrixResult, SeriesPoints, VectorResult } from '../result.ts';
import { ABSENT, type Column, FLOAT, type Grid, HISTOGRAM, type HistogramSlots, newColumn } from './column.ts';
import { newRowSamples, type RangeSource } from './range.ts';
import { Merger, mergeEqual, type Rows, withoutName } from './rows.ts';
import { LABEL_WORK, type Run, type Slices } from './run.ts';
import { sortInSlices } from './sort.ts';
import type { BoundVector, Visit } from './vector.ts';
import { moveWindow, newWindow, openWindow, type Window } from './window.ts';

/** The vector with pending name removals done; rows that come to be equal are put together. */
function* withFinalNames(run: Run, vector: BoundVector): Slices<BoundVector> {
  if (!run.options.delayedNameRemoval) return vector;
  const { rows: input, grid } = vector;
  const unnamed: Rows = {
    count: input.count,
    labels: (row) => (input.marked(row) ? withoutName(input.labels(row)) : input.labels(row)),
    marked: (row) => input.marked(row),
    sameName: input.sameName,
    codes: null,
    identity: null,
  };
  const { rows, merge } = yield* mergeEqual(run, unnamed);
  if (merge === null) return { grid, rows, stream: (now, visit) => vector.stream(now, visit) };
  return { grid, rows, stream: (now, visit) => streamMerged(now, visit, vector, rows, merge) };
}

function* streamMerged(run: Run, visit: Visit, vector: BoundVector, rows: Rows, merge: Int32Array): Slices<void> {
  const merger = new Merger(merge, rows.count, vector.grid.count, 'merge');
  yield* vector.stream(run, (row, column) => merger.take(row, column, visit));
  merger.finish(visit);
}

/** One step: series in the order in which they were evaluated. */
export function* encodeVector(run: Run, bound: BoundVector, timeMs: number): Slices<VectorResult> {
  const vector = yield* withFinalNames(run, bound);
  const labels: Labels[] = [];
  const values: number[] = [];
  const histograms: (FloatHistogram | null)[] = [];
  let anyHistogram = false;
  yield* vector.stream(run, (row, column) => {
    const kind = column.present[0];
    if (kind === ABSENT) return;
    const isHistogram = kind === HISTOGRAM;
    const own = vector.rows.labels(row);
    run.chargeResult(own, isHistogram ? histogramBytes(column.histograms![0]!) : BYTES_A_POINT);
    run.noteWork(LABEL_WORK);
    labels.push(own);
    values.push(isHistogram ? Number.NaN : column.values[0]!);
    histograms.push(isHistogram ? column.histograms![0]! : null);
    anyHistogram ||= isHistogram;
  });
  const packed = new Float64Array(values);
  return anyHistogram
    ? { kind: 'vector', timeMs, labels, values: packed, histograms }
    : { kind: 'vector', timeMs, labels, values: packed };
}

/** All steps: series sorted by their labels. */
export function* encodeMatrix(run: Run, bound: BoundVector): Slices<MatrixResult> {
  const vector = yield* withFinalNames(run, bound);
  const series: SeriesPoints[] = [];
  const visit: Visit = (row, column) => {
    const points = pointsOf(vector.grid, column);
    run.charge(points.timesMs.length + (points.histograms?.timesMs.length ?? 0));
    if (points.timesMs.length > 0 || points.histograms !== undefined)
      push(run, series, vector.rows.labels(row), points);
  };
  yield* vector.stream(run, visit);
  yield* sortInSlices(run, series, (a, b) => compareLabels(a.labels, b.labels));
  return { kind: 'matrix', series };
}

/** A time and a value. */
const BYTES_A_POINT = 16;

function histogramBytes({ positive, negative, customValues }: FloatHistogram): number {
  return 64 + 8 * (positive.counts.length + negative.counts.length + customValues.length);
}

function push(run: Run, series: SeriesPoints[], labels: Labels, { timesMs, values, histograms }: Points): void {
  let bytes = timesMs.length * BYTES_A_POINT;
  for (const histogram of histograms?.values ?? []) bytes += histogramBytes(histogram);
  run.chargeResult(labels, bytes);
  run.noteWork(LABEL_WORK);
  series.push(histograms === undefined ? { labels, timesMs, values } : { labels, timesMs, values, histograms });
}

function pointsOf(grid: Grid, { values, present, histograms }: Column): Points {
  let count = 0;
  for (let k = 0; k < grid.count; k++) if (present[k] === FLOAT) count++;
  const points = { timesMs: new Float64Array(count), values: new Float64Array(count) };
  for (let k = 0, i = 0; k < grid.count; k++) {
    if (present[k] !== FLOAT) continue;
    points.timesMs[i] = grid.startMs + k * grid.stepMs;
    points.values[i++] = values[k]!;
  }
  return histograms === null ? points : withHistograms(points, grid, histograms, present);
}

function withHistograms(points: Points, grid: Grid, histograms: HistogramSlots, present: Uint8Array): Points {
  const kept: number[] = [];
  for (let k = 0; k < grid.count; k++) if (present[k] === HISTOGRAM) kept.push(k);
  if (kept.length === 0) return points;
  const timesMs = Float64Array.from(kept, (k) => grid.startMs + k * grid.stepMs);
  const values = kept.map((k) => histograms[k]!);
  return { timesMs: points.timesMs, values: points.values, histograms: { timesMs, values } };
}

/** A scalar over a range is a series without labels. */
export function scalarMatrix(grid: Grid, values: Float64Array): MatrixResult {
  const column = newColumn(grid.count);
  column.values.set(values);
  column.present.fill(FLOAT);
  const points = pointsOf(grid, column);
  return { kind: 'matrix', series: [{ labels: [], timesMs: points.timesMs, values: points.values }] };
}

/** A range vector at one step: its samples as they are. */
export function* encodeRange(run: Run, source: RangeSource): Slices<MatrixResult> {
  yield* source.prepare(run);
  const series: SeriesPoints[] = [];
  const samples = newRowSamples();
  const window = newWindow([], run.options.lookbackMs);
  for (let row = 0; row < source.rows.count; row++) {
    source.load(run, row, samples);
    openWindow(window, samples);
    moveWindow(window, source, 0);
    const points: Points =
      source.edges === null ? pointsInside(window) : extendedPoints(window, source.edges === 'smoothed');
    if (points.timesMs.length === 0 && points.histograms === undefined) continue;
    const own = source.rows.labels(row);
    const labels = source.rows.marked(row) ? withoutName(own) : own;
    push(run, series, labels, points);
    if (run.work(LABEL_WORK + samples.count)) yield;
  }
  yield* sortInSlices(run, series, (a, b) => compareLabels(a.labels, b.labels));
  return { kind: 'matrix', series };
}

type Points = Omit<SeriesPoints, 'labels'>;

function pointsInside({ timesMs, values, histograms, lo, hi }: Window): Points {
  if (histograms === null) return { timesMs: timesMs.slice(lo, hi), values: values.slice(lo, hi) };
  const floats: number[] = [];
  const others: number[] = [];
  for (let i = lo; i < hi; i++) (histograms[i] === null ? floats : others).push(i);
  const points = {
    timesMs: Float64Array.from(floats, (i) => timesMs[i]!),
    values: Float64Array.from(floats, (i) => values[i]!),
  };
  if (others.length === 0) return points;
  return {
    timesMs: points.timesMs,
    values: points.values,
    histograms: {
      timesMs: Float64Array.from(others, (i) => timesMs[i]!),
      values: others.map((i) => histograms[i]!),
    },
  };
}
