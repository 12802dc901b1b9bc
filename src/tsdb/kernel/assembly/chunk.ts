/**
 * Chunks: the samples of a series, as a log that is read backwards from the record.
 *
 * The record holds the newest sample (time, bits), the interval before it, and an open run. An entry undoes one step:
 * it says what the sample before was. Payload first, header byte last, so that a reader comes upon the header first:
 *
 *     0x00..0x7f      same interval, value changed by header - 16
 *     0x80 | t<<4 | v t: change of the interval: 0 none, 1 i8, 2 i16, 3 i32;  v: change of the value (VALUE_*)
 *     0xd0            bits (i64), time (f64), interval (i32) of the sample before, as they are
 *     0xe0..0xff      header - 0xdf repeats: same interval, same value
 *
 *     [value payload] [exponent or XOR meta] [interval payload] [header]
 *
 * A class is taken only when undoing it gives the bits of the sample before back: lossless for every float64.
 * Cells are append-only; a reader with a copied record reads on undisturbed while the series grows. rhythm.ts reads the
 * same entries for their times alone.
 */
import {
  CELL_HEADER_BYTES,
  CELL_LARGE_BYTES,
  CELL_PREVIOUS,
  CELL_PREVIOUS_PERIOD,
  CELL_PREVIOUS_POS,
  CELL_SMALL_BYTES,
  PERIOD_NUMBER,
  REC_BITS,
  REC_CAP,
  REC_CELL,
  REC_CELL_PERIOD,
  REC_DELTA,
  REC_DELTA_MIN,
  REC_MODE,
  REC_PERIOD,
  REC_POS,
  REC_RUN,
  REC_SAMPLES,
  REC_TIME,
  SB_CURSOR,
  SB_FLOOR_MS,
  SB_PERIOD,
  SB_PERIOD_END_MS,
  SB_PERIOD_START_MS,
  SB_POWERS,
} from '../layout';
import { cellAllocate, isCellOf, isLivePeriod, notePeriod, periodAt, slotOf } from './period';

const RUN_MAX: u32 = 32;
export const RUN_HEADER: u32 = 0xdf;
export const ABSOLUTE_HEADER: u32 = 0xd0;
export const ABSOLUTE_BYTES: u32 = 21;
const SMALL_STEP: i32 = 16;

const VALUE_SAME: u32 = 0;
const VALUE_I8: u32 = 1; // 2 i16, 3 i24, 4 i32
const VALUE_4096_I8: u32 = 5; // 6 i16: memory sizes move by pages
const VALUE_CENT_I8: u32 = 7; // 8 i16, 9 i24: hundredths
const VALUE_MILLI_I8: u32 = 10; // 11 i16, 12 i24: thousandths
const VALUE_SCALED: u32 = 13; // i32 and the power of ten
export const VALUE_XOR: u32 = 14; // the bytes that differ and { trailing zero bytes:4, count:4 }

/** Mode of a series whose values are no short decimals: so many samples go straight to XOR before the next try. */
const GAVE_UP: u32 = 128;
const GIVE_UP_SAMPLES: u32 = 15;
const NO_FIT: i64 = i64.MIN_VALUE;
/** The stale marker. */
export const STALE: i64 = 0x7ff0000000000002;

// ---- writing

/** Where the times begin that `pushRegular` takes as those of the newest sample: in the period at hand and not out of retention. As bits. */
// @ts-ignore: decorator
@inline
export function regularFrom(): i64 {
  const isInPeriod = load<f64>(SB_FLOOR_MS) < load<f64>(SB_PERIOD_START_MS);
  return isInPeriod ? load<i64>(SB_PERIOD_START_MS) : load<i64>(SB_FLOOR_MS) + 1;
}

/** How many they are, as bits. Those of doubles are in order as they are, from zero on. */
// @ts-ignore: decorator
@inline
export function regularSpan(from: i64): u64 {
  const end = load<i64>(SB_PERIOD_END_MS);
  return load<i64>(SB_PERIOD_START_MS) < 0 || from < 0 || end <= from ? 0 : end - from;
}

