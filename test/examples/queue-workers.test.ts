/**
 * The example of queue workers with the real programs: a list in Redis and a queue of RabbitMQ, scraped by a Prometheus
 * agent, asked for by KEDA's client and by gRPC's C core.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { propose } from '../../src/scaling/hpa.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { KedaClient, type Poll } from '../support/keda-client.ts';
import { parseManifests } from '../support/manifests.ts';
import { runProgram } from '../support/process.ts';
import { type Queue, startRabbitQueue, startRedisList } from '../support/queue-programs.ts';
import { skipWithout, startPrometheusAgent } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const WAIT = { timeoutMs: 60_000 };

interface Trigger {
  readonly type: string;
  readonly metadata: Readonly<Record<string, string>>;
}

function triggerOf(file: string): Trigger {
  const text = readFileSync(join(root, 'examples/queue-workers', file), 'utf8');
  return parseManifests(text)[0]!.spec.triggers[0];
}

interface Scene {
  readonly daemon: Daemon;
  readonly ask: () => Promise<Poll>;
  readonly client: KedaClient;
}

/** A daemon that an agent feeds from the queue, and KEDA's questions to it. */
async function play(t: Test, queue: Queue, { metadata }: Trigger): Promise<Scene> {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  const agent = await startPrometheusAgent({
    target: queue.metrics,
    metricsPath: queue.metricsPath,
    labels: { namespace: 'jobs' },
    remoteWriteUrl: `http://${daemon.listen.web}/api/v1/write`,
  });
  const client = new KedaClient(daemon.listen.keda);
  t.teardown(async () => {
    client.close();
    await agent.stop();
    await daemon.stop();
  });
  return { daemon, client, ask: () => client.poll({ namespace: 'jobs', name: 'workers', metadata }) };
}

/** Asks until the value is this one; then it must be what stands in the answer. */
async function untilValue({ ask }: Scene, value: number): Promise<Extract<Poll, { kind: 'value' }>> {
  return waitFor(
    async () => {
      const answer = await ask();
      return answer.kind === 'value' && answer.milli === value * 1000 && answer;
    },
    { ...WAIT, what: `the queue to be ${value} long` },
  );
}

/** Replicas that an HPA wants, by the arithmetic of KEDA's default, AverageValue. */
function replicasOf({ milli, targetMilli }: Extract<Poll, { kind: 'value' }>, current: number): number {
  const target = { averageValueMilli: BigInt(targetMilli) };
  const proposal = propose(
    { type: 'External', target, valuesMilli: [BigInt(milli)] },
    { specReplicas: current, statusReplicas: current },
  );
  if (proposal.kind === 'error') throw new Error(proposal.message);
  return proposal.replicas;
}

test('a list in Redis: messages by replicas, to zero and back, and held when the exporter is gone', {
  skip: skipWithout('redis-server', 'redis-cli', 'prometheus-redis-exporter', 'prometheus', 'python3-grpcio'),
}, async (t) => {
  const trigger = triggerOf('scaledobject.yaml');
  const list = await startRedisList('tasks');
  t.teardown(() => list.stop());
  const scene = await play(t, list, trigger);
  t.match(await scene.ask(), { kind: 'error' }, 'before anything was heard: no zero');

  await list.add(65);
  const busy = await untilValue(scene, 65);
  t.equal(busy.active, true);
  t.equal(replicasOf(busy, 1), 4, '65 messages at 20 each');
  await list.add(35);
  t.equal(replicasOf(await untilValue(scene, 100), 4), 5);
  await askWithGrpcio(t, scene, trigger);

  await list.empty();
  const idle = await untilValue(scene, 0);
  t.equal(idle.active, false, 'KEDA goes to zero');
  let isWoken = false;
  const asked = { namespace: 'jobs', name: 'workers', metadata: trigger.metadata };
  const stream = scene.client.open('StreamIsActive', asked, () => {
    isWoken = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  t.notOk(isWoken, 'no message while there is no work');
  await list.add(1);
  await waitFor(() => isWoken, { ...WAIT, what: 'the first message to wake a worker' });
  stream.cancel();
  t.equal(replicasOf(await untilValue(scene, 1), 0), 1);

  await list.stopExporter();
  const silent = await waitFor(
    async () => {
      const answer = await scene.ask();
      return answer.kind === 'error' && answer;
    },
    { ...WAIT, what: 'an error, since nobody tells how long the list is' },
  );
  t.match(silent, { kind: 'error' }, 'an exporter that is down is no empty queue');
});

/** The same questions from another make of client, which must hear the same. */
async function askWithGrpcio(t: Test, { daemon }: Scene, { metadata }: Trigger): Promise<void> {
  const script = join(root, 'test/support/grpcio-client.py');
  const done = await runProgram('python3-grpcio', [script, daemon.listen.keda, JSON.stringify(metadata)]);
  t.equal(done.code, 0, done.stderr);
  const answers = JSON.parse(done.stdout) as Record<string, string>;
  const double = (hex: string): number => Buffer.from(hex, 'hex').readDoubleLE(hex.length / 2 - 8);
  t.equal(double(answers.GetMetricSpec!), 20);
  t.equal(double(answers.GetMetrics!), 100);
  t.strictSame([answers.IsActive, answers.StreamIsActive, answers.Health], ['0801', '0801', '0801']);
  t.match(answers.Nothing, /^UNIMPLEMENTED: no such method/);
  const wrong = await runProgram('python3-grpcio', [
    script,
    daemon.listen.keda,
    JSON.stringify({ ...metadata, query: 'sum(nothing_of_that_name)' }),
  ]);
  t.match(JSON.parse(wrong.stdout), {
    GetMetrics: /^NOT_FOUND: .*nothing_of_that_name.* \[unknown_metric\]; compare the name/,
  });
}

test('a queue of RabbitMQ: what a ScaledJob asks, with its own plugin as the exporter', {
  skip: skipWithout('rabbitmq-server', 'epmd', 'prometheus'),
}, async (t) => {
  const queue = await startRabbitQueue('renders');
  t.teardown(() => queue.stop());
  const scene = await play(t, queue, triggerOf('scaledjob.yaml'));
  const none = await untilValue(scene, 0);
  t.equal(none.active, false, 'a queue that is empty starts no job');
  await queue.add(35);
  const some = await untilValue(scene, 35);
  t.match(some, { active: true, targetMilli: 10_000 });
  t.equal(Math.ceil(some.milli / some.targetMilli), 4, 'KEDA divides: four jobs');
  await queue.empty();
  t.equal((await untilValue(scene, 0)).active, false);
});
