/**
 * Compensated sums and means, as Prometheus computes them (reference section 6.6).
 * Source: prometheus/prometheus, promql/functions.go, kahanSumInc; A. Neumaier, ZAMM 54 (1974).
 */

/** A running Kahan-Neumaier sum; `total` is the answer. */
export class KahanSum {
  sum = 0;
  compensation = 0;

  reset(): void {
    this.sum = 0;
    this.compensation = 0;
  }

  add(value: number): void {
    const t = this.sum + value;
    if (t === Infinity || t === -Infinity) this.compensation = 0;
    else if (Math.abs(this.sum) >= Math.abs(value)) this.compensation += this.sum - t + value;
    else this.compensation += value - t + this.sum;
    this.sum = t;
  }

  get total(): number {
    return isInfinite(this.sum) ? this.sum : this.sum + this.compensation;
  }
}

export function isInfinite(value: number): boolean {
  return value === Infinity || value === -Infinity;
}

/** Kahan sum of values[lo..hi). */
export function sumOf(values: Float64Array, lo: number, hi: number): number {
  let sum = 0;
  let c = 0;
  for (let i = lo; i < hi; i++) {
    const value = values[i]!;
    const t = sum + value;
    if (t === Infinity || t === -Infinity) c = 0;
    else if (Math.abs(sum) >= Math.abs(value)) c += sum - t + value;
    else c += value - t + sum;
    sum = t;
  }
  return isInfinite(sum) ? sum : sum + c;
}

/** A mean by a Kahan sum, which changes to an incremental mean when the sum would overflow. */
export class KahanMean {
  #count = 0;
  #sum = 0;
  #c = 0;
  #mean = 0;
  #incremental = false;

  add(value: number): void {
    this.#count++;
    if (this.#count === 1) {
      this.#sum = value;
      return;
    }
    if (!this.#incremental) {
      const { sum, c } = kahanStep(value, this.#sum, this.#c);
      if (!isInfinite(sum)) {
        this.#sum = sum;
        this.#c = c;
        return;
      }
      // The sum overflows now, or the value is infinite itself: go on with the mean of what came before.
      this.#incremental = true;
      this.#mean = this.#sum / (this.#count - 1);
      this.#c /= this.#count - 1;
    }
    const q = (this.#count - 1) / this.#count;
    const { sum, c } = kahanStep(value / this.#count, q * this.#mean, q * this.#c);
    this.#mean = sum;
    this.#c = c;
  }

  get value(): number {
    if (this.#incremental) return this.#mean + this.#c;
    return this.#sum / this.#count + this.#c / this.#count;
  }
}

function kahanStep(value: number, sum: number, c: number): { sum: number; c: number } {
  const t = sum + value;
  if (t === Infinity || t === -Infinity) return { sum: t, c: 0 };
  return { sum: t, c: Math.abs(sum) >= Math.abs(value) ? c + (sum - t + value) : c + (value - t + sum) };
}

/** Mean of values[lo..hi), the fast path of {@link KahanMean}; falls back to it on overflow. */
export function meanOf(values: Float64Array, lo: number, hi: number): number {
  let sum = values[lo]!;
  let c = 0;
  for (let i = lo + 1; i < hi; i++) {
    const value = values[i]!;
    const t = sum + value;
    if (t === Infinity || t === -Infinity) return slowMean(values, lo, hi);
    if (Math.abs(sum) >= Math.abs(value)) c += sum - t + value;
    else c += value - t + sum;
    sum = t;
  }
  const count = hi - lo;
  return sum / count + c / count;
}

function slowMean(values: Float64Array, lo: number, hi: number): number {
  const mean = new KahanMean();
  for (let i = lo; i < hi; i++) mean.add(values[i]!);
  return mean.value;
}
