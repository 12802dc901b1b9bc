/**
 * Snappy's block format, both ways: a uvarint with the decoded length, then literals and copies by turns. Decoding checks
 * every read and write, so a block decodes to exactly the length it declares, or is refused.
 *
 *     tag & 3   element   length               offset
 *     0         literal   (tag >> 2) + 1; 60-63: in the next 1-4 bytes, + 1
 *     1         copy      4 + (tag >> 2 & 7)   (tag >> 5) << 8 | next byte
 *     2, 3      copy      1 + (tag >> 2)       next 2 or 4 bytes, low byte first
 *
 * Source: google/snappy, format_description.txt.
 */
import { CodedError } from '../../../model/errors.ts';

/** A copy of 3 bytes can stand for 64: no block expands more. */
const EXPANSION_MAX = 64 / 3;
const HASH_BITS = 14;
/** Positions are looked for within one fragment, so that every offset fits into two bytes. */
const FRAGMENT_BYTES = 65_536;
const COPY_BYTES_MAX = 64;

export function compressSnappy(bytes: Uint8Array): Buffer {
  // The worst case is a literal of everything, with a few bytes of heads.
  const out = Buffer.allocUnsafe(32 + bytes.length + Math.ceil(bytes.length / 6));
  let end = writeUvarint(out, 0, bytes.length);
  const seen = new Uint16Array(1 << HASH_BITS);
  for (let from = 0; from < bytes.length; from += FRAGMENT_BYTES) {
    seen.fill(0);
    end = compressFragment(bytes, from, Math.min(from + FRAGMENT_BYTES, bytes.length), seen, out, end);
  }
  return out.subarray(0, end);
}

/** Finds repeats of four bytes by their hash; `seen` holds where in the fragment each hash was seen last. */
function compressFragment(
  bytes: Uint8Array,
  from: number,
  to: number,
  seen: Uint16Array,
  out: Buffer,
  outEnd: number,
): number {
  let end = outEnd;
  let literal = from;
  let at = from + 1;
  while (at + 4 <= to) {
    const word = wordAt(bytes, at);
    const slot = Math.imul(word, 0x1e35a7bd) >>> (32 - HASH_BITS);
    const candidate = from + seen[slot]!;
    seen[slot] = at - from;
    if (candidate >= at || wordAt(bytes, candidate) !== word) {
      at++;
      continue;
    }
    end = writeLiteral(bytes, literal, at, out, end);
    let length = 4;
    while (at + length < to && bytes[candidate + length] === bytes[at + length]) length++;
    end = writeCopies(at - candidate, length, out, end);
    at += length;
    literal = at;
  }
  return writeLiteral(bytes, literal, to, out, end);
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function writeLiteral(bytes: Uint8Array, from: number, to: number, out: Buffer, outEnd: number): number {
  let end = outEnd;
  const length = to - from;
  if (length === 0) return end;
  if (length <= 60) out[end++] = (length - 1) << 2;
  else {
    // A fragment is at most 65,536 bytes, so two bytes of length always do.
    out[end++] = 61 << 2;
    out[end++] = (length - 1) & 0xff;
    out[end++] = (length - 1) >> 8;
  }
  out.set(bytes.subarray(from, to), end);
  return end + length;
}

function writeCopies(offset: number, total: number, out: Buffer, outEnd: number): number {
  let end = outEnd;
  for (let rest = total; rest > 0; ) {
    const length = Math.min(rest, COPY_BYTES_MAX);
    out[end++] = ((length - 1) << 2) | 2;
    out[end++] = offset & 0xff;
    out[end++] = offset >> 8;
    rest -= length;
  }
  return end;
}

function writeUvarint(out: Buffer, at: number, value: number): number {
  let end = at;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) out[end++] = (rest & 0x7f) | 0x80;
  out[end++] = rest;
  return end;
}

/** Decodes a block of at most `bytesMax` decoded bytes. Throws `body_too_large` before allocating, or `bad_body`. */
export function uncompressSnappy(block: Uint8Array, bytesMax: number): Uint8Array {
  let at = 0;
  let declared = 0;
  for (let shift = 0; ; shift += 7) {
    if (shift > 28 || at >= block.length) throw bad('a length that is cut off or too large');
    const byte = block[at++]!;
    declared += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  if (declared > bytesMax) {
    throw new CodedError('body_too_large', `cannot take body: got ${declared} bytes decoded, want at most ${bytesMax}`);
  }
  if (declared > (block.length - at) * EXPANSION_MAX) throw bad(`${block.length} bytes that declare ${declared}`);
  const out = new Uint8Array(declared);
  if (uncompressElements(block, at, out) !== declared) throw bad('fewer bytes than were declared');
  return out;
}

function uncompressElements(block: Uint8Array, from: number, out: Uint8Array): number {
  let at = from;
  let end = 0;
  while (at < block.length) {
    const tag = block[at++]!;
    const kind = tag & 3;
    const extra = kind === 0 ? Math.max(0, (tag >>> 2) - 59) : kind === 3 ? 4 : kind;
    if (extra > block.length - at) throw bad('an element that is cut off');
    let number = 0;
    for (let i = extra - 1; i >= 0; i--) number = number * 256 + block[at + i]!;
    at += extra;
    if (kind === 0) {
      const length = (extra === 0 ? tag >>> 2 : number) + 1;
      if (length > block.length - at || length > out.length - end) throw bad('a literal that is too long');
      out.set(block.subarray(at, at + length), end);
      at += length;
      end += length;
      continue;
    }
    const length = kind === 1 ? 4 + ((tag >>> 2) & 7) : 1 + (tag >>> 2);
    const offset = kind === 1 ? ((tag >>> 5) << 8) | number : number;
    if (offset === 0 || offset > end) throw bad('a copy from before the beginning');
    if (length > out.length - end) throw bad('a copy that is too long');
    // Byte by byte: a copy may overlap its own output.
    for (let i = 0; i < length; i++, end++) out[end] = out[end - offset]!;
  }
  return end;
}

function bad(what: string): CodedError {
  return new CodedError('bad_body', `cannot decode snappy block: got ${what}`);
}
