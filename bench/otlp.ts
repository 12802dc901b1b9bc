/**
 * OTLP: CPU a data point, through the door of ingest and through HTTP, for points that are known and for new ones. Gauges
 * and cumulative sums, 2,000 points a request, 10 attributes a point.
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

export async function otlp({ series, rounds, runs }: BenchOptions): Promise<Row[]> {
  const points = Math.max(POINTS_PER_REQUEST, series - (series % POINTS_PER_REQUEST));
  const known: number[] = [];
  const created: number[] = [];
  const inflated: number[] = [];
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
  }
  return [
    row('OTLP, known points', 'µs', points, known),
    row('OTLP, new points', 'µs', points, created),
    row('gunzip, on top where a sender compresses', 'µs', points, inflated),
  ];
}
