/**
 * Snappy block decoder, in the kernel: from the request's bytes at `source` to `target`.
 *
 * Every element is checked against the end of the input and the declared length; then it may be copied 16 bytes at a
 * time, past its own end: `target` has 64 bytes of room behind the limit, and so has `source`.
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

function decodeElements(at: usize, end: usize, target: usize, limit: usize): u32 {
  let out = target;
  while (at < end) {
    const tag = <u32>load<u8>(at++);
    const kind = tag & 3;
    if (kind == 0) {
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const extra = length - 60;
        if (end - at < extra) return STATUS_SNAPPY_CORRUPT;
        length = load<u32>(at) & (<u32>-1 >>> (32 - (extra << 3)));
        if (length == u32.MAX_VALUE) return STATUS_SNAPPY_CORRUPT;
        length++;
        at += extra;
      }
      if (length > <u32>(end - at) || length > <u32>(limit - out)) return STATUS_SNAPPY_CORRUPT;
      copyLiteral(out, at, length);
      at += length;
      out += length;
      continue;
    }
    // Reads behind the end of the input are seen below, and lie in its slack.
    const next = load<u32>(at);
    let length: u32 = 1 + (tag >>> 2);
    let offset: u32 = next & 0xffff;
    if (kind == 3) {
      offset = next;
      at += 4;
    } else {
      length = kind == 1 ? <u32>4 + ((tag >>> 2) & 7) : length;
      offset = kind == 1 ? ((tag >>> 5) << 8) | (next & 0xff) : offset;
      at += kind;
    }
    if (at > end) return STATUS_SNAPPY_CORRUPT;
    if (offset - 1 >= <u32>(out - target) || length > <u32>(limit - out)) return STATUS_SNAPPY_CORRUPT;
    copyBack(out, offset, length);
    out += length;
  }
  return out == limit ? STATUS_DONE : STATUS_SNAPPY_CORRUPT;
}

// @ts-ignore: decorator
@inline
function copyLiteral(out: usize, from: usize, length: u32): void {
  if (length > 64) {
    memory.copy(out, from, length);
    return;
  }
  copy64(out, from, length);
}

/** Copies up to 64 bytes: 16 or 64, whatever the length, so that there is one branch and no loop. */
// @ts-ignore: decorator
@inline
function copy64(out: usize, from: usize, length: u32): void {
  v128.store(out, v128.load(from));
  if (length <= 16) return;
  v128.store(out, v128.load(from, 16), 16);
  v128.store(out, v128.load(from, 32), 32);
  v128.store(out, v128.load(from, 48), 48);
}

/** Copies from the output itself; source and target may overlap, and then the pattern repeats. */
// @ts-ignore: decorator
@inline
function copyBack(out: usize, offset: u32, length: u32): void {
  const from = out - offset;
  if (offset >= 16) {
    copy64(out, from, length);
    return;
  }
  let i: u32 = 0;
  if (offset >= 8) {
    do {
      store<u64>(out + i, load<u64>(from + i));
      i += 8;
    } while (i < length);
  } else {
    do {
      store<u8>(out + i, load<u8>(from + i));
      i++;
    } while (i < length);
  }
}
