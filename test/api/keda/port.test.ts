/** The KEDA port itself: TLS and its renewal, client certificates, reflection, and the port that it shares with OTLP/HTTP. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { type Test, test } from 'tap';
import { buildHttp, listenHttp } from '../../../src/api/http.ts';
import { generateCertificate } from '../../../src/api/kubernetes/certificate.ts';
import { registerOtlpHttp } from '../../../src/api/push/push.ts';
import { sharePort } from '../../../src/api/shared-port.ts';
import type { TlsFiles } from '../../../src/api/tls.ts';
import { KedaClient, type Trigger } from '../../support/keda-client.ts';
import { KedaStack } from '../../support/keda-stack.ts';
import { findProgram, skipWithout } from '../../support/real-programs.ts';
import { waitFor } from '../../support/wait.ts';
import { encodePoint } from './otlp-points.ts';

const UNAVAILABLE = 14;
const WEB: Trigger = { namespace: 'shop', name: 'web', metadata: { query: 'sum(depth)', targetValue: '5' } };

function certificate() {
  return generateCertificate(['localhost', '127.0.0.1'], Date.now());
}

function serverFiles({ certPem, keyPem }: ReturnType<typeof certificate>): TlsFiles {
  return { certPem, keyPem, clientCaPem: null };
}

async function openTls(t: Test, readTls: () => TlsFiles): Promise<{ stack: KedaStack; address: string }> {
  const stack = new KedaStack({ keda: { readTls, reloadMs: 20 } });
  const { address } = await stack.openKeda();
  t.teardown(() => stack.close());
  stack.put({ __name__: 'depth' }, 3);
  return { stack, address };
}

/** One call over a connection of its own; the value, or the status that it failed with. */
async function ask(address: string, rootPem: string | null, key?: Buffer, chain?: Buffer): Promise<number> {
  const roots = rootPem === null ? null : Buffer.from(rootPem);
  const channel =
    rootPem === null ? credentials.createInsecure() : credentials.createSsl(roots, key ?? null, chain ?? null);
  const client = new KedaClient(address, channel);
  try {
    return (await client.getMetrics(WEB, 'm'))[0]!.metricValueFloat;
  } catch (error) {
    return -(error as { readonly code: number }).code;
  } finally {
    client.close();
  }
}

test('TLS, and certificates that are renewed while a connection stays', async (t) => {
  const first = certificate();
  const second = certificate();
  let files = serverFiles(first);
  const { address } = await openTls(t, () => files);
  t.equal(await ask(address, first.caPem), 3);
  t.equal(await ask(address, second.caPem), -UNAVAILABLE, 'nobody trusts what is not there yet');
  t.equal(await ask(address, null), -UNAVAILABLE, 'plain text is not spoken');
  const lasting = new KedaClient(address, credentials.createSsl(Buffer.from(first.caPem)));
  t.teardown(() => lasting.close());
  t.equal(await lasting.isActive(WEB), true);
  files = { ...serverFiles(first), keyPem: second.keyPem };
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(await ask(address, first.caPem), 3, 'files that do not go together change nothing');
  files = serverFiles(second);
  await waitFor(async () => (await ask(address, second.caPem)) === 3, {
    timeoutMs: 5000,
    what: 'the renewed certificate',
  });
  t.equal(await ask(address, first.caPem), -UNAVAILABLE);
  t.equal(await lasting.isActive(WEB), true, 'the old connection lives on');
});

/** A certificate that is its own authority. */
async function selfSigned(t: Test, name: string): Promise<{ readonly key: Buffer; readonly pem: Buffer }> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegauge-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const [key, pem] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const made = spawnSync('openssl', [...kind, '-keyout', key, '-out', pem, '-days', '1', '-subj', `/CN=${name}`]);
  if (made.status !== 0) throw new Error(String(made.stderr));
  return { key: readFileSync(key), pem: readFileSync(pem) };
}

