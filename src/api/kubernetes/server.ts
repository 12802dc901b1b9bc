/**
 * The port that kube-apiserver's aggregation layer talks to: HTTPS with the documents of discovery, the metrics, and
 * health. Everything but health text is JSON, every error a `Status`. Discovery answers from the first second: while it
 * fails, Kubernetes cannot delete namespaces.
 */
import { constants, X509Certificate } from 'node:crypto';
import type { Server as HttpsServer } from 'node:https';
import { type AddressInfo, isIP, type Socket } from 'node:net';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Cell, Family, Registry } from '../../telemetry/registry.ts';
import type { PortConnections } from '../connections.ts';
import { DESCRIBING_SCHEMAS, SERVER_OPTIONS } from '../http.ts';
import { Bodies } from '../pace.ts';
import { scalerDuration } from '../scaler-durations.ts';
import type { SeriesIndex } from './adapter/catalog.ts';
import { BUILT_IN_KINDS } from './adapter/kinds.ts';
import { parseSeriesQuery } from './adapter/query.ts';
import { GROUPS } from './adapter/rules.ts';
import { ApiServices, registerApiServices, type ServiceName } from './api-services.ts';
import { type ApiServer, ClusterClient } from './cluster/client.ts';
import { FollowedKinds } from './cluster/kinds-of-cluster.ts';
import { WatchedObjects } from './cluster/objects.ts';
import { CustomMetrics } from './custom-metrics.ts';
import { checkExternalMetrics, type ExternalMetric, ExternalMetrics } from './external-metrics.ts';
import { type Gatekeeper, gatekeeper, type IdentityMode } from './identity/gatekeeper.ts';
import { REVIEW_RETRIES, type RetryOptions } from './identity/retry.ts';
import { LateStore, type StoreParts } from './late-store.ts';
import { type AdapterSource, LiveRules } from './live-rules.ts';
import { type CustomMetric, checkCustomMetrics, OwnCustomMetrics } from './own-custom-metrics.ts';
import { pathSegments, queryParameter, sendError } from './reply.ts';
import { ResourceMetrics } from './resource-metrics.ts';
import { registerApis, registerHealth, type Surfaces } from './routes.ts';
import { FileServing, fixedServing, type Material, OwnServing, type Serving } from './serving.ts';
import { resourceNotFound, StatusError, statusBody } from './status.ts';
import { Watches } from './watch.ts';

export interface EarlyOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Bounds on its connections; a number alone, if absent. */
  readonly connections?: PortConnections;
  /** Answer everybody who reaches the port, wherever it listens. */
  readonly allowUnauthenticated: boolean;
  /** How callers are known; left out, nobody is, which is for loopback only. */
  readonly identity?: IdentityMode;
  /** The API server to ask, or null outside of a cluster. */
  readonly apiServer?: ApiServer | null;
  /** Null makes one of our own; a function is read again when it changes. */
  readonly certificate: Material | (() => Material) | null;
  /** Where our own certificates are kept; '' nowhere. */
  readonly certDirectory?: string;
  /** The Service that leads here. */
  readonly service?: ServiceName;
  readonly externalMetrics: readonly ExternalMetric[];
  readonly customMetrics?: readonly CustomMetric[];
  readonly adapter?: AdapterSource | null;
  /** Rules may answer negative values. */
  readonly allowsNegative?: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly reviewRetries?: RetryOptions;
  readonly watchIntervalMs?: number;
}

export type KubernetesOptions = EarlyOptions & StoreParts;

export interface OpenKubernetes {
  /** host:port that is really bound. */
  readonly address: string;
  /** The CA of our own certificate, or null if one was given. */
  readonly caPem: string | null;
  /** Reads again what may have changed: rules and certificates. Done by itself every few seconds. */
  reload(): void;
  close(): Promise<void>;
}

/** One that listens already, and answers what needs no store. */
export interface EarlyKubernetes extends OpenKubernetes {
  /** Throws `bad_config` naming what cannot be served. */
  start(store: StoreParts): void;
}

const BODY_BYTES_MAX = 64 * 1024;
const RELOAD_INTERVAL_MS = 5000;
const DEFAULT_SERVICE: ServiceName = { namespace: 'default', name: 'tidegauge' };
/** Namespaces that daemons like this one are commonly put into. */
const COMMON_NAMESPACES = ['default', 'keda', 'kube-system', 'monitoring'];

/** Listens; rejects with `bad_config` if the options cannot be used, or with the reason why the address cannot be bound. */
export async function openKubernetes(options: KubernetesOptions): Promise<OpenKubernetes> {
  checkListen(options);
  checkMetrics(options, options.engine);
  const early = await openKubernetesEarly(options);
  early.start(options);
  return early;
}

