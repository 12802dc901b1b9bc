/**
 * Senders that send again what they may, as real ones do, through restarts, outages and overload: nothing is lost that they can
 * resend. SIGTERM under load; a Prometheus agent and the OpenTelemetry SDK through an outage and through a daemon that has
 * three times as much as it takes. TIDEGAUGE_LONG=1 restarts far more often, and stays away for four minutes.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { type Test, test } from 'tap';
import { LIMITS } from '../../src/model/limits.ts';
import { NUMBER, startStubExporter } from '../journeys/stub-exporter.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/process.ts';
import { skipWithout, startPrometheusAgent } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';
import { isLong, push, queryValue } from './process.ts';

const RESTARTS = isLong ? 30 : 3;
const OUTAGE_MS = isLong ? 240_000 : 4000;
const OVERLOAD_MS = isLong ? 60_000 : 5000;
const EXIT_MS_MAX = 25_000;
const SENDERS = 4;

async function storeFlags(t: Test): Promise<string[]> {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  return [`--storage.path=${folder.path}/store`, '--storage.memory-limit=512MiB', '--scaling.warm-up=false'];
}

/** The flags to come back under the same addresses. */
const sameAddresses = ({ listen }: Daemon): string[] => [
  `--web.listen-address=${listen.web}`,
  `--otlp.http.listen-address=${listen.otlpHttp}`,
];

/** SIGTERM; how long it took to end. */
async function terminate(daemon: Daemon): Promise<number> {
  const beganMs = performance.now();
  process.kill(daemon.pid, 'SIGTERM');
  await waitFor(() => daemon.ended(), { timeoutMs: EXIT_MS_MAX, what: 'the daemon to end' });
  return performance.now() - beganMs;
}

test('SIGTERM under load: nothing acknowledged is lost, and senders are refused for now at most', async (t) => {
  const flags = await storeFlags(t);
  let daemon = await startDaemon(flags);
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  const startMs = Date.now() - 100_000;
  const acknowledged = Array.from({ length: SENDERS }, () => 0);
  const final = new Set<number>();
  let isOver = false;
  const send = async (sender: number): Promise<void> => {
    while (!isOver) {
      const value = acknowledged[sender]! + 1;
      const labels = { __name__: 'rolled_total', sender: `${sender}` };
      const status = await push(web, [{ labels, value }], startMs + value);
      if (status === 204) acknowledged[sender] = value;
      else if (status === 0 || status >= 500) await pause(20);
      else final.add(status);
    }
  };
  const senders = Array.from({ length: SENDERS }, (_, i) => send(i));
  let slowestMs = 0;
  for (let restart = 0; restart < RESTARTS; restart++) {
    const before = acknowledged.reduce((a, b) => a + b, 0);
    await waitFor(() => acknowledged.reduce((a, b) => a + b, 0) > before + 40, { timeoutMs: 30_000, what: 'load' });
    slowestMs = Math.max(slowestMs, await terminate(daemon));
    daemon = await startDaemon([...flags, ...sameAddresses(daemon)]);
  }
  isOver = true;
  await Promise.all(senders);
  t.strictSame([...final], [], 'no answer on which a sender would drop what it has');
  for (const [sender, count] of acknowledged.entries()) {
    const query = (what: string) => queryValue(web, `${what}(rolled_total{sender="${sender}"}[1h])`);
    t.equal(await query('count_over_time'), count, `sender ${sender}: each of ${count}`);
    t.equal(await query('sum_over_time'), (count * (count + 1)) / 2, 'with its value');
  }
  t.ok(slowestMs <= EXIT_MS_MAX);
  t.comment(
    `${RESTARTS} restarts, ${acknowledged.join('+')} samples, the slowest exit took ${Math.round(slowestMs)} ms`,
  );
});

/** As many bodies under way as there is room for: what comes beside them is told 503 by the daemon itself. */
function fillUp(web: string): Socket[] {
  const each = 30 * 2 ** 20;
  const [host, port] = web.split(':');
  return Array.from({ length: Math.floor(LIMITS.ingestBytesInFlightMax / each) + 1 }, () => {
    const socket = connect({ host: host!, port: Number(port) });
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    socket.write(`POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: ${each}\r\n\r\n`);
    // Fast enough to be waited for.
    const timer = setInterval(() => socket.writable && socket.write(Buffer.alloc(4096)), 1000);
    socket.once('close', () => clearInterval(timer));
    return socket;
  });
}

