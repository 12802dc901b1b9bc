/**
 * Sums and means of many histograms, compensated like those of floats (reference sections 6.6 and 9): each count has the
 * error of its additions beside it. A mean changes to an incremental one when a sum would overflow.
 */
import { EMPTY_HISTOGRAM, type FloatHistogram, NO_BUCKETS, RESET_HINT, type ResetHint } from '../../model/histogram.ts';
import { commonHint, divide } from './algebra.ts';
import { bucketsOf } from './buckets.ts';
import { type BucketMap, bucketMap, commonLayout, conform, type Layout, type Side, sameBounds } from './layout.ts';

/** A number and the error of the additions that made it: value + error is the better sum. */
interface Compensated {
  value: number;
  error: number;
}

interface CompensatedSide {
  indexes: Int32Array;
  values: Float64Array;
  errors: Float64Array;
}

/** Neumaier's step, for `value * scale` added to what is there. */
function addTo(into: Compensated, value: number): void {
  const t = into.value + value;
  if (t === Infinity || t === -Infinity) into.error = 0;
  else if (Math.abs(into.value) >= Math.abs(value)) into.error += into.value - t + value;
  else into.error += value - t + into.value;
  into.value = t;
}

export class HistogramSum {
  #layout: Layout = EMPTY_HISTOGRAM;
  #hint: ResetHint = RESET_HINT.unknown;
  #first = true;
  readonly #count: Compensated = { value: 0, error: 0 };
  readonly #sum: Compensated = { value: 0, error: 0 };
  readonly #zero: Compensated = { value: 0, error: 0 };
  #positive: CompensatedSide = newSide(0);
  #negative: CompensatedSide = newSide(0);
  #resets = false;
  #others = false;
  /** Custom bounds differed on the way. */
  reconciled = false;

  /** True if some histograms were known to be resets and others known to be none. */
  get conflict(): boolean {
    return this.#resets && this.#others;
  }

