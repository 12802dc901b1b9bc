/**
 * Pages and slabs: who owns which 64 KiB page of the heap.
 *
 *     page table   one entry a page: kind, cell size, live cells, free cells      (PAGE_* in layout.ts)
 *     free pages   a linked stack through the table; never-used pages lie behind the frontier
 *     slabs        pages of equal cells; a list of pages with room for each kind and size class
 *
 * A page belongs to one kind and one cell size as long as one of its cells lives; then it goes back to all.
 * Chunk pages belong to a period instead and go back together with it.
 */
import {
  KIND_FREE,
  KIND_TABLE,
  PAGE_BUMP,
  PAGE_BYTES,
  PAGE_CELL,
  PAGE_CLASS,
  PAGE_ENTRY_BYTES,
  PAGE_FREE,
  PAGE_KIND,
  PAGE_LISTED,
  PAGE_LIVE,
  PAGE_NEXT,
  PAGE_PREVIOUS,
  SB_FREE_PAGE,
  SB_FREE_PAGES,
  SB_FRONTIER,
  SB_HEAP_END,
  SB_HEAP_FIRST,
  SB_PAGE_TABLE,
  SB_SLABS,
  SLAB_CLASSES,
} from '../layout';

/** What debug builds write over cells that are given back. */
export const POISON: u8 = 0xdb;

// @ts-ignore: decorator
@inline
export function pageEntry(page: u32): usize {
  return load<u32>(SB_PAGE_TABLE) + page * PAGE_ENTRY_BYTES;
}

// @ts-ignore: decorator
@inline
export function entryOf(address: usize): usize {
  return pageEntry(address >>> 16);
}

/** Pages that can still be handed out. */
export function pagesFree(): u32 {
  return load<u32>(SB_FREE_PAGES) + load<u32>(SB_HEAP_END) - load<u32>(SB_FRONTIER);
}

/** Takes one page; 0 if there is none. */
export function takePage(): u32 {
  const free = load<u32>(SB_FREE_PAGE);
  if (free != 0) {
    assert(load<u8>(pageEntry(free), PAGE_KIND) == KIND_FREE, 'page on the free list is in use');
    store<u32>(SB_FREE_PAGE, load<u32>(pageEntry(free), PAGE_NEXT));
    store<u32>(SB_FREE_PAGES, load<u32>(SB_FREE_PAGES) - 1);
    return free;
  }
  const frontier = load<u32>(SB_FRONTIER);
  if (frontier >= load<u32>(SB_HEAP_END)) return 0;
  store<u32>(SB_FRONTIER, frontier + 1);
  return frontier;
}

export function givePage(page: u32): void {
  const entry = pageEntry(page);
  assert(page >= load<u32>(SB_HEAP_FIRST) && page < load<u32>(SB_FRONTIER), 'page given back is not of the heap');
  assert(load<u8>(entry, PAGE_KIND) != KIND_FREE, 'page given back twice');
  if (!ASC_NO_ASSERT) memory.fill(<usize>page << 16, POISON, PAGE_BYTES);
  memory.fill(entry, 0, PAGE_ENTRY_BYTES);
  store<u32>(entry, load<u32>(SB_FREE_PAGE), PAGE_NEXT);
  store<u32>(SB_FREE_PAGE, page);
  store<u32>(SB_FREE_PAGES, load<u32>(SB_FREE_PAGES) + 1);
}

/** Takes n pages that lie side by side, for a table; their bytes are zero. 0 if there is no such run. */
export function takeRun(n: u32): u32 {
  let first: u32 = 0;
  const frontier = load<u32>(SB_FRONTIER);
  if (n == 1) first = takePage();
  else if (load<u32>(SB_HEAP_END) - frontier >= n) {
    first = frontier;
    store<u32>(SB_FRONTIER, first + n);
  } else first = takeFreeRun(n);
  if (first == 0) return 0;
  for (let page = first; page < first + n; page++) {
    memory.fill(pageEntry(page), 0, PAGE_ENTRY_BYTES);
    store<u8>(pageEntry(page), KIND_TABLE, PAGE_KIND);
  }
  // Pages from behind the frontier are zero already; to touch them all now would stall.
  if (first < frontier) memory.fill(<usize>first << 16, 0, n << 16);
  return first;
}

