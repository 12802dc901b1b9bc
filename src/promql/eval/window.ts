/**
 * Functions over a window of samples, step by step: the loop that feeds the kernels of functions/rate.ts, over-time.ts and
 * trend.ts.
 */

import type { FloatHistogram } from '../../model/histogram.ts';
import { labelValue, METRIC_NAME } from '../../model/labels.ts';
import type { GroupSums, RateKind, RateWindows, Selection } from '../../tsdb/head.ts';
import { startsOverlap } from '../functions/starts.ts';
import {
  ABSENT,
  anyPresent,
  BATCH_ROWS,
  type Column,
  FLOAT,
  newColumn,
  newWholeColumn,
  putHistogram,
  sharedBatch,
} from './column.ts';
import type { HistogramNotes } from './histogram-notes.ts';
import { newRowSamples, type RangeSource, type RowSamples } from './range.ts';
import { type Collision, Merger, type Renamed } from './rows.ts';
import { ROW_WORK, type Run, type Slices } from './run.ts';
import type { BoundScalar, BoundVector, TakeBatch, Visit } from './vector.ts';

/** What a kernel sees: the samples at lo <= i < hi lie in the window (startMs, endMs]. */
export interface Window {
  timesMs: Float64Array;
  values: Float64Array;
  /** Null if the row has none; else null where the sample is a float. */
  histograms: readonly (FloatHistogram | null)[] | null;
  /** Start timestamps, 0 where unknown; null if nothing is known of any. */
  starts: Float64Array | null;
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
  /** Instead of `run`, for a row with start timestamps; one sample is enough to ask. */
  readonly withStarts?: (window: Window) => number;
  /** Instead of `run`, for a window that holds histograms; without it only the window's floats are looked at. */
  readonly mixed?: MixedKernel;
  /** `mixed` is asked for every window of a row with histograms, even an empty one: it looks at samples around it. */
  readonly looksAround?: boolean;
}

/** Null if there is no result. The window holds at least one sample. */
export type MixedKernel = (window: Window, notes: HistogramNotes) => FloatHistogram | number | null;

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
  readonly histogramNotes: HistogramNotes;
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
    stream: (run, visit) => streamCall(run, visit, parts, bulk),
    batches: isWhole ? (run, take) => bulkInBatches(run, bulk, parts, take) : null,
    summing: canSum(bulk, parts)
      ? {
          slotsMax: bulk!.selection.sumSlotsMax!,
          add: (run, into, visit) => bulkSums(run, bulk!, parts, into, visit),
        }
      : null,
  };
}

function* streamCall(
  run: Run,
  visit: Visit,
  parts: RangeCallParts,
  bulk: Parameters<typeof streamBulk>[1] | null,
): Slices<void> {
  const { renamed, source, collision } = parts;
  const merger =
    renamed.merge === null ? null : new Merger(renamed.merge, renamed.rows.count, source.grid.count, collision);
  const pass: Visit = merger === null ? visit : (row, column) => merger.take(row, column, visit);
  const done = bulk === null ? 0 : yield* streamBulk(run, bulk, parts, pass);
  yield* streamRows(run, parts, done, pass);
  merger?.finish(visit);
}

/** Rows from `first` on, one by one: their samples are read, and a window is moved over them. */
function* streamRows(run: Run, parts: RangeCallParts, first: number, visit: Visit): Slices<void> {
  const { source, kernel, params, notes } = parts;
  const { grid, rows } = source;
  yield* source.prepare(run);
  const evaluated: Float64Array[] = [];
  for (const param of params) evaluated.push(yield* param.evaluate(run));
  if (rows.count > 0) notes?.params?.(evaluated);
  const samples = newRowSamples();
  const window = newWindow(evaluated, run.options.lookbackMs);
  const column = newColumn(grid.count);
  for (let row = first; row < rows.count; row++) {
    source.load(run, row, samples);
    openWindow(window, samples);
    column.histograms = null;
    if (samples.histograms !== null || samples.starts !== null)
      parts.histogramNotes.name = labelValue(rows.labels(row), METRIC_NAME);
    const startKernel = samples.starts === null ? undefined : kernel.withStarts;
    let floats = 0;
    for (let k = 0; k < grid.count; k++) {
      moveWindow(window, source, k);
      column.present[k] = ABSENT;
      if (startKernel !== undefined && startsOverlap(window)) parts.histogramNotes.overlappingStarts();
      if (samples.histograms !== null && (kernel.looksAround || holdsHistogram(window))) {
        putMixed(column, k, kernel, window, parts.histogramNotes);
        if (column.present[k] === FLOAT) floats++;
      } else if (window.hi - window.lo >= (startKernel === undefined ? kernel.samplesMin : 1)) {
        window.absent = false;
        const value = startKernel === undefined ? kernel.run(window) : startKernel(window);
        if (!window.absent) {
          column.values[k] = value;
          column.present[k] = FLOAT;
          floats++;
        }
      }
      if (run.work(window.hi - window.lo)) yield;
    }
    if (floats > 0) notes?.row?.(row);
    if (floats > 0 || column.histograms !== null) visit(row, column);
    if (run.work(ROW_WORK + samples.count + grid.count)) yield;
  }
}

