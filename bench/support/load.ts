/**
 * The load of the in-process benches: rounds of the peers' dataset at a simulated 15 s, what was sent kept beside as the
 * plain model that answers are checked against.
 */
import { labelsKey } from '../../src/model/labels.ts';
import { SampleBuffer } from '../../src/model/sample.ts';
import { SCOPE_ALL } from '../../src/model/scope.ts';
import type { Point } from '../../test/journeys/extrapolated-rate.ts';
import { Dataset, type DatasetOptions } from '../peers/lib/dataset.mjs';
import { expectEqual, expectNear } from './measure.ts';
import { openStore, type Store } from './store.ts';

const START_MS = Date.UTC(2026, 0, 1);
export const INTERVAL_MS = 15_000;

/** One body and the connection that it comes over. */
export interface Sending {
  readonly body: Uint8Array;
  readonly connection: number;
}

export interface Round {
  readonly timeMs: number;
  readonly sendings: readonly Sending[];
  readonly samples: number;
}

/** What a round sent: value i is series i's. */
interface Sent {
  readonly timeMs: number;
  readonly values: Float64Array;
}

export interface LoadOptions extends DatasetOptions {
  /** Connections whose requests arrive in a random order among each other, each one's own in order. 1 if absent. */
  readonly senders?: number;
}

export class Load {
  readonly dataset: Dataset;
  readonly #senders: number;
  readonly #sent: Sent[] = [];
  #random = 1;
  #nextMs = START_MS;

  constructor({ senders = 1, ...dataset }: LoadOptions) {
    this.dataset = new Dataset({ intervalMs: INTERVAL_MS, ...dataset });
    this.#senders = senders;
  }

  /** A moment by which all samples of the rounds so far have been scraped. */
  get endMs(): number {
    return this.#nextMs;
  }

  /** The next round of all series, or of the requests `only`. */
  encodeRound(only?: readonly number[]): Round {
    const timeMs = this.#nextMs;
    this.#nextMs += INTERVAL_MS;
    const { bodies, samples } = this.dataset.encodeRound(timeMs, only);
    const values = this.dataset.values();
    const sentSeries = only === undefined ? values.length : this.#seriesOf(only);
    this.#sent.push({ timeMs, values: values.slice(0, sentSeries) });
    return { timeMs, sendings: this.#merge(bodies), samples };
  }

  /** Forgets the values of rounds that no later check looks at. */
  forgetBefore(timeMs: number): void {
    this.#sent.splice(
      0,
      this.#sent.findIndex((sent) => sent.timeMs >= timeMs),
    );
  }

  /** What series i was sent in (fromMs, toMs], ascending in time. */
  pointsOf(i: number, fromMs: number, toMs: number): Point[] {
    const points: Point[] = [];
    for (const { timeMs, values } of this.#sent) {
      const at = this.dataset.timestampOf(i, timeMs);
      if (i < values.length && at > fromMs && at <= toMs) points.push([at, values[i]!]);
    }
    return points;
  }

  /** Rounds of only the first requests: the number of series in them. */
  #seriesOf(only: readonly number[]): number {
    only.forEach((request, k) => {
      if (request !== k) throw new Error(`cannot send part of a round: got request ${request}, want the first ones`);
    });
    const last = this.dataset.requests[only.length - 1]!;
    return last.first + last.count;
  }

  #merge(bodies: readonly Uint8Array[]): Sending[] {
    const lanes = Array.from({ length: this.#senders }, (_, connection) => ({
      connection,
      bodies: bodies.filter((_body, i) => i % this.#senders === connection),
    }));
    const sendings: Sending[] = [];
    for (let open = lanes.filter((lane) => lane.bodies.length > 0); open.length > 0; ) {
      const { connection, bodies: queue } = open[this.#randomBelow(open.length)]!;
      sendings.push({ connection, body: queue.shift()! });
      open = open.filter((lane) => lane.bodies.length > 0);
    }
    return sendings;
  }

  #randomBelow(limit: number): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#random / 2 ** 32) * limit);
  }
}

/** Stores a round; throws unless every sample was taken. */
export function send(store: Store, round: Round): void {
  store.clock.set(round.timeMs + INTERVAL_MS);
  let stored = 0;
  for (const { body, connection } of round.sendings) stored += store.write(body, connection).samplesStored;
  expectEqual('samples stored', stored, round.samples);
}

const CHECKED_SERIES = 4000;
const CHECKED_ROUNDS = 5;

/** Throws unless a small load of this kind reads back sample by sample, bit for bit. */
export async function expectRoundTrip(kind: Omit<LoadOptions, 'series'>): Promise<void> {
  const load = new Load({ ...kind, series: CHECKED_SERIES, seriesPerRequest: 200 });
  const store = await openStore(CHECKED_SERIES);
  for (let round = 0; round < CHECKED_ROUNDS; round++) send(store, load.encodeRound());
  expectStored(store, load);
}

/** Throws unless the store holds exactly the samples that were sent to all series, bit for bit. */
function expectStored(store: Store, load: Load): void {
  const { dataset } = load;
  const wanted = new Map<string, number>();
  for (let i = 0; i < dataset.series; i++) wanted.set(labelsKey(dataset.labelsOf(i)), i);
  expectEqual('series apart', wanted.size, dataset.series);
  const everything = { matchers: [], fromMs: 0, toMs: load.endMs, scope: SCOPE_ALL };
  const selection = store.head.select(everything);
  expectEqual('series', selection.count, dataset.series);
  const buffer = new SampleBuffer(16);
  for (let s = 0; s < selection.count; s++) {
    const key = labelsKey(selection.labels(s));
    const i = wanted.get(key);
    if (i === undefined) throw new Error(`wrong answer: nobody sent series ${key}`);
    const points = load.pointsOf(i, 0, load.endMs);
    expectEqual(`samples of ${key}`, selection.read(s, 0, load.endMs, buffer), points.length);
    points.forEach(([timeMs, value], k) => {
      expectEqual(`time of ${key}`, buffer.timesMs[k], timeMs);
      expectEqual(`value of ${key}`, buffer.values[k], value);
    });
  }
  selection.close();
}

/** Throws unless the newest values of all series add up to what was sent last: cheap enough for a large store. */
export async function expectSum(store: Store, load: Load): Promise<void> {
  expectEqual('series', store.head.stats().series, load.dataset.series);
  const { value } = await store.engine.instant({ text: 'sum({job=~".+"})', timeMs: load.endMs, scope: SCOPE_ALL });
  const got = value.kind === 'vector' ? value.values[0] : undefined;
  expectNear('sum of the newest values', got ?? Number.NaN, load.dataset.expectedSum());
}
