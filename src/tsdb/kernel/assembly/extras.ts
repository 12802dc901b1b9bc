/**
 * Extras: what few series have beside floats, histograms (as opaque blobs) and start timestamps.
 *
 *     record ─ FLAG_EXTRAS ─ SB_EXTRA_TABLE ─ extras ┬ histogram ─ histogram before ─ …
 *                                                    └ start ─ start before ─ …
 *
 * Cells are chained newest first and lie in pages of their period, as chunk cells do: a cell whose page does not carry
 * its period any more is the end of the chain. Nothing in a cell ever changes but the link to the one before it, and
 * each has a serial number: a snapshot remembers how many there were and passes over histograms that came later, so a
 * cell out of order is simply linked in.
 *
 * A start cell says which start the samples from its time on have, until the next cell or the end of the period:
 * either a time (cumulative data: one cell a period and a restart), or a distance from the sample (delta data).
 */
import {
  EXTRA_BYTES,
  EXTRA_HAS_HISTOGRAMS,
  EXTRA_HAS_STARTS,
  EXTRA_HISTOGRAMS,
  EXTRA_HISTOGRAMS_PERIOD,
  EXTRA_ID,
  EXTRA_NEWEST,
  EXTRA_STARTS,
  EXTRA_STARTS_PERIOD,
  FLAG_EXTRAS,
  HISTOGRAM_BYTES_MAX,
  KIND_EXTRA,
  LOG_BLOB,
  LOG_BLOB_BYTES,
  LOG_PREVIOUS,
  LOG_PREVIOUS_PERIOD,
  LOG_RELATIVE,
  LOG_SERIAL,
  LOG_START,
  LOG_START_BYTES,
  LOG_TIME,
  PAGE_PERIOD,
  REC_FLAGS,
  RECORD_BYTES,
  SB_EXTRA_TABLE,
  SB_IMAGE,
  SB_RECORDS,
  SB_SERIAL,
  TABLE_ADDRESS,
  TABLE_ENTRY_BYTES,
  TABLE_MASK,
  TABLE_OLD,
  TABLE_OLD_MASK,
} from '../layout';
import { allocate, bytesEqual, entryOf, pagesFree, release } from './memory';
import { isLogOf, logAllocate, notePeriod, periodAt } from './period';
import { recordOf } from './series';
import { tableInsert, tableRemove, tableRoom, TOMBSTONE } from './table';

// ---- whose extras

/** The extras of a series, or 0. */
// @ts-ignore: decorator
@inline
export function extrasOf(record: usize): usize {
  return (load<u8>(record, REC_FLAGS) & FLAG_EXTRAS) == 0 ? 0 : extrasFind(idOf(record));
}

// @ts-ignore: decorator
@inline
function idOf(record: usize): u32 {
  return (<u32>record - load<u32>(SB_RECORDS)) / RECORD_BYTES;
}

/** One to one: ids are equal if their hashes are. */
// @ts-ignore: decorator
@inline
export function extraHash(id: u32): u32 {
  return id * 0x9e3779b1;
}

export function extrasFind(id: u32): usize {
  const hash = extraHash(id);
  const extras = extrasIn(load<u32>(SB_EXTRA_TABLE, TABLE_ADDRESS), load<u32>(SB_EXTRA_TABLE, TABLE_MASK), hash);
  const old = load<u32>(SB_EXTRA_TABLE, TABLE_OLD);
  return extras != 0 || old == 0 ? extras : extrasIn(old, load<u32>(SB_EXTRA_TABLE, TABLE_OLD_MASK), hash);
}

function extrasIn(base: usize, mask: u32, hash: u32): usize {
  let i = hash & mask;
  while (true) {
    const slot = base + i * TABLE_ENTRY_BYTES;
    const extras = load<u32>(slot, 4);
    if (extras == 0) return 0;
    if (load<u32>(slot) == hash && extras != TOMBSTONE) return extras;
    i = (i + 1) & mask;
  }
  return 0;
}

