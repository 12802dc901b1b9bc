/**
 * Images: taken while writes go on, read into a fresh memory, and brought up to date by the log after them: then both stores
 * are equal to the bit, and the memory hangs together. Seeds are printed; TIDEGAUGE_LONG=1 runs many more.
 */
import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { labelsFromPairs } from '../../src/model/labels.ts';
import { readImage, writeImage } from '../../src/tsdb/image.ts';
import { KERNEL_WASM_BASE64 } from '../../src/tsdb/kernel/generated/kernel-debug.ts';
import { KernelHead, type KernelHeadOptions } from '../../src/tsdb/kernel-head.ts';
import { TestClock } from '../support/clock.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { differenceOf, dump } from '../support/store-dump.ts';

const isLong = process.env.TIDEGAUGE_LONG === '1';
const T0 = 1_700_000_000_000;
const SERIES_MAX = 300;

function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const optionsOf = (clock: TestClock): KernelHeadOptions => ({
  clock,
  retentionMs: 3_600_000,
  outOfOrderMsMax: 300_000,
  futureMsMax: 600_000,
  seriesMax: SERIES_MAX,
  memoryBytes: 48 * 2 ** 20,
  bodyBytesMax: 2 ** 20,
  periodMs: 450_000,
  wasm: KERNEL_WASM_BASE64,
});

/** One thing that was done to a store, so that it can be done again. */
interface Deed {
  readonly verdict: Uint8Array;
  again(head: KernelHead): void;
}

/** Random writes to a store, each with its verdict. */
class Writes {
  readonly #random: (below: number) => number;
  readonly #clock: TestClock;
  #serial = 0;
  readonly #pods: number[] = [];

  constructor(random: (below: number) => number, clock: TestClock) {
    this.#random = random;
    this.#clock = clock;
  }

  next(head: KernelHead): Deed {
    const random = this.#random;
    while (this.#pods.length < 40 || random(100) < 40) this.#pods.push(this.#serial++);
    while (this.#pods.length > 90) this.#pods.splice(random(this.#pods.length), 1);
    const again = random(3) > 0 ? this.#body() : this.#samples();
    again(head);
    return { verdict: head.takeVerdict(), again };
  }

  #timeMs(): number {
    const kind = this.#random(20);
    const nowMs = this.#clock.nowMs();
    if (kind < 12) return Math.floor(nowMs / 1000) * 1000;
    if (kind < 18) return nowMs - this.#random(400_000);
    return kind < 19 ? nowMs + 550_000 + this.#random(100_000) : nowMs - 3_550_000 - this.#random(100_000);
  }

  #value(): number {
    const kind = this.#random(4);
    return kind === 0 ? this.#random(5) : kind === 1 ? this.#random(1e9) / 7 : this.#random(1000) * 4096;
  }

  #body(): (head: KernelHead) => void {
    const series = Array.from({ length: 1 + this.#random(30) }, () => ({
      labels: { __name__: `metric_${this.#random(4)}`, pod: `pod-${this.#pods[this.#random(this.#pods.length)]}` },
      samples: Array.from({ length: 1 + this.#random(3) }, () => ({
        timestampMs: this.#timeMs(),
        value: this.#value(),
      })),
    }));
    const body = encodeWriteRequest(series);
    return (head) => void head.writeRemoteWrite(body, 1);
  }

  #samples(): (head: KernelHead) => void {
    const samples = Array.from({ length: 1 + this.#random(30) }, () => ({
      labels: labelsFromPairs([
        ['__name__', `other_${this.#random(3)}`],
        [`name_${this.#random(6)}`, 'x'],
        ['pod', `pod-${this.#pods[this.#random(this.#pods.length)]}`],
      ]),
      timestampMs: this.#timeMs(),
      low: this.#random(1000),
      high: this.#random(2 ** 30),
      blob: this.#random(2) === 0 ? Uint8Array.from({ length: this.#random(300) }, (_, i) => i & 0xff) : null,
      startMs: this.#random(2) === 0 ? 0 : T0 - this.#random(3) * 1000,
    }));
    return (head) => {
      for (const { labels, timestampMs, low, high, blob, startMs } of samples) {
        try {
          const ref = head.series(labels);
          if (blob === null) head.append(ref, timestampMs, low, high, startMs);
          else head.appendHistogram(ref, timestampMs, blob, startMs);
        } catch (error) {
          if (!(error instanceof CodedError)) throw error;
        }
      }
    };
  }
}

async function takeAndRead(seed: number): Promise<string | null> {
  const random = randomOf(seed);
  const clock = new TestClock(T0);
  const head = new KernelHead(optionsOf(clock));
  head.noteVerdicts();
  const writes = new Writes(random, clock);
  for (let i = random(150); i >= 0; i--) {
    writes.next(head);
    clock.advance(random(60_000));
    const retention = random(10);
    if (retention === 0) head.enforceRetention();
    else if (retention === 1) head.retentionSlice();
  }
  const disk = new MemoryDisk();
  const deeds: Deed[] = [];
  disk.beforeWrite = async () => {
    for (let i = random(4); i > 0; i--) {
      deeds.push(writes.next(head));
      clock.advance(random(20_000));
      head.retentionSlice();
    }
  };
  const isCancelled = (): boolean => false;
  const segment = 7;
  const sections = [{ name: 'sums', save: () => Uint8Array.of(1, 2, seed & 0xff), load: () => undefined }];
  const written = { kernel: head.kernel, files: disk, folder: 'f', path: 'f/x', segment, takenMs: 1, sections };
  await writeImage({ ...written, isCancelled });
  for (let i = random(20); i > 0; i--) deeds.push(writes.next(head));
  head.verify();
  let loaded: Uint8Array | null = null;
  const open = (): KernelHead => new KernelHead(optionsOf(clock));
  const { head: other, begin } = await readImage(await disk.open('f/x'), open, () => [
    {
      name: 'sums',
      save: () => Uint8Array.of(),
      load: (bytes) => {
        loaded = bytes;
      },
    },
  ]);
  if (begin.segment !== segment || String(loaded) !== `1,2,${seed & 0xff}`)
    return 'head or section are not what was saved';
  other.verify();
  other.setReplaying(true);
  for (const { verdict, again } of deeds) {
    other.giveVerdict(verdict);
    again(other);
  }
  other.setReplaying(false);
  other.verify();
  const fault = differenceOf(dump(head), dump(other));
  if (fault !== null) return `after the log: ${fault}`;
  // It goes on as the other does, and can be imaged again.
  for (let i = 0; i < 10; i++) {
    clock.advance(100_000);
    writes.next(head).again(other);
    head.enforceRetention();
    other.enforceRetention();
  }
  other.verify();
  // At the limit it counts which of them still has the series whose samples were all refused.
  if (head.stats().series === SERIES_MAX || other.stats().series === SERIES_MAX) return null;
  return differenceOf(dump(head), dump(other));
}

test('an image taken under writes and the log after it give the same store', async (t) => {
  const first = Number(process.env.TIDEGAUGE_SEED ?? 1);
  for (let seed = first; seed < first + (isLong ? 400 : 25); seed++) {
    try {
      t.equal(await takeAndRead(seed), null, `seed ${seed}`);
    } catch (error) {
      t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
    }
  }
});
