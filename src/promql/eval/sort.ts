/** Sorting in slices: a million label sets take seconds to order, and nobody shall wait for that. */
import { LABEL_WORK, type Run, type Slices } from './run.ts';

/** Items sorted at once. */
const BLOCK = 512;

/** Sorts in place, stable. Blocks first, then merges of neighbours, twice as long each time. */
export function* sortInSlices<T>(run: Run, items: T[], compare: (a: T, b: T) => number): Slices<void> {
  if (items.length <= BLOCK) {
    items.sort(compare);
    return;
  }
  for (let from = 0; from < items.length; from += BLOCK) {
    const block = items.slice(from, from + BLOCK).sort(compare);
    for (let i = 0; i < block.length; i++) items[from + i] = block[i]!;
    if (run.work(block.length * LABEL_WORK)) yield;
  }
  let source = items;
  let target = new Array<T>(items.length);
  for (let width = BLOCK; width < items.length; width *= 2) {
    for (let from = 0; from < items.length; from += 2 * width) yield* merge(run, source, target, from, width, compare);
    [source, target] = [target, source];
  }
  if (source === items) return;
  for (let i = 0; i < items.length; i++) items[i] = source[i]!;
}

/** Merges [from, from + width) and its right neighbour. */
function* merge<T>(
  run: Run,
  source: readonly T[],
  target: T[],
  from: number,
  width: number,
  compare: (a: T, b: T) => number,
): Slices<void> {
  const middle = Math.min(from + width, source.length);
  const end = Math.min(middle + width, source.length);
  let left = from;
  let right = middle;
  for (let at = from; at < end; at++) {
    const takesLeft = left < middle && (right >= end || compare(source[left]!, source[right]!) <= 0);
    target[at] = takesLeft ? source[left++]! : source[right++]!;
    if (run.work(MERGE_WORK)) yield;
  }
}

/** A comparison and a move. */
const MERGE_WORK = 24;
