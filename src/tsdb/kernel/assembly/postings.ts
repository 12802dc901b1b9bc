/**
 * Postings: the ids of a pair as runs, in the order in which they came.
 *
 * The last run is open and lives in the pair: the labels of one target need nothing else. Closed runs are bytes:
 *
 *     gap << 4 | length          gap and length 1 .. 15, gap counted from the end of the run before
 *     0x10 gap length            both varints
 *     0x20 u32 start, length     a run that begins before the end of the one before: reused ids go down
 *
 * in blocks { u32 next, u16 used, u16 size, bytes }, 32 to 1024 bytes; a run never straddles two blocks. Readers OR
 * lists into bitmaps, so the order never matters, and a reused id is simply one more run.
 */
import {
  BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN,
  BLOCK_HEADER_BYTES,
  BLOCK_NEXT,
  BLOCK_SIZE,
  BLOCK_USED,
  KIND_POSTING,
  PAIR_COUNT,
  PAIR_HEAD,
  PAIR_LAST_END,
  PAIR_RUN_END,
  PAIR_RUN_START,
  PAIR_TAIL,
  PAIR_TAIL_CAP,
  PAIR_TAIL_POS,
  SB_POSTING_BYTES,
  SB_RUN_NEXT,
  SB_WINDOW_HI,
  SB_WINDOW_LO,
} from '../layout';
import { allocate, release } from './memory';

/** Adds an id that is not in the list. */
export function postingAdd(pair: usize, id: u32): void {
  store<u32>(pair, load<u32>(pair, PAIR_COUNT) + 1, PAIR_COUNT);
  postingRun(pair, id, id + 1);
}

/** Adds a run of ids that are not in the list. */
export function postingAddRun(pair: usize, start: u32, end: u32): void {
  store<u32>(pair, load<u32>(pair, PAIR_COUNT) + end - start, PAIR_COUNT);
  postingRun(pair, start, end);
}

/** Adds a run of ids [start, end). */
// @ts-ignore: decorator
@inline
function postingRun(pair: usize, start: u32, end: u32): void {
  if (load<u32>(pair, PAIR_RUN_END) == start) {
    store<u32>(pair, end, PAIR_RUN_END);
    return;
  }
  closeRun(pair);
  store<u32>(pair, start, PAIR_RUN_START);
  store<u32>(pair, end, PAIR_RUN_END);
}

function closeRun(pair: usize): void {
  const start = load<u32>(pair, PAIR_RUN_START);
  if (start == 0) return;
  const end = load<u32>(pair, PAIR_RUN_END);
  const last = load<u32>(pair, PAIR_LAST_END);
  const length = end - start;
  const gap = start - last;
  store<u32>(pair, end, PAIR_LAST_END);
  if (start < last) {
    const at = room(pair, 5 + varintBytes(length));
    store<u8>(at, 0x20);
    store<u32>(at + 1, start);
    putVarint(at + 5, length);
  } else if (gap - 1 < 15 && length < 16) {
    store<u8>(room(pair, 1), (gap << 4) | length);
  } else {
    const gapBytes = varintBytes(gap);
    const at = room(pair, 1 + gapBytes + varintBytes(length));
    store<u8>(at, 0x10);
    putVarint(at + 1, gap);
    putVarint(at + 1 + gapBytes, length);
  }
}

