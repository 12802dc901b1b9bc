/** `customMetrics` of the configuration, over real TLS sockets as an HPA asks for them, and through kubectl of a whole daemon. */
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { type Test, test } from 'tap';
import type { CustomMetric } from '../../../src/api/kubernetes/own-custom-metrics.ts';
import { openKubernetes } from '../../../src/api/kubernetes/server.ts';
import { parseAdapterFile } from '../../../src/config/adapter-file.ts';
import { parseFile } from '../../../src/config/file.ts';
import { seriesIndex } from '../../../src/tsdb/series-index.ts';
import { startDaemon } from '../../support/daemon.ts';
import { httpsClient } from '../../support/https-client.ts';
import { kubectlFor } from '../../support/kubectl.ts';
import { skipWithout } from '../../support/real-programs.ts';
import { ScalingStack } from '../../support/scaling-stack.ts';
import { StandInApiServer } from '../../support/stand-in-api-server.ts';

const C2 = '/apis/custom.metrics.k8s.io/v1beta2';
const C1 = '/apis/custom.metrics.k8s.io/v1beta1';

const CONFIG = `
customMetrics:
  - {name: requests, resource: pods, query: sum by (pod) (requests)}
  - {name: requests, resource: namespaces, query: sum(requests)}
  - {name: requests_all, resource: pods, query: sum by (pod) (requests), namespaced: false}
  - {name: hits, resource: services, query: "sum by (exported_service) (hits)", label: exported_service, namespaceLabel: exported_namespace}
  - {name: depth, resource: deployments.apps, query: sum by (deployment) (depth), noData: zero, clampMax: 50}
  - {name: worst, resource: pods, query: latency, reduce: max}
  - {name: each, resource: pods, query: latency}
  - {name: unnamed, resource: pods, query: sum(requests)}
  - {name: signed, resource: pods, query: sum by (pod) (signed)}
  - {name: heat, resource: nodes, query: max by (node) (heat)}
  - {name: of_rules, resource: pods, query: sum by (pod) (requests) * 2}
`;
const RULES = `
rules:
- seriesQuery: '{__name__=~"of_rules|other",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`;

const METRICS: readonly CustomMetric[] = parseFile(CONFIG, 't.yaml').customMetrics;

interface World {
  readonly metrics?: readonly CustomMetric[];
  readonly withCluster?: boolean;
  readonly withRules?: boolean;
}

async function open(t: Test, { metrics = METRICS, withCluster = true, withRules = false }: World = {}) {
  const stack = new ScalingStack({ warmsUp: false });
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  const apiServer = withCluster ? await api.open() : null;
  if (withCluster) t.teardown(() => api.close());
  const { readings, engine, clock, logger, registry, head } = stack;
  const server = await openKubernetes({
    listen: { host: '127.0.0.1', port: 0 },
    allowUnauthenticated: true,
    apiServer,
    certificate: null,
    externalMetrics: [],
    customMetrics: metrics,
    adapter: withRules ? { text: () => RULES, parse: parseAdapterFile } : null,
    index: seriesIndex(head),
    ...{ readings, engine, clock, logger, registry, isReady: () => true },
  });
  t.teardown(() => server.close());
  const send = httpsClient(server.address, server.caPem!);
  const get = async (path: string, accept = 'application/vnd.kubernetes.protobuf, */*') =>
    JSON.parse((await send({ path, headers: { Accept: accept } })).text) as ReturnType<typeof JSON.parse>;
  /** `a=1 b=2`, or code and message. */
  const values = async (path: string): Promise<string> => {
    const body = await get(path);
    if (body.kind !== 'MetricValueList') return `${body.code} ${body.message}`;
    return body.items
      .map((item: { describedObject: { name: string }; value: string }) => `${item.describedObject.name}=${item.value}`)
      .join(' ');
  };
  return { stack, api, server, get, values };
}

