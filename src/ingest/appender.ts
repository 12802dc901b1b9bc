/** The way of one request's samples into the head. */
import { CodedError } from '../model/errors.ts';
import type { Labels } from '../model/labels.ts';
import type { HeadWriter, SeriesRef } from '../tsdb/head.ts';
import { type Reason, reasonOf } from './reasons.ts';

/** The series with these labels, or why there can be none. */
export function seriesOrReason(head: HeadWriter, labels: Labels): SeriesRef | Reason {
  try {
    return head.series(labels);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'series_limit') return 'series_limit';
    throw error;
  }
}

/** Appends one sample by labels; null if it is in the head now. */
export function appendSample(
  head: HeadWriter,
  labels: Labels,
  timestampMs: number,
  low: number,
  high: number,
): Reason | null {
  const ref = seriesOrReason(head, labels);
  return typeof ref === 'string' ? ref : reasonOf(head.append(ref, timestampMs, low, high));
}
