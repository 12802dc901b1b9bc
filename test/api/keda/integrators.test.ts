/**
 * Triggers as KServe, AMD's AIM Engine, the tutorials and Kedify's own examples write them, letter by letter: OTLP in as their
 * collectors send it, KEDA's poll out, through real sockets and with a clock of the test's own.
 */
import { type Test, test } from 'tap';
import { OPERATIONS } from '../../../src/scaling/kedify/metric-query.ts';
import { KedaClient } from '../../support/keda-client.ts';
import { KedaStack, type KedaStackOptions } from '../../support/keda-stack.ts';
import { START_MS } from '../../support/scaling-stack.ts';
import { type CasePoint, encodePoint } from './otlp-points.ts';

type Metadata = Readonly<Record<string, string>>;
type Attributes = CasePoint['attributes'];

const ADDRESS = { scalerAddress: 'keda-otel-scaler.keda.svc:4318' };

async function open(t: Test, options: KedaStackOptions = {}) {
  const stack = new KedaStack(options);
  const otlp = await stack.openOtlp();
  const web = await stack.openWeb();
  const client = new KedaClient((await stack.openKeda()).address);
  t.teardown(async () => {
    client.close();
    await stack.close();
  });
  const send = async (point: Omit<CasePoint, 'atSecond'>) => {
    const atSecond = (stack.clock.nowMs() - START_MS) / 1000;
    const headers = { 'content-type': 'application/x-protobuf' };
    const body = encodePoint({ ...point, atSecond }, START_MS);
    const reply = await fetch(`http://${otlp}/v1/metrics`, { method: 'POST', headers, body });
    t.strictSame([reply.status, (await reply.arrayBuffer()).byteLength], [200, 0], point.metric);
  };
  const poll = (metadata: Metadata) => client.poll({ namespace: 'ai', name: 'llama', metadata });
  const tell = async (text: string, body?: object) => {
    const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    return (await (await fetch(`http://${web}${text}`, init)).json()) as ReturnType<typeof JSON.parse>;
  };
  return { stack, client, send, poll, tell };
}

/** Ten seconds between two points of each series; the last ones are of now. */
async function feed(
  { stack, send }: Awaited<ReturnType<typeof open>>,
  metric: string,
  series: readonly (readonly [attributes: Attributes, values: readonly number[]])[],
  more: Partial<CasePoint> = {},
): Promise<void> {
  const rounds = Math.max(...series.map(([, values]) => values.length));
  for (let round = 0; round < rounds; round++) {
    stack.clock.advance(10_000);
    for (const [attributes, values] of series) {
      const value = values[round];
      if (value !== undefined) await send({ metric, kind: 'gauge', attributes, value, ...more });
    }
  }
}

const LLAMA = { model_name: 'llama3', deployment: 'llama', namespace: 'ai' };

