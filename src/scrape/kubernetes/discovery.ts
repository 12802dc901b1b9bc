/**
 * Targets of the cluster: watches pods, and for monitors services, their endpoints and the monitors themselves, and works out
 * anew what is to be scraped soon after something changed.
 */
import type { Logger } from 'pino';
import { type ApiServer, ClusterClient } from '../../api/kubernetes/cluster/client.ts';
import type { KubeObject } from '../../api/kubernetes/cluster/reflector.ts';
import type { MonitorSource, PodSource, ScrapeConfig } from '../../config/scrape-schema.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Timers } from '../../model/timers.ts';
import type { Discovered } from '../target.ts';
import { type ClusterView, type MonitoredPool, type MonitorKind, monitoredPools } from './monitors.ts';
import {
  type EndpointSlice,
  endpointSliceOf,
  type Monitor,
  monitorOf,
  type Pod,
  podOf,
  type Service,
  serviceOf,
} from './objects.ts';
import { podTargets } from './pods.ts';
import { WatchedList } from './watched-list.ts';

export interface ClusterDiscoveryOptions {
  readonly server: ApiServer;
  /** The namespace of this pod, or null outside of a cluster. */
  readonly ownNamespace: string | null;
  readonly config: ScrapeConfig;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Targets of a job's `kubernetes_sd_configs`, and the pools of all monitors, whenever they may have changed. */
  onJobs(targets: ReadonlyMap<string, readonly Discovered[]>): void;
  onMonitors(pools: readonly MonitoredPool[]): void;
  onFailure(): void;
}

/** Changes come in flocks: a rollout is worked out a few times, not a hundred times. */
const SETTLE_MS = 250;
const MONITORING = '/apis/monitoring.coreos.com/v1';

type Lists<T> = readonly WatchedList<T>[];

export class ClusterDiscovery {
  readonly #options: ClusterDiscoveryOptions;
  readonly #client: ClusterClient;
  /** By path and query: jobs that ask for the same share a list. */
  readonly #lists = new Map<string, WatchedList<unknown>>();
  readonly #jobPods: readonly { readonly job: string; readonly source: PodSource; readonly lists: Lists<Pod> }[];
  readonly #monitors: Readonly<Record<MonitorKind, Lists<Monitor>>>;
  readonly #pods: Lists<Pod>;
  readonly #services: Lists<Service>;
  readonly #slices: Lists<EndpointSlice>;
  #complaints = new Map<string, { readonly kind: MonitorKind; readonly field: string }>();
  #wasFull = false;
  #isPlanned = false;
  #isStopped = false;

