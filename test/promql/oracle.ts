/**
 * The oracle: a small evaluator of PromQL as the language's description reads, one step and one sample at a time. No
 * columns, no plans, nothing kept from one step to the next; what is fast is compared with it. Floats only.
 */
import { compileMatcher } from '../../src/model/matcher.ts';
import {
  type AggregateExpr,
  type AtModifier,
  type BinaryExpr,
  type Call,
  type DurationExpr,
  type Expr,
  type MatrixSelector,
  type SubqueryExpr,
  unparen,
  type VectorSelector,
} from '../../src/promql/syntax/ast.ts';

export type OracleLabels = Readonly<Record<string, string>>;

export interface OracleSeries {
  readonly labels: OracleLabels;
  /** Ascending in time. */
  readonly samples: readonly { readonly timeMs: number; readonly value: number | 'stale' }[];
}

interface Element {
  readonly labels: OracleLabels;
  readonly value: number;
}

interface Points {
  readonly labels: OracleLabels;
  readonly points: readonly (readonly [timeMs: number, value: number])[];
}

export interface OracleWorld {
  readonly series: readonly OracleSeries[];
  readonly lookbackMs: number;
  readonly subqueryStepMs: number;
  /** Ends of the query. */
  readonly startMs: number;
  readonly endMs: number;
  /** First and last time of what is evaluated: the query's own steps, or the grid of the subquery around it. */
  readonly firstMs: number;
  readonly lastMs: number;
}

/** What the language calls an error of the evaluation. */
export class OracleError extends Error {}

export function evaluate(world: OracleWorld, expr: Expr, timeMs: number): number | Element[] {
  switch (expr.kind) {
    case 'paren':
      return evaluate(world, expr.expr, timeMs);
    case 'number':
      return expr.value;
    case 'selector':
      return instant(world, expr, timeMs);
    case 'unary': {
      const value = evaluate(world, expr.expr, timeMs);
      if (expr.op === '+') return value;
      return typeof value === 'number' ? -value : distinct(value.map((one) => unnamed(one, -one.value)));
    }
    case 'binary':
      return binary(world, expr, timeMs);
    case 'aggregate':
      return aggregate(
        expr,
        vectorOf(world, expr.expr, timeMs),
        expr.param === null ? 0 : scalarOf(world, expr.param, timeMs),
      );
    case 'call':
      return call(world, expr, timeMs);
    default:
      throw new Error(`the oracle knows no ${expr.kind}`);
  }
}

function vectorOf(world: OracleWorld, expr: Expr, timeMs: number): Element[] {
  return evaluate(world, expr, timeMs) as Element[];
}

function scalarOf(world: OracleWorld, expr: Expr, timeMs: number): number {
  return evaluate(world, expr, timeMs) as number;
}

// ── Selection ───────────────────────────────────────────────────────────────────────────────────────────────────────

function movedTo(world: OracleWorld, timeMs: number, at: AtModifier | null, offset: DurationExpr | null): number {
  const base =
    at === null ? timeMs : at.kind === 'time' ? at.timeMs : at.kind === 'start' ? world.startMs : world.endMs;
  return base - msOf(offset);
}

function msOf(duration: DurationExpr | null): number {
  if (duration === null) return 0;
  if (duration.kind === 'duration-number') return duration.seconds * 1000;
  if (duration.kind === 'duration-negation') return -msOf(duration.operand);
  throw new Error(`the oracle knows no ${duration.kind}`);
}

function matching(world: OracleWorld, { matchers }: VectorSelector): OracleSeries[] {
  const tests = matchers.map((matcher) => ({ name: matcher.name, holds: compileMatcher(matcher) }));
  return world.series.filter(({ labels }) => tests.every(({ name, holds }) => holds(labels[name] ?? '')));
}

function instant(world: OracleWorld, selector: VectorSelector, timeMs: number): Element[] {
  const end = movedTo(world, timeMs, selector.at, selector.offset);
  const found: Element[] = [];
  for (const { labels, samples } of matching(world, selector)) {
    const newest = samples.filter((one) => one.timeMs > end - world.lookbackMs && one.timeMs <= end).at(-1);
    if (newest !== undefined && newest.value !== 'stale') found.push({ labels, value: newest.value });
  }
  return found;
}

interface Windowed {
  readonly startMs: number;
  readonly endMs: number;
  readonly rows: readonly Points[];
}

