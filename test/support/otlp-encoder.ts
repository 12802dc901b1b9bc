/**
 * OTLP metric bodies for tests, written apart from the decoder under test, with protobufjs' writer.
 * Field numbers: open-telemetry/opentelemetry-proto, metrics/v1/metrics.proto and common/v1/common.proto.
 */
import protobuf from 'protobufjs/minimal.js';
import { long, tag, writeDouble } from './remote-write-encoder.ts';

export type AttributeValue =
  | string
  | boolean
  | number
  | bigint
  | Uint8Array
  | readonly AttributeValue[]
  | { readonly [key: string]: AttributeValue }
  | null;
export type Attributes = Readonly<Record<string, AttributeValue>> | readonly (readonly [string, AttributeValue])[];

export interface PointToEncode {
  readonly attributes?: Attributes;
  /** Milliseconds; a bigint is nanoseconds. */
  readonly time: number | bigint;
  /** Start of a sum, in the same units. */
  readonly start?: number | bigint;
  readonly flags?: number;
  /** So many without a time, which nobody keeps; or these. */
  readonly exemplars?: number | readonly ExemplarToEncode[];
  /** Number points: a bigint is sent as_int. */
  readonly value?: number | bigint;
  readonly count?: number | bigint;
  readonly sum?: number;
  readonly bucketCounts?: readonly (number | bigint)[];
  readonly explicitBounds?: readonly number[];
  /** Lists one field a value instead of packed. */
  readonly unpacked?: boolean;
  readonly quantiles?: readonly (readonly [quantile: number, value: number])[];
  readonly scale?: number;
  readonly zeroCount?: number;
  readonly positive?: BucketsToEncode;
  readonly negative?: BucketsToEncode;
}

export interface ExemplarToEncode {
  readonly time: number;
  /** A bigint is sent as_int. */
  readonly value: number | bigint;
  readonly traceId?: Uint8Array;
  readonly spanId?: Uint8Array;
  readonly attributes?: Attributes;
}

export interface BucketsToEncode {
  readonly offset: number;
  readonly counts: readonly (number | bigint)[];
}

export interface MetricToEncode {
  readonly name: string;
  readonly unit?: string;
  readonly description?: string;
  readonly kind: 'gauge' | 'sum' | 'histogram' | 'exponential_histogram' | 'summary';
  readonly temporality?: 'unspecified' | 'delta' | 'cumulative';
  readonly monotonic?: boolean;
  readonly points: readonly PointToEncode[];
}

export interface ResourceToEncode {
  readonly attributes?: Attributes;
  readonly metrics: readonly MetricToEncode[];
  readonly scope?: { readonly name: string; readonly version?: string; readonly attributes?: Attributes };
  readonly schemaUrl?: string;
  /** Puts a field in front that nobody knows: then nothing is recognised by its bytes. */
  readonly unknownField?: boolean;
}

const KINDS = { gauge: 5, sum: 7, histogram: 9, exponential_histogram: 10, summary: 11 } as const;
const TEMPORALITIES = ['unspecified', 'delta', 'cumulative'] as const;

/** An ExportMetricsServiceRequest, not compressed. */
export function encodeExportRequest(resources: readonly ResourceToEncode[]): Uint8Array {
  const writer = protobuf.Writer.create();
  for (const { attributes, metrics, scope, schemaUrl, unknownField } of resources) {
    writer.uint32(tag(1, 2)).fork();
    if (unknownField) writer.uint32(tag(99, 0)).uint32(1);
    writer.uint32(tag(1, 2)).fork();
    writeAttributes(writer, 1, attributes);
    writer.ldelim();
    writer.uint32(tag(2, 2)).fork();
    // 1 scope { 1 name, 2 version, 3 attributes }, 2 metrics, 3 schema URL
    writer
      .uint32(tag(1, 2))
      .fork()
      .uint32(tag(1, 2))
      .string(scope?.name ?? 'test-scope');
    if (scope?.version !== undefined) writer.uint32(tag(2, 2)).string(scope.version);
    writeAttributes(writer, 3, scope?.attributes);
    writer.ldelim();
    for (const metric of metrics) writeMetric(writer, metric);
    if (schemaUrl !== undefined) writer.uint32(tag(3, 2)).string(schemaUrl);
    writer.ldelim().ldelim();
  }
  return new Uint8Array(writer.finish());
}

