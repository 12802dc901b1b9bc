/** The surface in a cluster: whom it believes, what it asks and remembers, objects that come and go, its own certificates. */
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { type Test, test } from 'tap';
import { createAuthority, issueCertificate } from '../../../src/api/kubernetes/certificate.ts';
import { type KubernetesOptions, openKubernetes } from '../../../src/api/kubernetes/server.ts';
import { OwnServing } from '../../../src/api/kubernetes/serving.ts';
import { parseAdapterFile } from '../../../src/config/adapter-file.ts';
import { seriesIndex } from '../../../src/tsdb/series-index.ts';
import { httpsClient } from '../../support/https-client.ts';
import { kubectlFor } from '../../support/kubectl.ts';
import { runProgram } from '../../support/process.ts';
import { ScalingStack, START_MS } from '../../support/scaling-stack.ts';
import { StandInApiServer } from '../../support/stand-in-api-server.ts';
import { waitFor } from '../../support/wait.ts';

const PODS = '/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*';
const RULES = `
rules:
- seriesQuery: '{__name__=~"^vllm.*_sum$",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^vllm:request_latency_seconds_sum$", as: vllm_request_latency_seconds}
  metricsQuery: rate(vllm:request_latency_seconds_sum{<<.LabelMatchers>>}[1m])/rate(vllm:request_latency_seconds_count{<<.LabelMatchers>>}[1m])
- seriesQuery: 'vllm:request_latency_seconds_sum{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: request_latency_by_sums}
  metricsQuery: sum(rate(vllm:request_latency_seconds_sum{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>) / sum(rate(vllm:request_latency_seconds_count{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
- seriesQuery: depth{namespace!=""}
  seriesFilters: [{is: "("}]
  metricsQuery: depth
externalRules:
- seriesQuery: '{__name__=~"depth|.*_total",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (team)
`;
const RETRIES = { tries: 2, firstPauseMs: 5, random: () => 0 };

async function open(t: Test, more: Partial<KubernetesOptions> = {}, delegated = true) {
  const stack = new ScalingStack();
  const authorities = { proxy: createAuthority(START_MS), client: createAuthority(START_MS) };
  const api = new StandInApiServer({
    allows: ({ groups = [] }) => ({ allowed: groups.includes('readers') }),
    token: (token) =>
      token === 'good' ? { authenticated: true, user: { username: 'robot', groups: ['readers'] } } : {},
  });
  const trust = (proxyPem: string) =>
    api.put('/api/v1/configmaps', {
      metadata: { name: 'extension-apiserver-authentication', namespace: 'kube-system' },
      data: {
        'client-ca-file': authorities.client.certPem,
        'requestheader-client-ca-file': proxyPem,
        'requestheader-allowed-names': '["front-proxy-client"]',
        'requestheader-username-headers': '["X-Remote-User"]',
        'requestheader-group-headers': '["X-Remote-Group"]',
        'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
      },
    });
  trust(authorities.proxy.certPem);
  const apiServer = await api.open();
  const { readings, engine, clock, logger, registry, head } = stack;
  const server = await openKubernetes({
    listen: { host: '127.0.0.1', port: 0 },
    allowUnauthenticated: false,
    identity: { kind: delegated ? 'delegated' : 'none' },
    apiServer,
    certificate: null,
    externalMetrics: [],
    adapter: { text: () => RULES, parse: parseAdapterFile },
    index: seriesIndex(head),
    ...{ readings, engine, clock, logger, registry, isReady: () => true, reviewRetries: RETRIES },
    watchIntervalMs: 20,
    ...more,
  });
  t.teardown(async () => {
    await server.close();
    await api.close();
  });
  const proxy = issueCertificate(authorities.proxy, {
    commonName: 'front-proxy-client',
    usage: 'client',
    nowMs: START_MS,
  });
  const as = (headers: Readonly<Record<string, string | string[]>>, own: typeof proxy | null = proxy) => {
    const send = httpsClient(server.address, server.caPem!, own);
    return (path: string) => send({ path, headers });
  };
  return { stack, api, server, as, trust };
}

function fillPods(stack: ScalingStack, ...pods: readonly string[]): void {
  for (let at = START_MS - 300_000, i = 0; at <= START_MS; at += 15_000, i++) {
    for (const pod of pods) {
      const labels = { namespace: 'shop', pod, instance: pod };
      stack.put({ __name__: 'vllm:request_latency_seconds_sum', ...labels }, 30 * i, at);
      stack.put({ __name__: 'vllm:request_latency_seconds_count', ...labels }, 20 * i, at);
    }
  }
}

