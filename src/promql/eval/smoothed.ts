/** `x smoothed` at an instant: the value on the line between the samples around each step (reference section 6.10). */
import { SampleBuffer } from '../../model/sample.ts';
import type { VectorSelector } from '../syntax/ast.ts';
import { ABSENT, FLOAT, type Grid, newColumn } from './column.ts';
import { dropStale, lastEndMs, selectionRows } from './range.ts';
import type { Run } from './run.ts';
import { bindWindows, namesOneMetric } from './select.ts';
import type { BoundVector } from './vector.ts';

export function bindSmoothed(run: Run, grid: Grid, expr: VectorSelector): BoundVector {
  const windows = bindWindows(run, grid, expr.at, expr.offset);
  const { lookbackMs } = run.options;
  const fromMs = windows.firstEndMs - lookbackMs;
  const toMs = lastEndMs(windows, grid) + lookbackMs;
  const selection = run.select(expr.matchers, fromMs, toMs);
  const buffer = new SampleBuffer(64);
  return {
    grid,
    rows: selectionRows(selection, namesOneMetric(expr.matchers)),
    *stream(now, visit) {
      const column = newColumn(grid.count);
      for (let row = 0; row < selection.count; row++) {
        const count = dropStale(buffer, selection.read(row, fromMs, toMs, buffer));
        now.noteRead(count, count === 0 ? -Infinity : buffer.timesMs[count - 1]!);
        for (let k = 0; k < grid.count; k++) {
          const value = valueAt(buffer, count, windows.firstEndMs + k * windows.endStepMs, lookbackMs);
          column.present[k] = value === null ? ABSENT : FLOAT;
          column.values[k] = value ?? 0;
        }
        visit(row, column);
        if (now.work(count + grid.count)) yield;
      }
    },
  };
}

/** Null without a sample at or before the time; the last sample if none follows. */
function valueAt({ timesMs, values }: SampleBuffer, count: number, timeMs: number, lookbackMs: number): number | null {
  let next = 0;
  while (next < count && timesMs[next]! <= timeMs) next++;
  const before = next - 1;
  if (before < 0 || timesMs[before]! <= timeMs - lookbackMs) return null;
  const y = values[before]!;
  if (timesMs[before] === timeMs || next === count || timesMs[next]! > timeMs + lookbackMs) return y;
  return y + ((values[next]! - y) * (timeMs - timesMs[before]!)) / (timesMs[next]! - timesMs[before]!);
}
