/**
 * Operators between floats and histograms (reference section 7.8). Pairs that no operator knows have no result; that is
 * said in an info.
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import { RESET_HINT } from '../../model/histogram.ts';
import type { HistogramNotes } from '../eval/histogram-notes.ts';
import { add, type Combined, divide, equal, multiply, subtract, withHint } from '../histogram/algebra.ts';
import { compact } from '../histogram/buckets.ts';
import { trim } from '../histogram/trim.ts';
import type { BinaryOp } from '../syntax/ast.ts';

export type Operand = FloatHistogram | number;

export interface HistogramOperator {
  readonly op: BinaryOp;
  readonly returnBool: boolean;
  readonly notes: HistogramNotes;
}

/** At least one operand is a histogram. Null if there is no result. */
export function operateHistograms(operator: HistogramOperator, left: Operand, right: Operand): Operand | null {
  if (typeof left === 'number') return typeof right === 'number' ? null : floatHistogram(operator, left, right);
  if (typeof right === 'number') return histogramFloat(operator, left, right);
  switch (operator.op) {
    case '+':
      return combined(operator, add(left, right), 'addition');
    case '-': {
      const difference = combined(operator, subtract(left, right), 'subtraction');
      return difference === null ? null : withHint(difference, RESET_HINT.gauge);
    }
    case '==':
    case '!=':
      return comparison(operator, left, equal(left, right) === (operator.op === '=='));
    default:
      return incompatible(operator, left, right);
  }
}

function floatHistogram(operator: HistogramOperator, left: number, right: FloatHistogram): Operand | null {
  return operator.op === '*' ? compact(multiply(right, left)) : incompatible(operator, left, right);
}

function histogramFloat(operator: HistogramOperator, left: FloatHistogram, right: number): Operand | null {
  switch (operator.op) {
    case '*':
      return compact(multiply(left, right));
    case '/':
      return compact(divide(left, right));
    case '</':
      return trim(left, right, 'below');
    case '>/':
      return trim(left, right, 'above');
    default:
      return incompatible(operator, left, right);
  }
}

function combined(
  { op, notes }: HistogramOperator,
  result: Combined | null,
  operation: 'addition' | 'subtraction',
): FloatHistogram | null {
  if (result === null) {
    notes.incompatibleLayouts(op);
    return null;
  }
  if (result.conflict) notes.conflictingResets(operation);
  if (result.reconciled) notes.reconciledBounds(operation);
  return compact(result.histogram);
}

function comparison({ returnBool }: HistogramOperator, left: FloatHistogram, holds: boolean): Operand | null {
  if (returnBool) return holds ? 1 : 0;
  return holds ? left : null;
}

function incompatible({ op, notes }: HistogramOperator, left: Operand, right: Operand): null {
  notes.incompatibleTypes(kindOf(left), op, kindOf(right));
  return null;
}

function kindOf(operand: Operand): string {
  return typeof operand === 'number' ? 'float' : 'histogram';
}
