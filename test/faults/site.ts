/** A store over a disk and a clock that the test owns, with a client that notes what was acknowledged. */
import { Replayer } from '../../src/ingest/replay.ts';
import { Writer } from '../../src/ingest/write.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import type { MemoryLayout } from '../../src/tsdb/image.ts';
import { KernelHead, type KernelHeadOptions } from '../../src/tsdb/kernel-head.ts';
import type { LogFailure } from '../../src/tsdb/log.ts';
import { type RecoverOptions, recover, Storage } from '../../src/tsdb/storage.ts';
import { TestClock } from '../support/clock.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { dump } from '../support/store-dump.ts';

export const T0 = 1_700_000_000_000;

export interface SiteOptions {
  readonly disk?: MemoryDisk;
  readonly clock?: TestClock;
  readonly onFailure?: LogFailure;
  readonly syncMs?: number;
  readonly head?: Partial<KernelHeadOptions>;
  readonly replay?: RecoverOptions['replay'];
  readonly sections?: RecoverOptions['sections'];
}

export interface Site {
  readonly disk: MemoryDisk;
  readonly clock: TestClock;
  readonly head: KernelHead;
  readonly storage: Storage;
  readonly writer: Writer;
  readonly logged: string[];
}

export async function openSite(options: SiteOptions = {}): Promise<Site> {
  const { disk = new MemoryDisk(), clock = new TestClock(T0), onFailure = 'accept', syncMs = 1000 } = options;
  const logged: string[] = [];
  const openHead = (layout: MemoryLayout | null): KernelHead =>
    new KernelHead({
      clock,
      retentionMs: 3_600_000,
      outOfOrderMsMax: 300_000,
      futureMsMax: 600_000,
      seriesMax: 500,
      memoryBytes: 24 * 2 ** 20,
      bodyBytesMax: 2 ** 18,
      ...options.head,
      ...(layout === null ? {} : { layout }),
    });
  const replayer = new Replayer(clock);
  const recovered = await recover({
    files: disk,
    folder: 'store',
    clock,
    openHead,
    replay: options.replay ?? replayer.replay,
    sections: options.sections ?? replayer.sections,
    log: (what, details) => logged.push(`${what} ${JSON.stringify(details)}`),
  });
  const storage = new Storage({
    files: disk,
    folder: 'store',
    clock,
    recovered,
    onFailure,
    syncMs,
    retentionMs: 3_600_000,
  });
  const { head } = recovered;
  const writer = new Writer({
    head,
    clock,
    registry: new Registry(),
    journal: storage,
    deltas: replayer.deltasOf(head),
  });
  return { disk, clock, head, storage, writer, logged };
}

/** One sample of each of some series, by the series' number. */
export function bodyOf(series: readonly number[], timestampMs: number, value: number): Uint8Array {
  return encodeWriteRequest(
    series.map((i) => ({ labels: { __name__: 'm', s: `${i}` }, samples: [{ timestampMs, value: value + i }] })),
  );
}

/** What was sent and what was acknowledged of it: values by `series time`. */
export class Client {
  readonly sent = new Map<string, number>();
  readonly acknowledged = new Map<string, number>();

  /** Sends a body; true if it was acknowledged. */
  async push(site: Site, series: readonly number[], timestampMs: number, value: number): Promise<boolean> {
    for (const i of series) this.sent.set(`${i} ${timestampMs}`, value + i);
    try {
      const outcome = site.writer.remoteWrite(bodyOf(series, timestampMs, value));
      if (outcome.logged !== undefined) await outcome.logged;
    } catch {
      return false;
    }
    for (const i of series) this.acknowledged.set(`${i} ${timestampMs}`, value + i);
    return true;
  }

  /** What is wrong with what a site holds: something acknowledged is missing, or something is there that nobody sent. */
  check(site: Site, wanted: ReadonlyMap<string, number> = this.acknowledged): string | null {
    site.head.verify();
    const got = samplesOf(site);
    for (const [key, value] of wanted) {
      if (got.get(key) !== value) return `${key}: want ${value}, got ${got.get(key)}`;
    }
    for (const [key, value] of got) if (this.sent.get(key) !== value) return `${key}: nobody sent ${value}`;
    return null;
  }
}

const scratch = new DataView(new ArrayBuffer(8));

/** Values of the series `m` by `series time`. */
export function samplesOf(site: Site): Map<string, number> {
  const got = new Map<string, number>();
  for (const [key, text] of dump(site.head)) {
    const series = key.split('\uffff').at(-1)!;
    for (const sample of text.split(' ')) {
      const [time, low, high] = sample.split(':').map(Number);
      scratch.setUint32(0, low!, true);
      scratch.setUint32(4, high!, true);
      got.set(`${series} ${time}`, scratch.getFloat64(0, true));
    }
  }
  return got;
}

/** Lets what is under way come to its end. */
export async function settle(site: Site): Promise<void> {
  for (let i = 0; i < 50 || site.storage.log.stats.pendingBytes > 0; i++) await new Promise(setImmediate);
}

export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
