/**
 * Bind: from the tree of a plan to bound expressions. Here every label set is looked at, once; what comes out holds
 * integer tables and computes numbers. A bind is itself in slices, because a few constructs (count_values, info) name
 * their rows after samples.
 */
import { CodedError, unreachable } from '../../model/errors.ts';
import { multiply } from '../histogram/algebra.ts';
import { positiveDurationMs } from '../plan/durations.ts';
import type { Plan } from '../plan/plan.ts';
import {
  type AggregateExpr,
  type BinaryExpr,
  type Expr,
  isSetOperator,
  type SubqueryExpr,
  type UnaryExpr,
  unparen,
} from '../syntax/ast.ts';
import { typeOf } from '../syntax/check.ts';
import { aggregate, bindGroups, isWhole } from './aggregate.ts';
import { scalarScalar, vectorScalar } from './binary.ts';
import { bindVectorCall } from './calls.ts';
import type { Grid } from './column.ts';
import type { HintMode } from './histogram-samples.ts';
import { bindJoin } from './join.ts';
import { lastEndMs, type RangeSource, subqueryGrid, subquerySource } from './range.ts';
import { bindRanking } from './ranking.ts';
import { dropNames } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { bindMatrix, bindNewestSum, bindSelector, bindWindows, durationContext } from './select.ts';
import { bindSet } from './sets.ts';
import { knownVector, shareable } from './shared.ts';
import { bindSmoothed } from './smoothed.ts';
import { bindScalarCall } from './value-calls.ts';
import { bindCountValues, bindQuantile } from './values.ts';
import { type BoundScalar, type BoundVector, constantScalar, mapRows, repeatScalar, repeatVector } from './vector.ts';

export interface Binding {
  readonly run: Run;
  readonly plan: Plan;
  readonly grid: Grid;
  /** What selectors say of the resets of histograms. */
  readonly hints: HintMode;
}

/** What is the same at every step is bound to the first step only, and repeated. */
function onceOnly(b: Binding, expr: Expr): boolean {
  return b.grid.count > 1 && b.plan.invariant.has(expr) && expr.kind !== 'number';
}

function firstStep(b: Binding): Binding {
  return { ...b, grid: { startMs: b.grid.startMs, stepMs: b.grid.stepMs, count: 1 } };
}

export function* bindVector(b: Binding, expr: Expr): Slices<BoundVector> {
  if (onceOnly(b, expr)) return repeatVector(yield* bindVector(firstStep(b), expr), b.grid);
  const twin = b.plan.shared.get(expr);
  return twin === undefined ? yield* bindAlone(b, expr) : yield* bindShared(b, twin);
}

/** `twin` stands for all expressions of its text; the last of them is the one that Prometheus' annotations point to. */
function* bindShared(b: Binding, twin: Expr): Slices<BoundVector> {
  const { grid, hints } = b;
  const { shared } = b.run;
  const known = knownVector(shared, twin, grid, hints);
  if (known !== undefined && known.vector !== null) return known.vector;
  const own = yield* bindAlone(b, twin);
  if (known !== undefined) return own;
  const vector = shareable(own);
  shared.set(twin, [...(shared.get(twin) ?? []), { grid, hints, vector }]);
  return vector ?? own;
}

function* bindAlone(b: Binding, expr: Expr): Slices<BoundVector> {
  switch (expr.kind) {
    case 'paren':
      return yield* bindVector(b, expr.expr);
    case 'selector':
      if (expr.edges === 'anchored') throw unsupported('the anchored modifier of an instant vector selector');
      return expr.edges === 'smoothed'
        ? yield* bindSmoothed(b.run, b.grid, expr, b.hints)
        : yield* bindSelector(b.run, b.grid, expr, 'value', b.hints);
    case 'unary':
      return yield* bindUnary(b, expr);
    case 'binary':
      return yield* bindBinary(b, expr);
    case 'aggregate':
      return yield* bindAggregate(b, expr);
    case 'call':
      return yield* bindVectorCall(b, expr);
    case 'number':
    case 'string':
    case 'matrix':
    case 'subquery':
      throw new Error(`no vector: ${expr.kind}`);
    default:
      return unreachable(expr);
  }
}

export function* bindScalar(b: Binding, expr: Expr): Slices<BoundScalar> {
  if (onceOnly(b, expr)) return repeatScalar(yield* bindScalar(firstStep(b), expr), b.grid);
  switch (expr.kind) {
    case 'paren':
      return yield* bindScalar(b, expr.expr);
    case 'number':
      return constantScalar(expr.value, b.grid);
    case 'unary': {
      const inner = yield* bindScalar(b, expr.expr);
      return expr.op === '-' ? negated(inner) : inner;
    }
    case 'binary':
      return scalarScalar(expr, yield* bindScalar(b, expr.lhs), yield* bindScalar(b, expr.rhs));
    case 'call':
      return yield* bindScalarCall(b, expr);
    default:
      throw new Error(`no scalar: ${expr.kind}`);
  }
}

