/** The external scaler over a real socket, asked as KEDA asks. */
import * as fc from 'fast-check';
import pino from 'pino';
import { type Test, test } from 'tap';
import { openKeda } from '../../../src/api/keda/server.ts';
import type { InstantQuery } from '../../../src/promql/engine.ts';
import { Readings } from '../../../src/scaling/reading.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { KedaClient, type Trigger } from '../../support/keda-client.ts';
import { KedaStack } from '../../support/keda-stack.ts';
import { ScalingStack } from '../../support/scaling-stack.ts';

const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
const UNAVAILABLE = 14;

type Metadata = Readonly<Record<string, string>>;

function trigger(metadata: Metadata): Trigger {
  return { namespace: 'shop', name: 'Web.App_1', metadata };
}

async function open(t: Test, stack = new ScalingStack(), readings: Pick<Readings, 'read'> = stack.readings) {
  const { registry, logger } = stack;
  const scaler = await openKeda({ listen: { host: '127.0.0.1', port: 0 }, readings, registry, logger });
  const client = new KedaClient(scaler.address);
  t.teardown(async () => {
    client.close();
    await scaler.close();
  });
  return { stack, scaler, client };
}

function fill(stack: ScalingStack): void {
  stack.put({ __name__: 'depth', pod: 'a' }, 3);
  stack.put({ __name__: 'depth', pod: 'b' }, 4.0004);
}

test('a trigger gets one specification and one value', async (t) => {
  const { stack, client } = await open(t);
  fill(stack);
  const web = trigger({ query: 'sum(depth)', targetValue: '2.5', scalerAddress: 'x:6000' });
  t.strictSame(await client.getMetricSpec(web), [
    { metricName: 'shop-web.app-1', targetSize: 3n, targetSizeFloat: 2.5 },
  ]);
  t.strictSame(await client.getMetrics(web, 'any-name'), [
    { metricName: 'any-name', metricValue: 8n, metricValueFloat: 7.0004 },
  ]);
  t.equal(await client.isActive(web), true);
  t.strictSame(await client.poll(web), {
    kind: 'value',
    hpaMetric: 's0-shop-web.app-1',
    targetMilli: 2500,
    milli: 7000,
    active: true,
  });
  t.match(stack.registry.expose(), 'tidegauge_keda_requests_total{method="GetMetrics",grpc_code="0"} 2');
});

test('targets and thresholds are numbers of Go or of Kubernetes', async (t) => {
  const { client } = await open(t);
  const f = async (targetValue: string, int: bigint, float: number) =>
    t.strictSame(
      await client.getMetricSpec(trigger({ targetValue })),
      [{ metricName: 'shop-web.app-1', targetSize: int, targetSizeFloat: float }],
      targetValue,
    );
  await f('5', 5n, 5);
  await f('.5', 1n, 0.5);
  await f('4.000000', 4n, 4);
  await f('1e3', 1000n, 1000);
  await f('500m', 1n, 0.5);
  await f('2k', 2000n, 2000);
  await f('1Ki', 1024n, 1024);
  await f('1e300', 2n ** 63n - 1n, 1e300);
  const bad = async (targetValue: string, message: string | RegExp) =>
    t.rejects(
      client.getMetricSpec(trigger({ targetValue })),
      { code: INVALID_ARGUMENT, details: message },
      targetValue,
    );
  await bad('', /^cannot read targetValue: got "", want a number/);
  await bad('five', /^cannot read targetValue: got "five"/);
  await bad('NaN', /^cannot read targetValue/);
  await bad('Inf', /^cannot read targetValue/);
  await bad('1e400', /^cannot read targetValue/);
  await bad('0', /want at least 0.001/);
  await bad('-1', /want at least 0.001/);
  await t.rejects(client.getMetricSpec(trigger({ query: 'x' })), {
    code: INVALID_ARGUMENT,
    details: /targetValue is missing/,
  });
});

