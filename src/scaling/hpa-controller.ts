/**
 * The state that a HorizontalPodAutoscaler keeps between two reconciliations, and what it does with a proposal: gates at
 * zero and at the bounds, stabilisation windows, rate limits. The clock is the caller's.
 * Source: kubernetes/kubernetes, pkg/controller/podautoscaler/horizontal.go.
 */
import { MINOR_NEWEST } from './hpa.ts';

export interface ScalingPolicy {
  readonly type: 'Pods' | 'Percent';
  readonly value: number;
  readonly periodSeconds: number;
}

export interface ScalingRules {
  readonly stabilizationWindowSeconds?: number;
  readonly selectPolicy?: 'Max' | 'Min' | 'Disabled';
  readonly policies?: readonly ScalingPolicy[];
}

/** `spec.behavior`: only the fields that differ from the defaults. */
export interface Behavior {
  readonly scaleUp?: ScalingRules;
  readonly scaleDown?: ScalingRules;
}

export interface HpaSpec {
  /** Null means 1. */
  readonly minReplicas: number | null;
  readonly maxReplicas: number;
  /** Null for an object without `spec.behavior`: the older rules. */
  readonly behavior: Behavior | null;
  readonly metricTypes?: readonly string[];
  readonly downscaleStabilizationMs?: number;
  /** Minor of Kubernetes 1.x. */
  readonly minor?: number;
}

export type LimitReason =
  | 'DesiredWithinRange'
  | 'ScaleUpLimit'
  | 'ScaleDownLimit'
  | 'TooManyReplicas'
  | 'TooFewReplicas';
export type AbleReason = 'ReadyForNewScale' | 'ScaleUpStabilized' | 'ScaleDownStabilized';

export interface Limited {
  readonly replicas: number;
  readonly reason: LimitReason;
}

export interface Reconciled {
  readonly replicas: number;
  readonly computesMetrics: boolean;
  /** Set only if metrics were computed and gave a proposal. */
  readonly able: AbleReason | null;
  readonly limited: LimitReason | 'above max' | 'below min' | null;
  /** True at zero replicas that the HPA itself does not leave. */
  readonly isDisabled: boolean;
}

export interface ScaleEvent {
  readonly timeMs: number;
  /** Positive number of replicas. */
  readonly replicas: number;
}

interface Recommendation {
  readonly timeMs: number;
  readonly replicas: number;
}

const DOWNSCALE_STABILIZATION_MS = 300_000;
const UP_DEFAULT: Required<ScalingRules> = {
  stabilizationWindowSeconds: 0,
  selectPolicy: 'Max',
  policies: [
    { type: 'Pods', value: 4, periodSeconds: 15 },
    { type: 'Percent', value: 100, periodSeconds: 15 },
  ],
};
const DOWN_DEFAULT: Required<ScalingRules> = {
  stabilizationWindowSeconds: 300,
  selectPolicy: 'Max',
  policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
};

export class HpaController {
  readonly #spec: HpaSpec;
  #recommendations: Recommendation[] = [];
  #ups: ScaleEvent[] = [];
  #downs: ScaleEvent[] = [];

  constructor(spec: HpaSpec) {
    this.#spec = spec;
  }

