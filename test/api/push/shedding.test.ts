/** What senders are told when it is too much: to come again, in the words of their protocol. */
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import pino from 'pino';
import { test } from 'tap';
import { buildHttp, listenHttp } from '../../../src/api/http.ts';
import { openOtlpGrpc, registerOtlpHttp, registerPush } from '../../../src/api/push/push.ts';
import { bodyBytesInFlight } from '../../../src/api/push/shedding.ts';
import { Writer } from '../../../src/ingest/write.ts';
import { CodedError } from '../../../src/model/errors.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { bench } from '../../ingest/support.ts';

const logger = pino({ level: 'silent' });

function refusingWriter(): Writer {
  const admit = (): never => {
    throw new CodedError('overloaded', 'cannot take body: too much');
  };
  return new Writer({
    head: bench().head,
    clock: { nowMs: () => 0, monotonicMs: () => 0 },
    registry: new Registry(),
    admit,
  });
}

test('over HTTP: 503 with Retry-After of 1 to 5 seconds, never 429', async (t) => {
  const app = buildHttp({ logger });
  registerPush(app, { writer: refusingWriter(), logger });
  const otlp = buildHttp({ logger });
  registerOtlpHttp(otlp, { writer: refusingWriter(), logger });
  t.teardown(() => Promise.all([app.close(), otlp.close()]));
  for (const [one, url] of [
    [app, '/api/v1/write'],
    [app, '/api/v1/otlp/v1/metrics'],
    [otlp, '/v1/metrics'],
  ] as const) {
    const reply = await one.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/x-protobuf' },
      payload: Buffer.from([0]),
    });
    t.equal(reply.statusCode, 503, url);
    t.match(reply.headers['retry-after'], /^[1-5]$/, url);
  }
  t.equal(bodyBytesInFlight(), 0);
});

test('over gRPC: UNAVAILABLE with RetryInfo', async (t) => {
  const server = await openOtlpGrpc({ listen: { host: '127.0.0.1', port: 0 }, writer: refusingWriter(), logger });
  const client = new Client(server.address, credentials.createInsecure());
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  const same = (bytes: Buffer): Buffer => bytes;
  const path = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
  const error = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest(path, same, same, Buffer.alloc(0), (fault) => resolve(fault));
  });
  t.equal(error?.code, 14);
  const [details] = error!.metadata.get('grpc-status-details-bin') as Buffer[];
  t.match(details!.toString('latin1'), 'type.googleapis.com/google.rpc.RetryInfo');
  const seconds = details!.at(-1)!;
  t.ok(seconds >= 1 && seconds <= 5, `${seconds} s`);
});

test('bodies in flight are bounded before they are read', async (t) => {
  const app = buildHttp({ logger });
  registerPush(app, { writer: bench().writer, logger });
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const { connect } = await import('node:net');
  const announce = (bytes: number) => {
    const socket = connect(Number(address.split(':').at(-1)), '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('error', () => undefined);
    socket.write(`POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n`);
    return { socket, text: () => text };
  };
  const each = 30 * 2 ** 20;
  const held = Array.from({ length: Math.floor(LIMITS.ingestBytesInFlightMax / each) }, () => announce(each));
  while (bodyBytesInFlight() < held.length * each) await new Promise(setImmediate);
  const refused = announce(each);
  while (refused.text() === '') await new Promise(setImmediate);
  t.match(refused.text(), /^HTTP\/1.1 503 /);
  for (const { socket } of [...held, refused]) socket.destroy();
  while (bodyBytesInFlight() > 0) await new Promise(setImmediate);
  t.pass('what is gone counts no more');
});
