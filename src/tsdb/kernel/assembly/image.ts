/**
 * Making a loaded image whole. An image holds what cannot be had otherwise: records, names, label sets, blobs, pairs,
 * extras and samples, each as it was at some moment while the image was written. Records were written first, so all that
 * they name is there. The rest follows from them and is made anew:
 *
 *     pages     lists of free pages, of slabs with room, of the pages of each period
 *     extras    those of a series that is in the image, on their table
 *     series    identity table, names, pairs and their postings, in order of ids
 *     slabs     cells that nobody names (made while the image was written) are free again
 *
 * A cell in use is marked by a bit for each eight bytes of the heap, in the query scratch.
 */
import {
  BLOB_NAME,
  BLOB_PAIR,
  EXTRA_ID,
  FLAG_EXTRAS,
  KIND_BLOB,
  KIND_CHUNK,
  KIND_EXTRA,
  KIND_LOG,
  KIND_PAIR,
  KIND_SET,
  LABEL_BYTES,
  LABELS_HARD_MAX,
  NAME_ALL,
  NAME_BYTES,
  NAME_EPOCH,
  NAME_FIRST,
  NAME_HASH,
  NAME_PAIRS,
  NAME_TEXT,
  PAGE_BUMP,
  PAGE_BYTES,
  PAGE_CELL,
  PAGE_CLASS,
  PAGE_ENTRY_BYTES,
  PAGE_FREE,
  PAGE_KIND,
  PAGE_LISTED,
  PAGE_LIVE,
  PAGE_NEXT,
  PAGE_PERIOD,
  PAGE_PREVIOUS,
  PAIR_BLOB,
  PAIR_BYTES,
  PAIR_HASH,
  PAIR_NAME,
  PAIR_NEXT,
  PAIR_PREVIOUS,
  PERIOD_LARGE,
  PERIOD_LIVE,
  PERIOD_LOG,
  PERIOD_PAGES,
  PERIOD_SLOTS,
  PERIOD_SMALL,
  REC_FLAGS,
  REC_GENERATION,
  REC_HASH,
  REC_LABELS,
  REC_NEXT,
  REC_SET,
  RECORD_BYTES,
  SB_BITMAPS,
  SB_COLUMN_BYTES,
  SB_COLUMNS,
  SB_CONNECTIONS,
  SB_CURSOR,
  SB_DEAD,
  SB_DEAD_ID,
  SB_DIRTY_PAIR,
  SB_EXTRA_TABLE,
  SB_FREE_ID,
  SB_FREE_NAME,
  SB_FRONTIER,
  SB_HEAP_END,
  SB_HEAP_FIRST,
  SB_ID_MAX,
  SB_ID_NEXT,
  SB_IDENTITY_TABLE,
  SB_IMAGE,
  SB_LABELS,
  SB_NAME_COUNT,
  SB_NAME_NEXT,
  SB_NAME_TABLE,
  SB_NAMES_MAX,
  SB_PAIR_TABLE,
  SB_PAIRS,
  SB_PAIRS_FREED,
  SB_PINS,
  SB_POSTING_BYTES,
  SB_RETENTION_PHASE,
  SB_SERIES,
  SB_SLABS,
  SB_TOUCHED,
  SB_VERDICT_BYTES,
  SB_VERDICT_GIVEN,
  CONNECTIONS,
  KINDS,
  SLAB_CLASSES,
  TABLE_ADDRESS,
  TABLE_BYTES,
  TABLE_ENTRY_BYTES,
  TABLE_MASK,
} from '../layout';
import { extraHash, extrasFind } from './extras';
import { nameAddress } from './labels';
import { classOf, enlist, entryOf, givePage, pageEntry, relistFreePages, takeRun } from './memory';
import { isLivePeriod, slotOf } from './period';
import { postingAddRun } from './postings';
import { recordOf } from './series';
import { tableInsert, tableRoom } from './table';

const WHOLE: u32 = 0;
const NO_ROOM: u32 = 1;
const BAD_SUPERBLOCK: u32 = 2;
const BAD_SERIES: u32 = 3;

/**
 * Makes the memory whole after records, names, pages with their entries, and the superblock were put into it. 0, or a code
 * that says why it cannot be: then the memory is of no use.
 */