test('the triggers of the tutorials and of the examples', async (t) => {
  const f = async (
    metric: string,
    series: Parameters<typeof feed>[2],
    metadata: Metadata,
    want: { milli: number; targetMilli: number; active: boolean },
    more: Partial<CasePoint> = {},
  ) => {
    const scene = await open(t);
    await feed(scene, metric, series, more);
    const hpaMetric = 's0-ai-llama';
    t.strictSame(
      await scene.poll({ ...ADDRESS, ...metadata }),
      { kind: 'value', hpaMetric, ...want },
      JSON.stringify(metadata),
    );
  };
  const pods = (name: string): Attributes => ({ ...LLAMA, pod: name });
  await f(
    'vllm:gpu_cache_usage_perc',
    [
      [pods('a'), [0.2, 0.4, 0.6]],
      [pods('b'), [0.1, 0.1, 0.1]],
      [{ ...pods('c'), deployment: 'mistral' }, [0.9, 0.9, 0.9]],
    ],
    {
      metricQuery: 'sum(vllm:gpu_cache_usage_perc{model_name=llama3,deployment=llama})',
      operationOverTime: 'avg',
      targetValue: '.5',
    },
    { milli: 500, targetMilli: 500, active: true },
  );
  await f(
    'vllm:num_requests_waiting',
    [
      [pods('a'), [7, 3]],
      [pods('b'), [9, 2]],
    ],
    {
      metricQuery: 'sum(vllm:num_requests_waiting{model_name=llama3,deployment=llama})',
      targetValue: '4',
      clampMax: '600',
    },
    { milli: 5000, targetMilli: 4000, active: true },
  );
  await f(
    'model.training.tokens',
    [
      [{ job_name: 'finetune', rank: 0 }, [0, 1000, 3000]],
      [{ job_name: 'finetune', rank: 1 }, [500, 100, 300]],
    ],
    { metricQuery: 'avg(model_training_tokens{job_name=finetune})', operationOverTime: 'rate', targetValue: '100' },
    // (3000 + 100 + 200) / 20 s over two series: one of them was restarted.
    { milli: 82_500, targetMilli: 100_000, active: true },
    { kind: 'sum' },
  );
  await f(
    'gpu_memory_usage',
    [
      [{ gpu: 0 }, [40]],
      [{ gpu: 1 }, [80]],
    ],
    { metricQuery: 'avg(gpu_memory_usage{gpu_type=H100})', targetValue: '70' },
    { milli: 60_000, targetMilli: 70_000, active: true },
  );
  await f(
    'DCGM_FI_DEV_MEM_COPY_UTIL',
    [[{ svc: 'llm', gpu: '0' }, [0]]],
    { metricQuery: 'sum(DCGM_FI_DEV_MEM_COPY_UTIL{svc=llm})', targetValue: '30', clampMin: '1', clampMax: '3' },
    { milli: 1000, targetMilli: 30_000, active: true },
  );
  await f(
    'http/server/request_count',
    [[{ app_id: 'nodeapp', path: '/v1.0/state/statestore', method: 'GET' }, [10, 22.222]]],
    {
      metricQuery: 'sum(http_server_request_count{app_id=nodeapp, path=/v1.0/state/statestore})',
      operationOverTime: 'max',
      targetValue: '500m',
    },
    { milli: 22_222, targetMilli: 500, active: true },
    { kind: 'sum' },
  );
});

test('KServe: its generated trigger, and the same with an aggregation that its user wrote', async (t) => {
  const scene = await open(t);
  const place = { 'k8s.namespace.name': 'ai', 'k8s.deployment.name': 'llama' };
  // The deployment is in the resource alone, as without the transform of its sidecar.
  for (const [pod, value] of [
    ['p1', 4],
    ['p2', 7],
  ] as const)
    await scene.send({
      metric: 'vllm:num_requests_running',
      kind: 'gauge',
      attributes: { model_name: 'llama3' },
      resourceAttributes: { ...place, 'k8s.pod.name': pod },
      value,
    });
  const generated = (query: string) => ({
    ...ADDRESS,
    metricQuery: `sum(${query}{namespace="ai", deployment="llama"})`,
    targetValue: '4.000000',
  });
  t.match(await scene.poll(generated('vllm:num_requests_running')), {
    kind: 'value',
    milli: 11_000,
    targetMilli: 4000,
    active: true,
  });
  t.match(await scene.poll({ ...generated('vllm:num_requests_running'), operationOverTime: 'avg' }), { milli: 11_000 });
  t.match(await scene.poll({ ...ADDRESS, metricQuery: 'vllm:num_requests_running', targetValue: '4.000000' }), {
    milli: 11_000,
  });
  t.match(
    await scene.poll(generated('sum(vllm:num_requests_running)')),
    { kind: 'error', grpcCode: 3, message: /one aggregation is all there is/ },
    'a silent 0 there',
  );
});

