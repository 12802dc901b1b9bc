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
  // What comes twice in a scrape may have its other place in the common beginning: so the other list is searched whole.
  return {
    gone: pick(before, placesNotIn(before, sorted(before, same), now, sorted(now, 0))),
    added: placesNotIn(now, sorted(now, same), before, sorted(before, 0)).length,
  };
}

/** A place of a list fits beside a ref of 28 bits into the 53 of a number, so that numbers can be sorted for both. */
const PLACES = 2 ** 25;

/** Places from `from` on, by ascending ref, each ref once. */
function sorted({ refs }: SeriesList, from: number): Uint32Array {
  const keys = new Float64Array(refs.length - from);
  for (let i = from; i < refs.length; i++) keys[i - from] = refs[i]! * PLACES + i;
  keys.sort();
  const places = new Uint32Array(keys.length);
  let count = 0;
  for (const key of keys) {
    const place = key % PLACES;
    if (count === 0 || refs[places[count - 1]!] !== refs[place]) places[count++] = place;
  }
  return places.subarray(0, count);
}

/** Those of the places in `a` whose series are at none of the places in `b`; both ascend by ref. */
function placesNotIn(a: SeriesList, aPlaces: Uint32Array, b: SeriesList, bPlaces: Uint32Array): number[] {
  const found: number[] = [];
  let j = 0;
  for (const i of aPlaces) {
    while (j < bPlaces.length && b.refs[bPlaces[j]!]! < a.refs[i]!) j++;
    if (j === bPlaces.length || !isEqual(a, i, b, bPlaces[j]!)) found.push(i);
  }
  return found;
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
