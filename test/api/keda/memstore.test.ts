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
