/** One daemon a storage path: by the file alone, and by two daemons. */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'tap';
import { FolderLocked, lockFolder } from '../src/folder-lock.ts';
import { startDaemon } from './support/daemon.ts';
import { temporaryFolder } from './support/process.ts';

const NOBODY = 2 ** 22 + 1;

test('a folder is locked by who runs, and by nobody else', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const path = `${folder.path}/lock`;
  const first = await lockFolder(folder.path);
  const own = await readFile(path, 'utf8');
  await t.rejects(
    lockFolder(folder.path),
    new FolderLocked(`process ${process.pid} uses it (${path}); want one daemon a folder`),
  );
  t.equal(await readFile(path, 'utf8'), own, 'and goes on being');
  await first.release();
  t.equal(existsSync(path), false, 'a lock that is released is gone');
  const stale = async (what: string, text: string): Promise<void> => {
    await writeFile(path, text);
    const lock = await lockFolder(folder.path);
    t.equal(await readFile(path, 'utf8'), own, what);
    await lock.release();
  };
  const holder = JSON.parse(own) as { pid: number; startTicks: string; bootId: string };
  await stale('a process that is gone', JSON.stringify({ ...holder, pid: NOBODY }));
  await stale('another process of the same number', JSON.stringify({ ...holder, startTicks: '1' }));
  await stale('one of another boot', JSON.stringify({ ...holder, bootId: 'another' }));
  await stale('nothing that can be read', '{');
  await writeFile(path, JSON.stringify({ ...holder, pid: NOBODY }));
  const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder.path)));
  t.equal(
    tries.filter(({ status }) => status === 'fulfilled').length,
    1,
    'of many at a time one takes a stale lock over',
  );
});

test("a second daemon on the same path ends and says why; a killed one is in nobody's way", async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const flags = [`--storage.path=${folder.path}/store`, '--storage.memory-limit=512MiB'];
  const daemon = await startDaemon(flags);
  await t.rejects(startDaemon(flags), /cannot open .*: process \d+ uses it/);
  t.equal(daemon.ended(), false);
  process.kill(daemon.pid, 'SIGKILL');
  await daemon.stop();
  const next = await startDaemon(flags);
  t.equal(await next.stop(), 0);
  t.equal(existsSync(`${folder.path}/store/lock`), false);
});
