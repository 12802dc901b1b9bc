/**
 * What the series are made of: a walk over the pages of label pairs, some pages a slice, and the largest counts kept.
 *
 * Pairs carry the number of their series, so no series is looked at. Pages are walked in order of addresses rather than
 * name by name: that reads memory straight through. What changes between two slices is counted as it is met.
 */
import { compareCodePoints, METRIC_NAME } from '../../model/labels.ts';
import type { Kernel } from './kernel.ts';
import type { LabelTexts } from './label-text.ts';
import {
  BLOB_HEADER_BYTES,
  BLOB_WIRE_BYTES,
  BLOCK_NEXT,
  BLOCK_SIZE,
  KIND_CHUNK,
  KIND_PAIR,
  NAME_BYTES,
  NAME_LENGTH,
  NAME_PAIRS,
  PAGE_BUMP,
  PAGE_BYTES,
  PAGE_ENTRY_BYTES,
  PAGE_KIND,
  PAGE_LIVE,
  PAIR_BLOB,
  PAIR_BYTES,
  PAIR_COUNT,
  PAIR_HEAD,
  PAIR_NAME,
  SB_FRONTIER,
  SB_HEAP_FIRST,
  SB_NAME_NEXT,
  SB_NAMES,
  SB_NAMES_MAX,
  SB_PAGE_TABLE,
  SB_PAIRS,
  SB_SERIES,
  SET_ENTRY_BYTES,
} from './layout.ts';

export interface Count {
  readonly name: string;
  readonly value: number;
}

/** Lists are sorted by value, largest first. */
export interface Cardinality {
  readonly series: number;
  readonly labelPairs: number;
  /** Chunk cells. */
  readonly chunks: number;
  readonly seriesByMetricName: readonly Count[];
  readonly valuesByLabelName: readonly Count[];
  /** Pairs, their texts and postings, and what label sets hold of them. */
  readonly bytesByLabelName: readonly Count[];
  /** Pairs are written `name=value`. */
  readonly seriesByLabelPair: readonly Count[];
}

/** Pages of a slice: 64 Ki pairs, some two milliseconds. */
const SLICE_PAGES = 64;

export class CardinalityWalk {
  readonly #kernel: Kernel;
  readonly #texts: LabelTexts;
  readonly #limit: number;
  readonly #metricNames: Largest;
  readonly #pairs: Largest;
  /** By name id. */
  readonly #bytes: Float64Array;
  #page: number;
  #chunks = 0;

  constructor(kernel: Kernel, texts: LabelTexts, limit: number) {
    this.#kernel = kernel;
    this.#texts = texts;
    this.#limit = limit;
    this.#metricNames = new Largest(limit);
    this.#pairs = new Largest(limit);
    this.#bytes = new Float64Array(kernel.u32[SB_NAMES_MAX >>> 2]!);
    this.#page = kernel.u32[SB_HEAP_FIRST >>> 2]!;
  }

