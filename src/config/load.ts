/**
 * From the command line, the environment and the YAML file to one `Config`. A flag wins over a variable, a variable
 * over the file, the file over the default. Whatever is unknown or cannot be read is `bad_config`: a setting that is
 * silently not applied is worse than a daemon that does not start.
 */
import type { AccessRules, TlsSettings } from '../model/access.ts';
import { CodedError } from '../model/errors.ts';
import { nearest } from '../model/nearest.ts';
import { parseAdapterFile } from './adapter-file.ts';
import { adapterArguments } from './adapter-flags.ts';
import { checkAliases, readAliases } from './aliases.ts';
import { type FileContent, parseFile } from './file.ts';
import {
  ALL_SETTINGS,
  type Config,
  environmentNameOf,
  flagOf,
  type KubernetesAuth,
  type Machine,
  SETTINGS,
  type Setting,
} from './schema.ts';
import { BOOLEAN, formatAddress, isLoopback } from './values.ts';
import { NO_WEB_FILE, parseWebFile } from './web-file.ts';

/** What the command line asks for. */
export type Command =
  | { readonly kind: 'serve'; readonly config: Config }
  | { readonly kind: 'check'; readonly config: Config }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' };

export type Environment = Readonly<Record<string, string | undefined>>;
export type ReadFile = (path: string) => string;

const HELP = '--help';
const VERSION = '--version';
const CHECK = '--check-config';
const COMMANDS: readonly string[] = ['serve'];

/** `argv` without the program's own name. */
export function parseCommand(argv: readonly string[], env: Environment, readFile: ReadFile, machine: Machine): Command {
  if (argv.includes(HELP) || argv.includes('-h')) return { kind: 'help' };
  if (argv.includes(VERSION)) return { kind: 'version' };
  // prometheus-adapter's own command line, behind the word `adapter`.
  const ours =
    argv[0] === 'adapter'
      ? adapterArguments(argv.slice(1), (path) => parseAdapterFile(readFile(path)).rules.length > 0)
      : argv;
  const config = loadConfig(ours, env, readFile, machine);
  return { kind: argv.includes(CHECK) ? 'check' : 'serve', config };
}

export function loadConfig(argv: readonly string[], env: Environment, readFile: ReadFile, machine: Machine): Config {
  const flags = readFlags(argv);
  const variables = readVariables(env);
  const aliases = readAliases(env);
  const path = (flags.get(SETTINGS.configFile.name) ?? variables.get(SETTINGS.configFile.name))?.text ?? '';
  const file = path === '' ? EMPTY_FILE : readConfigFile(path, readFile);
  const given: Given = (setting) =>
    flags.get(setting.name) ??
    variables.get(setting.name) ??
    aliases.get(setting.name) ??
    file.values.get(setting.name) ?? { text: defaultOf(setting, machine), origin: 'its default' };
  const config = buildConfig(given, file);
  checkTogether(config, env.KUBERNETES_SERVICE_HOST !== undefined);
  const rules = readWebFile(config, readFile);
  checkAliases(env, config.keda.tlsCertFile !== '' || rules.tls.keda !== null);
  checkSenders(config, rules);
  return config;
}

/** The flags of TLS that a port has of its own. */
type OwnTls = Pick<Config['keda'], 'tlsCertFile' | 'tlsPrivateKeyFile' | 'tlsClientCaFile'>;

