/**
 * Walks the messages of an OTLP body that has been checked, and stores its points one by one: translation, sums of deltas,
 * refusals. What is known by its bytes does not come here (identities.ts); what is learnt here, is known there.
 */
import { type Labels, METRIC_NAME } from '../../model/labels.ts';
import type { Exemplars } from '../../tsdb/exemplars.ts';
import type { Appended, HeadWriter, SeriesRef } from '../../tsdb/head.ts';
import type { Metadata, MetricMetadata, MetricType } from '../../tsdb/metadata.ts';
import { appendSample, seriesOrReason } from '../appender.ts';
import { WIRE, type WireReader } from '../protobuf.ts';
import { type Reason, reasonOf } from '../reasons.ts';
import { labelsRefusal, withLabel } from '../series-labels.ts';
import { withStamp } from '../stamp.ts';
import type { Tally } from '../tally.ts';
import { readAttribute } from './attributes.ts';
import type { DeltaSums } from './delta.ts';
import { keepExemplars } from './exemplars.ts';
import { type LabelNames, pointLabels, type ResourceLabels, resourceLabels, scopeLabels } from './labels.ts';
import { KIND, type Kind, TEMPORALITY } from './messages.ts';
import { type NamedType, unitName } from './naming.ts';
import type { OriginalKind, Originals } from './originals.ts';
import { type Point, readExponentialPoint, readHistogramPoint, readNumberPoint, readSummaryPoint } from './point.ts';
import {
  add,
  customBucketSeries,
  exponentialSeries,
  histogramSeries,
  numberSeries,
  type PointSeries,
  summarySeries,
} from './series.ts';
import { type OtlpSettings, RAW_DELTA_SUFFIX } from './settings.ts';

/** Where the points of a metric are known by their bytes, and where new ones are made known. */
export interface PointFilter {
  /** Stores the new points of a metric without a word where it can; where the length of each other one stands, or null for all. */
  storeNew(metric: Metric): Uint32Array | null;
  /** True if the point whose length stands at this position is stored already. */
  isKnown(position: number): boolean;
  /** The point whose length stands at this position has become a sample of this one series. */
  learn(position: number, ref: SeriesRef): void;
  /** The same of a delta that was added to the sum of this series. */
  learnDelta(position: number, ref: SeriesRef, added: Added): void;
}

/** Which sum a delta was added to. */
export interface Added {
  readonly key: string;
  readonly stream: number;
  readonly hasStarts: boolean;
  /** Labels of the series of the points as they came; null if they are not kept. */
  readonly raw: Labels | null;
}

/** What the walk of one request carries along. */
export interface Walk {
  readonly reader: WireReader;
  readonly head: HeadWriter;
  /** The namespace that the sender's identity puts on its series; '' for none. */
  readonly stamp: string;
  readonly settings: OtlpSettings;
  readonly names: LabelNames;
  readonly deltas: DeltaSums;
  readonly originals: Originals;
  readonly exemplars: Exemplars;
  readonly metadata: Metadata;
  /** Exemplars later than this are not taken. */
  readonly latestMs: number;
  readonly tally: Tally;
  readonly point: Point;
  readonly series: PointSeries;
  /** The series that was appended to last. */
  lastRef: SeriesRef | null;
  /** What the point in hand was added to, if it is a number. */
  added: Added | null;
}

/** A resource, and the span of time of its points that were stored. */
export interface Resource {
  readonly labels: ResourceLabels;
  /** Why all points of the resource are refused, or null. */
  readonly refusal: Reason | null;
  /** Tells it from other resources; see streamOf. */
  readonly hash: number;
  earliestMs: number;
  latestMs: number;
}

export interface Scope {
  readonly labels: ReadonlyMap<string, string>;
  readonly refusal: Reason | null;
  readonly start: number;
  readonly end: number;
}

