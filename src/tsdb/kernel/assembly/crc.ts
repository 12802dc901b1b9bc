/** CRC-32C (Castagnoli), sixteen bytes a step. Source of the method: Kounavis and Berry, "slicing-by-8". */
import { SB_CRC_TABLES } from '../layout';

const POLYNOMIAL: u32 = 0x82f63b78;
const SLICES: u32 = 16;
export const CRC_TABLE_BYTES: u32 = SLICES * 1024;

/** Fills the tables. */
export function crcInit(): void {
  const tables = <usize>load<u32>(SB_CRC_TABLES);
  for (let i: u32 = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    store<u32>(tables + (i << 2), crc);
  }
  for (let i: u32 = 256; i < SLICES * 256; i++) {
    const before = load<u32>(tables + ((i - 256) << 2));
    store<u32>(tables + (i << 2), (before >>> 8) ^ load<u32>(tables + ((before & 0xff) << 2)));
  }
}

// @ts-ignore: decorator
@inline
function slice4(tables: usize, word: u32, first: u32): u32 {
  const at = tables + (first << 10);
  return (
    load<u32>(at + ((word & 0xff) << 2), 3072) ^
    load<u32>(at + (((word >>> 8) & 0xff) << 2), 2048) ^
    load<u32>(at + (((word >>> 16) & 0xff) << 2), 1024) ^
    load<u32>(at + ((word >>> 24) << 2))
  );
}

/** The checksum of n bytes; `before` is that of what comes before them, 0 at the beginning. */
export function crc32c(p: usize, n: u32, before: u32): u32 {
  const tables = <usize>load<u32>(SB_CRC_TABLES);
  let crc = ~before;
  const end = p + n;
  for (; p + 16 <= end; p += 16) {
    crc =
      slice4(tables, load<u32>(p) ^ crc, 12) ^
      slice4(tables, load<u32>(p, 4), 8) ^
      slice4(tables, load<u32>(p, 8), 4) ^
      slice4(tables, load<u32>(p, 12), 0);
  }
  for (; p < end; p++) crc = (crc >>> 8) ^ load<u32>(tables + (((crc ^ load<u8>(p)) & 0xff) << 2));
  return ~crc;
}
