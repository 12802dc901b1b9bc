/** Numbers of text formats, read from bytes. */

const POWERS = Array.from({ length: 23 }, (_, i) => 10 ** i);
const MANTISSA_MAX = 2 ** 53;
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const HEXADECIMAL = /^([+-]?)0[xX]([0-9a-fA-F]*)\.?([0-9a-fA-F]*)[pP]([+-]?\d+)$/;
const SPECIAL = /^([+-]?)inf(?:inity)?$/i;

/**
 * The float64 that the bytes [from, to) are read as, as Go's ParseFloat reads them, or undefined. Short decimals are read
 * without a string: with a mantissa below 2^53 and a power of ten up to 22 one division rounds right (W. D. Clinger, "How
 * to read floating point numbers accurately", 1990).
 */
export function readFloat(bytes: Buffer, from: number, to: number): number | undefined {
  let at = from;
  const sign = bytes[at];
  if (sign === 0x2d || sign === 0x2b) at++;
  let mantissa = 0;
  let fraction = 0;
  let digits = 0;
  let inFraction = false;
  for (; at < to; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit >= 0 && digit <= 9) {
      mantissa = mantissa * 10 + digit;
      digits++;
      if (inFraction) fraction++;
    } else if (digit === -2 && !inFraction) inFraction = true;
    else return readOther(bytes.toString('latin1', from, to));
  }
  if (digits === 0 || mantissa >= MANTISSA_MAX || fraction > 22) return readOther(bytes.toString('latin1', from, to));
  const value = mantissa / POWERS[fraction]!;
  return sign === 0x2d ? -value : value;
}

function readOther(text: string): number | undefined {
  if (DECIMAL.test(text)) return Number(text);
  if (/^[+-]?nan$/i.test(text)) return Number.NaN;
  const special = SPECIAL.exec(text);
  if (special !== null) return special[1] === '-' ? -Infinity : Infinity;
  const hexadecimal = HEXADECIMAL.exec(text);
  if (hexadecimal === null) return undefined;
  const [, sign, whole = '', part = '', exponent = '0'] = hexadecimal;
  if (whole === '' && part === '') return undefined;
  const mantissa = Number(BigInt(`0x${whole}${part}`));
  const value = mantissa * 2 ** (Number(exponent) - 4 * part.length);
  return sign === '-' ? -value : value;
}