function negated(inner: BoundScalar): BoundScalar {
  return { grid: inner.grid, evaluate: (run) => negatedValues(run, inner) };
}

function* negatedValues(run: Run, inner: BoundScalar): Slices<Float64Array> {
  const values = yield* inner.evaluate(run);
  return values.map((value) => -value);
}

function* bindUnary(b: Binding, expr: UnaryExpr): Slices<BoundVector> {
  const child = yield* bindVector(b, expr.expr);
  if (expr.op === '+') return child;
  return mapRows(child, yield* dropNames(b.run, child.rows), 'merge', (_row, column) => {
    const { values, histograms } = column;
    for (let k = 0; k < values.length; k++) values[k] = -values[k]!;
    if (histograms !== null) column.histograms = histograms.map((histogram) => histogram && multiply(histogram, -1));
  });
}

/** Binds a chain of operators along its left spine, which may be long, without recursion. */
function* bindBinary(outer: Binding, expr: BinaryExpr): Slices<BoundVector> {
  // An operator sees whole histograms, whatever becomes of its result.
  const b: Binding = { ...outer, hints: 'stored' };
  const leftIsScalar = typeOf(expr.lhs) === 'scalar';
  const rightIsScalar = typeOf(expr.rhs) === 'scalar';
  if (leftIsScalar)
    return yield* vectorScalar(b.run, expr, yield* bindVector(b, expr.rhs), yield* bindScalar(b, expr.lhs), true);
  const left = yield* bindVector(b, expr.lhs);
  if (rightIsScalar) return yield* vectorScalar(b.run, expr, left, yield* bindScalar(b, expr.rhs), false);
  const right = yield* bindVector(b, expr.rhs);
  return yield* isSetOperator(expr.op) ? bindSet(b.run, expr, left, right) : bindJoin(b.run, expr, left, right);
}

function* bindAggregate(b: Binding, expr: AggregateExpr): Slices<BoundVector> {
  const grouping = { labels: expr.grouping ?? [], without: expr.without };
  const summed = expr.op === 'sum' && isWhole(grouping) ? yield* bindWholeSum(b, unparen(expr.expr)) : null;
  if (summed !== null) return summed;
  const child = yield* bindVector(b, expr.expr);
  if (expr.op === 'count_values') return yield* bindCountValues(b.run, expr, child, grouping);
  const groups = yield* bindGroups(b.run, child.rows, grouping);
  if (expr.param === null) return aggregate(expr, child, groups);
  const param = yield* bindScalar(b, expr.param);
  return expr.op === 'quantile' ? bindQuantile(expr, child, groups, param) : bindRanking(expr, child, groups, param);
}

/** The sum of all of a selector's series at one time: the store adds them up where they stand. Null for all else. */
function* bindWholeSum(b: Binding, expr: Expr): Slices<BoundVector | null> {
  if (expr.kind !== 'selector' || expr.edges !== null || b.grid.count !== 1 || b.plan.shared.has(expr)) return null;
  return yield* bindNewestSum(b.run, b.grid, expr);
}

export function* bindRange(b: Binding, expr: Expr): Slices<RangeSource> {
  const inner = unparen(expr);
  if (inner.kind === 'matrix') return yield* bindMatrix(b.run, b.grid, inner, b.hints);
  if (inner.kind === 'subquery') return yield* bindSubquery(b, inner);
  throw new Error(`no range vector: ${inner.kind}`);
}

function* bindSubquery(b: Binding, expr: SubqueryExpr): Slices<RangeSource> {
  const windows = bindWindows(b.run, b.grid, expr.at, expr.offset);
  const durations = durationContext(b.run);
  const rangeMs = positiveDurationMs(expr.range, durations);
  const stepMs = expr.step === null ? b.run.options.subqueryStepMs : positiveDurationMs(expr.step, durations);
  const grid = subqueryGrid(windows.firstEndMs, lastEndMs(windows, b.grid), rangeMs, stepMs);
  // Each of its rows has that many slots.
  b.run.charge(grid.count);
  return subquerySource(yield* bindVector({ ...b, grid, hints: 'stored' }, expr.expr), b.grid, windows, rangeMs);
}

export function unsupported(what: string): CodedError {
  return new CodedError('query_unsupported', `${what} is not supported yet`);
}
