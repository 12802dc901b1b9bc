/**
 * ServiceMonitor and PodMonitor: from the objects that clusters already have to pools of targets, with the labels that
 * prometheus-operator gives them. Whoever may write such an object names pods by it, never addresses, and no file or secret of
 * ours: fields for those are not supported, and are named wherever somebody uses them.
 * Source: prometheus-operator, pkg/apis/monitoring/v1 and pkg/prometheus/promcfg.go.
 */
import { fulfils, type Requirement } from '../../api/kubernetes/label-selector.ts';
import { type MonitorSource, NO_TLS, type ScrapeConfig, type ScrapeJob } from '../../config/scrape-schema.ts';
import { LIMITS } from '../../model/limits.ts';
import { compileRelabel, RELABEL_ACTIONS, RELABEL_DEFAULTS, type RelabelRule } from '../../model/relabel.ts';
import { tryParseDuration } from '../../model/time.ts';
import type { Discovered, Pool } from '../target.ts';
import { addressOf, containerLabels, podLabels, serviceLabels } from './labels.ts';
import {
  type Container,
  type EndpointSlice,
  json,
  list,
  type Monitor,
  type Pod,
  type Service,
  text,
} from './objects.ts';
import { mayBeScraped } from './pods.ts';

export type MonitorKind = 'ServiceMonitor' | 'PodMonitor';

/** The objects that monitors select from. */
export interface ClusterView {
  readonly pods: Iterable<Pod>;
  pod(namespace: string, name: string): Pod | undefined;
  readonly services: Iterable<Service>;
  slices(namespace: string, service: string): readonly EndpointSlice[];
}

export interface MonitoredPool {
  readonly pool: Pool;
  readonly targets: readonly Discovered[];
}

/** Told of every field that is not supported, and of what cannot be used. */
export type Complain = (kind: MonitorKind, field: string, monitor: string, why: string) => void;

type Json = Readonly<Record<string, unknown>>;

interface Around {
  readonly config: Pick<ScrapeConfig, 'intervalMs' | 'timeoutMs'>;
  readonly source: MonitorSource;
  readonly view: ClusterView;
  complain(field: string, why: string): void;
}

const SPEC: readonly string[] = ['selector', 'namespaceSelector', 'jobLabel', 'sampleLimit', 'bodySizeLimit'];
const SPEC_FIELDS: Readonly<Record<MonitorKind, readonly string[]>> = {
  ServiceMonitor: [...SPEC, 'endpoints', 'targetLabels', 'podTargetLabels'],
  PodMonitor: [...SPEC, 'podMetricsEndpoints', 'podTargetLabels'],
};
const ENDPOINT_FIELDS: readonly string[] = [
  'port',
  'portNumber',
  'targetPort',
  'path',
  'scheme',
  'params',
  'interval',
  'scrapeTimeout',
  'honorLabels',
  'honorTimestamps',
  'followRedirects',
  'relabelings',
  'metricRelabelings',
  'tlsConfig',
];
/** What says how something is done that makes no difference here. */
const HARMLESS: readonly string[] = [
  'attachMetadata',
  'enableHttp2',
  'selectorMechanism',
  'scrapeClass',
  'filterRunning',
];
const TLS_FIELDS: readonly string[] = ['insecureSkipVerify', 'serverName'];

/** The pools of a monitor, one an endpoint. */
export function monitoredPools(
  kind: MonitorKind,
  monitor: Monitor,
  around: Omit<Around, 'complain'>,
  complainOf: Complain,
): MonitoredPool[] {
  const name = `${monitor.namespace}/${monitor.name}`;
  const complain = (field: string, why: string): void => complainOf(kind, field, name, why);
  const { spec } = monitor;
  for (const field of unknownFields(spec, SPEC_FIELDS[kind])) complain(field, 'the field is not supported');
  const requirements = requirementsOf(json(spec.selector), complain);
  if (requirements === null) return [];
  const inNamespace = namespacesOf(monitor, around.source, json(spec.namespaceSelector));
  const endpoints = list(kind === 'ServiceMonitor' ? spec.endpoints : spec.podMetricsEndpoints);
  const prefix = kind === 'ServiceMonitor' ? 'serviceMonitor' : 'podMonitor';
  return endpoints.flatMap((endpoint, i) => {
    const job = jobOf(`${prefix}/${name}/${i}`, spec, endpoint, { ...around, complain });
    if (job === null) return [];
    const pool = { name: job.name, job, isForeign: true, enforceNamespace: around.source.enforceNamespace };
    const selects = { requirements, inNamespace };
    const targets =
      kind === 'ServiceMonitor'
        ? serviceTargets(around.view, selects, spec, endpoint)
        : monitoredPods(around.view, selects, monitor, endpoint);
    return [{ pool, targets }];
  });
}

