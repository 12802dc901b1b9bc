/**
 * The gRPC server: what clients of other makes see (grpc-js, node:http2), and what a connection by hand may and may not do.
 */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Client, compressionAlgorithms, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { pino } from 'pino';
import { type Test, test } from 'tap';
import { type GrpcFault, GrpcServer, type Method, type ReplyStream } from '../../../src/api/grpc/server.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { frame, headers, PREFACE, RawHttp2 } from '../../support/raw-http2.ts';
import { waitFor } from '../../support/wait.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const MESSAGE_BYTES_MAX = 4 * 2 ** 20;
const DATA = 0;
const HEADERS = 1;
const RESET = 3;
const SETTINGS = 4;
const PING = 6;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;
const REQUEST = {
  ':method': 'POST',
  ':scheme': 'http',
  ':path': '/t.T/Echo',
  ':authority': 'x',
  te: 'trailers',
  'content-type': 'application/grpc',
};

interface Opened {
  readonly address: string;
  readonly server: GrpcServer;
  readonly streams: ReplyStream[];
  readonly refused: string[];
  readonly counted: number[];
  readonly logs: string[];
}

async function open(t: Test): Promise<Opened> {
  const streams: ReplyStream[] = [];
  const refused: string[] = [];
  const counted: number[] = [];
  const logs: string[] = [];
  const refuse = (fault: GrpcFault) => {
    throw fault;
  };
  const unary = (
    answer: (request: Buffer) => Uint8Array | Promise<Uint8Array>,
    afterMs: number | null = null,
  ): Method => ({
    kind: 'unary',
    answer,
    late: afterMs === null ? null : { afterMs, fault: { code: status.DEADLINE_EXCEEDED, details: 'too late' } },
    count: (code) => counted.push(code),
  });
  const server = new GrpcServer({
    messageBytesMax: MESSAGE_BYTES_MAX,
    logger: pino({ level: 'error' }, { write: (line: string) => void logs.push(line) }),
    refused: (reason) => refused.push(reason),
    methods: new Map<string, Method>([
      ['/t.T/Echo', unary((request) => request)],
      ['/t.T/Later', unary(async (request) => request)],
      ['/t.T/Never', unary(() => new Promise(() => {}), 30)],
      ['/t.T/Big', unary((request) => Buffer.alloc(Number(String(request)), 'x'))],
      [
        '/t.T/Refuse',
        unary(() => refuse({ code: status.NOT_FOUND, details: 'nö\n100 %', trailers: { 'x-why': 'so' } })),
      ],
      ['/t.T/Break', unary(() => JSON.parse('{'))],
      ['/t.T/Stream', { kind: 'server_stream', open: (stream) => void streams.push(stream) }],
      [
        '/t.T/Echoes',
        {
          kind: 'echo_stream',
          answer: (request) =>
            request.length === 0 ? refuse({ code: status.INVALID_ARGUMENT, details: 'empty' }) : request,
        },
      ],
    ]),
  });
  const listener = createServer((socket) => server.accept(socket));
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    listener.close();
    await server.close(100);
  });
  const address = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  return { address, server, streams, refused, counted, logs };
}

function clientOf(t: Test, address: string, options = {}): Client {
  const all = { 'grpc.max_send_message_length': -1, 'grpc.max_receive_message_length': -1, ...options };
  const client = new Client(address, credentials.createInsecure(), all);
  t.teardown(() => client.close());
  return client;
}

function call(client: Client, method: string, body: Uint8Array | string, deadlineMs?: number): Promise<Buffer> {
  const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  return new Promise((resolve, reject) => {
    const path = `/t.T/${method}`;
    client.makeUnaryRequest(
      path,
      identity,
      identity,
      Buffer.from(body as string),
      new Metadata(),
      options,
      (error, reply) => (error === null ? resolve(reply!) : reject(error)),
    );
  });
}

const failure = (promise: Promise<unknown>): Promise<ServiceError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: ServiceError) => error,
  );

