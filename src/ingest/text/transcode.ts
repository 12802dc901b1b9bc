/**
 * Prometheus' text format and OpenMetrics → remote-write bodies. A line becomes bytes of protobuf, with its labels sorted,
 * and no object is made for it: what knows series by their bytes takes it from there.
 *
 * A line that cannot be read is refused with its number, and the others are kept.
 * Sources: prometheus/docs, docs/instrumenting/exposition_formats.md and docs/specs/om/open_metrics_spec.md.
 */
import type { Relabel } from '../../model/relabel.ts';
import { ByteSink, closeBlock, isEmptyBlock, openBlock } from './block.ts';
import { type Conflict, LABELS_READ_MAX, LabelList } from './label-list.ts';
import { readFloat } from './number.ts';

export interface TextFormat {
  /** OpenMetrics: timestamps are seconds, exemplars may follow, and `# EOF` ends the text. */
  readonly isOpenMetrics: boolean;
  /** The time of samples that carry none. */
  readonly timestampMs: number;
  /** False: all samples get `timestampMs`, whatever they carry. */
  readonly honorTimestamps: boolean;
  /** Added to every series. */
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly onConflict: Conflict;
  /** Added as well; a series' own label of such a name is renamed, whatever `onConflict` says. */
  readonly enforced?: readonly (readonly [name: string, value: string])[];
  /** Changes the labels of a series, or drops it; costs strings for each line. */
  readonly relabel?: Relabel;
}

export interface Transcoded {
  /** Remote-write bodies, each a snappy block. */
  readonly bodies: readonly Uint8Array[];
  /** Those that a relabelling dropped are not among them. */
  readonly samples: number;
  readonly dropped: number;
  readonly refusedLines: number;
  /** Samples before the first refused line, those that were dropped among them. */
  readonly samplesBefore: number;
  /** Number and text of the first refused line, and what is wrong with it; '' if there is none. */
  readonly firstRefused: string;
  /** False for OpenMetrics that does not end with `# EOF`. */
  readonly isComplete: boolean;
}

const BLOCK_BYTES = 1 << 20;
/** Bytes of text that are read without a pause. */
const SLICE_BYTES = 1 << 16;
const EXAMPLE_LENGTH_MAX = 120;
/** prompb.MetricMetadata.MetricType. */
const TYPES: Readonly<Record<string, number>> = {
  counter: 1,
  gauge: 2,
  histogram: 3,
  gaugehistogram: 4,
  summary: 5,
  info: 6,
  stateset: 7,
};

const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const HASH = 0x23;
const COMMA = 0x2c;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

class LineError extends Error {}

/** A metric family as comments describe it; texts as places in what is read. */
interface Family {
  readonly name: Buffer;
  type: number;
  helpFrom: number;
  helpTo: number;
  unitFrom: number;
  unitTo: number;
}

/** Reads a whole text. */
export function transcodeText(text: Uint8Array, format: TextFormat): Transcoded {
  const slices = transcodeSlices(text, format);
  for (;;) {
    const { done, value } = slices.next();
    if (done) return value;
  }
}

/** The same in slices of about a millisecond. */
export function transcodeSlices(text: Uint8Array, format: TextFormat): Generator<void, Transcoded, void> {
  return new Transcoder(text, format).run();
}

class Transcoder {
  readonly #text: Buffer;
  readonly #format: TextFormat;
  readonly #added: readonly (readonly [name: Buffer, value: Buffer])[];
  readonly #enforced: readonly (readonly [name: Buffer, value: Buffer])[];
  #dropped = 0;
  readonly #bodies: Uint8Array[] = [];
  #block = openBlock();
  readonly #message = new ByteSink();
  readonly #part = new ByteSink();
  readonly #labels = new LabelList();
  #at = 0;
  #end = 0;
  #samples = 0;
  #refused = 0;
  #firstRefused = '';
  #samplesBefore = 0;
  #sawEnd = false;
  #family: Family | null = null;

