/**
 * The part of the composition root that makes the store survive restarts: recovers it, starts the log, takes images, and says
 * in metrics and in the log of the daemon how all that is.
 */
import type { Logger } from 'pino';
import type { Config } from './config/schema.ts';
import { disk } from './disk.ts';
import type { DeltaSums } from './ingest/otlp/delta.ts';
import { Replayer } from './ingest/replay.ts';
import type { Clock } from './model/clock.ts';
import type { Registry } from './telemetry/registry.ts';
import type { MemoryLayout } from './tsdb/image.ts';
import type { KernelHead } from './tsdb/kernel-head.ts';
import type { LogEvent } from './tsdb/log.ts';
import { Pressure } from './tsdb/pressure.ts';
import { type Recovered, recover, Storage } from './tsdb/storage.ts';

export interface StoreOptions {
  readonly config: Config['storage'];
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
  close(): Promise<void>;
}

const TICK_MS = 100;

/** Opens the store: empty, or as it was if it has a path. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { config, clock, logger, registry, openHead } = options;
  const replayer = new Replayer(clock);
  if (config.path === '') {
    registerStorageMetrics(registry, null);
    const head = openHead(null);
    return { head, storage: null, deltas: replayer.deltasOf(head), close: async () => undefined };
  }
  const recovered = await recover({
    files: disk,
    folder: config.path,
    clock,
    openHead,
    replay: replayer.replay,
    sections: replayer.sections,
    log: (what, details) => logger.warn({ event: 'recovery', ...details }, what),
  });
  announce(logger, recovered);
  const storage = new Storage({
    files: disk,
    folder: config.path,
    clock,
    recovered,
    onFailure: config.logFailure,
    syncMs: config.logSyncMs,
    onLog: (event) => logChange(logger, event),
    onImageFailure: (err) => logger.error({ event: 'image', err }, 'cannot take an image'),
  });
  registerStorageMetrics(registry, storage);
  const ticking = setInterval(() => storage.tick(), TICK_MS);
  ticking.unref();
  const close = async (): Promise<void> => {
    clearInterval(ticking);
    await storage.close();
  };
  return { head: recovered.head, storage, deltas: replayer.deltasOf(recovered.head), close };
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
