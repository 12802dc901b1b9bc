/**
 * `/api/v1/scale/decisions` and `/api/v1/scale/explain` on the web port: what autoscalers were told, and why. Replies are
 * JSON in the envelope of the query API. `/api/v1/scale/value` is one Reading, without the envelope. Like that API, all of
 * them see all namespaces; a value only that of whoever asks, if it is known with one.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { scopeOf } from '../access.ts';
import { parseForm } from '../http.ts';
import { described } from '../openapi.ts';
import { answerDecisions, type DecisionsDeps } from './decisions.ts';
import { DECISIONS, EXPLAIN, VALUE, VALUE_BY_PATH } from './described.ts';
import { answerExplain, type ExplainQueryDeps } from './explain.ts';
import { answerValue, type ValueDeps } from './value.ts';

export type ScaleDeps = DecisionsDeps & ExplainQueryDeps & ValueDeps;

const JSON_TYPE = 'application/json; charset=utf-8';

export function registerScale(app: FastifyInstance, deps: ScaleDeps): void {
  const plugin = async (scope: FastifyInstance): Promise<void> => {
    scope.setErrorHandler(replyFailure);
    scope.get('/decisions', { schema: described(DECISIONS) }, async (request, reply) =>
      replyData(reply, answerDecisions(deps, parseForm(request))),
    );
    scope.get('/explain', { schema: described(EXPLAIN) }, async (request, reply) =>
      replyData(reply, await answerExplain(deps, parseForm(request))),
    );
    const value = async (query: string, request: FastifyRequest, reply: FastifyReply) =>
      reply.type(JSON_TYPE).send(await answerValue(deps, parseForm(request), query, scopeOf(request)));
    scope.get('/value', { schema: described(VALUE) }, (request, reply) => value('', request, reply));
    scope.get('/value/*', { schema: described(VALUE_BY_PATH) }, (request, reply) =>
      value((request.params as { '*': string })['*'], request, reply),
    );
  };
  void app.register(plugin, { prefix: '/api/v1/scale' });
}

function replyData(reply: FastifyReply, data: unknown): FastifyReply {
  return reply.type(JSON_TYPE).send(JSON.stringify({ status: 'success', data }));
}

function replyFailure(error: unknown, _request: unknown, reply: FastifyReply): FastifyReply {
  if (!(error instanceof CodedError)) throw error;
  const body = { status: 'error', errorType: error.code, error: error.message };
  return reply.code(error.httpStatus).type(JSON_TYPE).send(JSON.stringify(body));
}
