/**
 * Selecting: bitmaps of ids in the query scratch.
 *
 * TypeScript resolves matchers into lists of pairs and says what to OR, AND and AND NOT; here the bits are moved. All
 * operations stay within a window of ids, which the first narrow list draws together.
 */
import {
  BITMAPS,
  FLAG_EXTRAS,
  NAME_ALL,
  NAME_FIRST,
  PAIR_BLOB,
  PAIR_NEXT,
  REC_DELTA_MIN,
  REC_FLAGS,
  REC_SAMPLES,
  REC_SET,
  REC_TIME,
  RECORD_BYTES,
  RESULT_EXTRAS,
  RESULT_SAMPLES_MAX,
  SB_BITMAP_BYTES,
  SB_BITMAPS,
  SB_CURSOR,
  SB_ID_NEXT,
  SB_RESULT,
  SB_WINDOW_HI,
  SB_WINDOW_LO,
} from '../layout';
import { decode } from './chunk';
import { extrasKinds, histogramsBound } from './extras';
import { nameAddress } from './labels';
import { anyBit, postingMeets, postingOr } from './postings';
import { recordOf } from './series';

/** Intervals below this are taken for hiccups: samples are then counted, not computed from the interval. */
const HICCUP_MS: u32 = 500;
/** A place for one sample. */
const ONE: usize = SB_RESULT + 256;

// @ts-ignore: decorator
@inline
export function bitmapOf(slot: u32): usize {
  assert(slot < <u32>BITMAPS, 'no such bitmap');
  return <usize>load<u32>(SB_BITMAPS) + slot * load<u32>(SB_BITMAP_BYTES);
}

/** Opens the window over all ids; begins a selection. */
export function selectBegin(): void {
  store<u32>(SB_WINDOW_LO, 0);
  store<u32>(SB_WINDOW_HI, (load<u32>(SB_ID_NEXT) + 127) & ~127);
}

// @ts-ignore: decorator
@inline
function windowFrom(): u32 {
  return load<u32>(SB_WINDOW_LO) >>> 3;
}

// @ts-ignore: decorator
@inline
function windowTo(): u32 {
  return load<u32>(SB_WINDOW_HI) >>> 3;
}

export function bitmapFill(slot: u32, bits: u32): void {
  memory.fill(bitmapOf(slot) + windowFrom(), <u8>bits, windowTo() - windowFrom());
}

export function bitmapAnd(into: u32, other: u32): void {
  const a = bitmapOf(into);
  const b = bitmapOf(other);
  for (let at = windowFrom(); at < windowTo(); at += 16) v128.store(a + at, v128.and(v128.load(a + at), v128.load(b + at)));
}

export function bitmapAndNot(into: u32, other: u32): void {
  const a = bitmapOf(into);
  const b = bitmapOf(other);
  for (let at = windowFrom(); at < windowTo(); at += 16) v128.store(a + at, v128.andnot(v128.load(a + at), v128.load(b + at)));
}

export function bitmapOr(into: u32, other: u32): void {
  const a = bitmapOf(into);
  const b = bitmapOf(other);
  for (let at = windowFrom(); at < windowTo(); at += 16) v128.store(a + at, v128.or(v128.load(a + at), v128.load(b + at)));
}

/** ORs the postings of n pairs, whose addresses stand at `pairs`. */
export function bitmapOrPairs(slot: u32, pairs: usize, n: u32): void {
  const bitmap = bitmapOf(slot);
  for (let i: u32 = 0; i < n; i++) postingOr(load<u32>(pairs + (i << 2)), bitmap);
}

/** ORs all series that carry a name. */
export function bitmapOrName(slot: u32, name: u32): void {
  postingOr(load<u32>(nameAddress(name), NAME_ALL), bitmapOf(slot));
}

/** Draws the window together around the bits of a bitmap, in steps of 128; false if there are none. */
export function bitmapNarrow(slot: u32): bool {
  const bitmap = bitmapOf(slot);
  let lo = windowFrom();
  let hi = windowTo();
  while (lo < hi && !v128.any_true(v128.load(bitmap + lo))) lo += 16;
  while (hi > lo && !v128.any_true(v128.load(bitmap + hi - 16))) hi -= 16;
  store<u32>(SB_WINDOW_LO, lo << 3);
  store<u32>(SB_WINDOW_HI, hi << 3);
  return lo < hi;
}

/**
 * Writes the ids of live series with samples in (from, to] to `out` and leaves an upper bound of those samples in
 * RESULT_SAMPLES_MAX, and what extras some of them have in RESULT_EXTRAS. With `keep`, clears the bits of all others.
 */
export function collect(slot: u32, from: f64, to: f64, out: usize, keep: bool): u32 {
  const bitmap = bitmapOf(slot);
  const hi = min<u32>(load<u32>(SB_WINDOW_HI), load<u32>(SB_ID_NEXT));
  store<f64>(LAST_SPAN, NaN);
  store<u32>(SB_RESULT + RESULT_EXTRAS, 0);
  let bound: f64 = 0;
  let end = out;
  // The window begins at a multiple of 128.
  for (let base = load<u32>(SB_WINDOW_LO); base < hi; base += 64) {
    const at = bitmap + (base >>> 3);
    let word = load<u64>(at);
    if (base + 64 > hi) word &= ((<u64>1) << (hi - base)) - 1;
    let kept = word;
    while (word != 0) {
      const bit = word & (0 - word);
      const id = base + <u32>ctz<u64>(word);
      word ^= bit;
      const record = recordOf(id);
      const samples = load<u32>(record, REC_SET) == 0 ? 0 : samplesBound(record, from, to);
      if (samples > 0) {
        store<u32>(end, id);
        end += 4;
        bound += samples;
      } else kept ^= bit;
    }
    if (keep) store<u64>(at, kept);
  }
  store<f64>(SB_RESULT + RESULT_SAMPLES_MAX, bound);
  return <u32>(end - out) >>> 2;
}

