/**
 * What survives a restart: the log and images of the memory, in one folder.
 *
 *     log/0000000042.log       segments (log.ts)
 *     image/0000000040.image   the memory as it was when segment 40 began; two generations
 *     aside/                   records whose replay failed, and images that could not be read
 *
 * `recover` opens a store: the newest image that is whole, then the log after it. `Storage` goes on from there: it notes
 * bodies, takes images, and removes what no image needs any more. The log from the older image on is kept, so that a
 * damaged image costs time and nothing else.
 */
import type { Clock } from '../model/clock.ts';
import { LIMITS } from '../model/limits.ts';
import type { Files, ReadableFile } from './files.ts';
import { Foreign, type ForeignFiles } from './foreign.ts';
import {
  ImageFault,
  type ImageSection,
  isForeignImage,
  isImageRunning,
  type MemoryLayout,
  readImage,
  writeImage,
} from './image.ts';
import type { KernelHead } from './kernel-head.ts';
import { Log, type LogEvent, type LogFailure, segmentName, segmentsOf } from './log.ts';
import {
  isUnknownSegment,
  type LogRecord,
  RECORD_BODY,
  RECORD_PROFILE,
  type ScanCounts,
  type ScannedRecord,
  SEGMENT_HEADER_BYTES,
  SegmentScan,
} from './log-format.ts';
import { LogKernel, SLOT_BYTES } from './log-kernel.ts';

/** A body of the log, for whoever knows the protocols. */
export interface ReplayedBody {
  readonly protocol: number;
  /** Text of the settings that it was read with; null if it is lost. */
  readonly profile: string | null;
  readonly body: Uint8Array;
  readonly arrivalMs: number;
  /** The namespace that the identity of its sender put on its series; '' for none. */
  readonly stamp: string;
}

export interface RecoverOptions {
  readonly files: Files;
  readonly folder: string;
  readonly clock: Clock;
  /** Makes a store over a fresh memory, laid out like that of an image if there is one; again after a replay that failed. */
  openHead(like: MemoryLayout | null): KernelHead;
  /** Puts a body into the store, as it was put when it came. */
  replay(head: KernelHead, body: ReplayedBody): 'stored' | 'partial' | 'unread';
  /** State beside the memory, of the head that is being recovered. */
  sections?(head: KernelHead): readonly ImageSection[];
  readonly log: (what: string, details: Readonly<Record<string, unknown>>) => void;
}

export interface Recovery {
  /** Milliseconds that recovering took. */
  ms: number;
  imageMs: number;
  records: number;
  /** Records that were damaged, and bytes that belonged to none. */
  damaged: number;
  bytesPassedOver: number;
  setAside: number;
  /** Records of which something was not taken again, and records that could not be read as what they were. */
  partial: number;
  unread: number;
  /** Images that could not be used. */
  badImages: number;
  segments: number;
  /** Images and segments that another version wrote and that cannot be read here, or not all of it. */
  foreignFiles: number;
}

export interface Recovered {
  readonly head: KernelHead;
  readonly recovery: Recovery;
  readonly nextSegment: number;
  readonly foreign: ForeignFiles;
  readonly sections: readonly ImageSection[];
  /** For the log that goes on. */
  readonly logKernel: LogKernel;
}

const IMAGE_NAME = /^(\d{10})\.image$/;
const GENERATIONS = 2;
/** As much as may wait for the log. */
const LOG_SLOTS = LIMITS.logPendingBytesMax / SLOT_BYTES;

function imageName(segment: number): string {
  return `${String(segment).padStart(10, '0')}.image`;
}

