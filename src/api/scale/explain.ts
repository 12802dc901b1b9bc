/**
 * `explain`: the whole chain of one Reading. Either of a `query` with its policy, or of what somebody asked before
 * (`surface`, `namespace` and `name`, or the `decision` of that id: then as of its time).
 */
import { CodedError } from '../../model/errors.ts';
import type { Scope } from '../../model/scope.ts';
import { type ExplainDeps, type ExplainedReading, explain } from '../../scaling/explanation.ts';
import type { Workload } from '../../scaling/forecast.ts';
import { POLICY_KEYS, type Policy, parsePolicy } from '../../scaling/policy.ts';
import type { ReadingRequest } from '../../scaling/reading.ts';
import type { Decision, Recorder } from '../../scaling/recorder.ts';
import { badData, checkNames, countOf, numberOf, textOf, timeMsOf } from './parameters.ts';

export interface ExplainQueryDeps extends ExplainDeps {
  readonly recorder: Pick<Recorder, 'decisions'>;
}

const WHO = ['surface', 'namespace', 'name'] as const;
const WORKLOAD = ['targetValue', 'targetType', 'activationTargetValue', 'replicas', 'minReplicas', 'maxReplicas'];
const NAMES = ['query', 'scope', 'time', 'decision', ...WHO, ...POLICY_KEYS, ...WORKLOAD];
const REPLICAS_MAX = 2 ** 31 - 1;

export async function answerExplain(deps: ExplainQueryDeps, form: URLSearchParams): Promise<ExplainedReading> {
  checkNames(form, NAMES);
  const decision = textOf(form, 'query') === null ? decisionOf(deps, form) : null;
  const request = decision === null ? requestOf(form) : requestOfDecision(decision, form);
  return explain(deps, request, workloadOf(form, decision));
}

function requestOf(form: URLSearchParams): ReadingRequest {
  const namespaces = form.getAll('scope');
  const scope: Scope = namespaces.length === 0 ? null : [...new Set(namespaces)].sort();
  const policy = policyOf((key) => textOf(form, key));
  return { query: textOf(form, 'query')!, scope, surface: 'keda', policy, ...timeOf(timeMsOf(form, 'time')) };
}

function requestOfDecision({ subject, timeMs }: Decision, form: URLSearchParams): ReadingRequest {
  if (subject.surface === 'kedify') {
    throw badData('cannot explain a metricQuery: its decision says what was found; try it at POST /memstore/query');
  }
  const policy = new Map(subject.policy.split(' ').map((part) => part.split('=') as [string, string]));
  return {
    query: subject.query,
    scope: subject.scope,
    matchers: subject.matchers,
    surface: 'keda',
    policy: policyOf((key) => policy.get(key) ?? null),
    ...timeOf(timeMsOf(form, 'time') ?? (form.has('decision') ? timeMs : null)),
  };
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
  if (id === null && filter.name === undefined) throw badData('want a query, a name, or the id of a decision');
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
