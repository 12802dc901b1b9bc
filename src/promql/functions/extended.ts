/**
 * Windows whose edges are made of the samples around them: `anchored` takes the last sample at or before an edge,
 * `smoothed` interpolates between the two samples around it (reference section 6.10).
 */

import { CodedError } from '../../model/errors.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import type { HistogramNotes } from '../eval/histogram-notes.ts';
import type { RangeKernel, Window } from '../eval/window.ts';
import type { Edges } from '../syntax/ast.ts';
import { histogramDifference } from './extended-histograms.ts';
import { HISTOGRAM_RATE_KERNELS } from './histogram-rate.ts';

/** Functions that each modifier may be used with, in the order of Prometheus' error text. */
export const EXTENDED_FUNCTIONS: Readonly<Record<Edges, readonly string[]>> = {
  anchored: ['changes', 'delta', 'increase', 'rate', 'resets'],
  smoothed: ['delta', 'increase', 'rate'],
};

export function extendedKernel(name: string, edges: Edges): RangeKernel {
  const run = floatKernel(name, edges);
  return {
    samplesMin: 0,
    run,
    looksAround: true,
    mixed: (w, notes) => mixed(name, edges === 'smoothed', run, w, notes),
  };
}

function floatKernel(name: string, edges: Edges): RangeKernel['run'] {
  switch (name) {
    case 'changes':
      return (w) => countSteps(w, (now, before) => now !== before && !(Number.isNaN(now) && Number.isNaN(before)));
    case 'resets':
      return (w) => countSteps(w, (now, before) => now < before);
    default:
      return (w) => difference(w, edges === 'smoothed', name !== 'delta', name === 'rate');
  }
}

/** A window of a row with histograms; it may still hold floats only. */
function mixed(
  name: string,
  smoothed: boolean,
  floats: RangeKernel['run'],
  w: Window,
  notes: HistogramNotes,
): FloatHistogram | number | null {
  const bounds = boundsOf(w, smoothed);
  if (bounds === null) return null;
  const { first, last } = bounds;
  let histograms = 0;
  for (let i = first; i <= last; i++) if (w.histograms![i] !== null) histograms++;
  if (histograms === 0) {
    w.absent = false;
    const value = floats(w);
    return w.absent ? null : value;
  }
  if (name === 'changes' || name === 'resets')
    return HISTOGRAM_RATE_KERNELS.get(name)!({ ...w, lo: first, hi: last + 1 }, notes);
  if (histograms <= last - first) {
    notes.mixedSamples();
    return null;
  }
  return histogramDifference(w, bounds, { smoothed, isCounter: name !== 'delta', isRate: name === 'rate' }, notes);
}

/** Indices of the first and the last sample that count, the ones around the edges included. */
interface Bounds {
  readonly first: number;
  readonly last: number;
}

/** Null if nothing lies behind the start, or everything behind the end. */
function boundsOf(w: Window, smoothed: boolean): Bounds | null {
  const { timesMs, count, lo, hi, lookbackMs } = w;
  const first = lo > 0 && timesMs[lo - 1]! > w.startMs - lookbackMs ? lo - 1 : lo;
  let last = hi - 1;
  const atEnd = last >= 0 && timesMs[last] === w.endMs;
  if (smoothed && !atEnd && hi < count && timesMs[hi]! <= w.endMs + lookbackMs) last = hi;
  if (last < first || timesMs[last]! <= w.startMs || timesMs[first]! > w.endMs) return null;
  return { first, last };
}

function leftEdge(w: Window, { first }: Bounds, smoothed: boolean, isCounter: boolean): number {
  if (!smoothed || w.timesMs[first]! >= w.startMs) return w.values[first]!;
  return interpolate(w, first, w.startMs, isCounter);
}

function rightEdge(w: Window, { last }: Bounds, smoothed: boolean, isCounter: boolean): number {
  if (!smoothed || last === 0 || w.timesMs[last]! <= w.endMs) return w.values[last]!;
  return interpolate(w, last - 1, w.endMs, isCounter);
}

/** The value at a time between samples i and i + 1; a counter that drops there counts from 0. */
function interpolate({ timesMs, values }: Window, i: number, timeMs: number, isCounter: boolean): number {
  const after = values[i + 1]!;
  const before = isCounter && after < values[i]! ? 0 : values[i]!;
  return before + ((after - before) * (timeMs - timesMs[i]!)) / (timesMs[i + 1]! - timesMs[i]!);
}

function difference(w: Window, smoothed: boolean, isCounter: boolean, isRate: boolean): number {
  const bounds = boundsOf(w, smoothed);
  if (bounds === null) {
    w.absent = true;
    return 0;
  }
  const left = leftEdge(w, bounds, smoothed, isCounter);
  const right = rightEdge(w, bounds, smoothed, isCounter);
  let result = right - left;
  if (isCounter) result += resetCorrection(w, bounds, left, right);
  return isRate ? result / ((w.endMs - w.startMs) / 1000) : result;
}

/** What was lost at the drops strictly inside of the window; the edges see to their own. */
function resetCorrection(w: Window, bounds: Bounds, left: number, right: number): number {
  const { first, last } = inside(w, bounds);
  let correction = 0;
  let before = left;
  for (let i = first; i <= last; i++) {
    if (w.values[i]! < before) correction += before;
    before = w.values[i]!;
  }
  return right < before ? correction + before : correction;
}

/** The samples that are not edges themselves. */
function inside(w: Window, { first, last }: Bounds): Bounds {
  return {
    first: w.timesMs[first]! <= w.startMs ? first + 1 : first,
    last: w.timesMs[last]! >= w.endMs ? last - 1 : last,
  };
}

function countSteps(w: Window, counts: (now: number, before: number) => boolean): number {
  const bounds = boundsOf(w, false);
  if (bounds === null) {
    w.absent = true;
    return 0;
  }
  let steps = 0;
  for (let i = bounds.first + 1; i <= bounds.last; i++) if (counts(w.values[i]!, w.values[i - 1]!)) steps++;
  return steps;
}

/** The window as points: both edges, and what lies between them. */
export function extendedPoints(w: Window, smoothed: boolean): { timesMs: Float64Array; values: Float64Array } {
  const bounds = boundsOf(w, smoothed);
  for (let i = bounds?.first ?? 0; bounds !== null && i <= bounds.last; i++) {
    if (w.histograms === null || w.histograms[i] === null) continue;
    const modifier = smoothed ? 'smoothed' : 'anchored';
    throw new CodedError('query_failed', `${modifier} modifier is not supported with histograms`);
  }
  if (bounds === null) return { timesMs: new Float64Array(0), values: new Float64Array(0) };
  const { first, last } = inside(w, bounds);
  const end = Math.max(first, last + 1);
  return {
    timesMs: Float64Array.of(w.startMs, ...w.timesMs.subarray(first, end), w.endMs),
    values: Float64Array.of(
      leftEdge(w, bounds, smoothed, false),
      ...w.values.subarray(first, end),
      rightEdge(w, bounds, smoothed, false),
    ),
  };
}
