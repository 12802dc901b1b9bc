/** The labels of one line of text: bytes and positions, used again for every line. */
import { LIMITS } from '../../model/limits.ts';
import { ByteSink } from './block.ts';

/**
 * What becomes of a series' own label that has the name of one to be added: it is replaced, it is kept instead, or it is
 * renamed to exported_…, as Prometheus does when it scrapes.
 */
export type Conflict = 'replaced' | 'kept' | 'renamed';

/** Labels of a line, those without a value included. */
export const LABELS_READ_MAX = 4 * LIMITS.labelsPerSeriesMax;

const METRIC_NAME = Buffer.from('__name__');
const EXPORTED = Buffer.from('exported_');

export class LabelList {
  /** Names and values, unescaped. */
  readonly text = new ByteSink();
  /** Four positions a label: name from, to, value from, to. */
  readonly #places = new Int32Array(4 * LABELS_READ_MAX);
  readonly #order = new Int32Array(LABELS_READ_MAX);
  #count = 0;

  /** Forgets all labels; the text to write names and values to. */
  clear(): ByteSink {
    this.#count = 0;
    this.text.length = 0;
    return this.text;
  }

  /** Notes a label that stands in the text; false if there are too many. */
  add(from: number, to: number, valueFrom: number, valueTo: number): boolean {
    if (this.#count === LABELS_READ_MAX) return false;
    const at = 4 * this.#count++;
    this.#places[at] = from;
    this.#places[at + 1] = to;
    this.#places[at + 2] = valueFrom;
    this.#places[at + 3] = valueTo;
    return true;
  }

  /** Makes the text [from, to) the metric name. */
  addMetricName(from: number, to: number): void {
    const at = this.text.length;
    this.text.copy(METRIC_NAME, 0, METRIC_NAME.length);
    this.add(at, this.text.length, from, to);
  }

  /** Adds labels to those of the line. */
  merge(added: readonly (readonly [name: Buffer, value: Buffer])[], onConflict: Conflict): void {
    const own = this.#count;
    for (const [name, value] of added) {
      const rival = this.#find(name, own);
      if (rival >= 0 && onConflict === 'kept') continue;
      if (rival >= 0) this.#yield(rival, name, onConflict);
      const from = this.text.length;
      this.text.copy(name, 0, name.length);
      const to = this.text.length;
      this.text.copy(value, 0, value.length);
      this.add(from, to, to, this.text.length);
    }
  }

  /** The labels as strings, without those that have no value. */
  toMap(): Map<string, string> {
    const { bytes } = this.text;
    const labels = new Map<string, string>();
    for (let i = 0; i < this.#count; i++) {
      const at = 4 * i;
      if (this.#places[at + 2] === this.#places[at + 3]) continue;
      const name = bytes.toString('utf8', this.#places[at]!, this.#places[at + 1]!);
      labels.set(name, bytes.toString('utf8', this.#places[at + 2]!, this.#places[at + 3]!));
    }
    return labels;
  }

  /** Puts these labels in place of those that there are; false if they are too many. */
  replaceAll(labels: ReadonlyMap<string, string>): boolean {
    this.clear();
    for (const [name, value] of labels) {
      const from = this.text.length;
      const nameBytes = Buffer.from(name);
      this.text.copy(nameBytes, 0, nameBytes.length);
      const to = this.text.length;
      const valueBytes = Buffer.from(value);
      this.text.copy(valueBytes, 0, valueBytes.length);
      if (!this.add(from, to, to, this.text.length)) return false;
    }
    return true;
  }

  /** Takes a label out of the way: it loses its value, which under the new name stands anew. */
  #yield(rival: number, name: Buffer, onConflict: Conflict): void {
    const valueFrom = this.#places[4 * rival + 2]!;
    const valueTo = this.#places[4 * rival + 3]!;
    this.#places[4 * rival + 3] = valueFrom;
    if (onConflict !== 'renamed' || valueTo === valueFrom) return;
    let renamed = name;
    do renamed = Buffer.concat([EXPORTED, renamed]);
    while (this.#find(renamed, this.#count) >= 0);
    const from = this.text.length;
    this.text.copy(renamed, 0, renamed.length);
    this.add(from, this.text.length, valueFrom, valueTo);
  }

  #find(name: Buffer, among: number): number {
    const { bytes } = this.text;
    for (let i = 0; i < among; i++) {
      const at = 4 * i;
      if (this.#places[at + 2] === this.#places[at + 3]) continue;
      if (bytes.compare(name, 0, name.length, this.#places[at]!, this.#places[at + 1]!) === 0) return i;
    }
    return -1;
  }

  /** Writes the labels that have a value as `Label` fields of tag 1, ascending by name. */
  write(into: ByteSink): void {
    const count = this.#sort();
    for (let i = 0; i < count; i++) {
      const at = 4 * this.#order[i]!;
      const from = this.#places[at]!;
      const to = this.#places[at + 1]!;
      const valueFrom = this.#places[at + 2]!;
      const valueTo = this.#places[at + 3]!;
      into.byte(0x0a);
      into.varint(fieldBytes(to - from) + fieldBytes(valueTo - valueFrom));
      into.field(0x0a, this.text.bytes, from, to);
      into.field(0x12, this.text.bytes, valueFrom, valueTo);
    }
  }

  /** Puts the labels that have a value in order and returns their number. Insertion sort: most lines come sorted. */
  #sort(): number {
    let count = 0;
    for (let i = 0; i < this.#count; i++) {
      if (this.#places[4 * i + 2] === this.#places[4 * i + 3]) continue;
      let place = count++;
      for (; place > 0 && this.#isBefore(i, this.#order[place - 1]!); place--) {
        this.#order[place] = this.#order[place - 1]!;
      }
      this.#order[place] = i;
    }
    return count;
  }

  #isBefore(a: number, b: number): boolean {
    const { bytes } = this.text;
    const places = this.#places;
    return bytes.compare(bytes, places[4 * b]!, places[4 * b + 1]!, places[4 * a]!, places[4 * a + 1]!) < 0;
  }
}

/** Bytes of a field with its tag and its length. */
function fieldBytes(length: number): number {
  return length + (length < 0x80 ? 2 : length < 0x4000 ? 3 : 4);
}