/**
 * The short way of `push`, for what nearly all samples are: the interval of the one before, its value or a small whole number
 * more, its period, and room in the open cell. False, and nothing has changed, for any other. `from`, `span` and the period at
 * hand change with a call of `push`.
 */
// @ts-ignore: decorator
@inline
export function pushRegular(record: usize, timestamp: f64, bits: i64, from: i64, span: u64, period: u32): bool {
  const lastTime = load<i64>(record, REC_TIME);
  const delta = load<i32>(record, REC_DELTA);
  const samples = load<u32>(record, REC_SAMPLES);
  // Whole numbers, so the sum is exact where it matters, and equal times have equal bits.
  if (reinterpret<i64>(reinterpret<f64>(lastTime) + <f64>delta) != reinterpret<i64>(timestamp)) return false;
  if (<u64>(lastTime - from) >= span || delta <= 0 || samples <= 1) return false;
  if (<u32>load<u16>(record, REC_PERIOD) != period) return false;
  const lastBits = load<i64>(record, REC_BITS);
  const run = <u32>load<u8>(record, REC_RUN);
  if (bits == lastBits) {
    if (run == RUN_MAX) return false;
    store<u8>(record, run + 1, REC_RUN);
  } else {
    const value = reinterpret<f64>(bits);
    const difference = value - reinterpret<f64>(lastBits);
    const step = <i32>difference;
    const pos = <u32>load<u16>(record, REC_POS);
    const runBytes = <u32>(run != 0);
    if (<u32>(step + SMALL_STEP) >= 128 || <f64>step != difference) return false;
    if (reinterpret<i64>(value - <f64>step) != lastBits) return false;
    if (pos + runBytes >= <u32>load<u8>(record, REC_CAP) || <u32>load<u16>(record, REC_CELL_PERIOD) != period) return false;
    const at = <usize>load<u32>(record, REC_CELL) + pos;
    // The run's byte is written over at once if there is none.
    store<u8>(at, RUN_HEADER + run);
    store<u8>(at + runBytes, step + SMALL_STEP);
    store<u16>(record, pos + runBytes + 1, REC_POS);
    store<u8>(record, 0, REC_RUN);
    store<i64>(record, bits, REC_BITS);
  }
  store<f64>(record, timestamp, REC_TIME);
  store<u32>(record, samples + 1, REC_SAMPLES);
  return true;
}

/** Adds the newest sample of a series; false if no cell could be had, and then nothing has changed. */
export function push(record: usize, timestamp: f64, bits: i64, reserve: u32): bool {
  const samples = load<u32>(record, REC_SAMPLES);
  const lastTime = load<f64>(record, REC_TIME);
  if (samples == 0 || lastTime <= load<f64>(SB_FLOOR_MS)) {
    begin(record, timestamp, bits);
    return true;
  }
  // The entry to be written is the last sample's, so it belongs to the last sample's period.
  const samePeriod =
    lastTime >= load<f64>(SB_PERIOD_START_MS) &&
    lastTime < load<f64>(SB_PERIOD_END_MS) &&
    load<u16>(record, REC_PERIOD) == <u16>load<i32>(SB_PERIOD);
  if (!samePeriod && !turnPeriod(record, lastTime, reserve)) return false;
  const interval = timestamp - lastTime;
  const delta = <i32>interval;
  if (<f64>delta != interval) return pushAbsolute(record, timestamp, bits, reserve);
  const change = samples == 1 ? 0 : delta - load<i32>(record, REC_DELTA);
  const lastBits = load<i64>(record, REC_BITS);
  if (change == 0 && bits == lastBits) {
    const run = <u32>load<u8>(record, REC_RUN);
    if (run == RUN_MAX) {
      if (!flushRun(record, reserve)) return false;
      store<u8>(record, 1, REC_RUN);
    } else store<u8>(record, run + 1, REC_RUN);
  } else {
    if (load<u8>(record, REC_RUN) != 0 && !flushRun(record, reserve)) return false;
    if (!pushEntry(record, bits, lastBits, change, reserve)) return false;
  }
  if ((change != 0 || samples == 1) && delta < <i32>load<u16>(record, REC_DELTA_MIN)) store<u16>(record, delta, REC_DELTA_MIN);
  store<f64>(record, timestamp, REC_TIME);
  store<i64>(record, bits, REC_BITS);
  store<i32>(record, delta, REC_DELTA);
  store<u32>(record, samples + 1, REC_SAMPLES);
  return true;
}

