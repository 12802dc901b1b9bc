/** One gRPC call: a request's messages put together, its handler asked, and what it says sent. */
import { GRPC } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Identity } from '../guard.ts';
import { isTooSlow, type Pace } from '../pace.ts';
import type { Http2Stream, RequestHead, StreamListener } from './connection.ts';
import { inflateMessage, MessageReader } from './messages.ts';
import {
  FAULT_INTERNAL,
  faultReply,
  faultTrailers,
  type GrpcFault,
  isFault,
  OK_TRAILERS,
  REPLY_HEADERS,
} from './status.ts';

/** A reply of many messages, as its handler sees it. */
export interface ReplyStream {
  readonly request: Buffer;
  readonly who: Identity;
  /** What is written now would have to wait: the client does not read. */
  readonly isBlocked: boolean;
  readonly isOver: boolean;
  write(message: Uint8Array): void;
  /** Ends with OK, or with a fault. Later ends count for nothing. */
  finish(fault: GrpcFault | null): void;
  /** Called once, when the stream is over, whoever ended it. */
  onOver(listener: () => void): void;
}

export type Method =
  | {
      readonly kind: 'unary';
      /** Throws, or rejects with, a {@link GrpcFault}. Anything else is a fault of ours. */
      readonly answer: (request: Buffer, who: Identity) => Promise<Uint8Array> | Uint8Array;
      /** What is said if no answer comes in time; null for no bound of ours. */
      readonly late: { readonly afterMs: number; readonly fault: GrpcFault } | null;
      /** Hears each status code. */
      readonly count?: (code: number) => void;
    }
  | { readonly kind: 'server_stream'; readonly open: (stream: ReplyStream) => void }
  /** Each message is answered by one; throws a {@link GrpcFault}. */
  | { readonly kind: 'echo_stream'; readonly answer: (request: Buffer) => Uint8Array };

export interface CallOwner {
  readonly messageBytesMax: number;
  /** Bytes of messages that came in part, over all calls: they grow, or are refused with a fault. */
  hold(bytes: number): GrpcFault | null;
  release(bytes: number): void;
  /** The request is whole: {@link GrpcCall.run} is to be called soon. */
  ready(call: GrpcCall): void;
  over(call: GrpcCall): void;
  /** Something was thrown that nobody expected. */
  broken(path: string, error: unknown): void;
}

export class GrpcCall implements StreamListener, ReplyStream {
  /** Who calls. */
  readonly who: Identity;
  readonly #stream: Http2Stream;
  readonly #owner: CallOwner;
  readonly #method: Method;
  readonly #path: string;
  readonly #encoding: string;
  readonly #beganMs: number;
  readonly #deadlineMs: number;
  readonly #reader: MessageReader;
  #request: Buffer | null = null;
  /** The request, if it came compressed. */
  #inflated: Promise<Buffer> | null = null;
  #heldBytes = 0;
  #hasHeaders = false;
  #isOver = false;
  #timer: NodeJS.Timeout | null = null;
  #overListener: (() => void) | null = null;
  /** Messages of an echo stream are answered in order, one after the other. */
  #echoes: Promise<void> = Promise.resolve();

  constructor(stream: Http2Stream, head: RequestHead, method: Method, owner: CallOwner, who: Identity) {
    this.who = who;
    this.#stream = stream;
    this.#owner = owner;
    this.#method = method;
    this.#path = head.path;
    this.#encoding = head.encoding;
    this.#beganMs = performance.now();
    this.#deadlineMs = this.#beganMs + timeoutMs(head.timeout);
    this.#reader = new MessageReader(owner.messageBytesMax);
  }

  get request(): Buffer {
    return this.#request ?? NO_BYTES;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get isBlocked(): boolean {
    return this.#isOver || this.#stream.isBlocked;
  }

  /** Whether a request that is not whole yet comes too slowly, or has come for too long. */
  isTooSlow(nowMs: number, pace: Pace): boolean {
    const tookMs = nowMs - this.#beganMs;
    const bytes = this.#reader.heldBytes + (this.#request?.length ?? 0);
    return tookMs > LIMITS.httpRequestTimeoutMs || isTooSlow(bytes, tookMs, pace);
  }

  // ---- What the stream says

