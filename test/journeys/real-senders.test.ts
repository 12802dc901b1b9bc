/**
 * The main journey, with real programs on both sides: node-exporter → Prometheus as an agent → the daemon → PromQL over HTTP,
 * promtool, a KEDA client and kubectl.
 *
 * What the daemon must answer is known without asking it: a recording proxy between the agent and the exporter keeps every
 * exposition text. It numbers the scrapes, so the samples of that number say which text stands behind which timestamp of the
 * agent. Every query is asked at such a timestamp: there, each series' newest sample is the one of that very text, and so
 * metrics that move between scrapes can be compared as exactly as those that stand still.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { type Test, test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { KedaClient, type Trigger } from '../support/keda-client.ts';
import { EXTERNAL_METRICS, type Kubectl, kubectlFor, quantityValue, readExternalMetric } from '../support/kubectl.ts';
import { type Running, runProgram, temporaryFolder } from '../support/process.ts';
import { type Exporter, skipWithout, startNodeExporter, startPrometheusAgent } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';
import { type ExposedSample, parseExposition, parseValue, seriesKey, sumOf } from './exposition.ts';
import { extrapolatedRate, type Point } from './extrapolated-rate.ts';
import { instantVector, oneValue, rangeVector } from './query-client.ts';
import { type RecordingProxy, SCRAPE_NUMBER, startRecordingProxy } from './recording-proxy.ts';

const NAMESPACE = 'shop';
/** Scrapes of a second each; the rates look back over fewer, so that their windows are full. */
const SCRAPES_MIN = 14;
const RANGE_MS = 10_000;
const SERIES_MIN = 50;
const ARRIVAL_MS_MAX = 90_000;
/** The daemon and the second opinion add up in different orders. */
const ROUNDING = 1e-12;
/** The same moving value, asked for twice within a moment. */
const NEARBY = 0.05;
/** Series that the agent adds to every scrape, and the proxy's own. */
const NOT_EXPOSED = new RegExp(`^(up|scrape_.*|${SCRAPE_NUMBER})$`);

const EXTERNAL_METRICS_YAML = `
externalMetrics:
  - name: cpu_rate
    query: sum(rate(node_cpu_seconds_total[10s]))
  - name: memory_total
    query: sum(node_memory_MemTotal_bytes)
  - name: collectors_ok
    query: sum(node_scrape_collector_success)
  - name: collectors_ok_everywhere
    namespaced: false
    query: sum(node_scrape_collector_success)
  - name: half_a_collector
    query: node_scrape_collector_success{collector="cpu"} / 2
  - name: never_received
    query: sum(journey_never_received)
`;

interface Scrape {
  readonly timeMs: number;
  readonly samples: readonly ExposedSample[];
}

interface World {
  readonly daemon: Daemon;
  readonly web: string;
  readonly exporter: Exporter;
  readonly agent: Running;
  readonly keda: KedaClient;
  readonly kubectl: Kubectl;
  /** What was exposed at each of the agent's timestamps, in order of time. */
  readonly scrapes: readonly Scrape[];
}

test('a node exporter scraped by a Prometheus agent is answered right on every surface', {
  skip: skipWithout('prometheus', 'prometheus-node-exporter'),
}, async (t) => {
  const world = await startWorld(t);
  await t.test('every exposed series has its value', (t) => everySeries(t, world));
  await t.test('rate() is what the recorded counters give', (t) => rates(t, world));
  await t.test('promtool reads the same value', { skip: skipWithout('promtool') }, (t) => promtool(t, world));
  await t.test('a KEDA client reads the same value', (t) => kedaReads(t, world));
  await t.test('kubectl reads the same value', { skip: skipWithout('kubectl') }, (t) => kubectlReads(t, world));
  await t.test('a metric that never came is an error to KEDA', (t) => kedaUnknown(t, world));
  await t.test('a metric that never came is a 404 to kubectl', { skip: skipWithout('kubectl') }, (t) =>
    kubectlUnknown(t, world),
  );
  await t.test('a stopped exporter is an absence, not a zero', (t) => exporterStops(t, world));
  await t.test('everything started is stopped', (t) => everythingStops(t, world));
});

