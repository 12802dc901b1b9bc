/**
 * A workload under load, the daemon that watches it and an autoscaler that scales it, in simulated time: everything is
 * drawn from one seed. The same world can be run with its faults and without.
 *
 * Each pod sends a gauge (its share of the load) and a counter (its share summed up) every 15 s, at a phase of its own.
 */
import { labelsFromObject } from '../../src/model/labels.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { float64High, float64Low, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { DEFAULT_POLICY } from '../../src/scaling/policy.ts';
import { Readings } from '../../src/scaling/reading.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { TestClock } from './clock.ts';
import { PlainHead } from './plain-head.ts';
import { START_MS } from './scaling-stack.ts';
import { POLL_MS, SimulatedAutoscaler, SYNC_MS } from './simulated-autoscalers.ts';

const TICK_MS = 5000;
const INTERVAL_MS = 15_000;
const MINUTE_MS = 60_000;
/** Nothing goes wrong, and the load stands still, at the beginning and at the end. */
const CALM_MS = 8 * MINUTE_MS;
const FAULTS_MS = 30 * MINUTE_MS;
const TAIL_MS = 16 * MINUTE_MS;
export const RUN_MS = CALM_MS + FAULTS_MS + TAIL_MS;
const TARGET = 20;

/** What goes wrong, from and to a time after the start. */
export interface Fault {
  readonly kind: 'outage' | 'partition' | 'late' | 'restart' | 'jump' | 'crash';
  readonly fromMs: number;
  readonly toMs: number;
  /** Share of the pods that are concerned, or milliseconds of a delay or a jump. */
  readonly amount: number;
}

export interface World {
  readonly seed: number;
  readonly query: string;
  /** Seconds that the HPA waits before it scales down. */
  readonly stabilizationSeconds: number;
  /** Pods that are scaled away say so. */
  readonly endsCleanly: boolean;
  /** Load by minute. */
  readonly load: readonly number[];
  readonly faults: readonly Fault[];
}

