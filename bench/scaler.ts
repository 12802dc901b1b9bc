/**
 * The KEDA scaler without its wire: GetMetrics from a request's bytes to the reply's, over as many triggers as there are
 * series, so that each finds its trigger, its plan and its place in the recorder as a large cluster leaves them.
 */
import pino from 'pino';
import protobuf from 'protobufjs/minimal.js';
import { SCALER_CALLS } from '../src/api/keda/external-scaler.ts';
import { labelsFromObject } from '../src/model/labels.ts';
import { float64High, float64Low } from '../src/model/sample.ts';
import { Readings } from '../src/scaling/reading.ts';
import { Recorder } from '../src/scaling/recorder.ts';
import { Registry } from '../src/telemetry/registry.ts';
import type { BenchOptions } from './main.ts';
import { expectEqual, type Row, row } from './support/measure.ts';
import { openStore } from './support/store.ts';

const START_MS = Date.UTC(2026, 0, 1);
/** A step that visits every trigger before it comes back to one. */
const STRIDE = 7919;

export async function scaler({ series, runs, rounds }: BenchOptions): Promise<Row[]> {
  const { head, engine, clock } = await openStore(2 * series);
  clock.set(START_MS);
  for (let i = 0; i < series; i++) {
    const ref = head.series(labelsFromObject({ __name__: 'queue_depth', queue: `q${i}` }));
    head.append(ref, START_MS, float64Low(i), float64High(i));
  }
  const registry = new Registry();
  const recorder = new Recorder();
  const readings = new Readings({ head, engine, clock, registry, recorder, lookbackMs: 300_000, warmsUp: false });
  const dependencies = { readings, logger: pino({ level: 'silent' }) };
  const requests = Array.from({ length: series }, (_, i) => encodeRequest(i));
  const ask = (i: number) => SCALER_CALLS.GetMetrics(requests[i]!, dependencies);
  // MetricValue's last field is the double.
  for (let i = 0; i < series; i++) {
    const reply = await ask(i);
    expectEqual('GetMetrics', reply.readDoubleLE(reply.length - 8), i);
  }
  const micros: number[] = [];
  for (let run = 0; run < runs; run++) {
    const count = rounds * series;
    const before = process.cpuUsage();
    for (let n = 0; n < count; n++) await ask((n * STRIDE) % series);
    const { user, system } = process.cpuUsage(before);
    micros.push((user + system) / count);
  }
  return [row('GetMetrics, bytes to bytes', 'µs CPU a call', series, micros)];
}

function encodeRequest(i: number): Buffer {
  const ref = protobuf.Writer.create().uint32(10).string(`trigger-${i}`).uint32(18).string('shop');
  for (const [key, value] of [
    ['query', `sum(queue_depth{queue="q${i}"})`],
    ['targetValue', '5'],
  ] as const) {
    ref.uint32(26).fork().uint32(10).string(key).uint32(18).string(value).ldelim();
  }
  return Buffer.from(protobuf.Writer.create().uint32(10).bytes(ref.finish()).uint32(18).string('m').finish());
}
