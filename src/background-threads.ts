/**
 * V8's own threads, which mark garbage and compile, yield to the event loop where they share its core: in a container with
 * one core a full collection took half of it for 200 ms otherwise, and whoever asked waited. With more cores they have one of
 * their own, and a low priority would only leave code uncompiled for longer. Linux only; elsewhere, and where the threads cannot
 * be told apart, nothing changes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, setPriority } from 'node:os';

/** A tenth of the core while the loop wants all of it. */
const NICENESS = 10;
/** Of Node 20, which gives its threads no names: after the main thread come its clock and this many workers. */
const UNNAMED_WORKERS = 4;

/** To be called before any worker thread is started: theirs have threads of V8 of the same names. */
export function lowerBackgroundThreads(): void {
  if (availableParallelism() > 1) return;
  for (const thread of workersOfV8()) {
    try {
      setPriority(thread, NICENESS);
    } catch {
      // It ended meanwhile, or a sandbox forbids it.
    }
  }
}

/** Thread ids, of which Linux lets each have its own priority. */
function workersOfV8(): readonly number[] {
  const threads = threadsInOrder();
  const names = threads.map(nameOf);
  if (names.includes('V8Worker')) return threads.filter((_, i) => names[i] === 'V8Worker');
  const isDefault = ![process.env.NODE_OPTIONS ?? '', ...process.execArgv].some((text) => text.includes('pool-size'));
  const areUnnamed = names.every((name) => name === names[0]);
  return isDefault && areUnnamed ? threads.slice(2, 2 + UNNAMED_WORKERS) : [];
}

/** In the order in which they began: the main thread, V8's, and those that libuv starts when somebody reads a file. */
function threadsInOrder(): readonly number[] {
  if (process.platform !== 'linux') return [];
  try {
    const threads = readdirSync('/proc/self/task').map(Number);
    return threads.sort((a, b) => a - b);
  } catch {
    return [];
  }
}

function nameOf(thread: number): string {
  try {
    return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}
