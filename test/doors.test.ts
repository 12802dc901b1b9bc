/** Who is let in where: tokens, certificates, waivers, and how they change while the daemon runs. Real sockets. */
import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { type ChannelCredentials, Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import snappy from 'snappyjs';
import { type Test, test } from 'tap';
import { identityOf, roleOf } from '../src/api/access.ts';
import { labelValue } from '../src/model/labels.ts';
import { metric, stored } from './ingest/support.ts';
import { startDaemon } from './support/daemon.ts';
import { DoorsSite } from './support/doors.ts';
import { httpsClient } from './support/https-client.ts';
import { KedaClient } from './support/keda-client.ts';
import { KedaStack } from './support/keda-stack.ts';
import { encodeExportRequest } from './support/otlp-encoder.ts';
import { frame, headers as headersOf, RawHttp2 } from './support/raw-http2.ts';
import { encodeRequest } from './support/remote-write-2-encoder.ts';
import { encodeWriteRequest } from './support/remote-write-encoder.ts';
import { waitFor } from './support/wait.ts';

const TEAM_A = 'a-token-of-team-a-0123456789';
const READER = 'a-token-of-a-reader-0123456789';
const ADMIN = 'a-token-of-an-admin-0123456789';
const WEB_FILE = `
tokens:
  - {name: team-a, file: team-a, namespace: team-a, roles: [write]}
  - {name: grafana, file: reader, roles: [read, scale]}
  - {name: operator, file: admin, roles: [admin]}
`;
const EXPORT = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';

function site(t: Test): DoorsSite {
  const one = new DoorsSite();
  t.teardown(() => one.close());
  one.write('team-a', `${TEAM_A}\n`);
  one.write('reader', READER);
  one.write('admin', ADMIN);
  return one;
}

const sample = () => [{ timestampMs: Date.now(), value: 1 }];
const otlpBody = () =>
  encodeExportRequest([
    {
      attributes: { 'k8s.namespace.name': 'other' },
      metrics: [{ name: 'g', kind: 'gauge', points: [{ time: Date.now(), value: 1 }] }],
    },
  ]);
const jsonBody = () => {
  const dataPoints = [{ timeUnixNano: `${Date.now()}000000`, asDouble: 1 }];
  return JSON.stringify({ resourceMetrics: [{ scopeMetrics: [{ metrics: [{ name: 'j', gauge: { dataPoints } }] }] }] });
};
const LABELS = [
  ['__name__', 'm'],
  ['namespace', 'other'],
] as const;

/** Every way to send over HTTP: path, headers, body. */
const SENDERS: readonly (readonly [
  'web' | 'otlp',
  string,
  Readonly<Record<string, string>>,
  () => string | Uint8Array,
])[] = [
  [
    'web',
    '/api/v1/write',
    { 'content-type': 'application/x-protobuf' },
    () => encodeWriteRequest([{ labels: LABELS, samples: sample() }]),
  ],
  [
    'web',
    '/api/v1/push',
    { 'content-type': 'application/x-protobuf' },
    () => encodeWriteRequest([{ labels: LABELS, samples: sample() }]),
  ],
  [
    'web',
    '//write',
    { 'content-type': 'application/x-protobuf' },
    () => encodeWriteRequest([{ labels: LABELS, samples: sample() }]),
  ],
  [
    'web',
    '/write',
    { 'content-type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request', 'content-encoding': 'snappy' },
    () => encodeRequest([{ labels: LABELS, samples: sample() }]),
  ],
  ['web', '/api/v1/import/prometheus', {}, () => 'text_metric{namespace="other"} 1\n'],
  ['web', '/api/v1/otlp/v1/metrics', { 'content-type': 'application/x-protobuf' }, otlpBody],
  ['otlp', '/v1/metrics', { 'content-type': 'application/x-protobuf' }, otlpBody],
  ['otlp', '/v1/metrics', { 'content-type': 'application/json' }, jsonBody],
];

async function post(url: string, headers: Readonly<Record<string, string>>, body: string | Uint8Array) {
  const response = await fetch(url, { method: 'POST', headers, body: body as never });
  return { status: response.status, challenge: response.headers.get('www-authenticate'), text: await response.text() };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test('every way to send takes the token of somebody who may, and stamps what comes', async (t) => {
  const one = site(t);
  one.open(WEB_FILE);
  const hosts = { web: await one.web(), otlp: await one.otlpHttp() };
  for (const [port, path, headers, body] of SENDERS) {
    const url = `http://${hosts[port]}${path}`;
    const before = stored(one.bench.head).length;
    const f = async (given: Readonly<Record<string, string>>, want: number) => {
      const { status: got, challenge } = await post(url, { ...headers, ...given }, body());
      t.equal(got, want, `${path} ${JSON.stringify(Object.keys(given))}`);
      if (want === 401) t.match(challenge, /^Bearer /, path);
    };
    await f({}, 401);
    await f(bearer('b-token-of-team-a-0123456789'), 401);
    await f({ authorization: TEAM_A }, 401);
    await f({ authorization: `Basic ${Buffer.from(`team-a:${TEAM_A}`).toString('base64')}` }, 401);
    await f(bearer(READER), 403);
    t.equal(stored(one.bench.head).length, before, 'nothing of it is stored');
    const { status: got } = await post(url, { ...headers, ...bearer(TEAM_A) }, body());
    t.ok(got === 200 || got === 204, `${path}: ${got}`);
  }
  const series = stored(one.bench.head);
  t.ok(series.length >= 4);
  for (const { labels } of series) t.equal(labelValue(labels, 'namespace'), 'team-a', labels.join(' '));
  t.equal(metric(one.registry, 'tidegauge_auth_refused_total{port="web",reason="forbidden"}'), 6);
  t.equal(metric(one.registry, 'tidegauge_auth_refused_total{port="otlp_http",reason="missing"}'), 2);
  t.equal(metric(one.registry, 'tidegauge_auth_identities'), 3);
});

test('remote-write by way of the HTTP server, where nothing of it is plain', async (t) => {
  const one = site(t);
  one.open(WEB_FILE);
  const host = await one.web();
  const send = (token: string | null) =>
    new Promise<number>((resolve, reject) => {
      const headers = { 'transfer-encoding': 'chunked', ...(token === null ? {} : bearer(token)) };
      const sending = request(`http://${host}/api/v1/write`, { method: 'POST', headers }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      });
      sending.on('error', reject);
      sending.end(encodeWriteRequest([{ labels: LABELS, samples: sample() }]));
    });
  t.equal(await send(null), 401);
  t.equal(await send(READER), 403);
  t.equal(stored(one.bench.head).length, 0);
  t.equal(await send(TEAM_A), 204);
  t.strictSame(
    stored(one.bench.head).map(({ labels }) => labelValue(labels, 'namespace')),
    ['team-a'],
  );
});

test('OTLP over gRPC', async (t) => {
  const one = site(t);
  one.open(WEB_FILE);
  const client = new Client(await one.otlpGrpc(), credentials.createInsecure());
  t.teardown(() => client.close());
  const send = (authorization: string | null) =>
    new Promise<number>((resolve) => {
      const metadata = new Metadata();
      if (authorization !== null) metadata.set('authorization', authorization);
      const bytes = (value: Buffer) => value;
      client.makeUnaryRequest(EXPORT, bytes, bytes, Buffer.from(otlpBody()), metadata, (error: ServiceError | null) =>
        resolve(error === null ? status.OK : error.code),
      );
    });
  t.equal(await send(null), status.UNAUTHENTICATED);
  t.equal(await send('Bearer nobody-knows-this-token'), status.UNAUTHENTICATED);
  t.equal(await send(`Bearer ${READER}`), status.PERMISSION_DENIED);
  t.equal(stored(one.bench.head).length, 0);
  t.equal(await send(`Bearer ${TEAM_A}`), status.OK);
  t.strictSame(
    stored(one.bench.head).map(({ labels }) => labelValue(labels, 'namespace')),
    ['team-a'],
  );
});

test('a gRPC call of somebody unknown is refused before its message comes', async (t) => {
  const one = site(t);
  one.open(WEB_FILE);
  const address = await one.otlpGrpc();
  const session = connectHttp2(`http://${address}`);
  t.teardown(() => session.destroy());
  const fields = { ':method': 'POST', ':path': EXPORT, 'content-type': 'application/grpc' };
  const [answer] = (await once(session.request(fields), 'response')) as [Readonly<Record<string, string>>];
  t.equal(answer['grpc-status'], String(status.UNAUTHENTICATED));
  t.match(answer['grpc-message'], /bearer token or a certificate that may write/);
  const raw = await new RawHttp2(address).open();
  t.teardown(() => raw.socket.destroy());
  const twice = ['nobody-knows-this-token', TEAM_A].map((token) => headersOf(bearer(token)));
  const block = Buffer.concat([headersOf({ ...fields, ':scheme': 'http', ':authority': 'x' }), ...twice]);
  raw.write(frame(1, 4, 1, block));
  await raw.until('the refusal', () => raw.frames.some(({ type, stream }) => type === 1 && stream === 1));
  t.match(raw.frames.find(({ type }) => type === 1)!.payload.toString('latin1'), /the token is not known/);
});

test('queries, scaling and administration', async (t) => {
  const one = site(t);
  one.open(WEB_FILE);
  const host = await one.web();
  const f = async (method: string, path: string, token: string | null, want: number) => {
    const response = await fetch(`http://${host}${path}`, { method, headers: token === null ? {} : bearer(token) });
    t.equal(response.status, want, `${method} ${path} ${token?.slice(0, 20)}`);
    await response.text();
    return response;
  };
  await f('GET', '/-/healthy', null, 200);
  await f('GET', '/nowhere', null, 404);
  const refused = await f('GET', '/api/v1/labels', null, 401);
  t.match(refused.headers.get('www-authenticate'), /Bearer .*Basic /);
  await f('GET', '/api/v1/labels', TEAM_A, 403);
  await f('GET', '/api/v1/labels', READER, 200);
  await f('GET', '/api/v1/scale/value', READER, 200);
  await f('GET', '/api/v1/scale/value', ADMIN, 403);
  await f('POST', '/-/quit', READER, 403);
  await f('POST', '/-/quit', null, 401);
  await f('POST', '/-/quit', ADMIN, 200);
  const basic = { authorization: `Basic ${Buffer.from(`anybody:${READER}`).toString('base64')}` };
  t.equal((await fetch(`http://${host}/api/v1/labels`, { headers: basic })).status, 200, 'as a browser sends it');
  const adminByPassword = { authorization: `Basic ${Buffer.from(`x:${ADMIN}`).toString('base64')}` };
  t.equal((await fetch(`http://${host}/-/quit`, { method: 'POST', headers: adminByPassword })).status, 401);
  t.end();
});

test('while nobody is named, loopback is open, and elsewhere queries alone', async (t) => {
  const f = async (webFile: string, flags: readonly string[], want: Readonly<Record<string, number>>) => {
    const one = site(t);
    one.open(webFile, flags);
    const host = await one.web();
    const body = encodeWriteRequest([{ labels: LABELS, samples: sample() }]);
    // A header that somebody before us looks at.
    const headers = bearer('of-a-proxy-in-front-of-us');
    const got = {
      write: (await post(`http://${host}/api/v1/write`, headers, body)).status,
      read: (await fetch(`http://${host}/api/v1/labels`, { headers })).status,
      admin: (await fetch(`http://${host}/-/quit`, { method: 'POST', headers })).status,
    };
    t.strictSame(got, want, `${webFile} ${flags.join(' ')}`);
  };
  const elsewhere = ['--web.listen-address=192.0.2.1:9090'];
  await f('', [], { write: 204, read: 200, admin: 200 });
  await f('', [...elsewhere, '--auth.waive=write'], { write: 204, read: 200, admin: 401 });
  await f('', [...elsewhere, '--auth.waive=write,admin'], { write: 204, read: 200, admin: 200 });
  await f('anonymous: [write]', elsewhere, { write: 204, read: 200, admin: 401 });
  // A waiver does not open what somebody is named for.
  const named = 'tokens: [{name: a, file: team-a, roles: [write]}]';
  await f(named, [...elsewhere, '--auth.waive=write'], { write: 401, read: 200, admin: 401 });
  await f(named, [], { write: 401, read: 200, admin: 200 });
  t.end();
});

test('tokens change while the daemon runs; what cannot be used changes nothing', async (t) => {
  const one = site(t);
  const doors = one.open(WEB_FILE);
  const host = await one.web();
  const send = async (token: string) =>
    (
      await post(
        `http://${host}/api/v1/write`,
        bearer(token),
        encodeWriteRequest([{ labels: LABELS, samples: sample() }]),
      )
    ).status;
  const other = 'another-token-of-team-a-012345';
  t.equal(await send(other), 401);
  one.write('team-a', `# both, while senders change\n${TEAM_A}\n${other}\n`);
  doors.refresh();
  t.strictSame([await send(TEAM_A), await send(other)], [204, 204]);
  one.write('team-a', other);
  doors.refresh();
  t.strictSame([await send(TEAM_A), await send(other)], [401, 204]);
  for (const broken of ['', 'short', 'with a space in it, and long enough', READER]) {
    one.write('team-a', broken);
    doors.refresh();
    t.equal(await send(other), 204, JSON.stringify(broken));
  }
  t.equal(metric(one.registry, 'tidegauge_auth_reload_failures_total'), 4);
  const logs = one.logs.join('');
  t.match(logs, /cannot read again who is known/);
  for (const secret of [TEAM_A, READER, ADMIN, other, 'with a space'])
    t.notOk(logs.includes(secret), 'no secret in the log');
  t.notOk(one.registry.expose().includes(other));
  t.end();
});

test('the file is looked at by itself', async (t) => {
  const one = site(t);
  one.open(WEB_FILE);
  const host = await one.web();
  const next = 'the-next-token-of-team-a-01234';
  one.write('team-a', next);
  const body = () => encodeWriteRequest([{ labels: LABELS, samples: sample() }]);
  const isKnown = async () => (await post(`http://${host}/write`, bearer(next), body())).status === 204;
  await waitFor(isKnown, { timeoutMs: 15_000, what: 'the new token to be known' });
});

const TLS = 'tls_server_config: {cert_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt';
const CLIENTS = `
clients:
  - {name: collector, san: collector.monitoring, namespace: team-b, roles: [write]}
  - {name: keda, common_name: keda-operator, namespace: shop, roles: [scale]}
`;

test('certificates of clients', async (t) => {
  const one = site(t);
  const { caPem, client } = one.writeCertificates();
  one.open(`${TLS}, client_auth_type: VerifyClientCertIfGiven, min_version: TLS13}\n${CLIENTS}`);
  const host = await one.web();
  const collector = client({ commonName: 'x', san: 'collector.monitoring' });
  const stranger = new DoorsSite();
  t.teardown(() => stranger.close());
  const forged = stranger.writeCertificates().client({ commonName: 'x', san: 'collector.monitoring' });
  const send = async (own: typeof collector | null) => {
    const request = { path: '/api/v1/import/prometheus', method: 'POST', body: 'm 1\n' };
    try {
      return (await httpsClient(host, caPem, own)(request)).status;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    }
  };
  t.equal(await send(collector), 204);
  t.equal(await send(null), 401);
  t.equal(
    await send(client({ commonName: 'collector.monitoring' })),
    401,
    'a name is one of those that it is meant for',
  );
  t.equal(await send(client({ commonName: 'keda-operator' })), 403);
  t.match(await send(forged), /ECONNRESET|socket hang up|EPIPE/, 'nobody vouches for it');
  t.strictSame(
    stored(one.bench.head).map(({ labels }) => labels.join(' ')),
    ['__name__ m namespace team-b'],
  );
  t.ok(metric(one.registry, 'tidegauge_tls_certificate_not_after_seconds{port="web"}')! > Date.now() / 1000);
  const old = new Promise((resolve) => {
    const { hostname, port } = new URL(`https://${host}`);
    const socket = connectTls({ host: hostname, port: Number(port), ca: caPem, maxVersion: 'TLSv1.2' });
    socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code));
    socket.on('secureConnect', () => resolve('connected'));
  });
  t.match(await old, /PROTOCOL_VERSION|ECONNRESET/);
});