test('AIM Engine: active while a request lies in the window, and never a reason for a second replica', async (t) => {
  const scene = await open(t);
  const metric = 'envoy_cluster_external_upstream_rq_completed';
  const trigger = {
    ...ADDRESS,
    metricQuery: `sum(${metric}{namespace="ai",deployment="llama"})`,
    operationOverTime: 'avg',
    targetValue: '1000000000',
  };
  const attributes = { envoy_cluster_name: 'kube_ai_llama_80', namespace: 'ai', deployment: 'llama' };
  const scrape = async (value: number, seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      scene.stack.clock.advance(1000);
      await scene.send({ metric, kind: 'sum', temporality: 'delta', attributes, value: i === 0 ? value : 0 });
    }
  };
  await scrape(0, 30);
  t.match(await scene.poll(trigger), { kind: 'value', milli: 0, active: false });
  await scrape(1, 100);
  const late = await scene.poll(trigger);
  t.match(late, { kind: 'value', active: true, targetMilli: 1_000_000_000_000 }, 'a request of 100 seconds ago');
  t.ok(late.kind === 'value' && late.milli < 100, 'the HPA wants one');
  t.match(await scene.poll({ ...trigger, targetValue: '1000' }), { active: true, targetMilli: 1_000_000 });
  await scrape(0, 30);
  t.match(await scene.poll(trigger), { kind: 'value', milli: 0, active: false }, 'out of the window');
});

test('every operation over every kind of point, and what is shown of it', async (t) => {
  const f = async (
    metric: string,
    asked: string,
    points: readonly CasePoint['value'][],
    more: Partial<CasePoint>,
    want: Readonly<Record<(typeof OPERATIONS)[number], number>>,
  ) => {
    const scene = await open(t);
    const attributes = { 'http.route': '/a', code: 200 };
    for (const value of points) {
      scene.stack.clock.advance(10_000);
      await scene.send({ metric, kind: 'gauge', attributes, ...more, value });
    }
    const got: Record<string, number> = {};
    for (const operationOverTime of OPERATIONS) {
      const metadata = { metricQuery: `${asked}{http.route=/a,code=200}`, operationOverTime, targetValue: '1' };
      const [value] = await scene.client.getMetrics({ namespace: 'ai', name: operationOverTime, metadata }, 'm');
      got[operationOverTime] = value!.metricValueFloat;
    }
    const what = `${metric} ${more.kind ?? ''} ${more.temporality ?? ''}`;
    t.strictSame(got, want, what);
    t.ok((await scene.tell('/memstore/names')).includes(asked), `${what} is listed as ${asked}`);
    const { [asked]: shown } = await scene.tell('/memstore/data');
    t.match(shown, [{ labels: { 'http.route': '/a', code: '200' }, aggregatesOverTime: want }], `${what} is shown`);
    t.equal(shown[0].data.length, points.length);
    t.equal(shown[0].data[0].time, shown[0].lastUpdate - 10 * (points.length - 1));
    const query = { query: `${asked}{http.route=/a}`, operationOverTime: 'max' };
    t.strictSame(await scene.tell('/memstore/query', query), {
      ok: true,
      operation: 'query',
      error: '',
      value: want.max,
    });
  };
  await f('temp.now', 'temp_now', [4, -2, 3], {}, { last_one: 3, min: -2, max: 4, avg: 5 / 3, rate: 0.15, count: 3 });
  await f('one', 'one', [7], {}, { last_one: 7, min: 7, max: 7, avg: 7, rate: 0, count: 1 });
  const counter = { last_one: 5, min: 5, max: 30, avg: 55 / 3, rate: (10 + 5) / 20, count: 3 };
  await f('jobs', 'jobs', [20, 30, 5], { kind: 'sum' }, counter);
  const deltas = { last_one: 6, min: 2, max: 10, avg: 6, rate: 8 / 20, count: 3 };
  await f('work.done', 'work_done', [10, 2, 6], { kind: 'sum', temporality: 'delta' }, deltas);
  const lengths = [
    { count: 2, sum: 3 },
    { count: 6, sum: 13 },
  ];
  const counts = { last_one: 6, min: 2, max: 6, avg: 4, rate: 0.4, count: 2 };
  const sums = { last_one: 13, min: 3, max: 13, avg: 8, rate: 1, count: 2 };
  for (const kind of ['histogram', 'exponentialHistogram', 'summary'] as const) {
    await f('http.time', 'http_time_count', lengths, { kind }, counts);
    await f('http.time', 'http_time_sum', lengths, { kind }, sums);
  }
  for (const kind of ['histogram', 'exponentialHistogram'] as const) {
    await f('http.time', 'http_time_count', lengths, { kind, temporality: 'delta' }, { ...counts, rate: 0.6 });
    await f('http.time', 'http_time_sum', lengths, { kind, temporality: 'delta' }, { ...sums, rate: 1.3 });
  }
});

