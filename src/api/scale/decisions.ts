/** `decisions`: what autoscalers were told, newest first, a page at a time. */
import { LIMITS } from '../../model/limits.ts';
import { formatTime } from '../../scaling/diagnosis.ts';
import type { Decision, Recorder } from '../../scaling/recorder.ts';
import { checkNames, countOf, textOf, timeMsOf } from './parameters.ts';

export interface DecisionsDeps {
  readonly recorder: Pick<Recorder, 'decisions'>;
}

const NAMES = ['surface', 'namespace', 'name', 'outcome', 'start', 'end', 'before', 'limit'];
const LIMIT_DEFAULT = 100;
const FILTERS = ['surface', 'namespace', 'name', 'outcome'] as const;

/** `next` is the `before` of the next page, or null on the last one. */
export function answerDecisions({ recorder }: DecisionsDeps, form: URLSearchParams): object {
  checkNames(form, NAMES);
  const limit = countOf(form, 'limit', 1, LIMITS.decisionsPerPageMax) ?? LIMIT_DEFAULT;
  const fromMs = timeMsOf(form, 'start');
  const toMs = timeMsOf(form, 'end');
  const before = countOf(form, 'before', 0, Number.MAX_SAFE_INTEGER);
  const filter: Record<string, string> = {};
  for (const name of FILTERS) {
    const text = textOf(form, name);
    if (text !== null) filter[name] = text;
  }
  // One more than the page tells whether there is another.
  const found = recorder.decisions({
    ...filter,
    ...(fromMs === null ? {} : { fromMs }),
    ...(toMs === null ? {} : { toMs }),
    ...(before === null ? {} : { before }),
    limit: limit + 1,
  });
  const page = found.slice(0, limit);
  return { decisions: page.map(toJson), next: found.length > limit ? page.at(-1)!.id : null };
}

function toJson(decision: Decision): object {
  const { id, subject, timeMs, newestMs, value, outcome, reason, series, sourcesExpected, sourcesSeen, latencyMs } =
    decision;
  const { surface, namespace, name, query, matchers, scope, policy, target, activation } = subject;
  return {
    id,
    time: formatTime(timeMs),
    surface,
    namespace,
    name,
    query,
    ...(matchers.length === 0 ? {} : { matchers }),
    scope,
    policy,
    target,
    activation,
    outcome,
    value,
    reason,
    newest: newestMs === null ? null : formatTime(newestMs),
    ageSeconds: newestMs === null ? null : (timeMs - newestMs) / 1000,
    series,
    sourcesExpected,
    sourcesSeen,
    latencyMs,
  };
}