/** The slow way to a run: look for free neighbours, then make the free list anew. Tables grow rarely. */
function takeFreeRun(n: u32): u32 {
  const end = load<u32>(SB_FRONTIER);
  let run: u32 = 0;
  for (let page = load<u32>(SB_HEAP_FIRST); page < end; page++) {
    run = load<u8>(pageEntry(page), PAGE_KIND) == KIND_FREE ? run + 1 : 0;
    if (run == n) {
      const first = page + 1 - n;
      for (let own = first; own <= page; own++) store<u8>(pageEntry(own), KIND_TABLE, PAGE_KIND);
      relistFreePages();
      return first;
    }
  }
  return 0;
}

/** Makes the list of free pages from the page table. */
export function relistFreePages(): void {
  let head: u32 = 0;
  let count: u32 = 0;
  for (let page = load<u32>(SB_FRONTIER) - 1; page >= load<u32>(SB_HEAP_FIRST); page--) {
    if (load<u8>(pageEntry(page), PAGE_KIND) != KIND_FREE) continue;
    store<u32>(pageEntry(page), head, PAGE_NEXT);
    head = page;
    count++;
  }
  store<u32>(SB_FREE_PAGE, head);
  store<u32>(SB_FREE_PAGES, count);
}

// ---- slabs

/** Size class of a cell: steps of 8 bytes up to 256, then four steps a doubling up to 8192. */
export function classOf(bytes: u32): u32 {
  if (bytes <= 256) return bytes == 0 ? 0 : (bytes - 1) >>> 3;
  const power = 31 - clz<u32>(bytes - 1);
  return 32 + ((power - 8) << 2) + (((bytes - 1) >>> (power - 2)) & 3);
}

export function cellBytes(sizeClass: u32): u32 {
  if (sizeClass < 32) return (sizeClass + 1) << 3;
  const power = 8 + ((sizeClass - 32) >>> 2);
  return (<u32>1 << power) + ((((sizeClass - 32) & 3) + 1) << (power - 2));
}

// @ts-ignore: decorator
@inline
function listHead(kind: u32, sizeClass: u32): usize {
  return SB_SLABS + ((kind * SLAB_CLASSES + sizeClass) << 2);
}

/** A cell of at least that many bytes; 0 if memory is full. Its bytes are whatever they were. */
export function allocate(kind: u32, bytes: u32): usize {
  const sizeClass = classOf(bytes);
  const head = listHead(kind, sizeClass);
  let page = load<u32>(head);
  if (page == 0) {
    page = takePage();
    if (page == 0) return 0;
    openSlab(page, kind, sizeClass, cellBytes(sizeClass));
    enlist(page, head);
  }
  return takeCell(page, head);
}

export function release(address: usize, kind: u32): void {
  const page = <u32>address >>> 16;
  const entry = pageEntry(page);
  assert(load<u8>(entry, PAGE_KIND) == kind, 'cell given back to the wrong kind');
  giveCell(page, address, listHead(kind, load<u8>(entry, PAGE_CLASS)));
}

export function openSlab(page: u32, kind: u32, sizeClass: u32, bytes: u32): void {
  const entry = pageEntry(page);
  memory.fill(entry, 0, PAGE_ENTRY_BYTES);
  store<u8>(entry, kind, PAGE_KIND);
  store<u8>(entry, sizeClass, PAGE_CLASS);
  store<u16>(entry, bytes, PAGE_CELL);
}