function imagesOf(names: readonly string[]): number[] {
  return names
    .flatMap((name) => IMAGE_NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/**
 * Writes an image of a store to somebody who begins with nothing. `write` is done with what it is given when it returns.
 * Throws what it throws, and `overloaded` while another image is being taken.
 */
export async function sendImage(
  { kernel }: KernelHead,
  sections: readonly ImageSection[],
  clock: Clock,
  write: (parts: readonly Uint8Array[]) => Promise<void>,
  isCancelled: () => boolean,
): Promise<void> {
  const nothing = async (): Promise<void> => undefined;
  const files = {
    remove: nothing,
    rename: nothing,
    syncFolder: nothing,
    create: async () => ({ write, sync: nothing, close: nothing }),
  };
  const takenMs = clock.nowMs();
  await writeImage({ kernel, files, folder: '', path: '', segment: 0, takenMs, sections, isCancelled });
}

/** Where the image of another daemon is put, for `recover` to find it: before whatever will be logged here. */
export function firstImagePath(folder: string): string {
  return `${folder}/image/${imageName(0)}`;
}

/** True if a folder holds nothing that could be recovered. */
export async function isEmpty(files: Files, folder: string): Promise<boolean> {
  for (const name of ['log', 'image']) await files.makeFolder(`${folder}/${name}`);
  const images = imagesOf(await files.list(`${folder}/image`));
  return images.length === 0 && segmentsOf(await files.list(`${folder}/log`)).length === 0;
}

/** Brings a store back to what was acknowledged. It always comes back: what cannot be read is set aside and counted. */
export async function recover(options: RecoverOptions): Promise<Recovered> {
  const { files, folder, clock } = options;
  for (const name of ['log', 'image', 'aside']) await files.makeFolder(`${folder}/${name}`);
  const startedMs = clock.monotonicMs();
  /** Records that are not tried again, as segment:offset. */
  const bad = new Set<string>();
  let damagedImages = 0;
  const logKernel = new LogKernel(LOG_SLOTS);
  for (;;) {
    const run = new Replay(options, logKernel, bad);
    const outcome = await run.run();
    // Those are in no one's way any more; what another version wrote is met by each try again.
    damagedImages += run.damagedImages;
    if (outcome === null) continue;
    run.recovery.ms = clock.monotonicMs() - startedMs;
    run.recovery.badImages += damagedImages - run.damagedImages;
    run.recovery.setAside = bad.size;
    return outcome;
  }
}

/** One try at recovering, over a memory of its own. */
class Replay {
  readonly recovery: Recovery = {
    ms: 0,
    imageMs: 0,
    records: 0,
    damaged: 0,
    bytesPassedOver: 0,
    setAside: 0,
    partial: 0,
    unread: 0,
    badImages: 0,
    segments: 0,
    foreignFiles: 0,
  };
  damagedImages = 0;
  readonly #options: RecoverOptions;
  readonly #bad: Set<string>;
  readonly #profiles = new Map<number, string>();
  readonly #logKernel: LogKernel;
  readonly #foreignImages = new Set<number>();
  readonly #foreignSegments = new Set<number>();
  #piece: Buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);

  constructor(options: RecoverOptions, logKernel: LogKernel, bad: Set<string>) {
    this.#options = options;
    this.#logKernel = logKernel;
    this.#bad = bad;
  }

  /** Null if another try is needed: a record was set aside. */
  async run(): Promise<Recovered | null> {
    const { files, folder, clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const { head, own, from } = await this.#readNewestImage();
    this.recovery.imageMs = clock.monotonicMs() - startedMs;
    head.setReplaying(true);
    const segments = segmentsOf(await files.list(`${folder}/log`));
    for (const segment of segments.filter((one) => one >= from)) {
      if (!(await this.#replaySegment(head, segment))) return null;
      this.recovery.segments++;
    }
    head.setReplaying(false);
    const images = imagesOf(await files.list(`${folder}/image`));
    await this.#lookAtRest(
      images,
      segments.filter((one) => one < from),
    );
    const foreign = { images: this.#foreignImages, segments: this.#foreignSegments };
    this.recovery.foreignFiles = foreign.images.size + foreign.segments.size;
    return {
      head,
      recovery: this.recovery,
      // Whatever is written from now on comes after all that is there, whoever wrote it.
      nextSegment: Math.max(from, segments.at(-1) ?? 0, images.at(-1) ?? 0) + 1,
      foreign,
      sections: own,
      logKernel: this.#logKernel,
    };
  }

  /** The store from the newest image that can be read, or an empty one; and where in the log to go on. */
  async #readNewestImage(): Promise<{ head: KernelHead; own: readonly ImageSection[]; from: number }> {
    const { files, folder, openHead, sections: sectionsOf = () => [] } = this.#options;
    const images = imagesOf(await files.list(`${folder}/image`));
    for (const segment of images.reverse()) {
      const path = `${folder}/image/${imageName(segment)}`;
      try {
        const file = await files.open(path);
        try {
          const { head, sections } = await readImage(file, openHead, sectionsOf);
          return { head, own: sections, from: segment };
        } finally {
          await file.close();
        }
      } catch (error) {
        await this.#setImageAside(segment, path, error);
      }
    }
    const head = openHead(null);
    return { head, own: sectionsOf(head), from: 0 };
  }

  async #setImageAside(segment: number, path: string, error: unknown): Promise<void> {
    const { files, folder, log } = this.#options;
    this.recovery.badImages++;
    const reason = error instanceof Error ? error.message : String(error);
    // One of another layout is left where it is: the version that wrote it may come back.
    if (error instanceof ImageFault && error.isForeign) {
      this.#foreignImages.add(segment);
      return log('an image of another version cannot be used; it is left where it is', { path, reason });
    }
    this.damagedImages++;
    log('an image cannot be used', { path, reason });
    await files.rename(path, `${folder}/aside/${imageName(segment)}`).catch(() => undefined);
  }

  /** Notes what another version wrote among the files that this start does not need. */
  async #lookAtRest(images: readonly number[], segments: readonly number[]): Promise<void> {
    const { files, folder } = this.#options;
    const look = async (path: string, isForeign: (file: ReadableFile) => Promise<boolean>): Promise<boolean> => {
      let file: ReadableFile | null = null;
      try {
        file = await files.open(path);
        return await isForeign(file);
      } catch {
        return false;
      } finally {
        await file?.close().catch(() => undefined);
      }
    };
    for (const image of images) {
      if (await look(`${folder}/image/${imageName(image)}`, isForeignImage)) this.#foreignImages.add(image);
    }
    for (const segment of segments) {
      if (await look(`${folder}/log/${segmentName(segment)}`, hasUnknownHeader)) this.#foreignSegments.add(segment);
    }
  }

  async #replaySegment(head: KernelHead, segment: number): Promise<boolean> {
    const { files, folder, log } = this.#options;
    const counts: ScanCounts = { records: 0, damaged: 0, bytesPassedOver: 0, isUnknown: false };
    const scan = new SegmentScan(segment, this.#logKernel, counts);
    const unreadBefore = this.recovery.unread;
    let file: ReadableFile | null = null;
    try {
      file = await files.open(`${folder}/log/${segmentName(segment)}`);
      for (;;) {
        const piece = await this.#readPiece(file, scan);
        const failed = this.#replayPiece(head, scan.records(piece, file.bytes), segment);
        if (failed !== null) {
          await this.#setAside(segment, failed.record, failed.error);
          // Whatever the record did to the memory before it failed is in there: begin again without it.
          return false;
        }
        if (counts.isUnknown || scan.position >= file.bytes || piece.length < this.#piece.length) break;
      }
    } catch (error) {
      if (error instanceof TooManyFailed) throw error;
      log('a segment of the log cannot be read', { segment, reason: String(error) });
      counts.damaged++;
    } finally {
      await file?.close().catch(() => undefined);
    }
    if (counts.isUnknown) {
      this.#foreignSegments.add(segment);
      log('a segment of the log is of another format; it is passed over and left where it is', { segment });
    }
    const unread = this.recovery.unread - unreadBefore;
    if (unread > 0) {
      this.#foreignSegments.add(segment);
      log('records of the log cannot be read as what they are; they are passed over', { segment, records: unread });
    }
    this.recovery.records += counts.records;
    this.recovery.damaged += counts.damaged;
    this.recovery.bytesPassedOver += counts.bytesPassedOver;
    return true;
  }

  /** What comes next of a segment: some megabytes at a time, so that a start needs no more memory than the store does. */
  async #readPiece(file: ReadableFile, scan: SegmentScan): Promise<Buffer> {
    if (this.#piece.length < scan.needs) this.#piece = Buffer.allocUnsafeSlow(scan.needs);
    const read = await file.read(this.#piece, scan.position);
    return this.#piece.subarray(0, read);
  }

  /** The record whose replay failed, or null. */
  #replayPiece(
    head: KernelHead,
    records: Iterable<ScannedRecord>,
    segment: number,
  ): { readonly record: ScannedRecord; readonly error: unknown } | null {
    for (const record of records) {
      if (record.kind === RECORD_PROFILE) this.#profiles.set(record.profile, Buffer.from(record.body).toString());
      else if (record.kind !== RECORD_BODY) this.recovery.unread++;
      if (record.kind !== RECORD_BODY || this.#bad.has(`${segment}:${record.at}`)) continue;
      try {
        this.#replayRecord(head, record);
      } catch (error) {
        return { record, error };
      }
    }
    return null;
  }

  #replayRecord(head: KernelHead, record: LogRecord): void {
    head.giveVerdict(record.verdict);
    const profile = this.#profiles.get(record.profile) ?? null;
    const { protocol, body, arrivalMs, stamp } = record;
    const replayed = this.#options.replay(head, { protocol, profile, body, arrivalMs, stamp });
    if (replayed !== 'stored') this.recovery[replayed]++;
  }

  async #setAside(segment: number, { at, bytes }: ScannedRecord, error: unknown): Promise<void> {
    const { files, folder, log } = this.#options;
    if (this.#bad.size >= LIMITS.setAsideMax) {
      throw new TooManyFailed(`cannot replay the log: more than ${LIMITS.setAsideMax} records fail`, { cause: error });
    }
    this.#bad.add(`${segment}:${at}`);
    const path = `${folder}/aside/${segmentName(segment)}-${at}`;
    log('a record of the log cannot be replayed; it is set aside', { path, reason: String(error) });
    try {
      await files.remove(path);
      const file = await files.create(path);
      await file.write([bytes]);
      await file.close();
    } catch {
      // It is still in its segment for as long as that is kept.
    }
  }
}

async function hasUnknownHeader(file: ReadableFile): Promise<boolean> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  return (await file.read(header, 0)) === header.length && isUnknownSegment(header);
}

class TooManyFailed extends Error {}

/** What is read of a segment at a time, unless a record is longer. */
const PIECE_BYTES = 4 * 2 ** 20;

// ---- from there on

export interface StorageOptions {
  readonly files: Files;
  readonly folder: string;
  readonly clock: Clock;
  readonly recovered: Recovered;
  readonly onFailure: LogFailure;
  readonly syncMs: number;
  /** How long samples are kept: what another version left is of no use to it after that. */
  readonly retentionMs: number;
  readonly onLog?: (event: LogEvent) => void;
  readonly onImageFailure?: (error: unknown) => void;
}

export interface ImageStats {
  taken: number;
  failures: number;
  /** Of the newest: wall time, duration and size; 0 while there is none of this process. */
  takenMs: number;
  durationMs: number;
  bytes: number;
}

/** Where a body goes after it was applied. */
export interface Journal {
  /** Throws `overloaded` if nothing may be taken now: to be asked before a body is applied. */
  admit(bytes: number): void;
  /**
   * Notes a body that was applied, with the verdict on it; it is copied. What is returned must be waited for before it is
   * acknowledged; null if there is nothing to wait for. `stamp` is the namespace that its sender's
   * identity puts on its series.
   */
  note(
    protocol: number,
    profile: string,
    body: Uint8Array,
    isCompressed: boolean,
    stamp?: string,
  ): Promise<void> | null;
}

export class Storage implements Journal {
  readonly log: Log;
  readonly recovery: Recovery;
  readonly images: ImageStats = { taken: 0, failures: 0, takenMs: 0, durationMs: 0, bytes: 0 };
  readonly #options: StorageOptions;
  readonly #head: KernelHead;
  readonly #profiles = new Map<string, number>();
  readonly #foreign: Foreign;
  #running: Promise<boolean> | null = null;
  #isCancelled = false;
  #lastMs: number;
  #lastSamples: number;

  constructor(options: StorageOptions) {
    const { files, folder, clock, recovered, onFailure, syncMs, onLog } = options;
    this.#options = options;
    this.#foreign = new Foreign(recovered.foreign, clock, options.retentionMs);
    this.#head = recovered.head;
    this.recovery = recovered.recovery;
    this.log = new Log({
      files,
      folder: `${folder}/log`,
      clock,
      kernel: recovered.logKernel,
      onFailure,
      syncMs,
      firstSegment: recovered.nextSegment,
      onChange: (event) => {
        void this.#makeRoomAfter(event.error);
        onLog?.(event);
      },
    });
    this.#head.noteVerdicts();
    this.#lastMs = clock.monotonicMs();
    this.#lastSamples = this.#head.stats().samplesAppended;
  }

  get isDegraded(): boolean {
    return this.log.isDegraded;
  }

  admit(bytes: number): void {
    this.log.admit(bytes);
    // What was said of a body that was not noted is not said of the next one.
    this.#head.takeVerdict();
  }

  note(protocol: number, profile: string, body: Uint8Array, isCompressed: boolean, stamp = ''): Promise<void> | null {
    let number = this.#profiles.get(profile);
    if (number === undefined) {
      number = this.log.profileOf(profile);
      this.#profiles.set(profile, number);
    }
    const verdict = this.#head.takeVerdict();
    const arrivalMs = this.#options.clock.nowMs();
    return this.log.append(
      { kind: RECORD_BODY, protocol, profile: number, arrivalMs, stamp, verdict, body },
      isCompressed,
    );
  }

  /** To be called several times a second. */
  tick(): void {
    this.log.tick();
    if (this.#foreign.ends()) void this.#removeOld().catch((error) => this.#options.onImageFailure?.(error));
    // What an image holds back is needed when memory runs out; it is tried again.
    if (this.#running !== null && this.#head.isFull) this.#isCancelled = true;
    // One that a replica takes comes first.
    if (this.#running === null && !isImageRunning(this.#head.kernel) && this.#isImageDue()) void this.takeImage();
  }

  /** Takes an image now; false if it failed, which is counted and told. Two never run at a time. */
  takeImage(): Promise<boolean> {
    this.#running ??= this.#takeImage().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Writes what waits, then a last image, if anything came since the one before. Nothing may be noted any more. */
  async close(): Promise<void> {
    await this.log.close();
    while (this.#running !== null) await this.#running;
    if (this.#head.stats().samplesAppended !== this.#lastSamples || this.images.taken === 0) await this.takeImage();
  }

  #isImageDue(): boolean {
    const sinceMs = this.#options.clock.monotonicMs() - this.#lastMs;
    if (sinceMs < LIMITS.imageIntervalMsMin) return false;
    // Until there is one, what the log missed is in the memory alone.
    if (this.log.state === 'uncovered') return true;
    const samples = this.#head.stats().samplesAppended - this.#lastSamples;
    return samples >= LIMITS.imageSamplesMax || (samples > 0 && sinceMs >= LIMITS.imageIntervalMs);
  }

  async #takeImage(): Promise<boolean> {
    const { files, folder, clock, recovered, onImageFailure } = this.#options;
    const startedMs = clock.monotonicMs();
    const takenMs = clock.nowMs();
    const samples = this.#head.stats().samplesAppended;
    this.#lastMs = startedMs;
    this.#isCancelled = false;
    const segment = this.log.rotate();
    try {
      const { bytes } = await writeImage({
        kernel: this.#head.kernel,
        files,
        folder: `${folder}/image`,
        path: `${folder}/image/${imageName(segment)}`,
        segment,
        takenMs,
        sections: recovered.sections,
        isCancelled: () => this.#isCancelled,
      });
      this.#lastSamples = samples;
      this.log.covered(segment);
      Object.assign(this.images, { takenMs, bytes, durationMs: clock.monotonicMs() - startedMs });
      this.images.taken++;
      // What cannot be removed now can be after the next image.
      await this.#removeOld().catch((error) => onImageFailure?.(error));
      return true;
    } catch (error) {
      this.images.failures++;
      onImageFailure?.(error);
      await this.#makeRoomAfter(error);
      return false;
    }
  }

  /** A full disk needs the room: what another version left goes first. */
  async #makeRoomAfter(error: unknown): Promise<void> {
    if ((error as NodeJS.ErrnoException | null)?.code !== 'ENOSPC' || !this.#foreign.isKept) return;
    this.#foreign.letGo();
    // What cannot be removed now can be after the next image.
    await this.#removeOld().catch(() => undefined);
  }

  /** Two generations of our own stay, and the log from the older one on; of another version's images two, for as long. */
  async #removeOld(): Promise<void> {
    const { files, folder } = this.#options;
    const images = imagesOf(await files.list(`${folder}/image`));
    const own = images.filter((one) => !this.#foreign.isImage(one));
    const others = images.filter((one) => this.#foreign.isImage(one));
    const superfluous = [
      ...own.slice(0, -GENERATIONS),
      ...(this.#foreign.isKept ? others.slice(0, -GENERATIONS) : others),
    ];
    for (const image of superfluous) await files.remove(`${folder}/image/${imageName(image)}`);
    const segments = segmentsOf(await files.list(`${folder}/log`));
    // With one image only there is nothing to fall back to but the whole log.
    const needed = own.at(-GENERATIONS) ?? 0;
    for (const segment of segments.filter((one) => one < needed && !this.#foreign.keepsSegment(one))) {
      await files.remove(`${folder}/log/${segmentName(segment)}`);
    }
  }
}
