/** `explain`: how a query would be evaluated, as a tree (JSON) or as lines of text (`format=text`). Nothing is evaluated. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import { type Explanation, explanationText } from '../../promql/explain.ts';
import { abortedByClient, parseForm } from '../http.ts';
import { described } from '../openapi.ts';
import { DESCRIBED } from './described.ts';
import { plain, replyAnswer } from './envelope.ts';
import { inParameter, textOf, timeOf } from './parameters.ts';
import { commonOf, rangeOf } from './query.ts';

export interface ExplainDeps {
  readonly engine: Pick<QueryEngine, 'explain' | 'checkResolution'>;
  readonly clock: Clock;
  readonly queryTimeoutMs: number;
}

const FORMATS = ['', 'json', 'text'];

export function routeExplain(scope: FastifyInstance, deps: ExplainDeps): void {
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const form = parseForm(request);
    const format = formatOf(form);
    const explanation = await explain(deps, form, abortedByClient(reply));
    if (format !== 'text') return replyAnswer(reply, plain(explanation));
    return reply.code(200).type('text/plain; charset=utf-8').send(explanationText(explanation));
  };
  for (const method of ['GET', 'POST']) {
    scope.route({ method, url: '/explain', schema: described(DESCRIBED['/explain']!, method), handler });
  }
}

function formatOf(form: URLSearchParams): string {
  return inParameter('format', () => {
    const format = textOf(form, 'format');
    if (FORMATS.includes(format)) return format;
    throw new CodedError('bad_data', `got ${JSON.stringify(format)}, want json or text`);
  });
}

/** A range query with `step`, else an instant query. */
function explain(deps: ExplainDeps, form: URLSearchParams, signal: AbortSignal): Promise<Explanation> {
  if (textOf(form, 'step') !== '')
    return deps.engine.explain({ ...rangeOf(deps, form), ...commonOf(deps, form, signal) });
  const timeMs = timeOf(form, 'time', deps.clock.nowMs());
  return deps.engine.explain({ startMs: timeMs, endMs: timeMs, stepMs: 0, ...commonOf(deps, form, signal) });
}
