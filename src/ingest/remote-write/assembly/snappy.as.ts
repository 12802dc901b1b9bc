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
 * What decides the speed here is how often the processor guesses a branch wrong: a copy is 64 bytes long whatever its
 * length, and what lies behind the end of either buffer is only looked at once it was passed by.
 */
function decodeElements(at: usize, end: usize, target: usize, limit: usize): u32 {
  let out = target;
  while (at < end) {
    const word = load<u32>(at);
    const kind = word & 3;
    const lengthBits = (word >>> 2) & 63;
    let length = lengthBits + 1;
    let offset = (word >>> 8) & 0xffff;
    // Most elements are copies with an offset of two bytes.
    if (kind == 2) at += 3;
    else if (kind == 0) {
      if (lengthBits < 16) {
        v128.store(out, v128.load(at, 1));
        at += 2 + lengthBits;
      } else {
        length = literalLength(lengthBits, at, end);
        const from = at + (lengthBits < 60 ? 1 : lengthBits - 58);
        if (length == 0 || length > <u32>(end - from) || length > <u32>(limit - out)) return STATUS_SNAPPY_CORRUPT;
        memory.copy(out, from, length);
        at = from + length;
      }
      out += length;
      if (out > limit) return STATUS_SNAPPY_CORRUPT;
      continue;
    } else if (kind == 1) {
      length = 4 + (lengthBits & 7);
      offset = ((word & 0xe0) << 3) | (offset & 0xff);
      at += 2;
    } else {
      offset = load<u32>(at, 1);
      at += 5;
    }
    if (<u32>(offset < 16) | <u32>(offset > <u32>(out - target))) {
      if (offset - 1 >= <u32>(out - target)) return STATUS_SNAPPY_CORRUPT;
      copyPattern(out, offset, length);
    } else copy64(out, out - offset);
    out += length;
    if (out > limit) return STATUS_SNAPPY_CORRUPT;
  }
  return out == limit && at == end ? STATUS_DONE : STATUS_SNAPPY_CORRUPT;
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
