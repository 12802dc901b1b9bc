/**
 * Two replicas as a cluster runs them, all in real time: a sender that pushes every sample to both and repeats what was not
 * acknowledged, a kubelet that asks who is ready, and a KEDA that asks one that is for numbers all the time, with the HPA's
 * arithmetic behind it. The load is constant, so there is one right answer and every other one is wrong.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { DEFAULT_POLICY } from '../../src/scaling/policy.ts';
import type { Reading } from '../../src/scaling/reading.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { KedaClient } from '../support/keda-client.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { SimulatedAutoscaler, SYNC_MS } from '../support/simulated-autoscalers.ts';
import { waitFor } from '../support/wait.ts';

const TICK_MS = 100;
const SERIES = 5;
const DEPTH = 40;
/** What the gauges add up to, and how fast all counters go. */
export const DEPTH_SUM = SERIES * DEPTH;
const RATE_SUM = (SERIES * 1000) / TICK_MS;
/** Of what a rate may be off before it is wrong: HPA does nothing below a tenth. */
const TOLERANCE = 0.1;
const TARGET = 20;
/** What a sender holds back for a replica that is away is sent in requests of so many. */
const BATCH = 100;
const POLL_MS = 100;
/** History that is there before anybody asks, so that windows are covered. */
const HISTORY_TICKS = 600;

/** A place in the pair: senders know it by its name, whoever stands there at the moment. */
class Slot {
  daemon: Daemon;
  /** Ticks below this one were acknowledged here. */
  next = -HISTORY_TICKS;

  constructor(daemon: Daemon) {
    this.daemon = daemon;
  }
}

/** Somebody that the Service may lead to. */
interface Endpoint {
  readonly daemon: Daemon;
  readonly keda: KedaClient;
  isReady: boolean;
}

export interface PairOutcome {
  /** Answers that were not the right one, as text. */
  readonly wrong: readonly string[];
  readonly polls: number;
  /** Polls that nobody who was ready answered, and the longest time without an answer. */
  readonly failures: number;
  readonly outageMsMax: number;
  /** Statuses on which a sender would drop what it has. */
  readonly finalStatuses: ReadonlySet<number>;
  readonly replicasMin: number;
}

export class Pair {
  readonly slots: readonly [Slot, Slot];
  readonly startMs = Date.now();
  readonly #endpoints = new Set<Endpoint>();
  readonly #running: Promise<void>[] = [];
  readonly #finalStatuses = new Set<number>();
  readonly #wrong: string[] = [];
  #polls = 0;
  #failures = 0;
  #outageMsMax = 0;
  #replicasMin = Infinity;
  #isOver = false;

  constructor(first: Daemon, second: Daemon) {
    this.slots = [new Slot(first), new Slot(second)];
    this.#enter(first);
    this.#enter(second);
  }

  /** Begins to send, and to ask as soon as both have the history. */
  async run(): Promise<void> {
    this.#running.push(...this.slots.map((slot) => this.#send(slot)), this.#beKubelet());
    await waitFor(() => this.slots.every(({ next }) => next > 0), { timeoutMs: 30_000, what: 'both to have it all' });
    this.#running.push(this.#beKeda());
  }

  /** A daemon takes over a place; whoever stood there is left to the caller. */
  async replace(index: 0 | 1, flags: readonly string[]): Promise<Daemon> {
    const daemon = await startDaemon(flags);
    this.#enter(daemon);
    const ready = (): boolean => this.#endpointOf(daemon)?.isReady === true;
    await waitFor(ready, { timeoutMs: 30_000, what: 'the new one to be ready' });
    this.slots[index].daemon = daemon;
    return daemon;
  }

