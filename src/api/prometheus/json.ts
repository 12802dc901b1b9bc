/**
 * Query results as Prometheus' JSON. Nothing is built per sample but text, and text leaves in pieces, so a large result
 * neither fills memory nor holds the loop. Number formats: prometheus/prometheus, util/jsonutil/marshal.go and
 * web/api/v1/json_codec.go.
 */

import { unreachable } from '../../model/errors.ts';
import { type FloatHistogram, hasCustomBuckets } from '../../model/histogram.ts';
import type { Labels } from '../../model/labels.ts';
import { allBuckets } from '../../promql/histogram/buckets.ts';
import type { HistogramPoints, MatrixResult, QueryValue, SeriesPoints, VectorResult } from '../../promql/result.ts';

/** Characters of one piece, about. */
export const PIECE_LENGTH = 64 * 1024;

/** `{"resultType":…,"result":…}` with the first `limit` series (0 for all), and `more` members after them. */
export function* encodeValue(value: QueryValue, limit: number, more = ''): Generator<string> {
  yield* encodeResult(value, limit);
  yield more === '' ? '}' : `,${more}}`;
}

function* encodeResult(value: QueryValue, limit: number): Generator<string> {
  switch (value.kind) {
    case 'scalar':
      return yield `{"resultType":"scalar","result":[${value.timeMs / 1000},"${formatPlain(value.value)}"]`;
    case 'string':
      return yield `{"resultType":"string","result":[${value.timeMs / 1000},${encodeString(value.value)}]`;
    case 'vector':
      return yield* encodeVector(value, countWithin(value.labels.length, limit));
    case 'matrix':
      return yield* encodeMatrix(value, countWithin(value.series.length, limit));
    default:
      return unreachable(value);
  }
}

/** True if the limit (0 for none) leaves out some series of the value. */
export function exceedsLimit(value: QueryValue, limit: number): boolean {
  if (value.kind === 'vector') return countWithin(value.labels.length, limit) < value.labels.length;
  return value.kind === 'matrix' && countWithin(value.series.length, limit) < value.series.length;
}

/** A list of strings. */
export function* encodeStrings(strings: readonly string[]): Generator<string> {
  yield* encodeList(strings, encodeString);
}

/** A list of label sets. */
export function* encodeLabelSets(sets: readonly Labels[]): Generator<string> {
  yield* encodeList(sets, encodeLabels);
}

/** A sample's value: the shortest decimal that reads back the same; an exponent only below 1e-6 and from 1e21. */
export function formatSample(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const text = String(value);
  // JavaScript writes 1e-7 where Go writes 1e-07; only 7, 8 and 9 can be alone after the sign.
  return text.at(-3) === 'e' && text.at(-2) === '-' ? `${text.slice(0, -1)}0${text.at(-1)}` : text;
}