function writeMetric(writer: protobuf.Writer, metric: MetricToEncode): void {
  writer.uint32(tag(2, 2)).fork();
  writer.uint32(tag(1, 2)).string(metric.name);
  if (metric.description !== undefined) writer.uint32(tag(2, 2)).string(metric.description);
  if (metric.unit !== undefined) writer.uint32(tag(3, 2)).string(metric.unit);
  writer.uint32(tag(KINDS[metric.kind], 2)).fork();
  for (const point of metric.points) {
    writer.uint32(tag(1, 2)).fork();
    if (metric.kind === 'gauge' || metric.kind === 'sum') writeNumberPoint(writer, point);
    else if (metric.kind === 'summary') writeSummaryPoint(writer, point);
    else if (metric.kind === 'exponential_histogram') writeExponentialPoint(writer, point);
    else writeHistogramPoint(writer, point);
    writer.ldelim();
  }
  const temporality = TEMPORALITIES.indexOf(metric.temporality ?? 'cumulative');
  if (temporality > 0 && metric.kind !== 'gauge' && metric.kind !== 'summary')
    writer.uint32(tag(2, 0)).int32(temporality);
  if (metric.monotonic) writer.uint32(tag(3, 0)).bool(true);
  writer.ldelim().ldelim();
}

function writeNumberPoint(writer: protobuf.Writer, point: PointToEncode): void {
  writeTime(writer, point);
  if (typeof point.value === 'bigint') writer.uint32(tag(6, 1)).fixed64(long(point.value));
  else if (point.value !== undefined) writeDouble(writer, 4, point.value);
  writeExemplars(writer, 5, point);
  writeAttributes(writer, 7, point.attributes);
  if (point.flags) writer.uint32(tag(8, 0)).uint32(point.flags);
}

function writeHistogramPoint(writer: protobuf.Writer, point: PointToEncode): void {
  writeTime(writer, point);
  writer.uint32(tag(4, 1)).fixed64(long(BigInt(point.count ?? 0)));
  if (point.sum !== undefined) writeDouble(writer, 5, point.sum);
  writeList(
    writer,
    6,
    point,
    (point.bucketCounts ?? []).map((count) => () => writer.fixed64(long(BigInt(count)))),
  );
  writeList(
    writer,
    7,
    point,
    (point.explicitBounds ?? []).map((bound) => () => writer.double(bound)),
  );
  writeExemplars(writer, 8, point);
  writeAttributes(writer, 9, point.attributes);
  if (point.flags) writer.uint32(tag(10, 0)).uint32(point.flags);
}

function writeSummaryPoint(writer: protobuf.Writer, point: PointToEncode): void {
  writeTime(writer, point);
  writer.uint32(tag(4, 1)).fixed64(long(BigInt(point.count ?? 0)));
  if (point.sum !== undefined) writeDouble(writer, 5, point.sum);
  for (const [quantile, value] of point.quantiles ?? []) {
    writer.uint32(tag(6, 2)).fork();
    writeDouble(writer, 1, quantile);
    writeDouble(writer, 2, value);
    writer.ldelim();
  }
  writeAttributes(writer, 7, point.attributes);
  if (point.flags) writer.uint32(tag(8, 0)).uint32(point.flags);
}

function writeExponentialPoint(writer: protobuf.Writer, point: PointToEncode): void {
  writeAttributes(writer, 1, point.attributes);
  writeTime(writer, point);
  writer.uint32(tag(4, 1)).fixed64(long(BigInt(point.count ?? 0)));
  if (point.sum !== undefined) writeDouble(writer, 5, point.sum);
  if (point.scale) writer.uint32(tag(6, 0)).sint32(point.scale);
  writer.uint32(tag(7, 1)).fixed64(long(BigInt(point.zeroCount ?? 0)));
  for (const [field, buckets] of [[8, point.positive] as const, [9, point.negative] as const]) {
    if (buckets === undefined) continue;
    writer.uint32(tag(field, 2)).fork().uint32(tag(1, 0)).sint32(buckets.offset);
    if (!point.unpacked) writer.uint32(tag(2, 2)).fork();
    for (const count of buckets.counts) {
      if (point.unpacked) writer.uint32(tag(2, 0));
      writer.uint64(long(BigInt(count)));
    }
    if (!point.unpacked) writer.ldelim();
    writer.ldelim();
  }
  if (point.flags) writer.uint32(tag(10, 0)).uint32(point.flags);
  writeExemplars(writer, 11, point);
}

