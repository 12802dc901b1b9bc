/**
 * How full the memory is, and what follows, before anybody else decides it:
 *
 *     below 70 %   everything is taken
 *     from 70 %    no new series
 *     from 80 %    retention is shortened, step by step; if that does not help, ingest is refused for now
 *     from 90 %    ingest is refused at once, and so are queries that take more than a moment, unless an autoscaler asks
 *
 * What counts is what the process needs: the store's memory in use (it keeps pages that it gave back, so the resident size
 * would say too much), and everything beside it. Garbage is nobody's need: from 60 % on it is collected before it counts. A
 * stage is left 2 % below where it began.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError } from '../model/errors.ts';

export type Stage = 0 | 1 | 2 | 3;

/** What the store does about it. */
export interface PressedStore {
  refuseNewSeries(isRefused: boolean): void;
  /** How long samples are kept, at most as long as was set. */
  setRetentionMs(retentionMs: number): void;
}

/** What is beside the store and may go at any time. */
export interface GarbageCollector {
  /** Bytes since the last collection, at most. */
  grownBytes(): number;
  collect(): void;
}

export interface PressureOptions {
  readonly clock: Clock;
  readonly store: PressedStore;
  readonly limitBytes: number;
  readonly retentionMs: number;
  /** Bytes that the process needs. */
  readonly usedBytes: () => number;
  readonly garbage?: GarbageCollector;
  readonly onChange?: (stage: Stage, usedBytes: number) => void;
}

const BEGINS: readonly number[] = [0, 0.7, 0.8, 0.9];
const HYSTERESIS = 0.02;
/** Shortening goes fast, lengthening slowly, and never below what autoscalers look at. */
const SHORTENED = 0.9;
const LENGTHENED = 1.02;
const RETENTION_MS_MIN = 10 * 60_000;
const STEP_MS = 5000;
/** From this share on garbage is collected, if there may be as much of it as this share of the limit, and not too often. */
const COLLECTED_FROM = 0.6;
const GARBAGE_MIN = 0.05;
const COLLECT_MS_MIN = 300;
/** The same where little is left. */
const URGENT_FROM = 0.8;
const URGENT_GARBAGE_MIN = 0.025;
const URGENT_COLLECT_MS_MIN = 120;
/** What a large body takes until it is stored: as it was received, decompressed, and read. */
const COPIES_OF_A_BODY = 3;
const LARGE_BODY_BYTES = 2 ** 20;
/** How often a query under way and those who bring bodies look. */
const TICK_MS = 20;

export class Pressure {
  readonly #options: PressureOptions;
  #stage: Stage = 0;
  #retentionMs: number;
  #usedBytes = 0;
  #steppedMs = -Infinity;
  #collectedMs = -Infinity;
  #tickedMs = -Infinity;

  constructor(options: PressureOptions) {
    this.#options = options;
    this.#retentionMs = options.retentionMs;
  }

  get stage(): Stage {
    return this.#stage;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get retentionMs(): number {
    return this.#retentionMs;
  }

  /** To be called several times a second. */
  tick(): void {
    const { limitBytes, store, onChange, clock } = this.#options;
    this.#tickedMs = clock.monotonicMs();
    this.#usedBytes = this.#options.usedBytes();
    if (this.#collects()) this.#usedBytes = this.#options.usedBytes();
    const stage = stageOf(this.#usedBytes / limitBytes, this.#stage);
    if (stage !== this.#stage) {
      this.#stage = stage;
      store.refuseNewSeries(stage >= 1);
      onChange?.(stage, this.#usedBytes);
    }
    if (clock.monotonicMs() - this.#steppedMs < STEP_MS) return;
    this.#steppedMs = clock.monotonicMs();
    if (stage >= 2) this.#keep(this.#retentionMs * SHORTENED);
    else if (stage === 0) this.#keep(this.#retentionMs * LENGTHENED);
  }

  /** Throws `overloaded` if no body may be taken now. */
  admit(): void {
    if (this.#usedBytes >= COLLECTED_FROM * this.#options.limitBytes) this.#tickIfDue();
    // From 80 % what is oldest goes first; samples are refused once there is nothing left that may go.
    if (this.#stage < 2 || (this.#stage === 2 && this.#retentionMs > RETENTION_MS_MIN)) return;
    throw new CodedError(
      'overloaded',
      `cannot take body: ${this.#usedBytes} bytes of memory are in use of ${this.#options.limitBytes}; send it again later`,
    );
  }

  /** Throws `overloaded` if there is no memory for a body of so many bytes, which is about to be received, now. */
  admitBody(bytes: number): void {
    const { limitBytes } = this.#options;
    const room = BEGINS[3]! * limitBytes - COPIES_OF_A_BODY * bytes;
    if (bytes < LARGE_BODY_BYTES || this.#usedBytes <= room) return;
    this.#tickIfDue();
    if (this.#usedBytes <= room) return;
    throw new CodedError(
      'overloaded',
      `cannot take body of ${bytes} bytes: ${this.#usedBytes} bytes of memory are in use of ${limitBytes}; send it again later`,
    );
  }

  /** True if garbage was collected. */
  #collects(): boolean {
    const { garbage, limitBytes, clock } = this.#options;
    if (garbage === undefined || this.#usedBytes < COLLECTED_FROM * limitBytes) return false;
    const isUrgent = this.#usedBytes >= URGENT_FROM * limitBytes;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#collectedMs < (isUrgent ? URGENT_COLLECT_MS_MIN : COLLECT_MS_MIN)) return false;
    if (garbage.grownBytes() < (isUrgent ? URGENT_GARBAGE_MIN : GARBAGE_MIN) * limitBytes) return false;
    this.#collectedMs = nowMs;
    garbage.collect();
    return true;
  }

  /** Throws `overloaded` if there is no memory for a long query now. A query may fill it between two ticks. */
  admitQuery(): void {
    this.#tickIfDue();
    if (this.#stage < 3) return;
    throw new CodedError(
      'overloaded',
      `cannot evaluate query: ${this.#usedBytes} bytes of memory are in use of ${this.#options.limitBytes}; ask again later, or for less`,
    );
  }

  #tickIfDue(): void {
    if (this.#options.clock.monotonicMs() - this.#tickedMs >= TICK_MS) this.tick();
  }

  #keep(retentionMs: number): void {
    const max = this.#options.retentionMs;
    const wanted = Math.min(max, Math.max(retentionMs, Math.min(max, RETENTION_MS_MIN)));
    if (wanted === this.#retentionMs) return;
    this.#retentionMs = wanted;
    this.#options.store.setRetentionMs(wanted);
  }
}

/** The stage for a share of the limit; one is left only some way below where it begins. */
function stageOf(share: number, before: Stage): Stage {
  let stage = 0;
  while (stage < 3 && share >= BEGINS[stage + 1]! - (stage < before ? HYSTERESIS : 0)) stage++;
  return stage as Stage;
}
