/**
 * Functions over a window of samples, step by step: the loop that feeds the kernels of functions/rate.ts, over-time.ts and
 * trend.ts.
 */
import { FLOAT, newColumn } from './column.ts';
import type { RangeSource, RowSamples } from './range.ts';
import { type Collision, Merger, type Renamed } from './rows.ts';
import type { BoundScalar, BoundVector } from './vector.ts';

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
  run(window: Window): number;
}

/** What a range call has to say about its rows with results, and about its parameters if there are any rows. */
export interface RangeNotes {
  readonly row: ((row: number) => void) | null;
  readonly params: ((params: readonly Float64Array[]) => void) | null;
}

export interface RangeCallParts {
  readonly source: RangeSource;
  readonly kernel: RangeKernel;
  readonly params: readonly BoundScalar[];
  readonly renamed: Renamed;
  readonly collision: Collision;
  readonly notes: RangeNotes | null;
}

export function rangeCall({ source, kernel, params, renamed, collision, notes }: RangeCallParts): BoundVector {
  const { grid } = source;
  return {
    grid,
    rows: renamed.rows,
    *stream(run, visit) {
      yield* source.prepare(run);
      const evaluated: Float64Array[] = [];
      for (const param of params) evaluated.push(yield* param.evaluate(run));
      if (source.rows.count > 0) notes?.params?.(evaluated);
      const merger =
        renamed.merge === null ? null : new Merger(renamed.merge, renamed.rows.count, grid.count, collision);
      const samples: RowSamples = { timesMs: new Float64Array(0), values: new Float64Array(0), count: 0 };
      const window = newWindow(evaluated, run.options.lookbackMs);
      const column = newColumn(grid.count);
      for (let row = 0; row < source.rows.count; row++) {
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
          if (merger === null) visit(row, column);
          else merger.take(row, column.values, column.present, visit);
        }
        if (run.work(samples.count + grid.count)) yield;
      }
      merger?.finish(visit);
    },
  };
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
