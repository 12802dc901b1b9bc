/** Functions of values step by step (math, dates), and those that make vectors of scalars and scalars of vectors. */
import { DATES } from '../functions/dates.ts';
import { goMax, goMin, MATH, roundTo } from '../functions/math.ts';
import { type Call, unparen } from '../syntax/ast.ts';
import { type Binding, bindScalar, bindVector, unsupported } from './bind.ts';
import { ABSENT, type Column, dropHistograms, FLOAT, newColumn } from './column.ts';
import { dropNames, type Renamed, rowsOf } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { bindSelector } from './select.ts';
import { type BoundScalar, type BoundVector, constantScalar, mapRows, scalarOfTime, type Visit } from './vector.ts';

// ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export function* bindMath(b: Binding, call: Call): Slices<BoundVector> {
  const child = yield* bindVector(b, call.args[0]!);
  const params: BoundScalar[] = [];
  for (const arg of call.args.slice(1)) params.push(yield* bindScalar(b, arg));
  const renamed = yield* dropNames(b.run, child.rows);
  const single = MATH.get(call.name);
  if (single !== undefined) {
    return mapRows(child, renamed, 'merge', (_row, column) => {
      dropHistograms(column);
      mapValues(column.values, single);
    });
  }
  return withScalars(child, renamed, params, PARAMETRIC[call.name]!);
}

function mapValues(values: Float64Array, change: (value: number) => number): void {
  for (let k = 0; k < values.length; k++) values[k] = change(values[k]!);
}

/** Functions of a value and scalars of the same step; null leaves the point out. */
const PARAMETRIC: Readonly<
  Record<string, (value: number, params: readonly Float64Array[], k: number) => number | null>
> = {
  round: (value, [nearest], k) => roundTo(value, nearest?.[k] ?? 1),
  clamp: (value, [min, max], k) => (min![k]! > max![k]! ? null : goMax(min![k]!, goMin(max![k]!, value))),
  clamp_min: (value, [min], k) => goMax(min![k]!, value),
  clamp_max: (value, [max], k) => goMin(max![k]!, value),
};

function withScalars(
  child: BoundVector,
  renamed: Renamed,
  params: readonly BoundScalar[],
  change: (value: number, params: readonly Float64Array[], k: number) => number | null,
): BoundVector {
  const evaluated: Float64Array[] = [];
  const mapped = mapRows(child, renamed, 'merge', (_row, column) => {
    dropHistograms(column);
    const { values, present } = column;
    for (let k = 0; k < values.length; k++) {
      if (present[k] !== FLOAT) continue;
      const value = change(values[k]!, evaluated, k);
      if (value === null) present[k] = 0;
      else values[k] = value;
    }
  });
  return {
    grid: child.grid,
    rows: mapped.rows,
    stream: (run, visit) => streamMapped(run, visit, mapped, params, evaluated),
  };
}

/** Evaluates the scalars before anything is mapped. */
function* streamMapped(
  run: Run,
  visit: Visit,
  mapped: BoundVector,
  params: readonly BoundScalar[],
  evaluated: Float64Array[],
): Slices<void> {
  for (const [i, param] of params.entries()) evaluated[i] = yield* param.evaluate(run);
  yield* mapped.stream(run, visit);
}

export function* bindDate(b: Binding, call: Call): Slices<BoundVector> {
  const part = DATES.get(call.name)!;
  if (call.args.length === 0) return vectorOf(scalarOfTime(b.grid, (timeMs) => part(timeMs / 1000)));
  const child = yield* bindVector(b, call.args[0]!);
  return mapRows(child, yield* dropNames(b.run, child.rows), 'merge', (_row, column) => {
    dropHistograms(column);
    mapValues(column.values, part);
  });
}

