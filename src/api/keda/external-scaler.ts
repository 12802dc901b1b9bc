/**
 * KEDA's external scaler: what each call answers, from bytes to bytes. server.ts puts it on the wire.
 *
 * - GetMetricSpec is a pure function of the metadata and answers without data: if it fails, KEDA fails all triggers of
 *   the ScaledObject, and it builds the HPA from it when the ScaledObject is created.
 * - GetMetrics and IsActive answer with a value or with an error. An error makes KEDA hold the replicas or use its
 *   `fallback`; NaN, infinity, a negative number or no number at all it would take for 0.
 */
import type { Logger } from 'pino';
import { type CodedError, ERRORS, type ErrorCode } from '../../model/errors.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import { absenceText, type Readings, type ReadingValue } from '../../scaling/reading.ts';
import {
  decodeMetricsRequest,
  decodeScaledObjectRef,
  encodeIsActive,
  encodeNamedNumber,
  type ScaledObjectRef,
} from './messages.ts';
import { metricNameOf, parseTarget, parseTrigger, type Trigger, targetOrNull } from './trigger.ts';

/** An error as gRPC tells it. */
export interface CallFault {
  /** gRPC status code. */
  readonly code: number;
  readonly details: string;
}

export interface ScalerDependencies {
  readonly readings: Pick<Readings, 'read'>;
  readonly logger: Logger;
}

/** One call: the request's bytes to the reply's. Throws a `CodedError` or a {@link CallFault}. */
export type ScalerCall = (request: Uint8Array, dependencies: ScalerDependencies) => Promise<Buffer>;

export const SCALER_CALLS: Readonly<Record<'GetMetricSpec' | 'GetMetrics' | 'IsActive', ScalerCall>> = {
  GetMetricSpec: async (request) => {
    const ref = decodeScaledObjectRef(request);
    return encodeNamedNumber({ name: metricNameOf(ref), value: parseTarget(ref.metadata) });
  },
  GetMetrics: async (request, dependencies) => {
    const { ref, metricName } = decodeMetricsRequest(request);
    const { value } = await readTrigger('GetMetrics', ref, parseTrigger(ref.metadata), dependencies);
    return encodeNamedNumber({ name: metricName, value });
  },
  IsActive: async (request, dependencies) => {
    const ref = decodeScaledObjectRef(request);
    const trigger = parseTrigger(ref.metadata);
    const { value } = await readTrigger('IsActive', ref, trigger, dependencies);
    return encodeIsActive(value > trigger.activationTargetValue);
  },
};

/** The gRPC status of one of our own errors. */
export function faultOf(error: CodedError): CallFault {
  return { code: error.grpcStatus, details: `${error.message} [${error.code}]` };
}

/**
 * KEDA makes both calls of a poll within milliseconds, and they must not disagree because a sample came between them: two
 * calls of one asker share an evaluation, once each, so that the next poll and KEDA's immediate retry see what is new.
 */
async function readTrigger(
  call: 'GetMetrics' | 'IsActive',
  ref: ScaledObjectRef,
  trigger: Trigger,
  { readings, logger }: ScalerDependencies,
): Promise<ReadingValue> {
  const { query, policy, activationTargetValue: activation } = trigger;
  const asker = { namespace: ref.namespace, name: ref.name, call, target: targetOrNull(ref.metadata), activation };
  // Whoever calls over plain text proves no namespace, so the trigger sees everything.
  const reading = await readings.read({ query, policy, asker, scope: SCOPE_ALL, surface: 'keda' });
  if (reading.kind === 'value') return reading;
  const scaledObject = `${ref.namespace}/${ref.name}`;
  logger.debug({ scaledObject, call, code: reading.code, reason: reading.reason }, 'no value for a trigger');
  const fault: CallFault = { code: grpcCodeOf(reading.code), details: absenceText(reading) };
  throw fault;
}

function grpcCodeOf(code: ErrorCode): number {
  return ERRORS[code].grpc;
}
