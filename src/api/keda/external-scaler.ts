/**
 * KEDA's external scaler: what each call answers, from bytes to bytes. server.ts puts it on the wire.
 *
 * - GetMetricSpec is a pure function of the metadata and answers without data: if it fails, KEDA fails all triggers of
 *   the ScaledObject, and it builds the HPA from it when the ScaledObject is created.
 * - GetMetrics and IsActive answer with a value or with an error. An error makes KEDA hold the replicas or use its
 *   `fallback`; NaN, infinity, a negative number or no number at all it would take for 0.
 */
import type { Logger } from 'pino';
import { CodedError, ERRORS, type ErrorCode } from '../../model/errors.ts';
import { SCOPE_ALL, type Scope } from '../../model/scope.ts';
import type { KedifyReadings } from '../../scaling/kedify/kedify-readings.ts';
import { absenceText, type Reading, type Readings, type ReadingValue } from '../../scaling/reading.ts';
import type { GrpcFault } from '../grpc/server.ts';
import {
  decodeMetricsRequest,
  decodeScaledObjectRef,
  encodeIsActive,
  encodeNamedNumber,
  type ScaledObjectRef,
} from './messages.ts';
import { RequestCache } from './request-cache.ts';
import { metricNameOf, parseTarget, parseTrigger, type Trigger, targetOrNull } from './trigger.ts';

/** `namespace` lets a trigger see the series of its own namespace only. */
export type Tenancy = 'off' | 'namespace';

export interface ScalerDependencies {
  readonly readings: Pick<Readings, 'read'>;
  /** Answers triggers with `metricQuery`; left out, those are refused. */
  readonly kedify?: Pick<KedifyReadings, 'read'> | null;
  /** By default `off`. */
  readonly tenancy?: Tenancy;
  /** The namespace of whoever asks, by its name: then nothing else may be asked about. '' or absent for none. */
  readonly namespace?: string;
  readonly logger: Logger;
}

/** One call: the request's bytes to the reply's. Throws a `CodedError` or a {@link GrpcFault}. */
export type ScalerCall = (request: Uint8Array, dependencies: ScalerDependencies) => Promise<Buffer>;

export const SCALER_CALLS: Readonly<Record<'GetMetricSpec' | 'GetMetrics' | 'IsActive', ScalerCall>> = {
  GetMetricSpec: async (request) => encodeSpec(decodeScaledObjectRef(request)),
  GetMetrics: async (request, dependencies) => {
    const { ref, trigger, metricName } = METRICS_REQUESTS.get(request);
    const { value } = await readValue('GetMetrics', ref, trigger, dependencies);
    return encodeNamedNumber({ name: metricName, value });
  },
  IsActive: async (request, dependencies) => {
    const { ref, trigger } = REFS.get(request);
    const { value } = await readValue('IsActive', ref, trigger, dependencies);
    return encodeIsActive(value > trigger.activationTargetValue);
  },
};

/** A request as it was understood. */
interface Asked {
  readonly ref: ScaledObjectRef;
  readonly trigger: Trigger;
  readonly metricName: string;
}

/** KEDA asks the same again and again: what a request's bytes say is worked out once. What cannot be read is not kept. */
const METRICS_REQUESTS = new RequestCache<Asked>((request) => {
  const { ref, metricName } = decodeMetricsRequest(request);
  return { ref, metricName, trigger: parseTrigger(ref.metadata) };
});
const REFS = new RequestCache<Asked>((request) => {
  const ref = decodeScaledObjectRef(request);
  return { ref, metricName: '', trigger: parseTrigger(ref.metadata) };
});

/** The one specification of a trigger; throws `bad_metadata`. */
export function encodeSpec(ref: ScaledObjectRef): Buffer {
  return encodeNamedNumber({ name: metricNameOf(ref), value: parseTarget(ref.metadata) });
}

/** The gRPC status of one of our own errors. */
export function faultOf(error: CodedError): GrpcFault {
  return { code: error.grpcStatus, details: `${error.message} [${error.code}]` };
}

/**
 * Whoever calls over plain text proves no namespace, so by default a trigger sees everything. Throws `forbidden` for a trigger
 * of another namespace than that of whoever asks.
 */
