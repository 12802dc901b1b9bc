/**
 * The REST paths of Kedify's scaler, on the web port: what it holds, and a `metricQuery` to try. Replies are indented
 * JSON, as there. Its reset, by which anyone in the cluster could scale everything down there, takes somebody who is known
 * to be an administrator.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import type { Scope } from '../../model/scope.ts';
import type { KedifyReadings } from '../../scaling/kedify/kedify-readings.ts';
import { type MemoryView, memoryData, memoryNames } from '../../scaling/kedify/memory-view.ts';
import { operationOf } from '../../scaling/kedify/metric-query.ts';
import type { Registry } from '../../telemetry/registry.ts';
import { identityOf, scopeOf } from '../access.ts';
import {
  BOOLEAN,
  type Described,
  described,
  LABELS,
  listOf,
  NUMBER,
  nullable,
  objectOf,
  STRINGS,
  TEXT,
} from '../openapi.ts';

export interface MemstoreDeps extends Pick<MemoryView, 'head' | 'names'> {
  readonly clock: Clock;
  readonly kedify: KedifyReadings;
  /** What `/info` says besides what is known here; all of it text. */
  readonly info: () => Readonly<Record<string, string>>;
}

const JSON_TYPE = 'application/json; charset=utf-8';

export function registerMemstore(app: FastifyInstance, deps: MemstoreDeps): void {
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
    scope.setErrorHandler((error, _request, reply) => {
      if (!(error instanceof CodedError)) throw error;
      const isRefusal = error.code === 'unauthenticated' || error.code === 'forbidden';
      return send(reply.code(isRefusal ? error.httpStatus : 400), { error: error.message });
    });
    scope.get('/memstore/names', { schema: described(NAMES) }, (_request, reply) => {
      const names = memoryNames(viewOf(deps));
      return send(reply, names.length === 0 ? null : names);
    });
    scope.get('/memstore/data', { schema: described(DATA) }, (_request, reply) =>
      send(reply, memoryData(viewOf(deps))),
    );
    scope.post('/memstore/query', { schema: described(QUERY) }, async (request, reply) =>
      send(reply, await query(deps, request.body, scopeOf(request))),
    );
    scope.post('/memstore/reset', { schema: described(RESET) }, (request, reply) => {
      const { name, roles } = identityOf(request);
      // Whom a port answers because it is on loopback, or waived, is nobody.
      if (!roles.includes('admin')) return send(reply.code(403), RESET_REFUSED);
      deps.kedify.reset();
      request.log.warn(`${name} reset what triggers with metricQuery are answered from`);
      return send(reply, { ok: true, operation: 'reset', error: '', value: 0 });
    });
    scope.get('/info', { schema: described(INFO) }, (_request, reply) => send(reply, infoOf(deps)));
  });
}

const DATA: Described = {
  tag: 'memstore',
  summary: 'What the window of metricQuery holds, by metric and series',
  reply: { type: 'object', additionalProperties: listOf({ type: 'object' }) },
};
const NAMES: Described = { tag: 'memstore', summary: 'Names of metrics, or null', reply: nullable(STRINGS) };
const OUTCOME = objectOf({ ok: BOOLEAN, operation: TEXT, error: TEXT, value: NUMBER });
const QUERY: Described = {
  tag: 'memstore',
  summary: 'The value of a metricQuery',
  body: { types: ['application/json'], description: '{"operationOverTime": "avg", "query": "sum(metric)"}' },
  reply: OUTCOME,
  errors: { 400: 'the query or the operation cannot be read' },
};
const RESET: Described = {
  tag: 'memstore',
  summary: 'Forgets what metricQuery is answered from; for a known administrator only',
  reply: OUTCOME,
  errors: { 403: 'nobody is known to ask, or not as an administrator' },
};
const INFO: Described = { tag: 'memstore', summary: 'Version and ports', reply: LABELS };

const RESET_REFUSED = {
  ok: false,
  operation: 'reset',
  error: 'not permitted: it takes a token or a certificate with the role admin',
  value: 0,
};

async function query({ kedify }: MemstoreDeps, body: unknown, scope: Scope): Promise<object> {
  const { operationOverTime, query: metricQuery } = parseBody(body);
  const operation = operationOf(operationOverTime);
  if (operation === null) throw new CodedError('bad_data', `unknown operationOverTime:${operationOverTime}`);
  const { value, isKnown } = await kedify.evaluate({ metricQuery, operation, scope });
  if (!isKnown) return { ok: true, operation: 'query', error: 'Metric not found', value: -1 };
  return { ok: true, operation: 'query', error: '', value: value ?? 0 };
}

function parseBody(body: unknown): { readonly operationOverTime: string; readonly query: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(typeof body === 'string' ? body : '');
  } catch (cause) {
    throw new CodedError('bad_data', 'cannot read the request: its body is no JSON', { cause });
  }
  const given = typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
  const textOf = (key: string): string => (typeof given[key] === 'string' ? given[key] : '');
  return { operationOverTime: textOf('operationOverTime'), query: textOf('query') };
}

function viewOf({ head, names, clock, kedify }: MemstoreDeps): MemoryView {
  const { settings, wipedMs: sinceMs } = kedify;
  return { head, names, nowMs: clock.nowMs(), windowMs: settings.windowMs, sinceMs };
}

const INFO_KEYS = ['version', 'goVersion', 'arch', 'os', 'gitSha', 'retentionSeconds'] as const;
const PORT_KEYS = ['scalerPort', 'otlpPort', 'internalMetricsPort', 'restApiPort'] as const;

/** What `/info` says, as a metric of that scaler's name. */
export function registerRuntimeInfo(registry: Registry, deps: Pick<MemstoreDeps, 'kedify' | 'info'>): void {
  const keys = [...INFO_KEYS, ...PORT_KEYS];
  registry.collected('gauge', 'keda_otel_scaler_runtime_info', 'Version and ports, as labels.', keys, () => {
    const info = infoOf(deps);
    return [{ labels: keys.map((key) => info[key] ?? ''), value: 1 }];
  });
}

function infoOf({ kedify, info }: Pick<MemstoreDeps, 'kedify' | 'info'>): Readonly<Record<string, string>> {
  return {
    goVersion: '',
    arch: process.arch,
    os: process.platform,
    gitSha: '',
    retentionSeconds: String(kedify.settings.windowMs / 1000),
    ...info(),
  };
}

function send(reply: FastifyReply, body: unknown): FastifyReply {
  return reply.type(JSON_TYPE).send(JSON.stringify(body, null, 2));
}