  /** A part of the walk; null if there is more to do. */
  slice(): Cardinality | null {
    const { u8, u16, u32 } = this.#kernel;
    const end = u32[SB_FRONTIER >>> 2]!;
    const metricName = this.#texts.findName(METRIC_NAME);
    for (let pages = 0; this.#page < end && pages < SLICE_PAGES; this.#page++) {
      const entry = u32[SB_PAGE_TABLE >>> 2]! + this.#page * PAGE_ENTRY_BYTES;
      const kind = u8[entry + PAGE_KIND];
      if (kind === KIND_CHUNK) this.#chunks += u16[(entry + PAGE_LIVE) >>> 1]!;
      if (kind !== KIND_PAIR) continue;
      pages++;
      this.#walk(this.#page * PAGE_BYTES, u16[(entry + PAGE_BUMP) >>> 1]! * 8, metricName);
    }
    // Texts are read while the pairs are sure to be there.
    this.#metricNames.resolve((pair) => this.#texts.valueText(u32[(pair + PAIR_BLOB) >>> 2]!));
    this.#pairs.resolve((pair) => {
      const name = this.#texts.nameText(u32[(pair + PAIR_NAME) >>> 2]!);
      return `${name}=${this.#texts.valueText(u32[(pair + PAIR_BLOB) >>> 2]!)}`;
    });
    return this.#page < end ? null : this.#report();
  }

  #walk(start: number, bytes: number, metricName: number): void {
    const { u16, u32 } = this.#kernel;
    for (let pair = start; pair < start + bytes; pair += PAIR_BYTES) {
      const blob = u32[(pair + PAIR_BLOB) >>> 2]!;
      // Free cells hold a small number there, and what lists all series of a name holds 0.
      if (blob < PAGE_BYTES) continue;
      const series = u32[(pair + PAIR_COUNT) >>> 2]!;
      if (series === 0) continue;
      const name = u32[(pair + PAIR_NAME) >>> 2]!;
      this.#pairs.offer(pair, series);
      if (name === metricName) this.#metricNames.offer(pair, series);
      const textBytes = u16[(blob + BLOB_WIRE_BYTES) >>> 1]!;
      this.#bytes[name]! +=
        PAIR_BYTES + BLOB_HEADER_BYTES + textBytes + series * SET_ENTRY_BYTES + this.#postingBytes(pair);
    }
  }

  #postingBytes(pair: number): number {
    const { u16, u32 } = this.#kernel;
    let bytes = 0;
    for (let block = u32[(pair + PAIR_HEAD) >>> 2]!; block !== 0; block = u32[(block + BLOCK_NEXT) >>> 2]!) {
      bytes += u16[(block + BLOCK_SIZE) >>> 1]!;
    }
    return bytes;
  }

  #report(): Cardinality {
    const { u32 } = this.#kernel;
    const values: Count[] = [];
    const bytes: Count[] = [];
    for (let id = 1; id < u32[SB_NAME_NEXT >>> 2]!; id++) {
      const entry = u32[SB_NAMES >>> 2]! + id * NAME_BYTES;
      if (u32[(entry + NAME_LENGTH) >>> 2] === 0) continue;
      const name = this.#texts.nameText(id);
      values.push({ name, value: u32[(entry + NAME_PAIRS) >>> 2]! });
      bytes.push({ name, value: this.#bytes[id]! });
    }
    return {
      series: u32[SB_SERIES >>> 2]!,
      labelPairs: u32[SB_PAIRS >>> 2]!,
      chunks: this.#chunks,
      seriesByMetricName: this.#metricNames.counts(),
      valuesByLabelName: largestFirst(values).slice(0, this.#limit),
      bytesByLabelName: largestFirst(bytes).slice(0, this.#limit),
      seriesByLabelPair: this.#pairs.counts(),
    };
  }
}

interface Candidate {
  readonly pair: number;
  readonly count: number;
  name: string | null;
}

/** The largest of many counts, at most `limit` of them: a heap whose root is the smallest. */
class Largest {
  readonly #limit: number;
  readonly #heap: Candidate[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  offer(pair: number, count: number): void {
    if (this.#heap.length < this.#limit) {
      this.#heap.push({ pair, count, name: null });
      this.#rise(this.#heap.length - 1);
    } else if (count > this.#heap[0]!.count) {
      this.#heap[0] = { pair, count, name: null };
      this.#sink();
    }
  }

  /** Names those that have none yet. */
  resolve(nameOf: (pair: number) => string): void {
    for (const candidate of this.#heap) candidate.name ??= nameOf(candidate.pair);
  }

  counts(): Count[] {
    return largestFirst(this.#heap.map(({ name, count }) => ({ name: name!, value: count })));
  }

  #rise(from: number): void {
    const heap = this.#heap;
    for (let i = from; i > 0; ) {
      const parent = (i - 1) >>> 1;
      if (heap[parent]!.count <= heap[i]!.count) return;
      [heap[parent], heap[i]] = [heap[i]!, heap[parent]!];
      i = parent;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    for (let i = 0; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < heap.length && heap[child]!.count < heap[least]!.count) least = child;
      }
      if (least === i) return;
      [heap[least], heap[i]] = [heap[i]!, heap[least]!];
      i = least;
    }
  }
}

function largestFirst(counts: Count[]): Count[] {
  return counts.sort((a, b) => b.value - a.value || compareCodePoints(a.name, b.name));
}
