/**
 * OTLP metrics: `ExportMetricsServiceRequest` into the head. A body is checked whole before anything of it is stored;
 * then each data point stands for itself: refused points are counted by reason, the rest is kept.
 */
import type { Labels } from '../../model/labels.ts';
import type { HeadWriter } from '../../tsdb/head.ts';
import { appendSample } from '../appender.ts';
import { checkBody, WIRE, WireReader } from '../protobuf.ts';
import type { Reason } from '../reasons.ts';
import { labelsRefusal } from '../series-labels.ts';
import type { Tally } from '../tally.ts';
import { readAttribute } from './attributes.ts';
import { pointLabels, type ResourceLabels, resourceLabels } from './labels.ts';
import { EXPORT_REQUEST, KIND, type Kind, TEMPORALITY } from './messages.ts';
import { metricName, type NamedType } from './naming.ts';
import { Point, readHistogramPoint, readNumberPoint, readSummaryPoint } from './point.ts';
import { histogramSeries, numberSeries, type PointSeries, summarySeries } from './series.ts';
import type { OtlpSettings } from './settings.ts';

/** What the walk of one request carries along. */
interface Walk {
  readonly reader: WireReader;
  readonly head: HeadWriter;
  readonly settings: OtlpSettings;
  readonly tally: Tally;
  readonly point: Point;
  readonly series: PointSeries;
}

/** A resource, and the span of time of its points that were stored. */
interface Resource {
  readonly labels: ResourceLabels;
  /** Why all points of the resource are refused, or null. */
  readonly refusal: Reason | null;
  earliestMs: number;
  latestMs: number;
}

interface Metric {
  readonly received: string;
  /** '' if there is a refusal. */
  readonly name: string;
  readonly kind: Kind;
  /** Why all points of the metric are refused, or null. */
  readonly refusal: Reason | null;
}

/** Stores the points of a decompressed body. Throws `bad_body`, and has then stored nothing. */
export function storeExportRequest(body: Uint8Array, head: HeadWriter, settings: OtlpSettings, tally: Tally): void {
  checkBody(body, EXPORT_REQUEST);
  const reader = new WireReader(body);
  const series: PointSeries = { labels: [], low: [], high: [] };
  const walk: Walk = { reader, head, settings, tally, point: new Point(), series };
  eachField(reader, 1, () => storeResourceMetrics(walk));
}

function storeResourceMetrics(walk: Walk): void {
  const { reader } = walk;
  const outer = reader.enter();
  const start = reader.position;
  const resource = readResource(walk);
  reader.position = start;
  eachField(reader, 2, () => {
    const resourceEnd = reader.enter();
    eachField(reader, 2, () => storeMetric(walk, resource));
    reader.leave(resourceEnd);
  });
  reader.leave(outer);
  storeTargetInfo(walk, resource);
}

function readResource({ reader, settings }: Walk): Resource {
  const attributes: string[] = [];
  let validUtf8 = true;
  eachField(reader, 1, () => {
    const outer = reader.enter();
    eachField(reader, 1, () => {
      validUtf8 = readAttribute(reader, attributes) && validUtf8;
    });
    reader.leave(outer);
  });
  const refusal = validUtf8 ? null : 'invalid_utf8';
  return { labels: resourceLabels(attributes, settings), refusal, earliestMs: Infinity, latestMs: -Infinity };
}

function storeMetric(walk: Walk, resource: Resource): void {
  const { reader, tally } = walk;
  const outer = reader.enter();
  const start = reader.position;
  const metric = readMetric(walk);
  if (metric !== null) {
    reader.position = start;
    const refusal = resource.refusal ?? metric.refusal;
    let refused = 0;
    eachField(reader, metric.kind, () => {
      const metricEnd = reader.enter();
      eachField(reader, 1, () => {
        if (refusal === null) storePoint(walk, resource, metric);
        else {
          refused++;
          reader.skip();
        }
      });
      reader.leave(metricEnd);
    });
    if (refusal !== null) tally.refuse(refusal, refused, metric.received);
  }
  reader.leave(outer);
}

/** Name, kind and verdict of the metric at this position; null if it has no data of a known kind. */
function readMetric({ reader, settings }: Walk): Metric | null {
  let name: string | null = '';
  let unit: string | null = '';
  let kind: Kind | 0 = 0;
  const aggregation: Aggregation = { temporality: TEMPORALITY.unspecified, monotonic: false };
  while (reader.next()) {
    const { field } = reader;
    if (field === 1) name = reader.readString();
    else if (field === 3) unit = reader.readString();
    else if (isKind(field)) {
      // A oneof: the last kind wins, and a repeated one merges.
      if (kind !== field) Object.assign(aggregation, { temporality: TEMPORALITY.unspecified, monotonic: false });
      kind = field;
      readAggregation(reader, aggregation);
    } else reader.skip();
  }
  if (kind === 0) return null;
  const received = name ?? '\ufffd';
  if (name === null || unit === null) return { received, name: '', kind, refusal: 'invalid_utf8' };
  const translated = metricName({ name, unit, type: namedType(kind, aggregation) }, settings.strategy);
  const refusal = aggregationRefusal(kind, aggregation) ?? (translated === null ? 'invalid_metric_name' : null);
  return { received, name: translated ?? '', kind, refusal };
}

