/**
 * What OTLP senders repeat, known by its bytes: the loader of the module in `assembly/`, over a memory of its own.
 *
 * The memory is a cache. Nothing in it is the only copy of anything, so it is in no image and no log; when it is full, all
 * is forgotten and learnt anew, and so it is bounded. Equality is decided by comparing bytes.
 */
import { LIMITS } from '../../model/limits.ts';
import type { SeriesRef } from '../../tsdb/head.ts';
import { KERNEL_WASM_BASE64 } from '../../tsdb/kernel/generated/otlp-identities.ts';
import { PAGE_BYTES, SB_FRONTIER, SB_HEAP_FIRST, SB_KEYS } from '../../tsdb/kernel/layout.ts';
import {
  CTX_LABELS,
  DELTA_BYTES,
  FILL_DONE,
  FILL_KEY,
  ID_BODY,
  ID_DELTA_COUNT,
  ID_DELTAS,
  ID_EXEMPLAR_ROWS,
  ID_GAUGE_EXEMPLARS,
  ID_KEY,
  ID_KEY_END,
  ID_KNOWN,
  ID_METRICS,
  ID_NEW,
  ID_NEW_BYTES,
  ID_NEW_EARLIEST,
  ID_NEW_EXEMPLARS,
  ID_NEW_GAUGE_EXEMPLARS,
  ID_NEW_LATEST,
  ID_NEW_LEFT,
  ID_NEW_STORED,
  ID_POINT,
  ID_POINTS,
  ID_RESOURCE_COUNT,
  ID_RESOURCES,
  ID_ROW_COUNT,
  ID_ROWS,
  ID_STAMP,
  ID_TEACH,
  ID_URL_COUNTS,
  LBL_WIRE,
  MET_AROUND,
  MET_AROUND_END,
  MET_BYTES,
  MET_CONTEXT,
  MET_END,
  MET_PLAIN,
  MET_POINTS,
  MET_POINTS_END,
  MET_SCOPE,
  MET_SCOPE_END,
  MET_START,
  METRICS_MAX,
  NEW_ROWS_BYTES,
  POINT_DELTA,
  POINTS_MAX,
  RES_BYTES,
  RES_CONTEXT,
  RES_EARLIEST,
  RES_END,
  RES_FIELDS,
  RES_LATEST,
  RES_METRICS,
  RES_METRICS_END,
  RES_ODD,
  RES_RESOURCE,
  RES_RESOURCE_END,
  RES_START,
  RESOURCES_MAX,
  ROW_BYTES,
  ROW_EXEMPLARS,
  ROW_IDENTITY,
  ROW_METRIC,
  ROW_SERIES,
  ROWS_MAX,
  TEACH_BYTES,
} from './identity-layout.ts';
import type { CommonLabel } from './labels.ts';

/** A ResourceMetrics that was walked. Positions are offsets in the body. */
export interface WalkedResource {
  /** It is not written in the plain form: nothing else of it was looked at. */
  readonly isOdd: boolean;
  /** Where its length stands, where its fields begin, and its end. */
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
  readonly resourceStart: number;
  readonly resourceEnd: number;
  /** Stands for the bytes of the resource; 0 if they are not known. */
  readonly identity: number;
  /** Times of its known points; Infinity and -Infinity if there are none. */
  readonly earliestMs: number;
  readonly latestMs: number;
  /** Metrics with points that are not known. */
  readonly odd: readonly OddMetric[];
}

export interface OddMetric {
  readonly start: number;
  readonly end: number;
  readonly scopeStart: number;
  readonly scopeEnd: number;
  readonly scopeMetricsStart: number;
  readonly scopeMetricsEnd: number;
  /** 0 if the metric is not known: then none of its points is. */
  readonly identity: number;
  /** A gauge or cumulative sum that is well formed, with its new points in the plain form: those may be given to `newPoints`. */
  readonly isPlain: boolean;
  /** Where the lengths of the points stand that are not known; of a metric that is not known all, if it is plain. */
  readonly points: Uint32Array;
  /** Number of the first of them among those of the body. */
  readonly firstPoint: number;
}

