/**
 * The chart: it renders for each way of installing it, what it renders is right by the schemas of Kubernetes, its flags are
 * the daemon's, and what it promises of permissions and ports holds.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { parse } from 'yaml';
import { ALL_SETTINGS } from '../../src/config/schema.ts';
import { faultsOf, helmTemplate, type Manifest, parseManifests, skipWithoutModels } from '../support/manifests.ts';
import { runProgram, temporaryFolder } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const CHART = join(root, 'deploy/helm/tidegauge');
const KUSTOMIZE = join(root, 'deploy/kustomize');
const UPDATE = process.env.TIDEGAUGE_UPDATE_DOCS === '1';
const skip = skipWithout('helm', 'kubectl') || skipWithoutModels();

/** Ways to install it, by the flags of helm. */
const MATRIX: Readonly<Record<string, readonly string[]>> = {
  defaults: [],
  volume: ['--set=persistence.enabled=true,persistence.storageClassName=fast,podDisruptionBudget.enabled=true'],
  'existing claim': ['--set=persistence.enabled=true,persistence.existingClaim=mine'],
  'memory only': ['--set=storage.path='],
  'external metrics': [
    '--set=kubernetesApi.apiServices.external=true',
    '--set-json=externalMetrics=[{"name":"queue_depth","query":"sum(queue_messages)","noData":"zero"}]',
  ],
  'custom metrics': [
    '--set=kubernetesApi.apiServices.custom=true',
    '--set-json=kubernetesApi.adapterConfig={"rules":[{"seriesQuery":"x","metricsQuery":"sum(<<.Series>>)"}]}',
  ],
  'custom metrics of their own': [
    '--set=kubernetesApi.apiServices.custom=true',
    '--set-json=customMetrics=[{"name":"requests","resource":"pods","query":"sum by (pod) (requests)","reduce":"max"}]',
  ],
  'custom metrics of a file': [
    '--set=kubernetesApi.apiServices.custom=true,kubernetesApi.apiServices.external=true',
    `--set-file=kubernetesApi.adapterConfigText=${join(root, 'examples/hpa-pods-latency/adapter.yaml')}`,
  ],
  'cert-manager': ['--set=kubernetesApi.apiServices.external=true,kubernetesApi.tls.mode=certManager'],
  'own certificate': [
    '--set=kubernetesApi.apiServices.external=true,kubernetesApi.tls.mode=secret,kubernetesApi.tls.secretName=s,kubernetesApi.tls.caBundle=QQ==',
  ],
  'keda with certificates': ['--set=keda.tls.secretName=keda-tls,keda.tls.requireClientCertificate=true'],
  tenants: ['--set=keda.tenancy=namespace'],
  kedify: [
    `--values=${join(CHART, 'values-kedify.yaml')}`,
    '--set=settings.metricStore.retentionSeconds=60,settings.metricStore.errIfNotFound=true,settings.metricStore.valueIfNotFound=1',
    '--set-json=otelOperatorCrs=[{"name":"old","enabled":false},{"name":"scrape","includeMetrics":["vllm:num_requests_waiting"]}]',
  ],
  'whole pipeline': [
    '--set-json=collectors=[{"name":"side","namespace":"llm","scrape":{"port":8000}},{"name":"nodes","mode":"daemonset","scrapeConfigs":[{"job_name":"nodes","static_configs":[{"targets":["127.0.0.1:9100"]}]}]},{"name":"one","mode":"deployment","scrapeConfigs":[{"job_name":"x"}]},{"name":"set","mode":"statefulset","scrapeConfigs":[{"job_name":"x"}],"spec":{"targetAllocator":{"enabled":true}}}]',
  ],
  scraping: [
    '--set-json=scrape={"scrape_configs":[{"job_name":"vllm","static_configs":[{"targets":["vllm.llm.svc:8000"]}]}]}',
  ],
  'scraping a cluster': [
    '--set-json=scrape={"scrape_configs":[{"job_name":"pods","kubernetes_sd_configs":[{"role":"pod","annotations":true}]}],"service_monitors":{"selector":"release=prometheus"},"pod_monitors":{}}',
  ],
  'two replicas': [
    '--set=replica.peer=http://tidegauge-b.monitoring.svc:9090,replica.token.secretName=replica,replica.wait=2m',
  ],
  'pods watched': ['--set=scaling.watchPods=true'],
  watched: [
    '--set=serviceMonitor.enabled=true,serviceMonitor.additionalLabels.release=prometheus,prometheusRule.enabled=true,dashboards.enabled=true',
  ],
  'odd wishes': [
    '--set=ingress.enabled=true,ingress.className=nginx,image.registry=r.example,image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000',
    '--set=ports.otlpGrpc=0,ports.keda=0,networkPolicy.enabled=false,serviceAccount.create=false,rbac.create=false',
    '--set-json=config={"storage":{"retention":"4h"},"scaling":{"forget-after":"2m"}}',
    '--set-json=extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-x"}}]',
    '--set-json=tolerations=[{"key":"k","operator":"Exists"}]',
    '--set=podLabels.team=a,nodeSelector.disk=ssd,priorityClassName=system-cluster-critical',
  ],
};

