/**
 * Three formats of samples for a scraper, chosen by its Accept header: the text format 0.0.4, OpenMetrics, and delimited
 * protobuf (io.prometheus.client.MetricFamily), the only one that has native histograms.
 * Sources: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics specification 1.0, prometheus/client_model.
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import { isLegacyLabelName, isLegacyMetricName, type Labels, METRIC_NAME } from '../../model/labels.ts';
import { formatSample, formatTimestamp } from './json.ts';
import { BYTES, FIXED64, VARINT, WireWriter } from './read/wire.ts';

export interface Sample {
  readonly name: string;
  readonly labels: Labels;
  readonly timeMs: number;
  readonly value: number;
  readonly histogram: FloatHistogram | null;
}

export interface Exposition {
  readonly contentType: string;
  /** The samples of one metric name. */
  family(name: string, samples: readonly Sample[]): Iterable<Buffer>;
  readonly end: Buffer;
}

const PROTOBUF = 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited';

/** The format that the header prefers; text where it says nothing that we have. */
export function expositionFor(accept: string | undefined): Exposition {
  const clauses = (accept ?? '').split(',').map((clause) => clause.trim().toLowerCase());
  const best = clauses
    .map((clause) => ({ format: formatOf(clause), quality: Number(/;\s*q=([\d.]+)/.exec(clause)?.[1] ?? 1) }))
    .filter(({ format, quality }) => format !== null && quality > 0)
    .sort((a, b) => b.quality - a.quality)[0];
  return best?.format ?? TEXT;
}

function formatOf(clause: string): Exposition | null {
  if (clause.startsWith('application/openmetrics-text')) return OPEN_METRICS;
  if (clause.startsWith('application/vnd.google.protobuf') && clause.includes('encoding=delimited')) return DELIMITED;
  return clause.startsWith('text/plain') || clause.startsWith('*/*') ? TEXT : null;
}

const TEXT: Exposition = {
  contentType: 'text/plain; version=0.0.4; charset=utf-8',
  *family(name, samples) {
    let type = `# TYPE ${metricName(name)} untyped\n`;
    for (const sample of samples) {
      if (sample.histogram !== null) continue;
      yield Buffer.from(`${type}${textOf(sample)} ${formatSample(sample.value)} ${sample.timeMs}\n`);
      type = '';
    }
  },
  end: Buffer.alloc(0),
};

const OPEN_METRICS: Exposition = {
  contentType: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  *family(name, samples) {
    let type = `# TYPE ${metricName(name)} unknown\n`;
    for (const sample of samples) {
      if (sample.histogram !== null) continue;
      yield Buffer.from(`${type}${textOf(sample)} ${formatSample(sample.value)} ${formatTimestamp(sample.timeMs)}\n`);
      type = '';
    }
  },
  end: Buffer.from('# EOF\n'),
};

function textOf({ name, labels }: Sample): string {
  const isLegacy = isLegacyMetricName(name);
  const parts = isLegacy ? [] : [JSON.stringify(name)];
  for (let i = 0; i < labels.length; i += 2) {
    if (labels[i] === METRIC_NAME) continue;
    const label = isLegacyLabelName(labels[i]!) ? labels[i]! : quoted(labels[i]!);
    parts.push(`${label}=${quoted(labels[i + 1]!)}`);
  }
  // Without it a scraper would put its own instance there.
  if (!labels.includes('instance')) parts.push('instance=""');
  return `${isLegacy ? name : ''}{${parts.join(',')}}`;
}

function metricName(name: string): string {
  return isLegacyMetricName(name) ? name : quoted(name);
}

function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

const TYPE_UNTYPED = 3;
const TYPE_HISTOGRAM = 4;

const DELIMITED: Exposition = {
  contentType: PROTOBUF,
  *family(name, samples) {
    const floats = samples.filter(({ histogram }) => histogram === null);
    const histograms = samples.filter(({ histogram }) => histogram !== null);
    if (floats.length > 0) yield familyOf(name, TYPE_UNTYPED, floats);
    if (histograms.length > 0) yield familyOf(name, TYPE_HISTOGRAM, histograms);
  },
  end: Buffer.alloc(0),
};

/** MetricFamily: 1 name, 3 type, 4 metric. */
function familyOf(name: string, type: number, samples: readonly Sample[]): Buffer {
  const family = new WireWriter();
  const metric = new WireWriter();
  family.string(1, name);
  family.tag(3, VARINT);
  family.uvarint(type);
  for (const sample of samples) {
    metric.clear();
    writeMetric(metric, sample);
    family.message(4, metric.bytes());
  }
  const delimited = new WireWriter(family.length + 8);
  delimited.uvarint(family.length);
  delimited.raw(family.bytes());
  return delimited.bytes();
}

/** Metric: 1 label, 5 untyped, 6 timestamp_ms, 7 histogram. */
function writeMetric(metric: WireWriter, { labels, value, timeMs, histogram }: Sample): void {
  const inner = new WireWriter(64);
  const pairs = labels.includes('instance') ? labels : [...labels, 'instance', ''];
  for (let i = 0; i < pairs.length; i += 2) {
    if (pairs[i] === METRIC_NAME) continue;
    inner.clear();
    inner.string(1, pairs[i]!);
    inner.string(2, pairs[i + 1]!);
    metric.message(1, inner.bytes());
  }
  inner.clear();
  if (histogram === null) {
    inner.tag(1, FIXED64);
    inner.double(value);
    metric.message(5, inner.bytes());
  } else {
    writeNative(inner, histogram);
    metric.message(7, inner.bytes());
  }
  metric.tag(6, VARINT);
  metric.varint(timeMs);
}

/** Histogram: 2 sum, 4 count as float, 5 schema, 6 zero threshold, 8 zero count, 9/11 negative and 12/14 positive buckets. */
function writeNative(writer: WireWriter, histogram: FloatHistogram): void {
  const double = (field: number, value: number): void => {
    writer.tag(field, FIXED64);
    writer.double(value);
  };
  double(2, histogram.sum);
  double(4, histogram.count);
  writer.tag(5, VARINT);
  writer.zigzag(histogram.schema);
  double(6, histogram.zeroThreshold);
  double(8, histogram.zeroCount);
  writeBuckets(writer, 9, 11, histogram.negative);
  writeBuckets(writer, 12, 14, histogram.positive);
}

function writeBuckets(
  writer: WireWriter,
  spanField: number,
  countField: number,
  { spans, counts }: FloatHistogram['positive'],
): void {
  const span = new WireWriter(16);
  for (let i = 0; i < spans.length; i += 2) {
    span.clear();
    span.tag(1, VARINT);
    span.zigzag(spans[i]!);
    span.tag(2, VARINT);
    span.uvarint(spans[i + 1]!);
    writer.message(spanField, span.bytes());
  }
  if (counts.length === 0) return;
  writer.tag(countField, BYTES);
  writer.uvarint(counts.length * 8);
  for (const count of counts) writer.double(count);
}
