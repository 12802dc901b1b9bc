/** The store's index as discovery asks for it: all that is kept, whatever its age and namespace. */
import { METRIC_NAME } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';
import { SCOPE_ALL } from '../model/scope.ts';
import type { HeadReader } from './head.ts';

interface Index {
  /** Names of the metrics with series that fulfil the matchers, sorted. */
  metricNames(matchers: readonly Matcher[]): readonly string[];
  /** Names of the labels of those series, sorted. */
  labelNames(matchers: readonly Matcher[]): readonly string[];
  /** Another number whenever series came or went. */
  version(): number;
}

export function seriesIndex(head: Pick<HeadReader, 'labelNames' | 'labelValues' | 'seriesVersion'>): Index {
  const all = (matchers: readonly Matcher[]) => ({
    matchers,
    fromMs: 0,
    toMs: Number.MAX_SAFE_INTEGER,
    scope: SCOPE_ALL,
  });
  return {
    metricNames: (matchers) => head.labelValues(METRIC_NAME, all(matchers)),
    labelNames: (matchers) => head.labelNames(all(matchers)),
    version: () => head.seriesVersion(),
  };
}