export interface Metric {
  readonly received: string;
  /** '' if there is a refusal. */
  readonly name: string;
  readonly kind: Kind;
  readonly isDelta: boolean;
  /** Whether start timestamps say anything: not so for what is a gauge in the end. */
  readonly hasStarts: boolean;
  /** Why all points of the metric are refused, or null. */
  readonly refusal: Reason | null;
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();

/** Stores the ResourceMetrics at this position. */
export function storeResourceMetrics(walk: Walk): void {
  const { reader } = walk;
  const outer = reader.enter();
  const start = reader.position;
  const resource = readResource(walk);
  reader.position = start;
  eachField(reader, 2, () => {
    const resourceEnd = reader.enter();
    const scopeStart = reader.position;
    const scope = readScope(walk);
    reader.position = scopeStart;
    eachField(reader, 2, () => {
      const scopeEnd = reader.enter();
      storeMetric(walk, resource, scope, null);
      reader.leave(scopeEnd);
    });
    reader.leave(resourceEnd);
  });
  reader.leave(outer);
  storeTargetInfo(walk, resource);
}

/** Reads the resource of the ResourceMetrics that the reader stands in. */
export function readResource(walk: Walk): Resource {
  const { reader } = walk;
  const attributes: string[] = [];
  const span = { start: 0, end: 0 };
  let validUtf8 = true;
  eachField(reader, 1, () => {
    const outer = reader.enter();
    span.start = reader.position;
    span.end = reader.limit;
    eachField(reader, 1, () => {
      validUtf8 = readAttribute(reader, attributes) && validUtf8;
    });
    reader.leave(outer);
  });
  return newResource(walk, attributes, validUtf8, span);
}

/** Reads a resource by itself, between these positions of the body. */
export function readResourceAt(walk: Walk, start: number, end: number): Resource {
  const { reader } = walk;
  const attributes: string[] = [];
  let validUtf8 = true;
  reader.position = start;
  reader.limit = end;
  eachField(reader, 1, () => {
    validUtf8 = readAttribute(reader, attributes) && validUtf8;
  });
  return newResource(walk, attributes, validUtf8, { start, end });
}

function newResource(
  { names, reader }: Walk,
  attributes: readonly string[],
  validUtf8: boolean,
  { start, end }: { readonly start: number; readonly end: number },
): Resource {
  const refusal = validUtf8 ? null : 'invalid_utf8';
  const labels = resourceLabels(attributes, names);
  const hash = hashOf(reader.bytes, start, end, 0x811c9dc5);
  return { labels, refusal, hash, earliestMs: Infinity, latestMs: -Infinity };
}

/** Reads the scope of the ScopeMetrics that the reader stands in. */
export function readScope(walk: Walk): Scope {
  const { reader, names } = walk;
  const text = { name: '', version: '', schemaUrl: '' };
  const attributes: string[] = [];
  const promoted = walk.settings.promoteScopeMetadata;
  let valid = true;
  let [start, end] = [0, 0];
  const string = (): string => {
    const read = reader.readString();
    valid &&= read !== null;
    return read ?? '';
  };
  while (reader.next()) {
    if (reader.field === 3 && promoted) text.schemaUrl = string();
    else if (reader.field === 1) {
      const outer = reader.enter();
      start = reader.position;
      end = reader.limit;
      while (promoted && reader.next()) {
        if (reader.field === 1) text.name = string();
        else if (reader.field === 2) text.version = string();
        else if (reader.field === 3) valid = readAttribute(reader, attributes) && valid;
        else reader.skip();
      }
      reader.leave(outer);
    } else reader.skip();
  }
  const labels = promoted ? scopeLabels(text.name, text.version, text.schemaUrl, attributes, names) : NO_LABELS;
  return { labels, refusal: valid ? null : 'invalid_utf8', start, end };
}

/** Stores the points of the metric that the reader stands in, but for those that are known. */
export function storeMetric(walk: Walk, resource: Resource, scope: Scope, filter: PointFilter | null): void {
  const { reader, tally } = walk;
  const start = reader.position;
  const metric = readMetric(walk);
  reader.position = metric === null ? reader.limit : start;
  if (metric === null) return;
  const refusal = resource.refusal ?? scope.refusal ?? metric.refusal;
  const left = refusal === null && isLearnable(metric) && filter !== null ? filter.storeNew(metric) : null;
  if (left !== null) {
    for (const position of left) {
      reader.position = position;
      storePoint(walk, resource, scope, metric, filter);
    }
    reader.position = reader.limit;
    return;
  }
  let refused = 0;
  eachField(reader, metric.kind, () => {
    const metricEnd = reader.enter();
    eachField(reader, 1, () => {
      if (refusal !== null) {
        refused++;
        reader.skip();
      } else if (filter?.isKnown(reader.position)) reader.skip();
      else storePoint(walk, resource, scope, metric, filter);
    });
    reader.leave(metricEnd);
  });
  if (refusal !== null) tally.refuse(refusal, refused, metric.received);
}

/** What the metric that the reader stands in is called by its sender; for messages. */
export function readReceivedName(reader: WireReader): string {
  let name: string | null = '';
  while (reader.next()) {
    if (reader.field === 1) name = reader.readString();
    else reader.skip();
  }
  return name ?? '\ufffd';
}

/** Name, kind and verdict of the metric that the reader stands in; null if it has no data of a known kind. */
function readMetric(walk: Walk): Metric | null {
  const { reader } = walk;
  let name: string | null = '';
  let unit: string | null = '';
  let description: string | null = '';
  let kind: Kind | 0 = 0;
  const aggregation: Aggregation = { temporality: TEMPORALITY.unspecified, monotonic: false };
  while (reader.next()) {
    const { field } = reader;
    if (field === 1) name = reader.readString();
    else if (field === 2) description = reader.readString();
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
  const isDelta = hasTemporality(kind) && aggregation.temporality === TEMPORALITY.delta;
  const hasStarts = kind !== KIND.gauge && (kind !== KIND.sum || aggregation.monotonic);
  const judged = { received, kind, isDelta, hasStarts };
  if (name === null || unit === null) return { ...judged, name: '', refusal: 'invalid_utf8' };
  const translated = walk.names.metricNameOf({ name, unit, type: namedType(kind, aggregation) });
  const refusal = aggregationRefusal(kind, aggregation) ?? (translated === null ? 'invalid_metric_name' : null);
  if (refusal === null && translated !== null) {
    noteOriginal(walk, name, unit, judged, translated);
    describe(walk, translated, metricTypeOf(kind, aggregation), description, unit);
  }
  return { ...judged, name: translated ?? '', refusal };
}

const KIND_NAMES: Readonly<Record<Kind, OriginalKind>> = {
  [KIND.gauge]: 'gauge',
  [KIND.sum]: 'sum',
  [KIND.histogram]: 'histogram',
  [KIND.exponentialHistogram]: 'exponential_histogram',
  [KIND.summary]: 'summary',
};

function noteOriginal(
  { originals, settings }: Walk,
  original: string,
  unit: string,
  { kind, isDelta }: Pick<Metric, 'kind' | 'isDelta'>,
  name: string,
): void {
  const isKept = isDelta && settings.keepRawDeltas;
  const rawDeltas = isKept ? `${name}${RAW_DELTA_SUFFIX}` : null;
  originals.noteMetric({ original, name, unit, kind: KIND_NAMES[kind], rawDeltas });
}

function describe(
  { metadata, settings, tally }: Walk,
  family: string,
  type: MetricType,
  help: string | null,
  unit: string,
): void {
  const isKept = help !== null && metadata.add(family, { type, help, unit: unitName(unit, settings.strategy) });
  if (!isKept) tally.metadataIgnored++;
}

function metricTypeOf(kind: Kind, { monotonic }: Aggregation): MetricType {
  if (kind === KIND.gauge) return 'gauge';
  if (kind === KIND.sum) return monotonic ? 'counter' : 'gauge';
  return kind === KIND.summary ? 'summary' : 'histogram';
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

function hasTemporality(kind: Kind): boolean {
  return kind !== KIND.gauge && kind !== KIND.summary;
}

function namedType(kind: Kind, { monotonic }: Aggregation): NamedType {
  if (kind === KIND.gauge) return 'gauge';
  return kind === KIND.sum && monotonic ? 'monotonic_sum' : 'other';
}

function aggregationRefusal(kind: Kind, { temporality }: Aggregation): Reason | null {
  const known = temporality === TEMPORALITY.cumulative || temporality === TEMPORALITY.delta;
  return known || !hasTemporality(kind) ? null : 'temporality_unspecified';
}

/** Stores the series of the point at this position, or refuses it. */
function storePoint(walk: Walk, resource: Resource, scope: Scope, metric: Metric, filter: PointFilter | null): void {
  const { reader, tally, point, series } = walk;
  const { position } = reader;
  readPoint(reader, metric.kind, point);
  series.clear();
  walk.added = null;
  const reason = metric.isDelta
    ? storeDelta(walk, resource, scope, metric)
    : storeCumulative(walk, resource, scope, metric);
  if (reason !== null) tally.refuse(reason, 1, series.labels[0] ?? metric.received);
  else if (filter !== null && walk.lastRef !== null) {
    if (isLearnable(metric)) filter.learn(position, walk.lastRef);
    else if (walk.added !== null) filter.learnDelta(position, walk.lastRef, walk.added);
  }
  if (point.exemplars.length > 0) storeExemplars(walk, metric.kind, reason === null);
}

function storeExemplars(walk: Walk, kind: Kind, isStored: boolean): void {
  const { reader, point, series, settings, tally } = walk;
  // A delta that came before has no series here: its exemplars came before, too.
  if (!isStored || kind === KIND.gauge || series.labels.length === 0) tally.exemplarsIgnored += point.exemplars.length;
  else keepExemplars(reader, kind, point, series, settings.convertHistogramsToNhcb, walk);
}

/** A point of such a metric is one sample of one series, whatever its value. */
function isLearnable({ kind, isDelta }: Metric): boolean {
  return kind === KIND.gauge || (kind === KIND.sum && !isDelta);
}

function readPoint(reader: WireReader, kind: Kind, point: Point): void {
  if (kind === KIND.histogram) readHistogramPoint(reader, point);
  else if (kind === KIND.exponentialHistogram) readExponentialPoint(reader, point);
  else if (kind === KIND.summary) readSummaryPoint(reader, point);
  else readNumberPoint(reader, point);
}

function storeCumulative(walk: Walk, resource: Resource, scope: Scope, metric: Metric): Reason | null {
  const labels = labelsOf(walk, resource, scope);
  if (typeof labels === 'string') return labels;
  return translate(walk, metric, labels) ?? appendSeries(walk, resource, metric);
}

/** The labels of the point, without a metric name. */
function labelsOf({ point, names, stamp }: Walk, resource: Resource, scope: Scope): readonly string[] | Reason {
  if (!point.validUtf8) return 'invalid_utf8';
  if (point.timeUnset) return 'timestamp_unset';
  const labels = pointLabels(point.attributes, resource.labels, scope.labels, names);
  return typeof labels === 'string' ? labels : withStamp(labels, stamp);
}

/** Fills `walk.series` from `walk.point`. */
function translate({ point, series, settings }: Walk, metric: Metric, labels: readonly string[]): Reason | null {
  switch (metric.kind) {
    case KIND.histogram:
      return settings.convertHistogramsToNhcb
        ? customBucketSeries(metric.name, labels, point, series)
        : histogramSeries(metric.name, labels, point, series);
    case KIND.exponentialHistogram:
      return exponentialSeries(metric.name, labels, point, series);
    case KIND.summary:
      return summarySeries(metric.name, labels, point, series);
    default:
      return numberSeries(metric.name, labels, point, series);
  }
}

/** Adds a delta point to the sum of its series and stores the sum; and the point as it came. */
function storeDelta(walk: Walk, resource: Resource, scope: Scope, metric: Metric): Reason | null {
  const { point, series, deltas } = walk;
  const labels = labelsOf(walk, resource, scope);
  if (typeof labels === 'string') return labels;
  if (point.isStale) return translate(walk, metric, labels) ?? appendSeries(walk, resource, metric);
  const key = `${metric.name}\uffff${labels.join('\uffff')}`;
  const stream = streamOf(walk, resource, scope);
  const prepared = deltas.prepare(key, stream, metric.kind, point);
  if (typeof prepared === 'string') return prepared;
  if (prepared.total === null) {
    deltas.commit(prepared, point);
    walk.tally.samplesStored++;
    return null;
  }
  const raw = walk.settings.keepRawDeltas ? storeRawDelta(walk, metric, labels) : null;
  if (raw !== null) return raw;
  deltas.fill(prepared, point);
  if (prepared.timestampMs !== point.timestampMs) point.storedMs = prepared.timestampMs;
  series.clear();
  const reason = translate(walk, metric, labels) ?? appendSeries(walk, resource, metric);
  if (reason !== null) return reason;
  deltas.commit(prepared, point);
  if (metric.kind === KIND.sum) {
    const raw = walk.settings.keepRawDeltas ? rawLabels(metric, labels, '') : null;
    walk.added = { key, stream, hasStarts: metric.hasStarts, raw };
  }
  return null;
}

function rawLabels({ name }: Metric, labels: Labels, suffix: string): Labels {
  return withLabel(labels, METRIC_NAME, `${name}${suffix}${RAW_DELTA_SUFFIX}`);
}

/** Keeps what a delta point says: a number as it is; of a histogram, count and sum. */
function storeRawDelta(walk: Walk, metric: Metric, labels: readonly string[]): Reason | null {
  const { head, point, series, tally } = walk;
  const named = (suffix: string): Labels => rawLabels(metric, labels, suffix);
  const refusal =
    metric.kind === KIND.sum
      ? add(series, named(''), point, point.valueLow, point.valueHigh)
      : addRawTotals(series, named, point);
  if (refusal !== null) return refusal;
  for (let i = 0; i < series.labels.length; i++) {
    const reason = appendSample(head, series.labels[i]!, point.timestampMs, series.low[i]!, series.high[i]!);
    // The same time from another resource of the same labels: the sum has both, and this is a record of one.
    if (reason !== null && reason !== 'duplicate_timestamp') return reason;
    if (reason === null) tally.samplesStored++;
  }
  return null;
}

const scratchFloat = new Float64Array(1);
const scratchHalves = new Uint32Array(scratchFloat.buffer);

function addRawTotals(series: PointSeries, named: (suffix: string) => readonly string[], point: Point): Reason | null {
  scratchFloat[0] = point.count;
  const refusal = add(series, named('_count'), point, scratchHalves[0]!, scratchHalves[1]!);
  return refusal ?? (point.hasSum ? add(series, named('_sum'), point, point.sumLow, point.sumHigh) : null);
}

/** A number for the resource and scope that a point came from. */
function streamOf({ reader }: Walk, resource: Resource, scope: Scope): number {
  return hashOf(reader.bytes, scope.start, scope.end, resource.hash) >>> 0;
}

function hashOf(bytes: Uint8Array, start: number, end: number, hash: number): number {
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash;
}

/** Appends a sample to each series of a point; the first reason if the store refuses one. */
function appendSeries(walk: Walk, resource: Resource, metric: Metric): Reason | null {
  const { head, tally, point, series } = walk;
  const { timestampMs } = point;
  const startMs = metric.hasStarts ? point.startTimestampMs : 0;
  let first: Reason | null = null;
  for (let i = 0; i < series.labels.length; i++) {
    const ref = seriesOrReason(head, series.labels[i]!);
    const reason = typeof ref === 'string' ? ref : reasonOf(appendTo(head, ref, timestampMs, series, i, startMs));
    if (reason === null) tally.samplesStored++;
    if (typeof ref !== 'string') walk.lastRef = ref;
    first ??= reason;
  }
  if (first !== null) return first;
  resource.earliestMs = Math.min(resource.earliestMs, timestampMs);
  resource.latestMs = Math.max(resource.latestMs, timestampMs);
  return null;
}

function appendTo(
  head: HeadWriter,
  ref: SeriesRef,
  timestampMs: number,
  { low, high, blobs }: PointSeries,
  i: number,
  startMs: number,
): Appended {
  const blob = blobs[i]!;
  if (blob === null) return head.append(ref, timestampMs, low[i]!, high[i]!, startMs);
  return head.appendHistogram(ref, timestampMs, blob, startMs);
}

/** Samples of `target_info` in one request; a request may span the whole retention. */
const TARGET_INFO_SAMPLES_MAX = 1000;
const TARGET_INFO = 'target_info';
const TARGET_INFO_METADATA: MetricMetadata = { type: 'gauge', help: 'Target metadata', unit: '' };
/** The bits of 1. */
const ONE_HIGH = 0x3ff00000;

/** Writes `target_info` over the span of the points that were stored, close enough for every lookback to find it. */
export function storeTargetInfo(
  { head, settings, stamp, tally, metadata }: Walk,
  { labels, earliestMs, latestMs }: Pick<Resource, 'labels' | 'earliestMs' | 'latestMs'>,
): void {
  if (labels.targetInfo === null) return;
  const targetInfo = withStamp(labels.targetInfo, stamp);
  if (latestMs < earliestMs || labelsRefusal(targetInfo) !== null) return;
  if (metadata.of(TARGET_INFO).length === 0) metadata.add(TARGET_INFO, TARGET_INFO_METADATA);
  const stepMs = settings.lookbackMs / 2;
  const store = (timestampMs: number): void => {
    if (appendSample(head, targetInfo, timestampMs, 0, ONE_HIGH) === null) tally.samplesStored++;
  };
  const startMs = Math.max(earliestMs, latestMs - TARGET_INFO_SAMPLES_MAX * stepMs);
  for (let timestampMs = startMs; timestampMs < latestMs; timestampMs += stepMs) store(timestampMs);
  store(latestMs);
}

/** Calls back at every field of this number of the message that is being walked, and passes over the others. */
export function eachField(reader: WireReader, field: number, visit: () => void): void {
  while (reader.next()) {
    if (reader.field === field) visit();
    else reader.skip();
  }
}
