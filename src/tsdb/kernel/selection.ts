/**
 * A selection: ids, and what their records were at the moment of selecting.
 *
 * The records are copied late: only when the store is about to be written while the selection is open (`freeze`).
 * A query that runs through without a write in between reads the records themselves.
 */
import { strict as assert } from 'node:assert';
import { type HistogramSamples, NO_HISTOGRAM_SAMPLES } from '../../model/histogram.ts';
import type { Labels } from '../../model/labels.ts';
import type { SampleBuffer } from '../../model/sample.ts';
import type { GroupSums, RateKind, RateWindows, Selection, SeriesRef, WholeColumn } from '../head.ts';
import { RHYTHM_SIZE, type RhythmRequest } from '../rhythm.ts';
import type { IdLists } from './id-lists.ts';
import type { Kernel } from './kernel.ts';
import type { LabelTexts } from './label-text.ts';
import {
  EXTRA_HAS_HISTOGRAMS,
  EXTRA_HAS_STARTS,
  LOG_BLOB,
  LOG_BLOB_BYTES,
  LOG_TIME,
  PAIR_BLOB,
  RATE_SAMPLE_BYTES,
  RATE_STEP_BYTES,
  REC_SAMPLES,
  RECORD_BYTES,
  RESULT_READ_NEWEST,
  RESULT_READ_SAMPLES,
  RHYTHM_BYTES,
  SB_COLUMN_BYTES,
  SB_COLUMNS,
  SB_CURSOR,
  SB_RECORDS,
  SB_RESULT,
  SB_SERIAL,
  SB_SOURCE,
} from './layout.ts';
import type { SeriesSets } from './series-sets.ts';
import { newWords, setWords } from './words.ts';

/** Samples that are decoded at a time. */
const DECODED_MAX = 32_768;
/** Series that a window kernel is handed at a time. */
const BATCH = 4096;
/** Results that a window kernel leaves at a time: a core's nearest memory holds what many steps of a few series come to. */
const RESULTS_MAX = 4096;
/** Below this, a loop copies faster than a call of `set` does. */
const LOOP_MAX = 24;

/** A sum, what it has lost, and whether anything was added to it. */
const SUM_BYTES = 17;
/** Sums that go into the kernel and out again with each batch. */
const SUM_SLOTS_MAX = 8192;

/** Addresses in the columns of the query scratch. */
interface Places {
  readonly batch: number;
  readonly sources: number;
  readonly values: number;
  readonly valid: number;
  readonly of: number;
  readonly sums: number;
  readonly columns: number;
  readonly capacity: number;
}

const RATE_KIND: Readonly<Record<RateKind, number>> = { delta: 0, increase: 1, rate: 2 };

export class KernelSelection implements Selection {
  /** When it was opened, in monotonic time. */
  openedMs = 0;
  readonly samplesMax: number;
  readonly anyHistograms: boolean;
  readonly anyStarts: boolean;
  readonly #kernel: Kernel;
  readonly #texts: LabelTexts;
  readonly #ids: Uint32Array;
  readonly #sets: SeriesSets;
  readonly #onClose: (selection: KernelSelection) => void;
  /** Cells of extras that had been written by then: histograms that came later are not in the selection. */
  readonly #serial: number;
  #copies: Uint8Array | null = null;
  #isOpen = true;

  constructor(
    kernel: Kernel,
    texts: LabelTexts,
    sets: SeriesSets,
    ids: Uint32Array,
    samplesMax: number,
    extras: number,
    onClose: (selection: KernelSelection) => void,
  ) {
    this.samplesMax = samplesMax;
    this.anyHistograms = (extras & EXTRA_HAS_HISTOGRAMS) !== 0;
    this.anyStarts = (extras & EXTRA_HAS_STARTS) !== 0;
    this.#serial = kernel.f64[SB_SERIAL >>> 3]!;
    this.#kernel = kernel;
    this.#texts = texts;
    this.#sets = sets;
    this.#ids = ids;
    this.#onClose = onClose;
  }

  get count(): number {
    return this.#ids.length;
  }

  get isFrozen(): boolean {
    return this.#copies !== null;
  }

  ref(i: number): SeriesRef {
    this.#assertOpen();
    return this.#ids[i]! as SeriesRef;
  }

  labels(i: number): Labels {
    this.#assertOpen();
    return this.#texts.labels(this.#ids[i]!);
  }