/** First sample of a series, or the first after all others have expired. */
function begin(record: usize, timestamp: f64, bits: i64): void {
  store<f64>(record, timestamp, REC_TIME);
  store<i64>(record, bits, REC_BITS);
  store<i32>(record, 0, REC_DELTA);
  store<u32>(record, 0, REC_CELL);
  store<u16>(record, 0, REC_POS);
  store<u8>(record, 0, REC_CAP);
  store<u8>(record, 0, REC_RUN);
  store<u8>(record, 0, REC_MODE);
  store<u32>(record, 1, REC_SAMPLES);
  store<u16>(record, 0xffff, REC_DELTA_MIN);
  store<u16>(record, periodAt(timestamp), REC_PERIOD);
  notePeriod(timestamp);
}

/** Makes the record write for the period of `time`; an open run is closed in its own. */
function turnPeriod(record: usize, time: f64, reserve: u32): bool {
  const period = periodAt(time);
  if (load<u16>(record, REC_PERIOD) == <u16>period) return true;
  if (load<u8>(record, REC_RUN) != 0) {
    if (!isLivePeriod(load<u16>(record, REC_PERIOD))) store<u8>(record, 0, REC_RUN);
    else if (!flushRun(record, reserve)) return false;
  }
  store<u16>(record, period, REC_PERIOD);
  notePeriod(time);
  return true;
}

function flushRun(record: usize, reserve: u32): bool {
  const at = room(record, 1, reserve);
  if (at == 0) return false;
  store<u8>(at, RUN_HEADER + load<u8>(record, REC_RUN));
  store<u8>(record, 0, REC_RUN);
  return true;
}

/** After a gap of more than 24 days: the last sample as it is. */
function pushAbsolute(record: usize, timestamp: f64, bits: i64, reserve: u32): bool {
  if (load<u8>(record, REC_RUN) != 0 && !flushRun(record, reserve)) return false;
  const at = room(record, ABSOLUTE_BYTES, reserve);
  if (at == 0) return false;
  store<i64>(at, load<i64>(record, REC_BITS));
  store<f64>(at, load<f64>(record, REC_TIME), 8);
  store<i32>(at, load<i32>(record, REC_DELTA), 16);
  store<u8>(at, ABSOLUTE_HEADER, 20);
  store<f64>(record, timestamp, REC_TIME);
  store<i64>(record, bits, REC_BITS);
  store<i32>(record, 0, REC_DELTA);
  store<u32>(record, load<u32>(record, REC_SAMPLES) + 1, REC_SAMPLES);
  return true;
}

/** Writes the entry that leads from `bits` back to `lastBits` and undoes a change of the interval. */
function pushEntry(record: usize, bits: i64, lastBits: i64, change: i32, reserve: u32): bool {
  if (bits == lastBits) return put(record, VALUE_SAME, 0, 0, -1, change, reserve);
  const value = reinterpret<f64>(bits);
  const difference = value - reinterpret<f64>(lastBits);
  const step = <i32>difference;
  // Undone with the step, as a reader does it: a difference of -0 would be one thing here and another there.
  if (<f64>step == difference && reinterpret<i64>(value - <f64>step) == lastBits) {
    if (change == 0 && <u32>(step + SMALL_STEP) < 128) {
      const at = room(record, 1, reserve);
      if (at == 0) return false;
      store<u8>(at, step + SMALL_STEP);
      return true;
    }
    return putInteger(record, step, change, reserve);
  }
  return pushFraction(record, bits, lastBits, change, reserve);
}

function putInteger(record: usize, step: i32, change: i32, reserve: u32): bool {
  const bytes = bytesOf(step);
  if ((step & 4095) == 0 && bytes > 1) {
    const pages = step >> 12;
    const fewer = bytesOf(pages);
    if (fewer <= 2) return put(record, VALUE_4096_I8 + fewer - 1, pages, fewer, -1, change, reserve);
  }
  return put(record, VALUE_I8 + bytes - 1, step, bytes, -1, change, reserve);
}