function windowOf(world: OracleWorld, expr: Expr, timeMs: number): Windowed {
  const inner = unparen(expr);
  if (inner.kind === 'matrix') return rawWindow(world, inner, timeMs);
  return subqueryWindow(world, inner as SubqueryExpr, timeMs);
}

function rawWindow(world: OracleWorld, { selector, range }: MatrixSelector, timeMs: number): Windowed {
  const endMs = movedTo(world, timeMs, selector.at, selector.offset);
  const startMs = endMs - msOf(range);
  const rows: Points[] = [];
  for (const { labels, samples } of matching(world, selector)) {
    const points: [number, number][] = [];
    for (const { timeMs: at, value } of samples)
      if (at > startMs && at <= endMs && value !== 'stale') points.push([at, value]);
    if (points.length > 0) rows.push({ labels, points });
  }
  return { startMs, endMs, rows };
}

function subqueryWindow(world: OracleWorld, expr: SubqueryExpr, timeMs: number): Windowed {
  const endMs = movedTo(world, timeMs, expr.at, expr.offset);
  const startMs = endMs - msOf(expr.range);
  const stepMs = expr.step === null ? world.subqueryStepMs : msOf(expr.step);
  const rows = new Map<string, { labels: OracleLabels; points: [number, number][] }>();
  // The whole grid is evaluated once for all steps: what is an error between two windows is an error.
  const lastMs = movedTo(world, world.lastMs, expr.at, expr.offset);
  const firstMs =
    (Math.floor((movedTo(world, world.firstMs, expr.at, expr.offset) - msOf(expr.range)) / stepMs) + 1) * stepMs;
  const inner = { ...world, firstMs, lastMs };
  for (let at = firstMs; at <= lastMs; at += stepMs) {
    const elements = vectorOf(inner, expr.expr, at);
    if (at <= startMs || at > endMs) continue;
    for (const { labels, value } of elements) {
      const row = rows.get(keyOf(labels)) ?? { labels, points: [] };
      rows.set(keyOf(labels), row);
      row.points.push([at, value]);
    }
  }
  return { startMs, endMs, rows: [...rows.values()] };
}

// ── Functions ───────────────────────────────────────────────────────────────────────────────────────────────────────

type OverWindow = (values: readonly number[], window: Windowed, row: Points) => number | null;

const OVER_WINDOW: Readonly<Record<string, OverWindow>> = {
  rate: (_values, window, row) => extrapolated(window, row, true, true),
  increase: (_values, window, row) => extrapolated(window, row, true, false),
  delta: (_values, window, row) => extrapolated(window, row, false, false),
  irate: (values, _window, { points }) => {
    if (values.length < 2) return null;
    const [[t1, v1], [t2, v2]] = points.slice(-2) as [[number, number], [number, number]];
    return (v2 < v1 ? v2 : v2 - v1) / ((t2 - t1) / 1000);
  },
  idelta: (values) => (values.length < 2 ? null : values.at(-1)! - values.at(-2)!),
  changes: (values) => values.filter((v, i) => i > 0 && !Object.is(v, values[i - 1]) && v !== values[i - 1]).length,
  resets: (values) => values.filter((v, i) => i > 0 && v < values[i - 1]!).length,
  count_over_time: (values) => values.length,
  present_over_time: () => 1,
  last_over_time: (values) => values.at(-1)!,
  first_over_time: (values) => values[0]!,
  sum_over_time: (values) => values.reduce((a, b) => a + b, 0),
  avg_over_time: (values) => values.reduce((a, b) => a + b, 0) / values.length,
  min_over_time: (values) => least(values),
  max_over_time: (values) => -least(values.map((v) => -v)),
  stdvar_over_time: (values) => variance(values),
};

function extrapolated(window: Windowed, { points }: Points, isCounter: boolean, isRate: boolean): number | null {
  if (points.length < 2) return null;
  const [firstMs, first] = points[0]!;
  const [lastMs, last] = points.at(-1)!;
  let result = last - first;
  if (isCounter)
    for (let i = 1; i < points.length; i++) if (points[i]![1] < points[i - 1]![1]) result += points[i - 1]![1];
  const sampled = (lastMs - firstMs) / 1000;
  const average = sampled / (points.length - 1);
  let toStart = (firstMs - window.startMs) / 1000;
  let toEnd = (window.endMs - lastMs) / 1000;
  if (toStart >= average * 1.1) toStart = average / 2;
  if (isCounter && result > 0 && first >= 0) toStart = Math.min(toStart, sampled * (first / result));
  if (toEnd >= average * 1.1) toEnd = average / 2;
  const whole = result * ((sampled + toStart + toEnd) / sampled);
  return isRate ? whole / ((window.endMs - window.startMs) / 1000) : whole;
}

