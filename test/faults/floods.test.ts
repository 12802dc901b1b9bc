/**
 * More than there is room for: new series without end, series that all are new each minute, and everything at once under a
 * small memory limit. TIDEGAUGE_LONG=1 makes them as large as docs/reliability.md says.
 */
import { gzipSync } from 'node:zlib';
import { test } from 'tap';
import { startDaemon } from '../support/daemon.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { isLong, mib, ownMetric, push, queryValue, residentBytes, type Sent, until } from './process.ts';
import { openSite, T0 } from './site.ts';

const SERIES_MAX = isLong ? 1_000_000 : 5000;
const NEW_SERIES = isLong ? 10_000_000 : 25_000;
const A_BODY = isLong ? 5000 : 1000;
const FLOOD_MS_MAX = isLong ? 360_000 : 20_000;
const KNOWN = 100;

const strangers = (first: number, count: number): Sent[] =>
  Array.from({ length: count }, (_, i) => ({ labels: { __name__: 'stranger', id: `s${first + i}` }, value: 1 }));

test('new series against the limit: the known ones go on, and nothing of the others stays', async (t) => {
  const memory = isLong ? '2GiB' : '512MiB';
  const daemon = await startDaemon([`--storage.series-limit=${SERIES_MAX}`, `--storage.memory-limit=${memory}`]);
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  const known = Array.from({ length: KNOWN }, (_, i) => ({ labels: { __name__: 'known', id: `k${i}` }, value: i }));
  t.equal(await push(web, known), 204);
  let sent = 0;
  let fullBytes = 0;
  let mostBytes = 0;
  let refusals = 0;
  let rounds = 0;
  let slowestMs = 0;
  const goesOn = until(FLOOD_MS_MAX);
  while (sent < NEW_SERIES && (await goesOn())) {
    const status = await push(web, strangers(sent, A_BODY));
    sent += A_BODY;
    if (sent <= SERIES_MAX - KNOWN && status !== 204) t.fail(`a stranger that there is room for: ${status}`);
    // What can never be taken is no reason to come again.
    if (sent > SERIES_MAX && status !== 400) t.fail(`a stranger too many: ${status}`);
    refusals += status === 400 ? 1 : 0;
    if (rounds++ % 10 !== 0) continue;
    if ((await push(web, known)) !== 204) t.fail('the known series are refused');
    const beganMs = performance.now();
    if ((await queryValue(web, 'sum(known)')) !== (KNOWN * (KNOWN - 1)) / 2) t.fail('a query is answered wrong');
    slowestMs = Math.max(slowestMs, performance.now() - beganMs);
    const bytes = residentBytes(daemon);
    if (fullBytes === 0 && sent > 1.2 * SERIES_MAX) fullBytes = bytes;
    mostBytes = Math.max(mostBytes, bytes);
  }
  t.ok(refusals > 0);
  t.equal(await ownMetric(web, 'tidegauge_head_series'), SERIES_MAX);
  // In short form the daemon itself is most of it, and has not come to rest.
  const allowed = isLong ? fullBytes * 1.05 + 32 * 2 ** 20 : fullBytes + 64 * 2 ** 20;
  t.ok(mostBytes <= allowed, `${sent} series: ${mib(fullBytes)} when full, then at most ${mib(mostBytes)}`);
  t.comment(`${sent} new series against ${SERIES_MAX}: ${mib(mostBytes)}; slowest query ${Math.round(slowestMs)} ms`);
});