interface Selects {
  readonly requirements: readonly Requirement[];
  inNamespace(namespace: string): boolean;
}

// ---- targets

function serviceTargets(
  view: ClusterView,
  { requirements, inNamespace }: Selects,
  spec: Json,
  endpoint: Json,
): Discovered[] {
  const found: Discovered[] = [];
  for (const service of view.services) {
    if (!inNamespace(service.namespace) || !fulfils(service.labels, requirements)) continue;
    for (const slice of view.slices(service.namespace, service.name)) {
      for (const { address, pod: name } of slice.endpoints) {
        const pod = view.pod(service.namespace, name);
        // Who may write EndpointSlices must not lead us to any address: it has to be the pod's own.
        if (pod === undefined || pod.ip !== address || !mayBeScraped(pod)) continue;
        for (const port of portsOf(slice, pod, endpoint)) found.push(serviceTarget(service, pod, port, spec, endpoint));
      }
    }
  }
  return found;
}

interface Port {
  readonly number: number;
  /** Name of the port of the Service, or ''. */
  readonly name: string;
}

function portsOf(slice: EndpointSlice, pod: Pod, { port, targetPort }: Json): Port[] {
  if (text(port) !== '') return slice.ports.filter(({ name }) => name === text(port));
  if (text(targetPort) === '') return [];
  const wanted = text(targetPort);
  const numbers = new Set(
    pod.containers.flatMap(({ ports }) =>
      ports.filter(({ name, number }) => name === wanted || String(number) === wanted).map(({ number }) => number),
    ),
  );
  return slice.ports.filter(({ number }) => numbers.has(number));
}

function serviceTarget(service: Service, pod: Pod, { number, name }: Port, spec: Json, endpoint: Json): Discovered {
  const [container, port] = declaring(pod, (one) => one.number === number) ?? [null, null];
  const jobLabel = text(spec.jobLabel);
  const copied = (names: unknown, from: Readonly<Record<string, string>>): [string, string][] =>
    copiedLabels(Array.isArray(names) ? (names as unknown[]) : [], from);
  return new Map([
    ['__address__', addressOf(pod.ip, number)],
    ['__meta_kubernetes_endpoint_port_name', name],
    ['__meta_kubernetes_endpoint_address_target_kind', 'Pod'],
    ['__meta_kubernetes_endpoint_address_target_name', pod.name],
    ['__meta_kubernetes_endpointslice_port_name', name],
    ['__meta_kubernetes_endpointslice_address_target_kind', 'Pod'],
    ['__meta_kubernetes_endpointslice_address_target_name', pod.name],
    ...podLabels(pod),
    ...serviceLabels(service),
    ...(container === null ? [] : containerLabels(container, port)),
    ...copied(spec.targetLabels, service.labels),
    ...copied(spec.podTargetLabels, pod.labels),
    ['namespace', service.namespace],
    ['service', service.name],
    ['pod', pod.name],
    ['container', container?.name ?? ''],
    ['job', (jobLabel === '' ? '' : service.labels[jobLabel]) || service.name],
    ['endpoint', text(endpoint.port) || text(endpoint.targetPort)],
  ]);
}

