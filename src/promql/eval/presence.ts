/** absent and absent_over_time: one row that has a point where its argument has none (reference sections 6.8 and 8.6). */
import { type Labels, labelsFromPairs, METRIC_NAME } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { type Expr, unparen } from '../syntax/ast.ts';
import { ABSENT, FLOAT, type Grid, newColumn } from './column.ts';
import { newRowSamples, type RangeSource } from './range.ts';
import { rowsOf } from './rows.ts';
import type { Run, Slices } from './run.ts';
import type { BoundVector, Visit } from './vector.ts';
import { moveWindow, newWindow, openWindow } from './window.ts';

export function absentVector(child: BoundVector, arg: Expr): BoundVector {
  return whereUnseen(child.grid, arg, (run, seen) => seePoints(run, seen, child));
}

function* seePoints(run: Run, seen: Uint8Array, child: BoundVector): Slices<void> {
  yield* child.stream(run, (_row, { present }) => {
    for (let k = 0; k < present.length; k++) if (present[k] !== ABSENT) seen[k] = 1;
  });
}

export function absentOverTime(source: RangeSource, arg: Expr): BoundVector {
  return whereUnseen(source.grid, arg, (run, seen) => seeSamples(run, seen, source));
}

function* seeSamples(run: Run, seen: Uint8Array, source: RangeSource): Slices<void> {
  yield* source.prepare(run);
  const samples = newRowSamples();
  const window = newWindow([], 0);
  for (let row = 0; row < source.rows.count; row++) {
    source.load(run, row, samples);
    openWindow(window, samples);
    for (let k = 0; k < source.grid.count; k++) {
      moveWindow(window, source, k);
      if (window.hi > window.lo) seen[k] = 1;
    }
    if (run.work(samples.count + source.grid.count)) yield;
  }
}

/** Marks the steps at which there is anything. */
type Look = (run: Run, seen: Uint8Array) => Slices<void>;

function whereUnseen(grid: Grid, arg: Expr, look: Look): BoundVector {
  const rows = rowsOf([labelsOf(arg)], null, true);
  return { grid, rows, stream: (run, visit) => streamUnseen(run, visit, grid, look) };
}

function* streamUnseen(run: Run, visit: Visit, grid: Grid, look: Look): Slices<void> {
  const seen = new Uint8Array(grid.count);
  yield* look(run, seen);
  const column = newColumn(grid.count);
  column.values.fill(1);
  for (let k = 0; k < grid.count; k++) column.present[k] = seen[k] === 1 ? ABSENT : FLOAT;
  visit(0, column);
}

/** Labels that the absent series would surely have: those of its only `=` matcher. */
function labelsOf(arg: Expr): Labels {
  const inner = unparen(arg);
  if (inner.kind === 'matrix') return labelsOfMatchers(inner.selector.matchers);
  return inner.kind === 'selector' ? labelsOfMatchers(inner.matchers) : [];
}

function labelsOfMatchers(matchers: readonly Matcher[]): Labels {
  const byName = new Map<string, string>();
  for (const { name, type, value } of matchers) {
    if (name === METRIC_NAME) continue;
    byName.set(name, type === '=' && !byName.has(name) ? value : '');
  }
  return labelsFromPairs(byName);
}
