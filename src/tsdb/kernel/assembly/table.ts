/**
 * Hash tables of { u32 hash, u32 ref } that never stall: open addressing with linear probing, and two tables while
 * one grows. Each insertion moves a few slots of the old table into the new one; moved slots of the old table become
 * tombstones, so that its probe chains hold until it is given back whole.
 *
 * A ref of 0 is an empty slot. Hashes are compared here, what they stand for by the caller.
 */
import {
  PAGE_BYTES,
  TABLE_ADDRESS,
  TABLE_COUNT,
  TABLE_CURSOR,
  TABLE_ENTRY_BYTES,
  TABLE_MASK,
  TABLE_OLD,
  TABLE_OLD_MASK,
} from '../layout';
import { givePage, takeRun } from './memory';

export const TOMBSTONE: u32 = 0xffffffff;
/** Slots of the old table that one insertion moves. The new table is at 44 % when the old one is empty. */
const MOVED_PER_INSERT: u32 = 8;

export function tableOpen(table: usize): bool {
  const first = takeRun(1);
  if (first == 0) return false;
  store<u32>(table, first << 16, TABLE_ADDRESS);
  store<u32>(table, PAGE_BYTES / TABLE_ENTRY_BYTES - 1, TABLE_MASK);
  return true;
}

/** Makes sure that an insertion will succeed; false if the table is full and cannot grow. */
export function tableRoom(table: usize): bool {
  const size = load<u32>(table, TABLE_MASK) + 1;
  const count = load<u32>(table, TABLE_COUNT);
  if (count < size - (size >>> 2)) return true;
  if (load<u32>(table, TABLE_OLD) == 0 && grow(table, size)) return true;
  return count < size - (size >>> 4);
}

/** Adds an entry; tableRoom must have said yes. */
export function tableInsert(table: usize, hash: u32, ref: u32): void {
  if (load<u32>(table, TABLE_OLD) != 0) moveSome(table, MOVED_PER_INSERT);
  put(load<u32>(table, TABLE_ADDRESS), load<u32>(table, TABLE_MASK), hash, ref);
  store<u32>(table, load<u32>(table, TABLE_COUNT) + 1, TABLE_COUNT);
}

/** Takes the entry of this hash and ref out; it must be there. */
export function tableRemove(table: usize, hash: u32, ref: u32): void {
  store<u32>(table, load<u32>(table, TABLE_COUNT) - 1, TABLE_COUNT);
  const mask = load<u32>(table, TABLE_MASK);
  const base = load<u32>(table, TABLE_ADDRESS);
  const slot = slotOf(base, mask, hash, ref);
  if (slot != TOMBSTONE) {
    closeGap(base, mask, slot);
    return;
  }
  const old = load<u32>(table, TABLE_OLD);
  const oldSlot = old == 0 ? TOMBSTONE : slotOf(old, load<u32>(table, TABLE_OLD_MASK), hash, ref);
  assert(oldSlot != TOMBSTONE, 'table entry to be removed is not there');
  if (oldSlot != TOMBSTONE) store<u32>(old + oldSlot * TABLE_ENTRY_BYTES, TOMBSTONE, 4);
}

function slotOf(base: usize, mask: u32, hash: u32, ref: u32): u32 {
  let i = hash & mask;
  while (true) {
    const found = load<u32>(base + i * TABLE_ENTRY_BYTES, 4);
    if (found == 0) return TOMBSTONE;
    if (found == ref) return i;
    i = (i + 1) & mask;
  }
  return TOMBSTONE;
}

/** Backward-shift deletion: pulls later entries of the chain into the gap. */
function closeGap(base: usize, mask: u32, gap: u32): void {
  let i = gap;
  while (true) {
    i = (i + 1) & mask;
    const from = base + i * TABLE_ENTRY_BYTES;
    const ref = load<u32>(from, 4);
    if (ref == 0) break;
    const home = load<u32>(from) & mask;
    // The entry may move into the gap unless its home lies behind the gap, in (gap, i].
    if (((i - home) & mask) < ((i - gap) & mask)) continue;
    store<u64>(base + gap * TABLE_ENTRY_BYTES, load<u64>(from));
    gap = i;
  }
  store<u64>(base + gap * TABLE_ENTRY_BYTES, 0);
}

function put(base: usize, mask: u32, hash: u32, ref: u32): void {
  let i = hash & mask;
  while (load<u32>(base + i * TABLE_ENTRY_BYTES, 4) != 0) i = (i + 1) & mask;
  const slot = base + i * TABLE_ENTRY_BYTES;
  store<u32>(slot, hash);
  store<u32>(slot, ref, 4);
}

function grow(table: usize, size: u32): bool {
  const first = takeRun((size * 2 * TABLE_ENTRY_BYTES) >>> 16);
  if (first == 0) return false;
  store<u32>(table, load<u32>(table, TABLE_ADDRESS), TABLE_OLD);
  store<u32>(table, size - 1, TABLE_OLD_MASK);
  store<u32>(table, 0, TABLE_CURSOR);
  store<u32>(table, first << 16, TABLE_ADDRESS);
  store<u32>(table, size * 2 - 1, TABLE_MASK);
  return true;
}

function moveSome(table: usize, slots: u32): void {
  const old = <usize>load<u32>(table, TABLE_OLD);
  const oldMask = load<u32>(table, TABLE_OLD_MASK);
  const base = load<u32>(table, TABLE_ADDRESS);
  const mask = load<u32>(table, TABLE_MASK);
  let cursor = load<u32>(table, TABLE_CURSOR);
  const end = min<u32>(cursor + slots, oldMask + 1);
  for (; cursor < end; cursor++) {
    const slot = old + cursor * TABLE_ENTRY_BYTES;
    const ref = load<u32>(slot, 4);
    if (ref == 0 || ref == TOMBSTONE) continue;
    put(base, mask, load<u32>(slot), ref);
    store<u32>(slot, TOMBSTONE, 4);
  }
  store<u32>(table, cursor, TABLE_CURSOR);
  if (cursor <= oldMask) return;
  store<u32>(table, 0, TABLE_OLD);
  const pages = ((oldMask + 1) * TABLE_ENTRY_BYTES) >>> 16;
  for (let i: u32 = 0; i < pages; i++) givePage((<u32>old >>> 16) + i);
}
