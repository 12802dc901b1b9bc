/**
 * The examples: manifests are right by the schemas; triggers, rules and configuration are what the daemon takes; and each
 * scenario ends in the replicas that its page promises. What stands in manifests is read from there, never repeated here.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { status } from '@grpc/grpc-js';
import { type Test, test } from 'tap';
import { parse } from 'yaml';
import { Fleet, REPLICA_RATE } from '../../examples/vllm/fleet.mjs';
import { ALL_SETTINGS } from '../../src/config/schema.ts';
import { propose } from '../../src/scaling/hpa.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { KedaClient, type Poll } from '../support/keda-client.ts';
import { kubectlFor, quantityValue, readExternalMetric } from '../support/kubectl.ts';
import { faultsOf, type Manifest, parseManifests, skipWithoutModels } from '../support/manifests.ts';
import { runProgram, startProgram, temporaryFolder, waitForOutput } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const EXAMPLES = join(root, 'examples');
const STEP_MS = 15_000;
const settings = new Set(ALL_SETTINGS.map(({ name }) => name));

interface Trigger {
  readonly type: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly metricType?: string;
}

function files(ending: string): readonly string[] {
  return readdirSync(EXAMPLES, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending))
    .sort();
}

/** Objects of Kubernetes; other YAML (of Prometheus, the Collector, Grafana, this daemon) has no kind. */
function objects(): readonly Manifest[] {
  return files('.yaml')
    .flatMap((path) => parseManifests(readFileSync(join(EXAMPLES, path), 'utf8')))
    .filter(({ kind }) => kind !== undefined);
}

function triggersOf(path: string): readonly Trigger[] {
  return parseManifests(readFileSync(join(EXAMPLES, path), 'utf8'))[0]!.spec.triggers;
}

function hpaOf(path: string): Manifest {
  return parseManifests(readFileSync(join(EXAMPLES, path), 'utf8'))[0]!;
}

async function daemonFor(t: Test, ...flags: readonly string[]): Promise<Daemon> {
  const daemon = await startDaemon(['--scaling.warm-up=false', ...flags]);
  t.teardown(() => daemon.stop());
  return daemon;
}

type Series = readonly [name: string, labels: Readonly<Record<string, string>>, valueAt: (seconds: number) => number];

/** Ten minutes of samples up to now, in Prometheus' text format with timestamps. */
async function feed(daemon: Daemon, series: readonly Series[]): Promise<void> {
  const nowMs = Date.now();
  const lines: string[] = [];
  for (let ageMs = 600_000; ageMs >= 0; ageMs -= STEP_MS) {
    for (const [name, labels, valueAt] of series) {
      const list = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      lines.push(`${name}{${list.join(',')}} ${valueAt((600_000 - ageMs) / 1000)} ${nowMs - ageMs}`);
    }
  }
  const url = `http://${daemon.listen.web}/api/v1/import/prometheus`;
  const reply = await fetch(url, { method: 'POST', body: `${lines.join('\n')}\n` });
  if (!reply.ok) throw new Error(await reply.text());
}

/** Polls a trigger as KEDA does. */
async function poll(t: Test, daemon: Daemon, trigger: Trigger): Promise<Poll> {
  const client = new KedaClient(daemon.listen.keda);
  t.teardown(() => client.close());
  return client.poll({ namespace: 'example', name: 'example', metadata: trigger.metadata });
}

/** Replicas that an HPA wants of a poll, by the arithmetic of KEDA's default, AverageValue. */
function replicasOf(answer: Poll, current: number): number {
  if (answer.kind === 'error') throw new Error(answer.message);
  const proposal = propose(
    {
      type: 'External',
      target: { averageValueMilli: BigInt(answer.targetMilli) },
      valuesMilli: [BigInt(answer.milli)],
    },
    { specReplicas: current, statusReplicas: current },
  );
  if (proposal.kind === 'error') throw new Error(proposal.message);
  return proposal.replicas;
}

test('manifests are right by the schemas', { skip: skipWithoutModels() }, async (t) => {
  const found = objects();
  t.ok(found.length >= 12, `${found.length} objects`);
  t.strictSame(await faultsOf(found), []);
});

