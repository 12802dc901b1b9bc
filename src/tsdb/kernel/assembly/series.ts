/**
 * Series: records, label sets and identity.
 *
 * A series is known by the bytes of its labels as remote-write sends them. `labelsMatch` compares them with the
 * interned blobs, `identityFind` looks them up by hash, `seriesCreate` makes what is new. Labels that are not written
 * in the one canonical way (sorted, no empty value, valid UTF-8, within limits, lengths as short as can be) are odd:
 * they go up to TypeScript, which brings them into that way or refuses them.
 */
import {
  BLOB_HEADER_BYTES,
  BLOB_PAIR,
  BLOB_WIRE_BYTES,
  FLAG_DEAD,
  KIND_SET,
  LABEL_INPUT_BYTES,
  LABELS_HARD_MAX,
  NAME_ALL,
  PAIR_HASH,
  PAIR_NAME,
  REC_FLAGS,
  REC_GENERATION,
  REC_HASH,
  REC_LABEL_BYTES,
  REC_LABELS,
  REC_NEXT,
  REC_SET,
  RECORD_BYTES,
  SB_FREE_ID,
  SB_ID_MAX,
  SB_ID_NEXT,
  SB_IDENTITY_TABLE,
  SB_LABEL_INPUT,
  SB_LABELS_MAX,
  SB_NAME_BYTES_MAX,
  SB_PAIR_TABLE,
  SB_RECORDS,
  SB_RESERVE_SERIES,
  SB_SERIES,
  SB_SERIES_CREATED,
  SB_SERIES_MAX,
  SB_VALUE_BYTES_MAX,
  SERIES_LIMIT,
  SERIES_ODD,
  SB_STAMP_BLOB,
  SB_STAMP_BYTES,
  SET_ENTRY_BYTES,
  TABLE_ADDRESS,
  TABLE_ENTRY_BYTES,
  TABLE_MASK,
  TABLE_OLD,
  TABLE_OLD_MASK,
} from '../layout';
import { avalanche, hashBytes, hashFold } from './hash';
import {
  LABEL_HASH,
  LABEL_NAME,
  LABEL_NAME_BYTES,
  LABEL_PAIR,
  LABEL_WIRE,
  LABEL_WIRE_BYTES,
  labelEntry,
  nameAddress,
  namesRoom,
  pairIntern,
} from './labels';
import { allocate, bytesCompare, bytesEqual, pagesFree } from './memory';
import { postingAdd } from './postings';
import { stampLabels } from './stamp';
import { tableInsert, tableRoom, TOMBSTONE } from './table';
import { utf8Valid } from './utf8';

/** Odd labels, as a count. */
export const ODD: i32 = -1;
/** "__name__" as one little-endian word. */
const METRIC_NAME: u64 = 0x5f5f656d616e5f5f;

// @ts-ignore: decorator
@inline
export function recordOf(id: u32): usize {
  return load<u32>(SB_RECORDS) + id * RECORD_BYTES;
}

/**
 * Address behind the labels at p if they are exactly those of the series, else 0. The first label by itself, since that is
 * where most others differ; then two a turn, and one question for all of them: what it costs to look for a difference
 * matters, what one costs does not.
 */
// @ts-ignore: decorator
@inline
export function labelsMatch(record: usize, p: usize, end: usize): usize {
  let entry = <usize>load<u32>(record, REC_SET);
  const behind = p + load<u32>(record, REC_LABEL_BYTES);
  if (entry == 0 || behind > end) return 0;
  const last = entry + <usize>load<u8>(record, REC_LABELS) * SET_ENTRY_BYTES;
  let blob = <usize>load<u32>(entry);
  let length = <u32>load<u16>(blob, BLOB_WIRE_BYTES);
  let differ = labelDiffers(blob, p, length);
  if (v128.any_true(differ)) return 0;
  p += length;
  entry += SET_ENTRY_BYTES;
  while (entry + SET_ENTRY_BYTES < last) {
    blob = <usize>load<u32>(entry);
    length = <u32>load<u16>(blob, BLOB_WIRE_BYTES);
    const blob2 = <usize>load<u32>(entry, SET_ENTRY_BYTES);
    const length2 = <u32>load<u16>(blob2, BLOB_WIRE_BYTES);
    const p2 = p + length;
    differ = v128.or(differ, v128.or(labelDiffers(blob, p, length), labelDiffers(blob2, p2, length2)));
    p = p2 + length2;
    entry += 2 * SET_ENTRY_BYTES;
  }
  if (entry < last) {
    blob = <usize>load<u32>(entry);
    differ = v128.or(differ, labelDiffers(blob, p, <u32>load<u16>(blob, BLOB_WIRE_BYTES)));
  }
  if (v128.any_true(differ)) return 0;
  // One label more is another series.
  return behind < end && load<u8>(behind) == 0x0a ? 0 : behind;
}

