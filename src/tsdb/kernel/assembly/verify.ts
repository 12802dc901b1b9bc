/**
 * verify: walks the whole memory and says whether it hangs together. For tests, and for an operator in doubt: it is
 * linear in what is stored, and only reads (it uses the query scratch).
 */
import {
  BLOB_HEADER_BYTES,
  BLOB_NAME,
  BLOB_PAIR,
  BLOB_WIRE_BYTES,
  BLOCK_NEXT,
  EXTRA_HISTOGRAMS,
  EXTRA_ID,
  EXTRA_NEWEST,
  EXTRA_STARTS,
  FLAG_DEAD,
  FLAG_EXTRAS,
  KIND_BLOB,
  KIND_EXTRA,
  KIND_FREE,
  KIND_LOG,
  KIND_PAIR,
  KIND_POSTING,
  KIND_SET,
  KIND_TABLE,
  KINDS,
  LOG_BLOB,
  LOG_BLOB_BYTES,
  LOG_SERIAL,
  LOG_START_BYTES,
  LOG_TIME,
  NAME_ALL,
  NAME_FIRST,
  NAME_LENGTH,
  NAME_PAIRS,
  NAME_TEXT,
  PAGE_BUMP,
  PAGE_BYTES,
  PAGE_CELL,
  PAGE_FREE,
  PAGE_KIND,
  PAGE_LISTED,
  PAGE_LIVE,
  PAGE_NEXT,
  PAGE_PERIOD,
  PAIR_BLOB,
  PAIR_COUNT,
  PAIR_DIRTY,
  PAIR_HASH,
  PAIR_HEAD,
  PAIR_NAME,
  PAIR_NEXT,
  REC_FLAGS,
  REC_HASH,
  REC_LABEL_BYTES,
  REC_LABELS,
  REC_SAMPLES,
  REC_SET,
  REC_TIME,
  SB_BITMAP_BYTES,
  SB_BITMAPS,
  SB_COLUMN_BYTES,
  SB_COLUMNS,
  SB_CURSOR,
  SB_DEAD,
  SB_EXTRA_TABLE,
  SB_FREE_PAGE,
  SB_FREE_PAGES,
  SB_FRONTIER,
  SB_HEAP_FIRST,
  SB_ID_NEXT,
  SB_IDENTITY_TABLE,
  SB_NAME_COUNT,
  SB_NAME_NEXT,
  SB_PAIR_TABLE,
  SB_PAIRS,
  SB_SERIAL,
  SB_SERIES,
  SB_VERIFY_AT,
  SB_WINDOW_HI,
  SB_WINDOW_LO,
  TABLE_ADDRESS,
  TABLE_COUNT,
  TABLE_ENTRY_BYTES,
  TABLE_MASK,
  TABLE_OLD,
  TABLE_OLD_MASK,
} from '../layout';
import { decode } from './chunk';
import { before, extraHash, extrasOf, firstOf } from './extras';
import { hashBytes } from './hash';
import { nameAddress, nameFind, pairFind } from './labels';
import { bytesCompare, entryOf, pageEntry } from './memory';
import { periodAt } from './period';
import { hasBit, postingOr } from './postings';
import { recordOf } from './series';
import { TOMBSTONE } from './table';

// @ts-ignore: decorator
@inline
function fault(code: u32, at: usize): u32 {
  store<u32>(SB_VERIFY_AT, at);
  return code;
}

/** 0 if all is well, else a code; SB_VERIFY_AT then says where (an address, id or page). */
export function verify(): u32 {
  let code = verifyPages();
  if (code == 0) code = verifyNames();
  if (code == 0) code = verifySeries();
  if (code == 0) code = verifyTable(SB_IDENTITY_TABLE, load<u32>(SB_SERIES));
  if (code == 0) code = verifyTable(SB_PAIR_TABLE, load<u32>(SB_PAIRS));
  if (code == 0) code = verifyExtras();
  return code;
}

