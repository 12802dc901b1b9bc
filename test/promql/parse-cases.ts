/** Runs parse cases (JSON, see the conformance data): trees, errors, printers and the lexer. */
import { readFileSync } from 'node:fs';
import { CodedError } from '../../src/model/errors.ts';
import { EMPTY_HISTOGRAM, type FloatHistogram, RESET_HINT, type ResetHint } from '../../src/model/histogram.ts';
import { labelsToObject } from '../../src/model/labels.ts';
import { parseExpr, tryParseExpr } from '../../src/promql/syntax/parse.ts';
import { prettyExpr, printExpr } from '../../src/promql/syntax/print.ts';
import { type Scan, scan } from '../../src/promql/syntax/scanner.ts';
import type { Token } from '../../src/promql/syntax/tokens.ts';
import { goTree } from './go-tree.ts';
import { describeHistogram } from './histogram-description.ts';
import { type Item, metricEnd, parseSeriesDescription } from './series-description.ts';
import { scanValues } from './series-tokens.ts';

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
  readonly histograms?: readonly GoHistogram[];
  readonly errorContains?: string;
  readonly histogram?: GoHistogram;
  readonly text?: string;
}

interface GoSpan {
  readonly Offset: number;
  readonly Length: number;
}

/** A histogram in Go's words; absent fields are zero. */
interface GoHistogram {
  readonly Schema?: number;
  readonly Sum?: number;
  readonly Count?: number;
  readonly ZeroCount?: number;
  readonly ZeroThreshold?: number;
  readonly PositiveBuckets?: readonly number[];
  readonly PositiveSpans?: readonly GoSpan[];
  readonly NegativeBuckets?: readonly number[];
  readonly NegativeSpans?: readonly GoSpan[];
  readonly CounterResetHint?: string;
}

export interface ParseResult {
  readonly case: ParseCase;
  readonly outcome: 'passed' | 'failed';
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
    const reason = run(one);
    return { case: one, outcome: reason === null ? 'passed' : 'failed', reason: reason ?? '' };
  });
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
      return one.seriesDesc ? sameSeriesTokens(input, one) : sameTokens(scan(input), one);
    case 'series':
      return one.kind === 'histogram-to-text' ? sameText(one) : sameSeries(input, one);
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

function sameSeriesTokens(input: string, one: ParseCase): string | null {
  const end = metricEnd(input);
  const { tokens, fault } = scan(input.slice(0, end));
  if (fault !== null) return `got error: ${fault.message}`;
  const metric = tokens.map((token) => ({ type: goType(token), pos: token.startOffset, text: token.image }));
  const values = scanValues(input, end).map(({ type, at, text }) => ({ type, pos: at, text }));
  return same([...metric, ...values], one.tokens);
}

function sameSeries(input: string, one: ParseCase): string | null {
  let items: readonly Item[];
  let labels: Record<string, string>;
  try {
    const parsed = parseSeriesDescription(input);
    items = parsed.items;
    labels = labelsToObject(parsed.labels);
  } catch (error) {
    if (!one.fail) return String(error);
    const { message } = error as Error;
    return message.includes(one.errorContains ?? '') ? null : `got error: ${message}, want ${one.errorContains}`;
  }
  if (one.fail) return 'got no error';
  if (one.histograms !== undefined)
    return sameTree(
      items.map(goHistogram),
      one.histograms.map((own) => ({ own })),
    );
  const values = items.map((item) => (typeof item === 'number' ? { Value: item } : { Omitted: true }));
  return sameTree({ labels, values }, { labels: one.labels, values: one.values });
}

const HINT_NAMES: Readonly<Record<string, ResetHint>> = {
  reset: RESET_HINT.reset,
  not_reset: RESET_HINT.notReset,
  gauge: RESET_HINT.gauge,
};

/** Wrapped, so that an empty one does not vanish from its list. */
function goHistogram(item: Item): { own: GoHistogram } | null {
  if (item === null || typeof item !== 'object') return null;
  const { schema, sum, count, zeroCount, zeroThreshold, positive, negative, hint } = item.histogram;
  const spans = (flat: Int32Array): GoSpan[] =>
    Array.from({ length: flat.length / 2 }, (_, i) => ({ Offset: flat[2 * i]!, Length: flat[2 * i + 1]! }));
  return {
    own: {
      Schema: schema,
      Sum: sum,
      Count: count,
      ZeroCount: zeroCount,
      ZeroThreshold: zeroThreshold,
      PositiveBuckets: [...positive.counts],
      PositiveSpans: spans(positive.spans),
      NegativeBuckets: [...negative.counts],
      NegativeSpans: spans(negative.spans),
      CounterResetHint: Object.keys(HINT_NAMES).find((name) => HINT_NAMES[name] === hint) ?? '',
    },
  };
}

function sameText({ histogram: go, text }: ParseCase): string | null {
  const spans = (list: readonly GoSpan[] = []): Int32Array =>
    Int32Array.from(list.flatMap(({ Offset = 0, Length }) => [Offset, Length]));
  const histogram: FloatHistogram = {
    ...EMPTY_HISTOGRAM,
    schema: go?.Schema ?? 0,
    sum: go?.Sum ?? 0,
    count: go?.Count ?? 0,
    zeroCount: go?.ZeroCount ?? 0,
    zeroThreshold: go?.ZeroThreshold ?? 0,
    positive: { spans: spans(go?.PositiveSpans), counts: Float64Array.from(go?.PositiveBuckets ?? []) },
    negative: { spans: spans(go?.NegativeSpans), counts: Float64Array.from(go?.NegativeBuckets ?? []) },
    hint: HINT_NAMES[go?.CounterResetHint ?? ''] ?? RESET_HINT.unknown,
  };
  return same(describeHistogram(histogram), text);
}

/** Prints what failed; returns the exit status. */
export async function main(files: readonly string[]): Promise<number> {
  const counts = { passed: 0, failed: 0 };
  for (const file of files) {
    for (const result of runParseCases(file)) {
      counts[result.outcome]++;
      const { group, id, source, input } = result.case;
      if (result.outcome === 'failed')
        console.log(`FAIL ${file}: ${group} ${id} (${source}): ${input}\n     ${result.reason}`);
    }
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0 ? 0 : 1;
}
