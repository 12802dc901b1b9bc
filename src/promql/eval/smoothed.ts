/** `x smoothed` at an instant: the value on the line between the samples around each step (reference section 6.10). */
import { type FloatHistogram, RESET_HINT } from '../../model/histogram.ts';
import { labelValue, METRIC_NAME } from '../../model/labels.ts';
import { interpolated } from '../functions/extended-histograms.ts';
import type { VectorSelector } from '../syntax/ast.ts';
import { ABSENT, FLOAT, type Grid, newColumn, putHistogram } from './column.ts';
import { HistogramNotes } from './histogram-notes.ts';
import type { HintMode } from './histogram-samples.ts';
import { lastEndMs, newRowSamples, type RangeSource, type RowSamples, storeSource } from './range.ts';
import type { Run, Slices } from './run.ts';
import { bindWindows, namesOneMetric } from './select.ts';
import type { BoundVector, Visit } from './vector.ts';

export function* bindSmoothed(run: Run, grid: Grid, expr: VectorSelector, hints: HintMode): Slices<BoundVector> {
  const windows = bindWindows(run, grid, expr.at, expr.offset);
  const { lookbackMs } = run.options;
  const fromMs = windows.firstEndMs - lookbackMs;
  const toMs = lastEndMs(windows, grid) + lookbackMs;
  const selection = yield* run.select(expr.matchers, fromMs, toMs);
  const sameName = namesOneMetric(expr.matchers);
  const read = { fromMs, toMs, sameName, edges: null, hints, starts: false };
  const source = storeSource(selection, grid, windows, lookbackMs, read);
  const notes = new HistogramNotes(run, expr);
  return { grid, rows: source.rows, stream: (now, visit) => streamSmoothed(now, visit, source, notes) };
}

/** The range of the source is the lookback. */
function* streamSmoothed(run: Run, visit: Visit, source: RangeSource, notes: HistogramNotes): Slices<void> {
  const { grid, rows, firstEndMs, endStepMs, rangeMs } = source;
  const column = newColumn(grid.count);
  const samples = newRowSamples();
  for (let row = 0; row < rows.count; row++) {
    source.load(run, row, samples);
    column.histograms = null;
    if (samples.histograms !== null) notes.name = labelValue(rows.labels(row), METRIC_NAME);
    for (let k = 0; k < grid.count; k++) {
      const value = valueAt(samples, firstEndMs + k * endStepMs, rangeMs, notes);
      column.present[k] = value === null ? ABSENT : FLOAT;
      if (typeof value === 'object' && value !== null) putHistogram(column, k, value);
      else column.values[k] = value ?? 0;
    }
    visit(row, column);
    if (run.work(samples.count + grid.count)) yield;
  }
}

/** Null without a sample at or before the time; the last sample if none follows. */
function valueAt(
  { timesMs, values, histograms, count }: RowSamples,
  timeMs: number,
  lookbackMs: number,
  notes: HistogramNotes,
): FloatHistogram | number | null {
  let next = 0;
  while (next < count && timesMs[next]! <= timeMs) next++;
  const before = next - 1;
  if (before < 0 || timesMs[before]! <= timeMs - lookbackMs) return null;
  const isLast = timesMs[before] === timeMs || next === count || timesMs[next]! > timeMs + lookbackMs;
  const share = isLast ? 0 : (timeMs - timesMs[before]!) / (timesMs[next]! - timesMs[before]!);
  const from = histograms?.[before] ?? null;
  if (isLast) return from ?? values[before]!;
  const to = histograms?.[next] ?? null;
  if (from === null && to === null) {
    const y = values[before]!;
    return y + ((values[next]! - y) * (timeMs - timesMs[before]!)) / (timesMs[next]! - timesMs[before]!);
  }
  if (from === null || to === null) {
    notes.mixedSamples();
    return null;
  }
  const between = interpolated(from, to, share, from.hint !== RESET_HINT.gauge && to.hint !== RESET_HINT.gauge);
  if (between === null) notes.mixedSchemas();
  return between;
}
