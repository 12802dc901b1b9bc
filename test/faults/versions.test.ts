/**
 * Images and logs of other versions: a start always, with what can be read and a word on what cannot, and what cannot is left
 * for whoever goes back. `fixtures/` holds stores as earlier versions left them (test/support/version-fixture.ts).
 */

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { test } from 'tap';
import { encodeRecord, encodeSegmentHeader, RECORD_BODY, recordBytesMax } from '../../src/tsdb/log-format.ts';
import { LogKernel } from '../../src/tsdb/log-kernel.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { imageWith, recordsOf, recordWith, segmentOf } from '../support/other-version.ts';
import { encodeExportRequest } from '../support/otlp-encoder.ts';
import { temporaryFolder } from '../support/process.ts';
import { differenceOf, dump } from '../support/store-dump.ts';
import { readFixtures, writeFixture } from '../support/version-fixture.ts';
import { ownMetric, push, queryValue } from './process.ts';
import { bodyOf, Client, openSite, type Site, samplesOf, settle, T0 } from './site.ts';

const SERIES = [0, 1, 2, 3, 4];
const HOUR_MS = 3_600_000;

if (process.env.TIDEGAUGE_UPDATE_FIXTURES === '1') await writeFixture();

test('stores that earlier versions left come back, from the image and from the log alone', async (t) => {
  const fixtures = readFixtures();
  t.ok(fixtures.length > 0);
  for (const { name, disk, expected } of fixtures) {
    for (const hasImage of [true, false]) {
      const left = disk.copy();
      const images = [...left.names.keys()].filter((path) => path.endsWith('.image'));
      t.equal(images.length, 1);
      if (!hasImage) for (const image of images) left.names.delete(image);
      const site = await openSite({ disk: left });
      const { badImages, foreignFiles, damaged, unread, setAside } = site.storage.recovery;
      const how = badImages > 0 ? 'its image is passed over' : hasImage ? 'its image is read' : 'from its log';
      t.equal(differenceOf(new Map(expected), dump(site.head)), null, `${name}: ${how}`);
      // An image may be refused, and is left where it is; of the log everything is read.
      t.same([badImages, damaged, unread, setAside], [foreignFiles, 0, 0, 0]);
      for (const image of hasImage ? images : []) t.same(left.names.get(image)!.bytes, disk.names.get(image)!.bytes);
      site.head.verify();
      t.comment(`${name}: ${how}`);
    }
  }
});

test('a log of version 1, whose bodies are deflated, is read', async (t) => {
  const body = deflateRawSync(bodyOf(SERIES, T0, 1));
  const record = {
    kind: RECORD_BODY,
    protocol: 1,
    profile: 0,
    arrivalMs: T0,
    stamp: '',
    verdict: new Uint8Array(0),
    body,
  };
  const room = Buffer.alloc(recordBytesMax(record, true));
  encodeRecord(record, true, 1, new LogKernel(1), room, 0);
  const disk = new MemoryDisk();
  const bytes = segmentOf(1, Buffer.concat([encodeSegmentHeader(1, T0), recordWith(room, 0, 14, 1)]));
  disk.names.set('store/log/0000000001.log', { bytes, synced: bytes.length });
  const site = await openSite({ disk });
  t.equal(samplesOf(site).size, SERIES.length);
  t.equal(samplesOf(site).get(`2 ${T0}`), 3);
});

/** A store with two images and something in the log before, between and after them. */
async function origin(): Promise<{ readonly site: Site; readonly client: Client }> {
  const site = await openSite();
  const client = new Client();
  for (let i = 1; i <= 12; i++) {
    site.clock.advance(1000);
    await client.push(site, SERIES, T0 + i * 1000, i);
    if (i % 4 === 0 && i < 12) await site.storage.takeImage();
  }
  await settle(site);
  return { site, client };
}

const namesOf = (disk: MemoryDisk, end: string): string[] =>
  [...disk.names.keys()].filter((name) => name.endsWith(end)).sort();

function change(disk: MemoryDisk, name: string, made: (bytes: Buffer) => Buffer): Buffer {
  const inode = disk.names.get(name)!;
  inode.bytes = made(inode.bytes);
  return inode.bytes;
}

