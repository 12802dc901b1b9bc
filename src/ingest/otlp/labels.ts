/**
 * Label sets of OTLP points: attributes of the point, promoted attributes and identity of its resource.
 *
 *     point attributes, keys in order, colliding names joined with ';'
 *     promoted resource attributes     fill what is absent
 *     job, instance                    overwrite
 *     otel_scope_*, if promoted        overwrite
 *     __name__, le, quantile           overwrite (by whoever makes a series of the point)
 *
 * Source: prometheus/prometheus, storage/remote/otlptranslator/prometheusremotewrite/helper.go.
 */
import { compareCodePoints, type Labels, labelsFromPairs, METRIC_NAME } from '../../model/labels.ts';
import { NAMESPACE_LABELS } from '../../model/scope.ts';
import type { Reason } from '../reasons.ts';
import { withStamp } from '../stamp.ts';
import { escapes, labelName, type MetricToName, metricName, type NamingStrategy } from './naming.ts';
import type { Originals } from './originals.ts';
import type { OtlpSettings } from './settings.ts';

const IDENTIFYING: readonly string[] = ['service.namespace', 'service.name', 'service.instance.id'];

/** Translated keys, and names of metrics, that are remembered; more begin anew. */
const NAMES_REMEMBERED = 10_000;

/** The label names of attribute keys, and where the translation of each is noted. */
export class LabelNames {
  readonly settings: OtlpSettings;
  readonly #strategy: NamingStrategy;
  readonly #originals: Originals;
  readonly #names = new Map<string, string | null>();
  readonly #metricNames = new Map<string, string | null>();
  /** Order of two label names: that of code points, which is JavaScript's own while all names are ASCII. */
  readonly compare: (a: string, b: string) => number;

  constructor(settings: OtlpSettings, originals: Originals) {
    this.settings = settings;
    this.#strategy = settings.strategy;
    this.#originals = originals;
    this.compare = escapes(settings.strategy) ? compareAscii : compareCodePoints;
  }

