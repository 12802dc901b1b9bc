/**
 * The bytes of the log; docs/formats/log.md draws them. A segment is a header and records, one behind the other:
 *
 *     0 sync mark (8)   8 u32 payload bytes   12 u8 kind   13 u8 protocol   14 u8 encoding   15 u8 form: 0
 *     16 u32 profile   20 u32 verdict bytes   24 f64 arrival   32 u32 stamp bytes   36 u32 CRC-32C of the payload
 *     40 u32 segment   44 u32 CRC-32C of these 44 bytes      then the payload: stamp, verdict, body
 *
 * The header has a checksum of its own, so a length that is believed is right; where it is not, the next sync mark is
 * looked for. Nothing is ever lost but the records that were hit.
 */
import { strict as assert } from 'node:assert';
import { inflateRawSync } from 'node:zlib';
import { packedBytesMax } from './log-kernel.ts';

/** 1 had bodies deflated, not packed. */
export const LOG_FORMAT_VERSION = 2;
const LOG_FORMAT_VERSION_MIN = 1;
export const SEGMENT_HEADER_BYTES = 32;
export const RECORD_HEADER_BYTES = 48;
const SEGMENT_MAGIC = Buffer.from('TGLOGSEG');
// A high byte first, and both kinds of line ends: nothing that bodies are likely to hold.
const SYNC_MARK = Buffer.from([0x89, 0x54, 0x47, 0x52, 0x0d, 0x0a, 0x1a, 0xff]);

export const RECORD_BODY = 1;
export const RECORD_PROFILE = 2;
/** What a record is taken for whose form or encoding is of another version. */
const RECORD_UNKNOWN = 0;
const ENCODING_AS_IS = 0;
const ENCODING_DEFLATE = 1;
const ENCODING_PACKED = 2;
/** Bodies are no larger than this when inflated: a damaged one must not become a flood. */
const BODY_BYTES_MAX = 128 * 2 ** 20;

export type Checksum = (bytes: Uint8Array) => number;

export interface LogRecord {
  readonly kind: number;
  readonly protocol: number;
  /** Which settings the body is to be read with: the checksum of their text. */
  readonly profile: number;
  readonly arrivalMs: number;
  /** Namespace that the sender was given; '' for none. */
  readonly stamp: string;
  readonly verdict: Uint8Array;
  readonly body: Uint8Array;
}

export function encodeSegmentHeader(segment: number, createdMs: number): Uint8Array {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes);
  bytes.writeUInt32LE(LOG_FORMAT_VERSION, 8);
  bytes.writeUInt32LE(segment, 12);
  bytes.writeDoubleLE(createdMs, 16);
  bytes.writeUInt32LE(smallCrc32c(bytes.subarray(0, 28)), 28);
  return bytes;
}

/** What of a log touches every byte: log-kernel.ts. */
export interface LogTools {
  readonly checksum: Checksum;
  pack(bytes: Uint8Array, into: Buffer, at: number): number;
  unpack(packed: Buffer, bytesMax: number): Buffer | null;
}

/** Below this, packing costs more than it saves. */
const PACK_BYTES_MIN = 1024;

/** The most that a record takes. */
export function recordBytesMax({ stamp, verdict, body }: LogRecord, isCompressed: boolean): number {
  const small = RECORD_HEADER_BYTES + stamp.length * UTF8_BYTES_MAX + verdict.length;
  return small + (isPacked(body, isCompressed) ? packedBytesMax(body.length) : body.length);
}

function isPacked(body: Uint8Array, isCompressed: boolean): boolean {
  return !isCompressed && body.length >= PACK_BYTES_MIN;
}

const UTF8_BYTES_MAX = 3;

/**
 * Writes a record to `into` at `at`, where there must be `recordBytesMax` bytes; how many it is. `isCompressed`: its body
 * came so, and stays as it is.
 */
