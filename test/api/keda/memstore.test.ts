/** Kedify's REST paths over HTTP. */
import { type Test, test } from 'tap';
import { registerMemstore } from '../../../src/api/keda/memstore.ts';
import { SampleBuffer } from '../../../src/model/sample.ts';
import { DoorsSite } from '../../support/doors.ts';
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

const ADMIN = 'a-token-of-an-admin-0123456789';
const READER = 'a-token-of-a-reader-0123456789';
const WEB_FILE = `
tokens:
  - {name: operator, file: admin, roles: [admin, scale]}
  - {name: grafana, file: reader, roles: [read, scale]}
`;

async function openBehindDoors(t: Test, stack: KedaStack, webFile: string): Promise<string> {
  const site = new DoorsSite();
  t.teardown(() => site.close());
  for (const [name, token] of Object.entries({ admin: ADMIN, reader: READER })) site.write(name, token);
  site.open(webFile);
  const { head, names, clock, kedify } = stack;
  return site.http('web', async (app) => registerMemstore(app, { head, names, clock, kedify, info: () => ({}) }));
}

test('a reset takes a known administrator, and is no zero', async (t) => {
  const stack = new KedaStack();
  t.teardown(() => stack.close());
  const ask = async (web: string, path: string, token: string | null, method = 'GET', body?: string) => {
    const headers = token === null ? {} : { authorization: `Bearer ${token}` };
    const reply = await fetch(`http://${web}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
    return { status: reply.status, json: (await reply.json()) as ReturnType<typeof JSON.parse> };
  };
  const reset = (web: string, token: string | null) => ask(web, '/memstore/reset', token, 'POST');
  const nowMs = stack.clock.nowMs();
  stack.put({ __name__: 'depth', namespace: 'shop' }, 3, nowMs - 10_000);
  stack.put({ __name__: 'depth', namespace: 'shop' }, 5);
  stack.put({ __name__: 'vault', namespace: 'other' }, 5);
  // On loopback the role is open, and whoever comes is nobody.
  const open = await openBehindDoors(t, stack, '');
  t.match(await reset(open, null), { status: 403, json: { ok: false, operation: 'reset', error: /role admin/ } });
  const web = await openBehindDoors(t, stack, WEB_FILE);
  t.match(await reset(web, null), { status: 401 });
  t.match(await reset(web, READER), { status: 403 });
  const names = async (token: string) => (await ask(web, '/memstore/names', token)).json;
  t.strictSame(await names(READER), ['depth', 'vault']);

  const asker = { namespace: 'shop', name: 'web', call: 'GetMetrics', target: 4, activation: 0 };
  const own = { clampMin: null, clampMax: null, windowMs: null, freshnessMs: null, noData: null, scope: null, asker };
  const read = (call: string) =>
    stack.kedify.read({ ...own, metricQuery: 'sum(depth)', operation: 'count', asker: { ...asker, call } });
  t.match(await read('a'), { kind: 'value', value: 2 });
  t.strictSame(await reset(web, ADMIN), { status: 200, json: { ok: true, operation: 'reset', error: '', value: 0 } });
  t.strictSame(await names(READER), null);
  t.strictSame((await ask(web, '/memstore/data', READER)).json, {});
  // That scaler would say 0 now, and scale down whatever asks.
  t.match(await read('b'), { kind: 'absence', code: 'warming_up', reason: /listening for 0s/ });
  stack.clock.advance(15_000);
  stack.put({ __name__: 'depth', namespace: 'shop' }, 7);
  t.match(await read('c'), { kind: 'value', value: 1 }, 'what comes after it counts');
  const body = JSON.stringify({ operationOverTime: 'last_one', query: 'vault' });
  t.match((await ask(web, '/memstore/query', READER, 'POST', body)).json, { error: 'Metric not found', value: -1 });
  const depth = [{ type: '=', name: '__name__', value: 'depth' }] as const;
  const kept = stack.head.select({ matchers: depth, fromMs: 0, toMs: stack.clock.nowMs(), scope: null });
  t.equal(kept.read(0, 0, stack.clock.nowMs(), new SampleBuffer(8)), 3, 'PromQL reads all of it as before');
  kept.close();
  stack.clock.advance(301_000);
  stack.put({ __name__: 'alive' }, 1);
  t.match(await read('d'), { kind: 'value', value: 0, origin: 'no_data' });
});
