/**
 * Senders and askers that get it wrong, against the running daemon: each is told so with the right code, each is counted in
 * the daemon's own metrics, and the daemon goes on answering the others.
 */
import { writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { Client, credentials, status } from '@grpc/grpc-js';
import protobuf from 'protobufjs/minimal.js';
import snappy from 'snappyjs';
import { test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { KedaClient } from '../support/keda-client.ts';
import { EXTERNAL_METRICS } from '../support/kubectl.ts';
import { temporaryFolder } from '../support/process.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { ownMetric } from './own-metrics.ts';
import { instantVector, oneValue } from './query-client.ts';

const PROTOBUF = 'application/x-protobuf';
const TWO_GIGABYTES = 2 ** 31 - 1;

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A counter that must move by one. */
type Counter = readonly [name: string, labels: Readonly<Record<string, string>>];

const CONFIG = `
externalMetrics:
  - { name: good, query: good }
  - { name: never_received, query: never_received }
`;

/** The good samples lie behind each other in the last minute: two within a millisecond would be duplicates. */
const BASE_MS = Date.now() - 60_000;

function good(value: number): Uint8Array {
  return body({ __name__: 'good', job: 'journey' }, value);
}

function body(labels: Readonly<Record<string, string>>, value: number): Uint8Array {
  return encodeWriteRequest([{ labels, samples: [{ timestampMs: BASE_MS + value, value }] }]);
}

function garbage(): Uint8Array {
  return Uint8Array.from({ length: 300 }, (_, i) => (i * 167 + 13) & 255);
}

test('bad input is refused with its code, is counted, and the daemon goes on', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const configFile = join(folder.path, 'tidegauge.yml');
  await writeFile(configFile, CONFIG);
  const daemon = await startDaemon([`--config.file=${configFile}`]);
  t.teardown(() => daemon.stop());
  const { web, otlpHttp } = daemon.listen;
  const write = (body: Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
    post(`http://${web}/api/v1/write`, body, { 'content-type': PROTOBUF, 'content-encoding': 'snappy', ...headers });
  const otlp = (body: Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
    post(`http://${otlpHttp}/v1/metrics`, body, { 'content-type': PROTOBUF, ...headers });

  /** One bad request: its status, what the body must say, its counter; and a good one after it gets through. */
  let rounds = 0;
  const f = async (
    what: string,
    send: () => Promise<Answer>,
    want: number,
    says: RegExp,
    counter: Counter,
  ): Promise<void> => {
    const before = await ownMetric(web, ...counter);
    const answer = await send();
    t.equal(answer.status, want, `${what}: status`);
    t.match(answer.body, says, `${what}: message`);
    t.equal(await ownMetric(web, ...counter), before + 1, `${what}: counted`);
    rounds++;
    t.equal((await write(good(rounds))).status, 204, `${what}: a good body is taken after it`);
    t.equal(await oneValue(web, 'good'), rounds, `${what}: and can be asked for`);
  };
  const refused = (protocol: string, outcome: string): Counter => [
    'tidegauge_ingest_requests_total',
    { protocol, outcome },
  ];

  await t.test('remote write', async () => {
    const whole = good(0);
    const badBody = refused('remote_write', 'bad_body');
    await f('no body', () => write(new Uint8Array()), 400, /./, badBody);
    await f('truncated', () => write(whole.subarray(0, whole.length / 2)), 400, /snappy/, badBody);
    await f('garbage', () => write(garbage()), 400, /./, badBody);
    await f('snappy of garbage', () => write(snappy.compress(garbage())), 400, /cannot decode body/, badBody);
    const tooLarge = refused('remote_write', 'body_too_large');
    await f('a header that claims two gigabytes', () => write(claiming(TWO_GIGABYTES)), 413, /2147483647/, tooLarge);
    await f('a header that claims a byte more', () => write(claiming(PAYLOAD.length + 1)), 400, /snappy/, badBody);
    await f('a header that claims a byte less', () => write(claiming(PAYLOAD.length - 1)), 400, /snappy/, badBody);
    const unsupported = refused('remote_write', 'unsupported_media_type');
    await f('text', () => write(whole, { 'content-type': 'text/plain' }), 415, /text\/plain/, unsupported);
    await f('gzip', () => write(whole, { 'content-encoding': 'gzip' }), 415, /gzip/, unsupported);
    const proto = (name: string) => ({ 'content-type': `${PROTOBUF};proto=io.prometheus.write.${name}` });
    await f(
      'a message of another version',
      () => write(whole, proto('v2.Request')),
      400,
      /cannot decode body/,
      badBody,
    );
    await f('a version that is not there yet', () => write(whole, proto('v3.Request')), 415, /v3/, unsupported);
    await f('a nameless series', () => write(body({ job: 'journey' }, 1)), 400, /metric name/, [
      'tidegauge_ingest_samples_refused_total',
      { protocol: 'remote_write', reason: 'missing_metric_name' },
    ]);
  });

  await t.test('OTLP over HTTP', async () => {
    const badBody = refused('otlp', 'bad_body');
    await f('garbage', () => otlp(garbage()), 400, /./, badBody);
    await f('truncated', () => otlp(Uint8Array.of(10, 200, 1, 18)), 400, /./, badBody);
    const unsupported = refused('otlp', 'unsupported_media_type');
    await f('text', () => otlp(garbage(), { 'content-type': 'text/plain' }), 415, /text\/plain/, unsupported);
    await f('JSON', () => otlp(Buffer.from('{]'), { 'content-type': 'application/json' }), 400, /JSON/, badBody);
    await f('not gzip', () => otlp(garbage(), { 'content-encoding': 'gzip' }), 400, /./, badBody);
  });

  await t.test('OTLP over gRPC', async () => {
    const send = () => exportMetrics(daemon, garbage());
    await f('garbage', send, status.INVALID_ARGUMENT, /./, refused('otlp', 'bad_body'));
  });

  await t.test('PromQL', async () => {
    const query = (text: string) => async () => {
      const reply = await fetch(`http://${web}/api/v1/query?${new URLSearchParams({ query: text })}`);
      return { status: reply.status, body: await reply.text() };
    };
    const bad: Counter = ['tidegauge_http_requests_total', { code: '400' }];
    await f('nothing', query(''), 400, /"errorType":"bad_data"/, bad);
    await f('an open bracket', query('sum(good'), 400, /"errorType":"bad_data".*1:9: parse error: /, bad);
    await f('no such function', query('no_such_function(good)'), 400, /"errorType":"bad_data".*unknown function/, bad);
    await f('a bad regular expression', query('good{job=~"("}'), 400, /"errorType":"bad_data"/, bad);
    t.strictSame(await instantVector(web, 'never_received'), [], 'an unknown metric is an empty vector');
  });

  await t.test('KEDA', async () => {
    const keda = new KedaClient(daemon.listen.keda);
    t.teardown(() => keda.close());
    const trigger = (metadata: Readonly<Record<string, string>>) => ({ name: 'o', namespace: 'n', metadata });
    const metrics = (metadata: Readonly<Record<string, string>>) => grpcAnswer(keda.getMetrics(trigger(metadata), 'm'));
    const spec = (metadata: Readonly<Record<string, string>>) => grpcAnswer(keda.getMetricSpec(trigger(metadata)));
    const calls = (method: string, code: number): Counter => [
      'tidegauge_keda_requests_total',
      { method, grpc_code: `${code}` },
    ];
    const { INVALID_ARGUMENT, NOT_FOUND } = status;
    const badSpec = calls('GetMetricSpec', INVALID_ARGUMENT);
    const badMetrics = calls('GetMetrics', INVALID_ARGUMENT);
    await f('no target', () => spec({ query: 'good' }), INVALID_ARGUMENT, /targetValue/, badSpec);
    await f('a target of words', () => spec({ query: 'good', targetValue: 'many' }), INVALID_ARGUMENT, /many/, badSpec);
    await f('no query', () => metrics({ targetValue: '1' }), INVALID_ARGUMENT, /query/, badMetrics);
    await f(
      'a bad query',
      () => metrics({ query: 'sum(', targetValue: '1' }),
      INVALID_ARGUMENT,
      /parse error/,
      badMetrics,
    );
    const unknown = { query: 'never_received', targetValue: '1' };
    await f('an unknown metric', () => metrics(unknown), NOT_FOUND, /never_received/, calls('GetMetrics', NOT_FOUND));
  });

  await t.test('Kubernetes', async () => {
    const get = (path: string) => () => getStatus(daemon.listen.kubernetes, path);
    const metric = (path: string) => get(`${EXTERNAL_METRICS}/namespaces/shop/${path}`);
    const replies = (code: number): Counter => ['tidegauge_kubernetes_requests_total', { code: `${code}` }];
    const unknown: Counter = ['tidegauge_readings_total', { surface: 'kubernetes', outcome: 'unknown_metric' }];
    await f('a metric that never came', metric('never_received'), 404, /"reason":"NotFound"/, unknown);
    await f('a metric of nobody', metric('nothing'), 404, /"reason":"NotFound"/, replies(404));
    await f('a bad selector', metric('good?labelSelector=a+in+%28'), 400, /"reason":"BadRequest"/, replies(400));
    await f('an unknown path', get('/apis/nowhere/v1'), 404, /"kind":"Status"/, replies(404));
  });

  const healthy = await fetch(`http://${web}/-/healthy`);
  t.equal(healthy.status, 200);
  t.equal(await daemon.stop(), 0, 'it ran until it was stopped');
});

const PAYLOAD = Buffer.from('not a message, but whole');

/** A snappy block of one literal whose header claims another decoded length. */
function claiming(bytes: number): Uint8Array {
  const header = protobuf.Writer.create().uint32(bytes).finish();
  return Buffer.concat([header, Uint8Array.of((PAYLOAD.length - 1) << 2), PAYLOAD]);
}

async function post(url: string, body: Uint8Array, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const reply = await fetch(url, { method: 'POST', body: Buffer.from(body), headers });
  return { status: reply.status, body: await reply.text() };
}

/** The outcome of a call that should fail: its gRPC code and message. */
async function grpcAnswer(call: Promise<unknown>): Promise<Answer> {
  try {
    await call;
    return { status: status.OK, body: '' };
  } catch (error) {
    const { code, details } = error as { code: number; details: string };
    return { status: code, body: details };
  }
}

function exportMetrics({ listen }: Daemon, body: Uint8Array): Promise<Answer> {
  const client = new Client(listen.otlpGrpc, credentials.createInsecure());
  const path = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
  const same = (bytes: Buffer): Buffer => bytes;
  const call = new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, Buffer.from(body), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return grpcAnswer(call).finally(() => client.close());
}

/** The daemon made its certificate itself: there is nothing to check it against. */
function getStatus(address: string, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(`https://${address}${path}`, { rejectUnauthorized: false, agent: false }, (reply) => {
      let body = '';
      reply.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      reply.on('end', () => resolve({ status: reply.statusCode!, body }));
    });
    request.on('error', reject).end();
  });
}
