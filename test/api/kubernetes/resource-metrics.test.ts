/** `metrics.k8s.io` of cAdvisor's series by the adapter's resource rules: pods, containers, nodes, and what is left out. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { openKubernetes } from '../../../src/api/kubernetes/server.ts';
import { parseAdapterFile } from '../../../src/config/adapter-file.ts';
import { seriesIndex } from '../../../src/tsdb/series-index.ts';
import { httpsClient } from '../../support/https-client.ts';
import { kubectlFor } from '../../support/kubectl.ts';
import { ScalingStack, START_MS } from '../../support/scaling-stack.ts';
import { STAND_IN_TOKEN, StandInApiServer } from '../../support/stand-in-api-server.ts';

const BASE = '/apis/metrics.k8s.io/v1beta1';
const MIB = 2 ** 20;
const RESOURCES = `
    resources:
      overrides: {node: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}
    containerLabel: container`;
const RULES = `
resourceRules:
  window: 1m30s
  cpu:
    containerQuery: sum(rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(node_cpu_seconds_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)${RESOURCES}
  memory:
    containerQuery: sum(container_memory_working_set_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)
    nodeQuery: sum(node_memory_used_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)${RESOURCES}
`;

async function open(t: Test) {
  const stack = new ScalingStack();
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  const { readings, engine, clock, logger, registry, head } = stack;
  const server = await openKubernetes({
    ...{ readings, engine, clock, logger, registry, isReady: () => true },
    listen: { host: '127.0.0.1', port: 0 },
    allowUnauthenticated: false,
    apiServer: await api.open(),
    certificate: null,
    externalMetrics: [],
    adapter: { text: () => RULES, parse: parseAdapterFile },
    index: seriesIndex(head),
  });
  t.teardown(async () => {
    await server.close();
    await api.close();
  });
  for (const [namespace, name] of [
    ['shop', 'web-0'],
    ['shop', 'web-1'],
    ['shop', 'silent'],
    ['vault', 'web-0'],
  ] as const) {
    api.put('/api/v1/pods', { metadata: { namespace, name, labels: { app: name.split('-')[0]! } } });
  }
  const allocatable = { cpu: '6', memory: '8Gi' };
  api.put('/api/v1/nodes', { metadata: { name: 'n1', labels: { zone: 'a' } }, status: { allocatable } });
  api.aggregate('metrics.k8s.io', 'v1beta1', server.address, server.caPem!);
  const send = httpsClient(server.address, server.caPem!);
  const get = async (path: string) => {
    const { status, text } = await send({ path: `${BASE}${path}` });
    return { status, body: JSON.parse(text) as Body };
  };
  return { stack, server, api, get };
}

interface Item {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly containers?: readonly { readonly name: string; readonly usage: { cpu: string; memory: string } }[];
}
type Body = Item & { readonly kind: string; readonly items?: readonly Item[]; readonly reason?: string };

/** Five minutes of cores as a counter, and bytes. */
function fill(stack: ScalingStack, labels: Readonly<Record<string, string>>, cores: number, mebibytes: number | null) {
  const [cpu, memory] =
    labels.pod === undefined
      ? ['node_cpu_seconds_total', 'node_memory_used_bytes']
      : ['container_cpu_usage_seconds_total', 'container_memory_working_set_bytes'];
  for (let i = 0; i <= 20; i++) {
    const atMs = START_MS - 300_000 + i * 15_000;
    stack.put({ __name__: cpu!, ...labels }, i * 15 * cores, atMs);
    if (mebibytes !== null) stack.put({ __name__: memory!, ...labels }, mebibytes * MIB, atMs);
  }
}

