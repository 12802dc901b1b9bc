/**
 * The KEDA surface of the whole daemon, in a process of its own: calls of GetMetrics over as many triggers as there are
 * series, alone and beside remote write without pause, and how long a sample takes to become `true` on a push stream.
 * Clients are here, the load of samples comes from a worker thread.
 *
 *     node bench/keda.mjs '{"series":10000,"rounds":5,"runs":1}'
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs/minimal.js';
import { Loader } from './peers/lib/loader.mjs';
import { cpuTotal } from './peers/lib/proc.mjs';
import { median, quantile } from './peers/lib/stats.mjs';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const SERVICE = '/externalscaler.ExternalScaler/';
const CALLS_PER_SECOND = 3000;
const PROBES_PER_SECOND = 50;
const STREAMS = 500;
const FLOOD_SERIES = 100_000;
const CHANNELS = 4;
const DRAIN_MS_MAX = 60_000;

const { series, rounds, runs } = JSON.parse(process.argv[2]);
const values = new Map();
for (let run = 1; run <= runs; run++) {
  console.error(`keda: run ${run} of ${runs}`);
  await withDaemon();
}
const rows = [...values].map(([name, { unit, numbers }]) => ({
  name,
  value: median(numbers),
  min: Math.min(...numbers),
  max: Math.max(...numbers),
  n: numbers.length,
  unit,
  series,
}));
process.stdout.write(`${JSON.stringify(rows)}\n`);
process.exit(0);

function record(name, unit, value) {
  if (!values.has(name)) values.set(name, { unit, numbers: [] });
  values.get(name).numbers.push(value);
}

async function withDaemon() {
  const daemon = await startDaemon();
  const clients = Array.from({ length: CHANNELS + 1 }, (_, i) => openClient(daemon.listen.keda, i));
  const loader = new Loader({ series: FLOOD_SERIES, variant: 'base', lanes: CHANNELS });
  try {
    for (let first = 0; first < series; first += 2000) {
      await send(daemon, first, Math.min(2000, series - first), 3);
    }
    await check(clients[0]);
    await callsFor(daemon, clients, 2, null);
    await callsFor(daemon, clients, rounds, 'alone');
    await loader.connect(`http://${daemon.listen.web}`, { concurrency: CHANNELS });
    const flood = floodUntil(loader);
    await sleep(1000);
    await callsFor(daemon, clients, rounds, 'beside ingest without pause');
    await flood.stop();
    await pushLatency(daemon, clients[0]);
  } finally {
    for (const client of clients) client.close();
    await loader.close();
    daemon.child.kill('SIGTERM');
  }
}

/** An open loop: each tick makes as many calls as are due, whether or not earlier ones are answered. */
async function callsFor(daemon, clients, seconds, name) {
  const probes = [];
  let [done, failed, sent] = [0, 0, 0];
  const cpuBefore = cpuTotal(daemon.child.pid);
  const began = performance.now();
  let probesSent = 0;
  while (performance.now() - began < seconds * 1000) {
    const elapsed = (performance.now() - began) / 1000;
    for (; sent < elapsed * CALLS_PER_SECOND; sent++) {
      const trigger = (sent * 7919) % series;
      getMetrics(clients[sent % CHANNELS], trigger).then(
        () => done++,
        () => failed++,
      );
    }
    for (; probesSent < elapsed * PROBES_PER_SECOND; probesSent++) {
      const startMs = performance.now();
      getMetrics(clients[CHANNELS], (probesSent * 31) % series).then(
        () => probes.push(performance.now() - startMs),
        () => failed++,
      );
    }
    await sleep(1);
  }
  // What is not answered by then counts into the time, up to a bound.
  const isDone = () => done + failed >= sent && probes.length >= probesSent;
  for (let waited = 0; !isDone() && waited < DRAIN_MS_MAX; waited += 10) await sleep(10);
  const took = (performance.now() - began) / 1000;
  const cpu = cpuTotal(daemon.child.pid) - cpuBefore;
  if (failed > 0 || !isDone()) throw new Error(`${failed} of ${sent} calls failed, ${sent - done} are not answered`);
  if (name === null) return;
  record(`GetMetrics ${name}: answered`, 'calls/s', done / took);
  if (name === 'alone') record('GetMetrics alone: server CPU a call', 'µs', (cpu * 1e6) / (sent + probesSent));
  probes.sort((a, b) => a - b);
  record(`GetMetrics ${name}: probe p50`, 'ms', quantile(probes, 0.5));
  record(`GetMetrics ${name}: probe p99`, 'ms', quantile(probes, 0.99));
}