test('a port that asks everybody for a certificate', async (t) => {
  const one = site(t);
  const { caPem, client } = one.writeCertificates();
  // Nobody is named: whoever the authority vouches for may send, also from elsewhere.
  one.open(`${TLS}}\n`, ['--web.listen-address=192.0.2.1:9090']);
  const host = await one.web();
  const grpc = await one.otlpGrpc();
  const own = client({ commonName: 'any' });
  const request = { path: '/api/v1/import/prometheus', method: 'POST', body: 'm 1\n' };
  t.equal((await httpsClient(host, caPem, own)(request)).status, 204);
  t.equal((await httpsClient(host, caPem, own)({ path: '/-/quit', method: 'POST' })).status, 401);
  await t.rejects(httpsClient(host, caPem, null)(request));
  const call = (channel: ChannelCredentials) =>
    new Promise<number>((resolve) => {
      const grpcClient = new Client(grpc.replace('127.0.0.1', 'localhost'), channel);
      const bytes = (value: Buffer) => value;
      grpcClient.makeUnaryRequest(EXPORT, bytes, bytes, Buffer.from(otlpBody()), (error: ServiceError | null) => {
        grpcClient.close();
        resolve(error === null ? status.OK : error.code);
      });
    });
  const [ca, key, cert] = [caPem, own.keyPem, own.certPem].map((pem) => Buffer.from(pem));
  t.equal(await call(credentials.createSsl(ca, key, cert)), status.OK);
  t.equal(await call(credentials.createSsl(ca)), status.UNAVAILABLE);
  t.equal(await call(credentials.createInsecure()), status.UNAVAILABLE);
});

