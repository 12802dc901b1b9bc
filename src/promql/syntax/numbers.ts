/** Number and duration literals: how far one reaches in a text, and what it is worth. Go's syntax, with PromQL's rules on top. */
import { tryParseDuration } from '../../model/time.ts';

export interface ScannedNumber {
  readonly kind: 'number' | 'duration' | 'bad';
  /** UTF-16 index behind the literal, or behind the first character that cannot be part of it. */
  readonly end: number;
}

/** Scans the literal that begins with the digit or dot at `start`. In series descriptions `x` is no hexadecimal sign. */
export function scanNumber(text: string, start: number, seriesDescription = false): ScannedNumber {
  const number = seriesDescription || !isHexPrefix(text, start) ? scanDecimal(text, start) : scanHex(text, start);
  if (number.whole && !isWordCharacter(text.charCodeAt(number.end), seriesDescription))
    return { kind: 'number', end: number.end };
  return scanDurationRest(text, number.end);
}

function isHexPrefix(text: string, start: number): boolean {
  const x = text.charCodeAt(start + 1) | 0x20;
  return text.charCodeAt(start) === 0x30 && x === 0x78;
}

function scanHex(text: string, start: number): { end: number; whole: boolean } {
  let at = start + 2;
  if (text[at] === '_') at++;
  let last = '_';
  for (; /[0-9a-fA-F_]/.test(text[at] ?? ''); at++) {
    if (text[at] === '_' && last === '_') return { end: at + 1, whole: false };
    last = text[at]!;
  }
  return text[at] === '.' ? { end: at + 1, whole: false } : { end: at, whole: last !== '_' };
}

function scanDecimal(text: string, start: number): { end: number; whole: boolean } {
  let dot = false;
  let exponent = false;
  let last = '';
  for (let at = start; ; at++) {
    const c = text[at] ?? '';
    if (c >= '0' && c <= '9') last = '0';
    else if (c === '_') {
      if (last !== '0') return { end: at + 1, whole: false };
      last = '_';
    } else if (c === '.') {
      if (dot || exponent || last === '_') return { end: at + 1, whole: false };
      dot = true;
      last = '.';
    } else if (c === 'e' || c === 'E') {
      if (exponent || last === '_') return { end: at + 1, whole: false };
      exponent = true;
      last = 'e';
      if (text[at + 1] === '+' || text[at + 1] === '-') at++;
    } else return { end: at, whole: last === '0' || last === '.' };
  }
}

/** Units behind the digits: `m30s` of `5m30s`. */
function scanDurationRest(text: string, start: number): ScannedNumber {
  let at = start;
  if (!'smhdwy'.includes(text[at] ?? ' ')) return { kind: 'bad', end: at };
  at++;
  if (text[at] === 's') at++;
  while (isDigit(text.charCodeAt(at))) {
    while (isDigit(text.charCodeAt(at))) at++;
    if (!'smhdw'.includes(text[at] ?? ' ')) return { kind: 'bad', end: at };
    at++;
    if (text[at] === 's') at++;
  }
  return isWordCharacter(text.charCodeAt(at), false) ? { kind: 'bad', end: at + 1 } : { kind: 'duration', end: at };
}

export function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Letters of ASCII and `_`. */
export function isLetter(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || code === 0x5f;
}

function isWordCharacter(code: number, seriesDescription: boolean): boolean {
  if (seriesDescription && code === 0x78) return false;
  return isLetter(code) || isDigit(code);
}

/** A value, or why there is none. */
export type Literal =
  | { readonly value: number; readonly error: null }
  | { readonly value: null; readonly error: string };

/** The value of a number token: Go's integer syntax first (`0755` is octal), then its floating-point syntax. */
export function numberValue(image: string): Literal {
  const digits = image.replaceAll('_', '');
  if (/^0[xX]/.test(digits)) return checked(Number(digits), image);
  if (/^0[0-7]+$/.test(digits)) return checked(Number(`0o${digits.slice(1)}`), image);
  const word = digits.toLowerCase();
  if (word === 'inf') return { value: Infinity, error: null };
  if (word === 'nan') return { value: Number.NaN, error: null };
  return checked(Number(digits), image);
}

function checked(value: number, image: string): Literal {
  if (Number.isFinite(value)) return { value, error: null };
  return { value: null, error: `error parsing number: strconv.ParseFloat: parsing "${image}": value out of range` };
}

const UNITS = ['y', 'w', 'd', 'h', 'm', 's', 'ms'];

/** The value of a duration token in seconds. */
export function durationSeconds(image: string): Literal {
  const ms = tryParseDuration(image);
  if (ms !== null) return { value: ms / 1000, error: null };
  return { value: null, error: durationFault(image) };
}

function durationFault(image: string): string {
  let lastUnit = -1;
  for (const [, digits, unit] of image.matchAll(/(\d*)([^\d]+)/g)) {
    if (digits === '') return `not a valid duration string: "${image}"`;
    const index = UNITS.indexOf(unit!);
    if (index < 0) return `unknown unit "${unit}" in duration "${image}"`;
    if (index <= lastUnit) return `not a valid duration string: "${image}"`;
    lastUnit = index;
  }
  return 'duration out of range';
}
