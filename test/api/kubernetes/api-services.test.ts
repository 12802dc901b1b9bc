/** How a cluster finds the port: APIServices that come late, change hands or are somebody else's, and the trust that they carry. */
import pino from 'pino';
import { type Test, test } from 'tap';
import { ApiServices } from '../../../src/api/kubernetes/api-services.ts';
import { ClusterClient } from '../../../src/api/kubernetes/cluster/client.ts';
import { FollowedKinds } from '../../../src/api/kubernetes/cluster/kinds-of-cluster.ts';
import { type KubernetesOptions, openKubernetes } from '../../../src/api/kubernetes/server.ts';
import { parseAdapterFile } from '../../../src/config/adapter-file.ts';
import { TestClock } from '../../support/clock.ts';
import { httpsClient } from '../../support/https-client.ts';
import { ScalingStack } from '../../support/scaling-stack.ts';
import { StandInApiServer } from '../../support/stand-in-api-server.ts';
import { waitFor } from '../../support/wait.ts';

const LIST = '/apis/apiregistration.k8s.io/v1/apiservices';
const EXTERNAL = 'v1beta1.external.metrics.k8s.io';
const OURS = { namespace: 'shop', name: 'tidegauge' };
const KEDA = { namespace: 'keda', name: 'keda-operator-metrics-apiserver' };
const ADAPTER = { namespace: 'monitoring', name: 'prometheus-adapter' };

interface Line {
  readonly level: string;
  readonly msg: string;
}

function recorded() {
  const lines: Line[] = [];
  const formatters = { level: (level: string) => ({ level }) };
  const logger = pino({ level: 'info', formatters }, { write: (text) => void lines.push(JSON.parse(text) as Line) });
  const drain = (): string[] => lines.splice(0).map(({ level, msg }) => `${level}: ${msg}`);
  return { logger, drain };
}

async function standIn(t: Test): Promise<StandInApiServer> {
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  await api.open();
  t.teardown(() => api.close());
  return api;
}

/** Looks when it is told to. */
async function open(t: Test, wanted: readonly string[] = ['external.metrics.k8s.io', 'custom.metrics.k8s.io']) {
  const api = await standIn(t);
  const { logger, drain } = recorded();
  const client = new ClusterClient(api.access());
  t.teardown(() => client.close());
  let caPem: string | null = 'AUTHORITY';
  const services = new ApiServices({
    client,
    service: OURS,
    caPem: () => caPem,
    isWanted: (group) => wanted.includes(group),
    logger,
  });
  const put = (name: string, service: object | null, more: object = {}) =>
    api.put(LIST, { metadata: { name }, spec: { service, ...more } });
  const rows = () => services.rows().map((row) => row.join(' ').trim());
  const setCa = (pem: string | null) => {
    caPem = pem;
  };
  return { api, services, drain, put, rows, setCa };
}

test('what is configured here and belongs to somebody else is told once, with its owner and what to do', async (t) => {
  const { api, services, drain, put, rows } = await open(t);
  put(EXTERNAL, KEDA);
  put('v1beta1.custom.metrics.k8s.io', ADAPTER);
  put('v1beta2.custom.metrics.k8s.io', { namespace: 'a', name: 'another' });
  put('v1beta1.metrics.k8s.io', { namespace: 'kube-system', name: 'metrics-server' });
  await services.look();
  const told = drain();
  const f = (i: number, ...parts: readonly string[]) => {
    for (const part of parts) t.match(told[i], part);
  };
  t.equal(told.length, 3, 'of metrics.k8s.io nothing is configured');
  f(0, `warn: the APIService ${EXTERNAL} belongs to the Service keda/keda-operator-metrics-apiserver,`);
  f(0, 'for external.metrics.k8s.io is never asked for', 'triggers of type external', 'spec.service to shop/tidegauge');
  f(1, 'monitoring/prometheus-adapter', 'uninstall prometheus-adapter');
  f(2, 'v1beta2.custom.metrics.k8s.io belongs to the Service a/another', 'uninstall that, or set its spec.service');
  t.strictSame(rows(), [
    `${EXTERNAL} foreign keda/keda-operator-metrics-apiserver`,
    'v1beta1.custom.metrics.k8s.io foreign monitoring/prometheus-adapter',
    'v1beta2.custom.metrics.k8s.io foreign a/another',
    'v1beta1.metrics.k8s.io foreign kube-system/metrics-server',
  ]);
  await services.look();
  t.strictSame(drain(), [], 'once');
  t.strictSame(api.patches, [], 'nothing is written there');
  put(EXTERNAL, ADAPTER);
  put('v1beta1.custom.metrics.k8s.io', null);
  await services.look();
  const again = drain();
  t.equal(again.length, 2, 'another owner is told anew');
  t.match(again[1], 'belongs to kube-apiserver, so', 'no Service behind it');
});

