/** A list of the cluster's objects that is watched, in shapes of our own; it is asked for again until it can be read. */
import type { Logger } from 'pino';
import type { ClusterClient } from '../../api/kubernetes/cluster/client.ts';
import { type KubeObject, Reflector } from '../../api/kubernetes/cluster/reflector.ts';
import type { Timers } from '../../model/timers.ts';

export interface WatchedListOptions<T> {
  readonly client: ClusterClient;
  readonly timers: Timers;
  readonly logger: Logger;
  /** `/api/v1/pods` */
  readonly path: string;
  /** `labelSelector=…`, or ''. */
  readonly query: string;
  read(object: KubeObject): T;
  /** Whether there is room for one object more. */
  hasRoom(): boolean;
  onChange(): void;
  onFailure(): void;
}

const RETRY_MS = [1000, 5000, 15_000, 60_000];

export class WatchedList<T> {
  /** By namespace/name. */
  readonly objects = new Map<string, T>();
  readonly #options: WatchedListOptions<T>;
  #reflector: Reflector | null = null;
  #isSynced = false;
  #isStopped = false;
  #failures = 0;
  #lastFailure = '';
  #cancel: () => void = () => undefined;

  constructor(options: WatchedListOptions<T>) {
    this.#options = options;
  }

  /** True once all objects are known. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  start(): void {
    const { client, path, query, logger } = this.#options;
    this.#reflector = new Reflector({
      client,
      path,
      ...(query === '' ? {} : { query }),
      logger,
      replace: (all) => this.#replace(all),
      change: (type, object) => this.#change(type, object),
    });
    this.#reflector.start().catch((error: unknown) => this.#retry(error as Error));
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
    this.#reflector?.stop();
  }

  #retry(error: Error): void {
    if (this.#isStopped) return;
    const { timers, logger, path, onFailure } = this.#options;
    onFailure();
    if (error.message !== this.#lastFailure) {
      logger.warn({ event: 'scrape_discovery', path }, `cannot find targets: ${error.message}`);
      this.#lastFailure = error.message;
    }
    const waitMs = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]!;
    this.#cancel = timers.after(waitMs, () => this.start());
  }

  #replace(all: readonly KubeObject[]): void {
    this.objects.clear();
    for (const object of all) this.#set(object);
    this.#isSynced = true;
    this.#failures = 0;
    this.#lastFailure = '';
    this.#options.onChange();
  }

  #change(type: 'set' | 'delete', object: KubeObject): void {
    if (this.#isStopped) return;
    if (type === 'set') this.#set(object);
    else this.objects.delete(keyOf(object));
    this.#options.onChange();
  }

  #set(object: KubeObject): void {
    const key = keyOf(object);
    if (this.objects.has(key) || this.#options.hasRoom()) this.objects.set(key, this.#options.read(object));
  }
}

function keyOf({ metadata: { namespace = '', name } }: KubeObject): string {
  return `${namespace}/${name}`;
}