test('renewed certificates are used by new connections, and broken ones are not', async (t) => {
  const one = site(t);
  const first = one.writeCertificates();
  one.open('tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n');
  const [web, grpc] = [await one.web(), await one.otlpGrpc()];
  t.equal((await httpsClient(web, first.caPem)({ path: '/-/healthy' })).status, 200);
  one.write('tls.crt', 'nonsense');
  const isTold = () => one.logs.filter((line) => line.includes('cannot be used; the former ones stay')).length >= 2;
  await waitFor(isTold, { timeoutMs: 15_000, what: 'the broken files to be noticed' });
  t.equal((await httpsClient(web, first.caPem)({ path: '/-/healthy' })).status, 200);
  const second = one.writeCertificates();
  for (const address of [web, grpc]) {
    const isRenewed = () =>
      new Promise<boolean>((resolve) => {
        const { hostname, port } = new URL(`https://${address}`);
        const socket = connectTls({
          host: hostname,
          port: Number(port),
          ca: second.caPem,
          ALPNProtocols: ['h2', 'http/1.1'],
        });
        socket.on('secureConnect', () => {
          socket.destroy();
          resolve(true);
        });
        socket.on('error', () => resolve(false));
      });
    await waitFor(isRenewed, { timeoutMs: 15_000, what: `the renewed certificate of ${address}` });
  }
});

