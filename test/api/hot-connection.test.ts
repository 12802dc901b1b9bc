/**
 * Connections that are read without Node's HTTP server. The oracle is that server: a connection that began with another
 * request belongs to it, so the same bytes are sent once to each, and the replies must be the same.
 */
import { createHash } from 'node:crypto';
import { createServer, IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { type Test, test } from 'tap';
import { type Answered, HotConnections } from '../../src/api/hot-connection.ts';
import {
  type Answer,
  addHotRoute,
  addShortCut,
  type HotRoute,
  type Question,
  type Reply,
  type ShortCut,
} from '../../src/api/hot-route.ts';
import { buildHttp, listenHttp } from '../../src/api/http.ts';
import { TurnBudget } from '../../src/api/turn.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { waitFor } from '../support/wait.ts';

const BODY_BYTES_MAX = 3_000_000;
/** More than sockets keep for a peer that does not read. */
const LONG_PIECES = 300;
const LONG_PIECE_BYTES = 65_536;
const WARM = 'GET /other HTTP/1.1\r\nHost: x\r\n\r\n';
const LAST = 'GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const PLAIN = 'POST /hot HTTP/1.1\r\nHost: x\r\nContent-Type: text/x\r\n';

/** A route that answers what it was given, and keeps account. */
class Echo implements HotRoute {
  readonly schema = {};
  readonly url = '/hot';
  readonly bodyBytesMax = BODY_BYTES_MAX;
  /** Who read each body that was answered. */
  readonly readers: ('hot' | 'node')[] = [];
  /** What each request that was checked said of who sends it. */
  readonly authorizations: (string | undefined)[] = [];
  /** Requests that were checked and are not over. */
  inFlight = 0;
  /** Answers that are waited for. */
  readonly waiting: (() => void)[] = [];

  check({ headers }: Parameters<HotRoute['check']>[0], whenOver: (release: () => void) => void): void {
    this.authorizations.push(headers.authorization);
    if (headers['content-type'] === 'text/refused') throw new Error('not taken');
    this.inFlight++;
    whenOver(() => {
      this.inFlight--;
    });
  }

  answer(body: Uint8Array, request: Parameters<HotRoute['answer']>[1]): Answer | Promise<Answer> {
    this.readers.push(request instanceof IncomingMessage ? 'node' : 'hot');
    const { 'content-type': type, 'content-encoding': encoding } = request.headers;
    if (type === 'text/silent') return { status: 204, headers: { 'x-own': 'yes' } };
    const answer = { status: 400, text: `é ${type} ${encoding} ${body.length} ${digest(body)}\n` };
    if (type !== 'text/late') return answer;
    return new Promise((resolve) => this.waiting.push(() => resolve(answer)));
  }

  refuse(error: unknown): Answer {
    return { status: 415, headers: { 'retry-after': '1' }, text: `${(error as Error).message}\n` };
  }
}

/** A short cut that answers what it was asked; '/ask?late' waits, and so does each piece of '/ask?long'. */
class Asked implements ShortCut {
  readonly url = '/ask';
  readonly readers: ('hot' | 'node')[] = [];
  readonly waiting: (() => void)[] = [];
  /** The last question that nobody waits for any more says so. */
  last: Question | null = null;
  pieces = 0;
  isStreamOver = false;

  take(request: IncomingMessage, response: ServerResponse, answered: Answered): boolean {
    this.readers.push('node');
    if (request.url === '/ask?left') return false;
    void this.#replyTo(request.url!, request.headers).then(({ status, headers, body, isLast }) => {
      answered(this.url, status);
      if (isLast) response.setHeader('connection', 'close');
      response.writeHead(status, headers);
      if (body instanceof Readable) body.pipe(response);
      else response.end(body);
    });
    return true;
  }

  ask(question: Question): Promise<Reply> | null {
    if (question.target === '/ask?left') return null;
    this.readers.push('hot');
    this.last = question;
    return this.#replyTo(question.target, question.headers);
  }

  async #replyTo(target: string, headers: Question['headers']): Promise<Reply> {
    const text = `é ${target} ${headers.authorization} ${headers['accept-encoding']}`;
    if (target.startsWith('/ask?late')) await new Promise<void>((resolve) => this.waiting.push(resolve));
    const own = { 'x-own': 'yes' };
    if (target === '/ask?long') return { status: 200, headers: own, body: Readable.from(this.#long()) };
    const body = target === '/ask?bytes' ? Buffer.from(text) : text;
    const isLast = target === '/ask?last';
    return { status: isLast ? 401 : 200, headers: { ...own, 'content-length': Buffer.byteLength(text) }, body, isLast };
  }

  async *#long(): AsyncGenerator<Buffer> {
    try {
      for (this.pieces = 0; this.pieces < LONG_PIECES; this.pieces++)
        yield Buffer.alloc(LONG_PIECE_BYTES, `${this.pieces}`);
    } finally {
      this.isStreamOver = true;
    }
  }
}

