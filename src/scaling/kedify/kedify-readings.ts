/**
 * Readings of the Kedify path: a `metricQuery` with its operation, clamps and policy becomes one value or one absence,
 * and is kept in the flight recorder like every other answer to an autoscaler.
 *
 * That scaler answers 0 where it finds nothing, and so does this path by default; but only while samples arrive from
 * anybody, and not before the daemon has listened for a while: right after a start, nothing is known of what is not there.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../model/clock.ts';
import { CodedError, type ErrorCode } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Scope } from '../../model/scope.ts';
import { formatDuration } from '../../model/time.ts';
import type { Cell, Family, Registry } from '../../telemetry/registry.ts';
import type { HeadReader } from '../../tsdb/head.ts';
import { type Origin, outcomeOf, type Reading, type ReadingAbsence } from '../answer.ts';
import { formatTime } from '../diagnosis.ts';
import { Listening } from '../listening.ts';
import type { NoData } from '../policy.ts';
import type { Asker } from '../reading.ts';
import type { Recorder } from '../recorder.ts';
import { evaluateMetricQuery, type KedifyQuestion, type KedifyResult } from './evaluate.ts';
import { KedifyMetrics } from './kedify-metrics.ts';
import { type MetricQuery, type Operation, parseMetricQuery } from './metric-query.ts';
import type { OriginalNames } from './original-names.ts';
import { SharedReadings, valueReading } from './shared-readings.ts';

/** What that scaler's environment sets for all triggers. */
export interface KedifySettings {
  readonly windowMs: number;
  readonly errorIfNotFound: boolean;
  readonly valueIfNotFound: number;
  readonly lenientLabels: boolean;
  /** The two above also hold where the metric is known and nothing of it is live. */
  readonly notFoundCoversEmpty: boolean;
}

export const KEDIFY_DEFAULTS: KedifySettings = {
  windowMs: 120_000,
  errorIfNotFound: false,
  valueIfNotFound: 0,
  lenientLabels: true,
  notFoundCoversEmpty: false,
};

export interface KedifyRequest {
  readonly metricQuery: string;
  readonly operation: Operation;
  readonly clampMin: number | null;
  readonly clampMax: number | null;
  /** Null for the setting of all triggers. */
  readonly windowMs: number | null;
  readonly freshnessMs: number | null;
  /** Null for what the settings say. */
  readonly noData: NoData | null;
  /** What is wrong with the question though it is answered; said with every value. */
  readonly warnings?: readonly string[];
  readonly scope: Scope;
  /** Now if it is left out. */
  readonly timeMs?: number;
  /** Left out for nobody in particular: then nothing is recorded and nothing shared. */
  readonly asker?: Asker | undefined;
}

export interface KedifyReadingsOptions {
  readonly head: Pick<HeadReader, 'select' | 'stats'>;
  readonly names: OriginalNames;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly settings?: Partial<KedifySettings>;
  readonly forgetAfterMs?: number;
  /** False takes the first answer after a start for whole. */
  readonly warmsUp?: boolean;
  readonly uptimeMs?: number;
  readonly recorder?: Recorder;
}

interface Last {
  readonly value: number;
  readonly timeMs: number;
}

/** How an answer came about. */
export interface KedifyExplanation {
  readonly reading: Reading;
  /** What the store says; null if the query cannot be evaluated. */
  readonly result: KedifyResult | null;
  /** Names under which the metric is stored. */
  readonly stored: readonly string[];
  readonly windowMs: number;
}

/** What there is instead of a value: why, and which not-found rule it falls under. */
interface Missing {
  readonly code: Extract<ErrorCode, 'unknown_metric' | 'no_series'>;
  readonly reason: string;
}

export class KedifyReadings {
  readonly #options: KedifyReadingsOptions;
  readonly settings: KedifySettings;
  readonly #forgetAfterMs: number;
  readonly #listening: Listening;
  readonly #outcomes: Family<Cell>;
  readonly #metrics: KedifyMetrics;
  readonly #parsed = new LRUCache<string, MetricQuery>({ max: LIMITS.planCacheEntriesMax });
  readonly #shared: SharedReadings;
  readonly #last = new LRUCache<string, Last>({ max: LIMITS.lastReadingsMax });
  /** Of the last reset, by both clocks. */
  #wipedMs = 0;
  #wipedMonotonicMs = -Infinity;

