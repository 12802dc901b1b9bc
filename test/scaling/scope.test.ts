/**
 * Tenants: under a scope, nothing of another namespace comes out, whatever the expression. Series of the namespace `vault`
 * are full of one word; no answer, reason, explanation, recorded decision or event under the scope `shop` may hold it, and
 * each is exactly what it is in a store that never had those series.
 *
 * TIDEGAUGE_TAINT_SEED replays a run.
 */
import * as fc from 'fast-check';
import { test } from 'tap';
import { EMPTY_HISTOGRAM, encodeHistogram } from '../../src/model/histogram.ts';
import { labelsFromObject } from '../../src/model/labels.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { FUNCTIONS, type FunctionInfo } from '../../src/promql/functions/table.ts';
import type { AggregateOp } from '../../src/promql/syntax/ast.ts';
import { explain } from '../../src/scaling/explanation.ts';
import { DEFAULT_POLICY, type Policy, REDUCERS } from '../../src/scaling/policy.ts';
import { type Reading, Readings } from '../../src/scaling/reading.ts';
import { Recorder } from '../../src/scaling/recorder.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { ScalingStack, START_MS } from '../support/scaling-stack.ts';

const TAINT = 'xyzzy';
/** Numbers that only the other namespace has. */
const TAINTED_VALUE = 31_337;
const LABELS = ['pod', 'job', 'instance', 'team', 'namespace'];

const HISTOGRAM = encodeHistogram({ ...EMPTY_HISTOGRAM, count: 6, sum: 12, zeroCount: 6 }, false);
const TAINTED_HISTOGRAM = encodeHistogram({ ...EMPTY_HISTOGRAM, count: 9, sum: TAINTED_VALUE, zeroCount: 9 }, false);

/** Without others, the store holds what the scope may see and nothing else. */
function fill(stack: ScalingStack, withOthers: boolean): void {
  for (let at = START_MS - 600_000; at <= START_MS; at += 15_000) {
    for (const pod of ['a', 'b']) {
      const own = { namespace: 'shop', job: 'web', instance: `${pod}:80`, pod, team: 'blue' };
      const other = { namespace: 'vault', job: 'web', instance: `${pod}:80`, pod: `${TAINT}-${pod}`, team: TAINT };
      const bare = { job: 'web', instance: `${pod}:80`, team: TAINT };
      const foreign = withOthers ? [other, bare] : [];
      for (const name of ['depth', 'requests_total']) {
        stack.put({ __name__: name, ...own }, 3, at);
        for (const labels of foreign) stack.put({ __name__: name, ...labels }, TAINTED_VALUE, at);
      }
      for (const le of ['1', '+Inf']) {
        stack.put({ __name__: 'latency_bucket', ...own, le }, 5, at);
        for (const labels of foreign) stack.put({ __name__: 'latency_bucket', ...labels, le }, TAINTED_VALUE, at);
      }
      putHistogram(stack, { __name__: 'latency', ...own }, HISTOGRAM, at);
      for (const labels of foreign) putHistogram(stack, { __name__: 'latency', ...labels }, TAINTED_HISTOGRAM, at);
      stack.put({ __name__: 'target_info', ...own, version: 'v1' }, 1, at);
      if (!withOthers) continue;
      stack.put({ __name__: `${TAINT}_secret`, ...other }, TAINTED_VALUE, at);
      stack.put({ __name__: 'target_info', ...other, version: TAINT, owner: TAINT }, 1, at);
      stack.put({ __name__: 'target_info', ...bare, owner: TAINT }, 1, at);
    }
  }
}

function putHistogram(stack: ScalingStack, labels: Readonly<Record<string, string>>, blob: Uint8Array, atMs: number) {
  stack.head.appendHistogram(stack.head.series(labelsFromObject(labels)), atMs, blob);
}

const label = fc.constantFrom(...LABELS);
const selector = fc.constantFrom(
  'depth',
  'requests_total',
  '{__name__=~".+"}',
  '{__name__!="depth"}',
  'depth{namespace="vault"}',
  'depth{namespace!="shop"}',
  'depth{namespace=""}',
  'depth{team=~".+"}',
  'nope',
  'target_info',
  '{namespace=~"v.*", __name__=~".*secret"}',
);

const BINARY = ['+', '-', '*', '/', '%', '^', 'atan2', '==', '!=', '<', '<=', '>', '>=', '== bool', '> bool'];
const SETS = ['and', 'or', 'unless', 'and on (job)', 'or ignoring (pod)', 'unless on (instance)'];
const AGGREGATES: Readonly<Record<AggregateOp, string>> = {
  sum: '',
  avg: '',
  count: '',
  min: '',
  max: '',
  group: '',
  stddev: '',
  stdvar: '',
  topk: '2, ',
  bottomk: '2, ',
  limitk: '1, ',
  limit_ratio: '0.5, ',
  quantile: '0.9, ',
  count_values: '"v", ',
};
const TEXTS: Readonly<Record<string, string>> = {
  label_replace: '"copy", "$1", "team", "(.*)"',
  label_join: '"copy", "-", "team", "pod", "owner"',
  histogram_quantiles: '"q", 0.5, 0.9',
};

