/** The algebra of histograms against a small obvious oracle: a map from bucket index to count. */
import fc from 'fast-check';
import { type Test, test } from 'tap';
import {
  CUSTOM_BUCKETS_SCHEMA,
  EMPTY_HISTOGRAM,
  type FloatHistogram,
  type NO_BUCKETS,
  RESET_HINT,
  type ResetHint,
} from '../../src/model/histogram.ts';
import {
  add,
  commonHint,
  decreased,
  divide,
  equal,
  hintAfter,
  multiply,
  subtract,
} from '../../src/promql/histogram/algebra.ts';
import { exponentialBound } from '../../src/promql/histogram/bounds.ts';
import { allBuckets, bucketsOf, compact, indexesOf } from '../../src/promql/histogram/buckets.ts';
import { histogramFraction, histogramQuantile, histogramVariance } from '../../src/promql/histogram/quantile.ts';
import { HistogramMean, HistogramSum } from '../../src/promql/histogram/sums.ts';
import { histogramText } from '../../src/promql/histogram/text.ts';
import { trim } from '../../src/promql/histogram/trim.ts';
import { parseHistogram } from './histogram-description.ts';

const parse = (text: string): FloatHistogram => parseHistogram(`{{${text}}}`).histogram;
const check = (t: Test, property: fc.IProperty<unknown[]>): void => {
  const seed = Date.now();
  t.doesNotThrow(() => fc.assert(property as fc.IProperty<unknown>, { seed, numRuns: 500 }), `seed ${seed}`);
};

// ── Any histogram ───────────────────────────────────────────────────────────────────────────────────────────────────

const anySide = fc
  .uniqueArray(fc.tuple(fc.integer({ min: -40, max: 40 }), fc.nat({ max: 50 })), {
    selector: ([i]) => i,
    maxLength: 12,
  })
  .map((pairs) => {
    const sorted = [...pairs].sort(([a], [b]) => a - b);
    return bucketsOf(
      Int32Array.from(sorted, ([i]) => i),
      Float64Array.from(sorted, ([, count]) => count),
      false,
    );
  });

const anyExponential: fc.Arbitrary<FloatHistogram> = fc
  .record({
    schema: fc.integer({ min: -4, max: 8 }),
    zeroThreshold: fc.constantFrom(0, 1e-128, 0.001, 0.7, 3),
    zeroCount: fc.nat({ max: 20 }),
    positive: anySide,
    negative: anySide,
    sum: fc.integer({ min: -1000, max: 1000 }),
  })
  .map((fields) => {
    const histogram = { ...EMPTY_HISTOGRAM, ...fields };
    // Observations in the zero bucket are in no other.
    const inside = (index: number): boolean => exponentialBound(index, fields.schema) <= fields.zeroThreshold;
    const keep = (side: typeof NO_BUCKETS): typeof NO_BUCKETS => {
      const indexes = indexesOf(side);
      return bucketsOf(
        indexes,
        side.counts.map((count, i) => (inside(indexes[i]!) ? 0 : count)),
        true,
      );
    };
    const sides = { positive: keep(histogram.positive), negative: keep(histogram.negative) };
    return { ...histogram, ...sides, count: total({ ...histogram, ...sides }) };
  });

const anyCustom: fc.Arbitrary<FloatHistogram> = fc
  .uniqueArray(fc.integer({ min: -5, max: 9 }), { minLength: 1, maxLength: 6 })
  .chain((bounds) =>
    fc.array(fc.nat({ max: 50 }), { minLength: bounds.length + 1, maxLength: bounds.length + 1 }).map((counts) => {
      const positive = { spans: Int32Array.of(0, counts.length), counts: Float64Array.from(counts) };
      const customValues = Float64Array.from(bounds).sort();
      const histogram = { ...EMPTY_HISTOGRAM, schema: CUSTOM_BUCKETS_SCHEMA, customValues, positive };
      return { ...histogram, count: total(histogram) };
    }),
  );

