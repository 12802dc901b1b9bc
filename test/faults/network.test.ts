/**
 * Networks that delay, keep, drip and break, between the daemon and the API server, its peer, and what it scrapes: whatever is
 * asked for over them ends in bounded time, nobody is let in because nobody could be asked, all is well again by itself once
 * the network is, and no connection stays behind. TIDEGAUGE_LONG=1 waits for a peer that drips.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { createAuthority, issueCertificate } from '../../src/api/kubernetes/certificate.ts';
import { openKubernetes } from '../../src/api/kubernetes/server.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { startStubExporter } from '../journeys/stub-exporter.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { httpsClient } from '../support/https-client.ts';
import { temporaryFolder } from '../support/process.ts';
import { ScalingStack, START_MS } from '../support/scaling-stack.ts';
import { StandInApiServer } from '../support/stand-in-api-server.ts';
import { type Toxic, ToxicProxy } from '../support/toxic-proxy.ts';
import { waitFor } from '../support/wait.ts';
import { isLong, openFiles, ownMetric, push, queryValue } from './process.ts';

/** What a machine that does other things, too, may take longer. */
const SLACK_MS = 10_000;
const SMALL = '--storage.memory-limit=256MiB';

async function proxyTo(t: Test, target: string): Promise<{ readonly proxy: ToxicProxy; readonly address: string }> {
  const proxy = new ToxicProxy(target);
  t.teardown(() => proxy.close());
  return { proxy, address: await proxy.open() };
}

async function timed<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly ms: number }> {
  const beganMs = performance.now();
  const value = await work();
  return { value, ms: Math.round(performance.now() - beganMs) };
}

// ---- the API server

const METRIC = '/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/depth';
const TRUST_LIST = '/api/v1/configmaps';

async function openBehind(t: Test) {
  const rights = { allowed: true };
  const api = new StandInApiServer({
    allows: () => ({ allowed: rights.allowed }),
    token: (token) => (token.startsWith('good') ? { authenticated: true, user: { username: token } } : {}),
  });
  const authority = createAuthority(START_MS);
  const trust = (certPem: string) =>
    api.put(TRUST_LIST, {
      metadata: { name: 'extension-apiserver-authentication', namespace: 'kube-system' },
      data: {
        'client-ca-file': certPem,
        'requestheader-client-ca-file': certPem,
        'requestheader-allowed-names': '["front-proxy-client"]',
        'requestheader-username-headers': '["X-Remote-User"]',
        'requestheader-group-headers': '["X-Remote-Group"]',
        'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
      },
    });
  trust(authority.certPem);
  const access = await api.open();
  const { proxy, address } = await proxyTo(t, new URL(access.url).host);
  const stack = new ScalingStack();
  stack.put({ __name__: 'depth', namespace: 'shop' }, 3);
  const { readings, engine, clock, logger, registry } = stack;
  const server = await openKubernetes({
    listen: { host: '127.0.0.1', port: 0 },
    allowUnauthenticated: false,
    identity: { kind: 'delegated' },
    apiServer: { ...access, url: `https://${address}` },
    certificate: null,
    externalMetrics: [{ name: 'depth', query: 'sum(depth)' }] as never,
    ...{ readings, engine, clock, logger, registry, isReady: () => true },
    reviewRetries: { tries: 5, firstPauseMs: 20, random: () => 0 },
  });
  t.teardown(() => api.close());
  const proxied = issueCertificate(authority, { commonName: 'front-proxy-client', usage: 'client', nowMs: START_MS });
  const ask = async (token: string | null, path = METRIC): Promise<number> => {
    const headers = token === null ? { 'X-Remote-User': 'u' } : { authorization: `Bearer ${token}` };
    const own = token === null ? proxied : null;
    return (await httpsClient(server.address, server.caPem!, own)({ path, headers })).status;
  };
  return { server, proxy, stack, rights, trust, ask };
}

const TOXICS: readonly Toxic[] = [
  { kind: 'refuse' },
  { kind: 'silent' },
  { kind: 'reset', afterBytes: 700 },
  { kind: 'trickle', everyMs: 200 },
  { kind: 'latency', ms: 30_000 },
];

async function closedBy(t: Test, toxic: Toxic): Promise<void> {
  const { server, proxy, stack, rights, trust, ask } = await openBehind(t);
  t.same([await ask('good'), await ask(null)], [200, 200]);
  proxy.toxic = toxic;
  const cached = await timed(() => Promise.all([ask('good'), ask(null)]));
  t.same(cached.value, [200, 200], 'what was said holds for a while');
  stack.clock.advance(LIMITS.reviewCacheMs + 1000);
  // More at a time than there may be connections: who waits for one is not forgotten.
  const asking = toxic.kind === 'silent' ? LIMITS.clusterConnectionsMax + 8 : 4;
  const many = Array.from({ length: asking }, (_, i) => ask(`good-${i}`));
  const over = await timed(() => Promise.all([ask('good'), ask(null), ...many]));
  t.same([...new Set(over.value)], [500], 'then it is closed to everybody');
  t.ok(over.ms < LIMITS.clusterTimeoutMs + SLACK_MS, `refused after ${over.ms} ms`);
  t.ok(proxy.connections <= LIMITS.clusterConnectionsMax, `${proxy.connections} connections`);
  const health = await timed(() => Promise.all([ask(null, '/readyz'), ask(null, '/apis')]));
  t.same(health.value, [200, 200], 'health and discovery need no review');
  t.ok(health.ms < 4000, `${health.ms} ms`);
  rights.allowed = false;
  const other = createAuthority(START_MS);
  trust(other.certPem);
  proxy.toxic = { kind: 'none' };
  await waitFor(async () => (await ask('good')) === 403, { timeoutMs: 15_000, what: 'what holds by now' });
  const known = async () => (await ask(null)) === 401;
  await waitFor(known, { timeoutMs: 30_000, what: 'the authority of by now to be known' });
  rights.allowed = true;
  stack.clock.advance(LIMITS.reviewCacheMs + 1000);
  t.equal(await ask('good'), 200, 'well again by itself');
  await server.close();
  await waitFor(() => proxy.connections === 0, { timeoutMs: 5000, what: 'the connections to end' });
  t.comment(`${toxic.kind}: refused after ${over.ms} ms`);
}

