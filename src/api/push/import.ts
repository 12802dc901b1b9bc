/**
 * `POST /api/v1/import/prometheus`: Prometheus' text format or OpenMetrics, for scripts and cron jobs. Anything that does
 * not call itself OpenMetrics is read as text: `curl --data-binary` says that it sends a form.
 *
 * The path and its parameters are VictoriaMetrics': https://docs.victoriametrics.com/victoriametrics/url-examples/
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { identityOf } from '../access.ts';
import { described } from '../openapi.ts';
import { TURN_BUDGET } from '../turn.ts';
import { IMPORT } from './described.ts';
import { inflateGzip } from './inflate.ts';
import { encodingOf, parseMediaType, rawBody, takeRawBodies } from './media.ts';
import type { PushDeps } from './push.ts';
import { faultOf } from './reply.ts';
import { senderOfRequest } from './sender.ts';
import { boundBodiesInFlight, sayRetryAfter } from './shedding.ts';

const URL = '/api/v1/import/prometheus';
const TEXT = 'text/plain; charset=utf-8';
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** The route, on a scope of its own: its parser and error handler reach no other route. */
export function registerImport(scope: FastifyInstance, { writer, logger }: PushDeps): void {
  takeRawBodies(scope, LIMITS.importBodyBytesMax);
  boundBodiesInFlight(scope);
  scope.setErrorHandler((error, request, reply) => {
    const fault = faultOf(error, logger);
    if (!request.writerCalled) {
      writer.countRefused('text', fault.code, fault.message, senderOfRequest(request, 'text', writer));
    }
    sayRetryAfter(reply, fault.httpStatus);
    return reply.code(fault.httpStatus).type(TEXT).send(`${fault.message}\n`);
  });
  scope.post(URL, { schema: described(IMPORT) }, async (request, reply) => {
    const format = formatOf(request);
    const body = await decompress(request);
    request.writerCalled = true;
    const sender = senderOfRequest(request, 'text', writer);
    const { namespace } = identityOf(request);
    const outcome = await TURN_BUDGET.do(() => writer.text(body, format, 0, namespace, sender));
    const { samplesRefused, message, logged } = outcome;
    if (logged !== undefined) await logged;
    if (samplesRefused === 0) return reply.code(204).send();
    return reply.code(400).type(TEXT).send(`${message}\n`);
  });
}

async function decompress(request: FastifyRequest): Promise<Uint8Array> {
  const encoding = encodingOf(request.headers['content-encoding']);
  const body = rawBody(request.body);
  if (encoding === 'gzip') return inflateGzip(body, LIMITS.importBodyBytesMax);
  if (encoding === '' || encoding === 'identity') return body;
  throw new CodedError(
    'unsupported_media_type',
    `cannot take Content-Encoding: got ${JSON.stringify(encoding)}, want gzip or none`,
  );
}

function formatOf(request: FastifyRequest) {
  const { searchParams } = new globalThis.URL(request.url, 'http://localhost');
  const isOpenMetrics = parseMediaType(request.headers['content-type']).type === 'application/openmetrics-text';
  return {
    isOpenMetrics,
    honorTimestamps: true,
    labels: searchParams.getAll('extra_label').map(extraLabel),
    onConflict: 'replaced' as const,
    ...timestampOf(searchParams.get('timestamp')),
  };
}

function extraLabel(text: string): readonly [name: string, value: string] {
  const equals = text.indexOf('=');
  const name = text.slice(0, Math.max(equals, 0));
  if (!LABEL_NAME.test(name)) {
    throw new CodedError('bad_data', `cannot take extra_label: got ${JSON.stringify(text)}, want name=value`);
  }
  return [name, text.slice(equals + 1)];
}

function timestampOf(text: string | null): { timestampMs?: number } {
  if (text === null) return {};
  const timestampMs = Number(text);
  if (text === '' || !Number.isSafeInteger(timestampMs)) {
    throw new CodedError(
      'bad_data',
      `cannot take timestamp: got ${JSON.stringify(text)}, want milliseconds since 1970`,
    );
  }
  return { timestampMs };
}
