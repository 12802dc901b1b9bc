/**
 * A remote-write 1.0 body that is put together byte by byte: TimeSeries and metadata as protobuf, framed as a snappy block
 * of one literal, so that the store's kernel takes it like any sender's.
 *
 * Source: prometheus/prometheus, prompb/remote.proto and prompb/types.proto; google/snappy, format_description.txt.
 */
const HEADER_BYTES = 5 + 5; // the decoded length as a varint of five bytes, a literal's tag and its length
const LITERAL_OF_FOUR_LENGTH_BYTES = 0xfc;

/** A buffer that grows; what it hands out is valid until the next write. */
export class ByteSink {
  bytes = Buffer.allocUnsafe(4096);
  length = 0;

  /** Makes room for n more bytes. */
  reserve(n: number): void {
    if (this.length + n <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.length + n, 2 * this.bytes.length));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  /** A number of at most 53 bits. */
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.bytes[this.length++] = (rest % 128) | 0x80;
    this.bytes[this.length++] = rest;
  }

  /** Bytes [from, to) of another buffer. */
  copy(source: Buffer, from: number, to: number): void {
    this.reserve(to - from);
    source.copy(this.bytes, this.length, from, to);
    this.length += to - from;
  }

  /** A field of bytes: tag, length, bytes [from, to) of a buffer. */
  field(tag: number, source: Buffer, from: number, to: number): void {
    this.byte(tag);
    this.varint(to - from);
    this.copy(source, from, to);
  }

  double(tag: number, value: number): void {
    this.reserve(9);
    this.bytes[this.length] = tag;
    // NaN as Go writes it: a number that JavaScript made may have any bits.
    if (Number.isNaN(value)) this.bytes.writeBigUInt64LE(0x7ff8000000000001n, this.length + 1);
    else this.bytes.writeDoubleLE(value, this.length + 1);
    this.length += 9;
  }

  /** A double field, from the halves of its bits. */
  bits(tag: number, low: number, high: number): void {
    this.reserve(9);
    this.bytes[this.length] = tag;
    this.bytes.writeUInt32LE(low, this.length + 1);
    this.bytes.writeUInt32LE(high, this.length + 5);
    this.length += 9;
  }

  /** An int64 field of two's complement, ten bytes if negative. */
  int64(tag: number, value: number): void {
    this.byte(tag);
    if (value >= 0) {
      this.varint(value);
      return;
    }
    this.reserve(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let i = 0; i < 9; i++, rest >>= 7n) this.bytes[this.length++] = Number(rest & 0x7fn) | 0x80;
    this.bytes[this.length++] = Number(rest);
  }
}

/** An empty block, whose frame is still to be filled in. */
export function openBlock(): ByteSink {
  const block = new ByteSink();
  block.length = HEADER_BYTES;
  return block;
}

export function isEmptyBlock(block: ByteSink): boolean {
  return block.length === HEADER_BYTES;
}

/** Bytes of a closed block's body, decompressed. */
export function bodyBytesOf(block: Uint8Array): number {
  return block.length - HEADER_BYTES;
}

/** Fills the frame in; the body as it would be sent. */
export function closeBlock(block: ByteSink): Uint8Array {
  const { bytes, length } = block;
  const decoded = length - HEADER_BYTES;
  for (let i = 0; i < 5; i++) bytes[i] = ((decoded / 2 ** (7 * i)) & 0x7f) | (i < 4 ? 0x80 : 0);
  bytes[5] = LITERAL_OF_FOUR_LENGTH_BYTES;
  bytes.writeUInt32LE(decoded - 1, 6);
  return bytes.subarray(0, length);
}
