/**
 * Protobuf's wire format, checked: tags, varints, lengths, and fields that nobody knows.
 *
 * A function that reads from p returns the address behind what it read, or 0 if that is malformed or reaches beyond
 * `end`; values are left in SB_VARINT. What is taken and what is refused is the same as in ../../protobuf.ts.
 * Source: https://protobuf.dev/programming-guides/encoding/
 */
import { GROUP_DEPTH_MAX, SB_GROUPS, SB_VARINT } from '../../../tsdb/kernel/layout';

/** Reads a varint of at most 10 bytes. */
// @ts-ignore: decorator
@inline
export function readVarint(p: usize, end: usize): usize {
  if (p < end && load<u8>(p) < 0x80) {
    store<u64>(SB_VARINT, load<u8>(p));
    return p + 1;
  }
  return readLongVarint(p, end);
}

function readLongVarint(p: usize, end: usize): usize {
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 70; shift += 7) {
    if (p >= end) return 0;
    const byte = <u64>load<u8>(p++);
    value |= (byte & 0x7f) << shift;
    if (byte >= 0x80) continue;
    if (shift == 63 && byte > 1) return 0;
    store<u64>(SB_VARINT, value);
    return p;
  }
  return 0;
}

// @ts-ignore: decorator
@inline
export function varint(): u64 {
  return load<u64>(SB_VARINT);
}

/** Reads a tag: field << 3 | wire type. */
// @ts-ignore: decorator
@inline
export function readTag(p: usize, end: usize): usize {
  const next = readVarint(p, end);
  return next == 0 || varint() > u32.MAX_VALUE || varint() < 8 ? 0 : next;
}

/** Reads a length; the field's bytes begin at the address returned and are all there. */
// @ts-ignore: decorator
@inline
export function readLength(p: usize, end: usize): usize {
  const next = readVarint(p, end);
  return next == 0 || varint() > <u64>(end - next) ? 0 : next;
}

/** Passes over the value of a field. */
export function skipField(tag: u32, p: usize, end: usize): usize {
  return (tag & 7) == 3 ? skipGroup(tag >>> 3, p, end) : skipPlain(tag & 7, p, end);
}

function skipPlain(wireType: u32, p: usize, end: usize): usize {
  if (wireType == 0) return readVarint(p, end);
  if (wireType == 1) return end - p < 8 ? 0 : p + 8;
  if (wireType == 5) return end - p < 4 ? 0 : p + 4;
  if (wireType != 2) return 0;
  const next = readLength(p, end);
  return next == 0 ? 0 : next + <usize>varint();
}

function skipGroup(field: u32, p: usize, end: usize): usize {
  let depth: u32 = 1;
  store<u32>(SB_GROUPS, field);
  while (depth > 0) {
    p = readTag(p, end);
    if (p == 0) return 0;
    const tag = <u32>varint();
    if ((tag & 7) == 3) {
      if (depth == GROUP_DEPTH_MAX) return 0;
      store<u32>(SB_GROUPS + (depth << 2), tag >>> 3);
      depth++;
    } else if ((tag & 7) == 4) {
      depth--;
      if (load<u32>(SB_GROUPS + (depth << 2)) != tag >>> 3) return 0;
    } else {
      p = skipPlain(tag & 7, p, end);
      if (p == 0) return 0;
    }
  }
  return p;
}
