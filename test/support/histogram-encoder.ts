/** Native histograms as remote-write messages, the same in 1.0 and 2.0, for the encoders of tests. */
import type protobuf from 'protobufjs/minimal.js';
import { long, tag, writeDouble } from './remote-write-encoder.ts';

export type Span = readonly [offset: number, length: number];

/** `deltas` and whole counts for an integer histogram; `counts` and `count` with `isFloat` for a float one. */
export interface HistogramToEncode {
  readonly timestampMs: number;
  readonly startTimestampMs?: number;
  readonly isFloat?: boolean;
  readonly count?: number;
  readonly sum?: number | 'stale';
  readonly schema?: number;
  readonly zeroThreshold?: number;
  readonly zeroCount?: number;
  readonly positiveSpans?: readonly Span[];
  readonly positive?: readonly number[];
  readonly negativeSpans?: readonly Span[];
  readonly negative?: readonly number[];
  readonly resetHint?: number;
  readonly customValues?: readonly number[];
  /** Lists an item at a time. */
  readonly unpacked?: boolean;
}

/** The fields of a Histogram message. `positive` and `negative` are deltas, or counts of a float histogram. */
export function writeHistogram(writer: protobuf.Writer, histogram: HistogramToEncode): void {
  const { isFloat = false, count = 0, sum = 0, schema = 0, zeroCount = 0, unpacked = false } = histogram;
  if (isFloat) writeDouble(writer, 2, count);
  else writer.uint32(tag(1, 0)).uint64(long(BigInt(count)));
  writeDouble(writer, 3, sum);
  writer.uint32(tag(4, 0)).sint32(schema);
  writeDouble(writer, 5, histogram.zeroThreshold ?? 0);
  if (isFloat) writeDouble(writer, 7, zeroCount);
  else writer.uint32(tag(6, 0)).uint64(long(BigInt(zeroCount)));
  writeSpans(writer, 8, histogram.negativeSpans ?? []);
  writeCounts(writer, isFloat ? 10 : 9, histogram.negative ?? [], isFloat, unpacked);
  writeSpans(writer, 11, histogram.positiveSpans ?? []);
  writeCounts(writer, isFloat ? 13 : 12, histogram.positive ?? [], isFloat, unpacked);
  if (histogram.resetHint !== undefined) writer.uint32(tag(14, 0)).int32(histogram.resetHint);
  writer.uint32(tag(15, 0)).int64(long(BigInt(histogram.timestampMs)));
  writeCounts(writer, 16, histogram.customValues ?? [], true, unpacked);
  if (histogram.startTimestampMs !== undefined)
    writer.uint32(tag(17, 0)).int64(long(BigInt(histogram.startTimestampMs)));
}

function writeSpans(writer: protobuf.Writer, field: number, spans: readonly Span[]): void {
  for (const [offset, length] of spans) {
    writer.uint32(tag(field, 2)).fork();
    writer.uint32(tag(1, 0)).sint32(offset).uint32(tag(2, 0)).uint32(length).ldelim();
  }
}

function writeCounts(
  writer: protobuf.Writer,
  field: number,
  values: readonly number[],
  isDouble: boolean,
  unpacked: boolean,
): void {
  if (values.length === 0) return;
  const write = (value: number) => (isDouble ? writer.double(value) : writer.sint64(value));
  if (unpacked) {
    for (const value of values) {
      writer.uint32(tag(field, isDouble ? 1 : 0));
      write(value);
    }
    return;
  }
  writer.uint32(tag(field, 2)).fork();
  for (const value of values) write(value);
  writer.ldelim();
}
