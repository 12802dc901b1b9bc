import { test } from 'tap';
import { EMPTY_HISTOGRAM, encodeHistogram } from '../../src/model/histogram.ts';
import { labelsFromObject } from '../../src/model/labels.ts';
import { LIMITS } from '../../src/model/limits.ts';
import type { Matcher } from '../../src/model/matcher.ts';
import type { Scope } from '../../src/model/scope.ts';
import { DEFAULT_POLICY, type Policy } from '../../src/scaling/policy.ts';
import { type ReadingAbsence, Readings, type ReadingValue } from '../../src/scaling/reading.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { ScalingStack, START_MS } from '../support/scaling-stack.ts';

const MINUTE_MS = 60_000;

interface Asked {
  readonly scope?: Scope;
  readonly matchers?: readonly Matcher[];
}

async function ask(stack: ScalingStack, query: string, { scope = null, matchers }: Asked = {}) {
  const reading = await stack.readings.read({
    query,
    scope,
    surface: 'keda',
    ...(matchers === undefined ? {} : { matchers }),
  });
  return reading.kind === 'value' ? String(reading.value) : `${reading.code}: ${reading.reason}`;
}

/** Two pods of one service, sampled every 15 s for ten minutes up to now. */
function fill(stack: ScalingStack): void {
  for (let at = START_MS - 10 * MINUTE_MS; at <= START_MS; at += 15_000) {
    stack.put({ __name__: 'depth', namespace: 'shop', pod: 'a' }, 3, at);
    stack.put({ __name__: 'depth', namespace: 'shop', pod: 'b' }, 4, at);
    stack.put({ __name__: 'requests_total', namespace: 'shop', pod: 'a' }, 7, at);
    stack.put({ __name__: 'secret', namespace: 'vault' }, 1, at);
  }
}

test('a query that has one value is a value', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  const f = async (query: string, want: string) => t.equal(await ask(stack, query), want, query);
  await f('sum(depth)', '7');
  await f('depth{pod="a"}', '3');
  await f('scalar(sum(depth))', '7');
  await f('rate(requests_total[2m])', '0');
  await f('sum(depth) - 7', '0');
  await f('-1 * (sum(depth) - 7)', '0');
  await f('vector(0)', '0');
  await f('sum(nope) or vector(0)', '0');
  await f('sum(depth offset 9m)', '7');
  const reading = (await stack.readings.read({
    query: 'depth{pod="a"}',
    scope: null,
    surface: 'keda',
  })) as ReadingValue;
  t.strictSame(
    { ...reading, labels: reading.labels.join(' ') },
    {
      kind: 'value',
      value: 3,
      labels: '__name__ depth namespace shop pod a',
      timeMs: START_MS,
      newestMs: START_MS,
      series: 1,
      sourcesExpected: 1,
      sourcesSeen: 1,
      origin: 'query',
      note: '',
    },
  );
});

test('everything else is an absence with its reason, never a zero', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  const f = async (query: string, want: string | RegExp) => t.match(await ask(stack, query), want, query);
  await f('sum(nope)', 'unknown_metric: unknown metric "nope"');
  await f('sum(depth) / sum(nope)', 'unknown_metric: unknown metric "nope"');
  await f('sum({"odd name"})', 'unknown_metric: unknown metric "odd name"');
  await f('depth{pod="z",zone=~"e.*"}', 'no_series: no series match depth{pod="z", zone=~"e.*"}');
  await f('{pod="z"}', 'no_series: no series match {pod="z"}');
  await f('count(depth{pod="z"}) > 0', 'no_series: no series match depth{pod="z"}');
  await f('sum(depth) > 100', 'no_series: no series match: the series exist, but the expression leaves none of them');
  await f('depth', 'ambiguous: ambiguous: 2 series, want one');
  await f('sum(depth) / 0', 'not_a_number: not a number: Infinity');
  await f('sum(depth) * NaN', 'not_a_number: not a number: NaN');
  await f('scalar(nope)', 'unknown_metric: unknown metric "nope"');
  await f('sum(depth) - 10', /^negative: negative: -3/);
  await f('sum(depth', /^bad_data: .*parse error/);
  await f('depth[5m]', /^bad_data: cannot read one value: got a range vector/);
  await f('"seven"', /^bad_data: cannot read one value: got a string/);
});

