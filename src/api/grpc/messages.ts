/**
 * Messages of gRPC as they come in a stream of bytes: a flag for compression, four bytes of length, the message. What a
 * client may make us hold is bounded by the length that it announces, before anything is kept.
 */
import { gunzip, inflate } from 'node:zlib';
import { GRPC } from '../../model/errors.ts';
import { inflateWithin, TooMuchInflated } from '../inflating.ts';
import type { GrpcFault } from './status.ts';

const PREFIX_BYTES = 5;

export class MessageReader {
  readonly #bytesMax: number;
  /** What came and was not given out: the first bytes are borrowed, and copied once more come. */
  #buffer: Buffer = NO_BYTES;
  #bytes = 0;
  /** Bytes of the message that is coming, or -1 before they are known. */
  #length = -1;
  #isCompressed = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes that are held. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** Throws a {@link GrpcFault} for a message that is too large. */
  push(bytes: Buffer): void {
    if (this.#bytes === 0) {
      this.#buffer = bytes;
    } else {
      this.#grow(this.#bytes + bytes.length);
      this.#buffer.set(bytes, this.#bytes);
    }
    this.#bytes += bytes.length;
    this.#readPrefix();
  }

  /** The next whole message, or null. Throws a {@link GrpcFault} if the one after it is too large. */
  next(): { readonly bytes: Buffer; readonly isCompressed: boolean } | null {
    const end = PREFIX_BYTES + this.#length;
    if (this.#length < 0 || this.#bytes < end) return null;
    const message = { bytes: this.#buffer.subarray(PREFIX_BYTES, end), isCompressed: this.#isCompressed };
    this.#buffer = this.#buffer.subarray(end, this.#bytes);
    this.#bytes -= end;
    this.#length = -1;
    this.#readPrefix();
    return message;
  }

  #readPrefix(): void {
    if (this.#length >= 0 || this.#bytes < PREFIX_BYTES) return;
    this.#isCompressed = this.#buffer[0] === 1;
    this.#length = this.#buffer.readUInt32BE(1);
    if (this.#length > this.#bytesMax) throw tooLarge(this.#length, this.#bytesMax);
  }

  /** Doubles, so that many small pieces cost no more than few large ones; a length that is only announced takes nothing. */
  #grow(bytes: number): void {
    if (bytes <= this.#buffer.length) return;
    const whole = this.#length < 0 ? bytes : PREFIX_BYTES + this.#length;
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(2 * bytes, whole)));
    larger.set(this.#buffer.subarray(0, this.#bytes));
    this.#buffer = larger;
  }
}

const NO_BYTES = Buffer.alloc(0);

/** Decompresses outside of the main thread, and stops at the limit. Rejects with a {@link GrpcFault}. */
export async function inflateMessage(bytes: Buffer, encoding: string, bytesMax: number): Promise<Buffer> {
  const run = encoding === 'gzip' ? gunzip : encoding === 'deflate' ? inflate : null;
  if (run === null) throw fault(GRPC.internal, 'a compressed message, but no grpc-encoding that says how');
  try {
    return await inflateWithin(bytes, bytesMax, run);
  } catch (error) {
    if (error instanceof TooMuchInflated) throw tooLarge(null, bytesMax);
    const reason = error instanceof Error ? error.message : String(error);
    throw fault(GRPC.internal, `cannot decompress ${encoding} message: ${reason}`);
  }
}

function tooLarge(bytes: number | null, bytesMax: number): GrpcFault {
  const got = bytes === null ? 'more after decompression' : `${bytes} bytes`;
  return fault(GRPC.resourceExhausted, `cannot take message: got ${got}, want at most ${bytesMax} bytes`);
}

function fault(code: number, details: string): GrpcFault {
  return { code, details };
}
