/**
 * The KEDA surface of the whole daemon, in a process of its own: calls of GetMetrics over as many triggers as there are
 * series, alone and beside remote write without pause, and how long a sample takes to become `true` on a push stream.
 * The daemon has one core, everything else the other ones. Each phase ends in time: what is not answered by then is
 * said, and counts as not answered.
 *
 *     node bench/keda.mjs '{"series":10000,"rounds":20,"runs":1}'
 */
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import protobuf from 'protobufjs/minimal.js';
import { Loader } from './peers/lib/loader.mjs';
import { cpuTotal } from './peers/lib/proc.mjs';
import { quantile } from './peers/lib/stats.mjs';
import { daemonCore, flood, startDaemon } from './support/daemon.mjs';
import { RawGrpc } from './support/raw-grpc.mjs';
import { printRuns } from './support/rows.mjs';

const SERVICE = '/externalscaler.ExternalScaler/';
const CALLS_PER_SECOND = 3000;
const PROBES_PER_SECOND = 50;
const WARM_SECONDS = 3;
const STREAMS = 500;
const FLOOD_SERIES = 100_000;
const CHANNELS = 4;
/** The longest that a phase may last beyond its own time. */
const DRAIN_MS_MAX = 5000;
const PUSH_MS_MAX = 30_000;
const core = daemonCore();
const agent = new Agent({ keepAlive: true });

const options = JSON.parse(process.argv[2]);
const { series, rounds } = options;
/** Of the run that is under way. */
let record;
await printRuns('keda', options, (into) => {
  record = into;
  return withDaemon();
});

async function withDaemon() {
  const daemon = await startDaemon(['web', 'otlp.grpc', 'otlp.http', 'keda'], [], core);
  const openClient = (method) => RawGrpc.open(daemon.listen.keda, `${SERVICE}${method}`);
  const clients = await Promise.all(Array.from({ length: CHANNELS + 1 }, () => openClient('GetMetrics')));
  // What is measured is the server: the caller, who shares a core with the sender, must not wait for it.
  const loader = new Loader({ series: FLOOD_SERIES, variant: 'base', lanes: CHANNELS, yields: true });
  try {
    for (let first = 0; first < series; first += 2000) {
      await send(daemon, first, Math.min(2000, series - first), 3);
    }
    await check(clients[0]);
    await callsFor(daemon, clients, WARM_SECONDS, null);
    await callsFor(daemon, clients, rounds, 'alone');
    await loader.connect(`http://${daemon.listen.web}`, { concurrency: CHANNELS });
    const load = flood(loader);
    await callsFor(daemon, clients, WARM_SECONDS, null);
    await callsFor(daemon, clients, rounds, 'beside ingest without pause');
    await Promise.race([load.stop(), sleep(DRAIN_MS_MAX)]);
    await send(daemon, 0, 1, 3);
    const pushes = await openClient('StreamIsActive');
    clients.push(pushes);
    await pushLatency(daemon, pushes);
  } finally {
    for (const client of clients) client.close();
    await loader.close();
    const gone = new Promise((resolve) => daemon.child.once('close', resolve));
    daemon.child.kill('SIGTERM');
    await Promise.race([gone, sleep(DRAIN_MS_MAX)]);
    daemon.child.kill('SIGKILL');
  }
}

