/**
 * Kinds of Kubernetes objects: the built-in ones, and what an API server says besides. A name is found by its plural or
 * singular, in any case; a group also by its beginning, and without one the first kind wins.
 * Source: kubernetes/apimachinery, pkg/api/meta/restmapper.go.
 */
import type { GroupResource } from './config.ts';

export interface Kind {
  /** Plural, lower case. */
  readonly resource: string;
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export class Kinds {
  readonly #all: readonly Kind[];

  constructor(all: readonly Kind[]) {
    this.#all = all;
  }

  /** An exact group wins over one that only begins so. */
  find({ group, resource }: GroupResource): Kind | null {
    const name = resource.toLowerCase();
    const named = this.#all.filter((kind) => kind.resource === name || kind.singular === name);
    return named.find((kind) => kind.group === group) ?? named.find((kind) => kind.group.startsWith(group)) ?? null;
  }

  /** By `pods` or `deployments.apps`, as paths write it. */
  byQualifiedName(text: string): Kind | null {
    const dot = text.indexOf('.');
    const resource = dot < 0 ? text : text.slice(0, dot);
    return this.find({ resource, group: dot < 0 ? '' : text.slice(dot + 1) });
  }

  /** The same with more kinds at the end. */
  with(more: readonly Kind[]): Kinds {
    const known = new Set(this.#all.map(qualifiedName));
    return new Kinds([...this.#all, ...more.filter((kind) => !known.has(qualifiedName(kind)))]);
  }
}

export function qualifiedName({ resource, group }: Kind): string {
  return group === '' ? resource : `${resource}.${group}`;
}

/** The only kinds that metrics are kept of without a namespace. */
const ROOT_SCOPED: ReadonlySet<string> = new Set(['namespaces', 'nodes', 'persistentvolumes']);

export function isRootScoped({ group, resource }: Kind): boolean {
  return group === '' && ROOT_SCOPED.has(resource);
}

const CORE = `pods Pod, services Service, namespaces Namespace -, nodes Node -, persistentvolumes PersistentVolume -,
persistentvolumeclaims PersistentVolumeClaim, replicationcontrollers ReplicationController, configmaps ConfigMap,
secrets Secret, serviceaccounts ServiceAccount, endpoints Endpoints, resourcequotas ResourceQuota, limitranges LimitRange`;
const APPS = 'deployments Deployment, statefulsets StatefulSet, daemonsets DaemonSet, replicasets ReplicaSet';
const NETWORKING = 'ingresses Ingress, ingressclasses IngressClass -, networkpolicies NetworkPolicy';
const RBAC =
  'clusterroles ClusterRole -, clusterrolebindings ClusterRoleBinding -, roles Role, rolebindings RoleBinding';

export const BUILT_IN_KINDS = new Kinds([
  ...kindsOf('', 'v1', CORE),
  ...kindsOf('apps', 'v1', APPS),
  ...kindsOf('batch', 'v1', 'jobs Job, cronjobs CronJob'),
  ...kindsOf('autoscaling', 'v2', 'horizontalpodautoscalers HorizontalPodAutoscaler'),
  ...kindsOf('networking.k8s.io', 'v1', NETWORKING),
  ...kindsOf('policy', 'v1', 'poddisruptionbudgets PodDisruptionBudget'),
  ...kindsOf('storage.k8s.io', 'v1', 'storageclasses StorageClass -, volumeattachments VolumeAttachment -'),
  ...kindsOf('rbac.authorization.k8s.io', 'v1', RBAC),
]);

/** From `plural Kind [-]`; the dash is for kinds without a namespace. */
function kindsOf(group: string, version: string, text: string): Kind[] {
  return text.split(',').map((part) => {
    const [resource = '', kind = '', dash] = part.trim().split(/\s+/);
    return { group, version, resource, kind, singular: kind.toLowerCase(), namespaced: dash === undefined };
  });
}
