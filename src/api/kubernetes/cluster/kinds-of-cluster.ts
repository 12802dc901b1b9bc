/** The kinds of objects that an API server serves, so that rules may map labels to custom resources too. */
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

/** Groups that fail are left out: an aggregated API that is down must not hold up a start. */
export async function readKinds(client: ClusterClient): Promise<readonly Kind[]> {
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
