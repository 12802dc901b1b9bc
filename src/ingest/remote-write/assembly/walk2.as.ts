/**
 * Remote-write 2.0 in the kernel: from a compressed body to samples in their series.
 *
 * Two walks, as in 1.0 (walk.as.ts), and the same successor links, connections and items. The first checks the structure
 * of the whole body before anything is stored, notes the symbols (symbols.as.ts), and finds the series that are known, by
 * prediction and, where that fails, by the labels that the references stand for. The second makes what is new, and appends.
 *
 * What is not plain (labels in no canonical form, histograms, exemplars, the time of creation of the first drafts) goes
 * on the odd list with the series' id, if it is known, for TypeScript to decode (../decode2.ts).
 * Source of the messages: prometheus/prometheus, prompb/io/prometheus/write/v2/types.proto.
 */
import {
  CONNECTIONS,
  ITEM_BYTES,
  ITEM_GENERAL,
  ITEM_PLAIN,
  ITEM_UNRESOLVED,
  ITEMS_MAX,
  ODD_SERIES_BYTES,
  ODD_SERIES_MAX,
  OUTCOME_DUPLICATE,
  OUTCOME_SERIES_LIMIT,
  OUTCOME_STORED,
  REC_NEXT,
  REFUSED_BYTES,
  REFUSED_MAX,
  RESULT_BODY_BYTES,
  RESULT_CONNECTION,
  RESULT_CREATED,
  RESULT_ITEM,
  RESULT_ODD,
  RESULT_OUTCOMES,
  RESULT_PREVIOUS,
  RESULT_REFUSED,
  RESULT_RESUME,
  RESULT_TIME_SERIES,
  SB_BODY,
  SB_BODY_BYTES_MAX,
  SB_CONNECTIONS,
  SB_IN,
  SB_IN_BYTES_MAX,
  SB_ITEM_COUNT,
  SB_ITEMS,
  SB_LABEL_INPUT,
  SB_ODD,
  SB_REFUSED,
  SB_RESULT,
  SB_STAMP_BLOB,
  SB_STAMP_BYTES,
  SB_VERDICT_GIVEN,
  SERIES_LIMIT,
  STATUS_DONE,
  STATUS_ODD_FULL,
  STATUS_PROTOBUF,
  STATUS_SNAPPY_TOO_LARGE,
  STATUS_SYMBOLS,
} from '../../../tsdb/kernel/layout';
import { append, appendBeside } from '../../../tsdb/kernel/assembly/append';
import { noteRefused, passesOver, resetVerdict } from '../../../tsdb/kernel/assembly/verdict';
import { LABEL_HASH, labelEntry } from '../../../tsdb/kernel/assembly/labels';
import { identityFind, isLive, labelsParse, recordOf, seriesCreate } from '../../../tsdb/kernel/assembly/series';
import { stampResolve } from '../../../tsdb/kernel/assembly/stamp';
import { ANY_TIME, isPlainSample, isPlainSampleOf, plainBits, plainTime, plainTimeBytesOfSix } from './sample.as';
import { SNAPPY_SLACK, snappyDecode } from './snappy.as';
import { noteMetadata, refsMatch, refsMatchStamped, seriesOfRefs, symbolAdd, writeLabels } from './symbols.as';
import { noteStored, seriesField, storeRun, UNKNOWN_IN_A_ROW } from './walk.as';
import { readLength, readTag, readVarint, skipField, varint } from './wire.as';

const TAG_SYMBOL: u32 = 0x22;
const TAG_TIME_SERIES: u32 = 0x2a;
const TAG_REFS: u32 = 0x0a;
const TAG_REF: u32 = 0x08;
const TAG_SAMPLE: u32 = 0x12;
const TAG_METADATA: u32 = 0x2a;
const TAG_CREATED: u32 = 0x30;
const TAG_SAMPLE_VALUE: u32 = 0x09;
const TAG_SAMPLE_TIME: u32 = 0x10;
const TAG_SAMPLE_START: u32 = 0x18;
const ODD_FIELDS: u32 = 0xffffffff;

// ---- the door

