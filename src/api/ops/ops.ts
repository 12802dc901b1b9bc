/** Operation of the daemon: is it alive, is it ready, and its own metrics. */
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Registry } from '../../telemetry/registry.ts';
import { replyNotReady } from '../http.ts';
import { type Described, described } from '../openapi.ts';

export interface OpsDeps {
  readonly registry: Registry;
  /** False until every surface listens, and again while stopping. */
  readonly isReady: () => boolean;
  readonly isStopping?: () => boolean;
  /** False once the daemon can only be helped by a restart. */
  readonly isHealthy?: () => boolean;
}

const TEXT = 'text/plain; charset=utf-8';
const EXPOSITION = 'text/plain; version=0.0.4; charset=utf-8';
const METHODS = ['GET', 'HEAD'];

const DESCRIBED = {
  '/metrics': {
    tag: 'operation',
    summary: 'Own metrics',
    reply: { type: 'text/plain', description: "Prometheus' text format" },
  },
  '/-/healthy': {
    tag: 'operation',
    summary: 'Is it alive?',
    reply: { type: 'text/plain', description: 'it is' },
    errors: { 503: 'only a restart helps' },
  },
  '/-/ready': {
    tag: 'operation',
    summary: 'Is it ready?',
    reply: { type: 'text/plain', description: 'it is' },
    errors: { 503: 'it is starting or stopping' },
  },
} as const satisfies Readonly<Record<string, Described>>;

export function registerOps(app: FastifyInstance, deps: OpsDeps): void {
  const { registry, isReady, isStopping = () => false, isHealthy = () => true } = deps;
  const get = (url: keyof typeof DESCRIBED, handler: (reply: FastifyReply) => FastifyReply) =>
    app.route({
      method: METHODS,
      url,
      schema: described(DESCRIBED[url]),
      handler: (_request, reply) => handler(reply),
    });
  get('/metrics', (reply) => reply.type(EXPOSITION).send(registry.expose()));
  get('/-/healthy', (reply) =>
    isHealthy()
      ? reply.type(TEXT).send('Tidegauge is Healthy.\n')
      : reply.code(503).type(TEXT).send('Service Unavailable'),
  );
  get('/-/ready', (reply) =>
    isReady() ? reply.type(TEXT).send('Tidegauge is Ready.\n') : replyNotReady(reply, isStopping()),
  );
}
