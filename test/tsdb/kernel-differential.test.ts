/**
 * The kernel against the plain store: the same random writes and questions to both, the same answers to the bit from
 * both, and a memory that hangs together after every batch. Seeds are printed; TIDEGAUGE_LONG=1 runs many more.
 */
import { type Test, test } from 'tap';
import { Tally } from '../../src/ingest/tally.ts';
import { CodedError } from '../../src/model/errors.ts';
import { EMPTY_HISTOGRAM, encodeHistogram, type HistogramSamples } from '../../src/model/histogram.ts';
import { type Labels, labelsFromPairs, labelsKey } from '../../src/model/labels.ts';
import type { Matcher } from '../../src/model/matcher.ts';
import { SampleBuffer } from '../../src/model/sample.ts';
import type { Scope } from '../../src/model/scope.ts';
import type { Selection, SelectRequest } from '../../src/tsdb/head.ts';
import { KERNEL_WASM_BASE64 } from '../../src/tsdb/kernel/generated/kernel-debug.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { RHYTHM_SIZE, RHYTHM_STATE } from '../../src/tsdb/rhythm.ts';
import { TestClock } from '../support/clock.ts';
import { PlainHead } from '../support/plain-head.ts';
import { storeWriteRequest } from '../support/plain-remote-write.ts';
import { encodePlainWriteRequest, encodeWriteRequest, type SeriesToEncode } from '../support/remote-write-encoder.ts';

