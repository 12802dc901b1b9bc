/**
 * Applications that send by themselves: OpenTelemetry's own SDK with its three OTLP exporters, over gRPC, HTTP/protobuf and
 * HTTP/JSON, into the daemon; what was recorded comes out of the query API and of the KEDA scaler, under Prometheus' names.
 */
import { readFileSync } from 'node:fs';
import { OTLPMetricExporter as GrpcExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  AggregationType,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import { type Test, test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { KedaClient, type Trigger } from '../support/keda-client.ts';
import { ownMetric } from './own-metrics.ts';
import { oneValue, rangeVector } from './query-client.ts';

/** Longer than any test: what is exported is what `forceFlush` sends. */
const NEVER_MS = 3_600_000;

type NewExporter = (daemon: Daemon, temporality?: AggregationTemporality) => PushMetricExporter;

const EXPORTERS: readonly (readonly [name: string, make: NewExporter])[] = [
  [
    'grpc',
    ({ listen }, temporalityPreference = AggregationTemporality.CUMULATIVE) =>
      new GrpcExporter({ url: `http://${listen.otlpGrpc}`, temporalityPreference }),
  ],
  [
    'proto',
    ({ listen }, temporalityPreference = AggregationTemporality.CUMULATIVE) =>
      new ProtoExporter({ url: `http://${listen.otlpHttp}/v1/metrics`, temporalityPreference }),
  ],
  [
    'JSON',
    // The path on the web port, where Prometheus has it.
    ({ listen }, temporalityPreference = AggregationTemporality.CUMULATIVE) =>
      new JsonExporter({ url: `http://${listen.web}/api/v1/otlp/v1/metrics`, temporalityPreference }),
  ],
];

for (const [name, newExporter] of EXPORTERS) {
  test(`what the OpenTelemetry SDK records over ${name} is what comes out`, async (t) => {
    const daemon = await startDaemon(['--scaling.warm-up=false']);
    t.teardown(() => daemon.stop());
    const application = startApplication(t, newExporter(daemon));
    await application.recordFirst();
    await firstIsAnswered(t, daemon);
    await application.recordSecond();
    await secondIsAnswered(t, daemon);
  });

  test(`deltas and exponential histograms over ${name} come out as what was recorded`, async (t) => {
    const daemon = await startDaemon(['--scaling.warm-up=false']);
    t.teardown(() => daemon.stop());
    const { meter, provider } = startMeter(t, newExporter(daemon, AggregationTemporality.DELTA));
    const [deltas, wait] = [meter.createCounter('deltas'), meter.createHistogram('wait', { unit: 's' })];
    const sizes = meter.createHistogram('sizes', { advice: { explicitBucketBoundaries: [10, 100] } });
    meter.createUpDownCounter('pending').add(4);
    for (const value of [1, 2, 4, 8]) {
      deltas.add(value, { 'http.route': '/' });
      wait.record(value);
      sizes.record(20 * value);
      await provider.forceFlush();
    }
    const { web } = daemon.listen;
    const f = async (query: string, want: number) => t.equal(await oneValue(web, query), want, query);
    await f('deltas_total{http_route="/"}', 15);
    await f('sum_over_time({__name__="deltas_total:delta"}[5m])', 15);
    await f('pending', 4);
    await f('histogram_count(wait_seconds)', 4);
    await f('histogram_sum(wait_seconds)', 15);
    // Powers of two lie at the upper ends of their buckets: what is not above 4 is counted exactly.
    await f('histogram_fraction(0, 4, wait_seconds)', 0.75);
    await f('sizes_bucket{le="100"}', 3);
    await f('sizes_count', 4);
    await f('sizes_sum', 300);
    const refused = await ownMetric(web, 'tidegauge_ingest_requests_total', { protocol: 'otlp', outcome: 'partial' });
    t.equal(refused, 0);
  });
}

test('what docs/ingest.md tells an SDK by its environment brings it here', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web, otlpGrpc, otlpHttp } = daemon.listen;
  const page = readFileSync(new URL('../../docs/ingest.md', import.meta.url), 'utf8');
  const addresses = [...page.matchAll(/`OTEL_EXPORTER_OTLP_ENDPOINT=(http:\/\/HOST:(\d+))`/g)];
  t.strictSame(
    addresses.map(([, , port]) => port),
    ['4318', '4317'],
  );
  t.teardown(() => delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT);
  for (const [name, Exporter, address] of [
    ['json', JsonExporter, otlpHttp],
    ['proto', ProtoExporter, otlpHttp],
    ['grpc', GrpcExporter, otlpGrpc],
  ] as const) {
    const [, url, port] = addresses[name === 'grpc' ? 1 : 0]!;
    process.env.OTEL_EXPORTER_OTLP_ENDPOINT = url!.replace(`HOST:${port}`, address);
    const { meter, provider } = startMeter(t, new Exporter());
    meter.createUpDownCounter('pending', { unit: '{job}' }).add(4, { by: name });
    await provider.forceFlush();
    t.equal(await oneValue(web, `pending{by="${name}", job="shop/checkout"}`), 4, name);
  }
});