function digest(body: Uint8Array): string {
  return createHash('sha1').update(body).digest('hex');
}

interface Opened {
  readonly app: FastifyInstance;
  readonly echo: Echo;
  readonly asked: Asked;
  readonly port: number;
  readonly registry: Registry;
}

async function open(t: Test): Promise<Opened> {
  const registry = new Registry();
  const app = buildHttp({ logger: pino({ level: 'silent' }), registry });
  app.get('/other', async () => 'other');
  app.post('/cold', async () => 'cold');
  const echo = new Echo();
  addHotRoute(app, echo);
  const asked = new Asked();
  addShortCut(app, asked);
  app.get('/ask', async () => 'the long way');
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  return { app, echo, asked, port: Number(address.split(':').at(-1)), registry };
}

class Peer {
  readonly socket: Socket;
  text = '';
  isEnded = false;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk) => {
      this.text += chunk.toString('utf8');
    });
    this.socket.on('close', () => {
      this.isEnded = true;
    });
    this.socket.on('error', () => undefined);
  }

  async send(pieces: readonly (string | Uint8Array)[]): Promise<this> {
    for (const piece of pieces) {
      await new Promise((sent) => this.socket.write(piece as Uint8Array, sent));
      // The other side is in this process: what was sent is read before this goes on.
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    }
    return this;
  }

  seen(what: RegExp, count = 1): Promise<unknown> {
    const all = new RegExp(what, 'g');
    return waitFor(() => (this.text.match(all) ?? []).length >= count, { timeoutMs: 10_000, what: String(what) });
  }

  ended(): Promise<unknown> {
    return waitFor(() => this.isEnded, { timeoutMs: 10_000, what: 'the end of the connection' });
  }
}

/** Replies without their dates; headers in lower case and in order, which is no part of a message. */
function plainly(text: string): string {
  return text.replace(/HTTP\/1\.1 [\s\S]*?\r\n\r\n/g, (head) => {
    const [status, ...headers] = head.trimEnd().split('\r\n');
    const kept = headers.map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase()));
    return `${[status, ...kept.filter((line) => !line.startsWith('date:')).sort()].join('\n')}\n\n`;
  });
}

const request = (headers: string, body = 'abc', first = 'POST /hot HTTP/1.1'): string =>
  `${first}\r\n${headers}\r\n\r\n${body}`;

