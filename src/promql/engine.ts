/**
 * The query engine: the door of this floor. Text → plan (cached) → select → bind → evaluate → result.
 *
 * A query runs in synchronous slices of about 2 ms; between them the event loop turns, and the query's deadline and its
 * caller's signal are looked at. A small query is answered within its first slice, without any turn.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import type { Scope } from '../model/scope.ts';
import { type Cell, DURATION_BOUNDS, type Family, type HistogramCell, type Registry } from '../telemetry/registry.ts';
import type { HeadReader } from '../tsdb/head.ts';
import { type Binding, bindRange, bindScalar, bindVector } from './eval/bind.ts';
import type { Grid } from './eval/column.ts';
import { encodeMatrix, encodeRange, encodeVector, scalarMatrix } from './eval/encode.ts';
import { type Aborted, Run, type Slices } from './eval/run.ts';
import { type Explanation, explainPlan } from './explain.ts';
import { type Outline, outlineOf } from './plan/outline.ts';
import { type Plan, PlanCache } from './plan/plan.ts';
import type { QueryResult, QueryValue } from './result.ts';
import { SWITCHES } from './switches.ts';
import { unparen } from './syntax/ast.ts';
import type { Features } from './syntax/check.ts';
import { parseMetricSelector, prepareParser } from './syntax/parse.ts';

/** What Prometheus has behind feature flags; see {@link SWITCHES}. */
export interface Experimental extends Features {
  readonly typeAndUnitLabels: boolean;
  /** Start timestamps take part in rates and resets. */
  readonly startTimestamps: boolean;
}

const EXPERIMENTAL_DEFAULTS: Experimental = {
  experimentalFunctions: SWITCHES.experimentalFunctions.isOn,
  durationExpressions: SWITCHES.durationExpressions.isOn,
  extendedRangeSelectors: SWITCHES.extendedRangeSelectors.isOn,
  fillModifiers: SWITCHES.fillModifiers.isOn,
  typeAndUnitLabels: SWITCHES.typeAndUnitLabels.isOn,
  startTimestamps: SWITCHES.startTimestamps.isOn,
};

/** Bounds of every query; a query can only ask for less time and samples. */
export interface QueryLimits {
  readonly textBytesMax: number;
  readonly depthMax: number;
  /** Points a series of a range query, not counting the first. */
  readonly pointsMax: number;
  readonly samplesMax: number;
  readonly resultBytesMax: number;
  readonly timeoutMs: number;
}

const DEFAULT_LIMITS: QueryLimits = {
  textBytesMax: LIMITS.queryTextBytesMax,
  depthMax: LIMITS.queryDepthMax,
  pointsMax: LIMITS.queryPointsMax,
  samplesMax: LIMITS.querySamplesMax,
  resultBytesMax: LIMITS.queryResultBytesMax,
  timeoutMs: LIMITS.queryTimeoutMs,
};

export interface EngineOptions {
  readonly head: Pick<HeadReader, 'select' | 'selectSlices' | 'sumNewestSlices'>;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly lookbackMs: number;
  /** Step of a subquery that names none. */
  readonly subqueryStepMs?: number;
  /** Names are removed at the end of a query instead of by each operation. */
  readonly delayedNameRemoval?: boolean;
  readonly experimental?: Partial<Experimental>;
  readonly limits?: Partial<QueryLimits>;
  /** Called at each slice but the first of a query that no autoscaler waits for; throws if there is no memory for it now. */
  readonly admit?: () => void;
}

interface Question {
  readonly text: string;
  readonly lookbackMs?: number;
  readonly scope: Scope;
  /** Added to every selector. */
  readonly matchers?: readonly Matcher[];
  readonly samplesMax?: number;
  readonly timeoutMs?: number;
  readonly signal?: Aborted;
  /** Who asks, for the metrics; by default `api`. */
  readonly surface?: QuerySurface;
}

/** Those who write queries by hand or in a dashboard, and what decides about replicas. */
export type QuerySurface = 'api' | 'scaling';

/** How long queries took, a cell for each surface. */
type Durations = Readonly<Record<QuerySurface, HistogramCell>>;

export interface InstantQuery extends Question {
  readonly timeMs: number;
}

export interface RangeQuery extends Question {
  readonly startMs: number;
  readonly endMs: number;
  readonly stepMs: number;
}

const SUBQUERY_STEP_MS = 60_000;

