/** Parameters of the scale API; each function throws `bad_data` naming the parameter. */
import { CodedError } from '../../model/errors.ts';

/** The text of a parameter, or null if it is absent or empty. */
export function textOf(form: URLSearchParams, name: string): string | null {
  return form.get(name) || null;
}

/** Refuses a name that nobody knows: a filter that is silently not applied is a wrong answer. */
export function checkNames(form: URLSearchParams, known: readonly string[]): void {
  for (const name of form.keys()) {
    if (!known.includes(name)) {
      throw badData(`unknown parameter ${JSON.stringify(name)}: want some of ${known.join(', ')}`);
    }
  }
}

/** A finite number, or null if it is absent. */
export function numberOf(form: URLSearchParams, name: string): number | null {
  const text = textOf(form, name);
  if (text === null) return null;
  const number = Number(text);
  if (text.trim() === '' || !Number.isFinite(number)) throw wrong(name, text, 'a number');
  return number;
}

/** A whole number from `min` to `max`, or null if it is absent. */
export function countOf(form: URLSearchParams, name: string, min: number, max: number): number | null {
  const number = numberOf(form, name);
  if (number === null) return null;
  if (!Number.isInteger(number) || number < min || number > max) {
    throw wrong(name, String(number), `a whole number from ${min} to ${max}`);
  }
  return number;
}

/** Milliseconds of a time in seconds or RFC 3339, or null if it is absent. */
export function timeMsOf(form: URLSearchParams, name: string): number | null {
  const text = textOf(form, name);
  if (text === null) return null;
  const ms = /^\d+(?:\.\d+)?$/.test(text)
    ? Number(text) * 1000
    : /^\d{4}-\d\d-\d\dT/.test(text)
      ? Date.parse(text)
      : NaN;
  if (!Number.isFinite(ms)) throw wrong(name, text, 'seconds since 1970 or a time such as 2026-11-21T10:00:00Z');
  return ms;
}

function wrong(name: string, got: string, want: string): CodedError {
  return badData(`invalid parameter ${JSON.stringify(name)}: got ${JSON.stringify(got)}, want ${want}`);
}

export function badData(message: string): CodedError {
  return new CodedError('bad_data', message);
}
