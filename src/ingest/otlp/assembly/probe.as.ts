/**
 * Looking something up in a hash table of tsdb/kernel/assembly/table.ts: all that have a hash, one after the other. Whether one
 * of them is the one that is looked for is the caller's to say, by its bytes.
 *
 *     for (let found = firstOf(table, hash); found != 0; found = nextOf(table, hash)) if (isIt(found)) return found;
 */
import { TOMBSTONE } from '../../../tsdb/kernel/assembly/table';
import { TABLE_ADDRESS, TABLE_ENTRY_BYTES, TABLE_MASK, TABLE_OLD, TABLE_OLD_MASK } from '../../../tsdb/kernel/layout';
import { ID_PROBE, ID_PROBE_MASK, ID_PROBE_SLOT } from '../identity-layout';

/** The first entry of this hash, or 0. */
// @ts-ignore: decorator
@inline
export function firstOf(table: usize, hash: u32): usize {
  return entryFrom(table, load<u32>(table, TABLE_ADDRESS), load<u32>(table, TABLE_MASK), hash, hash);
}

/** The entry of this hash behind the one that was given last, or 0. */
// @ts-ignore: decorator
@inline
export function nextOf(table: usize, hash: u32): usize {
  return entryFrom(table, load<u32>(ID_PROBE), load<u32>(ID_PROBE_MASK), load<u32>(ID_PROBE_SLOT) + 1, hash);
}

function entryFrom(table: usize, base: usize, mask: u32, i: u32, hash: u32): usize {
  while (true) {
    const slot = base + (i & mask) * TABLE_ENTRY_BYTES;
    const found = load<u32>(slot, 4);
    // Entries that were moved to a larger table are tombstones.
    if (found != 0 && load<u32>(slot) == hash && found != TOMBSTONE) {
      store<u32>(ID_PROBE, <u32>base);
      store<u32>(ID_PROBE_MASK, mask);
      store<u32>(ID_PROBE_SLOT, i);
      return found;
    }
    i++;
    if (found != 0) continue;
    const old = load<u32>(table, TABLE_OLD);
    if (old == 0 || old == base) return 0;
    base = old;
    mask = load<u32>(table, TABLE_OLD_MASK);
    i = hash;
  }
}
