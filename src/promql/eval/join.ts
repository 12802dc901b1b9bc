/**
 * Arithmetic and comparisons between vectors: one-to-one, and many-to-one with group_left or group_right.
 *
 * The sides are called many and one after group_left; for group_right they are swapped first, for one-to-one the left
 * side counts as many. All label work is done in `bindJoin`; what is left is signatures and row numbers.
 * Rules and their errors: reference section 7. Source: prometheus/prometheus, promql/engine.go, VectorBinop.
 */
import { CodedError } from '../../model/errors.ts';
import type { HistogramOperator, Operand } from '../functions/histogram-operators.ts';
import { type FloatOperator, floatOperator } from '../functions/operators.ts';
import type { BinaryExpr } from '../syntax/ast.ts';
import { dropsName, operateAny } from './binary.ts';
import { ABSENT, FLOAT, type Frame, HISTOGRAM, newFrame } from './column.ts';
import { HistogramNotes } from './histogram-notes.ts';
import { LabelTable } from './label-table.ts';
import { bindSignatures, labelsString, resultLabels, type Signatures } from './matching.ts';
import { LABEL_WORK, type Run, type Slices } from './run.ts';
import { type BoundVector, collect, streamFrame, type Visit } from './vector.ts';

interface Join {
  readonly expr: BinaryExpr;
  readonly many: BoundVector;
  readonly one: BoundVector;
  readonly swapped: boolean;
  readonly signatures: Signatures;
  /** Rows of each side by signature. */
  readonly manyBy: readonly number[][];
  readonly oneBy: readonly number[][];
  /** Output row of each pair of a signature's rows; see {@link pairAt}. */
  readonly pairs: readonly Int32Array[];
  readonly outputs: LabelTable;
}

export function* bindJoin(run: Run, expr: BinaryExpr, left: BoundVector, right: BoundVector): Slices<BoundVector> {
  const swapped = expr.matching.cardinality === 'one-to-many';
  const many = swapped ? right : left;
  const one = swapped ? left : right;
  const signatures = yield* bindSignatures(run, many.rows, one.rows, expr.matching);
  const manyBy = byGroup(signatures.left, signatures.count);
  const oneBy = byGroup(signatures.right, signatures.count);
  const outputs = new LabelTable();
  const sides = { expr, many, one, signatures, manyBy, oneBy, outputs };
  const pairs = yield* bindPairs(run, sides);
  const join: Join = { expr, many, one, swapped, signatures, manyBy, oneBy, pairs, outputs };
  return { grid: left.grid, rows: outputs.rows(), stream: (now, visit) => streamJoin(now, visit, join) };
}

function* streamJoin(run: Run, visit: Visit, join: Join): Slices<void> {
  const { many, one, signatures, manyBy, oneBy } = join;
  const manyFrame = yield* collect(run, many);
  const oneFrame = yield* collect(run, one);
  const result = evaluator(run, join, manyFrame, oneFrame);
  for (let signature = 0; signature < signatures.count; signature++) {
    result.join(signature);
    if (run.work(manyFrame.steps * (manyBy[signature]!.length + oneBy[signature]!.length))) yield;
  }
  yield* streamFrame(run, result.frame, visit);
}

type Sides = Omit<Join, 'swapped' | 'pairs'>;

function byGroup(of: Int32Array, count: number): number[][] {
  const groups: number[][] = Array.from({ length: count }, () => []);
  for (let row = 0; row < of.length; row++) groups[of[row]!]!.push(row);
  return groups;
}

/** Index of a pair in its signature's table: positions in the lists of rows, -1 for a side that is filled in. */
function pairAt(many: number, one: number, ones: number): number {
  return (many + 1) * (ones + 1) + one + 1;
}

/** Names all output rows before the first sample is read. */
function* bindPairs(run: Run, join: Sides): Slices<Int32Array[]> {
  const { expr, signatures, manyBy, oneBy } = join;
  const { fillLeft, fillRight } = expr.matching;
  const tables: Int32Array[] = [];
  for (let signature = 0; signature < signatures.count; signature++) {
    const manyRows = manyBy[signature]!;
    const oneRows = oneBy[signature]!;
    const table = new Int32Array((manyRows.length + 1) * (oneRows.length + 1));
    for (let m = fillLeft === null ? 0 : -1; m < manyRows.length; m++) {
      for (let o = fillRight === null || m < 0 ? 0 : -1; o < oneRows.length; o++) {
        table[pairAt(m, o, oneRows.length)] = outputRow(run, join, manyRows[m] ?? -1, oneRows[o] ?? -1, signature);
      }
    }
    tables.push(table);
    if (run.work(LABEL_WORK * table.length)) yield;
  }
  return tables;
}

