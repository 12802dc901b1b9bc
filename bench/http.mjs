/**
 * The whole daemon over HTTP: `dist/main.js` in a process of its own on a free port of the loopback interface, remote
 * write from a worker thread that encodes ahead of time. CPU and memory are the server process', as Linux counts them.
 *
 *     node bench/http.mjs '{"series":100000,"rounds":20,"runs":3,"variants":["base"]}'
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, WRITE_HEADERS } from './peers/lib/http.mjs';
import { Loader } from './peers/lib/loader.mjs';
import { cpuTotal, memory, settle } from './peers/lib/proc.mjs';
import { jobsOf, QUERIES, urlOf } from './peers/lib/queries.mjs';
import { quantile } from './peers/lib/stats.mjs';
import { probeBody } from './peers/lib/suites.mjs';
import { rowsOf } from './support/rows.mjs';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const INTERVAL_MS = 15_000;
const CONNECTIONS = 4;
/** Variants of the load, the peers' dataset's and this: as many senders, each with its own series in its own order. */
const MANY_SENDERS = 16;
const BACKFILL_ROUNDS = 240;
const PROBED_ROUNDS_MAX = 10;
const PROBE_MS = 10;
const VISIBILITY_TRIALS = 20;
const QUERY_RUNS_MAX = 100;
const QUERY_MS_MAX = 2000;

/** Where the jobs stand in the dataset whose sums are known: first series and number. */
const SUMS = new Map([
  ['sum, 1k series', [0, 1_000]],
  ['sum, 10k series', [1_000, 10_000]],
  ['sum, 100k series', [11_000, 100_000]],
]);

const { series, rounds, runs, variants } = JSON.parse(process.argv[2]);
const rows = [];
for (const variant of variants) rows.push(...(await measure(variant)));
process.stdout.write(`${JSON.stringify(rows)}\n`);
process.exit(0);

async function measure(variant) {
  const values = new Map();
  const suffix = variant === 'base' ? '' : `, ${variant}`;
  const record = (name, unit, value) => {
    const key = `${name}${suffix}`;
    if (!values.has(key)) values.set(key, { unit, numbers: [] });
    values.get(key).numbers.push(value);
  };
  for (let run = 1; run <= runs; run++) {
    console.error(`http: ${variant}, run ${run} of ${runs}`);
    await withDaemon(variant, record);
  }
  return rowsOf(values, series);
}

/** One run on a fresh daemon; stages in the order in which they build on each other. */
async function withDaemon(variant, record) {
  const concurrency = variant === 'senders' ? MANY_SENDERS : CONNECTIONS;
  // Before the loader, which is busy making its dataset for seconds.
  const daemon = await startDaemon();
  const loader = new Loader({ series, variant: variant === 'senders' ? 'base' : variant, lanes: concurrency });
  try {
    await sleep(2000);
    const run = { daemon, loader, record, concurrency, idle: memory(daemon.pid).rss, nextMs: firstRoundMs() };
    if (variant === 'base') {
      record('ready after start, empty', 'ms', daemon.readyMs);
      record('resident memory, empty', 'MiB', run.idle / 2 ** 20);
      await backfill(run);
    }
    await loader.connect(daemon.url, { concurrency });
    await ingest(run);
    await probedIngest(run);
    await visibility(run);
    await queries(run, variant === 'base' ? QUERIES : QUERIES.filter(({ expect }) => expect === 'all'));
  } finally {
    await daemon.stop();
    await loader.close();
  }
}

/** All rounds lie in the past, the last one a minute ago. */
function firstRoundMs() {
  return Date.now() - (1 + rounds + PROBED_ROUNDS_MAX + 4) * INTERVAL_MS;
}

/** An hour of the first job, for the range query. */
async function backfill({ daemon, loader, nextMs }) {
  await loader.connect(daemon.url, { concurrency: 1 });
  await load(loader, { rounds: BACKFILL_ROUNDS, startTs: nextMs - BACKFILL_ROUNDS * INTERVAL_MS, only: [0] });
}

async function ingest(run) {
  const { daemon, record } = run;
  const first = await costOf(run, 1);
  const rssOne = memory(daemon.pid).rss;
  record('new series: CPU each', 'µs', first.cpuMicros / series);
  record('new series: throughput', 'series/s', series / first.seconds);
  const steady = await costOf(run, rounds);
  const { rss } = memory(daemon.pid);
  record('known series: CPU a sample', 'µs', steady.cpuMicros / steady.samples);
  record('known series: throughput', 'samples/s', steady.samples / steady.seconds);
  record('known series: write answered, p50', 'ms', steady.ackP50);
  record('known series: write answered, p99', 'ms', steady.ackP99);
  record(`resident memory a series after ${rounds + 1} samples each`, 'B', (rss - run.idle) / series);
  record('resident memory a further sample', 'B', (rss - rssOne) / (series * rounds));
}

/** Sends the next rounds; what they cost the server until it is quiet again. */
async function costOf(run, count) {
  const before = cpuTotal(run.daemon.pid);
  const result = await load(run.loader, { rounds: count, startTs: run.nextMs });
  run.nextMs += count * INTERVAL_MS;
  await settle(run.daemon.pid);
  return { ...result, cpuMicros: (cpuTotal(run.daemon.pid) - before) * 1e6 };
}

async function load(loader, options) {
  const result = await loader.run(options);
  if (result.errors > 0) throw new Error(`cannot load: got ${result.errors} errors, the first: ${result.firstError}`);
  return result;
}

