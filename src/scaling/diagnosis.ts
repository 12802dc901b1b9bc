/**
 * Why a query has no answer: looks at the selectors of its expression one by one and names the first and gravest thing
 * that is wrong. Everything is looked up under the asker's scope, so that a reason says nothing about other namespaces.
 */
import type { ErrorCode } from '../model/errors.ts';
import { isLegacyLabelName, isLegacyMetricName, METRIC_NAME } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import { SampleBuffer } from '../model/sample.ts';
import type { Scope } from '../model/scope.ts';
import { formatDuration } from '../model/time.ts';
import type { HeadReader } from '../tsdb/head.ts';

export interface Diagnosis {
  readonly code: Extract<ErrorCode, 'unknown_metric' | 'no_series' | 'stale'>;
  readonly reason: string;
  /** Newest sample of the series that are meant, or null if there is none. */
  readonly newestMs: number | null;
  readonly series: number;
}

export interface Surroundings {
  readonly head: Pick<HeadReader, 'select' | 'hasMetric'>;
  readonly scope: Scope;
  /** The moment of the question. */
  readonly timeMs: number;
  /** A series whose newest sample is older than this does not count any more. */
  readonly lookbackMs: number;
}

type Selector = readonly Matcher[];

/** A typed metric name is the likeliest mistake; that senders went silent is the last thing to say. */
const GRAVITY: readonly Diagnosis['code'][] = ['unknown_metric', 'no_series', 'stale'];

/** The gravest fault among the selectors, or null if each of them has a series with a fresh sample. */
export function diagnose(selectors: readonly Selector[], around: Surroundings): Diagnosis | null {
  const found = selectors.map((selector) => inspect(selector, around)).filter((diagnosis) => diagnosis !== null);
  for (const code of GRAVITY) {
    const first = found.find((diagnosis) => diagnosis.code === code);
    if (first !== undefined) return first;
  }
  return null;
}

/** `stale since 2026-11-21T10:00:00Z, 7m12s ago` */
export function staleText(newestMs: number, timeMs: number): string {
  const ageMs = Math.round((timeMs - newestMs) / 1000) * 1000;
  return `stale since ${formatTime(newestMs)}, ${formatDuration(ageMs)} ago`;
}

/** RFC 3339 in whole seconds, which is all that autoscalers read. */
export function formatTime(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19)}Z`;
}

function inspect(selector: Selector, around: Surroundings): Diagnosis | null {
  const name = selector.find((matcher) => matcher.name === METRIC_NAME && matcher.type === '=')?.value;
  if (name !== undefined && !isKnown(name, around)) {
    return { code: 'unknown_metric', reason: `unknown metric ${JSON.stringify(name)}`, newestMs: null, series: 0 };
  }
  const ages = readAges(selector, around);
  if (ages.series === 0) {
    return { code: 'no_series', reason: `no series match ${selectorText(selector)}`, newestMs: null, series: 0 };
  }
  return ages.fresh
    ? null
    : { code: 'stale', reason: silenceText(ages, around), newestMs: ages.newestMs, series: ages.series };
}

/** Under a scope a name that only other namespaces use is as unknown as any. */
function isKnown(name: string, { head, scope }: Surroundings): boolean {
  if (scope === null) return head.hasMetric(name);
  return selectEver(head, [{ type: '=', name: METRIC_NAME, value: name }], scope).count > 0;
}

interface Ages {
  readonly series: number;
  readonly newestMs: number | null;
  /** At least one series has a sample within the lookback that no stale marker follows. */
  readonly fresh: boolean;
  /** Every series that was looked at was ended by its sender. */
  readonly ended: boolean;
}

function readAges(selector: Selector, { head, scope, timeMs, lookbackMs }: Surroundings): Ages {
  const selection = selectEver(head, selector, scope);
  const buffer = new SampleBuffer(64);
  let newestMs = -Infinity;
  let fresh = false;
  let ended = true;
  let samplesRead = 0;
  for (let i = 0; i < selection.count && !fresh && samplesRead < LIMITS.diagnosisSamplesMax; i++) {
    const count = selection.read(i, 0, Number.MAX_SAFE_INTEGER, buffer);
    samplesRead += count;
    const visible = countUpTo(buffer, count, timeMs);
    const last = newestValue(buffer, count);
    const endedHere = visible > 0 && buffer.isStale(visible - 1);
    if (last >= 0) newestMs = Math.max(newestMs, buffer.timesMs[last]!);
    ended &&= endedHere;
    fresh = visible > 0 && !endedHere && buffer.timesMs[visible - 1]! > timeMs - lookbackMs;
  }
  const series = selection.count;
  selection.close();
  return { series, newestMs: newestMs === -Infinity ? null : newestMs, fresh, ended };
}

function selectEver(head: Surroundings['head'], matchers: Selector, scope: Scope) {
  return head.select({ matchers, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, scope });
}

/** Number of samples at or before a time. */
function countUpTo(buffer: SampleBuffer, count: number, timeMs: number): number {
  let visible = count;
  while (visible > 0 && buffer.timesMs[visible - 1]! > timeMs) visible--;
  return visible;
}

/** Index of the newest sample that is no stale marker, or -1. */
function newestValue(buffer: SampleBuffer, count: number): number {
  let last = count - 1;
  while (last >= 0 && buffer.isStale(last)) last--;
  return last;
}

function silenceText({ newestMs, ended }: Ages, { timeMs }: Surroundings): string {
  if (newestMs === null) return 'stale: nothing but stale markers received';
  if (newestMs > timeMs) return `stale: the samples lie ahead of the clock, the newest at ${formatTime(newestMs)}`;
  return `${staleText(newestMs, timeMs)}${ended ? ', ended by a stale marker' : ''}`;
}

/** `requests{code=~"5.."}`, as it could stand in a query. */
export function selectorText(selector: Selector): string {
  const name = selector.find((matcher) => matcher.name === METRIC_NAME && matcher.type === '=');
  const bare = name !== undefined && isLegacyMetricName(name.value);
  const rest = selector.filter((matcher) => matcher !== name || !bare).map(matcherText);
  return `${bare ? name.value : ''}${rest.length > 0 || !bare ? `{${rest.join(', ')}}` : ''}`;
}

function matcherText({ type, name, value }: Matcher): string {
  return `${isLegacyLabelName(name) ? name : JSON.stringify(name)}${type}${JSON.stringify(value)}`;
}
