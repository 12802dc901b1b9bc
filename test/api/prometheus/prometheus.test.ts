import { Agent, request } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { test } from 'tap';
import { buildHttp, listenHttp } from '../../../src/api/http.ts';
import { type PrometheusDeps, registerPrometheus } from '../../../src/api/prometheus/prometheus.ts';
import { unescapeName } from '../../../src/api/prometheus/series.ts';
import { defaultExemplars } from '../../../src/ingest/write.ts';
import { CodedError } from '../../../src/model/errors.ts';
import { type Labels, labelsFromObject } from '../../../src/model/labels.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import type { Matcher } from '../../../src/model/matcher.ts';
import { float64High, float64Low } from '../../../src/model/sample.ts';
import { type InstantQuery, QueryEngine, type RangeQuery } from '../../../src/promql/engine.ts';
import type { QueryResult, QueryValue } from '../../../src/promql/result.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { KernelHead } from '../../../src/tsdb/kernel-head.ts';
import { Metadata } from '../../../src/tsdb/metadata.ts';

const NOW_MS = 1_700_000_000_500;
const clock = { nowMs: () => NOW_MS, monotonicMs: () => 0 };
const read = { series: 0, samples: 0, newestMs: null };
const PARSE_ERROR = '1:5: parse error: unexpected end of input';

const resultOf = (value: QueryValue): QueryResult => ({ value, warnings: [], infos: [], read });

/** What the fake engine answers, by the query's text; it keeps the last query it was asked. */
class FakeEngine {
  last: InstantQuery | RangeQuery | null = null;
  readonly byText: Readonly<Record<string, () => QueryResult | Promise<QueryResult>>>;

  constructor(byText: FakeEngine['byText']) {
    this.byText = byText;
  }

  async instant(query: InstantQuery): Promise<QueryResult> {
    return this.#run(query);
  }

  async range(query: RangeQuery): Promise<QueryResult> {
    return this.#run(query);
  }

  explain(): Promise<never> {
    return Promise.reject(new CodedError('bad_data', PARSE_ERROR));
  }

  checkResolution({ startMs, endMs, stepMs }: Pick<RangeQuery, 'startMs' | 'endMs' | 'stepMs'>): void {
    if ((endMs - startMs) / stepMs <= 11_000) return;
    throw new CodedError(
      'bad_data',
      'exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)',
    );
  }

  selectors(text: string): readonly (readonly Matcher[])[] {
    return text === '1' ? [] : [this.parseSelector(text)];
  }

  /** Reads `name`, `{name="value"}` and `{name=~"value"}`. */
  parseSelector(text: string): readonly Matcher[] {
    if (/^\w+$/.test(text)) return [{ type: '=', name: '__name__', value: text }];
    const match = /^\{(?:(\w+)(=~?)"(.*)")?\}$/.exec(text);
    if (match === null) throw new CodedError('bad_data', PARSE_ERROR);
    const [, name, type, value] = match;
    return name === undefined ? [] : [{ type: type as Matcher['type'], name, value: value! }];
  }

  async #run(query: InstantQuery | RangeQuery): Promise<QueryResult> {
    this.last = query;
    const answer = this.byText[query.text];
    if (answer === undefined) throw new CodedError('bad_data', PARSE_ERROR);
    return answer();
  }
}

const fail = (code: ConstructorParameters<typeof CodedError>[0], message: string) => () => {
  throw new CodedError(code, message);
};

const vector = (labels: readonly Labels[], ...values: number[]): QueryResult =>
  resultOf({ kind: 'vector', timeMs: NOW_MS, labels, values: Float64Array.from(values) });