/** How new points become rows: who knows the words, and who appends. */
export interface NewPointsHelp {
  /** The label name of the attribute key at this place of the body; '' if points with it are to be left. */
  nameOfKey(start: number, end: number): string;
  /** Whether points with this label are to be left where the sender has a stamp. */
  meetsStamp(name: string): boolean;
  /** What pairs of the store are noted with: at another epoch they are not to be named any more. */
  readonly epoch: number;
  /** Appends rows, as identity-layout.ts describes them, and writes into each what became of it. False if it cannot. */
  append(rows: Uint8Array): boolean;
}

/** A point of a sum that has exemplars: its series, and where its length stands. */
export interface ExemplarRow {
  readonly ref: SeriesRef;
  readonly position: number;
}

/** What became of new points. */
export interface NewPoints {
  readonly stored: number;
  /** Times of those; Infinity and -Infinity if there are none. */
  readonly earliestMs: number;
  readonly latestMs: number;
  /** Exemplars of gauges among them. */
  readonly exemplarsOfGauges: number;
  readonly exemplarRows: readonly ExemplarRow[];
  /** Where the lengths of the others stand, in order; borrowed. */
  readonly left: Uint32Array;
}

/** The samples of known points, as identity-layout.ts describes them. The bytes are borrowed. */
export interface Rows {
  readonly bytes: Uint8Array;
  readonly count: number;
}

interface Module {
  init(pages: number, bodyBytesMax: number): number;
  walk(bytes: number): number;
  hasRoom(): number;
  learnResource(start: number, end: number): number;
  learnMetric(parent: number, scope: number, scopeEnd: number, start: number, end: number): number;
  learnPoint(context: number, position: number, series: number, generation: number, delta: number): number;
  teachLabels(context: number, bytes: number): number;
  teachKey(bytes: number, meetsStamp: boolean): number;
  beginNew(context: number, first: number, end: number, epoch: number): void;
  fillNew(): number;
  learnNew(): void;
  leaveNew(): void;
  unlearn(identity: number): void;
}

interface Memory extends Module {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly f64: Float64Array;
}

const LIST_BYTES =
  RESOURCES_MAX * RES_BYTES +
  METRICS_MAX * MET_BYTES +
  POINTS_MAX * 4 +
  ROWS_MAX * ROW_BYTES +
  ROWS_MAX * DELTA_BYTES +
  NEW_ROWS_BYTES +
  TEACH_BYTES +
  4 * PAGE_BYTES;
const DEFAULT_KEYS = Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8).map((n) => Math.imul(n, 0x9e3779b1));
let compiled: WebAssembly.Module | null = null;

export interface IdentityOptions {
  /** Eight random numbers that no sender knows: the keys of the hash. */
  readonly hashKeys?: Uint32Array;
  /** Whether the schema URL of a scope becomes a label. */
  readonly urlCounts?: boolean;
  readonly bytesMax?: number;
}

export class Identities {
  readonly #options: IdentityOptions;
  /** Made with the first body: many daemons never see one. */
  #memory: Memory | null = null;
  #resets = 0;

  constructor(options: IdentityOptions) {
    this.#options = options;
  }

  /** Points that are known. */
  get count(): number {
    return this.#memory === null ? 0 : this.#memory.u32[ID_KNOWN >>> 2]!;
  }