test('what was taken although it is wrong is said where somebody looks for it', async (t) => {
  const scene = await open(t);
  await scene.send({ metric: 'a_b', kind: 'gauge', attributes: {}, value: 3 });
  const metadata = { metricQuery: 'a/b{x=1}', operationOverTime: 'p99', clampMax: 'ten', targetValue: '1' };
  t.match(await scene.poll(metadata), { kind: 'value', milli: 3000 });
  const [decision] = scene.stack.recorder.decisions({ surface: 'kedify', limit: 1 });
  for (const part of [/operationOverTime "p99" is not known: last_one is used/, /clampMax is ignored/]) {
    t.match(decision!.reason, part);
  }
  const { data } = await scene.tell(`/api/v1/scale/explain?metricQuery=${encodeURIComponent('a/b{x=1}')}`);
  t.match(data.reason, /this is the metric a_b; no series carries x: ignored/);
  scene.stack.clock.advance(200_000);
  await scene.send({ metric: 'other', kind: 'gauge', attributes: {}, value: 3 });
  t.match(await scene.poll(metadata), { kind: 'value', milli: 0 });
  const [filled] = scene.stack.recorder.decisions({ surface: 'kedify', limit: 1 });
  t.match(filled!.reason, /^0 by default: no live series match .*operationOverTime "p99"/);
});

test('names, attributes and places as their senders spell them', async (t) => {
  const scene = await open(t);
  const resource = (pod: string, more: Metadata = {}) => ({
    'service.name': 'shop',
    'k8s.pod.name': pod,
    'k8s.namespace.name': 'ai',
    ...more,
  });
  const send = (value: number, attributes: Attributes, resourceAttributes: Metadata) =>
    scene.send({ metric: 'queue.depth/now', kind: 'gauge', attributes, resourceAttributes, value });
  await send(1, { 'service.tier': 'gold' }, resource('p1', { 'host.name': 'n1' }));
  await send(2, { 'service.tier': 'gold' }, resource('p2'));
  await send(4, { 'service.tier': 'iron', pod: 'own' }, resource('p3'));
  const f = async (metricQuery: string, milli: number) =>
    t.match(await scene.poll({ metricQuery, targetValue: '1' }), { kind: 'value', milli: milli * 1000 }, metricQuery);
  await f('queue_depth_now', 7);
  await f('queue.depth/now', 7);
  await f('queue_depth_now{service.tier=gold}', 3);
  await f('queue_depth_now{service.name=shop}', 7);
  await f('queue_depth_now{namespace=ai,service.tier="gold"}', 3);
  await f('queue_depth_now{host.name=n1}', 1);
  await f('queue_depth_now{host.name=p2}', 2);
  await f('queue_depth_now{pod=own}', 4);
  await f('count(queue_depth_now{k8s.pod.name=p1})', 1);
  t.match(
    await scene.poll({ metricQueryFromEnv: 'queue_depth_now', targetValueFromEnv: '2', clampMaxFromEnv: '5' }),
    { milli: 5000, targetMilli: 2000 },
    'from the environment',
  );
});
