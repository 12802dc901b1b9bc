/**
 * Label names, pairs and their blobs.
 *
 *     name   32 B in a fixed array; u16 id; text in a blob cell; list of its pairs; one pair for "has this name"
 *     pair   64 B: the postings of one name=value
 *     blob   { u16 wireBytes, u16 name, u32 pair, the Label field as it comes over the wire }
 *
 * A blob holds the bytes of remote-write's `TimeSeries.labels` element, tag and length included. There is one
 * canonical way to write a label, so equal bytes are equal labels, and the hot path compares 16 bytes at a time.
 */
import {
  BLOB_HEADER_BYTES,
  BLOB_NAME,
  BLOB_PAIR,
  BLOB_WIRE_BYTES,
  KIND_BLOB,
  KIND_PAIR,
  LABEL_BYTES,
  NAME_ALL,
  NAME_BYTES,
  NAME_EPOCH,
  NAME_FIRST,
  NAME_HASH,
  NAME_LENGTH,
  NAME_PAIRS,
  NAME_TEXT,
  PAIR_BLOB,
  PAIR_BYTES,
  PAIR_HASH,
  PAIR_NAME,
  PAIR_NEXT,
  PAIR_PREVIOUS,
  SB_FREE_NAME,
  SB_LABEL_INPUT,
  SB_LABELS,
  SB_NAME_COUNT,
  SB_NAME_NEXT,
  SB_NAME_TABLE,
  SB_NAMES,
  SB_NAMES_MAX,
  SB_PAIR_TABLE,
  SB_PAIRS,
  SB_PAIRS_FREED,
  TABLE_ADDRESS,
  TABLE_ENTRY_BYTES,
  TABLE_MASK,
  TABLE_OLD,
  TABLE_OLD_MASK,
} from '../layout';
import { hashBytes } from './hash';
import { allocate, bytesEqual, release } from './memory';
import { tableInsert, tableRemove, tableRoom, TOMBSTONE } from './table';

// ---- the labels of the series in hand: SB_LABELS, one entry a label

export const LABEL_WIRE: usize = 0;
export const LABEL_WIRE_BYTES: usize = 4;
export const LABEL_NAME: usize = 8;
export const LABEL_NAME_BYTES: usize = 12;
/** Hash of the wire bytes (u32); behind the last label, hash of all labels. */
export const LABEL_HASH: usize = 16;
/** The pair, if it is known already; else 0. */
export const LABEL_PAIR: usize = 20;

// @ts-ignore: decorator
@inline
export function labelEntry(i: u32): usize {
  return SB_LABELS + i * LABEL_BYTES;
}

/** Fills an entry from a pair whose label takes n bytes on the wire: what is asked of a label that is known. */
// @ts-ignore: decorator
@inline
export function labelOfPair(label: usize, pair: u32, n: u32): void {
  store<u32>(label, n, LABEL_WIRE_BYTES);
  store<u32>(label, load<u32>(pair, PAIR_HASH), LABEL_HASH);
  store<u32>(label, pair, LABEL_PAIR);
}

// ---- names

// @ts-ignore: decorator
@inline
export function nameAddress(id: u32): usize {
  return load<u32>(SB_NAMES) + id * NAME_BYTES;
}

/** Id of a name, or 0 if no series has it. */
export function nameFind(text: usize, length: u32): u32 {
  const hash = <u32>hashBytes(text, length);
  const id = nameIn(load<u32>(SB_NAME_TABLE, TABLE_ADDRESS), load<u32>(SB_NAME_TABLE, TABLE_MASK), hash, text, length);
  const old = load<u32>(SB_NAME_TABLE, TABLE_OLD);
  if (id != 0 || old == 0) return id;
  return nameIn(old, load<u32>(SB_NAME_TABLE, TABLE_OLD_MASK), hash, text, length);
}