test('series that are all new each minute: memory stays flat, and the dead ones go', async (t) => {
  const aRound = isLong ? 20_000 : 1000;
  const rounds = isLong ? 240 : 60;
  const retentionMs = 600_000;
  const site = await openSite({
    head: { retentionMs, seriesMax: 40 * aRound, memoryBytes: 2 ** 30, bodyBytesMax: 2 ** 22 },
  });
  const bytes: number[] = [];
  for (let round = 0; round < rounds; round++) {
    site.clock.advance(60_000);
    const timestampMs = site.clock.nowMs();
    const series = Array.from({ length: aRound }, (_, i) => ({
      labels: { __name__: 'churn', pod: `pod-${round}-${i}` },
      samples: [{ timestampMs, value: i }],
    }));
    const outcome = site.writer.remoteWrite(encodeWriteRequest(series));
    await outcome.logged;
    if (outcome.samplesRefused > 0) t.fail(`round ${round}: ${outcome.message}`);
    site.head.enforceRetention();
    bytes.push(site.head.stats().bytes);
    if (round % 10 === 0) await site.storage.takeImage();
  }
  const { series, seriesCreated } = site.head.stats();
  t.equal(seriesCreated, rounds * aRound);
  t.ok(series <= 2 * (retentionMs / 60_000) * aRound, `${series} series are left`);
  const half = rounds / 2;
  const [early, late] = [Math.max(...bytes.slice(half / 2, half)), Math.max(...bytes.slice(half))];
  t.ok(late <= early * 1.05, `${mib(early)}, then ${mib(late)}`);
  t.comment(`${seriesCreated} series, each a minute: ${mib(late)} at T0 + ${(site.clock.nowMs() - T0) / 60_000} min`);
  site.head.verify();
});

test('everything at once under a small limit: resident memory stays below 95 % of it', async (t) => {
  const limitBytes = 512 * 2 ** 20;
  const daemon = await startDaemon([`--storage.memory-limit=${limitBytes}B`, '--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const { web, otlpHttp } = daemon.listen;
  const durationMs = isLong ? 180_000 : 6000;
  const statuses = new Map<string, number>();
  const count = (what: string): void => {
    statuses.set(what, (statuses.get(what) ?? 0) + 1);
  };
  const attack = async (name: string, act: (round: number) => Promise<number>): Promise<void> => {
    const goesOn = until(durationMs);
    for (let round = 0; await goesOn(); round++) count(`${name} ${await act(round)}`);
  };
  const bomb = gzipSync(Buffer.alloc(32 * 2 ** 20));
  const post = async (url: string, body: Uint8Array, headers: Record<string, string>): Promise<number> => {
    const reply = await fetch(`http://${url}`, { method: 'POST', headers, body: Buffer.from(body) });
    await reply.arrayBuffer();
    return reply.status;
  };
  const ask = (query: string) => async (): Promise<number> => {
    const reply = await fetch(`http://${web}/api/v1/query?query=${encodeURIComponent(query)}`);
    await reply.arrayBuffer();
    return reply.status;
  };
  const long = 'x'.repeat(3000);
  let mostBytes = 0;
  const watch = setInterval(() => {
    mostBytes = Math.max(mostBytes, residentBytes(daemon));
  }, 100);
  const steady = [{ labels: { __name__: 'steady' }, value: 1 }];
  await Promise.all([
    attack('steady', () => push(web, steady)),
    attack('new', (round) => push(web, strangers(round * 2000, 2000))),
    attack('long', (round) =>
      push(
        web,
        Array.from({ length: 200 }, (_, i) => ({
          labels: { __name__: 'long', a: `${long}${round}`, b: `${i}` },
          value: 1,
        })),
      ),
    ),
    attack('bomb', () =>
      post(`${otlpHttp}/v1/metrics`, bomb, { 'content-type': 'application/x-protobuf', 'content-encoding': 'gzip' }),
    ),
    attack('large', () =>
      post(`${web}/api/v1/import/prometheus`, Buffer.alloc(8 * 2 ** 20, 'a'), { 'content-type': 'text/plain' }),
    ),
    attack('series', ask('{__name__=~".+"}')),
    attack('product', ask('sum by (id) (stranger) * on(id) stranger')),
    attack('past', ask('count_over_time({__name__=~".+"}[2h])')),
  ]);
  clearInterval(watch);
  t.equal(daemon.ended(), false, 'it lives');
  t.ok(mostBytes <= 0.95 * limitBytes, `${mib(mostBytes)} of ${mib(limitBytes)}`);
  t.equal((await fetch(`http://${web}/-/healthy`)).status, 200);
  const summary = [...statuses].map(([what, number]) => `${what}: ${number}`).sort();
  t.notOk(
    summary.some((line) => / (?:500|429): /.test(line)),
    'no fault of ours, and never a 429',
  );
  t.comment(`at most ${mib(mostBytes)} of ${mib(limitBytes)}; ${summary.join(', ')}`);
});
