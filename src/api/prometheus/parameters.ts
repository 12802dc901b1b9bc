/**
 * Parameters of the query API. Each function throws `bad_data` with the words that Prometheus uses: clients show them,
 * and some compare them. Source: prometheus/prometheus, web/api/v1/api.go at d15adb9.
 */
import { CodedError } from '../../model/errors.ts';
import { tryParseDuration } from '../../model/time.ts';

/** What older client libraries send for "without bounds": Go's smallest and largest time. */
const TIME_MIN_TEXT = '-292273086-05-16T16:47:06Z';
const TIME_MAX_TEXT = '292277025-08-18T07:12:54.999999999Z';
const TIME_MS_MAX = 9_223_309_901_257_974_000;

/** `invalid parameter "x": ` in front of the message of what `parse` throws, unless that is about more than a parameter. */
export function inParameter<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw inParameterError(name, error);
  }
}

export function inParameterError(name: string, error: unknown): unknown {
  if (!(error instanceof CodedError) || (error.code !== 'bad_data' && error.code !== 'query_unsupported')) return error;
  return new CodedError(error.code, `invalid parameter ${quote(name)}: ${error.message}`, { cause: error });
}

/** First value of a parameter; an absent one is ''. */
export function textOf(form: URLSearchParams, name: string): string {
  return form.get(name) ?? '';
}

/** The expression to look at. In an absent text there is no position to name, which is what Prometheus says then. */
export function queryTextOf(form: URLSearchParams): string {
  const text = textOf(form, 'query');
  if (text === '') throw badData('unknown position: parse error: no expression found in input');
  return text;
}

/** Milliseconds of an optional point in time. */
export function timeOf(form: URLSearchParams, name: string, fallbackMs: number): number {
  const text = textOf(form, name);
  if (text === '') return fallbackMs;
  return inParameter(name, () => {
    const timeMs = tryParseTime(text);
    if (timeMs === null)
      throw badData(`invalid time value for '${name}': cannot parse ${quote(text)} to a valid timestamp`);
    return timeMs;
  });
}

/** Milliseconds of a point in time that must be given. */
export function requiredTimeOf(form: URLSearchParams, name: string): number {
  const text = textOf(form, name);
  return inParameter(name, () => {
    const timeMs = tryParseTime(text);
    if (timeMs === null) throw badData(`cannot parse ${quote(text)} to a valid timestamp`);
    return timeMs;
  });
}

/** Start and end, both optional; unbounded if absent. */
export function boundsOf(form: URLSearchParams): { readonly startMs: number; readonly endMs: number } {
  return { startMs: timeOf(form, 'start', -TIME_MS_MAX), endMs: timeOf(form, 'end', TIME_MS_MAX) };
}

/** Milliseconds, with fractions, of a duration: seconds as a float, or Prometheus' own form. */
export function durationMs(text: string): number {
  const seconds = tryParseFloat(text);
  if (seconds !== null) {
    const nanoseconds = seconds * 1e9;
    if (Math.abs(nanoseconds) > 2 ** 63)
      throw badData(`cannot parse ${quote(text)} to a valid duration. It overflows int64`);
    return Math.trunc(nanoseconds) / 1e6;
  }
  const ms = tryParseDuration(text);
  if (ms === null) throw badData(`cannot parse ${quote(text)} to a valid duration`);
  return ms;
}

/** Largest number of items wanted; 0 for all. */
export function limitOf(form: URLSearchParams): number {
  const text = textOf(form, 'limit');
  if (text === '') return 0;
  return inParameter('limit', () => {
    if (!/^[+-]?\d+$/.test(text)) throw badData(`strconv.Atoi: parsing ${quote(text)}: invalid syntax`);
    const limit = Number(text);
    if (Math.abs(limit) > 2 ** 63) throw badData(`strconv.Atoi: parsing ${quote(text)}: value out of range`);
    if (limit < 0) throw badData('limit must be non-negative');
    return limit;
  });
}

/** Milliseconds since the epoch: seconds as a float, or RFC 3339. Null if the text is neither. */
function tryParseTime(text: string): number | null {
  const seconds = tryParseFloat(text);
  if (seconds !== null) {
    if (Number.isNaN(seconds)) return null;
    const whole = Math.trunc(seconds);
    // The fraction is rounded by itself: seconds * 1000 would round twice.
    const timeMs = whole * 1000 + Math.round((seconds - whole) * 1000);
    return Math.max(-TIME_MS_MAX, Math.min(TIME_MS_MAX, timeMs));
  }
  if (text === TIME_MIN_TEXT) return -TIME_MS_MAX;
  if (text === TIME_MAX_TEXT) return TIME_MS_MAX;
  return tryParseRfc3339(text);
}

const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))$/;

function tryParseRfc3339(text: string): number | null {
  const match = RFC_3339.exec(text);
  if (match === null) return null;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [zoneHours, zoneMinutes] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
  if (hour > 23 || minute > 59 || second > 59 || zoneHours > 24 || zoneMinutes > 59) return null;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  // A day that the month does not have has moved on into the next one.
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  const fractionMs = Math.floor(Number(`0.${match[7] ?? 0}`) * 1000);
  const zoneMs = (zoneHours * 60 + zoneMinutes) * (match[8] === '-' ? -60_000 : 60_000);
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + fractionMs - zoneMs;
}

/** A number as Go's strconv.ParseFloat reads it (without its hexadecimal form), or null. */
function tryParseFloat(text: string): number | null {
  if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text)) {
    const value = Number(text);
    return Number.isFinite(value) ? value : null;
  }
  if (/^[+-]?inf(?:inity)?$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return /^[+-]?nan$/i.test(text) ? Number.NaN : null;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function badData(message: string): CodedError {
  return new CodedError('bad_data', message);
}