test('a latency per pod as a quotient of two rates, for pods that a watch knows', async (t) => {
  const { stack, api, as } = await open(t);
  fillPods(stack, 'a', 'b');
  for (const name of ['a', 'b', 'c']) {
    api.put('/api/v1/pods', { metadata: { namespace: 'shop', name, labels: { app: 'vllm' } } });
  }
  const get = as({ 'X-Remote-User': 'u', 'X-Remote-Group': 'readers' });
  const names = async (metric = 'vllm_request_latency_seconds') => {
    const reply = await get(`${PODS}/${metric}?labelSelector=app%3Dvllm`);
    const { items = [] } = JSON.parse(reply.text) as { items?: { describedObject: { name: string }; value: string }[] };
    return items.map(({ describedObject: { name }, value }) => `${name}=${value}`).join();
  };
  t.equal(await names(), 'a=1500m,b=1500m', 'what has no value is left out');
  t.equal(await names('request_latency_by_sums'), 'a=1500m,b=1500m');
  api.remove('/api/v1/pods', 'shop', 'b');
  await waitFor(async () => (await names()) === 'a=1500m', { timeoutMs: 10_000, what: 'the deleted pod to be gone' });
  api.endWatches();
  api.put('/api/v1/pods', { metadata: { namespace: 'shop', name: 'b', labels: { app: 'vllm' } } });
  await waitFor(async () => (await names()).includes('b='), { timeoutMs: 20_000, what: 'the list to be read anew' });
  t.match(stack.registry.expose(), 'tidegauge_kubernetes_bad_rules 1', 'one bad rule does not drop the others');
});

test('who may speak for whom', async (t) => {
  const { stack, api, as, trust } = await open(t);
  stack.put({ __name__: 'depth', namespace: 'shop', team: 'blue' }, 3);
  const path = '/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/depth';
  const user = { 'X-Remote-User': 'u' };
  t.equal((await as({ ...user, 'X-Remote-Group': ['readers', 'x'] })(path)).status, 200);
  const joined = await as({ ...user, 'X-Remote-Group': 'x, system:masters' })(path);
  t.equal(joined.status, 403, 'a group with a comma in its name is one group');
  t.strictSame(api.accessReviews.at(-1)!.groups, ['x, system:masters', 'system:authenticated']);
  t.equal((await as({ authorization: 'Bearer good' }, null)(path)).status, 200);
  t.equal((await as({ authorization: 'Bearer good' }, null)(path)).status, 200);
  t.strictSame(api.tokenReviews, ['good'], 'a review holds for a while');
  stack.clock.advance(11_000);
  await as({ authorization: 'Bearer good' }, null)(path);
  t.equal(api.tokenReviews.length, 2);
  const reviews = api.accessReviews.length;
  await as({ ...user, 'X-Remote-Group': 'readers' })(path);
  await as({ ...user, 'X-Remote-Group': 'readers' })(path);
  t.equal(api.accessReviews.length, reviews + 1);
  stack.put({ __name__: 'depth', namespace: 'shop', team: 'a/b' }, 40);
  const escaped = await as({ ...user, 'X-Remote-Group': 'readers' })(
    `${path}?labelSelector=hex.tidegauge.dev/team%3D612f62`,
  );
  t.match(escaped.text, /"metricLabels":\{"team":"a\/b"\},.*"value":"40"/);
  t.notMatch(escaped.text, /blue/);
  t.strictSame(
    api.accessReviews.at(-1)!.resourceAttributes!.labelSelector,
    { requirements: [{ key: 'hex.tidegauge.dev/team', operator: 'In', values: ['612f62'] }] },
    'a review is asked for what was written',
  );
  t.equal((await as({}, null)('/readyz')).status, 200);
  t.equal((await as(user)('/apis')).status, 200, 'discovery needs no review');
  t.equal((await as({}, null)('/apis')).status, 403, 'but a name');
  trust(createAuthority(START_MS).certPem);
  const isRefused = async () => (await as({ ...user, 'X-Remote-Group': 'system:masters' })(path)).status === 401;
  await waitFor(isRefused, { timeoutMs: 10_000, what: 'the new authority to be in force' });
});