// ── Scalars ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export function* bindVectorOfScalars(b: Binding, call: Call): Slices<BoundVector> {
  const [arg] = call.args;
  if (call.name === 'vector') return vectorOf(yield* bindScalar(b, arg!));
  const isStart = call.name === 'start_timestamp';
  if (call.name !== 'timestamp' && !isStart) throw unsupported(`function ${call.name}()`);
  const inner = unparen(arg!);
  const fromSamples = inner.kind === 'selector' && inner.edges === null;
  const child = fromSamples
    ? yield* bindSelector(b.run, b.grid, inner, isStart ? 'start' : 'time')
    : yield* bindVector(b, arg!);
  const renamed = yield* dropNames(b.run, child.rows);
  return mapRows(child, renamed, 'merge', (_row, column) => {
    if (fromSamples) return;
    // Points of an expression have no start that anybody knew.
    if (isStart) column.present.fill(ABSENT);
    else timeOfSteps(b, column);
    column.histograms = null;
  });
}

function timeOfSteps({ grid: { startMs, stepMs } }: Binding, { values, present }: Column): void {
  for (let k = 0; k < values.length; k++) {
    values[k] = (startMs + k * stepMs) / 1000;
    if (present[k] !== ABSENT) present[k] = FLOAT;
  }
}

/** One row without labels that has a point at every step. */
function vectorOf(scalar: BoundScalar): BoundVector {
  return {
    grid: scalar.grid,
    rows: rowsOf([[]], null, true),
    stream: (run, visit) => streamScalar(run, visit, scalar),
  };
}

function* streamScalar(run: Run, visit: Visit, scalar: BoundScalar): Slices<void> {
  const column = newColumn(scalar.grid.count);
  column.values.set(yield* scalar.evaluate(run));
  column.present.fill(FLOAT);
  visit(0, column);
}

export function* bindScalarCall(b: Binding, call: Call): Slices<BoundScalar> {
  const { startMs, endMs, stepMs } = b.run.options;
  switch (call.name) {
    case 'time':
      return scalarOfTime(b.grid, (timeMs) => timeMs / 1000);
    case 'pi':
      return constantScalar(Math.PI, b.grid);
    case 'start':
      return constantScalar(startMs / 1000, b.grid);
    case 'end':
      return constantScalar(endMs / 1000, b.grid);
    case 'step':
      return constantScalar(stepMs / 1000, b.grid);
    case 'range':
      return constantScalar((endMs - startMs) / 1000, b.grid);
    case 'scalar':
      return scalarOf(yield* bindVector(b, call.args[0]!));
    case 'min_of':
      return ofTwo(goMin, yield* bindScalar(b, call.args[0]!), yield* bindScalar(b, call.args[1]!));
    case 'max_of':
      return ofTwo(goMax, yield* bindScalar(b, call.args[0]!), yield* bindScalar(b, call.args[1]!));
    default:
      throw unsupported(`function ${call.name}()`);
  }
}

function ofTwo(pick: (a: number, b: number) => number, left: BoundScalar, right: BoundScalar): BoundScalar {
  return { grid: left.grid, evaluate: (run) => picked(run, pick, left, right) };
}

function* picked(
  run: Run,
  pick: (a: number, b: number) => number,
  left: BoundScalar,
  right: BoundScalar,
): Slices<Float64Array> {
  const a = yield* left.evaluate(run);
  const b = yield* right.evaluate(run);
  return a.map((value, k) => pick(value, b[k]!));
}

/** NaN wherever there is not exactly one point. */
function scalarOf(child: BoundVector): BoundScalar {
  return { grid: child.grid, evaluate: (run) => onlyPoints(run, child) };
}

function* onlyPoints(run: Run, child: BoundVector): Slices<Float64Array> {
  const values = new Float64Array(child.grid.count);
  const counts = new Uint32Array(child.grid.count);
  yield* child.stream(run, (_row, column) => {
    for (let k = 0; k < values.length; k++) {
      if (column.present[k] !== FLOAT) continue;
      counts[k]!++;
      values[k] = column.values[k]!;
    }
  });
  for (let k = 0; k < values.length; k++) if (counts[k] !== 1) values[k] = Number.NaN;
  return values;
}
