/**
 * Remote-write 2.0 bodies for tests, from the specification (prometheus/docs, docs/specs/prw/remote_write_spec_2_0.md) and
 * written apart from the decoder under test: protobufjs' writer and snappyjs.
 */
import protobuf from 'protobufjs/minimal.js';
import snappy from 'snappyjs';
import { type HistogramToEncode, writeHistogram } from './histogram-encoder.ts';
import { long, type SampleToEncode, tag, writeDouble } from './remote-write-encoder.ts';

export type LabelPairs = readonly (readonly [name: string, value: string])[];

export interface ExemplarToEncode {
  readonly labels: LabelPairs;
  readonly value: number;
  readonly timestampMs: number;
}

export interface Sample2ToEncode extends SampleToEncode {
  readonly startTimestampMs?: number;
}

export interface Series2ToEncode {
  /** Sent in this order. */
  readonly labels: LabelPairs;
  readonly samples?: readonly Sample2ToEncode[];
  readonly histograms?: readonly HistogramToEncode[];
  readonly exemplars?: readonly ExemplarToEncode[];
  readonly metadata?: { readonly type: number; readonly help: string; readonly unit: string };
  /** The field of the first drafts, for all items. */
  readonly createdMs?: number;
  /** Instead of what the labels say. */
  readonly refs?: readonly number[];
  /** References one at a time. */
  readonly unpacked?: boolean;
}

export interface RequestOptions {
  /** Symbols that nobody needs, in front of the others. */
  readonly padding?: number;
  /** The series before their symbols. */
  readonly symbolsLast?: boolean;
}

/** A snappy-compressed Request. */
export function encodeRequest(series: readonly Series2ToEncode[], options: RequestOptions = {}): Uint8Array {
  return snappy.compress(encodePlainRequest(series, options));
}

/** A Request before compression. */
export function encodePlainRequest(series: readonly Series2ToEncode[], options: RequestOptions = {}): Uint8Array {
  const symbols = new SymbolTable(options.padding ?? 0);
  const body = protobuf.Writer.create();
  for (const one of series) {
    body.uint32(tag(5, 2)).fork();
    writeTimeSeries(body, one, symbols);
    body.ldelim();
  }
  const head = protobuf.Writer.create();
  for (const text of symbols.texts) head.uint32(tag(4, 2)).string(text);
  const parts = [head.finish(), body.finish()];
  return new Uint8Array(Buffer.concat(options.symbolsLast === true ? parts.reverse() : parts));
}

class SymbolTable {
  readonly texts: string[] = [''];
  readonly #numbers = new Map([['', 0]]);

  constructor(padding: number) {
    for (let i = 0; i < padding; i++) this.texts.push(`padding_${i}`);
  }

  number(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    this.#numbers.set(text, this.texts.length);
    return this.texts.push(text) - 1;
  }

  refs(labels: LabelPairs): number[] {
    return labels.flatMap(([name, value]) => [this.number(name), this.number(value)]);
  }
}

function writeTimeSeries(writer: protobuf.Writer, series: Series2ToEncode, symbols: SymbolTable): void {
  const refs = series.refs ?? symbols.refs(series.labels);
  if (series.unpacked === true) for (const ref of refs) writer.uint32(tag(1, 0)).uint32(ref);
  else writeRefs(writer, refs);
  for (const { timestampMs, value, startTimestampMs } of series.samples ?? []) {
    writer.uint32(tag(2, 2)).fork();
    writeDouble(writer, 1, value);
    writer.uint32(tag(2, 0)).int64(long(BigInt(timestampMs)));
    if (startTimestampMs !== undefined) writer.uint32(tag(3, 0)).int64(long(BigInt(startTimestampMs)));
    writer.ldelim();
  }
  for (const histogram of series.histograms ?? []) {
    writer.uint32(tag(3, 2)).fork();
    writeHistogram(writer, histogram);
    writer.ldelim();
  }
  for (const { labels, value, timestampMs } of series.exemplars ?? []) {
    writer.uint32(tag(4, 2)).fork();
    writeRefs(writer, symbols.refs(labels));
    writeDouble(writer, 2, value);
    writer
      .uint32(tag(3, 0))
      .int64(long(BigInt(timestampMs)))
      .ldelim();
  }
  if (series.metadata !== undefined) {
    const { type, help, unit } = series.metadata;
    writer.uint32(tag(5, 2)).fork().uint32(tag(1, 0)).int32(type);
    writer.uint32(tag(3, 0)).uint32(symbols.number(help));
    writer.uint32(tag(4, 0)).uint32(symbols.number(unit)).ldelim();
  }
  if (series.createdMs !== undefined) writer.uint32(tag(6, 0)).int64(long(BigInt(series.createdMs)));
}

function writeRefs(writer: protobuf.Writer, refs: readonly number[]): void {
  writer.uint32(tag(1, 2)).fork();
  for (const ref of refs) writer.uint32(ref);
  writer.ldelim();
}
