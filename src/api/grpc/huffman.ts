/**
 * The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B). It is canonical: codes of one length follow each
 * other in the order of their symbols, so the lengths alone say all of it.
 *
 * The tree is an array of pairs: entry 2n is where a 0 leads from node n, entry 2n + 1 where a 1 does; a symbol s is kept
 * as -1 - s, and 0 is no way at all, since nothing leads back to the root.
 */

/** Bits of the code of each byte. */
// biome-ignore format: sixteen a line, as the appendix is read
const CODE_BITS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
/** The end of a string: thirty ones. It may begin as padding, but never stand in a string. */
const END = 256;
const END_BITS = 30;

const TREE = buildTree();

/** Decodes a string; null if it is none: cut within a code, padded with anything but ones, or with an end in it. */
export function decodeHuffman(bytes: Uint8Array): Buffer | null {
  // The shortest code has five bits.
  const into = Buffer.allocUnsafe(Math.ceil((bytes.length * 8) / 5));
  let length = 0;
  let node = 0;
  let depth = 0;
  let isOnesOnly = true;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1;
      const next = TREE[2 * node + one]!;
      depth++;
      isOnesOnly &&= one === 1;
      if (next > 0) {
        node = next;
        continue;
      }
      const symbol = -1 - next;
      if (next === 0 || symbol === END) return null;
      into[length++] = symbol;
      node = 0;
      depth = 0;
      isOnesOnly = true;
    }
  }
  return depth <= 7 && isOnesOnly ? into.subarray(0, length) : null;
}

function buildTree(): Int16Array {
  const symbols = [...CODE_BITS, END_BITS].map((bits, symbol) => ({ bits, symbol }));
  symbols.sort((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  const tree = new Int16Array(4 * symbols.length);
  let nodes = 1;
  let code = 0;
  let codeBits = 0;
  for (const { bits, symbol } of symbols) {
    code *= 2 ** (bits - codeBits);
    codeBits = bits;
    let node = 0;
    for (let bit = bits - 1; bit > 0; bit--) {
      const way = 2 * node + ((code >>> bit) & 1);
      if (tree[way] === 0) tree[way] = nodes++;
      node = tree[way]!;
    }
    tree[2 * node + (code & 1)] = -1 - symbol;
    code++;
  }
  return tree;
}
