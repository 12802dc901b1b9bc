/** The push routes over HTTP: every row of the tables of replies, and that a fault of one request is nobody else's. */
import * as zlib from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import protobuf from 'protobufjs/minimal.js';
import { test } from 'tap';
import { acceptForms, buildHttp, listenHttp, parseForm } from '../../../src/api/http.ts';
import { registerOtlpHttp, registerPush } from '../../../src/api/push/push.ts';
import { PartlyStored } from '../../../src/ingest/write.ts';
import { CodedError } from '../../../src/model/errors.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { type Bench, bench, dump, metric, NOW_MS } from '../../ingest/support.ts';
import { encodeExportRequest } from '../../support/otlp-encoder.ts';
import { encodeRequest } from '../../support/remote-write-2-encoder.ts';
import { encodePlainWriteRequest, encodeWriteRequest } from '../../support/remote-write-encoder.ts';

const PROTOBUF = 'application/x-protobuf';
const samples = [{ timestampMs: NOW_MS, value: 1 }];
const GOOD = encodeWriteRequest([{ labels: { __name__: 'up' }, samples }]);
const NAMELESS = { labels: { job: 'x' }, samples };
const PARTIAL = encodeWriteRequest([NAMELESS, { labels: { __name__: 'up' }, samples }]);
const point = { time: NOW_MS, value: 1 };
const OTLP_GOOD = encodeExportRequest([{ metrics: [{ name: 'g', kind: 'gauge', points: [point] }] }]);
const OTLP_PARTIAL = encodeExportRequest([
  {
    metrics: [
      { name: 'd', kind: 'sum', temporality: 'unspecified', points: [point, point, point] },
      { name: 'g', kind: 'gauge', points: [point] },
    ],
  },
]);

interface Surface extends Bench {
  readonly app: FastifyInstance;
  readonly logs: string[];
}

/** Both surfaces on one instance, with a route beside them that takes forms. */
function surface(): Surface {
  const one = bench();
  const logs: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void logs.push(line) });
  const app = buildHttp({ logger });
  void app.register(async (scope) => {
    acceptForms(scope);
    scope.post('/echo', async (request) => parseForm(request).get('a') ?? 'no form');
  });
  const deps = { writer: one.writer, logger };
  registerPush(app, deps);
  registerOtlpHttp(app, deps);
  return { ...one, app, logs };
}

type Headers = Readonly<Record<string, string>>;