/** Full for two thirds of the time. */
async function overload(daemon: Daemon): Promise<void> {
  const endMs = performance.now() + OVERLOAD_MS;
  while (performance.now() < endMs) {
    const held = fillUp(daemon.listen.web);
    await pause(2000);
    for (const socket of held) socket.destroy();
    await pause(1000);
  }
}

const refusedByDaemon = async ({ listen }: Daemon): Promise<number> => {
  const text = await (await fetch(`http://${listen.web}/metrics`)).text();
  return [...text.matchAll(/^tidegauge_ingest_requests_total\{.*outcome="overloaded"\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
};

async function agent(t: Test): Promise<void> {
  const flags = await storeFlags(t);
  let daemon = await startDaemon(flags);
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  const exporter = await startStubExporter();
  t.teardown(() => exporter.stop());
  const remoteWriteUrl = `http://${web}/api/v1/write`;
  const program = await startPrometheusAgent({ target: exporter.address, labels: {}, remoteWriteUrl });
  t.teardown(() => program.stop());
  const newest = (): Promise<number | null> => queryValue(web, `max_over_time(${NUMBER}[1h])`).catch(() => null);
  await waitFor(async () => ((await newest()) ?? 0) >= 3, { timeoutMs: 60_000, what: 'the first scrapes' });
  const before = (await newest())!;
  await terminate(daemon);
  await pause(OUTAGE_MS);
  daemon = await startDaemon([...flags, ...sameAddresses(daemon)]);
  const missed = Math.floor(OUTAGE_MS / 1000) - 1;
  await waitFor(async () => ((await newest()) ?? 0) > before + missed, { timeoutMs: 90_000, what: 'what was missed' });
  await overload(daemon);
  const refused = await refusedByDaemon(daemon);
  const after = (await newest())!;
  await waitFor(async () => ((await newest()) ?? 0) > after + 3, { timeoutMs: 90_000, what: 'it to go on' });
  const last = (await newest())!;
  t.equal(await queryValue(web, `count_over_time(${NUMBER}[1h] @ ${Date.now() / 1000})`), last, 'each scrape is there');
  t.ok(refused > 0, `${refused} bodies were refused for now`);
  t.comment(`${last} scrapes, ${OUTAGE_MS / 1000} s away, ${OVERLOAD_MS / 1000} s of overload`);
}

async function sdk(t: Test): Promise<void> {
  const flags = await storeFlags(t);
  let daemon = await startDaemon(flags);
  t.teardown(() => daemon.stop());
  const { web, otlpHttp } = daemon.listen;
  const exporter = new OTLPMetricExporter({ url: `http://${otlpHttp}/v1/metrics`, timeoutMillis: 5000 });
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1000, exportTimeoutMillis: 900 });
  const provider = new MeterProvider({ readers: [reader] });
  t.teardown(() => provider.shutdown().catch(() => undefined));
  const counter = provider.getMeter('faults').createCounter('survived');
  let counted = 0;
  const counting = setInterval(() => {
    counter.add(1);
    counted++;
  }, 50);
  t.teardown(() => clearInterval(counting));
  const arrived = (): Promise<number> =>
    queryValue(web, 'survived_total').then(
      (value) => value ?? 0,
      () => 0,
    );
  await waitFor(async () => (await arrived()) > 10, { timeoutMs: 30_000, what: 'the first exports' });
  await terminate(daemon);
  await pause(OUTAGE_MS);
  daemon = await startDaemon([...flags, ...sameAddresses(daemon)]);
  await overload(daemon);
  clearInterval(counting);
  await waitFor(async () => (await arrived()) === counted, { timeoutMs: 60_000, what: `all of ${counted}` });
  t.equal(await queryValue(web, 'resets(survived_total[1h])'), 0);
  t.comment(`${counted} counted, ${OUTAGE_MS / 1000} s away, ${OVERLOAD_MS / 1000} s of overload`);
}

// Most of it is waiting: both at the same time.
test('through an outage and an overload', { jobs: 2 }, async (t) => {
  const skip = skipWithout('prometheus');
  const both = [
    t.test('a Prometheus agent loses no scrape', { skip, buffered: true }, agent),
    t.test('all that the OpenTelemetry SDK counted arrives', { buffered: true }, sdk),
  ];
  await Promise.all(both);
});
