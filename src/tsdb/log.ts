/**
 * The log: what was received and what was decided of it, in segments on the disk. A body is applied, then noted here, then
 * acknowledged: what `append` returns is waited for before the sender is told.
 *
 *     append → queue → one write for all that wait → acknowledged        sync: each write, or every second for all
 *
 * One write is in flight at a time; what comes meanwhile goes with the next. When the disk fails, `accept` serves on and
 * `refuse` answers 503; either says `degraded`, tries again by itself in a fresh segment, and with `accept` stays degraded
 * until an image holds what the log missed.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import type { Files, OpenFile } from './files.ts';
import {
  encodeRecord,
  encodeSegmentHeader,
  type LogRecord,
  RECORD_PROFILE,
  recordBytesMax,
  SEGMENT_HEADER_BYTES,
  smallCrc32c,
} from './log-format.ts';
import { type LogKernel, SLOT_BYTES } from './log-kernel.ts';

export type LogFailure = 'accept' | 'refuse';

export interface LogOptions {
  readonly files: Files;
  readonly folder: string;
  readonly clock: Clock;
  readonly kernel: LogKernel;
  /** What to do with what cannot be logged. */
  readonly onFailure: LogFailure;
  /** How long written records may wait to be synced; 0: each is synced before it is acknowledged. */
  readonly syncMs: number;
  /** Number of the first segment to be written; no file may have it. */
  readonly firstSegment: number;
  readonly segmentBytes?: number;
  /** Told when the log fails, and when it is well again. */
  readonly onChange?: (event: LogEvent) => void;
}

export interface LogEvent {
  readonly state: LogState;
  readonly error: unknown;
}

/** `uncovered`: written again, but what came meanwhile is in no file until the next image. */
export type LogState = 'well' | 'failing' | 'uncovered';

export interface LogStats {
  records: number;
  bytes: number;
  /** Records that were applied and are not in the log. */
  unlogged: number;
  failures: number;
  syncs: number;
  pendingBytes: number;
}

/** Records that are written together, as bytes: in a slot of the kernel's memory, or by themselves. */
interface Batch {
  readonly segment: number;
  readonly slot: number | null;
  readonly room: Buffer;
  bytes: number;
  records: number;
  readonly settled: Promise<void>;
  settle(error: unknown): void;
}

/** What one write takes at most, unless a single batch is longer. */
const WRITE_BYTES_MAX = 4 * 2 ** 20;

export class Log {
  readonly stats: LogStats = { records: 0, bytes: 0, unlogged: 0, failures: 0, syncs: 0, pendingBytes: 0 };
  readonly #options: LogOptions;
  readonly #kernel: LogKernel;
  readonly #freeSlots: number[];
  /** Not being written yet; the last one may still take records. */
  readonly #queue: Batch[] = [];
  #isLastOpen = false;
  /** What is being written. */
  #writing: readonly Batch[] = [];
  readonly #profiles = new Map<number, string>();
  /** Segment that is being appended to, and bytes that are or will be in it. */
  #segment: number;
  #segmentBytes = SEGMENT_HEADER_BYTES;
  #file: OpenFile | null = null;
  #fileSegment = 0;
  /** Profiles that the segment holds: each can be read without the others. */
  readonly #segmentProfiles = new Set<number>();
  #running: Promise<void> | null = null;
  #syncing: Promise<void> | null = null;
  #isDirty = false;
  #lastSyncMs = 0;
  #writeStartedMs: number | null = null;
  #state: LogState = 'well';
  #retryMs = 0;
  /** An image that begins with this segment or a later one covers what is in no file. */
  #coveredFrom = 0;
  #isClosed = false;

  constructor(options: LogOptions) {
    this.#options = options;
    this.#kernel = options.kernel;
    // Used last, used next: while the disk keeps up, all that is written passes through memory that is near.
    this.#freeSlots = Array.from({ length: options.kernel.slots }, (_, i) => options.kernel.slots - 1 - i);
    this.#segment = options.firstSegment;
  }

  /** False while what is acknowledged may not survive. */
  get isDegraded(): boolean {
    return this.#state !== 'well' || this.#isStalled();
  }

  get state(): LogState {
    return this.#state;
  }

  /** Number of the segment that the next record goes to. */
  get segment(): number {
    return this.#segment;
  }

  /** The number that records of these settings carry; the text is written to every segment that has such records. */
  profileOf(text: string): number {
    const profile = smallCrc32c(Buffer.from(text));
    this.#profiles.set(profile, text);
    return profile;
  }

  /** Throws `overloaded` if nothing may be taken now: to be asked before a body is applied. */
  admit(bytes: number): void {
    if (this.#options.onFailure === 'refuse' && (this.#state === 'failing' || this.#isStalled())) {
      throw new CodedError('overloaded', 'cannot take body: the log cannot be written, send it again later');
    }
    const pending = this.stats.pendingBytes + bytes;
    if (pending > LIMITS.logPendingBytesMax && this.#state !== 'failing' && !this.#isStalled()) {
      throw new CodedError(
        'overloaded',
        `cannot take body: ${pending} bytes wait for the log, want at most ${LIMITS.logPendingBytesMax}; send it again later`,
      );
    }
  }

