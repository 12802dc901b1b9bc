/**
 * The whole chain of a Reading as plain data: what was asked, which series each selector matched and their newest
 * samples, which sources were heard, what each step did, the answer, and what KEDA and an HPA will make of it.
 * Everything is read under the scope of the question.
 */
import { type Labels, labelsToObject } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import { SampleBuffer } from '../model/sample.ts';
import type { Scope } from '../model/scope.ts';
import { formatDuration } from '../model/time.ts';
import type { HeadReader } from '../tsdb/head.ts';
import { outcomeOf, type Reading } from './answer.ts';
import type { Cover } from './coverage.ts';
import { formatTime, selectorText } from './diagnosis.ts';
import { type Forecast, forecast, type Workload } from './forecast.ts';
import { DEFAULT_POLICY, policyText } from './policy.ts';
import type { ReadingRequest, Readings, Step } from './reading.ts';
import { sourceText } from './sources.ts';

export interface ExplainedSeries {
  readonly labels: Readonly<Record<string, string>>;
  /** Newest sample; its value as text, since it may be no number. */
  readonly newest: string;
  readonly value: string;
}

export interface ExplainedSelector {
  readonly selector: string;
  /** `15m`, or null for the newest sample only. */
  readonly window: string | null;
  readonly until: string;
  readonly seriesCount: number;
  /** The first of them. */
  readonly series: readonly ExplainedSeries[];
  readonly sourcesExpected: number;
  readonly sourcesSeen: number;
  readonly sources: readonly {
    readonly source: string;
    readonly state: string;
    readonly newest: string | null;
    readonly interval: string | null;
    readonly staleAfter: string;
  }[];
}

export interface ExplainedReading {
  readonly query: string;
  readonly evaluated: string;
  readonly scope: Scope;
  readonly policy: string;
  readonly time: string;
  readonly selectors: readonly ExplainedSelector[];
  readonly steps: readonly Step[];
  readonly outcome: string;
  readonly value: number | null;
  readonly reason: string;
  readonly newest: string | null;
  readonly keda: Forecast['keda'];
  readonly hpa: Forecast['hpa'];
}

export interface ExplainDeps {
  readonly readings: Pick<Readings, 'explain'>;
  readonly head: Pick<HeadReader, 'select'>;
}

export async function explain(
  { readings, head }: ExplainDeps,
  request: ReadingRequest,
  workload: Workload,
): Promise<ExplainedReading> {
  const { reading, evaluation, steps } = await readings.explain(request);
  const added = request.matchers ?? [];
  return {
    query: request.query,
    evaluated: evaluation.text,
    scope: request.scope,
    policy: policyText(request.policy ?? DEFAULT_POLICY),
    time: formatTime(evaluation.timeMs),
    selectors: evaluation.covers.map((cover) => explainSelector(head, cover, added, request.scope)),
    steps,
    outcome: outcomeOf(reading),
    value: reading.kind === 'value' ? reading.value : null,
    reason: reasonOf(reading),
    newest: reading.newestMs === null ? null : formatTime(reading.newestMs),
    ...forecast(reading, workload),
  };
}

function reasonOf(reading: Reading): string {
  return reading.kind === 'value' ? reading.note : reading.reason;
}

function explainSelector(
  head: Pick<HeadReader, 'select'>,
  cover: Cover,
  added: readonly Matcher[],
  scope: Scope,
): ExplainedSelector {
  const matchers = [...cover.look.matchers, ...added];
  const { windowMs } = cover.look;
  // As far back as coverage looked, so that silent series are seen with the age of their newest sample.
  const fromMs = cover.endMs - windowMs - LIMITS.forgetAfterMs;
  const found = explainSeriesOf(head, { matchers, fromMs, toMs: cover.endMs, scope });
  return {
    selector: selectorText(matchers),
    window: windowMs === 0 ? null : formatDuration(windowMs),
    until: formatTime(cover.endMs),
    ...found,
    sourcesExpected: cover.expected,
    sourcesSeen: cover.seen,
    sources: cover.sources.slice(0, LIMITS.explainedSeriesMax).map((source) => ({
      source: sourceText(source.key),
      state: source.state,
      newest: source.newestMs === -Infinity ? null : formatTime(source.newestMs),
      interval: source.intervalMs === 0 ? null : formatDuration(Math.round(source.intervalMs)),
      staleAfter: formatDuration(Math.round(source.staleAfterMs)),
    })),
  };
}

/** The first series of a selection that have samples in (fromMs, toMs], each with its newest; and how many it has in all. */
export function explainSeriesOf(
  head: Pick<HeadReader, 'select'>,
  where: Parameters<HeadReader['select']>[0],
): Pick<ExplainedSelector, 'seriesCount' | 'series'> {
  const selection = head.select(where);
  const series: ExplainedSeries[] = [];
  const buffer = new SampleBuffer(64);
  for (let i = 0; i < selection.count && series.length < LIMITS.explainedSeriesMax; i++) {
    const count = selection.read(i, where.fromMs, where.toMs, buffer);
    if (count > 0) series.push(explainSeries(selection.labels(i), buffer, count));
  }
  const seriesCount = selection.count;
  selection.close();
  return { seriesCount, series };
}

function explainSeries(labels: Labels, buffer: SampleBuffer, count: number): ExplainedSeries {
  const newest = formatTime(buffer.timesMs[count - 1]!);
  const value = buffer.isStale(count - 1) ? 'stale marker' : String(buffer.values[count - 1]!);
  return { labels: labelsToObject(labels), newest, value };
}
