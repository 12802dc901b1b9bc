/**
 * Starts that have something to bring back: from an image alone, as after SIGTERM, and from an image and a log after it, as
 * after SIGKILL. The files are in the page cache. Wall time is from the spawn of the process to its ready line.
 *
 *     node bench/recovery.mjs '{"series":1000000,"rounds":20,"runs":3}'
 */

import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from './peers/lib/http.mjs';
import { Loader } from './peers/lib/loader.mjs';
import { memory } from './peers/lib/proc.mjs';
import { startDaemon } from './support/daemon.mjs';
import { printRuns } from './support/rows.mjs';

const INTERVAL_MS = 15_000;
const CONNECTIONS = 4;
const LOGGED_ROUNDS = 2;
const MIB = 2 ** 20;

const options = JSON.parse(process.argv[2]);
const { series, rounds, runs } = options;
await printRuns('recovery', { ...options, runs: 1 }, measure);

async function measure(record) {
  const folder = process.env.BENCH_FOLDER ?? mkdtempSync(join(tmpdir(), 'tidegauge-bench-recovery-'));
  const loader = new Loader({ series, variant: 'base', lanes: CONNECTIONS });
  try {
    let startTs = Date.now() - (rounds + LOGGED_ROUNDS * runs + 8) * INTERVAL_MS;
    const empty = await start(folder);
    record('ready, nothing to bring back', 'ms', empty.readyMs);
    await send(loader, empty, startTs, rounds);
    startTs += rounds * INTERVAL_MS;
    const steady = memory(empty.pid).rss;
    record('resident before the stop', 'MiB', steady / MIB);
    await end(empty, 'SIGTERM');
    record('image', 'MiB', imageBytes(folder) / MIB);
    for (let run = 0; run < runs; run++) startTs = await bringBack(record, folder, loader, { startTs, steady, empty });
  } finally {
    await loader.close();
    if (process.env.BENCH_FOLDER === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

async function bringBack(record, folder, loader, { startTs, steady, empty }) {
  const fromImage = await start(folder);
  await expectSum(fromImage, loader, startTs);
  record('ready, from an image', 'ms', fromImage.readyMs);
  record('ready, from an image: CPU', 'ms', fromImage.cpuMs);
  record('of it bringing the image back', 'ms', fromImage.recovered.imageMs);
  record('the start without what an empty one takes', 'ms', fromImage.readyMs - empty.readyMs);
  record('most resident during it, of before the stop', '%', (100 * fromImage.peak) / steady);
  await send(loader, fromImage, startTs, LOGGED_ROUNDS);
  const before = memory(fromImage.pid).rss;
  await end(fromImage, 'SIGKILL');
  const fromLog = await start(folder);
  const next = startTs + LOGGED_ROUNDS * INTERVAL_MS;
  await expectSum(fromLog, loader, next);
  const millions = (series * LOGGED_ROUNDS) / 1e6;
  const logMs = fromLog.recovered.ms - fromLog.recovered.imageMs;
  record('a million logged samples on top', 'ms', logMs / millions);
  record('with a log, most resident during it, of before the kill', '%', (100 * fromLog.peak) / before);
  await end(fromLog, 'SIGTERM');
  return next;
}

async function start(folder) {
  const began = performance.now();
  let recovered = null;
  const daemon = await startDaemon(['web'], [`--storage.path=${folder}`], null, (line) => {
    if (line.event === 'recovered') recovered = line;
  });
  const { pid } = daemon.child;
  return { ...daemon, pid, readyMs: performance.now() - began, cpuMs: cpuMs(pid), peak: memory(pid).peak, recovered };
}

async function end({ child }, signal) {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

async function send(loader, { listen }, startTs, count) {
  await loader.connect(`http://${listen.web}`, { concurrency: CONNECTIONS });
  const { errors, firstError } = await loader.run({ rounds: count, startTs });
  if (errors > 0) throw new Error(`cannot load: ${firstError}`);
}

/** What came back is what was sent. */
async function expectSum({ listen }, loader, endTs) {
  const client = new Client(`http://${listen.web}`, 1);
  const query = 'count({__name__=~".+"})';
  const { body } = await client.get(`/api/v1/query?${new URLSearchParams({ query, time: String(endTs / 1000) })}`);
  const got = Number(JSON.parse(body).data.result[0]?.value[1]);
  client.close();
  if (got !== series) throw new Error(`wrong after a start: got ${got} series, want ${series}`);
}

function cpuMs(pid) {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
  }
  return ns / 1e6;
}

function imageBytes(folder) {
  const names = readdirSync(join(folder, 'image'))
    .filter((name) => name.endsWith('.image'))
    .sort();
  return statSync(join(folder, 'image', names.at(-1))).size;
}
