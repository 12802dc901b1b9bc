/**
 * The chain of an answer to a `metricQuery` as plain data, in the shape of explanation.ts: under which names its metric is
 * stored, which series are alive, what the query gives of them, what clamps and the not-found rules made of it, and what
 * KEDA and an HPA will make of the answer.
 */
import { METRIC_NAME } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { formatDuration } from '../../model/time.ts';
import type { HeadReader } from '../../tsdb/head.ts';
import { outcomeOf } from '../answer.ts';
import { formatTime, selectorText } from '../diagnosis.ts';
import { type ExplainedReading, type ExplainedSelector, explainSeriesOf } from '../explanation.ts';
import { forecast, type Workload } from '../forecast.ts';
import type { Step } from '../reading.ts';
import { type KedifyExplanation, type KedifyReadings, type KedifyRequest, policyText } from './kedify-readings.ts';

export interface ExplainKedifyDeps {
  readonly kedify: Pick<KedifyReadings, 'explain'>;
  readonly head: Pick<HeadReader, 'select'>;
}

export async function explainKedify(
  { kedify, head }: ExplainKedifyDeps,
  request: KedifyRequest,
  workload: Workload,
): Promise<ExplainedReading> {
  const explanation = await kedify.explain(request);
  const { reading } = explanation;
  return {
    query: request.metricQuery,
    evaluated: `${request.metricQuery} over ${formatDuration(explanation.windowMs)} by ${request.operation}`,
    scope: request.scope,
    policy: policyText(request),
    time: formatTime(reading.timeMs),
    selectors: explanation.stored.map((name) => selectorOf(head, name, explanation, request)),
    steps: stepsOf(request, explanation),
    outcome: outcomeOf(reading),
    value: reading.kind === 'value' ? reading.value : null,
    reason: reading.kind === 'value' ? reading.note : reading.reason,
    newest: reading.newestMs === null ? null : formatTime(reading.newestMs),
    ...forecast(reading, workload),
  };
}

/** Everything that is stored under a name and may be meant; labels are compared later, by rules that no selector can say. */
function selectorOf(
  head: Pick<HeadReader, 'select'>,
  name: string,
  { windowMs, reading }: KedifyExplanation,
  { scope }: KedifyRequest,
): ExplainedSelector {
  const matchers: readonly Matcher[] = [{ type: '=', name: METRIC_NAME, value: name }];
  const { timeMs } = reading;
  const found = explainSeriesOf(head, { matchers, fromMs: timeMs - windowMs, toMs: timeMs, scope });
  const window = formatDuration(windowMs);
  const nobody = { sourcesExpected: 0, sourcesSeen: 0, sources: [] };
  return { selector: selectorText(matchers), window, until: formatTime(timeMs), ...found, ...nobody };
}

function stepsOf({ metricQuery }: KedifyRequest, { stored, result, reading }: KedifyExplanation): readonly Step[] {
  const steps: Step[] = [];
  const tell = (step: string, says: string) => steps.push({ step, says });
  tell('names', stored.length === 0 ? 'no metric of that name was received' : `stored as ${stored.join(', ')}`);
  if (result === null) {
    tell('evaluate', reading.kind === 'absence' ? reading.reason : metricQuery);
    return steps;
  }
  const { series, value, ignoredLabels } = result;
  tell('select', `${series} live series count`);
  if (ignoredLabels.length > 0) tell('labels', `no series carries ${ignoredLabels.join(', ')}: ignored`);
  tell('evaluate', value === null ? 'no value' : `the query gives ${value}`);
  if (reading.kind === 'absence') tell('not found', reading.reason);
  else if (reading.origin !== 'query') tell('not found', reading.note);
  else if (reading.value !== value) tell('clamp', `${value} becomes ${reading.value}`);
  return steps;
}
