/**
 * What this API server says about itself: groups, versions and one resource a metric, in the legacy documents and in the
 * aggregated one. Documents are made when they are asked for and kept as bytes until the metrics change.
 *
 * Only `get` is advertised: namespace deletion, garbage collection and quota act on the other verbs. Each external metric
 * is a kind of its own, because kubectl keeps one resource a kind.
 */
import { createHash } from 'node:crypto';

export interface Resource {
  /** `queue_depth`, or parent and metric: `pods/http_requests`. */
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
}

export interface ServedVersion {
  readonly version: string;
  readonly resources: readonly Resource[];
}

export interface ServedGroup {
  readonly name: string;
  /** The preferred version first. */
  readonly versions: readonly ServedVersion[];
}

/** Bytes, because the aggregated form must go out without a charset, and their ETag. */
export interface Document {
  readonly bytes: Buffer;
  readonly etag: string;
}

export class Discovery {
  readonly groups: readonly ServedGroup[];
  #aggregated: Document | null = null;
  readonly #resources = new Map<string, Document>();

  constructor(groups: readonly ServedGroup[]) {
    this.groups = groups;
  }

  /** `/apis` */
  groupList(): object {
    return { kind: 'APIGroupList', apiVersion: 'v1', groups: this.groups.map(describeGroup) };
  }

  /** `/apis/<group>`, or null. */
  group(name: string): object | null {
    const group = this.groups.find((one) => one.name === name);
    return group === undefined ? null : { kind: 'APIGroup', apiVersion: 'v1', ...describeGroup(group) };
  }

  /** `/apis/<group>/<version>`, or null. */
  resourceList(group: string, version: string): Document | null {
    const groupVersion = `${group}/${version}`;
    const known = this.#resources.get(groupVersion);
    if (known !== undefined) return known;
    const served = this.version(group, version);
    if (served === null) return null;
    const resources = served.resources.map((resource) => ({ ...resource, singularName: '' }));
    const made = documentOf({ kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources });
    this.#resources.set(groupVersion, made);
    return made;
  }

  /** `/apis` in the aggregated form. */
  aggregated(): Document {
    this.#aggregated ??= documentOf({
      kind: 'APIGroupDiscoveryList',
      apiVersion: 'apidiscovery.k8s.io/v2',
      metadata: {},
      items: this.groups.map(aggregatedGroup),
    });
    return this.#aggregated;
  }

  version(group: string, version: string): ServedVersion | null {
    const found = this.groups.find(({ name }) => name === group);
    return found?.versions.find((one) => one.version === version) ?? null;
  }
}

export function documentOf(value: object): Document {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, etag: `"${createHash('sha512').update(bytes).digest('hex').toUpperCase()}"` };
}

function describeGroup({ name, versions }: ServedGroup): object {
  const described = versions.map(({ version }) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: described, preferredVersion: described[0] };
}

function aggregatedGroup({ name, versions }: ServedGroup): object {
  return {
    metadata: { name, creationTimestamp: null },
    versions: versions.map(({ version, resources }) => ({
      version,
      freshness: 'Current',
      resources: aggregatedResources(name, version, resources),
    })),
  };
}

interface Parent {
  readonly resource: string;
  readonly responseKind: object;
  readonly scope: string;
  readonly singularResource: string;
  readonly verbs: readonly string[];
  subresources?: object[];
}

/** `pods/http_requests` is a subresource of `pods`, which itself can do nothing. */
function aggregatedResources(group: string, version: string, resources: readonly Resource[]): Parent[] {
  const parents = new Map<string, Parent>();
  for (const { name, kind, namespaced, verbs } of resources) {
    const slash = name.indexOf('/');
    const resource = slash < 0 ? name : name.slice(0, slash);
    const responseKind = { group, version, kind };
    const parent = parents.get(resource) ?? {
      resource,
      responseKind: slash < 0 ? responseKind : { group: '', version: '', kind: '' },
      scope: namespaced ? 'Namespaced' : 'Cluster',
      singularResource: '',
      verbs: slash < 0 ? verbs : [],
    };
    parents.set(resource, parent);
    if (slash < 0) continue;
    parent.subresources ??= [];
    parent.subresources.push({ subresource: name.slice(slash + 1), responseKind, verbs });
  }
  return [...parents.values()];
}
