/** Compiled rules: what each takes, under which names, and the PromQL that answers a request. */
import type { Matcher } from '../../../model/matcher.ts';
import { NAMESPACE_LABELS, SCOPE_ALL, type Scope } from '../../../model/scope.ts';
import type { Requirement } from '../label-selector.ts';
import type { AdapterConfig, DiscoveryRule, ResourceRule } from './config.ts';
import { isRootScoped, type Kind, type Kinds } from './kinds.ts';
import { compileNames, type NameOf, ResourceLabels, RuleError } from './naming.ts';
import { anyObject, type Condition, conditionOf, MetricsQuery, objectCondition, type QueryParts } from './query.ts';

export type Section = 'rules' | 'externalRules';

export interface Rule {
  readonly seriesQuery: string;
  readonly matchers: readonly Matcher[];
  readonly nameOf: NameOf;
  readonly labels: ResourceLabels;
  /** False lets an external rule answer from every namespace. */
  readonly namespaced: boolean;
  readonly query: MetricsQuery;
}

/** A query and the scope and matchers under which it runs. */
export interface ScopedQuery {
  readonly promql: string;
  readonly scope: Scope;
  /** Added to every selector. */
  readonly matchers: readonly Matcher[];
}

export interface Objects {
  readonly kind: Kind;
  /** Null for every object. */
  readonly names: readonly string[] | null;
  /** Null for kinds without a namespace. */
  readonly namespace: string | null;
}

/** Compiles a rule; throws `RuleError`. `parseSelector` throws for what is no series selector. */
export function compileRule(
  rule: DiscoveryRule,
  kinds: Kinds,
  parseSelector: (text: string) => readonly Matcher[],
): Rule {
  const { seriesQuery, resources } = rule;
  const nameOf = compileNames(rule);
  const labels = new ResourceLabels(resources, kinds);
  const query = new MetricsQuery(rule.metricsQuery, seriesQuery);
  return {
    seriesQuery,
    matchers: parseSelector(seriesQuery),
    nameOf,
    labels,
    namespaced: resources.namespaced ?? true,
    query,
  };
}

/** Query parts of an external metric. Throws `RuleError`, and `bad_data` for a selector that PromQL cannot express. */
export function externalParts(
  rule: Pick<Rule, 'labels' | 'namespaced'>,
  kinds: Kinds,
  series: string,
  namespace: string,
  selector: readonly Requirement[],
): QueryParts {
  const conditions = selector.map(conditionOf);
  if (rule.namespaced) conditions.push(objectCondition(namespaceLabel(rule.labels, kinds), [namespace]));
  return { series, conditions, groupBy: [] };
}

/** Query parts for objects: selector, namespace, objects. */
export function objectParts(
  labels: ResourceLabels,
  kinds: Kinds,
  series: string,
  { kind, names, namespace }: Objects,
  selector: readonly Requirement[],
  moreGroupBy: readonly string[] = [],
): QueryParts {
  const label = labels.labelOf(kind);
  const conditions: Condition[] = selector.map(conditionOf);
  if (namespace !== null && !isRootScoped(kind)) {
    conditions.push(objectCondition(namespaceLabel(labels, kinds), [namespace]));
  }
  conditions.push(names === null ? anyObject(label) : objectCondition(label, names));
  return { series, conditions, groupBy: [label, ...moreGroupBy] };
}

/**
 * The namespace of a request is the scope of its query. Where a rule takes another label for the namespace than series
 * usually have, a matcher of that label on every selector does what the scope would do.
 */
export function scopeOf(
  labels: ResourceLabels,
  kinds: Kinds,
  namespace: string | null,
): Pick<ScopedQuery, 'scope' | 'matchers'> {
  if (namespace === null) return { scope: SCOPE_ALL, matchers: [] };
  const label = namespaceLabel(labels, kinds);
  if ((NAMESPACE_LABELS as readonly string[]).includes(label)) return { scope: [namespace], matchers: [] };
  return { scope: SCOPE_ALL, matchers: [{ type: '=', name: label, value: namespace }] };
}

function namespaceLabel(labels: ResourceLabels, kinds: Kinds): string {
  return labels.labelOf(kinds.find({ group: '', resource: 'namespaces' })!);
}

export interface CompiledResourceRule {
  readonly containerQuery: MetricsQuery;
  readonly nodeQuery: MetricsQuery;
  readonly labels: ResourceLabels;
  readonly containerLabel: string;
}

export function compileResourceRule(rule: ResourceRule, kinds: Kinds): CompiledResourceRule {
  return {
    containerQuery: new MetricsQuery(rule.containerQuery, ''),
    nodeQuery: new MetricsQuery(rule.nodeQuery, ''),
    labels: new ResourceLabels(rule.resources, kinds),
    containerLabel: rule.containerLabel,
  };
}

/** A rule that cannot be used, and why; the others go on. */
export interface BadRule {
  readonly section: string;
  /** Its place in the section, from 0. */
  readonly index: number;
  readonly reason: string;
}

export interface RuleSet {
  readonly rules: readonly Rule[];
  readonly externalRules: readonly Rule[];
  readonly resourceRules: {
    readonly cpu: CompiledResourceRule;
    readonly memory: CompiledResourceRule;
    readonly windowMs: number;
  } | null;
  readonly bad: readonly BadRule[];
  /** API groups that the configuration serves. */
  readonly groups: readonly string[];
}

export function compileRules(
  config: AdapterConfig,
  kinds: Kinds,
  parseSelector: (text: string) => readonly Matcher[],
): RuleSet {
  const bad: BadRule[] = [];
  const attempt = <T>(section: string, index: number, compile: () => T): T | null => {
    try {
      return compile();
    } catch (error) {
      bad.push({ section, index, reason: error instanceof Error ? error.message : String(error) });
      return null;
    }
  };
  const all = (section: Section): Rule[] =>
    config[section].flatMap((rule, i) => attempt(section, i, () => compileRule(rule, kinds, parseSelector)) ?? []);
  const { resourceRules } = config;
  const compiled =
    resourceRules === null
      ? null
      : attempt('resourceRules', 0, () => ({
          cpu: compileResourceRule(resourceRules.cpu, kinds),
          memory: compileResourceRule(resourceRules.memory, kinds),
          windowMs: resourceRules.windowMs,
        }));
  return {
    rules: all('rules'),
    externalRules: all('externalRules'),
    resourceRules: compiled,
    bad,
    groups: groupsOf(config),
  };
}

export const GROUPS = {
  external: 'external.metrics.k8s.io',
  custom: 'custom.metrics.k8s.io',
  resource: 'metrics.k8s.io',
} as const;

/** A section that is empty or absent serves nothing. */
export function groupsOf({ rules, externalRules, resourceRules }: AdapterConfig): string[] {
  const groups: string[] = [];
  if (externalRules.length > 0) groups.push(GROUPS.external);
  if (rules.length > 0) groups.push(GROUPS.custom);
  if (resourceRules !== null) groups.push(GROUPS.resource);
  return groups;
}

export { RuleError };