const engine = new FakeEngine({
  up: () => vector([['__name__', 'up']], 1),
  none: () => vector([]),
  three: () =>
    vector(
      [
        ['a', '1'],
        ['a', '2'],
        ['a', '3'],
      ],
      1,
      2,
      3,
    ),
  noted: () => ({ ...vector([]), warnings: Array.from({ length: 12 }, (_, i) => `w${i}`), infos: ['i'] }),
  matrix: () =>
    resultOf({ kind: 'matrix', series: [{ labels: [], timesMs: Float64Array.of(1000), values: Float64Array.of(1) }] }),
  unsupported: fail('query_unsupported', 'holt_winters is not supported yet'),
  failed: fail('query_failed', 'found duplicate series'),
  large: fail('query_too_large', 'query processing would load too many samples into memory in query execution'),
  slow: fail('query_timeout', 'query timed out in expression evaluation'),
  broken: () => {
    throw new TypeError('x is undefined');
  },
  huge: () =>
    vector(
      Array.from({ length: 20_000 }, (_, i) => ['i', String(i)]),
      ...new Float64Array(20_000),
    ),
});

function headOf(...series: Readonly<Record<string, string>>[]): KernelHead {
  const head = new KernelHead({
    clock,
    retentionMs: 3_600_000,
    outOfOrderMsMax: 300_000,
    futureMsMax: 600_000,
    seriesMax: 1000,
  });
  for (const [i, labels] of series.entries()) {
    head.append(head.series(labelsFromObject(labels)), NOW_MS - 1000 * (i + 1), float64Low(1), float64High(1));
  }
  return head;
}

const head = headOf(
  { __name__: 'up', job: 'api', instance: 'b' },
  { __name__: 'up', job: 'api', instance: 'a' },
  { __name__: 'load', job: 'db', 'http.method': 'GET' },
);

function build(overrides: Partial<PrometheusDeps> = {}): FastifyInstance {
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  registerPrometheus(app, {
    engine,
    head,
    exemplars: defaultExemplars(0),
    metadata: new Metadata(),
    clock,
    isReady: () => true,
    version: '0.1.0',
    flags: { 'log.level': 'info' },
    queryTimeoutMs: 120_000,
    lookbackMs: 300_000,
    retentionMs: 7_200_000,
    startTimeMs: NOW_MS - 1000,
    ...overrides,
  });
  return app;
}

const app = build();

interface Reply {
  readonly status: number;
  readonly type: unknown;
  readonly body: string;
}

const get = async (path: string): Promise<Reply> => {
  const { statusCode, headers, body } = await app.inject({ method: 'GET', url: path });
  return { status: statusCode, type: headers['content-type'], body };
};

const post = async (path: string, payload: string, type = 'application/x-www-form-urlencoded'): Promise<Reply> => {
  const { statusCode, headers, body } = await app.inject({
    method: 'POST',
    url: path,
    payload,
    headers: { 'content-type': type },
  });
  return { status: statusCode, type: headers['content-type'], body };
};

const success = (data: string): Reply => ({
  status: 200,
  type: 'application/json',
  body: `{"status":"success","data":${data}}`,
});
const UP = '{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1700000000.500,"1"]}]}';

