/**
 * New points of known metrics: from the bytes of a point to the labels of its series, as remote-write has them on the wire.
 *
 * What needs words is taught by TypeScript, once: the labels that all points of a metric have (its name, and what comes from
 * its resource and scope), and the label name of each attribute key. A point in the plain form then costs its own bytes:
 * its attributes are put into the order of their names and merged with the labels of the metric. A point of any other form,
 * or with labels that collide or are too long, is left to TypeScript, and so is every refusal.
 */
import { hashBytes } from '../../../tsdb/kernel/assembly/hash';
import { allocate, bytesCompare, bytesEqual } from '../../../tsdb/kernel/assembly/memory';
import { tableInsert } from '../../../tsdb/kernel/assembly/table';
import {
  KIND_BLOB,
  SB_EXTRA_TABLE,
  TABLE_ADDRESS,
  TABLE_ENTRY_BYTES,
  TABLE_MASK,
  TABLE_OLD,
  TABLE_OLD_MASK,
} from '../../../tsdb/kernel/layout';
import { readLength, readVarint, varint } from '../../remote-write/assembly/wire.as';
import {
  ATTRIBUTES_MAX,
  CTX_LABELS,
  CTX_STARTS,
  FILL_DONE,
  FILL_FULL,
  FILL_KEY,
  ID_BODY,
  ID_BODY_BYTES_MAX,
  ID_KEY,
  ID_KEY_END,
  ID_NEW,
  ID_NEW_BYTES,
  ID_NEW_CONTEXT,
  ID_NEW_EARLIEST,
  ID_NEW_END,
  ID_NEW_LATEST,
  ID_NEW_LEFT,
  ID_NEW_NEXT,
  ID_NEW_STORED,
  ID_POINTS,
  ID_TEACH,
  KEY_BYTES,
  KEY_HASH,
  KEY_LENGTH,
  KEY_NAME_LENGTH,
  LBL_BYTES,
  LBL_NAME,
  LBL_NAME_BYTES,
  LBL_OVERWRITES,
  LBL_WIRE,
  NEW_BITS,
  NEW_BYTES,
  NEW_GENERATION,
  NEW_LABEL_BYTES,
  NEW_LABELS,
  NEW_OUTCOME,
  NEW_POSITION,
  NEW_ROW_BYTES_MAX,
  NEW_ROWS_BYTES,
  NEW_SERIES,
  NEW_START,
  NEW_TIME,
  OUTCOME_GONE,
  OWN,
} from '../identity-layout';
import { hasRoom } from './contexts.as';
import { learnPoint } from './index.as';

const STALE: i64 = 0x7ff0000000000002;
const NO_RECORDED_VALUE: u32 = 1;
/** What labels may be; others are left to TypeScript, which says what is wrong with them. */
const LABELS_MAX: u32 = 40;
const VALUE_BYTES_MAX: u32 = 4096;

// The attributes of the point in hand, SLOT_BYTES each, and their addresses in the order of label names.
const SLOTS: usize = OWN + 8192;
const SLOT_BYTES: usize = 16;
const SLOT_KEY: usize = 0;
const SLOT_VALUE: usize = 4;
const SLOT_VALUE_BYTES: usize = 8;
const ORDER: usize = OWN + 12288;
/** The keys of the point before: the next one mostly has the same. */
const PREDICTED: usize = OWN + 16384;
/** The texts of integers, DIGITS_BYTES each. */
const DIGITS: usize = OWN + 20480;
const DIGITS_BYTES: usize = 24;
const TRUE: usize = OWN + 24576;
const FALSE: usize = OWN + 24592;

// What became of a point.
const BUILT: u32 = 0;
const LEFT: u32 = 1;
const UNKNOWN_KEY: u32 = 2;

// ---- the plain form

/** True for a point of times, a number, flags and plain attributes alone, which is then well formed. */
export function isPlainPoint(p: usize, end: usize): bool {
  while (p < end) {
    const tag = <u32>load<u8>(p);
    if (tag == 0x3a) p = plainAttribute(p + 1, end);
    else if (tag == 0x11 || tag == 0x19 || tag == 0x21 || tag == 0x31) p = end - p < 9 ? 0 : p + 9;
    else if (tag == 0x40) p = readVarint(p + 1, end);
    else return false;
    if (p == 0) return false;
  }
  return true;
}

