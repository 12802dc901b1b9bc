/** Cases of prometheus-adapter's rules: names, discovery, generated PromQL, errors, and which groups are served. */

import { stringify } from 'yaml';
import { buildCatalog, isNamespaced, type SeriesIndex } from '../../../../src/api/kubernetes/adapter/catalog.ts';
import type { AdapterConfig } from '../../../../src/api/kubernetes/adapter/config.ts';
import { type Kind, Kinds, qualifiedName } from '../../../../src/api/kubernetes/adapter/kinds.ts';
import { compileNames } from '../../../../src/api/kubernetes/adapter/naming.ts';
import type { QueryParts } from '../../../../src/api/kubernetes/adapter/query.ts';
import {
  compileResourceRule,
  compileRule,
  compileRules,
  externalParts,
  objectParts,
  type Rule,
} from '../../../../src/api/kubernetes/adapter/rules.ts';
import { parseRequirements } from '../../../../src/api/kubernetes/label-selector.ts';
import { objectMetricNotFound, ruleFault, StatusError } from '../../../../src/api/kubernetes/status.ts';
import { parseAdapterFile } from '../../../../src/config/adapter-file.ts';
import { adapterArguments } from '../../../../src/config/adapter-flags.ts';
import { CodedError } from '../../../../src/model/errors.ts';
import { parseExpr, parseMetricSelector } from '../../../../src/promql/syntax/parse.ts';
import { printExpr } from '../../../../src/promql/syntax/print.ts';
import { mismatch } from './match.ts';
import { type CaseResult, expectEqual, runCase } from './result.ts';

interface AdapterRequest {
  readonly namespace?: string;
  readonly resource?: string;
  readonly names?: readonly string[];
  readonly labelSelector?: string;
  readonly metricLabelSelector?: string;
  readonly query?: 'containerQuery' | 'nodeQuery';
}

interface WantedError {
  readonly stage: 'load' | 'start' | 'request';
  readonly code?: number;
  readonly message?: string;
  readonly messageContains?: string;
}

interface AdapterCase {
  readonly id: string;
  readonly kind: 'name' | 'discovery' | 'query' | 'error' | 'sections';
  readonly section?: 'rules' | 'externalRules' | 'resourceRules';
  readonly rule?: object;
  readonly rules?: readonly object[];
  readonly series?:
    | string
    | readonly { readonly name: string; readonly labels: readonly string[]; readonly selectedBy?: number }[];
  readonly request?: AdapterRequest;
  readonly flags?: readonly string[];
  readonly yaml?: string;
  readonly expect: unknown;
}

export interface AdapterFile {
  readonly meta: {
    readonly fixture: {
      readonly resources: readonly {
        readonly resource: string;
        readonly singular: string;
        readonly namespaced: boolean;
      }[];
    };
  };
  readonly cases: readonly AdapterCase[];
}

export async function runAdapterRules(file: AdapterFile): Promise<CaseResult[]> {
  const kinds = new Kinds(file.meta.fixture.resources.map(toKind));
  return Promise.all(file.cases.map((one) => runCase(one.id, () => RUN[one.kind](one, kinds))));
}

function toKind({ resource, singular, namespaced }: { resource: string; singular: string; namespaced: boolean }): Kind {
  const [plural = '', ...group] = resource.split('.');
  return { resource: plural, group: group.join('.'), version: 'v1', singular, kind: singular, namespaced };
}

type Run = (one: AdapterCase, kinds: Kinds) => string | null;

const RUN: Readonly<Record<AdapterCase['kind'], Run>> = {
  name(one) {
    const [rule] = configOf(one)[one.section as 'rules'];
    const nameOf = compileNames(rule!);
    const wanted = one.expect as readonly { readonly series: string; readonly api: string | null }[];
    return expectEqual(
      wanted.map(({ series }) => ({ series, api: nameOf(series) })),
      wanted,
    );
  },
  discovery(one, kinds) {
    const rules = compileRules(configOf(one), kinds, parseSelector);
    if (rules.bad.length > 0) return rules.bad[0]!.reason;
    const build = buildCatalog(rules, fixtureIndex(one, rules.rules));
    let step = build.next();
    while (!step.done) step = build.next();
    const got = [...step.value.custom].map(([name, { kind, series }]) => ({
      name,
      namespaced: isNamespaced(kind),
      series,
    }));
    return expectEqual({ resources: got }, one.expect);
  },
  query(one, kinds) {
    const { promql } = one.expect as { readonly promql: string };
    const { text, parsed } = queryOf(one, kinds);
    if (text !== promql) return `got ${text}, want ${promql}`;
    const wanted = canonical(promql);
    // What is no PromQL even for the adapter is compared as text alone.
    if (wanted === null) return null;
    const built = canonical(parsed().replaceAll('\\\\', ''));
    return built === wanted ? null : `built ${built}, want ${wanted}`;
  },
  error(one, kinds) {
    const { error: wanted } = one.expect as { readonly error: WantedError };
    const stage = { load: loadError, start: startError, request: requestError }[wanted.stage];
    const got = stage(one, kinds);
    if (got === null) return 'no error';
    if (wanted.code !== undefined && got.code !== wanted.code) return `code ${got.code}, want ${wanted.code}`;
    if (wanted.message !== undefined && got.message !== wanted.message)
      return `got ${got.message}, want ${wanted.message}`;
    const part = wanted.messageContains ?? '';
    return got.message.includes(part) ? null : `got ${got.message}, want it to hold ${part}`;
  },
  sections(one, kinds) {
    const { groups, bad } = compileRules(parseAdapterFile(one.yaml!), kinds, parseSelector);
    return (
      bad[0]?.reason ?? mismatch({ groups: { $unordered: (one.expect as { groups: string[] }).groups } }, { groups })
    );
  },
};

