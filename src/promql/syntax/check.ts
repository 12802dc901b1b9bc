/**
 * Types and other rules of a whole tree, in Prometheus' order and words. Runs only on a text without syntax errors.
 * Source: prometheus/prometheus, promql/parser/parse.go, checkAST.
 */
import { unreachable } from '../../model/errors.ts';
import { METRIC_NAME } from '../../model/labels.ts';
import { matchesEmpty } from '../../model/matcher.ts';
import { FUNCTIONS } from '../functions/table.ts';
import {
  type AggregateExpr,
  type BinaryExpr,
  type Call,
  type Expr,
  isComparison,
  isSetOperator,
  type Span,
  type ValueType,
  type VectorSelector,
} from './ast.ts';
import type { Faults } from './build.ts';
import { quote } from './strings.ts';

/** What Prometheus has behind feature flags. */
export interface Features {
  readonly experimentalFunctions: boolean;
  readonly durationExpressions: boolean;
  readonly extendedRangeSelectors: boolean;
  readonly fillModifiers: boolean;
}

export interface CheckOptions {
  readonly features: Features;
}

interface Checker {
  readonly text: string;
  readonly features: Features;
  readonly faults: Faults;
}

/** Type of an expression, whether or not it is well formed. */
export function typeOf(expr: Expr): ValueType {
  switch (expr.kind) {
    case 'number':
      return 'scalar';
    case 'string':
      return 'string';
    case 'paren':
    case 'unary':
      return typeOf(expr.expr);
    case 'binary':
      return typeOf(expr.lhs) === 'scalar' && typeOf(expr.rhs) === 'scalar' ? 'scalar' : 'instant vector';
    case 'aggregate':
    case 'selector':
      return 'instant vector';
    case 'matrix':
    case 'subquery':
      return 'range vector';
    case 'call':
      return FUNCTIONS.get(expr.name)?.returns ?? 'instant vector';
    default:
      return unreachable(expr);
  }
}

export function checkExpr(expr: Expr, text: string, options: CheckOptions, faults: Faults): void {
  check({ text, features: options.features, faults }, expr);
}

function check(c: Checker, expr: Expr): ValueType {
  switch (expr.kind) {
    case 'number':
    case 'string':
      break;
    case 'paren':
      return check(c, expr.expr);
    case 'unary':
      checkUnary(c, expr, check(c, expr.expr));
      break;
    case 'binary':
      return checkBinary(c, expr);
    case 'aggregate':
      checkAggregate(c, expr);
      break;
    case 'call':
      checkCall(c, expr);
      break;
    case 'subquery':
      checkSubquery(c, expr, check(c, expr.expr));
      break;
    case 'matrix':
      check(c, expr.selector);
      checkDurations(c, expr.range.kind, expr);
      break;
    case 'selector':
      checkSelector(c, expr);
      checkDurations(c, expr.offset?.kind, expr);
      break;
    default:
      return unreachable(expr);
  }
  return typeOf(expr);
}

function expectType(c: Checker, expr: Expr, want: ValueType, context: string): void {
  const got = check(c, expr);
  if (got !== want) c.faults.add(expr, `expected type ${want} in ${context}, got ${got}`);
}

function checkUnary(c: Checker, span: Span, type: ValueType): void {
  if (type === 'scalar' || type === 'instant vector') return;
  c.faults.add(span, `unary expression only allowed on expressions of type scalar or instant vector, got "${type}"`);
}

function checkSubquery(c: Checker, span: Span, type: ValueType): void {
  if (type === 'instant vector') return;
  const got = type === 'range vector' ? 'matrix' : type;
  c.faults.add(span, `subquery is only allowed on instant vector, got ${got} instead`);
}

function checkDurations(c: Checker, kind: string | undefined, span: Span): void {
  if (kind === undefined || kind === 'duration-number' || c.features.durationExpressions) return;
  c.faults.add(span, 'experimental duration expression is not enabled');
}

function checkAggregate(c: Checker, expr: AggregateExpr): void {
  if ((expr.op === 'limitk' || expr.op === 'limit_ratio') && !c.features.experimentalFunctions) {
    c.faults.add(
      expr,
      `${expr.op}() is experimental and must be enabled with --enable-feature=promql-experimental-functions`,
    );
    return;
  }
  expectType(c, expr.expr, 'instant vector', 'aggregation expression');
  if (expr.param === null) return;
  expectType(c, expr.param, expr.op === 'count_values' ? 'string' : 'scalar', 'aggregation parameter');
}

// ── Binary operators ────────────────────────────────────────────────────────────────────────────────────────────────

/** A chain of operators leans to the left and may be thousands long: its spine is walked, not recursed into. */
function checkBinary(c: Checker, expr: BinaryExpr): ValueType {
  const spine: BinaryExpr[] = [];
  let leaf: Expr = expr;
  for (; leaf.kind === 'binary'; leaf = leaf.lhs) spine.push(leaf);
  let left = check(c, leaf);
  for (const node of spine.reverse()) left = checkOperator(c, node, left, check(c, node.rhs));
  return left;
}

