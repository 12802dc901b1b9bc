/**
 * The part of the composition root that makes the store survive restarts: recovers it, starts the log, takes images, and says
 * in metrics and in the log of the daemon how all that is.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config/schema.ts';
import { disk } from './disk.ts';
import { type FolderLock, FolderLocked, lockFolder } from './folder-lock.ts';
import { Garbage } from './garbage.ts';
import type { DeltaSums } from './ingest/otlp/delta.ts';
import { Replayer } from './ingest/replay.ts';
import type { Clock } from './model/clock.ts';
import { type TakenFromPeer, takeFromPeer } from './replica.ts';
import type { Registry } from './telemetry/registry.ts';
import type { ImageSection, MemoryLayout } from './tsdb/image.ts';
import type { KernelHead } from './tsdb/kernel-head.ts';
import type { LogEvent } from './tsdb/log.ts';
import { Pressure } from './tsdb/pressure.ts';
import { firstImagePath, isEmpty, type Recovered, recover, Storage } from './tsdb/storage.ts';

export interface StoreOptions {
  readonly config: Pick<Config, 'storage' | 'replica'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
  openHead(like: MemoryLayout | null): KernelHead;
}

export interface Store {
  readonly head: KernelHead;
  /** Null if everything is in memory only. */
  readonly storage: Storage | null;
  /** Sums of OTLP deltas that were recovered with it. */
  readonly deltas: DeltaSums;
  /** State beside the memory, which an image takes along. */
  readonly sections: readonly ImageSection[];
  /** What came of asking the peer; null if it was not asked. */
  readonly taken: TakenFromPeer | null;
  close(): Promise<void>;
}

const TICK_MS = 100;

