/**
 * The log and the images under a disk that forgets, fails and lies. Seeds are printed; TIDEGAUGE_LONG=1 runs many more.
 *
 * What is looked for: something acknowledged that is not there, something there that nobody sent, and a start that fails.
 */
import { test } from 'tap';
import { Replayer } from '../../src/ingest/replay.ts';
import { Writer } from '../../src/ingest/write.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { TestClock } from '../support/clock.ts';
import type { MemoryDisk } from '../support/memory-disk.ts';
import { encodeExportRequest } from '../support/otlp-encoder.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { dump } from '../support/store-dump.ts';
import { bodyOf, Client, openSite, randomOf, type Site, samplesOf, settle, T0 } from './site.ts';

const isLong = process.env.TIDEGAUGE_LONG === '1';
/** Long forms go on until they are done, or this is over. */
const LONG_MS_MAX = 180_000;
const SERIES = Array.from({ length: 40 }, (_, i) => i);

/** Some requests, with time going on between them; an image now and then. */
async function work(site: Site, client: Client, random: (below: number) => number, requests: number): Promise<void> {
  for (let i = 0; i < requests; i++) {
    site.clock.advance(100 + random(2000));
    site.storage.tick();
    const from = random(SERIES.length);
    const series = SERIES.slice(from, from + 1 + random(20));
    const pushed = client.push(site, series, site.clock.nowMs() - random(3), random(1000));
    if (random(12) === 0) void site.storage.takeImage();
    if (random(3) > 0) await pushed;
  }
  await settle(site);
}

test('kill -9 at any moment: all that was acknowledged is there', async (t) => {
  for (let seed = 1; seed <= (isLong ? 300 : 12); seed++) {
    const random = randomOf(seed);
    let site = await openSite();
    const client = new Client();
    for (let round = 0; round < 4; round++) {
      let left: MemoryDisk | null = null;
      let acknowledged: ReadonlyMap<string, number> = new Map();
      const at = site.disk.operations + 1 + random(60);
      // What has not reached the disk at that moment never does; what is acknowledged later does not count.
      site.disk.fault = ({ index }) => {
        if (index >= at && left === null) {
          acknowledged = new Map(client.acknowledged);
          left = site.disk.copy();
        }
        return null;
      };
      await work(site, client, random, 10 + random(30));
      acknowledged = left === null ? new Map(client.acknowledged) : acknowledged;
      site = await openSite({ disk: left ?? site.disk.copy(), clock: site.clock });
      const fault = client.check(site, acknowledged);
      t.equal(fault, null, `seed ${seed}, round ${round}`);
      if (fault !== null) return;
      client.acknowledged.clear();
      for (const [key, value] of samplesOf(site)) client.acknowledged.set(key, value);
    }
  }
});

test('a power loss takes nothing that was acknowledged with fsync always, and at most a second with 1s', async (t) => {
  const endMs = performance.now() + LONG_MS_MAX;
  let seeds = 0;
  for (let seed = 1; seed <= (isLong ? 10_000 : 20) && performance.now() < endMs; seed++, seeds++) {
    const random = randomOf(seed);
    const syncMs = seed % 2 === 0 ? 0 : 1000;
    const site = await openSite({ syncMs });
    const client = new Client();
    await work(site, client, random, 10 + random(40));
    const lastMs = site.clock.nowMs();
    const disk = site.disk.powerLoss(() => random(1001) / 1000);
    const other = await openSite({ disk, clock: site.clock });
    const old = [...client.acknowledged].filter(([key]) => Number(key.split(' ')[1]) <= lastMs - 4500);
    // Requests come at most 2.1 s apart and time stands still between them: a sync is due at the next tick but one.
    const wanted = syncMs === 0 ? client.acknowledged : new Map(old);
    const fault = client.check(other, wanted);
    if (fault !== null || !isLong) t.equal(fault, null, `seed ${seed}, sync ${syncMs}`);
  }
  t.comment(`${seeds} seeds of a disk that forgets`);
});

test('a disk that fails: served on or refused, said, healed, and nothing lost', async (t) => {
  const kinds = ['ENOSPC', 'EIO', 'EROFS'];
  for (let index = 0; index < (isLong ? 400 : 24); index++) {
    const random = randomOf(index + 1);
    const onFailure = index % 2 === 0 ? 'accept' : 'refuse';
    const site = await openSite({ onFailure });
    const client = new Client();
    const from = site.disk.operations + 2 + (isLong ? index >> 1 : index * 3);
    const until = from + random(30);
    const code = kinds[index % 3]!;
    const failed = new Set<string>();
    site.disk.fault = ({ index: at, kind }) => {
      if (at < from || at > until || kind === 'read') return null;
      failed.add(kind);
      return code;
    };
    await work(site, client, random, 60);
    site.disk.fault = () => null;
    for (let i = 0; i < 80 && (i < 40 || site.storage.isDegraded); i++) {
      site.clock.advance(1000);
      site.storage.tick();
      await settle(site);
    }
    const what = `${onFailure} ${code} at ${from}..${until} (${[...failed].join()})`;
    t.equal(site.storage.isDegraded, false, `${what}: well again within 80 s`);
    t.equal(client.check(site), null, `${what}: in memory`);
    const other = await openSite({ disk: site.disk.copy(), clock: site.clock });
    t.equal(client.check(other), null, `${what}: after a kill`);
  }
});