  /** The name of a metric; null where no valid one comes out. */
  metricNameOf(metric: MetricToName): string | null {
    const key = `${metric.type}\uffff${metric.unit}\uffff${metric.name}`;
    const known = this.#metricNames.get(key);
    if (known !== undefined) return known;
    const name = metricName(metric, this.#strategy);
    if (this.#metricNames.size >= NAMES_REMEMBERED) this.#metricNames.clear();
    this.#metricNames.set(key, name);
    return name;
  }

  /** Null where no valid name comes out. */
  nameOf(key: string): string | null {
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const name = labelName(key, this.#strategy);
    if (this.#names.size >= NAMES_REMEMBERED) this.#names.clear();
    this.#names.set(key, name);
    if (name !== null) this.#originals.noteKey(key, name);
    return name;
  }
}

/** Attributes that may become such a label are compared with those of the scope by whoever has the words. */
const SCOPE_PREFIX = 'otel_scope_';

/** The label name of an attribute key where that is all there is to know; '' where it is not, or there is none. */
export function plainNameOf(key: string | null, names: LabelNames): string {
  const name = key === null ? null : names.nameOf(key);
  return name === null || name === METRIC_NAME || name.startsWith(SCOPE_PREFIX) ? '' : name;
}

function compareAscii(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** The labels that all points of a metric have, in order of their names, its own name and the stamp of its sender among them. */
export function metricLabels(
  name: string,
  resource: ResourceLabels,
  scope: ReadonlyMap<string, string>,
  { names, stamp }: { readonly names: LabelNames; readonly stamp: string },
): CommonLabel[] {
  const labels = new Map(resource.common.map((label) => [label.name, label]));
  for (const [name, value] of scope) labels.set(name, { name, value, overwrites: true });
  labels.set(METRIC_NAME, { name: METRIC_NAME, value: name, overwrites: true });
  const present = [...labels.values()].filter(({ value }) => value !== '');
  const sorted = present.sort((a, b) => names.compare(a.name, b.name));
  return stamp === '' ? sorted : stampedMetricLabels(sorted, stamp);
}

/** What the stamp makes of labels, as long as no label of a point `meetsStamp`. */
function stampedMetricLabels(labels: readonly CommonLabel[], stamp: string): CommonLabel[] {
  const fills = new Set(labels.filter(({ overwrites }) => !overwrites).map(({ name }) => name));
  const stamped = withStamp(
    labels.flatMap(({ name, value }) => [name, value]),
    stamp,
  );
  const all: CommonLabel[] = [];
  for (let i = 0; i < stamped.length; i += 2)
    all.push({ name: stamped[i]!, value: stamped[i + 1]!, overwrites: !fills.has(stamped[i]!) });
  return all;
}

/** Whether a point with this label is left to others where its sender has a stamp: they may have to rename it. */
export function meetsStamp(name: string): boolean {
  return (NAMESPACE_LABELS as readonly string[]).includes(name) || name.startsWith('exported_');
}

/** What the series of one resource have in common. */
export interface ResourceLabels {
  /** Promoted attributes by label name: they fill. */
  readonly promoted: ReadonlyMap<string, string>;
  /** `job` and `instance`, as far as known: they overwrite. */
  readonly identity: ReadonlyMap<string, string>;
  /** Both, names in order, each with its value and whether it overwrites. */
  readonly common: readonly CommonLabel[];
  /** Labels of the resource's `target_info`, or null if it has none. */
  readonly targetInfo: Labels | null;
}

export interface CommonLabel {
  readonly name: string;
  readonly value: string;
  /** False if an attribute of the point goes before it. */
  readonly overwrites: boolean;
}

/** What a setting says instead of a list of attributes: all of them. */
const ALL = '*';

/** `attributes` holds keys and values by turns. */
export function resourceLabels(attributes: readonly string[], names: LabelNames): ResourceLabels {
  const byKey = new Map<string, string>();
  for (let i = 0; i < attributes.length; i += 2) byKey.set(attributes[i]!, attributes[i + 1]!);
  const promoted = new Map<string, string>();
  for (const key of promotedKeys(byKey, names.settings)) {
    const name = names.nameOf(key);
    const value = byKey.get(key) ?? '';
    if (name !== null && value !== '' && !promoted.has(name)) promoted.set(name, value);
  }
  const identity = identityLabels(byKey);
  const common: CommonLabel[] = [];
  for (const [name, value] of promoted) if (!identity.has(name)) common.push({ name, value, overwrites: false });
  for (const [name, value] of identity) common.push({ name, value, overwrites: true });
  common.sort((a, b) => names.compare(a.name, b.name));
  return { promoted, identity, common, targetInfo: targetInfoLabels(attributes, identity, names) };
}

function promotedKeys(byKey: ReadonlyMap<string, string>, settings: OtlpSettings): readonly string[] {
  const { promoteResourceAttributes: listed, ignoreResourceAttributes: ignored } = settings;
  const keys = listed.includes(ALL) ? [...byKey.keys()].sort(compareCodePoints) : listed;
  return ignored.length === 0 ? keys : keys.filter((key) => !ignored.includes(key));
}

/**
 * Labels that say which scope a point came from; empty for a scope without a name. `attributes` holds keys and values by
 * turns.
 */
export function scopeLabels(
  name: string,
  version: string,
  schemaUrl: string,
  attributes: readonly string[],
  names: LabelNames,
): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  if (name === '') return labels;
  for (const i of orderByKey(attributes)) {
    const label = names.nameOf(`otel_scope_${attributes[i]!}`);
    if (label !== null) labels.set(label, attributes[i + 1]!);
  }
  labels.set('otel_scope_name', name);
  labels.set('otel_scope_version', version);
  labels.set('otel_scope_schema_url', schemaUrl);
  return labels;
}

/** Labels of a point without its metric name; `attributes` holds keys and values by turns. */
export function pointLabels(
  attributes: readonly string[],
  resource: ResourceLabels,
  scope: ReadonlyMap<string, string>,
  names: LabelNames,
): Labels | Reason {
  if (scope.size === 0) {
    const quick = mergedLabels(attributes, resource.common, names);
    if (quick !== null) return quick;
  }
  const labels = translateAttributes(attributes, names);
  if (labels === null) return 'invalid_attribute_name';
  for (const [name, value] of resource.promoted) if ((labels.get(name) ?? '') === '') labels.set(name, value);
  for (const [name, value] of resource.identity) labels.set(name, value);
  for (const [name, value] of scope) labels.set(name, value);
  return labelsFromPairs(labels);
}

/** Attributes of a point that are sorted and merged without a map between. */
const MERGED_MAX = 64;
const order = new Int32Array(MERGED_MAX);
const translated: string[] = [];

/**
 * Fast path of the labels of a point: names are sorted by insertion, since senders mostly have them in order, and merged with
 * those of the resource. Null for what is rare: names that collide, or are none, and very many attributes. Plainly:
 * translateAttributes, promoted, identity, labelsFromPairs, which took three times as long.
 */
function mergedLabels(attributes: readonly string[], common: readonly CommonLabel[], names: LabelNames): Labels | null {
  const count = attributes.length / 2;
  if (count > MERGED_MAX) return null;
  for (let i = 0; i < count; i++) {
    const name = names.nameOf(attributes[2 * i]!);
    if (name === null || name === METRIC_NAME) return null;
    let at = i;
    for (; at > 0; at--) {
      const before = names.compare(translated[order[at - 1]!]!, name);
      if (before === 0) return null;
      if (before < 0) break;
      order[at] = order[at - 1]!;
    }
    order[at] = i;
    translated[i] = name;
  }
  const labels: string[] = [];
  let next = 0;
  for (let at = 0; at < count; at++) {
    const i = order[at]!;
    const name = translated[i]!;
    let value = attributes[2 * i + 1]!;
    for (; next < common.length; next++) {
      const { name: other, value: its, overwrites } = common[next]!;
      const ahead = names.compare(other, name);
      if (ahead > 0) break;
      if (ahead < 0) labels.push(other, its);
      else if (overwrites || value === '') value = its;
    }
    if (value !== '') labels.push(name, value);
  }
  for (; next < common.length; next++) labels.push(common[next]!.name, common[next]!.value);
  return labels;
}

function identityLabels(byKey: ReadonlyMap<string, string>): Map<string, string> {
  const identity = new Map<string, string>();
  const service = byKey.get('service.name') ?? '';
  const namespace = byKey.get('service.namespace') ?? '';
  const instance = byKey.get('service.instance.id') ?? '';
  if (service !== '') identity.set('job', namespace === '' ? service : `${namespace}/${service}`);
  if (instance !== '') identity.set('instance', instance);
  return identity;
}

/** Only a resource that can be identified, and says more than its identity, has a `target_info`. */
function targetInfoLabels(
  attributes: readonly string[],
  identity: ReadonlyMap<string, string>,
  names: LabelNames,
): Labels | null {
  const others: string[] = [];
  for (let i = 0; i < attributes.length; i += 2) {
    const key = attributes[i]!;
    // An attribute without a valid name is left out here: it is no reason to refuse anything that was measured.
    if (!IDENTIFYING.includes(key) && names.nameOf(key) !== null) others.push(key, attributes[i + 1]!);
  }
  const labels = translateAttributes(others, names);
  if (labels === null || others.length === 0 || identity.size === 0) return null;
  for (const [name, value] of identity) labels.set(name, value);
  labels.set(METRIC_NAME, 'target_info');
  return labelsFromPairs(labels);
}

/** Label names and values, or null if an attribute has no valid name. */
function translateAttributes(attributes: readonly string[], names: LabelNames): Map<string, string> | null {
  const joins = escapes(names.settings.strategy);
  const labels = new Map<string, string>();
  for (const i of orderByKey(attributes)) {
    const key = attributes[i]!;
    const value = attributes[i + 1]!;
    if (key === METRIC_NAME) continue;
    const name = names.nameOf(key);
    if (name === null) return null;
    const earlier = labels.get(name);
    labels.set(name, earlier === undefined || !joins ? value : `${earlier};${value}`);
  }
  return labels;
}

/** Where the attributes stand, in order of their keys; equal keys as received. */
function orderByKey(attributes: readonly string[]): number[] {
  const order: number[] = [];
  for (let i = 0; i < attributes.length; i += 2) order.push(i);
  return order.sort((a, b) => compareCodePoints(attributes[a]!, attributes[b]!));
}
