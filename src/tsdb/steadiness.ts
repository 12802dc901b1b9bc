/**
 * Whether wall time can be trusted to throw samples away by. A clock that jumps ahead for a moment (a machine that wakes up, a
 * wrong time source) would take the store with it, and nothing would bring it back; so for a while after a jump nothing goes
 * by age. Memory is bounded without it: the oldest goes when there is no room.
 */
import type { Clock } from '../model/clock.ts';
import { LIMITS } from '../model/limits.ts';

export class Steadiness {
  readonly #clock: Clock;
  #offsetMs: number;
  #heldUntilMs = -Infinity;
  #jumps = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offsetMs = clock.nowMs() - clock.monotonicMs();
  }

  /** Jumps that were seen so far. */
  get jumps(): number {
    return this.#jumps;
  }

  /** False for a while after a jump. Called regularly. */
  look(): boolean {
    const monotonicMs = this.#clock.monotonicMs();
    const offsetMs = this.#clock.nowMs() - monotonicMs;
    const isJump = Math.abs(offsetMs - this.#offsetMs) > LIMITS.clockStepMsMax;
    this.#offsetMs = offsetMs;
    if (isJump) {
      this.#jumps++;
      this.#heldUntilMs = monotonicMs + LIMITS.clockHoldMs;
    }
    return monotonicMs >= this.#heldUntilMs;
  }
}
