/**
 * Window functions straight from the log: the newest value, and the extrapolated rate family.
 *
 * Series come either as ids (their records are read as they are) or as copies of records lying side by side. Results
 * go to columns of f64 with a byte each that says whether there is one; series-major where there are several steps.
 */
import {
  REC_BITS,
  REC_CELL,
  REC_DELTA,
  REC_POS,
  REC_SAMPLES,
  REC_TIME,
  RESULT_READ_NEWEST,
  RESULT_READ_SAMPLES,
  SB_FLOOR_MS,
  SB_RESULT,
} from '../layout';
import {
  decode,
  decodeRegular,
  decodeWindow,
  growth,
  STALE,
  WINDOW_BEFORE_FALL,
  WINDOW_FALLS,
  WINDOW_FIRST,
  WINDOW_FIRST_TIME,
  WINDOW_LAST,
  WINDOW_LAST_TIME,
} from './chunk';
import {
  DELTA,
  dropStale,
  extrapolated,
  increase,
  MEMO,
  MEMO_ABOVE,
  MEMO_FACTOR,
  MEMO_FIRST_TIME,
  noteTimes,
} from './extrapolate';
import { ratesOver } from './sliding';
import { sourceOf } from './sources';

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
  const isKept = start >= load<f64>(SB_FLOOR_MS);
  let newestTime: f64 = NaN;
  let interval: i32 = 0;
  let regular: u32 = 0;
  let factor: f64 = 0;
  let above: f64 = 0;
  let touched: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    if (i + TOUCHED < n) touched += touchEnd(sources, copies, i + TOUCHED);
    const record = sourceOf(sources, copies, i);
    const time = load<f64>(record, REC_TIME);
    const delta = load<i32>(record, REC_DELTA);
    if (time != newestTime || delta != interval) {
      newestTime = time;
      interval = delta;
      regular = isKept ? regularCount(time, delta, start, end) : 0;
      if (regular >= 2) {
        noteTimes(MEMO, kind, time - <f64>(regular - 1) * <f64>delta, time, regular, start, end);
        factor = load<f64>(MEMO, MEMO_FACTOR);
        above = load<f64>(MEMO, MEMO_ABOVE);
      }
    }
    // What nearly all counters do: they stand at the interval of the one before, have only grown, and began long ago.
    if (regular >= 2) {
      const grown = <f64>growth(record, regular - 1);
      const first = load<f64>(record, REC_BITS) - grown;
      if (grown >= 0 && first >= 0 && (kind == DELTA || grown == 0 || first > grown * above)) {
        read += <f64>regular;
        if (time > newest) newest = time;
        store<u8>(outValid + i, 1);
        store<f64>(outValues + (i << 3), grown * factor);
        continue;
      }
    }
    let count = regular;
    if (regular == 0 || !decodeRegular(record, regular, SEEN)) count = decodeWindow(record, start, end, SEEN);
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
  // Kept, so that no compiler finds out that nobody wants to know.
  store<u32>(columns, touched);
  store<f64>(SB_RESULT + RESULT_READ_SAMPLES, read);
  store<f64>(SB_RESULT + RESULT_READ_NEWEST, newest);
  return n;
}

/** How many samples a series has in (start, end] whose interval is the same all the while; 0 if that cannot be said. */
function regularCount(time: f64, delta: i32, start: f64, end: f64): u32 {
  if (delta <= 0 || !(time > start) || !(time <= end)) return 0;
  const interval = <f64>delta;
  const count = Math.ceil((time - start) / interval);
  if (!(count < 65536) || !(time - (count - 1) * interval > start) || time - count * interval > start) return 0;
  return <u32>count;
}

/** So many series ahead chunks are asked for: about as many as a core can wait for at a time. */
const TOUCHED: u32 = 24;

/** Looks at the newest byte of a series' chunks, which lie anywhere in memory, so that it is there when it is wanted. */
// @ts-ignore: decorator
@inline
function touchEnd(sources: usize, copies: bool, i: u32): u32 {
  const record = sourceOf(sources, copies, i);
  // One behind the newest byte: without a cell it is that of address 0.
  return load<u8>(<usize>load<u32>(record, REC_CELL) + <usize>load<u16>(record, REC_POS));
}

/** The increase of what was decoded into the upper end of columns. */
function increaseIn(columns: usize, capacity: u32, decoded: u32): f64 {
  const skipped = (capacity - decoded) << 3;
  const values = columns + (capacity << 3) + skipped;
  return increase(values, dropStale(columns + skipped, values, decoded));
}

/**
 * rate, increase or delta of each series at `steps` times, the first at `start`, over windows (t - range, t]. Samples may
 * be decoded into `columns`, `RATE_SAMPLE_BYTES` for each of `capacity` behind RATE_STEP_BYTES a step; returns how many series
 * were done: fewer than n if the next one has more samples than that. How many were read, and the newest one's time,
 * stand in the result area.
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
  return ratesOver(kind, sources, copies, n, start, step, steps, range, columns, capacity, outValues, outValid);
}