  constructor(options: KedifyReadingsOptions) {
    const { head, clock, registry, uptimeMs = 0, forgetAfterMs = LIMITS.forgetAfterMs } = options;
    this.#options = options;
    this.settings = { ...KEDIFY_DEFAULTS, ...options.settings };
    this.#forgetAfterMs = forgetAfterMs;
    this.#listening = new Listening({ head, clock, forgetAfterMs, uptimeMs });
    this.#metrics = new KedifyMetrics(registry, clock);
    this.#shared = new SharedReadings(clock);
    this.#outcomes = registry.counter(
      'tidegauge_kedify_readings_total',
      'Answers worked out for triggers with metricQuery, by outcome: value, last, no_data, or the code of the absence.',
      'outcome',
    );
  }

  /**
   * Forgets what was received so far: on this path alone, and until a restart. As after a start it is not known then what is
   * not there, so for a while nothing is answered with a 0.
   */
  reset(): void {
    const { clock } = this.#options;
    this.#wipedMs = clock.nowMs();
    this.#wipedMonotonicMs = clock.monotonicMs();
    this.#shared.clear();
    this.#last.clear();
  }

  /** Samples of this time and older are not there. */
  get wipedMs(): number {
    return this.#wipedMs;
  }

  /** One value or one absence. The value may be negative: that scaler's users expect it as it is. */
  async read(request: KedifyRequest): Promise<Reading> {
    const beganMs = this.#options.clock.monotonicMs();
    const { asker } = request;
    const reading = await (asker === undefined ? this.#answer(request) : this.#sharedAnswer(request, asker));
    this.#outcomes.with(outcomeOf(reading)).value++;
    if (asker !== undefined) this.#record(request, asker, reading, beganMs);
    return reading;
  }

  /** The same with what led to it; neither counted nor recorded. */
  async explain(request: KedifyRequest): Promise<KedifyExplanation> {
    const timeMs = request.timeMs ?? this.#options.clock.nowMs();
    const windowMs = request.windowMs ?? this.settings.windowMs;
    const { asker: _, ...question } = request;
    const reading = await this.#answer({ ...question, timeMs });
    try {
      const stored = this.#options.names.find(this.#parse(request.metricQuery).metric).map(({ name }) => name);
      const result = await this.#evaluate(this.#question(request, timeMs));
      return { reading, result, stored: [...new Set(stored)], windowMs };
    } catch (error) {
      if (error instanceof CodedError) return { reading, result: null, stored: [], windowMs };
      throw error;
    }
  }

  /** What the store says, before any policy. Throws `bad_metadata` and `query_too_large`. */
  async evaluate(request: Pick<KedifyRequest, 'metricQuery' | 'operation' | 'scope'>): Promise<KedifyResult> {
    const now = { windowMs: null, freshnessMs: null, timeMs: this.#options.clock.nowMs() };
    return this.#evaluate(this.#question({ ...request, ...now }, now.timeMs));
  }

  /** The pair of calls of one poll must agree, and each call of an asker sees what is new: as in evaluation.ts. */
  #sharedAnswer(request: KedifyRequest, asker: Asker): Promise<Reading> {
    const key = keyOf(request);
    const who = `${asker.namespace}\uffff${asker.name}\uffff${asker.call}`;
    return this.#shared.read(key, who, () => this.#answer(request));
  }

  async #answer(request: KedifyRequest): Promise<Reading> {
    const timeMs = request.timeMs ?? this.#options.clock.nowMs();
    this.#listening.look();
    let result: KedifyResult;
    try {
      result = await this.#evaluate(this.#question(request, timeMs));
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return absence(timeMs, NOTHING, error.code, error.message);
    }
    if (result.value === null) {
      const filled = this.#fill(request, result, timeMs);
      if (filled.kind === 'absence') return filled;
      return { ...filled, note: [filled.note, ...this.#warningsOf(request, result)].join('; ') };
    }
    if (request.noData?.kind === 'last') this.#last.set(keyOf(request), { value: result.value, timeMs });
    if (request.asker !== undefined) this.#note(request, request.asker, result.value);
    return value(timeMs, result, clamped(result.value, request), 'query', this.#warningsOf(request, result).join('; '));
  }

  #warningsOf({ metricQuery, warnings = [] }: KedifyRequest, { ignoredLabels }: KedifyResult): readonly string[] {
    const ignored = ignoredLabels.length === 0 ? '' : `no series carries ${ignoredLabels.join(', ')}: ignored`;
    return [...warnings, this.#parse(metricQuery).warning, ignored].filter((text) => text !== '');
  }

  #note(request: KedifyRequest, { namespace, name }: Asker, value: number): void {
    const { operation } = request;
    const query = this.#parse(request.metricQuery);
    this.#metrics.note({ query, operation, namespace, scaledObject: name, value, clamped: clamped(value, request) });
  }

  #question(
    {
      metricQuery,
      operation,
      scope,
      ...own
    }: Pick<KedifyRequest, 'metricQuery' | 'operation' | 'scope'> & Pick<KedifyRequest, 'windowMs' | 'freshnessMs'>,
    timeMs: number,
  ): KedifyQuestion {
    const windowMs = own.windowMs ?? this.settings.windowMs;
    return {
      query: this.#parse(metricQuery),
      operation,
      scope,
      timeMs,
      windowMs,
      freshnessMs: Math.min(own.freshnessMs ?? windowMs, windowMs),
      lenientLabels: this.settings.lenientLabels,
      // A question about a moment before the reset is about what was there then.
      sinceMs: timeMs < this.#wipedMs ? 0 : this.#wipedMs,
    };
  }

  #parse(text: string): MetricQuery {
    let query = this.#parsed.get(text);
    if (query === undefined) {
      query = parseMetricQuery(text);
      this.#parsed.set(text, query);
    }
    return query;
  }

  async #evaluate(question: KedifyQuestion): Promise<KedifyResult> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + LIMITS.scalerTimeoutMs;
    const slices = evaluateMetricQuery(question, this.#options);
    for (;;) {
      const step = slices.next();
      if (step.done) return step.value;
      await new Promise((resolve) => setImmediate(resolve));
      if (clock.monotonicMs() > deadlineMs) {
        slices.return(NOTHING);
        throw new CodedError('query_timeout', `metricQuery took longer than ${LIMITS.scalerTimeoutMs} ms`);
      }
    }
  }

  /** What is answered where nothing was found. */
  #fill(request: KedifyRequest, result: KedifyResult, timeMs: number): Reading {
    const missing = missingOf(result, request.metricQuery);
    const isCovered = !result.isKnown || this.settings.notFoundCoversEmpty;
    const { noData } = request;
    if (noData === null && isCovered && this.settings.errorIfNotFound) return absence(timeMs, result, ...told(missing));
    if (noData?.kind === 'error') return absence(timeMs, result, ...told(missing));
    if (noData?.kind === 'last') return this.#fillWithLast(request, result, missing, noData.maxAgeMs, timeMs);
    const refusal = this.#refusal(timeMs);
    if (refusal !== null) return absence(timeMs, result, 'warming_up', `warming up: ${refusal}; ${missing.reason}`);
    if (noData !== null) {
      const note = `noData is ${noData.value}: ${missing.reason}`;
      return value(timeMs, result, clamped(noData.value, request), 'no_data', note);
    }
    // There, the value for what was never found is not clamped, and the 0 for what is known is.
    return isCovered
      ? value(
          timeMs,
          result,
          this.settings.valueIfNotFound,
          'no_data',
          `value for what is not found: ${missing.reason}`,
        )
      : value(timeMs, result, clamped(0, request), 'no_data', `0 by default: ${missing.reason}`);
  }

  #fillWithLast(
    request: KedifyRequest,
    result: KedifyResult,
    missing: Missing,
    maxAgeMs: number,
    timeMs: number,
  ): Reading {
    const last = this.#last.get(keyOf(request));
    if (last === undefined || timeMs < last.timeMs || timeMs - last.timeMs > maxAgeMs) {
      return absence(timeMs, result, ...told(missing));
    }
    const note = `last value, of ${formatTime(last.timeMs)}: ${missing.reason}`;
    return value(timeMs, result, clamped(last.value, request), 'last', note);
  }

  /** Why a number may not stand for what was not found, or null. */
  #refusal(timeMs: number): string | null {
    const { clock, head, warmsUp = true } = this.#options;
    if (!this.#listening.hasReceived) return 'no sample received since the start';
    const sinceMs = Math.max(this.#listening.sinceMonotonicMs, this.#wipedMonotonicMs);
    const listenedMs = clock.monotonicMs() - sinceMs;
    if ((warmsUp || sinceMs === this.#wipedMonotonicMs) && listenedMs < this.#forgetAfterMs) {
      return `listening for ${Math.floor(listenedMs / 1000)}s, want ${formatDuration(this.#forgetAfterMs)}`;
    }
    const newestMs = head.stats().maxTimeMs ?? -Infinity;
    return timeMs - newestMs > this.#forgetAfterMs ? 'no samples arrive from anybody' : null;
  }

  #record(request: KedifyRequest, asker: Asker, reading: Reading, beganMs: number): void {
    const { recorder, clock } = this.#options;
    if (recorder === undefined) return;
    const { namespace, name, target, activation } = asker;
    const subject = {
      surface: 'kedify',
      namespace,
      name,
      query: request.metricQuery,
      matchers: [],
      scope: request.scope,
      policy: policyText(request),
      target,
      activation,
    };
    recorder.record(subject, reading, clock.monotonicMs() - beganMs);
  }
}

