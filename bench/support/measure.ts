/**
 * Timing. Work that takes seconds is measured by the CPU time of the process (all threads, so that the collector's work
 * counts, and what else runs on the machine does not); a single question by the clock on the wall.
 */

/** One line of a bench's table. */
export interface Row {
  readonly name: string;
  /** Median, with the smallest, the largest and the number of runs. */
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
  readonly unit: string;
  /** Series in the store meanwhile. */
  readonly series: number;
}

export function row(name: string, unit: string, series: number, runs: readonly number[]): Row {
  if (runs.length === 0) throw new Error(`cannot report ${name}: it has no runs`);
  return { name, value: median(runs), min: Math.min(...runs), max: Math.max(...runs), n: runs.length, unit, series };
}

/**
 * CPU microseconds, user and system, that the process spends on `work`. No garbage is collected by force before it: that
 * throws optimised code away and doubled what plain JavaScript took.
 */
export function cpuMicros(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

export interface Repeat {
  readonly runsMin: number;
  readonly totalMsMin: number;
}

/** Wall milliseconds of each run of `work`, after one run that is not counted. */
export async function wallMillis(work: () => void | Promise<void>, { runsMin, totalMsMin }: Repeat): Promise<number[]> {
  await work();
  const runs: number[] = [];
  for (let totalMs = 0; runs.length < runsMin || totalMs < totalMsMin; totalMs += runs.at(-1)!) {
    const began = performance.now();
    await work();
    runs.push(performance.now() - began);
  }
  return runs;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Throws unless two numbers agree up to the rounding of sums taken in another order. */
export function expectNear(what: string, got: number, want: number): void {
  if (Math.abs(got - want) <= 1e-9 * Math.max(1, Math.abs(want))) return;
  throw new Error(`wrong answer for ${what}: got ${got}, want ${want}`);
}

export function expectEqual(what: string, got: unknown, want: unknown): void {
  if (!Object.is(got, want)) throw new Error(`wrong answer for ${what}: got ${String(got)}, want ${String(want)}`);
}
