/**
 * `/federate`: the newest sample of each selected series, for another Prometheus to scrape. Sorted by metric name, stale
 * series and series without a name left out. Source: prometheus/prometheus, web/federate.go.
 */
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import type { Clock } from '../../model/clock.ts';
import { decodeHistogram, type FloatHistogram, hasCustomBuckets, isStaleHistogram } from '../../model/histogram.ts';
import { compareCodePoints, type Labels, labelsKey, labelValue, METRIC_NAME } from '../../model/labels.ts';
import { SampleBuffer } from '../../model/sample.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import { allBuckets } from '../../promql/histogram/buckets.ts';
import type { HeadReader, Selection } from '../../tsdb/head.ts';
import { type Exposition, expositionFor, type Sample } from './exposition.ts';
import { formatSample, PIECE_LENGTH } from './json.ts';
import { type SelectorDeps, selectorsOf } from './series.ts';

export interface FederateDeps extends SelectorDeps {
  readonly head: Pick<HeadReader, 'select'>;
  readonly clock: Clock;
  readonly lookbackMs: number;
}

const SERIES_PER_SLICE = 1000;

export async function replyFederate(
  deps: FederateDeps,
  form: URLSearchParams,
  accept: string | undefined,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const exposition = expositionFor(accept);
  const samples = await newestSamples(deps, form);
  return reply.type(exposition.contentType).send(Readable.from(piecesOf(samples, exposition), { objectMode: false }));
}

async function newestSamples(deps: FederateDeps, form: URLSearchParams): Promise<readonly Sample[]> {
  const { head, clock, lookbackMs } = deps;
  const toMs = clock.nowMs();
  const found = new Map<string, Sample>();
  const buffer = new SampleBuffer(1024);
  for (const matchers of selectorsOf(deps, form)) {
    const selection = head.select({ matchers, fromMs: toMs - lookbackMs - 1, toMs, scope: SCOPE_ALL });
    try {
      for (let row = 0; row < selection.count; row++) {
        const sample = newestOf(selection, row, toMs - lookbackMs - 1, toMs, buffer);
        if (sample !== null) found.set(labelsKey(sample.labels), sample);
        if (row % SERIES_PER_SLICE === SERIES_PER_SLICE - 1) await setImmediate();
      }
    } finally {
      selection.close();
    }
  }
  return [...found.values()].sort((a, b) => compareCodePoints(a.name, b.name));
}

function newestOf(
  selection: Selection,
  row: number,
  fromMs: number,
  toMs: number,
  buffer: SampleBuffer,
): Sample | null {
  const labels = selection.labels(row);
  const name = labelValue(labels, METRIC_NAME);
  if (name === '') return null;
  const count = selection.read(row, fromMs, toMs, buffer);
  const timeMs = count === 0 ? -Infinity : buffer.timesMs[count - 1]!;
  if (selection.hasHistograms(row)) {
    const { timesMs, blobs } = selection.readHistograms(row, fromMs, toMs);
    const last = timesMs.length - 1;
    if (last >= 0 && timesMs[last]! > timeMs) {
      if (isStaleHistogram(blobs[last]!)) return null;
      return { name, labels, timeMs: timesMs[last]!, value: 0, histogram: decodeHistogram(blobs[last]!) };
    }
  }
  if (count === 0 || buffer.isStale(count - 1)) return null;
  return { name, labels, timeMs, value: buffer.values[count - 1]!, histogram: null };
}

async function* piecesOf(samples: readonly Sample[], exposition: Exposition): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  let from = 0;
  while (from < samples.length) {
    let to = from + 1;
    while (to < samples.length && samples[to]!.name === samples[from]!.name) to++;
    for (const piece of exposition.family(samples[from]!.name, samples.slice(from, to).flatMap(asClassic))) {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes < PIECE_LENGTH) continue;
      yield Buffer.concat(pieces);
      pieces = [];
      bytes = 0;
      await setImmediate();
    }
    from = to;
  }
  pieces.push(exposition.end);
  yield Buffer.concat(pieces);
}

/** Custom buckets become the classic histogram that they came from; no format here has words for them. */
function asClassic(sample: Sample): readonly Sample[] {
  const { histogram } = sample;
  if (histogram === null || !hasCustomBuckets(histogram)) return [sample];
  const part = (suffix: string, value: number, le?: string): Sample => ({
    ...sample,
    name: sample.name + suffix,
    labels: withParts(sample.labels, sample.name + suffix, le),
    value,
    histogram: null,
  });
  return [
    ...bucketsOf(histogram).map(([le, count]) => part('_bucket', count, le)),
    part('_sum', histogram.sum),
    part('_count', histogram.count),
  ];
}

function bucketsOf(histogram: FloatHistogram): (readonly [le: string, count: number])[] {
  const { size, upper, counts } = allBuckets(histogram);
  const byBound = new Map<number, number>();
  for (let i = 0; i < size; i++) byBound.set(upper[i]!, counts[i]!);
  let total = 0;
  const buckets: (readonly [string, number])[] = [];
  for (const bound of histogram.customValues) {
    total += byBound.get(bound) ?? 0;
    buckets.push([formatSample(bound), total]);
  }
  buckets.push(['+Inf', histogram.count]);
  return buckets;
}

function withParts(labels: Labels, name: string, le: string | undefined): Labels {
  const parts: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    if (labels[i] === METRIC_NAME) parts.push(METRIC_NAME, name);
    else if (labels[i] !== 'le' || le === undefined) parts.push(labels[i]!, labels[i + 1]!);
  }
  if (le !== undefined) parts.push('le', le);
  return parts;
}
