/** Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF (Unicode 15, table 3-7). */
export function utf8Valid(p: usize, n: u32): bool {
  const end = p + n;
  while (p < end) {
    const first = <u32>load<u8>(p);
    if (first < 0x80) {
      p++;
      continue;
    }
    const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || p + length > end) return false;
    const second = <u32>load<u8>(p + 1);
    if (second < lowest(first) || second > highest(first)) return false;
    if (length > 2 && (<u32>load<u8>(p + 2) & 0xc0) != 0x80) return false;
    if (length > 3 && (<u32>load<u8>(p + 3) & 0xc0) != 0x80) return false;
    p += length;
  }
  return true;
}

/** Range of the second byte, which rules out what the first one allows too much. */
function lowest(first: u32): u32 {
  return first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
}

function highest(first: u32): u32 {
  return first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
}
