/** Calls of functions: which family computes them, with their arguments bound. */
import { CodedError, unreachable } from '../../model/errors.ts';
import { labelValue, METRIC_NAME } from '../../model/labels.ts';
import { EXTENDED_FUNCTIONS, extendedKernel } from '../functions/extended.ts';
import { OVER_TIME_KERNELS } from '../functions/over-time.ts';
import { RATE_KERNELS } from '../functions/rate.ts';
import { FUNCTIONS } from '../functions/table.ts';
import { TREND_KERNELS } from '../functions/trend.ts';
import { type Call, type Edges, type Expr, unparen } from '../syntax/ast.ts';
import { type Binding, bindRange, bindScalar, bindVector } from './bind.ts';
import { noteBadQuantiles } from './classic-histograms.ts';
import { bindHistogramCall } from './histogram-calls.ts';
import { HistogramNotes } from './histogram-notes.ts';
import { bindInfo } from './info.ts';
import { bindLabelCall } from './label-calls.ts';
import { absentOverTime, absentVector } from './presence.ts';
import type { RangeSource } from './range.ts';
import { dropNames, type Renamed } from './rows.ts';
import type { Slices } from './run.ts';
import { bindSort } from './sorting.ts';
import { bindDate, bindMath, bindVectorOfScalars } from './value-calls.ts';
import type { BoundScalar, BoundVector } from './vector.ts';
import { type RangeKernel, type RangeNotes, rangeCall } from './window.ts';

export function* bindVectorCall(b: Binding, call: Call): Slices<BoundVector> {
  const { family } = FUNCTIONS.get(call.name)!;
  switch (family) {
    case 'rate':
      return yield* bindWindowed(b, call, RATE_KERNELS.get(call.name)!);
    case 'over-time':
      return yield* bindWindowed(b, call, OVER_TIME_KERNELS.get(call.name)!);
    case 'trend':
      return yield* bindWindowed(b, call, TREND_KERNELS.get(call.name)!);
    case 'math':
      return yield* bindMath(b, call);
    case 'dates':
      return yield* bindDate(b, call);
    case 'scalars':
      return yield* bindVectorOfScalars(b, call);
    case 'histograms':
      return yield* bindHistogramCall(b, call);
    case 'presence':
      if (call.name === 'absent') return absentVector(yield* bindVector(b, call.args[0]!), call.args[0]!);
      return absentOverTime(yield* bindPlainRange(b, call, call.args[0]!), call.args[0]!);
    case 'labels':
      return yield* bindLabelCall(b.run, call, yield* bindVector(b, call.args[0]!));
    case 'sort':
      return bindSort(call, yield* bindVector(b, call.args[0]!));
    case 'info':
      return yield* bindInfo(b.run, call, yield* bindVector(b, call.args[0]!));
    default:
      return unreachable(family);
  }
}

// ── Windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const COUNTER_SUFFIX = /_(total|sum|count|bucket)$/;

function* bindWindowed(b: Binding, call: Call, plain: RangeKernel): Slices<BoundVector> {
  const at = call.args.findIndex(isRange);
  const arg = call.args[at]!;
  const edges = edgesOf(arg);
  const kernel = edges === null ? plain : extendedKernel(call.name, edges);
  const source = yield* bindPlainRange(b, call, arg);
  const params: BoundScalar[] = [];
  for (const [i, other] of call.args.entries()) if (i !== at) params.push(yield* bindScalar(b, other));
  const keepsName = call.name === 'last_over_time' || call.name === 'first_over_time';
  const renamed: Renamed = keepsName ? { rows: source.rows, merge: null } : yield* dropNames(b.run, source.rows);
  return rangeCall({
    source,
    kernel,
    params,
    renamed,
    collision: 'fail',
    notes: notesOf(b, call, arg, source),
    histogramNotes: new HistogramNotes(b.run, arg),
  });
}

/** The range of a call, if its modifier goes with the function. */
function* bindPlainRange(b: Binding, call: Call, arg: Expr): Slices<RangeSource> {
  const edges = edgesOf(arg);
  if (edges !== null && !EXTENDED_FUNCTIONS[edges].includes(call.name)) {
    const allowed = EXTENDED_FUNCTIONS[edges].join(', ');
    throw new CodedError('query_failed', `${edges} modifier can only be used with: ${allowed} - not with ${call.name}`);
  }
  return yield* bindRange(b, arg);
}

function edgesOf(arg: Expr): Edges | null {
  const inner = unparen(arg);
  return inner.kind === 'matrix' ? inner.selector.edges : null;
}

function isRange(arg: Expr): boolean {
  const { kind } = unparen(arg);
  return kind === 'matrix' || kind === 'subquery';
}

// ── Annotations ─────────────────────────────────────────────────────────────────────────────────────────────────────

function notesOf(b: Binding, call: Call, arg: Expr, source: RangeSource): RangeNotes | null {
  const isAboutName = !b.run.options.typeAndUnitLabels;
  if (call.name === 'rate' || call.name === 'increase')
    return { row: noteNonCounter(b, arg, source), params: null, isAboutName };
  if (call.name !== 'quantile_over_time') return null;
  return { row: null, params: ([quantiles]) => noteBadQuantiles(b.run, quantiles!, call.args[0]!), isAboutName };
}

function noteNonCounter(b: Binding, arg: Expr, source: RangeSource): (row: number) => void {
  const byType = b.run.options.typeAndUnitLabels;
  return (row) => {
    const labels = source.rows.labels(row);
    const name = labelValue(labels, METRIC_NAME);
    if (name === '') return;
    if (byType) {
      const type = labelValue(labels, '__type__');
      if (type === 'counter' || type === 'histogram') return;
      b.run.annotations.info(
        `metric might not be a counter, __type__ label is not set to "counter" or "histogram", got "${type}": "${name}"`,
        arg,
      );
    } else if (!COUNTER_SUFFIX.test(name)) {
      b.run.annotations.info(
        `metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "${name}"`,
        arg,
      );
    }
  };
}
