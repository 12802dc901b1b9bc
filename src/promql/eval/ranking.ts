/**
 * Aggregations that keep rows: topk and bottomk by value, limitk by order, limit_ratio by hash (reference section 8.2).
 * Which rows are kept is decided step by step; an instant query also gets them in the order of their rank.
 */
import { CodedError } from '../../model/errors.ts';
import { formatG } from '../functions/format.ts';
import { labelHashShare } from '../functions/label-hash.ts';
import type { AggregateExpr } from '../syntax/ast.ts';
import { type Groups, membersOf } from './aggregate.ts';
import { ABSENT, FLOAT, type Frame, frameColumn } from './column.ts';
import { HistogramNotes } from './histogram-notes.ts';
import { LABEL_WORK, ROW_WORK, type Run, type Slices } from './run.ts';
import { sortInSlices } from './sort.ts';
import { type BoundScalar, type BoundVector, collect, streamFrame, type Visit } from './vector.ts';

export function bindRanking(expr: AggregateExpr, child: BoundVector, groups: Groups, param: BoundScalar): BoundVector {
  return {
    grid: child.grid,
    rows: child.rows,
    stream: (run, visit) => streamRanked(run, visit, expr, child, groups, param),
  };
}

function* streamRanked(
  run: Run,
  visit: Visit,
  expr: AggregateExpr,
  child: BoundVector,
  groups: Groups,
  param: BoundScalar,
): Slices<void> {
  const params = yield* param.evaluate(run);
  for (const value of params) checkParameter(expr, value);
  if (expr.op === 'limit_ratio') noteCapped(run, expr, params);
  const frame = yield* collect(run, child);
  if (frame.histograms !== null && (expr.op === 'topk' || expr.op === 'bottomk'))
    new HistogramNotes(run, expr.expr).ignoredInAggregation(expr.op);
  const members = yield* membersOf(run, groups);
  const shares = expr.op === 'limit_ratio' ? yield* sharesOf(run, child) : null;
  const order: number[] = [];
  for (const rows of members) {
    for (let k = 0; k < frame.steps; k++) {
      const kept = yield* ranked(run, expr, frame, shares, rows, k, params[k]!);
      if (frame.steps === 1) for (const row of kept) order.push(row);
      else keepOnly(frame, rows, kept, k);
      if (run.work(rows.length)) yield;
    }
  }
  yield* frame.steps === 1 ? streamOrder(run, visit, frame, order) : streamFrame(run, frame, visit);
}

function* streamOrder(run: Run, visit: Visit, frame: Frame, order: readonly number[]): Slices<void> {
  for (const row of order) {
    visit(row, frameColumn(frame, row));
    if (run.work(ROW_WORK)) yield;
  }
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

/** What limit_ratio compares with its ratio, for each row. */
function* sharesOf(run: Run, { rows }: BoundVector): Slices<Float64Array> {
  const shares = new Float64Array(rows.count);
  for (let row = 0; row < shares.length; row++) {
    shares[row] = labelHashShare(rows.labels(row));
    if (run.work(LABEL_WORK)) yield;
  }
  return shares;
}

/** Rows kept of a group at a step, the best first. */
function* ranked(
  run: Run,
  { op }: AggregateExpr,
  { present, values, steps }: Frame,
  shares: Float64Array | null,
  rows: readonly number[],
  k: number,
  param: number,
): Slices<readonly number[]> {
  const isPresent = (row: number): boolean => present[row * steps + k] !== ABSENT;
  if (shares !== null) return rows.filter((row) => isPresent(row) && inRatio(shares[row]!, param));
  const count = countOf(param);
  if (op === 'limitk') return rows.filter(isPresent).slice(0, count);
  if (count === 0) return [];
  const sign = op === 'topk' ? -1 : 1;
  const floats = rows.filter((row) => present[row * steps + k] === FLOAT);
  const valueAt = (row: number): number => values[row * steps + k]!;
  return yield* best(run, floats, count, (a, b) => compareValues(valueAt(a) * sign, valueAt(b) * sign) || a - b);
}

/** So few are kept in order by insertion; of more, all rows are sorted. */
const INSERTED_MAX = 256;

/** The first `count` rows in order. */
function* best(run: Run, rows: number[], count: number, compare: (a: number, b: number) => number): Slices<number[]> {
  if (count > INSERTED_MAX || count >= rows.length) {
    yield* sortInSlices(run, rows, compare);
    return rows.slice(0, count);
  }
  const kept: number[] = [];
  for (const row of rows) {
    if (run.work(ROW_WORK)) yield;
    if (kept.length === count && compare(row, kept[count - 1]!) >= 0) continue;
    let at = kept.length;
    while (at > 0 && compare(row, kept[at - 1]!) < 0) at--;
    kept.splice(at, 0, row);
    if (kept.length > count) kept.pop();
  }
  return kept;
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