/** Decodes, checks and stores a 2.0 body of n compressed bytes that were written to SB_IN. A STATUS_*. */
export function ingest2(n: u32, connection: u32): u32 {
  memory.fill(SB_RESULT, 0, 256);
  resetVerdict();
  stampResolve();
  if (n > load<u32>(SB_IN_BYTES_MAX)) return STATUS_SNAPPY_TOO_LARGE;
  const body = <usize>load<u32>(SB_BODY);
  const decoded = snappyDecode(load<u32>(SB_IN), n, body, load<u32>(SB_BODY_BYTES_MAX), SB_RESULT + RESULT_BODY_BYTES);
  if (decoded != STATUS_DONE) return decoded;
  const bytes = load<u32>(SB_RESULT, RESULT_BODY_BYTES);
  memory.fill(body + bytes, 0, SNAPPY_SLACK);
  const lane = connection & (CONNECTIONS - 1);
  store<u32>(SB_RESULT, lane, RESULT_CONNECTION);
  // The series that this connection wrote last may be gone; then nothing must be written into its record.
  const last = load<u32>(SB_CONNECTIONS + (lane << 2));
  const previous = isLive(recordOf(last)) ? last : 0;
  store<u32>(SB_RESULT, previous, RESULT_PREVIOUS);
  const status = checkRequest(body, body + bytes, previous);
  return status == STATUS_DONE ? ingest2More() : status;
}

/** Goes on after STATUS_ODD_FULL, once the odd list was read. */
export function ingest2More(): u32 {
  store<u32>(SB_RESULT, 0, RESULT_ODD);
  const before = load<u32>(SB_RESULT, RESULT_OUTCOMES + OUTCOME_STORED * 4);
  const status = storeRequest();
  const stored = load<u32>(SB_RESULT, RESULT_OUTCOMES + OUTCOME_STORED * 4) - before;
  if (stored != 0) noteStored(stored);
  store<u32>(SB_CONNECTIONS + (load<u32>(SB_RESULT, RESULT_CONNECTION) << 2), load<u32>(SB_RESULT, RESULT_PREVIOUS));
  return status;
}

// ---- first walk: check, and note the symbols

function checkRequest(start: usize, end: usize, previous: u32): u32 {
  const stamped = load<u32>(SB_STAMP_BYTES);
  const items = <usize>load<u32>(SB_ITEMS);
  let unknown: u32 = 0;
  let p = start;
  store<u32>(SB_ITEM_COUNT, 0);
  while (p < end) {
    let count = load<u32>(SB_ITEM_COUNT);
    let tried: u32 = 0;
    // Items stand for the first so many series: once one has been left out, there are no more.
    if (unknown < UNKNOWN_IN_A_ROW && load<u8>(p) == <u8>TAG_TIME_SERIES) {
      p = stamped == 0 ? checkPlain(p, end, previous) : checkPlainStamped(p, end, previous);
      if (load<u32>(SB_ITEM_COUNT) != count) {
        count = load<u32>(SB_ITEM_COUNT);
        previous = load<u32>(items + (count - 1) * ITEM_BYTES) & 0x0fffffff;
        unknown = 0;
      }
      if (p >= end) break;
      tried = load<u32>(items + count * ITEM_BYTES);
    }
    p = readTag(p, end);
    if (p == 0) return STATUS_PROTOBUF;
    const tag = <u32>varint();
    if (tag != TAG_SYMBOL && tag != TAG_TIME_SERIES) {
      // Fields 1 to 3 are those of 1.0: to pass over them would take a body of the wrong version for an empty one.
      if (tag >>> 3 <= 5) return STATUS_PROTOBUF;
      p = skipField(tag, p, end);
      if (p == 0) return STATUS_PROTOBUF;
      continue;
    }
    p = readLength(p, end);
    if (p == 0) return STATUS_PROTOBUF;
    const length = <u32>varint();
    const next = p + length;
    if (tag == TAG_SYMBOL) {
      if (!symbolAdd(p, length)) return STATUS_SYMBOLS;
    } else {
      const sample = plainSeries(p, next);
      if (sample == 0 && !checkFields(p, next)) return STATUS_PROTOBUF;
      if (unknown < UNKNOWN_IN_A_ROW && count < <u32>ITEMS_MAX) {
        const item = items + count * ITEM_BYTES;
        const id = known(previous, p, next, stamped, tried);
        const kind: u32 = sample == 0 ? ITEM_GENERAL : ITEM_PLAIN;
        store<u32>(item, id == 0 ? <u32>ITEM_UNRESOLVED : id | (kind << 28));
        store<u32>(item, <u32>sample, 4);
        store<u32>(SB_ITEM_COUNT, count + 1);
        unknown = id == 0 ? unknown + 1 : 0;
        if (id != 0) previous = id;
      }
    }
    p = next;
  }
  return STATUS_DONE;
}

