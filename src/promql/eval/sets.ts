/** Set operators: `and`, `or`, `unless` between vectors, step by step, on all labels but the name or on()/ignoring(). */
import type { BinaryExpr } from '../syntax/ast.ts';
import { ABSENT, type Column } from './column.ts';
import { bindSignatures, type Signatures } from './matching.ts';
import { Merger, mergeEqual, type Renamed, type Rows } from './rows.ts';
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
  const sides = { left, right, signatures };
  return { grid: left.grid, rows: left.rows, stream: (run, visit) => streamAnd(run, visit, sides, unless) };
}

interface Sides {
  readonly left: BoundVector;
  readonly right: BoundVector;
  readonly signatures: Signatures;
}

function* streamAnd(run: Run, visit: Visit, { left, right, signatures }: Sides, unless: boolean): Slices<void> {
  const steps = left.grid.count;
  const seen = yield* signaturesSeen(run, right, signatures.right, signatures.count);
  yield* left.stream(run, (row, column) => {
    const from = signatures.left[row]! * steps;
    for (let k = 0; k < steps; k++) if ((seen[from + k] === 1) === unless) column.present[k] = 0;
    visit(row, column);
  });
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
  const merged = yield* mergeEqual(binding, concatenated(left.rows, right.rows));
  const sides = { left, right, signatures };
  return { grid: left.grid, rows: merged.rows, stream: (run, visit) => streamOr(run, visit, sides, merged) };
}

function* streamOr(run: Run, visit: Visit, sides: Sides, { rows, merge }: Renamed): Slices<void> {
  const { left, right, signatures } = sides;
  const steps = left.grid.count;
  const merger = merge === null ? null : new Merger(merge, rows.count, steps, 'merge');
  const hand: Visit = (row, column) => (merger === null ? visit(row, column) : merger.take(row, column, visit));
  const seen = new Uint8Array(signatures.count * steps);
  yield* left.stream(run, (row, column) => {
    noteSeen(column, seen, signatures.left[row]! * steps);
    hand(row, column);
  });
  yield* right.stream(run, (row, column) => {
    const from = signatures.right[row]! * steps;
    for (let k = 0; k < steps; k++)
      if (column.present[k] !== ABSENT && seen[from + k] === 1) column.present[k] = ABSENT;
    hand(left.rows.count + row, column);
  });
  merger?.finish(visit);
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
    identity: null,
  };
}
