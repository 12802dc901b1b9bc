/**
 * What Explore shows of an answer: rows of a table, or lines on a grid of times. It is made where the reply is read, in
 * `answer-worker.ts`: a reply of a thousand series over an hour is 5 MB of JSON, and reading that on the page's own thread
 * would hold it up for longer than is felt.
 */
import type { Answer, Metric, Parameters, Point } from './api.ts';
import { formatMetric } from './format.ts';

/** Rows of a table that are shown; a page of many thousands helps nobody. */
export const ROWS_MAX = 200;
/** Lines that are asked for and drawn. */
export const LINES_MAX = 2000;

interface Histogram {
  readonly count: string;
  readonly sum: string;
}

export type QueryData =
  | { readonly resultType: 'scalar' | 'string'; readonly result: Point }
  | {
      readonly resultType: 'vector';
      readonly result: readonly {
        readonly metric: Metric;
        readonly value?: Point;
        readonly histogram?: readonly [number, Histogram];
      }[];
    }
  | {
      readonly resultType: 'matrix';
      readonly result: readonly { readonly metric: Metric; readonly values?: readonly Point[] }[];
    };

/** Points of a graph: `count` of them from `start` on, seconds. */
export interface Grid {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

export interface Question {
  readonly path: 'query' | 'query_range';
  readonly parameters: Parameters;
  /** Of a graph; null for a table. */
  readonly grid: Grid | null;
}

export interface Row {
  readonly name: string;
  readonly value: string;
}

export interface Shown {
  readonly resultType: QueryData['resultType'];
  /** Series of the whole answer. */
  readonly count: number;
  readonly notes: readonly string[];
  /** At most ROWS_MAX of them; none of a graph. */
  readonly rows: readonly Row[];
  /** Lines of a graph, or null. */
  readonly lines: Lines | null;
}

export interface Lines {
  readonly labels: readonly string[];
  /** Line after line, `grid.count` values each; NaN where there is no point. */
  readonly values: Float64Array;
}

export function shownOf({ data, notes }: Answer<QueryData>, grid: Grid | null): Shown {
  const { resultType } = data;
  const count = resultType === 'vector' || resultType === 'matrix' ? data.result.length : 1;
  if (resultType === 'matrix' && grid !== null)
    return { resultType, count, notes, rows: [], lines: linesOf(data.result, grid) };
  return { resultType, count, notes, rows: rowsOf(data), lines: null };
}

function linesOf(result: Extract<QueryData, { resultType: 'matrix' }>['result'], grid: Grid): Lines {
  const { start, step, count } = grid;
  const values = new Float64Array(result.length * count).fill(Number.NaN);
  result.forEach(({ values: points = [] }, i) => {
    for (const [seconds, text] of points) {
      const value = Number(text);
      // An infinity has no place on an axis.
      if (Number.isFinite(value)) values[i * count + Math.round((seconds - start) / step)] = value;
    }
  });
  return { labels: result.map(({ metric }) => formatMetric(metric)), values };
}

function rowsOf(data: QueryData): readonly Row[] {
  if (data.resultType === 'vector')
    return data.result.slice(0, ROWS_MAX).map(({ metric, value, histogram }) => ({
      name: formatMetric(metric),
      value: value?.[1] ?? `histogram: count ${histogram?.[1].count}, sum ${histogram?.[1].sum}`,
    }));
  if (data.resultType === 'matrix')
    return data.result.slice(0, ROWS_MAX).map(({ metric, values = [] }) => ({
      name: formatMetric(metric),
      value: values.map(([seconds, value]) => `${value} @${seconds}`).join('\n'),
    }));
  return [{ name: data.resultType, value: data.result[1] }];
}