/** The same before there is a store: discovery and health answer, and 503 is what is said of values. */
export async function openKubernetesEarly(options: EarlyOptions): Promise<EarlyKubernetes> {
  checkListen(options);
  const { clock, logger, registry, apiServer = null, customMetrics = [] } = options;
  const store = new LateStore();
  const { readings } = store;
  const { identity = { kind: 'none' }, reviewRetries = REVIEW_RETRIES } = options;
  const live = liveRules(options, store.index);
  const serving = servingOf(options);
  const client = apiServer === null ? null : new ClusterClient(apiServer);
  const objects = client === null ? null : new WatchedObjects(client, logger);
  const gate = await gatekeeper({ mode: identity, client, clock, logger, registry, retries: reviewRetries });
  const kinds = client === null ? null : followedKinds(client, live, customMetrics, logger);
  const { externalMetrics, allowsNegative = false } = options;
  const surfaces: Surfaces = {
    external: new ExternalMetrics({ metrics: externalMetrics, live, readings, allowsNegative }),
    custom: new CustomMetrics({ live, readings, objects, own: new OwnCustomMetrics(customMetrics, readings) }),
    resource: new ResourceMetrics({ live, readings, objects }),
    live,
    servesExternal: externalMetrics.length > 0 || (live.rules.groups.length === 0 && customMetrics.length === 0),
    servesCustom: customMetrics.length > 0,
    isStarted: () => store.isThere,
    watches: new Watches(options.watchIntervalMs ?? LIMITS.metricWatchIntervalMs),
  };
  registerGauges(registry, surfaces, objects);
  const app = buildApp(options, serving.material, surfaces, gate, () => store.isReady());
  const apiServices = client === null ? null : watchedApiServices(client, options, serving, live);
  registerApiServices(registry, apiServices);
  const reload = (): void => {
    live.reload();
    if (!serving.refresh()) return;
    const { certPem: cert, keyPem: key } = serving.material;
    (app.server as unknown as HttpsServer).setSecureContext({ ...TLS_OPTIONS, cert, key });
    void apiServices?.look();
  };
  const timer = setInterval(reload, RELOAD_INTERVAL_MS);
  timer.unref();
  const close = async (): Promise<void> => {
    clearInterval(timer);
    apiServices?.stop();
    kinds?.stop();
    gate.close();
    objects?.stop();
    await app.close();
    client?.close();
  };
  options.connections?.bound(app.server);
  try {
    await app.listen({ host: options.listen.host, port: options.listen.port });
  } catch (error) {
    await close();
    throw error;
  }
  apiServices?.start();
  return {
    address: boundAddress(app),
    caPem: serving.caPem,
    reload,
    start(parts) {
      checkMetrics(options, parts.engine);
      store.take(parts);
    },
    close,
  };
}

function checkMetrics(
  { externalMetrics, customMetrics = [], apiServer = null }: EarlyOptions,
  engine: StoreParts['engine'],
): void {
  checkExternalMetrics(externalMetrics, engine);
  checkCustomMetrics(customMetrics, engine, apiServer === null ? BUILT_IN_KINDS : null);
}

function followedKinds(
  client: ClusterClient,
  live: LiveRules,
  own: readonly CustomMetric[],
  logger: Logger,
): FollowedKinds {
  return new FollowedKinds({
    client,
    logger,
    isMissing: () =>
      live.rules.bad.length > 0 || own.some(({ resource }) => live.kinds.byQualifiedName(resource) === null),
    onKinds: (kinds) => live.learn(BUILT_IN_KINDS.with(kinds)),
  });
}

function watchedApiServices(
  client: ClusterClient,
  { service = DEFAULT_SERVICE, externalMetrics, customMetrics = [], logger }: EarlyOptions,
  serving: Serving,
  live: LiveRules,
): ApiServices {
  const own: string[] = [];
  if (externalMetrics.length > 0) own.push(GROUPS.external);
  if (customMetrics.length > 0) own.push(GROUPS.custom);
  const isWanted = (group: string): boolean => own.includes(group) || live.rules.groups.includes(group);
  return new ApiServices({ client, service, caPem: () => serving.caPem, isWanted, logger });
}

function liveRules({ adapter = null, clock, logger, registry }: EarlyOptions, index: SeriesIndex): LiveRules {
  return new LiveRules({
    source: adapter,
    kinds: BUILT_IN_KINDS,
    index,
    parseSelector: parseSeriesQuery,
    clock,
    logger,
    registry,
  });
}

function servingOf({ certificate, certDirectory = '', listen, service, clock, logger }: EarlyOptions): Serving {
  if (typeof certificate === 'function') return new FileServing(certificate, logger);
  if (certificate !== null) return fixedServing(certificate);
  const names = certificateNames(listen.host, service ?? DEFAULT_SERVICE);
  return new OwnServing({ names, directory: certDirectory, clock, logger });
}

function registerGauges(registry: Registry, { watches }: Surfaces, objects: WatchedObjects | null): void {
  registry.computed('gauge', 'tidegauge_kubernetes_watches', 'Open watches of metrics.', () => watches.count);
  registry.computed(
    'gauge',
    'tidegauge_kubernetes_objects',
    'Objects of the cluster whose names and labels are known.',
    () => objects?.count ?? 0,
  );
}

