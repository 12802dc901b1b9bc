/** Prometheus' test language: text of a `*.test` file → commands (reference section 12). */
import type { Labels } from '../../src/model/labels.ts';
import { parseDuration } from '../../src/model/time.ts';
import { unquote } from '../../src/promql/syntax/strings.ts';
import {
  type Item,
  metricEnd,
  parseMetric,
  parseNumber,
  parseSeriesDescription,
  type SeriesDescription,
} from './series-description.ts';

export interface Load {
  readonly kind: 'load';
  readonly line: number;
  readonly stepMs: number;
  readonly customBuckets: boolean;
  readonly series: readonly LoadedSeries[];
}

/** Samples of a series, or its start timestamps: how far from the samples they are, null where there is none. */
export interface LoadedSeries extends SeriesDescription {
  readonly startOffsetsMs: readonly (number | null)[] | null;
}

export interface Expectation {
  readonly kind: 'ordered' | 'fail' | 'warn' | 'no_warn' | 'info' | 'no_info';
  readonly match: ((message: string) => boolean) | null;
  readonly text: string;
}

export interface Eval {
  readonly kind: 'eval';
  readonly line: number;
  readonly expr: string;
  readonly at: { readonly startMs: number; readonly endMs: number; readonly stepMs: number; readonly instant: boolean };
  readonly expectations: readonly Expectation[];
  readonly series: readonly SeriesDescription[];
  readonly scalar: number | null;
  readonly string: string | null;
  readonly rangeVector: { readonly startMs: number; readonly stepMs: number } | null;
}

export type Command = { readonly kind: 'clear'; readonly line: number } | Load | Eval;

export function parseScript(text: string): Command[] {
  const lines = text.split('\n').map((line) => (line.trim().startsWith('#') ? '' : line.trim()));
  const commands: Command[] = [];
  for (let i = 0; i < lines.length; ) {
    const line = lines[i]!;
    if (line === '') {
      i++;
      continue;
    }
    let end = i + 1;
    while (end < lines.length && lines[end] !== '') end++;
    if (line === 'clear') {
      commands.push({ kind: 'clear', line: i + 1 });
      i++;
    } else if (line.startsWith('load')) {
      commands.push(parseLoad(lines, i, end));
      i = end;
    } else {
      const { command, next } = parseEval(lines, i, end);
      commands.push(command);
      i = next;
    }
  }
  return commands;
}

function parseLoad(lines: readonly string[], at: number, end: number): Load {
  const match = /^load(_with_nhcb)?\s+(\S+)$/.exec(lines[at]!);
  if (match === null) throw new Error(`line ${at + 1}: cannot parse ${lines[at]}`);
  const series: LoadedSeries[] = [];
  for (let i = at + 1; i < end; i++) {
    const line = lines[i]!;
    const behind = metricEnd(line);
    const labels = (): Labels => parseMetric(line.slice(0, behind));
    const starts = /^\s*@st\s+(.*)$/.exec(line.slice(behind));
    if (starts !== null) series.push({ labels: labels(), items: [], startOffsetsMs: parseStarts(starts[1]!) });
    else series.push({ ...parseSeriesDescription(line), startOffsetsMs: null });
  }
  return {
    kind: 'load',
    line: at + 1,
    stepMs: parseDuration(match[2]!),
    customBuckets: match[1] !== undefined,
    series,
  };
}

const START_GAP = /^_(?:x(\d+))?$/;
const START = /^([+-]?[^+\-x]+)(?:([+-])([^+\-x]+))?(?:x(\d+))?$/;

function parseStarts(text: string): (number | null)[] {
  return text
    .trim()
    .split(/\s+/)
    .flatMap((token): (number | null)[] => {
      const gap = START_GAP.exec(token);
      if (gap !== null) return new Array(Number(gap[1] ?? 1)).fill(null);
      const match = START.exec(token);
      if (match === null) throw new Error(`cannot parse start timestamp: ${token}`);
      const step = match[3] === undefined ? 0 : parseTime(`${match[2] === '-' ? '-' : ''}${match[3]}`);
      const first = parseTime(match[1]!);
      return Array.from({ length: Number(match[4] ?? 0) + 1 }, (_, i) => first + i * step);
    });
}

