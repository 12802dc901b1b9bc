/** The kinds of objects that an API server serves, so that rules may map labels to custom resources too. */
import type { Logger } from 'pino';
import { LIMITS } from '../../../model/limits.ts';
import type { Kind } from '../adapter/kinds.ts';
import type { ClusterClient } from './client.ts';

interface ResourceList {
  readonly resources?: readonly {
    readonly name: string;
    readonly singularName: string;
    readonly namespaced: boolean;
    readonly kind: string;
  }[];
}

const GROUPS_MAX = 500;

export interface FollowedKindsOptions {
  readonly client: ClusterClient;
  readonly logger: Logger;
  /** Something names a kind that is not known: it may have been installed since. */
  readonly isMissing: () => boolean;
  /** Only when there are others than before. */
  readonly onKinds: (kinds: readonly Kind[]) => void;
  readonly intervalMs?: number;
}

/** Reads the kinds, again until that succeeds, and again while one is missing. */
export class FollowedKinds {
  readonly #options: FollowedKindsOptions;
  readonly #timer: NodeJS.Timeout;
  #known = '';
  #fault = '';
  #isReading = false;

  constructor(options: FollowedKindsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      if (this.#known === '' || options.isMissing()) void this.#read();
    }, options.intervalMs ?? LIMITS.clusterRetryMs);
    this.#timer.unref();
    void this.#read();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #read(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    const { client, logger, onKinds } = this.#options;
    try {
      const kinds = await readKinds(client);
      const text = JSON.stringify(kinds);
      if (text !== this.#known) onKinds(kinds);
      this.#known = text;
      this.#fault = '';
    } catch (error) {
      const fault = (error as Error).message;
      // The same fault is told once.
      if (fault !== this.#fault)
        logger.warn(`cannot read which kinds of objects there are, only built-in ones are known: ${fault}`);
      this.#fault = fault;
    } finally {
      this.#isReading = false;
    }
  }
}

/** Groups that fail are left out: an aggregated API that is down must not hold up a start. */
async function readKinds(client: ClusterClient): Promise<readonly Kind[]> {
  const { groups = [] } = await client.get<{
    readonly groups?: readonly { readonly name: string; readonly preferredVersion?: { readonly version: string } }[];
  }>('/apis');
  const lists = groups
    .filter(({ name }) => !name.endsWith('metrics.k8s.io'))
    .slice(0, GROUPS_MAX)
    .map(({ name, preferredVersion }) => kindsOfGroup(client, name, preferredVersion?.version ?? 'v1'));
  return [...(await kindsOfGroup(client, '', 'v1')), ...(await Promise.all(lists)).flat()];
}

async function kindsOfGroup(client: ClusterClient, group: string, version: string): Promise<Kind[]> {
  try {
    const { resources = [] } = await client.get<ResourceList>(group === '' ? '/api/v1' : `/apis/${group}/${version}`);
    return resources
      .filter(({ name }) => !name.includes('/'))
      .map(({ name, singularName, namespaced, kind }) => {
        return { group, version, resource: name, singular: singularName || kind.toLowerCase(), kind, namespaced };
      });
  } catch {
    return [];
  }
}
