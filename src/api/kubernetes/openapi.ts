/**
 * OpenAPI documents of the served groups, in versions 2 and 3: what `kubectl explain` reads. Each external metric is a kind
 * of its own; of very many, only the first are described.
 */
import { LIMITS } from '../../model/limits.ts';
import { GROUPS } from './adapter/rules.ts';
import { type Discovery, type Document, documentOf, type Resource } from './discovery.ts';

const TEXT = { type: 'string' };

export class OpenApi {
  readonly #discovery: Discovery;
  readonly #made = new Map<string, Document>();

  constructor(discovery: Discovery) {
    this.#discovery = discovery;
  }

  /** `/openapi/v3` */
  index(): object {
    const paths: Record<string, object> = {};
    for (const { name, versions } of this.#discovery.groups) {
      for (const { version } of versions) {
        const path = `apis/${name}/${version}`;
        const hash = this.version(name, version)!.etag.slice(1, -1);
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
      }
    }
    return { paths };
  }

  /** `/openapi/v3/apis/<group>/<version>`, or null. */
  version(group: string, version: string): Document | null {
    if (this.#discovery.version(group, version) === null) return null;
    return this.#kept(`${group}/${version}`, () => ({
      openapi: '3.0.0',
      info: { title: 'Tidegauge', version: 'unversioned' },
      paths: this.#paths(group, version),
      components: { schemas: this.#schemas(group, version) },
    }));
  }

  /** `/openapi/v2` */
  swagger(): Document {
    return this.#kept('', () => {
      const versions = this.#discovery.groups.flatMap(({ name, versions: all }) =>
        all.map(({ version }) => this.#schemas(name, version)),
      );
      return {
        swagger: '2.0',
        info: { title: 'Tidegauge', version: 'unversioned' },
        paths: {},
        definitions: Object.assign({}, ...versions) as object,
      };
    });
  }

  #kept(key: string, make: () => object): Document {
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = documentOf(make());
    this.#made.set(key, made);
    return made;
  }

  #paths(group: string, version: string): object {
    const responses = { 200: { description: 'OK' } };
    // kubectl looks for the path of a resource, and there for its kind.
    const described = this.#resources(group, version).map(({ name, kind, namespaced }) => {
      const gvk = { group, version, kind };
      const path = `/apis/${group}/${version}/${namespaced ? 'namespaces/{namespace}/' : ''}${name}`;
      return [path, { get: { responses, 'x-kubernetes-action': 'get', 'x-kubernetes-group-version-kind': gvk } }];
    });
    return Object.fromEntries(described) as object;
  }

  #resources(group: string, version: string): readonly Resource[] {
    return this.#discovery.version(group, version)!.resources.slice(0, LIMITS.openApiKindsMax);
  }

  #schemas(group: string, version: string): Record<string, object> {
    const kinds = [...new Set(this.#resources(group, version).map(({ kind }) => kind))];
    const described = kinds.map((kind) => [schemaName(group, version, kind), schemaOf(group, version, kind)] as const);
    return Object.fromEntries(described);
  }
}

function schemaName(group: string, version: string, kind: string): string {
  return `${group.split('.').reverse().join('.')}.${version}.${kind}`;
}

function schemaOf(group: string, version: string, kind: string): object {
  const common = {
    apiVersion: { ...TEXT, description: 'Version of the schema of this object.' },
    kind: { ...TEXT, description: 'Kind of this object.' },
  };
  const properties = group === GROUPS.external ? EXTERNAL_PROPERTIES : CUSTOM_PROPERTIES;
  const description =
    group === GROUPS.external
      ? `Values of the external metric ${kind}: one item for each result of its query.`
      : 'Values of a metric, one item for each object that has one.';
  return {
    description,
    type: 'object',
    properties: { ...common, ...properties },
    'x-kubernetes-group-version-kind': [{ group, version, kind }],
  };
}

const EXTERNAL_PROPERTIES = {
  metricName: { ...TEXT, description: 'Name of the metric.' },
  metricLabels: { type: 'object', additionalProperties: TEXT, description: 'Labels of the result.' },
  timestamp: { ...TEXT, format: 'date-time', description: 'Time of the newest sample that was read.' },
  window: { type: 'integer', format: 'int64', description: 'Seconds that the value was measured over.' },
  value: { ...TEXT, description: 'Value as a quantity: 1500m is 1.5.' },
};
const CUSTOM_PROPERTIES = {
  describedObject: { type: 'object', description: 'The object that the value is of.' },
  metric: { type: 'object', description: 'Name and selector of the metric.' },
  timestamp: EXTERNAL_PROPERTIES.timestamp,
  windowSeconds: EXTERNAL_PROPERTIES.window,
  value: EXTERNAL_PROPERTIES.value,
};
