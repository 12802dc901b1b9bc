/** From a query's text to its plan: parsed and planned, and found in the cache. */
import { systemClock } from '../src/model/clock.ts';
import { QueryEngine } from '../src/promql/engine.ts';
import { planQuery } from '../src/promql/plan/plan.ts';
import { Registry } from '../src/telemetry/registry.ts';
import type { BenchOptions } from './main.ts';
import { cpuMicros, expectEqual, type Row, row } from './support/measure.ts';

/** Typical scaling queries; `N` makes each text a new one. */
const QUERIES = [
  'sum(rate(http_requests_total{namespace="shop",service="web-N"}[2m]))',
  'sum by (pod) (rate(container_cpu_usage_seconds_total{namespace="shop",pod=~"web-N-.*"}[1m]))',
  'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{job="web-N"}[5m])))',
  'avg(queue_depth{queue="N"}) / scalar(count(up{job="worker-N"}))',
  'max_over_time(sum(queue_depth{queue="N"})[5m:15s])',
];
const FEATURES = {
  experimentalFunctions: false,
  durationExpressions: true,
  extendedRangeSelectors: false,
  fillModifiers: false,
};
const ROUND = 2000;

export async function plan({ rounds, runs }: BenchOptions): Promise<Row[]> {
  const head = { select: () => Promise.reject(new Error('nothing is selected')) } as never;
  const engine = new QueryEngine({ head, clock: systemClock, registry: new Registry(), lookbackMs: 300_000 });
  let number = 0;
  const next = (): string => QUERIES[number % QUERIES.length]!.replaceAll('N', String(number++));
  const options = { features: FEATURES, depthMax: 128 };
  expectEqual('selectors', planQuery(next(), options).selectors.length, 1);
  const known = QUERIES.map((text) => text.replaceAll('N', '1'));
  const cold: number[] = [];
  const cached: number[] = [];
  for (let run = 0; run < rounds * runs; run++) {
    cold.push(cpuMicros(() => repeat(() => void planQuery(next(), options))) / ROUND);
    cached.push(cpuMicros(() => repeat((i) => void engine.selectors(known[i % known.length]!))) / ROUND);
  }
  return [row('parse and plan', 'µs', 0, cold), row('from the cache', 'µs', 0, cached)];
}

function repeat(work: (i: number) => void): void {
  for (let i = 0; i < ROUND; i++) work(i);
}