test('every example has a page that says what to expect', async (t) => {
  for (const { name } of readdirSync(EXAMPLES, { withFileTypes: true }).filter((one) => one.isDirectory())) {
    if (name === 'tour' || name === 'demo') continue;
    const text = readFileSync(join(EXAMPLES, name, 'README.md'), 'utf8');
    t.match(text, /\*\*Expect\*\*/, name);
    for (const [, path] of text.matchAll(/(?:-f |--config\.file=|-f=|=)((?:examples|deploy)\/\S+?\.(?:yaml|mjs))/g))
      t.ok(readFileSync(join(root, path!)).length > 0, `${name}: ${path} is there`);
  }
});

test('every trigger is understood', async (t) => {
  const daemon = await daemonFor(t);
  let asked = 0;
  for (const { kind, metadata, spec } of objects()) {
    if (kind !== 'ScaledObject' && kind !== 'ScaledJob') continue;
    for (const trigger of spec.triggers as Trigger[]) {
      if (!trigger.type.startsWith('external')) continue;
      if ('metricQuery' in trigger.metadata && !settings.has('compat.kedify.enabled')) {
        t.comment(`${metadata.name}: metricQuery is not served yet`);
        continue;
      }
      asked++;
      const answer = await poll(t, daemon, trigger);
      // Nothing was received, so there is no value; but it is not the trigger's fault.
      if (answer.kind === 'error') t.not(answer.grpcCode, status.INVALID_ARGUMENT, answer.message);
    }
  }
  t.ok(asked >= 8, `${asked} triggers`);
});

test('every configuration is taken', async (t) => {
  for (const path of files('tidegauge.yaml')) {
    const flags = ['--check-config', `--config.file=${join(EXAMPLES, path)}`];
    const done = await runProgram(process.execPath, [join(root, 'dist/main.js'), ...flags]);
    t.equal(done.code, 0, done.stderr);
  }
});

test('vLLM: the fleet is what it says', async (t) => {
  const fleet = new Fleet({ replicas: 2 });
  for (let i = 0; i < 60; i++) fleet.advance(1, REPLICA_RATE * 3);
  t.equal(Math.round(fleet.waiting), 60 * REPLICA_RATE, 'what two cannot take waits');
  fleet.scale(6);
  for (let i = 0; i < 30; i++) fleet.advance(1, REPLICA_RATE * 3);
  t.equal(fleet.waiting, 0, 'and is gone soon after there are enough');
  t.strictSame(fleet.scale(1), ['llama-1', 'llama-2', 'llama-3', 'llama-4', 'llama-5'], 'the newest go first');
});

test('vLLM: a queue asks for replicas, a full cache for some, slow first tokens for more', async (t) => {
  const daemon = await daemonFor(t);
  const program = await startProgram(process.execPath, [
    join(EXAMPLES, 'vllm/fake-vllm.mjs'),
    '--port=0',
    `--load=${join(EXAMPLES, 'vllm/load.json')}`,
    `--push=http://${daemon.listen.web}`,
  ]);
  t.teardown(() => program.stop());
  await waitForOutput(program, /listening on (\S+)/, 10_000);
  const [queue, cache, latency] = triggersOf('vllm/scaledobject.yaml') as [Trigger, Trigger, Trigger];
  const replicas = await waitFor(async () => replicasOf(await poll(t, daemon, queue), 1) >= 4 && 'enough', {
    timeoutMs: 60_000,
    what: 'the queue to ask for four replicas',
  });
  t.equal(replicas, 'enough');
  const full = await poll(t, daemon, cache);
  t.match(full, { kind: 'value', milli: 1000, targetMilli: 800 }, 'the cache of one replica is full');
  t.equal(replicasOf(full, 1), 2);
  await waitFor(
    async () => {
      const answer = await poll(t, daemon, latency);
      return answer.kind === 'value' && answer.milli > answer.targetMilli;
    },
    { timeoutMs: 60_000, what: 'first tokens to be late' },
  );
  t.equal(latency.metricType, 'Value');
});