// ── Histograms ──────────────────────────────────────────────────────────────────────────────────────────────────────

function holdsHistogram({ histograms, lo, hi }: Window): boolean {
  for (let i = lo; i < hi; i++) if (histograms![i] !== null) return true;
  return false;
}

function putMixed(column: Column, k: number, kernel: RangeKernel, window: Window, notes: HistogramNotes): void {
  const result = kernel.mixed === undefined ? ofFloats(kernel, window, notes) : kernel.mixed(window, notes);
  if (result === null) return;
  if (typeof result !== 'number') putHistogram(column, k, result);
  else {
    column.values[k] = result;
    column.present[k] = FLOAT;
  }
}

/** What a function of floats makes of a window with histograms among them. */
function ofFloats(kernel: RangeKernel, window: Window, notes: HistogramNotes): number | null {
  const kept: number[] = [];
  for (let i = window.lo; i < window.hi; i++) if (window.histograms![i] === null) kept.push(i);
  if (kept.length === 0) return null;
  notes.ignoredInRange();
  if (kept.length < kernel.samplesMin) return null;
  const floats: Window = {
    ...window,
    timesMs: Float64Array.from(kept, (i) => window.timesMs[i]!),
    values: Float64Array.from(kept, (i) => window.values[i]!),
    histograms: null,
    starts: null,
    count: kept.length,
    lo: 0,
    hi: kept.length,
    absent: false,
  };
  const value = kernel.run(floats);
  return floats.absent ? null : value;
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
  let note = notes?.row ?? null;
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
      if (note !== null) {
        note(row);
        if (source.rows.sameName && notes!.isAboutName) note = null;
      }
      visit(row, { values: batch.values.subarray(at, at + steps), present, histograms: null });
    }
    if (run.work(batch.samples + (to - from) * (ROW_WORK + steps))) yield;
  }
  return selection.count;
}

/** All rows at one step. */
function* bulkInBatches(run: Run, { selection, kind }: Bulk, parts: RangeCallParts, take: TakeBatch): Slices<void> {
  const batch = sharedBatch();
  const windows = rateWindows(parts.source);
  let isNoted = false;
  let from = 0;
  for (; from < selection.count; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, selection.count);
    if (!selection.rates(kind, from, to, windows, batch)) break;
    run.noteRead(batch.samples, batch.newestMs);
    if (!isNoted) isNoted = noteRows(parts, from, to, batch.present);
    take(from, to - from, batch);
    if (run.work(batch.samples + to - from)) yield;
  }
  if (from >= selection.count) return;
  const rest = newColumn(selection.count - from);
  yield* streamRows(run, parts, from, (row, column) => {
    rest.values[row - from] = column.values[0]!;
    rest.present[row - from] = column.present[0]!;
  });
  take(from, selection.count - from, rest);
}

/** Sums tell of one row with a value, not of all: that is enough where all have the same to say. */
function canSum(bulk: Bulk | null, { source, renamed, notes }: RangeCallParts): boolean {
  if (bulk === null || bulk.selection.addRates === undefined || renamed.merge !== null) return false;
  return notes?.row == null || (source.rows.sameName && notes.isAboutName);
}

/** All rows, added up. */
function* bulkSums(
  run: Run,
  { selection, kind }: Bulk,
  parts: RangeCallParts,
  into: GroupSums,
  visit: Visit,
): Slices<void> {
  const windows = rateWindows(parts.source);
  const rows = Math.max(1, Math.min(BATCH_ROWS, Math.floor(BULK_SLOTS / windows.steps)));
  let note = parts.notes?.row ?? null;
  let from = 0;
  while (from < selection.count) {
    const to = Math.min(from + rows, selection.count);
    const done = selection.addRates!(kind, from, to, windows, into);
    run.noteRead(into.samples, into.newestMs);
    if (note !== null && into.first >= 0) {
      note(into.first);
      note = null;
    }
    if (run.work(into.samples + (done - from) * windows.steps)) yield;
    from = done;
    if (done < to) break;
  }
  if (from < selection.count) yield* streamRows(run, parts, from, visit);
}

/** Says what there is to say about rows; true if no later row has anything to add, because all have one name. */
function noteRows({ source, notes }: RangeCallParts, from: number, to: number, present: Uint8Array): boolean {
  if (notes?.row == null) return true;
  for (let row = from; row < to; row++) {
    if (present[row - from] !== FLOAT) continue;
    notes.row(row);
    if (source.rows.sameName && notes.isAboutName) return true;
  }
  return false;
}

function rateWindows({ firstEndMs, endStepMs, rangeMs, grid }: RangeSource): RateWindows {
  return { firstEndMs, stepMs: endStepMs, steps: grid.count, rangeMs };
}

export function newWindow(params: readonly Float64Array[], lookbackMs: number): Window {
  return {
    timesMs: new Float64Array(0),
    values: new Float64Array(0),
    histograms: null,
    starts: null,
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

/** Puts the window in front of the samples of a row. */
export function openWindow(window: Window, { timesMs, values, histograms, starts, count }: RowSamples): void {
  window.timesMs = timesMs;
  window.values = values;
  window.histograms = histograms;
  window.starts = starts;
  window.count = count;
  window.lo = 0;
  window.hi = 0;
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
