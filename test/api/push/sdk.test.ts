/** The OpenTelemetry SDK with its own exporters as the sender, over real sockets: what it recorded is what is stored. */
import { credentials } from '@grpc/grpc-js';
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
import { pino } from 'pino';
import { type Test, test } from 'tap';
import { buildHttp, listenHttp } from '../../../src/api/http.ts';
import { openOtlpGrpc, registerOtlpHttp } from '../../../src/api/push/push.ts';
import { decodeHistogram, type FloatHistogram } from '../../../src/model/histogram.ts';
import { labelsText } from '../../../src/model/labels.ts';
import { SCOPE_ALL } from '../../../src/model/scope.ts';
import { type Bench, bench, metric, stored } from '../../ingest/support.ts';

const RESOURCE = {
  'service.name': 'checkout',
  'service.namespace': 'shop',
  'service.instance.id': 'pod-1',
  'k8s.namespace.name': 'prod',
  'telemetry.sdk.language': 'nodejs',
};
const IDENTITY = 'instance="pod-1", job="shop/checkout", k8s_namespace_name="prod"';
const SERVICE = 'service_name="checkout", service_namespace="shop"';
const logger = pino({ level: 'silent' });

type Compression = NonNullable<NonNullable<ConstructorParameters<typeof ProtoExporter>[0]>['compression']>;

interface Target extends Bench {
  exporter(options: { gzip: boolean; temporality: AggregationTemporality }): PushMetricExporter;
}

async function grpcTarget(t: Test): Promise<Target> {
  const one = bench({ nowMs: Date.now });
  const server = await openOtlpGrpc({ listen: { host: '127.0.0.1', port: 0 }, writer: one.writer, logger });
  t.teardown(() => server.close());
  const exporter: Target['exporter'] = ({ gzip, temporality }) =>
    new GrpcExporter({
      url: `http://${server.address}`,
      credentials: credentials.createInsecure(),
      compression: (gzip ? 'gzip' : 'none') as Compression,
      temporalityPreference: temporality as number,
    });
  return { ...one, exporter };
}

async function httpTarget(t: Test, Exporter: typeof ProtoExporter | typeof JsonExporter): Promise<Target> {
  const one = bench({ nowMs: Date.now });
  const app = buildHttp({ logger });
  registerOtlpHttp(app, { writer: one.writer, logger });
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const exporter: Target['exporter'] = ({ gzip, temporality }) =>
    new Exporter({
      url: `http://${address}/v1/metrics`,
      compression: (gzip ? 'gzip' : 'none') as Compression,
      temporalityPreference: temporality as number,
    });
  return { ...one, exporter };
}

/** A meter whose readings go out on flush only. */
function provider(exporter: PushMetricExporter): MeterProvider {
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const views = [{ instrumentName: 'wait', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM as const } }];
  return new MeterProvider({ resource: resourceFromAttributes(RESOURCE), readers: [reader], views });
}

/** Series with the value of their newest sample. */
function newest({ head }: Bench): Record<string, number | string> {
  // A series of histograms has no floats.
  const pairs = stored(head).flatMap(({ labels, samples }) =>
    samples.slice(-1).map(({ value }) => [labelsText(labels), value] as const),
  );
  return Object.fromEntries(pairs);
}

const WANT = {
  [`orders_total{${IDENTITY}, method="GET", ${SERVICE}}`]: 7,
  [`orders_total{${IDENTITY}, method="POST", ${SERVICE}}`]: 0,
  [`queue_length{${IDENTITY}, ${SERVICE}}`]: -3,
  [`temperature_celsius{${IDENTITY}, ${SERVICE}}`]: 21.5,
  [`memory_bytes{${IDENTITY}, ${SERVICE}}`]: 9007199254740991,
  [`latency_seconds_bucket{${IDENTITY}, le="+Inf", ${SERVICE}}`]: 4,
  [`latency_seconds_bucket{${IDENTITY}, le="0.1", ${SERVICE}}`]: 1,
  [`latency_seconds_bucket{${IDENTITY}, le="1", ${SERVICE}}`]: 3,
  [`latency_seconds_count{${IDENTITY}, ${SERVICE}}`]: 4,
  [`latency_seconds_sum{${IDENTITY}, ${SERVICE}}`]: 3.875,
  'target_info{instance="pod-1", job="shop/checkout", k8s_namespace_name="prod", telemetry_sdk_language="nodejs"}': 1,
};

async function record(meters: MeterProvider): Promise<void> {
  const meter = meters.getMeter('test');
  const orders = meter.createCounter('orders');
  orders.add(3, { method: 'GET' });
  orders.add(0, { method: 'POST' });
  meter.createUpDownCounter('queue.length', { unit: '{item}' }).add(-3);
  meter.createGauge('temperature', { unit: 'Cel' }).record(21.5);
  meter
    .createObservableGauge('memory', { unit: 'By', valueType: 0 })
    .addCallback((result) => result.observe(Number.MAX_SAFE_INTEGER));
  const latency = meter.createHistogram('latency', { unit: 's', advice: { explicitBucketBoundaries: [0.1, 1] } });
  for (const seconds of [0.0625, 0.5, 0.8125, 2.5]) latency.record(seconds);
  await meters.forceFlush();
  orders.add(4, { method: 'GET' });
  await meters.forceFlush();
}

for (const [name, open] of [
  ['gRPC', grpcTarget],
  ['HTTP and protobuf', (t: Test) => httpTarget(t, ProtoExporter)],
  ['HTTP and JSON', (t: Test) => httpTarget(t, JsonExporter)],
] as const) {
  for (const gzip of [false, true]) {
    test(`${name}${gzip ? ', gzip' : ''}`, async (t) => {
      const target = await open(t);
      const meters = provider(target.exporter({ gzip, temporality: AggregationTemporality.CUMULATIVE }));
      await record(meters);
      await meters.shutdown();
      t.strictSame(newest(target), WANT);
      t.equal(metric(target.registry, 'tidegauge_ingest_requests_total{protocol="otlp",outcome="partial"}'), 0);
    });
  }

  test(`${name}: deltas and exponential histograms`, async (t) => {
    const target = await open(t);
    const meters = provider(target.exporter({ gzip: true, temporality: AggregationTemporality.DELTA }));
    const meter = meters.getMeter('test');
    const [orders, wait] = [meter.createCounter('orders'), meter.createHistogram('wait')];
    for (const value of [0.5, 2, 3, 4, 0]) {
      orders.add(3);
      wait.record(value);
      await meters.forceFlush();
    }
    await meters.shutdown();
    const got = newest(target);
    t.equal(got[`orders_total{${IDENTITY}, ${SERVICE}}`], 15);
    t.equal(got[`orders_total:delta{${IDENTITY}, ${SERVICE}}`], 3);
    const refused = /^tidegauge_ingest_samples_refused_total\{protocol="otlp",.*\} [1-9]/m;
    t.notMatch(target.registry.expose(), refused);
    const last = newestHistogram(target, 'wait');
    t.match(last, { count: 5, sum: 9.5, zeroCount: 1 });
    t.equal(
      last.positive.counts.reduce((sum, count) => sum + count, 0),
      4,
    );
  });
}

function newestHistogram({ head }: Bench, name: string): FloatHistogram {
  const matchers = [{ type: '=' as const, name: '__name__', value: name }];
  const selection = head.select({ matchers, fromMs: -Infinity, toMs: Infinity, scope: SCOPE_ALL });
  const { blobs } = selection.readHistograms(0, -Infinity, Infinity);
  const histogram = decodeHistogram(blobs.at(-1)!);
  selection.close();
  return histogram;
}
