/** One data point of OTLP as it lies on the wire, in a form that is filled again for each point of a request. */
import type { WireReader } from '../protobuf.ts';
import { WIRE } from '../protobuf.ts';
import { readAttribute } from './attributes.ts';

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
  /** Unix time in nanoseconds, as unsigned halves. */
  timeLow = 0;
  timeHigh = 0;
  flags = 0;
  /** Keys and values by turns. */
  readonly attributes: string[] = [];
  validUtf8 = true;
  exemplars = 0;
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

  clear(): void {
    this.timeLow = 0;
    this.timeHigh = 0;
    this.flags = 0;
    this.attributes.length = 0;
    this.validUtf8 = true;
    this.exemplars = 0;
    this.hasValue = false;
    this.valueLow = 0;
    this.valueHigh = 0;
    this.count = 0;
    this.hasSum = false;
    this.sumLow = 0;
    this.sumHigh = 0;
    this.counts.clear();
    this.bounds.clear();
  }

  /** Milliseconds since the Unix epoch, truncated; exact for every unsigned 64-bit number of nanoseconds. */
  get timestampMs(): number {
    const rest = this.timeHigh % 1e6;
    return Math.floor(this.timeHigh / 1e6) * 0x100000000 + Math.floor((rest * 0x100000000 + this.timeLow) / 1e6);
  }

  get timeUnset(): boolean {
    return this.timeLow === 0 && this.timeHigh === 0;
  }
}

const scratchFloat = new Float64Array(1);
const scratchHalves = new Uint32Array(scratchFloat.buffer);

/** Reads a NumberDataPoint at this position. */
export function readNumberPoint(reader: WireReader, point: Point): void {
  point.clear();
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 3) readTime(reader, point);
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
  if (reader.field === 3) readTime(reader, point);
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
    if (reader.field === exemplars) point.exemplars++;
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
