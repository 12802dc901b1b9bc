/**
 * KEDA and the HPA as one autoscaler of one workload, in simulated time: HPA's own arithmetic, and KEDA's pattern of calls.
 * A sync asks for the pair GetMetrics and IsActive, and once more at once if it fails; a poll does the same, scales from
 * and to zero, and counts failures for the fallback. Values are written with three decimals. The caller owns the clock.
 */
import { propose } from '../../src/scaling/hpa.ts';
import { type Behavior, HpaController } from '../../src/scaling/hpa-controller.ts';
import type { Policy } from '../../src/scaling/policy.ts';
import { activityOf, type Readings } from '../../src/scaling/reading.ts';

export interface AutoscalerOptions {
  readonly query: string;
  readonly policy: Policy;
  /** AverageValue. */
  readonly target: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly behavior: Behavior | null;
  /** Replicas while the trigger fails, or null for no fallback. */
  readonly fallbackReplicas: number | null;
}

export const SYNC_MS = 15_000;
export const POLL_MS = 30_000;
const COOLDOWN_MS = 300_000;
const FAILURE_THRESHOLD = 3;

/** What the pair of calls of one trigger answers; null for an error. */
type Pair = { readonly milli: bigint; readonly active: boolean } | null;

export class SimulatedAutoscaler {
  readonly #options: AutoscalerOptions;
  readonly #hpa: HpaController;
  #replicas: number;
  #failures = 0;
  #activeMs = -Infinity;

  constructor(options: AutoscalerOptions, replicas: number) {
    this.#options = options;
    this.#replicas = replicas;
    const { minReplicas, maxReplicas, behavior } = options;
    // KEDA gives the HPA at least one replica and does the rest itself.
    this.#hpa = new HpaController({ minReplicas: Math.max(1, minReplicas), maxReplicas, behavior });
  }

  get replicas(): number {
    return this.#replicas;
  }

  /** One sync of the HPA; not at zero replicas. */
  async sync(readings: Pick<Readings, 'read'>, nowMs: number): Promise<void> {
    if (this.#replicas === 0) return;
    const pair = await this.#pair(readings);
    const milli = pair?.milli ?? this.#fallbackMilli();
    const proposal = milli === null ? null : this.#propose(milli);
    this.#replicas = this.#hpa.reconcile(nowMs, this.#replicas, () => proposal).replicas;
  }

  /** One poll of KEDA. */
  async poll(readings: Pick<Readings, 'read'>, nowMs: number): Promise<void> {
    const pair = await this.#pair(readings);
    this.#failures = pair === null ? this.#failures + 1 : 0;
    // A trigger in fallback counts as active; one that only fails changes nothing.
    const active = pair?.active ?? (this.#fallbackMilli() === null ? null : true);
    if (active === true) {
      this.#activeMs = nowMs;
      if (this.#replicas === 0) this.#replicas = Math.max(1, this.#options.minReplicas);
    }
    const isOver = nowMs - this.#activeMs > COOLDOWN_MS;
    if (active === false && isOver && this.#options.minReplicas === 0) this.#replicas = 0;
  }

  /** What a stream of a trigger of type external-push tells: that there is work, and never that there is none. */
  async push(readings: Pick<Readings, 'read'>, nowMs: number): Promise<void> {
    if (activityOf(await this.#ask(readings, 'StreamIsActive'), 0) !== true) return;
    this.#activeMs = nowMs;
    if (this.#replicas === 0) this.#replicas = Math.max(1, this.#options.minReplicas);
  }

  async #pair(readings: Pick<Readings, 'read'>): Promise<Pair> {
    return (await this.#once(readings)) ?? (await this.#once(readings));
  }

  async #once(readings: Pick<Readings, 'read'>): Promise<Pair> {
    const metrics = await this.#ask(readings, 'GetMetrics');
    if (metrics.kind === 'absence') return null;
    const activity = await this.#ask(readings, 'IsActive');
    if (activity.kind === 'absence') return null;
    return { milli: BigInt(Math.round(Number(metrics.value.toFixed(3)) * 1000)), active: activity.value > 0 };
  }

  #ask(readings: Pick<Readings, 'read'>, call: string) {
    const { query, policy, target } = this.#options;
    const asker = { namespace: 'sim', name: 'web', call, target, activation: 0 };
    return readings.read({ query, policy, asker, scope: null, surface: 'keda' });
  }

  #fallbackMilli(): bigint | null {
    const { fallbackReplicas, target } = this.#options;
    if (fallbackReplicas === null || this.#failures <= FAILURE_THRESHOLD) return null;
    return BigInt(Math.round(fallbackReplicas * target * 1000));
  }

  #propose(milli: bigint): number | null {
    const target = { averageValueMilli: BigInt(this.#options.target * 1000) };
    const scale = { specReplicas: this.#replicas, statusReplicas: this.#replicas };
    const proposal = propose({ type: 'External', target, valuesMilli: [milli] }, scale);
    return proposal.kind === 'error' ? null : proposal.replicas;
  }
}