function total({ zeroCount, positive, negative }: FloatHistogram): number {
  return [...positive.counts, ...negative.counts].reduce((sum, count) => sum + count, zeroCount);
}

/** Observations at or below a bound of its buckets. */
function below(histogram: FloatHistogram, bound: number): number {
  const { size, upper, counts } = allBuckets(histogram);
  let sum = 0;
  for (let i = 0; i < size; i++) if (upper[i]! <= bound) sum += counts[i]!;
  return sum;
}

// ── Bounds and buckets ──────────────────────────────────────────────────────────────────────────────────────────────

test('bounds of exponential buckets are exact powers, and finite but for the last', async (t) => {
  const f = (index: number, schema: number, want: number) => t.equal(exponentialBound(index, schema), want);
  f(0, 0, 1);
  f(1, 0, 2);
  f(-3, 0, 0.125);
  f(1, 1, Math.SQRT2);
  f(-1, 1, Math.SQRT1_2);
  f(2, 2, Math.SQRT2);
  f(256, 8, 2);
  f(1, 8, 1.0027112750502025);
  f(1, -4, 65536);
  f(64, -4, Number.MAX_VALUE);
  f(65, -4, Infinity);
  f(1024, 0, Number.MAX_VALUE);
  f(1025, 0, Infinity);
  f(-1074, 0, 5e-324);
  for (let schema = 0; schema <= 8; schema++) {
    for (let i = 0; i < 2 ** schema; i++) {
      const want = 2 ** (i / 2 ** schema);
      const near = Math.abs(exponentialBound(i, schema) - want) <= Number.EPSILON * want;
      if (!near) t.fail(`schema ${schema}, index ${i}: got ${exponentialBound(i, schema)}, want ${want}`);
    }
  }
});

test('buckets come back from their indexes, without the empty ones if they are compacted', async (t) => {
  check(
    t,
    fc.property(anySide, (side) => {
      const again = bucketsOf(indexesOf(side), side.counts, false);
      const dense = compact({ ...EMPTY_HISTOGRAM, positive: side }).positive;
      const populated = [...indexesOf(side)].filter((_, i) => side.counts[i] !== 0);
      return (
        [...indexesOf(again)].join() === [...indexesOf(side)].join() &&
        [...indexesOf(dense)].join() === populated.join() &&
        [...dense.counts].join() === [...side.counts].filter((count) => count !== 0).join()
      );
    }),
  );
});

// ── Addition ────────────────────────────────────────────────────────────────────────────────────────────────────────

test('a sum holds the observations of both below each of its bounds', async (t) => {
  const property = (any: fc.Arbitrary<FloatHistogram>): fc.IProperty<unknown[]> =>
    fc.property(any, any, (a, b) => {
      const { histogram } = add(a, b)!;
      const { size, upper } = allBuckets(histogram);
      if (histogram.count !== a.count + b.count || total(histogram) !== histogram.count) return false;
      for (let i = 0; i < size; i++)
        if (below(histogram, upper[i]!) !== below(a, upper[i]!) + below(b, upper[i]!)) return false;
      return true;
    }) as fc.IProperty<unknown[]>;
  check(t, property(anyExponential));
  check(t, property(anyCustom));
});

test('a + b - b has the observations of a in the layout of both', async (t) => {
  check(
    t,
    fc.property(anyExponential, anyExponential, (a, b) => {
      const back = compact(subtract(add(a, b)!.histogram, b)!.histogram);
      if (back.count !== a.count || back.sum !== a.sum || total(back) !== a.count) return false;
      return allBuckets(back).upper.every((bound) => below(back, bound) === below(a, bound));
    }) as fc.IProperty<unknown[]>,
  );
});

test('many histograms sum up to what adding them one by one gives, and their mean is that divided', async (t) => {
  check(
    t,
    fc.property(fc.array(anyExponential, { minLength: 1, maxLength: 6 }), (all) => {
      const sum = new HistogramSum();
      const mean = new HistogramMean();
      for (const one of all) if (!sum.add(one) || !mean.add(one)) return false;
      const want = all.slice(1).reduce((so, one) => add(so, one)!.histogram, all[0]!);
      return equal(sum.value(), compact(want)) && nearlyEqual(mean.value(), compact(divide(want, all.length)));
    }) as fc.IProperty<unknown[]>,
  );
});

