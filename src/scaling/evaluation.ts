/**
 * Evaluations: what a Reading is made of, before any policy: the query's result, how well its senders are covered, and,
 * while they are not, its result at the last moment when they were.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError, type ErrorCode } from '../model/errors.ts';
import type { Matcher } from '../model/matcher.ts';
import type { Scope } from '../model/scope.ts';
import { formatDuration } from '../model/time.ts';
import type { QueryEngine } from '../promql/engine.ts';
import type { QueryResult } from '../promql/result.ts';
import type { HeadReader } from '../tsdb/head.ts';
import { type Cover, coverAll } from './coverage.ts';
import { Listening } from './listening.ts';
import { LookCache } from './looks.ts';
import type { PodStates } from './pods.ts';
import { SharedEvaluations } from './shared-evaluations.ts';
import { SteadyClock } from './steady-clock.ts';

export interface Question {
  readonly query: string;
  readonly scope: Scope;
  /** Added to every selector of the query. */
  readonly matchers: readonly Matcher[];
  /** Null for now. */
  readonly timeMs: number | null;
  readonly windowMs: number | null;
  readonly freshnessMs: number | null;
}

export interface Evaluation {
  /** The expression that was evaluated: the query, or its average over a window. */
  readonly text: string;
  readonly timeMs: number;
  readonly covers: readonly Cover[];
  /** Null if there is a fault. */
  readonly result: QueryResult | null;
  /** The result at `wholeMs`, or null if all sources are whole or there was none. */
  readonly before: QueryResult | null;
  /** The last moment at which every source was heard, or null while all are whole. */
  readonly wholeMs: number | null;
  /** Why the query could not be evaluated at all. */
  readonly fault: { readonly code: ErrorCode; readonly reason: string } | null;
  /** The daemon started not long ago: what is not there may be yet to come. */
  readonly settling: boolean;
}

export interface EvaluatorOptions {
  readonly engine: Pick<QueryEngine, 'instant' | 'selectors'>;
  readonly head: Pick<HeadReader, 'select' | 'hasMetric' | 'stats'>;
  readonly clock: Clock;
  /** How old the newest sample of an instant selector may be. */
  readonly lookbackMs: number;
  /** When a silent source leaves. */
  readonly forgetAfterMs: number;
  /** False takes the first answer after a start for whole. */
  readonly warmsUp: boolean;
  /** How long the daemon has been listening already. */
  readonly uptimeMs: number;
  readonly podStates: PodStates;
  /** Samples that a query may load, and how long it may take. */
  readonly samplesMax: number;
  readonly timeoutMs: number;
}

/** Steps of the subquery that `window` makes. */
const WINDOW_STEPS = 20;
const WINDOW_STEP_MS_MIN = 1000;

export class Evaluator {
  readonly #options: EvaluatorOptions;
  readonly #looks = new LookCache();
  readonly #steady: SteadyClock;
  readonly #listening: Listening;
  readonly #shared: SharedEvaluations;

  constructor(options: EvaluatorOptions) {
    this.#options = options;
    this.#shared = new SharedEvaluations(options.clock);
    this.#steady = new SteadyClock(options.clock);
    this.#listening = new Listening(options);
  }

  /** Rejects only on a fault of the daemon itself. An asker of '' is nobody in particular and shares nothing. */
  evaluate(question: Question, asker: string): Promise<Evaluation> {
    if (asker === '' || question.timeMs !== null) return this.#evaluate(question, false);
    return this.#shared.evaluate(questionKey(question), asker, () => this.#evaluate(question, false));
  }

  /** The same with every source listed, shared with nobody. */
  explain(question: Question): Promise<Evaluation> {
    return this.#evaluate(question, true);
  }

