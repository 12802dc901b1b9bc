/** The metrics API over real TLS sockets, asked as kube-apiserver, an HPA and kubectl ask. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { type Test, test } from 'tap';
import { generateCertificate } from '../../../src/api/kubernetes/certificate.ts';
import type { ExternalMetric } from '../../../src/api/kubernetes/external-metrics.ts';
import { negotiate } from '../../../src/api/kubernetes/negotiation.ts';
import { type KubernetesOptions, openKubernetes } from '../../../src/api/kubernetes/server.ts';
import type { Material } from '../../../src/api/kubernetes/serving.ts';
import { type HttpsReply, httpsClient } from '../../support/https-client.ts';
import { kubectlFor } from '../../support/kubectl.ts';
import { ScalingStack } from '../../support/scaling-stack.ts';

const E = '/apis/external.metrics.k8s.io/v1beta1';
const AGGREGATED = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
const TABLE =
  'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json';

const METRICS: readonly ExternalMetric[] = [
  { name: 'queue_depth', query: 'sum(queue_depth)', namespaced: true },
  { name: 'queue_depth_all', query: 'sum(queue_depth)', namespaced: false },
  { name: 'queue_each', query: 'sum by (queue) (queue_depth)', namespaced: true },
  { name: 'negative', query: 'sum(queue_depth) - 1e6', namespaced: true },
  { name: 'ratio', query: 'sum(queue_depth) / 0', namespaced: true },
  { name: 'typo', query: 'sum(queue_dpeth)', namespaced: true },
  { name: 'constant', query: 'vector(0)', namespaced: true },
  { name: `long_${'x'.repeat(300)}`, query: 'vector(1)', namespaced: true },
];

function fill(stack: ScalingStack): void {
  stack.put({ __name__: 'queue_depth', namespace: 'shop', queue: 'a', version: 'v1.2' }, 1.5);
  stack.put({ __name__: 'queue_depth', namespace: 'shop', queue: 'b', version: 'v1x2' }, 2000);
  stack.put({ __name__: 'queue_depth', namespace: 'other', queue: 'a' }, 40);
}

async function open(t: Test, stack = new ScalingStack(), more: Partial<KubernetesOptions> = {}) {
  const server = await openKubernetes(optionsFor(stack, more));
  t.teardown(() => server.close());
  const send = httpsClient(server.address, server.caPem ?? (more.certificate as Material).certPem);
  const get = (path: string, headers: Readonly<Record<string, string>> = {}) => send({ path, headers });
  return { stack, server, send, get };
}

function optionsFor(stack: ScalingStack, more: Partial<KubernetesOptions>): KubernetesOptions {
  const { readings, engine, clock, logger, registry } = stack;
  const listen = { host: '127.0.0.1', port: 0 };
  const fixed = { listen, allowUnauthenticated: false, certificate: null, externalMetrics: METRICS };
  return { ...fixed, readings, engine, clock, logger, registry, isReady: () => true, ...more };
}

function json(reply: HttpsReply): unknown {
  return JSON.parse(reply.text);
}

test('an HPA reads exactly one item, under its namespace and selector', async (t) => {
  const { stack, get } = await open(t);
  fill(stack);
  const f = async (path: string, value: string) => {
    const reply = await get(`${E}/namespaces/${path}`, { Accept: 'application/vnd.kubernetes.protobuf, */*' });
    t.equal(reply.status, 200, `${path}: ${reply.text}`);
    t.match(reply.headers['content-type'], /^application\/json/);
    const metric = path.split('/')[1]!.split('?')[0]!;
    t.strictSame(json(reply), {
      kind: 'ExternalMetricValueList',
      apiVersion: 'external.metrics.k8s.io/v1beta1',
      metadata: {},
      items: [{ metricName: metric, metricLabels: {}, timestamp: '2026-11-21T10:00:00Z', value }],
    });
  };
  await f('shop/queue_depth', '2001500m');
  await f('other/queue_depth', '40');
  await f('shop/queue_depth_all', '2041500m');
  await f('shop/queue_depth?labelSelector=queue%3Da', '1500m');
  await f('shop/queue_depth?labelSelector=queue+in+%28b%2Cc%29%2C%21absent', '2k');
  await f('shop/queue_depth?labelSelector=queue%20in%20(b)&limit=500&resourceVersion=0', '2k');
  await f('shop/queue_depth?labelSelector=version+in+(v1.2)', '1500m');
  await f('shop/queue_depth?labelSelector=', '2001500m');
  await f('shop/queue_depth_all?labelSelector=namespace%3Dother', '40');
  await f('shop/constant', '0');
  await f(`shop/long_${'x'.repeat(300)}`, '1');
  const each = json(await get(`${E}/namespaces/shop/queue_each?labelSelector=queue%3Da`));
  t.match(each, { items: [{ metricName: 'queue_each', metricLabels: { queue: 'a' }, value: '1500m' }] });
});

