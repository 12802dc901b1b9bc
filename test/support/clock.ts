import type { Clock } from '../../src/model/clock.ts';

/** A clock that the test moves. Wall time and monotonic time go together, unless wall time jumps. */
export class TestClock implements Clock {
  #nowMs: number;
  #jumpedMs = 0;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs - this.#jumpedMs;
  }

  set(nowMs: number): void {
    this.#nowMs = nowMs;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }

  /** Moves wall time alone. */
  jump(ms: number): void {
    this.#nowMs += ms;
    this.#jumpedMs += ms;
  }
}
