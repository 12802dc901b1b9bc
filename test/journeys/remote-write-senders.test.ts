/**
 * Senders of remote-write that people run: Debian's Prometheus as an agent (1.0), a newer Prometheus (2.0), vmagent, and
 * npm's prometheus-remote-write, each to the daemon through a real socket. The first three scrape an exporter whose values
 * follow from the number of the scrape, and what the daemon answers is compared with those.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pushMetrics } from 'prometheus-remote-write';
import { type Test, test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { findPeer, skipWithoutPeer } from '../support/peers.ts';
import { type Running, startProgram, temporaryFolder } from '../support/process.ts';
import { findProgram, skipWithout } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';
import { ownMetric } from './own-metrics.ts';
import { instantVector, rangeVector } from './query-client.ts';
import {
  COUNTER,
  COUNTER_HELP,
  counterAt,
  HISTOGRAM,
  histogramAt,
  NUMBER,
  type StubExporter,
  startStubExporter,
  traceAt,
} from './stub-exporter.ts';

const SCRAPES_MIN = 4;
const ARRIVAL_MS_MAX = 60_000;

type PushOptions = NonNullable<Parameters<typeof pushMetrics>[1]>;

interface World {
  readonly daemon: Daemon;
  readonly web: string;
  readonly exporter: StubExporter;
}

async function startWorld(t: Test): Promise<World> {
  const exporter = await startStubExporter();
  t.teardown(() => exporter.stop());
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  return { daemon, web: daemon.listen.web, exporter };
}

interface PrometheusOptions {
  /** Whether it speaks 2.0. */
  readonly is2: boolean;
  readonly flags: readonly string[];
}

/** A Prometheus that scrapes the exporter each second, native histograms and exemplars included. */
async function startAgent(
  t: Test,
  path: string,
  { web, exporter }: World,
  options: PrometheusOptions,
): Promise<Running> {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const configFile = join(folder.path, 'agent.yml');
  const remoteWrite = {
    url: `http://${web}/api/v1/write`,
    send_exemplars: true,
    send_native_histograms: true,
    queue_config: { batch_send_deadline: '300ms', max_shards: 1 },
    metadata_config: { send: true, send_interval: '1s' },
    ...(options.is2 && { protobuf_message: 'io.prometheus.write.v2.Request' }),
  };
  // JSON is YAML.
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [{ job_name: 'stub', static_configs: [{ targets: [exporter.address] }] }],
    remote_write: [remoteWrite],
  };
  await writeFile(configFile, JSON.stringify(config));
  const agent = await startProgram(path, [
    ...options.flags,
    `--config.file=${configFile}`,
    `--storage.${options.is2 ? 'tsdb' : 'agent'}.path=${join(folder.path, 'data')}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  t.teardown(() => agent.stop());
  return agent;
}

/** Times and numbers of the scrapes that have arrived, in order of time. */
async function scrapesOf(t: Test, web: string, sender: Running): Promise<readonly (readonly [number, number])[]> {
  try {
    return await waitFor(
      async () => {
        const [series] = await rangeVector(web, `${NUMBER}{job="stub"}[5m]`);
        return series !== undefined && series.points.length >= SCRAPES_MIN && series.points;
      },
      { timeoutMs: ARRIVAL_MS_MAX, what: `${SCRAPES_MIN} scrapes to arrive` },
    );
  } catch (error) {
    t.comment(sender.output());
    throw error;
  }
}

async function counters(t: Test, web: string, scrapes: readonly (readonly [number, number])[]): Promise<void> {
  for (const [timeMs, number] of scrapes) {
    const found = await instantVector(web, COUNTER, timeMs);
    t.strictSame(
      found.map(({ value }) => value),
      [counterAt(number)],
      `counter of scrape ${number}`,
    );
  }
}

/** `data` of a reply of the query API. */
async function data<T>(web: string, path: string): Promise<T> {
  const reply = await fetch(`http://${web}/api/v1/${path}`);
  const body = (await reply.json()) as { data: T };
  if (!reply.ok) throw new Error(`cannot ask ${path}: got ${reply.status} ${JSON.stringify(body)}`);
  return body.data;
}

interface HistogramReply {
  readonly result: readonly {
    readonly histogram: readonly [number, { count: string; sum: string; buckets: unknown[] }];
  }[];
}

async function histograms(t: Test, web: string, scrapes: readonly (readonly [number, number])[]): Promise<void> {
  for (const [timeMs, number] of scrapes) {
    const { count, sum, zero, buckets } = histogramAt(number);
    const { result } = await data<HistogramReply>(web, `query?query=${HISTOGRAM}&time=${timeMs / 1000}`);
    t.strictSame(
      result[0]?.histogram[1],
      {
        count: `${count}`,
        sum: `${sum}`,
        buckets: [
          [3, '-0.001', '0.001', `${zero}`],
          [0, '0.5', '1', `${buckets[0]}`],
          [0, '1', '2', `${buckets[1]}`],
          [0, '4', '8', `${buckets[2]}`],
        ],
      },
      `histogram of scrape ${number}`,
    );
  }
}

interface ExemplarReply {
  readonly seriesLabels: Readonly<Record<string, string>>;
  readonly exemplars: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: string }[];
}

