/** Selectors: bound to a selection of the store, evaluated to the newest sample within the lookback of each step. */
import { METRIC_NAME } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { SampleBuffer } from '../../model/sample.ts';
import type { GroupSums, Selection } from '../../tsdb/head.ts';
import { type DurationContext, durationMs, positiveDurationMs } from '../plan/durations.ts';
import type { AtModifier, DurationExpr, MatrixSelector, VectorSelector } from '../syntax/ast.ts';
import { wholeGroup } from './aggregate.ts';
import { ABSENT, BATCH_ROWS, type Column, FLOAT, type Grid, newColumn, putHistogram, sharedBatch } from './column.ts';
import { type HintMode, type MixedSamples, readMixed } from './histogram-samples.ts';
import { lastEndMs, type RangeSource, selectionRows, storeSource, type Windows, windowsOf } from './range.ts';
import { ROW_WORK, type Run, type Slices } from './run.ts';
import type { BoundVector, TakeBatch } from './vector.ts';

export function durationContext(run: Run): DurationContext {
  const { startMs, endMs, stepMs } = run.options;
  return { stepMs, rangeMs: endMs - startMs };
}

/** Where the windows of a selector or subquery end, given its `@` and offset. */
export function bindWindows(run: Run, grid: Grid, at: AtModifier | null, offset: DurationExpr | null): Windows {
  return windowsOf(grid, atMs(run, at), durationMs(offset, durationContext(run)));
}

function atMs(run: Run, at: AtModifier | null): number | null {
  if (at === null) return null;
  if (at.kind === 'time') return at.timeMs;
  return at.kind === 'start' ? run.options.startMs : run.options.endMs;
}

/** True if the matchers allow one metric name only. */
export function namesOneMetric(matchers: readonly Matcher[]): boolean {
  return matchers.some((matcher) => matcher.name === METRIC_NAME && matcher.type === '=' && matcher.value !== '');
}

/** What of a sample becomes the point: its value, its time in seconds (timestamp()), or its start (start_timestamp()). */
export type PointOf = 'value' | 'time' | 'start';

export function* bindSelector(
  run: Run,
  grid: Grid,
  expr: VectorSelector,
  pointOf: PointOf = 'value',
  hints: HintMode = 'stored',
): Slices<BoundVector> {
  const windows = bindWindows(run, grid, expr.at, expr.offset);
  const { lookbackMs } = run.options;
  const fromMs = windows.firstEndMs - lookbackMs;
  const toMs = lastEndMs(windows, grid);
  const selection = yield* run.select(expr.matchers, fromMs, toMs, grid.count);
  return {
    grid,
    rows: selectionRows(selection, namesOneMetric(expr.matchers)),
    *stream(now, visit) {
      const buffer = new SampleBuffer(64);
      const column = newColumn(grid.count);
      for (let row = 0; row < selection.count; row++) {
        column.histograms = null;
        if (selection.hasHistograms(row)) {
          const samples = readMixed(selection, row, fromMs, toMs, buffer, hints);
          noteMixed(now, samples);
          if (newestMixed(samples, windows, lookbackMs, pointOf, column)) {
            if (pointOf === 'start') replaceByStarts(selection, row, column);
            visit(row, column);
          }
          if (now.work(ROW_WORK + samples.count + grid.count)) yield;
          continue;
        }
        const count = selection.read(row, fromMs, toMs, buffer);
        noteSamples(now, buffer, count);
        if (newestPoints(buffer, count, windows, lookbackMs, pointOf, column)) {
          if (pointOf === 'start') replaceByStarts(selection, row, column);
          visit(row, column);
        }
        if (now.work(ROW_WORK + count + grid.count)) yield;
      }
    },
    batches:
      grid.count === 1 && pointOf === 'value' && !selection.anyHistograms
        ? (now, take) => newestInBatches(now, selection, toMs, lookbackMs, take)
        : null,
    summing:
      grid.count === 1 && pointOf === 'value' && !selection.anyHistograms && selection.addLastValues !== undefined
        ? { slotsMax: selection.sumSlotsMax!, add: (now, into) => addNewest(now, selection, toMs, lookbackMs, into) }
        : null,
  };
}

/** The sum of a selector's series on a grid of one step, added up as they are selected; null where the store cannot. */
export function* bindNewestSum(run: Run, grid: Grid, expr: VectorSelector): Slices<BoundVector | null> {
  const { firstEndMs } = bindWindows(run, grid, expr.at, expr.offset);
  const total = yield* run.sumNewest(expr.matchers, firstEndMs - run.options.lookbackMs, firstEndMs);
  if (total === null) return null;
  const { series, samples, sum, lost } = total;
  return {
    grid,
    rows: wholeGroup(series > 0),
    // biome-ignore lint/correctness/useYield: all is done
    *stream(_run, visit) {
      if (samples === 0) return;
      const column = newColumn(1);
      column.values[0] = sum === Infinity || sum === -Infinity ? sum : sum + lost;
      column.present[0] = FLOAT;
      visit(0, column);
    },
  };
}