export function helpText(): string {
  const lines = [
    'Usage: tidegauge [serve] [flags]',
    '',
    'Takes in metrics, keeps the last hours of them in memory, and tells autoscalers how much load there is.',
    'Each flag has an environment variable and a key in the YAML file; a flag wins over a variable, a variable over the file.',
    '',
    `  ${HELP.padEnd(FLAG_WIDTH)} Print this text.`,
    `  ${VERSION.padEnd(FLAG_WIDTH)} Print the version.`,
    `  ${CHECK.padEnd(FLAG_WIDTH)} Read the configuration, say whether it can be used, and stop.`,
  ];
  for (const setting of ALL_SETTINGS) {
    const byDefault =
      typeof setting.defaultText === 'string' && setting.defaultText !== '' ? ` [${setting.defaultText}]` : '';
    lines.push(
      '',
      `  ${flagOf(setting)}=<${setting.kind.name}>${byDefault}`,
      `      ${setting.help}`,
      `      ${environmentNameOf(setting)}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

const FLAG_WIDTH = 16;

interface Value {
  readonly text: string;
  /** Where it comes from, for messages. */
  readonly origin: string;
}

type Given = (setting: Setting<unknown>) => Value;

const EMPTY_FILE: FileContent = { values: new Map(), externalMetrics: [], customMetrics: [], scrape: null };

function readFlags(argv: readonly string[]): ReadonlyMap<string, Value> {
  const values = new Map<string, Value>();
  const rest = [...argv];
  let command: string | null = null;
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === CHECK) continue;
    if (argument.startsWith('-')) readFlag(argument, rest, values);
    else if (command === null) command = knownCommand(argument);
    else
      throw badConfig(
        `cannot use the argument ${quote(argument)}: got it after the command ${command}, want only flags there`,
      );
  }
  return values;
}

/** Reads one flag, and the argument after it if that is its value. */
function readFlag(argument: string, rest: string[], values: Map<string, Value>): void {
  const equals = argument.indexOf('=');
  const flag = equals < 0 ? argument : argument.slice(0, equals);
  const setting = ALL_SETTINGS.find((one) => flagOf(one) === flag);
  if (setting === undefined) {
    const known = [...ALL_SETTINGS.map(flagOf), HELP, VERSION, CHECK];
    throw badConfig(
      `cannot use the flag ${quote(flag)}: it is not known; the nearest known flag is ${nearest(flag, known)}`,
    );
  }
  if (values.has(setting.name)) throw badConfig(`cannot use ${flag}: got it twice, want it once`);
  values.set(setting.name, {
    text: equals < 0 ? followingValue(setting, rest) : argument.slice(equals + 1),
    origin: 'the command line',
  });
}

function followingValue(setting: Setting<unknown>, rest: string[]): string {
  // A switch stands alone, as in Prometheus: what follows it is the next argument.
  if (setting.kind.name === BOOLEAN.name) return 'true';
  const next = rest[0];
  if (next === undefined || next.startsWith('--'))
    throw badConfig(`cannot use ${flagOf(setting)}: got no value, want ${setting.kind.want}`);
  return rest.shift()!;
}

function knownCommand(word: string): string {
  if (COMMANDS.includes(word)) return word;
  throw badConfig(
    `cannot run the command ${quote(word)}: it is not known; the nearest known command is ${nearest(word, COMMANDS)}`,
  );
}

/**
 * Variables that Kubernetes puts into each pod for each Service of its namespace; a Service called `tidegauge` or
 * `tidegauge-keda` makes some that begin like ours. https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
const SERVICE_VARIABLE =
  /^TIDEGAUGE_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)?)$/;

/** An empty variable counts as absent, as templates of manifests tend to leave them behind. */
function readVariables(env: Environment): ReadonlyMap<string, Value> {
  const values = new Map<string, Value>();
  const byVariable = new Map(ALL_SETTINGS.map((setting) => [environmentNameOf(setting), setting]));
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith('TIDEGAUGE_') || text === undefined || text === '') continue;
    const setting = byVariable.get(variable);
    if (setting !== undefined) values.set(setting.name, { text, origin: variable });
    else if (!SERVICE_VARIABLE.test(variable)) {
      const known = nearest(variable, [...byVariable.keys()]);
      throw badConfig(
        `cannot use the environment variable ${quote(variable)}: it is not known; the nearest known variable is ${known}`,
      );
    }
  }
  return values;
}

function readConfigFile(path: string, readFile: ReadFile): FileContent {
  return parseFile(readTextFile(path, readFile), path);
}

function readTextFile(path: string, readFile: ReadFile): string {
  try {
    return readFile(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError('bad_config', `cannot read the configuration file ${quote(path)}: ${reason}`, { cause });
  }
}

function defaultOf(setting: Setting<unknown>, machine: Machine): string {
  return typeof setting.defaultText === 'string' ? setting.defaultText : setting.defaultText(machine);
}

function buildConfig(given: Given, file: FileContent): Config {
  const flags: Record<string, string> = {};
  const read = <T>(setting: Setting<T>): T => {
    const { text, origin } = given(setting as Setting<unknown>);
    const value = setting.kind.parse(text);
    if (value === undefined)
      throw badConfig(`cannot use --${setting.name} from ${origin}: got ${quote(text)}, want ${setting.kind.want}`);
    flags[setting.name] = setting.kind.format(value);
    return value;
  };
  return {
    flags,
    configFile: read(SETTINGS.configFile),
    web: {
      listenAddress: read(SETTINGS.webListenAddress),
      corsOrigin: read(SETTINGS.webCorsOrigin),
      connectionsMax: read(SETTINGS.webMaxConnections),
      connectionsPerAddressMax: read(SETTINGS.webMaxConnectionsPerAddress),
      configFile: read(SETTINGS.webConfigFile),
    },
    auth: { waive: read(SETTINGS.authWaive) },
    otlp: {
      grpc: {
        listenAddress: read(SETTINGS.otlpGrpcListenAddress),
        tlsCertFile: read(SETTINGS.otlpGrpcTlsCertFile),
        tlsPrivateKeyFile: read(SETTINGS.otlpGrpcTlsPrivateKeyFile),
        tlsClientCaFile: read(SETTINGS.otlpGrpcTlsClientCaFile),
      },
      http: { listenAddress: read(SETTINGS.otlpHttpListenAddress) },
      translation: {
        strategy: read(SETTINGS.otlpNamingStrategy),
        promoteResourceAttributes: read(SETTINGS.otlpPromoteResourceAttributes),
        ignoreResourceAttributes: read(SETTINGS.otlpIgnoreResourceAttributes),
        promoteScopeMetadata: read(SETTINGS.otlpPromoteScopeMetadata),
        convertHistogramsToNhcb: read(SETTINGS.otlpConvertHistogramsToNhcb),
        keepRawDeltas: read(SETTINGS.otlpKeepRawDeltas),
      },
    },
    keda: {
      listenAddress: read(SETTINGS.kedaListenAddress),
      tenancy: read(SETTINGS.kedaTenancy),
      tlsCertFile: read(SETTINGS.kedaTlsCertFile),
      tlsPrivateKeyFile: read(SETTINGS.kedaTlsPrivateKeyFile),
      tlsClientCaFile: read(SETTINGS.kedaTlsClientCaFile),
    },
    compat: {
      kedify: {
        enabled: read(SETTINGS.compatKedifyEnabled),
        sharedPort: read(SETTINGS.compatKedifySharedPort),
        windowMs: read(SETTINGS.compatKedifyWindow),
        errorIfNotFound: read(SETTINGS.compatKedifyErrorIfNotFound),
        valueIfNotFound: read(SETTINGS.compatKedifyValueIfNotFound),
        lenientLabels: read(SETTINGS.compatKedifyLenientLabels),
        notFoundCoversEmpty: read(SETTINGS.compatKedifyNotFoundCoversEmpty),
      },
    },
    kubernetes: {
      listenAddress: read(SETTINGS.kubernetesListenAddress),
      insecureAllowUnauthenticated: read(SETTINGS.kubernetesInsecureAllowUnauthenticated),
      tlsCertFile: read(SETTINGS.kubernetesTlsCertFile),
      tlsPrivateKeyFile: read(SETTINGS.kubernetesTlsPrivateKeyFile),
      auth: read(SETTINGS.kubernetesAuth) as KubernetesAuth,
      kubeconfig: read(SETTINGS.kubernetesKubeconfig),
      clientCaFile: read(SETTINGS.kubernetesClientCaFile),
      requestHeaderClientCaFile: read(SETTINGS.kubernetesRequestHeaderClientCaFile),
      certDir: read(SETTINGS.kubernetesCertDir),
      serviceName: read(SETTINGS.kubernetesServiceName),
      adapterConfig: read(SETTINGS.kubernetesAdapterConfig),
      allowNegative: read(SETTINGS.kubernetesAllowNegative),
    },
    replica: {
      peer: read(SETTINGS.replicaPeer),
      tokenFile: read(SETTINGS.replicaTokenFile),
      caFile: read(SETTINGS.replicaCaFile),
      certFile: read(SETTINGS.replicaCertFile),
      keyFile: read(SETTINGS.replicaKeyFile),
      waitMs: read(SETTINGS.replicaWait),
    },
    storage: {
      path: read(SETTINGS.storagePath),
      logFailure: read(SETTINGS.storageLogFailure),
      logSyncMs: read(SETTINGS.storageLogFsync),
      retentionMs: read(SETTINGS.storageRetention),
      memoryLimitBytes: read(SETTINGS.storageMemoryLimit),
      seriesLimit: read(SETTINGS.storageSeriesLimit),
      exemplarsLimit: read(SETTINGS.storageExemplarsLimit),
    },
    query: {
      lookbackDeltaMs: read(SETTINGS.queryLookbackDelta),
      timeoutMs: read(SETTINGS.queryTimeout),
      samplesMax: read(SETTINGS.queryMaxSamples),
      textBytesMax: read(SETTINGS.queryMaxTextSize),
      depthMax: read(SETTINGS.queryMaxDepth),
      pointsMax: read(SETTINGS.queryMaxPoints),
      resultBytesMax: read(SETTINGS.queryMaxResultSize),
    },
    features: read(SETTINGS.enableFeature),
    scaling: {
      timeoutMs: read(SETTINGS.scalingTimeout),
      samplesMax: read(SETTINGS.scalingMaxSamples),
      forgetAfterMs: read(SETTINGS.scalingForgetAfter),
      warmUp: read(SETTINGS.scalingWarmUp),
      watchPods: read(SETTINGS.scalingWatchPods),
    },
    log: { level: read(SETTINGS.logLevel), format: read(SETTINGS.logFormat) },
    externalMetrics: file.externalMetrics,
    customMetrics: file.customMetrics,
    scrape: file.scrape,
  };
}

/** What is wrong only about several settings together. */
function checkTogether({ kubernetes, keda, otlp }: Config, inCluster: boolean): void {
  checkTls(keda, [SETTINGS.kedaTlsCertFile, SETTINGS.kedaTlsPrivateKeyFile, SETTINGS.kedaTlsClientCaFile]);
  checkTls(otlp.grpc, [
    SETTINGS.otlpGrpcTlsCertFile,
    SETTINGS.otlpGrpcTlsPrivateKeyFile,
    SETTINGS.otlpGrpcTlsClientCaFile,
  ]);
  if ((kubernetes.tlsCertFile === '') !== (kubernetes.tlsPrivateKeyFile === '')) {
    const certificate = flagOf(SETTINGS.kubernetesTlsCertFile);
    const key = flagOf(SETTINGS.kubernetesTlsPrivateKeyFile);
    const alone = kubernetes.tlsCertFile === '' ? key : certificate;
    throw badConfig(`cannot use ${alone}: got it alone, want ${certificate} and ${key} together`);
  }
  const address = kubernetes.listenAddress;
  if (
    kubernetes.auth === 'certificates' &&
    kubernetes.clientCaFile === '' &&
    kubernetes.requestHeaderClientCaFile === ''
  ) {
    const [client, proxy] = [SETTINGS.kubernetesClientCaFile, SETTINGS.kubernetesRequestHeaderClientCaFile].map(flagOf);
    throw badConfig(
      `cannot use ${flagOf(SETTINGS.kubernetesAuth)}=certificates: got no CA, want ${client} or ${proxy}`,
    );
  }
  if (address === null || isLoopback(address) || kubernetes.insecureAllowUnauthenticated) return;
  if (kubernetes.auth !== 'auto' || inCluster || kubernetes.kubeconfig !== '') return;
  throw badConfig(
    `cannot use ${flagOf(SETTINGS.kubernetesListenAddress)}: got ${quote(formatAddress(address))}, want an address on loopback, ` +
      `because nothing authenticates who asks there outside of a cluster; ${flagOf(SETTINGS.kubernetesAuth)} says who may, ` +
      `${flagOf(SETTINGS.kubernetesInsecureAllowUnauthenticated)} waives this`,
  );
}

/** The file of `--web.config.file`. Throws `bad_config`. */
export function readWebFile({ web: { configFile } }: Pick<Config, 'web'>, readFile: ReadFile): AccessRules {
  return configFile === '' ? NO_WEB_FILE : parseWebFile(readTextFile(configFile, readFile), configFile);
}

/** TLS by the flags of one port, which win over the file of all; null if there are none. */
export function ownTlsOf({ tlsCertFile, tlsPrivateKeyFile, tlsClientCaFile }: OwnTls): TlsSettings | null {
  if (tlsCertFile === '') return null;
  return {
    certFile: tlsCertFile,
    keyFile: tlsPrivateKeyFile,
    clientCaFile: tlsClientCaFile,
    isCertificateRequired: tlsClientCaFile !== '',
    minVersion: 'TLSv1.2',
  };
}

/** Who can write decides what is scaled: on a port that others reach, somebody has to say who that is. */
function checkSenders({ web, otlp, auth }: Config, { tls, tokens, clients, anonymous }: AccessRules): void {
  if (auth.waive.includes('write') || anonymous.includes('write')) return;
  if ([...tokens, ...clients].some(({ roles }) => roles.includes('write'))) return;
  const ports = [
    [SETTINGS.webListenAddress, web.listenAddress, tls.web],
    [SETTINGS.otlpGrpcListenAddress, otlp.grpc.listenAddress, ownTlsOf(otlp.grpc) ?? tls.otlp_grpc],
    [SETTINGS.otlpHttpListenAddress, otlp.http.listenAddress, tls.otlp_http],
  ] as const;
  for (const [setting, address, files] of ports) {
    if (address === null || isLoopback(address) || files?.isCertificateRequired) continue;
    throw badConfig(
      `cannot use ${flagOf(setting)}: got ${quote(formatAddress(address))}, want an address on loopback, because everybody ` +
        `who reaches it could send samples and so scale; ${flagOf(SETTINGS.webConfigFile)} says who may, ` +
        `${flagOf(SETTINGS.authWaive)}=write waives this`,
    );
  }
}

function checkTls(
  { tlsCertFile, tlsPrivateKeyFile, tlsClientCaFile }: OwnTls,
  settings: readonly [certificate: Setting<string>, key: Setting<string>, clientCa: Setting<string>],
): void {
  const [certificate, key, clientCa] = settings.map(flagOf);
  if ((tlsCertFile === '') !== (tlsPrivateKeyFile === '')) {
    throw badConfig(
      `cannot use ${tlsCertFile === '' ? key : certificate}: got it alone, want ${certificate} and ${key} together`,
    );
  }
  if (tlsClientCaFile === '' || tlsCertFile !== '') return;
  throw badConfig(`cannot use ${clientCa}: got it without ${certificate} and ${key}`);
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function badConfig(message: string): CodedError {
  return new CodedError('bad_config', message);
}
