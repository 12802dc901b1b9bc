/**
 * Retention: periods go, then series without samples, in slices.
 *
 *     1 periods   pages of periods that are out of retention go back
 *     2 series    records are looked through; a series without samples loses its identity and its label set, and its
 *                 pairs are noted as dirty
 *     3 pairs     the postings of dirty pairs are written anew without the dead; pairs without series go
 *     4 ids       the ids of the dead may be used again
 *
 * A dead id stays out of use until no postings list names it: until then readers pass it over. Nothing happens while
 * somebody holds chunks or ids (SB_PINS).
 */
import {
  BLOB_PAIR,
  EXTRA_NEWEST,
  FLAG_DEAD,
  KIND_SET,
  NAME_ALL,
  NAME_PAIRS,
  PAIR_BLOB,
  PAIR_COUNT,
  PAIR_DIRTY,
  PAIR_DIRTY_NEXT,
  PAIR_NAME,
  REC_CELL,
  REC_FLAGS,
  REC_GENERATION,
  REC_HASH,
  REC_LABELS,
  REC_NEXT,
  REC_SAMPLES,
  REC_SET,
  REC_TIME,
  RECORD_BYTES,
  SB_BITMAP_BYTES,
  SB_BITMAPS,
  SB_DEAD,
  SB_DEAD_BITMAP,
  SB_DEAD_ID,
  SB_DIRTY_PAIR,
  SB_FREE_ID,
  SB_ID_NEXT,
  SB_IDENTITY_TABLE,
  SB_OLDEST_MS,
  SB_PINS,
  SB_RETENTION_CURSOR,
  SB_RETENTION_PHASE,
  SB_SERIES,
  SB_SERIES_REMOVED,
  SB_WINDOW_HI,
  SB_WINDOW_LO,
  SET_ENTRY_BYTES,
} from '../layout';
import { extrasFree, extrasOf } from './extras';
import { nameAddress, nameFree, pairFree } from './labels';
import { release } from './memory';
import { expirePeriods } from './period';
import { postingBounds, postingClear, postingOr, postingRebuild } from './postings';
import { recordOf } from './series';
import { tableRemove } from './table';

const PHASE_IDLE: u32 = 0;
const PHASE_SERIES: u32 = 1;
const PHASE_PAIRS: u32 = 2;
const PHASE_IDS: u32 = 3;

/**
 * One slice of about `budget` records' worth of work. 0: all done, 1: there is more to do, 2: put off, because
 * somebody holds chunks.
 */
export function retentionSlice(budget: u32): u32 {
  if (load<u32>(SB_PINS) != 0) return 2;
  switch (load<u32>(SB_RETENTION_PHASE)) {
    case PHASE_IDLE:
      expirePeriods(load<f64>(SB_OLDEST_MS));
      store<u32>(SB_RETENTION_CURSOR, 1);
      store<u32>(SB_RETENTION_PHASE, PHASE_SERIES);
      return 1;
    case PHASE_SERIES:
      if (buryExpired(budget)) store<u32>(SB_RETENTION_PHASE, PHASE_PAIRS);
      return 1;
    case PHASE_PAIRS:
      if (cleanPairs(budget)) store<u32>(SB_RETENTION_PHASE, PHASE_IDS);
      return 1;
    default:
      if (!freeIds(budget)) return 1;
      store<u32>(SB_RETENTION_PHASE, PHASE_IDLE);
      return 0;
  }
}

/** Looks through `budget` records; true at the end of them. */
function buryExpired(budget: u32): bool {
  const oldest = load<f64>(SB_OLDEST_MS);
  const end = load<u32>(SB_ID_NEXT);
  let id = load<u32>(SB_RETENTION_CURSOR);
  const stop = min<u32>(end, id + budget);
  for (; id < stop; id++) {
    const record = recordOf(id);
    if (load<u32>(record, REC_SET) == 0) continue;
    const noFloats = load<u32>(record, REC_SAMPLES) == 0 || load<f64>(record, REC_TIME) <= oldest;
    if (noFloats && !hasHistogramAfter(record, oldest)) bury(record, id);
  }
  store<u32>(SB_RETENTION_CURSOR, id);
  return id >= end;
}

function hasHistogramAfter(record: usize, oldest: f64): bool {
  const extras = extrasOf(record);
  return extras != 0 && load<f64>(extras, EXTRA_NEWEST) > oldest;
}