test('a client of another make: replies, faults, deadlines, compression, sizes', async (t) => {
  const { address, counted, logs } = await open(t);
  const client = clientOf(t, address);
  for (const method of ['Echo', 'Later']) t.equal(String(await call(client, method, 'hello')), 'hello');
  t.equal((await call(client, 'Echo', '')).length, 0);
  const refusal = await failure(call(client, 'Refuse', ''));
  t.strictSame([refusal.code, refusal.details, refusal.metadata.get('x-why')], [status.NOT_FOUND, 'nö\n100 %', ['so']]);
  const fault = await failure(call(client, 'Break', ''));
  t.equal(fault.code, status.INTERNAL);
  t.notMatch(fault.details, /JSON/);
  t.equal(logs.length, 1);
  t.equal((await failure(call(client, 'Never', ''))).details, 'too late');
  t.equal((await failure(call(client, 'Never', '', 5))).code, status.DEADLINE_EXCEEDED);
  t.equal((await failure(call(client, 'Nothing', ''))).code, status.UNIMPLEMENTED);
  await waitFor(() => counted.length === 7, { timeoutMs: 5000, what: 'every call to be counted once' });
  t.strictSame([...counted.slice(0, 6)], [0, 0, 0, 5, 13, 4]);
  t.ok([1, 4].includes(counted[6]!), 'the client cancels when its own deadline passes');

  // Both ways through windows that are smaller than the message.
  const large = randomBytes(MESSAGE_BYTES_MAX).map((byte) => byte & 15) as Buffer;
  t.ok((await call(client, 'Echo', large)).equals(large));
  const over = await failure(call(client, 'Echo', Buffer.alloc(MESSAGE_BYTES_MAX + 1)));
  t.equal(over.code, status.RESOURCE_EXHAUSTED);
  t.equal(String(await call(client, 'Echo', 'still')), 'still');

  for (const algorithm of [compressionAlgorithms.gzip, compressionAlgorithms.deflate]) {
    const compressing = clientOf(t, address, {
      'grpc.default_compression_algorithm': algorithm,
      'grpc.use_local_subchannel_pool': 1,
    });
    t.ok((await call(compressing, 'Echo', large)).equals(large));
    t.equal(
      (await failure(call(compressing, 'Echo', Buffer.alloc(MESSAGE_BYTES_MAX + 1)))).code,
      status.RESOURCE_EXHAUSTED,
    );
  }
});

test('many calls at once come back each with its own answer', async (t) => {
  const { address, server } = await open(t);
  const clients = [0, 1, 2].map(() => clientOf(t, address, { 'grpc.use_local_subchannel_pool': 1 }));
  const sizes = Array.from({ length: 600 }, (_, i) => (i * 7919) % 40_000);
  const replies = await Promise.all(sizes.map((size, i) => call(clients[i % 3]!, 'Big', String(size))));
  t.strictSame(
    replies.map(({ length }) => length),
    sizes,
  );
  t.equal(server.calls, 0);
});

test('streams: messages in order, a fault at the end, a client that goes, a client that does not read', async (t) => {
  const { address, streams, server } = await open(t);
  const client = clientOf(t, address);
  const openStream = () => client.makeServerStreamRequest('/t.T/Stream', identity, identity, Buffer.from('ask'));
  const first = openStream();
  const seen: string[] = [];
  first.on('data', (bytes) => seen.push(String(bytes)));
  const ended = new Promise<ServiceError>((resolve) => first.on('error', resolve as (error: Error) => void));
  await waitFor(() => streams.length === 1, { timeoutMs: 5000, what: 'the stream' });
  t.equal(String(streams[0]!.request), 'ask');
  for (const text of ['a', 'b', 'c']) streams[0]!.write(Buffer.from(text));
  streams[0]!.finish({ code: status.ABORTED, details: 'enough' });
  streams[0]!.write(Buffer.from('d'));
  t.equal((await ended).details, 'enough');
  t.strictSame(seen, ['a', 'b', 'c']);

  let isOver = false;
  const second = openStream();
  second.on('error', () => {});
  await waitFor(() => streams.length === 2, { timeoutMs: 5000, what: 'the stream' });
  streams[1]!.onOver(() => {
    isOver = true;
  });
  second.cancel();
  await waitFor(() => isOver, { timeoutMs: 5000, what: 'the cancellation' });
  t.ok(streams[1]!.isBlocked, 'what is over takes nothing more');

  const raw = await new RawHttp2(address).open([[4, 10]]);
  raw.write(frame(HEADERS, 4, 1, headers({ ...REQUEST, ':path': '/t.T/Stream' })), frame(DATA, 1, 1, '\0\0\0\0\0'));
  await raw.until('the stream', () => streams.length === 3);
  streams[2]!.write(Buffer.alloc(20, 'z'));
  t.ok(streams[2]!.isBlocked, 'its window is full');
  streams[2]!.finish(null);
  await raw.until('what the window lets through', () => raw.of(DATA, 1).length === 1);
  t.equal(raw.of(DATA, 1)[0]!.payload.length, 10);
  raw.write(frame(WINDOW_UPDATE, 0, 1, Buffer.from([0, 0, 0, 5])));
  await raw.until('more of it', () => raw.of(DATA, 1).length === 2);
  raw.write(frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, 100])));
  await raw.until('the end', () => raw.of(HEADERS, 1).at(-1)?.flags === 5);
  t.equal(Buffer.concat(raw.of(DATA, 1).map(({ payload }) => payload)).length, 25);
  raw.close();
  await waitFor(() => server.calls === 0, { timeoutMs: 5000, what: 'no call to be left' });
});

