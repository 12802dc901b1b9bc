/**
 * Remote-write 1.0 in the kernel: from a compressed body to samples in their series.
 *
 * Two walks. The first checks every length of the body before anything is stored (a body that cannot be decoded leaves
 * no trace), and on the way looks up the series that are known: their label bytes are equal to bytes that were checked
 * once, so they need no check. The second walk trusts the structure, makes what is new, and appends.
 *
 * The successor link: after series A a sender sends B again, so B is first looked for behind A, by one compare. Each
 * connection remembers where it left off.
 *
 * What is not plain (labels in another form than the canonical one, native histograms, exemplars) goes on the odd
 * list, for TypeScript to decode (../decode.ts).
 * Source of the messages: prometheus/prometheus, prompb/remote.proto and prompb/types.proto.
 */
import {
  CONNECTIONS,
  ITEM_BYTES,
  ITEM_GENERAL,
  ITEM_PLAIN,
  ITEM_UNRESOLVED,
  ITEMS_MAX,
  ODD_BYTES,
  ODD_MAX,
  OUTCOME_DUPLICATE,
  OUTCOME_SERIES_LIMIT,
  OUTCOME_STORED,
  PERIOD_SAMPLES,
  REC_FLAGS,
  REC_NEXT,
  RECORD_BYTES,
  REFUSED_BYTES,
  REFUSED_MAX,
  RESULT_BODY_BYTES,
  RESULT_CONNECTION,
  RESULT_CREATED,
  RESULT_EXEMPLARS,
  RESULT_ITEM,
  RESULT_METADATA,
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
  SB_LATEST_MS,
  SB_NEWEST_MS,
  SB_ODD,
  SB_OLDEST_MS,
  SB_PERIOD,
  SB_RECORDS,
  SB_REFUSED,
  SB_RESULT,
  SB_SAMPLES_APPENDED,
  SB_STAMP_BLOB,
  SB_STAMP_BYTES,
  SB_UNKNOWN,
  SB_VERDICT_GIVEN,
  SERIES_LIMIT,
  STATUS_DONE,
  STATUS_ODD_FULL,
  STATUS_PROTOBUF,
  STATUS_SNAPPY_TOO_LARGE,
} from '../../../tsdb/kernel/layout';
import { append, appendAny } from '../../../tsdb/kernel/assembly/append';
import { pushRegular, regularFrom, regularSpan } from '../../../tsdb/kernel/assembly/chunk';
import { LABEL_HASH, LABEL_WIRE, labelEntry } from '../../../tsdb/kernel/assembly/labels';
import { noteRefused, passesOver, resetVerdict } from '../../../tsdb/kernel/assembly/verdict';
import { openPeriod, periodAt } from '../../../tsdb/kernel/assembly/period';
import {
  identityFind,
  isLive,
  labelsMatch,
  labelsParse,
  recordOf,
  seriesCreate,
  stampedMatch,
} from '../../../tsdb/kernel/assembly/series';
import { stampResolve } from '../../../tsdb/kernel/assembly/stamp';

import { ANY_TIME, isPlainSample, isPlainSampleOf, plainBits, plainTime, plainTimeBytes, plainTimeBytesOfSix } from './sample.as';
import { SNAPPY_SLACK, snappyDecode } from './snappy.as';
import { noteMetadata } from './symbols.as';
import { readLength, readTag, readVarint, skipField, varint } from './wire.as';

const TAG_TIME_SERIES: u32 = 0x0a;
const TAG_METADATA: u32 = 0x1a;
const TAG_LABEL: u32 = 0x0a;
const TAG_SAMPLE: u32 = 0x12;
const TAG_EXEMPLAR: u32 = 0x1a;
const TAG_HISTOGRAM: u32 = 0x22;
const TAG_NAME: u32 = 0x0a;
const TAG_VALUE: u32 = 0x12;
const TAG_SAMPLE_VALUE: u32 = 0x09;
const TAG_SAMPLE_TIME: u32 = 0x10;

