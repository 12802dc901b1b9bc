/**
 * Images of the memory: written while ingest goes on, read at start. docs/formats/image.md draws the file.
 *
 * What is consistent, and why: while an image runs nothing is given back (SB_PINS) and no cell that it may have read changes
 * (SB_IMAGE). Records are written first, then names, then extras, then label sets and samples: whatever is pointed to is
 * written after what points to it, and only ever added to. So each series is whole up to some moment after the image began,
 * and the log from where the image began brings the rest; samples that are there already are repetitions.
 * Tables, postings and lists are not in it: kernel/assembly/image.ts makes them anew.
 *
 *     block   { mark, kind, count, payload bytes, argument, CRC-32C of the payload, -, CRC-32C of the header } payload
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

export const IMAGE_FORMAT_VERSION = 1;
const MARK = 0x494d4754; // "TGMI"
const HEADER_BYTES = 32;
/** What is written at a time: more would hold the loop for too long. */
const SLICE_BYTES = 2 ** 20;
const PAGES_PER_BLOCK = 15;

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
  readonly files: Files;
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
  readonly #buffer = Buffer.allocUnsafe(HEADER_BYTES + SLICE_BYTES + PAGES_PER_BLOCK * PAGE_ENTRY_BYTES);

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  range(kind: number, argument: number, count: number, address: number, bytes: number): Uint8Array[] {
    const sum = this.#kernel.crc32c(address, bytes, 0) >>> 0;
    if (bytes > SLICE_BYTES)
      return this.#block(kind, argument, count, sum, this.#kernel.u8.slice(address, address + bytes));
    const payload = this.#buffer.subarray(HEADER_BYTES, HEADER_BYTES + bytes);
    payload.set(this.#kernel.u8.subarray(address, address + bytes));
    return this.#block(kind, argument, count, sum, payload);
  }

  /** Entries of the page table, each with its page's number instead of a link, then the pages. */
  pages(kind: number, pages: readonly number[]): Uint8Array[] {
    const { u8, u32 } = this.#kernel;
    const entries = pages.length * PAGE_ENTRY_BYTES;
    const payload = this.#buffer.subarray(HEADER_BYTES, HEADER_BYTES + entries + pages.length * PAGE_BYTES);
    for (let i = 0; i < pages.length; i++) {
      const entry = u32[SB_PAGE_TABLE >>> 2]! + pages[i]! * PAGE_ENTRY_BYTES;
      payload.set(u8.subarray(entry, entry + PAGE_ENTRY_BYTES), i * PAGE_ENTRY_BYTES);
      payload.writeUInt32LE(pages[i]!, i * PAGE_ENTRY_BYTES + PAGE_NEXT);
    }
    let sum = smallCrc32c(payload.subarray(0, entries));
    for (let i = 0; i < pages.length; i++) {
      const address = pages[i]! * PAGE_BYTES;
      sum = this.#kernel.crc32c(address, PAGE_BYTES, sum) >>> 0;
      payload.set(u8.subarray(address, address + PAGE_BYTES), entries + i * PAGE_BYTES);
    }
    return this.#block(kind, 0, pages.length, sum, payload);
  }

  text(kind: number, text: string): Uint8Array[] {
    return this.bytesBlock(kind, 0, Buffer.from(text));
  }

  bytesBlock(kind: number, argument: number, bytes: Uint8Array): Uint8Array[] {
    return this.#block(kind, argument, 1, smallCrc32c(bytes), bytes);
  }

  #block(kind: number, argument: number, count: number, sum: number, payload: Uint8Array): Uint8Array[] {
    const header = this.#buffer.subarray(0, HEADER_BYTES);
    header.writeUInt32LE(MARK, 0);
    header.writeUInt32LE(kind, 4);
    header.writeUInt32LE(count, 8);
    header.writeUInt32LE(payload.length, 12);
    header.writeUInt32LE(argument, 16);
    header.writeUInt32LE(sum, 20);
    header.writeUInt32LE(0, 24);
    header.writeUInt32LE(smallCrc32c(header.subarray(0, 28)), 28);
    this.bytes += HEADER_BYTES + payload.length;
    this.blocks++;
    return [header, payload];
  }
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
  const begin = parseBegin(await source.next());
  const head = open(begin);
  const { kernel } = head;
  const found: { name: string; bytes: Uint8Array }[] = [];
  clearPageTable(kernel);
  let blocks = 1;
  for (;;) {
    const block = await source.next();
    blocks++;
    if (block.kind === BLOCK_END) break;
    if (block.kind === BLOCK_SECTION) found.push(sectionOf(block));
    else putBlock(kernel, block);
  }
  if (JSON.parse(Buffer.from(source.payload).toString()).blocks !== blocks) throw new ImageFault('blocks are missing');
  kernel.u32[SB_ID_NEXT >>> 2] = begin.idNext;
  const code = kernel.rebuild();
  if (code !== 0) throw new ImageFault(`the memory in it does not hang together (${code})`);
  const sections = sectionsOf(head);
  for (const section of sections) {
    const saved = found.find(({ name }) => name === section.name);
    if (saved !== undefined) section.load(saved.bytes);
  }
  return { head, begin, sections };
}

