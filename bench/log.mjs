/**
 * What the log costs: the same remote write to two daemons, one that keeps everything in memory only and one with a log of
 * its own, in turns. CPU is that of all threads of the process, as the scheduler counts
 * it, so the threads that write to the disk are in it; what the kernel does later by itself (writeback) is not.
 *
 *     node bench/log.mjs '{"series":100000,"rounds":40,"runs":1}'
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Loader } from './peers/lib/loader.mjs';
import { median } from './peers/lib/stats.mjs';
import { daemonCore, startDaemon } from './support/daemon.mjs';
import { printRuns } from './support/rows.mjs';

const INTERVAL_MS = 15_000;
const CONNECTIONS = 4;
/** Rounds before the clock starts: the first creates the series, and code is hot after some more. */
const WARM_ROUNDS = 4;
/** Rounds that one side gets before the other has its turn. */
const TURN = 10;
/** What follows upon a turn, such as the sync of each second, belongs to it. */
const REST_MS = 1300;

const core = daemonCore();
const options = JSON.parse(process.argv[2]);
const { series, rounds } = options;
await printRuns('log', options, measure);

async function measure(record) {
  const folder = mkdtempSync(join(tmpdir(), 'tidegauge-bench-log-'));
  const sides = [];
  try {
    for (const flags of [[], [`--storage.path=${folder}`]]) sides.push(await openSide(flags));
    const [without, with_] = sides;
    const turns = Math.ceil(rounds / TURN);
    let startTs = Date.now() - (WARM_ROUNDS + turns * TURN + 4) * INTERVAL_MS;
    for (const side of sides) await costOf(side, startTs, WARM_ROUNDS);
    startTs += WARM_ROUNDS * INTERVAL_MS;
    for (let turn = 0; turn < turns; turn++) {
      // Each comes first every other time.
      for (const side of turn % 2 === 0 ? sides : [with_, without]) {
        side.micros.push((await costOf(side, startTs, TURN)) / (series * TURN));
      }
      startTs += TURN * INTERVAL_MS;
    }
    record('in memory only: CPU a sample', 'µs', median(without.micros));
    record('with the log: CPU a sample', 'µs', median(with_.micros));
    record('with the log, of that without: medians', '×', median(with_.micros) / median(without.micros));
    record('with the log, of that without: least', '×', Math.min(...with_.micros) / Math.min(...without.micros));
    record('log on the disk, a sample', 'B', logBytes(folder) / (series * (WARM_ROUNDS + turns * TURN)));
  } finally {
    for (const { daemon, loader } of sides) {
      daemon.child.kill('SIGKILL');
      await loader.close();
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

async function openSide(flags) {
  const daemon = await startDaemon(['web'], flags, core);
  const loader = new Loader({ series, variant: 'base', lanes: CONNECTIONS });
  await loader.connect(`http://${daemon.listen.web}`, { concurrency: CONNECTIONS });
  return { daemon, loader, micros: [] };
}

async function costOf({ daemon, loader }, startTs, count) {
  let before = 0;
  const onStart = () => {
    before = cpuMicros(daemon.child.pid);
  };
  const { errors, firstError } = await loader.run({ rounds: count, startTs, onStart });
  if (errors > 0) throw new Error(`cannot load: got ${errors} errors, the first: ${firstError}`);
  await sleep(REST_MS);
  return cpuMicros(daemon.child.pid) - before;
}

/** CPU of all threads; to the nanosecond where the kernel says so. */
function cpuMicros(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  let micros = 0;
  for (const thread of threads) {
    const [ns] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ');
    micros += Number(ns) / 1000;
  }
  return micros;
}

function logBytes(folder) {
  const names = readdirSync(join(folder, 'log'));
  return names.reduce((bytes, name) => bytes + readFileSync(join(folder, 'log', name)).length, 0);
}
