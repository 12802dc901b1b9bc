/** Durations of a plan in whole milliseconds; expressions are computed for the query at hand, before anything is read. */
import { CodedError, unreachable } from '../../model/errors.ts';
import type { DurationExpr } from '../syntax/ast.ts';

export interface DurationContext {
  /** `step()` in milliseconds; 0 in an instant query. */
  readonly stepMs: number;
  /** `range()` in milliseconds: end - start. */
  readonly rangeMs: number;
}

/** Milliseconds of an offset, which may be negative or zero. */
export function durationMs(expr: DurationExpr | null, context: DurationContext): number {
  if (expr === null) return 0;
  if (expr.kind === 'duration-number') return Math.trunc(Math.round(expr.seconds * 1e9) / 1e6);
  const seconds = evaluate(expr, context);
  if (!Number.isFinite(seconds)) throw fault(expr, 'duration is NaN or infinite');
  if (Math.abs(seconds) >= 2 ** 63 / 1e9) throw fault(expr, 'duration is out of range');
  return Math.trunc(seconds * 1000);
}

/** Milliseconds of a range or a step, which must be positive. */
export function positiveDurationMs(expr: DurationExpr, context: DurationContext): number {
  if (expr.kind !== 'duration-number' && evaluate(expr, context) <= 0)
    throw fault(expr, 'duration must be greater than 0');
  const ms = durationMs(expr, context);
  if (ms <= 0) throw fault(expr, 'duration must be greater than 0');
  return ms;
}

function evaluate(expr: DurationExpr, context: DurationContext): number {
  switch (expr.kind) {
    case 'duration-number':
      return expr.seconds;
    case 'duration-paren':
      return evaluate(expr.inner, context);
    case 'duration-negation':
      return -evaluate(expr.operand, context);
    case 'duration-call': {
      if (expr.name === 'step') return context.stepMs / 1000;
      if (expr.name === 'range') return context.rangeMs / 1000;
      const [a, b] = expr.args.map((arg) => evaluate(arg, context)) as [number, number];
      return expr.name === 'min_of' ? Math.min(a, b) : Math.max(a, b);
    }
    case 'duration-binary':
      return operate(expr, evaluate(expr.lhs, context), evaluate(expr.rhs, context));
    default:
      return unreachable(expr);
  }
}

function operate(expr: DurationExpr & { kind: 'duration-binary' }, a: number, b: number): number {
  switch (expr.op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      if (b === 0) throw fault(expr, 'division by zero');
      return a / b;
    case '%':
      if (b === 0) throw fault(expr, 'modulo by zero');
      return a % b;
    case '^':
      return a ** b;
    default:
      return unreachable(expr.op);
  }
}

function fault(expr: DurationExpr, message: string): CodedError {
  return new CodedError('query_failed', `${expr.start}:${expr.end}: ${message}`);
}
