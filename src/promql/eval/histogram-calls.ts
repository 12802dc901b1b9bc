/** Functions of histograms over classic ones: histogram_quantile, _quantiles, _fraction (reference sections 8.8, 8.9). */
import type { Labels } from '../../model/labels.ts';
import { openMetricsFloat } from '../functions/format.ts';
import {
  type Buckets,
  bucketFraction,
  bucketQuantile,
  newRepair,
  type Repair,
} from '../functions/histogram-quantile.ts';
import { type Call, type Expr, unparen } from '../syntax/ast.ts';
import { type Binding, bindScalar, bindVector } from './bind.ts';
import { bindHistograms, fillBuckets, type Histograms, newBuckets, noteBadQuantiles } from './classic-histograms.ts';
import { FLOAT, newColumn } from './column.ts';
import { withLabel } from './matching.ts';
import { rowsOf } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { type BoundScalar, type BoundVector, collect } from './vector.ts';

export function* bindHistogramCall(b: Binding, call: Call): Slices<BoundVector> {
  switch (call.name) {
    case 'histogram_quantile':
      return yield* bindQuantile(b, call);
    case 'histogram_fraction':
      return yield* bindFraction(b, call);
    case 'histogram_quantiles':
      return yield* bindQuantiles(b, call);
    default:
      // The parts of native histograms; floats have none.
      return nothing(yield* bindVector(b, call.args[0]!));
  }
}

function nothing(child: BoundVector): BoundVector {
  return { grid: child.grid, rows: rowsOf([]), *stream() {} };
}

/** Computes one number of the buckets of a histogram at step k. */
type OfBuckets = (buckets: Buckets, k: number, repair: Repair) => number;

function* bindQuantile(b: Binding, call: Call): Slices<BoundVector> {
  const [quantile, vector] = call.args as [Expr, Expr];
  const param = yield* bindScalar(b, quantile);
  const child = yield* bindVector(b, vector);
  return perHistogram(b, child, vector, function* (run) {
    const q = yield* param.evaluate(run);
    noteBadQuantiles(run, q, quantile);
    return (buckets, k, repair) => bucketQuantile(q[k]!, buckets, repair);
  });
}

function* bindFraction(b: Binding, call: Call): Slices<BoundVector> {
  const [lower, upper, vector] = call.args as [Expr, Expr, Expr];
  const lowerParam = yield* bindScalar(b, lower);
  const upperParam = yield* bindScalar(b, upper);
  const child = yield* bindVector(b, vector);
  return perHistogram(b, child, vector, function* (run) {
    const lows = yield* lowerParam.evaluate(run);
    const highs = yield* upperParam.evaluate(run);
    return (buckets, k, repair) => bucketFraction(lows[k]!, highs[k]!, buckets, repair);
  });
}

function perHistogram(
  b: Binding,
  child: BoundVector,
  span: Expr,
  prepare: (run: Run) => Slices<OfBuckets>,
): BoundVector {
  const histograms = bindHistograms(b.run, child.rows, span);
  return {
    grid: child.grid,
    rows: histograms.rows,
    *stream(run, visit) {
      const compute = yield* prepare(run);
      const frame = yield* collect(run, child);
      const repair = newRepair();
      for (const [i, histogram] of histograms.list.entries()) {
        const column = newColumn(child.grid.count);
        const buckets = newBuckets(histogram);
        for (let k = 0; k < child.grid.count; k++) {
          if (!fillBuckets(histogram, frame, k, buckets)) continue;
          column.values[k] = compute(buckets, k, repair);
          column.present[k] = FLOAT;
          if (repair.forced)
            run.annotations.repaired(histogram.name, child.grid.startMs + k * child.grid.stepMs, repair, span);
          if (run.work(buckets.count)) yield;
        }
        visit(i, column);
      }
    },
  };
}

/** One row for each histogram and quantile. The quantiles name rows, so they are evaluated when the call is bound. */
function* bindQuantiles(b: Binding, call: Call): Slices<BoundVector> {
  const [vector, labelArg, ...quantileArgs] = call.args as [Expr, Expr, ...Expr[]];
  const literal = unparen(labelArg);
  const label = literal.kind === 'string' ? literal.value : '';
  const child = yield* bindVector(b, vector);
  const histograms = bindHistograms(b.run, child.rows, vector);
  const quantiles: Float64Array[] = [];
  for (const arg of quantileArgs) {
    const param: BoundScalar = yield* bindScalar(b, arg);
    const values = yield* param.evaluate(b.run);
    noteBadQuantiles(b.run, values, arg);
    quantiles.push(values);
  }
  return quantilesVector(child, vector, histograms, label, quantiles);
}

function quantilesVector(
  child: BoundVector,
  span: Expr,
  histograms: Histograms,
  label: string,
  quantiles: readonly Float64Array[],
): BoundVector {
  const { labels, marks, rowOf } = quantileRows(histograms, label, quantiles);
  const steps = child.grid.count;
  return {
    grid: child.grid,
    rows: rowsOf(labels, marks),
    *stream(run, visit) {
      const frame = yield* collect(run, child);
      const columns = labels.map(() => newColumn(steps));
      const repair = newRepair();
      for (const [i, histogram] of histograms.list.entries()) {
        const buckets = newBuckets(histogram);
        for (let k = 0; k < steps; k++) {
          if (!fillBuckets(histogram, frame, k, buckets)) continue;
          for (const q of quantiles) {
            const column = columns[rowOf(i, q[k]!)]!;
            column.values[k] = bucketQuantile(q[k]!, buckets, repair);
            column.present[k] = FLOAT;
            if (repair.forced)
              run.annotations.repaired(histogram.name, child.grid.startMs + k * child.grid.stepMs, repair, span);
          }
          if (run.work(buckets.count * quantiles.length)) yield;
        }
      }
      for (const [row, column] of columns.entries()) visit(row, column);
    },
  };
}

function quantileRows(histograms: Histograms, label: string, quantiles: readonly Float64Array[]) {
  const labels: Labels[] = [];
  const marks: boolean[] = [];
  const rows = new Map<string, number>();
  const texts = new Set(quantiles.flatMap((values) => Array.from(new Set(values), openMetricsFloat)));
  for (let i = 0; i < histograms.list.length; i++) {
    for (const text of texts) {
      rows.set(`${i} ${text}`, labels.length);
      labels.push(withLabel(histograms.rows.labels(i), label, text));
      marks.push(histograms.rows.marked(i));
    }
  }
  return {
    labels,
    marks,
    rowOf: (histogram: number, q: number): number => rows.get(`${histogram} ${openMetricsFloat(q)}`)!,
  };
}
