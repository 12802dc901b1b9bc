/**
 * The measurements. Each suite takes a context {target, loader, record, ...}
 * and leaves the server as the next one expects it (see bench-peers.mjs).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import snappy from 'snappy';
import { Client, WRITE_HEADERS } from './http.mjs';
import { cpuSeconds, cpuTotal, diskBytes, machineBusy, memory, settle } from './proc.mjs';
import { QUERIES, urlOf } from './queries.mjs';
import { formatCount, quantile } from './stats.mjs';

/** Runs one load and records its cost; CPU is counted until the server has settled. */
async function measuredLoad(ctx, base, what, options) {
  const { target, loader, record } = ctx;
  const began = performance.now();
  const cpu0 = cpuSeconds(target.pid);
  const busy0 = machineBusy();
  const self0 = process.cpuUsage();
  const result = await loader.run(options);
  if (result.errors) record.add(base, `${what}: errors`, `${result.errors}: ${result.firstError}`, '');
  const cpu1 = cpuSeconds(target.pid);
  const self = process.cpuUsage(self0);
  const own = (self.user + self.system) / 1e6;
  const foreign = Math.max(0, machineBusy() - busy0 - (cpu1.user + cpu1.sys - cpu0.user - cpu0.sys) - own);
  const span = (performance.now() - began) / 1000;
  const settled = await settle(target.pid);
  const cpu2 = cpuSeconds(target.pid);
  const millions = result.samples / 1e6;
  const during = cpu1.user + cpu1.sys - cpu0.user - cpu0.sys;
  const total = cpu2.user + cpu2.sys - cpu0.user - cpu0.sys;
  record.add(base, `${what}: server CPU per million samples`, total / millions, 'CPU-s');
  record.add(base, `${what}: of it system time`, (cpu2.sys - cpu0.sys) / millions, 'CPU-s');
  record.add(base, `${what}: of it after the last write`, (total - during) / millions, 'CPU-s');
  record.add(base, `${what}: throughput`, result.samples / result.seconds, 'samples/s');
  record.add(base, `${what}: cores used by server while writing`, during / result.seconds, 'cores');
  record.add(base, `${what}: write answered, p50`, result.ackP50, 'ms');
  record.add(base, `${what}: write answered, p99`, result.ackP99, 'ms');
  record.add(base, `${what}: client's own CPU per million (encoding and sending)`, own / millions, 'CPU-s');
  record.add(base, `${what}: cores taken by strangers meanwhile`, foreign / span, 'cores');
  record.add(base, `${what}: settled after`, settled, 's');
  return { ...result, cpu: total };
}

/** a, b, c: creation of the series in round 1, then steady rounds; memory before, between and after. */
export async function ingest(ctx, { series, rounds, variant = 'base' }) {
  const { target, loader, record, run } = ctx;
  const base = {
    suite: 'ingest',
    scenario: `${formatCount(series)} series, ${rounds} steady rounds${variant === 'base' ? '' : `, ${variant}`}`,
    target: target.name,
    run,
  };
  const intervalMs = 15_000;
  await sleep(2000);
  const idle = memory(target.pid);
  const start = Date.now() - (rounds + 2) * intervalMs;
  await loader.connect(target.url, { write: target.write, concurrency: ctx.concurrency });

  const first = await measuredLoad(ctx, base, 'new series', { rounds: 1, startTs: start });
  const one = memory(target.pid);
  record.add(base, 'wire bytes per sample', first.bytes / first.samples, 'B');
  record.add(base, 'RSS idle, empty', idle.rss / 1e6, 'MB');
  record.add(base, 'RSS after round 1', one.rss / 1e6, 'MB');
  record.add(base, 'RSS after round 1, anonymous', one.anon / 1e6, 'MB');
  record.add(base, 'RSS per series after round 1', (one.rss - idle.rss) / series, 'B');

  await measuredLoad(ctx, base, 'steady', { rounds, startTs: start + intervalMs });
  const many = memory(target.pid);
  record.add(base, `RSS after ${rounds + 1} rounds`, many.rss / 1e6, 'MB');
  record.add(base, `RSS after ${rounds + 1} rounds, anonymous`, many.anon / 1e6, 'MB');
  record.add(base, 'RSS peak', many.peak / 1e6, 'MB');
  record.add(base, `RSS per series after ${rounds + 1} rounds`, (many.rss - idle.rss) / series, 'B');
  record.add(base, 'RSS growth per further sample', (many.rss - one.rss) / (series * rounds), 'B');
  if (target.managed) {
    const disk = diskBytes(target.data);
    record.add(base, 'disk', disk / 1e6, 'MB');
    record.add(base, 'disk per sample', disk / (series * (rounds + 1)), 'B');
  }
  return { lastTs: start + rounds * intervalMs };
}

