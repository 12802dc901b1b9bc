/**
 * From a flat list of operands and operators to a tree. Low to high: `or`; `and unless`; comparisons and trims; `+ -`;
 * `* / % atan2` and unary signs; `^`, which alone is right-associative. So `-1^2` is -(1^2) and `-1*2` is (-1)*2.
 */
import type { IToken } from 'chevrotain';
import type { BinaryExpr, BinaryOp, Cardinality, DurationBinary, DurationExpr, Expr } from './ast.ts';
import { isSetOperator } from './ast.ts';
import { type Faults, negateDuration, plusDuration, spanOf } from './build.ts';

export interface BinaryModifiers {
  readonly returnBool: boolean;
  readonly cardinality: Cardinality;
  readonly on: boolean;
  readonly labels: readonly string[] | null;
  readonly include: readonly string[] | null;
  readonly fillLeft: number | null;
  readonly fillRight: number | null;
}

export const NO_MODIFIERS: BinaryModifiers = {
  returnBool: false,
  cardinality: 'one-to-one',
  on: false,
  labels: null,
  include: null,
  fillLeft: null,
  fillRight: null,
};

/** An expression with the signs before it, the outermost first. */
export interface Operand {
  readonly signs: readonly IToken[];
  readonly expr: Expr;
}

export interface Operator {
  readonly token: IToken;
  readonly modifiers: BinaryModifiers;
}

const POWER = 6;
const SIGN = 5;
const PRECEDENCE: ReadonlyMap<string, number> = new Map([
  ['or', 1],
  ['and', 2],
  ['unless', 2],
  ...['==', '!=', '<', '<=', '>', '>=', '</', '>/'].map((op): [string, number] => [op, 3]),
  ['+', 4],
  ['-', 4],
  ...['*', '/', '%', 'atan2'].map((op): [string, number] => [op, SIGN]),
  ['^', POWER],
]);

function precedenceOf(token: IToken): number {
  return PRECEDENCE.get(token.image.toLowerCase())!;
}

export function nestBinary(operands: readonly Operand[], operators: readonly Operator[]): Expr {
  let next = 0;
  const climb = (min: number, signs: readonly IToken[]): Expr => {
    let lhs: Expr;
    if (signs.length > 0) lhs = negate(signs[0]!, climb(POWER, signs.slice(1)));
    else lhs = operands[next++]!.expr;
    // `next` counts the operands taken, so the operator behind the last one is at next - 1.
    for (let op = operators[next - 1]; op !== undefined; op = operators[next - 1]) {
      const precedence = precedenceOf(op.token);
      if (precedence < min) break;
      lhs = binary(op, lhs, climb(precedence === POWER ? POWER : precedence + 1, operands[next]!.signs));
    }
    return lhs;
  };
  return climb(0, operands[0]!.signs);
}

function negate(sign: IToken, expr: Expr): Expr {
  const op = sign.image === '-' ? '-' : '+';
  const start = sign.startOffset;
  if (expr.kind !== 'number') return { kind: 'unary', op, expr, start, end: expr.end };
  return { ...expr, value: op === '-' ? -expr.value : expr.value, start };
}

function binary({ token, modifiers }: Operator, lhs: Expr, rhs: Expr): BinaryExpr {
  const op = token.image.toLowerCase() as BinaryOp;
  const { returnBool, ...matching } = modifiers;
  const cardinality =
    isSetOperator(op) && matching.cardinality === 'one-to-one' ? 'many-to-many' : matching.cardinality;
  return {
    kind: 'binary',
    op,
    lhs,
    rhs,
    returnBool,
    matching: { ...matching, cardinality },
    start: lhs.start,
    end: rhs.end,
  };
}

/** The same for durations; null where an operand had a fault. */
export function nestDuration(
  operands: readonly { signs: readonly IToken[]; node: DurationExpr | null }[],
  operators: readonly IToken[],
  faults: Faults,
): DurationExpr | null {
  let next = 0;
  const climb = (min: number, signs: readonly IToken[]): DurationExpr | null => {
    let lhs: DurationExpr | null;
    if (signs.length > 0) {
      const inner = climb(POWER, signs.slice(1));
      lhs = signs[0]!.image === '-' ? negateDuration(signs[0]!, inner) : plusDuration(signs[0]!, inner);
    } else lhs = operands[next++]!.node;
    for (let op = operators[next - 1]; op !== undefined; op = operators[next - 1]) {
      const precedence = precedenceOf(op);
      if (precedence < min) break;
      lhs = durationBinary(
        op,
        lhs,
        climb(precedence === POWER ? POWER : precedence + 1, operands[next]!.signs),
        faults,
      );
    }
    return lhs;
  };
  return climb(0, operands[0]!.signs);
}

function durationBinary(
  token: IToken,
  lhs: DurationExpr | null,
  rhs: DurationExpr | null,
  faults: Faults,
): DurationExpr | null {
  const op = token.image as DurationBinary['op'];
  if ((op === '/' || op === '%') && rhs?.kind === 'duration-number' && rhs.seconds === 0) {
    faults.add(spanOf(token), op === '/' ? 'division by zero' : 'modulo by zero');
    return null;
  }
  if (lhs === null || rhs === null) return null;
  return { kind: 'duration-binary', op, lhs, rhs, start: lhs.start, end: rhs.end };
}