const isLong = process.env.TIDEGAUGE_LONG === '1';
const T0 = 1_700_000_000_000;
const RETENTION = 3_600_000;
const SERIES_MAX = 400;

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n: number): number {
    return this.next() % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

interface Source {
  readonly labels: Labels;
  readonly style: number;
  /** How many of a hundred samples are histograms. */
  readonly histograms: number;
  readonly starts: 'none' | 'cumulative' | 'delta';
  timeMs: number;
  value: number;
  startMs: number;
}

interface SampleToStore {
  readonly timestampMs: number;
  readonly bits: [number, number];
  /** Null for a float. */
  readonly blob: Uint8Array | null;
  readonly startMs: number;
}

interface SeriesToStore {
  readonly labels: Labels;
  readonly samples: readonly SampleToStore[];
}

const scratch = new DataView(new ArrayBuffer(8));

/** Low and high half of the next value, in the style of the source. */
function nextBits(random: Random, source: Source): [number, number] {
  if (random.chance(4)) return random.pick(ODD_BITS);
  if (source.style === 0) source.value += random.below(60) - (random.chance(3) ? 10_000 : 0);
  else if (source.style === 1) source.value += 4096 * (random.below(513) - 256);
  else if (source.style === 2) source.value = Math.round((source.value + random.below(1000) / 100) * 100) / 100;
  else if (source.style === 3) source.value = Math.round((source.value + random.below(100_000) / 1000) * 1000) / 1000;
  else if (source.style === 4) source.value += random.next() / 2 ** 32;
  else if (source.style === 5) source.value = random.chance(10) ? random.below(5) : source.value;
  else if (source.style === 6) source.value += random.next() * 1000;
  else if (source.style === 7) source.value = Math.round((source.value + random.below(1000) / 1e6) * 1e9) / 1e9;
  else return [random.next(), random.next()];
  scratch.setFloat64(0, source.value, true);
  return [scratch.getUint32(0, true), scratch.getUint32(4, true)];
}

const ODD_BITS: readonly [number, number][] = [
  [2, 0x7ff00000], // stale marker
  [1, 0x7ff80000],
  [0xdead, 0x7ff40000],
  [7, 0xfff80000],
  [0, 0x80000000], // -0
  [0, 0],
  [0, 0x7ff00000],
  [0, 0xfff00000],
  [1, 0], // smallest subnormal
  [0xffffffff, 0x7fefffff],
  [0, 0x43400000], // 2^53
  [1, 0x43400000],
];

const STALE_HISTOGRAM = encodeHistogram(EMPTY_HISTOGRAM, true);

/** Bytes that the store has no business to understand. */
function nextBlob(random: Random): Uint8Array {
  if (random.chance(10)) return STALE_HISTOGRAM;
  const bytes = random.chance(3) ? random.below(9000) : random.below(200);
  // Few different ones, so that repetitions meet.
  const fill = random.below(3);
  return Uint8Array.from({ length: random.chance(50) ? 40 : bytes }, (_, i) => (i * 7 + fill) & 0xff);
}

function nextStart(random: Random, source: Source, timestampMs: number): number {
  if (source.starts === 'none') return 0;
  if (random.chance(8)) return 0;
  if (source.starts === 'delta') return timestampMs - (random.chance(90) ? 15_000 : random.below(15_000));
  if (random.chance(5)) source.startMs = timestampMs - random.below(1000);
  return source.startMs;
}

function nextTime(random: Random, source: Source, nowMs: number): number {
  const kind = random.below(100);
  if (kind < 70) source.timeMs += 15_000;
  else if (kind < 78) source.timeMs += 15_000 + random.below(7) - 3;
  else if (kind < 82) source.timeMs += random.below(600_000);
  else if (kind < 86) return source.timeMs;
  else if (kind < 94) return source.timeMs - random.below(400_000);
  else if (kind < 95) return nowMs - RETENTION + random.below(3) - 1;
  else if (kind < 96) return nowMs + 600_000 + random.below(3) - 1;
  else if (kind < 97) return Math.max(source.timeMs - random.below(2 * RETENTION), 0);
  else source.timeMs += 1 + random.below(40_000);
  // Sources follow the clock: none lives in the past for ever.
  if (source.timeMs < nowMs - 400_000) source.timeMs = nowMs - random.below(15_000);
  return source.timeMs;
}

const NAMESPACES = ['shop', 'bank', 'zoo', ''];

function newSource(random: Random, serial: number, nowMs: number): Source {
  const pairs: [string, string][] = [
    ['__name__', `metric_${random.below(12)}${random.chance(5) ? '_ä'.repeat(60) : ''}`],
    ['job', `job-${random.below(3)}`],
    ['pod', `pod-${serial}`],
  ];
  if (random.chance(60)) pairs.push([random.pick(['namespace', 'k8s_namespace_name']), random.pick(NAMESPACES)]);
  if (random.chance(20)) pairs.push(['Zone', random.pick(['a', 'b', '\u{1f30a}', '\ufeffx'])]);
  if (random.chance(5)) pairs.push(['long', 'v'.repeat(random.below(4096) + 1)]);
  if (random.chance(5)) for (let i = 0; i < 30; i++) pairs.push([`label_${i}`, `${random.below(4)}`]);
  return {
    labels: labelsFromPairs(pairs),
    style: random.below(9),
    histograms: random.chance(70) ? 0 : random.pick([100, 50, 5]),
    starts: random.chance(70) ? 'none' : random.pick(['cumulative', 'delta']),
    startMs: nowMs - random.below(100_000),
    timeMs: nowMs - random.below(15_000),
    value: random.below(1000),
  };
}

/** What a selection holds, as comparable text by series. */
function contents(selection: Selection, fromMs: number, toMs: number): Map<string, string> {
  const into = new SampleBuffer(4);
  const all = new Map<string, string>();
  let total = 0;
  for (let i = 0; i < selection.count; i++) {
    const count = selection.read(i, fromMs, toMs, into);
    const parts: string[] = [];
    for (let k = 0; k < count; k++) parts.push(`${into.timesMs[k]}:${into.halves[2 * k]}:${into.halves[2 * k + 1]}`);
    total += count;
    const floatTimesMs = [...into.timesMs.subarray(0, count)];
    const histograms = selection.readHistograms(i, fromMs, toMs);
    for (const [k, blob] of histograms.blobs.entries()) {
      parts.push(`${histograms.timesMs[k]}:${Buffer.from(blob).toString('latin1')}`);
      total += Math.ceil((blob.length + 8) / 16);
    }
    parts.push(...rhythmsOf(selection, i, fromMs, toMs));
    if (histograms.blobs.length > 0) checkHistograms(selection, i, histograms, floatTimesMs, toMs);
    parts.push(...startsOf(selection, i, [...floatTimesMs, ...histograms.timesMs]));
    all.set(labelsKey(selection.labels(i)), parts.join(' '));
  }
  if (selection.samplesMax < total) throw new Error(`samplesMax ${selection.samplesMax} is below ${total}`);
  return all;
}

/** Rhythms of series i, of all the range and of parts of it. */
function rhythmsOf(selection: Selection, i: number, fromMs: number, toMs: number): string[] {
  const into = new Float64Array(RHYTHM_SIZE);
  const third = Math.floor((toMs - fromMs) / 3);
  return [0, third, 2 * third].flatMap((back) => {
    const endMs = toMs - back;
    const common = { fromMs, endMs, gapIntervals: 1.5, gapSlackMs: 1000, intervalMsUnknown: 60_000 };
    return [0, third].map((windowMs) => {
      const request = {
        ...common,
        startMs: Math.max(fromMs, endMs - windowMs),
        lifeMs: windowMs === 0 ? 60_000 : 300_000,
      };
      selection.rhythms(i, i + 1, request, into);
      return into[RHYTHM_STATE] === 0 ? 'none' : into.join(',');
    });
  });
}

/** Histograms are announced, and the one before a range is known unless a float lies between. */
function checkHistograms(
  selection: Selection,
  i: number,
  { timesMs, blobs }: HistogramSamples,
  floatTimesMs: readonly number[],
  toMs: number,
): void {
  if (!selection.anyHistograms || !selection.hasHistograms(i)) throw new Error(`histograms of ${i} are not announced`);
  for (const k of new Set([1, blobs.length >> 1, blobs.length - 1])) {
    if (k < 1 || k >= blobs.length) continue;
    const part = selection.readHistograms(i, timesMs[k - 1]!, toMs);
    if (part.blobs.length !== blobs.length - k) throw new Error(`${part.blobs.length} histograms from ${k} on`);
    const isNeighbour = !floatTimesMs.some((timeMs) => timeMs > timesMs[k - 1]! && timeMs < timesMs[k]!);
    const got = part.before === null ? null : Buffer.compare(part.before, blobs[k - 1]!);
    if (got !== (isNeighbour ? 0 : null)) throw new Error(`histogram before ${timesMs[k]} is ${got}`);
  }
}

/** Start timestamps that are known, by the time of their sample. */
function startsOf(selection: Selection, i: number, timesMs: readonly number[]): string[] {
  const into = new Float64Array(timesMs.length);
  if (!selection.readStarts(i, Float64Array.from(timesMs), timesMs.length, into)) return [];
  if (!selection.anyStarts && into.some((startMs) => startMs !== 0))
    throw new Error(`starts of ${i} are not announced`);
  return timesMs.flatMap((timeMs, k) => (into[k] === 0 ? [] : [`${timeMs}<${into[k]}`]));
}

function difference(wanted: Map<string, string>, got: Map<string, string>): string | null {
  for (const [key, text] of wanted) {
    const other = got.get(key);
    if (other === undefined) return `missing ${key}`;
    if (other !== text) return `${key}\n want ${text}\n got  ${other}`;
  }
  for (const key of got.keys()) if (!wanted.has(key)) return `extra ${key}`;
  return null;
}

class Duel {
  readonly random: Random;
  readonly clock = new TestClock(T0);
  readonly model: PlainHead;
  readonly kernel: KernelHead;
  readonly sources: Source[] = [];
  #serial = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    const options = {
      clock: this.clock,
      retentionMs: RETENTION,
      outOfOrderMsMax: 300_000,
      futureMsMax: 600_000,
      seriesMax: SERIES_MAX,
    };
    this.model = new PlainHead(options);
    this.kernel = new KernelHead({
      ...options,
      wasm: KERNEL_WASM_BASE64,
      memoryBytes: 48 * 2 ** 20,
      bodyBytesMax: 2 ** 20,
      periodMs: this.random.pick([60_000, 450_000, 3_600_000]),
    });
  }

  /** Some new series, some that end. */
  churn(): void {
    const random = this.random;
    while (this.sources.length < 60 || random.chance(40)) {
      this.sources.push(newSource(random, this.#serial++, this.clock.nowMs()));
    }
    while (this.sources.length > 150) this.sources.splice(random.below(this.sources.length), 1);
  }

  /** One request of some series to both: half as remote-write bodies, half sample by sample. */
  write(): string | null {
    const random = this.random;
    const start = random.below(this.sources.length);
    const chosen = this.sources.slice(start, start + 1 + random.below(60));
    const series = chosen.map((source) => ({
      labels: source.labels,
      samples: Array.from({ length: random.chance(90) ? 1 : random.below(4) }, () => {
        const timestampMs = nextTime(random, source, this.clock.nowMs());
        return {
          timestampMs,
          bits: nextBits(random, source),
          blob: random.chance(source.histograms) ? nextBlob(random) : null,
          startMs: nextStart(random, source, timestampMs),
        };
      }),
    }));
    return random.chance(60) ? this.#writeBody(series) : this.#append(series);
  }

  #append(series: readonly SeriesToStore[]): string | null {
    for (const { labels, samples } of series) {
      for (const sample of samples) {
        const wanted = outcomeOf(this.model, labels, sample);
        const got = outcomeOf(this.kernel, labels, sample);
        if (wanted === got) continue;
        const what = sample.blob === null ? 'float' : 'histogram';
        return `append of a ${what} at ${sample.timestampMs}: want ${wanted}, got ${got} for ${labels.join(' ')}`;
      }
    }
    return null;
  }

  #writeBody(series: readonly SeriesToStore[]): string | null {
    const random = this.random;
    const encoded = series.map(({ labels, samples }): SeriesToEncode => {
      const pairs: [string, string][] = [];
      for (let i = 0; i < labels.length; i += 2) pairs.push([labels[i]!, labels[i + 1]!]);
      if (random.chance(3)) pairs.reverse();
      if (random.chance(2)) pairs.push(['zzz', '']);
      if (random.chance(1)) pairs.push(pairs[0]!);
      return {
        labels: pairs,
        samples: samples.map(({ timestampMs, bits }) => ({ timestampMs, value: numberOf(bits) })),
        exemplars: random.chance(3) ? 1 : 0,
        histograms: random.chance(2) ? 1 : 0,
      };
    });
    const tally = new Tally();
    storeWriteRequest(encodePlainWriteRequest(encoded, random.below(3)), this.model, tally);
    const got = this.kernel.writeRemoteWrite(encodeWriteRequest(encoded, 1), random.below(3));
    const odd = new Tally();
    for (const timeSeries of got.odd) storeWriteRequest(framed(timeSeries), this.kernel as unknown as PlainHead, odd);
    const stored = got.stored + got.duplicate + odd.samplesStored;
    if (stored !== tally.samplesStored) return `body: want ${tally.samplesStored} stored, got ${stored}`;
    const refused =
      got.outOfOrder + got.conflicting + got.tooOld + got.tooFarAhead + got.seriesLimit + odd.refusedCount;
    if (refused !== tally.refusedCount) return `body: want ${tally.refusedCount} refused, got ${refused}`;
    return got.exemplars + odd.exemplarsIgnored === tally.exemplarsIgnored ? null : 'exemplars are miscounted';
  }

  request(): SelectRequest {
    const random = this.random;
    const nowMs = this.clock.nowMs();
    const fromMs = nowMs - RETENTION + random.below(RETENTION);
    const matchers: Matcher[] = Array.from({ length: random.below(4) }, () => randomMatcher(random));
    const scope: Scope = random.chance(80) ? null : random.pick([['shop'], ['bank', 'zoo'], []]);
    return { matchers, fromMs, toMs: fromMs + random.below(RETENTION + 700_000), scope };
  }

  ask(): string | null {
    const request = this.request();
    const about = JSON.stringify(request);
    const wanted = this.model.select(request);
    const got = this.kernel.select(request);
    const fault = difference(
      contents(wanted, request.fromMs, request.toMs),
      contents(got, request.fromMs, request.toMs),
    );
    got.close();
    if (fault !== null) return `select ${about}: ${fault}`;
    const names = this.kernel.labelNames(request).join();
    if (names !== this.model.labelNames(request).join()) return `labelNames ${about}: ${names}`;
    const name = this.random.pick(['pod', 'job', '__name__', 'namespace', 'nope']);
    const values = this.kernel.labelValues(name, request).join();
    return values === this.model.labelValues(name, request).join() ? null : `labelValues ${name} ${about}: ${values}`;
  }

  /** A selection of before is read after. */
  snapshot(): string | null {
    const request = this.request();
    const wanted = this.model.select(request);
    const got = this.kernel.select(request);
    for (let i = 0; i < 3; i++) {
      const fault = this.write();
      if (fault !== null) return fault;
    }
    const fault = difference(
      contents(wanted, request.fromMs, request.toMs),
      contents(got, request.fromMs, request.toMs),
    );
    got.close();
    return fault === null ? null : `snapshot ${JSON.stringify(request)}: ${fault}`;
  }

  expire(): string | null {
    this.clock.advance(this.random.chance(10) ? 1_200_000 : this.random.below(200_000));
    this.model.enforceRetention();
    this.kernel.enforceRetention();
    const wanted = this.model.stats();
    const got = this.kernel.stats();
    if (got.series !== wanted.series) return `series: want ${wanted.series}, got ${got.series}`;
    if (got.seriesCreated !== wanted.seriesCreated)
      return `created: want ${wanted.seriesCreated}, got ${got.seriesCreated}`;
    for (let i = 0; i < 12; i++) {
      const name = `metric_${i}`;
      if (this.kernel.hasMetric(name) !== this.model.hasMetric(name)) return `hasMetric ${name}`;
    }
    return null;
  }
}