const rendered = new Map<string, readonly Manifest[]>();
async function render(name: string): Promise<readonly Manifest[]> {
  const known = rendered.get(name) ?? (await helmTemplate(CHART, MATRIX[name]!));
  rendered.set(name, known);
  return known;
}

function kind(manifests: readonly Manifest[], wanted: string, name?: string): Manifest {
  const found = manifests.filter((one) => one.kind === wanted && (name === undefined || one.metadata.name === name));
  if (found.length !== 1) throw new Error(`cannot pick one ${wanted} ${name ?? ''}: got ${found.length}`);
  return found[0]!;
}

function workload(manifests: readonly Manifest[]): Manifest {
  return manifests.find((one) => one.kind === 'Deployment' || one.kind === 'StatefulSet')!;
}

const argsOf = (manifests: readonly Manifest[]): readonly string[] =>
  workload(manifests).spec.template.spec.containers[0].args;

test('helm lints the chart and its presets', { skip }, async (t) => {
  for (const flags of [[], [`--values=${join(CHART, 'values-kedify.yaml')}`]]) {
    const done = await runProgram('helm', ['lint', '--strict', CHART, ...flags]);
    t.equal(done.code, 0, done.stdout + done.stderr);
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const chart = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')) as { version: string; appVersion: string };
  t.strictSame([chart.version, chart.appVersion], [version, version], 'one version');
});

test('what is rendered is right by the schemas', { skip }, async (t) => {
  const all: Manifest[] = [];
  for (const name of Object.keys(MATRIX)) all.push(...(await render(name)));
  t.ok(all.length > 80, `${all.length} objects`);
  const service = kind(await render('defaults'), 'Service');
  const unknown: Manifest = { ...service, spec: { ...service.spec, sessionAfinity: 'None' } };
  const wrong: Manifest = { ...service, spec: { ...service.spec, ports: [{ port: 'web' }] } };
  const faults = await faultsOf([...all, unknown, wrong]);
  t.equal(faults.length, 2, `only the two that were planted: ${faults.join('; ')}`);
  t.match(faults.join('\n'), /port must be integer[\s\S]*sessionAfinity/);
});

/** Settings that the chart gives, as flags and in the file. */
function settingsOf(manifests: readonly Manifest[]): readonly string[] {
  const flags = argsOf(manifests)
    .filter((arg) => arg.startsWith('--'))
    .map((arg) => arg.slice(2).replace(/=.*/, ''));
  return [...flags, ...leavesOf(parse(configOf(manifests)) as object | null, '')];
}

function configOf(manifests: readonly Manifest[]): string {
  return kind(manifests, 'ConfigMap', workload(manifests).metadata.name).data['tidegauge.yaml'];
}

function leavesOf(value: unknown, path: string): readonly string[] {
  if (path === 'externalMetrics' || path === 'customMetrics' || path === 'scrape') return [];
  if (value === null || typeof value !== 'object') return path === '' ? [] : [path];
  return Object.entries(value).flatMap(([key, one]) => leavesOf(one, path === '' ? key : `${path}.${key}`));
}

test('every setting of the chart is one of the daemon', { skip }, async (t) => {
  const known = new Set(ALL_SETTINGS.map(({ name }) => name));
  const used = new Set<string>();
  for (const name of Object.keys(MATRIX)) for (const setting of settingsOf(await render(name))) used.add(setting);
  t.ok(used.size > 10, `${used.size} settings`);
  t.strictSame([...used].filter((name) => !known.has(name)).sort(), []);
});

test('the daemon takes the configuration', { skip }, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const known = new Set(ALL_SETTINGS.map(({ name }) => name));
  for (const name of Object.keys(MATRIX)) {
    const manifests = await render(name);
    const file = join(folder.path, 'tidegauge.yaml');
    writeFileSync(file, configOf(manifests));
    mkdirSync(join(folder.path, 'data'), { recursive: true });
    const flags = argsOf(manifests)
      .filter((arg) => arg.startsWith('--') && known.has(arg.slice(2).replace(/=.*/, '')))
      // Certificates are in Secrets, a volume is nowhere here, and neither is an API server to ask who is asking.
      .filter((arg) => !/tls-|storage\.path|--kubernetes\./.test(arg))
      .map((arg) => (arg.startsWith('--config.file=') ? `--config.file=${file}` : arg));
    const done = await runProgram(process.execPath, [join(root, 'dist/main.js'), '--check-config', ...flags]);
    t.equal(done.code, 0, `${name}: ${done.stderr}`);
  }
});

