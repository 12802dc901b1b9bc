/**
 * A gRPC server of our own: connections are given to it, methods take bytes and give bytes. Calls whose request is whole
 * wait in one line, whichever connection they came on, and are begun a few at a time, so that a burst of them holds up
 * neither other connections nor what else the daemon does.
 */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { CodedError, GRPC } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { type Identity, NOBODY } from '../guard.ts';
import { PACE, type Pace, Rounds, tooSlow } from '../pace.ts';
import type { AdmitCall } from './admission.ts';
import { type CallOwner, GrpcCall, type Method } from './call.ts';
import {
  type ConnectionOwner,
  Http2Connection,
  type Http2Stream,
  type RequestHead,
  type StreamListener,
} from './connection.ts';
import { FAULT_INTERNAL, faultReply, type GrpcFault, plainRefusal } from './status.ts';

export type { Method, ReplyStream } from './call.ts';
export { type GrpcFault, isFault } from './status.ts';

export interface GrpcServerOptions {
  /** By path: `/package.Service/Method`. */
  readonly methods: ReadonlyMap<string, Method>;
  /** Bytes of a message, as sent and decompressed. */
  readonly messageBytesMax: number;
  readonly logger: Logger;
  /** Who calls, by what came before the message; throws for whoever may not. Everybody may, if absent. */
  readonly admit?: AdmitCall;
  /** Hears why a connection was ended, if its peer was the reason. */
  readonly refused?: (reason: string) => void;
  readonly pace?: Pace;
}

/** Calls that are begun before the event loop turns. */
const CALLS_PER_TURN = 16;
const ENCODINGS: readonly string[] = ['', 'identity', 'gzip', 'deflate'];
/** Listens to nothing: the call was refused. */
const NO_LISTENER: StreamListener = { data: () => {}, end: () => {}, cancel: () => {} };

export class GrpcServer implements ConnectionOwner, CallOwner {
  readonly #options: GrpcServerOptions;
  readonly #connections = new Set<Http2Connection>();
  /** Calls whose one request is not whole. */
  readonly #receiving = new Set<GrpcCall>();
  readonly #rounds = new Rounds((nowMs) => this.#look(nowMs));
  /** Calls that wait to be begun, and those that were begun in this turn of the event loop. */
  #waiting: GrpcCall[] = [];
  #begun: GrpcCall[] = [];
  #isTurnPlanned = false;
  #calls = 0;
  #heldBytes = 0;
  #onIdle: (() => void) | null = null;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
  }

  get messageBytesMax(): number {
    return this.#options.messageBytesMax;
  }

  /** Calls that are open. */
  get calls(): number {
    return this.#calls;
  }

  /** Serves a connection that begins with HTTP/2's preface. */
  accept(socket: Socket): void {
    this.#connections.add(new Http2Connection(socket, this));
    this.#rounds.begin();
  }

  /** Takes no more calls and lets those that are open end; what has not ended by then is cut off. */
  close(msMax: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of this.#connections) connection.destroy();
      }, msMax);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
      for (const connection of [...this.#connections]) connection.drain();
      this.#tellIfIdle();
    });
  }

  // ---- What connections say

  open(stream: Http2Stream, head: RequestHead): StreamListener {
    const refusal = this.#refusal(head);
    if (refusal !== null) {
      stream.sendTrailers(refusal);
      return NO_LISTENER;
    }
    const who = this.#admit(stream, head);
    if (who === null) return NO_LISTENER;
    this.#calls++;
    const method = this.#options.methods.get(head.path)!;
    const call = new GrpcCall(stream, head, method, this, who);
    if (method.kind !== 'echo_stream') this.#receiving.add(call);
    return call;
  }

  refused(reason: string): void {
    this.#options.refused?.(reason);
    this.#options.logger.debug({ reason }, 'a gRPC connection was ended because of what its client sent');
  }

  closed(connection: Http2Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#rounds.end();
    this.#tellIfIdle();
  }

  #tellIfIdle(): void {
    if (this.#connections.size === 0) this.#onIdle?.();
  }

  /** Null for whoever may not call, and was told so. */
  #admit(stream: Http2Stream, head: RequestHead): Identity | null {
    const { admit, logger } = this.#options;
    try {
      return admit === undefined ? NOBODY : admit(head, stream.socket);
    } catch (error) {
      if (!(error instanceof CodedError)) logger.error({ err: error, path: head.path }, 'a gRPC call failed');
      stream.sendTrailers(
        error instanceof CodedError
          ? faultReply({ code: error.grpcStatus, details: `${error.message} [${error.code}]` })
          : faultReply(FAULT_INTERNAL),
      );
      return null;
    }
  }

  #refusal({ method, path, contentType, encoding }: RequestHead): Buffer | null {
    if (method !== 'POST') return plainRefusal(405);
    if (!contentType.startsWith('application/grpc')) return plainRefusal(415);
    if (!this.#options.methods.has(path))
      return faultReply({ code: GRPC.unimplemented, details: `no such method: ${path.slice(0, 200)}` });
    if (!ENCODINGS.includes(encoding))
      return faultReply({ code: GRPC.unimplemented, details: `cannot take encoding ${encoding.slice(0, 50)}` });
    if (this.#calls >= LIMITS.grpcStreamsMax)
      return faultReply({ code: GRPC.unavailable, details: `${this.#calls} calls are open, and no more are taken` });
    return null;
  }

  // ---- What calls say

  hold(bytes: number): GrpcFault | null {
    // One alone is always let in: its own limit bounds it.
    if (this.#heldBytes > 0 && this.#heldBytes + bytes > LIMITS.grpcHeldBytesMax) {
      const details = `cannot take message: ${this.#heldBytes} bytes are being received, want at most ${LIMITS.grpcHeldBytesMax}`;
      return { code: GRPC.unavailable, details };
    }
    this.#heldBytes += bytes;
    return null;
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
  }

  ready(call: GrpcCall): void {
    this.#receiving.delete(call);
    if (this.#waiting.length > 0 || this.#begun.length >= CALLS_PER_TURN) this.#waiting.push(call);
    else this.#begin(call);
    this.#planTurn();
  }

  over(call: GrpcCall): void {
    this.#receiving.delete(call);
    this.#calls--;
  }

  /** Gives up what comes too slowly. */
  #look(nowMs: number): void {
    const { pace = PACE, logger } = this.#options;
    for (const call of this.#receiving) {
      if (!call.isTooSlow(nowMs, pace)) continue;
      const { grpcStatus: code, message: details } = tooSlow();
      logger.debug('a gRPC request came too slowly');
      call.finish({ code, details });
    }
    for (const connection of this.#connections) connection.look(nowMs, pace.graceMs);
  }

  broken(path: string, error: unknown): void {
    this.#options.logger.error({ err: error, path }, 'a gRPC call failed');
  }

  #begin(call: GrpcCall): void {
    this.#begun.push(call);
    call.run();
  }

  #planTurn(): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnPlanned = false;
    // Most were answered before the loop turned.
    for (const call of this.#begun) if (!call.isOver) call.armTimer();
    this.#begun = [];
    for (const call of this.#waiting.splice(0, CALLS_PER_TURN)) this.#begin(call);
    if (this.#begun.length > 0) this.#planTurn();
  }
}
