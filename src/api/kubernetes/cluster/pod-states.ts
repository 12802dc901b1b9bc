/**
 * Which pods run, by a watch of all that are in the phase `Running`: what a Reading has to know about a sender that has
 * fallen silent. Only metadata is read.
 *
 * A pod counts as deleted only if it was seen to run and to end: one that was never seen may be another cluster's.
 */
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Clock } from '../../../model/clock.ts';
import { LIMITS } from '../../../model/limits.ts';
import type { PodState, PodStates } from '../../../scaling/pods.ts';
import type { ClusterClient } from './client.ts';
import { type KubeObject, METADATA_ONLY, Reflector } from './reflector.ts';

const PATH = '/api/v1/pods';
const RUNNING = 'fieldSelector=status.phase%3DRunning';

export interface WatchedPodsOptions {
  readonly client: ClusterClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Before the first list is tried again. */
  readonly retryMs?: number;
}

export class WatchedPods implements PodStates {
  readonly #logger: Logger;
  readonly #reflector: Reflector;
  readonly #retryMs: number;
  #retry: NodeJS.Timeout | null = null;
  #isStopped = false;
  /** `namespace/name` */
  #running = new Set<string>();
  readonly #ended: LRUCache<string, true>;
  #isTooMany = false;

  constructor({ client, clock, logger, retryMs = LIMITS.clusterRetryMs }: WatchedPodsOptions) {
    this.#logger = logger;
    this.#retryMs = retryMs;
    this.#ended = new LRUCache({
      max: LIMITS.endedPodsMax,
      ttl: LIMITS.mutePodMsMax,
      perf: { now: () => clock.monotonicMs() },
    });
    this.#reflector = new Reflector({
      client,
      path: PATH,
      query: RUNNING,
      accept: METADATA_ONLY,
      logger,
      replace: (all) => this.#replace(all),
      change: (type, object) => this.#change(type, object),
    });
  }

  /** How many run, for a metric. */
  get count(): number {
    return this.#running.size;
  }

  /** Tries until it may read the list, and then follows it. */
  async start(): Promise<void> {
    try {
      await this.#reflector.start();
    } catch (error) {
      if (this.#isStopped) return;
      this.#logger.warn(`cannot watch pods, silent senders are told by time alone: ${(error as Error).message}`);
      this.#retry = setTimeout(() => void this.start(), this.#retryMs);
      this.#retry.unref();
    }
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#reflector.stop();
  }

  stateOf(namespace: string, pod: string): PodState {
    if (!this.#reflector.isCurrent || this.#isTooMany) return 'unknown';
    const key = `${namespace}/${pod}`;
    if (this.#running.has(key)) return 'alive';
    return this.#ended.has(key) ? 'deleted' : 'unknown';
  }

  #replace(all: readonly KubeObject[]): void {
    const earlier = this.#running;
    this.#running = new Set();
    this.#isTooMany = false;
    for (const object of all) this.#set(object);
    for (const key of earlier) if (!this.#running.has(key)) this.#ended.set(key, true);
  }

  #change(type: 'set' | 'delete', object: KubeObject): void {
    if (type === 'set') this.#set(object);
    else this.#end(keyOf(object));
  }

  /** One that was told to end may be silent before it is gone. */
  #set(object: KubeObject): void {
    const key = keyOf(object);
    if (object.metadata.deletionTimestamp != null) {
      this.#end(key);
      return;
    }
    if (this.#running.size >= LIMITS.clusterObjectsMax) {
      if (!this.#isTooMany) this.#logger.warn(`cannot watch more than ${LIMITS.clusterObjectsMax} pods`);
      this.#isTooMany = true;
      return;
    }
    this.#ended.delete(key);
    this.#running.add(key);
  }

  #end(key: string): void {
    this.#running.delete(key);
    this.#ended.set(key, true);
  }
}

function keyOf({ metadata: { namespace = '', name } }: KubeObject): string {
  return `${namespace}/${name}`;
}
