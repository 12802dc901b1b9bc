/** Why a sample is refused: a closed set. Each reason is a value of the label `reason` of the refusal counters. */
import { APPENDED, type Appended } from '../tsdb/head.ts';
import { OUTCOME_SERIES_LIMIT } from '../tsdb/kernel/layout.ts';

export const REASONS = {
  // What the store says of a sample.
  out_of_order: 'out of order sample',
  duplicate_timestamp: 'duplicate sample for timestamp',
  too_old: 'too old sample',
  too_far_ahead: 'out of bounds: timestamp is too far in the future',
  series_limit: 'new series above the limit of series or memory',
  // What is wrong with a label set.
  missing_metric_name: 'label set without a metric name',
  empty_label_name: 'label with an empty name',
  duplicate_label: 'label name that occurs twice',
  invalid_utf8: 'label name or value that is not valid UTF-8',
  too_many_labels: 'too many labels',
  label_name_too_long: 'label name that is too long',
  label_value_too_long: 'label value that is too long',
  invalid_label_reference: 'label reference without a symbol, or without its second half',
  // What is wrong with a native histogram or an exemplar.
  malformed_histogram: 'native histogram that cannot be decoded',
  invalid_histogram: 'native histogram that contradicts itself',
  histogram_too_large: 'native histogram with too many buckets',
  malformed_exemplar: 'exemplar that cannot be decoded',
  out_of_order_exemplar: 'out of order exemplar',
  exemplar_too_far_ahead: 'exemplar out of bounds: timestamp is too far in the future',
  // What is wrong with a line of text.
  malformed_line: 'line that cannot be read',
  // What is wrong with an OTLP data point.
  temporality_unspecified: 'aggregation temporality is unspecified: want cumulative or delta',
  exponential_scale_too_low: 'exponential histogram with a scale below -4',
  delta_too_late: 'delta point older than those that its sum still remembers',
  delta_series_limit: 'new delta series above the limit of those that are added up',
  timestamp_unset: 'data point without a timestamp',
  value_unset: 'data point without a value',
  invalid_metric_name: 'metric name that no translation makes valid',
  invalid_attribute_name: 'attribute name that no translation makes valid',
  malformed_buckets: 'bucket counts and bounds that do not fit together',
  too_many_buckets: 'too many buckets or quantiles',
} as const;

export type Reason = keyof typeof REASONS;
export const REASON_NAMES = Object.keys(REASONS) as readonly Reason[];

/** The reason of each answer of the store; null: the sample is in the store. */
const BY_APPENDED: Readonly<Record<Appended, Reason | null>> = {
  [APPENDED.stored]: null,
  [APPENDED.duplicate]: null,
  [APPENDED.outOfOrder]: 'out_of_order',
  [APPENDED.conflicting]: 'duplicate_timestamp',
  [APPENDED.tooOld]: 'too_old',
  [APPENDED.tooFarAhead]: 'too_far_ahead',
};

export function reasonOf(appended: Appended): Reason | null {
  return BY_APPENDED[appended];
}

/** The reason of an outcome that the store counts; null: the sample is in the store, or there was no room for it. */
export function reasonOfOutcome(outcome: number): Reason | null {
  return outcome === OUTCOME_SERIES_LIMIT ? 'series_limit' : (BY_APPENDED[outcome as Appended] ?? null);
}
