/**
 * Images of the memory: written while ingest goes on, read at start. docs/formats/image.md draws the file.
 *
 * What is consistent, and why: while an image runs nothing is given back (SB_PINS) and no cell that it may have read changes
 * (SB_IMAGE). Records are written first, then names, then extras, then label sets and samples: whatever is pointed to is
 * written after what points to it, and only ever added to. So each series is whole up to some moment after the image began,
 * and the log from where the image began brings the rest; samples that are there already are repetitions.
 * Tables, postings and lists are not in it: kernel/assembly/image.ts makes them anew.
 *
 *     block   { mark, kind, count, payload bytes, argument, checksum, entry bytes, CRC-32C of this } entries, payload
 *     file    begin · records … · names · pages … · superblock · sections … · end
 */
import { CodedError } from '../model/errors.ts';
import type { Files, OpenFile, ReadableFile } from './files.ts';
import type { Kernel } from './kernel/kernel.ts';
import * as layout from './kernel/layout.ts';
import {
  KIND_BLOB,
  KIND_CHUNK,
  KIND_EXTRA,
  KIND_LOG,
  KIND_PAIR,
  KIND_SET,
  NAME_BYTES,
  PAGE_BYTES,
  PAGE_ENTRY_BYTES,
  PAGE_KIND,
  PAGE_NEXT,
  RECORD_BYTES,
  SB_FRONTIER,
  SB_HEAP_FIRST,
  SB_ID_NEXT,
  SB_IMAGE,
  SB_NAME_NEXT,
  SB_NAMES,
  SB_PAGE_TABLE,
  SB_PINS,
  SB_RECORDS,
  SUPERBLOCK,
} from './kernel/layout.ts';
import { smallCrc32c } from './log-format.ts';

export const IMAGE_FORMAT_VERSION = 2;
const MARK = 0x494d4754; // "TGMI"
const HEADER_BYTES = 32;
/** What is written at a time: more would hold the loop for too long. */
const SLICE_BYTES = 2 ** 20;
const PAGES_PER_BLOCK = 15;
/** A header with all entries that may follow. */
const HEAD_BYTES_MAX = HEADER_BYTES + PAGES_PER_BLOCK * PAGE_ENTRY_BYTES;

const BLOCK_BEGIN = 1;
const BLOCK_RECORDS = 2;
const BLOCK_NAMES = 3;
const BLOCK_PAGES = 4;
const BLOCK_SUPERBLOCK = 5;
const BLOCK_SECTION = 6;
const BLOCK_END = 7;

/** State beside the memory that follows from the bodies received, such as running sums: saved with it, at one moment. */
export interface ImageSection {
  readonly name: string;
  save(): Uint8Array;
  load(bytes: Uint8Array): void;
}

export interface ImageWritten {
  readonly bytes: number;
  readonly blocks: number;
}

/** How a memory is laid out: what `init` is told. An image can only be read into a memory that is laid out alike. */
export interface MemoryLayout {
  readonly memoryPages: number;
  readonly seriesMax: number;
  readonly bodyBytesMax: number;
}

export interface ImageHead extends MemoryLayout {
  readonly format: number;
  /** What layout.ts says, as one number: an image of another layout means something else. */
  readonly layout: number;
  readonly idNext: number;
  /** The log from this segment on brings what came after. */
  readonly segment: number;
  readonly takenMs: number;
}

const LAYOUT_SUM = smallCrc32c(
  Buffer.from(JSON.stringify(Object.entries(layout).sort(([a], [b]) => (a < b ? -1 : 1)))),
);

export interface WriteOptions {
  readonly kernel: Kernel;
  readonly files: Pick<Files, 'remove' | 'create' | 'rename' | 'syncFolder'>;
  /** Written as `<path>.part`, and renamed once it is whole and synced. */
  readonly path: string;
  readonly folder: string;
  readonly segment: number;
  readonly takenMs: number;
  readonly sections: readonly ImageSection[];
  /** Looked at between slices: true gives the image up. */
  readonly isCancelled: () => boolean;
}

