/**
 * One evaluation for the pair of calls that KEDA makes in one poll. GetMetrics and IsActive follow each other within
 * milliseconds, and must not disagree because a sample came between them. So the second of the pair takes the Reading of
 * the first, once: a call never takes a Reading that a call of its own kind had before, so no caller sees old news, and
 * KEDA's immediate retry evaluates anew.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../model/clock.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Reading, ReadingRequest, Readings } from '../../scaling/reading.ts';

export type Taker = 'GetMetrics' | 'IsActive';

interface Shared {
  readonly reading: Promise<Reading>;
  readonly startedMs: number;
  /** Who had it first; the other one may still take it. */
  readonly taker: Taker;
}

export class SharedReadings {
  readonly #readings: Pick<Readings, 'read'>;
  readonly #clock: Clock;
  readonly #shared = new LRUCache<string, Shared>({ max: LIMITS.kedaSharedReadingsMax });

  constructor(readings: Pick<Readings, 'read'>, clock: Clock) {
    this.#readings = readings;
    this.#clock = clock;
  }

  /** A Reading for one trigger (`owner` is its ScaledObject). */
  read(taker: Taker, owner: string, request: ReadingRequest): Promise<Reading> {
    const key = JSON.stringify([owner, request.scope, request.query]);
    const nowMs = this.#clock.monotonicMs();
    const shared = this.#shared.get(key);
    if (shared !== undefined && shared.taker !== taker && nowMs - shared.startedMs <= LIMITS.kedaSharedReadingMsMax) {
      this.#shared.delete(key);
      return shared.reading;
    }
    const reading = this.#readings.read(request);
    this.#shared.set(key, { reading, startedMs: nowMs, taker });
    return reading;
  }
}
