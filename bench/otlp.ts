/**
 * OTLP: CPU a data point, through the door of ingest and through HTTP, for points that are known and for new ones. Gauges
 * and cumulative sums, 2,000 points a request, 10 attributes a point; and what known deltas cost, as a multiple of cumulative
 * sums that differ from them in nothing else, each in turn with the other.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { SCOPE_ALL } from '../src/model/scope.ts';
import { encodeExportRequest, type MetricToEncode, type PointToEncode } from '../test/support/otlp-encoder.ts';
import type { BenchOptions } from './main.ts';
import { cpuMicros, expectEqual, expectNear, type Row, row } from './support/measure.ts';
import { openStore, type Store } from './support/store.ts';

const POINTS_PER_REQUEST = 2000;
const ATTRIBUTES = 10;
const INTERVAL_MS = 15_000;
const BEGIN_MS = 1_700_000_000_000;

/** The bodies of one round: every point once, with the value `round + i`. */
function encodeRound(points: number, round: number, timeMs: number, startMs: number): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  for (let first = 0; first < points; first += POINTS_PER_REQUEST) {
    const metrics: MetricToEncode[] = [];
    // Ten metrics a request, half of them gauges.
    for (let m = 0; m < 10; m++) {
      const list: PointToEncode[] = [];
      for (let i = 0; i < POINTS_PER_REQUEST / 10; i++) {
        const n = first + m * (POINTS_PER_REQUEST / 10) + i;
        list.push({
          attributes: attributesOf(n),
          time: timeMs,
          value: round + n,
          ...(m % 2 === 1 && { start: startMs }),
        });
      }
      const kind = m % 2 === 0 ? 'gauge' : 'sum';
      metrics.push({ name: `bench.${kind}.${m}`, kind, monotonic: kind === 'sum', points: list });
    }
    const attributes = { 'service.name': 'bench', 'service.instance.id': `i-${first}`, 'k8s.pod.name': `pod-${first}` };
    bodies.push(encodeExportRequest([{ attributes, metrics }]));
  }
  return bodies;
}

function attributesOf(n: number): Record<string, string> {
  const attributes: Record<string, string> = { 'http.route': `/api/v1/resource/${n}` };
  for (let i = 1; i < ATTRIBUTES; i++) attributes[`attribute.key.${i}`] = `value-${i}-${n % (7 * i)}`;
  return attributes;
}

function send(store: Store, bodies: readonly Uint8Array[]): void {
  for (const body of bodies) {
    const { samplesRefused, message } = store.writeOtlp(body);
    if (samplesRefused > 0) throw new Error(`refused ${samplesRefused}: ${message}`);
  }
}

/** Throws unless the newest values add up to what was sent last. */
async function expectSum(store: Store, timeMs: number, round: number, points: number): Promise<void> {
  const { value } = await store.engine.instant({ text: 'sum({__name__=~"bench_.+"})', timeMs, scope: SCOPE_ALL });
  const got = value.kind === 'vector' ? value.values[0] : undefined;
  expectNear('sum of the newest values', got ?? Number.NaN, round * points + (points * (points - 1)) / 2);
  // Each request is a resource, and each resource has its `target_info`.
  expectEqual('series', store.head.stats().series, 1 + points + points / POINTS_PER_REQUEST);
}

/** The first body of a daemon makes the memory of its identities, and V8 looks through its heap because of it: once a process. */
function sendFirst(store: Store): void {
  const points = [{ time: BEGIN_MS, value: 0 }];
  store.clock.set(BEGIN_MS);
  send(store, [encodeExportRequest([{ metrics: [{ name: 'first', kind: 'gauge', points }] }])]);
}

type Temporality = NonNullable<MetricToEncode['temporality']>;

/** A store that knows the sums of a request in one temporality, and what it costs to send them once more. */
async function knownSums(temporality: Temporality): Promise<(round: number) => Promise<number>> {
  const store = await openStore(3 * POINTS_PER_REQUEST);
  sendFirst(store);
  let total = 0;
  return async (round) => {
    const timeMs = BEGIN_MS + round * INTERVAL_MS;
    const value = temporality === 'delta' ? 1 : round;
    const points = Array.from({ length: POINTS_PER_REQUEST }, (_, n) => ({
      attributes: attributesOf(n),
      time: timeMs,
      start: temporality === 'delta' ? timeMs - INTERVAL_MS : BEGIN_MS,
      value,
    }));
    const metrics: MetricToEncode[] = [{ name: 'bench.sum', kind: 'sum', monotonic: true, temporality, points }];
    const body = encodeExportRequest([{ attributes: { 'service.name': 'bench' }, metrics }]);
    store.clock.set(timeMs);
    const cost = cpuMicros(() => send(store, [body]));
    total = temporality === 'delta' ? total + 1 : value;
    const { value: got } = await store.engine.instant({ text: 'sum(bench_sum_total)', timeMs, scope: SCOPE_ALL });
    expectNear('sums', got.kind === 'vector' ? got.values[0]! : Number.NaN, total * POINTS_PER_REQUEST);
    return cost;
  };
}

/** CPU of known deltas, as a multiple of that of cumulative sums: the least of each, over rounds in turns. */
async function deltaRatio(rounds: number): Promise<number> {
  const [delta, cumulative] = [await knownSums('delta'), await knownSums('cumulative')];
  let [ofDeltas, ofSums] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 1; round <= rounds + 2; round++) {
    const [one, other] = [await delta(round), await cumulative(round)];
    // As above, the first that has an interval is the third.
    if (round <= 2) continue;
    ofDeltas = Math.min(ofDeltas, one);
    ofSums = Math.min(ofSums, other);
  }
  return ofDeltas / ofSums;
}

export async function otlp({ series, rounds, runs }: BenchOptions): Promise<Row[]> {
  const points = Math.max(POINTS_PER_REQUEST, series - (series % POINTS_PER_REQUEST));
  const known: number[] = [];
  const created: number[] = [];
  const inflated: number[] = [];
  const deltas: number[] = [];
  for (let run = 0; run < runs; run++) {
    const store = await openStore(2 * points);
    sendFirst(store);
    const startMs = BEGIN_MS - 60_000;
    for (let round = 0; round < rounds + 2; round++) {
      const timeMs = BEGIN_MS + round * INTERVAL_MS;
      store.clock.set(timeMs);
      const bodies = encodeRound(points, round, timeMs, startMs);
      const cost = cpuMicros(() => send(store, bodies)) / points;
      if (round === 0) created.push(cost);
      // The second sample of a series is the first that has an interval.
      if (round > 1) known.push(cost);
      const zipped = bodies.map((body) => gzipSync(body));
      const inflate = (): void => {
        for (const body of zipped) gunzipSync(body);
      };
      inflated.push(cpuMicros(inflate) / points);
      await expectSum(store, timeMs, round, points);
    }
    deltas.push(await deltaRatio(5 * rounds));
  }
  return [
    row('OTLP, known points', 'µs', points, known),
    row('OTLP, new points', 'µs', points, created),
    row('OTLP, known deltas, as known cumulative sums', '×', POINTS_PER_REQUEST, deltas),
    row('gunzip, on top where a sender compresses', 'µs', points, inflated),
  ];
}
