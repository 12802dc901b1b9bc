import type { Timers } from '../../src/model/timers.ts';
import type { TestClock } from './clock.ts';

interface Due {
  readonly atMs: number;
  readonly run: () => void;
}

/** Timers that run when the test lets time pass. What waits for no time at all runs by itself. */
export class ManualTimers implements Timers {
  readonly #clock: TestClock;
  readonly #due = new Set<Due>();

  constructor(clock: TestClock) {
    this.#clock = clock;
  }

  after(ms: number, run: () => void): () => void {
    if (ms <= 0) {
      const soon = setImmediate(run);
      return () => clearImmediate(soon);
    }
    const due = { atMs: this.#clock.monotonicMs() + ms, run };
    this.#due.add(due);
    return () => void this.#due.delete(due);
  }

  /** Lets time pass, and runs on the way what comes due, in its order. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + ms;
    for (;;) {
      await settle();
      let next: Due | null = null;
      for (const due of this.#due) if (due.atMs <= untilMs && (next === null || due.atMs < next.atMs)) next = due;
      if (next === null) break;
      this.#due.delete(next);
      this.#clock.advance(Math.max(0, next.atMs - this.#clock.monotonicMs()));
      next.run();
    }
    this.#clock.advance(untilMs - this.#clock.monotonicMs());
    await settle();
  }
}

/** Lets everything that is under way inside the process come to rest. */
async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}
