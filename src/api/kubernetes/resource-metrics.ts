/**
 * `metrics.k8s.io`: cpu and memory of pods and nodes by the adapter's resource rules, for Resource metrics of an HPA and
 * for `kubectl top`. As with the adapter, a pod is left out unless both are known, a container that has one of them gets 0
 * for the other, and the timestamp is the older one.
 */
import { type Labels, labelValue } from '../../model/labels.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import { formatTime } from '../../scaling/diagnosis.ts';
import { formatBinary, formatQuantity } from '../../scaling/quantity.ts';
import type { ListItem, Readings } from '../../scaling/reading.ts';
import type { Kind } from './adapter/kinds.ts';
import type { MetricsQuery } from './adapter/query.ts';
import { type CompiledResourceRule, GROUPS, objectParts, scopeOf } from './adapter/rules.ts';
import type { ObjectLister } from './cluster/objects.ts';
import type { Metadata } from './cluster/reflector.ts';
import { batches } from './custom-metrics.ts';
import { parseRequirements } from './label-selector.ts';
import type { LiveRules } from './live-rules.ts';
import { absenceStatus, objectMetricNotFound, resourceNotFound, ruleFault, selectorOf } from './status.ts';

export const RESOURCE_VERSION = 'v1beta1';
const API_VERSION = `${GROUPS.resource}/${RESOURCE_VERSION}`;

export interface ResourceMetricsOptions {
  readonly live: LiveRules;
  readonly readings: Pick<Readings, 'readList'>;
  readonly objects: ObjectLister | null;
}

export interface ResourceMetricRequest {
  readonly kind: 'pods' | 'nodes';
  /** Null for nodes, and for the pods of all namespaces. */
  readonly namespace: string | null;
  /** Null for all that the selector fits. */
  readonly name: string | null;
  readonly labelSelector: string;
}

/** By object, then by container ('' for a node). */
type Usage = Map<string, Map<string, number>>;

interface Measured {
  readonly usage: Usage;
  readonly timeMs: number;
}

export class ResourceMetrics {
  readonly #options: ResourceMetricsOptions;

  constructor(options: ResourceMetricsOptions) {
    this.#options = options;
  }

  /** A list, or one object's metrics; throws a `StatusError`. */
  async read(request: ResourceMetricRequest): Promise<object> {
    const { live } = this.#options;
    const rules = live.rules.resourceRules;
    if (rules === null) throw resourceNotFound();
    const kind = live.kinds.find({ group: '', resource: request.kind })!;
    const items: object[] = [];
    for (const [namespace, objects] of await this.#objectsByNamespace(kind, request)) {
      const cpu = await this.#measure(rules.cpu, kind, namespace, objects, 'cpu');
      const memory = await this.#measure(rules.memory, kind, namespace, objects, 'memory');
      for (const object of objects) {
        const item = itemOf(request.kind, object, cpu, memory, rules.windowMs);
        if (item !== null) items.push(item);
      }
    }
    if (request.name === null) return listOf(request.kind, items);
    if (items.length === 0) throw objectMetricNotFound('usage', `${request.kind} ${request.name}`);
    return { kind: kindName(request.kind), apiVersion: API_VERSION, ...items[0] };
  }

