/** docs/keda.md: what is there to copy can be used as it is. */
import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { parse } from 'yaml';
import { parseTarget, parseTrigger } from '../../../src/api/keda/trigger.ts';
import { parseMetricQuery } from '../../../src/scaling/kedify/metric-query.ts';
import { KedaStack } from '../../support/keda-stack.ts';

interface TriggerBlock {
  readonly type: string;
  readonly metadata: Readonly<Record<string, string>>;
}

test('every trigger of docs/keda.md', async (t) => {
  const text = readFileSync(new URL('../../../docs/keda.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(
    (match) => parse(match[1]!) as { triggers: TriggerBlock[] },
  );
  const { engine } = new KedaStack();
  const types = new Set<string>();
  for (const { type, metadata } of blocks.flatMap(({ triggers }) => triggers)) {
    types.add(type);
    for (const [key, value] of Object.entries(metadata)) t.type(value, 'string', `${type}: KEDA wants ${key} as text`);
    if (type.startsWith('external')) {
      const entries = new Map(Object.entries(metadata));
      const trigger = parseTrigger(entries);
      t.ok(parseTarget(entries) > 0);
      if (trigger.kind === 'promql') t.ok(engine.selectors(trigger.query).length > 0, trigger.query);
      else t.ok(parseMetricQuery(trigger.metricQuery), trigger.metricQuery);
    } else {
      const query = metadata.query ?? new URL(metadata.url!).searchParams.get('query')!;
      t.ok(engine.selectors(query).length > 0, query);
    }
  }
  t.strictSame([...types].sort(), ['external', 'external-push', 'metrics-api', 'prometheus']);
});
