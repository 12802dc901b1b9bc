/** Kedify's REST paths over HTTP. */
import { test } from 'tap';
import { KedaStack } from '../../support/keda-stack.ts';

test('what is held can be seen, and a metricQuery tried', async (t) => {
  const stack = new KedaStack();
  const web = await stack.openWeb();
  t.teardown(() => stack.close());
  const get = async (path: string) => {
    const reply = await fetch(`http://${web}${path}`);
    return { status: reply.status, text: await reply.text() };
  };
  const query = async (body: unknown) => {
    const reply = await fetch(`http://${web}/memstore/query`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return [reply.status, await reply.json()];
  };
  t.equal((await get('/memstore/names')).text, 'null');
  t.equal((await get('/memstore/data')).text, '{}');
  const seconds = stack.clock.nowMs() / 1000;
  stack.put({ __name__: 'depth', pod: 'a' }, 3, (seconds - 10) * 1000);
  stack.put({ __name__: 'depth', pod: 'a' }, 5);
  stack.put({ __name__: 'old' }, 5, (seconds - 200) * 1000);
  t.equal((await get('/memstore/names')).text, '[\n  "depth",\n  "old"\n]', 'indented, as there');
  t.strictSame(JSON.parse((await get('/memstore/data')).text), {
    depth: [
      {
        labels: { pod: 'a' },
        data: [
          { value: 3, time: seconds - 10 },
          { value: 5, time: seconds },
        ],
        aggregatesOverTime: { last_one: 5, min: 3, max: 5, avg: 4, rate: 0.2, count: 2 },
        lastUpdate: seconds,
      },
    ],
  });
  t.strictSame(await query({ operationOverTime: 'avg', query: 'sum(depth{pod=a})' }), [
    200,
    { ok: true, operation: 'query', error: '', value: 4 },
  ]);
  t.match(await query({ operationOverTime: 'avg', query: 'm{' }), [400, { error: /^unable to parse metric query/ }]);
  t.match(await query({ query: 'depth' }), [400, { error: 'unknown operationOverTime:' }]);
  t.match(await query('{'), [400, { error: /no JSON/ }]);
  const info = JSON.parse((await get('/info')).text) as Record<string, unknown>;
  t.match(info, { version: '0.0.0', retentionSeconds: '120' });
  t.ok(Object.values(info).every((value) => typeof value === 'string'));
});

test('an answer to a metricQuery is explained: as it is asked, and as it was asked before', async (t) => {
  const stack = new KedaStack();
  const web = await stack.openWeb();
  t.teardown(() => stack.close());
  const explain = async (search: Record<string, string>) => {
    const reply = await fetch(`http://${web}/api/v1/scale/explain?${new URLSearchParams(search)}`);
    return (await reply.json()) as { data?: object; error?: string };
  };
  const nowMs = stack.clock.nowMs();
  for (const pod of ['a', 'b']) {
    stack.put({ __name__: 'depth', pod }, 3, nowMs - 10_000);
    stack.put({ __name__: 'depth', pod }, 5);
  }
  stack.put({ __name__: 'depth', pod: 'gone' }, 9, nowMs - 200_000);
  const asked = { metricQuery: 'sum(depth)', operationOverTime: 'avg' };
  t.match(await explain({ ...asked, clampMax: '6', targetValue: '2', replicas: '1' }), {
    data: {
      query: 'sum(depth)',
      evaluated: 'sum(depth) over 2m by avg',
      policy: 'operationOverTime=avg clampMax=6',
      outcome: 'value',
      value: 6,
      selectors: [{ selector: 'depth', window: '2m', series: [{ value: '5' }, { value: '5' }] }],
      steps: [
        { step: 'names', says: 'stored as depth' },
        { step: 'select', says: '2 live series count' },
        { step: 'evaluate', says: 'the query gives 8' },
        { step: 'clamp', says: '8 becomes 6' },
      ],
      hpa: { replicas: 3 },
    },
  });
  t.match(await explain({ metricQuery: 'nothing' }), {
    data: { outcome: 'no_data', value: 0, steps: [{ says: /no metric of that name/ }, {}, {}, { step: 'not found' }] },
  });
  t.match(await explain({ metricQuery: 'nothing', noData: 'error' }), {
    data: { outcome: 'unknown_metric', value: null },
  });
  t.match(await explain({ metricQuery: 'm{' }), { data: { outcome: 'bad_metadata', reason: /unable to parse/ } });
  t.match(await explain({ metricQuery: 'depth', query: 'depth' }), { error: /want one of them/ });
  t.match(await explain({ metricQuery: 'depth', operationOverTime: 'p99' }), {
    error: /unknown operationOverTime: p99/,
  });

  const asker = { namespace: 'shop', name: 'web', call: 'GetMetrics', target: 4, activation: 0 };
  const one = { clampMin: null, clampMax: null, windowMs: null, freshnessMs: null, noData: null, scope: null, asker };
  await stack.kedify.read({ ...one, metricQuery: 'max(depth)', operation: 'max' });
  stack.clock.advance(60_000);
  for (const pod of ['a', 'b']) stack.put({ __name__: 'depth', pod }, 40);
  t.match(await explain({ name: 'web' }), { data: { query: 'max(depth)', value: 40 } });
  t.match(await explain({ decision: '0', replicas: '2' }), { data: { value: 5, hpa: { says: /./ } } });
  t.equal(stack.recorder.count, 1, 'explaining is no answer to anybody');
});

test('a reset is refused to everybody', async (t) => {
  const stack = new KedaStack();
  const web = await stack.openWeb();
  t.teardown(() => stack.close());
  stack.put({ __name__: 'depth' }, 3);
  const reply = await fetch(`http://${web}/memstore/reset`, { method: 'POST' });
  t.equal(reply.status, 403);
  t.match(await reply.json(), { ok: false, operation: 'reset' });
  t.equal(stack.head.stats().series, 1);
});
