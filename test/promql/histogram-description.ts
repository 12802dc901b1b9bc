/** Histograms of Prometheus' test language: `{{schema:0 count:3 sum:5 buckets:[1 2] offset:1}}` (reference section 12). */
import {
  type Buckets,
  EMPTY_HISTOGRAM,
  type FloatHistogram,
  NO_BUCKETS,
  RESET_HINT,
  type ResetHint,
} from '../../src/model/histogram.ts';
import { DescriptionError, type SeriesToken, scanValues } from './series-tokens.ts';

export interface HistogramDescription {
  readonly histogram: FloatHistogram;
  /** True if it says what is known of resets; else that is not compared. */
  readonly hasHint: boolean;
}

/** Tokens of a line and how far they are read. */
export class TokenReader {
  readonly #tokens: readonly SeriesToken[];
  readonly #endAt: number;
  #next = 0;

  constructor(tokens: readonly SeriesToken[], endAt: number) {
    this.#tokens = tokens;
    this.#endAt = endAt;
  }

  /** Type of the next token; '' at the end. */
  get type(): string {
    return this.#tokens[this.#next]?.type ?? '';
  }

  /** Takes the next token if it is of one of the types. */
  accept(...types: string[]): SeriesToken | null {
    return types.includes(this.type) ? this.#tokens[this.#next++]! : null;
  }

  expect(...types: string[]): SeriesToken {
    const token = this.accept(...types);
    if (token === null) throw this.unexpected();
    return token;
  }

  unexpected(): DescriptionError {
    const token = this.#tokens[this.#next];
    if (token === undefined) return new DescriptionError(this.#endAt, 'unexpected end of input in series values');
    return new DescriptionError(token.at, `unexpected ${JSON.stringify(token.text)} in series values`);
  }

  /** A number with signs before it. */
  number(): number {
    const sign = this.accept('ADD', 'SUB')?.type === 'SUB' ? -1 : 1;
    return sign * numberOf(this.expect('NUMBER').text);
  }
}

export function numberOf(text: string): number {
  const word = text.toLowerCase();
  if (word === 'inf') return Infinity;
  return word === 'nan' ? Number.NaN : Number(word);
}

interface Fields {
  readonly numbers: Map<string, number>;
  readonly lists: Map<string, number[]>;
  hint: ResetHint | null;
}

const LISTS = ['buckets', 'n_buckets', 'custom_values'];
const HINTS: Readonly<Record<string, ResetHint>> = {
  UNKNOWN_COUNTER_RESET: RESET_HINT.unknown,
  COUNTER_RESET: RESET_HINT.reset,
  NOT_COUNTER_RESET: RESET_HINT.notReset,
  GAUGE_TYPE: RESET_HINT.gauge,
};

/** A text that is one histogram. */
export function parseHistogram(text: string): HistogramDescription {
  const reader = new TokenReader(scanValues(text, 0), text.length);
  const description = readHistogram(reader);
  if (reader.type !== '') throw reader.unexpected();
  return description;
}

export function readHistogram(reader: TokenReader): HistogramDescription {
  const fields: Fields = { numbers: new Map(), lists: new Map(), hint: null };
  reader.expect('OPEN_HIST');
  reader.accept('SPACE');
  while (reader.accept('CLOSE_HIST') === null) {
    readField(reader, fields);
    if (reader.accept('SPACE') === null && reader.type !== 'CLOSE_HIST') throw reader.unexpected();
  }
  return { histogram: histogramOf(fields), hasHint: fields.hint !== null };
}

function histogramOf({ numbers, lists, hint }: Fields): FloatHistogram {
  const number = (name: string): number => numbers.get(name) ?? 0;
  return {
    ...EMPTY_HISTOGRAM,
    schema: number('schema'),
    sum: number('sum'),
    count: number('count'),
    zeroCount: number('z_bucket'),
    zeroThreshold: number('z_bucket_w'),
    positive: bucketsOf(lists.get('buckets'), number('offset')),
    negative: bucketsOf(lists.get('n_buckets'), number('n_offset')),
    customValues: Float64Array.from(lists.get('custom_values') ?? []),
    hint: hint ?? RESET_HINT.unknown,
  };
}

function bucketsOf(counts: readonly number[] | undefined, offset: number): Buckets {
  if (counts === undefined || counts.length === 0) return NO_BUCKETS;
  return { spans: Int32Array.of(offset, counts.length), counts: Float64Array.from(counts) };
}

function readField(reader: TokenReader, fields: Fields): void {
  if (!reader.type.endsWith('_DESC')) throw reader.unexpected();
  const { text: key } = reader.expect(reader.type);
  const isKnown =
    fields.numbers.has(key) || fields.lists.has(key) || (key === 'counter_reset_hint' && fields.hint !== null);
  if (isKnown) throw new DescriptionError(0, `duplicate key "${key}" in histogram`);
  reader.expect('COLON');
  if (key === 'counter_reset_hint') fields.hint = HINTS[reader.expect(...Object.keys(HINTS)).type]!;
  else if (LISTS.includes(key)) fields.lists.set(key, readList(reader));
  else fields.numbers.set(key, reader.number());
}

function readList(reader: TokenReader): number[] {
  const values: number[] = [];
  reader.expect('LEFT_BRACKET');
  while (reader.accept('RIGHT_BRACKET') === null) {
    values.push(reader.number());
    if (reader.accept('SPACE') === null && reader.type !== 'RIGHT_BRACKET') throw reader.unexpected();
  }
  return values;
}

const HINT_TEXTS = ['', 'reset', 'not_reset', 'gauge'];

/** The histogram as a description that reads back the same. */
export function describeHistogram(h: FloatHistogram): string {
  const fields: string[] = [];
  const number = (key: string, value: number): void => {
    if (value !== 0) fields.push(`${key}:${value}`);
  };
  const list = (key: string, values: Float64Array): void => {
    if (values.length > 0) fields.push(`${key}:[${values.join(' ')}]`);
  };
  number('schema', h.schema);
  number('count', h.count);
  number('sum', h.sum);
  number('z_bucket', h.zeroCount);
  number('z_bucket_w', h.zeroThreshold);
  list('custom_values', h.customValues);
  if (HINT_TEXTS[h.hint] !== '') fields.push(`counter_reset_hint:${HINT_TEXTS[h.hint]}`);
  number('offset', h.positive.spans[0] ?? 0);
  list('buckets', h.positive.counts);
  number('n_offset', h.negative.spans[0] ?? 0);
  list('n_buckets', h.negative.counts);
  return `{{${fields.join(' ')}}}`;
}