export function encodeRecord(
  record: LogRecord,
  isCompressed: boolean,
  segment: number,
  tools: LogTools,
  into: Buffer,
  at: number,
): number {
  const { stamp, verdict, body } = record;
  const smallAt = at + RECORD_HEADER_BYTES;
  const stampBytes = stamp === '' ? 0 : into.write(stamp, smallAt);
  if (verdict.length > 0) into.set(verdict, smallAt + stampBytes);
  const bodyAt = smallAt + stampBytes + verdict.length;
  const packs = isPacked(body, isCompressed);
  const bodyBytes = packs ? tools.pack(body, into, bodyAt) : body.length;
  if (!packs) into.set(body, bodyAt);
  into.set(SYNC_MARK, at);
  into.writeUInt32LE(stampBytes + verdict.length + bodyBytes, at + 8);
  into[at + 12] = record.kind;
  into[at + 13] = record.protocol;
  into[at + 14] = packs ? ENCODING_PACKED : ENCODING_AS_IS;
  into[at + 15] = 0;
  into.writeUInt32LE(record.profile, at + 16);
  into.writeUInt32LE(verdict.length, at + 20);
  into.writeDoubleLE(record.arrivalMs, at + 24);
  into.writeUInt32LE(stampBytes, at + 32);
  const small = into.subarray(smallAt, bodyAt);
  into.writeUInt32LE(payloadSum(small, into.subarray(bodyAt, bodyAt + bodyBytes), tools.checksum), at + 36);
  into.writeUInt32LE(segment, at + 40);
  into.writeUInt32LE(smallCrc32c(into.subarray(at, at + 44)), at + 44);
  return bodyAt + bodyBytes - at;
}

export interface ScannedRecord extends LogRecord {
  /** Where it begins in the segment. */
  readonly at: number;
  /** The record with its header. */
  readonly bytes: Uint8Array;
}

export interface ScanCounts {
  records: number;
  /** Records whose payload is not what was written. */
  damaged: number;
  /** Bytes that belong to no record: damaged headers and what they led to, torn ends. */
  bytesPassedOver: number;
  /** True if the segment is of a format that is not known here. */
  isUnknown: boolean;
}

/** Every record of a segment that is whole; what is not is passed over and counted. The records borrow `bytes`. */
export function* scanSegment(
  bytes: Buffer,
  segment: number,
  tools: LogTools,
  counts: ScanCounts,
): Generator<ScannedRecord> {
  const scan = new SegmentScan(segment, tools, counts);
  yield* scan.records(bytes, bytes.length);
}

/** Goes over a segment that comes in pieces. */
export class SegmentScan {
  /** Where in the segment the next record is looked for: what lies before it is not needed any more. */
  position = 0;
  /** How many bytes from there on must be there for it to go on. */
  needs = SEGMENT_HEADER_BYTES;
  readonly #segment: number;
  readonly #tools: LogTools;
  readonly #counts: ScanCounts;
  #isBegun = false;

  constructor(segment: number, tools: LogTools, counts: ScanCounts) {
    this.#segment = segment;
    this.#tools = tools;
    this.#counts = counts;
  }

