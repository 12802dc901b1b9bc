/**
 * Attributes of OTLP: keys and values as text. Arrays and maps become JSON, as in Prometheus (pdata's `AsString`).
 * The body has been checked: its nesting is bounded, so the recursion here is, too.
 */
import type { WireReader } from '../protobuf.ts';

const scratch = new DataView(new ArrayBuffer(8));

/** Reads one KeyValue at this position and appends key and value; false if one of them is not valid UTF-8. */
export function readAttribute(reader: WireReader, into: string[]): boolean {
  let key: string | null = '';
  let value: string | null = '';
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) key = reader.readString();
    else if (reader.field === 2) value = readValueText(reader);
    else reader.skip();
  }
  reader.leave(outer);
  into.push(key ?? '', value ?? '');
  return key !== null && value !== null;
}

const TAG_STRING_VALUE = 0x0a;

/** The text of the AnyValue at this position; '' for none, null if it is not valid UTF-8. */
function readValueText(reader: WireReader): string | null {
  // Fast path: nearly every value is one string, and nobody wants it as part of a JSON text.
  const { bytes, position } = reader;
  const length = bytes[position]!;
  if (length >= 2 && length < 0x80 && bytes[position + 1] === TAG_STRING_VALUE && bytes[position + 2] === length - 2) {
    reader.position = position + 1 + length;
    return reader.text(position + 3, reader.position);
  }
  const value = readValue(reader);
  if (value === null) return null;
  return value.kind === 'text' ? value.text : escapeHtml(value.text);
}

/** `text` as it stands, or the `json` of an array or map. */
interface Value {
  readonly kind: 'text' | 'json';
  readonly text: string;
  /** The same value as part of a bigger JSON text. */
  readonly json: string;
}

const ABSENT: Value = { kind: 'text', text: '', json: 'null' };

function readValue(reader: WireReader): Value | null {
  let value: Value | null = ABSENT;
  const outer = reader.enter();
  while (reader.next()) value = readOneof(reader, value);
  reader.leave(outer);
  return value;
}

function readOneof(reader: WireReader, otherwise: Value | null): Value | null {
  switch (reader.field) {
    case 1:
      return quoted(reader.readString());
    case 2:
      return bare(reader.readVarint() !== 0 || reader.high !== 0 ? 'true' : 'false');
    case 3:
      reader.readVarint();
      return bare(((BigInt(reader.high | 0) << 32n) | BigInt(reader.low)).toString());
    case 4:
      return readDouble(reader);
    case 5:
      return readArray(reader);
    case 6:
      return readMap(reader);
    case 7:
      return readBytes(reader);
    default:
      reader.skip();
      return otherwise;
  }
}

function bare(text: string): Value {
  return { kind: 'text', text, json: text };
}

function quoted(text: string | null): Value | null {
  return text === null ? null : { kind: 'text', text, json: JSON.stringify(text) };
}

function readDouble(reader: WireReader): Value {
  reader.readFixed64();
  scratch.setUint32(0, reader.high);
  scratch.setUint32(4, reader.low);
  const value = scratch.getFloat64(0);
  if (Number.isFinite(value)) return bare(String(value));
  const text = Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  return { kind: 'text', text, json: JSON.stringify(text) };
}

function readBytes(reader: WireReader): Value | null {
  const length = reader.readLength();
  const start = reader.position;
  reader.position += length;
  return quoted(Buffer.from(reader.bytes.subarray(start, start + length)).toString('base64'));
}

function readArray(reader: WireReader): Value | null {
  const parts: (string | null)[] = [];
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) parts.push(readValue(reader)?.json ?? null);
    else reader.skip();
  }
  reader.leave(outer);
  return parts.includes(null) ? null : json(`[${parts.join(',')}]`);
}

/** Keys in order, the last of equal ones, as Go writes a map. */
function readMap(reader: WireReader): Value | null {
  const members = new Map<string, string>();
  let valid = true;
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) valid = readMember(reader, members) && valid;
    else reader.skip();
  }
  reader.leave(outer);
  const keys = [...members.keys()].sort();
  return valid ? json(`{${keys.map((key) => `${JSON.stringify(key)}:${members.get(key)}`).join(',')}}`) : null;
}

function readMember(reader: WireReader, members: Map<string, string>): boolean {
  let key: string | null = '';
  let value: Value | null = ABSENT;
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) key = reader.readString();
    else if (reader.field === 2) value = readValue(reader);
    else reader.skip();
  }
  reader.leave(outer);
  if (key === null || value === null) return false;
  members.set(key, value.json);
  return true;
}

function json(text: string): Value {
  return { kind: 'json', text, json: text };
}

/** Go's encoder escapes what would be markup in a page; a label value must match the one it writes. */
function escapeHtml(text: string): string {
  return text.replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