test('what is wrong with the rest of the metadata is told by GetMetrics and IsActive only', async (t) => {
  const { stack, client } = await open(t);
  fill(stack);
  const f = async (metadata: Metadata, code: number, details: string | RegExp) => {
    const asked = trigger({ targetValue: '5', ...metadata });
    t.strictSame((await client.getMetricSpec(asked)).length, 1);
    await t.rejects(client.getMetrics(asked, 'm'), { code, details }, String(details));
    await t.rejects(client.isActive(asked), { code, details }, String(details));
    t.match(await client.poll(asked), { kind: 'error', grpcCode: code });
  };
  await f({}, INVALID_ARGUMENT, /query is missing/);
  await f({ query: ' ' }, INVALID_ARGUMENT, /query is missing/);
  await f({ query: 'sum(' }, INVALID_ARGUMENT, /parse error/);
  await f({ query: 'depth', promql: 'other' }, INVALID_ARGUMENT, /"query" and its alias "promql" differ/);
  await f(
    { metricQuery: 'depth', query: 'depth' },
    INVALID_ARGUMENT,
    /got "metricQuery" and "query", want one of them/,
  );
  await f({ metricQuery: 'depth' }, INVALID_ARGUMENT, /"metricQuery" is turned off here/);
  await f(
    { query: 'sum(depth)', noDta: 'zero' },
    INVALID_ARGUMENT,
    /unknown metadata key "noDta": did you mean "noData"\?/,
  );
  await f({ query: 'sum(depth)', noData: 'nil' }, INVALID_ARGUMENT, /^cannot read noData: got "nil", want error, last/);
  await f(
    { query: 'sum(depth)', freshness: '30' },
    INVALID_ARGUMENT,
    /^cannot read freshness: got "30", want a duration/,
  );
  await f({ query: 'depth', reduce: 'median' }, INVALID_ARGUMENT, /^cannot read reduce: got "median", want one of sum/);
  await f({ query: 'sum(depth)', clampMin: '5', clampMax: '4' }, INVALID_ARGUMENT, /^cannot read clampMax: got 4/);
  await f(
    { query: 'scalar(depth)', window: '1m' },
    INVALID_ARGUMENT,
    /^cannot use window: got a query that is a scalar/,
  );
  await f(
    { query: 'sum(depth)', operationOverTime: 'avg' },
    INVALID_ARGUMENT,
    /"operationOverTime" goes with "metricQuery"/,
  );
  await f(
    { query: 'sum(depth)', activationTargetVaule: '5' },
    INVALID_ARGUMENT,
    /did you mean "activationTargetValue"/,
  );
  await f({ query: 'sum(depth)', activationTargetValue: 'x' }, INVALID_ARGUMENT, /cannot read activationTargetValue/);
  await f({ query: 'nope' }, NOT_FOUND, /^unknown metric "nope" \[unknown_metric]; compare the name/);
  await f({ query: 'depth{pod="z"}' }, NOT_FOUND, /^no series match .* \[no_series]; compare the labels/);
  await f({ query: 'depth' }, FAILED_PRECONDITION, /^ambiguous: 2 series/);
  await f({ query: 'sum(depth) / 0' }, UNAVAILABLE, /^not a number/);
  await f({ query: 'sum(depth) - 100' }, UNAVAILABLE, /^negative/);
  stack.clock.advance(600_000);
  await f(
    { query: 'sum(depth)' },
    UNAVAILABLE,
    /^stale since 2026-11-21T10:00:00Z, 10m ago \[stale]; see why its senders are silent/,
  );
});

