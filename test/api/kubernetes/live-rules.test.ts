/** The catalog of what rules serve: it follows the store's index at a bounded price, and knows a new series at once. */
import pino from 'pino';
import { test } from 'tap';
import { BUILT_IN_KINDS } from '../../../src/api/kubernetes/adapter/kinds.ts';
import { LiveRules } from '../../../src/api/kubernetes/live-rules.ts';
import { parseAdapterFile } from '../../../src/config/adapter-file.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { TestClock } from '../../support/clock.ts';

const RULES = `
rules:
- seriesQuery: '{namespace!="",pod!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: '{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
`;

/** An index of names that all carry a namespace and a pod; each look at it takes so long. */
function open(lookMs: number) {
  const clock = new TestClock(0);
  const names: string[] = ['depth'];
  let looks = 0;
  const live = new LiveRules({
    source: { text: () => RULES, parse: parseAdapterFile },
    kinds: BUILT_IN_KINDS,
    index: {
      metricNames: () => {
        looks++;
        clock.advance(lookMs);
        return [...names];
      },
      labelNames: () => ['namespace', 'pod'],
      version: () => names.length,
    },
    parseSelector: () => [],
    clock,
    logger: pino({ level: 'silent' }),
    registry: new Registry(),
  });
  const listed = async () => [...(await live.freshCatalog()).external.keys()].join();
  const looksOf = async (work: () => Promise<unknown>) => {
    const before = looks;
    await work();
    return looks - before;
  };
  return { clock, names, live, listed, looksOf };
}

for (const [name, lookMs] of [
  ['a cheap catalog', 0],
  ['an expensive catalog', 50],
] as const) {
  test(`${name}: a new series is a metric at once`, async (t) => {
    const { names, live } = open(lookMs);
    t.match(await live.external('depth'), { series: 'depth' });
    names.push('latency');
    t.match(await live.external('latency'), { series: 'latency' });
    names.push('errors');
    t.match(await live.custom('pods', 'errors'), { series: 'errors', kind: { resource: 'pods' } });
    t.equal(await live.custom('pods', 'nope'), null);
    t.equal(await live.external('nope'), null);
  });
}

test('an expensive catalog is listed anew as its price allows, and made once for all who wait', async (t) => {
  const { clock, names, live, listed, looksOf } = open(50);
  t.equal(await listed(), 'depth');
  const price = 3;
  t.equal(await looksOf(listed), 0, 'nothing changed');
  names.push('latency');
  t.equal(await listed(), 'depth', 'too early');
  clock.advance(20 * price * 50);
  t.equal(await listed(), 'depth,latency');
  names.push('errors');
  clock.advance(20 * price * 50);
  const asked = () => Promise.all([listed(), listed(), live.external('errors'), live.external('nope')]);
  t.equal(await looksOf(asked), price);
  t.equal(await listed(), 'depth,errors,latency');
});