test('client certificates are asked for, and those of others refused', { skip: skipWithout('openssl') }, async (t) => {
  const friend = await selfSigned(t, 'friend');
  const stranger = await selfSigned(t, 'stranger');
  const renewed = await selfSigned(t, 'renewed');
  const server = certificate();
  let clientCaPem = String(friend.pem);
  const { address } = await openTls(t, () => ({ ...serverFiles(server), clientCaPem }));
  t.equal(await ask(address, server.caPem, friend.key, friend.pem), 3);
  t.equal(await ask(address, server.caPem), -UNAVAILABLE, 'without any');
  t.equal(await ask(address, server.caPem, stranger.key, stranger.pem), -UNAVAILABLE);
  clientCaPem = String(renewed.pem);
  await waitFor(async () => (await ask(address, server.caPem, renewed.key, renewed.pem)) === 3, {
    timeoutMs: 5000,
    what: 'the renewed authority',
  });
  t.equal(await ask(address, server.caPem, friend.key, friend.pem), -UNAVAILABLE, 'who was let in before is no more');
});

test('files that cannot be used keep the port from opening', async (t) => {
  const stack = new KedaStack({ keda: { readTls: () => ({ certPem: 'x', keyPem: 'y', clientCaPem: null }) } });
  await t.rejects(stack.openKeda());
});

test('OTLP over HTTP and KEDA share a port', async (t) => {
  const stack = new KedaStack();
  const port = await stack.openKeda();
  const app = buildHttp({ logger: stack.logger });
  registerOtlpHttp(app, { writer: stack.writer, logger: stack.logger });
  sharePort(app.server, (socket) => port.accept(socket));
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  const client = new KedaClient(address);
  t.teardown(async () => {
    client.close();
    await stack.close();
    await app.close();
  });
  const send = async (value: number) => {
    stack.clock.advance(1000);
    const body = encodePoint(
      { metric: 'depth', kind: 'gauge', attributes: {}, value, atSecond: 0 },
      stack.clock.nowMs(),
    );
    const headers = { 'content-type': 'application/x-protobuf' };
    return (await fetch(`http://${address}/v1/metrics`, { method: 'POST', headers, body })).status;
  };
  t.equal(await send(3), 200);
  const seen: number[] = [];
  const stream = client.open('StreamIsActive', { ...WEB, metadata: { metricQuery: 'depth', targetValue: '5' } }, () =>
    seen.push(1),
  );
  await waitFor(() => seen.length === 1, { timeoutMs: 5000, what: 'the first message' });
  t.equal((await client.getMetrics(WEB, 'm'))[0]!.metricValueFloat, 3);
  t.equal(await send(4), 200, 'both at the same time');
  t.equal((await client.getMetrics(WEB, 'm'))[0]!.metricValueFloat, 4);
  const big = await fetch(`http://${address}/v1/metrics`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: new Uint8Array(3_000_000),
  });
  t.equal(big.status, 400, 'a body of many segments arrives whole');
  const reply = await raw(address, [
    'POST /v1/metr',
    'ics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
  ]);
  t.match(reply, /^HTTP\/1.1 415 /, 'a request in pieces');
  t.match(await raw(address, ['PRIX / HTTP/1.1\r\n\r\n']), /^HTTP\/1.1 400 /, 'what only begins like HTTP/2 is none');
  stream.cancel();
});

test('KEDA by TLS on the shared port, with the certificates of its own', {
  skip: skipWithout('openssl'),
}, async (t) => {
  const server = certificate();
  const friend = await selfSigned(t, 'friend');
  const clientCaPem = String(friend.pem);
  const stack = new KedaStack({ keda: { readTls: () => ({ ...serverFiles(server), clientCaPem }) } });
  const port = await stack.openKeda();
  const app = buildHttp({ logger: stack.logger });
  registerOtlpHttp(app, { writer: stack.writer, logger: stack.logger });
  sharePort(app.server, (socket) => socket.destroy(), port.acceptTls);
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    await stack.close();
    await app.close();
  });
  stack.put({ __name__: 'depth' }, 3);
  t.equal(await ask(address, server.caPem, friend.key, friend.pem), 3);
  t.equal(await ask(address, server.caPem), -UNAVAILABLE, 'a certificate is wanted here, too');
  t.equal(await ask(address, null), -UNAVAILABLE, 'and plain text is no way around it');
  const sent = await fetch(`http://${address}/v1/metrics`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: new Uint8Array(0),
  });
  t.equal(sent.status, 200, 'OTLP as ever');
});

