/**
 * What all HTTP surfaces share: the fastify instance with safe timeouts, replies to unknown paths and wrong methods,
 * coded errors as replies, a counter of requests, forms, and a signal for clients that go away.
 *
 * A surface registers its routes as a plugin, which may set its own error handler and body parsers; at the root there
 * is no body parser at all.
 */
import { createServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer, type ServerOptions as HttpsServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  LogController,
} from 'fastify';
import type { Logger } from 'pino';
import { CodedError } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import type { Cell, Family, Registry } from '../telemetry/registry.ts';
import { splitHotRoutes } from './hot-route.ts';
import { Bodies, SLOW_BODY } from './pace.ts';
import { RouteTable } from './route-table.ts';

export interface HttpOptions {
  readonly logger: Logger;
  /** Where requests are counted; several instances may share it. */
  readonly registry?: Registry;
  /** Largest request body of routes that set no limit of their own. */
  readonly bodyBytesMax?: number;
  /** Certificate, key and so on; plain HTTP if absent. */
  readonly https?: HttpsServerOptions;
  /** Replies to an unknown path (404), a wrong method (405) or a path that cannot be read (400), where plain text will not do. */
  readonly refuse?: Refuse;
}

export interface Refusal {
  readonly status: 400 | 404 | 405;
  /** What Prometheus would write. */
  readonly text: string;
}

export type Refuse = (request: FastifyRequest, reply: FastifyReply, refusal: Refusal) => unknown;

const TEXT = 'text/plain; charset=utf-8';
/**
 * Schemas of routes describe them; each reads its own requests and writes its own replies. Said here and not later, so that
 * fastify does not load its compilers, which took a fifteenth of a start; the bundle has none (scripts/build.mjs).
 */
export const DESCRIBING_SCHEMAS = {
  compilersFactory: {
    buildValidator: () => () => () => true,
    buildSerializer: () => () => (data: unknown) => JSON.stringify(data),
  },
  // Typed as what makes compilers out of pools of schemas; fastify calls no more of it than this.
} as unknown as NonNullable<FastifyServerOptions['schemaController']>;

const QUERY_PATH = '/api/v1/query';

/**
 * KEDA puts its `serverAddress` before the path as it stands: a slash too many, or the prefix of the server that answered there
 * before, such as `/prometheus` or `/select/0/prometheus`.
 */
function withoutPrefix(url: string): string {
  const path = url.startsWith('//') ? url.replace(/^\/+/, '/') : url;
  const at = path.indexOf(`${QUERY_PATH}?`);
  return at > 0 && path.indexOf('?') === at + QUERY_PATH.length ? path.slice(at) : path;
}

export function buildHttp(options: HttpOptions): FastifyInstance {
  const { logger, registry, bodyBytesMax = LIMITS.formBodyBytesMax, https, refuse = refuseAsText } = options;
  const slow = registry === undefined ? () => {} : slowCounter(registry);
  let bodies: Bodies | null = null;
  const common = {
    loggerInstance: quietly(logger),
    // Nothing is logged for each request, so no request needs a logger of its own.
    childLoggerFactory: (parent: FastifyBaseLogger) => parent,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyBytesMax,
    exposeHeadRoutes: false,
    schemaController: DESCRIBING_SCHEMAS,
    return503OnClosing: false,
    // KEDA and others put a path behind an address that may end in a slash.
    rewriteUrl: ({ url = '/' }) => withoutPrefix(url),
    routerOptions: { caseSensitive: true, maxParamLength: LIMITS.httpPathParameterLengthMax },
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) =>
      refuseMalformed(error, socket, bodies?.isReading(socket) ?? false, slow),
    frameworkErrors: (_error: Error, request: FastifyRequest, reply: FastifyReply) => {
      refuse(request, reply, { status: 400, text: 'Bad Request\n' });
    },
  };
  const requests = registry === undefined ? null : requestCounter(registry);
  const app: FastifyInstance = Fastify({
    ...common,
    serverFactory: (handler) => {
      const server =
        https === undefined ? createServer(SERVER_OPTIONS) : createTlsServer({ ...https, ...SERVER_OPTIONS });
      bodies = new Bodies(server);
      server.on(SLOW_BODY, () => slow('body'));
      splitHotRoutes(server, handler, (url, status, ms) => {
        if (requests !== null) requests.with(url, String(status)).value++;
        if (ms !== undefined && logger.isLevelEnabled('debug'))
          logger.debug({ handler: url, status, ms: Math.round(ms * 1000) / 1000 }, 'request');
      });
      return server;
    },
  });
  app.server.maxConnections = LIMITS.httpConnectionsMax;
  app.removeAllContentTypeParsers();
  refuseUnrouted(app, refuse);
  app.setErrorHandler((error, request, reply) => replyError(error, request, reply));
  observeRequests(app, logger, requests);
  endIdleConnections(app);
  return app;
}

