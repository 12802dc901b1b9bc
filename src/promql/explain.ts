/**
 * Plans that explain themselves: the tree of a query with what each part is evaluated for: its steps, the spans of time
 * that selectors read, how many series they find, and what is computed once. As data, and as text, a line a node.
 */
import { formatDuration } from '../model/time.ts';
import { type Grid, gridEndMs } from './eval/column.ts';
import { lastEndMs, subqueryGrid, windowsOf } from './eval/range.ts';
import type { Run, Slices } from './eval/run.ts';
import { durationMs, positiveDurationMs } from './plan/durations.ts';
import type { Plan } from './plan/plan.ts';
import {
  type AtModifier,
  children,
  type DurationExpr,
  type Expr,
  type MatrixSelector,
  type SubqueryExpr,
  type ValueType,
  type VectorSelector,
} from './syntax/ast.ts';
import { typeOf } from './syntax/check.ts';
import { printExpr } from './syntax/print.ts';

export interface ExplainedSelection {
  /** Canonical, in no braces: `__name__="up"`. */
  readonly matchers: readonly string[];
  /** Samples with fromMs < t <= toMs are read. */
  readonly fromMs: number;
  readonly toMs: number;
  /** How far each step looks back: the range, or the lookback of an instant selector. */
  readonly windowMs: number;
  readonly offsetMs: number;
  /** Series found now, and an upper bound of the samples that they hold in that span. */
  readonly series: number;
  readonly samplesMax: number;
}

export interface ExplainedNode {
  /** Numbers nodes from 1, in the order in which they are printed. */
  readonly id: number;
  readonly operator: string;
  readonly text: string;
  /** Bytes of the query's text that it comes from: start included, end not. */
  readonly start: number;
  readonly end: number;
  readonly type: ValueType;
  /** Steps at which it is evaluated, and where they begin and end. */
  readonly steps: number;
  readonly startMs: number;
  readonly endMs: number;
  /** True if it is the same at every step: it is evaluated at the first, and repeated. */
  readonly stepInvariant: boolean;
  /** Id of an earlier node with the same text at the same steps, whose selection or rows are used again; or null. */
  readonly sharedWith: number | null;
  readonly selection: ExplainedSelection | null;
  readonly children: readonly ExplainedNode[];
}

export interface Explanation {
  readonly text: string;
  readonly type: ValueType;
  readonly root: ExplainedNode;
}

interface Walk {
  readonly run: Run;
  readonly plan: Plan;
  /** Ids by text and steps. */
  readonly seen: Map<string, number>;
  nextId: number;
}

export function* explainPlan(run: Run, plan: Plan): Slices<Explanation> {
  const walk: Walk = { run, plan, seen: new Map(), nextId: 1 };
  return { text: plan.text, type: plan.type, root: yield* explainNode(walk, plan.expr, run.options.grid) };
}

function* explainNode(walk: Walk, expr: Expr, outer: Grid): Slices<ExplainedNode> {
  if (expr.kind === 'paren') return yield* explainNode(walk, expr.expr, outer);
  const stepInvariant = outer.count > 1 && walk.plan.invariant.has(expr) && expr.kind !== 'number';
  const grid = stepInvariant ? { ...outer, count: 1 } : outer;
  const id = walk.nextId++;
  const text = printExpr(expr);
  const selection = yield* explainSelection(walk.run, expr, grid);
  const sharedWith = knownAs(walk, expr, text, grid, id);
  const below: ExplainedNode[] = [];
  // What is used again is explained where it is made.
  if (sharedWith === null || selection !== null) {
    const inner = expr.kind === 'subquery' ? innerGrid(walk.run, expr, grid) : grid;
    const parts = expr.kind === 'matrix' ? [] : children(expr);
    for (const child of parts) below.push(yield* explainNode(walk, child, inner));
  }
  return {
    id,
    operator: operatorOf(expr),
    text,
    start: expr.start,
    end: expr.end,
    type: typeOf(expr),
    steps: grid.count,
    startMs: grid.startMs,
    endMs: gridEndMs(grid),
    stepInvariant,
    sharedWith,
    selection,
    children: below,
  };
}

function knownAs(walk: Walk, expr: Expr, text: string, grid: Grid, id: number): number | null {
  const isSelector = expr.kind === 'selector' || expr.kind === 'matrix';
  if (!isSelector && !walk.plan.shared.has(expr)) return null;
  const key = `${text} ${grid.startMs} ${grid.stepMs} ${grid.count}`;
  const known = walk.seen.get(key);
  if (known === undefined) walk.seen.set(key, id);
  return known ?? null;
}