test('while the disk fails the policy holds, and degraded says so', async (t) => {
  for (const onFailure of ['accept', 'refuse'] as const) {
    const site = await openSite({ onFailure });
    const client = new Client();
    t.equal(await client.push(site, [1], T0 + 1, 1), true);
    t.equal(site.storage.isDegraded, false);
    site.disk.fault = ({ kind }) => (kind === 'write' ? 'ENOSPC' : null);
    t.equal(await client.push(site, [1], T0 + 2, 1), onFailure === 'accept', onFailure);
    t.equal(site.storage.isDegraded, true);
    t.equal(await client.push(site, [1], T0 + 3, 1), onFailure === 'accept', 'the next one too');
    if (onFailure === 'refuse') {
      t.throws(() => site.writer.remoteWrite(bodyOf([1], T0 + 4, 1)), { code: 'overloaded' }, 'before it is applied');
    }
  }
});

test('a disk that does not answer is not waited for', async (t) => {
  const site = await openSite();
  const client = new Client();
  let release: () => void = () => undefined;
  const wall = new Promise<void>((resolve) => {
    release = resolve;
  });
  site.disk.beforeWrite = () => wall;
  const first = client.push(site, [1], T0 + 1, 1);
  await new Promise(setImmediate);
  site.clock.advance(5001);
  site.storage.tick();
  t.equal(await first, true);
  t.equal(site.storage.isDegraded, true);
  t.equal(await client.push(site, [2], T0 + 2, 1), true);
  release();
  await settle(site);
  t.equal(site.storage.isDegraded, true, 'what came meanwhile is in no file');
  for (let i = 0; i < 40; i++) {
    site.clock.advance(1000);
    site.storage.tick();
    await settle(site);
  }
  t.equal(site.storage.isDegraded, false);
  t.equal(client.check(await openSite({ disk: site.disk.copy(), clock: site.clock })), null);
});

test('what waits for the log is bounded: above it bodies are refused before they are applied', async (t) => {
  const site = await openSite();
  let release: () => void = () => undefined;
  const wall = new Promise<void>((resolve) => {
    release = resolve;
  });
  site.disk.beforeWrite = () => wall;
  const outcome = site.writer.remoteWrite(bodyOf(SERIES, T0 + 1, 1));
  const { pendingBytes } = site.storage.log.stats;
  t.ok(pendingBytes > 0);
  t.doesNotThrow(() => site.storage.admit(LIMITS.logPendingBytesMax - pendingBytes));
  t.throws(() => site.storage.admit(LIMITS.logPendingBytesMax - pendingBytes + 1), { code: 'overloaded' });
  release();
  await outcome.logged;
  t.equal(site.storage.log.stats.pendingBytes, 0);
});

/** Damages one file somewhere; what was done. */
function damage(disk: MemoryDisk, name: string, random: (below: number) => number): string {
  const inode = disk.names.get(name)!;
  const length = inode.bytes.length;
  const at = random(length);
  const kind = random(5);
  if (kind === 0) inode.bytes = inode.bytes.subarray(0, at);
  else if (kind === 1) inode.bytes.fill(0, at, Math.min(length, at + 1 + random(600)));
  else if (kind === 2) inode.bytes.copy(inode.bytes, at, random(length), length);
  else for (let i = kind === 3 ? 0 : random(20); i >= 0; i--) inode.bytes[random(length)]! ^= 1 << random(8);
  return `${name} ${['cut', 'zeroed', 'misdirected', 'bit', 'bits'][kind]} at ${at}`;
}