const NOTHING: KedifyResult = { value: null, series: 0, newestMs: null, isKnown: false, ignoredLabels: [] };

function missingOf({ isKnown, series }: KedifyResult, text: string): Missing {
  if (!isKnown) return { code: 'unknown_metric', reason: `no metric of that name was received: ${text}` };
  if (series > 0) return { code: 'no_series', reason: `the result is not a finite number: ${text}` };
  return { code: 'no_series', reason: `no live series match ${text}` };
}

/** In that scaler's words first. */
function told({ code, reason }: Missing): readonly [ErrorCode, string] {
  return [code, `not found: ${reason}`];
}

function clamped(value: number, { clampMin, clampMax }: KedifyRequest): number {
  const raised = clampMin !== null && value < clampMin ? clampMin : value;
  return clampMax !== null && raised > clampMax ? clampMax : raised;
}

function value(timeMs: number, result: KedifyResult, number: number, origin: Origin, note: string): Reading {
  return valueReading(timeMs, result.newestMs, result.series, number + 0, origin, note);
}

function absence(timeMs: number, { series, newestMs }: KedifyResult, code: ErrorCode, reason: string): ReadingAbsence {
  return { kind: 'absence', code, reason, timeMs, newestMs, series, sourcesExpected: 0, sourcesSeen: 0 };
}

/** Equal for requests that have the same answer. */
function keyOf(request: KedifyRequest): string {
  const scope = request.scope === null ? '*' : JSON.stringify(request.scope);
  const warnings = request.warnings?.join(' ') ?? '';
  return [policyText(request), warnings, scope, request.timeMs ?? '', request.metricQuery].join('\uffff');
}

/** What differs from the default, as it could be written. */
export function policyText({ operation, clampMin, clampMax, windowMs, freshnessMs, noData }: KedifyRequest): string {
  const parts: string[] = [];
  if (operation !== 'last_one') parts.push(`operationOverTime=${operation}`);
  if (clampMin !== null) parts.push(`clampMin=${clampMin}`);
  if (clampMax !== null) parts.push(`clampMax=${clampMax}`);
  if (windowMs !== null) parts.push(`window=${formatDuration(windowMs)}`);
  if (freshnessMs !== null) parts.push(`freshness=${formatDuration(freshnessMs)}`);
  if (noData !== null) parts.push(`noData=${noDataText(noData)}`);
  return parts.join(' ');
}

function noDataText(noData: NoData): string {
  if (noData.kind === 'error') return 'error';
  return noData.kind === 'last' ? `last:${formatDuration(noData.maxAgeMs)}` : String(noData.value);
}
