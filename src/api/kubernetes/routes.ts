/** Which path answers what. Paths of metrics are taken apart here, because `*` and escaped characters may stand in them. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isNamespaced } from './adapter/catalog.ts';
import { GROUPS } from './adapter/rules.ts';
import type { CustomMetricRequest, CustomMetrics } from './custom-metrics.ts';
import { Discovery, type Resource, type ServedGroup } from './discovery.ts';
import type { ExternalMetrics } from './external-metrics.ts';
import { starting } from './late-store.ts';
import { type CustomVersion, customList, customTable, externalList, externalTable } from './lists.ts';
import type { LiveRules } from './live-rules.ts';
import { negotiate } from './negotiation.ts';
import { OpenApi } from './openapi.ts';
import {
  pathSegments,
  queryParameter,
  sendAggregated,
  sendCached,
  sendDocument,
  sendJson,
  sendPlain,
  warn,
} from './reply.ts';
import { RESOURCE_VERSION, type ResourceMetricRequest, type ResourceMetrics } from './resource-metrics.ts';
import { methodNotAllowed, resourceNotFound, StatusError } from './status.ts';
import { versionOf, type Watches } from './watch.ts';

export interface Surfaces {
  readonly external: ExternalMetrics;
  readonly custom: CustomMetrics;
  readonly resource: ResourceMetrics;
  readonly live: LiveRules;
  /** External metrics are served even without rules. */
  readonly servesExternal: boolean;
  /** The same of custom metrics. */
  readonly servesCustom: boolean;
  readonly watches: Watches;
  /** False while what was stored is being read. */
  readonly isStarted: () => boolean;
}

const EXTERNAL_VERSION = 'v1beta1';
const CUSTOM_VERSIONS: readonly CustomVersion[] = ['v1beta2', 'v1beta1'];

