/**
 * New points of known metrics: from the bytes of a point to the labels of its series.
 *
 * What needs words is taught by TypeScript, once: the labels that all points of a metric have (its name, and what comes from
 * its resource and scope), and the label name of each attribute key. A point in the plain form then costs its own bytes:
 * its attributes are put into the order of their names and merged with the labels of the metric. A point of any other form,
 * or with labels that collide or are too long, is left to TypeScript, and so is every refusal.
 *
 * An attribute that was seen before is known to be a label that the store has (its pair), as long as the store gave no pair
 * back since: then a row names it by a number, and nobody copies, hashes or looks up its bytes again. Which label comes after
 * which (the plan) is found out anew only when other keys come, or another metric.
 */
import { hashBytes } from '../../../tsdb/kernel/assembly/hash';
import { allocate, bytesCompare, bytesEqual } from '../../../tsdb/kernel/assembly/memory';
import { tableInsert } from '../../../tsdb/kernel/assembly/table';
import { KIND_BLOB, SB_EXTRA_TABLE } from '../../../tsdb/kernel/layout';
import { readLength, readVarint, varint } from '../../remote-write/assembly/wire.as';
import {
  ATT_EPOCH,
  ATT_KEY,
  ATT_LABEL_LENGTH,
  ATT_PAIR,
  ATTRIBUTES_MAX,
  CTX_KIND,
  CTX_LABELS,
  CTX_STARTS,
  FILL_DONE,
  FILL_FULL,
  FILL_KEY,
  ID_BODY,
  ID_BODY_BYTES_MAX,
  ID_EPOCH,
  ID_KEY,
  ID_KEY_END,
  ID_NEW,
  ID_NEW_BYTES,
  ID_NEW_CONTEXT,
  ID_NEW_EARLIEST,
  ID_NEW_END,
  ID_NEW_EXEMPLARS,
  ID_NEW_GAUGE_EXEMPLARS,
  ID_NEW_LATEST,
  ID_NEW_LEFT,
  ID_NEW_NEXT,
  ID_NEW_STORED,
  ID_POINTS,
  ID_ROWS,
  ID_STAMP,
  ID_TEACH,
  KEY_BYTES,
  KEY_HASH,
  KEY_LENGTH,
  KEY_MEETS_STAMP,
  KEY_NAME_LENGTH,
  LBL_BYTES,
  LBL_EPOCH,
  LBL_NAME,
  LBL_NAME_BYTES,
  LBL_OVERWRITES,
  LBL_PAIR,
  LBL_WIRE,
  NEW_ATTRIBUTES,
  NEW_ATTRIBUTES_START,
  NEW_BATCH_BYTES,
  NEW_BITS,
  NEW_BYTES,
  NEW_EXEMPLARS,
  NEW_GENERATION,
  NEW_HEADER_BYTES,
  NEW_LABELS,
  NEW_OUTCOME,
  NEW_POSITION,
  NEW_SERIES,
  NEW_START,
  NEW_TIME,
  OUTCOME_GONE,
  OWN,
  ROW_ATTRIBUTE,
  ROW_ATTRIBUTE_BYTES,
  ROW_ATTRIBUTE_END,
  ROW_ATTRIBUTE_KEY,
  ROW_LABEL_BYTES,
  ROW_LABEL_LENGTH,
  ROW_LABEL_PAIR,
  ROW_LABEL_SOURCE,
  ROW_LABEL_WIRED,
} from '../identity-layout';
import { attributeFind, hasRoom, pointLearn } from './contexts.as';
import { GAUGE, NO_RECORDED_VALUE, STALE } from './index.as';
import { firstOf, nextOf } from './probe.as';

/** What labels may be; others are left to TypeScript, which says what is wrong with them. */
const LABELS_MAX: u32 = 40;
const VALUE_BYTES_MAX: u32 = 4096;