  constructor(text: Uint8Array, format: TextFormat) {
    this.#text = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
    this.#format = format;
    this.#added = bytesOf(format.labels);
    this.#enforced = bytesOf(format.enforced ?? []);
  }

  *run(): Generator<void, Transcoded, void> {
    const text = this.#text;
    let line = 1;
    let sliceEnd = SLICE_BYTES;
    for (let start = 0; start < text.length && !this.#sawEnd; line++) {
      const newline = text.indexOf(NEWLINE, start);
      const next = newline < 0 ? text.length : newline;
      this.#at = start;
      this.#end = next > start && text[next - 1] === RETURN ? next - 1 : next;
      this.#tryLine(line, start);
      if (this.#block.length > BLOCK_BYTES) this.#flush();
      start = next + 1;
      if (start < sliceEnd) continue;
      sliceEnd = start + SLICE_BYTES;
      yield;
    }
    this.#writeFamily();
    this.#flush();
    return {
      bodies: this.#bodies,
      samples: this.#samples,
      dropped: this.#dropped,
      refusedLines: this.#refused,
      samplesBefore: this.#samplesBefore,
      firstRefused: this.#firstRefused,
      isComplete: this.#sawEnd || !this.#format.isOpenMetrics,
    };
  }

  #flush(): void {
    if (isEmptyBlock(this.#block)) return;
    this.#bodies.push(closeBlock(this.#block));
    this.#block = openBlock();
  }

  #tryLine(line: number, start: number): void {
    try {
      this.#line();
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      this.#refused++;
      if (this.#firstRefused !== '') return;
      this.#samplesBefore = this.#samples + this.#dropped;
      const text = this.#text.toString('utf8', start, Math.min(this.#end, start + EXAMPLE_LENGTH_MAX));
      this.#firstRefused = `line ${line}: ${error.message}: ${JSON.stringify(text)}`;
    }
  }

  #line(): void {
    this.#skipBlanks();
    if (this.#at === this.#end) return;
    if (this.#text[this.#at] === HASH) this.#comment();
    else this.#sample();
  }

  // ---- comments

  #comment(): void {
    this.#at++;
    this.#skipBlanks();
    const keyword = this.#word();
    if (keyword === 'EOF' && this.#format.isOpenMetrics && this.#atEnd()) this.#sawEnd = true;
    if (keyword !== 'HELP' && keyword !== 'TYPE' && keyword !== 'UNIT') return;
    this.#skipBlanks();
    const name = this.#labels.clear();
    if (this.#text[this.#at] === QUOTE) this.#quoted();
    else this.#bare(this.#wordEnd());
    if (name.length === 0) throw new LineError(`${keyword} without a metric name`);
    this.#skipBlanks();
    const family = this.#familyOf(name);
    if (keyword === 'TYPE') family.type = TYPES[this.#word()] ?? 0;
    else if (keyword === 'HELP') [family.helpFrom, family.helpTo] = [this.#at, this.#end];
    else [family.unitFrom, family.unitTo] = [this.#at, this.#end];
  }

  /** What the comments in hand say of this family: they stand together, and become one description. */
  #familyOf({ bytes, length }: ByteSink): Family {
    const known = this.#family;
    if (known !== null && known.name.compare(bytes, 0, length) === 0) return known;
    this.#writeFamily();
    const name = Buffer.from(bytes.subarray(0, length));
    this.#family = { name, type: 0, helpFrom: 0, helpTo: 0, unitFrom: 0, unitTo: 0 };
    return this.#family;
  }

  #writeFamily(): void {
    if (this.#family === null) return;
    const { name, type, helpFrom, helpTo, unitFrom, unitTo } = this.#family;
    this.#family = null;
    const message = this.#message;
    message.length = 0;
    if (type !== 0) message.int64(0x08, type);
    message.field(0x12, name, 0, name.length);
    const help = unescapeHelp(this.#text.subarray(helpFrom, helpTo));
    if (help.length > 0) message.field(0x22, help, 0, help.length);
    if (unitTo > unitFrom) message.field(0x2a, this.#text, unitFrom, unitTo);
    this.#block.field(0x1a, message.bytes, 0, message.length);
  }

  // ---- samples

  #sample(): void {
    const into = this.#labels.clear();
    if (this.#text[this.#at] !== OPEN) {
      const end = this.#nameEnd();
      if (end === this.#at) throw new LineError('want a metric name');
      this.#bare(end);
      this.#labels.addMetricName(0, into.length);
    }
    this.#skipBlanks();
    if (this.#text[this.#at] === OPEN && this.#at < this.#end) this.#labelSet();
    this.#skipBlanks();
    const value = this.#number('a value');
    let timestampMs = this.#format.timestampMs;
    this.#skipBlanks();
    if (!this.#atEnd() && this.#text[this.#at] !== HASH) {
      const own = this.#number('a timestamp');
      if (this.#format.honorTimestamps) timestampMs = this.#timeOf(own);
      this.#skipBlanks();
    }
    this.#labels.merge(this.#added, this.#format.onConflict);
    this.#labels.merge(this.#enforced, 'renamed');
    if (this.#format.relabel === undefined || this.#relabel(this.#format.relabel))
      this.#writeSeries(value, timestampMs);
    else this.#dropped++;
  }

  #relabel(relabel: Relabel): boolean {
    const labels = this.#labels.toMap();
    if (!relabel(labels) || !labels.has('__name__')) return false;
    for (const [name, value] of this.#format.enforced ?? []) labels.set(name, value);
    if (!this.#labels.replaceAll(labels)) throw new LineError(`want at most ${LABELS_READ_MAX} labels`);
    return true;
  }

  #writeSeries(value: number, timestampMs: number): void {
    const message = this.#message;
    message.length = 0;
    this.#labels.write(message);
    const part = this.#part;
    part.length = 0;
    part.double(0x09, value);
    part.int64(0x10, timestampMs);
    message.field(0x12, part.bytes, 0, part.length);
    if (!this.#atEnd()) this.#exemplar(message, timestampMs);
    this.#block.field(0x0a, message.bytes, 0, message.length);
    this.#samples++;
  }

  /** ` # {trace_id="…"} value [timestamp]`, OpenMetrics only; the labels of the series have been written by now. */
  #exemplar(message: ByteSink, timestampMs: number): void {
    if (!this.#format.isOpenMetrics || this.#text[this.#at] !== HASH) throw new LineError('want the end of the line');
    this.#at++;
    this.#skipBlanks();
    this.#labels.clear();
    if (this.#text[this.#at] !== OPEN) throw new LineError('want the labels of an exemplar');
    this.#labelSet();
    this.#skipBlanks();
    const value = this.#number('the value of an exemplar');
    this.#skipBlanks();
    const timeMs = this.#atEnd() ? timestampMs : this.#timeOf(this.#number('the timestamp of an exemplar'));
    this.#skipBlanks();
    if (!this.#atEnd()) throw new LineError('want the end of the line');
    const part = this.#part;
    part.length = 0;
    this.#labels.write(part);
    part.double(0x11, value);
    part.int64(0x18, timeMs);
    message.field(0x1a, part.bytes, 0, part.length);
  }

  #number(what: string): number {
    const end = this.#wordEnd();
    const value = end === this.#at ? undefined : readFloat(this.#text, this.#at, end);
    if (value === undefined) throw new LineError(`want ${what}`);
    this.#at = end;
    return value;
  }

  #timeOf(written: number): number {
    const timeMs = this.#format.isOpenMetrics ? Math.round(written * 1000) : written;
    if (!Number.isSafeInteger(timeMs)) throw new LineError('want a timestamp that is a whole number of milliseconds');
    return timeMs;
  }

  // ---- labels

  /** `{a="x", "b.c"="y", "metric.name"}`; a comma may stand behind the last. */
  #labelSet(): void {
    this.#at++;
    const text = this.#labels.text;
    for (;;) {
      this.#skipBlanks();
      if (this.#next(CLOSE)) return;
      const from = text.length;
      const isQuoted = this.#text[this.#at] === QUOTE;
      if (isQuoted) this.#quoted();
      else this.#bare(this.#nameEnd());
      const to = text.length;
      if (from === to) throw new LineError('want the name of a label');
      this.#skipBlanks();
      if (this.#next(EQUALS)) {
        this.#skipBlanks();
        if (this.#text[this.#at] !== QUOTE) throw new LineError('want a label value in quotes');
        this.#quoted();
        this.#add(from, to, to, text.length);
      } else if (isQuoted) this.#labels.addMetricName(from, to);
      else throw new LineError('want = behind the name of a label');
      this.#skipBlanks();
      if (this.#next(CLOSE)) return;
      if (!this.#next(COMMA)) throw new LineError('want , or } behind a label');
    }
  }

  #add(from: number, to: number, valueFrom: number, valueTo: number): void {
    if (!this.#labels.add(from, to, valueFrom, valueTo)) throw new LineError(`want at most ${LABELS_READ_MAX} labels`);
  }

  // ---- words

  #quoted(): void {
    const text = this.#text;
    let from = ++this.#at;
    for (; this.#at < this.#end; this.#at++) {
      const byte = text[this.#at]!;
      if (byte !== QUOTE && byte !== BACKSLASH) continue;
      this.#labels.text.copy(text, from, this.#at);
      if (byte === QUOTE) {
        this.#at++;
        return;
      }
      const escaped = text[++this.#at];
      if (escaped === 0x6e) this.#labels.text.byte(NEWLINE);
      else if (escaped === QUOTE || escaped === BACKSLASH) this.#labels.text.byte(escaped);
      else throw new LineError('want \\\\, \\" or \\n behind a backslash');
      from = this.#at + 1;
    }
    throw new LineError('want a closing quote');
  }

  #bare(end: number): void {
    this.#labels.text.copy(this.#text, this.#at, end);
    this.#at = end;
  }

  #skipBlanks(): void {
    while (this.#at < this.#end && (this.#text[this.#at] === SPACE || this.#text[this.#at] === TAB)) this.#at++;
  }

  #atEnd(): boolean {
    return this.#at >= this.#end;
  }

  #next(byte: number): boolean {
    if (this.#at >= this.#end || this.#text[this.#at] !== byte) return false;
    this.#at++;
    return true;
  }

  #word(): string {
    const end = this.#wordEnd();
    const word = this.#text.toString('latin1', this.#at, end);
    this.#at = end;
    return word;
  }

  #wordEnd(): number {
    let end = this.#at;
    while (end < this.#end && this.#text[end] !== SPACE && this.#text[end] !== TAB) end++;
    return end;
  }

  /** End of a name that needs no quotes: letters, digits, _ and :, no digit first. */
  #nameEnd(): number {
    let end = this.#at;
    while (end < this.#end && isNameByte(this.#text[end]!, end > this.#at)) end++;
    return end;
  }
}

/** `\\` and `\n` stand for a backslash and the end of a line, and in OpenMetrics `\"` for a quote. */
function unescapeHelp(help: Buffer): Buffer {
  if (!help.includes(BACKSLASH)) return help;
  const text = help
    .toString('latin1')
    .replace(/\\([\\n"])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  return Buffer.from(text, 'latin1');
}

function bytesOf(labels: TextFormat['labels']): readonly (readonly [name: Buffer, value: Buffer])[] {
  return labels.map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const);
}

function isNameByte(byte: number, digitsToo: boolean): boolean {
  const letter = byte | 0x20;
  if ((letter >= 0x61 && letter <= 0x7a) || byte === 0x5f || byte === 0x3a) return true;
  return digitsToo && byte >= 0x30 && byte <= 0x39;
}
