/** `query` and `query_range`. The order of checks is Prometheus'. */
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { InstantQuery, QueryEngine, RangeQuery } from '../../promql/engine.ts';
import type { QueryResult } from '../../promql/result.ts';
import { type Answer, withTruncation } from './envelope.ts';
import { encodeValue, exceedsLimit } from './json.ts';
import { durationMs, inParameter, inParameterError, limitOf, requiredTimeOf, textOf, timeOf } from './parameters.ts';

export interface QueryDeps {
  readonly engine: Pick<QueryEngine, 'instant' | 'range' | 'checkResolution'>;
  readonly clock: Clock;
  /** How long a query may take; a client can only ask for less. */
  readonly queryTimeoutMs: number;
}

export async function answerInstant(deps: QueryDeps, form: URLSearchParams, signal: AbortSignal): Promise<Answer> {
  const limit = limitOf(form);
  const timeMs = timeOf(form, 'time', deps.clock.nowMs());
  const query: InstantQuery = { timeMs, ...commonOf(deps, form, signal) };
  return answerOf(limit, () => deps.engine.instant(query));
}

export async function answerRange(deps: QueryDeps, form: URLSearchParams, signal: AbortSignal): Promise<Answer> {
  const limit = limitOf(form);
  const query: RangeQuery = { ...rangeOf(deps, form), ...commonOf(deps, form, signal) };
  return answerOf(limit, () => deps.engine.range(query));
}

/** Start, end and step of a range query. */
export function rangeOf(
  deps: { readonly engine: Pick<QueryEngine, 'checkResolution'> },
  form: URLSearchParams,
): Pick<RangeQuery, 'startMs' | 'endMs' | 'stepMs'> {
  const startMs = requiredTimeOf(form, 'start');
  const endMs = requiredTimeOf(form, 'end');
  if (endMs < startMs) throw inParameterError('end', badData('end timestamp must not be before start time'));
  const stepMs = stepOf(form);
  deps.engine.checkResolution({ startMs, endMs, stepMs });
  // A step below a millisecond counts as one: samples have no finer time.
  return { startMs, endMs, stepMs: Math.max(1, Math.trunc(stepMs)) };
}

/** What instant and range queries have in common. */
export function commonOf(
  { queryTimeoutMs }: Pick<QueryDeps, 'queryTimeoutMs'>,
  form: URLSearchParams,
  signal: AbortSignal,
) {
  const timeoutMs = inParameter('timeout', () => optionalDurationOf(form, 'timeout'));
  const lookbackMs = lookbackOf(form);
  return {
    text: inParameter('query', () => expressionOf(form)),
    scope: SCOPE_ALL,
    signal,
    timeoutMs: timeoutMs === null ? queryTimeoutMs : Math.min(timeoutMs, queryTimeoutMs),
    ...(lookbackMs === null ? {} : { lookbackMs }),
  };
}

/** In an absent text there is no position to name, which is what Prometheus says then. */
function expressionOf(form: URLSearchParams): string {
  const text = textOf(form, 'query');
  if (text === '') throw badData('unknown position: parse error: no expression found in input');
  return text;
}

function stepOf(form: URLSearchParams): number {
  return inParameter('step', () => {
    const stepMs = durationMs(textOf(form, 'step'));
    if (stepMs > 0) return stepMs;
    throw badData('zero or negative query resolution step widths are not accepted. Try a positive integer');
  });
}

function lookbackOf(form: URLSearchParams): number | null {
  try {
    return optionalDurationOf(form, 'lookback_delta');
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    throw new CodedError(error.code, `error parsing lookback delta duration: ${error.message}`, { cause: error });
  }
}

/** Null if absent, and also for 0 and less: prometheus-adapter sends `0s` where it means "no timeout of my own". */
function optionalDurationOf(form: URLSearchParams, name: string): number | null {
  const text = textOf(form, name);
  const ms = text === '' ? 0 : durationMs(text);
  return ms > 0 ? ms : null;
}

async function answerOf(limit: number, run: () => Promise<QueryResult>): Promise<Answer> {
  try {
    const { value, warnings, infos } = await run();
    return { data: encodeValue(value, limit), warnings: withTruncation(warnings, exceedsLimit(value, limit)), infos };
  } catch (error) {
    throw inParameterError('query', error);
  }
}

function badData(message: string): CodedError {
  return new CodedError('bad_data', message);
}
