/** What KEDA and an HPA will make of a Reading, in numbers and in words. */
import { ERRORS } from '../model/errors.ts';
import { absenceText, activityOf, type Reading } from './answer.ts';
import { combine, propose } from './hpa.ts';
import { clampLegacy } from './hpa-controller.ts';
import { formatQuantity } from './quantity.ts';

export interface Workload {
  /** Replicas now, or null if nobody said. */
  readonly replicas: number | null;
  readonly minReplicas: number | null;
  readonly maxReplicas: number | null;
  /** What the autoscaler compares the value with, or null if nobody said. */
  readonly target: number | null;
  readonly targetType: 'AverageValue' | 'Value';
  readonly activation: number | null;
}

export interface Forecast {
  /** What KEDA publishes, or null for an error. */
  readonly keda: { readonly value: string | null; readonly active: boolean | null; readonly says: string };
  /** Replicas that the HPA would set at its next reconciliation, without earlier recommendations; null for none. */
  readonly hpa: { readonly replicas: number | null; readonly says: string };
}

export function forecast(reading: Reading, workload: Workload): Forecast {
  return { keda: forKeda(reading, workload), hpa: forHpa(reading, workload) };
}

function forKeda(reading: Reading, { activation }: Workload): Forecast['keda'] {
  if (reading.kind === 'absence') {
    const active = activityOf(reading, activation ?? 0);
    const early =
      active === true ? `; a trigger of type external-push is active, since it is ${reading.soFar} so far` : '';
    const says =
      `gets gRPC status ${ERRORS[reading.code].grpc}, "${absenceText(reading)}": it asks once more at once, then holds the replicas; ` +
      `a fallback of the ScaledObject takes over after its failureThreshold${early}`;
    return { value: null, active, says };
  }
  const value = kedaText(reading.value);
  const threshold = activation ?? 0;
  const active = reading.value > threshold;
  const says = active
    ? `is active, since ${reading.value} is above the activation of ${threshold}, and publishes ${value}`
    : `is not active, since ${reading.value} is not above the activation of ${threshold}: after the cooldown it scales to zero, or to idle`;
  return { value, active, says };
}

/** KEDA writes three decimals. */
function kedaText(value: number): string {
  return formatQuantity(Math.round(value * 1000) / 1000);
}

function forHpa(reading: Reading, workload: Workload): Forecast['hpa'] {
  if (reading.kind === 'absence') {
    return {
      replicas: workload.replicas,
      says: 'gets an error: with no other metric it holds the replicas; with others it may scale up by them, not down',
    };
  }
  const { target, targetType, replicas } = workload;
  if (target === null) return { replicas: null, says: 'needs a target to be worked out: give targetValue' };
  const milli = BigInt(Math.round(target * 1000));
  if (milli <= 0n) return { replicas: null, says: `cannot use a target of ${target}: want at least 0.001` };
  if (targetType === 'Value' && replicas === null) {
    return { replicas: null, says: 'needs the replicas to be worked out for a target of type Value: give replicas' };
  }
  return withTarget(reading.value, milli, workload);
}

function withTarget(value: number, target: bigint, workload: Workload): Forecast['hpa'] {
  const { targetType, replicas, minReplicas, maxReplicas } = workload;
  const current = replicas ?? 0;
  const metric = {
    type: 'External' as const,
    target: targetType === 'Value' ? { valueMilli: target } : { averageValueMilli: target },
    valuesMilli: [BigInt(Math.min(Math.round(value * 1000), Number.MAX_SAFE_INTEGER))],
    pods: Array.from({ length: current }, (_, i) => runningPod(i)),
  };
  const proposal = propose(metric, { specReplicas: current, statusReplicas: current });
  const wanted = proposal.kind === 'error' ? null : combine([proposal.replicas], current);
  if (wanted === null) return { replicas, says: 'holds the replicas' };
  const sum = sumText(value, Number(target) / 1000, workload, wanted);
  if (replicas === null) return { replicas: wanted, says: sum };
  const { replicas: set, reason } = clampLegacy(current, wanted, minReplicas ?? 1, maxReplicas ?? Infinity);
  const limit = reason === 'DesiredWithinRange' ? '' : `, limited to ${set} (${reason})`;
  const wait = set < current ? ', once it has been so for the stabilisation window (5 min by default)' : '';
  return { replicas: set, says: `${sum}${limit}${wait}` };
}

function sumText(value: number, target: number, { targetType, replicas }: Workload, wanted: number): string {
  const ratio = targetType === 'Value' ? value / target : value / (target * (replicas ?? 0));
  if (replicas !== null && replicas > 0 && wanted === replicas && Math.abs(1 - ratio) <= 0.1) {
    return `stays at ${wanted}: the ratio ${ratio.toFixed(3)} to the target is within the tolerance of 10 %`;
  }
  if (targetType === 'Value') return `wants ceil(${value} / ${target} × ${replicas}) = ${wanted}`;
  return `wants ceil(${value} / ${target}) = ${wanted}`;
}

function runningPod(i: number) {
  return {
    name: `pod-${i}`,
    phase: 'Running' as const,
    isReady: true,
    isDeleting: false,
    valueMilli: null,
    requestMilli: null,
    startedAgoMs: null,
    transitionAgoMs: null,
    sampleAgoMs: 0,
    sampleWindowMs: 0,
  };
}
