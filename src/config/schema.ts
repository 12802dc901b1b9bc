/**
 * All settings, in one table. From a setting's name follow its flag (`--web.listen-address`), its environment variable
 * (`TIDEGAUGE_WEB_LISTEN_ADDRESS`) and its place in the YAML file (`web: {listen-address: …}`).
 * docs/configuration.md lists the table; a test compares the two.
 */
import { LIMITS } from '../model/limits.ts';
import type { ScrapeConfig } from './scrape-schema.ts';
import {
  ADDRESS,
  type Address,
  BOOLEAN,
  bytesBetween,
  COUNT,
  choiceOf,
  choicesOf,
  countFrom,
  DURATION,
  type Kind,
  LIST,
  NUMBER,
  PATH,
  PATTERN,
  SYNC,
  TEXT,
  URL_OR_NONE,
} from './values.ts';

export interface Setting<T> {
  /** The flag without its dashes; the dots are the levels of the YAML file. */
  readonly name: string;
  readonly kind: Kind<T>;
  readonly defaultText: string | ((machine: Machine) => string);
  readonly help: string;
}

/** What the defaults need to know of the machine. */
export interface Machine {
  readonly memoryBytes: number;
  /** Memory that the process may use (its cgroup's limit); 0 or more than there is, if nothing constrains it. */
  readonly constrainedMemoryBytes: number;
}

/** What `--enable-feature` takes, in Prometheus' names. */
const FEATURES = [
  'promql-experimental-functions',
  'promql-duration-expr',
  'promql-extended-range-selectors',
  'promql-binop-fill-modifiers',
  'promql-delayed-name-removal',
  'use-start-timestamps',
  'type-and-unit-labels',
] as const;
export type Feature = (typeof FEATURES)[number];

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type KubernetesAuth = 'auto' | 'delegated' | 'certificates' | 'none';
export type LogFormat = 'logfmt' | 'json';
export type LogFailure = 'accept' | 'refuse';

/** How the names and labels of OTLP become those of series. */
export interface OtlpTranslation {
  readonly strategy: OtlpNamingStrategy;
  readonly promoteResourceAttributes: readonly string[];
  readonly ignoreResourceAttributes: readonly string[];
  readonly promoteScopeMetadata: boolean;
  readonly convertHistogramsToNhcb: boolean;
  readonly keepRawDeltas: boolean;
}

export type OtlpNamingStrategy =
  | 'UnderscoreEscapingWithSuffixes'
  | 'UnderscoreEscapingWithoutSuffixes'
  | 'NoUTF8EscapingWithSuffixes'
  | 'NoTranslation';

/** A metric of `external.metrics.k8s.io`. */
export interface ExternalMetric {
  readonly name: string;
  readonly query: string;
  /** Whether the namespace of the request narrows the query. */
  readonly namespaced: boolean;
  /** What else was set of it, as written: how its Readings are made is not judged here. */
  readonly policy: Readonly<Record<string, string>>;
  /** Where it was defined, for messages: `tidegauge.yaml:12:5`. */
  readonly origin: string;
}

/** A metric of objects, of `custom.metrics.k8s.io`. */
export interface CustomMetric extends ExternalMetric {
  /** What kind of object: `pods`, `deployments.apps`. */
  readonly resource: string;
  /** Label of the query's result that names the object; '' for the kind's singular. */
  readonly label: string;
  /** Label of series that names the objects' namespace; '' for those that usually do. */
  readonly namespaceLabel: string;
}

