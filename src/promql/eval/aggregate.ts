/**
 * Aggregations that make one row a group: bound to a table row → group, then summed up row by row.
 *
 * Each operator accumulates into columns of groups × steps; the rows of its input are streamed through once.
 */
import type { Labels } from '../../model/labels.ts';
import { KahanMean } from '../functions/sums.ts';
import type { AggregateOp } from '../syntax/ast.ts';
import { type Column, FLOAT } from './column.ts';
import { LabelTable } from './label-table.ts';
import { isMetadataLabel, type Rows, rowsOf } from './rows.ts';
import type { BoundVector } from './vector.ts';

export interface Groups {
  /** Input row → group. */
  readonly of: Int32Array;
  readonly rows: Rows;
}

export interface Grouping {
  readonly labels: readonly string[];
  readonly without: boolean;
}

/** Binds rows to groups, in the order in which groups are first seen. */
export function bindGroups(input: Rows, { labels: names, without }: Grouping): Groups {
  const of = new Int32Array(input.count);
  if (!without && names.length === 0) return { of, rows: wholeGroup(input) };
  const groups = new LabelTable();
  const pick = without ? without_(new Set(names)) : by(new Set(names));
  for (let row = 0; row < input.count; row++) of[row] = groups.rowOf(pick(input.labels(row)), input.marked(row));
  return { of, rows: groups.rows() };
}

function wholeGroup(input: Rows): Rows {
  return rowsOf(input.count === 0 ? [] : [[]], [false], true);
}

function by(names: ReadonlySet<string>): (labels: Labels) => Labels {
  return (labels) => {
    const kept: string[] = [];
    for (let i = 0; i < labels.length; i += 2) if (names.has(labels[i]!)) kept.push(labels[i]!, labels[i + 1]!);
    return kept;
  };
}

function without_(names: ReadonlySet<string>): (labels: Labels) => Labels {
  return (labels) => {
    const kept: string[] = [];
    for (let i = 0; i < labels.length; i += 2) {
      if (!names.has(labels[i]!) && !isMetadataLabel(labels[i]!)) kept.push(labels[i]!, labels[i + 1]!);
    }
    return kept;
  };
}

/** State of an aggregation: takes columns of members, then hands out the columns of groups. */
export interface Accumulator {
  take(group: number, column: Column): void;
  /** Writes the result of a group; slots without members stay absent. */
  finish(group: number, into: Column): void;
}

export type SimpleOp = Exclude<
  AggregateOp,
  'topk' | 'bottomk' | 'limitk' | 'limit_ratio' | 'count_values' | 'quantile'
>;

export function aggregate(
  child: BoundVector,
  groups: Groups,
  newAccumulator: (groups: number, steps: number) => Accumulator,
): BoundVector {
  const { grid } = child;
  return {
    grid,
    rows: groups.rows,
    *stream(run, visit) {
      run.charge(groups.rows.count * grid.count);
      const accumulator = newAccumulator(groups.rows.count, grid.count);
      yield* child.stream(run, (row, column) => accumulator.take(groups.of[row]!, column));
      for (let group = 0; group < groups.rows.count; group++) {
        const column = { values: new Float64Array(grid.count), present: new Uint8Array(grid.count) };
        accumulator.finish(group, column);
        visit(group, column);
        if (run.work(grid.count)) yield;
      }
    },
  };
}

export function accumulatorOf(op: SimpleOp): (groups: number, steps: number) => Accumulator {
  return ACCUMULATORS[op];
}

const ACCUMULATORS: Readonly<Record<SimpleOp, (groups: number, steps: number) => Accumulator>> = {
  sum: sums,
  avg: means,
  count: (groups, steps) => counting(groups, steps, (count) => count),
  group: (groups, steps) => counting(groups, steps, () => 1),
  min: (groups, steps) => extremes(groups, steps, -1),
  max: (groups, steps) => extremes(groups, steps, 1),
  stdvar: (groups, steps) => variances(groups, steps, (variance) => variance),
  stddev: (groups, steps) => variances(groups, steps, Math.sqrt),
};

