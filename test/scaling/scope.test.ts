/**
 * Tenants: under a scope, nothing of another namespace comes out, whatever the expression. Series of the namespace `vault`
 * are full of one word; no answer, reason, explanation, recorded decision or event under the scope `shop` may hold it.
 *
 * TIDEGAUGE_TAINT_SEED replays a run.
 */
import * as fc from 'fast-check';
import { test } from 'tap';
import { QueryEngine } from '../../src/promql/engine.ts';
import { explain } from '../../src/scaling/explanation.ts';
import { DEFAULT_POLICY, type Policy, REDUCERS } from '../../src/scaling/policy.ts';
import { Readings } from '../../src/scaling/reading.ts';
import { Recorder } from '../../src/scaling/recorder.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { ScalingStack, START_MS } from '../support/scaling-stack.ts';

const TAINT = 'xyzzy';
/** Numbers that only the other namespace has. */
const TAINTED_VALUE = 31_337;
const LABELS = ['pod', 'job', 'instance', 'team', 'namespace'];

function fill(stack: ScalingStack): void {
  for (let at = START_MS - 600_000; at <= START_MS; at += 15_000) {
    for (const pod of ['a', 'b']) {
      const own = { namespace: 'shop', job: 'web', instance: `${pod}:80`, pod, team: 'blue' };
      const other = { namespace: 'vault', job: 'web', instance: `${pod}:80`, pod: `${TAINT}-${pod}`, team: TAINT };
      const bare = { job: 'web', instance: `${pod}:80`, team: TAINT };
      for (const name of ['depth', 'requests_total']) {
        stack.put({ __name__: name, ...own }, 3, at);
        stack.put({ __name__: name, ...other }, TAINTED_VALUE, at);
        stack.put({ __name__: name, ...bare }, TAINTED_VALUE, at);
      }
      stack.put({ __name__: `${TAINT}_secret`, ...other }, TAINTED_VALUE, at);
      stack.put({ __name__: 'target_info', ...own, version: 'v1' }, 1, at);
      stack.put({ __name__: 'target_info', ...other, version: TAINT, owner: TAINT }, 1, at);
      stack.put({ __name__: 'target_info', ...bare, owner: TAINT }, 1, at);
    }
  }
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

const { expression } = fc.letrec<{ expression: string }>((tie) => {
  const inner = tie('expression');
  const unary = (...forms: ((a: string) => string)[]) =>
    fc.tuple(fc.constantFrom(...forms), inner).map(([f, a]) => f(a));
  const binary = fc
    .tuple(
      inner,
      fc.constantFrom('+', '-', '*', '/', '==', '> bool', 'and', 'or', 'unless', 'and on (job)', 'or ignoring (pod)'),
      inner,
    )
    .map(([a, op, b]) => `(${a}) ${op} (${b})`);
  const joined = fc
    .tuple(inner, label, label, inner)
    .map(([a, on, take, b]) => `(${a}) * on (${on}) group_left (${take}) (${b})`);
  const aggregated = fc
    .tuple(fc.constantFrom('sum', 'max', 'count', 'avg', 'group', 'topk', 'count_values'), fc.subarray(LABELS), inner)
    .map(([op, by, a]) => {
      const parameter = op === 'topk' ? '2, ' : op === 'count_values' ? '"v", ' : '';
      return `${op} by (${by.join(', ')}) (${parameter}${a})`;
    });
  const ranged = fc
    .tuple(
      fc.constantFrom('rate', 'max_over_time', 'count_over_time', 'absent_over_time', 'last_over_time'),
      selector,
      fc.constantFrom('[2m]', '[10m]', '[5m] offset 1m', '[2m] @ 1795255200'),
    )
    .map(([name, what, range]) => `${name}(${what}${range})`);
  return {
    expression: fc.oneof(
      { depthSize: 'medium', withCrossShrink: true },
      selector,
      ranged,
      aggregated,
      binary,
      joined,
      unary(
        (a) => `-(${a})`,
        (a) => `absent(${a})`,
        (a) => `abs(${a})`,
        (a) => `sort(${a})`,
        (a) => `scalar(${a})`,
        (a) => `vector(scalar(${a}))`,
        (a) => `info(${a})`,
        (a) => `info(${a}, {owner=~".+"})`,
        (a) => `info(${a}, {__name__=~".+"})`,
        (a) => `sort_by_label(${a}, "team")`,
        (a) => `max_over_time((${a})[5m:1m])`,
        (a) => `label_replace(${a}, "copy", "$1", "team", "(.*)")`,
        (a) => `label_join(${a}, "copy", "-", "team", "pod", "owner")`,
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

test('nothing of another namespace comes out under a scope', async (t) => {
  const events: unknown[] = [];
  const stack = new ScalingStack();
  fill(stack);
  const { head, clock } = stack;
  const registry = new Registry();
  const experimental = { experimentalFunctions: true, extendedRangeSelectors: true, fillModifiers: true };
  const engine = new QueryEngine({ head, clock, registry, lookbackMs: 300_000, experimental });
  const recorder = new Recorder({ onChange: (change) => void events.push(change) });
  const readings = new Readings({ engine, head, clock, registry, recorder, lookbackMs: 300_000, uptimeMs: 1e9 });
  const asker = { namespace: 'shop', name: 'web', call: 'GetMetrics', target: 1, activation: 0 };
  const workload = {
    replicas: 2,
    minReplicas: 1,
    maxReplicas: 9,
    target: 1,
    targetType: 'AverageValue',
    activation: 0,
  } as const;
  let values = 0;
  const property = fc.asyncProperty(expression, policy, async (query, chosen) => {
    if (query.includes(TAINT)) throw new Error('the question itself is tainted');
    const request = { query, policy: chosen, asker, surface: 'keda' as const };
    // Whoever sees everything asks first: nothing of that may be handed on.
    await readings.read({ ...request, scope: null });
    const reading = await readings.read({ ...request, scope: ['shop'] });
    const explained = await explain({ readings, head }, { ...request, scope: ['shop'] }, workload);
    const [recorded] = recorder.decisions({ limit: 1 });
    const seen = JSON.stringify([reading, explained, recorded, events.at(-1)]);
    if (reading.kind === 'value') values++;
    return !seen.includes(TAINT) && !seen.includes(String(TAINTED_VALUE));
  });
  const seed = Number(process.env.TIDEGAUGE_TAINT_SEED ?? Date.now() % 2 ** 31);
  const result = await fc.check(property, { seed, numRuns: 600 });
  t.notOk(result.failed, `seed ${seed}: ${result.failed ? fc.defaultReportMessage(result) : 'clean'}`);
  t.ok(values > 30, `${values} of the questions had a value`);
});

test('what is seen without a scope is tainted, so the property above can fail', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  const request = { query: 'depth', policy: { ...DEFAULT_POLICY, reduce: 'max' as const }, surface: 'keda' as const };
  const workload = {
    replicas: 2,
    minReplicas: 1,
    maxReplicas: 9,
    target: 1,
    targetType: 'AverageValue',
    activation: 0,
  } as const;
  const all = await explain(stack, { ...request, scope: null }, workload);
  t.match(JSON.stringify(all), TAINT);
  t.equal(all.value, TAINTED_VALUE);
  const own = await explain(stack, { ...request, scope: ['shop'] }, workload);
  t.equal(own.value, 3);
  t.strictSame(own.selectors[0]!.series.map(({ labels }) => labels.pod).sort(), ['a', 'b']);
  t.match(own.hpa, { replicas: 3, says: 'wants ceil(3 / 1) = 3' });
});
