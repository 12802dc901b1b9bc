/**
 * The symbols of a remote-write 2.0 request, and labels written as references to them.
 *
 * Symbols live for one request, so what a reference stands for is remembered per symbol: the first series with
 * `job="api"` compares the bytes of both with the label in the store, every further one compares two numbers. A series
 * that the prediction did not find is looked up by the labels that its symbols stand for; if it is new, or the body is stamped,
 * its labels are written out as 1.0 writes them, and from there on they go the way of 1.0.
 */
import {
  BLOB_HEADER_BYTES,
  BLOB_PAIR,
  BLOB_WIRE_BYTES,
  LABEL_INPUT_BYTES,
  PAIR_BLOB,
  PAIR_HASH,
  REC_LABELS,
  REC_SET,
  RESULT_METADATA_FIRST,
  RESULT_SYMBOLS,
  SB_IN,
  SB_IN_BYTES_MAX,
  SB_LABEL_INPUT,
  SB_LABELS_MAX,
  SB_NAME_BYTES_MAX,
  SB_RESULT,
  SB_STAMP_BLOB,
  SB_VALUE_BYTES_MAX,
  SET_ENTRY_BYTES,
  SYMBOL_BLOB,
  SYMBOL_BYTES,
  SYMBOL_HASH,
  SYMBOL_LENGTH,
  SYMBOL_METADATA,
  SYMBOL_NAME,
  SYMBOL_NEXT,
  SYMBOL_TEXT,
} from '../../../tsdb/kernel/layout';
import { hashBytes, hashFold } from '../../../tsdb/kernel/assembly/hash';
import { LABEL_HASH, LABEL_PAIR, labelEntry, pairOf } from '../../../tsdb/kernel/assembly/labels';
import { bytesEqual } from '../../../tsdb/kernel/assembly/memory';
import { identityOfPairs, noteHash } from '../../../tsdb/kernel/assembly/series';
import { readTag, readVarint, skipField, varint } from './wire.as';

/** "__name__" as one little-endian word. */
const METRIC_NAME: u64 = 0x5f5f656d616e5f5f;
const TAG_TYPE: u32 = 0x08;
const TAG_HELP: u32 = 0x18;
const TAG_UNIT: u32 = 0x20;

// @ts-ignore: decorator
@inline
function symbolEntry(i: u32): usize {
  return <usize>load<u32>(SB_IN) + <usize>i * SYMBOL_BYTES;
}

// @ts-ignore: decorator
@inline
export function symbolCount(): u32 {
  return load<u32>(SB_RESULT, RESULT_SYMBOLS);
}

/** Notes the next symbol; false if there is no place left. */
// @ts-ignore: decorator
@inline
export function symbolAdd(text: usize, length: u32): bool {
  const count = symbolCount();
  if (count == load<u32>(SB_IN_BYTES_MAX) / SYMBOL_BYTES) return false;
  const entry = symbolEntry(count);
  store<u32>(entry, <u32>text, SYMBOL_TEXT);
  store<u32>(entry, length, SYMBOL_LENGTH);
  store<u64>(entry, 0, SYMBOL_NAME); // and SYMBOL_BLOB
  store<u64>(entry, 0, SYMBOL_METADATA);
  store<u32>(SB_RESULT, count + 1, RESULT_SYMBOLS);
  return true;
}

/** Reads the reference at p into SB_VARINT; the address behind it, or 0 if no symbol has that number. */
// @ts-ignore: decorator
@inline
function readRef(p: usize, end: usize): usize {
  p = readVarint(p, end);
  return p == 0 || varint() >= <u64>symbolCount() ? 0 : p;
}

/** True if the references in [p, end) are exactly the labels of the series. */
// @ts-ignore: decorator
@inline
export function refsMatch(record: usize, p: usize, end: usize): bool {
  let entry = <usize>load<u32>(record, REC_SET);
  if (entry == 0) return false;
  const last = entry + <usize>load<u8>(record, REC_LABELS) * SET_ENTRY_BYTES;
  const table = <usize>load<u32>(SB_IN);
  const count = symbolCount();
  while (entry < last) {
    p = refMatch(load<u32>(entry), p, end, table, count);
    if (p == 0) return false;
    entry += SET_ENTRY_BYTES;
  }
  return p == end;
}

