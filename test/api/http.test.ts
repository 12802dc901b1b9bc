import { get } from 'node:https';
import { connect } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { type Logger, pino } from 'pino';
import { test } from 'tap';
import { abortedByClient, acceptForms, bindHost, buildHttp, listenHttp, parseForm } from '../../src/api/http.ts';
import { generateCertificate } from '../../src/api/kubernetes/certificate.ts';
import { RouteTable } from '../../src/api/route-table.ts';
import { CodedError } from '../../src/model/errors.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { Registry } from '../../src/telemetry/registry.ts';

const silent = pino({ level: 'silent' });

function linesOf(level: string): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  return { logger: pino({ level }, { write: (line) => void lines.push(line) }), lines };
}

/** An instance with routes that echo and fail. */
function build(options: Partial<Parameters<typeof buildHttp>[0]> = {}): FastifyInstance {
  const app = buildHttp({ logger: silent, ...options });
  app.get('/things/:name', async () => 'thing');
  app.put('/things/:name', async () => 'put');
  app.get('/files/*', async () => 'file');
  app.get('/coded', async () => {
    throw new CodedError('unknown_metric', 'no such metric');
  });
  app.get('/broken', async () => {
    throw new TypeError('secret');
  });
  void app.register(async (scope) => {
    acceptForms(scope);
    scope.post('/form', async (request) => [...parseForm(request)].join(' '));
  });
  return app;
}

test('unknown paths, wrong methods and errors', async (t) => {
  const { logger, lines } = linesOf('info');
  const app = build({ logger });
  const f = async (method: 'GET' | 'POST' | 'HEAD' | 'PUT', url: string, want: readonly unknown[]) => {
    const { statusCode, body, headers } = await app.inject({ method, url });
    t.strictSame([statusCode, body, headers.allow], want, `${method} ${url}`);
    if (statusCode >= 400) t.equal(headers['content-type'], 'text/plain; charset=utf-8', url);
  };
  await f('GET', '/things/a', [200, 'thing', undefined]);
  await f('GET', '/files/a/b', [200, 'file', undefined]);
  await f('POST', '/things/a?x', [405, 'Method Not Allowed\n', 'GET, PUT']);
  await f('HEAD', '/things/a', [405, '', 'GET, PUT']);
  await f('POST', '/files/a/b', [405, 'Method Not Allowed\n', 'GET']);
  await f('GET', '/form', [405, 'Method Not Allowed\n', 'POST']);
  await f('GET', '/things', [404, '404 page not found\n', undefined]);
  await f('GET', '/Things/a', [404, '404 page not found\n', undefined]);
  await f('GET', '/things/a/', [404, '404 page not found\n', undefined]);
  await f('GET', '/things/%zz', [400, 'Bad Request\n', undefined]);
  await f('GET', `/things/${'a'.repeat(LIMITS.httpPathParameterLengthMax + 1)}`, [400, 'Bad Request\n', undefined]);
  await f('GET', '/coded', [404, 'no such metric\n', undefined]);
  t.strictSame(lines, [], 'nothing is logged for a request');
  await f('GET', '/broken', [500, 'internal error\n', undefined]);
  t.match(lines, [/"message":"secret"/], 'but for a fault of ours');
  const posted = await app.inject({
    method: 'POST',
    url: '/nothing',
    headers: { 'content-type': 'application/json' },
    payload: '{',
  });
  t.equal(posted.statusCode, 404, 'no body is read for an unknown path');
});

test('a surface can refuse in its own words', async (t) => {
  const app = build({
    refuse: (_request, reply, { status }) => reply.code(status).send({ kind: 'Status', code: status }),
  });
  const f = async (method: 'GET' | 'POST', url: string, code: number) =>
    t.strictSame((await app.inject({ method, url })).json(), { kind: 'Status', code }, url);
  await f('GET', '/nothing', 404);
  await f('POST', '/things/a', 405);
  await f('GET', '/things/%zz', 400);
});

test('forms: the body before the URL, other bodies left aside', async (t) => {
  const app = build({ bodyBytesMax: 100 });
  const f = async (url: string, payload: string, type: string, want: string) => {
    const reply = await app.inject({ method: 'POST', url, payload, headers: { 'content-type': type } });
    t.equal(reply.body, want, `${url} ${payload}`);
  };
  const form = 'application/x-www-form-urlencoded';
  await f('/form', 'a=1&b=%2B+x', form, 'a,1 b,+ x');
  await f('/form?a=2', 'a=1', form, 'a,1 a,2');
  await f('/form?a=2', 'a=1', `${form}; charset=UTF-8`, 'a,1 a,2');
  await f('/form?a=2', '', form, 'a,2');
  await f('/form?a=2', '{"a":1}', 'application/json', 'a,2');
  await f('/form', 'a=%zz', form, 'a,%zz');
  await f('/form', 'a'.repeat(101), form, 'Request body is too large\n');
});

