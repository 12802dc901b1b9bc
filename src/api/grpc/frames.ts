/**
 * Frames of HTTP/2 (RFC 9113): their numbers, and the buffer that they are written into.
 *
 *     frame      0 u24 length   3 u8 type   4 u8 flags   5 u31 stream   9 payload
 */

export const FRAME_HEAD_BYTES = 9;
/** Bytes of a payload that everybody takes; we ask for no more and send no more. */
export const FRAME_BYTES_MAX = 16_384;
/** RFC 9113, section 3.4. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

export const SETTING = { maxConcurrentStreams: 3, initialWindowSize: 4, maxHeaderListSize: 6 } as const;

/** Error codes of RST_STREAM and GOAWAY. */
export const H2 = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

/** Bytes that are set aside at a time: little for a connection that says little. */
const CHUNK_BYTES_MIN = 2048;
const CHUNK_BYTES_MAX = 32 * 1024;

/** Frames that wait to be sent. Bytes that were taken are never written over, so nothing has to be copied. */
export class FrameWriter {
  #chunk: Buffer = Buffer.alloc(0);
  #from = 0;
  #at = 0;
  #filled: Buffer[] = [];

  /** The payload is copied. */
  frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    const at = this.#head(type, flags, streamId, payload.length);
    this.#chunk.set(payload, at);
  }

  /** A frame of one number. */
  frame32(type: number, streamId: number, value: number): void {
    this.#chunk.writeUInt32BE(value, this.#head(type, 0, streamId, 4));
  }

  /** DATA with one gRPC message in it: a flag for compression, four bytes of length, the message. */
  message(streamId: number, bytes: Uint8Array): void {
    const at = this.#head(FRAME.data, 0, streamId, 5 + bytes.length);
    this.#chunk[at] = 0;
    this.#chunk.writeUInt32BE(bytes.length, at + 1);
    this.#chunk.set(bytes, at + 5);
  }

  /** What was written since the last time, in order; empty for nothing. */
  take(): readonly Buffer[] {
    if (this.#at > this.#from) {
      this.#filled.push(this.#chunk.subarray(this.#from, this.#at));
      this.#from = this.#at;
    }
    const taken = this.#filled;
    if (taken.length > 0) this.#filled = [];
    return taken;
  }

  /** Returns where the payload goes. */
  #head(type: number, flags: number, streamId: number, length: number): number {
    if (this.#at + FRAME_HEAD_BYTES + length > this.#chunk.length) {
      if (this.#at > this.#from) this.#filled.push(this.#chunk.subarray(this.#from, this.#at));
      const bytes = Math.min(Math.max(2 * this.#chunk.length, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX);
      this.#chunk = Buffer.allocUnsafeSlow(Math.max(bytes, FRAME_HEAD_BYTES + length));
      this.#from = 0;
      this.#at = 0;
    }
    const chunk = this.#chunk;
    const at = this.#at;
    chunk[at] = length >>> 16;
    chunk[at + 1] = (length >>> 8) & 0xff;
    chunk[at + 2] = length & 0xff;
    chunk[at + 3] = type;
    chunk[at + 4] = flags;
    chunk.writeUInt32BE(streamId, at + 5);
    this.#at = at + FRAME_HEAD_BYTES + length;
    return at + FRAME_HEAD_BYTES;
  }
}
