/**
 * One daemon a folder: two that write to the same log and images would each remove what the other needs. Node has no
 * flock, so the lock is a file that says whose it is, and Linux says whether that process is still there. Processes that do
 * not see each other (of other containers or machines, on a volume that they share) are not kept apart by it.
 *
 *     <folder>/lock    { "pid": 12, "startTicks": "4711", "bootId": "…" }
 *
 * A process is known by its number and when it began, in the ticks of a boot: a number alone is given out again.
 */
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';

interface Holder {
  readonly pid: number;
  readonly startTicks: string;
  readonly bootId: string;
}

export interface FolderLock {
  release(): Promise<void>;
}

export class FolderLocked extends Error {}

/** Throws FolderLocked if a process that runs has the folder, or whatever the disk throws. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const path = `${folder}/lock`;
  const own = JSON.stringify(await holderOf(process.pid));
  const mine = `${path}.${process.pid}`;
  await writeFile(mine, own);
  try {
    // A link is there with all that it says, or not at all.
    while (!(await isLinked(mine, path))) await removeStale(path, `${mine}.stale`);
  } finally {
    await rm(mine, { force: true });
  }
  return {
    async release() {
      if ((await readOrEmpty(path)) === own) await rm(path, { force: true });
    },
  };
}

async function isLinked(from: string, path: string): Promise<boolean> {
  try {
    await link(from, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}

/** Removes the lock of a process that is gone; throws if it is not. */
async function removeStale(path: string, aside: string): Promise<void> {
  const found = await readOrEmpty(path);
  const holder = parse(found);
  if (holder !== null && (await runs(holder))) throw lockedBy(path, holder);
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  // Somebody else may have been quicker, and this is their lock then.
  const taken = parse(await readOrEmpty(aside));
  if (taken !== null && (await runs(taken))) {
    await isLinked(aside, path);
    await rm(aside, { force: true });
    throw lockedBy(path, taken);
  }
  await rm(aside, { force: true });
}

function lockedBy(path: string, { pid }: Holder): FolderLocked {
  return new FolderLocked(`process ${pid} uses it (${path}); want one daemon a folder`);
}

/** A process as it is known here, or as far as this system tells. */
async function holderOf(pid: number): Promise<Holder> {
  const bootId = (await readOrEmpty('/proc/sys/kernel/random/boot_id')).trim();
  return { pid, startTicks: await startTicksOf(pid), bootId };
}

async function runs(holder: Holder): Promise<boolean> {
  const now = await holderOf(holder.pid);
  if (now.bootId !== '') return now.bootId === holder.bootId && now.startTicks === holder.startTicks;
  try {
    process.kill(holder.pid, 0);
    return holder.pid !== process.pid;
  } catch {
    return false;
  }
}

/** Field 22 of its stat; '' if there is no such process, or it is dead and only not yet waited for. */
async function startTicksOf(pid: number): Promise<string> {
  const stat = await readOrEmpty(`/proc/${pid}/stat`);
  // The name stands in brackets and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? '' : (fields[19] ?? '');
}

function parse(text: string): Holder | null {
  try {
    const { pid, startTicks, bootId } = JSON.parse(text) as Partial<Holder>;
    if (!Number.isInteger(pid) || typeof startTicks !== 'string' || typeof bootId !== 'string') return null;
    return { pid: pid!, startTicks, bootId };
  } catch {
    return null;
  }
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
