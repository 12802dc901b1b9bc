/** OTLP over gRPC with a client of our own: status codes, limits, compression, and how the server closes. */
import {
  type ChannelOptions,
  Client,
  compressionAlgorithms,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { pino } from 'pino';
import protobuf from 'protobufjs/minimal.js';
import { test } from 'tap';
import { openOtlpGrpc } from '../../../src/api/push/push.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { bench, dump, NOW_MS } from '../../ingest/support.ts';
import { encodeExportRequest } from '../../support/otlp-encoder.ts';

const EXPORT = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
const identity = (bytes: Buffer): Buffer => bytes;
const point = { time: NOW_MS, value: 1 };
const GOOD = encodeExportRequest([{ metrics: [{ name: 'g', kind: 'gauge', points: [point] }] }]);

async function open(options: { writer?: { otlp(body: Uint8Array): never } } = {}) {
  const { writer, head } = bench();
  const logs: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void logs.push(line) });
  if (options.writer) writer.otlp = options.writer.otlp;
  const server = await openOtlpGrpc({ listen: { host: '127.0.0.1', port: 0 }, writer, logger, closeMsMax: 200 });
  return { server, head, logs };
}

function call(client: Client, body: Uint8Array, path = EXPORT): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, identity, identity, Buffer.from(body), new Metadata(), (error, reply) => {
      if (error) reject(error);
      else resolve(reply!);
    });
  });
}

const code = (promise: Promise<unknown>): Promise<[number, string]> =>
  promise.then(
    () => [status.OK, ''] as [number, string],
    (error: ServiceError) => [error.code, error.details],
  );

test('replies', async (t) => {
  const { server, head, logs } = await open();
  const big: ChannelOptions = { 'grpc.max_send_message_length': -1 };
  const client = new Client(server.address, credentials.createInsecure(), big);
  const gzip = new Client(server.address, credentials.createInsecure(), {
    'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
  });
  t.teardown(async () => {
    client.close();
    gzip.close();
    await server.close();
  });
  t.match(server.address, /^127\.0\.0\.1:[1-9]\d+$/);
  t.equal((await call(client, GOOD)).length, 0);
  t.equal((await call(client, new Uint8Array(0))).length, 0);
  t.equal((await call(gzip, GOOD)).length, 0);

  const sum = { name: 'd', kind: 'sum', temporality: 'unspecified', points: [point, point] } as const;
  const reader = protobuf.Reader.create(await call(client, encodeExportRequest([{ metrics: [sum] }])));
  t.equal(reader.uint32(), 10);
  const partial = protobuf.Reader.create(reader.bytes());
  t.strictSame([partial.uint32(), Number(partial.int64()), partial.uint32()], [8, 2, 18]);
  t.match(partial.string(), /^aggregation temporality is unspecified.*: 2 refused/);

  const [undecodable, details] = await code(call(client, Buffer.from('garbage')));
  t.equal(undecodable, status.INVALID_ARGUMENT);
  t.match(details, /^cannot decode body/);
  // Above the 4 MiB that libraries take by default, and above the limit.
  const name = 'x'.repeat(LIMITS.labelValueBytesMax + 1);
  const metrics = Array.from({ length: 1500 }, () => ({ name, kind: 'gauge', points: [point] }) as const);
  t.equal((await code(call(client, encodeExportRequest([{ metrics }]))))[0], status.OK);
  t.equal((await code(call(client, new Uint8Array(LIMITS.otlpBodyBytesMax + 1))))[0], status.RESOURCE_EXHAUSTED);
  const traces = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
  t.equal((await code(call(client, GOOD, traces)))[0], status.UNIMPLEMENTED);
  t.strictSame(dump(head), ['g 1@0']);
  t.strictSame(logs, []);
});

test('a fault of ours is INTERNAL and logged, and the server goes on', async (t) => {
  let faults = 0;
  const { server, logs } = await open({
    writer: {
      otlp() {
        faults++;
        throw new Error('the secret of the inside');
      },
    },
  });
  const client = new Client(server.address, credentials.createInsecure());
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  for (let i = 1; i <= 2; i++) {
    t.strictSame(await code(call(client, GOOD)), [status.INTERNAL, 'internal error: see the log of the daemon']);
    t.equal(faults, i);
    t.equal(logs.filter((line) => line.includes('the secret of the inside')).length, i);
  }
});

test('closes within its bound while clients stay connected', async (t) => {
  const { server } = await open();
  const client = new Client(server.address, credentials.createInsecure());
  t.teardown(() => client.close());
  await call(client, GOOD);
  await server.close();
  t.equal((await code(call(client, GOOD)))[0], status.UNAVAILABLE);
});

test('an address in use is an error', async (t) => {
  const { server } = await open();
  t.teardown(() => server.close());
  const port = Number(server.address.split(':')[1]);
  const { writer } = bench();
  await t.rejects(openOtlpGrpc({ listen: { host: '127.0.0.1', port }, writer, logger: pino({ level: 'silent' }) }));
});
