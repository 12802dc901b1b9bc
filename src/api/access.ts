/**
 * Which role a route of the HTTP ports takes. What is not listed and changes something is administration, so that a new route
 * is shut rather than open.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Role } from '../model/access.ts';
import { SCOPE_ALL, type Scope } from '../model/scope.ts';
import { CHALLENGE, CHALLENGE_READ, type Guard, type Identity, NOBODY } from './guard.ts';

const WRITES: readonly string[] = [
  '/api/v1/write',
  '/api/v1/push',
  '/write',
  '/api/v1/import/prometheus',
  '/api/v1/otlp/v1/metrics',
  '/v1/metrics',
];
/** Probes ask without a name, and the page's files hold nothing of anybody. */
const OPEN: readonly string[] = [
  '/-/healthy',
  '/-/ready',
  '/',
  '/scaling',
  '/scaling/why',
  '/query',
  '/graph',
  '/cardinality',
  '/status',
  '/assets/:name',
];
const QUERIES: readonly string[] = [
  '/api/v1/query',
  '/api/v1/query_range',
  '/api/v1/query_exemplars',
  '/api/v1/format_query',
  '/api/v1/parse_query',
  '/api/v1/labels',
  '/api/v1/series',
  '/api/v1/explain',
  '/api/v1/read',
];
/** An image is all that everybody sent, whatever their namespace. */
const ADMIN_READS: readonly string[] = ['/api/v1/replica/image'];
const SCALES: readonly string[] = ['/api/v1/scale/value', '/api/v1/scale/value/*'];

/** The role that a route takes, by fastify's pattern; null if it is open to all. */
export function roleOf(method: string, url: string): Role | null {
  if (method === 'OPTIONS') return null;
  if (method === 'POST' && WRITES.includes(url)) return 'write';
  const reads = method === 'GET' || method === 'HEAD';
  if (reads && OPEN.includes(url)) return null;
  if (ADMIN_READS.includes(url)) return 'admin';
  if (reads ? SCALES.includes(url) : method === 'POST' && url === '/memstore/query') return 'scale';
  return reads || (method === 'POST' && QUERIES.includes(url)) ? 'read' : 'admin';
}

const identities = new WeakMap<FastifyRequest, Identity>();

/** Who sends a request of a guarded instance. */
export function identityOf(request: FastifyRequest): Identity {
  return identities.get(request) ?? NOBODY;
}

/** Whoever is known with a namespace may see that one alone. */
export function scopeOf(request: FastifyRequest): Scope {
  const { namespace } = identityOf(request);
  return namespace === '' ? SCOPE_ALL : [namespace];
}

/** Guards all routes that are registered from now on, before their bodies are read. Hot routes and short cuts ask the guard themselves. */
export function guardRoutes(app: FastifyInstance, guard: Guard): void {
  app.addHook('onRequest', async (request, reply) => {
    // What is said of labels in plain text is nothing to be guessed at.
    reply.header('x-content-type-options', 'nosniff');
    const { url } = request.routeOptions;
    // An unknown path is answered as one.
    const role = url === undefined ? null : roleOf(request.method, url);
    if (role === null) return;
    try {
      identities.set(request, guard.admitHttp(role, request.raw));
    } catch (error) {
      reply.header('www-authenticate', role === 'read' || role === 'scale' ? CHALLENGE_READ : CHALLENGE);
      reply.header('connection', 'close');
      throw error;
    }
  });
}
