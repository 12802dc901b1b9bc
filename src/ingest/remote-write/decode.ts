/**
 * Remote-write 1.0: one `prometheus.TimeSeries` into the head, for those that the kernel leaves to us, and the metadata of a
 * request. Samples pass as the bits they came in, so that stale markers survive.
 *
 * Source: prometheus/prometheus, prompb/remote.proto and prompb/types.proto.
 */
import type { Labels } from '../../model/labels.ts';
import { type Metadata, metricTypeOf } from '../../tsdb/metadata.ts';
import { checkBody, FIELD, type MessageSchema, WireReader } from '../protobuf.ts';
import type { Reason } from '../reasons.ts';
import { canonicalLabels } from '../series-labels.ts';
import { stampedLabels } from '../stamp.ts';
import type { Tally } from '../tally.ts';
import { keepExemplar, readOrNull, type SeriesInHand, type Sink, storeHistogram, storeSample } from './items.ts';

const { varint, fixed64, bytes } = FIELD;
const LABEL: MessageSchema = [undefined, bytes, bytes];
const SAMPLE: MessageSchema = [undefined, fixed64, varint];
const EXEMPLAR: MessageSchema = [undefined, LABEL, fixed64, varint];
/** 1 labels, 2 samples, 3 exemplars, 4 histograms. */
const TIME_SERIES: MessageSchema = [undefined, LABEL, SAMPLE, bytes, bytes];
/** 1 type, 2 family, 4 help, 5 unit. */
const METADATA: MessageSchema = [undefined, varint, bytes, undefined, bytes, bytes];

/** Stores one TimeSeries message: canonical labels first, with the stamp of its sender, then its items. Throws `bad_body`, and has then stored nothing. */
export function storeTimeSeries(message: Uint8Array, sink: Sink, stamp = ''): void {
  checkBody(message, TIME_SERIES);
  const reader = new WireReader(message);
  const received: string[] = [];
  const validUtf8 = readLabels(reader, received);
  const labels = validUtf8 ? stampedLabels(canonicalLabels(received), stamp) : 'invalid_utf8';
  reader.position = 0;
  if (typeof labels === 'string') refuseSeries(reader, labels, received, sink.tally);
  else storeItems(reader, labels, sink);
}

/** The labels of a TimeSeries message as received, names and values by turns. */
export function readSeriesLabels(message: Uint8Array): Labels {
  const received: string[] = [];
  readLabels(new WireReader(message), received);
  return received;
}

/** Adds the metadata of a request; the rest of the body is passed over. */
export function storeMetadata(body: Uint8Array, metadata: Metadata, tally: Tally): void {
  const reader = new WireReader(body);
  while (reader.next()) {
    if (reader.field !== 3) reader.skip();
    else if (!(readOrNull(reader, (message) => addMetadata(message, metadata)) ?? false)) tally.metadataIgnored++;
  }
}

function addMetadata(message: Uint8Array, metadata: Metadata): boolean {
  checkBody(message, METADATA);
  const reader = new WireReader(message);
  let type = 0;
  let family: string | null = '';
  let help: string | null = '';
  let unit: string | null = '';
  while (reader.next()) {
    if (reader.field === 1) type = reader.readVarint();
    else if (reader.field === 2) family = reader.readString();
    else if (reader.field === 4) help = reader.readString();
    else if (reader.field === 5) unit = reader.readString();
    else reader.skip();
  }
  if (family === null || help === null || unit === null || family === '') return false;
  return metadata.add(family, { type: metricTypeOf(type), help, unit });
}

/** Collects names and values by turns, as received; false if one of them is not valid UTF-8. Labels are field 1. */
function readLabels(reader: WireReader, received: string[]): boolean {
  let valid = true;
  while (reader.next()) {
    if (reader.field === 1) valid = readLabel(reader, received) && valid;
    else reader.skip();
  }
  return valid;
}

function readLabel(reader: WireReader, received: string[]): boolean {
  let name: string | null = '';
  let value: string | null = '';
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) name = reader.readString();
    else if (reader.field === 2) value = reader.readString();
    else reader.skip();
  }
  reader.leave(outer);
  received.push(name ?? '\ufffd', value ?? '\ufffd');
  return name !== null && value !== null;
}

function storeItems(reader: WireReader, labels: Labels, sink: Sink): void {
  const series: SeriesInHand = { labels: () => labels, startTimestampMs: null, ref: null };
  while (reader.next()) {
    if (reader.field === 2) storeSample(reader, series, sink);
    else if (reader.field === 4) storeHistogram(reader, series, sink);
    else if (reader.field === 3) {
      // 1.0 has no way to tell a sender of an exemplar that was not kept, without the samples beside it being refused too.
      const reason = keepExemplar(labels, readOrNull(reader, readExemplar), sink);
      if (reason !== null) sink.tally.exemplarsIgnored++;
    } else reader.skip();
  }
}

function readExemplar(message: Uint8Array): { labels: Labels; value: number; timestampMs: number } | null {
  checkBody(message, EXEMPLAR);
  const reader = new WireReader(message);
  const received: string[] = [];
  let valid = true;
  let value = 0;
  let timestampMs = 0;
  while (reader.next()) {
    if (reader.field === 1) valid = readLabel(reader, received) && valid;
    else if (reader.field === 2) value = reader.readFloat64();
    else if (reader.field === 3) {
      reader.readVarint();
      timestampMs = reader.int64();
    } else reader.skip();
  }
  return valid ? { labels: received, value, timestampMs } : null;
}

function refuseSeries(reader: WireReader, reason: Reason, received: readonly string[], tally: Tally): void {
  let count = 0;
  while (reader.next()) {
    if (reader.field === 2 || reader.field === 4) count++;
    else if (reader.field === 3) tally.exemplarsIgnored++;
    reader.skip();
  }
  tally.refuse(reason, count, received);
}
