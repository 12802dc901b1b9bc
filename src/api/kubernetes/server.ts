/**
 * The port that kube-apiserver's aggregation layer talks to: HTTPS with the documents of discovery, the external
 * metrics, and health. Everything but health text is JSON, every error a `Status`. Discovery answers from the first
 * second: while it fails, Kubernetes cannot delete namespaces.
 */
import { type AddressInfo, isIP } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import type { Readings } from '../../scaling/reading.ts';
import type { Cell, Family, Registry } from '../../telemetry/registry.ts';
import { SERVER_OPTIONS } from '../http.ts';
import { generateCertificate } from './certificate.ts';
import { type Discovery, describeMetrics, GROUP, VERSION } from './discovery.ts';
import {
  checkExternalMetrics,
  type ExternalMetric,
  ExternalMetrics,
  toTable,
  toValueList,
} from './external-metrics.ts';
import { AGGREGATED_TYPE, negotiate } from './negotiation.ts';
import { methodNotAllowed, resourceNotFound, StatusError, statusBody, toStatusError } from './status.ts';

export interface KubernetesOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Nothing authenticates callers yet, so beyond loopback this must be said. */
  readonly allowUnauthenticated: boolean;
  /** Null generates one. */
  readonly certificate: { readonly certPem: string; readonly keyPem: string } | null;
  readonly externalMetrics: readonly ExternalMetric[];
  readonly readings: Pick<Readings, 'read'>;
  readonly engine: Pick<QueryEngine, 'selectors'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
  /** False until every surface listens, and again while stopping. */
  readonly isReady: () => boolean;
}

export interface OpenKubernetes {
  /** host:port that is really bound. */
  readonly address: string;
  /** The CA of the generated certificate, or null if one was given. */
  readonly caPem: string | null;
  close(): Promise<void>;
}

const BODY_BYTES_MAX = 64 * 1024;
/** Names of the generated certificate; kube-apiserver asks for `<service>.<namespace>.svc`. */
const CERTIFICATE_NAMES = [
  'localhost',
  '127.0.0.1',
  '::1',
  'tidegauge',
  ...['tidegauge', 'default', 'keda', 'kube-system', 'monitoring'].map((namespace) => `tidegauge.${namespace}.svc`),
];

/** Listens; rejects with `bad_config` if the options cannot be used, or with the reason why the address cannot be bound. */
export async function openKubernetes(options: KubernetesOptions): Promise<OpenKubernetes> {
  const { listen, certificate } = options;
  checkListen(options);
  checkExternalMetrics(options.externalMetrics, options.engine);
  const generated =
    certificate === null ? generateCertificate(certificateNames(listen.host), options.clock.nowMs()) : null;
  const app = buildApp(options, certificate ?? generated!);
  await app.listen({ host: listen.host, port: listen.port });
  const bound = app.server.address() as AddressInfo;
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return { address: `${host}:${bound.port}`, caPem: generated?.caPem ?? null, close: () => app.close() };
}

