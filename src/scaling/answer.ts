/**
 * From an evaluation and a policy to a Reading: pure, one step after the other, each of which may be told to who explains.
 *
 *     fault ─ coverage ─ elements (reduce) ─ hold ─ staleness ─ noData ─ clamp ─ range
 *
 * An absence is never turned into a zero on the way, unless the asker's own `noData` says so; and even that not while the
 * daemon is warming up, while known senders are silent, or while nothing arrives at all.
 */
import type { ErrorCode } from '../model/errors.ts';
import { EMPTY_LABELS, type Labels } from '../model/labels.ts';
import { formatDuration } from '../model/time.ts';
import type { QueryResult } from '../promql/result.ts';
import { type Diagnosis, formatTime, staleText } from './diagnosis.ts';
import type { Evaluation } from './evaluation.ts';
import type { Policy, Reducer } from './policy.ts';
import { sourceText } from './sources.ts';

interface Basis {
  /** The moment of the question. */
  readonly timeMs: number;
  /** Timestamp of the newest sample read (for an absence: of the series that are meant), or null if there was none. */
  readonly newestMs: number | null;
  /** Series read, or for an absence the series that are meant. */
  readonly series: number;
  /** Sources that should be heard, and those of them that are; summed over the query's selectors. */
  readonly sourcesExpected: number;
  readonly sourcesSeen: number;
}

/** Where a value comes from: the query, its value before a source fell silent, an earlier Reading, or `noData`. */
export type Origin = 'query' | 'held' | 'last' | 'no_data';

export interface ReadingValue extends Basis {
  readonly kind: 'value';
  /** Finite and not negative. */
  readonly value: number;
  /** Labels of the one element; empty for a scalar. */
  readonly labels: Labels;
  readonly origin: Origin;
  /** Why the value is not simply the query's; '' if it is. */
  readonly note: string;
}

export interface ReadingAbsence extends Basis {
  readonly kind: 'absence';
  readonly code: ErrorCode;
  readonly reason: string;
  /**
   * While warming up, what the query gives of the samples that came so far; else null. It is no value to scale by, since
   * samples may be missing, but it may say that there is work: see {@link activityOf}.
   */
  readonly soFar?: number | null;
}

export type Reading = ReadingValue | ReadingAbsence;

/** What an answer may need besides the evaluation; asked for only then. */
export interface Help {
  /** What is wrong with the query's selectors, or null. */
  diagnose(): Diagnosis | null;
  /** The last value that the query itself gave, if it is known. */
  last(): { readonly value: number; readonly timeMs: number } | null;
  /** Samples of anybody came in lately. */
  isArriving(): boolean;
}

export interface AnswerContext {
  readonly policy: Policy;
  /** How old the newest sample may be. */
  readonly lookbackMs: number;
  readonly help: Help;
  /** Hears what each step did. */
  readonly tell: ((step: string, says: string) => void) | null;
}

/** A value on its way. */
interface Draft {
  readonly kind: 'draft';
  readonly value: number;
  readonly labels: Labels;
  readonly origin: Origin;
  readonly note: string;
}

export function answer(evaluation: Evaluation, context: AnswerContext): Reading {
  const judged = judge(evaluation, context);
  const filled = judged.kind === 'absence' ? fill(evaluation, judged, context) : judged;
  if (filled.kind === 'absence') return filled;
  return bounded(evaluation, filled, context);
}

function judge(evaluation: Evaluation, context: AnswerContext): Draft | ReadingAbsence {
  const { fault, result } = evaluation;
  if (fault !== null || result === null) {
    const { code, reason } = fault ?? { code: 'internal' as const, reason: 'no result' };
    context.tell?.('evaluate', reason);
    return absence(evaluation, code, reason);
  }
  const uncovered = coverageFault(evaluation);
  if (uncovered !== null) {
    context.tell?.('coverage', uncovered.reason);
    return withSoFar(uncovered, evaluation, result, context);
  }
  const element = oneElement(evaluation, result, context);
  if (element.kind === 'absence') return element;
  const unheard = evaluation.settling ? evaluation.covers.find(({ series }) => series === 0) : undefined;
  if (unheard !== undefined) {
    return absence(
      evaluation,
      'warming_up',
      'warming up: a selector has no series yet, and the start was not long ago',
    );
  }
  const held = hold(evaluation, element, context);
  if (held.kind === 'absence') return held;
  if (isOutlived(evaluation, result, context)) {
    return absence(evaluation, 'stale', staleText(result.read.newestMs!, evaluation.timeMs));
  }
  return held;
}

