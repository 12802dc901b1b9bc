/** The index of a head as the Kubernetes surface asks for it. */
import type { SeriesIndex } from '../../src/api/kubernetes/adapter/catalog.ts';
import { METRIC_NAME } from '../../src/model/labels.ts';
import type { Matcher } from '../../src/model/matcher.ts';
import { SCOPE_ALL } from '../../src/model/scope.ts';
import type { HeadReader } from '../../src/tsdb/head.ts';

export function indexOf(head: Pick<HeadReader, 'labelNames' | 'labelValues' | 'stats'>): SeriesIndex {
  const all = (matchers: readonly Matcher[]) => ({
    matchers,
    fromMs: 0,
    toMs: Number.MAX_SAFE_INTEGER,
    scope: SCOPE_ALL,
  });
  return {
    metricNames: (matchers) => head.labelValues(METRIC_NAME, all(matchers)),
    labelNames: (matchers) => head.labelNames(all(matchers)),
    version() {
      const { seriesCreated, seriesRemoved } = head.stats();
      return seriesCreated + seriesRemoved;
    },
  };
}
