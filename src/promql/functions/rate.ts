/**
 * Counters: rate, increase, delta, irate, idelta, resets, changes.
 * Source of the extrapolation: prometheus/prometheus, promql/functions.go, extrapolatedRate (reference section 6.1).
 */
import type { RangeKernel, Window } from '../eval/window.ts';

export const RATE_KERNELS: ReadonlyMap<string, RangeKernel> = new Map<string, RangeKernel>([
  ['rate', { samplesMin: 2, bulk: 'rate', run: (w) => extrapolated(w, true, true) }],
  ['increase', { samplesMin: 2, bulk: 'increase', run: (w) => extrapolated(w, true, false) }],
  ['delta', { samplesMin: 2, bulk: 'delta', run: (w) => extrapolated(w, false, false) }],
  ['irate', { samplesMin: 2, run: (w) => instant(w, true) }],
  ['idelta', { samplesMin: 2, run: (w) => instant(w, false) }],
  ['resets', { samplesMin: 1, run: resets }],
  ['changes', { samplesMin: 1, run: changes }],
]);

function extrapolated(w: Window, isCounter: boolean, isRate: boolean): number {
  const { timesMs, values, lo, hi } = w;
  const first = values[lo]!;
  let result = values[hi - 1]! - first;
  if (isCounter) {
    for (let i = lo + 1; i < hi; i++) if (values[i]! < values[i - 1]!) result += values[i - 1]!;
  }
  const sampled = (timesMs[hi - 1]! - timesMs[lo]!) / 1000;
  const average = sampled / (hi - lo - 1);
  // Extrapolation reaches the edge only where the next sample was to be expected near it.
  const threshold = average * 1.1;
  let toStart = (timesMs[lo]! - w.startMs) / 1000;
  if (toStart >= threshold) toStart = average / 2;
  if (isCounter && result > 0 && first >= 0) {
    // A counter cannot have been below zero: do not go back further than where it would have been.
    const toZero = sampled * (first / result);
    if (toZero < toStart) toStart = toZero;
  }
  let toEnd = (w.endMs - timesMs[hi - 1]!) / 1000;
  if (toEnd >= threshold) toEnd = average / 2;
  let factor = (sampled + toStart + toEnd) / sampled;
  if (isRate) factor /= (w.endMs - w.startMs) / 1000;
  return result * factor;
}

function instant(w: Window, isRate: boolean): number {
  const { timesMs, values, hi } = w;
  const last = values[hi - 1]!;
  const previous = values[hi - 2]!;
  const interval = timesMs[hi - 1]! - timesMs[hi - 2]!;
  if (interval === 0) {
    w.absent = true;
    return 0;
  }
  if (!isRate) return last - previous;
  return (last < previous ? last : last - previous) / (interval / 1000);
}

function resets({ values, lo, hi }: Window): number {
  let count = 0;
  for (let i = lo + 1; i < hi; i++) if (values[i]! < values[i - 1]!) count++;
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
