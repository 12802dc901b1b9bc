/**
 * Routes whose requests come thousands of times a second with large bodies, served straight from Node's HTTP server: a
 * framework between the socket and such a body doubles what HTTP costs (measured with 2,000 samples a request: 0.14 µs of
 * CPU a sample with it, 0.07 without). What comes as every sender writes it does not even pass through that
 * (hot-connection.ts).
 *
 * A hot route is a route of the fastify instance as well, so that wrong methods, the list of routes and injected
 * requests know it; these ways end in `serve`.
 *
 * A short cut stands beside a route of the framework: it takes what it can answer in full and leaves the rest, and the
 * same request gets the same reply either way. It is for small questions that are asked often.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { Server as TlsServer } from 'node:tls';
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify';
import { CodedError } from '../model/errors.ts';
import { type Answered, HotConnections } from './hot-connection.ts';
import { TURN_BUDGET } from './turn.ts';

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Plain text; none if absent. */
  readonly text?: string;
}

/** The headers that a hot route may ask for. */
export interface HotHeaders {
  authorization?: string | undefined;
  'content-type'?: string | undefined;
  'content-encoding'?: string | undefined;
  'content-length'?: string | undefined;
  'user-agent'?: string | undefined;
}

export interface HotRequest {
  readonly headers: HotHeaders;
  readonly socket: Socket;
}

export interface HotRoute {
  readonly url: string;
  readonly schema: FastifySchema;
  readonly bodyBytesMax: number;
  /**
   * Looks at a request before its body is read, and throws if it is not to be read. What it gives to `whenOver` is called
   * when the request was answered, or its connection is gone.
   */
  check(request: HotRequest, whenOver: (release: () => void) => void): void;
  /**
   * The reply to a whole body; catches what goes wrong with it. A promise only if something must be waited for. The body's
   * bytes are used for the next one as soon as this returns, whatever is waited for.
   */
  answer(body: Uint8Array, request: HotRequest): Answer | Promise<Answer>;
  /** The reply to a request whose body was not read, or not to its end. */
  refuse(error: unknown, request: HotRequest): Answer;
}

export interface ShortCut {
  readonly url: string;
  /** Takes a request and returns true, or leaves it untouched. Whoever takes it calls `answered` once. */
  take(request: IncomingMessage, response: ServerResponse, answered: Answered): boolean;
  /** The same for a GET that was read without Node's server: the reply, which never fails, or null to leave it to that. */
  ask(question: Question): Promise<Reply> | null;
}

/** A GET without a body. */
export interface Question {
  /** Path and query. */
  readonly target: string;
  readonly headers: QuestionHeaders;
  readonly socket: Socket;
  /** True once nobody waits for the reply. */
  readonly aborted: boolean;
}

/** The headers that a short cut may ask for. */
export interface QuestionHeaders {
  authorization?: string | undefined;
  'accept-encoding'?: string | undefined;
}

export interface Reply {
  readonly status: number;
  /** With the length of a body that is no stream. */
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body: string | Buffer | Readable;
  /** The connection ends with it. */
  readonly isLast?: boolean;
}

interface HotRoutes {
  readonly routes: Map<string, HotRoute>;
  readonly shortCuts: Map<string, ShortCut>;
  readonly answered: Answered;
  /** Connections that are read without Node's server; null until there is what to read them for, and for TLS. */
  connections: HotConnections | null;
}

const hotRoutes = new WeakMap<Server, HotRoutes>();

/** Makes a server one that hot routes can be added to: requests for them never reach `others`. */
export function splitHotRoutes(
  server: Server,
  others: (request: IncomingMessage, response: ServerResponse) => void,
  answered: Answered,
): void {
  const routes = new Map<string, HotRoute>();
  const shortCuts = new Map<string, ShortCut>();
  hotRoutes.set(server, { routes, shortCuts, answered, connections: null });
  server.on('request', (request, response) => {
    const path = pathOf(request.url ?? '');
    const route = request.method === 'POST' ? routes.get(path) : undefined;
    if (route === undefined) {
      const shortCut = shortCuts.get(path);
      const beganMs = shortCut === undefined ? 0 : performance.now();
      const done: Answered = (url, status) => answered(url, status, performance.now() - beganMs);
      if (shortCut === undefined || !server.listening || !shortCut.take(request, response, done))
        others(request, response);
    } else {
      // Whoever keeps a connection alive to a server that stops listening would hold up its end.
      if (!server.listening) response.setHeader('connection', 'close');
      serve(route, request, response, answered);
    }
  });
}