test('nothing of another namespace comes out through rules and selectors', async (t) => {
  const { stack, as } = await open(t);
  const TAINT = 'xyzzy';
  for (const name of ['depth', 'requests_total']) {
    stack.put({ __name__: name, namespace: 'shop', team: 'blue' }, 3);
    stack.put({ __name__: name, namespace: 'vault', team: TAINT }, 31_337);
    stack.put({ __name__: name, team: TAINT }, 31_337);
  }
  const get = as({ 'X-Remote-User': 'u', 'X-Remote-Group': 'readers' });
  const key = fc.constantFrom('team', 'namespace', 'hex.tidegauge.dev/team', 'a.b/c', 'x');
  const value = fc.constantFrom('blue', 'vault', '', '2e2a', '7661756c74', '222c6e616d6573706163653d227661756c74');
  const requirement = fc.oneof(
    fc.tuple(key, fc.constantFrom('=', '!=', '=='), value).map((parts) => parts.join('')),
    fc.tuple(key, fc.constantFrom('in', 'notin'), fc.array(value)).map(([k, op, all]) => `${k} ${op} (${all.join()})`),
    key,
    key.map((one) => `!${one}`),
  );
  const property = fc.asyncProperty(
    fc.array(requirement, { maxLength: 3 }),
    fc.constantFrom('depth', 'requests_total'),
    async (all, metric) => {
      const query = new URLSearchParams({ labelSelector: all.join() });
      const reply = await get(`/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/${metric}?${query}`);
      return !/xyzzy|31337/.test(reply.text) && reply.status < 500;
    },
  );
  const seed = Number(process.env.TIDEGAUGE_TAINT_SEED ?? Date.now() % 2 ** 31);
  const result = await fc.check(property, { seed, numRuns: 60 });
  t.notOk(result.failed, `seed ${seed}: ${result.failed ? fc.defaultReportMessage(result) : 'clean'}`);
  const vault = await get('/apis/external.metrics.k8s.io/v1beta1/namespaces/vault/depth');
  t.match(vault.text, TAINT, 'so the property can fail');
});

test('kubectl gets, watches, explains and lists', async (t) => {
  const { stack, server } = await open(t, {}, false);
  stack.put({ __name__: 'depth', namespace: 'shop', team: 'blue' }, 1.5);
  const home = mkdtempSync(join(tmpdir(), 'tidegauge-kubectl-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  const run = kubectlFor(server.address, home);
  const f = async (want: RegExp, ...args: readonly string[]) => {
    const { stdout, stderr } = await run(...args);
    t.match(stdout, want, `kubectl ${args.join(' ')}: ${stderr}`);
  };
  await f(/^METRIC +VALUE +SAMPLED\ndepth +1500m +2026-11-21T10:00:00Z\n$/, 'get', 'depth', '-n', 'shop');
  await f(/LABELS\n.*"team":"blue"/, 'get', 'depth', '-n', 'shop', '-o', 'wide');
  await f(/GROUP: +external\.metrics\.k8s\.io\nKIND: +depth\n[\s\S]*metricName/, 'explain', 'depth');
  await f(
    /depth +external\.metrics\.k8s\.io\/v1beta1 +true +depth/,
    'api-resources',
    '--api-group=external.metrics.k8s.io',
  );
  const watching = run('get', 'depth', '-n', 'shop', '-w', '--request-timeout=4s');
  setTimeout(() => {
    stack.clock.advance(1000);
    stack.put({ __name__: 'depth', namespace: 'shop', team: 'blue' }, 2);
  }, 2000);
  t.match((await watching).stdout, /1500m[\s\S]*\ndepth +2 /);
});

test('our own certificates are kept, fit what openssl wants, and are renewed in time', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidegauge-certs-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const { clock, logger } = new ScalingStack();
  const options = { names: ['tidegauge.shop.svc', '127.0.0.1'], directory, clock, logger };
  const first = new OwnServing(options);
  const again = new OwnServing(options);
  t.equal(again.caPem, first.caPem);
  t.equal(again.material.certPem, first.material.certPem);
  const files = ['ca.crt', 'tls.crt'].map((name) => join(directory, name)) as [string, string];
  const verify = ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'tidegauge.shop.svc'];
  const { code, stdout, stderr } = await runProgram('openssl', [...verify, '-CAfile', ...files]);
  t.equal(code, 0, stdout + stderr);
  t.equal(again.refresh(), false);
  clock.advance(300 * 86_400_000);
  t.equal(again.refresh(), true, 'a leaf that has a third of its life left');
  t.equal(again.caPem, first.caPem);
  clock.advance(2500 * 86_400_000);
  t.equal(again.refresh(), true);
  t.match(again.caPem, first.caPem, 'the old authority is trusted beside the new one');
  t.not(again.caPem, first.caPem);
  const leaf = new X509Certificate(again.material.certPem);
  t.ok(leaf.verify(new X509Certificate(readFileSync(files[0], 'utf8')).publicKey));
});