/** Pages that stay free, for postings. */
const PAGES_MIN: u32 = 12;

/** True if what a sample has beside its value can be noted once it is stored. */
export function extrasRoom(): bool {
  return pagesFree() >= PAGES_MIN;
}

/** The extras of a series, made if it has none; 0 if there is no room for them. */
export function extrasMake(record: usize): usize {
  const known = extrasOf(record);
  if (known != 0) return known;
  if (!extrasRoom() || !tableRoom(SB_EXTRA_TABLE)) return 0;
  const extras = allocate(KIND_EXTRA, EXTRA_BYTES);
  if (extras == 0) return 0;
  memory.fill(extras, 0, EXTRA_BYTES);
  const id = idOf(record);
  store<u32>(extras, id, EXTRA_ID);
  store<f64>(extras, -Infinity, EXTRA_NEWEST);
  tableInsert(SB_EXTRA_TABLE, extraHash(id), <u32>extras);
  store<u8>(record, load<u8>(record, REC_FLAGS) | FLAG_EXTRAS, REC_FLAGS);
  return extras;
}

/** Gives the extras of a series back; their cells go with their periods. */
export function extrasFree(record: usize): void {
  const extras = extrasOf(record);
  if (extras == 0) return;
  tableRemove(SB_EXTRA_TABLE, extraHash(idOf(record)), <u32>extras);
  release(extras, KIND_EXTRA);
}

// ---- chains

/** First cell of a chain; 0 if it has none that is still there. */
// @ts-ignore: decorator
@inline
export function firstOf(extras: usize, chain: usize): usize {
  const cell = <usize>load<u32>(extras + chain);
  return cell != 0 && isLogOf(cell, load<u16>(extras + periodField(chain))) ? cell : 0;
}

// @ts-ignore: decorator
@inline
function periodField(chain: usize): usize {
  return chain == EXTRA_HISTOGRAMS ? EXTRA_HISTOGRAMS_PERIOD : EXTRA_STARTS_PERIOD;
}

// @ts-ignore: decorator
@inline
export function before(cell: usize): usize {
  const previous = <usize>load<u32>(cell, LOG_PREVIOUS);
  return previous != 0 && isLogOf(previous, load<u16>(cell, LOG_PREVIOUS_PERIOD)) ? previous : 0;
}

/** Takes a cell and links it in behind all that are newer; among equals it is the newest. 0 if there is no room. */
function putCell(extras: usize, chain: usize, timestamp: f64, bytes: u32, reserve: u32): usize {
  const period = periodAt(timestamp);
  const cell = logAllocate(period, bytes, reserve);
  if (cell == 0) return 0;
  const serial = load<f64>(SB_SERIAL) + 1;
  store<f64>(SB_SERIAL, serial);
  store<f64>(cell, serial, LOG_SERIAL);
  store<f64>(cell, timestamp, LOG_TIME);
  let newer: usize = 0;
  let older = firstOf(extras, chain);
  while (older != 0 && load<f64>(older, LOG_TIME) > timestamp) {
    newer = older;
    older = before(older);
  }
  if (newer != 0 && load<u32>(SB_IMAGE) != 0) {
    newer = copyNewer(extras, chain, newer);
    if (newer == 0) return 0;
  }
  store<u32>(cell, <u32>older, LOG_PREVIOUS);
  store<u16>(cell, older == 0 ? 0 : load<u16>(entryOf(older), PAGE_PERIOD), LOG_PREVIOUS_PERIOD);
  if (newer == 0) {
    store<u32>(extras + chain, <u32>cell);
    store<u16>(extras + periodField(chain), period);
  } else {
    store<u32>(newer, <u32>cell, LOG_PREVIOUS);
    store<u16>(newer, period, LOG_PREVIOUS_PERIOD);
  }
  return cell;
}

/**
 * While an image is being written, a link of a cell that it may have read must not change: so the cells down to `newer`
 * are copied, and the link of the last copy may. They keep their serial numbers. The copy of `newer`, or 0 without room;
 * the chain is whole after each step.
 */
