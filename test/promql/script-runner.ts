/**
 * Runs commands of the test language over the real head and engine.
 *
 * Each instant evaluation is run again at other times with `@`, and each of those again as a range query, as Prometheus'
 * own runner does.
 */
import { type Buckets, encodeHistogram } from '../../src/model/histogram.ts';
import { type Labels, labelsKey } from '../../src/model/labels.ts';
import { float64High, float64Low, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { labelsString } from '../../src/promql/eval/matching.ts';
import { TIME_DEPENDENT } from '../../src/promql/functions/table.ts';
import { compact, indexesOf } from '../../src/promql/histogram/buckets.ts';
import { sameBounds } from '../../src/promql/histogram/layout.ts';
import { histogramText } from '../../src/promql/histogram/text.ts';
import type { MatrixResult, QueryResult, VectorResult } from '../../src/promql/result.ts';
import { children, type Expr, unparen } from '../../src/promql/syntax/ast.ts';
import { tryParseExpr } from '../../src/promql/syntax/parse.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import type { HeadReader, HeadWriter } from '../../src/tsdb/head.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { PlainHead } from '../support/plain-head.ts';
import { customBucketSeries } from './custom-buckets.ts';
import type { HistogramDescription } from './histogram-description.ts';
import { type Eval, type Expectation, type Load, type LoadedSeries, parseScript } from './script.ts';
import type { Item, SeriesDescription } from './series-description.ts';

export interface CaseResult {
  readonly file: string;
  readonly line: number;
  readonly expr: string;
  readonly outcome: 'passed' | 'failed';
  /** Why it failed. */
  readonly reason: string;
}

const FEATURES = {
  experimentalFunctions: true,
  durationExpressions: true,
  extendedRangeSelectors: true,
  fillModifiers: true,
};
const YEARS_MS = 1e15;

/** A head without series, whose clock stands still. */
export type NewHead = () => HeadReader & HeadWriter;

const CLOCK = { nowMs: () => 0, monotonicMs: () => 0 };
const WITHOUT_BOUNDS = {
  clock: CLOCK,
  retentionMs: YEARS_MS,
  outOfOrderMsMax: YEARS_MS,
  futureMsMax: YEARS_MS,
  seriesMax: 10_000,
};

/** The store as the daemon has it, in a small memory: a file of the corpus begins anew dozens of times. */
export function newKernelHead(): HeadReader & HeadWriter {
  return new KernelHead({ ...WITHOUT_BOUNDS, bodyBytesMax: 2 ** 20, memoryBytes: 64 * 2 ** 20 });
}

/** The tests' model of the store. */
export function newPlainHead(): HeadReader & HeadWriter {
  return new PlainHead(WITHOUT_BOUNDS);
}

export class ScriptRunner {
  readonly #file: string;
  readonly #newHead: NewHead;
  #head!: HeadReader & HeadWriter;
  #engine!: QueryEngine;
  readonly results: CaseResult[] = [];

  constructor(file: string, newHead: NewHead = newKernelHead) {
    this.#file = file;
    this.#newHead = newHead;
    this.#clear();
  }

  async run(text: string): Promise<readonly CaseResult[]> {
    for (const command of parseScript(text)) {
      if (command.kind === 'clear') this.#clear();
      else if (command.kind === 'load') this.#load(command);
      else this.results.push(await this.#evaluate(command));
    }
    return this.results;
  }

  #clear(): void {
    this.#head = this.#newHead();
    this.#engine = new QueryEngine({
      head: this.#head,
      clock: CLOCK,
      registry: new Registry(),
      lookbackMs: 300_000,
      delayedNameRemoval: true,
      experimental: { ...FEATURES, typeAndUnitLabels: true, startTimestamps: true },
    });
  }

  #load({ series, stepMs, customBuckets }: Load): void {
    // Of a series that is described twice in one load the last description counts.
    const key = ({ labels, startOffsetsMs }: LoadedSeries): string =>
      `${startOffsetsMs === null ? 'samples' : 'starts'} ${labelsKey(labels)}`;
    const last = new Map(series.map((one) => [key(one), one] as const));
    for (const { labels, items, startOffsetsMs } of last.values()) {
      if (startOffsetsMs !== null) continue;
      const starts = last.get(key({ labels, items, startOffsetsMs: [] }))?.startOffsetsMs ?? [];
      this.#append(labels, items, stepMs, starts);
    }
    if (!customBuckets) return;
    for (const { labels, items } of customBucketSeries([...last.values()])) this.#append(labels, items, stepMs, []);
  }

  #append(labels: Labels, items: readonly Item[], stepMs: number, starts: readonly (number | null)[]): void {
    const ref = this.#head.series(labels);
    for (const [k, item] of items.entries()) {
      const timeMs = k * stepMs;
      const offsetMs = starts[k] ?? null;
      const startMs = offsetMs === null ? 0 : timeMs + offsetMs;
      if (item === 'stale') this.#head.append(ref, timeMs, STALE_NAN_LOW, STALE_NAN_HIGH, startMs);
      else if (typeof item === 'number') this.#head.append(ref, timeMs, float64Low(item), float64High(item), startMs);
      else if (item !== null) this.#head.appendHistogram(ref, timeMs, encodeHistogram(item.histogram), startMs);
    }
  }

  async #evaluate(command: Eval): Promise<CaseResult> {
    const at = { file: this.#file, line: command.line, expr: command.expr };
    try {
      const reason = await this.#check(command);
      return { ...at, outcome: reason === null ? 'passed' : 'failed', reason: reason ?? '' };
    } catch (error) {
      return {
        ...at,
        outcome: 'failed',
        reason: error instanceof Error ? (error.stack ?? error.message) : String(error),
      };
    }
  }

  async #check(command: Eval): Promise<string | null> {
    const { at, expr } = command;
    const first = await this.#ask(expr, at);
    const reason = compare(command, first, null);
    if (reason !== null || !at.instant) return reason;
    for (const again of atModifierCases(expr, at.startMs)) {
      const asked = await this.#ask(again.expr, {
        startMs: again.timeMs,
        endMs: again.timeMs,
        stepMs: 0,
        instant: true,
      });
      const why = compare(command, asked, again);
      if (why !== null) return `again as ${again.expr} at ${again.timeMs} ms: ${why}`;
      if (!again.asRange || command.rangeVector !== null || command.string !== null || isOrdered(command)) continue;
      const range = { startMs: again.timeMs - 60_000, endMs: again.timeMs + 60_000, stepMs: 60_000, instant: false };
      const middle = await this.#ask(again.expr, range);
      const whyRange = compare(command, middle, { ...again, middleMs: again.timeMs });
      if (whyRange !== null) return `again as range query ${again.expr} around ${again.timeMs} ms: ${whyRange}`;
    }
    return null;
  }

  async #ask(text: string, at: Eval['at']): Promise<QueryResult | Error> {
    try {
      if (at.instant) return await this.#engine.instant({ text, timeMs: at.startMs, scope: null });
      return await this.#engine.range({ text, startMs: at.startMs, endMs: at.endMs, stepMs: at.stepMs, scope: null });
    } catch (error) {
      if (error instanceof Error && error.name === 'CodedError') return error;
      throw error;
    }
  }
}