function pushFraction(record: usize, bits: i64, lastBits: i64, change: i32, reserve: u32): bool {
  let mode = <u32>load<u8>(record, REC_MODE);
  if (mode < GAVE_UP) {
    if (mode != 0 && putScaled(record, mode, bits, lastBits, change, reserve)) return true;
    // Metrics are written with hundredths, thousandths, microseconds or nanoseconds; the rest is tried for luck.
    if (mode != 2 && putScaled(record, 2, bits, lastBits, change, reserve)) return true;
    if (mode != 3 && putScaled(record, 3, bits, lastBits, change, reserve)) return true;
    if (mode != 6 && putScaled(record, 6, bits, lastBits, change, reserve)) return true;
    if (mode != 9 && putScaled(record, 9, bits, lastBits, change, reserve)) return true;
    mode = GAVE_UP + GIVE_UP_SAMPLES;
  } else mode--;
  const difference = <u64>(bits ^ lastBits);
  const trailing = <u32>ctz<u64>(difference) >>> 3;
  const bytes = 8 - (<u32>clz<u64>(difference) >>> 3) - trailing;
  const written = put(record, VALUE_XOR, difference >>> (trailing << 3), bytes, (trailing << 4) | bytes, change, reserve);
  if (written) store<u8>(record, mode < GAVE_UP ? 0 : mode, REC_MODE);
  return written;
}

/** Writes the change in units of 10^-exponent if that is exact. */
function putScaled(record: usize, exponent: u32, bits: i64, lastBits: i64, change: i32, reserve: u32): bool {
  const step = scaledStep(exponent, bits, lastBits);
  if (step == NO_FIT) return false;
  const bytes = bytesOf(<i32>step);
  let written: bool;
  if (bytes <= 3 && exponent == 2) written = put(record, VALUE_CENT_I8 + bytes - 1, step, bytes, -1, change, reserve);
  else if (bytes <= 3 && exponent == 3) written = put(record, VALUE_MILLI_I8 + bytes - 1, step, bytes, -1, change, reserve);
  else written = put(record, VALUE_SCALED, step, 4, exponent, change, reserve);
  if (written) store<u8>(record, exponent, REC_MODE);
  return written;
}

function scaledStep(exponent: u32, bits: i64, lastBits: i64): i64 {
  const scale = load<f64>(SB_POWERS + (exponent << 3));
  const scaled = nearest<f64>(reinterpret<f64>(bits) * scale);
  const difference = scaled - nearest<f64>(reinterpret<f64>(lastBits) * scale);
  const step = <i32>difference;
  if (<f64>step != difference || unscale(reinterpret<f64>(bits), scale, step) != lastBits) return NO_FIT;
  return step;
}

// @ts-ignore: decorator
@inline
function bytesOf(n: i32): u32 {
  if (n == <i32>(<i8>n)) return 1;
  if (n == <i32>(<i16>n)) return 2;
  return (n << 8) >> 8 == n ? 3 : 4;
}

/** Writes an entry: value payload, extra byte (if not negative), interval payload, header. */
function put(record: usize, valueClass: u32, payload: u64, bytes: u32, extra: i32, change: i32, reserve: u32): bool {
  let timeClass: u32 = 0;
  let timeBytes: u32 = 0;
  if (change != 0) {
    timeBytes = bytesOf(change);
    if (timeBytes == 3) timeBytes = 4;
    timeClass = timeBytes == 4 ? 3 : timeBytes;
  }
  const extraBytes: u32 = extra < 0 ? 0 : 1;
  let at = room(record, bytes + extraBytes + timeBytes + 1, reserve);
  if (at == 0) return false;
  putBytes(at, payload, bytes);
  at += bytes;
  if (extra >= 0) store<u8>(at++, extra);
  putBytes(at, change, timeBytes);
  store<u8>(at + timeBytes, 0x80 | (timeClass << 4) | valueClass);
  return true;
}

