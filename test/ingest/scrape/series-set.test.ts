/** Lists of series compared with sets of JavaScript. */
import fc from 'fast-check';
import { test } from 'tap';
import { compareSeries, joinSeries, NO_SERIES } from '../../../src/ingest/scrape/series-set.ts';
import type { SeriesList } from '../../../src/tsdb/kernel-head.ts';

type Series = readonly [ref: number, generation: number];

function listOf(all: readonly Series[]): SeriesList {
  return {
    refs: Uint32Array.from(all, ([ref]) => ref),
    generations: Uint32Array.from(all, ([, generation]) => generation),
  };
}

function texts({ refs, generations }: SeriesList): string[] {
  return [...refs].map((ref, i) => `${ref}.${generations[i]}`);
}

test('what is gone and what is new, by comparison of numbers alone', async (t) => {
  const seed = Date.now() % 2 ** 31;
  t.comment(`seed ${seed}`);
  // One ref has one generation at a moment.
  const some = fc.array(fc.tuple(fc.integer({ min: 1, max: 12 }), fc.constantFrom(1, 1, 1, 2)), { maxLength: 12 });
  const atOnce = (all: readonly Series[]): Series[] => {
    const generations = new Map<number, number>();
    for (const [ref, generation] of all) if (!generations.has(ref)) generations.set(ref, generation);
    return all.map(([ref]) => [ref, generations.get(ref)!]);
  };
  fc.assert(
    fc.property(some, some, fc.nat(12), (a, b, common) => {
      const before = listOf(atOnce(a));
      const now = listOf(atOnce([...a.slice(0, common), ...b]));
      const { gone, added } = compareSeries(before, now);
      const [was, is] = [new Set(texts(before)), new Set(texts(now))];
      t.strictSame(texts(gone).sort(), [...was].filter((one) => !is.has(one)).sort());
      t.equal(added, [...is].filter((one) => !was.has(one)).length);
    }),
    { seed, numRuns: 500 },
  );
});

test('lists are joined, and equal ones have no difference', async (t) => {
  const list = listOf([
    [2 ** 28 - 1, 4_000_000_000],
    [3, 1],
  ]);
  t.strictSame(texts(joinSeries([list, NO_SERIES, listOf([[9, 9]])])), ['268435455.4000000000', '3.1', '9.9']);
  t.strictSame(compareSeries(list, list), { gone: NO_SERIES, added: 0 });
  t.strictSame(texts(compareSeries(list, listOf([[3, 1]])).gone), ['268435455.4000000000']);
  t.strictSame(compareSeries(NO_SERIES, list).added, 2);
});
