/**
 * `external.metrics.k8s.io`: metrics that the configuration defines as a name and a query. A request's namespace becomes
 * the scope of the query, its label selector becomes matchers on every selector of the query. The answer is exactly one
 * item, because an HPA adds up whatever it gets, or an error, which makes it hold the replicas.
 */
import { CodedError } from '../../model/errors.ts';
import { labelsToObject, METRIC_NAME } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import { formatTime } from '../../scaling/diagnosis.ts';
import { DEFAULT_POLICY, type Policy, type PolicyKey, parsePolicy } from '../../scaling/policy.ts';
import { formatQuantity } from '../../scaling/quantity.ts';
import type { Readings, ReadingValue } from '../../scaling/reading.ts';
import { GROUP, VERSION } from './discovery.ts';
import { parseLabelSelector } from './label-selector.ts';
import { absenceStatus, badRequest, metricNotFound } from './status.ts';

export interface ExternalMetric {
  readonly name: string;
  readonly query: string;
  /** True if a request sees only series of its own namespace. */
  readonly namespaced: boolean;
  /** Keys of its policy, as written (scaling/policy.ts). */
  readonly policy?: Readonly<Record<string, string>>;
}

export interface ExternalMetricRequest {
  readonly namespace: string;
  readonly metric: string;
  readonly labelSelector: string;
}

export class ExternalMetrics {
  readonly #byName: ReadonlyMap<string, ExternalMetric & { readonly parsed: Policy }>;
  readonly #readings: Pick<Readings, 'read'>;

  constructor(metrics: readonly ExternalMetric[], readings: Pick<Readings, 'read'>) {
    this.#byName = new Map(metrics.map((metric) => [metric.name, { ...metric, parsed: policyOf(metric) }]));
    this.#readings = readings;
  }

  /** The value of a metric; throws a `StatusError`. */
  async read({ namespace, metric: name, labelSelector }: ExternalMetricRequest): Promise<ReadingValue> {
    const metric = this.#byName.get(name);
    if (metric === undefined) throw metricNotFound(name);
    const reading = await this.#readings.read({
      query: metric.query,
      scope: metric.namespaced ? [namespace] : SCOPE_ALL,
      matchers: matchersOf(labelSelector),
      surface: 'kubernetes',
      policy: metric.parsed,
      // The target stands in the HPA, which does not send it.
      asker: { namespace, name, call: labelSelector, target: null, activation: null },
    });
    if (reading.kind === 'absence') throw absenceStatus(name, reading);
    return reading;
  }
}

/** Names that the API's paths cannot carry, or that Kubernetes reads as something else. */
const NAMES_REFUSED = ['.', '..', 'status', 'finalize'];

/** Throws `bad_config` naming the metric that cannot be served. */
export function checkExternalMetrics(metrics: readonly ExternalMetric[], engine: Pick<QueryEngine, 'selectors'>): void {
  const seen = new Set<string>();
  for (const { name, query, policy } of metrics) {
    const metric = `cannot use external metric ${JSON.stringify(name)}`;
    if (name === '' || NAMES_REFUSED.includes(name) || /[/%\s]/.test(name)) {
      throw new CodedError('bad_config', `${metric}: the name cannot be part of an API path`);
    }
    if (seen.has(name)) throw new CodedError('bad_config', `${metric}: it is defined twice`);
    seen.add(name);
    try {
      engine.selectors(query);
      policyOf({ policy: policy ?? {} });
    } catch (cause) {
      if (!(cause instanceof CodedError)) throw cause;
      throw new CodedError('bad_config', `${metric}: ${cause.message}`, { cause });
    }
  }
}

function policyOf({ policy }: Pick<ExternalMetric, 'policy'>): Policy {
  return policy === undefined ? DEFAULT_POLICY : parsePolicy((key: PolicyKey) => policy[key] ?? null);
}

/** ExternalMetricValueList of one item, as the HPA wants it. */
export function toValueList(metric: string, reading: ReadingValue): object {
  return {
    kind: 'ExternalMetricValueList',
    apiVersion: `${GROUP}/${VERSION}`,
    metadata: {},
    items: [
      {
        metricName: metric,
        metricLabels: metricLabels(reading),
        timestamp: timestampOf(reading),
        value: formatQuantity(reading.value),
      },
    ],
  };
}

/** The same for `kubectl get`. */
export function toTable(metric: string, namespace: string, reading: ReadingValue): object {
  const cells = [metric, formatQuantity(reading.value), timestampOf(reading), JSON.stringify(metricLabels(reading))];
  const metadata = { name: metric, namespace, creationTimestamp: null };
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: {},
    columnDefinitions: [
      column('Metric', 'name', 0, 'Name of the external metric.'),
      column('Value', '', 0, 'Value that an HPA is told.'),
      column('Sampled', '', 0, 'Time of the newest sample that was read.'),
      column('Labels', '', 1, 'Labels of the result.'),
    ],
    rows: [{ cells, object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata } }],
  };
}

function matchersOf(labelSelector: string): readonly Matcher[] {
  try {
    return parseLabelSelector(labelSelector);
  } catch (error) {
    if (error instanceof CodedError) throw badRequest(error.message);
    throw error;
  }
}

function metricLabels(reading: ReadingValue): Record<string, string> {
  const labels = labelsToObject(reading.labels);
  delete labels[METRIC_NAME];
  return labels;
}

/** A query that reads no series (`vector(1)`) is as young as the question. */
function timestampOf({ newestMs, timeMs }: ReadingValue): string {
  return formatTime(newestMs ?? timeMs);
}

/** Priority 1 shows with `-o wide` only. */
function column(name: string, format: string, priority: 0 | 1, description: string): object {
  return { name, type: 'string', format, description, priority };
}
