/**
 * Remote-read: another Prometheus, or Thanos, reads the samples as they are. Answers whole messages of samples, or a
 * stream of XOR chunks; series are sorted by their labels. Source: prometheus/prometheus, storage/remote/read_handler.go.
 */
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import { CodedError } from '../../../model/errors.ts';
import { decodeHistogram, type FloatHistogram, isStaleHistogram } from '../../../model/histogram.ts';
import { compareLabels, type Labels } from '../../../model/labels.ts';
import { LIMITS } from '../../../model/limits.ts';
import { SampleBuffer, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../../model/sample.ts';
import { SCOPE_ALL } from '../../../model/scope.ts';
import type { HeadReader, Selection } from '../../../tsdb/head.ts';
import { crc32c } from './crc32c.ts';
import { decodeReadRequest, RESPONSE, type ReadQuery } from './request.ts';
import { compressSnappy } from './snappy.ts';
import { BYTES, FIXED64, VARINT, WireWriter } from './wire.ts';
import { CHUNK_SAMPLES_MAX, encodeXorChunk } from './xor.ts';

export interface ReadDeps {
  readonly head: Pick<HeadReader, 'select'>;
}

const CHUNKS_TYPE = 'application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse';
/** Series between two turns of the event loop. */
const SERIES_PER_SLICE = 200;
const XOR_ENCODING = 1;

/** Answers a ReadRequest as sent. */
export async function replyRead({ head }: ReadDeps, body: Uint8Array, reply: FastifyReply): Promise<FastifyReply> {
  const { queries, accepted } = decodeReadRequest(body);
  const known = accepted.filter((type) => type === RESPONSE.samples || type === RESPONSE.chunks);
  if (accepted.length > 0 && known.length === 0) {
    throw new CodedError('bad_data', `cannot read: got the response types ${accepted.join(', ')}, want 0 or 1`);
  }
  if (known[0] === RESPONSE.chunks && !(await hasHistograms(head, queries))) {
    return reply
      .type(CHUNKS_TYPE)
      .send(
        Readable.from(chunkFrames(head, queries), { objectMode: false, highWaterMark: LIMITS.remoteReadFrameBytesMax }),
      );
  }
  if (known.length > 0 && !known.includes(RESPONSE.samples)) {
    throw new CodedError(
      'query_failed',
      'cannot stream native histograms as chunks: accept SAMPLES beside STREAMED_XOR_CHUNKS',
    );
  }
  const bytes = await sampleResponse(head, queries);
  return reply
    .headers({ 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' })
    .send(compressSnappy(bytes));
}

type Head = ReadDeps['head'];

/** The bounds of the protocol include both ends, the store's leave out the first. */
function select(head: Head, { matchers, startMs, endMs }: ReadQuery): Selection {
  return head.select({ matchers, fromMs: startMs - 1, toMs: endMs, scope: SCOPE_ALL });
}

/** Native histograms go as samples: their chunks are of a format of their own. */
async function hasHistograms(head: Head, queries: readonly ReadQuery[]): Promise<boolean> {
  for (const query of queries) {
    const selection = select(head, query);
    try {
      if (selection.anyHistograms) return true;
    } finally {
      selection.close();
    }
    await setImmediate();
  }
  return false;
}

/** Series of a selection by their labels, with the labels at hand. */
function sorted(selection: Selection): { readonly row: number; readonly labels: Labels }[] {
  const rows = Array.from({ length: selection.count }, (_, row) => ({ row, labels: selection.labels(row) }));
  return rows.sort((a, b) => compareLabels(a.labels, b.labels));
}

async function sampleResponse(head: Head, queries: readonly ReadQuery[]): Promise<Buffer> {
  const response = new WireWriter(64 * 1024);
  let samplesLeft = LIMITS.remoteReadSamplesMax;
  for (const query of queries) {
    const selection = select(head, query);
    try {
      samplesLeft -= selection.samplesMax;
      if (samplesLeft < 0) {
        throw new CodedError(
          'bad_data',
          `exceeded sample limit (${LIMITS.remoteReadSamplesMax}): ask for less, or for chunks`,
        );
      }
      response.message(1, await queryResult(selection, query));
    } finally {
      selection.close();
    }
  }
  return response.bytes();
}

async function queryResult(selection: Selection, query: ReadQuery): Promise<Buffer> {
  const result = new WireWriter(64 * 1024);
  const series = new WireWriter();
  const inner = new WireWriter();
  const buffer = new SampleBuffer(1024);
  let done = 0;
  for (const { row, labels } of sorted(selection)) {
    series.clear();
    writeLabels(series, inner, labels);
    const count = selection.read(row, query.startMs - 1, query.endMs, buffer);
    for (let i = 0; i < count; i++) {
      inner.clear();
      inner.tag(1, FIXED64);
      inner.halves(buffer.halves[2 * i]!, buffer.halves[2 * i + 1]!);
      inner.tag(2, VARINT);
      inner.varint(buffer.timesMs[i]!);
      series.message(2, inner.bytes());
    }
    if (selection.hasHistograms(row)) writeHistograms(series, inner, selection, row, query);
    result.message(1, series.bytes());
    if (++done % SERIES_PER_SLICE === 0) await setImmediate();
  }
  return result.bytes();
}

function writeLabels(into: WireWriter, inner: WireWriter, labels: Labels): void {
  for (let i = 0; i < labels.length; i += 2) {
    inner.clear();
    inner.string(1, labels[i]!);
    inner.string(2, labels[i + 1]!);
    into.message(1, inner.bytes());
  }
}

function writeHistograms(
  into: WireWriter,
  inner: WireWriter,
  selection: Selection,
  row: number,
  { startMs, endMs }: ReadQuery,
): void {
  const { timesMs, blobs } = selection.readHistograms(row, startMs - 1, endMs);
  for (let i = 0; i < timesMs.length; i++) {
    inner.clear();
    writeHistogram(inner, decodeHistogram(blobs[i]!), timesMs[i]!, isStaleHistogram(blobs[i]!));
    into.message(4, inner.bytes());
  }
}

/** All counts go as floats, which is what the store gives. Fields: prompb/types.proto, Histogram. */
function writeHistogram(writer: WireWriter, histogram: FloatHistogram, timeMs: number, isStale: boolean): void {
  const double = (field: number, value: number): void => {
    writer.tag(field, FIXED64);
    writer.double(value);
  };
  double(2, histogram.count);
  if (isStale) {
    writer.tag(3, FIXED64);
    writer.halves(STALE_NAN_LOW, STALE_NAN_HIGH);
  } else double(3, histogram.sum);
  writer.tag(4, VARINT);
  writer.zigzag(histogram.schema);
  double(5, histogram.zeroThreshold);
  double(7, histogram.zeroCount);
  writeSide(writer, 8, 10, histogram.negative);
  writeSide(writer, 11, 13, histogram.positive);
  writer.tag(14, VARINT);
  writer.uvarint(histogram.hint);
  writer.tag(15, VARINT);
  writer.varint(timeMs);
  if (histogram.customValues.length > 0) writeDoubles(writer, 16, histogram.customValues);
}

function writeSide(
  writer: WireWriter,
  spansField: number,
  countsField: number,
  { spans, counts }: FloatHistogram['positive'],
): void {
  const span = new WireWriter(16);
  for (let i = 0; i < spans.length; i += 2) {
    span.clear();
    span.tag(1, VARINT);
    span.zigzag(spans[i]!);
    span.tag(2, VARINT);
    span.uvarint(spans[i + 1]!);
    writer.message(spansField, span.bytes());
  }
  if (counts.length > 0) writeDoubles(writer, countsField, counts);
}

function writeDoubles(writer: WireWriter, field: number, values: Float64Array): void {
  writer.tag(field, BYTES);
  writer.uvarint(values.length * 8);
  for (const value of values) writer.double(value);
}

/** Frames of at most about a megabyte; one series may fill several. */
async function* chunkFrames(head: Head, queries: readonly ReadQuery[]): AsyncGenerator<Buffer> {
  for (const [index, query] of queries.entries()) {
    const selection = select(head, query);
    try {
      let done = 0;
      for (const { row, labels } of sorted(selection)) {
        yield* seriesFrames(selection, row, labels, query, index);
        if (++done % SERIES_PER_SLICE === 0) await setImmediate();
      }
    } finally {
      selection.close();
    }
  }
}

function* seriesFrames(
  selection: Selection,
  row: number,
  labels: Labels,
  query: ReadQuery,
  queryIndex: number,
): Generator<Buffer> {
  const buffer = new SampleBuffer(1024);
  const count = selection.read(row, query.startMs - 1, query.endMs, buffer);
  if (count === 0) return;
  const series = new WireWriter(4096);
  const inner = new WireWriter();
  const begin = (): void => {
    series.clear();
    writeLabels(series, inner, labels);
  };
  begin();
  const head = series.length;
  for (let from = 0; from < count; from += CHUNK_SAMPLES_MAX) {
    const to = Math.min(from + CHUNK_SAMPLES_MAX, count);
    inner.clear();
    inner.tag(1, VARINT);
    inner.varint(buffer.timesMs[from]!);
    inner.tag(2, VARINT);
    inner.varint(buffer.timesMs[to - 1]!);
    inner.tag(3, VARINT);
    inner.uvarint(XOR_ENCODING);
    inner.message(4, encodeXorChunk(buffer.timesMs, buffer.halves, from, to));
    series.message(2, inner.bytes());
    if (series.length < LIMITS.remoteReadFrameBytesMax) continue;
    yield frameOf(series.bytes(), queryIndex);
    begin();
  }
  if (series.length > head) yield frameOf(series.bytes(), queryIndex);
}

/** uvarint length │ CRC-32C of the message, big endian │ message. */
function frameOf(series: Uint8Array, queryIndex: number): Buffer {
  const message = new WireWriter(series.length + 32);
  message.message(1, series);
  if (queryIndex > 0) {
    message.tag(2, VARINT);
    message.uvarint(queryIndex);
  }
  const frame = new WireWriter(message.length + 16);
  frame.uvarint(message.length);
  const sum = crc32c(message.bytes());
  frame.raw(Uint8Array.of(sum >>> 24, sum >>> 16, sum >>> 8, sum));
  frame.raw(message.bytes());
  return frame.bytes();
}
