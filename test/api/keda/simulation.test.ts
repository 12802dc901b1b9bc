/**
 * Faults against replicas, through KEDA's port: an autoscaler that asks by gRPC may not scale down, whatever goes wrong,
 * where it would not have without the faults, and in the end it must be where it would have been.
 *
 * TIDEGAUGE_SIM_SEED names one seed to replay, TIDEGAUGE_SIM_RUNS how many seeds to draw.
 */
import * as fc from 'fast-check';
import pino from 'pino';
import { test } from 'tap';
import { openKeda } from '../../../src/api/keda/server.ts';
import type { Reading, ReadingRequest, Readings } from '../../../src/scaling/reading.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { KedaClient, type Trigger } from '../../support/keda-client.ts';
import { KedaStack } from '../../support/keda-stack.ts';
import { SYNC_MS } from '../../support/simulated-autoscalers.ts';
import { drawWorld, RUN_MS, replicasFor, run, type World } from '../../support/simulated-cluster.ts';

/** HPA's tolerance of 10 %, and one replica for what each run rounds by itself. */
const TOLERANCE = 0.1;
const ROUNDING = 1;
/** How far back the run without faults may have wanted as little. */
const MEMORY_SYNCS = (12 * 60_000) / SYNC_MS;

const SIMULATED = { namespace: 'sim', name: 'web' };
const FORGET_MS = 300_000;

const replayed = process.env.TIDEGAUGE_SIM_SEED;
const runs = Math.ceil(Number(process.env.TIDEGAUGE_SIM_RUNS ?? 30) / 5);
const base = Date.now() % 1_000_000;
const seeds =
  replayed === undefined ? Array.from({ length: runs }, (_, i) => (i % 2 === 0 ? i : base + i)) : [Number(replayed)];

/** KEDA's port before whatever Readings there are now: a restart of the simulated daemon brings new ones. */
class Surface {
  readonly #insteadOfAbsence: number | null;
  #readings: Pick<Readings, 'read'> | null = null;
  #client: KedaClient | null = null;
  #close: () => Promise<void> = async () => {};
  calls = 0;

  constructor(insteadOfAbsence: number | null = null) {
    this.#insteadOfAbsence = insteadOfAbsence;
  }

