/**
 * Periods: retention by whole pages.
 *
 * A chunk cell holds samples of one period only (a slice of time of SB_PERIOD_MS), and a chunk page holds cells of one
 * period. When a period has passed out of retention its pages go back at once, without a walk over series: a cell
 * whose page does not carry its period any more is the end of a series' history.
 */
import {
  CELL_SMALL_BYTES,
  KIND_CHUNK,
  KIND_FREE,
  KIND_LOG,
  PAGE_BUMP,
  PAGE_BYTES,
  PAGE_KIND,
  PAGE_LIVE,
  PAGE_PERIOD,
  PERIOD_LARGE,
  PERIOD_LIVE,
  PERIOD_LOG,
  PERIOD_MIN_MS,
  PERIOD_NUMBER,
  PERIOD_PAGES,
  PERIOD_SAMPLES,
  PERIOD_SLOT_BYTES,
  PERIOD_SLOTS,
  PERIOD_SMALL,
  SB_FLOOR_MS,
  SB_FRONTIER,
  SB_HEAP_FIRST,
  SB_OLDEST_MS,
  SB_PERIOD,
  SB_PERIOD_END_MS,
  SB_PERIOD_MS,
  SB_PERIOD_START_MS,
  SB_PERIODS,
  SB_PERIODS_EVICTED,
  SB_PINS,
  SB_RESERVE_CHUNKS,
} from '../layout';
import { classOf, enlist, entryOf, giveCell, givePage, openSlab, pageEntry, pagesFree, takeCell, takePage } from './memory';

// @ts-ignore: decorator
@inline
export function slotOf(period: i32): usize {
  return SB_PERIODS + (period & (PERIOD_SLOTS - 1)) * PERIOD_SLOT_BYTES;
}

/** Number of the period of a timestamp; remembered, since neighbours mostly share it. */
export function periodAt(timestamp: f64): i32 {
  if (timestamp >= load<f64>(SB_PERIOD_START_MS) && timestamp < load<f64>(SB_PERIOD_END_MS)) return load<i32>(SB_PERIOD);
  const periodMs = load<f64>(SB_PERIOD_MS);
  const period = <i32>Math.floor(timestamp / periodMs);
  store<i32>(SB_PERIOD, period);
  store<f64>(SB_PERIOD_START_MS, <f64>period * periodMs);
  store<f64>(SB_PERIOD_END_MS, (<f64>period + 1) * periodMs);
  return period;
}

/** The slot of a period, opened if need be. */
export function openPeriod(period: i32): usize {
  const slot = slotOf(period);
  if (load<u32>(slot, PERIOD_LIVE) != 0) {
    if (load<i32>(slot, PERIOD_NUMBER) == period) return slot;
    // Nobody enforced retention for 256 periods: what is in the slot is long out of it.
    endPeriod(slot);
  }
  memory.fill(slot, 0, PERIOD_SLOT_BYTES);
  store<u32>(slot, 1, PERIOD_LIVE);
  store<i32>(slot, period, PERIOD_NUMBER);
  store<f64>(slot, Infinity, PERIOD_MIN_MS);
  return slot;
}

/** Notes that a sample of this time begins a stretch of a series' history, for the oldest time of the store. */
export function notePeriod(timestamp: f64): void {
  const slot = openPeriod(periodAt(timestamp));
  if (timestamp < load<f64>(slot, PERIOD_MIN_MS)) store<f64>(slot, timestamp, PERIOD_MIN_MS);
}

/** A cell for samples of a period, 32 or 64 bytes; 0 if there is no page left that chunks may have. */
export function cellAllocate(period: i32, bytes: u32, reserve: u32): usize {
  const slot = openPeriod(period);
  const head = slot + (bytes == CELL_SMALL_BYTES ? PERIOD_SMALL : PERIOD_LARGE);
  let page = load<u32>(head);
  if (page == 0) {
    page = periodPage(period, slot, KIND_CHUNK, bytes, reserve);
    if (page == 0) return 0;
    enlist(page, head);
  }
  return takeCell(page, head);
}

/** A page of a period, with cells of that many bytes; 0 if there is none that chunks may have. */
function periodPage(period: i32, slot: usize, kind: u32, bytes: u32, reserve: u32): u32 {
  if (pagesFree() <= reserve && !evictOldest(period)) return 0;
  const page = takePage();
  if (page == 0) return 0;
  openSlab(page, kind, classOf(bytes), bytes);
  store<u16>(pageEntry(page), period, PAGE_PERIOD);
  store<u32>(slot, load<u32>(slot, PERIOD_PAGES) + 1, PERIOD_PAGES);
  return page;
}

/**
 * A cell of any size for extras of a period; 0 as above. Such cells are never given back before their period ends, so
 * they are simply taken one behind the other.
 */
export function logAllocate(period: i32, bytes: u32, reserve: u32): usize {
  const slot = openPeriod(period);
  const rounded = (bytes + 7) & ~7;
  let page = load<u32>(slot, PERIOD_LOG);
  if (page == 0 || (<u32>load<u16>(pageEntry(page), PAGE_BUMP) << 3) + rounded > <u32>PAGE_BYTES) {
    page = periodPage(period, slot, KIND_LOG, 8, reserve);
    if (page == 0) return 0;
    store<u32>(slot, page, PERIOD_LOG);
  }
  const entry = pageEntry(page);
  const at = <u32>load<u16>(entry, PAGE_BUMP);
  store<u16>(entry, at + (rounded >>> 3), PAGE_BUMP);
  store<u16>(entry, at + (rounded >>> 3), PAGE_LIVE);
  return (<usize>page << 16) + (at << 3);
}

