/**
 * What an end leaves behind: an orderly one its last image, in time also for a store of some size and with a client that says
 * nothing more; and one without an image a log that brings back what the daemon wrote itself, such as stale markers.
 */

import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/process.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { waitFor } from '../support/wait.ts';
import { ownMetric, queryValue } from './process.ts';

/** What Kubernetes gives by default, less five seconds. */
const EXIT_MS_MAX = 25_000;
const REQUESTS = 20;
const SERIES_PER_REQUEST = 5000;
const SAMPLES = 5;

function storeOf(path: string): string[] {
  return [`--storage.path=${path}/store`, '--storage.memory-limit=1GiB', '--scaling.warm-up=false'];
}

async function folderOf(t: Test): Promise<string> {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  return folder.path;
}

async function pushMany(web: string, request: number, nowMs: number): Promise<number> {
  const series = Array.from({ length: SERIES_PER_REQUEST }, (_, i) => ({
    labels: { __name__: 'kept_total', request: `${request}`, series: `${i}` },
    samples: Array.from({ length: SAMPLES }, (__, k) => ({
      timestampMs: nowMs - (SAMPLES - k) * 1000,
      value: i + k / 3,
    })),
  }));
  const reply = await fetch(`http://${web}/api/v1/write`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
    body: encodeWriteRequest(series),
  });
  return reply.status;
}

test('SIGTERM with a store of some size and a client that hangs: the last image is there in time', async (t) => {
  const flags = storeOf(await folderOf(t));
  const daemon = await startDaemon(flags);
  t.teardown(() => daemon.stop());
  const nowMs = Date.now();
  for (let i = 0; i < REQUESTS; i++) t.equal(await pushMany(daemon.listen.web, i, nowMs), 204);
  const [host, port] = daemon.listen.web.split(':');
  const hanging = connect({ host: host!, port: Number(port) });
  hanging.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    hanging.write('POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun', () => resolve());
  });
  const beganMs = performance.now();
  process.kill(daemon.pid, 'SIGTERM');
  await waitFor(() => daemon.ended(), { timeoutMs: EXIT_MS_MAX, what: 'the daemon to end' });
  t.comment(`ended after ${Math.round(performance.now() - beganMs)} ms`);
  t.equal(await daemon.stop(), 0, 'in order');
  hanging.destroy();
  const again = await startDaemon(flags);
  t.teardown(() => again.stop());
  const { web } = again.listen;
  t.equal(await ownMetric(web, 'tidegauge_recovery_records'), 0, 'nothing of the log was needed');
  t.equal(await ownMetric(web, 'tidegauge_recovery_bad_images'), 0);
  const time = `@ ${nowMs / 1000}`;
  t.equal(await queryValue(web, `count(kept_total ${time})`), REQUESTS * SERIES_PER_REQUEST);
  t.equal(
    await queryValue(web, `sum(count_over_time(kept_total[1m] ${time}))`),
    REQUESTS * SERIES_PER_REQUEST * SAMPLES,
  );
});

test('stale markers of scraping come back with the log', async (t) => {
  const folder = await folderOf(t);
  let text = 'stays 1\nleaves 2\n';
  const exporter = createServer((_, response) => response.setHeader('content-type', 'text/plain').end(text));
  await new Promise<void>((resolve) => exporter.listen(0, '127.0.0.1', resolve));
  t.teardown(() => exporter.close());
  const target = `127.0.0.1:${(exporter.address() as AddressInfo).port}`;
  const job = { job_name: 'shop', static_configs: [{ targets: [target] }] };
  const config = join(folder, 'tidegauge.yaml');
  const scrape = { scrape_interval: '500ms', scrape_timeout: '500ms', scrape_configs: [job] };
  await writeFile(config, JSON.stringify({ scrape }));
  const daemon = await startDaemon([...storeOf(folder), `--config.file=${config}`]);
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  const until = (query: string, want: number | null): Promise<unknown> =>
    waitFor(async () => (await queryValue(web, query)) === want, { timeoutMs: 20_000, what: `${query} to be ${want}` });
  await until('leaves', 2);
  text = 'stays 1\n';
  await until('leaves', null);
  t.equal(await queryValue(web, 'stays'), 1, 'the target is still there');
  exporter.close();
  exporter.closeAllConnections();
  await until('up', 0);
  await until('stays', null);
  const endMs = Date.now();
  await until(`count_over_time(up[1m]) > bool 0`, 1);
  const queries = [
    ...[
      'stays',
      'leaves',
      'up',
      'count_over_time(leaves[1m])',
      'present_over_time(stays[1m])',
      'scrape_samples_scraped',
    ],
  ];
  const answers = (address: string): Promise<unknown[]> =>
    Promise.all(
      queries.map(async (query) => {
        const range = `start=${endMs / 1000 - 20}&end=${endMs / 1000}&step=0.25`;
        const url = `http://${address}/api/v1/query_range?query=${encodeURIComponent(query)}&${range}`;
        return ((await (await fetch(url)).json()) as { data: { result: unknown[] } }).data.result;
      }),
    );
  const want = await answers(web);
  for (const [i, result] of want.entries()) t.equal((result as unknown[]).length, 1, queries[i] ?? '');
  await waitFor(async () => (await ownMetric(web, 'tidegauge_log_pending_bytes')) === 0, {
    timeoutMs: 20_000,
    what: 'the log to be written',
  });
  process.kill(daemon.pid, 'SIGKILL');
  await daemon.stop();
  const again = await startDaemon(storeOf(folder));
  t.teardown(() => again.stop());
  t.ok((await ownMetric(again.listen.web, 'tidegauge_recovery_records')) > 0, 'from the log');
  t.strictSame(await answers(again.listen.web), want, 'the same at each time, before and after the markers');
  t.equal(await queryValue(again.listen.web, 'stays'), null, 'and no more now');
});
