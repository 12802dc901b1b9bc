/**
 * The outline of a query: what each of its selectors looks at, before anything is selected. So a caller can judge whether
 * what is looked at was there at all.
 *
 * Durations are computed for the query at hand; in an instant query `step()` and `range()` are 0.
 */
import type { Matcher } from '../../model/matcher.ts';
import { type AtModifier, children, type DurationExpr, type Expr, type ValueType } from '../syntax/ast.ts';
import { type DurationContext, durationMs, positiveDurationMs } from './durations.ts';
import type { Plan } from './plan.ts';

/**
 * One selector. It reads the samples of (end - windowMs - lookbackMs, end], where end is `atMs`, or the time of the
 * question, less `offsetMs`; the lookback counts for instant selectors only.
 */
export interface SelectorOutline {
  readonly matchers: readonly Matcher[];
  /** The range, and that of all subqueries around it. 0 for an instant selector outside of a subquery. */
  readonly windowMs: number;
  readonly offsetMs: number;
  /** The time of an `@`; null for the question's own (`@ start()` and `@ end()` included). */
  readonly atMs: number | null;
  /** True if it reads the newest sample within the lookback. */
  readonly isInstant: boolean;
  /** True below `absent` and `absent_over_time`, to which silence is an answer. */
  readonly asksForSilence: boolean;
}

export interface Outline {
  readonly type: ValueType;
  /** In the order of the text. */
  readonly selectors: readonly SelectorOutline[];
}

const INSTANT: DurationContext = { stepMs: 0, rangeMs: 0 };
const SILENCE: ReadonlySet<string> = new Set(['absent', 'absent_over_time']);

export function outlineOf(plan: Plan, durations: DurationContext = INSTANT): Outline {
  const selectors: SelectorOutline[] = [];
  collect(plan.expr, { windowMs: 0, offsetMs: 0, atMs: null, asksForSilence: false, durations }, selectors);
  return { type: plan.type, selectors };
}

interface Around {
  readonly windowMs: number;
  readonly offsetMs: number;
  readonly atMs: number | null;
  readonly asksForSilence: boolean;
  readonly durations: DurationContext;
}

function collect(expr: Expr, around: Around, into: SelectorOutline[]): void {
  switch (expr.kind) {
    case 'selector':
      into.push(lookOf(expr, around, true));
      return;
    case 'matrix':
      into.push(lookOf(expr.selector, widened(around, expr.range), false));
      return;
    case 'subquery':
      collect(expr.expr, widened(moved(around, expr.at, expr.offset), expr.range), into);
      return;
    case 'call': {
      const inner = SILENCE.has(expr.name) ? { ...around, asksForSilence: true } : around;
      for (const child of children(expr)) collect(child, inner, into);
      return;
    }
    default:
      for (const child of children(expr)) collect(child, around, into);
  }
}

function lookOf(
  { matchers, at, offset }: { matchers: readonly Matcher[]; at: AtModifier | null; offset: DurationExpr | null },
  around: Around,
  isInstant: boolean,
): SelectorOutline {
  const { windowMs, offsetMs, atMs, asksForSilence } = moved(around, at, offset);
  return { matchers, windowMs, offsetMs, atMs, isInstant, asksForSilence };
}

function widened(around: Around, range: DurationExpr): Around {
  return { ...around, windowMs: around.windowMs + positiveDurationMs(range, around.durations) };
}

/** `@` sets the time whatever surrounds it; offsets add up. */
function moved(around: Around, at: AtModifier | null, offset: DurationExpr | null): Around {
  const ownMs = durationMs(offset, around.durations);
  if (at === null) return { ...around, offsetMs: around.offsetMs + ownMs };
  return { ...around, offsetMs: ownMs, atMs: at.kind === 'time' ? at.timeMs : null };
}
