import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { formatDecimal, formatQuantity, parseQuantity } from '../../src/scaling/quantity.ts';

const FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX = "unable to parse quantity's suffix";

test('a value becomes the canonical decimal quantity', async (t) => {
  const f = (value: number, want: string) => t.equal(formatQuantity(value), want, String(value));
  f(0, '0');
  f(-0, '0');
  f(1, '1');
  f(0.5, '500m');
  f(1.5, '1500m');
  f(1000, '1k');
  f(1500, '1500');
  f(1_500_000, '1500k');
  f(123_456_789, '123456789');
  f(12_345.678, '12345678m');
  f(1.005, '1005m');
  f(0.0004, '0');
  f(0.0005, '1m');
  f(-0.0006, '-1m');
  f(-1.5, '-1500m');
  f(9_007_199_254_740_992, '9007199254740992');
  f(4_503_599_627_370_495.5, '4503599627370495500m');
  f(1e16, '9223372036854775807m');
  f(-1e16, '-9223372036854775808m');
  t.throws(() => formatQuantity(Number.NaN));
  t.throws(() => formatQuantity(Number.POSITIVE_INFINITY));
});

test('a quantity is read exactly, rounded up below one billionth', async (t) => {
  const f = (text: string, nano: bigint) => t.equal(parseQuantity(text), nano, text);
  f('1', 1_000_000_000n);
  f('500m', 500_000_000n);
  f('.5', 500_000_000n);
  f('5.', 5_000_000_000n);
  f('+5', 5_000_000_000n);
  f('-0.0001', -100_000n);
  f('1e3', 1_000_000_000_000n);
  f('1e-10', 1n);
  f('-1e-10', -1n);
  f('1.1Ki', 1_126_400_000_000n);
  f('1.5Gi', 1_610_612_736_000_000_000n);
  f('12E', 12_000_000_000_000_000_000_000_000_000n);
  const bad = (text: string, message: string) =>
    t.throws(() => parseQuantity(text), { code: 'bad_data', message }, text);
  bad('', FORMAT);
  bad('NaN', FORMAT);
  bad('1.5.2', FORMAT);
  bad('0x10', FORMAT);
  bad('1 ', FORMAT);
  bad('1K', SUFFIX);
  bad('1mm', SUFFIX);
  bad('5e', SUFFIX);
  bad('1e999999999', 'unable to parse numeric part of quantity');
});

test('what is written can be read again', async (t) => {
  const property = fc.property(
    fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }),
    fc.constantFrom(-9, -3, 0),
    (units, exponent) => {
      const text = formatDecimal(units, exponent as -9 | -3 | 0);
      return parseQuantity(text) === units * 10n ** BigInt(9 + exponent) && !text.includes('.');
    },
  );
  t.doesNotThrow(() => fc.assert(property, { verbose: true }));
});

test('any text is a quantity or a coded error', async (t) => {
  const text = fc.stringMatching(/^[-+]?[0-9.]{0,6}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,4}$/);
  const property = fc.property(fc.oneof(text, fc.string()), (input) => {
    try {
      return typeof parseQuantity(input) === 'bigint';
    } catch (error) {
      return error instanceof CodedError && error.code === 'bad_data';
    }
  });
  t.doesNotThrow(() => fc.assert(property, { verbose: true }));
});

interface FormatCase {
  readonly id: string;
  readonly kind: 'float' | 'milli' | 'bytes' | 'nano';
  readonly value: number | string;
  readonly expect: string | null;
}

interface ParseCase {
  readonly input: string;
  readonly milli?: string;
  readonly error?: string;
}

const conformance = process.env.TIDEGAUGE_CONFORMANCE;

test('conformance cases', { skip: conformance === undefined && 'TIDEGAUGE_CONFORMANCE names no folder' }, async (t) => {
  const cases = JSON.parse(readFileSync(join(conformance!, 'kubernetes', 'quantities.json'), 'utf8')) as {
    readonly format: readonly FormatCase[];
    readonly parse: readonly ParseCase[];
  };
  for (const { id, kind, value, expect } of cases.format) {
    // Binary quantities are for the resource metrics API, which is not served yet.
    if (kind === 'bytes') continue;
    if (kind !== 'float') t.equal(formatDecimal(BigInt(value), kind === 'milli' ? -3 : -9), expect, id);
    else if (expect === null) t.throws(() => formatQuantity(Number(value)), id);
    else t.equal(formatQuantity(Number(value)), expect, id);
  }
  for (const { input, milli, error } of cases.parse) {
    if (error !== undefined) t.throws(() => parseQuantity(input), { message: error }, input);
    else if (milli !== undefined) t.equal(milliAwayFromZero(parseQuantity(input)), BigInt(milli), input);
    else t.doesNotThrow(() => parseQuantity(input), input);
  }
});

function milliAwayFromZero(nano: bigint): bigint {
  return nano >= 0n ? (nano + 999_999n) / 1_000_000n : (nano - 999_999n) / 1_000_000n;
}