/** Takes a series out of everything but the postings. */
function bury(record: usize, id: u32): void {
  const set = <usize>load<u32>(record, REC_SET);
  const labels = <u32>load<u8>(record, REC_LABELS);
  for (let i: u32 = 0; i < labels; i++) {
    const pair = <usize>load<u32>(load<u32>(set + i * SET_ENTRY_BYTES), BLOB_PAIR);
    loseOne(pair);
    loseOne(load<u32>(nameAddress(load<u32>(pair, PAIR_NAME)), NAME_ALL));
  }
  tableRemove(SB_IDENTITY_TABLE, load<u32>(record, REC_HASH), id);
  release(set, KIND_SET);
  extrasFree(record);
  const generation = load<u32>(record, REC_GENERATION);
  memory.fill(record, 0, RECORD_BYTES);
  store<u32>(record, generation, REC_GENERATION);
  store<u8>(record, FLAG_DEAD, REC_FLAGS);
  store<u32>(record, load<u32>(SB_DEAD_ID), REC_NEXT);
  store<u32>(SB_DEAD_ID, id);
  setDead(id, true);
  store<u32>(SB_DEAD, load<u32>(SB_DEAD) + 1);
  store<u32>(SB_SERIES, load<u32>(SB_SERIES) - 1);
  store<f64>(SB_SERIES_REMOVED, load<f64>(SB_SERIES_REMOVED) + 1);
}

function loseOne(pair: usize): void {
  store<u32>(pair, load<u32>(pair, PAIR_COUNT) - 1, PAIR_COUNT);
  if (load<u32>(pair, PAIR_DIRTY) != 0) return;
  store<u32>(pair, 1, PAIR_DIRTY);
  store<u32>(pair, load<u32>(SB_DIRTY_PAIR), PAIR_DIRTY_NEXT);
  store<u32>(SB_DIRTY_PAIR, <u32>pair);
}

/** Cleans dirty pairs until the budget is used up; true when none is left. */
function cleanPairs(budget: u32): bool {
  let spent: u32 = 0;
  while (spent < budget) {
    const pair = <usize>load<u32>(SB_DIRTY_PAIR);
    if (pair == 0) return true;
    store<u32>(SB_DIRTY_PAIR, load<u32>(pair, PAIR_DIRTY_NEXT));
    store<u32>(pair, 0, PAIR_DIRTY);
    spent += 4 + cleanPair(pair);
  }
  return false;
}

/** Takes the dead out of a pair's postings; about how much work it was, in records. */
function cleanPair(pair: usize): u32 {
  const own = load<u32>(pair, PAIR_BLOB) != 0;
  const name = load<u32>(pair, PAIR_NAME);
  if (load<u32>(pair, PAIR_COUNT) == 0) {
    postingClear(pair);
    if (own) pairFree(pair);
    // The name goes with the last of its pairs; its own pair may be cleaned before or after that.
    if (load<u32>(nameAddress(name), NAME_PAIRS) == 0 && !isAllDirty(name)) nameFree(name);
    return 0;
  }
  const bounds = postingBounds(pair);
  const from = <u32>bounds & ~63;
  const to = <u32>(bounds >>> 32);
  const bitmap = <usize>load<u32>(SB_BITMAPS);
  const bytes = (((to - from) >>> 6) << 3) + 16;
  assert((from >>> 3) + bytes <= load<u32>(SB_BITMAP_BYTES), 'postings name an id beyond the last');
  memory.fill(bitmap + (from >>> 3), 0, bytes);
  store<u32>(SB_WINDOW_LO, from);
  store<u32>(SB_WINDOW_HI, to);
  postingOr(pair, bitmap);
  clearDead(bitmap, from, to);
  postingRebuild(pair, bitmap, from, to);
  return bytes >>> 3;
}

function isAllDirty(name: u32): bool {
  return load<u32>(load<u32>(nameAddress(name), NAME_ALL), PAIR_DIRTY) != 0;
}

function clearDead(bitmap: usize, from: u32, to: u32): void {
  const dead = <usize>load<u32>(SB_DEAD_BITMAP);
  const end = (to + 63) >>> 3;
  for (let at = from >>> 3; at < end; at += 8) store<u64>(bitmap + at, load<u64>(bitmap + at) & ~load<u64>(dead + at));
}

function setDead(id: u32, dead: bool): void {
  const at = <usize>load<u32>(SB_DEAD_BITMAP) + (id >>> 3);
  const bit = <u32>1 << (id & 7);
  const bits = <u32>load<u8>(at);
  store<u8>(at, dead ? bits | bit : bits & ~bit);
}

function freeIds(budget: u32): bool {
  for (let i: u32 = 0; i < budget; i++) {
    const id = load<u32>(SB_DEAD_ID);
    if (id == 0) return true;
    const record = recordOf(id);
    store<u32>(SB_DEAD_ID, load<u32>(record, REC_NEXT));
    store<u32>(SB_DEAD, load<u32>(SB_DEAD) - 1);
    setDead(id, false);
    store<u8>(record, 0, REC_FLAGS);
    store<u32>(record, load<u32>(SB_FREE_ID), REC_NEXT);
    store<u32>(SB_FREE_ID, id);
    assert(load<u32>(record, REC_CELL) == 0, 'a dead record holds a cell');
  }
  return false;
}
