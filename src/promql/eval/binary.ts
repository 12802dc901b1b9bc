/** Operators between scalars, and between a vector and a scalar. Vectors with vectors: join.ts, and sets in sets.ts. */

import { type HistogramOperator, type Operand, operateHistograms } from '../functions/histogram-operators.ts';
import { type FloatOperator, floatOperator } from '../functions/operators.ts';
import type { BinaryExpr } from '../syntax/ast.ts';
import { isComparison } from '../syntax/ast.ts';
import { ABSENT, type Column, FLOAT, HISTOGRAM, putHistogram } from './column.ts';
import { HistogramNotes } from './histogram-notes.ts';
import { dropNames } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { type BoundScalar, type BoundVector, mapRows, type Visit } from './vector.ts';

/** True if the result of the operator is another quantity than its operand, and so loses its name. */
export function dropsName(expr: Pick<BinaryExpr, 'op' | 'returnBool'>): boolean {
  return expr.returnBool || !(isComparison(expr.op) || expr.op === '</' || expr.op === '>/');
}

export function scalarScalar(expr: BinaryExpr, left: BoundScalar, right: BoundScalar): BoundScalar {
  // A comparison of scalars always has `bool`.
  const operator = floatOperator(expr.op, true, 'left')!;
  return { grid: left.grid, evaluate: (run) => scalarsOf(run, operator, left, right) };
}

function* scalarsOf(run: Run, operator: FloatOperator, left: BoundScalar, right: BoundScalar): Slices<Float64Array> {
  const a = yield* left.evaluate(run);
  const b = yield* right.evaluate(run);
  for (let k = 0; k < a.length; k++) a[k] = operator.value(a[k]!, b[k]!);
  return a;
}

/** `swapped` if the scalar stands on the left. */
export function* vectorScalar(
  run: Run,
  expr: BinaryExpr,
  vector: BoundVector,
  scalar: BoundScalar,
  swapped: boolean,
): Slices<BoundVector> {
  const operator = floatOperator(expr.op, expr.returnBool, swapped ? 'right' : 'left');
  const renamed = dropsName(expr) ? yield* dropNames(run, vector.rows) : { rows: vector.rows, merge: null };
  const histograms: HistogramOperator = {
    op: expr.op,
    returnBool: expr.returnBool,
    notes: new HistogramNotes(run, expr),
  };
  const scalars: Scalars = { values: NO_VALUES };
  const mapped = mapRows(vector, renamed, 'merge', (_row, column) => {
    if (column.histograms !== null || operator === null) {
      applyMixed(operator, histograms, scalars.values, swapped, column);
    } else if (swapped) applyRight(operator, scalars.values, column);
    else applyLeft(operator, column, scalars.values);
  });
  return { ...mapped, stream: (now: Run, visit: Visit) => streamWithScalar(now, visit, mapped, scalar, scalars) };
}

/** What a scalar is at each step, known once its vector is streamed. */
interface Scalars {
  values: Float64Array;
}

const NO_VALUES = new Float64Array(0);

function* streamWithScalar(
  run: Run,
  visit: Visit,
  mapped: BoundVector,
  scalar: BoundScalar,
  scalars: Scalars,
): Slices<void> {
  scalars.values = yield* scalar.evaluate(run);
  yield* mapped.stream(run, visit);
}

function applyLeft({ value, keep }: FloatOperator, { values, present }: Column, scalars: Float64Array): void {
  for (let k = 0; k < values.length; k++) {
    if (present[k] !== FLOAT) continue;
    if (keep !== null && !keep(values[k]!, scalars[k]!)) present[k] = 0;
    else values[k] = value(values[k]!, scalars[k]!);
  }
}

function applyRight({ value, keep }: FloatOperator, scalars: Float64Array, { values, present }: Column): void {
  for (let k = 0; k < values.length; k++) {
    if (present[k] !== FLOAT) continue;
    if (keep !== null && !keep(scalars[k]!, values[k]!)) present[k] = 0;
    else values[k] = value(scalars[k]!, values[k]!);
  }
}

/** A column with histograms, or an operator that knows no floats. */
function applyMixed(
  floats: FloatOperator | null,
  operator: HistogramOperator,
  scalars: Float64Array,
  swapped: boolean,
  column: Column,
): void {
  const { values, present, histograms } = column;
  column.histograms = null;
  for (let k = 0; k < values.length; k++) {
    const kind = present[k];
    if (kind === ABSENT) continue;
    const own = kind === HISTOGRAM ? histograms![k]! : values[k]!;
    const result = operateAny(floats, operator, swapped ? scalars[k]! : own, swapped ? own : scalars[k]!);
    present[k] = ABSENT;
    if (result === null) continue;
    if (typeof result !== 'number') putHistogram(column, k, result);
    else {
      values[k] = result;
      present[k] = FLOAT;
    }
  }
}

/** Null if there is no result. */
export function operateAny(
  floats: FloatOperator | null,
  histograms: HistogramOperator,
  left: Operand,
  right: Operand,
): Operand | null {
  if (typeof left !== 'number' || typeof right !== 'number') return operateHistograms(histograms, left, right);
  if (floats === null) {
    histograms.notes.incompatibleTypes('float', histograms.op, 'float');
    return null;
  }
  return floats.keep !== null && !floats.keep(left, right) ? null : floats.value(left, right);
}
