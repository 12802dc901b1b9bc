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
import type { Reason } from '../reasons.ts';
import { escapes, labelName, type NamingStrategy } from './naming.ts';
import type { Originals } from './originals.ts';
import type { OtlpSettings } from './settings.ts';

const IDENTIFYING: readonly string[] = ['service.namespace', 'service.name', 'service.instance.id'];

/** Translated keys that are remembered; more begin anew. */
const NAMES_REMEMBERED = 10_000;

/** The label names of attribute keys, and where the translation of each is noted. */
export class LabelNames {
  readonly settings: OtlpSettings;
  readonly #strategy: NamingStrategy;
  readonly #originals: Originals;
  readonly #names = new Map<string, string | null>();

  constructor(settings: OtlpSettings, originals: Originals) {
    this.settings = settings;
    this.#strategy = settings.strategy;
    this.#originals = originals;
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

/** What the series of one resource have in common. */
export interface ResourceLabels {
  /** Promoted attributes by label name: they fill. */
  readonly promoted: ReadonlyMap<string, string>;
  /** `job` and `instance`, as far as known: they overwrite. */
  readonly identity: ReadonlyMap<string, string>;
  /** Labels of the resource's `target_info`, or null if it has none. */
  readonly targetInfo: Labels | null;
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
  return { promoted, identity, targetInfo: targetInfoLabels(attributes, identity, names) };
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
  const labels = translateAttributes(attributes, names);
  if (labels === null) return 'invalid_attribute_name';
  for (const [name, value] of resource.promoted) if ((labels.get(name) ?? '') === '') labels.set(name, value);
  for (const [name, value] of resource.identity) labels.set(name, value);
  for (const [name, value] of scope) labels.set(name, value);
  return labelsFromPairs(labels);
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
