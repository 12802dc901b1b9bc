/**
 * A stand-in for kube-apiserver: answers over TLS in the shapes of the real one what a metrics server asks of it, and
 * keeps account of the reviews. Its objects can be changed, which watches then tell.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { generateCertificate } from '../../src/api/kubernetes/certificate.ts';
import type { ApiServer } from '../../src/api/kubernetes/cluster/client.ts';
import type { KubeObject } from '../../src/api/kubernetes/cluster/reflector.ts';
import { fulfils, parseRequirements } from '../../src/api/kubernetes/label-selector.ts';
import { type HttpsClient, httpsClient } from './https-client.ts';

/** Spec of a SubjectAccessReview. */
export interface AccessSpec {
  readonly user: string;
  readonly groups?: readonly string[];
  readonly resourceAttributes?: Readonly<Record<string, unknown>>;
  readonly nonResourceAttributes?: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

export interface StandInOptions {
  /** Status of a review of access. */
  allows(spec: AccessSpec): { readonly allowed: boolean; readonly reason?: string };
  /** Status of a review of a token. */
  token(token: string): object;
}

/** Whoever has it is believed to be the daemon, or its user. */
export const STAND_IN_TOKEN = 'the-token-of-the-daemon';

/** A kind of objects, as discovery tells of it. */
export interface KnownKind {
  /** `v1` or `apps/v1`. */
  readonly groupVersion: string;
  readonly kind: string;
  /** Plural, in lower case. */
  readonly name: string;
  readonly namespaced: boolean;
}

interface ApiServicePatch {
  readonly metadata?: { readonly resourceVersion?: string };
  readonly spec: object;
}

const API_SERVICES = '/apis/apiregistration.k8s.io/v1/apiservices';

/** What a watch or a list is of: objects, and in which phase those have to be. */
interface Asked {
  readonly isSelected: (object: KubeObject) => boolean;
  readonly phase: string | null;
}

export class StandInApiServer {
  readonly accessReviews: AccessSpec[] = [];
  readonly tokenReviews: string[] = [];
  readonly patches: { readonly path: string; readonly body: unknown }[] = [];
  /** Reviews are not answered: the connection is closed. */
  isUnreachable = false;
  /** Lists and APIServices may not be read. */
  isForbidden = false;
  /** What happens just before a patch. */
  onPatch: () => void = () => {};
  readonly #options: StandInOptions;
  readonly #certificate = generateCertificate(['127.0.0.1', 'localhost'], Date.now());
  readonly #server: Server;
  /** By list path (`/api/v1/pods`), then by namespace and name. */
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #watches = new Map<string, Map<ServerResponse, Asked>>();
  /** Every change so far, for watches that begin behind it. */
  readonly #events: {
    readonly list: string;
    readonly version: number;
    readonly type: string;
    readonly object: KubeObject;
  }[] = [];
  /** Groups that another server answers for, by name. */
  readonly #aggregated = new Map<string, { readonly version: string; readonly send: HttpsClient }>();
  readonly #kinds: KnownKind[] = [];
  #version = 100;

  constructor(options: StandInOptions) {
    this.#options = options;
    const { certPem: cert, keyPem: key } = this.#certificate;
    this.#server = createServer({ cert, key }, (request, response) => void this.#answer(request, response));
  }

