/**
 * Remote-write 1.0: one `prometheus.TimeSeries` into the head, for those that the kernel leaves to us. Samples pass as the
 * bits they came in, so that stale markers survive.
 *
 * Source: prometheus/prometheus, prompb/remote.proto and prompb/types.proto.
 */
import type { Labels } from '../../model/labels.ts';
import type { HeadWriter, SeriesRef } from '../../tsdb/head.ts';
import { seriesOrReason } from '../appender.ts';
import { checkBody, FIELD, type MessageSchema, WireReader } from '../protobuf.ts';
import { type Reason, reasonOf } from '../reasons.ts';
import { canonicalLabels } from '../series-labels.ts';
import type { Tally } from '../tally.ts';

const { varint, fixed64, bytes } = FIELD;
const LABEL: MessageSchema = [undefined, bytes, bytes];
const SAMPLE: MessageSchema = [undefined, fixed64, varint];
/** 1 labels, 2 samples, 3 exemplars, 4 histograms. */
const TIME_SERIES: MessageSchema = [undefined, LABEL, SAMPLE, bytes, bytes];
/** Stores one TimeSeries message: canonical labels first, then its samples. Throws `bad_body`, and has then stored nothing. */
export function storeTimeSeries(message: Uint8Array, head: HeadWriter, tally: Tally): void {
  checkBody(message, TIME_SERIES);
  const reader = new WireReader(message);
  const received: string[] = [];
  const validUtf8 = readLabels(reader, received);
  const labels = validUtf8 ? canonicalLabels(received) : 'invalid_utf8';
  reader.position = 0;
  if (typeof labels === 'string') refuseSeries(reader, labels, received, tally);
  else storeSamples(reader, labels, head, tally);
}

/** The labels of a TimeSeries message as received, names and values by turns. */
export function readSeriesLabels(message: Uint8Array): Labels {
  const received: string[] = [];
  readLabels(new WireReader(message), received);
  return received;
}

/** Collects names and values by turns, as received; false if one of them is not valid UTF-8. */
function readLabels(reader: WireReader, received: string[]): boolean {
  let valid = true;
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.skip();
      continue;
    }
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
    valid &&= name !== null && value !== null;
  }
  return valid;
}

function storeSamples(reader: WireReader, labels: Labels, head: HeadWriter, tally: Tally): void {
  // The series is made at its first sample: exemplars or histograms alone leave no trace.
  let ref: SeriesRef | Reason | null = null;
  while (reader.next()) {
    if (reader.field !== 2) {
      skipOther(reader, labels, tally);
      continue;
    }
    const timestampMs = readSample(reader);
    ref ??= seriesOrReason(head, labels);
    const reason = typeof ref === 'string' ? ref : reasonOf(head.append(ref, timestampMs, sample.low, sample.high));
    if (reason === null) tally.samplesStored++;
    else tally.refuse(reason, 1, labels);
  }
}

function refuseSeries(reader: WireReader, reason: Reason, received: readonly string[], tally: Tally): void {
  let count = 0;
  while (reader.next()) {
    if (reader.field === 2) {
      count++;
      reader.skip();
    } else skipOther(reader, received, tally);
  }
  tally.refuse(reason, count, received);
}

function skipOther(reader: WireReader, labels: readonly string[], tally: Tally): void {
  if (reader.field === 3) tally.exemplarsIgnored++;
  else if (reader.field === 4) tally.refuse('native_histogram_unsupported', 1, labels);
  reader.skip();
}

/** The value of the sample that was read last, as the halves of its bits. */
const sample = { low: 0, high: 0 };

/** Reads one sample into `sample`; returns its timestamp. */
function readSample(reader: WireReader): number {
  let timestampMs = 0;
  sample.low = 0;
  sample.high = 0;
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) {
      reader.readFixed64();
      sample.low = reader.low;
      sample.high = reader.high;
    } else if (reader.field === 2) {
      reader.readVarint();
      timestampMs = reader.int64();
    } else reader.skip();
  }
  reader.leave(outer);
  return timestampMs;
}
