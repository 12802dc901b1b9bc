/**
 * The messages of KEDA's external scaler and of gRPC's health service as bytes; external-scaler.proto has their fields.
 * Requests are bounded: by the server in bytes, here in keys.
 */
import protobuf from 'protobufjs/minimal.js';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';

/** Who asks: a ScaledObject or ScaledJob and one of its triggers. */
export interface ScaledObjectRef {
  readonly name: string;
  readonly namespace: string;
  readonly metadata: ReadonlyMap<string, string>;
}

export interface MetricsRequest {
  readonly ref: ScaledObjectRef;
  readonly metricName: string;
}

/** A number under a name, as KEDA takes it: exact, and rounded up for clients that know only integers. */
export interface NamedNumber {
  readonly name: string;
  readonly value: number;
}

/** Serving states of grpc.health.v1. */
export const HEALTH = { serving: 1, notServing: 2, serviceUnknown: 3 } as const;
export type Health = (typeof HEALTH)[keyof typeof HEALTH];

export function decodeScaledObjectRef(bytes: Uint8Array): ScaledObjectRef {
  return decode('ScaledObjectRef', bytes, readScaledObjectRef);
}

export function decodeMetricsRequest(bytes: Uint8Array): MetricsRequest {
  return decode('GetMetricsRequest', bytes, (reader) => {
    let ref: ScaledObjectRef = { name: '', namespace: '', metadata: new Map() };
    let metricName = '';
    forEachField(reader, reader.len, (tag) => {
      if (tag === LENGTH_DELIMITED(1)) ref = readScaledObjectRef(reader, reader.uint32() + reader.pos);
      else if (tag === LENGTH_DELIMITED(2)) metricName = reader.string();
      else return false;
      return true;
    });
    return { ref, metricName };
  });
}

export function decodeHealthService(bytes: Uint8Array): string {
  return decode('HealthCheckRequest', bytes, (reader) => {
    let service = '';
    forEachField(reader, reader.len, (tag) => {
      if (tag !== LENGTH_DELIMITED(1)) return false;
      service = reader.string();
      return true;
    });
    return service;
  });
}

/** GetMetricSpecResponse with one spec; GetMetricsResponse has the same fields, so this serves both. */
export function encodeNamedNumber({ name, value }: NamedNumber): Buffer {
  const writer = protobuf.Writer.create().uint32(LENGTH_DELIMITED(1)).fork();
  writer.uint32(LENGTH_DELIMITED(1)).string(name);
  writer.uint32(VARINT(2)).int64(ceilInt64(value));
  writer.uint32(FIXED64(3)).double(value);
  return Buffer.from(writer.ldelim().finish());
}

export function encodeIsActive(active: boolean): Buffer {
  return Buffer.from(protobuf.Writer.create().uint32(VARINT(1)).bool(active).finish());
}

export function encodeHealth(health: Health): Buffer {
  return Buffer.from(protobuf.Writer.create().uint32(VARINT(1)).int32(health).finish());
}

const VARINT = (field: number): number => field << 3;
const FIXED64 = (field: number): number => (field << 3) | 1;
const LENGTH_DELIMITED = (field: number): number => (field << 3) | 2;

function decode<T>(what: string, bytes: Uint8Array, read: (reader: protobuf.Reader, end: number) => T): T {
  const reader = protobuf.Reader.create(bytes);
  try {
    return read(reader, reader.len);
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError('bad_body', `cannot decode ${what} of ${bytes.length} bytes: ${detail}`, { cause });
  }
}

/** Calls `take` with each field's tag; what it does not take is skipped. */
function forEachField(reader: protobuf.Reader, end: number, take: (tag: number) => boolean): void {
  if (end > reader.len) throw new RangeError('a nested message runs past the end');
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (!take(tag)) reader.skipType(tag & 7);
  }
  if (reader.pos !== end) throw new RangeError('a field runs past the end of its message');
}

function readScaledObjectRef(reader: protobuf.Reader, end: number): ScaledObjectRef {
  let name = '';
  let namespace = '';
  const metadata = new Map<string, string>();
  forEachField(reader, end, (tag) => {
    if (tag === LENGTH_DELIMITED(1)) name = reader.string();
    else if (tag === LENGTH_DELIMITED(2)) namespace = reader.string();
    else if (tag === LENGTH_DELIMITED(3)) readEntry(reader, metadata);
    else return false;
    return true;
  });
  return { name, namespace, metadata };
}

function readEntry(reader: protobuf.Reader, into: Map<string, string>): void {
  let key = '';
  let value = '';
  forEachField(reader, reader.uint32() + reader.pos, (tag) => {
    if (tag === LENGTH_DELIMITED(1)) key = reader.string();
    else if (tag === LENGTH_DELIMITED(2)) value = reader.string();
    else return false;
    return true;
  });
  into.set(key, value);
  if (into.size > LIMITS.kedaMetadataKeysMax) {
    throw new CodedError(
      'bad_metadata',
      `cannot take trigger metadata: got more than ${LIMITS.kedaMetadataKeysMax} keys`,
    );
  }
}

/** Rounded up and held within 64 bits on either side, as two halves (a double does not reach 2^63 - 1). */
function ceilInt64(value: number): { low: number; high: number; unsigned: boolean } {
  const max = 2n ** 63n - 1n;
  const ceiled = value >= 2 ** 63 ? max : BigInt(Math.ceil(Math.max(value, -(2 ** 63))));
  return { low: Number(ceiled & 0xffffffffn), high: Number((ceiled >> 32n) & 0xffffffffn), unsigned: false };
}