  async open(): Promise<ApiServer> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this.access();
  }

  /** How to reach it, once it is open. */
  access(): ApiServer {
    const { port } = this.#server.address() as AddressInfo;
    const own = { certPem: null, keyPem: null, token: () => STAND_IN_TOKEN };
    return { url: `https://127.0.0.1:${port}`, caPem: this.#certificate.caPem, ...own };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Writes an object of a list, and tells who watches. */
  put(list: string, object: KubeObject): void {
    const all = this.#objects.get(list) ?? new Map<string, KubeObject>();
    this.#objects.set(list, all);
    const { namespace = '', name } = object.metadata;
    const key = `${namespace}/${name}`;
    const type = all.has(key) ? 'MODIFIED' : 'ADDED';
    all.set(key, { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } });
    this.#tell(list, type, all.get(key)!);
  }

  remove(list: string, namespace: string, name: string): void {
    const all = this.#objects.get(list);
    const object = all?.get(`${namespace}/${name}`);
    if (object === undefined) return;
    all!.delete(`${namespace}/${name}`);
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) };
    this.#tell(list, 'DELETED', { ...object, metadata });
  }

  /** Tells of these kinds to whoever discovers what there is. */
  describe(kinds: readonly KnownKind[]): void {
    this.#kinds.push(...kinds);
  }

  /** Hands on what is asked of a group to the server behind it, as an APIService makes the real one do. */
  aggregate(group: string, version: string, address: string, caPem: string): void {
    this.#aggregated.set(group, { version, send: httpsClient(address, caPem) });
  }

  /** Ends every watch, as the real one does now and then. */
  endWatches(): void {
    for (const responses of this.#watches.values()) {
      for (const response of responses.keys()) response.end();
      responses.clear();
    }
  }

  #tell(list: string, type: string, object: KubeObject): void {
    this.#events.push({ list, version: this.#version, type, object });
    for (const [response, asked] of this.#watches.get(list) ?? []) writeEvent(response, type, object, asked);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'https://api');
    if (request.headers.authorization !== `Bearer ${STAND_IN_TOKEN}`)
      return send(response, 401, status(401, 'Unauthorized'));
    const body = await bodyOf(request);
    if (request.method === 'POST' && this.isUnreachable) {
      request.socket.destroy();
      return;
    }
    switch (`${request.method} ${url.pathname}`) {
      case 'POST /apis/authorization.k8s.io/v1/subjectaccessreviews':
        return this.#reviewAccess(body as { readonly spec: AccessSpec }, response);
      case 'POST /apis/authentication.k8s.io/v1/tokenreviews':
        return this.#reviewToken(body as { readonly spec: { readonly token: string } }, response);
      case 'GET /version':
        return send(response, 200, { major: '1', minor: '34', gitVersion: 'v1.34.0', platform: 'linux/amd64' });
      case 'GET /api':
        return send(response, 200, { kind: 'APIVersions', versions: ['v1'] });
      case 'GET /apis':
        return send(response, 200, { kind: 'APIGroupList', apiVersion: 'v1', groups: this.#groups() });
      case 'GET /api/v1':
        return send(response, 200, this.#resources('v1'));
      default:
    }
    const behind = this.#aggregated.get(url.pathname.split('/')[2] ?? '');
    if (behind !== undefined) {
      const answer = await behind.send({ path: request.url!, headers: { accept: request.headers.accept ?? '*/*' } });
      response.writeHead(answer.status, { 'content-type': answer.headers['content-type'] });
      response.end(answer.text);
      return;
    }
    const described = /^\/apis\/([^/]+\/[^/]+)$/.exec(url.pathname)?.[1];
    if (this.#kinds.some(({ groupVersion }) => groupVersion === described))
      return send(response, 200, this.#resources(described!));
    if (request.method === 'PATCH') this.patches.push({ path: url.pathname, body });
    if (url.pathname.includes('/apiservices/'))
      return this.#apiService(url.pathname, body as ApiServicePatch | null, response);
    if (this.#isOneOfKnown(url.pathname)) return send(response, 404, status(404, 'NotFound'));
    return this.#list(url, response);
  }

  /** One object of a kind that was described; there are none of those by name, but APIServices. */
  #isOneOfKnown(path: string): boolean {
    return this.#kinds.some(({ name }) => path.split('/').at(-2) === name);
  }

  #resources(groupVersion: string): object {
    const resources = this.#kinds
      .filter((one) => one.groupVersion === groupVersion)
      .map(({ name, kind, namespaced }) => ({ name, singularName: '', namespaced, kind, verbs: ['get', 'list'] }));
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources };
  }

  #groups(): object[] {
    const described = this.#kinds
      .map(({ groupVersion }) => groupVersion.split('/') as [string, string | undefined])
      .filter(([, version]) => version !== undefined);
    const versions = new Map<string, string>([
      ...(described as [string, string][]),
      ...[...this.#aggregated].map(([name, { version }]) => [name, version] as const),
    ]);
    return [...versions].map(([name, version]) => {
      const described = { groupVersion: `${name}/${version}`, version };
      return { name, versions: [described], preferredVersion: described };
    });
  }

  #reviewAccess({ spec }: { readonly spec: AccessSpec }, response: ServerResponse): void {
    this.accessReviews.push(spec);
    const kind = { kind: 'SubjectAccessReview', apiVersion: 'authorization.k8s.io/v1', metadata: {} };
    send(response, 201, { ...kind, spec, status: this.#options.allows(spec) });
  }

  #reviewToken({ spec }: { readonly spec: { readonly token: string } }, response: ServerResponse): void {
    this.tokenReviews.push(spec.token);
    const kind = { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1', metadata: {} };
    send(response, 201, { ...kind, spec, status: this.#options.token(spec.token) });
  }

  /** One that is asked for, or changed by a merge patch of the version that it has. */
  #apiService(path: string, patch: ApiServicePatch | null, response: ServerResponse): void {
    const name = path.split('/').at(-1)!;
    if (patch !== null) this.onPatch();
    const found = this.#objects.get(API_SERVICES)?.get(`/${name}`);
    const version = patch?.metadata?.resourceVersion ?? found?.metadata.resourceVersion;
    if (this.isForbidden) send(response, 403, status(403, 'Forbidden'));
    else if (found === undefined) send(response, 404, status(404, 'NotFound'));
    else if (version !== found.metadata.resourceVersion) send(response, 409, status(409, 'Conflict'));
    else {
      if (patch !== null) this.put(API_SERVICES, { ...found, spec: { ...(found.spec as object), ...patch.spec } });
      send(response, 200, this.#objects.get(API_SERVICES)!.get(`/${name}`)!);
    }
  }

  /** Lists of all namespaces or of one, by a label selector, of one object by a field selector, and of pods in a phase. */
  #list(url: URL, response: ServerResponse): void {
    const scoped = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)\/namespaces\/([^/]+)\/([^/]+)$/.exec(url.pathname);
    const list = scoped === null ? url.pathname : `${scoped[1]}/${scoped[3]}`;
    const field = /^metadata\.name=(.+)$/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
    if (this.isForbidden) {
      send(response, 403, status(403, 'Forbidden'));
      return;
    }
    const requirements = parseRequirements(url.searchParams.get('labelSelector') ?? '');
    const isSelected: Asked['isSelected'] = ({ metadata: { namespace, labels = {} } }) =>
      (scoped === null || namespace === scoped[2]) && fulfils(labels, requirements);
    if (url.searchParams.get('watch') === 'true') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      const from = Number(url.searchParams.get('resourceVersion'));
      const asked = { isSelected, phase: phaseAskedFor(url) };
      for (const { list: of, version, type, object } of this.#events) {
        if (of === list && version > from) writeEvent(response, type, object, asked);
      }
      const watching = this.#watches.get(list) ?? new Map<ServerResponse, Asked>();
      this.#watches.set(list, watching.set(response, asked));
      response.once('close', () => watching.delete(response));
      return;
    }
    const phase = phaseAskedFor(url);
    const items = [...(this.#objects.get(list)?.values() ?? [])].filter(
      (object) =>
        isSelected(object) &&
        (field === undefined || object.metadata.name === field) &&
        (phase === null || phaseOf(object) === phase),
    );
    send(response, 200, {
      kind: listKind(list),
      apiVersion: 'v1',
      metadata: { resourceVersion: String(this.#version) },
      items,
    });
  }
}

/** `NodeList` of `/api/v1/nodes`: a typed client decodes no other. */
function listKind(list: string): string {
  const plural = list.split('/').at(-1)!;
  return `${plural[0]!.toUpperCase()}${plural.slice(1, -1)}List`;
}

function phaseAskedFor(url: URL): string | null {
  return /^status\.phase=(\w+)$/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1] ?? null;
}

/** What leaves the phase that is watched counts as deleted. */
function writeEvent(response: ServerResponse, type: string, object: KubeObject, { isSelected, phase }: Asked): void {
  if (!isSelected(object)) return;
  const told = phase === null || phaseOf(object) === phase ? type : 'DELETED';
  response.write(`${JSON.stringify({ type: told, object })}\n`);
}

function phaseOf(object: KubeObject): string {
  return (object.status as { readonly phase?: string } | undefined)?.phase ?? 'Running';
}

function status(code: number, reason: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: reason, reason, code };
}

function send(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? null : (JSON.parse(text) as unknown);
}
