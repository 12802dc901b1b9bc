/**
 * Which metrics there are: the rules applied to the series that the store holds at this moment. A catalog is made in
 * slices, some hundred names each, and is a snapshot; whoever asks decides when to make the next.
 */
import { METRIC_NAME } from '../../../model/labels.ts';
import type { Matcher } from '../../../model/matcher.ts';
import { isRootScoped, type Kind, qualifiedName } from './kinds.ts';
import type { Rule, RuleSet } from './rules.ts';

/** What is asked of the store's index. */
export interface SeriesIndex {
  /** Metric names of the series that fulfil all matchers, sorted. */
  metricNames(matchers: readonly Matcher[]): readonly string[];
  /** Names of the labels that these series carry. */
  labelNames(matchers: readonly Matcher[]): readonly string[];
  /** Another number whenever series came or went. */
  version(): number;
}

export interface ExternalEntry {
  readonly rule: Rule;
  readonly series: string;
}

export interface CustomEntry extends ExternalEntry {
  readonly kind: Kind;
}

export interface Catalog {
  /** By metric name, sorted. */
  readonly external: ReadonlyMap<string, ExternalEntry>;
  /** By `pods/http_requests`, sorted. */
  readonly custom: ReadonlyMap<string, CustomEntry>;
}

/** Names that a path cannot carry, or that Kubernetes reads as something else, are not served. */
export function isServable(metric: string): boolean {
  return metric !== '' && !NAMES_REFUSED.has(metric) && !/[/%\s\p{Cc}]/u.test(metric) && metric.length <= 253;
}

const NAMES_REFUSED: ReadonlySet<string> = new Set(['.', '..', 'status', 'finalize', 'watch', 'proxy']);

/** A few milliseconds of regular expressions. */
const NAMES_A_SLICE = 256;

export function* buildCatalog(rules: RuleSet, index: SeriesIndex): Generator<void, Catalog> {
  const external = new Map<string, ExternalEntry>();
  for (const rule of rules.externalRules) {
    for (const [i, series] of index.metricNames(rule.matchers).entries()) {
      if (i % NAMES_A_SLICE === 0) yield;
      const name = rule.nameOf(series);
      if (name !== null && isServable(name)) external.set(name, { rule, series });
    }
    yield;
  }
  const custom = new Map<string, CustomEntry>();
  for (const rule of rules.rules) yield* addCustom(rule, index, custom);
  return { external: sorted(external), custom: sorted(custom) };
}

/** Each label that stands for a kind gives a resource to each series that carries it. */
function* addCustom(rule: Rule, index: SeriesIndex, into: Map<string, CustomEntry>): Generator<void, void> {
  for (const [label, kind] of labelsOf(rule, index)) {
    const matchers: Matcher[] = [...rule.matchers, { type: '!=', name: label, value: '' }];
    for (const [i, series] of index.metricNames(matchers).entries()) {
      if (i % NAMES_A_SLICE === 0) yield;
      const name = rule.nameOf(series);
      if (name !== null && isServable(name)) into.set(`${qualifiedName(kind)}/${name}`, { rule, series, kind });
    }
    yield;
  }
}

function labelsOf({ labels, matchers }: Rule, index: SeriesIndex): ReadonlyMap<string, Kind> {
  if (!labels.hasTemplate) return labels.overrides;
  const found = new Map<string, Kind>();
  for (const label of index.labelNames(matchers)) {
    const kind = label === METRIC_NAME ? null : labels.kindOf(label);
    if (kind !== null) found.set(label, kind);
  }
  return found;
}

function sorted<T>(entries: ReadonlyMap<string, T>): Map<string, T> {
  return new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Whether metrics of a kind lie in a namespace: of all but three kinds they count as if they did. */
export function isNamespaced(kind: Kind): boolean {
  return !isRootScoped(kind);
}
