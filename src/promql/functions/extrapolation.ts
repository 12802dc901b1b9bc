/**
 * From what was sampled to the whole window, for floats and histograms.
 * Source: prometheus/prometheus, promql/functions.go, extrapolatedRate (reference section 6.1).
 */
import type { Window } from '../eval/window.ts';

/**
 * By what an increase is multiplied to reach over the whole window. `first` is where a counter began (null for none), so
 * that it is not followed to below zero; with a known start in the window nothing is extrapolated to the left.
 */
export function extrapolation(w: Window, increase: number, first: number | null, startMs: number | null): number {
  const { timesMs, lo, hi } = w;
  const sampled = (timesMs[hi - 1]! - timesMs[lo]!) / 1000;
  const average = hi - lo === 1 ? 0 : sampled / (hi - lo - 1);
  // Extrapolation reaches the edge only where the next sample was to be expected near it.
  const threshold = average * 1.1;
  let toEnd = (w.endMs - timesMs[hi - 1]!) / 1000;
  if (toEnd >= threshold) toEnd = average / 2;
  if (startMs !== null) {
    const counted = (timesMs[hi - 1]! - startMs) / 1000;
    return (counted + toEnd) / counted;
  }
  let toStart = (timesMs[lo]! - w.startMs) / 1000;
  if (toStart >= threshold) toStart = average / 2;
  if (first !== null && increase > 0) {
    // A counter cannot have been below zero: do not go back further than where it would have been.
    const toZero = sampled * (first / increase);
    if (toZero < toStart) toStart = toZero;
  }
  return (sampled + toStart + toEnd) / sampled;
}
