/** Arithmetic and comparisons of two floats; Go's results, where JavaScript's differ. */
import { unreachable } from '../../model/errors.ts';
import { type ArithmeticOp, type BinaryOp, type ComparisonOp, isComparison } from '../syntax/ast.ts';
import { power } from './math.ts';

export type Arithmetic = (a: number, b: number) => number;
export type Comparison = (a: number, b: number) => boolean;

export function arithmeticOf(op: ArithmeticOp): Arithmetic {
  switch (op) {
    case '+':
      return (a, b) => a + b;
    case '-':
      return (a, b) => a - b;
    case '*':
      return (a, b) => a * b;
    case '/':
      return (a, b) => a / b;
    case '%':
      return (a, b) => a % b;
    case '^':
      return power;
    case 'atan2':
      return Math.atan2;
    default:
      return unreachable(op);
  }
}

export function comparisonOf(op: ComparisonOp): Comparison {
  switch (op) {
    case '==':
      return (a, b) => a === b;
    case '!=':
      return (a, b) => a !== b;
    case '<':
      return (a, b) => a < b;
    case '<=':
      return (a, b) => a <= b;
    case '>':
      return (a, b) => a > b;
    case '>=':
      return (a, b) => a >= b;
    default:
      return unreachable(op);
  }
}

/** What an operator makes of two floats: a value, or nothing (a comparison that filters, or no operator of floats). */
export interface FloatOperator {
  readonly value: Arithmetic;
  /** Null if there is always a result. */
  readonly keep: Comparison | null;
}

/** `kept` is the operand whose value a filtering comparison keeps. */
export function floatOperator(op: BinaryOp, returnBool: boolean, kept: 'left' | 'right'): FloatOperator | null {
  if (op === 'and' || op === 'or' || op === 'unless' || op === '</' || op === '>/') return null;
  if (!isComparison(op)) return { value: arithmeticOf(op), keep: null };
  const compare = comparisonOf(op);
  if (returnBool) return { value: (a, b) => (compare(a, b) ? 1 : 0), keep: null };
  return { value: kept === 'left' ? (a) => a : (_a, b) => b, keep: compare };
}