test('the same replies as those of the HTTP server, and who gives them', async (t) => {
  const { echo, port } = await open(t);
  const f = async (what: string, parts: readonly (string | Uint8Array)[], reader: string, last = LAST) => {
    const pieces = last === '' ? parts : [...parts, last];
    const hot = await new Peer(port).send(pieces);
    await hot.ended();
    t.equal(echo.readers.splice(0).join(' '), reader, `${what}: by whom`);
    const node = await new Peer(port).send([WARM]);
    await node.seen(/other$/);
    node.text = '';
    await node.send(pieces);
    await node.ended();
    echo.readers.length = 0;
    t.equal(plainly(hot.text), plainly(node.text), what);
    t.equal(echo.inFlight, 0, `${what}: nothing is left in flight`);
  };
  const large = Buffer.alloc(200_000, 'large');
  const huge = Buffer.alloc(1_500_000, 'huge');
  const head = (bytes: number): string => `${PLAIN}Content-Length: ${bytes}\r\n\r\n`;
  const length = 'Content-Length: 3';
  const host = `Host: x\r\n${length}`;
  await f('a plain request', [request(host)], 'hot');
  await f(
    'in small letters',
    [request(`host:x\r\ncontent-type:text/x\r\ncontent-encoding: \t snappy \r\n${length}`)],
    'hot',
  );
  await f('kept alive explicitly', [request(`${host}\r\nConnection: Keep-Alive\r\nKeep-Alive: 5`)], 'hot');
  await f('who sends it', [request(`${host}\r\nAuthorization: Bearer x`), request(`${host}\r\nX: 1`)], 'hot hot');
  await f('who sends it, twice', [request(`${host}\r\nAuthorization: Bearer x\r\nauthorization: Bearer y`)], 'node');
  await f('with parameters', [request(host, 'abc', 'POST /hot?a=b HTTP/1.1')], 'hot');
  await f('no text in the answer', [request(`${host}\r\nContent-Type: text/silent`)], 'hot');
  await f('two at once', [request(host) + request(host, 'def')], 'hot hot');
  await f('one and a half', [request(host) + request(host, 'd'), 'ef'], 'hot hot');
  await f('no body', [request('Host: x\r\nContent-Length: 0', '')], 'hot');
  await f(
    'a body in pieces',
    [head(large.length), large.subarray(0, 1), large.subarray(1, 100_000), large.subarray(100_000)],
    'hot',
  );
  await f('a large one, then a small one', [head(huge.length), huge, request(host)], 'hot hot');
  await f(
    'heads that differ by the length alone',
    [head(3), 'abc', head(12), 'abcdefghijkl', head(0), head(3), 'xyz'],
    'hot hot hot hot',
  );
  await f('heads that differ by more', [head(3), 'abc', request(`${host}\r\nX: 1`), head(3), 'xyz'], 'hot hot hot');
  await f('refused before the body is read', [request(`${host}\r\nContent-Type: text/refused`), request(host)], 'hot');
  await f(
    'refused, and the body comes later',
    [`POST /hot HTTP/1.1\r\n${host}\r\nContent-Type: text/refused\r\n\r\n`, 'ab', `c${request(host)}`],
    'hot',
  );
  await f('refused without a body', [request('Host: x\r\nContent-Length: 0\r\nContent-Type: text/refused', '')], '');
  await f('hot, another, hot', [request(host), WARM, request(host)], 'hot node');
  await f('hot and another in one piece', [request(host) + WARM + request(host)], 'hot node');
  // What is the server's from the beginning.
  await f('a head in pieces', [`${PLAIN}Content-Le`, 'ngth: 3\r\n\r\nabc'], 'node');
  await f('another method', [request(host, 'abc', 'PUT /hot HTTP/1.1')], '');
  await f('another path', [request(host, 'abc', 'POST /cold HTTP/1.1')], '');
  await f('another path that begins alike', [request(host, 'abc', 'POST /hot/ HTTP/1.1')], '');
  await f('HTTP/1.0', [request(host, 'abc', 'POST /hot HTTP/1.0')], 'node', '');
  await f('the last one', [request(`${host}\r\nConnection: close`)], 'node', '');
  await f('chunks', [request('Host: x\r\nTransfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n')], 'node');
  await f('chunks and a length', [request(`${host}\r\nTransfer-Encoding: chunked`, '3\r\nabc\r\n0\r\n\r\n')], '');
  await f('expects to be asked on', [request(`${host}\r\nExpect: 100-continue`)], 'node');
  await f('no host', [request(length)], '');
  await f('no length', [request('Host: x', '')], 'node');
  await f('two lengths', [request(`${host}\r\n${length}`)], '');
  await f('two lengths in one', [request('Host: x\r\nContent-Length: 3, 3')], '');
  await f('a length that is none', [request('Host: x\r\nContent-Length: +3')], '');
  await f('a length of 20 digits', [request('Host: x\r\nContent-Length: 00000000000000000003')], 'node');
  await f('too large', [request(`Host: x\r\nContent-Length: ${BODY_BYTES_MAX + 1}`)], '');
  await f('too large, after one that was not', [head(3), 'abc', head(BODY_BYTES_MAX + 1)], 'hot');
  await f('a space before the colon', [request('Host : x\r\nContent-Length: 3')], '');
  await f('a header over two lines', [request(`${host}\r\nX: a\r\n b`)], '');
  await f('a header without a colon', [request(`${host}\r\nX`)], '');
  await f('a control character', [request(`${host}\r\nX: a\u0001`)], '');
  await f('a target with a space', [request(host, 'abc', 'POST /hot?a b HTTP/1.1')], '');
  await f('line feeds alone', [request(host).replaceAll('\r\n', '\n')], '');
  await f('a long head', [request(`${host}\r\nX: ${'x'.repeat(9000)}`)], 'node');
  await f('many headers', [request(`${host}${'\r\nX: x'.repeat(100)}`)], 'node');
  await f('HTTP/2', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], '');
  await f('nothing that is HTTP', ['\u0016\u0003\u0001 hello\r\n\r\n'], '');
});

