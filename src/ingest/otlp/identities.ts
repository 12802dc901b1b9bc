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
  ID_BODY,
  ID_EXEMPLAR_ROWS,
  ID_GAUGE_EXEMPLARS,
  ID_KNOWN,
  ID_METRICS,
  ID_POINTS,
  ID_RESOURCE_COUNT,
  ID_RESOURCES,
  ID_ROW_COUNT,
  ID_ROWS,
  ID_URL_COUNTS,
  MET_AROUND,
  MET_AROUND_END,
  MET_BYTES,
  MET_CONTEXT,
  MET_END,
  MET_POINTS,
  MET_POINTS_END,
  MET_SCOPE,
  MET_SCOPE_END,
  MET_START,
  METRICS_MAX,
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
} from './identity-layout.ts';

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
  /** Where the lengths of the points stand that are not known. */
  readonly points: Uint32Array;
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
  learnPoint(context: number, position: number, series: number, generation: number): number;
  unlearn(identity: number): void;
}

interface Memory extends Module {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly f64: Float64Array;
}

const LIST_BYTES =
  RESOURCES_MAX * RES_BYTES + METRICS_MAX * MET_BYTES + POINTS_MAX * 4 + ROWS_MAX * ROW_BYTES + 4 * PAGE_BYTES;
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

  /** Known points of sums that have exemplars: their series, and where the length of each stands. */
  exemplarRows(): readonly { readonly ref: SeriesRef; readonly position: number }[] {
    const { u32 } = this.#memory!;
    const rows: { ref: SeriesRef; position: number }[] = [];
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

  /** Walks a body; null if it is malformed, or has more than can be listed. */
  walk(body: Uint8Array): WalkedResource[] | null {
    if (body.length > LIMITS.otlpBodyBytesMax) return null;
    this.#memory ??= openMemory(this.#options);
    const memory = this.#memory;
    memory.u8.set(body, memory.u32[ID_BODY >>> 2]!);
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

  /** The point whose length stands at this position is a sample of a series. */
  learnPoint(metric: number, position: number, ref: SeriesRef, generation: number): void {
    this.#memory!.learnPoint(metric, position, ref, generation);
  }
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
    points: u32.subarray(points + field(MET_POINTS), points + field(MET_POINTS_END)),
  };
}