const IDLE_CHECK_MS = 50;

/**
 * While it closes: a reply that began before is not the last one of its connection, as its client reads it, and a client
 * that keeps the connection would hold up the end until that times out.
 */
function endIdleConnections(app: FastifyInstance): void {
  app.addHook('preClose', async () => {
    const timer = setInterval(() => app.server.closeIdleConnections(), IDLE_CHECK_MS);
    app.server.once('close', () => clearInterval(timer));
    // One that never listened has no end to tell of.
    if (!app.server.listening) clearInterval(timer);
  });
}

/** Timeouts and bounds of every HTTP server here, before a request is one. */
export const SERVER_OPTIONS: ServerOptions = {
  requestTimeout: LIMITS.httpRequestTimeoutMs,
  keepAliveTimeout: LIMITS.httpKeepAliveTimeoutMs,
  headersTimeout: LIMITS.httpHeadersTimeoutMs,
  // How often the timeouts of unfinished requests are looked at; Node's own 30 s would make 5 s mean up to 35 s.
  connectionsCheckingInterval: 1000,
  maxHeaderSize: LIMITS.httpHeaderBytesMax,
};

/** What fastify notes by itself, such as a line for each listener, is for those who look for a fault. */
function quietly(logger: Logger): FastifyBaseLogger {
  return Object.create(logger, { info: { value: logger.debug.bind(logger) } }) as FastifyBaseLogger;
}

/** Begins to listen and returns `host:port` as really bound. An empty host means all interfaces. */
export async function listenHttp(
  app: FastifyInstance,
  address: { readonly host: string; readonly port: number },
): Promise<string> {
  await app.listen({ host: bindHost(address.host), port: address.port });
  return boundAddress(app.server);
}

/** The host to bind for an address: all interfaces are `::`, which takes IPv4 too, or `0.0.0.0` where there is no IPv6. */
export function bindHost(host: string): string {
  if (host !== '') return host;
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.some(({ family }) => family === 'IPv6') ? '::' : '0.0.0.0';
}

/** Replies a coded error, or one of fastify's own about a request, as plain text; anything else is a fault of ours. */
export function replyError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, text } = describeError(error);
  if (status >= 500)
    request.log.error({ err: error, method: request.method, path: request.routeOptions.url }, 'request failed');
  return reply.code(status).type(TEXT).send(`${text}\n`);
}

/** Status and text of an error. What is neither coded nor fastify's own refusal of a request keeps its text to itself. */
export function describeError(error: unknown): { readonly status: number; readonly text: string } {
  if (error instanceof CodedError) return { status: error.httpStatus, text: error.message };
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') {
    if (error.statusCode >= 400 && error.statusCode < 500) return { status: error.statusCode, text: error.message };
  }
  return { status: 500, text: 'internal error' };
}

/** What Prometheus answers before its start is complete and while it stops. */
export function replyNotReady(reply: FastifyReply, stopping: boolean): FastifyReply {
  return reply.code(503).header('x-prometheus-stopping', String(stopping)).type(TEXT).send('Service Unavailable');
}

/** Aborted when the client goes away before its reply is complete. */
export function abortedByClient(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

export const FORM = 'application/x-www-form-urlencoded';

/**
 * Lets the routes of a plugin take forms. A body of another type is read and left aside, as Go's servers do: its
 * parameters can only be in the URL.
 */
export function acceptForms(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => done(null, body));
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null, null));
}

