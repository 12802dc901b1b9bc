/**
 * A native histogram: what one sample of it says, as plain data, and the bytes that the store keeps of it.
 *
 * Buckets are given by their index (docs of the field: ingest reference 1.4). Exponential schemas -4..8: bucket i covers
 * (2^((i-1)*2^-schema), 2^(i*2^-schema)], mirrored for negative values, and a zero bucket [-zeroThreshold,
 * zeroThreshold]. Custom buckets (schema -53): bucket i ends at customValues[i], inclusive, and one more ends at +Inf.
 *
 * A blob, little endian; "number" is a float64, or a LEB128 varint where all counts are whole (flag):
 *
 *   flags u8 │ schema i8 │ sum f64 │ zeroThreshold f64 (flag) │ count, zeroCount: number
 *   customValues: varint n, n × f64 (flag)
 *   positive, negative (a flag each): varint spans, spans × (zigzag offset, varint length), counts: number
 *
 * Whole counts of buckets are written as zigzag differences. The sum keeps its bits, so that a stale marker survives; it
 * is recognised there and nowhere else ({@link isStaleHistogram}).
 */
import { isStaleBits, STALE_NAN_HIGH, STALE_NAN_LOW } from './sample.ts';

/** What is known of a counter reset between a histogram and the one before it. The numbers are those of the protocols. */
export const RESET_HINT = { unknown: 0, reset: 1, notReset: 2, gauge: 3 } as const;
export type ResetHint = (typeof RESET_HINT)[keyof typeof RESET_HINT];

export const CUSTOM_BUCKETS_SCHEMA = -53;
export const SCHEMA_MIN = -4;
export const SCHEMA_MAX = 8;
/** Exponential schemas above {@link SCHEMA_MAX} are legal on the wire; their buckets are merged down to it. */
export const WIRE_SCHEMA_MAX = 52;

/** One side of a histogram: counts of the buckets that the spans name, in ascending order of their index. */
export interface Buckets {
  /** Offset and length by turns. The first offset is an index, each later one the gap behind the span before it. */
  readonly spans: Int32Array;
  readonly counts: Float64Array;
}

export interface FloatHistogram {
  readonly schema: number;
  readonly hint: ResetHint;
  readonly count: number;
  readonly sum: number;
  readonly zeroThreshold: number;
  readonly zeroCount: number;
  readonly positive: Buckets;
  /** Empty for custom buckets. */
  readonly negative: Buckets;
  /** Upper bounds of custom buckets, +Inf implied; empty for exponential schemas. */
  readonly customValues: Float64Array;
}

/** Histogram samples of one series, ascending in time. `blobs.length === timesMs.length`; borrowed. */
export interface HistogramSamples {
  readonly timesMs: Float64Array;
  readonly blobs: readonly Uint8Array[];
  /** The histogram right before the first one, if no float lies between them; else null. */
  readonly before: Uint8Array | null;
}

export const NO_HISTOGRAM_SAMPLES: HistogramSamples = { timesMs: new Float64Array(0), blobs: [], before: null };

export const NO_BUCKETS: Buckets = { spans: new Int32Array(0), counts: new Float64Array(0) };
export const NO_BOUNDS = new Float64Array(0);

export const EMPTY_HISTOGRAM: FloatHistogram = {
  schema: 0,
  hint: RESET_HINT.unknown,
  count: 0,
  sum: 0,
  zeroThreshold: 0,
  zeroCount: 0,
  positive: NO_BUCKETS,
  negative: NO_BUCKETS,
  customValues: NO_BOUNDS,
};

export function hasCustomBuckets(histogram: Pick<FloatHistogram, 'schema'>): boolean {
  return histogram.schema === CUSTOM_BUCKETS_SCHEMA;
}

// ── Bytes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const HINT_MASK = 0b11;
const WHOLE = 1 << 2;
const HAS_THRESHOLD = 1 << 3;
const HAS_CUSTOM = 1 << 4;
const HAS_POSITIVE = 1 << 5;
const HAS_NEGATIVE = 1 << 6;
const SUM_AT = 2;

