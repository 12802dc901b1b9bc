/**
 * The engine against the oracle: random series, random queries, instant and over a range. TIDEGAUGE_LONG=1 takes minutes;
 * TIDEGAUGE_SEED repeats a run.
 */
import fc from 'fast-check';
import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { type Labels, labelsFromObject } from '../../src/model/labels.ts';
import { float64High, float64Low, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import type { QueryValue } from '../../src/promql/result.ts';
import { parseExpr } from '../../src/promql/syntax/parse.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { evaluate, keyOf, OracleError, type OracleSeries, type OracleWorld } from './oracle.ts';

const IS_LONG = process.env.TIDEGAUGE_LONG === '1';
const SEED = process.env.TIDEGAUGE_SEED === undefined ? Date.now() % 2 ** 31 : Number(process.env.TIDEGAUGE_SEED);
const WORLDS = IS_LONG ? 400 : 12;
const QUERIES = IS_LONG ? 60 : 25;

const T0 = 1_700_000_040_000;
const LOOKBACK_MS = 300_000;
const STEP_MS = 20_000;
const STEPS = 12;
const FEATURES = {
  experimentalFunctions: true,
  durationExpressions: true,
  extendedRangeSelectors: false,
  fillModifiers: false,
};
/** Sums of other orders, and compensated ones. */
const ROUNDING = 1e-9;

// ── Data ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const value: fc.Arbitrary<number | 'stale'> = fc.oneof(
  { weight: 30, arbitrary: fc.integer({ min: 0, max: 40 }) },
  { weight: 2, arbitrary: fc.integer({ min: -9, max: -1 }) },
  { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Infinity, -Infinity, 'stale' as const, 'stale' as const) },
);
/** Mostly a scrape interval with some jitter, sometimes a gap. */
const gapMs = fc.oneof(
  { weight: 40, arbitrary: fc.integer({ min: 14_000, max: 16_000 }) },
  { weight: 20, arbitrary: fc.constant(15_000) },
  { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 400_000 }) },
);
const samples = fc.tuple(
  fc.integer({ min: 0, max: 60_000 }),
  fc.array(fc.tuple(gapMs, value), { minLength: 35, maxLength: 60 }),
  fc.boolean(),
);

const labelSets = ['a', 'b'].flatMap((__name__) =>
  ['1', '2', '3'].flatMap((i) => ['x', 'y'].map((g) => ({ __name__, g, i, ...(i === '3' ? {} : { odd: i }) }))),
);

const series: fc.Arbitrary<OracleSeries[]> = fc.tuple(...labelSets.map(() => samples)).map((columns) =>
  columns.map(([startMs, gaps, isCounter], s) => {
    let timeMs = T0 - 600_000 + startMs;
    let total = 0;
    const all = gaps.map(([gap, own]) => {
      timeMs += gap;
      if (typeof own === 'number' && isCounter) total = own < 0 ? 0 : total + own;
      return { timeMs, value: own === 'stale' || !isCounter ? own : total };
    });
    return { labels: labelSets[s]!, samples: all };
  }),
);

// ── Queries ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const duration = fc.constantFrom('15s', '45s', '1m', '100s', '5m', '7m');
const offset = fc.constantFrom(
  '',
  '',
  '',
  ' offset 37s',
  ' offset -1m',
  ` @ ${T0 / 1000 + 33}`,
  ' @ end()',
  ' @ start() offset 1m',
);
const selector = fc
  .tuple(
    fc.constantFrom('a', 'b'),
    fc.constantFrom('', '', '', '', '{i="1"}', '{i!="2"}', '{g=~"x|z"}', '{odd=""}', '{odd!~"1"}'),
  )
  .map(([name, matchers]) => name + matchers);
const instantSelector = fc.tuple(selector, offset).map((parts) => parts.join(''));
const overTime = fc.constantFrom(
  ...['rate', 'increase', 'delta', 'irate', 'idelta', 'changes', 'resets', 'count_over_time', 'present_over_time'],
  ...[
    'last_over_time',
    'first_over_time',
    'sum_over_time',
    'avg_over_time',
    'min_over_time',
    'max_over_time',
    'stdvar_over_time',
  ],
);
const grouping = fc.constantFrom('', ' by (g)', ' by (i, odd)', ' without (g)', ' by (__name__)', ' by (nothing)');
const aggregator = fc.constantFrom('sum', 'avg', 'min', 'max', 'count', 'group', 'stdvar', 'stddev', 'quantile');
const matchClause = fc.constantFrom('', '', ' on (g, i)', ' ignoring (odd)', ' on (g)', ' ignoring (i)');
const constant = fc.constantFrom('0.37', '2', '17.3', '-1');

