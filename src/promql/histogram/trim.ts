/**
 * Trims: `h </ x` keeps the observations below x, `h >/ x` those above (reference section 9). The bucket that x lies in is
 * cut by interpolation. Count and sum are estimated anew from the middles of buckets, but only if something was cut.
 */
import { type FloatHistogram, hasCustomBuckets } from '../../model/histogram.ts';
import { KahanSum } from '../functions/sums.ts';
import { allBuckets, bucketsOf, exponentialShare, indexesOf, middleOf, zeroRange } from './buckets.ts';

/** What is left of a bucket: observations, and the value that they are taken to have. */
interface Kept {
  readonly count: number;
  readonly middle: number;
}

export function trim(histogram: FloatHistogram, cut: number, keep: 'below' | 'above'): FloatHistogram {
  const buckets = allBuckets(histogram);
  const kept = new Float64Array(buckets.size);
  const sum = new KahanSum();
  const count = new KahanSum();
  let changed = false;
  for (let i = 0; i < buckets.size; i++) {
    if (buckets.counts[i] === 0) continue;
    const isZero = i === buckets.zero;
    const [lower, upper] = isZero ? zeroRange(histogram) : [buckets.lower[i]!, buckets.upper[i]!];
    const linear = isZero || hasCustomBuckets(histogram);
    const part = hasCustomBuckets(histogram)
      ? customPart(lower, upper, cut, keep)
      : partOf(lower, upper, cut, keep, linear);
    kept[i] = buckets.counts[i]! * part.count;
    if (kept[i] !== buckets.counts[i]) changed = true;
    if (kept[i] === 0) continue;
    count.add(kept[i]!);
    sum.add(kept[i]! * part.middle);
  }
  return changed ? withKept(histogram, kept, count.total, sum.total) : histogram;
}

/** Puts the columns of {@link allBuckets} back in place. */
function withKept(histogram: FloatHistogram, kept: Float64Array, count: number, sum: number): FloatHistogram {
  const { positive, negative, zeroCount } = histogram;
  const below = kept.slice(0, negative.counts.length).reverse();
  const above = kept.subarray(kept.length - positive.counts.length);
  return {
    ...histogram,
    count,
    sum,
    zeroCount: zeroCount === 0 ? 0 : kept[negative.counts.length]!,
    positive: bucketsOf(indexesOf(positive), above, true),
    negative: bucketsOf(indexesOf(negative), below, true),
  };
}

const NOTHING: Kept = { count: 0, middle: 0 };

/** `count` is the share that is kept. */
function partOf(lower: number, upper: number, cut: number, keep: 'below' | 'above', linear: boolean): Kept {
  const middle = middleOf(lower, upper, linear);
  if (keep === 'below' ? upper <= cut : lower >= cut) return { count: 1, middle };
  if (!(lower < cut && cut < upper)) return NOTHING;
  const share = linear ? (cut - lower) / (upper - lower) : exponentialShare(lower, upper, cut);
  return keep === 'below'
    ? { count: share, middle: middleOf(lower, cut, linear) }
    : { count: 1 - share, middle: middleOf(cut, upper, linear) };
}

/** The outermost custom buckets have no width to cut by. */
function customPart(lower: number, upper: number, cut: number, keep: 'below' | 'above'): Kept {
  const everything = cut === (keep === 'below' ? Infinity : -Infinity);
  if (upper === Infinity) {
    if (lower === -Infinity || keep === 'below') return everything ? { count: 1, middle: lower } : NOTHING;
    return cut === Infinity ? NOTHING : { count: 1, middle: Math.max(lower, cut) };
  }
  if (lower !== -Infinity) return partOf(lower, upper, cut, keep, true);
  if (upper > 0) {
    // It is cut as if it began at 0, so a cut below that leaves nothing that could be told.
    if (cut < 0 && !everything) return NOTHING;
    return partOf(0, upper, cut, keep, true);
  }
  if (keep === 'above') return everything ? { count: 1, middle: upper } : NOTHING;
  return cut === -Infinity ? NOTHING : { count: 1, middle: Math.min(upper, cut) };
}