/** What the senders' silence forbids, whatever the query says. */
function coverageFault(evaluation: Evaluation): ReadingAbsence | null {
  const { covers, timeMs } = evaluation;
  for (const { ahead, warming, mute, expected, seen, newestMs, endMs, look } of covers) {
    if (ahead)
      return absence(evaluation, 'warming_up', 'warming up: the clock jumped back, and samples lie ahead of it');
    if (warming !== null) return absence(evaluation, 'warming_up', warmingText(warming, look.windowMs));
    if (mute !== null) {
      const silence = `${sourceText(mute.key)} is alive but silent since ${formatTime(mute.newestMs)}`;
      return absence(evaluation, 'stale', silence);
    }
    if (expected > 0 && seen === 0) return absence(evaluation, 'stale', staleText(newestMs! + timeMs - endMs, timeMs));
  }
  return null;
}

/**
 * A warming Reading with what came so far, if each selector has somebody who is heard. All of it is of now, so it may
 * stand for itself; but after a jump of the clock, or beside silent senders, nothing does.
 */
function withSoFar(
  missing: ReadingAbsence,
  evaluation: Evaluation,
  { value }: QueryResult,
  { policy, tell }: AnswerContext,
): ReadingAbsence {
  const { covers } = evaluation;
  if (missing.code !== 'warming_up' || covers.some(({ ahead, mute, seen }) => ahead || mute !== null || seen === 0)) {
    return missing;
  }
  const single = singleOf(value, policy.reduce);
  if (single === null) return missing;
  const draft: Draft = { kind: 'draft', value: single, labels: EMPTY_LABELS, origin: 'query', note: '' };
  const reading = bounded(evaluation, draft, { policy, tell: null });
  if (reading.kind === 'absence') return missing;
  tell?.('coverage', `what came so far gives ${reading.value}`);
  return { ...missing, reason: `${missing.reason}; ${reading.value} so far`, soFar: reading.value };
}

function warmingText(covered: number, windowMs: number): string {
  const what = windowMs === 0 ? 'an interval of its senders' : `its ${formatDuration(windowMs)}`;
  return `warming up: ${Math.floor(covered * 100)} % of ${what} covered, want 80 %`;
}

function oneElement(
  evaluation: Evaluation,
  result: QueryResult,
  { policy, help, tell }: AnswerContext,
): Draft | ReadingAbsence {
  const { value } = result;
  if (value.kind === 'matrix' || value.kind === 'string') {
    const got = value.kind === 'matrix' ? 'a range vector' : 'a string';
    return absence(evaluation, 'bad_data', `cannot read one value: got ${got}, want a scalar or an instant vector`);
  }
  const values = value.kind === 'scalar' ? [value.value] : value.values;
  tell?.(
    'evaluate',
    values.length === 1 ? `the query gives ${values[0]}` : `the query gives ${values.length} elements`,
  );
  if (values.length === 0) return explainEmpty(evaluation, help);
  if (values.length > 1 && policy.reduce === null) {
    return absence(evaluation, 'ambiguous', `ambiguous: ${values.length} series, want one`);
  }
  const isHistogram = value.kind === 'vector' && value.histograms?.some((histogram) => histogram !== null) === true;
  if (isHistogram && policy.reduce !== 'count') return absence(evaluation, 'bad_data', HISTOGRAM_REASON);
  const single = reduce(values, policy.reduce);
  if (policy.reduce !== null) tell?.('reduce', `${policy.reduce} of ${values.length} elements is ${single}`);
  if (Number.isNaN(single)) return explainNaN(evaluation, result, help);
  const labels = value.kind === 'vector' && values.length === 1 ? value.labels[0]! : EMPTY_LABELS;
  return { kind: 'draft', value: single, labels, origin: 'query', note: '' };
}