/** Turns times in seconds into the start times of those samples; no point where none is known. */
function replaceByStarts(selection: Selection, row: number, { values, present }: Column): void {
  const timesMs = values.map((seconds) => Math.round(seconds * 1000));
  const starts = new Float64Array(values.length);
  selection.readStarts(row, timesMs, values.length, starts);
  for (let k = 0; k < values.length; k++) values[k] = present[k] === ABSENT ? 0 : starts[k]! / 1000;
}

function noteMixed(run: Run, { count, timesMs, stale }: MixedSamples): void {
  let fresh = 0;
  let newestMs = -Infinity;
  for (let i = 0; i < count; i++) {
    if (stale[i] === 1) continue;
    fresh++;
    newestMs = timesMs[i]!;
  }
  run.noteRead(fresh, newestMs);
}

/** Like {@link newestPoints}, for a series with histograms. */
function newestMixed(
  { timesMs, values, histograms, stale, count }: MixedSamples,
  windows: Windows,
  lookbackMs: number,
  pointOf: PointOf,
  column: Column,
): boolean {
  let next = 0;
  let any = false;
  for (let k = 0; k < column.values.length; k++) {
    const endMs = windows.firstEndMs + k * windows.endStepMs;
    while (next < count && timesMs[next]! <= endMs) next++;
    const i = next - 1;
    column.present[k] = ABSENT;
    if (i < 0 || timesMs[i]! <= endMs - lookbackMs || stale[i] === 1) continue;
    const histogram = histograms[i]!;
    any = true;
    if (histogram !== null && pointOf === 'value') putHistogram(column, k, histogram);
    else {
      column.values[k] = pointOf === 'value' ? values[i]! : timesMs[i]! / 1000;
      column.present[k] = FLOAT;
    }
  }
  return any;
}

/** The newest value of each series at one time. */
function* newestInBatches(
  run: Run,
  selection: Selection,
  atMs: number,
  lookbackMs: number,
  take: TakeBatch,
): Slices<void> {
  const batch = sharedBatch();
  for (let from = 0; from < selection.count; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, selection.count);
    selection.lastValues(from, to, atMs, lookbackMs, batch);
    take(from, to - from, batch);
    run.noteRead(batch.samples, batch.newestMs);
    if (run.work(to - from)) yield;
  }
}

/** The same, added up. */
function* addNewest(run: Run, selection: Selection, atMs: number, lookbackMs: number, into: GroupSums): Slices<void> {
  for (let from = 0; from < selection.count; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, selection.count);
    selection.addLastValues!(from, to, atMs, lookbackMs, into);
    run.noteRead(into.samples, into.newestMs);
    if (run.work(to - from)) yield;
  }
}

function noteSamples(run: Run, buffer: SampleBuffer, count: number): void {
  let fresh = count;
  let newestMs = -Infinity;
  for (let i = 0; i < count; i++) {
    if (buffer.isStale(i)) fresh--;
    else newestMs = buffer.timesMs[i]!;
  }
  run.noteRead(fresh, newestMs);
}

/** Fills the column with the newest sample of each step's lookback window; false if there is none at all. */
function newestPoints(
  buffer: SampleBuffer,
  count: number,
  windows: Windows,
  lookbackMs: number,
  pointOf: PointOf,
  { values, present }: { values: Float64Array; present: Uint8Array },
): boolean {
  const { timesMs } = buffer;
  let next = 0;
  let any = false;
  for (let k = 0; k < values.length; k++) {
    const endMs = windows.firstEndMs + k * windows.endStepMs;
    while (next < count && timesMs[next]! <= endMs) next++;
    const i = next - 1;
    if (i < 0 || timesMs[i]! <= endMs - lookbackMs || buffer.isStale(i)) {
      present[k] = 0;
      continue;
    }
    values[k] = pointOf === 'value' ? buffer.values[i]! : timesMs[i]! / 1000;
    present[k] = FLOAT;
    any = true;
  }
  return any;
}

export function* bindMatrix(
  run: Run,
  grid: Grid,
  expr: MatrixSelector,
  hints: HintMode = 'stored',
): Slices<RangeSource> {
  const { selector } = expr;
  const windows = bindWindows(run, grid, selector.at, selector.offset);
  const rangeMs = positiveDurationMs(expr.range, durationContext(run));
  // Edges are made of samples outside of the window.
  const fromMs = windows.firstEndMs - rangeMs - (selector.edges === null ? 0 : run.options.lookbackMs);
  const toMs = lastEndMs(windows, grid) + (selector.edges === 'smoothed' ? run.options.lookbackMs : 0);
  const selection = yield* run.select(selector.matchers, fromMs, toMs);
  return storeSource(selection, grid, windows, rangeMs, {
    fromMs,
    toMs,
    sameName: namesOneMetric(selector.matchers),
    edges: selector.edges,
    hints,
    starts: run.options.startTimestamps,
  });
}