test('metadata may come from the environment, under an alias, and with what belongs to KEDA', async (t) => {
  const { stack, client } = await open(t);
  fill(stack);
  const f = async (metadata: Metadata, want: number, active: boolean) => {
    const asked = trigger(metadata);
    t.equal((await client.getMetrics(asked, 'm'))[0]!.metricValueFloat, want);
    t.equal(await client.isActive(asked), active);
  };
  await f({ promql: 'depth{pod="a"}' }, 3, true);
  await f({ queryFromEnv: 'depth{pod="a"}', targetValueFromEnv: '5' }, 3, true);
  await f(
    { query: 'depth{pod="a"}', caCertFromEnv: 'x', tlsClientKey: 'KEY', enableTLS: 'true', unsafeSsl: 'true' },
    3,
    true,
  );
  // All that KEDA's scaler has ever read of it by itself.
  const own = ['scalerAddress', 'enableTLS', 'unsafeSsl', 'caCert', 'tlsClientCert', 'tlsClientKey', 'tlsCertFile'];
  for (const key of own) {
    await f({ query: 'depth{pod="a"}', [key]: 'x' }, 3, true);
    await f({ query: 'depth{pod="a"}', [`${key}FromEnv`]: 'x' }, 3, true);
  }
  await f({ query: 'depth{pod="a"}', activationTargetValue: '3' }, 3, false);
  await f({ query: 'depth{pod="a"}', activationTargetValue: '2999m' }, 3, true);
  await f({ query: 'vector(0)' }, 0, false);
  await f({ query: 'vector(1e19)' }, 1e19, true);
  t.equal((await client.getMetrics(trigger({ query: 'vector(1e19)' }), 'm'))[0]!.metricValue, 2n ** 63n - 1n);
});

test('both numbers of an answer are right at either end', async (t) => {
  const stack = new KedaStack();
  const client = new KedaClient((await stack.openKeda()).address);
  t.teardown(async () => {
    client.close();
    await stack.close();
  });
  const f = async (value: number, int: bigint) => {
    stack.clock.advance(1000);
    stack.put({ __name__: 'depth' }, value);
    const [answer] = await client.getMetrics(trigger({ metricQuery: 'depth' }), 'm');
    t.strictSame([answer!.metricValueFloat, answer!.metricValue], [value, int], `${value}`);
  };
  // KEDA takes the integer of whatever is not greater than 0: cut to 64 bits it may be anything.
  await f(-2.5, -2n);
  await f(-0.4, 0n);
  await f(-1e19, -(2n ** 63n));
  await f(-1e300, -(2n ** 63n));
  await f(-(2 ** 63), -(2n ** 63n));
  await f(2 ** 63, 2n ** 63n - 1n);
  await f(2 ** 53, 2n ** 53n);
  await f(4294967296.5, 4294967297n);
  await f(0.0004, 1n);
});

test('an absence says why, what can be done, and where more is to be read', async (t) => {
  const stack = new KedaStack();
  const client = new KedaClient((await stack.openKeda()).address);
  const web = await stack.openWeb();
  t.teardown(async () => {
    client.close();
    await stack.close();
  });
  fill(stack);
  const f = async (metadata: Metadata, outcome: string, advice: RegExp) => {
    const poll = await client.poll({
      namespace: 'a & b',
      name: `web ${outcome}`,
      metadata: { targetValue: '5', ...metadata },
    });
    if (poll.kind !== 'error') throw new Error(`${JSON.stringify(metadata)} is answered`);
    t.match(poll.message, advice);
    t.ok(poll.message.length < 500, 'as much as an event of Kubernetes shows');
    const [, path] = /how it came about: (\/\S+)$/.exec(poll.message) ?? [];
    const { data } = (await (await fetch(`http://${web}${path}`)).json()) as { data: { outcome: string } };
    t.equal(data.outcome, outcome, `${path}`);
  };
  await f({ query: 'nope' }, 'unknown_metric', /see whether its sender runs/);
  await f({ query: 'depth{pod="z"}' }, 'no_series', /noData, or "or vector\(0\)" in the query/);
  await f({ query: 'depth' }, 'ambiguous', /or set reduce/);
  await f({ query: 'sum(depth) / 0' }, 'not_a_number', /divides by 0/);
  await f({ query: 'sum(depth) - 100' }, 'negative', /clampMin: "0" allows for it/);
  await f({ metricQuery: 'nope', noData: 'error' }, 'unknown_metric', /see whether its sender runs/);
  stack.clock.advance(600_000);
  await f({ query: 'sum(depth)' }, 'stale', /noData: last bridges that/);
  await f({ metricQuery: 'depth' }, 'warming_up', /it ends by itself/);
});