/**
 * Notes items for series from p on as long as they are what nearly all are: the predicted one, with one plain sample. The item
 * of what comes next says which series it was compared with in vain.
 */
function checkPlain(p: usize, end: usize, previous: u32): usize {
  return plainRun(p, end, previous, 0);
}

function checkPlainStamped(p: usize, end: usize, previous: u32): usize {
  return plainRun(p, end, previous, 1);
}

// @ts-ignore: decorator
@inline
function plainRun(p: usize, end: usize, previous: u32, stamped: u32): usize {
  const items = <usize>load<u32>(SB_ITEMS);
  const itemsEnd = items + ITEMS_MAX * ITEM_BYTES;
  let item = items + load<u32>(SB_ITEM_COUNT) * ITEM_BYTES;
  let record = recordOf(previous);
  let timeBytes = ANY_TIME;
  let tried: u32 = 0;
  while (p < end && item < itemsEnd) {
    tried = 0;
    const field = seriesField(p, TAG_TIME_SERIES);
    if (field == 0 || field >>> 2 > <u32>(end - p)) break;
    const next = p + (field >>> 2);
    const refs = p + (field & 3) + 2;
    const bytes = <usize>load<u8>(refs - 1);
    const rest = refs + bytes;
    if (load<u8>(refs - 2) != <u8>TAG_REFS || bytes >= 0x80 || rest + 2 > next) break;
    const sampleEnd = rest + 2 + load<u8>(rest, 1);
    if (sampleEnd > next) break;
    // Most samples are as long as the one before, and of its time.
    if (!isPlainSampleOf(rest, sampleEnd, timeBytes)) {
      if (!isPlainSample(rest, sampleEnd)) break;
      timeBytes = plainTimeBytesOfSix(rest, sampleEnd);
    }
    if (sampleEnd != next && !isPlainMetadata(sampleEnd, next)) break;
    tried = load<u32>(record, REC_NEXT);
    record = recordOf(tried);
    // References that match need no check of their own.
    if (!matches(record, refs, rest, stamped)) break;
    store<u32>(item, tried | (ITEM_PLAIN << 28));
    store<u32>(item, <u32>rest, 4);
    item += ITEM_BYTES;
    p = next;
  }
  store<u32>(SB_ITEM_COUNT, <u32>(item - items) / ITEM_BYTES);
  if (p < end && item < itemsEnd) store<u32>(item, tried);
  return p;
}

// @ts-ignore: decorator
@inline
function matches(record: usize, refs: usize, rest: usize, stamped: u32): bool {
  return stamped == 0 ? refsMatch(record, refs, rest) : refsMatchStamped(record, refs, rest);
}

/** The series of a TimeSeries whose structure was checked, without making it; 0 if it is new, or odd. It is not `tried`. */
function known(previous: u32, start: usize, end: usize, stamped: u32, tried: u32): u32 {
  if (start == end || load<u8>(start) != <u8>TAG_REFS) return 0;
  const refs = readLength(start + 1, end);
  const rest = refs + <usize>varint();
  const record = recordOf(previous);
  const guess = load<u32>(record, REC_NEXT);
  if (guess != 0 && guess != tried && matches(recordOf(guess), refs, rest, stamped)) return guess;
  if (stamped == 0) return seriesOfRefs(refs, rest);
  const input = <usize>load<u32>(SB_LABEL_INPUT);
  const bytes = writeLabels(refs, rest);
  const n = bytes == 0 ? -1 : labelsParse(input, input + bytes, record);
  return n < 0 ? 0 : identityFind(load<u32>(labelEntry(n), LABEL_HASH), input, input + bytes, stamped);
}

/**
 * Address of the sample of a TimeSeries of references, one plain sample, and metadata or nothing behind it, all lengths of
 * one byte; else 0. It is checked then.
 */
// @ts-ignore: decorator
@inline
function plainSeries(p: usize, end: usize): usize {
  const refs = <u32>load<u8>(p, 1);
  const rest = p + 2 + refs;
  if (load<u8>(p) != <u8>TAG_REFS || refs >= 0x80 || rest + 2 > end) return 0;
  const sampleEnd = rest + 2 + load<u8>(rest, 1);
  if (sampleEnd > end || !isPlainSample(rest, sampleEnd) || !checkRefs(p + 2, rest)) return 0;
  return sampleEnd == end || isPlainMetadata(sampleEnd, end) ? rest : 0;
}

