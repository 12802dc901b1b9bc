/**
 * The arithmetic of Kubernetes' HorizontalPodAutoscaler: from values to desired replicas, for External, Object, Pods and
 * Resource metrics; then tolerance, stabilisation and rate limits. Values are thousandths (`bigint`, as int64), ratios are
 * float64, and both round where the controller rounds. What differs between releases hangs on the minor of 1.x.
 * Source: kubernetes/kubernetes, pkg/controller/podautoscaler (horizontal.go, replica_calculator.go, metrics/utilization.go).
 */

export interface Tolerance {
  readonly up: number;
  readonly down: number;
}

/** What a metric is compared with; `averageValueMilli` wins over `valueMilli`. */
export interface HpaTarget {
  readonly valueMilli?: bigint;
  readonly averageValueMilli?: bigint;
  readonly averageUtilization?: number;
}

export interface HpaPod {
  readonly name: string;
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  readonly isReady: boolean;
  readonly isDeleting: boolean;
  /** Null if the metric has no value for this pod. */
  readonly valueMilli: bigint | null;
  readonly requestMilli: bigint | null;
  /** Ages; null if the pod has no start time, or no Ready condition. */
  readonly startedAgoMs: number | null;
  readonly transitionAgoMs: number | null;
  /** Of the sample: its age and the window that it is measured over. */
  readonly sampleAgoMs: number;
  readonly sampleWindowMs: number;
}

export interface HpaMetric {
  readonly type: 'External' | 'Object' | 'Pods' | 'Resource';
  /** Of a Resource: `cpu` has rules of its own. */
  readonly name?: string;
  readonly target: HpaTarget;
  /** Items that the metrics API returned, for External and Object. */
  readonly valuesMilli?: readonly bigint[];
  /** Values of pods that the selector does not match. */
  readonly foreignMilli?: readonly bigint[];
  readonly pods?: readonly HpaPod[];
}

export interface HpaScale {
  readonly specReplicas: number;
  readonly statusReplicas: number;
  readonly tolerance?: Tolerance;
  /** Minor of Kubernetes 1.x. */
  readonly minor?: number;
}

export type Proposal =
  | { readonly kind: 'replicas'; readonly replicas: number; readonly averageValueMilli: bigint | null }
  | { readonly kind: 'error'; readonly message: string };

export const TOLERANCE_DEFAULT: Tolerance = Object.freeze({ up: 0.1, down: 0.1 });
export const MINOR_NEWEST = 37;

const INT32_MAX = 2_147_483_647;
const INT64_MAX = 2n ** 63n - 1n;
const CPU_INITIALIZATION_MS = 300_000;
const READINESS_DELAY_MS = 30_000;

/** What one metric asks for, before any clamp. */
export function propose(metric: HpaMetric, scale: HpaScale): Proposal {
  const minor = scale.minor ?? MINOR_NEWEST;
  if (metric.type === 'External' || metric.type === 'Object') return proposeByItems(metric, scale, minor);
  return proposeByPods(metric, scale, minor);
}

/** The ratio is so near to 1 that nothing is done. */
export function isInside(ratio: number, { up, down }: Tolerance, minor = MINOR_NEWEST): boolean {
  if (minor < 33) return Math.abs(1 - ratio) <= up;
  return 1 - down <= ratio && ratio <= 1 + up;
}

function proposeByItems(metric: HpaMetric, scale: HpaScale, minor: number): Proposal {
  const values = metric.valuesMilli ?? [];
  const isExternal = metric.type === 'External';
  if (isExternal && values.length === 0) return failed('no metrics returned from external metrics API');
  if (!isExternal && values.length !== 1) {
    return failed(`the custom metrics API server returned ${values.length} results when we asked for exactly one`);
  }
  const { averageValueMilli, valueMilli } = metric.target;
  if (averageValueMilli !== undefined) {
    const usage = isExternal && minor >= 34 ? runningSum(values) : sum64(values, false);
    return proposeAverage(usage, averageValueMilli, scale, minor, isExternal ? 34 : 38);
  }
  return proposeValue(sum64(values, minor >= 35), valueMilli ?? 0n, metric.pods ?? [], scale, minor);
}