/** Where n bytes may be written at the end of the pair's last block. */
function room(pair: usize, n: u32): usize {
  let tail = <usize>load<u32>(pair, PAIR_TAIL);
  let pos = <u32>load<u16>(pair, PAIR_TAIL_POS);
  const cap = <u32>load<u16>(pair, PAIR_TAIL_CAP);
  if (tail == 0 || pos + n > cap) {
    const size = tail == 0 ? BLOCK_BYTES_MIN : min<u32>(cap * 2, BLOCK_BYTES_MAX);
    const block = allocate(KIND_POSTING, size);
    if (block == 0) unreachable();
    store<u32>(block, 0, BLOCK_NEXT);
    store<u16>(block, BLOCK_HEADER_BYTES, BLOCK_USED);
    store<u16>(block, size, BLOCK_SIZE);
    if (tail == 0) store<u32>(pair, block, PAIR_HEAD);
    else store<u32>(tail, block, BLOCK_NEXT);
    store<u32>(pair, block, PAIR_TAIL);
    store<u16>(pair, size, PAIR_TAIL_CAP);
    store<u32>(SB_POSTING_BYTES, load<u32>(SB_POSTING_BYTES) + size);
    tail = block;
    pos = BLOCK_HEADER_BYTES;
  }
  store<u16>(pair, pos + n, PAIR_TAIL_POS);
  store<u16>(tail, pos + n, BLOCK_USED);
  return tail + pos;
}

function varintBytes(n: u32): u32 {
  return n < 0x80 ? 1 : n < 0x4000 ? 2 : n < 0x200000 ? 3 : n < 0x10000000 ? 4 : 5;
}

function putVarint(at: usize, n: u32): void {
  while (n >= 0x80) {
    store<u8>(at++, n | 0x80);
    n >>>= 7;
  }
  store<u8>(at, n);
}

/** Reads a varint that this file wrote; SB_RUN_NEXT is left behind it. */
function getVarint(at: usize): u32 {
  let n: u32 = 0;
  let shift: u32 = 0;
  let byte: u32;
  do {
    byte = load<u8>(at++);
    n |= (byte & 0x7f) << shift;
    shift += 7;
  } while (byte >= 0x80);
  store<u32>(SB_RUN_NEXT, at);
  return n;
}

/** Start and end of the closed run at `at`, as end << 32 | start; SB_RUN_NEXT is left behind it. */
// @ts-ignore: decorator
@inline
function readRun(at: usize, last: u32): u64 {
  const head = <u32>load<u8>(at);
  let start: u32;
  let length: u32;
  if ((head & 15) != 0) {
    start = last + (head >>> 4);
    length = head & 15;
    store<u32>(SB_RUN_NEXT, at + 1);
  } else if (head == 0x10) {
    start = last + getVarint(at + 1);
    length = getVarint(load<u32>(SB_RUN_NEXT));
  } else {
    assert(head == 0x20, 'postings byte is none of the three');
    start = load<u32>(at + 1);
    length = getVarint(at + 5);
  }
  return (<u64>(start + length) << 32) | start;
}

/** Sets the bits of all ids of a pair that lie in the window. */
export function postingOr(pair: usize, bitmap: usize): void {
  const lo = load<u32>(SB_WINDOW_LO);
  const hi = load<u32>(SB_WINDOW_HI);
  let last: u32 = 0;
  let block = <usize>load<u32>(pair, PAIR_HEAD);
  while (block != 0) {
    let at = block + BLOCK_HEADER_BYTES;
    const end = block + load<u16>(block, BLOCK_USED);
    while (at < end) {
      const run = readRun(at, last);
      at = load<u32>(SB_RUN_NEXT);
      last = <u32>(run >>> 32);
      setBits(bitmap, max<u32>(<u32>run, lo), min<u32>(last, hi));
    }
    block = load<u32>(block, BLOCK_NEXT);
  }
  setBits(bitmap, max<u32>(load<u32>(pair, PAIR_RUN_START), lo), min<u32>(load<u32>(pair, PAIR_RUN_END), hi));
}

/** True if an id of the pair is in the bitmap (within the window). */
export function postingMeets(pair: usize, bitmap: usize): bool {
  const lo = load<u32>(SB_WINDOW_LO);
  const hi = load<u32>(SB_WINDOW_HI);
  if (anyBit(bitmap, max<u32>(load<u32>(pair, PAIR_RUN_START), lo), min<u32>(load<u32>(pair, PAIR_RUN_END), hi))) return true;
  let last: u32 = 0;
  let block = <usize>load<u32>(pair, PAIR_HEAD);
  while (block != 0) {
    let at = block + BLOCK_HEADER_BYTES;
    const end = block + load<u16>(block, BLOCK_USED);
    while (at < end) {
      const run = readRun(at, last);
      at = load<u32>(SB_RUN_NEXT);
      last = <u32>(run >>> 32);
      if (anyBit(bitmap, max<u32>(<u32>run, lo), min<u32>(last, hi))) return true;
    }
    block = load<u32>(block, BLOCK_NEXT);
  }
  return false;
}