test('KEDA by its certificate, and what it may ask about', async (t) => {
  const one = site(t);
  const { caPem, client } = one.writeCertificates();
  one.open(`${TLS}, client_auth_type: VerifyClientCertIfGiven}\n${CLIENTS}`);
  const stack = new KedaStack({ keda: one.door('keda') });
  t.teardown(() => stack.close());
  const { address } = await stack.openKeda();
  for (const [namespace, value] of [
    ['shop', 3],
    ['bank', 100],
  ] as const) {
    const labels = { __name__: 'depth', namespace };
    stack.writer.remoteWrite(encodeWriteRequest([{ labels, samples: [{ timestampMs: stack.clock.nowMs(), value }] }]));
  }
  const trigger = (namespace: string) => ({
    namespace,
    name: 'web',
    metadata: { query: 'sum(depth)', targetValue: '5' },
  });
  const ask = async (names: { commonName: string } | null, namespace: string) => {
    const own = names === null ? null : client(names);
    const [ca, key, cert] = [caPem, own?.keyPem, own?.certPem].map((pem) =>
      pem === undefined ? null : Buffer.from(pem),
    );
    const asker = new KedaClient(address.replace('127.0.0.1', 'localhost'), credentials.createSsl(ca, key, cert));
    try {
      const [answer] = await asker.getMetrics(trigger(namespace), 's0-x');
      return answer!.metricValueFloat;
    } catch (error) {
      return (error as ServiceError).code;
    } finally {
      asker.close();
    }
  };
  t.equal(await ask({ commonName: 'keda-operator' }, 'shop'), 3, 'the other namespace is not in the sum');
  t.equal(await ask({ commonName: 'keda-operator' }, 'bank'), status.PERMISSION_DENIED);
  t.equal(await ask(null, 'shop'), status.UNAUTHENTICATED);
  t.equal(await ask({ commonName: 'somebody' }, 'shop'), status.UNAUTHENTICATED);
});

