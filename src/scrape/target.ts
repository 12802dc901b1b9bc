/**
 * From what discovery found of a target (labels, many of them with two underscores in front) to what is scraped: its URL, the
 * labels of its series, how often.
 * Source of the rules: prometheus/prometheus, scrape/target.go, PopulateLabels.
 */
import type { ScrapeJob } from '../config/scrape-schema.ts';
import { compareCodePoints } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import { compileRelabel, type Relabel } from '../model/relabel.ts';
import { formatDuration, tryParseDuration } from '../model/time.ts';

/** Targets that are scraped in one way; its name is what Prometheus calls a scrape pool. */
export interface Pool {
  readonly name: string;
  readonly job: ScrapeJob;
  /**
   * The targets come from objects of the cluster, not from the operator's files: then relabelling must not lead to another
   * host than the one that was found.
   */
  readonly isForeign: boolean;
  /** Every series carries the namespace of its target, whatever the target and the relabelling say. */
  readonly enforceNamespace: boolean;
}

/** Labels as discovery gives them, before relabelling. */
export type Discovered = ReadonlyMap<string, string>;

export interface TargetSpec {
  /** Equal for targets that are the same: address and labels. */
  readonly key: string;
  /** Equal for targets whose series have the same labels. */
  readonly labelsKey: string;
  readonly pool: Pool;
  readonly url: string;
  /** Sorted. */
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly enforced: readonly (readonly [name: string, value: string])[];
  readonly discovered: Discovered;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly metricRelabel: Relabel | null;
}

/** A target, or why there is none: `dropped` by relabelling, or a fault in words. */
export type Populated =
  | { readonly kind: 'target'; readonly spec: TargetSpec }
  | { readonly kind: 'dropped'; readonly discovered: Discovered }
  | { readonly kind: 'fault'; readonly discovered: Discovered; readonly reason: string };

const NAMESPACE = 'namespace';

/** Makes targets of a pool. Throws `bad_data` if its rules cannot be used. */
export function populator(pool: Pool): (found: Discovered) => Populated {
  const relabel = compileRelabel(pool.job.relabel);
  const metricRelabel = pool.job.metricRelabel.length === 0 ? null : compileRelabel(pool.job.metricRelabel);
  return (found) => populate(pool, found, relabel, metricRelabel);
}

function populate(pool: Pool, found: Discovered, relabel: Relabel, metricRelabel: Relabel | null): Populated {
  const discovered = withDefaults(pool.job, found);
  const labels = new Map(discovered);
  if (!relabel(labels)) return { kind: 'dropped', discovered };
  const fault = (reason: string): Populated => ({ kind: 'fault', discovered, reason });
  const address = labels.get('__address__') ?? '';
  const enforced = namespaceOf(pool, found);
  if (address === '') return fault('it has no address');
  if (pool.isForeign && hostOf(address) !== hostOf(found.get('__address__') ?? '')) {
    return fault(`a monitor must not lead to another host: got ${address}, found ${found.get('__address__')}`);
  }
  const url = urlOf(labels, address, pool.job);
  if (url === null) return fault(`${address} is no address that can be scraped`);
  const times = timesOf(labels);
  if (typeof times === 'string') return fault(times);
  if (!labels.has('instance')) labels.set('instance', address);
  for (const [name, value] of enforced) labels.set(name, value);
  const own = [...labels].filter(([name, value]) => !name.startsWith('__') && value !== '');
  own.sort(([a], [b]) => compareCodePoints(a, b));
  const labelsKey = JSON.stringify(own);
  const key = `${url} ${labelsKey}`;
  return {
    kind: 'target',
    spec: { key, labelsKey, pool, url, labels: own, enforced, discovered, ...times, metricRelabel },
  };
}

function withDefaults(job: ScrapeJob, found: Discovered): Map<string, string> {
  const labels = new Map<string, string>([
    ['job', job.name],
    ['__scheme__', job.scheme],
    ['__metrics_path__', job.metricsPath],
    ['__scrape_interval__', formatDuration(job.intervalMs)],
    ['__scrape_timeout__', formatDuration(job.timeoutMs)],
  ]);
  for (const [name, [first]] of Object.entries(job.params))
    if (first !== undefined) labels.set(`__param_${name}`, first);
  for (const [name, value] of found) if (value !== '') labels.set(name, value);
  return labels;
}

function namespaceOf({ enforceNamespace }: Pool, found: Discovered): readonly (readonly [string, string])[] {
  const namespace = found.get(NAMESPACE);
  return enforceNamespace && namespace !== undefined ? [[NAMESPACE, namespace]] : [];
}

function timesOf(labels: ReadonlyMap<string, string>): { intervalMs: number; timeoutMs: number } | string {
  const [interval, timeout] = ['interval', 'timeout'].map((what) => labels.get(`__scrape_${what}__`) ?? '');
  const intervalMs = tryParseDuration(interval!);
  const timeoutMs = tryParseDuration(timeout!);
  if (intervalMs === null || intervalMs < LIMITS.scrapeIntervalMsMin) return `cannot use the interval ${interval}`;
  if (timeoutMs === null || timeoutMs <= 0 || timeoutMs > intervalMs) return `cannot use the timeout ${timeout}`;
  return { intervalMs, timeoutMs };
}

/** The URL, or null if the address holds more than host and port. */
function urlOf(labels: ReadonlyMap<string, string>, address: string, job: ScrapeJob): string | null {
  const scheme = labels.get('__scheme__') ?? 'http';
  if ((scheme !== 'http' && scheme !== 'https') || /[\s/?#@\\]/.test(address)) return null;
  const origin = tryUrl(`${scheme}://${address}`);
  if (origin === null || origin.pathname !== '/') return null;
  const path = labels.get('__metrics_path__') ?? '/metrics';
  const [pathname = '', query = ''] = split(path.startsWith('/') ? path : `/${path}`);
  const parameters = new URLSearchParams(query);
  for (const [name, values] of Object.entries(job.params)) for (const value of values) parameters.append(name, value);
  for (const [name, value] of labels) {
    if (!name.startsWith('__param_')) continue;
    const parameter = name.slice('__param_'.length);
    const [, ...rest] = parameters.getAll(parameter);
    parameters.delete(parameter);
    for (const one of [value, ...rest]) parameters.append(parameter, one);
  }
  const search = parameters.toString();
  return `${scheme}://${address}${pathname}${search === '' ? '' : `?${search}`}`;
}

function split(path: string): [string, string] {
  const at = path.indexOf('?');
  return at < 0 ? [path, ''] : [path.slice(0, at), path.slice(at + 1)];
}

function tryUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** `10.0.0.1` of `10.0.0.1:8080`; `[::1]` of `[::1]:8080`. */
function hostOf(address: string): string {
  return address.replace(/:\d+$/, '');
}
