/** From bound expressions to results: names return, series are sorted, points without a sample are left out. */
import { compareLabels, type Labels } from '../../model/labels.ts';
import { extendedPoints } from '../functions/extended.ts';
import type { MatrixResult, SeriesPoints, VectorResult } from '../result.ts';
import { FLOAT, type Grid } from './column.ts';
import type { RangeSource, RowSamples } from './range.ts';
import { Merger, mergeEqual, type Rows, withoutName } from './rows.ts';
import type { Run, Slices } from './run.ts';
import type { BoundVector, Visit } from './vector.ts';
import { moveWindow, newWindow, type Window } from './window.ts';

/** The vector with pending name removals done; rows that come to be equal are put together. */
function withFinalNames(run: Run, vector: BoundVector): BoundVector {
  if (!run.options.delayedNameRemoval) return vector;
  const { rows: input } = vector;
  const unnamed: Rows = {
    ...input,
    count: input.count,
    labels: (row) => (input.marked(row) ? withoutName(input.labels(row)) : input.labels(row)),
  };
  const { rows, merge } = mergeEqual(unnamed);
  if (merge === null) return { ...vector, rows };
  return {
    grid: vector.grid,
    rows,
    *stream(now, visit) {
      const merger = new Merger(merge, rows.count, vector.grid.count, 'merge');
      yield* vector.stream(now, (row, column) => merger.take(row, column.values, column.present, visit));
      merger.finish(visit);
    },
  };
}

/** One step: series in the order in which they were evaluated. */
export function* encodeVector(run: Run, bound: BoundVector, timeMs: number): Slices<VectorResult> {
  const vector = withFinalNames(run, bound);
  const labels: Labels[] = [];
  const values: number[] = [];
  yield* vector.stream(run, (row, column) => {
    if (column.present[0] !== FLOAT) return;
    labels.push(vector.rows.labels(row));
    values.push(column.values[0]!);
  });
  return { kind: 'vector', timeMs, labels, values: Float64Array.from(values) };
}

/** All steps: series sorted by their labels. */
export function* encodeMatrix(run: Run, bound: BoundVector): Slices<MatrixResult> {
  const vector = withFinalNames(run, bound);
  const series: SeriesPoints[] = [];
  const visit: Visit = (row, { values, present }) => {
    const points = pointsOf(vector.grid, values, present);
    run.charge(points.timesMs.length);
    if (points.timesMs.length > 0) series.push({ labels: vector.rows.labels(row), ...points });
  };
  yield* vector.stream(run, visit);
  series.sort((a, b) => compareLabels(a.labels, b.labels));
  return { kind: 'matrix', series };
}

function pointsOf(
  grid: Grid,
  values: Float64Array,
  present: Uint8Array,
): { timesMs: Float64Array; values: Float64Array } {
  let count = 0;
  for (let k = 0; k < grid.count; k++) if (present[k] === FLOAT) count++;
  const points = { timesMs: new Float64Array(count), values: new Float64Array(count) };
  for (let k = 0, i = 0; k < grid.count; k++) {
    if (present[k] !== FLOAT) continue;
    points.timesMs[i] = grid.startMs + k * grid.stepMs;
    points.values[i++] = values[k]!;
  }
  return points;
}

/** A scalar over a range is a series without labels. */
export function scalarMatrix(grid: Grid, values: Float64Array): MatrixResult {
  return {
    kind: 'matrix',
    series: [{ labels: [], ...pointsOf(grid, values, new Uint8Array(grid.count).fill(FLOAT)) }],
  };
}

/** A range vector at one step: its samples as they are. */
export function* encodeRange(run: Run, source: RangeSource): Slices<MatrixResult> {
  yield* source.prepare(run);
  const series: SeriesPoints[] = [];
  const samples: RowSamples = { timesMs: new Float64Array(0), values: new Float64Array(0), count: 0 };
  const window = newWindow([], run.options.lookbackMs);
  for (let row = 0; row < source.rows.count; row++) {
    source.load(run, row, samples);
    Object.assign(window, { timesMs: samples.timesMs, values: samples.values, count: samples.count, lo: 0, hi: 0 });
    moveWindow(window, source, 0);
    const points = source.edges === null ? pointsInside(window) : extendedPoints(window, source.edges === 'smoothed');
    if (points.timesMs.length === 0) continue;
    const own = source.rows.labels(row);
    const labels = source.rows.marked(row) ? withoutName(own) : own;
    series.push({ labels, ...points });
    if (run.work(samples.count)) yield;
  }
  series.sort((a, b) => compareLabels(a.labels, b.labels));
  return { kind: 'matrix', series };
}

type Points = Omit<SeriesPoints, 'labels'>;

function pointsInside({ timesMs, values, lo, hi }: Window): Points {
  return { timesMs: timesMs.slice(lo, hi), values: values.slice(lo, hi) };
}
