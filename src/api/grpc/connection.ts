/**
 * The server's side of one HTTP/2 connection (RFC 9113): frames in, streams told of their headers, bytes and ends, frames
 * out. It knows requests and replies with trailers, as gRPC has them, and nothing else of HTTP: no push, no priorities,
 * no upgrade. TLS is the socket's business.
 *
 * Why not node:http2: a call costs 60 µs of CPU there, and 11 µs here (docs/adr/0004-grpc.md).
 *
 * What a peer may cost is bounded: bytes of headers, streams, frames that carry nothing, resets, and replies that it does
 * not read (then nothing more is read from it).
 */
import type { Socket } from 'node:net';
import { LIMITS } from '../../model/limits.ts';
import { Allowance } from './allowance.ts';
import { FLAG, FRAME, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameWriter, H2, PREFACE, SETTING } from './frames.ts';
import { type HeaderField, HpackDecoder, HpackError } from './hpack.ts';

/** What of a request's headers matters to gRPC; '' for what was not sent. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly contentType: string;
  readonly encoding: string;
  readonly timeout: string;
  /** Who calls, as it says; all of them, if it says so more than once. */
  readonly authorization: string;
}

/** Hears what comes on a stream. */
export interface StreamListener {
  /** Bytes of the body. They stay as they are, but hold on to the whole segment that they came in. */
  data(bytes: Buffer): void;
  /** The client has sent everything. */
  end(): void;
  /** The client takes nothing more: it cancelled, or the connection is gone. */
  cancel(): void;
}

export interface ConnectionOwner {
  /** A new request. */
  open(stream: Http2Stream, head: RequestHead): StreamListener;
  /** A connection that was ended because of what the peer did. */
  refused(reason: string): void;
  closed(connection: Http2Connection): void;
}

/** One request and its reply. */
export class Http2Stream {
  readonly id: number;
  readonly #connection: Http2Connection;
  listener: StreamListener | null = null;
  /** Bytes that may be sent, and those received that the peer was not told of yet. */
  sendWindow: number;
  unacknowledged = 0;
  isRemoteClosed = false;
  isClosed = false;
  /** DATA that the windows hold back, and the trailers after it. */
  readonly held: Buffer[] = [];
  trailers: Buffer | null = null;

  constructor(id: number, connection: Http2Connection, sendWindow: number) {
    this.id = id;
    this.#connection = connection;
    this.sendWindow = sendWindow;
  }

  /** What it came on. */
  get socket(): Socket {
    return this.#connection.socket;
  }

  /** Header blocks must fit a frame. */
  sendHeaders(block: Buffer): void {
    this.#connection.sendHeaders(this, block, 0);
  }

  /** One gRPC message. */
  sendMessage(message: Uint8Array): void {
    this.#connection.sendMessage(this, message);
  }

  /** Ends the stream, once everything before it has been sent. */
  sendTrailers(block: Buffer): void {
    this.#connection.sendTrailers(this, block);
  }

  /** What is written now would have to wait: the peer does not read. */
  get isBlocked(): boolean {
    return this.held.length > 0 || this.#connection.isBlocked;
  }
}

/** Bytes that a peer may send ahead, on a stream and on a connection: more than a network holds in flight. */
const WINDOW_BYTES = 2 ** 20;
const WINDOW_BYTES_DEFAULT = 65_535;
const WINDOW_BYTES_MAX = 2 ** 31 - 1;
const KEEP_ALIVE_MS = 60_000;

export class Http2Connection {
  readonly socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #streams = new Map<number, Http2Stream>();
  /** Streams that the connection's window holds back. */
  readonly #waiting = new Set<Http2Stream>();
  readonly #writer = new FrameWriter();
  readonly #hpack = new HpackDecoder(LIMITS.grpcHeaderBytesMax);
  readonly #resets = new Allowance(LIMITS.grpcResetsBurst, LIMITS.grpcResetsPerSecond);
  readonly #idle = new Allowance(LIMITS.grpcIdleFramesBurst, LIMITS.grpcIdleFramesPerSecond);
  #state: 'preface' | 'settings' | 'open' | 'closed' = 'preface';
  #isDraining = false;
  #isFlushing = false;
  #isPaused = false;
  /** The beginning of a frame whose rest is yet to come. */
  #rest: Buffer | null = null;
  /** A block of headers that goes on in CONTINUATION. */
  #block: { readonly id: number; readonly flags: number; readonly beganMs: number; bytes: Buffer } | null = null;
  #lastId = 0;
  #sendWindow = WINDOW_BYTES_DEFAULT;
  #sendWindowOfStreams = WINDOW_BYTES_DEFAULT;
  #unacknowledged = 0;
  /** The last block that changed no table, and what it says: callers repeat theirs. */
  #knownBlock: Buffer | null = null;
  #knownHead: RequestHead | null = null;

