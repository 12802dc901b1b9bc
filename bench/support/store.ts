/** The store with its two doors, wired as `src/main.ts` wires them, under a clock that the bench sets. */
import { type WriteOutcome, Writer } from '../../src/ingest/write.ts';
import type { Clock } from '../../src/model/clock.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';

const RETENTION_MS = 2 * 60 * 60 * 1000;
const LOOKBACK_MS = 5 * 60 * 1000;

export class BenchClock implements Clock {
  #nowMs = 0;

  set(nowMs: number): void {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return performance.now();
  }
}

export interface Store {
  readonly head: KernelHead;
  readonly engine: QueryEngine;
  readonly clock: BenchClock;
  /** Stores a remote-write body that came over the connection of this number. */
  write(body: Uint8Array, connection: number): WriteOutcome;
  /** The same of a 2.0 body. */
  write2(body: Uint8Array, connection: number): WriteOutcome;
  /** Stores an OTLP body. */
  writeOtlp(body: Uint8Array): WriteOutcome;
}

/** A store without series; it takes at most `seriesMax`. */
export async function openStore(seriesMax: number): Promise<Store> {
  const clock = new BenchClock();
  const registry = new Registry();
  const { outOfOrderMsMax, futureMsMax } = LIMITS;
  const head = new KernelHead({ clock, retentionMs: RETENTION_MS, outOfOrderMsMax, futureMsMax, seriesMax });
  const writer = new Writer({ head, clock, registry });
  const engine = new QueryEngine({ head, clock, registry, lookbackMs: LOOKBACK_MS });
  // The writer predicts the next series for each connection where it can; where it cannot, it ignores the number.
  const remoteWrite: (body: Uint8Array, connection: number) => WriteOutcome = writer.remoteWrite.bind(writer);
  const write2 = writer.remoteWrite2.bind(writer);
  return { head, engine, clock, write: remoteWrite, write2, writeOtlp: (body) => writer.otlp(body) };
}