function outputRow(
  run: Run,
  { expr, many, one, signatures, outputs }: Sides,
  manyRow: number,
  oneRow: number,
  signature: number,
): number {
  const delayed = run.options.delayedNameRemoval;
  // Arithmetic removes the name at once in either mode, `bool` only marks it.
  const dropName = dropsName(expr) && !(delayed && expr.returnBool);
  const manyLabels = manyRow < 0 ? signatures.labels(signature) : many.rows.labels(manyRow);
  const labels = resultLabels(manyLabels, oneRow < 0 ? null : one.rows.labels(oneRow), expr.matching, dropName);
  return outputs.rowOf(labels, (expr.returnBool && delayed) || (manyRow >= 0 && many.rows.marked(manyRow)));
}

interface Evaluator {
  readonly frame: Frame;
  join(signature: number): void;
}

function evaluator(run: Run, join: Join, many: Frame, one: Frame): Evaluator {
  const { expr, outputs, manyBy, oneBy, pairs, swapped } = join;
  const { steps } = many;
  const { fillLeft: fillMany, fillRight: fillOne, cardinality } = expr.matching;
  const operator = floatOperator(expr.op, expr.returnBool, 'left');
  run.charge(outputs.count * steps);
  const frame = newFrame(outputs.count, steps);
  const mixed = mixedOperator(run, expr, many, one);
  /** Slots for which a pair was found, kept or not: a second pair there is an error. */
  const claimed = new Uint8Array(frame.present.length);
  const live = fillMany === null && fillOne === null ? stepsWithBoth(many, one) : null;

  const put = (output: number, manyRow: number, oneRow: number, k: number): void => {
    const slot = output * steps + k;
    if (claimed[slot] === 1) throw ambiguous(expr);
    claimed[slot] = 1;
    if (mixed !== null) {
      const a = manyRow < 0 ? fillMany! : operandAt(many, manyRow * steps + k);
      const b = oneRow < 0 ? fillOne! : operandAt(one, oneRow * steps + k);
      computeMixed(operator, mixed, swapped ? b : a, swapped ? a : b, frame, slot);
      return;
    }
    const a = manyRow < 0 ? fillMany! : many.values[manyRow * steps + k]!;
    const b = oneRow < 0 ? fillOne! : one.values[oneRow * steps + k]!;
    compute(operator, swapped ? b : a, swapped ? a : b, frame, slot);
  };

  return {
    frame,
    join(signature) {
      const manyRows = manyBy[signature]!;
      const oneRows = oneBy[signature]!;
      const table = pairs[signature]!;
      if (manyRows.length === 0 && fillMany === null && oneRows.length < 2) return;
      for (let k = 0; k < steps; k++) {
        if (live !== null && live[k] === 0) continue;
        const o = onlyRow(join, one, oneRows, signature, k);
        let matched = false;
        for (let m = 0; m < manyRows.length; m++) {
          if (many.present[manyRows[m]! * steps + k] === ABSENT || (o < 0 && fillOne === null)) continue;
          if (matched && cardinality === 'one-to-one') throw ambiguous(expr);
          matched = true;
          put(table[pairAt(m, o, oneRows.length)]!, manyRows[m]!, oneRows[o] ?? -1, k);
        }
        if (!matched && o >= 0 && fillMany !== null) put(table[pairAt(-1, o, oneRows.length)]!, -1, oneRows[o]!, k);
      }
    },
  };
}

function compute(operator: FloatOperator | null, a: number, b: number, frame: Frame, slot: number): void {
  if (operator === null || (operator.keep !== null && !operator.keep(a, b))) return;
  frame.values[slot] = operator.value(a, b);
  frame.present[slot] = FLOAT;
}

/** Null where both sides hold floats only, and the operator knows them. */
function mixedOperator(run: Run, expr: BinaryExpr, many: Frame, one: Frame): HistogramOperator | null {
  const { op, returnBool } = expr;
  if (many.histograms === null && one.histograms === null && op !== '</' && op !== '>/') return null;
  return { op, returnBool, notes: new HistogramNotes(run, expr) };
}

function operandAt({ values, present, histograms }: Frame, slot: number): Operand {
  return present[slot] === HISTOGRAM ? histograms![slot]! : values[slot]!;
}

function computeMixed(
  floats: FloatOperator | null,
  histograms: HistogramOperator,
  left: Operand,
  right: Operand,
  frame: Frame,
  slot: number,
): void {
  const result = operateAny(floats, histograms, left, right);
  if (result === null) return;
  if (typeof result === 'number') {
    frame.values[slot] = result;
    frame.present[slot] = FLOAT;
  } else {
    frame.histograms ??= new Array(frame.values.length);
    frame.histograms[slot] = result;
    frame.present[slot] = HISTOGRAM;
  }
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

/** Position of the one row that has a point at step k, or -1. */
function onlyRow(join: Join, one: Frame, rows: readonly number[], signature: number, k: number): number {
  let only = -1;
  for (let o = 0; o < rows.length; o++) {
    if (one.present[rows[o]! * one.steps + k] === ABSENT) continue;
    if (only >= 0) throw duplicateSeries(join, rows[only]!, rows[o]!, signature);
    only = o;
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