function outcomeOf(head: PlainHead | KernelHead, labels: Labels, sample: SampleToStore): number | string {
  const { timestampMs, bits, blob, startMs } = sample;
  try {
    const ref = head.series(labels);
    if (blob !== null) return head.appendHistogram(ref, timestampMs, blob.slice(), startMs);
    return head.append(ref, timestampMs, bits[0], bits[1], startMs);
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
}

/** A number for the encoder. A NaN may lose its payload: then it is another NaN, but the same one for both. */
function numberOf([low, high]: [number, number]): number | 'stale' {
  if (low === 2 && high === 0x7ff00000) return 'stale';
  scratch.setUint32(0, low, true);
  scratch.setUint32(4, high, true);
  return scratch.getFloat64(0, true);
}

/** A body of one TimeSeries message. */
function framed(timeSeries: Uint8Array): Uint8Array {
  const length: number[] = [0x0a];
  let rest = timeSeries.length;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) length.push((rest % 128) | 0x80);
  length.push(rest);
  return Uint8Array.from([...length, ...timeSeries]);
}

function randomMatcher(random: Random): Matcher {
  const type = random.pick(['=', '!=', '=~', '!~'] as const);
  const name = random.pick(['__name__', 'job', 'pod', 'namespace', 'Zone', 'nope']);
  const value =
    type === '=' || type === '!='
      ? random.pick(['metric_1', 'job-1', 'pod-3', 'shop', '', '\u{1f30a}'])
      : random.pick([
          'metric_1|metric_2',
          'job-[01]',
          'pod-.*',
          '.+',
          '.*',
          'pod-.*7',
          '|shop',
          'x?',
          'metric_(1|2|3)',
        ]);
  return { type, name, value };
}

function duel(t: Test, seed: number, rounds: number): void {
  try {
    fight(t, seed, rounds);
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

function fight(t: Test, seed: number, rounds: number): void {
  const one = new Duel(seed);
  for (let round = 0; round < rounds; round++) {
    one.churn();
    const act = one.random.below(10);
    const fault = act < 6 ? one.write() : act < 8 ? one.ask() : act < 9 ? one.snapshot() : one.expire();
    if (fault !== null) {
      t.fail(`seed ${seed}, round ${round}: ${fault}`);
      return;
    }
    if (round % 8 === 0) one.kernel.verify();
    one.clock.advance(one.random.below(20_000));
  }
  one.kernel.verify();
  t.pass(`seed ${seed}: ${one.kernel.stats().seriesCreated} series, ${one.kernel.stats().samplesAppended} samples`);
}

test('kernel and plain store give the same answers', async (t) => {
  const first = Number(process.env.TIDEGAUGE_SEED ?? 1);
  for (let seed = first; seed < first + (isLong ? 40 : 3); seed++) duel(t, seed, isLong ? 1500 : 400);
});