test('scraping: one daemon watches one vLLM, and a target that is gone is an error, not zero', async (t) => {
  const program = await startProgram(process.execPath, [
    join(EXAMPLES, 'vllm/fake-vllm.mjs'),
    '--port=0',
    `--load=${join(EXAMPLES, 'vllm/load.json')}`,
  ]);
  t.teardown(() => program.stop());
  const [, address] = await waitForOutput(program, /listening on (\S+)/, 10_000);
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const file = join(folder.path, 'tidegauge.yaml');
  const written = readFileSync(join(EXAMPLES, 'scraping/tidegauge.yaml'), 'utf8');
  t.match(written, '127.0.0.1:8000');
  // At its real pace a scrape is five seconds away.
  const quick = written.replace('127.0.0.1:8000', address!).replace('scrape_interval: 5s', 'scrape_interval: 1s');
  writeFileSync(file, quick.replace('scrape_timeout: 2s', 'scrape_timeout: 1s'));
  const daemon = await daemonFor(t, `--config.file=${file}`);
  const [queue] = triggersOf('vllm/scaledobject.yaml') as [Trigger];
  await waitFor(async () => replicasOf(await poll(t, daemon, queue), 1) >= 2 && 'enough', {
    timeoutMs: 60_000,
    what: 'the queue to ask for two replicas',
  });
  await program.stop();
  const answer = await waitFor(
    async () => {
      const last = await poll(t, daemon, queue);
      return last.kind === 'error' && last;
    },
    { timeoutMs: 20_000, what: 'an error' },
  );
  t.match(answer, { kind: 'error' });
});

test('plain HPA: the namespace and the selector narrow the query', { skip: skipWithout('kubectl') }, async (t) => {
  const config = `--config.file=${join(EXAMPLES, 'hpa-external/tidegauge.yaml')}`;
  const daemon = await daemonFor(t, config);
  const counter = (namespace: string, app: string, pod: string, rate: number): Series => {
    return ['http_requests_total', { namespace, app, pod, job: app, instance: pod }, (seconds) => seconds * rate];
  };
  await feed(daemon, [
    counter('shop', 'checkout', 'a', 100),
    counter('shop', 'checkout', 'b', 200),
    counter('shop', 'search', 'c', 500),
    counter('other', 'checkout', 'd', 900),
  ]);
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const { metadata, spec } = hpaOf('hpa-external/hpa.yaml');
  const { metric, target } = spec.metrics[0].external;
  const selector = encodeURIComponent(`app=${metric.selector.matchLabels.app}`);
  const path = `${metadata.namespace}/${metric.name}?labelSelector=${selector}`;
  const items = await readExternalMetric(kubectlFor(daemon.listen.kubernetes, folder.path), path);
  t.equal(items.length, 1);
  const value = quantityValue(items[0]!.value);
  t.ok(Math.abs(value - 300) < 1, `${value} requests a second`);
  const proposal = propose(
    {
      type: 'External',
      target: { averageValueMilli: BigInt(target.averageValue) * 1000n },
      valuesMilli: [BigInt(Math.round(value * 1000))],
    },
    { specReplicas: 2, statusReplicas: 2 },
  );
  t.match(proposal, { kind: 'replicas', replicas: 6 });
});

test('from prometheus-adapter: what its page says to try', { skip: skipWithout('kubectl', 'sh') }, async (t) => {
  const [start, load, question] = tried('prometheus-adapter');
  const daemon = await startDaemon(start!.replace(/ &$/, '').split(' ').slice(3));
  t.teardown(() => daemon.stop());
  const loaded = await runProgram('sh', ['-c', `${load} --url=http://${daemon.listen.web}`], { cwd: root });
  t.equal(loaded.code, 0, loaded.stderr);
  const [, path] = /external\.metrics\.k8s\.io\/v1beta1\/namespaces\/(\S+)'$/.exec(question!)!;
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const kubectl = kubectlFor(daemon.listen.kubernetes, folder.path);
  t.match(await readExternalMetric(kubectl, path!), [{ metricName: 'queue_messages', value: '30' }]);
  t.match(await readExternalMetric(kubectl, path!.replace(/\?.*/, '')), [{ value: '530' }], 'of the whole namespace');
});

