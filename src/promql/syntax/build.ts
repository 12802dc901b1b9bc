/**
 * What the grammar's actions build: nodes from tokens, with the faults that Prometheus finds while it parses
 * (reference section 3, the table of messages).
 */
import type { IToken } from 'chevrotain';
import { CodedError } from '../../model/errors.ts';
import { METRIC_NAME } from '../../model/labels.ts';
import { compileMatcher, type Matcher, type MatchType } from '../../model/matcher.ts';
import { formatG } from '../functions/format.ts';
import { FUNCTIONS } from '../functions/table.ts';
import type {
  AggregateExpr,
  AggregateOp,
  AtModifier,
  DurationExpr,
  DurationNumber,
  Edges,
  Expr,
  NumberLiteral,
  Span,
  SubqueryExpr,
  VectorSelector,
} from './ast.ts';
import { durationSeconds, numberValue } from './numbers.ts';
import type { Fault } from './scanner.ts';
import { quote, unquote } from './strings.ts';
import { DurationToken, type Token } from './tokens.ts';

export class Faults {
  readonly list: Fault[] = [];

  add(span: Span, message: string): void {
    this.list.push({ message, start: span.start, end: span.end });
  }
}

/** Thrown out of the parser: no text that a person writes nests this deep. */
export class TooDeep extends CodedError {
  constructor(depthMax: number) {
    super('bad_data', `cannot parse query: it is nested too deeply, want at most ${depthMax} levels`);
  }
}

/** Where Prometheus has no node to point at, it points at nothing. */
const NOWHERE: Span = { start: 0, end: 0 };

export function spanOf(token: IToken): Span {
  return { start: token.startOffset, end: (token as Token).endOffset };
}

// ── Literals ────────────────────────────────────────────────────────────────────────────────────────────────────────

export function numberLiteral(token: IToken, faults: Faults): NumberLiteral {
  const isDuration = token.tokenType === DurationToken;
  const { value, error } = isDuration ? durationSeconds(token.image) : numberValue(token.image);
  if (error !== null) faults.add(spanOf(token), error);
  return { kind: 'number', value: value ?? 0, isDuration, ...spanOf(token) };
}

/** Seconds that fit into 64-bit nanoseconds. */
const SECONDS_MAX = 2 ** 63 / 1e9;

export function durationNumber(token: IToken, faults: Faults): DurationExpr | null {
  const isDuration = token.tokenType === DurationToken;
  const { value, error } = isDuration ? durationSeconds(token.image) : numberValue(token.image);
  if (error !== null) faults.add(spanOf(token), error);
  return { kind: 'duration-number', seconds: value ?? 0, isDuration, ...spanOf(token) };
}

export function durationCall(word: Token, args: readonly (DurationExpr | null)[], close: Token): DurationExpr | null {
  if (args.includes(null)) return null;
  const name = word.image.toLowerCase() as 'step' | 'range' | 'min_of' | 'max_of';
  return { kind: 'duration-call', name, args: args as DurationExpr[], start: word.startOffset, end: close.endOffset };
}

export function durationParen(open: Token, inner: DurationExpr | null, close: Token): DurationExpr | null {
  return inner === null ? null : { kind: 'duration-paren', inner, start: open.startOffset, end: close.endOffset };
}

export function negateDuration(sign: IToken, operand: DurationExpr | null): DurationExpr | null {
  if (operand === null) return null;
  const start = sign.startOffset;
  if (operand.kind === 'duration-number') return { ...operand, seconds: -operand.seconds, start };
  return { kind: 'duration-negation', operand, start, end: operand.end };
}

/** A plus changes nothing; a literal's range begins with it, and of `+(5)` Prometheus keeps the range of the 5. */
export function plusDuration(sign: IToken, operand: DurationExpr | null): DurationExpr | null {
  if (operand?.kind === 'duration-number') return { ...operand, start: sign.startOffset };
  if (operand?.kind !== 'duration-paren' || operand.inner.kind !== 'duration-number') return operand;
  return { ...operand, start: operand.inner.start, end: operand.inner.end };
}