/** Steady ingest where a share of the pods is replaced before every round. */
export async function churn(ctx, { series, rounds, fraction }) {
  const { target, loader, record, run } = ctx;
  const base = {
    suite: 'churn',
    scenario: `${formatCount(series)} series, ${fraction * 100} % new per round, ${rounds} rounds`,
    target: target.name,
    run,
  };
  const start = Date.now() - (rounds + 2) * 15_000;
  await loader.connect(target.url, { write: target.write, concurrency: ctx.concurrency });
  await loader.run({ rounds: 1, startTs: start });
  await settle(target.pid);
  const before = memory(target.pid);
  const result = await measuredLoad(ctx, base, 'churn', { rounds, startTs: start + 15_000, churn: fraction });
  const after = memory(target.pid);
  record.add(base, 'new series', result.newSeries, '');
  record.add(base, 'RSS before', before.rss / 1e6, 'MB');
  record.add(base, 'RSS after', after.rss / 1e6, 'MB');
}

async function timeQuery(client, path) {
  const t0 = performance.now();
  const { status, body } = await client.get(path);
  const ms = performance.now() - t0;
  if (status >= 300) throw new Error(`${status} ${body.toString().slice(0, 160)}`);
  return { ms, body };
}

/** Latency of every query that the dataset can answer, one at a time over one connection. */
async function latencies(ctx, base, tsOf, { perQueryMs, iterations, least = 5, expectedSum, active = () => true }) {
  const { target, record } = ctx;
  const client = new Client(target.url, 1);
  for (const query of QUERIES.filter((q) => ctx.jobs.has(q.needs))) {
    if (!active()) break;
    const times = [];
    const cpu0 = cpuTotal(target.pid);
    try {
      const first = await timeQuery(client, urlOf(query, tsOf(), target.api));
      record.add(base, `${query.name}: first`, first.ms, 'ms');
      const answer = JSON.parse(first.body);
      if (query.expect === 'all' && expectedSum !== undefined) {
        const got = Number(answer.data.result[0]?.value[1]);
        record.add(base, `${query.name}: answer / expected`, got / expectedSum, '');
      }
      if (answer.data.result?.length === 0) record.add(base, `${query.name}: empty answer`, 1, '');
      const t0 = performance.now();
      while (times.length < iterations && (times.length < least || performance.now() - t0 < perQueryMs)) {
        const { ms } = await timeQuery(client, urlOf(query, tsOf() - times.length, target.api));
        if (!active()) break;
        times.push(ms);
      }
      if (times.length === 0) break;
      record.add(base, `${query.name}: p50`, quantile(times, 0.5), 'ms');
      record.add(base, `${query.name}: p99`, quantile(times, 0.99), 'ms');
      record.add(base, `${query.name}: queries`, times.length, '');
      if (base.suite === 'query idle')
        record.add(
          base,
          `${query.name}: server CPU a query`,
          ((cpuTotal(target.pid) - cpu0) / (times.length + 1)) * 1000,
          'CPU-ms',
        );
    } catch (error) {
      record.add(base, `${query.name}: p50`, String(error.message), 'ms');
    }
  }
  client.close();
}

/** Sends the api-1k job alone for an hour's worth of rounds ending just before `endTs`. */
export async function backfill(ctx, { endTs }) {
  const rounds = 240;
  await ctx.loader.connect(ctx.target.url, { write: ctx.target.write, concurrency: 1 });
  await ctx.loader.run({ rounds, startTs: endTs - rounds * 15_000, only: [0] });
}

