/** Selectors: bound to a selection of the store, evaluated to the newest sample within the lookback of each step. */
import { METRIC_NAME } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { SampleBuffer } from '../../model/sample.ts';
import type { Selection } from '../../tsdb/head.ts';
import { type DurationContext, durationMs, positiveDurationMs } from '../plan/durations.ts';
import type { AtModifier, DurationExpr, MatrixSelector, VectorSelector } from '../syntax/ast.ts';
import { BATCH_ROWS, type Column, FLOAT, type Grid, newColumn, newWholeColumn } from './column.ts';
import { lastEndMs, type RangeSource, selectionRows, storeSource, type Windows, windowsOf } from './range.ts';
import type { Run, Slices } from './run.ts';
import type { BoundVector } from './vector.ts';

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

/** What of a sample becomes the point: its value, or its time in seconds (for timestamp()). */
export type PointOf = 'value' | 'time';

export function bindSelector(run: Run, grid: Grid, expr: VectorSelector, pointOf: PointOf = 'value'): BoundVector {
  const windows = bindWindows(run, grid, expr.at, expr.offset);
  const { lookbackMs } = run.options;
  const fromMs = windows.firstEndMs - lookbackMs;
  const toMs = lastEndMs(windows, grid);
  const selection = run.select(expr.matchers, fromMs, toMs, grid.count);
  const buffer = new SampleBuffer(64);
  return {
    grid,
    rows: selectionRows(selection, namesOneMetric(expr.matchers)),
    *stream(now, visit) {
      const column = newColumn(grid.count);
      for (let row = 0; row < selection.count; row++) {
        const count = selection.read(row, fromMs, toMs, buffer);
        noteSamples(now, buffer, count);
        if (newestPoints(buffer, count, windows, lookbackMs, pointOf, column)) visit(row, column);
        if (now.work(count + grid.count)) yield;
      }
    },
    whole: grid.count === 1 && pointOf === 'value' ? (now) => newestOfAll(now, selection, toMs, lookbackMs) : null,
  };
}

/** The newest value of each series at one time, batch by batch. */
function* newestOfAll(run: Run, selection: Selection, atMs: number, lookbackMs: number): Slices<Column> {
  const all = newColumn(selection.count);
  const batch = newWholeColumn(Math.min(BATCH_ROWS, selection.count));
  for (let from = 0; from < selection.count; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, selection.count);
    selection.lastValues(from, to, atMs, lookbackMs, batch);
    all.values.set(batch.values.subarray(0, to - from), from);
    all.present.set(batch.present.subarray(0, to - from), from);
    run.noteRead(batch.samples, batch.newestMs);
    if (run.work(to - from)) yield;
  }
  return all;
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

export function bindMatrix(run: Run, grid: Grid, expr: MatrixSelector): RangeSource {
  const { selector } = expr;
  const windows = bindWindows(run, grid, selector.at, selector.offset);
  const rangeMs = positiveDurationMs(expr.range, durationContext(run));
  // Edges are made of samples outside of the window.
  const fromMs = windows.firstEndMs - rangeMs - (selector.edges === null ? 0 : run.options.lookbackMs);
  const toMs = lastEndMs(windows, grid) + (selector.edges === 'smoothed' ? run.options.lookbackMs : 0);
  const selection = run.select(selector.matchers, fromMs, toMs);
  return storeSource(selection, grid, windows, rangeMs, {
    fromMs,
    toMs,
    sameName: namesOneMetric(selector.matchers),
    edges: selector.edges,
  });
}
