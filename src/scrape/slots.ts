/** Places for scrapes that are under way: who finds none waits for the first that is left, in order of arrival. */
export class Slots {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Resolves once there is a place; it is to be left again. */
  async take(): Promise<void> {
    if (this.#taken < this.#max) {
      this.#taken++;
      return;
    }
    // Whoever leaves hands the place on.
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#taken--;
    else next();
  }
}
