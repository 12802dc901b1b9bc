/**
 * The APIServices by which a cluster finds this port. They may come later than the daemon, change hands, or be written anew
 * by whoever installs them, so they are looked at again and again:
 *
 *   ours      the authority of our own certificate goes into `caBundle`, if we may write there
 *   foreign   left alone, but told: what is configured here for that API is then never asked for
 *   missing   told, too, since the cluster does not know of this port
 *   unknown   we may not read it
 *
 * What is so is told once, and again when it is another way.
 */
import type { Logger } from 'pino';
import type { Registry } from '../../telemetry/registry.ts';
import { GROUPS } from './adapter/rules.ts';
import { type ClusterClient, ClusterError, statusText } from './cluster/client.ts';

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

interface ApiService {
  readonly metadata?: { readonly resourceVersion?: string };
  readonly spec: {
    /** Without one it is the API server itself that answers. */
    readonly service?: { readonly namespace?: string; readonly name?: string } | null;
    readonly caBundle?: string;
    readonly insecureSkipTLSVerify?: boolean;
  };
}

export interface ApiServicesOptions {
  readonly client: ClusterClient;
  /** The Service that leads here. */
  readonly service: ServiceName;
  /** What a client of our own certificate has to trust, or null if somebody else issued it. */
  readonly caPem: () => string | null;
  /** Whether anything is configured that is served in a group. */
  readonly isWanted: (group: string) => boolean;
  readonly logger: Logger;
  readonly intervalMs?: number;
}

type State = 'ours' | 'foreign' | 'missing' | 'unknown';

interface Seen {
  readonly state: State;
  /** `namespace/name` of the Service behind it, or ''. */
  readonly owner: string;
  /** What could not be done, or ''. */
  readonly fault: string;
}

const GROUP_VERSIONS = [
  { group: GROUPS.external, version: 'v1beta1' },
  { group: GROUPS.custom, version: 'v1beta1' },
  { group: GROUPS.custom, version: 'v1beta2' },
  { group: GROUPS.resource, version: 'v1beta1' },
] as const;
const INTERVAL_MS = 30_000;
/** What serves itself where there is no Service. */
const API_SERVER = 'kube-apiserver';

/** Where there is no cluster there is nothing to tell. */
export function registerApiServices(registry: Registry, apiServices: ApiServices | null): void {
  registry.collected(
    'gauge',
    'tidegauge_kubernetes_apiservice',
    '1 for whose each APIService of the metrics APIs is: ours, foreign with its owner, missing, or unknown if it may not be read.',
    ['apiservice', 'state', 'owner'],
    () => (apiServices?.rows() ?? []).map((labels) => ({ labels, value: 1 })),
  );
}

export class ApiServices {
  readonly #options: ApiServicesOptions;
  /** By `v1beta1.external.metrics.k8s.io`; only what was looked at. */
  readonly #seen = new Map<string, Seen>();
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #isStopped = false;

  constructor(options: ApiServicesOptions) {
    this.#options = options;
  }

  /** Name, state and owner of each. */
  rows(): readonly (readonly [name: string, state: State, owner: string])[] {
    return [...this.#seen].map(([name, { state, owner }]) => [name, state, owner]);
  }

  start(): void {
    void this.look();
    this.#timer = setInterval(() => void this.look(), this.#options.intervalMs ?? INTERVAL_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Looks at all of them; who calls while that is done waits for it and for another look. */
  async look(): Promise<void> {
    if (this.#looking !== null) await this.#looking;
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = null;
    });
    await this.#looking;
  }

  async #lookAtAll(): Promise<void> {
    for (const { group, version } of GROUP_VERSIONS) {
      const name = `${version}.${group}`;
      const seen = await this.#lookAt(name);
      if (this.#isStopped) return;
      const before = this.#seen.get(name);
      this.#seen.set(name, seen);
      const isNew = before?.state !== seen.state || before.owner !== seen.owner || before.fault !== seen.fault;
      if (isNew) this.#tell(name, group, seen);
    }
  }

  async #lookAt(name: string): Promise<Seen> {
    const path = `/apis/apiregistration.k8s.io/v1/apiservices/${name}`;
    const { client, service: ours } = this.#options;
    try {
      const found = await client.get<ApiService>(path);
      const { service } = found.spec;
      const owner = service == null ? API_SERVER : `${service.namespace ?? ''}/${service.name ?? ''}`;
      if (owner !== `${ours.namespace}/${ours.name}`) return { state: 'foreign', owner, fault: '' };
      return { state: 'ours', owner, fault: await this.#publish(path, name, found) };
    } catch (error) {
      if (error instanceof ClusterError && error.status === 404) return { state: 'missing', owner: '', fault: '' };
      return { state: 'unknown', owner: '', fault: (error as Error).message };
    }
  }

  /** Why the authority could not be written, or ''. */
  async #publish(path: string, name: string, { metadata, spec }: ApiService): Promise<string> {
    const { client, logger } = this.#options;
    const caPem = this.#options.caPem();
    const caBundle = caPem === null ? null : Buffer.from(caPem).toString('base64');
    if (caBundle === null || (spec.caBundle === caBundle && spec.insecureSkipTLSVerify !== true)) return '';
    // Of the version that was read: it may be somebody else's by now.
    const version = metadata?.resourceVersion;
    const of = version === undefined ? {} : { metadata: { resourceVersion: version } };
    const { status, body } = await client.call(path, {
      method: 'PATCH',
      contentType: 'application/merge-patch+json',
      body: { ...of, spec: { caBundle, insecureSkipTLSVerify: null } },
    });
    if (status < 200 || status >= 300) return `cannot set its caBundle: ${statusText(status, body)}`;
    logger.info(`the caBundle of the APIService ${name} was set`);
    return '';
  }

  #tell(name: string, group: string, { state, owner, fault }: Seen): void {
    const { logger, service, isWanted, caPem } = this.#options;
    const about = { event: 'apiservice', apiservice: name, state };
    const ours = `${service.namespace}/${service.name}`;
    if (fault !== '') {
      // Without it the cluster does not trust us; but for what nobody wants that is no matter.
      const level = state === 'ours' || (isWanted(group) && caPem() !== null) ? 'warn' : 'debug';
      logger[level](about, `the APIService ${name}: ${fault}`);
      return;
    }
    if (!isWanted(group)) return;
    if (state === 'foreign') {
      logger.warn(
        { ...about, owner },
        `the APIService ${name} belongs to ${owner === API_SERVER ? owner : `the Service ${owner}`}, so what is configured ` +
          `here for ${group} is never asked for: ${adviceFor(owner, group)}, or set its spec.service to ${ours}`,
      );
    } else if (state === 'missing') {
      logger.info(about, `there is no APIService ${name}: autoscalers cannot ask until one leads to ${ours}`);
    }
  }
}

/** What to do about the usual ones. */
function adviceFor(owner: string, group: string): string {
  if (/keda/.test(owner) && group === GROUPS.external)
    return 'KEDA needs it for itself, so use triggers of type external (docs/keda.md)';
  if (/prometheus-adapter/.test(owner)) return 'uninstall prometheus-adapter (docs/kubernetes.md)';
  return 'uninstall that';
}
