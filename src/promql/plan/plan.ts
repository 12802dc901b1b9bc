/**
 * A plan: the checked tree of a query and what holds for it whatever the time. Plans are kept by the query's text.
 *
 * Step-invariant expressions (all selectors under an `@`, no function of time) are computed once and repeated.
 */
import { LRUCache } from 'lru-cache';
import { LIMITS } from '../../model/limits.ts';
import type { Matcher } from '../../model/matcher.ts';
import { TIME_DEPENDENT } from '../functions/table.ts';
import { children, type Expr, type ValueType } from '../syntax/ast.ts';
import { typeOf } from '../syntax/check.ts';
import { type ParseOptions, parseExpr } from '../syntax/parse.ts';
import { printExpr } from '../syntax/print.ts';

export interface Plan {
  readonly text: string;
  readonly expr: Expr;
  readonly type: ValueType;
  /** Expressions that are the same at every step. */
  readonly invariant: ReadonlySet<Expr>;
  /** Expressions that occur more than once, and which of their occurrences stands for all: the last of the text. */
  readonly shared: ReadonlyMap<Expr, Expr>;
  /** Matchers of every vector selector, in the order of the text. */
  readonly selectors: readonly (readonly Matcher[])[];
}

export function planQuery(text: string, options: ParseOptions): Plan {
  const expr = parseExpr(text, options);
  const invariant = new Set<Expr>();
  markInvariant(expr, invariant);
  const selectors: (readonly Matcher[])[] = [];
  collectSelectors(expr, selectors);
  return { text, expr, type: typeOf(expr), invariant, shared: findShared(expr, selectors.length), selectors };
}

export class PlanCache {
  readonly #options: ParseOptions;
  readonly #plans = new LRUCache<string, Plan>({ max: LIMITS.planCacheEntriesMax });

  constructor(options: ParseOptions) {
    this.#options = options;
  }

  get(text: string): Plan {
    let plan = this.#plans.get(text);
    if (plan === undefined) {
      plan = planQuery(text, this.#options);
      this.#plans.set(text, plan);
    }
    return plan;
  }
}

function markInvariant(expr: Expr, invariant: Set<Expr>): boolean {
  const below = children(expr).map((child) => markInvariant(child, invariant));
  const is = isInvariant(expr, below);
  if (is) invariant.add(expr);
  return is;
}

function isInvariant(expr: Expr, below: readonly boolean[]): boolean {
  switch (expr.kind) {
    case 'selector':
      return expr.at !== null;
    case 'subquery':
      return expr.at !== null;
    case 'call':
      return !TIME_DEPENDENT.has(expr.name) && !(expr.args.length === 0 && expr.name !== 'pi') && below.every(Boolean);
    default:
      return below.every(Boolean);
  }
}

/** Vectors that are computed, by their canonical text. Selectors alone share what they select, not what they read. */
function findShared(expr: Expr, selectors: number): ReadonlyMap<Expr, Expr> {
  const shared = new Map<Expr, Expr>();
  if (selectors < 2) return shared;
  const byText = new Map<string, Expr[]>();
  collectComputed(expr, byText);
  for (const occurrences of byText.values()) {
    const last = occurrences.at(-1)!;
    if (occurrences.length > 1) for (const one of occurrences) shared.set(one, last);
  }
  return shared;
}

function collectComputed(expr: Expr, byText: Map<string, Expr[]>): void {
  if (isComputedVector(expr)) {
    const text = printExpr(expr);
    const known = byText.get(text);
    if (known === undefined) byText.set(text, [expr]);
    else known.push(expr);
  }
  for (const child of children(expr)) collectComputed(child, byText);
}

function isComputedVector(expr: Expr): boolean {
  if (expr.kind !== 'call' && expr.kind !== 'aggregate' && expr.kind !== 'binary' && expr.kind !== 'unary')
    return false;
  return typeOf(expr) === 'instant vector' && hasSelector(expr);
}

function hasSelector(expr: Expr): boolean {
  return expr.kind === 'selector' || children(expr).some(hasSelector);
}

function collectSelectors(expr: Expr, into: (readonly Matcher[])[]): void {
  if (expr.kind === 'selector') into.push(expr.matchers);
  for (const child of children(expr)) collectSelectors(child, into);
}
