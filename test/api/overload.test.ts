/**
 * Clients that would hold the daemon up: slow ones, too many of them, and small bodies that become large ones. Through real
 * sockets to the daemon, all at the same time, since most of it is waiting.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { test } from 'tap';
import { inflateWithin, inflatingBytes } from '../../src/api/inflating.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { frame, headers, RawHttp2 } from '../support/raw-http2.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { waitFor } from '../support/wait.ts';

const EXPORT = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
const CALL = {
  ':method': 'POST',
  ':scheme': 'http',
  ':path': EXPORT,
  te: 'trailers',
  'content-type': 'application/grpc',
};
const MAX_MS = 15_000;

class Client {
  readonly socket: Socket;
  readonly beganMs = performance.now();
  text = '';
  endedMs: number | null = null;

  constructor(address: string, localAddress?: string) {
    const [host, port] = address.split(':');
    this.socket = connect({ host: host!, port: Number(port), noDelay: true, ...(localAddress && { localAddress }) });
    this.socket.on('data', (bytes) => {
      this.text += bytes.toString('latin1');
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.endedMs = performance.now() - this.beganMs;
    });
  }

  /** Sends something now, and a piece again and again until the other side ends it. */
  async drip(first: string, piece: string, everyMs: number): Promise<this> {
    this.socket.write(first, 'latin1');
    while (this.endedMs === null && performance.now() - this.beganMs < MAX_MS) {
      await pause(everyMs);
      if (this.socket.writable) this.socket.write(piece, 'latin1');
    }
    return this;
  }

  async ended(): Promise<this> {
    await waitFor(() => this.endedMs !== null, { timeoutMs: MAX_MS, what: 'the end of a connection' });
    return this;
  }
}

const metricsOf = async ({ listen }: Daemon): Promise<string> => (await fetch(`http://${listen.web}/metrics`)).text();

test('who sends too slowly is cut off and told to come again; who is slow enough is served', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web, otlpHttp, otlpGrpc, keda, kubernetes } = daemon.listen;
  const head = (path: string, type: string, more: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\n${more}\r\n\r\n`;
  const write = head('/api/v1/write', 'application/x-protobuf', 'Content-Length: 100000');
  const cases: Readonly<Record<string, readonly [address: string, first: string, piece: string, status: RegExp]>> = {
    'a body by the short way': [web, write, 'x', /^HTTP\/1\.1 503 [\s\S]*retry-after: [1-5]\r\n/i],
    'a body by the long way': [
      web,
      head('/api/v1/write', 'application/x-protobuf', 'Transfer-Encoding: chunked'),
      '1\r\nx\r\n',
      /^HTTP\/1\.1 503 [\s\S]*retry-after: 5\r\n/i,
    ],
    'OTLP over HTTP': [
      otlpHttp,
      head('/v1/metrics', 'application/json', 'Content-Length: 9000'),
      ' ',
      /^HTTP\/1\.1 503 /,
    ],
    'a form': [
      web,
      head('/api/v1/query', 'application/x-www-form-urlencoded', 'Content-Length: 9000'),
      'q',
      /^HTTP\/1\.1 503 /,
    ],
    headers: [web, 'GET / HTTP/1.1\r\nHost: x\r\n', 'X: y\r\n', /^HTTP\/1\.1 408 /],
    'a request line': [otlpHttp, 'GET /', 'x', /^HTTP\/1\.1 408 /],
  };
  const dripped = Object.entries(cases).map(async ([name, [address, first, piece, status]]) => {
    const client = await new Client(address).drip(first, piece, 400);
    t.match(client.text, status, name);
    const endedMs = client.endedMs ?? Infinity;
    t.ok(endedMs > 4500 && endedMs < 12_000, `${name}: after ${Math.round(endedMs)} ms`);
  });
  const silent = [web, otlpHttp, otlpGrpc, keda, kubernetes].map(async (address) => {
    const { endedMs } = await new Client(address).ended();
    t.ok(endedMs! < 12_000, `nothing said to ${address}: ended after ${Math.round(endedMs!)} ms`);
  });
  await Promise.all([...dripped, ...silent, slowGrpc(), patient()]);

  async function slowGrpc(): Promise<void> {
    const raw = await new RawHttp2(otlpGrpc).open();
    raw.write(frame(1, 4, 1, headers(CALL)), frame(0, 0, 1, '\0\0\0\x10\0x'));
    await raw.until('trailers', () => raw.of(1, 1).length > 0);
    t.match(raw.of(1, 1)[0]!.payload.toString('latin1'), /14[\s\S]*too slowly/, 'a message over gRPC: UNAVAILABLE');
    const half = await new RawHttp2(keda).open();
    half.write(frame(1, 0, 1, headers(CALL)));
    t.match((await half.goneAway()).text, 'headers that do not end');
    raw.close();
  }

  /** 20 KiB in ten seconds. */
  async function patient(): Promise<void> {
    const text = `${'# a comment\n'.repeat(1700)}patient 1\n`;
    const client = new Client(web);
    client.socket.write(head('/api/v1/import/prometheus', 'text/plain', `Content-Length: ${text.length}`));
    for (let i = 0; i < 20; i++) {
      await pause(500);
      client.socket.write(text.slice((text.length / 20) * i, (text.length / 20) * (i + 1)));
    }
    await waitFor(() => client.text !== '', { timeoutMs: MAX_MS, what: 'an answer' });
    t.match(client.text, /^HTTP\/1\.1 204 /, '2 KiB a second are enough');
    client.socket.destroy();
  }
  const metrics = await metricsOf(daemon);
  t.match(metrics, 'tidegauge_slow_clients_total{stage="body"} 4\n');
  t.match(metrics, /tidegauge_slow_clients_total\{stage="headers"\} [2-9]\n/);
  t.match(metrics, /outcome="overloaded"\} 1\n/, 'what a sender was refused is counted as such');
  const body = encodeWriteRequest([{ labels: { __name__: 'm' }, samples: [{ timestampMs: Date.now(), value: 1 }] }]);
  const snappy = { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' };
  const reply = await fetch(`http://${web}/api/v1/write`, { method: 'POST', headers: snappy, body: Buffer.from(body) });
  t.equal(reply.status, 204, 'the others are served');
});