/** A GET route; every other method on its path is refused before a body is read. */
export function get(
  app: FastifyInstance,
  url: string,
  handler: (request: FastifyRequest, reply: FastifyReply) => unknown,
): void {
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed();
  };
  app.route({ method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'], url, onRequest, handler });
}

export function registerHealth(app: FastifyInstance, isReady: () => boolean): void {
  for (const url of ['/healthz', '/livez']) get(app, url, (_, reply) => reply.type('text/plain').send('ok'));
  get(app, '/readyz', (_, reply) => {
    const ready = isReady();
    return reply
      .code(ready ? 200 : 503)
      .type('text/plain')
      .send(ready ? 'ok' : 'not ready');
  });
}

export function registerApis(app: FastifyInstance, surfaces: Surfaces): void {
  const described = new Described(surfaces);
  get(app, '/version', (request, reply) =>
    sendPlain(request, reply, { major: '1', minor: '0', gitVersion: 'v1.0.0-tidegauge' }),
  );
  get(app, '/openapi/v2', async (request, reply) => {
    negotiate(request.headers.accept, ['json']);
    await surfaces.live.freshCatalog();
    return sendCached(request, reply, described.openApi().swagger(), 'application/json');
  });
  get(app, '/openapi/v3', (request, reply) => sendPlain(request, reply, described.openApi().index()));
  get(app, '/openapi/v3/apis/:group/:version', (request, reply) => {
    const { group = '', version = '' } = request.params as Readonly<Record<string, string>>;
    const document = described.openApi().version(group, version);
    if (document === null) throw resourceNotFound();
    negotiate(request.headers.accept, ['json']);
    return sendCached(request, reply, document, 'application/json');
  });
  get(app, '/apis', async (request, reply) => {
    await surfaces.live.freshCatalog();
    const discovery = described.discovery();
    const representation = negotiate(request.headers.accept, ['json', 'aggregated']);
    reply.header('Vary', 'Accept');
    return representation === 'json'
      ? sendJson(request, reply, discovery.groupList())
      : sendAggregated(request, reply, discovery.aggregated());
  });
  get(app, '/apis/*', (request, reply) => answer(request, reply, surfaces, described));
}

/** Discovery as the catalog of metrics has it, kept until that is another one. */
class Described {
  readonly #surfaces: Surfaces;
  #madeOf: readonly unknown[] = [];
  #discovery = new Discovery([]);
  #openApi = new OpenApi(this.#discovery);

  constructor(surfaces: Surfaces) {
    this.#surfaces = surfaces;
  }

  discovery(): Discovery {
    const { live } = this.#surfaces;
    const madeOf = [live.catalog(), live.rules, live.kinds];
    if (madeOf.some((part, i) => part !== this.#madeOf[i])) {
      this.#madeOf = madeOf;
      this.#discovery = new Discovery(servedGroups(this.#surfaces));
      this.#openApi = new OpenApi(this.#discovery);
    }
    return this.#discovery;
  }

  openApi(): OpenApi {
    this.discovery();
    return this.#openApi;
  }
}

/**
 * Never asked for, and always there: old clients complain about an empty list on every command, and kubectl prints the values of
 * a list as JSON only if it knows their kind.
 */
const EXTERNAL_PLACEHOLDER = 'externalmetrics';

function servedGroups({ live, external, custom, servesExternal, servesCustom }: Surfaces): ServedGroup[] {
  const { groups } = live.rules;
  const served: ServedGroup[] = [];
  if (servesCustom || groups.includes(GROUPS.custom)) {
    const resources = customResources(custom);
    served.push({ name: GROUPS.custom, versions: CUSTOM_VERSIONS.map((version) => ({ version, resources })) });
  }
  if (servesExternal || groups.includes(GROUPS.external)) {
    const names = external.names().filter((name) => name !== EXTERNAL_PLACEHOLDER);
    const resources = names.map((name) => resource(name, name, true));
    resources.push(resource(EXTERNAL_PLACEHOLDER, 'ExternalMetricValue', true));
    served.push({ name: GROUPS.external, versions: [{ version: EXTERNAL_VERSION, resources }] });
  }
  if (groups.includes(GROUPS.resource)) {
    const resources = [
      resource('nodes', 'NodeMetrics', false, ['get', 'list']),
      resource('pods', 'PodMetrics', true, ['get', 'list']),
    ];
    served.push({ name: GROUPS.resource, versions: [{ version: RESOURCE_VERSION, resources }] });
  }
  return served;
}

function customResources(custom: CustomMetrics): Resource[] {
  const entries = custom.entries();
  if (entries.length === 0) return [resource('metrics', 'MetricValueList', true)];
  return entries.map(([name, kind]) => resource(name, 'MetricValueList', isNamespaced(kind)));
}

function resource(name: string, kind: string, namespaced: boolean, verbs: readonly string[] = ['get']): Resource {
  return { name, kind, namespaced, verbs };
}

async function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  surfaces: Surfaces,
  describedAll: Described,
): Promise<FastifyReply> {
  const [, group = '', version, ...rest] = pathSegments(request) ?? [];
  if (rest.length === 0) await surfaces.live.freshCatalog();
  const discovery = describedAll.discovery();
  const described = discovery.group(group);
  if (described === null) throw resourceNotFound();
  if (version === undefined) return sendPlain(request, reply, described);
  const list = discovery.resourceList(group, version);
  if (list === null) throw resourceNotFound();
  if (rest.length === 0) return sendDocument(request, reply, list);
  if (!surfaces.isStarted()) throw starting();
  if (group === GROUPS.external) return answerExternal(request, reply, surfaces, rest);
  if (group === GROUPS.custom) return answerCustom(request, reply, surfaces, version as CustomVersion, rest);
  return answerResource(request, reply, surfaces, rest);
}

async function answerExternal(
  request: FastifyRequest,
  reply: FastifyReply,
  { external, watches }: Surfaces,
  path: readonly string[],
): Promise<FastifyReply> {
  const [namespaces, namespace, metric] = path;
  if (path.length !== 3 || namespaces !== 'namespaces' || !namespace || !metric) throw resourceNotFound();
  const representation = negotiate(request.headers.accept, ['json', 'table']);
  const labelSelector = queryParameter(request, 'labelSelector');
  const read = () => external.read({ namespace, metric, labelSelector });
  if (isWatch(request)) {
    const watch = {
      metric,
      namespace,
      read,
      isTable: representation === 'table',
      resourceVersion: queryParameter(request, 'resourceVersion').replace(/^0$/, ''),
      timeoutSeconds: Number(queryParameter(request, 'timeoutSeconds')) || 0,
    };
    await watches.begin(watch, reply.raw, () => void reply.hijack());
    return reply;
  }
  const list = await read();
  warn(reply, list.note);
  if (representation === 'json') return sendJson(request, reply, externalList(metric, list));
  const table = externalTable(metric, namespace, list);
  return sendJson(request, reply, { ...table, metadata: { resourceVersion: versionOf(list) } });
}

async function answerCustom(
  request: FastifyRequest,
  reply: FastifyReply,
  { custom }: Surfaces,
  version: CustomVersion,
  path: readonly string[],
): Promise<FastifyReply> {
  const asked = customPath(path);
  if (asked === null) throw resourceNotFound();
  const representation = negotiate(request.headers.accept, ['json', 'table']);
  refuseWatch(request, GROUPS.custom);
  const { namespace, resource, name, metric } = asked;
  const labelSelector = queryParameter(request, 'labelSelector');
  const metricLabelSelector = queryParameter(request, 'metricLabelSelector');
  const list = await custom.read({ namespace, resource, name, metric, labelSelector, metricLabelSelector });
  return sendJson(
    request,
    reply,
    representation === 'table' ? customTable(metric, list) : customList(version, metric, list),
  );
}

type CustomPath = Pick<CustomMetricRequest, 'namespace' | 'resource' | 'name' | 'metric'>;

/**
 *   namespaces/<ns>/metrics/<metric>              of the Namespace itself
 *   namespaces/<ns>/<resource>/<name>/<metric>
 *   <resource>/<name>/<metric>                    of what has no namespace
 */
function customPath(path: readonly string[]): CustomPath | null {
  if (path.some((segment) => segment === '')) return null;
  const [first = '', second = '', third = '', fourth = '', fifth = ''] = path;
  if (first === 'namespaces' && path.length === 4 && third === 'metrics') {
    return { namespace: null, resource: 'namespaces', name: second, metric: fourth };
  }
  if (first === 'namespaces' && path.length === 5) {
    return { namespace: second, resource: third, name: fourth, metric: fifth };
  }
  if (first !== 'namespaces' && path.length === 3)
    return { namespace: null, resource: first, name: second, metric: third };
  return null;
}

async function answerResource(
  request: FastifyRequest,
  reply: FastifyReply,
  { resource: metrics }: Surfaces,
  path: readonly string[],
): Promise<FastifyReply> {
  const asked = resourcePath(path);
  if (asked === null) throw resourceNotFound();
  negotiate(request.headers.accept, ['json']);
  refuseWatch(request, GROUPS.resource);
  const body = await metrics.read({ ...asked, labelSelector: queryParameter(request, 'labelSelector') });
  return sendJson(request, reply, body);
}

function resourcePath(path: readonly string[]): Omit<ResourceMetricRequest, 'labelSelector'> | null {
  const isNamespaced = path[0] === 'namespaces';
  const namespace = isNamespaced ? (path[1] ?? '') : null;
  const [kind, name = null, ...more] = isNamespaced ? path.slice(2) : path;
  if (more.length > 0 || namespace === '' || (name !== null && kind === 'pods' && namespace === null)) return null;
  if (kind === 'pods') return { kind, namespace, name };
  return kind === 'nodes' && namespace === null ? { kind, namespace, name } : null;
}

function isWatch(request: FastifyRequest): boolean {
  return ['true', '1'].includes(queryParameter(request, 'watch'));
}

function refuseWatch(request: FastifyRequest, group: string): void {
  if (!isWatch(request)) return;
  throw new StatusError(405, 'MethodNotAllowed', `watch is not supported on resources of kind "*.${group}"`);
}
