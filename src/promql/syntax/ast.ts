/**
 * The syntax tree: readonly literals with a `kind` and a byte range (`start` inclusive, `end` exclusive) in the query's
 * text. Built by grammar.ts, checked by check.ts, never changed afterwards.
 */
import type { Matcher } from '../../model/matcher.ts';

export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The four types of PromQL, in the words of its error texts. */
export type ValueType = 'scalar' | 'string' | 'instant vector' | 'range vector';

export type ArithmeticOp = '+' | '-' | '*' | '/' | '%' | '^' | 'atan2';
export type ComparisonOp = '==' | '!=' | '<' | '<=' | '>' | '>=';
export type SetOp = 'and' | 'or' | 'unless';
export type TrimOp = '</' | '>/';
export type BinaryOp = ArithmeticOp | ComparisonOp | SetOp | TrimOp;

export type AggregateOp =
  | 'sum'
  | 'avg'
  | 'count'
  | 'min'
  | 'max'
  | 'group'
  | 'stddev'
  | 'stdvar'
  | 'topk'
  | 'bottomk'
  | 'count_values'
  | 'quantile'
  | 'limitk'
  | 'limit_ratio';

export interface NumberLiteral extends Span {
  readonly kind: 'number';
  readonly value: number;
  /** True if it was written as a duration (`5m`). */
  readonly isDuration: boolean;
}

export interface StringLiteral extends Span {
  readonly kind: 'string';
  readonly value: string;
}

export interface ParenExpr extends Span {
  readonly kind: 'paren';
  readonly expr: Expr;
}

export interface UnaryExpr extends Span {
  readonly kind: 'unary';
  readonly op: '+' | '-';
  readonly expr: Expr;
}

export type Cardinality = 'one-to-one' | 'many-to-one' | 'one-to-many' | 'many-to-many';

export interface VectorMatching {
  readonly cardinality: Cardinality;
  /** True for `on`, false for `ignoring` and for no clause. */
  readonly on: boolean;
  /** Labels of `on` or `ignoring`; null without a clause. */
  readonly labels: readonly string[] | null;
  /** Labels of `group_left` or `group_right`; null without a list. */
  readonly include: readonly string[] | null;
  readonly fillLeft: number | null;
  readonly fillRight: number | null;
}

export interface BinaryExpr extends Span {
  readonly kind: 'binary';
  readonly op: BinaryOp;
  readonly lhs: Expr;
  readonly rhs: Expr;
  readonly returnBool: boolean;
  readonly matching: VectorMatching;
}

export interface AggregateExpr extends Span {
  readonly kind: 'aggregate';
  readonly op: AggregateOp;
  readonly expr: Expr;
  readonly param: Expr | null;
  readonly without: boolean;
  /** Null without a clause, empty for `by ()`. */
  readonly grouping: readonly string[] | null;
}

export interface Call extends Span {
  readonly kind: 'call';
  readonly name: string;
  readonly args: readonly Expr[];
}

export type AtModifier =
  | { readonly kind: 'time'; readonly timeMs: number }
  | { readonly kind: 'start' }
  | { readonly kind: 'end' };

/** How a range treats its edges: only samples inside, or boundary values made of samples around it. */
export type Edges = 'anchored' | 'smoothed';

export interface VectorSelector extends Span {
  readonly kind: 'selector';
  /** The metric name if it stands outside of the braces; it is also the last matcher then. */
  readonly name: string | null;
  readonly matchers: readonly Matcher[];
  readonly offset: DurationExpr | null;
  readonly at: AtModifier | null;
  readonly edges: Edges | null;
}

export interface MatrixSelector extends Span {
  readonly kind: 'matrix';
  readonly selector: VectorSelector;
  readonly range: DurationExpr;
}

export interface SubqueryExpr extends Span {
  readonly kind: 'subquery';
  readonly expr: Expr;
  readonly range: DurationExpr;
  readonly step: DurationExpr | null;
  readonly offset: DurationExpr | null;
  readonly at: AtModifier | null;
}

export type Expr =
  | NumberLiteral
  | StringLiteral
  | ParenExpr
  | UnaryExpr
  | BinaryExpr
  | AggregateExpr
  | Call
  | VectorSelector
  | MatrixSelector
  | SubqueryExpr;

/** Durations in `[...]`, `offset`: a number of seconds, or arithmetic over such numbers, `step()` and `range()`. */
export type DurationExpr = DurationNumber | DurationNegation | DurationBinary | DurationCall | DurationParen;

export interface DurationNumber extends Span {
  readonly kind: 'duration-number';
  readonly seconds: number;
  readonly isDuration: boolean;
}

export interface DurationNegation extends Span {
  readonly kind: 'duration-negation';
  readonly operand: DurationExpr;
}

export interface DurationBinary extends Span {
  readonly kind: 'duration-binary';
  readonly op: '+' | '-' | '*' | '/' | '%' | '^';
  readonly lhs: DurationExpr;
  readonly rhs: DurationExpr;
}

export interface DurationCall extends Span {
  readonly kind: 'duration-call';
  readonly name: 'step' | 'range' | 'min_of' | 'max_of';
  readonly args: readonly DurationExpr[];
}

export interface DurationParen extends Span {
  readonly kind: 'duration-paren';
  readonly inner: DurationExpr;
}

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=']);
const SET_OPERATORS: ReadonlySet<string> = new Set(['and', 'or', 'unless']);

export function isComparison(op: BinaryOp): op is ComparisonOp {
  return COMPARISONS.has(op);
}

export function isSetOperator(op: BinaryOp): op is SetOp {
  return SET_OPERATORS.has(op);
}

/** The expression without the parentheses around it. */
export function unparen(expr: Expr): Expr {
  let inner = expr;
  while (inner.kind === 'paren') inner = inner.expr;
  return inner;
}

/** Direct subexpressions, in the order of their evaluation. */
export function children(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case 'paren':
    case 'unary':
    case 'subquery':
      return [expr.expr];
    case 'binary':
      return [expr.lhs, expr.rhs];
    case 'aggregate':
      return expr.param === null ? [expr.expr] : [expr.expr, expr.param];
    case 'call':
      return expr.args;
    case 'matrix':
      return [expr.selector];
    default:
      return [];
  }
}
