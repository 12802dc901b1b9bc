/**
 * Series descriptions of Prometheus' test language: `metric{a="b"} 1 2+3x4 _ stale {{schema:0 count:3}}`
 * (reference section 12).
 */
import { type Labels, labelsFromPairs } from '../../src/model/labels.ts';
import { parseMetricSelector } from '../../src/promql/syntax/parse.ts';

/** Histogram fields as they are written; compared by the later stage that evaluates them. */
export type HistogramText = { readonly histogram: string };
/** A float, a gap, a stale marker or a histogram. */
export type Item = number | null | 'stale' | HistogramText;

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
  return { labels: parseMetric(line.slice(0, end)), items: parseItems(line.slice(end)) };
}

/** Labels of a series: a selector with `=` only. */
export function parseMetric(text: string): Labels {
  const matchers = parseMetricSelector(text.trim(), { features: FEATURES, depthMax: 10 }).matchers;
  const other = matchers.find((matcher) => matcher.type !== '=');
  if (other !== undefined) throw new Error(`cannot parse series: ${text}`);
  return labelsFromPairs(matchers.map((matcher) => [matcher.name, matcher.value] as const));
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
  return at + 1;
}

export function parseItems(text: string): Item[] {
  const items: Item[] = [];
  for (const token of splitItems(text)) items.push(...expand(token));
  return items;
}

/** Splits at spaces that are not inside of `{{...}}`. */
function splitItems(text: string): string[] {
  return [...text.matchAll(/\{\{.*?\}\}(?:x\d+|[+-]\{\{.*?\}\}x\d+)?|\S+/g)].map((match) => match[0]);
}

const NUMBER = String.raw`[+-]?(?:[iI][nN][fF]|[nN][aA][nN]|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)`;
const GAP = /^_(?:x(\d+))?$/;
const VALUE = new RegExp(`^(${NUMBER})(?:x(\\d+))?$`);
const RAMP = new RegExp(`^(${NUMBER})([+-])(${NUMBER})x(\\d+)$`);

function expand(token: string): Item[] {
  if (token === 'stale') return ['stale'];
  if (token.startsWith('{{')) return expandHistogram(token);
  const gap = GAP.exec(token);
  if (gap !== null) return new Array(Number(gap[1] ?? 1)).fill(null);
  const value = VALUE.exec(token);
  if (value !== null) return new Array(Number(value[2] ?? 0) + 1).fill(parseNumber(value[1]!));
  const ramp = RAMP.exec(token);
  if (ramp === null) throw new Error(`cannot parse series value: ${token}`);
  return rampItems(parseNumber(ramp[1]!), parseNumber(ramp[3]!) * (ramp[2] === '-' ? -1 : 1), Number(ramp[4]));
}

function rampItems(from: number, by: number, times: number): number[] {
  const items = [from];
  for (let i = 0; i < times; i++) items.push(items[i]! + by);
  return items;
}

function expandHistogram(token: string): Item[] {
  const times = /\}\}x(\d+)$/.exec(token);
  return new Array(Number(times?.[1] ?? 0) + 1).fill({ histogram: token });
}

export function parseNumber(text: string): number {
  const word = text.toLowerCase().replace(/^[+-]/, '');
  const sign = text.startsWith('-') ? -1 : 1;
  if (word === 'inf') return sign * Infinity;
  if (word === 'nan') return Number.NaN;
  return sign * Number(word);
}