test('latency of pods: a rule of prometheus-adapter, sum by count', async (t) => {
  const [rule] = (parse(readFileSync(join(EXAMPLES, 'hpa-pods-latency/adapter.yaml'), 'utf8')) as Manifest).rules;
  const { spec } = hpaOf('hpa-pods-latency/hpa.yaml');
  const { metric, target } = spec.metrics[0].pods;
  const served = 'http_request_duration_seconds_sum'.replace(
    new RegExp(rule.name.matches),
    rule.name.as.replace(/\$\{(\d)\}/, '$$$1'),
  );
  t.equal(served, metric.name, 'the rule makes the metric that the HPA asks for');
  const daemon = await daemonFor(t);
  const pods = ['a', 'b'];
  const labels = (pod: string) => ({ namespace: 'shop', pod, job: 'api', instance: pod });
  await feed(
    daemon,
    pods.flatMap((pod, i): Series[] => [
      ['http_request_duration_seconds_sum', labels(pod), (seconds) => seconds * (i === 0 ? 2 : 4)],
      ['http_request_duration_seconds_count', labels(pod), (seconds) => seconds * 10],
    ]),
  );
  // As the adapter fills the template for these pods.
  const query = rule.metricsQuery
    .replaceAll('<<.LabelMatchers>>', 'namespace="shop",pod=~"a|b"')
    .replaceAll('<<.GroupBy>>', 'pod');
  const reply = await fetch(`http://${daemon.listen.web}/api/v1/query?query=${encodeURIComponent(query)}`);
  const { data } = (await reply.json()) as { data: { result: { metric: { pod: string }; value: [number, string] }[] } };
  const means = data.result.map((one) => Number(one.value[1]));
  t.strictSame(means.map((mean) => Math.round(mean * 1000)).sort(), [200, 400]);
  const proposal = propose(
    {
      type: 'Pods',
      target: { averageValueMilli: BigInt(Math.round(quantityValue(target.averageValue) * 1000)) },
      pods: pods.map((name, i) => ({
        name,
        phase: 'Running',
        isReady: true,
        isDeleting: false,
        valueMilli: BigInt(Math.round(means[i]! * 1000)),
        requestMilli: null,
        startedAgoMs: 3_600_000,
        transitionAgoMs: 3_600_000,
        sampleAgoMs: 0,
        sampleWindowMs: 60_000,
      })),
    },
    { specReplicas: 2, statusReplicas: 2 },
  );
  t.match(proposal, { kind: 'replicas', replicas: 3 }, '300 ms against 200 ms: half as many more');
});

test('Kedify: only the type differs from what it was', async (t) => {
  const [before] = triggersOf('kedify/scaledobject-before.yaml');
  const [after] = triggersOf('kedify/scaledobject.yaml');
  t.strictSame(after!.metadata, before!.metadata);
  t.strictSame([before!.type, after!.type], ['kedify-otel', 'external']);
  const daemon = await daemonFor(t);
  const usage = (pod: string, value: number): Series => [
    'vllm:gpu_cache_usage_perc',
    { model_name: 'llama3', job: 'vllm', instance: pod },
    () => value,
  ];
  await feed(daemon, [usage('a', 0.9), usage('b', 0.7)]);
  const [promql] = triggersOf('kedify/scaledobject-promql.yaml');
  const answers = [await poll(t, daemon, promql!)];
  if (settings.has('compat.kedify.enabled')) answers.push(await poll(t, daemon, after!));
  else t.comment('metricQuery is not served yet: only its PromQL is asked');
  for (const answer of answers) t.match(answer, { kind: 'value', milli: 800, targetMilli: 500, active: true });
});

test('queue workers: up by the queue, idle at none, held when nobody tells', async (t) => {
  const [queue] = triggersOf('queue-workers/scaledobject.yaml') as [Trigger];
  const labels = { namespace: 'jobs', key: 'tasks', job: 'redis', instance: 'redis:9121' };
  const daemon = await daemonFor(t);
  const before = await poll(t, daemon, queue);
  t.match(before, { kind: 'error' }, 'nothing was ever received: no zero');
  await feed(daemon, [['redis_key_size', labels, () => 65]]);
  t.equal(replicasOf(await poll(t, daemon, queue), 1), 4);
  const idle = await daemonFor(t);
  await feed(idle, [['redis_key_size', labels, () => 0]]);
  t.match(await poll(t, idle, queue), { kind: 'value', milli: 0, active: false });
  const [job] = triggersOf('queue-workers/scaledjob.yaml') as [Trigger];
  const rabbit = { namespace: 'jobs', queue: 'renders', job: 'rabbitmq', instance: 'rabbit:15692' };
  await feed(idle, [['rabbitmq_queue_messages_ready', rabbit, () => 35]]);
  t.match(await poll(t, idle, job), { kind: 'value', milli: 35_000, targetMilli: 10_000 }, 'KEDA divides: four jobs');
});