function operatorOf(expr: Expr): string {
  switch (expr.kind) {
    case 'aggregate': {
      if (expr.grouping === null) return expr.op;
      return `${expr.op} ${expr.without ? 'without' : 'by'} (${expr.grouping.join(', ')})`;
    }
    case 'binary': {
      const { on, labels, cardinality, include } = expr.matching;
      const match = labels === null ? '' : ` ${on ? 'on' : 'ignoring'} (${labels.join(', ')})`;
      const side = cardinality === 'many-to-one' ? 'group_left' : cardinality === 'one-to-many' ? 'group_right' : '';
      const group = side === '' ? '' : ` ${side} (${(include ?? []).join(', ')})`;
      return `${expr.op}${expr.returnBool ? ' bool' : ''}${match}${group}`;
    }
    case 'call':
      return `${expr.name}()`;
    case 'unary':
      return `unary ${expr.op}`;
    case 'matrix':
      return 'range selector';
    default:
      return expr.kind;
  }
}

// ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function* explainSelection(run: Run, expr: Expr, grid: Grid): Slices<ExplainedSelection | null> {
  if (expr.kind !== 'selector' && expr.kind !== 'matrix') return null;
  const selector = expr.kind === 'matrix' ? expr.selector : expr;
  const { windowMs, fromMs, toMs } = spanOf(run, expr, selector, grid);
  const { count, samplesMax } = yield* run.open(selector.matchers, fromMs, toMs);
  return {
    matchers: [...selector.matchers, ...run.options.matchers].map(
      ({ name, type, value }) => `${name}${type}${JSON.stringify(value)}`,
    ),
    fromMs,
    toMs,
    windowMs,
    offsetMs: durationMs(selector.offset, durationsOf(run)),
    series: count,
    samplesMax,
  };
}

function spanOf(
  run: Run,
  expr: VectorSelector | MatrixSelector,
  selector: VectorSelector,
  grid: Grid,
): { windowMs: number; fromMs: number; toMs: number } {
  const { lookbackMs } = run.options;
  const windows = bindWindowsOf(run, grid, selector.at, selector.offset);
  const windowMs = expr.kind === 'matrix' ? positiveDurationMs(expr.range, durationsOf(run)) : lookbackMs;
  // Edges are made of samples outside of the window.
  const before = expr.kind === 'matrix' && selector.edges !== null ? lookbackMs : 0;
  const after = selector.edges === 'smoothed' ? lookbackMs : 0;
  return {
    windowMs,
    fromMs: windows.firstEndMs - windowMs - before,
    toMs: lastEndMs(windows, grid) + after,
  };
}

function innerGrid(run: Run, expr: SubqueryExpr, grid: Grid): Grid {
  const windows = bindWindowsOf(run, grid, expr.at, expr.offset);
  const rangeMs = positiveDurationMs(expr.range, durationsOf(run));
  const stepMs = expr.step === null ? run.options.subqueryStepMs : positiveDurationMs(expr.step, durationsOf(run));
  return subqueryGrid(windows.firstEndMs, lastEndMs(windows, grid), rangeMs, stepMs);
}

function bindWindowsOf(run: Run, grid: Grid, at: AtModifier | null, offset: DurationExpr | null) {
  const { startMs, endMs } = run.options;
  const atMs = at === null ? null : at.kind === 'time' ? at.timeMs : at.kind === 'start' ? startMs : endMs;
  return windowsOf(grid, atMs, durationMs(offset, durationsOf(run)));
}

function durationsOf({ options: { startMs, endMs, stepMs } }: Run): { stepMs: number; rangeMs: number } {
  return { stepMs, rangeMs: endMs - startMs };
}

// ── Text ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One line a node, indented by its depth. */
export function explanationText({ root }: Explanation): string {
  const lines: string[] = [];
  const walk = (node: ExplainedNode, depth: number): void => {
    lines.push(`${'  '.repeat(depth)}${node.id}. ${lineOf(node)}`);
    for (const child of node.children) walk(child, depth + 1);
  };
  walk(root, 0);
  return `${lines.join('\n')}\n`;
}

function lineOf(node: ExplainedNode): string {
  const { selection, sharedWith } = node;
  const facts: string[] = [];
  if (node.steps > 1) facts.push(`${node.steps} steps`);
  if (node.stepInvariant) facts.push('the same at every step: computed once');
  if (sharedWith !== null) facts.push(`shared with ${sharedWith}`);
  if (selection !== null) {
    facts.push(`${selection.series} series, at most ${selection.samplesMax} samples`);
    facts.push(`(${isoOf(selection.fromMs)}, ${isoOf(selection.toMs)}]`);
    facts.push(`looks back ${formatDuration(selection.windowMs)}`);
    if (selection.offsetMs !== 0) facts.push(`offset ${selection.offsetMs} ms`);
  }
  const isLeaf = node.selection !== null || node.operator === 'number' || node.type === 'string';
  const what = !isLeaf ? node.operator : `${node.operator} ${node.text}`;
  return facts.length === 0 ? what : `${what}: ${facts.join('; ')}`;
}

function isoOf(timeMs: number): string {
  return Math.abs(timeMs) <= 8.64e15 ? new Date(timeMs).toISOString() : String(timeMs);
}