export class QueryEngine {
  readonly #options: EngineOptions;
  readonly #experimental: Experimental;
  readonly #plans: PlanCache;
  readonly #limits: QueryLimits;
  readonly #queries: Cell;
  readonly #failures: Family<Cell>;
  readonly #samples: Cell;
  readonly #durations: { readonly instant: Durations; readonly range: Durations };

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#experimental = { ...EXPERIMENTAL_DEFAULTS, ...options.experimental };
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#plans = new PlanCache({ features: this.#experimental, depthMax: this.#limits.depthMax });
    const { registry } = options;
    this.#queries = registry.counter('tidegauge_promql_queries_total', 'Queries evaluated.').with();
    this.#failures = registry.counter(
      'tidegauge_promql_query_failures_total',
      'Queries that ended in an error, by its code; query_too_large and query_timeout are limits.',
      'code',
    );
    this.#samples = registry.counter('tidegauge_promql_samples_read_total', 'Samples read by queries.').with();
    this.#durations = durationsOf(registry);
  }

  /** Makes the parser, some tens of milliseconds before the first query needs it. */
  prepare(): void {
    prepareParser();
  }

  /** Evaluates an expression at one time. */
  async instant(query: InstantQuery): Promise<QueryResult> {
    return this.#counted(this.#durations.instant[query.surface ?? 'api'], () => {
      const plan = this.#plan(query.text);
      const { timeMs } = query;
      return this.#execute(plan, query, { startMs: timeMs, endMs: timeMs, stepMs: 0 }, 1, (binding) =>
        instantValue(binding, timeMs),
      );
    });
  }

  /** Evaluates an expression at startMs + k*stepMs up to endMs. */
  async range(query: RangeQuery): Promise<QueryResult> {
    return this.#counted(this.#durations.range[query.surface ?? 'api'], () => {
      const plan = this.#plan(query.text);
      if (plan.type !== 'scalar' && plan.type !== 'instant vector') {
        throw new CodedError(
          'bad_data',
          `invalid expression type "${plan.type}" for range query, must be Scalar or instant Vector`,
        );
      }
      const steps = Math.floor((query.endMs - query.startMs) / query.stepMs) + 1;
      if (!(query.stepMs > 0) || !(steps >= 1))
        throw new CodedError(
          'bad_data',
          `cannot evaluate range: got step ${query.stepMs} ms, want one above 0 and an end not before the start`,
        );
      this.checkResolution(query);
      return this.#execute(plan, query, query, steps, rangeValue);
    });
  }

  /** How a query would be evaluated: nothing is read, but series are counted. A step of 0 is an instant query's. */
  async explain(query: RangeQuery): Promise<Explanation> {
    const plan = this.#plan(query.text);
    const { startMs, endMs, stepMs } = query;
    if (stepMs > 0) this.checkResolution(query);
    const grid = { startMs, stepMs, count: stepMs > 0 ? Math.floor((endMs - startMs) / stepMs) + 1 : 1 };
    const run = this.#run(plan, query, grid, endMs);
    try {
      return await finish(run, explainPlan(run, plan));
    } finally {
      run.close();
    }
  }

  /** What each selector of an expression looks at in an instant query. Throws its parse errors. */
  outline(text: string): Outline {
    return outlineOf(this.#plan(text));
  }

  /** Refuses a range query of too many points; a surface may ask before it looks at the text, as Prometheus does. */
  checkResolution({ startMs, endMs, stepMs }: Pick<RangeQuery, 'startMs' | 'endMs' | 'stepMs'>): void {
    const { pointsMax } = this.#limits;
    if (Math.floor((endMs - startMs) / stepMs) <= pointsMax) return;
    throw new CodedError(
      'bad_data',
      `exceeded maximum resolution of ${pointsMax.toLocaleString('en')} points per timeseries. Try decreasing the query resolution (?step=XX)`,
    );
  }

  /** Matchers of every vector selector of an expression. Throws its parse errors. */
  selectors(text: string): readonly (readonly Matcher[])[] {
    return this.#plan(text).selectors;
  }

  /** Matchers of a series selector (a `match[]` value). */
  parseSelector(text: string): readonly Matcher[] {
    this.#checkLength(text);
    return parseMetricSelector(text, { features: this.#experimental, depthMax: this.#limits.depthMax }).matchers;
  }

  #plan(text: string): Plan {
    this.#checkLength(text);
    return guardStack(() => this.#plans.get(text));
  }

  #checkLength(text: string): void {
    const { textBytesMax } = this.#limits;
    // No character has more than three bytes a UTF-16 unit.
    if (text.length * 3 <= textBytesMax) return;
    const bytes = Buffer.byteLength(text);
    if (bytes <= textBytesMax) return;
    throw new CodedError('bad_data', `cannot parse query: got ${bytes} bytes, want at most ${textBytesMax}`);
  }

  async #counted(duration: HistogramCell, answer: () => Promise<QueryResult>): Promise<QueryResult> {
    const { clock } = this.#options;
    const beganMs = clock.monotonicMs();
    this.#queries.value++;
    try {
      const result = await answer();
      this.#samples.value += result.read.samples;
      return result;
    } catch (error) {
      const fault = isStackOverflow(error) ? nestedTooDeeply(error) : error;
      this.#failures.with(fault instanceof CodedError ? fault.code : 'internal').value++;
      throw fault;
    } finally {
      duration.observe((clock.monotonicMs() - beganMs) / 1000);
    }
  }

  async #execute(
    plan: Plan,
    query: Question,
    { startMs, endMs, stepMs }: { startMs: number; endMs: number; stepMs: number },
    steps: number,
    evaluate: (binding: Binding) => Slices<QueryValue>,
  ): Promise<QueryResult> {
    const grid = { startMs, stepMs, count: steps };
    const run = this.#run(plan, query, grid, endMs);
    try {
      const value = await finish(run, evaluate({ run, plan, grid, hints: 'stored' }));
      const { warnings, infos } = run.annotations;
      return { value, warnings, infos, read: run.readStats() };
    } finally {
      run.close();
    }
  }

  #run(plan: Plan, query: Question, grid: Grid, endMs: number): Run {
    return new Run({
      head: this.#options.head,
      clock: this.#options.clock,
      text: plan.text,
      grid,
      startMs: grid.startMs,
      endMs,
      stepMs: grid.stepMs,
      lookbackMs: query.lookbackMs ?? this.#options.lookbackMs,
      subqueryStepMs: this.#options.subqueryStepMs ?? SUBQUERY_STEP_MS,
      scope: query.scope,
      matchers: query.matchers ?? [],
      samplesMax: Math.min(query.samplesMax ?? Infinity, this.#limits.samplesMax),
      resultBytesMax: this.#limits.resultBytesMax,
      timeoutMs: query.timeoutMs ?? this.#limits.timeoutMs,
      signal: query.signal ?? null,
      admit: query.surface === 'scaling' ? null : (this.#options.admit ?? null),
      delayedNameRemoval: this.#options.delayedNameRemoval ?? SWITCHES.delayedNameRemoval.isOn,
      typeAndUnitLabels: this.#experimental.typeAndUnitLabels,
      startTimestamps: this.#experimental.startTimestamps,
    });
  }
}