test('a stream of requests is answered message by message, and a bad one ends it', async (t) => {
  const { address } = await open(t);
  const client = clientOf(t, address);
  const duplex = () => {
    const stream = client.makeBidiStreamRequest('/t.T/Echoes', identity, identity);
    const seen: string[] = [];
    stream.on('data', (bytes) => seen.push(String(bytes)));
    const ended = new Promise<number>((resolve) => {
      stream.on('end', () => resolve(0));
      stream.on('error', (error) => resolve((error as ServiceError).code));
    });
    return { stream, seen, ended };
  };
  const good = duplex();
  for (const text of ['one', 'two', 'three']) good.stream.write(Buffer.from(text));
  good.stream.end();
  t.equal(await good.ended, 0);
  t.strictSame(good.seen, ['one', 'two', 'three']);
  const bad = duplex();
  bad.stream.write(Buffer.alloc(0));
  t.equal(await bad.ended, status.INVALID_ARGUMENT);
});

test('headers as nghttp2 packs them: every character, tables that grow and change their size', async (t) => {
  const { address } = await open(t);
  const session = connect(`http://${address}`, { settings: { headerTableSize: 4096 } });
  t.teardown(() => session.close());
  const ask = (more: Record<string, string>) =>
    new Promise<string>((resolve, reject) => {
      const stream = session.request({ ...REQUEST, ...more });
      let replyStatus = '';
      stream.on('trailers', (trailers) => {
        replyStatus = String(trailers['grpc-status']);
      });
      stream.on('response', (reply) => {
        replyStatus = String(reply['grpc-status'] ?? replyStatus);
      });
      stream.on('data', () => {});
      stream.on('end', () => resolve(replyStatus));
      stream.on('error', reject);
      stream.end(Buffer.alloc(5));
    });
  t.equal(await ask({}), '0');
  for (let code = 0x21; code < 0x7f; code++) {
    const odd = String.fromCharCode(code).repeat(1 + (code % 7));
    t.equal(await ask({ 'x-odd': `a${odd}b`, 'x-more': odd.repeat(60) }), '0');
  }
  for (let code = 0x80; code < 0x100; code++) t.equal(await ask({ 'x-odd': `a${String.fromCharCode(code)}b` }), '0');
  t.equal(await ask({ ':path': '/t.T/~Nothing!' }), '12', 'and none was taken for another');
  t.equal(await ask({ 'grpc-encoding': 'snappy' }), '12');
});

test('who speaks no gRPC is told so by HTTP', async (t) => {
  const { address } = await open(t);
  const raw = await new RawHttp2(address).open();
  t.teardown(() => raw.close());
  const f = async (stream: number, change: Record<string, string>, want: Buffer) => {
    raw.write(frame(HEADERS, 5, stream, headers({ ...REQUEST, ...change })));
    await raw.until('a reply', () => raw.of(HEADERS, stream).length > 0);
    t.ok(raw.of(HEADERS, stream)[0]!.payload.equals(want));
  };
  const plain = (code: string) =>
    Buffer.concat([Buffer.from([0, 7]), Buffer.from(':status'), Buffer.from([3]), Buffer.from(code)]);
  await f(1, { ':method': 'GET' }, plain('405'));
  await f(3, { 'content-type': 'text/html' }, plain('415'));
});