function copyNewer(extras: usize, chain: usize, newer: usize): usize {
  let from = firstOf(extras, chain);
  let above: usize = 0;
  while (from != 0) {
    const bytes: u32 = chain == EXTRA_HISTOGRAMS ? LOG_BLOB + load<u32>(from, LOG_BLOB_BYTES) : LOG_START_BYTES;
    const copy = logAllocate(periodAt(load<f64>(from, LOG_TIME)), bytes, 0);
    if (copy == 0) return 0;
    memory.copy(copy, from, bytes);
    if (above == 0) store<u32>(extras + chain, <u32>copy);
    else store<u32>(above, <u32>copy, LOG_PREVIOUS);
    if (from == newer) return copy;
    above = copy;
    from = before(from);
  }
  return 0;
}

// ---- histograms

/** The histogram of exactly that time, or 0. */
export function histogramAt(extras: usize, timestamp: f64): usize {
  let cell = firstOf(extras, EXTRA_HISTOGRAMS);
  while (cell != 0 && load<f64>(cell, LOG_TIME) > timestamp) cell = before(cell);
  return cell != 0 && load<f64>(cell, LOG_TIME) == timestamp ? cell : 0;
}

export function isHistogram(cell: usize, blob: usize, bytes: u32): bool {
  return load<u32>(cell, LOG_BLOB_BYTES) == bytes && bytesEqual(cell + LOG_BLOB, blob, bytes);
}

export function putHistogram(extras: usize, timestamp: f64, blob: usize, bytes: u32, reserve: u32): bool {
  assert(bytes <= <u32>HISTOGRAM_BYTES_MAX, 'histogram is longer than a cell can be');
  const cell = putCell(extras, EXTRA_HISTOGRAMS, timestamp, LOG_BLOB + bytes, reserve);
  if (cell == 0) return false;
  store<u32>(cell, bytes, LOG_BLOB_BYTES);
  memory.copy(cell + LOG_BLOB, blob, bytes);
  if (timestamp > load<f64>(extras, EXTRA_NEWEST)) store<f64>(extras, timestamp, EXTRA_NEWEST);
  notePeriod(timestamp);
  return true;
}

/** True if the series had a histogram when `serial` cells had been written. */
export function hasHistograms(id: u32, serial: f64): bool {
  const extras = extrasOf(recordOf(id));
  if (extras == 0) return false;
  let cell = firstOf(extras, EXTRA_HISTOGRAMS);
  while (cell != 0 && load<f64>(cell, LOG_SERIAL) > serial) cell = before(cell);
  return cell != 0;
}

/**
 * Writes the addresses of the histograms with from < t <= to of a snapshot to `out`, newest first, at most `max`, and
 * behind the last one the histogram before it, or 0. Returns their number.
 */
export function histogramsIn(id: u32, from: f64, to: f64, serial: f64, out: usize, max: u32): u32 {
  const extras = extrasOf(recordOf(id));
  let n: u32 = 0;
  let cell = extras == 0 ? 0 : firstOf(extras, EXTRA_HISTOGRAMS);
  for (; cell != 0; cell = before(cell)) {
    if (load<f64>(cell, LOG_SERIAL) > serial || load<f64>(cell, LOG_TIME) > to) continue;
    if (n == max || load<f64>(cell, LOG_TIME) <= from) break;
    store<u32>(out + (n << 2), <u32>cell);
    n++;
  }
  store<u32>(out + (n << 2), <u32>cell);
  return n;
}

/** What the histograms with from < t <= to are charged as, in samples: by their bytes, as Prometheus does. */
export function histogramsBound(record: usize, from: f64, to: f64): f64 {
  const extras = extrasOf(record);
  let samples: f64 = 0;
  for (let cell = firstOf(extras, EXTRA_HISTOGRAMS); cell != 0; cell = before(cell)) {
    const time = load<f64>(cell, LOG_TIME);
    if (time <= from) break;
    if (time <= to) samples += <f64>((load<u32>(cell, LOG_BLOB_BYTES) + 23) >>> 4);
  }
  return samples;
}

