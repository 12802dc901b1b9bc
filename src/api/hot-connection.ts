/**
 * Connections over which hot routes are called and short cuts asked, read without Node's HTTP server: for a request of 50 KB its objects, events
 * and copies of the body cost three times what reading the socket does (measured with 2,000 samples a request: 0.04 µs of
 * CPU a sample with it, 0.015 without).
 *
 *     bytes ─► head of a hot route, written plainly? ─ yes ─► body ─► answer ─► the next head
 *                          └ no: Node's server gets the connection with every byte from here on, for good
 *
 * "Plainly" is what every sender writes: POST, HTTP/1.1, a head that comes in one piece, one Content-Length, and nothing
 * that changes how the message is to be read; and what every autoscaler writes: GET, without a body. All else, right or wrong, is Node's to judge, so that there is one judge.
 * Source: RFC 9112, sections 2 to 9.
 */
import { type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { BodyBuffers } from './body-buffers.ts';
import type { Answer, HotHeaders, HotRoute, QuestionHeaders, Reply, ShortCut } from './hot-route.ts';
import { isTooSlow, PACE, type Pace, Rounds, SLOW_BODY, timedOut, tooSlow } from './pace.ts';
import { TURN_BUDGET, type TurnBudget, type Waiting } from './turn.ts';

/** What GET begins with, and POST does not. */
const GET_FIRST = 0x47;
const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');
/** Longer ones are Node's. */
const HEAD_BYTES_MAX = 8192;
const HEADERS_MAX = 64;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TARGET = /^\/[\x21-\x7e]*$/;
const VALUE = /^[\t\x20-\x7e]*$/;
const LENGTH = /^\d{1,15}$/;
/** Headers that change how a message or its connection is to be read. */
const NOT_PLAIN = new Set([
  'expect',
  'http2-settings',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** A request's head, as far as a hot route wants to know it. */
interface Head {
  readonly route: HotRoute;
  readonly headers: HotHeaders;
  readonly bodyBytes: number;
}

/** A question, as far as a short cut wants to know it. */
interface Asked {
  readonly shortCut: ShortCut;
  readonly target: string;
  readonly headers: QuestionHeaders;
}

/**
 * Reads the heads of one connection. A sender changes nothing in its own but the length, so what stands before and behind
 * that is remembered, and a head between the two needs no parsing.
 */
class HeadReader {
  readonly #routes: ReadonlyMap<string, HotRoute>;
  #last: Head | null = null;
  #before = '';
  #behind = '';
  readonly #shortCuts: ReadonlyMap<string, ShortCut>;
  /** Headers of the last question as they came, and what they say. */
  #asked = '';
  #askedHeaders: QuestionHeaders | null = null;

  constructor(routes: ReadonlyMap<string, HotRoute>, shortCuts: ReadonlyMap<string, ShortCut>) {
    this.#routes = routes;
    this.#shortCuts = shortCuts;
  }

  /** The head of a plain question; null for any other. Of one connection's questions nothing but the first line differs. */
  readQuestion(text: string): Asked | null {
    const end = text.indexOf('\r\n');
    const target = targetOf('GET', end < 0 ? text : text.slice(0, end));
    const shortCut = target === null ? undefined : this.#shortCuts.get(pathOf(target));
    if (end < 0 || target === null || shortCut === undefined) return null;
    const rest = text.slice(end);
    if (this.#askedHeaders === null || rest !== this.#asked) {
      this.#asked = rest;
      this.#askedHeaders = questionHeaders(rest.split('\r\n'));
    }
    return this.#askedHeaders === null ? null : { shortCut, target, headers: this.#askedHeaders };
  }

  /** The head (without its last line's end) of a plain request for a hot route; null for any other. */
  read(text: string): Head | null {
    const last = this.#last;
    if (last !== null && text.startsWith(this.#before) && text.endsWith(this.#behind)) {
      const length = text.slice(this.#before.length, text.length - this.#behind.length);
      if (LENGTH.test(length)) return headOf(last.route, last.headers, length);
    }
    return this.#parse(text);
  }

  #parse(text: string): Head | null {
    const lines = text.split('\r\n');
    const route = lines.length > HEADERS_MAX ? null : this.#routeOf(lines[0]!);
    if (route === null) return null;
    const headers: HotHeaders = {
      authorization: undefined,
      'content-type': undefined,
      'content-encoding': undefined,
      'content-length': undefined,
      'user-agent': undefined,
    };
    let isHostGiven = false;
    let lengthAt = 0;
    let at = lines[0]!.length + 2;
    for (let i = 1; i < lines.length; i++) {
      const line = lines[i]!;
      const colon = line.indexOf(':');
      const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
      const value = line.slice(colon + 1).trim();
      if (!TOKEN.test(name) || NOT_PLAIN.has(name) || !VALUE.test(value)) return null;
      if (name === 'host') {
        if (isHostGiven) return null;
        isHostGiven = true;
      } else if (isKept(name)) {
        if (headers[name] !== undefined) return null;
        headers[name] = value;
        if (name === 'content-length') lengthAt = at + line.indexOf(value, colon + 1);
      } else if (name === 'connection' && value.toLowerCase() !== 'keep-alive') return null;
      at += line.length + 2;
    }
    const length = headers['content-length'];
    if (!isHostGiven || length === undefined || !LENGTH.test(length)) return null;
    this.#before = text.slice(0, lengthAt);
    this.#behind = text.slice(lengthAt + length.length);
    this.#last = headOf(route, headers, length);
    return this.#last;
  }

  #routeOf(requestLine: string): HotRoute | null {
    const target = targetOf('POST', requestLine);
    return (target === null ? undefined : this.#routes.get(pathOf(target))) ?? null;
  }
}

function targetOf(method: string, requestLine: string): string | null {
  if (!requestLine.startsWith(`${method} /`) || !requestLine.endsWith(' HTTP/1.1')) return null;
  const target = requestLine.slice(method.length + 1, -' HTTP/1.1'.length);
  return TARGET.test(target) ? target : null;
}

function pathOf(target: string): string {
  const question = target.indexOf('?');
  return question < 0 ? target : target.slice(0, question);
}

/** Null if Node's server is to read them: a body, or a page of a browser. */
function questionHeaders(lines: readonly string[]): QuestionHeaders | null {
  if (lines.length > HEADERS_MAX) return null;
  const headers: QuestionHeaders = { authorization: undefined, 'accept-encoding': undefined };
  let isHostGiven = false;
  // The first one is what stands before the end of the request line.
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (!TOKEN.test(name) || NOT_PLAIN.has(name) || !VALUE.test(value)) return null;
    if (name === 'content-length' || name === 'content-type' || name === 'origin') return null;
    if (name === 'connection' && value.toLowerCase() !== 'keep-alive') return null;
    if (name === 'host') {
      if (isHostGiven) return null;
      isHostGiven = true;
    } else if (name === 'authorization' || name === 'accept-encoding') {
      if (headers[name] !== undefined) return null;
      headers[name] = value;
    }
  }
  return isHostGiven ? headers : null;
}

function isKept(name: string): name is keyof HotHeaders {
  return (
    name === 'content-length' ||
    name === 'content-type' ||
    name === 'content-encoding' ||
    name === 'authorization' ||
    name === 'user-agent'
  );
}

/** Null if the body is larger than the route takes. */
function headOf(route: HotRoute, headers: HotHeaders, length: string): Head | null {
  const bodyBytes = Number(length);
  if (bodyBytes > route.bodyBytesMax) return null;
  return { route, headers: { ...headers, 'content-length': length }, bodyBytes };
}

/** Called when a request was answered, with the URL of its route; by a short cut also with how long it took. */
export type Answered = (url: string, status: number, ms?: number) => void;

/** The hot connections of a server. */
export class HotConnections {
  readonly server: Server;
  readonly routes: ReadonlyMap<string, HotRoute>;
  readonly shortCuts: ReadonlyMap<string, ShortCut>;
  readonly answered: Answered;
  readonly buffers = new BodyBuffers();
  readonly pace: Pace;
  readonly turn: TurnBudget;
  isClosing = false;
  readonly #others: readonly ((socket: Socket) => void)[];
  readonly #open = new Set<HotConnection>();
  readonly #rounds = new Rounds((nowMs) => this.#check(nowMs));

  /** Stands between a server and those who listen for its connections. */
  constructor(
    server: Server,
    routes: ReadonlyMap<string, HotRoute>,
    shortCuts: ReadonlyMap<string, ShortCut>,
    answered: Answered,
    pace = PACE,
    turn = TURN_BUDGET,
  ) {
    this.server = server;
    this.pace = pace;
    this.turn = turn;
    this.routes = routes;
    this.shortCuts = shortCuts;
    this.answered = answered;
    this.#others = server.listeners('connection') as ((socket: Socket) => void)[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      if (this.isClosing) this.handOver(socket);
      else this.#take(socket);
    });
  }

  /** No further request is begun: idle connections end now, the others with their answer. */
  close(): void {
    this.isClosing = true;
    for (const connection of this.#open) connection.close();
  }

  /** Gives a connection to the server itself. */
  handOver(socket: Socket): void {
    for (const take of this.#others) take.call(this.server, socket);
  }

  left(connection: HotConnection): void {
    this.#open.delete(connection);
    if (this.#open.size === 0) this.#rounds.end();
  }

  #take(socket: Socket): void {
    this.#open.add(new HotConnection(socket, this));
    this.#rounds.begin();
  }

  #check(nowMs: number): void {
    for (const connection of this.#open) connection.check(nowMs);
  }
}

/** `left`: nothing of it is ours any more. */
type State = 'new' | 'idle' | 'body' | 'skipping' | 'answering' | 'draining' | 'left';

class HotConnection implements Waiting {
  readonly socket: Socket;
  headers: HotHeaders = {};
  readonly #all: HotConnections;
  readonly #heads: HeadReader;
  #state: State = 'new';
  #deadlineMs: number;
  #beganMs = 0;
  #route: HotRoute | null = null;
  /** Bytes of the body, those that have come, and where they are if they came in pieces. */
  #bodyBytes = 0;
  #receivedBytes = 0;
  #body: Buffer | null = null;
  /** A whole body whose turn has not come. */
  #waiting: Buffer | null = null;
  /** What came behind a request that is being answered. */
  #rest: Buffer | null = null;
  #isLast = false;
  #release: (() => void) | null = null;
  /** While a question is answered. */
  #isAsked = false;
  /** Goes on with a reply in pieces. */
  #onRoom: (() => void) | null = null;

  constructor(socket: Socket, all: HotConnections) {
    this.socket = socket;
    this.#all = all;
    this.#heads = new HeadReader(all.routes, all.shortCuts);
    this.#deadlineMs = performance.now() + all.server.headersTimeout;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('drain', this.#onDrain);
  }

  /** Ends a connection that waits too long for its peer. */
  check(nowMs: number): void {
    const isBody = this.#state === 'body' || this.#state === 'skipping';
    const isSlow = isBody && isTooSlow(this.#receivedBytes, nowMs - this.#beganMs, this.#all.pace);
    if (nowMs < this.#deadlineMs && !isSlow) return;
    if (isBody) this.#cutOff();
    else if (this.#state === 'idle' || this.#hasLeft()) this.socket.destroy();
    else this.#timeOut();
  }

  /** Gives up a body; its sender is to come again. */
  #cutOff(): void {
    this.#all.server.emit(SLOW_BODY);
    this.#isLast = true;
    if (this.#state === 'body') this.#write(this.#route!.refuse(tooSlow(), this));
    this.#over();
    this.#leave();
  }

  #timeOut(): void {
    this.#state = 'left';
    this.#all.server.emit('clientError', timedOut(), this.socket);
  }

  close(): void {
    this.#isLast = true;
    if (this.#isReady()) this.#leave();
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#isBusy()) this.#keep(chunk);
    else if (!this.#hasLeft()) this.#read(chunk);
  };

  readonly #onEnd = (): void => {
    this.#isLast = true;
    // Whoever ends its side while it waits for a reply is taken for gone, as by Node's server: nothing more is computed.
    if (this.#isAsked || !this.#isBusy()) this.#leave();
  };

  readonly #onError = (): void => {
    this.socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#state = 'left';
    this.#waiting = null;
    this.#over();
    this.#all.left(this);
    this.#onRoom?.();
  };

  readonly #onDrain = (): void => {
    this.#onRoom?.();
    if (this.#state === 'draining') this.#goOn();
  };

  #isReady(): boolean {
    return this.#state === 'new' || this.#state === 'idle';
  }

  #hasLeft(): boolean {
    return this.#state === 'left';
  }

  /** True while nothing more is read: an answer is waited for, or the peer, to read the last one. */
  #isBusy(): boolean {
    return this.#state === 'answering' || this.#state === 'draining';
  }

  /** Reads as many requests as there are, up to one whose answer is waited for. */
  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#isBusy() && !this.#hasLeft()) {
      at = this.#isReady() ? this.#begin(chunk, at) : this.#takeBody(chunk, at);
    }
    if (this.#isBusy() && at < chunk.length) this.#keep(chunk.subarray(at));
  }

  /** Reads a head; the address behind it, or -1 if it is somebody else's. */
  #begin(chunk: Buffer, at: number): number {
    const end = chunk.indexOf(HEAD_END, at);
    const text = end < 0 || end - at > HEAD_BYTES_MAX || this.#isLast ? '' : chunk.toString('latin1', at, end);
    const asked = chunk[at] === GET_FIRST ? this.#heads.readQuestion(text) : null;
    if (asked !== null && this.#ask(asked)) return end + HEAD_END.length;
    const head = asked === null ? this.#heads.read(text) : null;
    if (head === null) {
      this.#handOver(chunk.subarray(at));
      return -1;
    }
    const { route, headers, bodyBytes } = head;
    this.#route = route;
    this.headers = headers;
    this.#bodyBytes = bodyBytes;
    this.#receivedBytes = 0;
    this.#beganMs = performance.now();
    this.#deadlineMs = this.#beganMs + this.#all.server.requestTimeout;
    this.#state = 'body';
    try {
      route.check(this, (release) => {
        this.#release = release;
      });
    } catch (error) {
      this.#state = 'skipping';
      this.#write(route.refuse(error, this));
      if (this.#isLast) this.#leave();
    }
    const next = end + HEAD_END.length;
    return bodyBytes === 0 && !this.#hasLeft() ? this.#takeBody(chunk, next) : next;
  }

  #handOver(rest: Buffer): void {
    const { socket } = this;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.off('drain', this.#onDrain);
    this.#state = 'left';
    this.#all.left(this);
    socket.pause();
    socket.unshift(rest);
    this.#all.handOver(socket);
    process.nextTick(() => socket.resume());
  }

  #takeBody(chunk: Buffer, at: number): number {
    return this.#state === 'skipping' ? this.#skip(chunk, at) : this.#take(chunk, at);
  }

  /** Passes over the body of a request that was refused. */
  #skip(chunk: Buffer, at: number): number {
    const bytes = Math.min(this.#bodyBytes - this.#receivedBytes, chunk.length - at);
    this.#receivedBytes += bytes;
    if (this.#receivedBytes === this.#bodyBytes) {
      if (this.#isLast) this.#leave();
      else this.#next();
    }
    return at + bytes;
  }

  /** Takes what there is of a body, and answers when it is whole; the address behind it. */
  #take(chunk: Buffer, at: number): number {
    const bytes = Math.min(this.#bodyBytes - this.#receivedBytes, chunk.length - at);
    const part = chunk.subarray(at, at + bytes);
    if (bytes === this.#bodyBytes) this.#whole(part);
    else {
      this.#body ??= this.#all.buffers.take(this.#bodyBytes);
      this.#body.set(part, this.#receivedBytes);
      this.#receivedBytes += bytes;
      if (this.#receivedBytes === this.#bodyBytes) this.#whole(this.#body.subarray(0, this.#bodyBytes));
    }
    return at + bytes;
  }

  /** Asks a short cut; false if it leaves the question to Node's server. */
  #ask({ shortCut, target, headers }: Asked): boolean {
    const beganMs = performance.now();
    const hasLeft = (): boolean => this.#hasLeft();
    const reply = shortCut.ask({
      target,
      headers,
      socket: this.socket,
      get aborted() {
        return hasLeft();
      },
    });
    if (reply === null) return false;
    this.#state = 'answering';
    this.#isAsked = true;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    void reply.then((late) => {
      const { answered, isClosing } = this.#all;
      answered(shortCut.url, late.status, performance.now() - beganMs);
      if (isClosing || late.isLast) this.#isLast = true;
      if (late.body instanceof Readable) void this.#stream(late, late.body);
      else if (!this.#hasLeft()) {
        this.#send(late, late.body);
        this.#replied();
      }
    });
    return true;
  }

  #send(reply: Reply, body: string | Buffer): void {
    const head = `${replyHead(reply.status, reply.headers)}${this.#headEnd()}\r\n`;
    if (typeof body === 'string') this.socket.write(head + body);
    else {
      this.socket.cork();
      this.socket.write(head);
      this.socket.write(body);
      this.socket.uncork();
    }
  }

  /** Sends a body as it comes, no faster than it is read. */
  async #stream(reply: Reply, body: Readable): Promise<void> {
    const { socket } = this;
    try {
      if (!this.#hasLeft())
        socket.write(`${replyHead(reply.status, reply.headers)}${this.#headEnd()}Transfer-Encoding: chunked\r\n\r\n`);
      for await (const piece of body as AsyncIterable<Buffer>) {
        if (this.#hasLeft()) return;
        if (piece.length === 0) continue;
        socket.cork();
        socket.write(`${piece.length.toString(16)}\r\n`);
        socket.write(piece);
        socket.write('\r\n');
        socket.uncork();
        if (socket.writableNeedDrain) await this.#room();
      }
      if (this.#hasLeft()) return;
      socket.write('0\r\n\r\n');
      this.#replied();
    } catch {
      // What was sent cannot be taken back: an end without the last piece tells that it is not whole.
      socket.destroy();
    }
  }

  async #room(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onRoom = resolve;
    });
    this.#onRoom = null;
  }

  #headEnd(): string {
    return `${dateLine()}${connectionLines(this.#isLast, this.#all.server.keepAliveTimeout)}`;
  }

  /** After a reply to a question: the next request. */
  #replied(): void {
    this.#isAsked = false;
    this.#afterReply();
    if (this.#isReady()) this.#goOn();
  }

  /** Answers a whole body in this turn of the event loop, or in a later one if this one has had enough of them. */
  #whole(body: Buffer): void {
    const { turn } = this.#all;
    this.#state = 'answering';
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    if (turn.hasRoom()) this.#answer(body);
    else {
      this.#waiting = body;
      turn.wait(this);
    }
  }

  /** The turn of a body that waited; nothing is left of one whose sender is gone, who sends it again. */
  run(): void {
    const body = this.#waiting;
    this.#waiting = null;
    if (body === null) return;
    this.#answer(body);
    if (this.#isReady()) this.#goOn();
  }

  #answer(body: Buffer): void {
    const buffer = this.#body;
    this.#body = null;
    const beganMs = performance.now();
    const answer = this.#route!.answer(body, this);
    this.#all.turn.took(performance.now() - beganMs);
    if (buffer !== null) this.#all.buffers.give(buffer);
    if (!(answer instanceof Promise)) {
      this.#finish(answer);
      return;
    }
    void answer.then((late) => {
      if (this.#state !== 'answering') return;
      this.#finish(late);
      if (this.#isReady()) this.#goOn();
    });
  }

  #finish(answer: Answer): void {
    this.#write(answer);
    this.#afterReply();
  }

  #afterReply(): void {
    this.#over();
    if (this.#isLast) this.#leave();
    else if (this.socket.writableNeedDrain) {
      this.#state = 'draining';
      this.#deadlineMs = performance.now() + this.#all.server.requestTimeout;
    } else this.#next();
  }

  #next(): void {
    this.#state = 'idle';
    this.#deadlineMs = performance.now() + this.#all.server.keepAliveTimeout;
  }

  /** Reads on after an answer that was waited for. */
  #goOn(): void {
    this.#next();
    const rest = this.#rest;
    this.#rest = null;
    if (rest !== null) this.#read(rest);
    if (this.#isLast && this.#isReady()) this.#leave();
    if (!this.#isBusy() && !this.#hasLeft()) this.socket.resume();
  }

  /** Ends the connection once what was written is sent. */
  #leave(): void {
    this.#state = 'left';
    this.socket.destroySoon();
  }

  #keep(chunk: Buffer): void {
    this.socket.pause();
    this.#rest = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
  }

  #over(): void {
    const release = this.#release;
    this.#release = null;
    release?.();
  }

  #write(answer: Answer): void {
    const { server, answered } = this.#all;
    answered(this.#route!.url, answer.status);
    if (this.#all.isClosing) this.#isLast = true;
    if (!this.socket.destroyed) this.socket.write(replyOf(answer, this.#isLast, server.keepAliveTimeout));
  }
}

/** A reply as Node's server writes it. */
function replyOf({ status, headers, text }: Answer, isLast: boolean, keepAliveMs: number): string {
  let head = replyHead(status, headers);
  if (text !== undefined) head += 'content-type: text/plain; charset=utf-8\r\n';
  if (status !== 204) head += `content-length: ${text === undefined ? 0 : Buffer.byteLength(text)}\r\n`;
  head += `${dateLine()}${connectionLines(isLast, keepAliveMs)}\r\n`;
  return text === undefined ? head : head + text;
}

function replyHead(status: number, headers: Readonly<Record<string, string | number>> | undefined): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
  if (headers !== undefined) for (const name in headers) head += `${name}: ${headers[name]}\r\n`;
  return head;
}

function connectionLines(isLast: boolean, keepAliveMs: number): string {
  return isLast
    ? 'Connection: close\r\n'
    : `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n`;
}

let dateSecond = 0;
let date = '';

/** The Date header, made once a second. */
function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    date = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return date;
}