/** After so many unknown series in a row the first walk only checks: they are being created. */
export const UNKNOWN_IN_A_ROW: u32 = 4;
const MALFORMED: u32 = 0xffffffff;

// ---- the door

/** Decodes, checks and stores a body of n compressed bytes that were written to SB_IN. A STATUS_*. */
export function ingest(n: u32, connection: u32): u32 {
  memory.fill(SB_RESULT, 0, 256);
  resetVerdict();
  stampResolve();
  if (n > load<u32>(SB_IN_BYTES_MAX)) return STATUS_SNAPPY_TOO_LARGE;
  const body = <usize>load<u32>(SB_BODY);
  const status = snappyDecode(load<u32>(SB_IN), n, body, load<u32>(SB_BODY_BYTES_MAX), SB_RESULT + RESULT_BODY_BYTES);
  if (status != STATUS_DONE) return status;
  const bytes = load<u32>(SB_RESULT, RESULT_BODY_BYTES);
  memory.fill(body + bytes, 0, SNAPPY_SLACK);
  const slot = SB_CONNECTIONS + ((connection & (CONNECTIONS - 1)) << 2);
  store<u32>(SB_RESULT, connection & (CONNECTIONS - 1), RESULT_CONNECTION);
  // The series that this connection wrote last may be gone; then nothing must be written into its record.
  const last = load<u32>(slot);
  const previous = isLive(recordOf(last)) ? last : 0;
  store<u32>(SB_RESULT, previous, RESULT_PREVIOUS);
  if (!checkBody(body, body + bytes, previous)) return STATUS_PROTOBUF;
  return ingestMore();
}

/** Goes on after STATUS_ODD_FULL, once the odd list was read. */
export function ingestMore(): u32 {
  store<u32>(SB_RESULT, 0, RESULT_ODD);
  const before = load<u32>(SB_RESULT, RESULT_OUTCOMES + OUTCOME_STORED * 4);
  const status = storeBody();
  const stored = load<u32>(SB_RESULT, RESULT_OUTCOMES + OUTCOME_STORED * 4) - before;
  if (stored != 0) noteStored(stored);
  store<u32>(SB_CONNECTIONS + (load<u32>(SB_RESULT, RESULT_CONNECTION) << 2), load<u32>(SB_RESULT, RESULT_PREVIOUS));
  return status;
}

/** Counts stored samples in all, and for the period that they most likely belong to. */
export function noteStored(count: u32): void {
  store<f64>(SB_SAMPLES_APPENDED, load<f64>(SB_SAMPLES_APPENDED) + <f64>count);
  const slot = openPeriod(periodAt(load<f64>(SB_NEWEST_MS)));
  store<f64>(slot, load<f64>(slot, PERIOD_SAMPLES) + <f64>count, PERIOD_SAMPLES);
}

// ---- first walk: check, and look up what is known

function checkBody(start: usize, end: usize, previous: u32): bool {
  store<u32>(SB_ITEM_COUNT, 0);
  store<u32>(SB_UNKNOWN, 0);
  const items = <usize>load<u32>(SB_ITEMS);
  const stamped = load<u32>(SB_STAMP_BYTES);
  let p = start;
  while (p < end) {
    // Items stand for the first so many series: once one has been left out, there are no more.
    if (load<u32>(SB_UNKNOWN) < UNKNOWN_IN_A_ROW) {
      const count = load<u32>(SB_ITEM_COUNT);
      p = stamped == 0 ? checkPlain(p, end, previous) : checkPlainStamped(p, end, previous);
      const after = load<u32>(SB_ITEM_COUNT);
      if (after != count) {
        previous = load<u32>(items + (after - 1) * ITEM_BYTES) & 0x0fffffff;
        store<u32>(SB_UNKNOWN, 0);
      }
      if (p >= end) break;
    }
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    if (tag == TAG_TIME_SERIES) {
      p = readLength(p, end);
      if (p == 0) return false;
      const next = p + <usize>varint();
      previous = checkSeries(p, next, previous);
      if (previous == MALFORMED) return false;
      p = next;
    } else {
      // Field 1 in any other wire type is malformed, and so is metadata that is not a message.
      if (tag >>> 3 == 1 || (tag >>> 3 == 3 && tag != TAG_METADATA)) return false;
      p = skipField(tag, p, end);
      if (p == 0) return false;
    }
  }
  return true;
}

