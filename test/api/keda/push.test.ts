/** The streams of `external-push` over real sockets; time is the test's own, except where latency is measured. */
import { type Test, test } from 'tap';
import type { ReplyStream } from '../../../src/api/grpc/server.ts';
import { PushStreams } from '../../../src/api/keda/streams.ts';
import { KedaClient, type Trigger } from '../../support/keda-client.ts';
import { KedaStack, type KedaStackOptions } from '../../support/keda-stack.ts';
import { waitFor } from '../../support/wait.ts';

const INVALID_ARGUMENT = 3;
const UNAVAILABLE = 14;

type Metadata = Readonly<Record<string, string>>;

async function open(t: Test, options: KedaStackOptions = {}) {
  const stack = new KedaStack(options);
  const client = new KedaClient((await stack.openKeda()).address);
  t.teardown(async () => {
    client.close();
    await stack.close();
  });
  /** What the daemon has written so far has come once a call over the same connection is answered. */
  const flush = () => client.callBytes('/grpc.health.v1.Health/Check', Buffer.alloc(0));
  const second = () => (stack.clock.monotonicMs() - began) / 1000;
  const began = stack.clock.monotonicMs();
  const pass = async (seconds: number) => {
    await stack.timers.advance(seconds * 1000);
    await flush();
    await flush();
  };
  const put = async (labels: Metadata, value: number) => {
    stack.put(labels as Record<string, string>, value);
    stack.subscriptions.wake();
    await pass(0);
  };
  const listen = async (metadata: Metadata, name = 'web') => {
    const seen: number[] = [];
    const stream = client.open('StreamIsActive', trigger(metadata, name), () => seen.push(second()));
    await pass(0);
    await pass(0);
    return { seen, stream };
  };
  return { stack, client, pass, put, listen };
}

function trigger(metadata: Metadata, name = 'web'): Trigger {
  return { namespace: 'shop', name, metadata };
}

const DEPTH = { __name__: 'depth', pod: 'a' };
const QUERY = { query: 'sum(depth)', targetValue: '5' };

test('true comes at once, again at growing intervals, and never once the trigger is not active', async (t) => {
  const { stack, put, pass, listen } = await open(t);
  await put(DEPTH, 3);
  const { seen, stream } = await listen(QUERY);
  t.strictSame(seen, [0]);
  // The sample must stay young: it is sent every ten seconds.
  for (let i = 0; i < 13; i++) {
    await pass(10);
    await put(DEPTH, 3);
  }
  t.strictSame(seen, [0, 1, 3, 7, 15, 31, 61, 91, 121], 'after 1, 2, 4 … 30 s');
  await put(DEPTH, 4);
  t.equal(seen.length, 9, 'another value above the threshold says nothing new');
  stack.clock.advance(50);
  await put(DEPTH, 0);
  await pass(60);
  t.equal(seen.length, 9, 'nothing while inactive, and no false');
  await put(DEPTH, 1);
  t.equal(seen.length, 10, 'the next rising edge comes at once');
  await pass(1);
  t.equal(seen.length, 11, 'and repeats begin anew');
  t.ok(stream.messages.every(({ result }) => result === true));
  const [, ...told] = stack.recorder.decisions({ surface: 'keda', limit: 100 });
  t.ok(told.length > 8, 'what was told is in the flight recorder');
});

test('what ages without a write is not repeated', async (t) => {
  const { stack, put, pass, listen } = await open(t);
  for (let i = 0; i < 4; i++) {
    await put(DEPTH, 3);
    stack.clock.advance(10_000);
  }
  const { seen } = await listen(QUERY);
  t.equal(seen.length, 1);
  await pass(300);
  const before = seen.length;
  t.ok(seen.at(-1)! <= 60, `the last one came at ${seen.at(-1)} s`);
  await pass(300);
  t.equal(seen.length, before, 'a stale sample is no activity');
});

test('series that are new match through the name of their metric', async (t) => {
  const { stack, put, listen, pass } = await open(t, { kedify: {} });
  await put({ __name__: 'other' }, 1);
  const byName = await listen(QUERY);
  const byPattern = await listen({ ...QUERY, query: 'sum({__name__=~"dep.*"})' }, 'pattern');
  const kedify = await listen({ metricQuery: 'depth', targetValue: '5' }, 'kedify');
  const elsewhere = await listen({ ...QUERY, query: 'sum(depth{pod="b"})' }, 'elsewhere');
  t.strictSame([byName.seen, byPattern.seen, kedify.seen, elsewhere.seen], [[], [], [], []]);
  await pass(1);
  await put(DEPTH, 2);
  t.strictSame([byName.seen, byPattern.seen, kedify.seen, elsewhere.seen], [[1], [1], [1], []]);
  stack.clock.advance(500);
  await put({ __name__: 'depth', pod: 'b' }, 1);
  t.strictSame(elsewhere.seen, [1.5], 'a new series of a metric that is watched already');
});

