import { gunzipSync, inflateSync } from 'node:zlib';
import { pino } from 'pino';
import protobuf from 'protobufjs/minimal.js';
import { test } from 'tap';
import { buildHttp } from '../../../src/api/http.ts';
import { acceptedEncoding } from '../../../src/api/prometheus/compression.ts';
import { corsOrigins } from '../../../src/api/prometheus/cors.ts';
import { type PrometheusDeps, registerPrometheus } from '../../../src/api/prometheus/prometheus.ts';
import { defaultExemplars } from '../../../src/ingest/write.ts';
import { CUSTOM_BUCKETS_SCHEMA, EMPTY_HISTOGRAM } from '../../../src/model/histogram.ts';
import { QueryEngine } from '../../../src/promql/engine.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { Metadata } from '../../../src/tsdb/metadata.ts';
import { feed, headAt } from '../../support/fed-head.ts';

const NOW_MS = 1_700_000_000_500;
const clock = { nowMs: () => NOW_MS, monotonicMs: () => 0 };
const head = headAt(NOW_MS);
feed(head, { __name__: 'up', job: 'a', instance: 'x' }, [
  [NOW_MS - 2000, 0],
  [NOW_MS - 1000, 1],
]);
feed(head, { __name__: 'up', job: 'b' }, [[NOW_MS - 1000, 1e-7]]);
feed(head, { __name__: 'gone', job: 'a' }, [
  [NOW_MS - 2000, 1],
  [NOW_MS - 1000, 'stale'],
]);
feed(head, { __name__: 'old', job: 'a' }, [[NOW_MS - 400_000, 1]]);
feed(head, { job: 'nameless' }, [[NOW_MS - 1000, 1]]);
feed(head, { __name__: 'a.dotted', 'http.path': '/"x"\n' }, [[NOW_MS - 1000, 7]]);
const positive = { spans: Int32Array.of(0, 3), counts: Float64Array.of(1, 2, 3) };
feed(head, { __name__: 'native', job: 'a' }, [[NOW_MS - 1000, { ...EMPTY_HISTOGRAM, count: 6, sum: 9, positive }]]);
feed(head, { __name__: 'custom', job: 'a' }, [
  [
    NOW_MS - 1000,
    {
      ...EMPTY_HISTOGRAM,
      schema: CUSTOM_BUCKETS_SCHEMA,
      count: 6,
      sum: 9,
      positive,
      customValues: Float64Array.of(0.5, 1),
    },
  ],
]);

function build(more: Partial<PrometheusDeps> = {}) {
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  registerPrometheus(app, {
    engine: new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: 300_000 }),
    head,
    exemplars: defaultExemplars(0),
    metadata: new Metadata(),
    clock,
    isReady: () => true,
    version: '1.2.3',
    flags: {},
    configYaml: 'web:\n  listen-address: x\n',
    queryTimeoutMs: 120_000,
    lookbackMs: 300_000,
    retentionMs: 7_200_000,
    startTimeMs: NOW_MS,
    ...more,
  });
  return app;
}

const app = build();
const get = (url: string, headers: Record<string, string> = {}) => app.inject({ method: 'GET', url, headers });
const EVERYTHING = `/federate?match[]=${encodeURIComponent('{job=~".+"}')}&match[]=up&match[]=${encodeURIComponent('{"a.dotted"}')}`;
const AT = NOW_MS - 1000;

