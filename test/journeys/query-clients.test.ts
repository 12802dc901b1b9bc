/**
 * Clients that read: Grafana's requests as it sends them, promtool, npm's prometheus-query, the editor's own client, and
 * Debian's Prometheus, which reads the daemon's samples by remote-read and scrapes them from /federate.
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { runProgram, startProgram, temporaryFolder, waitForOutput } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { waitFor } from '../support/wait.ts';
import { instantVector, rangeVector } from './query-client.ts';

const require = createRequire(import.meta.url);
const STEP_MS = 15_000;
const POINTS = 40;

/** A reply whose shape the assertions check. */
type Json = { readonly data: ReturnType<typeof JSON.parse>; readonly error?: string };

interface World {
  readonly web: string;
  readonly daemon: Daemon;
  /** Time of the newest sample. */
  readonly endMs: number;
}

async function send(web: string, body: Uint8Array): Promise<void> {
  const reply = await fetch(`http://${web}/api/v1/write`, {
    method: 'POST',
    body,
    headers: { 'content-encoding': 'snappy', 'content-type': 'application/x-protobuf' },
  });
  if (reply.status !== 204 && reply.status !== 200)
    throw new Error(`cannot feed: ${reply.status} ${await reply.text()}`);
}

async function openWorld(t: Test): Promise<World> {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const endMs = Math.floor(Date.now() / 1000) * 1000;
  const series = ['a', 'b'].map((instance, i) => ({
    labels: { __name__: 'http_requests_total', instance, job: 'api', namespace: 'shop' },
    samples: Array.from({ length: POINTS }, (_, k) => ({
      timestampMs: endMs - (POINTS - 1 - k) * STEP_MS,
      value: k * 30 * (i + 1),
    })),
  }));
  await send(daemon.listen.web, encodeWriteRequest(series));
  return { web: daemon.listen.web, daemon, endMs };
}

