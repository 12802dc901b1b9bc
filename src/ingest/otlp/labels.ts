/**
 * Label sets of OTLP points: attributes of the point, promoted attributes and identity of its resource.
 *
 *     point attributes, keys in order, colliding names joined with ';'
 *     promoted resource attributes     fill what is absent
 *     job, instance                    overwrite
 *     __name__, le, quantile           overwrite (by whoever makes a series of the point)
 *
 * Source: prometheus/prometheus, storage/remote/otlptranslator/prometheusremotewrite/helper.go.
 */
import { compareCodePoints, type Labels, labelsFromPairs, METRIC_NAME } from '../../model/labels.ts';
import type { Reason } from '../reasons.ts';
import { escapes, labelName } from './naming.ts';
import type { OtlpSettings } from './settings.ts';

const IDENTIFYING: readonly string[] = ['service.namespace', 'service.name', 'service.instance.id'];

/** What the series of one resource have in common. */
export interface ResourceLabels {
  /** Promoted attributes by label name: they fill. */
  readonly promoted: ReadonlyMap<string, string>;
  /** `job` and `instance`, as far as known: they overwrite. */
  readonly identity: ReadonlyMap<string, string>;
  /** Labels of the resource's `target_info`, or null if it has none. */
  readonly targetInfo: Labels | null;
}

/** `attributes` holds keys and values by turns. */
export function resourceLabels(attributes: readonly string[], settings: OtlpSettings): ResourceLabels {
  const byKey = new Map<string, string>();
  for (let i = 0; i < attributes.length; i += 2) byKey.set(attributes[i]!, attributes[i + 1]!);
  const promoted = new Map<string, string>();
  for (const key of settings.promoteResourceAttributes) {
    const name = labelName(key, settings.strategy);
    const value = byKey.get(key) ?? '';
    if (name !== null && value !== '' && !promoted.has(name)) promoted.set(name, value);
  }
  const identity = identityLabels(byKey);
  return { promoted, identity, targetInfo: targetInfoLabels(attributes, identity, settings) };
}

/** Labels of a point without its metric name; `attributes` holds keys and values by turns. */
export function pointLabels(
  attributes: readonly string[],
  resource: ResourceLabels,
  settings: OtlpSettings,
): Labels | Reason {
  const labels = translateAttributes(attributes, settings);
  if (labels === null) return 'invalid_attribute_name';
  for (const [name, value] of resource.promoted) if ((labels.get(name) ?? '') === '') labels.set(name, value);
  for (const [name, value] of resource.identity) labels.set(name, value);
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
  settings: OtlpSettings,
): Labels | null {
  const others: string[] = [];
  for (let i = 0; i < attributes.length; i += 2) {
    const key = attributes[i]!;
    // An attribute without a valid name is left out here: it is no reason to refuse anything that was measured.
    if (!IDENTIFYING.includes(key) && labelName(key, settings.strategy) !== null) others.push(key, attributes[i + 1]!);
  }
  const labels = translateAttributes(others, settings);
  if (labels === null || others.length === 0 || identity.size === 0) return null;
  for (const [name, value] of identity) labels.set(name, value);
  labels.set(METRIC_NAME, 'target_info');
  return labelsFromPairs(labels);
}

/** Label names and values, or null if an attribute has no valid name. */
function translateAttributes(attributes: readonly string[], settings: OtlpSettings): Map<string, string> | null {
  const joins = escapes(settings.strategy);
  const labels = new Map<string, string>();
  for (const i of orderByKey(attributes)) {
    const key = attributes[i]!;
    const value = attributes[i + 1]!;
    if (key === METRIC_NAME) continue;
    const name = labelName(key, settings.strategy);
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
