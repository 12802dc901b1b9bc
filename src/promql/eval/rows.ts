/**
 * The rows of a vector: labels, known before any sample is read, and made only where somebody asks for them.
 *
 * `__name__`, `__type__` and `__unit__` are removed together. With delayed name removal an operation only marks its rows,
 * and the names go at the very end.
 */
import { CodedError } from '../../model/errors.ts';
import { type Labels, METRIC_NAME } from '../../model/labels.ts';
import { ABSENT, type Column, HISTOGRAM, newColumn, putHistogram } from './column.ts';
import { LabelTable } from './label-table.ts';
import { LABEL_WORK, type Run, type Slices } from './run.ts';
import type { Visit } from './vector.ts';

export interface Rows {
  readonly count: number;
  labels(row: number): Labels;
  /** True if the row's name is to be removed at the end. */
  marked(row: number): boolean;
  /** True if label sets stay distinct without the metric name, because all rows have the same one. */
  readonly sameName: boolean;
  /**
   * The values of one label as numbers, without making any label set; null where only label sets are known. Rows that have
   * it are series of the store: all of them are marked, or none.
   */
  readonly codes: ((name: string) => LabelCodes) | null;
  /** With `codes`: the same object for the very same rows, or null; what is known of it may be kept for the next query. */
  readonly identity: (() => object | null) | null;
}

/** A label of all rows: equal numbers, equal values; 0 where it is absent. */
export interface LabelCodes {
  /** Those of the rows from <= row < to; null if no row at all has the label. */
  readonly range: ((from: number, to: number) => Uint32Array) | null;
  text(code: number): string;
}

export const NO_CODES: LabelCodes = { range: null, text: () => '' };

export function rowsOf(labels: readonly Labels[], marks: readonly boolean[] | null = null, sameName = false): Rows {
  return {
    count: labels.length,
    labels: (row) => labels[row]!,
    marked: (row) => marks?.[row] ?? false,
    sameName,
    codes: null,
    identity: null,
  };
}

/** Labels that describe the metric, not the series. */
export function isMetadataLabel(name: string): boolean {
  return name === METRIC_NAME || name === '__type__' || name === '__unit__';
}

export function withoutName(labels: Labels): Labels {
  if (!hasName(labels)) return labels;
  const kept: string[] = [];
  for (let i = 0; i < labels.length; i += 2) if (!isMetadataLabel(labels[i]!)) kept.push(labels[i]!, labels[i + 1]!);
  return kept;
}

function hasName(labels: Labels): boolean {
  for (let i = 0; i < labels.length; i += 2) if (isMetadataLabel(labels[i]!)) return true;
  return false;
}

/** How rows that come to have equal labels are treated. */
export type Collision = 'merge' | 'fail';

/** Rows with other labels, and which input row goes to which of them. */
export interface Renamed {
  readonly rows: Rows;
  /** Input row → output row; null if each goes to its own. */
  readonly merge: Int32Array | null;
}

/** The rows without their names: removed now, or marked for later. */
export function* dropNames(run: Run, rows: Rows): Slices<Renamed> {
  const delayed = run.options.delayedNameRemoval;
  const { count, sameName, codes, identity } = rows;
  if (delayed) {
    const marked: Rows = { count, labels: (row) => rows.labels(row), marked: () => true, sameName, codes, identity };
    return { rows: marked, merge: null };
  }
  const view: Rows = {
    count,
    labels: (row) => withoutName(rows.labels(row)),
    marked: (row) => rows.marked(row),
    sameName,
    codes: codes === null ? null : (name) => (isMetadataLabel(name) ? NO_CODES : codes(name)),
    identity,
  };
  const distinct = rows.count <= 1 || (rows.sameName && !(yield* anyTypeOrUnit(run, rows)));
  return distinct ? { rows: view, merge: null } : yield* mergeEqual(run, view);
}

const CODES_AT_ONCE = 4096;

/** True if rows of one metric may differ in its type or unit alone. */
function* anyTypeOrUnit(run: Run, rows: Rows): Slices<boolean> {
  const { codes } = rows;
  if (codes !== null) {
    for (const name of ['__type__', '__unit__']) {
      const { range } = codes(name);
      if (range === null) continue;
      for (let from = 0; from < rows.count; from += CODES_AT_ONCE) {
        if (range(from, Math.min(from + CODES_AT_ONCE, rows.count)).some((code) => code !== 0)) return true;
        if (run.work(CODES_AT_ONCE)) yield;
      }
    }
    return false;
  }
  for (let row = 0; row < rows.count; row++) {
    if (run.work(LABEL_WORK)) yield;
    const labels = rows.labels(row);
    // Labels are sorted: nothing behind `__unit__` can be one of them.
    for (let i = 0; i < labels.length && labels[i]! <= '__unit__'; i += 2) {
      if (labels[i] === '__type__' || labels[i] === '__unit__') return true;
    }
  }
  return false;
}

/** Puts rows with equal labels together. */
export function* mergeEqual(run: Run, rows: Rows): Slices<Renamed> {
  const table = new LabelTable();
  const merge = new Int32Array(rows.count);
  for (let row = 0; row < rows.count; row++) {
    merge[row] = table.rowOf(rows.labels(row), rows.marked(row));
    if (run.work(LABEL_WORK)) yield;
  }
  return { rows: table.rows(), merge: table.count === rows.count ? null : merge };
}

export function sameLabelsetError(): CodedError {
  return new CodedError('query_failed', 'vector cannot contain metrics with the same labelset');
}

/**
 * Takes input rows and hands them on under their output row. Rows that share one are put together step by step: two
 * points at one step are an error, and with `fail` two series that have points at all.
 */
export class Merger {
  readonly #merge: Int32Array;
  readonly #steps: number;
  readonly #collision: Collision;
  readonly #members: Int32Array;
  readonly #columns = new Map<number, Column>();

  constructor(merge: Int32Array, rows: number, steps: number, collision: Collision) {
    this.#merge = merge;
    this.#steps = steps;
    this.#collision = collision;
    this.#members = new Int32Array(rows);
    for (const out of merge) this.#members[out]!++;
  }

  take(row: number, from: Column, visit: Visit): void {
    const out = this.#merge[row]!;
    if (this.#members[out] === 1) {
      visit(out, from);
      return;
    }
    let column = this.#columns.get(out);
    if (column !== undefined && this.#collision === 'fail') throw sameLabelsetError();
    if (column === undefined) {
      column = newColumn(this.#steps);
      this.#columns.set(out, column);
    }
    for (let k = 0; k < this.#steps; k++) {
      const kind = from.present[k]!;
      if (kind === ABSENT) continue;
      if (column.present[k] !== ABSENT) throw sameLabelsetError();
      column.values[k] = from.values[k]!;
      if (kind === HISTOGRAM) putHistogram(column, k, from.histograms![k]!);
      else column.present[k] = kind;
    }
  }

  finish(visit: Visit): void {
    for (const [out, column] of this.#columns) visit(out, column);
  }
}
