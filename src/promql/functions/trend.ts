/** Trends: least squares and double exponential smoothing (reference sections 6.4 and 6.9). */
import { CodedError } from '../../model/errors.ts';
import type { RangeKernel, Window } from '../eval/window.ts';
import { KahanSum } from './sums.ts';

export const TREND_KERNELS: ReadonlyMap<string, RangeKernel> = new Map<string, RangeKernel>([
  ['deriv', { samplesMin: 2, run: (w) => regression(w, w.timesMs[w.lo]!).slope }],
  ['predict_linear', { samplesMin: 2, run: predict }],
  ['double_exponential_smoothing', { samplesMin: 1, run: smooth }],
]);

function predict(w: Window): number {
  const { slope, intercept } = regression(w, w.evalMs);
  return slope * w.params[0]![w.step]! + intercept;
}

/** Slope a second and value at `originMs` of the line through the window's samples. */
function regression({ timesMs, values, lo, hi }: Window, originMs: number): { slope: number; intercept: number } {
  const first = values[lo]!;
  const [sumX, sumY, sumXY, sumXX] = [new KahanSum(), new KahanSum(), new KahanSum(), new KahanSum()];
  let constant = true;
  for (let i = lo; i < hi; i++) {
    const x = (timesMs[i]! - originMs) / 1000;
    const y = values[i]!;
    if (y !== first) constant = false;
    sumX.add(x);
    sumY.add(y);
    sumXY.add(x * y);
    sumXX.add(x * x);
  }
  if (constant)
    return Number.isFinite(first) ? { slope: 0, intercept: first } : { slope: Number.NaN, intercept: Number.NaN };
  const n = hi - lo;
  const x = sumX.sum + sumX.compensation;
  const y = sumY.sum + sumY.compensation;
  const covariance = sumXY.sum + sumXY.compensation - (x * y) / n;
  const variance = sumXX.sum + sumXX.compensation - (x * x) / n;
  const slope = covariance / variance;
  return { slope, intercept: y / n - (slope * x) / n };
}

function smooth(w: Window): number {
  const { values, lo, hi } = w;
  const smoothing = factor('smoothing', w.params[0]![w.step]!);
  const trending = factor('trend', w.params[1]![w.step]!);
  if (hi - lo < 2) {
    w.absent = true;
    return 0;
  }
  let before = 0;
  let level = values[lo]!;
  let trend = values[lo + 1]! - values[lo]!;
  for (let i = lo + 1; i < hi; i++) {
    if (i > lo + 1) trend = trending * (level - before) + (1 - trending) * trend;
    const next = smoothing * values[i]! + (1 - smoothing) * (level + trend);
    before = level;
    level = next;
  }
  return level;
}

function factor(name: string, value: number): number {
  if (value > 0 && value < 1) return value;
  const text = Number.isNaN(value) ? 'NaN' : Number.isFinite(value) ? value.toFixed(6) : value > 0 ? '+Inf' : '-Inf';
  throw new CodedError(
    'query_failed',
    `invalid ${name} factor. Expected: 0 < ${name === 'trend' ? 'tf' : 'sf'} < 1, got: ${text}`,
  );
}
