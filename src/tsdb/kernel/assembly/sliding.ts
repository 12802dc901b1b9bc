/**
 * The rate family at many steps: a window that slides over the samples of a series.
 *
 * Series of one target have their samples at the same times, and so have most of a metric. What depends on times alone
 * (which samples a window holds, and what their increase is multiplied by) is worked out once, as a plan; for a series
 * with the same times a step is then a subtraction and a multiplication, two steps at a time. A plan stands in front of
 * the columns, RATE_STEP_BYTES a step.
 */
import { RATE_STEP_BYTES, RESULT_READ_NEWEST, RESULT_READ_SAMPLES, SB_RESULT } from '../layout';
import { decode } from './chunk';
import {
  DELTA,
  dropStale,
  extrapolatedBy,
  increase,
  MEMO_ABOVE,
  MEMO_BYTES,
  MEMO_FACTOR,
  noteTimes,
} from './extrapolate';
import { sourceOf } from './sources';

// A plan: memos, then a column each of what a window's increase is multiplied by, above which value times its increase a
// counter cannot have begun at zero in it, the first and the last sample in it, and whether there are two.
// @ts-ignore: decorator
@inline
function factorsOf(plan: usize, steps: u32): usize {
  return plan + steps * MEMO_BYTES;
}

// @ts-ignore: decorator
@inline
function abovesOf(plan: usize, steps: u32): usize {
  return plan + steps * (MEMO_BYTES + 8);
}

// @ts-ignore: decorator
@inline
function firstsOf(plan: usize, steps: u32): usize {
  return plan + steps * (MEMO_BYTES + 16);
}

// @ts-ignore: decorator
@inline
function lastsOf(plan: usize, steps: u32): usize {
  return plan + steps * (MEMO_BYTES + 20);
}

// @ts-ignore: decorator
@inline
function validsOf(plan: usize, steps: u32): usize {
  return plan + steps * (MEMO_BYTES + 24);
}

/** As `rates` of window.ts. */
export function ratesOver(
  kind: u32,
  sources: usize,
  copies: bool,
  n: u32,
  start: f64,
  step: f64,
  steps: u32,
  range: f64,
  plan: usize,
  capacity: u32,
  outValues: usize,
  outValid: usize,
): u32 {
  const bytes = capacity << 3;
  // Times are decoded into the column that does not hold those of the plan.
  let timesColumn = plan + steps * RATE_STEP_BYTES;
  let plannedColumn = timesColumn + bytes;
  const valuesColumn = plannedColumn + bytes;
  let planned: u32 = 0;
  const end = start + step * <f64>(steps - 1);
  let read: f64 = 0;
  let newest: f64 = -Infinity;
  for (let i: u32 = 0; i < n; i++) {
    const decoded = decode(sourceOf(sources, copies, i), start - range, end, timesColumn, valuesColumn, capacity);
    if (decoded == capacity) return i;
    const skipped = (capacity - decoded) << 3;
    const times = timesColumn + skipped;
    const values = valuesColumn + skipped;
    const count = dropStale(times, values, decoded);
    const row = i * steps;
    if (count < 2) {
      memory.fill(outValid + row, 0, steps);
      if (count == 0) continue;
    }
    read += <f64>count;
    newest = max(newest, load<f64>(times + ((count - 1) << 3)));
    if (count < 2) continue;
    if (count != decoded || count != planned || !isSame(times, plannedColumn + skipped, count)) {
      makePlan(plan, kind, times, count, start, step, steps, range);
      // With stale markers among them they do not stand where those of the next series do.
      planned = count == decoded ? count : 0;
      const column = timesColumn;
      timesColumn = plannedColumn;
      plannedColumn = column;
    }
    memory.copy(outValid + row, validsOf(plan, steps), steps);
    if (kind != DELTA && falls(values, count)) slide(plan, kind, values, start, step, steps, range, outValues + (row << 3));
    else goStraight(plan, kind, values, start, step, steps, range, outValues + (row << 3));
  }
  store<f64>(SB_RESULT + RESULT_READ_SAMPLES, read);
  store<f64>(SB_RESULT + RESULT_READ_NEWEST, newest);
  return n;
}

function isSame(a: usize, b: usize, n: u32): bool {
  const end = a + ((n & ~1) << 3);
  if ((n & 1) != 0 && load<f64>(end) != load<f64>(b + ((n - 1) << 3))) return false;
  let differ = i64x2.splat(0);
  for (; a < end; a += 16, b += 16) differ = v128.or(differ, v128.xor(v128.load(a), v128.load(b)));
  return !v128.any_true(differ);
}

/** True if a value is below the one before it. */
function falls(values: usize, n: u32): bool {
  const end = values + ((n - 1) << 3);
  let at = values;
  let below = i64x2.splat(0);
  for (; at + 8 < end; at += 16) below = v128.or(below, f64x2.lt(v128.load(at, 8), v128.load(at)));
  if (at < end && load<f64>(at, 8) < load<f64>(at)) return true;
  return v128.any_true(below);
}