  /**
   * Notes a body that was applied; it is copied. What is returned must be waited for before it is acknowledged; null if
   * there is nothing to wait for.
   */
  append(record: LogRecord, isCompressed: boolean): Promise<void> | null {
    if (this.#isClosed || this.#state === 'failing' || this.#isStalled()) {
      this.stats.unlogged++;
      return null;
    }
    const bytesMax = recordBytesMax(record, isCompressed);
    if (this.#segmentBytes + bytesMax > (this.#options.segmentBytes ?? LIMITS.logSegmentBytes)) this.rotate();
    const profile = this.#segmentProfiles.has(record.profile) ? undefined : this.#profiles.get(record.profile);
    if (profile !== undefined) this.#putProfile(record.profile, profile);
    const batch = this.#put(record, isCompressed, bytesMax);
    batch.records++;
    this.#run();
    return batch.settled;
  }

  /** Begins a new segment: everything noted from now on is in it or in later ones. Its number. */
  rotate(): number {
    this.#segmentBytes = SEGMENT_HEADER_BYTES;
    this.#segmentProfiles.clear();
    this.#isLastOpen = false;
    return ++this.#segment;
  }

  /** To be called several times a second: syncs what is due, and tries a failing disk again. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#isDirty && this.#options.syncMs > 0 && nowMs - this.#lastSyncMs >= this.#options.syncMs)
      void this.#sync();
    if (this.#isStalled()) this.#letGo();
    if (this.#state === 'failing' && nowMs >= this.#retryMs && this.#running === null) {
      this.#running = this.#heal().finally(() => this.#ended());
    }
  }

  /** An image that begins at `segment` is on the disk. */
  covered(segment: number): void {
    if (this.#state === 'uncovered' && segment >= this.#coveredFrom) this.#become('well', null);
  }

  /** Writes and syncs all that was noted; afterwards nothing is. */
  async close(): Promise<void> {
    this.#isClosed = true;
    while (this.#running !== null) await this.#running;
    if (this.#isDirty) await this.#sync();
    await this.#closeFile();
  }

  // ---- putting records together

  #putProfile(profile: number, text: string): void {
    this.#segmentProfiles.add(profile);
    const about = { kind: RECORD_PROFILE, protocol: 0, profile, arrivalMs: 0, stamp: '', verdict: NOTHING };
    const record: LogRecord = { ...about, body: Buffer.from(text) };
    this.#put(record, true, recordBytesMax(record, true));
  }

  #put(record: LogRecord, isCompressed: boolean, bytesMax: number): Batch {
    const batch = this.#batchFor(bytesMax);
    const bytes = encodeRecord(record, isCompressed, this.#segment, this.#kernel, batch.room, batch.bytes);
    batch.bytes += bytes;
    this.#segmentBytes += bytes;
    this.stats.pendingBytes += bytes;
    return batch;
  }

  #batchFor(bytes: number): Batch {
    const last = this.#queue.at(-1);
    if (this.#isLastOpen && last !== undefined && last.bytes + bytes <= last.room.length) return last;
    const batch = this.#openBatch(bytes);
    this.#queue.push(batch);
    this.#isLastOpen = true;
    return batch;
  }

  #openBatch(bytes: number): Batch {
    const slot = bytes <= SLOT_BYTES ? (this.#freeSlots.pop() ?? null) : null;
    const address = slot === null ? 0 : this.#kernel.addressOf(slot);
    const room =
      slot === null ? Buffer.allocUnsafeSlow(bytes) : this.#kernel.memory.subarray(address, address + SLOT_BYTES);
    let settle: (error: unknown) => void = () => undefined;
    const settled = new Promise<void>((resolve, reject) => {
      settle = (error) => {
        settle = () => undefined;
        this.stats.pendingBytes -= batch.bytes;
        if (error === null) resolve();
        else this.#settleUnlogged(batch, resolve, reject, error);
      };
    });
    // Whoever does not wait is not told.
    settled.catch(() => undefined);
    const batch = {
      segment: this.#segment,
      slot,
      room,
      bytes: 0,
      records: 0,
      settled,
      settle: (e: unknown) => settle(e),
    };
    return batch;
  }

  /** The disk has no more to do with it. */
  #release({ slot }: Batch): void {
    if (slot !== null) this.#freeSlots.push(slot);
  }

  // ---- writing

  #run(): void {
    this.#running ??= this.#drain().finally(() => this.#ended());
  }

  #ended(): void {
    this.#running = null;
    this.#writeStartedMs = null;
    if (this.#queue.length > 0) this.#run();
  }

  async #drain(): Promise<void> {
    // Whatever else is to be done in this turn comes first: requests that are read together are written together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batches = this.#take();
      this.#writing = batches;
      try {
        this.#writeStartedMs = this.#options.clock.monotonicMs();
        await this.#write(batches);
        // What came while nobody waited for the disk is in no file.
        if (this.#isStalled()) this.#uncover();
        this.#writeStartedMs = null;
        for (const { settle } of batches) settle(null);
      } catch (error) {
        this.#fail(error);
        for (const { settle } of batches) settle(error);
        return;
      } finally {
        for (const batch of batches) this.#release(batch);
      }
    }
  }

