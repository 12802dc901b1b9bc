/**
 * Window functions straight from the log: the newest value, and the extrapolated rate family.
 *
 * Series come either as ids (their records are read as they are) or as copies of records lying side by side. Results
 * go to columns of f64 with a byte each that says whether there is one; series-major where there are several steps.
 * The arithmetic of the rate family follows Prometheus step by step, so that answers agree to the last bit
 * (prometheus/prometheus, promql/functions.go, extrapolatedRate).
 */
import {
  REC_BITS,
  REC_SAMPLES,
  REC_TIME,
  RECORD_BYTES,
  RESULT_READ_NEWEST,
  RESULT_READ_SAMPLES,
  SB_RESULT,
} from '../layout';
import {
  decode,
  decodeWindow,
  STALE,
  WINDOW_BEFORE_FALL,
  WINDOW_FALLS,
  WINDOW_FIRST,
  WINDOW_FIRST_TIME,
  WINDOW_LAST,
  WINDOW_LAST_TIME,
} from './chunk';
import { recordOf } from './series';

export const DELTA: u32 = 0;
export const INCREASE: u32 = 1;
export const RATE: u32 = 2;

// @ts-ignore: decorator
@inline
function sourceOf(sources: usize, copies: bool, i: u32): usize {
  return copies ? sources + i * RECORD_BYTES : recordOf(load<u32>(sources + (i << 2)));
}

/**
 * The newest sample in (at - lookback, at] of each series; a stale marker is none. Their number, and the newest one's
 * time, stand in the result area.
 */
export function lastValues(sources: usize, copies: bool, n: u32, at: f64, lookback: f64, outValues: usize, outValid: usize): void {
  const from = at - lookback;
  let read: u32 = 0;
  let newestOfAll: f64 = -Infinity;
  for (let i: u32 = 0; i < n; i++) {
    const record = sourceOf(sources, copies, i);
    let time = load<f64>(record, REC_TIME);
    let bits = load<i64>(record, REC_BITS);
    let found = load<u32>(record, REC_SAMPLES) != 0 && time > from;
    if (found && time > at) {
      found = decode(record, from, at, ONE, ONE + 8, 1) == 1;
      time = load<f64>(ONE);
      bits = load<i64>(ONE + 8);
    }
    found = found && bits != STALE;
    store<i64>(outValues + (i << 3), bits);
    store<u8>(outValid + i, found ? 1 : 0);
    if (found) {
      read++;
      newestOfAll = max(newestOfAll, time);
    }
  }
  store<f64>(SB_RESULT + RESULT_READ_SAMPLES, <f64>read);
  store<f64>(SB_RESULT + RESULT_READ_NEWEST, newestOfAll);
}

/** A place for one sample, and one for what is seen of a window. */
const ONE: usize = SB_RESULT + 288;
const SEEN: usize = SB_RESULT + 304;

/**
 * rate, increase or delta of each series over one window (end - range, end], without decoding into columns. Series
 * whose value falls more than once in it are done in columns after all: sums of floats depend on their order.
 */
function rateOnce(
  kind: u32,
  sources: usize,
  copies: bool,
  n: u32,
  end: f64,
  range: f64,
  columns: usize,
  capacity: u32,
  outValues: usize,
  outValid: usize,
): u32 {
  const start = end - range;
  let read: f64 = 0;
  let newest: f64 = -Infinity;
  for (let i: u32 = 0; i < n; i++) {
    const record = sourceOf(sources, copies, i);
    const count = decodeWindow(record, start, end, SEEN);
    if (count == 0) {
      store<u8>(outValid + i, 0);
      continue;
    }
    read += <f64>count;
    newest = max(newest, load<f64>(SEEN, WINDOW_LAST_TIME));
    store<u8>(outValid + i, count >= 2 ? 1 : 0);
    if (count < 2) continue;
    const first = load<f64>(SEEN, WINDOW_FIRST);
    let result = load<f64>(SEEN, WINDOW_LAST) - first;
    const falls = kind == DELTA ? 0 : load<u32>(SEEN, WINDOW_FALLS);
    if (falls == 1) result += load<f64>(SEEN, WINDOW_BEFORE_FALL);
    else if (falls > 1) {
      const decoded = decode(record, start, end, columns, columns + (capacity << 3), capacity);
      if (decoded == capacity) return i;
      result = increaseIn(columns, capacity, decoded);
    }
    const firstTime = load<f64>(SEEN, WINDOW_FIRST_TIME);
    const lastTime = load<f64>(SEEN, WINDOW_LAST_TIME);
    store<f64>(outValues + (i << 3), extrapolated(kind, result, first, firstTime, lastTime, count, start, end));
  }
  store<f64>(SB_RESULT + RESULT_READ_SAMPLES, read);
  store<f64>(SB_RESULT + RESULT_READ_NEWEST, newest);
  return n;
}