function monitoredPods(
  view: ClusterView,
  { requirements, inNamespace }: Selects,
  monitor: Monitor,
  endpoint: Json,
): Discovered[] {
  const found: Discovered[] = [];
  const { port, portNumber, targetPort } = endpoint;
  const wantedName = text(port);
  const wanted = text(portNumber) || text(targetPort);
  const isWanted = (one: Container['ports'][number]): boolean =>
    wantedName !== '' ? one.name === wantedName : one.name === wanted || String(one.number) === wanted;
  for (const pod of view.pods) {
    if (!inNamespace(pod.namespace) || !mayBeScraped(pod) || !fulfils(pod.labels, requirements)) continue;
    const declared = declaring(pod, isWanted);
    if (declared !== null) found.push(podTarget(pod, declared[0], declared[1], monitor, wantedName || wanted));
  }
  return found;
}

function podTarget(
  pod: Pod,
  container: Container,
  port: Container['ports'][number],
  { namespace, name, spec }: Monitor,
  endpoint: string,
): Discovered {
  const jobLabel = text(spec.jobLabel);
  const { podTargetLabels } = spec;
  return new Map([
    ['__address__', addressOf(pod.ip, port.number)],
    ...podLabels(pod),
    ...containerLabels(container, port),
    ...copiedLabels(Array.isArray(podTargetLabels) ? (podTargetLabels as unknown[]) : [], pod.labels),
    ['namespace', pod.namespace],
    ['pod', pod.name],
    ['container', container.name],
    ['job', (jobLabel === '' ? '' : pod.labels[jobLabel]) || `${namespace}/${name}`],
    ['endpoint', endpoint],
  ]);
}

/** The first container, and port of it, that is declared so. */
function declaring(
  pod: Pod,
  isIt: (port: Container['ports'][number]) => boolean,
): [Container, Container['ports'][number]] | null {
  for (const container of pod.containers) {
    const port = container.ports.find(isIt);
    if (port !== undefined) return [container, port];
  }
  return null;
}

function copiedLabels(names: readonly unknown[], from: Readonly<Record<string, string>>): [string, string][] {
  return names.flatMap((name) => {
    const value = from[String(name)];
    return value === undefined ? [] : [[String(name).replace(/[^a-zA-Z0-9_]/g, '_'), value] as [string, string]];
  });
}

// ---- what the monitor says

/** Null if the selector cannot be read: then nothing is selected, rather than everything. */
function requirementsOf({ matchLabels, matchExpressions }: Json, complain: Around['complain']): Requirement[] | null {
  const requirements: Requirement[] = Object.entries(json(matchLabels)).map(([key, value]) => {
    return { key, operator: '=' as const, values: [text(value)] };
  });
  for (const { key, operator, values } of list(matchExpressions)) {
    const known = OPERATORS[text(operator)];
    if (known === undefined) {
      complain('selector', `the operator ${text(operator)} is not known`);
      return null;
    }
    requirements.push({ key: text(key), operator: known, values: Array.isArray(values) ? values.map(text) : [] });
  }
  return requirements;
}

const OPERATORS: Readonly<Partial<Record<string, Requirement['operator']>>> = {
  In: 'in',
  NotIn: 'notin',
  Exists: 'exists',
  DoesNotExist: 'absent',
};

/** Namespaces of what is selected, within those that the operator allows. */
function namespacesOf(monitor: Monitor, { namespaces }: MonitorSource, { any, matchNames }: Json) {
  const names = Array.isArray(matchNames) ? matchNames.map(text) : [];
  const selects = (namespace: string): boolean =>
    any === true || (names.length === 0 ? namespace === monitor.namespace : names.includes(namespace));
  return (namespace: string): boolean =>
    selects(namespace) && (namespaces.length === 0 || namespaces.includes(namespace));
}