/** Interval, span and bound of the last series: neighbours mostly have the same, and a division is long. */
const LAST_SPAN: usize = SB_RESULT + 272;
const LAST_INTERVAL: usize = SB_RESULT + 280;
const LAST_BOUND: usize = SB_RESULT + 288;

/** At least the number of samples in (from, to]; 0 exactly if there are none. */
// @ts-ignore: decorator
@inline
function samplesBound(record: usize, from: f64, to: f64): f64 {
  const samples = load<u32>(record, REC_SAMPLES);
  const newest = load<f64>(record, REC_TIME);
  const interval = <u32>load<u16>(record, REC_DELTA_MIN);
  const plain = newest > from && newest <= to && interval >= HICCUP_MS && (load<u8>(record, REC_FLAGS) & FLAG_EXTRAS) == 0;
  if (!plain || samples < 2) return samplesBoundSlow(record, from, to);
  const span = newest - from;
  if (span != load<f64>(LAST_SPAN) || interval != load<u32>(LAST_INTERVAL)) {
    store<f64>(LAST_SPAN, span);
    store<u32>(LAST_INTERVAL, interval);
    store<f64>(LAST_BOUND, Math.floor(span / <f64>interval) + 1);
  }
  return min<f64>(<f64>samples, load<f64>(LAST_BOUND));
}

function samplesBoundSlow(record: usize, from: f64, to: f64): f64 {
  const floats = floatsBound(record, from, to);
  if ((load<u8>(record, REC_FLAGS) & FLAG_EXTRAS) == 0) return floats;
  const samples = floats + histogramsBound(record, from, to);
  if (samples > 0) store<u32>(SB_RESULT + RESULT_EXTRAS, load<u32>(SB_RESULT + RESULT_EXTRAS) | extrasKinds(record));
  return samples;
}

function floatsBound(record: usize, from: f64, to: f64): f64 {
  const samples = load<u32>(record, REC_SAMPLES);
  const newest = load<f64>(record, REC_TIME);
  if (samples == 0 || !(newest > from) || !(to > from)) return 0;
  let last = newest;
  if (newest > to) {
    if (decode(record, from, to, ONE, ONE + 8, 1) == 0) return 0;
    last = load<f64>(ONE);
  }
  const interval = <u32>load<u16>(record, REC_DELTA_MIN);
  if (samples == 1) return 1;
  // Every cell byte stands for a sample or more, so few samples in all need no count either.
  if (interval < HICCUP_MS && samples > 16) return <f64>countSamples(record, from, to);
  return min<f64>(<f64>samples, Math.floor((last - from) / <f64>max<u32>(interval, 1)) + 1);
}

/** Counts by decoding; for series whose intervals are irregular. */
export function countSamples(record: usize, from: f64, to: f64): u32 {
  // Times go to one place over and over: a column of one, entered again and again.
  let count: u32 = 0;
  let source = record;
  while (true) {
    const n = decode(source, from, to, COUNT_TIMES, COUNT_VALUES, COUNT_PLACES);
    count += n;
    if (n < COUNT_PLACES) return count;
    source = CURSOR;
  }
  return count;
}

const COUNT_PLACES: u32 = 8;
const COUNT_TIMES: usize = SB_RESULT + 296;
const COUNT_VALUES: usize = COUNT_TIMES + COUNT_PLACES * 8;
const CURSOR: usize = SB_CURSOR;

/** True if a series of the bitmap has a label pair. */
export function bitmapMeetsPair(slot: u32, pair: usize): bool {
  return postingMeets(pair, bitmapOf(slot));
}

export function bitmapMeetsName(slot: u32, name: u32): bool {
  return postingMeets(load<u32>(nameAddress(name), NAME_ALL), bitmapOf(slot));
}

export function bitmapIsEmpty(slot: u32): bool {
  return !anyBit(bitmapOf(slot), load<u32>(SB_WINDOW_LO), load<u32>(SB_WINDOW_HI));
}

/** Writes pairs of a name to `out`, from `pair` on (0: from the first); their number, at most `max`. */
export function pairsOf(name: u32, pair: usize, out: usize, max: u32): u32 {
  let next = pair == 0 ? <usize>load<u32>(nameAddress(name), NAME_FIRST) : load<u32>(pair, PAIR_NEXT);
  let n: u32 = 0;
  while (next != 0 && n < max) {
    store<u32>(out + (n << 2), <u32>next);
    store<u32>(out + ((max + n) << 2), load<u32>(next, PAIR_BLOB));
    next = load<u32>(next, PAIR_NEXT);
    n++;
  }
  return n;
}

/** Copies the records of n ids, 64 bytes each: the snapshot that a selection reads from while the store goes on. */
export function copyRecords(ids: usize, n: u32, out: usize): void {
  for (let i: u32 = 0; i < n; i++) {
    const from = recordOf(load<u32>(ids + (i << 2)));
    const to = out + i * RECORD_BYTES;
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    v128.store(to, v128.load(from, 32), 32);
    v128.store(to, v128.load(from, 48), 48);
  }
}
