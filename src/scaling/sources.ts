/**
 * Sources: who sends. A source is a job and its instance, or, where there is no instance, the resource that the series
 * name: namespace, pod, container, node. Series without any of these labels come from one source together.
 */
import type { Labels } from '../model/labels.ts';

/** Labels that tell sources apart, besides `instance`; OTLP attributes with and without their dots. */
const PLACE_LABELS: ReadonlySet<string> = new Set(
  ['job', 'instance', 'namespace', 'pod', 'container', 'node', 'host'].concat(
    ...[
      'k8s.namespace.name',
      'k8s.pod.name',
      'k8s.pod.uid',
      'k8s.container.name',
      'k8s.node.name',
      'host.name',
      'service.name',
      'service.namespace',
      'service.instance.id',
    ].map((attribute) => [attribute, attribute.replaceAll('.', '_')]),
  ),
);
export const POD_LABELS: readonly string[] = ['pod', 'k8s_pod_name', 'k8s.pod.name'];
/** Shortest and longest name of the set: most labels are told by their length alone. */
const LENGTHS = [...PLACE_LABELS].map((name) => name.length);
const LENGTH_MIN = Math.min(...LENGTHS);
const LENGTH_MAX = Math.max(...LENGTHS);

/** A text that is equal for series of one source, and for no others. */
export function sourceKey(labels: Labels): string {
  let key = '';
  let jobAndInstance = '';
  let hasInstance = false;
  for (let i = 0; i < labels.length; i += 2) {
    const name = labels[i]!;
    if (name.length < LENGTH_MIN || name.length > LENGTH_MAX || !PLACE_LABELS.has(name)) continue;
    const part = `${name}=${labels[i + 1]}\uffff`;
    key += part;
    if (name === 'instance') hasInstance = true;
    else if (name !== 'job') continue;
    jobAndInstance += part;
  }
  return hasInstance ? jobAndInstance : key;
}

/** The same for people: `job=api instance=10.0.0.1:80`. */
export function sourceText(key: string): string {
  return key === '' ? 'the only source' : key.slice(0, -1).replaceAll('\uffff', ' ');
}

/** Name of the pod that a series tells of, or ''. */
export function podName(labels: Labels): string {
  for (let i = 0; i < labels.length; i += 2) if (POD_LABELS.includes(labels[i]!)) return labels[i + 1]!;
  return '';
}
