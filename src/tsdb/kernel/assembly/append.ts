/** Appending one sample: what may be stored, and how a sample out of order finds its place. */
import {
  CELL_PREVIOUS,
  CELL_PREVIOUS_PERIOD,
  EXTRA_NEWEST,
  FLAG_EXTRAS,
  FLAG_SUBSCRIBED,
  OUTCOME_CONFLICTING,
  OUTCOME_DUPLICATE,
  OUTCOME_NO_MEMORY,
  OUTCOME_OUT_OF_ORDER,
  OUTCOME_STORED,
  OUTCOME_TOO_FAR_AHEAD,
  OUTCOME_TOO_OLD,
  PAGE_CELL,
  REC_BITS,
  REC_CAP,
  REC_CELL,
  REC_CELL_PERIOD,
  REC_DELTA,
  REC_FLAGS,
  REC_PERIOD,
  REC_POS,
  REC_RUN,
  REC_SAMPLES,
  REC_TIME,
  RECORD_BYTES,
  RING,
  SB_CURSOR,
  SB_LATEST_MS,
  SB_NEWEST_MS,
  SB_OLDEST_MS,
  SB_OUT_OF_ORDER_MS,
  SB_PERIOD,
  SB_PINS,
  SB_RECORDS,
  SB_RESERVE_CHUNKS,
  SB_RESULT,
  SB_RING,
  SB_TAIL,
  SB_TOUCHED,
  TAIL_SAMPLES_MAX,
} from '../layout';
import { decode, openCell, push, pushRegular, regularFrom, regularSpan } from './chunk';
import { extrasMake, extrasOf, extrasRoom, histogramAt, isHistogram, noteStart, putHistogram } from './extras';
import { entryOf, pagesFree } from './memory';
import { cellRelease, isCellOf } from './period';

/** Longest entry of the log, rounded up: what re-encoding one sample may take. */
const ENTRY_BYTES_MAX: u32 = 24;

/** Appends a sample and says what became of it (OUTCOME_*). */
// @ts-ignore: decorator
@inline
export function append(record: usize, timestamp: f64, bits: i64): u32 {
  if (!(timestamp <= load<f64>(SB_LATEST_MS))) return OUTCOME_TOO_FAR_AHEAD;
  if (!(timestamp > load<f64>(SB_OLDEST_MS))) return OUTCOME_TOO_OLD;
  const flags = <u32>load<u8>(record, REC_FLAGS);
  const from = regularFrom();
  if (flags == 0 && pushRegular(record, timestamp, bits, from, regularSpan(from), <u32>load<u16>(SB_PERIOD))) {
    if (timestamp > load<f64>(SB_NEWEST_MS)) store<f64>(SB_NEWEST_MS, timestamp);
    return OUTCOME_STORED;
  }
  return appendOther(record, timestamp, bits, flags);
}

/** As `append`, where the short way is known to be none. */
export function appendAny(record: usize, timestamp: f64, bits: i64): u32 {
  if (!(timestamp <= load<f64>(SB_LATEST_MS))) return OUTCOME_TOO_FAR_AHEAD;
  if (!(timestamp > load<f64>(SB_OLDEST_MS))) return OUTCOME_TOO_OLD;
  return appendOther(record, timestamp, bits, load<u8>(record, REC_FLAGS));
}

function appendOther(record: usize, timestamp: f64, bits: i64, flags: u32): u32 {
  if ((flags & FLAG_EXTRAS) != 0) return appendBeside(record, timestamp, bits, 0);
  const newest = load<f64>(record, REC_TIME);
  if (timestamp <= newest && load<u32>(record, REC_SAMPLES) != 0) {
    const outcome = appendLate(record, timestamp, bits, newest - load<f64>(SB_OUT_OF_ORDER_MS));
    if (outcome == OUTCOME_STORED) stored(record, timestamp);
    return outcome;
  }
  if (!push(record, timestamp, bits, load<u32>(SB_RESERVE_CHUNKS))) return OUTCOME_NO_MEMORY;
  stored(record, timestamp);
  return OUTCOME_STORED;
}