/** The query is wrong, and stays so: neither waiting nor `noData` helps. */
const HISTOGRAM_REASON =
  'cannot read one value: got a native histogram, want a number, for example by histogram_quantile(), histogram_count() or histogram_sum()';

/** As PromQL aggregates: smallest and largest leave NaN out unless there is nothing else. */
function reduce(values: ArrayLike<number>, reducer: Reducer | null): number {
  if (reducer === null) return values[0]!;
  if (reducer === 'count') return values.length;
  const all = Array.from(values);
  const numbers = all.filter((value) => !Number.isNaN(value));
  if (reducer === 'min' || reducer === 'max') {
    if (numbers.length === 0) return Number.NaN;
    return numbers.reduce((a, b) => (reducer === 'min' ? Math.min(a, b) : Math.max(a, b)));
  }
  const sum = all.reduce((a, b) => a + b, 0);
  return reducer === 'sum' ? sum : sum / all.length;
}

/** While a source is not whole, the value may only be higher than the last one that was. */
function hold(evaluation: Evaluation, draft: Draft, { policy, tell }: AnswerContext): Draft | ReadingAbsence {
  const { wholeMs, before } = evaluation;
  if (wholeMs === null) return draft;
  const earlier = valueBefore(before, policy.reduce);
  const since = formatTime(wholeMs);
  if (earlier === null) {
    const missing = `not every source is whole since ${since}, and there is no value of then`;
    tell?.('hold', missing);
    return absence(evaluation, 'stale', missing);
  }
  if (earlier <= draft.value) {
    tell?.('hold', `not every source is whole since ${since}; the value is not below the ${earlier} of then`);
    return draft;
  }
  const note = `held at the value of ${since}, when every source was last whole`;
  tell?.('hold', `${note}: ${earlier} instead of ${draft.value}`);
  return { ...draft, value: earlier, origin: 'held', note };
}

function valueBefore(before: QueryResult | null, reducer: Reducer | null): number | null {
  const value = before === null ? null : singleOf(before.value, reducer);
  return value !== null && Number.isFinite(value) ? value : null;
}

/** The one value of a result, or null if it has none or several. */
function singleOf(value: QueryResult['value'], reducer: Reducer | null): number | null {
  if (value.kind === 'matrix' || value.kind === 'string') return null;
  const values = value.kind === 'scalar' ? [value.value] : value.values;
  return values.length === 0 || (values.length > 1 && reducer === null) ? null : reduce(values, reducer);
}

function explainEmpty(evaluation: Evaluation, help: Help): ReadingAbsence {
  const diagnosis = help.diagnose();
  if (diagnosis !== null) return diagnosed(evaluation, diagnosis);
  return absence(evaluation, 'no_series', 'no series match: the series exist, but the expression leaves none of them');
}

/** `scalar()` of nothing is NaN: then what is missing is the better reason. */
function explainNaN(evaluation: Evaluation, result: QueryResult, help: Help): ReadingAbsence {
  const diagnosis = result.read.newestMs === null ? help.diagnose() : null;
  return diagnosis === null
    ? absence(evaluation, 'not_a_number', 'not a number: NaN')
    : diagnosed(evaluation, diagnosis);
}

/**
 * A range that is longer than the lookback goes on answering with senders that have left. So if the newest sample read
 * at all is older than the lookback, the answer is stale, unless every selector has a series with fresh samples: then
 * the query looks back on purpose, by `offset` or `@`.
 */
function isOutlived(
  { timeMs }: Evaluation,
  { read }: QueryResult,
  { lookbackMs, policy, help }: AnswerContext,
): boolean {
  const ageMsMax = Math.max(lookbackMs, policy.freshnessMs ?? 0);
  return read.newestMs !== null && timeMs - read.newestMs > ageMsMax && help.diagnose() !== null;
}