/** Gives one cell back before its period ends. */
export function cellRelease(cell: usize): void {
  const page = <u32>cell >>> 16;
  const entry = pageEntry(page);
  const slot = slotOf(load<u16>(entry, PAGE_PERIOD));
  const small = (<u32>load<u8>(entry, 1)) == classOf(CELL_SMALL_BYTES);
  giveCell(page, cell, slot + (small ? PERIOD_SMALL : PERIOD_LARGE));
  if (load<u8>(entry, PAGE_KIND) == KIND_FREE) store<u32>(slot, load<u32>(slot, PERIOD_PAGES) - 1, PERIOD_PAGES);
}

/** Ends all periods whose samples are all at or before `oldest`. */
export function expirePeriods(oldest: f64): void {
  const periodMs = load<f64>(SB_PERIOD_MS);
  for (let i = 0; i < PERIOD_SLOTS; i++) {
    const slot = slotOf(i);
    if (load<u32>(slot, PERIOD_LIVE) == 0) continue;
    if ((<f64>load<i32>(slot, PERIOD_NUMBER) + 1) * periodMs <= oldest) endPeriod(slot);
  }
}

/** Gives all pages of a period back and draws the floor behind it. */
function endPeriod(slot: usize): void {
  const period = load<i32>(slot, PERIOD_NUMBER);
  const tag = <u32>period & 0xffff;
  let pages = load<u32>(slot, PERIOD_PAGES);
  const end = load<u32>(SB_FRONTIER);
  for (let page = load<u32>(SB_HEAP_FIRST); page < end && pages > 0; page++) {
    const entry = pageEntry(page);
    const kind = <u32>load<u8>(entry, PAGE_KIND);
    if ((kind != KIND_CHUNK && kind != KIND_LOG) || <u32>load<u16>(entry, PAGE_PERIOD) != tag) continue;
    givePage(page);
    pages--;
  }
  assert(pages == 0, 'a period has lost pages');
  store<u32>(slot, 0, PERIOD_LIVE);
  const floor = (<f64>period + 1) * load<f64>(SB_PERIOD_MS) - 1;
  store<f64>(SB_FLOOR_MS, max<f64>(load<f64>(SB_FLOOR_MS), floor));
  store<f64>(SB_OLDEST_MS, max<f64>(load<f64>(SB_OLDEST_MS), floor));
}

/**
 * The last resort when memory is full: the oldest period goes before its time, so that known series go on. False if
 * somebody holds chunks, or if there is no period older than the one to be written.
 */
function evictOldest(writing: i32): bool {
  if (load<u32>(SB_PINS) != 0) return false;
  let oldest: usize = 0;
  for (let i = 0; i < PERIOD_SLOTS; i++) {
    const slot = slotOf(i);
    if (load<u32>(slot, PERIOD_LIVE) == 0 || load<u32>(slot, PERIOD_PAGES) == 0) continue;
    if (oldest == 0 || load<i32>(slot, PERIOD_NUMBER) < load<i32>(oldest, PERIOD_NUMBER)) oldest = slot;
  }
  if (oldest == 0 || load<i32>(oldest, PERIOD_NUMBER) >= writing) return false;
  endPeriod(oldest);
  store<u32>(SB_PERIODS_EVICTED, load<u32>(SB_PERIODS_EVICTED) + 1);
  return pagesFree() > load<u32>(SB_RESERVE_CHUNKS);
}

/** Samples that were counted into live periods; `minimum` of their oldest times goes to `out`, count is returned. */
export function periodSummary(out: usize): f64 {
  let oldest = Infinity;
  let samples: f64 = 0;
  for (let i = 0; i < PERIOD_SLOTS; i++) {
    const slot = slotOf(i);
    if (load<u32>(slot, PERIOD_LIVE) == 0) continue;
    oldest = min<f64>(oldest, load<f64>(slot, PERIOD_MIN_MS));
    samples += load<f64>(slot, PERIOD_SAMPLES);
  }
  store<f64>(out, oldest);
  return samples;
}

/** True while the samples of a period (by its 16-bit tag) may be read. */
// @ts-ignore: decorator
@inline
export function isLivePeriod(tag: u32): bool {
  const slot = slotOf(tag);
  return load<u32>(slot, PERIOD_LIVE) != 0 && (load<u32>(slot, PERIOD_NUMBER) & 0xffff) == tag;
}

// @ts-ignore: decorator
@inline
export function isCellOf(cell: usize, tag: u32): bool {
  const entry = entryOf(cell);
  return load<u8>(entry, PAGE_KIND) == KIND_CHUNK && <u32>load<u16>(entry, PAGE_PERIOD) == tag;
}

// @ts-ignore: decorator
@inline
export function isLogOf(cell: usize, tag: u32): bool {
  const entry = entryOf(cell);
  return load<u8>(entry, PAGE_KIND) == KIND_LOG && <u32>load<u16>(entry, PAGE_PERIOD) == tag;
}