  /**
   * The records of a piece that begins at `position`; as far as they are whole in it, unless it goes to the end of the
   * segment, which is so long: then what is left belongs to no record. The records borrow the piece.
   */
  *records(piece: Buffer, segmentBytes: number): Generator<ScannedRecord> {
    const first = this.position;
    const isLast = first + piece.length >= segmentBytes;
    if (!this.#isBegun && !this.#begin(piece)) return;
    while (this.position - first + RECORD_HEADER_BYTES <= piece.length) {
      const at = this.position - first;
      const header = piece.subarray(at, at + RECORD_HEADER_BYTES);
      const bytes = isHeader(header, this.#segment) ? RECORD_HEADER_BYTES + header.readUInt32LE(8) : 0;
      if (bytes === 0 || this.position + bytes > segmentBytes) {
        this.#passOver(piece, at, isLast);
        continue;
      }
      this.needs = bytes;
      if (at + bytes > piece.length) return;
      const record = readRecord(piece, at, at + bytes, this.#tools);
      if (record === null) this.#counts.damaged++;
      else {
        this.#counts.records++;
        yield { ...record, at: this.position };
      }
      this.position += bytes;
      this.needs = RECORD_HEADER_BYTES;
    }
    if (!isLast) return;
    this.#counts.bytesPassedOver += first + piece.length - this.position;
    this.position = first + piece.length;
  }

  /** False if the segment is of a format that is not known here. */
  #begin(piece: Buffer): boolean {
    this.#isBegun = true;
    this.needs = RECORD_HEADER_BYTES;
    const head = piece.subarray(0, SEGMENT_HEADER_BYTES);
    // If its header is damaged, its records may not be.
    if (!isWholeHeader(head)) return true;
    this.#counts.isUnknown = isUnknownSegment(head);
    this.position = SEGMENT_HEADER_BYTES;
    return !this.#counts.isUnknown;
  }

  /** To the next sync mark; without one, to where one may begin that goes on behind the piece. */
  #passOver(piece: Buffer, at: number, isLast: boolean): void {
    const next = piece.indexOf(SYNC_MARK, at + 1);
    const end = isLast ? piece.length : Math.max(at + 1, piece.length - SYNC_MARK.length + 1);
    const bytes = (next < 0 ? end : next) - at;
    this.#counts.bytesPassedOver += bytes;
    this.position += bytes;
    this.needs = RECORD_HEADER_BYTES;
  }
}

/** True if another version wrote the segment that begins like this, and it cannot be read here. */
export function isUnknownSegment(header: Buffer): boolean {
  const version = header.readUInt32LE(8);
  return isWholeHeader(header) && (version < LOG_FORMAT_VERSION_MIN || version > LOG_FORMAT_VERSION);
}

function isWholeHeader(header: Buffer): boolean {
  return header.length === SEGMENT_HEADER_BYTES && header.readUInt32LE(28) === smallCrc32c(header.subarray(0, 28));
}

/** Payload as it was written, or null. */
function readRecord(bytes: Buffer, at: number, end: number, tools: LogTools): ScannedRecord | null {
  const header = bytes.subarray(at, at + RECORD_HEADER_BYTES);
  const stampAt = at + RECORD_HEADER_BYTES;
  const verdictAt = stampAt + header.readUInt32LE(32);
  const bodyAt = verdictAt + header.readUInt32LE(20);
  if (bodyAt > end) return null;
  const payload = bytes.subarray(bodyAt, end);
  if (payloadSum(bytes.subarray(stampAt, bodyAt), payload, tools.checksum) !== header.readUInt32LE(36)) return null;
  const isKnown = header[15] === 0 && header[14]! <= ENCODING_PACKED;
  const body = isKnown ? bodyOf(payload, header[14]!, tools) : payload;
  if (body === null) return null;
  return {
    at,
    bytes: bytes.subarray(at, end),
    kind: isKnown ? header[12]! : RECORD_UNKNOWN,
    protocol: header[13]!,
    profile: header.readUInt32LE(16),
    arrivalMs: header.readDoubleLE(24),
    stamp: bytes.toString('utf8', stampAt, verdictAt),
    verdict: bytes.subarray(verdictAt, bodyAt),
    body,
  };
}

/** The body as it came; null if it is not what its encoding makes. */
function bodyOf(payload: Buffer, encoding: number, tools: LogTools): Buffer | null {
  if (encoding === ENCODING_AS_IS) return payload;
  if (encoding === ENCODING_PACKED) return tools.unpack(payload, BODY_BYTES_MAX);
  assert(encoding === ENCODING_DEFLATE);
  try {
    return inflateRawSync(payload, { maxOutputLength: BODY_BYTES_MAX });
  } catch {
    return null;
  }
}

function isHeader(header: Buffer, segment: number): boolean {
  if (!header.subarray(0, SYNC_MARK.length).equals(SYNC_MARK)) return false;
  return header.readUInt32LE(44) === smallCrc32c(header.subarray(0, 44)) && header.readUInt32LE(40) === segment;
}

function payloadSum(small: Uint8Array, body: Uint8Array, checksum: Checksum): number {
  const bodySum = checksum(body);
  return small.length === 0 ? bodySum : (bodySum ^ Math.imul(smallCrc32c(small), 0x9e3779b1)) >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C of a few bytes. */
export function smallCrc32c(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}
