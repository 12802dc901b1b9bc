/** `labels`, `label/…/values` and `series`: what is in the store, without any sample. */
import { CodedError } from '../../model/errors.ts';
import { compareCodePoints, compareLabels, type Labels, labelsKey } from '../../model/labels.ts';
import { type Matcher, matchesEmpty } from '../../model/matcher.ts';
import { SCOPE_ALL } from '../../model/scope.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import type { HeadReader, SelectRequest } from '../../tsdb/head.ts';
import { type Answer, limited } from './envelope.ts';
import { encodeLabelSets, encodeStrings } from './json.ts';
import { boundsOf, inParameter, limitOf } from './parameters.ts';

export interface SelectorDeps {
  readonly engine: Pick<QueryEngine, 'parseSelector'>;
}

export interface SeriesDeps extends SelectorDeps {
  readonly head: Pick<HeadReader, 'select' | 'labelNames' | 'labelValues'>;
}

const MATCH = 'match[]';

export function answerLabelNames(deps: SeriesDeps, form: URLSearchParams): Answer {
  return answerStrings(deps, form, (request) => deps.head.labelNames(request));
}

/** `segment` is the label's name as it stands in the path, decoded. */
export function answerLabelValues(deps: SeriesDeps, segment: string, form: URLSearchParams): Answer {
  const name = unescapeName(segment);
  if (name === '') throw badData(`invalid label name: ${JSON.stringify(name)}`);
  return answerStrings(deps, form, (request) => deps.head.labelValues(name, request));
}

export function answerSeries(deps: SeriesDeps, form: URLSearchParams): Answer {
  if (!form.has(MATCH)) throw badData('no match[] parameter provided');
  const limit = limitOf(form);
  const bounds = boundsOf(form);
  const selectors = inParameter(MATCH, () => selectorsOf(deps, form));
  const found = new Map<string, Labels>();
  for (const request of requestsOf(selectors, bounds)) {
    for (const labels of labelSetsOf(deps, request)) found.set(labelsKey(labels), labels);
  }
  return limited([...found.values()].sort(compareLabels), limit, encodeLabelSets);
}

/**
 * A name as Prometheus escapes it for places that take only letters, digits and underscores: `U__` in front, `__` for
 * an underscore, `_1F600_` for a code point. What is not a right escape stands for itself.
 * Source: prometheus/common, model/metric.go, UnescapeName.
 */
export function unescapeName(name: string): string {
  if (!/^U__(?:[^_]|__|_[0-9a-fA-F]{1,6}_)*$/s.test(name)) return name;
  const escaped = name.slice(3);
  const points = [...escaped.matchAll(ESCAPE)].map(([, hex = '5f']) => Number.parseInt(hex, 16));
  if (points.some((point) => point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))) return name;
  let next = 0;
  return escaped.replaceAll(ESCAPE, () => String.fromCodePoint(points[next++]!));
}

/** An underscore is 0x5f; it stands doubled. */
const ESCAPE = /__|_([0-9a-fA-F]+)_/g;

function answerStrings(
  deps: SeriesDeps,
  form: URLSearchParams,
  find: (request: SelectRequest) => readonly string[],
): Answer {
  const limit = limitOf(form);
  const bounds = boundsOf(form);
  const requests = requestsOf(selectorsOf(deps, form), bounds);
  // Without a selector all series are asked.
  if (requests.length === 0) requests.push(requestOf([], bounds));
  const found = requests.map(find);
  const strings = found.length === 1 ? found[0]! : [...new Set(found.flat())].sort(compareCodePoints);
  return limited(strings, limit, encodeStrings);
}

/** Matchers of each `match[]`; at least one of each must want something. */
export function selectorsOf({ engine }: SelectorDeps, form: URLSearchParams): readonly (readonly Matcher[])[] {
  const selectors = form.getAll(MATCH).map((text) => engine.parseSelector(text));
  if (selectors.some((matchers) => matchers.every(matchesEmpty))) {
    throw badData('match[] must contain at least one non-empty matcher');
  }
  return selectors;
}

interface Bounds {
  readonly startMs: number;
  readonly endMs: number;
}

function requestsOf(selectors: readonly (readonly Matcher[])[], bounds: Bounds): SelectRequest[] {
  return selectors.map((matchers) => requestOf(matchers, bounds));
}

/** The API's bounds include both ends, the store's leave out the first. */
function requestOf(matchers: readonly Matcher[], { startMs, endMs }: Bounds): SelectRequest {
  return { matchers, fromMs: startMs - 1, toMs: endMs, scope: SCOPE_ALL };
}

function labelSetsOf({ head }: SeriesDeps, request: SelectRequest): readonly Labels[] {
  const selection = head.select(request);
  try {
    return Array.from({ length: selection.count }, (_, i) => selection.labels(i));
  } finally {
    selection.close();
  }
}

function badData(message: string): CodedError {
  return new CodedError('bad_data', message);
}
