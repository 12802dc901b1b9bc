/** `scrape:` of the file: Prometheus' keys, its defaults, and what is refused where. */
import { test } from 'tap';
import { parseFile } from '../../src/config/file.ts';
import type { ScrapeConfig } from '../../src/config/scrape-schema.ts';

function read(yaml: string): ScrapeConfig | null {
  return parseFile(yaml, '/etc/t.yaml').scrape;
}

test('a job as Prometheus has it', async (t) => {
  t.equal(read(''), null);
  t.equal(read('scrape:\n'), null);
  const config = read(`
scrape:
  scrape_interval: 30s
  scrape_configs:
    - job_name: plain
    - job_name: full
      scrape_interval: 5s
      scheme: HTTPS
      metrics_path: /probe
      params: {module: [a, b]}
      honor_labels: true
      honor_timestamps: false
      follow_redirects: false
      body_size_limit: 10MB
      sample_limit: 100
      tls_config: {ca_file: ca.pem, cert_file: /abs/cert.pem, key_file: /abs/key.pem, server_name: x, insecure_skip_verify: true}
      authorization: {credentials_file: token}
      static_configs: [{targets: ['a:1', '[::1]:2', b], labels: {zone: z}}]
      kubernetes_sd_configs:
        - role: pod
          annotations: true
          namespaces: {own_namespace: true, names: [a]}
          selectors: [{role: pod, label: 'app=x', field: status.phase=Running}]
      relabel_configs: [{source_labels: [a], regex: 1, action: Drop}]
  service_monitors: {}
  pod_monitors: {namespaces: [a], selector: release=x, enforce_namespace: false}
`)!;
  t.match(config, {
    intervalMs: 30_000,
    timeoutMs: 10_000,
    serviceMonitors: { namespaces: [], labelSelector: '', enforceNamespace: true },
    podMonitors: { namespaces: ['a'], labelSelector: 'release=x', enforceNamespace: false },
  });
  const [plain, full] = config.jobs;
  t.strictSame(plain, {
    name: 'plain',
    intervalMs: 30_000,
    timeoutMs: 10_000,
    metricsPath: '/metrics',
    scheme: 'http',
    params: {},
    honorLabels: false,
    honorTimestamps: true,
    basicAuth: null,
    authorization: null,
    tls: { caFile: '', certFile: '', keyFile: '', serverName: '', insecureSkipVerify: false },
    followRedirects: true,
    bodyBytesMax: 32 * 2 ** 20,
    samplesMax: Number.MAX_SAFE_INTEGER,
    relabel: [],
    metricRelabel: [],
    staticTargets: [],
    pods: [],
  });
  t.match(full, {
    intervalMs: 5000,
    timeoutMs: 5000,
    scheme: 'https',
    params: { module: ['a', 'b'] },
    honorLabels: true,
    honorTimestamps: false,
    followRedirects: false,
    bodyBytesMax: 10 * 2 ** 20,
    samplesMax: 100,
    tls: { caFile: '/etc/ca.pem', certFile: '/abs/cert.pem', keyFile: '/abs/key.pem', insecureSkipVerify: true },
    authorization: { type: 'Bearer', credentials: '', credentialsFile: '/etc/token' },
    staticTargets: [{ targets: ['a:1', '[::1]:2', 'b'], labels: { zone: 'z' } }],
    pods: [
      {
        namespaces: ['a'],
        ownNamespace: true,
        labelSelector: 'app=x',
        fieldSelector: 'status.phase=Running',
        annotations: true,
      },
    ],
    relabel: [{ sourceLabels: ['a'], regex: '1', action: 'drop', separator: ';', replacement: '$1' }],
  });
  t.match(read('scrape: {scrape_interval: 5s}'), { intervalMs: 5000, timeoutMs: 5000, jobs: [] });
});

test('what cannot be used is refused, with its place', async (t) => {
  const f = (yaml: string, want: RegExp): void => {
    t.throws(() => read(yaml), { code: 'bad_config', message: want }, yaml);
  };
  const job = (text: string): string => `scrape:\n  scrape_configs:\n    - job_name: a\n      ${text}\n`;
  f('scrape: 1', /cannot use scrape at \/etc\/t.yaml:1:9: got "1", want keys and values/);
  f(
    'scrape:\n  scrape_config: []',
    /"scrape_config" at .*:2:18: it is not supported here; the nearest known key is "scrape_configs"/,
  );
  f('scrape: {scrape_interval: 10}', /got "10", want a duration of at least 100ms/);
  f('scrape: {scrape_interval: 5s, scrape_timeout: 6s}', /scrape_timeout above the scrape_interval/);
  f('scrape: {service_monitors: }', /got nothing, want keys and values; {} takes all/);
  f('scrape: {pod_monitors: {selectors: x}}', /nearest known key is "selector"/);
  f('scrape: {scrape_configs: [{scheme: http}]}', /got no job_name/);
  f('scrape: {scrape_configs: [{job_name: a}, {job_name: a}]}', /the job_name "a" twice/);
  f(job('scrape_timeout: 20s'), /cannot use scrape.scrape_configs\[0\] at .*:3:7: got a scrape_timeout above/);
  f(job("static_configs: [{targets: ['http://a/metrics']}]"), /want host:port, without scheme and path/);
  f(job('static_configs: [{targets: a}]'), /targets at .*: got "a", want a list/);
  f(job("static_configs: [{labels: {'a-b': c}}]"), /got the label "a-b"/);
  f(job('metrics_path: metrics'), /want a path that begins with \//);
  f(job('scheme: ftp'), /got "ftp", want http, https/);
  f(job('honor_labels: 1'), /want true or false/);
  f(job('body_size_limit: 1GB'), /want bytes such as 10MB, at most 33554432/);
  f(job('relabel_configs: [{regex: (}]'), /relabel_configs\[0\] at .*:4:\d+: cannot use relabel rule 1 \(replace\)/);
  f(job('relabel_configs: [{action: dance}]'), /want replace, keep, drop/);
  f(job('kubernetes_sd_configs: [{role: endpoints}]'), /got "endpoints", want pod/);
  f(job('kubernetes_sd_configs: [{annotations: true}]'), /got no role/);
  f(job('basic_auth: {password: a, password_file: b}'), /got password and password_file/);
  f(job('authorization: {type: Bearer}'), /want one of credentials and credentials_file/);
  f(job('basic_auth: {username: a}\n      authorization: {credentials: x}'), /got basic_auth and authorization/);
  f(job('tls_config: {cert_file: a}'), /want cert_file and key_file together/);
  f(job('scrape_protocols: [x]'), /"scrape_protocols" .* it is not supported here/);
});

test('what is shown of it holds no secret', async (t) => {
  const { written } = read(`
scrape:
  scrape_configs:
    - {job_name: a, basic_auth: {username: u, password: p1}}
    - {job_name: b, authorization: {credentials: p2}}
`)!;
  t.strictSame(written, {
    scrape_configs: [
      { job_name: 'a', basic_auth: { username: 'u', password: '<secret>' } },
      { job_name: 'b', authorization: { credentials: '<secret>' } },
    ],
  });
});
