/**
 * Quantiles and fractions of classic histograms (reference sections 8.8 and 8.9).
 * Source: prometheus/prometheus, promql/quantile.go.
 */

/** Cumulative buckets in ascending order of their upper bounds; equal bounds are already one bucket. */
export interface Buckets {
  readonly bounds: Float64Array;
  readonly counts: Float64Array;
  count: number;
}

/** How a histogram had to be repaired before its quantile could be computed. */
export interface Repair {
  forced: boolean;
  minBucket: number;
  maxBucket: number;
  maxDiff: number;
}

export function newRepair(): Repair {
  return { forced: false, minBucket: 0, maxBucket: 0, maxDiff: 0 };
}

/** Relative difference below which a decrease is floating-point noise. */
const SMALL_DELTA = 1e-12;

export function bucketQuantile(q: number, buckets: Buckets, repair: Repair): number {
  repair.forced = false;
  const { bounds, counts, count } = buckets;
  if (Number.isNaN(q)) return Number.NaN;
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  if (count < 2 || bounds[count - 1] !== Infinity) return Number.NaN;
  ensureMonotonic(buckets, repair);
  const observations = counts[count - 1]!;
  if (observations === 0) return Number.NaN;
  const rank = q * observations;
  let b = 0;
  while (b < count - 1 && !(counts[b]! >= rank)) b++;
  if (b === count - 1) return bounds[count - 2]!;
  if (b === 0 && bounds[0]! <= 0) return bounds[0]!;
  const start = b === 0 ? 0 : bounds[b - 1]!;
  const below = b === 0 ? 0 : counts[b - 1]!;
  return start + (bounds[b]! - start) * ((rank - below) / (counts[b]! - below));
}

/** Share of the observations between two values. */
export function bucketFraction(lower: number, upper: number, buckets: Buckets, repair: Repair): number {
  repair.forced = false;
  const { bounds, counts, count } = buckets;
  if (count < 2 || bounds[count - 1] !== Infinity) return Number.NaN;
  ensureMonotonic(buckets, repair);
  const observations = counts[count - 1]!;
  if (observations === 0 || Number.isNaN(lower) || Number.isNaN(upper)) return Number.NaN;
  if (lower >= upper) return 0;
  const low = rankOf(lower, buckets);
  const high = rankOf(upper, buckets);
  return (high - low) / observations;
}

/** Observations below a value. */
function rankOf(value: number, { bounds, counts, count }: Buckets): number {
  if (value === -Infinity) return 0;
  for (let b = 0; b < count; b++) {
    const upper = bounds[b]!;
    if (upper < value) continue;
    const below = b === 0 ? 0 : counts[b - 1]!;
    if (upper === value) return counts[b]!;
    // The first bucket begins at 0 unless its bound is not above: then at -Inf, and counts as a whole.
    const lower = b === 0 ? (upper <= 0 ? -Infinity : 0) : bounds[b - 1]!;
    if (lower === -Infinity) return counts[b]!;
    if (value <= lower) return below;
    if (upper === Infinity) return below;
    return below + (counts[b]! - below) * ((value - lower) / (upper - lower));
  }
  return counts[count - 1]!;
}

function ensureMonotonic(buckets: Buckets, repair: Repair): void {
  const { bounds, counts, count } = buckets;
  let previous = counts[0]!;
  for (let i = 1; i < count; i++) {
    const current = counts[i]!;
    if (current === previous) continue;
    if (almostEqual(previous, current)) {
      counts[i] = previous;
      continue;
    }
    if (current < previous) {
      noteRepair(repair, bounds[i]!, previous - current);
      counts[i] = previous;
      continue;
    }
    previous = current;
  }
}

function noteRepair(repair: Repair, bound: number, diff: number): void {
  repair.minBucket = repair.forced ? Math.min(repair.minBucket, bound) : bound;
  repair.maxBucket = repair.forced ? Math.max(repair.maxBucket, bound) : bound;
  repair.maxDiff = repair.forced ? Math.max(repair.maxDiff, diff) : diff;
  repair.forced = true;
}

/** Prometheus' util/almost: relative to the sum, absolute near zero. */
function almostEqual(a: number, b: number): boolean {
  const sum = Math.abs(a) + Math.abs(b);
  const diff = Math.abs(a - b);
  if (a === 0 || b === 0 || sum < 2.2250738585072014e-308) return diff < SMALL_DELTA * 2.2250738585072014e-308;
  return diff / Math.min(sum, Number.MAX_VALUE) < SMALL_DELTA;
}
