/**
 * Since when the daemon has been hearing anybody: since its start, or since samples came in again after nothing came from
 * anybody for so long that every sender counts as gone. What begins right after that may have been there all the time.
 */
import type { Clock } from '../model/clock.ts';
import type { HeadReader } from '../tsdb/head.ts';

export interface ListeningOptions {
  readonly head: Pick<HeadReader, 'stats'>;
  readonly clock: Clock;
  readonly forgetAfterMs: number;
  /** How long the daemon has been listening already. */
  readonly uptimeMs: number;
}

/** How often the head is asked: it may have to walk all its series. */
const LOOK_MS_MIN = 1000;

export class Listening {
  readonly #options: ListeningOptions;
  #sinceMs: number;
  #arrivedMs: number;
  #lookedMs = -Infinity;
  #appended = 0;

  constructor(options: ListeningOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.monotonicMs() - options.uptimeMs;
    this.#arrivedMs = this.#sinceMs;
  }

  /** Notices whether samples came in; to be called with every question. */
  look(): void {
    const { head, clock, forgetAfterMs } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#appended > 0 && nowMs - this.#lookedMs < LOOK_MS_MIN) return;
    const { samplesAppended } = head.stats();
    if (samplesAppended !== this.#appended) {
      // If nobody asked for so long, nobody knows when samples came; then nothing is concluded.
      const wasWatched = nowMs - this.#lookedMs < forgetAfterMs;
      if (wasWatched && nowMs - this.#arrivedMs > forgetAfterMs) this.#sinceMs = nowMs;
      this.#appended = samplesAppended;
      this.#arrivedMs = nowMs;
    }
    this.#lookedMs = nowMs;
  }

  get hasReceived(): boolean {
    return this.#appended > 0;
  }

  /** In monotonic time. */
  get sinceMonotonicMs(): number {
    return this.#sinceMs;
  }
}