test('damaged logs and images: a start always, never a value that nobody sent, and only what was hit is lost', async (t) => {
  const origin = await openSite();
  const client = new Client();
  const random = randomOf(7);
  for (let i = 0; i < 60; i++) {
    origin.clock.advance(2000);
    await client.push(origin, SERIES, origin.clock.nowMs(), random(1000));
    if (i === 15 || i === 35) await origin.storage.takeImage();
  }
  await settle(origin);
  const names = [...origin.disk.names.keys()];
  t.equal(names.filter((name) => name.endsWith('.image')).length, 2);
  let lost = 0;
  const rounds = isLong ? 10_000 : 150;
  const endMs = performance.now() + LONG_MS_MAX;
  let done = 0;
  for (let round = 0; round < rounds && performance.now() < endMs; round++, done++) {
    const disk = origin.disk.copy();
    const what = damage(disk, names[random(names.length)]!, random);
    try {
      const site = await openSite({ disk, clock: origin.clock });
      const isImage = what.includes('.image');
      const fault = client.check(site, isImage ? client.acknowledged : new Map());
      if (fault !== null) return void t.fail(`round ${round}, ${what}: ${fault}`);
      // A record holds 40 samples; what a cut or a misdirected write hits is many, but a bit hits one.
      const missing = client.acknowledged.size - samplesOf(site).size;
      if (what.includes(' bit at') && missing > 40) return void t.fail(`round ${round}, ${what}: ${missing} lost`);
      lost += missing;
    } catch (error) {
      return void t.fail(`round ${round}, ${what}: ${error instanceof Error ? error.stack : error}`);
    }
  }
  t.pass(`${done} rounds, ${lost} samples lost of ${client.acknowledged.size} each`);
  t.comment(`${done} damaged stores, ${lost} samples lost of ${client.acknowledged.size} each`);
  // A bit of a label: nothing but the checksum can tell.
  for (const name of names.filter((one) => one.endsWith('.image'))) {
    const disk = origin.disk.copy();
    const { bytes } = disk.names.get(name)!;
    const at = bytes.indexOf('__name__');
    t.ok(at > 0, `${name} holds labels as they are`);
    bytes[at + 3]! ^= 1;
    t.equal(client.check(await openSite({ disk, clock: origin.clock }), client.acknowledged), null, name);
  }
  const ok = await openSite({ disk: origin.disk.copy(), clock: origin.clock });
  t.equal(samplesOf(ok).size, client.acknowledged.size);
});

test('a replay judges nothing again', async (t) => {
  const site = await openSite({ head: { seriesMax: 3 } });
  const { clock, writer } = site;
  const wait = async (outcome: { logged?: Promise<void>; samplesRefused: number }): Promise<number> => {
    await outcome.logged;
    return outcome.samplesRefused;
  };
  t.equal(await wait(writer.remoteWrite(bodyOf([1, 2], T0 + 60_000, 1))), 0);
  // Too old for its series, too old for retention, too far ahead, in conflict, over the limit: each beside one that is kept.
  t.equal(await wait(writer.remoteWrite(bodyOf([1], T0 - 300_000, 5))), 1, 'nothing kept: not even logged');
  const mixed = encodeWriteRequest([
    {
      labels: { __name__: 'm', s: '1' },
      samples: [
        { timestampMs: T0 + 61_000, value: 1 },
        { timestampMs: T0 - 290_000, value: 2 },
      ],
    },
    {
      labels: { __name__: 'm', s: '2' },
      samples: [
        { timestampMs: T0 - 3_700_000, value: 3 },
        { timestampMs: T0 + 599_000, value: 4 },
      ],
    },
    {
      labels: { __name__: 'm', s: '3' },
      samples: [
        { timestampMs: T0 + 700_000, value: 5 },
        { timestampMs: T0 + 1, value: 6 },
      ],
    },
    { labels: { __name__: 'm', s: '4' }, samples: [{ timestampMs: T0 + 1, value: 7 }] },
    {
      labels: { __name__: 'm', s: '1' },
      samples: [
        { timestampMs: T0 + 61_000, value: 8 },
        { timestampMs: T0 + 62_000, value: 9 },
      ],
    },
  ]);
  t.equal(await wait(writer.remoteWrite(mixed)), 5);
  const before = dump(site.head);
  clock.advance(500_000);
  for (const head of [{}, { seriesMax: 3 }]) {
    const other = await openSite({ disk: site.disk.copy(), clock, head: { outOfOrderMsMax: 600_000_000, ...head } });
    t.strictSame([...dump(other.head)].sort(), [...before].sort());
    other.head.verify();
  }
});

test('what was decided of samples that come by labels is kept too, under the settings of then', async (t) => {
  const site = await openSite({ head: { seriesMax: 2 } });
  const gauge = (name: string, ...points: readonly (readonly [number, number])[]) => ({
    name,
    kind: 'gauge' as const,
    points: points.map(([time, value]) => ({ time, value })),
  });
  const body = encodeExportRequest([
    {
      attributes: { 'service.name': 'shop' },
      metrics: [gauge('a', [T0, 1], [T0 + 700_000, 2]), gauge('b', [T0, 3]), gauge('c', [T0 + 1000, 4])],
    },
  ]);
  const outcome = site.writer.otlp(body);
  await outcome.logged;
  t.ok(outcome.samplesRefused > 0, outcome.message);
  const other = await openSite({
    disk: site.disk.copy(),
    clock: new TestClock(T0 + 500_000),
    head: { seriesMax: 500 },
  });
  t.strictSame([...dump(other.head)].sort(), [...dump(site.head)].sort());
});