test('GPU nodes, training, requests: the replicas that the pages promise', async (t) => {
  const daemon = await daemonFor(t);
  const gpus = [8, 8, 4];
  const at = (pod: string) => ({ namespace: 'ml', pod, job: 'kube-state-metrics', instance: 'ksm:8080' });
  await feed(daemon, [
    ...gpus.flatMap((count, i): Series[] => [
      ['kube_pod_container_resource_requests', { ...at(`p${i}`), resource: 'nvidia_com_gpu' }, () => count],
      ['kube_pod_status_phase', { ...at(`p${i}`), phase: 'Pending' }, () => (i === 0 ? 0 : 1)],
      ['kube_pod_status_phase', { ...at(`p${i}`), phase: 'Running' }, () => (i === 0 ? 1 : 0)],
    ]),
    ['training_tokens_queued', { namespace: 'training', job: 'loader', instance: 'l' }, () => 6_000_000],
    [
      'training_tokens_total',
      { namespace: 'training', job: 'trainer', instance: 'w0' },
      (seconds) => (seconds * 100_000) / 60,
    ],
    ['DCGM_FI_DEV_FB_USED', { exported_namespace: 'training', gpu: '0', job: 'dcgm', instance: 'n' }, () => 95],
    ['DCGM_FI_DEV_FB_FREE', { exported_namespace: 'training', gpu: '0', job: 'dcgm', instance: 'n' }, () => 5],
    ['http_requests_total', { namespace: 'shop', job: 'web', instance: 'w' }, (seconds) => seconds * 120],
  ]);
  const [nodes] = triggersOf('gpu-nodes/scaledobject.yaml');
  t.equal(replicasOf(await poll(t, daemon, nodes!), 1), 3);
  const [tokens, memory] = triggersOf('ai-training/scaledobject.yaml');
  t.equal(replicasOf(await poll(t, daemon, tokens!), 1), 6);
  t.equal(replicasOf(await poll(t, daemon, memory!), 1), 2);
  const [before] = triggersOf('keda-prometheus/scaledobject-before.yaml');
  const [after] = triggersOf('keda-prometheus/scaledobject.yaml');
  t.strictSame(
    [after!.metadata.query, after!.metadata.targetValue],
    [before!.metadata.query, before!.metadata.threshold],
  );
  t.equal(replicasOf(await poll(t, daemon, after!), 1), 3);
});

/** Commands of a page's first block that has a load, each as one line. */
function tried(name: string): readonly string[] {
  const text = readFileSync(join(EXAMPLES, name, 'README.md'), 'utf8');
  const block = [...text.matchAll(/^```\n([\s\S]*?)^```/gm)]
    .map((match) => match[1]!)
    .find((one) => one.includes('load.mjs'));
  return block!
    .replaceAll(/\\\n\s*/g, '')
    .trim()
    .split('\n');
}

test('what pages say to try ends as they promise', { skip: skipWithout('curl', 'sh') }, async (t) => {
  const f = async (name: string, ...wanted: readonly RegExp[]): Promise<void> => {
    const daemon = await daemonFor(t);
    const [start, load, ...questions] = tried(name);
    t.match(start, /^npm start -- --scaling\.warm-up=false &$/);
    const loaded = await runProgram('sh', ['-c', `${load} --url=http://${daemon.listen.web}`], { cwd: root });
    t.equal(loaded.code, 0, loaded.stderr);
    t.equal(questions.length, wanted.length);
    for (const [i, question] of questions.entries()) {
      const done = await runProgram('sh', ['-c', question.replace('127.0.0.1:9090', daemon.listen.web)]);
      t.match(done.stdout, wanted[i]!, `${name}: ${question}`);
      const query = /'(?:query|metricQuery)=([\s\S]*)'$/.exec(question)![1]!;
      if (name === 'hpa-pods-latency' || name === 'senders') continue;
      const triggers = triggersOf(`${name}/scaledobject.yaml`);
      t.ok(
        triggers.some(({ metadata }) => metadata.query === query || metadata.metricQuery === query),
        `${name}: asks what its manifest asks`,
      );
    }
  };
  await f('gpu-nodes', /wants ceil\(20 \/ 8\) = 3/);
  await f('ai-training', /wants ceil\((?:60|59\.9\d*) \/ 10\) = 6/, /wants ceil\(0\.95 \/ 0\.85\) = 2/);
  await f('keda-prometheus', /wants ceil\((?:120|119\.9\d*) \/ 50\) = 3/);
  await f('senders', /"job":"checkout"[\s\S]*"(?:7|6\.99\d*|7\.00\d*)"/);
  await f('kedify', /wants ceil\(0\.8 \/ 0\.5\) = 2/);
  await f('hpa-pods-latency', /"pod":"a"[\s\S]*"0\.2\d*"[\s\S]*"pod":"b"[\s\S]*"0\.4\d*"/);
});
