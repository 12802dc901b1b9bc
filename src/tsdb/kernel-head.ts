/**
 * The head on the kernel: the store's door over one linear memory (kernel/README.md). What is here decides and
 * translates; series, postings and samples live in the memory, and nothing in this file grows with them.
 */
import { strict as assert } from 'node:assert';
import type { Clock } from '../model/clock.ts';
import { CodedError } from '../model/errors.ts';
import { compareCodePoints, type Labels, labelsText, METRIC_NAME } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import { ChurnList } from './churn-list.ts';
import { APPENDED, type Appended, type HeadStats, type NewestSum, type SelectRequest, type SeriesRef } from './head.ts';
import { type Cardinality, CardinalityWalk } from './kernel/cardinality.ts';
import { Gathering } from './kernel/gathering.ts';
import { IdLists } from './kernel/id-lists.ts';
import { type Kernel, openKernel } from './kernel/kernel.ts';
import { LabelTexts, stampLabel } from './kernel/label-text.ts';
import {
  BLOB_HEADER_BYTES,
  HISTOGRAM_BYTES_MAX,
  ODD_BYTES,
  ODD_SERIES_BYTES,
  OUTCOME_NO_MEMORY,
  OUTCOME_SERIES_LIMIT,
  PAGE_BYTES,
  PAIR_COUNT,
  REC_FLAGS,
  REC_GENERATION,
  REC_LABELS,
  REC_SET,
  RECORD_BYTES,
  REFUSED_BYTES,
  RESULT_BODY_BYTES,
  RESULT_CREATED,
  RESULT_EXEMPLARS,
  RESULT_EXTRAS,
  RESULT_METADATA,
  RESULT_METADATA_FIRST,
  RESULT_ODD,
  RESULT_REFUSED,
  RESULT_SAMPLES_MAX,
  RING,
  SB_BODY,
  SB_FLOOR_MS,
  SB_FREE_PAGES,
  SB_FRONTIER,
  SB_HEAP_END,
  SB_HEAP_FIRST,
  SB_ID_MAX,
  SB_ID_NEXT,
  SB_IDS,
  SB_IN,
  SB_IN_BYTES_MAX,
  SB_LABEL_INPUT,
  SB_LABELS_MAX,
  SB_LATEST_MS,
  SB_NAME_BYTES_MAX,
  SB_NEWEST_MS,
  SB_ODD,
  SB_OLDEST_MS,
  SB_OUT_OF_ORDER_MS,
  SB_PAIRS_FREED,
  SB_PERIODS_EVICTED,
  SB_PINS,
  SB_RECORDS,
  SB_REFUSED,
  SB_RESERVE_CHUNKS,
  SB_RESULT,
  SB_RETENTION_PHASE,
  SB_RING,
  SB_SAMPLES_APPENDED,
  SB_SERIES,
  SB_SERIES_CREATED,
  SB_SERIES_MAX,
  SB_SERIES_REMOVED,
  SB_STAMP_BYTES,
  SB_STAMP_LABEL,
  SB_TOUCHED,
  SB_VALUE_BYTES_MAX,
  SB_VERDICT,
  SB_VERDICT_BYTES,
  SB_VERDICT_GIVEN,
  SB_VERIFY_AT,
  SERIES_LIMIT,
  SERIES_ODD,
  STATUS_DONE,
  STATUS_ODD_FULL,
  STATUS_PROTOBUF,
  STATUS_SNAPPY_TOO_LARGE,
  STATUS_SYMBOLS,
  SYMBOL_BYTES,
  SYMBOL_HASH,
  SYMBOL_METADATA,
  SYMBOL_NEXT,
} from './kernel/layout.ts';
import { WINDOW_IDS } from './kernel/matched.ts';
import { Matching, RESULT } from './kernel/matching.ts';
import { type StoreParts, storeParts } from './kernel/memory-parts.ts';
import { RequestSymbols } from './kernel/request-symbols.ts';
import { KernelSelection } from './kernel/selection.ts';
import { SeriesSets } from './kernel/series-sets.ts';
import { Summing } from './kernel/summing.ts';
import { joinVerdict, Refusals, splitVerdict } from './verdict.ts';

export interface KernelHeadOptions {
  readonly clock: Clock;
  readonly retentionMs: number;
  readonly outOfOrderMsMax: number;
  readonly futureMsMax: number;
  readonly seriesMax: number;
  /** Size of the store's memory, 4 GiB at most. What is left out is reckoned from `seriesMax`. */
  readonly memoryBytes?: number;
  /** Largest remote-write body after decompression. */
  readonly bodyBytesMax?: number;
  /** Samples are dropped a period at a time. */
  readonly periodMs?: number;
  /** Eight random numbers that no sender knows: the keys of the hash tables. */
  readonly hashKeys?: Uint32Array;
  /** Another build of the kernel, as base64. */
  readonly wasm?: string;
  /** The memory is laid out so, to take an image of such a memory, whatever the limits say; they hold all the same. */
  readonly layout?: { readonly memoryPages: number; readonly seriesMax: number; readonly bodyBytesMax: number };
}

/** Why the first few samples of a body were refused. */
export interface Refusal {
  readonly outcome: number;
  readonly timestampMs: number;
  /** The TimeSeries message. */
  readonly timeSeries: Uint8Array;
}