// @ts-ignore: decorator
@inline
function stored(record: usize, timestamp: f64): void {
  if (timestamp > load<f64>(SB_NEWEST_MS)) store<f64>(SB_NEWEST_MS, timestamp);
  if ((load<u8>(record, REC_FLAGS) & FLAG_SUBSCRIBED) != 0) touch(record);
}

/** Notes a subscribed series in the ring; whoever reads it sees from the counter whether it has run over. */
function touch(record: usize): void {
  const count = load<u32>(SB_TOUCHED);
  const id = (<u32>record - load<u32>(SB_RECORDS)) / RECORD_BYTES;
  store<u32>(SB_RING + ((count & (RING - 1)) << 2), id);
  store<u32>(SB_TOUCHED, count + 1);
}

/**
 * A sample that is not newer than the newest: found as a repetition, or put into its place by taking the newer ones
 * off the log and writing them again behind it. Readers that hold copies of the record keep their log: then the new
 * entries go into a fresh cell, else over the old ones. Before `oldest` it is too late.
 */
function appendLate(record: usize, timestamp: f64, bits: i64, oldest: f64): u32 {
  const newest = load<f64>(record, REC_TIME);
  if (timestamp == newest) return bits == load<i64>(record, REC_BITS) ? OUTCOME_DUPLICATE : OUTCOME_CONFLICTING;
  const times = <usize>load<u32>(SB_TAIL);
  const values = times + TAIL_SAMPLES_MAX * 8;
  const moved = decode(record, timestamp, Infinity, times, values, TAIL_SAMPLES_MAX);
  const cursor: usize = SB_CURSOR;
  const hasBefore = load<u32>(cursor, REC_SAMPLES) != 0;
  if (hasBefore) {
    const before = load<f64>(cursor, REC_TIME);
    if (before == timestamp) return bits == load<i64>(cursor, REC_BITS) ? OUTCOME_DUPLICATE : OUTCOME_CONFLICTING;
    if (before > timestamp) return OUTCOME_OUT_OF_ORDER; // more samples behind it than are ever moved
  }
  if (timestamp < oldest) return OUTCOME_OUT_OF_ORDER;
  if (pagesFree() < ((moved * ENTRY_BYTES_MAX) >>> 15) + 12) return OUTCOME_NO_MEMORY;
  rewind(record, hasBefore, moved);
  if (!push(record, timestamp, bits, 0)) unreachable();
  for (let i: usize = TAIL_SAMPLES_MAX - moved; i < <usize>TAIL_SAMPLES_MAX; i++) {
    if (!push(record, load<f64>(times + (i << 3)), load<i64>(values + (i << 3)), 0)) unreachable();
  }
  return OUTCOME_STORED;
}

// ---- beside histograms and start timestamps

/** A float of a series that has extras, or that comes with a start timestamp. */
export function appendBeside(record: usize, timestamp: f64, bits: i64, start: f64): u32 {
  if (!(timestamp <= load<f64>(SB_LATEST_MS))) return OUTCOME_TOO_FAR_AHEAD;
  if (!(timestamp > load<f64>(SB_OLDEST_MS))) return OUTCOME_TOO_OLD;
  const extras = start == 0 ? extrasOf(record) : extrasMake(record);
  if (extras == 0 || !extrasRoom()) return OUTCOME_NO_MEMORY;
  const newestFloat = load<u32>(record, REC_SAMPLES) == 0 ? -Infinity : load<f64>(record, REC_TIME);
  const newestHistogram = load<f64>(extras, EXTRA_NEWEST);
  const newest = max<f64>(newestFloat, newestHistogram);
  const oldest = newest - load<f64>(SB_OUT_OF_ORDER_MS);
  if (timestamp <= newestHistogram && histogramAt(extras, timestamp) != 0) return OUTCOME_CONFLICTING;
  if (timestamp <= newestFloat) {
    const outcome = appendLate(record, timestamp, bits, oldest);
    if (outcome != OUTCOME_STORED) return outcome;
  } else {
    if (timestamp < oldest) return OUTCOME_OUT_OF_ORDER;
    if (!push(record, timestamp, bits, load<u32>(SB_RESERVE_CHUNKS))) return OUTCOME_NO_MEMORY;
  }
  stored(record, timestamp);
  noteStart(extras, timestamp, start, timestamp < newest);
  return OUTCOME_STORED;
}