test('requests that are not whole, or more than one', async (t) => {
  const { address } = await open(t);
  const raw = await new RawHttp2(address).open();
  t.teardown(() => raw.close());
  let stream = -1;
  const f = async (want: number, ...bodies: readonly (readonly [number, string | Buffer])[]) => {
    stream += 2;
    raw.write(frame(HEADERS, 4, stream, headers(REQUEST)));
    for (const [flags, body] of bodies) raw.write(frame(DATA, flags, stream, body));
    await raw.until('the end', () => raw.of(HEADERS, stream).some(({ flags }) => (flags & 1) !== 0));
    const text = raw.of(HEADERS, stream).at(-1)!.payload.toString('latin1');
    t.match(text, new RegExp(`grpc-status.${want}(?!\\d)`));
  };
  await f(0, [1, '\0\0\0\0\x02hi']);
  await f(0, [0, '\0\0'], [0, '\0\0\x02h'], [9, '\x03i\0\0\0']);
  await f(13, [1, '']);
  await f(13, [1, '\0\0\0\0\x05hi']);
  await f(12, [1, '\0\0\0\0\x02hi\0\0\0\0\x02hi']);
  await f(8, [0, '\0\x7f\0\0\0']);
  await f(13, [1, '\x01\0\0\0\x02hi']);
  const zipped = gzipSync('hi');
  stream += 2;
  raw.write(frame(HEADERS, 4, stream, headers({ ...REQUEST, 'grpc-encoding': 'gzip' })));
  raw.write(frame(DATA, 1, stream, Buffer.concat([Buffer.from([1, 0, 0, 0, zipped.length]), zipped])));
  await raw.until('a reply', () => raw.of(DATA, stream).length > 0);
  t.equal(raw.of(DATA, stream)[0]!.payload.toString('latin1'), '\0\0\0\0\x02hi');
});

test('what breaks the protocol, or goes on without end, ends the connection and nothing else', async (t) => {
  const { address, server, refused } = await open(t);
  const bystander = clientOf(t, address);
  const PROTOCOL = 1;
  const FLOW = 3;
  const SIZE = 6;
  const COMPRESSION = 9;
  const CALM = 11;
  const f = async (name: string, want: number, ...frames: readonly Buffer[]) => {
    const raw = await new RawHttp2(address).open();
    // In pieces: what a peer that stops reading would not take.
    for (let i = 0; i < frames.length; i += 500) raw.write(...frames.slice(i, i + 500));
    t.equal((await raw.goneAway()).code, want, name);
  };
  const begin = frame(HEADERS, 4, 1, headers(REQUEST));
  const many = (count: number, one: (i: number) => Buffer) => Array.from({ length: count }, (_, i) => one(i));
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  await f('an even stream', PROTOCOL, frame(HEADERS, 5, 2, headers(REQUEST)));
  await f('data of no stream', PROTOCOL, frame(DATA, 0, 1, 'x'));
  await f('a reset of no stream', PROTOCOL, frame(RESET, 0, 1, number(8)));
  await f('a window update by nothing', PROTOCOL, frame(WINDOW_UPDATE, 0, 0, number(0)));
  await f('a window that is too large', FLOW, frame(WINDOW_UPDATE, 0, 0, number(2 ** 31 - 1)));
  await f('a ping of another size', SIZE, frame(PING, 0, 0, 'x'));
  await f('settings of another size', SIZE, frame(SETTINGS, 0, 0, 'x'));
  await f('an initial window that is too large', FLOW, frame(SETTINGS, 0, 0, Buffer.from([0, 4, 255, 0, 0, 0])));
  await f('a push', PROTOCOL, frame(5, 4, 1, ''));
  await f('padding without end', PROTOCOL, begin, frame(DATA, 8, 1, '\x09x'));
  await f('a frame that is too large', SIZE, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 1]));
  await f('headers interrupted', PROTOCOL, frame(HEADERS, 0, 1, headers(REQUEST)), frame(PING, 0, 0, '12345678'));
  await f('a continuation of nothing', PROTOCOL, frame(CONTINUATION, 4, 1, ''));
  await f(
    'headers that cannot be decoded',
    COMPRESSION,
    frame(HEADERS, 4, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])),
  );
  await f('a table that is too large', COMPRESSION, frame(HEADERS, 4, 1, Buffer.from([0x3f, 0xff, 0xff, 0x03])));
  const bomb = Buffer.concat([
    headers(REQUEST),
    Buffer.from([0x40, 1, 0x78, 0x7f, 0x81, 0x17]),
    Buffer.alloc(3072, 'x'),
    Buffer.alloc(10, 0xbe),
  ]);
  await f('few bytes that become many headers', COMPRESSION, frame(HEADERS, 4, 1, bomb));
  await f(
    'headers without end',
    CALM,
    frame(HEADERS, 0, 1, ''),
    ...many(2, () => frame(CONTINUATION, 0, 1, Buffer.alloc(16_000))),
  );
  await f('empty continuations', CALM, frame(HEADERS, 0, 1, ''), ...many(40_000, () => frame(CONTINUATION, 0, 1, '')));
  await f('pings', CALM, ...many(40_000, () => frame(PING, 0, 0, '12345678')));
  await f('settings', CALM, ...many(40_000, () => frame(SETTINGS, 0, 0, '')));
  await f('empty data', CALM, begin, ...many(40_000, () => frame(DATA, 0, 1, '')));
  await f(
    'rapid resets',
    CALM,
    ...many(2000, (i) =>
      Buffer.concat([frame(HEADERS, 4, 2 * i + 1, headers(REQUEST)), frame(RESET, 0, 2 * i + 1, number(8))]),
    ),
  );
  const noise = new RawHttp2(address);
  noise.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  t.equal((await noise.goneAway()).code, PROTOCOL);
  const mute = new RawHttp2(address);
  mute.write(Buffer.from(PREFACE), frame(PING, 0, 0, '12345678'));
  t.equal((await mute.goneAway()).code, PROTOCOL, 'settings come first');
  t.ok(refused.length >= 24);
  t.equal(String(await call(bystander, 'Echo', 'calm')), 'calm');
  t.equal(server.calls, 0);
});