test('connections are bounded by port and by address, on every port', async (t) => {
  const daemon = await startDaemon(['--web.max-connections=30', '--web.max-connections-per-address=20']);
  t.teardown(() => daemon.stop());
  for (const [port, address] of Object.entries(daemon.listen)) {
    if (port === 'web') continue;
    const name = port.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const metric = (what: string, labels = ''): Promise<RegExpExecArray> =>
      waitFor(
        async () => new RegExp(`tidegauge_${what}\\{port="${name}"${labels}\\} (\\d+)`).exec(await metricsOf(daemon)),
        { timeoutMs: 5000, what },
      ) as Promise<RegExpExecArray>;
    const many = Array.from({ length: 25 }, () => new Client(address));
    await waitFor(() => many.filter(({ endedMs }) => endedMs !== null).length === 5, { timeoutMs: 4000, what: 'five' });
    t.equal(Number((await metric('connections'))[1]), 20, port);
    t.equal(Number((await metric('connections_refused_total', ',reason="address"'))[1]), 5, port);
    const others = Array.from({ length: 15 }, () => new Client(address, '127.0.0.2'));
    await waitFor(() => others.filter(({ endedMs }) => endedMs !== null).length === 5, {
      timeoutMs: 4000,
      what: 'five',
    });
    t.equal(Number((await metric('connections_refused_total', ',reason="port"'))[1]), 5, port);
    for (const { socket } of [...many, ...others]) socket.destroy();
    await waitFor(async () => Number((await metric('connections'))[1]) === 0, { timeoutMs: 3000, what: 'none' });
    const { socket, ...again } = new Client(address);
    await waitFor(async () => Number((await metric('connections'))[1]) === 1, { timeoutMs: 5000, what: 'room again' });
    t.equal(again.endedMs, null);
    socket.destroy();
  }
  t.equal(daemon.logs().filter(({ event }) => event === 'connections').length, 4, 'said once, not for each');
  const held = Array.from({ length: 30 }, () => new Client(daemon.listen.web));
  await waitFor(() => held.filter(({ endedMs }) => endedMs !== null).length >= 10, { timeoutMs: 4000, what: 'ten' });
  const { port } = new URL(`http://${daemon.listen.web}`);
  const asker = connect({ host: '127.0.0.1', port: Number(port), localAddress: '127.0.0.3' });
  let text = '';
  asker.on('data', (bytes) => {
    text += bytes.toString();
  });
  asker.write('GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await waitFor(() => text, { timeoutMs: 5000, what: 'health' });
  t.match(text, /^HTTP\/1\.1 200 /, 'one address alone cannot take the port from the others');
  for (const { socket } of held) socket.destroy();
});

test('a TLS client that does not get on with its handshake is let go, and one that does is served', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const [host, port] = daemon.listen.kubernetes.split(':');
  const half = await new Client(daemon.listen.kubernetes).drip('\x16\x03\x01', '\x02', 500);
  t.ok(half.endedMs! < 9000, `${half.endedMs}`);
  const whole = connectTls({ host: host!, port: Number(port), rejectUnauthorized: false });
  await waitFor(() => whole.getProtocol(), { timeoutMs: 5000, what: 'a handshake' });
  whole.destroy();
});