/** Appends a histogram: the same rules, against the floats and histograms of the series. */
export function appendHistogram(record: usize, timestamp: f64, blob: usize, bytes: u32, start: f64): u32 {
  if (!(timestamp <= load<f64>(SB_LATEST_MS))) return OUTCOME_TOO_FAR_AHEAD;
  if (!(timestamp > load<f64>(SB_OLDEST_MS))) return OUTCOME_TOO_OLD;
  const extras = extrasMake(record);
  if (extras == 0 || !extrasRoom()) return OUTCOME_NO_MEMORY;
  const newestFloat = load<u32>(record, REC_SAMPLES) == 0 ? -Infinity : load<f64>(record, REC_TIME);
  const newestHistogram = load<f64>(extras, EXTRA_NEWEST);
  const newest = max<f64>(newestFloat, newestHistogram);
  if (timestamp <= newest) {
    const known = timestamp <= newestHistogram ? histogramAt(extras, timestamp) : 0;
    if (known != 0) return isHistogram(known, blob, bytes) ? OUTCOME_DUPLICATE : OUTCOME_CONFLICTING;
    if (timestamp <= newestFloat && hasFloatAt(record, timestamp)) return OUTCOME_CONFLICTING;
    if (timestamp < newest - load<f64>(SB_OUT_OF_ORDER_MS)) return OUTCOME_OUT_OF_ORDER;
  }
  if (!putHistogram(extras, timestamp, blob, bytes, load<u32>(SB_RESERVE_CHUNKS))) return OUTCOME_NO_MEMORY;
  stored(record, timestamp);
  noteStart(extras, timestamp, start, timestamp < newest);
  return OUTCOME_STORED;
}

/** A place for one sample. */
const ONE: usize = SB_RESULT + 256;

function hasFloatAt(record: usize, timestamp: f64): bool {
  return decode(record, timestamp - 1, timestamp, ONE, ONE + 8, 1) == 1 && load<f64>(ONE) == timestamp;
}

/** Sets a record back to the sample at SB_CURSOR, `moved` samples ago; to nothing if there is none. */
function rewind(record: usize, hasBefore: bool, moved: u32): void {
  const cursor: usize = SB_CURSOR;
  const pinned = load<u32>(SB_PINS) != 0;
  const kept = hasBefore ? <usize>load<u32>(cursor, REC_CELL) : 0;
  if (!pinned) releaseCells(record, kept);
  if (!hasBefore) {
    store<u32>(record, 0, REC_SAMPLES);
    return;
  }
  const samples = load<u32>(record, REC_SAMPLES);
  store<u32>(record, samples > moved ? samples - moved : 1, REC_SAMPLES);
  store<f64>(record, load<f64>(cursor, REC_TIME), REC_TIME);
  store<i64>(record, load<i64>(cursor, REC_BITS), REC_BITS);
  store<i32>(record, load<i32>(cursor, REC_DELTA), REC_DELTA);
  store<u8>(record, load<u8>(cursor, REC_RUN), REC_RUN);
  store<u32>(record, <u32>kept, REC_CELL);
  store<u16>(record, load<u16>(cursor, REC_POS), REC_POS);
  store<u16>(record, load<u16>(cursor, REC_CELL_PERIOD), REC_CELL_PERIOD);
  store<u16>(record, load<u16>(cursor, REC_PERIOD), REC_PERIOD);
  store<u8>(record, kept == 0 ? 0 : <u8>load<u16>(entryOf(kept), PAGE_CELL), REC_CAP);
  if (pinned && kept != 0 && openCell(record, 0, 0) == 0) unreachable();
}

/** Gives the cells of a record back, newest first, as far as `kept`, which stays. */
function releaseCells(record: usize, kept: usize): void {
  let cell = <usize>load<u32>(record, REC_CELL);
  let period = <u32>load<u16>(record, REC_CELL_PERIOD);
  while (cell != 0 && cell != kept && isCellOf(cell, period)) {
    const previous = <usize>load<u32>(cell, CELL_PREVIOUS);
    period = load<u16>(cell, CELL_PREVIOUS_PERIOD);
    cellRelease(cell);
    cell = previous;
  }
}