test('a body of somebody unknown is not read', async (t) => {
  const one = site(t);
  one.open(WEB_FILE);
  const host = await one.web();
  const bytes = snappy.compress(new Uint8Array(8 * 2 ** 20));
  const { status: got } = await post(`http://${host}/api/v1/write`, {}, bytes);
  t.equal(got, 401);
  t.equal(metric(one.bench.registry, 'tidegauge_ingest_body_bytes_total{protocol="remote_write"}') ?? 0, 0);
  t.equal(
    metric(one.bench.registry, 'tidegauge_ingest_requests_total{protocol="remote_write",outcome="unauthenticated"}'),
    1,
  );
});

/** With Node's client, which adds nothing that a page of a browser would say. */
async function ask(
  url: string,
  method: string,
  headers: Readonly<Record<string, string>>,
  body = '',
): Promise<{ readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string }> {
  const asking = request(url, { method, headers, agent: false });
  asking.end(body);
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return { status: response.statusCode!, headers: response.headers, text: Buffer.concat(parts).toString() };
}

test('every route of the daemon, by the short way and the long one', async (t) => {
  const one = site(t);
  const daemon = await startDaemon([`--web.config.file=${one.write('web.yml', WEB_FILE)}`]);
  t.teardown(() => daemon.stop());
  const base = `http://${daemon.listen.web}`;
  for (const path of ['/openapi', '/openapi.json', '/api/v1/live/decisions'])
    t.equal((await ask(`${base}${path}`, 'GET', {})).status, 401, path);
  const { text } = await ask(`${base}/openapi.json`, 'GET', bearer(READER));
  const { paths } = JSON.parse(text) as { readonly paths: Readonly<Record<string, object>> };
  const open: string[] = [];
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of Object.keys(operations)) {
      const { status: got } = await ask(`${base}${path.replaceAll(/[{}]/g, '')}`, method.toUpperCase(), {});
      if (got !== 401) open.push(`${method} ${path} ${got}`);
    }
  }
  t.strictSame(open, ['get /-/healthy 200', 'head /-/healthy 200', 'get /-/ready 200', 'head /-/ready 200']);
  t.ok(Object.keys(paths).length > 40, `${Object.keys(paths).length} paths`);
  t.equal((await ask(`${base}/scaling`, 'GET', {})).status, 200, 'the page');
  t.equal((await ask(`${base}/memstore/reset`, 'POST', bearer(READER))).status, 403);
  const form = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '7' };
  const questions = [
    ['GET', '/api/v1/query?query=1', {}, ''],
    ['POST', '/api/v1/query', form, 'query=1'],
    ['GET', '/api/v1/query_range?query=1&start=0&end=1&step=1', {}, ''],
  ] as const;
  for (const [method, path, headers, body] of questions) {
    for (const [token, want] of [
      ['', 401],
      ['nobody-knows-this-token', 401],
      [TEAM_A, 403],
      [READER, 200],
    ] as const) {
      const given = { ...headers, ...(token === '' ? {} : bearer(token)) };
      const short = await ask(`${base}${path}`, method, given, body);
      // A page of a browser goes the long way.
      const long = await ask(`${base}${path}`, method, { ...given, origin: base }, body);
      const what = `${method} ${path} ${token.slice(0, 12)}`;
      t.equal(short.status, want, what);
      t.equal(short.status, long.status, what);
      if (want !== 200) t.equal(short.text, long.text, what);
      for (const name of ['www-authenticate', 'x-content-type-options', 'content-type', 'connection'])
        t.equal(short.headers[name], long.headers[name], `${what}: ${name}`);
    }
  }
});