  data(bytes: Buffer): void {
    if (this.#isOver) return;
    try {
      this.#reader.push(bytes);
      if (this.#method.kind === 'echo_stream') this.#takeEchoes(this.#method.answer);
      else this.#takeRequest();
      this.#hold();
    } catch (error) {
      this.#fail(error);
    }
  }

  end(): void {
    if (this.#isOver) return;
    if (this.#method.kind === 'echo_stream') void this.#echoes.then(() => this.finish(null));
    else if (this.#request === null) this.finish({ code: GRPC.internal, details: 'a request without a whole message' });
    else this.#owner.ready(this);
  }

  cancel(): void {
    this.#settle(GRPC.cancelled);
  }

  #takeRequest(): void {
    const message = this.#request === null ? this.#reader.next() : null;
    if (message !== null) {
      this.#request = message.bytes;
      if (message.isCompressed)
        this.#inflated = inflateMessage(message.bytes, this.#encoding, this.#owner.messageBytesMax);
      // Who is over by then is told nothing more.
      this.#inflated?.catch(() => {});
    }
    if (this.#request !== null && this.#reader.heldBytes > 0)
      throw { code: GRPC.unimplemented, details: 'more than one message, where one is taken' } satisfies GrpcFault;
  }

  #takeEchoes(answer: (request: Buffer) => Uint8Array): void {
    for (let message = this.#reader.next(); message !== null; message = this.#reader.next()) {
      const { bytes, isCompressed } = message;
      const plain = isCompressed ? inflateMessage(bytes, this.#encoding, this.#owner.messageBytesMax) : bytes;
      this.#echoes = this.#echoes.then(async () => this.write(answer(await plain))).catch((error) => this.#fail(error));
    }
  }

  /** Tells the owner how much is held now. */
  #hold(): void {
    const bytes = this.#reader.heldBytes + (this.#request?.length ?? 0);
    const more = bytes - this.#heldBytes;
    if (more <= 0) return;
    const refusal = this.#owner.hold(more);
    if (refusal !== null) throw refusal;
    this.#heldBytes = bytes;
  }

  // ---- What its handler says

  /** Asks the handler, once the request is plain. */
  run(): void {
    if (this.#isOver) return;
    if (this.#inflated === null) this.#answer(this.request);
    else
      this.#inflated.then(
        (bytes) => {
          this.#request = bytes;
          this.#answer(bytes);
        },
        (error: unknown) => this.#fail(error),
      );
  }

  /** Bounds the time of a call that was not answered at once; most are, so they need no timer. */
  armTimer(): void {
    if (this.#isOver || this.#method.kind !== 'unary') return;
    const { late } = this.#method;
    const leftMs = this.#deadlineMs - performance.now();
    const ownMs = late?.afterMs ?? Infinity;
    const ms = Math.min(leftMs, ownMs);
    if (ms === Infinity) return;
    const fault =
      ownMs <= leftMs ? late!.fault : { code: GRPC.deadlineExceeded, details: 'the caller’s deadline is over' };
    this.#timer = setTimeout(() => this.finish(fault), Math.max(0, Math.min(ms, TIMER_MS_MAX)));
  }

  write(message: Uint8Array): void {
    if (this.#isOver) return;
    if (!this.#hasHeaders) this.#stream.sendHeaders(REPLY_HEADERS);
    this.#hasHeaders = true;
    this.#stream.sendMessage(message);
  }

  onOver(listener: () => void): void {
    this.#overListener = listener;
  }

  #answer(request: Buffer): void {
    const method = this.#method;
    if (this.#isOver || method.kind === 'echo_stream') return;
    try {
      if (method.kind === 'server_stream') {
        method.open(this);
        return;
      }
      const answer = method.answer(request, this.who);
      if (answer instanceof Promise) answer.then(this.#reply, (error: unknown) => this.#fail(error));
      else this.#reply(answer);
    } catch (error) {
      this.#fail(error);
    }
  }

  readonly #reply = (message: Uint8Array): void => {
    this.write(message);
    this.finish(null);
  };

  #fail(error: unknown): void {
    if (isFault(error)) {
      this.finish(error);
      return;
    }
    this.#owner.broken(this.#path, error);
    this.finish(FAULT_INTERNAL);
  }

  finish(fault: GrpcFault | null): void {
    if (this.#isOver) return;
    if (fault === null) {
      if (!this.#hasHeaders) this.#stream.sendHeaders(REPLY_HEADERS);
      this.#stream.sendTrailers(OK_TRAILERS);
    } else this.#stream.sendTrailers(this.#hasHeaders ? faultTrailers(fault) : faultReply(fault));
    this.#settle(fault?.code ?? 0);
  }

  #settle(code: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#owner.release(this.#heldBytes);
    this.#request = null;
    if (this.#method.kind === 'unary') this.#method.count?.(code);
    this.#overListener?.();
    this.#owner.over(this);
  }
}

const NO_BYTES = Buffer.alloc(0);
/** The longest that a timer of Node takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** `grpc-timeout`: up to eight digits and a unit. What is none counts as none. */
function timeoutMs(text: string): number {
  const parts = /^(\d{1,8})([HMSmun])$/.exec(text);
  return parts === null ? Infinity : Number(parts[1]) * UNIT_MS[parts[2]!]!;
}
