/**
 * What a query looks at: each of its selectors with the span of time that it reads, so that coverage can judge whether
 * the senders were heard all that time. Kept by the query's text.
 *
 * Selectors below `absent()` and `absent_over_time()` are left out: they ask for silence, so silence is an answer there.
 */
import { LRUCache } from 'lru-cache';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import { type DurationContext, durationMs, positiveDurationMs } from '../promql/plan/durations.ts';
import { type AtModifier, children, type DurationExpr, type Expr } from '../promql/syntax/ast.ts';
import { typeOf } from '../promql/syntax/check.ts';
import { parseExpr } from '../promql/syntax/parse.ts';

/** One selector. It reads the samples of (end - windowMs, end], where end is `atMs`, or the question's time, less `offsetMs`. */
export interface Look {
  readonly matchers: readonly Matcher[];
  /** 0 for an instant selector outside of a subquery: it reads the newest sample only. */
  readonly windowMs: number;
  readonly offsetMs: number;
  /** The time of an `@`, or null for the question's. */
  readonly atMs: number | null;
}

export interface Looks {
  readonly looks: readonly Look[];
  readonly isScalar: boolean;
}

/** Whatever the engine was told to accept; it has parsed the text before and refused what it does not. */
const FEATURES = {
  experimentalFunctions: true,
  durationExpressions: true,
  extendedRangeSelectors: true,
  fillModifiers: true,
};
/** An autoscaler asks at one time: `step()` and `range()` are 0. */
const INSTANT: DurationContext = { stepMs: 0, rangeMs: 0 };

export class LookCache {
  readonly #looks = new LRUCache<string, Looks>({ max: LIMITS.planCacheEntriesMax });

  /** Looks of an expression that the engine has accepted. */
  get(text: string): Looks {
    let known = this.#looks.get(text);
    if (known === undefined) {
      const expr = parseExpr(text, { features: FEATURES, depthMax: LIMITS.queryDepthMax });
      const looks: Look[] = [];
      collect(expr, { windowMs: 0, offsetMs: 0, atMs: null }, looks);
      known = { looks, isScalar: typeOf(expr) === 'scalar' };
      this.#looks.set(text, known);
    }
    return known;
  }
}

interface Around {
  readonly windowMs: number;
  readonly offsetMs: number;
  readonly atMs: number | null;
}

const ASKS_FOR_SILENCE: ReadonlySet<string> = new Set(['absent', 'absent_over_time']);

function collect(expr: Expr, around: Around, into: Look[]): void {
  if (expr.kind === 'call' && ASKS_FOR_SILENCE.has(expr.name)) return;
  if (expr.kind === 'selector') {
    into.push({ matchers: expr.matchers, ...moved(around, expr.at, expr.offset) });
    return;
  }
  const inner = innerOf(expr, around);
  for (const child of children(expr)) collect(child, inner, into);
}

function innerOf(expr: Expr, around: Around): Around {
  if (expr.kind === 'matrix') {
    return { ...around, windowMs: around.windowMs + positiveDurationMs(expr.range, INSTANT) };
  }
  if (expr.kind !== 'subquery') return around;
  const { windowMs, ...rest } = moved(around, expr.at, expr.offset);
  return { ...rest, windowMs: windowMs + positiveDurationMs(expr.range, INSTANT) };
}

/** `@` sets the time whatever surrounds it (`start()` and `end()` are the question's own); offsets add up. */
function moved(around: Around, at: AtModifier | null, offset: DurationExpr | null): Around {
  const ownMs = durationMs(offset, INSTANT);
  if (at === null) return { ...around, offsetMs: around.offsetMs + ownMs };
  return { ...around, offsetMs: ownMs, atMs: at.kind === 'time' ? at.timeMs : null };
}