test('remote write: replies', async (t) => {
  const { app, head, registry, logs } = surface();
  const f = async (headers: Headers, payload: Uint8Array, status: number, text: string | RegExp): Promise<void> => {
    const reply = await app.inject({ method: 'POST', url: '/api/v1/write', headers, payload: Buffer.from(payload) });
    t.equal(reply.statusCode, status, `${JSON.stringify(headers)} ${reply.payload}`);
    if (typeof text === 'string') t.equal(reply.payload, text);
    else t.match(reply.payload, text);
    if (status !== 204) t.match(reply.headers['content-type'], /^text\/plain/);
    t.notOk(Object.keys(reply.headers).some((name) => name.startsWith('x-prometheus-remote-write')));
  };
  const sent = { 'content-type': PROTOBUF, 'content-encoding': 'snappy', 'x-prometheus-remote-write-version': '0.1.0' };
  const type = (contentType: string): Headers => ({ ...sent, 'content-type': contentType });
  const encoding = (contentEncoding: string): Headers => ({ ...sent, 'content-encoding': contentEncoding });
  await f(sent, GOOD, 204, '');
  await f(type('application/x-protobuf;proto=prometheus.WriteRequest'), GOOD, 204, '');
  await f(type('Application/X-Protobuf ; proto = "prometheus.WriteRequest"'), GOOD, 204, '');
  await f({ 'content-type': PROTOBUF }, GOOD, 204, '');
  await f(encoding(''), GOOD, 204, '');
  await f(encoding('Snappy'), GOOD, 204, '');
  await f({}, GOOD, 204, '');
  await f(sent, encodeWriteRequest([], 2), 204, '');
  await f(sent, encodeWriteRequest([]), 204, '');
  await f(sent, PARTIAL, 400, 'label set without a metric name: 1 refused, the first for {job="x"}\n');
  await f(sent, encodeWriteRequest([NAMELESS]), 400, /^label set without a metric name/);
  await f(
    type('application/json'),
    GOOD,
    415,
    /^cannot take Content-Type: got "application\/json", want application\/x-protobuf, with proto/,
  );
  await f(type('text/plain'), GOOD, 415, /^cannot take Content-Type/);
  await f(type('nonsense'), GOOD, 415, /^cannot take Content-Type/);
  await f(
    type('application/x-protobuf; charset=utf-8 ; proto=prometheus.Nothing'),
    GOOD,
    415,
    /^cannot take Content-Type/,
  );
  await f(type('application/x-protobuf;proto=some.Other'), GOOD, 415, /^cannot take Content-Type/);
  await f(encoding('gzip'), GOOD, 415, /^cannot take Content-Encoding: got "gzip", want snappy/);
  await f(encoding('zstd'), GOOD, 415, /^cannot take Content-Encoding/);
  await f(sent, Buffer.from('not snappy at all'), 400, /^cannot decode snappy block/);
  await f(sent, encodePlainWriteRequest([NAMELESS]), 400, /^cannot decode snappy block/);
  await f(sent, GOOD.subarray(0, GOOD.length - 1), 400, /^cannot decode snappy block/);
  await f(sent, new Uint8Array(0), 400, /^cannot decode snappy block/);
  await f(sent, Uint8Array.of(5, 16, 1, 2, 3, 4, 5), 400, /^cannot decode body/);
  // 32 MiB + 1 declared; and as many bytes sent.
  await f(
    sent,
    Uint8Array.of(0x81, 0x80, 0x80, 0x10, 0),
    413,
    /^cannot take body: got 33554433 bytes after decompression/,
  );
  await f(sent, new Uint8Array(LIMITS.remoteWriteBodyBytesMax + 1), 413, /too large/);
  t.strictSame(dump(head), ['up 1@0']);
  const outcomes = (outcome: string): number | undefined =>
    metric(registry, `tidegauge_ingest_requests_total{protocol="remote_write",outcome="${outcome}"}`);
  t.strictSame(
    ['stored', 'partial', 'bad_body', 'body_too_large', 'unsupported_media_type'].map(outcomes),
    [9, 2, 5, 2, 7],
  );
  t.strictSame(logs, [], 'what a sender does wrong is not logged as a fault of ours');
});

