/**
 * The whole daemon, killed in the middle of writes: what it acknowledged is there after the next start, to the bit. A client
 * notes what was acknowledged; remote-write and OTLP, from several connections at a time. TIDEGAUGE_LONG=1 kills far more
 * often.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/process.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';

const isLong = process.env.TIDEGAUGE_LONG === '1';
const KILLS = isLong ? 1000 : 4;
/** Folders, each with a daemon after the other; a start mostly waits for one core. */
const LANES = 2;
/** As many kills as fit into this. */
const KILLING_MS_MAX = isLong ? 900_000 : 60_000;
/** All is looked at after so many, and a new store begun; in between, what came in the last lives. */
const FULL_CHECK_KILLS = 100;
/** Longer than a life of a daemon: each writes into a stretch of time of its own. */
const LIFE_MS = isLong ? 1000 : 10_000;
const CLIENTS = 4;
const SERIES = 50;

interface Client {
  /** Value of the last request that was acknowledged, and of the last that was sent, by time. */
  readonly acknowledged: Map<number, number>;
  readonly sent: Map<number, number>;
}

async function push(daemon: Daemon, client: number, timestampMs: number, value: number): Promise<boolean> {
  const series = Array.from({ length: SERIES }, (_, i) => ({
    labels: { __name__: 'killed_total', client: `${client}`, series: `${i}` },
    samples: [{ timestampMs, value: value + i / 7 }],
  }));
  try {
    const reply = await fetch(`http://${daemon.listen.web}/api/v1/write`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
      body: encodeWriteRequest(series),
    });
    await reply.arrayBuffer();
    return reply.status === 204;
  } catch {
    return false;
  }
}

/** Sends until the daemon is gone, each sample a millisecond after the one before. */
async function load(daemon: Daemon, number: number, client: Client, firstMs: number): Promise<void> {
  for (let timestampMs = firstMs; ; timestampMs++) {
    const value = Math.floor(Math.random() * 2 ** 40) / 3;
    client.sent.set(timestampMs, value);
    if (!(await push(daemon, number, timestampMs, value))) return;
    client.acknowledged.set(timestampMs, value);
  }
}

/** Samples of one series as the daemon has them: exact, since JSON carries the shortest text of a double. */
async function samplesOf(
  daemon: Daemon,
  client: number,
  series: number,
  sinceMs: number,
  endMs: number,
): Promise<Map<number, number>> {
  const query = encodeURIComponent(`killed_total{client="${client}",series="${series}"}[${endMs - sinceMs}ms]`);
  const url = `http://${daemon.listen.web}/api/v1/query?query=${query}&time=${endMs / 1000}`;
  const reply = (await (await fetch(url)).json()) as {
    data: { result: { values: [number, string][] }[] };
  };
  const values = reply.data.result[0]?.values ?? [];
  return new Map(values.map(([seconds, text]) => [Math.round(seconds * 1000), Number(text)]));
}

/** What is wrong with what the daemon has, or null. */
async function check(
  daemon: Daemon,
  clients: readonly Client[],
  sinceMs: number,
  endMs: number,
): Promise<string | null> {
  for (const [number, { acknowledged, sent }] of clients.entries()) {
    for (const series of [0, SERIES >> 1, SERIES - 1]) {
      const got = await samplesOf(daemon, number, series, sinceMs, endMs);
      for (const [timeMs, value] of acknowledged) {
        if (timeMs <= sinceMs) continue;
        const want = value + series / 7;
        if (got.get(timeMs) !== want)
          return `client ${number} series ${series} at ${timeMs}: want ${want}, got ${got.get(timeMs)}`;
      }
      for (const [timeMs, value] of got) {
        const want = sent.get(timeMs);
        if (want === undefined || want + series / 7 !== value)
          return `client ${number} at ${timeMs}: nobody sent ${value}`;
      }
    }
  }
  return null;
}

