/**
 * Classic histograms: rows are bound to histograms (all labels but `le`) and buckets (the bounds
 * that `le` names), so that evaluation only fills in counts.
 */
import { type Labels, labelsKey, labelValue, METRIC_NAME } from '../../model/labels.ts';
import { forMetric } from '../annotations.ts';
import { formatG } from '../functions/format.ts';
import type { Buckets } from '../functions/histogram-quantile.ts';
import type { Expr } from '../syntax/ast.ts';
import { FLOAT, type Frame, HISTOGRAM } from './column.ts';
import { LabelTable } from './label-table.ts';
import { isMetadataLabel, type Rows, withoutName } from './rows.ts';
import { LABEL_WORK, type Run, type Slices } from './run.ts';

/** One classic histogram: its rows in ascending order of their bounds. */
export interface Histogram {
  readonly rows: Int32Array;
  readonly bounds: Float64Array;
  readonly name: string;
  /** Row of the result. */
  readonly output: number;
}

/** A row with native histograms. */
export interface NativeRow {
  readonly row: number;
  readonly name: string;
  /** Row of the result. */
  readonly output: number;
  /** The classic histogram with the same labels, or null. */
  readonly classic: Histogram | null;
}

export interface Histograms {
  readonly list: readonly Histogram[];
  readonly native: readonly NativeRow[];
  /** Rows of the result. */
  readonly rows: Rows;
}

export function noteBadQuantiles(run: Run, q: Float64Array, span: Expr): void {
  for (const value of q) {
    if (value >= 0 && value <= 1) continue;
    run.annotations.warn(`quantile value should be between 0 and 1, got ${formatG(value)}`, span);
  }
}

/**
 * Puts the rows of a vector together to histograms. Rows of floats without a usable `le` are left out, with a warning;
 * rows with native histograms are histograms by themselves.
 */
export function* bindHistograms(run: Run, input: Rows, frame: Frame, span: Expr): Slices<Histograms> {
  const delayed = run.options.delayedNameRemoval;
  const outputs = new LabelTable();
  const byKey = new Map<string, { output: number; members: { row: number; bound: number }[]; name: string }>();
  const natives: number[] = [];
  for (let row = 0; row < input.count; row++) {
    if (run.work(LABEL_WORK)) yield;
    if (frame.histograms !== null && holds(frame, row, HISTOGRAM)) natives.push(row);
    if (frame.histograms !== null && !holds(frame, row, FLOAT)) continue;
    const labels = input.labels(row);
    const name = labelValue(labels, METRIC_NAME);
    const le = labelValue(labels, 'le');
    const bound = parseBound(le);
    if (bound === null) {
      if (holds(frame, row, FLOAT))
        run.annotations.warn(
          `bucket label "le" is missing or has a malformed value of "${le}"${forMetric(name)}`,
          span,
        );
      continue;
    }
    const own = histogramLabels(labels, delayed);
    const key = labelsKey(own);
    const known = byKey.get(key);
    if (known !== undefined) known.members.push({ row, bound });
    else byKey.set(key, { output: outputs.rowOf(own, delayed), members: [{ row, bound }], name });
  }
  const classics = new Map([...byKey].map(([key, group]) => [key, classicHistogram(group)] as const));
  const native = natives.map((row) => nativeRow(input, row, classics, outputs, delayed));
  return { list: [...classics.values()], native, rows: outputs.rows() };
}

function holds({ present, steps }: Frame, row: number, kind: number): boolean {
  return present.subarray(row * steps, (row + 1) * steps).includes(kind);
}

function classicHistogram({
  members,
  name,
  output,
}: {
  members: { row: number; bound: number }[];
  name: string;
  output: number;
}): Histogram {
  members.sort((x, y) => x.bound - y.bound);
  return {
    rows: Int32Array.from(members, (member) => member.row),
    bounds: Float64Array.from(members, (member) => member.bound),
    name,
    output,
  };
}

function nativeRow(
  input: Rows,
  row: number,
  classics: ReadonlyMap<string, Histogram>,
  outputs: LabelTable,
  delayed: boolean,
): NativeRow {
  const labels = input.labels(row);
  const own = delayed ? labels : withoutName(labels);
  return {
    row,
    name: labelValue(labels, METRIC_NAME),
    output: outputs.rowOf(own, delayed),
    classic: classics.get(labelsKey(histogramLabels(labels, delayed))) ?? null,
  };
}

/** True if any row of a classic histogram has a point at step k. */
export function anyBucket({ rows }: Histogram, { present, steps }: Frame, k: number): boolean {
  return rows.some((row) => present[row * steps + k] === FLOAT);
}

function histogramLabels(labels: Labels, delayed: boolean): Labels {
  const kept: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    if (labels[i] !== 'le' && (delayed || !isMetadataLabel(labels[i]!))) kept.push(labels[i]!, labels[i + 1]!);
  }
  return kept;
}

/** Go's ParseFloat of a bound. */
function parseBound(le: string): number | null {
  if (/^[+-]?inf(inity)?$/i.test(le)) return le.startsWith('-') ? -Infinity : Infinity;
  if (/^[+-]?nan$/i.test(le)) return Number.NaN;
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(le) ? Number(le) : null;
}

export function newBuckets(histogram: Histogram): Buckets {
  return { bounds: new Float64Array(histogram.rows.length), counts: new Float64Array(histogram.rows.length), count: 0 };
}

/** The buckets that have a point at step k; equal bounds are added up. False if there is none. */
export function fillBuckets(histogram: Histogram, frame: Frame, k: number, buckets: Buckets): boolean {
  let count = 0;
  for (let i = 0; i < histogram.rows.length; i++) {
    const slot = histogram.rows[i]! * frame.steps + k;
    if (frame.present[slot] !== FLOAT) continue;
    const bound = histogram.bounds[i]!;
    if (count > 0 && buckets.bounds[count - 1] === bound) buckets.counts[count - 1]! += frame.values[slot]!;
    else {
      buckets.bounds[count] = bound;
      buckets.counts[count++] = frame.values[slot]!;
    }
  }
  buckets.count = count;
  return count > 0;
}