test('the same replies to questions as those of the HTTP server, and who gives them', async (t) => {
  const { asked, echo, port } = await open(t);
  const f = async (what: string, parts: readonly string[], reader: string, last = LAST) => {
    const pieces = last === '' ? parts : [...parts, last];
    const hot = await new Peer(port).send(pieces);
    await hot.ended();
    t.equal(asked.readers.splice(0).join(' '), reader, `${what}: by whom`);
    const node = await new Peer(port).send([WARM]);
    await node.seen(/other$/);
    node.text = '';
    await node.send(pieces);
    await node.ended();
    for (const all of [asked, echo]) all.readers.length = 0;
    t.equal(plainly(hot.text), plainly(node.text), what);
  };
  const get = (target: string, headers = 'Host: x') => `GET ${target} HTTP/1.1\r\n${headers}\r\n\r\n`;
  await f('a plain question', [get('/ask')], 'hot');
  await f('with parameters', [get('/ask?a=b%20c&d')], 'hot');
  await f('headers', [get('/ask', 'host:x\r\naccept-Encoding: gzip, br \r\nauthorization: Bearer x\r\nX: 1')], 'hot');
  const two = [get('/ask', 'Host: x\r\nAuthorization: a'), get('/ask', 'Host: x\r\nAuthorization: b'), get('/ask?c')];
  await f('one after the other', two, 'hot hot hot');
  await f('all at once', [two.join('')], 'hot hot hot');
  await f('bytes', [get('/ask?bytes')], 'hot');
  await f('a stream', [get('/ask?long'), get('/ask')], 'hot hot');
  await f('the last one', [get('/ask?last')], 'hot', '');
  await f(
    'among bodies',
    [`${request('Host: x\r\nContent-Length: 3')}${get('/ask')}${request('Host: x\r\nContent-Length: 3')}`],
    'hot',
  );
  await f('left to the server', [get('/ask?left'), get('/ask')], 'node node');
  await f('another path', [get('/other?'), get('/ask')], 'node');
  await f('a body', [`${get('/ask', 'Host: x\r\nContent-Length: 3')}abc`], 'node');
  await f('a page of a browser', [get('/ask', 'Host: x\r\nOrigin: http://y')], 'node');
  await f('kept alive no longer', [get('/ask', 'Host: x\r\nConnection: close')], 'node', '');
  await f('who asks, twice', [get('/ask', 'Host: x\r\nAuthorization: a\r\nAuthorization: b')], 'node');
  await f('a head in pieces', ['GET /ask HTTP/1.1\r\nHo', 'st: x\r\n\r\n'], 'node');
  await f('HTTP/1.0', [get('/ask').replace('1.1', '1.0')], 'node', '');
  await f('HEAD', [get('/ask').replace('GET', 'HEAD')], 'node');
  await f('no host', [get('/ask', 'X: 1')], '');
  await f('two hosts', [get('/ask', 'Host: x\r\nHost: y')], 'node');
  await f('chunks', [`${get('/ask', 'Host: x\r\nTransfer-Encoding: chunked')}0\r\n\r\n`], 'node');
  await f('a header without a colon', [get('/ask', 'Host: x\r\nX')], '');
  await f('a target with a space', [get('/ask?a b')], '');
});

test('a question whose asker is gone is not answered, nor sent on', async (t) => {
  const { asked, port, registry } = await open(t);
  const late = 'GET /ask?late HTTP/1.1\r\nHost: x\r\n\r\n';
  for (const [how, leave] of [
    ['it ends its side', (socket: Socket) => socket.end()],
    ['it is cut off', (socket: Socket) => socket.resetAndDestroy()],
  ] as const) {
    const peer = await new Peer(port).send([late]);
    t.equal(asked.last?.aborted, false, `${how}: it is waited for`);
    leave(peer.socket);
    await waitFor(() => asked.last!.aborted, { timeoutMs: 5000, what: `${how}: the question to be given up` });
    asked.waiting.shift()!();
    await peer.ended();
    t.equal(peer.text, '', how);
  }
  const reader = new Peer(port);
  reader.socket.pause();
  await reader.send(['GET /ask?long HTTP/1.1\r\nHost: x\r\n\r\n']);
  await waitFor(() => asked.pieces > 0, { timeoutMs: 5000, what: 'the first piece' });
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  t.ok(asked.pieces < LONG_PIECES, 'who does not read is not sent all');
  reader.socket.resetAndDestroy();
  await waitFor(() => asked.isStreamOver, { timeoutMs: 5000, what: 'the stream to end with its reader' });
  t.ok(asked.pieces < LONG_PIECES);
  t.match(registry.expose(), 'tidegauge_http_requests_total{handler="/ask",code="200"}');
});

