/**
 * How fast a client must send what it has begun: after a moment of grace, so many bytes a second on average. Who is slower
 * holds memory and a connection for nothing, and is cut off. It is told to come again (503, never a 4xx, on which senders
 * drop what they wanted to send): the network may be to blame.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { CodedError } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';

const CHECK_MS = 1000;

export interface Pace {
  readonly graceMs: number;
  readonly bytesPerSecondMin: number;
}

export const PACE: Pace = { graceMs: LIMITS.bodyGraceMs, bytesPerSecondMin: LIMITS.bodyBytesPerSecondMin };

export function isTooSlow(bytes: number, tookMs: number, pace: Pace = PACE): boolean {
  return tookMs > pace.graceMs && bytes < (tookMs / 1000) * pace.bytesPerSecondMin;
}

export function tooSlow(): CodedError {
  return new CodedError(
    'overloaded',
    `cannot take body: it comes too slowly, want at least ${PACE.bytesPerSecondMin} bytes a second; send it again`,
  );
}

/** Emitted by a server when a body was given up because it came too slowly. */
export const SLOW_BODY = 'slowBody';

/**
 * Looks again and again at what is being waited for. Who was not there to read what came says nothing about its clients: after
 * the process stood still, one look is left out.
 */
export class Rounds {
  readonly #look: (nowMs: number) => void;
  #timer: NodeJS.Timeout | null = null;
  #lookedMs = 0;

  constructor(look: (nowMs: number) => void) {
    this.#look = look;
  }

  begin(): void {
    if (this.#timer !== null) return;
    this.#lookedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), CHECK_MS).unref();
  }

  end(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    const nowMs = performance.now();
    const stoodStill = nowMs - this.#lookedMs > 2 * CHECK_MS;
    this.#lookedMs = nowMs;
    if (!stoodStill) this.#look(nowMs);
  }
}

interface Reading {
  readonly request: IncomingMessage;
  readonly sinceMs: number;
  readonly sinceBytes: number;
}

/** The bodies that a server of Node is reading. */
export class Bodies {
  readonly #server: Server;
  readonly #pace: Pace;
  readonly #reading = new Map<Socket, Reading>();
  readonly #rounds = new Rounds((nowMs) => this.#look(nowMs));

  constructor(server: Server, pace: Pace = PACE) {
    this.#server = server;
    this.#pace = pace;
    server.on('request', (request) => this.#begin(request));
  }

  /** True while the body of a request is to come by this connection. */
  isReading(socket: Socket): boolean {
    const reading = this.#reading.get(socket);
    return reading !== undefined && !reading.request.complete;
  }

  #begin(request: IncomingMessage): void {
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    if (encoding === undefined && (length === undefined || length === '0')) return;
    const { socket } = request;
    this.#reading.set(socket, { request, sinceMs: performance.now(), sinceBytes: socket.bytesRead });
    this.#rounds.begin();
  }

  #look(nowMs: number): void {
    for (const [socket, { request, sinceMs, sinceBytes }] of this.#reading) {
      if (request.complete || socket.destroyed) this.#reading.delete(socket);
      // What nobody reads cannot come.
      else if (
        request.readableFlowing === true &&
        isTooSlow(socket.bytesRead - sinceBytes, nowMs - sinceMs, this.#pace)
      ) {
        this.#server.emit('clientError', timedOut(), socket);
        this.#reading.delete(socket);
      }
    }
    if (this.#reading.size === 0) this.#rounds.end();
  }
}

/** What Node's server says of a client that takes too long. */
export function timedOut(): Error {
  return Object.assign(new Error('request timed out'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
}