/**
 * As labelsMatch, of a series that has the stamp beside the labels at p. A sender may say the same of itself: the stamp's
 * label is passed over at its place, and nowhere else.
 */
export function stampedMatch(record: usize, p: usize, end: usize): usize {
  let entry = <usize>load<u32>(record, REC_SET);
  const stamp = load<u32>(SB_STAMP_BLOB);
  if (entry == 0 || stamp == 0) return 0;
  if (p + load<u32>(record, REC_LABEL_BYTES) > end + load<u32>(SB_STAMP_BYTES)) return 0;
  const last = entry + <usize>load<u8>(record, REC_LABELS) * SET_ENTRY_BYTES;
  let isStamped = false;
  while (entry < last) {
    const blob = load<u32>(entry);
    const length = <u32>load<u16>(blob, BLOB_WIRE_BYTES);
    if (!v128.any_true(labelDiffers(blob, p, length))) p += length;
    else if (blob != stamp) return 0;
    if (blob == stamp) isStamped = true;
    entry += SET_ENTRY_BYTES;
  }
  if (!isStamped || p > end) return 0;
  return p < end && load<u8>(p) == 0x0a ? 0 : p;
}

/**
 * Zero if the n bytes of a blob are those at p. No label has fewer than 8 bytes: four of lengths and tags before name and
 * value, and two before either. Few have fewer than 16, or more than 32.
 */
// @ts-ignore: decorator
@inline
function labelDiffers(blob: usize, p: usize, n: u32): v128 {
  // The last bytes overlap the ones before.
  if (n < 16) {
    const head = v128.xor(v128.load64_zero(blob, BLOB_HEADER_BYTES), v128.load64_zero(p));
    return v128.or(head, v128.xor(v128.load64_zero(blob + n), v128.load64_zero(p + n - 8)));
  }
  const head = v128.xor(v128.load(blob, BLOB_HEADER_BYTES), v128.load(p));
  let differ = v128.or(head, v128.xor(v128.load(blob + n - 8), v128.load(p + n - 16)));
  for (let at: u32 = 16; at + 16 < n; at += 16) {
    differ = v128.or(differ, v128.xor(v128.load(blob + at, BLOB_HEADER_BYTES), v128.load(p + at)));
  }
  return differ;
}

/** Id of the series with exactly the labels at p, and the stamp if it is to have it; or 0. */
export function identityFind(hash: u32, p: usize, end: usize, stamped: u32): u32 {
  const table = load<u32>(SB_IDENTITY_TABLE, TABLE_ADDRESS);
  const id = identityIn(table, load<u32>(SB_IDENTITY_TABLE, TABLE_MASK), hash, p, end, stamped);
  const old = load<u32>(SB_IDENTITY_TABLE, TABLE_OLD);
  if (id != 0 || old == 0) return id;
  return identityIn(old, load<u32>(SB_IDENTITY_TABLE, TABLE_OLD_MASK), hash, p, end, stamped);
}

function identityIn(base: usize, mask: u32, hash: u32, p: usize, end: usize, stamped: u32): u32 {
  let i = hash & mask;
  while (true) {
    const slot = base + i * TABLE_ENTRY_BYTES;
    const id = load<u32>(slot, 4);
    if (id == 0) return 0;
    if (load<u32>(slot) == hash && id != TOMBSTONE) {
      const record = recordOf(id);
      if ((stamped == 0 ? labelsMatch(record, p, end) : stampedMatch(record, p, end)) != 0) return id;
    }
    i = (i + 1) & mask;
  }
  return 0;
}

/**
 * Reads the labels at p into SB_LABELS: their number, or ODD. The entry behind the last one holds the address behind
 * the labels and the hash of them all. `model` is the record of a series that probably has most of the labels (the one
 * sent before): a label that is equal to the model's at the same place needs no parsing, no hash and no look-up. The stamp
 * of the body is one of the labels.
 */
