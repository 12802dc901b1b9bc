/**
 * What the log does with every byte, over a memory of its own: records are put together there and written from there, so
 * a body is copied once, and nobody has to keep it. The loader of assembly/log.as.ts.
 *
 *     0 tables   64 KiB: 64 KiB to pack, and what they become   256 KiB: slots that records are put together in
 *
 * The memory is reserved and not resident until it is used: as long as the disk keeps up that is two slots.
 */
import { KERNEL_WASM_BASE64 } from './kernel/generated/log.ts';

interface LogExports {
  init(): void;
  crc32c(address: number, bytes: number, before: number): number;
  pack(source: number, bytes: number, target: number): number;
  unpack(source: number, bytes: number, target: number, bytesMax: number): number;
}

/** Bytes that are packed at a time. */
const BLOCK_BYTES = 65_536;
const PAGE_BYTES = 65_536;
const PLAIN = PAGE_BYTES;
/** Behind the block there is room to read on. */
const PACKED = PLAIN + BLOCK_BYTES + 64;
const PACKED_BYTES_MAX = BLOCK_BYTES + Math.ceil(BLOCK_BYTES / 6) + 64;
const SLOTS = 256 * 1024;
export const SLOT_BYTES = 2 * 1024 * 1024;
/** Marks a block that did not become smaller, and is as it was. */
const IS_PLAIN = 0x8000_0000;
const LENGTH_BYTES = 4;

let compiled: WebAssembly.Module | null = null;

export class LogKernel {
  readonly memory: Buffer;
  readonly slots: number;
  readonly #exports: LogExports;

  /** `slots` is how many there are in the memory. */
  constructor(slots: number) {
    compiled ??= new WebAssembly.Module(Buffer.from(KERNEL_WASM_BASE64, 'base64'));
    const pages = (SLOTS + slots * SLOT_BYTES) / PAGE_BYTES;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory, abort: trap } });
    this.#exports = exports as unknown as LogExports;
    this.memory = Buffer.from(memory.buffer);
    this.slots = slots;
    this.#exports.init();
  }

  /** Where a slot begins. */
  addressOf(slot: number): number {
    return SLOTS + slot * SLOT_BYTES;
  }

  /** CRC-32C of bytes of the memory. */
  sumAt(address: number, bytes: number, before = 0): number {
    return this.#exports.crc32c(address, bytes, before) >>> 0;
  }

  /** CRC-32C of bytes from elsewhere. */
  readonly checksum = (bytes: Uint8Array): number => {
    if (bytes.buffer === this.memory.buffer) return this.sumAt(bytes.byteOffset, bytes.length);
    let sum = 0;
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const part = bytes.subarray(at, at + BLOCK_BYTES);
      this.memory.set(part, PLAIN);
      sum = this.sumAt(PLAIN, part.length, sum);
    }
    return sum;
  };

  /**
   * Packs bytes, in blocks: u32 plain bytes, then of each block u32 bytes (the highest bit: not packed) and these. Written
   * to `into` at `at`, where there must be `packedBytesMax` bytes of room; how many it is.
   */
  pack(bytes: Uint8Array, into: Buffer, at: number): number {
    let end = into.writeUInt32LE(bytes.length, at);
    for (let from = 0; from < bytes.length; from += BLOCK_BYTES) {
      const part = bytes.subarray(from, from + BLOCK_BYTES);
      this.memory.set(part, PLAIN);
      const packed = this.#exports.pack(PLAIN, part.length, PACKED);
      const isPacked = packed < part.length;
      end = into.writeUInt32LE(isPacked ? packed : (part.length | IS_PLAIN) >>> 0, end);
      into.set(isPacked ? this.memory.subarray(PACKED, PACKED + packed) : part, end);
      end += isPacked ? packed : part.length;
    }
    return end - at;
  }

  /** What was packed; null if it cannot be, or is more than `bytesMax`. */
  unpack(packed: Buffer, bytesMax: number): Buffer | null {
    if (packed.length < LENGTH_BYTES || packed.readUInt32LE(0) > bytesMax) return null;
    const bytes = Buffer.allocUnsafeSlow(packed.readUInt32LE(0));
    let at = LENGTH_BYTES;
    for (let done = 0; done < bytes.length; done += BLOCK_BYTES) {
      if (at + LENGTH_BYTES > packed.length) return null;
      const head = packed.readUInt32LE(at);
      const length = head & ~IS_PLAIN;
      at += LENGTH_BYTES;
      const wanted = Math.min(BLOCK_BYTES, bytes.length - done);
      if (length > PACKED_BYTES_MAX || at + length > packed.length) return null;
      const block = packed.subarray(at, at + length);
      const plain = head >= IS_PLAIN ? block : this.#unpackBlock(block);
      if (plain === null || plain.length !== wanted) return null;
      bytes.set(plain, done);
      at += length;
    }
    return at === packed.length ? bytes : null;
  }

  #unpackBlock(block: Uint8Array): Uint8Array | null {
    this.memory.set(block, PACKED);
    const bytes = this.#exports.unpack(PACKED, block.length, PLAIN, BLOCK_BYTES);
    return bytes < 0 ? null : this.memory.subarray(PLAIN, PLAIN + bytes);
  }
}

/** The most that packing makes of so many bytes. */
export function packedBytesMax(bytes: number): number {
  return LENGTH_BYTES + bytes + LENGTH_BYTES * Math.ceil(bytes / BLOCK_BYTES);
}

function trap(): never {
  throw new Error('the kernel of the log failed');
}