test('remote write 2.0: replies say what was written, faults included', async (t) => {
  const { app, head, writer } = surface();
  const sent = { 'content-type': `${PROTOBUF};proto=io.prometheus.write.v2.Request`, 'content-encoding': 'snappy' };
  type Written = readonly [samples: number, histograms: number, exemplars: number];
  const f = async (
    headers: Headers,
    payload: Uint8Array,
    status: number,
    text: string | RegExp,
    want: Written | null,
  ) => {
    const reply = await app.inject({ method: 'POST', url: '/api/v1/write', headers, payload: Buffer.from(payload) });
    t.equal(reply.statusCode, status, reply.payload);
    t.match(reply.payload, text);
    const written = ['samples', 'histograms', 'exemplars'].map((what) => {
      return reply.headers[`x-prometheus-remote-write-${what}-written`];
    });
    t.strictSame(written, want === null ? [undefined, undefined, undefined] : want.map(String), `written, ${status}`);
    return reply;
  };
  const up = [['__name__', 'up']] as const;
  const exemplars = [{ labels: [['trace_id', '1']] as const, value: 1, timestampMs: NOW_MS }];
  const histograms = [{ timestampMs: NOW_MS }];
  const all = encodeRequest([
    { labels: up, samples, exemplars },
    { labels: [['__name__', 'h']], histograms },
  ]);
  const partial = encodeRequest([
    { labels: up, samples },
    { labels: [['job', 'x']], samples, histograms },
  ]);
  await f(sent, all, 204, /^$/, [1, 1, 1]);
  await f(
    { ...sent, 'content-type': 'application/x-protobuf; proto="io.prometheus.write.v2.Request"' },
    all,
    204,
    /^$/,
    [1, 1, 1],
  );
  // The version header is for people: the type decides.
  await f({ ...sent, 'x-prometheus-remote-write-version': '0.1.0' }, all, 204, /^$/, [1, 1, 1]);
  await f(sent, encodeRequest([]), 204, /^$/, [0, 0, 0]);
  await f(sent, partial, 400, /^label set without a metric name: 2 refused/, [1, 0, 0]);
  await f(sent, Buffer.from('not snappy'), 400, /^cannot decode snappy block/, [0, 0, 0]);
  await f(sent, GOOD, 400, /^cannot decode body/, [0, 0, 0]);
  await f(sent, Uint8Array.of(0x81, 0x80, 0x80, 0x10, 0), 413, /33554433 bytes/, [0, 0, 0]);
  await f({ ...sent, 'content-encoding': 'zstd' }, all, 415, /^cannot take Content-Encoding/, null);
  t.strictSame(dump(head), ['h ', 'up 1@0']);

  const outcome = { samplesStored: 3, histogramsStored: 1, exemplarsStored: 4, samplesRefused: 0, message: '' };
  const overloaded = new PartlyStored(new CodedError('overloaded', 'memory is full'), outcome);
  Object.assign(writer, {
    remoteWrite2: () => {
      throw overloaded;
    },
    remoteWrite: () => {
      throw overloaded;
    },
  });
  const busy = await f(sent, all, 503, /^memory is full\n$/, [2, 1, 4]);
  t.match(busy.headers['retry-after'], /^[1-9]\d*$/);
  const busy1 = await f({}, GOOD, 503, /^memory is full\n$/, null);
  t.match(busy1.headers['retry-after'], /^[1-9]\d*$/, '1.0 is told when, too');
});

test('remote write: aliases, and other methods than POST', async (t) => {
  const { app } = surface();
  for (const url of ['/api/v1/write', '/api/v1/push', '/write']) {
    t.equal((await app.inject({ method: 'POST', url, payload: Buffer.from(GOOD) })).statusCode, 204, url);
    for (const method of ['GET', 'PUT', 'DELETE'] as const) {
      const reply = await app.inject({ method, url });
      t.equal(reply.statusCode, 405, `${method} ${url}`);
      t.equal(reply.payload, 'Method Not Allowed\n');
      t.equal(reply.headers.allow, 'POST');
    }
  }
});

test('the parser of the push routes is theirs alone', async (t) => {
  const { app } = surface();
  const f = async (type: string, payload: string, want: string): Promise<void> => {
    const reply = await app.inject({ method: 'POST', url: '/echo', headers: { 'content-type': type }, payload });
    t.equal(reply.payload, want, type);
  };
  await f('application/x-www-form-urlencoded', 'a=1', '1');
  await f(PROTOBUF, 'a=1', 'no form');
});

/** Reads { 1 varint, 2 string }, which is both a Status and a PartialSuccess. */
function readPair(bytes: Uint8Array): [code: number, message: string] {
  const reader = protobuf.Reader.create(bytes);
  const pair: [number, string] = [0, ''];
  while (reader.pos < reader.len) {
    const field = reader.uint32();
    if (field === 8) pair[0] = Number(reader.int64());
    else if (field === 18) pair[1] = reader.string();
    else throw new Error(`unexpected field ${field}`);
  }
  return pair;
}

