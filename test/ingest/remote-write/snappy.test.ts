import fc from 'fast-check';
import snappy from 'snappyjs';
import { test } from 'tap';
import { uncompress } from '../../../src/ingest/remote-write/snappy.ts';
import { CodedError } from '../../../src/model/errors.ts';

const MAX = 1 << 20;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytes = (...parts: (number | string)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === 'number' ? [part] : [...Buffer.from(part, 'latin1')])));
const literal = (length: number): number => (length - 1) << 2;

test('decodes every kind of element', (t) => {
  const f = (block: Uint8Array, want: string): void => void t.equal(text(uncompress(block, MAX)), want);
  f(bytes(0), '');
  f(bytes(3, literal(3), 'abc'), 'abc');
  f(bytes(61, 60 << 2, 60, 'x'.repeat(61)), 'x'.repeat(61));
  f(bytes(0xac, 2, 61 << 2, 43, 1, 'y'.repeat(300)), 'y'.repeat(300));
  f(bytes(4, 62 << 2, 3, 0, 0, 'abcd'), 'abcd');
  f(bytes(4, 63 << 2, 3, 0, 0, 0, 'abcd'), 'abcd');
  // Copies: one byte of offset, two, four; overlapping their own output.
  f(bytes(6, literal(2), 'ab', 1, 2), 'ababab');
  f(bytes(5, literal(1), 'a', (3 << 2) | 2, 1, 0), 'aaaaa');
  f(bytes(5, literal(1), 'a', (3 << 2) | 3, 1, 0, 0, 0), 'aaaaa');
  t.end();
});

test('refuses what decodes to anything else than declared', (t) => {
  const f = (block: Uint8Array, message: RegExp, code = 'bad_body'): void =>
    void t.throws(() => uncompress(block, MAX), { name: 'CodedError', code, message });
  f(bytes(), /a length that is cut off/);
  f(bytes(0x80), /a length that is cut off/);
  f(bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0x0f), /a length that is cut off or too large/);
  f(bytes(0x81, 0x80, 0x40), /got 1048577 bytes after decompression, want at most 1048576/, 'body_too_large');
  f(bytes(0xff, 0xff, 0xff, 0xff, 0x0f), /got 4294967295 bytes/, 'body_too_large');
  // Declares a megabyte that so few bytes cannot stand for: refused before anything is allocated.
  f(bytes(0x80, 0x80, 0x40, literal(1), 'a'), /5 bytes that declare 1048576/);
  f(bytes(4, literal(3), 'abc'), /3 bytes where 4 were declared/);
  f(bytes(2, literal(3), 'abc'), /a literal that is too long/);
  f(bytes(9, literal(9), 'abc'), /a literal that is too long/);
  f(bytes(20, 61 << 2, 1), /a literal that is cut off/);
  f(bytes(5, literal(1), 'a', 1), /a copy that is cut off/);
  f(bytes(5, literal(1), 'a', (3 << 2) | 2, 1), /a copy that is cut off/);
  f(bytes(5, literal(1), 'a', 1, 0), /a copy from before the beginning/);
  f(bytes(5, literal(1), 'a', 1, 2), /a copy from before the beginning/);
  f(bytes(2, literal(1), 'a', 1, 1), /a copy that is too long/);
  // A literal of 2^32-6 and more bytes: read as a signed number it would move the reader backwards.
  f(bytes(5, 63 << 2, 0xfa, 0xff, 0xff, 0xff, 0), /a literal that is too long/);
  f(bytes(5, 63 << 2, 0xff, 0xff, 0xff, 0xff, 0), /a literal that is too long/);
  f(bytes(9, literal(4), 'abcd', (3 << 2) | 3, 0xff, 0xff, 0xff, 0xff), /a copy from before the beginning/);
  t.end();
});

test('reads what another implementation writes, and survives any bytes', (t) => {
  const seed = Date.now() & 0x7fffffff;
  t.comment(`seed ${seed}`);
  const repetitive = fc
    .array(fc.constantFrom('job="a"', 'instance', '\0\0\0\0', 'x'), { maxLength: 400 })
    .map((parts) => bytes(...parts));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 3000 }), repetitive), (plain) => {
      t.strictSame([...uncompress(snappy.compress(plain), MAX)], [...plain]);
    }),
    { seed, numRuns: 100 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (block) => {
      try {
        uncompress(block, MAX);
        return true;
      } catch (error) {
        return error instanceof CodedError;
      }
    }),
    { seed, numRuns: 5000 },
  );
  t.end();
});
