/**
 * vLLM's metrics as a sidecar Collector would bring them, without one: its page of metrics is read, turned into OTLP's data model
 * as a Collector turns it, and sent by the OpenTelemetry SDK's own exporter, once a round, to triggers that KEDA polls.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type HistogramMetricData,
  type MetricData,
} from '@opentelemetry/sdk-metrics';
import { test } from 'tap';
import { startDaemon } from '../support/daemon.ts';
import { KedaClient, type Poll } from '../support/keda-client.ts';
import { parseManifests } from '../support/manifests.ts';
import { startProgram, waitForOutput } from '../support/process.ts';
import { waitFor } from '../support/wait.ts';

const VLLM = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'examples/vllm');
const WAIT_MS_MAX = 120_000;
/** What a sidecar knows of its pod, and the Prometheus receiver of what it scrapes. */
const POD = { 'k8s.namespace.name': 'llm', 'k8s.pod.name': 'llama-0' };

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** OpenTelemetry's enum of values. */
const DOUBLE = 1 satisfies MetricData['descriptor']['valueType'];

type HrTime = DataPoint<number>['startTime'];
type Point = HistogramMetricData['dataPoints'][number];

interface Family {
  readonly type: string;
  readonly samples: readonly Sample[];
}

/** Families of Prometheus' text format by name. */
function familiesOf(text: string): ReadonlyMap<string, Family> {
  const families = new Map<string, { type: string; samples: Sample[] }>();
  let samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const [, family, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (family !== undefined) {
      samples = [];
      families.set(family, { type: type!, samples });
    }
    const [, name, list, value] = /^([^#{]+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (name === undefined) continue;
    const labels = Object.fromEntries(
      [...list!.matchAll(/([^,=]+)="([^"]*)"/g)].map(([, key, label]) => [key!, label!]),
    );
    samples.push({ name, labels, value: Number(value) });
  }
  return families;
}

function metricOf(name: string, { type, samples }: Family, startTime: HrTime, endTime: HrTime): MetricData {
  const descriptor = { name, description: '', unit: '', valueType: DOUBLE };
  const common = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  if (type === 'histogram') {
    const dataPoints = [histogramOf(samples, startTime, endTime)];
    return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints };
  }
  const dataPoints = samples.map(({ labels, value }) => ({ startTime, endTime, attributes: labels, value }));
  if (type === 'gauge') return { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
  return { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
}

/** Of one server, so with one set of labels. OTLP counts in each bucket, Prometheus up to each. */
function histogramOf(samples: readonly Sample[], startTime: HrTime, endTime: HrTime): Point {
  const buckets = samples.filter(({ name }) => name.endsWith('_bucket'));
  const last = (ending: string): number => samples.find(({ name }) => name.endsWith(ending))!.value;
  const { le: _, ...attributes } = buckets[0]!.labels;
  const boundaries = buckets.map(({ labels }) => Number(labels.le)).filter(Number.isFinite);
  const counts = buckets.map(({ value }, i) => value - (buckets[i - 1]?.value ?? 0));
  const value = { buckets: { boundaries, counts }, sum: last('_sum'), count: last('_count') };
  return { startTime, endTime, attributes, value };
}

/** Scrapes and sends once. */
type Round = () => Promise<void>;

function sidecar(vllm: string, otlp: string): { readonly round: Round; readonly exporter: OTLPMetricExporter } {
  const exporter = new OTLPMetricExporter({ url: `http://${otlp}` });
  const resource = resourceFromAttributes({ 'service.name': 'vllm', 'service.instance.id': vllm, ...POD });
  const now = (): HrTime => [Math.floor(Date.now() / 1000), (Date.now() % 1000) * 1e6];
  const startTime = now();
  const round = async (): Promise<void> => {
    const families = familiesOf(await (await fetch(`http://${vllm}/metrics`)).text());
    const metrics = [...families].map(([name, family]) => metricOf(name, family, startTime, now()));
    await new Promise<void>((resolve, reject) => {
      exporter.export({ resource, scopeMetrics: [{ scope: { name: 'sidecar' }, metrics }] }, ({ error }) =>
        error === undefined ? resolve() : reject(error),
      );
    });
  };
  return { round, exporter };
}

test('vLLM by OTLP: KEDA hears of the queue, the cache and the latency, and whose they are', {
  timeout: 300_000,
}, async (t) => {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const flags = ['--port=0', `--load=${join(VLLM, 'load.json')}`];
  const program = await startProgram(process.execPath, [join(VLLM, 'fake-vllm.mjs'), ...flags]);
  t.teardown(() => program.stop());
  const [, address] = await waitForOutput(program, /listening on (\S+)/, WAIT_MS_MAX);
  const { round, exporter } = sidecar(address!, daemon.listen.otlpGrpc);
  t.teardown(() => exporter.shutdown());
  const client = new KedaClient(daemon.listen.keda);
  t.teardown(() => client.close());
  const [scaled] = parseManifests(readFileSync(join(VLLM, 'scaledobject.yaml'), 'utf8'));
  const [queue, cache, latency] = (scaled!.spec.triggers as { metadata: Record<string, string> }[]).map(
    ({ metadata }) =>
      (): Promise<Poll> =>
        client.poll({ namespace: 'llm', name: 'llama', metadata }),
  );
  t.match(await queue!(), { kind: 'error' }, 'nothing was sent yet: no zero');
  for (const [what, trigger] of Object.entries({ queue, latency })) {
    await waitFor(
      async () => {
        await round();
        const answer = await trigger!();
        return answer.kind === 'value' && answer.milli > answer.targetMilli && answer;
      },
      { timeoutMs: WAIT_MS_MAX, what: `the ${what} to be above its target` },
    );
  }
  t.match(await cache!(), { kind: 'value', milli: 1000, targetMilli: 800 }, 'the cache is full');
  const matched = encodeURIComponent('vllm:num_requests_waiting');
  const reply = await fetch(`http://${daemon.listen.web}/api/v1/series?match[]=${matched}`);
  const whose = { model_name: 'llama-3-8b', k8s_namespace_name: 'llm', k8s_pod_name: 'llama-0' };
  t.match(await reply.json(), { data: [{ ...whose, instance: address, job: 'vllm' }] });
});