function fill(stack: ScalingStack): void {
  const put = (name: string, labels: Readonly<Record<string, string>>, value: number) =>
    stack.put({ __name__: name, ...labels }, value);
  for (const [pod, verb, value] of [
    ['a', 'GET', 1],
    ['a', 'PUT', 0.5],
    ['b', 'GET', 4],
  ] as const)
    put('requests', { namespace: 'shop', pod, verb }, value);
  put('requests', { namespace: 'other', pod: 'a', verb: 'GET' }, 100);
  put('hits', { namespace: 'ingress', exported_namespace: 'shop', exported_service: 'web' }, 7);
  put('hits', { namespace: 'ingress', exported_namespace: 'other', exported_service: 'web' }, 900);
  put('depth', { namespace: 'shop', deployment: 'front' }, 60);
  put('latency', { namespace: 'shop', pod: 'a', path: '/' }, 2);
  put('latency', { namespace: 'shop', pod: 'a', path: '/x' }, 3);
  put('signed', { namespace: 'shop', pod: 'a' }, -1);
  put('signed', { namespace: 'shop', pod: 'b' }, 1);
  put('heat', { node: 'n1' }, 40);
  put('of_rules', { namespace: 'shop', pod: 'a' }, 1000);
  put('other', { namespace: 'shop', pod: 'a' }, 1000);
}

function pods(api: StandInApiServer): void {
  for (const [name, app] of [
    ['a', 'web'],
    ['b', 'web'],
    ['c', 'web'],
    ['z', 'db'],
  ] as const)
    api.put('/api/v1/pods', { metadata: { namespace: 'shop', name, labels: { app } } });
}

test('an HPA reads one value an object, under its namespace and both selectors', async (t) => {
  const { stack, api, get, values } = await open(t);
  fill(stack);
  pods(api);
  for (const name of ['front', 'back'])
    api.put('/apis/apps/v1/deployments', { metadata: { namespace: 'shop', name, labels: {} } });
  const f = async (path: string, want: string) => t.equal(await values(`${C2}/${path}`), want, path);
  const web = 'labelSelector=app%3Dweb';
  // type: Pods. A pod without a value is left out: the HPA itself reckons with it.
  await f(`namespaces/shop/pods/%2A/requests?${web}`, 'a=1500m b=4');
  await f(`namespaces/shop/pods/*/requests?${web}&metricLabelSelector=verb%3DPUT`, 'a=500m');
  await f(
    `namespaces/shop/pods/*/requests?labelSelector=app%3Dnone`,
    '404 the server could not find the metric requests for pods',
  );
  await f(`namespaces/shop/pods/a/requests`, 'a=1500m');
  await f(`namespaces/shop/pods/c/requests`, '404 the server could not find the metric requests for pods c');
  await f(`namespaces/shop/pods/a/requests_all`, 'a=101500m');
  // type: Object, also of the Namespace itself.
  await f('namespaces/shop/metrics/requests', 'shop=5500m');
  await f('namespaces/other/metrics/requests', 'other=100');
  await f('namespaces/shop/services/web/hits', 'web=7');
  await f('namespaces/ingress/services/web/hits', '404 the server could not find the metric hits for services web');
  await f('nodes/n1/heat', 'n1=40');
  // The policy is that of each object.
  await f('namespaces/shop/deployments.apps/front/depth', 'front=50');
  await f('namespaces/shop/deployments.apps/*/depth', 'back=0 front=50');
  await f('namespaces/shop/pods/a/worst', 'a=3');
  await f(
    'namespaces/shop/pods/*/each',
    '422 metric each: 2 elements of the result name a: group by it, or set reduce',
  );
  await f(
    'namespaces/shop/pods/a/unnamed',
    '422 metric unnamed: no element of the result has the label "pod", which names the object',
  );
  await f(`namespaces/shop/pods/*/signed?${web}`, 'b=1');
  await f('namespaces/shop/pods/a/nothing', '404 the server could not find the metric nothing for pods');
  await f('namespaces/shop/nodes/n1/heat', '404 the server could not find the metric heat for nodes');
  await f(
    'namespaces/shop/pods/*/requests?metricLabelSelector=a%3E5',
    '400 operator ">" is not supported: label values are text',
  );
  t.match(await get(`${C2}/namespaces/shop/pods/a/requests?metricLabelSelector=verb%3DGET`), {
    kind: 'MetricValueList',
    items: [
      {
        describedObject: { kind: 'Pod', namespace: 'shop', name: 'a', apiVersion: '/v1' },
        metric: { name: 'requests', selector: { matchLabels: { verb: 'GET' } } },
        timestamp: '2026-11-21T10:00:00Z',
        value: '1',
      },
    ],
  });
  t.match(await get(`${C1}/namespaces/shop/pods/a/requests`), { items: [{ metricName: 'requests', value: '1500m' }] });
  t.match(stack.recorder.decisions({ limit: 1 }), [
    { subject: { surface: 'kubernetes', namespace: 'shop', name: 'requests', scope: ['shop'] } },
  ]);
});