test('Grafana: the requests of its data source, as they come', async (t) => {
  const { web, endMs } = await openWorld(t);
  const post = async (path: string, body: string) => {
    const reply = await fetch(`http://${web}/api/v1/${path}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'accept-encoding': 'gzip' },
    });
    return { status: reply.status, type: reply.headers.get('content-type'), json: (await reply.json()) as Json };
  };
  const get = async (path: string) => (await fetch(`http://${web}/api/v1/${path}`)).json();
  const end = endMs / 1000;
  // Save & test.
  t.match(await post('query', 'query=1%2B1&time=4'), {
    status: 200,
    type: 'application/json',
    json: { status: 'success', data: { resultType: 'scalar', result: [4, '2'] } },
  });
  const { data: build } = (await get('status/buildinfo')) as { data: Record<string, string> };
  t.match(build.version, /^\d+\.\d+\.\d+$/);
  t.notOk('features' in build, 'Mimir is not what this is');
  const probe = `end=${endMs}&query=test&start=${endMs - 300_000}`;
  t.match(await post('query_exemplars', probe), { status: 200, json: { status: 'success' } });
  // The query editor.
  const bounds = `end=${end}&start=${end - 600}`;
  t.strictSame((await post('labels', `limit=40000&${bounds}`)).json.data, ['__name__', 'instance', 'job', 'namespace']);
  t.strictSame(await get(`label/__name__/values?limit=40000&${bounds}`), {
    status: 'success',
    data: ['http_requests_total'],
  });
  const all = encodeURIComponent('{__name__!=""}');
  t.equal((await post('series', `limit=40000&match%5B%5D=${all}&${bounds}`)).json.data.length, 2);
  t.match(await get(`label/instance/values?match%5B%5D=http_requests_total&${bounds}`), { data: ['a', 'b'] });
  t.match(await get('metadata'), { status: 'success' });
  t.match(await get('rules'), { data: { groups: [] } });
  // A panel.
  const query = encodeURIComponent('sum by (instance) (rate(http_requests_total{namespace="shop"}[1m]))');
  const panel = await post('query_range', `end=${end}&query=${query}&start=${end - 300}&step=15`);
  t.equal(panel.json.data.resultType, 'matrix');
  const [time, value] = panel.json.data.result[0].values.at(-1);
  t.strictSame([time, Number(value).toFixed(9)], [end, '2.000000000']);
  t.strictSame(panel.json.data.result[1].values.length, 21);
  const bad = await post('query', 'query=sum%28&time=4');
  t.match(bad, { status: 400, json: { errorType: 'bad_data', error: /parse error/ } });
  t.match(await post('format_query', 'query=sum%28up%29by%28a%29'), { json: { data: 'sum by (a) (up)' } });
});

test('promtool', { skip: skipWithout('promtool') }, async (t) => {
  const { web, endMs } = await openWorld(t);
  const url = `http://${web}`;
  const end = new Date(endMs).toISOString();
  const start = new Date(endMs - 60_000).toISOString();
  const run = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await runProgram('promtool', ['query', ...args]);
    t.equal(code, 0, `${args[0]}: ${stderr}`);
    return stdout;
  };
  t.equal(await run('instant', '--time', end, url, 'sum(http_requests_total)'), `{} => 3510 @[${endMs / 1000}]\n`);
  const range = await run('range', '--start', start, '--end', end, '--step', '15s', url, 'http_requests_total');
  t.equal([...range.matchAll(/@\[/g)].length, 10);
  const series = await run('series', '--match=http_requests_total', url);
  t.equal(series.trim().split('\n').length, 2);
  t.equal(await run('labels', url, 'instance'), 'a\nb\n');
  const failed = await runProgram('promtool', ['query', 'instant', url, 'sum(']);
  t.match(`${failed.stderr}${failed.stdout}`, /parse error/);
});

test('prometheus-query and the client of the editor', async (t) => {
  const { web, endMs } = await openWorld(t);
  const { PrometheusDriver } = require('prometheus-query');
  const driver = new PrometheusDriver({ endpoint: `http://${web}`, baseURL: '/api/v1' });
  const instant = await driver.instantQuery('sum(http_requests_total)', endMs);
  t.strictSame([instant.resultType, instant.result[0].value.value], ['vector', 39 * 90]);
  const range = await driver.rangeQuery('http_requests_total', endMs - 60_000, endMs, 15);
  t.equal(range.result[1].values.length, 5);
  const found = await driver.series(['http_requests_total'], endMs - 60_000, endMs);
  t.equal(found.length, 2);
  t.match(await driver.labelNames(), ['__name__', 'instance', 'job', 'namespace']);
  t.match(await driver.labelValues('job'), ['api']);
  t.match(await driver.metadata(), {});
  t.match(await driver.targets(), { activeTargets: [] });
  t.match(await driver.targetsMetadata(), []);
  t.match(await driver.rules(), []);
  t.match(await driver.alerts(), []);
  t.match(await driver.alertmanagers(), {});
  t.match(await driver.statusBuildinfo(), { version: String });
  t.match(await driver.statusRuntimeInfo(), { storageRetention: '2h' });
  t.match(await driver.statusFlags(), { 'log.format': 'json' });
  t.match(await driver.status(), { yaml: /retention: 2h/ });
  const failed = await driver.instantQuery('sum(').catch((error: unknown) => error);
  t.match(failed, { error: /parse error/, prometheus: { errorType: 'bad_data' } });

  const { HTTPPrometheusClient } = require('@prometheus-io/codemirror-promql/dist/cjs/client/prometheus.js');
  const errors: unknown[] = [];
  const client = new HTTPPrometheusClient({
    url: `http://${web}`,
    lookbackInterval: 600_000,
    httpErrorHandler: (error: unknown) => errors.push(error),
  });
  t.strictSame(await client.metricNames(), ['http_requests_total']);
  t.strictSame(await client.labelNames('http_requests_total'), ['__name__', 'instance', 'job', 'namespace']);
  t.strictSame(await client.labelValues('instance', 'http_requests_total'), ['a', 'b']);
  t.equal((await client.series('http_requests_total')).length, 2);
  t.type(await client.metricMetadata(), 'object');
  t.match(await client.flags(), { 'log.format': 'json' });
  t.strictSame(errors, []);
});

test('Prometheus reads by remote-read and scrapes /federate', { skip: skipWithout('prometheus') }, async (t) => {
  const { web, endMs } = await openWorld(t);
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const federate = {
    job_name: 'federate',
    honor_labels: true,
    metrics_path: '/federate',
    params: { 'match[]': ['{job="api"}'] },
    static_configs: [{ targets: [web] }],
  };
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [federate],
    remote_read: [{ url: `http://${web}/api/v1/read`, read_recent: true }],
  };
  await writeFile(join(folder.path, 'prometheus.yml'), JSON.stringify(config));
  const program = await startProgram('prometheus', [
    `--config.file=${join(folder.path, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder.path, 'data')}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  t.teardown(() => program.stop());
  const [, address] = await waitForOutput(program, /msg="Listening on" address=(\S+)/, 20_000);
  const query = 'http_requests_total{job="api"}[10m]';
  // Its own store has seen none of these points: they can only come from the daemon.
  const theirs = await waitFor(
    async () => {
      const found = await rangeVector(address!, query, endMs);
      return found.length === 2 && found;
    },
    { timeoutMs: 20_000, what: 'samples by remote-read' },
  );
  t.strictSame(theirs, await rangeVector(web, query, endMs), 'the same samples, bit by bit');
  t.ok(theirs[0]!.points.length >= POINTS - 1);
  const scraped = await waitFor(
    async () => {
      const [up] = await instantVector(address!, 'up{job="federate"}');
      return up?.value === 1 && (await instantVector(address!, 'scrape_samples_scraped{job="federate"}'));
    },
    { timeoutMs: 20_000, what: 'a scrape of /federate' },
  );
  t.equal(scraped[0]!.value, 2);
});

test('a reply of 10 MB is streamed: resident memory stays within 32 MiB', async (t) => {
  const { web, daemon, endMs } = await openWorld(t);
  const samples = Array.from({ length: 400 }, (_, k) => ({
    timestampMs: endMs - (399 - k) * 1000,
    value: Math.sqrt(k),
  }));
  for (let at = 0; at < 1000; at += 250) {
    const series = Array.from({ length: 250 }, (_, i) => ({
      labels: { __name__: 'wide', i: String(at + i) },
      samples,
    }));
    await send(web, encodeWriteRequest(series));
  }
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))![1]) * 1024;
  const ask = async () => {
    const url = `http://${web}/api/v1/query?query=wide[10m]&time=${endMs / 1000}`;
    const reply = await fetch(url, { headers: { 'accept-encoding': 'identity' } });
    let bytes = 0;
    let peak = 0;
    for await (const chunk of reply.body!) {
      bytes += chunk.length;
      peak = Math.max(peak, rss());
    }
    return { bytes, peak };
  };
  // The first reply warms up the code and the heap.
  await ask();
  const before = rss();
  const { bytes, peak } = await ask();
  t.comment(`${bytes} bytes, ${Math.round((peak - before) / 2 ** 20)} MiB more`);
  t.ok(bytes > 10e6, `${bytes} bytes`);
  t.ok(peak - before < 32 * 2 ** 20, `${peak - before} bytes more`);
});
