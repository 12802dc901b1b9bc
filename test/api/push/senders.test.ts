/** Who sends, as `/api/v1/status/ingest` shows it: every protocol, with and without a token. Real sockets. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { test } from 'tap';
import { startDaemon } from '../../support/daemon.ts';
import { encodeExportRequest } from '../../support/otlp-encoder.ts';
import { temporaryFolder } from '../../support/process.ts';
import { encodeWriteRequest } from '../../support/remote-write-encoder.ts';

const TOKEN_A = 'a-token-of-team-a-0123456789';
const TOKEN_B = 'a-token-of-team-b-0123456789';
const EXPORT = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
const HOSTILE = '<img src=x onerror=alert(1)>"\u00e4';

interface Sender {
  readonly protocol: string;
  readonly peer: string;
  readonly name: string;
  readonly userAgent: string;
}

test('senders by address, name, User-Agent and protocol', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const file = join(folder.path, 'web.yml');
  await writeFile(join(folder.path, 'a'), TOKEN_A);
  await writeFile(join(folder.path, 'b'), TOKEN_B);
  await writeFile(
    file,
    'tokens:\n  - {name: team-a, file: a, namespace: team-a, roles: [write]}\n  - {name: all, file: b, roles: [write, read]}\n',
  );
  const daemon = await startDaemon([`--web.config.file=${file}`]);
  t.teardown(() => daemon.stop());
  const { web, otlpHttp, otlpGrpc } = daemon.listen;
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const post = async (url: string, headers: Readonly<Record<string, string>>, body: string | Uint8Array) => {
    const reply = await fetch(url, { method: 'POST', headers, body: body as never });
    await reply.arrayBuffer();
    return reply.status;
  };
  const written = (timestampMs = Date.now()) =>
    encodeWriteRequest([{ labels: { __name__: 'up' }, samples: [{ timestampMs, value: 1 }] }]);
  const otlp = encodeExportRequest([
    { attributes: {}, metrics: [{ name: 'g', kind: 'gauge', points: [{ time: Date.now(), value: 1 }] }] },
  ]);
  const snappy = { 'content-encoding': 'snappy', 'content-type': 'application/x-protobuf' };
  const agent = (text: string) => ({ 'user-agent': text });
  const writeUrl = `http://${web}/api/v1/write`;
  t.equal(await post(writeUrl, { ...snappy, ...bearer(TOKEN_A), ...agent('Prometheus/3') }, written()), 204);
  t.equal(await post(writeUrl, { ...snappy, ...bearer(TOKEN_A), ...agent('Prometheus/3') }, written(9e15)), 400);
  t.equal(
    await post(writeUrl, { ...snappy, ...bearer('not-a-token-0123456789'), ...agent('Thief/1') }, written()),
    401,
  );
  t.equal(await post(writeUrl, { ...bearer(TOKEN_A), 'content-type': 'text/html', ...agent('Odd/1') }, 'x'), 415);
  t.equal(
    await post(`http://${web}/api/v1/import/prometheus`, { ...bearer(TOKEN_B), ...agent(HOSTILE) }, 'a 1\n'),
    204,
  );
  const type = { 'content-type': 'application/x-protobuf' };
  t.equal(await post(`http://${otlpHttp}/v1/metrics`, { ...type, ...bearer(TOKEN_B), ...agent('Otel/1') }, otlp), 200);
  const client = new Client(otlpGrpc, credentials.createInsecure(), { 'grpc.primary_user_agent': 'Collector/2' });
  t.teardown(() => client.close());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${TOKEN_A}`);
  const plain = (bytes: Buffer): Buffer => bytes;
  await new Promise<void>((resolve, reject) =>
    client.makeUnaryRequest(EXPORT, plain, plain, Buffer.from(otlp), metadata, (error) =>
      error === null ? resolve() : reject(error),
    ),
  );
  const ask = async (token: string) => {
    const reply = await fetch(`http://${web}/api/v1/status/ingest`, { headers: bearer(token) });
    return ((await reply.json()) as { readonly data: { readonly senders: readonly Sender[] } }).data.senders;
  };
  const senders = await ask(TOKEN_B);
  const f = (userAgent: RegExp, want: object): void => {
    const found = senders.filter((one) => userAgent.test(one.userAgent));
    t.equal(found.length, 1, String(userAgent));
    t.match(found[0], { peer: '127.0.0.1', ...want }, String(userAgent));
  };
  f(/^Prometheus/, {
    protocol: 'remote_write',
    name: 'team-a',
    namespace: 'team-a',
    requests: 2,
    samplesStored: 1,
    samplesPerSecond: Number,
    refused: [{ what: 'samples', reason: 'too_far_ahead', count: 1 }],
  });
  const refusedFor = (reason: string) => ({ samplesStored: 0, refused: [{ what: 'requests', reason, count: 1 }] });
  f(/^Thief/, { protocol: 'remote_write', name: '', ...refusedFor('unauthenticated') });
  f(/^Odd/, { protocol: 'remote_write', name: 'team-a', ...refusedFor('unsupported_media_type') });
  f(/^<img src=x onerror=alert\(1\)>"ä$/, { protocol: 'text', name: 'all', samplesStored: 1 });
  f(/^Otel/, { protocol: 'otlp', name: 'all', samplesStored: 1 });
  f(/^Collector\/2/, { protocol: 'otlp', name: 'team-a', samplesStored: 1 });
  t.equal(senders.length, 6);
});
