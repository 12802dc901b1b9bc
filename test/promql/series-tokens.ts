/** Tokens of the values of a series description, histograms included, under the names that Prometheus has for them. */

export interface SeriesToken {
  readonly type: string;
  /** Where it begins in the line. */
  readonly at: number;
  readonly text: string;
}

/** A line that cannot be read; the message says where, as the parser of expressions does. */
export class DescriptionError extends Error {
  constructor(at: number, message: string) {
    super(`1:${at + 1}: parse error: ${message}`);
  }
}

const NUMBER = /inf\b|nan\b|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?/iy;
const SPACE = /[ \t]+/y;
const WORD = /[a-z_]+/y;
const SIGNS: Readonly<Record<string, string>> = {
  '+': 'ADD',
  '-': 'SUB',
  ':': 'COLON',
  '[': 'LEFT_BRACKET',
  ']': 'RIGHT_BRACKET',
};

export const DESCRIPTORS: Readonly<Record<string, string>> = {
  schema: 'SCHEMA_DESC',
  sum: 'SUM_DESC',
  count: 'COUNT_DESC',
  z_bucket: 'ZERO_BUCKET_DESC',
  z_bucket_w: 'ZERO_BUCKET_WIDTH_DESC',
  buckets: 'BUCKETS_DESC',
  n_buckets: 'NEGATIVE_BUCKETS_DESC',
  offset: 'OFFSET_DESC',
  n_offset: 'NEGATIVE_OFFSET_DESC',
  custom_values: 'CUSTOM_VALUES_DESC',
  counter_reset_hint: 'COUNTER_RESET_HINT_DESC',
};

export const HINT_WORDS: Readonly<Record<string, string>> = {
  unknown: 'UNKNOWN_COUNTER_RESET',
  reset: 'COUNTER_RESET',
  not_reset: 'NOT_COUNTER_RESET',
  gauge: 'GAUGE_TYPE',
};

/** Tokens from a position to the end of the line. */
export function scanValues(line: string, from: number): SeriesToken[] {
  const tokens: SeriesToken[] = [];
  let inHistogram = false;
  for (let at = from; at < line.length; ) {
    const token = inHistogram ? histogramToken(line, at) : valueToken(line, at);
    if (token.type === 'OPEN_HIST') inHistogram = true;
    if (token.type === 'CLOSE_HIST') inHistogram = false;
    tokens.push(token);
    at += token.text.length;
  }
  if (inHistogram) throw new DescriptionError(from, 'unclosed histogram description');
  return tokens;
}

function valueToken(line: string, at: number): SeriesToken {
  if (line.startsWith('{{', at)) return { type: 'OPEN_HIST', at, text: '{{' };
  const common = commonToken(line, at);
  if (common !== null) return common;
  const sign = line[at]!;
  if (sign === '_') return { type: 'BLANK', at, text: sign };
  if (sign === 'x') return { type: 'TIMES', at, text: sign };
  const word = match(WORD, line, at);
  if (word === 'stale') return { type: 'IDENTIFIER', at, text: word };
  throw new DescriptionError(at, `unexpected character in series sequence: '${sign}'`);
}

function histogramToken(line: string, at: number): SeriesToken {
  if (line.startsWith('}}', at)) return { type: 'CLOSE_HIST', at, text: '}}' };
  const common = commonToken(line, at);
  if (common !== null) return common;
  const word = match(WORD, line, at);
  if (word === null) throw new DescriptionError(at, `unexpected character in histogram: '${line[at]}'`);
  const hint = HINT_WORDS[word];
  if (hint !== undefined) return { type: hint, at, text: word };
  const descriptor = DESCRIPTORS[word];
  if (descriptor === undefined) throw new DescriptionError(at, `bad histogram descriptor found: "${word}"`);
  if (line[at + word.length] !== ':') throw new DescriptionError(at, 'missing `:` for histogram descriptor');
  return { type: descriptor, at, text: word };
}

function commonToken(line: string, at: number): SeriesToken | null {
  const space = match(SPACE, line, at);
  if (space !== null) return { type: 'SPACE', at, text: space };
  const number = match(NUMBER, line, at);
  if (number !== null) return { type: 'NUMBER', at, text: number };
  const sign = SIGNS[line[at]!];
  return sign === undefined ? null : { type: sign, at, text: line[at]! };
}

function match(pattern: RegExp, line: string, at: number): string | null {
  pattern.lastIndex = at;
  return pattern.exec(line)?.[0] ?? null;
}