/** Takes a cell of a page with room; `head` is the list that the page is on. */
export function takeCell(page: u32, head: usize): usize {
  const entry = pageEntry(page);
  const cell = <u32>load<u16>(entry, PAGE_CELL);
  const free = <u32>load<u16>(entry, PAGE_FREE);
  let at: u32;
  let bump = <u32>load<u16>(entry, PAGE_BUMP);
  let nextFree: u32 = 0;
  if (free != 0) {
    at = free - 1;
    nextFree = load<u32>((<usize>page << 16) + (at << 3));
    store<u16>(entry, nextFree, PAGE_FREE);
  } else {
    at = bump;
    bump += cell >>> 3;
    store<u16>(entry, bump, PAGE_BUMP);
  }
  store<u16>(entry, load<u16>(entry, PAGE_LIVE) + 1, PAGE_LIVE);
  if (nextFree == 0 && (bump << 3) + cell > <u32>PAGE_BYTES) delist(page, head);
  return (<usize>page << 16) + (at << 3);
}

export function giveCell(page: u32, address: usize, head: usize): void {
  const entry = pageEntry(page);
  const live = <u32>load<u16>(entry, PAGE_LIVE) - 1;
  assert(live < <u32>PAGE_BYTES, 'cell given back to an empty page');
  assert((<u32>address & 0xffff) % <u32>load<u16>(entry, PAGE_CELL) == 0, 'address given back is not a cell');
  if (!ASC_NO_ASSERT) memory.fill(address, POISON, load<u16>(entry, PAGE_CELL));
  store<u16>(entry, live, PAGE_LIVE);
  store<u32>(address, load<u16>(entry, PAGE_FREE));
  store<u16>(entry, ((<u32>address & 0xffff) >>> 3) + 1, PAGE_FREE);
  if (live == 0) {
    if (load<u8>(entry, PAGE_LISTED)) delist(page, head);
    givePage(page);
  } else if (!load<u8>(entry, PAGE_LISTED)) enlist(page, head);
}

export function enlist(page: u32, head: usize): void {
  const entry = pageEntry(page);
  const next = load<u32>(head);
  store<u32>(entry, next, PAGE_NEXT);
  store<u32>(entry, 0, PAGE_PREVIOUS);
  if (next != 0) store<u32>(pageEntry(next), page, PAGE_PREVIOUS);
  store<u32>(head, page);
  store<u8>(entry, 1, PAGE_LISTED);
}

export function delist(page: u32, head: usize): void {
  const entry = pageEntry(page);
  const next = load<u32>(entry, PAGE_NEXT);
  const previous = load<u32>(entry, PAGE_PREVIOUS);
  if (next != 0) store<u32>(pageEntry(next), previous, PAGE_PREVIOUS);
  if (previous != 0) store<u32>(pageEntry(previous), next, PAGE_NEXT);
  else store<u32>(head, next);
  store<u8>(entry, 0, PAGE_LISTED);
}

// ---- small helpers of everybody

/** True if n bytes at a and b are equal; reads up to 15 bytes past both. */
// @ts-ignore: decorator
@inline
export function bytesEqual(a: usize, b: usize, n: u32): bool {
  if (n < 16) {
    const mask = <u32>i8x16.bitmask(i8x16.ne(v128.load(a), v128.load(b)));
    return (mask & ((<u32>1 << n) - 1)) == 0;
  }
  // The last 16 bytes overlap the ones before: no mask, and up to 32 bytes without a loop.
  const tail = n - 16;
  let differ = v128.xor(v128.load(a + tail), v128.load(b + tail));
  differ = v128.or(differ, v128.xor(v128.load(a), v128.load(b)));
  for (let at: u32 = 16; at < tail; at += 16) {
    differ = v128.or(differ, v128.xor(v128.load(a + at), v128.load(b + at)));
  }
  return !v128.any_true(differ);
}

/** Order of two byte strings: negative, zero or positive. */
export function bytesCompare(a: usize, aLength: u32, b: usize, bLength: u32): i32 {
  const n = min<u32>(aLength, bLength);
  for (let i: u32 = 0; i < n; i++) {
    const order = <i32>load<u8>(a + i) - <i32>load<u8>(b + i);
    if (order != 0) return order;
  }
  return <i32>aLength - <i32>bLength;
}