/**
 * Notes items for series from p on as long as they are what nearly all are: the predicted one, with one plain sample. What
 * comes next is somebody else's; its item says which series was predicted, if it was compared. Nothing rare stands in this
 * function: what it remembers stays in registers.
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
  const records = <usize>load<u32>(SB_RECORDS);
  const items = <usize>load<u32>(SB_ITEMS);
  const itemsEnd = items + ITEMS_MAX * ITEM_BYTES;
  let item = items + load<u32>(SB_ITEM_COUNT) * ITEM_BYTES;
  let record = records + previous * RECORD_BYTES;
  let timeBytes = ANY_TIME;
  let guess: u32 = 0;
  let behind: usize = 0;
  while (p < end && item < itemsEnd) {
    guess = 0;
    const field = seriesField(p, TAG_TIME_SERIES);
    if (field == 0 || field >>> 2 > <u32>(end - p)) break;
    const next = p + (field >>> 2);
    guess = load<u32>(record, REC_NEXT);
    record = records + guess * RECORD_BYTES;
    behind = stamped == 0 ? labelsMatch(record, p + (field & 3), next) : stampedMatch(record, p + (field & 3), next);
    if (behind == 0) break;
    // Most samples are as long as the one before, and of its time.
    if (!isPlainSampleOf(behind, next, timeBytes)) {
      if (!isPlainSample(behind, next)) break;
      timeBytes = plainTimeBytesOfSix(behind, next);
    }
    store<u32>(item, guess | (ITEM_PLAIN << 28));
    store<u32>(item, <u32>behind, 4);
    item += ITEM_BYTES;
    p = next;
  }
  store<u32>(SB_ITEM_COUNT, <u32>(item - items) / ITEM_BYTES);
  if (p < end && item < itemsEnd) {
    store<u32>(item, guess);
    store<u32>(item, <u32>behind, 4);
  }
  return p;
}

/**
 * Bytes of a TimeSeries field whose length takes one byte or two, tag and length included, times 4, and of tag and length;
 * 0 for any other field.
 */
// @ts-ignore: decorator
@inline
export function seriesField(p: usize, tag: u32): u32 {
  const head = load<u32>(p);
  // The tag, then a byte without its high bit, or one with it and one without that is not zero.
  if ((head & 0x80ff) == tag) return ((2 + ((head >>> 8) & 0x7f)) << 2) | 2;
  if ((head & 0x8080ff) != (0x008000 | tag)) return 0;
  return ((3 + ((head >>> 8) & 0x7f) + ((head >>> 9) & 0x3f80)) << 2) | 3;
}

/** Checks one TimeSeries; the series that the next one is predicted from, or MALFORMED. */
function checkSeries(p: usize, end: usize, previous: u32): u32 {
  const items = load<u32>(SB_ITEM_COUNT);
  const unknown = load<u32>(SB_UNKNOWN);
  if (items == ITEMS_MAX || unknown >= UNKNOWN_IN_A_ROW) return checkLabels(p, end) ? previous : MALFORMED;
  const item = <usize>load<u32>(SB_ITEMS) + items * ITEM_BYTES;
  store<u32>(SB_ITEM_COUNT, items + 1);
  const id = known(previous, p, end, item);
  if (id == 0) {
    store<u32>(SB_UNKNOWN, unknown + 1);
    return checkLabels(p, end) ? previous : MALFORMED;
  }
  if (unknown != 0) store<u32>(SB_UNKNOWN, 0);
  return checkRest(item, p, end) ? id : MALFORMED;
}

