/**
 * The keyed hash of label bytes. 16 bytes a step; both halves of a keyed word are multiplied with each other, so that
 * what a difference in the input does depends on the keys, which no sender knows (the construction of XXH3's long
 * loop, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md; not its constants). It only spreads: equality
 * is always decided on bytes.
 */
import { SB_KEYS } from '../layout';

const STEP: u64 = 0x9e3779b97f4a7c15;
const MIX: u64 = 0xd6e8feb86659fd93;

// @ts-ignore: decorator
@inline
function product(word: u64): u64 {
  return (word & 0xffffffff) * (word >>> 32);
}

/** Hash of n bytes; reads up to 15 bytes past them. */
export function hashBytes(p: usize, n: u32): u64 {
  let keyA = load<u64>(SB_KEYS);
  let keyB = load<u64>(SB_KEYS, 8);
  let a = load<u64>(SB_KEYS, 16) + n;
  let b = load<u64>(SB_KEYS, 24);
  let at: u32 = 0;
  while (at + 16 <= n) {
    const x = load<u64>(p + at);
    const y = load<u64>(p + at, 8);
    a += product(x ^ keyA) + y;
    b += product(y ^ keyB) + x;
    keyA += STEP;
    keyB += STEP;
    at += 16;
  }
  const rest = n - at;
  if (rest != 0) {
    const x = load<u64>(p + at) & firstBytes(min<u32>(rest, 8));
    const y = rest > 8 ? load<u64>(p + at, 8) & firstBytes(rest - 8) : 0;
    a += product(x ^ keyA) + y;
    b += product(y ^ keyB) + x;
  }
  return avalanche((a ^ (a >>> 29)) * MIX + rotl<u64>(b ^ (b >>> 31), 23));
}

/** Folds the hash of one label into the hash of a label set; order counts. */
// @ts-ignore: decorator
@inline
export function hashFold(set: u64, label: u32): u64 {
  return (rotl<u64>(set, 25) ^ <u64>label) * MIX;
}

// @ts-ignore: decorator
@inline
export function avalanche(h: u64): u64 {
  h = (h ^ (h >>> 32)) * MIX;
  return h ^ (h >>> 29);
}

// @ts-ignore: decorator
@inline
function firstBytes(n: u32): u64 {
  return <u64>-1 >>> (64 - (n << 3));
}
