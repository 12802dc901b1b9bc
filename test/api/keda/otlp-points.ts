/** OTLP bodies for the conformance cases: one point each, every kind of metric, by its field numbers. */
import protobuf from 'protobufjs/minimal.js';

export interface CasePoint {
  readonly metric: string;
  readonly kind: 'gauge' | 'sum' | 'histogram' | 'exponentialHistogram' | 'summary';
  readonly temporality?: 'cumulative' | 'delta';
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly resourceAttributes?: Readonly<Record<string, string>>;
  readonly value: number | 'NaN' | { readonly count: number; readonly sum: number };
  /** Null leaves the timestamp unset. */
  readonly atSecond: number | null;
}

const KINDS = { gauge: 5, sum: 7, histogram: 9, exponentialHistogram: 10, summary: 11 } as const;
/** Field of the attributes in the points of each kind. */
const ATTRIBUTES = { gauge: 7, sum: 7, histogram: 9, exponentialHistogram: 1, summary: 7 } as const;
const DELTA = 1;
const CUMULATIVE = 2;

/** ExportMetricsServiceRequest with one point; seconds count from `baseMs`. */
export function encodePoint(point: CasePoint, baseMs: number): Uint8Array {
  const writer = protobuf.Writer.create();
  const open = (field: number) => writer.uint32((field << 3) | 2).fork();
  open(1);
  open(1);
  writeAttributes(writer, 1, point.resourceAttributes ?? {});
  writer.ldelim();
  open(2);
  open(2);
  writer.uint32(10).string(point.metric);
  open(KINDS[point.kind]);
  open(1);
  writePoint(writer, point, baseMs);
  writer.ldelim();
  if (point.kind !== 'gauge' && point.kind !== 'summary') {
    writer.uint32(2 << 3).int32(point.temporality === 'delta' ? DELTA : CUMULATIVE);
  }
  if (point.kind === 'sum') writer.uint32(3 << 3).bool(true);
  writer.ldelim().ldelim().ldelim().ldelim();
  return writer.finish();
}

function writePoint(writer: protobuf.Writer, point: CasePoint, baseMs: number): void {
  const double = (field: number, value: number) => writer.uint32((field << 3) | 1).double(value);
  const fixed = (field: number, value: number | bigint) => {
    const whole = BigInt(value);
    const halves = { low: Number(whole & 0xffffffffn), high: Number(whole >> 32n), unsigned: true };
    writer.uint32((field << 3) | 1).fixed64(halves);
  };
  if (point.atSecond !== null) fixed(3, BigInt(Math.round(baseMs + point.atSecond * 1000)) * 1_000_000n);
  writeAttributes(writer, ATTRIBUTES[point.kind], point.attributes);
  const { value } = point;
  if (typeof value !== 'object') {
    double(4, Number(value));
    return;
  }
  fixed(4, value.count);
  double(5, value.sum);
  // All observations in the one bucket of a histogram, and in the zero bucket of an exponential one.
  if (point.kind === 'histogram') fixed(6, value.count);
  if (point.kind === 'exponentialHistogram') fixed(7, value.count);
}

function writeAttributes(writer: protobuf.Writer, field: number, attributes: CasePoint['attributes']): void {
  for (const [key, value] of Object.entries(attributes)) {
    writer
      .uint32((field << 3) | 2)
      .fork()
      .uint32(10)
      .string(key)
      .uint32(18)
      .fork();
    if (typeof value === 'string') writer.uint32(10).string(value);
    else if (typeof value === 'boolean') writer.uint32(2 << 3).bool(value);
    else if (Number.isInteger(value)) writer.uint32(3 << 3).int64(value);
    else writer.uint32((4 << 3) | 1).double(value);
    writer.ldelim().ldelim();
  }
}