test('one that leads here is trusted as soon as it is there, and again when it was written anew', async (t) => {
  const { api, services, drain, put, rows, setCa } = await open(t, ['external.metrics.k8s.io']);
  await services.look();
  t.strictSame(drain(), [
    `info: there is no APIService ${EXTERNAL}: autoscalers cannot ask until one leads to shop/tidegauge`,
  ]);
  t.equal(rows()[0], `${EXTERNAL} missing`);
  const bundle = (text: string) => Buffer.from(text).toString('base64');
  const f = async (caBundle: string | null) => {
    const before = api.patches.length;
    await services.look();
    const made = api.patches.slice(before);
    if (caBundle === null) {
      t.strictSame(made, []);
      return;
    }
    const spec = { caBundle: bundle(caBundle), insecureSkipTLSVerify: null };
    t.match(made, [{ path: `${LIST}/${EXTERNAL}`, body: { metadata: { resourceVersion: /\d/ }, spec } }]);
  };
  put(EXTERNAL, OURS, { insecureSkipTLSVerify: true });
  await f('AUTHORITY');
  t.strictSame(drain(), [`info: the caBundle of the APIService ${EXTERNAL} was set`]);
  t.equal(rows()[0], `${EXTERNAL} ours shop/tidegauge`);
  await f(null);
  put(EXTERNAL, OURS);
  await f('AUTHORITY');
  setCa('ANOTHER');
  await f('ANOTHER');
  setCa(null);
  put(EXTERNAL, OURS);
  await f(null);
});

test('what may not be read or written is told, and is no reason to stop', async (t) => {
  const { api, services, drain, put, rows } = await open(t, ['external.metrics.k8s.io']);
  put(EXTERNAL, OURS);
  api.isForbidden = true;
  await services.look();
  await services.look();
  const told = drain();
  t.equal(told.length, 1, told.join('\n'));
  t.match(told[0], `warn: the APIService ${EXTERNAL}: cannot read ${LIST}/${EXTERNAL}: Forbidden`);
  t.equal(rows()[0], `${EXTERNAL} unknown`);
  api.isForbidden = false;
  api.onPatch = () => put(EXTERNAL, KEDA);
  await services.look();
  t.match(
    drain(),
    [`warn: the APIService ${EXTERNAL}: cannot set its caBundle: Conflict`],
    'it changed hands meanwhile',
  );
  t.match(drain(), []);
  await services.look();
  t.match(drain(), [/belongs to the Service keda/]);
  await api.close();
  await services.look();
  t.match(drain(), [/cannot reach the API server/]);
});

async function serve(t: Test, api: StandInApiServer, more: Partial<KubernetesOptions>) {
  const stack = new ScalingStack();
  const { readings, engine, clock, registry } = stack;
  const { logger, drain } = recorded();
  const server = await openKubernetes({
    listen: { host: '127.0.0.1', port: 0 },
    allowUnauthenticated: true,
    certificate: null,
    apiServer: api.access(),
    service: OURS,
    externalMetrics: [],
    ...{ readings, engine, clock, logger, registry, isReady: () => true },
    ...more,
  });
  t.teardown(() => server.close());
  return { registry, server, drain };
}