export function labelsParse(p: usize, end: usize, model: usize): i32 {
  const labelsMax = load<u32>(SB_LABELS_MAX);
  const set = <usize>load<u32>(model, REC_SET);
  const modelLabels: u32 = set == 0 ? 0 : <u32>load<u8>(model, REC_LABELS);
  const stampBlob = load<u32>(SB_STAMP_BLOB);
  let n: u32 = 0;
  let m: u32 = 0;
  let hash: u64 = 0;
  let named = false;
  let seenBefore = false;
  while (p < end && load<u8>(p) == 0x0a) {
    if (n == labelsMax) return ODD;
    const label = labelEntry(n);
    let next: usize = 0;
    if (m < modelLabels) {
      const blob = load<u32>(set + m++ * SET_ENTRY_BYTES);
      next = labelSeen(label, p, end, blob);
      // Where the model has the stamp, the wire mostly has what follows it.
      if (next == 0 && blob == stampBlob && m < modelLabels) next = labelSeen(label, p, end, load<u32>(set + m++ * SET_ENTRY_BYTES));
    }
    const seen = next != 0;
    if (!seen) next = labelParse(label, p, end);
    if (next == 0) return ODD;
    // Two neighbours of the model are in order.
    if (n > 0 && !(seen && seenBefore) && !follows(label, labelEntry(n - 1))) return ODD;
    seenBefore = seen;
    const name = <usize>load<u32>(label, LABEL_NAME);
    if (load<u32>(label, LABEL_NAME_BYTES) == 8 && load<u64>(name) == METRIC_NAME) named = true;
    hash = hashFold(hash, load<u32>(label, LABEL_HASH));
    p = next;
    n++;
  }
  if (!named) return ODD;
  if (load<u32>(SB_STAMP_BYTES) != 0) return noteStamped(n, p, labelsMax);
  noteEnd(n, p, hash);
  return n;
}

/** The hash of the n labels in SB_LABELS, noted for seriesCreate. */
export function noteHash(n: u32): u32 {
  let hash: u64 = 0;
  for (let i: u32 = 0; i < n; i++) hash = hashFold(hash, load<u32>(labelEntry(i), LABEL_HASH));
  noteEnd(n, 0, hash);
  return <u32>avalanche(hash);
}

/** Id of the series with exactly the n pairs in SB_LABELS, or 0. A pair stands for its bytes: no two have the same. */
export function identityOfPairs(hash: u32, n: u32): u32 {
  const table = load<u32>(SB_IDENTITY_TABLE, TABLE_ADDRESS);
  const id = pairsIn(table, load<u32>(SB_IDENTITY_TABLE, TABLE_MASK), hash, n);
  const old = load<u32>(SB_IDENTITY_TABLE, TABLE_OLD);
  return id != 0 || old == 0 ? id : pairsIn(old, load<u32>(SB_IDENTITY_TABLE, TABLE_OLD_MASK), hash, n);
}

function pairsIn(base: usize, mask: u32, hash: u32, n: u32): u32 {
  let i = hash & mask;
  while (true) {
    const slot = base + i * TABLE_ENTRY_BYTES;
    const id = load<u32>(slot, 4);
    if (id == 0) return 0;
    if (load<u32>(slot) == hash && id != TOMBSTONE && hasPairs(recordOf(id), n)) return id;
    i = (i + 1) & mask;
  }
  return 0;
}

function hasPairs(record: usize, n: u32): bool {
  const set = <usize>load<u32>(record, REC_SET);
  if (set == 0 || <u32>load<u8>(record, REC_LABELS) != n) return false;
  for (let i: u32 = 0; i < n; i++) {
    // A pair begins with the address of its blob.
    if (load<u32>(set + i * SET_ENTRY_BYTES) != load<u32>(load<u32>(labelEntry(i), LABEL_PAIR))) return false;
  }
  return true;
}

/** Puts the stamp among n labels, and notes what stands behind them. */
function noteStamped(n: u32, p: usize, labelsMax: u32): i32 {
  const all = stampLabels(n, labelsMax);
  if (all < 0) return ODD;
  let hash: u64 = 0;
  for (let i: u32 = 0; i < <u32>all; i++) hash = hashFold(hash, load<u32>(labelEntry(i), LABEL_HASH));
  noteEnd(<u32>all, p, hash);
  return all;
}

// @ts-ignore: decorator
@inline
function noteEnd(n: u32, p: usize, hash: u64): void {
  store<u32>(labelEntry(n), p, LABEL_WIRE);
  store<u32>(labelEntry(n), <u32>avalanche(hash), LABEL_HASH);
}

