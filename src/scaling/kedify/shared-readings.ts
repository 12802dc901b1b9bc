/**
 * Readings that those who ask the same share within an interval; nobody is given one twice. As in
 * `scaling/shared-evaluations.ts`, an entry is written over in place and keeps only what a value of this path differs in.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../model/clock.ts';
import { EMPTY_LABELS } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Origin, Reading, ReadingValue } from '../answer.ts';

/** One Reading, under way or as numbers. */
class Entry {
  underWay: Promise<Reading> | null = null;
  firstAsker = '';
  otherAskers: Set<string> | null = null;
  origin: Origin = 'query';
  note = '';
  series = 0;
  // Begun with fractions: V8 then keeps these as doubles that are written over. NaN is null.
  startedMs = 0.5;
  value = 0.5;
  timeMs = 0.5;
  newestMs = 0.5;

  begin(reading: Promise<Reading>, asker: string, startedMs: number): void {
    this.underWay = reading;
    // An equal text from before is already where it will stay.
    if (this.firstAsker !== asker) this.firstAsker = asker;
    this.otherAskers = null;
    this.startedMs = startedMs;
  }

  /** False if this asker was given it before. */
  takes(asker: string): boolean {
    if (asker === this.firstAsker || this.otherAskers?.has(asker)) return false;
    this.otherAskers ??= new Set();
    this.otherAskers.add(asker);
    return true;
  }

  keep({ origin, note, series, value, timeMs, newestMs }: ReadingValue): void {
    this.underWay = null;
    this.origin = origin;
    this.note = note;
    this.series = series;
    this.value = value;
    this.timeMs = timeMs;
    this.newestMs = newestMs ?? Number.NaN;
  }

  async reading(): Promise<Reading> {
    if (this.underWay !== null) return this.underWay;
    const newestMs = Number.isNaN(this.newestMs) ? null : this.newestMs;
    return valueReading(this.timeMs, newestMs, this.series, this.value, this.origin, this.note);
  }
}

/** A value of this path: it has no labels, and no sources are counted. */
export function valueReading(
  timeMs: number,
  newestMs: number | null,
  series: number,
  value: number,
  origin: Origin,
  note: string,
): ReadingValue {
  return {
    kind: 'value',
    value,
    labels: EMPTY_LABELS,
    origin,
    note,
    timeMs,
    newestMs,
    series,
    sourcesExpected: 0,
    sourcesSeen: 0,
  };
}

export class SharedReadings {
  readonly #clock: Clock;
  readonly #entries = new LRUCache<string, Entry>({ max: LIMITS.sharedEvaluationsMax });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What was answered for this key within the interval and not yet given to this asker, or else what `begin` makes. */
  read(key: string, asker: string, begin: () => Promise<Reading>): Promise<Reading> {
    const nowMs = this.#clock.monotonicMs();
    let entry = this.#entries.get(key);
    if (entry !== undefined && nowMs - entry.startedMs <= LIMITS.evaluationIntervalMs && entry.takes(asker)) {
      return entry.reading();
    }
    const reading = begin();
    if (entry === undefined) {
      entry = new Entry();
      this.#entries.set(key, entry);
    }
    entry.begin(reading, asker, nowMs);
    void this.#finish(key, entry, reading);
    return reading;
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Absences and failures are not kept. */
  async #finish(key: string, entry: Entry, reading: Promise<Reading>): Promise<void> {
    let done: Reading | null = null;
    try {
      done = await reading;
    } catch {
      // Whoever asked hears of it.
    }
    if (entry.underWay !== reading) return;
    if (done !== null && done.kind === 'value') entry.keep(done);
    else if (this.#entries.peek(key) === entry) this.#entries.delete(key);
  }
}
