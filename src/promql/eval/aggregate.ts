/**
 * Aggregations that make one row a group: bound to a table row → group, then summed up row by row.
 *
 * Each operator accumulates into columns of groups × steps; the rows of its input are streamed through once.
 */
import { compareCodePoints, type Labels } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import { KahanMean } from '../functions/sums.ts';
import type { AggregateExpr, AggregateOp } from '../syntax/ast.ts';
import { type Column, FLOAT, newColumn } from './column.ts';
import { HistogramGroups } from './histogram-aggregate.ts';
import { LabelTable } from './label-table.ts';
import { isMetadataLabel, type LabelCodes, type Rows, rowsOf } from './rows.ts';
import { LABEL_WORK, ROW_WORK, type Run, type Slices } from './run.ts';
import type { BoundVector, Visit } from './vector.ts';

export interface Groups {
  /** Input row → group. */
  readonly of: Int32Array;
  readonly rows: Rows;
}

export interface Grouping {
  readonly labels: readonly string[];
  readonly without: boolean;
}

/** True if all rows are one group. */
export function isWhole({ labels, without }: Grouping): boolean {
  return !without && labels.length === 0;
}

/** Binds rows to groups, in the order in which groups are first seen. */
export function* bindGroups(run: Run, input: Rows, grouping: Grouping): Slices<Groups> {
  const { labels: names, without } = grouping;
  if (isWhole(grouping)) return { of: zeros(input.count), rows: wholeGroup(input.count > 0) };
  const of = new Int32Array(input.count);
  if (!without && input.codes !== null) return yield* groupsByCodes(run, input, names);
  const groups = new LabelTable();
  const pick = without ? without_(new Set(names)) : by(new Set(names));
  for (let row = 0; row < input.count; row++) {
    of[row] = groups.rowOf(pick(input.labels(row)), input.marked(row));
    if (run.work(LABEL_WORK)) yield;
  }
  return { of, rows: groups.rows() };
}

let zeroes = new Int32Array(1024);

/** All rows in group 0, in memory that all such groups share. */
function zeros(count: number): Int32Array {
  if (count > zeroes.length) zeroes = new Int32Array(Math.max(count, 2 * zeroes.length));
  return zeroes.subarray(0, count);
}

/**
 * Groups by numbers instead of strings: the value of each label is a number, a group is a combination of them. Rows of one
 * target follow one another, so most rows have the numbers of the row before.
 */
function* groupsByCodes(run: Run, input: Rows, names: readonly string[]): Slices<Groups> {
  const columns = [...new Set(names)].sort(compareCodePoints).map((name) => ({ name, codes: input.codes!(name) }));
  const { of, firsts, named } = yield* keptParts(run, input, columns);
  const labelsOfRow = (row: number): Labels => {
    return columns.flatMap(({ name, codes }) => {
      const code = codes.range?.(row, row + 1)[0] ?? 0;
      return code === 0 ? [] : [name, codes.text(code)];
    });
  };
  const rows: Rows = {
    count: firsts.length,
    labels: (group) => (named[group] ??= labelsOfRow(firsts[group]!)),
    marked: (group) => input.marked(firsts[group]!),
    sameName: false,
    codes: null,
    identity: null,
  };
  return { of, rows };
}

interface CodeColumn {
  readonly name: string;
  readonly codes: LabelCodes;
}

/** What of a grouping depends on the series alone. */
interface Parts {
  /** Row → group. */
  readonly of: Int32Array;
  /** First row of each group. */
  readonly firsts: readonly number[];
  /** Labels of groups that were asked for. */
  readonly named: Labels[];
}

/** Groupings of series that may be selected again, by their labels. */
const kept = new WeakMap<object, Map<string, Parts>>();
/** More groups than that are not kept: their labels take too much. */
const KEPT_GROUPS_MAX = 10_000;