interface Aggregation {
  temporality: number;
  monotonic: boolean;
}

/** Reads what a sum or histogram says beside its points. Other kinds have no such fields: theirs were not checked. */
function readAggregation(reader: WireReader, aggregation: Aggregation): void {
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.wireType !== WIRE.varint) reader.skip();
    else if (reader.field === 2) aggregation.temporality = reader.readVarint();
    else if (reader.field === 3) aggregation.monotonic = reader.readVarint() !== 0;
    else reader.skip();
  }
  reader.leave(outer);
}

function isKind(field: number): field is Kind {
  return (
    field >= KIND.gauge &&
    (field === KIND.gauge || field === KIND.sum || (field >= KIND.histogram && field <= KIND.summary))
  );
}

function namedType(kind: Kind, { monotonic }: Aggregation): NamedType {
  if (kind === KIND.gauge) return 'gauge';
  return kind === KIND.sum && monotonic ? 'monotonic_sum' : 'other';
}

function aggregationRefusal(kind: Kind, { temporality }: Aggregation): Reason | null {
  if (kind === KIND.exponentialHistogram) return 'exponential_histogram_unsupported';
  if (kind === KIND.gauge || kind === KIND.summary || temporality === TEMPORALITY.cumulative) return null;
  return temporality === TEMPORALITY.delta ? 'delta_temporality_unsupported' : 'temporality_unspecified';
}

/** Stores the series of the point at this position, or refuses it. */
function storePoint(walk: Walk, resource: Resource, metric: Metric): void {
  const { reader, tally, point } = walk;
  if (metric.kind === KIND.histogram) readHistogramPoint(reader, point);
  else if (metric.kind === KIND.summary) readSummaryPoint(reader, point);
  else readNumberPoint(reader, point);
  tally.exemplarsIgnored += point.exemplars;
  const reason = translatePoint(walk, resource, metric) ?? appendSeries(walk, resource, point.timestampMs);
  if (reason === null) return;
  const { labels } = walk.series;
  tally.refuse(reason, 1, labels.length > 0 ? labels[0]! : metric.received);
}

/** Fills `walk.series` from `walk.point`. */
function translatePoint({ point, series, settings }: Walk, resource: Resource, metric: Metric): Reason | null {
  series.labels.length = 0;
  series.low.length = 0;
  series.high.length = 0;
  if (!point.validUtf8) return 'invalid_utf8';
  if (point.timeUnset) return 'timestamp_unset';
  const labels = pointLabels(point.attributes, resource.labels, settings);
  if (typeof labels === 'string') return labels;
  if (metric.kind === KIND.histogram) return histogramSeries(metric.name, labels, point, series);
  if (metric.kind === KIND.summary) return summarySeries(metric.name, labels, point, series);
  return numberSeries(metric.name, labels, point, series);
}

/** Appends a sample to each series of a point; the first reason if the store refuses one. */
function appendSeries({ head, tally, series }: Walk, resource: Resource, timestampMs: number): Reason | null {
  let first: Reason | null = null;
  for (let i = 0; i < series.labels.length; i++) {
    const reason = appendSample(head, series.labels[i]!, timestampMs, series.low[i]!, series.high[i]!);
    if (reason === null) tally.samplesStored++;
    first ??= reason;
  }
  if (first !== null) return first;
  resource.earliestMs = Math.min(resource.earliestMs, timestampMs);
  resource.latestMs = Math.max(resource.latestMs, timestampMs);
  return null;
}

/** Samples of `target_info` in one request; a request may span the whole retention. */
const TARGET_INFO_SAMPLES_MAX = 1000;
/** The bits of 1. */
const ONE_HIGH = 0x3ff00000;

/** Writes `target_info` over the span of the points that were stored, close enough for every lookback to find it. */
function storeTargetInfo({ head, settings, tally }: Walk, { labels, earliestMs, latestMs }: Resource): void {
  const targetInfo: Labels | null = labels.targetInfo;
  if (targetInfo === null || latestMs < earliestMs || labelsRefusal(targetInfo) !== null) return;
  const stepMs = settings.lookbackMs / 2;
  const store = (timestampMs: number): void => {
    if (appendSample(head, targetInfo, timestampMs, 0, ONE_HIGH) === null) tally.samplesStored++;
  };
  const startMs = Math.max(earliestMs, latestMs - TARGET_INFO_SAMPLES_MAX * stepMs);
  for (let timestampMs = startMs; timestampMs < latestMs; timestampMs += stepMs) store(timestampMs);
  store(latestMs);
}

/** Calls back at every field of this number of the message that is being walked, and passes over the others. */
function eachField(reader: WireReader, field: number, visit: () => void): void {
  while (reader.next()) {
    if (reader.field === field) visit();
    else reader.skip();
  }
}