test('no API server to ask: closed after what was said last is over, in bounded time', { jobs: 5 }, async (t) => {
  await Promise.all(TOXICS.map((toxic) => t.test(toxic.kind, { buffered: true }, (one) => closedBy(one, toxic))));
});

test('an API server that is far away is asked all the same', async (t) => {
  const { server, proxy, stack, ask } = await openBehind(t);
  proxy.toxic = { kind: 'latency', ms: 100 };
  stack.clock.advance(LIMITS.reviewCacheMs + 1000);
  t.same(await Promise.all([ask('good'), ask(null), ask('bad')]), [200, 200, 401]);
  await server.close();
});

// ---- the peer

async function fill({ listen }: Daemon): Promise<void> {
  const series = Array.from({ length: 2000 }, (_, i) => ({ labels: { __name__: 'held', s: `${i}` }, value: i }));
  if ((await push(listen.web, series)) !== 204) throw new Error('cannot fill the peer');
}

test('a peer behind such a network holds up nobody for long', async (t) => {
  const peer = await startDaemon([SMALL]);
  t.teardown(() => peer.stop());
  await fill(peer);
  const { proxy, address } = await proxyTo(t, peer.listen.web);
  const before = openFiles(peer);
  const cases: readonly (readonly [Toxic, string, number])[] = [
    [{ kind: 'none' }, 'taken', 5000],
    [{ kind: 'latency', ms: 50 }, 'taken', 15_000],
    [{ kind: 'refuse' }, 'unreachable', 5000],
    // Asked three times, with a pause between them.
    [{ kind: 'silent' }, 'unreachable', 3 * LIMITS.replicaAnswerMsMax + 2000],
    [{ kind: 'reset', afterBytes: 60_000 }, 'refused', 5000],
    ...(isLong ? [[{ kind: 'trickle', everyMs: 1 }, 'refused', LIMITS.replicaImageMsMax] as const] : []),
  ];
  for (const [toxic, want, msMax] of cases) {
    proxy.toxic = toxic;
    const { value: daemon, ms } = await timed(() => startPatiently([SMALL, `--replica.peer=http://${address}`]));
    t.teardown(() => daemon.stop());
    const { web } = daemon.listen;
    t.equal(await ownMetric(web, `tidegauge_replica_start{outcome="${want}"}`), 1, `${toxic.kind}: ${want}`);
    t.ok(ms < msMax + SLACK_MS, `${toxic.kind}: listens after ${ms} ms`);
    const series = await ownMetric(web, 'tidegauge_head_series');
    t.equal(series, want === 'taken' ? 2000 : 0, 'all of it or nothing');
    t.equal((await fetch(`http://${web}/-/ready`)).status, want === 'refused' ? 503 : 200, toxic.kind);
    await daemon.stop();
  }
  proxy.toxic = { kind: 'none' };
  const isLet = () => proxy.connections === 0 && openFiles(peer) <= before + 2;
  await waitFor(isLet, { timeoutMs: 10_000, what: 'the connections to end' });
});

/** One that may not listen for a while. */
function startPatiently(flags: readonly string[]): Promise<Daemon> {
  return startDaemon(flags, { readyMsMax: LIMITS.replicaImageMsMax + 30_000 });
}

// ---- what is scraped

test('a target behind such a network is down in time, and up again by itself', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const exporter = await startStubExporter();
  t.teardown(() => exporter.stop());
  const { proxy, address } = await proxyTo(t, exporter.address);
  const job = { job_name: 'far', static_configs: [{ targets: [address] }] };
  const scrape = { scrape_interval: '500ms', scrape_timeout: '400ms', scrape_configs: [job] };
  const file = join(folder.path, 'tidegauge.yml');
  await writeFile(file, JSON.stringify({ scrape }));
  const daemon = await startDaemon([SMALL, `--config.file=${file}`]);
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  const isUp = async (want: number): Promise<boolean> => (await queryValue(web, 'up{job="far"}')) === want;
  await waitFor(() => isUp(1), { timeoutMs: 15_000, what: 'the target to be up' });
  const before = openFiles(daemon);
  const toxics: readonly Toxic[] = [
    ...TOXICS.filter(({ kind }) => kind !== 'reset'),
    { kind: 'reset', afterBytes: 40 },
  ];
  for (const toxic of toxics) {
    proxy.toxic = toxic;
    const down = await timed(() =>
      waitFor(() => isUp(0), { timeoutMs: 10_000, what: `it to be down (${toxic.kind})` }),
    );
    t.ok(down.ms < 1000 + SLACK_MS, `${toxic.kind}: down after ${down.ms} ms`);
    t.equal(await queryValue(web, 'journey_scrape_number'), null, 'its series have ended');
    proxy.toxic = { kind: 'none' };
    await waitFor(() => isUp(1), { timeoutMs: 10_000, what: `it to be up (${toxic.kind})` });
  }
  const isLet = () => openFiles(daemon) <= before + 2 && proxy.connections <= 2;
  await waitFor(isLet, { timeoutMs: 10_000, what: 'no connection to stay behind' });
});