function checkOperator(c: Checker, expr: BinaryExpr, left: ValueType, right: ValueType): ValueType {
  const comparison = isComparison(expr.op);
  if (expr.returnBool && !comparison)
    c.faults.add(operatorSpan(c, expr), 'bool modifier can only be used on comparison operators');
  if (comparison && !expr.returnBool && left === 'scalar' && right === 'scalar') {
    c.faults.add(operatorSpan(c, expr), 'comparisons between scalars must use BOOL modifier');
  }
  checkInclude(c, expr);
  const wanted = 'binary expression must contain only scalar and instant vector types';
  if (left !== 'scalar' && left !== 'instant vector') c.faults.add(expr.lhs, wanted);
  if (right !== 'scalar' && right !== 'instant vector') c.faults.add(expr.rhs, wanted);
  checkMatching(c, expr, left === 'instant vector' && right === 'instant vector');
  if ((left === 'scalar' || right === 'scalar') && isSetOperator(expr.op)) {
    c.faults.add(expr, `set operator "${expr.op}" not allowed in binary scalar expression`);
  }
  return left === 'scalar' && right === 'scalar' ? 'scalar' : 'instant vector';
}

function checkInclude(c: Checker, expr: BinaryExpr): void {
  const { on, labels, include } = expr.matching;
  if (!on) return;
  for (const label of labels ?? []) {
    for (const included of include ?? []) {
      if (label === included)
        c.faults.add(operatorSpan(c, expr), `label ${quote(label)} must not occur in ON and GROUP clause at once`);
    }
  }
}

function checkMatching(c: Checker, expr: BinaryExpr, vectors: boolean): void {
  const { labels, cardinality, fillLeft, fillRight } = expr.matching;
  const fills = fillLeft !== null || fillRight !== null;
  if (fills && !c.features.fillModifiers) c.faults.add(expr, 'binop fill modifiers are experimental and not enabled');
  if (!vectors) {
    if ((labels?.length ?? 0) > 0) c.faults.add(expr, 'vector matching only allowed between instant vectors');
    if (fills) c.faults.add(expr, 'filling in missing series only allowed between instant vectors');
    return;
  }
  if (!isSetOperator(expr.op)) return;
  if (cardinality === 'many-to-one' || cardinality === 'one-to-many') {
    c.faults.add(expr, `no grouping allowed for "${expr.op}" operation`);
    c.faults.add(expr, 'set operations must always be many-to-many');
  }
  if (fills) c.faults.add(expr, 'filling in missing series not allowed for set operators');
}

/** The range of the operator with its modifiers, without the white space around it. */
function operatorSpan(c: Checker, expr: BinaryExpr): Span {
  const bytes = Buffer.from(c.text);
  let start = expr.lhs.end;
  while (isSpace(bytes[start])) start++;
  let end = expr.rhs.start - 1;
  while (isSpace(bytes[end])) end--;
  // Prometheus points at the last character here, not behind it.
  return { start, end };
}

function isSpace(code: number | undefined): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

// ── Calls and selectors ─────────────────────────────────────────────────────────────────────────────────────────────

function checkCall(c: Checker, expr: Call): void {
  const info = FUNCTIONS.get(expr.name)!;
  if (info.experimental && !c.features.experimentalFunctions)
    c.faults.add(expr, `function ${quote(expr.name)} is not enabled`);
  checkArgumentCount(c, expr, info.args.length, info.variadic);
  const context = `call to function ${quote(expr.name)}`;
  for (const [i, arg] of expr.args.entries()) {
    if (i >= info.args.length && info.variadic === 0) break;
    const want = info.args[Math.min(i, info.args.length - 1)]!;
    if (expr.name === 'info' && i === 1) checkInfoSelector(c, arg, context);
    else expectType(c, arg, want, context);
  }
}

function checkArgumentCount(c: Checker, expr: Call, wanted: number, variadic: number): void {
  const got = expr.args.length;
  const min = variadic === 0 ? wanted : wanted - 1;
  const text = (limit: string, count: number): string =>
    `expected ${limit}${count} argument(s) in call to ${quote(expr.name)}, got ${got}`;
  if (variadic === 0 && got !== wanted) c.faults.add(expr, text('', wanted));
  else if (got < min) c.faults.add(expr, text('at least ', min));
  else if (variadic > 0 && got > min + variadic) c.faults.add(expr, text('at most ', min + variadic));
}

/** The second argument of info() holds label matchers only, and may match everything. */
function checkInfoSelector(c: Checker, arg: Expr, context: string): void {
  if (arg.kind === 'selector' && arg.name === null) return;
  const type = typeOf(arg);
  if (type !== 'instant vector') c.faults.add(arg, `expected type instant vector in ${context}, got ${type}`);
  else c.faults.add(arg, 'expected label selectors only');
}

function checkSelector(c: Checker, expr: VectorSelector): void {
  if (expr.edges !== null && !c.features.extendedRangeSelectors)
    c.faults.add(expr, `${expr.edges} modifier is experimental and not enabled`);
  if (expr.name !== null) {
    for (const matcher of expr.matchers.slice(0, -1)) {
      if (matcher.name !== METRIC_NAME) continue;
      c.faults.add(expr, `metric name must not be set twice: ${quote(expr.name)} or ${quote(matcher.value)}`);
    }
    return;
  }
  if (expr.matchers.every(matchesEmpty))
    c.faults.add(expr, 'vector selector must contain at least one non-empty matcher');
}