function writeTime(writer: protobuf.Writer, { start, time }: PointToEncode): void {
  const startNs = typeof start === 'bigint' ? start : BigInt(start ?? 0) * 1_000_000n;
  if (startNs !== 0n) writer.uint32(tag(2, 1)).fixed64(long(startNs));
  const nanoseconds = typeof time === 'bigint' ? time : BigInt(time) * 1_000_000n;
  if (nanoseconds !== 0n) writer.uint32(tag(3, 1)).fixed64(long(nanoseconds));
}

function writeExemplars(writer: protobuf.Writer, field: number, { exemplars }: PointToEncode): void {
  if (typeof exemplars !== 'object') {
    for (let i = 0; i < (exemplars ?? 0); i++) writer.uint32(tag(field, 2)).fork().uint32(tag(3, 1)).double(1).ldelim();
    return;
  }
  // 2 time, 3 as_double, 4 span_id, 5 trace_id, 6 as_int, 7 filtered_attributes
  for (const { time, value, traceId, spanId, attributes } of exemplars) {
    writer.uint32(tag(field, 2)).fork();
    writeAttributes(writer, 7, attributes);
    writer.uint32(tag(2, 1)).fixed64(long(BigInt(time) * 1_000_000n));
    if (typeof value === 'bigint') writer.uint32(tag(6, 1)).fixed64(long(value));
    else writeDouble(writer, 3, value);
    if (spanId !== undefined) writer.uint32(tag(4, 2)).bytes(spanId);
    if (traceId !== undefined) writer.uint32(tag(5, 2)).bytes(traceId);
    writer.ldelim();
  }
}

function writeList(
  writer: protobuf.Writer,
  field: number,
  { unpacked }: PointToEncode,
  values: readonly (() => unknown)[],
): void {
  if (values.length === 0) return;
  if (!unpacked) writer.uint32(tag(field, 2)).fork();
  for (const write of values) {
    if (unpacked) writer.uint32(tag(field, 1));
    write();
  }
  if (!unpacked) writer.ldelim();
}

function writeAttributes(writer: protobuf.Writer, field: number, attributes: Attributes | undefined): void {
  const pairs = Array.isArray(attributes) ? attributes : Object.entries(attributes ?? {});
  for (const [key, value] of pairs as readonly (readonly [string, AttributeValue])[]) {
    writer.uint32(tag(field, 2)).fork().uint32(tag(1, 2)).string(key).uint32(tag(2, 2)).fork();
    writeAnyValue(writer, value);
    writer.ldelim().ldelim();
  }
}

/** 1 string, 2 bool, 3 int, 4 double, 5 array, 6 key-value list, 7 bytes; an integer number is an int. */
function writeAnyValue(writer: protobuf.Writer, value: AttributeValue): void {
  if (value === null) return;
  if (typeof value === 'string') writer.uint32(tag(1, 2)).string(value);
  else if (typeof value === 'boolean') writer.uint32(tag(2, 0)).bool(value);
  else if (typeof value === 'bigint' || Number.isSafeInteger(value))
    writer.uint32(tag(3, 0)).int64(long(BigInt(value as bigint)));
  else if (typeof value === 'number') writer.uint32(tag(4, 1)).double(value);
  else if (value instanceof Uint8Array) writer.uint32(tag(7, 2)).bytes(value);
  else if (Array.isArray(value)) {
    writer.uint32(tag(5, 2)).fork();
    for (const element of value as readonly AttributeValue[]) {
      writer.uint32(tag(1, 2)).fork();
      writeAnyValue(writer, element);
      writer.ldelim();
    }
    writer.ldelim();
  } else {
    writer.uint32(tag(6, 2)).fork();
    writeAttributes(writer, 1, value as Attributes);
    writer.ldelim();
  }
}