function* keptParts(run: Run, input: Rows, columns: readonly CodeColumn[]): Slices<Parts> {
  const identity = input.identity?.() ?? null;
  if (identity === null) return yield* partsOf(run, input.count, columns);
  const groupings = kept.get(identity) ?? new Map<string, Parts>();
  const key = JSON.stringify(columns.map(({ name, codes }) => [name, codes.range !== null]));
  const known = groupings.get(key);
  if (known !== undefined) return known;
  const parts = yield* partsOf(run, input.count, columns);
  if (parts.firsts.length > KEPT_GROUPS_MAX) return parts;
  for (const oldest of groupings.keys()) if (groupings.size >= LIMITS.groupingsOfSetMax) groupings.delete(oldest);
  groupings.set(key, parts);
  kept.set(identity, groupings);
  return parts;
}

function* partsOf(run: Run, count: number, columns: readonly CodeColumn[]): Slices<Parts> {
  const of = new Int32Array(count);
  let firsts: number[] = count === 0 ? [] : [0];
  for (const { codes } of columns) {
    if (codes.range !== null) firsts = yield* splitGroups(run, of, codes.range);
  }
  return { of, firsts, named: [] };
}

const CODES_AT_ONCE = 4096;

/** Splits each group by one more label; new groups in the order in which they come up. The first row of each. */
function* splitGroups(run: Run, of: Int32Array, range: (from: number, to: number) => Uint32Array): Slices<number[]> {
  const state: Split = { firsts: [], bySplit: new Map(), lastOf: -1, lastCode: -1, group: -1 };
  for (let from = 0; from < of.length; from += CODES_AT_ONCE) {
    const to = Math.min(from + CODES_AT_ONCE, of.length);
    splitRange(state, of, range(from, to), from);
    if (run.work(2 * (to - from))) yield;
  }
  return state.firsts;
}

interface Split {
  readonly firsts: number[];
  readonly bySplit: Map<number, number>;
  lastOf: number;
  lastCode: number;
  group: number;
}

function splitRange(state: Split, of: Int32Array, codes: Uint32Array, from: number): void {
  let { lastOf, lastCode, group } = state;
  for (let i = 0; i < codes.length; i++) {
    const row = from + i;
    if (of[row] !== lastOf || codes[i] !== lastCode) {
      lastOf = of[row]!;
      lastCode = codes[i]!;
      // Codes are below 2^30 and groups no more than series, so the key is exact.
      const key = lastOf * 2 ** 30 + lastCode;
      group = state.bySplit.get(key) ?? -1;
      if (group < 0) {
        group = state.firsts.length;
        state.bySplit.set(key, group);
        state.firsts.push(row);
      }
    }
    of[row] = group;
  }
  state.lastOf = lastOf;
  state.lastCode = lastCode;
  state.group = group;
}

/** The rows of each group. */
export function* membersOf(run: Run, { of, rows }: Groups): Slices<number[][]> {
  const members: number[][] = Array.from({ length: rows.count }, () => []);
  for (let row = 0; row < of.length; row++) {
    members[of[row]!]!.push(row);
    if (run.work(1)) yield;
  }
  return members;
}

/** The group of all rows, if there is any. */
export function wholeGroup(isAny: boolean): Rows {
  return rowsOf(isAny ? [[]] : [], [false], true);
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
  /** Takes one step of many rows: slot i < count goes to group of[from + i]. The same as `take` for each of them. */
  takeBatch?(of: Int32Array, from: number, count: number, column: Pick<Column, 'values' | 'present'>): void;
  /** Where plain sums are all that is kept: the store may add to them. */
  readonly sums?: { readonly sum: Float64Array; readonly lost: Float64Array; readonly seen: Uint8Array };
  /** Writes the result of a group; slots without members stay absent. */
  finish(group: number, into: Column): void;
}

type SimpleOp = Exclude<AggregateOp, 'topk' | 'bottomk' | 'limitk' | 'limit_ratio' | 'count_values' | 'quantile'>;

export function aggregate(expr: AggregateExpr, child: BoundVector, groups: Groups): BoundVector {
  return {
    grid: child.grid,
    rows: groups.rows,
    stream: (run, visit) => streamGroups(run, visit, expr, child, groups),
  };
}