  /** The number of a value is the address of its pair, which is a multiple of 64, by 64. */
  labelCodes(name: string, first = 0, end = this.count): Uint32Array {
    this.#assertOpen();
    const { u32 } = this.#kernel;
    const codes = newWords(end - first);
    const id = this.#texts.findName(name);
    if (id === 0) return codes.fill(0);
    const sources = u32[SB_COLUMNS >>> 2]!;
    for (let from = first; from < end; from += BATCH) {
      const ids = this.#ids.subarray(from, Math.min(from + BATCH, end));
      setWords(u32, sources >>> 2, ids);
      const out = sources + BATCH * 4;
      this.#kernel.labelColumn(sources, ids.length, id, out);
      for (let i = 0, at = out >>> 2; i < ids.length; i++) codes[from - first + i] = u32[at + i]! >>> 6;
    }
    return codes;
  }

  identity(): object | null {
    this.#assertOpen();
    return this.#sets.identityOf(this.#ids);
  }

  mayHave(name: string): boolean {
    return this.#texts.findName(name) !== 0;
  }

  labelText(code: number): string {
    this.#assertOpen();
    return code === 0 ? '' : this.#texts.valueText(this.#kernel.u32[code * 16 + (PAIR_BLOB >>> 2)]!);
  }

  read(i: number, fromMs: number, toMs: number, into: SampleBuffer): number {
    this.#assertOpen();
    const { u32 } = this.#kernel;
    const times = u32[SB_COLUMNS >>> 2]!;
    const max = Math.min(DECODED_MAX, u32[SB_COLUMN_BYTES >>> 2]! >>> 4);
    const values = times + max * 8;
    const count = this.#kernel.decode(this.#source(i), fromMs, toMs, times, values, max);
    if (count === max && u32[(SB_CURSOR + REC_SAMPLES) >>> 2] !== 0) return this.#readLong(fromMs, toMs, max, into);
    into.ensure(count);
    this.#copy((times >>> 3) + max - count, (values >>> 3) + max - count, count, into);
    return count;
  }

  lastValues(first: number, end: number, atMs: number, lookbackMs: number, into: WholeColumn): void {
    this.#assertOpen();
    const { u32, f64, u8 } = this.#kernel;
    const sources = u32[SB_COLUMNS >>> 2]!;
    const values = sources + BATCH * RECORD_BYTES;
    const valid = values + BATCH * 8;
    into.samples = 0;
    into.newestMs = -Infinity;
    for (let from = first; from < end; from += BATCH) {
      const n = this.#writeSources(sources, from, Math.min(BATCH, end - from));
      this.#kernel.lastValues(sources, Number(this.isFrozen), n, atMs, lookbackMs, values, valid);
      into.values.set(f64.subarray(values >>> 3, (values >>> 3) + n), from - first);
      into.present.set(u8.subarray(valid, valid + n), from - first);
      this.#noteRead(into);
    }
  }