function nearlyEqual(a: FloatHistogram, b: FloatHistogram): boolean {
  const near = (x: number, y: number): boolean => Math.abs(x - y) <= 1e-9 * (1 + Math.abs(y));
  return (
    [...indexesOf(a.positive), ...indexesOf(a.negative)].join() ===
      [...indexesOf(b.positive), ...indexesOf(b.negative)].join() &&
    a.positive.counts.every((count, i) => near(count, b.positive.counts[i]!)) &&
    a.negative.counts.every((count, i) => near(count, b.negative.counts[i]!)) &&
    near(a.count, b.count) &&
    near(a.sum, b.sum) &&
    near(a.zeroCount, b.zeroCount)
  );
}

test('a sum does not lose the small beside the large, and a mean does not overflow', async (t) => {
  const sum = new HistogramSum();
  for (const value of [1, 1e100, 1, -1e100]) sum.add(parse(`sum:${value} count:1`));
  t.equal(sum.value().sum, 2);
  const mean = new HistogramMean();
  for (const value of [1.7976931348623157e308, 1e308, 0]) mean.add(parse(`sum:1 count:${value}`));
  t.ok(Math.abs(mean.value().count / 9.325e307 - 1) < 1e-3, String(mean.value().count));
  t.equal(mean.value().sum, 1);
});

test('histograms of the two kinds do not add up', async (t) => {
  const [a, b] = [parse('count:1 buckets:[1]'), parse('schema:-53 custom_values:[1] count:1 buckets:[1]')];
  t.equal(add(a, b), null);
  t.equal(subtract(b, a), null);
  t.notOk(new HistogramSum().add(a) && new HistogramSum().add(b) && sumOf(a).add(b));
});

function sumOf(histogram: FloatHistogram): HistogramSum {
  const sum = new HistogramSum();
  sum.add(histogram);
  return sum;
}

test('the zero bucket is widened to where it cuts no populated bucket', async (t) => {
  const f = (a: string, b: string, want: string) => t.equal(histogramText(add(parse(a), parse(b))!.histogram), want);
  f('z_bucket:1 z_bucket_w:0.6 count:1', 'count:3 offset:-1 buckets:[1 2]', '{count:4, sum:0, [-1,1]:4}');
  f(
    'z_bucket:1 z_bucket_w:0.5 count:1',
    'count:3 offset:-1 buckets:[1 2]',
    '{count:4, sum:0, [-0.5,0.5]:2, (0.5,1]:2}',
  );
  f('z_bucket:1 z_bucket_w:0.6 count:1', 'count:1 offset:-1 buckets:[1]', '{count:2, sum:0, [-0.6,0.6]:2}');
  f('z_bucket:1 z_bucket_w:0.6 count:1', 'count:2 n_buckets:[2]', '{count:3, sum:0, [-1,1]:3}');
});

test('custom bounds that only one has are given up', async (t) => {
  const a = parse('schema:-53 count:6 custom_values:[1 2 3] buckets:[1 2 1 2]');
  const b = parse('schema:-53 count:3 custom_values:[2 4] buckets:[1 1 1]');
  const sum = add(a, b)!;
  t.ok(sum.reconciled);
  t.equal(histogramText(sum.histogram), '{count:9, sum:0, [-Inf,2]:4, (2,+Inf]:5}');
  t.notOk(add(a, a)!.reconciled);
});

test('what is known of resets: equal stays, a gauge wins, else nothing is known', async (t) => {
  const { unknown, reset, notReset, gauge } = RESET_HINT;
  const f = (a: ResetHint, b: ResetHint, want: ResetHint, conflict: boolean) => {
    t.equal(commonHint(a, b), want);
    t.equal(commonHint(b, a), want);
    t.equal(add({ ...EMPTY_HISTOGRAM, hint: a }, { ...EMPTY_HISTOGRAM, hint: b })!.conflict, conflict);
  };
  f(gauge, gauge, gauge, false);
  f(gauge, reset, gauge, false);
  f(unknown, notReset, unknown, false);
  f(notReset, notReset, notReset, false);
  f(reset, notReset, unknown, true);
});