  /** Bytes of identities in use. */
  get bytes(): number {
    if (this.#memory === null) return 0;
    const { u32 } = this.#memory;
    return (u32[SB_FRONTIER >>> 2]! - u32[SB_HEAP_FIRST >>> 2]!) * PAGE_BYTES;
  }

  /** Times that all was forgotten. */
  get resets(): number {
    return this.#resets;
  }

  /** Exemplars of the known gauges of the body that was walked last. */
  get exemplarsOfGauges(): number {
    return this.#memory === null ? 0 : this.#memory.u32[ID_GAUGE_EXEMPLARS >>> 2]!;
  }

  /** Known points of sums that have exemplars. */
  exemplarRows(): readonly ExemplarRow[] {
    const { u32 } = this.#memory!;
    const rows: ExemplarRow[] = [];
    let left = u32[ID_EXEMPLAR_ROWS >>> 2]!;
    for (let at = u32[ID_ROWS >>> 2]! >>> 2; left > 0; at += ROW_BYTES >>> 2) {
      const position = u32[at + (ROW_EXEMPLARS >>> 2)]!;
      if (position === 0) continue;
      rows.push({ ref: u32[at + (ROW_SERIES >>> 2)]! as SeriesRef, position });
      left--;
    }
    return rows;
  }

  /** Forgets all if nothing more can be learnt; true if so. Between two bodies only. */
  makeRoom(): boolean {
    if (this.#memory === null || this.#memory.hasRoom() !== 0) return false;
    this.#memory = null;
    this.#resets++;
    return true;
  }

  /**
   * Walks a body; null if it is malformed, or has more than can be listed. `stamp` numbers what its sender's identity puts on
   * the series: what is known or learnt of a body is known under its number alone.
   */
  walk(body: Uint8Array, stamp = 0): WalkedResource[] | null {
    if (body.length > LIMITS.otlpBodyBytesMax) return null;
    this.#memory ??= openMemory(this.#options);
    const memory = this.#memory;
    memory.u8.set(body, memory.u32[ID_BODY >>> 2]!);
    memory.u32[ID_STAMP >>> 2] = stamp;
    if (memory.walk(body.length) === 0) return null;
    const at = memory.u32[ID_RESOURCES >>> 2]!;
    return Array.from({ length: memory.u32[ID_RESOURCE_COUNT >>> 2]! }, (_, i) =>
      walkedResource(memory, at + i * RES_BYTES),
    );
  }

  rows(): Rows {
    const { u8, u32 } = this.#memory!;
    const count = u32[ID_ROW_COUNT >>> 2]!;
    const at = u32[ID_ROWS >>> 2]!;
    return { bytes: u8.subarray(at, at + count * ROW_BYTES), count };
  }

  /** Where the metric of a row stands in the body: start and end. */
  metricOfRow(row: number): [start: number, end: number] {
    const { u32 } = this.#memory!;
    const at = (u32[ID_ROWS >>> 2]! + row * ROW_BYTES + ROW_METRIC) >>> 2;
    return [u32[at]!, u32[at + 1]!];
  }

  /** The series of a row is gone. */
  unlearnRow(row: number): void {
    const memory = this.#memory!;
    memory.unlearn(memory.u32[(memory.u32[ID_ROWS >>> 2]! + row * ROW_BYTES + ROW_IDENTITY) >>> 2]!);
  }

  /** What stands for the bytes of a resource from now on; 0 if there is no room. */
  learnResource(start: number, end: number): number {
    return this.#memory!.learnResource(start, end) >>> 0;
  }

  /** What stands for a metric from now on; 0 if it cannot be known by its bytes. `resource` is what learnResource gave. */
  learnMetric(resource: number, { scopeStart, scopeEnd, start, end }: OddMetric): number {
    return this.#memory!.learnMetric(resource, scopeStart, scopeEnd, start, end) >>> 0;
  }

  /** Whether the labels of this metric were taught. */
  knowsLabels(metric: number): boolean {
    return this.#memory!.u32[(metric + CTX_LABELS) >>> 2] !== 0;
  }

  /** The labels that all points of a metric have, in order of their names; false if they cannot be kept. */
  teachLabels(metric: number, labels: readonly CommonLabel[]): boolean {
    const memory = this.#memory!;
    const bytes = writeLabels(memory, memory.u32[ID_TEACH >>> 2]!, labels);
    return bytes !== null && memory.teachLabels(metric, bytes) !== 0;
  }

  /** Stores the points of a plain metric that are not known, and learns them. The labels of the metric were taught. */
  newPoints(metric: number, { firstPoint, points }: OddMetric, help: NewPointsHelp): NewPoints {
    const memory = this.#memory!;
    const { u32, f64 } = memory;
    memory.beginNew(metric, firstPoint, firstPoint + points.length, help.epoch);
    for (;;) {
      const found = memory.fillNew();
      const isReady = found === FILL_KEY ? this.#teachKey(help) : this.#appendNew(help);
      if (!isReady || found === FILL_DONE) break;
    }
    this.#appendNew(help);
    memory.leaveNew();
    const left = u32[ID_NEW_LEFT >>> 2]! - firstPoint;
    return {
      stored: u32[ID_NEW_STORED >>> 2]!,
      earliestMs: f64[ID_NEW_EARLIEST >>> 3]!,
      latestMs: f64[ID_NEW_LATEST >>> 3]!,
      exemplarsOfGauges: u32[ID_NEW_GAUGE_EXEMPLARS >>> 2]!,
      exemplarRows: newExemplarRows(memory),
      left: points.subarray(0, left),
    };
  }

  #appendNew(help: NewPointsHelp): boolean {
    const { u8, u32, learnNew } = this.#memory!;
    const at = u32[ID_NEW >>> 2]!;
    const rows = u8.subarray(at, at + u32[ID_NEW_BYTES >>> 2]!);
    if (rows.length === 0) return true;
    const isDone = help.append(rows);
    learnNew();
    return isDone;
  }

  #teachKey({ nameOfKey, meetsStamp }: NewPointsHelp): boolean {
    const { u8, u32, teachKey } = this.#memory!;
    const body = u32[ID_BODY >>> 2]!;
    const text = nameOfKey(u32[ID_KEY >>> 2]! - body, u32[ID_KEY_END >>> 2]! - body);
    const name = Buffer.from(text);
    const isUsable = name.length <= LIMITS.labelNameBytesMax;
    u8.set(isUsable ? name : [], u32[ID_TEACH >>> 2]!);
    return teachKey(isUsable ? name.length : 0, meetsStamp(text)) !== 0;
  }