/** A call of a function with arguments of the right types; every one may stand where an instant vector may. */
function callOf({ name, args, returns }: FunctionInfo, vector: string, ranged: string): string {
  const texts = TEXTS[name];
  const firstText = args.indexOf('string');
  const own = texts === undefined || firstText < 0 ? args : args.slice(0, firstText);
  const written = own.map((type, i) => {
    if (type === 'range vector') return ranged;
    if (type === 'string') return '"team"';
    if (type === 'scalar') return name === 'double_exponential_smoothing' ? '0.5' : `${i + 1}`;
    return name === 'info' && i === 1 ? '{owner=~".*", version=~".*"}' : vector;
  });
  const call = `${name}(${[...written, ...(texts === undefined ? [] : [texts])].join(', ')})`;
  return returns === 'scalar' ? `vector(${call})` : call;
}

const { expression } = fc.letrec<{ expression: string }>((tie) => {
  const inner = tie('expression');
  const unary = (...forms: ((a: string) => string)[]) =>
    fc.tuple(fc.constantFrom(...forms), inner).map(([f, a]) => f(a));
  const binary = fc.tuple(inner, fc.constantFrom(...BINARY, ...SETS), inner).map(([a, op, b]) => `(${a}) ${op} (${b})`);
  const joined = fc
    .tuple(inner, label, label, inner)
    .map(([a, on, take, b]) => `(${a}) * on (${on}) group_left (${take}) (${b})`);
  const aggregated = fc
    .tuple(fc.constantFrom(...Object.entries(AGGREGATES)), fc.subarray(LABELS), inner)
    .map(([[op, parameter], by, a]) => `${op} by (${by.join(', ')}) (${parameter}${a})`);
  const range = fc
    .tuple(selector, fc.constantFrom('[2m]', '[10m]', '[5m] offset 1m', '[2m] @ 1795255200'))
    .map(([what, span]) => `${what}${span}`);
  const subquery = inner.map((a) => `(${a})[5m:1m]`);
  const called = fc
    .tuple(fc.constantFrom(...FUNCTIONS.values()), inner, fc.oneof(range, subquery))
    .map(([info, a, r]) => callOf(info, a, r));
  return {
    expression: fc.oneof(
      { depthSize: 'medium', withCrossShrink: true },
      selector,
      called,
      aggregated,
      binary,
      joined,
      unary(
        (a) => `-(${a})`,
        (a) => `info(${a})`,
        (a) => `info(${a}, {__name__=~".+"})`,
        (a) => `vector(scalar(${a}))`,
        (a) => `label_replace(${a}, "namespace", "vault", "", "")`,
      ),
    ),
  };
});

const policy: fc.Arbitrary<Policy> = fc.record({
  noData: fc.constantFrom<Policy['noData']>(
    { kind: 'error' },
    { kind: 'last', maxAgeMs: 60_000 },
    { kind: 'number', value: 7 },
  ),
  freshnessMs: fc.constantFrom(null, 1000, 600_000),
  reduce: fc.constantFrom(null, ...REDUCERS),
  clampMin: fc.constantFrom(null, 0),
  clampMax: fc.constant(null),
  windowMs: fc.constantFrom(null, 300_000),
});

const WORKLOAD = {
  replicas: 2,
  minReplicas: 1,
  maxReplicas: 9,
  target: 1,
  targetType: 'AverageValue',
  activation: 0,
} as const;

/** One store and all that answers from it. */
class World {
  readonly events: unknown[] = [];
  readonly recorder = new Recorder({ onChange: (change) => void this.events.push(change) });
  readonly engine: QueryEngine;
  readonly stack = new ScalingStack();
  readonly readings: Readings;

  constructor(withOthers: boolean) {
    const { recorder } = this;
    fill(this.stack, withOthers);
    const { head, clock } = this.stack;
    const registry = new Registry();
    const experimental = { experimentalFunctions: true, extendedRangeSelectors: true, fillModifiers: true };
    this.engine = new QueryEngine({ head, clock, registry, lookbackMs: 300_000, experimental });
    const { engine } = this;
    this.readings = new Readings({ engine, head, clock, registry, recorder, lookbackMs: 300_000, uptimeMs: 1e9 });
  }

  /** Everything that is said about a question under the scope, as text. */
  async says(query: string, chosen: Policy): Promise<string> {
    const asker = { namespace: 'shop', name: 'web', call: 'GetMetrics', target: 1, activation: 0 };
    const request = { query, policy: chosen, asker, surface: 'keda' as const };
    // Whoever sees everything asks first: nothing of that may be handed on.
    await this.readings.read({ ...request, scope: null });
    const reading = await this.readings.read({ ...request, scope: ['shop'] });
    const explained = await explain(
      { readings: this.readings, head: this.stack.head },
      { ...request, scope: ['shop'] },
      WORKLOAD,
    );
    const [recorded] = this.recorder.decisions({ limit: 1 });
    const whole = await this.#evaluated(query);
    const event = this.events.at(-1) as { readonly to: string; readonly subject: unknown; readonly reading: Reading };
    // The state before it may be the one of who sees everything.
    const change = event.reading === reading ? [event.to, event.subject, event.reading] : [];
    return JSON.stringify([reading, explained, { ...recorded, id: 0, latencyMs: 0 }, whole, change]);
  }

