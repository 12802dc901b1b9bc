/**
 * Functions of histograms: histogram_quantile, _quantiles and _fraction over classic and native ones, and the parts of
 * native ones (reference sections 8.8, 8.9 and 9).
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import type { Labels } from '../../model/labels.ts';
import { forMetric } from '../annotations.ts';
import { openMetricsFloat } from '../functions/format.ts';
import {
  type Buckets,
  bucketFraction,
  bucketQuantile,
  newRepair,
  type Repair,
} from '../functions/histogram-quantile.ts';
import {
  histogramAverage,
  histogramFraction,
  histogramQuantile,
  histogramVariance,
  type NanNote,
} from '../histogram/quantile.ts';
import { type Call, type Expr, unparen } from '../syntax/ast.ts';
import { type Binding, bindScalar, bindVector } from './bind.ts';
import {
  anyBucket,
  bindHistograms,
  fillBuckets,
  type Histogram,
  type Histograms,
  type NativeRow,
  newBuckets,
  noteBadQuantiles,
} from './classic-histograms.ts';
import { ABSENT, type Column, FLOAT, type Frame, type Grid, HISTOGRAM, newFrame } from './column.ts';
import { withLabel } from './matching.ts';
import { dropNames, rowsOf, sameLabelsetError } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { type BoundVector, collect, mapRows, streamFrame } from './vector.ts';

export function* bindHistogramCall(outer: Binding, call: Call): Slices<BoundVector> {
  switch (call.name) {
    case 'histogram_quantile':
      return yield* bindQuantile({ ...outer, hints: 'stored' }, call);
    case 'histogram_fraction':
      return yield* bindFraction({ ...outer, hints: 'stored' }, call);
    case 'histogram_quantiles':
      return yield* bindQuantiles({ ...outer, hints: 'stored' }, call);
    default:
      return yield* bindPart(outer, call);
  }
}

// ── Parts of native histograms ──────────────────────────────────────────────────────────────────────────────────────

const PARTS: Readonly<Record<string, (histogram: FloatHistogram) => number>> = {
  histogram_count: ({ count }) => count,
  histogram_sum: ({ sum }) => sum,
  histogram_avg: histogramAverage,
  histogram_stdvar: histogramVariance,
  histogram_stddev: (histogram) => Math.sqrt(histogramVariance(histogram)),
};

/** Functions that look at count and sum alone: Prometheus reads no buckets for them, and detects resets while it reads. */
const WITHOUT_BUCKETS: ReadonlySet<string> = new Set(['histogram_count', 'histogram_sum', 'histogram_avg']);

function* bindPart(outer: Binding, call: Call): Slices<BoundVector> {
  const b: Binding = WITHOUT_BUCKETS.has(call.name) ? { ...outer, hints: 'detected' } : outer;
  const child = yield* bindVector(b, call.args[0]!);
  const part = PARTS[call.name]!;
  return mapRows(child, yield* dropNames(b.run, child.rows), 'merge', (_row, column) => takePart(column, part));
}

/** Floats have no parts. */
function takePart(column: Column, part: (histogram: FloatHistogram) => number): void {
  const { values, present, histograms } = column;
  for (let k = 0; k < values.length; k++) {
    if (present[k] === FLOAT) present[k] = ABSENT;
    if (present[k] !== HISTOGRAM) continue;
    values[k] = part(histograms![k]!);
    present[k] = FLOAT;
  }
  column.histograms = null;
}

// ── Quantiles and fractions ─────────────────────────────────────────────────────────────────────────────────────────

/** Computes numbers of a histogram at step k, each for a row of the result. */
interface Computation {
  readonly classic: (buckets: Buckets, k: number, repair: Repair, put: Put) => void;
  readonly native: (histogram: FloatHistogram, k: number, name: string, put: Put) => void;
}

/** `which` numbers the results of one histogram. */
type Put = (which: string, value: number) => void;

function* bindQuantile(b: Binding, call: Call): Slices<BoundVector> {
  const [quantile, vector] = call.args as [Expr, Expr];
  const param = yield* bindScalar(b, quantile);
  const child = yield* bindVector(b, vector);
  const q = yield* param.evaluate(b.run);
  noteBadQuantiles(b.run, q, quantile);
  return yield* perHistogram(b.run, child, vector, {
    classic: (buckets, k, repair, put) => put('', bucketQuantile(q[k]!, buckets, repair)),
    native: (histogram, k, name, put) => put('', nativeQuantile(b.run, q[k]!, histogram, name, vector)),
  });
}

function nativeQuantile(run: Run, q: number, histogram: FloatHistogram, name: string, span: Expr): number {
  const { value, note } = histogramQuantile(q, histogram);
  if (note !== null)
    run.annotations.info(`input to histogram_quantile has NaN observations, ${EFFECT[note]}${forMetric(name)}`, span);
  return value;
}

const EFFECT: Readonly<Record<NonNullable<NanNote>, string>> = {
  nan: 'result is NaN',
  skewed: 'result is skewed higher',
};

function* bindFraction(b: Binding, call: Call): Slices<BoundVector> {
  const [lower, upper, vector] = call.args as [Expr, Expr, Expr];
  const lowerParam = yield* bindScalar(b, lower);
  const upperParam = yield* bindScalar(b, upper);
  const child = yield* bindVector(b, vector);
  const lows = yield* lowerParam.evaluate(b.run);
  const highs = yield* upperParam.evaluate(b.run);
  return yield* perHistogram(b.run, child, vector, {
    classic: (buckets, k, repair, put) => put('', bucketFraction(lows[k]!, highs[k]!, buckets, repair)),
    native: (histogram, k, name, put) => {
      const { value, hasNaN } = histogramFraction(lows[k]!, highs[k]!, histogram);
      if (hasNaN)
        b.run.annotations.info(
          `input to histogram_fraction has NaN observations, which are excluded from all fractions${forMetric(name)}`,
          vector,
        );
      put('', value);
    },
  });
}

