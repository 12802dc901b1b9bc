/**
 * Readings: everything that answers an autoscaler passes through {@link Readings.read}. A query at a moment under a
 * scope becomes exactly one value, or an absence with its reason. An absence is never turned into a zero here, because
 * an autoscaler that hears 0 scales production down.
 *
 * What counts as a value:
 * - a scalar, or an instant vector of one element, that is finite and not negative. A query that says 0 by itself
 *   (`vector(0)`, a fresh counter that stands still, `… or vector(0)`) says 0;
 * - whose samples are fresh. An instant selector sees the lookback (five minutes), PromQL sees to that. A range selector sees
 *   the whole of its range, and one longer than that would go on answering with a sender that is long silent, so: if the
 *   newest sample read at all is older than the lookback the Reading is stale, unless every selector of the query has a
 *   series with fresh samples (then the query looks back on purpose, by `offset` or `@`).
 * - read since anything was received at all: after a start without data a query that has selectors is warming up, even
 *   if it ends in `or vector(0)`.
 *
 * This judges a query as a whole. It does not yet see that one of several sources fell silent.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError, type ErrorCode } from '../model/errors.ts';
import { EMPTY_LABELS, type Labels } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import type { Scope } from '../model/scope.ts';
import type { QueryEngine } from '../promql/engine.ts';
import type { QueryResult, QueryValue } from '../promql/result.ts';
import type { Cell, Family, Registry } from '../telemetry/registry.ts';
import type { Head } from '../tsdb/head.ts';
import { diagnose, staleText } from './diagnosis.ts';

/** Who asks; becomes a label of the own metrics. */
export type Surface = 'keda' | 'kubernetes';

export interface ReadingRequest {
  readonly query: string;
  readonly scope: Scope;
  readonly surface: Surface;
  /** Added to every selector of the query. */
  readonly matchers?: readonly Matcher[];
  /** The moment of the question; now if it is left out. */
  readonly timeMs?: number;
}

interface Basis {
  /** The moment of the question. */
  readonly timeMs: number;
  /** Timestamp of the newest sample read (for an absence: of the series that are meant), or null if there was none. */
  readonly newestMs: number | null;
  /** Series read, or for an absence the series that are meant. */
  readonly series: number;
}

export interface ReadingValue extends Basis {
  readonly kind: 'value';
  /** Finite and not negative. */
  readonly value: number;
  /** Labels of the one element; empty for a scalar. */
  readonly labels: Labels;
}

export interface ReadingAbsence extends Basis {
  readonly kind: 'absence';
  readonly code: ErrorCode;
  readonly reason: string;
}

export type Reading = ReadingValue | ReadingAbsence;

export interface ReadingsOptions {
  readonly engine: Pick<QueryEngine, 'instant' | 'selectors'>;
  readonly head: Pick<Head, 'select' | 'hasMetric' | 'stats'>;
  readonly clock: Clock;
  readonly registry: Registry;
  /** How old the newest sample may be: the lookback of instant selectors. */
  readonly lookbackMs: number;
}

export class Readings {
  readonly #engine: ReadingsOptions['engine'];
  readonly #head: ReadingsOptions['head'];
  readonly #clock: Clock;
  readonly #lookbackMs: number;
  readonly #outcomes: Family<Cell>;
  /** Once a sample was received it stays true; asking the head each time would walk all its series. */
  #received = false;

