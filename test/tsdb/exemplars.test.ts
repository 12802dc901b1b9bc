/** The ring of exemplars and the table of metadata: what is kept, in which order, for how long, and who sees it. */
import fc from 'fast-check';
import { test } from 'tap';
import { LIMITS } from '../../src/model/limits.ts';
import type { Matcher } from '../../src/model/matcher.ts';
import { type ExemplarAdded, Exemplars, type ExemplarsOptions } from '../../src/tsdb/exemplars.ts';
import { familyOf, Metadata, type MetricType } from '../../src/tsdb/metadata.ts';

const ALL: readonly Matcher[] = [{ type: '=~', name: '__name__', value: '.+' }];
const OPTIONS: ExemplarsOptions = { countMax: 3, bytesMax: 1e6, labelCharactersMax: 8, outOfOrderMsMax: 100 };

const ringOf = (options: Partial<ExemplarsOptions> = {}): Exemplars => new Exemplars({ ...OPTIONS, ...options });
const series = (name: string, namespace = ''): string[] => [
  '__name__',
  name,
  ...(namespace === '' ? [] : ['namespace', namespace]),
];

/** Everything kept, as `series value@time …`. */
function dump(ring: Exemplars): string[] {
  const found = ring.select([ALL], -Infinity, Infinity, null);
  return found
    .map(({ labels, exemplars }) => `${labels[1]} ${exemplars.map((e) => `${e.value}@${e.timestampMs}`).join(' ')}`)
    .sort();
}

test('exemplars: what is taken', async (t) => {
  const ring = ringOf({ countMax: 10 });
  const f = (
    name: string,
    timestampMs: number,
    value: number,
    labels: readonly string[],
    want: ExemplarAdded,
  ): void => {
    t.equal(ring.add(series(name), { labels, value, timestampMs }), want, `${name} ${value}@${timestampMs}`);
  };
  f('a', 1000, 1, ['t', 'x'], 'stored');
  f('a', 1000, 1, ['t', 'x'], 'duplicate');
  f('a', 1000, 2, ['t', 'x'], 'stored');
  f('a', 1000, 1, ['t', 'y'], 'stored');
  f('a', 950, 3, [], 'stored');
  f('a', 950, 3, [], 'duplicate');
  f('a', 900, 4, [], 'stored');
  f('a', 899, 5, [], 'outOfOrder');
  f('b', 1, Number.NaN, [], 'stored');
  f('b', 1, Number.NaN, [], 'duplicate');
  f('b', 2, 1, ['name', 'äöü€'], 'stored');
  f('b', 2, 1, ['name', 'fünf5'], 'tooLong');
  t.equal(ringOf({ countMax: 0 }).add(series('a'), { labels: [], value: 1, timestampMs: 1 }), 'off');
  t.strictSame(dump(ring), ['a 4@900 3@950 1@1000 2@1000 1@1000', 'b NaN@1 1@2']);
});

test('exemplars: the oldest arrivals go first, by number and by bytes', async (t) => {
  const ring = ringOf();
  for (let i = 0; i < 5; i++) ring.add(series(i % 2 === 0 ? 'a' : 'b'), { labels: [], value: i, timestampMs: i });
  t.strictSame(dump(ring), ['a 2@2 4@4', 'b 3@3']);
  t.equal(ring.count, 3);
  const empty = ringOf({ bytesMax: 1 });
  t.equal(empty.add(series('a'), { labels: [], value: 1, timestampMs: 1 }), 'stored');
  t.strictSame([dump(empty), empty.count, empty.bytes], [[], 0, 0], 'there is no room at all');
});

test('exemplars: the books balance whatever comes', async (t) => {
  const seed = Date.now() & 0x7fffffff;
  t.comment(`seed ${seed}`);
  const item = fc.tuple(fc.nat(5), fc.nat(300), fc.nat(3));
  fc.assert(
    fc.property(fc.array(item, { maxLength: 3000 }), fc.integer({ min: 1, max: 40 }), (items, countMax) => {
      const ring = ringOf({ countMax, bytesMax: 20_000 });
      for (const [name, timestampMs, value] of items) ring.add(series(`s${name}`), { labels: [], value, timestampMs });
      const found = ring.select([ALL], -Infinity, Infinity, null);
      const kept = found.flatMap(({ exemplars }) => exemplars);
      if (kept.length !== ring.count || ring.count > countMax) return false;
      if (ring.bytes > 20_000 || (ring.bytes === 0) !== (ring.count === 0)) return false;
      return found.every(({ exemplars }) =>
        exemplars.every((e, i) => i === 0 || e.timestampMs >= exemplars[i - 1]!.timestampMs),
      );
    }),
    { seed, numRuns: 60 },
  );
});

test('exemplars: selectors, times and scope', async (t) => {
  const ring = ringOf({ countMax: 10 });
  ring.add(series('a', 'shop'), { labels: [], value: 1, timestampMs: 10 });
  ring.add(series('a', 'bank'), { labels: [], value: 2, timestampMs: 20 });
  ring.add(series('c'), { labels: [], value: 3, timestampMs: 30 });
  const f = (
    selectors: readonly (readonly Matcher[])[],
    from: number,
    to: number,
    scope: string[] | null,
    want: number[],
  ) => {
    const found = ring
      .select(selectors, from, to, scope)
      .flatMap(({ exemplars }) => exemplars.map(({ value }) => value));
    t.strictSame(found.sort(), want);
  };
  const a: Matcher[] = [{ type: '=', name: '__name__', value: 'a' }];
  f([a], 0, 99, null, [1, 2]);
  f([a, ALL], 0, 99, null, [1, 2, 3]);
  f([[...a, { type: '!=', name: 'namespace', value: 'bank' }]], 0, 99, null, [1]);
  f([ALL], 20, 30, null, [2, 3]);
  f([ALL], 21, 29, null, []);
  f([ALL], 0, 99, ['shop'], [1]);
  f([ALL], 0, 99, ['bank', 'shop'], [1, 2]);
  f([ALL], 0, 99, [], []);
});

test('metadata: families, variants, limits', async (t) => {
  const f = (name: string, type: MetricType, want: string) => t.equal(familyOf(name, type), want);
  f('http_seconds_bucket', 'histogram', 'http_seconds');
  f('http_seconds_sum', 'summary', 'http_seconds');
  f('http_bucket', 'counter', 'http_bucket');
  f('h_gcount', 'gaugehistogram', 'h');
  const metadata = new Metadata();
  const counter = (help: string) => ({ type: 'counter', help, unit: '' }) as const;
  for (let i = 0; i < LIMITS.metadataVariantsMax + 1; i++) t.ok(metadata.add('m', counter(`${i}`)));
  metadata.add('m', counter('1'));
  t.strictSame(
    metadata.of('m').map(({ help }) => help),
    ['2', '3', '4', '1'],
    'the newest last, each once',
  );
  t.notOk(metadata.add('m', counter('x'.repeat(LIMITS.metadataTextLengthMax))));
  t.notOk(metadata.isSeen(1, 2));
  t.ok(metadata.isSeen(1, 2));
  t.notOk(metadata.isSeen(1, 3), 'both halves count');
  for (let i = 0; i < LIMITS.metadataFamiliesMax; i++) metadata.add(`f${i}`, counter(''));
  t.equal(metadata.families, LIMITS.metadataFamiliesMax);
  t.strictSame(metadata.of('m'), [], 'the one described longest ago went');
  t.notOk(metadata.isSeen(1, 3), 'and may be described again');
});
