/** `query_exemplars`: exemplars of the series that an expression selects. Source: prometheus/prometheus, web/api/v1/api.go. */
import { CodedError } from '../../model/errors.ts';
import { compareLabels, type Labels } from '../../model/labels.ts';
import { SCOPE_ALL, type Scope } from '../../model/scope.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import type { Exemplar, ExemplarSeries, Exemplars } from '../../tsdb/exemplars.ts';
import { type Answer, plain } from './envelope.ts';
import { encodeString, formatSample, formatTimestamp } from './json.ts';
import { boundsOf, textOf } from './parameters.ts';

export interface ExemplarDeps {
  readonly engine: Pick<QueryEngine, 'selectors'>;
  readonly exemplars: Pick<Exemplars, 'select'>;
}

/** Null stands for an expression without selectors: Prometheus answers it with an empty body. */
export function answerExemplars(
  { engine, exemplars }: ExemplarDeps,
  form: URLSearchParams,
  scope: Scope = SCOPE_ALL,
): Answer | null {
  const { startMs, endMs } = boundsOf(form);
  if (endMs < startMs) throw badData('end timestamp must not be before start timestamp');
  const query = textOf(form, 'query');
  if (query === '') throw badData('unknown position: parse error: no expression found in input');
  const selectors = engine.selectors(query);
  if (selectors.length === 0) return null;
  const found = exemplars.select(selectors, startMs, endMs, scope);
  if (found.length === 0) return plain([]);
  return { data: encodeAll([...found].sort((a, b) => compareLabels(a.labels, b.labels))) };
}

function* encodeAll(all: readonly ExemplarSeries[]): Generator<string> {
  for (const [i, { labels, exemplars }] of all.entries()) {
    const list = exemplars.map(encodeExemplar).join(',');
    yield `${i === 0 ? '[' : ','}{"seriesLabels":${encodeLabels(labels)},"exemplars":[${list}]}`;
  }
  yield ']';
}

function encodeExemplar({ labels, value, timestampMs }: Exemplar): string {
  return `{"labels":${encodeLabels(labels)},"value":"${formatSample(value)}","timestamp":${formatTimestamp(timestampMs)}}`;
}

function encodeLabels(labels: Labels): string {
  const pairs: string[] = [];
  for (let i = 0; i < labels.length; i += 2) pairs.push(`${encodeString(labels[i]!)}:${encodeString(labels[i + 1]!)}`);
  return `{${pairs.join(',')}}`;
}

function badData(message: string): CodedError {
  return new CodedError('bad_data', message);
}