function parseSelector(text: string) {
  return parseMetricSelector(text, PARSE).matchers;
}

const PARSE = {
  features: {
    experimentalFunctions: true,
    durationExpressions: true,
    extendedRangeSelectors: true,
    fillModifiers: true,
  },
  depthMax: 100,
};

/** A rule as the file's reader gives it. */
function configOf({ section, rule, rules = [rule!], yaml }: AdapterCase): AdapterConfig {
  if (yaml !== undefined) return parseAdapterFile(yaml);
  if (section === 'resourceRules') return parseAdapterFile(stringify({ resourceRules: { cpu: rule, memory: rule } }));
  return parseAdapterFile(stringify({ [section!]: rules }));
}

/** Series as the case gives them: which rule found a series is said there, not by its matchers. */
function fixtureIndex({ series = [] }: AdapterCase, rules: readonly Rule[]): SeriesIndex {
  if (typeof series === 'string') throw new Error('want a list of series');
  const found = (matchers: Parameters<SeriesIndex['metricNames']>[0]) => {
    const rule = rules.findIndex((one) => one.matchers.every((matcher, i) => matcher === matchers[i]));
    const labels = matchers.slice(rules[rule]!.matchers.length).map(({ name }) => name);
    return series.filter(
      (one) => (one.selectedBy ?? rule) === rule && labels.every((label) => one.labels.includes(label)),
    );
  };
  return {
    metricNames: (matchers) => found(matchers).map(({ name }) => name),
    labelNames: (matchers) => found(matchers).flatMap(({ labels }) => labels),
    version: () => 0,
  };
}

function queryOf(one: AdapterCase, kinds: Kinds): { readonly text: string; readonly parsed: () => string } {
  const { section, request = {} } = one;
  const series = one.series as string;
  if (section === 'resourceRules') {
    const rule = compileResourceRule(configOf(one).resourceRules!.cpu, kinds);
    const isContainer = request.query === 'containerQuery';
    const query = isContainer ? rule.containerQuery : rule.nodeQuery;
    const parts = objectParts(
      rule.labels,
      kinds,
      series,
      objectsOf(request, kinds),
      [],
      isContainer ? [rule.containerLabel] : [],
    );
    return { text: query.adapterText(parts), parsed: () => query.promql(parts) };
  }
  const rule = compileRule(configOf(one)[section!][0]!, kinds, parseSelector);
  const parts = partsOf(rule, one, kinds);
  return { text: rule.query.adapterText(parts), parsed: () => rule.query.promql(parts) };
}

function partsOf(rule: Rule, { section, series, request = {} }: AdapterCase, kinds: Kinds): QueryParts {
  if (section === 'externalRules') {
    return externalParts(
      rule,
      kinds,
      series as string,
      request.namespace!,
      parseRequirements(request.labelSelector ?? ''),
    );
  }
  const selector = parseRequirements(request.metricLabelSelector ?? '');
  return objectParts(rule.labels, kinds, series as string, objectsOf(request, kinds), selector);
}

function objectsOf(
  {
    namespace = null,
    resource,
    names = [],
  }: { namespace?: string | null; resource?: string; names?: readonly string[] },
  kinds: Kinds,
) {
  const kind = kinds.byQualifiedName(resource!)!;
  if (names.length === 0) throw objectMetricNotFound('http_requests_total', qualifiedName(kind));
  return { kind, names, namespace };
}

/** The text of an expression once parsed, or null if it is none. */
function canonical(text: string): string | null {
  try {
    return printExpr(parseExpr(text, PARSE));
  } catch {
    return null;
  }
}

interface GotError {
  readonly message: string;
  readonly code: number | null;
}

function loadError(one: AdapterCase, kinds: Kinds): GotError | null {
  try {
    const [bad] = compileRules(configOf(one), kinds, parseSelector).bad;
    return bad === undefined ? null : { message: bad.reason, code: null };
  } catch (error) {
    return { message: (error as Error).message, code: null };
  }
}

function startError({ flags = [], yaml = '' }: AdapterCase): GotError | null {
  try {
    adapterArguments(flags, () => parseAdapterFile(yaml).rules.length > 0);
    return null;
  } catch (error) {
    return { message: (error as Error).message, code: null };
  }
}

/** What the surface would answer; the reason of an internal error stands in its causes. */
function requestError(one: AdapterCase, kinds: Kinds): GotError | null {
  try {
    ruleFault(() => queryOf(one, kinds).parsed());
    return null;
  } catch (error) {
    if (!(error instanceof StatusError)) {
      if (error instanceof CodedError) return { message: error.message, code: error.httpStatus };
      throw error;
    }
    const [cause] = error.causes;
    return { message: cause?.message ?? error.message, code: error.httpStatus };
  }
}