/** From before the sample is sent until its stream says true, one stream after the other. */
async function pushLatency(daemon, client) {
  const arrived = new Array(STREAMS);
  for (let i = 0; i < STREAMS; i++) {
    const request = encodeRef({ query: `push_depth{queue="q${i}"}`, targetValue: '5' });
    const call = client.makeServerStreamRequest(`${SERVICE}StreamIsActive`, identity, identity, request);
    call.on('data', () => arrived[i]?.());
    call.on('error', () => {});
  }
  await sleep(500);
  const latencies = [];
  for (let i = 0; i < STREAMS; i++) {
    const startMs = performance.now();
    const edge = new Promise((resolve) => {
      arrived[i] = () => resolve(performance.now() - startMs);
    });
    await send(daemon, i, 1, 1, 'push_depth');
    latencies.push(await Promise.race([edge, sleep(5000).then(() => Number.NaN)]));
    arrived[i] = null;
  }
  if (latencies.some(Number.isNaN)) throw new Error('some stream did not say true');
  latencies.sort((a, b) => a - b);
  record(`push: sample sent to true received, ${STREAMS} streams, p50`, 'ms', quantile(latencies, 0.5));
  record(`push: sample sent to true received, ${STREAMS} streams, p99`, 'ms', quantile(latencies, 0.99));
}

function floodUntil(loader) {
  let isOver = false;
  let startTs = Date.now() - 3_600_000;
  const running = (async () => {
    while (!isOver) {
      const { errors, firstError } = await loader.run({ rounds: 2, startTs });
      if (errors > 0) throw new Error(`cannot load: ${firstError}`);
      startTs += 30_000;
    }
  })();
  return {
    stop: () => {
      isOver = true;
      return running;
    },
  };
}

async function check(client) {
  const reply = protobuf.Reader.create(await getMetrics(client, 0));
  // GetMetricsResponse { 1 metricValues { 3 metricValueFloat } }: the last eight bytes are the number.
  const value = Buffer.from(reply.buf).readDoubleLE(reply.len - 8);
  if (value !== 3) throw new Error(`wrong answer: got ${value}, want 3`);
}

function getMetrics(client, trigger) {
  const ref = encodeRef({ query: `sum(queue_depth{queue="q${trigger}"})`, targetValue: '5' }, `trigger-${trigger}`);
  const request = Buffer.from(protobuf.Writer.create().uint32(10).bytes(ref).uint32(18).string('m').finish());
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(`${SERVICE}GetMetrics`, identity, identity, request, (error, reply) =>
      error === null ? resolve(reply) : reject(error),
    );
  });
}

function identity(bytes) {
  return bytes;
}

function encodeRef(metadata, name = 'web') {
  const writer = protobuf.Writer.create().uint32(10).string(name).uint32(18).string('shop');
  for (const [key, value] of Object.entries(metadata)) {
    writer.uint32(26).fork().uint32(10).string(key).uint32(18).string(value).ldelim();
  }
  return Buffer.from(writer.finish());
}

/** Gauges of OTLP, one point for each queue. */
async function send({ listen }, first, count, value, name = 'queue_depth') {
  const writer = protobuf.Writer.create();
  const open = (field) => writer.uint32((field << 3) | 2).fork();
  open(1);
  open(2);
  open(2);
  writer.uint32(10).string(name);
  open(5);
  const nanoseconds = BigInt(Date.now()) * 1_000_000n;
  const time = { low: Number(nanoseconds & 0xffffffffn), high: Number(nanoseconds >> 32n), unsigned: true };
  for (let i = first; i < first + count; i++) {
    open(1);
    writer.uint32((3 << 3) | 1).fixed64(time);
    writer.uint32((4 << 3) | 1).double(value);
    open(7);
    writer.uint32(10).string('queue').uint32(18).fork().uint32(10).string(`q${i}`).ldelim();
    writer.ldelim().ldelim();
  }
  writer.ldelim().ldelim().ldelim().ldelim();
  const headers = { 'content-type': 'application/x-protobuf' };
  const reply = await fetch(`http://${listen.otlpHttp}/v1/metrics`, { method: 'POST', headers, body: writer.finish() });
  if (reply.status !== 200) throw new Error(`cannot send samples: got status ${reply.status}`);
  await reply.arrayBuffer();
}

/** Own connections: grpc-js shares one between clients of the same options. */
function openClient(address, number) {
  return new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1, 'x-number': number });
}

async function startDaemon() {
  const addresses = ['web', 'otlp.grpc', 'otlp.http', 'keda'].map((name) => `--${name}.listen-address=127.0.0.1:0`);
  const flags = [
    'serve',
    '--log.format=json',
    '--scaling.warm-up=false',
    '--kubernetes.listen-address=off',
    ...addresses,
  ];
  const child = spawn(process.execPath, [MAIN, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => child.kill('SIGTERM'));
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, listen } = JSON.parse(line);
    if (event === 'ready') {
      child.stdout.resume();
      return { child, listen };
    }
  }
  throw new Error('the daemon ended before it was ready');
}
