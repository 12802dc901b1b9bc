/**
 * Arithmetic and comparisons between vectors: one-to-one, and many-to-one with group_left or group_right.
 *
 * The sides are called many and one after group_left; for group_right they are swapped first, for one-to-one the left
 * side counts as many. All label work is done in `bindJoin`; what is left is signatures and row numbers.
 * Rules and their errors: reference section 7. Source: prometheus/prometheus, promql/engine.go, VectorBinop.
 */
import { CodedError } from '../../model/errors.ts';
import { type Labels, labelsKey } from '../../model/labels.ts';
import { type FloatOperator, floatOperator } from '../functions/operators.ts';
import type { BinaryExpr } from '../syntax/ast.ts';
import { dropsName } from './binary.ts';
import { FLOAT, type Frame } from './column.ts';
import { bindSignatures, labelsString, resultLabels, type Signatures } from './matching.ts';
import { rowsOf } from './rows.ts';
import type { Run } from './run.ts';
import { type BoundVector, collect, streamFrame } from './vector.ts';

interface Join {
  readonly expr: BinaryExpr;
  readonly many: BoundVector;
  readonly one: BoundVector;
  readonly swapped: boolean;
  readonly signatures: Signatures;
  /** Rows of each side by signature. */
  readonly manyBy: readonly number[][];
  readonly oneBy: readonly number[][];
  readonly outputs: Outputs;
}

/** Output rows, by the pair of rows they come from; a row of -1 is a filled-in sample. */
interface Outputs {
  readonly labels: Labels[];
  readonly marks: boolean[];
  rowOf(many: number, one: number, signature: number): number;
}

export function bindJoin(run: Run, expr: BinaryExpr, left: BoundVector, right: BoundVector): BoundVector {
  const swapped = expr.matching.cardinality === 'one-to-many';
  const many = swapped ? right : left;
  const one = swapped ? left : right;
  const signatures = bindSignatures(many.rows, one.rows, expr.matching);
  const manyBy = byGroup(signatures.left, signatures.count);
  const oneBy = byGroup(signatures.right, signatures.count);
  const outputs = bindOutputs(run, expr, many, one, signatures);
  const join: Join = { expr, many, one, swapped, signatures, manyBy, oneBy, outputs };
  bindPairs(join);
  return {
    grid: left.grid,
    rows: rowsOf(outputs.labels, outputs.marks),
    *stream(now, visit) {
      const manyFrame = yield* collect(now, many);
      const oneFrame = yield* collect(now, one);
      const result = evaluator(now, join, manyFrame, oneFrame);
      for (let signature = 0; signature < signatures.count; signature++) {
        result.join(signature);
        if (now.work(left.grid.count * (manyBy[signature]!.length + oneBy[signature]!.length))) yield;
      }
      yield* streamFrame(now, result.frame, visit);
    },
  };
}

function byGroup(of: Int32Array, count: number): number[][] {
  const groups: number[][] = Array.from({ length: count }, () => []);
  for (let row = 0; row < of.length; row++) groups[of[row]!]!.push(row);
  return groups;
}

function bindOutputs(run: Run, expr: BinaryExpr, many: BoundVector, one: BoundVector, signatures: Signatures): Outputs {
  const { matching } = expr;
  const delayed = run.options.delayedNameRemoval;
  // Arithmetic removes the name at once in either mode, `bool` only marks it.
  const dropName = dropsName(expr) && !(delayed && expr.returnBool);
  const byKey = new Map<string, number>();
  const byPair = new Map<number, number>();
  const labels: Labels[] = [];
  const marks: boolean[] = [];
  const make = (manyRow: number, oneRow: number, signature: number): number => {
    const manyLabels = manyRow < 0 ? signatures.labels(signature) : many.rows.labels(manyRow);
    const own = resultLabels(manyLabels, oneRow < 0 ? null : one.rows.labels(oneRow), matching, dropName);
    const key = labelsKey(own);
    let row = byKey.get(key);
    if (row === undefined) {
      byKey.set(key, (row = labels.length));
      labels.push(own);
      marks.push(false);
    }
    if ((expr.returnBool && delayed) || (manyRow >= 0 && many.rows.marked(manyRow))) marks[row] = true;
    return row;
  };
  return {
    labels,
    marks,
    rowOf(manyRow, oneRow, signature) {
      const pair = (manyRow + 1) * (one.rows.count + 1) + oneRow + 1 + (manyRow < 0 ? -(signature + 1) * 2 ** 40 : 0);
      let row = byPair.get(pair);
      if (row === undefined) byPair.set(pair, (row = make(manyRow, oneRow, signature)));
      return row;
    },
  };
}

