/**
 * A reader of the protobuf wire format over borrowed bytes, for decoders that walk instead of building objects.
 *
 * Every read is checked against the limit of the message it is in, so no input can read outside of the body, loop, or
 * allocate. Faults throw `bad_body`. A message is walked like this, and may be walked again by setting `position` back:
 *
 *     const outer = reader.enter();              // at a field of wire type 2
 *     while (reader.next()) {
 *       if (reader.field === 1) low = reader.readVarint() …  else reader.skip();
 *     }
 *     reader.leave(outer);
 *
 * Source: https://protobuf.dev/programming-guides/encoding/
 */
import { CodedError } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';

export const WIRE = { varint: 0, fixed64: 1, bytes: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const;

/** How a known field is written. `fixed64s` and `varints` are repeated ones, packed or not. */
export const FIELD = { varint: 0, fixed64: 1, bytes: 2, fixed64s: 3, varints: 4 } as const;
type FieldKind = (typeof FIELD)[keyof typeof FIELD];

/** The known fields of a message by number; a nested schema is a message. What is not listed is skipped. */
export type MessageSchema = (FieldKind | MessageSchema | undefined)[];

const VARINT_BYTES_MAX = 10;
const FIELD_NUMBER_MAX = 0x1fffffff;
// Label names and values must keep a leading U+FEFF: ignoreBOM means "do not strip it".
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class WireReader {
  readonly bytes: Uint8Array;
  readonly #buffer: Buffer;
  readonly #view: DataView;
  position = 0;
  /** End of the message that is being walked. */
  limit: number;
  /** Number and wire type of the field that `next` found. */
  field = 0;
  wireType = 0;
  /** Halves of the 64-bit value that was read last, as unsigned 32-bit numbers. */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.limit = bytes.length;
  }

  /** Reads the tag of the next field of this message; false at its end. */
  next(): boolean {
    if (this.position >= this.limit) return false;
    this.readVarint();
    if (this.high !== 0) this.fail('a field number that is too large');
    this.field = this.low >>> 3;
    this.wireType = this.low & 7;
    if (this.field === 0 || this.field > FIELD_NUMBER_MAX) this.fail('a field number of 0');
    return true;
  }

  /** Reads a varint of at most 10 bytes into `low` and `high`; returns `low`. */
  readVarint(): number {
    const { bytes, limit } = this;
    let low = 0;
    let high = 0;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      if (this.position >= limit) this.fail('a varint that is cut off');
      const byte = bytes[this.position++]!;
      const bits = byte & 0x7f;
      if (i < 4) low |= bits << (7 * i);
      else if (i === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * i - 32);
      if (byte > 0x7f) continue;
      if (i === VARINT_BYTES_MAX - 1 && byte > 1) break;
      this.low = low >>> 0;
      this.high = high >>> 0;
      return this.low;
    }
    return this.fail('a varint of more than 64 bits');
  }

  /** Reads 8 bytes into `low` and `high`. */
  readFixed64(): void {
    const at = this.position;
    if (this.limit - at < 8) this.fail('a 64-bit value that is cut off');
    this.low = this.#view.getUint32(at, true);
    this.high = this.#view.getUint32(at + 4, true);
    this.position = at + 8;
  }

  /** Reads a double; a NaN may lose its payload on the way. */
  readFloat64(): number {
    this.readFixed64();
    return this.#view.getFloat64(this.position - 8, true);
  }

  /** Reads the length of a length-delimited field and checks that its bytes are there; they begin at `position`. */
  readLength(): number {
    this.readVarint();
    if (this.high !== 0 || this.low > this.limit - this.position) this.fail('a length that reaches beyond its message');
    return this.low;
  }

  /** Steps into the message at this position; returns what `leave` needs. */
  enter(): number {
    const length = this.readLength();
    const outer = this.limit;
    this.limit = this.position + length;
    return outer;
  }

  leave(outer: number): void {
    this.position = this.limit;
    this.limit = outer;
  }

  /** Reads a string; null if it is not valid UTF-8. */
  readString(): string | null {
    const length = this.readLength();
    const start = this.position;
    this.position = start + length;
    return this.text(start, this.position);
  }

  /** The text of some bytes; null if they are not valid UTF-8. */
  text(start: number, end: number): string | null {
    const { bytes } = this;
    let i = start;
    while (i < end && bytes[i]! < 0x80) i++;
    if (i === end) return this.#buffer.toString('latin1', start, end);
    try {
      return utf8.decode(bytes.subarray(start, end));
    } catch {
      return null;
    }
  }

  /** The value read last as a signed 64-bit integer, rounded once where a number cannot hold it. */
  int64(): number {
    return (this.high | 0) * 0x100000000 + this.low;
  }

  /** The value read last as an unsigned 64-bit integer, rounded once where a number cannot hold it. */
  uint64(): number {
    return this.high * 0x100000000 + this.low;
  }

  /** Passes over the value of the field that `next` found, a group with all it holds included. */
  skip(): void {
    if (this.wireType === WIRE.groupStart) this.#skipGroup();
    else this.#skipPlain();
  }

  fail(what: string): never {
    throw new CodedError(
      'bad_body',
      `cannot decode body: got ${what} at byte ${this.position} of ${this.bytes.length}`,
    );
  }

  #skipPlain(): void {
    if (this.wireType === WIRE.varint) this.readVarint();
    else if (this.wireType === WIRE.fixed64) this.#advance(8);
    else if (this.wireType === WIRE.bytes) this.#advance(this.readLength());
    else if (this.wireType === WIRE.fixed32) this.#advance(4);
    else this.fail(`wire type ${this.wireType} where a field begins`);
  }

  #skipGroup(): void {
    const open = [this.field];
    while (open.length > 0) {
      if (!this.next()) this.fail('a group without its end');
      if (this.wireType === WIRE.groupStart) {
        if (open.length === LIMITS.bodyDepthMax) this.fail(`groups nested deeper than ${LIMITS.bodyDepthMax}`);
        open.push(this.field);
      } else if (this.wireType === WIRE.groupEnd) {
        if (open.pop() !== this.field) this.fail('the end of a group that was not open');
      } else this.#skipPlain();
    }
  }

  #advance(count: number): void {
    if (this.limit - this.position < count) this.fail('a value that is cut off');
    this.position += count;
  }
}