  /** The point whose length stands at this position is a sample of a series. */
  learnPoint(metric: number, position: number, ref: SeriesRef, generation: number): void {
    this.#memory!.learnPoint(metric, position, ref, generation, 0);
  }

  /** The same of a delta sum: by which number it is known; `next` if by none yet, 0 if it cannot be known. */
  learnDelta(metric: number, position: number, ref: SeriesRef, generation: number, next: number): number {
    const memory = this.#memory!;
    const isLearnt = memory.learnPoint(metric, position, ref, generation, next) !== 0;
    return isLearnt ? memory.u32[(ID_POINT + POINT_DELTA) >>> 2]! : 0;
  }

  /** The known points of delta sums of the body that was walked last, DELTA_BYTES each; borrowed. */
  deltas(): Uint32Array {
    const { u32 } = this.#memory!;
    const at = u32[ID_DELTAS >>> 2]! >>> 2;
    return u32.subarray(at, at + u32[ID_DELTA_COUNT >>> 2]! * (DELTA_BYTES >>> 2));
  }
}

function newExemplarRows({ u32 }: Memory): ExemplarRow[] {
  const rows: ExemplarRow[] = [];
  let at = u32[ID_ROWS >>> 2]! >>> 2;
  for (let left = u32[ID_NEW_EXEMPLARS >>> 2]!; left > 0; left--, at += 2)
    rows.push({ ref: u32[at]! as SeriesRef, position: u32[at + 1]! });
  return rows;
}