export interface Config {
  /** Every flag, without its dashes, and the text of its value. None of them is a secret: secrets come from files. */
  readonly flags: Readonly<Record<string, string>>;
  /** The file that was read, or ''. */
  readonly configFile: string;
  readonly web: {
    readonly listenAddress: Address | null;
    readonly corsOrigin: string;
    /** Of each port. */
    readonly connectionsMax: number;
    readonly connectionsPerAddressMax: number;
    /** '' names nobody, and serves plain text. */
    readonly configFile: string;
  };
  /** What is let in without a name though its port is not on loopback. */
  readonly auth: { readonly waive: readonly ('write' | 'admin')[] };
  readonly otlp: {
    readonly grpc: {
      readonly listenAddress: Address | null;
      /** Both or neither are ''. */
      readonly tlsCertFile: string;
      readonly tlsPrivateKeyFile: string;
      /** '' lets every client in. */
      readonly tlsClientCaFile: string;
    };
    readonly http: { readonly listenAddress: Address | null };
    readonly translation: OtlpTranslation;
  };
  readonly keda: {
    readonly listenAddress: Address | null;
    readonly tenancy: 'off' | 'namespace';
    /** Both or neither are ''. */
    readonly tlsCertFile: string;
    readonly tlsPrivateKeyFile: string;
    /** '' lets every client in. */
    readonly tlsClientCaFile: string;
  };
  readonly compat: {
    readonly kedify: {
      readonly enabled: boolean;
      readonly sharedPort: boolean;
      readonly windowMs: number;
      readonly errorIfNotFound: boolean;
      readonly valueIfNotFound: number;
      readonly lenientLabels: boolean;
      readonly notFoundCoversEmpty: boolean;
    };
  };
  readonly kubernetes: {
    readonly listenAddress: Address | null;
    readonly insecureAllowUnauthenticated: boolean;
    /** Both or neither are ''. */
    readonly tlsCertFile: string;
    readonly tlsPrivateKeyFile: string;
    readonly auth: KubernetesAuth;
    /** '' uses what a pod is given. */
    readonly kubeconfig: string;
    /** PEM bundles for `certificates`; '' for none. */
    readonly clientCaFile: string;
    readonly requestHeaderClientCaFile: string;
    /** '' keeps no certificates. */
    readonly certDir: string;
    readonly serviceName: string;
    /** '' has no rules. */
    readonly adapterConfig: string;
    readonly allowNegative: boolean;
  };
  readonly replica: {
    /** Web address of the daemon whose image is taken on a start with nothing; '' for none. */
    readonly peer: string;
    readonly tokenFile: string;
    readonly caFile: string;
    readonly certFile: string;
    readonly keyFile: string;
    /** How long it is not ready if the peer is there and gives nothing. */
    readonly waitMs: number;
  };
  readonly storage: {
    /** '' keeps everything in memory only. */
    readonly path: string;
    /** What to do with bodies while the log cannot be written. */
    readonly logFailure: LogFailure;
    /** How long what was written may wait to be synced; 0: it is synced before it is acknowledged. */
    readonly logSyncMs: number;
    readonly retentionMs: number;
    readonly memoryLimitBytes: number;
    /** 0 leaves it to the memory limit. */
    readonly seriesLimit: number;
    /** 0 keeps none. */
    readonly exemplarsLimit: number;
  };
  readonly query: {
    readonly lookbackDeltaMs: number;
    readonly timeoutMs: number;
    readonly samplesMax: number;
    readonly textBytesMax: number;
    readonly depthMax: number;
    readonly pointsMax: number;
    readonly resultBytesMax: number;
  };
  /** What of Prometheus' experimental features is on. */
  readonly features: readonly Feature[];
  readonly scaling: {
    readonly timeoutMs: number;
    readonly samplesMax: number;
    readonly forgetAfterMs: number;
    readonly warmUp: boolean;
    readonly watchPods: boolean;
  };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  readonly externalMetrics: readonly ExternalMetric[];
  readonly customMetrics: readonly CustomMetric[];
  /** Null if nothing is scraped. */
  readonly scrape: ScrapeConfig | null;
}

/** One memory of WebAssembly holds at most 4 GiB; with the reserve for queries and bodies, this is what can be used. */
const MEMORY_LIMIT_BYTES_MAX = 5 * 2 ** 30;
const MEMORY_LIMIT_BYTES_MIN = 64 * 2 ** 20;