function checkListen({ listen, allowUnauthenticated }: KubernetesOptions): void {
  if (allowUnauthenticated || isLoopback(listen.host)) return;
  throw new CodedError(
    'bad_config',
    `cannot listen on ${listen.host} for Kubernetes: callers are not authenticated yet, want a loopback address or ` +
      'the flag --kubernetes.insecure-allow-unauthenticated',
  );
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function certificateNames(host: string): string[] {
  return [...new Set([...CERTIFICATE_NAMES, ...(isIP(host) === 0 ? [host.toLowerCase()] : [host])])];
}

function buildApp(
  options: KubernetesOptions,
  certificate: { readonly certPem: string; readonly keyPem: string },
): FastifyInstance {
  const app: FastifyInstance = Fastify({
    https: { cert: certificate.certPem, key: certificate.keyPem, minVersion: 'TLSv1.2', ...SERVER_OPTIONS },
    routerOptions: { maxParamLength: LIMITS.httpPathParameterLengthMax },
    bodyLimit: BODY_BYTES_MAX,
    keepAliveTimeout: LIMITS.httpKeepAliveTimeoutMs,
    requestTimeout: LIMITS.httpRequestTimeoutMs,
    forceCloseConnections: 'idle',
    frameworkErrors: (error, request, reply) => sendError(request, reply, error, options.logger),
    clientErrorHandler: refuseGarbage,
  }) as unknown as FastifyInstance;
  app.server.maxConnections = LIMITS.httpConnectionsMax;
  countRequests(app, options.registry);
  app.setErrorHandler((error, request, reply) => sendError(request, reply, error, options.logger));
  app.setNotFoundHandler((request, reply) => sendError(request, reply, resourceNotFound(), options.logger));
  registerHealth(app, options.isReady);
  registerDiscovery(app, describeMetrics(options.externalMetrics.map(({ name }) => name)));
  registerExternalMetrics(app, new ExternalMetrics(options.externalMetrics, options.readings));
  return app;
}

/** A GET route; every other method on its path is refused before a body is read. */
function get(
  app: FastifyInstance,
  url: string,
  handler: (request: FastifyRequest, reply: FastifyReply) => unknown,
): void {
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed();
  };
  app.route({ method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'], url, onRequest, handler });
}

function registerHealth(app: FastifyInstance, isReady: () => boolean): void {
  for (const url of ['/healthz', '/livez']) get(app, url, (_, reply) => reply.type('text/plain').send('ok'));
  get(app, '/readyz', (_, reply) => {
    const ready = isReady();
    return reply
      .code(ready ? 200 : 503)
      .type('text/plain')
      .send(ready ? 'ok' : 'not ready');
  });
}

function registerDiscovery(app: FastifyInstance, discovery: Discovery): void {
  get(app, '/apis', (request, reply) => {
    const representation = negotiate(request.headers.accept, ['json', 'aggregated']);
    reply.header('Vary', 'Accept');
    return representation === 'json'
      ? sendJson(request, reply, discovery.groups)
      : sendAggregated(request, reply, discovery);
  });
  get(app, `/apis/${GROUP}`, (request, reply) => sendPlain(request, reply, discovery.group));
  // Never 304 here: the aggregator falls back to this path with the ETag of the aggregated document.
  get(app, `/apis/${GROUP}/${VERSION}`, (request, reply) => sendPlain(request, reply, discovery.resources));
  get(app, '/version', (request, reply) =>
    sendPlain(request, reply, { major: '1', minor: '0', gitVersion: 'v1.0.0-tidegauge' }),
  );
  // No schemas to publish; the OpenAPI aggregator takes this and a 404 of /openapi/v2 for an answer.
  get(app, '/openapi/v3', (request, reply) => sendPlain(request, reply, { paths: {} }));
}

function registerExternalMetrics(app: FastifyInstance, metrics: ExternalMetrics): void {
  get(app, `/apis/${GROUP}/${VERSION}/namespaces/:namespace/:metric`, async (request, reply) => {
    const { namespace = '', metric = '' } = request.params as Readonly<Record<string, string>>;
    const representation = negotiate(request.headers.accept, ['json', 'table']);
    refuseWatch(request);
    const reading = await metrics.read({ namespace, metric, labelSelector: queryParameter(request, 'labelSelector') });
    const body = representation === 'table' ? toTable(metric, namespace, reading) : toValueList(metric, reading);
    return sendJson(request, reply, body);
  });
}

function refuseWatch(request: FastifyRequest): void {
  const watch = queryParameter(request, 'watch');
  if (watch !== 'true' && watch !== '1') return;
  throw new StatusError(405, 'MethodNotAllowed', `watch is not supported on resources of kind "*.${GROUP}"`);
}

/** The first of repeated parameters, '' if there is none. A URL that cannot be read has no parameters at all. */
function queryParameter(request: FastifyRequest, name: string): string {
  const parameters = request.query as Readonly<Record<string, string | readonly string[] | undefined>> | null;
  const value = parameters?.[name];
  return (typeof value === 'string' ? value : value?.[0]) ?? '';
}

function sendPlain(request: FastifyRequest, reply: FastifyReply, body: object): FastifyReply {
  negotiate(request.headers.accept, ['json']);
  return sendJson(request, reply, body);
}

function sendAggregated(request: FastifyRequest, reply: FastifyReply, { aggregated }: Discovery): FastifyReply {
  reply.header('ETag', aggregated.etag).header('Cache-Control', 'public');
  if (request.headers['if-none-match'] === aggregated.etag) return reply.code(304).send();
  return reply.header('Content-Type', AGGREGATED_TYPE).send(aggregated.bytes);
}

/** People read with curl; programs get it dense. */
function sendJson(request: FastifyRequest, reply: FastifyReply, body: object): FastifyReply {
  const pretty =
    /^(?:curl|Wget|Mozilla\/5\.0)/.test(request.headers['user-agent'] ?? '') ||
    queryParameter(request, 'pretty') === 'true';
  const text = pretty ? `${JSON.stringify(body, null, 2)}\n` : JSON.stringify(body);
  return reply.header('Content-Type', 'application/json').send(text);
}

function sendError(request: FastifyRequest, reply: FastifyReply, error: unknown, logger: Logger): FastifyReply {
  const status = toStatusError(error);
  if (status.httpStatus === 500 && !(error instanceof StatusError))
    logger.error({ err: error, url: request.url }, 'a request failed');
  reply.code(status.httpStatus).header('X-Content-Type-Options', 'nosniff');
  return sendJson(request, reply, statusBody(status));
}

/** Bytes that are no HTTP get a `Status` too, and the connection ends. */
function refuseGarbage(
  _: Error,
  socket: { readonly writable: boolean; end(text: string): void; destroy(): void },
): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(statusBody(new StatusError(400, 'BadRequest', 'the request is no valid HTTP')));
  const head = [
    'HTTP/1.1 400 Bad Request',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function countRequests(app: FastifyInstance, registry: Registry): void {
  const requests: Family<Cell> = registry.counter(
    'tidegauge_kubernetes_requests_total',
    'Requests to the Kubernetes metrics APIs, by status code.',
    'code',
  );
  app.addHook('onResponse', async (_, reply) => {
    requests.with(String(reply.statusCode)).value++;
  });
}
