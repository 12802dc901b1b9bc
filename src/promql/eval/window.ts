/**
 * Functions over a window of samples, step by step: the loop that feeds the kernels of functions/rate.ts, over-time.ts and
 * trend.ts.
 */
import type { RateKind, RateWindows, Selection } from '../../tsdb/head.ts';
import { anyPresent, BATCH_ROWS, type Column, FLOAT, newColumn, newWholeColumn } from './column.ts';
import type { RangeSource, RowSamples } from './range.ts';
import { type Collision, Merger, type Renamed } from './rows.ts';
import type { Run, Slices } from './run.ts';
import type { BoundScalar, BoundVector, Visit } from './vector.ts';

/** What a kernel sees: the samples at lo <= i < hi lie in the window (startMs, endMs]. */
export interface Window {
  timesMs: Float64Array;
  values: Float64Array;
  /** Samples of the row; those outside of the window may be looked at by the extended kernels. */
  count: number;
  lo: number;
  hi: number;
  startMs: number;
  endMs: number;
  /** Time of evaluation: differs from endMs under offset and @. */
  evalMs: number;
  step: number;
  /** Scalar arguments, one value a step. */
  params: readonly Float64Array[];
  lookbackMs: number;
  /** Set by a kernel that has no result at this step. */
  absent: boolean;
}

export interface RangeKernel {
  /** Samples without which there is no result. */
  readonly samplesMin: number;
  /** The store computes this one for many series at once. */
  readonly bulk?: RateKind;
  run(window: Window): number;
}

/** What a range call has to say about its rows with results, and about its parameters if there are any rows. */
export interface RangeNotes {
  readonly row: ((row: number) => void) | null;
  readonly params: ((params: readonly Float64Array[]) => void) | null;
  /** True if what is said of a row depends on its metric name alone. */
  readonly isAboutName: boolean;
}

export interface RangeCallParts {
  readonly source: RangeSource;
  readonly kernel: RangeKernel;
  readonly params: readonly BoundScalar[];
  readonly renamed: Renamed;
  readonly collision: Collision;
  readonly notes: RangeNotes | null;
}

export function rangeCall(parts: RangeCallParts): BoundVector {
  const { source, kernel, renamed } = parts;
  const { grid } = source;
  const bulk =
    source.selection !== null && kernel.bulk !== undefined ? { selection: source.selection, kind: kernel.bulk } : null;
  const isWhole = bulk !== null && grid.count === 1 && renamed.merge === null;
  return {
    grid,
    rows: renamed.rows,
    *stream(run, visit) {
      const merger =
        renamed.merge === null ? null : new Merger(renamed.merge, renamed.rows.count, grid.count, parts.collision);
      const pass: Visit =
        merger === null ? visit : (row, column) => merger.take(row, column.values, column.present, visit);
      const done = bulk === null ? 0 : yield* streamBulk(run, bulk, parts, pass);
      yield* streamRows(run, parts, done, pass);
      merger?.finish(visit);
    },
    whole: isWhole ? (run) => wholeBulk(run, bulk, parts) : null,
  };
}

/** Rows from `first` on, one by one: their samples are read, and a window is moved over them. */
function* streamRows(run: Run, parts: RangeCallParts, first: number, visit: Visit): Slices<void> {
  const { source, kernel, params, notes } = parts;
  const { grid, rows } = source;
  yield* source.prepare(run);
  const evaluated: Float64Array[] = [];
  for (const param of params) evaluated.push(yield* param.evaluate(run));
  if (rows.count > 0) notes?.params?.(evaluated);
  const samples: RowSamples = { timesMs: new Float64Array(0), values: new Float64Array(0), count: 0 };
  const window = newWindow(evaluated, run.options.lookbackMs);
  const column = newColumn(grid.count);
  for (let row = first; row < rows.count; row++) {
    source.load(run, row, samples);
    window.timesMs = samples.timesMs;
    window.values = samples.values;
    window.count = samples.count;
    window.lo = 0;
    window.hi = 0;
    let points = 0;
    for (let k = 0; k < grid.count; k++) {
      moveWindow(window, source, k);
      column.present[k] = 0;
      if (window.hi - window.lo < kernel.samplesMin) continue;
      window.absent = false;
      const value = kernel.run(window);
      if (!window.absent) {
        column.values[k] = value;
        column.present[k] = FLOAT;
        points++;
      }
      if (run.work(window.hi - window.lo)) yield;
    }
    if (points > 0) {
      notes?.row?.(row);
      visit(row, column);
    }
    if (run.work(samples.count + grid.count)) yield;
  }
}