  async open(): Promise<void> {
    const logger = pino({ level: 'silent' });
    const readings = { read: (request: ReadingRequest) => this.#read(request) };
    const listen = { host: '127.0.0.1', port: 0 };
    const port = await openKeda({ listen, readings, registry: new Registry(), logger });
    this.#client = new KedaClient(port.address);
    this.#close = () => port.close();
  }

  async close(): Promise<void> {
    this.#client!.close();
    await this.#close();
  }

  readonly through = (readings: Readings): Pick<Readings, 'read'> => {
    this.#readings = readings;
    return { read: (request) => this.#ask(request) };
  };

  async #read(request: ReadingRequest): Promise<Reading> {
    const reading = await this.#readings!.read(request);
    if (reading.kind === 'value' || this.#insteadOfAbsence === null) return reading;
    return { ...reading, kind: 'value', value: this.#insteadOfAbsence, labels: [], origin: 'no_data', note: '' };
  }

  /** What the autoscaler asks, as KEDA asks it; an error of the call is an absence. */
  async #ask({ query, asker, scope }: ReadingRequest): Promise<Reading> {
    this.calls++;
    const { namespace, name, call, target } = asker!;
    const trigger: Trigger = { namespace, name, metadata: { query, targetValue: String(target) } };
    const basis = { timeMs: 0, newestMs: null, series: 0, sourcesExpected: 0, sourcesSeen: 0 };
    if (scope !== null) throw new Error('the simulated KEDA sees everything');
    try {
      const value = call === 'IsActive' ? Number(await this.#client!.isActive(trigger)) : await this.#value(trigger);
      return { kind: 'value', value, labels: [], origin: 'query', note: '', ...basis };
    } catch (error) {
      return { kind: 'absence', code: 'stale', reason: String(error), ...basis };
    }
  }

  async #value(trigger: Trigger): Promise<number> {
    const [value] = await this.#client!.getMetrics(trigger, 'm');
    return value!.metricValueFloat > 0 ? value!.metricValueFloat : Number(value!.metricValue);
  }
}

function complaintOf(world: World, calm: readonly number[], rough: readonly number[]): string | null {
  for (let i = 1; i < rough.length; i++) {
    if (rough[i]! >= rough[i - 1]!) continue;
    const from = Math.max(0, i - MEMORY_SYNCS);
    const asked = Array.from({ length: i + 1 - from }, (_, k) => replicasFor(world, (from + k) * SYNC_MS));
    const least = Math.min(...calm.slice(from, i + 1), ...asked);
    if (rough[i]! < Math.floor(least * (1 - TOLERANCE)) - ROUNDING) {
      return `at ${(i * SYNC_MS) / 1000} s: ${rough[i - 1]} → ${rough[i]}, without faults at least ${least}`;
    }
  }
  const last = rough.at(-1)!;
  const most = Math.ceil(Math.max(calm.at(-1)!, replicasFor(world, RUN_MS - 1)) * (1 + TOLERANCE)) + ROUNDING;
  return last > most ? `in the end ${last}, without faults ${calm.at(-1)}` : null;
}

test('no fault scales down by way of KEDA what would not have been scaled down', async (t) => {
  const surface = new Surface();
  await surface.open();
  t.teardown(() => surface.close());
  for (const seed of seeds) {
    const world = drawWorld(seed);
    const { replicas: calm } = await run(world, false, surface.through);
    const { replicas: rough } = await run(world, true, surface.through);
    t.equal(
      complaintOf(world, calm, rough),
      null,
      `seed ${seed} (replay with TIDEGAUGE_SIM_SEED=${seed}): ${world.query}`,
    );
  }
  t.ok(surface.calls > 100 * seeds.length, `${surface.calls} calls over the socket`);
});

test('the check can fail: a surface that makes 0 of an absence is found out', async (t) => {
  const surface = new Surface(0);
  await surface.open();
  t.teardown(() => surface.close());
  let complaints = 0;
  for (let seed = 0; seed < 40 && complaints === 0; seed += 2) {
    const world = drawWorld(seed);
    const { replicas: calm } = await run(world, false, surface.through);
    const { replicas: rough } = await run(world, true, surface.through);
    if (complaintOf(world, calm, rough) !== null) complaints++;
  }
  t.equal(complaints, 1);
});

/** What happens to a metric that a trigger asks for with `metricQuery`, and how long until the next thing. */
const HAPPENINGS = fc.array(
  fc.record({
    what: fc.constantFrom('mine', 'mine', 'others', 'end', 'nothing'),
    waitS: fc.integer({ min: 1, max: 200 }),
  }),
  { minLength: 5, maxLength: 20 },
);

test('metricQuery: no 0 for what is not there before five minutes of listening, nor while nobody sends', async (t) => {
  let zeros = 0;
  let errors = 0;
  const property = fc.asyncProperty(HAPPENINGS, async (happenings) => {
    const stack = new KedaStack({ uptimeMs: 0 });
    const client = new KedaClient((await stack.openKeda()).address);
    let heardMs = -Infinity;
    const startMs = stack.clock.nowMs();
    try {
      for (const { what, waitS } of happenings) {
        if (what === 'mine') stack.put({ __name__: 'depth' }, 7);
        if (what === 'others') stack.put({ __name__: 'other' }, 7);
        if (what === 'end') stack.end({ __name__: 'depth' });
        // A stale marker is heard, too: somebody told that a series ended.
        if (what !== 'nothing') heardMs = stack.clock.nowMs();
        stack.clock.advance(waitS * 1000);
        const poll = await client.poll({ ...SIMULATED, metadata: { metricQuery: 'depth', targetValue: '5' } });
        const nowMs = stack.clock.nowMs();
        if (poll.kind === 'error') errors++;
        else if (poll.milli === 0) {
          zeros++;
          if (nowMs - startMs < FORGET_MS || nowMs - heardMs > FORGET_MS) return false;
        } else if (poll.milli !== 7000) return false;
      }
      return true;
    } finally {
      client.close();
      await stack.close();
    }
  });
  await t.resolves(fc.assert(property, { verbose: true, numRuns: 25 }));
  t.ok(zeros > 10 && errors > 10, `${zeros} zeros and ${errors} errors were looked at`);
});
