/** Decisions and explanations over HTTP: why did it scale? */
import pino from 'pino';
import { type Test, test } from 'tap';
import { buildHttp, listenHttp } from '../../../src/api/http.ts';
import { openKeda } from '../../../src/api/keda/server.ts';
import { registerScale } from '../../../src/api/scale/scale.ts';
import { Recorder } from '../../../src/scaling/recorder.ts';
import { KedaClient } from '../../support/keda-client.ts';
import { ScalingStack, START_MS } from '../../support/scaling-stack.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON of any shape, matched below
type Json = any;

async function open(t: Test, stack = new ScalingStack()) {
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  const { readings, recorder, head } = stack;
  registerScale(app, { readings, recorder, head });
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const get = async (path: string): Promise<{ status: number; body: Json }> => {
    const reply = await fetch(`http://${address}/api/v1/scale/${path}`);
    return { status: reply.status, body: await reply.json() };
  };
  return { stack, get };
}

function fill(stack: ScalingStack): void {
  for (let at = START_MS - 600_000; at <= START_MS; at += 15_000) {
    for (const pod of ['a', 'b']) {
      stack.put({ __name__: 'depth', namespace: 'shop', job: 'web', instance: `${pod}:80`, pod }, 35, at);
    }
  }
}

const asker = (name: string) => ({ namespace: 'shop', name, call: 'GetMetrics', target: 10, activation: 0 });

test('decisions are listed newest first, filtered, a page at a time', async (t) => {
  const { stack, get } = await open(t);
  fill(stack);
  for (const [name, query] of [
    ['web', 'sum(depth)'],
    ['api', 'nope'],
    ['web', 'sum(depth)'],
  ] as const) {
    await stack.readings.read({ query, scope: null, surface: 'keda', asker: asker(name) });
    stack.clock.advance(1000);
  }
  const all = await get('decisions');
  t.equal(all.status, 200);
  t.match(all.body, { status: 'success', data: { next: null } });
  t.strictSame(
    all.body.data.decisions.map((one: Json) => [one.id, one.name, one.outcome, one.value]),
    [
      [2, 'web', 'value', 70],
      [1, 'api', 'unknown_metric', null],
      [0, 'web', 'value', 70],
    ],
  );
  t.match(all.body.data.decisions[0], {
    time: '2026-11-21T10:00:02Z',
    newest: '2026-11-21T10:00:00Z',
    ageSeconds: 2,
    surface: 'keda',
    namespace: 'shop',
    query: 'sum(depth)',
    target: 10,
    series: 2,
    sourcesExpected: 2,
    sourcesSeen: 2,
  });
  const ids = async (query: string) => (await get(`decisions?${query}`)).body.data.decisions.map((one: Json) => one.id);
  t.strictSame(await ids('name=web'), [2, 0]);
  t.strictSame(await ids('outcome=unknown_metric'), [1]);
  t.strictSame(await ids('end=2026-11-21T10:00:00Z'), [0]);
  t.strictSame(await ids(`start=${START_MS / 1000 + 1}`), [2, 1]);
  t.strictSame(await ids('namespace=other'), []);
  t.match(await get('decisions?limit=2'), { body: { data: { next: 1 } } });
  t.strictSame(await ids('limit=2&before=1'), [0]);
});

