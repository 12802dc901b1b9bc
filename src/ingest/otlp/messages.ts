/**
 * Fields of the OTLP messages that are read, as a schema to check bodies against. Arrays are indexed by field number.
 * Source: open-telemetry/opentelemetry-proto, opentelemetry/proto/{common,resource,metrics}/v1.
 */
import { FIELD, type MessageSchema } from '../protobuf.ts';

const { varint, fixed64, bytes, fixed64s, varints } = FIELD;

function message(fields: Readonly<Record<number, MessageSchema[number]>>): MessageSchema {
  const schema: MessageSchema = [];
  for (const [number, kind] of Object.entries(fields)) schema[Number(number)] = kind;
  return schema;
}

/** oneof 1 string, 2 bool, 3 int, 4 double, 5 array, 6 list of key and value, 7 bytes. */
const ANY_VALUE = message({ 1: bytes, 2: varint, 3: varint, 4: fixed64, 7: bytes });
const KEY_VALUE = message({ 1: bytes, 2: ANY_VALUE });
ANY_VALUE[5] = message({ 1: ANY_VALUE });
ANY_VALUE[6] = message({ 1: KEY_VALUE });

/** 2 time, 3 as_double, 4 span_id, 5 trace_id, 6 as_int, 7 filtered_attributes. Checked when it is read: a point stands without it. */
export const EXEMPLAR: MessageSchema = message({
  2: fixed64,
  3: fixed64,
  4: bytes,
  5: bytes,
  6: fixed64,
  7: KEY_VALUE,
});
/** 2 start, 3 time, 4 as_double, 5 exemplars, 6 as_int, 7 attributes, 8 flags. */
export const NUMBER_POINT: MessageSchema = message({
  ...{ 2: fixed64, 3: fixed64, 4: fixed64, 5: bytes, 6: fixed64, 7: KEY_VALUE, 8: varint },
});
/** 2 start, 3 time, 4 count, 5 sum, 6 bucket_counts, 7 explicit_bounds, 8 exemplars, 9 attributes, 10 flags. */
const HISTOGRAM_POINT = message({
  ...{ 2: fixed64, 3: fixed64, 4: fixed64, 5: fixed64, 6: fixed64s, 7: fixed64s },
  ...{ 8: bytes, 9: KEY_VALUE, 10: varint },
});
/** 1 offset (zigzag), 2 bucket_counts. */
const BUCKETS = message({ 1: varint, 2: varints });
/** 1 attributes, 2 start, 3 time, 4 count, 5 sum, 6 scale (zigzag), 7 zero_count, 8 positive, 9 negative, 10 flags, 11 exemplars. */
const EXPONENTIAL_POINT = message({
  ...{ 1: KEY_VALUE, 2: fixed64, 3: fixed64, 4: fixed64, 5: fixed64, 6: varint, 7: fixed64 },
  ...{ 8: BUCKETS, 9: BUCKETS, 10: varint, 11: bytes },
});
const QUANTILE = message({ 1: fixed64, 2: fixed64 });
/** 2 start, 3 time, 4 count, 5 sum, 6 quantile_values, 7 attributes, 8 flags. */
const SUMMARY_POINT = message({
  ...{ 2: fixed64, 3: fixed64, 4: fixed64, 5: fixed64, 6: QUANTILE, 7: KEY_VALUE, 8: varint },
});

/** The field of a metric that holds its data is also its kind. */
export const KIND = { gauge: 5, sum: 7, histogram: 9, exponentialHistogram: 10, summary: 11 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

export const METRIC: MessageSchema = message({
  1: bytes,
  2: bytes,
  3: bytes,
  [KIND.gauge]: message({ 1: NUMBER_POINT }),
  [KIND.sum]: message({ 1: NUMBER_POINT, 2: varint, 3: varint }),
  [KIND.histogram]: message({ 1: HISTOGRAM_POINT, 2: varint }),
  [KIND.exponentialHistogram]: message({ 1: EXPONENTIAL_POINT, 2: varint }),
  [KIND.summary]: message({ 1: SUMMARY_POINT }),
});

export const RESOURCE: MessageSchema = message({ 1: KEY_VALUE });
/** 1 name, 2 version, 3 attributes. */
export const SCOPE: MessageSchema = message({ 1: bytes, 2: bytes, 3: KEY_VALUE });
const SCOPE_METRICS = message({ 1: SCOPE, 2: METRIC, 3: bytes });
export const RESOURCE_METRICS: MessageSchema = message({ 1: RESOURCE, 2: SCOPE_METRICS });
export const EXPORT_REQUEST = message({ 1: RESOURCE_METRICS });

export const TEMPORALITY = { unspecified: 0, delta: 1, cumulative: 2 } as const;
/** Bit of a point's flags: the series has ended. */
export const NO_RECORDED_VALUE = 1;
