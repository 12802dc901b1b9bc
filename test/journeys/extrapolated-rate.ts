/**
 * Prometheus' `rate` of one counter, written apart from the daemon as the journeys' second opinion.
 * Source of the rule: prometheus/prometheus, promql/functions.go, extrapolatedRate.
 */

export type Point = readonly [timeMs: number, value: number];

/** Points outside the left-open window (endMs - rangeMs, endMs] are left out. */
export function extrapolatedRate(points: readonly Point[], endMs: number, rangeMs: number): number {
  const startMs = endMs - rangeMs;
  const inside = points.filter(([timeMs]) => timeMs > startMs && timeMs <= endMs);
  if (inside.length < 2) throw new Error(`cannot compute a rate: got ${inside.length} points in the window, want 2`);
  const [firstMs, firstValue] = inside[0]!;
  const [lastMs] = inside.at(-1)!;
  const increase = counterIncrease(inside);
  const sampledMs = lastMs - firstMs;
  const averageMs = sampledMs / (inside.length - 1);
  const near = (edgeMs: number): number => (edgeMs >= averageMs * 1.1 ? averageMs / 2 : edgeMs);
  // A counter cannot have been below zero, so it is not extended to before the moment at which it would have been zero.
  const sinceZeroMs = increase > 0 && firstValue >= 0 ? (sampledMs * firstValue) / increase : Infinity;
  const beforeMs = Math.min(near(firstMs - startMs), sinceZeroMs);
  const afterMs = near(endMs - lastMs);
  return (increase * ((sampledMs + beforeMs + afterMs) / sampledMs)) / (rangeMs / 1000);
}

/** Last minus first, plus the value before each reset. */
function counterIncrease(points: readonly Point[]): number {
  let increase = points.at(-1)![1] - points[0]![1];
  for (let i = 1; i < points.length; i++) {
    const before = points[i - 1]![1];
    if (points[i]![1] < before) increase += before;
  }
  return increase;
}
