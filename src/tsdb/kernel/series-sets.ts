/**
 * Series sets: large lists of ids that were selected lately, so that who works out something about the labels of a
 * hundred thousand series finds it again when the same series are selected next. A list is known by its ids, whatever the
 * matchers and the scope that led to it.
 */
import { LIMITS } from '../../model/limits.ts';
import type { Kernel } from './kernel.ts';
import { SB_SERIES_REMOVED } from './layout.ts';

/** Below this, what is worked out is worked out faster than a list is compared. */
const IDS_MIN = 4096;

interface Known {
  readonly ids: Uint32Array;
  readonly identity: object;
}

export class SeriesSets {
  readonly #kernel: Kernel;
  /** The last used one last. */
  #known: Known[] = [];
  #ids = 0;
  #removed = -1;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * The same object for the same ids, as long as no series is removed: an id keeps its labels until then. Null for a list
   * that is not remembered. The ids must be those of an open selection.
   */
  identityOf(ids: Uint32Array): object | null {
    if (ids.length < IDS_MIN || ids.length > LIMITS.seriesSetIdsMax) return null;
    const removed = this.#kernel.f64[SB_SERIES_REMOVED >>> 3]!;
    if (removed !== this.#removed) {
      this.#known = [];
      this.#ids = 0;
      this.#removed = removed;
    }
    const at = this.#known.findIndex((known) => isEqual(known.ids, ids));
    const known = at < 0 ? { ids: ids.slice(), identity: {} } : this.#known.splice(at, 1)[0]!;
    if (at < 0) this.#ids += ids.length;
    this.#known.push(known);
    while (this.#ids > LIMITS.seriesSetIdsMax) this.#ids -= this.#known.shift()!.ids.length;
    return known.identity;
  }
}

function isEqual(a: Uint32Array, b: Uint32Array): boolean {
  // Lists ascend, so most that differ do so in their ends.
  if (a.length !== b.length || a[0] !== b[0] || a[a.length - 1] !== b[b.length - 1]) return false;
  return bytesOf(a).equals(bytesOf(b));
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}
