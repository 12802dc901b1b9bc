/**
 * OTLP as JSON: the same messages in protobuf's JSON mapping, with the exceptions that OTLP makes, written as protobuf. So
 * there is one decoder, and what is known by its bytes is known in either form.
 *
 * Names are lowerCamelCase only. 64-bit integers are strings or numbers, enums are integers, trace and span ids are hex,
 * other bytes base64, doubles may be "NaN", "Infinity" and "-Infinity", null is absent, and unknown fields are ignored.
 * Source: open-telemetry/opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding".
 */
import protobuf from 'protobufjs/minimal.js';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';

type Scalar =
  | 'string'
  | 'bool'
  | 'double'
  | 'int64'
  | 'uint64'
  | 'fixed64'
  | 'sfixed64'
  | 'uint32'
  | 'sint32'
  | 'enum'
  | 'base64'
  | 'hex';

interface Field {
  readonly number: number;
  readonly type: Scalar | (() => Message);
  readonly isList: boolean;
}

type Message = Readonly<Record<string, Field>>;

function one(number: number, type: Field['type']): Field {
  return { number, type, isList: false };
}

function list(number: number, type: Field['type']): Field {
  return { number, type, isList: true };
}

const ANY_VALUE: Message = {
  stringValue: one(1, 'string'),
  boolValue: one(2, 'bool'),
  intValue: one(3, 'int64'),
  doubleValue: one(4, 'double'),
  arrayValue: one(5, () => ({ values: list(1, () => ANY_VALUE) })),
  kvlistValue: one(6, () => ({ values: list(1, () => KEY_VALUE) })),
  bytesValue: one(7, 'base64'),
};
const KEY_VALUE: Message = { key: one(1, 'string'), value: one(2, () => ANY_VALUE) };
const attributes = (number: number): Field => list(number, () => KEY_VALUE);