  /** What goes with the next write: all of one segment. */
  #take(): Batch[] {
    const { segment } = this.#queue[0]!;
    let bytes = 0;
    let n = 0;
    while (n < this.#queue.length && this.#queue[n]!.segment === segment && (n === 0 || bytes < WRITE_BYTES_MAX)) {
      bytes += this.#queue[n]!.bytes;
      n++;
    }
    if (n === this.#queue.length) this.#isLastOpen = false;
    return this.#queue.splice(0, n);
  }

  async #write(batches: readonly Batch[]): Promise<void> {
    const { segment } = batches[0]!;
    if (this.#file === null || this.#fileSegment !== segment) await this.#openSegment(segment);
    await this.#file!.write(batches.map(({ room, bytes }) => room.subarray(0, bytes)));
    this.#isDirty = true;
    if (this.#options.syncMs === 0) await this.#syncFile();
    for (const { records, bytes } of batches) {
      this.stats.records += records;
      this.stats.bytes += bytes;
    }
  }

  async #openSegment(segment: number): Promise<void> {
    if (this.#file !== null) {
      if (this.#isDirty) await this.#syncFile();
      await this.#closeFile();
    }
    const file = await this.#options.files.create(`${this.#options.folder}/${segmentName(segment)}`);
    this.#file = file;
    this.#fileSegment = segment;
    await file.write([encodeSegmentHeader(segment, this.#options.clock.nowMs())]);
    // A segment whose name is lost with a power loss is lost with all that was synced into it.
    await this.#options.files.syncFolder(this.#options.folder);
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    if (file !== null) await file.close().catch(() => undefined);
  }

  // ---- syncing

  #sync(): Promise<void> {
    this.#syncing ??= this.#syncFile()
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#syncing = null;
      });
    return this.#syncing;
  }

  async #syncFile(): Promise<void> {
    if (this.#file === null) return;
    // What is written while this runs may miss it.
    this.#isDirty = false;
    this.#lastSyncMs = this.#options.clock.monotonicMs();
    await this.#file.sync();
    this.stats.syncs++;
  }

  // ---- when the disk fails

  /** True if a write is taking so long that nobody should wait for it. */
  #isStalled(): boolean {
    const startedMs = this.#writeStartedMs;
    return startedMs !== null && this.#options.clock.monotonicMs() - startedMs > LIMITS.logStallMsMax;
  }

  /** Lets go those that wait for a write that does not end. What waited is not written. */
  #letGo(): void {
    const error = new Error('the disk does not answer');
    // What is being written may still be: its memory is not used again before that ends.
    for (const { settle } of this.#writing) settle(error);
    this.#dropQueue(error);
    this.#become('uncovered', null);
    this.#coveredFrom = Infinity;
  }

  #dropQueue(error: unknown): void {
    this.#isLastOpen = false;
    for (const batch of this.#queue.splice(0)) {
      batch.settle(error);
      this.#release(batch);
    }
  }

  #settleUnlogged({ records }: Batch, resolve: () => void, reject: (error: unknown) => void, cause: unknown): void {
    this.stats.unlogged += records;
    if (this.#options.onFailure === 'accept') resolve();
    else reject(new CodedError('overloaded', 'cannot log body: send it again later', { cause }));
  }

  #fail(error: unknown): void {
    this.stats.failures++;
    this.#isDirty = false;
    this.#retryMs = this.#options.clock.monotonicMs() + LIMITS.logRetryMs;
    this.#dropQueue(error);
    if (this.#state !== 'failing') this.#become('failing', error);
  }

  /** A fresh segment: behind a write that failed, nobody knows what stands in the old one. */
  async #heal(): Promise<void> {
    await this.#closeFile();
    const segment = this.rotate();
    try {
      await this.#openSegment(segment);
      await this.#file!.sync();
      this.#uncover();
    } catch (error) {
      await this.#closeFile();
      // A disk that is full for hours must not be left with a file for every try.
      await this.#options.files.remove(`${this.#options.folder}/${segmentName(segment)}`).catch(() => undefined);
      this.#fail(error);
    }
  }

  /**
   * The log is written again. What a failed sync may have lost, and what was accepted meanwhile, is in the memory alone, so
   * an image has to follow.
   */
  #uncover(): void {
    this.#coveredFrom = this.rotate();
    this.#become('uncovered', null);
  }

  #become(state: LogState, error: unknown): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onChange?.({ state, error });
  }
}

const NOTHING = new Uint8Array(0);
const SEGMENT_NAME = /^(\d{10})\.log$/;

export function segmentName(segment: number): string {
  return `${String(segment).padStart(10, '0')}.log`;
}

/** Numbers of the segments among some names, ascending. */
export function segmentsOf(names: readonly string[]): number[] {
  return names
    .flatMap((name) => SEGMENT_NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}
