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
import { decode } from './chunk';
import { recordOf } from './series';

const STALE: i64 = 0x7ff0000000000002;

export const DELTA: u32 = 0;
export const INCREASE: u32 = 1;
export const RATE: u32 = 2;

// @ts-ignore: decorator
@inline
function sourceOf(sources: usize, copies: bool, i: u32): usize {
  return copies ? sources + i * RECORD_BYTES : recordOf(load<u32>(sources + (i << 2)));
}

/** The newest sample in (at - lookback, at] of each series; a stale marker is none. Times are written too. */
export function lastValues(
  sources: usize,
  copies: bool,
  n: u32,
  at: f64,
  lookback: f64,
  outValues: usize,
  outTimes: usize,
  outValid: usize,
): void {
  for (let i: u32 = 0; i < n; i++) {
    const record = sourceOf(sources, copies, i);
    const value = outValues + (i << 3);
    const time = outTimes + (i << 3);
    const newest = load<f64>(record, REC_TIME);
    let found = load<u32>(record, REC_SAMPLES) != 0 && newest > at - lookback;
    if (found && newest <= at) {
      store<f64>(time, newest);
      store<i64>(value, load<i64>(record, REC_BITS));
    } else if (found) found = decode(record, at - lookback, at, time, value, 1) == 1;
    store<u8>(outValid + i, found && load<i64>(value) != STALE ? 1 : 0);
  }
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
      store<f64>(outValues + (k << 3), extrapolated(kind, times + (lo << 3), values + (lo << 3), hi - lo, end - range, end));
    }
  }
}

function extrapolated(kind: u32, times: usize, values: usize, n: u32, start: f64, end: f64): f64 {
  const last = (n - 1) << 3;
  const first = load<f64>(values);
  let result = load<f64>(values + last) - first;
  if (kind != DELTA) {
    let before = first;
    for (let at: u32 = 8; at <= last; at += 8) {
      const value = load<f64>(values + at);
      if (value < before) result += before;
      before = value;
    }
  }
  const firstTime = load<f64>(times);
  const lastTime = load<f64>(times + last);
  const sampled = (lastTime - firstTime) / 1000;
  const average = sampled / <f64>(n - 1);
  const threshold = average * 1.1;
  let toStart = (firstTime - start) / 1000;
  if (toStart >= threshold) toStart = average / 2;
  if (kind != DELTA && result > 0 && first >= 0) {
    const toZero = sampled * (first / result);
    if (toZero < toStart) toStart = toZero;
  }
  let toEnd = (end - lastTime) / 1000;
  if (toEnd >= threshold) toEnd = average / 2;
  let factor = (sampled + toStart + toEnd) / sampled;
  if (kind == RATE) factor /= (end - start) / 1000;
  return result * factor;
}
