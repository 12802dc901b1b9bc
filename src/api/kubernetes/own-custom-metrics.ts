/**
 * Metrics of objects that the configuration defines as a name and a query: the short form beside an adapter's rules. The
 * query gives one element for each object, and a label of it names the object:
 *
 *     customMetrics:
 *       - {name: requests_per_second, resource: pods, query: sum by (pod) (rate(http_requests_total[1m]))}
 *
 * The namespace of the object is the scope of the query, a metric's label selector becomes matchers on every selector. The
 * whole of a namespace is evaluated and shared, whichever of its objects are asked for. The policy is that of each object:
 * several elements for one are reduced or refused, bounds are bounds of each, `noData` stands for an object without a
 * value, but only while every known sender is heard.
 */
import { CodedError } from '../../model/errors.ts';
import { labelValue } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { SCOPE_ALL, type Scope } from '../../model/scope.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import { DEFAULT_POLICY, type Policy, type PolicyKey, parsePolicy, type Reducer } from '../../scaling/policy.ts';
import type { ReadingList, Readings } from '../../scaling/reading.ts';
import { isServable } from './adapter/catalog.ts';
import { type Kind, type Kinds, qualifiedName } from './adapter/kinds.ts';
import type { CustomMetricRequest } from './custom-metrics.ts';
import type { ExternalMetric } from './external-metrics.ts';
import { type Requirement, toMatcher } from './label-selector.ts';
import { absenceStatus, StatusError, selectorOf } from './status.ts';

export interface CustomMetric extends ExternalMetric {
  /** What kind of object: `pods`, `deployments.apps`. */
  readonly resource: string;
  /** Label of the query's result that names the object; '' for the kind's singular. */
  readonly label: string;
  /** Label of series that names the objects' namespace; '' for those that usually do. */
  readonly namespaceLabel: string;
}

/** A metric under its policy. */
export interface OwnMetric extends CustomMetric {
  readonly parsed: Policy;
}

export interface ObjectValues {
  /** By the object's name. */
  readonly values: ReadonlyMap<string, number>;
  readonly timeMs: number;
  /** What an object without a value is said to have, or null. */
  readonly fill: number | null;
}

export class OwnCustomMetrics {
  readonly #metrics: readonly OwnMetric[];
  readonly #readings: Pick<Readings, 'readList'>;

  constructor(metrics: readonly CustomMetric[], readings: Pick<Readings, 'readList'>) {
    this.#metrics = metrics.map((metric) => ({ ...metric, parsed: policyOf(metric) }));
    this.#readings = readings;
  }

  get isEmpty(): boolean {
    return this.#metrics.length === 0;
  }

  find(kinds: Kinds, kind: Kind, name: string): OwnMetric | null {
    const wanted = qualifiedName(kind);
    const found = this.#metrics.find((metric) => metric.name === name && kindName(kinds, metric) === wanted);
    return found ?? null;
  }

  /** By `pods/requests`; metrics of kinds that are not known yet are left out. */
  entries(kinds: Kinds): readonly (readonly [name: string, kind: Kind])[] {
    return this.#metrics.flatMap(({ name, resource }) => {
      const kind = kinds.byQualifiedName(resource);
      return kind === null ? [] : [[`${qualifiedName(kind)}/${name}`, kind] as const];
    });
  }

  /** Throws a `StatusError`. */
  async values(
    metric: OwnMetric,
    kind: Kind,
    request: CustomMetricRequest,
    selector: readonly Requirement[],
  ): Promise<ObjectValues> {
    const { name, query, parsed: policy } = metric;
    const { scope, matchers } = within(metric, namespaceOf(kind, request));
    const call = `${request.resource}/${request.name} ${request.labelSelector} ${request.metricLabelSelector}`;
    const reading = await this.#readings.readList(
      {
        query,
        scope,
        matchers: [...matchers, ...selectorOf(() => selector.map(toMatcher))],
        surface: 'kubernetes',
        policy,
        asker: { namespace: request.namespace ?? '', name, call, target: null, activation: null },
      },
      { ofObjects: true, allowsNegative: true, noData: policy.noData },
    );
    if (reading.kind === 'absence') throw absenceStatus(name, reading);
    const values = valuesOf(metric, kind, request, reading);
    return { values, timeMs: reading.newestMs ?? reading.timeMs, fill: reading.fill };
  }
}

/** Of a Namespace its own name is the scope. */
function namespaceOf(kind: Kind, { namespace, name }: CustomMetricRequest): string | null {
  if (!isNamespaceKind(kind)) return namespace;
  return name === '*' ? null : name;
}

