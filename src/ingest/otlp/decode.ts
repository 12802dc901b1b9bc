/**
 * OTLP metrics: `ExportMetricsServiceRequest` into the head. A body is checked whole before anything of it is stored;
 * then each data point stands for itself: refused points are counted by reason, the rest is kept.
 *
 * Senders repeat themselves: the bytes of resource, scope, metric and attributes come again with every request. So points
 * are first looked up by these bytes (identities.ts), and those that are known go to the head as numbers, without a string
 * or an object each. The others are walked, translated and learnt (walk.ts).
 */
import type { Clock } from '../../model/clock.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Registry } from '../../telemetry/registry.ts';
import type { Exemplars } from '../../tsdb/exemplars.ts';
import type { SeriesRef } from '../../tsdb/head.ts';
import type { KernelHead } from '../../tsdb/kernel-head.ts';
import type { Metadata } from '../../tsdb/metadata.ts';
import { checkBody, type MessageSchema, WireReader } from '../protobuf.ts';
import { reasonOfOutcome } from '../reasons.ts';
import type { Tally } from '../tally.ts';
import { DeltaSums } from './delta.ts';
import { keepExemplarsOfSum } from './exemplars.ts';
import { Identities, type OddMetric, type Rows, type WalkedResource } from './identities.ts';
import { KnownDeltas, rowsOf } from './known-deltas.ts';
import { LabelNames, meetsStamp, metricLabels, plainNameOf } from './labels.ts';
import { EXPORT_REQUEST, METRIC, RESOURCE, RESOURCE_METRICS, SCOPE } from './messages.ts';
import { Originals } from './originals.ts';
import { Point } from './point.ts';
import { PointSeries } from './series.ts';
import type { OtlpSettings } from './settings.ts';
import {
  eachField,
  type PointFilter,
  type Resource,
  readReceivedName,
  readResourceAt,
  readScope,
  type Scope,
  storeMetric,
  storeResourceMetrics,
  storeTargetInfo,
  type Walk,
} from './walk.ts';

export type OtlpHead = Pick<
  KernelHead,
  | 'series'
  | 'append'
  | 'appendHistogram'
  | 'appendRows'
  | 'appendNewRows'
  | 'pairsEpoch'
  | 'isJudging'
  | 'generation'
  | 'labels'
>;

export interface OtlpDecoderOptions {
  readonly head: OtlpHead;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly settings: OtlpSettings;
  readonly exemplars: Exemplars;
  readonly metadata: Metadata;
  /** Eight random numbers that no sender knows: the keys of the hash of identities. */
  readonly hashKeys?: Uint32Array;
  /** Sums of deltas to go on with; empty ones if absent. */
  readonly deltas?: DeltaSums;
}

/** Translated resources that are remembered between requests. */
const RESOURCES_REMEMBERED = 4096;

export class OtlpDecoder {
  readonly #options: OtlpDecoderOptions;
  readonly #names: LabelNames;
  readonly #deltas: DeltaSums;
  readonly #knownDeltas: KnownDeltas;
  readonly #point = new Point();
  readonly #series = new PointSeries();
  /** A number for each namespace that was a stamp; 0 is none. */
  readonly #stamps = new Map<string, number>([['', 0]]);
  readonly #identities: Identities;
  /** By the identity of the resource. */
  readonly #resources = new Map<number, Resource>();
  /** Names of metrics and keys before their translation. */
  readonly originals = new Originals();

