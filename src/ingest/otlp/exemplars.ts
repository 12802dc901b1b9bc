/**
 * Exemplars of OTLP points: into the ring beside the head, by the series that Prometheus gives them to. That of a sum is
 * the counter's; of a histogram, that of the bucket that the value lies in, or the native histogram; a gauge has none.
 *
 * Source: prometheus/prometheus, storage/remote/otlptranslator/prometheusremotewrite/helper.go, getPromExemplars.
 */
import type { Labels } from '../../model/labels.ts';
import { LIMITS } from '../../model/limits.ts';
import { checkBody, type WireReader } from '../protobuf.ts';
import { keepExemplar, readOrNull, type Sink } from '../remote-write/items.ts';
import { readAttribute } from './attributes.ts';
import { EXEMPLAR, KIND, type Kind } from './messages.ts';
import { millisecondsOf, type Point } from './point.ts';
import { float64, type PointSeries } from './series.ts';

interface ReadExemplar {
  readonly labels: Labels;
  readonly value: number;
  readonly timestampMs: number;
}

/** What the exemplars of a point need beside it. */
export type ExemplarSink = Pick<Sink, 'exemplars' | 'latestMs' | 'tally'>;

/** Keeps the exemplars of a point whose series were stored. The reader is left where it was. */
export function keepExemplars(
  reader: WireReader,
  kind: Kind,
  point: Point,
  series: PointSeries,
  isCustomBuckets: boolean,
  sink: ExemplarSink,
): void {
  const { position, limit } = reader;
  for (const at of point.exemplars) {
    const seriesOf = (value: number): Labels =>
      kind === KIND.histogram && !isCustomBuckets ? bucketOf(value, point, series) : series.labels[0]!;
    keepAt(reader, at, seriesOf, sink);
  }
  reader.position = position;
  reader.limit = limit;
}

/** Keeps the exemplars of the number point whose length stands at this position. */
export function keepExemplarsOfSum(reader: WireReader, position: number, series: Labels, sink: ExemplarSink): void {
  const positions: number[] = [];
  reader.position = position;
  reader.limit = reader.bytes.length;
  reader.enter();
  while (reader.next()) {
    if (reader.field === 5) positions.push(reader.position);
    reader.skip();
  }
  for (const at of positions) keepAt(reader, at, () => series, sink);
}

/** Keeps the exemplar whose length stands at this position; one that cannot be kept is counted. */
function keepAt(reader: WireReader, position: number, seriesOf: (value: number) => Labels, sink: ExemplarSink): void {
  if (sink.exemplars.isOff) {
    sink.tally.exemplarsIgnored++;
    return;
  }
  reader.position = position;
  reader.limit = reader.bytes.length;
  const exemplar = readOrNull(reader, () => readExemplar(reader, position));
  const labels = exemplar === null ? [] : seriesOf(exemplar.value);
  // The protocol has no way to tell a sender of an exemplar that was not kept: to it, only points can be refused.
  if (keepExemplar(labels, exemplar, sink) !== null) sink.tally.exemplarsIgnored++;
}

/** The bucket with the smallest bound that is not below the value. Buckets are the last series of a histogram point. */
function bucketOf(value: number, { bounds }: Point, { labels }: PointSeries): Labels {
  let i = 0;
  while (i < bounds.length && value > float64(bounds.low[i]!, bounds.high[i]!)) i++;
  return labels[labels.length - 1 - bounds.length + (Number.isNaN(value) ? bounds.length : i)]!;
}

/** Null for one without a time or value, or that is malformed. */
function readExemplar(reader: WireReader, position: number): ReadExemplar | null {
  reader.position = position;
  const outer = reader.enter();
  checkBody(reader.bytes.subarray(reader.position, reader.limit), EXEMPLAR);
  const ids: string[] = [];
  const attributes: string[] = [];
  let value: number | null = null;
  let timestampMs = 0;
  let isValid = true;
  while (reader.next()) {
    if (reader.field === 2) {
      reader.readFixed64();
      timestampMs = millisecondsOf(reader.low, reader.high);
    } else if (reader.field === 3) value = reader.readFloat64();
    else if (reader.field === 6) {
      reader.readFixed64();
      value = reader.int64();
    } else if (reader.field === 4) readId(reader, 'span_id', ids);
    else if (reader.field === 5) readId(reader, 'trace_id', ids);
    else if (reader.field === 7) isValid = readAttribute(reader, attributes) && isValid;
    else reader.skip();
  }
  reader.leave(outer);
  if (value === null || timestampMs === 0 || !isValid) return null;
  return { labels: exemplarLabels(ids, attributes), value, timestampMs };
}

function readId(reader: WireReader, name: string, ids: string[]): void {
  const length = reader.readLength();
  const start = reader.position;
  reader.position = start + length;
  // All zeros say that there is none.
  const bytes = Buffer.from(reader.bytes.subarray(start, start + length));
  if (bytes.some((byte) => byte !== 0)) ids.push(name, bytes.toString('hex'));
}

/** The ids, then the filtered attributes: all of them if that is not too much, else none. The last of equal ones counts. */
function exemplarLabels(ids: readonly string[], attributes: readonly string[]): Labels {
  const labels = new Map<string, string>();
  for (const name of ['trace_id', 'span_id']) {
    const at = ids.lastIndexOf(name);
    if (at >= 0) labels.set(name, ids[at + 1]!);
  }
  const all = new Map(labels);
  for (let i = 0; i < attributes.length; i += 2) {
    const [key, value] = [attributes[i]!, attributes[i + 1]!];
    if (key !== '' && value !== '' && !labels.has(key)) all.set(key, value);
  }
  const kept = charactersOf(all) <= LIMITS.exemplarLabelCharactersMax ? all : labels;
  return [...kept].flat();
}

function charactersOf(labels: ReadonlyMap<string, string>): number {
  let characters = 0;
  for (const pair of labels) for (const text of pair) characters += [...text].length;
  return characters;
}