async function exemplars(t: Test, web: string): Promise<void> {
  const found = await waitFor(
    async () => {
      const replies = await data<readonly ExemplarReply[]>(web, `query_exemplars?query=rate(${COUNTER}[1m])`);
      return (replies[0]?.exemplars.length ?? 0) >= 2 && replies;
    },
    { timeoutMs: ARRIVAL_MS_MAX, what: 'exemplars' },
  );
  t.equal(found.length, 1);
  t.match(found[0]!.seriesLabels, { __name__: COUNTER, job: 'stub' });
  for (const { labels, value } of found[0]!.exemplars) t.strictSame(labels, { trace_id: traceAt(Number(value)) });
}

async function metadata(t: Test, web: string): Promise<void> {
  const known = await waitFor(
    async () => {
      const all = await data<Readonly<Record<string, unknown>>>(web, 'metadata');
      return COUNTER in all && HISTOGRAM in all && all;
    },
    { timeoutMs: ARRIVAL_MS_MAX, what: 'metadata' },
  );
  t.strictSame(known[COUNTER], [{ type: 'counter', help: COUNTER_HELP, unit: '' }]);
  t.match(known[HISTOGRAM], [{ type: 'histogram', help: 'A native histogram.' }]);
}

/** Nothing of what the sender sent may have been refused. */
async function nothingRefused(t: Test, web: string): Promise<void> {
  for (const outcome of ['partial', 'bad_body', 'internal']) {
    t.equal(await ownMetric(web, 'tidegauge_ingest_requests_total', { protocol: 'remote_write', outcome }), 0, outcome);
  }
}

async function exporterStops(t: Test, { web, exporter }: World): Promise<void> {
  await exporter.stop();
  await waitFor(async () => (await instantVector(web, `{__name__=~"${COUNTER}|${HISTOGRAM}"}`)).length === 0, {
    timeoutMs: ARRIVAL_MS_MAX,
    what: 'the stale markers',
  });
  t.pass('the series ended with stale markers');
}

const AGENTS = [
  {
    name: "Debian's Prometheus as an agent, remote-write 1.0",
    skip: skipWithout('prometheus'),
    find: () => findProgram('prometheus'),
    is2: false,
    flags: ['--enable-feature=agent,native-histograms,exemplar-storage'],
  },
  {
    // The agent of 3.5 sends no metadata by 2.0; the server does.
    name: 'Prometheus 3, remote-write 2.0',
    skip: skipWithoutPeer('prometheus', 'prometheus'),
    find: () => findPeer('prometheus', 'prometheus'),
    is2: true,
    flags: ['--enable-feature=native-histograms,exemplar-storage,metadata-wal-records'],
  },
] as const;