/** A key, then a value that is nothing, a text, a boolean or an integer. The address behind it, or 0. */
function plainAttribute(p: usize, end: usize): usize {
  p = readLength(p, end);
  if (p == 0) return 0;
  const stop = p + <usize>varint();
  if (p >= stop || load<u8>(p) != 0x0a) return 0;
  p = readLength(p + 1, stop);
  if (p == 0) return 0;
  p += <usize>varint();
  if (p >= stop || load<u8>(p) != 0x12) return 0;
  p = readLength(p + 1, stop);
  if (p == 0 || p + <usize>varint() != stop) return 0;
  if (p == stop) return stop;
  const tag = <u32>load<u8>(p);
  if (tag == 0x0a) {
    p = readLength(p + 1, stop);
    if (p != 0) p += <usize>varint();
  } else if (tag == 0x10 || tag == 0x18) p = readVarint(p + 1, stop);
  else return 0;
  return p == stop ? stop : 0;
}

// ---- what is taught

/** The labels of all points of a metric: n bytes of ID_TEACH. False if there is no room. */
export function teachLabels(context: u32, n: u32): bool {
  if (!hasRoom()) return false;
  // Two bytes of zero end the list.
  const labels = allocate(KIND_BLOB, n + 2);
  if (labels == 0) return false;
  memory.copy(labels, load<u32>(ID_TEACH), n);
  store<u16>(labels + n, 0);
  store<u32>(context, <u32>labels, CTX_LABELS);
  return true;
}

/** The label name of the key at ID_KEY: n bytes of ID_TEACH, or none if points with it are to be left. False if there is no room. */
export function teachKey(n: u32): bool {
  const start = <usize>load<u32>(ID_KEY);
  const length = load<u32>(ID_KEY_END) - <u32>start;
  if (KEY_BYTES + length + n > 8000 || !hasRoom()) return false;
  const key = allocate(KIND_BLOB, KEY_BYTES + length + n);
  if (key == 0) return false;
  const hash = <u32>hashBytes(start, length);
  store<u32>(key, hash, KEY_HASH);
  store<u32>(key, length, KEY_LENGTH);
  store<u32>(key, n, KEY_NAME_LENGTH);
  memory.copy(key + KEY_BYTES, start, length);
  memory.copy(key + KEY_BYTES + length, load<u32>(ID_TEACH), n);
  tableInsert(SB_EXTRA_TABLE, hash, <u32>key);
  return true;
}

function keyFind(start: usize, length: u32): usize {
  const hash = <u32>hashBytes(start, length);
  let base = <usize>load<u32>(SB_EXTRA_TABLE, TABLE_ADDRESS);
  let mask = load<u32>(SB_EXTRA_TABLE, TABLE_MASK);
  while (base != 0) {
    let i = hash & mask;
    while (true) {
      const slot = base + i * TABLE_ENTRY_BYTES;
      const key = load<u32>(slot, 4);
      if (key == 0) break;
      if (load<u32>(slot) == hash && isKey(key, start, length)) return key;
      i = (i + 1) & mask;
    }
    if (base == load<u32>(SB_EXTRA_TABLE, TABLE_OLD)) break;
    base = load<u32>(SB_EXTRA_TABLE, TABLE_OLD);
    mask = load<u32>(SB_EXTRA_TABLE, TABLE_OLD_MASK);
  }
  return 0;
}

// @ts-ignore: decorator
@inline
function isKey(key: usize, start: usize, length: u32): bool {
  // Entries that were moved to a larger table have all bits set.
  return (
    key != <usize>u32.MAX_VALUE && load<u32>(key, KEY_LENGTH) == length && bytesEqual(key + KEY_BYTES, start, length)
  );
}

// @ts-ignore: decorator
@inline
function nameOf(key: usize): usize {
  return key + KEY_BYTES + load<u32>(key, KEY_LENGTH);
}

// ---- rows

