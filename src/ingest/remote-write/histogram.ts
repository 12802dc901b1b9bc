/**
 * Native histograms of remote-write, the same message in 1.0 and 2.0: decoded, judged, and written as the bytes that the
 * store keeps. Source: prometheus/prometheus, prompb/types.proto and prompb/io/prometheus/write/v2/types.proto.
 */
import { CodedError } from '../../model/errors.ts';
import {
  type Buckets,
  EMPTY_HISTOGRAM,
  encodeHistogram,
  type FloatHistogram,
  hasCustomBuckets,
  histogramFault,
  NO_BUCKETS,
  RESET_HINT,
  type ResetHint,
  SCHEMA_MAX,
} from '../../model/histogram.ts';
import { isStaleBits } from '../../model/sample.ts';
import { HISTOGRAM_BYTES_MAX } from '../../tsdb/kernel/layout.ts';
import { WIRE, WireReader } from '../protobuf.ts';
import type { Reason } from '../reasons.ts';
import { mergedTo } from './merge.ts';

export interface HistogramSample {
  readonly timestampMs: number;
  /** 0 if unknown. */
  readonly startTimestampMs: number;
  /** As model/histogram.ts writes it. */
  readonly blob: Uint8Array;
}

/** Items of one list: more than this cannot fit into a histogram that the store takes. */
const ITEMS_MAX = HISTOGRAM_BYTES_MAX;

class TooLarge extends Error {}

/** Reads one Histogram message, or says why it cannot be stored. */
export function readHistogram(message: Uint8Array): HistogramSample | Reason {
  try {
    const parts = readParts(new WireReader(message));
    if (parts.isStale) return { ...parts, blob: encodeHistogram(EMPTY_HISTOGRAM, true) };
    const histogram = histogramOf(parts);
    if (histogramFault(histogram, !parts.isFloat) !== null) return 'invalid_histogram';
    const isWide = !hasCustomBuckets(histogram) && histogram.schema > SCHEMA_MAX;
    const blob = encodeHistogram(isWide ? mergedTo(histogram, SCHEMA_MAX) : histogram);
    return blob.length > HISTOGRAM_BYTES_MAX ? 'histogram_too_large' : { ...parts, blob };
  } catch (error) {
    if (error instanceof TooLarge) return 'histogram_too_large';
    if (error instanceof CodedError && error.code === 'bad_body') return 'malformed_histogram';
    throw error;
  }
}

interface Side {
  /** Offset and length by turns. */
  readonly spans: number[];
  /** Integer histograms: the first count, then differences. */
  readonly deltas: number[];
  /** Float histograms. */
  readonly counts: number[];
}

interface Parts {
  timestampMs: number;
  startTimestampMs: number;
  isStale: boolean;
  isFloat: boolean;
  schema: number;
  hint: ResetHint;
  countInt: number;
  countFloat: number;
  zeroCountInt: number;
  zeroCountFloat: number;
  sum: number;
  zeroThreshold: number;
  readonly customValues: number[];
  readonly positive: Side;
  readonly negative: Side;
}

function readParts(reader: WireReader): Parts {
  const parts: Parts = {
    timestampMs: 0,
    startTimestampMs: 0,
    isStale: false,
    isFloat: false,
    schema: 0,
    hint: RESET_HINT.unknown,
    countInt: 0,
    countFloat: 0,
    zeroCountInt: 0,
    zeroCountFloat: 0,
    sum: 0,
    zeroThreshold: 0,
    customValues: [],
    positive: { spans: [], deltas: [], counts: [] },
    negative: { spans: [], deltas: [], counts: [] },
  };
  while (reader.next()) {
    const read = FIELDS[reader.field];
    if (read === undefined) reader.skip();
    else read(reader, parts);
  }
  return parts;
}