test('each request says anew who sends it', async (t) => {
  const { echo, port } = await open(t);
  const own = (token: string, length: number) =>
    `${PLAIN}Authorization: ${token}\r\nContent-Length: ${length}\r\n\r\n${'a'.repeat(length)}`;
  const peer = await new Peer(port).send([
    own('Bearer a', 3),
    own('Bearer a', 12),
    own('Bearer b', 12),
    request('Host: x\r\nContent-Length: 3\r\nConnection: close'),
  ]);
  await peer.ended();
  t.strictSame(echo.authorizations, ['Bearer a', 'Bearer a', 'Bearer b', undefined]);
  t.strictSame(echo.readers, ['hot', 'hot', 'hot', 'node']);
});

test('requests cut anywhere, one after the other', async (t) => {
  const { echo, port } = await open(t);
  const bodies = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 });
  const property = fc.asyncProperty(bodies, fc.array(fc.nat(2000), { maxLength: 6 }), async (sent, cuts) => {
    const whole = Buffer.concat(
      sent.flatMap((body) => [Buffer.from(`${PLAIN}Content-Length: ${body.length}\r\n\r\n`), body]),
    );
    const places = [0, ...cuts.map((cut) => cut % whole.length).sort((a, b) => a - b), whole.length];
    const peer = await new Peer(port).send([...places.slice(1).map((end, i) => whole.subarray(places[i], end)), LAST]);
    await peer.ended();
    const want = sent.map((body) => `${body.length} ${digest(body)}`);
    const got = [...peer.text.matchAll(/text\/x undefined (\d+ [0-9a-f]+)/g)].map(([, text]) => text);
    return got.join() === want.join() && echo.inFlight === 0;
  });
  await fc.assert(property, { numRuns: 60 });
  t.ok(echo.readers.includes('hot'), 'some of them were read here');
});

test('an answer that is waited for', async (t) => {
  const { echo, port } = await open(t);
  const late = (body: string): string => request('Host: x\r\nContent-Type: text/late\r\nContent-Length: 3', body);
  const peer = await new Peer(port).send([late('abc') + late('def'), request('Host: x\r\nContent-Length: 3', 'ghi')]);
  await waitFor(() => echo.waiting.length === 1, { timeoutMs: 5000, what: 'the first' });
  t.equal(echo.inFlight, 1, 'the second is not begun before the first is answered');
  echo.waiting.shift()!();
  await waitFor(() => echo.waiting.length === 1, { timeoutMs: 5000, what: 'the second' });
  t.notMatch(peer.text, digest(Buffer.from('ghi')), 'nor the third');
  echo.waiting.shift()!();
  await peer.seen(/HTTP\/1\.1 400/, 3);
  const order = ['abc', 'def', 'ghi'].map((body) => peer.text.indexOf(digest(Buffer.from(body))));
  t.strictSame(
    order,
    [...order].sort((a, b) => a - b),
    'in order',
  );
  peer.socket.destroy();

  const gone = await new Peer(port).send([late('abc')]);
  await waitFor(() => echo.waiting.length === 1, { timeoutMs: 5000, what: 'one more' });
  gone.socket.destroy();
  await gone.ended();
  t.equal(echo.inFlight, 1, 'its body is in memory until it is stored');
  echo.waiting.shift()!();
  await waitFor(() => echo.inFlight === 0, { timeoutMs: 5000, what: 'its end' });
  const halfClosed = new Peer(port);
  await halfClosed.send([late('abc')]);
  halfClosed.socket.end();
  await waitFor(() => echo.waiting.length === 1, { timeoutMs: 5000, what: 'the last' });
  echo.waiting.shift()!();
  await halfClosed.ended();
  t.match(halfClosed.text, digest(Buffer.from('abc')), 'who has nothing more to say is answered all the same');
});

