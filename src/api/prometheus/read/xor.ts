/**
 * Float samples as Prometheus' XOR chunks, for readers that take chunks as they are.
 *
 *     u16 count │ varint t0 │ v0 64 bits │ uvarint t1-t0 │ value │ then each: change of the time's difference │ value
 *
 *     time:  0 │ 10 + 14 bits │ 110 + 17 │ 1110 + 20 │ 1111 + 64
 *     value: 0 as before │ 10 + bits where the last one had them │ 11 + 5 leading zeros + 6 length + bits
 *
 * Source: prometheus/prometheus, tsdb/docs/format/chunks.md and tsdb/chunkenc/xor.go. Values are handled as two 32-bit
 * halves, so that a stale marker keeps its bits.
 */

/** Samples of a chunk, as Prometheus makes them. */
export const CHUNK_SAMPLES_MAX = 120;
/** A sample takes at most 4 + 64 bits for its time and 2 + 5 + 6 + 64 for its value. */
const SAMPLE_BYTES_MAX = 19;

/** The samples from <= i < to as one chunk; `halves` has the low half of value i at 2i. At most 120 samples. */
export function encodeXorChunk(timesMs: Float64Array, halves: Uint32Array, from: number, to: number): Uint8Array {
  const bits = new BitWriter(2 + (to - from) * SAMPLE_BYTES_MAX);
  bits.write(to - from, 16);
  let delta = 0;
  let leading = -1;
  let trailing = 0;
  for (let i = from; i < to; i++) {
    const low = halves[2 * i]!;
    const high = halves[2 * i + 1]!;
    if (i === from) {
      const timeMs = timesMs[i]!;
      bits.uvarint(timeMs >= 0 ? 2 * timeMs : -2 * timeMs - 1);
      bits.write64(high, low, 64);
      continue;
    }
    const nextDelta = timesMs[i]! - timesMs[i - 1]!;
    if (i === from + 1) bits.uvarint(nextDelta);
    else writeTimeChange(bits, nextDelta - delta);
    delta = nextDelta;
    const xorLow = (low ^ halves[2 * i - 2]!) >>> 0;
    const xorHigh = (high ^ halves[2 * i - 1]!) >>> 0;
    if (xorLow === 0 && xorHigh === 0) {
      bits.write(0, 1);
      continue;
    }
    // Five bits hold at most 31 leading zeros.
    const zerosBefore = Math.min(31, xorHigh === 0 ? 32 + Math.clz32(xorLow) : Math.clz32(xorHigh));
    const zerosAfter = xorLow === 0 ? 32 + trailingZeros(xorHigh) : trailingZeros(xorLow);
    if (leading >= 0 && zerosBefore >= leading && zerosAfter >= trailing) bits.write(0b10, 2);
    else {
      leading = zerosBefore;
      trailing = zerosAfter;
      const length = 64 - leading - trailing;
      bits.write(0b11, 2);
      bits.write(leading, 5);
      bits.write(length & 63, 6);
    }
    writeShifted(bits, xorHigh, xorLow, trailing, 64 - leading - trailing);
  }
  return bits.bytes();
}

function writeTimeChange(bits: BitWriter, change: number): void {
  if (change === 0) bits.write(0, 1);
  else if (fits(change, 14)) writeSigned(bits, 0b10, 2, change, 14);
  else if (fits(change, 17)) writeSigned(bits, 0b110, 3, change, 17);
  else if (fits(change, 20)) writeSigned(bits, 0b1110, 4, change, 20);
  else {
    bits.write(0b1111, 4);
    bits.write64(Math.floor(change / 2 ** 32) >>> 0, (change % 2 ** 32) >>> 0, 64);
  }
}

function fits(value: number, bits: number): boolean {
  return -(2 ** (bits - 1) - 1) <= value && value <= 2 ** (bits - 1);
}

function writeSigned(bits: BitWriter, prefix: number, prefixBits: number, value: number, valueBits: number): void {
  bits.write(prefix, prefixBits);
  bits.write(value & (2 ** valueBits - 1), valueBits);
}

/** The `count` bits of a 64-bit value that stand above its lowest `shift` bits. */
function writeShifted(bits: BitWriter, high: number, low: number, shift: number, count: number): void {
  if (shift >= 32) bits.write64(0, high >>> (shift - 32), count);
  else if (shift === 0) bits.write64(high, low, count);
  else bits.write64(high >>> shift, ((high << (32 - shift)) | (low >>> shift)) >>> 0, count);
}

function trailingZeros(value: number): number {
  return 31 - Math.clz32(value & -value);
}

/** Bits, the highest of each byte first. */
class BitWriter {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity + 16);
  }

  /** The lowest `count` bits (at most 32) of a value. */
  write(value: number, count: number): void {
    for (let rest = count; rest > 0; ) {
      const free = 8 - (this.#position & 7);
      const taken = Math.min(free, rest);
      const part = (value >>> (rest - taken)) & (2 ** taken - 1);
      this.#bytes[this.#position >>> 3]! |= part << (free - taken);
      this.#position += taken;
      rest -= taken;
    }
  }

  write64(high: number, low: number, count: number): void {
    if (count > 32) this.write(high, count - 32);
    this.write(low, Math.min(count, 32));
  }

  uvarint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.write((rest % 128) | 0x80, 8);
    this.write(rest, 8);
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, (this.#position + 7) >>> 3);
  }
}