/** True for type, help and unit, each at most once, in this order, and of at most two bytes: `08 t 18 h 20 u`. */
// @ts-ignore: decorator
@inline
function isPlainMetadata(p: usize, end: usize): bool {
  if (load<u8>(p) != <u8>TAG_METADATA || <usize>load<u8>(p, 1) != end - p - 2 || end - p > 0x7f) return false;
  let at = p + 2;
  if (at < end && load<u8>(at) == 0x08) at += load<u8>(at, 1) < 0x80 ? 2 : 128;
  if (at < end && load<u8>(at) == 0x18) at += refBytes(at + 1);
  if (at < end && load<u8>(at) == 0x20) at += refBytes(at + 1);
  return at == end;
}

/** Bytes of a tag and its varint of one or two bytes; more than any message has for a longer one. */
// @ts-ignore: decorator
@inline
function refBytes(p: usize): usize {
  if (load<u8>(p) < 0x80) return 2;
  return load<u8>(p, 1) < 0x80 ? 3 : 128;
}

/** Checks any fields of a TimeSeries. Histograms and exemplars are checked when they are decoded. */
function checkFields(p: usize, end: usize): bool {
  while (p < end) {
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    const field = tag >>> 3;
    if (field > 6 || tag == TAG_REF || tag == TAG_CREATED) {
      p = skipField(tag, p, end);
      if (p == 0) return false;
      continue;
    }
    if ((tag & 7) != 2 || field == 6) return false;
    p = readLength(p, end);
    if (p == 0) return false;
    const next = p + <usize>varint();
    if (tag == TAG_REFS && !checkRefs(p, next)) return false;
    if (tag == TAG_SAMPLE && !isPlainSample(p - 2, next) && !checkSample(p, next)) return false;
    if (tag == TAG_METADATA && !checkMetadata(p, next)) return false;
    p = next;
  }
  return true;
}

/** Checks a packed list of varints: most are of one or two bytes, so 16 bytes at a time rarely have two high bits in a row. */
function checkRefs(p: usize, end: usize): bool {
  if (p == end) return true;
  if (load<u8>(end - 1) >= 0x80) return false;
  // Without two continued bytes side by side no varint is longer than two bytes.
  let at = p;
  while (at < end) {
    // What stands behind the list says nothing.
    const high = <u32>i8x16.bitmask(v128.load(at)) & ((<u32>1 << <u32>min<usize>(end - at, 16)) - 1);
    if ((high & (high >>> 1)) != 0) break;
    // One byte of overlap, so that a pair across the border is seen.
    at += 15;
  }
  if (at >= end) return true;
  while (p < end) {
    p = readVarint(p, end);
    if (p == 0) return false;
  }
  return true;
}

function checkSample(p: usize, end: usize): bool {
  while (p < end) {
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    const field = tag >>> 3;
    if (field == 1 && tag != TAG_SAMPLE_VALUE) return false;
    if ((field == 2 && tag != TAG_SAMPLE_TIME) || (field == 3 && tag != TAG_SAMPLE_START)) return false;
    p = skipField(tag, p, end);
    if (p == 0) return false;
  }
  return true;
}

function checkMetadata(p: usize, end: usize): bool {
  while (p < end) {
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    const field = tag >>> 3;
    if ((field == 1 || field == 3 || field == 4) && (tag & 7) != 0) return false;
    p = skipField(tag, p, end);
    if (p == 0) return false;
  }
  return true;
}

// ---- second walk: store

function storeRequest(): u32 {
  const body = <usize>load<u32>(SB_BODY);
  const end = body + load<u32>(SB_RESULT, RESULT_BODY_BYTES);
  let p = body + load<u32>(SB_RESULT, RESULT_RESUME);
  while (p < end) {
    // A replay passes over samples: those of the short way are not looked at one by one.
    if (load<u32>(SB_VERDICT_GIVEN) == 0) p = storePlain(p, end);
    if (p >= end) break;
    const field = p;
    p = readTag(p, end);
    const tag = <u32>varint();
    if (tag != TAG_TIME_SERIES) {
      p = skipField(tag, p, end);
      continue;
    }
    if (load<u32>(SB_RESULT, RESULT_ODD) == ODD_SERIES_MAX) {
      store<u32>(SB_RESULT, <u32>(field - body), RESULT_RESUME);
      return STATUS_ODD_FULL;
    }
    p = readLength(p, end);
    const next = p + <usize>varint();
    storeSeries(p, next);
    p = next;
  }
  return STATUS_DONE;
}