function isNamespaceKind({ group, resource }: Kind): boolean {
  return group === '' && resource === 'namespaces';
}

/** A label of the operator's choice does by a matcher what the scope does by the usual ones. */
function within(
  { namespaced, namespaceLabel }: OwnMetric,
  namespace: string | null,
): { readonly scope: Scope; readonly matchers: readonly Matcher[] } {
  if (!namespaced || namespace === null) return { scope: SCOPE_ALL, matchers: [] };
  if (namespaceLabel === '') return { scope: [namespace], matchers: [] };
  return { scope: SCOPE_ALL, matchers: [{ type: '=', name: namespaceLabel, value: namespace }] };
}

function valuesOf(
  { name, label, parsed }: OwnMetric,
  kind: Kind,
  request: CustomMetricRequest,
  { items }: ReadingList,
): ReadonlyMap<string, number> {
  const objectLabel = label === '' ? kind.singular : label;
  // All that a Namespace holds is its own, whether or not the result says so.
  const self = isNamespaceKind(kind) && request.name !== '*' ? request.name : '';
  const found = new Map<string, number[]>();
  for (const { labels, value } of items) {
    const object = labelValue(labels, objectLabel) || self;
    if (object === '') continue;
    const values = found.get(object);
    if (values === undefined) found.set(object, [value]);
    else values.push(value);
  }
  if (found.size === 0 && items.length > 0)
    throw unusable(name, `no element of the result has the label "${objectLabel}", which names the object`);
  const values = new Map<string, number>();
  for (const [object, several] of found) {
    const value = bounded(parsed, reduced(parsed.reduce, name, object, several));
    // An autoscaler would misread it, and reckons with objects that have none.
    if (value >= 0) values.set(object, value);
  }
  return values;
}

function reduced(reduce: Reducer | null, metric: string, object: string, values: readonly number[]): number {
  const [first = 0] = values;
  switch (reduce) {
    case 'sum':
      return values.reduce((sum, value) => sum + value, 0);
    case 'avg':
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    case 'min':
      return values.reduce((low, value) => Math.min(low, value), first);
    case 'max':
      return values.reduce((high, value) => Math.max(high, value), first);
    case 'count':
      return values.length;
    case null:
      if (values.length === 1) return first;
      throw unusable(metric, `${values.length} elements of the result name ${object}: group by it, or set reduce`);
  }
}

function bounded({ clampMin, clampMax }: Policy, value: number): number {
  const low = clampMin !== null && value < clampMin ? clampMin : value;
  return clampMax !== null && low > clampMax ? clampMax : low;
}

function unusable(metric: string, reason: string): StatusError {
  return new StatusError(422, 'Invalid', `metric ${metric}: ${reason}`);
}

/**
 * Throws `bad_config` naming the metric that cannot be served. Without an API server no more kinds will be known than
 * `kinds` holds; null if there is one.
 */
export function checkCustomMetrics(
  metrics: readonly CustomMetric[],
  engine: Pick<QueryEngine, 'selectors'>,
  kinds: Kinds | null,
): void {
  const seen = new Set<string>();
  for (const metric of metrics) {
    const { name, resource } = metric;
    const fault = faultOf(metric, engine, kinds);
    const again = seen.has(`${resource}/${name}`) ? 'it is defined twice' : null;
    seen.add(`${resource}/${name}`);
    const reason = fault ?? again;
    if (reason !== null)
      throw new CodedError('bad_config', `cannot use custom metric ${JSON.stringify(name)} of ${resource}: ${reason}`);
  }
}

function faultOf(metric: CustomMetric, engine: Pick<QueryEngine, 'selectors'>, kinds: Kinds | null): string | null {
  if (!isServable(metric.name)) return 'the name cannot be part of an API path';
  if (kinds !== null && kinds.byQualifiedName(metric.resource) === null)
    return 'no such kind is built in, want its plural and group, such as pods or deployments.apps';
  try {
    engine.selectors(metric.query);
    if (policyOf(metric).noData.kind === 'last') return 'noData is error, zero or a number for metrics of objects';
    return null;
  } catch (error) {
    if (error instanceof CodedError) return error.message;
    throw error;
  }
}

function policyOf({ policy }: Pick<CustomMetric, 'policy'>): Policy {
  return policy === undefined ? DEFAULT_POLICY : parsePolicy((key: PolicyKey) => policy[key] ?? null);
}

function kindName(kinds: Kinds, { resource }: CustomMetric): string | null {
  const kind = kinds.byQualifiedName(resource);
  return kind === null ? null : qualifiedName(kind);
}
