/** Targets of a cluster: pods and monitors come, change and go in a stand-in API server, and are scraped over real sockets. */
import pino from 'pino';
import { test } from 'tap';
import type { KubeObject } from '../../src/api/kubernetes/cluster/reflector.ts';
import { parseFile } from '../../src/config/file.ts';
import { systemClock } from '../../src/model/clock.ts';
import { labelsToObject } from '../../src/model/labels.ts';
import { systemTimers } from '../../src/model/timers.ts';
import { Scraping } from '../../src/scrape/scraping.ts';
import { bench, stored } from '../ingest/support.ts';
import { StandInApiServer } from '../support/stand-in-api-server.ts';
import { startExporter, type TestExporter, text } from '../support/test-exporter.ts';
import { waitFor } from '../support/wait.ts';

const IN_TIME = { timeoutMs: 15_000 };
const PODS = '/api/v1/pods';
const SERVICES = '/api/v1/services';
const SLICES = '/apis/discovery.k8s.io/v1/endpointslices';
const SERVICE_MONITORS = '/apis/monitoring.coreos.com/v1/servicemonitors';
const POD_MONITORS = '/apis/monitoring.coreos.com/v1/podmonitors';

interface Cleanup {
  teardown(run: () => unknown): void;
}

interface World {
  readonly api: StandInApiServer;
  readonly scraping: Scraping;
  readonly warnings: string[];
  metrics(): string;
  /** The labels of series of a metric whose newest sample is no stale marker, as `name=value` of those asked for. */
  live(metric: string, ...names: string[]): string[];
}

async function worldOf(t: Cleanup, yaml: string, prepare: (api: StandInApiServer) => void): Promise<World> {
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  const server = await api.open();
  prepare(api);
  const { writer, head, registry } = bench({ nowMs: () => Date.now() });
  const warnings: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) });
  const { scrape } = parseFile(`scrape:\n  scrape_interval: 200ms\n${yaml}`, 't.yaml');
  const scraping = new Scraping({
    config: scrape,
    configFile: '',
    writer,
    head,
    clock: systemClock,
    timers: systemTimers,
    logger,
    registry,
    version: 'test',
    server: () => server,
    ownNamespace: 'monitoring',
  });
  scraping.start();
  t.teardown(async () => {
    await scraping.close();
    await api.close();
  });
  const live = (metric: string, ...names: string[]): string[] =>
    stored(head)
      .map(({ labels, samples }) => ({ labels: labelsToObject(labels), newest: samples.at(-1)?.value }))
      .filter(({ labels, newest }) => labels.__name__ === metric && newest !== 'stale')
      .map(({ labels }) => names.map((name) => `${name}=${labels[name] ?? ''}`).join(' '))
      .sort();
  return { api, scraping, warnings, metrics: () => registry.expose(), live };
}

async function exporterOf(t: Cleanup, metric: string): Promise<TestExporter> {
  const exporter = await startExporter(text(metric));
  t.teardown(() => exporter.stop());
  return exporter;
}

interface PodShape {
  readonly namespace?: string;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly ports?: readonly object[];
  readonly phase?: string;
  readonly ip?: string;
}

function pod(
  name: string,
  { namespace = 'shop', labels = {}, annotations = {}, ports = [], phase = 'Running', ip = '127.0.0.1' }: PodShape,
): KubeObject {
  return {
    metadata: { name, namespace, labels, annotations } as KubeObject['metadata'],
    spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'i', ports }] },
    status: { phase, podIP: ip, hostIP: '10.0.0.1' },
  };
}

