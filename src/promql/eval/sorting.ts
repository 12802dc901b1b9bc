/** sort, sort_desc, sort_by_label, sort_by_label_desc: only an instant query has an order (reference section 8.6). */
import { compareLabels, type Labels, labelValue } from '../../model/labels.ts';
import { type Call, unparen } from '../syntax/ast.ts';
import { ABSENT, dropHistograms, FLOAT, frameColumn } from './column.ts';
import { compareValues } from './ranking.ts';
import { ROW_WORK, type Run, type Slices } from './run.ts';
import { sortInSlices } from './sort.ts';
import { type BoundVector, collect, type Visit } from './vector.ts';

export function bindSort(call: Call, child: BoundVector): BoundVector {
  return { grid: child.grid, rows: child.rows, stream: (run, visit) => streamSorted(run, visit, call, child) };
}

function* streamSorted(run: Run, visit: Visit, call: Call, child: BoundVector): Slices<void> {
  const byLabel = call.name === 'sort_by_label' || call.name === 'sort_by_label_desc';
  if (run.options.startMs !== run.options.endMs) {
    run.annotations.warn('sort is ineffective for range queries since results are always ordered by labels', call);
    yield* child.stream(run, (row, column) => {
      if (!byLabel) dropHistograms(column);
      visit(row, column);
    });
    return;
  }
  const frame = yield* collect(run, child);
  const rows: number[] = [];
  for (let row = 0; row < frame.rows; row++) {
    if (byLabel ? frame.present[row] !== ABSENT : frame.present[row] === FLOAT) rows.push(row);
    if (run.work(1)) yield;
  }
  const valueAt = (row: number): number => frame.values[row]!;
  yield* sortInSlices(run, rows, orderOf(call, child, valueAt));
  for (const row of rows) {
    visit(row, frameColumn(frame, row));
    if (run.work(ROW_WORK)) yield;
  }
}

type Order = (a: number, b: number) => number;

function orderOf(call: Call, child: BoundVector, valueAt: (row: number) => number): Order {
  if (call.name === 'sort') return (a, b) => compareValues(valueAt(a), valueAt(b));
  if (call.name === 'sort_desc') return (a, b) => compareValues(-valueAt(a), -valueAt(b));
  const names = call.args.slice(1).map((arg) => {
    const literal = unparen(arg);
    return literal.kind === 'string' ? literal.value : '';
  });
  const sign = call.name === 'sort_by_label' ? 1 : -1;
  return (a, b) => sign * compareByLabels(child.rows.labels(a), child.rows.labels(b), names);
}

function compareByLabels(a: Labels, b: Labels, names: readonly string[]): number {
  for (const name of names) {
    const order = compareNatural(labelValue(a, name), labelValue(b, name));
    if (order !== 0) return order;
  }
  return compareLabels(a, b);
}

/** Digits compare as numbers: "a10" comes after "a2". */
export function compareNatural(a: string, b: string): number {
  const partsA = a.match(/\d+|\D+/g) ?? [];
  const partsB = b.match(/\d+|\D+/g) ?? [];
  for (let i = 0; i < Math.min(partsA.length, partsB.length); i++) {
    const order = compareParts(partsA[i]!, partsB[i]!);
    if (order !== 0) return order;
  }
  return partsA.length - partsB.length;
}

function compareParts(a: string, b: string): number {
  if (/^\d/.test(a) && /^\d/.test(b)) {
    const x = a.replace(/^0+(?=\d)/, '');
    const y = b.replace(/^0+(?=\d)/, '');
    // Without leading zeros the longer number is the larger; equal numbers fall back to their text.
    if (x.length !== y.length) return x.length - y.length;
    if (x !== y) return x < y ? -1 : 1;
    return a.length - b.length;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}
