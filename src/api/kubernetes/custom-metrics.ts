/**
 * `custom.metrics.k8s.io`: metrics of objects, as the configuration defines them or the adapter's rules find them. A request names one object, or all that a
 * label selector fits; the answer has one item for each object that has a value, and an object without one is left out,
 * because the HPA reckons with missing pods itself.
 */
import { labelValue } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { Readings } from '../../scaling/reading.ts';
import type { CustomEntry } from './adapter/catalog.ts';
import { FilledQueries } from './adapter/filled.ts';
import { isRootScoped, type Kind, qualifiedName } from './adapter/kinds.ts';
import { objectParts, scopeOf } from './adapter/rules.ts';
import type { ObjectLister } from './cluster/objects.ts';
import { parseRequirements, type Requirement } from './label-selector.ts';
import type { LiveRules } from './live-rules.ts';
import type { ObjectValues, OwnCustomMetrics } from './own-custom-metrics.ts';
import { absenceStatus, objectMetricNotFound, ruleFault, StatusError, selectorOf } from './status.ts';

export interface CustomMetricRequest {
  /** Null outside of a namespace; `*` for all of them. */
  readonly namespace: string | null;
  /** `pods`, `deployments.apps`, `namespaces`. */
  readonly resource: string;
  /** `*` for all objects that the label selector fits. */
  readonly name: string;
  readonly metric: string;
  readonly labelSelector: string;
  readonly metricLabelSelector: string;
}

export interface ObjectItem {
  readonly kind: Kind;
  readonly name: string;
  /** Null for objects without a namespace. */
  readonly namespace: string | null;
  readonly value: number;
}

export interface ObjectList {
  readonly items: readonly ObjectItem[];
  readonly timeMs: number;
  readonly metricSelector: readonly Requirement[];
}

export interface CustomMetricsOptions {
  readonly live: LiveRules;
  readonly readings: Pick<Readings, 'readList'>;
  /** Null where there is no API server to ask. */
  readonly objects: ObjectLister | null;
  /** They win over rules. */
  readonly own: OwnCustomMetrics;
}

/** Values of the objects with these names, or of all; throws a `StatusError`. */
type Answerer = (names: readonly string[] | null, selector: readonly Requirement[]) => Promise<ObjectValues>;

export class CustomMetrics {
  readonly #options: CustomMetricsOptions;
  readonly #filled = new FilledQueries();

  constructor(options: CustomMetricsOptions) {
    this.#options = options;
  }

  /** Values of objects; throws a `StatusError`. */
  async read(request: CustomMetricRequest): Promise<ObjectList> {
    const { live } = this.#options;
    const { resource, metric, name } = request;
    const selector = selectorOf(() => parseRequirements(request.labelSelector));
    const metricSelector = selectorOf(() => parseRequirements(request.metricLabelSelector));
    const kind = live.kinds.byQualifiedName(resource);
    const answerer = kind === null ? null : await this.#answererOf(kind, request);
    if (kind === null || answerer === null || isRootScoped(kind) !== (request.namespace === null)) {
      throw objectMetricNotFound(metric, resource);
    }
    const names = name === '*' ? await this.#namesOf(kind, request.namespace, selector) : [name];
    if (names?.length === 0) throw objectMetricNotFound(metric, resource);
    const { values, timeMs, fill } = await answerer(names, metricSelector);
    const items = (names ?? [...values.keys()].sort()).flatMap((object) => {
      const value = values.get(object) ?? fill;
      return value === null ? [] : [{ kind, name: object, namespace: request.namespace, value }];
    });
    if (name !== '*' && items.length === 0) throw objectMetricNotFound(metric, `${resource} ${name}`);
    return { items, timeMs, metricSelector };
  }

  /** All metrics there are, by `pods/http_requests`, sorted. */
  entries(): readonly (readonly [name: string, kind: Kind])[] {
    const { live, own } = this.#options;
    const ofRules = [...live.catalog().custom].map(([name, { kind }]) => [name, kind] as const);
    if (own.isEmpty) return ofRules;
    return [...new Map([...ofRules, ...own.entries(live.kinds)])].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  async #answererOf(kind: Kind, request: CustomMetricRequest): Promise<Answerer | null> {
    const { live, own } = this.#options;
    const metric = own.find(live.kinds, kind, request.metric);
    if (metric !== null) return (_names, selector) => own.values(metric, kind, request, selector);
    const entry = await live.custom(qualifiedName(kind), request.metric);
    return entry && ((names, selector) => this.#values(entry, request, names, selector));
  }

  /** Null for every object that has a value: without an API server nothing else is known. */
  async #namesOf(
    kind: Kind,
    namespace: string | null,
    selector: readonly Requirement[],
  ): Promise<readonly string[] | null> {
    const { objects } = this.#options;
    if (objects !== null) return (await objects.list(kind, namespace, selector)).map(({ name }) => name);
    if (selector.length === 0) return null;
    throw new StatusError(
      503,
      'ServiceUnavailable',
      `cannot select ${kind.resource} by labels: there is no Kubernetes API server to ask`,
    );
  }

  /** By object. Many names are asked for in several queries; of two results for one object the last counts. */
  async #values(
    entry: CustomEntry,
    request: CustomMetricRequest,
    names: readonly string[] | null,
    selector: readonly Requirement[],
  ): Promise<ObjectValues> {
    const values = new Map<string, number>();
    let timeMs = 0;
    for (const batch of names === null ? [null] : batches(names)) {
      const reading = await this.#read(entry, request, batch, selector);
      timeMs = Math.max(timeMs, reading.newestMs ?? reading.timeMs);
      const label = entry.rule.labels.labelOf(entry.kind);
      for (const { labels, value } of reading.items) {
        const object = labelValue(labels, label);
        if (object !== '') values.set(object, value);
      }
    }
    return { values, timeMs, fill: null };
  }

  async #read(
    { rule, series, kind }: CustomEntry,
    { namespace, metric, name, resource, labelSelector, metricLabelSelector }: CustomMetricRequest,
    names: readonly string[] | null,
    selector: readonly Requirement[],
  ) {
    const { live, readings } = this.#options;
    const request = [namespace, qualifiedName(kind), metricLabelSelector, names?.join() ?? ''].join('\uffff');
    const query = this.#filled.promql({ rule, series, request }, () =>
      ruleFault(() => {
        const objects = { kind, names, namespace: namespace === '*' ? null : namespace };
        return rule.query.promql(objectParts(rule.labels, live.kinds, series, objects, selector));
      }),
    );
    // Of a Namespace its own name is the scope.
    const own = kind.resource === 'namespaces' && kind.group === '' && name !== '*' ? name : namespace;
    const { scope, matchers } =
      own === null || own === '*' ? { scope: SCOPE_ALL, matchers: [] } : scopeOf(rule.labels, live.kinds, own);
    const call = `${resource}/${name} ${labelSelector} ${metricLabelSelector}`;
    const asker = { namespace: namespace ?? '', name: metric, call, target: null, activation: null };
    const options = { ofObjects: true, allowsNegative: true };
    const reading = await readings.readList({ query, scope, matchers, surface: 'kubernetes', asker }, options);
    if (reading.kind === 'absence') throw absenceStatus(metric, reading);
    return reading;
  }
}

export function* batches(names: readonly string[]): Generator<readonly string[]> {
  let batch: string[] = [];
  let bytes = 0;
  for (const name of names) {
    if (bytes + name.length > LIMITS.objectNamesBytesMax && batch.length > 0) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(name);
    bytes += name.length + 1;
  }
  if (batch.length > 0) yield batch;
}
