/** Aggregations over the values of a group: quantile, and count_values, whose rows are named after the values. */
import { CodedError } from '../../model/errors.ts';
import { plainDecimal } from '../functions/format.ts';
import { quantileOf } from '../functions/quantile.ts';
import { histogramText } from '../histogram/text.ts';
import type { AggregateExpr } from '../syntax/ast.ts';
import { unparen } from '../syntax/ast.ts';
import { bindGroups, type Grouping, type Groups, membersOf } from './aggregate.ts';
import { noteBadQuantiles } from './classic-histograms.ts';
import { ABSENT, FLOAT, type Frame, HISTOGRAM, newColumn } from './column.ts';
import { HistogramNotes } from './histogram-notes.ts';
import { LabelTable } from './label-table.ts';
import { withLabel } from './matching.ts';
import type { Rows } from './rows.ts';
import { LABEL_WORK, type Run, type Slices } from './run.ts';
import { type BoundScalar, type BoundVector, collect, streamFrame, type Visit } from './vector.ts';

export function bindQuantile(expr: AggregateExpr, child: BoundVector, groups: Groups, param: BoundScalar): BoundVector {
  return {
    grid: child.grid,
    rows: groups.rows,
    stream: (run, visit) => streamQuantiles(run, visit, expr, child, groups, param),
  };
}

function* streamQuantiles(
  run: Run,
  visit: Visit,
  expr: AggregateExpr,
  child: BoundVector,
  groups: Groups,
  param: BoundScalar,
): Slices<void> {
  const q = yield* param.evaluate(run);
  if (child.rows.count > 0) noteBadQuantiles(run, q, expr.param!);
  const frame = yield* collect(run, child);
  if (frame.histograms !== null) new HistogramNotes(run, expr.expr).ignoredInAggregation(expr.op);
  const members = yield* membersOf(run, groups);
  for (const [group, rows] of members.entries()) {
    const column = newColumn(frame.steps);
    const values = new Float64Array(rows.length);
    for (let k = 0; k < frame.steps; k++) {
      let count = 0;
      for (const row of rows)
        if (frame.present[row * frame.steps + k] === FLOAT) values[count++] = frame.values[row * frame.steps + k]!;
      if (count > 0) {
        column.values[k] = quantileOf(q[k]!, values, count);
        column.present[k] = FLOAT;
      }
      if (run.work(rows.length)) yield;
    }
    visit(group, column);
  }
}

/** Reads its input while it is bound: only the samples say which rows there are. */
export function* bindCountValues(
  run: Run,
  expr: AggregateExpr,
  child: BoundVector,
  grouping: Grouping,
): Slices<BoundVector> {
  const label = valueLabel(expr);
  const frame = yield* collect(run, child);
  // The value's label belongs to the group, whatever the clause says.
  const groups = yield* bindGroups(run, child.rows, {
    ...grouping,
    labels: grouping.labels.filter((name) => grouping.without || name !== label),
  });
  const table = new LabelTable();
  const counts: Float64Array[] = [];
  for (let row = 0; row < frame.rows; row++) {
    const group = groups.rows.labels(groups.of[row]!);
    for (let k = 0; k < frame.steps; k++) {
      const slot = row * frame.steps + k;
      if (frame.present[slot] === ABSENT) continue;
      const own = withLabel(group, label, valueText(frame, slot));
      const out = table.rowOf(own, groups.rows.marked(groups.of[row]!));
      if (counts.length < table.count) {
        counts.push(new Float64Array(frame.steps));
        run.charge(frame.steps);
      }
      counts[out]![k]! += 1;
    }
    if (run.work(LABEL_WORK * frame.steps)) yield;
  }
  return countedVector(child, table.rows(), counts);
}

function valueText({ values, present, histograms }: Frame, slot: number): string {
  return present[slot] === HISTOGRAM ? histogramText(histograms![slot]!) : plainDecimal(values[slot]!);
}

function valueLabel(expr: AggregateExpr): string {
  const literal = unparen(expr.param!);
  const label = literal.kind === 'string' ? literal.value : '';
  if (label === '') throw new CodedError('query_failed', `invalid label name "${label}"`);
  return label;
}

function countedVector(child: BoundVector, rows: Rows, counts: readonly Float64Array[]): BoundVector {
  const steps = child.grid.count;
  const values = new Float64Array(rows.count * steps);
  for (const [row, own] of counts.entries()) values.set(own, row * steps);
  const present = Uint8Array.from(values, (count) => (count > 0 ? FLOAT : ABSENT));
  const frame: Frame = { rows: rows.count, steps, values, present, histograms: null };
  return { grid: child.grid, rows, stream: (run, visit) => streamFrame(run, frame, visit) };
}