// The attributes of the point in hand, SLOT_BYTES each, and their addresses in the order of label names.
const SLOTS: usize = OWN + 8192;
const SLOT_BYTES: usize = 32;
const SLOT_KEY: usize = 0;
/** The pair that it is in the store, and the bytes of that label; or, if there is none, the text of its value. */
const SLOT_PAIR: usize = 4;
const SLOT_LABEL_LENGTH: usize = 8;
const SLOT_VALUE: usize = 12;
const SLOT_VALUE_BYTES: usize = 16;
const ORDER: usize = OWN + 12288;
/** The texts of integers, DIGITS_BYTES each. */
const DIGITS: usize = OWN + 20480;
const DIGITS_BYTES: usize = 24;
const TRUE: usize = OWN + 24576;
const FALSE: usize = OWN + 24592;
// The plan: for points of this metric with these keys, what their labels are, in order: addresses of slots, and of labels of
// the metric. Slots lie before everything that is allocated.
const PLAN_CONTEXT: usize = OWN + 32768;
const PLAN_ATTRIBUTES: usize = OWN + 32772;
const PLAN_LABELS: usize = OWN + 32776;
const PLAN_KEYS: usize = OWN + 33024;
const PLAN: usize = OWN + 33536;

// What became of a point.
const BUILT: u32 = 0;
const LEFT: u32 = 1;
const UNKNOWN_KEY: u32 = 2;

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

/**
 * The label name of the key at ID_KEY: n bytes of ID_TEACH, or none if points with it are to be left; `meetsStamp` if only
 * those whose sender has a stamp are. False if there is no room.
 */
export function teachKey(n: u32, meetsStamp: bool): bool {
  const start = <usize>load<u32>(ID_KEY);
  const length = load<u32>(ID_KEY_END) - <u32>start;
  if (KEY_BYTES + length + n > 8000 || !hasRoom()) return false;
  const key = allocate(KIND_BLOB, KEY_BYTES + length + n);
  if (key == 0) return false;
  const hash = <u32>hashBytes(start, length);
  store<u32>(key, hash, KEY_HASH);
  store<u32>(key, length, KEY_LENGTH);
  store<u32>(key, n, KEY_NAME_LENGTH);
  store<u32>(key, meetsStamp ? 1 : 0, KEY_MEETS_STAMP);
  memory.copy(key + KEY_BYTES, start, length);
  memory.copy(key + KEY_BYTES + length, load<u32>(ID_TEACH), n);
  tableInsert(SB_EXTRA_TABLE, hash, <u32>key);
  return true;
}

function keyFind(start: usize, length: u32): usize {
  const hash = <u32>hashBytes(start, length);
  for (let key = firstOf(SB_EXTRA_TABLE, hash); key != 0; key = nextOf(SB_EXTRA_TABLE, hash)) {
    if (isKey(key, start, length)) return key;
  }
  return 0;
}

// @ts-ignore: decorator
@inline
function isKey(key: usize, start: usize, length: u32): bool {
  return load<u32>(key, KEY_LENGTH) == length && bytesEqual(key + KEY_BYTES, start, length);
}

// @ts-ignore: decorator
@inline
function nameOf(key: usize): usize {
  return key + KEY_BYTES + load<u32>(key, KEY_LENGTH);
}

// ---- rows

/** Takes the odd points [first, end) in hand; they are of a metric whose labels were taught, and plain. */
export function beginNew(context: u32, first: u32, end: u32, epoch: u32): void {
  store<u32>(ID_NEW_CONTEXT, context);
  store<u32>(ID_NEW_NEXT, first);
  store<u32>(ID_NEW_END, end);
  store<u32>(ID_NEW_LEFT, first);
  store<u32>(ID_NEW_BYTES, 0);
  store<u32>(ID_NEW_STORED, 0);
  store<f64>(ID_NEW_EARLIEST, Infinity);
  store<f64>(ID_NEW_LATEST, -Infinity);
  store<u32>(ID_NEW_EXEMPLARS, 0);
  store<u32>(ID_NEW_GAUGE_EXEMPLARS, 0);
  store<u32>(ID_EPOCH, epoch);
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
    if (load<u32>(ID_NEW_BYTES) > <u32>NEW_BATCH_BYTES) return FILL_FULL;
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
  let row = <usize>load<u32>(ID_NEW);
  const end = row + load<u32>(ID_NEW_BYTES);
  for (; row < end; row += load<u32>(row, NEW_BYTES)) {
    // Stored, or stored before.
    if (load<u32>(row, NEW_OUTCOME) > 1) {
      leave(load<u32>(row, NEW_POSITION));
      continue;
    }
    const time = load<f64>(row, NEW_TIME);
    store<f64>(ID_NEW_EARLIEST, min<f64>(load<f64>(ID_NEW_EARLIEST), time));
    store<f64>(ID_NEW_LATEST, max<f64>(load<f64>(ID_NEW_LATEST), time));
    store<u32>(ID_NEW_STORED, load<u32>(ID_NEW_STORED) + 1);
    if (load<u32>(row, NEW_EXEMPLARS) != 0) noteExemplars(row);
    learnRow(row);
  }
  store<u32>(ID_NEW_BYTES, 0);
}