/** What `noData` makes of an absence. */
function fill(
  evaluation: Evaluation,
  missing: ReadingAbsence,
  { policy, help, tell }: AnswerContext,
): Draft | ReadingAbsence {
  const { noData } = policy;
  if (noData.kind === 'error' || !LACKS_DATA.includes(missing.code)) return missing;
  if (noData.kind === 'last') {
    const last = help.last();
    const ageMs = last === null ? Infinity : evaluation.timeMs - last.timeMs;
    if (last === null || ageMs < 0 || ageMs > noData.maxAgeMs) {
      tell?.('noData', 'no value that is young enough is known');
      return missing;
    }
    const note = `last value, of ${formatTime(last.timeMs)}: ${missing.reason}`;
    tell?.('noData', note);
    return { kind: 'draft', value: last.value, labels: EMPTY_LABELS, origin: 'last', note };
  }
  const refusal = numberRefusal(evaluation, missing, help);
  if (refusal !== null) {
    tell?.('noData', `not used: ${refusal}`);
    return missing;
  }
  const note = `noData is ${noData.value}: ${missing.reason}`;
  tell?.('noData', note);
  return { kind: 'draft', value: noData.value, labels: EMPTY_LABELS, origin: 'no_data', note };
}

const LACKS_DATA: readonly ErrorCode[] = ['unknown_metric', 'no_series', 'stale', 'not_a_number'];

/** Why a fixed number may not stand for what is missing, or null. */
export function numberRefusal(
  { settling, covers }: Evaluation,
  missing: Pick<ReadingAbsence, 'code' | 'reason'>,
  help: Help,
): string | null {
  if (settling) return 'the start was not long ago, so the data may be yet to come';
  if (covers.some(({ expected, seen }) => seen < expected)) return 'known senders are silent';
  if (missing.code === 'not_a_number' && !missing.reason.endsWith('NaN')) return 'the value is infinite';
  return help.isArriving() ? null : 'no samples arrive from anybody';
}

/** Clamps, and refuses what an autoscaler would misread. */
function bounded(
  evaluation: Evaluation,
  draft: Draft,
  { policy, tell }: Pick<AnswerContext, 'policy' | 'tell'>,
): Reading {
  let { value } = draft;
  if (policy.clampMin !== null && value < policy.clampMin) value = policy.clampMin;
  if (policy.clampMax !== null && value > policy.clampMax) value = policy.clampMax;
  if (value !== draft.value) tell?.('clamp', `${draft.value} becomes ${value}`);
  if (!Number.isFinite(value)) return absence(evaluation, 'not_a_number', `not a number: ${value}`);
  if (value < 0) return absence(evaluation, 'negative', `negative: ${value}, which an autoscaler would read as 0`);
  const { labels, origin, note } = draft;
  // Adding 0 makes a zero of a negative zero.
  return { kind: 'value', value: value + 0, labels, origin, note, ...basisOf(evaluation) };
}

function basisOf({ timeMs, result, covers }: Evaluation): Basis {
  let sourcesExpected = 0;
  let sourcesSeen = 0;
  let newestMs: number | null = result?.read.newestMs ?? null;
  for (const cover of covers) {
    sourcesExpected += cover.expected;
    sourcesSeen += cover.seen;
    if (newestMs === null) newestMs = cover.newestMs;
  }
  return { timeMs, newestMs, series: result?.read.series ?? 0, sourcesExpected, sourcesSeen };
}

function absence(evaluation: Evaluation, code: ErrorCode, reason: string): ReadingAbsence {
  return { kind: 'absence', code, reason, soFar: null, ...basisOf(evaluation) };
}

function diagnosed(evaluation: Evaluation, { code, reason, newestMs, series }: Diagnosis): ReadingAbsence {
  return { ...absence(evaluation, code, reason), newestMs, series };
}

/**
 * Whether there is work, for who only asks that (KEDA's scaling from zero): null if that cannot be told. Being active
 * never scales down, so while warming up what came so far may say yes; it never says no.
 */
export function activityOf(reading: Reading, activation: number): boolean | null {
  if (reading.kind === 'value') return reading.value > activation;
  return (reading.soFar ?? -Infinity) > activation ? true : null;
}

/** What every surface says about an absence: the reason for people, the code for programs. */
export function absenceText(reading: ReadingAbsence): string {
  return `${reading.reason} [${reading.code}]`;
}

/** Outcome of a Reading in one word: a code of the absence, `value`, or where else a value comes from. */
export function outcomeOf(reading: Reading): string {
  if (reading.kind === 'absence') return reading.code;
  return reading.origin === 'query' ? 'value' : reading.origin;
}