// @ts-ignore: decorator
@inline
function putBytes(at: usize, payload: u64, bytes: u32): void {
  while (bytes > 0) {
    store<u8>(at++, <u8>payload);
    payload >>>= 8;
    bytes--;
  }
}

/** Takes n bytes at the end of the open cell, or of a fresh one; 0 if there is none to be had. */
// @ts-ignore: decorator
@inline
function room(record: usize, n: u32, reserve: u32): usize {
  const pos = <u32>load<u16>(record, REC_POS);
  const fits = pos + n <= <u32>load<u8>(record, REC_CAP) && load<u16>(record, REC_CELL_PERIOD) == load<u16>(record, REC_PERIOD);
  if (!fits) return openCell(record, n, reserve);
  store<u16>(record, pos + n, REC_POS);
  return <usize>load<u32>(record, REC_CELL) + pos;
}

/** Opens a cell for the record's period with n bytes taken: small at first, large after. */
export function openCell(record: usize, n: u32, reserve: u32): usize {
  const last = <usize>load<u32>(record, REC_CELL);
  const lastPeriod = <u32>load<u16>(record, REC_CELL_PERIOD);
  const period = <u32>load<u16>(record, REC_PERIOD);
  assert(isLivePeriod(period), 'a cell is opened in a period that has ended');
  const bytes = last == 0 || lastPeriod != period ? CELL_SMALL_BYTES : CELL_LARGE_BYTES;
  const cell = cellAllocate(load<i32>(slotOf(period), PERIOD_NUMBER), bytes, reserve);
  if (cell == 0) return 0;
  const chained = last != 0 && isCellOf(last, lastPeriod);
  store<u32>(cell, chained ? <u32>last : 0, CELL_PREVIOUS);
  store<u8>(cell, load<u16>(record, REC_POS), CELL_PREVIOUS_POS);
  store<u16>(cell, lastPeriod, CELL_PREVIOUS_PERIOD);
  store<u32>(record, <u32>cell, REC_CELL);
  store<u8>(record, bytes, REC_CAP);
  store<u16>(record, period, REC_CELL_PERIOD);
  store<u16>(record, CELL_HEADER_BYTES + n, REC_POS);
  return cell + CELL_HEADER_BYTES;
}

// ---- reading

/**
 * Decodes samples with from < t <= to of a record (or a copy of one), newest first, into the upper end of two columns
 * of `max` places: the last written stands at max - count. Returns their number. Where it stopped is left in
 * SB_CURSOR: REC_SAMPLES there is 0 if the history ended, else the sample there is the next one, which is either at or
 * before `from`, or did not fit any more.
 */
export function decode(record: usize, from: f64, to: f64, times: usize, values: usize, max: u32): u32 {
  return walk(INTO_COLUMNS, record, from, to, times, values, max);
}

/**
 * Looks at the samples with from < t <= to that are no stale markers without keeping them: their number, and in the
 * place at `out` what an increase needs (WINDOW_*).
 */
export function decodeWindow(record: usize, from: f64, to: f64, out: usize): u32 {
  return walk(INTO_WINDOW, record, from, to, out, 0, 0);
}

/**
 * As decodeWindow, of the newest `count` samples of a series, if they stand at its interval and none of them is a stale
 * marker or needs more than a byte; else false. Their periods must not have ended.
 */