/** What became of a remote-write body, of 1.0 if nothing else is said. Samples by outcome; what is odd the caller handles. */
export interface RemoteWriteCounts<Odd = Uint8Array, Symbols = null> {
  readonly stored: number;
  readonly duplicate: number;
  readonly outOfOrder: number;
  readonly conflicting: number;
  readonly tooOld: number;
  readonly tooFarAhead: number;
  readonly seriesLimit: number;
  readonly noMemory: number;
  readonly seriesCreated: number;
  readonly exemplars: number;
  readonly metadata: number;
  readonly bodyBytes: number;
  /** The first sixteen at most. */
  readonly refusals: readonly Refusal[];
  /** TimeSeries messages that the kernel leaves to others: labels in no canonical form, native histograms. */
  readonly odd: readonly Odd[];
  /** Of a 2.0 body. */
  readonly symbols: Symbols;
}

/** A TimeSeries of a 2.0 body that the kernel leaves to the caller, and its series if that is known. */
export interface OddSeries {
  readonly ref: SeriesRef | null;
  readonly timeSeries: Uint8Array;
}

/** What a 2.0 body says of a metric: its name's symbol, and the Metadata message. */
export interface MetadataNote {
  readonly symbol: number;
  readonly message: Uint8Array;
}

/** What became of a 2.0 body. Symbols and metadata are read where the body lies: valid until the next call of the head. */
export type RequestCounts = RemoteWriteCounts<OddSeries, RequestSymbols>;

/** Rows of one outcome, and the first of them. */
export interface RefusedRows {
  readonly outcome: number;
  count: number;
  readonly row: number;
}

/** Series as they are at a moment: a ref names the same one as long as its generation stays. */
export interface SeriesList {
  readonly refs: Uint32Array;
  readonly generations: Uint32Array;
}

/** What became of rows of known OTLP points. */
export interface RowCounts {
  /** Stored, or stored before. */
  readonly stored: number;
  /** Rows whose series was removed. */
  readonly gone: readonly number[];
  readonly refused: readonly RefusedRows[];
}

const NO_REFUSALS: readonly Refusal[] = [];
const NO_ROWS: RowCounts = { stored: 0, gone: [], refused: [] };
/** Where a row has its time; where it says what became of it, as a word; and that its series is gone. */
const ROW_TIME = 8;
const ROW_OUTCOME_WORD = 8;
const ROW_GONE = 8;

/** Work of one slice of retention, in records: about a millisecond. */
const RETENTION_BUDGET = 16_384;
/** A selection that nobody closed for so long is given up. */
const SELECTION_MS_MAX = 10 * 60_000;
const DEFAULT_KEYS = Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8).map((n) => Math.imul(n, 0x9e3779b1));

export class KernelHead {
  readonly #options: KernelHeadOptions;
  readonly #kernel: Kernel;
  readonly #texts: LabelTexts;
  readonly #sets: SeriesSets;
  readonly #matching: Matching;
  /** Open selections, in the order in which they were opened. */
  readonly #open = new ChurnList<KernelSelection>();
  /** Open selections whose records are not copied yet. */
  readonly #unfrozen = new ChurnList<KernelSelection>();
  readonly #refusedByLabels = new Refusals();
  #notesVerdicts = false;
  /** At most as long as was set; less while memory is short. */
  #retentionMs: number;
  #refusesNewSeries = false;
  #isReplaying = false;
  /** Selections that are being made, slice by slice. */
  readonly #gatherings = new Set<Gathering>();
  readonly #summings = new ChurnList<Summing>();
  readonly #idLists = new IdLists();
  readonly #onClose = (selection: KernelSelection): void => this.#closed(selection);

