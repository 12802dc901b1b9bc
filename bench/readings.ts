/**
 * Readings: the CPU that one answer for an autoscaler takes, coverage and recorder included, its plan in the cache. The
 * evaluation is never shared: each asks anew.
 */
import { labelsFromObject } from '../src/model/labels.ts';
import { float64High, float64Low } from '../src/model/sample.ts';
import { type Reading, Readings } from '../src/scaling/reading.ts';
import { Recorder } from '../src/scaling/recorder.ts';
import { Registry } from '../src/telemetry/registry.ts';
import type { BenchOptions } from './main.ts';
import { expectEqual, type Row, row } from './support/measure.ts';
import { openStore, type Store } from './support/store.ts';

interface Case {
  readonly name: string;
  readonly query: string;
  readonly want: (series: number) => number;
}

const START_MS = Date.UTC(2026, 0, 1);
const INTERVAL_MS = 15_000;
const SAMPLES = 80;
/** What an autoscaler's query commonly reads. */
const SERIES = 50;
const CASES: readonly Case[] = [
  { name: 'sum of 50 series', query: 'sum(queue_depth)', want: (series) => series * 3 },
  { name: 'sum(rate[2m]) of 50 series', query: 'sum(rate(requests_total[2m]))', want: (series) => series },
];

/** `series` counts what else is in the store. */
export async function readings({ series, runs, rounds }: BenchOptions): Promise<Row[]> {
  const store = await openStore(2 * (series + SERIES));
  fill(store, series);
  const registry = new Registry();
  const { head, engine, clock } = store;
  const recorder = new Recorder();
  const all = new Readings({ head, engine, clock, registry, recorder, lookbackMs: 300_000, warmsUp: false });
  const rows: Row[] = [];
  for (const one of CASES) rows.push(await measure(one, all, series, runs, rounds * 1000));
  return rows;
}

async function measure(one: Case, all: Readings, series: number, runs: number, count: number): Promise<Row> {
  const ask = () =>
    all.read({
      query: one.query,
      scope: null,
      surface: 'keda',
      asker: { namespace: 'shop', name: one.name, call: 'GetMetrics', target: 10, activation: 0 },
    });
  expectValue(await ask(), one.want(SERIES));
  for (let i = 0; i < count; i++) await ask();
  const micros: number[] = [];
  for (let run = 0; run < runs; run++) {
    const before = process.cpuUsage();
    for (let i = 0; i < count; i++) await ask();
    const { user, system } = process.cpuUsage(before);
    micros.push((user + system) / count);
  }
  return row(one.name, 'µs CPU a Reading', series, micros);
}

function expectValue(reading: Reading, want: number): void {
  if (reading.kind === 'absence') throw new Error(`wrong answer: got ${reading.reason}, want ${want}`);
  expectEqual('the Reading', Math.round(reading.value * 1e6) / 1e6, want);
}

/** Some series that are asked for, and others beside them. */
function fill(store: Store, others: number): void {
  const { head, clock } = store;
  const end = START_MS + SAMPLES * INTERVAL_MS;
  clock.set(end);
  for (let pod = 0; pod < SERIES + others; pod++) {
    const isAsked = pod < SERIES;
    const labels = { namespace: 'shop', pod: `web-${pod}`, job: 'web', instance: `10.0.0.${pod}:8080` };
    const depth = head.series(labelsFromObject({ ...labels, __name__: isAsked ? 'queue_depth' : 'other_depth' }));
    const total = head.series(labelsFromObject({ ...labels, __name__: isAsked ? 'requests_total' : 'other_total' }));
    for (let i = 1; i <= (isAsked ? SAMPLES : 1); i++) {
      const timeMs = isAsked ? START_MS + i * INTERVAL_MS : end;
      head.append(depth, timeMs, float64Low(3), float64High(3));
      head.append(total, timeMs, float64Low(15 * i), float64High(15 * i));
    }
  }
}
