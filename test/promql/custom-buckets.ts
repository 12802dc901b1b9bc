/** Custom-bucket histograms made of classic ones: what `load_with_nhcb` loads beside them (reference section 12). */
import { CUSTOM_BUCKETS_SCHEMA, EMPTY_HISTOGRAM, NO_BUCKETS } from '../../src/model/histogram.ts';
import { type Labels, labelsFromPairs, labelsKey, labelsToObject, METRIC_NAME } from '../../src/model/labels.ts';
import type { Item, SeriesDescription } from './series-description.ts';

interface Classic {
  readonly labels: Labels;
  /** By bound, the items of its series. */
  readonly buckets: Map<number, readonly Item[]>;
  sum: readonly Item[];
  count: readonly Item[];
}

export function customBucketSeries(series: readonly SeriesDescription[]): SeriesDescription[] {
  const classics = new Map<string, Classic>();
  for (const { labels, items } of series) {
    const { [METRIC_NAME]: name = '', le, ...rest } = labelsToObject(labels);
    const [, base, part] = /^(.*)_(bucket|sum|count)$/.exec(name) ?? [];
    if (base === undefined || (part === 'bucket') !== (le !== undefined)) continue;
    const own = labelsFromPairs([[METRIC_NAME, base], ...Object.entries(rest)]);
    const classic = classics.get(labelsKey(own)) ?? { labels: own, buckets: new Map(), sum: [], count: [] };
    classics.set(labelsKey(own), classic);
    if (part === 'sum') classic.sum = items;
    else if (part === 'count') classic.count = items;
    else if (!classic.buckets.has(boundOf(le!))) classic.buckets.set(boundOf(le!), items);
  }
  return [...classics.values()].filter(({ buckets }) => buckets.size > 0).map(converted);
}

function boundOf(le: string): number {
  return /^[+-]?inf$/i.test(le) ? (le.startsWith('-') ? -Infinity : Infinity) : Number(le);
}

function converted({ labels, buckets, sum, count }: Classic): SeriesDescription {
  const bounds = [...buckets.keys()].sort((a, b) => a - b);
  const length = Math.max(...[...buckets.values()].map((items) => items.length));
  const items = Array.from({ length }, (_, k): Item => {
    const cumulative = bounds.map((bound) => buckets.get(bound)![k]);
    if (cumulative.some((value) => typeof value !== 'number')) return null;
    return histogramOf(bounds, cumulative as number[], sum[k], count[k]);
  });
  return { labels, items };
}

function histogramOf(bounds: readonly number[], cumulative: readonly number[], sum?: Item, count?: Item): Item {
  const total = typeof count === 'number' ? count : cumulative.at(-1)!;
  const finite = bounds.filter((bound) => bound !== Infinity);
  const up = [...cumulative.slice(0, finite.length), total];
  const counts = Float64Array.from(up, (value, i) => value - (i === 0 ? 0 : up[i - 1]!));
  if (counts.some((value) => value < 0)) return null;
  return {
    hasHint: false,
    histogram: {
      ...EMPTY_HISTOGRAM,
      schema: CUSTOM_BUCKETS_SCHEMA,
      count: total,
      sum: typeof sum === 'number' ? sum : 0,
      customValues: Float64Array.from(finite),
      positive: counts.length === 0 ? NO_BUCKETS : { spans: Int32Array.of(0, counts.length), counts },
    },
  };
}