test('a peer that sends and does not read is not read from', async (t) => {
  const { echo, port } = await open(t);
  const peer = new Peer(port);
  peer.socket.pause();
  const many = request(`Host: x\r\nContent-Type: ${'x'.repeat(4000)}\r\nContent-Length: 3`).repeat(100);
  let sent = 0;
  let before = -1;
  // The replies are as long as the requests: without an end this would go on.
  while (before !== echo.readers.length && sent < 100_000) {
    before = echo.readers.length;
    for (let i = 0; i < 10; i++, sent += 100) peer.socket.write(many);
    await waitFor(() => echo.readers.length > before, { timeoutMs: 500, what: 'more' }).catch(() => undefined);
  }
  t.ok(echo.readers.length < sent, `${echo.readers.length} of ${sent} were answered`);
  peer.socket.resume();
  await waitFor(() => echo.readers.length === sent, { timeoutMs: 20_000, what: 'all of them' });
  peer.socket.destroy();
});

test('a server that closes', async (t) => {
  const { app, echo, port, registry } = await open(t);
  const idle = await new Peer(port).send([request('Host: x\r\nContent-Length: 3')]);
  await idle.seen(/HTTP\/1\.1 400/);
  const silent = new Peer(port);
  const [late, half] = [new Peer(port), new Peer(port)];
  await late.send([request('Host: x\r\nContent-Type: text/late\r\nContent-Length: 3')]);
  await half.send([request('Host: x\r\nContent-Length: 3', 'a')]);
  await waitFor(() => echo.inFlight === 2, { timeoutMs: 5000, what: 'two in flight' });
  const closed = app.close();
  await Promise.all([idle.ended(), silent.ended()]);
  t.equal(late.isEnded || half.isEnded, false, 'what has begun is awaited');
  echo.waiting.shift()!();
  await half.send(['bc']);
  await Promise.all([late.ended(), half.ended(), closed]);
  for (const { text } of [late, half]) t.match(text, /^HTTP\/1\.1 400 [\s\S]*Connection: close\r\n/);
  t.match(registry.expose(), 'tidegauge_http_requests_total{handler="/hot",code="400"} 3\n');
});

test('who is silent or slow is let go', async (t) => {
  const echo = new Echo();
  const limits = { headersTimeout: 50, requestTimeout: 100, keepAliveTimeout: 150, connectionsCheckingInterval: 20 };
  const server = createServer(limits, (_request, response) => void response.end('other'));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => void socket.end(`refused ${error.code}`));
  new HotConnections(server, new Map([['/hot', echo]]), new Map(), () => undefined);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const silent = new Peer(port);
  const slow = await new Peer(port).send([request('Host: x\r\nContent-Length: 3', 'a')]);
  const idle = await new Peer(port).send([request('Host: x\r\nContent-Length: 3')]);
  await Promise.all([silent, slow, idle].map((peer) => peer.ended()));
  t.equal(silent.text, 'refused ERR_HTTP_REQUEST_TIMEOUT');
  t.match(slow.text, /^HTTP\/1\.1 415 [\s\S]*too slowly/, 'in the words of its route');
  t.match(idle.text, /^HTTP\/1\.1 400 /);
  t.equal(echo.inFlight, 0);
});

test('a body that comes too slowly is given up long before its time is over', async (t) => {
  const echo = new Echo();
  const server = createServer({ connectionsCheckingInterval: 20 }, (_request, response) => void response.end('other'));
  let slow = 0;
  server.on('slowBody', () => slow++);
  const pace = { graceMs: 100, bytesPerSecondMin: 1000 };
  new HotConnections(server, new Map([['/hot', echo]]), new Map(), () => undefined, pace);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const begun = await new Peer(port).send([request('Host: x\r\nContent-Length: 30000', 'a')]);
  const quick = await new Peer(port).send([request('Host: x\r\nContent-Length: 30000', 'a'.repeat(20_000))]);
  await begun.ended();
  t.match(begun.text, /^HTTP\/1\.1 415 [\s\S]*too slowly/);
  t.equal(slow, 1);
  await quick.send(['a'.repeat(10_000)]);
  await quick.seen(/HTTP\/1\.1 400/);
  quick.socket.destroy();
  t.equal(echo.inFlight, 0);
});