test('the port sets the caBundle at its start and when its authority is renewed, and shows that certificate', async (t) => {
  const api = await standIn(t);
  api.put(LIST, { metadata: { name: EXTERNAL }, spec: { service: OURS } });
  const clock = new TestClock(Date.now() - 3000 * 86_400_000);
  const { server, registry } = await serve(t, api, { clock });
  const bundleOf = (i: number) =>
    Buffer.from((api.patches[i]!.body as { spec: { caBundle: string } }).spec.caBundle, 'base64').toString('utf8');
  await waitFor(() => api.patches.length === 1, { timeoutMs: 10_000, what: 'the first patch' });
  t.equal(bundleOf(0), server.caPem);
  await waitFor(() => registry.expose().includes(`apiservice="${EXTERNAL}",state="ours",owner="shop/tidegauge"} 1`), {
    timeoutMs: 10_000,
    what: 'the metric',
  });
  // Ten years: the authority and the leaf are due.
  clock.advance(3000 * 86_400_000);
  server.reload();
  await waitFor(() => api.patches.length === 2, { timeoutMs: 10_000, what: 'the patch of the new authority' });
  const bundle = bundleOf(1);
  t.not(bundle, server.caPem);
  t.match(bundle, server.caPem!, 'the old one is still trusted');
  const newest = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n/.exec(bundle)![0];
  const fresh = httpsClient(server.address, newest);
  t.equal((await fresh({ path: '/livez' })).status, 200, 'new connections see the new certificate');
});

test('whose it is matters only where something is configured', async (t) => {
  const api = await standIn(t);
  api.put(LIST, { metadata: { name: EXTERNAL }, spec: { service: KEDA } });
  const isKnown = (registry: { expose(): string }) =>
    waitFor(() => /apiservice="v1beta1\.metrics\.k8s\.io"/.test(registry.expose()), {
      timeoutMs: 10_000,
      what: 'a look',
    });
  const empty = await serve(t, api, {});
  await isKnown(empty.registry);
  t.notMatch(empty.drain().join('\n'), /keda/, 'a cluster with KEDA and nothing for an HPA here');
  const own = await serve(t, api, { externalMetrics: [{ name: 'depth', query: 'sum(depth)', namespaced: true }] });
  await isKnown(own.registry);
  t.match(own.drain().join('\n'), /warn: the APIService .* belongs to the Service keda/);
  const text = () => 'externalRules: [{seriesQuery: depth, resources: {namespaced: false}, metricsQuery: depth}]';
  const ruled = await serve(t, api, { adapter: { text, parse: parseAdapterFile } });
  await isKnown(ruled.registry);
  t.match(ruled.drain().join('\n'), /warn: the APIService .* belongs to the Service keda/);
});

test('kinds are read again until that succeeds, and while one is missing', async (t) => {
  const api = await standIn(t);
  const { logger, drain } = recorded();
  const client = new ClusterClient(api.access());
  t.teardown(() => client.close());
  let known: readonly string[] = [];
  let times = 0;
  let isMissing = true;
  const kinds = new FollowedKinds({
    client,
    logger,
    isMissing: () => isMissing,
    onKinds: (all) => {
      known = all.map(({ resource }) => resource);
      times++;
    },
    intervalMs: 10,
  });
  t.teardown(() => kinds.stop());
  const f = (name: string) => waitFor(() => known.includes(name), { timeoutMs: 10_000, what: `${name} to be known` });
  const group = { groupVersion: 'example.com/v1', namespaced: true };
  api.describe([{ ...group, kind: 'Widget', name: 'widgets' }]);
  await f('widgets');
  api.describe([{ ...group, kind: 'Gadget', name: 'gadgets' }]);
  await f('gadgets');
  t.ok(times <= 3, 'told only when they are others');
  isMissing = false;
  t.strictSame(drain(), []);
});
