/**
 * What the log does with every byte, over a memory of its own (../log-kernel.ts): checksums, and packing what comes
 * uncompressed, as blocks of snappy.
 *
 *     0 4 KiB free   4096 tables of the checksum (16 KiB)   20480 positions by hash (32 KiB)   65536 the caller's
 *
 * Sources of the methods: Kounavis and Berry, "slicing-by-8"; google/snappy, format_description.txt.
 */
import { snappyDecode } from '../../ingest/remote-write/assembly/snappy.as';

const POLYNOMIAL: u32 = 0x82f63b78;
const CRC_TABLES: usize = 4096;
const SLICES: u32 = 16;
const POSITIONS: usize = 20480;
const POSITION_BITS: u32 = 14;

/** Fills the tables. */
export function init(): void {
  for (let i: u32 = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    store<u32>(CRC_TABLES + (i << 2), crc);
  }
  for (let i: u32 = 256; i < SLICES * 256; i++) {
    const before = load<u32>(CRC_TABLES + ((i - 256) << 2));
    store<u32>(CRC_TABLES + (i << 2), (before >>> 8) ^ load<u32>(CRC_TABLES + ((before & 0xff) << 2)));
  }
}

// @ts-ignore: decorator
@inline
function slice8(word: u64, first: u32): u32 {
  const at = CRC_TABLES + (first << 10);
  return (
    load<u32>(at + ((<u32>word & 0xff) << 2), 7168) ^
    load<u32>(at + (((<u32>word >>> 8) & 0xff) << 2), 6144) ^
    load<u32>(at + (((<u32>word >>> 16) & 0xff) << 2), 5120) ^
    load<u32>(at + ((<u32>word >>> 24) << 2), 4096) ^
    load<u32>(at + ((<u32>(word >>> 32) & 0xff) << 2), 3072) ^
    load<u32>(at + ((<u32>(word >>> 40) & 0xff) << 2), 2048) ^
    load<u32>(at + ((<u32>(word >>> 48) & 0xff) << 2), 1024) ^
    load<u32>(at + (<u32>(word >>> 56) << 2))
  );
}

/** CRC-32C of n bytes; `before` is that of what comes before them, 0 at the beginning. */
export function crc32c(p: usize, n: u32, before: u32): u32 {
  let crc = ~before;
  const end = p + n;
  for (; p + 16 <= end; p += 16) {
    crc = slice8(load<u64>(p) ^ <u64>crc, 8) ^ slice8(load<u64>(p, 8), 0);
  }
  for (; p < end; p++) crc = (crc >>> 8) ^ load<u32>(CRC_TABLES + (((crc ^ load<u8>(p)) & 0xff) << 2));
  return ~crc;
}

// ---- packing

// @ts-ignore: decorator
@inline
function positionAt(word: u32): usize {
  return POSITIONS + (((word * 0x1e35a7bd) >>> (32 - POSITION_BITS)) << 1);
}

/**
 * Packs n bytes, 65,536 at most, as a block of snappy; its length. Reads up to 16 bytes behind the source, and writes
 * up to n + n / 6 + 64.
 */
export function pack(source: usize, n: u32, target: usize): u32 {
  memory.fill(POSITIONS, 0, 2 << POSITION_BITS);
  const end = source + n;
  let out = putLength(target, n);
  let literal = source;
  let at = source + 1;
  // The last bytes are a literal: no word is read across the end.
  const last = n < 16 ? source : end - 12;
  let misses: u32 = 32;
  while (at < last) {
    const word = load<u32>(at);
    const position = positionAt(word);
    const candidate = source + <usize>load<u16>(position);
    store<u16>(position, <u16>(at - source));
    if (candidate >= at || load<u32>(candidate) != word) {
      at += misses >>> 5;
      misses++;
      continue;
    }
    misses = 32;
    if (at > literal) out = putLiteral(out, literal, <u32>(at - literal));
    const length = 4 + matched(candidate + 4, at + 4, end);
    out = putCopy(out, <u32>(at - candidate), length);
    at += length;
    literal = at;
    if (at < last) store<u16>(positionAt(load<u32>(at - 1)), <u16>(at - 1 - source));
  }
  if (end > literal) out = putLiteral(out, literal, <u32>(end - literal));
  return <u32>(out - target);
}

/** How many bytes at two places are the same, up to the end. */
// @ts-ignore: decorator
@inline
function matched(a: usize, b: usize, end: usize): u32 {
  const from = b;
  while (b + 8 <= end) {
    const difference = load<u64>(a) ^ load<u64>(b);
    if (difference != 0) return <u32>(b - from) + (<u32>ctz<u64>(difference) >>> 3);
    a += 8;
    b += 8;
  }
  while (b < end && load<u8>(a) == load<u8>(b)) {
    a++;
    b++;
  }
  return <u32>(b - from);
}

function putLength(out: usize, n: u32): usize {
  while (n >= 0x80) {
    store<u8>(out++, n | 0x80);
    n >>>= 7;
  }
  store<u8>(out, n);
  return out + 1;
}

function putLiteral(out: usize, from: usize, n: u32): usize {
  const tag = n - 1;
  if (tag < 60) {
    store<u8>(out, tag << 2);
    out += 1;
  } else if (tag < 256) {
    store<u8>(out, 60 << 2);
    store<u8>(out, tag, 1);
    out += 2;
  } else {
    store<u8>(out, 61 << 2);
    store<u16>(out, tag, 1);
    out += 3;
  }
  // Most are short, and a call to copy them would cost more than copying.
  if (n <= 64) for (let i: u32 = 0; i < n; i += 16) v128.store(out + i, v128.load(from + i));
  else memory.copy(out, from, n);
  return out + n;
}

function putCopy(out: usize, offset: u32, length: u32): usize {
  while (length > 64) {
    // Never fewer than four are left.
    const part: u32 = length >= 68 ? 64 : 60;
    out = putTag(out, offset, part);
    length -= part;
  }
  if (length < 12 && offset < 2048) {
    store<u8>(out, 1 | ((length - 4) << 2) | ((offset >>> 8) << 5));
    store<u8>(out, offset, 1);
    return out + 2;
  }
  return putTag(out, offset, length);
}

// @ts-ignore: decorator
@inline
function putTag(out: usize, offset: u32, length: u32): usize {
  store<u8>(out, 2 | ((length - 1) << 2));
  store<u16>(out, offset, 1);
  return out + 3;
}

/** Unpacks a block of n bytes, into at most `bytesMax`; how many it is, or -1 if it is damaged. */
export function unpack(source: usize, n: u32, target: usize, bytesMax: u32): i32 {
  if (snappyDecode(source, n, target, bytesMax, 0) != 0) return -1;
  return load<i32>(0);
}