const OTHERS: Readonly<Record<string, (image: Buffer) => Buffer>> = {
  'a newer format': (image) => imageWith(image, { format: 9, what: { nobody: ['knows'] } }),
  'an older format': (image) => imageWith(image, { format: 1 }),
  'another layout of the memory': (image) => imageWith(image, { layout: 12345 }),
};

for (const [what, otherwise] of Object.entries(OTHERS)) {
  test(`images of ${what}: passed over, said, and left for whoever goes back`, async (t) => {
    const { site, client } = await origin();
    const disk = site.disk.copy();
    const images = namesOf(disk, '.image');
    t.equal(images.length, 2);
    const before = new Map(images.map((name) => [name, disk.names.get(name)!.bytes]));
    for (const name of images) change(disk, name, otherwise);
    const changed = new Map(images.map((name) => [name, Buffer.from(disk.names.get(name)!.bytes)]));
    const upgraded = await openSite({ disk, clock: site.clock });
    t.match(upgraded.storage.recovery, { badImages: 2, foreignFiles: 2, setAside: 0 });
    t.match(upgraded.logged.join('\n'), /an image of another version cannot be used; it is left where it is .*\.image/);
    t.equal(client.check(upgraded, new Map([...client.acknowledged].filter(([key]) => secondOf(key) > 4))), null);
    // It goes on, with images of its own, and starts again.
    let current = upgraded;
    for (let i = 21; i <= 26; i++) {
      await client.push(current, SERIES, T0 + i * 1000, i);
      t.equal(await current.storage.takeImage(), true);
      if (i === 24) current = await openSite({ disk, clock: site.clock });
    }
    t.equal(current.storage.recovery.badImages, 0, 'the newest image is its own');
    t.equal(namesOf(disk, '.image').length, 4, 'two generations of each');
    for (const [name, bytes] of changed) t.same(disk.names.get(name)?.bytes, bytes, `${name} is as it was`);

    // Back to the version before: now the others are foreign.
    const back = disk.copy();
    for (const name of namesOf(back, '.image')) {
      change(back, name, (bytes) => before.get(name) ?? otherwise(bytes));
    }
    const gone = await openSite({ disk: back, clock: site.clock });
    t.equal(gone.storage.recovery.badImages, 2);
    const kept = [...client.acknowledged].filter(([key]) => secondOf(key) <= 8 || secondOf(key) >= 26);
    t.equal(client.check(gone, new Map(kept)), null, 'its image, and what the log still has');

    // What the other version could not use any more goes.
    site.clock.advance(HOUR_MS + 1);
    current.storage.tick();
    await settle(current);
    t.equal(namesOf(disk, '.image').length, 2, 'until retention has passed');
    t.notOk(images.some((name) => disk.names.has(name)));
  });
}

const secondOf = (key: string): number => (Number(key.split(' ')[1]) - T0) / 1000;

test('a disk that is full takes the room of what another version left', async (t) => {
  const { site, client } = await origin();
  const disk = site.disk.copy();
  for (const name of namesOf(disk, '.image')) change(disk, name, OTHERS['a newer format']!);
  const other = await openSite({ disk, clock: site.clock });
  disk.fault = ({ kind, path }) => (kind === 'write' && path.endsWith('.part') ? 'ENOSPC' : null);
  t.equal(await other.storage.takeImage(), false);
  t.same(namesOf(disk, '.image'), []);
  disk.fault = () => null;
  t.equal(await other.storage.takeImage(), true);
  const logged = new Map([...client.acknowledged].filter(([key]) => secondOf(key) > 4));
  const again = await openSite({ disk: disk.copy(), clock: site.clock });
  t.equal(client.check(again, logged), null, 'nothing of our own went with it');
});

