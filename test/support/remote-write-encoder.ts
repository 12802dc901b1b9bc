/**
 * Remote-write 1.0 bodies for tests, written apart from the decoder under test: protobufjs' writer and snappyjs.
 * Field numbers: prometheus/prometheus, prompb/remote.proto and prompb/types.proto.
 */
import protobuf from 'protobufjs/minimal.js';
import snappy from 'snappyjs';
import { type HistogramToEncode, writeHistogram } from './histogram-encoder.ts';

export interface SampleToEncode {
  /** A bigint where the exact int64 counts. */
  readonly timestampMs: number | bigint;
  readonly value: number | 'stale';
}

export interface SeriesToEncode {
  /** An object is sent in the order of its keys; pairs are sent as they are, repeated names included. */
  readonly labels: Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[];
  readonly samples: readonly SampleToEncode[];
  readonly exemplars?: number;
  /** Whole ones, or a number of broken ones. */
  readonly histograms?: number | readonly HistogramToEncode[];
}

/** A snappy-compressed WriteRequest. */
export function encodeWriteRequest(series: readonly SeriesToEncode[], metadata = 0): Uint8Array {
  return snappy.compress(encodePlainWriteRequest(series, metadata));
}

/** A WriteRequest before compression, with some entries of metadata. */
export function encodePlainWriteRequest(series: readonly SeriesToEncode[], metadata = 0): Uint8Array {
  const writer = protobuf.Writer.create();
  for (const one of series) {
    writer.uint32(tag(1, 2)).fork();
    writeTimeSeries(writer, one);
    writer.ldelim();
  }
  for (let i = 0; i < metadata; i++) {
    // 1 type, 2 metric_family_name, 4 help
    writer.uint32(tag(3, 2)).fork().uint32(tag(1, 0)).int32(1);
    writer.uint32(tag(2, 2)).string(`family_${i}`).uint32(tag(4, 2)).string('help').ldelim();
  }
  return new Uint8Array(writer.finish());
}

function writeTimeSeries(writer: protobuf.Writer, series: SeriesToEncode): void {
  const pairs = Array.isArray(series.labels) ? series.labels : Object.entries(series.labels);
  for (const [name, value] of pairs as readonly (readonly [string, string])[]) {
    writer.uint32(tag(1, 2)).fork();
    writer.uint32(tag(1, 2)).string(name).uint32(tag(2, 2)).string(value).ldelim();
  }
  for (const { timestampMs, value } of series.samples) {
    writer.uint32(tag(2, 2)).fork();
    writeDouble(writer, 1, value);
    writer
      .uint32(tag(2, 0))
      .int64(long(BigInt(timestampMs)))
      .ldelim();
  }
  for (let i = 0; i < (series.exemplars ?? 0); i++)
    writer.uint32(tag(3, 2)).fork().uint32(tag(2, 1)).double(1).ldelim();
  const { histograms = 0 } = series;
  if (typeof histograms === 'number') {
    for (let i = 0; i < histograms; i++) writer.uint32(tag(4, 2)).fork().uint32(tag(1, 0)).uint64(7).ldelim();
    return;
  }
  for (const histogram of histograms) {
    writer.uint32(tag(4, 2)).fork();
    writeHistogram(writer, histogram);
    writer.ldelim();
  }
}

/** A double field; the stale marker by its bits, which a number would not keep. */
export function writeDouble(writer: protobuf.Writer, field: number, value: number | 'stale'): void {
  writer.uint32(tag(field, 1));
  if (value === 'stale') writer.fixed64(long(0x7ff0000000000002n));
  else writer.double(value);
}

export function tag(field: number, wireType: number): number {
  return ((field << 3) | wireType) >>> 0;
}

/** A 64-bit integer in the form that protobufjs writes without rounding. */
export function long(value: bigint): protobuf.Long {
  const bits = BigInt.asUintN(64, value);
  return { low: Number(bits & 0xffffffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: true } as protobuf.Long;
}