  constructor(socket: Socket, owner: ConnectionOwner) {
    this.socket = socket;
    this.#owner = owner;
    socket.setNoDelay(true);
    // A peer that is gone without a word would keep its streams for ever.
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setTimeout(LIMITS.httpHeadersTimeoutMs, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#closed());
    socket.on('end', () => socket.destroy());
    socket.on('drain', () => this.#drained());
    this.#sendSettings();
    socket.on('data', (bytes) => this.#take(bytes));
  }

  get isBlocked(): boolean {
    return this.socket.writableLength > LIMITS.grpcOutputBytesMax;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Takes no new streams; ends once those that are open have ended. */
  drain(): void {
    if (this.#isDraining || this.#state === 'closed') return;
    this.#isDraining = true;
    this.#goAway(H2.noError, '');
    this.#endIfDone();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Ends it if headers have begun and do not come to their end. */
  look(nowMs: number, graceMs: number): void {
    if (this.#block !== null && nowMs - this.#block.beganMs > graceMs)
      this.#fail(H2.enhanceYourCalm, 'headers that do not end');
  }

  sendHeaders(stream: Http2Stream, block: Buffer, flags: number): void {
    if (stream.isClosed) return;
    this.#writer.frame(FRAME.headers, FLAG.endHeaders | flags, stream.id, block);
    this.#flushSoon();
  }

  sendMessage(stream: Http2Stream, message: Uint8Array): void {
    if (stream.isClosed) return;
    const bytes = 5 + message.length;
    const fits = bytes <= FRAME_BYTES_MAX && bytes <= stream.sendWindow && bytes <= this.#sendWindow;
    if (fits && stream.held.length === 0) {
      stream.sendWindow -= bytes;
      this.#sendWindow -= bytes;
      this.#writer.message(stream.id, message);
      this.#flushSoon();
      return;
    }
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.held.push(Buffer.concat([prefix, message]));
    this.#sendHeld(stream);
  }

  sendTrailers(stream: Http2Stream, block: Buffer): void {
    if (stream.isClosed || stream.trailers !== null) return;
    stream.trailers = block;
    if (stream.held.length === 0) this.#finish(stream);
  }

  /** As much of what is held back as the windows let through. */
  #sendHeld(stream: Http2Stream): void {
    const { held } = stream;
    while (held.length > 0) {
      const bytes = Math.min(held[0]!.length, FRAME_BYTES_MAX, stream.sendWindow, this.#sendWindow);
      if (bytes <= 0) {
        this.#waiting.add(stream);
        return;
      }
      this.#writer.frame(FRAME.data, 0, stream.id, held[0]!.subarray(0, bytes));
      stream.sendWindow -= bytes;
      this.#sendWindow -= bytes;
      if (bytes === held[0]!.length) held.shift();
      else held[0] = held[0]!.subarray(bytes);
      this.#flushSoon();
    }
    this.#waiting.delete(stream);
    if (stream.trailers !== null) this.#finish(stream);
  }

  #finish(stream: Http2Stream): void {
    this.#writer.frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, stream.id, stream.trailers!);
    // The reply is whole; what the client may still be sending is not wanted.
    if (!stream.isRemoteClosed) this.#writer.frame32(FRAME.rstStream, stream.id, H2.noError);
    this.#forget(stream);
    this.#flushSoon();
  }

  #forget(stream: Http2Stream): void {
    stream.isClosed = true;
    stream.listener = null;
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (!this.#isDraining || this.#streams.size > 0) return;
    this.#flush();
    this.socket.end();
  }

  // ---- In

  #take(chunk: Buffer): void {
    if (this.#state === 'closed') return;
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    if (this.#state === 'preface') {
      at = this.#takePreface(bytes);
      if (at === 0) return;
    }
    while (bytes.length - at >= FRAME_HEAD_BYTES) {
      const length = bytes.readUIntBE(at, 3);
      if (length > FRAME_BYTES_MAX) {
        this.#fail(H2.frameSizeError, 'a frame that is too large');
        return;
      }
      const from = at + FRAME_HEAD_BYTES;
      if (bytes.length < from + length) break;
      const id = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
      this.#frame(bytes[at + 3]!, bytes[at + 4]!, id, bytes.subarray(from, from + length));
      // What a frame made of the state is not known to the compiler.
      if ((this.#state as string) === 'closed') return;
      at = from + length;
    }
    this.#rest = at === bytes.length ? null : bytes.subarray(at);
  }

  /** Returns where the frames begin; 0 while they do not, yet or at all. */
  #takePreface(bytes: Buffer): number {
    const length = Math.min(bytes.length, PREFACE.length);
    if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) {
      this.#fail(H2.protocolError, 'no HTTP/2');
      return 0;
    }
    if (length < PREFACE.length) {
      this.#rest = bytes;
      return 0;
    }
    this.#state = 'settings';
    return length;
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    if (this.#state === 'settings' && (type !== FRAME.settings || (flags & FLAG.ack) !== 0)) {
      this.#fail(H2.protocolError, 'no settings');
      return;
    }
    if (this.#block !== null && (type !== FRAME.continuation || id !== this.#block.id)) {
      this.#fail(H2.protocolError, 'headers that are not continued');
      return;
    }
    switch (type) {
      case FRAME.data:
        this.#onData(flags, id, payload);
        break;
      case FRAME.headers:
        this.#onHeaders(flags, id, payload);
        break;
      case FRAME.continuation:
        this.#onContinuation(flags, payload);
        break;
      case FRAME.rstStream:
        this.#onReset(id, payload);
        break;
      case FRAME.settings:
        this.#onSettings(flags, id, payload);
        break;
      case FRAME.ping:
        this.#onPing(flags, id, payload);
        break;
      case FRAME.windowUpdate:
        this.#onWindowUpdate(id, payload);
        break;
      case FRAME.pushPromise:
        this.#fail(H2.protocolError, 'a client that pushes');
        break;
      default:
        // GOAWAY: the client opens no more streams; it closes the connection itself. Others say nothing to us.
        this.#spend(this.#idle);
    }
  }

  #onData(flags: number, id: number, payload: Buffer): void {
    const body = this.#unpadded(flags, payload);
    if (body === null) return;
    if (id === 0 || id > this.#lastId) {
      this.#fail(H2.protocolError, 'data of no stream');
      return;
    }
    this.#unacknowledged += payload.length;
    if (this.#unacknowledged > WINDOW_BYTES) {
      this.#fail(H2.flowControlError, 'more data than was allowed');
      return;
    }
    const isEnd = (flags & FLAG.endStream) !== 0;
    if (body.length === 0 && !isEnd) this.#spend(this.#idle);
    const stream = this.#streams.get(id);
    if (stream !== undefined && !stream.isRemoteClosed) this.#received(stream, payload.length, body, isEnd);
    this.#acknowledge(0, null);
  }

  #received(stream: Http2Stream, windowBytes: number, body: Buffer, isEnd: boolean): void {
    stream.unacknowledged += windowBytes;
    if (stream.unacknowledged > WINDOW_BYTES) {
      this.#fail(H2.flowControlError, 'more data than was allowed');
      return;
    }
    if (body.length > 0) stream.listener?.data(body);
    if (isEnd) this.#remoteEnd(stream);
    else if (!stream.isClosed) this.#acknowledge(stream.id, stream);
  }

  /** Lets the peer send on, once half of a window is used. */
  #acknowledge(id: number, stream: Http2Stream | null): void {
    const bytes = stream === null ? this.#unacknowledged : stream.unacknowledged;
    if (bytes < WINDOW_BYTES / 2 || this.#state === 'closed') return;
    if (stream === null) this.#unacknowledged = 0;
    else stream.unacknowledged = 0;
    this.#writer.frame32(FRAME.windowUpdate, id, bytes);
    this.#flushSoon();
  }

  #remoteEnd(stream: Http2Stream): void {
    stream.isRemoteClosed = true;
    stream.listener?.end();
  }

  #onHeaders(flags: number, id: number, payload: Buffer): void {
    let block = this.#unpadded(flags, payload);
    if (block === null) return;
    if (id % 2 === 0) {
      this.#fail(H2.protocolError, 'a stream that is not the client’s');
      return;
    }
    if ((flags & FLAG.priority) !== 0) block = block.subarray(5);
    if ((flags & FLAG.endHeaders) !== 0) {
      this.#onBlock(flags, id, block);
      return;
    }
    this.#block = { id, flags, beganMs: performance.now(), bytes: Buffer.from(block) };
  }

  #onContinuation(flags: number, payload: Buffer): void {
    const open = this.#block;
    if (open === null) {
      this.#fail(H2.protocolError, 'a continuation of nothing');
      return;
    }
    this.#spend(this.#idle);
    open.bytes = Buffer.concat([open.bytes, payload]);
    if (open.bytes.length > LIMITS.grpcHeaderBytesMax) {
      this.#fail(H2.enhanceYourCalm, 'headers that are too large');
      return;
    }
    if ((flags & FLAG.endHeaders) === 0) return;
    this.#block = null;
    this.#onBlock(open.flags, open.id, open.bytes);
  }

  #onBlock(flags: number, id: number, block: Buffer): void {
    // Even the headers of what is refused are decoded: the table goes on with them.
    const head = this.#headOf(block);
    if (head === null) return;
    const isEnd = (flags & FLAG.endStream) !== 0;
    const known = this.#streams.get(id);
    if (known !== undefined) {
      this.#onTrailers(known, isEnd);
      return;
    }
    if (id <= this.#lastId) {
      this.#reset(id, H2.streamClosed);
      return;
    }
    this.#lastId = id;
    if (this.#isDraining || this.#streams.size >= LIMITS.grpcStreamsMax) {
      this.#reset(id, H2.refusedStream);
      return;
    }
    if (head.method === '' || head.path === '') {
      this.#reset(id, H2.protocolError);
      return;
    }
    const stream = new Http2Stream(id, this, this.#sendWindowOfStreams);
    this.#streams.set(id, stream);
    const listener = this.#owner.open(stream, head);
    if (!stream.isClosed) stream.listener = listener;
    if (isEnd) this.#remoteEnd(stream);
  }

  #onTrailers(stream: Http2Stream, isEnd: boolean): void {
    if (isEnd && !stream.isRemoteClosed) {
      this.#remoteEnd(stream);
      return;
    }
    this.#reset(stream.id, isEnd ? H2.streamClosed : H2.protocolError);
    this.#cancel(stream);
  }

