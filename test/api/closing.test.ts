/** Closing a server ends the connections that nobody waits on any more, whenever they become idle, and waits for the others. */
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { test } from 'tap';
import { buildHttp, listenHttp } from '../../src/api/http.ts';
import { compressReply } from '../../src/api/prometheus/compression.ts';

const CLOSED_MS_MAX = 2000;

/** A route that streams what it is given, compressed where the client asks for it. */
async function open(pieces: () => AsyncGenerator<Buffer>) {
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  app.addHook('onSend', compressReply);
  app.get('/stream', (_request, reply) => reply.send(Readable.from(pieces(), { objectMode: false })));
  const agent = new Agent({ keepAlive: true });
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  const ask = async (): Promise<{ sent: ClientRequest; reply: IncomingMessage }> => {
    const sent = request(`http://${address}/stream`, { agent, headers: { 'accept-encoding': 'gzip' } });
    sent.on('error', () => undefined);
    sent.end();
    const [reply] = (await once(sent, 'response')) as [IncomingMessage];
    reply.on('error', () => undefined);
    return { sent, reply };
  };
  return { app, agent, ask };
}

/** Bytes that do not compress, so that the client's end of the connection fills up. */
async function* noise(): AsyncGenerator<Buffer> {
  for (let i = 0; i < 2000; i++) yield Buffer.from(crypto.getRandomValues(new Uint8Array(65_536)));
}

test('after a compressed reply was read to its end and another was aborted, a close is prompt', async (t) => {
  const { app, agent, ask } = await open(noise);
  t.teardown(() => agent.destroy());
  const { sent, reply } = await ask();
  t.equal(reply.headers['content-encoding'], 'gzip');
  await once(reply, 'data');
  sent.destroy();
  const began = performance.now();
  await app.close();
  const ms = performance.now() - began;
  t.ok(ms < CLOSED_MS_MAX, `${ms} ms`);
});

test('a connection that is kept alive ends with its reply, if that ends after the close began', async (t) => {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  const { app, agent, ask } = await open(async function* () {
    yield Buffer.alloc(100_000);
    await promise;
    yield Buffer.from('the end');
  });
  t.teardown(() => agent.destroy());
  const { reply } = await ask();
  const ended = once(reply.resume(), 'end');
  const closed = app.close();
  while (app.server.listening) await new Promise(setImmediate);
  const began = performance.now();
  resolve();
  await ended;
  t.ok(reply.complete, 'the reply came whole');
  await closed;
  const ms = performance.now() - began;
  t.ok(ms < CLOSED_MS_MAX, `${ms} ms`);
});
