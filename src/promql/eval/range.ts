/**
 * Range vectors: for each row its samples, and for each step a window of them, (end - range, end].
 *
 * A source hands out one row at a time, stale markers left out, in columns that stay valid until the next row is loaded.
 * The samples come from the store or, for a subquery, from another vector on its own grid.
 */
import { type FloatHistogram, RESET_HINT } from '../../model/histogram.ts';
import { SampleBuffer } from '../../model/sample.ts';
import type { Selection } from '../../tsdb/head.ts';
import { withHint } from '../histogram/algebra.ts';
import type { Edges } from '../syntax/ast.ts';
import { ABSENT, FLOAT, type Frame, type Grid } from './column.ts';
import { type HintMode, readMixed } from './histogram-samples.ts';
import { NO_CODES, type Rows } from './rows.ts';
import type { Run, Slices } from './run.ts';
import { type BoundVector, collect } from './vector.ts';

/** Samples of one row, ascending in time. */
export interface RowSamples {
  timesMs: Float64Array;
  values: Float64Array;
  count: number;
  /** Null if there are none; else null where the sample is a float, and its value NaN where it is a histogram. */
  histograms: (FloatHistogram | null)[] | null;
  /** Start timestamps, 0 where unknown; null if there are none, or nobody asks for them. */
  starts: Float64Array | null;
}

export function newRowSamples(): RowSamples {
  return { timesMs: new Float64Array(0), values: new Float64Array(0), count: 0, histograms: null, starts: null };
}

export interface RangeSource {
  readonly rows: Rows;
  readonly rangeMs: number;
  /** End of the window of step k: firstEndMs + k*endStepMs (0 under an `@`). */
  readonly firstEndMs: number;
  readonly endStepMs: number;
  readonly grid: Grid;
  /** How the windows' edges are made; null for the samples inside alone. */
  readonly edges: Edges | null;
  /** Where the rows are series of the store and the windows are plain: what can compute many of them at once. */
  readonly selection: Selection | null;
  prepare(run: Run): Slices<void>;
  load(run: Run, row: number, into: RowSamples): void;
}

/** Where the windows of a grid end: fixed by `@`, moved by an offset. */
export interface Windows {
  readonly firstEndMs: number;
  readonly endStepMs: number;
}

export function windowsOf(grid: Grid, atMs: number | null, offsetMs: number): Windows {
  return atMs === null
    ? { firstEndMs: grid.startMs - offsetMs, endStepMs: grid.count > 1 ? grid.stepMs : 0 }
    : { firstEndMs: atMs - offsetMs, endStepMs: 0 };
}

/** End of the last window. */
export function lastEndMs(windows: Windows, grid: Grid): number {
  return windows.firstEndMs + (grid.count - 1) * windows.endStepMs;
}

/** Rows of a selection. */
export function selectionRows(selection: Selection, sameName: boolean): Rows {
  return {
    count: selection.count,
    labels: (row) => selection.labels(row),
    marked: () => false,
    sameName,
    codes: (name) =>
      selection.mayHave(name)
        ? {
            range: (from, to) => selection.labelCodes(name, from, to),
            text: (code) => selection.labelText(code),
          }
        : NO_CODES,
    identity: () => selection.identity?.() ?? null,
  };
}

/** What a range of the store reads, and how. */
export interface StoreRead {
  readonly fromMs: number;
  readonly toMs: number;
  readonly sameName: boolean;
  readonly edges: Edges | null;
  readonly hints: HintMode;
  readonly starts: boolean;
}

