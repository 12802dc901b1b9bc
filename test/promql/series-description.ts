/**
 * Series descriptions of Prometheus' test language: `metric{a="b"} 1 2+3x4 _ stale {{schema:0 count:3}}`
 * (reference section 12).
 */
import { CodedError } from '../../src/model/errors.ts';
import { type Labels, labelsFromPairs } from '../../src/model/labels.ts';
import { add, subtract } from '../../src/promql/histogram/algebra.ts';
import { parseMetricSelector } from '../../src/promql/syntax/parse.ts';
import { type HistogramDescription, numberOf, readHistogram, TokenReader } from './histogram-description.ts';
import { scanValues } from './series-tokens.ts';

/** A float, a gap, a stale marker or a histogram. */
export type Item = number | null | 'stale' | HistogramDescription;

export interface SeriesDescription {
  readonly labels: Labels;
  readonly items: readonly Item[];
}

const FEATURES = {
  experimentalFunctions: true,
  durationExpressions: true,
  extendedRangeSelectors: true,
  fillModifiers: true,
};

export function parseSeriesDescription(line: string): SeriesDescription {
  const end = metricEnd(line);
  return { labels: parseMetric(line.slice(0, end)), items: parseItems(line, end) };
}

/** Labels of a series: a selector with `=` only. */
export function parseMetric(text: string): Labels {
  if (text.trim() === '') return [];
  const { matchers } = parseLabelSet(text.trim());
  const other = matchers.find((matcher) => matcher.type !== '=');
  if (other !== undefined) throw new Error(`cannot parse series: ${text}`);
  return labelsFromPairs(matchers.map((matcher) => [matcher.name, matcher.value] as const));
}

/** A label set is a selector that knows `=` only; what is wrong with it is said of the label set. */
function parseLabelSet(text: string): ReturnType<typeof parseMetricSelector> {
  try {
    return parseMetricSelector(text, { features: FEATURES, depthMax: 10 });
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    throw new Error(error.message.replace(' in label matching,', ' in label set,'), { cause: error });
  }
}

/** Index behind the metric and its braces. */
export function metricEnd(line: string): number {
  let at = 0;
  while (at < line.length && /[^\s{@]/.test(line[at]!)) at++;
  let brace = at;
  while (line[brace] === ' ' || line[brace] === '\t') brace++;
  if (line[brace] !== '{' || line[brace + 1] === '{') return at;
  for (at = brace + 1; at < line.length && line[at] !== '}'; at++) {
    const quote = line[at]!;
    if (quote !== '"' && quote !== "'" && quote !== '`') continue;
    for (at++; at < line.length && line[at] !== quote; at++) if (line[at] === '\\' && quote !== '`') at++;
  }
  return Math.min(at + 1, line.length);
}

/** Items of a line, from a position on. */
export function parseItems(line: string, from = 0): Item[] {
  const reader = new TokenReader(scanValues(line, from), line.length);
  const items: Item[] = [];
  reader.accept('SPACE');
  while (reader.type !== '') {
    items.push(...readItem(reader));
    if (reader.accept('SPACE') === null && reader.type !== '') throw reader.unexpected();
  }
  return items;
}

function readItem(reader: TokenReader): Item[] {
  if (reader.accept('BLANK') !== null) return new Array(readTimes(reader) ?? 1).fill(null);
  if (reader.accept('IDENTIFIER') !== null) return ['stale'];
  return reader.type === 'OPEN_HIST' ? readHistograms(reader) : readFloats(reader);
}

/** `x3`, or null if there is none. */
function readTimes(reader: TokenReader): number | null {
  if (reader.accept('TIMES') === null) return null;
  return Number(reader.expect('NUMBER').text);
}

/** `1`, `1x3`, `1+2x3` or `1-2x3`. */
function readFloats(reader: TokenReader): number[] {
  const first = reader.number();
  const sign = reader.accept('ADD', 'SUB');
  const step = sign === null ? 0 : numberOf(reader.expect('NUMBER').text) * (sign.type === 'SUB' ? -1 : 1);
  const times = readTimes(reader);
  if (sign !== null && times === null) throw reader.unexpected();
  const items = [first];
  for (let i = 0; i < (times ?? 0); i++) items.push(sign === null ? first : items[i]! + step);
  return items;
}

/** `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3` or `{{…}}-{{…}}x3`. */
function readHistograms(reader: TokenReader): HistogramDescription[] {
  const first = readHistogram(reader);
  const sign = reader.accept('ADD', 'SUB');
  const step = sign === null ? null : readHistogram(reader).histogram;
  const times = readTimes(reader);
  if (sign !== null && times === null) throw reader.unexpected();
  const items = [first];
  for (let i = 0; i < (times ?? 0); i++) {
    const { histogram, hasHint } = items[i]!;
    const combine = sign?.type === 'SUB' ? subtract : add;
    const next = step === null ? histogram : combine(histogram, step)?.histogram;
    if (next === undefined) throw new Error('cannot add exponential and custom buckets');
    items.push({ histogram: next, hasHint });
  }
  return items;
}

export function parseNumber(text: string): number {
  const sign = text.startsWith('-') ? -1 : 1;
  return sign * numberOf(text.replace(/^[+-]/, ''));
}