/** Takes the odd points [first, end) in hand; they are of a metric whose labels were taught, and plain. */
export function beginNew(context: u32, first: u32, end: u32): void {
  store<u32>(ID_NEW_CONTEXT, context);
  store<u32>(ID_NEW_NEXT, first);
  store<u32>(ID_NEW_END, end);
  store<u32>(ID_NEW_LEFT, first);
  store<u32>(ID_NEW_BYTES, 0);
  store<u32>(ID_NEW_STORED, 0);
  store<f64>(ID_NEW_EARLIEST, Infinity);
  store<f64>(ID_NEW_LATEST, -Infinity);
  store<u32>(TRUE, 0x65757274);
  store<u64>(FALSE, 0x65736c6166);
}

/** Makes rows of points until something is to be done first: FILL_*. */
export function fillNew(): u32 {
  const points = <usize>load<u32>(ID_POINTS);
  const body = <usize>load<u32>(ID_BODY);
  const context = <usize>load<u32>(ID_NEW_CONTEXT);
  const end = load<u32>(ID_NEW_END);
  for (let i = load<u32>(ID_NEW_NEXT); i < end; i++) {
    store<u32>(ID_NEW_NEXT, i);
    if (load<u32>(ID_NEW_BYTES) > <u32>(NEW_ROWS_BYTES - NEW_ROW_BYTES_MAX)) return FILL_FULL;
    const position = load<u32>(points + (i << 2));
    const outcome = build(context, position, body + position);
    if (outcome == UNKNOWN_KEY) return FILL_KEY;
    if (outcome == LEFT) leave(position);
  }
  store<u32>(ID_NEW_NEXT, end);
  return FILL_DONE;
}

/** A point that is left takes the place of one that was looked at before. */
function leave(position: u32): void {
  const left = load<u32>(ID_NEW_LEFT);
  store<u32>(<usize>load<u32>(ID_POINTS) + (left << 2), position);
  store<u32>(ID_NEW_LEFT, left + 1);
}

/** Leaves all points that were not looked at yet. */
export function leaveNew(): void {
  const points = <usize>load<u32>(ID_POINTS);
  const end = load<u32>(ID_NEW_END);
  for (let i = load<u32>(ID_NEW_NEXT); i < end; i++) leave(load<u32>(points + (i << 2)));
  store<u32>(ID_NEW_NEXT, end);
}

/** Learns the points whose rows were stored, and leaves the others. */
export function learnNew(): void {
  const context = load<u32>(ID_NEW_CONTEXT);
  let row = <usize>load<u32>(ID_NEW);
  const end = row + load<u32>(ID_NEW_BYTES);
  for (; row < end; row += load<u32>(row, NEW_BYTES)) {
    const position = load<u32>(row, NEW_POSITION);
    // Stored, or stored before.
    if (load<u32>(row, NEW_OUTCOME) > 1) {
      leave(position);
      continue;
    }
    const time = load<f64>(row, NEW_TIME);
    store<f64>(ID_NEW_EARLIEST, min<f64>(load<f64>(ID_NEW_EARLIEST), time));
    store<f64>(ID_NEW_LATEST, max<f64>(load<f64>(ID_NEW_LATEST), time));
    store<u32>(ID_NEW_STORED, load<u32>(ID_NEW_STORED) + 1);
    learnPoint(context, position, load<u32>(row, NEW_SERIES), load<u32>(row, NEW_GENERATION));
  }
  store<u32>(ID_NEW_BYTES, 0);
}