/** Fills the entry of a label that is equal to a blob; the address behind it, or 0 if it is another one. */
// @ts-ignore: decorator
@inline
function labelSeen(label: usize, wire: usize, end: usize, blob: usize): usize {
  const bytes = <u32>load<u16>(blob, BLOB_WIRE_BYTES);
  if (wire + bytes > end || !bytesEqual(blob + BLOB_HEADER_BYTES, wire, bytes)) return 0;
  const pair = <usize>load<u32>(blob, BLOB_PAIR);
  const nameAt = wire + (load<u8>(wire, 1) < 0x80 ? 3 : 4);
  const nameBytes = lengthAt(nameAt);
  store<u32>(label, wire, LABEL_WIRE);
  store<u32>(label, bytes, LABEL_WIRE_BYTES);
  store<u32>(label, nameAt + (nameBytes < 0x80 ? 1 : 2), LABEL_NAME);
  store<u32>(label, nameBytes, LABEL_NAME_BYTES);
  store<u32>(label, load<u32>(pair, PAIR_HASH), LABEL_HASH);
  store<u32>(label, <u32>pair, LABEL_PAIR);
  return wire + bytes;
}

/** Reads one Label field into its entry; the address behind it, or 0 if it is not written in the canonical way. */
export function labelParse(label: usize, wire: usize, end: usize): usize {
  let at = wire + 1;
  const length = lengthAt(at);
  at += length < 0x80 ? 1 : 2;
  const fieldEnd = at + length;
  if (length == 0 || fieldEnd > end || load<u8>(at) != 0x0a) return 0;
  const nameBytes = lengthAt(at + 1);
  const name = at + (nameBytes < 0x80 ? 2 : 3);
  const valueAt = name + nameBytes;
  if (nameBytes == 0 || nameBytes > load<u32>(SB_NAME_BYTES_MAX)) return 0;
  // Lengths are below 16384, so nothing here reads further than that past the end of the body; see SB_BODY.
  if (valueAt + 2 > fieldEnd || load<u8>(valueAt) != 0x12) return 0;
  const valueBytes = lengthAt(valueAt + 1);
  const value = valueAt + (valueBytes < 0x80 ? 2 : 3);
  if (valueBytes == 0 || valueBytes > load<u32>(SB_VALUE_BYTES_MAX) || value + valueBytes != fieldEnd) return 0;
  const wireBytes = <u32>(fieldEnd - wire);
  if (!isAscii(wire, wireBytes) && !(utf8Valid(name, nameBytes) && utf8Valid(value, valueBytes))) return 0;
  store<u32>(label, wire, LABEL_WIRE);
  store<u32>(label, wireBytes, LABEL_WIRE_BYTES);
  store<u32>(label, name, LABEL_NAME);
  store<u32>(label, nameBytes, LABEL_NAME_BYTES);
  store<u32>(label, <u32>hashBytes(wire, wireBytes), LABEL_HASH);
  store<u32>(label, 0, LABEL_PAIR);
  return fieldEnd;
}

/** A length of one or two bytes; 0 for one that is longer or not as short as can be. */
// @ts-ignore: decorator
@inline
function lengthAt(p: usize): u32 {
  const first = <u32>load<u8>(p);
  if (first < 0x80) return first;
  const second = <u32>load<u8>(p + 1);
  return second == 0 || second >= 0x80 ? 0 : (first & 0x7f) | (second << 7);
}

/** True if the name of a label sorts behind the one before. */
// @ts-ignore: decorator
@inline
function follows(label: usize, before: usize): bool {
  const order = bytesCompare(
    load<u32>(before, LABEL_NAME),
    load<u32>(before, LABEL_NAME_BYTES),
    load<u32>(label, LABEL_NAME),
    load<u32>(label, LABEL_NAME_BYTES),
  );
  return order < 0;
}

// @ts-ignore: decorator
@inline
function isAscii(p: usize, n: u32): bool {
  let at: u32 = 0;
  while (at + 16 <= n) {
    if (i8x16.bitmask(v128.load(p + at)) != 0) return false;
    at += 16;
  }
  const mask = <u32>i8x16.bitmask(v128.load(p + at));
  return (mask & ((<u32>1 << (n - at)) - 1)) == 0;
}

