/** Sums straight from the records: what an instant selector sees of a series mostly stands there. */
import {
  EXTRA_HAS_HISTOGRAMS,
  FLAG_EXTRAS,
  REC_BITS,
  REC_FLAGS,
  REC_SAMPLES,
  REC_SET,
  REC_TIME,
  RESULT_EXTRAS,
  RESULT_READ_NEWEST,
  RESULT_READ_SAMPLES,
  SB_ID_NEXT,
  SB_RESULT,
  SB_WINDOW_HI,
  SB_WINDOW_LO,
} from '../layout';
import { decode, STALE } from './chunk';
import { extrasKinds } from './extras';
import { bitmapOf } from './select';
import { recordOf } from './series';

/** A place for one sample. */
const ONE: usize = SB_RESULT + 288;

/**
 * Adds the newest sample in (from, to] of each series of a bitmap to one sum at `sums`, as `addUp` does with what
 * `lastValues` leaves, and returns the number of series that have one, be it a stale marker. EXTRA_HAS_HISTOGRAMS in
 * RESULT_EXTRAS: some series has histograms, and the sum is worth nothing.
 */
export function sumNewest(slot: u32, from: f64, to: f64, sums: usize): u32 {
  const bitmap = bitmapOf(slot);
  const hi = min<u32>(load<u32>(SB_WINDOW_HI), load<u32>(SB_ID_NEXT));
  let total = load<f64>(sums);
  let rest = load<f64>(sums, 8);
  let series: u32 = 0;
  let read: u32 = 0;
  let newest: f64 = -Infinity;
  let extras: u32 = 0;
  for (let base = load<u32>(SB_WINDOW_LO); base < hi; base += 64) {
    let word = load<u64>(bitmap + (base >>> 3));
    if (base + 64 > hi) word &= ((<u64>1) << (hi - base)) - 1;
    while (word != 0) {
      const record = recordOf(base + <u32>ctz<u64>(word));
      word &= word - 1;
      let time = load<f64>(record, REC_TIME);
      if (load<u32>(record, REC_SET) == 0) continue;
      if ((load<u8>(record, REC_FLAGS) & FLAG_EXTRAS) != 0) extras |= extrasKinds(record);
      if (load<u32>(record, REC_SAMPLES) == 0 || !(time > from)) continue;
      let bits = load<i64>(record, REC_BITS);
      if (time > to) {
        if (decode(record, from, to, ONE, ONE + 8, 1) == 0) continue;
        time = load<f64>(ONE);
        bits = load<i64>(ONE + 8);
      }
      series++;
      if (bits == STALE) continue;
      read++;
      newest = max(newest, time);
      const value = reinterpret<f64>(bits);
      const sum = total + value;
      if (sum == Infinity || sum == -Infinity) rest = 0;
      else rest += abs<f64>(total) >= abs<f64>(value) ? total - sum + value : value - sum + total;
      total = sum;
    }
  }
  store<f64>(sums, total);
  store<f64>(sums, rest, 8);
  store<f64>(SB_RESULT + RESULT_READ_SAMPLES, <f64>read);
  store<f64>(SB_RESULT + RESULT_READ_NEWEST, newest);
  store<u32>(SB_RESULT + RESULT_EXTRAS, extras & EXTRA_HAS_HISTOGRAMS);
  return series;
}