// @ts-ignore: decorator
@inline
function matches(record: usize, p: usize, end: usize, stamped: u32): usize {
  return stamped == 0 ? labelsMatch(record, p, end) : stampedMatch(record, p, end);
}

/**
 * Looks a series up by its label bytes, without making it; notes id and the end of its labels in the item, which says what came
 * of comparing it with the series that was predicted.
 */
function known(previous: u32, p: usize, end: usize, item: usize): u32 {
  const guess = load<u32>(recordOf(previous), REC_NEXT);
  if (guess != 0) {
    const compared = load<u32>(item) == guess;
    const behind = compared ? <usize>load<u32>(item, 4) : matches(recordOf(guess), p, end, load<u32>(SB_STAMP_BYTES));
    if (behind != 0) {
      store<u32>(item, guess);
      store<u32>(item, <u32>behind, 4);
      return guess;
    }
  }
  store<u64>(item, ITEM_UNRESOLVED);
  return knownByHash(p, end, item, previous);
}

function knownByHash(p: usize, end: usize, item: usize, previous: u32): u32 {
  const n = labelsParse(p, end, recordOf(previous));
  if (n < 0) return 0;
  const behind = labelEntry(n);
  const id = identityFind(load<u32>(behind, LABEL_HASH), p, end, load<u32>(SB_STAMP_BYTES));
  store<u32>(item, id);
  store<u32>(item, load<u32>(behind, LABEL_WIRE), 4);
  return id;
}

/** Checks what follows the labels of a known series, and says in the item whether it is one plain sample. */
// @ts-ignore: decorator
@inline
function checkRest(item: usize, start: usize, end: usize): bool {
  const p = <usize>load<u32>(item, 4);
  if (isPlainSample(p, end)) {
    store<u32>(item, load<u32>(item) | (ITEM_PLAIN << 28));
    return true;
  }
  store<u32>(item, load<u32>(item) | (ITEM_GENERAL << 28));
  return checkFields(p, end);
}

/** Checks a whole TimeSeries. */
function checkLabels(p: usize, end: usize): bool {
  // The common form first: labels with lengths of one byte, names before values.
  while (p + 2 <= end && load<u8>(p) == <u8>TAG_LABEL) {
    const length = <usize>load<u8>(p, 1);
    const labelEnd = p + 2 + length;
    if (length >= 0x80 || length < 4 || labelEnd > end || load<u8>(p, 2) != <u8>TAG_NAME) break;
    const value = p + 4 + load<u8>(p, 3);
    if (value + 2 > labelEnd || load<u8>(value) != <u8>TAG_VALUE || value + 2 + load<u8>(value, 1) != labelEnd) break;
    p = labelEnd;
  }
  return isPlainSample(p, end) || checkFields(p, end);
}

/** Checks any fields of a TimeSeries. */
function checkFields(p: usize, end: usize): bool {
  while (p < end) {
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    const field = tag >>> 3;
    if (field > 4) {
      p = skipField(tag, p, end);
      if (p == 0) return false;
      continue;
    }
    if ((tag & 7) != 2) return false;
    p = readLength(p, end);
    if (p == 0) return false;
    const next = p + <usize>varint();
    if (field == 1 && !checkMessage(p, next, TAG_NAME, TAG_VALUE)) return false;
    if (field == 2 && !checkMessage(p, next, TAG_SAMPLE_VALUE, TAG_SAMPLE_TIME)) return false;
    p = next;
  }
  return true;
}

/** Checks a message whose fields 1 and 2 have these tags. */
function checkMessage(p: usize, end: usize, first: u32, second: u32): bool {
  while (p < end) {
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    if ((tag >>> 3 == 1 && tag != first) || (tag >>> 3 == 2 && tag != second)) return false;
    p = skipField(tag, p, end);
    if (p == 0) return false;
  }
  return true;
}

// ---- second walk: store

