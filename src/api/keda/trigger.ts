/**
 * A trigger's metadata as KEDA sends it: all keys of the `metadata` block, our own and KEDA's. Keys that end in
 * `FromEnv` carry the resolved value under that name and stand for the key without the ending.
 *
 * The target is read apart from the rest: GetMetricSpec depends on it alone, because an error there fails every trigger
 * of a ScaledObject, while an error of GetMetrics fails only its own. Messages name keys, and values of our own keys
 * only: users put private keys into metadata.
 */
import { CodedError } from '../../model/errors.ts';
import { nearest } from '../../model/nearest.ts';
import { POLICY_KEYS, type Policy, parseNumber, parsePolicy, quoted } from '../../scaling/policy.ts';
import type { ScaledObjectRef } from './messages.ts';

export interface Trigger {
  readonly query: string;
  /** Active if and only if the value is greater. */
  readonly activationTargetValue: number;
  readonly policy: Policy;
}

type Metadata = ScaledObjectRef['metadata'];

const OWN_KEYS: readonly string[] = ['query', 'promql', 'targetValue', 'activationTargetValue', ...POLICY_KEYS];
/** Keys that have a meaning, but not yet here; taking them without acting on them would be a silent wrong answer. */
const KEYS_TO_COME: readonly string[] = ['operationOverTime'];
/** Read by KEDA itself and sent along; users also put what belongs into a TriggerAuthentication here. */
const KEDA_KEYS: readonly string[] = [
  'scalerAddress',
  'enableTLS',
  'unsafeSsl',
  'caCert',
  'tlsClientCert',
  'tlsClientKey',
];
const FROM_ENV = 'FromEnv';
/** KEDA writes targets with three decimals: a smaller one it would round to 0, and so break the HPA. */
const TARGET_MIN = 0.0005;

/** What GetMetrics and IsActive need; throws `bad_metadata`. */
export function parseTrigger(metadata: Metadata): Trigger {
  for (const key of metadata.keys()) checkKey(key);
  const activation = lookUp(metadata, 'activationTargetValue');
  return {
    query: parseQueryText(metadata),
    activationTargetValue: activation === null ? 0 : parseNumber('activationTargetValue', activation),
    policy: parsePolicy((key) => lookUp(metadata, key)),
  };
}

/** What GetMetricSpec needs; throws `bad_metadata`. */
export function parseTarget(metadata: Metadata): number {
  const text = lookUp(metadata, 'targetValue');
  if (text === null) throw new CodedError('bad_metadata', 'cannot read trigger metadata: targetValue is missing');
  const target = parseNumber('targetValue', text);
  if (target < TARGET_MIN) {
    throw new CodedError('bad_metadata', `cannot read targetValue: got ${quoted(text)}, want at least 0.001`);
  }
  return target;
}

/** The same for those who can do without. */
export function targetOrNull(metadata: Metadata): number | null {
  try {
    return parseTarget(metadata);
  } catch (error) {
    if (error instanceof CodedError) return null;
    throw error;
  }
}

/** A name for the HPA's metric: stable, and of characters that are safe in a path (KEDA does not clean it). */
export function metricNameOf({ namespace, name }: ScaledObjectRef): string {
  const clean = `${namespace}-${name}`.toLowerCase().replace(/[^a-z0-9.-]/g, '-');
  return clean.replace(/^[.-]+|[.-]+$/g, '') || 'tidegauge';
}

function checkKey(key: string): void {
  const base = withoutFromEnv(key);
  if (KEDA_KEYS.includes(base) || OWN_KEYS.includes(base)) return;
  if (base === 'metricQuery') {
    throw new CodedError('bad_metadata', 'metadata key "metricQuery" is not supported yet: write PromQL under "query"');
  }
  if (KEYS_TO_COME.includes(base)) {
    throw new CodedError('bad_metadata', `metadata key "${base}" is not supported yet`);
  }
  throw new CodedError(
    'bad_metadata',
    `unknown metadata key ${quoted(key)}: did you mean "${nearest(base, [...OWN_KEYS, ...KEYS_TO_COME])}"?`,
  );
}

function parseQueryText(metadata: Metadata): string {
  const query = lookUp(metadata, 'query');
  const promql = lookUp(metadata, 'promql');
  if (query !== null && promql !== null && query !== promql) {
    throw new CodedError(
      'bad_metadata',
      'cannot read trigger metadata: "query" and its alias "promql" differ, want one of them',
    );
  }
  const text = query ?? promql;
  if (text === null || text.trim() === '')
    throw new CodedError('bad_metadata', 'cannot read trigger metadata: query is missing');
  return text;
}

/** The value of a key in its plain or its `FromEnv` form; the plain one comes first. */
function lookUp(metadata: Metadata, key: string): string | null {
  return metadata.get(key) ?? metadata.get(`${key}${FROM_ENV}`) ?? null;
}

function withoutFromEnv(key: string): string {
  return key.endsWith(FROM_ENV) ? key.slice(0, -FROM_ENV.length) : key;
}