async function startWorld(t: Test): Promise<World> {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const configFile = join(folder.path, 'tidegauge.yml');
  await writeFile(configFile, EXTERNAL_METRICS_YAML);
  const exporter = await startNodeExporter();
  t.teardown(() => exporter.stop());
  const proxy = await startRecordingProxy(exporter.address);
  t.teardown(() => proxy.stop());
  const daemon = await startDaemon([`--config.file=${configFile}`]);
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  const agent = await startPrometheusAgent({
    target: proxy.address,
    labels: { namespace: NAMESPACE },
    remoteWriteUrl: `http://${web}/api/v1/write`,
  });
  t.teardown(() => agent.stop());
  const keda = new KedaClient(daemon.listen.keda);
  t.teardown(() => keda.close());
  const kubectl = kubectlFor(daemon.listen.kubernetes, folder.path);
  const scrapes = await arrivedScrapes(web, proxy);
  return { daemon, web, exporter, agent, keda, kubectl, scrapes };
}

async function arrivedScrapes(web: string, proxy: RecordingProxy): Promise<readonly Scrape[]> {
  const numbers = await waitFor(
    async () => {
      const [series] = await rangeVector(web, `${SCRAPE_NUMBER}[5m]`);
      return series !== undefined && series.points.length >= SCRAPES_MIN && series.points;
    },
    { timeoutMs: ARRIVAL_MS_MAX, what: `${SCRAPES_MIN} scrapes to arrive` },
  );
  return numbers.map(([timeMs, number]) => {
    const { requestedMs, text } = proxy.recordings[number]!;
    // The agent stamps a scrape when it begins it, in steps of the interval: the timestamps are its own, not the daemon's.
    if (Math.abs(timeMs - requestedMs) > 1000)
      throw new Error(`scrape ${number} of ${requestedMs} is stamped ${timeMs}`);
    return { timeMs, samples: parseExposition(text) };
  });
}

async function everySeries(t: Test, { web, scrapes }: World): Promise<void> {
  for (const scrape of [scrapes.at(-1)!, scrapes.at(-5)!]) {
    const answered = new Map<string, number>();
    for (const { labels, value } of await instantVector(web, '{job="node"}', scrape.timeMs)) {
      const { __name__: name, job: _job, instance: _instance, ...rest } = labels;
      if (!NOT_EXPOSED.test(name!)) answered.set(seriesKey(name!, rest), value);
    }
    const exposed = new Map(
      scrape.samples.map(({ name, labels, value }) => [seriesKey(name, { ...labels, namespace: NAMESPACE }), value]),
    );
    const wrong = [...exposed].filter(([key, value]) => !Object.is(answered.get(key), value));
    t.strictSame(
      wrong.map(([key, value]) => [key, value, answered.get(key)]).slice(0, 10),
      [],
      'exposed, but answered otherwise',
    );
    t.strictSame(
      [...answered.keys()].filter((key) => !exposed.has(key)).slice(0, 10),
      [],
      'answered, but never exposed',
    );
    t.ok(exposed.size >= SERIES_MIN, `${exposed.size} series compared`);
  }
}

type Counter = readonly [name: string, labels: Readonly<Record<string, string>>];

/** Two counters of whole numbers, a fractional one, and one with labels to choose by: all move while the journey runs. */
function movingCounters(scrapes: readonly Scrape[]): readonly Counter[] {
  const last = scrapes.at(-1)!.samples.filter(({ name }) => name === 'node_cpu_seconds_total');
  const moved = ({ name, labels, value }: ExposedSample): number => value - sumOf(scrapes[0]!.samples, name, labels);
  // Whether a CPU is idle or busy is not for this test to say.
  const [busiest] = last.sort((a, b) => moved(b) - moved(a));
  return [
    ['node_cpu_seconds_total', busiest!.labels],
    ['node_context_switches_total', {}],
    ['node_intr_total', {}],
    ['process_cpu_seconds_total', {}],
  ];
}

async function rates(t: Test, { web, scrapes }: World): Promise<void> {
  const lastMs = scrapes.at(-1)!.timeMs;
  for (const [name, labels] of movingCounters(scrapes)) {
    const points: readonly Point[] = scrapes.map((scrape) => [scrape.timeMs, sumOf(scrape.samples, name, labels)]);
    t.ok(points.at(-1)![1] > points[0]![1], `${name} moves`);
    const matchers = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    // At a sample's time the left edge falls on another sample, which must not count; between samples both ends extrapolate.
    for (const endMs of [lastMs, lastMs - 2000 + 137, lastMs + 700]) {
      const want = extrapolatedRate(points, endMs, RANGE_MS);
      const got = await oneValue(web, `rate(${name}{${matchers.join()}}[10s])`, endMs);
      near(t, got, want, ROUNDING, `rate of ${name} ${endMs - lastMs} ms after the last sample`);
    }
  }
}