/** As in 1.0: the series that the first walk found, with one plain sample. */
function storePlain(p: usize, end: usize): usize {
  return storeRun(p, end, TAG_TIME_SERIES);
}

function storeSeries(start: usize, end: usize): void {
  count(RESULT_TIME_SERIES, 1);
  const i = load<u32>(SB_RESULT, RESULT_ITEM);
  store<u32>(SB_RESULT, i + 1, RESULT_ITEM);
  if (start == end || load<u8>(start) != <u8>TAG_REFS) {
    odd(0, start, end);
    return;
  }
  const refs = readLength(start + 1, end);
  const rest = refs + <usize>varint();
  if (i < load<u32>(SB_ITEM_COUNT)) {
    const id = load<u32>(<usize>load<u32>(SB_ITEMS) + i * ITEM_BYTES) & 0x0fffffff;
    if (id != 0) {
      storeKnown(id, start, refs, rest, end);
      return;
    }
  }
  storeUnresolved(start, refs, rest, end);
}

function storeUnresolved(start: usize, refs: usize, rest: usize, end: usize): void {
  const previous = recordOf(load<u32>(SB_RESULT, RESULT_PREVIOUS));
  const guess = load<u32>(previous, REC_NEXT);
  const stamped = load<u32>(SB_STAMP_BYTES);
  if (guess != 0 && matches(recordOf(guess), refs, rest, stamped)) {
    storeKnown(guess, start, refs, rest, end);
    return;
  }
  const input = <usize>load<u32>(SB_LABEL_INPUT);
  const bytes = writeLabels(refs, rest);
  const n = bytes == 0 ? -1 : labelsParse(input, input + bytes, previous);
  if (n < 0) {
    odd(0, start, end);
    return;
  }
  const id = identityFind(load<u32>(labelEntry(n), LABEL_HASH), input, input + bytes, stamped);
  if (id != 0) storeKnown(id, start, refs, rest, end);
  else storeNew(n, start, refs, rest, end);
}

function storeKnown(id: u32, start: usize, refs: usize, rest: usize, end: usize): void {
  link(id);
  // One plain sample, with metadata behind it or nothing.
  const sampleEnd = rest + 2 + load<u8>(rest, 1);
  if (sampleEnd <= end && isPlainSample(rest, sampleEnd)) {
    if (sampleEnd == end) {
      storeSample(id, start, end, plainTime(rest, sampleEnd), plainBits(rest), 0);
      return;
    }
    const bytes = <u32>load<u8>(sampleEnd, 1);
    if (load<u8>(sampleEnd) == <u8>TAG_METADATA && bytes < 0x80 && sampleEnd + 2 + bytes == end) {
      storeSample(id, start, end, plainTime(rest, sampleEnd), plainBits(rest), 0);
      noteMetadata(refs, rest, sampleEnd + 1);
      return;
    }
  }
  if (samplesIn(refs, rest, end) == ODD_FIELDS) odd(id, start, end);
  else storeFields(id, start, rest, end);
}

function storeNew(n: u32, start: usize, refs: usize, rest: usize, end: usize): void {
  const samples = samplesIn(refs, rest, end);
  if (samples == ODD_FIELDS) {
    odd(0, start, end);
    return;
  }
  // A series is made at its first sample; metadata alone leaves no trace in the store.
  if (samples == 0) return;
  if (load<u32>(SB_VERDICT_GIVEN) != 0 && passesOver(samples)) return;
  const id = seriesCreate(n);
  if (id == SERIES_LIMIT) {
    count(RESULT_OUTCOMES + OUTCOME_SERIES_LIMIT * 4, samples);
    noteRefused(samples);
    refuse(start, end, OUTCOME_SERIES_LIMIT, 0);
    return;
  }
  count(RESULT_CREATED, 1);
  if (load<u32>(SB_STAMP_BLOB) == 0) stampResolve();
  link(id);
  storeFields(id, start, rest, end);
}

