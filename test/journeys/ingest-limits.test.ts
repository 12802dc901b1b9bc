/**
 * Each limit on what is taken in, by itself, through real sockets: just within it the daemon takes a body, just beyond it the
 * sender is told which limit that was, and what was right beside it is kept.
 */
import { connect } from 'node:net';
import snappy from 'snappyjs';
import { type Test, test } from 'tap';
import { LIMITS } from '../../src/model/limits.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { waitFor } from '../support/wait.ts';
import { ownMetric } from './own-metrics.ts';
import { oneValue } from './query-client.ts';

const PROTOBUF = 'application/x-protobuf';
const JSON_TYPE = 'application/json';
const MEBIBYTE = 2 ** 20;
const SERIES_LIMIT = 40;

interface Case {
  readonly what: string;
  readonly within: Readonly<Record<string, string>>;
  readonly beyond: Readonly<Record<string, string>>;
  readonly reason: RegExp;
}

const labels = (count: number): Readonly<Record<string, string>> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`l${i + 10}`, 'v']));

/** Beside them there is the name of the metric, and for OTLP what is said of the resource, which here is nothing. */
const LABELS: readonly Case[] = [
  {
    what: 'labels',
    within: labels(LIMITS.labelsPerSeriesMax - 1),
    beyond: labels(LIMITS.labelsPerSeriesMax),
    reason: /^too many labels: 1 refused/,
  },
  {
    what: 'bytes of a name',
    within: { ['n'.repeat(LIMITS.labelNameBytesMax)]: 'v' },
    beyond: { ['n'.repeat(LIMITS.labelNameBytesMax + 1)]: 'v' },
    reason: /^label name that is too long: 1 refused/,
  },
  {
    what: 'bytes of a value',
    within: { a: 'ä'.repeat(LIMITS.labelValueBytesMax / 2) },
    beyond: { a: `${'ä'.repeat(LIMITS.labelValueBytesMax / 2)}b` },
    reason: /^label value that is too long: 1 refused/,
  },
];

const post = (url: string, body: Uint8Array | string, type = PROTOBUF) =>
  fetch(url, { method: 'POST', headers: { 'content-type': type }, body: Buffer.from(body) });

/** A gauge a point, in OTLP's JSON. */
function jsonOf(points: Readonly<Record<string, Readonly<Record<string, string>>>>): string {
  const metrics = Object.entries(points).map(([name, attributes]) => ({
    name,
    gauge: {
      dataPoints: [
        {
          timeUnixNano: `${Date.now()}000000`,
          asDouble: 1,
          attributes: Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } })),
        },
      ],
    },
  }));
  return JSON.stringify({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] });
}

function writeOf(series: Readonly<Record<string, Readonly<Record<string, string>>>>): Uint8Array {
  const samples = [{ timestampMs: Date.now(), value: 1 }];
  return encodeWriteRequest(
    Object.entries(series).map(([name, more]) => ({
      labels: Object.entries({ __name__: name, ...more }).sort(([a], [b]) => (a < b ? -1 : 1)),
      samples,
    })),
  );
}

test('labels, their names and values, and series: what is beyond a limit is refused by its reason, the rest is kept', async (t) => {
  const daemon = await startDaemon([`--storage.series-limit=${SERIES_LIMIT}`]);
  t.teardown(() => daemon.stop());
  const { web, otlpHttp } = daemon.listen;
  const write = `http://${web}/api/v1/write`;
  const otlp = `http://${otlpHttp}/v1/metrics`;
  for (const [i, { what, within, beyond, reason }] of LABELS.entries()) {
    const good = await post(write, writeOf({ [`w${i}`]: within }));
    t.equal(good.status, 204, `remote-write, ${what}: the most is taken`);
    const bad = await post(write, writeOf({ [`w${i}_beyond`]: beyond, [`w${i}_beside`]: {} }));
    t.equal(bad.status, 400, `remote-write, ${what}`);
    t.match(await bad.text(), reason);
    t.equal(await oneValue(web, `w${i}_beside`), 1);
    t.strictSame(await (await post(otlp, jsonOf({ [`o${i}`]: within }), JSON_TYPE)).json(), {}, `OTLP, ${what}`);
    const partly = await post(otlp, jsonOf({ [`o${i}_beyond`]: beyond, [`o${i}_beside`]: {} }), JSON_TYPE);
    t.equal(partly.status, 200);
    t.match(await partly.json(), { partialSuccess: { rejectedDataPoints: '1', errorMessage: reason } });
    t.equal(await oneValue(web, `o${i}_beside`), 1);
  }
  await seriesAreLimited(t, daemon);
});

