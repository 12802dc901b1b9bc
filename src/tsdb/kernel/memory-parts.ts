/** Where the store's memory is: bytes in use by what they are for. Reads the page table, 32 bytes a page, and no cell. */
import type { Kernel } from './kernel.ts';
import {
  KIND_BLOB,
  KIND_CHUNK,
  KIND_EXTRA,
  KIND_FREE,
  KIND_LOG,
  KIND_PAIR,
  KIND_POSTING,
  KIND_SET,
  KIND_TABLE,
  KINDS,
  NAME_BYTES,
  PAGE_BYTES,
  PAGE_ENTRY_BYTES,
  PAGE_KIND,
  RECORD_BYTES,
  SB_FRONTIER,
  SB_HEAP_FIRST,
  SB_ID_NEXT,
  SB_NAME_NEXT,
  SB_PAGE_TABLE,
} from './layout.ts';

/** Whole pages are counted, so what is given back inside of a page is still its part's. */
export interface StoreParts {
  /** Series, with the open ends of their samples. */
  readonly series_records: number;
  readonly label_sets: number;
  /** Texts of labels. */
  readonly symbols: number;
  readonly label_names: number;
  readonly label_pairs: number;
  /** Which series have a label. */
  readonly postings: number;
  /** Hash tables: series by labels, pairs, names, extras. */
  readonly identity_tables: number;
  readonly chunks: number;
  /** Native histograms and start timestamps, and which series have some. */
  readonly histograms: number;
  /** Was used, and waits to be used again. */
  readonly free_pages: number;
}

export function storeParts({ u8, u32 }: Kernel): StoreParts {
  const pages = new Uint32Array(KINDS);
  const table = u32[SB_PAGE_TABLE >>> 2]!;
  const end = u32[SB_FRONTIER >>> 2]!;
  for (let page = u32[SB_HEAP_FIRST >>> 2]!; page < end; page++)
    pages[u8[table + page * PAGE_ENTRY_BYTES + PAGE_KIND]!]!++;
  const bytesOf = (kind: number): number => pages[kind]! * PAGE_BYTES;
  return {
    series_records: u32[SB_ID_NEXT >>> 2]! * RECORD_BYTES,
    label_sets: bytesOf(KIND_SET),
    symbols: bytesOf(KIND_BLOB),
    label_names: u32[SB_NAME_NEXT >>> 2]! * NAME_BYTES,
    label_pairs: bytesOf(KIND_PAIR),
    postings: bytesOf(KIND_POSTING),
    identity_tables: bytesOf(KIND_TABLE),
    chunks: bytesOf(KIND_CHUNK),
    histograms: bytesOf(KIND_EXTRA) + bytesOf(KIND_LOG),
    free_pages: bytesOf(KIND_FREE),
  };
}
