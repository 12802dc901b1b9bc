/** One data point of OTLP as it lies on the wire, in a form that is filled again for each point of a request. */
import type { WireReader } from '../protobuf.ts';
import { WIRE } from '../protobuf.ts';
import { readAttribute } from './attributes.ts';
import { NO_RECORDED_VALUE } from './messages.ts';

/** A growing list of float64 values as halves of their bits, or of 64-bit integers. */
export class HalvesList {
  readonly low: number[] = [];
  readonly high: number[] = [];

  get length(): number {
    return this.low.length;
  }

  clear(): void {
    this.low.length = 0;
    this.high.length = 0;
  }

  push(low: number, high: number): void {
    this.low.push(low);
    this.high.push(high);
  }
}

export class Point {
  /** Unix times in nanoseconds, as unsigned halves; a start of 0 is unknown. */
  startLow = 0;
  startHigh = 0;
  timeLow = 0;
  timeHigh = 0;
  /** When the sample is stored, if not at the time of the point; else 0. */
  storedMs = 0;
  flags = 0;
  /** Keys and values by turns. */
  readonly attributes: string[] = [];
  validUtf8 = true;
  /** Where the length of each of its exemplars stands. */
  readonly exemplars: number[] = [];
  /** Value of a number point, as the bits of a float64. */
  hasValue = false;
  valueLow = 0;
  valueHigh = 0;
  /** Count and sum of a histogram or summary; the sum as the bits of a float64. */
  count = 0;
  hasSum = false;
  sumLow = 0;
  sumHigh = 0;
  /** Bucket counts (integers) and bounds (float64 bits) of a histogram; quantiles and their values of a summary. */
  readonly counts = new HalvesList();
  readonly bounds = new HalvesList();
  /** An exponential histogram: bucket i of a side has the index offset + i. */
  scale = 0;
  zeroCount = 0;
  positiveOffset = 0;
  negativeOffset = 0;
  positive: number[] = [];
  negative: number[] = [];

  clear(): void {
    this.startLow = 0;
    this.startHigh = 0;
    this.timeLow = 0;
    this.timeHigh = 0;
    this.storedMs = 0;
    this.flags = 0;
    this.attributes.length = 0;
    this.validUtf8 = true;
    this.exemplars.length = 0;
    this.hasValue = false;
    this.valueLow = 0;
    this.valueHigh = 0;
    this.count = 0;
    this.hasSum = false;
    this.sumLow = 0;
    this.sumHigh = 0;
    this.counts.clear();
    this.bounds.clear();
    this.scale = 0;
    this.zeroCount = 0;
    this.positiveOffset = 0;
    this.negativeOffset = 0;
    this.positive.length = 0;
    this.negative.length = 0;
  }

  get timestampMs(): number {
    return this.storedMs === 0 ? millisecondsOf(this.timeLow, this.timeHigh) : this.storedMs;
  }

  /** 0 if it is unknown, or of no use because it does not lie before the time of the point. */
  get startTimestampMs(): number {
    const startMs = millisecondsOf(this.startLow, this.startHigh);
    return startMs < this.timestampMs ? startMs : 0;
  }

  /** True if the series has ended. */
  get isStale(): boolean {
    return (this.flags & NO_RECORDED_VALUE) !== 0;
  }

  get timeUnset(): boolean {
    return this.timeLow === 0 && this.timeHigh === 0;
  }
}

/** Milliseconds since the Unix epoch, truncated; exact for every unsigned 64-bit number of nanoseconds. */
export function millisecondsOf(low: number, high: number): number {
  const rest = high % 1e6;
  return Math.floor(high / 1e6) * 0x100000000 + Math.floor((rest * 0x100000000 + low) / 1e6);
}

const scratchFloat = new Float64Array(1);
const scratchHalves = new Uint32Array(scratchFloat.buffer);

/** Reads a NumberDataPoint at this position. */
export function readNumberPoint(reader: WireReader, point: Point): void {
  point.clear();
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 2) readStart(reader, point);
    else if (reader.field === 3) readTime(reader, point);
    else if (reader.field === 4) readDoubleValue(reader, point);
    else if (reader.field === 6) readIntValue(reader, point);
    else readCommon(reader, point, 7, 8, 5);
  }
  reader.leave(outer);
}

/** Reads a HistogramDataPoint at this position. */
export function readHistogramPoint(reader: WireReader, point: Point): void {
  point.clear();
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 6) readList(reader, point.counts);
    else if (reader.field === 7) readList(reader, point.bounds);
    else if (!readTotals(reader, point)) readCommon(reader, point, 9, 10, 8);
  }
  reader.leave(outer);
}

