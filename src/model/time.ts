/** Durations in Prometheus' own form: `1h30m`, `15s`, `250ms`; units y w d h m s ms, in that order, each at most once. */
import { CodedError } from './errors.ts';

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['y', 365 * 86_400_000],
  ['w', 7 * 86_400_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];
const DURATION = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;

/** Largest duration in milliseconds: what fits into 64-bit nanoseconds, as in Prometheus. */
export const DURATION_MS_MAX = 9_223_372_036_854;

/** Milliseconds of a duration, or null if the text is not one. `0` is a duration. */
export function tryParseDuration(text: string): number | null {
  if (text === '0') return 0;
  const match = text === '' ? null : DURATION.exec(text);
  if (match === null) return null;
  let totalMs = 0;
  for (let i = 0; i < UNITS.length; i++) totalMs += Number(match[i + 1] ?? 0) * UNITS[i]![1];
  return totalMs <= DURATION_MS_MAX ? totalMs : null;
}

/** Milliseconds of a duration; throws `bad_data` if the text is not one. */
export function parseDuration(text: string): number {
  const ms = tryParseDuration(text);
  if (ms === null)
    throw new CodedError('bad_data', `cannot parse duration: got ${JSON.stringify(text)}, want for example "1h30m"`);
  return ms;
}

/** The canonical text of a duration of whole milliseconds: `90m` is `1h30m`. Weeks and years only where exact. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  let rest = Math.abs(ms);
  let text = ms < 0 ? '-' : '';
  for (const [unit, unitMs] of UNITS) {
    // Prometheus writes 8d, not 1w1d: years and weeks stand only where nothing is left over.
    if ((unit === 'y' || unit === 'w') && rest % unitMs !== 0) continue;
    const count = Math.floor(rest / unitMs);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitMs;
  }
  return text;
}
