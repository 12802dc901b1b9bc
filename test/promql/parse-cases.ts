/** Runs parse cases (JSON, see the conformance data): trees, errors, printers and the lexer. */
import { readFileSync } from 'node:fs';
import { CodedError } from '../../src/model/errors.ts';
import { labelsToObject } from '../../src/model/labels.ts';
import { parseExpr, tryParseExpr } from '../../src/promql/syntax/parse.ts';
import { prettyExpr, printExpr } from '../../src/promql/syntax/print.ts';
import { type Scan, scan } from '../../src/promql/syntax/scanner.ts';
import type { Token } from '../../src/promql/syntax/tokens.ts';
import { goTree } from './go-tree.ts';
import { type Item, parseSeriesDescription } from './series-description.ts';

interface ParseCase {
  readonly group: 'parse-valid' | 'parse-invalid' | 'print' | 'pretty' | 'lex' | 'series';
  readonly kind: string;
  readonly id: string;
  readonly source: string;
  readonly input?: string;
  readonly inputBase64?: string;
  readonly ast?: unknown;
  readonly message?: string;
  readonly errors?: readonly { start: number; end: number; error: string }[];
  readonly errorCount?: number;
  readonly output?: string;
  readonly fail?: boolean;
  readonly seriesDesc?: boolean;
  readonly tokens?: readonly { type: string; pos: number; text: string }[];
  readonly labels?: Record<string, string>;
  readonly values?: readonly { Value?: number; Omitted?: boolean }[];
}

export interface ParseResult {
  readonly case: ParseCase;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly reason: string;
}

const OPTIONS = {
  features: {
    experimentalFunctions: true,
    durationExpressions: true,
    extendedRangeSelectors: true,
    fillModifiers: true,
  },
  depthMax: Number.POSITIVE_INFINITY,
};
/** The pretty cases are split at ten characters. */
const PRETTY_WIDTH = 10;

export function runParseCases(file: string): ParseResult[] {
  const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: readonly ParseCase[] };
  return cases.map((one) => {
    const group = skippedGroup(one);
    if (group !== null) return { case: one, outcome: 'skipped', reason: group };
    const reason = run(one);
    return { case: one, outcome: reason === null ? 'passed' : 'failed', reason: reason ?? '' };
  });
}

function skippedGroup(one: ParseCase): string | null {
  if (one.kind === 'series-histogram' || one.kind === 'histogram-to-text')
    return 'native histograms in series descriptions';
  if (one.group === 'lex' && one.seriesDesc) return 'lexer of series descriptions';
  return one.kind === 'series-desc' ? 'error texts of series descriptions' : null;
}

function run(one: ParseCase): string | null {
  const input =
    one.inputBase64 === undefined
      ? (one.input ?? '')
      : new TextDecoder().decode(Buffer.from(one.inputBase64, 'base64'));
  switch (one.group) {
    case 'parse-valid':
      return sameTree(goTree(parseExpr(input, OPTIONS)), one.ast);
    case 'parse-invalid':
      return sameErrors(input, one);
    case 'print':
      return same(printExpr(parseExpr(input, OPTIONS)), one.output);
    case 'pretty':
      return same(prettyExpr(parseExpr(input, OPTIONS), PRETTY_WIDTH), one.output);
    case 'lex':
      return sameTokens(scan(input), one);
    case 'series':
      return sameSeries(input, one);
  }
}

function same(got: unknown, want: unknown): string | null {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  return a === b ? null : `got ${a}, want ${b}`;
}

function sameTree(got: unknown, want: unknown): string | null {
  return same(canonical(got), canonical(want));
}

/** Fields in order of their names, zero values left out. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(canonical);
  if (typeof value === 'string')
    return value.split('').some((c) => c >= '\udc00' && c < '\udd00')
      ? { base64: toBase64(value) }
      : value || undefined;
  if (typeof value !== 'object' || value === null) return value || undefined;
  const entries = Object.entries(value).map(([key, inner]) => [key, canonical(inner)] as const);
  const kept = entries.filter(([, inner]) => inner !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

/** Bytes of a string in which lone surrogates stand for bytes that are no UTF-8. */
function toBase64(value: string): string {
  const parts = [...value].map((c) =>
    /^[\udc00-\udcff]$/.test(c) ? Buffer.from([c.charCodeAt(0) - 0xdc00]) : Buffer.from(c),
  );
  return Buffer.concat(parts).toString('base64');
}