/** Those of a sum are for others to read: its series, and where the point stands. */
function noteExemplars(row: usize): void {
  if (load<u32>(load<u32>(ID_NEW_CONTEXT), CTX_KIND) == GAUGE) {
    store<u32>(ID_NEW_GAUGE_EXEMPLARS, load<u32>(ID_NEW_GAUGE_EXEMPLARS) + load<u32>(row, NEW_EXEMPLARS));
    return;
  }
  const count = load<u32>(ID_NEW_EXEMPLARS);
  const entry = <usize>load<u32>(ID_ROWS) + (count << 3);
  store<u32>(entry, load<u32>(row, NEW_SERIES));
  store<u32>(entry, load<u32>(row, NEW_POSITION), 4);
  store<u32>(ID_NEW_EXEMPLARS, count + 1);
}

/** Learns the point of a row, and what its labels are in the store. */
function learnRow(row: usize): void {
  const list = row + NEW_HEADER_BYTES;
  const n = load<u32>(row, NEW_ATTRIBUTES);
  const start = load<u32>(row, NEW_ATTRIBUTES_START);
  if (n != 0 && start == 0) return;
  const series = load<u32>(row, NEW_SERIES);
  if (pointLearn(load<u32>(ID_NEW_CONTEXT), start, list, n, series, load<u32>(row, NEW_GENERATION)) == 0) return;
  let label = list + n * ROW_ATTRIBUTE_BYTES;
  for (let i = load<u32>(row, NEW_LABELS); i > 0; i--) {
    const length = load<u32>(label, ROW_LABEL_LENGTH);
    const isWired = (length & ROW_LABEL_WIRED) != 0;
    if (isWired) learnLabel(list, label, length & ~ROW_LABEL_WIRED);
    label += ROW_LABEL_BYTES + (isWired ? length & ~ROW_LABEL_WIRED : 0);
  }
}

function learnLabel(list: usize, label: usize, length: u32): void {
  const pair = load<u32>(label, ROW_LABEL_PAIR);
  const source = <usize>load<u32>(label, ROW_LABEL_SOURCE);
  if (source >= <usize>ATTRIBUTES_MAX) {
    store<u32>(source, pair, LBL_PAIR);
    store<u32>(source, load<u32>(ID_EPOCH), LBL_EPOCH);
    return;
  }
  const entry = list + source * ROW_ATTRIBUTE_BYTES;
  const attribute = <usize>load<u32>(entry, ROW_ATTRIBUTE);
  // A point that was known already asked for none of its attributes.
  if (attribute == 0) return;
  store<u32>(attribute, load<u32>(entry, ROW_ATTRIBUTE_KEY), ATT_KEY);
  store<u32>(attribute, pair, ATT_PAIR);
  store<u32>(attribute, load<u32>(ID_EPOCH), ATT_EPOCH);
  store<u32>(attribute, length, ATT_LABEL_LENGTH);
}