function storeBody(): u32 {
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
      if (tag == TAG_METADATA) count(RESULT_METADATA, 1);
      p = skipField(tag, p, end);
      continue;
    }
    if (load<u32>(SB_RESULT, RESULT_ODD) == ODD_MAX) {
      store<u32>(SB_RESULT, <u32>(field - body), RESULT_RESUME);
      return STATUS_ODD_FULL;
    }
    p = readLength(p, end);
    const next = p + <usize>varint();
    storeTimeSeries(p, next);
    p = next;
  }
  return STATUS_DONE;
}

/** Stores series from p on as long as they are what nearly all are: found in the first walk, with one plain sample. */
function storePlain(p: usize, end: usize): usize {
  return storeRun(p, end, TAG_TIME_SERIES);
}

/**
 * The tag is that of a TimeSeries; in 2.0 metadata may stand behind the sample. What nearly all samples are stands in the inner
 * loop, alone; one that is not is appended outside of it.
 */
// @ts-ignore: decorator
@inline
export function storeRun(start: usize, end: usize, tag: u32): usize {
  const records = <usize>load<u32>(SB_RECORDS);
  const first = <usize>load<u32>(SB_ITEMS) + load<u32>(SB_RESULT, RESULT_ITEM) * ITEM_BYTES;
  const itemsEnd = <usize>load<u32>(SB_ITEMS) + load<u32>(SB_ITEM_COUNT) * ITEM_BYTES;
  const latest = load<f64>(SB_LATEST_MS);
  let p = start;
  let item = first;
  let record = records + load<u32>(SB_RESULT, RESULT_PREVIOUS) * RECORD_BYTES;
  let sample: usize = 0;
  let next: usize = 0;
  let time: f64 = 0;
  let others: u32 = 0;
  let counted: u32 = 0;
  while (true) {
    const oldest = load<f64>(SB_OLDEST_MS);
    const from = regularFrom();
    const span = regularSpan(from);
    const period = <u32>load<u16>(SB_PERIOD);
    let newest = load<f64>(SB_NEWEST_MS);
    let timeBytes: u64 = 0;
    let isRegular = true;
    while (p < end && item < itemsEnd) {
      const found = load<u32>(item);
      sample = <usize>load<u32>(item, 4);
      const sampleEnd = sample + 2 + load<u8>(sample, 1);
      if (tag == TAG_TIME_SERIES) {
        if (found >>> 28 != ITEM_PLAIN || load<u8>(p) != <u8>tag) break;
        next = sampleEnd;
      } else {
        // What is plain was found plain by the first walk, so this is a TimeSeries unless its length is a long one.
        const field = seriesField(p, tag);
        if (field == 0 || found >>> 28 != ITEM_PLAIN) break;
        next = p + (field >>> 2);
        if (sampleEnd != next) noteMetadata(p + (field & 3) + 2, sample, sampleEnd + 1);
      }
      const id = found & 0x0fffffff;
      // Record 0 is nobody's; writing there is harmless and saves a branch on the first series of a connection.
      if (load<u32>(record, REC_NEXT) != id) store<u32>(record, record == records ? 0 : id, REC_NEXT);
      record = records + id * RECORD_BYTES;
      if (!isPlainSampleOf(sample, sampleEnd, timeBytes)) {
        time = <f64>plainTime(sample, sampleEnd);
        isRegular = time <= latest && time > oldest;
        if (!isRegular) break;
        timeBytes = plainTimeBytes(sample);
      }
      isRegular = load<u8>(record, REC_FLAGS) == 0 && pushRegular(record, time, plainBits(sample), from, span, period);
      if (!isRegular) break;
      if (time > newest) {
        newest = time;
        store<f64>(SB_NEWEST_MS, time);
      }
      item += ITEM_BYTES;
      p = next;
    }
    if (isRegular) break;
    const outcome = appendAny(record, time, plainBits(sample));
    if (outcome != OUTCOME_STORED) {
      if (outcome > <u32>OUTCOME_DUPLICATE) {
        // The verdict numbers samples by what was counted before them.
        const stored = <u32>(item - first) / ITEM_BYTES - others;
        count(RESULT_OUTCOMES + OUTCOME_STORED * 4, stored - counted);
        counted = stored;
      }
      const message = readLength(p + 1, end);
      noteOutcome(message, next, outcome, time);
      others++;
    }
    item += ITEM_BYTES;
    p = next;
  }
  const done = <u32>(item - first) / ITEM_BYTES;
  count(RESULT_ITEM, done);
  count(RESULT_TIME_SERIES, done);
  count(RESULT_OUTCOMES + OUTCOME_STORED * 4, done - others - counted);
  store<u32>(SB_RESULT, <u32>(record - records) / RECORD_BYTES, RESULT_PREVIOUS);
  return p;
}