/** An open loop: each tick makes as many calls as are due, whether or not earlier ones are answered. */
async function callsFor(daemon, clients, seconds, name) {
  const probes = [];
  let [done, failed, sent, probesSent] = [0, 0, 0, 0];
  const settle = (reply) => {
    if (reply === null) failed++;
    else done++;
  };
  const cpuBefore = cpuTotal(daemon.child.pid);
  const began = performance.now();
  while (performance.now() - began < seconds * 1000) {
    const elapsed = (performance.now() - began) / 1000;
    for (; sent < elapsed * CALLS_PER_SECOND; sent++) {
      void clients[sent % CHANNELS].call(requestOf((sent * 7919) % series)).then(settle);
    }
    for (; probesSent < elapsed * PROBES_PER_SECOND; probesSent++) {
      const startMs = performance.now();
      void clients[CHANNELS].call(requestOf((probesSent * 31) % series)).then((reply) => {
        if (reply === null) failed++;
        else probes.push(performance.now() - startMs);
      });
    }
    await sleep(1);
  }
  const tookSeconds = (performance.now() - began) / 1000;
  const inTime = done;
  const cpu = cpuTotal(daemon.child.pid) - cpuBefore;
  const isDone = () => done + failed + probes.length >= sent + probesSent;
  for (let waited = 0; !isDone() && waited < DRAIN_MS_MAX; waited += 10) await sleep(10);
  if (failed > 0) throw new Error(`${failed} of ${sent} calls failed`);
  if (name === null) return;
  const late = sent + probesSent - done - probes.length;
  if (late > 0)
    console.error(`keda: ${late} of ${sent} calls ${name} were not answered within ${DRAIN_MS_MAX} ms more`);
  record(`GetMetrics ${name}: answered, of ${CALLS_PER_SECOND} asked`, 'calls/s', inTime / tookSeconds);
  if (name === 'alone') record('GetMetrics alone: server CPU a call', 'µs', (cpu * 1e6) / (inTime + probes.length));
  else record(`GetMetrics ${name}: server CPU`, '% of a core', (100 * cpu) / tookSeconds);
  probes.sort((a, b) => a - b);
  for (const [label, q] of [
    ['p50', 0.5],
    ['p99', 0.99],
    ['p99.9', 0.999],
  ]) {
    record(`GetMetrics ${name}: probe ${label}, ${PROBES_PER_SECOND}/s`, 'ms', quantile(probes, q));
  }
}

/** From before the sample is sent until its stream says true: the first change of each stream, one after the other. */
async function pushLatency(daemon, client) {
  const arrived = new Array(STREAMS);
  for (let i = 0; i < STREAMS; i++) {
    const request = encodeRef({ query: `push_depth{queue="q${i}"}`, targetValue: '5' });
    client.stream(
      request,
      () => arrived[i]?.(),
      () => {},
    );
  }
  await sleep(1000);
  const latencies = [];
  const untilMs = performance.now() + PUSH_MS_MAX;
  for (let i = 0; i < STREAMS && performance.now() < untilMs; i++) {
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
  const what = `push: sample sent to true received, ${latencies.length} streams`;
  record(`${what}, p50`, 'ms', quantile(latencies, 0.5));
  record(`${what}, p99`, 'ms', quantile(latencies, 0.99));
}

/** Every hundredth trigger gives its value; a query that cannot be answered is refused. */
async function check(client) {
  for (let trigger = 0; trigger < series; trigger += 100) {
    const reply = await client.call(requestOf(trigger));
    // GetMetricsResponse { 1 metricValues { 3 metricValueFloat } }: the last eight bytes are the number.
    const value = reply === null ? null : reply.readDoubleLE(reply.length - 8);
    if (value !== 3) throw new Error(`wrong answer for trigger ${trigger}: got ${value}, want 3`);
  }
  const absent = await client.call(requestOf(series));
  if (absent !== null) throw new Error('wrong answer: got a value of a series that there is not');
}

function requestOf(trigger) {
  const ref = encodeRef({ query: `sum(queue_depth{queue="q${trigger}"})`, targetValue: '5' }, `trigger-${trigger}`);
  return Buffer.from(protobuf.Writer.create().uint32(10).bytes(ref).uint32(18).string('m').finish());
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
  await post(`http://${listen.otlpHttp}/v1/metrics`, writer.finish());
}

function post(url, body) {
  const headers = { 'content-type': 'application/x-protobuf', 'content-length': body.length };
  return new Promise((resolve, reject) => {
    const asked = httpRequest(url, { method: 'POST', headers, agent }, (reply) => {
      reply.resume();
      reply.once('end', () => {
        if (reply.statusCode === 200) resolve();
        else reject(new Error(`cannot send samples: got status ${reply.statusCode}`));
      });
    });
    asked.once('error', reject);
    asked.end(body);
  });
}