/**
 * Walks a whole body once and throws `bad_body` unless every known field is well formed, so that a body is refused
 * before any of it is stored. Nesting is bounded by a stack of our own, not by the machine's.
 */
export function checkBody(bytes: Uint8Array, schema: MessageSchema): void {
  const reader = new WireReader(bytes);
  const schemas = [schema];
  const limits: number[] = [];
  while (schemas.length > 0) {
    if (!reader.next()) {
      schemas.pop();
      if (schemas.length > 0) reader.leave(limits.pop()!);
      continue;
    }
    const kind = schemas[schemas.length - 1]![reader.field];
    if (kind === undefined) reader.skip();
    else if (typeof kind === 'number') checkField(reader, kind);
    else {
      if (reader.wireType !== WIRE.bytes) failWireType(reader);
      if (schemas.length === LIMITS.bodyDepthMax) reader.fail(`messages nested deeper than ${LIMITS.bodyDepthMax}`);
      schemas.push(kind);
      limits.push(reader.enter());
    }
  }
}

function checkField(reader: WireReader, kind: FieldKind): void {
  if (kind === FIELD.fixed64s) {
    if (reader.wireType === WIRE.bytes) {
      const length = reader.readLength();
      if (length % 8 !== 0) reader.fail(`a packed list of 64-bit values of ${length} bytes`);
      reader.position += length;
      return;
    }
    if (reader.wireType !== WIRE.fixed64) failWireType(reader);
  } else if (kind === FIELD.varints) {
    if (reader.wireType === WIRE.bytes) {
      const outer = reader.enter();
      while (reader.position < reader.limit) reader.readVarint();
      reader.leave(outer);
      return;
    }
    if (reader.wireType !== WIRE.varint) failWireType(reader);
  } else if (reader.wireType !== kind) failWireType(reader);
  reader.skip();
}

function failWireType(reader: WireReader): never {
  return reader.fail(`wire type ${reader.wireType} for field ${reader.field}`);
}