// @ts-ignore: decorator
@inline
function storeTimeSeries(start: usize, end: usize): void {
  const i = load<u32>(SB_RESULT, RESULT_ITEM);
  store<u32>(SB_RESULT, i + 1, RESULT_ITEM);
  count(RESULT_TIME_SERIES, 1);
  let id: u32 = 0;
  if (i < load<u32>(SB_ITEM_COUNT)) {
    const item = <usize>load<u32>(SB_ITEMS) + i * ITEM_BYTES;
    const found = load<u32>(item);
    id = found & 0x0fffffff;
    const p = <usize>load<u32>(item, 4);
    if (id != 0 && found >>> 28 == ITEM_PLAIN) {
      follow(id);
      storeSample(id, start, end, plainTime(p, end), load<i64>(p, 3));
      return;
    }
    if (id != 0) {
      storeRest(id, start, p, end);
      return;
    }
  }
  storeUnresolved(start, end);
}

/** Makes a series the predicted successor of the one before. */
// @ts-ignore: decorator
@inline
function follow(id: u32): void {
  const previous = load<u32>(SB_RESULT, RESULT_PREVIOUS);
  link(recordOf(previous), previous, id);
  store<u32>(SB_RESULT, id, RESULT_PREVIOUS);
}

// @ts-ignore: decorator
@inline
function link(record: usize, previous: u32, id: u32): void {
  // Record 0 is nobody's; writing there is harmless and saves a branch on the first series of a connection.
  if (load<u32>(record, REC_NEXT) != id) store<u32>(record, previous == 0 ? 0 : id, REC_NEXT);
}

// @ts-ignore: decorator
@inline
function count(what: usize, n: u32): void {
  store<u32>(SB_RESULT + what, load<u32>(SB_RESULT + what) + n);
}

// @ts-ignore: decorator
@inline
function storeSample(id: u32, start: usize, end: usize, time: i64, bits: i64): void {
  if (load<u32>(SB_VERDICT_GIVEN) != 0 && passesOver(1)) return;
  noteOutcome(start, end, append(recordOf(id), <f64>time, bits), <f64>time);
}

