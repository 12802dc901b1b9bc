/** The kernel's door: what TypeScript calls, and how a fresh memory is laid out. */
import {
  BITMAPS,
  ITEM_BYTES,
  ITEMS_MAX,
  LABEL_INPUT_BYTES,
  LAYOUT_VERSION,
  MAGIC,
  NAME_BYTES,
  OUTCOME_STORED,
  PAGE_BYTES,
  PAGE_ENTRY_BYTES,
  RECORD_BYTES,
  SB_BITMAP_BYTES,
  SB_BITMAPS,
  SB_BODY,
  SB_BODY_BYTES_MAX,
  SB_COLUMN_BYTES,
  SB_COLUMNS,
  SB_CRC_TABLES,
  SB_DEAD_BITMAP,
  SB_EXTRA_TABLE,
  SB_FLOOR_MS,
  SB_FRONTIER,
  SB_HEAP_END,
  SB_HEAP_FIRST,
  SB_ID_MAX,
  SB_ID_NEXT,
  SB_IDENTITY_TABLE,
  SB_IDS,
  SB_IN,
  SB_IN_BYTES_MAX,
  SB_ITEMS,
  SB_KEYS,
  SB_LABEL_INPUT,
  SB_LABELS_MAX,
  SB_MAGIC,
  SB_MEMORY_PAGES,
  SB_NAME_BYTES_MAX,
  SB_NAME_NEXT,
  SB_NAME_TABLE,
  SB_NAMES,
  SB_NAMES_MAX,
  SB_NEWEST_MS,
  SB_OLDEST_MS,
  SB_OUT_OF_ORDER_MS,
  SB_PAGE_TABLE,
  SB_PAIR_TABLE,
  SB_PERIOD_END_MS,
  SB_PERIOD_MS,
  SB_PERIOD_START_MS,
  SB_POWERS,
  SB_RECORDS,
  SB_RESERVE_CHUNKS,
  SB_RESERVE_SERIES,
  SB_SERIES_MAX,
  SB_TAIL,
  SB_VALUE_BYTES_MAX,
  SB_VERDICT,
  SB_VERSION,
  SUPERBLOCK,
  TAIL_SAMPLES_MAX,
} from '../layout';
import { noteStored } from '../../../ingest/remote-write/assembly/walk.as';
import { append as appendTo, appendBeside, appendHistogram as appendHistogramTo } from './append';
import { CRC_TABLE_BYTES, crcInit } from './crc';
import { recordOf } from './series';
import { tableOpen } from './table';

export { ingest, ingestMore } from '../../../ingest/remote-write/assembly/walk.as';
export { bodySeries } from '../../../ingest/remote-write/assembly/body-series.as';
export { ingest2, ingest2More } from '../../../ingest/remote-write/assembly/walk2.as';
export { snappyDecode } from '../../../ingest/remote-write/assembly/snappy.as';
export { decode } from './chunk';
export { crc32c } from './crc';
export { hasHistograms, histogramsIn, startsAt } from './extras';
export { rebuild } from './image';
export { blockSum } from './sum';
export { nameOf, pairOf } from './labels';
export { pagesFree } from './memory';
export { periodSummary } from './period';
export { retentionSlice } from './retention';
export { rhythms } from './rhythm';
export {
  bitmapAnd,
  bitmapAndNot,
  bitmapFill,
  bitmapIsEmpty,
  bitmapMeetsName,
  bitmapMeetsPair,
  bitmapNarrow,
  bitmapOr,
  bitmapOrName,
  bitmapOrPairs,
  collect,
  copyRecords,
  countSamples,
  pairsOf,
  selectBegin,
} from './select';
export { labelColumn, seriesOf } from './series';
export { verify } from './verify';
export { sumNewest } from './newest';
export { addUp } from './sums';
export { lastValues, rates } from './window';

/** Appends one sample to the series with this id; the value as its two halves. A start of 0 is unknown. */
export function append(id: u32, timestamp: f64, low: u32, high: u32, start: f64): u32 {
  const bits = <i64>((<u64>high << 32) | <u64>low);
  const outcome =
    start == 0 ? appendTo(recordOf(id), timestamp, bits) : appendBeside(recordOf(id), timestamp, bits, start);
  if (outcome == OUTCOME_STORED) noteStored(1);
  return outcome;
}

/** Appends one histogram, whose bytes were written to SB_LABEL_INPUT. */
export function appendHistogram(id: u32, timestamp: f64, bytes: u32, start: f64): u32 {
  const outcome = appendHistogramTo(recordOf(id), timestamp, load<u32>(SB_LABEL_INPUT), bytes, start);
  if (outcome == OUTCOME_STORED) noteStored(1);
  return outcome;
}

/**
 * Lays out a fresh (zeroed) memory; false if it is too small. The limits of labels and time, and the keys of the hash,
 * are written into the superblock by the caller afterwards.
 */