/** The series of the n labels in SB_LABELS, which no series has yet: its id, or SERIES_LIMIT. */
export function seriesCreate(n: u32): u32 {
  if (!seriesRoom(n)) return SERIES_LIMIT;
  const id = takeId();
  const record = recordOf(id);
  const generation = load<u32>(record, REC_GENERATION);
  memory.fill(record, 0, RECORD_BYTES);
  const set = allocate(KIND_SET, n * SET_ENTRY_BYTES);
  if (set == 0) unreachable();
  let labelBytes: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const pair = pairIntern(i);
    labelBytes += load<u32>(labelEntry(i), LABEL_WIRE_BYTES);
    postingAdd(pair, id);
    postingAdd(load<u32>(nameAddress(load<u32>(pair, PAIR_NAME)), NAME_ALL), id);
    // A pair begins with the address of its blob.
    store<u32>(set + i * SET_ENTRY_BYTES, load<u32>(pair));
  }
  const behind = labelEntry(n);
  const hash = load<u32>(behind, LABEL_HASH);
  store<u32>(record, set, REC_SET);
  store<u32>(record, hash, REC_HASH);
  store<u8>(record, n, REC_LABELS);
  store<u32>(record, labelBytes, REC_LABEL_BYTES);
  store<u32>(record, generation + 1, REC_GENERATION);
  tableInsert(SB_IDENTITY_TABLE, hash, id);
  store<u32>(SB_SERIES, load<u32>(SB_SERIES) + 1);
  store<f64>(SB_SERIES_CREATED, load<f64>(SB_SERIES_CREATED) + 1);
  return id;
}

/** True if a series of n labels can be made without running out of anything on the way. */
function seriesRoom(n: u32): bool {
  if (load<u32>(SB_SERIES) >= load<u32>(SB_SERIES_MAX)) return false;
  if (load<u32>(SB_FREE_ID) == 0 && load<u32>(SB_ID_NEXT) > load<u32>(SB_ID_MAX)) return false;
  if (!tableRoom(SB_IDENTITY_TABLE) || !tableRoom(SB_PAIR_TABLE) || !namesRoom(n)) return false;
  return pagesFree() >= load<u32>(SB_RESERVE_SERIES);
}

function takeId(): u32 {
  const free = load<u32>(SB_FREE_ID);
  if (free != 0) {
    store<u32>(SB_FREE_ID, load<u32>(recordOf(free), REC_NEXT));
    return free;
  }
  const id = load<u32>(SB_ID_NEXT);
  store<u32>(SB_ID_NEXT, id + 1);
  return id;
}

/** The series whose canonical label block was written to SB_LABEL_INPUT, made if `create` and new; 0 if not found. */
export function seriesOf(bytes: u32, create: bool): u32 {
  assert(bytes <= <u32>LABEL_INPUT_BYTES - 64, 'label input is too long');
  const start = <usize>load<u32>(SB_LABEL_INPUT);
  const n = trustedParse(start, start + bytes);
  if (n < 0) return SERIES_ODD;
  const hash = load<u32>(labelEntry(n), LABEL_HASH);
  // Labels that come by this door have their stamp already.
  const known = identityFind(hash, start, start + bytes, 0);
  return known != 0 || !create ? known : seriesCreate(n);
}

/** As labelsParse, but the limits are those of the layout, and a metric name is not asked for. */
function trustedParse(start: usize, end: usize): i32 {
  let n: u32 = 0;
  let hash: u64 = 0;
  let p = start;
  while (p < end) {
    if (n == LABELS_HARD_MAX || load<u8>(p) != 0x0a) return ODD;
    p = labelParse(labelEntry(n), p, end);
    if (p == 0) return ODD;
    hash = hashFold(hash, load<u32>(labelEntry(n), LABEL_HASH));
    n++;
  }
  noteEnd(n, p, hash);
  return n;
}

// @ts-ignore: decorator
@inline
export function isLive(record: usize): bool {
  return load<u32>(record, REC_SET) != 0;
}

// @ts-ignore: decorator
@inline
export function isDead(record: usize): bool {
  return (load<u8>(record, REC_FLAGS) & FLAG_DEAD) != 0;
}

/** Writes the pair of one label name for each of n ids: its address, or 0 where the series lacks the label. */
export function labelColumn(ids: usize, n: u32, name: u32, out: usize): void {
  let hint: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const record = recordOf(load<u32>(ids + (i << 2)));
    const set = <usize>load<u32>(record, REC_SET);
    const count = <u32>load<u8>(record, REC_LABELS);
    // Neighbours mostly have the same names: look where the last one had it.
    if (hint >= count || <u32>load<u16>(load<u32>(set + (hint << 2)), 2) != name) {
      hint = 0;
      while (hint < count && <u32>load<u16>(load<u32>(set + (hint << 2)), 2) != name) hint++;
    }
    store<u32>(out + (i << 2), hint < count ? load<u32>(load<u32>(set + (hint << 2)), BLOB_PAIR) : 0);
  }
}