// ── Many series at once ─────────────────────────────────────────────────────────────────────────────────────────────

interface Bulk {
  readonly selection: Selection;
  readonly kind: RateKind;
}

/** Results of one batch are held at a time, at most about this many. */
const BULK_SLOTS = 65_536;

/** Streams rows in batches; the number of rows done, less than all where the store cannot go on. */
function* streamBulk(run: Run, { selection, kind }: Bulk, parts: RangeCallParts, visit: Visit): Slices<number> {
  const { source, notes } = parts;
  const steps = source.grid.count;
  const rows = Math.max(1, Math.min(BATCH_ROWS, Math.floor(BULK_SLOTS / steps)));
  const batch = newWholeColumn(rows * steps);
  for (let from = 0; from < selection.count; from += rows) {
    const to = Math.min(from + rows, selection.count);
    if (!selection.rates(kind, from, to, rateWindows(source), batch)) return from;
    run.noteRead(batch.samples, batch.newestMs);
    for (let row = from; row < to; row++) {
      const at = (row - from) * steps;
      const present = batch.present.subarray(at, at + steps);
      if (!anyPresent(present)) continue;
      notes?.row?.(row);
      visit(row, { values: batch.values.subarray(at, at + steps), present });
    }
    if (run.work(batch.samples + (to - from) * steps)) yield;
  }
  return selection.count;
}

/** All rows at one step. */
function* wholeBulk(run: Run, { selection, kind }: Bulk, parts: RangeCallParts): Slices<Column> {
  const all = newColumn(selection.count);
  const batch = newWholeColumn(Math.min(BATCH_ROWS, selection.count));
  const windows = rateWindows(parts.source);
  let from = 0;
  for (; from < selection.count; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, selection.count);
    if (!selection.rates(kind, from, to, windows, batch)) break;
    run.noteRead(batch.samples, batch.newestMs);
    all.values.set(batch.values.subarray(0, to - from), from);
    all.present.set(batch.present.subarray(0, to - from), from);
    if (run.work(batch.samples + to - from)) yield;
  }
  noteRows(parts, all.present, Math.min(from, selection.count));
  yield* streamRows(run, parts, from, (row, column) => {
    all.values[row] = column.values[0]!;
    all.present[row] = column.present[0]!;
  });
  return all;
}

/** Says what there is to say about rows; where all have one name, the first one says it. */
function noteRows({ source, notes }: RangeCallParts, present: Uint8Array, count: number): void {
  if (notes?.row == null) return;
  for (let row = 0; row < count; row++) {
    if (present[row] !== FLOAT) continue;
    notes.row(row);
    if (source.rows.sameName && notes.isAboutName) return;
  }
}

function rateWindows({ firstEndMs, endStepMs, rangeMs, grid }: RangeSource): RateWindows {
  return { firstEndMs, stepMs: endStepMs, steps: grid.count, rangeMs };
}

export function newWindow(params: readonly Float64Array[], lookbackMs: number): Window {
  return {
    timesMs: new Float64Array(0),
    values: new Float64Array(0),
    count: 0,
    lo: 0,
    hi: 0,
    startMs: 0,
    endMs: 0,
    evalMs: 0,
    step: 0,
    params,
    lookbackMs,
    absent: false,
  };
}

/** Moves the window on to step k; windows only ever move forward. */
export function moveWindow(window: Window, source: RangeSource, k: number): void {
  const endMs = source.firstEndMs + k * source.endStepMs;
  const startMs = endMs - source.rangeMs;
  const { timesMs, count } = window;
  let { lo, hi } = window;
  while (hi < count && timesMs[hi]! <= endMs) hi++;
  while (lo < hi && timesMs[lo]! <= startMs) lo++;
  window.lo = lo;
  window.hi = hi;
  window.startMs = startMs;
  window.endMs = endMs;
  window.evalMs = source.grid.startMs + k * source.grid.stepMs;
  window.step = k;
}
