/**
 * Files of the store as another version would have written them: the same bytes with another version in them, and with
 * checksums that are right. Layouts: docs/formats/image.md and docs/formats/log.md.
 */
import { smallCrc32c } from '../../src/tsdb/log-format.ts';

const IMAGE_HEADER_BYTES = 32;

/** An image whose first block says something else of it. */
export function imageWith(image: Buffer, changes: Readonly<Record<string, unknown>>): Buffer {
  const bytes = image.readUInt32LE(12);
  const end = IMAGE_HEADER_BYTES + bytes;
  const begin = JSON.parse(image.subarray(IMAGE_HEADER_BYTES, end).toString());
  const payload = Buffer.from(JSON.stringify({ ...begin, ...changes }));
  const header = Buffer.from(image.subarray(0, IMAGE_HEADER_BYTES));
  header.writeUInt32LE(payload.length, 12);
  header.writeUInt32LE(smallCrc32c(payload), 20);
  header.writeUInt32LE(smallCrc32c(header.subarray(0, 28)), 28);
  return Buffer.concat([header, payload, image.subarray(end)]);
}

/** A segment of the log of another version. */
export function segmentOf(version: number, segment: Buffer): Buffer {
  const bytes = Buffer.from(segment);
  bytes.writeUInt32LE(version, 8);
  bytes.writeUInt32LE(smallCrc32c(bytes.subarray(0, 28)), 28);
  return bytes;
}

const SEGMENT_HEADER_BYTES = 32;
const RECORD_HEADER_BYTES = 48;

/** Where the records of a segment begin. */
export function recordsOf(segment: Buffer): number[] {
  const starts: number[] = [];
  for (let at = SEGMENT_HEADER_BYTES; at < segment.length; ) {
    starts.push(at);
    at += RECORD_HEADER_BYTES + segment.readUInt32LE(at + 8);
  }
  return starts;
}

/** A segment in which a byte of a record's header is another one: 12 is the kind, 13 the protocol, 14 the encoding, 15 the form. */
export function recordWith(segment: Buffer, at: number, byte: 12 | 13 | 14 | 15, value: number): Buffer {
  const bytes = Buffer.from(segment);
  bytes[at + byte] = value;
  bytes.writeUInt32LE(smallCrc32c(bytes.subarray(at, at + 44)), at + 44);
  return bytes;
}
