/** Appending: CPU a sample for series that the store knows, in several orders and of several kinds, and for new ones. */
import type { BenchOptions } from './main.ts';
import { expectRoundTrip, expectSum, Load, type LoadOptions, send } from './support/load.ts';
import { cpuMicros, type Row, row } from './support/measure.ts';
import { openStore } from './support/store.ts';

const SENDERS = 8;

const CASES: readonly (Omit<LoadOptions, 'series'> & { readonly name: string })[] = [
  { name: "in one sender's order" },
  { name: 'in a new random order each round', variant: 'shuffled' },
  { name: `from ${SENDERS} senders interleaved`, senders: SENDERS },
  { name: 'with a unique label value each', variant: 'unique' },
  { name: 'with two-decimal values', variant: 'decimal' },
  { name: 'with full-mantissa values', variant: 'fractional' },
];

export async function append({ series, rounds, runs }: BenchOptions): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { name, ...variant } of CASES) {
    await expectRoundTrip(variant);
    const known: number[] = [];
    const created: number[] = [];
    for (let run = 0; run < runs; run++) {
      const load = new Load({ ...variant, series });
      const store = await openStore(series);
      const first = load.encodeRound();
      created.push(cpuMicros(() => send(store, first)) / series);
      // One round more before the clock starts: the second sample of a series is the first that has an interval.
      send(store, load.encodeRound());
      for (let round = 0; round < rounds; round++) {
        const next = load.encodeRound();
        known.push(cpuMicros(() => send(store, next)) / series);
        load.forgetBefore(next.timeMs);
      }
      await expectSum(store, load);
    }
    rows.push(row(`known series ${name}`, 'µs', series, known), row(`new series ${name}`, 'µs', series, created));
  }
  return rows;
}