const EXEMPLAR: Message = {
  filteredAttributes: attributes(7),
  timeUnixNano: one(2, 'fixed64'),
  asDouble: one(3, 'double'),
  asInt: one(6, 'sfixed64'),
  spanId: one(4, 'hex'),
  traceId: one(5, 'hex'),
};
const NUMBER_POINT: Message = {
  startTimeUnixNano: one(2, 'fixed64'),
  timeUnixNano: one(3, 'fixed64'),
  asDouble: one(4, 'double'),
  exemplars: list(5, () => EXEMPLAR),
  asInt: one(6, 'sfixed64'),
  attributes: attributes(7),
  flags: one(8, 'uint32'),
};
const HISTOGRAM_POINT: Message = {
  startTimeUnixNano: one(2, 'fixed64'),
  timeUnixNano: one(3, 'fixed64'),
  count: one(4, 'fixed64'),
  sum: one(5, 'double'),
  bucketCounts: list(6, 'fixed64'),
  explicitBounds: list(7, 'double'),
  exemplars: list(8, () => EXEMPLAR),
  attributes: attributes(9),
  flags: one(10, 'uint32'),
  min: one(11, 'double'),
  max: one(12, 'double'),
};
const BUCKETS: Message = { offset: one(1, 'sint32'), bucketCounts: list(2, 'uint64') };
const EXPONENTIAL_POINT: Message = {
  attributes: attributes(1),
  startTimeUnixNano: one(2, 'fixed64'),
  timeUnixNano: one(3, 'fixed64'),
  count: one(4, 'fixed64'),
  sum: one(5, 'double'),
  scale: one(6, 'sint32'),
  zeroCount: one(7, 'fixed64'),
  positive: one(8, () => BUCKETS),
  negative: one(9, () => BUCKETS),
  flags: one(10, 'uint32'),
  exemplars: list(11, () => EXEMPLAR),
  min: one(12, 'double'),
  max: one(13, 'double'),
  zeroThreshold: one(14, 'double'),
};
const QUANTILE: Message = { quantile: one(1, 'double'), value: one(2, 'double') };
const SUMMARY_POINT: Message = {
  startTimeUnixNano: one(2, 'fixed64'),
  timeUnixNano: one(3, 'fixed64'),
  count: one(4, 'fixed64'),
  sum: one(5, 'double'),
  quantileValues: list(6, () => QUANTILE),
  attributes: attributes(7),
  flags: one(8, 'uint32'),
};
const pointsOf = (point: Message): Message => ({
  dataPoints: list(1, () => point),
  aggregationTemporality: one(2, 'enum'),
});
const GAUGE: Message = { dataPoints: list(1, () => NUMBER_POINT) };
const SUM: Message = { ...pointsOf(NUMBER_POINT), isMonotonic: one(3, 'bool') };
const HISTOGRAM = pointsOf(HISTOGRAM_POINT);
const EXPONENTIAL = pointsOf(EXPONENTIAL_POINT);
const SUMMARY: Message = { dataPoints: list(1, () => SUMMARY_POINT) };
const METRIC: Message = {
  name: one(1, 'string'),
  description: one(2, 'string'),
  unit: one(3, 'string'),
  gauge: one(5, () => GAUGE),
  sum: one(7, () => SUM),
  histogram: one(9, () => HISTOGRAM),
  exponentialHistogram: one(10, () => EXPONENTIAL),
  summary: one(11, () => SUMMARY),
  metadata: attributes(12),
};
const SCOPE: Message = {
  name: one(1, 'string'),
  version: one(2, 'string'),
  attributes: attributes(3),
  droppedAttributesCount: one(4, 'uint32'),
};
const SCOPE_METRICS: Message = {
  scope: one(1, () => SCOPE),
  metrics: list(2, () => METRIC),
  schemaUrl: one(3, 'string'),
};
const RESOURCE: Message = { attributes: attributes(1), droppedAttributesCount: one(2, 'uint32') };
const RESOURCE_METRICS: Message = {
  resource: one(1, () => RESOURCE),
  scopeMetrics: list(2, () => SCOPE_METRICS),
  schemaUrl: one(3, 'string'),
};
const EXPORT_REQUEST: Message = { resourceMetrics: list(1, () => RESOURCE_METRICS) };

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The bytes of an ExportMetricsServiceRequest that came as JSON. Throws `bad_body`. */
export function exportRequestFromJson(body: Uint8Array): Uint8Array {
  const writer = protobuf.Writer.create();
  writeMessage(writer, parse(body), EXPORT_REQUEST, '', 0);
  return writer.finish();
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body));
  } catch (cause) {
    throw new CodedError('bad_body', `cannot decode body as JSON: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

/** The fields of a message in the order of the schema, which is that of their numbers where points are concerned. */
function writeMessage(writer: protobuf.Writer, value: unknown, message: Message, path: string, depth: number): void {
  if (depth > LIMITS.bodyDepthMax)
    throw new CodedError('bad_body', `cannot decode body: messages nested deeper than ${LIMITS.bodyDepthMax}`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(path, value, 'an object');
  const object = value as Readonly<Record<string, unknown>>;
  for (const name in message) {
    if (!Object.hasOwn(object, name)) continue;
    const field = message[name]!;
    const given = object[name];
    if (given === null || given === undefined) continue;
    const where = path === '' ? name : `${path}.${name}`;
    if (!field.isList) writeField(writer, given, field, where, depth);
    else if (!Array.isArray(given)) fail(where, given, 'an array');
    else for (const element of given as unknown[]) writeField(writer, element, field, where, depth);
  }
}

function writeField(
  writer: protobuf.Writer,
  value: unknown,
  { number, type }: Field,
  path: string,
  depth: number,
): void {
  if (typeof type === 'function') {
    writer.uint32((number << 3) | 2).fork();
    // An element of a list that is null stands for an empty message.
    writeMessage(writer, value ?? {}, type(), path, depth + 1);
    writer.ldelim();
    return;
  }
  writeScalar(writer, value, number << 3, type, path);
}

function writeScalar(writer: protobuf.Writer, value: unknown, tag: number, type: Scalar, path: string): void {
  switch (type) {
    case 'string':
      if (typeof value !== 'string') fail(path, value, 'a string');
      writer.uint32(tag | 2).string(value as string);
      return;
    case 'bool':
      if (typeof value !== 'boolean') fail(path, value, 'true or false');
      writer.uint32(tag).bool(value as boolean);
      return;
    case 'double':
      writer.uint32(tag | 1).double(doubleOf(value, path));
      return;
    case 'int64':
      writer.uint32(tag).int64(long(integerOf(value, path, -(2n ** 63n), 2n ** 63n - 1n)));
      return;
    case 'uint64':
      writer.uint32(tag).uint64(long(integerOf(value, path, 0n, 2n ** 64n - 1n)));
      return;
    case 'fixed64':
      writer.uint32(tag | 1).fixed64(long(integerOf(value, path, 0n, 2n ** 64n - 1n)));
      return;
    case 'sfixed64':
      writer.uint32(tag | 1).fixed64(long(integerOf(value, path, -(2n ** 63n), 2n ** 63n - 1n)));
      return;
    case 'uint32':
      writer.uint32(tag).uint32(Number(integerOf(value, path, 0n, 2n ** 32n - 1n)));
      return;
    case 'sint32':
      writer.uint32(tag).sint32(Number(integerOf(value, path, -(2n ** 31n), 2n ** 31n - 1n)));
      return;
    case 'enum':
      writer.uint32(tag).int32(Number(integerOf(value, path, -(2n ** 31n), 2n ** 31n - 1n)));
      return;
    case 'base64':
      writer.uint32(tag | 2).bytes(bytesOf(value, path, /^[A-Za-z0-9+/_-]*={0,2}$/, 'base64'));
      return;
    case 'hex':
      writer.uint32(tag | 2).bytes(bytesOf(value, path, /^(?:[0-9a-fA-F]{2})*$/, 'hex'));
  }
}

function doubleOf(value: unknown, path: string): number {
  if (typeof value === 'number') return value;
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return Number(value);
  // Numbers as text are legal in protobuf's mapping.
  if (typeof value === 'string' && /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(value)) return Number(value);
  return fail(path, value, 'a number, "NaN", "Infinity" or "-Infinity"');
}

function integerOf(value: unknown, path: string, least: bigint, most: bigint): bigint {
  const isInteger =
    typeof value === 'number' ? Number.isInteger(value) : typeof value === 'string' && /^-?\d{1,20}$/.test(value);
  const integer = isInteger ? BigInt(value as number | string) : null;
  if (integer === null || integer < least || integer > most)
    return fail(path, value, `an integer from ${least} to ${most}, or one as a string`);
  return integer;
}

function bytesOf(value: unknown, path: string, form: RegExp, encoding: 'base64' | 'hex'): Uint8Array {
  if (typeof value !== 'string' || !form.test(value)) return fail(path, value, `a string of ${encoding}`);
  return Buffer.from(value, encoding);
}

/** What protobufjs takes for a 64-bit integer without a library for them. */
function long(value: bigint): protobuf.Long {
  const bits = BigInt.asUintN(64, value);
  return { low: Number(bits & 0xffffffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: true } as protobuf.Long;
}

/** Characters of a wrong value that a message quotes. */
const QUOTED_LENGTH_MAX = 100;

function fail(path: string, got: unknown, want: string): never {
  const text = JSON.stringify(got) ?? String(got);
  const quoted = text.length <= QUOTED_LENGTH_MAX ? text : `${text.slice(0, QUOTED_LENGTH_MAX)}…`;
  throw new CodedError('bad_body', `cannot decode body: ${path === '' ? 'it' : path} is ${quoted}, want ${want}`);
}
