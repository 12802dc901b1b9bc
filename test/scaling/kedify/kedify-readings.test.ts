/** The Kedify path: when its default 0 may be answered, what a trigger may change, what is recorded and counted. */
import { test } from 'tap';
import type { KedifyRequest } from '../../../src/scaling/kedify/kedify-readings.ts';
import { namesByRules } from '../../../src/scaling/kedify/original-names.ts';
import { KedaStack, type KedaStackOptions } from '../../support/keda-stack.ts';

const ASKER = { namespace: 'shop', name: 'web', call: 'GetMetrics', target: 5, activation: 0 };
const MINUTE_MS = 60_000;

function request(metricQuery: string, more: Partial<KedifyRequest> = {}): KedifyRequest {
  return {
    metricQuery,
    operation: 'last_one',
    clampMin: null,
    clampMax: null,
    windowMs: null,
    freshnessMs: null,
    noData: null,
    scope: null,
    asker: ASKER,
    ...more,
  };
}

function stackOf(options: KedaStackOptions = {}) {
  const stack = new KedaStack(options);
  const ask = async (metricQuery: string, more: Partial<KedifyRequest> = {}) => {
    // Nobody shares what was asked a moment ago.
    const reading = await stack.kedify.read(request(metricQuery, more));
    return reading.kind === 'value' ? reading.value : `${reading.code}: ${reading.reason}`;
  };
  return { stack, ask };
}

test('the default 0 holds only after a while of listening, and while samples arrive', async (t) => {
  const { stack, ask } = stackOf({ uptimeMs: 0 });
  t.match(await ask('nope'), /^warming_up: warming up: no sample received since the start/);
  stack.put({ __name__: 'alive' }, 1);
  stack.put({ __name__: 'depth' }, 7);
  t.equal(await ask('depth'), 7, 'what is there is answered at once');
  t.match(await ask('nope'), /^warming_up: warming up: listening for 0s, want 5m/);
  t.match(await ask('nope', { noData: { kind: 'number', value: 9 } }), /^warming_up/, 'whatever number it is');
  for (let minute = 0; minute < 6; minute++) {
    stack.clock.advance(MINUTE_MS);
    stack.put({ __name__: 'alive' }, 1);
    await ask('alive');
  }
  t.equal(await ask('nope'), 0);
  t.equal(await ask('depth'), 0, 'known, and silent for longer than the window');
  const [decision] = stack.recorder.decisions({ surface: 'kedify', limit: 1 });
  t.match(decision, { outcome: 'no_data', value: 0, reason: /^0 by default: no live series match depth/ });
  stack.clock.advance(6 * MINUTE_MS);
  t.match(await ask('nope'), /^warming_up: warming up: no samples arrive from anybody/);
});

test('a trigger may say what stands for nothing, and how far to look back', async (t) => {
  const { stack, ask } = stackOf();
  stack.put({ __name__: 'alive' }, 1);
  stack.put({ __name__: 'depth' }, 7);
  const last = { noData: { kind: 'last', maxAgeMs: 10 * MINUTE_MS } } as const;
  t.equal(await ask('depth', last), 7);
  stack.clock.advance(3 * MINUTE_MS);
  stack.put({ __name__: 'alive' }, 1);
  t.equal(await ask('depth'), 0);
  t.equal(await ask('depth', last), 7);
  t.match(await ask('depth', { noData: { kind: 'error' } }), /^no_series: not found: no live series/);
  t.match(await ask('nope', { noData: { kind: 'error' } }), /^unknown_metric: not found/);
  t.equal(await ask('depth', { noData: { kind: 'number', value: 9 }, clampMax: 8 }), 8);
  t.equal(await ask('depth', { windowMs: 5 * MINUTE_MS }), 7);
  t.equal(await ask('depth', { windowMs: 5 * MINUTE_MS, freshnessMs: MINUTE_MS }), 0);
  t.equal(await ask('depth', { clampMin: 2 }), 2, 'the silent 0 is clamped');
});