function* streamGroups(run: Run, visit: Visit, expr: AggregateExpr, child: BoundVector, groups: Groups): Slices<void> {
  const { grid } = child;
  run.charge(groups.rows.count * grid.count);
  const accumulator = ACCUMULATORS[expr.op as SimpleOp](groups.rows.count, grid.count);
  let histograms: HistogramGroups | null = null;
  const { sums } = accumulator;
  const summing = sums !== undefined && isSummed(groups, child) ? child.summing! : null;
  if (summing !== null) {
    const { sum, lost, seen } = sums!;
    const of = groups.rows.count === 1 ? null : groups.of;
    const into = { sum, lost, seen, of, samples: 0, newestMs: 0, first: -1 };
    yield* summing.add(run, into, (row, column) => accumulator.take(groups.of[row]!, column));
  } else if (child.batches != null && accumulator.takeBatch !== undefined) {
    yield* child.batches(run, (from, count, column) => accumulator.takeBatch!(groups.of, from, count, column));
  } else {
    yield* child.stream(run, (row, column) => {
      accumulator.take(groups.of[row]!, column);
      if (column.histograms === null) return;
      histograms ??= new HistogramGroups(run, expr, child.rows, grid.count);
      histograms.take(row, groups.of[row]!, column);
    });
  }
  for (let group = 0; group < groups.rows.count; group++) {
    const column = newColumn(grid.count);
    accumulator.finish(group, column);
    (histograms as HistogramGroups | null)?.finish(group, column);
    visit(group, column);
    if (run.work(ROW_WORK + grid.count)) yield;
  }
}

/** Values that are added up in the store at least: sums of fewer are not worth the way in and out. */
const SUMMED_MIN = 4096;

/** More sums than this go in and out for longer than a batch of one step takes to be added up here. */
const SUMMED_GROUPS_MAX = 512;

function isSummed({ rows: groups }: Groups, { rows, grid, summing }: BoundVector): boolean {
  if (summing == null || rows.count * grid.count < SUMMED_MIN) return false;
  return groups.count * grid.count <= (grid.count === 1 ? SUMMED_GROUPS_MAX : summing.slotsMax);
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
    sums: { sum, lost: compensation, seen },
    take: (group, column) => addSums(column, sum, compensation, seen, group * steps, steps),
    takeBatch:
      groups === 1
        ? (_of, _from, count, column) => addBatch(column, count, sum, compensation, seen)
        : (of, from, count, column) => addBatches(of, from, count, column, sum, compensation, seen),
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

/** Kahan-Neumaier over one step of members of the only group. */
function addBatch(
  { values, present }: Pick<Column, 'values' | 'present'>,
  count: number,
  sum: Float64Array,
  compensation: Float64Array,
  seen: Uint8Array,
): void {
  let total = sum[0]!;
  let lost = compensation[0]!;
  let any = seen[0]!;
  for (let i = 0; i < count; i++) {
    if (present[i] !== FLOAT) continue;
    any = FLOAT;
    const value = values[i]!;
    const t = total + value;
    if (t === Infinity || t === -Infinity) lost = 0;
    else if (Math.abs(total) >= Math.abs(value)) lost += total - t + value;
    else lost += value - t + total;
    total = t;
  }
  sum[0] = total;
  compensation[0] = lost;
  seen[0] = any;
}

/** Kahan-Neumaier over one step of members, each to its group. */
function addBatches(
  of: Int32Array,
  from: number,
  count: number,
  { values, present }: Pick<Column, 'values' | 'present'>,
  sum: Float64Array,
  compensation: Float64Array,
  seen: Uint8Array,
): void {
  for (let i = 0; i < count; i++) {
    if (present[i] !== FLOAT) continue;
    const slot = of[from + i]!;
    const value = values[i]!;
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
    takeBatch(of, from, count, { present }) {
      for (let i = 0; i < count; i++) if (present[i] !== 0) counts[of[from + i]!]! += 1;
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
