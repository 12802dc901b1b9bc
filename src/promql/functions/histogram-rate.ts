/**
 * Counters of histograms: rate, increase, delta, irate, idelta, resets, changes over windows that hold histograms.
 * Source: prometheus/prometheus, promql/functions.go, histogramRate (reference sections 6.1 to 6.5 and 9).
 */

import { EMPTY_HISTOGRAM, type FloatHistogram, hasCustomBuckets, RESET_HINT } from '../../model/histogram.ts';
import type { HistogramNotes } from '../eval/histogram-notes.ts';
import type { MixedKernel, Window } from '../eval/window.ts';
import { add, divide, equal, isReset, multiply, subtract, withHint } from '../histogram/algebra.ts';
import { compact } from '../histogram/buckets.ts';
import { extrapolation } from './extrapolation.ts';
import { isStartReset, startInWindow } from './starts.ts';

export const HISTOGRAM_RATE_KERNELS: ReadonlyMap<string, MixedKernel> = new Map<string, MixedKernel>([
  ['rate', (w, notes) => extrapolated(w, true, true, notes)],
  ['increase', (w, notes) => extrapolated(w, true, false, notes)],
  ['delta', (w, notes) => extrapolated(w, false, false, notes)],
  ['irate', (w, notes) => instant(w, true, notes)],
  ['idelta', (w, notes) => instant(w, false, notes)],
  ['resets', (w) => resets(w)],
  ['changes', (w) => changes(w)],
]);

function extrapolated(w: Window, isCounter: boolean, isRate: boolean, notes: HistogramNotes): FloatHistogram | null {
  const points = onlyHistograms(w);
  if (points === null) {
    notes.mixedSamples();
    return null;
  }
  const startMs = isCounter ? startInWindow(w) : null;
  if (points.length < 2 && startMs === null) return null;
  const increase = difference(w, points, isCounter, notes, startMs !== null);
  if (increase === null) return null;
  const first = isCounter && points[0]!.count >= 0 ? points[0]!.count : null;
  const factor = extrapolation(w, increase.count, first, startMs);
  return multiply(increase, isRate ? factor / ((w.endMs - w.startMs) / 1000) : factor);
}

/** The window's histograms, or null if there are floats among them. */
function onlyHistograms({ histograms, lo, hi }: Window): FloatHistogram[] | null {
  const points: FloatHistogram[] = [];
  for (let i = lo; i < hi; i++) {
    const histogram = histograms![i]!;
    if (histogram === null) return null;
    points.push(histogram);
  }
  return points;
}

/** Last minus first, plus what was lost at each reset of a counter. */
function difference(
  w: Window,
  points: readonly FloatHistogram[],
  isCounter: boolean,
  notes: HistogramNotes,
  fromStart: boolean,
): FloatHistogram | null {
  const isGauge = ({ hint }: FloatHistogram): boolean => hint === RESET_HINT.gauge;
  const last = points.at(-1)!;
  if (isCounter && points.some(isGauge)) notes.notCounter();
  if (!isCounter && !(isGauge(points[0]!) && isGauge(last))) notes.notGauge();
  const resetAt = (i: number): boolean => isReset(points[i]!, points[i - 1]!) || isStartReset(w, w.lo + i);
  // Before a reset right behind it the first sample does not count, not even its layout.
  const skipsFirst = fromStart || (isCounter && points.length > 1 && resetAt(1));
  const base = skipsFirst ? emptyLike(points[1] ?? last) : points[0]!;
  const counted = skipsFirst ? points.slice(1) : points;
  if (counted.some((point) => hasCustomBuckets(point) !== hasCustomBuckets(base))) {
    notes.mixedSchemas();
    return null;
  }
  const total = new Total(last, notes);
  total.subtract(base);
  if (fromStart && points.length > 1 && resetAt(1)) total.add(points[0]!);
  for (let i = 1; isCounter && i < points.length; i++)
    if (resetAt(i) && !(skipsFirst && i === 1)) total.add(points[i - 1]!);
  return total.failed ? null : compact(withHint(total.histogram, RESET_HINT.gauge));
}

function emptyLike({ schema, customValues }: FloatHistogram): FloatHistogram {
  return { ...EMPTY_HISTOGRAM, schema, customValues };
}

/** A difference as it comes about; conflicts of hints do not matter here, resets are looked at one by one. */
class Total {
  histogram: FloatHistogram;
  failed = false;
  readonly #notes: HistogramNotes;

  constructor(histogram: FloatHistogram, notes: HistogramNotes) {
    this.histogram = histogram;
    this.#notes = notes;
  }

  subtract(other: FloatHistogram): void {
    this.#take(subtract(this.histogram, other), 'subtraction');
  }

  add(other: FloatHistogram): void {
    this.#take(add(this.histogram, other), 'addition');
  }

  #take(combined: ReturnType<typeof add>, operation: 'addition' | 'subtraction'): void {
    if (combined === null) {
      if (!this.failed) this.#notes.mixedSchemas();
      this.failed = true;
      return;
    }
    if (combined.reconciled) this.#notes.reconciledBounds(operation);
    this.histogram = combined.histogram;
  }
}

function instant(w: Window, isRate: boolean, notes: HistogramNotes): FloatHistogram | number | null {
  const { timesMs, histograms, lo, hi } = w;
  if (hi - lo < 2) return null;
  const last = histograms![hi - 1]!;
  const previous = histograms![hi - 2]!;
  // Two floats are not seen here: the window that a float kernel sees ends with them as well.
  if (last === null || previous === null) {
    notes.mixedSamples();
    return null;
  }
  const intervalMs = timesMs[hi - 1]! - timesMs[hi - 2]!;
  if (intervalMs === 0) return null;
  const gauges = [last, previous].filter(({ hint }) => hint === RESET_HINT.gauge).length;
  if (isRate && gauges > 0) notes.notCounter();
  if (!isRate && gauges < 2) notes.notGauge();
  const total = new Total(last, notes);
  if (!isRate || !(isReset(last, previous) || isStartReset(w, hi - 1))) total.subtract(previous);
  if (total.failed) return null;
  const result = compact(withHint(total.histogram, RESET_HINT.gauge));
  return isRate ? divide(result, intervalMs / 1000) : result;
}

/** Resets of either kind; a change between floats and histograms is one, too. */
function resets(w: Window): number {
  const { values, histograms, lo, hi } = w;
  let count = 0;
  for (let i = lo + 1; i < hi; i++) {
    const now = histograms![i]!;
    const before = histograms![i - 1]!;
    if ((now === null) !== (before === null)) count++;
    else if (isStartReset(w, i)) count++;
    else if (now === null || before === null) count += values[i]! < values[i - 1]! ? 1 : 0;
    else if (isReset(now, before)) count++;
  }
  return count;
}

function changes({ values, histograms, lo, hi }: Window): number {
  let count = 0;
  for (let i = lo + 1; i < hi; i++) {
    const now = histograms![i]!;
    const before = histograms![i - 1]!;
    if ((now === null) !== (before === null)) count++;
    else if (now !== null && before !== null) count += equal(now, before) ? 0 : 1;
    else if (values[i] !== values[i - 1] && !(Number.isNaN(values[i]) && Number.isNaN(values[i - 1]))) count++;
  }
  return count;
}
