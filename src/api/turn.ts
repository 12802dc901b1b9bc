/**
 * The order of service on the one thread: what senders' bodies may take of a turn of the event loop. Within a turn every
 * socket that is ready is read, so without a bound a question of an autoscaler waits for the bodies of all senders. What
 * is over the budget waits for a later turn, first come first served, and between two turns the others are heard.
 */
import { LIMITS } from '../model/limits.ts';

/** Work that had to wait; run once, whether or not it is still wanted. */
export interface Waiting {
  run(): void;
}

export class TurnBudget {
  readonly #msMax: number;
  /** In this turn. */
  #spentMs = 0;
  #isPlanned = false;
  readonly #waiting: Waiting[] = [];
  /** The first of those that was not run yet. */
  #next = 0;

  constructor(msMax: number = LIMITS.ingestTurnMsMax) {
    this.#msMax = msMax;
  }

  /** True if work may be done at once: there is time left in this turn, and nobody waits longer. */
  hasRoom(): boolean {
    return this.#spentMs < this.#msMax && this.#next === this.#waiting.length;
  }

  /** Says how long work took. */
  took(ms: number): void {
    this.#spentMs += ms;
    this.#plan();
  }

  wait(work: Waiting): void {
    this.#waiting.push(work);
    this.#plan();
  }

  /** Does work at once or when its turn has come, and keeps account of it. */
  do<T>(work: () => T): T | Promise<Awaited<T>> {
    if (this.hasRoom()) return this.#measured(work);
    return new Promise<Awaited<T>>((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(this.#measured(work) as Awaited<T>);
        } catch (error) {
          reject(error);
        }
      };
      this.wait({ run });
    });
  }

  #measured<T>(work: () => T): T {
    const beganMs = performance.now();
    try {
      return work();
    } finally {
      this.took(performance.now() - beganMs);
    }
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(this.#turn);
  }

  /** After the sockets of a turn, and before those of the next one. */
  readonly #turn = (): void => {
    this.#isPlanned = false;
    this.#spentMs = 0;
    while (this.#next < this.#waiting.length && this.#spentMs < this.#msMax) this.#waiting[this.#next++]!.run();
    this.#waiting.splice(0, this.#next);
    this.#next = 0;
    if (this.#waiting.length > 0) this.#plan();
  };
}

/** That of the process, which has one event loop. */
export const TURN_BUDGET = new TurnBudget();
