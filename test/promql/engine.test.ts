import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { type Labels, labelsFromObject, labelsText } from '../../src/model/labels.ts';
import { float64High, float64Low, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { type EngineOptions, QueryEngine, type RangeQuery } from '../../src/promql/engine.ts';
import type { QueryResult } from '../../src/promql/result.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';

/** A multiple of a minute, on which the points of subqueries lie. */
const T0 = 1_700_000_040_000;
const SCRAPE_MS = 15_000;

interface World {
  readonly head: KernelHead;
  readonly engine: QueryEngine;
  add(labels: Record<string, string>, values: readonly (number | 'stale')[]): void;
  instant(text: string, atMs?: number, more?: object): Promise<QueryResult>;
  range(text: string, more?: Partial<RangeQuery>): Promise<QueryResult>;
}

/** A head and an engine with a clock whose monotonic time goes on by `tickMs` each time that somebody looks. */
function world(options: Partial<EngineOptions> = {}, tickMs = 0): World {
  let monotonicMs = 0;
  const clock = {
    nowMs: () => T0,
    monotonicMs: () => {
      monotonicMs += tickMs;
      return monotonicMs;
    },
  };
  const head = new KernelHead({ clock, retentionMs: 1e15, outOfOrderMsMax: 1e15, futureMsMax: 1e15, seriesMax: 1e6 });
  const engine = new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: 300_000, ...options });
  return {
    head,
    engine,
    add(labels, values) {
      const ref = head.series(labelsFromObject(labels));
      for (const [k, value] of values.entries()) {
        if (value === 'stale') head.append(ref, T0 + k * SCRAPE_MS, STALE_NAN_LOW, STALE_NAN_HIGH);
        else head.append(ref, T0 + k * SCRAPE_MS, float64Low(value), float64High(value));
      }
    },
    instant: (text, atMs = T0, more = {}) => engine.instant({ text, timeMs: atMs, scope: null, ...more }),
    range: (text, more = {}) =>
      engine.range({ text, startMs: T0, endMs: T0 + 60_000, stepMs: SCRAPE_MS, scope: null, ...more }),
  };
}

function ramp(count: number, by = 1): number[] {
  return Array.from({ length: count }, (_, k) => k * by);
}

