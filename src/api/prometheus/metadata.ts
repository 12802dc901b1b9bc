/** `metadata`: type, help and unit of metrics, as their senders describe them. Source: prometheus/prometheus, web/api/v1/api.go. */
import { CodedError } from '../../model/errors.ts';
import { compareCodePoints, METRIC_NAME } from '../../model/labels.ts';
import { SCOPE_ALL, type Scope } from '../../model/scope.ts';
import type { HeadReader } from '../../tsdb/head.ts';
import { familyOf, type Metadata, type MetricMetadata } from '../../tsdb/metadata.ts';
import { type Answer, plain } from './envelope.ts';
import { encodeString } from './json.ts';
import { textOf } from './parameters.ts';

export interface MetadataDeps {
  readonly head: Pick<HeadReader, 'labelValues'>;
  readonly metadata: Pick<Metadata, 'entries' | 'of'>;
}

type Family = readonly [name: string, metadata: readonly MetricMetadata[]];

export function answerMetadata(deps: MetadataDeps, form: URLSearchParams, scope: Scope = SCOPE_ALL): Answer {
  const limit = numberOf(form, 'limit') ?? Infinity;
  const perMetric = numberOf(form, 'limit_per_metric') ?? 0;
  const isVisible = visibleUnder(deps, scope);
  const families = familiesOf(deps, textOf(form, 'metric'))
    .filter(([name, metadata]) => metadata.length > 0 && isVisible(name, metadata))
    .sort(([a], [b]) => compareCodePoints(a, b));
  const found = limit < 0 ? families : families.slice(0, limit);
  return found.length === 0 ? plain({}) : { data: encodeFamilies(found, perMetric > 0 ? perMetric : Infinity) };
}

function familiesOf({ metadata }: MetadataDeps, metric: string): Family[] {
  return metric === '' ? [...metadata.entries()] : [[metric, metadata.of(metric)]];
}

/** Metadata carries no namespace: whoever sees some namespaces only is told of the metrics that have series there. */
function visibleUnder(
  { head }: MetadataDeps,
  scope: Scope,
): (name: string, metadata: readonly MetricMetadata[]) => boolean {
  if (scope === SCOPE_ALL) return () => true;
  const names = head.labelValues(METRIC_NAME, { matchers: [], fromMs: -Infinity, toMs: Infinity, scope });
  const seen = new Map<string, Set<string>>();
  const familiesAs = (type: MetricMetadata['type']): Set<string> => {
    const known = seen.get(type) ?? new Set(names.flatMap((name) => [name, familyOf(name, type)]));
    seen.set(type, known);
    return known;
  };
  return (name, metadata) => metadata.some(({ type }) => familiesAs(type).has(name));
}

function* encodeFamilies(families: readonly Family[], perMetric: number): Generator<string> {
  for (const [i, [name, metadata]] of families.entries()) {
    const list = metadata.slice(0, perMetric).map(encodeOne).join(',');
    yield `${i === 0 ? '{' : ','}${encodeString(name)}:[${list}]`;
  }
  yield '}';
}

function encodeOne({ type, help, unit }: MetricMetadata): string {
  return `{"type":"${type}","help":${encodeString(help)},"unit":${encodeString(unit)}}`;
}

/** Null if absent. */
function numberOf(form: URLSearchParams, name: string): number | null {
  const text = textOf(form, name);
  if (text === '') return null;
  if (!/^[+-]?\d+$/.test(text)) throw new CodedError('bad_data', `${name} must be a number`);
  return Number(text);
}