test('GET and POST answer the same, with the body before the URL', async (t) => {
  const f = async (reply: Promise<Reply>, want: Reply) => t.strictSame(await reply, want);
  await f(get('/api/v1/query?query=up'), success(UP));
  await f(post('/api/v1/query', 'query=up'), success(UP));
  await f(post('/api/v1/query', 'query=up', 'application/x-www-form-urlencoded;charset=UTF-8'), success(UP));
  await f(post('/api/v1/query?query=none', 'query=up'), success(UP));
  await f(post('/api/v1/query?query=up', ''), success(UP));
  await f(post('/api/v1/query?query=up', '{"query":"none"}', 'application/json'), success(UP));
  await f(post('/api/v1/query?time=4', 'query=up&time=5'), success(UP));
  t.equal((engine.last as InstantQuery).timeMs, 5000);
  const bare = await app.inject({ method: 'POST', url: '/api/v1/query?query=up' });
  t.equal(bare.body, success(UP).body, 'POST without body or type');
  const formTypeOnGet = await app.inject({
    method: 'GET',
    url: '/api/v1/query?query=up',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  t.equal(formTypeOnGet.body, success(UP).body, 'GET with the type of a form');
  await f(
    post('/api/v1/series?match[]=load', 'match[]=up&limit=9'),
    success(
      '[{"__name__":"load","http.method":"GET","job":"db"},{"__name__":"up","instance":"a","job":"api"},{"__name__":"up","instance":"b","job":"api"}]',
    ),
  );
});

test('empty results are empty lists', async (t) => {
  const f = async (path: string, data: string) => t.strictSame(await get(path), success(data), path);
  await f('/api/v1/query?query=none', '{"resultType":"vector","result":[]}');
  await f('/api/v1/labels?match[]=nothing', '[]');
  await f('/api/v1/label/nothing/values', '[]');
  await f('/api/v1/series?match[]=nothing', '[]');
  await f('/api/v1/metadata', '{}');
  await f('/api/v1/metadata?metric=x&limit=0', '{}');
  await f('/api/v1/rules', '{"groups":[]}');
  await f('/api/v1/rules?type=record', '{"groups":[]}');
  await f('/api/v1/alerts', '{"alerts":[]}');
  await f('/api/v1/targets?state=any', '{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}');
  await f('/api/v1/query_exemplars?query=test&start=1700000000000&end=1700000300000', '[]');
  const none = await app.inject({ method: 'GET', url: '/api/v1/query_exemplars?query=1' });
  t.strictSame([none.statusCode, none.body], [204, '']);
});

test('times and durations', async (t) => {
  const f = async (time: string, wantMs: number) => {
    const { status } = await get(`/api/v1/query?query=up&time=${encodeURIComponent(time)}`);
    t.strictSame([status, (engine.last as InstantQuery).timeMs], [200, wantMs], time);
  };
  await f('', NOW_MS);
  await f('4', 4000);
  await f('1435781451.781', 1_435_781_451_781);
  await f('1435781451.7816', 1_435_781_451_782);
  await f('-0.001', -1);
  await f('1e3', 1_000_000);
  await f('1700000000000', 1_700_000_000_000_000);
  await f('2015-07-01T20:10:51.781Z', 1_435_781_451_781);
  await f('2015-07-01T22:10:51+02:00', 1_435_781_451_000);
  await f('2015-07-01T15:40:51.5-04:30', 1_435_781_451_500);
  await f('-292273086-05-16T16:47:06Z', -9_223_309_901_257_974_000);
  await f('292277025-08-18T07:12:54.999999999Z', 9_223_309_901_257_974_000);
  const g = async (step: string, wantMs: number) => {
    const { status } = await get(`/api/v1/query_range?query=matrix&start=0&end=1&step=${step}`);
    t.strictSame([status, (engine.last as RangeQuery).stepMs], [200, wantMs], step);
  };
  await g('15', 15_000);
  await g('0.25', 250);
  await g('1m30s', 90_000);
  await g('1m0s', 60_000);
  const h = async (parameters: string, want: { timeoutMs: number; lookbackMs?: number }) => {
    await get(`/api/v1/query?query=up&${parameters}`);
    const { timeoutMs, lookbackMs } = engine.last!;
    t.strictSame({ timeoutMs, ...(lookbackMs === undefined ? {} : { lookbackMs }) }, want, parameters);
  };
  await h('', { timeoutMs: 120_000 });
  await h('timeout=', { timeoutMs: 120_000 });
  await h('timeout=0s', { timeoutMs: 120_000 });
  await h('timeout=5', { timeoutMs: 5000 });
  await h('timeout=10m', { timeoutMs: 120_000 });
  await h('timeout=1m0s&lookback_delta=1m', { timeoutMs: 60_000, lookbackMs: 60_000 });
  await h('lookback_delta=', { timeoutMs: 120_000 });
});

test('every error of the table, in its words', async (t) => {
  const f = async (path: string, error: string, errorType = 'bad_data', status = 400) => {
    const want = {
      status,
      type: 'application/json',
      body: `{"status":"error","errorType":"${errorType}","error":${JSON.stringify(error)}}`,
    };
    t.strictSame(await get(`/api/v1/${path}`), want, path);
    const [route, query] = path.split('?') as [string, string | undefined];
    if (/^(?:query|labels|series)/.test(path))
      t.strictSame(await post(`/api/v1/${route}`, query ?? ''), want, `POST ${path}`);
  };
  const range = 'query_range?query=matrix';
  await f('query?query=%2B', `invalid parameter "query": ${PARSE_ERROR}`);
  await f(`query_range?query=%2B&start=0&end=1&step=1`, `invalid parameter "query": ${PARSE_ERROR}`);
  await f('query?query=unsupported', 'invalid parameter "query": holt_winters is not supported yet');
  await f(
    'query?query=up&time=x',
    `invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp`,
  );
  await f(
    'query?query=up&time=nan',
    `invalid parameter "time": invalid time value for 'time': cannot parse "nan" to a valid timestamp`,
  );
  await f(
    'query?query=up&time=2015-02-30T00:00:00Z',
    `invalid parameter "time": invalid time value for 'time': cannot parse "2015-02-30T00:00:00Z" to a valid timestamp`,
  );
  await f(
    'labels?start=x',
    `invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp`,
  );
  await f(
    'label/a/values?end=x',
    `invalid parameter "end": invalid time value for 'end': cannot parse "x" to a valid timestamp`,
  );
  await f(
    'series?match[]=up&end=x',
    `invalid parameter "end": invalid time value for 'end': cannot parse "x" to a valid timestamp`,
  );
  await f(
    'query_exemplars?query=up&start=x',
    `invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp`,
  );
  await f(range, 'invalid parameter "start": cannot parse "" to a valid timestamp');
  await f(`${range}&start=0&end=x`, 'invalid parameter "end": cannot parse "x" to a valid timestamp');
  await f(`${range}&start=2&end=1`, 'invalid parameter "end": end timestamp must not be before start time');
  await f('query_exemplars?query=up&start=2&end=1', 'end timestamp must not be before start timestamp');
  await f(`${range}&start=1&end=1`, 'invalid parameter "step": cannot parse "" to a valid duration');
  await f(`${range}&start=1&end=1&step=1.5s`, 'invalid parameter "step": cannot parse "1.5s" to a valid duration');
  await f(
    `${range}&start=1&end=1&step=1e12`,
    'invalid parameter "step": cannot parse "1e12" to a valid duration. It overflows int64',
  );
  await f(
    `${range}&start=1&end=1&step=0`,
    'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer',
  );
  await f(
    `${range}&start=1&end=1&step=-1`,
    'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer',
  );
  await f(
    `${range}&start=0&end=11001&step=1`,
    'exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)',
  );
  await f('query?query=up&timeout=x', 'invalid parameter "timeout": cannot parse "x" to a valid duration');
  await f('query?query=up&limit=-1', 'invalid parameter "limit": limit must be non-negative');
  await f('query?query=up&limit=x', 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax');
  await f('labels?limit=1.5', 'invalid parameter "limit": strconv.Atoi: parsing "1.5": invalid syntax');
  await f('series', 'no match[] parameter provided');
  await f('series?match[]=%2B', `invalid parameter "match[]": ${PARSE_ERROR}`);
  await f('labels?match[]=%2B', PARSE_ERROR);
  await f('label/a/values?match[]=%2B', PARSE_ERROR);
  await f('series?match[]={}', 'invalid parameter "match[]": match[] must contain at least one non-empty matcher');
  await f('labels?match[]={a%3D~".*"}', 'match[] must contain at least one non-empty matcher');
  await f('label/a/values?match[]=up&match[]={}', 'match[] must contain at least one non-empty matcher');
  await f('label//values', 'invalid label name: ""');
  await f(
    'query?query=up&lookback_delta=x',
    'error parsing lookback delta duration: cannot parse "x" to a valid duration',
  );
  await f('query_exemplars?query=%2B', PARSE_ERROR);
  for (const path of ['format_query', 'parse_query']) {
    await f(path, 'invalid parameter "query": unknown position: parse error: no expression found in input');
    await f(`${path}?query=sum(`, 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis');
  }
  await f('metadata?limit=x', 'limit must be a number');
  await f('metadata?limit_per_metric=x', 'limit_per_metric must be a number');
  await f('rules?type=x', 'invalid parameter "type": not supported value "x"');
  await f('query?query=failed', 'found duplicate series', 'execution', 422);
  await f(
    'query?query=large',
    'query processing would load too many samples into memory in query execution',
    'execution',
    422,
  );
  await f('query?query=slow', 'query timed out in expression evaluation', 'timeout', 503);
  await f('query?query=broken', 'internal error', 'internal', 500);
});

test('the checks come in the order of Prometheus', async (t) => {
  const f = async (path: string, parameter: string) =>
    t.match((await get(`/api/v1/${path}`)).body, `invalid parameter \\"${parameter}\\"`, path);
  await f('query?limit=x&time=x&timeout=x&query=%2B', 'limit');
  await f('query?time=x&timeout=x&lookback_delta=x&query=%2B', 'time');
  await f('query?timeout=x&lookback_delta=x&query=%2B', 'timeout');
  t.match((await get('/api/v1/query?lookback_delta=x&query=%2B')).body, 'lookback delta');
  const range = 'query_range?query=%2B&timeout=x';
  await f(`${range}&limit=x&start=x`, 'limit');
  await f(`${range}&start=x&end=x&step=x`, 'start');
  await f(`${range}&start=2&end=x&step=x`, 'end');
  await f(`${range}&start=2&end=1&step=x`, 'end');
  await f(`${range}&start=0&end=100000&step=x`, 'step');
  t.match((await get(`/api/v1/${range}&start=0&end=100000&step=1`)).body, 'exceeded maximum resolution');
  await f(`${range}&start=0&end=11000&step=1`, 'timeout');
  await f('query_range?query=%2B&start=0&end=11000&step=1', 'query');
});

test('limits cut with a warning, and many warnings are counted', async (t) => {
  const f = async (path: string, want: object) => t.match(JSON.parse((await get(`/api/v1/${path}`)).body), want, path);
  const cut = { warnings: ['results truncated due to limit'] };
  await f('query?query=three&limit=2', { ...cut, data: { result: [{ metric: { a: '1' } }, { metric: { a: '2' } }] } });
  await f('labels?limit=2', { ...cut, data: ['__name__', 'http.method'] });
  await f('label/instance/values?limit=1', { ...cut, data: ['a'] });
  await f('series?match[]=up&limit=1', { ...cut, data: [{ instance: 'a' }] });
  for (const path of [
    'query?query=three&limit=3',
    'labels?limit=4',
    'series?match[]=up&limit=2',
    'query?query=three&limit=0',
  ]) {
    t.notOk((await get(`/api/v1/${path}`)).body.includes('warnings'), path);
  }
  const noted = await get('/api/v1/query?query=noted');
  t.equal(
    noted.body,
    '{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["w0","w1","w2","w3","w4","w5","w6","w7","w8","w9","2 more warning annotations omitted"],"infos":["i"]}',
  );
});

test('labels, values and series follow selectors and time', async (t) => {
  const f = async (path: string, data: unknown) =>
    t.strictSame(JSON.parse((await get(`/api/v1/${path}`)).body).data, data, path);
  await f('labels', ['__name__', 'http.method', 'instance', 'job']);
  await f('labels?match[]=up', ['__name__', 'instance', 'job']);
  await f('labels?match[]=up&match[]=load', ['__name__', 'http.method', 'instance', 'job']);
  await f('label/__name__/values', ['load', 'up']);
  await f('label/job/values?match[]={instance="a"}&match[]=up', ['api']);
  await f('label/http.method/values', ['GET']);
  await f('label/U__http_2e_method/values', ['GET']);
  await f(`label/job/values?start=${NOW_MS / 1000 - 1}&end=${NOW_MS / 1000 - 1}`, ['api']);
  await f(`label/job/values?start=${NOW_MS / 1000}`, []);
  await f(`label/job/values?end=${NOW_MS / 1000 - 3}`, ['db']);
  await f('series?match[]=up&match[]={job="api"}', [
    { __name__: 'up', instance: 'a', job: 'api' },
    { __name__: 'up', instance: 'b', job: 'api' },
  ]);
});

test('escaped label names', async (t) => {
  const f = (name: string, want: string) => t.equal(unescapeName(name), want, name.slice(0, 40));
  f('plain', 'plain');
  f('U__a', 'a');
  f('U__a__b', 'a_b');
  f('U__http_2e_method', 'http.method');
  f('U___1f600_', '😀');
  f('U__a_', 'U__a_');
  f('U__a_zz_', 'U__a_zz_');
  f('U__a_2e', 'U__a_2e');
  f('U__a_d800_', 'U__a_d800_');
  f('U__a_1234567_', 'U__a_1234567_');
  f('U__a_____2e_', 'a__.');
  f('U__a____2e_', 'U__a____2e_');
  f(`U__${'_'.repeat(100_001)}`, `U__${'_'.repeat(100_001)}`);
});

test('status', async (t) => {
  const data = async (path: string) => JSON.parse((await get(`/api/v1/status/${path}`)).body).data;
  const build = await data('buildinfo');
  t.match(build.version, /^\d+\.\d+\.\d+$/);
  t.notOk('features' in build);
  for (const key of ['revision', 'branch', 'buildUser', 'buildDate', 'goVersion']) t.type(build[key], 'string', key);
  t.strictSame(await data('flags'), { 'log.level': 'info' });
  t.match(await data('runtimeinfo'), {
    startTime: '2023-11-14T22:13:19.500Z',
    serverTime: '2023-11-14T22:13:20.500Z',
    storageRetention: '2h',
  });
});

test('status/tsdb', async (t) => {
  const ask = async (query: string) => JSON.parse((await get(`/api/v1/status/tsdb${query}`)).body);
  const { data } = await ask('');
  t.strictSame(data.headStats, {
    numSeries: 3,
    numLabelPairs: 7,
    chunkCount: 0,
    minTime: NOW_MS - 3000,
    maxTime: NOW_MS - 1000,
  });
  t.strictSame(data.seriesCountByMetricName, [
    { name: 'up', value: 2 },
    { name: 'load', value: 1 },
  ]);
  t.strictSame(data.labelValueCountByLabelName, [
    { name: '__name__', value: 2 },
    { name: 'instance', value: 2 },
    { name: 'job', value: 2 },
    { name: 'http.method', value: 1 },
  ]);
  t.strictSame(data.seriesCountByLabelValuePair.slice(0, 3), [
    { name: '__name__=up', value: 2 },
    { name: 'job=api', value: 2 },
    { name: '__name__=load', value: 1 },
  ]);
  const bytes = data.memoryInBytesByLabelName as { readonly name: string; readonly value: number }[];
  t.equal(bytes.length, 4);
  t.ok(bytes.every(({ value }, i) => value > 64 && value <= (bytes[i - 1]?.value ?? Infinity)));
  const short = await ask('?limit=1');
  t.strictSame(short.data.seriesCountByMetricName, [{ name: 'up', value: 2 }]);
  t.equal(short.data.labelValueCountByLabelName.length, 1);
  t.equal((await ask('?limit=%2B10000')).status, 'success');
  const f = async (limit: string, error: string) =>
    t.strictSame(await ask(`?limit=${limit}`), { status: 'error', errorType: 'bad_data', error });
  for (const limit of ['0', '-3', 'x', '1.5']) await f(limit, 'limit must be a positive number');
  await f('10001', 'limit must not exceed 10000');
});

test('not ready, wrong method, unknown path, other origins', async (t) => {
  const closed = build({ isReady: () => false, isStopping: () => true });
  const unready = await closed.inject({ method: 'GET', url: '/api/v1/query?query=up' });
  t.strictSame(
    [unready.statusCode, unready.body, unready.headers['x-prometheus-stopping']],
    [503, 'Service Unavailable', 'true'],
  );
  const f = async (method: 'DELETE' | 'POST' | 'GET', url: string, want: readonly unknown[]) => {
    const { statusCode, body, headers } = await app.inject({ method, url });
    t.strictSame([statusCode, body, headers.allow], want, `${method} ${url}`);
  };
  await f('DELETE', '/api/v1/query', [405, 'Method Not Allowed\n', 'GET, POST']);
  await f('POST', '/api/v1/label/a/values', [405, 'Method Not Allowed\n', 'GET']);
  await f('GET', '/api/v1/nothing', [404, '404 page not found\n', undefined]);
  await f('GET', '/API/V1/query', [404, '404 page not found\n', undefined]);
  const preflight = await app.inject({ method: 'OPTIONS', url: '/api/v1/query', headers: { origin: 'http://x' } });
  t.strictSame(
    [preflight.statusCode, preflight.headers['access-control-allow-origin'], preflight.headers.vary],
    [204, '*', 'Origin, Accept-Encoding'],
  );
  const sameOrigin = await app.inject({ method: 'GET', url: '/api/v1/labels' });
  t.strictSame(
    [sameOrigin.headers['access-control-allow-origin'], sameOrigin.headers.vary],
    [undefined, 'Origin, Accept-Encoding'],
  );
});

test('over a socket: a long reply is whole, and a client that goes away cancels its query', async (t) => {
  const started = deferred();
  const canceled = deferred();
  const waiting = new FakeEngine({
    huge: engine.byText.huge!,
    wait: async () => {
      started.resolve();
      while (!waiting.last!.signal!.aborted) await new Promise((resolve) => setTimeout(resolve, 2));
      canceled.resolve();
      throw new CodedError('query_canceled', 'query was canceled in expression evaluation');
    },
  });
  const server = build({ engine: waiting });
  t.teardown(() => server.close());
  const address = await listenHttp(server, { host: '127.0.0.1', port: 0 });
  const response = await fetch(`http://${address}/api/v1/query?query=huge`, {
    headers: { 'accept-encoding': 'identity' },
  });
  const { data } = (await response.json()) as { data: { result: unknown[] } };
  t.strictSame([response.headers.get('content-type'), data.result.length], ['application/json', 20_000]);
  t.strictSame(data.result[19_999], { metric: { i: '19999' }, value: [NOW_MS / 1000, '0'] });
  const controller = new AbortController();
  const aborted = t.rejects(fetch(`http://${address}/api/v1/query?query=wait`, { signal: controller.signal }));
  await started.promise;
  controller.abort();
  await aborted;
  await canceled.promise;
});

test('the short way of queries and the long one give the same reply', async (t) => {
  const server = build();
  t.teardown(() => server.close());
  const address = await listenHttp(server, { host: '127.0.0.1', port: 0 });
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const form = 'application/x-www-form-urlencoded';
  const f = async (method: 'GET' | 'POST', url: string, headers: Record<string, string> = {}, payload = '') => {
    const long = await server.inject({ method, url, headers, ...(method === 'POST' ? { payload } : {}) });
    const short = await overSocket(agent, address, method, url, headers, payload);
    const shown = ({
      date: _d,
      connection: _c,
      'keep-alive': _k,
      'transfer-encoding': _t,
      ...rest
    }: object & Headers) => rest;
    t.strictSame(short.status, long.statusCode, `${method} ${url}`);
    t.strictSame(shown(short.headers), shown(long.headers as Headers), `${method} ${url}`);
    t.ok(short.body.equals(long.rawPayload), `${method} ${url}: body`);
    return short;
  };
  for (const path of ['query', 'query_range']) {
    const url = `/api/v1/${path}`;
    const range = 'start=0&end=60&step=15';
    await f('GET', `${url}?query=up&${range}`);
    await f('GET', `${url}?query=up&${range}`, { origin: 'http://x' });
    await f('GET', `${url}?query=up&${range}`, { 'accept-encoding': 'gzip' });
    await f('GET', `${url}?query=huge&${range}`, { 'accept-encoding': 'gzip, deflate' });
    await f('GET', `${url}?query=huge&${range}`, { 'accept-encoding': 'deflate' });
    await f('GET', `${url}?query=huge&${range}`);
    await f('GET', `${url}?query=nothing+of+this&${range}`);
    await f('GET', url);
    await f('POST', `${url}?${range}`, { 'content-type': form }, 'query=up');
    await f('POST', `${url}?query=up&${range}`, { 'content-type': form }, 'query=huge&limit=2');
    await f('POST', `${url}?query=up&${range}`, { 'content-type': `${form}; charset=utf-8` }, 'query=huge&limit=2');
    await f('POST', `${url}?query=up&${range}`, { 'content-type': 'text/plain' }, 'query=huge');
    await f('POST', `${url}?query=up&${range}`, {}, '');
    const large = await f('POST', url, { 'content-type': form }, `query=${'a'.repeat(LIMITS.formBodyBytesMax)}`);
    t.equal(large.status, 413);
  }
});

type Headers = NodeJS.Dict<string | string[]>;

/** Asks as a client of the network does; bytes of the body as they came. */
function overSocket(agent: Agent, address: string, method: string, path: string, headers: Headers, payload: string) {
  const [host, port] = address.split(':');
  const length = payload === '' ? {} : { 'content-length': payload.length };
  return new Promise<{ status: number; headers: Headers; body: Buffer }>((resolve, reject) => {
    const sent = request({ agent, host, port, method, path, headers: { ...headers, ...length } }, (reply) => {
      const parts: Buffer[] = [];
      reply.on('data', (part: Buffer) => parts.push(part));
      reply.on('end', () => resolve({ status: reply.statusCode!, headers: reply.headers, body: Buffer.concat(parts) }));
      reply.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(payload);
  });
}

test('with the real engine: what clients send and what they get', async (t) => {
  const real = build({ engine: new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: 300_000 }) });
  const f = async (path: string, status: number, body: string) => {
    const reply = await real.inject({ method: 'GET', url: `/api/v1/${path}` });
    t.strictSame([reply.statusCode, reply.body], [status, body], path);
  };
  const data = (path: string, json: string) => f(path, 200, `{"status":"success","data":${json}}`);
  const error = (path: string, text: string) =>
    f(path, 400, `{"status":"error","errorType":"bad_data","error":${JSON.stringify(text)}}`);
  const encoded = encodeURIComponent;
  const at = NOW_MS / 1000;
  // Grafana's test of a data source, KEDA's request, then each type of a result.
  await data('query?query=1%2B1&time=4', '{"resultType":"scalar","result":[4,"2"]}');
  await data(
    'query?query=sum(up)&time=2023-11-14T22:13:20Z&namespace=a',
    '{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"2"]}]}',
  );
  await data('query?query=sum(nothing)', '{"resultType":"vector","result":[]}');
  await data(
    `query?query=${encoded('load{job="db"}[10s]')}`,
    `{"resultType":"matrix","result":[{"metric":{"__name__":"load","http.method":"GET","job":"db"},"values":[[${at - 3}00,"1"]]}]}`,
  );
  await data(`query?query=${encoded('"a<b"')}`, `{"resultType":"string","result":[${at},"a\\u003cb"]}`);
  await data('query?query=1e-7', `{"resultType":"scalar","result":[${at},"0.0000001"]}`);
  await data(
    `query?query=${encoded('vector(-1e-7)')}`,
    `{"resultType":"vector","result":[{"metric":{},"value":[1700000000.500,"-1e-07"]}]}`,
  );
  await data(
    'query_range?query=1/0&start=0&end=1&step=500ms',
    '{"resultType":"matrix","result":[{"metric":{},"values":[[0,"+Inf"],[0.500,"+Inf"],[1,"+Inf"]]}]}',
  );
  await data('query_exemplars?query=test&start=1700000000000&end=1700000300000', '[]');
  await data(`label/instance/values?match[]=${encoded('{job=~"a.+"}')}`, '["a","b"]');
  await error('query', 'invalid parameter "query": unknown position: parse error: no expression found in input');
  await error(
    'query_range?start=0&end=1&step=1',
    'invalid parameter "query": unknown position: parse error: no expression found in input',
  );
  await error(
    `query?query=${encoded('sum(')}`,
    'invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
  );
  await error(
    'query_range?query=up[5m]&start=0&end=1&step=1',
    'invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector',
  );
  await error(
    `query_range?query=${encoded('"a"')}&start=0&end=1&step=1`,
    'invalid parameter "query": invalid expression type "string" for range query, must be Scalar or instant Vector',
  );
  await error('series?match[]={}', 'invalid parameter "match[]": match[] must contain at least one non-empty matcher');
  const failed = await real.inject({ method: 'GET', url: `/api/v1/query?query=${encoded('up * on(job) up')}` });
  t.strictSame([failed.statusCode, failed.json().errorType], [422, 'execution']);
});

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