function makePlan(
  plan: usize,
  kind: u32,
  times: usize,
  count: u32,
  start: f64,
  step: f64,
  steps: u32,
  range: f64,
): void {
  let lo: u32 = 0;
  let hi: u32 = 0;
  for (let k: u32 = 0; k < steps; k++) {
    const end = start + step * <f64>k;
    while (hi < count && load<f64>(times + (hi << 3)) <= end) hi++;
    while (lo < hi && load<f64>(times + (lo << 3)) <= end - range) lo++;
    const valid = hi - lo >= 2;
    const last = valid ? hi - 1 : lo;
    store<u8>(validsOf(plan, steps) + k, valid ? 1 : 0);
    store<u32>(firstsOf(plan, steps) + (k << 2), lo);
    store<u32>(lastsOf(plan, steps) + (k << 2), last);
    if (!valid) continue;
    const memo = plan + k * MEMO_BYTES;
    noteTimes(memo, kind, load<f64>(times + (lo << 3)), load<f64>(times + (last << 3)), hi - lo, end - range, end);
    store<f64>(factorsOf(plan, steps) + (k << 3), load<f64>(memo, MEMO_FACTOR));
    store<f64>(abovesOf(plan, steps) + (k << 3), load<f64>(memo, MEMO_ABOVE));
  }
}

/** All steps of a series whose value does not fall (or may): an increase is the last value of a window less the first. */
function goStraight(
  plan: usize,
  kind: u32,
  values: usize,
  start: f64,
  step: f64,
  steps: u32,
  range: f64,
  out: usize,
): void {
  const zero = f64x2.splat(0);
  let k: u32 = 0;
  for (; k + 1 < steps; k += 2) {
    const which = <u32>load<u16>(validsOf(plan, steps) + k);
    if (which == 0) continue;
    if (which == 0x0101) {
      const first = pair(values, load<u64>(firstsOf(plan, steps) + (k << 2)));
      const result = f64x2.sub(pair(values, load<u64>(lastsOf(plan, steps) + (k << 2))), first);
      const above = f64x2.mul(result, v128.load(abovesOf(plan, steps) + (k << 3)));
      const mayBeginAtZero = v128.and(
        v128.and(f64x2.gt(result, zero), f64x2.ge(first, zero)),
        v128.not(f64x2.gt(first, above)),
      );
      if (kind == DELTA || !v128.any_true(mayBeginAtZero)) {
        v128.store(out + (k << 3), f64x2.mul(result, v128.load(factorsOf(plan, steps) + (k << 3))));
        continue;
      }
    }
    goOne(plan, kind, values, k, start, step, steps, range, out);
    goOne(plan, kind, values, k + 1, start, step, steps, range, out);
  }
  if (k < steps) goOne(plan, kind, values, k, start, step, steps, range, out);
}

/** The values at two places, mostly neighbours. */
// @ts-ignore: decorator
@inline
function pair(values: usize, places: u64): v128 {
  const one = <u32>places;
  const other = <u32>(places >>> 32);
  if (other == one + 1) return v128.load(values + (one << 3));
  return v128.load64_lane(values + (other << 3), v128.load64_zero(values + (one << 3)), 1);
}

function goOne(
  plan: usize,
  kind: u32,
  values: usize,
  k: u32,
  start: f64,
  step: f64,
  steps: u32,
  range: f64,
  out: usize,
): void {
  if (load<u8>(validsOf(plan, steps) + k) == 0) return;
  const first = load<f64>(values + (load<u32>(firstsOf(plan, steps) + (k << 2)) << 3));
  const last = load<f64>(values + (load<u32>(lastsOf(plan, steps) + (k << 2)) << 3));
  const end = start + step * <f64>k;
  store<f64>(out + (k << 3), extrapolatedBy(plan + k * MEMO_BYTES, kind, last - first, first, end - range, end));
}

/** All steps of a series whose value falls: where it last fell says whether a window holds a fall, and is to be walked. */
function slide(
  plan: usize,
  kind: u32,
  values: usize,
  start: f64,
  step: f64,
  steps: u32,
  range: f64,
  out: usize,
): void {
  let seen: u32 = 0;
  let lastFall: u32 = 0;
  for (let k: u32 = 0; k < steps; k++) {
    if (load<u8>(validsOf(plan, steps) + k) == 0) continue;
    const lo = load<u32>(firstsOf(plan, steps) + (k << 2));
    const hi = load<u32>(lastsOf(plan, steps) + (k << 2));
    for (; seen < hi; seen++) {
      if (load<f64>(values + (seen << 3), 8) < load<f64>(values + (seen << 3))) lastFall = seen + 1;
    }
    const first = load<f64>(values + (lo << 3));
    const result = lastFall > lo ? increase(values + (lo << 3), hi - lo + 1) : load<f64>(values + (hi << 3)) - first;
    const end = start + step * <f64>k;
    store<f64>(out + (k << 3), extrapolatedBy(plan + k * MEMO_BYTES, kind, result, first, end - range, end));
  }
}
