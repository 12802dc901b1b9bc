/**
 * A sample: a millisecond timestamp and a 64-bit float.
 *
 * The stale marker is a NaN with the exact bits 0x7ff0000000000002. It is a signalling NaN, and JavaScript may silence
 * a NaN whenever it passes through a number, so it is only ever recognised on raw bits: writers hand the two 32-bit
 * halves of a value around, readers look at a `Uint32Array` over the same buffer.
 * Source: prometheus/prometheus, model/value/value.go.
 */
export const STALE_NAN_HIGH = 0x7ff00000;
export const STALE_NAN_LOW = 0x00000002;

/** True if the two halves of a float64 are the stale marker. */
export function isStaleBits(low: number, high: number): boolean {
  return low === STALE_NAN_LOW && high === STALE_NAN_HIGH;
}

const scratchFloat = new Float64Array(1);
const scratchHalves = new Uint32Array(scratchFloat.buffer);

/** Low half of a float64 that is not a stale marker (a NaN may lose its payload on the way here). */
export function float64Low(value: number): number {
  scratchFloat[0] = value;
  return scratchHalves[0]!;
}

/** High half of a float64; see {@link float64Low}. */
export function float64High(value: number): number {
  scratchFloat[0] = value;
  return scratchHalves[1]!;
}

/**
 * Decoded samples of one series, ascending in time. A borrowed buffer: the next decode overwrites it.
 * `timesMs.length === values.length`; `halves` is a view of the bytes of `values` (low half at 2i, high half at 2i+1).
 */
export class SampleBuffer {
  timesMs: Float64Array<ArrayBuffer>;
  values: Float64Array<ArrayBuffer>;
  halves: Uint32Array<ArrayBuffer>;

  constructor(capacity: number) {
    this.timesMs = new Float64Array(capacity);
    this.values = new Float64Array(capacity);
    this.halves = new Uint32Array(this.values.buffer);
  }

  get capacity(): number {
    return this.timesMs.length;
  }

  /** Makes room for `count` samples; what was decoded before is lost when it has to grow. */
  ensure(count: number): void {
    if (count <= this.timesMs.length) return;
    const capacity = Math.max(count, this.timesMs.length * 2);
    this.timesMs = new Float64Array(capacity);
    this.values = new Float64Array(capacity);
    this.halves = new Uint32Array(this.values.buffer);
  }

  /** True if sample i is a stale marker. */
  isStale(i: number): boolean {
    return isStaleBits(this.halves[2 * i]!, this.halves[2 * i + 1]!);
  }
}