test('what is not known is an absence, and a number stands for it only while its senders are heard', async (t) => {
  const { stack, api, values } = await open(t);
  for (const name of ['front', 'back'])
    api.put('/apis/apps/v1/deployments', { metadata: { namespace: 'shop', name, labels: {} } });
  const depth = () => values(`${C2}/namespaces/shop/deployments.apps/*/depth`);
  const requests = () => values(`${C2}/namespaces/shop/pods/a/requests`);
  for (const ask of [requests, depth]) t.match(await ask(), /^503 .* no sample received since the start/);
  stack.put({ __name__: 'requests', namespace: 'shop', pod: 'a' }, 1);
  t.equal(await depth(), 'back=0 front=0');
  for (let i = 0; i < 4; i++) {
    stack.clock.advance(15_000);
    stack.put({ __name__: 'requests', namespace: 'shop', pod: 'a' }, 1);
    stack.put({ __name__: 'depth', namespace: 'shop', deployment: 'front', instance: 'i' }, 5);
  }
  t.equal(await depth(), 'back=0 front=5');
  // The sender of depth falls silent, another one goes on.
  for (let i = 0; i < 8; i++) {
    stack.clock.advance(15_000);
    stack.put({ __name__: 'requests', namespace: 'shop', pod: 'a' }, 1);
  }
  t.equal(await depth(), 'front=5', 'no zero beside a silent sender');
  t.equal(await requests(), 'a=1');
  stack.clock.advance(400_000);
  t.match(await requests(), /^503 metric requests: stale/);
});

test('nothing of another namespace comes out through selectors', async (t) => {
  const { stack, api, get } = await open(t);
  fill(stack);
  pods(api);
  stack.put({ __name__: 'requests', namespace: 'vault', pod: 'a', verb: 'xyzzy' }, 31_337);
  stack.put({ __name__: 'requests', pod: 'a', verb: 'xyzzy' }, 31_337);
  stack.put({ __name__: 'hits', exported_namespace: 'vault', exported_service: 'web' }, 31_337);
  const key = fc.constantFrom('verb', 'namespace', 'pod', 'exported_namespace', 'hex.tidegauge.dev/verb', 'a.b/c');
  const value = fc.constantFrom('GET', 'vault', 'xyzzy', '', '2e2a', '7661756c74');
  const requirement = fc.oneof(
    fc.tuple(key, fc.constantFrom('=', '!=', '=='), value).map((parts) => parts.join('')),
    fc.tuple(key, fc.constantFrom('in', 'notin'), fc.array(value)).map(([k, op, all]) => `${k} ${op} (${all.join()})`),
    key.map((one) => `!${one}`),
  );
  const path = fc.constantFrom('pods/a/requests', 'pods/*/requests', 'services/web/hits', 'metrics/requests');
  const property = fc.asyncProperty(fc.array(requirement, { maxLength: 3 }), path, async (all, asked) => {
    const query = new URLSearchParams({ metricLabelSelector: all.join() });
    const body = await get(`${C2}/namespaces/shop/${asked}?${query}`);
    const items: readonly { readonly value: string }[] = body.items ?? [];
    return !items.some((item) => item.value.startsWith('31')) && (body.code ?? 200) < 500;
  });
  const seed = Number(process.env.TIDEGAUGE_TAINT_SEED ?? Date.now() % 2 ** 31);
  const result = await fc.check(property, { seed, numRuns: 60 });
  t.notOk(result.failed, `seed ${seed}: ${result.failed ? fc.defaultReportMessage(result) : 'clean'}`);
  t.match(await get(`${C2}/namespaces/vault/metrics/requests`), { items: [{ value: '31337' }] }, 'so it can fail');
});

