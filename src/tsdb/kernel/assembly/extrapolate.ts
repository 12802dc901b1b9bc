/**
 * The arithmetic of the rate family, from the samples of one window to one number. It follows Prometheus step by step, so
 * that answers agree to the last bit (prometheus/prometheus, promql/functions.go, extrapolatedRate).
 */
import { SB_RESULT } from '../layout';
import { STALE } from './chunk';

export const DELTA: u32 = 0;
export const INCREASE: u32 = 1;
export const RATE: u32 = 2;

/** Moves the samples that are no stale markers together; their number. */
export function dropStale(times: usize, values: usize, n: u32): u32 {
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

/** What a counter grew by: where it fell, it began again from zero. */
export function increase(values: usize, n: u32): f64 {
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
export const MEMO: usize = SB_RESULT + 352;
export const MEMO_FIRST_TIME: usize = 0;
const MEMO_LAST_TIME: usize = 8;
const MEMO_START: usize = 16;
const MEMO_COUNT: usize = 24; // u32
const MEMO_SAMPLED: usize = 32;
const MEMO_TO_START: usize = 40;
const MEMO_TO_END: usize = 48;
export const MEMO_FACTOR: usize = 56;
/** A counter that began above its increase times this cannot have been zero within what is added at the start. */
export const MEMO_ABOVE: usize = 64;
export const MEMO_BYTES: u32 = 72;
/** Many times what rounding may come to. */
const ROUNDING: f64 = 1e-9;

/** What an increase comes to over a window. */
// @ts-ignore: decorator
@inline
export function extrapolated(
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
  return extrapolatedBy(memo, kind, result, first, start, end);
}

/** The same by what was noted of the window's times. */
// @ts-ignore: decorator
@inline
export function extrapolatedBy(memo: usize, kind: u32, result: f64, first: f64, start: f64, end: f64): f64 {
  if (kind != DELTA && result > 0 && first >= 0 && !(first > result * load<f64>(memo, MEMO_ABOVE))) {
    const sampled = load<f64>(memo, MEMO_SAMPLED);
    const toZero = sampled * (first / result);
    if (toZero < load<f64>(memo, MEMO_TO_START)) return result * factorOf(memo, kind, sampled, toZero, start, end);
  }
  return result * load<f64>(memo, MEMO_FACTOR);
}

export function noteTimes(memo: usize, kind: u32, firstTime: f64, lastTime: f64, n: u32, start: f64, end: f64): void {
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