test('without any sample there is a specification, but no value', async (t) => {
  const { client } = await open(t);
  const web = trigger({ query: 'sum(depth) or vector(0)', targetValue: '5' });
  t.strictSame((await client.getMetricSpec(web)).length, 1);
  t.match(await client.poll(web), {
    kind: 'error',
    grpcCode: UNAVAILABLE,
    message: /^warming up: no sample received since the start \[warming_up]; it ends by itself/,
  });
});

test('the pair of one poll agrees, and the next poll sees what is new', async (t) => {
  const stack = new ScalingStack();
  let evaluations = 0;
  const { head, clock, engine } = stack;
  const counting = {
    instant: (query: InstantQuery) => {
      evaluations++;
      return engine.instant(query);
    },
    selectors: (text: string) => engine.selectors(text),
  };
  const readings = new Readings({
    engine: counting,
    head,
    clock,
    registry: new Registry(),
    lookbackMs: 300_000,
    uptimeMs: 1e9,
  });
  const { client } = await open(t, stack, readings);
  const web = trigger({ query: 'depth' });
  stack.put({ __name__: 'depth' }, 5);
  t.equal((await client.getMetrics(web, 'm'))[0]!.metricValueFloat, 5);
  stack.clock.advance(100);
  stack.put({ __name__: 'depth' }, 0);
  t.equal(await client.isActive(web), true, 'as GetMetrics was told');
  t.equal(evaluations, 1);
  t.equal(await client.isActive(web), false, 'asked again it is looked up');
  t.equal((await client.getMetrics(web, 'm'))[0]!.metricValueFloat, 0);
  t.equal(evaluations, 2, 'the other way round the pair is shared too');
  t.equal((await client.getMetrics(web, 'm'))[0]!.metricValueFloat, 0);
  await client.getMetrics({ ...web, name: 'other' }, 'm');
  t.equal(evaluations, 3, 'who asks the same is told the same');
  stack.clock.advance(1001);
  await client.isActive(web);
  t.equal(evaluations, 4, 'but not for longer than a second');
});

test('an answer that does not come has a deadline, and a fault says nothing about the inside', async (t) => {
  const answers = [new Promise<never>(() => {}), Promise.reject(new TypeError('secret detail'))];
  answers[1]!.catch(() => {});
  const { client, stack } = await open(t, new ScalingStack(), { read: () => answers.shift()! });
  const startedMs = performance.now();
  await t.rejects(client.getMetrics(trigger({ query: 'slow' }), 'm'), {
    code: DEADLINE_EXCEEDED,
    details: /700 ms \[query_timeout]/,
  });
  t.ok(performance.now() - startedMs >= 690);
  await t.rejects(client.getMetrics(trigger({ query: 'broken' }), 'm'), {
    code: INTERNAL,
    details: /^a fault of the daemon/,
  });
  t.match(stack.registry.expose(), 'tidegauge_keda_requests_total{method="GetMetrics",grpc_code="13"} 1');
});

test('without push the streams are not there', async (t) => {
  const { client } = await open(t);
  await t.rejects(client.stream('StreamIsActive', trigger({})), { code: UNIMPLEMENTED });
  await t.rejects(client.stream('StreamMetricSpec', trigger({})), { code: UNIMPLEMENTED });
});