/** Number of samples, or ODD_FIELDS if there is more than samples and metadata. Metadata is noted on the way. */
function samplesIn(refs: usize, rest: usize, end: usize): u32 {
  let p = rest;
  let samples: u32 = 0;
  let isOdd = false;
  while (p < end) {
    p = readTag(p, end);
    const tag = <u32>varint();
    const field = tag >>> 3;
    if (tag == TAG_SAMPLE) samples++;
    // A message of two bytes of length is none that a sender writes.
    else if (tag == TAG_METADATA && load<u8>(p) < 0x80) noteMetadata(refs, rest, p);
    else if (field <= 6) isOdd = true;
    p = skipField(tag, p, end);
  }
  return isOdd ? ODD_FIELDS : samples;
}

function storeFields(id: u32, start: usize, p: usize, end: usize): void {
  while (p < end) {
    p = readTag(p, end);
    const tag = <u32>varint();
    if (tag != TAG_SAMPLE) {
      p = skipField(tag, p, end);
      continue;
    }
    p = readLength(p, end);
    const next = p + <usize>varint();
    storeWritten(id, start, end, p, next);
    p = next;
  }
}

/** A sample in any form: fields in any order, several times (the last counts), or not at all (zero). */
function storeWritten(id: u32, start: usize, end: usize, p: usize, sampleEnd: usize): void {
  let bits: i64 = 0;
  let time: i64 = 0;
  let from: i64 = 0;
  while (p < sampleEnd) {
    p = readTag(p, sampleEnd);
    const tag = <u32>varint();
    if (tag == TAG_SAMPLE_VALUE) {
      bits = load<i64>(p);
      p += 8;
    } else if (tag == TAG_SAMPLE_TIME || tag == TAG_SAMPLE_START) {
      p = readVarint(p, sampleEnd);
      if (tag == TAG_SAMPLE_TIME) time = <i64>varint();
      else from = <i64>varint();
    } else p = skipField(tag, p, sampleEnd);
  }
  storeSample(id, start, end, time, bits, from);
}

// @ts-ignore: decorator
@inline
function storeSample(id: u32, start: usize, end: usize, time: i64, bits: i64, from: i64): void {
  if (load<u32>(SB_VERDICT_GIVEN) != 0 && passesOver(1)) return;
  const record = recordOf(id);
  const outcome =
    from == 0 ? append(record, <f64>time, bits) : appendBeside(record, <f64>time, bits, <f64>from);
  count(RESULT_OUTCOMES + (outcome << 2), 1);
  if (outcome > <u32>OUTCOME_DUPLICATE) refuse(start, end, outcome, <f64>time);
}

/** Makes a series the predicted successor of the one before. */
// @ts-ignore: decorator
@inline
function link(id: u32): void {
  const previous = load<u32>(SB_RESULT, RESULT_PREVIOUS);
  const record = recordOf(previous);
  // Record 0 is nobody's; writing there is harmless and saves a branch on the first series of a connection.
  if (load<u32>(record, REC_NEXT) != id) store<u32>(record, previous == 0 ? 0 : id, REC_NEXT);
  store<u32>(SB_RESULT, id, RESULT_PREVIOUS);
}

// @ts-ignore: decorator
@inline
function count(what: usize, n: u32): void {
  store<u32>(SB_RESULT + what, load<u32>(SB_RESULT + what) + n);
}

function refuse(start: usize, end: usize, outcome: u32, time: f64): void {
  if (outcome != OUTCOME_SERIES_LIMIT) noteRefused(1);
  const n = load<u32>(SB_RESULT, RESULT_REFUSED);
  if (n == REFUSED_MAX) return;
  store<u32>(SB_RESULT, n + 1, RESULT_REFUSED);
  const at = SB_REFUSED + n * REFUSED_BYTES;
  store<u32>(at, <u32>(start - <usize>load<u32>(SB_BODY)));
  store<u32>(at, <u32>(end - start), 4);
  store<u32>(at, outcome, 8);
  store<f64>(at, time, 16);
}

function odd(id: u32, start: usize, end: usize): void {
  const n = load<u32>(SB_RESULT, RESULT_ODD);
  store<u32>(SB_RESULT, n + 1, RESULT_ODD);
  const at = SB_ODD + n * ODD_SERIES_BYTES;
  store<u32>(at, <u32>(start - <usize>load<u32>(SB_BODY)));
  store<u32>(at, <u32>(end - start), 4);
  store<u32>(at, id, 8);
}