/** A route whose every body takes longer than a turn may. */
class Busy extends Echo {
  /** The texts of the bodies, in the order in which they were stored. */
  readonly stored: string[] = [];
  onBody: (count: number) => void = () => undefined;

  override answer(body: Uint8Array, from: Parameters<HotRoute['answer']>[1]): Answer | Promise<Answer> {
    const untilMs = performance.now() + 3;
    while (performance.now() < untilMs);
    this.stored.push(Buffer.from(body).toString());
    this.onBody(this.stored.length);
    return super.answer(body, from);
  }
}

test('many bodies at once leave room for others between them', async (t) => {
  const SENDERS = 12;
  const [busy, asked] = [new Busy(), new Asked()];
  /** Bodies that were stored when each question was answered. */
  const storedBefore: number[] = [];
  const server = createServer((_request, response) => {
    storedBefore.push(busy.stored.length);
    response.end('other');
  });
  const answered: Answered = (url) => {
    if (url === '/ask') storedBefore.push(busy.stored.length);
  };
  const [routes, shortCuts] = [new Map([['/hot', busy]]), new Map([['/ask', asked]])];
  const connections = new HotConnections(server, routes, shortCuts, answered, undefined, new TurnBudget(2));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const open = async (): Promise<Peer> => {
    const peer = new Peer(port);
    await new Promise((connected) => peer.socket.once('connect', connected));
    return peer;
  };
  const senders = await Promise.all(Array.from({ length: SENDERS }, open));
  const [gone, asker, plain] = await Promise.all([open(), open(), open()]);
  const body = (text: string): string => request('Host: x\r\nContent-Length: 3', text);
  busy.onBody = (count) => {
    if (count === 1) {
      asker.socket.write('GET /ask HTTP/1.1\r\nHost: x\r\n\r\n');
      plain.socket.write(WARM);
    }
    if (busy.authorizations.includes('gone')) gone.socket.resetAndDestroy();
    if (count === SENDERS) connections.close();
  };
  for (const [i, { socket }] of senders.entries()) socket.write(body(`${10 + i}a`) + body(`${10 + i}b`));
  gone.socket.write(request('Host: x\r\nAuthorization: gone\r\nContent-Length: 3', 'off'));
  await Promise.all([...senders, gone].map((peer) => peer.ended()));
  t.equal(storedBefore.length, 2, 'a question to each of the two servers was answered');
  t.ok(Math.max(...storedBefore) < busy.stored.length, `when so many bodies were stored: ${storedBefore}`);
  t.equal(busy.inFlight, 0, 'nothing is left in flight');
  t.equal(gone.text, '');
  t.notOk(busy.stored.includes('off'), 'the body of one that is gone is dropped');
  const firsts = busy.stored.filter((text) => text.endsWith('a'));
  t.equal(firsts.length, SENDERS, 'all others are stored, though the server closes meanwhile');
  for (const [k, { text }] of senders.entries()) {
    const i = 10 + k;
    const own = busy.stored.filter((one) => one.startsWith(String(i)));
    t.equal(text.match(/HTTP\/1\.1 400/g)?.length, own.length, 'what is stored is answered');
    t.ok(own.length === 2 || /Connection: close/.test(text), 'who is not asked for more is told so');
    t.strictSame(own, [`${i}a`, `${i}b`].slice(0, own.length), 'in the order of their connection');
  }
  asker.socket.destroy();
  plain.socket.destroy();
  server.close();
});

test('work of other routes waits for its turn as well', async (t) => {
  const turn = new TurnBudget(1);
  const order: string[] = [];
  const work = (name: string) => (): string => {
    order.push(name);
    turn.took(2);
    return name;
  };
  t.equal(turn.do(work('a')), 'a', 'at once while there is room');
  const late = [turn.do(work('b')), turn.do(() => Promise.reject(new Error('not taken'))), turn.do(work('c'))];
  const fails = turn.do(() => {
    throw new Error('broken');
  });
  t.strictSame(order, ['a'], 'the others wait');
  setImmediate(() => order.push('turn'));
  t.equal(await late[0], 'b');
  await t.rejects(late[1] as Promise<string>, { message: 'not taken' });
  await t.rejects(fails as Promise<string>, { message: 'broken' });
  t.equal(await late[2], 'c');
  t.strictSame(order, ['a', 'b', 'turn', 'c']);
});
