/** The `_over_time` functions that take histograms (reference section 6.5); the others use the floats of a window. */
import type { FloatHistogram } from '../../model/histogram.ts';
import type { HistogramNotes } from '../eval/histogram-notes.ts';
import type { MixedKernel, Window } from '../eval/window.ts';
import { HistogramMean, HistogramSum } from '../histogram/sums.ts';

export const HISTOGRAM_OVER_TIME_KERNELS: ReadonlyMap<string, MixedKernel> = new Map<string, MixedKernel>([
  ['sum_over_time', (w, notes) => total(w, new HistogramSum(), notes)],
  ['avg_over_time', (w, notes) => (w.hi - w.lo === 1 ? pointAt(w, w.lo) : total(w, new HistogramMean(), notes))],
  ['count_over_time', (w) => w.hi - w.lo],
  ['last_over_time', (w) => pointAt(w, w.hi - 1)],
  ['first_over_time', (w) => pointAt(w, w.lo)],
  ['present_over_time', () => 1],
  ['ts_of_first_over_time', (w) => w.timesMs[w.lo]! / 1000],
  ['ts_of_last_over_time', (w) => w.timesMs[w.hi - 1]! / 1000],
]);

function pointAt({ values, histograms }: Window, i: number): FloatHistogram | number {
  return histograms![i] ?? values[i]!;
}

function total(
  { histograms, lo, hi }: Window,
  into: HistogramSum | HistogramMean,
  notes: HistogramNotes,
): FloatHistogram | null {
  for (let i = lo; i < hi; i++) {
    if (histograms![i] !== null) continue;
    notes.mixedSamples();
    return null;
  }
  for (let i = lo; i < hi; i++) {
    if (into.add(histograms![i]!)) continue;
    notes.mixedSchemas();
    return null;
  }
  if (into.conflict) notes.conflictingResets('aggregation');
  if (into.reconciled) notes.reconciledBounds('aggregation');
  return into.value();
}