/** d: idle, then while the same series keep coming at one round per 15 s. */
export async function queries(ctx, { series, lastTs, loadedRounds }) {
  const { target, loader, run, record } = ctx;
  const scenario = `${formatCount(series)} series`;
  const expectedSum = await loader.expectedSum();
  const at = lastTs + 15_000;
  const idle = { suite: 'query idle', scenario, target: target.name, run };
  await latencies(ctx, idle, () => at, { perQueryMs: 4000, iterations: 100, expectedSum });
  if (!loadedRounds) return { lastTs };

  const base = {
    suite: 'query while ingesting',
    scenario: `${scenario}, ${Math.round(series / 15)} samples/s`,
    target: target.name,
    run,
  };
  await loader.connect(target.url, { write: target.write, concurrency: ctx.concurrency });
  let began;
  let over = false;
  const loading = loader
    .run({
      rounds: loadedRounds,
      startTs: lastTs + 15_000,
      paceMs: 15_000,
      onStart: () => {
        began = performance.now();
      },
    })
    .finally(() => {
      over = true;
    });
  while (began === undefined && !over) await sleep(20);
  await sleep(1000);
  await latencies(ctx, base, () => at + Math.floor(performance.now() - began), {
    perQueryMs: 3000,
    iterations: 100,
    least: 2,
    active: () => !over,
  });
  const result = await loading;
  record.add(base, 'write answered, p50', result.ackP50, 'ms');
  record.add(base, 'write answered, p99', result.ackP99, 'ms');
  if (result.errors) record.add(base, 'write errors', `${result.errors}: ${result.firstError}`, '');
  return { lastTs: lastTs + loadedRounds * 15_000 };
}

/** One-sample remote-write body with free labels. */
export function probeBody(labels, value, ts) {
  const chunks = [];
  const varint = (n) => {
    const bytes = [];
    while (n > 127) {
      bytes.push((n % 128) | 0x80);
      n = Math.floor(n / 128);
    }
    bytes.push(n);
    return Buffer.from(bytes);
  };
  const field = (tag, payload) => Buffer.concat([Buffer.from([tag]), varint(payload.length), payload]);
  for (const name of Object.keys(labels).sort()) {
    chunks.push(field(0x0a, Buffer.concat([field(0x0a, Buffer.from(name)), field(0x12, Buffer.from(labels[name]))])));
  }
  const double = Buffer.alloc(8);
  double.writeDoubleLE(value);
  chunks.push(field(0x12, Buffer.concat([Buffer.from([0x09]), double, Buffer.from([0x10]), varint(ts)])));
  return snappy.compressSync(field(0x0a, Buffer.concat(chunks)));
}

