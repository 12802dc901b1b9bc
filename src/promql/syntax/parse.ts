/**
 * Text → syntax tree, or the faults of the text. The parser is made once; it is not re-entrant, and parsing is synchronous.
 */
import { EOF, type IRecognitionException, type IToken, type TokenType } from 'chevrotain';
import { CodedError } from '../../model/errors.ts';
import type { Expr, VectorSelector } from './ast.ts';
import { Faults } from './build.ts';
import { type CheckOptions, checkExpr } from './check.ts';
import { Grammar } from './grammar.ts';
import { syntaxMessage } from './messages.ts';
import { byteOffsets, type Fault, scan } from './scanner.ts';
import { LeftBracket, RightBracket } from './tokens.ts';

export interface ParseOptions extends CheckOptions {
  /** Parentheses and calls that may stand inside each other. */
  readonly depthMax: number;
}

export interface Parsed<N> {
  readonly node: N | null;
  readonly faults: readonly Fault[];
}

let grammar: Grammar | null = null;

/** Makes the parser, which takes some tens of milliseconds, before the first query needs it. */
export function prepareParser(): void {
  theGrammar();
}

function theGrammar(): Grammar {
  grammar ??= new Grammar({ skipValidations: true });
  return grammar;
}

/** Parses and checks an expression. Throws `bad_data` with Prometheus' text and position. */
export function parseExpr(text: string, options: ParseOptions): Expr {
  return unwrap(text, tryParseExpr(text, options));
}

/** Parses a selector (a `match[]` value). Throws `bad_data`. */
export function parseMetricSelector(text: string, options: ParseOptions): VectorSelector {
  const faults = new Faults();
  return unwrap(
    text,
    read<VectorSelector>(text, faults, options.depthMax, (parser) => parser.metricSelector()),
  );
}

/** The tree and all faults; there is a tree only if there are none. */
export function tryParseExpr(text: string, options: ParseOptions): Parsed<Expr> {
  const faults = new Faults();
  const parsed = read<Expr>(text, faults, options.depthMax, (parser) => parser.query());
  if (parsed.node === null || faults.list.length > 0) return parsed;
  checkExpr(parsed.node, text, options, faults);
  return faults.list.length === 0 ? parsed : { node: null, faults: faults.list };
}

function read<N>(text: string, faults: Faults, depthMax: number, rule: (parser: Grammar) => N): Parsed<N> {
  const { tokens, fault, bytes } = scan(text);
  if (fault === null && tokens.length === 0) {
    faults.add({ start: 0, end: 0 }, 'no expression found in input');
    return { node: null, faults: faults.list };
  }
  const parser = theGrammar();
  parser.begin(tokens, faults, depthMax);
  const node = rule(parser);
  const error = parser.errors[0];
  if (error === undefined && fault === null) return { node, faults: faults.list };
  if (fault !== null && (error === undefined || error.token.tokenType === EOF)) faults.add(fault, fault.message);
  else if (error !== undefined) addSyntaxError(error, tokens, bytes, faults);
  // Prometheus recovers at the aggregation, which then has no arguments, and says so.
  if (error !== undefined && recoversAtAggregate(error))
    faults.add({ start: 0, end: 0 }, 'no arguments for aggregate expression provided');
  return { node: null, faults: faults.list };
}

function addSyntaxError(error: IRecognitionException, tokens: readonly IToken[], bytes: number, faults: Faults): void {
  const token = error.token;
  const at = token.tokenType === EOF ? tokens.length : tokens.indexOf(token);
  const previous = tokens[at - 1]?.tokenType ?? EOF;
  const span =
    token.tokenType === EOF ? { start: bytes, end: bytes } : { start: token.startOffset, end: token.endOffset! };
  faults.add(span, syntaxMessage(token, previous, error.context.ruleStack, sinceBracket(tokens, at)));
}

/** Types of the tokens between the bracket that is open at `at` and `at`. */
function sinceBracket(tokens: readonly IToken[], at: number): readonly TokenType[] {
  for (let i = at - 1; i >= 0; i--) {
    if (tokens[i]!.tokenType === RightBracket) return [];
    if (tokens[i]!.tokenType === LeftBracket) return tokens.slice(i + 1, at).map((token) => token.tokenType);
  }
  return [];
}

const CONTEXT_RULES: ReadonlySet<string> = new Set([
  'groupingLabels',
  'labelMatchers',
  'offset',
  'at',
  'bracket',
  'aggregate',
]);

function recoversAtAggregate(error: IRecognitionException): boolean {
  return error.context.ruleStack.findLast((rule) => CONTEXT_RULES.has(rule)) === 'aggregate';
}

function unwrap<N>(text: string, parsed: Parsed<N>): N {
  const first = parsed.faults[0];
  if (first === undefined) return parsed.node!;
  throw new CodedError('bad_data', `${position(text, first.start)}: parse error: ${first.message}`);
}

/** `LINE:COL` of a byte offset, both from 1, columns in bytes. */
export function position(text: string, byteOffset: number): string {
  const offsets = byteOffsets(text);
  let line = 1;
  let lineStart = 0;
  for (let i = 0; i < text.length; i++) {
    const at = offsets === null ? i : offsets[i]!;
    if (at >= byteOffset) break;
    if (text[i] === '\n') {
      line++;
      lineStart = at + 1;
    }
  }
  return `${line}:${byteOffset - lineStart + 1}`;
}