  constructor(options: KernelHeadOptions) {
    this.#options = options;
    this.#retentionMs = options.retentionMs;
    const { layout } = options;
    const memoryBytes = options.memoryBytes ?? memoryFor(options.seriesMax);
    this.#kernel = openKernel({
      memoryBytes: layout === undefined ? memoryBytes : layout.memoryPages * PAGE_BYTES,
      seriesMax: layout?.seriesMax ?? options.seriesMax,
      bodyBytesMax: layout?.bodyBytesMax ?? options.bodyBytesMax ?? LIMITS.remoteWriteBodyBytesMax,
      periodMs: options.periodMs ?? periodFor(options.retentionMs + options.futureMsMax),
      outOfOrderMsMax: options.outOfOrderMsMax,
      labelsMax: LIMITS.labelsPerSeriesMax,
      nameBytesMax: LIMITS.labelNameBytesMax,
      valueBytesMax: LIMITS.labelValueBytesMax,
      hashKeys: options.hashKeys ?? DEFAULT_KEYS,
      ...(options.wasm === undefined ? {} : { wasm: options.wasm }),
    });
    this.#texts = new LabelTexts(this.#kernel);
    this.#sets = new SeriesSets(this.#kernel);
    this.#matching = new Matching(this.#kernel, this.#texts);
  }

  /** The series with these labels (sorted, without empty values), created if new. Throws `series_limit`. */
  series(labels: Labels): SeriesRef {
    const bytes = this.#texts.writeLabels(labels);
    if (this.#refusedByLabels.isGiven && this.#isRefusedByLabels(bytes)) {
      throw new CodedError('series_limit', `cannot create series ${labelsText(labels)}: it was refused when it came`);
    }
    const id = this.#kernel.seriesOf(bytes, 1) >>> 0;
    if (id === SERIES_LIMIT) {
      if (this.#notesVerdicts) this.#noteRefusedLabels(bytes);
      const series = this.#kernel.u32[SB_SERIES >>> 2]!;
      throw new CodedError(
        'series_limit',
        `cannot create series ${labelsText(labels)}: got ${series} series, want at most ${this.#options.seriesMax}`,
      );
    }
    assert(id !== SERIES_ODD, 'labels are not sorted, valid and within limits');
    return id as SeriesRef;
  }

  /**
   * Appends one sample; the value comes as the two halves of its bits, so that a stale marker survives. A start timestamp
   * of 0 is unknown. Throws `overloaded`.
   */
  append(ref: SeriesRef, timestampMs: number, low: number, high: number, startTimestampMs = 0): Appended {
    this.#beforeAppend(ref);
    if (this.#refusedByLabels.isGiven && this.#isRefused(ref, timestampMs)) return APPENDED.outOfOrder;
    return this.#judged(ref, timestampMs, this.#kernel.append(ref, timestampMs, low, high, startTimestampMs));
  }

  /** Appends one histogram sample, as the bytes of model/histogram.ts, which are copied. Throws `overloaded`, `bad_body`. */
  appendHistogram(ref: SeriesRef, timestampMs: number, blob: Uint8Array, startTimestampMs = 0): Appended {
    this.#beforeAppend(ref);
    const bytes = blob.byteLength;
    if (bytes > HISTOGRAM_BYTES_MAX) {
      throw new CodedError(
        'bad_body',
        `cannot store histogram: got ${bytes} bytes, want at most ${HISTOGRAM_BYTES_MAX}`,
      );
    }
    this.#kernel.u8.set(blob, this.#kernel.u32[SB_LABEL_INPUT >>> 2]!);
    if (this.#refusedByLabels.isGiven && this.#isRefused(ref, timestampMs)) return APPENDED.outOfOrder;
    return this.#judged(ref, timestampMs, this.#kernel.appendHistogram(ref, timestampMs, bytes, startTimestampMs));
  }

  /**
   * Stores a remote-write 1.0 body as sent. `connection` names the sender's connection: what follows upon what is
   * learnt for each. `stamp` is the namespace that the sender's identity puts on its series, '' for none; series on the odd
   * list are to be stamped by whoever reads it. Throws `bad_body` or `body_too_large`, and has then stored nothing.
   */
  writeRemoteWrite(body: Uint8Array, connection: number, stamp = ''): RemoteWriteCounts {
    const { u8, u32 } = this.#kernel;
    if (body.length > u32[SB_IN_BYTES_MAX >>> 2]!) throw this.#tooLarge(body.length);
    this.#beforeWrite();
    this.#setStamp(stamp);
    u8.set(body, u32[SB_IN >>> 2]!);
    const odd: Uint8Array[] = [];
    let status = this.#kernel.ingest(body.length, connection);
    while (status === STATUS_ODD_FULL) {
      this.#takeOdd(odd);
      status = this.#kernel.ingestMore();
    }
    this.#expectDone(status);
    this.#takeOdd(odd);
    return this.#counts(odd, null);
  }

  /** As `writeRemoteWrite`, of a remote-write 2.0 body. */
  writeRequest(body: Uint8Array, connection: number, stamp = ''): RequestCounts {
    const { u8, u32 } = this.#kernel;
    if (body.length > u32[SB_IN_BYTES_MAX >>> 2]!) throw this.#tooLarge(body.length);
    this.#beforeWrite();
    this.#setStamp(stamp);
    u8.set(body, u32[SB_IN >>> 2]!);
    const odd: OddSeries[] = [];
    let status = this.#kernel.ingest2(body.length, connection);
    while (status === STATUS_ODD_FULL) {
      this.#takeOddSeries(odd);
      status = this.#kernel.ingest2More();
    }
    this.#expectDone(status);
    this.#takeOddSeries(odd);
    return this.#counts(odd, new RequestSymbols(this.#kernel));
  }

  /**
   * The series that have a sample of this time in the 1.0 body of so many bytes that was written last, in its order; to be
   * asked before anything is selected.
   */
  seriesOfBody(bodyBytes: number, timestampMs: number): SeriesList {
    // Labels that come by this door have none but their own.
    this.#setStamp('');
    const { u32 } = this.#kernel;
    const count = this.#kernel.bodySeries(bodyBytes, timestampMs);
    const at = u32[SB_IN >>> 2]! >>> 2;
    const refs = u32.slice(at, at + count);
    return { refs, generations: refs.map((ref) => this.generation(ref as SeriesRef)) };
  }

  /** The labels of a series, or null if it was removed since it had this generation. */
  labelsOf(ref: SeriesRef, generation: number): Labels | null {
    const record = this.#record(ref) >>> 2;
    const { u32 } = this.#kernel;
    if (u32[record + (REC_GENERATION >>> 2)] !== generation || u32[record + (REC_SET >>> 2)] === 0) return null;
    return this.#texts.labels(ref);
  }

  #setStamp(namespace: string): void {
    const { u8, u32 } = this.#kernel;
    u32[SB_STAMP_BYTES >>> 2] = 0;
    if (namespace === '') return;
    const label = stampLabel(namespace);
    u8.set(label, SB_STAMP_LABEL);
    u32[SB_STAMP_BYTES >>> 2] = label.length;
  }

  /** The body that was written last, decompressed: valid until the next call of the head. */
  lastBody(): Uint8Array {
    const start = this.#kernel.u32[SB_BODY >>> 2]!;
    return this.#kernel.u8.subarray(start, start + this.#result(RESULT_BODY_BYTES));
  }

  /** Metadata of the 2.0 body that was written last, once a metric, as far as `isSeen` does not know its hash. */
  lastMetadata(isSeen: (hashLow: number, hashHigh: number) => boolean): MetadataNote[] {
    const { u8, u32 } = this.#kernel;
    const notes: MetadataNote[] = [];
    for (let next = this.#result(RESULT_METADATA_FIRST); next !== 0; ) {
      const symbol = next - 1;
      const entry = u32[SB_IN >>> 2]! + symbol * SYMBOL_BYTES;
      const hashLow = u32[(entry + SYMBOL_HASH) >>> 2]!;
      const hashHigh = u32[(entry + SYMBOL_HASH + 4) >>> 2]!;
      const at = u32[(entry + SYMBOL_METADATA) >>> 2]!;
      if (!isSeen(hashLow, hashHigh)) {
        notes.push({ symbol, message: u8.slice(at + 1, at + 1 + u8[at]!) });
      }
      next = u32[(entry + SYMBOL_NEXT) >>> 2]!;
    }
    return notes;
  }

  /** Appends rows of known OTLP points (ingest/otlp/identity-layout.ts), which are copied. Throws `overloaded`. */
  appendRows({ bytes, count }: { readonly bytes: Uint8Array; readonly count: number }): RowCounts {
    if (count === 0) return NO_ROWS;
    this.#beforeWrite();
    const { u8, u32 } = this.#kernel;
    const at = u32[SB_IN >>> 2]!;
    const totals = { stored: 0, gone: [] as number[], refused: [] as RefusedRows[] };
    const rowBytes = bytes.length / count;
    // While a verdict is given each row is looked at by itself.
    const isJudged = this.#refusedByLabels.isGiven;
    const batch = isJudged ? 1 : Math.floor(u32[SB_IN_BYTES_MAX >>> 2]! / rowBytes);
    for (let first = 0; first < count; first += batch) {
      const n = Math.min(batch, count - first);
      if (isJudged && this.#isRowRefused(bytes.subarray(first * rowBytes))) continue;
      u8.set(bytes.subarray(first * rowBytes, (first + n) * rowBytes), at);
      this.#kernel.appendRows(n);
      const stored = this.#result(4 * APPENDED.stored) + this.#result(4 * APPENDED.duplicate);
      totals.stored += stored;
      if (stored === n) continue;
      const words = u32.subarray(at >>> 2, (at + n * rowBytes) >>> 2);
      bytes.set(u8.subarray(at, at + n * rowBytes), first * rowBytes);
      if (this.#notesVerdicts) this.#noteRefusedRows(at, rowBytes, n);
      noteRefused(words, rowBytes >>> 2, first, totals);
    }
    return totals;
  }

  /** Whether a verdict was given: then samples are looked at one by one. */
  get isJudging(): boolean {
    return this.#refusedByLabels.isGiven;
  }

  /** Changes whenever a label was given back: pairs that were noted before are not to be named any more. */
  get pairsEpoch(): number {
    return this.#kernel.u32[SB_PAIRS_FREED >>> 2]!;
  }

  /**
   * Appends rows of new OTLP points (ingest/otlp/identity-layout.ts) that name pairs of this epoch, and makes their series;
   * what became of each is written into it. What the store does not take is not noted: it is to be asked again, a sample at a
   * time. False if all are to be.
   */
  appendNewRows(rows: Uint8Array, epoch: number): boolean {
    const { u8, u32 } = this.#kernel;
    if (this.#refusedByLabels.isGiven || rows.length > u32[SB_IN_BYTES_MAX >>> 2]!) return false;
    this.#beforeWrite();
    if (this.pairsEpoch !== epoch) return false;
    const at = u32[SB_IN >>> 2]!;
    u8.set(rows, at);
    this.#kernel.appendNewRows(rows.length);
    rows.set(u8.subarray(at, at + rows.length));
    return true;
  }

  /** Series that fulfil all matchers within the scope and have samples in the range. */
  select(request: SelectRequest): KernelSelection {
    const ids = this.#collect(request, false);
    const samplesMax = ids.length === 0 ? 0 : this.#kernel.f64[(SB_RESULT + RESULT_SAMPLES_MAX) >>> 3]!;
    const extras = ids.length === 0 ? 0 : this.#result(RESULT_EXTRAS);
    return this.#selectionOf(ids, samplesMax, extras);
  }

  #selectionOf(ids: Uint32Array, samplesMax: number, extras: number): KernelSelection {
    const selection = new KernelSelection(
      this.#kernel,
      this.#texts,
      this.#sets,
      ids,
      samplesMax,
      extras,
      this.#onClose,
    );
    if (ids.length > 0) {
      selection.openedMs = this.#options.clock.monotonicMs();
      this.#open.add(selection);
      this.#unfrozen.add(selection);
      this.#kernel.u32[SB_PINS >>> 2]!++;
    }
    return selection;
  }

  /** The same in slices of well below a millisecond; see `HeadReader`. */
  *selectSlices(request: SelectRequest): Generator<number, KernelSelection, void> {
    yield* this.#matching.prepare(request.matchers);
    if (!this.#matching.match(request.matchers, request.scope)) return this.#selectionOf(NO_IDS, 0, 0);
    const gathering = new Gathering(this.#kernel, this.#idLists, request.fromMs, request.toMs);
    if (gathering.slice()) return this.#selectionOf(...gathering.result());
    // Whoever writes meanwhile lets it come to its end first, and nothing is freed.
    this.#gatherings.add(gathering);
    this.#kernel.u32[SB_PINS >>> 2]!++;
    let selection: KernelSelection | null = null;
    try {
      do yield WINDOW_IDS;
      while (gathering.selection === null && !gathering.slice());
      selection = gathering.selection ?? this.#selectionOf(...gathering.result());
      return selection;
    } finally {
      if (selection === null) this.#dropGathering(gathering);
      this.#gatherings.delete(gathering);
      this.#kernel.u32[SB_PINS >>> 2]!--;
    }
  }

  /** The sum of the newest values of these series; see `HeadReader`. */
  *sumNewestSlices(request: SelectRequest): Generator<number, NewestSum | null, void> {
    yield* this.#matching.prepare(request.matchers);
    if (!this.#matching.match(request.matchers, request.scope)) return NOTHING_SUMMED;
    const summing = new Summing(this.#kernel, request.fromMs, request.toMs);
    if (summing.slice()) return summing.result();
    // Whoever writes meanwhile lets it come to its end first, and nothing is freed.
    this.#summings.add(summing);
    this.#kernel.u32[SB_PINS >>> 2]!++;
    try {
      do yield WINDOW_IDS;
      while (!summing.slice());
      return summing.result();
    } finally {
      this.#summings.delete(summing);
      this.#kernel.u32[SB_PINS >>> 2]!--;
    }
  }

  /** Names of the labels that the selected series carry, sorted. */
  labelNames(request: SelectRequest): string[] {
    if (this.#collect(request, true).length === 0) return [];
    const names = this.#matching.names().filter((name) => this.#kernel.bitmapMeetsName(RESULT, name) !== 0);
    return names.map((name) => this.#texts.nameText(name)).sort(compareCodePoints);
  }

  /** Values of one label among the selected series, sorted. */
  labelValues(name: string, request: SelectRequest): string[] {
    const id = this.#texts.findName(name);
    if (id === 0 || this.#collect(request, true).length === 0) return [];
    const values: string[] = [];
    this.#matching.forPairs(id, (pair, blob) => {
      if (this.#kernel.bitmapMeetsPair(RESULT, pair) !== 0) values.push(this.#texts.valueText(blob));
    });
    return values.sort(compareCodePoints);
  }

  /** True if a series of this metric name is in the head, whatever its samples. */
  hasMetric(name: string): boolean {
    const pair = this.#texts.findPair(METRIC_NAME, name);
    return pair !== 0 && this.#kernel.u32[(pair + PAIR_COUNT) >>> 2]! > 0;
  }

  /** Series with this label now, whatever their samples. */
  seriesOfLabel(name: string, value: string): number {
    const pair = this.#texts.findPair(name, value);
    return pair === 0 ? 0 : this.#kernel.u32[(pair + PAIR_COUNT) >>> 2]!;
  }

  /** Series ever created. */
  get seriesCreated(): number {
    return this.#kernel.f64[SB_SERIES_CREATED >>> 3]!;
  }

  /** Drops samples older than retention, and series that have none left. Called regularly by the daemon. */
  enforceRetention(): void {
    // A round that was begun in slices is finished first: it began with an older idea of what is old.
    const wasBusy = this.#kernel.u32[SB_RETENTION_PHASE >>> 2] !== 0;
    for (let round = wasBusy ? 0 : 1; round < 2; round++) {
      while (this.retentionSlice()) {
        // Each slice does a part.
      }
    }
  }

  /** A part of enforcing retention, about a millisecond; true if there is more to do. */
  retentionSlice(): boolean {
    this.#closeAbandoned();
    this.#setClock();
    return this.#kernel.retentionSlice(RETENTION_BUDGET) === 1;
  }

  stats(): HeadStats {
    const { u32, f64 } = this.#kernel;
    const series = u32[SB_SERIES >>> 2]!;
    const oldestAt = SB_RESULT + 256;
    const samples = this.#kernel.periodSummary(oldestAt);
    const newestMs = f64[SB_NEWEST_MS >>> 3]!;
    const oldestMs = Math.min(f64[oldestAt >>> 3]!, newestMs);
    const isEmpty = series === 0 || newestMs === -Infinity;
    const heapPages = u32[SB_HEAP_END >>> 2]! - u32[SB_HEAP_FIRST >>> 2]!;
    return {
      series,
      seriesCreated: f64[SB_SERIES_CREATED >>> 3]!,
      seriesRemoved: f64[SB_SERIES_REMOVED >>> 3]!,
      samples,
      samplesAppended: f64[SB_SAMPLES_APPENDED >>> 3]!,
      bytes: (heapPages - this.#kernel.pagesFree()) * PAGE_BYTES + u32[SB_ID_NEXT >>> 2]! * RECORD_BYTES,
      minTimeMs: isEmpty ? null : oldestMs,
      maxTimeMs: isEmpty ? null : newestMs,
    };
  }

  /** Where the bytes are: those of the store's parts, and of pages that wait to be used again. */
  memoryParts(): StoreParts {
    return storeParts(this.#kernel);
  }

  seriesVersion(): number {
    const { f64 } = this.#kernel;
    return f64[SB_SERIES_CREATED >>> 3]! + f64[SB_SERIES_REMOVED >>> 3]!;
  }

  /** What the series are made of, in slices of some milliseconds; the lists have at most `limit` entries. */
  walkCardinality(limit: number): CardinalityWalk {
    return new CardinalityWalk(this.#kernel, this.#texts, limit);
  }

  /** All slices of {@link walkCardinality} at once. */
  cardinality(limit: number): Cardinality {
    const walk = this.walkCardinality(limit);
    for (;;) {
      const report = walk.slice();
      if (report !== null) return report;
    }
  }

  /** Periods that had to go before their time because memory was full. */
  get periodsEvicted(): number {
    return this.#kernel.u32[SB_PERIODS_EVICTED >>> 2]!;
  }

  /** The labels of a series that is in the store. */
  labels(ref: SeriesRef): Labels {
    return this.#texts.labels(ref);
  }

  /** Counts the lives of a ref: a ref of another generation names another series. */
  generation(ref: SeriesRef): number {
    return this.#kernel.u32[(this.#record(ref) + REC_GENERATION) >>> 2]!;
  }

  /** Says whether appends to a series are noted for `takeTouched`. */
  subscribe(ref: SeriesRef, isSubscribed: boolean): void {
    const at = this.#record(ref) + REC_FLAGS;
    this.#kernel.u8[at] = isSubscribed ? this.#kernel.u8[at]! | 1 : this.#kernel.u8[at]! & ~1;
  }

  /** Subscribed series that got samples since the last call, or null if there were more than could be noted. */
  takeTouched(): SeriesRef[] | null {
    const { u32 } = this.#kernel;
    const count = u32[SB_TOUCHED >>> 2]!;
    u32[SB_TOUCHED >>> 2] = 0;
    if (count > RING) return null;
    return [...new Set(u32.subarray(SB_RING >>> 2, (SB_RING >>> 2) + count))] as SeriesRef[];
  }

  // ---- what is done when memory is short

  /** Bytes that are resident and in use for nothing: pages are used again, never given back to the system. */
  get reusableBytes(): number {
    return this.#kernel.u32[SB_FREE_PAGES >>> 2]! * PAGE_BYTES;
  }

  /** While it is true, only series that are known get samples. */
  refuseNewSeries(isRefused: boolean): void {
    this.#refusesNewSeries = isRefused;
    if (!this.#isReplaying) this.#kernel.u32[SB_SERIES_MAX >>> 2] = this.#seriesMax;
  }

  /** How long samples are kept from now on: what is older goes with the next rounds of retention. */
  setRetentionMs(retentionMs: number): void {
    this.#retentionMs = retentionMs;
  }

  get #seriesMax(): number {
    return this.#refusesNewSeries ? 0 : this.#options.seriesMax;
  }

  // ---- what the log and the image need

  /** The memory itself. */
  get kernel(): Kernel {
    return this.#kernel;
  }

  /** True if the next sample may need a page that only the end of a period gives back. */
  get isFull(): boolean {
    return this.#kernel.pagesFree() <= this.#kernel.u32[SB_RESERVE_CHUNKS >>> 2]!;
  }

  /** From now on, which samples are refused is noted for `takeVerdict`. */
  noteVerdicts(): void {
    this.#notesVerdicts = true;
  }

  /** Which samples of the body just written were refused; empty if none. To be asked after every body. */
  takeVerdict(): Uint8Array {
    const { u8, u32 } = this.#kernel;
    const at = u32[SB_VERDICT >>> 2]!;
    const bits = u8.slice(at, at + u32[SB_VERDICT_BYTES >>> 2]!);
    // Not that of the body before, if the next does not go through the kernel.
    if (bits.length > 0) this.#giveBits(NO_BYTES, false);
    return joinVerdict(bits, this.#refusedByLabels.take());
  }

  /**
   * While a log is replayed, samples are taken as they were once: no clock, no window, no limit; but those that the verdict
   * given with their body refuses are passed over. Called again after an image was loaded, which brings its own settings.
   */
  setReplaying(isReplaying: boolean): void {
    const { u32, f64 } = this.#kernel;
    this.#isReplaying = isReplaying;
    u32[SB_LABELS_MAX >>> 2] = LIMITS.labelsPerSeriesMax;
    u32[SB_NAME_BYTES_MAX >>> 2] = LIMITS.labelNameBytesMax;
    u32[SB_VALUE_BYTES_MAX >>> 2] = LIMITS.labelValueBytesMax;
    u32[SB_SERIES_MAX >>> 2] = isReplaying ? u32[SB_ID_MAX >>> 2]! : this.#seriesMax;
    if (!isReplaying) this.#limitHeap();
    f64[SB_OUT_OF_ORDER_MS >>> 3] = isReplaying ? Infinity : this.#options.outOfOrderMsMax;
    if (!isReplaying) this.giveVerdict(NO_BYTES);
  }

  /** In a memory that is laid out like an image: pages above the limit stay out of use, as far as they are free. */
  #limitHeap(): void {
    const { u32 } = this.#kernel;
    const { memoryBytes, layout } = this.#options;
    if (layout === undefined || memoryBytes === undefined) return;
    const pages = Math.min(Math.floor(memoryBytes / PAGE_BYTES), layout.memoryPages);
    u32[SB_HEAP_END >>> 2] = Math.max(pages - 1, u32[SB_FRONTIER >>> 2]!);
  }

  /** What `takeVerdict` said of the body that is replayed next. */
  giveVerdict(verdict: Uint8Array): void {
    const { bits, entries } = splitVerdict(verdict);
    this.#giveBits(bits, bits.length > 0);
    this.#refusedByLabels.give(entries);
  }

  /** Walks the whole memory; throws if it does not hang together. For tests. */
  verify(): void {
    const code = this.#kernel.verify();
    assert(code === 0, `kernel memory is not whole: code ${code} at ${this.#kernel.u32[SB_VERIFY_AT >>> 2]}`);
  }

  #collect(request: SelectRequest, keep: boolean): Uint32Array {
    if (!this.#matching.match(request.matchers, request.scope)) return NO_IDS;
    const { u32 } = this.#kernel;
    const ids = u32[SB_IDS >>> 2]!;
    const count = this.#kernel.collect(RESULT, request.fromMs, request.toMs, ids, Number(keep)) >>> 0;
    return u32.slice(ids >>> 2, (ids >>> 2) + count);
  }

  #record(ref: SeriesRef): number {
    const { u32 } = this.#kernel;
    if (!(ref > 0 && ref < u32[SB_ID_NEXT >>> 2]!)) throw new Error(`series ${ref} does not exist`);
    return u32[SB_RECORDS >>> 2]! + ref * RECORD_BYTES;
  }

  #beforeAppend(ref: SeriesRef): void {
    if (this.#kernel.u32[(this.#record(ref) + REC_SET) >>> 2] === 0) {
      throw new Error(`append to series ${ref}, which does not exist`);
    }
    this.#beforeWrite();
  }

  #beforeWrite(): void {
    if (this.#gatherings.size !== 0) this.#endGatherings();
    if (this.#summings.size !== 0) this.#endSummings();
    if (this.#unfrozen.size !== 0) this.#freeze();
    this.#setClock();
  }

  #judged(ref: SeriesRef, timestampMs: number, outcome: number): Appended {
    if (isRefusal(outcome) && this.#notesVerdicts) {
      const [first, second] = this.#labelSums(ref);
      this.#refusedByLabels.note(first, second, timestampMs);
    }
    return appended(outcome);
  }

  /** Notes the refused ones of n rows, as `#judged` does. */
  #noteRefusedRows(at: number, rowBytes: number, n: number): void {
    const { u32, f64 } = this.#kernel;
    for (let row = at; row < at + n * rowBytes; row += rowBytes) {
      const outcome = u32[(row >>> 2) + ROW_OUTCOME_WORD]!;
      if (outcome === ROW_GONE || !isRefusal(outcome)) continue;
      const [first, second] = this.#labelSums(u32[row >>> 2]! as SeriesRef);
      this.#refusedByLabels.note(first, second, f64[(row + ROW_TIME) >>> 3]!);
    }
  }

  /** Whether the verdict given refuses the first of these rows. */
  #isRowRefused(row: Uint8Array): boolean {
    const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
    const ref = view.getUint32(0, true) as SeriesRef;
    const isKnown = ref < this.#kernel.u32[SB_ID_NEXT >>> 2]! && this.generation(ref) === view.getUint32(4, true);
    return isKnown && this.#isRefused(ref, view.getFloat64(ROW_TIME, true));
  }

  #isRefused(ref: SeriesRef, timestampMs: number): boolean {
    const [first, second] = this.#labelSums(ref);
    return this.#refusedByLabels.refuses(first, second, timestampMs);
  }

  #isRefusedByLabels(bytes: number): boolean {
    const [first, second] = this.#inputSums(bytes);
    return this.#refusedByLabels.refuses(first, second, Number.NaN);
  }

  #noteRefusedLabels(bytes: number): void {
    const [first, second] = this.#inputSums(bytes);
    this.#refusedByLabels.note(first, second, Number.NaN);
  }

  #inputSums(bytes: number): readonly [number, number] {
    const at = this.#kernel.u32[SB_LABEL_INPUT >>> 2]!;
    return [this.#kernel.crc32c(at, bytes, 0) >>> 0, this.#mix(at, bytes, FNV_OFFSET)];
  }

  /** Two checksums of a series' label bytes: together they name it. */
  #labelSums(ref: SeriesRef): readonly [number, number] {
    const { u8, u16, u32 } = this.#kernel;
    const record = this.#record(ref);
    const set = u32[(record + REC_SET) >>> 2]!;
    let crc = 0;
    let other = FNV_OFFSET;
    for (let i = 0; i < u8[record + REC_LABELS]!; i++) {
      const blob = u32[(set >>> 2) + i]!;
      const bytes = u16[blob >>> 1]!;
      crc = this.#kernel.crc32c(blob + BLOB_HEADER_BYTES, bytes, crc);
      other = this.#mix(blob + BLOB_HEADER_BYTES, bytes, other);
    }
    return [crc >>> 0, other];
  }

  /** FNV-1a, which shares nothing with a CRC. */
  #mix(at: number, bytes: number, before: number): number {
    let hash = before;
    for (let i = 0; i < bytes; i++) hash = Math.imul(hash ^ this.#kernel.u8[at + i]!, 0x01000193);
    return hash >>> 0;
  }

  #giveBits(bits: Uint8Array, isGiven: boolean): void {
    const { u8, u32 } = this.#kernel;
    const at = u32[SB_VERDICT >>> 2]!;
    u8.fill(0, at, at + u32[SB_VERDICT_BYTES >>> 2]!);
    u8.set(bits, at);
    u32[SB_VERDICT_BYTES >>> 2] = bits.length;
    u32[SB_VERDICT_GIVEN >>> 2] = Number(isGiven);
  }

  #endGatherings(): void {
    for (const gathering of this.#gatherings) {
      while (!gathering.slice()) {
        // Each slice does a part.
      }
      gathering.selection = this.#selectionOf(...gathering.result());
    }
    this.#gatherings.clear();
  }

  #dropGathering(gathering: Gathering): void {
    if (gathering.selection === null) gathering.drop();
    else gathering.selection.close();
  }

  #endSummings(): void {
    for (const summing of this.#summings.takeAll()) summing.end();
  }

  #freeze(): void {
    for (const selection of this.#unfrozen.takeAll()) selection.freeze();
  }

  #setClock(): void {
    const { f64 } = this.#kernel;
    if (this.#isReplaying) {
      f64[SB_LATEST_MS >>> 3] = Infinity;
      f64[SB_OLDEST_MS >>> 3] = f64[SB_FLOOR_MS >>> 3]!;
      return;
    }
    const nowMs = this.#options.clock.nowMs();
    f64[SB_LATEST_MS >>> 3] = nowMs + this.#options.futureMsMax;
    f64[SB_OLDEST_MS >>> 3] = Math.max(nowMs - this.#retentionMs, f64[SB_FLOOR_MS >>> 3]!);
  }

  #closed(selection: KernelSelection): void {
    if (!this.#open.delete(selection)) return;
    this.#unfrozen.delete(selection);
    selection.giveIds(this.#idLists);
    this.#kernel.u32[SB_PINS >>> 2]!--;
  }

  #closeAbandoned(): void {
    const oldest = this.#options.clock.monotonicMs() - SELECTION_MS_MAX;
    for (let first = this.#open.first; first !== null && first.openedMs <= oldest; first = this.#open.first) {
      first.close();
    }
  }

  #result(field: number): number {
    return this.#kernel.u32[(SB_RESULT + field) >>> 2]!;
  }

  #bodyPart(at: number): Uint8Array {
    const { u8, u32 } = this.#kernel;
    const start = u32[SB_BODY >>> 2]! + u32[at >>> 2]!;
    return u8.slice(start, start + u32[(at >>> 2) + 1]!);
  }

  #takeOdd(odd: Uint8Array[]): void {
    for (let i = 0; i < this.#result(RESULT_ODD); i++) odd.push(this.#bodyPart(SB_ODD + i * ODD_BYTES));
  }

  #takeOddSeries(odd: OddSeries[]): void {
    const { u32 } = this.#kernel;
    for (let i = 0; i < this.#result(RESULT_ODD); i++) {
      const at = SB_ODD + i * ODD_SERIES_BYTES;
      const id = u32[(at >>> 2) + 2]!;
      odd.push({ ref: id === 0 ? null : (id as SeriesRef), timeSeries: this.#bodyPart(at) });
    }
  }

  #expectDone(status: number): void {
    if (status === STATUS_DONE) return;
    if (status === STATUS_SNAPPY_TOO_LARGE) throw this.#tooLarge(this.#result(RESULT_BODY_BYTES));
    if (status === STATUS_PROTOBUF) throw new CodedError('bad_body', 'cannot decode body: malformed protobuf');
    if (status === STATUS_SYMBOLS) {
      const max = Math.floor(this.#kernel.u32[SB_IN_BYTES_MAX >>> 2]! / SYMBOL_BYTES);
      throw new CodedError('body_too_large', `cannot take body: got more than ${max} symbols`);
    }
    throw new CodedError('bad_body', 'cannot decode snappy block: it is malformed');
  }

  #counts<Odd, Symbols>(odd: readonly Odd[], symbols: Symbols): RemoteWriteCounts<Odd, Symbols> {
    const of = (outcome: number): number => this.#result(4 * outcome);
    return {
      stored: of(APPENDED.stored),
      duplicate: of(APPENDED.duplicate),
      outOfOrder: of(APPENDED.outOfOrder),
      conflicting: of(APPENDED.conflicting),
      tooOld: of(APPENDED.tooOld),
      tooFarAhead: of(APPENDED.tooFarAhead),
      seriesLimit: of(OUTCOME_SERIES_LIMIT),
      noMemory: of(OUTCOME_NO_MEMORY),
      seriesCreated: this.#result(RESULT_CREATED),
      exemplars: this.#result(RESULT_EXEMPLARS),
      metadata: this.#result(RESULT_METADATA),
      bodyBytes: this.#result(RESULT_BODY_BYTES),
      refusals: this.#result(RESULT_REFUSED) === 0 ? NO_REFUSALS : this.#refusals(),
      odd,
      symbols,
    };
  }

  #refusals(): Refusal[] {
    const { u32, f64 } = this.#kernel;
    return Array.from({ length: this.#result(RESULT_REFUSED) }, (_, i) => {
      const at = SB_REFUSED + i * REFUSED_BYTES;
      return {
        outcome: u32[(at >>> 2) + 2]!,
        timestampMs: f64[(at >>> 3) + 2]!,
        timeSeries: this.#bodyPart(at),
      };
    });
  }

  #tooLarge(bytes: number): CodedError {
    const max = this.#options.bodyBytesMax ?? LIMITS.remoteWriteBodyBytesMax;
    return new CodedError(
      'body_too_large',
      `cannot take body: got ${bytes} bytes after decompression, want at most ${max}`,
    );
  }
}