  constructor(options: OtlpDecoderOptions) {
    this.#options = options;
    this.#names = new LabelNames(options.settings, this.originals);
    this.#deltas = options.deltas ?? new DeltaSums(options.clock);
    this.#knownDeltas = new KnownDeltas(this.#deltas);
    this.#identities = new Identities({
      urlCounts: options.settings.promoteScopeMetadata,
      ...(options.hashKeys && { hashKeys: options.hashKeys }),
    });
    registerMetrics(options.registry, this.#deltas, this.originals, this.#identities);
  }

  /**
   * Stores the points of a decompressed body; `stamp` is the namespace that its sender's identity puts on its series. Throws
   * `bad_body`, and has then stored nothing.
   */
  store(body: Uint8Array, tally: Tally, stamp = ''): void {
    if (this.#identities.makeRoom()) {
      this.#resources.clear();
      this.#knownDeltas.clear();
    }
    const resources = this.#identities.walk(body, this.#numberOf(stamp));
    if (resources === null) {
      this.#storeWhole(body, stamp, tally);
      return;
    }
    for (const resource of resources) checkOdd(body, resource);
    const walk = this.#walk(body, stamp, tally);
    if (!this.#appendKnown(walk)) {
      // A series was removed meanwhile, or a delta is no plain addition. To store a sample twice changes nothing; so all is done
      // again.
      this.#storeWhole(body, stamp, tally);
      return;
    }
    for (const resource of resources) this.#storeResource(walk, resource);
  }

  get identityBytes(): number {
    return this.#identities.bytes;
  }

  /** The same bytes of senders with different stamps are different series. */
  #numberOf(stamp: string): number {
    const known = this.#stamps.get(stamp);
    if (known !== undefined) return known;
    this.#stamps.set(stamp, this.#stamps.size);
    return this.#stamps.size - 1;
  }

  #storeWhole(body: Uint8Array, stamp: string, tally: Tally): void {
    checkBody(body, EXPORT_REQUEST);
    const walk = this.#walk(body, stamp, tally);
    eachField(walk.reader, 1, () => storeResourceMetrics(walk));
  }

  #walk(body: Uint8Array, stamp: string, tally: Tally): Walk {
    const { head, clock, settings, exemplars, metadata } = this.#options;
    return {
      reader: new WireReader(body),
      head,
      stamp,
      settings,
      names: this.#names,
      deltas: this.#deltas,
      originals: this.originals,
      exemplars,
      metadata,
      latestMs: clock.nowMs() + LIMITS.futureMsMax,
      tally,
      point: this.#point,
      series: this.#series,
      lastRef: null,
      added: null,
    };
  }

  /**
   * Appends the samples of the points that are known; false, and nothing is counted, if one of their series is gone, or one of
   * the deltas among them has to be looked at by itself.
   */
  #appendKnown(walk: Walk): boolean {
    const { reader, tally } = walk;
    const rows = this.#identities.rows();
    const deltas = this.#identities.deltas();
    const rawStored = deltas.length === 0 ? 0 : this.#appendRawDeltas(rows, deltas);
    if (rawStored === null) return false;
    const counts = this.#options.head.appendRows(rows);
    if (counts.gone.length > 0) {
      for (const row of counts.gone) this.#identities.unlearnRow(row);
      return false;
    }
    if (deltas.length > 0) this.#knownDeltas.commit(deltas, rows);
    tally.samplesStored += counts.stored + rawStored;
    tally.exemplarsIgnored += this.#identities.exemplarsOfGauges;
    for (const { ref, position } of this.#identities.exemplarRows()) {
      keepExemplarsOfSum(reader, position, this.#options.head.labels(ref), walk);
    }
    for (const { outcome, count, row } of counts.refused) {
      const reason = reasonOfOutcome(outcome);
      if (reason === null) continue;
      [reader.position, reader.limit] = this.#identities.metricOfRow(row);
      tally.refuse(reason, count, readReceivedName(reader));
    }
    return true;
  }

  /** Stores known deltas as they came, and puts their sums into their rows; how many were stored, or null if it is not for here. */
  #appendRawDeltas(rows: Rows, deltas: Uint32Array): number | null {
    const { head } = this.#options;
    const raw = head.isJudging ? null : this.#knownDeltas.prepare(deltas, rows);
    const counts = raw === null ? null : head.appendRows(raw);
    if (counts !== null && counts.gone.length === 0 && counts.refused.length === 0) return counts.stored;
    // Learnt anew, what is gone is found again.
    for (const row of rowsOf(deltas)) this.#identities.unlearnRow(row);
    return null;
  }

  /** Stores what of a ResourceMetrics is not known, and its `target_info`. */
  #storeResource(walk: Walk, walked: WalkedResource): void {
    const { reader } = walk;
    if (walked.isOdd) {
      reader.position = walked.start;
      reader.limit = walked.end;
      storeResourceMetrics(walk);
      return;
    }
    const [resource, identity] = this.#resourceOf(walk, walked);
    resource.earliestMs = walked.earliestMs;
    resource.latestMs = walked.latestMs;
    for (const odd of walked.odd) this.#storeOddMetric(walk, identity, resource, odd);
    storeTargetInfo(walk, resource);
  }

  /** The resource, and what stands for its bytes from now on; 0 if nothing does. */
  #resourceOf(walk: Walk, { identity, resourceStart, resourceEnd }: WalkedResource): [Resource, number] {
    const known = identity === 0 ? undefined : this.#resources.get(identity);
    if (known !== undefined) return [known, identity];
    const resource = readResourceAt(walk, resourceStart, resourceEnd);
    const learnt = identity === 0 ? this.#identities.learnResource(resourceStart, resourceEnd) : identity;
    if (learnt === 0) return [resource, 0];
    if (this.#resources.size >= RESOURCES_REMEMBERED) this.#resources.clear();
    this.#resources.set(learnt, resource);
    return [resource, learnt];
  }

  #storeOddMetric(walk: Walk, resourceIdentity: number, resource: Resource, odd: OddMetric): void {
    const { reader } = walk;
    const scope = scopeOf(walk, odd);
    reader.position = odd.start;
    reader.limit = odd.end;
    storeMetric(walk, resource, scope, this.#filter(walk, resourceIdentity, resource, scope, odd));
  }

  /** Stores the new points of a metric; where the length of each that is left stands. */
  #storeNew(walk: Walk, resource: Resource, metric: number, odd: OddMetric): Uint32Array {
    const { reader, names, tally } = walk;
    const { head } = this.#options;
    const epoch = head.pairsEpoch;
    const made = this.#identities.newPoints(metric, odd, {
      nameOfKey: (start, end) => plainNameOf(reader.text(start, end), names),
      meetsStamp,
      epoch,
      append: (rows) => head.appendNewRows(rows, epoch),
    });
    tally.samplesStored += made.stored;
    tally.exemplarsIgnored += made.exemplarsOfGauges;
    for (const { ref, position } of made.exemplarRows) keepExemplarsOfSum(reader, position, head.labels(ref), walk);
    resource.earliestMs = Math.min(resource.earliestMs, made.earliestMs);
    resource.latestMs = Math.max(resource.latestMs, made.latestMs);
    return made.left;
  }

  #filter(walk: Walk, resourceIdentity: number, resource: Resource, scope: Scope, odd: OddMetric): PointFilter {
    const { head } = this.#options;
    const identities = this.#identities;
    let next = 0;
    // Not asked for yet: a metric without a point that can be learnt is not learnt.
    let metric = odd.identity === 0 ? null : odd.identity;
    return {
      storeNew: ({ name }) => {
        if (!odd.isPlain) return null;
        metric ??= identities.learnMetric(resourceIdentity, odd);
        if (metric === 0) return null;
        const isTaught =
          identities.knowsLabels(metric) ||
          identities.teachLabels(metric, metricLabels(name, resource.labels, scope.labels, walk));
        return isTaught ? this.#storeNew(walk, resource, metric, odd) : null;
      },
      // Every point of a metric that is not known is new; of one that is, those on the list are, in order.
      isKnown(position) {
        if (odd.identity === 0) return false;
        if (odd.points[next] !== position) return true;
        next++;
        return false;
      },
      learn(position, ref: SeriesRef) {
        metric ??= identities.learnMetric(resourceIdentity, odd);
        if (metric > 0) identities.learnPoint(metric, position, ref, head.generation(ref));
      },
      learnDelta: (position, ref, { key, stream, hasStarts, raw }) => {
        metric ??= identities.learnMetric(resourceIdentity, odd);
        if (metric === 0) return;
        const { next } = this.#knownDeltas;
        const number = identities.learnDelta(metric, position, ref, head.generation(ref), next);
        if (number === 0) return;
        const rawRef = raw === null ? null : head.series(raw);
        const rawGeneration = rawRef === null ? 0 : head.generation(rawRef);
        this.#knownDeltas.set(number, { key, stream, hasStarts, raw: rawRef, rawGeneration });
      },
    };
  }
}