function jobOf(name: string, spec: Json, endpoint: Json, { config, complain }: Around): ScrapeJob | null {
  for (const field of unknownFields(endpoint, ENDPOINT_FIELDS)) complain(field, 'the field is not supported');
  if (endpoint.filterRunning === false) complain('filterRunning', 'pods that have ended are never scraped');
  const tls = json(endpoint.tlsConfig);
  for (const field of unknownFields(tls, TLS_FIELDS)) complain(`tlsConfig.${field}`, 'the field is not supported');
  const intervalMs = durationOf(endpoint, 'interval', config.intervalMs, complain);
  const timeoutMs = durationOf(endpoint, 'scrapeTimeout', Math.min(config.timeoutMs, intervalMs ?? 0), complain);
  const bodyBytesMax = bytesOf(spec, 'bodySizeLimit', complain);
  const relabel = rulesOf(endpoint, 'relabelings', complain);
  const metricRelabel = rulesOf(endpoint, 'metricRelabelings', complain);
  if (intervalMs === null || timeoutMs === null || bodyBytesMax === null) return null;
  if (relabel === null || metricRelabel === null) return null;
  if (timeoutMs > intervalMs) {
    complain('scrapeTimeout', 'it is above the interval');
    return null;
  }
  return {
    name,
    intervalMs,
    timeoutMs,
    metricsPath: text(endpoint.path) || '/metrics',
    scheme: text(endpoint.scheme).toLowerCase() === 'https' ? 'https' : 'http',
    params: paramsOf(json(endpoint.params)),
    honorLabels: endpoint.honorLabels === true,
    honorTimestamps: endpoint.honorTimestamps !== false,
    basicAuth: null,
    authorization: null,
    tls: { ...NO_TLS, serverName: text(tls.serverName), insecureSkipVerify: tls.insecureSkipVerify === true },
    followRedirects: endpoint.followRedirects !== false,
    bodyBytesMax,
    samplesMax: Number(spec.sampleLimit) || Number.MAX_SAFE_INTEGER,
    relabel,
    metricRelabel,
    staticTargets: [],
    pods: [],
  };
}

function paramsOf(params: Json): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(
    Object.entries(params).map(([name, values]) => [name, Array.isArray(values) ? values.map(text) : []]),
  );
}

function durationOf(from: Json, field: string, absent: number, complain: Around['complain']): number | null {
  const written = text(from[field]);
  if (written === '') return absent;
  const ms = tryParseDuration(written);
  if (ms !== null && ms >= LIMITS.scrapeIntervalMsMin) return ms;
  complain(field, `got ${JSON.stringify(written)}, want a duration such as 15s`);
  return null;
}

/** In Prometheus' units, which are powers of two. */
function bytesOf(from: Json, field: string, complain: Around['complain']): number | null {
  const written = text(from[field]);
  const match = /^(\d{1,9})([KMG]?)i?B?$/i.exec(written || '0');
  if (match === null) {
    complain(field, `got ${JSON.stringify(written)}, want bytes such as 10MB`);
    return null;
  }
  const bytes = Number(match[1]) * 1024 ** ' KMG'.indexOf(match[2] === '' ? ' ' : match[2]!.toUpperCase());
  return Math.min(bytes || Number.POSITIVE_INFINITY, LIMITS.scrapeBodyBytesMax);
}

/** Null if one of the rules cannot be used: the others alone would mean something else. */
function rulesOf(endpoint: Json, field: string, complain: Around['complain']): RelabelRule[] | null {
  const rules = list(endpoint[field]).map(ruleOf);
  try {
    const unknown = rules.find(({ action }) => !RELABEL_ACTIONS.includes(action));
    if (unknown !== undefined) throw new Error(`the action ${unknown.action} is not known`);
    compileRelabel(rules);
    return rules;
  } catch (error) {
    complain(field, (error as Error).message);
    return null;
  }
}

function ruleOf(rule: Json): RelabelRule {
  const { sourceLabels, separator, targetLabel, regex, modulus, replacement, action } = rule;
  return {
    sourceLabels: Array.isArray(sourceLabels) ? sourceLabels.map(text) : [],
    separator: separator === undefined ? RELABEL_DEFAULTS.separator : text(separator),
    targetLabel: text(targetLabel),
    regex: text(regex) || RELABEL_DEFAULTS.regex,
    modulus: Number(modulus) || 0,
    replacement: replacement === undefined ? RELABEL_DEFAULTS.replacement : text(replacement),
    action: (text(action).toLowerCase() || 'replace') as RelabelRule['action'],
  };
}

/** Fields that are set and do something that is not done here. */
function unknownFields(object: Json, known: readonly string[]): string[] {
  return Object.keys(object).filter(
    (field) => isSet(object[field]) && !known.includes(field) && !HARMLESS.includes(field),
  );
}

/** Objects are often written with fields that are empty all the way down. */
function isSet(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).some(isSet);
  return value !== null && value !== undefined && value !== false && value !== '';
}