export const SETTINGS = {
  configFile: setting('config.file', PATH, '', 'YAML file to read settings from; empty for none.'),
  webListenAddress: setting(
    'web.listen-address',
    ADDRESS,
    '127.0.0.1:9090',
    'Where to serve the Prometheus HTTP API, remote-write, health and own metrics.',
  ),
  webCorsOrigin: setting(
    'web.cors.origin',
    PATTERN,
    '.*',
    'Pages of which origins may read replies of the query API, as a regular expression that is matched as a whole.',
  ),
  webMaxConnections: setting(
    'web.max-connections',
    countFrom(1),
    String(LIMITS.httpConnectionsMax),
    'How many connections each port keeps open.',
  ),
  webMaxConnectionsPerAddress: setting(
    'web.max-connections-per-address',
    countFrom(1),
    String(LIMITS.httpConnectionsPerAddressMax),
    'How many of them may be from one address; raise it where all senders come through one proxy.',
  ),
  webConfigFile: setting(
    'web.config.file',
    PATH,
    '',
    "YAML file that names who is let in by token or certificate, and TLS, for all ports but the Kubernetes one; Prometheus' form.",
  ),
  authWaive: setting(
    'auth.waive',
    choicesOf('write', 'admin'),
    '',
    'What everybody who reaches a port that is not on loopback may do while nobody is named for it: write, admin or both.',
  ),
  otlpGrpcListenAddress: setting(
    'otlp.grpc.listen-address',
    ADDRESS,
    '127.0.0.1:4317',
    'Where to take OTLP over gRPC.',
  ),
  otlpHttpListenAddress: setting(
    'otlp.http.listen-address',
    ADDRESS,
    '127.0.0.1:4318',
    'Where to take OTLP over HTTP.',
  ),
  otlpNamingStrategy: setting(
    'otlp.naming-strategy',
    choiceOf<OtlpNamingStrategy>(
      'UnderscoreEscapingWithSuffixes',
      'UnderscoreEscapingWithoutSuffixes',
      'NoUTF8EscapingWithSuffixes',
      'NoTranslation',
    ),
    'UnderscoreEscapingWithSuffixes',
    "How names of OTLP metrics and attributes become names of series; the strategies are Prometheus'.",
  ),
  otlpPromoteResourceAttributes: setting(
    'otlp.promote-resource-attributes',
    LIST,
    'k8s.namespace.name,k8s.pod.name,k8s.deployment.name,k8s.statefulset.name,k8s.container.name,k8s.node.name,host.name,' +
      'service.name,service.namespace,service.version,deployment.environment,deployment.environment.name',
    'OTLP resource attributes that become labels of every series of the resource; `*` for all.',
  ),
  otlpIgnoreResourceAttributes: setting(
    'otlp.ignore-resource-attributes',
    LIST,
    '',
    'OTLP resource attributes that do not become labels, for use with `*`.',
  ),
  otlpPromoteScopeMetadata: setting(
    'otlp.promote-scope-metadata',
    BOOLEAN,
    'false',
    'Make name, version, schema URL and attributes of the OTLP scope labels `otel_scope_*`.',
  ),
  otlpConvertHistogramsToNhcb: setting(
    'otlp.convert-histograms-to-nhcb',
    BOOLEAN,
    'false',
    'Keep OTLP histograms with explicit bounds as native histograms with custom buckets.',
  ),
  otlpKeepRawDeltas: setting(
    'otlp.keep-raw-deltas',
    BOOLEAN,
    'true',
    'Keep OTLP delta points as they came, too, as series whose names end in `:delta`.',
  ),
  otlpGrpcTlsCertFile: setting(
    'otlp.grpc.tls-cert-file',
    PATH,
    '',
    'PEM certificate of the OTLP/gRPC port; empty goes by `--web.config.file`. Renewed files are picked up within seconds.',
  ),
  otlpGrpcTlsPrivateKeyFile: setting(
    'otlp.grpc.tls-private-key-file',
    PATH,
    '',
    'PEM private key of that certificate.',
  ),
  otlpGrpcTlsClientCaFile: setting(
    'otlp.grpc.tls-client-ca-file',
    PATH,
    '',
    'PEM certificates of the authorities that a sender by OTLP/gRPC must have its certificate from; empty asks for none.',
  ),
  kedaListenAddress: setting(
    'keda.listen-address',
    ADDRESS,
    '127.0.0.1:6000',
    "Where to serve KEDA's external scaler over gRPC.",
  ),
  kedaTenancy: setting(
    'keda.tenancy',
    choiceOf('off', 'namespace'),
    'off',
    'What a trigger of KEDA may see: everything, or the series of the namespace of its ScaledObject.',
  ),
  kedaTlsCertFile: setting(
    'keda.tls-cert-file',
    PATH,
    '',
    'PEM certificate of the KEDA port; empty serves plain text. Renewed files are picked up within seconds.',
  ),
  kedaTlsPrivateKeyFile: setting('keda.tls-private-key-file', PATH, '', 'PEM private key of that certificate.'),
  kedaTlsClientCaFile: setting(
    'keda.tls-client-ca-file',
    PATH,
    '',
    'PEM certificates of the authorities that a client of the KEDA port must have its certificate from; empty asks for none.',
  ),
  compatKedifyEnabled: setting(
    'compat.kedify.enabled',
    BOOLEAN,
    'true',
    "Serve what Kedify's OTel scaler serves: triggers with metricQuery, /memstore and /info, its metrics.",
  ),
  compatKedifySharedPort: setting(
    'compat.kedify.shared-port',
    BOOLEAN,
    'true',
    'Serve KEDA on the OTLP/HTTP port, too, in plain text and by TLS as on its own; only by TLS if that asks for certificates.',
  ),
  compatKedifyWindow: setting(
    'compat.kedify.window',
    DURATION,
    '2m',
    'What a metricQuery looks at: how old the newest sample of a live series may be, and the window of operationOverTime.',
  ),
  compatKedifyErrorIfNotFound: setting(
    'compat.kedify.error-if-not-found',
    BOOLEAN,
    'false',
    'Answer a metricQuery of an unknown metric with an error instead of a value.',
  ),
  compatKedifyValueIfNotFound: setting(
    'compat.kedify.value-if-not-found',
    NUMBER,
    '0',
    'The value of a metricQuery of an unknown metric.',
  ),
  compatKedifyLenientLabels: setting(
    'compat.kedify.lenient-labels',
    BOOLEAN,
    'true',
    "Match labels of a metricQuery as Kedify's scaler does: exactly the labels asked for, else whatever does not contradict.",
  ),
  compatKedifyNotFoundCoversEmpty: setting(
    'compat.kedify.not-found-covers-empty',
    BOOLEAN,
    'false',
    'Treat a metricQuery that matches no live series of a known metric like one of an unknown metric.',
  ),
  kubernetesListenAddress: setting(
    'kubernetes.listen-address',
    ADDRESS,
    '127.0.0.1:6443',
    'Where to serve the Kubernetes external metrics API over TLS.',
  ),
  kubernetesInsecureAllowUnauthenticated: setting(
    'kubernetes.insecure-allow-unauthenticated',
    BOOLEAN,
    'false',
    'Answer everybody who reaches the Kubernetes port. Without it, the port listens on loopback only.',
  ),
  kubernetesTlsCertFile: setting(
    'kubernetes.tls-cert-file',
    PATH,
    '',
    'PEM certificate of the Kubernetes port; empty for one that the daemon makes itself.',
  ),
  kubernetesTlsPrivateKeyFile: setting(
    'kubernetes.tls-private-key-file',
    PATH,
    '',
    'PEM private key of that certificate.',
  ),
  kubernetesAuth: setting(
    'kubernetes.auth',
    choiceOf('auto', 'delegated', 'certificates', 'none'),
    'auto',
    'Who is answered on the Kubernetes port: delegated asks the API server, certificates takes those of the CA files, none takes everybody; auto delegates in a cluster and else answers on loopback only.',
  ),
  kubernetesKubeconfig: setting(
    'kubernetes.kubeconfig',
    PATH,
    '',
    'kubeconfig file of the API server to ask; empty for what a pod is given.',
  ),
  kubernetesClientCaFile: setting(
    'kubernetes.client-ca-file',
    PATH,
    '',
    'PEM bundle; with --kubernetes.auth=certificates, whoever has a certificate of it is answered.',
  ),
  kubernetesRequestHeaderClientCaFile: setting(
    'kubernetes.requestheader-client-ca-file',
    PATH,
    '',
    'PEM bundle; with --kubernetes.auth=certificates, a front proxy with a certificate of it may speak for others.',
  ),
  kubernetesCertDir: setting(
    'kubernetes.cert-dir',
    PATH,
    '',
    'Directory where the certificates that the daemon makes itself are kept; empty makes new ones at each start.',
  ),
  kubernetesServiceName: setting(
    'kubernetes.service-name',
    TEXT,
    'tidegauge',
    'Name of the Service that leads to the Kubernetes port, for its certificate.',
  ),
  kubernetesAdapterConfig: setting(
    'kubernetes.adapter-config',
    PATH,
    '',
    'Configuration file of prometheus-adapter, whose rules are served; read again when it changes.',
  ),
  kubernetesAllowNegative: setting(
    'kubernetes.allow-negative',
    BOOLEAN,
    'false',
    'Answer negative values of external rules; Kubernetes 1.34 and later scale to the maximum on a negative sum.',
  ),
  replicaPeer: setting(
    'replica.peer',
    URL_OR_NONE,
    '',
    'URL of the web port of another daemon, which gets the same samples: on a start with nothing its memory is taken.',
  ),
  replicaTokenFile: setting(
    'replica.token-file',
    PATH,
    '',
    'File with the bearer token that is shown to the peer; it needs the role admin there.',
  ),
  replicaCaFile: setting(
    'replica.ca-file',
    PATH,
    '',
    'Authorities that the certificate of the peer is checked against.',
  ),
  replicaCertFile: setting('replica.cert-file', PATH, '', 'Certificate that is shown to the peer, PEM.'),
  replicaKeyFile: setting('replica.key-file', PATH, '', 'Private key of that certificate, PEM.'),
  replicaWait: setting(
    'replica.wait',
    DURATION,
    '5m',
    'How long a daemon that began with nothing is not ready if its peer is there but did not give its memory.',
  ),
  storagePath: setting(
    'storage.path',
    PATH,
    '',
    'Directory that survives restarts; empty keeps everything in memory only.',
  ),
  storageLogFailure: setting(
    'storage.log-failure',
    choiceOf('accept', 'refuse'),
    'accept',
    'While the log cannot be written: accept samples all the same and say degraded, or refuse them.',
  ),
  storageLogFsync: setting(
    'storage.log-fsync',
    SYNC,
    '1s',
    'How often the log is synced to the disk, which bounds what a power loss can take; always syncs before each reply.',
  ),
  storageRetention: setting('storage.retention', DURATION, '2h', 'How long samples are kept.'),
  storageMemoryLimit: setting(
    'storage.memory-limit',
    bytesBetween(MEMORY_LIMIT_BYTES_MIN, MEMORY_LIMIT_BYTES_MAX),
    (machine) => `${defaultMemoryLimitBytes(machine)}B`,
    "Memory of the whole process; by default 75 % of the cgroup's or machine's memory, at most 5GiB.",
  ),
  storageSeriesLimit: setting(
    'storage.series-limit',
    COUNT,
    '0',
    'How many series are kept at most; 0 for as many as memory allows.',
  ),
  storageExemplarsLimit: setting(
    'storage.exemplars-limit',
    COUNT,
    String(LIMITS.exemplarsMax),
    'How many exemplars are kept at most; 0 for none.',
  ),
  queryLookbackDelta: setting(
    'query.lookback-delta',
    DURATION,
    '5m',
    'How old the newest sample of a series may be for a query to see it.',
  ),
  queryTimeout: setting('query.timeout', DURATION, '10s', 'How long a query may take.'),
  queryMaxSamples: setting(
    'query.max-samples',
    countFrom(1),
    '50000000',
    'Samples that a query may load into memory, results included.',
  ),
  queryMaxTextSize: setting('query.max-text-size', bytesBetween(64, 2 ** 20), '16KiB', 'Size of the text of a query.'),
  queryMaxDepth: setting(
    'query.max-depth',
    countFrom(1),
    '128',
    'How many parentheses and calls of a query may stand inside each other.',
  ),
  queryMaxPoints: setting(
    'query.max-points',
    countFrom(1),
    '11000',
    'Points a series that a range query may ask for, not counting the first.',
  ),
  queryMaxResultSize: setting(
    'query.max-result-size',
    bytesBetween(1024, 2 ** 30),
    '64MiB',
    'Size of the result of a query as held in memory: its points and the text of its labels.',
  ),
  enableFeature: setting(
    'enable-feature',
    choicesOf(...FEATURES),
    '',
    "Prometheus' experimental features to switch on, separated by commas.",
  ),
  scalingTimeout: setting('scaling.timeout', DURATION, '700ms', "How long an autoscaler's query may take."),
  scalingMaxSamples: setting(
    'scaling.max-samples',
    countFrom(1),
    '1000000',
    "Samples that an autoscaler's query may load into memory.",
  ),
  scalingForgetAfter: setting(
    'scaling.forget-after',
    DURATION,
    '5m',
    'How long a sender that fell silent counts as missing before autoscalers are answered without it.',
  ),
  scalingWarmUp: setting(
    'scaling.warm-up',
    BOOLEAN,
    'true',
    'After a start, answer autoscalers only once four fifths of what a query looks at are covered.',
  ),
  scalingWatchPods: setting(
    'scaling.watch-pods',
    BOOLEAN,
    'false',
    'Watch which pods of the cluster run: a sender whose pod ended leaves at once, and one that is silent while its pod runs is an error.',
  ),
  logLevel: setting(
    'log.level',
    choiceOf('debug', 'info', 'warn', 'error'),
    'info',
    'The least severe level that is logged.',
  ),
  logFormat: setting('log.format', choiceOf('logfmt', 'json'), 'logfmt', 'Format of log lines.'),
} as const;