function noteOutcome(start: usize, end: usize, outcome: u32, time: f64): void {
  count(RESULT_OUTCOMES + (outcome << 2), 1);
  if (outcome > <u32>OUTCOME_DUPLICATE) refuse(start, end, outcome, time);
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

function odd(start: usize, end: usize): void {
  const n = load<u32>(SB_RESULT, RESULT_ODD);
  store<u32>(SB_RESULT, n + 1, RESULT_ODD);
  const at = SB_ODD + n * ODD_BYTES;
  store<u32>(at, <u32>(start - <usize>load<u32>(SB_BODY)));
  store<u32>(at, <u32>(end - start), 4);
}

/** A series that the first walk did not find or did not look for. */
function storeUnresolved(start: usize, end: usize): void {
  const previous = recordOf(load<u32>(SB_RESULT, RESULT_PREVIOUS));
  const guess = load<u32>(previous, REC_NEXT);
  const stamped = load<u32>(SB_STAMP_BYTES);
  const behind = guess == 0 ? 0 : matches(recordOf(guess), start, end, stamped);
  if (behind != 0) {
    storeRest(guess, start, behind, end);
    return;
  }
  const n = labelsParse(start, end, previous);
  if (n < 0) {
    odd(start, end);
    return;
  }
  const rest = <usize>load<u32>(labelEntry(n), LABEL_WIRE);
  const id = identityFind(load<u32>(labelEntry(n), LABEL_HASH), start, end, stamped);
  if (id != 0) storeRest(id, start, rest, end);
  else storeNew(n, start, rest, end);
}

function storeNew(n: u32, start: usize, rest: usize, end: usize): void {
  const samples = isPlainSample(rest, end) ? 1 : samplesIn(rest, end);
  if (samples == ODD_FIELDS) {
    odd(start, end);
    return;
  }
  // A series is made at its first sample; exemplars alone leave no trace.
  if (samples == 0) {
    storeFields(0, start, rest, end);
    return;
  }
  if (load<u32>(SB_VERDICT_GIVEN) != 0 && passesOver(samples)) return;
  const id = seriesCreate(n);
  if (id == SERIES_LIMIT) {
    count(RESULT_OUTCOMES + OUTCOME_SERIES_LIMIT * 4, samples);
    noteRefused(samples);
    refuse(start, end, OUTCOME_SERIES_LIMIT, 0);
    countExemplars(rest, end);
    return;
  }
  count(RESULT_CREATED, 1);
  if (load<u32>(SB_STAMP_BLOB) == 0) stampResolve();
  follow(id);
  storeFields(id, start, rest, end);
}

/** Stores what follows the labels of a series that exists. */
function storeRest(id: u32, start: usize, p: usize, end: usize): void {
  if (!isPlainSample(p, end) && samplesIn(p, end) == ODD_FIELDS) {
    odd(start, end);
    return;
  }
  follow(id);
  storeFields(id, start, p, end);
}

const ODD_FIELDS: u32 = 0xffffffff;

/** Number of samples, or ODD_FIELDS if there is a histogram, an exemplar or one more label. */
function samplesIn(p: usize, end: usize): u32 {
  let samples: u32 = 0;
  while (p < end) {
    p = readTag(p, end);
    const tag = <u32>varint();
    if (tag == TAG_LABEL || tag == TAG_HISTOGRAM || tag == TAG_EXEMPLAR) return ODD_FIELDS;
    if (tag == TAG_SAMPLE) samples++;
    p = skipField(tag, p, end);
  }
  return samples;
}

function storeFields(id: u32, start: usize, p: usize, end: usize): void {
  if (isPlainSample(p, end)) {
    storeSample(id, start, end, plainTime(p, end), load<i64>(p, 3));
    return;
  }
  while (p < end) {
    p = readTag(p, end);
    const tag = <u32>varint();
    if (tag == TAG_SAMPLE) {
      p = readLength(p, end);
      const next = p + <usize>varint();
      storeOddlyWritten(id, start, end, p, next);
      p = next;
    } else {
      if (tag == TAG_EXEMPLAR) count(RESULT_EXEMPLARS, 1);
      p = skipField(tag, p, end);
    }
  }
}

/** A sample in any form: fields in any order, several times (the last counts), or not at all (zero). */
function storeOddlyWritten(id: u32, start: usize, end: usize, p: usize, sampleEnd: usize): void {
  let bits: i64 = 0;
  let time: i64 = 0;
  while (p < sampleEnd) {
    p = readTag(p, sampleEnd);
    const tag = <u32>varint();
    if (tag == TAG_SAMPLE_VALUE) {
      bits = load<i64>(p);
      p += 8;
    } else if (tag == TAG_SAMPLE_TIME) {
      p = readVarint(p, sampleEnd);
      time = <i64>varint();
    } else p = skipField(tag, p, sampleEnd);
  }
  storeSample(id, start, end, time, bits);
}

function countExemplars(p: usize, end: usize): void {
  while (p < end) {
    p = readTag(p, end);
    const tag = <u32>varint();
    if (tag == TAG_EXEMPLAR) count(RESULT_EXEMPLARS, 1);
    p = skipField(tag, p, end);
  }
}
