/**
 * Readings: everything that answers an autoscaler passes through {@link Readings.read}. A query at a moment under a
 * scope and a policy becomes exactly one value, or an absence with its reason, and is kept in the flight recorder. An
 * absence is never turned into a zero here, because an autoscaler that hears 0 scales production down.
 *
 *     question ─ evaluation.ts (query, coverage) ─ answer.ts (policy) ─ Reading ─ recorder.ts
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../model/clock.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import type { Scope } from '../model/scope.ts';
import type { QueryEngine } from '../promql/engine.ts';
import type { Cell, Family, Registry } from '../telemetry/registry.ts';
import type { HeadReader } from '../tsdb/head.ts';
import { type AnswerContext, answer, outcomeOf, type Reading, type ReadingAbsence } from './answer.ts';
import { answerList, type ListOptions, type ReadingList } from './answer-list.ts';
import { type Diagnosis, diagnose } from './diagnosis.ts';
import { type Evaluation, Evaluator, type Question, questionKey } from './evaluation.ts';
import { NO_POD_STATES, type PodStates } from './pods.ts';
import { DEFAULT_POLICY, type Policy, policyText } from './policy.ts';
import type { Recorder } from './recorder.ts';

export { absenceText, activityOf, type Reading, type ReadingAbsence, type ReadingValue } from './answer.ts';
export type { ListItem, ReadingList } from './answer-list.ts';

/** Who asks; becomes a label of the own metrics. */
export type Surface = 'keda' | 'kubernetes';

/** Whom the answer is for, as the flight recorder names it. */
export interface Asker {
  readonly namespace: string;
  /** A ScaledObject, or the name of an external metric. */
  readonly name: string;
  /** Which call of the surface; two calls of one asker share an evaluation once. */
  readonly call: string;
  /** What the autoscaler compares the value with, or null if that is not known here. */
  readonly target: number | null;
  /** Above which value the asker becomes active, or null if it has no such state. */
  readonly activation: number | null;
}

export interface ReadingRequest {
  readonly query: string;
  readonly scope: Scope;
  readonly surface: Surface;
  /** Added to every selector of the query. */
  readonly matchers?: readonly Matcher[];
  /** The moment of the question; now if it is left out. */
  readonly timeMs?: number;
  readonly policy?: Policy;
  /** Left out for nobody in particular: then nothing is recorded and nothing shared. */
  readonly asker?: Asker | undefined;
}

export interface ReadingsOptions {
  readonly engine: Pick<QueryEngine, 'instant' | 'selectors'>;
  readonly head: Pick<HeadReader, 'select' | 'hasMetric' | 'stats'>;
  readonly clock: Clock;
  readonly registry: Registry;
  /** How old the newest sample of an instant selector may be. */
  readonly lookbackMs: number;
  /** When a silent source leaves. */
  readonly forgetAfterMs?: number;
  /** False takes the first answer after a start for whole. */
  readonly warmsUp?: boolean;
  /** How long the daemon has been listening already. */
  readonly uptimeMs?: number;
  /** What is known of pods from elsewhere. */
  readonly podStates?: PodStates;
  /** Samples that a query may load, and how long it may take. */
  readonly samplesMax?: number;
  readonly timeoutMs?: number;
  readonly recorder?: Recorder;
}

/** How a Reading came about, step by step. */
export interface Explanation {
  readonly reading: Reading;
  readonly evaluation: Evaluation;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly step: string;
  readonly says: string;
}

/** Written over in place: there is one for each question, of which a new one each time would die old. */
interface Last {
  value: number;
  timeMs: number;
}

/** How often the head is asked whether samples still come in: it may have to walk all its series. */
const ARRIVAL_CHECK_MS = 5000;

export class Readings {
  readonly #options: ReadingsOptions;
  readonly #forgetAfterMs: number;
  readonly #evaluator: Evaluator;
  readonly #outcomes: Family<Cell>;
  /** The last value that a query itself gave, by question and reducer. */
  readonly #last = new LRUCache<string, Last>({ max: LIMITS.lastReadingsMax });
  #arrivalMs = -Infinity;
  #arrivalCheckedMs = -Infinity;