export const ALL_SETTINGS: readonly Setting<unknown>[] = Object.values(SETTINGS) as unknown as Setting<unknown>[];

export function flagOf(setting: Setting<unknown>): string {
  return `--${setting.name}`;
}

export function environmentNameOf(setting: Setting<unknown>): string {
  return `TIDEGAUGE_${setting.name.toUpperCase().replaceAll(/[.-]/g, '_')}`;
}

/** The place in the YAML file, its levels joined by dots, or null: the file cannot name itself. */
export function yamlKeyOf(setting: Setting<unknown>): string | null {
  return setting === SETTINGS.configFile ? null : setting.name;
}

/** 75 % of what the process may use, at most 5 GiB. */
export function defaultMemoryLimitBytes({ memoryBytes, constrainedMemoryBytes }: Machine): number {
  const constrained = constrainedMemoryBytes > 0 && constrainedMemoryBytes < memoryBytes;
  const usableBytes = constrained ? constrainedMemoryBytes : memoryBytes;
  const bytes = Math.floor(usableBytes * 0.75);
  return Math.max(MEMORY_LIMIT_BYTES_MIN, Math.min(bytes, MEMORY_LIMIT_BYTES_MAX));
}

function setting<T>(name: string, kind: Kind<T>, defaultText: Setting<T>['defaultText'], help: string): Setting<T> {
  return { name, kind, defaultText, help };
}