test('questions of time alone, of the absence of something, and of very many series are asked each second', async (t) => {
  const { stack, put, pass, listen } = await open(t);
  await put(DEPTH, 1);
  const untilMs = (stack.clock.nowMs() + 5000) / 1000;
  const time = await listen({ query: `vector(time() > bool ${untilMs})`, targetValue: '5' }, 'time');
  for (let i = 0; i < 1100; i++) stack.put({ __name__: 'many', pod: `p${i}` }, 0);
  const many = await listen({ query: 'sum(many)', targetValue: '5' }, 'many');
  await pass(4);
  t.strictSame([time.seen, many.seen], [[], []]);
  await put({ __name__: 'many', pod: 'p7' }, 9);
  t.strictSame(many.seen, [], 'not on the write');
  await pass(1);
  t.strictSame(many.seen, [5], 'but with the next second');
  await pass(1);
  t.strictSame(time.seen, [6]);
});

test('no data and failing queries keep the stream open; metadata that cannot be used ends it', async (t) => {
  const { client, put, pass, listen } = await open(t);
  const { seen, stream } = await listen({ query: 'sum(depth) / 0', targetValue: '5' });
  let ended: number | null = null;
  void stream.ended.then((status) => {
    ended = status;
  });
  await put(DEPTH, 3);
  await pass(10);
  t.strictSame(seen, []);
  t.equal(ended, null);
  const f = async (metadata: Metadata) =>
    t.equal(await client.open('StreamIsActive', trigger(metadata)).ended, INVALID_ARGUMENT);
  await f({});
  await f({ query: 'sum(' });
  await f({ query: 'sum(depth)', noDta: 'zero' });
  await f({ metricQuery: 'm{' });
  t.equal(await client.open('StreamMetricSpec', trigger({})).ended, INVALID_ARGUMENT);
});

test('StreamMetricSpec says at once what GetMetricSpec says', async (t) => {
  const { client, pass } = await open(t);
  const asked = trigger({ query: 'sum(depth)', targetValue: '2.5' });
  const stream = client.open('StreamMetricSpec', asked);
  await pass(1);
  const [spec] = await client.getMetricSpec(asked);
  t.match(stream.messages, [
    { metricSpecs: [{ metricName: spec!.metricName, targetSizeFloat: 2.5, targetSize: '3' }] },
  ]);
  await pass(100);
  t.equal(stream.messages.length, 1);
  stream.cancel();
});

test('closing ends every stream with OK, and cancelled streams leave nothing behind', async (t) => {
  const stack = new KedaStack();
  const port = await stack.openKeda();
  const client = new KedaClient(port.address);
  t.teardown(() => client.close());
  stack.put(DEPTH, 3);
  const streams = ['a', 'b', 'c'].map((name) => client.open('StreamIsActive', trigger(QUERY, name)));
  const spec = client.open('StreamMetricSpec', trigger(QUERY));
  await waitFor(() => streams.every(({ messages }) => messages.length > 0) && spec.messages.length > 0, {
    timeoutMs: 5000,
    what: 'the first messages',
  });
  t.equal(stack.subscriptions.size, 3);
  streams[0]!.cancel();
  await waitFor(() => stack.subscriptions.size === 2, { timeoutMs: 5000, what: 'the cancelled stream to leave' });
  t.match(stack.registry.expose(), 'tidegauge_push_subscriptions 2');
  const startedMs = performance.now();
  await port.close();
  t.strictSame(await Promise.all([...streams.slice(1), spec].map(({ ended }) => ended)), [0, 0, 0]);
  t.ok(performance.now() - startedMs < 1500, 'nothing had to be cut off');
  t.equal(stack.subscriptions.size, 0);
  t.match(stack.registry.expose(), 'tidegauge_push_series 0');
});