/** Samples of the store. */
export function storeSource(
  selection: Selection,
  grid: Grid,
  windows: Windows,
  rangeMs: number,
  read: StoreRead,
): RangeSource {
  // Not before somebody reads samples: what the store computes by itself needs none.
  let buffer: SampleBuffer | null = null;
  const useStarts = read.starts && selection.anyStarts;
  const isPlain = read.edges === null && !selection.anyHistograms && !useStarts;
  return {
    firstEndMs: windows.firstEndMs,
    endStepMs: windows.endStepMs,
    rows: selectionRows(selection, read.sameName),
    rangeMs,
    grid,
    edges: read.edges,
    selection: isPlain ? selection : null,
    prepare: nothingToPrepare,
    load(run, row, into) {
      buffer ??= new SampleBuffer(256);
      if (selection.hasHistograms(row)) loadMixed(selection, row, read, buffer, into);
      else {
        into.count = dropStale(buffer, selection.read(row, read.fromMs, read.toMs, buffer));
        into.timesMs = buffer.timesMs;
        into.values = buffer.values;
        into.histograms = null;
      }
      const { count, timesMs } = into;
      run.noteRead(count, count === 0 ? -Infinity : timesMs[count - 1]!);
      into.starts = null;
      if (!useStarts) return;
      const starts = new Float64Array(count);
      if (selection.readStarts(row, timesMs, count, starts)) into.starts = starts;
    },
  };
}

function* nothingToPrepare(): Slices<void> {}

/** Floats and histograms, stale markers left out. */
function loadMixed(selection: Selection, row: number, read: StoreRead, buffer: SampleBuffer, into: RowSamples): void {
  const mixed = readMixed(selection, row, read.fromMs, read.toMs, buffer, read.hints);
  const kept = mixed.histograms.map((_, i) => i).filter((i) => mixed.stale[i] === 0);
  into.timesMs = Float64Array.from(kept, (i) => mixed.timesMs[i]!);
  into.values = Float64Array.from(kept, (i) => mixed.values[i]!);
  into.histograms = kept.map((i) => mixed.histograms[i]!);
  into.count = kept.length;
}

/** Moves the samples that are no stale markers to the front; returns their number. */
export function dropStale(buffer: SampleBuffer, count: number): number {
  let kept = 0;
  for (let i = 0; i < count; i++) {
    if (buffer.isStale(i)) continue;
    if (kept !== i) {
      buffer.timesMs[kept] = buffer.timesMs[i]!;
      buffer.values[kept] = buffer.values[i]!;
    }
    kept++;
  }
  return kept;
}

/** Points of a vector as samples. */
export function subquerySource(child: BoundVector, grid: Grid, windows: Windows, rangeMs: number): RangeSource {
  const kept: Kept = { frame: null };
  const inner = child.grid;
  return {
    firstEndMs: windows.firstEndMs,
    endStepMs: windows.endStepMs,
    rows: child.rows,
    rangeMs,
    grid,
    edges: null,
    selection: null,
    prepare: (run) => keepFrame(run, child, kept),
    load: (_run, row, into) => loadPoints(kept.frame!, inner, row, into),
  };
}

interface Kept {
  frame: Frame | null;
}

function* keepFrame(run: Run, child: BoundVector, kept: Kept): Slices<void> {
  kept.frame ??= yield* collect(run, child);
}

function loadPoints({ steps, values, present, histograms }: Frame, grid: Grid, row: number, into: RowSamples): void {
  if (into.timesMs.length < steps) {
    into.timesMs = new Float64Array(steps);
    into.values = new Float64Array(steps);
  }
  into.histograms = histograms === null ? null : [];
  into.starts = null;
  let count = 0;
  for (let k = 0; k < steps; k++) {
    const slot = row * steps + k;
    const kind = present[slot]!;
    if (kind === ABSENT) continue;
    into.timesMs[count] = grid.startMs + k * grid.stepMs;
    into.histograms?.push(kind === FLOAT ? null : withoutResetHint(histograms![slot]!));
    into.values[count++] = kind === FLOAT ? values[slot]! : Number.NaN;
  }
  into.count = count;
}

/** A subquery leaves out samples: what was known of a sample and the one before it holds no longer. */
function withoutResetHint(histogram: FloatHistogram): FloatHistogram {
  return histogram.hint === RESET_HINT.gauge ? histogram : withHint(histogram, RESET_HINT.unknown);
}

/** The grid of a subquery: absolute multiples of its step, the first after the first window's start. */
export function subqueryGrid(firstEndMs: number, lastMs: number, rangeMs: number, stepMs: number): Grid {
  const startMs = (Math.floor((firstEndMs - rangeMs) / stepMs) + 1) * stepMs;
  return { startMs, stepMs, count: Math.max(0, Math.floor((lastMs - startMs) / stepMs) + 1) };
}
