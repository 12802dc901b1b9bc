/**
 * The Kubernetes surface over TLS, asked one request after the other: a metric that is one series, a metric that is the sum
 * of fifty, and discovery of as many metrics as there are series besides.
 */
import { request } from 'node:https';
import pino from 'pino';
import { openKubernetes } from '../src/api/kubernetes/server.ts';
import { parseAdapterFile } from '../src/config/adapter-file.ts';
import { labelsFromObject, METRIC_NAME } from '../src/model/labels.ts';
import type { Matcher } from '../src/model/matcher.ts';
import { float64High, float64Low } from '../src/model/sample.ts';
import { SCOPE_ALL } from '../src/model/scope.ts';
import { Readings } from '../src/scaling/reading.ts';
import { Recorder } from '../src/scaling/recorder.ts';
import { Registry } from '../src/telemetry/registry.ts';
import type { BenchOptions } from './main.ts';
import { expectEqual, type Row, row } from './support/measure.ts';
import { openStore, type Store } from './support/store.ts';

const START_MS = Date.UTC(2026, 0, 1);
const INTERVAL_MS = 15_000;
const SAMPLES = 21;
const SUMMED = 50;
const GROUP = '/apis/external.metrics.k8s.io/v1beta1';
const RULES = `
externalRules:
- seriesQuery: '{__name__=~"depth.*",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
`;

/** `series` counts the metrics. */
export async function kubernetes({ series, runs, rounds }: BenchOptions): Promise<Row[]> {
  const store = await openStore(series + SUMMED);
  for (let i = 0; i < series; i++) put(store, `depth_${i}`, 'web-0', 7);
  for (let pod = 0; pod < SUMMED; pod++) put(store, 'depth', `web-${pod}`, 3);
  store.clock.set(START_MS + (SAMPLES - 1) * INTERVAL_MS);
  const server = await openSurface(store);
  const ask = (path: string) => get(server.address, server.caPem!, path);
  const answerOf = async (name: string) => {
    const { items } = JSON.parse(await ask(`${GROUP}/namespaces/shop/${name}`)) as { items: { value: string }[] };
    return items.map(({ value }) => value).join();
  };
  const names = async () => (JSON.parse(await ask(GROUP)) as { resources: object[] }).resources.length;
  expectEqual('one series', await answerOf('depth_0'), '7');
  expectEqual('the sum', await answerOf('depth'), String(3 * SUMMED));
  expectEqual('metrics in discovery', await names(), series + 1);
  const path = `${GROUP}/namespaces/shop`;
  const rows = [
    row('reply, one series', 'ms', series, await millis(rounds * 100, () => ask(`${path}/depth_0`))),
    row(`reply, sum of ${SUMMED} series`, 'ms', series, await millis(rounds * 100, () => ask(`${path}/depth`))),
    row('discovery of every metric', 'ms', series, await millis(runs, () => ask(GROUP))),
  ];
  await server.close();
  return rows;
}

function put({ head, clock }: Store, name: string, pod: string, value: number): void {
  clock.set(START_MS + (SAMPLES - 1) * INTERVAL_MS);
  const ref = head.series(labelsFromObject({ __name__: name, namespace: 'shop', pod }));
  for (let i = 0; i < SAMPLES; i++) head.append(ref, START_MS + i * INTERVAL_MS, float64Low(value), float64High(value));
}

function openSurface({ head, engine, clock }: Store) {
  const registry = new Registry();
  const recorder = new Recorder();
  const within = (matchers: readonly Matcher[]) => ({ matchers, fromMs: 0, toMs: Infinity, scope: SCOPE_ALL });
  return openKubernetes({
    ...{ engine, clock, registry, logger: pino({ level: 'silent' }), isReady: () => true },
    listen: { host: '127.0.0.1', port: 0 },
    allowUnauthenticated: false,
    certificate: null,
    externalMetrics: [],
    adapter: { text: () => RULES, parse: parseAdapterFile },
    readings: new Readings({ head, engine, clock, registry, recorder, lookbackMs: 300_000, warmsUp: false }),
    index: {
      metricNames: (matchers) => head.labelValues(METRIC_NAME, within(matchers)),
      labelNames: (matchers) => head.labelNames(within(matchers)),
      version: () => head.stats().seriesCreated + head.stats().seriesRemoved,
    },
  });
}

/** Each on a connection of its own, as a proxy without keep-alive would: the handshake is part of what is waited for. */
function get(address: string, ca: string, path: string): Promise<string> {
  const { hostname, port } = new URL(`https://${address}`);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, ca, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(text)
          : reject(new Error(`wrong answer: got ${response.statusCode} ${text}`)),
      );
    });
    sent.on('error', reject).end();
  });
}

/** Wall milliseconds of each of so many, after one that is not counted. */
async function millis(count: number, work: () => Promise<unknown>): Promise<number[]> {
  await work();
  const all: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    await work();
    all.push(performance.now() - began);
  }
  return all;
}
