/**
 * Which objects there are, for requests that name them by a label selector: names and labels of each kind that was ever
 * asked for, kept up to date by a watch. Only metadata is read.
 */
import type { Logger } from 'pino';
import { LIMITS } from '../../../model/limits.ts';
import type { Kind } from '../adapter/kinds.ts';
import { fulfils, type Requirement } from '../label-selector.ts';
import { internalError } from '../status.ts';
import type { ClusterClient } from './client.ts';
import { type KubeObject, METADATA_ONLY, type Metadata, Reflector } from './reflector.ts';

export interface ObjectLister {
  /** Objects in ascending order of names; of all namespaces if it is null. Throws a `StatusError`. */
  list(kind: Kind, namespace: string | null, selector: readonly Requirement[]): Promise<readonly Metadata[]>;
}

interface Known {
  readonly reflector: Reflector;
  readonly started: Promise<void>;
  /** By namespace ('' for none), then by name. */
  readonly objects: Map<string, Map<string, Metadata>>;
  count: number;
}

export class WatchedObjects implements ObjectLister {
  readonly #client: ClusterClient;
  readonly #logger: Logger;
  readonly #kinds = new Map<string, Known>();

  constructor(client: ClusterClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /** How many objects are known, for a metric. */
  get count(): number {
    let count = 0;
    for (const known of this.#kinds.values()) count += known.count;
    return count;
  }

  async list(kind: Kind, namespace: string | null, selector: readonly Requirement[]): Promise<readonly Metadata[]> {
    const known = this.#watched(kind);
    try {
      await known.started;
    } catch (error) {
      throw internalError(`unable to list ${kind.resource}: ${(error as Error).message}`);
    }
    const found: Metadata[] = [];
    for (const [of, objects] of known.objects) {
      if (namespace !== null && of !== namespace) continue;
      for (const metadata of objects.values()) if (fulfils(metadata.labels ?? {}, selector)) found.push(metadata);
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  stop(): void {
    for (const { reflector } of this.#kinds.values()) reflector.stop();
  }

  #watched(kind: Kind): Known {
    const path = listPath(kind);
    const earlier = this.#kinds.get(path);
    if (earlier !== undefined) return earlier;
    const objects = new Map<string, Map<string, Metadata>>();
    const reflector = new Reflector({
      client: this.#client,
      path,
      accept: METADATA_ONLY,
      logger: this.#logger,
      replace: (all) => {
        objects.clear();
        known.count = 0;
        for (const object of all) this.#set(known, object);
      },
      change: (type, object) => (type === 'set' ? this.#set(known, object) : this.#delete(known, object)),
    });
    const known: Known = { reflector, started: reflector.start(), objects, count: 0 };
    this.#kinds.set(path, known);
    // Who asks next tries again.
    known.started.catch(() => this.#kinds.delete(path));
    return known;
  }

  #set(known: Known, { metadata }: KubeObject): void {
    const { name, namespace = '', labels = {}, creationTimestamp = null } = metadata;
    let names = known.objects.get(namespace);
    if (names === undefined) {
      names = new Map();
      known.objects.set(namespace, names);
    }
    if (!names.has(name)) {
      if (this.count >= LIMITS.clusterObjectsMax) {
        this.#logger.warn(`cannot keep ${namespace}/${name}: ${LIMITS.clusterObjectsMax} objects are known already`);
        return;
      }
      known.count++;
    }
    names.set(name, { name, namespace, labels, creationTimestamp });
  }

  #delete(known: Known, { metadata: { name, namespace = '' } }: KubeObject): void {
    const names = known.objects.get(namespace);
    if (names?.delete(name) !== true) return;
    known.count--;
    if (names.size === 0) known.objects.delete(namespace);
  }
}

/** `/api/v1/pods`, `/apis/apps/v1/deployments`: in all namespaces. */
function listPath({ group, version, resource }: Kind): string {
  return group === '' ? `/api/${version}/${resource}` : `/apis/${group}/${version}/${resource}`;
}