test('a metric may say what is answered without data, and how a value is made', async (t) => {
  const externalMetrics = [
    { name: 'widest', query: 'queue_depth', namespaced: true, policy: { reduce: 'max', clampMax: '1k' } },
    { name: 'quiet', query: 'nope', namespaced: true, policy: { noData: '7' } },
    { name: 'ended', query: 'sum(queue_depth)', namespaced: true, policy: { noData: 'last:10m' } },
  ];
  const { stack, get } = await open(t, new ScalingStack(), { externalMetrics });
  fill(stack);
  const f = async (name: string, value: string) =>
    t.match(json(await get(`${E}/namespaces/shop/${name}`)), { items: [{ value }] }, name);
  await f('widest', '1k');
  await f('quiet', '7');
  await f('ended', '2001500m');
  stack.clock.advance(400_000);
  t.match(json(await get(`${E}/namespaces/shop/widest`)), { code: 503, message: /stale/ });
  await f('ended', '2001500m');
  t.match(stack.recorder.decisions({ limit: 1 }), [
    { outcome: 'last', subject: { surface: 'kubernetes', namespace: 'shop', name: 'ended', scope: ['shop'] } },
  ]);
  const bad = [{ name: 'bad', query: 'x', namespaced: true, policy: { freshness: 'soon' } }];
  await t.rejects(openKubernetes(optionsFor(new ScalingStack(), { externalMetrics: bad })), {
    code: 'bad_config',
    message: /cannot use external metric "bad": cannot read freshness: got "soon"/,
  });
});

test('the timestamp is that of the newest sample', async (t) => {
  const { stack, get } = await open(t);
  fill(stack);
  stack.clock.advance(61_500);
  t.match(json(await get(`${E}/namespaces/shop/queue_depth`)), { items: [{ timestamp: '2026-11-21T10:00:00Z' }] });
  t.match(json(await get(`${E}/namespaces/shop/constant`)), { items: [{ timestamp: '2026-11-21T10:01:01Z' }] });
});

test('an absence is an error with its reason', async (t) => {
  const { stack, get } = await open(t, new ScalingStack({ warmsUp: false }));
  const f = async (path: string, code: number, reason: string, message: string | RegExp) => {
    const reply = await get(`${E}/namespaces/${path}`);
    t.match(
      json(reply),
      { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code, reason, message },
      path,
    );
    t.equal(reply.status, code);
    t.equal(reply.headers['retry-after'], undefined, 'client-go would block on it');
  };
  await f(
    'shop/queue_depth',
    503,
    'ServiceUnavailable',
    'metric queue_depth: warming up: no sample received since the start [warming_up]',
  );
  fill(stack);
  await f('shop/nope', 404, 'NotFound', /^the server could not find the metric nope for $/);
  await f('shop/nope?labelSelector=%3D', 404, 'NotFound', /nope/);
  await f('shop/typo', 404, 'NotFound', 'metric typo: unknown metric "queue_dpeth" [unknown_metric]');
  await f('empty/queue_depth', 404, 'NotFound', 'metric queue_depth: unknown metric "queue_depth" [unknown_metric]');
  await f(
    'shop/queue_depth?labelSelector=queue%3Dz',
    404,
    'NotFound',
    /no series match queue_depth\{queue="z"\} \[no_series]$/,
  );
  await f('shop/queue_each', 422, 'Invalid', /ambiguous: 2 series/);
  await f('shop/negative', 503, 'ServiceUnavailable', /negative: -/);
  await f('shop/ratio', 503, 'ServiceUnavailable', /not a number: Infinity/);
  await f('shop/queue_depth?labelSelector=queue%3E5', 400, 'BadRequest', /operator ">" is not supported/);
  await f(
    'shop/queue_depth?labelSelector=queue+in+%28a',
    400,
    'BadRequest',
    "unable to parse requirement: found '', expected: ',' or ')'",
  );
  stack.clock.advance(900_000);
  await f(
    'shop/queue_depth',
    503,
    'ServiceUnavailable',
    'metric queue_depth: stale since 2026-11-21T10:00:00Z, 15m ago [stale]',
  );
  t.match(stack.registry.expose(), 'tidegauge_kubernetes_requests_total{code="422"} 1');
});