function startMeter(t: Test, exporter: PushMetricExporter) {
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: NEVER_MS });
  const resource = resourceFromAttributes({
    'service.name': 'checkout',
    'service.namespace': 'shop',
    'service.instance.id': 'checkout-1',
  });
  const views = [{ instrumentName: 'wait', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM as const } }];
  const provider = new MeterProvider({ resource, readers: [reader], views });
  t.teardown(() => provider.shutdown().catch(() => undefined));
  return { meter: provider.getMeter('journey'), provider };
}

function startApplication(t: Test, exporter: PushMetricExporter) {
  const { meter, provider } = startMeter(t, exporter);
  const orders = meter.createCounter('checkout.orders', { unit: '{order}', description: 'Orders taken.' });
  const queue = meter.createUpDownCounter('queue.depth');
  const seconds = meter.createHistogram('http.server.request.duration', {
    unit: 's',
    advice: { explicitBucketBoundaries: [0.1, 0.5, 1] },
  });
  meter
    .createObservableGauge('room.temperature', { unit: 'Cel' })
    .addCallback((result) => result.observe(21.25, { room: 'a' }));
  return {
    recordFirst() {
      orders.add(5, { region: 'eu' });
      orders.add(2, { region: 'us' });
      queue.add(7);
      for (const value of [0.05, 0.05, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.7, 0.7]) seconds.record(value);
      return provider.forceFlush();
    },
    recordSecond() {
      orders.add(10, { region: 'eu' });
      queue.add(-7);
      return provider.forceFlush();
    },
  };
}

async function firstIsAnswered(t: Test, { listen: { web, keda } }: Daemon): Promise<void> {
  const f = async (query: string, want: number) => t.equal(await oneValue(web, query), want, query);
  await f('checkout_orders_total{region="eu"}', 5);
  await f('checkout_orders_total{job="shop/checkout", instance="checkout-1", region="us"}', 2);
  await f('sum(checkout_orders_total)', 7);
  await f('queue_depth', 7);
  await f('room_temperature_celsius{room="a"}', 21.25);
  await f('http_server_request_duration_seconds_count', 10);
  await f('http_server_request_duration_seconds_bucket{le="0.1"}', 2);
  await f('http_server_request_duration_seconds_bucket{le="0.5"}', 8);
  await f('http_server_request_duration_seconds_bucket{le="1"}', 10);
  await f('http_server_request_duration_seconds_bucket{le="+Inf"}', 10);
  near(t, await oneValue(web, 'http_server_request_duration_seconds_sum'), 3.3);
  // The fifth of ten lies half-way through the six of the second bucket, which begins at 0.1 and is 0.4 wide.
  near(
    t,
    await oneValue(web, 'histogram_quantile(0.5, sum by (le) (http_server_request_duration_seconds_bucket))'),
    0.3,
  );
  const described = await fetch(`http://${web}/api/v1/metadata`);
  const { data } = (await described.json()) as { data: Record<string, unknown> };
  t.strictSame(data.checkout_orders_total, [{ type: 'counter', help: 'Orders taken.', unit: '' }]);
  t.strictSame(data.http_server_request_duration_seconds, [{ type: 'histogram', help: '', unit: 'seconds' }]);
  t.strictSame(await kedaAnswer(keda, 'sum(checkout_orders_total)'), { value: 7, active: true });
  t.strictSame(await kedaAnswer(keda, 'queue_depth{job="shop/checkout"}'), { value: 7, active: true });
}

async function secondIsAnswered(t: Test, { listen: { web, keda } }: Daemon): Promise<void> {
  const [series] = await rangeVector(web, 'checkout_orders_total{region="eu"}[5m]');
  t.strictSame(
    series!.points.map(([, value]) => value),
    [5, 15],
    'both exports are kept',
  );
  t.strictSame(await kedaAnswer(keda, 'sum(checkout_orders_total)'), { value: 17, active: true });
  t.strictSame(await kedaAnswer(keda, 'queue_depth'), { value: 0, active: false }, 'an empty queue is a true zero');
}

async function kedaAnswer(address: string, query: string): Promise<{ value: number; active: boolean }> {
  const client = new KedaClient(address);
  try {
    const trigger: Trigger = { name: query, namespace: 'shop', metadata: { query, targetValue: '10' } };
    const [spec] = await client.getMetricSpec(trigger);
    const [metric] = await client.getMetrics(trigger, spec!.metricName);
    return { value: metric!.metricValueFloat, active: await client.isActive(trigger) };
  } finally {
    client.close();
  }
}

function near(t: Test, got: number, want: number): void {
  t.ok(Math.abs(got - want) <= 1e-12 * want, `got ${got}, want ${want}`);
}