/** The labels as identity-layout.ts describes them, at `at`; their bytes, or null if that is too much for anyone. */
function writeLabels({ u8 }: Memory, at: number, labels: readonly CommonLabel[]): number | null {
  let p = 0;
  if (labels.length > LIMITS.labelsPerSeriesMax) return null;
  for (const { name, value, overwrites } of labels) {
    const [nameBytes, valueBytes] = [Buffer.from(name), Buffer.from(value)];
    if (nameBytes.length > LIMITS.labelNameBytesMax || valueBytes.length > LIMITS.labelValueBytesMax) return null;
    const part = [[0x0a], lengthOf(nameBytes), nameBytes, [0x12], lengthOf(valueBytes), valueBytes].map((b) =>
      Buffer.from(b),
    );
    const inner = Buffer.concat(part);
    const wire = Buffer.concat([Buffer.from([0x0a, ...lengthOf(inner)]), inner]);
    if (p + LBL_WIRE + wire.length + 2 > TEACH_BYTES - 256) return null;
    const nameAt = wire.length - inner.length + 1 + lengthOf(nameBytes).length;
    const head = [
      wire.length & 0xff,
      wire.length >> 8,
      nameAt,
      overwrites ? 1 : 0,
      nameBytes.length & 0xff,
      nameBytes.length >> 8,
    ];
    u8.fill(0, at + p, at + p + LBL_WIRE);
    u8.set(head, at + p);
    u8.set(wire, at + p + LBL_WIRE);
    p += LBL_WIRE + wire.length;
  }
  return p;
}

function lengthOf({ length }: Uint8Array): readonly number[] {
  return length < 0x80 ? [length] : [(length & 0x7f) | 0x80, length >> 7];
}

function openMemory({ hashKeys, urlCounts, bytesMax }: IdentityOptions): Memory {
  const bytes = LIST_BYTES + LIMITS.otlpBodyBytesMax + (bytesMax ?? LIMITS.otlpIdentityBytesMax);
  // A page table entry a page, two pages in front, one behind.
  const pages = Math.ceil(bytes / PAGE_BYTES) + 8;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  compiled ??= new WebAssembly.Module(Buffer.from(KERNEL_WASM_BASE64, 'base64'));
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const views = {
    u8: new Uint8Array(memory.buffer),
    u32: new Uint32Array(memory.buffer),
    f64: new Float64Array(memory.buffer),
  };
  const opened = { ...(exports as unknown as Module), ...views };
  opened.u32.set(hashKeys ?? DEFAULT_KEYS, SB_KEYS >>> 2);
  opened.u32[ID_URL_COUNTS >>> 2] = urlCounts ? 1 : 0;
  if (opened.init(pages, LIMITS.otlpBodyBytesMax) === 0) throw new RangeError(`cannot lay out ${pages} pages`);
  return opened;
}

function walkedResource(memory: Memory, at: number): WalkedResource {
  const { u32, f64 } = memory;
  const field = (offset: number): number => u32[(at + offset) >>> 2]!;
  const odd: OddMetric[] = [];
  const metrics = u32[ID_METRICS >>> 2]!;
  for (let i = field(RES_METRICS); i < field(RES_METRICS_END); i++)
    odd.push(oddMetric(memory, metrics + i * MET_BYTES));
  return {
    isOdd: field(RES_ODD) !== 0,
    start: field(RES_START),
    bodyStart: field(RES_FIELDS),
    end: field(RES_END),
    resourceStart: field(RES_RESOURCE),
    resourceEnd: field(RES_RESOURCE_END),
    identity: field(RES_CONTEXT),
    earliestMs: f64[(at + RES_EARLIEST) >>> 3]!,
    latestMs: f64[(at + RES_LATEST) >>> 3]!,
    odd,
  };
}

function oddMetric({ u32 }: Memory, at: number): OddMetric {
  const field = (offset: number): number => u32[(at + offset) >>> 2]!;
  const points = u32[ID_POINTS >>> 2]! >>> 2;
  return {
    start: field(MET_START),
    end: field(MET_END),
    scopeStart: field(MET_SCOPE),
    scopeEnd: field(MET_SCOPE_END),
    scopeMetricsStart: field(MET_AROUND),
    scopeMetricsEnd: field(MET_AROUND_END),
    identity: field(MET_CONTEXT),
    isPlain: field(MET_PLAIN) !== 0,
    firstPoint: field(MET_POINTS),
    points: u32.subarray(points + field(MET_POINTS), points + field(MET_POINTS_END)),
  };
}
