/**
 * What this API server says about itself: groups, versions and one resource a metric, in the legacy documents and in the
 * aggregated one. The metrics are those of the configuration, so the documents are made once.
 *
 * Only `get` is advertised: namespace deletion, garbage collection and quota act on the other verbs. Each metric is a
 * kind of its own, because kubectl keeps one resource a kind.
 */
import { createHash } from 'node:crypto';

export const GROUP = 'external.metrics.k8s.io';
export const VERSION = 'v1beta1';
const GROUP_VERSION = `${GROUP}/${VERSION}`;

export interface Discovery {
  /** `/apis` */
  readonly groups: object;
  /** `/apis/<group>` */
  readonly group: object;
  /** `/apis/<group>/<version>` */
  readonly resources: object;
  /** `/apis` in the aggregated form: bytes, because the type must go out without a charset, and their ETag. */
  readonly aggregated: { readonly bytes: Buffer; readonly etag: string };
}

interface Resource {
  readonly name: string;
  readonly kind: string;
}

/** Old clients complain about an empty list on every command. */
const PLACEHOLDER: Resource = { name: 'externalmetrics', kind: 'ExternalMetricValue' };

export function describeMetrics(metricNames: readonly string[]): Discovery {
  const resources = metricNames.length === 0 ? [PLACEHOLDER] : metricNames.map((name) => ({ name, kind: name }));
  const version = { groupVersion: GROUP_VERSION, version: VERSION };
  const group = { name: GROUP, versions: [version], preferredVersion: version };
  const bytes = Buffer.from(JSON.stringify(aggregatedDocument(resources)));
  return {
    groups: { kind: 'APIGroupList', apiVersion: 'v1', groups: [group] },
    group: { kind: 'APIGroup', apiVersion: 'v1', ...group },
    resources: {
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion: GROUP_VERSION,
      resources: resources.map(({ name, kind }) => ({
        name,
        singularName: '',
        namespaced: true,
        kind,
        verbs: ['get'],
      })),
    },
    aggregated: { bytes, etag: `"${createHash('sha512').update(bytes).digest('hex').toUpperCase()}"` },
  };
}

function aggregatedDocument(resources: readonly Resource[]): object {
  const described = resources.map(({ name, kind }) => ({
    resource: name,
    responseKind: { group: GROUP, version: VERSION, kind },
    scope: 'Namespaced',
    singularResource: '',
    verbs: ['get'],
  }));
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: [
      {
        metadata: { name: GROUP, creationTimestamp: null },
        versions: [{ version: VERSION, freshness: 'Current', resources: described }],
      },
    ],
  };
}
