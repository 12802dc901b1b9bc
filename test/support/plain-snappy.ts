/**
 * Snappy block format: a uvarint with the decoded length, then literals and copies by turns. Every read and write is
 * checked, so a body can only decode to exactly the length it declares, or be refused.
 *
 *     tag & 3   element   length               offset
 *     0         literal   (tag >> 2) + 1; 60-63: in the next 1-4 bytes, + 1
 *     1         copy      4 + (tag >> 2 & 7)   (tag >> 5) << 8 | next byte
 *     2, 3      copy      1 + (tag >> 2)       next 2 or 4 bytes, low byte first
 *
 * Source: google/snappy, format_description.txt. The decoder of npm's snappyjs is not used on what senders send: at
 * 0.7.0 a literal of length 2^32-6 makes it loop forever, and copies may run over the declared length.
 */
import { CodedError } from '../../src/model/errors.ts';

/** The element that expands most is a copy: 3 bytes that stand for 64. */
const EXPANSION_MAX = 64 / 3;

/** Decodes a block of at most `bytesMax` decoded bytes. Throws `body_too_large` before allocating, or `bad_body`. */
export function uncompress(block: Uint8Array, bytesMax: number): Uint8Array<ArrayBuffer> {
  let at = 0;
  let declared = 0;
  for (let shift = 0; ; shift += 7) {
    if (shift > 28 || at >= block.length) throw bad('a length that is cut off or too large');
    const byte = block[at++]!;
    declared += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  if (declared > bytesMax) {
    throw new CodedError(
      'body_too_large',
      `cannot take body: got ${declared} bytes after decompression, want at most ${bytesMax}`,
    );
  }
  if (declared > (block.length - at) * EXPANSION_MAX) throw bad(`${block.length} bytes that declare ${declared}`);
  const out = new Uint8Array(declared);
  uncompressElements(block, at, out);
  return out;
}

function uncompressElements(block: Uint8Array, start: number, out: Uint8Array): void {
  let at = start;
  let end = 0;
  while (at < block.length) {
    const tag = block[at++]!;
    const kind = tag & 3;
    if (kind === 0) {
      const extra = Math.max(0, (tag >>> 2) - 59);
      if (at + extra > block.length) throw bad('a literal that is cut off');
      const length = extra === 0 ? (tag >>> 2) + 1 : littleEndian(block, at, extra) + 1;
      at += extra;
      if (length > block.length - at || length > out.length - end) throw bad('a literal that is too long');
      out.set(block.subarray(at, at + length), end);
      at += length;
      end += length;
      continue;
    }
    const extra = kind === 3 ? 4 : kind;
    if (at + extra > block.length) throw bad('a copy that is cut off');
    const length = kind === 1 ? 4 + ((tag >>> 2) & 7) : 1 + (tag >>> 2);
    const offset = kind === 1 ? ((tag >>> 5) << 8) | block[at]! : littleEndian(block, at, extra);
    at += extra;
    if (offset === 0 || offset > end) throw bad('a copy from before the beginning');
    if (length > out.length - end) throw bad('a copy that is too long');
    // Byte by byte: a copy may overlap its own output.
    for (let i = 0; i < length; i++, end++) out[end] = out[end - offset]!;
  }
  if (end !== out.length) throw bad(`${end} bytes where ${out.length} were declared`);
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = count - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
  return value;
}

function bad(what: string): CodedError {
  return new CodedError('bad_body', `cannot decode snappy block: got ${what}`);
}