/** Makes a row of the point whose length stands at `at`. */
function build(context: usize, position: u32, at: usize): u32 {
  let p = readLength(at, <usize>load<u32>(ID_BODY) + load<u32>(ID_BODY_BYTES_MAX));
  const end = p + <usize>varint();
  const row = <usize>load<u32>(ID_NEW) + load<u32>(ID_NEW_BYTES);
  let isPlanned = load<u32>(PLAN_CONTEXT) == <u32>context;
  let attributes: usize = 0;
  let attributesEnd: usize = 0;
  let isWhole = true;
  let n: u32 = 0;
  let time: u64 = 0;
  let start: u64 = 0;
  let bits: i64 = 0;
  let hasValue = false;
  let flags: u32 = 0;
  let exemplars: u32 = 0;
  while (p < end) {
    const tag = <u32>load<u8>(p);
    if (tag == 0x3a) {
      if (n == ATTRIBUTES_MAX) return LEFT;
      if (n == 0) attributes = p;
      else if (attributesEnd != p) isWhole = false;
      const next = readLength(p + 1, end) + <usize>varint();
      const key = readSlot(row, n, p, next);
      if (key == 0) return UNKNOWN_KEY;
      if (load<u32>(key, KEY_MEETS_STAMP) != 0 && load<u32>(ID_STAMP) != 0) return LEFT;
      // An attribute without a value is no label.
      if (load<u32>(PLAN_KEYS + (n << 2)) != <u32>key || isEmpty(SLOTS + n * SLOT_BYTES)) isPlanned = false;
      n++;
      p = next;
      attributesEnd = next;
    } else if (tag == 0x40) {
      p = readVarint(p + 1, end);
      flags = <u32>varint();
    } else if (tag == 0x2a) {
      p = readLength(p + 1, end);
      p += <usize>varint();
      exemplars++;
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
  if (time == 0 || !(hasValue || isStale)) return LEFT;
  if (!(isPlanned && load<u32>(PLAN_ATTRIBUTES) == n) && !plan(context, n)) return LEFT;
  const behind = writeLabels(row + NEW_HEADER_BYTES + n * ROW_ATTRIBUTE_BYTES);
  if (behind == 0) return LEFT;
  const timeMs = <f64>(time / 1000000);
  const startMs = load<u32>(context, CTX_STARTS) != 0 ? <f64>(start / 1000000) : 0;
  const rowBytes = <u32>((behind - row + 7) & ~7);
  store<u32>(row, rowBytes, NEW_BYTES);
  store<u32>(row, load<u32>(PLAN_LABELS), NEW_LABELS);
  store<f64>(row, timeMs, NEW_TIME);
  store<i64>(row, isStale ? STALE : bits, NEW_BITS);
  store<f64>(row, startMs >= timeMs ? 0 : startMs, NEW_START);
  store<u32>(row, OUTCOME_GONE, NEW_OUTCOME);
  store<u32>(row, position, NEW_POSITION);
  store<u32>(row, isWhole ? <u32>attributes : 0, NEW_ATTRIBUTES_START);
  store<u32>(row, n, NEW_ATTRIBUTES);
  store<u32>(row, exemplars, NEW_EXEMPLARS);
  store<u32>(ID_NEW_BYTES, load<u32>(ID_NEW_BYTES) + rowBytes);
  return BUILT;
}

// @ts-ignore: decorator
@inline
function isEmpty(slot: usize): bool {
  return load<u32>(slot, SLOT_PAIR) == 0 && load<u32>(slot, SLOT_VALUE_BYTES) == 0;
}

/** Reads the n-th attribute, which is plain, into its slot and into the row; its key, or 0 if that is not known. */
// @ts-ignore: decorator
@inline
function readSlot(row: usize, n: u32, at: usize, stop: usize): usize {
  const slot = SLOTS + n * SLOT_BYTES;
  const attribute = attributeFind(n, at, <u32>(stop - at));
  const isKnown =
    attribute != 0 && load<u32>(attribute, ATT_PAIR) != 0 && load<u32>(attribute, ATT_EPOCH) == load<u32>(ID_EPOCH);
  let key: usize;
  if (isKnown) {
    key = load<u32>(attribute, ATT_KEY);
    store<u32>(slot, <u32>key, SLOT_KEY);
    store<u32>(slot, load<u32>(attribute, ATT_PAIR), SLOT_PAIR);
    store<u32>(slot, load<u32>(attribute, ATT_LABEL_LENGTH), SLOT_LABEL_LENGTH);
  } else {
    key = readText(slot, n, at, stop);
    if (key == 0) return 0;
  }
  const entry = row + NEW_HEADER_BYTES + n * ROW_ATTRIBUTE_BYTES;
  store<u32>(entry, <u32>attribute, ROW_ATTRIBUTE);
  store<u32>(entry, <u32>stop, ROW_ATTRIBUTE_END);
  store<u32>(entry, <u32>key, ROW_ATTRIBUTE_KEY);
  return key;
}

/** Reads key and value of an attribute whose label is not known. */
function readText(slot: usize, n: u32, at: usize, stop: usize): usize {
  let p = readLength(at + 1, stop);
  p = readLength(p + 1, stop);
  const length = <u32>varint();
  // The point before mostly had the same key at this place.
  let key = <usize>load<u32>(PLAN_KEYS + (n << 2));
  if (key == 0 || !isKey(key, p, length)) key = keyFind(p, length);
  if (key == 0) {
    store<u32>(ID_KEY, <u32>p);
    store<u32>(ID_KEY_END, <u32>p + length);
    return 0;
  }
  store<u32>(slot, <u32>key, SLOT_KEY);
  store<u32>(slot, 0, SLOT_PAIR);
  readValue(slot, n, readLength(p + length + 1, stop), stop);
  return key;
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

// ---- the plan

/** Finds out what the labels of the point in hand are, in order; false if they cannot be those of a series. */
function plan(context: usize, n: u32): bool {
  store<u32>(PLAN_CONTEXT, 0);
  if (!sort(n)) return false;
  const labels = merge(context, n);
  if (labels > LABELS_MAX) return false;
  let isWhole = true;
  for (let i: u32 = 0; i < n; i++) {
    const slot = SLOTS + i * SLOT_BYTES;
    store<u32>(PLAN_KEYS + (i << 2), load<u32>(slot, SLOT_KEY));
    if (isEmpty(slot)) isWhole = false;
  }
  store<u32>(PLAN_LABELS, labels);
  store<u32>(PLAN_ATTRIBUTES, n);
  // Without an attribute that says nothing, others of the same keys have the same labels.
  if (isWhole) store<u32>(PLAN_CONTEXT, <u32>context);
  return true;
}

/** Puts the attributes into the order of their names; senders mostly have them so. False if names collide, or one is none. */
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

/** Merges the labels of the metric with those of the point; their number. */
function merge(context: usize, n: u32): u32 {
  let label = <usize>load<u32>(context, CTX_LABELS);
  let count: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = <usize>load<u32>(ORDER + (i << 2));
    const key = <usize>load<u32>(slot, SLOT_KEY);
    let isTaken = isEmpty(slot);
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
      count = planned(count, label);
      label += LBL_WIRE + load<u16>(label, LBL_BYTES);
    }
    if (!isTaken) count = planned(count, slot);
  }
  for (; load<u16>(label, LBL_BYTES) != 0; label += LBL_WIRE + load<u16>(label, LBL_BYTES)) count = planned(count, label);
  return count;
}

// @ts-ignore: decorator
@inline
function planned(count: u32, source: usize): u32 {
  // There is room for all attributes and all labels of a metric.
  store<u32>(PLAN + (count << 2), <u32>source);
  return count + 1;
}

// ---- labels

/** Writes the labels of the plan; the address behind them, or 0 if one cannot be that of a series. */
// @ts-ignore: decorator
@inline
function writeLabels(p: usize): usize {
  const epoch = load<u32>(ID_EPOCH);
  const last = PLAN + (load<u32>(PLAN_LABELS) << 2);
  for (let entry = PLAN; entry < last; entry += 4) {
    const source = <usize>load<u32>(entry);
    if (source >= <usize>PLAN) {
      const isKnown = load<u32>(source, LBL_PAIR) != 0 && load<u32>(source, LBL_EPOCH) == epoch;
      const length = <u32>load<u16>(source, LBL_BYTES);
      if (isKnown) p = writeKnown(p, load<u32>(source, LBL_PAIR), length);
      else {
        memory.copy(p + ROW_LABEL_BYTES, source + LBL_WIRE, length);
        p = writeWired(p, length, <u32>source);
      }
    } else if (load<u32>(source, SLOT_PAIR) != 0) {
      p = writeKnown(p, load<u32>(source, SLOT_PAIR), load<u32>(source, SLOT_LABEL_LENGTH));
    } else {
      const key = <usize>load<u32>(source, SLOT_KEY);
      const valueBytes = load<u32>(source, SLOT_VALUE_BYTES);
      if (valueBytes > VALUE_BYTES_MAX) return 0;
      const at = p + ROW_LABEL_BYTES;
      const behind = writeLabel(at, nameOf(key), load<u32>(key, KEY_NAME_LENGTH), load<u32>(source, SLOT_VALUE), valueBytes);
      p = writeWired(p, <u32>(behind - at), <u32>((source - SLOTS) / SLOT_BYTES));
    }
  }
  return p;
}

// @ts-ignore: decorator
@inline
function writeKnown(p: usize, pair: u32, length: u32): usize {
  store<u32>(p, pair, ROW_LABEL_PAIR);
  store<u32>(p, length, ROW_LABEL_LENGTH);
  return p + ROW_LABEL_BYTES;
}

// @ts-ignore: decorator
@inline
function writeWired(p: usize, length: u32, source: u32): usize {
  store<u32>(p, 0, ROW_LABEL_PAIR);
  store<u32>(p, length | ROW_LABEL_WIRED, ROW_LABEL_LENGTH);
  store<u32>(p, source, ROW_LABEL_SOURCE);
  return p + ROW_LABEL_BYTES + length;
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
