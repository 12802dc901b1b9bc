/**
 * A client of the Kubernetes API server: requests with JSON in and out, and lists that are watched. On node:https, with the
 * cluster's own CA; the token is read anew for each request, because kubelet rotates it.
 */
import type { IncomingMessage } from 'node:http';
import { Agent, request as send } from 'node:https';
import { LIMITS } from '../../../model/limits.ts';

export interface ApiServer {
  /** `https://host:port` */
  readonly url: string;
  /** Null trusts what the system trusts. */
  readonly caPem: string | null;
  /** A certificate of our own, for clusters that know us by it. */
  readonly certPem: string | null;
  readonly keyPem: string | null;
  /** The bearer token at this moment, or null. */
  readonly token: () => string | null;
}

export interface Answer {
  readonly status: number;
  /** Null if the body is no JSON. */
  readonly body: unknown;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

/** The API server said no, or said nothing. */
export class ClusterError extends Error {
  /** Null if there was no answer. */
  readonly status: number | null;

  constructor(status: number | null, message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.name = 'ClusterError';
    this.status = status;
  }
}

interface CallOptions {
  readonly method?: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  /** How long nothing may come. */
  readonly timeoutMs?: number;
  /** How long all of it may take, waiting for a connection included. */
  readonly totalMs?: number;
}

export class ClusterClient {
  readonly #server: ApiServer;
  readonly #agent: Agent;

  constructor(server: ApiServer) {
    this.#server = server;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: LIMITS.clusterConnectionsMax,
      ...(server.caPem === null ? {} : { ca: server.caPem }),
      ...(server.certPem === null || server.keyPem === null ? {} : { cert: server.certPem, key: server.keyPem }),
    });
  }

  /** Rejects with `ClusterError` if there is no answer; any status is one. */
  async call(path: string, options: CallOptions = {}): Promise<Answer> {
    const { status, chunks } = await this.#send<{ status: number; chunks: Buffer[] }>(
      path,
      options,
      (response, done) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > LIMITS.clusterReplyBytesMax) response.destroy(new Error('the reply is too large'));
          else parts.push(chunk);
        });
        response.on('end', () => done({ status: response.statusCode ?? 0, chunks: parts }));
      },
    );
    return { status, body: parseJson(Buffer.concat(chunks).toString('utf8')) };
  }

  /** The object, or a `ClusterError` with what the API server says instead. */
  async get<T>(path: string, options: Omit<CallOptions, 'method' | 'body'> = {}): Promise<T> {
    const { status, body } = await this.call(path, options);
    if (status < 200 || status >= 300)
      throw new ClusterError(status, `cannot read ${path}: ${statusText(status, body)}`);
    return body as T;
  }

  /** Hands on events until the stream ends; rejects if it cannot begin or breaks. */
  async watch(path: string, accept: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void> {
    await this.#send<void>(
      path,
      { accept, timeoutMs: LIMITS.clusterWatchMsMax, totalMs: Infinity },
      (response, done) => {
        if (response.statusCode !== 200) {
          response.destroy(
            new ClusterError(response.statusCode ?? 0, `cannot watch ${path}: status ${response.statusCode}`),
          );
          return;
        }
        let rest = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          const lines = (rest + chunk).split('\n');
          rest = lines.pop()!;
          if (rest.length > LIMITS.clusterReplyBytesMax) response.destroy(new Error('an event is too large'));
          for (const line of lines) {
            const event = parseJson(line);
            if (isEvent(event)) onEvent(event);
          }
        });
        response.on('end', () => done());
      },
      signal,
    );
  }

  close(): void {
    this.#agent.destroy();
  }

  #send<T>(
    path: string,
    options: CallOptions,
    read: (response: IncomingMessage, done: (value: T) => void) => void,
    signal?: AbortSignal,
  ): Promise<T> {
    const { method = 'GET', body, contentType = 'application/json', accept = 'application/json' } = options;
    const { timeoutMs = LIMITS.clusterTimeoutMs, totalMs = LIMITS.clusterReplyMsMax } = options;
    const token = this.#server.token();
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string> = {
      accept,
      ...(text === undefined ? {} : { 'content-type': contentType, 'content-length': String(Buffer.byteLength(text)) }),
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    };
    return new Promise<T>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const fail = (cause: unknown): void => {
        clearTimeout(timer);
        if (cause instanceof ClusterError) reject(cause);
        else reject(new ClusterError(null, `cannot reach the API server: ${(cause as Error).message}`, { cause }));
      };
      const request = send(
        new URL(path, this.#server.url),
        { method, headers, agent: this.#agent, ...(signal === undefined ? {} : { signal }) },
        (response) => {
          response.on('error', fail);
          response.on('aborted', () => fail(new Error('the connection broke')));
          read(response, (value) => {
            clearTimeout(timer);
            resolve(value);
          });
        },
      );
      const giveUp = (): void => {
        // One that waits for a connection would hear of it only when it has one.
        fail(new Error('no answer in time'));
        request.destroy();
      };
      request.setTimeout(timeoutMs, giveUp);
      // A reply that comes a byte at a time is never silent.
      if (totalMs !== Infinity) timer = setTimeout(giveUp, totalMs).unref();
      request.on('error', fail);
      request.end(text);
    });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isEvent(value: unknown): value is WatchEvent {
  return typeof value === 'object' && value !== null && 'type' in value && 'object' in value;
}

/** What a `Status` says. */
export function statusText(status: number, body: unknown): string {
  const message = typeof body === 'object' && body !== null && 'message' in body ? body.message : null;
  return typeof message === 'string' ? message : `status ${status}`;
}
