import fc from 'fast-check';
import { test } from 'tap';
import {
  encodeRecord,
  LOG_FORMAT_VERSION,
  type LogRecord,
  recordBytesMax,
  scanSegment,
  smallCrc32c,
} from '../../src/tsdb/log-format.ts';
import { LogKernel, packedBytesMax } from '../../src/tsdb/log-kernel.ts';
import { uncompress } from '../support/plain-snappy.ts';

const seed = Date.now() & 0x7fffffff;
const kernel = new LogKernel(1);

/** Bytes with much, little or nothing that repeats, around the lengths where blocks end. */
const someBytes = fc
  .tuple(fc.constantFrom(1, 2, 17, 300, 65_535, 65_536, 65_537, 200_000), fc.integer({ min: 1, max: 256 }), fc.nat())
  .map(([length, letters, start]) => {
    let state = start;
    return Uint8Array.from({ length }, (_, i) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return i % 61 < 40 && letters < 200 ? i % 61 : (state >>> 24) % letters;
    });
  });

test(`the checksum is CRC-32C (seed ${seed})`, async (t) => {
  t.equal(kernel.checksum(Buffer.from('123456789')), 0xe3069283, 'the check value of the catalogue');
  fc.assert(
    fc.property(someBytes, (bytes) => kernel.checksum(bytes) === smallCrc32c(bytes)),
    { seed, numRuns: 60 },
  );
});

test(`what is packed comes back (seed ${seed})`, async (t) => {
  fc.assert(
    fc.property(someBytes, fc.nat(100), (bytes, at) => {
      const room = Buffer.alloc(at + packedBytesMax(bytes.length) + 1, 0xaa);
      const packed = kernel.pack(bytes, room, at);
      if (room.at(-1) !== 0xaa || packed > packedBytesMax(bytes.length)) return false;
      const back = kernel.unpack(room.subarray(at, at + packed), bytes.length);
      return back?.equals(bytes) === true && kernel.unpack(room.subarray(at, at + packed), bytes.length - 1) === null;
    }),
    { seed, numRuns: 100 },
  );
  const text = Buffer.from('the same words again and again, '.repeat(1000));
  const room = Buffer.alloc(packedBytesMax(text.length));
  const packed = kernel.pack(text, room, 0);
  t.ok(packed < text.length / 15, `${packed} of ${text.length} bytes`);
  const block = room.subarray(8, packed);
  t.equal(Buffer.compare(uncompress(block, text.length), text), 0, 'a block is what snappy says');
});

test(`any bytes may fail to unpack, and no more than that (seed ${seed})`, async () => {
  fc.assert(
    fc.property(someBytes, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }), (bytes, changes) => {
      const room = Buffer.alloc(packedBytesMax(bytes.length));
      const packed = room.subarray(0, kernel.pack(bytes, room, 0));
      for (const [at, byte] of changes) packed[at % packed.length] = byte;
      const back = kernel.unpack(packed, 2 ** 20);
      return back === null || back.length <= 2 ** 20;
    }),
    { seed, numRuns: 300 },
  );
});

test('records are read as they were written, packed or not, with stamp and verdict', async (t) => {
  const body = Buffer.from('some words that repeat; '.repeat(200));
  for (const isCompressed of [true, false]) {
    const record: LogRecord = {
      kind: 1,
      protocol: 2,
      profile: 7,
      arrivalMs: 1.5e12,
      stamp: 'büro',
      verdict: Uint8Array.of(1, 2, 3),
      body,
    };
    const room = Buffer.alloc(recordBytesMax(record, isCompressed) + 10);
    const bytes = encodeRecord(record, isCompressed, 3, kernel, room, 10);
    t.equal(bytes < body.length / 2, !isCompressed, 'only what came uncompressed is packed');
    const counts = { records: 0, damaged: 0, bytesPassedOver: 0, isUnknown: false };
    const [read, ...more] = scanSegment(room.subarray(10, 10 + bytes), 3, kernel, counts);
    t.match(
      { ...read, body: Buffer.from(read!.body), verdict: Buffer.from(read!.verdict) },
      {
        ...record,
        verdict: Buffer.from(record.verdict),
      },
    );
    t.same([more.length, counts.damaged], [0, 0]);
  }
  t.equal(LOG_FORMAT_VERSION, 2);
});