const { vector } = fc.letrec<{ vector: string; scalar: string; plain: string }>((tie) => ({
  /** Without `or`: below a subquery, label sets that come and go make another error over a range than at one step. */
  plain: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    instantSelector,
    fc.tuple(overTime, selector, duration, offset).map(([f, s, d, o]) => `${f}(${s}[${d}]${o})`),
    fc
      .tuple(aggregator, grouping, tie('plain'))
      .map(([op, by, e]) => `${op}${by} (${op === 'quantile' ? '0.3, ' : ''}${e})`),
    fc.tuple(fc.constantFrom('abs', 'ceil', 'floor', 'sgn'), tie('plain')).map(([f, e]) => `${f}(${e})`),
    fc
      .tuple(fc.constantFrom('clamp_min', 'clamp_max'), tie('plain'), tie('scalar'))
      .map(([f, e, s]) => `${f}(${e}, ${s})`),
    fc
      .tuple(tie('plain'), fc.constantFrom('+', '-', '*', '/', '%'), tie('scalar'))
      .map(([a, op, b]) => `(${a}) ${op} ${b}`),
    fc
      .tuple(tie('scalar'), fc.constantFrom('-', '/', '>', '<= bool'), tie('plain'))
      .map(([a, op, b]) => `${a} ${op} (${b})`),
    fc
      .tuple(tie('plain'), fc.constantFrom('+', '-', '*', '/', '>', '<', '>= bool', '<='), matchClause, tie('plain'))
      .map(([a, op, on, b]) => `(${a}) ${op}${on} (${b})`),
    fc
      .tuple(tie('plain'), fc.constantFrom('and', 'unless'), matchClause, tie('plain'))
      .map(([a, op, on, b]) => `(${a}) ${op}${on} (${b})`),
    tie('plain').map((e) => `-(${e})`),
  ),
  scalar: fc.oneof(
    { maxDepth: 1 },
    constant,
    fc.constant('time() / 1e9'),
    tie('plain').map((e) => `scalar(${e})`),
  ),
  vector: fc.oneof(
    { weight: 6, arbitrary: tie('plain') },
    {
      weight: 1,
      arbitrary: fc
        .tuple(overTime, tie('plain'), duration, fc.constantFrom('', '20s', '1m'), offset)
        .map(([f, e, d, step, o]) => `${f}((${e})[${d}:${step}]${o})`),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(tie('plain'), matchClause, tie('plain')).map(([a, on, b]) => `(${a}) or${on} (${b})`),
    },
  ),
}));

// ── Comparison ──────────────────────────────────────────────────────────────────────────────────────────────────────

type Answer = Map<string, Map<number, number>> | 'error';

function headOf(all: readonly OracleSeries[]): KernelHead {
  const clock = { nowMs: () => T0, monotonicMs: () => 0 };
  const head = new KernelHead({
    clock,
    retentionMs: 1e15,
    outOfOrderMsMax: 1e15,
    futureMsMax: 1e15,
    seriesMax: 1000,
    bodyBytesMax: 2 ** 20,
    memoryBytes: 64 * 2 ** 20,
  });
  for (const { labels, samples: own } of all) {
    const ref = head.series(labelsFromObject(labels));
    for (const { timeMs, value: v } of own) {
      if (v === 'stale') head.append(ref, timeMs, STALE_NAN_LOW, STALE_NAN_HIGH);
      else head.append(ref, timeMs, float64Low(v), float64High(v));
    }
  }
  return head;
}

function oracleAnswer(ends: Omit<OracleWorld, 'firstMs' | 'lastMs'>, text: string, times: readonly number[]): Answer {
  const world = { ...ends, firstMs: times[0]!, lastMs: times.at(-1)! };
  const answer = new Map<string, Map<number, number>>();
  const expr = parseExpr(text, { features: FEATURES, depthMax: 128 });
  try {
    for (const timeMs of times) {
      const result = evaluate(world, expr, timeMs);
      const elements = typeof result === 'number' ? [{ labels: {}, value: result }] : result;
      for (const { labels, value: v } of elements) put(answer, keyOf(labels), timeMs, v);
    }
    return answer;
  } catch (error) {
    if (error instanceof OracleError) return 'error';
    throw error;
  }
}

