/**
 * The composition root: configuration → store → engine → surfaces → signals. The only place where floors are wired
 * together, and where the process (arguments, environment, files, signals, timers) is touched.
 */
import { readFileSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { bindHost } from './api/http.ts';
import { registerMemstore, registerRuntimeInfo } from './api/keda/memstore.ts';
import { type KedaPort, openKeda } from './api/keda/server.ts';
import { ClusterClient } from './api/kubernetes/cluster/client.ts';
import { WatchedPods } from './api/kubernetes/cluster/pod-states.ts';
import type { IdentityMode } from './api/kubernetes/identity/gatekeeper.ts';
import { type EarlyKubernetes, openKubernetesEarly } from './api/kubernetes/server.ts';
import { registerOpenApi } from './api/openapi.ts';
import { registerOps } from './api/ops/ops.ts';
import { corsOrigins } from './api/prometheus/cors.ts';
import { registerPrometheus } from './api/prometheus/prometheus.ts';
import { openOtlpGrpc, registerOtlpHttp, registerPush } from './api/push/push.ts';
import { boundBodiesByMemory } from './api/push/shedding.ts';
import { registerReplica } from './api/replica.ts';
import { registerScale } from './api/scale/scale.ts';
import { sharePort } from './api/shared-port.ts';
import { registerUi } from './api/ui/ui.ts';
import { lowerBackgroundThreads } from './background-threads.ts';
import { runClientCommand } from './cli/cli.ts';
import { parseAdapterFile } from './config/adapter-file.ts';
import { type ClusterAccess, inClusterAccess, inClusterNamespace, kubeconfigAccess } from './config/cluster.ts';
import { type Command, helpText, parseCommand } from './config/load.ts';
import { effectiveYaml } from './config/print.ts';
import type { Config } from './config/schema.ts';
import type { Address } from './config/values.ts';
import { Doors } from './doors.ts';
import { openStore, type Store, watchMemory } from './durability.ts';
import { defaultExemplars, Writer } from './ingest/write.ts';
import type { PortName } from './model/access.ts';
import { type Clock, systemClock } from './model/clock.ts';
import { CodedError } from './model/errors.ts';
import { LIMITS } from './model/limits.ts';
import { systemTimers } from './model/timers.ts';
import { QueryEngine } from './promql/engine.ts';
import { SWITCHES } from './promql/switches.ts';
import { KedifyReadings } from './scaling/kedify/kedify-readings.ts';
import { namesByRules } from './scaling/kedify/original-names.ts';
import { namesAsSent } from './scaling/kedify/sent-names.ts';
import { NO_POD_STATES } from './scaling/pods.ts';
import { Readings } from './scaling/reading.ts';
import { Recorder, type StateChange } from './scaling/recorder.ts';
import { Subscriptions } from './scaling/subscriptions.ts';
import { Scraping } from './scrape/scraping.ts';
import { createLogger } from './telemetry/log.ts';
import { registerProcessMetrics } from './telemetry/process.ts';
import { Registry } from './telemetry/registry.ts';
import type { Exemplars } from './tsdb/exemplars.ts';
import type { MemoryLayout } from './tsdb/image.ts';
import { KernelHead } from './tsdb/kernel-head.ts';
import { Metadata } from './tsdb/metadata.ts';
import { seriesIndex } from './tsdb/series-index.ts';
import { Steadiness } from './tsdb/steadiness.ts';
import { sendImage } from './tsdb/storage.ts';

/** Set by the bundler from package.json. */
declare const TIDEGAUGE_VERSION: string;

/** Something that listens; `address` is where it really does, as `host:port`. */
interface Listener {
  readonly address: string;
  close(): Promise<void>;
}

type SurfaceName = 'web' | 'otlpGrpc' | 'otlpHttp' | 'keda' | 'kubernetes';

/** The page lies beside the bundle. */
const WEB_FOLDER = fileURLToPath(new URL('./web/', import.meta.url));
const STARTED_MS = Date.now() - performance.now();
/** The least that a series costs, all in: how many there can be at most follows from it. */
const SERIES_BYTES = 320;
/** What queries, request bodies and the code itself draw on. */
const STORE_RESERVE_BYTES_MIN = 256 * 2 ** 20;
const STORE_RESERVE_SHARE = 0.2;
const STORE_BYTES_MIN = 128 * 2 ** 20;
/** One memory of WebAssembly holds no more. */
const STORE_BYTES_MAX = 4 * 2 ** 30;
const RETENTION_CHECK_MS = 10_000;
/** How long a stop may take before the process gives up waiting for its clients. */
const STOP_MS_MAX = 20_000;

await main();

async function main(): Promise<void> {
  const status = await runClientCommand(process.argv);
  if (status !== null) {
    process.exitCode = status;
    return;
  }
  const command = readCommand();
  if (command === null) return;
  switch (command.kind) {
    case 'help':
      process.stdout.write(helpText());
      return;
    case 'version':
      process.stdout.write(`tidegauge ${TIDEGAUGE_VERSION}\n`);
      return;
    case 'check':
      process.stdout.write('the configuration can be used\n');
      return;
    case 'serve':
      await serve(command.config);
  }
}

/** The command, or null after an error that was printed; then the process ends with status 1. */
function readCommand(): Command | null {
  const machine = { memoryBytes: totalmem(), constrainedMemoryBytes: process.constrainedMemory() };
  try {
    return parseCommand(process.argv.slice(2), process.env, readText, machine);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    process.stderr.write(`tidegauge: ${error.message}\n`);
    process.exitCode = 1;
    return null;
  }
}

async function serve(config: Config): Promise<void> {
  lowerBackgroundThreads();
  const logger = createLogger(config.log);
  process.on('uncaughtException', (error) => {
    logger.fatal({ err: error }, 'a fault of the daemon; it stops');
    process.exit(1);
  });
  const registry = new Registry();
  registerProcessMetrics({ registry, version: TIDEGAUGE_VERSION, startTimeMs: STARTED_MS });
  const doors = openDoorsOrEnd(config, logger, registry);
  if (doors === null) return;
  const kubernetes = await openKubernetesOrEnd(config, doors, logger, registry);
  if (kubernetes === null) return;
  const store = await openStoreOrEnd(config, logger, registry);
  if (store === null) return kubernetes.port?.close();
  const daemon = assemble(config, logger, registry, store, doors, kubernetes.port);
  try {
    await daemon.open();
  } catch (error) {
    logger.fatal({ err: error }, `cannot start: ${error instanceof Error ? error.message : String(error)}`);
    await daemon.close();
    process.exitCode = 1;
    return;
  }
  announce(config, logger, daemon.listening());
  process.on('SIGHUP', () => {
    daemon.reload();
    doors.refresh();
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void stop(daemon, logger, signal));
  }
}

/** Who may come in, or null after an error that was logged; then the process ends with status 1. */
function openDoorsOrEnd(config: Config, logger: Logger, registry: Registry): Doors | null {
  try {
    return new Doors({ config, logger, registry });
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    logger.fatal(`cannot start: ${error.message}`);
    process.exitCode = 1;
    return null;
  }
}

/**
 * The port of the Kubernetes APIs, which does not wait for the store; null after an error that was logged, and then the process
 * ends with status 1.
 */
async function openKubernetesOrEnd(
  config: Config,
  doors: Doors,
  logger: Logger,
  registry: Registry,
): Promise<{ readonly port: EarlyKubernetes | null } | null> {
  const { listenAddress: address } = config.kubernetes;
  if (address === null) return { port: null };
  try {
    const { externalMetrics, customMetrics } = config;
    const port = await openKubernetesEarly({
      listen: { host: bindHost(address.host), port: address.port },
      ...kubernetesAccess(config),
      connections: doors.connections.of('kubernetes'),
      ...{ externalMetrics, customMetrics, clock: systemClock, logger, registry },
    });
    logger.debug({ event: 'kubernetes', listen: port.address }, 'discovery is served, values follow');
    return { port };
  } catch (error) {
    logger.fatal({ err: error }, `cannot start: ${error instanceof Error ? error.message : String(error)}`);
    doors.close();
    process.exitCode = 1;
    return null;
  }
}

/** The store as it was, or null after an error that was logged; then the process ends with status 1. */
async function openStoreOrEnd(config: Config, logger: Logger, registry: Registry): Promise<Store | null> {
  const { storage } = config;
  const openHead = (like: MemoryLayout | null): KernelHead => newHead(config, like);
  try {
    return await openStore({ config, clock: systemClock, logger, registry, openHead });
  } catch (error) {
    logger.fatal(
      { err: error },
      `cannot open ${storage.path}: ${error instanceof Error ? error.message : String(error)}`,
    );
    process.exitCode = 1;
    return null;
  }
}

interface Opening {
  /** Null for a surface that is off. */
  readonly address: Address | null;
  open(address: Address): Promise<Listener>;
}

interface Daemon {
  open(): Promise<void>;
  /** Reads again what may change while it runs; what is polled anyway comes sooner by this. */
  reload(): void;
  close(): Promise<void>;
  listening(): Readonly<Partial<Record<SurfaceName, string>>>;
}

/** Builds every floor, from the bottom up, and says how to open and close them. */
function assemble(
  config: Config,
  logger: Logger,
  registry: Registry,
  store: Store,
  doors: Doors,
  kubernetes: EarlyKubernetes | null,
): Daemon {
  const clock = systemClock;
  const { head, storage } = store;
  registerHeadMetrics(registry, head);
  const subscriptions = new Subscriptions({ head, clock, timers: systemTimers, registry });
  const exemplars = defaultExemplars(config.storage.exemplarsLimit);
  const metadata = new Metadata();
  registerBesideMetrics(registry, exemplars, metadata);
  const pressure = watchMemory(head, config, { clock, logger, registry });
  boundBodiesByMemory((bytes) => pressure.admitBody(bytes));
  const onTrap = (err: Error): void => {
    logger.fatal({ err }, 'the kernel trapped; the daemon stops, and the log brings back what was acknowledged');
    process.exit(1);
  };
  const writer = new Writer({
    head,
    clock,
    registry,
    onStored: () => subscriptions.wake(),
    exemplars,
    metadata,
    otlp: { ...config.otlp.translation, lookbackMs: config.query.lookbackDeltaMs },
    hashKeys: crypto.getRandomValues(new Uint32Array(8)),
    deltas: store.deltas,
    journal: storage,
    admit: () => pressure.admit(),
    onTrap,
  });
  const scraping = new Scraping({
    config: config.scrape,
    configFile: config.configFile,
    writer,
    head,
    clock,
    timers: systemTimers,
    logger,
    registry,
    version: TIDEGAUGE_VERSION,
    server: () => apiServerOf(config),
    ownNamespace: inClusterNamespace(readText),
  });
  const engine = openEngine(config, head, registry, () => pressure.admitQuery());
  const recorder = new Recorder({ onChange: (change) => logStateChange(logger, change) });
  registerRecorderMetrics(registry, recorder);
  registerMemoryParts(registry, { head, exemplars, metadata, recorder, writer });
  const pods = watchPods(config, clock, logger);
  registry.computed('gauge', 'tidegauge_scaling_pods', 'Pods that are known to run.', () => pods?.count ?? 0);
  const readings = new Readings({
    engine,
    head,
    clock,
    registry,
    recorder,
    lookbackMs: config.query.lookbackDeltaMs,
    forgetAfterMs: config.scaling.forgetAfterMs,
    warmsUp: config.scaling.warmUp,
    podStates: pods ?? NO_POD_STATES,
    samplesMax: config.scaling.samplesMax,
    timeoutMs: config.scaling.timeoutMs,
  });
  const names = namesAsSent(
    writer.otlpOriginals,
    namesByRules((name) => head.hasMetric(name)),
  );
  const kedify = openKedify(config, { head, names, clock, registry, recorder });
  if (kedify !== null) registerRuntimeInfo(registry, { kedify, info: () => infoOf(config) });
  const steadiness = new Steadiness(clock);
  registry.computed('counter', 'tidegauge_clock_jumps_total', 'Jumps of the wall clock.', () => steadiness.jumps);
  const retention = setInterval(() => {
    if (steadiness.look()) enforceRetention(head);
  }, RETENTION_CHECK_MS);
  retention.unref();

  let state: 'starting' | 'ready' | 'stopping' = 'starting';
  // The peer is there and ready: until the windows are covered here, it is the one to be asked.
  const readyFromMs = store.taken?.kind === 'refused' ? clock.monotonicMs() + config.replica.waitMs : 0;
  const isReady = (): boolean => state === 'ready' && clock.monotonicMs() >= readyFromMs;
  const isStopping = (): boolean => state === 'stopping';
  let keda: KedaPort | null = null;
  const openings: Readonly<Record<SurfaceName, Opening>> = {
    web: {
      address: config.web.listenAddress,
      open: (address) =>
        doors.openHttp('web', address, async (app, guard) => {
          await registerOpenApi(app, TIDEGAUGE_VERSION);
          registerOps(app, { registry, isReady, isStopping });
          registerPush(app, { writer, logger, guard });
          registerReplica(app, {
            registry,
            hasImage: () => isReady() && head.stats().series > 0,
            sendImage: (write, isCancelled) =>
              sendImage(head, store.sections, clock, write, () => isCancelled() || head.isFull || isStopping()),
          });
          registerScale(app, { readings, recorder, head, kedify });
          registerUi(app, { recorder, registry, folder: WEB_FOLDER });
          if (kedify !== null) registerMemstore(app, { head, names, clock, kedify, info: () => infoOf(config) });
          registerPrometheus(app, {
            engine,
            head,
            exemplars,
            metadata,
            rejects: () => writer.rejects(),
            senders: writer.senders,
            clock,
            isReady,
            isStopping,
            guard,
            version: TIDEGAUGE_VERSION,
            flags: config.flags,
            retentionMs: config.storage.retentionMs,
            startTimeMs: STARTED_MS,
            queryTimeoutMs: config.query.timeoutMs,
            lookbackMs: config.query.lookbackDeltaMs,
            get configYaml() {
              return effectiveYaml({ ...config, scrape: scraping.config });
            },
            targets: scraping.targets,
            corsOrigins: corsOrigins(config.web.corsOrigin),
          });
        }),
    },
    otlpGrpc: {
      address: config.otlp.grpc.listenAddress,
      open: (listen) => openOtlpGrpc({ listen, writer, logger, ...doorOf(doors, 'otlp_grpc') }),
    },
    otlpHttp: {
      address: config.otlp.http.listenAddress,
      open: (address) =>
        doors.openHttp('otlp_http', address, async (app) => {
          registerOtlpHttp(app, { writer, logger });
          if (sharesPort(config, doors)) shareWithKeda(app.server, doors, () => keda);
        }),
    },
    keda: {
      address: config.keda.listenAddress,
      async open(listen) {
        const push = { subscriptions, engine, names };
        const { tenancy } = config.keda;
        keda = await openKeda({ listen, readings, kedify, tenancy, push, ...doorOf(doors, 'keda'), logger, registry });
        return keda;
      },
    },
    kubernetes: {
      address: config.kubernetes.listenAddress,
      async open() {
        kubernetes!.start({ readings, engine, index: seriesIndex(head), isReady });
        return kubernetes!;
      },
    },
  };
  const listeners = new Map<SurfaceName, Listener>();
  return {
    async open() {
      for (const [name, { address, open }] of Object.entries(openings) as [SurfaceName, Opening][]) {
        if (address !== null) listeners.set(name, await open({ host: bindHost(address.host), port: address.port }));
      }
      void pods?.start();
      state = 'ready';
      scraping.start();
      setImmediate(() => engine.prepare());
    },
    reload: () => scraping.reload(),
    async close() {
      state = 'stopping';
      clearInterval(retention);
      doors.close();
      pods?.stop();
      await scraping.close();
      if (kubernetes !== null) listeners.set('kubernetes', kubernetes);
      await Promise.all([...listeners.values()].map((listener) => listener.close()));
      await store.close();
    },
    listening: () => Object.fromEntries([...listeners].map(([name, { address }]) => [name, address])),
  };
}

/**
 * The store's memory is what the process may use, less a reserve for queries and bodies; without a limit of its own, the
 * number of series is what that memory can hold.
 */
function newHead(config: Config, layout: MemoryLayout | null): KernelHead {
  const limitBytes = config.storage.memoryLimitBytes;
  const reserveBytes = Math.max(STORE_RESERVE_BYTES_MIN, limitBytes * STORE_RESERVE_SHARE);
  const memoryBytes = Math.min(Math.max(limitBytes - reserveBytes, STORE_BYTES_MIN), STORE_BYTES_MAX);
  return new KernelHead({
    clock: systemClock,
    retentionMs: config.storage.retentionMs,
    outOfOrderMsMax: LIMITS.outOfOrderMsMax,
    futureMsMax: LIMITS.futureMsMax,
    seriesMax: config.storage.seriesLimit > 0 ? config.storage.seriesLimit : Math.floor(memoryBytes / SERIES_BYTES),
    memoryBytes,
    hashKeys: crypto.getRandomValues(new Uint32Array(8)),
    ...(layout === null ? {} : { layout }),
  });
}

function openEngine({ query, features }: Config, head: KernelHead, registry: Registry, admit: () => void): QueryEngine {
  const isOn = (name: keyof typeof SWITCHES): boolean =>
    SWITCHES[name].isOn || (features as readonly string[]).includes(SWITCHES[name].flag);
  return new QueryEngine({
    head,
    clock: systemClock,
    registry,
    lookbackMs: query.lookbackDeltaMs,
    limits: query,
    admit,
    delayedNameRemoval: isOn('delayedNameRemoval'),
    experimental: {
      experimentalFunctions: isOn('experimentalFunctions'),
      durationExpressions: isOn('durationExpressions'),
      extendedRangeSelectors: isOn('extendedRangeSelectors'),
      fillModifiers: isOn('fillModifiers'),
      typeAndUnitLabels: isOn('typeAndUnitLabels'),
      startTimestamps: isOn('startTimestamps'),
    },
  });
}

/** Slice by slice, so that a million dead series hold up nobody. */
function enforceRetention(head: KernelHead): void {
  if (head.retentionSlice()) setImmediate(enforceRetention, head);
}

/** Answers of the Kedify path, or null where it is turned off. */
function openKedify(
  { compat, scaling }: Config,
  around: Pick<ConstructorParameters<typeof KedifyReadings>[0], 'head' | 'names' | 'clock' | 'registry' | 'recorder'>,
): KedifyReadings | null {
  if (!compat.kedify.enabled) return null;
  const { forgetAfterMs, warmUp } = scaling;
  return new KedifyReadings({ ...around, settings: compat.kedify, forgetAfterMs, warmsUp: warmUp });
}

/** What `/info` says, as Kedify's scaler says it. */
function infoOf({ keda, otlp, web }: Config): Record<string, string> {
  const portOf = (address: Address | null): string => (address === null ? '' : String(address.port));
  return {
    version: TIDEGAUGE_VERSION,
    scalerPort: portOf(keda.listenAddress),
    otlpPort: portOf(otlp.grpc.listenAddress),
    internalMetricsPort: portOf(web.listenAddress),
    restApiPort: portOf(web.listenAddress),
  };
}

/** What is TLS already cannot be told apart by its first bytes. */
function sharesPort({ compat, keda }: Config, doors: Doors): boolean {
  if (!compat.kedify.enabled || !compat.kedify.sharedPort || keda.listenAddress === null) return false;
  return doors.readTls('otlp_http') === null;
}

/** KEDA on the port of OTLP over HTTP. Whoever must show a certificate on its own port must not get around it here. */
function shareWithKeda(server: HttpServer, doors: Doors, portOf: () => KedaPort | null): void {
  const wantsCertificate = (doors.readTls('keda')?.().clientCaPem ?? null) !== null;
  const refuse = (socket: Socket): void => {
    doors.connections.of('otlp_http').refuse('protocol', socket.remoteAddress);
    socket.destroy();
  };
  const takePlain = (socket: Socket): void => {
    const port = portOf();
    if (port === null || wantsCertificate) refuse(socket);
    else port.accept(socket);
  };
  const takeTls = (socket: Socket): void => (portOf()?.acceptTls ?? refuse)(socket);
  sharePort(server, takePlain, doors.readTls('keda') === null ? null : takeTls);
}

function doorOf(doors: Doors, port: PortName) {
  return { guard: doors.guard(port), readTls: doors.readTls(port), connections: doors.connections.of(port) };
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** The API server to ask, or null outside of a cluster. */
function apiServerOf({ kubernetes: { kubeconfig } }: Pick<Config, 'kubernetes'>): ClusterAccess | null {
  return kubeconfig === '' ? inClusterAccess(process.env, readText) : kubeconfigAccess(kubeconfig, readText);
}

/** Null if nobody wants to know. */
function watchPods(config: Config, clock: Clock, logger: Logger): WatchedPods | null {
  if (!config.scaling.watchPods) return null;
  const access = apiServerOf(config);
  if (access === null) {
    throw new CodedError(
      'bad_config',
      'cannot watch pods: want a cluster around the daemon, --kubernetes.kubeconfig, or --scaling.watch-pods=false',
    );
  }
  return new WatchedPods({ client: new ClusterClient(access), clock, logger });
}

/** How the Kubernetes surface knows its callers, and what it shows and asks of the cluster. */
function kubernetesAccess({ kubernetes }: Pick<Config, 'kubernetes'>) {
  const { auth, insecureAllowUnauthenticated, tlsCertFile, tlsPrivateKeyFile, adapterConfig } = kubernetes;
  const apiServer = apiServerOf({ kubernetes });
  const isOpen = auth === 'none' || insecureAllowUnauthenticated;
  const kind = isOpen ? 'none' : auth === 'auto' ? (apiServer === null ? 'none' : 'delegated') : auth;
  const pem = (path: string): string => (path === '' ? '' : readText(path));
  const identity: IdentityMode =
    kind === 'certificates'
      ? {
          kind,
          clientCaPem: pem(kubernetes.clientCaFile),
          requestHeaderCaPem: pem(kubernetes.requestHeaderClientCaFile),
        }
      : { kind };
  return {
    allowUnauthenticated: isOpen,
    identity,
    apiServer,
    certificate:
      tlsCertFile === '' ? null : () => ({ certPem: readText(tlsCertFile), keyPem: readText(tlsPrivateKeyFile) }),
    certDirectory: kubernetes.certDir,
    service: { name: kubernetes.serviceName, namespace: inClusterNamespace(readText) ?? 'default' },
    adapter: adapterConfig === '' ? null : { text: () => readText(adapterConfig), parse: parseAdapterFile },
    allowsNegative: kubernetes.allowNegative,
  };
}

function registerHeadMetrics(registry: Registry, head: KernelHead): void {
  const name = (what: string): string => `tidegauge_head_${what}`;
  registry.computed('gauge', name('series'), 'Series in the head.', () => head.stats().series);
  registry.computed('counter', name('series_created_total'), 'Series created.', () => head.stats().seriesCreated);
  registry.computed(
    'counter',
    name('series_removed_total'),
    'Series removed after retention.',
    () => head.stats().seriesRemoved,
  );
  registry.computed('gauge', name('samples'), 'Samples in the head.', () => head.stats().samples);
  registry.computed('counter', name('samples_appended_total'), 'Samples appended.', () => head.stats().samplesAppended);
  registry.computed(
    'gauge',
    name('bytes'),
    'Bytes of the store in use: labels, index and samples.',
    () => head.stats().bytes,
  );
}

/** What is kept beside the head. */
function registerBesideMetrics(registry: Registry, exemplars: Exemplars, metadata: Metadata): void {
  registry.computed('gauge', 'tidegauge_exemplars', 'Exemplars kept.', () => exemplars.count);
  registry.computed('gauge', 'tidegauge_exemplar_bytes', 'Bytes of the exemplars kept, about.', () => exemplars.bytes);
  registry.computed(
    'gauge',
    'tidegauge_metadata_families',
    'Metric families whose type and help are kept.',
    () => metadata.families,
  );
}

function registerRecorderMetrics(registry: Registry, recorder: Recorder): void {
  registry.computed('gauge', 'tidegauge_decisions', 'Decisions in the flight recorder.', () => recorder.count);
  registry.computed(
    'gauge',
    'tidegauge_decision_subjects',
    'Triggers and metrics that the flight recorder knows.',
    () => recorder.subjects,
  );
}

interface MemoryHolders {
  readonly head: KernelHead;
  readonly exemplars: Exemplars;
  readonly metadata: Metadata;
  readonly recorder: Recorder;
  readonly writer: Writer;
}

/** Where memory is; what is left of the resident size are buffers, code and what queries hold. */
function registerMemoryParts(registry: Registry, { head, exemplars, metadata, recorder, writer }: MemoryHolders): void {
  const help = "Bytes by what they are kept for; free_pages are the store's own and wait to be used again.";
  registry.collected('gauge', 'tidegauge_memory_bytes', help, ['part'], () => {
    const parts = {
      ...head.memoryParts(),
      otlp_identities: writer.otlpIdentityBytes,
      exemplars: exemplars.bytes,
      metadata: metadata.bytes,
      recorder: recorder.bytes,
    };
    return Object.entries(parts).map(([part, value]) => ({ labels: [part], value }));
  });
}

/** What an autoscaler is told changed in kind: the event that somebody looks for afterwards. */
function logStateChange(logger: Logger, { subject, from, to, reading }: StateChange): void {
  const { surface, namespace, name, query } = subject;
  const why = reading.kind === 'value' ? reading.note : reading.reason;
  logger.info(
    { event: 'scaling_state', surface, namespace, name, query, from, to, why },
    'a Reading changed its state',
  );
}

/** One line for programs (`event` and `listen`), and for people at a terminal what to try. */
function announce(config: Config, logger: Logger, listen: Readonly<Partial<Record<SurfaceName, string>>>): void {
  logger.info({ event: 'ready', listen, version: TIDEGAUGE_VERSION }, 'ready');
  if (config.log.format === 'json' || listen.web === undefined) return;
  const what: Readonly<Record<SurfaceName, string>> = {
    web: 'Page, PromQL, remote-write           http://',
    otlpGrpc: 'OTLP over gRPC                       ',
    otlpHttp: 'OTLP over HTTP                       http://',
    keda: 'KEDA external scaler                 ',
    kubernetes: 'external.metrics.k8s.io              https://',
  };
  for (const [name, address] of Object.entries(listen))
    process.stdout.write(`  ${what[name as SurfaceName]}${address}\n`);
  process.stdout.write(`try: curl 'http://${listen.web}/api/v1/query?query=time()'\n`);
}

async function stop(daemon: Daemon, logger: Logger, signal: string): Promise<void> {
  logger.info({ signal }, 'stopping');
  const giveUp = setTimeout(() => {
    logger.error(`clients are still connected after ${STOP_MS_MAX} ms; stopping anyway`);
    process.exit(1);
  }, STOP_MS_MAX);
  await daemon.close();
  clearTimeout(giveUp);
  logger.info('stopped');
}
