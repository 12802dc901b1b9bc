/**
 * A trigger's metadata as KEDA sends it: all keys of the `metadata` block, our own and KEDA's. Keys that end in
 * `FromEnv` carry the resolved value under that name and stand for the key without the ending.
 *
 * Two kinds: with `query`, PromQL under a policy, and every key is known or refused; with `metricQuery`, the language of
 * Kedify's scaler, where keys that nobody knows are ignored as they are there.
 *
 * The target is read apart from the rest: GetMetricSpec depends on it alone, because an error there fails every trigger
 * of a ScaledObject, while an error of GetMetrics fails only its own. Messages name keys, and values of our own keys
 * only: users put private keys into metadata.
 */
import { CodedError } from '../../model/errors.ts';
import { nearest } from '../../model/nearest.ts';
import type { KedifyRequest } from '../../scaling/kedify/kedify-readings.ts';
import { operationOf } from '../../scaling/kedify/metric-query.ts';
import { POLICY_KEYS, type Policy, type PolicyKey, parseNumber, parsePolicy, quoted } from '../../scaling/policy.ts';
import type { ScaledObjectRef } from './messages.ts';

export interface PromqlTrigger {
  readonly kind: 'promql';
  readonly query: string;
  /** Active if and only if the value is greater. */
  readonly activationTargetValue: number;
  readonly policy: Policy;
}

export interface KedifyTrigger extends Omit<KedifyRequest, 'scope' | 'timeMs' | 'asker'> {
  readonly kind: 'kedify';
  readonly activationTargetValue: number;
  /** What was taken although it is wrong, as that scaler does. */
  readonly warnings: readonly string[];
}

export type Trigger = PromqlTrigger | KedifyTrigger;

type Metadata = ScaledObjectRef['metadata'];

const OWN_KEYS: readonly string[] = ['query', 'promql', 'targetValue', 'activationTargetValue', ...POLICY_KEYS];
const KEDIFY_KEYS: readonly string[] = ['metricQuery', 'operationOverTime'];
/**
 * Read by KEDA itself and sent along: the address and TLS. What belongs into a TriggerAuthentication users put here, too, and
 * `tlsCertFile` is what releases before 2.12 read instead.
 */
const KEDA_KEYS: readonly string[] = [
  'scalerAddress',
  'enableTLS',
  'unsafeSsl',
  'caCert',
  'tlsClientCert',
  'tlsClientKey',
  'tlsCertFile',
];
const FROM_ENV = 'FromEnv';
/** KEDA writes targets with three decimals: a smaller one it would round to 0, and so break the HPA. */
const TARGET_MIN = 0.0005;

/** What GetMetrics and IsActive need; throws `bad_metadata`. */
export function parseTrigger(metadata: Metadata): Trigger {
  const metricQuery = lookUp(metadata, 'metricQuery');
  if (metricQuery !== null) return parseKedify(metadata, metricQuery);
  for (const key of metadata.keys()) checkKey(key);
  return {
    kind: 'promql',
    query: parseQueryText(metadata),
    activationTargetValue: parseActivation(metadata),
    policy: parsePolicy((key) => lookUp(metadata, key)),
  };
}

/** What GetMetricSpec needs; throws `bad_metadata`. */
export function parseTarget(metadata: Metadata): number {
  const text = lookUp(metadata, 'targetValue');
  if (text === null) {
    throw new CodedError('bad_metadata', 'not found targetValue: cannot read trigger metadata, targetValue is missing');
  }
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

/** What our own policy may change on the Kedify path; its bounds are read apart, as that scaler reads them. */
const KEDIFY_POLICY_KEYS: readonly PolicyKey[] = ['noData', 'freshness', 'window'];

function parseKedify(metadata: Metadata, metricQuery: string): KedifyTrigger {
  for (const key of ['query', 'promql']) {
    if (lookUp(metadata, key) === null) continue;
    throw new CodedError(
      'bad_metadata',
      `cannot read trigger metadata: got "metricQuery" and "${key}", want one of them`,
    );
  }
  const warnings: string[] = [];
  const operationText = lookUp(metadata, 'operationOverTime') ?? '';
  const operation = operationText === '' ? 'last_one' : operationOf(operationText);
  if (operation === null) warnings.push(`operationOverTime ${quoted(operationText)} is not known: last_one is used`);
  const policy = parsePolicy((key) => (KEDIFY_POLICY_KEYS.includes(key) ? lookUp(metadata, key) : null));
  return {
    kind: 'kedify',
    metricQuery,
    operation: operation ?? 'last_one',
    clampMin: boundOf(metadata, 'clampMin', warnings),
    clampMax: boundOf(metadata, 'clampMax', warnings),
    windowMs: policy.windowMs,
    freshnessMs: policy.freshnessMs,
    noData: lookUp(metadata, 'noData') === null ? null : policy.noData,
    activationTargetValue: parseActivation(metadata),
    warnings,
  };
}

/** A bound that is no number is left out, as there. */
function boundOf(metadata: Metadata, key: 'clampMin' | 'clampMax', warnings: string[]): number | null {
  const text = lookUp(metadata, key);
  if (text === null) return null;
  try {
    return parseNumber(key, text.trim());
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    warnings.push(`${key} is ignored: ${error.message}`);
    return null;
  }
}

function parseActivation(metadata: Metadata): number {
  const text = lookUp(metadata, 'activationTargetValue');
  return text === null ? 0 : parseNumber('activationTargetValue', text);
}

function checkKey(key: string): void {
  const base = withoutFromEnv(key);
  if (KEDA_KEYS.includes(base) || OWN_KEYS.includes(base)) return;
  if (KEDIFY_KEYS.includes(base)) {
    throw new CodedError('bad_metadata', `metadata key "${base}" goes with "metricQuery", not with "query"`);
  }
  throw new CodedError(
    'bad_metadata',
    `unknown metadata key ${quoted(key)}: did you mean "${nearest(base, [...OWN_KEYS, ...KEDIFY_KEYS])}"?`,
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
  if (text === null || text.trim() === '') {
    throw new CodedError(
      'bad_metadata',
      "cannot read trigger metadata: query is missing; unable to get metric query from scaled object's metadata",
    );
  }
  return text;
}

/** The value of a key in its plain or its `FromEnv` form; the plain one comes first. */
function lookUp(metadata: Metadata, key: string): string | null {
  return metadata.get(key) ?? metadata.get(`${key}${FROM_ENV}`) ?? null;
}

function withoutFromEnv(key: string): string {
  return key.endsWith(FROM_ENV) ? key.slice(0, -FROM_ENV.length) : key;
}
