/** What the routes below /api/v1/scale are, for the OpenAPI document. */
import { type Described, listOf, NUMBER, nullable, objectOf, type Parameter, type Schema, TEXT } from '../openapi.ts';

const TIME: Parameter = { description: 'RFC 3339, or seconds since 1970.' };
const POLICY: Readonly<Record<string, Parameter>> = {
  noData: { description: 'What is answered without data: `error`, `last`, `last:10m`, `zero` or a number.' },
  freshness: { description: 'How old the newest sample of a sender may be.' },
  reduce: { description: 'Makes one value of several: sum, avg, min, max or count.' },
  clampMin: { description: 'The least value.' },
  clampMax: { description: 'The greatest value.' },
  window: { description: 'The average over that long instead of the value now.' },
  activationTargetValue: { description: 'KEDA is active above it.' },
};
const WHO: Readonly<Record<string, Parameter>> = {
  surface: { description: '`keda`, `kedify` or `kubernetes`.' },
  namespace: { description: 'Of the ScaledObject or HPA.' },
  name: { description: 'Of the ScaledObject, or of the metric of an HPA.' },
};
const ERRORS = { 400: 'a parameter is not known or wrong', 404: 'there is no such decision' };

function envelope(data: Schema): Schema {
  return objectOf({ status: { const: 'success' }, data });
}

const DECISION: Schema = objectOf({
  id: NUMBER,
  time: TEXT,
  surface: TEXT,
  namespace: TEXT,
  name: TEXT,
  query: TEXT,
  outcome: TEXT,
  value: nullable(NUMBER),
  reason: TEXT,
  latencyMs: NUMBER,
});

export const DECISIONS: Described = {
  tag: 'scale',
  summary: 'What autoscalers were told, newest first',
  parameters: {
    ...WHO,
    outcome: { description: '`value`, `held`, or the code of an absence.' },
    start: TIME,
    end: TIME,
    before: { description: 'The `next` of the page before.' },
    limit: { description: 'Decisions of a page, 100 if absent.', example: '10' },
  },
  reply: envelope(objectOf({ decisions: listOf(DECISION), next: nullable(NUMBER) })),
  errors: { 400: ERRORS[400] },
};

export const EXPLAIN: Described = {
  tag: 'scale',
  summary: 'Why: the whole chain of one answer',
  description:
    'Of a query or a metricQuery with its policy, of what a ScaledObject asked last (name), or of one decision.',
  parameters: {
    query: { description: 'A PromQL expression.', example: 'sum(up)' },
    metricQuery: { description: 'Instead of it, a question in the language of Kedify’s scaler.' },
    operationOverTime: { description: 'Of a metricQuery: last_one, min, max, avg, rate or count.' },
    ...WHO,
    decision: { description: 'The id of a decision.' },
    scope: { description: 'A namespace that is seen; may be given several times. All, if absent.' },
    time: TIME,
    ...POLICY,
    targetValue: { description: 'Per replica, or in all with targetType=Value.' },
    targetType: { description: '`AverageValue` or `Value`.' },
    replicas: { description: 'How many run now.' },
    minReplicas: { description: 'Bound of the HPA.' },
    maxReplicas: { description: 'Bound of the HPA.' },
  },
  reply: envelope({ type: 'object' }),
  errors: ERRORS,
};

const VALUE_REPLY = objectOf({ value: NUMBER });
const VALUE_ERRORS = {
  400: 'the query or a parameter cannot be read',
  404: 'no series match, or the metric is not known',
  422: 'the answer is several series',
  503: 'there is no value: stale, warming up, not a number, negative',
};

export const VALUE: Described = {
  tag: 'scale',
  summary: "One value, for KEDA's metrics-api trigger",
  parameters: {
    query: { description: 'A PromQL expression.', isRequired: true, example: 'sum(up)' },
    namespace: { description: 'Noted in the decision.' },
    name: { description: 'Noted in the decision.' },
    ...POLICY,
  },
  reply: VALUE_REPLY,
  errors: VALUE_ERRORS,
};

export const VALUE_BY_PATH: Described = {
  ...VALUE,
  summary: 'The same with the query as the rest of the path',
  parameters: POLICY,
  path: { '*': { description: 'A PromQL expression.', example: 'sum(up)', isRequired: true } },
};