test('the pair of one poll agrees', async (t) => {
  const { stack, ask } = stackOf();
  const isActive = { asker: { ...ASKER, call: 'IsActive' } };
  stack.put({ __name__: 'depth' }, 7);
  t.equal(await ask('depth'), 7);
  stack.clock.advance(100);
  stack.put({ __name__: 'depth' }, 0);
  t.equal(await ask('depth', isActive), 7, 'as GetMetrics was told');
  t.equal(await ask('depth', isActive), 0, 'asked again it is looked up');
});

test('a series that its sender ended does not count', async (t) => {
  const { stack, ask } = stackOf();
  stack.put({ __name__: 'depth', pod: 'a' }, 7);
  stack.put({ __name__: 'depth', pod: 'b' }, 5);
  t.equal(await ask('depth'), 12);
  stack.clock.advance(2000);
  stack.end({ __name__: 'depth', pod: 'a' });
  t.equal(await ask('depth'), 5);
  t.equal(await ask('count(depth)'), 1);
});

test('places of Kubernetes answer to their short names unless an attribute has them', async (t) => {
  const { stack, ask } = stackOf();
  const place = { k8s_namespace_name: 'shop', k8s_deployment_name: 'web' };
  stack.put({ __name__: 'depth', ...place, k8s_pod_name: 'a' }, 1);
  stack.put({ __name__: 'depth', ...place, k8s_pod_name: 'b' }, 2);
  stack.put({ __name__: 'depth', k8s_namespace_name: 'bank', k8s_deployment_name: 'web', k8s_pod_name: 'c' }, 4);
  stack.put({ __name__: 'depth', ...place, namespace: 'own', k8s_pod_name: 'd' }, 8);
  t.equal(await ask('depth{namespace=shop,deployment=web}'), 3);
  t.equal(await ask('depth{namespace=own}'), 8);
  t.equal(await ask('depth{pod=b}'), 2);
  t.equal(await ask('depth{k8s.pod.name=c}'), 4);
});

test('names are found by the rules of translation', async (t) => {
  const f = (name: string, stored: readonly string[], want: string | null) => {
    const found = namesByRules((one) => stored.includes(one)).find(name);
    t.equal(found[0] === undefined ? null : `${found[0].name} ${found[0].part}`, want, name);
  };
  f('jobs', ['jobs'], 'jobs float');
  f('jobs', ['jobs_total'], 'jobs_total float');
  f('jobs', ['jobs', 'jobs_total'], 'jobs float');
  f('http_server_duration', ['http_server_duration_milliseconds'], 'http_server_duration_milliseconds float');
  f('sent', ['sent_bytes_total'], 'sent_bytes_total float');
  f('usage', ['usage_ratio'], 'usage_ratio float');
  f('a-b', ['a_b'], 'a_b float');
  f('9lives', ['_9lives'], '_9lives float');
  f('latency_count', ['latency_seconds_count'], 'latency_seconds_count float');
  f('latency_sum', ['latency_seconds'], 'latency_seconds sum');
  f('latency', ['latency_seconds_count', 'latency_seconds_bucket'], null);
  f('nope', ['other'], null);
});

test('metrics go by the names of that scaler, and leave when nobody asks any more', async (t) => {
  const { stack, ask } = stackOf();
  stack.put({ __name__: 'depth', a: '1' }, 70);
  t.equal(await ask('avg(depth{b=2, a=1})', { operation: 'max', clampMax: 50 }), 50);
  const labels = 'name="depth",labels="map[a:1 b:2]",timeOp="max",aggregation="avg"';
  const text = stack.registry.expose();
  t.match(text, `keda_otel_scaler_metric_value{${labels}} 70`);
  t.match(text, `keda_otel_scaler_metric_value_clamped{${labels},scaledObject="web",namespace="shop"} 50`);
  t.match(text, 'keda_otel_scaler_metric_points_read{name="depth"} 1');
  t.match(text, 'tidegauge_kedify_readings_total{outcome="value"} 1');
  stack.clock.advance(11 * MINUTE_MS);
  t.notMatch(stack.registry.expose(), 'keda_otel_scaler_metric_value{');
});
