/**
 * info(v, {selector}): lends the data labels of info series to the series that share job and instance with them
 * (reference section 8.7).
 *
 * Which info series counts at a step is the one with the newest sample, so the rows depend on samples: both sides are
 * read while the call is bound, and what comes out is a finished vector.
 */
import { CodedError } from '../../model/errors.ts';
import { type Labels, labelsKey, labelValue, METRIC_NAME } from '../../model/labels.ts';
import { compileMatcher, type Matcher, matchesEmpty } from '../../model/matcher.ts';
import { durationMs } from '../plan/durations.ts';
import { type Call, children, type Expr, type SubqueryExpr, unparen, type VectorSelector } from '../syntax/ast.ts';
import {
  ABSENT,
  type Column,
  FLOAT,
  type Frame,
  type Grid,
  HISTOGRAM,
  newColumn,
  newFrame,
  putHistogram,
  setRow,
} from './column.ts';
import { labelsString, withLabel } from './matching.ts';
import { rowsOf } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { bindSelector, durationContext } from './select.ts';
import { type BoundVector, collect, streamFrame } from './vector.ts';

const IDENTIFYING = ['instance', 'job'];

interface Wanted {
  readonly nameMatchers: readonly Matcher[];
  readonly dataMatchers: readonly Matcher[];
}

export function* bindInfo(run: Run, call: Call, base: BoundVector): Slices<BoundVector> {
  const wanted = wantedOf(call);
  const info = yield* bindSelector(run, base.grid, infoSelector(run, call, base.grid, wanted), 'time');
  const baseFrame = yield* collect(run, base);
  const infoFrame = yield* collect(run, info);
  const isInfo = infoTest(call, wanted);
  const bySignature = rowsBySignature(info);
  const out = new Output(base.grid);
  for (let row = 0; row < base.rows.count; row++) {
    const labels = base.rows.labels(row);
    const signature = signatureOf(labels);
    const candidates = isInfo(labels) || signature === '' ? null : (bySignature.get(signature) ?? []);
    for (let k = 0; k < baseFrame.steps; k++) {
      if (baseFrame.present[row * baseFrame.steps + k] === ABSENT) continue;
      const enriched = candidates === null ? labels : enrich(labels, candidates, info, infoFrame, k, wanted);
      if (enriched !== null) out.put(enriched, base.rows.marked(row), k, baseFrame, row * baseFrame.steps + k);
    }
    if (run.work(baseFrame.steps)) yield;
  }
  return out.vector();
}

function wantedOf(call: Call): Wanted {
  const selector = call.args[1] === undefined ? null : unparen(call.args[1]);
  const matchers = selector?.kind === 'selector' ? selector.matchers : [];
  const nameMatchers = matchers.filter(({ name }) => name === METRIC_NAME);
  const dataMatchers = matchers.filter(({ name }) => name !== METRIC_NAME);
  return {
    nameMatchers: nameMatchers.length > 0 ? nameMatchers : [{ type: '=', name: METRIC_NAME, value: 'target_info' }],
    dataMatchers,
  };
}

/** Series that are themselves info series of this call are left as they are. */
function infoTest(call: Call, { nameMatchers }: Wanted): (labels: Labels) => boolean {
  const positive = call.args.length < 2 || nameMatchers.some(({ type }) => type === '=' || type === '=~');
  if (!positive)
    return (labels) => labelValue(labels, METRIC_NAME).endsWith('_info') && matchesAll(nameMatchers)(labels);
  return matchesAll(nameMatchers);
}

function matchesAll(matchers: readonly Matcher[]): (labels: Labels) => boolean {
  const predicates = matchers.map((matcher) => ({ name: matcher.name, holds: compileMatcher(matcher) }));
  return (labels) => predicates.every(({ name, holds }) => holds(labelValue(labels, name)));
}

/** The implicit selector: name and data matchers, at the time that the first selector of the argument reads. */
function infoSelector(run: Run, call: Call, grid: Grid, { nameMatchers, dataMatchers }: Wanted): VectorSelector {
  const negativeOnly = nameMatchers.every(({ type }) => type === '!=' || type === '!~');
  const names: readonly Matcher[] = negativeOnly
    ? [...nameMatchers, { type: '=~', name: METRIC_NAME, value: '.+_info' }]
    : nameMatchers;
  const { atMs, offsetMs } = referenceTime(run, call.args[0]!, grid);
  return {
    kind: 'selector',
    name: null,
    matchers: [...names, ...dataMatchers],
    offset: { kind: 'duration-number', seconds: offsetMs / 1000, isDuration: true, start: 0, end: 0 },
    at: atMs === null ? null : { kind: 'time', timeMs: atMs },
    edges: null,
    start: call.start,
    end: call.end,
  };
}

