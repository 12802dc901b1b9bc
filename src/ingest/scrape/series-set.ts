/**
 * The series that a target had at its last scrape, as ids of the store and nothing else: what was there and is there no more
 * is found by comparing two arrays of numbers.
 */
import type { SeriesList } from '../../tsdb/kernel-head.ts';

export const NO_SERIES: SeriesList = { refs: new Uint32Array(0), generations: new Uint32Array(0) };

export interface SeriesChange {
  /** Series of the list before that are not in the list now. */
  readonly gone: SeriesList;
  /** How many are in the list now that were not in the one before. */
  readonly added: number;
}

/** One list of several. */
export function joinSeries(parts: readonly SeriesList[]): SeriesList {
  if (parts.length === 1) return parts[0]!;
  const length = parts.reduce((sum, { refs }) => sum + refs.length, 0);
  const joined = { refs: new Uint32Array(length), generations: new Uint32Array(length) };
  let at = 0;
  for (const { refs, generations } of parts) {
    joined.refs.set(refs, at);
    joined.generations.set(generations, at);
    at += refs.length;
  }
  return joined;
}

/** Compares two lists. A target repeats its order, so what is equal at the same place needs no search. */
export function compareSeries(before: SeriesList, now: SeriesList): SeriesChange {
  let same = 0;
  while (same < before.refs.length && same < now.refs.length && isEqual(before, same, now, same)) same++;
  if (same === before.refs.length && same === now.refs.length) return { gone: NO_SERIES, added: 0 };
  const [sortedBefore, sortedNow] = [tail(before, same), tail(now, same)];
  // What comes twice in a scrape may have its other place in the common beginning.
  const known = tail(before, 0);
  return {
    gone: pick(sortedBefore, notIn(sortedBefore, tail(now, 0))),
    added: notIn(sortedNow, known).length,
  };
}

/** The list from a place on, ascending by ref, each once. */
function tail({ refs, generations }: SeriesList, from: number): SeriesList {
  // A ref has 28 bits, and its generation tells no two of one list apart: 53 bits hold ref and place.
  const keys = new Float64Array(refs.length - from);
  for (let i = from; i < refs.length; i++) keys[i - from] = refs[i]! * PLACES + i;
  keys.sort();
  const sorted = { refs: new Uint32Array(keys.length), generations: new Uint32Array(keys.length) };
  let count = 0;
  for (const key of keys) {
    const place = key % PLACES;
    const ref = refs[place]!;
    if (count > 0 && sorted.refs[count - 1] === ref) continue;
    sorted.refs[count] = ref;
    sorted.generations[count++] = generations[place]!;
  }
  return { refs: sorted.refs.subarray(0, count), generations: sorted.generations.subarray(0, count) };
}

const PLACES = 2 ** 25;

/** Places in `a` whose series are not in `b`; both ascend. */
function notIn(a: SeriesList, b: SeriesList): number[] {
  const places: number[] = [];
  let j = 0;
  for (let i = 0; i < a.refs.length; i++) {
    while (j < b.refs.length && b.refs[j]! < a.refs[i]!) j++;
    if (j === b.refs.length || !isEqual(a, i, b, j)) places.push(i);
  }
  return places;
}

function pick({ refs, generations }: SeriesList, places: readonly number[]): SeriesList {
  return {
    refs: Uint32Array.from(places, (place) => refs[place]!),
    generations: Uint32Array.from(places, (place) => generations[place]!),
  };
}

function isEqual(a: SeriesList, i: number, b: SeriesList, j: number): boolean {
  return a.refs[i] === b.refs[j] && a.generations[i] === b.generations[j];
}