function nameIn(base: usize, mask: u32, hash: u32, text: usize, length: u32): u32 {
  let i = hash & mask;
  while (true) {
    const slot = base + i * TABLE_ENTRY_BYTES;
    const id = load<u32>(slot, 4);
    if (id == 0) return 0;
    if (load<u32>(slot) == hash && id != TOMBSTONE) {
      const name = nameAddress(id);
      if (load<u32>(name, NAME_LENGTH) == length && bytesEqual(load<u32>(name, NAME_TEXT), text, length)) return id;
    }
    i = (i + 1) & mask;
  }
  return 0;
}

/** True if n more names have a place, whatever they are. */
export function namesRoom(n: u32): bool {
  return load<u32>(SB_NAME_COUNT) + n < load<u32>(SB_NAMES_MAX) && tableRoom(SB_NAME_TABLE);
}

function nameCreate(text: usize, length: u32): u32 {
  let id = load<u32>(SB_FREE_NAME);
  if (id != 0) store<u32>(SB_FREE_NAME, load<u32>(nameAddress(id), NAME_FIRST));
  else {
    id = load<u32>(SB_NAME_NEXT);
    store<u32>(SB_NAME_NEXT, id + 1);
  }
  const name = nameAddress(id);
  const epoch = load<u32>(name, NAME_EPOCH);
  memory.fill(name, 0, NAME_BYTES);
  const copy = must(allocate(KIND_BLOB, length));
  memory.copy(copy, text, length);
  const hash = <u32>hashBytes(text, length);
  store<u32>(name, copy, NAME_TEXT);
  store<u32>(name, length, NAME_LENGTH);
  store<u32>(name, hash, NAME_HASH);
  store<u32>(name, epoch + 1, NAME_EPOCH);
  const all = must(allocate(KIND_PAIR, PAIR_BYTES));
  memory.fill(all, 0, PAIR_BYTES);
  store<u32>(all, id, PAIR_NAME);
  store<u32>(name, all, NAME_ALL);
  store<u32>(SB_NAME_COUNT, load<u32>(SB_NAME_COUNT) + 1);
  tableInsert(SB_NAME_TABLE, hash, id);
  return id;
}

/** Gives a name back whose last pair went. */
export function nameFree(id: u32): void {
  const name = nameAddress(id);
  tableRemove(SB_NAME_TABLE, load<u32>(name, NAME_HASH), id);
  release(load<u32>(name, NAME_TEXT), KIND_BLOB);
  release(load<u32>(name, NAME_ALL), KIND_PAIR);
  const epoch = load<u32>(name, NAME_EPOCH);
  memory.fill(name, 0, NAME_BYTES);
  store<u32>(name, epoch + 1, NAME_EPOCH);
  store<u32>(name, load<u32>(SB_FREE_NAME), NAME_FIRST);
  store<u32>(SB_FREE_NAME, id);
  store<u32>(SB_NAME_COUNT, load<u32>(SB_NAME_COUNT) - 1);
}

// ---- pairs

/** The pair with these wire bytes, or 0. */
export function pairFind(wire: usize, length: u32, hash: u32): usize {
  const pair = pairIn(load<u32>(SB_PAIR_TABLE, TABLE_ADDRESS), load<u32>(SB_PAIR_TABLE, TABLE_MASK), hash, wire, length);
  const old = load<u32>(SB_PAIR_TABLE, TABLE_OLD);
  if (pair != 0 || old == 0) return pair;
  return pairIn(old, load<u32>(SB_PAIR_TABLE, TABLE_OLD_MASK), hash, wire, length);
}

/** The pair whose wire bytes were written to SB_LABEL_INPUT, or 0. */
export function pairOf(bytes: u32): usize {
  const wire = <usize>load<u32>(SB_LABEL_INPUT);
  return pairFind(wire, bytes, <u32>hashBytes(wire, bytes));
}

/** The name whose text was written to SB_LABEL_INPUT, or 0. */
export function nameOf(bytes: u32): u32 {
  return nameFind(load<u32>(SB_LABEL_INPUT), bytes);
}

function pairIn(base: usize, mask: u32, hash: u32, wire: usize, length: u32): usize {
  let i = hash & mask;
  while (true) {
    const slot = base + i * TABLE_ENTRY_BYTES;
    const pair = load<u32>(slot, 4);
    if (pair == 0) return 0;
    if (load<u32>(slot) == hash && pair != TOMBSTONE) {
      const blob = load<u32>(pair, PAIR_BLOB);
      if (<u32>load<u16>(blob, BLOB_WIRE_BYTES) == length && bytesEqual(blob + BLOB_HEADER_BYTES, wire, length)) return pair;
    }
    i = (i + 1) & mask;
  }
  return 0;
}

