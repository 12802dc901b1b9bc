/** The built daemon by the files that its Kubernetes flags name: whom it answers without an API server, rules, certificate. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { createAuthority, generateCertificate, issueCertificate } from '../../../src/api/kubernetes/certificate.ts';
import { startDaemon } from '../../support/daemon.ts';
import { httpsClient } from '../../support/https-client.ts';
import { StandInApiServer } from '../../support/stand-in-api-server.ts';

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
