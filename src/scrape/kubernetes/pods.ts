/** Targets of `kubernetes_sd_configs` with the role pod: one for each port of each container. */
import type { PodSource, ScrapeJob } from '../../config/scrape-schema.ts';
import type { Discovered } from '../target.ts';
import { addressOf, containerLabels, podLabels } from './labels.ts';
import type { Container, Pod } from './objects.ts';

/** A pod that has ended is scraped no more. */
export function mayBeScraped({ ip, phase }: Pod): boolean {
  return ip !== '' && phase !== 'Succeeded' && phase !== 'Failed';
}

export function podTargets(pods: Iterable<Pod>, source: PodSource, job: ScrapeJob): Discovered[] {
  const found: Discovered[] = [];
  for (const pod of pods) {
    if (!mayBeScraped(pod)) continue;
    if (source.annotations) found.push(...annotated(pod));
    else for (const [port, labels] of portsOf(pod)) found.push(labelled(pod, port, labels, job.relabel.length === 0));
  }
  return found;
}

/** All ports with their labels; a container without any is a target without a port. */
function* portsOf(pod: Pod): Generator<[number | null, [string, string][], Container]> {
  for (const container of pod.containers) {
    if (container.ports.length === 0) yield [null, containerLabels(container, null), container];
    for (const port of container.ports) yield [port.number, containerLabels(container, port), container];
  }
}

/** Who relabels says himself which labels series get; to others they are of no use without these. */
function labelled(pod: Pod, port: number | null, labels: [string, string][], isNamed: boolean): Discovered {
  const container = labels.find(([name]) => name.endsWith('_container_name'))?.[1] ?? '';
  return new Map([
    ['__address__', addressOf(pod.ip, port)],
    ...podLabels(pod),
    ...labels,
    ...(isNamed ? ownLabels(pod, container) : []),
  ]);
}

function ownLabels({ namespace, name }: Pod, container: string): [string, string][] {
  return [
    ['namespace', namespace],
    ['pod', name],
    ['container', container],
  ];
}

const PREFIX = 'prometheus.io/';

/** `prometheus.io/scrape: "true"`, and `port`, `path` and `scheme` beside it. */
function annotated(pod: Pod): Discovered[] {
  const said = (what: string): string => pod.annotations[`${PREFIX}${what}`] ?? '';
  if (said('scrape') !== 'true') return [];
  const path = said('path');
  const scheme = said('scheme');
  const extra: [string, string][] = [];
  if (path !== '') extra.push(['__metrics_path__', path]);
  if (scheme !== '') extra.push(['__scheme__', scheme]);
  const ports = [...portsOf(pod)];
  const wanted = said('port');
  if (wanted === '') {
    // Nothing but TCP can be scraped.
    const usable = ports.filter(([, labels]) => !labels.some(([, value]) => value === 'UDP' || value === 'SCTP'));
    return usable.map(([port, labels]) => new Map([...labelled(pod, port, labels, true), ...extra]));
  }
  if (!/^\d{1,5}$/.test(wanted)) return [];
  const declared = ports.find(([port]) => port === Number(wanted));
  const labels = declared?.[1] ?? [];
  return [new Map([...labelled(pod, Number(wanted), labels, true), ...extra])];
}