  constructor(options: ClusterDiscoveryOptions) {
    this.#options = options;
    this.#client = new ClusterClient(options.server);
    const { jobs, serviceMonitors, podMonitors } = options.config;
    this.#jobPods = jobs.flatMap(({ name, pods }) =>
      pods.map((source) => ({
        job: name,
        source,
        lists: this.#listsOf('/api/v1', 'pods', this.#places(source), podOf, queryOf(source)),
      })),
    );
    const monitors = (source: MonitorSource | null, resource: string): Lists<Monitor> =>
      source === null ? [] : this.#listsOf(MONITORING, resource, source.namespaces, monitorOf, queryOf(source));
    this.#monitors = {
      ServiceMonitor: monitors(serviceMonitors, 'servicemonitors'),
      PodMonitor: monitors(podMonitors, 'podmonitors'),
    };
    const both = [serviceMonitors, podMonitors].filter((source) => source !== null);
    this.#pods = this.#within(both, '/api/v1', 'pods', podOf);
    const services = serviceMonitors === null ? [] : [serviceMonitors];
    this.#services = this.#within(services, '/api/v1', 'services', serviceOf);
    this.#slices = this.#within(services, '/apis/discovery.k8s.io/v1', 'endpointslices', endpointSliceOf);
  }

  start(): void {
    for (const list of this.#lists.values()) list.start();
  }

  stop(): void {
    this.#isStopped = true;
    for (const list of this.#lists.values()) list.stop();
    this.#client.close();
  }

  /** Objects that are known. */
  get objects(): number {
    let count = 0;
    for (const list of this.#lists.values()) count += list.objects.size;
    return count;
  }

  /** How many monitors there are with a field that is not supported or cannot be used, by kind and field. */
  unsupported(): { readonly labels: readonly string[]; readonly value: number }[] {
    const counts = new Map<string, { readonly labels: readonly string[]; value: number }>();
    for (const { kind, field } of this.#complaints.values()) {
      const cell = counts.get(`${kind}.${field}`) ?? { labels: [kind, field], value: 0 };
      counts.set(`${kind}.${field}`, cell);
      cell.value++;
    }
    return [...counts.values()];
  }

  #places({ namespaces, ownNamespace }: PodSource): readonly string[] {
    const own = this.#options.ownNamespace;
    return ownNamespace && own !== null ? [...new Set([...namespaces, own])] : namespaces;
  }

  /** Lists for sources of monitors: of all namespaces, unless each of them names its own. */
  #within<T>(
    sources: readonly MonitorSource[],
    group: string,
    resource: string,
    read: (object: KubeObject) => T,
  ): Lists<T> {
    if (sources.length === 0) return [];
    const everywhere = sources.some(({ namespaces }) => namespaces.length === 0);
    const names = everywhere ? [] : [...new Set(sources.flatMap(({ namespaces }) => namespaces))];
    return this.#listsOf(group, resource, names, read, '');
  }

  #listsOf<T>(
    group: string,
    resource: string,
    namespaces: readonly string[],
    read: (object: KubeObject) => T,
    query: string,
  ): Lists<T> {
    const paths =
      namespaces.length === 0
        ? [`${group}/${resource}`]
        : namespaces.map((namespace) => `${group}/namespaces/${namespace}/${resource}`);
    return paths.map((path) => this.#listOf(path, query, read));
  }

  #listOf<T>(path: string, query: string, read: (object: KubeObject) => T): WatchedList<T> {
    const key = `${path}?${query}`;
    const known = this.#lists.get(key) as WatchedList<T> | undefined;
    if (known !== undefined) return known;
    const { timers, logger, onFailure } = this.#options;
    const hasRoom = (): boolean => this.#hasRoom();
    const onChange = (): void => this.#plan();
    const list = new WatchedList<T>({
      client: this.#client,
      timers,
      logger,
      path,
      query,
      read,
      hasRoom,
      onChange,
      onFailure,
    });
    this.#lists.set(key, list as WatchedList<unknown>);
    return list;
  }

  #hasRoom(): boolean {
    const isFull = this.objects >= LIMITS.scrapeObjectsMax;
    if (isFull && !this.#wasFull) {
      this.#options.logger.error(
        { event: 'scrape_discovery' },
        `cannot know more than ${LIMITS.scrapeObjectsMax} objects`,
      );
    }
    this.#wasFull = isFull;
    return !isFull;
  }

  #plan(): void {
    if (this.#isPlanned || this.#isStopped) return;
    this.#isPlanned = true;
    this.#options.timers.after(SETTLE_MS, () => {
      this.#isPlanned = false;
      if (!this.#isStopped) this.#workOut();
    });
  }

  /** Of what is not known completely yet nothing follows: targets of before go on meanwhile. */
  #workOut(): void {
    const jobs = new Map<string, Discovered[]>();
    const waiting = new Set<string>();
    for (const { job, source, lists } of this.#jobPods) {
      if (!areSynced(lists)) waiting.add(job);
      const config = this.#options.config.jobs.find(({ name }) => name === job)!;
      const targets = lists.flatMap((list) => podTargets(list.objects.values(), source, config));
      jobs.set(job, [...(jobs.get(job) ?? []), ...targets]);
    }
    for (const job of waiting) jobs.delete(job);
    this.#options.onJobs(jobs);
    const monitors = [...this.#monitors.ServiceMonitor, ...this.#monitors.PodMonitor];
    const isComplete = [monitors, this.#pods, this.#services, this.#slices].every((lists) => areSynced<unknown>(lists));
    if (monitors.length > 0 && isComplete) this.#options.onMonitors(this.#monitored());
  }

  #monitored(): MonitoredPool[] {
    const view = this.#view();
    const { config } = this.#options;
    const sources = { ServiceMonitor: config.serviceMonitors, PodMonitor: config.podMonitors };
    const complaints = new Map<string, { readonly kind: MonitorKind; readonly field: string }>();
    const complain = (kind: MonitorKind, field: string, monitor: string, why: string): void => {
      const key = `${kind} ${monitor} ${field}: ${why}`;
      complaints.set(key, { kind, field });
      if (this.#complaints.has(key)) return;
      const what = { event: 'scrape_discovery', kind, monitor, field };
      this.#options.logger.warn(what, `cannot do what a ${kind} says: ${field}: ${why}`);
    };
    const pools = (['ServiceMonitor', 'PodMonitor'] as const).flatMap((kind) => {
      const source = sources[kind];
      if (source === null) return [];
      const all = this.#monitors[kind].flatMap((list) => [...list.objects.values()]);
      return all.flatMap((monitor) => monitoredPools(kind, monitor, { config, source, view }, complain));
    });
    this.#complaints = complaints;
    return pools;
  }

  #view(): ClusterView {
    const slices = new Map<string, EndpointSlice[]>();
    for (const slice of this.#slices.flatMap((list) => [...list.objects.values()])) {
      const key = `${slice.namespace}/${slice.service}`;
      slices.set(key, [...(slices.get(key) ?? []), slice]);
    }
    const pods = this.#pods;
    return {
      pods: pods.flatMap((list) => [...list.objects.values()]),
      pod: (namespace, name) => {
        for (const list of pods) {
          const pod = list.objects.get(`${namespace}/${name}`);
          if (pod !== undefined) return pod;
        }
        return undefined;
      },
      services: this.#services.flatMap((list) => [...list.objects.values()]),
      slices: (namespace, service) => slices.get(`${namespace}/${service}`) ?? [],
    };
  }
}

function areSynced<T>(lists: Lists<T>): boolean {
  return lists.every(({ isSynced }) => isSynced);
}

function queryOf({ labelSelector, fieldSelector = '' }: { labelSelector: string; fieldSelector?: string }): string {
  const query = new URLSearchParams();
  if (labelSelector !== '') query.set('labelSelector', labelSelector);
  if (fieldSelector !== '') query.set('fieldSelector', fieldSelector);
  return query.toString();
}