test('silence is told with its age', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  stack.clock.advance(7 * MINUTE_MS + 12_000);
  stack.put({ __name__: 'other' }, 1);
  t.equal(await ask(stack, 'sum(depth)'), 'stale: stale since 2026-11-21T10:00:00Z, 7m12s ago');
  t.equal(await ask(stack, 'sum(depth) + sum(other)'), 'stale: stale since 2026-11-21T10:00:00Z, 7m12s ago');
  t.equal(await ask(stack, 'sum(other)'), '1');
  const reading = (await stack.readings.read({ query: 'sum(depth)', scope: null, surface: 'keda' })) as ReadingAbsence;
  t.strictSame([reading.newestMs, reading.series], [START_MS, 2]);
});

test('a native histogram is no number, whatever stands for missing data', async (t) => {
  const stack = new ScalingStack();
  const blob = encodeHistogram({ ...EMPTY_HISTOGRAM, count: 6, sum: 12, zeroCount: 6 }, false);
  for (const pod of ['a', 'b']) {
    const ref = stack.head.series(labelsFromObject({ __name__: 'latency', pod }));
    for (let at = START_MS - 10 * MINUTE_MS; at <= START_MS; at += 15_000) stack.head.appendHistogram(ref, at, blob);
  }
  const f = async (query: string, want: string, policy: Partial<Policy> = {}) => {
    const request = { query, scope: null, surface: 'keda', policy: { ...DEFAULT_POLICY, ...policy } } as const;
    const reading = await stack.readings.read(request);
    t.equal(reading.kind === 'value' ? String(reading.value) : `${reading.code}: ${reading.reason}`, want, query);
  };
  const wrong =
    'bad_data: cannot read one value: got a native histogram, want a number, for example by histogram_quantile(), histogram_count() or histogram_sum()';
  await f('latency{pod="a"}', wrong);
  await f('sum(latency)', wrong);
  await f('sum(latency)', wrong, { noData: { kind: 'number', value: 0 }, clampMin: 0 });
  await f('latency', wrong, { reduce: 'sum' });
  await f('latency or vector(3)', wrong, { reduce: 'max' });
  await f('latency', 'ambiguous: ambiguous: 2 series, want one');
  await f('latency', '2', { reduce: 'count' });
  await f('histogram_count(sum(latency))', '12');
  await f('histogram_sum(latency)', '24', { reduce: 'sum' });
});

test('a window that is longer than its samples are young does not outlive its sender', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  stack.clock.advance(35_000);
  t.equal(await ask(stack, 'sum(avg_over_time(depth[15m]))'), '7', 'two intervals and five seconds');
  stack.clock.advance(1000);
  t.equal(await ask(stack, 'sum(avg_over_time(depth[15m]))'), 'stale: stale since 2026-11-21T10:00:00Z, 36s ago');
  stack.clock.advance(7 * MINUTE_MS);
  stack.put({ __name__: 'other' }, 1);
  t.equal(
    await ask(stack, 'sum(avg_over_time(depth[15m]))'),
    'stale: stale since 2026-11-21T10:00:00Z, 7m36s ago',
    'nor once its senders are forgotten',
  );
});

test('a series that its sender ended is silent at once', async (t) => {
  const stack = new ScalingStack();
  stack.put({ __name__: 'depth' }, 3);
  stack.clock.advance(15_000);
  stack.end({ __name__: 'depth' });
  stack.clock.advance(5000);
  t.equal(await ask(stack, 'sum(depth)'), 'stale: stale since 2026-11-21T10:00:00Z, 20s ago, ended by a stale marker');
});

test('samples that lie ahead of the clock are named as such', async (t) => {
  const stack = new ScalingStack();
  stack.put({ __name__: 'depth' }, 3, START_MS + 5 * MINUTE_MS);
  t.equal(
    await ask(stack, 'depth'),
    'stale: stale: the samples lie ahead of the clock, the newest at 2026-11-21T10:05:00Z',
  );
});