test('a negative factor makes a gauge, division by 0 leaves no buckets', async (t) => {
  const h = parse('count:3 sum:6 z_bucket:1 buckets:[2]');
  t.equal(multiply(h, -1).hint, RESET_HINT.gauge);
  t.equal(multiply(h, 2).hint, RESET_HINT.unknown);
  t.equal(histogramText(multiply(h, 2)), '{count:6, sum:12, [-0,0]:2, (0.5,1]:4}');
  t.equal(histogramText(divide(h, 0)), '{count:+Inf, sum:+Inf, [-0,0]:+Inf}');
});

// ── Resets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test('a reset shows in any count that went down, and in a layout that became finer', async (t) => {
  const f = (before: string, now: string, want: boolean) =>
    t.equal(decreased(parse(now), parse(before)), want, `${before} → ${now}`);
  f('count:3 buckets:[1 2]', 'count:4 buckets:[1 3]', false);
  f('count:3 buckets:[1 2]', 'count:2 buckets:[1 1]', true);
  f('count:3 buckets:[1 2]', 'count:4 buckets:[0 4]', true);
  f('count:3 buckets:[1 2]', 'count:4 offset:1 buckets:[4]', true);
  f('count:3 buckets:[0 3]', 'count:4 offset:1 buckets:[4]', false);
  f('count:3 n_buckets:[3]', 'count:4 buckets:[4]', true);
  f('count:3 z_bucket:3', 'count:3 z_bucket:2', true);
  f('count:3 z_bucket:3 z_bucket_w:0.1', 'count:3 z_bucket:3', true);
  f('count:3 z_bucket:3', 'count:3 z_bucket:3 z_bucket_w:0.1', false);
  f('count:3 offset:-2 buckets:[3]', 'count:3 z_bucket:3 z_bucket_w:0.2', true);
  f('count:3 offset:-2 buckets:[3]', 'count:3 z_bucket:3 z_bucket_w:0.25', false);
  f('schema:0 count:3 buckets:[3]', 'schema:1 count:3 buckets:[3]', true);
  f('schema:1 count:3 offset:1 buckets:[1 2]', 'schema:0 count:3 offset:1 buckets:[3]', false);
  f('count:3 buckets:[3]', 'schema:-53 custom_values:[1] count:3 buckets:[3]', true);
  f('schema:-53 custom_values:[1] count:3 buckets:[3]', 'schema:-53 custom_values:[1 2] count:3 buckets:[3]', false);
  f('schema:-53 custom_values:[1 2] count:3 buckets:[1 2]', 'schema:-53 custom_values:[2] count:3 buckets:[2 1]', true);
});

test('a histogram that only grew is no reset', async (t) => {
  check(
    t,
    fc.property(anyExponential, anyExponential, (a, b) => {
      const sum = add(a, b)!.histogram;
      // A finer schema cannot come of a sum, so the sum follows on a wherever zero buckets allow.
      return !decreased(sum, a) || sum.zeroThreshold < a.zeroThreshold;
    }) as fc.IProperty<unknown[]>,
  );
});

test('the store knows of no reset only between neighbours of one layout', async (t) => {
  const f = (before: string | null, now: string, want: ResetHint) =>
    t.equal(hintAfter(parse(now), before === null ? null : parse(before)), want);
  f(null, 'count:3', RESET_HINT.unknown);
  f('count:3', 'count:3', RESET_HINT.notReset);
  f('count:3', 'count:2', RESET_HINT.unknown);
  f('count:3', 'count:4 counter_reset_hint:gauge', RESET_HINT.gauge);
  f('count:3 counter_reset_hint:gauge', 'count:4', RESET_HINT.unknown);
  f('count:3', 'count:4 counter_reset_hint:reset', RESET_HINT.unknown);
  f('schema:1 count:3', 'schema:0 count:4', RESET_HINT.unknown);
});

