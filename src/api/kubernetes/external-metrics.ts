/**
 * `external.metrics.k8s.io`: metrics that the configuration defines as a name and a query, and those that the adapter's
 * external rules find. A request's namespace becomes the scope of the query, its label selector becomes matchers.
 *
 * A metric of our own answers exactly one item, because an HPA adds up whatever it gets; a rule answers what its query
 * gives. What is not known is an error, which makes the HPA hold the replicas.
 */
import { CodedError } from '../../model/errors.ts';
import { labelsToObject, METRIC_NAME } from '../../model/labels.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import { DEFAULT_POLICY, type Policy, type PolicyKey, parsePolicy } from '../../scaling/policy.ts';
import type { ListItem, Readings } from '../../scaling/reading.ts';
import { type ExternalEntry, isServable } from './adapter/catalog.ts';
import { FilledQueries } from './adapter/filled.ts';
import { externalParts, scopeOf } from './adapter/rules.ts';
import { parseRequirements, toMatcher } from './label-selector.ts';
import type { LiveRules } from './live-rules.ts';
import { absenceStatus, metricNotFound, ruleFault, selectorOf } from './status.ts';

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

export interface MetricItem {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricList {
  readonly items: readonly MetricItem[];
  /** Time of the newest sample, or of the question if the query reads no series. */
  readonly timeMs: number;
  /** Why the values are not simply the query's; '' if they are. */
  readonly note: string;
}

export interface ExternalMetricsOptions {
  readonly metrics: readonly ExternalMetric[];
  readonly live: LiveRules;
  readonly readings: Pick<Readings, 'read' | 'readList'>;
  /** Rules may answer negative values. */
  readonly allowsNegative: boolean;
}

export class ExternalMetrics {
  readonly #byName: ReadonlyMap<string, ExternalMetric & { readonly parsed: Policy }>;
  readonly #options: ExternalMetricsOptions;
  readonly #filled = new FilledQueries();

  constructor(options: ExternalMetricsOptions) {
    this.#byName = new Map(options.metrics.map((metric) => [metric.name, { ...metric, parsed: policyOf(metric) }]));
    this.#options = options;
  }

  /** Names of all metrics there are, sorted. */
  names(): string[] {
    return [...new Set([...this.#byName.keys(), ...this.#options.live.catalog().external.keys()])].sort();
  }

  /** The items of a metric; throws a `StatusError`. */
  async read(request: ExternalMetricRequest): Promise<MetricList> {
    const metric = this.#byName.get(request.metric);
    if (metric !== undefined) return this.#readOwn(metric, request);
    const entry = await this.#options.live.external(request.metric);
    if (entry === null) throw metricNotFound(request.metric);
    return this.#readRule(entry, request);
  }

  async #readOwn(
    metric: ExternalMetric & { readonly parsed: Policy },
    { namespace, labelSelector }: ExternalMetricRequest,
  ): Promise<MetricList> {
    const { name } = metric;
    const reading = await this.#options.readings.read({
      query: metric.query,
      scope: metric.namespaced ? [namespace] : SCOPE_ALL,
      matchers: selectorOf(() => parseRequirements(labelSelector).map(toMatcher)),
      surface: 'kubernetes',
      policy: metric.parsed,
      // The target stands in the HPA, which does not send it.
      asker: { namespace, name, call: labelSelector, target: null, activation: null },
    });
    if (reading.kind === 'absence') throw absenceStatus(name, reading);
    const { labels, value, newestMs, timeMs, note } = reading;
    return { items: [toItem({ labels, value })], timeMs: newestMs ?? timeMs, note };
  }

  async #readRule(
    { rule, series }: ExternalEntry,
    { namespace, metric, labelSelector }: ExternalMetricRequest,
  ): Promise<MetricList> {
    const { kinds } = this.#options.live;
    const query = this.#filled.promql({ rule, series, request: `${namespace}\uffff${labelSelector}` }, () => {
      const selector = selectorOf(() => parseRequirements(labelSelector));
      return ruleFault(() => rule.query.promql(externalParts(rule, kinds, series, namespace, selector)));
    });
    const { scope, matchers } = rule.namespaced
      ? scopeOf(rule.labels, kinds, namespace)
      : { scope: SCOPE_ALL, matchers: [] };
    const reading = await this.#options.readings.readList(
      {
        query,
        scope,
        matchers,
        surface: 'kubernetes',
        asker: { namespace, name: metric, call: labelSelector, target: null, activation: null },
      },
      { ofObjects: false, allowsNegative: this.#options.allowsNegative },
    );
    if (reading.kind === 'absence') throw absenceStatus(metric, reading);
    return { items: reading.items.map(toItem), timeMs: reading.newestMs ?? reading.timeMs, note: reading.note };
  }
}

/** Throws `bad_config` naming the metric that cannot be served. */
export function checkExternalMetrics(metrics: readonly ExternalMetric[], engine: Pick<QueryEngine, 'selectors'>): void {
  const seen = new Set<string>();
  for (const { name, query, policy } of metrics) {
    const metric = `cannot use external metric ${JSON.stringify(name)}`;
    // Names of rules are bounded; one that somebody wrote may be as long as a path takes.
    if (!isServable(name.slice(0, 253))) {
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

function toItem({ labels, value }: ListItem): MetricItem {
  const object = labelsToObject(labels);
  delete object[METRIC_NAME];
  return { labels: object, value };
}