test('before anything was received, whatever reads series is warming up', async (t) => {
  const stack = new ScalingStack();
  const warming = 'warming_up: warming up: no sample received since the start';
  t.equal(await ask(stack, 'sum(depth)'), warming);
  t.equal(await ask(stack, 'sum(depth) or vector(0)'), warming);
  t.equal(await ask(stack, 'vector(2)'), '2');
  t.match(await ask(stack, 'sum('), /^bad_data: /);
  stack.put({ __name__: 'other' }, 1);
  t.match(await ask(stack, 'sum(depth) or vector(0)'), /^warming_up: /, 'the others may be yet to come');
  stack.clock.advance(5 * MINUTE_MS);
  stack.put({ __name__: 'other' }, 1);
  t.equal(await ask(stack, 'sum(depth) or vector(0)'), '0');
});

test('matchers of the asker narrow every selector', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  const matchers: readonly Matcher[] = [{ type: '=~', name: 'pod', value: 'b' }];
  t.equal(await ask(stack, 'sum(depth) + sum(depth)', { matchers }), '8');
  t.equal(await ask(stack, 'sum(requests_total)', { matchers }), 'no_series: no series match requests_total{pod=~"b"}');
});

test('a scope hides other namespaces, their metric names and their ages included', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  t.equal(await ask(stack, 'sum(depth)', { scope: ['shop'] }), '7');
  t.equal(await ask(stack, 'sum(depth)', { scope: ['other'] }), 'unknown_metric: unknown metric "depth"');
  t.equal(
    await ask(stack, 'secret', { scope: ['shop'] }),
    await ask(stack, 'nope', { scope: ['shop'] }).then((text) => text.replace('nope', 'secret')),
  );
  t.equal(
    await ask(stack, '{namespace="vault"}', { scope: ['shop'] }),
    'no_series: no series match {namespace="vault"}',
  );
  t.equal(await ask(stack, 'secret', { scope: ['shop', 'vault'] }), '1');
});

test('who asks under another scope shares nothing', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  const asked = async (name: string, scope: Scope) => {
    const asker = { namespace: 'shop', name, call: 'GetMetrics', target: null, activation: null };
    const reading = await stack.readings.read({ query: 'sum(secret) or vector(0)', scope, surface: 'keda', asker });
    return reading.kind === 'value' ? reading.value : reading.code;
  };
  t.equal(await asked('all', null), 1);
  t.equal(await asked('vault', ['vault']), 1);
  t.equal(await asked('shop', ['shop']), 0);
  t.equal(await asked('other', ['shop', 'vault']), 1);
});

test('a query is bounded in samples, and its outcomes are counted', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  const seen: unknown[] = [];
  const spy = new Readings({
    lookbackMs: 300_000,
    engine: {
      instant: (query) => {
        seen.push([query.samplesMax, query.timeoutMs, query.timeMs]);
        return stack.engine.instant(query);
      },
      selectors: (text) => stack.engine.selectors(text),
    },
    head: stack.head,
    clock: stack.clock,
    registry: new Registry(),
  });
  await spy.read({ query: 'sum(depth)', scope: null, surface: 'kubernetes', timeMs: START_MS - 1000 });
  t.strictSame(seen, [[LIMITS.scalerSamplesMax, LIMITS.scalerTimeoutMs, START_MS - 1000]]);
  await ask(stack, 'sum(depth)');
  await ask(stack, 'nope');
  const exposed = stack.registry.expose();
  t.match(exposed, 'tidegauge_readings_total{surface="keda",outcome="value"} 1');
  t.match(exposed, 'tidegauge_readings_total{surface="keda",outcome="unknown_metric"} 1');
});

test('a fault of the daemon is thrown, and counted', async (t) => {
  const { head, clock } = new ScalingStack();
  const registry = new Registry();
  const broken = { instant: () => Promise.reject(new TypeError('broken')), selectors: () => [] };
  const readings = new Readings({ engine: broken, head, clock, registry, lookbackMs: 300_000 });
  await t.rejects(readings.read({ query: 'depth', scope: null, surface: 'keda' }), { message: 'broken' });
  t.match(registry.expose(), 'tidegauge_readings_total{surface="keda",outcome="internal"} 1');
});
