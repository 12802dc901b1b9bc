/**
 * Readings of several items: what the Kubernetes metrics APIs answer for a rule that gives a list. The same care as for
 * one value, an item at a time or over their sum, because an HPA adds the items of an External metric up.
 *
 *     External   coverage as in answer.ts: silent senders make an absence, or hold the list whose sum is larger
 *     objects    one item an object; the HPA itself reckons with pods that have none, so an unusable item is left out
 */
import type { ErrorCode } from '../model/errors.ts';
import { EMPTY_LABELS, type Labels } from '../model/labels.ts';
import type { QueryResult } from '../promql/result.ts';
import { type AnswerContext, answer, numberRefusal, type Reading, type ReadingAbsence } from './answer.ts';
import type { Evaluation } from './evaluation.ts';
import type { NoData } from './policy.ts';

export interface ListItem {
  readonly labels: Labels;
  /** Finite. */
  readonly value: number;
}

export interface ReadingList {
  readonly kind: 'list';
  readonly items: readonly ListItem[];
  /** The moment of the question. */
  readonly timeMs: number;
  /** Timestamp of the newest sample read, or null if there was none. */
  readonly newestMs: number | null;
  /** Items that were left out because their value is no number. */
  readonly dropped: number;
  /** Why the items are not simply the query's; '' if they are. */
  readonly note: string;
  /** The asker's number for an object without an item, or null where nothing may stand for it. */
  readonly fill: number | null;
}

export interface ListOptions {
  /** Objects: nothing is held, and items that cannot be used are left out. */
  readonly ofObjects: boolean;
  /** Negative values are answered. */
  readonly allowsNegative: boolean;
  /** What the asker wants for an object without an item; an error if left out. */
  readonly noData?: NoData;
}

export interface ListAnswer {
  readonly reading: ReadingList | ReadingAbsence;
  /** The same as one Reading, for the recorder: the sum of the items. */
  readonly recorded: Reading;
}

/** `context.policy` must be the default one. */
export function answerList(evaluation: Evaluation, context: AnswerContext, options: ListOptions): ListAnswer {
  const whole = options.ofObjects ? { ...evaluation, covers: [], wholeMs: null, before: null } : evaluation;
  const summed = answer(whole, { ...context, policy: { ...context.policy, reduce: 'sum', clampMin: null } });
  const found = itemsOf(whole.result);
  if (found === null || (summed.kind === 'absence' && !ITEMS_DECIDE.has(summed.code))) {
    const absent = summed.kind === 'absence' ? summed : absence(summed, 'bad_data', 'cannot read a list from that');
    return { reading: absent, recorded: absent };
  }
  const isHeld = summed.kind === 'value' && summed.origin === 'held';
  const all = isHeld ? (itemsOf(whole.before) ?? []) : found;
  const items = all.filter(({ value }) => Number.isFinite(value));
  const reading: ReadingList = {
    kind: 'list',
    items,
    timeMs: summed.timeMs,
    newestMs: summed.newestMs,
    dropped: all.length - items.length,
    note: isHeld ? summed.note : '',
    fill: fillOf(evaluation, context, options),
  };
  const fault = options.ofObjects ? null : faultOf(summed, reading, options);
  if (fault !== null) return { reading: fault, recorded: fault };
  return { reading, recorded: sumOf(summed, reading) };
}

/** A number may stand for a missing object when it may stand for a missing value; by then all senders are known and heard. */
function fillOf(evaluation: Evaluation, { help }: AnswerContext, { noData }: ListOptions): number | null {
  if (noData?.kind !== 'number') return null;
  return numberRefusal(evaluation, { code: 'no_series', reason: '' }, help) === null ? noData.value : null;
}

/** Absences of the sum that say nothing against the list: whether an item is usable is judged for each. */
const ITEMS_DECIDE: ReadonlySet<ErrorCode> = new Set([
  'no_series',
  'unknown_metric',
  'negative',
  'not_a_number',
] as const);

/** A sum that lacks an item would scale down, and a negative one scales to the maximum. */
function faultOf(summed: Reading, list: ReadingList, { allowsNegative }: ListOptions): ReadingAbsence | null {
  if (list.dropped > 0) {
    const items = `${list.dropped} of ${list.items.length + list.dropped} items`;
    return absence(summed, 'not_a_number', `not a number: ${items}`);
  }
  const negative = allowsNegative ? undefined : list.items.find(({ value }) => value < 0);
  if (negative === undefined) return null;
  return absence(summed, 'negative', `negative: ${negative.value}, which an autoscaler would misread`);
}

function itemsOf(result: QueryResult | null): ListItem[] | null {
  if (result === null) return null;
  const { value } = result;
  if (value.kind === 'scalar') return [{ labels: EMPTY_LABELS, value: value.value + 0 }];
  if (value.kind !== 'vector') return null;
  return value.labels.map((labels, i) => ({ labels, value: value.values[i]! + 0 }));
}

function sumOf(summed: Reading, { items, note }: ReadingList): Reading {
  if (items.length === 0 && summed.kind === 'absence') return summed;
  const value = items.reduce((sum, item) => sum + item.value, 0);
  const { timeMs, newestMs, series, sourcesExpected, sourcesSeen } = summed;
  const basis = { timeMs, newestMs, series, sourcesExpected, sourcesSeen };
  const count = items.length === 1 ? '' : `the sum of ${items.length} items`;
  return {
    kind: 'value',
    value,
    labels: EMPTY_LABELS,
    origin: note === '' ? 'query' : 'held',
    note: note === '' ? count : note,
    ...basis,
  };
}

function absence(
  { timeMs, newestMs, series, sourcesExpected, sourcesSeen }: Reading,
  code: ErrorCode,
  reason: string,
): ReadingAbsence {
  return { kind: 'absence', code, reason, timeMs, newestMs, series, sourcesExpected, sourcesSeen };
}
