/**
 * Start timestamps: when a counter began to count (reference section 6.11). Source: prometheus/prometheus,
 * promql/functions.go.
 */
import type { Window } from '../eval/window.ts';

/** The start of sample i, or 0 if it is unknown or not before the sample itself. */
export function startOf({ starts, timesMs }: Window, i: number): number {
  const start = starts === null ? 0 : starts[i]!;
  return start < timesMs[i]! ? start : 0;
}

/**
 * True if a counter started anew between samples i - 1 and i: its start is later than the sample before, or just there
 * and known to have been earlier. (A cumulative counter of unknown start has its first sample's time as its start.)
 */
export function isStartReset(w: Window, i: number): boolean {
  if (w.starts === null) return false;
  const start = startOf(w, i);
  if (start === 0) return false;
  const previousMs = w.timesMs[i - 1]!;
  if (start !== previousMs) return start > previousMs;
  const before = startOf(w, i - 1);
  return before !== 0 && before < start;
}

/** The start of the first sample, if that lies in the window: then it counts from there. */
export function startInWindow(w: Window): number | null {
  const start = startOf(w, w.lo);
  return start !== 0 && start > w.startMs ? start : null;
}

/** True if a sample starts before the one before it was taken, and not where that one started. */
export function startsOverlap({ starts, timesMs, lo, hi }: Window): boolean {
  if (starts === null) return false;
  for (let i = lo + 1; i < hi; i++) {
    const start = starts[i]!;
    if (start !== 0 && start < timesMs[i - 1]! && start !== starts[i - 1]) return true;
  }
  return false;
}