test('any bytes are answered, and the daemon goes on', async (t) => {
  const { stack, client } = await open(t);
  fill(stack);
  const path = (method: string) => `/externalscaler.ExternalScaler/${method}`;
  await t.rejects(client.callBytes(path('GetMetrics'), Uint8Array.of(0x0a, 0x7f, 0x01)), {
    code: INVALID_ARGUMENT,
    details: /\[bad_body]$/,
  });
  await t.rejects(client.callBytes(path('IsActive'), new Uint8Array(2 ** 21)), { code: RESOURCE_EXHAUSTED });
  const keys = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`key${i}`, '']));
  await t.rejects(client.isActive(trigger(keys)), { code: INVALID_ARGUMENT, details: /more than 256 keys/ });
  await t.rejects(client.isActive(trigger({ query: `"${'ü'.repeat(5000)}"[` })), { code: INVALID_ARGUMENT });
  const garbage = fc.asyncProperty(
    fc.uint8Array({ maxLength: 60 }),
    fc.constantFrom('GetMetricSpec', 'GetMetrics', 'IsActive'),
    (bytes, method) =>
      client.callBytes(path(method), bytes).then(
        () => false,
        (error: { readonly code: number }) => error.code === INVALID_ARGUMENT,
      ),
  );
  await t.resolves(fc.assert(garbage, { verbose: true, numRuns: 300 }));
  t.equal(await client.isActive(trigger({ query: 'sum(depth)' })), true);
});

test('secrets in metadata reach neither the log nor an error', async (t) => {
  const stack = new ScalingStack();
  fill(stack);
  const lines: string[] = [];
  const logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const { registry, readings } = stack;
  const scaler = await openKeda({ listen: { host: '127.0.0.1', port: 0 }, readings, registry, logger });
  const client = new KedaClient(scaler.address);
  t.teardown(() => scaler.close());
  t.teardown(() => client.close());
  const secrets = { tlsClientKey: 'TOPSECRET', apiToken: 'TOPSECRET' };
  const polls = [
    await client.poll(trigger({ query: 'nope', targetValue: '1', tlsClientKey: 'TOPSECRET' })),
    await client.poll(trigger({ query: 'sum(depth)', targetValue: '1', ...secrets })),
  ];
  t.match(polls, [
    { kind: 'error', grpcCode: NOT_FOUND },
    { kind: 'error', message: /unknown metadata key "apiToken"/ },
  ]);
  t.ok(
    lines.some((line) => line.includes('unknown_metric')),
    'absences are logged',
  );
  t.notMatch(JSON.stringify([polls, lines]), /TOPSECRET/);
});

test('health is served, and closing ends what is under way with OK', async (t) => {
  const { scaler, client } = await open(t);
  const service = (name: string) => Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name)]);
  const check = (request: Buffer) => client.callBytes('/grpc.health.v1.Health/Check', request);
  t.strictSame([...(await check(Buffer.alloc(0)))], [8, 1], 'serving');
  t.strictSame([...(await check(service('externalscaler.ExternalScaler')))], [8, 1]);
  await t.rejects(check(service('other')), { code: NOT_FOUND });
  await t.rejects(check(Buffer.from([0x0a, 9])), { code: INVALID_ARGUMENT });
  const states: number[] = [];
  let seen: () => void = () => {};
  const first = new Promise<void>((resolve) => {
    seen = resolve;
  });
  const watched = client.streamBytes('/grpc.health.v1.Health/Watch', Buffer.alloc(0), (bytes) => {
    states.push(bytes[1]!);
    seen();
  });
  await first;
  const startedMs = performance.now();
  await scaler.close();
  t.equal(await watched, 2, 'the stream ended with OK');
  t.strictSame(states, [1, 2], 'serving, then not');
  t.ok(performance.now() - startedMs < 1500, 'nothing had to be cut off');
  await t.rejects(client.isActive(trigger({ query: 'vector(1)' })), { code: UNAVAILABLE });
});

test('an address that is taken is an error', async (t) => {
  const { scaler, stack } = await open(t);
  const port = Number(scaler.address.split(':').at(-1));
  const { registry: _, readings, logger } = stack;
  const second = openKeda({
    listen: { host: '127.0.0.1', port },
    readings,
    registry: new ScalingStack().registry,
    logger,
  });
  await t.rejects(second, { message: /EADDRINUSE/ });
});
