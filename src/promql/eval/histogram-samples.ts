/**
 * Series with histograms: floats and histograms of one series in one line of time, and what is known of resets between
 * neighbours. Only series that have histograms come here.
 */
import { decodeHistogram, type FloatHistogram, isStaleHistogram, RESET_HINT } from '../../model/histogram.ts';
import type { SampleBuffer } from '../../model/sample.ts';
import type { Selection } from '../../tsdb/head.ts';
import { decreased, hintAfter, withHint } from '../histogram/algebra.ts';

/**
 * What selectors know of resets: what the store's neighbours say, or, under functions that look at count and sum alone,
 * every reset among the samples that are read.
 */
export type HintMode = 'stored' | 'detected';

/** Samples of one series, ascending in time, floats and histograms by turns. */
export interface MixedSamples {
  readonly count: number;
  readonly timesMs: Float64Array;
  /** NaN where the sample is a histogram. */
  readonly values: Float64Array;
  /** Null where the sample is a float. */
  readonly histograms: readonly (FloatHistogram | null)[];
  /** 1 where the sample is a stale marker. */
  readonly stale: Uint8Array;
}

export function readMixed(
  selection: Selection,
  row: number,
  fromMs: number,
  toMs: number,
  buffer: SampleBuffer,
  mode: HintMode,
): MixedSamples {
  const floats = selection.read(row, fromMs, toMs, buffer);
  const { timesMs: histogramTimesMs, blobs, before } = selection.readHistograms(row, fromMs, toMs);
  const count = floats + blobs.length;
  const timesMs = new Float64Array(count);
  const values = new Float64Array(count).fill(Number.NaN);
  const histograms: (FloatHistogram | null)[] = new Array(count).fill(null);
  const stale = new Uint8Array(count);
  const hints = new Hints(before === null || isStaleHistogram(before) ? null : decodeHistogram(before), mode);
  for (let i = 0, f = 0, h = 0; i < count; i++) {
    if (h === blobs.length || (f < floats && buffer.timesMs[f]! < histogramTimesMs[h]!)) {
      timesMs[i] = buffer.timesMs[f]!;
      values[i] = buffer.values[f]!;
      stale[i] = buffer.isStale(f++) ? 1 : 0;
      hints.interrupt();
    } else {
      timesMs[i] = histogramTimesMs[h]!;
      const blob = blobs[h++]!;
      const own = decodeHistogram(blob);
      stale[i] = isStaleHistogram(blob) ? 1 : 0;
      histograms[i] = stale[i] === 1 ? own : hints.hinted(own);
      if (stale[i] === 1) hints.interrupt();
    }
  }
  return { count, timesMs, values, histograms, stale };
}

class Hints {
  readonly #mode: HintMode;
  /** The sample right before, if it is a histogram. */
  #neighbour: FloatHistogram | null;
  /** The last histogram that was read. */
  #last: FloatHistogram | null = null;

  constructor(before: FloatHistogram | null, mode: HintMode) {
    this.#neighbour = before;
    this.#mode = mode;
  }

  interrupt(): void {
    this.#neighbour = null;
  }

  hinted(histogram: FloatHistogram): FloatHistogram {
    let hint = hintAfter(histogram, this.#neighbour);
    if (hint === RESET_HINT.unknown && this.#mode === 'detected' && this.#last !== null)
      hint = decreased(histogram, this.#last) ? RESET_HINT.reset : RESET_HINT.notReset;
    this.#neighbour = histogram;
    this.#last = histogram;
    return withHint(histogram, hint);
  }
}
