/** The OpenTelemetry SDK with its own exporters as the sender, over real sockets: what it recorded is what is stored. */
import { credentials } from '@grpc/grpc-js';
import { OTLPMetricExporter as GrpcExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
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
import { labelsText } from '../../../src/model/labels.ts';
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

async function httpTarget(t: Test): Promise<Target> {
  const one = bench({ nowMs: Date.now });
  const app = buildHttp({ logger });
  registerOtlpHttp(app, { writer: one.writer, logger });
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const exporter: Target['exporter'] = ({ gzip, temporality }) =>
    new ProtoExporter({
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
  const pairs = stored(head).map(
    ({ labels, samples }) => [labelsText(labels), samples[samples.length - 1]!.value] as const,
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
  ['HTTP and protobuf', httpTarget],
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

  test(`${name}: what is not taken yet is refused point by point`, async (t) => {
    const target = await open(t);
    const meters = provider(target.exporter({ gzip: false, temporality: AggregationTemporality.DELTA }));
    const meter = meters.getMeter('test');
    meter.createCounter('orders').add(3);
    meter.createGauge('temperature').record(1);
    meter.createHistogram('wait').record(2);
    await meters.forceFlush();
    await meters.shutdown();
    t.ok(newest(target)[`temperature{${IDENTITY}, ${SERVICE}}`] === 1, 'the gauge is kept');
    const refused = (reason: string): number | undefined =>
      metric(target.registry, `tidegauge_ingest_samples_refused_total{protocol="otlp",reason="${reason}"}`);
    t.equal(refused('delta_temporality_unsupported'), 1);
    t.equal(refused('exponential_histogram_unsupported'), 1);
  });
}