/** As refsMatch, of a series that has the stamp beside them; a sender may say the same of itself. */
export function refsMatchStamped(record: usize, p: usize, end: usize): bool {
  let entry = <usize>load<u32>(record, REC_SET);
  const stamp = load<u32>(SB_STAMP_BLOB);
  if (entry == 0 || stamp == 0) return false;
  const last = entry + <usize>load<u8>(record, REC_LABELS) * SET_ENTRY_BYTES;
  const table = <usize>load<u32>(SB_IN);
  const count = symbolCount();
  let isStamped = false;
  while (entry < last) {
    const blob = load<u32>(entry);
    if (blob != stamp || isLabelAt(blob, p, end)) p = refMatch(blob, p, end, table, count);
    if (p == 0) return false;
    if (blob == stamp) isStamped = true;
    entry += SET_ENTRY_BYTES;
  }
  return isStamped && p == end;
}

/**
 * Address behind the two references at p if they stand for the label of a blob, else 0. The short way, for a name of one
 * byte and a value of one or two that were seen together before, may step over `end`: no series' references end there.
 */
// @ts-ignore: decorator
@inline
function refMatch(blob: u32, p: usize, end: usize, table: usize, count: u32): usize {
  const word = load<u32>(p);
  let next = p + 2;
  let value = (word >>> 8) & 0x7f;
  if ((word & 0x8000) != 0) {
    value |= (word >>> 9) & 0x3f80;
    next = p + 3;
  }
  const symbol = table + <usize>value * SYMBOL_BYTES;
  // A third byte of the value would stand where this one's second has its high bit.
  const short = (word & 0x80) == 0 && (word & 0x808000) != 0x808000;
  if (short && value < count && load<u32>(symbol, SYMBOL_BLOB) == blob && load<u32>(symbol, SYMBOL_NAME) == (word & 0x7f)) return next;
  return refMatchAny(blob, p, end);
}

/** The same of references of any length, which are noted. */
function refMatchAny(blob: u32, p: usize, end: usize): usize {
  p = readRef(p, end);
  if (p == 0) return 0;
  const name = <u32>varint();
  p = readRef(p, end);
  if (p == 0) return 0;
  const symbol = symbolEntry(<u32>varint());
  const known = load<u32>(symbol, SYMBOL_BLOB);
  // No two blobs hold the same label.
  if (known != 0 && load<u32>(symbol, SYMBOL_NAME) == name) return known == blob ? p : 0;
  if (!isLabel(blob, symbolEntry(name), symbol)) return 0;
  store<u32>(symbol, name, SYMBOL_NAME);
  store<u32>(symbol, blob, SYMBOL_BLOB);
  return p;
}

/** True if the references at p stand for the label of a blob. */
function isLabelAt(blob: usize, p: usize, end: usize): bool {
  p = readRef(p, end);
  if (p == 0) return false;
  const name = symbolEntry(<u32>varint());
  return readRef(p, end) != 0 && isLabel(blob, name, symbolEntry(<u32>varint()));
}

/** True if the label of a blob has this name and this value. */
function isLabel(blob: usize, name: usize, value: usize): bool {
  const nameBytes = load<u32>(name, SYMBOL_LENGTH);
  const valueBytes = load<u32>(value, SYMBOL_LENGTH);
  if (nameBytes >= 16384 || valueBytes >= 16384) return false;
  const inner = 2 + lengthBytes(nameBytes) + nameBytes + lengthBytes(valueBytes) + valueBytes;
  if (<u32>load<u16>(blob, BLOB_WIRE_BYTES) != 1 + lengthBytes(inner) + inner) return false;
  // The same total does not say that name and value part at the same place.
  const nameAt = blob + BLOB_HEADER_BYTES + 2 + lengthBytes(inner);
  if (lengthAt(nameAt) != nameBytes) return false;
  const text = nameAt + lengthBytes(nameBytes);
  if (!bytesEqual(text, load<u32>(name, SYMBOL_TEXT), nameBytes)) return false;
  return bytesEqual(text + nameBytes + 1 + lengthBytes(valueBytes), load<u32>(value, SYMBOL_TEXT), valueBytes);
}

// @ts-ignore: decorator
@inline
function lengthBytes(length: u32): u32 {
  return length < 0x80 ? 1 : 2;
}

/** A length of one or two bytes in a blob. */
// @ts-ignore: decorator
@inline
function lengthAt(p: usize): u32 {
  const first = <u32>load<u8>(p);
  return first < 0x80 ? first : (first & 0x7f) | (<u32>load<u8>(p, 1) << 7);
}