const INSTANT = /^eval(_fail|_warn|_info|_ordered)?\s+instant\s+at\s+(\S+)\s+(.+)$/;
const RANGE = /^eval(_fail|_warn|_info)?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$/;

function parseEval(lines: readonly string[], at: number, end: number): { command: Eval; next: number } {
  const line = lines[at]!;
  const instant = INSTANT.exec(line);
  const range = RANGE.exec(line);
  const mode = (instant ?? range)?.[1]?.slice(1) as Expectation['kind'] | undefined;
  const head = instant !== null ? instantHead(instant) : range !== null ? rangeHead(range) : null;
  if (head === null) throw new Error(`line ${at + 1}: cannot parse ${line}`);
  const body = parseBody(lines, at + 1, end);
  const expectations =
    mode === undefined ? body.expectations : [{ kind: mode, match: null, text: '' }, ...body.expectations];
  return { command: { kind: 'eval', line: at + 1, ...head, ...body, expectations }, next: body.next };
}

function instantHead(match: RegExpExecArray): Pick<Eval, 'expr' | 'at'> {
  const timeMs = parseTime(match[2]!);
  return { expr: match[3]!, at: { startMs: timeMs, endMs: timeMs, stepMs: 0, instant: true } };
}

function rangeHead(match: RegExpExecArray): Pick<Eval, 'expr' | 'at'> {
  const [, , from, to, step, expr] = match as unknown as [string, string, string, string, string, string];
  return { expr, at: { startMs: parseTime(from), endMs: parseTime(to), stepMs: parseTime(step), instant: false } };
}

function parseTime(text: string): number {
  const duration = text.replace(/^[+-]/, '');
  const ms = duration === '0' ? 0 : parseDuration(duration);
  return text.startsWith('-') ? -ms : ms;
}

interface Body {
  expectations: Expectation[];
  series: SeriesDescription[];
  scalar: number | null;
  string: string | null;
  rangeVector: { startMs: number; stepMs: number } | null;
  next: number;
}

function parseBody(lines: readonly string[], at: number, end: number): Body {
  const body: Body = { expectations: [], series: [], scalar: null, string: null, rangeVector: null, next: end };
  for (let i = at; i < end; i++) {
    const line = lines[i]!;
    if (line.startsWith('expect ')) parseExpect(line, body);
    else if (line.startsWith('expected_fail_')) {
      body.expectations.push(
        expectation('fail', line.startsWith('expected_fail_message') ? 'msg' : 'regex', line.replace(/^\S+\s+/, '')),
      );
      body.next = i + 1;
      break;
    } else if (/^[+-]?(\d|\.\d|inf$|nan$)/i.test(line) && !/\s/.test(line)) {
      body.scalar = parseNumber(line);
      body.next = i + 1;
      break;
    } else body.series.push(parseSeriesDescription(line));
  }
  return body;
}

function parseExpect(line: string, body: Body): void {
  const range = /^expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)$/.exec(line);
  const text = /^expect\s+string\s+(.+)$/.exec(line);
  if (range !== null) body.rangeVector = { startMs: parseTime(range[1]!), stepMs: parseTime(range[3]!) };
  else if (text !== null) body.string = unquote(text[1]!);
  else {
    const match = /^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(msg|regex):\s*(.*))?$/.exec(line);
    if (match === null) throw new Error(`cannot parse ${line}`);
    body.expectations.push(
      expectation(match[1] as Expectation['kind'], match[2] as 'msg' | 'regex' | undefined, match[3] ?? ''),
    );
  }
}

function expectation(kind: Expectation['kind'], how: 'msg' | 'regex' | undefined, text: string): Expectation {
  if (how === undefined) return { kind, match: null, text: '' };
  if (how === 'msg') return { kind, match: (message) => message === text, text };
  const regex = new RegExp(text);
  return { kind, match: (message) => regex.test(message), text };
}

export type { Item };