  async #evaluate(question: Question, listsSources: boolean): Promise<Evaluation> {
    const timeMs = question.timeMs ?? this.#steady.look();
    this.#listening.look();
    const settling = this.#startedMs() > timeMs - this.#options.forgetAfterMs;
    const nothing = { text: question.query, timeMs, covers: [], result: null, before: null, wholeMs: null, settling };
    try {
      const selectors = this.#options.engine.selectors(question.query);
      if (selectors.length > 0 && !this.#listening.hasReceived) {
        return { ...nothing, fault: { code: 'warming_up', reason: 'warming up: no sample received since the start' } };
      }
      return await this.#whole(question, timeMs, settling, listsSources);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return { ...nothing, fault: { code: error.code, reason: error.message } };
    }
  }

  async #whole(question: Question, timeMs: number, settling: boolean, listsSources: boolean): Promise<Evaluation> {
    const text = this.#textOf(question);
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + this.#options.timeoutMs;
    const covers = await coverAll(
      this.#looks.get(text).looks,
      this.#coverContext(question, timeMs, listsSources),
      () => clock.monotonicMs() > deadlineMs,
    );
    const result = await this.#instant(text, question, timeMs);
    const wholeMs = earliest(covers);
    const before = wholeMs === null ? null : await this.#beforeOf(text, question, wholeMs);
    return { text, timeMs, covers, result, before, wholeMs, fault: null, settling };
  }

  #coverContext(question: Question, timeMs: number, listsSources: boolean) {
    const { head, forgetAfterMs, podStates } = this.#options;
    return {
      head,
      scope: question.scope,
      matchers: question.matchers,
      timeMs,
      startedMs: this.#startedMs(),
      forgetAfterMs: Math.max(forgetAfterMs, question.freshnessMs ?? 0),
      freshnessMs: question.freshnessMs,
      isSuspect: this.#steady.isSuspect,
      podStates,
      listsSources,
    };
  }

  #instant(text: string, question: Question, timeMs: number): Promise<QueryResult> {
    const { lookbackMs, samplesMax, timeoutMs } = this.#options;
    return this.#options.engine.instant({
      text,
      timeMs,
      scope: question.scope,
      matchers: question.matchers,
      lookbackMs: Math.max(lookbackMs, question.freshnessMs ?? 0),
      samplesMax,
      timeoutMs,
      surface: 'scaling',
    });
  }

  /** What cannot be evaluated for then is no fault of now. */
  async #beforeOf(text: string, question: Question, wholeMs: number): Promise<QueryResult | null> {
    try {
      return await this.#instant(text, question, wholeMs);
    } catch (error) {
      if (error instanceof CodedError) return null;
      throw error;
    }
  }

  /** The average over a window is a subquery; the line breaks end a comment of the query's own. */
  #textOf({ query, windowMs }: Question): string {
    if (windowMs === null) return query;
    if (this.#looks.get(query).isScalar) {
      throw new CodedError('bad_metadata', 'cannot use window: got a query that is a scalar, want an instant vector');
    }
    const stepMs = Math.max(WINDOW_STEP_MS_MIN, Math.ceil(windowMs / WINDOW_STEPS));
    return `avg_over_time((\n${query}\n)[${formatDuration(windowMs)}:${formatDuration(stepMs)}])`;
  }

  /** Wall time since when the daemon has been hearing its senders, as the clock counts now. */
  #startedMs(): number {
    const { clock, warmsUp } = this.#options;
    return warmsUp ? clock.nowMs() - (clock.monotonicMs() - this.#listening.sinceMonotonicMs) : -Infinity;
  }
}

/** A text that is equal for the same question under the same scope, and for no other. */
export function questionKey({ query, scope, matchers, windowMs, freshnessMs }: Question): string {
  const who = scope === null ? '*' : `${scope.length}\uffff${scope.join('\uffff')}`;
  const added = matchers.length === 0 ? '' : JSON.stringify(matchers);
  return `${windowMs ?? ''}\uffff${freshnessMs ?? ''}\uffff${who}\uffff${added}\uffff${query}`;
}

function earliest(covers: readonly Cover[]): number | null {
  let wholeMs: number | null = null;
  for (const one of covers) if (one.wholeMs !== null) wholeMs = Math.min(wholeMs ?? Infinity, one.wholeMs);
  return wholeMs;
}