/** Parameters of a request: those of a form body first, then those of the URL. */
export function parseForm(request: FastifyRequest): URLSearchParams {
  return formOf(request.raw.url ?? '', typeof request.body === 'string' ? request.body : '');
}

export function formOf(url: string, body: string): URLSearchParams {
  const question = url.indexOf('?');
  const query = question < 0 ? '' : url.slice(question + 1);
  return new URLSearchParams(body === '' || query === '' ? body + query : `${body}&${query}`);
}

function refuseAsText(_request: FastifyRequest, reply: FastifyReply, { status, text }: Refusal): FastifyReply {
  return reply.code(status).type(TEXT).send(text);
}

/**
 * What is not HTTP, or too large or too slow for us, never becomes a request. Whose body came too slowly is told to come
 * again; senders of metrics drop what they are refused with a 408.
 */
function refuseMalformed(
  error: NodeJS.ErrnoException,
  socket: Socket,
  isBody: boolean,
  slow: (stage: 'headers' | 'body') => void,
): void {
  // To whom there is no TLS yet nothing can be said.
  if (error.code === 'ECONNRESET' || error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT' || !socket.writable) {
    socket.destroy();
    return;
  }
  const tooLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW';
  if (tooLate) slow(isBody ? 'body' : 'headers');
  const late = isBody ? '503 Service Unavailable' : '408 Request Timeout';
  const status = tooLate ? late : tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const again = tooLate && isBody ? 'Retry-After: 5\r\n' : '';
  socket.end(
    `HTTP/1.1 ${status}\r\n${again}Content-Type: ${TEXT}\r\nContent-Length: ${status.length}\r\nConnection: close\r\n\r\n${status}`,
  );
  // Whether or not the other side says goodbye.
  socket.destroySoon();
}

const slowCounters = new WeakMap<Registry, Family<Cell>>();

function slowCounter(registry: Registry): (stage: 'headers' | 'body') => void {
  let counter = slowCounters.get(registry);
  if (counter === undefined) {
    counter = registry.counter(
      'tidegauge_slow_clients_total',
      'Requests over HTTP that were given up because they came too slowly: before their headers were there, or their body.',
      'stage',
    );
    slowCounters.set(registry, counter);
  }
  const family = counter;
  return (stage) => {
    family.with(stage).value++;
  };
}

/** 405 with `Allow` where the path is known under another method, else 404. */
function refuseUnrouted(app: FastifyInstance, refuse: Refuse): void {
  const routes = new RouteTable();
  app.addHook('onRoute', ({ url, method }) => {
    // OPTIONS is answered on any path, known or not, so it says nothing about which are known.
    routes.add(
      url,
      [method].flat().filter((one) => one !== 'OPTIONS'),
    );
  });
  app.setNotFoundHandler((request, reply) => {
    const allowed = routes.methodsOf(request.raw.url ?? '');
    if (allowed.length === 0) return refuse(request, reply, { status: 404, text: '404 page not found\n' });
    reply.header('allow', allowed.join(', '));
    return refuse(request, reply, { status: 405, text: 'Method Not Allowed\n' });
  });
}

function observeRequests(app: FastifyInstance, logger: Logger, requests: Family<Cell> | null): void {
  app.addHook('onResponse', async (request, reply) => {
    // The route's pattern, so that no client can make new label values.
    const handler = request.routeOptions.url ?? 'unknown';
    if (requests !== null) requests.with(handler, String(reply.statusCode)).value++;
    if (!logger.isLevelEnabled('debug')) return;
    logger.debug(
      { method: request.method, handler, status: reply.statusCode, ms: Math.round(reply.elapsedTime * 1000) / 1000 },
      'request',
    );
  });
}

const counters = new WeakMap<Registry, Family<Cell>>();

function requestCounter(registry: Registry): Family<Cell> {
  const known = counters.get(registry);
  if (known !== undefined) return known;
  const counter = registry.counter(
    'tidegauge_http_requests_total',
    'HTTP requests by route and status code.',
    'handler',
    'code',
  );
  counters.set(registry, counter);
  return counter;
}

function boundAddress(server: Server): string {
  const { address, port } = server.address() as AddressInfo;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
