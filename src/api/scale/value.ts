/**
 * `value`: one Reading as `{"value": 2.5}`, for KEDA's metrics-api trigger (`valueLocation: value`) and for scripts. The
 * query comes as a parameter, or, for callers that drop those, as the rest of the path. An absence is an error with the
 * status of its reason, never a number.
 */
import { CodedError } from '../../model/errors.ts';
import { SCOPE_ALL, type Scope } from '../../model/scope.ts';
import { POLICY_KEYS, parsePolicy } from '../../scaling/policy.ts';
import type { Readings } from '../../scaling/reading.ts';
import { badData, checkNames, textOf } from './parameters.ts';

export interface ValueDeps {
  readonly readings: Pick<Readings, 'read'>;
}

const NAMES = ['query', 'namespace', 'name', ...POLICY_KEYS];

/** The JSON text of the reply; throws a `CodedError`. `path` is the query as part of the path, or ''; `scope` what may be seen. */
export async function answerValue(
  { readings }: ValueDeps,
  form: URLSearchParams,
  path: string,
  scope: Scope = SCOPE_ALL,
): Promise<string> {
  checkNames(form, NAMES);
  const query = path === '' ? textOf(form, 'query') : path;
  if (query === null) throw badData('missing parameter "query"');
  const policy = parsePolicy((key) => textOf(form, key));
  const asker = {
    namespace: textOf(form, 'namespace') ?? '',
    name: textOf(form, 'name') ?? 'metrics-api',
    call: 'value',
    target: null,
    activation: null,
  };
  const reading = await readings.read({ query, policy, asker, scope, surface: 'keda' });
  if (reading.kind === 'absence') throw new CodedError(reading.code, reading.reason);
  return `{"value":${decimalText(reading.value)}}`;
}

/** A finite number from 0 without an exponent: not everybody who reads quantities takes those. */
function decimalText(value: number): string {
  const [mantissa, exponentText] = String(value).split('e') as [string, string | undefined];
  if (exponentText === undefined) return mantissa;
  const exponent = Number(exponentText);
  const [whole, fraction = ''] = mantissa.split('.') as [string, string | undefined];
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${whole}${fraction}`;
  return (whole + fraction).padEnd(exponent + 1, '0');
}
