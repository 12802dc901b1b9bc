/** Writes the protobuf wire format into one growing buffer. Messages inside messages are written apart and copied in. */

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;

export class WireWriter {
  #bytes: Buffer;
  #end = 0;

  constructor(capacity = 1024) {
    this.#bytes = Buffer.allocUnsafe(capacity);
  }

  get length(): number {
    return this.#end;
  }

  /** What was written; borrowed until the next `clear`. */
  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  clear(): void {
    this.#end = 0;
  }

  tag(field: number, wireType: number): void {
    this.uvarint(field * 8 + wireType);
  }

  /** An unsigned whole number up to 2^53. */
  uvarint(value: number): void {
    this.#reserve(10);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.#bytes[this.#end++] = (rest % 128) | 0x80;
    this.#bytes[this.#end++] = rest;
  }

  /** A signed whole number as an int64: a negative one takes ten bytes. */
  varint(value: number): void {
    if (value >= 0) {
      this.uvarint(value);
      return;
    }
    this.#reserve(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest >= 0x80n; rest >>= 7n) this.#bytes[this.#end++] = Number(rest & 0x7fn) | 0x80;
    this.#bytes[this.#end++] = Number(rest);
  }

  zigzag(value: number): void {
    this.uvarint(value >= 0 ? 2 * value : -2 * value - 1);
  }

  /** The two halves of a 64-bit value: a stale marker would not survive as a number. */
  halves(low: number, high: number): void {
    this.#reserve(8);
    this.#bytes.writeUInt32LE(low, this.#end);
    this.#bytes.writeUInt32LE(high, this.#end + 4);
    this.#end += 8;
  }

  double(value: number): void {
    this.#reserve(8);
    this.#end = this.#bytes.writeDoubleLE(value, this.#end);
  }

  string(field: number, text: string): void {
    const length = Buffer.byteLength(text);
    this.tag(field, BYTES);
    this.uvarint(length);
    this.#reserve(length);
    this.#end += this.#bytes.write(text, this.#end);
  }

  /** A message or packed list that was written apart. */
  message(field: number, inner: Uint8Array): void {
    this.tag(field, BYTES);
    this.uvarint(inner.length);
    this.raw(inner);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#end + more));
    grown.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = grown;
  }
}