/** Writes an image. The memory as it is at the call is in it, whole; throws what the disk throws, and leaves no file then. */
export async function writeImage(options: WriteOptions): Promise<ImageWritten> {
  const { kernel, files, path } = options;
  if (isImageRunning(kernel)) throw new CodedError('overloaded', 'cannot take an image: one is being taken');
  const writer = new BlockWriter(kernel);
  // All at one moment: sections, the number of ids, the position in the log.
  const sections = options.sections.map(({ name, save }) => ({ name, bytes: save() }));
  const begin = headOf(options);
  kernel.u32[SB_PINS >>> 2]!++;
  kernel.u32[SB_IMAGE >>> 2] = 1;
  const part = `${path}.part`;
  let file: OpenFile | null = null;
  try {
    await files.remove(part);
    file = await files.create(part);
    for (const parts of blocksOf(writer, kernel, begin, sections)) {
      await file.write(parts);
      if (options.isCancelled()) throw new CodedError('overloaded', 'the image was given up: memory is needed');
    }
    await file.sync();
    await file.close();
    file = null;
    await files.rename(part, path);
    await files.syncFolder(options.folder);
  } catch (error) {
    await file?.close().catch(() => undefined);
    await files.remove(part).catch(() => undefined);
    throw error;
  } finally {
    kernel.u32[SB_IMAGE >>> 2] = 0;
    kernel.u32[SB_PINS >>> 2]!--;
  }
  return { bytes: writer.bytes, blocks: writer.blocks };
}

/** True while an image of this memory is being written: two at a time would end each other. */
export function isImageRunning({ u32 }: Kernel): boolean {
  return u32[SB_IMAGE >>> 2] !== 0;
}

function headOf({ kernel, segment, takenMs }: WriteOptions): ImageHead {
  const { u32 } = kernel;
  return {
    format: IMAGE_FORMAT_VERSION,
    layout: LAYOUT_SUM,
    ...kernel.layout,
    idNext: u32[SB_ID_NEXT >>> 2]!,
    segment,
    takenMs,
  };
}

/** The blocks in their order. Each is copied when it is asked for, and not before. */
function* blocksOf(
  writer: BlockWriter,
  kernel: Kernel,
  begin: ImageHead,
  sections: readonly { readonly name: string; readonly bytes: Uint8Array }[],
): Generator<Uint8Array[]> {
  const { u32 } = kernel;
  yield writer.text(BLOCK_BEGIN, JSON.stringify(begin));
  const recordsPerBlock = SLICE_BYTES / RECORD_BYTES;
  for (let id = 0; id < begin.idNext; id += recordsPerBlock) {
    const count = Math.min(recordsPerBlock, begin.idNext - id);
    yield writer.range(BLOCK_RECORDS, id, count, u32[SB_RECORDS >>> 2]! + id * RECORD_BYTES, count * RECORD_BYTES);
  }
  const names = u32[SB_NAME_NEXT >>> 2]!;
  yield writer.range(BLOCK_NAMES, 0, names, u32[SB_NAMES >>> 2]!, names * NAME_BYTES);
  // Extras name cells of logs, so they come before; nothing else that is pointed to points on.
  yield* pageBlocks(writer, kernel, [KIND_EXTRA]);
  yield* pageBlocks(writer, kernel, [KIND_SET, KIND_BLOB, KIND_PAIR, KIND_CHUNK, KIND_LOG]);
  yield writer.range(BLOCK_SUPERBLOCK, 0, 1, SUPERBLOCK, PAGE_BYTES);
  for (const { name, bytes } of sections) {
    const nameBytes = Buffer.from(name);
    yield writer.bytesBlock(BLOCK_SECTION, nameBytes.length, Buffer.concat([nameBytes, bytes]));
  }
  yield writer.text(BLOCK_END, JSON.stringify({ blocks: writer.blocks + 1 }));
}

