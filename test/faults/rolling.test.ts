/**
 * Two replicas that are replaced and killed while senders send and KEDA asks: no wrong number, no replica of the workload less,
 * never longer than one sync without an answer, and of what was acknowledged nothing is lost. TIDEGAUGE_LONG=1 goes on for a
 * minute and a half each.
 */
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/process.ts';
import { SYNC_MS } from '../support/simulated-autoscalers.ts';
import { waitFor } from '../support/wait.ts';
import { DEPTH_SUM, Pair, type PairOutcome } from './pair.ts';
import { isLong } from './process.ts';

const ROUNDS = isLong ? 40 : 1;
const ROUNDS_MS_MAX = isLong ? 90_000 : 60_000;
const SMALL = ['--storage.memory-limit=256MiB', '--replica.wait=60s'];
const EXIT_MS_MAX = 25_000;

const peerOf = ({ listen }: Daemon): string => `--replica.peer=http://${listen.web}`;

async function ended(daemon: Daemon): Promise<void> {
  await waitFor(() => daemon.ended(), { timeoutMs: EXIT_MS_MAX, what: 'the daemon to end' });
}

/** Each round replaces both, one after the other; how many rounds there were. */
async function rounds(pair: Pair, replace: (index: 0 | 1) => Promise<void>): Promise<number> {
  const endMs = performance.now() + ROUNDS_MS_MAX;
  let done = 0;
  for (; done < ROUNDS && performance.now() < endMs; done++) {
    for (const index of [0, 1] as const) {
      await replace(index);
      await pair.more(8);
    }
  }
  return done;
}

async function check(t: Test, pair: Pair, outcome: PairOutcome, what: string): Promise<void> {
  const { wrong, polls, failures, outageMsMax, finalStatuses, replicasMin } = outcome;
  t.strictSame(wrong, [], 'no wrong number');
  t.equal(replicasMin, DEPTH_SUM / 20, 'no scale-down');
  t.ok(outageMsMax < SYNC_MS, `${outageMsMax} ms without an answer`);
  t.strictSame([...finalStatuses], [], 'no answer on which a sender would drop what it has');
  const held = await Promise.all(pair.slots.map(({ daemon }) => pair.ticksOf(daemon, 3)));
  const lost: number[] = [];
  for (let tick = -600; tick < pair.slots[0].next; tick++) if (!held.some((ticks) => ticks.has(tick))) lost.push(tick);
  t.strictSame(lost, [], 'each acknowledged sample is in one of them at least');
  const [first, second] = held.map(({ size }) => size);
  t.comment(
    `${what}: ${polls} polls, ${failures} without an answer, the longest time without one ${outageMsMax} ms; ` +
      `${pair.slots[0].next + 600} samples of a series sent, ${first} and ${second} held`,
  );
}

async function begin(t: Test, more: readonly string[] = []): Promise<Pair> {
  const first = await startDaemon(SMALL);
  const second = await startDaemon([...SMALL, ...more]);
  const pair = new Pair(first, second);
  t.teardown(() => Promise.all(pair.slots.map(({ daemon }) => daemon.stop())));
  await pair.run();
  await pair.more(5);
  return pair;
}

test('a rolling update, one more than wanted and none less: the new one takes the memory of the old one', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  let stores = 0;
  // One of the two keeps a log, in a folder that is as new as its pod.
  const storeOf = (index: 0 | 1): string[] =>
    index === 0 ? [] : [`--storage.path=${join(folder.path, `store-${stores++}`)}`];
  const pair = await begin(t, storeOf(1));
  const done = await rounds(pair, async (index) => {
    const old = pair.slots[index].daemon;
    await pair.replace(index, [...SMALL, peerOf(old), ...storeOf(index)]);
    process.kill(old.pid, 'SIGTERM');
    await ended(old);
    t.equal(await old.stop(), 0, 'the old one ended in order');
  });
  await check(t, pair, await pair.stop(), `${done} rolling updates`);
});

test('kill -9 of each in turn: the other one answers, and the one that comes back takes its memory', async (t) => {
  const pair = await begin(t);
  const done = await rounds(pair, async (index) => {
    const { daemon } = pair.slots[index];
    process.kill(daemon.pid, 'SIGKILL');
    await ended(daemon);
    await pair.more(3);
    await pair.replace(index, [...SMALL, peerOf(pair.slots[index === 0 ? 1 : 0].daemon)]);
  });
  await check(t, pair, await pair.stop(), `${2 * done} kills`);
});