function proposeValue(
  usage: bigint,
  target: bigint,
  pods: readonly HpaPod[],
  { specReplicas, tolerance = TOLERANCE_DEFAULT }: HpaScale,
  minor: number,
): Proposal {
  const ratio = Number(usage) / Number(target);
  if (specReplicas === 0) return replicas(ceil32(ratio, minor >= 35));
  if (isInside(ratio, tolerance, minor)) return replicas(specReplicas);
  if (pods.length === 0) {
    return failed('unable to calculate ready pods: no pods returned by selector while calculating replica count');
  }
  const ready = pods.filter(({ phase, isReady }) => phase === 'Running' && isReady).length;
  return replicas(ceil32(ratio * ready, minor >= 35));
}

function proposeAverage(
  usage: bigint,
  average: bigint,
  { statusReplicas, tolerance = TOLERANCE_DEFAULT }: HpaScale,
  minor: number,
  saturatesFrom: number,
): Proposal {
  const ratio = Number(usage) / (Number(average) * statusReplicas);
  // status.replicas, not spec.replicas, even during a surge (kubernetes#138505).
  const wanted = isInside(ratio, tolerance, minor)
    ? statusReplicas
    : ceil32(Number(usage) / Number(average), minor >= saturatesFrom);
  const shown = statusReplicas === 0 ? null : BigInt(Math.ceil(Number(usage) / statusReplicas));
  return { kind: 'replicas', replicas: wanted, averageValueMilli: shown };
}

interface Groups {
  ready: number;
  readonly unready: HpaPod[];
  readonly missing: HpaPod[];
  /** Values that count, by pod. */
  readonly counted: HpaPod[];
}

function proposeByPods(metric: HpaMetric, scale: HpaScale, minor: number): Proposal {
  const pods = metric.pods ?? [];
  const foreign = metric.foreignMilli ?? [];
  const isResource = metric.type === 'Resource';
  if (foreign.length === 0 && pods.every(({ valueMilli }) => valueMilli === null)) {
    return failed(`no metrics returned from ${isResource ? 'resource' : 'custom'} metrics API`);
  }
  if (pods.length === 0) return failed('no pods returned by selector while calculating replica count');
  const groups = groupPods(pods, isResource && metric.name === 'cpu');
  if (groups.counted.length + foreign.length === 0) {
    return failed('did not receive metrics for targeted pods (pods might be unready)');
  }
  return balance(metric, groups, scale, minor);
}

function groupPods(pods: readonly HpaPod[], isCpu: boolean): Groups {
  const groups: Groups = { ready: 0, unready: [], missing: [], counted: [] };
  for (const pod of pods) {
    if (pod.isDeleting || pod.phase === 'Failed' || pod.phase === 'Succeeded') continue;
    if (pod.phase === 'Pending') groups.unready.push(pod);
    else if (pod.valueMilli === null) groups.missing.push(pod);
    else if (isCpu && isUnreadyForCpu(pod)) groups.unready.push(pod);
    else {
      groups.ready++;
      groups.counted.push(pod);
    }
  }
  return groups;
}

function isUnreadyForCpu({ isReady, startedAgoMs, transitionAgoMs, sampleAgoMs, sampleWindowMs }: HpaPod): boolean {
  if (startedAgoMs === null || transitionAgoMs === null) return true;
  if (startedAgoMs < CPU_INITIALIZATION_MS) return !isReady || sampleAgoMs > transitionAgoMs - sampleWindowMs;
  return !isReady && startedAgoMs - transitionAgoMs < READINESS_DELAY_MS;
}

