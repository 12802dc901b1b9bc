import fc from 'fast-check';
import { test } from 'tap';
import {
  type Buckets,
  decodeHistogram,
  EMPTY_HISTOGRAM,
  encodeHistogram,
  type FloatHistogram,
  histogramFault,
  isStaleHistogram,
  NO_BUCKETS,
  RESET_HINT,
} from '../../src/model/histogram.ts';

const buckets = (offset: number, ...counts: number[]): Buckets => ({
  spans: Int32Array.of(offset, counts.length),
  counts: Float64Array.from(counts),
});
const histogram = (fields: Partial<FloatHistogram>): FloatHistogram => ({ ...EMPTY_HISTOGRAM, ...fields });

const anyCount = (whole: boolean): fc.Arbitrary<number> =>
  whole ? fc.oneof(fc.nat(), fc.maxSafeNat()) : fc.double({ noNaN: false });

function anyBuckets(whole: boolean): fc.Arbitrary<Buckets> {
  const span = fc.tuple(
    fc.integer({ min: -2000, max: 2000 }),
    fc.array(anyCount(whole), { minLength: 1, maxLength: 8 }),
  );
  return fc.array(span, { maxLength: 4 }).map((spans) => ({
    spans: Int32Array.from(spans.flatMap(([offset, counts]) => [offset, counts.length])),
    counts: Float64Array.from(spans.flatMap(([, counts]) => counts)),
  }));
}

const anyHistogram: fc.Arbitrary<FloatHistogram> = fc.boolean().chain((whole) =>
  fc.record({
    schema: fc.constantFrom(-53, -4, -1, 0, 3, 8),
    hint: fc.constantFrom(...Object.values(RESET_HINT)),
    count: anyCount(whole),
    sum: fc.double(),
    zeroThreshold: fc.oneof(fc.constant(0), fc.double()),
    zeroCount: anyCount(whole),
    positive: anyBuckets(whole),
    negative: anyBuckets(whole),
    customValues: fc.array(fc.double(), { maxLength: 5 }).map((bounds) => Float64Array.from(bounds)),
  }),
);

test('a histogram comes back from its bytes as it went in', async (t) => {
  const seed = Date.now();
  const property = fc.property(anyHistogram, (one) => {
    const back = decodeHistogram(encodeHistogram(one));
    return Object.keys(one).every((key) => same(one[key as keyof FloatHistogram], back[key as keyof FloatHistogram]));
  });
  t.doesNotThrow(() => fc.assert(property, { seed, numRuns: 2000 }), `seed ${seed}`);
});

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Float64Array || a instanceof Int32Array) {
    const other = b as typeof a;
    return a.length === other.length && a.every((value, i) => Object.is(value, other[i]));
  }
  if (typeof a !== 'object' || a === null) return Object.is(a, b);
  const [x, y] = [a as Buckets, b as Buckets];
  return same(x.spans, y.spans) && same(x.counts, y.counts);
}

test('whole counts take few bytes', async (t) => {
  const counts = Array.from({ length: 160 }, (_, i) => 1000 + (i % 7));
  const blob = encodeHistogram(histogram({ schema: 3, count: 160_480, sum: 1.5, positive: buckets(-40, ...counts) }));
  t.ok(blob.byteLength < 200, `${blob.byteLength} bytes`);
});

test('a stale marker is known by the bits of the sum alone', async (t) => {
  const f = (blob: Uint8Array, want: boolean) => t.equal(isStaleHistogram(blob), want);
  f(encodeHistogram(EMPTY_HISTOGRAM, true), true);
  f(encodeHistogram(histogram({ count: 3, positive: buckets(0, 3) }), true), true);
  f(encodeHistogram(EMPTY_HISTOGRAM), false);
  f(encodeHistogram(histogram({ sum: Number.NaN })), false);
  t.ok(Number.isNaN(decodeHistogram(encodeHistogram(EMPTY_HISTOGRAM, true)).sum));
});

test('a histogram that cannot be stored is refused with its fault', async (t) => {
  const f = (fields: Partial<FloatHistogram>, integer: boolean, want: string | null) =>
    t.equal(histogramFault(histogram(fields), integer), want, want ?? 'fine');
  f({}, true, null);
  f({ count: 3, positive: buckets(0, 1, 2) }, true, null);
  f({ schema: 9 }, true, null);
  f({ schema: 53 }, true, 'schema 53 is not known');
  f({ schema: -5 }, true, 'schema -5 is not known');
  f({ schema: 0.5 }, true, 'schema 0.5 is not known');
  f({ count: 3, positive: buckets(0, 1, 1) }, true, '2 observations in buckets, but count is 3');
  f({ count: 3, positive: buckets(0, 1, 1) }, false, null);
  f({ count: 3, sum: Number.NaN, positive: buckets(0, 1, 1) }, true, null);
  f({ count: 1, sum: Number.NaN, positive: buckets(0, 1, 1) }, true, '2 observations in buckets, but count is 1');
  f({ count: 1, positive: buckets(0, 1, 1) }, false, '2 observations in buckets, but count is 1');
  f({ count: 0, positive: buckets(0, -1, 1) }, false, 'positive bucket has the count -1');
  f({ count: 0, negative: buckets(0, Number.NaN) }, false, 'negative bucket has the count NaN');
  f({ count: 0, zeroCount: -1 }, false, 'zero bucket has the count -1');
  f({ count: -1 }, false, 'count is -1');
  f({ zeroThreshold: -1 }, true, 'zero threshold -1 is negative or NaN');
  f({ customValues: Float64Array.of(1) }, true, 'custom bounds are for custom buckets only');
  f(
    { positive: { spans: Int32Array.of(0, 3), counts: Float64Array.of(1) } },
    true,
    'positive spans need 3 buckets, got 1',
  );
  f(
    { positive: { spans: Int32Array.of(0, 1, -1, 1), counts: Float64Array.of(0, 0) } },
    true,
    'positive span 1 has the negative offset -1',
  );
  const custom = { schema: -53, customValues: Float64Array.of(1, 2) };
  f({ ...custom, count: 3, positive: buckets(0, 1, 1, 1) }, true, null);
  f({ ...custom, count: 4, positive: buckets(0, 1, 1, 1, 1) }, true, '2 custom bounds are too few for bucket 3');
  f({ ...custom, positive: buckets(-1, 0) }, true, 'custom buckets begin at index -1, which is below 0');
  f({ ...custom, zeroCount: 1, count: 1 }, true, 'custom buckets have no zero count');
  f({ ...custom, zeroThreshold: 1 }, true, 'custom buckets have no zero threshold');
  f({ ...custom, negative: buckets(0, 0) }, true, 'custom buckets have no negative buckets');
  f({ ...custom, customValues: Float64Array.of(1, 1) }, true, 'custom bound 1 is not above 1');
  f({ ...custom, customValues: Float64Array.of(Infinity) }, true, 'custom bound Infinity is not finite');
  t.equal(NO_BUCKETS.counts.length, 0);
});
