/**
 * Id lists: memory for the ids of large selections, used again. A question about a hundred thousand series would leave
 * most of a megabyte outside of V8's heap each time, which sets its marking off every few dozen questions.
 */
import { LIMITS } from '../../model/limits.ts';

/** Words of the smallest list; below, ids are cut from a common piece (words.ts). */
const WORDS_MIN = 16_384;
/** Lists that wait for the next selection. */
const FREE_MAX = 4;

export class IdLists {
  #free: Uint32Array[] = [];
  /** Lists that somebody has. Who never gives one back leaves it to the collector. */
  readonly #lent = new WeakSet<object>();

  /** A list of at least so many words, which may be anything. */
  take(wordsMin: number): Uint32Array {
    const at = this.#free.findIndex((list) => list.length >= wordsMin);
    const list = at < 0 ? new Uint32Array(sizeFor(wordsMin)) : this.#free.splice(at, 1)[0]!;
    this.#lent.add(list.buffer);
    return list;
  }

  /** Takes a list back, or part of one; nobody may look at it any more. Words from elsewhere are nothing to it. */
  give(words: Uint32Array): void {
    if (!this.#lent.delete(words.buffer)) return;
    const list = new Uint32Array(words.buffer);
    this.#free.push(list);
    this.#free.sort((a, b) => a.length - b.length);
    const sum = this.#free.reduce((all, { length }) => all + length, 0);
    if (this.#free.length > FREE_MAX || sum > LIMITS.seriesSetIdsMax) this.#free.pop();
  }
}

function sizeFor(words: number): number {
  let size = WORDS_MIN;
  while (size < words) size *= 2;
  return size;
}
