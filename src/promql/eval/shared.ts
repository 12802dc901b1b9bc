/**
 * Expressions that a query holds more than once are evaluated once: the first who asks keeps the rows, everybody gets
 * copies of them (who visits a row may write into it).
 */
import type { Expr } from '../syntax/ast.ts';
import { anyPresent, type Frame, frameColumn, type Grid, newColumn } from './column.ts';
import type { HintMode } from './histogram-samples.ts';
import { ROW_WORK, type Run, type Slices } from './run.ts';
import { type BoundVector, collect, type Visit } from './vector.ts';

/** By the expression that stands for all of its text. */
export type SharedVectors = Map<Expr, SharedVector[]>;

/** What an expression is on a grid; null where each occurrence is better evaluated by itself. */
export interface SharedVector {
  readonly grid: Grid;
  readonly hints: HintMode;
  readonly vector: BoundVector | null;
}

/** What is known of an expression on this grid, or undefined if nothing is. */
export function knownVector(shared: SharedVectors, expr: Expr, grid: Grid, hints: HintMode): SharedVector | undefined {
  const isSame = ({ startMs, stepMs, count }: Grid) =>
    startMs === grid.startMs && stepMs === grid.stepMs && count === grid.count;
  return shared.get(expr)?.find((known) => known.hints === hints && isSame(known.grid));
}

/** Slots that are kept for others at most; what is larger is evaluated again. */
const SHARED_SLOTS_MAX = 1_000_000;

/** The vector for everybody who asks, or null if keeping its rows costs more than it saves. */
export function shareable(vector: BoundVector): BoundVector | null {
  // What the store hands out in batches is computed faster than it is kept.
  if (vector.batches != null || vector.rows.count * vector.grid.count > SHARED_SLOTS_MAX) return null;
  const kept: Kept = { frame: null };
  return { grid: vector.grid, rows: vector.rows, stream: (run, visit) => streamCopies(run, visit, vector, kept) };
}

interface Kept {
  frame: Frame | null;
}

function* streamCopies(run: Run, visit: Visit, vector: BoundVector, kept: Kept): Slices<void> {
  kept.frame ??= yield* collect(run, vector);
  const { frame } = kept;
  const copy = newColumn(frame.steps);
  for (let row = 0; row < frame.rows; row++) {
    const { values, present, histograms } = frameColumn(frame, row);
    if (anyPresent(present)) {
      copy.values.set(values);
      copy.present.set(present);
      copy.histograms = histograms;
      visit(row, copy);
    }
    if (run.work(ROW_WORK + frame.steps)) yield;
  }
}