/** Labels as text → value, or times and values. */
function plain({ value }: QueryResult): unknown {
  if (value.kind === 'vector')
    return Object.fromEntries(value.labels.map((labels, i) => [labelsText(labels), value.values[i]]));
  if (value.kind === 'matrix')
    return Object.fromEntries(value.series.map(({ labels, values }) => [labelsText(labels), [...values]]));
  return value.value;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    if (error instanceof CodedError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

test('an instant query answers each of the four types', async (t) => {
  const w = world();
  w.add({ __name__: 'up', job: 'a' }, [1, 0, 1]);
  t.strictSame(plain(await w.instant('up', T0 + 15_000)), { 'up{job="a"}': 0 });
  t.strictSame((await w.instant('1 + 1')).value, { kind: 'scalar', timeMs: T0, value: 2 });
  t.strictSame((await w.instant('("x")')).value, { kind: 'string', timeMs: T0, value: 'x' });
  const matrix = (await w.instant('up[1m]', T0 + 30_000)).value;
  t.strictSame(matrix, {
    kind: 'matrix',
    series: [
      {
        labels: ['__name__', 'up', 'job', 'a'],
        timesMs: Float64Array.of(T0, T0 + 15_000, T0 + 30_000),
        values: Float64Array.of(1, 0, 1),
      },
    ],
  });
});

test('a range query gives sorted series, and only the points there are', async (t) => {
  const w = world();
  w.add({ __name__: 'x', i: 'b' }, [1, 2, 3]);
  w.add({ __name__: 'x', i: 'a' }, [4, 5, 'stale']);
  t.strictSame(plain(await w.range('x', { endMs: T0 + 45_000 })), { 'x{i="a"}': [4, 5], 'x{i="b"}': [1, 2, 3, 3] });
  const { value } = await w.range('x', { endMs: T0 + 45_000 });
  t.strictSame(value.kind === 'matrix' && value.series.map(({ labels }) => labels[3]), ['a', 'b']);
  t.strictSame(plain(await w.range('time() - 1700000040')), { '{}': [0, 15, 30, 45, 60] });
});

test('what was read is told: series, samples, and the newest of them', async (t) => {
  const w = world();
  w.add({ __name__: 'x', i: 'a' }, [1, 2, 3, 4]);
  w.add({ __name__: 'x', i: 'b' }, [1, 2, 'stale']);
  const f = async (text: string, atMs: number, want: object) =>
    t.strictSame((await w.instant(text, atMs)).read, want, text);
  await f('x', T0 + 60_000, { series: 2, samples: 6, newestMs: T0 + 45_000 });
  await f('rate(x[1m])', T0 + 20_000, { series: 2, samples: 4, newestMs: T0 + 15_000 });
  await f('x{i="b"}', T0 + 60_000, { series: 1, samples: 2, newestMs: T0 + 15_000 });
  // What is written twice is read once.
  await f('sum(x) / sum(x)', T0, { series: 2, samples: 2, newestMs: T0 });
  await f('nothing', T0, { series: 0, samples: 0, newestMs: null });
  await f('1', T0, { series: 0, samples: 0, newestMs: null });
  await f('max_over_time(x[30s:15s])', T0 + 45_000, { series: 2, samples: 6, newestMs: T0 + 45_000 });
});

test('matchers and scope of a query go into every selector, implicit ones included', async (t) => {
  const w = world({ experimental: { experimentalFunctions: true } });
  for (const namespace of ['a', 'b']) {
    w.add({ __name__: 'x', namespace, instance: '1', job: 'j' }, [1]);
    w.add({ __name__: 'y', namespace, instance: '1', job: 'j' }, [2]);
    w.add({ __name__: 'target_info', namespace, instance: '1', job: 'j', version: `v-${namespace}` }, [1]);
  }
  const scoped = { scope: ['a'] };
  t.strictSame(plain(await w.instant('x + y', T0, scoped)), { '{instance="1", job="j", namespace="a"}': 3 });
  t.strictSame(plain(await w.instant('sum(x) or y', T0, scoped)), {
    '{}': 1,
    'y{instance="1", job="j", namespace="a"}': 2,
  });
  t.strictSame(plain(await w.instant('sum_over_time(x[1m:15s])', T0, scoped)), {
    '{instance="1", job="j", namespace="a"}': 1,
  });
  t.strictSame(plain(await w.instant('count(info(x, {version="v-b"}))', T0, scoped)), {});
  t.strictSame(plain(await w.instant('count(x)', T0, { scope: [] })), {});
  const matchers = [{ type: '=', name: 'namespace', value: 'b' }] as const;
  t.strictSame(plain(await w.instant('x * y', T0, { matchers })), { '{instance="1", job="j", namespace="b"}': 2 });
  t.strictSame(plain(await w.instant('absent(x{namespace="a"})', T0, { matchers })), { '{namespace="a"}': 1 });
});

test('errors say whose fault it is', async (t) => {
  const w = world();
  w.add({ __name__: 'x', i: 'a', g: '1' }, ramp(10));
  w.add({ __name__: 'x', i: 'b', g: '1' }, ramp(10));
  const f = async (text: string, want: string) => t.equal(await codeOf(w.instant(text)), want, text);
  await f('sum(', 'bad_data: 1:5: parse error: unclosed left parenthesis');
  await f('x anchored', 'bad_data: 1:1: parse error: anchored modifier is experimental and not enabled');
  await f(
    'x * on(g) x',
    'query_failed: found duplicate series for the match group {g="1"} on the right hand-side of the operation: [{__name__="x", g="1", i="a"}, {__name__="x", g="1", i="b"}];many-to-many matching not allowed: matching labels must be unique on one side',
  );
  t.equal(
    await codeOf(w.range('x[1m]')),
    'bad_data: invalid expression type "range vector" for range query, must be Scalar or instant Vector',
  );
  t.match(await codeOf(w.range('x', { stepMs: 0 })), /^bad_data: cannot evaluate range/);
  t.match(await codeOf(w.range('x', { startMs: T0 + 120_000 })), /^bad_data: cannot evaluate range/);
  t.match(
    await codeOf(w.instant(`x${' '.repeat(17_000)}`)),
    /^bad_data: cannot parse query: got 17001 bytes, want at most 16384/,
  );
  t.match(
    await codeOf(w.range('x', { stepMs: 1 })),
    /^bad_data: exceeded maximum resolution of 11,000 points per timeseries/,
  );
  t.match(await codeOf(w.instant('max_over_time(x[100y:1ms])')), /^query_too_large/);
  const extended = world({ experimental: { extendedRangeSelectors: true, experimentalFunctions: true } });
  t.match(await codeOf(extended.instant('x anchored')), /^query_unsupported: .*anchored/);
  t.match(
    await codeOf(w.instant(new Array(8000).fill('1').join('+'))),
    /^(bad_data: cannot evaluate query: it is nested too deeply|no error)/,
  );
});

test('a query that would read too much is refused before anything is decoded', async (t) => {
  const w = world();
  for (let i = 0; i < 10; i++) w.add({ __name__: 'x', i: String(i) }, ramp(100));
  const at = T0 + 99 * SCRAPE_MS;
  const text = 'query_too_large: query processing would load too many samples into memory in query execution';
  t.equal(await codeOf(w.instant('sum(sum_over_time(x[1h]))', at, { samplesMax: 999 })), text);
  t.equal(await codeOf(w.instant('sum(sum_over_time(x[1h]))', at, { samplesMax: 1001 })), 'no error');
  // Results that must be held count as well.
  t.equal(await codeOf(w.range('x + x', { stepMs: 100, samplesMax: 3000 })), text);
});

test('a small query is answered without a turn of the event loop', async (t) => {
  const w = world();
  w.add({ __name__: 'x' }, ramp(10));
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  await w.instant('sum(rate(x[1m]))', T0 + 60_000);
  t.equal(turned, false);
});

test('a long query lets the event loop turn, and ends with its time or its caller', async (t) => {
  const large = (tickMs: number): World => {
    const w = world({}, tickMs);
    for (let i = 0; i < 50; i++) w.add({ __name__: 'x', i: String(i) }, ramp(50));
    return w;
  };
  const steps = { stepMs: 100, endMs: T0 + 49 * SCRAPE_MS };
  let turns = 0;
  let going = true;
  const count = (): void => {
    turns++;
    if (going) setImmediate(count);
  };
  setImmediate(count);
  const result = await large(1).range('sum(max_over_time(x[1m]))', { ...steps, timeoutMs: 1e9 });
  going = false;
  t.ok(turns > 5, `${turns} turns`);
  t.equal(result.value.kind === 'matrix' && result.value.series.length, 1);

  t.equal(
    await codeOf(large(5).range('sum(max_over_time(x[1m]))', { ...steps, timeoutMs: 100 })),
    'query_timeout: query timed out in expression evaluation',
  );
  const caller = new AbortController();
  const asked = codeOf(
    large(1).range('sum(max_over_time(x[1m]))', { ...steps, timeoutMs: 1e9, signal: caller.signal }),
  );
  setImmediate(() => caller.abort());
  t.equal(await asked, 'query_canceled: query was canceled in expression evaluation');
});

test('names are removed at once, or at the end', async (t) => {
  const fill = (w: World): World => {
    w.add({ __name__: 'a_total', i: '1' }, ramp(5));
    w.add({ __name__: 'b_total', i: '1' }, ramp(5, 2));
    w.add({ __name__: 'later', i: '1' }, [1]);
    return w;
  };
  const now = fill(world());
  const later = fill(world({ delayedNameRemoval: true }));
  const both = async (text: string, wantNow: unknown, wantLater: unknown) => {
    const at = T0 + 60_000;
    const answer = async (w: World): Promise<unknown> =>
      w.instant(text, at).then(plain, (error: Error) => error.message);
    t.strictSame(await answer(now), wantNow, `${text}, at once`);
    t.strictSame(await answer(later), wantLater, `${text}, at the end`);
  };
  const clash = 'vector cannot contain metrics with the same labelset';
  await both('a_total * 2', { '{i="1"}': 8 }, { '{i="1"}': 8 });
  await both('{__name__=~"._total"} + 1', clash, clash);
  await both('-{__name__=~"._total"}', clash, clash);
  await both('sum by (i) ({__name__=~"._total"} + 1)', clash, { '{i="1"}': 14 });
  await both(
    'label_replace(a_total * 2, "n", "$1", "__name__", "(.*)")',
    { '{i="1"}': 8 },
    { '{i="1", n="a_total"}': 8 },
  );
  await both('a_total > bool 1', { '{i="1"}': 1 }, { '{i="1"}': 1 });
  await both('sum by (__name__) (abs(a_total))', { '{}': 4 }, { '{}': 4 });
  await both('last_over_time(a_total[1m])', { 'a_total{i="1"}': 4 }, { 'a_total{i="1"}': 4 });
});

test('series that never share a step are put together', async (t) => {
  const w = world();
  w.add({ __name__: 'a', i: '1' }, [1, 'stale']);
  w.add({ __name__: 'b', i: '1' }, []);
  w.head.append(w.head.series(labelsFromObject({ __name__: 'b', i: '1' })), T0 + 30_000, float64Low(5), float64High(5));
  t.strictSame(plain(await w.range('abs({i="1"})')), { '{i="1"}': [1, 5, 5, 5] });
});

test('plans are kept by their text; selectors are told', async (t) => {
  const w = world();
  t.strictSame(w.engine.selectors('sum(a{x="1"}) / rate(b[5m]) or max_over_time(c[1h:])'), [
    [
      { type: '=', name: 'x', value: '1' },
      { type: '=', name: '__name__', value: 'a' },
    ],
    [{ type: '=', name: '__name__', value: 'b' }],
    [{ type: '=', name: '__name__', value: 'c' }],
  ]);
  t.equal(w.engine.selectors('a + b'), w.engine.selectors('a + b'), 'the same plan');
  t.throws(() => w.engine.selectors('a +'), { code: 'bad_data' });
  t.strictSame(w.engine.parseSelector('{a="b"}'), [{ type: '=', name: 'a', value: 'b' }]);
  t.throws(() => w.engine.parseSelector('a + b'), { code: 'bad_data', message: '1:3: parse error: unexpected <op:+>' });
});

test('label sets sort by code point, not by UTF-16 unit', async (t) => {
  const w = world();
  const order: Labels[] = [];
  for (const i of ['\ue000', '😀', 'a']) w.add({ __name__: 'x', i }, [1]);
  const { value } = await w.range('x', { endMs: T0 });
  if (value.kind === 'matrix') for (const { labels } of value.series) order.push(labels);
  t.strictSame(
    order.map((labels) => labels[3]),
    ['a', '\ue000', '😀'],
  );
});
