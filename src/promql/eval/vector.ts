/**
 * Bound expressions: label work is done, only numbers are left to compute.
 *
 * A vector streams its rows: each row that has a point is visited once, in any order, as a column that is borrowed until
 * `visit` returns. So an aggregation of a hundred thousand series never holds more than one of them.
 */
import type { GroupSums } from '../../tsdb/head.ts';
import {
  ABSENT,
  anyPresent,
  type Column,
  type Frame,
  frameColumn,
  type Grid,
  newColumn,
  newFrame,
  setRow,
} from './column.ts';
import { type Collision, Merger, type Renamed, type Rows } from './rows.ts';
import { ROW_WORK, type Run, type Slices } from './run.ts';

export type Visit = (row: number, column: Column) => void;

/*
 * Whoever makes one writes its generators as functions of their module, not as methods of the object: V8 gives every
 * generator function that is called an object in the old generation, and with it whatever its closure holds outlives all
 * scavenges until the next full collection. So 20 MB of a daemon that answers autoscalers became 240.
 */
export interface BoundVector {
  readonly grid: Grid;
  readonly rows: Rows;
  stream(run: Run, visit: Visit): Slices<void>;
  /**
   * On a grid of one step: many rows at a time, floats only. Null where rows come one by one only. It says the same as
   * `stream`, and saves a call a row where the next operator can take more.
   */
  readonly batches?: ((run: Run, take: TakeBatch) => Slices<void>) | null;
  /** Floats only. Null where rows can only be visited. */
  readonly summing?: Summing | null;
}

/** A vector whose rows the store adds up by itself. */
export interface Summing {
  /** Sums that it takes at most. */
  readonly slotsMax: number;
  /** Adds all rows to the sums; those that the store cannot do are visited instead. */
  add(run: Run, into: GroupSums, visit: Visit): Slices<void>;
}

/** Slot i of the column, 0 <= i < count, is row from + i. Batches follow one another without gaps; the column is borrowed. */
export type TakeBatch = (from: number, count: number, column: Pick<Column, 'values' | 'present'>) => void;

/** A number a step. */
export interface BoundScalar {
  readonly grid: Grid;
  evaluate(run: Run): Slices<Float64Array>;
}

/** Holds all rows of a vector in memory; charged like samples. */
export function* collect(run: Run, vector: BoundVector): Slices<Frame> {
  const steps = vector.grid.count;
  run.charge(vector.rows.count * steps);
  const frame = newFrame(vector.rows.count, steps);
  if (vector.batches != null) {
    yield* vector.batches(run, (from, count, { values, present }) => {
      frame.values.set(values.subarray(0, count), from);
      frame.present.set(present.subarray(0, count), from);
    });
    return frame;
  }
  yield* vector.stream(run, (row, column) => setRow(frame, row, column));
  return frame;
}

/** Visits the rows of a frame. */
export function* streamFrame(run: Run, frame: Frame, visit: Visit): Slices<void> {
  const { steps } = frame;
  for (let row = 0; row < frame.rows; row++) {
    const column = frameColumn(frame, row);
    if (anyPresent(column.present)) visit(row, column);
    if (run.work(ROW_WORK + steps)) yield;
  }
}

/** A vector whose rows are those of another, each changed on its way by `change` (which may write into the column). */
export function mapRows(
  child: BoundVector,
  renamed: Renamed,
  collision: Collision,
  change: (row: number, column: Column) => void,
): BoundVector {
  const { merge, rows } = renamed;
  return {
    grid: child.grid,
    rows,
    stream: (run, visit) => {
      if (merge !== null)
        return streamMerged(run, visit, child, new Merger(merge, rows.count, child.grid.count, collision), change);
      return child.stream(run, (row, column) => {
        change(row, column);
        visit(row, column);
      });
    },
  };
}

function* streamMerged(
  run: Run,
  visit: Visit,
  child: BoundVector,
  merger: Merger,
  change: (row: number, column: Column) => void,
): Slices<void> {
  yield* child.stream(run, (row, column) => {
    change(row, column);
    if (anyPresent(column.present)) merger.take(row, column, visit);
  });
  merger.finish(visit);
}

/** A vector of one step repeated over a grid: what does not depend on the step is computed once. */
export function repeatVector(child: BoundVector, grid: Grid): BoundVector {
  return {
    grid,
    rows: child.rows,
    stream: (run, visit) => streamRepeated(run, visit, child, grid),
  };
}

function* streamRepeated(run: Run, visit: Visit, child: BoundVector, grid: Grid): Slices<void> {
  const column = newColumn(grid.count);
  yield* child.stream(run, (row, one) => {
    const kind = one.present[0]!;
    if (kind === ABSENT) return;
    // The visitor may have written into the column.
    column.present.fill(kind);
    column.values.fill(one.values[0]!);
    column.histograms = one.histograms === null ? null : new Array(grid.count).fill(one.histograms[0]);
    visit(row, column);
  });
}

export function repeatScalar(child: BoundScalar, grid: Grid): BoundScalar {
  return { grid, evaluate: (run) => repeated(run, child, grid) };
}

function* repeated(run: Run, child: BoundScalar, grid: Grid): Slices<Float64Array> {
  const one = yield* child.evaluate(run);
  return new Float64Array(grid.count).fill(one[0]!);
}

export function constantScalar(value: number, grid: Grid): BoundScalar {
  return { grid, evaluate: () => constants(value, grid.count) };
}

// biome-ignore lint/correctness/useYield: a constant has nothing to wait for
function* constants(value: number, count: number): Slices<Float64Array> {
  return new Float64Array(count).fill(value);
}

/** A scalar computed from each step's time. */
export function scalarOfTime(grid: Grid, valueAt: (timeMs: number) => number): BoundScalar {
  return { grid, evaluate: () => valuesOfTime(grid, valueAt) };
}

// biome-ignore lint/correctness/useYield: one pass over the steps
function* valuesOfTime(grid: Grid, valueAt: (timeMs: number) => number): Slices<Float64Array> {
  const values = new Float64Array(grid.count);
  for (let k = 0; k < grid.count; k++) values[k] = valueAt(grid.startMs + k * grid.stepMs);
  return values;
}