function balance(metric: HpaMetric, groups: Groups, scale: HpaScale, minor: number): Proposal {
  const { specReplicas, tolerance = TOLERANCE_DEFAULT } = scale;
  const foreign = metric.foreignMilli ?? [];
  const values = groups.counted.map((pod) => ({ value: pod.valueMilli!, request: pod.requestMilli ?? 0n }));
  for (const value of foreign) values.push({ value, request: 0n });
  const first = ratioOf(metric, values);
  const isUp = groups.unready.length > 0 && first > 1;
  if (!isUp && groups.missing.length === 0) {
    return replicas(isInside(first, tolerance, minor) ? specReplicas : ceil32(first * groups.ready, true));
  }
  for (const pod of groups.missing) {
    const request = pod.requestMilli ?? 0n;
    if (first < 1) values.push({ value: assumed(metric, request, minor), request });
    else if (first > 1 || minor <= 20) values.push({ value: 0n, request });
  }
  if (isUp) for (const pod of groups.unready) values.push({ value: 0n, request: pod.requestMilli ?? 0n });
  const second = ratioOf(metric, values);
  const turned = (first < 1 && second > 1) || (first > 1 && second < 1);
  if (isInside(second, tolerance, minor) || turned) return replicas(specReplicas);
  const wanted = ceil32(second * values.length, true);
  const wrongWay = (second < 1 && wanted > specReplicas) || (second > 1 && wanted < specReplicas);
  return replicas(wrongWay && minor > 20 ? specReplicas : wanted);
}

/** What a missing pod is taken to use when that keeps replicas up. */
function assumed({ type, target }: HpaMetric, request: bigint, minor: number): bigint {
  if (type === 'Pods' || target.averageUtilization === undefined) return target.averageValueMilli ?? 0n;
  const percent = minor >= 26 ? Math.max(100, target.averageUtilization) : 100;
  return (request * BigInt(percent)) / 100n;
}

function ratioOf(
  { target }: HpaMetric,
  values: readonly { readonly value: bigint; readonly request: bigint }[],
): number {
  const sum = values.reduce((total, { value }) => total + value, 0n);
  if (target.averageUtilization === undefined) {
    return Number(sum / BigInt(values.length)) / Number(target.averageValueMilli ?? 0n);
  }
  const requests = values.reduce((total, { request }) => total + request, 0n);
  return Number((100n * sum) / requests) / target.averageUtilization;
}

function sum64(values: readonly bigint[], saturates: boolean): bigint {
  const sum = values.reduce((total, value) => total + value, 0n);
  if (saturates && sum > INT64_MAX) return INT64_MAX;
  return BigInt.asIntN(64, sum);
}

/** A running sum below 0 is taken for an overflow (kubernetes#127050). */
function runningSum(values: readonly bigint[]): bigint {
  let sum = 0n;
  for (const value of values) {
    sum = BigInt.asIntN(64, sum + value);
    if (sum < 0n) return INT64_MAX;
  }
  return sum;
}

/** What Go's conversion of a float64 to int32 gives on amd64, or the largest if the release saturates. */
function ceil32(value: number, saturates: boolean): number {
  const ceiled = Math.ceil(value);
  if (ceiled <= INT32_MAX && ceiled >= -INT32_MAX - 1) return ceiled + 0;
  return saturates && ceiled > 0 ? INT32_MAX : -INT32_MAX - 1;
}

function replicas(count: number): Proposal {
  return { kind: 'replicas', replicas: count, averageValueMilli: null };
}

function failed(message: string): Proposal {
  return { kind: 'error', message };
}

/** The largest proposal, or null to hold: all failed, or some failed and the rest would scale down. */
export function combine(
  proposals: readonly (number | null)[],
  specReplicas: number,
  minor = MINOR_NEWEST,
): number | null {
  const valid = proposals.filter((proposal) => proposal !== null);
  if (valid.length === 0) return null;
  const best = Math.max(...valid);
  return valid.length < proposals.length && best < specReplicas && minor > 20 ? null : best;
}
