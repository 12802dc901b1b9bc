/**
 * Short lists of 32-bit words: ids and addresses of a small question. V8 takes a microsecond for an array that is not
 * tiny, and its collector as much again; so short ones are cut from a common piece of memory.
 */

/** Above this, a list has memory of its own. */
export const SHORT_MAX = 1024;
const PIECE_WORDS = 16_384;
/** Below this, a loop copies faster than a call of `set` does. */
const LOOP_MAX = 64;

let piece = new Uint32Array(0);
let used = 0;

/** A list of `count` words that nobody else has; what they are is not said. */
export function newWords(count: number): Uint32Array {
  if (count > SHORT_MAX) return new Uint32Array(count);
  if (used + count > piece.length) {
    piece = new Uint32Array(PIECE_WORDS);
    used = 0;
  }
  used += count;
  return piece.subarray(used - count, used);
}

export function copyWords(from: Uint32Array, at: number, count: number): Uint32Array {
  if (count > SHORT_MAX) return from.slice(at, at + count);
  const words = newWords(count);
  if (count > LOOP_MAX) words.set(from.subarray(at, at + count));
  else for (let i = 0; i < count; i++) words[i] = from[at + i]!;
  return words;
}

export function setWords(into: Uint32Array, at: number, words: Uint32Array): void {
  if (words.length > LOOP_MAX) into.set(words, at);
  else for (let i = 0; i < words.length; i++) into[at + i] = words[i]!;
}
