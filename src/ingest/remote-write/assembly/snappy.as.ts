/**
 * Snappy block decoder, in the kernel: from the request's bytes at `source` to `target`.
 *
 * Every element is checked against the beginning of the output, and the ends of input and output before the next one is
 * read; it is copied 16 bytes at a time, past its own end: `target` has room behind the limit, and so has `source`.
 * Source: google/snappy, format_description.txt (the layout of tags stands in ../snappy.ts, which is the oracle).
 */
import { STATUS_DONE, STATUS_SNAPPY_CORRUPT, STATUS_SNAPPY_LENGTH, STATUS_SNAPPY_TOO_LARGE } from '../../../tsdb/kernel/layout';

/** What may be read and written behind the end of either buffer. */
export const SNAPPY_SLACK: u32 = 64;

/** Decodes n bytes; a STATUS_*. The decoded length is stored at `decoded`. */
export function snappyDecode(source: usize, n: u32, target: usize, bytesMax: u32, decoded: usize): u32 {
  const end = source + n;
  let at = source;
  let declared: u64 = 0;
  let shift: u64 = 0;
  while (true) {
    if (shift > 28 || at >= end) return STATUS_SNAPPY_LENGTH;
    const byte = <u64>load<u8>(at++);
    declared |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
    shift += 7;
  }
  store<u32>(decoded, <u32>min<u64>(declared, u32.MAX_VALUE));
  if (declared > <u64>bytesMax) return STATUS_SNAPPY_TOO_LARGE;
  return decodeElements(at, end, target, target + <u32>declared);
}

/**
 * What nearly all elements are stands in the inner loop, alone, and in the order of how often it comes: a copy with an offset
 * of two bytes, a literal of at most 16, a copy with an offset of one. A copy is 64 bytes long whatever its length, and what
 * lies behind the end of either buffer is only looked at once it was passed by.
 */
function decodeElements(at: usize, end: usize, target: usize, limit: usize): u32 {
  // Behind the first 16 bytes one compare says that an offset is at least 16 and does not reach beyond the beginning.
  const begun = target + 16;
  let out = target;
  while (true) {
    const limited = out < begun ? at : end;
    while (at < limited) {
      const tag = <u32>load<u8>(at);
      if ((tag & 3) == 2) {
        const offset = <u32>load<u16>(at, 1);
        if (offset - 16 > <u32>(out - begun)) break;
        copy64(out, out - offset);
        at += 3;
        out += (tag >>> 2) + 1;
      } else if ((tag & 3) == 0) {
        if (tag >= 16 << 2) break;
        v128.store(out, v128.load(at, 1));
        at += (tag >>> 2) + 2;
        out += (tag >>> 2) + 1;
      } else if ((tag & 3) == 1) {
        const offset = ((tag & 0xe0) << 3) | <u32>load<u8>(at, 1);
        if (offset - 16 > <u32>(out - begun)) break;
        v128.store(out, v128.load(out - offset));
        at += 2;
        out += ((tag >>> 2) & 7) + 4;
      } else break;
      if (out > limit) return STATUS_SNAPPY_CORRUPT;
    }
    if (at >= end) return out == limit && at == end ? STATUS_DONE : STATUS_SNAPPY_CORRUPT;
    const tag = <u32>load<u8>(at);
    if ((tag & 3) == 0) {
      const length = literalLength(tag >>> 2, at, end);
      const from = at + (tag < 60 << 2 ? 1 : (tag >>> 2) - 58);
      if (length == 0 || length > <u32>(end - from) || length > <u32>(limit - out)) return STATUS_SNAPPY_CORRUPT;
      memory.copy(out, from, length);
      at = from + length;
      out += length;
    } else {
      const length = copyOddly(tag, load<u32>(at, 1), out, target);
      if (length == 0) return STATUS_SNAPPY_CORRUPT;
      at += (tag & 3) == 3 ? 5 : (tag & 3) + 1;
      out += length;
    }
    if (out > limit) return STATUS_SNAPPY_CORRUPT;
  }
  return STATUS_SNAPPY_CORRUPT;
}

/** A copy of any kind and offset, whose tag is followed by `word`; its length, or 0 if it reaches beyond the output's beginning. */
function copyOddly(tag: u32, word: u32, out: usize, target: usize): u32 {
  const kind = tag & 3;
  const length = kind == 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
  const offset = kind == 1 ? ((tag & 0xe0) << 3) | (word & 0xff) : kind == 2 ? word & 0xffff : word;
  if (offset - 1 >= <u32>(out - target)) return 0;
  if (offset < 16) copyPattern(out, offset, length);
  else copy64(out, out - offset);
  return length;
}

/** Length of a literal of more than 16 bytes, whose tag stands at `at`; 0 if it has none. */
function literalLength(lengthBits: u32, at: usize, end: usize): u32 {
  if (lengthBits < 60) return lengthBits + 1;
  const extra = lengthBits - 59;
  if (<u32>(end - at) <= extra) return 0;
  // 2^32 bytes become 0, which is no length either.
  return (load<u32>(at, 1) & (<u32>-1 >>> (32 - (extra << 3)))) + 1;
}

// @ts-ignore: decorator
@inline
function copy64(out: usize, from: usize): void {
  v128.store(out, v128.load(from));
  v128.store(out, v128.load(from, 16), 16);
  v128.store(out, v128.load(from, 32), 32);
  v128.store(out, v128.load(from, 48), 48);
}

/** Repeats the last `offset` bytes of the output, fewer than 16, over at most 64 bytes. */
function copyPattern(out: usize, offset: u32, length: u32): void {
  const from = out - offset;
  for (let i: u32 = 0; i < length; i++) store<u8>(out + i, load<u8>(from + i));
}
