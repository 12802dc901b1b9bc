/** `tidegauge query`: a table, the JSON as it came, or a plot in the terminal. */
import { CodedError } from '../model/errors.ts';
import { tryParseDuration } from '../model/time.ts';
import { type Call, optionOf } from './cli.ts';
import { plotText, short, tableText } from './table.ts';

type Metric = Readonly<Record<string, string>>;
type Point = readonly [seconds: number, value: string];

interface Data {
  readonly resultType: string;
  readonly result:
    | readonly { readonly metric: Metric; readonly value?: Point; readonly values?: readonly Point[] }[]
    | Point;
}

const PLOTS_MAX = 8;
const PLOT_ROWS = 6;
const LABEL_COLUMNS = 12;

export async function printQuery({ words, options, io, source }: Call): Promise<number> {
  const [query] = words;
  if (query === undefined || words.length > 1)
    throw new CodedError('bad_data', "want one expression: tidegauge query 'up'");
  const time: Record<string, string> = typeof options.time === 'string' ? { time: options.time } : {};
  if (options.plot !== true) {
    const data = await source.ask<Data>('query', { query, ...time });
    io.write(options.json === true ? `${JSON.stringify(data, null, 2)}\n` : valueText(data));
    return 0;
  }
  const points = Math.max(20, Math.min(io.columns - LABEL_COLUMNS, 160)) * 2;
  const rangeMs = durationOf(optionOf(options, 'range', '1h'));
  const stepMs =
    typeof options.step === 'string' ? durationOf(options.step) : Math.max(1000, Math.round(rangeMs / points));
  const end = typeof options.time === 'string' ? Number(options.time) : Math.floor(Date.now() / 1000);
  const grid = { start: end - rangeMs / 1000, end, step: stepMs / 1000 };
  const parameters = Object.fromEntries(Object.entries(grid).map(([name, value]) => [name, String(value)]));
  io.write(plotsOf(await source.ask<Data>('query_range', { query, ...parameters }), grid, points / 2));
  return 0;
}

function valueText({ resultType, result }: Data): string {
  if (resultType === 'scalar' || resultType === 'string') return `${(result as Point)[1]}\n`;
  const series = result as Exclude<Data['result'], Point>;
  if (series.length === 0) return '(no series)\n';
  const rows = series.map(({ metric, value, values = [] }) => [
    metricText(metric),
    value?.[1] ?? values.map(([seconds, text]) => `${text}@${seconds}`).join(' '),
  ]);
  return tableText(['SERIES', 'VALUE'], rows, resultType === 'vector' ? ['VALUE'] : []);
}

function plotsOf(
  { result }: Data,
  { start, end, step }: { start: number; end: number; step: number },
  columns: number,
): string {
  const series = result as Exclude<Data['result'], Point>;
  if (series.length === 0) return '(no series)\n';
  const count = Math.floor((end - start) / step) + 1;
  const plots = series.slice(0, PLOTS_MAX).map(({ metric, values = [] }) => {
    const column: (number | null)[] = new Array(count).fill(null);
    for (const [seconds, text] of values) column[Math.round((seconds - start) / step)] = Number(text);
    const last = values.at(-1);
    return `${metricText(metric)}  last ${last === undefined ? '-' : short(Number(last[1]))}\n${plotText(column, columns, PLOT_ROWS)}`;
  });
  if (series.length > PLOTS_MAX)
    plots.push(`${series.length - PLOTS_MAX} more series; narrow the expression to see them\n`);
  return plots.join('\n');
}

function durationOf(text: string): number {
  const ms = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1000 : tryParseDuration(text);
  if (ms === null || ms <= 0)
    throw new CodedError('bad_data', `cannot use ${JSON.stringify(text)}: want a duration such as 30m`);
  return ms;
}

export function metricText({ __name__: name = '', ...labels }: Metric): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return pairs.length === 0 && name !== '' ? name : `${name}{${pairs.join(', ')}}`;
}
