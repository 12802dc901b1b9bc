/** HPA vectors: inputs of the controller and what it decides. Each holds for some releases; all of those that differ are tried. */
import { combine, type HpaMetric, type HpaPod, MINOR_NEWEST, propose } from '../../../../src/scaling/hpa.ts';
import { type Behavior, clampLegacy, HpaController, limitRate } from '../../../../src/scaling/hpa-controller.ts';
import { parseQuantity } from '../../../../src/scaling/quantity.ts';
import { mismatch } from './match.ts';
import { type CaseResult, expectEqual, runCase } from './result.ts';

const milli = (text: string): bigint => parseQuantity(text) / 1_000_000n;

export interface Vector {
  readonly id: string;
  readonly k8s: string;
  // biome-ignore lint/suspicious/noExplicitAny: the vectors' shapes are as many as their groups
  readonly input: any;
  // biome-ignore lint/suspicious/noExplicitAny: the same
  readonly expect: any;
}

export type HpaFile = Readonly<Record<keyof typeof GROUPS, readonly Vector[]>>;

export async function runHpaVectors(file: HpaFile): Promise<CaseResult[]> {
  const groups = Object.keys(GROUPS) as (keyof typeof GROUPS)[];
  return Promise.all(groups.flatMap((group) => file[group].map((one) => runCase(one.id, () => runVector(group, one)))));
}

function runVector(group: keyof typeof GROUPS, vector: Vector): string | null {
  for (const minor of minorsOf(vector.k8s)) {
    const fault = GROUPS[group](vector, minor);
    if (fault !== null) return `on 1.${minor}: ${fault}`;
  }
  return null;
}

const GROUPS = {
  replicas(vector: Vector, minor: number): string | null {
    const { specReplicas, statusReplicas = specReplicas, tolerance } = vector.input;
    const scale = { specReplicas, statusReplicas, minor, ...(tolerance === undefined ? {} : { tolerance }) };
    const got = propose(metricOf(vector), scale);
    const { replicas, error, status } = vector.expect;
    if (error !== undefined) return mismatch({ kind: 'error', message: error }, got);
    const fault = mismatch({ kind: 'replicas', replicas }, got);
    if (fault !== null || status === undefined || got.kind === 'error') return fault;
    return got.averageValueMilli === milli(status.averageValue) ? null : `average ${got.averageValueMilli}`;
  },
  combine({ input, expect }: Vector, minor: number): string | null {
    const proposals = input.proposals.map((one: number | 'error') => (one === 'error' ? null : one));
    return expectEqual(combine(proposals, input.specReplicas, minor), expect.hold ? null : expect.replicas);
  },
  legacyClamp({ input, expect }: Vector): string | null {
    const { currentReplicas, desiredReplicas, minReplicas, maxReplicas } = input;
    return mismatch(expect, clampLegacy(currentReplicas, desiredReplicas, minReplicas, maxReplicas));
  },
  behaviorRate({ input, expect }: Vector, minor: number): string | null {
    const { currentReplicas, desiredReplicas, minReplicas, maxReplicas, upEvents = [], downEvents = [] } = input;
    const events = { ups: upEvents, downs: downEvents };
    const behavior = input.behavior as Behavior;
    return mismatch(
      expect,
      limitRate(currentReplicas, desiredReplicas, minReplicas, maxReplicas, behavior, events, minor),
    );
  },
  timeline({ input, expect }: Vector, minor: number): string | null {
    const { minReplicas, maxReplicas, behavior, downscaleStabilizationSeconds: seconds } = input;
    const downscaleStabilizationMs = (seconds ?? 300) * 1000;
    const hpa = new HpaController({ minReplicas, maxReplicas, behavior, minor, downscaleStabilizationMs });
    let replicas: number = input.initialReplicas;
    for (const [i, step] of input.steps.entries()) {
      const done = hpa.reconcile(step.t * 1000, step.setReplicas ?? replicas, () => step.proposal);
      replicas = done.replicas;
      const { t: at, ableToScale, ...want } = expect[i];
      const fault = mismatch(ableToScale === undefined ? want : { ...want, able: ableToScale }, done);
      if (fault !== null) return `at ${at} s: ${fault}`;
    }
    return null;
  },
  gate({ input, expect }: Vector, minor: number): string | null {
    const { specReplicas, minReplicas, maxReplicas, proposal, metricTypes, scaledToZero, behavior = null } = input;
    const hpa = new HpaController({ minReplicas, maxReplicas, behavior, metricTypes, minor });
    const done = hpa.reconcile(400_000, specReplicas, () => proposal ?? null, { scaledToZero });
    const isDisabled = expect.condition?.reason === 'ScalingDisabled';
    const replicas = expect.replicas === undefined ? {} : { replicas: expect.replicas };
    return mismatch({ computesMetrics: expect.metricsComputed, isDisabled, ...replicas }, done);
  },
};

/** Minors for which a vector holds, of those that differ in something. */
function minorsOf(k8s: string): number[] {
  const all = [20, 21, 25, 26, 32, 33, 34, 35, 36, MINOR_NEWEST];
  const number = (text: string): number => Number(text.trim().split('.')[1]);
  if (k8s === '*') return [20, MINOR_NEWEST];
  if (k8s.startsWith('>=')) return all.filter((minor) => minor >= number(k8s.slice(2)));
  if (k8s.startsWith('<')) return all.filter((minor) => minor < number(k8s.slice(1)));
  const [from, to = from] = k8s.split('-') as [string, string?];
  return all.filter((minor) => minor >= number(from) && minor <= number(to!));
}

function podOf(pod: Readonly<Record<string, unknown>>): HpaPod {
  const seconds = (key: string): number | null => (typeof pod[key] === 'number' ? (pod[key] as number) * 1000 : null);
  return {
    name: pod.name as string,
    phase: (pod.phase ?? 'Running') as HpaPod['phase'],
    isReady: (pod.ready ?? true) as boolean,
    isDeleting: (pod.deleting ?? false) as boolean,
    valueMilli: typeof pod.value === 'string' ? milli(pod.value) : null,
    requestMilli: typeof pod.request === 'string' ? milli(pod.request) : null,
    startedAgoMs: seconds('startedAgo'),
    transitionAgoMs: seconds('transitionAgo'),
    sampleAgoMs: seconds('metricAgo') ?? 0,
    sampleWindowMs: seconds('window') ?? 0,
  };
}

function metricOf({ input }: Vector): HpaMetric {
  const { value, averageValue, averageUtilization } = input.target;
  return {
    type: input.type,
    ...(input.name === undefined ? {} : { name: input.name }),
    target: {
      ...(value === undefined ? {} : { valueMilli: milli(value) }),
      ...(averageValue === undefined ? {} : { averageValueMilli: milli(averageValue) }),
      ...(averageUtilization === undefined ? {} : { averageUtilization }),
    },
    valuesMilli: (input.values ?? []).map(milli),
    foreignMilli: Object.values((input.extraMetrics ?? {}) as Record<string, string>).map(milli),
    pods: (input.pods ?? []).map(podOf),
  };
}