function parseBegin(block: Block): ImageHead {
  if (block.kind !== BLOCK_BEGIN) throw new ImageFault('it does not begin as an image does');
  if (smallCrc32c(block.payload) !== block.sum) throw new ImageFault('its head is damaged');
  const begin = JSON.parse(Buffer.from(block.payload).toString()) as ImageHead;
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

function putBlock(kernel: Kernel, block: Block): void {
  const { u8, u32 } = kernel;
  switch (block.kind) {
    case BLOCK_RECORDS:
      put(kernel, block, u32[SB_RECORDS >>> 2]! + block.argument * RECORD_BYTES);
      break;
    case BLOCK_NAMES:
      put(kernel, block, u32[SB_NAMES >>> 2]!);
      break;
    case BLOCK_SUPERBLOCK:
      put(kernel, block, SUPERBLOCK);
      break;
    case BLOCK_PAGES:
      putPages(kernel, block);
      break;
    default:
      throw new ImageFault(`a block of kind ${block.kind} is not known (memory of ${u8.length} bytes)`);
  }
}

function put(kernel: Kernel, { payload, sum }: Block, address: number): void {
  if (address + payload.length > kernel.u8.length) throw new ImageFault('a block lies outside of the memory');
  kernel.u8.set(payload, address);
  if (kernel.crc32c(address, payload.length, 0) >>> 0 !== sum) throw new ImageFault('a block is damaged');
}

function putPages(kernel: Kernel, { payload, count, sum }: Block): void {
  const { u8, u32 } = kernel;
  const entries = count * PAGE_ENTRY_BYTES;
  let own = smallCrc32c(payload.subarray(0, entries));
  for (let i = 0; i < count; i++) {
    const entry = payload.subarray(i * PAGE_ENTRY_BYTES, (i + 1) * PAGE_ENTRY_BYTES);
    const page = Buffer.from(entry.buffer, entry.byteOffset, entry.length).readUInt32LE(PAGE_NEXT);
    if (page < u32[SB_HEAP_FIRST >>> 2]! || page >= u32[layout.SB_HEAP_END >>> 2]!) {
      throw new ImageFault(`page ${page} is not of the heap`);
    }
    u8.set(payload.subarray(entries + i * PAGE_BYTES, entries + (i + 1) * PAGE_BYTES), page * PAGE_BYTES);
    u8.set(entry, u32[SB_PAGE_TABLE >>> 2]! + page * PAGE_ENTRY_BYTES);
    own = kernel.crc32c(page * PAGE_BYTES, PAGE_BYTES, own) >>> 0;
  }
  if (own !== sum) throw new ImageFault('a block of pages is damaged');
}

function sectionOf({ payload, argument, sum }: Block): { name: string; bytes: Uint8Array } {
  if (smallCrc32c(payload) !== sum) throw new ImageFault('a section is damaged');
  return { name: Buffer.from(payload.subarray(0, argument)).toString(), bytes: payload.slice(argument) };
}

interface Block {
  readonly kind: number;
  readonly count: number;
  readonly argument: number;
  readonly sum: number;
  /** Valid until the next block is asked for. */
  readonly payload: Uint8Array;
}

/** Reads blocks one behind the other; while one is looked at, the disk brings the next megabytes. */
class BlockSource {
  payload: Uint8Array = new Uint8Array(0);
  readonly #file: ReadableFile;
  #position = 0;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  #spare: Uint8Array = new Uint8Array(CHUNK_BYTES);
  #coming: Promise<Uint8Array>;

  constructor(file: ReadableFile) {
    this.#file = file;
    this.#coming = this.#fetch();
  }

  async next(): Promise<Block> {
    const header = Buffer.from(await this.#take(HEADER_BYTES));
    if (header.readUInt32LE(0) !== MARK || header.readUInt32LE(28) !== smallCrc32c(header.subarray(0, 28))) {
      throw new ImageFault('the head of a block is damaged');
    }
    this.payload = await this.#take(header.readUInt32LE(12));
    return {
      kind: header.readUInt32LE(4),
      count: header.readUInt32LE(8),
      argument: header.readUInt32LE(16),
      sum: header.readUInt32LE(20),
      payload: this.payload,
    };
  }

  async #take(bytes: number): Promise<Uint8Array> {
    if (this.#at + bytes <= this.#chunk.length) return this.#cut(bytes);
    if (bytes > this.#file.bytes) throw new ImageFault('it ends too early');
    const whole = new Uint8Array(bytes);
    let done = 0;
    while (done < bytes) {
      if (this.#at === this.#chunk.length) await this.#turn();
      const part = this.#cut(Math.min(bytes - done, this.#chunk.length - this.#at));
      whole.set(part, done);
      done += part.length;
    }
    return whole;
  }

  #cut(bytes: number): Uint8Array {
    const part = this.#chunk.subarray(this.#at, this.#at + bytes);
    this.#at += bytes;
    return part;
  }

  async #turn(): Promise<void> {
    const next = await this.#coming;
    if (next.length === 0) throw new ImageFault('it ends too early');
    if (this.#chunk.byteLength > 0) this.#spare = new Uint8Array(this.#chunk.buffer);
    this.#chunk = next;
    this.#at = 0;
    this.#coming = this.#fetch();
    // An error that comes while nobody waits for it is met at the next turn.
    this.#coming.catch(() => undefined);
  }

  async #fetch(): Promise<Uint8Array> {
    const into = this.#spare.length === CHUNK_BYTES ? this.#spare : new Uint8Array(CHUNK_BYTES);
    this.#spare = new Uint8Array(0);
    const bytes = await this.#file.read(into, this.#position);
    this.#position += bytes;
    return into.subarray(0, bytes);
  }
}

const CHUNK_BYTES = 4 * 2 ** 20;