function* pageBlocks(writer: BlockWriter, kernel: Kernel, kinds: readonly number[]): Generator<Uint8Array[]> {
  const { u8, u32 } = kernel;
  const pages: number[] = [];
  // The frontier moves on; what lies behind it came later and is not pointed to.
  const end = u32[SB_FRONTIER >>> 2]!;
  for (let page = u32[SB_HEAP_FIRST >>> 2]!; page < end; page++) {
    if (!kinds.includes(u8[u32[SB_PAGE_TABLE >>> 2]! + page * PAGE_ENTRY_BYTES + PAGE_KIND]!)) continue;
    pages.push(page);
    if (pages.length === PAGES_PER_BLOCK) yield writer.pages(BLOCK_PAGES, pages.splice(0));
  }
  if (pages.length > 0) yield writer.pages(BLOCK_PAGES, pages);
}

/** Copies what is written into one buffer, with its checksum: the memory goes on changing. */
class BlockWriter {
  bytes = 0;
  blocks = 0;
  readonly #kernel: Kernel;
  readonly #buffer = Buffer.allocUnsafe(HEAD_BYTES_MAX + SLICE_BYTES);

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  range(kind: number, argument: number, count: number, address: number, bytes: number): Uint8Array[] {
    const { u8 } = this.#kernel;
    const sum = this.#kernel.blockSum(address, bytes, 0) >>> 0;
    if (bytes > SLICE_BYTES) return this.#block(kind, argument, count, sum, u8.slice(address, address + bytes));
    const payload = this.#buffer.subarray(HEADER_BYTES, HEADER_BYTES + bytes);
    payload.set(u8.subarray(address, address + bytes));
    return this.#block(kind, argument, count, sum, payload);
  }

  /** Entries of the page table, each with its page's number instead of a link, then the pages. */
  pages(kind: number, pages: readonly number[]): Uint8Array[] {
    const { u8, u32 } = this.#kernel;
    const entries = pages.length * PAGE_ENTRY_BYTES;
    const behind = this.#buffer.subarray(HEADER_BYTES, HEADER_BYTES + entries + pages.length * PAGE_BYTES);
    let sum = 0;
    for (let i = 0; i < pages.length; i++) {
      const entry = u32[SB_PAGE_TABLE >>> 2]! + pages[i]! * PAGE_ENTRY_BYTES;
      behind.set(u8.subarray(entry, entry + PAGE_ENTRY_BYTES), i * PAGE_ENTRY_BYTES);
      behind.writeUInt32LE(pages[i]!, i * PAGE_ENTRY_BYTES + PAGE_NEXT);
      const address = pages[i]! * PAGE_BYTES;
      sum = this.#kernel.blockSum(address, PAGE_BYTES, sum) >>> 0;
      behind.set(u8.subarray(address, address + PAGE_BYTES), entries + i * PAGE_BYTES);
    }
    return this.#block(kind, 0, pages.length, sum, behind, entries);
  }

  text(kind: number, text: string): Uint8Array[] {
    return this.bytesBlock(kind, 0, Buffer.from(text));
  }

  bytesBlock(kind: number, argument: number, bytes: Uint8Array): Uint8Array[] {
    return this.#block(kind, argument, 1, smallCrc32c(bytes), bytes);
  }

  /** `behind` is the payload, after so many bytes of entries. */
  #block(kind: number, argument: number, count: number, sum: number, behind: Uint8Array, entries = 0): Uint8Array[] {
    const header = this.#buffer.subarray(0, HEADER_BYTES);
    header.writeUInt32LE(MARK, 0);
    header.writeUInt32LE(kind, 4);
    header.writeUInt32LE(count, 8);
    header.writeUInt32LE(behind.length - entries, 12);
    header.writeUInt32LE(argument, 16);
    header.writeUInt32LE(sum, 20);
    header.writeUInt32LE(entries, 24);
    header.writeUInt32LE(headSum(header, behind.subarray(0, entries)), 28);
    this.bytes += HEADER_BYTES + behind.length;
    this.blocks++;
    return [header, behind];
  }
}