function put(answer: Map<string, Map<number, number>>, key: string, timeMs: number, v: number): void {
  const points = answer.get(key) ?? new Map<number, number>();
  answer.set(key, points);
  points.set(timeMs, v);
}

async function engineAnswer(ask: () => Promise<{ value: QueryValue }>): Promise<Answer> {
  const answer = new Map<string, Map<number, number>>();
  try {
    const { value: result } = await ask();
    if (result.kind === 'vector')
      for (const [i, labels] of result.labels.entries())
        put(answer, keyOfLabels(labels), result.timeMs, result.values[i]!);
    if (result.kind === 'matrix') {
      for (const { labels, timesMs, values } of result.series)
        for (const [i, timeMs] of timesMs.entries()) put(answer, keyOfLabels(labels), timeMs, values[i]!);
    }
    return answer;
  } catch (error) {
    if (error instanceof CodedError && error.code === 'query_failed') return 'error';
    throw error;
  }
}

function keyOfLabels(labels: Labels): string {
  return keyOf(
    Object.fromEntries(Array.from({ length: labels.length / 2 }, (_, i) => [labels[2 * i], labels[2 * i + 1]])),
  );
}

function difference(want: Answer, got: Answer): string | null {
  if (want === 'error' || got === 'error') return want === got ? null : `got ${describe(got)}, want ${describe(want)}`;
  for (const key of new Set([...want.keys(), ...got.keys()])) {
    const [a, b] = [want.get(key) ?? new Map<number, number>(), got.get(key) ?? new Map<number, number>()];
    for (const timeMs of new Set([...a.keys(), ...b.keys()])) {
      const [x, y] = [a.get(timeMs), b.get(timeMs)];
      if (x === undefined || y === undefined || !isClose(x, y)) return `${key} at ${timeMs}: got ${y}, want ${x}`;
    }
  }
  return null;
}

function describe(answer: Answer): string {
  return answer === 'error' ? 'an error' : `${answer.size} series`;
}

function isClose(a: number, b: number): boolean {
  if (Object.is(a, b) || a === b) return true;
  return Math.abs(a - b) <= ROUNDING * Math.max(1, Math.abs(a), Math.abs(b));
}

test('the engine answers as the oracle does', { timeout: 1_200_000 }, async (t) => {
  t.comment(`TIDEGAUGE_SEED=${SEED}`);
  const counts = { errors: 0, empty: 0, values: 0 };
  const property = fc.asyncProperty(
    series,
    fc.array(vector, { minLength: QUERIES, maxLength: QUERIES }),
    async (all, texts) => {
      const head = headOf(all);
      const clock = { nowMs: () => T0, monotonicMs: () => 0 };
      const engine = new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: LOOKBACK_MS });
      for (const text of texts) {
        const startMs = T0 - 3000;
        const endMs = startMs + (STEPS - 1) * STEP_MS;
        const world = { series: all, lookbackMs: LOOKBACK_MS, subqueryStepMs: 60_000 };
        const times = Array.from({ length: STEPS }, (_, k) => startMs + k * STEP_MS);
        const range = await engineAnswer(() => engine.range({ text, startMs, endMs, stepMs: STEP_MS, scope: null }));
        const wanted = oracleAnswer({ ...world, startMs, endMs }, text, times);
        const why = difference(wanted, range);
        if (why !== null) throw new Error(`${text}: over a range: ${why}`);
        const one = await engineAnswer(() => engine.instant({ text, timeMs: T0, scope: null }));
        const whyOne = difference(oracleAnswer({ ...world, startMs: T0, endMs: T0 }, text, [T0]), one);
        if (whyOne !== null) throw new Error(`${text}: at one time: ${whyOne}`);
        counts[wanted === 'error' ? 'errors' : wanted.size === 0 ? 'empty' : 'values']++;
      }
    },
  );
  await fc.assert(property, { seed: SEED, numRuns: WORLDS, endOnFailure: true });
  t.comment(`${counts.values} with values, ${counts.empty} empty, ${counts.errors} errors`);
  t.ok(counts.values > (WORLDS * QUERIES) / 3, 'most queries have values');
});
