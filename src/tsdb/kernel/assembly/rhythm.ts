/**
 * Rhythms: when the samples of series came (../../rhythm.ts says what is told of them), read off the log without their
 * values. The walk goes back from the newest sample, so the newest gaps, which the interval is learned from, come first
 * and wait; from then on each gap is judged as it is met, and nothing is decoded into columns.
 */
import {
  CELL_HEADER_BYTES,
  CELL_PREVIOUS,
  CELL_PREVIOUS_PERIOD,
  CELL_PREVIOUS_POS,
  REC_BITS,
  REC_CELL,
  REC_CELL_PERIOD,
  REC_DELTA,
  REC_PERIOD,
  REC_POS,
  REC_RUN,
  REC_SAMPLES,
  REC_TIME,
  RECORD_BYTES,
  RHYTHM_BYTES,
  RHYTHM_FIRST,
  RHYTHM_GAP_START,
  RHYTHM_HOLES,
  RHYTHM_INTERVAL,
  RHYTHM_NEWEST,
  RHYTHM_STATE,
  SB_CURSOR,
  SB_RESULT,
} from '../layout';
import { ABSOLUTE_BYTES, ABSOLUTE_HEADER, decode, RUN_HEADER, STALE, VALUE_XOR } from './chunk';
import { isCellOf, isLivePeriod } from './period';
import { recordOf } from './series';

const SEEN: u32 = 1;
const IS_BACK: u32 = 2;
const ENDED: u32 = 4;

/** Gaps that an interval is learned from: as they are met, and sorted. */
const WAITING_MAX: u32 = 5;
const WAITING: usize = SB_RESULT + 424;
const SORTED: usize = WAITING + 40;
const WIDEST: usize = SORTED + 40;
/** A place for one sample. */
const ONE: usize = WAITING;

/** Bytes of the value payload of a class, a hexadecimal digit each, class 0 last; XOR has more, as its byte says. */
const PAYLOAD_BYTES: u64 = 0x0153213212143210;

/**
 * Writes the rhythms of series, given as ids or as copies of records, RHYTHM_BYTES each: samples of (from, end], holes
 * since `start`, lives that a gap above `life` ends, and holes in gaps above `factor` intervals and `slack`.
 */
export function rhythms(
  sources: usize,
  copies: bool,
  n: u32,
  from: f64,
  start: f64,
  end: f64,
  life: f64,
  factor: f64,
  slack: f64,
  unknown: f64,
  out: usize,
): void {
  for (let i: u32 = 0; i < n; i++) {
    const record = copies ? sources + i * RECORD_BYTES : recordOf(load<u32>(sources + (i << 2)));
    const to = out + i * RHYTHM_BYTES;
    store<f64>(to, 0, RHYTHM_STATE);
    if (load<u32>(record, REC_SAMPLES) == 0) continue;
    const newest = load<f64>(record, REC_TIME);
    if (newest <= from) continue;
    if (newest <= end) {
      walk(record, newest, load<i64>(record, REC_BITS), from, start, end, life, factor, slack, unknown, to);
    } else if (decode(record, from, end, ONE, ONE + 8, 1) == 1) {
      // The cursor stands at the sample before.
      walk(SB_CURSOR, load<f64>(ONE), load<i64>(ONE + 8), from, start, end, life, factor, slack, unknown, to);
    }
  }
}