/** Reads an ExponentialHistogramDataPoint at this position. */
export function readExponentialPoint(reader: WireReader, point: Point): void {
  point.clear();
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 6) point.scale = readZigzag(reader);
    else if (reader.field === 7) {
      reader.readFixed64();
      point.zeroCount = reader.uint64();
    } else if (reader.field === 8) point.positiveOffset = readBuckets(reader, point.positive, point.positiveOffset);
    else if (reader.field === 9) point.negativeOffset = readBuckets(reader, point.negative, point.negativeOffset);
    else if (!readTotals(reader, point)) readCommon(reader, point, 1, 10, 11);
  }
  reader.leave(outer);
}

/** Reads a Buckets message into the list; its offset, or the one known before. */
function readBuckets(reader: WireReader, counts: number[], before: number): number {
  let offset = before;
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) offset = readZigzag(reader);
    else if (reader.field === 2) readCounts(reader, counts);
    else reader.skip();
  }
  reader.leave(outer);
  return offset;
}

/** Reads one varint, or a packed list of them. */
function readCounts(reader: WireReader, counts: number[]): void {
  if (reader.wireType === WIRE.varint) {
    reader.readVarint();
    counts.push(reader.uint64());
    return;
  }
  const outer = reader.enter();
  while (reader.position < reader.limit) {
    reader.readVarint();
    counts.push(reader.uint64());
  }
  reader.leave(outer);
}

/** A sint32. */
function readZigzag(reader: WireReader): number {
  const coded = reader.readVarint();
  return (coded >>> 1) ^ -(coded & 1);
}

/** Reads a SummaryDataPoint at this position. */
export function readSummaryPoint(reader: WireReader, point: Point): void {
  point.clear();
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 6) readQuantile(reader, point);
    else if (!readTotals(reader, point)) readCommon(reader, point, 7, 8, -1);
  }
  reader.leave(outer);
  // The sum of a summary is no optional field: absent from the wire means 0.
  point.hasSum = true;
}

function readStart(reader: WireReader, point: Point): void {
  reader.readFixed64();
  point.startLow = reader.low;
  point.startHigh = reader.high;
}

function readTime(reader: WireReader, point: Point): void {
  reader.readFixed64();
  point.timeLow = reader.low;
  point.timeHigh = reader.high;
}

function readDoubleValue(reader: WireReader, point: Point): void {
  reader.readFixed64();
  point.hasValue = true;
  point.valueLow = reader.low;
  point.valueHigh = reader.high;
}

function readIntValue(reader: WireReader, point: Point): void {
  reader.readFixed64();
  scratchFloat[0] = reader.int64();
  point.hasValue = true;
  point.valueLow = scratchHalves[0]!;
  point.valueHigh = scratchHalves[1]!;
}

/** Time, count and sum, which histograms and summaries have under the same numbers. */
function readTotals(reader: WireReader, point: Point): boolean {
  if (reader.field === 2) readStart(reader, point);
  else if (reader.field === 3) readTime(reader, point);
  else if (reader.field === 4) {
    reader.readFixed64();
    point.count = reader.uint64();
  } else if (reader.field === 5) {
    reader.readFixed64();
    point.hasSum = true;
    point.sumLow = reader.low;
    point.sumHigh = reader.high;
  } else return false;
  return true;
}

function readCommon(reader: WireReader, point: Point, attributes: number, flags: number, exemplars: number): void {
  if (reader.field === attributes) point.validUtf8 = readAttribute(reader, point.attributes) && point.validUtf8;
  else if (reader.field === flags) point.flags = reader.readVarint();
  else {
    if (reader.field === exemplars) point.exemplars.push(reader.position);
    reader.skip();
  }
}

/** Reads one value, or a packed list of them. */
function readList(reader: WireReader, list: HalvesList): void {
  if (reader.wireType === WIRE.fixed64) {
    reader.readFixed64();
    list.push(reader.low, reader.high);
    return;
  }
  const outer = reader.enter();
  while (reader.position < reader.limit) {
    reader.readFixed64();
    list.push(reader.low, reader.high);
  }
  reader.leave(outer);
}

function readQuantile(reader: WireReader, point: Point): void {
  let [quantileLow, quantileHigh, valueLow, valueHigh] = [0, 0, 0, 0];
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field !== 1 && reader.field !== 2) {
      reader.skip();
      continue;
    }
    reader.readFixed64();
    if (reader.field === 1) [quantileLow, quantileHigh] = [reader.low, reader.high];
    else [valueLow, valueHigh] = [reader.low, reader.high];
  }
  reader.leave(outer);
  point.bounds.push(quantileLow, quantileHigh);
  point.counts.push(valueLow, valueHigh);
}
