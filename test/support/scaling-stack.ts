/** Everything below the scaling surfaces, on a clock that the test owns: a head to fill, the engine, the Readings. */
import pino from 'pino';
import { labelsFromObject } from '../../src/model/labels.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { float64High, float64Low, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { Readings, type ReadingsOptions } from '../../src/scaling/reading.ts';
import { Recorder } from '../../src/scaling/recorder.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { TestClock } from './clock.ts';

/** 2026-11-21T10:00:00Z */
export const START_MS = Date.UTC(2026, 10, 21, 10);
const HOUR_MS = 3_600_000;

export class ScalingStack {
  readonly clock = new TestClock(START_MS);
  readonly registry = new Registry();
  readonly logger = pino({ level: 'silent' });
  readonly head: KernelHead;
  readonly engine: QueryEngine;
  readonly readings: Readings;
  readonly recorder: Recorder;

  /** The daemon has been listening for an hour, unless the options say otherwise. */
  constructor(options: Partial<ReadingsOptions> = {}) {
    const { clock, registry } = this;
    const { outOfOrderMsMax, futureMsMax } = LIMITS;
    this.head = new KernelHead({ clock, retentionMs: 2 * HOUR_MS, outOfOrderMsMax, futureMsMax, seriesMax: 100_000 });
    this.engine = new QueryEngine({ head: this.head, clock, registry, lookbackMs: 300_000 });
    this.recorder = options.recorder ?? new Recorder({ ringBytes: 100_000 });
    this.readings = new Readings({
      engine: this.engine,
      head: this.head,
      clock,
      registry,
      recorder: this.recorder,
      lookbackMs: 300_000,
      uptimeMs: HOUR_MS,
      ...options,
    });
  }

  /** One sample of `{ __name__: …, … }`, by default now. */
  put(labels: Readonly<Record<string, string>>, value: number, timestampMs = this.clock.nowMs()): void {
    this.head.append(this.head.series(labelsFromObject(labels)), timestampMs, float64Low(value), float64High(value));
  }

  /** The sender says that the series ended. */
  end(labels: Readonly<Record<string, string>>, timestampMs = this.clock.nowMs()): void {
    this.head.append(this.head.series(labelsFromObject(labels)), timestampMs, STALE_NAN_LOW, STALE_NAN_HIGH);
  }
}