test('a query that fails, takes too long, or breaks the daemon is never a value', async (t) => {
  const stack = new ScalingStack();
  const basis = { timeMs: 0, newestMs: null, series: 0, sourcesExpected: 0, sourcesSeen: 0 };
  const answers = [
    Promise.resolve({ kind: 'absence', code: 'query_too_large', reason: 'too many samples', ...basis } as const),
    Promise.resolve({ kind: 'absence', code: 'query_timeout', reason: 'took too long', ...basis } as const),
    Promise.reject(new TypeError('secret detail')),
  ];
  for (const answer of answers) answer.catch(() => {});
  const { get } = await open(t, stack, {
    readings: { read: () => answers.shift()!, readList: () => Promise.reject(new Error()) },
  });
  const path = `${E}/namespaces/shop/queue_depth`;
  t.match(json(await get(path)), {
    code: 500,
    reason: 'InternalError',
    message: 'Internal error occurred: unable to fetch metrics',
    details: { causes: [{ reason: 'query_too_large', message: /too many samples/ }] },
  });
  t.match(json(await get(path)), { code: 504, reason: 'Timeout', message: /^Timeout: / });
  const broken = await get(path);
  t.match(json(broken), { code: 500, reason: 'InternalError' });
  t.notMatch(broken.text, /secret detail/);
});

test('discovery, legacy', async (t) => {
  const { get } = await open(t);
  const version = { groupVersion: 'external.metrics.k8s.io/v1beta1', version: 'v1beta1' };
  const group = { name: 'external.metrics.k8s.io', versions: [version], preferredVersion: version };
  t.strictSame(json(await get('/apis')), { kind: 'APIGroupList', apiVersion: 'v1', groups: [group] });
  t.strictSame(json(await get('/apis/external.metrics.k8s.io')), { kind: 'APIGroup', apiVersion: 'v1', ...group });
  const list = json(await get(E)) as {
    resources: { name: string; kind: string; verbs: string[]; namespaced: boolean }[];
  };
  t.match(list, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: 'external.metrics.k8s.io/v1beta1' });
  t.strictSame(
    list.resources.map(({ name }) => name),
    [...METRICS.map(({ name }) => name).sort(), 'externalmetrics'],
  );
  t.equal(new Set(list.resources.map(({ kind }) => kind)).size, METRICS.length + 1, 'a kind a metric');
  t.ok(list.resources.every(({ verbs, namespaced }) => namespaced && verbs.join() === 'get'));
  const { get: getEmpty } = await open(t, new ScalingStack(), { externalMetrics: [] });
  t.match(json(await getEmpty(E)), { resources: [{ name: 'externalmetrics', kind: 'ExternalMetricValue' }] });
});

test('discovery, aggregated: exact type, ETag, 304, and only there', async (t) => {
  const { get } = await open(t);
  const accept = `${AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json`;
  const reply = await get('/apis', { Accept: accept });
  t.equal(reply.headers['content-type'], AGGREGATED);
  t.match(reply.headers.etag, /^"[0-9A-F]{128}"$/);
  t.match(reply.headers, { vary: 'Accept', 'cache-control': 'public' });
  t.match(json(reply), {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    items: [
      {
        metadata: { name: 'external.metrics.k8s.io' },
        versions: [
          {
            version: 'v1beta1',
            freshness: 'Current',
            resources: [
              { resource: 'constant', responseKind: { kind: 'constant' }, scope: 'Namespaced', verbs: ['get'] },
            ],
          },
        ],
      },
    ],
  });
  const same = await get('/apis', { Accept: accept, 'If-None-Match': reply.headers.etag! });
  t.strictSame([same.status, same.text, same.headers.etag], [304, '', reply.headers.etag]);
  t.equal((await get(E, { Accept: 'application/json', 'If-None-Match': reply.headers.etag! })).status, 200);
  const v2beta1 = 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json';
  t.match(json(await get('/apis', { Accept: v2beta1 })), { kind: 'APIGroupList' });
  const { get: getOther } = await open(t, new ScalingStack(), { externalMetrics: METRICS.slice(1) });
  t.not((await getOther('/apis', { Accept: accept })).headers.etag, reply.headers.etag);
});