/** Checksum of a header and the entries behind it. */
function headSum(header: Uint8Array, entries: Uint8Array): number {
  return smallCrc32c(entries, smallCrc32c(header.subarray(0, 28)));
}

// ---- reading

/** An image that cannot be used: it is damaged, or of another layout. */
export class ImageFault extends Error {
  /** True if it is whole but made for another memory. */
  readonly isForeign: boolean;
  constructor(message: string, isForeign = false) {
    super(message);
    this.name = 'ImageFault';
    this.isForeign = isForeign;
  }
}

/**
 * Reads an image into a fresh memory, which `open` makes for the layout that the image has. Throws an ImageFault, and then
 * the memory is of no use. Sections are handed out once all is known to be whole.
 */
export async function readImage<H extends { readonly kernel: Kernel }>(
  file: ReadableFile,
  open: (like: MemoryLayout) => H,
  sectionsOf: (head: H) => readonly ImageSection[],
): Promise<{ readonly head: H; readonly begin: ImageHead; readonly sections: readonly ImageSection[] }> {
  const source = new BlockSource(file);
  try {
    const begin = await parseBegin(source, await source.next());
    const head = open(begin);
    const { kernel } = head;
    clearPageTable(kernel);
    const found = await readBlocks(source, kernel);
    kernel.u32[SB_ID_NEXT >>> 2] = begin.idNext;
    const code = kernel.rebuild();
    if (code !== 0) throw new ImageFault(`the memory in it does not hang together (${code})`);
    const sections = sectionsOf(head);
    for (const section of sections) {
      const saved = found.find(({ name }) => name === section.name);
      if (saved !== undefined) loadSection(section, saved.bytes);
    }
    return { head, begin, sections };
  } finally {
    // Nothing may write to the memory, or ask the file, after this.
    await source.end();
  }
}

/** What its checksum says is whole, and cannot be read all the same, was written otherwise. */
function loadSection(section: ImageSection, bytes: Uint8Array): void {
  try {
    section.load(bytes);
  } catch (error) {
    throw new ImageFault(`its section ${section.name} was written by another version: ${String(error)}`, true);
  }
}