function outOfRange(duration: DurationExpr | null, faults: Faults): boolean {
  if (duration?.kind !== 'duration-number' || Math.abs(duration.seconds) < SECONDS_MAX) return false;
  faults.add(duration, 'duration out of range');
  return true;
}

/** An offset, or null with a fault if it is out of range. */
export function checkRange(duration: DurationExpr | null, faults: Faults): DurationExpr | null {
  return outOfRange(duration, faults) ? null : duration;
}

/** A range or a step: a literal must be positive here; an expression is checked when it is evaluated. */
function positiveDuration(duration: DurationExpr | null, faults: Faults): DurationExpr {
  const checked = checkRange(duration, faults);
  if (checked === null) {
    faults.add(NOWHERE, 'duration must be greater than 0');
    return ZERO;
  }
  if (checked.kind === 'duration-number' && !(checked.seconds > 0))
    faults.add(checked, 'duration must be greater than 0');
  return checked;
}

const ZERO: DurationNumber = { kind: 'duration-number', seconds: 0, isDuration: false, start: 0, end: 0 };

// ── Selectors ───────────────────────────────────────────────────────────────────────────────────────────────────────

export function selector(
  name: Token | null,
  braces: { list: readonly Matcher[]; start: number; end: number } | null,
): VectorSelector {
  const inner = braces?.list ?? [];
  const matchers: Matcher[] =
    name === null ? [...inner] : [...inner, { type: '=', name: METRIC_NAME, value: name.image }];
  return {
    kind: 'selector',
    name: name?.image ?? null,
    matchers,
    offset: null,
    at: null,
    edges: null,
    start: name?.startOffset ?? braces!.start,
    end: braces?.end ?? name!.endOffset,
  };
}

export function matcher(nameToken: Token, name: string, type: MatchType, valueToken: Token, faults: Faults): Matcher {
  const built: Matcher = { type, name, value: unquote(valueToken.image) };
  if (type === '=' || type === '!=') return built;
  try {
    compileMatcher(built);
    return built;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    // The flag is ours, the expression is theirs.
    faults.add({ start: nameToken.startOffset, end: valueToken.endOffset }, error.message.replace('`(?s)', '`'));
    return { type: '=', name, value: '' };
  }
}

export function nameMatcher(token: Token): Matcher {
  return { type: '=', name: METRIC_NAME, value: unquote(token.image) };
}

export function quotedLabel(token: Token, faults: Faults): string {
  const label = unquote(token.image);
  if (label === '') faults.add(spanOf(token), `invalid label name for grouping: ${quote(label)}`);
  return label;
}

interface BracketParts {
  readonly expr: Expr;
  readonly open: IToken;
  readonly close: Token;
  readonly range: DurationExpr | null;
}

export function matrix({ expr, open, close, range }: BracketParts, faults: Faults): Expr {
  const positive = positiveDuration(range, faults);
  const fault = expr.kind !== 'selector' ? 'ranges only allowed for vector selectors' : modifierBeforeRange(expr);
  if (fault !== null) faults.add({ start: open.startOffset, end: close.endOffset }, fault);
  return { kind: 'matrix', selector: expr as VectorSelector, range: positive, start: expr.start, end: close.endOffset };
}

function modifierBeforeRange(expr: VectorSelector): string | null {
  if (expr.offset !== null) return 'no offset modifiers allowed before range';
  return expr.at === null ? null : 'no @ modifiers allowed before range';
}

export function subquery(parts: BracketParts & { step: { node: DurationExpr | null } | null }, faults: Faults): Expr {
  const range = positiveDuration(parts.range, faults);
  const step = parts.step === null ? null : positiveDuration(parts.step.node, faults);
  return {
    kind: 'subquery',
    expr: parts.expr,
    range,
    step,
    offset: null,
    at: null,
    start: parts.expr.start,
    end: parts.close.endOffset,
  };
}