test('what a client accepts decides what it is given', async (t) => {
  const all = ['json', 'table', 'aggregated'] as const;
  const f = (accept: string | undefined, want: string, offered: readonly (typeof all)[number][] = all) => {
    let got: string;
    try {
      got = negotiate(accept, offered);
    } catch (error) {
      got = String((error as { readonly httpStatus: number }).httpStatus);
    }
    t.equal(got, want, `${accept} of ${offered}`);
  };
  f(undefined, 'json');
  f('', 'json');
  for (const accept of [
    '*/*',
    'application/*',
    'application/json',
    'APPLICATION/JSON',
    'application/json;charset=utf-8',
  ])
    f(accept, 'json');
  f('application/vnd.kubernetes.protobuf, */*', 'json');
  f('application/vnd.kubernetes.protobuf,application/json', 'json');
  f('application/json;stream=watch,application/vnd.kubernetes.protobuf;stream=watch', 'json');
  f('application/vnd.kubernetes.protobuf', '406');
  f('text/html', '406');
  f('application/yaml', '406');
  f(TABLE, 'table');
  f(TABLE, 'json', ['json']);
  f('application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json', 'json');
  f('application/json;as=Table;v=v1beta1;g=meta.k8s.io', '406');
  f('application/json; as=Table; v=v1; g=meta.k8s.io', 'table');
  f('application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json', 'json');
  f('application/json;as=Table;v=v1;g=meta.k8s.io;q=0.5,application/json', 'json');
  f('*/*,application/json;as=Table;v=v1;g=meta.k8s.io', 'table');
  f('application/json;q=0,*/*;q=0.1', 'json');
  f('application/json;q=0', '406');
  f(AGGREGATED, 'aggregated');
  f(AGGREGATED, '406', ['json', 'table']);
  f(
    `application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,${AGGREGATED},application/json`,
    'aggregated',
  );
  f(AGGREGATED.replace('APIGroupDiscoveryList', 'Something'), '406');
});

test('OpenAPI: documents of each version with an ETag, and what is not served', async (t) => {
  const { get } = await open(t);
  const { paths } = json(await get('/openapi/v3')) as { paths: Record<string, { serverRelativeURL: string }> };
  t.strictSame(Object.keys(paths), ['apis/external.metrics.k8s.io/v1beta1']);
  const url = paths['apis/external.metrics.k8s.io/v1beta1']!.serverRelativeURL;
  for (const path of [url, url.replace(/\?.*/, ''), '/openapi/v2']) {
    const reply = await get(path, { Accept: 'application/json' });
    t.equal(reply.status, 200, path);
    t.match(reply.headers['content-type'], /^application\/json/);
    t.match(reply.headers.etag, /^"[0-9A-F]{128}"$/);
    t.match(
      reply.text,
      /"x-kubernetes-group-version-kind":\[\{"group":"external.metrics.k8s.io","version":"v1beta1","kind":"queue_depth"/,
    );
    t.equal((await get(path, { 'If-None-Match': reply.headers.etag! })).status, 304, path);
    t.equal((await get(path, { 'If-None-Match': '"other"' })).status, 200, path);
    t.equal((await get(path, { Accept: 'application/xml' })).status, 406, path);
  }
  const { headers } = await get(url);
  t.match(url, `?hash=${headers.etag!.slice(1, -1)}`, 'the hash is the ETag');
  t.match(json(await get('/openapi/v3/apis/custom.metrics.k8s.io/v1beta1')), { kind: 'Status', code: 404 });
  const { get: getOther } = await open(t, new ScalingStack(), { externalMetrics: METRICS.slice(1) });
  t.not(json(await getOther('/openapi/v3')), json(await get('/openapi/v3')));
});

test('what is not there is a Status of the right code', async (t) => {
  const { stack, send, server } = await open(t);
  fill(stack);
  const f = async (
    method: string,
    path: string,
    code: number,
    reason: string,
    headers: Readonly<Record<string, string>> = {},
    body?: string,
  ) => {
    const reply = await send({ method, path, headers, ...(body === undefined ? {} : { body }) });
    t.match(reply.headers['content-type'], /^application\/json/);
    t.match(json(reply), { kind: 'Status', code, reason }, `${method} ${path}`);
    t.equal(reply.status, code);
  };
  for (const path of [
    '/',
    '/api',
    '/apis/nope/v1',
    `${E}/queue_depth`,
    `${E}/namespaces/shop`,
    `${E}/namespaces/shop/a/b`,
    `${E}/namespaces/shop/`,
    '/apis/external.metrics.k8s.io/v9/namespaces/shop/queue_depth',
  ]) {
    await f('GET', path, 404, 'NotFound');
  }
  await f('GET', `${E}/namespaces/shop/a%2Fb`, 404, 'NotFound');
  await f('GET', `${E}/namespaces/shop/%ff`, 400, 'BadRequest');
  await f('GET', `${E}/namespaces/shop/${'x'.repeat(2000)}`, 404, 'NotFound');
  await f(
    'POST',
    `${E}/namespaces/shop/queue_depth`,
    405,
    'MethodNotAllowed',
    { 'Content-Type': 'application/json' },
    '{',
  );
  await f('DELETE', '/apis', 405, 'MethodNotAllowed');
  for (const method of ['PUT', 'PATCH', 'DELETE'])
    await f(method, `${E}/namespaces/shop/queue_depth`, 405, 'MethodNotAllowed');
  await f('GET', `${E}/namespaces/shop/queue_depth`, 406, 'NotAcceptable', { Accept: 'application/xml' });
  await f('GET', '/apis', 406, 'NotAcceptable', {
    Accept: 'application/json;as=APIGroupDiscoveryList;v=v9;g=apidiscovery.k8s.io',
  });
  const garbage = await new Promise<string>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: portOf(server.address), ca: server.caPem! });
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
    socket.write('GARBAGE\r\n\r\n');
  });
  t.match(garbage, /^HTTP\/1\.1 400 [\s\S]*"kind":"Status"/);
});

