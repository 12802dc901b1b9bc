/**
 * Arithmetic of the Kedify path: an operation over the samples of one series, then the aggregator over the series.
 * Source: kedify/otel-add-on v0.1.4, metric/mem_store.go; its faults are mended where the comments say so.
 */
import type { Aggregator, Operation } from './metric-query.ts';

/** Samples of one series within the window, ascending in time, without stale markers; the first `count` count. */
export interface Points {
  readonly timesMs: Float64Array;
  readonly values: Float64Array;
  readonly count: number;
}

/** The result of an operation over at least one point. */
export function overTime(operation: Operation, points: Points, isDelta: boolean): number {
  const { values, count } = points;
  switch (operation) {
    case 'last_one':
      return values[count - 1]!;
    case 'count':
      return count;
    case 'rate':
      return rate(points, isDelta);
    case 'avg':
      return sumOf(values, count) / count;
    // There, a minimum exists only from the second point on.
    case 'min':
    case 'max':
      return extreme(operation, values, count);
  }
}

/** The aggregate of at least one value. */
export function aggregate(aggregator: Aggregator, values: Float64Array): number {
  const count = values.length;
  if (aggregator === 'count') return count;
  if (aggregator === 'min' || aggregator === 'max') return extreme(aggregator, values, count);
  const sum = sumOf(values, count);
  return aggregator === 'sum' ? sum : sum / count;
}

/** Rises from point to point by the time between the first and the last; a drop is a restart from 0. No extrapolation. */
function rate({ timesMs, values, count }: Points, isDelta: boolean): number {
  if (count < 2) return 0;
  let rises = 0;
  for (let i = 1; i < count; i++) {
    const value = values[i]!;
    // There, deltas are taken for a counter, and so the rate of a steady one is 0.
    rises += isDelta || value < values[i - 1]! ? value : value - values[i - 1]!;
  }
  return rises / ((timesMs[count - 1]! - timesMs[0]!) / 1000);
}

function sumOf(values: Float64Array, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += values[i]!;
  return sum;
}

function extreme(which: 'min' | 'max', values: Float64Array, count: number): number {
  let found = values[0]!;
  for (let i = 1; i < count; i++) found = which === 'min' ? Math.min(found, values[i]!) : Math.max(found, values[i]!);
  return found;
}