/**
 * The series whose labels the references in [p, end) are, as they stand; 0 if there is none. What a reference stands for is
 * looked up once a body. Not for stamped bodies: the stamp is not among the references.
 */
export function seriesOfRefs(p: usize, end: usize): u32 {
  const labelsMax = load<u32>(SB_LABELS_MAX);
  let n: u32 = 0;
  while (p < end) {
    if (n == labelsMax) return 0;
    p = readRef(p, end);
    if (p == 0) return 0;
    const name = <u32>varint();
    p = readRef(p, end);
    if (p == 0) return 0;
    const pair = pairOfRefs(name, symbolEntry(<u32>varint()));
    if (pair == 0) return 0;
    const label = labelEntry(n++);
    store<u32>(label, load<u32>(pair, PAIR_HASH), LABEL_HASH);
    store<u32>(label, <u32>pair, LABEL_PAIR);
  }
  return identityOfPairs(noteHash(n), n);
}

/** The pair of the label with this name and this value, noted; 0 if no series has it. */
// @ts-ignore: decorator
@inline
function pairOfRefs(name: u32, value: usize): usize {
  const blob = <usize>load<u32>(value, SYMBOL_BLOB);
  if (blob != 0 && load<u32>(value, SYMBOL_NAME) == name) return load<u32>(blob, BLOB_PAIR);
  return pairOfNewRefs(name, value);
}

function pairOfNewRefs(name: u32, value: usize): usize {
  const text = symbolEntry(name);
  if (load<u32>(text, SYMBOL_LENGTH) > load<u32>(SB_NAME_BYTES_MAX)) return 0;
  if (load<u32>(value, SYMBOL_LENGTH) > load<u32>(SB_VALUE_BYTES_MAX)) return 0;
  const input = <usize>load<u32>(SB_LABEL_INPUT);
  const pair = pairOf(<u32>(writeLabel(input, text, value) - input));
  if (pair == 0) return 0;
  store<u32>(value, name, SYMBOL_NAME);
  store<u32>(value, load<u32>(pair, PAIR_BLOB), SYMBOL_BLOB);
  return pair;
}

/**
 * Writes the labels of [p, end) to SB_LABEL_INPUT as 1.0 writes them; their number of bytes, or 0 if they cannot be those of
 * a series: a reference without a symbol or without a second one, or a limit that is exceeded.
 */
export function writeLabels(p: usize, end: usize): u32 {
  const start = <usize>load<u32>(SB_LABEL_INPUT);
  const labelsMax = load<u32>(SB_LABELS_MAX);
  let out = start;
  let n: u32 = 0;
  assert(labelsMax * (load<u32>(SB_NAME_BYTES_MAX) + load<u32>(SB_VALUE_BYTES_MAX) + 16) < <u32>LABEL_INPUT_BYTES, 'label input');
  while (p < end) {
    if (n++ == labelsMax) return 0;
    p = readRef(p, end);
    if (p == 0) return 0;
    const name = symbolEntry(<u32>varint());
    p = readRef(p, end);
    if (p == 0) return 0;
    const value = symbolEntry(<u32>varint());
    if (load<u32>(name, SYMBOL_LENGTH) > load<u32>(SB_NAME_BYTES_MAX)) return 0;
    if (load<u32>(value, SYMBOL_LENGTH) > load<u32>(SB_VALUE_BYTES_MAX)) return 0;
    out = writeLabel(out, name, value);
  }
  return <u32>(out - start);
}

function writeLabel(out: usize, name: usize, value: usize): usize {
  const nameBytes = load<u32>(name, SYMBOL_LENGTH);
  const valueBytes = load<u32>(value, SYMBOL_LENGTH);
  store<u8>(out, 0x0a);
  out = writeLength(out + 1, 2 + lengthBytes(nameBytes) + nameBytes + lengthBytes(valueBytes) + valueBytes);
  out = writeText(out, 0x0a, load<u32>(name, SYMBOL_TEXT), nameBytes);
  return writeText(out, 0x12, load<u32>(value, SYMBOL_TEXT), valueBytes);
}

function writeText(out: usize, tag: u8, text: usize, bytes: u32): usize {
  store<u8>(out, tag);
  out = writeLength(out + 1, bytes);
  memory.copy(out, text, bytes);
  return out + bytes;
}