test('health, version and openapi answer whoever asks', async (t) => {
  const { get } = await open(t);
  for (const path of ['/healthz', '/livez', '/readyz']) {
    const reply = await get(path);
    t.strictSame([reply.status, reply.text], [200, 'ok']);
    t.match(reply.headers['content-type'], /^text\/plain/);
  }
  const starting = await open(t, new ScalingStack(), { isReady: () => false });
  t.equal((await starting.get('/readyz')).status, 503);
  t.equal((await starting.get('/livez')).status, 200, 'a start is no reason to be killed');
  t.equal((await starting.get('/apis')).status, 200, 'discovery never waits');
  t.match(json(await get('/version')), { major: '1', gitVersion: /^v\d/ });
  t.match(json(await get('/openapi/v3')), {
    paths: { 'apis/external.metrics.k8s.io/v1beta1': { serverRelativeURL: /^\/openapi\/v3\/apis/ } },
  });
  t.match(json(await get('/openapi/v2')), { swagger: '2.0' });
  t.match((await get('/apis?pretty=true')).text, /\n {2}"kind"/);
  t.match((await get('/apis', { 'User-Agent': 'curl/8' })).text, /\n {2}"kind"/);
});

test('kubectl get is given a table', async (t) => {
  const { stack, get } = await open(t);
  fill(stack);
  const reply = await get(`${E}/namespaces/shop/queue_depth?limit=500`, { Accept: TABLE });
  const table = json(reply) as { columnDefinitions: object[]; rows: { cells: string[]; object: object }[] };
  t.match(table, { kind: 'Table', apiVersion: 'meta.k8s.io/v1' });
  t.ok(
    table.columnDefinitions.every(
      (column) => Object.keys(column).sort().join() === 'description,format,name,priority,type',
    ),
  );
  t.strictSame(table.rows[0]!.cells, ['queue_depth', '2001500m', '2026-11-21T10:00:00Z', '{}']);
  t.match(table.rows[0]!.object, {
    kind: 'PartialObjectMetadata',
    metadata: { name: 'queue_depth', namespace: 'shop' },
  });
  t.match(json(await get(`${E}/namespaces/shop/nope`, { Accept: TABLE })), { kind: 'Status', code: 404 });
});