const NO_IDS = new Uint32Array(0);
const NOTHING_SUMMED: NewestSum = { series: 0, sum: 0, lost: 0, samples: 0, newestMs: -Infinity };
const NO_BYTES = new Uint8Array(0);
const FNV_OFFSET = 0x811c9dc5;

/** Adds up the outcomes of rows that were not all stored; `words` holds the rows as the kernel left them. */
function noteRefused(
  words: Uint32Array,
  rowWords: number,
  first: number,
  { gone, refused }: { gone: number[]; refused: RefusedRows[] },
): void {
  for (let i = 0; i * rowWords < words.length; i++) {
    const outcome = words[i * rowWords + ROW_OUTCOME_WORD]!;
    if (outcome <= APPENDED.duplicate) continue;
    if (outcome === OUTCOME_NO_MEMORY) throw new CodedError('overloaded', 'cannot store samples: memory is full');
    if (outcome === ROW_GONE) gone.push(first + i);
    else {
      const known = refused.find((one) => one.outcome === outcome);
      if (known === undefined) refused.push({ outcome, count: 1, row: first + i });
      else known.count++;
    }
  }
}

/** What conflicts with another sample does so again: that needs no note. */
function isRefusal(outcome: number): boolean {
  return outcome !== APPENDED.stored && outcome !== APPENDED.duplicate && outcome !== APPENDED.conflicting;
}

function appended(outcome: number): Appended {
  if (outcome === OUTCOME_NO_MEMORY) throw new CodedError('overloaded', 'cannot store sample: memory is full');
  return outcome as Appended;
}

/** Room for that many series with some hours of samples, and for the buffers. */
function memoryFor(seriesMax: number): number {
  return Math.min(4 * 2 ** 30, 256 * 2 ** 20 + seriesMax * 2048);
}

/** About an eighth of what is kept, so that what waits for the end of its period is little. */
function periodFor(keptMs: number): number {
  return Math.max(60_000, Math.ceil(keptMs / 8));
}