export function addHotRoute(app: FastifyInstance, route: HotRoute): void {
  const hot = hotRoutes.get(app.server);
  if (hot === undefined) throw new Error(`cannot add route ${route.url}: its server takes no hot routes`);
  hot.routes.set(route.url, route);
  readConnections(app, hot);
  // Injected requests, and those to a second address, arrive here: before the framework looks at the body.
  const takeOver = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    reply.hijack();
    serve(route, request.raw, reply.raw, hot.answered);
  };
  app.post(route.url, { onRequest: takeOver, schema: route.schema }, takeOver);
}

export function addShortCut(app: FastifyInstance, shortCut: ShortCut): void {
  const hot = hotRoutes.get(app.server);
  if (hot === undefined) throw new Error(`cannot add short cut ${shortCut.url}: its server takes none`);
  hot.shortCuts.set(shortCut.url, shortCut);
  readConnections(app, hot);
}

function readConnections(app: FastifyInstance, hot: HotRoutes): void {
  if (hot.connections !== null || app.server instanceof TlsServer) return;
  const connections = new HotConnections(app.server, hot.routes, hot.shortCuts, hot.answered);
  hot.connections = connections;
  app.addHook('preClose', async () => connections.close());
}

function pathOf(url: string): string {
  const question = url.indexOf('?');
  return question < 0 ? url : url.slice(0, question);
}

function serve(route: HotRoute, request: IncomingMessage, response: ServerResponse, answered: Answered): void {
  const reply = (answer: Answer): void => {
    answered(route.url, answer.status);
    send(response, answer);
  };
  // Without a listener the end of a connection in the middle of a body would be the end of the process.
  request.on('error', () => {});
  try {
    // However it ends: answered, or gone.
    route.check(request, (release) => response.once('close', release));
  } catch (error) {
    reply(route.refuse(error, request));
    return;
  }
  readBody(request, route.bodyBytesMax, (body) => {
    if (body !== null) {
      const answer = TURN_BUDGET.do(() => route.answer(body, request));
      if (answer instanceof Promise) void answer.then(reply);
      else reply(answer);
      return;
    }
    response.setHeader('connection', 'close');
    reply(route.refuse(tooLarge(route.bodyBytesMax), request));
  });
}

function send(response: ServerResponse, { status, headers, text }: Answer): void {
  response.statusCode = status;
  if (headers !== undefined) for (const name in headers) response.setHeader(name, headers[name]!);
  if (text === undefined) {
    response.end();
    return;
  }
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.setHeader('content-length', Buffer.byteLength(text));
  response.end(text);
}

/** Reads a body to its end and calls `done` once; with null, and the rest unread, if it is larger than `bytesMax`. */
export function readBody(request: IncomingMessage, bytesMax: number, done: (body: Uint8Array | null) => void): void {
  if (Number(request.headers['content-length']) > bytesMax) {
    done(null);
    return;
  }
  const parts: Buffer[] = [];
  let bytes = 0;
  const take = (part: Buffer): void => {
    bytes += part.length;
    if (bytes <= bytesMax) {
      parts.push(part);
      return;
    }
    request.off('data', take);
    request.off('end', end);
    done(null);
  };
  const end = (): void => done(parts.length === 1 ? parts[0]! : Buffer.concat(parts, bytes));
  request.on('data', take);
  request.on('end', end);
}

function tooLarge(bytesMax: number): CodedError {
  return new CodedError('body_too_large', `cannot take body: too large, want at most ${bytesMax} bytes`);
}
