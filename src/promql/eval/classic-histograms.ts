/**
 * histogram_quantile over classic histograms: rows are bound to histograms (all labels but `le`) and buckets (the bounds
 * that `le` names), so that evaluation only fills in counts.
 */
import { type Labels, labelsKey, labelValue, METRIC_NAME } from '../../model/labels.ts';
import { forMetric } from '../annotations.ts';
import { type Buckets, bucketQuantile, type Repair } from '../functions/histogram-quantile.ts';
import type { Call, Expr } from '../syntax/ast.ts';
import { type Binding, bindScalar, bindVector } from './bind.ts';
import { FLOAT, type Frame, newColumn } from './column.ts';
import { isMetadataLabel, type Rows, rowsOf } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { type BoundScalar, type BoundVector, collect } from './vector.ts';

/** One histogram: its rows in ascending order of their bounds. */
interface Histogram {
  readonly rows: Int32Array;
  readonly bounds: Float64Array;
  readonly name: string;
}

export interface Histograms {
  readonly list: readonly Histogram[];
  readonly rows: Rows;
}

export function* bindHistogramQuantile(b: Binding, call: Call): Slices<BoundVector> {
  const quantile = yield* bindScalar(b, call.args[0]!);
  const child = yield* bindVector(b, call.args[1]!);
  return quantileVector(b, child, quantile, call);
}

function quantileVector(b: Binding, child: BoundVector, quantile: BoundScalar, call: Call): BoundVector {
  const histograms = bindHistograms(b.run, child.rows, call.args[1]!);
  return {
    grid: child.grid,
    rows: histograms.rows,
    *stream(run, visit) {
      const q = yield* quantile.evaluate(run);
      noteBadQuantiles(run, q, call.args[0]!);
      const frame = yield* collect(run, child);
      const repair: Repair = { forced: false, minBucket: 0, maxBucket: 0, maxDiff: 0 };
      for (const [i, histogram] of histograms.list.entries()) {
        const column = newColumn(child.grid.count);
        const buckets = newBuckets(histogram);
        for (let k = 0; k < child.grid.count; k++) {
          if (!fillBuckets(histogram, frame, k, buckets)) continue;
          column.values[k] = bucketQuantile(q[k]!, buckets, repair);
          column.present[k] = FLOAT;
          if (repair.forced) noteRepair(run, histogram.name, call.args[1]!);
          if (run.work(buckets.count)) yield;
        }
        visit(i, column);
      }
    },
  };
}

export function noteBadQuantiles(run: Run, q: Float64Array, span: Expr): void {
  for (const value of q) {
    if (value >= 0 && value <= 1) continue;
    run.annotations.warn(`quantile value should be between 0 and 1, got ${formatG(value)}`, span);
  }
}

/** Go's `%g`. */
export function formatG(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  const exponent = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  if (exponent >= -4 && exponent < 21) return String(value);
  const [mantissa, power] = value.toExponential().split('e') as [string, string];
  const sign = power.startsWith('-') ? '-' : '+';
  return `${mantissa}e${sign}${power.replace(/^[+-]/, '').padStart(2, '0')}`;
}

function noteRepair(run: Run, name: string, span: Expr): void {
  run.annotations.info(
    'input to histogram_quantile needed to be fixed for monotonicity ' +
      `(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)${forMetric(name)}`,
    span,
  );
}

/** Puts the rows of a vector together to histograms. Rows without a usable `le` are left out, with a warning. */
export function bindHistograms(run: Run, input: Rows, span: Expr): Histograms {
  const delayed = run.options.delayedNameRemoval;
  const byKey = new Map<string, { labels: Labels; members: { row: number; bound: number }[]; name: string }>();
  for (let row = 0; row < input.count; row++) {
    const labels = input.labels(row);
    const name = labelValue(labels, METRIC_NAME);
    const le = labelValue(labels, 'le');
    const bound = parseBound(le);
    if (bound === null) {
      const shown = name === '' ? '' : forMetric(name);
      run.annotations.warn(`bucket label "le" is missing or has a malformed value of "${le}"${shown}`, span);
      continue;
    }
    const own = histogramLabels(labels, delayed);
    const key = labelsKey(own);
    const known = byKey.get(key);
    if (known === undefined) byKey.set(key, { labels: own, members: [{ row, bound }], name });
    else known.members.push({ row, bound });
  }
  const all = [...byKey.values()];
  const list = all.map(({ members, name }): Histogram => {
    members.sort((x, y) => x.bound - y.bound);
    return {
      rows: Int32Array.from(members, (member) => member.row),
      bounds: Float64Array.from(members, (member) => member.bound),
      name,
    };
  });
  return {
    list,
    rows: rowsOf(
      all.map(({ labels }) => labels),
      delayed ? all.map(() => true) : null,
    ),
  };
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