function isOrdered(command: Eval): boolean {
  return command.expectations.some(({ kind }) => kind === 'ordered');
}

function usesFunction(expr: Expr, name: string): boolean {
  return (expr.kind === 'call' && expr.name === name) || children(expr).some((child) => usesFunction(child, name));
}

// ── The same question at other times ────────────────────────────────────────────────────────────────────────────────

interface Again {
  readonly expr: string;
  readonly timeMs: number;
  readonly asRange: boolean;
  /** The step of a range query that is compared. */
  readonly middleMs?: number;
}

const NOT_AS_RANGE = ['start', 'end', 'step', 'range'];

function atModifierCases(text: string, timeMs: number): Again[] {
  const { node } = tryParseExpr(text, { features: FEATURES, depthMax: 128 });
  if (node === null || [...TIME_DEPENDENT].some((name) => usesFunction(node, name))) return [];
  const ends: number[] = [];
  findOutermost(node, ends);
  const bytes = Buffer.from(text);
  let expr = '';
  let from = 0;
  for (const end of ends.sort((a, b) => a - b)) {
    expr += `${bytes.subarray(from, end)} @ ${(timeMs / 1000).toFixed(3)}`;
    from = end;
  }
  expr += bytes.subarray(from).toString();
  const asRange = !usesQueryTimes(node, text);
  const times = timeMs === 0 ? [-1000, 0, 1000] : [-10 * timeMs, 0, timeMs / 5, timeMs, 10 * timeMs];
  return times.map((time) => ({ expr, timeMs: Math.trunc(time), asRange }));
}

/** Ends of the selectors and subqueries that take an `@`: those inside of a subquery are left alone. */
function findOutermost(expr: Expr, ends: number[]): void {
  if (expr.kind === 'matrix') {
    if (expr.selector.at === null) ends.push(expr.end);
  } else if (expr.kind === 'selector' || expr.kind === 'subquery') {
    if (expr.at === null) ends.push(expr.end);
  } else for (const child of children(expr)) findOutermost(child, ends);
}

