/** The door of the push surface: what senders of metrics call. */
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Writer } from '../../ingest/write.ts';
import type { Guard } from '../guard.ts';
import { registerImport } from './import.ts';
import { registerOtlp } from './otlp-http.ts';
import { registerRemoteWrite } from './remote-write.ts';

export { type OtlpGrpcOptions, openOtlpGrpc } from './otlp-grpc.ts';

export interface PushDeps {
  readonly writer: Writer;
  readonly logger: Logger;
  /** Who may send; everybody, if absent. */
  readonly guard?: Guard | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** True once the body was handed to the writer, which counts the request from there on. */
    writerCalled: boolean;
  }
}

/** Routes of the web port: remote write and its aliases, text, and OTLP where Prometheus has it. */
export function registerPush(app: FastifyInstance, deps: PushDeps): void {
  decorate(app);
  registerRemoteWrite(app, deps);
  void app.register(async (scope) => registerImport(scope, deps));
  void app.register(async (scope) => registerOtlp(scope, '/api/v1/otlp/v1/metrics', deps));
}

/** The route of the OTLP/HTTP port. */
export function registerOtlpHttp(app: FastifyInstance, deps: PushDeps): void {
  decorate(app);
  void app.register(async (scope) => registerOtlp(scope, '/v1/metrics', deps));
}

function decorate(app: FastifyInstance): void {
  if (!app.hasRequestDecorator('writerCalled')) app.decorateRequest('writerCalled', false);
}