export function init(pages: u32, seriesMax: u32, bodyBytesMax: u32): bool {
  store<u32>(SB_MAGIC, MAGIC);
  store<u32>(SB_VERSION, LAYOUT_VERSION);
  store<u32>(SB_MEMORY_PAGES, pages);
  store<u32>(SB_SERIES_MAX, seriesMax);
  // Ids of the dead are out of use until their postings are clean: some more ids than series.
  const idMax = seriesMax + (seriesMax >>> 3) + 1024;
  store<u32>(SB_ID_MAX, idMax);
  store<u32>(SB_BODY_BYTES_MAX, bodyBytesMax);
  const inBytes = 32 + bodyBytesMax + bodyBytesMax / 6;
  store<u32>(SB_IN_BYTES_MAX, inBytes);
  const namesMax: u32 = pages < 4096 ? 2048 : 32768;
  store<u32>(SB_NAMES_MAX, namesMax);
  const bitmapBytes = (((idMax + 256) >>> 3) + 63) & ~63;
  store<u32>(SB_BITMAP_BYTES, bitmapBytes);

  let at: u64 = SUPERBLOCK + PAGE_BYTES;
  at = range(SB_PAGE_TABLE, at, <u64>pages * PAGE_ENTRY_BYTES);
  at = range(SB_NAMES, at, <u64>namesMax * NAME_BYTES);
  at = range(SB_LABEL_INPUT, at, LABEL_INPUT_BYTES);
  at = range(SB_TAIL, at, TAIL_SAMPLES_MAX * 16);
  at = range(SB_ITEMS, at, ITEMS_MAX * ITEM_BYTES);
  at = range(SB_DEAD_BITMAP, at, bitmapBytes + 64);
  at = range(SB_CRC_TABLES, at, CRC_TABLE_BYTES);
  // No sample takes less than two bytes of a body.
  at = range(SB_VERDICT, at, (bodyBytesMax >>> 4) + 128);
  const scratch = at;
  at = range(SB_IN, at, <u64>inBytes + 128);
  at = range(SB_BODY, at, <u64>bodyBytesMax + 128);
  const bodiesEnd = at;
  at = range(SB_BITMAPS, scratch, <u64>bitmapBytes * BITMAPS);
  at = range(SB_IDS, at, (<u64>idMax + 64) * 4);
  const columns = at;
  // Everything that is left of the scratch, and a MiB at least, is for columns of samples and results.
  at = max<u64>(bodiesEnd, columns + (1 << 20));
  range(SB_COLUMNS, columns, 0);
  store<u32>(SB_COLUMN_BYTES, <u32>((at - columns) & ~63));
  at = range(SB_RECORDS, at, (<u64>idMax + 1) * RECORD_BYTES);

  const heap = <u32>((at + PAGE_BYTES - 1) >>> 16);
  if (<u64>heap + 128 > <u64>pages) return false;
  store<u32>(SB_HEAP_FIRST, heap);
  store<u32>(SB_FRONTIER, heap);
  store<u32>(SB_HEAP_END, pages - 1);
  const heapPages = pages - 1 - heap;
  const reserve = max<u32>(16, heapPages >>> 6);
  store<u32>(SB_RESERVE_CHUNKS, reserve);
  // 64 pages are more than one series of 40 labels can open; a sixteenth lets known series go on for a while.
  store<u32>(SB_RESERVE_SERIES, reserve + 64 + (heapPages >>> 4));
  initState();
  crcInit();
  if (!tableOpen(SB_IDENTITY_TABLE) || !tableOpen(SB_PAIR_TABLE)) return false;
  return tableOpen(SB_NAME_TABLE) && tableOpen(SB_EXTRA_TABLE);
}

function range(field: usize, at: u64, bytes: u64): u64 {
  store<u32>(field, <u32>at);
  return (at + bytes + 127) & ~127;
}

function initState(): void {
  store<u32>(SB_ID_NEXT, 1);
  store<u32>(SB_NAME_NEXT, 1);
  store<u32>(SB_LABELS_MAX, 40);
  store<u32>(SB_NAME_BYTES_MAX, 256);
  store<u32>(SB_VALUE_BYTES_MAX, 4096);
  store<f64>(SB_FLOOR_MS, -Infinity);
  store<f64>(SB_OLDEST_MS, -Infinity);
  store<f64>(SB_NEWEST_MS, -Infinity);
  store<f64>(SB_OUT_OF_ORDER_MS, 300000);
  store<f64>(SB_PERIOD_MS, 3600000);
  store<f64>(SB_PERIOD_START_MS, Infinity);
  store<f64>(SB_PERIOD_END_MS, -Infinity);
  let power: f64 = 1;
  for (let i: u32 = 0; i < 16; i++) {
    store<f64>(SB_POWERS + (i << 3), power);
    power *= 10;
  }
  store<u64>(SB_KEYS, 0x243f6a8885a308d3);
}