test('pods by annotation and by label selector come and go', async (t) => {
  const [one, two] = [await exporterOf(t, 'a{namespace="own"} 1\n'), await exporterOf(t, 'b 1\n')];
  const annotations = (port: number, more: object = {}): Record<string, string> => ({
    'prometheus.io/scrape': 'true',
    'prometheus.io/port': String(port),
    ...more,
  });
  const yaml = [
    '  scrape_configs:',
    '    - job_name: annotated',
    '      kubernetes_sd_configs: [{role: pod, annotations: true}]',
    '    - job_name: selected',
    '      kubernetes_sd_configs: [{role: pod, namespaces: {names: [shop]}, selectors: [{role: pod, label: app=b}]}]',
    '      relabel_configs:',
    '        - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}',
    '        - {source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_name], separator: /, target_label: which}',
    '        - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}',
    '',
  ].join('\n');
  const world = await worldOf(t, yaml, (api) => {
    api.put(
      PODS,
      pod('one', {
        annotations: annotations(one.port, { 'prometheus.io/path': '/p' }),
        ports: [{ containerPort: one.port }],
      }),
    );
    api.put(PODS, pod('silent', {}));
    api.put(PODS, pod('done', { annotations: annotations(one.port), phase: 'Succeeded' }));
    api.put(
      PODS,
      pod('two', {
        labels: { app: 'b' },
        ports: [
          { name: 'web', containerPort: 1 },
          { name: 'metrics', containerPort: two.port },
        ],
      }),
    );
  });
  await waitFor(() => world.live('a').length === 1 && world.live('b').length === 1, { ...IN_TIME, what: 'both pods' });
  t.strictSame(world.live('a', 'job', 'namespace', 'pod', 'container', 'exported_namespace', 'instance'), [
    `job=annotated namespace=shop pod=one container=main exported_namespace=own instance=127.0.0.1:${one.port}`,
  ]);
  t.strictSame(world.live('b', 'job', 'which', 'app', 'pod'), ['job=selected which=shop/two app=b pod=']);
  t.equal(one.requests[0]?.url, '/p');
  t.match(
    world.scraping.targets.dropped().filter(({ pool }) => pool === 'selected'),
    { length: 1 },
    'the port web',
  );

  world.api.put(PODS, pod('three', { namespace: 'bank', annotations: annotations(two.port) }));
  await waitFor(() => world.live('b', 'pod', 'namespace').includes('pod=three namespace=bank'), {
    ...IN_TIME,
    what: 'a new pod',
  });
  world.api.remove(PODS, 'shop', 'one');
  await waitFor(() => world.live('a').length === 0, { ...IN_TIME, what: 'the series of a pod that went to end' });
  t.strictSame(world.live('up', 'pod', 'namespace'), ['pod= namespace=', 'pod=three namespace=bank']);
  world.api.endWatches();
  world.api.put(PODS, pod('four', { annotations: annotations(one.port) }));
  await waitFor(() => world.live('a', 'pod').includes('pod=four'), {
    ...IN_TIME,
    what: 'a pod after the watch was lost',
  });
  t.match(world.metrics(), /^tidegauge_scrape_objects [1-9]/m);
});

function slice(service: string, port: object, endpoints: readonly object[]): KubeObject {
  const metadata = { name: `${service}-x`, namespace: 'shop', labels: { 'kubernetes.io/service-name': service } };
  return { metadata, ports: [port], endpoints };
}

const toPod = (name: string, address = '127.0.0.1'): object => ({
  addresses: [address],
  targetRef: { kind: 'Pod', name },
  conditions: { ready: true },
});