interface SavedSection {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Blocks are read to where they belong, a few at a time, and their checksums taken there. */
async function readBlocks(source: BlockSource, kernel: Kernel): Promise<SavedSection[]> {
  const found: SavedSection[] = [];
  const coming: { readonly read: Promise<void>; readonly block: Block }[] = [];
  const takeFirst = async (): Promise<void> => {
    const { read, block } = coming.shift()!;
    await read;
    checkBlock(kernel, block);
  };
  for (let blocks = 2; ; blocks++) {
    const block = await source.next();
    if (block.kind === BLOCK_END) {
      if (JSON.parse((await source.payload(block)).toString()).blocks !== blocks) {
        throw new ImageFault('blocks are missing');
      }
      break;
    }
    if (block.kind === BLOCK_SECTION) found.push(sectionOf(block, await source.payload(block)));
    else coming.push({ read: source.readInto(kernel.u8, block, placesOf(kernel, block)), block });
    if (coming.length >= READS_AT_A_TIME) await takeFirst();
  }
  while (coming.length > 0) await takeFirst();
  return found;
}

const READS_AT_A_TIME = 4;

/** True if a file is an image that another version wrote, as far as its beginning says. */
export async function isForeignImage(file: ReadableFile): Promise<boolean> {
  const source = new BlockSource(file);
  try {
    await parseBegin(source, await source.next());
    return false;
  } catch (error) {
    return error instanceof ImageFault && error.isForeign;
  } finally {
    await source.end();
  }
}

async function parseBegin(source: BlockSource, block: Block): Promise<ImageHead> {
  if (block.kind !== BLOCK_BEGIN) throw new ImageFault('it does not begin as an image does');
  const begin = JSON.parse((await source.payload(block)).toString()) as ImageHead;
  if (begin.format !== IMAGE_FORMAT_VERSION || begin.layout !== LAYOUT_SUM) {
    throw new ImageFault('it was written by a version with another layout', true);
  }
  return begin;
}

/** `init` took pages for tables, which are made anew. */
function clearPageTable({ u8, u32 }: Kernel): void {
  const table = u32[SB_PAGE_TABLE >>> 2]!;
  const first = u32[SB_HEAP_FIRST >>> 2]!;
  u8.fill(0, table + first * PAGE_ENTRY_BYTES, table + u32[SB_FRONTIER >>> 2]! * PAGE_ENTRY_BYTES);
}

/** Where so many bytes of a payload belong, one behind the other. */
interface Place {
  readonly address: number;
  bytes: number;
}

/** Where a payload belongs. What the head says of its pages is put into the page table. */
function placesOf(kernel: Kernel, block: Block): Place[] {
  const { u8, u32 } = kernel;
  switch (block.kind) {
    case BLOCK_RECORDS:
      return placeOf(u8, block, u32[SB_RECORDS >>> 2]! + block.argument * RECORD_BYTES);
    case BLOCK_NAMES:
      return placeOf(u8, block, u32[SB_NAMES >>> 2]!);
    case BLOCK_SUPERBLOCK:
      return placeOf(u8, block, SUPERBLOCK);
    case BLOCK_PAGES:
      return placesOfPages(kernel, block);
    default:
      throw new ImageFault(`a block of kind ${block.kind} is not known (memory of ${u8.length} bytes)`);
  }
}

function placeOf(u8: Uint8Array, { bytes }: Block, address: number): Place[] {
  if (address + bytes > u8.length) throw new ImageFault('a block lies outside of the memory');
  return [{ address, bytes }];
}

function placesOfPages({ u8, u32 }: Kernel, { entries, count, bytes }: Block): Place[] {
  if (entries.length !== count * PAGE_ENTRY_BYTES || bytes !== count * PAGE_BYTES) {
    throw new ImageFault('a block of pages is not what it says');
  }
  const places: Place[] = [];
  for (const page of pagesOf(entries)) {
    if (page < u32[SB_HEAP_FIRST >>> 2]! || page >= u32[layout.SB_HEAP_END >>> 2]!) {
      throw new ImageFault(`page ${page} is not of the heap`);
    }
    const last = places.at(-1);
    // Neighbours are read together.
    if (last !== undefined && last.address + last.bytes === page * PAGE_BYTES) last.bytes += PAGE_BYTES;
    else places.push({ address: page * PAGE_BYTES, bytes: PAGE_BYTES });
  }
  const table = u32[SB_PAGE_TABLE >>> 2]!;
  pagesOf(entries).forEach((page, i) => {
    u8.set(entries.subarray(i * PAGE_ENTRY_BYTES, (i + 1) * PAGE_ENTRY_BYTES), table + page * PAGE_ENTRY_BYTES);
  });
  return places;
}

function pagesOf(entries: Buffer): number[] {
  const count = entries.length / PAGE_ENTRY_BYTES;
  return Array.from({ length: count }, (_, i) => entries.readUInt32LE(i * PAGE_ENTRY_BYTES + PAGE_NEXT));
}

function checkBlock(kernel: Kernel, { kind, entries, bytes, sum, places }: Block): void {
  let own = 0;
  if (kind === BLOCK_PAGES) {
    for (const page of pagesOf(entries)) own = kernel.blockSum(page * PAGE_BYTES, PAGE_BYTES, own) >>> 0;
  } else own = kernel.blockSum(places[0]!.address, bytes, 0) >>> 0;
  if (own !== sum) throw new ImageFault('a block is damaged');
}

function sectionOf({ argument }: Block, payload: Buffer): SavedSection {
  return { name: payload.subarray(0, argument).toString(), bytes: Uint8Array.from(payload.subarray(argument)) };
}

interface Block {
  readonly kind: number;
  readonly count: number;
  readonly argument: number;
  readonly sum: number;
  /** Of the payload, and where in the file it begins. */
  readonly bytes: number;
  readonly position: number;
  readonly entries: Buffer;
  /** Where the payload was read to. */
  places: readonly Place[];
}

/** Reads the heads of blocks one behind the other, and the next head while payloads are read. */
class BlockSource {
  readonly #file: ReadableFile;
  readonly #reads = new Set<Promise<unknown>>();
  #position = 0;
  #coming: Promise<Buffer>;

