/**
 * Runs one in-process bench and prints its rows as one line of JSON:
 *
 *     node .bench/main.js append '{"series":100000,"rounds":10,"runs":3}'
 *
 * scripts/bench.mjs bundles and calls it, each bench in a process of its own.
 */
import { append } from './append.ts';
import { decode } from './decode.ts';
import { otlp } from './otlp.ts';
import { plan } from './plan.ts';
import { readings } from './readings.ts';
import { scaler } from './scaler.ts';
import { select } from './select.ts';
import type { Row } from './support/measure.ts';
import { window } from './window.ts';

export interface BenchOptions {
  readonly series: number;
  /** Timed rounds of a load. */
  readonly rounds: number;
  /** Times that a bench is repeated, at least. */
  readonly runs: number;
}

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<Row[]>>> = {
  decode,
  append,
  otlp,
  select,
  window,
  plan,
  readings,
  scaler,
};

const [name = '', options = ''] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined)
  throw new Error(`cannot run bench: got ${name}, want one of ${Object.keys(BENCHES).join(', ')}`);
process.stdout.write(`${JSON.stringify(await bench(JSON.parse(options) as BenchOptions))}\n`);