for (const url of ['/v1/metrics', '/api/v1/otlp/v1/metrics']) {
  test(`OTLP over HTTP at ${url}: replies`, async (t) => {
    const { app, head, registry, logs } = surface();
    const send = (headers: Headers, payload: Uint8Array) =>
      app.inject({ method: 'POST', url, headers, payload: Buffer.from(payload) });
    const sent = { 'content-type': PROTOBUF };
    const accepted = async (headers: Headers, payload: Uint8Array, want: Uint8Array): Promise<void> => {
      const reply = await send(headers, payload);
      t.equal(reply.statusCode, 200, reply.payload);
      t.equal(reply.headers['content-type'], PROTOBUF);
      t.strictSame([...reply.rawPayload], [...want]);
    };
    const refused = async (
      headers: Headers,
      payload: Uint8Array,
      status: number,
      code: number,
      message: RegExp,
    ): Promise<void> => {
      const reply = await send(headers, payload);
      t.equal(reply.statusCode, status, reply.payload);
      t.equal(reply.headers['content-type'], PROTOBUF);
      const [gotCode, gotMessage] = readPair(reply.rawPayload);
      t.equal(gotCode, code);
      t.match(gotMessage, message);
    };
    const nothing = new Uint8Array(0);
    await accepted(sent, OTLP_GOOD, nothing);
    await accepted({ 'content-type': 'application/x-protobuf; charset=utf-8' }, OTLP_GOOD, nothing);
    await accepted(sent, nothing, nothing);
    await accepted({ ...sent, 'content-encoding': 'identity' }, OTLP_GOOD, nothing);
    await accepted({ ...sent, 'content-encoding': 'gzip' }, zlib.gzipSync(OTLP_GOOD), nothing);

    const partial = await send(sent, OTLP_PARTIAL);
    t.equal(partial.statusCode, 200);
    const reader = protobuf.Reader.create(partial.rawPayload);
    t.equal(reader.uint32(), 10, 'field 1 is the partial success');
    t.strictSame(readPair(reader.bytes()), [
      3,
      'aggregation temporality is unspecified: want cumulative or delta: 3 refused, the first for "d"',
    ]);

    await refused(sent, Buffer.from('garbage'), 400, 3, /^cannot decode body/);
    await refused(sent, OTLP_GOOD.subarray(0, 10), 400, 3, /^cannot decode body/);
    await refused({ ...sent, 'content-encoding': 'gzip' }, OTLP_GOOD, 400, 3, /^cannot decompress gzip body: /);
    await refused(
      { ...sent, 'content-encoding': 'gzip' },
      zlib.gzipSync(OTLP_GOOD).subarray(0, 20),
      400,
      3,
      /^cannot decompress gzip body: /,
    );
    await refused(
      { ...sent, 'content-encoding': 'snappy' },
      OTLP_GOOD,
      415,
      3,
      /^cannot take Content-Encoding: got "snappy", want gzip(?:, zstd)? or none/,
    );
    await refused({ 'content-type': 'text/plain' }, OTLP_GOOD, 415, 3, /^cannot take Content-Type: got "text\/plain"/);
    await refused({}, OTLP_GOOD, 415, 3, /^cannot take Content-Type: got ""/);
    const hasZstd = 'zstdDecompress' in zlib;
    if (!hasZstd) {
      const zstd = { ...sent, 'content-encoding': 'zstd' };
      await refused(zstd, OTLP_GOOD, 415, 3, /^cannot take Content-Encoding: got "zstd", want gzip or none; Node \d/);
    }
    // A bomb: 64 KiB that inflate to 64 MiB and one byte.
    const bomb = zlib.gzipSync(new Uint8Array(LIMITS.otlpBodyBytesMax + 1));
    await refused(
      { ...sent, 'content-encoding': 'gzip' },
      bomb,
      413,
      8,
      /^cannot take body: got more than 100 times as many bytes after decompression/,
    );
    await refused({ ...sent, 'content-length': String(LIMITS.otlpBodyBytesMax + 1) }, nothing, 413, 8, /too large/);

    const json = await send({ 'content-type': 'application/json' }, Buffer.from('{}'));
    t.equal(json.statusCode, 200);
    t.match(json.headers['content-type'], 'application/json');
    t.equal(json.payload, '{}');
    const malformed = await send({ 'content-type': 'application/json; charset=utf-8' }, Buffer.from('{'));
    t.equal(malformed.statusCode, 400);
    t.match(malformed.headers['content-type'], 'application/json');
    t.match(malformed.json(), { code: 3, message: /^cannot decode body as JSON: / });
    const late = { name: 'late', gauge: { dataPoints: [{ timeUnixNano: '1', asInt: 1 }] } };
    const refusedBody = JSON.stringify({ resourceMetrics: [{ resource: {}, scopeMetrics: [{ metrics: [late] }] }] });
    const refusedJson = await send(
      { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      zlib.gzipSync(refusedBody),
    );
    t.equal(refusedJson.statusCode, 200);
    t.match(refusedJson.json(), {
      partialSuccess: { rejectedDataPoints: '1', errorMessage: /^too old sample: 1 refused, the first for late/ },
    });
    const get = await app.inject({ method: 'GET', url });
    t.equal(get.statusCode, 405);

    t.strictSame(dump(head), ['g 1@0']);
    const outcomes = (outcome: string): number | undefined =>
      metric(registry, `tidegauge_ingest_requests_total{protocol="otlp",outcome="${outcome}"}`);
    t.strictSame(['stored', 'partial', 'bad_body', 'body_too_large', 'unsupported_media_type'].map(outcomes), [
      6,
      2,
      5,
      2,
      hasZstd ? 3 : 4,
    ]);
    t.strictSame(logs, []);
  });
}

test('overload is 503, an unforeseen fault is 500, and the daemon goes on', async (t) => {
  const { app, writer, logs } = surface();
  const fail = (error: Error): void => {
    const thrower = (): never => {
      throw error;
    };
    Object.assign(writer, { remoteWrite: thrower, otlp: thrower });
  };
  const write = () => app.inject({ method: 'POST', url: '/api/v1/write', payload: Buffer.from(GOOD) });
  const headers = { 'content-type': PROTOBUF };
  const otlp = () => app.inject({ method: 'POST', url: '/v1/metrics', headers, payload: Buffer.from(OTLP_GOOD) });

  fail(new CodedError('overloaded', 'cannot take this now'));
  t.equal((await write()).statusCode, 503);
  const busy = await otlp();
  t.equal(busy.statusCode, 503);
  t.strictSame(readPair(busy.rawPayload), [14, 'cannot take this now']);
  t.strictSame(logs, []);

  fail(new Error('the secret of the inside'));
  const broken = await write();
  t.equal(broken.statusCode, 500);
  t.notMatch(broken.payload, /secret/);
  const brokenOtlp = await otlp();
  t.equal(brokenOtlp.statusCode, 500);
  t.equal(readPair(brokenOtlp.rawPayload)[0], 13);
  t.equal(logs.filter((line) => line.includes('the secret of the inside')).length, 2, 'the log says what happened');

  for (const method of ['remoteWrite', 'otlp']) Reflect.deleteProperty(writer, method);
  t.equal((await write()).statusCode, 204);
  t.equal((await otlp()).statusCode, 200);
});

test('over a socket: a sender learns the reason, however much it was about to send', async (t) => {
  const { app, head } = surface();
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const post = async (url: string, contentType: string, body: Uint8Array): Promise<[number, string]> => {
    const headers = { 'content-type': contentType };
    const reply = await fetch(`http://${address}${url}`, { method: 'POST', headers, body: Buffer.from(body) });
    return [reply.status, await reply.text()];
  };
  const large = new Uint8Array(8 * 1024 * 1024);
  for (let i = 0; i < 3; i++) {
    t.match(await post('/api/v1/write', 'text/plain', large), [415, /^cannot take Content-Type/]);
    t.match(await post('/v1/metrics', 'application/json', large), [
      400,
      /^\{"code":3,"message":"cannot decode body as/,
    ]);
    t.match(await post('/api/v1/write', PROTOBUF, large), [400, /^cannot decode snappy block/]);
    t.strictSame(await post('/api/v1/write', PROTOBUF, GOOD), [204, '']);
    t.strictSame(await post('/v1/metrics', PROTOBUF, OTLP_GOOD), [200, '']);
  }
  t.strictSame(dump(head), ['g 1@0', 'up 1@0']);
});
