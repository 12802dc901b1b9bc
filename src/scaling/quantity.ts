/**
 * Kubernetes quantities: the numbers that autoscalers write and read (`500m`, `2k`, `1536Mi`, `1e3`).
 *
 * Parsing is exact, in billionths (`bigint`), and rounds what lies below away from zero; formatting writes the canonical
 * decimal form: never a fraction, the largest suffix that leaves a whole number.
 * Source: kubernetes/apimachinery, pkg/api/resource/quantity.go and suffix.go.
 */
import { CodedError } from '../model/errors.ts';

const DECIMAL_SUFFIXES = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'] as const;
const BINARY_SUFFIXES = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'] as const;
const MILLI_MAX = 2n ** 63n - 1n;
const MILLI_MIN = -(2n ** 63n);
/** Exponents beyond this are refused rather than worked out: nobody scales on 1e100. */
const EXPONENT_MAX = 100;

/** Text of a value that is finite: thousandths rounded half away from zero, held within 64 bits. */
export function formatQuantity(value: number): string {
  if (!Number.isFinite(value)) throw new Error(`quantity of ${value}`);
  return formatDecimal(milliOf(value), -3);
}

/** Text of `units` times ten to the power of `exponent`, which is -9 (nano), -3 (milli) or 0. */
export function formatDecimal(units: bigint, exponent: -9 | -3 | 0): string {
  if (units === 0n) return '0';
  let suffix = DECIMAL_SUFFIXES.indexOf('') + exponent / 3;
  let rest = units;
  while (rest % 1000n === 0n && suffix < DECIMAL_SUFFIXES.length - 1) {
    rest /= 1000n;
    suffix++;
  }
  return `${rest}${DECIMAL_SUFFIXES[suffix]}`;
}

/** Text of a whole number of bytes: from 1024, a power of 1024 is divided out while nothing is left over. */
export function formatBinary(bytes: bigint): string {
  if (bytes > -1024n && bytes < 1024n) return formatDecimal(bytes, 0);
  let suffix = -1;
  let rest = bytes;
  while (rest % 1024n === 0n && suffix < BINARY_SUFFIXES.length - 1) {
    rest /= 1024n;
    suffix++;
  }
  return `${rest}${BINARY_SUFFIXES[suffix] ?? ''}`;
}

/** A quantity's text as Kubernetes writes it back: what is in its canonical scale already stays as it came. */
export function canonicalQuantity(text: string): string {
  const nano = parseQuantity(text);
  const [, , fraction = '', suffix = ''] = /^([+-]?\d*)(?:\.(\d*))?(.*)$/.exec(text) ?? [];
  const canonical = canonicalOf(nano, suffix);
  const isSameScale = fraction === '' && suffixOf(canonical) === suffix && nano !== 0n;
  return isSameScale ? text : canonical;
}

function canonicalOf(nano: bigint, suffix: string): string {
  if (nano === 0n) return '0';
  const isBinary = (BINARY_SUFFIXES as readonly string[]).includes(suffix);
  if (isBinary && nano % 1_000_000_000n === 0n) return formatBinary(nano / 1_000_000_000n);
  let rest = nano;
  let exponent = -9;
  while (rest % 1000n === 0n) {
    rest /= 1000n;
    exponent += 3;
  }
  // Above E there is no suffix, and Kubernetes then writes none.
  if (!/^[eE]./.test(suffix)) return `${rest}${DECIMAL_SUFFIXES[exponent / 3 + 3] ?? ''}`;
  return `${rest}${exponent === 0 ? '' : `e${exponent}`}`;
}

function suffixOf(text: string): string {
  return text.replace(/^[+-]?[\d.]*/, '');
}

/** Billionths of a quantity's text; throws `bad_data` with Kubernetes' own message. */
export function parseQuantity(text: string): bigint {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)$/.exec(text);
  if (match === null || text === '') {
    throw new CodedError(
      'bad_data',
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
  }
  const [, sign, whole = '', fraction = '', suffix = ''] = match;
  const digits = BigInt(`0${whole}${fraction}`);
  const { factor, exponent } = parseSuffix(suffix);
  const nano = scaled(digits * factor, exponent + 9 - fraction.length);
  return sign === '-' ? -nano : nano;
}

/** Thousandths of a finite value, rounded half away from zero and held within 64 bits. */
function milliOf(value: number): bigint {
  const product = Math.abs(value) * 1000;
  // Above 2^53 the product would be rounded to a neighbour; the whole part is then exact as an integer.
  const milli =
    product < Number.MAX_SAFE_INTEGER
      ? BigInt(Math.round(product))
      : BigInt(Math.trunc(Math.abs(value))) * 1000n + BigInt(Math.round((Math.abs(value) % 1) * 1000));
  const signed = value < 0 ? -milli : milli;
  if (signed > MILLI_MAX) return MILLI_MAX;
  return signed < MILLI_MIN ? MILLI_MIN : signed;
}

function parseSuffix(suffix: string): { readonly factor: bigint; readonly exponent: number } {
  const decimal = (DECIMAL_SUFFIXES as readonly string[]).indexOf(suffix);
  if (decimal >= 0) return { factor: 1n, exponent: 3 * decimal - 9 };
  const binary = (BINARY_SUFFIXES as readonly string[]).indexOf(suffix);
  if (binary >= 0) return { factor: 1024n ** BigInt(binary + 1), exponent: 0 };
  const exponent = /^[eE]([-+]?\d+)$/.exec(suffix);
  if (exponent === null) throw new CodedError('bad_data', "unable to parse quantity's suffix");
  if (Math.abs(Number(exponent[1])) > EXPONENT_MAX)
    throw new CodedError('bad_data', 'unable to parse numeric part of quantity');
  return { factor: 1n, exponent: Number(exponent[1]) };
}

/** `digits` times ten to the power of `exponent`, rounded up to a whole number. */
function scaled(digits: bigint, exponent: number): bigint {
  if (exponent >= 0) return digits * 10n ** BigInt(exponent);
  const divisor = 10n ** BigInt(-exponent);
  return (digits + divisor - 1n) / divisor;
}
