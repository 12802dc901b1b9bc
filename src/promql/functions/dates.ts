/** Parts of a date: UTC, from seconds since the Unix epoch, fractions cut off (reference section 8.6). */

const DAY_MS = 86_400_000;

export const DATES: ReadonlyMap<string, (seconds: number) => number> = new Map([
  ['minute', of((date) => date.getUTCMinutes())],
  ['hour', of((date) => date.getUTCHours())],
  ['day_of_week', of((date) => date.getUTCDay())],
  ['day_of_month', of((date) => date.getUTCDate())],
  ['day_of_year', of((date) => Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / DAY_MS) + 1)],
  ['days_in_month', of((date) => new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate())],
  ['month', of((date) => date.getUTCMonth() + 1)],
  ['year', of((date) => date.getUTCFullYear())],
]);

function of(part: (date: Date) => number): (seconds: number) => number {
  return (seconds) => part(new Date(Math.trunc(seconds) * 1000));
}
