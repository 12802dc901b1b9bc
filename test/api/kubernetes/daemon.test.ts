/** The built daemon by the files that its Kubernetes flags name: whom it answers without an API server, rules, certificate. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { createAuthority, generateCertificate, issueCertificate } from '../../../src/api/kubernetes/certificate.ts';
import { startDaemon } from '../../support/daemon.ts';
import { httpsClient } from '../../support/https-client.ts';
import { temporaryFolder } from '../../support/process.ts';
import { StandInApiServer } from '../../support/stand-in-api-server.ts';
import { waitFor } from '../../support/wait.ts';

const METRIC = '/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/depth';

test('whoever has a certificate of the right authority, and whom a front proxy speaks for', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidegauge-auth-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const nowMs = Date.now();
  const [clients, proxies, strangers] = [createAuthority(nowMs), createAuthority(nowMs), createAuthority(nowMs)];
  const fileOf = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const daemon = await startDaemon([
    '--kubernetes.auth=certificates',
    `--kubernetes.client-ca-file=${fileOf('clients.pem', clients.certPem)}`,
    `--kubernetes.requestheader-client-ca-file=${fileOf('proxies.pem', proxies.certPem)}`,
    `--kubernetes.cert-dir=${directory}`,
  ]);
  t.teardown(() => daemon.stop());
  const caPem = readFileSync(join(directory, 'ca.crt'), 'utf8');
  const issued = (authority: typeof clients, atMs = nowMs, usage: 'client' | 'server' = 'client') =>
    issueCertificate(authority, { commonName: 'robot', usage, nowMs: atMs, days: 30 });
  const statusOf = async (own: ReturnType<typeof issued> | null, headers = {}, path = METRIC) =>
    (await httpsClient(daemon.listen.kubernetes, caPem, own)({ path, headers })).status;

  // A metric that is not there: 404 is an answer, 401 and 403 are none.
  t.equal(await statusOf(issued(clients)), 404, 'a certificate of the client authority');
  t.equal(await statusOf(issued(proxies), { 'X-Remote-User': 'u' }), 404, 'a front proxy that names a user');
  t.equal(await statusOf(issued(proxies)), 401, 'a front proxy that names nobody');
  t.equal(await statusOf(issued(strangers)), 401, 'a certificate of somebody else');
  t.equal(await statusOf(issued(strangers), { 'X-Remote-User': 'u', 'X-Remote-Group': 'system:masters' }), 401);
  t.equal(await statusOf(issued(clients, nowMs - 60 * 86_400_000)), 401, 'a certificate that is over');
  t.equal(await statusOf(issued(clients, nowMs, 'server')), 401, 'a certificate for servers');
  t.equal(await statusOf(null), 403, 'nobody');
  t.equal(
    await statusOf(null, { 'X-Remote-User': 'u', 'X-Remote-Group': 'system:masters' }),
    403,
    'nobody but headers',
  );
  t.equal(await statusOf(null, { authorization: 'Bearer good' }), 401, 'a token, which nobody can review');
  t.equal(await statusOf(null, {}, '/readyz'), 200, 'kubelet asks without credentials');
});

test('without an authority to believe it does not start', async (t) => {
  await t.rejects(startDaemon(['--kubernetes.auth=certificates']), /kubernetes\.client-ca-file/);
});

test('discovery and health answer before the store is there, and values as soon as it is', async (t) => {
  // A peer whose memory is asked for at the start, and that takes its time.
  let answer: () => void = () => {};
  let isAsked = false;
  const peer = createServer((_request, response) => {
    isAsked = true;
    answer = () => response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve));
  t.teardown(() => peer.close());
  const { port } = peer.address() as AddressInfo;
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const file = join(folder.path, 'tidegauge.yaml');
  writeFileSync(file, 'externalMetrics: [{name: depth, query: vector(7)}]');
  let address = '';
  const starting = startDaemon(
    [
      '--log.level=debug',
      `--config.file=${file}`,
      `--kubernetes.cert-dir=${folder.path}`,
      `--replica.peer=http://127.0.0.1:${port}`,
      '--scaling.warm-up=false',
    ],
    {
      onWait: (lines) => {
        address = String(lines.find(({ event }) => event === 'kubernetes')?.listen ?? '');
      },
    },
  );
  t.teardown(async () => (await starting).stop());
  await waitFor(() => address !== '', { timeoutMs: 20_000, what: 'the Kubernetes port' });
  const send = httpsClient(address, readFileSync(join(folder.path, 'ca.crt'), 'utf8'));
  const f = async (path: string, status: number, text: RegExp) => {
    const reply = await send({ path });
    t.equal(reply.status, status, path);
    t.match(reply.text, text, path);
  };
  await f('/livez', 200, /^ok$/);
  await f('/readyz', 503, /not ready/);
  await f('/apis', 200, /external\.metrics\.k8s\.io/);
  await f('/apis/external.metrics.k8s.io/v1beta1', 200, /"name":"depth"/);
  await f('/openapi/v3', 200, /external/);
  await f(METRIC, 503, /the daemon is starting: .*"reason":"ServiceUnavailable"/);
  await waitFor(() => isAsked, { timeoutMs: 20_000, what: 'the peer to be asked' });
  answer();
  const daemon = await starting;
  t.equal(daemon.listen.kubernetes, address);
  await f('/readyz', 200, /^ok$/);
  await f(METRIC, 200, /"value":"7"/);
});

test('rules and certificates are read again when their files change', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const at = (name: string) => join(folder.path, name);
  const rule = (name: string) =>
    `externalRules: [{seriesQuery: depth, resources: {namespaced: false}, name: {as: ${name}}, metricsQuery: sum(<<.Series>>)}]`;
  const [first, second] = [
    generateCertificate(['127.0.0.1'], Date.now()),
    generateCertificate(['127.0.0.1'], Date.now()),
  ];
  writeFileSync(at('rules.yaml'), rule('one'));
  writeFileSync(at('tls.crt'), first.certPem);
  writeFileSync(at('tls.key'), first.keyPem);
  const daemon = await startDaemon([
    '--kubernetes.auth=none',
    '--scaling.warm-up=false',
    `--kubernetes.adapter-config=${at('rules.yaml')}`,
    `--kubernetes.tls-cert-file=${at('tls.crt')}`,
    `--kubernetes.tls-private-key-file=${at('tls.key')}`,
  ]);
  t.teardown(() => daemon.stop());
  const body = 'depth{namespace="shop"} 3\n';
  await fetch(`http://${daemon.listen.web}/api/v1/import/prometheus`, { method: 'POST', body });
  const namesSeenBy = async (caPem: string): Promise<string> => {
    const send = httpsClient(daemon.listen.kubernetes, caPem);
    try {
      const { text } = await send({ path: '/apis/external.metrics.k8s.io/v1beta1' });
      return (JSON.parse(text) as { resources: { name: string }[] }).resources[0]!.name;
    } catch (error) {
      return (error as Error).message;
    }
  };
  t.equal(await namesSeenBy(first.caPem), 'one');
  const logged = (pattern: RegExp) => daemon.logs().filter(({ msg }) => pattern.test(String(msg))).length;
  writeFileSync(at('rules.yaml'), 'externalRules: [{seriesQueri: depth}]');
  writeFileSync(at('tls.crt'), second.certPem);
  const until = (what: string, isSo: () => boolean | Promise<boolean>) => waitFor(isSo, { timeoutMs: 20_000, what });
  await until(
    'the broken file to be told',
    () => logged(/cannot reload the adapter's rules[\s\S]*field seriesQueri/) > 0,
  );
  await until('the half pair to be told', () => logged(/cannot read the certificate .* again/) > 0);
  t.equal(await namesSeenBy(first.caPem), 'one', 'the last good ones are in force');
  writeFileSync(at('rules.yaml'), rule('two'));
  writeFileSync(at('tls.key'), second.keyPem);
  await until('both to be in force', async () => (await namesSeenBy(second.caPem)) === 'two');
  t.match(await namesSeenBy(first.caPem), /unable to verify|self.signed/);
  const metrics = await (await fetch(`http://${daemon.listen.web}/metrics`)).text();
  t.match(metrics, 'tidegauge_kubernetes_rule_reloads_total{outcome="applied"} 1');
  t.match(metrics, 'tidegauge_kubernetes_rule_reloads_total{outcome="refused"} 1');
});

test('adapter rules, a certificate and a kubeconfig are read from their files', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidegauge-files-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  const { url, caPem, token } = await api.open();
  t.teardown(() => api.close());
  const fileOf = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const own = generateCertificate(['127.0.0.1'], Date.now());
  const cluster = { server: url, 'certificate-authority-data': Buffer.from(caPem!).toString('base64') };
  const kubeconfig = {
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
    clusters: [{ name: 'k', cluster }],
    users: [{ name: 'u', user: { token: token!() } }],
  };
  const rules = { externalRules: [{ seriesQuery: 'depth', metricsQuery: 'sum(<<.Series>>)' }] };
  const daemon = await startDaemon([
    '--kubernetes.auth=none',
    `--kubernetes.kubeconfig=${fileOf('kubeconfig', JSON.stringify(kubeconfig))}`,
    `--kubernetes.adapter-config=${fileOf('rules.yaml', JSON.stringify(rules))}`,
    `--kubernetes.tls-cert-file=${fileOf('tls.crt', own.certPem)}`,
    `--kubernetes.tls-private-key-file=${fileOf('tls.key', own.keyPem)}`,
  ]);
  t.teardown(() => daemon.stop());
  const { status, text } = await httpsClient(
    daemon.listen.kubernetes,
    own.caPem,
  )({
    path: '/apis/external.metrics.k8s.io/v1beta1',
  });
  t.equal(status, 200, text);
});