// ── Estimates ───────────────────────────────────────────────────────────────────────────────────────────────────────

test('quantiles rise with q, and fractions undo them', async (t) => {
  const q = fc.double({ min: 0, max: 1, noNaN: true });
  const populated = fc.oneof(anyExponential, anyCustom).filter(({ count }) => count > 0);
  check(
    t,
    fc.property(populated, q, q, (histogram, a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)].map((one) => histogramQuantile(one, histogram).value);
      return low! <= high! + 1e-9 * Math.abs(high!);
    }) as fc.IProperty<unknown[]>,
  );
  // All observations of a zero bucket without width have one value, so there is no way back from it.
  const wide = anyExponential.filter(
    ({ count, zeroCount, zeroThreshold }) => count > 0 && (zeroThreshold > 0 || zeroCount === 0),
  );
  check(
    t,
    fc.property(wide, q, (histogram, one) => {
      const { value } = histogramQuantile(one, histogram);
      return Math.abs(histogramFraction(-Infinity, value, histogram).value - one) < 1e-9;
    }) as fc.IProperty<unknown[]>,
  );
});

test('the two trims at one cut hold the fractions below and above it', async (t) => {
  // A zero bucket without width lies on both sides of 0.
  const cut = fc.double({ min: -40, max: 40, noNaN: true }).filter((x) => x !== 0);
  check(
    t,
    fc.property(
      anyExponential.filter(({ count }) => count > 0),
      cut,
      (histogram, x) => {
        const [lower, upper] = [trim(histogram, x, 'below'), trim(histogram, x, 'above')];
        const share = histogramFraction(-Infinity, x, histogram).value;
        const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * histogram.count;
        return near(lower.count + upper.count, histogram.count) && near(lower.count, share * histogram.count);
      },
    ) as fc.IProperty<unknown[]>,
  );
});

test('quantiles, fractions and deviations of known histograms', async (t) => {
  const f = (got: number, want: number) =>
    t.ok(Object.is(got, want) || Math.abs(got - want) < 1e-12 * Math.abs(want), `got ${got}, want ${want}`);
  const h = parse('count:4 sum:5 buckets:[1 2 1]');
  f(histogramQuantile(0.5, h).value, Math.SQRT2);
  f(histogramQuantile(1, h).value, 4);
  f(histogramQuantile(0, h).value, 0.5);
  f(histogramQuantile(-0.1, h).value, -Infinity);
  f(histogramQuantile(1.1, h).value, Infinity);
  f(histogramQuantile(0.5, EMPTY_HISTOGRAM).value, Number.NaN);
  f(histogramFraction(1, 2, h).value, 0.5);
  f(histogramFraction(2, 1, h).value, 0);
  f(histogramFraction(1, Number.NaN, h).value, Number.NaN);
  f(histogramFraction(-4, -2, parse('schema:-53 custom_values:[-3 -2] count:12 buckets:[10 2]')).value, 2 / 12);
  f(histogramVariance(parse('count:2 sum:0 buckets:[1] n_buckets:[1]')), 0.5);
  t.equal(histogramQuantile(0.9, parse('count:4 sum:NaN buckets:[2]')).note, 'nan');
  t.equal(histogramQuantile(0.2, parse('count:4 sum:NaN buckets:[2]')).note, 'skewed');
  t.equal(histogramQuantile(0.2, parse('count:2 sum:NaN buckets:[2]')).note, null);
});

test('a trim that cuts nothing leaves the histogram as it is', async (t) => {
  const h = parse('count:4 sum:5 buckets:[1 2 1]');
  t.equal(trim(h, 4, 'below'), h);
  t.equal(trim(h, 0.5, 'above'), h);
  t.equal(histogramText(trim(h, 1, 'below')), '{count:1, sum:0.7071067811865476, (0.5,1]:1}');
});
