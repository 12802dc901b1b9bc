/** Changes the matchers of every selector of a syntax tree. */
import type { Matcher } from '../../../model/matcher.ts';
import type { Expr, VectorSelector } from '../../../promql/syntax/ast.ts';

export function mapMatchers(expr: Expr, change: (matchers: readonly Matcher[]) => readonly Matcher[]): Expr {
  const map = (inner: Expr): Expr => mapMatchers(inner, change);
  switch (expr.kind) {
    case 'selector':
      return { ...expr, matchers: change(expr.matchers) };
    case 'matrix':
      return { ...expr, selector: map(expr.selector) as VectorSelector };
    case 'paren':
    case 'unary':
    case 'subquery':
      return { ...expr, expr: map(expr.expr) };
    case 'binary':
      return { ...expr, lhs: map(expr.lhs), rhs: map(expr.rhs) };
    case 'aggregate':
      return { ...expr, expr: map(expr.expr), param: expr.param === null ? null : map(expr.param) };
    case 'call':
      return { ...expr, args: expr.args.map(map) };
    default:
      return expr;
  }
}
