/**
 * The OpenTelemetry Collector between a server and Tidegauge, with the configurations that manifests of examples/ and of the chart
 * hold: only addresses are changed, and the pace. It is `otelcol` on PATH, or the program that TIDEGAUGE_OTELCOL names; no registry
 * has a package of it, so without it the tests are left out, also where programs are required. test/support/collector builds one.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { type Test, test } from 'tap';
import { parse } from 'yaml';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { KedaClient, type Poll } from '../support/keda-client.ts';
import { helmTemplate, type Manifest, parseManifests } from '../support/manifests.ts';
import { type Running, runProgram, startProgram, temporaryFolder, waitForOutput } from '../support/process.ts';
import { findProgram, skipWithout } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const EXAMPLES = join(root, 'examples');
const CHART = join(root, 'deploy/helm/tidegauge');
const OTELCOL = process.env.TIDEGAUGE_OTELCOL || findProgram('otelcol');
const skip =
  OTELCOL === null &&
  'no otelcol on PATH, and no package of it exists: test/support/collector/README.md says how to build it';
/** What the OpenTelemetry operator tells a sidecar. */
const OTEL_RESOURCE_ATTRIBUTES = 'k8s.namespace.name=llm,k8s.pod.name=llama-0,k8s.deployment.name=llama';
const START_MS_MAX = 60_000;

async function daemonFor(t: Test): Promise<Daemon> {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  return daemon;
}

/** vLLM's metrics under a load that one replica cannot take. */
async function startServer(t: Test): Promise<{ readonly address: string; readonly program: Running }> {
  const flags = ['--port=0', `--load=${join(EXAMPLES, 'vllm/load.json')}`];
  const program = await startProgram(process.execPath, [join(EXAMPLES, 'vllm/fake-vllm.mjs'), ...flags]);
  t.teardown(() => program.stop());
  const [, address] = await waitForOutput(program, /listening on (\S+)/, START_MS_MAX);
  return { address: address!, program };
}

/** The text of a configuration as a file, with these replacements, each of which has to be in it. It serves no metrics of its own. */
async function fileOf(t: Test, config: Manifest, replaced: Readonly<Record<string, string>>): Promise<string> {
  let text = JSON.stringify({
    ...config,
    service: { ...config.service, telemetry: { metrics: { level: 'none' } } },
  });
  for (const [from, to] of Object.entries(replaced)) {
    t.match(text, from);
    text = text.replaceAll(from, to);
  }
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const file = join(folder.path, 'collector.yaml');
  writeFileSync(file, text);
  return file;
}

async function startCollector(t: Test, file: string): Promise<void> {
  const collector = await startProgram(OTELCOL!, [`--config=${file}`], { env: { OTEL_RESOURCE_ATTRIBUTES } });
  t.teardown(() => collector.stop());
  await waitForOutput(collector, /Everything is ready/, START_MS_MAX);
}

async function poll(t: Test, daemon: Daemon, metadata: Readonly<Record<string, string>>): Promise<Poll> {
  const client = new KedaClient(daemon.listen.keda);
  t.teardown(() => client.close());
  return client.poll({ namespace: 'llm', name: 'llama', metadata });
}

async function seriesOf(daemon: Daemon, selector: string): Promise<Readonly<Record<string, string>>[]> {
  const reply = await fetch(`http://${daemon.listen.web}/api/v1/series?match[]=${encodeURIComponent(selector)}`);
  return ((await reply.json()) as { data: Record<string, string>[] }).data;
}

/** Waits until a poll is a value above its target. */
function above(t: Test, daemon: Daemon, metadata: Readonly<Record<string, string>>): Promise<Poll> {
  return waitFor(
    async () => {
      const answer = await poll(t, daemon, metadata);
      return answer.kind === 'value' && answer.milli > answer.targetMilli && answer;
    },
    { timeoutMs: 90_000, what: `${metadata.query} to be above its target` },
  );
}

