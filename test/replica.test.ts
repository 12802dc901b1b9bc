/** Two daemons that get the same samples: one that begins with nothing takes the other's memory, and both answer alike. */

import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'tap';
import { type Daemon, startDaemon } from './support/daemon.ts';
import { KedaClient } from './support/keda-client.ts';
import { temporaryFolder } from './support/process.ts';
import { encodeWriteRequest } from './support/remote-write-encoder.ts';

const SMALL = ['--storage.memory-limit=512MiB'];
/** Of the newest sample of each of the 300 series: i * 1000 + 59 / 3. */
const SUM = 44_855_900;
const TOKEN = 'of-the-other-replica';

async function push(daemon: Daemon, nowMs: number, samples: number): Promise<void> {
  const series = Array.from({ length: 300 }, (_, i) => ({
    labels: { __name__: 'work_total', pod: `p-${i % 20}`, shard: `${i}` },
    samples: Array.from({ length: samples }, (__, k) => ({
      timestampMs: nowMs - (samples - 1 - k) * 1000,
      value: i * 1000 + k / 3,
    })),
  }));
  const reply = await fetch(`http://${daemon.listen.web}/api/v1/write`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
    body: encodeWriteRequest(series),
  });
  if (reply.status !== 204) throw new Error(`cannot push: got ${reply.status} ${await reply.text()}`);
}

async function answers(daemon: Daemon, nowMs: number): Promise<unknown[]> {
  const queries = ['work_total', 'sum by (pod) (rate(work_total[1m]))', 'count_over_time(work_total[5m])'];
  const ask = async (path: string): Promise<unknown> =>
    ((await (await fetch(`http://${daemon.listen.web}${path}`)).json()) as { data?: unknown }).data;
  const time = nowMs / 1000;
  const all = queries.map((query) => ask(`/api/v1/query?query=${encodeURIComponent(query)}&time=${time}`));
  return Promise.all([...all, ask('/api/v1/labels')]);
}

/** What KEDA is told, in value or in error. */
async function scalerAnswers(daemon: Daemon): Promise<unknown[]> {
  const client = new KedaClient(daemon.listen.keda);
  const ask = async (query: string): Promise<unknown> => {
    const trigger = { namespace: 'shop', name: 'work', metadata: { query, targetValue: '5' } };
    return client.getMetrics(trigger, 'm').catch((error: unknown) => `${error}`);
  };
  try {
    return [await ask('sum(work_total)'), await ask('sum(count_over_time(work_total[2m]))'), await ask('sum(nothing)')];
  } finally {
    client.close();
  }
}

async function outcomeOf(daemon: Daemon): Promise<string | undefined> {
  const text = await (await fetch(`http://${daemon.listen.web}/metrics`)).text();
  return /tidegauge_replica_start\{outcome="(\w+)"\} 1/.exec(text)?.[1];
}

async function isReady(daemon: Daemon): Promise<boolean> {
  return (await fetch(`http://${daemon.listen.web}/-/ready`)).status === 200;
}

