/** The plain form of a point: how senders write one. What is of another form is left to TypeScript. */
import { readLength, readVarint, varint } from '../../remote-write/assembly/wire.as';

/** True for a point of times, a number, flags, exemplars and plain attributes alone, which is then well formed. */
export function isPlainPoint(p: usize, end: usize): bool {
  while (p < end) {
    const tag = <u32>load<u8>(p);
    if (tag == 0x3a) p = plainAttribute(p + 1, end);
    else if (tag == 0x11 || tag == 0x19 || tag == 0x21 || tag == 0x31) p = end - p < 9 ? 0 : p + 9;
    else if (tag == 0x40) p = readVarint(p + 1, end);
    else if (tag == 0x2a) {
      // What is in them is looked at by whoever keeps them.
      p = readLength(p + 1, end);
      if (p != 0) p += <usize>varint();
    }
    else return false;
    if (p == 0) return false;
  }
  return true;
}

/** A key, then a value that is nothing, a text, a boolean or an integer. The address behind it, or 0. */
function plainAttribute(p: usize, end: usize): usize {
  p = readLength(p, end);
  if (p == 0) return 0;
  const stop = p + <usize>varint();
  if (p >= stop || load<u8>(p) != 0x0a) return 0;
  p = readLength(p + 1, stop);
  if (p == 0) return 0;
  p += <usize>varint();
  if (p >= stop || load<u8>(p) != 0x12) return 0;
  p = readLength(p + 1, stop);
  if (p == 0 || p + <usize>varint() != stop) return 0;
  if (p == stop) return stop;
  const tag = <u32>load<u8>(p);
  if (tag == 0x0a) {
    p = readLength(p + 1, stop);
    if (p != 0) p += <usize>varint();
  } else if (tag == 0x10 || tag == 0x18) p = readVarint(p + 1, stop);
  else return 0;
  return p == stop ? stop : 0;
}