export function decodeRegular(record: usize, count: u32, out: usize): bool {
  const newest = load<f64>(record, REC_BITS);
  if (newest != newest) return false;
  let cell = <usize>load<u32>(record, REC_CELL);
  let at = cell + <usize>load<u16>(record, REC_POS);
  let left = count - 1;
  left -= min<u32>(left, <u32>load<u8>(record, REC_RUN));
  let value = newest;
  let falls: u32 = 0;
  let beforeFall: f64 = 0;
  while (left > 0) {
    if (at <= cell + CELL_HEADER_BYTES) {
      // What is left is live, and so is the cell that holds it; but a series may have begun within the window.
      const previous = cell == 0 ? 0 : <usize>load<u32>(cell, CELL_PREVIOUS);
      if (previous == 0 || !isCellOf(previous, load<u16>(cell, CELL_PREVIOUS_PERIOD))) return false;
      at = previous + <usize>load<u8>(cell, CELL_PREVIOUS_POS);
      cell = previous;
      continue;
    }
    const header = <u32>load<u8>(--at);
    if (isSmallStep(header)) {
      const before = value - <f64>smallStep(header);
      if (value < before) {
        falls++;
        beforeFall = before;
      }
      value = before;
      left--;
    } else if (header > RUN_HEADER) left -= min<u32>(left, header - RUN_HEADER);
    else return false;
  }
  const time = load<f64>(record, REC_TIME);
  store<f64>(out, time - <f64>(count - 1) * <f64>load<i32>(record, REC_DELTA), WINDOW_FIRST_TIME);
  store<f64>(out, value, WINDOW_FIRST);
  store<f64>(out, time, WINDOW_LAST_TIME);
  store<f64>(out, newest, WINDOW_LAST);
  store<u32>(out, falls, WINDOW_FALLS);
  store<f64>(out, beforeFall, WINDOW_BEFORE_FALL);
  return true;
}

/** Each byte of a word, and each two of them. */
const BYTES: u64 = 0x0101010101010101;
const PAIRS: u64 = 0x0001000100010001;
const GROWTH_MAX: u32 = 7;

/**
 * What the newest `steps` steps come to of a series that stands as for decodeRegular, in its open cell, and never falls; -1
 * for many another. As long as the first value is not negative, it is the newest less that, exactly: the steps are whole
 * and the newest is below 2^52. All entries at once: one by one, the next one is guessed wrong about once a series.
 */
// @ts-ignore: decorator
@inline
export function growth(record: usize, steps: u32): i32 {
  const newest = load<f64>(record, REC_BITS);
  const pos = <u32>load<u16>(record, REC_POS);
  const left = steps - min<u32>(steps, <u32>load<u8>(record, REC_RUN));
  if (!(newest < 4503599627370496) || left > GROWTH_MAX || pos < left + CELL_HEADER_BYTES) return -1;
  const unused = 63 - (left << 3);
  const entries = (load<u64>(<usize>load<u32>(record, REC_CELL) + pos - 8) >>> 1) >>> unused;
  const high = ((BYTES * 0x80) >>> 1) >>> unused;
  // A repeat is a step of 0.
  const repeats = ((entries & (BYTES * 0x80)) >>> 7) * 0xff;
  const small = (entries & ~repeats) | (repeats & (BYTES * SMALL_STEP));
  const isSmall = (entries & repeats) == (repeats & (BYTES * (RUN_HEADER + 1)));
  const isUp = (((small & (BYTES * 0x70)) + BYTES * 0x70) & high) == high;
  if (!isSmall || !isUp) return -1;
  const pairs = (small & (PAIRS * 0xff)) + ((small >>> 8) & (PAIRS * 0xff));
  return <i32>((pairs * PAIRS) >>> 48) - <i32>(left * SMALL_STEP);
}

/** First and last sample of a window, how often the value fell, and the value before it fell last in the walk. */
export const WINDOW_FIRST_TIME: usize = 0;
export const WINDOW_FIRST: usize = 8;
export const WINDOW_LAST_TIME: usize = 16;
export const WINDOW_LAST: usize = 24;
export const WINDOW_FALLS: usize = 32; // u32
export const WINDOW_BEFORE_FALL: usize = 40;
export const WINDOW_BYTES: usize = 48;

const INTO_COLUMNS: u32 = 0;
const INTO_WINDOW: u32 = 1;