test('a ServiceMonitor leads to the pods behind its services', async (t) => {
  const exporter = await exporterOf(t, 'a{namespace="spoofed"} 1\nskip 1\n');
  const monitor = (spec: object, namespace = 'shop'): KubeObject => ({
    metadata: { name: 'm', namespace, labels: { release: 'prom' } },
    spec: { selector: { matchLabels: { app: 'web' } }, ...spec },
  });
  const endpoint = { port: 'http', path: '/stats', interval: '150ms', scrapeTimeout: '100ms', params: { q: ['1'] } };
  const world = await worldOf(t, '  scrape_timeout: 200ms\n  service_monitors: {}\n', (api) => {
    api.put(SERVICES, {
      metadata: { name: 'web', namespace: 'shop', labels: { app: 'web', team: 'x', kind: 'front' } },
    });
    api.put(SERVICES, { metadata: { name: 'other', namespace: 'shop', labels: { app: 'other' } } });
    const ports = [{ name: 'p', containerPort: exporter.port }];
    api.put(PODS, pod('web-1', { ports, labels: { tier: 'gold' } }));
    api.put(PODS, pod('web-2', { ports, ip: '127.0.0.9' }));
    // Addresses that are no pod's are not scraped, whoever wrote them there.
    const endpoints = [
      toPod('web-1'),
      toPod('web-2', '169.254.169.254'),
      { addresses: ['127.0.0.1'] },
      toPod('nobody'),
    ];
    api.put(SLICES, slice('web', { name: 'http', port: exporter.port }, endpoints));
    api.put(SLICES, slice('other', { name: 'http', port: exporter.port }, [toPod('web-1')]));
    api.put(
      SERVICE_MONITORS,
      monitor({
        jobLabel: 'kind',
        targetLabels: ['team'],
        podTargetLabels: ['tier'],
        endpoints: [
          {
            ...endpoint,
            honorLabels: true,
            relabelings: [{ sourceLabels: ['__meta_kubernetes_service_label_team'], targetLabel: 'owner' }],
            metricRelabelings: [
              { sourceLabels: ['__name__'], regex: 'skip', action: 'Drop' },
              { targetLabel: 'namespace', replacement: 'elsewhere' },
            ],
          },
        ],
      }),
    );
  });
  await waitFor(() => world.live('a').length === 1, { ...IN_TIME, what: 'the pod of the service' });
  const names = [
    'job',
    'namespace',
    'service',
    'pod',
    'container',
    'endpoint',
    'team',
    'tier',
    'owner',
    'exported_namespace',
  ];
  t.strictSame(world.live('a', ...names), [
    'job=front namespace=shop service=web pod=web-1 container=main endpoint=http team=x tier=gold owner=x exported_namespace=spoofed',
  ]);
  t.strictSame(world.live('skip'), []);
  t.equal(exporter.requests[0]?.url, '/stats?q=1');
  const [target] = world.scraping.targets.active();
  t.match(target?.spec, { pool: { name: 'serviceMonitor/shop/m/0' }, intervalMs: 150, timeoutMs: 100 });
  t.equal(world.scraping.targets.active().length, 1);

  // What cannot be done is said, and what leads to another host is not scraped.
  world.api.put(
    SERVICE_MONITORS,
    monitor({
      targetLimit: 5,
      endpoints: [
        { ...endpoint, bearerTokenSecret: { name: 's', key: 'k' }, basicAuth: {}, proxyUrl: '' },
        { ...endpoint, relabelings: [{ targetLabel: '__address__', replacement: '169.254.169.254:80' }] },
        { ...endpoint, relabelings: [{ action: 'dance' }] },
      ],
    }),
  );
  await waitFor(() => /field="bearerTokenSecret"/.test(world.metrics()), { ...IN_TIME, what: 'a complaint' });
  t.strictSame(
    [...world.metrics().matchAll(/^tidegauge_scrape_unsupported_fields\{(.*)\} (\d+)$/gm)]
      .map(([, labels, n]) => `${labels} ${n}`)
      .sort(),
    [
      'kind="ServiceMonitor",field="bearerTokenSecret" 1',
      'kind="ServiceMonitor",field="relabelings" 1',
      'kind="ServiceMonitor",field="targetLimit" 1',
    ],
  );
  for (const word of [
    'bearerTokenSecret',
    'targetLimit',
    'the action dance is not known',
    'must not lead to another host',
  ]) {
    const lines = world.warnings.filter((line) => line.includes(word));
    t.equal(lines.length, 1, `${word} is said once`);
  }
  t.strictSame(
    world.scraping.targets.pools().map(([name]) => name),
    ['serviceMonitor/shop/m/0', 'serviceMonitor/shop/m/1'],
  );
  await waitFor(() => world.live('a', 'job').includes('job=web'), { ...IN_TIME, what: 'the monitor as it is now' });
  t.strictSame(world.live('a', 'job'), ['job=web'], 'series of before are ended');

  // A monitor of another namespace selects there, unless it says otherwise.
  world.api.put(SERVICE_MONITORS, monitor({ endpoints: [endpoint], selector: {} }, 'monitoring'));
  world.api.remove(SERVICE_MONITORS, 'shop', 'm');
  await waitFor(() => world.live('a').length === 0, { ...IN_TIME, what: 'the series of a monitor that went to end' });
  const namespaceSelector = { matchNames: ['shop'] };
  world.api.put(SERVICE_MONITORS, monitor({ endpoints: [endpoint], selector: {}, namespaceSelector }, 'monitoring'));
  await waitFor(() => world.live('a').length === 2, { ...IN_TIME, what: 'both services' });
  t.strictSame(world.live('a', 'job', 'service'), ['job=other service=other', 'job=web service=web']);
  const selector = { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] };
  world.api.put(SERVICE_MONITORS, monitor({ endpoints: [endpoint], selector, namespaceSelector }, 'monitoring'));
  await waitFor(() => world.live('a').length === 1, { ...IN_TIME, what: 'one of them' });
});