  constructor(file: ReadableFile) {
    this.#file = file;
    this.#coming = this.#readHead();
  }

  async next(): Promise<Block> {
    const head = await this.#coming;
    const header = head.subarray(0, HEADER_BYTES);
    const entryBytes = header.length < HEADER_BYTES ? 0 : header.readUInt32LE(24);
    const entries = head.subarray(HEADER_BYTES, HEADER_BYTES + entryBytes);
    if (header.length < HEADER_BYTES || header.readUInt32LE(0) !== MARK || entries.length !== entryBytes) {
      throw new ImageFault('the head of a block is damaged');
    }
    if (header.readUInt32LE(28) !== headSum(header, entries)) throw new ImageFault('the head of a block is damaged');
    const position = this.#position + HEADER_BYTES + entryBytes;
    const bytes = header.readUInt32LE(12);
    this.#position = position + bytes;
    if (this.#position > this.#file.bytes) throw new ImageFault('it ends too early');
    this.#coming = this.#readHead();
    return {
      kind: header.readUInt32LE(4),
      count: header.readUInt32LE(8),
      argument: header.readUInt32LE(16),
      sum: header.readUInt32LE(20),
      bytes,
      position,
      entries,
      places: [],
    };
  }

  /** A small payload, checked. */
  async payload({ bytes, position, sum }: Block): Promise<Buffer> {
    const payload = Buffer.allocUnsafe(bytes);
    await this.#read(payload, position);
    if (smallCrc32c(payload) !== sum) throw new ImageFault('a block is damaged');
    return payload;
  }

  /** Reads a payload to where it belongs. */
  readInto(memory: Uint8Array, block: Block, places: readonly Place[]): Promise<void> {
    block.places = places;
    let { position } = block;
    const reads = places.map(({ address, bytes }) => {
      const read = this.#read(memory.subarray(address, address + bytes), position);
      position += bytes;
      return read;
    });
    const all = Promise.all(reads).then(() => undefined);
    // As above: it may fail before its turn has come.
    all.catch(() => undefined);
    return all;
  }

  /** Waits for whatever is being read. */
  async end(): Promise<void> {
    await Promise.allSettled([...this.#reads]);
  }

  #readHead(): Promise<Buffer> {
    const head = Buffer.allocUnsafe(HEAD_BYTES_MAX);
    const read = this.#track(this.#file.read(head, this.#position)).then((bytes) => head.subarray(0, bytes));
    // An error that comes while nobody waits for it is met when the head is asked for.
    read.catch(() => undefined);
    return read;
  }

  async #read(into: Uint8Array, position: number): Promise<void> {
    const bytes = await this.#track(this.#file.read(into, position));
    if (bytes < into.length) throw new ImageFault('it ends too early');
  }

  #track<T>(read: Promise<T>): Promise<T> {
    this.#reads.add(read);
    const forget = (): boolean => this.#reads.delete(read);
    read.then(forget, forget);
    return read;
  }
}
