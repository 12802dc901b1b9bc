/**
 * Counters: rate, increase, delta, irate, idelta, resets, changes (reference sections 6.1 to 6.3 and 6.11).
 */
import type { RangeKernel, Window } from '../eval/window.ts';
import { extrapolation } from './extrapolation.ts';
import { HISTOGRAM_RATE_KERNELS } from './histogram-rate.ts';
import { isStartReset, startInWindow } from './starts.ts';

export const RATE_KERNELS: ReadonlyMap<string, RangeKernel> = new Map<string, RangeKernel>([
  counter('rate', {
    samplesMin: 2,
    bulk: 'rate',
    run: (w) => extrapolated(w, true, true),
    withStarts: (w) => extrapolatedFromStart(w, true),
  }),
  counter('increase', {
    samplesMin: 2,
    bulk: 'increase',
    run: (w) => extrapolated(w, true, false),
    withStarts: (w) => extrapolatedFromStart(w, false),
  }),
  counter('delta', { samplesMin: 2, bulk: 'delta', run: (w) => extrapolated(w, false, false) }),
  counter('irate', { samplesMin: 2, run: (w) => instant(w, true), withStarts: (w) => instant(w, true) }),
  counter('idelta', { samplesMin: 2, run: (w) => instant(w, false) }),
  counter('resets', { samplesMin: 1, run: resets }),
  counter('changes', { samplesMin: 1, run: changes }),
]);

function counter(name: string, kernel: RangeKernel): [string, RangeKernel] {
  return [name, { ...kernel, mixed: HISTOGRAM_RATE_KERNELS.get(name)! }];
}

function extrapolated(w: Window, isCounter: boolean, isRate: boolean): number {
  const { values, lo, hi } = w;
  const first = values[lo]!;
  let result = values[hi - 1]! - first;
  if (isCounter) {
    for (let i = lo + 1; i < hi; i++) if (values[i]! < values[i - 1]!) result += values[i - 1]!;
  }
  let factor = extrapolation(w, result, isCounter && first >= 0 ? first : null, null);
  if (isRate) factor /= (w.endMs - w.startMs) / 1000;
  return result * factor;
}

/** A counter with start timestamps: a new start is a reset, and one in the window is where it counted from. */
function extrapolatedFromStart(w: Window, isRate: boolean): number {
  const { values, lo, hi } = w;
  const startMs = startInWindow(w);
  if (startMs === null && hi - lo < 2) {
    w.absent = true;
    return 0;
  }
  const first = values[lo]!;
  let result = values[hi - 1]! - (startMs === null ? first : 0);
  for (let i = lo + 1; i < hi; i++) if (values[i]! < values[i - 1]! || isStartReset(w, i)) result += values[i - 1]!;
  let factor = extrapolation(w, result, first >= 0 ? first : null, startMs);
  if (isRate) factor /= (w.endMs - w.startMs) / 1000;
  return result * factor;
}

function instant(w: Window, isRate: boolean): number {
  const { timesMs, values, lo, hi } = w;
  const last = values[hi - 1]!;
  const previous = values[hi - 2]!;
  const interval = timesMs[hi - 1]! - timesMs[hi - 2]!;
  if (hi - lo < 2 || interval === 0) {
    w.absent = true;
    return 0;
  }
  if (!isRate) return last - previous;
  return (last < previous || isStartReset(w, hi - 1) ? last : last - previous) / (interval / 1000);
}

function resets(w: Window): number {
  const { values, lo, hi } = w;
  let count = 0;
  for (let i = lo + 1; i < hi; i++) if (values[i]! < values[i - 1]! || isStartReset(w, i)) count++;
  return count;
}

function changes({ values, lo, hi }: Window): number {
  let count = 0;
  for (let i = lo + 1; i < hi; i++) {
    const now = values[i]!;
    const before = values[i - 1]!;
    if (now !== before && !(Number.isNaN(now) && Number.isNaN(before))) count++;
  }
  return count;
}
