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

type IsSelected = (object: KubeObject) => boolean;

const TOKEN = 'the token of the daemon';

export class StandInApiServer {
  readonly accessReviews: AccessSpec[] = [];
  readonly tokenReviews: string[] = [];
  readonly patches: { readonly path: string; readonly body: unknown }[] = [];
  /** Reviews are not answered: the connection is closed. */
  isUnreachable = false;
  readonly #options: StandInOptions;
  readonly #certificate = generateCertificate(['127.0.0.1', 'localhost'], Date.now());
  readonly #server: Server;
  /** By list path (`/api/v1/pods`), then by namespace and name. */
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #watches = new Map<string, Map<ServerResponse, IsSelected>>();
  /** Every change so far, for watches that begin behind it. */
  readonly #events: { readonly list: string; readonly version: number; readonly line: string; object: KubeObject }[] =
    [];
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
    const own = { certPem: null, keyPem: null, token: () => TOKEN };
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

  /** Ends every watch, as the real one does now and then. */
  endWatches(): void {
    for (const responses of this.#watches.values()) {
      for (const response of responses.keys()) response.end();
      responses.clear();
    }
  }

  #tell(list: string, type: string, object: KubeObject): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    this.#events.push({ list, version: this.#version, line, object });
    for (const [response, isSelected] of this.#watches.get(list) ?? []) if (isSelected(object)) response.write(line);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'https://api');
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return send(response, 401, status(401, 'Unauthorized'));
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
      case 'GET /apis':
        return send(response, 200, { kind: 'APIGroupList', apiVersion: 'v1', groups: [] });
      case 'GET /api/v1':
        return send(response, 200, { kind: 'APIResourceList', groupVersion: 'v1', resources: [] });
      default:
    }
    if (request.method === 'PATCH') this.patches.push({ path: url.pathname, body });
    if (url.pathname.includes('/apiservices/')) return this.#apiService(url.pathname, response);
    return this.#list(url, response);
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

  #apiService(path: string, response: ServerResponse): void {
    const name = path.split('/').at(-1)!;
    const found = this.#objects.get('/apis/apiregistration.k8s.io/v1/apiservices')?.get(`/${name}`);
    if (found === undefined) send(response, 404, status(404, 'NotFound'));
    else send(response, 200, found);
  }

  /** Lists of all namespaces or of one, by a label selector, and of one object by a field selector. */
  #list(url: URL, response: ServerResponse): void {
    const scoped = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)\/namespaces\/([^/]+)\/([^/]+)$/.exec(url.pathname);
    const list = scoped === null ? url.pathname : `${scoped[1]}/${scoped[3]}`;
    const field = /^metadata\.name=(.+)$/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
    const requirements = parseRequirements(url.searchParams.get('labelSelector') ?? '');
    const isSelected: IsSelected = ({ metadata: { namespace, labels = {} } }) =>
      (scoped === null || namespace === scoped[2]) && fulfils(labels, requirements);
    if (url.searchParams.get('watch') === 'true') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      const from = Number(url.searchParams.get('resourceVersion'));
      for (const { list: of, version, line, object } of this.#events) {
        if (of === list && version > from && isSelected(object)) response.write(line);
      }
      const watching = this.#watches.get(list) ?? new Map<ServerResponse, IsSelected>();
      this.#watches.set(list, watching.set(response, isSelected));
      response.once('close', () => watching.delete(response));
      return;
    }
    const items = [...(this.#objects.get(list)?.values() ?? [])].filter(
      (object) => isSelected(object) && (field === undefined || object.metadata.name === field),
    );
    send(response, 200, {
      kind: 'List',
      apiVersion: 'v1',
      metadata: { resourceVersion: String(this.#version) },
      items,
    });
  }
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