  rates(kind: RateKind, first: number, end: number, windows: RateWindows, into: WholeColumn): boolean {
    this.#assertOpen();
    const { f64, u8 } = this.#kernel;
    const { steps } = windows;
    const places = this.#places(steps, 0);
    if (places === null) return false;
    const { batch, values, valid } = places;
    into.samples = 0;
    into.newestMs = -Infinity;
    for (let from = first; from < end; from += batch) {
      const n = Math.min(batch, end - from);
      if (!this.#rateBatch(kind, from, n, windows, places)) return false;
      into.values.set(f64.subarray(values >>> 3, (values >>> 3) + n * steps), (from - first) * steps);
      into.present.set(u8.subarray(valid, valid + n * steps), (from - first) * steps);
      this.#noteRead(into);
    }
    return true;
  }

  get sumSlotsMax(): number {
    return Math.min(SUM_SLOTS_MAX, Math.floor(this.#kernel.u32[SB_COLUMN_BYTES >>> 2]! / 8 / SUM_BYTES));
  }

  addLastValues(first: number, end: number, atMs: number, lookbackMs: number, into: GroupSums): void {
    this.#assertOpen();
    const places = this.#places(1, into.sum.length);
    assert(places !== null, 'no room for sums');
    const { batch, sources, values, valid } = places;
    this.#writeSums(places.sums, into);
    for (let from = first; from < end; from += batch) {
      const n = this.#writeSources(sources, from, Math.min(batch, end - from));
      this.#kernel.lastValues(sources, Number(this.isFrozen), n, atMs, lookbackMs, values, valid);
      this.#addUp(places, from, n, 1, into);
    }
    this.#readSums(places.sums, into);
  }

  addRates(kind: RateKind, first: number, end: number, windows: RateWindows, into: GroupSums): number {
    this.#assertOpen();
    const places = this.#places(windows.steps, into.sum.length);
    if (places === null) return first;
    this.#writeSums(places.sums, into);
    let from = first;
    while (from < end) {
      const n = Math.min(places.batch, end - from);
      if (!this.#rateBatch(kind, from, n, windows, places)) break;
      this.#addUp(places, from, n, windows.steps, into);
      from += n;
    }
    this.#readSums(places.sums, into);
    return from;
  }

  /** Where in the columns a batch has its sources, results, sums, and samples; null if there is no room for one row. */
  #places(steps: number, slots: number): Places | null {
    const { u32 } = this.#kernel;
    const sources = u32[SB_COLUMNS >>> 2]!;
    const bytes = u32[SB_COLUMN_BYTES >>> 2]! - slots * SUM_BYTES - steps * RATE_STEP_BYTES;
    // Half of the columns are for results, what the sources leave of the other half for samples.
    const batchMax = Math.max(1, Math.min(BATCH, Math.floor(RESULTS_MAX / steps)));
    const batch = Math.min(batchMax, Math.floor(bytes / 2 / (9 * steps + RECORD_BYTES + 12)));
    if (batch <= 0) return null;
    const values = sources + batch * RECORD_BYTES;
    const valid = values + batch * steps * 8;
    const of = ((valid + batch * steps + 63) & ~63) >>> 0;
    const sums = ((of + batch * 4 + 63) & ~63) >>> 0;
    const columns = ((sums + slots * SUM_BYTES + 63) & ~63) >>> 0;
    const end = sources + u32[SB_COLUMN_BYTES >>> 2]!;
    const capacity = Math.floor((end - columns - steps * RATE_STEP_BYTES) / RATE_SAMPLE_BYTES);
    return capacity <= 0 ? null : { batch, sources, values, valid, of, sums, columns, capacity };
  }

  /** Rates of n series in their places; false if one has more samples than there is room for. */
  #rateBatch(kind: RateKind, from: number, n: number, windows: RateWindows, places: Places): boolean {
    const { firstEndMs, stepMs, steps, rangeMs } = windows;
    const { sources, columns, capacity, values, valid } = places;
    this.#writeSources(sources, from, n);
    const isFrozen = Number(this.isFrozen);
    const done = this.#kernel.rates(
      RATE_KIND[kind],
      sources,
      isFrozen,
      n,
      firstEndMs,
      stepMs,
      steps,
      rangeMs,
      columns,
      capacity,
      values,
      valid,
    );
    return done === n;
  }

  #addUp({ values, valid, of, sums }: Places, from: number, n: number, steps: number, into: GroupSums): void {
    const { u32, f64 } = this.#kernel;
    if (into.of !== null) u32.set(into.of.subarray(from, from + n), of >>> 2);
    const slots = into.sum.length;
    const lost = sums + slots * 8;
    const row = this.#kernel.addUp(values, valid, n, steps, into.of === null ? 0 : of, sums, lost, lost + slots * 8);
    if (into.first < 0 && row < n) into.first = from + row;
    into.samples += f64[(SB_RESULT + RESULT_READ_SAMPLES) >>> 3]!;
    into.newestMs = Math.max(into.newestMs, f64[(SB_RESULT + RESULT_READ_NEWEST) >>> 3]!);
  }