async function promtool(t: Test, { web, scrapes }: World): Promise<void> {
  const { timeMs } = scrapes.at(-1)!;
  for (const query of ['sum(rate(node_cpu_seconds_total[10s]))', 'node_memory_MemTotal_bytes']) {
    const time = `--time=${(timeMs / 1000).toFixed(3)}`;
    const done = await runProgram('promtool', ['query', 'instant', '--format=json', time, `http://${web}`, query]);
    t.equal(done.code, 0, done.stderr);
    const [series] = JSON.parse(done.stdout) as readonly [{ readonly value: readonly [number, string] }];
    t.equal(parseValue(series.value[1]), await oneValue(web, query, timeMs), query);
  }
}

function triggerOf(metadata: Readonly<Record<string, string>>): Trigger {
  return { name: 'checkout', namespace: NAMESPACE, metadata: { scalerAddress: 'tidegauge.example:6000', ...metadata } };
}

async function kedaReads(t: Test, { web, keda, scrapes }: World): Promise<void> {
  const ask = async (query: string, targetValue: string) => {
    const trigger = triggerOf({ query, targetValue });
    const specs = await keda.getMetricSpec(trigger);
    t.equal(specs.length, 1, `one metric spec for ${query}`);
    t.equal(specs[0]!.targetSizeFloat, Number(targetValue));
    t.equal(specs[0]!.targetSize, BigInt(Math.ceil(Number(targetValue))));
    const values = await keda.getMetrics(trigger, specs[0]!.metricName);
    t.equal(values.length, 1, `one metric value for ${query}`);
    t.equal(values[0]!.metricValue, BigInt(Math.ceil(values[0]!.metricValueFloat)));
    return { value: values[0]!.metricValueFloat, active: await keda.isActive(trigger) };
  };

  const memory = await ask('sum(node_memory_MemTotal_bytes)', '1000000');
  t.equal(
    memory.value,
    sumOf(scrapes.at(-1)!.samples, 'node_memory_MemTotal_bytes'),
    'a metric that stands still, exactly',
  );
  t.equal(memory.active, true);

  const zero = await ask('sum(node_memory_MemTotal_bytes) * 0', '2');
  t.strictSame(zero, { value: 0, active: false }, 'a true zero is a zero');

  const query = 'sum(rate(node_cpu_seconds_total{mode=~"idle|user|system"}[10s]))';
  const cpu = await atAboutTheSameTime(web, query, () => ask(query, '0.5'));
  nearby(t, cpu.answer.value, cpu, 'a rate');
  t.equal(cpu.answer.active, true);
}