test('vLLM: a sidecar scrapes it, OTLP brings it, and KEDA hears of the queue, the cache and the latency', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const daemon = await daemonFor(t);
  const { address, program } = await startServer(t);
  const [manifest] = parseManifests(readFileSync(join(EXAMPLES, 'vllm/collector.yaml'), 'utf8'));
  const file = await fileOf(t, manifest!.spec.config, {
    '127.0.0.1:8000': address,
    'tidegauge.monitoring.svc:4317': daemon.listen.otlpGrpc,
    '"scrape_interval":"5s"': '"scrape_interval":"1s"',
  });
  await startCollector(t, file);
  const [scaled] = parseManifests(readFileSync(join(EXAMPLES, 'vllm/scaledobject.yaml'), 'utf8'));
  const [queue, cache, latency] = (scaled!.spec.triggers as { metadata: Record<string, string> }[]).map(
    ({ metadata }) => metadata,
  );
  await above(t, daemon, queue!);
  t.match(await poll(t, daemon, cache!), { kind: 'value', milli: 1000, targetMilli: 800 }, 'the cache is full');
  await above(t, daemon, latency!);
  const [waiting] = await seriesOf(daemon, 'vllm:num_requests_waiting');
  t.match(
    waiting,
    { model_name: 'llama-3-8b', k8s_namespace_name: 'llm', k8s_pod_name: 'llama-0', instance: address, job: 'vllm' },
    'whose it is, as the operator says',
  );
  await program.stop();
  const gone = await waitFor(
    async () => {
      const answer = await poll(t, daemon, queue!);
      return answer.kind === 'error' && answer;
    },
    { timeoutMs: 60_000, what: 'an error' },
  );
  t.match(gone, { kind: 'error' }, 'a server that is gone is an error, not an empty queue');
});

test('the chart’s sidecar sends what is included, and nothing else', {
  skip: skip || skipWithout('helm'),
  timeout: 200_000,
}, async (t) => {
  const daemon = await daemonFor(t);
  const { address } = await startServer(t);
  const wished = {
    name: 'side',
    scrape: { port: 8000, interval: '1s' },
    includeMetrics: ['vllm:num_requests_waiting'],
  };
  const rendered = await helmTemplate(CHART, [`--set-json=collectors=${JSON.stringify([wished])}`]);
  const { spec } = rendered.find((one) => one.kind === 'OpenTelemetryCollector')!;
  const file = await fileOf(t, spec.config, {
    '127.0.0.1:8000': address,
    'tidegauge.monitoring.svc:4317': daemon.listen.otlpGrpc,
  });
  await startCollector(t, file);
  await waitFor(async () => (await seriesOf(daemon, 'vllm:num_requests_waiting')).length > 0, {
    timeoutMs: 60_000,
    what: 'the series',
  });
  const all = await seriesOf(daemon, '{__name__=~".+"}');
  t.strictSame(
    [...new Set(all.map(({ __name__ }) => __name__))].filter((name) => !/^target_info$/.test(name!)),
    ['vllm:num_requests_waiting'],
  );
});

test('every configuration of a Collector is one that it takes', {
  skip: skip || skipWithout('helm'),
  timeout: 200_000,
}, async (t) => {
  const scrapeConfigs = [{ job_name: 'nodes', static_configs: [{ targets: ['127.0.0.1:9100'] }] }];
  const modes = ['daemonset', 'deployment', 'statefulset'].map((mode) => ({ name: mode, mode, scrapeConfigs }));
  const wished = [{ name: 'side', includeMetrics: ['up'] }, ...modes];
  const rendered = await helmTemplate(CHART, [`--set-json=collectors=${JSON.stringify(wished)}`]);
  const found = rendered.filter((one) => one.kind === 'OpenTelemetryCollector');
  t.equal(found.length, 4);
  for (const { metadata, spec } of found) {
    const done = await runProgram(OTELCOL!, ['validate', `--config=${await fileOf(t, spec.config, {})}`]);
    t.equal(done.code, 0, `${metadata.name}: ${done.stderr}`);
  }
});

test('a Collector that already has metrics: an SDK’s come through it', { skip, timeout: 200_000 }, async (t) => {
  const daemon = await daemonFor(t);
  const port = await freePort();
  const config = parse(readFileSync(join(EXAMPLES, 'senders/collector.yaml'), 'utf8')) as Manifest;
  const file = await fileOf(t, config, {
    '0.0.0.0:4317': `127.0.0.1:${port}`,
    'tidegauge.monitoring.svc:4317': daemon.listen.otlpGrpc,
  });
  await startCollector(t, file);
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url: `http://127.0.0.1:${port}` }),
    exportIntervalMillis: 3_600_000,
  });
  const resource = resourceFromAttributes({ 'service.name': 'checkout' });
  const provider = new MeterProvider({ resource, readers: [reader] });
  t.teardown(() => provider.shutdown().catch(() => undefined));
  provider.getMeter('test').createCounter('orders').add(7, { region: 'eu' });
  await provider.forceFlush();
  const [series] = await waitFor(
    async () => {
      const found = await seriesOf(daemon, 'orders_total');
      return found.length > 0 && found;
    },
    { timeoutMs: 60_000, what: 'the counter' },
  );
  t.match(series, { region: 'eu', job: 'checkout' });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
