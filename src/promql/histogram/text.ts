/** The text of a histogram, as label values of count_values hold it: `{count:2, sum:3, [-0.001,0.001]:1, (1,2]:1}`. */
import { type FloatHistogram, hasCustomBuckets } from '../../model/histogram.ts';
import { formatG } from '../functions/format.ts';
import { bucketBound } from './bounds.ts';
import { indexesOf } from './buckets.ts';

export function histogramText(histogram: FloatHistogram): string {
  const { count, sum, zeroCount, zeroThreshold } = histogram;
  const parts = [`count:${formatG(count)}`, `sum:${formatG(sum)}`];
  parts.push(...negativeTexts(histogram));
  if (zeroCount !== 0) parts.push(`[${formatG(-zeroThreshold)},${formatG(zeroThreshold)}]:${formatG(zeroCount)}`);
  parts.push(...positiveTexts(histogram));
  return `{${parts.join(', ')}}`;
}

function negativeTexts({ negative, schema, customValues }: FloatHistogram): string[] {
  const indexes = indexesOf(negative);
  const texts: string[] = [];
  for (let i = indexes.length - 1; i >= 0; i--) {
    if (negative.counts[i] === 0) continue;
    const lower = -bucketBound(indexes[i]!, schema, customValues);
    const upper = -bucketBound(indexes[i]! - 1, schema, customValues);
    texts.push(`[${formatG(lower)},${formatG(upper)}):${formatG(negative.counts[i]!)}`);
  }
  return texts;
}

function positiveTexts(histogram: FloatHistogram): string[] {
  const { positive, schema, customValues } = histogram;
  const indexes = indexesOf(positive);
  const texts: string[] = [];
  for (const [i, index] of indexes.entries()) {
    if (positive.counts[i] === 0) continue;
    // The first custom bucket has no lower bound that it could leave out.
    const open = hasCustomBuckets(histogram) && index === 0 ? '[' : '(';
    const lower = bucketBound(index - 1, schema, customValues);
    const upper = bucketBound(index, schema, customValues);
    texts.push(`${open}${formatG(lower)},${formatG(upper)}]:${formatG(positive.counts[i]!)}`);
  }
  return texts;
}
