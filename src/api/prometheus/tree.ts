/**
 * A syntax tree as the JSON of `parse_query`: each node an object with its `type`, absent things null, lists never null.
 * Source: prometheus/prometheus, web/api/v1/translate_ast.go at d15adb9.
 */
import { unreachable } from '../../model/errors.ts';
import type { Matcher } from '../../model/matcher.ts';
import { plainDecimal } from '../../promql/functions/format.ts';
import { FUNCTIONS } from '../../promql/functions/table.ts';
import type {
  AtModifier,
  BinaryExpr,
  Call,
  DurationExpr,
  Expr,
  ValueType,
  VectorMatching,
  VectorSelector,
} from '../../promql/syntax/ast.ts';
import { typeOf } from '../../promql/syntax/check.ts';

type Json = Readonly<Record<string, unknown>>;

export function treeOf(expr: Expr): Json {
  switch (expr.kind) {
    case 'number':
      return { type: 'numberLiteral', val: plainDecimal(expr.value) };
    case 'string':
      return { type: 'stringLiteral', val: expr.value };
    case 'paren':
      return { type: 'parenExpr', expr: treeOf(expr.expr) };
    case 'unary':
      return { type: 'unaryExpr', op: expr.op, expr: treeOf(expr.expr) };
    case 'binary':
      return binaryTree(expr);
    case 'aggregate':
      return {
        type: 'aggregation',
        op: expr.op,
        expr: treeOf(expr.expr),
        param: expr.param === null ? null : treeOf(expr.param),
        grouping: expr.grouping ?? [],
        without: expr.without,
      };
    case 'call':
      return callTree(expr);
    case 'selector':
      return { type: 'vectorSelector', ...selectorFields(expr) };
    case 'matrix':
      return { type: 'matrixSelector', ...selectorFields(expr.selector), ...durationFields('range', expr.range) };
    case 'subquery':
      return {
        type: 'subquery',
        expr: treeOf(expr.expr),
        ...durationFields('range', expr.range),
        ...durationFields('step', expr.step),
        ...durationFields('offset', expr.offset),
        ...atFields(expr.at),
      };
    default:
      return unreachable(expr);
  }
}

function binaryTree({ op, lhs, rhs, returnBool, matching }: BinaryExpr): Json {
  // Only between two vectors is there something to match.
  const matches = typeOf(lhs) === 'instant vector' && typeOf(rhs) === 'instant vector';
  return {
    type: 'binaryExpr',
    op,
    lhs: treeOf(lhs),
    rhs: treeOf(rhs),
    bool: returnBool,
    matching: matches ? matchingTree(matching) : null,
  };
}

function matchingTree({ cardinality, on, labels, include, fillLeft, fillRight }: VectorMatching): Json {
  return {
    card: cardinality,
    labels: labels ?? [],
    on,
    include: include ?? [],
    fillValues: { lhs: fillLeft, rhs: fillRight },
  };
}

function callTree({ name, args }: Call): Json {
  const info = FUNCTIONS.get(name)!;
  return {
    type: 'call',
    func: {
      name,
      argTypes: info.args.map(typeWord),
      variadic: info.variadic,
      returnType: typeWord(info.returns),
    },
    args: args.map(treeOf),
  };
}

const TYPE_WORDS: Readonly<Record<ValueType, string>> = {
  scalar: 'scalar',
  string: 'string',
  'instant vector': 'vector',
  'range vector': 'matrix',
};

function typeWord(type: ValueType): string {
  return TYPE_WORDS[type];
}

function selectorFields({ name, matchers, offset, at, edges }: VectorSelector): Json {
  return {
    name: name ?? '',
    matchers: matchers.map(matcherTree),
    ...durationFields('offset', offset),
    ...atFields(at),
    anchored: edges === 'anchored',
    smoothed: edges === 'smoothed',
  };
}

function matcherTree({ name, value, type }: Matcher): Json {
  return { name, value, type };
}

function atFields(at: AtModifier | null): Json {
  return {
    timestamp: at?.kind === 'time' ? at.timeMs : null,
    startOrEnd: at === null || at.kind === 'time' ? null : at.kind,
  };
}

/** Milliseconds under the name itself; what must be worked out first stands beside it, and the number is 0. */
function durationFields(name: string, duration: DurationExpr | null): Json {
  const isNumber = duration === null || duration.kind === 'duration-number';
  return {
    [name]: duration?.kind === 'duration-number' ? Math.round(duration.seconds * 1000) : 0,
    [`${name}Expr`]: isNumber ? null : durationTree(duration),
  };
}

function durationTree(duration: DurationExpr): Json {
  const node = (op: string, lhs: DurationExpr | undefined, rhs: DurationExpr | undefined, wrapped = false): Json => ({
    type: 'durationExpr',
    op,
    lhs: lhs === undefined ? null : durationTree(lhs),
    rhs: rhs === undefined ? null : durationTree(rhs),
    wrapped,
  });
  switch (duration.kind) {
    case 'duration-number':
      return { type: 'numberLiteral', val: plainDecimal(duration.seconds) };
    case 'duration-negation':
      return node('-', undefined, duration.operand);
    case 'duration-binary':
      return node(duration.op, duration.lhs, duration.rhs);
    case 'duration-call':
      return node(duration.name, duration.args[0], duration.args[1]);
    case 'duration-paren':
      if (duration.inner.kind === 'duration-number') return node('+', undefined, duration.inner, true);
      return { ...durationTree(duration.inner), wrapped: true };
    default:
      return unreachable(duration);
  }
}
