/** So much at once, and so much a second: for what every peer does now and then, and only a hostile one without end. */
export class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #filledMs: number;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
    this.#filledMs = performance.now();
  }

  /** False once there is nothing left. */
  spend(): boolean {
    if (this.#left < 1) this.#fill();
    this.#left--;
    return this.#left >= 0;
  }

  #fill(): void {
    const nowMs = performance.now();
    this.#left = Math.min(this.#burst, this.#left + ((nowMs - this.#filledMs) / 1000) * this.#perSecond);
    this.#filledMs = nowMs;
  }
}