test('a port that authenticates nobody stays on loopback unless that is waived', async (t) => {
  const f = async (host: string) =>
    t.rejects(openKubernetes(optionsFor(new ScalingStack(), { listen: { host, port: 0 } })), {
      code: 'bad_config',
      message: /--kubernetes\.insecure-allow-unauthenticated/,
    });
  await f('0.0.0.0');
  await f('::');
  await f('');
  await f('127.example.com');
  const { server } = await open(t, new ScalingStack(), {
    listen: { host: '0.0.0.0', port: 0 },
    allowUnauthenticated: true,
  });
  t.match(server.address, /^0\.0\.0\.0:\d+$/);
  if (!hasIpv6) return t.comment('no ::1 here: IPv6 is not tried');
  const { server: onSix, get } = await open(t, new ScalingStack(), { listen: { host: '::1', port: 0 } });
  t.match(onSix.address, /^\[::1]:\d+$/);
  t.equal((await get('/livez')).status, 200);
});

test('metrics that cannot be served are refused at the start', async (t) => {
  const f = async (externalMetrics: readonly ExternalMetric[], message: RegExp) =>
    t.rejects(openKubernetes(optionsFor(new ScalingStack(), { externalMetrics })), { code: 'bad_config', message });
  await f([{ name: 'broken', query: 'sum(', namespaced: true }], /^cannot use external metric "broken": .*parse error/);
  await f(
    [{ name: 'a/b', query: 'x', namespaced: true }],
    /^cannot use external metric "a\/b": the name cannot be part of an API path/,
  );
  await f(
    [
      { name: 'x', query: 'x', namespaced: true },
      { name: 'x', query: 'y', namespaced: true },
    ],
    /"x": it is defined twice/,
  );
});

test('a given certificate is used as it is', async (t) => {
  const certificate = generateCertificate(['localhost', '127.0.0.1'], Date.now());
  const { server, get } = await open(t, new ScalingStack(), { certificate });
  t.equal(server.caPem, null);
  t.equal((await get('/livez')).status, 200);
  const plain = await new Promise<string>((resolve) => {
    const socket = connectPlain(portOf(server.address), '127.0.0.1');
    socket.on('close', () => resolve('closed'));
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\n\r\n');
  });
  t.equal(plain, 'closed', 'plain text is not served');
});

const hasIpv6 = Object.values(networkInterfaces()).some((found) => found?.some(({ address }) => address === '::1'));

const kubectl = spawnSync('kubectl', ['version', '--client']).status === 0;

test('kubectl', { skip: !kubectl && 'kubectl is not installed' }, async (t) => {
  const { stack, server } = await open(t);
  fill(stack);
  const home = mkdtempSync(join(tmpdir(), 'tidegauge-kubectl-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  const run = kubectlFor(server.address, home);
  const raw = await run('get', '--raw', `${E}/namespaces/shop/queue_depth`);
  t.equal(raw.code, 0, raw.stderr);
  t.match(JSON.parse(raw.stdout), { items: [{ value: '2001500m' }] });
  const stale = await run('get', '--raw', `${E}/namespaces/shop/typo`);
  t.not(stale.code, 0);
  t.match(stale.stderr, /unknown metric "queue_dpeth"/);
  const table = await run('get', 'queue_depth', '--namespace=shop', '--selector=queue=a');
  t.match(table.stdout, /^METRIC +VALUE +SAMPLED\nqueue_depth +1500m +2026-11-21T10:00:00Z\n$/, table.stderr);
  const list = await run('get', 'queue_depth', '--namespace=shop', '-o', 'json');
  t.match(JSON.parse(list.stdout || '{}'), { items: [{ metricName: 'queue_depth', value: '2001500m' }] }, list.stderr);
  const yaml = await run('get', 'queue_depth', '--namespace=shop', '-o', 'yaml');
  t.match(yaml.stdout, /metricName: queue_depth[\s\S]*value: 2001500m/, yaml.stderr);
  const path = await run('get', 'queue_depth', '--namespace=shop', '-o', 'jsonpath={.items[*].value}');
  t.equal(path.stdout, '2001500m', path.stderr);
  const wide = await run('get', 'queue_depth', '--all-namespaces');
  t.match(wide.stderr, /could not find the requested resource/, 'a value is of one namespace');
  const resources = await run('api-resources', '--api-group=external.metrics.k8s.io', '--no-headers');
  t.match(resources.stdout, /queue_depth +external\.metrics\.k8s\.io\/v1beta1 +true +queue_depth\n/, resources.stderr);
});

function portOf(address: string): number {
  return Number(address.split(':').at(-1));
}