function sameErrors(input: string, one: ParseCase): string | null {
  const { faults } = tryParseExpr(input, OPTIONS);
  if (one.errorCount !== undefined && faults.length !== one.errorCount)
    return `got ${faults.length} errors, want ${one.errorCount}`;
  const got = faults.slice(0, one.errors!.length).map(({ start, end, message }) => ({ start, end, error: message }));
  if (one.errorCount === undefined && faults.length !== one.errors!.length)
    return `got ${JSON.stringify(faults)}, want ${JSON.stringify(one.errors)}`;
  return same(got, one.errors) ?? same(messageOf(input), one.message);
}

function messageOf(input: string): string {
  try {
    parseExpr(input, OPTIONS);
    return '';
  } catch (error) {
    if (error instanceof CodedError) return error.message;
    throw error;
  }
}

/** Go's names of our token types, where they are not told from the text. */
const GO_TYPES: Readonly<Record<string, string>> = {
  Identifier: 'IDENTIFIER',
  MetricIdentifier: 'METRIC_IDENTIFIER',
  String: 'STRING',
  Number: 'NUMBER',
  Duration: 'DURATION',
  LeftParen: 'LEFT_PAREN',
  RightParen: 'RIGHT_PAREN',
  LeftBrace: 'LEFT_BRACE',
  RightBrace: 'RIGHT_BRACE',
  LeftBracket: 'LEFT_BRACKET',
  RightBracket: 'RIGHT_BRACKET',
  Comma: 'COMMA',
  Colon: 'COLON',
  Equal: 'EQL',
  EqualRegex: 'EQL_REGEX',
  NotEqualRegex: 'NEQ_REGEX',
  NotEqual: 'NEQ',
  Plus: 'ADD',
  Minus: 'SUB',
  Times: 'MUL',
  Divide: 'DIV',
  Modulo: 'MOD',
  Power: 'POW',
  AtSign: 'AT',
};
const COMPARE: Readonly<Record<string, string>> = {
  '==': 'EQLC',
  '<': 'LSS',
  '<=': 'LTE',
  '>': 'GTR',
  '>=': 'GTE',
  '</': 'TRIM_UPPER',
  '>/': 'TRIM_LOWER',
};

function goType(token: Token): string {
  const { name } = token.tokenType;
  if (name === 'Compare') return COMPARE[token.image]!;
  return GO_TYPES[name] ?? token.image.toUpperCase();
}

function sameTokens({ tokens, fault }: Scan, one: ParseCase): string | null {
  if (one.fail) return fault === null ? 'got no error' : null;
  if (fault !== null) return `got error: ${fault.message}`;
  const got = tokens.map((token) => ({ type: goType(token), pos: token.startOffset, text: token.image }));
  // We skip comments instead of making tokens of them.
  return same(
    got,
    one.tokens!.filter(({ type }) => type !== 'COMMENT'),
  );
}

function sameSeries(input: string, one: ParseCase): string | null {
  let items: readonly Item[];
  let labels: Record<string, string>;
  try {
    const parsed = parseSeriesDescription(input);
    items = parsed.items;
    labels = labelsToObject(parsed.labels);
  } catch (error) {
    return one.fail ? null : String(error);
  }
  if (one.fail) return 'got no error';
  const values = items.map((item) => (typeof item === 'number' ? { Value: item } : { Omitted: true }));
  return sameTree({ labels, values }, { labels: one.labels, values: one.values });
}

/** Prints what failed; returns the exit status. */
export async function main(files: readonly string[]): Promise<number> {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const skipped = new Map<string, number>();
  for (const file of files) {
    for (const result of runParseCases(file)) {
      counts[result.outcome]++;
      const { group, id, source, input } = result.case;
      if (result.outcome === 'failed')
        console.log(`FAIL ${file}: ${group} ${id} (${source}): ${input}\n     ${result.reason}`);
      if (result.outcome === 'skipped') skipped.set(result.reason, (skipped.get(result.reason) ?? 0) + 1);
    }
  }
  for (const [group, count] of skipped) console.log(`skipped, not built yet: ${group}: ${count}`);
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0 ? 0 : 1;
}