/** Both of the above: `into` is a constant, so each has a loop of its own. */
// @ts-ignore: decorator
@inline
function walk(into: u32, record: usize, from: f64, to: f64, times: usize, values: usize, max: u32): u32 {
  let time = load<f64>(record, REC_TIME);
  let bits = load<i64>(record, REC_BITS);
  let delta = load<i32>(record, REC_DELTA);
  let run = <u32>load<u8>(record, REC_RUN);
  let cell = <usize>load<u32>(record, REC_CELL);
  let pos = <u32>load<u16>(record, REC_POS);
  let cellPeriod = <u32>load<u16>(record, REC_CELL_PERIOD);
  let period = <u32>load<u16>(record, REC_PERIOD);
  let more = load<u32>(record, REC_SAMPLES) != 0;
  let left = max;
  let count: u32 = 0;
  let falls: u32 = 0;
  let first: f64 = 0;
  let firstTime: f64 = 0;
  let beforeFall: f64 = 0;
  if (run != 0 && !isLivePeriod(period)) {
    run = 0;
    cell = 0;
  }
  if (cell != 0 && !isCellOf(cell, cellPeriod)) cell = 0;
  if (cell == 0) pos = 0;
  while (more) {
    if (time <= from) break;
    if (time <= to) {
      if (into == INTO_COLUMNS) {
        if (left == 0) break;
        left--;
        store<f64>(times + (left << 3), time);
        store<i64>(values + (left << 3), bits);
      } else if (bits != STALE) {
        const seen = reinterpret<f64>(bits);
        if (count == 0) {
          store<f64>(times, time, WINDOW_LAST_TIME);
          store<f64>(times, seen, WINDOW_LAST);
        } else if (first < seen) {
          falls++;
          beforeFall = seen;
        }
        first = seen;
        firstTime = time;
        count++;
      }
    }
    if (run > 0) {
      run--;
      time -= <f64>delta;
      if (into == INTO_COLUMNS && time <= to) {
        for (; run > 0 && left > 0 && time > from; run--) {
          left--;
          store<f64>(times + (left << 3), time);
          store<i64>(values + (left << 3), bits);
          time -= <f64>delta;
        }
      }
      continue;
    }
    while (pos <= <u32>CELL_HEADER_BYTES) {
      const previous = cell == 0 ? 0 : <usize>load<u32>(cell, CELL_PREVIOUS);
      if (previous == 0 || !isCellOf(previous, load<u16>(cell, CELL_PREVIOUS_PERIOD))) {
        more = false;
        break;
      }
      pos = load<u8>(cell, CELL_PREVIOUS_POS);
      cellPeriod = load<u16>(cell, CELL_PREVIOUS_PERIOD);
      cell = previous;
    }
    if (!more) break;
    period = cellPeriod;
    pos--;
    const header = <u32>load<u8>(cell + pos);
    if (header < 0x80) {
      time -= <f64>delta;
      let value = reinterpret<f64>(bits) - <f64>(<i32>header - SMALL_STEP);
      if (into == INTO_COLUMNS && time <= to && delta > 0 && time > from) {
        // As many of these as follow one another, and as there is time and room for.
        const interval = <f64>delta;
        let room = min<u32>(left, min<u32>(pos - CELL_HEADER_BYTES, <u32>((time - from) / interval)));
        let at = cell + pos - 1;
        for (; room > 0 && isSmallStep(<u32>load<u8>(at)); room--, at--) {
          left--;
          store<f64>(times + (left << 3), time);
          store<f64>(values + (left << 3), value);
          time -= interval;
          value -= <f64>smallStep(<u32>load<u8>(at));
        }
        pos = <u32>(at + 1 - cell);
      }
      bits = reinterpret<i64>(value);
    } else if (header > RUN_HEADER) {
      run = header - RUN_HEADER - 1;
      time -= <f64>delta;
    } else if (header == ABSOLUTE_HEADER) {
      pos -= ABSOLUTE_BYTES - 1;
      bits = load<i64>(cell + pos);
      time = load<f64>(cell + pos, 8);
      delta = load<i32>(cell + pos, 16);
    } else {
      time -= <f64>delta;
      switch ((header >>> 4) & 3) {
        case 1:
          pos -= 1;
          delta -= <i32>load<i8>(cell + pos);
          break;
        case 2:
          pos -= 2;
          delta -= <i32>load<i16>(cell + pos);
          break;
        case 3:
          pos -= 4;
          delta -= load<i32>(cell + pos);
          break;
      }
      const value = reinterpret<f64>(bits);
      switch (header & 15) {
        case 1:
          pos -= 1;
          bits = reinterpret<i64>(value - <f64>(<i32>load<i8>(cell + pos)));
          break;
        case 2:
          pos -= 2;
          bits = reinterpret<i64>(value - <f64>(<i32>load<i16>(cell + pos)));
          break;
        case 3:
          pos -= 3;
          bits = reinterpret<i64>(value - <f64>i24(cell + pos));
          break;
        case 4:
          pos -= 4;
          bits = reinterpret<i64>(value - <f64>load<i32>(cell + pos));
          break;
        case 5:
          pos -= 1;
          bits = reinterpret<i64>(value - <f64>(<i32>load<i8>(cell + pos) << 12));
          break;
        case 6:
          pos -= 2;
          bits = reinterpret<i64>(value - <f64>(<i32>load<i16>(cell + pos) << 12));
          break;
        case 7:
          pos -= 1;
          bits = unscale(value, 100, <i32>load<i8>(cell + pos));
          break;
        case 8:
          pos -= 2;
          bits = unscale(value, 100, <i32>load<i16>(cell + pos));
          break;
        case 9:
          pos -= 3;
          bits = unscale(value, 100, i24(cell + pos));
          break;
        case 10:
          pos -= 1;
          bits = unscale(value, 1000, <i32>load<i8>(cell + pos));
          break;
        case 11:
          pos -= 2;
          bits = unscale(value, 1000, <i32>load<i16>(cell + pos));
          break;
        case 12:
          pos -= 3;
          bits = unscale(value, 1000, i24(cell + pos));
          break;
        case 13:
          pos -= 5;
          bits = unscale(value, load<f64>(SB_POWERS + (<usize>load<u8>(cell + pos, 4) << 3)), load<i32>(cell + pos));
          break;
        case 14: {
          pos -= 1;
          const meta = <u32>load<u8>(cell + pos);
          const bytes = meta & 15;
          pos -= bytes;
          bits ^= <i64>(getBytes(cell + pos, bytes) << ((meta >>> 4) << 3));
          break;
        }
      }
    }
  }
  if (into == INTO_WINDOW) {
    store<f64>(times, firstTime, WINDOW_FIRST_TIME);
    store<f64>(times, first, WINDOW_FIRST);
    store<u32>(times, falls, WINDOW_FALLS);
    store<f64>(times, beforeFall, WINDOW_BEFORE_FALL);
    return count;
  }
  const cursor: usize = SB_CURSOR;
  store<f64>(cursor, time, REC_TIME);
  store<i64>(cursor, bits, REC_BITS);
  store<i32>(cursor, delta, REC_DELTA);
  store<u8>(cursor, run, REC_RUN);
  store<u32>(cursor, <u32>cell, REC_CELL);
  store<u16>(cursor, pos, REC_POS);
  store<u16>(cursor, cellPeriod, REC_CELL_PERIOD);
  store<u16>(cursor, period, REC_PERIOD);
  store<u32>(cursor, more ? 1 : 0, REC_SAMPLES);
  return max - left;
}

/**
 * True for entries of one byte that say how far the value is: a step, or one repeat, which is a step of 0. The two take
 * turns in slow counters, so nobody can tell which is next, and it is better not to ask.
 */
// @ts-ignore: decorator
@inline
function isSmallStep(header: u32): bool {
  return (<u32>(header < 0x80) | <u32>(header == RUN_HEADER + 1)) != 0;
}

// @ts-ignore: decorator
@inline
function smallStep(header: u32): i32 {
  return (<i32>header - SMALL_STEP) & ((header >>> 7) - 1);
}

// @ts-ignore: decorator
@inline
function unscale(value: f64, scale: f64, step: i32): i64 {
  return reinterpret<i64>((nearest<f64>(value * scale) - <f64>step) / scale);
}

// @ts-ignore: decorator
@inline
function i24(at: usize): i32 {
  return <i32>load<u16>(at) | (<i32>load<i8>(at, 2) << 16);
}

// @ts-ignore: decorator
@inline
function getBytes(at: usize, bytes: u32): u64 {
  let n: u64 = 0;
  while (bytes > 0) {
    bytes--;
    n = (n << 8) | load<u8>(at + bytes);
  }
  return n;
}