/** NaN only if there is nothing else. */
function least(values: readonly number[]): number {
  return values.reduce((a, b) => (b < a || Number.isNaN(a) ? b : a));
}

function variance(values: readonly number[]): number {
  if (!values.every(Number.isFinite)) return Number.NaN;
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
}

const OF_VALUE: Readonly<Record<string, (value: number, params: readonly number[]) => number>> = {
  abs: Math.abs,
  ceil: Math.ceil,
  floor: Math.floor,
  sgn: Math.sign,
  // Go's rules: an infinity wins over NaN where nothing can lie beyond it.
  clamp_min: (value, [min]) => (value === Infinity || min === Infinity ? Infinity : Math.max(value, min!)),
  clamp_max: (value, [max]) => (value === -Infinity || max === -Infinity ? -Infinity : Math.min(value, max!)),
};

function call(world: OracleWorld, { name, args }: Call, timeMs: number): number | Element[] {
  const overWindow = OVER_WINDOW[name];
  if (overWindow !== undefined) {
    const window = windowOf(world, args[0]!, timeMs);
    const keepsName = name === 'last_over_time' || name === 'first_over_time';
    const results: Element[] = [];
    for (const row of window.rows) {
      const value = overWindow(
        row.points.map(([, v]) => v),
        window,
        row,
      );
      if (value !== null) results.push(keepsName ? { labels: row.labels, value } : unnamed(row, value));
    }
    return distinct(results);
  }
  const ofValue = OF_VALUE[name];
  if (ofValue !== undefined) {
    const params = args.slice(1).map((arg) => scalarOf(world, arg, timeMs));
    return distinct(vectorOf(world, args[0]!, timeMs).map((one) => unnamed(one, ofValue(one.value, params))));
  }
  switch (name) {
    case 'time':
      return timeMs / 1000;
    case 'vector':
      return [{ labels: {}, value: scalarOf(world, args[0]!, timeMs) }];
    case 'scalar': {
      const vector = vectorOf(world, args[0]!, timeMs);
      return vector.length === 1 ? vector[0]!.value : Number.NaN;
    }
    default:
      throw new Error(`the oracle knows no ${name}()`);
  }
}

// ── Aggregation ─────────────────────────────────────────────────────────────────────────────────────────────────────

const OF_GROUP: Readonly<Record<string, (values: readonly number[], param: number) => number>> = {
  sum: (values) => values.reduce((a, b) => a + b, 0),
  avg: (values) => values.reduce((a, b) => a + b, 0) / values.length,
  min: least,
  max: (values) => -least(values.map((v) => -v)),
  count: (values) => values.length,
  group: () => 1,
  stdvar: variance,
  stddev: (values) => Math.sqrt(variance(values)),
  quantile: (values, q) => quantile(q, values),
};

function quantile(q: number, values: readonly number[]): number {
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  const sorted = [...values].sort((a, b) => (Number.isNaN(a) ? -1 : Number.isNaN(b) ? 1 : a - b));
  const rank = q * (sorted.length - 1);
  const lower = Math.max(0, Math.floor(rank));
  const weight = rank - Math.floor(rank);
  return sorted[lower]! * (1 - weight) + sorted[Math.min(sorted.length - 1, lower + 1)]! * weight;
}

function aggregate(expr: AggregateExpr, elements: readonly Element[], param: number): Element[] {
  const groups = new Map<string, { labels: OracleLabels; values: number[] }>();
  const names = new Set(expr.grouping ?? []);
  for (const { labels, value } of elements) {
    const own = pick(labels, (name) => (expr.without ? name !== '__name__' && !names.has(name) : names.has(name)));
    const group = groups.get(keyOf(own)) ?? { labels: own, values: [] };
    groups.set(keyOf(own), group);
    group.values.push(value);
  }
  return [...groups.values()].map(({ labels, values }) => ({ labels, value: OF_GROUP[expr.op]!(values, param) }));
}