function checkListen({ listen, allowUnauthenticated, identity }: EarlyOptions): void {
  if (allowUnauthenticated || isLoopback(listen.host)) return;
  if (identity !== undefined && identity.kind !== 'none') return;
  throw new CodedError(
    'bad_config',
    `cannot listen on ${listen.host} for Kubernetes: nothing authenticates callers, want --kubernetes.auth, a loopback ` +
      'address or the flag --kubernetes.insecure-allow-unauthenticated',
  );
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** kube-apiserver asks for `<service>.<namespace>.svc`. */
function certificateNames(host: string, { name, namespace }: ServiceName): string[] {
  const services = [...new Set([namespace, ...COMMON_NAMESPACES])].map((one) => `${name}.${one}.svc`);
  const own = isIP(host) === 0 ? host.toLowerCase() : host;
  return [...new Set(['localhost', '127.0.0.1', '::1', name, ...services, own])].filter((one) => one !== '');
}

const TLS_OPTIONS = {
  minVersion: 'TLSv1.2',
  // A resumed session would not show the client's certificate to us again.
  secureOptions: constants.SSL_OP_NO_TICKET,
  handshakeTimeout: LIMITS.httpHeadersTimeoutMs,
} as const;

function buildApp(
  options: EarlyOptions,
  { certPem: cert, keyPem: key }: Material,
  surfaces: Surfaces,
  gate: Gatekeeper,
  isReady: () => boolean,
): FastifyInstance {
  const { logger } = options;
  const app: FastifyInstance = Fastify({
    // Who a client's certificate is from is decided by the gatekeeper, not by TLS.
    https: { ...TLS_OPTIONS, cert, key, requestCert: true, rejectUnauthorized: false, ...SERVER_OPTIONS },
    routerOptions: { maxParamLength: LIMITS.httpPathParameterLengthMax },
    bodyLimit: BODY_BYTES_MAX,
    schemaController: DESCRIBING_SCHEMAS,
    keepAliveTimeout: LIMITS.httpKeepAliveTimeoutMs,
    requestTimeout: LIMITS.httpRequestTimeoutMs,
    forceCloseConnections: 'idle',
    frameworkErrors: (error, request, reply) => sendError(request, reply, error, logger),
    clientErrorHandler: refuseGarbage,
  }) as unknown as FastifyInstance;
  app.server.maxConnections = LIMITS.httpConnectionsMax;
  new Bodies(app.server);
  countRequests(app, options.registry);
  measureRequests(app, options.registry);
  app.addHook('onRequest', (request) => admit(request, gate));
  app.addHook('preClose', async () => surfaces.watches.closeAll());
  app.setErrorHandler((error, request, reply) => sendError(request, reply, error, logger));
  app.setNotFoundHandler((request: FastifyRequest, reply: FastifyReply) =>
    sendError(request, reply, resourceNotFound(), logger),
  );
  registerHealth(app, isReady);
  registerApis(app, surfaces);
  return app;
}

async function admit(request: FastifyRequest, gate: Gatekeeper): Promise<void> {
  const segments = pathSegments(request);
  if (segments === null) throw new StatusError(400, 'BadRequest', 'the path cannot be decoded');
  await gate.admit({
    chain: peerChain(request.raw.socket as TLSSocket),
    headers: request.raw.headersDistinct,
    method: request.method,
    segments,
    isWatch: isWatch(request),
    labelSelector: queryParameter(request, 'labelSelector'),
  });
}

function isWatch(request: FastifyRequest): boolean {
  return ['true', '1'].includes(queryParameter(request, 'watch'));
}

const chains = new WeakMap<TLSSocket, readonly X509Certificate[]>();
const CHAIN_LENGTH_MAX = 8;

/** The client's certificate and what it sent with it. */
function peerChain(socket: TLSSocket): readonly X509Certificate[] {
  const known = chains.get(socket);
  if (known !== undefined) return known;
  const chain: X509Certificate[] = [];
  let peer: Partial<DetailedPeerCertificate> | undefined = socket.getPeerCertificate(true);
  while (peer?.raw !== undefined && chain.length < CHAIN_LENGTH_MAX) {
    chain.push(new X509Certificate(peer.raw));
    if (peer.issuerCertificate === peer) break;
    peer = peer.issuerCertificate;
  }
  chains.set(socket, chain);
  return chain;
}

function boundAddress(app: FastifyInstance): string {
  const { address, family, port } = app.server.address() as AddressInfo;
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Bytes that are no HTTP get a `Status` too, and the connection ends. */
function refuseGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
  // To whom there is no TLS yet nothing can be said.
  if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT' || !socket.writable) {
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
  // Whether or not the other side says goodbye.
  socket.destroySoon();
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

/** Requests for values, by group; discovery is asked by others than autoscalers, and a watch takes as long as it is watched. */
function measureRequests(app: FastifyInstance, registry: Registry): void {
  const durations = Object.values(GROUPS).map((group) => ({
    path: `/apis/${group}/`,
    duration: scalerDuration(registry, 'kubernetes', group),
  }));
  app.addHook('onResponse', async (request, reply) => {
    const { url } = request;
    for (const { path, duration } of durations) {
      // Behind the group comes its version, and what has nothing behind that lists what there is.
      if (!url.startsWith(path) || !url.includes('/', path.length)) continue;
      if (!isWatch(request)) duration.observe(reply.elapsedTime / 1000);
    }
  });
}