/** Only the sum's bits say that a histogram is a stale marker; they are written as such with `stale`. */
export function encodeHistogram(histogram: FloatHistogram, stale = false): Uint8Array {
  const { schema, hint, sum, count, zeroThreshold, zeroCount, positive, negative, customValues } = histogram;
  const whole =
    isWhole(count) && isWhole(zeroCount) && positive.counts.every(isWhole) && negative.counts.every(isWhole);
  const hasThreshold = !Object.is(zeroThreshold, 0);
  const writer = new BlobWriter(sizeMax(histogram));
  writer.byte(
    hint |
      (whole ? WHOLE : 0) |
      (hasThreshold ? HAS_THRESHOLD : 0) |
      (customValues.length > 0 ? HAS_CUSTOM : 0) |
      (positive.spans.length > 0 ? HAS_POSITIVE : 0) |
      (negative.spans.length > 0 ? HAS_NEGATIVE : 0),
  );
  writer.byte(schema & 0xff);
  if (stale) writer.halves(STALE_NAN_LOW, STALE_NAN_HIGH);
  else writer.float(sum);
  if (hasThreshold) writer.float(zeroThreshold);
  writer.number(count, whole);
  writer.number(zeroCount, whole);
  if (customValues.length > 0) {
    writer.varint(customValues.length);
    for (const bound of customValues) writer.float(bound);
  }
  if (positive.spans.length > 0) writer.buckets(positive, whole);
  if (negative.spans.length > 0) writer.buckets(negative, whole);
  return writer.bytes();
}

/** Reads what {@link encodeHistogram} wrote. */
export function decodeHistogram(blob: Uint8Array): FloatHistogram {
  const reader = new BlobReader(blob);
  const flags = reader.byte();
  const whole = (flags & WHOLE) !== 0;
  const schema = (reader.byte() << 24) >> 24;
  const sum = reader.float();
  const zeroThreshold = (flags & HAS_THRESHOLD) === 0 ? 0 : reader.float();
  const count = reader.number(whole);
  const zeroCount = reader.number(whole);
  const customValues = (flags & HAS_CUSTOM) === 0 ? NO_BOUNDS : reader.floats(reader.varint());
  const positive = (flags & HAS_POSITIVE) === 0 ? NO_BUCKETS : reader.buckets(whole);
  const negative = (flags & HAS_NEGATIVE) === 0 ? NO_BUCKETS : reader.buckets(whole);
  const hint = (flags & HINT_MASK) as ResetHint;
  return { schema, hint, count, sum, zeroThreshold, zeroCount, positive, negative, customValues };
}

/** True if the blob is a stale marker. */
export function isStaleHistogram(blob: Uint8Array): boolean {
  return isStaleBits(uint32At(blob, SUM_AT), uint32At(blob, SUM_AT + 4));
}

function uint32At(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** True for a number that a varint can hold: -0 and what lies above 2^53 - 1 cannot come back from it. */
function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
}

function sizeMax({ positive, negative, customValues }: FloatHistogram): number {
  const numbers = 4 + customValues.length + positive.counts.length + negative.counts.length;
  // A varint of a safe integer takes 8 bytes; a count after an escape takes 9.
  return 2 + numbers * 9 + (positive.spans.length + negative.spans.length) * 5 + 15;
}

class BlobWriter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  byte(value: number): void {
    this.#bytes[this.#at++] = value;
  }

  halves(low: number, high: number): void {
    this.#view.setUint32(this.#at, low, true);
    this.#view.setUint32(this.#at + 4, high, true);
    this.#at += 8;
  }

  float(value: number): void {
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  zigzag(value: number): void {
    this.varint(value >= 0 ? 2 * value : -2 * value - 1);
  }

  number(value: number, whole: boolean): void {
    if (whole) this.varint(value);
    else this.float(value);
  }

  buckets({ spans, counts }: Buckets, whole: boolean): void {
    this.varint(spans.length / 2);
    for (let i = 0; i < spans.length; i += 2) {
      this.zigzag(spans[i]!);
      this.varint(spans[i + 1]!);
    }
    let previous = 0;
    for (const count of counts) {
      // A difference may need one bit more than a safe integer has: those go as floats, which the escape below says.
      if (whole) this.zigzagOrFloat(count - previous, count);
      else this.float(count);
      previous = count;
    }
  }

  /** Differences up to 2^51 as zigzag + 1; a 0 byte says that the count itself follows as a float. */
  zigzagOrFloat(difference: number, count: number): void {
    if (Math.abs(difference) < 2 ** 51) this.varint((difference >= 0 ? 2 * difference : -2 * difference - 1) + 1);
    else {
      this.byte(0);
      this.float(count);
    }
  }

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }
}

class BlobReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(): number {
    return this.#view.getUint8(this.#at++);
  }

  float(): number {
    const value = this.#view.getFloat64(this.#at, true);
    this.#at += 8;
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  number(whole: boolean): number {
    return whole ? this.varint() : this.float();
  }

  floats(count: number): Float64Array {
    const values = new Float64Array(count);
    for (let i = 0; i < count; i++) values[i] = this.float();
    return values;
  }

  buckets(whole: boolean): Buckets {
    const spans = new Int32Array(2 * this.varint());
    let count = 0;
    for (let i = 0; i < spans.length; i += 2) {
      spans[i] = unzigzag(this.varint());
      spans[i + 1] = this.varint();
      count += spans[i + 1]!;
    }
    if (!whole) return { spans, counts: this.floats(count) };
    const counts = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const coded = this.varint();
      counts[i] = coded === 0 ? this.float() : (i === 0 ? 0 : counts[i - 1]!) + unzigzag(coded - 1);
    }
    return { spans, counts };
  }
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

// ── Validation ──────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Why a histogram as it was received cannot be stored, or null (ingest reference 1.4). `integer` says that its counts came
 * as integers, whose sum must be the count; float histograms are only compared so far as rounding allows.
 */
export function histogramFault(histogram: FloatHistogram, integer: boolean): string | null {
  const { schema, positive, negative } = histogram;
  const custom = hasCustomBuckets(histogram);
  if (!custom && !(Number.isInteger(schema) && schema >= SCHEMA_MIN && schema <= WIRE_SCHEMA_MAX))
    return `schema ${schema} is not known`;
  return (
    (custom ? customFault(histogram) : exponentialFault(histogram)) ??
    spansFault('positive', positive) ??
    spansFault('negative', negative) ??
    countsFault(histogram, integer)
  );
}

function exponentialFault({ customValues, zeroThreshold }: FloatHistogram): string | null {
  if (customValues.length > 0) return 'custom bounds are for custom buckets only';
  return zeroThreshold >= 0 ? null : `zero threshold ${zeroThreshold} is negative or NaN`;
}

function customFault({ customValues, zeroCount, zeroThreshold, positive, negative }: FloatHistogram): string | null {
  if (zeroCount !== 0) return 'custom buckets have no zero count';
  if (zeroThreshold !== 0) return 'custom buckets have no zero threshold';
  if (negative.spans.length > 0 || negative.counts.length > 0) return 'custom buckets have no negative buckets';
  for (const [i, bound] of customValues.entries()) {
    if (!Number.isFinite(bound)) return `custom bound ${bound} is not finite`;
    if (i > 0 && !(bound > customValues[i - 1]!)) return `custom bound ${bound} is not above ${customValues[i - 1]}`;
  }
  const { spans } = positive;
  if (spans.length > 0 && spans[0]! < 0) return `custom buckets begin at index ${spans[0]}, which is below 0`;
  const last = spans.reduce((sum, value) => sum + value, 0) - 1;
  // One bucket more than there are bounds: the one that ends at +Inf.
  return last > customValues.length ? `${customValues.length} custom bounds are too few for bucket ${last}` : null;
}

function spansFault(side: string, { spans, counts }: Buckets): string | null {
  let length = 0;
  for (let i = 0; i < spans.length; i += 2) {
    if (i > 0 && spans[i]! < 0) return `${side} span ${i / 2} has the negative offset ${spans[i]}`;
    if (spans[i + 1]! < 0) return `${side} span ${i / 2} has the negative length ${spans[i + 1]}`;
    length += spans[i + 1]!;
  }
  return length === counts.length ? null : `${side} spans need ${length} buckets, got ${counts.length}`;
}

function countsFault({ count, sum, zeroCount, positive, negative }: FloatHistogram, integer: boolean): string | null {
  let total = zeroCount;
  for (const value of positive.counts) {
    if (!(value >= 0)) return `positive bucket has the count ${value}`;
    total += value;
  }
  for (const value of negative.counts) {
    if (!(value >= 0)) return `negative bucket has the count ${value}`;
    total += value;
  }
  if (!(zeroCount >= 0)) return `zero bucket has the count ${zeroCount}`;
  if (!(count >= 0)) return `count is ${count}`;
  if (integer && !Number.isNaN(sum) && total !== count)
    return `${total} observations in buckets, but count is ${count}`;
  // NaN observations are counted, but lie in no bucket.
  const tolerated = integer ? 0 : count * 1e-12;
  return total > count + tolerated ? `${total} observations in buckets, but count is ${count}` : null;
}