/** EXTRA_HAS_* bits of a series. */
export function extrasKinds(record: usize): u32 {
  const extras = extrasOf(record);
  const histograms: u32 = firstOf(extras, EXTRA_HISTOGRAMS) == 0 ? 0 : EXTRA_HAS_HISTOGRAMS;
  return histograms | (firstOf(extras, EXTRA_STARTS) == 0 ? 0 : EXTRA_HAS_STARTS);
}

// ---- start timestamps

/** Notes the start of a sample that was stored. `late`: there are newer samples, which keep the starts they have. */
export function noteStart(extras: usize, timestamp: f64, start: f64, late: bool): void {
  if (start == 0 && load<u32>(extras, EXTRA_STARTS) == 0) return;
  const next = timestamp + 1;
  const ruling = rulingStart(firstOf(extras, EXTRA_STARTS), timestamp);
  if (startOf(ruling, timestamp) == start) return;
  const follower = rulingStart(firstOf(extras, EXTRA_STARTS), next);
  const distance = timestamp - start;
  putStart(extras, timestamp, start, start != 0 && distanceOf(ruling) == distance ? distance : NaN);
  const isFollowed = follower != 0 && load<f64>(follower, LOG_TIME) == next;
  // Times are whole milliseconds: whatever comes after lies at `next` or later.
  if (!late || isFollowed || periodAt(next) != periodAt(timestamp)) return;
  const relative = follower != 0 && load<u16>(follower, LOG_RELATIVE) != 0;
  putStart(extras, next, startOf(follower, next), relative ? load<f64>(follower, LOG_START) : NaN);
}

function putStart(extras: usize, timestamp: f64, start: f64, distance: f64): void {
  const cell = putCell(extras, EXTRA_STARTS, timestamp, LOG_START_BYTES, 0);
  // The caller has seen to it that there are pages.
  if (cell == 0) unreachable();
  const relative = !isNaN(distance);
  store<u16>(cell, relative ? 1 : 0, LOG_RELATIVE);
  store<f64>(cell, relative ? distance : start, LOG_START);
}

/** The start cell that holds for a sample of this time, or 0; `cell` is one that is not older than it. */
function rulingStart(cell: usize, timestamp: f64): usize {
  while (cell != 0 && load<f64>(cell, LOG_TIME) > timestamp) cell = before(cell);
  return cell != 0 && load<u16>(entryOf(cell), PAGE_PERIOD) == <u16>periodAt(timestamp) ? cell : 0;
}

// @ts-ignore: decorator
@inline
function startOf(cell: usize, timestamp: f64): f64 {
  if (cell == 0) return 0;
  const start = load<f64>(cell, LOG_START);
  return load<u16>(cell, LOG_RELATIVE) == 0 ? start : timestamp - start;
}

/** How far before its sample the start lay that a cell was written for. */
function distanceOf(cell: usize): f64 {
  if (cell == 0) return NaN;
  const start = load<f64>(cell, LOG_START);
  return load<u16>(cell, LOG_RELATIVE) != 0 ? start : load<f64>(cell, LOG_TIME) - start;
}

/**
 * Writes the starts of the samples at n times, 0 where unknown; false, and nothing written, if the series has none.
 * Quick if the times ascend, right in any order. Samples that came after a snapshot change nothing for those in it.
 */
export function startsAt(id: u32, times: usize, n: u32, out: usize): bool {
  const extras = extrasOf(recordOf(id));
  const first = extras == 0 ? 0 : firstOf(extras, EXTRA_STARTS);
  if (first == 0) return false;
  let cell = first;
  let last = Infinity;
  for (let i = n; i > 0; i--) {
    const time = load<f64>(times + ((i - 1) << 3));
    if (time > last) cell = first;
    last = time;
    while (cell != 0 && load<f64>(cell, LOG_TIME) > time) cell = before(cell);
    store<f64>(out + ((i - 1) << 3), startOf(rulingStart(cell, time), time));
  }
  return true;
}