/** Pages (1xx): the free list, and in each slab live + free + never used = all cells. */
function verifyPages(): u32 {
  let listed: u32 = 0;
  let page = load<u32>(SB_FREE_PAGE);
  while (page != 0) {
    if (page < load<u32>(SB_HEAP_FIRST) || page >= load<u32>(SB_FRONTIER)) return fault(100, page);
    if (load<u8>(pageEntry(page), PAGE_KIND) != KIND_FREE) return fault(101, page);
    if (++listed > load<u32>(SB_FREE_PAGES)) return fault(102, page);
    page = load<u32>(pageEntry(page), PAGE_NEXT);
  }
  if (listed != load<u32>(SB_FREE_PAGES)) return fault(103, listed);
  let free: u32 = 0;
  let sets: u32 = 0;
  let pairs: u32 = 0;
  let blobs: u32 = 0;
  for (page = load<u32>(SB_HEAP_FIRST); page < load<u32>(SB_FRONTIER); page++) {
    const entry = pageEntry(page);
    const kind = <u32>load<u8>(entry, PAGE_KIND);
    if (kind == KIND_FREE) free++;
    if (kind == KIND_FREE || kind == KIND_TABLE) continue;
    if (kind >= <u32>KINDS) return fault(104, page);
    const code = verifySlab(page, entry);
    if (code != 0) return code;
    const live = <u32>load<u16>(entry, PAGE_LIVE);
    if (kind == KIND_SET) sets += live;
    if (kind == KIND_PAIR) pairs += live;
    if (kind == KIND_BLOB) blobs += live;
  }
  if (free != listed) return fault(105, free);
  if (sets != load<u32>(SB_SERIES)) return fault(106, sets);
  if (pairs != load<u32>(SB_PAIRS) + load<u32>(SB_NAME_COUNT)) return fault(107, pairs);
  if (blobs != load<u32>(SB_PAIRS) + load<u32>(SB_NAME_COUNT)) return fault(108, blobs);
  return 0;
}

function verifySlab(page: u32, entry: usize): u32 {
  const cell = <u32>load<u16>(entry, PAGE_CELL);
  const used = (<u32>load<u16>(entry, PAGE_BUMP) << 3) / cell;
  if (cell == 0 || used * cell > <u32>PAGE_BYTES) return fault(110, page);
  let free: u32 = 0;
  let at = <u32>load<u16>(entry, PAGE_FREE);
  while (at != 0) {
    if (((at - 1) << 3) % cell != 0 || at - 1 >= <u32>load<u16>(entry, PAGE_BUMP)) return fault(111, page);
    if (++free > used) return fault(112, page);
    at = load<u32>((<usize>page << 16) + ((at - 1) << 3));
  }
  if (<u32>load<u16>(entry, PAGE_LIVE) + free != used) return fault(113, page);
  if (load<u8>(entry, PAGE_KIND) == KIND_LOG) return load<u8>(entry, PAGE_LISTED) == 0 ? 0 : fault(114, page);
  const full = free == 0 && (used + 1) * cell > <u32>PAGE_BYTES;
  return full == (load<u8>(entry, PAGE_LISTED) != 0) ? fault(114, page) : 0;
}

/** Names and pairs (2xx): found again by their bytes, and counted right. */
function verifyNames(): u32 {
  let names: u32 = 0;
  let pairs: u32 = 0;
  let entries: u64 = 0;
  for (let id: u32 = 1; id < load<u32>(SB_NAME_NEXT); id++) {
    const name = nameAddress(id);
    if (load<u32>(name, NAME_LENGTH) == 0) continue;
    names++;
    if (nameFind(load<u32>(name, NAME_TEXT), load<u32>(name, NAME_LENGTH)) != id) return fault(200, id);
    let own: u32 = 0;
    let series: u32 = 0;
    let pair = <usize>load<u32>(name, NAME_FIRST);
    while (pair != 0) {
      const code = verifyPair(pair, id);
      if (code != 0) return code;
      own++;
      series += load<u32>(pair, PAIR_COUNT);
      pair = load<u32>(pair, PAIR_NEXT);
    }
    if (own != load<u32>(name, NAME_PAIRS)) return fault(201, id);
    const all = <usize>load<u32>(name, NAME_ALL);
    if (load<u32>(all, PAIR_COUNT) != series) return fault(202, id);
    const code = verifyPostings(all);
    if (code != 0) return code;
    pairs += own;
    entries += series;
  }
  if (names != load<u32>(SB_NAME_COUNT)) return fault(203, names);
  if (pairs != load<u32>(SB_PAIRS)) return fault(204, pairs);
  let labels: u64 = 0;
  for (let id: u32 = 1; id < load<u32>(SB_ID_NEXT); id++) {
    if (load<u32>(recordOf(id), REC_SET) != 0) labels += load<u8>(recordOf(id), REC_LABELS);
  }
  return labels == entries ? 0 : fault(205, <usize>entries);
}

function verifyPair(pair: usize, name: u32): u32 {
  if (load<u8>(entryOf(pair), PAGE_KIND) != KIND_PAIR) return fault(210, pair);
  const blob = <usize>load<u32>(pair, PAIR_BLOB);
  if (load<u8>(entryOf(blob), PAGE_KIND) != KIND_BLOB || load<u32>(blob, BLOB_PAIR) != <u32>pair) return fault(211, pair);
  if (load<u16>(blob, BLOB_NAME) != <u16>name || load<u32>(pair, PAIR_NAME) != name) return fault(212, pair);
  const length = <u32>load<u16>(blob, BLOB_WIRE_BYTES);
  const hash = <u32>hashBytes(blob + BLOB_HEADER_BYTES, length);
  if (load<u32>(pair, PAIR_HASH) != hash) return fault(213, pair);
  if (pairFind(blob + BLOB_HEADER_BYTES, length, hash) != pair) return fault(214, pair);
  return verifyPostings(pair);
}