  /** The bare result with its warnings, or the error. */
  async #evaluated(query: string): Promise<unknown> {
    const timeMs = this.stack.clock.nowMs();
    try {
      const { value, warnings, infos } = await this.engine.instant({ text: query, timeMs, scope: ['shop'] });
      return [value, warnings, infos];
    } catch (error) {
      return [error instanceof Error ? error.message : error];
    }
  }
}

/** Null if both worlds say the same and nothing of it is tainted. */
async function complaintOf(full: World, bare: World, query: string, chosen: Policy): Promise<string | null> {
  if (query.includes(TAINT)) throw new Error('the question itself is tainted');
  const text = await full.says(query, chosen);
  const tainted = text.search(new RegExp(`${TAINT}|${TAINTED_VALUE}`));
  if (tainted >= 0) return `tainted: ${text.slice(Math.max(0, tainted - 200), tainted + 50)}`;
  const want = await bare.says(query, chosen);
  if (text === want) return null;
  let at = 0;
  while (text[at] === want[at]) at++;
  const near = (all: string) => all.slice(Math.max(0, at - 100), at + 100);
  return `differs: ${near(text)} from ${near(want)}`;
}

test('each function and operator says the same with and without the others', async (t) => {
  const full = new World(true);
  const bare = new World(false);
  const operands = ['depth', 'latency', 'latency_bucket', '{__name__=~"depth|requests_total|.*_secret"}'];
  const queries = operands.flatMap((one) => [
    ...[...FUNCTIONS.values()].map((info) => callOf(info, one, `${one}[2m]`)),
    ...[...BINARY, ...SETS].map((op) => `${one} ${op} requests_total`),
    ...Object.entries(AGGREGATES).map(([op, parameter]) => `${op} by (team) (${parameter}${one})`),
    `${one} * on (instance) group_left (owner, team) target_info`,
    `${one} + on (instance) fill (1) target_info`,
    `rate(${one}[2m] anchored)`,
  ]);
  let malformed = 0;
  for (const query of queries) {
    // Counting is what every result allows; the result itself is compared as well.
    const complaint = await complaintOf(full, bare, query, { ...DEFAULT_POLICY, reduce: 'count' });
    if (complaint !== null) t.fail(`${query}: ${complaint}`);
    const [decision] = bare.recorder.decisions({ limit: 1 });
    if (decision?.outcome !== 'bad_data') continue;
    malformed++;
    t.comment(`${query}: ${decision.reason}`);
  }
  t.equal(malformed, 0, `all ${queries.length} questions are well formed`);
});

test('metadata under a scope names nothing of another namespace', async (t) => {
  const head = { full: new World(true).stack.head, bare: new World(false).stack.head };
  const request = { matchers: [], fromMs: 0, toMs: START_MS, scope: ['shop'] };
  const names = head.full.labelNames(request);
  t.strictSame(names, head.bare.labelNames(request));
  for (const name of [...names, 'owner']) {
    t.strictSame(head.full.labelValues(name, request), head.bare.labelValues(name, request), name);
  }
  t.ok(head.full.labelNames({ ...request, scope: null }).includes('owner'));
});

test('nothing of another namespace comes out under a scope', async (t) => {
  const full = new World(true);
  const bare = new World(false);
  let values = 0;
  const property = fc.asyncProperty(expression, policy, async (query, chosen) => {
    const complaint = await complaintOf(full, bare, query, chosen);
    if (complaint !== null) throw new Error(complaint);
    const [decision] = bare.recorder.decisions({ limit: 1 });
    if (decision?.value != null) values++;
  });
  const seed = Number(process.env.TIDEGAUGE_TAINT_SEED ?? Date.now() % 2 ** 31);
  const result = await fc.check(property, { seed, numRuns: 250 });
  t.notOk(result.failed, `seed ${seed}: ${result.failed ? fc.defaultReportMessage(result) : 'clean'}`);
  t.ok(values > 15, `${values} of the questions had a value`);
});

test('what is seen without a scope is tainted, so the property above can fail', async (t) => {
  const stack = new ScalingStack();
  fill(stack, true);
  const request = { query: 'depth', policy: { ...DEFAULT_POLICY, reduce: 'max' as const }, surface: 'keda' as const };
  const all = await explain(stack, { ...request, scope: null }, WORKLOAD);
  t.match(JSON.stringify(all), TAINT);
  t.equal(all.value, TAINTED_VALUE);
  const own = await explain(stack, { ...request, scope: ['shop'] }, WORKLOAD);
  t.equal(own.value, 3);
  t.strictSame(own.selectors[0]!.series.map(({ labels }) => labels.pod).sort(), ['a', 'b']);
  t.match(own.hpa, { replicas: 3, says: 'wants ceil(3 / 1) = 3' });
});