/** `source` is the record, or a cursor that stands before the newest sample. The steps are those of chunk.ts. */
function walk(
  source: usize,
  newest: f64,
  bits: i64,
  from: f64,
  start: f64,
  end: f64,
  life: f64,
  factor: f64,
  slack: f64,
  unknown: f64,
  out: usize,
): void {
  let time = load<f64>(source, REC_TIME);
  let delta = load<i32>(source, REC_DELTA);
  let run = <u32>load<u8>(source, REC_RUN);
  let cell = <usize>load<u32>(source, REC_CELL);
  let pos = <u32>load<u16>(source, REC_POS);
  let more = load<u32>(source, REC_SAMPLES) != 0;
  if (run != 0 && !isLivePeriod(load<u16>(source, REC_PERIOD))) {
    run = 0;
    cell = 0;
  }
  if (cell != 0 && !isCellOf(cell, load<u16>(source, REC_CELL_PERIOD))) cell = 0;
  if (cell == 0) pos = 0;

  store<f64>(out, newest, RHYTHM_GAP_START);
  store<f64>(out, 0, RHYTHM_HOLES);
  store<f64>(WIDEST, 0);
  let last = newest;
  let waiting: u32 = 0;
  // Until the interval is known no gap is too long.
  let gapMax = Infinity;
  let isBack = false;
  // Nearly always: the newest five gaps are one interval, and need not wait for each other.
  if (time == newest && delta > 0 && <f64>delta <= life && time - <f64>delta * WAITING_MAX > from && isRegular(run, cell + pos, pos)) {
    gapMax = learn(<f64>delta, newest, start, end, factor, slack, out);
    waiting = WAITING_MAX;
  }
  while (more && time > from) {
    const gap = last - time;
    if (gap > 0) {
      if (gap > life) {
        isBack = true;
        break;
      }
      if (waiting < WAITING_MAX) {
        store<f64>(WAITING + (waiting << 3), gap);
        waiting++;
        if (waiting == WAITING_MAX) gapMax = settle(waiting, newest, start, end, factor, slack, unknown, out);
      } else if (gap > gapMax && last > start) noteHole(out, time, last, gapMax, start);
      last = time;
    }
    // Regular samples, many at a time: their gaps are one interval, which is known to be short enough.
    if (waiting == WAITING_MAX && delta > 0 && <f64>delta <= gapMax && <f64>delta <= life) {
      let left = stepsTo(from, time, <f64>delta);
      const repeats = min<u32>(run, left);
      run -= repeats;
      left -= repeats;
      time -= <f64>delta * <f64>repeats;
      while (run == 0 && left > 0 && pos > <u32>CELL_HEADER_BYTES) {
        const steps = min<u32>(shortEntries(cell + pos, pos - CELL_HEADER_BYTES), left);
        if (steps == 0) break;
        pos -= steps;
        left -= steps;
        time -= <f64>delta * <f64>steps;
      }
      last = time;
      if (left == 0) break;
    }
    if (run > 0) {
      run--;
      time -= <f64>delta;
      continue;
    }
    while (pos <= <u32>CELL_HEADER_BYTES) {
      const previous = cell == 0 ? 0 : <usize>load<u32>(cell, CELL_PREVIOUS);
      if (previous == 0 || !isCellOf(previous, load<u16>(cell, CELL_PREVIOUS_PERIOD))) {
        more = false;
        break;
      }
      pos = load<u8>(cell, CELL_PREVIOUS_POS);
      cell = previous;
    }
    if (!more) break;
    pos--;
    const header = <u32>load<u8>(cell + pos);
    if (header == ABSOLUTE_HEADER) {
      pos -= ABSOLUTE_BYTES - 1;
      time = load<f64>(cell + pos, 8);
      delta = load<i32>(cell + pos, 16);
      continue;
    }
    time -= <f64>delta;
    if (header < 0x80) continue;
    if (header > RUN_HEADER) {
      run = header - RUN_HEADER - 1;
      continue;
    }
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
    const valueClass = header & 15;
    pos -= <u32>(PAYLOAD_BYTES >>> (valueClass << 2)) & 15;
    if (valueClass == VALUE_XOR) pos -= <u32>load<u8>(cell + pos) & 15;
  }
  if (waiting < WAITING_MAX) settle(waiting, newest, start, end, factor, slack, unknown, out);
  store<f64>(out, <f64>(SEEN | (isBack ? IS_BACK : 0) | (bits == STALE ? ENDED : 0)), RHYTHM_STATE);
  store<f64>(out, newest, RHYTHM_NEWEST);
  store<f64>(out, last, RHYTHM_FIRST);
}

/** How many steps of an interval lead from a time to the last one above `from`. */
// @ts-ignore: decorator
@inline
function stepsTo(from: f64, time: f64, interval: f64): u32 {
  return <u32>(min<f64>(Math.ceil((time - from) / interval), 4294967295) - 1);
}

/** How many entries before a place are nothing but a header that keeps the interval; of `max`, and of sixteen. */
// @ts-ignore: decorator
@inline
function shortEntries(at: usize, max: u32): u32 {
  // What lies before the cell is read as well, and is beyond `max`.
  return min<u32>(max, clz<u32>((i8x16.bitmask(v128.load(at - 16)) << 16) | 0x8000));
}

/** True if the five gaps before a place in a log are alike: the open run says so, or five headers that keep the interval. */
// @ts-ignore: decorator
@inline
function isRegular(run: u32, at: usize, pos: u32): bool {
  if (run != 0) return run >= WAITING_MAX;
  return pos >= <u32>CELL_HEADER_BYTES + WAITING_MAX && (load<u64>(at - 8) & 0x8080808080000000) == 0;
}

/** Notes the interval and judges the time since the newest sample; how long a gap may be. */
function learn(interval: f64, newest: f64, start: f64, end: f64, factor: f64, slack: f64, out: usize): f64 {
  store<f64>(out, interval, RHYTHM_INTERVAL);
  const gapMax = factor * interval + slack;
  if (end - newest > gapMax && end > start) noteHole(out, newest, end, gapMax, start);
  return gapMax;
}

/** Learns the interval from the gaps that wait, and judges them; how long a gap may be. */
function settle(n: u32, newest: f64, start: f64, end: f64, factor: f64, slack: f64, unknown: f64, out: usize): f64 {
  for (let i: u32 = 0; i < n; i++) {
    const gap = load<f64>(WAITING + (i << 3));
    let at = SORTED + (i << 3);
    for (; at > SORTED && load<f64>(at - 8) > gap; at -= 8) store<f64>(at, load<f64>(at - 8));
    store<f64>(at, gap);
  }
  const interval = n == 0 ? unknown : load<f64>(SORTED + (((n - 1) >>> 1) << 3));
  const gapMax = learn(interval, newest, start, end, factor, slack, out);
  if (n == 0) store<f64>(out, 0, RHYTHM_INTERVAL);
  let until = newest;
  for (let i: u32 = 0; i < n; i++) {
    const since = until - load<f64>(WAITING + (i << 3));
    if (until - since > gapMax && until > start) noteHole(out, since, until, gapMax, start);
    until = since;
  }
  return gapMax;
}

function noteHole(out: usize, since: f64, until: f64, gapMax: f64, start: f64): void {
  const gap = until - since;
  store<f64>(out, load<f64>(out, RHYTHM_HOLES) + min<f64>(gap - gapMax, until - start), RHYTHM_HOLES);
  // Of equally long ones the first, which is met last.
  if (gap < load<f64>(WIDEST)) return;
  store<f64>(WIDEST, gap);
  store<f64>(out, since, RHYTHM_GAP_START);
}