test('every file that a flag names is mounted', { skip }, async (t) => {
  for (const name of Object.keys(MATRIX)) {
    const manifests = await render(name);
    const { containers, volumes = [] } = workload(manifests).spec.template.spec;
    const mounts = containers[0].volumeMounts as { name: string; mountPath: string }[];
    for (const arg of argsOf(manifests)) {
      const path = /=(\/.*)$/.exec(arg)?.[1];
      if (path === undefined) continue;
      t.ok(
        mounts.some(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`)),
        `${name}: ${arg}`,
      );
    }
    const claims = (workload(manifests).spec.volumeClaimTemplates ?? []) as Manifest[];
    const named = [...(volumes as { name: string }[]), ...claims.map(({ metadata }) => metadata)].map(
      (one) => one.name,
    );
    t.strictSame(mounts.map((mount) => mount.name).sort(), [...named].sort(), `${name}: each volume is used`);
  }
});

test('ports of Services lead to ports of the pod', { skip }, async (t) => {
  for (const name of Object.keys(MATRIX)) {
    const manifests = await render(name);
    const pod = workload(manifests).spec.template;
    const names = pod.spec.containers[0].ports.map((port: { name: string }) => port.name);
    for (const service of manifests.filter((one) => one.kind === 'Service')) {
      for (const port of service.spec.ports) t.ok(names.includes(port.targetPort), `${name}: ${port.name}`);
      for (const [label, value] of Object.entries(service.spec.selector)) t.equal(pod.metadata.labels[label], value);
    }
  }
});

test('permissions: none by default, and no more than the API needs', { skip }, async (t) => {
  const plain = await render('defaults');
  t.strictSame(plain.filter((one) => /Role|APIService/.test(one.kind)).length, 0);
  t.equal(workload(plain).spec.template.spec.automountServiceAccountToken, false);
  const external = await render('external metrics');
  const rules = external.filter((one) => one.kind === 'ClusterRole').flatMap((one) => one.rules);
  t.strictSame(rules, [
    {
      apiGroups: ['apiregistration.k8s.io'],
      resources: ['apiservices'],
      resourceNames: [
        'v1beta1.external.metrics.k8s.io',
        'v1beta1.custom.metrics.k8s.io',
        'v1beta2.custom.metrics.k8s.io',
        'v1beta1.metrics.k8s.io',
      ],
      verbs: ['get'],
    },
    {
      apiGroups: ['apiregistration.k8s.io'],
      resources: ['apiservices'],
      resourceNames: ['v1beta1.external.metrics.k8s.io'],
      verbs: ['patch'],
    },
    {
      apiGroups: ['external.metrics.k8s.io', 'custom.metrics.k8s.io'],
      resources: ['*'],
      verbs: ['get', 'list', 'watch'],
    },
  ]);
  const secrets = (await render('custom metrics'))
    .filter((one) => one.kind === 'ClusterRole')
    .flatMap((one) => one.rules as { resources: string[]; verbs: string[] }[])
    .filter(({ resources }) => resources.includes('secrets'));
  t.strictSame(secrets, [], 'nobody needs Secrets');
});

test('who watches pods may read no more than which there are', { skip }, async (t) => {
  const watching = await render('pods watched');
  t.strictSame(kind(watching, 'ClusterRole').rules, [
    { apiGroups: [''], resources: ['pods'], verbs: ['list', 'watch'] },
  ]);
  t.match(argsOf(watching).join(' '), '--scaling.watch-pods=true');
  t.equal(workload(watching).spec.template.spec.automountServiceAccountToken, true);
  const none = await render('defaults');
  t.strictSame(
    none.filter((one) => one.kind === 'ClusterRole'),
    [],
  );
  t.notMatch(argsOf(none).join(' '), 'watch-pods');
});

test('permissions to find what is scraped follow from what is scraped', { skip }, async (t) => {
  const plain = await render('scraping');
  t.strictSame(plain.filter((one) => /Role/.test(one.kind)).length, 0);
  t.equal(workload(plain).spec.template.spec.automountServiceAccountToken, false);
  t.strictSame(kind(plain, 'NetworkPolicy').spec.egress, [{ to: [{ namespaceSelector: {} }] }]);
  const cluster = await render('scraping a cluster');
  t.equal(workload(cluster).spec.template.spec.automountServiceAccountToken, true);
  const verbs = ['get', 'list', 'watch'];
  t.strictSame(kind(cluster, 'ClusterRole').rules, [
    { apiGroups: [''], resources: ['pods', 'services'], verbs },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs },
    { apiGroups: ['monitoring.coreos.com'], resources: ['servicemonitors'], verbs },
    { apiGroups: ['monitoring.coreos.com'], resources: ['podmonitors'], verbs },
  ]);
  t.equal(kind(cluster, 'NetworkPolicy').spec.egress.length, 2, 'pods, and the API server');
  const sums = [plain, cluster].map((one) => workload(one).spec.template.metadata.annotations['checksum/config']);
  t.equal(sums[0], sums[1], 'a change of what is scraped does not roll the pod');
});

test('a replica reaches its peer, and shows it the token', { skip }, async (t) => {
  const manifests = await render('two replicas');
  const args = argsOf(manifests);
  t.ok(args.includes('--replica.peer=http://tidegauge-b.monitoring.svc:9090'));
  t.ok(args.includes('--replica.token-file=/etc/tidegauge/replica/token'));
  t.ok(args.includes('--replica.wait=2m'));
  const { sources } = workload(manifests).spec.template.spec.volumes[0].projected;
  const secret = { name: 'replica', items: [{ key: 'token', path: 'replica/token' }] };
  t.strictSame(sources, [{ configMap: { name: workload(manifests).metadata.name } }, { secret }]);
  t.strictSame(kind(manifests, 'NetworkPolicy').spec.egress, [{ to: [{ namespaceSelector: {} }] }], 'it may ask');
  t.strictSame(kind(await render('defaults'), 'NetworkPolicy').spec.egress, [], 'and nobody else may');
  t.notMatch(argsOf(await render('defaults')).join(' '), 'replica');
  const refused = await runProgram('helm', ['template', CHART, '--set=replica.token.secretName=replica']);
  t.match(refused.stderr, /want replica\.peer/);
});

test('who watches the daemon asks it by the scheme that it speaks', { skip }, async (t) => {
  t.equal(kind(await render('watched'), 'ServiceMonitor').spec.endpoints[0].scheme, undefined);
  const secured = await helmTemplate(CHART, [
    '--set=serviceMonitor.enabled=true,serviceMonitor.endpoint.tlsConfig.serverName=tidegauge,auth.secretName=s',
    '--set-json=auth.config={"tls_server_config":{"cert_file":"/etc/tidegauge-auth/a","key_file":"/etc/tidegauge-auth/b"}}',
  ]);
  t.match(kind(secured, 'ServiceMonitor').spec.endpoints[0], {
    scheme: 'https',
    tlsConfig: { serverName: 'tidegauge' },
  });
});

test('every pod is restricted', { skip }, async (t) => {
  for (const name of Object.keys(MATRIX)) {
    const { securityContext, containers, hostNetwork } = workload(await render(name)).spec.template.spec;
    t.equal(securityContext.runAsNonRoot, true);
    t.equal(securityContext.seccompProfile.type, 'RuntimeDefault');
    t.equal(hostNetwork, undefined);
    t.strictSame(containers[0].securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  }
});

test('APIServices: off unless asked for, v1beta2 preferred, reached also before the daemon is ready', {
  skip,
}, async (t) => {
  const manifests = await render('custom metrics');
  const services = manifests.filter((one) => one.kind === 'APIService');
  t.strictSame(
    services.map((one) => [one.metadata.name, one.spec.versionPriority]),
    [
      ['v1beta1.custom.metrics.k8s.io', 100],
      ['v1beta2.custom.metrics.k8s.io', 200],
    ],
  );
  const service = kind(manifests, 'Service', services[0]!.spec.service.name);
  t.equal(service.spec.publishNotReadyAddresses, true);
  t.strictSame(
    service.spec.ports.map((port: { port: number }) => port.port),
    [443],
  );
  t.ok(argsOf(manifests).includes(`--kubernetes.service-name=${service.metadata.name}`));
  t.strictSame(services[0]!.spec.caBundle, undefined);
  t.notOk(services[0]!.spec.insecureSkipTLSVerify);
});

test('in the place of Kedify’s scaler: its Service, ports and names', { skip }, async (t) => {
  const manifests = await render('kedify');
  const { spec } = kind(manifests, 'Service', 'keda-otel-scaler');
  t.strictSame(
    spec.ports.map((port: { name: string; port: number }) => [port.name, port.port]),
    [
      ['grpc-otlp-receiver', 4317],
      ['keda-external-scaler', 4318],
      ['internal-metrics', 8080],
      ['rest-api', 9090],
    ],
  );
  t.ok(argsOf(manifests).includes('--compat.kedify.window=60s'));
  const collector = kind(manifests, 'OpenTelemetryCollector');
  t.equal(collector.metadata.name, 'scrape');
  t.strictSame(collector.spec.config.processors['filter/include'].metrics.include.metric_names, [
    'vllm:num_requests_waiting',
  ]);
});

test('collectors: every processor, receiver and exporter of a pipeline is there', { skip }, async (t) => {
  const manifests = [...(await render('whole pipeline')), ...(await render('kedify'))];
  const collectors = manifests.filter((one) => one.kind === 'OpenTelemetryCollector');
  t.strictSame(
    collectors.map((one) => one.spec.mode),
    ['sidecar', 'daemonset', 'deployment', 'statefulset', 'sidecar'],
  );
  for (const { spec } of collectors) {
    const { service, ...parts } = spec.config;
    for (const [part, names] of Object.entries(service.pipelines.metrics as Record<string, string[]>))
      for (const name of names) t.ok(name in parts[part], `${part}: ${name}`);
    t.match(spec.config.exporters['otlp/tidegauge'].endpoint, /^tidegauge\.monitoring\.svc:4317$/);
  }
  t.equal(
    collectors[0]!.spec.config.receivers.prometheus.config.scrape_configs[0].static_configs[0].targets[0],
    '127.0.0.1:8000',
  );
});

test('what cannot work is refused, with the reason', { skip }, async (t) => {
  const refused = (flags: string, reason: RegExp) => t.rejects(helmTemplate(CHART, [flags]), reason, flags);
  await refused('--set=replicaCount=2', /each replica keeps only what it receives/);
  await refused('--set=image.pulPolicy=Always', /additional properties 'pulPolicy' not allowed/);
  await refused('--set=settings.metricStore.retentionSeconds=60', /set compat\.kedify\.enabled=true/);
  await refused('--set=keda.tls.requireClientCertificate=true', /want keda\.tls\.secretName/);
  await refused('--set=compat.kedify.enabled=true,keda.tenancy=namespace', /port shared with OTLP/);
  await refused(
    '--set=kubernetesApi.apiServices.external=true,kubernetesApi.tls.mode=secret',
    /kubernetesApi\.tls\.secretName/,
  );
  await refused('--set-json=collectors=[{"name":"x","mode":"daemonset"}]', /no scrapeConfigs/);
  await refused('--set=persistence.enabled=true,storage.path=', /want storage\.path/);
  await refused('--set=ports.web=0', /probes and remote-write need it/);
});

test('rules of prometheus-adapter arrive as they were written', { skip }, async (t) => {
  const file = readFileSync(join(root, 'examples/hpa-pods-latency/adapter.yaml'), 'utf8');
  const { data } = kind(await render('custom metrics of a file'), 'ConfigMap', 'tidegauge-adapter');
  t.strictSame(parse(data['config.yaml']), parse(file));
});

/** The plain manifests are the chart's, without the marks of helm. */
const PLAIN: Readonly<Record<string, readonly string[]>> = {
  default: [],
  'external-metrics': [
    '--set=kubernetesApi.apiServices.external=true',
    '--set-json=externalMetrics=[{"name":"queue_depth","query":"sum(queue_messages)"}]',
  ],
  kedify: ['--namespace=keda', `--values=${join(CHART, 'values-kedify.yaml')}`],
};

test('plain manifests are what the chart renders, and kustomize builds them', { skip }, async (t) => {
  for (const [name, flags] of Object.entries(PLAIN)) {
    const done = await runProgram('helm', ['template', 'tidegauge', CHART, '--namespace=monitoring', ...flags]);
    const text = done.stdout.replace(
      /^ *(?:helm\.sh\/chart|app\.kubernetes\.io\/managed-by): .*\n|^# Source: .*\n/gm,
      '',
    );
    const file = join(KUSTOMIZE, name, 'tidegauge.yaml');
    if (UPDATE) writeFileSync(file, text);
    t.equal(readFileSync(file, 'utf8'), text, `${name}: TIDEGAUGE_UPDATE_DOCS=1 writes it anew`);
    const built = await runProgram('kubectl', ['kustomize', join(KUSTOMIZE, name)]);
    t.equal(built.code, 0, built.stderr);
    const manifests = parseManifests(built.stdout);
    t.equal(manifests.filter((one) => one.kind === 'Namespace').length, 1);
    t.equal(manifests.length, parseManifests(text).length + 1);
    t.strictSame(await faultsOf(manifests), []);
  }
  t.strictSame(
    readdirSync(KUSTOMIZE)
      .filter((entry) => !entry.includes('.'))
      .sort(),
    Object.keys(PLAIN).sort(),
  );
});
