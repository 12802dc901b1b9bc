/** Prometheus' HTTP query API under `/api/v1`, for Grafana, promtool, KEDA's prometheus trigger and their like. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { abortedByClient, acceptForms, parseForm, replyNotReady } from '../http.ts';
import { type Answer, plain, replyAnswer, replyFailure } from './envelope.ts';
import { answerExemplars, type ExemplarDeps } from './exemplars.ts';
import { type ExplainDeps, routeExplain } from './explain.ts';
import { answerMetadata, type MetadataDeps } from './metadata.ts';
import { answerInstant, answerRange, type QueryDeps } from './query.ts';
import { answerLabelNames, answerLabelValues, answerSeries, type SeriesDeps } from './series.ts';
import {
  answerBuildInfo,
  answerFlags,
  answerRules,
  answerRuntimeInfo,
  answerTsdb,
  EMPTY_ANSWERS,
  type StatusDeps,
} from './status.ts';

export interface PrometheusDeps extends QueryDeps, SeriesDeps, StatusDeps, ExemplarDeps, MetadataDeps {
  readonly engine: QueryDeps['engine'] & SeriesDeps['engine'] & ExemplarDeps['engine'] & ExplainDeps['engine'];
  readonly head: SeriesDeps['head'] & StatusDeps['head'] & MetadataDeps['head'];
  /** False until every surface listens, and again while stopping. */
  readonly isReady: () => boolean;
  readonly isStopping?: () => boolean;
}

export function registerPrometheus(app: FastifyInstance, deps: PrometheusDeps): void {
  const plugin = async (scope: FastifyInstance): Promise<void> => {
    acceptForms(scope);
    scope.setErrorHandler(replyFailure);
    scope.addHook('onRequest', async (request, reply) => {
      allowOrigins(request, reply);
      if (!deps.isReady()) return replyNotReady(reply, deps.isStopping?.() ?? false);
    });
    scope.options('/*', async (_request, reply) => reply.code(204).send());
    routeQueries(scope, deps);
    routeExplain(scope, deps);
    routeSeries(scope, deps);
    routeStatus(scope, deps);
  };
  void app.register(plugin, { prefix: '/api/v1' });
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Answer | null | Promise<Answer | null>;

const GET = ['GET'];
const GET_AND_POST = ['GET', 'POST'];

function routeQueries(scope: FastifyInstance, deps: PrometheusDeps): void {
  route(scope, GET_AND_POST, '/query', (request, reply) =>
    answerInstant(deps, parseForm(request), abortedByClient(reply)),
  );
  route(scope, GET_AND_POST, '/query_range', (request, reply) =>
    answerRange(deps, parseForm(request), abortedByClient(reply)),
  );
  route(scope, GET_AND_POST, '/query_exemplars', (request) => answerExemplars(deps, parseForm(request)));
}

function routeSeries(scope: FastifyInstance, deps: PrometheusDeps): void {
  route(scope, GET_AND_POST, '/labels', (request) => answerLabelNames(deps, parseForm(request)));
  route(scope, GET_AND_POST, '/series', (request) => answerSeries(deps, parseForm(request)));
  route(scope, GET, '/label/:name/values', (request) => {
    const { name } = request.params as { readonly name: string };
    return answerLabelValues(deps, name, parseForm(request));
  });
}

function routeStatus(scope: FastifyInstance, deps: PrometheusDeps): void {
  route(scope, GET, '/status/buildinfo', () => answerBuildInfo(deps));
  route(scope, GET, '/status/flags', () => answerFlags(deps));
  route(scope, GET, '/status/runtimeinfo', () => answerRuntimeInfo(deps));
  route(scope, GET, '/status/tsdb', (request) => answerTsdb(deps, parseForm(request)));
  route(scope, GET, '/metadata', (request) => answerMetadata(deps, parseForm(request)));
  route(scope, GET, '/rules', (request) => answerRules(parseForm(request)));
  for (const [path, data] of Object.entries(EMPTY_ANSWERS)) route(scope, GET, `/${path}`, () => plain(data));
}

function route(scope: FastifyInstance, method: string[], url: string, handler: Handler): void {
  scope.route({
    method,
    url,
    handler: async (request, reply) => {
      const answer = await handler(request, reply);
      return answer === null ? reply.code(204).send() : replyAnswer(reply, answer);
    },
  });
}

/** What browsers need before they let a page of another origin read a reply; any origin, as Prometheus does by default. */
function allowOrigins(request: FastifyRequest, reply: FastifyReply): void {
  reply.header('vary', 'Origin');
  if (request.headers.origin === undefined) return;
  reply.headers({
    'access-control-allow-headers': 'Accept, Authorization, Content-Type, Origin',
    'access-control-allow-methods': 'GET, POST, OPTIONS',
    'access-control-allow-origin': '*',
    'access-control-expose-headers': 'Date',
  });
}