  /** Adds a histogram; false if it has custom buckets and the sum exponential ones, or the other way round. */
  add(histogram: FloatHistogram, scale = 1): boolean {
    if (histogram.hint === RESET_HINT.reset) this.#resets = true;
    if (histogram.hint === RESET_HINT.notReset) this.#others = true;
    if (this.#first) {
      this.#layout = histogram;
      this.#hint = histogram.hint;
      this.#first = false;
    } else if (!this.#meet(histogram)) return false;
    const { zeroCount, positive, negative } = conform(histogram, this.#layout);
    addTo(this.#count, histogram.count * scale);
    addTo(this.#sum, histogram.sum * scale);
    addTo(this.#zero, zeroCount * scale);
    this.#positive = addSide(this.#positive, positive, scale);
    this.#negative = addSide(this.#negative, negative, scale);
    return true;
  }

  /** Brings the sum to the layout that it has in common with the next histogram. */
  #meet(histogram: FloatHistogram): boolean {
    const layout = commonLayout(this.#plain(), histogram);
    if (layout === null) return false;
    this.#hint = commonHint(this.#hint, histogram.hint);
    if (!sameBounds(this.#layout.customValues, histogram.customValues)) this.reconciled = true;
    const map = bucketMap(this.#layout, layout);
    this.#layout = layout;
    if (map === null) return true;
    this.#positive = regroupSide(this.#positive, map, this.#zero);
    this.#negative = regroupSide(this.#negative, map, this.#zero);
    return true;
  }

  /** What decides over layouts: the buckets without their errors. */
  #plain(): FloatHistogram {
    return {
      ...EMPTY_HISTOGRAM,
      schema: this.#layout.schema,
      zeroThreshold: this.#layout.zeroThreshold,
      customValues: this.#layout.customValues,
      positive: bucketsOf(this.#positive.indexes, this.#positive.values, true),
      negative: bucketsOf(this.#negative.indexes, this.#negative.values, true),
    };
  }

  /** True if some count is beyond the floats. */
  get overflown(): boolean {
    const infinite = (value: number): boolean => value === Infinity || value === -Infinity;
    return (
      [this.#count, this.#sum, this.#zero].some(({ value }) => infinite(value)) ||
      this.#positive.values.some(infinite) ||
      this.#negative.values.some(infinite)
    );
  }

  /** Multiplies all that was added so far. */
  scale(factor: number): void {
    for (const total of [this.#count, this.#sum, this.#zero]) {
      total.value *= factor;
      total.error *= factor;
    }
    for (const side of [this.#positive, this.#negative]) {
      side.values = side.values.map((value) => value * factor);
      side.errors = side.errors.map((error) => error * factor);
    }
  }

  /** The sum, divided by a number of histograms for a mean. */
  value(divisor = 1): FloatHistogram {
    return {
      schema: this.#layout.schema,
      zeroThreshold: this.#layout.zeroThreshold,
      customValues: this.#layout.customValues,
      hint: this.#hint,
      count: totalOf(this.#count, divisor),
      sum: totalOf(this.#sum, divisor),
      zeroCount: totalOf(this.#zero, divisor),
      positive: totalsOf(this.#positive, divisor),
      negative: totalsOf(this.#negative, divisor),
    };
  }

  copy(): HistogramSum {
    const copy = new HistogramSum();
    copy.#layout = this.#layout;
    copy.#hint = this.#hint;
    copy.#first = this.#first;
    copy.#resets = this.#resets;
    copy.#others = this.#others;
    copy.reconciled = this.reconciled;
    Object.assign(copy.#count, this.#count);
    Object.assign(copy.#sum, this.#sum);
    Object.assign(copy.#zero, this.#zero);
    copy.#positive = {
      ...this.#positive,
      values: this.#positive.values.slice(),
      errors: this.#positive.errors.slice(),
    };
    copy.#negative = {
      ...this.#negative,
      values: this.#negative.values.slice(),
      errors: this.#negative.errors.slice(),
    };
    return copy;
  }
}

function totalOf({ value, error }: Compensated, divisor: number): number {
  return value / divisor + error / divisor;
}

function totalsOf({ indexes, values, errors }: CompensatedSide, divisor: number): FloatHistogram['positive'] {
  if (indexes.length === 0) return NO_BUCKETS;
  const totals = values.map((value, i) => value / divisor + errors[i]! / divisor);
  return bucketsOf(indexes, totals, true);
}

function newSide(size: number): CompensatedSide {
  return { indexes: new Int32Array(size), values: new Float64Array(size), errors: new Float64Array(size) };
}

const scratch: Compensated = { value: 0, error: 0 };

function addSide(into: CompensatedSide, side: Side, scale: number): CompensatedSide {
  const target = hasAll(into.indexes, side.indexes) ? into : spread(into, side.indexes);
  for (let i = 0, j = 0; j < side.indexes.length; i++) {
    if (target.indexes[i] !== side.indexes[j]) continue;
    scratch.value = target.values[i]!;
    scratch.error = target.errors[i]!;
    addTo(scratch, side.counts[j++]! * scale);
    target.values[i] = scratch.value;
    target.errors[i] = scratch.error;
  }
  return target;
}

function hasAll(indexes: Int32Array, wanted: Int32Array): boolean {
  let i = 0;
  for (const index of wanted) {
    while (i < indexes.length && indexes[i]! < index) i++;
    if (indexes[i] !== index) return false;
  }
  return true;
}

/** The side with empty buckets put in where it has none. */
function spread(side: CompensatedSide, more: Int32Array): CompensatedSide {
  const union = Int32Array.from(new Set([...side.indexes, ...more])).sort();
  const wider = { ...newSide(union.length), indexes: union };
  for (let i = 0, j = 0; j < side.indexes.length; i++) {
    if (union[i] !== side.indexes[j]) continue;
    wider.values[i] = side.values[j]!;
    wider.errors[i] = side.errors[j++]!;
  }
  return wider;
}

function regroupSide(side: CompensatedSide, map: BucketMap, zero: Compensated): CompensatedSide {
  const regrouped = newSide(side.indexes.length);
  let size = 0;
  for (let i = 0; i < side.indexes.length; i++) {
    const index = map(side.indexes[i]!);
    if (index === null) {
      addTo(zero, side.values[i]!);
      zero.error += side.errors[i]!;
      continue;
    }
    if (size === 0 || regrouped.indexes[size - 1] !== index) regrouped.indexes[size++] = index;
    scratch.value = regrouped.values[size - 1]!;
    scratch.error = regrouped.errors[size - 1]!;
    addTo(scratch, side.values[i]!);
    regrouped.values[size - 1] = scratch.value;
    regrouped.errors[size - 1] = scratch.error + side.errors[i]!;
  }
  return {
    indexes: regrouped.indexes.subarray(0, size),
    values: regrouped.values.subarray(0, size),
    errors: regrouped.errors.subarray(0, size),
  };
}

export class HistogramMean {
  #sum = new HistogramSum();
  #count = 0;
  #incremental = false;

  get conflict(): boolean {
    return this.#sum.conflict;
  }

  get reconciled(): boolean {
    return this.#sum.reconciled;
  }

  /** Adds a histogram; see {@link HistogramSum.add}. */
  add(histogram: FloatHistogram): boolean {
    this.#count++;
    if (this.#incremental) return this.#addShare(histogram);
    const before = this.#count === 1 ? null : this.#sum.copy();
    if (!this.#sum.add(histogram)) return false;
    if (before === null || !this.#sum.overflown) return true;
    this.#incremental = true;
    this.#sum = before;
    this.#sum.scale(1 / (this.#count - 1));
    return this.#addShare(histogram);
  }

  #addShare(histogram: FloatHistogram): boolean {
    this.#sum.scale((this.#count - 1) / this.#count);
    return this.#sum.add(divide(histogram, this.#count));
  }

  value(): FloatHistogram {
    return this.#sum.value(this.#incremental ? 1 : this.#count);
  }
}