test('KEDA by any port that serves it', async (t) => {
  const one = site(t);
  const daemon = await startDaemon([`--web.config.file=${one.write('web.yml', WEB_FILE)}`]);
  t.teardown(() => daemon.stop());
  for (const address of [daemon.listen.keda, daemon.listen.otlpHttp]) {
    const client = new Client(address, credentials.createInsecure());
    t.teardown(() => client.close());
    const call = (path: string, token: string | null) =>
      new Promise<number>((resolve) => {
        const metadata = new Metadata();
        if (token !== null) metadata.set('authorization', `Bearer ${token}`);
        const bytes = (value: Buffer) => value;
        client.makeUnaryRequest(path, bytes, bytes, Buffer.alloc(0), metadata, (error: ServiceError | null) =>
          resolve(error === null ? status.OK : error.code),
        );
      });
    const isActive = '/externalscaler.ExternalScaler/IsActive';
    t.equal(await call(isActive, null), status.UNAUTHENTICATED, address);
    t.equal(await call(isActive, TEAM_A), status.PERMISSION_DENIED, address);
    t.equal(await call(isActive, READER), status.INVALID_ARGUMENT, 'let in, with nothing to ask');
    t.equal(await call('/externalscaler.ExternalScaler/StreamIsActive', null), status.UNAUTHENTICATED);
    t.equal(await call('/grpc.health.v1.Health/Check', null), status.OK, 'probes show nothing');
  }
});

test('what is not known to be harmless is administration', async (t) => {
  t.equal(roleOf('POST', '/-/whatever'), 'admin');
  t.equal(roleOf('DELETE', '/api/v1/series'), 'admin');
  t.equal(roleOf('PUT', '/api/v1/admin/tsdb/delete_series'), 'admin');
  t.equal(roleOf('GET', '/api/v1/status/config'), 'read');
  t.equal(roleOf('OPTIONS', '/api/v1/query'), null);
  t.type(identityOf, 'function');
});