async function seriesAreLimited(t: Test, { listen: { web, otlpHttp } }: Daemon): Promise<void> {
  const many = Object.fromEntries(Array.from({ length: SERIES_LIMIT }, (_, i) => [`more_${i}`, {}]));
  // There is room for all but as many as there are.
  const refused = await ownMetric(web, 'tidegauge_head_series', {});
  const partly = await post(`http://${otlpHttp}/v1/metrics`, jsonOf(many), JSON_TYPE);
  t.equal(partly.status, 200);
  t.match(await partly.json(), {
    partialSuccess: {
      rejectedDataPoints: String(refused),
      errorMessage: new RegExp(
        `^new series above the limit of series or memory: ${refused} refused, the first for more_`,
      ),
    },
  });
  const bad = await post(`http://${web}/api/v1/write`, writeOf({ w0_beside: {}, another: {} }));
  t.equal(bad.status, 400, 'never 503: a sender would repeat it for ever');
  t.match(await bad.text(), /^new series above the limit of series or memory: 1 refused/);
  t.equal((await post(`http://${web}/api/v1/write`, writeOf({ w0_beside: {} }))).status, 204, 'known series go on');
}

test('sizes, nesting and bytes in flight are looked at before anything is read', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web, otlpHttp } = daemon.listen;
  for (const [what, address, path, type, most] of [
    ['remote-write', web, '/api/v1/write', PROTOBUF, LIMITS.remoteWriteBodyBytesMax],
    ['OTLP', otlpHttp, '/v1/metrics', PROTOBUF, LIMITS.otlpBodyBytesMax],
    ['OTLP on the web port', web, '/api/v1/otlp/v1/metrics', PROTOBUF, LIMITS.otlpBodyBytesMax],
  ] as const) {
    const announced = announce(address, path, type, most + 1);
    // Not one byte of the body is sent.
    await waitFor(() => announced.text() !== '', { timeoutMs: 20_000, what: `a reply to ${what}` });
    t.match(announced.text(), /^HTTP\/1\.1 413 /, what);
    announced.socket.destroy();
  }
  // What snappy says of itself is believed before there is room for it.
  const claims = (bytes: number): Buffer => {
    const body = Buffer.from(snappy.compress(Buffer.from(writeOf({ m: {} }))));
    const header: number[] = [];
    for (let n = bytes; ; n = Math.floor(n / 128)) {
      header.push(n < 128 ? n : (n % 128) | 128);
      if (n < 128) break;
    }
    return Buffer.concat([Buffer.from(header), body.subarray(1)]);
  };
  const f = async (bytes: number, status: number, message: RegExp) => {
    const reply = await post(`http://${web}/api/v1/write`, claims(bytes));
    t.equal(reply.status, status, `${bytes} bytes`);
    t.match(await reply.text(), message);
  };
  await f(LIMITS.remoteWriteBodyBytesMax, 400, /^cannot decode snappy block/);
  await f(LIMITS.remoteWriteBodyBytesMax + 1, 413, /33554433/);
  await nestingIsLimited(t, daemon);
  await inFlightIsLimited(t, daemon);
});

/** Values within values: an attribute of so many lists, one in the other. */
async function nestingIsLimited(t: Test, { listen: { otlpHttp } }: Daemon): Promise<void> {
  const nested = (depth: number): string => {
    const value = `${'{"arrayValue":{"values":['.repeat(depth)}{"stringValue":"x"}${']}}'.repeat(depth)}`;
    const point = `{"timeUnixNano":"${Date.now()}000000","asInt":"1","attributes":[{"key":"deep","value":${value}}]}`;
    return `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"deep","gauge":{"dataPoints":[${point}]}}]}]}]}`;
  };
  const url = `http://${otlpHttp}/v1/metrics`;
  t.strictSame(await (await post(url, nested(4), JSON_TYPE)).json(), {});
  for (const depth of [LIMITS.bodyDepthMax, 100_000]) {
    const reply = await post(url, nested(depth), JSON_TYPE);
    t.equal(reply.status, 400, `${depth} lists`);
    t.match(await reply.json(), { code: 3, message: /nested deeper than/ });
  }
}

/** As many announced bodies as there may be, then one more. */
async function inFlightIsLimited(t: Test, { listen: { web } }: Daemon): Promise<void> {
  const each = 30 * MEBIBYTE;
  const held = Array.from({ length: Math.floor(LIMITS.ingestBytesInFlightMax / each) + 1 }, () =>
    announce(web, '/api/v1/write', PROTOBUF, each),
  );
  const replies = () => held.map(({ text }) => text()).filter((text) => text !== '');
  await waitFor(() => replies().length > 0, { timeoutMs: 20_000, what: 'one body to be refused' });
  t.equal(replies().length, 1);
  t.match(replies()[0], /^HTTP\/1\.1 503 [\s\S]*retry-after: [1-5]\r\n/i);
  for (const { socket } of held) socket.destroy();
  await waitFor(async () => (await post(`http://${web}/api/v1/write`, writeOf({ after: {} }))).status === 204, {
    timeoutMs: 20_000,
    what: 'bodies to be taken again',
  });
  t.equal(await oneValue(web, 'after'), 1);
}

/** Says how long a body will be, and sends none of it. */
function announce(address: string, path: string, type: string, bytes: number) {
  const [host, port] = address.split(':');
  const socket = connect({ host: host!, port: Number(port) });
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\nContent-Length: ${bytes}\r\n\r\n`);
  return { socket, text: () => text };
}