/** One row for each histogram and quantile. The quantiles name rows. */
function* bindQuantiles(b: Binding, call: Call): Slices<BoundVector> {
  const [vector, labelArg, ...quantileArgs] = call.args as [Expr, Expr, ...Expr[]];
  const literal = unparen(labelArg);
  const label = literal.kind === 'string' ? literal.value : '';
  const child = yield* bindVector(b, vector);
  const quantiles: Float64Array[] = [];
  for (const arg of quantileArgs) {
    const param = yield* bindScalar(b, arg);
    const values = yield* param.evaluate(b.run);
    noteBadQuantiles(b.run, values, arg);
    quantiles.push(values);
  }
  const texts = [...new Set(quantiles.flatMap((values) => Array.from(new Set(values), openMetricsFloat)))];
  const computation: Computation = {
    classic: (buckets, k, repair, put) => {
      // Only the first quantile finds the buckets as they came.
      let forced = false;
      for (const q of quantiles) {
        put(openMetricsFloat(q[k]!), bucketQuantile(q[k]!, buckets, repair));
        forced ||= repair.forced;
      }
      repair.forced = forced;
    },
    native: (histogram, k, name, put) => {
      for (const q of quantiles) put(openMetricsFloat(q[k]!), nativeQuantile(b.run, q[k]!, histogram, name, vector));
    },
  };
  return yield* perHistogram(b.run, child, vector, computation, { label, texts });
}

/**
 * Reads its input while it is bound: only the samples say which rows hold native histograms. `variants` makes several
 * rows of each histogram, told apart by a label.
 */
function* perHistogram(
  run: Run,
  child: BoundVector,
  span: Expr,
  computation: Computation,
  variants: { readonly label: string; readonly texts: readonly string[] } | null = null,
): Slices<BoundVector> {
  const frame = yield* collect(run, child);
  const histograms = yield* bindHistograms(run, child.rows, frame, span);
  const { rows, rowOf } = outputRows(histograms, variants);
  const out = newFrame(rows.count, frame.steps);
  run.charge(out.present.length);
  const put = (output: number, k: number): Put => {
    return (which, value) => {
      const slot = rowOf(output, which) * frame.steps + k;
      // A quantile may be asked for twice, but then it is the same.
      if (out.present[slot] === FLOAT && variants === null) throw sameLabelsetError();
      out.values[slot] = value;
      out.present[slot] = FLOAT;
    };
  };
  const at: Parts = { run, frame, grid: child.grid, span, computation, put };
  const rivals = new Map<Histogram, number[]>();
  for (const { classic, row } of histograms.native) {
    if (classic !== null) rivals.set(classic, [...(rivals.get(classic) ?? []), row]);
  }
  for (const histogram of histograms.list) {
    computeClassic(at, histogram, rivals.get(histogram) ?? []);
    if (run.work(histogram.rows.length * frame.steps)) yield;
  }
  for (const native of histograms.native) {
    computeNative(at, native);
    if (run.work(frame.steps)) yield;
  }
  return { grid: child.grid, rows, stream: (now, visit) => streamFrame(now, out, visit) };
}

interface Parts {
  readonly run: Run;
  readonly frame: Frame;
  readonly grid: Grid;
  readonly span: Expr;
  readonly computation: Computation;
  readonly put: (output: number, k: number) => Put;
}

function computeClassic(
  { run, frame, grid, span, computation, put }: Parts,
  histogram: Histogram,
  rivals: readonly number[],
): void {
  const buckets = newBuckets(histogram);
  const repair = newRepair();
  for (let k = 0; k < frame.steps; k++) {
    if (!fillBuckets(histogram, frame, k, buckets)) continue;
    if (rivals.some((row) => frame.present[row * frame.steps + k] === HISTOGRAM)) continue;
    computation.classic(buckets, k, repair, put(histogram.output, k));
    if (repair.forced) run.annotations.repaired(histogram.name, grid.startMs + k * grid.stepMs, repair, span);
  }
}

function computeNative({ run, frame, span, computation, put }: Parts, { row, name, output, classic }: NativeRow): void {
  for (let k = 0; k < frame.steps; k++) {
    const slot = row * frame.steps + k;
    if (frame.present[slot] !== HISTOGRAM) continue;
    if (classic !== null && anyBucket(classic, frame, k)) {
      run.annotations.warn(`vector contains a mix of classic and native histograms${forMetric(name)}`, span);
      continue;
    }
    computation.native(frame.histograms![slot]!, k, name, put(output, k));
  }
}

function outputRows(
  { rows }: Histograms,
  variants: { readonly label: string; readonly texts: readonly string[] } | null,
): { rows: Histograms['rows']; rowOf: (output: number, which: string) => number } {
  if (variants === null) return { rows, rowOf: (output) => output };
  const { label, texts } = variants;
  const labels: Labels[] = [];
  const marks: boolean[] = [];
  for (let row = 0; row < rows.count; row++) {
    for (const text of texts) {
      labels.push(withLabel(rows.labels(row), label, text));
      marks.push(rows.marked(row));
    }
  }
  return {
    rows: rowsOf(labels, marks),
    rowOf: (output, which) => output * texts.length + texts.indexOf(which),
  };
}