export function rebuild(): u32 {
  if (!isPlausible()) return BAD_SUPERBLOCK;
  const bytes = (load<u32>(SB_FRONTIER) - load<u32>(SB_HEAP_FIRST)) << 10;
  const scratch = load<u32>(SB_BITMAPS);
  if (bytes > load<u32>(SB_COLUMNS) + load<u32>(SB_COLUMN_BYTES) - scratch) return NO_ROOM;
  memory.fill(scratch, 0, bytes);
  const series = load<u32>(SB_SERIES);
  const pairs = load<u32>(SB_PAIRS);
  forget();
  takePages();
  if (!openTable(SB_IDENTITY_TABLE, series) || !openTable(SB_PAIR_TABLE, pairs)) return NO_ROOM;
  if (!openTable(SB_NAME_TABLE, 0) || !openTable(SB_EXTRA_TABLE, 0)) return NO_ROOM;
  if (!takeExtras()) return NO_ROOM;
  const code = takeSeries();
  if (code != WHOLE) return code;
  freeNames();
  sweep();
  return WHOLE;
}

function isPlausible(): bool {
  const frontier = load<u32>(SB_FRONTIER);
  if (frontier < load<u32>(SB_HEAP_FIRST) || frontier > load<u32>(SB_HEAP_END)) return false;
  return load<u32>(SB_ID_NEXT) <= load<u32>(SB_ID_MAX) + 1 && load<u32>(SB_NAME_NEXT) <= load<u32>(SB_NAMES_MAX);
}

/** What was true of the process that wrote the image, or is counted anew. */
function forget(): void {
  store<u32>(SB_PINS, 0);
  store<u32>(SB_IMAGE, 0);
  store<u32>(SB_VERDICT_BYTES, 0);
  store<u32>(SB_VERDICT_GIVEN, 0);
  store<u32>(SB_RETENTION_PHASE, 0);
  store<u32>(SB_DIRTY_PAIR, 0);
  store<u32>(SB_DEAD_ID, 0);
  store<u32>(SB_DEAD, 0);
  store<u32>(SB_FREE_ID, 0);
  store<u32>(SB_FREE_NAME, 0);
  store<u32>(SB_TOUCHED, 0);
  store<u32>(SB_POSTING_BYTES, 0);
  store<u32>(SB_SERIES, 0);
  store<u32>(SB_PAIRS, 0);
  store<u32>(SB_PAIRS_FREED, load<u32>(SB_PAIRS_FREED) + 1);
  store<u32>(SB_NAME_COUNT, 0);
  memory.fill(SB_CURSOR, 0, RECORD_BYTES);
  memory.fill(SB_CONNECTIONS, 0, CONNECTIONS << 2);
  memory.fill(SB_SLABS, 0, (KINDS * SLAB_CLASSES) << 2);
}

// ---- pages

function takePages(): void {
  for (let i = 0; i < PERIOD_SLOTS; i++) {
    const slot = slotOf(i);
    store<u32>(slot, 0, PERIOD_SMALL);
    store<u32>(slot, 0, PERIOD_LARGE);
    store<u32>(slot, 0, PERIOD_PAGES);
    store<u32>(slot, 0, PERIOD_LOG);
  }
  const end = load<u32>(SB_FRONTIER);
  for (let page = load<u32>(SB_HEAP_FIRST); page < end; page++) {
    const entry = pageEntry(page);
    store<u32>(entry, 0, PAGE_NEXT);
    store<u32>(entry, 0, PAGE_PREVIOUS);
    store<u8>(entry, 0, PAGE_LISTED);
    const kind = <u32>load<u8>(entry, PAGE_KIND);
    if (kind == KIND_CHUNK || kind == KIND_LOG) takePeriodPage(page, entry, kind);
    else if (!isSlab(kind)) memory.fill(entry, 0, PAGE_ENTRY_BYTES);
  }
  relistFreePages();
}

// @ts-ignore: decorator
@inline
function isSlab(kind: u32): bool {
  return kind == KIND_SET || kind == KIND_BLOB || kind == KIND_PAIR || kind == KIND_EXTRA;
}

function takePeriodPage(page: u32, entry: usize, kind: u32): void {
  const tag = <u32>load<u16>(entry, PAGE_PERIOD);
  if (!isLivePeriod(tag)) {
    memory.fill(entry, 0, PAGE_ENTRY_BYTES);
    return;
  }
  const slot = slotOf(tag);
  store<u32>(slot, load<u32>(slot, PERIOD_PAGES) + 1, PERIOD_PAGES);
  if (kind == KIND_LOG) store<u32>(slot, page, PERIOD_LOG);
  else if (hasRoom(entry)) enlist(page, slot + (<u32>load<u16>(entry, PAGE_CELL) == 32 ? PERIOD_SMALL : PERIOD_LARGE));
}