/** e: from a write's 2xx until an instant query at "now" shows the sample. */
export async function freshness(ctx, { trials = 8, deadlineMs = 45_000, state = 'idle' }) {
  const { target, record, run } = ctx;
  const base = {
    suite: 'freshness',
    scenario: `write's 2xx to visible in an instant query at "now", ${state}`,
    target: target.name,
    run,
  };
  const client = new Client(target.url, 64);
  const post = async (labels, value, ts) => {
    const { status, body } = await client.send('POST', target.write, {
      headers: WRITE_HEADERS,
      body: probeBody(labels, value, ts),
    });
    if (status >= 300) throw new Error(`probe: ${status} ${body}`);
  };
  const mode = ['existing series', 'new series'];
  const variants = [
    ['', ''],
    [', nocache=1', '&nocache=1'],
  ];
  const tag = `${run}-${process.hrtime.bigint()}`;
  const labelsOf = (m, v, k) => ({
    __name__: 'freshness_probe',
    mode: `m${m}`,
    variant: `v${v}`,
    trial: `${tag}-${k}`,
  });
  for (let v = 0; v < variants.length; v++) {
    for (let k = 0; k < trials; k++) await post(labelsOf(0, v, k), 1, Date.now() - 60_000);
  }
  await sleep(4000);
  const results = mode.map(() => variants.map(() => []));
  const trial = async (m, v, k) => {
    const labels = labelsOf(m, v, k);
    const selector = `freshness_probe{mode="${labels.mode}",variant="${labels.variant}",trial="${labels.trial}"}`;
    const path = `${target.api}/api/v1/query?query=${encodeURIComponent(selector)}${variants[v][1]}`;
    await post(labels, 42, Date.now());
    const t0 = performance.now();
    while (performance.now() - t0 < deadlineMs) {
      const { body } = await client.get(path);
      const seen = performance.now() - t0;
      if (JSON.parse(body).data?.result?.[0]?.value?.[1] === '42') {
        results[m][v].push(seen);
        return;
      }
      await sleep(seen < 100 ? 2 : 20);
    }
    results[m][v].push(deadlineMs);
  };
  const all = [];
  for (let k = 0; k < trials; k++) {
    for (let m = 0; m < mode.length; m++) {
      for (let v = 0; v < variants.length; v++) {
        all.push(trial(m, v, k));
        await sleep(137); // not in step with any flush timer
      }
    }
  }
  await Promise.all(all);
  client.close();
  for (let m = 0; m < mode.length; m++) {
    for (let v = 0; v < variants.length; v++) {
      record.add(base, `${mode[m]}${variants[v][0]}: p50`, quantile(results[m][v], 0.5), 'ms');
      record.add(base, `${mode[m]}${variants[v][0]}: max`, Math.max(...results[m][v]), 'ms');
    }
  }
}

/** f: empty start; the server must be managed and not running. Leaves it running. */
export async function coldStart(ctx) {
  const { target, record, run } = ctx;
  const base = { suite: 'start', scenario: 'empty disk', target: target.name, run };
  record.add(base, 'ready after', await target.start(), 'ms');
  record.add(base, 'CPU until ready', cpuTotal(target.pid), 'CPU-s');
  await sleep(5000);
  const { rss, anon } = memory(target.pid);
  record.add(base, 'RSS idle', rss / 1e6, 'MB');
  record.add(base, 'RSS idle, anonymous', anon / 1e6, 'MB');
  const cpu = cpuTotal(target.pid);
  await sleep(5000);
  record.add(base, 'CPU while idle', (cpuTotal(target.pid) - cpu) / 5, 'cores');
}

/** f: restart on the data at hand, after SIGTERM and after SIGKILL. */
export async function restart(ctx, { series, lastTs, expectedSum }) {
  const { target, record, run } = ctx;
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    const base = {
      suite: 'restart',
      scenario: `${formatCount(series)} series on disk, after ${signal}`,
      target: target.name,
      run,
    };
    const gone = await target.stop(signal);
    if (signal === 'SIGTERM') record.add(base, 'shutdown took', gone, 'ms');
    record.add(base, 'ready after', await target.start({ keepData: true }), 'ms');
    record.add(base, 'CPU until ready', cpuTotal(target.pid), 'CPU-s');
    const client = new Client(target.url, 1);
    const ask = async (query, name) => {
      const url = urlOf({ path: '/api/v1/query', params: { query } }, lastTs + 15_000, target.api);
      try {
        const { ms, body } = await timeQuery(client, url);
        record.add(base, name, ms, 'ms');
        return Number(JSON.parse(body).data.result[0]?.value[1]);
      } catch (error) {
        record.add(base, name, String(error.message), 'ms');
        return NaN;
      }
    };
    await ask('sum(http_requests_total{job="api-1k"})', 'first query, sum over 1k series');
    const count = await ask('sum({job=~".+"})', 'then sum over all series');
    record.add(base, 'answer / expected', count / expectedSum, '');
    client.close();
    await settle(target.pid);
    const { rss, peak } = memory(target.pid);
    record.add(base, 'CPU until settled', cpuTotal(target.pid), 'CPU-s');
    record.add(base, 'RSS settled', rss / 1e6, 'MB');
    record.add(base, 'RSS peak', peak / 1e6, 'MB');
  }
}