test('federation in the text format: newest samples by name, without stale and nameless series', async (t) => {
  const reply = await get(EVERYTHING);
  t.equal(reply.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  t.equal(
    reply.body,
    [
      '# TYPE "a.dotted" untyped',
      `{"a.dotted","http.path"="/\\"x\\"\\n",instance=""} 7 ${AT}`,
      '# TYPE custom untyped',
      `custom_bucket{job="a",le="0.5",instance=""} 1 ${AT}`,
      `custom_bucket{job="a",le="1",instance=""} 3 ${AT}`,
      `custom_bucket{job="a",le="+Inf",instance=""} 6 ${AT}`,
      `custom_sum{job="a",instance=""} 9 ${AT}`,
      `custom_count{job="a",instance=""} 6 ${AT}`,
      '# TYPE up untyped',
      `up{instance="x",job="a"} 1 ${AT}`,
      `up{job="b",instance=""} 1e-07 ${AT}`,
      '',
    ].join('\n'),
  );
});

test('federation: formats by Accept, none and bad selectors', async (t) => {
  const open = await get('/federate?match[]=up', {
    accept: 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5',
  });
  t.equal(open.headers['content-type'], 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  t.equal(
    open.body,
    '# TYPE up unknown\nup{instance="x",job="a"} 1 1699999999.500\nup{job="b",instance=""} 1e-07 1699999999.500\n# EOF\n',
  );
  const plain = await get('/federate?match[]=up', { accept: 'application/openmetrics-text;q=0.1,*/*;q=0.5' });
  t.match(plain.headers['content-type'], 'version=0.0.4');
  const none = await get('/federate');
  t.strictSame([none.statusCode, none.body], [200, '']);
  for (const selector of ['{', '{}']) {
    const bad = await get(`/federate?match[]=${encodeURIComponent(selector)}`);
    t.strictSame([bad.statusCode, bad.headers['content-type']], [400, 'text/plain; charset=utf-8']);
  }
  const closed = await build({ isReady: () => false }).inject({ method: 'GET', url: '/federate?match[]=up' });
  t.equal(closed.statusCode, 503);
});

test('federation in protobuf has native histograms', async (t) => {
  const accept =
    'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;q=0.3';
  const reply = await get(EVERYTHING, { accept });
  const reader = protobuf.Reader.create(reply.rawPayload);
  const families: [string, number, number][] = [];
  while (reader.pos < reader.len) {
    const end = reader.uint32() + reader.pos;
    const family: [string, number, number] = ['', 0, 0];
    while (reader.pos < end) {
      const tag = reader.uint32();
      if (tag === 10) family[0] = reader.string();
      else if (tag === 24) family[1] = reader.int32();
      else {
        family[2]++;
        reader.skipType(tag & 7);
      }
    }
    families.push(family);
  }
  t.strictSame(families, [
    ['a.dotted', 3, 1],
    ['custom', 3, 5],
    ['native', 4, 1],
    ['up', 3, 2],
  ]);
});

test('compression: the first bare token; what is small stays as it is', async (t) => {
  const f = (header: string | undefined, want: string | null) =>
    t.equal(acceptedEncoding(header), want, header ?? 'none');
  f(undefined, null);
  f('identity', null);
  f('gzip', 'gzip');
  f('br, deflate, gzip', 'deflate');
  f('gzip;q=1.0, deflate', 'deflate');
  f('gzip;q=0', null);
  const url = '/api/v1/query_range?query=vector(1)&start=0&end=9000&step=1';
  const whole = await get(url);
  t.strictSame([whole.headers['content-encoding'], whole.headers.vary], [undefined, 'Origin, Accept-Encoding']);
  t.ok(whole.rawPayload.length > 70_000, 'a streamed reply');
  const zipped = await get(url, { 'accept-encoding': 'gzip' });
  t.equal(zipped.headers['content-encoding'], 'gzip');
  t.ok(gunzipSync(zipped.rawPayload).equals(whole.rawPayload));
  const deflated = await get(url.replace('9000', '500'), { 'accept-encoding': 'deflate' });
  t.equal(inflateSync(deflated.rawPayload).toString(), (await get(url.replace('9000', '500'))).body);
  t.equal(Number(deflated.headers['content-length']), deflated.rawPayload.length);
  const small = await get('/api/v1/query?query=1', { 'accept-encoding': 'gzip' });
  t.equal(small.headers['content-encoding'], undefined);
});

test('origins', async (t) => {
  const some = build({ corsOrigins: corsOrigins('https://(a|b)\\.example') });
  const f = async (origin: string, want: string | undefined) => {
    const reply = await some.inject({ method: 'OPTIONS', url: '/federate', headers: { origin } });
    t.strictSame([reply.statusCode, reply.headers['access-control-allow-origin']], [204, want], origin);
    t.equal(reply.headers['access-control-expose-headers'], 'Date');
  };
  await f('https://a.example', 'https://a.example');
  await f('https://a.example.evil', undefined);
  await f('https://c.example', undefined);
});

test('format_query, parse_query, stats, config, version', async (t) => {
  const data = async (path: string) => JSON.parse((await get(`/api/v1/${path}`)).body).data;
  const encoded = encodeURIComponent;
  t.equal(
    await data(`format_query?query=${encoded('sum by(a,b) (rate(x[5m:15s]offset 1h))>bool 1')}`),
    'sum by (a, b) (rate(x[5m:15s] offset 1h)) > bool 1',
  );
  t.match(
    await data(`format_query?query=${encoded(`sum(${'x'.repeat(60)}{a="1"}) / sum(${'y'.repeat(60)})`)}`),
    /\n\/\n/,
  );
  const f = async (query: string, want: unknown) =>
    t.strictSame(await data(`parse_query?query=${encoded(query)}`), want, query);
  await f('-1.5e-7', { type: 'numberLiteral', val: '-0.00000015' });
  await f('-(1)', {
    type: 'unaryExpr',
    op: '-',
    expr: { type: 'parenExpr', expr: { type: 'numberLiteral', val: '1' } },
  });
  await f('"a"', { type: 'stringLiteral', val: 'a' });
  const selector = (name: string, more: object = {}) => ({
    type: 'vectorSelector',
    name,
    matchers: [{ name: '__name__', value: name, type: '=' }],
    offset: 0,
    offsetExpr: null,
    timestamp: null,
    startOrEnd: null,
    anchored: false,
    smoothed: false,
    ...more,
  });
  await f('x offset -5m @ 10', selector('x', { offset: -300_000, timestamp: 10_000 }));
  await f('x @ end()', selector('x', { startOrEnd: 'end' }));
  await f('a * on(job) group_left(team) b', {
    type: 'binaryExpr',
    op: '*',
    lhs: selector('a'),
    rhs: selector('b'),
    bool: false,
    matching: {
      card: 'many-to-one',
      labels: ['job'],
      on: true,
      include: ['team'],
      fillValues: { lhs: null, rhs: null },
    },
  });
  await f('(a > 1)', {
    type: 'parenExpr',
    expr: {
      type: 'binaryExpr',
      op: '>',
      lhs: selector('a'),
      rhs: { type: 'numberLiteral', val: '1' },
      bool: false,
      matching: null,
    },
  });
  await f('topk without(i) (3, rate(a{b!~"c"}[5m]))', {
    type: 'aggregation',
    op: 'topk',
    param: { type: 'numberLiteral', val: '3' },
    grouping: ['i'],
    without: true,
    expr: {
      type: 'call',
      func: { name: 'rate', argTypes: ['matrix'], variadic: 0, returnType: 'vector' },
      args: [
        {
          ...selector('a', { type: 'matrixSelector', range: 300_000, rangeExpr: null }),
          matchers: [
            { name: 'b', value: 'c', type: '!~' },
            { name: '__name__', value: 'a', type: '=' },
          ],
        },
      ],
    },
  });
  await f('a[5m:]', {
    type: 'subquery',
    expr: selector('a'),
    range: 300_000,
    rangeExpr: null,
    step: 0,
    stepExpr: null,
    offset: 0,
    offsetExpr: null,
    timestamp: null,
    startOrEnd: null,
  });
  const { stats } = await data('query?query=up&stats=all');
  t.strictSame(Object.keys(stats.timings).sort(), [
    'evalTotalTime',
    'execQueueTime',
    'execTotalTime',
    'innerEvalTime',
    'queryPreparationTime',
    'resultSortTime',
  ]);
  t.match(stats.samples, {
    totalQueryableSamples: 3,
    samplesRead: 3,
    peakSamples: 3,
    samplesReadPerStep: [[NOW_MS / 1000, 3]],
  });
  t.notOk('stats' in (await data('query?query=up')));
  t.match(JSON.parse((await get('/api/v1/query?query=up&stats=1')).body), {
    data: { stats: { samples: { samplesRead: 3 } } },
    warnings: [
      'value "1" for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all"',
    ],
  });
  t.strictSame(await data('status/config'), { yaml: 'web:\n  listen-address: x\n' });
  t.strictSame(await data('status/walreplay'), { min: 0, max: 0, current: 0 });
  t.match(JSON.parse((await get('/version')).body), { version: '3.5.0', tidegaugeVersion: '1.2.3' });
});
