/**
 * Keeps up with a list of objects: reads it once, watches it from there, and reads it anew whenever the watch is lost.
 * Source of the protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
import type { Logger } from 'pino';
import type { ClusterClient, WatchEvent } from './client.ts';

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string | null;
  readonly deletionTimestamp?: string | null;
  readonly resourceVersion?: string;
}

export interface KubeObject {
  readonly metadata: Metadata;
  readonly [field: string]: unknown;
}

export interface ReflectorOptions {
  readonly client: ClusterClient;
  /** `/api/v1/pods` */
  readonly path: string;
  /** Added to list and watch: `fieldSelector=…`. */
  readonly query?: string;
  /** Media types of the list and of the watch's objects. */
  readonly accept?: { readonly list: string; readonly watch: string };
  readonly logger: Logger;
  /** All objects at once. */
  replace(objects: readonly KubeObject[]): void;
  /** One object that came, changed or went. */
  change(type: 'set' | 'delete', object: KubeObject): void;
}

const BACKOFF_MS = [500, 1000, 2000, 5000, 10_000, 30_000];
const META = 'g=meta.k8s.io;v=v1';
/** What stands beside an object's metadata is neither sent nor read. */
export const METADATA_ONLY = {
  list: `application/json;as=PartialObjectMetadataList;${META},application/json`,
  watch: `application/json;as=PartialObjectMetadata;${META},application/json`,
};
const JSON_ONLY = { list: 'application/json', watch: 'application/json' };

export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #isCurrent = false;

  constructor(options: ReflectorOptions) {
    this.#options = options;
  }

  /** Resolves after the first list and goes on watching; rejects if that list cannot be read, and is then over. */
  async start(): Promise<void> {
    const version = await this.#list();
    void this.#follow(version);
  }

  stop(): void {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** True while what was told is what there is, but for what is on its way. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  get #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #list(): Promise<string> {
    const { client, accept = JSON_ONLY } = this.#options;
    const { items, metadata } = await client.get<{
      readonly items: readonly KubeObject[] | null;
      readonly metadata: { readonly resourceVersion?: string };
    }>(this.#url({}), { accept: accept.list });
    this.#options.replace(items ?? []);
    this.#isCurrent = true;
    return metadata.resourceVersion ?? '';
  }

  async #follow(first: string): Promise<void> {
    let version: string | null = first;
    while (!this.#isStopped) {
      try {
        version ??= await this.#list();
        version = await this.#watch(version);
        this.#failures = 0;
      } catch (error) {
        if (this.#isStopped) return;
        this.#options.logger.warn(`a watch of ${this.#options.path} ended: ${(error as Error).message}`);
        version = null;
        this.#isCurrent = false;
        await this.#pause();
      }
    }
  }

  /** The version up to which events came, or null if the list has to be read again. */
  async #watch(from: string): Promise<string | null> {
    let version: string | null = from;
    const { client, accept = JSON_ONLY } = this.#options;
    const url = this.#url({ watch: 'true', allowWatchBookmarks: 'true', resourceVersion: from });
    const beganMs = performance.now();
    await client.watch(
      url,
      accept.watch,
      (event) => {
        version = this.#event(event) ?? (event.type === 'ERROR' ? null : version);
      },
      this.#stop.signal,
    );
    // A server that ends each watch at once must not be asked in a loop.
    if (performance.now() - beganMs < 1000) await this.#pause();
    return version;
  }

  #event({ type, object }: WatchEvent): string | null {
    const { metadata } = object as Partial<KubeObject>;
    if (type === 'ERROR' || metadata === undefined) return null;
    if (type === 'DELETED') this.#options.change('delete', object as KubeObject);
    else if (type === 'ADDED' || type === 'MODIFIED') this.#options.change('set', object as KubeObject);
    return metadata.resourceVersion ?? null;
  }

  #pause(): Promise<void> {
    const waitMs = BACKOFF_MS[Math.min(this.#failures++, BACKOFF_MS.length - 1)]!;
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, waitMs);
      this.#timer.unref();
    });
  }

  #url(parameters: Readonly<Record<string, string>>): string {
    const { path, query = '' } = this.#options;
    const all = [query, new URLSearchParams(parameters).toString()].filter((part) => part !== '').join('&');
    return all === '' ? path : `${path}?${all}`;
  }
}