test('KEDA comes back: 2 s after a stop in order, ever later after anything else', async (t) => {
  const waits: number[] = [];
  let messages = 0;
  let isOver = false;
  const first = new KedaStack();
  const port = await first.openKeda();
  first.put(DEPTH, 3);
  const client = new KedaClient(port.address);
  t.teardown(() => client.close());
  let wake: () => void = () => {};
  const sleep = (ms: number): Promise<void> => {
    waits.push(ms);
    return new Promise((resolve) => {
      wake = resolve;
    });
  };
  const asleep = (times: number) =>
    waitFor(() => waits.length === times, { timeoutMs: 10_000, what: `the end of stream ${times}` });
  const onActive = () => void messages++;
  const loop = client.follow(trigger(QUERY), { isOver: () => isOver, sleep, onActive });
  await waitFor(() => messages === 1, { timeoutMs: 5000, what: 'the first message' });
  await port.close();
  await asleep(1);
  t.match(await client.poll(trigger(QUERY)), { kind: 'error', grpcCode: UNAVAILABLE }, 'nobody is there');
  for (const times of [2, 3]) {
    wake();
    await asleep(times);
  }
  t.strictSame(waits, [2000, 4000, 8000]);
  const listen = { host: '127.0.0.1', port: Number(port.address.split(':')[1]) };
  const second = new KedaStack({ keda: { listen } });
  const again = await second.openKeda();
  second.put(DEPTH, 4);
  // Its channel makes a pause of its own before it connects anew.
  await waitFor(async () => (await client.poll(trigger(QUERY))).kind === 'value', {
    timeoutMs: 20_000,
    what: 'the channel to connect again',
  });
  wake();
  await waitFor(() => messages === 2, { timeoutMs: 5000, what: 'the message after the restart' });
  await again.close();
  await asleep(4);
  t.equal(waits[3], 2000, 'the patience of KEDA is whole again');
  isOver = true;
  wake();
  await loop;
});

test('at most one message waits for a client that does not read', async (t) => {
  const stack = new KedaStack();
  t.teardown(() => stack.close());
  const { subscriptions, engine, names, readings, kedify, logger } = stack;
  const streams = new PushStreams({ subscriptions, engine, names, readings, kedify, logger }, () => {});
  const request = Buffer.concat([
    field(1, 'web'),
    field(3, Buffer.concat([field(1, 'query'), field(2, 'sum(depth)')])),
  ]);
  let written = 0;
  const stream = {
    request,
    who: { namespace: '' },
    isBlocked: false,
    write: () => void written++,
    onOver: () => {},
    finish: () => {},
  };
  stack.put(DEPTH, 3);
  streams.openIsActive(stream as unknown as ReplyStream);
  await stack.timers.advance(0);
  t.equal(written, 1);
  stream.isBlocked = true;
  for (let i = 0; i < 12; i++) {
    stack.put(DEPTH, 3);
    await stack.timers.advance(10_000);
  }
  t.equal(written, 1, 'what is on its way says it all');
  stream.isBlocked = false;
  stack.put(DEPTH, 3);
  await stack.timers.advance(30_000);
  t.equal(written, 2);
  streams.close();
});

/** A field of a protobuf message that is text or a message. */
function field(number: number, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

test('activation: true only above the threshold of the trigger, and of a clamped value', async (t) => {
  const { put, listen, pass } = await open(t, { kedify: {} });
  await put(DEPTH, 3);
  const at = await listen({ ...QUERY, activationTargetValue: '3' }, 'at');
  const below = await listen({ ...QUERY, activationTargetValue: '2.999' }, 'below');
  const kedify = await listen({ metricQuery: 'depth', targetValue: '5', activationTargetValue: '3' }, 'kedify');
  const clamped = await listen({ metricQuery: 'depth{pod=z}', targetValue: '5', clampMin: '1' }, 'clamped');
  t.strictSame([at.seen, below.seen, kedify.seen, clamped.seen], [[], [0], [], [0]]);
  await pass(1);
  await put(DEPTH, 3.001);
  t.strictSame([at.seen, kedify.seen], [[1], [1]]);
});

test('with tenancy a trigger sees the series of its own namespace only', async (t) => {
  const { client, put, listen } = await open(t, { keda: { tenancy: 'namespace' } });
  await put({ __name__: 'depth', namespace: 'bank', pod: 'a' }, 7);
  await put({ __name__: 'depth', namespace: 'shop', pod: 'a' }, 0);
  const own = await listen(QUERY);
  t.strictSame(own.seen, []);
  t.equal((await client.getMetrics(trigger(QUERY), 'm'))[0]!.metricValueFloat, 0);
  const kedify = trigger({ metricQuery: 'depth', targetValue: '5' });
  t.equal((await client.getMetrics(kedify, 'm'))[0]!.metricValueFloat, 0);
  await put({ __name__: 'depth', namespace: 'shop', pod: 'b' }, 2);
  t.equal(own.seen.length, 1);
  t.equal((await client.getMetrics({ ...kedify, namespace: 'bank' }, 'm'))[0]!.metricValueFloat, 7);
});