test('what KEDA wants of TLS: HTTP/2 by ALPN, and 1.2 at least', async (t) => {
  const { caPem, ...files } = certificate();
  const { address } = await openTls(t, () => ({ ...files, clientCaPem: null }));
  const shake = (options: ConnectionOptions): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTls({ host: '127.0.0.1', port: Number(address.split(':')[1]), ca: caPem, ...options });
      socket.on('secureConnect', () => {
        resolve(`${socket.getProtocol()} ${socket.alpnProtocol}`);
        socket.destroy();
      });
      socket.on('error', () => resolve('refused'));
    });
  t.equal(await shake({ ALPNProtocols: ['h2'] }), 'TLSv1.3 h2');
  t.equal(await shake({ ALPNProtocols: ['h2'], maxVersion: 'TLSv1.2' }), 'TLSv1.2 h2');
  t.equal(await shake({ ALPNProtocols: ['http/1.1'] }), 'refused');
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
  t.equal(await shake({ ALPNProtocols: ['h2'], ...old }), 'refused');
});

function raw(address: string, pieces: readonly string[]): Promise<string> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host: host!, port: Number(port) });
    let text = '';
    socket.on('data', (bytes) => {
      text += String(bytes);
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
    socket.setNoDelay(true);
    void (async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await new Promise((done) => setTimeout(done, 20));
      }
    })();
  });
}

test('an independent client finds its way by reflection', { skip: skipWithout('buf') }, async (t) => {
  const stack = new KedaStack();
  const { address } = await stack.openKeda();
  t.teardown(() => stack.close());
  stack.put({ __name__: 'depth' }, 2.5);
  const ref = { name: 'web', namespace: 'shop', scalerMetadata: { query: 'sum(depth)', targetValue: '7.5' } };
  const curl = async (call: string, body: object, more: readonly string[] = []) => {
    const { spawn } = await import('node:child_process');
    const url = `http://${address}/externalscaler.ExternalScaler/${call}`;
    const flags = ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', ...more, '-d', JSON.stringify(body), url];
    const child = spawn(findProgram('buf')!, flags, { stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (bytes) => {
      out += String(bytes);
      // A stream stays open: its first message is all that is waited for.
      if (call.startsWith('Stream') && out.includes('}\n')) child.kill('SIGTERM');
    });
    child.stderr.on('data', (bytes) => {
      err += String(bytes);
    });
    await new Promise((resolve) => child.once('close', resolve));
    return out === '' ? err : (JSON.parse(out) as unknown);
  };
  t.strictSame(await curl('GetMetricSpec', ref), {
    metricSpecs: [{ metricName: 'shop-web', targetSize: '8', targetSizeFloat: 7.5 }],
  });
  t.strictSame(await curl('GetMetrics', { scaledObjectRef: ref, metricName: 's' }), {
    metricValues: [{ metricName: 's', metricValue: '3', metricValueFloat: 2.5 }],
  });
  t.strictSame(await curl('IsActive', ref), { result: true });
  t.strictSame(await curl('StreamIsActive', ref), { result: true });
  t.match(await curl('IsActive', { ...ref, scalerMetadata: { query: 'nope' } }), /not_found[\s\S]*unknown metric/);
  const v1alpha = await curl('IsActive', ref, ['--reflect-protocol', 'grpc-v1alpha']);
  t.strictSame(v1alpha, { result: true });
});