function sums(groups: number, steps: number): Accumulator {
  const sum = new Float64Array(groups * steps);
  const compensation = new Float64Array(groups * steps);
  const seen = new Uint8Array(groups * steps);
  return {
    take: (group, column) => addSums(column, sum, compensation, seen, group * steps, steps),
    finish(group, into) {
      const from = group * steps;
      for (let k = 0; k < steps; k++) {
        const total = sum[from + k]!;
        into.values[k] = total === Infinity || total === -Infinity ? total : total + compensation[from + k]!;
        into.present[k] = seen[from + k]!;
      }
    },
  };
}

/** Kahan-Neumaier over all steps of one member. */
function addSums(
  column: Column,
  sum: Float64Array,
  compensation: Float64Array,
  seen: Uint8Array,
  from: number,
  steps: number,
): void {
  const { values, present } = column;
  for (let k = 0; k < steps; k++) {
    if (present[k] !== FLOAT) continue;
    const slot = from + k;
    const value = values[k]!;
    seen[slot] = FLOAT;
    const old = sum[slot]!;
    const t = old + value;
    if (t === Infinity || t === -Infinity) compensation[slot] = 0;
    else if (Math.abs(old) >= Math.abs(value)) compensation[slot]! += old - t + value;
    else compensation[slot]! += value - t + old;
    sum[slot] = t;
  }
}

function means(groups: number, steps: number): Accumulator {
  const of: (KahanMean | undefined)[] = new Array(groups * steps);
  return {
    take(group, { values, present }) {
      for (let k = 0; k < steps; k++) {
        if (present[k] !== FLOAT) continue;
        let mean = of[group * steps + k];
        if (mean === undefined) of[group * steps + k] = mean = new KahanMean();
        mean.add(values[k]!);
      }
    },
    finish(group, into) {
      for (let k = 0; k < steps; k++) {
        const mean = of[group * steps + k];
        if (mean === undefined) continue;
        into.values[k] = mean.value;
        into.present[k] = FLOAT;
      }
    },
  };
}

function counting(groups: number, steps: number, result: (count: number) => number): Accumulator {
  const counts = new Float64Array(groups * steps);
  return {
    take(group, { present }) {
      for (let k = 0; k < steps; k++) if (present[k] !== 0) counts[group * steps + k]! += 1;
    },
    finish(group, into) {
      for (let k = 0; k < steps; k++) {
        const count = counts[group * steps + k]!;
        if (count === 0) continue;
        into.values[k] = result(count);
        into.present[k] = FLOAT;
      }
    },
  };
}

function extremes(groups: number, steps: number, sign: number): Accumulator {
  const best = new Float64Array(groups * steps);
  const seen = new Uint8Array(groups * steps);
  return {
    take(group, { values, present }) {
      for (let k = 0; k < steps; k++) {
        if (present[k] !== FLOAT) continue;
        const slot = group * steps + k;
        const champion = best[slot]!;
        // NaN gives way to anything.
        if (seen[slot] !== FLOAT || values[k]! * sign > champion * sign || Number.isNaN(champion))
          best[slot] = values[k]!;
        seen[slot] = FLOAT;
      }
    },
    finish(group, into) {
      into.values.set(best.subarray(group * steps, (group + 1) * steps));
      into.present.set(seen.subarray(group * steps, (group + 1) * steps));
    },
  };
}

/** Welford's recurrence, population; an infinite or NaN member makes it NaN. */
function variances(groups: number, steps: number, result: (variance: number) => number): Accumulator {
  const counts = new Float64Array(groups * steps);
  const means = new Float64Array(groups * steps);
  const squares = new Float64Array(groups * steps);
  return {
    take(group, { values, present }) {
      for (let k = 0; k < steps; k++) {
        if (present[k] !== FLOAT) continue;
        const slot = group * steps + k;
        const count = counts[slot]! + 1;
        counts[slot] = count;
        const delta = values[k]! - means[slot]!;
        means[slot]! += delta / count;
        squares[slot]! += delta * (values[k]! - means[slot]!);
        // One member has no deviation, but Inf - Inf has no value either.
        if (!Number.isFinite(values[k]!)) squares[slot] = Number.NaN;
      }
    },
    finish(group, into) {
      for (let k = 0; k < steps; k++) {
        const count = counts[group * steps + k]!;
        if (count === 0) continue;
        into.values[k] = result(squares[group * steps + k]! / count);
        into.present[k] = FLOAT;
      }
    },
  };
}
