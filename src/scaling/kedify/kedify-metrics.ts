/**
 * Own metrics under the names of Kedify's scaler, so that its dashboards go on working: the last value of each question
 * that was asked, before and after its clamps. A question that nobody asks any more leaves after a while.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../model/clock.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Registry } from '../../telemetry/registry.ts';
import type { MetricQuery, Operation } from './metric-query.ts';

export interface AskedValue {
  readonly query: MetricQuery;
  readonly operation: Operation;
  readonly namespace: string;
  readonly scaledObject: string;
  readonly value: number;
  readonly clamped: number;
}

interface Kept {
  readonly labels: readonly string[];
  readonly value: number;
  readonly atMs: number;
}

const LABELS = ['name', 'labels', 'timeOp', 'aggregation'];

export class KedifyMetrics {
  readonly #clock: Clock;
  readonly #values = new LRUCache<string, Kept>({ max: LIMITS.kedifyMetricSeriesMax });
  readonly #clamped = new LRUCache<string, Kept>({ max: LIMITS.kedifyMetricSeriesMax });
  readonly #reads = new LRUCache<string, Kept>({ max: LIMITS.kedifyMetricSeriesMax });

  constructor(registry: Registry, clock: Clock) {
    this.#clock = clock;
    const add = (
      type: 'gauge' | 'counter',
      name: string,
      help: string,
      labels: string[],
      kept: LRUCache<string, Kept>,
    ) => registry.collected(type, `keda_otel_scaler_${name}`, help, labels, () => this.#young(kept));
    add('gauge', 'metric_value', 'Last value of a metricQuery before its clamps.', LABELS, this.#values);
    add(
      'gauge',
      'metric_value_clamped',
      'Last value of a metricQuery after its clamps.',
      [...LABELS, 'scaledObject', 'namespace'],
      this.#clamped,
    );
    add('counter', 'metric_points_read', 'Answers from the series of a metric.', ['name'], this.#reads);
  }

  note({ query, operation, namespace, scaledObject, value, clamped }: AskedValue): void {
    const atMs = this.#clock.monotonicMs();
    const labels = [query.metric, goMap(query.labels), operation, query.aggregator];
    const key = labels.join('\uffff');
    this.#values.set(key, { labels, value, atMs });
    const owner = [scaledObject, namespace];
    this.#clamped.set(`${key}\uffff${owner.join('\uffff')}`, { labels: [...labels, ...owner], value: clamped, atMs });
    const reads = this.#reads.peek(query.metric)?.value ?? 0;
    this.#reads.set(query.metric, { labels: [query.metric], value: reads + 1, atMs });
  }

  #young(kept: LRUCache<string, Kept>): readonly Kept[] {
    const oldestMs = this.#clock.monotonicMs() - LIMITS.kedifyMetricMs;
    return [...kept.values()].filter(({ atMs }) => atMs >= oldestMs);
  }
}

/** As Go prints a map: `map[a:1 b:2]`. */
function goMap(labels: ReadonlyMap<string, string>): string {
  const parts = [...labels].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => `${key}:${value}`);
  return `map[${parts.join(' ')}]`;
}