/** Names all output rows before the first sample is read. */
function bindPairs({ expr, signatures, manyBy, oneBy, outputs }: Join): void {
  const { fillLeft, fillRight } = expr.matching;
  for (let signature = 0; signature < signatures.count; signature++) {
    const ones = oneBy[signature]!;
    for (const many of manyBy[signature]!) {
      for (const one of ones) outputs.rowOf(many, one, signature);
      if (fillRight !== null) outputs.rowOf(many, -1, signature);
    }
    if (fillLeft !== null) for (const one of ones) outputs.rowOf(-1, one, signature);
  }
}

interface Evaluator {
  readonly frame: Frame;
  join(signature: number): void;
}

function evaluator(run: Run, join: Join, many: Frame, one: Frame): Evaluator {
  const { expr, outputs, manyBy, oneBy, swapped } = join;
  const { steps } = many;
  const { fillLeft: fillMany, fillRight: fillOne } = expr.matching;
  const operator = floatOperator(expr.op, expr.returnBool, 'left');
  run.charge(outputs.labels.length * steps);
  const frame: Frame = {
    rows: outputs.labels.length,
    steps,
    values: new Float64Array(outputs.labels.length * steps),
    present: new Uint8Array(outputs.labels.length * steps),
  };
  /** Slots for which a pair was found, kept or not: a second pair there is an error. */
  const claimed = new Uint8Array(frame.present.length);
  const live = fillMany === null && fillOne === null ? stepsWithBoth(many, one) : null;

  const put = (manyRow: number, oneRow: number, signature: number, k: number): void => {
    const slot = outputs.rowOf(manyRow, oneRow, signature) * steps + k;
    if (claimed[slot] === 1) throw ambiguous(expr);
    claimed[slot] = 1;
    const a = manyRow < 0 ? fillMany! : many.values[manyRow * steps + k]!;
    const b = oneRow < 0 ? fillOne! : one.values[oneRow * steps + k]!;
    compute(operator, swapped ? b : a, swapped ? a : b, frame, slot);
  };

  return {
    frame,
    join(signature) {
      const manyRows = manyBy[signature]!;
      const oneRows = oneBy[signature]!;
      if (manyRows.length === 0 && fillMany === null && oneRows.length < 2) return;
      for (let k = 0; k < steps; k++) {
        if (live !== null && live[k] === 0) continue;
        const oneRow = onlyRow(join, one, oneRows, signature, k);
        let matched = false;
        for (const manyRow of manyRows) {
          if (many.present[manyRow * steps + k] !== FLOAT || (oneRow < 0 && fillOne === null)) continue;
          if (matched && expr.matching.cardinality === 'one-to-one') throw ambiguous(expr);
          matched = true;
          put(manyRow, oneRow, signature, k);
        }
        if (!matched && oneRow >= 0 && fillMany !== null) put(-1, oneRow, signature, k);
      }
    },
  };
}

function compute(operator: FloatOperator | null, a: number, b: number, frame: Frame, slot: number): void {
  if (operator === null || (operator.keep !== null && !operator.keep(a, b))) return;
  frame.values[slot] = operator.value(a, b);
  frame.present[slot] = FLOAT;
}

/** Steps at which both sides have anything at all: elsewhere nothing is checked. */
function stepsWithBoth(a: Frame, b: Frame): Uint8Array {
  const inA = stepsWithAny(a);
  const inB = stepsWithAny(b);
  for (let k = 0; k < inA.length; k++) inA[k]! &= inB[k]!;
  return inA;
}

function stepsWithAny({ rows, steps, present }: Frame): Uint8Array {
  const any = new Uint8Array(steps);
  for (let row = 0; row < rows; row++) for (let k = 0; k < steps; k++) if (present[row * steps + k] !== 0) any[k] = 1;
  return any;
}

/** The one row with a point at step k, or -1. */
function onlyRow(join: Join, one: Frame, rows: readonly number[], signature: number, k: number): number {
  let only = -1;
  for (const row of rows) {
    if (one.present[row * one.steps + k] !== FLOAT) continue;
    if (only >= 0) throw duplicateSeries(join, only, row, signature);
    only = row;
  }
  return only;
}

function duplicateSeries({ one, swapped, signatures }: Join, a: number, b: number, signature: number): CodedError {
  const pair = [labelsString(one.rows.labels(a)), labelsString(one.rows.labels(b))].sort();
  const group = labelsString(signatures.labels(signature));
  return new CodedError(
    'query_failed',
    `found duplicate series for the match group ${group} on the ${swapped ? 'left' : 'right'} hand-side of the operation: ` +
      `[${pair.join(', ')}];many-to-many matching not allowed: matching labels must be unique on one side`,
  );
}

function ambiguous(expr: BinaryExpr): CodedError {
  const why =
    expr.matching.cardinality === 'one-to-one'
      ? 'many-to-one matching must be explicit (group_left/group_right)'
      : 'grouping labels must ensure unique matches';
  return new CodedError('query_failed', `multiple matches for labels: ${why}`);
}