test('discovery: beside rules, and before them; kinds of the cluster', async (t) => {
  const { stack, get, values } = await open(t, { withRules: true });
  fill(stack);
  const names = async () => {
    const { resources } = await get(C2, 'application/json');
    return resources.map(({ name, namespaced }: { name: string; namespaced: boolean }) => `${name} ${namespaced}`);
  };
  t.strictSame(await names(), [
    'deployments.apps/depth true',
    'namespaces/of_rules false',
    'namespaces/other false',
    'namespaces/requests false',
    'nodes/heat false',
    'pods/each true',
    'pods/of_rules true',
    'pods/other true',
    'pods/requests true',
    'pods/requests_all true',
    'pods/signed true',
    'pods/unnamed true',
    'pods/worst true',
    'services/hits true',
  ]);
  t.equal(await values(`${C2}/namespaces/shop/pods/a/of_rules`), 'a=3', 'what the configuration names wins');
  t.equal(await values(`${C2}/namespaces/shop/pods/a/other`), 'a=1k');
  const alone = await open(t, { withCluster: false });
  t.match(await alone.get('/apis', 'application/json'), { groups: [{ name: 'custom.metrics.k8s.io' }] });
  fill(alone.stack);
  t.equal(await alone.values(`${C2}/namespaces/shop/pods/*/requests`), 'a=1500m b=4', 'all that have a value');
  t.match(await alone.values(`${C2}/namespaces/shop/pods/*/requests?labelSelector=a%3Db`), /^503 cannot select pods/);
});

test('a metric that cannot be served is refused by its name', async (t) => {
  const f = (yaml: string, message: RegExp, withCluster = false) =>
    t.rejects(
      open(t, { withCluster, metrics: parseFile(`customMetrics: [${yaml}]`, 't.yaml').customMetrics }),
      { code: 'bad_config', message },
      yaml,
    );
  await f('{name: a, resource: pods, query: "sum("}', /cannot use custom metric "a" of pods: 1:5: parse error/);
  await f('{name: a, resource: widgets, query: a}', /custom metric "a" of widgets: no such kind is built in/);
  await f('{name: a, resource: pods, query: a, freshness: soon}', /cannot read freshness: got "soon"/);
  await f('{name: a, resource: pods, query: a, noData: last}', /noData is error, zero or a number/);
  const crd = parseFile('customMetrics: [{name: a, resource: widgets, query: a}]', 't.yaml').customMetrics;
  t.equal(
    await (await open(t, { metrics: crd })).values(`${C2}/namespaces/shop/widgets/a/a`),
    '404 the server could not find the metric a for widgets',
    'a cluster may have it yet',
  );
});

test('kubectl, a whole daemon and its configuration file', { skip: skipWithout('kubectl') }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegauge-custom-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'tidegauge.yaml');
  await writeFile(file, CONFIG);
  const daemon = await startDaemon([`--config.file=${file}`, '--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const body = 'requests{namespace="shop",pod="a"} 1.5\nrequests{namespace="shop",pod="b"} 4\n';
  const url = `http://${daemon.listen.web}/api/v1`;
  t.equal((await fetch(`${url}/import/prometheus`, { method: 'POST', body })).status, 204);
  const run = kubectlFor(daemon.listen.kubernetes, folder);
  const raw = await run('get', '--raw', `${C2}/namespaces/shop/pods/*/requests`);
  t.match(JSON.parse(raw.stdout || '{}'), {
    kind: 'MetricValueList',
    items: [{ value: '1500m' }, { describedObject: { name: 'b' }, value: '4' }],
  });
  const wrong = await run('get', '--raw', `${C2}/namespaces/shop/pods/c/requests`);
  t.match(wrong.stderr, /could not find the metric requests for pods c/);
  t.match((await run('api-versions')).stdout, /custom\.metrics\.k8s\.io\/v1beta1\ncustom\.metrics\.k8s\.io\/v1beta2/);
  const { data } = (await (await fetch(`${url}/status/config`)).json()) as { data: { yaml: string } };
  t.match(data.yaml, /customMetrics:[\s\S]*namespaceLabel: exported_namespace/);
});