test('an explanation tells the whole chain', async (t) => {
  const { stack, get } = await open(t);
  fill(stack);
  const query = encodeURIComponent('sum(depth)');
  const { status, body } = await get(`explain?query=${query}&targetValue=10&replicas=3&maxReplicas=20&clampMax=65`);
  t.equal(status, 200, JSON.stringify(body));
  t.match(body.data, {
    query: 'sum(depth)',
    scope: null,
    policy: 'clampMax=65',
    time: '2026-11-21T10:00:00Z',
    outcome: 'value',
    value: 65,
    selectors: [{ selector: 'depth', window: null, seriesCount: 2, sourcesExpected: 2, sourcesSeen: 2 }],
    steps: [
      { step: 'evaluate', says: 'the query gives 70' },
      { step: 'clamp', says: '70 becomes 65' },
    ],
    keda: { value: '65', active: true },
    hpa: { replicas: 6, says: 'wants ceil(65 / 10) = 7, limited to 6 (ScaleUpLimit)' },
  });
  t.match(body.data.selectors[0].series[0], { labels: { job: 'web' }, newest: '2026-11-21T10:00:00Z', value: '35' });
  t.match(body.data.selectors[0].sources[0], { state: 'fresh', interval: '15s', staleAfter: '35s' });
  stack.clock.advance(60_000);
  const stale = await get(`explain?query=${query}&targetValue=10&replicas=3`);
  t.match(stale.body.data, {
    outcome: 'stale',
    value: null,
    reason: 'stale since 2026-11-21T10:00:00Z, 1m ago',
    selectors: [{ sources: [{ state: 'silent' }, { state: 'silent' }] }],
    keda: { value: null, says: /^gets gRPC status 14/ },
    hpa: { replicas: 3, says: /^gets an error/ },
  });
  const scoped = await get(`explain?query=${query}&scope=other`);
  t.match(scoped.body.data, { outcome: 'unknown_metric', scope: ['other'] });
});

test('what somebody was told is explained by its name, or as of its time', async (t) => {
  const { stack, get } = await open(t);
  fill(stack);
  await stack.readings.read({ query: 'sum(depth)', scope: ['shop'], surface: 'keda', asker: asker('web') });
  stack.clock.advance(60_000);
  t.match((await get('explain?name=web&namespace=shop&replicas=7')).body.data, {
    outcome: 'stale',
    scope: ['shop'],
    query: 'sum(depth)',
  });
  t.match((await get('explain?decision=0&replicas=7')).body.data, {
    outcome: 'value',
    value: 70,
    hpa: { replicas: 7, says: /^stays at 7/ },
  });
});

test('wrong questions are refused with the parameter that is wrong', async (t) => {
  const { get } = await open(t);
  const f = async (path: string, status: number, error: RegExp) =>
    t.match(await get(path), { status, body: { status: 'error', error } }, path);
  await f('decisions?limit=0', 400, /"limit": got "0", want a whole number from 1 to 1000/);
  await f('decisions?nmae=web', 400, /unknown parameter "nmae"/);
  await f('decisions?start=yesterday', 400, /"start"/);
  await f('explain', 400, /want a query, a metricQuery, a name, or the id of a decision/);
  await f('explain?name=nobody', 404, /no such decision/);
  await f('explain?decision=7', 404, /no such decision/);
  await f('explain?query=x&noData=nil', 400, /cannot read noData/);
  await f('explain?query=x&targetType=Utilization', 400, /targetType/);
  const { body } = await get('explain?query=sum(');
  t.match(body.data, { outcome: 'bad_data', reason: /parse error/ });
});

test('secrets in trigger metadata are in no decision, explanation or event', async (t) => {
  const events: unknown[] = [];
  const stack = new ScalingStack({ recorder: new Recorder({ onChange: (change) => void events.push(change) }) });
  const { get } = await open(t, stack);
  fill(stack);
  const { readings, registry, logger } = stack;
  const keda = await openKeda({ listen: { host: '127.0.0.1', port: 0 }, readings, registry, logger });
  const client = new KedaClient(keda.address);
  t.teardown(() => keda.close());
  t.teardown(() => client.close());
  const metadata = { query: 'sum(depth)', targetValue: '10', tlsClientKey: 'TOPSECRET', caCertFromEnv: 'TOPSECRET' };
  t.match(await client.poll({ namespace: 'shop', name: 'web', metadata }), {
    kind: 'value',
    milli: 70_000,
    active: true,
  });
  const { body } = await get('decisions');
  t.match(body.data.decisions, [{ name: 'web', value: 70, target: 10, activation: 0 }, { name: 'web' }]);
  const explained = await get('explain?name=web');
  t.equal(events.length, 1);
  t.notMatch(JSON.stringify([body, explained.body, events]), /TOPSECRET/);
});