  #writeSums(at: number, into: GroupSums): void {
    const { f64, u8 } = this.#kernel;
    const slots = into.sum.length;
    into.samples = 0;
    into.newestMs = -Infinity;
    into.first = -1;
    if (slots > LOOP_MAX) {
      f64.set(into.sum, at >>> 3);
      f64.set(into.lost, (at >>> 3) + slots);
      u8.set(into.seen, at + slots * 16);
      return;
    }
    for (let i = 0; i < slots; i++) {
      f64[(at >>> 3) + i] = into.sum[i]!;
      f64[(at >>> 3) + slots + i] = into.lost[i]!;
      u8[at + slots * 16 + i] = into.seen[i]!;
    }
  }

  #readSums(at: number, into: GroupSums): void {
    const { f64, u8 } = this.#kernel;
    const slots = into.sum.length;
    for (let i = 0; slots <= LOOP_MAX && i < slots; i++) {
      into.sum[i] = f64[(at >>> 3) + i]!;
      into.lost[i] = f64[(at >>> 3) + slots + i]!;
      into.seen[i] = u8[at + slots * 16 + i]!;
    }
    if (slots <= LOOP_MAX) return;
    into.sum.set(f64.subarray(at >>> 3, (at >>> 3) + slots));
    into.lost.set(f64.subarray((at >>> 3) + slots, (at >>> 3) + 2 * slots));
    into.seen.set(u8.subarray(at + slots * 16, at + slots * 17));
  }

  rhythms(first: number, end: number, request: RhythmRequest, into: Float64Array): void {
    this.#assertOpen();
    const { u32, f64 } = this.#kernel;
    const { fromMs, startMs, endMs, lifeMs, gapIntervals, gapSlackMs, intervalMsUnknown } = request;
    const sources = u32[SB_COLUMNS >>> 2]!;
    const out = sources + BATCH * RECORD_BYTES;
    for (let from = first; from < end; from += BATCH) {
      const n = this.#writeSources(sources, from, Math.min(BATCH, end - from));
      const isFrozen = Number(this.isFrozen);
      this.#kernel.rhythms(
        sources,
        isFrozen,
        n,
        fromMs,
        startMs,
        endMs,
        lifeMs,
        gapIntervals,
        gapSlackMs,
        intervalMsUnknown,
        out,
      );
      into.set(f64.subarray(out >>> 3, (out + n * RHYTHM_BYTES) >>> 3), (from - first) * RHYTHM_SIZE);
    }
  }

  /** Counts what the last call of a window kernel has read, and how new it is. */
  #noteRead(into: WholeColumn): void {
    const { f64 } = this.#kernel;
    into.samples += f64[(SB_RESULT + RESULT_READ_SAMPLES) >>> 3]!;
    into.newestMs = Math.max(into.newestMs, f64[(SB_RESULT + RESULT_READ_NEWEST) >>> 3]!);
  }

  /** Copies the records; afterwards the store may be written. */
  freeze(): void {
    if (this.#copies !== null) return;
    const { u32, u8 } = this.#kernel;
    const copies = new Uint8Array(this.count * RECORD_BYTES);
    const ids = u32[SB_COLUMNS >>> 2]!;
    const out = ids + BATCH * 4;
    for (let from = 0; from < this.count; from += BATCH) {
      const part = this.#ids.subarray(from, from + BATCH);
      u32.set(part, ids >>> 2);
      this.#kernel.copyRecords(ids, part.length, out);
      copies.set(u8.subarray(out, out + part.length * RECORD_BYTES), from * RECORD_BYTES);
    }
    this.#copies = copies;
  }

  hasHistograms(i: number): boolean {
    this.#assertOpen();
    return this.anyHistograms && this.#kernel.hasHistograms(this.#ids[i]!, this.#serial) !== 0;
  }

  /** Blobs are views of the store's memory: they are good until the selection is closed. */
  readHistograms(i: number, fromMs: number, toMs: number): HistogramSamples {
    this.#assertOpen();
    if (!this.anyHistograms) return NO_HISTOGRAM_SAMPLES;
    const { u32, f64 } = this.#kernel;
    const out = u32[SB_COLUMNS >>> 2]!;
    const max = Math.min(DECODED_MAX, (u32[SB_COLUMN_BYTES >>> 2]! >>> 2) - 1);
    const parts: Uint32Array[] = [];
    let count = 0;
    for (let lastMs = toMs; ; ) {
      const n = this.#kernel.histogramsIn(this.#ids[i]!, fromMs, lastMs, this.#serial, out, max);
      parts.push(u32.slice(out >>> 2, (out >>> 2) + n));
      count += n;
      if (n < max) break;
      lastMs = f64[(u32[(out >>> 2) + n - 1]! + LOG_TIME) >>> 3]! - 1;
    }
    if (count === 0) return NO_HISTOGRAM_SAMPLES;
    return this.#histograms(i, parts, count, u32[(out >>> 2) + parts.at(-1)!.length]!);
  }

  /** Samples at addresses that stand newest first, and the one before them. */
  #histograms(i: number, parts: readonly Uint32Array[], count: number, beforeCell: number): HistogramSamples {
    const { f64 } = this.#kernel;
    const timesMs = new Float64Array(count);
    const blobs = new Array<Uint8Array>(count);
    let at = count;
    for (const part of parts) {
      for (const cell of part) {
        timesMs[--at] = f64[(cell + LOG_TIME) >>> 3]!;
        blobs[at] = this.#blob(cell);
      }
    }
    const isNeighbour = beforeCell !== 0 && !this.#hasFloat(i, f64[(beforeCell + LOG_TIME) >>> 3]!, timesMs[0]!);
    return { timesMs, blobs, before: isNeighbour ? this.#blob(beforeCell) : null };
  }

  #blob(cell: number): Uint8Array {
    const start = cell + LOG_BLOB;
    return this.#kernel.u8.subarray(start, start + this.#kernel.u32[(cell + LOG_BLOB_BYTES) >>> 2]!);
  }

  #hasFloat(i: number, fromMs: number, toMs: number): boolean {
    const place = this.#kernel.u32[SB_COLUMNS >>> 2]!;
    return this.#kernel.decode(this.#source(i), fromMs, toMs, place, place + 8, 1) !== 0;
  }

  readStarts(i: number, timesMs: Float64Array, count: number, into: Float64Array): boolean {
    this.#assertOpen();
    if (!this.anyStarts) return false;
    const { u32, f64 } = this.#kernel;
    const times = u32[SB_COLUMNS >>> 2]!;
    const max = Math.min(DECODED_MAX, u32[SB_COLUMN_BYTES >>> 2]! >>> 4);
    for (let from = 0; from < count; from += max) {
      const n = Math.min(max, count - from);
      f64.set(timesMs.subarray(from, from + n), times >>> 3);
      const out = times + n * 8;
      if (this.#kernel.startsAt(this.#ids[i]!, times, n, out) === 0) return false;
      into.set(f64.subarray(out >>> 3, (out >>> 3) + n), from);
    }
    return true;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#copies = null;
    this.#onClose(this);
  }

  /** Gives the memory of the ids back; it must be closed. */
  giveIds(lists: IdLists): void {
    assert(!this.#isOpen, 'selection is open');
    lists.give(this.#ids);
  }

  /** Address of the record (or its copy) of series i. */
  #source(i: number): number {
    if (this.#copies === null) return this.#kernel.u32[SB_RECORDS >>> 2]! + this.#ids[i]! * RECORD_BYTES;
    this.#kernel.u8.set(this.#copies.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES), SB_SOURCE);
    return SB_SOURCE;
  }

  /** Hands ids or copies of a batch to the kernel; their number. */
  #writeSources(at: number, from: number, n: number): number {
    if (this.#copies === null) setWords(this.#kernel.u32, at >>> 2, this.#ids.subarray(from, from + n));
    else this.#kernel.u8.set(this.#copies.subarray(from * RECORD_BYTES, (from + n) * RECORD_BYTES), at);
    return n;
  }

  /** Goes on after a first full column: newest first, so the parts are put in place from behind. */
  #readLong(fromMs: number, toMs: number, max: number, into: SampleBuffer): number {
    const { u32, f64 } = this.#kernel;
    const times = u32[SB_COLUMNS >>> 2]!;
    const values = times + max * 8;
    const parts: { times: Float64Array; halves: Uint32Array }[] = [];
    let total = 0;
    for (let count = max; ; count = this.#kernel.decode(SB_CURSOR, fromMs, toMs, times, values, max)) {
      const skipped = max - count;
      parts.push({
        times: f64.slice((times >>> 3) + skipped, (times >>> 3) + max),
        halves: u32.slice((values >>> 2) + 2 * skipped, (values >>> 2) + 2 * max),
      });
      total += count;
      if (count < max || u32[(SB_CURSOR + REC_SAMPLES) >>> 2] === 0) break;
    }
    into.ensure(total);
    let at = total;
    for (const part of parts) {
      at -= part.times.length;
      into.timesMs.set(part.times, at);
      into.halves.set(part.halves, 2 * at);
    }
    return total;
  }

  /** Copies decoded samples; values by their bits, so that no NaN loses its payload. */
  #copy(time: number, value: number, count: number, into: SampleBuffer): void {
    const { f64, u32 } = this.#kernel;
    if (count > LOOP_MAX) {
      into.timesMs.set(f64.subarray(time, time + count));
      into.halves.set(u32.subarray(2 * value, 2 * (value + count)));
      return;
    }
    for (let k = 0; k < count; k++) into.timesMs[k] = f64[time + k]!;
    for (let k = 0; k < 2 * count; k++) into.halves[k] = u32[2 * value + k]!;
  }

  #assertOpen(): void {
    assert(this.#isOpen, 'selection is closed');
  }
}
