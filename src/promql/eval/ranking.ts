/**
 * Aggregations that keep rows: topk and bottomk by value, limitk by order, limit_ratio by hash (reference section 8.2).
 * Which rows are kept is decided step by step; an instant query also gets them in the order of their rank.
 */
import { CodedError } from '../../model/errors.ts';
import { formatG } from '../functions/format.ts';
import { labelHashShare } from '../functions/label-hash.ts';
import type { AggregateExpr } from '../syntax/ast.ts';
import type { Groups } from './aggregate.ts';
import { ABSENT, FLOAT, type Frame, frameColumn } from './column.ts';
import { HistogramNotes } from './histogram-notes.ts';
import type { Run } from './run.ts';
import { type BoundScalar, type BoundVector, collect, streamFrame } from './vector.ts';

export function bindRanking(expr: AggregateExpr, child: BoundVector, groups: Groups, param: BoundScalar): BoundVector {
  const members = membersOf(groups);
  return {
    grid: child.grid,
    rows: child.rows,
    *stream(run, visit) {
      const params = yield* param.evaluate(run);
      for (const value of params) checkParameter(expr, value);
      if (expr.op === 'limit_ratio') noteCapped(run, expr, params);
      const frame = yield* collect(run, child);
      if (frame.histograms !== null && (expr.op === 'topk' || expr.op === 'bottomk'))
        new HistogramNotes(run, expr.expr).ignoredInAggregation(expr.op);
      const ranks = ranker(expr, child, frame);
      const order: number[] = [];
      for (const rows of members) {
        for (let k = 0; k < frame.steps; k++) {
          const kept = ranks(rows, k, params[k]!);
          keepOnly(frame, rows, kept, k);
          if (frame.steps === 1) order.push(...kept);
          if (run.work(rows.length)) yield;
        }
      }
      if (frame.steps !== 1) yield* streamFrame(run, frame, visit);
      else for (const row of order) visit(row, frameColumn(frame, row));
    },
  };
}

function membersOf(groups: Groups): number[][] {
  const members: number[][] = Array.from({ length: groups.rows.count }, () => []);
  for (let row = 0; row < groups.of.length; row++) members[groups.of[row]!]!.push(row);
  return members;
}

function checkParameter(expr: AggregateExpr, value: number): void {
  if (Number.isNaN(value))
    throw new CodedError('query_failed', expr.op === 'limit_ratio' ? 'Ratio value is NaN' : 'Parameter value is NaN');
  if (expr.op === 'limit_ratio') return;
  if (value >= 2 ** 63) throw new CodedError('query_failed', `Scalar value ${formatG(value)} overflows int64`);
  if (value <= -(2 ** 63)) throw new CodedError('query_failed', `Scalar value ${formatG(value)} underflows int64`);
}

function noteCapped(run: Run, expr: AggregateExpr, ratios: Float64Array): void {
  for (const ratio of ratios) {
    if (Math.abs(ratio) <= 1) continue;
    run.annotations.warn(
      `ratio value should be between -1 and 1, got ${formatG(ratio)}, capping to ${Math.sign(ratio)}`,
      expr.param,
    );
  }
}

/** Rows kept of a group at a step, the best first. */
type Ranker = (rows: readonly number[], k: number, param: number) => number[];

function ranker(expr: AggregateExpr, child: BoundVector, frame: Frame): Ranker {
  const present = (rows: readonly number[], k: number): number[] =>
    rows.filter((row) => frame.present[row * frame.steps + k] !== ABSENT);
  if (expr.op === 'limit_ratio') {
    const shares = Array.from({ length: child.rows.count }, (_, row) => labelHashShare(child.rows.labels(row)));
    return (rows, k, ratio) => present(rows, k).filter((row) => inRatio(shares[row]!, ratio));
  }
  if (expr.op === 'limitk') return (rows, k, param) => present(rows, k).slice(0, countOf(param));
  const sign = expr.op === 'topk' ? -1 : 1;
  return (rows, k, param) => {
    const count = countOf(param);
    if (count === 0) return [];
    const valueAt = (row: number): number => frame.values[row * frame.steps + k]!;
    const floats = rows.filter((row) => frame.present[row * frame.steps + k] === FLOAT);
    return floats.sort((a, b) => compareValues(valueAt(a) * sign, valueAt(b) * sign) || a - b).slice(0, count);
  };
}

function countOf(param: number): number {
  return Math.max(0, Math.trunc(param));
}

/** Ascending, NaN last. */
export function compareValues(a: number, b: number): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1;
  if (Number.isNaN(b)) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function keepOnly(frame: Frame, rows: readonly number[], kept: readonly number[], k: number): void {
  const keep = new Set(kept);
  for (const row of rows) if (!keep.has(row)) frame.present[row * frame.steps + k] = ABSENT;
}

function inRatio(share: number, ratio: number): boolean {
  const capped = Math.max(-1, Math.min(1, ratio));
  return capped >= 0 ? share < capped : share >= 1 + capped;
}