/** Forgets what was sent; how many samples of it were acknowledged. */
function clear(clients: readonly Client[]): number {
  const count = clients.reduce((sum, { acknowledged }) => sum + acknowledged.size * SERIES, 0);
  for (const { acknowledged, sent } of clients) {
    acknowledged.clear();
    sent.clear();
  }
  return count;
}

interface Lane {
  /** What was lost, or null. */
  readonly fault: string | null;
  readonly kills: number;
  readonly acknowledged: number;
  readonly clients: readonly Client[];
  readonly flags: readonly string[];
  readonly startMs: number;
  readonly endMs: number;
}

/** Starts daemons on one folder and kills each of them under load. */
async function killing(folder: string, killsMax: number, stopMs: number): Promise<Lane> {
  const clients = Array.from({ length: CLIENTS }, (): Client => ({ acknowledged: new Map(), sent: new Map() }));
  // Little memory, so that a start is quick.
  const memory = `--storage.memory-limit=${isLong ? 256 : 512}MiB`;
  let flags = [`--storage.path=${folder}/store`, memory];
  const startMs = Date.now() - 60_000;
  const endMs = startMs + (killsMax + 1) * LIFE_MS;
  let acknowledged = 0;
  let kills = 0;
  const said = (fault: string | null): Lane => ({ fault, kills, acknowledged, clients, flags, startMs, endMs });
  for (; kills < killsMax && performance.now() < stopMs; kills++) {
    let daemon = await startDaemon(flags);
    const sinceMs = kills % FULL_CHECK_KILLS === 0 ? startMs - 1 : startMs + (kills - 3) * LIFE_MS;
    const fault = await check(daemon, clients, sinceMs, endMs);
    if (fault !== null) {
      await daemon.stop();
      return said(fault);
    }
    if (kills > 0 && kills % FULL_CHECK_KILLS === 0) {
      await daemon.stop();
      acknowledged += clear(clients);
      flags = [`--storage.path=${folder}/store-${kills}`, memory];
      daemon = await startDaemon(flags);
    }
    const firstMs = startMs + kills * LIFE_MS;
    const running = clients.map((client, i) => load(daemon, i, client, firstMs));
    await sleep((isLong ? 50 : 200) + Math.random() * (isLong ? 250 : 800));
    process.kill(daemon.pid, 'SIGKILL');
    await Promise.all(running);
    await daemon.stop();
  }
  acknowledged += clients.reduce((sum, client) => sum + client.acknowledged.size * SERIES, 0);
  return said(null);
}

test('no acknowledged sample is lost to kill -9', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const stopMs = performance.now() + KILLING_MS_MAX;
  const lanes = await Promise.all(
    Array.from({ length: LANES }, (_, i) => killing(`${folder.path}/${i}`, KILLS / LANES, stopMs)),
  );
  for (const [i, { fault, kills, acknowledged, clients, flags, startMs, endMs }] of lanes.entries()) {
    if (fault !== null) {
      t.fail(`after ${kills} kills: ${fault}`);
      continue;
    }
    t.ok(acknowledged > 0, `${acknowledged} samples acknowledged, ${kills} kills`);
    const daemon = await startDaemon(flags);
    t.equal(await check(daemon, clients, startMs - 1, endMs), null);
    t.equal(await daemon.stop(), 0);
    if (i > 0) continue;
    const again = await startDaemon(flags);
    t.equal(await check(again, clients, startMs - 1, endMs), null, 'after an orderly stop, too: from its image');
    t.match(await (await fetch(`http://${again.listen.web}/metrics`)).text(), /tidegauge_recovery_records 0\n/);
    await again.stop();
  }
  if (lanes.some(({ fault }) => fault !== null)) return;
  const all = (of: (lane: Lane) => number): number => lanes.reduce((sum, lane) => sum + of(lane), 0);
  t.comment(`${all((lane) => lane.kills)} kills, ${all((lane) => lane.acknowledged)} samples acknowledged, none lost`);
});
