/**
 * Reads `scrape:`. Its keys are those of Prometheus' own configuration, so that jobs can be copied from there; what is not
 * supported is refused by name.
 * Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/
 */
import { dirname, resolve } from 'node:path';
import { LIMITS } from '../model/limits.ts';
import { compileRelabel, RELABEL_ACTIONS, RELABEL_DEFAULTS, type RelabelRule } from '../model/relabel.ts';
import {
  type Authorization,
  type BasicAuth,
  type MonitorSource,
  NO_TLS,
  type PodSource,
  type ScrapeConfig,
  type ScrapeJob,
  type ScrapeTls,
  type StaticTargets,
} from './scrape-schema.ts';
import type { YamlNode } from './yaml-node.ts';

const INTERVAL_MS = 15_000;
const TIMEOUT_MS = 10_000;
const TARGET = /^(?:\[[0-9a-fA-F:.]+\]|[^\s/:?#@[\]]+)(?::\d{1,5})?$/;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const PATH = /^\//;
const NOT_EMPTY = /\S/;

/** Files are named relative to that of the configuration. Throws `bad_config`. */
export function readScrape(node: YamlNode, configFile: string, written: unknown): ScrapeConfig {
  const inFile = (file: YamlNode): string => fileIn(configFile, file);
  const defaults = node.struct<Defaults>({
    scrape_interval: duration,
    scrape_timeout: duration,
    scrape_configs: (list) => list,
    service_monitors: readMonitors,
    pod_monitors: readMonitors,
  });
  const { scrape_interval: intervalMs = INTERVAL_MS } = defaults;
  const { scrape_timeout: timeoutMs = Math.min(TIMEOUT_MS, intervalMs) } = defaults;
  if (timeoutMs > intervalMs) throw node.fault('got a scrape_timeout above the scrape_interval');
  const around = { intervalMs, timeoutMs };
  const jobs = defaults.scrape_configs?.list((job) => readJob(job, around, inFile)) ?? [];
  const twice = jobs.find((job, i) => jobs.findIndex(({ name }) => name === job.name) < i);
  if (twice !== undefined) throw node.fault(`got the job_name ${JSON.stringify(twice.name)} twice, want it once`);
  const { service_monitors: serviceMonitors = null, pod_monitors: podMonitors = null } = defaults;
  return { jobs, serviceMonitors, podMonitors, ...around, written: withoutSecrets(written) };
}

interface Defaults {
  readonly scrape_interval: number;
  readonly scrape_timeout: number;
  readonly scrape_configs: YamlNode;
  readonly service_monitors: MonitorSource;
  readonly pod_monitors: MonitorSource;
}

type InFile = (node: YamlNode) => string;

interface WrittenJob {
  readonly job_name: string;
  readonly scrape_interval: number;
  readonly scrape_timeout: number;
  readonly metrics_path: string;
  readonly scheme: 'http' | 'https';
  readonly params: Readonly<Record<string, readonly string[]>>;
  readonly honor_labels: boolean;
  readonly honor_timestamps: boolean;
  readonly basic_auth: BasicAuth;
  readonly authorization: Authorization;
  readonly tls_config: ScrapeTls;
  readonly follow_redirects: boolean;
  readonly body_size_limit: number;
  readonly sample_limit: number;
  readonly relabel_configs: readonly RelabelRule[];
  readonly metric_relabel_configs: readonly RelabelRule[];
  readonly static_configs: readonly StaticTargets[];
  readonly kubernetes_sd_configs: readonly PodSource[];
}

function readJob(
  node: YamlNode,
  around: { readonly intervalMs: number; readonly timeoutMs: number },
  inFile: InFile,
): ScrapeJob {
  const job = node.struct<WrittenJob>({
    job_name: (name) => name.textOf(NOT_EMPTY, 'a name'),
    scrape_interval: duration,
    scrape_timeout: duration,
    metrics_path: (path) => path.textOf(PATH, 'a path that begins with /'),
    scheme: (scheme) => scheme.choice(['http', 'https']),
    params: (params) => params.map((values) => values.list((value) => value.text())),
    honor_labels: (flag) => flag.flag(),
    honor_timestamps: (flag) => flag.flag(),
    basic_auth: (auth) => readBasicAuth(auth, inFile),
    authorization: (authorization) => readAuthorization(authorization, inFile),
    tls_config: (tls) => readTls(tls, inFile),
    follow_redirects: (flag) => flag.flag(),
    body_size_limit: (bytes) => bytes.bytes(LIMITS.scrapeBodyBytesMax),
    sample_limit: (count) => count.count(),
    relabel_configs: readRules,
    metric_relabel_configs: readRules,
    static_configs: (list) => list.list(readStatic),
    kubernetes_sd_configs: (list) => list.list(readPods),
  });
  if (job.job_name === undefined) throw node.fault('got no job_name');
  if (job.basic_auth !== undefined && job.authorization !== undefined) {
    throw node.fault('got basic_auth and authorization, want one of them');
  }
  const intervalMs = job.scrape_interval ?? around.intervalMs;
  const timeoutMs = job.scrape_timeout ?? Math.min(around.timeoutMs, intervalMs);
  if (timeoutMs > intervalMs) throw node.fault('got a scrape_timeout above the scrape_interval');
  return {
    name: job.job_name,
    intervalMs,
    timeoutMs,
    metricsPath: job.metrics_path ?? '/metrics',
    scheme: job.scheme ?? 'http',
    params: job.params ?? {},
    honorLabels: job.honor_labels ?? false,
    honorTimestamps: job.honor_timestamps ?? true,
    basicAuth: job.basic_auth ?? null,
    authorization: job.authorization ?? null,
    tls: job.tls_config ?? NO_TLS,
    followRedirects: job.follow_redirects ?? true,
    // As Prometheus has it, 0 is no limit; ours holds all the same.
    bodyBytesMax: job.body_size_limit || LIMITS.scrapeBodyBytesMax,
    samplesMax: job.sample_limit || Number.MAX_SAFE_INTEGER,
    relabel: job.relabel_configs ?? [],
    metricRelabel: job.metric_relabel_configs ?? [],
    staticTargets: job.static_configs ?? [],
    pods: job.kubernetes_sd_configs ?? [],
  };
}

function readStatic(node: YamlNode): StaticTargets {
  const { targets = [], labels = {} } = node.struct<StaticTargets>({
    targets: (list) => list.list((target) => target.textOf(TARGET, 'host:port, without scheme and path')),
    labels: readLabels,
  });
  return { targets, labels };
}

function readLabels(node: YamlNode): Readonly<Record<string, string>> {
  const labels = node.map((value) => value.text());
  const wrong = Object.keys(labels).find((name) => !LABEL_NAME.test(name));
  if (wrong !== undefined) throw node.fault(`got the label ${JSON.stringify(wrong)}, want letters, digits and _`);
  return labels;
}

interface WrittenPods {
  readonly role: 'pod';
  readonly namespaces: { readonly names?: readonly string[]; readonly own_namespace?: boolean };
  readonly selectors: readonly { readonly role: 'pod'; readonly label: string; readonly field: string }[];
  readonly annotations: boolean;
}

function readPods(node: YamlNode): PodSource {
  const {
    role,
    namespaces = {},
    selectors = [],
    annotations = false,
  } = node.struct<WrittenPods>({
    role: (text) => text.choice(['pod']),
    namespaces: (names) =>
      names.struct<{ readonly names: readonly string[]; readonly own_namespace: boolean }>({
        names: readNames,
        own_namespace: (flag) => flag.flag(),
      }),
    selectors: (list) => list.list(readSelector),
    annotations: (flag) => flag.flag(),
  });
  if (role === undefined) throw node.fault('got no role, want role: pod');
  if (selectors.length > 1) throw node.fault(`got ${selectors.length} selectors, want one for the role pod`);
  return {
    namespaces: namespaces.names ?? [],
    ownNamespace: namespaces.own_namespace ?? false,
    labelSelector: selectors[0]?.label ?? '',
    fieldSelector: selectors[0]?.field ?? '',
    annotations,
  };
}

function readSelector(node: YamlNode): WrittenPods['selectors'][number] {
  const {
    role = 'pod',
    label = '',
    field = '',
  } = node.struct<WrittenPods['selectors'][number]>({
    role: (text) => text.choice(['pod']),
    label: (text) => text.text(),
    field: (text) => text.text(),
  });
  return { role, label, field };
}

interface WrittenMonitors {
  readonly namespaces: readonly string[];
  readonly selector: string;
  readonly enforce_namespace: boolean;
}

function readMonitors(node: YamlNode): MonitorSource {
  if (node.isEmpty) throw node.wrong('keys and values; {} takes all there are');
  const {
    namespaces = [],
    selector = '',
    enforce_namespace = true,
  } = node.struct<WrittenMonitors>({
    namespaces: readNames,
    selector: (text) => text.text(),
    enforce_namespace: (flag) => flag.flag(),
  });
  return { namespaces, labelSelector: selector, enforceNamespace: enforce_namespace };
}

function readNames(node: YamlNode): readonly string[] {
  return node.list((name) => name.textOf(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'the name of a namespace'));
}

function readRules(node: YamlNode): readonly RelabelRule[] {
  return node.list(readRule);
}

interface WrittenRule {
  readonly source_labels: readonly string[];
  readonly separator: string;
  readonly target_label: string;
  readonly regex: string;
  readonly modulus: number;
  readonly replacement: string;
  readonly action: RelabelRule['action'];
}

function readRule(node: YamlNode): RelabelRule {
  const written = node.struct<WrittenRule>({
    source_labels: (list) => list.list((label) => label.text()),
    separator: (text) => text.text(),
    target_label: (text) => text.text(),
    regex: (text) => text.text(),
    modulus: (count) => count.count(),
    replacement: (text) => text.text(),
    action: (text) => text.choice(RELABEL_ACTIONS),
  });
  const rule: RelabelRule = {
    sourceLabels: written.source_labels ?? RELABEL_DEFAULTS.sourceLabels,
    separator: written.separator ?? RELABEL_DEFAULTS.separator,
    targetLabel: written.target_label ?? RELABEL_DEFAULTS.targetLabel,
    regex: written.regex ?? RELABEL_DEFAULTS.regex,
    modulus: written.modulus ?? RELABEL_DEFAULTS.modulus,
    replacement: written.replacement ?? RELABEL_DEFAULTS.replacement,
    action: written.action ?? RELABEL_DEFAULTS.action,
  };
  try {
    compileRelabel([rule]);
  } catch (cause) {
    throw node.fault(cause instanceof Error ? cause.message : String(cause));
  }
  return rule;
}

function readBasicAuth(node: YamlNode, inFile: InFile): BasicAuth {
  const {
    username = '',
    password = '',
    password_file: passwordFile = '',
  } = node.struct<{
    readonly username: string;
    readonly password: string;
    readonly password_file: string;
  }>({ username: (text) => text.text(), password: (text) => text.text(), password_file: inFile });
  if (password !== '' && passwordFile !== '') throw node.fault('got password and password_file, want one of them');
  return { username, password, passwordFile };
}

function readAuthorization(node: YamlNode, inFile: InFile): Authorization {
  const {
    type = 'Bearer',
    credentials = '',
    credentials_file: credentialsFile = '',
  } = node.struct<{
    readonly type: string;
    readonly credentials: string;
    readonly credentials_file: string;
  }>({
    type: (text) => text.textOf(/^[\w-]+$/, 'a word'),
    credentials: (text) => text.text(),
    credentials_file: inFile,
  });
  if ((credentials === '') === (credentialsFile === '')) {
    throw node.fault('want one of credentials and credentials_file');
  }
  return { type, credentials, credentialsFile };
}

function readTls(node: YamlNode, inFile: InFile): ScrapeTls {
  const { ca_file, cert_file, key_file, server_name, insecure_skip_verify } = node.struct<{
    readonly ca_file: string;
    readonly cert_file: string;
    readonly key_file: string;
    readonly server_name: string;
    readonly insecure_skip_verify: boolean;
  }>({
    ca_file: inFile,
    cert_file: inFile,
    key_file: inFile,
    server_name: (text) => text.text(),
    insecure_skip_verify: (flag) => flag.flag(),
  });
  if ((cert_file === undefined) !== (key_file === undefined)) throw node.fault('want cert_file and key_file together');
  return {
    caFile: ca_file ?? '',
    certFile: cert_file ?? '',
    keyFile: key_file ?? '',
    serverName: server_name ?? '',
    insecureSkipVerify: insecure_skip_verify ?? false,
  };
}

function duration(node: YamlNode): number {
  return node.durationMs(LIMITS.scrapeIntervalMsMin);
}

function fileIn(configFile: string, node: YamlNode): string {
  return resolve(dirname(configFile), node.textOf(NOT_EMPTY, 'the path of a file'));
}

/** The values of `password` and `credentials`, as Prometheus shows them. */
function withoutSecrets(written: unknown): unknown {
  if (Array.isArray(written)) return written.map(withoutSecrets);
  if (typeof written !== 'object' || written === null) return written;
  return Object.fromEntries(
    Object.entries(written).map(([key, value]) => [
      key,
      key === 'password' || key === 'credentials' ? '<secret>' : withoutSecrets(value),
    ]),
  );
}
