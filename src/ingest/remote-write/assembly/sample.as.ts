/** One sample as everybody writes it: value, then time, nothing else. The same bytes in remote-write 1.0 and 2.0. */

/**
 * True if [p, end) is the field of one sample: value, then a time of 2 to 8 bytes. One question about all of it: nearly
 * always the answer is yes. Reads up to 20 bytes from p on.
 */
// @ts-ignore: decorator
@inline
export function isPlainSample(p: usize, end: usize): bool {
  const length = <u32>(end - p);
  const timeBits = <u64>(length - 12) << 3;
  // 0x12 length 0x09 value(8) 0x10 time, whose last byte alone has no high bit.
  const head = <u32>load<u16>(p) ^ (0x12 | ((length - 2) << 8));
  const tags = (<u32>load<u8>(p, 2) ^ 0x09) | (<u32>load<u8>(p, 11) ^ 0x10);
  const continued = load<u64>(p, 12) & 0x8080808080808080 & (<u64>-1 >>> (64 - timeBits));
  const wrong = continued ^ (<u64>0x8080808080808080 >>> (72 - timeBits));
  return ((<u64>(head | tags) | wrong) == 0) & (length - 14 <= 6);
}

/** The bytes of a time as `isPlainSampleOf` takes them, for who knows none yet: some time of six bytes. */
export const ANY_TIME: u64 = 0x0001808080808010;

/**
 * The bytes of a plain sample's time, as `isPlainSampleOf` takes them. Only among samples that are all plain may it be one that
 * has not six of them.
 */
// @ts-ignore: decorator
@inline
export function plainTimeBytes(p: usize): u64 {
  return load<u64>(p, 11);
}

/** The same for who knows only this one to be plain: the bytes of a shorter or longer time would let through what is none. */
// @ts-ignore: decorator
@inline
export function plainTimeBytesOfSix(p: usize, end: usize): u64 {
  return <u32>(end - p) == 18 ? plainTimeBytes(p) : ANY_TIME;
}

/** True if [p, end) is the field of one plain sample whose time has six bytes, and those of a sample that was found plain. */
// @ts-ignore: decorator
@inline
export function isPlainSampleOf(p: usize, end: usize, timeBytes: u64): bool {
  return <u32>(end - p) == 18 && load<u32>(p) << 8 == 0x09101200 && (load<u64>(p, 11) ^ timeBytes) << 8 == 0;
}

/** The time of a plain sample: its 7-bit groups, drawn together in three steps. */
// @ts-ignore: decorator
@inline
export function plainTime(p: usize, end: usize): i64 {
  let x = load<u64>(p, 12) & (<u64>0x7f7f7f7f7f7f7f7f >>> (64 - (<u64>(end - p - 12) << 3)));
  x = (x & 0x007f007f007f007f) | ((x & 0x7f007f007f007f00) >>> 1);
  x = (x & 0x00003fff00003fff) | ((x & 0x3fff00003fff0000) >>> 2);
  return (x & 0x000000000fffffff) | ((x & 0x0fffffff00000000) >>> 4);
}

/** The value's bits of a plain sample. */
// @ts-ignore: decorator
@inline
export function plainBits(p: usize): i64 {
  return load<i64>(p, 3);
}