for (const { name, skip, find, is2, flags } of AGENTS) {
  test(name, { skip }, async (t) => {
    const world = await startWorld(t);
    const agent = await startAgent(t, find()!, world, { is2, flags });
    const scrapes = await scrapesOf(t, world.web, agent);
    t.ok(world.exporter.protobufScrapes() > 0, 'it scrapes native histograms');
    await counters(t, world.web, scrapes);
    await histograms(t, world.web, scrapes);
    await exemplars(t, world.web);
    await metadata(t, world.web);
    await exporterStops(t, world);
    await nothingRefused(t, world.web);
    t.notMatch(agent.output(), /level=(?:error|ERROR)|non-recoverable|Failed to send/i);
  });
}

test('vmagent', { skip: skipWithoutPeer('victoria-metrics', 'vmagent') }, async (t) => {
  const world = await startWorld(t);
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const configFile = join(folder.path, 'scrape.yml');
  await writeFile(
    configFile,
    JSON.stringify({
      global: { scrape_interval: '1s', scrape_timeout: '1s' },
      scrape_configs: [{ job_name: 'stub', static_configs: [{ targets: [world.exporter.address] }] }],
    }),
  );
  const agent = await startProgram(findPeer('victoria-metrics', 'vmagent')!, [
    `-promscrape.config=${configFile}`,
    `-remoteWrite.url=http://${world.web}/api/v1/write`,
    `-remoteWrite.tmpDataPath=${join(folder.path, 'queue')}`,
    '-remoteWrite.flushInterval=300ms',
    '-httpListenAddr=127.0.0.1:0',
  ]);
  t.teardown(() => agent.stop());
  const scrapes = await scrapesOf(t, world.web, agent);
  await counters(t, world.web, scrapes);
  await world.exporter.stop();
  await waitFor(async () => (await instantVector(world.web, COUNTER)).length === 0, {
    timeoutMs: ARRIVAL_MS_MAX,
    what: 'the stale markers',
  });
  await nothingRefused(t, world.web);
});

test('what docs/ingest.md tells Prometheus brings its samples here', {
  skip: skipWithoutPeer('prometheus', 'prometheus'),
}, async (t) => {
  const page = await readFile(new URL('../../docs/ingest.md', import.meta.url), 'utf8');
  const texts = [...page.matchAll(/```yaml\n(remote_write:[\s\S]*?)```|`(remote_write: \[.*?\])`/g)];
  t.equal(texts.length, 2);
  for (const [, block, line] of texts) {
    const world = await startWorld(t);
    const folder = await temporaryFolder();
    t.teardown(() => folder.remove());
    const scrapes = [
      { job_name: 'stub', scrape_interval: '1s', static_configs: [{ targets: [world.exporter.address] }] },
    ];
    const text = (block ?? line)!.replace(/http:\/\/[^/]+\//, `http://${world.web}/`);
    const file = join(folder.path, 'prometheus.yml');
    await writeFile(file, `${text}\nscrape_configs: ${JSON.stringify(scrapes)}\n`);
    const sender = await startProgram(findPeer('prometheus', 'prometheus')!, [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(folder.path, 'data')}`,
      '--web.listen-address=127.0.0.1:0',
    ]);
    t.teardown(() => sender.stop());
    await counters(t, world.web, await scrapesOf(t, world.web, sender));
    await nothingRefused(t, world.web);
  }
});

test('prometheus-remote-write of npm, without the headers of the protocol', async (t) => {
  const { web } = await startWorld(t);
  const url = `http://${web}/api/v1/write`;
  const result = await pushMetrics(
    { queue_depth: 12.5, queue_done_total: 3 },
    { url, fetch: fetch as NonNullable<PushOptions['fetch']>, labels: { service: 'shop' } },
  );
  t.equal(result.status, 204, result.errorMessage ?? '');
  const found = await instantVector(web, '{service="shop"}');
  t.strictSame(found.map(({ labels, value }) => [labels.__name__, value]).sort(), [
    ['queue_depth', 12.5],
    ['queue_done_total', 3],
  ]);
});