test('a PodMonitor leads to pods; namespaces and labels of monitors can be narrowed', async (t) => {
  const exporter = await exporterOf(t, 'a 1\n');
  const monitor = (name: string, namespace: string, spec: object, labels = { release: 'prom' }): KubeObject => ({
    metadata: { name, namespace, labels },
    spec: { selector: { matchLabels: { app: 'vllm' } }, podMetricsEndpoints: [{ port: 'http' }], ...spec },
  });
  const yaml = '  pod_monitors: {namespaces: [shop, bank], selector: release=prom}\n';
  const world = await worldOf(t, yaml, (api) => {
    const ports = [{ name: 'http', containerPort: exporter.port }];
    for (const namespace of ['shop', 'bank', 'secret']) {
      api.put(PODS, pod(`vllm-${namespace}`, { namespace, labels: { app: 'vllm', model: 'm' }, ports }));
    }
    api.put(POD_MONITORS, monitor('vllm', 'shop', {}));
    api.put(
      POD_MONITORS,
      monitor('all', 'bank', {
        namespaceSelector: { any: true },
        jobLabel: 'model',
        podMetricsEndpoints: [{ portNumber: exporter.port }],
      }),
    );
    api.put(POD_MONITORS, monitor('secret', 'secret', {}));
  });
  await waitFor(() => world.live('a').length === 3, { ...IN_TIME, what: 'three targets' });
  t.strictSame(world.live('a', 'job', 'namespace', 'pod', 'container', 'endpoint'), [
    `job=m namespace=bank pod=vllm-bank container=main endpoint=${exporter.port}`,
    `job=m namespace=shop pod=vllm-shop container=main endpoint=${exporter.port}`,
    'job=shop/vllm namespace=shop pod=vllm-shop container=main endpoint=http',
  ]);
});

test('a list that cannot be read is asked for again, and said once', async (t) => {
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  const server = await api.open();
  const { writer, head, registry } = bench({ nowMs: () => Date.now() });
  const warnings: string[] = [];
  const { scrape } = parseFile('scrape:\n  pod_monitors: {}\n', 't.yaml');
  const timers = { after: (ms: number, run: () => void) => systemTimers.after(Math.min(ms, 20), run) };
  const scraping = new Scraping({
    config: scrape,
    configFile: '',
    writer,
    head,
    clock: systemClock,
    timers,
    logger: pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) }),
    registry,
    version: 'test',
    server: () => ({ ...server, token: () => 'nobody' }),
    ownNamespace: null,
  });
  scraping.start();
  t.teardown(async () => {
    await scraping.close();
    await api.close();
  });
  const failures = (): number =>
    Number(/^tidegauge_scrape_discovery_failures_total (\d+)$/m.exec(registry.expose())?.[1]);
  await waitFor(() => failures() >= 6, { ...IN_TIME, what: 'attempts' });
  t.equal(
    warnings.filter((line) => line.includes('cannot find targets')).length,
    2,
    'once for pods, once for monitors',
  );
  t.match(warnings[0], 'Unauthorized');
});