export function drawWorld(seed: number): World {
  const random = randomOf(seed);
  const pick = <T>(...choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const between = (min: number, max: number): number => min + random() * (max - min);
  const load: number[] = [];
  let level = between(60, 360);
  for (let minute = 0; minute * MINUTE_MS < RUN_MS; minute++) {
    const moves = minute * MINUTE_MS > CALM_MS && minute * MINUTE_MS < CALM_MS + FAULTS_MS;
    if (moves && random() < 0.12) level = between(60, 360);
    load.push(level);
  }
  const faults: Fault[] = [];
  const count = 1 + Math.floor(random() * 3);
  for (let i = 0; i < count; i++) {
    const kind = pick<Fault['kind']>('outage', 'partition', 'late', 'restart', 'jump', 'crash');
    const fromMs = CALM_MS + Math.floor((random() * FAULTS_MS * 0.6) / TICK_MS) * TICK_MS;
    // One sender that is silent for longer than it takes to forget it counts as gone: that is the promise's bound.
    const longest = kind === 'partition' || kind === 'late' ? 4.5 : 12;
    const toMs = fromMs + Math.ceil(between(0.3, longest) * 12) * TICK_MS;
    const jumpMs = pick(-1, 1) * Math.round(between(1, 60)) * MINUTE_MS;
    const amount = kind === 'jump' ? jumpMs : kind === 'late' ? Math.ceil(between(4, 24)) * TICK_MS : between(0.1, 0.9);
    faults.push({ kind, fromMs, toMs, amount });
  }
  const bounded = faults.filter((fault) => !isPartial(fault) || faults.every((other) => isApart(fault, other)));
  return {
    seed,
    query: pick('sum(rate(work_total[1m]))', 'sum(rate(work_total[2m]))', 'sum(work)', 'sum(avg_over_time(work[1m]))'),
    stabilizationSeconds: pick(0, 0, 60, 300),
    endsCleanly: random() < 0.5,
    load,
    faults: bounded,
  };
}

function isPartial({ kind }: Fault): boolean {
  return kind === 'partition' || kind === 'late';
}

/** Who is still silent when all others come back after a long silence has been forgotten: one fault at a time, then. */
function isApart(one: Fault, other: Fault): boolean {
  const marginMs = 7 * MINUTE_MS;
  return (
    one === other || other.kind === 'crash' || one.fromMs > other.toMs + marginMs || other.fromMs > one.toMs + marginMs
  );
}

/** Replicas that the load of a moment asks for. */
export function replicasFor({ load }: World, atMs: number): number {
  return Math.ceil(load[Math.floor(atMs / MINUTE_MS)]! / TARGET);
}

interface Pod {
  readonly name: string;
  readonly phaseMs: number;
  readonly bornMs: number;
  /** Ranks pods for partitions, 0 to 1. */
  readonly rank: number;
  total: number;
}

interface Sample {
  readonly arrivesMs: number;
  readonly timeMs: number;
  readonly pod: string;
  readonly gauge: number;
  readonly total: number;
}

/** Replicas at the end of each sync. */
export interface Trace {
  readonly replicas: readonly number[];
}

/** `through` puts something between the autoscaler and the Readings, for example a surface on a real socket. */
export async function run(
  world: World,
  withFaults: boolean,
  through: Through = (readings) => readings,
): Promise<Trace> {
  const simulation = new Simulation(world, withFaults ? world.faults : [], through);
  return simulation.run();
}

type Through = (readings: Readings) => Pick<Readings, 'read'>;

class Simulation {
  readonly #world: World;
  readonly #faults: readonly Fault[];
  readonly #clock = new TestClock(START_MS);
  readonly #random: () => number;
  readonly #autoscaler: SimulatedAutoscaler;
  readonly #through: Through;
  #head: PlainHead;
  #readings: Pick<Readings, 'read'>;
  #pods: Pod[] = [];
  #underway: Sample[] = [];
  #born = 0;
  #jumpedMs = 0;

  constructor(world: World, faults: readonly Fault[], through: Through) {
    this.#through = through;
    this.#world = world;
    this.#faults = faults;
    this.#random = randomOf(world.seed ^ 0x5eed);
    const replicas = Math.ceil(world.load[0]! / TARGET);
    const behavior = { scaleDown: { stabilizationWindowSeconds: world.stabilizationSeconds } };
    this.#autoscaler = new SimulatedAutoscaler(
      {
        query: world.query,
        policy: DEFAULT_POLICY,
        target: TARGET,
        minReplicas: 1,
        maxReplicas: 40,
        behavior,
        fallbackReplicas: null,
      },
      replicas,
    );
    [this.#head, this.#readings] = this.#start();
  }

  async run(): Promise<Trace> {
    const replicas: number[] = [];
    for (let atMs = 0; atMs < RUN_MS; atMs += TICK_MS) {
      this.#break(atMs);
      this.#deploy(atMs);
      this.#work(atMs);
      this.#deliver(atMs);
      // The autoscaler has a clock of its own, which is right.
      if (atMs % POLL_MS === 0) await this.#autoscaler.poll(this.#readings, START_MS + atMs);
      if (atMs % SYNC_MS === 0) {
        await this.#autoscaler.sync(this.#readings, START_MS + atMs);
        replicas.push(this.#autoscaler.replicas);
      }
      this.#clock.advance(TICK_MS);
    }
    return { replicas };
  }

  /** A daemon with an empty memory. */
  #start(): [PlainHead, Pick<Readings, 'read'>] {
    const clock = this.#clock;
    const registry = new Registry();
    const { outOfOrderMsMax, futureMsMax } = LIMITS;
    const head = new PlainHead({ clock, retentionMs: 7_200_000, outOfOrderMsMax, futureMsMax, seriesMax: 10_000 });
    const engine = new QueryEngine({ head, clock, registry, lookbackMs: 300_000 });
    return [head, this.#through(new Readings({ head, engine, clock, registry, lookbackMs: 300_000 }))];
  }

  #break(atMs: number): void {
    let wantedMs = 0;
    for (const { kind, fromMs, toMs, amount } of this.#faults) {
      if (kind === 'restart' && atMs === fromMs) [this.#head, this.#readings] = this.#start();
      if (kind === 'jump' && atMs >= fromMs && atMs < toMs) wantedMs += amount;
      if (kind === 'crash' && atMs === fromMs) {
        this.#pods = this.#pods.filter((pod) => pod.rank >= amount);
      }
    }
    if (wantedMs !== this.#jumpedMs) this.#clock.jump(wantedMs - this.#jumpedMs);
    this.#jumpedMs = wantedMs;
  }

  /** Pods come and go as the replicas say; what crashed is replaced. */
  #deploy(atMs: number): void {
    const wanted = this.#autoscaler.replicas;
    while (this.#pods.length < wanted) {
      const name = `web-${this.#born++}`;
      const phaseMs = Math.floor(this.#random() * 3) * TICK_MS;
      this.#pods.push({ name, phaseMs, bornMs: atMs, rank: this.#random(), total: 0 });
    }
    while (this.#pods.length > wanted) {
      const pod = this.#pods.pop()!;
      if (this.#world.endsCleanly) this.#append(pod.name, START_MS + atMs, null);
    }
  }

  #work(atMs: number): void {
    const load = this.#world.load[Math.floor(atMs / MINUTE_MS)]!;
    const share = load / Math.max(1, this.#pods.length);
    for (const pod of this.#pods) {
      if (atMs > pod.bornMs) pod.total += (share * TICK_MS) / 1000;
      if ((atMs + pod.phaseMs) % INTERVAL_MS !== 0) continue;
      const delayMs = this.#delayOf(pod, atMs);
      if (delayMs === null) continue;
      const timeMs = START_MS + atMs;
      this.#underway.push({ arrivesMs: atMs + delayMs, timeMs, pod: pod.name, gauge: share, total: pod.total });
    }
  }

  /** How late a sample of now arrives; null for never. */
  #delayOf(pod: Pod, atMs: number): number | null {
    let delayMs = 0;
    for (const { kind, fromMs, toMs, amount } of this.#faults) {
      if (atMs < fromMs || atMs >= toMs) continue;
      if (kind === 'outage' || (kind === 'partition' && pod.rank < amount)) return null;
      if (kind === 'late' && pod.rank < 0.5) delayMs = Math.max(delayMs, Math.min(amount, toMs + amount - atMs));
    }
    return delayMs;
  }

  #deliver(atMs: number): void {
    for (const sample of this.#underway) {
      if (sample.arrivesMs <= atMs) this.#append(sample.pod, sample.timeMs, sample);
    }
    this.#underway = this.#underway.filter((sample) => sample.arrivesMs > atMs);
  }

  /** Null is the end of the pod's series. */
  #append(pod: string, timeMs: number, sample: Sample | null): void {
    const common = { job: 'web', instance: `${pod}:8080`, namespace: 'sim', pod };
    const values: readonly (readonly [string, number])[] = [
      ['work', sample?.gauge ?? 0],
      ['work_total', sample?.total ?? 0],
    ];
    for (const [name, value] of values) {
      const ref = this.#head.series(labelsFromObject({ ...common, __name__: name }));
      const low = sample === null ? STALE_NAN_LOW : float64Low(value);
      const high = sample === null ? STALE_NAN_HIGH : float64High(value);
      this.#head.append(ref, timeMs, low, high);
    }
  }
}

/** Mulberry32: numbers from 0 to 1, the same for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