/** Runs the slices, letting the event loop turn between two of them. */
async function finish<T>(run: Run, slices: Slices<T>): Promise<T> {
  try {
    for (;;) {
      run.nextSlice();
      const step = slices.next();
      if (step.done) return step.value;
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    // What a query has begun and will not go on with is put away.
    slices.return(undefined as never);
  }
}

function* instantValue(b: Binding, timeMs: number): Slices<QueryValue> {
  const { expr, type } = b.plan;
  switch (type) {
    case 'scalar': {
      const scalar = yield* bindScalar(b, expr);
      return { kind: 'scalar', timeMs, value: (yield* scalar.evaluate(b.run))[0]! };
    }
    case 'string': {
      const literal = unparen(expr);
      return { kind: 'string', timeMs, value: literal.kind === 'string' ? literal.value : '' };
    }
    case 'range vector':
      return yield* encodeRange(b.run, yield* bindRange(b, expr));
    default:
      return yield* encodeVector(b.run, yield* bindVector(b, expr), timeMs);
  }
}

function* rangeValue(b: Binding): Slices<QueryValue> {
  if (b.plan.type === 'scalar') {
    const scalar = yield* bindScalar(b, b.plan.expr);
    return scalarMatrix(b.grid, yield* scalar.evaluate(b.run));
  }
  return yield* encodeMatrix(b.run, yield* bindVector(b, b.plan.expr));
}

/** Chains of thousands of operators can exhaust the stack; that is the query's fault. */
function guardStack<T>(compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    throw isStackOverflow(error) ? nestedTooDeeply(error) : error;
  }
}

function isStackOverflow(error: unknown): error is RangeError {
  return error instanceof RangeError && error.message.includes('call stack');
}

function nestedTooDeeply(cause: RangeError): CodedError {
  return new CodedError('bad_data', 'cannot evaluate query: it is nested too deeply', { cause });
}

/** Made once: a query allocates nothing to be measured. */
function durationsOf(registry: Registry): { readonly instant: Durations; readonly range: Durations } {
  const family = registry.histogram(
    'tidegauge_query_duration_seconds',
    'How long queries took from their text to their result or error, by who asked (api, scaling) and kind (instant, range).',
    DURATION_BOUNDS,
    'surface',
    'kind',
  );
  const of = (kind: string): Durations => ({ api: family.with('api', kind), scaling: family.with('scaling', kind) });
  return { instant: of('instant'), range: of('range') };
}