async function kubectlReads(t: Test, { web, kubectl, scrapes }: World): Promise<void> {
  const { samples } = scrapes.at(-1)!;
  const discovery = await kubectl('get', '--raw', EXTERNAL_METRICS);
  t.equal(discovery.code, 0, discovery.stderr);
  const list = JSON.parse(discovery.stdout) as { kind: string; resources: { name: string; namespaced: boolean }[] };
  t.equal(list.kind, 'APIResourceList');
  const names = list.resources.map((resource) => resource.name);
  for (const name of ['cpu_rate', 'memory_total', 'collectors_ok', 'never_received'])
    t.ok(names.includes(name), `${name} is listed`);

  const read = async (path: string): Promise<number> => {
    const items = await readExternalMetric(kubectl, path);
    t.equal(items.length, 1, `one item for ${path}`);
    t.match(items[0]!.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    return quantityValue(items[0]!.value);
  };
  const exactly = async (path: string, want: number) => t.equal(await read(path), want, path);
  const collectors = sumOf(samples, 'node_scrape_collector_success');
  t.ok(collectors > 2);
  await exactly('shop/memory_total', sumOf(samples, 'node_memory_MemTotal_bytes'));
  await exactly('shop/collectors_ok', collectors);
  await exactly('shop/collectors_ok?labelSelector=collector%3Dcpu', 1);
  await exactly('shop/collectors_ok?labelSelector=collector+in+%28cpu%2Cmeminfo%29', 2);
  await exactly('shop/collectors_ok?labelSelector=collector%21%3Dcpu', collectors - 1);
  await exactly('other/collectors_ok_everywhere', collectors);
  await exactly('shop/half_a_collector', 0.5);
  const rate = await atAboutTheSameTime(web, 'sum(rate(node_cpu_seconds_total[10s]))', () => read('shop/cpu_rate'));
  nearby(t, rate.answer, rate, 'a rate');
  await refused(t, kubectl, 'other/collectors_ok', /unknown metric/, 'another namespace sees nothing of this one');
}

async function kedaUnknown(t: Test, { keda }: World): Promise<void> {
  const trigger = triggerOf({ query: 'sum(rate(journey_never_received[1m]))', targetValue: '5' });
  const [spec] = await keda.getMetricSpec(trigger);
  t.equal(spec!.targetSizeFloat, 5, 'the target is known without data');
  await t.rejects(keda.getMetrics(trigger, spec!.metricName), {
    code: status.NOT_FOUND,
    details: /journey_never_received/,
  });
  await t.rejects(keda.isActive(trigger), { code: status.NOT_FOUND, details: /journey_never_received/ });
}

async function kubectlUnknown(t: Test, { kubectl }: World): Promise<void> {
  await refused(t, kubectl, 'shop/never_received', /journey_never_received/, 'a configured metric without series');
  await refused(t, kubectl, 'shop/never_configured', /could not find the metric/, 'a metric that no one configured');
}

/** kubectl prints the reason of a Status reply in brackets, and `unknown` for a body that is none. */
async function refused(t: Test, kubectl: Kubectl, path: string, says: RegExp, message: string): Promise<void> {
  const done = await kubectl('get', '--raw', `${EXTERNAL_METRICS}/namespaces/${path}`);
  t.not(done.code, 0, message);
  t.equal(done.stdout, '', message);
  t.match(done.stderr, /^Error from server \(NotFound\): /, message);
  t.match(done.stderr, says, message);
}

async function exporterStops(t: Test, { web, exporter, keda, kubectl }: World): Promise<void> {
  await exporter.stop();
  // The agent's next scrape fails, and it ends every series of the target with a stale marker.
  await waitFor(async () => (await instantVector(web, 'node_memory_MemTotal_bytes')).length === 0, {
    timeoutMs: ARRIVAL_MS_MAX,
    what: 'the stale markers of the stopped exporter',
  });
  await waitFor(async () => (await oneValue(web, 'up')) === 0, {
    timeoutMs: ARRIVAL_MS_MAX,
    what: 'the agent to report it',
  });
  const trigger = triggerOf({ query: 'sum(node_memory_MemTotal_bytes)', targetValue: '5' });
  const [spec] = await keda.getMetricSpec(trigger);
  await t.rejects(keda.getMetrics(trigger, spec!.metricName), { code: status.UNAVAILABLE, details: /stale/ });
  await t.rejects(keda.isActive(trigger), { code: status.UNAVAILABLE, details: /stale/ });
  if (skipWithout('kubectl') !== false) return;
  const done = await kubectl('get', '--raw', `${EXTERNAL_METRICS}/namespaces/shop/memory_total`);
  t.not(done.code, 0);
  t.equal(done.stdout, '');
  t.match(done.stderr, /stale/);
}

async function everythingStops(t: Test, { daemon, agent, exporter }: World): Promise<void> {
  await agent.stop();
  t.equal(await daemon.stop(), 0, 'SIGTERM is a clean end');
  for (const pid of [agent.pid, daemon.pid, exporter.pid]) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
}

interface Surrounded<A> {
  readonly answer: A;
  readonly before: number;
  readonly after: number;
}

/** An answer, and what the query API says just before and just after it. */
async function atAboutTheSameTime<A>(web: string, query: string, ask: () => Promise<A>): Promise<Surrounded<A>> {
  const before = await oneValue(web, query);
  const answer = await ask();
  return { answer, before, after: await oneValue(web, query) };
}

/** A scrape that arrives in between makes one of the two differ, but not both. */
function nearby(t: Test, got: number, { before, after }: Surrounded<unknown>, message: string): void {
  const close = [before, after].some((want) => isNear(got, want, NEARBY));
  t.ok(close, `${message}: got ${got}, want ${before} or ${after}`);
}

function near(t: Test, got: number, want: number, share: number, message: string): void {
  t.ok(isNear(got, want, share), `${message}: got ${got}, want ${want}`);
}

/** Equal up to a share of the wanted value. */
function isNear(got: number, want: number, share: number): boolean {
  return Math.abs(got - want) <= share * Math.abs(want);
}