  /**
   * One reconciliation. `propose` is asked only if metrics are looked at; null from it holds the replicas. The scale is
   * taken to be what is returned.
   */
  reconcile(
    nowMs: number,
    specReplicas: number,
    propose: () => number | null,
    { scaledToZero = false }: { readonly scaledToZero?: boolean } = {},
  ): Reconciled {
    const { maxReplicas } = this.#spec;
    const minReplicas = this.#spec.minReplicas ?? 1;
    if (this.#recommendations.length === 0) this.#recommendations.push({ timeMs: nowMs, replicas: specReplicas });
    const skipped = { computesMetrics: false, able: null, isDisabled: false } as const;
    if (specReplicas === 0 && !this.#leavesZero(minReplicas, scaledToZero)) {
      return { ...skipped, replicas: 0, limited: null, isDisabled: true };
    }
    if (specReplicas > maxReplicas)
      return this.#moved(nowMs, specReplicas, { ...skipped, replicas: maxReplicas, limited: 'above max' });
    if (specReplicas > 0 && specReplicas < minReplicas) {
      return this.#moved(nowMs, specReplicas, { ...skipped, replicas: minReplicas, limited: 'below min' });
    }
    const proposal = propose();
    if (proposal === null) return { ...skipped, replicas: specReplicas, computesMetrics: true, limited: null };
    return this.#moved(nowMs, specReplicas, this.#decide(nowMs, specReplicas, Math.max(0, proposal)));
  }

  #leavesZero(minReplicas: number, scaledToZero: boolean): boolean {
    if ((this.#spec.minor ?? MINOR_NEWEST) < 37) return minReplicas === 0;
    const types = this.#spec.metricTypes ?? ['External'];
    return scaledToZero && (minReplicas !== 0 || types.some((type) => type === 'External' || type === 'Object'));
  }

  #decide(nowMs: number, current: number, raw: number): Reconciled {
    const { behavior, maxReplicas } = this.#spec;
    const minReplicas = this.#spec.minReplicas ?? 1;
    const stable =
      behavior === null ? this.#stabilizeLegacy(nowMs, raw) : this.#stabilize(nowMs, current, raw, behavior);
    const limited =
      behavior === null
        ? clampLegacy(current, stable, minReplicas, maxReplicas)
        : limitRate(current, stable, minReplicas, maxReplicas, behavior, this.#eventsAt(nowMs), this.#spec.minor);
    const isUp = behavior !== null && raw >= current;
    const able = stable === raw ? 'ReadyForNewScale' : isUp ? 'ScaleUpStabilized' : 'ScaleDownStabilized';
    const replicas = current === 0 ? Math.max(limited.replicas, minReplicas) : limited.replicas;
    return { replicas, computesMetrics: true, able, limited: limited.reason, isDisabled: false };
  }

  /** The largest of the last minutes; one that is exactly as old as the window still counts. */
  #stabilizeLegacy(nowMs: number, raw: number): number {
    const windowMs = this.#spec.downscaleStabilizationMs ?? DOWNSCALE_STABILIZATION_MS;
    this.#recommendations = this.#recommendations.filter(({ timeMs }) => timeMs >= nowMs - windowMs);
    const stable = this.#recommendations.reduce((most, { replicas }) => Math.max(most, replicas), raw);
    this.#recommendations.push({ timeMs: nowMs, replicas: raw });
    return stable;
  }

  #stabilize(nowMs: number, current: number, raw: number, behavior: Behavior): number {
    const upMs = rulesOf(behavior, 'scaleUp').stabilizationWindowSeconds * 1000;
    const downMs = rulesOf(behavior, 'scaleDown').stabilizationWindowSeconds * 1000;
    const within = (windowMs: number) =>
      this.#recommendations.filter(({ timeMs }) => timeMs > nowMs - windowMs).map(({ replicas }) => replicas);
    const least = Math.min(raw, ...within(upMs));
    const most = Math.max(raw, ...within(downMs));
    this.#recommendations = this.#recommendations.filter(({ timeMs }) => timeMs > nowMs - Math.max(upMs, downMs));
    this.#recommendations.push({ timeMs: nowMs, replicas: raw });
    if ((this.#spec.minor ?? MINOR_NEWEST) <= 20) return raw >= current ? least : most;
    let stable = current;
    if (stable < least) stable = least;
    if (stable > most) stable = most;
    return stable;
  }

  #eventsAt(nowMs: number): Events {
    const aged = (events: readonly ScaleEvent[]) =>
      events.map(({ timeMs, replicas }) => ({ ageSeconds: (nowMs - timeMs) / 1000, replicas }));
    return { ups: aged(this.#ups), downs: aged(this.#downs) };
  }

  #moved(nowMs: number, before: number, done: Reconciled): Reconciled {
    if (this.#spec.behavior !== null && done.replicas !== before) {
      const event = { timeMs: nowMs, replicas: Math.abs(done.replicas - before) };
      if (done.replicas > before) this.#ups = recent(this.#ups, nowMs).concat(event);
      else this.#downs = recent(this.#downs, nowMs).concat(event);
    }
    return done;
  }
}

/** No period is longer than half an hour. */
function recent(events: readonly ScaleEvent[], nowMs: number): ScaleEvent[] {
  return events.filter(({ timeMs }) => timeMs > nowMs - 1_800_000);
}

/** Objects without `spec.behavior`: at most twice the replicas, or 4. */
export function clampLegacy(current: number, desired: number, minReplicas: number, maxReplicas: number): Limited {
  const limit = Math.max(2 * current, 4);
  const top = Math.min(maxReplicas, limit);
  if (desired < minReplicas) return { replicas: minReplicas, reason: 'TooFewReplicas' };
  if (desired <= top) return { replicas: desired, reason: 'DesiredWithinRange' };
  return { replicas: top, reason: maxReplicas > limit ? 'ScaleUpLimit' : 'TooManyReplicas' };
}

export interface Events {
  readonly ups: readonly { readonly ageSeconds: number; readonly replicas: number }[];
  readonly downs: readonly { readonly ageSeconds: number; readonly replicas: number }[];
}

/** The rate limits of `spec.behavior`. */
export function limitRate(
  current: number,
  desired: number,
  minReplicas: number,
  maxReplicas: number,
  behavior: Behavior,
  events: Events,
  minor = MINOR_NEWEST,
): Limited {
  if (desired > current) {
    const limit = Math.max(current, upLimit(current, rulesOf(behavior, 'scaleUp'), events, minor));
    const top = Math.min(maxReplicas, limit);
    if (desired <= top) return { replicas: desired, reason: 'DesiredWithinRange' };
    return { replicas: top, reason: maxReplicas > limit ? 'ScaleUpLimit' : 'TooManyReplicas' };
  }
  if (desired < current) {
    const limit = Math.min(current, downLimit(current, rulesOf(behavior, 'scaleDown'), events, minor));
    const bottom = Math.max(minReplicas, limit);
    if (desired >= bottom) return { replicas: desired, reason: 'DesiredWithinRange' };
    return { replicas: bottom, reason: minReplicas < limit ? 'ScaleDownLimit' : 'TooFewReplicas' };
  }
  return { replicas: desired, reason: 'DesiredWithinRange' };
}

function rulesOf(behavior: Behavior, direction: 'scaleUp' | 'scaleDown'): Required<ScalingRules> {
  return { ...(direction === 'scaleUp' ? UP_DEFAULT : DOWN_DEFAULT), ...behavior[direction] };
}

function upLimit(current: number, rules: Required<ScalingRules>, { ups, downs }: Events, minor: number): number {
  if (rules.selectPolicy === 'Disabled') return current;
  const limits = rules.policies.map(({ type, value, periodSeconds }) => {
    const removed = minor > 20 ? within(downs, periodSeconds) : 0;
    const start = current - within(ups, periodSeconds) + removed;
    // In float64 as the controller has it: 100 pods and 10 % are 111.
    return type === 'Pods' ? start + value : Math.ceil(start * (1 + value / 100));
  });
  return rules.selectPolicy === 'Min' ? Math.min(...limits) : Math.max(...limits);
}

function downLimit(current: number, rules: Required<ScalingRules>, { ups, downs }: Events, minor: number): number {
  if (rules.selectPolicy === 'Disabled') return current;
  const limits = rules.policies.map(({ type, value, periodSeconds }) => {
    const added = minor > 20 ? within(ups, periodSeconds) : 0;
    const start = current - added + within(downs, periodSeconds);
    return type === 'Pods' ? start - value : Math.trunc(start * (1 - value / 100));
  });
  return rules.selectPolicy === 'Min' ? Math.max(...limits) : Math.min(...limits);
}

/** Events strictly younger than the period count. */
function within(events: Events['ups'], periodSeconds: number): number {
  return events.reduce((sum, { ageSeconds, replicas }) => (ageSeconds < periodSeconds ? sum + replicas : sum), 0);
}
