/** Prometheus' HTTP query API under `/api/v1`, for Grafana, promtool, KEDA's prometheus trigger and their like. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { LIMITS } from '../../model/limits.ts';
import type { Guard } from '../guard.ts';
import { abortedByClient, acceptForms, parseForm, replyNotReady } from '../http.ts';
import { described } from '../openapi.ts';
import { addVary, compressReply } from './compression.ts';
import { type CorsOrigins, originAllowed } from './cors.ts';
import { DESCRIBED, DESCRIBED_APART } from './described.ts';
import { type Answer, plain, replyAnswer, replyFailure } from './envelope.ts';
import { answerExemplars, type ExemplarDeps } from './exemplars.ts';
import { type ExplainDeps, routeExplain } from './explain.ts';
import { type FederateDeps, replyFederate } from './federate.ts';
import { answerMetadata, type MetadataDeps } from './metadata.ts';
import { answerInstant, answerRange, type QueryDeps } from './query.ts';
import { type ReadDeps, replyRead } from './read/read.ts';
import { answerLabelNames, answerLabelValues, answerSeries, type SeriesDeps } from './series.ts';
import { addShortWay } from './short-cut.ts';
import {
  answerBuildInfo,
  answerConfig,
  answerFlags,
  answerIngest,
  answerRules,
  answerRuntimeInfo,
  answerTsdb,
  buildInfo,
  EMPTY_ANSWERS,
  type StatusDeps,
} from './status.ts';
import { answerFormat, answerParse } from './syntax.ts';
import { answerScrapePools, answerTargets, type TargetDeps } from './targets.ts';

export interface PrometheusDeps
  extends QueryDeps,
    SeriesDeps,
    StatusDeps,
    ExemplarDeps,
    MetadataDeps,
    FederateDeps,
    ReadDeps,
    TargetDeps {
  readonly engine: QueryDeps['engine'] & SeriesDeps['engine'] & ExemplarDeps['engine'] & ExplainDeps['engine'];
  readonly head: SeriesDeps['head'] &
    StatusDeps['head'] &
    MetadataDeps['head'] &
    FederateDeps['head'] &
    ReadDeps['head'];
  /** Pages of which origins may read replies; any, if absent. */
  readonly corsOrigins?: CorsOrigins;
  /** False until every surface listens, and again while stopping. */
  readonly isReady: () => boolean;
  readonly isStopping?: () => boolean;
  /** Who may ask by the short way, beside the routes; everybody, if absent. */
  readonly guard?: Guard | null;
}

export function registerPrometheus(app: FastifyInstance, deps: PrometheusDeps): void {
  const common = (scope: FastifyInstance): void => {
    scope.addHook('onRequest', async (request, reply) => {
      allowOrigins(deps.corsOrigins, request, reply);
      if (!deps.isReady()) return replyNotReady(reply, deps.isStopping?.() ?? false);
    });
    scope.addHook('onSend', compressReply);
    scope.options('*', async (_request, reply) => reply.code(204).send());
  };
  const api = async (scope: FastifyInstance): Promise<void> => {
    acceptForms(scope);
    scope.setErrorHandler(replyFailure);
    common(scope);
    routeQueries(scope, deps);
    routeExplain(scope, deps);
    routeSeries(scope, deps);
    routeStatus(scope, deps);
  };
  void app.register(api, { prefix: '/api/v1' });
  void app.register(async (scope) => {
    common(scope);
    routeRead(scope, deps);
  });
}

/** What is not in the envelope: federation and remote-read, whose errors are plain text. */
function routeRead(scope: FastifyInstance, deps: PrometheusDeps): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  scope.get('/version', { schema: described(DESCRIBED_APART.version) }, async (_request, reply) =>
    reply.type('application/json').send(JSON.stringify(buildInfo(deps))),
  );
  scope.get('/federate', { schema: described(DESCRIBED_APART.federate) }, (request, reply) =>
    replyFederate(deps, parseForm(request), request.headers.accept, reply),
  );
  const read = { bodyLimit: LIMITS.remoteReadBodyBytesMax, schema: described(DESCRIBED_APART.read) };
  scope.post('/api/v1/read', read, (request, reply) => {
    const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
    return replyRead(deps, body, reply);
  });
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Answer | null | Promise<Answer | null>;

const GET = ['GET'];
const GET_AND_POST = ['GET', 'POST'];

function routeQueries(scope: FastifyInstance, deps: PrometheusDeps): void {
  const { isReady } = deps;
  const common = { guard: deps.guard ?? null, isReady, log: scope.log };
  addShortWay(scope, {
    ...common,
    url: '/api/v1/query',
    answer: (form, aborted) => answerInstant(deps, form, aborted),
  });
  addShortWay(scope, {
    ...common,
    url: '/api/v1/query_range',
    answer: (form, aborted) => answerRange(deps, form, aborted),
  });
  route(scope, GET_AND_POST, '/query', (request, reply) =>
    answerInstant(deps, parseForm(request), abortedByClient(reply)),
  );
  route(scope, GET_AND_POST, '/query_range', (request, reply) =>
    answerRange(deps, parseForm(request), abortedByClient(reply)),
  );
  route(scope, GET_AND_POST, '/format_query', (request) => answerFormat(deps, parseForm(request)));
  route(scope, GET_AND_POST, '/parse_query', (request) => answerParse(deps, parseForm(request)));
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
  route(scope, GET, '/status/config', () => answerConfig(deps));
  route(scope, GET, '/status/flags', () => answerFlags(deps));
  route(scope, GET, '/status/ingest', () => answerIngest(deps));
  route(scope, GET, '/status/runtimeinfo', () => answerRuntimeInfo(deps));
  route(scope, GET, '/status/tsdb', (request) => answerTsdb(deps, parseForm(request)));
  route(scope, GET, '/metadata', (request) => answerMetadata(deps, parseForm(request)));
  route(scope, GET, '/rules', (request) => answerRules(parseForm(request)));
  route(scope, GET, '/targets', (request) => answerTargets(deps, parseForm(request)));
  route(scope, GET, '/scrape_pools', () => answerScrapePools(deps));
  for (const [path, data] of Object.entries(EMPTY_ANSWERS)) route(scope, GET, `/${path}`, () => plain(data));
}

function route(scope: FastifyInstance, method: string[], url: string, handler: Handler): void {
  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const answered = await handler(request, reply);
    return answered === null ? reply.code(204).send() : replyAnswer(reply, answered);
  };
  for (const one of method) {
    scope.route({ method: one, url, schema: described(DESCRIBED[url]!, one), handler: answer });
  }
}

/** What browsers need before they let a page of another origin read a reply; any origin, as Prometheus does by default. */
function allowOrigins(origins: CorsOrigins | undefined, request: FastifyRequest, reply: FastifyReply): void {
  addVary(reply, 'Origin');
  const { origin } = request.headers;
  if (origin === undefined) return;
  reply.headers({
    'access-control-allow-headers': 'Accept, Authorization, Content-Type, Origin',
    'access-control-allow-methods': 'GET, POST, OPTIONS',
    'access-control-expose-headers': 'Date',
  });
  const allowed = originAllowed(origins, origin);
  if (allowed !== null) reply.header('access-control-allow-origin', allowed);
}
