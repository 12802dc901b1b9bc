/** A head with samples in it, for tests of the surfaces that read. */
import { encodeHistogram, type FloatHistogram } from '../../src/model/histogram.ts';
import { labelsFromObject } from '../../src/model/labels.ts';
import { float64High, float64Low, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';

export type Point = readonly [timeMs: number, value: number | 'stale' | FloatHistogram];

export function headAt(nowMs: number, seriesMax = 1000): KernelHead {
  return new KernelHead({
    clock: { nowMs: () => nowMs, monotonicMs: () => 0 },
    retentionMs: 7_200_000,
    outOfOrderMsMax: 300_000,
    futureMsMax: 600_000,
    seriesMax,
  });
}

export function feed(head: KernelHead, labels: Readonly<Record<string, string>>, points: readonly Point[]): void {
  const ref = head.series(labelsFromObject(labels));
  for (const [timeMs, value] of points) {
    if (value === 'stale') head.append(ref, timeMs, STALE_NAN_LOW, STALE_NAN_HIGH);
    else if (typeof value === 'number') head.append(ref, timeMs, float64Low(value), float64High(value));
    else head.appendHistogram(ref, timeMs, encodeHistogram(value));
  }
}