/** The increase of what was decoded into the upper end of columns. */
function increaseIn(columns: usize, capacity: u32, decoded: u32): f64 {
  const skipped = (capacity - decoded) << 3;
  const values = columns + (capacity << 3) + skipped;
  return increase(values, dropStale(columns + skipped, values, decoded));
}

/**
 * rate, increase or delta of each series at `steps` times, the first at `start`, over windows (t - range, t].
 * Samples are decoded into columns of `capacity`; returns how many series were done: fewer than n if the next one has
 * more samples than that. How many were read, and the newest one's time, stand in the result area.
 */
export function rates(
  kind: u32,
  sources: usize,
  copies: bool,
  n: u32,
  start: f64,
  step: f64,
  steps: u32,
  range: f64,
  columns: usize,
  capacity: u32,
  outValues: usize,
  outValid: usize,
): u32 {
  forgetTimes();
  if (steps == 1) return rateOnce(kind, sources, copies, n, start, range, columns, capacity, outValues, outValid);
  const timesTop = columns;
  const valuesTop = columns + (capacity << 3);
  const end = start + step * <f64>(steps - 1);
  let read: f64 = 0;
  let newest: f64 = -Infinity;
  for (let i: u32 = 0; i < n; i++) {
    const record = sourceOf(sources, copies, i);
    const decoded = decode(record, start - range, end, timesTop, valuesTop, capacity);
    if (decoded == capacity) return i;
    const skipped = (capacity - decoded) << 3;
    const count = dropStale(timesTop + skipped, valuesTop + skipped, decoded);
    if (count > 0) {
      read += <f64>count;
      newest = max(newest, load<f64>(timesTop + skipped + ((count - 1) << 3)));
    }
    const done = i * steps;
    slide(kind, timesTop + skipped, valuesTop + skipped, count, start, step, steps, range, outValues + (done << 3), outValid + done);
  }
  store<f64>(SB_RESULT + RESULT_READ_SAMPLES, read);
  store<f64>(SB_RESULT + RESULT_READ_NEWEST, newest);
  return n;
}

/** Moves the samples that are no stale markers together; their number. */
function dropStale(times: usize, values: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const bits = load<i64>(values + (i << 3));
    if (bits == STALE) continue;
    if (kept != i) {
      store<i64>(values + (kept << 3), bits);
      store<f64>(times + (kept << 3), load<f64>(times + (i << 3)));
    }
    kept++;
  }
  return kept;
}

/** Moves a window over the samples of one series. */
function slide(
  kind: u32,
  times: usize,
  values: usize,
  count: u32,
  start: f64,
  step: f64,
  steps: u32,
  range: f64,
  outValues: usize,
  outValid: usize,
): void {
  let lo: u32 = 0;
  let hi: u32 = 0;
  for (let k: u32 = 0; k < steps; k++) {
    const end = start + step * <f64>k;
    while (hi < count && load<f64>(times + (hi << 3)) <= end) hi++;
    while (lo < hi && load<f64>(times + (lo << 3)) <= end - range) lo++;
    const valid = hi - lo >= 2;
    store<u8>(outValid + k, valid ? 1 : 0);
    if (valid) {
      store<f64>(outValues + (k << 3), windowed(kind, times + (lo << 3), values + (lo << 3), hi - lo, end - range, end));
    }
  }
}

