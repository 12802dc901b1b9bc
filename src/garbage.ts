/**
 * Garbage of V8, collected when it is in the way: V8 lets its heap grow several times over before it looks, as if the
 * machine's memory were its own, and knows nothing of `--storage.memory-limit`.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { GarbageCollector } from './tsdb/pressure.ts';

export class Garbage implements GarbageCollector {
  #collect: (() => void) | null = null;
  #leftBytes = 0;

  /** Bytes on the heap and beside it that came since the last call of {@link collect}; some of them are in use. */
  grownBytes(): number {
    return heapBytes() - this.#leftBytes;
  }

  /** A full collection: some milliseconds for each ten megabytes that are in use. */
  collect(): void {
    this.#collect ??= exposed();
    this.#collect();
    this.#leftBytes = heapBytes();
  }
}

function heapBytes(): number {
  const { used_heap_size: used, external_memory: external } = getHeapStatistics();
  return used + external;
}

/** V8 shows its collector to contexts that are made while the flag is set. */
function exposed(): () => void {
  setFlagsFromString('--expose-gc');
  try {
    return runInNewContext('gc') as () => void;
  } finally {
    setFlagsFromString('--no-expose-gc');
  }
}