/** Opens the store: empty, or as it was if it has a path, or as its peer's. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { config, logger, registry } = options;
  if (config.storage.path !== '') return openLasting(options);
  registerStorageMetrics(registry, null);
  if (config.replica.peer !== '') return openFromPeer(options);
  const replayer = new Replayer(options.clock);
  const head = options.openHead(null);
  const sections = replayer.sections(head);
  registerTaken(registry, logger, null);
  return { head, storage: null, deltas: replayer.deltasOf(head), sections, taken: null, close: async () => undefined };
}

/** In memory only, and yet not with nothing: the peer's image passes through a file that goes away again. */
async function openFromPeer(options: StoreOptions): Promise<Store> {
  const { registry, logger } = options;
  const folder = await mkdtemp(join(tmpdir(), 'tidegauge-'));
  try {
    const replayer = new Replayer(options.clock);
    const { recovered, taken } = await recoverIn(folder, replayer, options);
    registerTaken(registry, logger, taken);
    const { head, sections } = recovered;
    return { head, storage: null, deltas: replayer.deltasOf(head), sections, taken, close: async () => undefined };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function openLasting(options: StoreOptions): Promise<Store> {
  const { config, clock, logger, registry } = options;
  const { path: folder, logFailure: onFailure, logSyncMs: syncMs } = config.storage;
  const lock = await lockOrWarn(folder, logger);
  const replayer = new Replayer(clock);
  const { recovered, taken } = await recoverIn(folder, replayer, options);
  registerTaken(registry, logger, taken);
  announce(logger, recovered);
  const storage = new Storage({
    files: disk,
    folder,
    clock,
    recovered,
    onFailure,
    syncMs,
    retentionMs: config.storage.retentionMs,
    onLog: (event) => logChange(logger, event),
    onImageFailure: (err) => logger.error({ event: 'image', err }, 'cannot take an image'),
  });
  registerStorageMetrics(registry, storage);
  const ticking = setInterval(() => storage.tick(), TICK_MS);
  ticking.unref();
  const close = async (): Promise<void> => {
    clearInterval(ticking);
    await storage.close();
    await lock?.release().catch(() => undefined);
  };
  const { head, sections } = recovered;
  return { head, storage, deltas: replayer.deltasOf(head), sections, taken, close };
}

/** What the folder holds; if that is nothing, what the peer gives. */
async function recoverIn(
  folder: string,
  replayer: Replayer,
  { config, clock, logger, openHead }: StoreOptions,
): Promise<{ readonly recovered: Recovered; readonly taken: TakenFromPeer | null }> {
  const taken = config.replica.peer === '' ? null : await takeIfEmpty(folder, config.replica);
  const recovered = await recover({
    files: disk,
    folder,
    clock,
    openHead,
    replay: replayer.replay,
    sections: replayer.sections,
    log: (what, details) => logger.warn({ event: 'recovery', ...details }, what),
  });
  if (taken?.kind !== 'taken' || recovered.recovery.badImages === 0) return { recovered, taken };
  // One of another version would be left where it is, and pass for something of our own.
  await disk.remove(firstImagePath(folder));
  return { recovered, taken: { kind: 'refused', reason: 'the image of the peer cannot be used here' } };
}

/** Null if there is something that is our own. */
async function takeIfEmpty(folder: string, replica: Config['replica']): Promise<TakenFromPeer | null> {
  if (!(await isEmpty(disk, folder))) return null;
  const path = firstImagePath(folder);
  const part = `${path}.part`;
  const pem = (file: string): string => (file === '' ? '' : readFileSync(file, 'utf8'));
  try {
    const taken = await takeFromPeer(
      {
        url: replica.peer,
        token: pem(replica.tokenFile).trim(),
        caPem: pem(replica.caFile),
        certPem: pem(replica.certFile),
        keyPem: pem(replica.keyFile),
      },
      part,
    );
    if (taken.kind === 'taken') await disk.rename(part, path);
    return taken;
  } finally {
    await disk.remove(part).catch(() => undefined);
  }
}

function registerTaken(registry: Registry, logger: Logger, taken: TakenFromPeer | null): void {
  registry.collected(
    'gauge',
    'tidegauge_replica_start',
    "1 for what came of asking the peer for its memory at start: taken, empty, unreachable or refused; none if it wasn't asked.",
    ['outcome'],
    () => [{ labels: [taken?.kind ?? 'none'], value: 1 }],
  );
  if (taken === null) return;
  const what = { event: 'replica', outcome: taken.kind };
  if (taken.kind === 'taken') logger.info(what, "the memory is the peer's");
  else logger.warn({ ...what, reason: taken.reason }, "the peer's memory could not be taken");
}

/** A disk that takes no file is no reason not to start: samples are served, and the log says what it cannot do. */
async function lockOrWarn(folder: string, logger: Logger): Promise<FolderLock | null> {
  try {
    await disk.makeFolder(folder);
    return await lockFolder(folder);
  } catch (err) {
    if (err instanceof FolderLocked) throw err;
    logger.warn({ event: 'lock', err }, 'cannot lock the storage path: nothing keeps a second daemon from it');
    return null;
  }
}

function announce(logger: Logger, { recovery, head }: Recovered): void {
  const { series, samples } = head.stats();
  logger.info({ event: 'recovered', ...recovery, series, samples }, 'the store is as it was');
}

function logChange(logger: Logger, { state, error }: LogEvent): void {
  const what = { event: 'log', state };
  if (state === 'failing') logger.error({ ...what, err: error }, 'degraded: the log cannot be written');
  else if (state === 'uncovered')
    logger.warn(what, 'degraded: the log is written again; an image must hold what it missed');
  else logger.info(what, 'the log is well again: what is acknowledged survives');
}

function registerStorageMetrics(registry: Registry, storage: Storage | null): void {
  const add = (type: 'counter' | 'gauge', name: string, help: string, read: (storage: Storage) => number): void =>
    registry.computed(type, `tidegauge_${name}`, help, () => (storage === null ? 0 : read(storage)));
  add('gauge', 'storage_degraded', '1 while what is acknowledged may not survive a restart.', (s) =>
    Number(s.isDegraded),
  );
  add('counter', 'log_records_total', 'Records written to the log.', (s) => s.log.stats.records);
  add('counter', 'log_bytes_total', 'Bytes written to the log.', (s) => s.log.stats.bytes);
  add('counter', 'log_syncs_total', 'Times that the log was synced to the disk.', (s) => s.log.stats.syncs);
  add('counter', 'log_failures_total', 'Writes and syncs of the log that failed.', (s) => s.log.stats.failures);
  add('counter', 'log_unlogged_total', 'Bodies that were stored and are not in the log.', (s) => s.log.stats.unlogged);
  add('gauge', 'log_pending_bytes', 'Bytes of bodies that wait for the log.', (s) => s.log.stats.pendingBytes);
  add('gauge', 'log_segment', 'Number of the segment that is written.', (s) => s.log.segment);
  add('counter', 'images_total', 'Images of the memory taken.', (s) => s.images.taken);
  add('counter', 'image_failures_total', 'Images that could not be taken.', (s) => s.images.failures);
  add('gauge', 'image_bytes', 'Bytes of the newest image.', (s) => s.images.bytes);
  add('gauge', 'image_duration_seconds', 'How long the newest image took.', (s) => s.images.durationMs / 1000);
  add('gauge', 'image_timestamp_seconds', 'When the newest image was taken.', (s) => s.images.takenMs / 1000);
  add('gauge', 'recovery_duration_seconds', 'How long recovering took at start.', (s) => s.recovery.ms / 1000);
  add('gauge', 'recovery_records', 'Records of the log replayed at start.', (s) => s.recovery.records);
  add('gauge', 'recovery_damaged_records', 'Records that were damaged and left out.', (s) => s.recovery.damaged);
  add('gauge', 'recovery_set_aside_records', 'Records whose replay failed.', (s) => s.recovery.setAside);
  add(
    'gauge',
    'recovery_unread_records',
    'Records whose settings or protocol were not known.',
    (s) => s.recovery.unread,
  );
  add('gauge', 'recovery_bad_images', 'Images that could not be used at start.', (s) => s.recovery.badImages);
  add(
    'gauge',
    'recovery_foreign_files',
    'Images and segments of the log that another version wrote and that could not be read, or not all of it, at start.',
    (s) => s.recovery.foreignFiles,
  );
}

/** Watches how much memory the process needs, and what follows from it. */
export function watchMemory(
  head: KernelHead,
  { storage: config }: Config,
  { clock, logger, registry }: Pick<StoreOptions, 'clock' | 'logger' | 'registry'>,
): Pressure {
  const pressure = new Pressure({
    clock,
    store: head,
    limitBytes: Math.max(config.memoryLimitBytes, LIMIT_BYTES_MIN),
    retentionMs: config.retentionMs,
    // What is resident and free again in the store is there for whatever comes next.
    usedBytes: () => process.memoryUsage.rss() - head.reusableBytes,
    garbage: new Garbage(),
    onChange: (stage, usedBytes) => logger.warn({ event: 'memory', stage, usedBytes }, 'memory: another stage'),
  });
  const ticking = setInterval(() => pressure.tick(), PRESSURE_TICK_MS);
  ticking.unref();
  const add = (name: string, help: string, read: () => number): void =>
    registry.computed('gauge', `tidegauge_${name}`, help, read);
  add(
    'memory_stage',
    '0 all is taken, 1 no new series, 2 retention is shortened, 3 ingest is refused.',
    () => pressure.stage,
  );
  add('memory_used_bytes', 'Memory that the process needs, of what it may use.', () => pressure.usedBytes);
  add('memory_limit_bytes', 'Memory that the process may use.', () => config.memoryLimitBytes);
  add('retention_seconds', 'How long samples are kept now.', () => pressure.retentionMs / 1000);
  return pressure;
}

const PRESSURE_TICK_MS = 250;
/** With less than this the daemon itself would be the pressure. */
const LIMIT_BYTES_MIN = 192 * 2 ** 20;
