/** `query` and `query_range`. The order of checks is Prometheus'. */
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { InstantQuery, QueryEngine, RangeQuery } from '../../promql/engine.ts';
import type { Aborted } from '../../promql/eval/run.ts';
import type { QueryResult, ReadStats } from '../../promql/result.ts';
import { type Answer, withTruncation } from './envelope.ts';
import { encodeValue, exceedsLimit } from './json.ts';
import {
  durationMs,
  inParameter,
  inParameterError,
  limitOf,
  queryTextOf,
  requiredTimeOf,
  textOf,
  timeOf,
} from './parameters.ts';

export interface QueryDeps {
  readonly engine: Pick<QueryEngine, 'instant' | 'range' | 'checkResolution'>;
  readonly clock: Clock;
  /** How long a query may take; a client can only ask for less. */
  readonly queryTimeoutMs: number;
}

export async function answerInstant(deps: QueryDeps, form: URLSearchParams, signal: Aborted): Promise<Answer> {
  const limit = limitOf(form);
  const timeMs = timeOf(form, 'time', deps.clock.nowMs());
  const query: InstantQuery = { timeMs, ...commonOf(deps, form, signal) };
  const stats = statsOf(form);
  return answerOf(deps.clock, limit, stats, [timeMs], () => deps.engine.instant(query));
}

export async function answerRange(deps: QueryDeps, form: URLSearchParams, signal: Aborted): Promise<Answer> {
  const limit = limitOf(form);
  const query: RangeQuery = { ...rangeOf(deps, form), ...commonOf(deps, form, signal) };
  return answerOf(deps.clock, limit, statsOf(form), null, () => deps.engine.range(query));
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
  signal: Aborted,
) {
  const timeoutMs = inParameter('timeout', () => optionalDurationOf(form, 'timeout'));
  const lookbackMs = lookbackOf(form);
  return {
    text: inParameter('query', () => queryTextOf(form)),
    scope: SCOPE_ALL,
    signal,
    timeoutMs: timeoutMs === null ? queryTimeoutMs : Math.min(timeoutMs, queryTimeoutMs),
    ...(lookbackMs === null ? {} : { lookbackMs }),
  };
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

async function answerOf(
  clock: Clock,
  limit: number,
  stats: StatsWanted,
  stepsMs: readonly number[] | null,
  run: () => Promise<QueryResult>,
): Promise<Answer> {
  try {
    const beganMs = clock.monotonicMs();
    const { value, warnings, infos, read } = await run();
    const more =
      stats.detail === 'none' ? '' : `"stats":${statsText(read, clock.monotonicMs() - beganMs, stats, stepsMs)}`;
    return {
      data: encodeValue(value, limit, more),
      warnings: withTruncation([...stats.warnings, ...warnings], exceedsLimit(value, limit)),
      infos,
    };
  } catch (error) {
    throw inParameterError('query', error);
  }
}

interface StatsWanted {
  readonly detail: 'none' | 'totals' | 'steps';
  readonly warnings: readonly string[];
}

function statsOf(form: URLSearchParams): StatsWanted {
  const text = textOf(form, 'stats');
  if (text === '') return { detail: 'none', warnings: [] };
  if (text === 'all') return { detail: 'steps', warnings: [] };
  if (text === 'true') return { detail: 'totals', warnings: [] };
  const warning = `value ${JSON.stringify(text)} for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all"`;
  return { detail: 'totals', warnings: [warning] };
}

/** Times in seconds. Evaluation is measured as a whole: what its parts would show is in it. */
function statsText(
  { samples }: ReadStats,
  tookMs: number,
  { detail }: StatsWanted,
  stepsMs: readonly number[] | null,
): string {
  const seconds = tookMs / 1000;
  const timings = {
    evalTotalTime: seconds,
    resultSortTime: 0,
    queryPreparationTime: 0,
    innerEvalTime: seconds,
    execQueueTime: 0,
    execTotalTime: seconds,
  };
  const totals = { totalQueryableSamples: samples, samplesRead: samples, peakSamples: samples };
  if (detail !== 'steps' || stepsMs === null) return JSON.stringify({ timings, samples: totals });
  const steps = stepsMs.map((timeMs) => [timeMs / 1000, samples]);
  const perStep = { totalQueryableSamplesPerStep: steps, samplesReadPerStep: steps };
  return JSON.stringify({ timings, samples: { ...totals, ...perStep } });
}

function badData(message: string): CodedError {
  return new CodedError('bad_data', message);
}
