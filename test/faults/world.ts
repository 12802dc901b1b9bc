/**
 * A workload, its senders, the daemon's own ingest, log and images, and KEDA with the HPA, in simulated time: the clock, the
 * network and the disk are drawn from one seed, and the same world can be run with its troubles and without.
 *
 * Each pod sends two series every 15 s as remote-write senders do: what was not acknowledged is sent again, in order.
 */
import { QueryEngine } from '../../src/promql/engine.ts';
import { DEFAULT_POLICY } from '../../src/scaling/policy.ts';
import { Readings } from '../../src/scaling/reading.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { TestClock } from '../support/clock.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { POLL_MS, SimulatedAutoscaler, SYNC_MS } from '../support/simulated-autoscalers.ts';
import { drawWorld, RUN_MS, randomOf, type World } from '../support/simulated-cluster.ts';
import { dump } from '../support/store-dump.ts';
import { openSite, type Site, settle, T0 } from './site.ts';

const TICK_MS = 5000;
const INTERVAL_MS = 15_000;
const MINUTE_MS = 60_000;
const TARGET = 20;
/** Samples of one request, and how long a reply is waited for. */
const BATCH = 20;
const REPLY_MS_MAX = 30_000;
/** Acknowledged that shortly before a power loss, it need not be on the disk. */
const SYNC_LOSS_MS = 2 * TICK_MS;

const KINDS = ['drop', 'lost reply', 'delay', 'duplicate', 'disk', 'kill', 'power loss'] as const;
type Kind = (typeof KINDS)[number];

/** What goes wrong, from and to a time after the start. */
export interface Trouble {
  readonly kind: Kind;
  readonly fromMs: number;
  readonly toMs: number;
  /** Of pods, for the network; any number for the rest. */
  readonly share: number;
}

export interface RoughWorld extends World {
  readonly troubles: readonly Trouble[];
}

export function drawRoughWorld(seed: number): RoughWorld {
  const random = randomOf(seed ^ 0x0dd);
  const troubles: Trouble[] = [];
  // Far enough from each other that what one did is over when the next begins; two of them at the same time.
  for (let from = 9; from < 34; from += 12) {
    for (let i = 0; i < 2; i++) {
      const kind = KINDS[Math.floor(random() * KINDS.length)]!;
      const fromMs = from * MINUTE_MS + Math.floor(random() * 12) * TICK_MS;
      troubles.push({ kind, fromMs, toMs: fromMs + Math.ceil(1 + random() * 40) * TICK_MS, share: random() });
    }
  }
  return { ...drawWorld(seed), faults: [], troubles };
}

interface Sample {
  readonly timeMs: number;
  readonly gauge: number;
  readonly total: number;
}

interface Pod {
  readonly name: string;
  readonly phaseMs: number;
  readonly bornMs: number;
  readonly rank: number;
  total: number;
  /** Not acknowledged, the oldest first. */
  readonly queue: Sample[];
  /** When the request that is under way is given up. */
  waitsUntilMs: number;
}

interface Request {
  readonly arrivesMs: number;
  readonly pod: Pod;
  readonly samples: readonly Sample[];
  readonly isAnswered: boolean;
}

export interface Run {
  /** At the end of each sync. */
  readonly replicas: readonly number[];
  /** What is wrong with what the store holds in the end, or null. */
  readonly fault: string | null;
  readonly acknowledged: number;
  readonly restarts: number;
}

export async function runRough(world: RoughWorld, withTroubles: boolean): Promise<Run> {
  const simulation = new RoughSimulation(world, withTroubles ? world.troubles : []);
  await simulation.start();
  return simulation.run();
}

class RoughSimulation {
  readonly #world: RoughWorld;
  readonly #troubles: readonly Trouble[];
  readonly #clock = new TestClock(T0);
  readonly #random: () => number;
  readonly #autoscaler: SimulatedAutoscaler;
  #site: Site | null = null;
  #readings: Readings | null = null;
  #pods: Pod[] = [];
  #underway: Request[] = [];
  #born = 0;
  #atMs = 0;
  #restarts = 0;
  /** When what is kept was acknowledged, and its value, by series and time. */
  readonly #acknowledged = new Map<string, { readonly atMs: number; readonly value: number }>();
  readonly #sent = new Map<string, number>();

