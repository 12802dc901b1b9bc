/**
 * Windows with histograms whose edges are made of the samples around them (reference section 6.10): what extended.ts is
 * for floats.
 */
import { type FloatHistogram, hasCustomBuckets, RESET_HINT } from '../../model/histogram.ts';
import type { HistogramNotes } from '../eval/histogram-notes.ts';
import type { Window } from '../eval/window.ts';
import { add, isReset, multiply, subtract, withHint } from '../histogram/algebra.ts';
import { compact } from '../histogram/buckets.ts';

/** A sample of the window, by its index. */
type Sample = (i: number) => FloatHistogram;

export interface ExtendedCall {
  readonly smoothed: boolean;
  readonly isCounter: boolean;
  readonly isRate: boolean;
}

/** rate, increase and delta over the samples first..last, all of them histograms. Null, with a warning, if they do not fit. */
export function histogramDifference(
  w: Window,
  { first, last }: { readonly first: number; readonly last: number },
  { smoothed, isCounter, isRate }: ExtendedCall,
  notes: HistogramNotes,
): FloatHistogram | null {
  const sample: Sample = (i) => w.histograms![i]!;
  noteHints(sample, first, last, isCounter, notes);
  const cutsLeft = smoothed && w.timesMs[first]! < w.startMs;
  const cutsRight = smoothed && last > 0 && w.timesMs[last]! > w.endMs;
  const left = cutsLeft ? between(w, first, w.startMs, isCounter) : sample(first);
  const right = cutsRight ? between(w, last - 1, w.endMs, isCounter) : sample(last);
  let result = left === null || right === null ? null : (subtract(right, left)?.histogram ?? null);
  // An interpolated left edge has seen to a reset between its two samples.
  for (let i = first + (cutsLeft ? 2 : 1); isCounter && result !== null && i <= last; i++)
    if (isReset(sample(i), sample(i - 1))) result = add(result, sample(i - 1))?.histogram ?? null;
  if (result === null) {
    notes.mixedSchemas();
    return null;
  }
  const gauge = compact(withHint(result, RESET_HINT.gauge));
  return isRate ? multiply(gauge, 1000 / (w.endMs - w.startMs)) : gauge;
}

function noteHints(sample: Sample, first: number, last: number, isCounter: boolean, notes: HistogramNotes): void {
  const isGauge = (i: number): boolean => sample(i).hint === RESET_HINT.gauge;
  if (!isCounter) {
    if (!(isGauge(first) && isGauge(last))) notes.notGauge();
    return;
  }
  let any = false;
  for (let i = first; i <= last; i++) any ||= isGauge(i);
  if (any) notes.notCounter();
}

function between(
  { timesMs, histograms }: Window,
  i: number,
  timeMs: number,
  isCounter: boolean,
): FloatHistogram | null {
  const share = (timeMs - timesMs[i]!) / (timesMs[i + 1]! - timesMs[i]!);
  return interpolated(histograms![i]!, histograms![i + 1]!, share, isCounter);
}

/**
 * The histogram at a share of the way from one sample to the next; a counter that is reset there counts from 0. Null if
 * one has custom buckets and the other exponential ones.
 */
export function interpolated(
  before: FloatHistogram,
  after: FloatHistogram,
  share: number,
  isCounter: boolean,
): FloatHistogram | null {
  if (hasCustomBuckets(before) !== hasCustomBuckets(after)) return null;
  if (isCounter && isReset(after, before)) return multiply(after, share);
  const step = subtract(after, before);
  if (step === null) return null;
  const sum = add(before, multiply(step.histogram, share));
  return sum === null ? null : withHint(sum.histogram, before.hint);
}