// ── Operators ───────────────────────────────────────────────────────────────────────────────────────────────────────

const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
};
const COMPARISON: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '>': (a, b) => a > b,
  '<': (a, b) => a < b,
  '>=': (a, b) => a >= b,
  '<=': (a, b) => a <= b,
};

function binary(world: OracleWorld, expr: BinaryExpr, timeMs: number): number | Element[] {
  const left = evaluate(world, expr.lhs, timeMs);
  const right = evaluate(world, expr.rhs, timeMs);
  if (typeof left === 'number' && typeof right === 'number') return operate(expr, left, right, left)!;
  if (typeof left === 'number')
    return withScalar(expr, right as Element[], (value) => operate(expr, left, value, value));
  if (typeof right === 'number') return withScalar(expr, left, (value) => operate(expr, value, right, value));
  return expr.op === 'and' || expr.op === 'or' || expr.op === 'unless'
    ? setOperation(expr, left, right)
    : joined(expr, left, right);
}

/** Null where a comparison leaves the element out; `kept` is what it keeps. */
function operate({ op, returnBool }: BinaryExpr, a: number, b: number, kept: number): number | null {
  const arithmetic = ARITHMETIC[op];
  if (arithmetic !== undefined) return arithmetic(a, b);
  const holds = COMPARISON[op]!(a, b);
  return returnBool ? Number(holds) : holds ? kept : null;
}

function dropsName({ op, returnBool }: BinaryExpr): boolean {
  return returnBool || ARITHMETIC[op] !== undefined;
}

function withScalar(
  expr: BinaryExpr,
  vector: readonly Element[],
  compute: (value: number) => number | null,
): Element[] {
  const results: Element[] = [];
  for (const one of vector) {
    const value = compute(one.value);
    if (value !== null) results.push(dropsName(expr) ? unnamed(one, value) : { ...one, value });
  }
  return distinct(results);
}

function signatureOf({ matching: { on, labels } }: BinaryExpr, own: OracleLabels): string {
  const names = new Set(labels ?? []);
  return keyOf(pick(own, (name) => (on ? names.has(name) : name !== '__name__' && !names.has(name))));
}

function joined(expr: BinaryExpr, left: readonly Element[], right: readonly Element[]): Element[] {
  if (left.length === 0 || right.length === 0) return [];
  const ones = new Map<string, Element>();
  for (const one of right) {
    const signature = signatureOf(expr, one.labels);
    if (ones.has(signature)) throw new OracleError('duplicates on the right');
    ones.set(signature, one);
  }
  const matched = new Set<string>();
  const results: Element[] = [];
  for (const one of left) {
    const signature = signatureOf(expr, one.labels);
    const other = ones.get(signature);
    if (other === undefined) continue;
    if (matched.has(signature)) throw new OracleError('duplicates on the left');
    matched.add(signature);
    const value = operate(expr, one.value, other.value, one.value);
    if (value !== null) results.push({ labels: resultLabels(expr, one.labels), value });
  }
  return results;
}

function resultLabels(expr: BinaryExpr, left: OracleLabels): OracleLabels {
  const { on, labels } = expr.matching;
  const names = new Set(labels ?? []);
  return pick(left, (name) => names.has(name) === on && !(name === '__name__' && dropsName(expr)));
}

function setOperation(expr: BinaryExpr, left: readonly Element[], right: readonly Element[]): Element[] {
  const has = (list: readonly Element[], one: Element): boolean =>
    list.some(({ labels }) => signatureOf(expr, labels) === signatureOf(expr, one.labels));
  if (expr.op === 'and') return left.filter((one) => has(right, one));
  if (expr.op === 'unless') return left.filter((one) => !has(right, one));
  return [...left, ...right.filter((one) => !has(left, one))];
}

// ── Labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function pick(labels: OracleLabels, keep: (name: string) => boolean): OracleLabels {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => keep(name)));
}

function unnamed({ labels }: { readonly labels: OracleLabels }, value: number): Element {
  return { labels: pick(labels, (name) => name !== '__name__'), value };
}

export function keyOf(labels: OracleLabels): string {
  return JSON.stringify(Object.entries(labels).sort());
}

function distinct(elements: Element[]): Element[] {
  if (new Set(elements.map(({ labels }) => keyOf(labels))).size !== elements.length)
    throw new OracleError('vector cannot contain metrics with the same labelset');
  return elements;
}
