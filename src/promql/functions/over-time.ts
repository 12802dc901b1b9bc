/** The `_over_time` family (reference section 6). Kernels see at least one sample. */
import type { RangeKernel, Window } from '../eval/window.ts';
import { HISTOGRAM_OVER_TIME_KERNELS } from './histogram-over-time.ts';
import { quantileOf } from './quantile.ts';
import { KahanSum, meanOf, sumOf } from './sums.ts';

const kernel = (run: (w: Window) => number): RangeKernel => ({ samplesMin: 1, run });

const FLOAT_KERNELS: readonly (readonly [string, RangeKernel])[] = [
  ['sum_over_time', kernel((w) => sumOf(w.values, w.lo, w.hi))],
  ['avg_over_time', kernel((w) => meanOf(w.values, w.lo, w.hi))],
  ['count_over_time', kernel((w) => w.hi - w.lo)],
  ['last_over_time', kernel((w) => w.values[w.hi - 1]!)],
  ['first_over_time', kernel((w) => w.values[w.lo]!)],
  ['present_over_time', kernel(() => 1)],
  ['max_over_time', kernel((w) => w.values[extreme(w, 1, false)]!)],
  ['min_over_time', kernel((w) => w.values[extreme(w, -1, false)]!)],
  ['ts_of_max_over_time', kernel((w) => w.timesMs[extreme(w, 1, true)]! / 1000)],
  ['ts_of_min_over_time', kernel((w) => w.timesMs[extreme(w, -1, true)]! / 1000)],
  ['ts_of_first_over_time', kernel((w) => w.timesMs[w.lo]! / 1000)],
  ['ts_of_last_over_time', kernel((w) => w.timesMs[w.hi - 1]! / 1000)],
  ['stdvar_over_time', kernel(variance)],
  ['stddev_over_time', kernel((w) => Math.sqrt(variance(w)))],
  ['quantile_over_time', kernel((w) => quantileOf(w.params[0]![w.step]!, copyOf(w), w.hi - w.lo))],
  ['mad_over_time', kernel(medianDeviation)],
];

export const OVER_TIME_KERNELS: ReadonlyMap<string, RangeKernel> = new Map(
  FLOAT_KERNELS.map(([name, floats]) => {
    const mixed = HISTOGRAM_OVER_TIME_KERNELS.get(name);
    return [name, mixed === undefined ? floats : { ...floats, mixed }];
  }),
);

/** Index of the largest (sign 1) or smallest (sign -1) value; NaN only if there is nothing else. */
function extreme({ values, lo, hi }: Window, sign: number, last: boolean): number {
  let best = lo;
  for (let i = lo + 1; i < hi; i++) {
    const value = values[i]! * sign;
    const champion = values[best]! * sign;
    if (value > champion || (last && value === champion) || Number.isNaN(champion)) best = i;
  }
  return best;
}

/** Population variance: Welford's recurrence with Kahan sums. */
function variance({ values, lo, hi }: Window): number {
  const mean = new KahanSum();
  const squares = new KahanSum();
  for (let i = lo; i < hi; i++) {
    const value = values[i]!;
    const delta = value - (mean.sum + mean.compensation);
    mean.add(delta / (i - lo + 1));
    squares.add(delta * (value - (mean.sum + mean.compensation)));
  }
  return (squares.sum + squares.compensation) / (hi - lo);
}

let scratch = new Float64Array(256);

function copyOf({ values, lo, hi }: Window): Float64Array {
  if (scratch.length < hi - lo) scratch = new Float64Array(2 * (hi - lo));
  scratch.set(values.subarray(lo, hi));
  return scratch;
}

/** Median of the absolute deviations from the median. */
function medianDeviation(w: Window): number {
  const count = w.hi - w.lo;
  const copy = copyOf(w);
  for (let i = 0; i < count; i++) if (Number.isNaN(copy[i]!)) return Number.NaN;
  const median = quantileOf(0.5, copy, count);
  for (let i = 0; i < count; i++) copy[i] = Math.abs(copy[i]! - median);
  return quantileOf(0.5, copy, count);
}
