/** Decoding: remote-write bodies, 1.0 and 2.0, of series that the store knows, through the door of ingest; and snappy alone. */
import snappy from 'snappy';
import type { BenchOptions } from './main.ts';
import { expectRoundTrip, expectSum, Load, type Round, send } from './support/load.ts';
import { cpuMicros, type Row, row } from './support/measure.ts';
import { asRequests } from './support/requests.ts';
import { openStore, type Store } from './support/store.ts';

export async function decode({ series, rounds, runs }: BenchOptions): Promise<Row[]> {
  await expectRoundTrip({});
  const load = new Load({ series });
  const store = await openStore(series);
  const opened = await openStore(series);
  const store2: Store = { ...opened, write: opened.write2 };
  for (let round = 0; round < 2; round++) {
    const next = load.encodeRound();
    send(store, next);
    send(store2, asRequests(next));
  }

  const fresh: number[] = [];
  const again: number[] = [];
  const fresh2: number[] = [];
  const again2: number[] = [];
  let last: Round | null = null;
  for (let round = 0; round < rounds * runs; round++) {
    const next = load.encodeRound();
    fresh.push(cpuMicros(() => send(store, next)) / series);
    // A repeated sample is decoded, looked up and compared, and not encoded.
    again.push(cpuMicros(() => send(store, next)) / series);
    const next2 = asRequests(next);
    fresh2.push(cpuMicros(() => send(store2, next2)) / series);
    again2.push(cpuMicros(() => send(store2, next2)) / series);
    load.forgetBefore(next.timeMs);
    last = next;
  }
  await expectSum(store, load);
  await expectSum(store2, load);
  return [
    ...snappyAlone(last!, rounds * runs),
    row('remote-write of known series', 'µs', series, fresh),
    row('the same bodies once more', 'µs', series, again),
    row('remote-write 2.0 of known series, with metadata', 'µs', series, fresh2),
    row('the same 2.0 bodies once more', 'µs', series, again2),
  ];
}

/** What the kernel's decoder is measured against; its own share cannot be told apart inside one call. */
function snappyAlone(round: Round, runs: number): Row[] {
  const bodies = round.sendings.map(({ body }) => body);
  // Without the option the addon hands out its own memory, which costs more than the copy.
  const native = (body: Uint8Array) =>
    snappy.uncompressSync(Buffer.from(body.buffer, body.byteOffset, body.length), { copyOutputData: true });
  const times = Array.from({ length: runs }, () => cpuMicros(() => bodies.forEach(native)) / round.samples);
  return [row('snappy alone, native addon for scale', 'µs', round.samples, times)];
}
