/** Set operators: `and`, `or`, `unless` between vectors, step by step, on all labels but the name or on()/ignoring(). */
import type { BinaryExpr } from '../syntax/ast.ts';
import { ABSENT, type Column } from './column.ts';
import { bindSignatures } from './matching.ts';
import { Merger, mergeEqual, type Rows } from './rows.ts';
import type { Run, Slices } from './run.ts';
import type { BoundVector, Visit } from './vector.ts';

export function* bindSet(run: Run, expr: BinaryExpr, left: BoundVector, right: BoundVector): Slices<BoundVector> {
  return yield* expr.op === 'or'
    ? bindOr(run, expr, left, right)
    : bindAnd(run, expr, left, right, expr.op === 'unless');
}

function* bindAnd(
  binding: Run,
  expr: BinaryExpr,
  left: BoundVector,
  right: BoundVector,
  unless: boolean,
): Slices<BoundVector> {
  const signatures = yield* bindSignatures(binding, left.rows, right.rows, expr.matching);
  const { grid } = left;
  return {
    grid,
    rows: left.rows,
    *stream(run, visit) {
      const seen = yield* signaturesSeen(run, right, signatures.right, signatures.count);
      yield* left.stream(run, (row, column) => {
        const from = signatures.left[row]! * grid.count;
        for (let k = 0; k < grid.count; k++) if ((seen[from + k] === 1) === unless) column.present[k] = 0;
        visit(row, column);
      });
    },
  };
}

/** Signatures × steps: 1 where a row with that signature has a point. */
function* signaturesSeen(run: Run, vector: BoundVector, of: Int32Array, count: number): Slices<Uint8Array> {
  const steps = vector.grid.count;
  run.charge(count * steps);
  const seen = new Uint8Array(count * steps);
  yield* vector.stream(run, (row, column) => noteSeen(column, seen, of[row]! * steps));
  return seen;
}

function noteSeen({ present }: Column, seen: Uint8Array, from: number): void {
  for (let k = 0; k < present.length; k++) if (present[k] !== 0) seen[from + k] = 1;
}

function* bindOr(binding: Run, expr: BinaryExpr, left: BoundVector, right: BoundVector): Slices<BoundVector> {
  const signatures = yield* bindSignatures(binding, left.rows, right.rows, expr.matching);
  const { grid } = left;
  const { rows, merge } = yield* mergeEqual(binding, concatenated(left.rows, right.rows));
  return {
    grid,
    rows,
    *stream(run: Run, visit: Visit) {
      const merger = merge === null ? null : new Merger(merge, rows.count, grid.count, 'merge');
      const hand: Visit = (row, column) => (merger === null ? visit(row, column) : merger.take(row, column, visit));
      const seen = new Uint8Array(signatures.count * grid.count);
      yield* left.stream(run, (row, column) => {
        noteSeen(column, seen, signatures.left[row]! * grid.count);
        hand(row, column);
      });
      yield* right.stream(run, (row, column) => {
        const from = signatures.right[row]! * grid.count;
        for (let k = 0; k < grid.count; k++)
          if (column.present[k] !== ABSENT && seen[from + k] === 1) column.present[k] = ABSENT;
        hand(left.rows.count + row, column);
      });
      merger?.finish(visit);
    },
  };
}

function concatenated(left: Rows, right: Rows): Rows {
  const pick = (row: number): [Rows, number] => (row < left.count ? [left, row] : [right, row - left.count]);
  return {
    count: left.count + right.count,
    labels(row) {
      const [rows, own] = pick(row);
      return rows.labels(own);
    },
    marked(row) {
      const [rows, own] = pick(row);
      return rows.marked(own);
    },
    sameName: false,
    codes: null,
  };
}