  constructor(world: RoughWorld, troubles: readonly Trouble[]) {
    this.#world = world;
    this.#troubles = troubles;
    this.#random = randomOf(world.seed ^ 0x5eed);
    this.#autoscaler = new SimulatedAutoscaler(
      {
        query: world.query,
        policy: DEFAULT_POLICY,
        target: TARGET,
        minReplicas: 1,
        maxReplicas: 40,
        behavior: { scaleDown: { stabilizationWindowSeconds: world.stabilizationSeconds } },
        fallbackReplicas: null,
      },
      Math.ceil(world.load[0]! / TARGET),
    );
  }

  async start(disk?: Site['disk']): Promise<void> {
    const clock = this.#clock;
    const head = { retentionMs: 2 * 3_600_000, seriesMax: 5000 };
    const site = await openSite({ clock, head, ...(disk === undefined ? {} : { disk }) });
    const registry = new Registry();
    const engine = new QueryEngine({ head: site.head, clock, registry, lookbackMs: 300_000 });
    this.#site = site;
    this.#readings = new Readings({ head: site.head, engine, clock, registry, lookbackMs: 300_000 });
  }

  async run(): Promise<Run> {
    const replicas: number[] = [];
    for (; this.#atMs < RUN_MS; this.#atMs += TICK_MS) {
      await this.#break();
      this.#deploy();
      this.#work();
      this.#send();
      await this.#deliver();
      if (this.#atMs % POLL_MS === 0) await this.#autoscaler.poll(this, T0 + this.#atMs);
      if (this.#atMs % SYNC_MS === 0) {
        await this.#autoscaler.sync(this, T0 + this.#atMs);
        replicas.push(this.#autoscaler.replicas);
      }
      this.#clock.advance(TICK_MS);
    }
    const fault = this.#check();
    return { replicas, fault, acknowledged: this.#acknowledged.size, restarts: this.#restarts };
  }

  /** When the disk last did what it was told. */
  #syncedMs = 0;
  #down: { readonly left: Site['disk']; readonly untilMs: number } | null = null;

  /** What the autoscaler asks; an error while nobody is there. */
  async read(question: Parameters<Readings['read']>[0]): ReturnType<Readings['read']> {
    if (this.#readings === null) return { kind: 'absence' } as Awaited<ReturnType<Readings['read']>>;
    return this.#readings.read(question);
  }

  #troubleOf(...kinds: readonly Kind[]): Trouble | undefined {
    const atMs = this.#atMs;
    return this.#troubles.find(({ kind, fromMs, toMs }) => kinds.includes(kind) && atMs >= fromMs && atMs < toMs);
  }

  async #break(): Promise<void> {
    for (const { kind, fromMs, share } of this.#troubles) {
      if (this.#atMs !== fromMs || (kind !== 'kill' && kind !== 'power loss') || this.#site === null) continue;
      const { disk } = this.#site;
      disk.fault = () => null;
      const isPowerLoss = kind === 'power loss';
      const left = isPowerLoss ? disk.powerLoss(() => this.#random()) : disk.copy();
      if (isPowerLoss) this.#forgetAcknowledged(T0 + this.#syncedMs - SYNC_LOSS_MS);
      this.#site = null;
      this.#readings = null;
      this.#underway = [];
      this.#down = { left, untilMs: this.#atMs + Math.floor(share * 8) * TICK_MS };
    }
    if (this.#down !== null && this.#atMs >= this.#down.untilMs) {
      const { left } = this.#down;
      this.#down = null;
      this.#restarts++;
      await this.start(left);
    }
    const code = this.#troubleOf('disk') === undefined ? null : ['ENOSPC', 'EIO', 'EROFS'][this.#world.seed % 3]!;
    if (this.#site !== null) this.#site.disk.fault = ({ kind }) => (kind === 'read' ? null : code);
  }

  #forgetAcknowledged(sinceMs: number): void {
    for (const [key, { atMs }] of this.#acknowledged) if (atMs >= sinceMs) this.#acknowledged.delete(key);
  }

  /** Pods come and go as the replicas say. */
  #deploy(): void {
    while (this.#pods.length < this.#autoscaler.replicas) {
      const name = `web-${this.#born++}`;
      const phaseMs = Math.floor(this.#random() * 3) * TICK_MS;
      const rank = this.#random();
      this.#pods.push({ name, phaseMs, bornMs: this.#atMs, rank, total: 0, queue: [], waitsUntilMs: -Infinity });
    }
    this.#pods.length = this.#autoscaler.replicas;
  }

  #work(): void {
    const share = this.#world.load[Math.floor(this.#atMs / MINUTE_MS)]! / Math.max(1, this.#pods.length);
    for (const pod of this.#pods) {
      if (this.#atMs > pod.bornMs) pod.total += (share * TICK_MS) / 1000;
      if ((this.#atMs + pod.phaseMs) % INTERVAL_MS !== 0) continue;
      pod.queue.push({ timeMs: T0 + this.#atMs, gauge: share, total: pod.total });
    }
  }

  /** Each sender has one request under way at a time, until it is answered or given up. */
  #send(): void {
    for (const pod of this.#pods) {
      if (pod.queue.length === 0 || this.#atMs < pod.waitsUntilMs) continue;
      const samples = pod.queue.slice(0, BATCH);
      const hit = (kind: Kind): boolean => pod.rank < (this.#troubleOf(kind)?.share ?? 0);
      if (hit('drop')) continue;
      const delayMs = hit('delay') ? Math.ceil(this.#random() * 8) * TICK_MS : 0;
      const arrivesMs = this.#atMs + delayMs;
      pod.waitsUntilMs = this.#atMs + REPLY_MS_MAX;
      const request = { arrivesMs, pod, samples, isAnswered: !hit('lost reply') };
      this.#underway.push(request);
      if (hit('duplicate')) this.#underway.push({ ...request, arrivesMs: arrivesMs + TICK_MS });
    }
  }

  async #deliver(): Promise<void> {
    const due = this.#underway.filter(({ arrivesMs }) => arrivesMs <= this.#atMs);
    this.#underway = this.#underway.filter(({ arrivesMs }) => arrivesMs > this.#atMs);
    for (const request of due) this.#store(request);
    this.#site?.storage.tick();
    if (this.#site === null) return;
    await settle(this.#site);
    if (this.#troubleOf('disk') === undefined && !this.#site.storage.isDegraded) this.#syncedMs = this.#atMs;
  }

  #store(request: Request): void {
    const site = this.#site;
    if (site === null) return;
    const { pod, samples } = request;
    const common = { job: 'web', instance: `${pod.name}:8080`, namespace: 'sim', pod: pod.name };
    const seriesOf = (name: 'work' | 'work_total', value: (sample: Sample) => number) => ({
      labels: { __name__: name, ...common },
      samples: samples.map((sample) => ({ timestampMs: sample.timeMs, value: value(sample) })),
    });
    const body = encodeWriteRequest([
      seriesOf('work', ({ gauge }) => gauge),
      seriesOf('work_total', ({ total }) => total),
    ]);
    for (const { timeMs, total } of samples) this.#sent.set(`${pod.name} ${timeMs}`, total);
    try {
      const outcome = site.writer.remoteWrite(body);
      const done = (): void => this.#answered(request, site);
      if (outcome.logged === undefined) done();
      else outcome.logged.then(done, () => undefined);
    } catch {
      // Refused for now: sent again once it is given up.
    }
  }

  #answered({ pod, samples, isAnswered }: Request, site: Site): void {
    // Who is gone by now answers nobody.
    if (!isAnswered || site !== this.#site) return;
    const newestMs = samples.at(-1)!.timeMs;
    while (pod.queue.length > 0 && pod.queue[0]!.timeMs <= newestMs) pod.queue.shift();
    pod.waitsUntilMs = -Infinity;
    if (site.storage.isDegraded) return;
    for (const { timeMs, total } of samples)
      this.#acknowledged.set(`${pod.name} ${timeMs}`, { atMs: T0 + this.#atMs, value: total });
  }

  #check(): string | null {
    if (this.#site === null) return 'nobody is there in the end';
    const { head } = this.#site;
    head.verify();
    const got = new Map<string, number>();
    const scratch = new DataView(new ArrayBuffer(8));
    for (const [key, text] of dump(head)) {
      const parts = key.split('\uffff');
      if (!parts.includes('work_total')) continue;
      const pod = parts[parts.indexOf('pod') + 1]!;
      for (const sample of text.split(' ')) {
        const [time, low, high] = sample.split(':').map(Number);
        scratch.setUint32(0, low!, true);
        scratch.setUint32(4, high!, true);
        got.set(`${pod} ${time}`, scratch.getFloat64(0, true));
      }
    }
    for (const [key, { value }] of this.#acknowledged)
      if (got.get(key) !== value) return `${key}: want ${value}, got ${got.get(key)}`;
    for (const [key, value] of got) if (this.#sent.get(key) !== value) return `${key}: nobody sent ${value}`;
    return null;
  }
}