  constructor(options: ReadingsOptions) {
    this.#engine = options.engine;
    this.#head = options.head;
    this.#clock = options.clock;
    this.#lookbackMs = options.lookbackMs;
    this.#outcomes = options.registry.counter(
      'tidegauge_readings_total',
      'Answers worked out for autoscalers, by who asked and by outcome: value, or the code of the absence.',
      'surface',
      'outcome',
    );
  }

  /** One value or one absence; throws only on a fault of the daemon itself. */
  async read(request: ReadingRequest): Promise<Reading> {
    const timeMs = request.timeMs ?? this.#clock.nowMs();
    try {
      // Policies (noData, freshness, reduce, clamp) will stand here: each takes the Reading and gives another.
      const reading = await this.#evaluate(request, timeMs);
      this.#count(request.surface, reading.kind === 'value' ? 'value' : reading.code);
      return reading;
    } catch (error) {
      this.#count(request.surface, 'internal');
      throw error;
    }
  }

  async #evaluate(request: ReadingRequest, timeMs: number): Promise<Reading> {
    try {
      if (!this.#hasReceived() && this.#engine.selectors(request.query).length > 0) {
        return absence('warming_up', 'warming up: no sample received since the start', {
          timeMs,
          newestMs: null,
          series: 0,
        });
      }
      const result = await this.#engine.instant({
        text: request.query,
        timeMs,
        scope: request.scope,
        samplesMax: LIMITS.scalerSamplesMax,
        timeoutMs: LIMITS.scalerTimeoutMs,
        ...(request.matchers === undefined ? {} : { matchers: request.matchers }),
      });
      return this.#judge(request, timeMs, result);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return absence(error.code, error.message, { timeMs, newestMs: null, series: 0 });
    }
  }

  #judge(request: ReadingRequest, timeMs: number, result: QueryResult): Reading {
    const basis: Basis = { timeMs, newestMs: result.read.newestMs, series: result.read.series };
    const count = elementCount(result.value);
    if (count === 0) return this.#explainEmpty(request, basis);
    if (count > 1) return absence('ambiguous', `ambiguous: ${count} series, want one`, basis);
    const { value, labels } = onlyElement(result.value);
    if (!Number.isFinite(value)) return this.#explainNotANumber(request, basis, value);
    if (value < 0) return absence('negative', `negative: ${value}, which an autoscaler would read as 0`, basis);
    if (this.#isStale(request, basis)) return absence('stale', staleText(basis.newestMs!, timeMs), basis);
    // Adding 0 makes a zero of a negative zero.
    return { kind: 'value', value: value + 0, labels, timeMs, newestMs: basis.newestMs, series: basis.series };
  }

  #explainEmpty(request: ReadingRequest, basis: Basis): ReadingAbsence {
    const diagnosis = this.#diagnose(request, basis.timeMs);
    if (diagnosis !== null)
      return absence(diagnosis.code, diagnosis.reason, { timeMs: basis.timeMs, ...positionOf(diagnosis) });
    return absence('no_series', 'no series match: the series exist, but the expression leaves none of them', basis);
  }

  /** `scalar()` of nothing is NaN: then what is missing is the better reason. */
  #explainNotANumber(request: ReadingRequest, basis: Basis, value: number): ReadingAbsence {
    const diagnosis = basis.newestMs === null ? this.#diagnose(request, basis.timeMs) : null;
    if (diagnosis !== null)
      return absence(diagnosis.code, diagnosis.reason, { timeMs: basis.timeMs, ...positionOf(diagnosis) });
    return absence('not_a_number', `not a number: ${value}`, basis);
  }

  #isStale(request: ReadingRequest, { timeMs, newestMs }: Basis): boolean {
    if (newestMs === null || timeMs - newestMs <= this.#lookbackMs) return false;
    return this.#diagnose(request, timeMs) !== null;
  }

  #diagnose(request: ReadingRequest, timeMs: number) {
    const selectors = this.#engine
      .selectors(request.query)
      .map((selector) => [...selector, ...(request.matchers ?? [])]);
    return diagnose(selectors, { head: this.#head, scope: request.scope, timeMs, lookbackMs: this.#lookbackMs });
  }

  #hasReceived(): boolean {
    this.#received ||= this.#head.stats().samplesAppended > 0;
    return this.#received;
  }

  #count(surface: Surface, outcome: string): void {
    this.#outcomes.with(surface, outcome).value++;
  }
}

/** What every surface says about an absence: the reason for people, the code for programs. */
export function absenceText(reading: ReadingAbsence): string {
  return `${reading.reason} [${reading.code}]`;
}

function absence(code: ErrorCode, reason: string, { timeMs, newestMs, series }: Basis): ReadingAbsence {
  return { kind: 'absence', code, reason, timeMs, newestMs, series };
}

function positionOf({ newestMs, series }: { readonly newestMs: number | null; readonly series: number }) {
  return { newestMs, series };
}

function elementCount(value: QueryValue): number {
  if (value.kind === 'scalar') return 1;
  if (value.kind === 'vector') return value.values.length;
  const got = value.kind === 'matrix' ? 'a range vector' : 'a string';
  throw new CodedError('bad_data', `cannot read one value: got ${got}, want a scalar or an instant vector`);
}

function onlyElement(value: QueryValue): { readonly value: number; readonly labels: Labels } {
  if (value.kind === 'scalar') return { value: value.value, labels: EMPTY_LABELS };
  if (value.kind === 'vector') return { value: value.values[0]!, labels: value.labels[0]! };
  throw new Error(`one element of a ${value.kind}`);
}