/** More rounds at full speed, while small requests go out every 10 ms, whether or not the last one was answered. */
async function probedIngest(run) {
  const { daemon, loader, record } = run;
  const client = new Client(daemon.url, 64);
  const delays = [];
  let over = false;
  let loading;
  const count = Math.min(rounds, PROBED_ROUNDS_MAX);
  const rssBefore = memory(daemon.pid).rss;
  await new Promise((started) => {
    loading = load(loader, { rounds: count, startTs: run.nextMs, chunkBytes: 1e9, onStart: started }).finally(() => {
      over = true;
      started();
    });
  });
  await ownMetrics(client); // The lag starts afresh with each scrape.
  const pending = [];
  for (let next = performance.now(); !over; next += PROBE_MS) {
    const sent = performance.now();
    pending.push(client.get('/-/healthy').then(() => delays.push(performance.now() - sent)));
    await sleep(Math.max(0, next + PROBE_MS - performance.now()));
  }
  await loading;
  await Promise.all(pending);
  run.nextMs += count * INTERVAL_MS;
  const lag = await ownMetrics(client);
  client.close();
  await settle(daemon.pid);
  record('probe every 10 ms under full load, p50', 'ms', quantile(delays, 0.5));
  record('probe every 10 ms under full load, p99.9', 'ms', quantile(delays, 0.999));
  for (const [name, label] of [
    ['p99', 'p99'],
    ['p999', 'p99.9'],
    ['max', 'max'],
  ]) {
    const seconds = lag.get(`nodejs_eventloop_lag_${name}_seconds`);
    if (seconds === undefined) continue;
    // Node counts the whole time between two ticks, and it asked for 10 ms of it.
    record(`event loop delay under full load, ${label}`, 'ms', Math.max(0, seconds * 1000 - PROBE_MS));
  }
  const grown = memory(daemon.pid).rss - rssBefore;
  record(`resident memory a sample after round ${rounds + 1}`, 'B', grown / (series * count));
}

async function ownMetrics(client) {
  const { body } = await client.get('/metrics');
  const lines = body.toString().split('\n');
  return new Map(
    lines
      .filter((line) => line && !line.startsWith('#'))
      .map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]),
  );
}

/** A write, and as soon as it is acknowledged the question about it: the share that is there at the first asking. */
async function visibility({ daemon, record }) {
  const client = new Client(daemon.url, 1);
  const name = `visibility_probe_${process.pid}`;
  const post = async (labels, value) => {
    const body = probeBody(labels, value, Date.now());
    const { status } = await client.send('POST', '/api/v1/write', { headers: WRITE_HEADERS, body });
    if (status >= 300) throw new Error(`cannot write a probe: got status ${status}`);
  };
  const shownAt = async (trial) => {
    const query = `${name}{trial="${trial}"}`;
    const { body } = await client.get(`/api/v1/query?${new URLSearchParams({ query })}`);
    return JSON.parse(body).data.result[0]?.value[1];
  };
  await post({ __name__: name, trial: 'known' }, 0);
  for (const [kind, trialOf] of [
    ['known', () => 'known'],
    ['new', (k) => `new-${k}`],
  ]) {
    let seen = 0;
    for (let k = 1; k <= VISIBILITY_TRIALS; k++) {
      await sleep(2); // Two samples of a series need two timestamps.
      await post({ __name__: name, trial: trialOf(k) }, k);
      if ((await shownAt(trialOf(k))) === String(k)) seen++;
    }
    record(`${kind} series: visible right after the reply`, '%', (100 * seen) / VISIBILITY_TRIALS);
  }
  client.close();
}

/** Latency of the dataset's queries, one at a time; answers that the generator knows are compared first. */
async function queries({ daemon, loader, record, nextMs }, wanted) {
  const client = new Client(daemon.url, 1);
  const jobs = jobsOf(series);
  for (const query of wanted) {
    if (!jobs.has(query.needs) || 'nocache' in query.params) continue;
    const url = urlOf(query, nextMs, '');
    const { status, body } = await client.get(url);
    if (status !== 200) throw new Error(`cannot ask ${query.name}: got ${status} ${body}`);
    await checkAnswer(query, JSON.parse(body).data, loader);
    const times = [];
    for (const began = performance.now(); times.length < QUERY_RUNS_MAX; ) {
      const sent = performance.now();
      if (times.length >= 3 && sent - began > QUERY_MS_MAX) break;
      await client.get(url);
      times.push(performance.now() - sent);
    }
    record(query.name, 'ms', quantile(times, 0.5));
  }
  client.close();
}

async function checkAnswer({ name, expect }, data, loader) {
  const answer = data.result ?? data;
  if (answer.length === 0) throw new Error(`wrong answer for ${name}: it is empty`);
  const range = expect === 'all' ? [0, series] : SUMS.get(name);
  if (range === undefined) return;
  const got = Number(answer[0].value[1]);
  const want = await loader.expectedSum(...range);
  if (Math.abs(got - want) > 1e-9 * want) throw new Error(`wrong answer for ${name}: got ${got}, want ${want}`);
}

/** Starts the built daemon with its web port alone and waits for its ready line. */
async function startDaemon() {
  const off = ['otlp.grpc', 'otlp.http', 'keda', 'kubernetes'].map((surface) => `--${surface}.listen-address=off`);
  const args = [
    MAIN,
    'serve',
    '--web.listen-address=127.0.0.1:0',
    '--log.format=json',
    '--storage.retention=2h',
    ...off,
  ];
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise((resolve) => {
    lines.on('line', (line) => {
      const { event, listen } = JSON.parse(line);
      if (event === 'ready') resolve(listen.web);
    });
  });
  const address = await Promise.race([
    ready,
    exited.then(([code]) => Promise.reject(new Error(`the daemon ended before it was ready, with code ${code}`))),
  ]);
  return {
    url: `http://${address}`,
    pid: child.pid,
    readyMs: performance.now() - began,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      process.removeListener('exit', kill);
    },
  };
}