function hasRoom(entry: usize): bool {
  if (load<u16>(entry, PAGE_FREE) != 0) return true;
  return (<u32>load<u16>(entry, PAGE_BUMP) << 3) + <u32>load<u16>(entry, PAGE_CELL) <= <u32>PAGE_BYTES;
}

/** Opens a table that `count` entries fit into at once. */
function openTable(table: usize, count: u32): bool {
  let size: u32 = PAGE_BYTES / TABLE_ENTRY_BYTES;
  while (size - (size >>> 2) <= count + 64) size <<= 1;
  memory.fill(table, 0, TABLE_BYTES);
  const first = takeRun((size * TABLE_ENTRY_BYTES) >>> 16);
  if (first == 0) return false;
  store<u32>(table, first << 16, TABLE_ADDRESS);
  store<u32>(table, size - 1, TABLE_MASK);
  return true;
}

// ---- marks

// @ts-ignore: decorator
@inline
function markAt(cell: usize): usize {
  return load<u32>(SB_BITMAPS) + ((cell - (<usize>load<u32>(SB_HEAP_FIRST) << 16)) >>> 6);
}

// @ts-ignore: decorator
@inline
function isMarked(cell: usize): bool {
  return ((load<u8>(markAt(cell)) >>> ((<u32>cell >>> 3) & 7)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
function mark(cell: usize): void {
  const at = markAt(cell);
  store<u8>(at, <u32>load<u8>(at) | (<u32>1 << ((<u32>cell >>> 3) & 7)));
}

function unmark(cell: usize): void {
  const at = markAt(cell);
  store<u8>(at, <u32>load<u8>(at) & ~(<u32>1 << ((<u32>cell >>> 3) & 7)));
}

/** True if an address is in a page of that kind. */
// @ts-ignore: decorator
@inline
function isIn(cell: usize, kind: u32): bool {
  const page = <u32>cell >>> 16;
  if (page < load<u32>(SB_HEAP_FIRST) || page >= load<u32>(SB_FRONTIER)) return false;
  return load<u8>(entryOf(cell), PAGE_KIND) == kind;
}

// ---- extras

/** Puts the extras of series that are in the image on their table. The free cells of a page are on its list, as copied. */
function takeExtras(): bool {
  for (let page = load<u32>(SB_HEAP_FIRST); page < load<u32>(SB_FRONTIER); page++) {
    const entry = pageEntry(page);
    if (load<u8>(entry, PAGE_KIND) != KIND_EXTRA) continue;
    const base = <usize>page << 16;
    let free = <u32>load<u16>(entry, PAGE_FREE);
    while (free != 0) {
      mark(base + ((free - 1) << 3));
      free = load<u32>(base + ((free - 1) << 3));
    }
    const cell = <usize>load<u16>(entry, PAGE_CELL);
    const end = base + (<usize>load<u16>(entry, PAGE_BUMP) << 3);
    for (let extras = base; extras < end; extras += cell) {
      if (isMarked(extras)) unmark(extras);
      else if (isWanted(load<u32>(extras, EXTRA_ID))) {
        if (!tableRoom(SB_EXTRA_TABLE)) return false;
        tableInsert(SB_EXTRA_TABLE, extraHash(load<u32>(extras, EXTRA_ID)), <u32>extras);
        mark(extras);
      }
    }
  }
  return true;
}

function isWanted(id: u32): bool {
  if (id == 0 || id >= load<u32>(SB_ID_NEXT)) return false;
  const record = recordOf(id);
  return load<u32>(record, REC_SET) != 0 && (load<u8>(record, REC_FLAGS) & FLAG_EXTRAS) != 0 && extrasFind(id) == 0;
}

// ---- series

function takeSeries(): u32 {
  const end = load<u32>(SB_ID_NEXT);
  if (!takeIdentities(end)) return NO_ROOM;
  memory.fill(RUNS, 0, RUNS_MAX * RUN_BYTES);
  let before: u32 = 0;
  for (let id: u32 = 1; id < end; id++) {
    const record = recordOf(id);
    if (load<u32>(record, REC_SET) == 0) continue;
    const isWithExtras = (load<u8>(record, REC_FLAGS) & FLAG_EXTRAS) != 0;
    if (isWithExtras && extrasFind(id) == 0) return BAD_SERIES;
    store<u8>(record, isWithExtras ? FLAG_EXTRAS : 0, REC_FLAGS);
    // A run of ids ends with the first that is not there.
    if (before + 1 != id) endRuns(before + 1);
    before = id;
    if (!takeLabels(record, id)) return BAD_SERIES;
  }
  endRuns(before + 1);
  // Downwards, so that the lowest id is used first.
  for (let id = end - 1; id > 0; id--) if (load<u32>(recordOf(id), REC_SET) == 0) freeId(id);
  return WHOLE;
}

/** How many slots are looked at before the first of them is filled: the processor fetches them side by side. */
const AHEAD: u32 = 32;

/** All series into the identity table, which `openTable` made large enough for as many as the superblock knew of. */
function takeIdentities(end: u32): bool {
  for (let first: u32 = 1; first < end; first += AHEAD) {
    const last = min<u32>(first + AHEAD, end);
    const slots = <usize>load<u32>(SB_IDENTITY_TABLE, TABLE_ADDRESS);
    const mask = load<u32>(SB_IDENTITY_TABLE, TABLE_MASK);
    let touched: u32 = 0;
    for (let id = first; id < last; id++) {
      touched ^= load<u32>(slots + (load<u32>(recordOf(id), REC_HASH) & mask) * TABLE_ENTRY_BYTES);
    }
    store<u32>(SB_LABELS, touched);
    for (let id = first; id < last; id++) {
      const record = recordOf(id);
      if (load<u32>(record, REC_SET) == 0) continue;
      if (!tableRoom(SB_IDENTITY_TABLE)) return false;
      tableInsert(SB_IDENTITY_TABLE, load<u32>(record, REC_HASH), id);
      store<u32>(SB_SERIES, load<u32>(SB_SERIES) + 1);
    }
  }
  return true;
}

function freeId(id: u32): void {
  const record = recordOf(id);
  const generation = load<u32>(record, REC_GENERATION);
  memory.fill(record, 0, RECORD_BYTES);
  store<u32>(record, generation, REC_GENERATION);
  store<u32>(record, load<u32>(SB_FREE_ID), REC_NEXT);
  store<u32>(SB_FREE_ID, id);
}

/**
 * Neighbours have most labels in common. For each place in a label set: the blob that stood there last, its pair, the pair
 * of all of its name, and the ids since when. As long as it is the same nothing else is looked at, and a run of ids is one
 * posting.
 *
 *     0 u32 blob, 0: none   4 u32 pair   8 u32 first id   12 u32 pair of all of the name   16 u32 first id of that
 */
const RUNS: usize = SB_LABELS;
const RUN_BYTES: usize = LABEL_BYTES;
const RUNS_MAX: usize = LABELS_HARD_MAX;

function takeLabels(record: usize, id: u32): bool {
  const set = <usize>load<u32>(record, REC_SET);
  const labels = <u32>load<u8>(record, REC_LABELS);
  if (!isIn(set, KIND_SET) || labels > <u32>LABELS_HARD_MAX) return false;
  mark(set);
  for (let i: u32 = 0; i < labels; i++) {
    const blob = <usize>load<u32>(set + (i << 2));
    const run = RUNS + i * RUN_BYTES;
    if (load<u32>(run) != <u32>blob && !beginRun(run, blob, id)) return false;
  }
  for (let i = <usize>labels; i < RUNS_MAX && load<u32>(RUNS + i * RUN_BYTES) != 0; i++) endRun(RUNS + i * RUN_BYTES, id);
  return true;
}

function beginRun(run: usize, blob: usize, id: u32): bool {
  if (!isIn(blob, KIND_BLOB)) return false;
  const pair = <usize>load<u32>(blob, BLOB_PAIR);
  if (!isIn(pair, KIND_PAIR)) return false;
  if (!isMarked(pair) && !takePair(pair, blob)) return false;
  const all = load<u32>(nameAddress(load<u32>(pair, PAIR_NAME)), NAME_ALL);
  const isFirst = load<u32>(run) == 0;
  if (!isFirst) postingAddRun(load<u32>(run, 4), load<u32>(run, 8), id);
  store<u32>(run, <u32>blob);
  store<u32>(run, <u32>pair, 4);
  store<u32>(run, id, 8);
  if (!isFirst && load<u32>(run, 12) == all) return true;
  if (!isFirst) postingAddRun(load<u32>(run, 12), load<u32>(run, 16), id);
  store<u32>(run, all, 12);
  store<u32>(run, id, 16);
  return true;
}

function endRun(run: usize, end: u32): void {
  postingAddRun(load<u32>(run, 4), load<u32>(run, 8), end);
  postingAddRun(load<u32>(run, 12), load<u32>(run, 16), end);
  store<u32>(run, 0);
}

function endRuns(end: u32): void {
  for (let i: usize = 0; i < RUNS_MAX && load<u32>(RUNS + i * RUN_BYTES) != 0; i++) endRun(RUNS + i * RUN_BYTES, end);
}

/** Makes a pair that was met for the first time, without postings. */
function takePair(pair: usize, blob: usize): bool {
  const id = <u32>load<u16>(blob, BLOB_NAME);
  if (id == 0 || id >= load<u32>(SB_NAME_NEXT) || !tableRoom(SB_PAIR_TABLE)) return false;
  const name = nameAddress(id);
  const all = <usize>load<u32>(name, NAME_ALL);
  if (!isIn(all, KIND_PAIR) || (!isMarked(all) && !takeName(name, all, id))) return false;
  const hash = load<u32>(pair, PAIR_HASH);
  mark(pair);
  mark(blob);
  memory.fill(pair, 0, PAIR_BYTES);
  store<u32>(pair, <u32>blob, PAIR_BLOB);
  store<u32>(pair, hash, PAIR_HASH);
  store<u32>(pair, id, PAIR_NAME);
  const next = load<u32>(name, NAME_FIRST);
  store<u32>(pair, next, PAIR_NEXT);
  if (next != 0) store<u32>(next, <u32>pair, PAIR_PREVIOUS);
  store<u32>(name, <u32>pair, NAME_FIRST);
  store<u32>(name, load<u32>(name, NAME_PAIRS) + 1, NAME_PAIRS);
  store<u32>(SB_PAIRS, load<u32>(SB_PAIRS) + 1);
  tableInsert(SB_PAIR_TABLE, hash, <u32>pair);
  return true;
}

function takeName(name: usize, all: usize, id: u32): bool {
  const text = <usize>load<u32>(name, NAME_TEXT);
  if (!isIn(text, KIND_BLOB) || !tableRoom(SB_NAME_TABLE)) return false;
  mark(text);
  mark(all);
  memory.fill(all, 0, PAIR_BYTES);
  store<u32>(all, id, PAIR_NAME);
  store<u32>(name, 0, NAME_FIRST);
  store<u32>(name, 0, NAME_PAIRS);
  store<u32>(name, load<u32>(name, NAME_EPOCH) + 1, NAME_EPOCH);
  tableInsert(SB_NAME_TABLE, load<u32>(name, NAME_HASH), id);
  store<u32>(SB_NAME_COUNT, load<u32>(SB_NAME_COUNT) + 1);
  return true;
}

/** Names that no series in the image carries. */
function freeNames(): void {
  for (let id = load<u32>(SB_NAME_NEXT) - 1; id > 0; id--) {
    const name = nameAddress(id);
    const all = <usize>load<u32>(name, NAME_ALL);
    if (all != 0 && isIn(all, KIND_PAIR) && isMarked(all)) continue;
    const epoch = load<u32>(name, NAME_EPOCH);
    memory.fill(name, 0, NAME_BYTES);
    store<u32>(name, epoch + 1, NAME_EPOCH);
    store<u32>(name, load<u32>(SB_FREE_NAME), NAME_FIRST);
    store<u32>(SB_FREE_NAME, id);
  }
}

// ---- slabs

/** Gives back the cells of slabs that are not marked, and lists the pages with room. */
function sweep(): void {
  for (let page = load<u32>(SB_HEAP_FIRST); page < load<u32>(SB_FRONTIER); page++) {
    const kind = <u32>load<u8>(pageEntry(page), PAGE_KIND);
    if (isSlab(kind)) sweepPage(page, kind);
  }
}

function sweepPage(page: u32, kind: u32): void {
  const entry = pageEntry(page);
  const cell = <u32>load<u16>(entry, PAGE_CELL);
  const used = (<u32>load<u16>(entry, PAGE_BUMP) << 3) / cell;
  const base = <usize>page << 16;
  let live: u32 = 0;
  let free: u32 = 0;
  for (let i = used; i > 0; i--) {
    const at = (i - 1) * cell;
    if (isMarked(base + at)) {
      live++;
      continue;
    }
    store<u32>(base + at, free);
    free = (at >>> 3) + 1;
  }
  if (live == 0) {
    givePage(page);
    return;
  }
  store<u16>(entry, live, PAGE_LIVE);
  store<u16>(entry, free, PAGE_FREE);
  store<u8>(entry, classOf(cell), PAGE_CLASS);
  if (hasRoom(entry)) enlist(page, SB_SLABS + ((kind * SLAB_CLASSES + classOf(cell)) << 2));
}
