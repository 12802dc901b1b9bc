/**
 * Window functions straight from the log: the newest value, and the extrapolated rate family.
 *
 * Series come either as ids (their records are read as they are) or as copies of records lying side by side. Results
 * go to columns of f64 with a byte each that says whether there is one; series-major where there are several steps.
 * The arithmetic of the rate family follows Prometheus step by step, so that answers agree to the last bit
 * (prometheus/prometheus, promql/functions.go, extrapolatedRate).
 */
import {
  RATE_STEP_BYTES,
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
    store<f64>(outValues + (i << 3), extrapolated(MEMO, kind, result, first, firstTime, lastTime, count, start, end));
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
 * Samples are decoded into columns of `capacity`, behind RATE_STEP_BYTES a step; returns how many series were done: fewer than n if the next one has
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
  if (steps == 1) {
    store<f64>(MEMO, NaN, MEMO_FIRST_TIME);
    return rateOnce(kind, sources, copies, n, start, range, columns, capacity, outValues, outValid);
  }
  // A memo a step, in front of the columns.
  for (let k: u32 = 0; k < steps; k++) store<f64>(columns + k * MEMO_BYTES, NaN, MEMO_FIRST_TIME);
  const timesTop = columns + steps * MEMO_BYTES;
  const valuesTop = timesTop + (capacity << 3);
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
    slide(kind, columns, timesTop + skipped, valuesTop + skipped, count, start, step, steps, range, outValues + (done << 3), outValid + done);
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

/**
 * Moves a window over the samples of one series. Where the value last fell says whether a window holds a fall; only then
 * are its samples walked once more.
 */
function slide(
  kind: u32,
  memos: usize,
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
  let lastFall: u32 = 0;
  let before: f64 = NaN;
  for (let k: u32 = 0; k < steps; k++) {
    const end = start + step * <f64>k;
    while (hi < count && load<f64>(times + (hi << 3)) <= end) {
      const value = load<f64>(values + (hi << 3));
      if (value < before) lastFall = hi;
      before = value;
      hi++;
    }
    while (lo < hi && load<f64>(times + (lo << 3)) <= end - range) lo++;
    const valid = hi - lo >= 2;
    store<u8>(outValid + k, valid ? 1 : 0);
    if (!valid) continue;
    const from = lo << 3;
    const last = (hi - 1) << 3;
    const first = load<f64>(values + from);
    const result = kind != DELTA && lastFall > lo ? increase(values + from, hi - lo) : load<f64>(values + last) - first;
    const memo = memos + k * MEMO_BYTES;
    store<f64>(
      outValues + (k << 3),
      extrapolated(memo, kind, result, first, load<f64>(times + from), load<f64>(times + last), hi - lo, end - range, end),
    );
  }
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
 * is kept from one series to the next (of a grid for each step), and with it most of the divisions.
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
const MEMO_BYTES: u32 = RATE_STEP_BYTES;
/** Many times what rounding may come to. */
const ROUNDING: f64 = 1e-9;

// @ts-ignore: decorator
@inline
function extrapolated(
  memo: usize,
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
    firstTime == load<f64>(memo, MEMO_FIRST_TIME) &&
    lastTime == load<f64>(memo, MEMO_LAST_TIME) &&
    start == load<f64>(memo, MEMO_START) &&
    n == load<u32>(memo, MEMO_COUNT);
  if (!known) noteTimes(memo, kind, firstTime, lastTime, n, start, end);
  if (kind != DELTA && result > 0 && first >= 0 && !(first > result * load<f64>(memo, MEMO_ABOVE))) {
    const sampled = load<f64>(memo, MEMO_SAMPLED);
    const toZero = sampled * (first / result);
    if (toZero < load<f64>(memo, MEMO_TO_START)) return result * factorOf(memo, kind, sampled, toZero, start, end);
  }
  return result * load<f64>(memo, MEMO_FACTOR);
}

function noteTimes(memo: usize, kind: u32, firstTime: f64, lastTime: f64, n: u32, start: f64, end: f64): void {
  const sampled = (lastTime - firstTime) / 1000;
  const average = sampled / <f64>(n - 1);
  const threshold = average * 1.1;
  let toStart = (firstTime - start) / 1000;
  if (toStart >= threshold) toStart = average / 2;
  let toEnd = (end - lastTime) / 1000;
  if (toEnd >= threshold) toEnd = average / 2;
  store<f64>(memo, firstTime, MEMO_FIRST_TIME);
  store<f64>(memo, lastTime, MEMO_LAST_TIME);
  store<f64>(memo, start, MEMO_START);
  store<u32>(memo, n, MEMO_COUNT);
  store<f64>(memo, sampled, MEMO_SAMPLED);
  store<f64>(memo, toStart, MEMO_TO_START);
  store<f64>(memo, toEnd, MEMO_TO_END);
  store<f64>(memo, (toStart / sampled) * (1 + ROUNDING), MEMO_ABOVE);
  store<f64>(memo, factorOf(memo, kind, sampled, toStart, start, end), MEMO_FACTOR);
}

function factorOf(memo: usize, kind: u32, sampled: f64, toStart: f64, start: f64, end: f64): f64 {
  const factor = (sampled + toStart + load<f64>(memo, MEMO_TO_END)) / sampled;
  return kind == RATE ? factor / ((end - start) / 1000) : factor;
}

/**
 * Adds the values of n rows, `steps` each, to the sums of their `groups` (0: all rows are of the only one): Kahan and
 * Neumaier's sum and what it has lost (prometheus/prometheus, promql/functions.go, kahanSumInc). Returns the first row
 * with a value, or n.
 */
export function addUp(
  values: usize,
  valid: usize,
  n: u32,
  steps: u32,
  groups: usize,
  sums: usize,
  lost: usize,
  seen: usize,
): u32 {
  if (groups == 0 && steps == 1) return addUpOnce(values, valid, n, sums, lost, seen);
  let first = n;
  for (let i: u32 = 0; i < n; i++) {
    const slot = groups == 0 ? 0 : load<u32>(groups + (i << 2)) * steps;
    const row = i * steps;
    for (let k: u32 = 0; k < steps; k++) {
      if (load<u8>(valid + row + k) == 0) continue;
      first = min<u32>(first, i);
      const value = load<f64>(values + ((row + k) << 3));
      const at = (slot + k) << 3;
      const old = load<f64>(sums + at);
      const sum = old + value;
      if (sum == Infinity || sum == -Infinity) store<f64>(lost + at, 0);
      else {
        const rest = abs<f64>(old) >= abs<f64>(value) ? old - sum + value : value - sum + old;
        store<f64>(lost + at, load<f64>(lost + at) + rest);
      }
      store<f64>(sums + at, sum);
      store<u8>(seen + slot + k, 1);
    }
  }
  return first;
}

/** The same for one sum of all, which then need not go through memory. */
function addUpOnce(values: usize, valid: usize, n: u32, sums: usize, lost: usize, seen: usize): u32 {
  let total = load<f64>(sums);
  let rest = load<f64>(lost);
  let first = n;
  for (let i: u32 = 0; i < n; i++) {
    if (load<u8>(valid + i) == 0) continue;
    first = min<u32>(first, i);
    const value = load<f64>(values + (i << 3));
    const sum = total + value;
    if (sum == Infinity || sum == -Infinity) rest = 0;
    else rest += abs<f64>(total) >= abs<f64>(value) ? total - sum + value : value - sum + total;
    total = sum;
  }
  store<f64>(sums, total);
  store<f64>(lost, rest);
  if (first < n) store<u8>(seen, 1);
  return first;
}