/** A scalar's value: as a sample's, but never with an exponent. */
export function formatPlain(value: number): string {
  const text = formatSample(value);
  const at = text.indexOf('e');
  if (at < 0) return text;
  const [, sign = '', digits = '', fraction = ''] = /^(-?)(\d)(?:\.(\d+))?/.exec(text)!;
  const exponent = Number(text.slice(at + 1));
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}${fraction}`;
  return sign + digits + fraction.padEnd(exponent, '0');
}

/** Seconds with three decimals, or none where they are zero. */
export function formatTimestamp(timestampMs: number): string {
  const fraction = timestampMs % 1000;
  if (fraction === 0) return String(timestampMs / 1000);
  const absolute = Math.abs(timestampMs);
  const seconds = `${Math.floor(absolute / 1000)}.${String(absolute % 1000).padStart(3, '0')}`;
  return timestampMs < 0 ? `-${seconds}` : seconds;
}

/** A JSON string with the escapes that Go adds: what could end a script element or a line of JavaScript. */
export function encodeString(text: string): string {
  // Nearly every label is plain ASCII, which stands for itself: this halves the time of a vector (5.0 to 2.6 µs a series).
  if (PLAIN.test(text)) return `"${text}"`;
  return JSON.stringify(text).replaceAll(ESCAPED_BY_GO, escapeCharacter);
}

/** Printable ASCII without `"`, `\`, `<`, `>` and `&`. */
const PLAIN = /^[ !#-%'-;=?-[\]-~]*$/;
const ESCAPED_BY_GO = /[<>&\u2028\u2029]/g;

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function countWithin(count: number, limit: number): number {
  return limit === 0 ? count : Math.min(count, limit);
}

function* encodeVector({ timeMs, labels, values, histograms }: VectorResult, count: number): Generator<string> {
  const time = formatTimestamp(timeMs);
  let text = '{"resultType":"vector","result":[';
  for (let i = 0; i < count; i++) {
    const histogram = histograms?.[i] ?? null;
    const point =
      histogram === null
        ? `"value":[${time},"${formatSample(values[i]!)}"]`
        : `"histogram":[${time},${encodeHistogramValue(histogram)}]`;
    text += `${i === 0 ? '' : ','}{"metric":${encodeLabels(labels[i]!)},${point}}`;
    if (text.length < PIECE_LENGTH) continue;
    yield text;
    text = '';
  }
  yield `${text}]`;
}

function* encodeMatrix({ series }: MatrixResult, count: number): Generator<string> {
  yield '{"resultType":"matrix","result":[';
  for (let i = 0; i < count; i++) {
    if (i > 0) yield ',';
    yield* encodeSeries(series[i]!);
  }
  yield ']';
}

function* encodeSeries({ labels, timesMs, values, histograms }: SeriesPoints): Generator<string> {
  let text = `{"metric":${encodeLabels(labels)}`;
  // A list that is empty is left out, but never both of them.
  const hasValues = timesMs.length > 0 || histograms === undefined;
  if (hasValues) text += ',"values":[';
  for (let i = 0; i < timesMs.length; i++) {
    text += `${i === 0 ? '' : ','}[${formatTimestamp(timesMs[i]!)},"${formatSample(values[i]!)}"]`;
    if (text.length < PIECE_LENGTH) continue;
    yield text;
    text = '';
  }
  if (hasValues) text += ']';
  if (histograms !== undefined) {
    yield text;
    text = yield* encodeHistograms(histograms);
  }
  yield `${text}}`;
}

/** Yields the list but for its end, which it returns. */
function* encodeHistograms({ timesMs, values }: HistogramPoints): Generator<string, string> {
  let text = ',"histograms":[';
  for (let i = 0; i < timesMs.length; i++) {
    text += `${i === 0 ? '' : ','}[${formatTimestamp(timesMs[i]!)},${encodeHistogramValue(values[i]!)}]`;
    if (text.length < PIECE_LENGTH) continue;
    yield text;
    text = '';
  }
  return `${text}]`;
}

/** Which ends of a bucket belong to it, as a number. */
const BUCKET_RULE = { upper: 0, lower: 1, both: 3 } as const;

/** `{"count":"3","sum":"5","buckets":[[0,"0.5","1","3"]]}`: populated buckets in ascending order. */
function encodeHistogramValue(histogram: FloatHistogram): string {
  const { size, lower, upper, counts, zero } = allBuckets(histogram);
  const texts: string[] = [];
  for (let i = 0; i < size; i++) {
    if (counts[i] === 0) continue;
    const closed = i === zero || lower[i] === -Infinity;
    const rule = closed
      ? BUCKET_RULE.both
      : lower[i]! < 0 && !hasCustomBuckets(histogram)
        ? BUCKET_RULE.lower
        : BUCKET_RULE.upper;
    texts.push(`[${rule},"${formatSample(lower[i]!)}","${formatSample(upper[i]!)}","${formatSample(counts[i]!)}"]`);
  }
  const buckets = texts.length === 0 ? '' : `,"buckets":[${texts.join(',')}]`;
  return `{"count":"${formatSample(histogram.count)}","sum":"${formatSample(histogram.sum)}"${buckets}}`;
}

function* encodeList<T>(items: readonly T[], encode: (item: T) => string): Generator<string> {
  let text = '[';
  for (let i = 0; i < items.length; i++) {
    text += (i === 0 ? '' : ',') + encode(items[i]!);
    if (text.length < PIECE_LENGTH) continue;
    yield text;
    text = '';
  }
  yield `${text}]`;
}

function encodeLabels(labels: Labels): string {
  let text = '{';
  for (let i = 0; i < labels.length; i += 2) {
    text += `${i === 0 ? '' : ','}${encodeString(labels[i]!)}:${encodeString(labels[i + 1]!)}`;
  }
  return `${text}}`;
}
