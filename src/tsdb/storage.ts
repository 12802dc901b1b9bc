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
import type { Files } from './files.ts';
import { ImageFault, type ImageSection, type MemoryLayout, readImage, writeImage } from './image.ts';
import type { KernelHead } from './kernel-head.ts';
import { Log, type LogEvent, type LogFailure, segmentName, segmentsOf } from './log.ts';
import { type LogRecord, RECORD_BODY, RECORD_PROFILE, type ScanCounts, scanSegment } from './log-format.ts';
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
}

export interface Recovered {
  readonly head: KernelHead;
  readonly recovery: Recovery;
  readonly nextSegment: number;
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

/** Brings a store back to what was acknowledged. It always comes back: what cannot be read is set aside and counted. */
export async function recover(options: RecoverOptions): Promise<Recovered> {
  const { files, folder, clock } = options;
  for (const name of ['log', 'image', 'aside']) await files.makeFolder(`${folder}/${name}`);
  const startedMs = clock.monotonicMs();
  /** Records that are not tried again, as segment:offset. */
  const bad = new Set<string>();
  let badImages = 0;
  const logKernel = new LogKernel(LOG_SLOTS);
  for (;;) {
    const run = new Replay(options, logKernel, bad);
    const outcome = await run.run();
    badImages += run.recovery.badImages;
    if (outcome === null) continue;
    run.recovery.ms = clock.monotonicMs() - startedMs;
    run.recovery.badImages = badImages;
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
  };
  readonly #options: RecoverOptions;
  readonly #bad: Set<string>;
  readonly #profiles = new Map<number, string>();
  readonly #logKernel: LogKernel;

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
    return {
      head,
      recovery: this.recovery,
      nextSegment: Math.max(from, segments.at(-1) ?? 0) + 1,
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
    log('an image cannot be used', { path, reason: error instanceof Error ? error.message : String(error) });
    // One of another layout is left where it is: the version that wrote it may come back.
    if (error instanceof ImageFault && error.isForeign) return;
    await files.rename(path, `${folder}/aside/${imageName(segment)}`).catch(() => undefined);
  }

  async #replaySegment(head: KernelHead, segment: number): Promise<boolean> {
    const { files, folder, log } = this.#options;
    let bytes: Buffer;
    try {
      bytes = await readWhole(files, `${folder}/log/${segmentName(segment)}`);
    } catch (error) {
      log('a segment of the log cannot be read', { segment, reason: String(error) });
      this.recovery.damaged++;
      return true;
    }
    const counts: ScanCounts = { records: 0, damaged: 0, bytesPassedOver: 0, isUnknown: false };
    for (const record of scanSegment(bytes, segment, this.#logKernel, counts)) {
      if (record.kind === RECORD_PROFILE) this.#profiles.set(record.profile, Buffer.from(record.body).toString());
      if (record.kind !== RECORD_BODY || this.#bad.has(`${segment}:${record.at}`)) continue;
      try {
        this.#replayRecord(head, record);
      } catch (error) {
        await this.#setAside(segment, record.at, record.bytes, error);
        // Whatever the record did to the memory before it failed is in there: begin again without it.
        return false;
      }
    }
    if (counts.isUnknown) log('a segment of the log is of another format; it is passed over', { segment });
    this.recovery.records += counts.records;
    this.recovery.damaged += counts.damaged;
    this.recovery.bytesPassedOver += counts.bytesPassedOver;
    return true;
  }

  #replayRecord(head: KernelHead, record: LogRecord): void {
    head.giveVerdict(record.verdict);
    const profile = this.#profiles.get(record.profile) ?? null;
    const { protocol, body, arrivalMs, stamp } = record;
    const replayed = this.#options.replay(head, { protocol, profile, body, arrivalMs, stamp });
    if (replayed !== 'stored') this.recovery[replayed]++;
  }

  async #setAside(segment: number, at: number, bytes: Uint8Array, error: unknown): Promise<void> {
    const { files, folder, log } = this.#options;
    if (this.#bad.size >= LIMITS.setAsideMax) {
      throw new Error(`cannot replay the log: more than ${LIMITS.setAsideMax} records fail`, { cause: error });
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

async function readWhole(files: Files, path: string): Promise<Buffer> {
  const file = await files.open(path);
  try {
    const bytes = Buffer.allocUnsafeSlow(file.bytes);
    const read = await file.read(bytes, 0);
    return bytes.subarray(0, read);
  } finally {
    await file.close();
  }
}

// ---- from there on

export interface StorageOptions {
  readonly files: Files;
  readonly folder: string;
  readonly clock: Clock;
  readonly recovered: Recovered;
  readonly onFailure: LogFailure;
  readonly syncMs: number;
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
  #running: Promise<boolean> | null = null;
  #isCancelled = false;
  #lastMs: number;
  #lastSamples: number;

  constructor(options: StorageOptions) {
    const { files, folder, clock, recovered, onFailure, syncMs, onLog } = options;
    this.#options = options;
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
      ...(onLog === undefined ? {} : { onChange: onLog }),
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
    // What an image holds back is needed when memory runs out; it is tried again.
    if (this.#running !== null && this.#head.isFull) this.#isCancelled = true;
    if (this.#running === null && this.#isImageDue()) void this.takeImage();
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
      return false;
    }
  }

  /** Two generations stay, and the log from the older one on. */
  async #removeOld(): Promise<void> {
    const { files, folder } = this.#options;
    const images = imagesOf(await files.list(`${folder}/image`));
    const oldest = images.at(-GENERATIONS) ?? 0;
    for (const image of images.filter((one) => one < oldest)) await files.remove(`${folder}/image/${imageName(image)}`);
    const segments = segmentsOf(await files.list(`${folder}/log`));
    // With one image only there is nothing to fall back to but the whole log.
    const needed = images.length < GENERATIONS ? 0 : oldest;
    for (const segment of segments.filter((one) => one < needed)) {
      await files.remove(`${folder}/log/${segmentName(segment)}`);
    }
  }
}