/** The ids of a list are live (or dead and the list dirty), as many as counted, and each series has the pair. */
function verifyPostings(pair: usize): u32 {
  const bitmap = <usize>load<u32>(SB_BITMAPS);
  const end = load<u32>(SB_ID_NEXT);
  memory.fill(bitmap, 0, load<u32>(SB_BITMAP_BYTES));
  store<u32>(SB_WINDOW_LO, 0);
  store<u32>(SB_WINDOW_HI, (end + 127) & ~127);
  let block = <usize>load<u32>(pair, PAIR_HEAD);
  while (block != 0) {
    if (load<u8>(entryOf(block), PAGE_KIND) != KIND_POSTING) return fault(220, pair);
    block = load<u32>(block, BLOCK_NEXT);
  }
  postingOr(pair, bitmap);
  if (hasBit(bitmap, 0)) return fault(221, pair);
  let live: u32 = 0;
  for (let id: u32 = 1; id < end; id++) {
    if (!hasBit(bitmap, id)) continue;
    const record = recordOf(id);
    if (load<u32>(record, REC_SET) == 0) {
      if (load<u32>(pair, PAIR_DIRTY) == 0 || (load<u8>(record, REC_FLAGS) & FLAG_DEAD) == 0) return fault(222, id);
      continue;
    }
    live++;
    if (!carries(record, pair)) return fault(223, id);
  }
  return live == load<u32>(pair, PAIR_COUNT) ? 0 : fault(224, pair);
}

function carries(record: usize, pair: usize): bool {
  const set = <usize>load<u32>(record, REC_SET);
  for (let i: u32 = 0; i < <u32>load<u8>(record, REC_LABELS); i++) {
    const own = <usize>load<u32>(load<u32>(set + (i << 2)), BLOB_PAIR);
    if (own == pair) return true;
    if (load<u32>(pair, PAIR_BLOB) == 0 && load<u32>(own, PAIR_NAME) == load<u32>(pair, PAIR_NAME)) return true;
  }
  return false;
}

/** Series (3xx): labels sorted, found by identity, samples descending in time and no more than counted. */
function verifySeries(): u32 {
  let series: u32 = 0;
  let dead: u32 = 0;
  for (let id: u32 = 1; id < load<u32>(SB_ID_NEXT); id++) {
    const record = recordOf(id);
    const set = <usize>load<u32>(record, REC_SET);
    if (set == 0) {
      if ((load<u8>(record, REC_FLAGS) & FLAG_DEAD) != 0) dead++;
      continue;
    }
    series++;
    if (load<u8>(entryOf(set), PAGE_KIND) != KIND_SET) return fault(300, id);
    let bytes: u32 = 0;
    let before: usize = 0;
    for (let i: u32 = 0; i < <u32>load<u8>(record, REC_LABELS); i++) {
      const blob = <usize>load<u32>(set + (i << 2));
      bytes += load<u16>(blob, BLOB_WIRE_BYTES);
      const name = nameAddress(load<u16>(blob, BLOB_NAME));
      if (before != 0 && compareNames(before, name) >= 0) return fault(301, id);
      before = name;
    }
    if (bytes != load<u32>(record, REC_LABEL_BYTES)) return fault(302, id);
    if (!tableHas(SB_IDENTITY_TABLE, load<u32>(record, REC_HASH), id)) return fault(303, id);
    const code = verifySamples(record, id);
    if (code != 0) return code;
  }
  if (series != load<u32>(SB_SERIES)) return fault(304, series);
  return dead == load<u32>(SB_DEAD) ? 0 : fault(305, dead);
}

function compareNames(a: usize, b: usize): i32 {
  return bytesCompare(load<u32>(a, NAME_TEXT), load<u32>(a, NAME_LENGTH), load<u32>(b, NAME_TEXT), load<u32>(b, NAME_LENGTH));
}

