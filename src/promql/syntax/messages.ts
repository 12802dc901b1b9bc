/**
 * The words of a syntax error: which token stands where it cannot, in what, and what could. Prometheus takes the context
 * from the innermost place of its grammar that knows how to complain; here that is the innermost rule in CONTEXTS.
 */
import { EOF, type IToken, type TokenType } from 'chevrotain';
import { quote } from './strings.ts';
import * as T from './tokens.ts';

const DURATION = 'number, duration, step(), or range()';

/** Rule → context and expectation, given the token before the error and how many tokens of the rule were taken. */
type Context = (previous: TokenType) => string;

const CONTEXTS: Readonly<Record<string, Context>> = {
  groupingLabels: (previous) => {
    if (previous === T.LeftParen || previous === T.Comma) return ' in grouping opts, expected label';
    return ' in grouping opts, expected "," or ")"';
  },
  groupingOpen: () => ' in grouping opts, expected "("',
  labelMatchers: (previous) => {
    if (isMatchOperator(previous)) return ' in label matching, expected string';
    if (previous === T.Identifier) return ' in label matching, expected label matching operator';
    if (previous === T.StringToken) return ' in label matching, expected "," or "}"';
    return ' in label matching, expected identifier or "}"';
  },
  offset: () => ` in offset, expected ${DURATION}`,
  at: () => ' in @, expected timestamp',
  bracket: () => ` in subquery or range selector, expected ${DURATION}`,
  aggregate: () => ' in aggregation',
};

/** Tokens of a bracket that is complete up to the error: what may follow differs behind the range and behind the colon. */
export function bracketContext(sinceOpen: readonly TokenType[]): string {
  const colon = sinceOpen.indexOf(T.Colon);
  if (colon >= 0) {
    const behind = sinceOpen.slice(colon + 1);
    if (behind.length === 0) return ' in subquery selector, expected number, duration, step(), range(), or "]"';
    return endsDuration(behind)
      ? ' in subquery selector, expected "]"'
      : ' in subquery selector, expected number, duration, step(), range(), or "]"';
  }
  if (endsDuration(sinceOpen)) return ' in subquery or range, expected ":" or "]"';
  return ` in subquery or range selector, expected ${DURATION}`;
}

function endsDuration(tokens: readonly TokenType[]): boolean {
  const last = tokens.at(-1);
  const opened = tokens.filter((type) => type === T.LeftParen).length;
  const closed = tokens.filter((type) => type === T.RightParen).length;
  return opened === closed && (last === T.NumberToken || last === T.DurationToken || last === T.RightParen);
}

function isMatchOperator(type: TokenType): boolean {
  return type === T.Equal || type === T.NotEqual || type === T.EqualRegex || type === T.NotEqualRegex;
}

/** `unexpected <by> in aggregation`. `rules` run from the outermost to the innermost. */
export function syntaxMessage(
  token: IToken,
  previous: TokenType,
  rules: readonly string[],
  sinceBracket: readonly TokenType[],
): string {
  let context = '';
  for (let i = rules.length - 1; i >= 0 && context === ''; i--) {
    const rule = rules[i]!;
    context = rule === 'bracket' ? bracketContext(sinceBracket) : (CONTEXTS[rule]?.(previous) ?? '');
  }
  return `unexpected ${describe(token)}${context}`;
}

const KINDS: ReadonlyMap<TokenType, string> = new Map([
  [T.Identifier, 'identifier'],
  [T.MetricIdentifier, 'metric identifier'],
  [T.StringToken, 'string'],
  [T.NumberToken, 'number'],
  [T.DurationToken, 'duration'],
]);

const OPERATORS: ReadonlySet<TokenType> = new Set<TokenType>([
  ...[T.Plus, T.Minus, T.Times, T.Divide, T.Modulo, T.Power, T.Compare, T.NotEqual, T.EqualRegex, T.NotEqualRegex],
  ...[T.AtSign, T.SetOperator, T.Atan2],
]);

/** A token as Prometheus prints it. */
export function describe(token: IToken): string {
  const type = token.tokenType;
  if (type === EOF) return 'end of input';
  const kind = KINDS.get(type);
  if (kind !== undefined)
    return `${kind} ${type === T.Identifier || type === T.MetricIdentifier ? quote(token.image) : shortened(token.image)}`;
  if (OPERATORS.has(type)) return `<op:${token.image.toLowerCase()}>`;
  if (type === T.Aggregator) return `<aggr:${token.image.toLowerCase()}>`;
  if (T.KEYWORDS.has(token.image.toLowerCase())) return `<${token.image.toLowerCase()}>`;
  return quote(token.image);
}

/** Go's `%.10q...` of a long text. */
function shortened(text: string): string {
  return [...text].length > 10 ? `${quote([...text].slice(0, 10).join(''))}...` : quote(text);
}
