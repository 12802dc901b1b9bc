/** docs/keda.md: what is there to copy can be used as it is, and is answered. (Its commands: test/journeys/keda.test.ts.) */
import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { parse } from 'yaml';
import { parseMetricQuery } from '../../../src/scaling/kedify/metric-query.ts';
import { KedaClient } from '../../support/keda-client.ts';
import { KedaStack } from '../../support/keda-stack.ts';
import { waitFor } from '../../support/wait.ts';

interface TriggerBlock {
  readonly type: string;
  readonly metadata: Readonly<Record<string, string>>;
}

const text = readFileSync(new URL('../../../docs/keda.md', import.meta.url), 'utf8');

/** What the examples ask about: a counter of 6 requests a second in all, 42 messages, 3 requests that wait. */
function fill(stack: KedaStack): void {
  for (let i = 0; i <= 10; i++) {
    for (const pod of ['a', 'b']) {
      stack.put({ __name__: 'http_requests_total', namespace: 'shop', pod }, i * 30);
      stack.put({ __name__: 'vllm:num_requests_waiting', namespace: 'llm', deployment: 'llama', pod }, 1.5);
    }
    stack.put({ __name__: 'queue_messages', queue: 'orders' }, 42);
    if (i < 10) stack.clock.advance(10_000);
  }
}

test('every trigger of docs/keda.md, asked as KEDA asks', async (t) => {
  const blocks = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(
    (match) => parse(match[1]!) as { triggers: TriggerBlock[] },
  );
  const stack = new KedaStack();
  const client = new KedaClient((await stack.openKeda()).address);
  const web = await stack.openWeb();
  t.teardown(async () => {
    client.close();
    await stack.close();
  });
  fill(stack);
  const host = 'tidegauge.monitoring.svc:9090';
  const get = async (url: string) => {
    t.ok(url.includes(host), `${url} is the web port`);
    const reply = await fetch(url.replace(host, web));
    t.equal(reply.status, 200, url);
    return (await reply.json()) as ReturnType<typeof JSON.parse>;
  };
  const external = async (metadata: TriggerBlock['metadata']): Promise<number> => {
    const poll = await client.poll({ namespace: 'shop', name: 'web', metadata });
    t.match(poll, { kind: 'value', active: true });
    return poll.kind === 'value' ? poll.milli / 1000 : Number.NaN;
  };
  const ask: Readonly<Record<string, (metadata: TriggerBlock['metadata']) => Promise<number>>> = {
    external,
    'external-push': async (metadata) => {
      const stream = client.open('StreamIsActive', { namespace: 'shop', name: 'push', metadata });
      await waitFor(() => stream.messages.length > 0, { timeoutMs: 5000, what: 'the first message' });
      stream.cancel();
      return external(metadata);
    },
    prometheus: async ({ serverAddress, query, threshold, ignoreNullValues }) => {
      t.strictSame([Number(threshold) > 0, ignoreNullValues], [true, 'false']);
      const form = new URLSearchParams({ query: query! });
      const { data } = await get(
        `${serverAddress}/api/v1/query?${form}&time=${new Date(stack.clock.nowMs()).toISOString()}`,
      );
      return Number(data.result[0].value[1]);
    },
    'metrics-api': async ({ url, valueLocation }) => (await get(url!))[valueLocation!],
  };
  const answers: [type: string, value: number][] = [];
  for (const { type, metadata } of blocks.flatMap(({ triggers }) => triggers)) {
    for (const [key, value] of Object.entries(metadata)) t.type(value, 'string', `${type}: KEDA wants ${key} as text`);
    answers.push([type, await ask[type]!(metadata)]);
  }
  t.strictSame(answers, [
    ['external', 6],
    ['external-push', 42],
    ['prometheus', 6],
    ['metrics-api', 42],
    ['external', 3],
  ]);
});

test('what stands side by side in docs/keda.md says the same', async (t) => {
  const stack = new KedaStack();
  const client = new KedaClient((await stack.openKeda()).address);
  t.teardown(async () => {
    client.close();
    await stack.close();
  });
  for (let i = 0; i <= 24; i++) {
    stack.put({ __name__: 'm', a: '1' }, 3 + (i % 5));
    stack.put({ __name__: 'm_total', a: '1' }, i * 10);
    if (i < 24) stack.clock.advance(5000);
  }
  const rows = [...text.matchAll(/^\| `([^`]+)`(?: with (?:`operationOverTime: (\w+)`|`(\w+)`))? \| `([^`]+)` \|$/gm)];
  t.equal(rows.length, 3);
  for (const [, metricQuery = '', over, short, query = ''] of rows) {
    const operationOverTime = over ?? short ?? 'last_one';
    // A counter is asked for there by the name that its sender gave it.
    const asked = operationOverTime === 'rate' ? metricQuery.replace(/\bm\b/, 'm_total') : metricQuery;
    t.ok(parseMetricQuery(metricQuery), metricQuery);
    const value = async (metadata: TriggerBlock['metadata']) =>
      (await client.getMetrics({ namespace: 'shop', name: 'web', metadata }, 'm'))[0]!.metricValueFloat;
    const before = await value({ metricQuery: asked, operationOverTime });
    const after = await value({ query });
    t.ok(Math.abs(before - after) <= before * 0.05, `${metricQuery}: ${before}, ${query}: ${after}`);
  }
});
