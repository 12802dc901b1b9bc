/** What a TimeSeries holds beside its labels, in both versions: samples, histograms and exemplars, each into its place. */
import { CodedError } from '../../model/errors.ts';
import type { Labels } from '../../model/labels.ts';
import type { Exemplars } from '../../tsdb/exemplars.ts';
import type { HeadWriter, SeriesRef } from '../../tsdb/head.ts';
import { seriesOrReason } from '../appender.ts';
import type { WireReader } from '../protobuf.ts';
import { type Reason, reasonOf } from '../reasons.ts';
import type { Tally } from '../tally.ts';
import { readHistogram } from './histogram.ts';

/** Where the items go. */
export interface Sink {
  readonly head: HeadWriter;
  readonly exemplars: Exemplars;
  /** Exemplars later than this are not taken. */
  readonly latestMs: number;
  readonly tally: Tally;
}

/** A series that items are stored for; it is made at its first sample, so that exemplars alone leave no trace in the head. */
export interface SeriesInHand {
  readonly labels: () => Labels;
  /** Start of all items that do not say their own, 0 if it is unknown; null where the protocol has none. */
  readonly startTimestampMs: number | null;
  ref: SeriesRef | Reason | null;
}

/** The sample that was read last: the value as the halves of its bits. */
const sample = { low: 0, high: 0, timestampMs: 0, startTimestampMs: 0 };

/** Reads the Sample message at the reader into `sample`. What 2.0 has for the start is an unknown field to 1.0. */
function readSample(reader: WireReader, hasStart: boolean): void {
  sample.low = 0;
  sample.high = 0;
  sample.timestampMs = 0;
  sample.startTimestampMs = 0;
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) {
      reader.readFixed64();
      sample.low = reader.low;
      sample.high = reader.high;
    } else if (reader.field === 2 || (hasStart && reader.field === 3)) {
      reader.readVarint();
      if (reader.field === 2) sample.timestampMs = reader.int64();
      else sample.startTimestampMs = reader.int64();
    } else reader.skip();
  }
  reader.leave(outer);
}

/** Stores the Sample message at the reader. */
export function storeSample(reader: WireReader, series: SeriesInHand, { head, tally }: Sink): void {
  readSample(reader, series.startTimestampMs !== null);
  const ref = refOf(series, head);
  const start = startOf(series, sample.startTimestampMs);
  const reason =
    typeof ref === 'string' ? ref : reasonOf(head.append(ref, sample.timestampMs, sample.low, sample.high, start));
  if (reason === null) tally.samplesStored++;
  else tally.refuse(reason, 1, series.labels());
}

/** Stores the Histogram message at the reader. */
export function storeHistogram(reader: WireReader, series: SeriesInHand, { head, tally }: Sink): void {
  const histogram = readHistogram(messageAt(reader));
  if (typeof histogram === 'string') {
    tally.refuse(histogram, 1, series.labels());
    return;
  }
  const ref = refOf(series, head);
  const start = startOf(series, histogram.startTimestampMs);
  const reason =
    typeof ref === 'string' ? ref : reasonOf(head.appendHistogram(ref, histogram.timestampMs, histogram.blob, start));
  if (reason === null) {
    tally.samplesStored++;
    tally.histogramsStored++;
  } else tally.refuse(reason, 1, series.labels());
}

/** Keeps an exemplar whose labels were read; null stands for one that cannot be decoded. Returns why it is refused. */
export function keepExemplar(
  series: Labels,
  exemplar: { readonly labels: Labels; readonly value: number; readonly timestampMs: number } | null,
  { exemplars, latestMs, tally }: Pick<Sink, 'exemplars' | 'latestMs' | 'tally'>,
): Reason | null {
  if (exemplar === null) return 'malformed_exemplar';
  if (exemplar.timestampMs > latestMs) return 'exemplar_too_far_ahead';
  const added = exemplars.add(series, exemplar);
  if (added === 'outOfOrder') return 'out_of_order_exemplar';
  if (added === 'stored' || added === 'duplicate') tally.exemplarsStored++;
  else tally.exemplarsIgnored++;
  return null;
}

/** Reads a message with `read`; null if it cannot be decoded. The reader stands behind it afterwards. */
export function readOrNull<T>(reader: WireReader, read: (message: Uint8Array) => T): T | null {
  const message = messageAt(reader);
  try {
    return read(message);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'bad_body') return null;
    throw error;
  }
}

/** The bytes of the length-delimited field at the reader, which then stands behind it. */
function messageAt(reader: WireReader): Uint8Array {
  const length = reader.readLength();
  const start = reader.position;
  reader.position = start + length;
  return reader.bytes.subarray(start, start + length);
}

function startOf({ startTimestampMs }: SeriesInHand, ownMs: number): number {
  return startTimestampMs === null ? 0 : ownMs || startTimestampMs;
}

function refOf(series: SeriesInHand, head: HeadWriter): SeriesRef | Reason {
  series.ref ??= seriesOrReason(head, series.labels());
  return series.ref;
}