  /** Answers right now, one after the other, until there were so many more. */
  async more(polls: number): Promise<void> {
    const until = this.#polls + polls;
    await waitFor(() => this.#polls >= until, { timeoutMs: 60_000, what: `${polls} answers` });
  }

  /** Ends sending and asking, once everything was acknowledged by both. */
  async stop(): Promise<PairOutcome> {
    this.#isOver = true;
    await Promise.all(this.#running);
    for (const { keda } of this.#endpoints) keda.close();
    return {
      wrong: this.#wrong,
      polls: this.#polls,
      failures: this.#failures,
      outageMsMax: Math.round(this.#outageMsMax),
      finalStatuses: this.#finalStatuses,
      replicasMin: this.#replicasMin,
    };
  }

  /** Ticks that a replica holds of a series, each with the value that was sent; throws for one that was not. */
  async ticksOf({ listen }: Daemon, series: number): Promise<Set<number>> {
    const endMs = this.startMs + this.slots[0].next * TICK_MS;
    const range = endMs - this.startMs + (HISTORY_TICKS + 1) * TICK_MS;
    const query = encodeURIComponent(`work_total{s="${series}"}[${range}ms]`);
    const reply = await fetch(`http://${listen.web}/api/v1/query?query=${query}&time=${endMs / 1000}`);
    const { data } = (await reply.json()) as { data: { result: { values: [number, string][] }[] } };
    const ticks = new Set<number>();
    for (const [seconds, text] of data.result[0]?.values ?? []) {
      const tick = Math.round((seconds * 1000 - this.startMs) / TICK_MS);
      if (Number(text) !== tick + HISTORY_TICKS) throw new Error(`tick ${tick}: nobody sent ${text}`);
      ticks.add(tick);
    }
    return ticks;
  }

  #enter(daemon: Daemon): void {
    this.#endpoints.add({ daemon, keda: new KedaClient(daemon.listen.keda), isReady: false });
  }

  #endpointOf(daemon: Daemon): Endpoint | undefined {
    return [...this.#endpoints].find((one) => one.daemon === daemon);
  }

  // ---- the sender

  async #send(slot: Slot): Promise<void> {
    for (;;) {
      const due = Math.floor((Date.now() - this.startMs) / TICK_MS);
      const end = Math.min(due, slot.next + BATCH);
      if (end <= slot.next) {
        if (this.#isOver) return;
        await pause(TICK_MS / 2);
        continue;
      }
      const status = await this.#push(slot.daemon, slot.next, end);
      if (status === 204) slot.next = end;
      else {
        if (status > 0 && status < 500) this.#finalStatuses.add(status);
        await pause(20);
      }
    }
  }

  async #push({ listen }: Daemon, from: number, end: number): Promise<number> {
    const ticks = Array.from({ length: end - from }, (_, i) => from + i);
    const samples = (value: (tick: number) => number) =>
      ticks.map((tick) => ({ timestampMs: this.startMs + tick * TICK_MS, value: value(tick) }));
    const series = Array.from({ length: SERIES }, (_, i) => `${i}`).flatMap((s) => [
      { labels: { __name__: 'depth', s }, samples: samples(() => DEPTH) },
      { labels: { __name__: 'work_total', s }, samples: samples((tick) => tick + HISTORY_TICKS) },
    ]);
    try {
      const reply = await fetch(`http://${listen.web}/api/v1/write`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
        body: Buffer.from(encodeWriteRequest(series)),
        signal: AbortSignal.timeout(5000),
      });
      await reply.arrayBuffer();
      return reply.status;
    } catch {
      return 0;
    }
  }

  // ---- who is asked

  async #beKubelet(): Promise<void> {
    while (!this.#isOver) {
      await Promise.all([...this.#endpoints].map((endpoint) => this.#probe(endpoint)));
      await pause(POLL_MS);
    }
  }

  async #probe(endpoint: Endpoint): Promise<void> {
    try {
      const signal = AbortSignal.timeout(1000);
      const reply = await fetch(`http://${endpoint.daemon.listen.web}/-/ready`, { signal });
      await reply.arrayBuffer();
      endpoint.isReady = reply.status === 200;
    } catch {
      endpoint.isReady = false;
      if (!endpoint.daemon.ended()) return;
      endpoint.keda.close();
      this.#endpoints.delete(endpoint);
    }
  }

  /** Asks without end; time goes a sync further with each answer, and nothing keeps replicas that are not asked for. */
  async #beKeda(): Promise<void> {
    const behavior = { scaleDown: { stabilizationWindowSeconds: 0 } };
    const query = 'sum(depth)';
    const options = { query, policy: DEFAULT_POLICY, target: TARGET, minReplicas: 1, maxReplicas: 100, behavior };
    const hpa = new SimulatedAutoscaler({ ...options, fallbackReplicas: null }, DEPTH_SUM / TARGET);
    let answeredMs = performance.now();
    for (let nowMs = this.startMs; !this.#isOver; nowMs += SYNC_MS) {
      const answer = await this.#ask();
      if (answer === null) this.#failures++;
      else answeredMs = performance.now();
      this.#outageMsMax = Math.max(this.#outageMsMax, performance.now() - answeredMs);
      this.#polls++;
      await hpa.sync({ read: async () => readingOf(answer) } as never, nowMs);
      this.#replicasMin = Math.min(this.#replicasMin, hpa.replicas);
      await pause(POLL_MS / 2);
    }
  }

  /** What the first who is ready and answers says; null if nobody does. */
  async #ask(): Promise<number | null> {
    const ready = [...this.#endpoints].filter(({ isReady }) => isReady);
    // Each of them in turn is the first.
    const first = this.#polls % Math.max(1, ready.length);
    for (const { keda, daemon } of [...ready.slice(first), ...ready.slice(0, first)]) {
      try {
        const depth = await metricOf(keda, 'sum(depth)');
        if (depth !== DEPTH_SUM) this.#wrong.push(`${daemon.pid}: sum(depth) is ${depth}`);
        const rate = await metricOf(keda, 'sum(rate(work_total[30s]))');
        if (Math.abs(rate / RATE_SUM - 1) > TOLERANCE) this.#wrong.push(`${daemon.pid}: the rate is ${rate}`);
        return depth;
      } catch {
        // The next one, if there is one.
      }
    }
    return null;
  }
}

async function metricOf(keda: KedaClient, query: string): Promise<number> {
  const trigger = { namespace: 'shop', name: 'work', metadata: { query, targetValue: `${TARGET}` } };
  const [value] = await keda.getMetrics(trigger, 'm');
  return value!.metricValueFloat;
}

function readingOf(value: number | null): Pick<Reading, 'kind'> {
  return value === null ? { kind: 'absence' } : Object.assign({ kind: 'value' as const }, { value });
}