test('a client that asks and does not read is not read either', async (t) => {
  const { address, counted } = await open(t);
  const raw = new RawHttp2(address);
  t.teardown(() => raw.close());
  // Windows without end, so that nothing but the socket holds replies back.
  await raw.open([[4, 2 ** 31 - 1]]);
  raw.write(frame(WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 0, 0, 0])));
  raw.socket.pause();
  const asked = 200;
  for (let i = 0; i < asked; i++) {
    const size = '300000';
    const path = headers({ ...REQUEST, ':path': '/t.T/Big' });
    raw.write(
      frame(HEADERS, 4, 2 * i + 1, path),
      frame(DATA, 1, 2 * i + 1, `\0\0\0\0${String.fromCharCode(size.length)}${size}`),
    );
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.ok(counted.length < asked / 2, `${counted.length} of ${asked} were answered before it stopped`);
  raw.socket.resume();
  await waitFor(() => counted.length === asked, { timeoutMs: 20_000, what: 'the rest, once it reads' });
});

test('closing lets calls end, and cuts off what does not', async (t) => {
  const { address, server, streams } = await open(t);
  const raw = await new RawHttp2(address).open();
  raw.write(frame(HEADERS, 4, 1, headers({ ...REQUEST, ':path': '/t.T/Stream' })), frame(DATA, 1, 1, '\0\0\0\0\0'));
  await raw.until('the stream', () => streams.length === 1);
  const closed = server.close(300);
  await raw.until('the farewell', () => raw.of(7).length === 1);
  raw.write(frame(HEADERS, 5, 3, headers(REQUEST)));
  await raw.until('a refusal', () => raw.of(RESET, 3).length === 1);
  t.equal(raw.of(RESET, 3)[0]!.payload.readUInt32BE(0), 7, 'that may be tried again elsewhere');
  streams[0]!.write(Buffer.from('bye'));
  streams[0]!.finish(null);
  await closed;
  t.equal(raw.of(HEADERS, 1).at(-1)?.flags, 5);
  await raw.until('the end', () => raw.isClosed);
});

test('any bytes end in a reply or in an orderly end', async (t) => {
  const { address, server, logs } = await open(t);
  const oneFrame = fc.tuple(fc.nat(10), fc.nat(255), fc.nat(6), fc.uint8Array({ maxLength: 40 }));
  await fc.assert(
    fc.asyncProperty(fc.array(oneFrame, { maxLength: 12 }), async (frames) => {
      const raw = await new RawHttp2(address).open();
      raw.write(
        ...frames.map(([type, flags, stream, payload]) => frame(type, flags, stream, payload)),
        frame(PING, 0, 0, 'farewell'),
      );
      const isAnswered = () => raw.of(PING).some(({ payload }) => String(payload) === 'farewell');
      // Half a block of headers, and then a ping: also an end.
      await raw.until('an answer', () => raw.isClosed || isAnswered());
      raw.close();
    }),
    { numRuns: 60 },
  );
  await waitFor(() => server.calls === 0, { timeoutMs: 5000, what: 'no call to be left' });
  t.strictSame(logs, []);
  t.ok(LIMITS.grpcStreamsMax >= LIMITS.pushStreamsMax, 'push streams have room beside other calls');
});