/** Throws `bad_body` unless what was not recognised by its bytes is well formed. */
function checkOdd(body: Uint8Array, resource: WalkedResource): void {
  if (resource.isOdd) {
    checkPart(body, resource.bodyStart, resource.end, RESOURCE_METRICS);
    return;
  }
  if (resource.identity === 0) checkPart(body, resource.resourceStart, resource.resourceEnd, RESOURCE);
  let checkedScope = -1;
  for (const { identity, isPlain, scopeStart, scopeEnd, start, end } of resource.odd) {
    if (identity === 0 && scopeStart !== checkedScope) checkPart(body, scopeStart, scopeEnd, SCOPE);
    if (identity === 0) checkedScope = scopeStart;
    if (!isPlain) checkPart(body, start, end, METRIC);
  }
}

function checkPart(body: Uint8Array, start: number, end: number, schema: MessageSchema): void {
  checkBody(body.subarray(start, end), schema);
}

function scopeOf(walk: Walk, { scopeStart, scopeEnd, scopeMetricsStart, scopeMetricsEnd }: OddMetric): Scope {
  if (!walk.settings.promoteScopeMetadata) {
    return { labels: NO_LABELS, refusal: null, start: scopeStart, end: scopeEnd };
  }
  walk.reader.position = scopeMetricsStart;
  walk.reader.limit = scopeMetricsEnd;
  return readScope(walk);
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();

function registerMetrics(registry: Registry, deltas: DeltaSums, originals: Originals, identities: Identities): void {
  const name = (what: string): string => `tidegauge_otlp_${what}`;
  registry.computed('gauge', name('delta_series'), 'Series whose deltas are added up.', () => deltas.count);
  registry.computed(
    'gauge',
    name('original_names'),
    'Metrics and attribute keys whose original spelling is kept.',
    () => originals.metricCount + originals.keyCount,
  );
  registry.computed(
    'counter',
    name('original_names_forgotten_total'),
    'Metrics and attribute keys that came when no more could be kept.',
    () => originals.forgotten,
  );
  registry.computed('gauge', name('identities'), 'Points that are known by their bytes.', () => identities.count);
  registry.computed('gauge', name('identity_bytes'), 'Bytes of these identities in use.', () => identities.bytes);
  registry.computed(
    'counter',
    name('identity_resets_total'),
    'Times that all identities were forgotten, to be learnt anew.',
    () => identities.resets,
  );
}