/** The pair of label i of the series in hand, made if new. There must be room (see seriesRoom). */
export function pairIntern(i: u32): usize {
  const label = labelEntry(i);
  const seen = <usize>load<u32>(label, LABEL_PAIR);
  if (seen != 0) return seen;
  const wire = <usize>load<u32>(label, LABEL_WIRE);
  const length = load<u32>(label, LABEL_WIRE_BYTES);
  const hash = load<u32>(label, LABEL_HASH);
  const known = pairFind(wire, length, hash);
  return known != 0 ? known : pairCreate(label, wire, length, hash);
}

function pairCreate(label: usize, wire: usize, length: u32, hash: u32): usize {
  const text = <usize>load<u32>(label, LABEL_NAME);
  const textBytes = load<u32>(label, LABEL_NAME_BYTES);
  let id = nameFind(text, textBytes);
  if (id == 0) id = nameCreate(text, textBytes);
  const pair = must(allocate(KIND_PAIR, PAIR_BYTES));
  const blob = must(allocate(KIND_BLOB, BLOB_HEADER_BYTES + length));
  store<u16>(blob, length, BLOB_WIRE_BYTES);
  store<u16>(blob, id, BLOB_NAME);
  store<u32>(blob, pair, BLOB_PAIR);
  memory.copy(blob + BLOB_HEADER_BYTES, wire, length);
  memory.fill(pair, 0, PAIR_BYTES);
  store<u32>(pair, blob, PAIR_BLOB);
  store<u32>(pair, hash, PAIR_HASH);
  store<u32>(pair, id, PAIR_NAME);
  const name = nameAddress(id);
  const next = load<u32>(name, NAME_FIRST);
  store<u32>(pair, next, PAIR_NEXT);
  if (next != 0) store<u32>(next, pair, PAIR_PREVIOUS);
  store<u32>(name, pair, NAME_FIRST);
  store<u32>(name, load<u32>(name, NAME_PAIRS) + 1, NAME_PAIRS);
  store<u32>(name, load<u32>(name, NAME_EPOCH) + 1, NAME_EPOCH);
  store<u32>(SB_PAIRS, load<u32>(SB_PAIRS) + 1);
  // A pair without room in the table would not be found again; seriesRoom has seen to it.
  assert(tableRoom(SB_PAIR_TABLE), 'no room in the pair table');
  tableInsert(SB_PAIR_TABLE, hash, <u32>pair);
  return pair;
}

/** Gives back a pair that no series has any more; its postings are gone already. */
export function pairFree(pair: usize): void {
  const name = nameAddress(load<u32>(pair, PAIR_NAME));
  const next = load<u32>(pair, PAIR_NEXT);
  const previous = load<u32>(pair, PAIR_PREVIOUS);
  if (next != 0) store<u32>(next, previous, PAIR_PREVIOUS);
  if (previous != 0) store<u32>(previous, next, PAIR_NEXT);
  else store<u32>(name, next, NAME_FIRST);
  store<u32>(name, load<u32>(name, NAME_PAIRS) - 1, NAME_PAIRS);
  store<u32>(name, load<u32>(name, NAME_EPOCH) + 1, NAME_EPOCH);
  tableRemove(SB_PAIR_TABLE, load<u32>(pair, PAIR_HASH), <u32>pair);
  release(load<u32>(pair, PAIR_BLOB), KIND_BLOB);
  release(pair, KIND_PAIR);
  store<u32>(SB_PAIRS, load<u32>(SB_PAIRS) - 1);
  store<u32>(SB_PAIRS_FREED, load<u32>(SB_PAIRS_FREED) + 1);
}

/** True for a name or pair that `allocate` could not refuse: the reserve of pages stands behind it. */
function must(address: usize): usize {
  if (address == 0) unreachable();
  return address;
}
