/**
 * `explain`: the whole chain of one answer. Either of a `query` or a `metricQuery` with its policy, or of what somebody
 * asked before (`surface`, `namespace` and `name`, or the `decision` of that id: then as of its time).
 */
import { CodedError } from '../../model/errors.ts';
import type { Scope } from '../../model/scope.ts';
import { type ExplainDeps, type ExplainedReading, explain } from '../../scaling/explanation.ts';
import type { Workload } from '../../scaling/forecast.ts';
import { explainKedify } from '../../scaling/kedify/kedify-explanation.ts';
import type { KedifyReadings, KedifyRequest } from '../../scaling/kedify/kedify-readings.ts';
import { operationOf } from '../../scaling/kedify/metric-query.ts';
import { POLICY_KEYS, type Policy, parsePolicy } from '../../scaling/policy.ts';
import type { ReadingRequest } from '../../scaling/reading.ts';
import type { Decision, Recorder } from '../../scaling/recorder.ts';
import { badData, checkNames, countOf, numberOf, textOf, timeMsOf } from './parameters.ts';

export interface ExplainQueryDeps extends ExplainDeps {
  readonly recorder: Pick<Recorder, 'decisions'>;
  /** Left out, a `metricQuery` cannot be explained. */
  readonly kedify?: Pick<KedifyReadings, 'explain'> | null;
}

const WHO = ['surface', 'namespace', 'name'] as const;
const WORKLOAD = ['targetValue', 'targetType', 'activationTargetValue', 'replicas', 'minReplicas', 'maxReplicas'];
const NAMES = [
  'query',
  'metricQuery',
  'operationOverTime',
  'scope',
  'time',
  'decision',
  ...WHO,
  ...POLICY_KEYS,
  ...WORKLOAD,
];
const REPLICAS_MAX = 2 ** 31 - 1;

export async function answerExplain(deps: ExplainQueryDeps, form: URLSearchParams): Promise<ExplainedReading> {
  checkNames(form, NAMES);
  const isAsked = textOf(form, 'query') !== null || textOf(form, 'metricQuery') !== null;
  const decision = isAsked ? null : decisionOf(deps, form);
  const workload = workloadOf(form, decision);
  const metricQuery = decision?.subject.surface === 'kedify' ? decision.subject.query : textOf(form, 'metricQuery');
  if (metricQuery === null) {
    return explain(deps, decision === null ? requestOf(form) : requestOfDecision(decision, form), workload);
  }
  const { kedify, head } = deps;
  if (kedify === null || kedify === undefined) throw badData('cannot explain a metricQuery: they are turned off here');
  return explainKedify({ kedify, head }, kedifyRequestOf(metricQuery, form, decision), workload);
}

function requestOf(form: URLSearchParams): ReadingRequest {
  const policy = policyOf((key) => textOf(form, key));
  return {
    query: textOf(form, 'query')!,
    scope: scopeOf(form),
    surface: 'keda',
    policy,
    ...timeOf(timeMsOf(form, 'time')),
  };
}

function requestOfDecision(decision: Decision, form: URLSearchParams): ReadingRequest {
  const { subject } = decision;
  const keys = policyKeysOf(decision);
  return {
    query: subject.query,
    scope: subject.scope,
    matchers: subject.matchers,
    surface: 'keda',
    policy: policyOf((key) => keys.get(key) ?? null),
    ...timeOf(timeOfDecision(decision, form)),
  };
}

function kedifyRequestOf(metricQuery: string, form: URLSearchParams, decision: Decision | null): KedifyRequest {
  const keys = decision === null ? null : policyKeysOf(decision);
  const of = (key: string): string | null => (keys === null ? textOf(form, key) : (keys.get(key) ?? null));
  if (textOf(form, 'query') !== null) throw badData('cannot explain: got query and metricQuery, want one of them');
  const { windowMs, freshnessMs, clampMin, clampMax, noData } = policyOf((key) => (key === 'reduce' ? null : of(key)));
  const operation = operationOf(of('operationOverTime') ?? 'last_one');
  if (operation === null) throw badData(`unknown operationOverTime: ${of('operationOverTime')}`);
  return {
    metricQuery,
    operation,
    clampMin,
    clampMax,
    windowMs,
    freshnessMs,
    noData: of('noData') === null ? null : noData,
    scope: decision === null ? scopeOf(form) : decision.subject.scope,
    ...timeOf(decision === null ? timeMsOf(form, 'time') : timeOfDecision(decision, form)),
  };
}

function scopeOf(form: URLSearchParams): Scope {
  const namespaces = form.getAll('scope');
  return namespaces.length === 0 ? null : [...new Set(namespaces)].sort();
}

/** What the decision's policy says, by key. */
function policyKeysOf({ subject }: Decision): ReadonlyMap<string, string> {
  return new Map(subject.policy.split(' ').map((part) => part.split('=') as [string, string]));
}

/** A decision that was named by its id is explained as of its time. */
function timeOfDecision({ timeMs }: Decision, form: URLSearchParams): number | null {
  return timeMsOf(form, 'time') ?? (form.has('decision') ? timeMs : null);
}

function timeOf(timeMs: number | null): { readonly timeMs?: number } {
  return timeMs === null ? {} : { timeMs };
}

function policyOf(of: Parameters<typeof parsePolicy>[0]): Policy {
  try {
    return parsePolicy(of);
  } catch (error) {
    if (error instanceof CodedError) throw badData(error.message);
    throw error;
  }
}

/** The newest decision that is meant; throws `not_found`. */
function decisionOf({ recorder }: ExplainQueryDeps, form: URLSearchParams): Decision {
  const id = countOf(form, 'decision', 0, Number.MAX_SAFE_INTEGER);
  const filter: Record<string, string> = {};
  for (const name of WHO) {
    const text = textOf(form, name);
    if (text !== null) filter[name] = text;
  }
  if (id === null && filter.name === undefined)
    throw badData('want a query, a metricQuery, a name, or the id of a decision');
  const [found] = recorder.decisions({ ...filter, ...(id === null ? {} : { before: id + 1 }), limit: 1 });
  if (found === undefined || (id !== null && found.id !== id)) {
    throw new CodedError('not_found', 'no such decision in the flight recorder: nobody asked, or it is written over');
  }
  return found;
}

function workloadOf(form: URLSearchParams, decision: Decision | null): Workload {
  const targetType = textOf(form, 'targetType') ?? 'AverageValue';
  if (targetType !== 'AverageValue' && targetType !== 'Value') {
    throw badData(`invalid parameter "targetType": got ${JSON.stringify(targetType)}, want AverageValue or Value`);
  }
  return {
    targetType,
    target: numberOf(form, 'targetValue') ?? decision?.subject.target ?? null,
    activation: numberOf(form, 'activationTargetValue') ?? decision?.subject.activation ?? null,
    replicas: countOf(form, 'replicas', 0, REPLICAS_MAX),
    minReplicas: countOf(form, 'minReplicas', 0, REPLICAS_MAX),
    maxReplicas: countOf(form, 'maxReplicas', 1, REPLICAS_MAX),
  };
}