/** What offset, @ and the edges may follow. */
function modifiable(expr: Expr): VectorSelector | SubqueryExpr | null {
  if (expr.kind === 'matrix') return expr.selector.kind === 'selector' ? expr.selector : null;
  return expr.kind === 'selector' || expr.kind === 'subquery' ? expr : null;
}

/** The expression with a modifier put in; its range ends behind the modifier. */
function modified(expr: Expr, part: Partial<Pick<VectorSelector, 'offset' | 'at' | 'edges'>>, end: number): Expr {
  if (expr.kind === 'matrix') return { ...expr, selector: { ...expr.selector, ...part }, end };
  return { ...expr, ...part, end } as Expr;
}

const MAY_PRECEDE = 'must be preceded by an instant vector selector or range vector selector or a subquery';

export function withOffset(expr: Expr, offset: DurationExpr | null, end: number, faults: Faults): Expr {
  const target = modifiable(expr);
  if (target === null) faults.add(expr, `offset modifier ${MAY_PRECEDE}`);
  else if (target.offset !== null) faults.add(expr, 'offset may not be set multiple times');
  return target === null ? expr : modified(expr, { offset }, end);
}

export function withAt(expr: Expr, at: AtModifier | null, end: number, faults: Faults): Expr {
  const target = modifiable(expr);
  if (target === null) faults.add(expr, `@ modifier ${MAY_PRECEDE}`);
  else if (target.at !== null) faults.add(expr, '@ <timestamp> may not be set multiple times');
  return target === null ? expr : modified(expr, { at }, end);
}

export function atTime(expr: Expr, seconds: number, faults: Faults): AtModifier | null {
  if (Math.abs(seconds) < 2 ** 63 / 1000) return { kind: 'time', timeMs: Math.round(seconds * 1000) };
  const text = Number.isFinite(seconds) ? plainFixed(seconds) : formatG(seconds);
  faults.add(expr, `timestamp out of bounds for @ modifier: ${text}`);
  return null;
}

/** Go's `%f`. */
function plainFixed(value: number): string {
  return `${BigInt(value)}.000000`;
}

export function withEdges(expr: Expr, word: IToken, faults: Faults): Expr {
  const edges = word.image.toLowerCase() as Edges;
  const target = modifiable(expr);
  if (target === null || target.kind === 'subquery') {
    if (expr.kind !== 'matrix') faults.add(expr, `${edges} modifier not implemented`);
    return expr;
  }
  if (target.edges !== null && target.edges !== edges)
    faults.add(expr, 'anchored and smoothed modifiers cannot be used together');
  return modified(expr, { edges }, spanOf(word).end);
}

// ── Calls and aggregations ──────────────────────────────────────────────────────────────────────────────────────────

export function call(name: Token, args: readonly Expr[], end: number, faults: Faults): Expr {
  if (!FUNCTIONS.has(name.image)) faults.add(spanOf(name), `unknown function with name ${quote(name.image)}`);
  return { kind: 'call', name: name.image, args, start: name.startOffset, end };
}

export const PARAMETER_OPERATORS: ReadonlySet<string> = new Set([
  ...['topk', 'bottomk', 'count_values', 'quantile', 'limitk', 'limit_ratio'],
]);

export function aggregate(
  token: Token,
  parts: Pick<AggregateExpr, 'without' | 'grouping'> & Span,
  args: readonly Expr[],
  faults: Faults,
): Expr {
  const op = token.image.toLowerCase() as AggregateOp;
  const wanted = PARAMETER_OPERATORS.has(op) ? 2 : 1;
  if (args.length === 0) faults.add(parts, 'no arguments for aggregate expression provided');
  else if (args.length !== wanted) {
    faults.add(
      parts,
      `wrong number of arguments for aggregate expression provided, expected ${wanted}, got ${args.length}`,
    );
  }
  const expr = args[wanted - 1] ?? args[0] ?? { kind: 'number', value: 0, isDuration: false, ...NOWHERE };
  return { kind: 'aggregate', op, expr, param: wanted === 2 ? (args[0] ?? null) : null, ...parts };
}