function usesQueryTimes(expr: Expr, text: string): boolean {
  if (NOT_AS_RANGE.some((name) => usesFunction(expr, name))) return true;
  return /\b(start|end|step|range)\s*\(\s*\)/i.test(text) || unparen(expr).kind === 'matrix';
}

// ── Comparison ──────────────────────────────────────────────────────────────────────────────────────────────────────

function compare(command: Eval, got: QueryResult | Error, again: Again | null): string | null {
  const wantsFail = command.expectations.filter(({ kind }) => kind === 'fail');
  if (got instanceof Error) {
    if (wantsFail.length === 0) return `got error: ${got.message}`;
    const match = wantsFail.find(({ match }) => match !== null)?.match;
    return match === undefined || match === null || match(got.message)
      ? null
      : `got error: ${got.message}, want: ${wantsFail.map(({ text }) => text).join()}`;
  }
  if (wantsFail.length > 0) return 'got a result, want an error';
  const notes = compareNotes(command, got, again);
  if (notes !== null) return notes;
  return compareValue(command, got, again?.middleMs ?? null);
}

function compareNotes({ expectations }: Eval, got: QueryResult, again: Again | null): string | null {
  for (const [kind, notes] of [
    ['warn', got.warnings],
    ['info', got.infos],
  ] as const) {
    if (expectations.some((one) => one.kind === `no_${kind}`) && notes.length > 0)
      return `got ${kind}: ${notes.join('; ')}, want none`;
    const wanted = expectations.filter((one) => one.kind === kind);
    if (wanted.length === 0) continue;
    if (notes.length === 0) return `got no ${kind}, want one`;
    // Positions move when an `@` is put in.
    if (again === null) {
      const reason = compareMessages(wanted, notes);
      if (reason !== null) return reason;
    }
  }
  return null;
}

function compareMessages(wanted: readonly Expectation[], notes: readonly string[]): string | null {
  const matches = (one: Expectation, note: string): boolean => one.match === null || one.match(note);
  const unexpected = notes.find((note) => !wanted.some((one) => matches(one, note)));
  if (unexpected !== undefined) return `got ${unexpected}, want ${wanted.map(({ text }) => text).join('; ')}`;
  const missing = wanted.find((one) => !notes.some((note) => matches(one, note)));
  return missing === undefined ? null : `got ${notes.join('; ')}, want ${missing.text}`;
}

function compareValue(command: Eval, { value }: QueryResult, middleMs: number | null): string | null {
  if (command.string !== null)
    return value.kind === 'string' && value.value === command.string ? null : `got ${JSON.stringify(value)}`;
  if (command.scalar !== null) {
    const got =
      value.kind === 'scalar' ? value.value : value.kind === 'matrix' ? value.series[0]?.values[1] : undefined;
    return got !== undefined && closeTo(got, command.scalar) ? null : `got ${got}, want ${command.scalar}`;
  }
  if (value.kind === 'scalar') {
    // A series line may describe a scalar as well.
    return `got scalar ${value.value}, want ${command.series.length} series`;
  }
  if (value.kind === 'string') return `got string ${value.value}`;
  const got = value.kind === 'vector' ? vectorPoints(value) : matrixPoints(value, middleMs);
  const want = wantedPoints(command, middleMs);
  if (isOrdered(command) || (!command.at.instant && command.rangeVector === null)) {
    const orderReason = compareOrder(command, got);
    if (orderReason !== null) return orderReason;
  }
  return comparePoints(got, want);
}

/** What a test says of a point: a float, or a histogram whose hint counts only if it is given. */
type Point = number | HistogramDescription;

interface Points {
  readonly labels: Labels;
  readonly byTime: Map<number, Point>;
}

function vectorPoints({ labels, values, histograms }: VectorResult): Points[] {
  return labels.map((own, i) => {
    const histogram = histograms?.[i] ?? null;
    return { labels: own, byTime: new Map([[0, histogram === null ? values[i]! : { histogram, hasHint: true }]]) };
  });
}

function matrixPoints(value: MatrixResult, middleMs: number | null): Points[] {
  const all = value.series.map(({ labels, timesMs, values, histograms }) => {
    const points: [number, Point][] = [...timesMs].map((timeMs, i) => [timeMs, values[i]!]);
    for (const [i, timeMs] of (histograms?.timesMs ?? []).entries())
      points.push([timeMs, { histogram: histograms!.values[i]!, hasHint: true }]);
    const kept: [number, Point][] = middleMs === null ? points : points.filter(([timeMs]) => timeMs === middleMs);
    return { labels, byTime: new Map(kept.map(([timeMs, point]) => [middleMs === null ? timeMs : 0, point])) };
  });
  return all.filter(({ byTime }) => byTime.size > 0);
}

