/**
 * Notices when the wall clock jumps: between two looks, wall time and monotonic time must have gone on alike. After a
 * jump back the store holds samples that seem to lie ahead, and a question would be answered with what was true before;
 * until the wall clock has caught up, such samples are a reason not to answer.
 */
import type { Clock } from '../model/clock.ts';

/** Drift between two looks that is a jump: what a time daemon corrects at a time is far below it. */
const JUMP_MS_MIN = 30_000;
/** How long after the wall clock has caught up the jump still counts. */
const SETTLE_MS = 60_000;

export class SteadyClock {
  readonly #clock: Clock;
  #offsetMs: number;
  #suspectUntilMs = -Infinity;
  #jumps = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offsetMs = clock.nowMs() - clock.monotonicMs();
  }

  /** Wall time now. */
  look(): number {
    const nowMs = this.#clock.nowMs();
    const monotonicMs = this.#clock.monotonicMs();
    const driftMs = nowMs - monotonicMs - this.#offsetMs;
    this.#offsetMs += driftMs;
    if (Math.abs(driftMs) >= JUMP_MS_MIN) {
      this.#jumps++;
      if (driftMs < 0) this.#suspectUntilMs = monotonicMs - driftMs + SETTLE_MS;
    }
    return nowMs;
  }

  /** True while samples that lie ahead of the clock may come from before a jump back. */
  get isSuspect(): boolean {
    return this.#clock.monotonicMs() < this.#suspectUntilMs;
  }

  /** Jumps noticed so far. */
  get jumps(): number {
    return this.#jumps;
  }
}