/** Gives all blocks back; the list is empty afterwards. */
export function postingClear(pair: usize): void {
  let block = <usize>load<u32>(pair, PAIR_HEAD);
  while (block != 0) {
    const next = load<u32>(block, BLOCK_NEXT);
    store<u32>(SB_POSTING_BYTES, load<u32>(SB_POSTING_BYTES) - load<u16>(block, BLOCK_SIZE));
    release(block, KIND_POSTING);
    block = next;
  }
  memory.fill(pair + PAIR_RUN_START, 0, PAIR_COUNT - PAIR_RUN_START);
}

/** Writes the list anew from the bits [from, to) of a bitmap, ascending. PAIR_COUNT is left to the caller. */
export function postingRebuild(pair: usize, bitmap: usize, from: u32, to: u32): void {
  postingClear(pair);
  let id = nextBit(bitmap, from, to, true);
  while (id < to) {
    const end = nextBit(bitmap, id, to, false);
    postingRun(pair, id, end);
    id = nextBit(bitmap, end, to, true);
  }
}

/** Lowest and highest id + 1 of a list, as high << 32 | low; 0 if it is empty. */
export function postingBounds(pair: usize): u64 {
  let low: u32 = load<u32>(pair, PAIR_RUN_START);
  let high: u32 = load<u32>(pair, PAIR_RUN_END);
  let last: u32 = 0;
  let block = <usize>load<u32>(pair, PAIR_HEAD);
  while (block != 0) {
    let at = block + BLOCK_HEADER_BYTES;
    const end = block + load<u16>(block, BLOCK_USED);
    while (at < end) {
      const run = readRun(at, last);
      at = load<u32>(SB_RUN_NEXT);
      last = <u32>(run >>> 32);
      if (<u32>run < low) low = <u32>run;
      if (last > high) high = last;
    }
    block = load<u32>(block, BLOCK_NEXT);
  }
  return (<u64>high << 32) | low;
}

// ---- bits

/** Sets the bits [start, end); nothing if start >= end. */
export function setBits(bitmap: usize, start: u32, end: u32): void {
  if (start >= end) return;
  const first = bitmap + ((start >>> 6) << 3);
  const last = bitmap + (((end - 1) >>> 6) << 3);
  const head = <u64>-1 << (start & 63);
  const tail = <u64>-1 >>> (63 - ((end - 1) & 63));
  if (first == last) {
    store<u64>(first, load<u64>(first) | (head & tail));
    return;
  }
  store<u64>(first, load<u64>(first) | head);
  for (let at = first + 8; at < last; at += 8) store<u64>(at, -1);
  store<u64>(last, load<u64>(last) | tail);
}

export function anyBit(bitmap: usize, start: u32, end: u32): bool {
  if (start >= end) return false;
  return nextBit(bitmap, start, end, true) < end;
}

// @ts-ignore: decorator
@inline
export function hasBit(bitmap: usize, id: u32): bool {
  return ((load<u8>(bitmap + (id >>> 3)) >>> (id & 7)) & 1) != 0;
}

/** First position in [from, to) whose bit is `wanted`, else `to`. */
export function nextBit(bitmap: usize, from: u32, to: u32, wanted: bool): u32 {
  let at = from;
  while (at < to) {
    let word = load<u64>(bitmap + ((at >>> 6) << 3));
    if (!wanted) word = ~word;
    word >>>= at & 63;
    if (word != 0) return min<u32>(at + <u32>ctz<u64>(word), to);
    at = (at & ~63) + 64;
  }
  return to;
}
