/** Our syntax tree in the words of the parse cases: nodes with Go's field names, absent fields are zero values. */
import type { DurationExpr, Expr, Span, VectorMatching, VectorSelector } from '../../src/promql/syntax/ast.ts';

type Json = unknown;

export function goTree(expr: Expr): Json {
  switch (expr.kind) {
    case 'number':
      return { node: 'NumberLiteral', Val: goNumber(expr.value), Duration: expr.isDuration, PosRange: range(expr) };
    case 'string':
      return { node: 'StringLiteral', Val: expr.value, PosRange: range(expr) };
    case 'paren':
      return { node: 'ParenExpr', Expr: goTree(expr.expr), PosRange: range(expr) };
    case 'unary':
      return { node: 'UnaryExpr', Op: expr.op, Expr: goTree(expr.expr), StartPos: expr.start };
    case 'binary':
      return {
        node: 'BinaryExpr',
        Op: expr.op,
        LHS: goTree(expr.lhs),
        RHS: goTree(expr.rhs),
        ReturnBool: expr.returnBool,
        VectorMatching: isScalar(expr.lhs) || isScalar(expr.rhs) ? undefined : goMatching(expr.matching),
      };
    case 'aggregate':
      return {
        node: 'AggregateExpr',
        Op: expr.op,
        Expr: goTree(expr.expr),
        Param: expr.param === null ? undefined : goTree(expr.param),
        Without: expr.without,
        Grouping: expr.grouping ?? [],
        PosRange: range(expr),
      };
    case 'call':
      return {
        node: 'Call',
        Func: expr.name,
        Args: expr.args.map((arg, i) => goArgument(expr.name, arg, i)),
        PosRange: range(expr),
      };
    case 'selector':
      return goSelector(expr);
    case 'matrix':
      return {
        node: 'MatrixSelector',
        // The range of the inner selector does not reach over the modifiers behind the brackets.
        VectorSelector: goSelector(expr.selector),
        ...goDuration('Range', 'RangeExpr', expr.range),
        EndPos: expr.end,
      };
    case 'subquery':
      return {
        node: 'SubqueryExpr',
        Expr: goTree(expr.expr),
        ...goDuration('Range', 'RangeExpr', expr.range),
        ...goDuration('Step', 'StepExpr', expr.step),
        ...goDuration('OriginalOffset', 'OriginalOffsetExpr', expr.offset),
        ...goAt(expr),
        EndPos: expr.end,
      };
  }
}

function goArgument(name: string, arg: Expr, i: number): Json {
  const tree = goTree(arg);
  return name === 'info' && i === 1 ? { ...(tree as object), BypassEmptyMatcherCheck: true } : tree;
}

function isScalar(expr: Expr): boolean {
  if (expr.kind === 'paren' || expr.kind === 'unary') return isScalar(expr.expr);
  if (expr.kind === 'binary') return isScalar(expr.lhs) && isScalar(expr.rhs);
  return expr.kind === 'number';
}

function goSelector(expr: VectorSelector): Json {
  return {
    node: 'VectorSelector',
    Name: expr.name ?? '',
    LabelMatchers: expr.matchers.map(({ type, name, value }) => ({ type, name, value })),
    ...goDuration('OriginalOffset', 'OriginalOffsetExpr', expr.offset),
    ...goAt(expr),
    Anchored: expr.edges === 'anchored',
    Smoothed: expr.edges === 'smoothed',
    PosRange: range(expr),
  };
}

function goAt({ at }: Pick<VectorSelector, 'at'>): object {
  if (at === null) return {};
  return at.kind === 'time' ? { Timestamp: at.timeMs } : { StartOrEnd: at.kind };
}

function goMatching({ cardinality, labels, on, include, fillLeft, fillRight }: VectorMatching): Json {
  return {
    node: 'VectorMatching',
    Card: cardinality,
    MatchingLabels: labels ?? [],
    On: on,
    Include: include ?? [],
    FillValues: { LHS: fillLeft, RHS: fillRight },
  };
}

function goDuration(plain: string, expr: string, duration: DurationExpr | null): object {
  if (duration === null) return {};
  if (duration.kind === 'duration-number') return { [plain]: Math.round(duration.seconds * 1000) };
  return { [expr]: goDurationExpr(duration) };
}

function goDurationExpr(duration: DurationExpr): Json {
  switch (duration.kind) {
    case 'duration-number':
      return {
        node: 'NumberLiteral',
        Val: goNumber(duration.seconds),
        Duration: duration.isDuration,
        PosRange: range(duration),
      };
    case 'duration-negation':
      return { node: 'DurationExpr', Op: '-', RHS: goDurationExpr(duration.operand), StartPos: duration.start };
    case 'duration-binary':
      return {
        node: 'DurationExpr',
        Op: duration.op,
        LHS: goDurationExpr(duration.lhs),
        RHS: goDurationExpr(duration.rhs),
      };
    case 'duration-call': {
      const [lhs, rhs] = duration.args.map(goDurationExpr);
      return {
        node: 'DurationExpr',
        Op: duration.name,
        LHS: lhs,
        RHS: rhs,
        StartPos: duration.start,
        EndPos: duration.end,
      };
    }
    case 'duration-paren': {
      const inner = goDurationExpr(duration.inner) as Record<string, Json>;
      if (duration.inner.kind !== 'duration-number') return { ...inner, Wrapped: true };
      return {
        node: 'DurationExpr',
        Op: '+',
        RHS: inner,
        Wrapped: true,
        StartPos: duration.start,
        EndPos: duration.end,
      };
    }
  }
}

function goNumber(value: number): Json {
  if (Number.isNaN(value)) return 'NaN';
  if (Number.isFinite(value)) return value;
  return value > 0 ? '+Inf' : '-Inf';
}

function range({ start, end }: Span): Json {
  return { Start: start, End: end };
}