test('what is decompressed is bounded by size, by ratio, and by all together', async (t) => {
  let most = 0;
  let running = 0;
  const inflate = (
    _body: Uint8Array,
    { maxOutputLength }: { maxOutputLength: number },
    done: (error: unknown, inflated?: Buffer) => void,
  ): void => {
    running++;
    most = Math.max(most, running * maxOutputLength);
    setImmediate(() => {
      running--;
      done(null, Buffer.alloc(1));
    });
  };
  const body = new Uint8Array(300_000);
  await Promise.all(Array.from({ length: 64 }, () => inflateWithin(body, LIMITS.otlpBodyBytesMax, inflate as never)));
  t.ok(most > body.length * LIMITS.inflateRatioMax && most <= LIMITS.inflateBytesMax, `${most} bytes at a time`);
  t.equal(inflatingBytes(), 0);
  const failing = (_body: Uint8Array, _options: object, done: (error: unknown, inflated?: Buffer) => void): void =>
    done(new Error('broken'));
  await t.rejects(inflateWithin(body, 1000, failing as never), { message: 'broken' });
  const { gunzip } = await import('node:zlib');
  await t.rejects(inflateWithin(gzipSync(Buffer.alloc(2 ** 21)), 2 ** 24, gunzip), {
    message: 'more than may come out',
  });
  t.equal(
    (await inflateWithin(gzipSync(Buffer.alloc(2 ** 20)), 2 ** 24, gunzip)).length,
    2 ** 20,
    'a mebibyte is free',
  );
  t.equal(inflatingBytes(), 0);
});

test('bombs: 64 at a time, by each way in', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web, otlpHttp, otlpGrpc } = daemon.listen;
  const residentBytes = async (): Promise<number> =>
    Number(/^process_resident_memory_bytes (\S+)/m.exec(await metricsOf(daemon))![1]);
  const beforeBytes = await residentBytes();
  const gzip = gzipSync(Buffer.alloc(64 * 2 ** 20));
  const nested = gzipSync(gzip);
  // A snappy block that says it becomes 4 GiB, and one that says 32 MiB and has nothing.
  const lying = [Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0]), Buffer.from([0x80, 0x80, 0x80, 0x10, 0])];
  const post = async (url: string, body: Buffer, encoding: string): Promise<number> => {
    const sent = { 'content-type': url.includes('import') ? 'text/plain' : 'application/x-protobuf' };
    const reply = await fetch(`http://${url}`, {
      method: 'POST',
      headers: { ...sent, 'content-encoding': encoding },
      body: Buffer.from(body),
    });
    await reply.arrayBuffer();
    return reply.status;
  };
  const answers = await Promise.all(
    Array.from({ length: 64 }, async (_, i) => [
      await post(`${otlpHttp}/v1/metrics`, i % 2 === 0 ? gzip : nested, 'gzip'),
      await post(`${web}/api/v1/import/prometheus`, gzip, 'gzip'),
      await post(`${web}/api/v1/write`, lying[i % 2]!, 'snappy'),
    ]),
  );
  for (const [i, answer] of answers.entries()) {
    // Who unpacks once finds no message in what was packed twice.
    t.strictSame(answer, [i % 2 === 0 ? 413 : 400, 413, i % 2 === 0 ? 413 : 400], `${i}`);
  }
  const raw = await new RawHttp2(otlpGrpc).open();
  const prefix = Buffer.alloc(5);
  prefix[0] = 1;
  prefix.writeUInt32BE(gzip.length, 1);
  const message = Buffer.concat([prefix, gzip]);
  for (let id = 1; id < 17; id += 2) {
    raw.write(frame(1, 4, id, headers({ ...CALL, 'grpc-encoding': 'gzip' })));
    for (let at = 0; at < message.length; at += 16_384) {
      const end = Math.min(at + 16_384, message.length);
      raw.write(frame(0, end === message.length ? 1 : 0, id, message.subarray(at, end)));
    }
  }
  await raw.until('all replies', () => raw.of(1).filter(({ flags }) => (flags & 1) !== 0).length === 8);
  for (const { payload } of raw.of(1)) t.match(payload.toString('latin1'), /after decompression/);
  raw.close();
  const grownBytes = (await residentBytes()) - beforeBytes;
  t.ok(grownBytes < 2 * LIMITS.inflateBytesMax, `${Math.round(grownBytes / 2 ** 20)} MiB more than before`);
});
