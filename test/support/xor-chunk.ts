/** A plain reader of Prometheus' XOR chunks, bit by bit with bigints: the oracle of the encoder. */

export interface ChunkSample {
  readonly timeMs: number;
  readonly bits: bigint;
}

export function decodeXorChunk(bytes: Uint8Array): readonly ChunkSample[] {
  let position = 0;
  const bit = (): number => (bytes[position >> 3]! >> (7 - (position++ & 7))) & 1;
  const bits = (count: number): bigint => {
    let value = 0n;
    for (let i = 0; i < count; i++) value = (value << 1n) | BigInt(bit());
    return value;
  };
  const uvarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bits(8);
      value |= (byte & 0x7fn) << shift;
      if (byte < 0x80n) return value;
    }
  };
  const varint = (): bigint => {
    const value = uvarint();
    return value & 1n ? -((value + 1n) >> 1n) : value >> 1n;
  };
  const count = Number(bits(16));
  const samples: { timeMs: number; bits: bigint }[] = [];
  let time = 0n;
  let delta = 0n;
  let value = 0n;
  let leading = 0;
  let trailing = 0;
  for (let i = 0; i < count; i++) {
    if (i === 0) {
      time = varint();
      value = bits(64);
      samples.push({ timeMs: Number(time), bits: value });
      continue;
    }
    if (i === 1) delta = uvarint();
    else {
      let ones = 0;
      while (ones < 4 && bit() === 1) ones++;
      const width = [0, 14, 17, 20, 64][ones]!;
      if (width > 0) {
        const raw = bits(width);
        // Go reads the value that is exactly half of the range as positive.
        delta += width < 64 && raw > 1n << BigInt(width - 1) ? raw - (1n << BigInt(width)) : BigInt.asIntN(64, raw);
      }
    }
    time += delta;
    if (bit() === 1) {
      if (bit() === 1) {
        leading = Number(bits(5));
        const length = Number(bits(6)) || 64;
        trailing = 64 - leading - length;
      }
      value ^= bits(64 - leading - trailing) << BigInt(trailing);
    }
    samples.push({ timeMs: Number(time), bits: value });
  }
  return samples;
}