function verifySamples(record: usize, id: u32): u32 {
  const times = <usize>load<u32>(SB_COLUMNS);
  const max = load<u32>(SB_COLUMN_BYTES) >>> 4;
  let source = record;
  let last = Infinity;
  let samples: u32 = 0;
  while (true) {
    const n = decode(source, -Infinity, Infinity, times, times + (max << 3), max);
    for (let i: u32 = max; i > max - n; i--) {
      const time = load<f64>(times + ((i - 1) << 3));
      if (!(time < last)) return fault(310, id);
      last = time;
    }
    samples += n;
    if (load<u32>(SB_CURSOR, REC_SAMPLES) == 0 || n == 0) break;
    source = SB_CURSOR;
  }
  if (samples > load<u32>(record, REC_SAMPLES)) return fault(311, id);
  return load<u32>(record, REC_SAMPLES) != 0 && samples == 0 && load<f64>(record, REC_TIME) > -Infinity ? fault(312, id) : 0;
}

/** Extras (5xx): one for each series that has the flag, and chains that descend in time, each cell in its period. */
function verifyExtras(): u32 {
  let flagged: u32 = 0;
  for (let id: u32 = 1; id < load<u32>(SB_ID_NEXT); id++) {
    const record = recordOf(id);
    if ((load<u8>(record, REC_FLAGS) & FLAG_EXTRAS) == 0) continue;
    flagged++;
    const extras = extrasOf(record);
    if (extras == 0 || load<u8>(entryOf(extras), PAGE_KIND) != KIND_EXTRA) return fault(500, id);
    if (load<u32>(extras, EXTRA_ID) != id || !tableHas(SB_EXTRA_TABLE, extraHash(id), <u32>extras)) return fault(501, id);
    const newest = firstOf(extras, EXTRA_HISTOGRAMS);
    if (newest != 0 && load<f64>(newest, LOG_TIME) != load<f64>(extras, EXTRA_NEWEST)) return fault(502, id);
    let code = verifyChain(newest, id, true);
    if (code == 0) code = verifyChain(firstOf(extras, EXTRA_STARTS), id, false);
    if (code != 0) return code;
  }
  let cells: u32 = 0;
  for (let page = load<u32>(SB_HEAP_FIRST); page < load<u32>(SB_FRONTIER); page++) {
    if (load<u8>(pageEntry(page), PAGE_KIND) == KIND_EXTRA) cells += load<u16>(pageEntry(page), PAGE_LIVE);
  }
  return cells == flagged ? verifyTable(SB_EXTRA_TABLE, flagged) : fault(503, cells);
}

function verifyChain(first: usize, id: u32, strict: bool): u32 {
  let last = Infinity;
  for (let cell = first; cell != 0; cell = before(cell)) {
    const time = load<f64>(cell, LOG_TIME);
    if (strict ? !(time < last) : !(time <= last)) return fault(510, id);
    if (load<u16>(entryOf(cell), PAGE_PERIOD) != <u16>periodAt(time)) return fault(511, id);
    const bytes = strict ? LOG_BLOB + load<u32>(cell, LOG_BLOB_BYTES) : LOG_START_BYTES;
    const end = <u32>load<u16>(entryOf(cell), PAGE_BUMP) << 3;
    if ((<u32>cell & 0xffff) + bytes > end) return fault(512, id);
    if (!(load<f64>(cell, LOG_SERIAL) <= load<f64>(SB_SERIAL))) return fault(513, id);
    last = time;
  }
  return 0;
}

function tableHas(table: usize, hash: u32, ref: u32): bool {
  if (chainHas(load<u32>(table, TABLE_ADDRESS), load<u32>(table, TABLE_MASK), hash, ref)) return true;
  const old = load<u32>(table, TABLE_OLD);
  return old != 0 && chainHas(old, load<u32>(table, TABLE_OLD_MASK), hash, ref);
}

function chainHas(base: usize, mask: u32, hash: u32, ref: u32): bool {
  for (let i = hash & mask; load<u32>(base + i * TABLE_ENTRY_BYTES, 4) != 0; i = (i + 1) & mask) {
    if (load<u32>(base + i * TABLE_ENTRY_BYTES, 4) == ref) return load<u32>(base + i * TABLE_ENTRY_BYTES) == hash;
  }
  return false;
}

/** Tables (4xx): as many entries as counted and as things that are to be found. */
function verifyTable(table: usize, wanted: u32): u32 {
  let entries = entriesIn(load<u32>(table, TABLE_ADDRESS), load<u32>(table, TABLE_MASK));
  if (load<u32>(table, TABLE_OLD) != 0) entries += entriesIn(load<u32>(table, TABLE_OLD), load<u32>(table, TABLE_OLD_MASK));
  if (entries != load<u32>(table, TABLE_COUNT)) return fault(400, table);
  return entries == wanted ? 0 : fault(401, table);
}

function entriesIn(base: usize, mask: u32): u32 {
  let entries: u32 = 0;
  for (let i: u32 = 0; i <= mask; i++) {
    const ref = load<u32>(base + i * TABLE_ENTRY_BYTES, 4);
    if (ref != 0 && ref != TOMBSTONE) entries++;
  }
  return entries;
}