/** A peer that is not one. */
async function standIn(answer: Parameters<typeof createServer>[1]): Promise<{ url: string; server: Server }> {
  const server = createServer(answer as never);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

test('a replica that begins with nothing takes the memory of its peer, and both answer alike', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  await writeFile(join(folder.path, 'token'), `${TOKEN}\n`);
  await writeFile(
    join(folder.path, 'web.yml'),
    `tokens:\n  - name: replica\n    file: ${folder.path}/token\n    roles: [admin]\n`,
  );
  const nowMs = Date.now() - 2000;
  const first = await startDaemon([...SMALL, `--web.config.file=${folder.path}/web.yml`]);
  t.teardown(() => first.stop());
  const peer = `--replica.peer=http://${first.listen.web}`;

  const early = await startDaemon([...SMALL, peer, `--replica.token-file=${folder.path}/token`]);
  t.same([await outcomeOf(early), await isReady(early)], ['empty', true], 'a peer with nothing holds up nobody');
  await early.stop();

  await push(first, nowMs, 60);
  const want = await answers(first, nowMs);
  const token = `--replica.token-file=${folder.path}/token`;
  const inMemory = await startDaemon([...SMALL, peer, token]);
  t.same([await outcomeOf(inMemory), await isReady(inMemory)], ['taken', true]);
  t.same(await answers(inMemory, nowMs), want, 'in memory only');
  const told = await scalerAnswers(first);
  t.match(told[0], [{ metricName: 'm', metricValueFloat: SUM }], 'the scaler of the first has a value');
  t.same(await scalerAnswers(inMemory), told, 'and that of the second the same');
  await push(inMemory, nowMs + 1000, 1);
  await push(first, nowMs + 1000, 1);
  t.same(await answers(inMemory, nowMs + 1000), await answers(first, nowMs + 1000), 'and goes on alike');
  await inMemory.stop();

  const path = `--storage.path=${folder.path}/store`;
  const lasting = await startDaemon([...SMALL, peer, token, path]);
  t.same(await answers(lasting, nowMs), want, 'with a folder');
  await push(lasting, nowMs + 1000, 1);
  process.kill(lasting.pid, 'SIGKILL');
  await lasting.stop();
  const again = await startDaemon([...SMALL, peer, token, path]);
  t.equal(await outcomeOf(again), 'none', 'what it has of its own it does not ask for');
  t.same(await answers(again, nowMs + 1000), await answers(first, nowMs + 1000), 'image and log after it');
  await again.stop();

  const nobody = await startDaemon([...SMALL, peer]);
  t.same([await outcomeOf(nobody), await isReady(nobody)], ['refused', false], 'without a token it gets nothing');
  const listed = await (await fetch(`http://${first.listen.web}/metrics`)).text();
  t.match(listed, /tidegauge_replica_images_sent_total\{outcome="sent"\} 2/);
  await nobody.stop();
});

test('whatever a peer does, the daemon starts, and is ready after the wait at the latest', async (t) => {
  const source = await startDaemon(SMALL);
  const nowMs = Date.now();
  await push(source, nowMs, 20);
  const image = Buffer.from(await (await fetch(`http://${source.listen.web}/api/v1/replica/image`)).arrayBuffer());
  await source.stop();
  t.ok(image.length > 10_000, `${image.length} bytes`);
  const start = async (url: string): Promise<[string | undefined, boolean, number]> => {
    const daemon = await startDaemon([...SMALL, `--replica.peer=${url}`, '--replica.wait=3s']);
    const outcome = await outcomeOf(daemon);
    const isAtOnce = await isReady(daemon);
    while (!(await isReady(daemon))) await new Promise((resolve) => setTimeout(resolve, 50));
    const reply = await fetch(`http://${daemon.listen.web}/api/v1/query?query=count(work_total)`);
    const { data } = (await reply.json()) as { data: { result: unknown[] } };
    await daemon.stop();
    return [outcome, isAtOnce, data.result.length];
  };
  const against = async (what: string, want: unknown, answer: Parameters<typeof createServer>[1]): Promise<void> => {
    const { url, server } = await standIn(answer);
    t.same(await start(url), want, what);
    server.closeAllConnections();
    server.close();
  };
  const changed = (at: number): Buffer => {
    const bytes = Buffer.from(image);
    bytes[at]! ^= 1;
    return bytes;
  };
  await against('a whole image', ['taken', true, 1], ((_: unknown, r: { end(b: Buffer): void }) =>
    r.end(image)) as never);
  await against('dies in the middle', ['refused', false, 0], ((_: unknown, r: never) => {
    const response = r as { write(b: Buffer): void; destroy(): void };
    response.write(image.subarray(0, image.length >> 1));
    setTimeout(() => response.destroy(), 50);
  }) as never);
  await against('ends too early', ['refused', false, 0], ((_: unknown, r: { end(b: Buffer): void }) =>
    r.end(image.subarray(0, image.length - 100))) as never);
  await against('a flipped bit', ['refused', false, 0], ((_: unknown, r: { end(b: Buffer): void }) =>
    r.end(changed(image.length >> 1))) as never);
  const format = Buffer.from(image.toString('latin1').replace('"format":2', '"format":9'), 'latin1');
  await against('another version', ['refused', false, 0], ((_: unknown, r: { end(b: Buffer): void }) =>
    r.end(format)) as never);
  t.same(await start('http://127.0.0.1:1'), ['unreachable', true, 0], 'nobody is there, so nobody else can answer');
});