function wantedPoints(command: Eval, middleMs: number | null): Points[] {
  const { startMs, stepMs } = command.rangeVector ?? command.at;
  const single = command.rangeVector === null && (command.at.instant || middleMs !== null);
  const all = command.series.map(({ labels, items }: SeriesDescription) => {
    const byTime = new Map<number, Point>();
    for (const [k, item] of items.entries())
      if (item !== null && item !== 'stale') byTime.set(single ? 0 : startMs + k * stepMs, item);
    return { labels, byTime };
  });
  return all.filter(({ byTime }) => byTime.size > 0);
}

function compareOrder(command: Eval, got: readonly Points[]): string | null {
  const names = got.map(({ labels }) => labelsString(labels));
  if (!command.at.instant) return null;
  const want = command.series.map(({ labels }) => labelsString(labels));
  return names.join() === want.join() ? null : `got order ${names.join(' ')}, want ${want.join(' ')}`;
}

function comparePoints(got: readonly Points[], want: readonly Points[]): string | null {
  const byKey = new Map(got.map((points) => [labelsKey(points.labels), points] as const));
  if (byKey.size !== got.length)
    return `got the same labels twice: ${got.map(({ labels }) => labelsString(labels)).join(' ')}`;
  for (const { labels, byTime } of want) {
    const points = byKey.get(labelsKey(labels));
    if (points === undefined) return `got no ${labelsString(labels)}, only ${got.map(describe).join('; ')}`;
    byKey.delete(labelsKey(labels));
    const reason = compareTimes(points.byTime, byTime);
    if (reason !== null) return `${labelsString(labels)}: ${reason}`;
  }
  return byKey.size === 0 ? null : `got unexpected ${[...byKey.values()].map(describe).join('; ')}`;
}

function describe({ labels, byTime }: Points): string {
  return `${labelsString(labels)} ${[...byTime].map(([time, value]) => `${pointText(value)}@${time}`).join(' ')}`;
}

function pointText(point: Point | undefined): string {
  if (point === undefined || typeof point === 'number') return String(point);
  const { schema, hint, zeroThreshold, customValues } = point.histogram;
  const hintText = point.hasHint ? ` hint ${hint}` : '';
  return `${histogramText(point.histogram)} schema ${schema} zero ${zeroThreshold} bounds [${customValues}]${hintText}`;
}

function compareTimes(got: Map<number, Point>, want: Map<number, Point>): string | null {
  for (const [timeMs, value] of want) {
    const own = got.get(timeMs);
    if (own === undefined || !samePoint(own, value))
      return `got ${pointText(own)} at ${timeMs} ms, want ${pointText(value)}`;
  }
  const extra = [...got.keys()].find((timeMs) => !want.has(timeMs));
  return extra === undefined ? null : `got ${pointText(got.get(extra))} at ${extra} ms, want nothing`;
}

function samePoint(got: Point, want: Point): boolean {
  if (typeof got === 'number' || typeof want === 'number')
    return typeof got === 'number' && typeof want === 'number' && closeTo(got, want);
  const a = compact(got.histogram);
  const b = compact(want.histogram);
  return (
    a.schema === b.schema &&
    (!want.hasHint || a.hint === b.hint) &&
    closeTo(a.count, b.count) &&
    closeTo(a.sum, b.sum) &&
    closeTo(a.zeroThreshold, b.zeroThreshold) &&
    closeTo(a.zeroCount, b.zeroCount) &&
    sameBounds(a.customValues, b.customValues) &&
    sameBuckets(a.positive, b.positive) &&
    sameBuckets(a.negative, b.negative)
  );
}

function sameBuckets(a: Buckets, b: Buckets): boolean {
  return (
    a.counts.length === b.counts.length &&
    indexesOf(a).join() === indexesOf(b).join() &&
    a.counts.every((count, i) => closeTo(count, b.counts[i]!))
  );
}

/** Prometheus' own tolerance: relative to the sum, exact where one is 0. */
export function closeTo(a: number, b: number): boolean {
  if (Number.isNaN(a) && Number.isNaN(b)) return true;
  if (a === b) return true;
  if (a === 0 || b === 0 || !Number.isFinite(a) || !Number.isFinite(b)) return false;
  return Math.abs(a - b) / (Math.abs(a) + Math.abs(b)) < 1e-6;
}