  /** Null after an error that ended the connection. */
  #headOf(block: Buffer): RequestHead | null {
    if (this.#knownBlock?.equals(block)) return this.#knownHead;
    const { changes } = this.#hpack;
    try {
      const head = requestHead(this.#hpack.decode(block));
      const isRepeatable = this.#hpack.changes === changes;
      this.#knownBlock = isRepeatable ? Buffer.from(block) : null;
      this.#knownHead = head;
      return head;
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      this.#fail(H2.compressionError, `headers with ${error.message}`);
      return null;
    }
  }

  #onReset(id: number, payload: Buffer): void {
    if (payload.length !== 4) {
      this.#fail(H2.frameSizeError, 'a reset of another size');
      return;
    }
    if (id === 0 || id > this.#lastId) {
      this.#fail(H2.protocolError, 'a reset of no stream');
      return;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#spend(this.#idle);
      return;
    }
    this.#cancel(stream);
    this.#spend(this.#resets);
  }

  #cancel(stream: Http2Stream): void {
    const { listener } = stream;
    this.#forget(stream);
    listener?.cancel();
  }

  #onSettings(flags: number, id: number, payload: Buffer): void {
    if (id !== 0) {
      this.#fail(H2.protocolError, 'settings of a stream');
      return;
    }
    const isAck = (flags & FLAG.ack) !== 0;
    if (isAck ? payload.length > 0 : payload.length % 6 !== 0) {
      this.#fail(H2.frameSizeError, 'settings of another size');
      return;
    }
    if (this.#state === 'settings') {
      this.#state = 'open';
      this.socket.setTimeout(0);
    } else this.#spend(this.#idle);
    if (isAck || this.#state === 'closed') return;
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) === SETTING.initialWindowSize) this.#resizeWindows(payload.readUInt32BE(at + 2));
    }
    this.#writer.frame(FRAME.settings, FLAG.ack, 0, NO_BYTES);
    this.#flushSoon();
  }

  #resizeWindows(bytes: number): void {
    if (bytes > WINDOW_BYTES_MAX) {
      this.#fail(H2.flowControlError, 'a window that is too large');
      return;
    }
    const more = bytes - this.#sendWindowOfStreams;
    this.#sendWindowOfStreams = bytes;
    for (const stream of this.#streams.values()) stream.sendWindow += more;
    this.#sendWaiting();
  }

  #onPing(flags: number, id: number, payload: Buffer): void {
    if (id !== 0) {
      this.#fail(H2.protocolError, 'a ping of a stream');
      return;
    }
    if (payload.length !== 8) {
      this.#fail(H2.frameSizeError, 'a ping of another size');
      return;
    }
    this.#spend(this.#idle);
    if ((flags & FLAG.ack) !== 0 || this.#state === 'closed') return;
    this.#writer.frame(FRAME.ping, FLAG.ack, 0, payload);
    this.#flushSoon();
  }

  #onWindowUpdate(id: number, payload: Buffer): void {
    if (payload.length !== 4) {
      this.#fail(H2.frameSizeError, 'a window update of another size');
      return;
    }
    const bytes = payload.readUInt32BE(0) & 0x7fff_ffff;
    if (bytes === 0) {
      this.#fail(H2.protocolError, 'a window update by nothing');
      return;
    }
    this.#spend(this.#idle);
    if (id > this.#lastId) {
      this.#fail(H2.protocolError, 'a window update of no stream');
      return;
    }
    const stream = this.#streams.get(id);
    if (id === 0) this.#sendWindow += bytes;
    else if (stream !== undefined) stream.sendWindow += bytes;
    if (Math.max(this.#sendWindow, stream?.sendWindow ?? 0) > WINDOW_BYTES_MAX) {
      this.#fail(H2.flowControlError, 'a window that is too large');
      return;
    }
    if (id === 0) this.#sendWaiting();
    else if (stream !== undefined && stream.held.length > 0) this.#sendHeld(stream);
  }

  #sendWaiting(): void {
    for (const stream of [...this.#waiting]) this.#sendHeld(stream);
  }

  /** Null after an error that ended the connection. */
  #unpadded(flags: number, payload: Buffer): Buffer | null {
    if ((flags & FLAG.padded) === 0) return payload;
    const padding = payload[0];
    if (padding !== undefined && padding < payload.length) return payload.subarray(1, payload.length - padding);
    this.#fail(H2.protocolError, 'more padding than payload');
    return null;
  }

  /** For what a peer may do now and then, but not without end. */
  #spend(allowance: Allowance): void {
    if (!allowance.spend()) this.#fail(H2.enhanceYourCalm, allowance === this.#resets ? 'resets' : 'idle frames');
  }

  // ---- Out

  #sendSettings(): void {
    const payload = Buffer.alloc(18);
    [
      [SETTING.maxConcurrentStreams, LIMITS.grpcStreamsMax] as const,
      [SETTING.initialWindowSize, WINDOW_BYTES] as const,
      [SETTING.maxHeaderListSize, LIMITS.grpcHeaderBytesMax] as const,
    ].forEach(([setting, value], i) => {
      payload.writeUInt16BE(setting, 6 * i);
      payload.writeUInt32BE(value, 6 * i + 2);
    });
    this.#writer.frame(FRAME.settings, 0, 0, payload);
    this.#writer.frame32(FRAME.windowUpdate, 0, WINDOW_BYTES - WINDOW_BYTES_DEFAULT);
    this.#flushSoon();
  }

  #reset(id: number, code: number): void {
    // Each is an answer to something that should not have come.
    this.#spend(this.#idle);
    if (this.#state === 'closed') return;
    this.#writer.frame32(FRAME.rstStream, id, code);
    this.#flushSoon();
  }

  #goAway(code: number, text: string): void {
    const payload = Buffer.alloc(8 + text.length);
    payload.writeUInt32BE(this.#lastId, 0);
    payload.writeUInt32BE(code, 4);
    payload.write(text, 8, 'latin1');
    this.#writer.frame(FRAME.goaway, 0, 0, payload);
    this.#flushSoon();
  }

  /** Ends the connection because of what the peer did. */
  #fail(code: number, reason: string): void {
    if (this.#state === 'closed') return;
    this.#goAway(code, reason);
    this.#flush();
    this.#state = 'closed';
    this.#owner.refused(reason);
    this.socket.destroySoon();
  }

  /** All that one turn has to say goes out together. */
  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    process.nextTick(() => this.#flush());
  }

  #flush(): void {
    this.#isFlushing = false;
    const chunks = this.#writer.take();
    if (chunks.length === 0 || !this.socket.writable) return;
    this.socket.cork();
    for (const chunk of chunks) this.socket.write(chunk);
    this.socket.uncork();
    if (!this.isBlocked || this.#isPaused) return;
    this.#isPaused = true;
    this.socket.pause();
  }

  #drained(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.socket.resume();
  }

  #closed(): void {
    this.#state = 'closed';
    this.#rest = null;
    for (const stream of [...this.#streams.values()]) this.#cancel(stream);
    this.#owner.closed(this);
  }
}

const NO_BYTES = Buffer.alloc(0);

function requestHead(fields: readonly HeaderField[]): RequestHead {
  const textOf = (name: string): string => fields.find((field) => field.name === name)?.value ?? '';
  return {
    method: textOf(':method'),
    path: textOf(':path'),
    contentType: textOf('content-type'),
    encoding: textOf('grpc-encoding'),
    timeout: textOf('grpc-timeout'),
    authorization: fields
      .filter(({ name }) => name === 'authorization')
      .map(({ value }) => value)
      .join(', '),
  };
}