test('what is written beside images of another version comes after them, and an own image has the log behind it', async (t) => {
  const { site, client } = await origin();
  const disk = site.disk.copy();
  const [, newest] = namesOf(disk, '.image');
  for (const name of namesOf(disk, '.log')) disk.names.delete(name);
  const bytes = Buffer.from(disk.names.get(newest!)!.bytes);
  for (const name of namesOf(disk, '.image')) change(disk, name, OTHERS['a newer format']!);
  const other = await openSite({ disk, clock: site.clock });
  t.equal(samplesOf(other).size, 0);
  const later = new Client();
  await later.push(other, SERIES, T0 + 30_000, 5);
  await settle(other);
  const back = disk.copy();
  change(back, newest!, () => bytes);
  for (const [key, value] of later.sent) client.sent.set(key, value);
  const gone = await openSite({ disk: back, clock: site.clock });
  t.equal(client.check(gone, later.acknowledged), null, 'whoever goes back has what was logged meanwhile');
  await other.storage.takeImage();
  await later.push(other, SERIES, T0 + 31_000, 6);
  await other.storage.takeImage();
  await later.push(other, SERIES, T0 + 32_000, 7);
  await settle(other);
  const [, image] = namesOf(disk, '.image').filter((name) => name > newest!);
  disk.names.get(image!)!.bytes[40]! ^= 1;
  const again = await openSite({ disk: disk.copy(), clock: site.clock });
  t.equal(later.check(again), null, 'a damaged image costs nothing: the one before is our own');
});

for (const version of [0, 3, 900]) {
  test(`a segment of the log of version ${version}: passed over, said, and left`, async (t) => {
    const { site, client } = await origin();
    const disk = site.disk.copy();
    for (const name of namesOf(disk, '.image')) disk.names.delete(name);
    const logs = namesOf(disk, '.log');
    const last = logs.at(-1)!;
    const bytes = change(disk, last, (segment) => segmentOf(version, segment));
    const other = await openSite({ disk, clock: site.clock });
    t.match(other.storage.recovery, { foreignFiles: 1, damaged: 0, unread: 0, setAside: 0 });
    t.match(other.logged.join('\n'), /a segment of the log is of another format; it is passed over and left/);
    t.equal(
      client.check(other, new Map([...client.acknowledged].filter(([key]) => secondOf(key) <= 8 && secondOf(key) > 4))),
      null,
    );
    for (let i = 21; i <= 24; i++) {
      await client.push(other, SERIES, T0 + i * 1000, i);
      await other.storage.takeImage();
    }
    t.same(disk.names.get(last)?.bytes, bytes, 'four images later it is as it was');
    t.notOk(disk.names.has(logs[0]!), 'what no image needs is not');
    const again = await openSite({ disk, clock: site.clock });
    t.equal(again.storage.recovery.foreignFiles, 1, 'and is still known to be of another version');
    site.clock.advance(HOUR_MS + 1);
    again.storage.tick();
    await settle(again);
    t.notOk(disk.names.has(last), 'until retention has passed');
  });
}

test('records that another version understands: passed over, counted, and left with their segment', async (t) => {
  const { site, client } = await origin();
  const changes = { kind: [12, 7], protocol: [13, 99], encoding: [14, 9], form: [15, 1] } as const;
  for (const [what, [byte, value]] of Object.entries(changes)) {
    const disk = site.disk.copy();
    const last = namesOf(disk, '.log').at(-1)!;
    const bytes = change(disk, last, (segment) => recordWith(segment, recordsOf(segment).at(-1)!, byte, value));
    const other = await openSite({ disk, clock: site.clock });
    t.match(other.storage.recovery, { unread: 1, damaged: 0, setAside: 0, foreignFiles: 1 }, what);
    t.match(
      other.logged.join('\n'),
      /records of the log cannot be read as what they are; they are passed over .*"records":1/,
    );
    t.equal(client.check(other, new Map([...client.acknowledged].filter(([key]) => secondOf(key) < 12))), null, what);
    t.equal(samplesOf(other).size, 11 * SERIES.length);
    for (let i = 1; i <= 3; i++) await other.storage.takeImage();
    t.same(disk.names.get(last)?.bytes, bytes, what);
  }
});

