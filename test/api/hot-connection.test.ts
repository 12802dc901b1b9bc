/**
 * Connections that are read without Node's HTTP server. The oracle is that server: a connection that began with another
 * request belongs to it, so the same bytes are sent once to each, and the replies must be the same.
 */
import { createHash } from 'node:crypto';
import { createServer, IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { type Test, test } from 'tap';
import { HotConnections } from '../../src/api/hot-connection.ts';
import { type Answer, addHotRoute, type HotRoute } from '../../src/api/hot-route.ts';
import { buildHttp, listenHttp } from '../../src/api/http.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { waitFor } from '../support/wait.ts';

const BODY_BYTES_MAX = 3_000_000;
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

function digest(body: Uint8Array): string {
  return createHash('sha1').update(body).digest('hex');
}

async function open(t: Test): Promise<{ app: FastifyInstance; echo: Echo; port: number; registry: Registry }> {
  const registry = new Registry();
  const app = buildHttp({ logger: pino({ level: 'silent' }), registry });
  app.get('/other', async () => 'other');
  app.post('/cold', async () => 'cold');
  const echo = new Echo();
  addHotRoute(app, echo);
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  return { app, echo, port: Number(address.split(':').at(-1)), registry };
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
  new HotConnections(server, new Map([['/hot', echo]]), () => undefined);
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
