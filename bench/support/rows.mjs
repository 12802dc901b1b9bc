/** The figures of a bench of the whole daemon over its runs, as the rows that scripts/bench.mjs prints. */
import { median } from '../peers/lib/stats.mjs';

/** Runs `measure(record)` as often as asked, prints its rows as one line of JSON, and ends the process. */
export async function printRuns(name, { series, runs }, measure) {
  const values = new Map();
  const record = (what, unit, value) => {
    if (!values.has(what)) values.set(what, { unit, numbers: [] });
    values.get(what).numbers.push(value);
  };
  for (let run = 1; run <= runs; run++) {
    console.error(`${name}: run ${run} of ${runs}`);
    await measure(record);
  }
  process.stdout.write(`${JSON.stringify(rowsOf(values, series))}\n`);
  process.exit(0);
}

/** Of each thing measured its numbers, as a row; null where there is none: too short a run has no p99.9, for example. */
export function rowsOf(values, series) {
  return [...values].map(([name, { unit, numbers }]) => {
    const known = numbers.filter(Number.isFinite);
    const figures =
      known.length === 0
        ? { value: null, min: null, max: null }
        : { value: median(known), min: Math.min(...known), max: Math.max(...known) };
    return { name, ...figures, n: known.length, unit, series };
  });
}