test('settings that another version means something by are not guessed', async (t) => {
  for (const [profile, want] of [
    ['{"strategy":"NoTranslation"}', 'stored'],
    ['{}', 'stored'],
    ['{"strategy":"Shouting"}', 'unread'],
    ['{"strategy":"NoTranslation","dropEverySecond":true}', 'unread'],
    ['{"promoteResourceAttributes":"all"}', 'unread'],
    ['not JSON', 'unread'],
    ['[1]', 'unread'],
    ['null', 'unread'],
  ] as const) {
    const site = await openSite();
    const body = encodeExportRequest([
      { metrics: [{ name: 'm', kind: 'gauge', points: [{ time: T0 + 1000, value: 4 }] }] },
    ]);
    await site.storage.note(2, profile, body, false);
    const other = await openSite({ disk: site.disk.copy(), clock: site.clock });
    t.equal(other.storage.recovery.unread, want === 'unread' ? 1 : 0, profile);
    t.equal(dump(other.head).size, want === 'unread' ? 0 : 1, profile);
    t.equal(other.storage.recovery.setAside, 0, profile);
  }
});

test('an image with a section that another version wrote is left where it is', async (t) => {
  const site = await openSite();
  const client = new Client();
  await client.push(site, SERIES, T0 + 1000, 1);
  await site.storage.takeImage();
  await settle(site);
  const disk = site.disk.copy();
  const [image] = namesOf(disk, '.image');
  const sections = () => [
    {
      name: 'otlp-deltas',
      save: () => Buffer.alloc(0),
      load: () => {
        throw new Error('version 99');
      },
    },
  ];
  const other = await openSite({ disk, clock: site.clock, sections });
  t.match(other.storage.recovery, { badImages: 1, foreignFiles: 1 });
  t.ok(disk.names.has(image!));
  t.equal(client.check(other), null, 'the log has it all');
});

/** Changes a file of a stopped daemon. */
async function changeFile(path: string, made: (bytes: Buffer) => Buffer): Promise<Buffer> {
  const bytes = made(await readFile(path));
  await writeFile(path, bytes);
  return bytes;
}

test('the daemon on a folder of another version: up, warned, measured, and back again', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const flags = ['--storage.memory-limit=512MiB', `--storage.path=${folder.path}/store`];
  const images = join(folder.path, 'store', 'image');
  const run = async (work: (daemon: Daemon) => Promise<void>): Promise<void> => {
    const daemon = await startDaemon(flags);
    try {
      await work(daemon);
    } finally {
      t.equal(await daemon.stop(), 0);
    }
  };
  const send = async ({ listen }: Daemon, value: number): Promise<void> => {
    t.equal(await push(listen.web, [{ labels: { __name__: 'kept' }, value }]), 204);
  };
  await run((daemon) => send(daemon, 1));
  const [image] = await readdir(images);
  const path = join(images, image!);
  const today = await readFile(path);
  const foreign = await changeFile(path, (bytes) => imageWith(bytes, { format: 9 }));
  for (const log of await readdir(join(folder.path, 'store', 'log'))) {
    await changeFile(join(folder.path, 'store', 'log', log), (bytes) => segmentOf(9, bytes));
  }
  await run(async (daemon) => {
    const { web } = daemon.listen;
    t.equal((await fetch(`http://${web}/-/ready`)).status, 200);
    t.equal(await ownMetric(web, 'tidegauge_recovery_bad_images'), 1);
    t.equal(await ownMetric(web, 'tidegauge_recovery_foreign_files'), 2);
    const warned = daemon.logs().filter(({ event, level }) => event === 'recovery' && level === 'warn');
    t.equal(warned.length, 2, daemon.output());
    t.equal(await queryValue(web, 'kept'), null, 'never a value that was guessed');
    await send(daemon, 2);
    t.equal(await queryValue(web, 'count_over_time(kept[1h])'), 1);
  });
  t.same(await readFile(path), foreign, 'left as it was');
  await writeFile(path, today);
  for (const other of (await readdir(images)).filter((name) => name !== image)) {
    await changeFile(join(images, other), (bytes) => imageWith(bytes, { format: 9 }));
  }
  await run(async (daemon) => {
    t.equal(await queryValue(daemon.listen.web, 'count_over_time(kept[1h])'), 2, 'its image and the log after it');
  });
});