  async #objectsByNamespace(
    kind: Kind,
    { namespace, name, labelSelector }: ResourceMetricRequest,
  ): Promise<ReadonlyMap<string | null, readonly Metadata[]>> {
    const selector = selectorOf(() => parseRequirements(labelSelector));
    const { objects } = this.#options;
    if (objects === null) throw objectMetricNotFound('usage', kind.resource);
    const found = await objects.list(kind, namespace, selector);
    const byNamespace = new Map<string | null, Metadata[]>();
    for (const object of found) {
      if (name !== null && object.name !== name) continue;
      const key = kind.namespaced ? (object.namespace ?? '') : null;
      const list = byNamespace.get(key);
      if (list === undefined) byNamespace.set(key, [object]);
      else list.push(object);
    }
    return byNamespace;
  }

  async #measure(
    rule: CompiledResourceRule,
    kind: Kind,
    namespace: string | null,
    objects: readonly Metadata[],
    what: string,
  ): Promise<Measured> {
    const isPod = kind.resource === 'pods';
    const usage: Usage = new Map();
    let timeMs = Infinity;
    for (const names of batches(objects.map(({ name }) => name))) {
      const {
        items,
        newestMs,
        timeMs: askedMs,
      } = await this.#list(rule, isPod ? rule.containerQuery : rule.nodeQuery, { kind, names, namespace }, what);
      timeMs = Math.min(timeMs, newestMs ?? askedMs);
      const label = ruleFault(() => rule.labels.labelOf(kind));
      for (const item of items) addUsage(usage, item, label, isPod ? rule.containerLabel : null);
    }
    return { usage, timeMs };
  }

  async #list(
    rule: CompiledResourceRule,
    query: MetricsQuery,
    objects: { readonly kind: Kind; readonly names: readonly string[]; readonly namespace: string | null },
    what: string,
  ) {
    const { live, readings } = this.#options;
    const { kind, namespace } = objects;
    const groupBy = kind.resource === 'pods' && rule.containerLabel !== '' ? [rule.containerLabel] : [];
    const promql = ruleFault(() => query.promql(objectParts(rule.labels, live.kinds, '', objects, [], groupBy)));
    const within =
      namespace === null
        ? { scope: SCOPE_ALL, matchers: [] }
        : ruleFault(() => scopeOf(rule.labels, live.kinds, namespace));
    const asker = { namespace: namespace ?? '', name: what, call: kind.resource, target: null, activation: null };
    const reading = await readings.readList(
      { query: promql, ...within, surface: 'kubernetes', asker },
      { ofObjects: true, allowsNegative: true },
    );
    if (reading.kind === 'absence') throw absenceStatus(what, reading);
    return reading;
  }
}

function addUsage(usage: Usage, { labels, value }: ListItem, label: string, containerLabel: string | null): void {
  const object = labelValue(labels, label);
  if (object === '') return;
  const containers = usage.get(object) ?? new Map<string, number>();
  usage.set(object, containers);
  containers.set(containerLabel === null ? '' : containerOf(labels, containerLabel), Math.max(0, value));
}

function containerOf(labels: Labels, containerLabel: string): string {
  return containerLabel === '' ? '' : labelValue(labels, containerLabel);
}

function itemOf(
  kind: ResourceMetricRequest['kind'],
  { name, namespace, creationTimestamp = null, labels }: Metadata,
  cpu: Measured,
  memory: Measured,
  windowMs: number,
): object | null {
  const cpus = cpu.usage.get(name);
  const memories = memory.usage.get(name);
  if (cpus === undefined || memories === undefined) return null;
  const usageOf = (container: string): object => ({
    cpu: formatQuantity(cpus.get(container) ?? 0),
    memory: formatBinary(BigInt(Math.round(memories.get(container) ?? 0))),
  });
  const metadata = { name, ...(kind === 'pods' ? { namespace } : {}), creationTimestamp, labels };
  const measured = {
    metadata,
    timestamp: formatTime(Math.min(cpu.timeMs, memory.timeMs)),
    window: goDuration(windowMs),
  };
  if (kind === 'nodes') return { ...measured, usage: usageOf('') };
  // The row without a container is the pod itself, which its containers add up to.
  const containers = [...new Set([...cpus.keys(), ...memories.keys()])].filter((container) => container !== '').sort();
  return { ...measured, containers: containers.map((container) => ({ name: container, usage: usageOf(container) })) };
}

function listOf(kind: ResourceMetricRequest['kind'], items: readonly object[]): object {
  return { kind: `${kindName(kind)}List`, apiVersion: API_VERSION, metadata: {}, items };
}

function kindName(kind: ResourceMetricRequest['kind']): string {
  return kind === 'pods' ? 'PodMetrics' : 'NodeMetrics';
}

/** As Go writes durations: `5m0s`. */
function goDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (hours > 0) return `${hours}h${minutes}m${seconds % 60}s`;
  return minutes > 0 ? `${minutes}m${seconds % 60}s` : `${seconds}s`;
}
