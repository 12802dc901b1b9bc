/** A histogram at a lower resolution: 2^k neighbouring buckets of an exponential schema are one of a schema k lower. */
import type { Buckets, FloatHistogram } from '../../model/histogram.ts';

/** The same observations under a schema that is at most the histogram's. */
export function mergedTo(histogram: FloatHistogram, schema: number): FloatHistogram {
  const width = 2 ** (histogram.schema - schema);
  return {
    ...histogram,
    schema,
    positive: mergedBuckets(histogram.positive, width),
    negative: mergedBuckets(histogram.negative, width),
  };
}

/** Bucket i ends at base^i, so buckets (j-1)*width < i <= j*width become bucket j. */
function mergedBuckets({ spans, counts }: Buckets, width: number): Buckets {
  const mergedSpans: number[] = [];
  const mergedCounts: number[] = [];
  let index = 0;
  let at = 0;
  let last = 0;
  for (let i = 0; i < spans.length; i += 2) {
    index += spans[i]!;
    for (let k = 0; k < spans[i + 1]!; k++, index++, at++) {
      const merged = Math.ceil(index / width);
      if (mergedCounts.length > 0 && merged === last) {
        mergedCounts[mergedCounts.length - 1]! += counts[at]!;
        continue;
      }
      if (mergedCounts.length > 0 && merged === last + 1) mergedSpans[mergedSpans.length - 1]!++;
      else mergedSpans.push(mergedCounts.length === 0 ? merged : merged - last - 1, 1);
      mergedCounts.push(counts[at]!);
      last = merged;
    }
  }
  return { spans: Int32Array.from(mergedSpans), counts: Float64Array.from(mergedCounts) };
}