/** The modifiers on the way to the first selector, put together. */
function referenceTime(run: Run, arg: Expr, _grid: Grid): { atMs: number | null; offsetMs: number } {
  let atMs: number | null = null;
  let offsetMs = 0;
  for (const node of pathToSelector(arg)) {
    const at = node.at;
    if (at !== null) {
      atMs = at.kind === 'time' ? at.timeMs : at.kind === 'start' ? run.options.startMs : run.options.endMs;
      offsetMs = 0;
    }
    offsetMs += durationMs(node.offset, durationContext(run));
  }
  return { atMs, offsetMs };
}

function pathToSelector(expr: Expr): (VectorSelector | SubqueryExpr)[] {
  if (expr.kind === 'selector') return [expr];
  for (const child of children(expr)) {
    const path = pathToSelector(child);
    if (path.length > 0) return expr.kind === 'subquery' ? [expr, ...path] : path;
  }
  return [];
}

function signatureOf(labels: Labels): string {
  const parts = IDENTIFYING.map((name) => labelValue(labels, name));
  return parts.every((part) => part === '') ? '' : parts.join('\uffff');
}

function rowsBySignature(info: BoundVector): Map<string, number[]> {
  const bySignature = new Map<string, number[]>();
  for (let row = 0; row < info.rows.count; row++) {
    const signature = signatureOf(info.rows.labels(row));
    const rows = bySignature.get(signature);
    if (rows === undefined) bySignature.set(signature, [row]);
    else rows.push(row);
  }
  return bySignature;
}

/** The labels with what the info series at step k lend, or null if the series is to be dropped. */
function enrich(
  labels: Labels,
  candidates: readonly number[],
  info: BoundVector,
  frame: Frame,
  k: number,
  wanted: Wanted,
): Labels | null {
  const chosen = newestByMetric(candidates, info, frame, k);
  if (chosen.length === 0) return wanted.dataMatchers.every(matchesEmpty) ? labels : null;
  const names = wanted.dataMatchers.length === 0 ? null : new Set(wanted.dataMatchers.map(({ name }) => name));
  const lent = new Map<string, string>();
  for (const row of chosen) lend(info.rows.labels(row), names, lent);
  let enriched = labels;
  for (const [name, value] of lent) if (labelValue(labels, name) === '') enriched = withLabel(enriched, name, value);
  return enriched;
}

function lend(info: Labels, names: ReadonlySet<string> | null, lent: Map<string, string>): void {
  for (let i = 0; i < info.length; i += 2) {
    const name = info[i]!;
    if (name === METRIC_NAME || IDENTIFYING.includes(name) || (names !== null && !names.has(name))) continue;
    const known = lent.get(name);
    if (known !== undefined && known !== info[i + 1])
      throw new CodedError('query_failed', `conflicting label: ${name}`);
    lent.set(name, info[i + 1]!);
  }
}

/** Of each info metric the row with the newest sample; two of the same age are an error. */
function newestByMetric(candidates: readonly number[], info: BoundVector, frame: Frame, k: number): number[] {
  const byName = new Map<string, number>();
  const timeMs = (row: number): number => Math.round(frame.values[row * frame.steps + k]! * 1000);
  for (const row of candidates) {
    if (frame.present[row * frame.steps + k] !== FLOAT) continue;
    const name = labelValue(info.rows.labels(row), METRIC_NAME);
    const known = byName.get(name);
    if (known !== undefined && timeMs(known) === timeMs(row)) throw duplicateInfo(info, known, row, timeMs);
    if (known === undefined || timeMs(known) < timeMs(row)) byName.set(name, row);
  }
  return [...byName.values()];
}

function duplicateInfo(info: BoundVector, a: number, b: number, timeMs: (row: number) => number): CodedError {
  const text = (row: number): string => `${labelsString(info.rows.labels(row))} @ ${timeMs(row)}`;
  return new CodedError('query_failed', `found duplicate series for info metric: existing ${text(a)}, new ${text(b)}`);
}

/** Rows that come up while points are put. */
class Output {
  readonly #grid: Grid;
  readonly #byKey = new Map<string, number>();
  readonly #labels: Labels[] = [];
  readonly #marks: boolean[] = [];
  readonly #columns: Column[] = [];

  constructor(grid: Grid) {
    this.#grid = grid;
  }

  put(labels: Labels, marked: boolean, k: number, from: Frame, slot: number): void {
    const key = `${marked ? 1 : 0}${labelsKey(labels)}`;
    let row = this.#byKey.get(key);
    if (row === undefined) {
      row = this.#labels.length;
      this.#byKey.set(key, row);
      this.#labels.push(labels);
      this.#marks.push(marked);
      this.#columns.push(newColumn(this.#grid.count));
    }
    const column = this.#columns[row]!;
    if (from.present[slot] === HISTOGRAM) putHistogram(column, k, from.histograms![slot]!);
    else {
      column.values[k] = from.values[slot]!;
      column.present[k] = FLOAT;
    }
  }

  vector(): BoundVector {
    const frame = newFrame(this.#labels.length, this.#grid.count);
    for (const [row, column] of this.#columns.entries()) setRow(frame, row, column);
    return {
      grid: this.#grid,
      rows: rowsOf(this.#labels, this.#marks),
      stream: (run, visit) => streamFrame(run, frame, visit),
    };
  }
}