/** How each field is read, by its number: the same in both versions. */
const FIELDS: Readonly<Record<number, (reader: WireReader, parts: Parts) => void>> = {
  1: (reader, parts) => {
    parts.countInt = readUnsigned(reader);
    parts.isFloat = false;
  },
  2: (reader, parts) => {
    parts.countFloat = readFloat(reader);
    parts.isFloat = true;
  },
  3: (reader, parts) => {
    parts.sum = readFloat(reader);
    parts.isStale = isStaleBits(reader.low, reader.high);
  },
  4: (reader, parts) => {
    parts.schema = readSigned(reader);
  },
  5: (reader, parts) => {
    parts.zeroThreshold = readFloat(reader);
  },
  6: (reader, parts) => {
    parts.zeroCountInt = readUnsigned(reader);
  },
  7: (reader, parts) => {
    parts.zeroCountFloat = readFloat(reader);
  },
  8: (reader, parts) => readSpan(reader, parts.negative.spans),
  9: (reader, parts) => readList(reader, WIRE.varint, readSigned, parts.negative.deltas),
  10: (reader, parts) => readList(reader, WIRE.fixed64, readFloat, parts.negative.counts),
  11: (reader, parts) => readSpan(reader, parts.positive.spans),
  12: (reader, parts) => readList(reader, WIRE.varint, readSigned, parts.positive.deltas),
  13: (reader, parts) => readList(reader, WIRE.fixed64, readFloat, parts.positive.counts),
  14: (reader, parts) => {
    parts.hint = hintOf(readUnsigned(reader));
  },
  15: (reader, parts) => {
    parts.timestampMs = readInt64(reader);
  },
  16: (reader, parts) => readList(reader, WIRE.fixed64, readFloat, parts.customValues),
  17: (reader, parts) => {
    parts.startTimestampMs = readInt64(reader);
  },
};

function readSpan(reader: WireReader, spans: number[]): void {
  expectWire(reader, WIRE.bytes);
  if (spans.length >= 2 * ITEMS_MAX) throw new TooLarge();
  let offset = 0;
  let length = 0;
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) offset = readSigned(reader);
    else if (reader.field === 2) length = readUnsigned(reader);
    else reader.skip();
  }
  reader.leave(outer);
  spans.push(offset, length);
}

/** Appends the items of a repeated field to a list: packed ones, or the one that stands here. */
function readList(
  reader: WireReader,
  wireType: number,
  read: (reader: WireReader, isPacked: boolean) => number,
  list: number[],
): void {
  if (reader.wireType === wireType) {
    list.push(read(reader, false));
    if (list.length > ITEMS_MAX) throw new TooLarge();
    return;
  }
  expectWire(reader, WIRE.bytes);
  const outer = reader.enter();
  while (reader.position < reader.limit) {
    list.push(read(reader, true));
    if (list.length > ITEMS_MAX) throw new TooLarge();
  }
  reader.leave(outer);
}

function readFloat(reader: WireReader, isPacked = false): number {
  if (!isPacked) expectWire(reader, WIRE.fixed64);
  reader.readFixed64();
  scratchHalves[0] = reader.low;
  scratchHalves[1] = reader.high;
  return scratchFloat[0]!;
}

const scratchFloat = new Float64Array(1);
const scratchHalves = new Uint32Array(scratchFloat.buffer);

function readUnsigned(reader: WireReader): number {
  expectWire(reader, WIRE.varint);
  reader.readVarint();
  return reader.uint64();
}

function readInt64(reader: WireReader): number {
  expectWire(reader, WIRE.varint);
  reader.readVarint();
  return reader.int64();
}

/** A zigzag integer; rounded once where a number cannot hold it. */
function readSigned(reader: WireReader, isPacked = false): number {
  if (!isPacked) expectWire(reader, WIRE.varint);
  reader.readVarint();
  const half = (reader.high >>> 1) * 0x100000000 + (((reader.low >>> 1) | (reader.high << 31)) >>> 0);
  return (reader.low & 1) === 0 ? half : -half - 1;
}

function hintOf(value: number): ResetHint {
  return value >= RESET_HINT.unknown && value <= RESET_HINT.gauge ? (value as ResetHint) : RESET_HINT.unknown;
}

function expectWire(reader: WireReader, wireType: number): void {
  if (reader.wireType !== wireType) reader.fail(`wire type ${reader.wireType} for field ${reader.field}`);
}

function histogramOf(parts: Parts): FloatHistogram {
  return {
    schema: parts.schema,
    hint: parts.hint,
    count: parts.isFloat ? parts.countFloat : parts.countInt,
    sum: parts.sum,
    zeroThreshold: parts.zeroThreshold,
    zeroCount: parts.isFloat ? parts.zeroCountFloat : parts.zeroCountInt,
    positive: bucketsOf(parts.positive, parts.isFloat),
    negative: bucketsOf(parts.negative, parts.isFloat),
    customValues: Float64Array.from(parts.customValues),
  };
}

function bucketsOf({ spans, deltas, counts }: Side, isFloat: boolean): Buckets {
  if (spans.length === 0 && deltas.length === 0 && counts.length === 0) return NO_BUCKETS;
  if (isFloat) return { spans: Int32Array.from(spans), counts: Float64Array.from(counts) };
  let count = 0;
  const absolute = Float64Array.from(deltas, (delta) => {
    count += delta;
    return count;
  });
  return { spans: Int32Array.from(spans), counts: absolute };
}