/** Makes a row of the point whose length stands at `at`. */
function build(context: usize, position: u32, at: usize): u32 {
  let p = readLength(at, <usize>load<u32>(ID_BODY) + load<u32>(ID_BODY_BYTES_MAX));
  const end = p + <usize>varint();
  let n: u32 = 0;
  let time: u64 = 0;
  let start: u64 = 0;
  let bits: i64 = 0;
  let hasValue = false;
  let flags: u32 = 0;
  while (p < end) {
    const tag = <u32>load<u8>(p);
    if (tag == 0x3a) {
      if (n == ATTRIBUTES_MAX) return LEFT;
      p = readSlot(SLOTS + n * SLOT_BYTES, n, p + 1, end);
      if (p == 0) return UNKNOWN_KEY;
      n++;
    } else if (tag == 0x40) {
      p = readVarint(p + 1, end);
      flags = <u32>varint();
    } else {
      const value = load<u64>(p, 1);
      p += 9;
      if (tag == 0x19) time = value;
      else if (tag == 0x11) start = value;
      else {
        bits = tag == 0x21 ? <i64>value : reinterpret<i64>(<f64>(<i64>value));
        hasValue = true;
      }
    }
  }
  const isStale = (flags & NO_RECORDED_VALUE) != 0;
  if (time == 0 || !(hasValue || isStale) || !sort(n)) return LEFT;
  const row = <usize>load<u32>(ID_NEW) + load<u32>(ID_NEW_BYTES);
  const bytes = writeLabels(context, n, row + NEW_LABELS);
  if (bytes == 0) return LEFT;
  const timeMs = <f64>(time / 1000000);
  const startMs = load<u32>(context, CTX_STARTS) != 0 ? <f64>(start / 1000000) : 0;
  const rowBytes = (NEW_LABELS + bytes + 7) & ~7;
  store<u32>(row, rowBytes, NEW_BYTES);
  store<u32>(row, bytes, NEW_LABEL_BYTES);
  store<f64>(row, timeMs, NEW_TIME);
  store<i64>(row, isStale ? STALE : bits, NEW_BITS);
  store<f64>(row, startMs >= timeMs ? 0 : startMs, NEW_START);
  store<u32>(row, OUTCOME_GONE, NEW_OUTCOME);
  store<u32>(row, position, NEW_POSITION);
  store<u32>(ID_NEW_BYTES, load<u32>(ID_NEW_BYTES) + rowBytes);
  return BUILT;
}

/** Reads the n-th attribute, which is plain; the address behind it, or 0 if its key is not known. */
// @ts-ignore: decorator
@inline
function readSlot(slot: usize, n: u32, at: usize, end: usize): usize {
  let p = readLength(at, end);
  const stop = p + <usize>varint();
  p = readLength(p + 1, stop);
  const length = <u32>varint();
  let key = <usize>load<u32>(PREDICTED + (n << 2));
  if (key == 0 || load<u32>(key, KEY_LENGTH) != length || !bytesEqual(key + KEY_BYTES, p, length)) {
    key = keyFind(p, length);
    store<u32>(PREDICTED + (n << 2), <u32>key);
    if (key == 0) {
      store<u32>(ID_KEY, <u32>p);
      store<u32>(ID_KEY_END, <u32>p + length);
      return 0;
    }
  }
  store<u32>(slot, <u32>key, SLOT_KEY);
  readValue(slot, n, readLength(p + length + 1, stop), stop);
  return stop;
}

// @ts-ignore: decorator
@inline
function readValue(slot: usize, n: u32, p: usize, stop: usize): void {
  const tag: u32 = p == stop ? 0 : <u32>load<u8>(p);
  let length: u32 = 0;
  if (tag == 0x0a) {
    p = readLength(p + 1, stop);
    length = <u32>(stop - p);
  } else if (tag != 0) {
    readVarint(p + 1, stop);
    if (tag == 0x10) {
      length = varint() != 0 ? 4 : 5;
      p = varint() != 0 ? TRUE : FALSE;
    } else {
      p = writeInteger(<i64>varint(), DIGITS + (n + 1) * DIGITS_BYTES);
      length = <u32>(DIGITS + (n + 1) * DIGITS_BYTES - p);
    }
  }
  store<u32>(slot, <u32>p, SLOT_VALUE);
  store<u32>(slot, length, SLOT_VALUE_BYTES);
}

/** Writes a decimal that ends at `end`; where it begins. */
function writeInteger(value: i64, end: usize): usize {
  let rest = value < 0 ? 0 - <u64>value : <u64>value;
  let p = end;
  do {
    p--;
    store<u8>(p, <u8>(0x30 + (rest % 10)));
    rest /= 10;
  } while (rest != 0);
  if (value < 0) {
    p--;
    store<u8>(p, 0x2d);
  }
  return p;
}

