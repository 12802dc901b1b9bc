/**
 * Labels between JavaScript's strings and the kernel's bytes: the canonical wire form on the way in, strings on the
 * way out. Strings of pairs that were asked for are remembered, a bounded number of them.
 */
import { strict as assert } from 'node:assert';
import type { Labels } from '../../model/labels.ts';
import type { Kernel } from './kernel.ts';
import {
  BLOB_HEADER_BYTES,
  BLOB_PAIR,
  LABEL_INPUT_BYTES,
  NAME_BYTES,
  NAME_LENGTH,
  NAME_TEXT,
  REC_LABELS,
  REC_SET,
  RECORD_BYTES,
  SB_LABEL_INPUT,
  SB_NAMES,
  SB_PAIRS_FREED,
  SB_RECORDS,
  STAMP_BYTES_MAX,
} from './layout.ts';

/** Pairs whose strings are remembered. */
const REMEMBERED_MAX = 65_536;
const LABEL_BYTES_MAX = 16_383;

interface LabelText {
  readonly name: string;
  readonly value: string;
}

export class LabelTexts {
  readonly #kernel: Kernel;
  readonly #input: number;
  /** The input area alone: Buffer.write with 4 GiB before it takes the room that is left for 0. */
  readonly #inputBytes: Buffer;
  readonly #byPair = new Map<number, LabelText>();
  #pairsFreed = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#input = kernel.u32[SB_LABEL_INPUT >>> 2]!;
    this.#inputBytes = Buffer.from(kernel.u8.buffer, this.#input, LABEL_INPUT_BYTES);
  }

  /** Writes labels to the kernel's input; their number of bytes. */
  writeLabels(labels: Labels): number {
    let at = this.#input;
    for (let i = 0; i < labels.length; i += 2) at = this.#writeLabel(at, labels[i]!, labels[i + 1]!);
    return at - this.#input;
  }

  /** Address of the pair name=value, or 0 if no series has it. */
  findPair(name: string, value: string): number {
    const bytes = Buffer.byteLength(name) + Buffer.byteLength(value);
    // What is longer than any label that can be stored is not stored.
    if (value === '' || bytes > LABEL_BYTES_MAX - 16) return 0;
    return this.#kernel.pairOf(this.#writeLabel(this.#input, name, value) - this.#input) >>> 0;
  }

  /** Id of a label name, or 0 if no series has it. */
  findName(name: string): number {
    if (Buffer.byteLength(name) > LABEL_BYTES_MAX) return 0;
    return this.#kernel.nameOf(this.#inputBytes.write(name));
  }

  nameText(name: number): string {
    const { u32, buffer } = this.#kernel;
    const entry = u32[SB_NAMES >>> 2]! + name * NAME_BYTES;
    const text = u32[(entry + NAME_TEXT) >>> 2]!;
    return buffer.toString('utf8', text, text + u32[(entry + NAME_LENGTH) >>> 2]!);
  }

  /** The value of a pair, read from its blob. */
  valueText(blob: number): string {
    return this.#read(blob).value;
  }

  /** The labels of a series that is in the store. */
  labels(id: number): Labels {
    const { u8, u32 } = this.#kernel;
    this.#forgetFreed();
    const record = u32[SB_RECORDS >>> 2]! + id * RECORD_BYTES;
    const set = u32[(record + REC_SET) >>> 2]!;
    assert(set !== 0, `series ${id} is not in the store`);
    const labels: string[] = [];
    for (let i = 0; i < u8[record + REC_LABELS]!; i++) {
      const { name, value } = this.#ofBlob(u32[(set >>> 2) + i]!);
      labels.push(name, value);
    }
    return Object.freeze(labels);
  }

  #ofBlob(blob: number): LabelText {
    const pair = this.#kernel.u32[(blob + BLOB_PAIR) >>> 2]!;
    const known = this.#byPair.get(pair);
    if (known !== undefined) return known;
    const text = this.#read(blob);
    if (this.#byPair.size >= REMEMBERED_MAX) this.#byPair.clear();
    this.#byPair.set(pair, text);
    return text;
  }

  /** A pair's address may have been used again since the last pair went. */
  #forgetFreed(): void {
    const freed = this.#kernel.u32[SB_PAIRS_FREED >>> 2]!;
    if (freed === this.#pairsFreed) return;
    this.#byPair.clear();
    this.#pairsFreed = freed;
  }

  #read(blob: number): LabelText {
    const { u8, buffer } = this.#kernel;
    // 0x0a length 0x0a nameLength name 0x12 valueLength value, all lengths of one or two bytes
    let at = blob + BLOB_HEADER_BYTES + 1;
    at += u8[at]! < 0x80 ? 2 : 3;
    let length = this.#lengthAt(at);
    at += length < 0x80 ? 1 : 2;
    const name = buffer.toString('utf8', at, at + length);
    at += length + 1;
    length = this.#lengthAt(at);
    at += length < 0x80 ? 1 : 2;
    return { name, value: buffer.toString('utf8', at, at + length) };
  }

  #lengthAt(at: number): number {
    const first = this.#kernel.u8[at]!;
    return first < 0x80 ? first : (first & 0x7f) | (this.#kernel.u8[at + 1]! << 7);
  }

  #writeLabel(start: number, name: string, value: string): number {
    const { u8 } = this.#kernel;
    const nameBytes = Buffer.byteLength(name);
    const valueBytes = Buffer.byteLength(value);
    const inner = 2 + lengthBytes(nameBytes) + nameBytes + lengthBytes(valueBytes) + valueBytes;
    assert(inner <= LABEL_BYTES_MAX, `label of ${inner} bytes: want at most ${LABEL_BYTES_MAX}`);
    assert(start + inner + 3 - this.#input <= LABEL_INPUT_BYTES - 64, 'labels too long for the kernel');
    let at = start;
    u8[at++] = 0x0a;
    at = this.#writeLength(at, inner);
    u8[at++] = 0x0a;
    at = this.#writeLength(at, nameBytes);
    at += this.#inputBytes.write(name, at - this.#input);
    u8[at++] = 0x12;
    at = this.#writeLength(at, valueBytes);
    return at + this.#inputBytes.write(value, at - this.#input);
  }

  #writeLength(at: number, length: number): number {
    const { u8 } = this.#kernel;
    if (length < 0x80) {
      u8[at] = length;
      return at + 1;
    }
    u8[at] = (length & 0x7f) | 0x80;
    u8[at + 1] = length >> 7;
    return at + 2;
  }
}

function lengthBytes(length: number): number {
  return length < 0x80 ? 1 : 2;
}

const STAMP_NAME = 'namespace';

/** The label `namespace` as it comes over the wire, all lengths of one byte. */
export function stampLabel(namespace: string): Uint8Array {
  const value = Buffer.from(namespace);
  const inner = 4 + STAMP_NAME.length + value.length;
  assert(inner + 2 <= STAMP_BYTES_MAX, `a namespace of ${value.length} bytes cannot be a stamp`);
  const name = Buffer.from(STAMP_NAME);
  return Buffer.concat(
    [[0x0a, inner, 0x0a, name.length], name, [0x12, value.length], value].map((part) => Buffer.from(part)),
  );
}