function windowed(kind: u32, times: usize, values: usize, n: u32, start: f64, end: f64): f64 {
  const last = (n - 1) << 3;
  const first = load<f64>(values);
  const result = kind == DELTA ? load<f64>(values + last) - first : increase(values, n);
  return extrapolated(kind, result, first, load<f64>(times), load<f64>(times + last), n, start, end);
}

/** What a counter grew by: where it fell, it began again from zero. */
function increase(values: usize, n: u32): f64 {
  const last = (n - 1) << 3;
  const first = load<f64>(values);
  let result = load<f64>(values + last) - first;
  let before = first;
  for (let at: u32 = 8; at <= last; at += 8) {
    const value = load<f64>(values + at);
    if (value < before) result += before;
    before = value;
  }
  return result;
}

/**
 * What of the extrapolation depends on times alone. Series of one target have their samples at the same times, so it
 * is kept from one series to the next, and with it most of the divisions.
 */
const MEMO: usize = SB_RESULT + 352;
const MEMO_FIRST_TIME: usize = 0;
const MEMO_LAST_TIME: usize = 8;
const MEMO_START: usize = 16;
const MEMO_COUNT: usize = 24; // u32
const MEMO_SAMPLED: usize = 32;
const MEMO_TO_START: usize = 40;
const MEMO_TO_END: usize = 48;
const MEMO_FACTOR: usize = 56;
/** A counter that began above its increase times this cannot have been zero within what is added at the start. */
const MEMO_ABOVE: usize = 64;
/** Many times what rounding may come to. */
const ROUNDING: f64 = 1e-9;

function forgetTimes(): void {
  store<f64>(MEMO, NaN, MEMO_FIRST_TIME);
}

// @ts-ignore: decorator
@inline
function extrapolated(
  kind: u32,
  result: f64,
  first: f64,
  firstTime: f64,
  lastTime: f64,
  n: u32,
  start: f64,
  end: f64,
): f64 {
  const known =
    firstTime == load<f64>(MEMO, MEMO_FIRST_TIME) &&
    lastTime == load<f64>(MEMO, MEMO_LAST_TIME) &&
    start == load<f64>(MEMO, MEMO_START) &&
    n == load<u32>(MEMO, MEMO_COUNT);
  if (!known) noteTimes(kind, firstTime, lastTime, n, start, end);
  if (kind != DELTA && result > 0 && first >= 0 && !(first > result * load<f64>(MEMO, MEMO_ABOVE))) {
    const sampled = load<f64>(MEMO, MEMO_SAMPLED);
    const toZero = sampled * (first / result);
    if (toZero < load<f64>(MEMO, MEMO_TO_START)) return result * factorOf(kind, sampled, toZero, start, end);
  }
  return result * load<f64>(MEMO, MEMO_FACTOR);
}

function noteTimes(kind: u32, firstTime: f64, lastTime: f64, n: u32, start: f64, end: f64): void {
  const sampled = (lastTime - firstTime) / 1000;
  const average = sampled / <f64>(n - 1);
  const threshold = average * 1.1;
  let toStart = (firstTime - start) / 1000;
  if (toStart >= threshold) toStart = average / 2;
  let toEnd = (end - lastTime) / 1000;
  if (toEnd >= threshold) toEnd = average / 2;
  store<f64>(MEMO, firstTime, MEMO_FIRST_TIME);
  store<f64>(MEMO, lastTime, MEMO_LAST_TIME);
  store<f64>(MEMO, start, MEMO_START);
  store<u32>(MEMO, n, MEMO_COUNT);
  store<f64>(MEMO, sampled, MEMO_SAMPLED);
  store<f64>(MEMO, toStart, MEMO_TO_START);
  store<f64>(MEMO, toEnd, MEMO_TO_END);
  store<f64>(MEMO, (toStart / sampled) * (1 + ROUNDING), MEMO_ABOVE);
  store<f64>(MEMO, factorOf(kind, sampled, toStart, start, end), MEMO_FACTOR);
}

function factorOf(kind: u32, sampled: f64, toStart: f64, start: f64, end: f64): f64 {
  const factor = (sampled + toStart + load<f64>(MEMO, MEMO_TO_END)) / sampled;
  return kind == RATE ? factor / ((end - start) / 1000) : factor;
}