export function scopeOf(ref: ScaledObjectRef, tenancy: Tenancy = 'off', namespace = ''): Scope {
  if (namespace !== '' && namespace !== ref.namespace) {
    throw new CodedError(
      'forbidden',
      `cannot answer for namespace ${JSON.stringify(ref.namespace)}: want ${namespace}`,
    );
  }
  if (namespace !== '') return [namespace];
  return tenancy === 'off' ? SCOPE_ALL : [ref.namespace];
}

/**
 * KEDA makes both calls of a poll within milliseconds, and they must not disagree because a sample came between them: two
 * calls of one asker share an evaluation, once each, so that the next poll and KEDA's immediate retry see what is new.
 * Without a call, the question is nobody's: neither shared nor recorded.
 */
export async function readTrigger(
  call: 'GetMetrics' | 'IsActive' | 'StreamIsActive' | null,
  ref: ScaledObjectRef,
  trigger: Trigger,
  { readings, kedify, tenancy, namespace }: Omit<ScalerDependencies, 'logger'>,
): Promise<Reading> {
  const { activationTargetValue: activation } = trigger;
  const asker =
    call === null
      ? undefined
      : { namespace: ref.namespace, name: ref.name, target: targetOrNull(ref.metadata), activation, call };
  const scope = scopeOf(ref, tenancy, namespace);
  if (trigger.kind === 'kedify') {
    if (kedify) {
      const { metricQuery, operation, clampMin, clampMax, windowMs, freshnessMs, noData, warnings } = trigger;
      const asked = {
        metricQuery,
        operation,
        clampMin,
        clampMax,
        windowMs,
        freshnessMs,
        noData,
        warnings,
        scope,
        asker,
      };
      return kedify.read(asked);
    }
    throw new CodedError('bad_metadata', 'metadata key "metricQuery" is turned off here: write PromQL under "query"');
  }
  return readings.read({ query: trigger.query, policy: trigger.policy, asker, scope, surface: 'keda' });
}

async function readValue(
  call: 'GetMetrics' | 'IsActive',
  ref: ScaledObjectRef,
  trigger: Trigger,
  dependencies: ScalerDependencies,
): Promise<ReadingValue> {
  const { logger } = dependencies;
  const scaledObject = `${ref.namespace}/${ref.name}`;
  if (trigger.kind === 'kedify' && trigger.warnings.length > 0 && logger.isLevelEnabled('debug')) {
    logger.debug(
      { scaledObject, call, warnings: trigger.warnings },
      'a trigger was taken although part of it is wrong',
    );
  }
  const reading = await readTrigger(call, ref, trigger, dependencies);
  if (reading.kind === 'value') return reading;
  logger.debug({ scaledObject, call, code: reading.code, reason: reading.reason }, 'no value for a trigger');
  const fault: GrpcFault = {
    code: grpcCodeOf(reading.code),
    details: `${absenceText(reading)}${helpOf(reading.code, ref)}`,
  };
  throw fault;
}

/** What can be done about an absence: its text stands in KEDA's log and in the events of the ScaledObject, and nowhere else. */
const ADVICE: Readonly<Partial<Record<ErrorCode, string>>> = {
  unknown_metric: 'compare the name with what is sent, and see whether its sender runs; noData answers instead',
  no_series: 'compare the labels with those that are sent; noData, or "or vector(0)" in the query, answers instead',
  stale: 'see why its senders are silent; noData: last bridges that',
  warming_up: 'it ends by itself while samples arrive',
  not_a_number: 'see whether the query divides by 0; noData or the clamps answer instead',
  negative: 'clampMin: "0" allows for it',
  ambiguous: 'aggregate in the query, as by sum(…), or set reduce',
};

function helpOf(code: ErrorCode, { namespace, name }: ScaledObjectRef): string {
  const advice = ADVICE[code];
  const path = `/api/v1/scale/explain?${new URLSearchParams({ namespace, name })}`;
  return advice === undefined ? '' : `; ${advice}; how it came about: ${path}`;
}

function grpcCodeOf(code: ErrorCode): number {
  return ERRORS[code].grpc;
}