function fillShop(stack: ScalingStack): void {
  const pod = { namespace: 'shop', pod: 'web-0' };
  fill(stack, { ...pod, container: 'app' }, 0.25, 64);
  fill(stack, { ...pod, container: 'proxy' }, 0.05, null);
  fill(stack, { ...pod, container: '' }, 0.3, 70);
  fill(stack, { namespace: 'shop', pod: 'web-1', container: 'app' }, 0.5, null);
  fill(stack, { namespace: 'vault', pod: 'web-0', container: 'app' }, 7, 777);
  fill(stack, { node: 'n1' }, 1.5, 2048);
}

const WEB_0 = {
  metadata: { name: 'web-0', namespace: 'shop', creationTimestamp: null, labels: { app: 'web' } },
  timestamp: '2026-11-21T10:00:00Z',
  window: '1m30s',
  containers: [
    { name: 'app', usage: { cpu: '250m', memory: '64Mi' } },
    { name: 'proxy', usage: { cpu: '50m', memory: '0' } },
  ],
};

test('pods by container, in their own namespace, and only what both are known of', async (t) => {
  const { stack, get } = await open(t);
  fillShop(stack);
  t.strictSame((await get('/namespaces/shop/pods')).body, {
    kind: 'PodMetricsList',
    apiVersion: 'metrics.k8s.io/v1beta1',
    metadata: {},
    items: [WEB_0],
  });
  const one = await get('/namespaces/shop/pods/web-0');
  t.strictSame(one.body, { kind: 'PodMetrics', apiVersion: 'metrics.k8s.io/v1beta1', ...WEB_0 });
  const all = (await get('/pods?labelSelector=app%3Dweb')).body.items!;
  t.strictSame(
    all.map(({ metadata: { namespace, name }, containers }) => [namespace, name, containers![0]!.usage.cpu]),
    [
      ['shop', 'web-0', '250m'],
      ['vault', 'web-0', '7'],
    ],
  );
  t.strictSame((await get('/namespaces/shop/pods?labelSelector=app%3Dnone')).body.items, []);
  for (const name of ['silent', 'web-1', 'unknown']) {
    const { status, body } = await get(`/namespaces/shop/pods/${name}`);
    t.strictSame([status, body.reason], [404, 'NotFound'], name);
  }
});

test('nodes as a whole', async (t) => {
  const { stack, get } = await open(t);
  fillShop(stack);
  t.strictSame((await get('/nodes/n1')).body, {
    kind: 'NodeMetrics',
    apiVersion: 'metrics.k8s.io/v1beta1',
    metadata: { name: 'n1', creationTimestamp: null, labels: { zone: 'a' } },
    timestamp: '2026-11-21T10:00:00Z',
    window: '1m30s',
    usage: { cpu: '1500m', memory: '2Gi' },
  });
  t.equal((await get('/namespaces/shop/nodes/n1')).status, 404);
});

test('an answer that cannot be given is an error, not an empty list', async (t) => {
  const { get } = await open(t);
  const { status, body } = await get('/namespaces/shop/pods');
  t.match([status, body.kind], [/404|500|503/, 'Status'], JSON.stringify(body));
});

test('kubectl top', async (t) => {
  const { stack, server, api } = await open(t);
  fillShop(stack);
  const home = mkdtempSync(join(tmpdir(), 'tidegauge-kubectl-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  const run = kubectlFor(server.address, home);
  const pods = await run('top', 'pods', '-n', 'shop', '--no-headers');
  t.match(pods.stdout, /^web-0 +300m +64Mi *\n$/, pods.stderr);
  const containers = await run('top', 'pods', '-n', 'shop', '--containers', '--no-headers');
  t.match(containers.stdout, /^web-0 +app +250m +64Mi *\nweb-0 +proxy +50m +0Mi *\n$/, containers.stderr);
  // Of nodes it shows shares of what they have, which it asks the API server for, as it asks it for the metrics.
  const through = kubectlFor(api.access().url.replace('https://', ''), home, STAND_IN_TOKEN);
  const nodes = await through('top', 'nodes', '--no-headers');
  t.match(nodes.stdout, /^n1 +1500m +25% +2048Mi +25% *\n$/, nodes.stderr);
});