  constructor(options: ReadingsOptions) {
    this.#options = options;
    this.#forgetAfterMs = options.forgetAfterMs ?? LIMITS.forgetAfterMs;
    this.#evaluator = new Evaluator({
      engine: options.engine,
      head: options.head,
      clock: options.clock,
      lookbackMs: options.lookbackMs,
      forgetAfterMs: this.#forgetAfterMs,
      warmsUp: options.warmsUp ?? true,
      uptimeMs: options.uptimeMs ?? 0,
      podStates: options.podStates ?? NO_POD_STATES,
      samplesMax: options.samplesMax ?? LIMITS.scalerSamplesMax,
      timeoutMs: options.timeoutMs ?? LIMITS.scalerTimeoutMs,
    });
    this.#outcomes = options.registry.counter(
      'tidegauge_readings_total',
      'Answers worked out for autoscalers, by who asked and by outcome: value, held, last, no_data, or the code of the absence.',
      'surface',
      'outcome',
    );
  }

  /** One value or one absence; throws only on a fault of the daemon itself. */
  async read(request: ReadingRequest): Promise<Reading> {
    const beganMs = this.#options.clock.monotonicMs();
    const { policy = DEFAULT_POLICY, asker, surface } = request;
    const question = questionOf(request, policy);
    try {
      const who = asker === undefined ? '' : `${surface}\uffff${asker.namespace}\uffff${asker.name}\uffff${asker.call}`;
      const evaluation = await this.#evaluator.evaluate(question, who);
      const reading = this.#answer(question, policy, evaluation, null);
      this.#count(surface, outcomeOf(reading));
      if (asker !== undefined) this.#record(request, asker, policy, reading, beganMs);
      return reading;
    } catch (error) {
      this.#count(surface, 'internal');
      throw error;
    }
  }

  /**
   * Every item of the query's result, or one absence. Of the policy its window and freshness count here; what else it says
   * is for each item, and so for who knows what the items are. Throws only on a fault of the daemon.
   */
  async readList(request: ReadingRequest, options: ListOptions): Promise<ReadingList | ReadingAbsence> {
    const beganMs = this.#options.clock.monotonicMs();
    const { policy = DEFAULT_POLICY, asker, surface } = request;
    const question = questionOf(request, policy);
    try {
      const who = asker === undefined ? '' : `${surface}\uffff${asker.namespace}\uffff${asker.name}\uffff${asker.call}`;
      const evaluation = await this.#evaluator.evaluate(question, who);
      const { reading, recorded } = answerList(
        evaluation,
        this.#contextOf(question, DEFAULT_POLICY, evaluation),
        options,
      );
      this.#count(surface, outcomeOf(recorded));
      if (asker !== undefined) this.#record(request, asker, policy, recorded, beganMs);
      return reading;
    } catch (error) {
      this.#count(surface, 'internal');
      throw error;
    }
  }

  /** The same, step by step; neither counted nor recorded, and no last value is remembered. */
  async explain(request: ReadingRequest): Promise<Explanation> {
    const { policy = DEFAULT_POLICY } = request;
    const question = questionOf(request, policy);
    const evaluation = await this.#evaluator.explain(question);
    const steps: Step[] = [];
    const reading = this.#answer(question, policy, evaluation, (step, says) => void steps.push({ step, says }));
    return { reading, evaluation, steps };
  }

  #answer(
    question: Question,
    policy: Policy,
    evaluation: Evaluation,
    tell: ((step: string, says: string) => void) | null,
  ): Reading {
    const key = `${policy.reduce ?? ''}\uffff${questionKey(question)}`;
    const reading = answer(evaluation, {
      policy,
      lookbackMs: this.#options.lookbackMs,
      help: {
        diagnose: () => this.#diagnose(question, evaluation),
        last: () => this.#last.get(key) ?? null,
        isArriving: () => this.#isArriving(),
      },
      tell,
    });
    const isOwn = reading.kind === 'value' && reading.origin === 'query';
    // Only who may need it later pays for remembering it.
    if (isOwn && tell === null && policy.noData.kind === 'last') {
      this.#remember(key, reading.value, evaluation.timeMs);
    }
    return reading;
  }

  #remember(key: string, value: number, timeMs: number): void {
    let last = this.#last.get(key);
    if (last === undefined) {
      // V8 keeps what began as a fraction as a double that is written over.
      last = { value: 0.5, timeMs: 0.5 };
      this.#last.set(key, last);
    }
    last.value = value;
    last.timeMs = timeMs;
  }

  #contextOf(question: Question, policy: Policy, evaluation: Evaluation): AnswerContext {
    return {
      policy,
      lookbackMs: this.#options.lookbackMs,
      help: {
        diagnose: () => this.#diagnose(question, evaluation),
        last: () => null,
        isArriving: () => this.#isArriving(),
      },
      tell: null,
    };
  }

  #diagnose(question: Question, { text, timeMs }: Evaluation): Diagnosis | null {
    const selectors = this.#options.engine.selectors(text).map((selector) => [...selector, ...question.matchers]);
    const { head, lookbackMs } = this.#options;
    return diagnose(selectors, { head, scope: question.scope, timeMs, lookbackMs });
  }

  #isArriving(): boolean {
    const { clock, head } = this.#options;
    const monotonicMs = clock.monotonicMs();
    if (monotonicMs - this.#arrivalCheckedMs >= ARRIVAL_CHECK_MS) {
      this.#arrivalCheckedMs = monotonicMs;
      this.#arrivalMs = head.stats().maxTimeMs ?? -Infinity;
    }
    return clock.nowMs() - this.#arrivalMs <= this.#forgetAfterMs;
  }

  #record(request: ReadingRequest, asker: Asker, policy: Policy, reading: Reading, beganMs: number): void {
    const { recorder, clock } = this.#options;
    if (recorder === undefined) return;
    const { namespace, name, target, activation } = asker;
    const subject = {
      surface: request.surface,
      namespace,
      name,
      query: request.query,
      matchers: request.matchers ?? [],
      scope: request.scope,
      policy: policyText(policy),
      target,
      activation,
    };
    recorder.record(subject, reading, clock.monotonicMs() - beganMs);
  }

  #count(surface: Surface, outcome: string): void {
    this.#outcomes.with(surface, outcome).value++;
  }
}

function questionOf({ query, scope, matchers, timeMs }: ReadingRequest, { windowMs, freshnessMs }: Policy): Question {
  return { query, scope, matchers: matchers ?? NO_MATCHERS, timeMs: timeMs ?? null, windowMs, freshnessMs };
}

const NO_MATCHERS: readonly Matcher[] = [];