test('a record that traps is set aside, and the rest comes back', async (t) => {
  const site = await openSite();
  const client = new Client();
  for (let i = 1; i <= 9; i++) await client.push(site, SERIES, T0 + i * 1000, i);
  await settle(site);
  let seen = 0;
  const poison = bodyOf(SERIES, T0 + 5000, 5);
  const replayer = new Replayer(site.clock);
  const other = await openSite({
    disk: site.disk.copy(),
    clock: site.clock,
    replay: (head, logged) => {
      if (Buffer.compare(logged.body, poison) !== 0) return replayer.replay(head, logged);
      seen++;
      throw new Error('unreachable');
    },
  });
  t.equal(seen, 1);
  t.equal(other.storage.recovery.setAside, 1);
  for (const i of SERIES) client.acknowledged.delete(`${i} ${T0 + 5000}`);
  t.equal(client.check(other), null);
  t.equal(samplesOf(other).size, 8 * SERIES.length);
  t.ok([...other.disk.names.keys()].some((name) => name.startsWith('store/aside/')));
});

test('a kernel that traps on a body ends the process, and the body is in no log', async (t) => {
  const site = await openSite();
  const trap = Object.assign(new Error('unreachable'), { name: 'RuntimeError' });
  const head = Object.assign(Object.create(site.head), {
    writeRemoteWrite: () => {
      throw trap;
    },
  }) as typeof site.head;
  const told: Error[] = [];
  const { clock, storage } = site;
  const registry = new Registry();
  const writer = new Writer({ head, clock, registry, journal: storage, onTrap: (error) => told.push(error) });
  t.throws(() => writer.remoteWrite(bodyOf(SERIES, T0 + 1, 1)), trap);
  t.strictSame(told, [trap]);
  t.equal(storage.log.stats.pendingBytes, 0);
});

test('another memory limit takes the image as it is, and holds', async (t) => {
  const site = await openSite();
  const client = new Client();
  for (let i = 1; i <= 20; i++) await client.push(site, SERIES, T0 + i * 1000, i);
  await site.storage.takeImage();
  await client.push(site, SERIES, T0 + 30_000, 7);
  for (const head of [
    { memoryBytes: 20 * 2 ** 20 },
    { memoryBytes: 64 * 2 ** 20, seriesMax: 5000 },
    { seriesMax: 100 },
  ]) {
    const other = await openSite({ disk: site.disk.copy(), clock: site.clock, head });
    t.equal(client.check(other), null, JSON.stringify(head));
    t.equal(other.storage.recovery.badImages, 0);
  }
});

test('two generations of images stay, and the log from the older one on', async (t) => {
  const site = await openSite();
  const client = new Client();
  for (let i = 1; i <= 5; i++) {
    await client.push(site, SERIES, T0 + i * 1000, i);
    t.equal(await site.storage.takeImage(), true);
  }
  await settle(site);
  const names = [...site.disk.names.keys()];
  const images = names.filter((name) => name.endsWith('.image')).sort();
  t.equal(images.length, 2);
  t.ok(names.filter((name) => name.endsWith('.log')).length <= 3, names.join());
  site.disk.names.get(images[1]!)!.bytes[1000]! ^= 1;
  const other = await openSite({ disk: site.disk.copy(), clock: site.clock });
  t.equal(other.storage.recovery.badImages, 1);
  t.equal(client.check(other), null);
});

test('what retention removed leaves the log as it is: after it, a replay has the same store', async (t) => {
  for (let seed = 1; seed <= (isLong ? 200 : 10); seed++) {
    const random = randomOf(seed);
    const site = await openSite();
    const client = new Client();
    for (let i = 0; i < 120; i++) {
      site.clock.advance(random(6) === 0 ? 600_000 : 30_000);
      // Some series fall silent for longer than samples are kept, and come back.
      const from = (Math.floor(i / 30) % 2) * 20 + random(10);
      const series = SERIES.slice(from, from + 1 + random(10));
      await client.push(site, series, site.clock.nowMs() - random(400_000), random(1000));
      site.storage.tick();
      if (random(4) === 0) site.head.enforceRetention();
      if (random(40) === 0) await site.storage.takeImage();
    }
    await settle(site);
    t.ok(samplesOf(site).size < client.acknowledged.size, `seed ${seed}: something is gone`);
    const other = await openSite({ disk: site.disk.copy(), clock: site.clock });
    for (const { head } of [site, other]) {
      head.enforceRetention();
      head.verify();
    }
    t.strictSame(dump(other.head), dump(site.head), `seed ${seed}`);
  }
});