test('requests are counted by route and code, over all instances of a registry', async (t) => {
  const registry = new Registry();
  const { logger, lines } = linesOf('debug');
  const apps = [build({ registry, logger }), build({ registry })];
  for (const app of apps) {
    await app.inject({ method: 'GET', url: '/things/a' });
    await app.inject({ method: 'GET', url: '/things/b' });
    await app.inject({ method: 'GET', url: '/nothing' });
  }
  t.match(registry.expose(), 'tidegauge_http_requests_total{handler="/things/:name",code="200"} 4\n');
  t.match(registry.expose(), 'tidegauge_http_requests_total{handler="unknown",code="404"} 2\n');
  t.equal(lines.length, 3, 'at debug, one line each');
  t.match(JSON.parse(lines[0]!), { method: 'GET', handler: '/things/:name', status: 200, msg: 'request' });
});

test('over a socket: limits, and what is not HTTP', async (t) => {
  const { logger, lines } = linesOf('info');
  const app = build({ logger });
  t.teardown(() => app.close());
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.match(address, /^127\.0\.0\.1:[1-9]\d*$/);
  const { headersTimeout, requestTimeout, keepAliveTimeout, maxConnections } = app.server;
  t.strictSame([headersTimeout, requestTimeout, keepAliveTimeout, maxConnections], [5000, 30_000, 95_000, 4096]);
  const port = Number(address.split(':')[1]);
  const f = async (text: string, want: RegExp) => t.match(await exchange(port, text), want, text.slice(0, 40));
  await f('nonsense\r\n\r\n', /^HTTP\/1\.1 400 Bad Request\r\n(?:.*\r\n)*\r\n400 Bad Request$/);
  await f(`GET /things/a?${'x'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, /^HTTP\/1\.1 200 OK/);
  await f(`GET /things/a?${'x'.repeat(70_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, /^HTTP\/1\.1 431 /);
  t.strictSame(lines, [], 'nothing of this is logged');
});

test('over TLS', async (t) => {
  const { certPem, keyPem } = generateCertificate(['localhost'], Date.now());
  const app = build({ https: { cert: certPem, key: keyPem } });
  t.teardown(() => app.close());
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  const status = await new Promise((resolve, reject) => {
    const request = get(`https://${address}/things/a`, { rejectUnauthorized: false }, (reply) =>
      resolve(reply.statusCode),
    );
    request.on('error', reject);
  });
  const { headersTimeout, requestTimeout, keepAliveTimeout } = app.server;
  t.strictSame([status, headersTimeout, requestTimeout, keepAliveTimeout], [200, 5000, 30_000, 95_000]);
});

test('a signal tells that the client went away, and only that', async (t) => {
  const signals: AbortSignal[] = [];
  let arrived = (): void => {};
  const arrival = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const app = buildHttp({ logger: silent });
  app.get('/quick', async (_request, reply) => {
    signals.push(abortedByClient(reply));
    return 'done';
  });
  app.get('/slow', async (_request, reply) => {
    const signal = abortedByClient(reply);
    signals.push(signal);
    arrived();
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return 'nobody hears this';
  });
  t.teardown(() => app.close());
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.equal(await (await fetch(`http://${address}/quick`)).text(), 'done');
  const client = new AbortController();
  const slow = t.rejects(fetch(`http://${address}/slow`, { signal: client.signal }));
  await arrival;
  client.abort();
  await slow;
  const [quick, gone] = signals;
  await new Promise<void>((resolve) => (gone!.aborted ? resolve() : gone!.addEventListener('abort', () => resolve())));
  t.strictSame([quick!.aborted, gone!.aborted], [false, true]);
});

test('hosts and routes', async (t) => {
  t.equal(bindHost('127.0.0.1'), '127.0.0.1');
  t.ok(['::', '0.0.0.0'].includes(bindHost('')));
  const routes = new RouteTable();
  routes.add('/a/:b/c', ['GET']);
  routes.add('/a/*', ['POST']);
  routes.add('/', ['GET']);
  const f = (url: string, want: string[]) => t.strictSame(routes.methodsOf(url), want, url);
  f('/a/x/c?y=/', ['GET', 'POST']);
  f('/a/x/c/d', ['POST']);
  f('/a', []);
  f('/', ['GET']);
  f('/b', []);
});

/** Sends text as it is and returns all that comes back until the other side closes. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let reply = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      reply += chunk;
    });
    socket.on('close', () => resolve(reply));
    socket.on('error', reject);
  });
}
