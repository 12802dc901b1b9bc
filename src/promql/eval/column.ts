/**
 * The numbers of an evaluation: a grid of steps, and columns over it.
 *
 * A column holds one series' points, one slot a step. `present` says which slots hold a point, and of which kind: NaN is a
 * legal value of PromQL and never means "absent". Histograms stand in a list beside the floats, which most columns do
 * without.
 */

import type { FloatHistogram } from '../../model/histogram.ts';
import type { WholeColumn } from '../../tsdb/head.ts';

/** Steps at startMs + k*stepMs for 0 <= k < count. An instant query is a grid of one step. */
export interface Grid {
  readonly startMs: number;
  readonly stepMs: number;
  readonly count: number;
}

/** Time of the last step. */
export function gridEndMs({ startMs, stepMs, count }: Grid): number {
  return startMs + Math.max(0, count - 1) * stepMs;
}

export const ABSENT = 0;
export const FLOAT = 1;
export const HISTOGRAM = 2;

/** One slot a step (or a row and step); only those marked HISTOGRAM count. */
export type HistogramSlots = (FloatHistogram | undefined)[];

/** `values.length === present.length`, one slot a step. */
export interface Column {
  readonly values: Float64Array;
  readonly present: Uint8Array;
  /** Null if no slot is marked HISTOGRAM. */
  histograms: HistogramSlots | null;
}

export function newColumn(count: number): Column {
  return { values: new Float64Array(count), present: new Uint8Array(count), histograms: null };
}

export function putHistogram(column: Column, k: number, histogram: FloatHistogram): void {
  column.histograms ??= new Array(column.values.length);
  column.histograms[k] = histogram;
  column.present[k] = HISTOGRAM;
}

/** Leaves the floats alone: most functions know nothing of histograms. */
export function dropHistograms(column: Column): void {
  if (column.histograms === null) return;
  const { present } = column;
  for (let k = 0; k < present.length; k++) if (present[k] === HISTOGRAM) present[k] = ABSENT;
  column.histograms = null;
}

/** Rows that a bulk reader of the store is asked for at a time: some tens of microseconds of work. */
export const BATCH_ROWS = 4096;

/** Columns for one batch of a bulk reader; `slots` is rows × steps. */
export function newWholeColumn(slots: number): WholeColumn {
  return { values: new Float64Array(slots), present: new Uint8Array(slots), samples: 0, newestMs: -Infinity };
}

let batch: WholeColumn | null = null;

/**
 * Columns for BATCH_ROWS rows of one step, the same for everybody: they are filled and handed on within one slice. New ones
 * for each query cost more than what a small query computes.
 */
export function sharedBatch(): WholeColumn {
  batch ??= newWholeColumn(BATCH_ROWS);
  return batch;
}

/** All columns of a vector, series-major: slot (row, step) is at row * steps + step. */
export interface Frame {
  readonly rows: number;
  readonly steps: number;
  readonly values: Float64Array;
  readonly present: Uint8Array;
  /** Null if no slot is marked HISTOGRAM. */
  histograms: HistogramSlots | null;
}

export function newFrame(rows: number, steps: number): Frame {
  const size = rows * steps;
  return { rows, steps, values: new Float64Array(size), present: new Uint8Array(size), histograms: null };
}

/** Copies a column into a row. */
export function setRow(frame: Frame, row: number, column: Column): void {
  const from = row * frame.steps;
  frame.values.set(column.values, from);
  frame.present.set(column.present, from);
  if (column.histograms === null) return;
  frame.histograms ??= new Array(frame.values.length);
  for (let k = 0; k < frame.steps; k++) frame.histograms[from + k] = column.histograms[k];
}

/** A view of one row of a frame. */
export function frameColumn(frame: Frame, row: number): Column {
  const from = row * frame.steps;
  const present = frame.present.subarray(from, from + frame.steps);
  const values = frame.values.subarray(from, from + frame.steps);
  const some = frame.histograms !== null && present.includes(HISTOGRAM);
  return { values, present, histograms: some ? frame.histograms!.slice(from, from + frame.steps) : null };
}

export function anyPresent(present: Uint8Array): boolean {
  return present.includes(FLOAT) || present.includes(HISTOGRAM);
}
