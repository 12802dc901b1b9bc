/**
 * Remote-write 2.0: one `io.prometheus.write.v2.TimeSeries` into the head, for those that the kernel leaves to us, and the
 * metadata that it noted. The structure of the message was checked by the kernel, but for histograms and exemplars.
 *
 * Source: prometheus/prometheus, prompb/io/prometheus/write/v2/types.proto.
 */
import type { Labels } from '../../model/labels.ts';
import type { SeriesRef } from '../../tsdb/head.ts';
import { familyOf, type Metadata, metricTypeOf } from '../../tsdb/metadata.ts';
import { checkBody, FIELD, type MessageSchema, WIRE, WireReader } from '../protobuf.ts';
import type { Reason } from '../reasons.ts';
import { canonicalLabels } from '../series-labels.ts';
import { stampedLabels } from '../stamp.ts';
import type { Tally } from '../tally.ts';
import { keepExemplar, readOrNull, type SeriesInHand, type Sink, storeHistogram, storeSample } from './items.ts';

/** Strings of a request by their number. */
export interface Symbols {
  readonly count: number;
  /** Null if it is not valid UTF-8. `i` is below `count`. */
  text(i: number): string | null;
}

/** A TimeSeries message, its symbols, the stamp of its sender, and the series if that is known. */
export interface ReceivedSeries {
  readonly timeSeries: Uint8Array;
  readonly symbols: Symbols;
  readonly ref: SeriesRef | null;
  /** '' or absent for none. */
  readonly stamp?: string;
}

const { varint, fixed64 } = FIELD;
/** 1 labels_refs (packed or not), 2 value, 3 timestamp. */
const EXEMPLAR: MessageSchema = [undefined, undefined, fixed64, varint];

/** Stores one TimeSeries: labels first, then its items as they come. */
export function storeSeries(received: ReceivedSeries, sink: Sink): void {
  const { stamp = '' } = received;
  const reader = new WireReader(received.timeSeries);
  const { refs, createdMs: startTimestampMs } = readHead(reader);
  reader.position = 0;
  if (received.ref !== null) {
    // Labels as strings are needed for exemplars and refusals only.
    let labels: Labels | null = null;
    const known = () => {
      labels ??= stampedLabels(canonicalLabels(textsOf(refs, received.symbols).texts), stamp) as Labels;
      return labels;
    };
    storeItems(reader, { labels: known, startTimestampMs, ref: received.ref }, received.symbols, sink);
    return;
  }
  const { texts, fault } = textsOf(refs, received.symbols);
  const labels = fault ?? stampedLabels(canonicalLabels(texts), stamp);
  if (typeof labels === 'string') refuseSeries(reader, labels, texts, sink.tally);
  else storeItems(reader, { labels: () => labels, startTimestampMs, ref: null }, received.symbols, sink);
}

/** The labels of a TimeSeries as received, names and values by turns. */
export function readSeriesLabels(timeSeries: Uint8Array, symbols: Symbols): Labels {
  return textsOf(readHead(new WireReader(timeSeries)).refs, symbols).texts;
}

/** Adds one Metadata message to what is known of the series with this name; false if it cannot be kept. */
export function addMetadata(seriesName: string | null, message: Uint8Array, symbols: Symbols, into: Metadata): boolean {
  const reader = new WireReader(message);
  let type = 0;
  let helpRef = 0;
  let unitRef = 0;
  while (reader.next()) {
    if (reader.field === 1) type = reader.readVarint();
    else if (reader.field === 3) helpRef = reader.readVarint();
    else if (reader.field === 4) unitRef = reader.readVarint();
    else reader.skip();
  }
  const help = symbols.text(helpRef);
  const unit = symbols.text(unitRef);
  if (seriesName === null || help === null || unit === null) return false;
  // A sender that knows nothing may say so at length.
  if (type === 0 && help === '' && unit === '') return true;
  const metricType = metricTypeOf(type);
  return into.add(familyOf(seriesName, metricType), { type: metricType, help, unit });
}

/** References of the labels, and the time of creation that the first drafts had for the whole TimeSeries (0 if there is none). */
function readHead(reader: WireReader): { readonly refs: readonly number[]; readonly createdMs: number } {
  const refs: number[] = [];
  let createdMs = 0;
  while (reader.next()) {
    if (reader.field === 1) readRefs(reader, refs);
    else if (reader.field === 6) {
      reader.readVarint();
      createdMs = reader.int64();
    } else reader.skip();
  }
  return { refs, createdMs };
}

/** Appends the references of a field 1, packed or not. */
function readRefs(reader: WireReader, refs: number[]): void {
  if (reader.wireType === WIRE.varint) {
    refs.push(readRef(reader));
    return;
  }
  if (reader.wireType !== WIRE.bytes) reader.fail(`wire type ${reader.wireType} for field 1`);
  const outer = reader.enter();
  while (reader.position < reader.limit) refs.push(readRef(reader));
  reader.leave(outer);
}

/** What is larger than 32 bits is no symbol's number, whatever its low half says. */
function readRef(reader: WireReader): number {
  reader.readVarint();
  return reader.uint64();
}

/** The strings of references, and what is wrong with them. */
function textsOf(
  refs: readonly number[],
  symbols: Symbols,
): { readonly texts: string[]; readonly fault: Reason | null } {
  let fault: Reason | null = refs.length % 2 === 0 ? null : 'invalid_label_reference';
  const texts: string[] = [];
  for (const ref of refs) {
    if (ref >= symbols.count) fault = 'invalid_label_reference';
    const text = ref < symbols.count ? symbols.text(ref) : '?';
    if (text === null) fault ??= 'invalid_utf8';
    texts.push(text ?? '\ufffd');
  }
  if (texts.length % 2 !== 0) texts.push('?');
  return { texts, fault };
}

function storeItems(reader: WireReader, series: SeriesInHand, symbols: Symbols, sink: Sink): void {
  while (reader.next()) {
    if (reader.field === 2) storeSample(reader, series, sink);
    else if (reader.field === 3) storeHistogram(reader, series, sink);
    else if (reader.field === 4) {
      const exemplar = readOrNull(reader, (message) => readExemplar(message, symbols));
      const reason = keepExemplar(series.labels(), exemplar, sink);
      if (reason !== null) sink.tally.refuseExemplar(reason, series.labels());
    } else reader.skip();
  }
}

function readExemplar(message: Uint8Array, symbols: Symbols) {
  checkBody(message, EXEMPLAR);
  const reader = new WireReader(message);
  const refs: number[] = [];
  let value = 0;
  let timestampMs = 0;
  while (reader.next()) {
    if (reader.field === 1) readRefs(reader, refs);
    else if (reader.field === 2) value = reader.readFloat64();
    else if (reader.field === 3) {
      reader.readVarint();
      timestampMs = reader.int64();
    } else reader.skip();
  }
  const { texts, fault } = textsOf(refs, symbols);
  return fault === null ? { labels: texts, value, timestampMs } : null;
}

function refuseSeries(reader: WireReader, reason: Reason, texts: readonly string[], tally: Tally): void {
  let count = 0;
  while (reader.next()) {
    if (reader.field === 2 || reader.field === 3) count++;
    else if (reader.field === 4) tally.exemplarsIgnored++;
    reader.skip();
  }
  tally.refuse(reason, count, texts);
}
