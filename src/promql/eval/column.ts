/**
 * The numbers of an evaluation: a grid of steps, and columns over it.
 *
 * A column holds one series' points, one slot a step. `present` says which slots hold a point: NaN is a legal value of
 * PromQL and never means "absent". ABSENT and FLOAT are its only marks today; a histogram will be a third one, its value
 * in a list beside the floats.
 */

import type { WholeColumn } from '../../tsdb/head.ts';

/** Steps at startMs + k*stepMs for 0 <= k < count. An instant query is a grid of one step. */
export interface Grid {
  readonly startMs: number;
  readonly stepMs: number;
  readonly count: number;
}

export const ABSENT = 0;
export const FLOAT = 1;

/** `values.length === present.length`, one slot a step. */
export interface Column {
  readonly values: Float64Array;
  readonly present: Uint8Array;
}

export function newColumn(count: number): Column {
  return { values: new Float64Array(count), present: new Uint8Array(count) };
}

/** Rows that a bulk reader of the store is asked for at a time: some tens of microseconds of work. */
export const BATCH_ROWS = 4096;

/** Columns for one batch of a bulk reader; `slots` is rows × steps. */
export function newWholeColumn(slots: number): WholeColumn {
  return { values: new Float64Array(slots), present: new Uint8Array(slots), samples: 0, newestMs: -Infinity };
}

/** All columns of a vector, series-major: slot (row, step) is at row * steps + step. */
export interface Frame {
  readonly rows: number;
  readonly steps: number;
  readonly values: Float64Array;
  readonly present: Uint8Array;
}

/** A view of one row of a frame. */
export function frameColumn(frame: Frame, row: number): Column {
  const from = row * frame.steps;
  return {
    values: frame.values.subarray(from, from + frame.steps),
    present: frame.present.subarray(from, from + frame.steps),
  };
}

export function anyPresent(present: Uint8Array): boolean {
  return present.includes(FLOAT);
}
