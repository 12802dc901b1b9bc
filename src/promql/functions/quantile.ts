/** The quantile of a list of values, by linear interpolation between the two nearest ranks (reference section 6.7). */

/** Sorts values[0..count), NaN first, and returns their q-quantile. */
export function quantileOf(q: number, values: Float64Array, count: number): number {
  if (count === 0 || Number.isNaN(q)) return Number.NaN;
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  const sorted = values.subarray(0, count).sort();
  // Typed arrays sort NaN last; PromQL has it smallest.
  const nans = countNaN(sorted);
  const at = (i: number): number => (i < nans ? Number.NaN : sorted[i - nans]!);
  const rank = q * (count - 1);
  const lower = Math.max(0, Math.floor(rank));
  const upper = Math.min(count - 1, lower + 1);
  const weight = rank - Math.floor(rank);
  return at(lower) * (1 - weight) + at(upper) * weight;
}

function countNaN(sorted: Float64Array): number {
  let count = 0;
  while (count < sorted.length && Number.isNaN(sorted[sorted.length - 1 - count]!)) count++;
  return count;
}