/** Puts the attributes into the order of their names; senders mostly have them so. False if names collide, or one is none. */
// @ts-ignore: decorator
@inline
function sort(n: u32): bool {
  for (let i: u32 = 0; i < n; i++) {
    const slot = SLOTS + i * SLOT_BYTES;
    const key = <usize>load<u32>(slot, SLOT_KEY);
    const length = load<u32>(key, KEY_NAME_LENGTH);
    if (length == 0) return false;
    let at = i;
    for (; at > 0; at--) {
      const before = <usize>load<u32>(load<u32>(ORDER + ((at - 1) << 2)), SLOT_KEY);
      const order = bytesCompare(nameOf(before), load<u32>(before, KEY_NAME_LENGTH), nameOf(key), length);
      if (order == 0) return false;
      if (order < 0) break;
      store<u32>(ORDER + (at << 2), load<u32>(ORDER + ((at - 1) << 2)));
    }
    store<u32>(ORDER + (at << 2), <u32>slot);
  }
  return true;
}

/** Merges the labels of the metric with those of the point; their bytes, or 0 if they cannot be those of a series. */
function writeLabels(context: usize, n: u32, start: usize): u32 {
  let label = <usize>load<u32>(context, CTX_LABELS);
  let p = start;
  let count: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = <usize>load<u32>(ORDER + (i << 2));
    const key = <usize>load<u32>(slot, SLOT_KEY);
    let isTaken = load<u32>(slot, SLOT_VALUE_BYTES) == 0;
    while (load<u16>(label, LBL_BYTES) != 0) {
      const order = bytesCompare(
        label + LBL_WIRE + load<u8>(label, LBL_NAME), load<u16>(label, LBL_NAME_BYTES),
        nameOf(key), load<u32>(key, KEY_NAME_LENGTH),
      );
      if (order > 0) break;
      // One that fills gives way to an attribute with a value; one that overwrites takes its place.
      if (order == 0 && !isTaken && load<u8>(label, LBL_OVERWRITES) == 0) {
        label += LBL_WIRE + load<u16>(label, LBL_BYTES);
        break;
      }
      if (order == 0) isTaken = true;
      p = copyLabel(label, p);
      count++;
      label += LBL_WIRE + load<u16>(label, LBL_BYTES);
    }
    if (isTaken) continue;
    if (load<u32>(slot, SLOT_VALUE_BYTES) > VALUE_BYTES_MAX || count == LABELS_MAX) return 0;
    p = writeLabel(p, nameOf(key), load<u32>(key, KEY_NAME_LENGTH), load<u32>(slot, SLOT_VALUE), load<u32>(slot, SLOT_VALUE_BYTES));
    count++;
  }
  while (load<u16>(label, LBL_BYTES) != 0) {
    p = copyLabel(label, p);
    count++;
    label += LBL_WIRE + load<u16>(label, LBL_BYTES);
  }
  return count > LABELS_MAX ? 0 : <u32>(p - start);
}

// @ts-ignore: decorator
@inline
function copyLabel(label: usize, p: usize): usize {
  const bytes = <usize>load<u16>(label, LBL_BYTES);
  memory.copy(p, label + LBL_WIRE, bytes);
  return p + bytes;
}

// @ts-ignore: decorator
@inline
function writeLabel(p: usize, name: usize, nameBytes: u32, value: usize, valueBytes: u32): usize {
  const inner = 2 + lengthBytes(nameBytes) + nameBytes + lengthBytes(valueBytes) + valueBytes;
  store<u8>(p, 0x0a);
  p = writeLength(p + 1, inner);
  store<u8>(p, 0x0a);
  p = writeLength(p + 1, nameBytes);
  memory.copy(p, name, nameBytes);
  p += nameBytes;
  store<u8>(p, 0x12);
  p = writeLength(p + 1, valueBytes);
  memory.copy(p, value, valueBytes);
  return p + valueBytes;
}

// @ts-ignore: decorator
@inline
function lengthBytes(length: u32): u32 {
  return length < 0x80 ? 1 : 2;
}

// @ts-ignore: decorator
@inline
function writeLength(p: usize, length: u32): usize {
  if (length < 0x80) {
    store<u8>(p, length);
    return p + 1;
  }
  store<u16>(p, (length & 0x7f) | 0x80 | ((length >>> 7) << 8));
  return p + 2;
}