function writeLength(out: usize, length: u32): usize {
  if (length < 0x80) {
    store<u8>(out, length);
    return out + 1;
  }
  store<u8>(out, (length & 0x7f) | 0x80);
  store<u8>(out, length >>> 7, 1);
  return out + 2;
}

// ---- metadata

/**
 * Notes the Metadata message whose length stands at `message`, for the metric that the references name: once a metric
 * and request, for TypeScript to read. Messages of 128 bytes and more are none that a sender writes.
 */
// @ts-ignore: decorator
@inline
export function noteMetadata(refs: usize, refsEnd: usize, message: usize): void {
  const bytes = <u32>load<u8>(message);
  // An empty message is how a sender without metadata writes it.
  const symbol = bytes == 0 ? 0 : metricSymbol(refs, refsEnd);
  if (symbol == 0) return;
  const known = <usize>load<u32>(symbol, SYMBOL_METADATA);
  // Nearly all messages have less than eight bytes.
  if (known != 0 && bytes < 8) {
    if (((load<u64>(known) ^ load<u64>(message)) << ((7 - <u64>bytes) << 3)) == 0) return;
  } else if (known != 0 && bytesEqual(known, message, bytes + 1)) return;
  noteNewMetadata(symbol, known, message, bytes);
}

/** The symbol of the metric's name, or 0; it mostly is the first label's. */
// @ts-ignore: decorator
@inline
function metricSymbol(p: usize, end: usize): usize {
  const pair = load<u32>(p);
  // The common case: two bytes for the pair, or three.
  if (p + 3 <= end && (pair & 0x80) == 0 && (pair & 0x808000) != 0x808000) {
    const value = (pair & 0x8000) == 0 ? (pair >>> 8) & 0x7f : ((pair >>> 8) & 0x7f) | ((pair >>> 9) & 0x3f80);
    const name = symbolEntry(pair & 0x7f);
    if ((pair & 0x7f) < symbolCount() && value < symbolCount() && isMetricName(name)) return symbolEntry(value);
  }
  return metricSymbolAnywhere(p, end);
}

// @ts-ignore: decorator
@inline
function isMetricName(name: usize): bool {
  return load<u32>(name, SYMBOL_LENGTH) == 8 && load<u64>(load<u32>(name, SYMBOL_TEXT)) == METRIC_NAME;
}

function metricSymbolAnywhere(p: usize, end: usize): usize {
  while (p < end) {
    p = readRef(p, end);
    if (p == 0) return 0;
    const name = symbolEntry(<u32>varint());
    p = readRef(p, end);
    if (p == 0) return 0;
    if (isMetricName(name)) return symbolEntry(<u32>varint());
  }
  return 0;
}

function noteNewMetadata(symbol: usize, known: usize, message: usize, bytes: u32): void {
  let type: u32 = 0;
  let help: u32 = 0;
  let unit: u32 = 0;
  let p = message + 1;
  const end = p + bytes;
  while (p < end) {
    p = readTag(p, end);
    if (p == 0) return;
    const tag = <u32>varint();
    p = skipField(tag, p, end);
    if (p == 0) return;
    if (tag == TAG_TYPE) type = <u32>min<u64>(varint(), u32.MAX_VALUE);
    else if (tag == TAG_HELP) help = <u32>min<u64>(varint(), u32.MAX_VALUE);
    else if (tag == TAG_UNIT) unit = <u32>min<u64>(varint(), u32.MAX_VALUE);
  }
  if (help >= symbolCount() || unit >= symbolCount()) return;
  let hash = symbolHash(symbol);
  hash = hashFold(hash, <u32>symbolHash(symbolEntry(help)));
  hash = hashFold(hash, <u32>symbolHash(symbolEntry(unit)));
  store<u64>(symbol, hashFold(hash, type), SYMBOL_HASH);
  store<u32>(symbol, <u32>message, SYMBOL_METADATA);
  if (known != 0) return;
  store<u32>(symbol, load<u32>(SB_RESULT, RESULT_METADATA_FIRST), SYMBOL_NEXT);
  store<u32>(SB_RESULT, (<u32>symbol - load<u32>(SB_IN)) / SYMBOL_BYTES + 1, RESULT_METADATA_FIRST);
}

// @ts-ignore: decorator
@inline
function symbolHash(symbol: usize): u64 {
  return hashBytes(load<u32>(symbol, SYMBOL_TEXT), load<u32>(symbol, SYMBOL_LENGTH));
}
