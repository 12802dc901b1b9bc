/** The store's promises: memory that does not grow under churn, limits that hold, addresses up to 4 GiB, windows. */
import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { type Labels, labelsFromObject, labelValue } from '../../src/model/labels.ts';
import { float64High, float64Low, SampleBuffer, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { RATE_KERNELS } from '../../src/promql/functions/rate.ts';
import { APPENDED, type RateKind, type SeriesRef } from '../../src/tsdb/head.ts';
import { KERNEL_WASM_BASE64 } from '../../src/tsdb/kernel/generated/kernel-debug.ts';
import * as layout from '../../src/tsdb/kernel/layout.ts';
import type { KernelSelection } from '../../src/tsdb/kernel/selection.ts';
import { KernelHead, type KernelHeadOptions } from '../../src/tsdb/kernel-head.ts';
import { TestClock } from '../support/clock.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';

const T0 = 1_700_000_000_000;
const HOUR = 3_600_000;
const ALL = { matchers: [], fromMs: 0, toMs: T0 * 2, scope: null };

function setup(options: Partial<KernelHeadOptions> = {}) {
  const clock = new TestClock(T0);
  const head = new KernelHead({
    clock,
    retentionMs: HOUR,
    outOfOrderMsMax: 300_000,
    futureMsMax: 600_000,
    seriesMax: 20_000,
    memoryBytes: 32 * 2 ** 20,
    bodyBytesMax: 2 ** 18,
    wasm: KERNEL_WASM_BASE64,
    ...options,
  });
  const append = (ref: SeriesRef, timestampMs: number, value: number) =>
    head.append(ref, timestampMs, float64Low(value), float64High(value));
  return { clock, head, append };
}

function labelsOf(pod: number): Labels {
  return labelsFromObject({ __name__: `metric_${pod % 5}`, job: 'api', pod: `pod-${pod}`, zone: `z${pod % 3}` });
}

test('memory is level under full churn', async (t) => {
  const { clock, head } = setup();
  const bytes: number[] = [];
  for (let hour = 0, pod = 0; hour < 14; hour++) {
    // 1,500 series an hour, none of which lives longer than the hour, with values that take room.
    const refs = Array.from({ length: 1500 }, () => head.series(labelsOf(pod++)));
    for (let minute = 0; minute < 60; minute += 2) {
      clock.advance(2 * 60_000);
      for (const ref of refs) {
        // Every tenth series has histograms, every seventh start timestamps.
        const startMs = ref % 7 === 0 ? clock.nowMs() - minute * 100 : 0;
        if (ref % 10 === 0) head.appendHistogram(ref, clock.nowMs(), new Uint8Array(100 + (ref % 50)), startMs);
        else {
          const value = Math.sin(ref + minute) * 1e6;
          head.append(ref, clock.nowMs(), float64Low(value), float64High(value), startMs);
        }
      }
      if (minute % 20 === 0) head.enforceRetention();
    }
    head.enforceRetention();
    head.verify();
    bytes.push(head.stats().bytes);
  }
  const later = bytes.slice(5);
  t.ok(Math.max(...later) <= Math.min(...later) + 8 * layout.PAGE_BYTES, `bytes from hour 5 on: ${later.join(' ')}`);
  t.equal(head.stats().seriesCreated, 14 * 1500);
  t.ok(head.stats().series <= 3100);
  t.equal(head.labelValues('pod', { ...ALL, fromMs: clock.nowMs() - HOUR }).length, 1500);
});

test('at the limit of memory new series are refused and known series go on', async (t) => {
  const { clock, head, append } = setup({ seriesMax: 60_000, memoryBytes: 36 * 2 ** 20 });
  const refs: SeriesRef[] = [];
  const create = (): string | null => {
    try {
      refs.push(head.series(labelsFromObject({ __name__: 'm', unique: `value-${refs.length}-${'x'.repeat(2400)}` })));
      return null;
    } catch (error) {
      if (error instanceof CodedError) return error.code;
      throw error;
    }
  };
  let code: string | null = null;
  for (let i = 0; i < 60_000 && code === null; i++) code = create();
  t.equal(code, 'series_limit');
  t.ok(refs.length > 3000 && refs.length < 60_000, `${refs.length} series`);
  const body = encodeWriteRequest([{ labels: { __name__: 'new' }, samples: [{ timestampMs: T0, value: 1 }] }]);
  t.equal(head.writeRemoteWrite(body, 1).seriesLimit, 1);
  head.verify();
  let stored = 0;
  // Some hours of incompressible values: the oldest periods have to go before their time.
  for (let minute = 0; minute < 150; minute++) {
    clock.advance(60_000);
    for (const ref of refs) {
      const timeMs = clock.nowMs();
      // Every tenth series has histograms with start timestamps.
      const outcome =
        ref % 10 === 0
          ? head.appendHistogram(ref, timeMs, new Uint8Array(50 + minute), timeMs - minute)
          : append(ref, timeMs, Math.random());
      if (outcome === APPENDED.stored) stored++;
    }
    if (minute % 50 === 0) head.verify();
  }
  t.equal(stored, 150 * refs.length, 'every sample of a known series was taken');
  t.ok(head.periodsEvicted > 0, `${head.periodsEvicted} periods went early`);
  t.equal(create(), 'series_limit');
  head.verify();
  const into = new SampleBuffer(1);
  const selection = head.select({ ...ALL, matchers: [{ type: '=', name: '__name__', value: 'm' }] });
  t.equal(selection.count, refs.length);
  const count = selection.read(0, 0, clock.nowMs(), into);
  t.equal(into.timesMs[count - 1], clock.nowMs());
  selection.close();
});

test('memory by part is all that is in use, and follows what is stored', (t) => {
  const { clock, head, append } = setup({ seriesMax: 5000 });
  const sum = () => {
    const { label_names, free_pages, ...parts } = head.memoryParts();
    return Object.values(parts).reduce((a, b) => a + b);
  };
  const empty = head.memoryParts();
  t.match(empty, { chunks: 0, symbols: 0, histograms: 0, free_pages: 0 });
  t.equal(sum(), head.stats().bytes);
  const refs = Array.from({ length: 2000 }, (_, i) => head.series(labelsFromObject({ __name__: 'm', pod: `p-${i}` })));
  for (let i = 0; i < 60; i++) {
    clock.advance(60_000);
    for (const ref of refs) append(ref, clock.nowMs(), Math.random());
  }
  const full = head.memoryParts();
  t.equal(sum(), head.stats().bytes);
  t.ok(full.chunks >= 60 * 2000 * 6, `${full.chunks} bytes of chunks`);
  t.ok(full.symbols >= 2000 * 16 && full.label_sets >= 2000 * 8 && full.label_pairs >= 2000 * 64);
  t.ok(full.series_records >= 2000 * layout.RECORD_BYTES);
  t.equal(full.histograms, 0);
  head.appendHistogram(refs[0]!, clock.nowMs() + 1, new Uint8Array(50), Number.NaN);
  t.ok(head.memoryParts().histograms > 0);
  clock.advance(4 * HOUR);
  head.enforceRetention();
  const later = head.memoryParts();
  t.ok(later.free_pages >= full.chunks, 'what was given back waits to be used again');
  t.match(later, { chunks: 0, histograms: 0 });
  t.equal(sum(), head.stats().bytes);
  t.end();
});

test('tables grow without losing anybody', async (t) => {
  const { clock, head, append } = setup({ seriesMax: 40_000, memoryBytes: 64 * 2 ** 20 });
  const refs = new Map<number, SeriesRef>();
  for (let pod = 0; pod < 30_000; pod++) {
    const ref = head.series(labelsOf(pod));
    refs.set(pod, ref);
    append(ref, T0, pod);
    // Look at the memory while tables are being moved, too.
    if ([6200, 6500, 12_400, 12_900, 24_700, 25_500].includes(pod)) {
      for (const [known, wanted] of refs) if (head.series(labelsOf(known)) !== wanted) t.fail(`lost pod ${known}`);
    }
  }
  for (const [known, wanted] of refs) if (head.series(labelsOf(known)) !== wanted) t.fail(`lost pod ${known}`);
  t.equal(head.stats().series, 30_000);
  clock.advance(2 * HOUR);
  head.enforceRetention();
  t.equal(head.stats().series, 0);
  t.strictSame(head.labelNames(ALL), []);
  head.verify();
});

test('cardinality counts what is there', async (t) => {
  const { clock, head, append } = setup({ seriesMax: 70_000, memoryBytes: 64 * 2 ** 20 });
  for (let pod = 0; pod < 3000; pod++) append(head.series(labelsOf(pod)), T0, pod);
  clock.advance(2 * HOUR);
  for (let pod = 2990; pod < 70_000; pod++) append(head.series(labelsOf(pod)), clock.nowMs(), pod);
  head.enforceRetention();
  const walk = head.walkCardinality(4);
  let slices = 1;
  let report = walk.slice();
  for (; report === null; report = walk.slice()) slices++;
  t.ok(slices > 1, `${slices} slices`);
  t.strictSame(report, head.cardinality(4));
  const { bytesByLabelName, ...counts } = report;
  const top = (value: number, ...names: string[]) => names.map((name) => ({ name, value }));
  t.strictSame(counts, {
    series: 67_010,
    labelPairs: 67_010 + 1 + 5 + 3,
    chunks: 0,
    seriesByMetricName: top(13_402, 'metric_0', 'metric_1', 'metric_2', 'metric_3'),
    valuesByLabelName: [...top(67_010, 'pod'), ...top(5, '__name__'), ...top(3, 'zone'), ...top(1, 'job')],
    seriesByLabelPair: [...top(67_010, 'job=api'), ...top(22_337, 'zone=z0', 'zone=z2'), ...top(22_336, 'zone=z1')],
  });
  t.equal(bytesByLabelName[0]!.name, 'pod');
  t.ok(bytesByLabelName[0]!.value > 67_010 * 85 && bytesByLabelName[0]!.value < 67_010 * 100);
});

test('addresses above 2 GiB are addresses', async (t) => {
  // So many records that the heap begins behind 2 GiB; nothing of it is touched.
  const { clock, head, append } = setup({ seriesMax: 34_000_000, memoryBytes: 4 * 2 ** 30 });
  for (let pod = 0; pod < 300; pod++) append(head.series(labelsOf(pod)), T0, pod);
  for (let pod = 0; pod < 300; pod++) append(head.series(labelsOf(pod)), T0 + 15_000, pod + 0.5);
  for (let pod = 0; pod < 300; pod++) t.equal(append(head.series(labelsOf(pod)), T0 + 7000, -1), APPENDED.stored);
  const blob = Uint8Array.of(1, 2, 3);
  t.equal(head.appendHistogram(head.series(labelsOf(1)), T0 + 20_000, blob, T0 - 5), APPENDED.stored);
  t.equal(head.appendHistogram(head.series(labelsOf(1)), T0 + 18_000, blob, T0 - 7), APPENDED.stored);
  const body = encodeWriteRequest([
    {
      labels: { __name__: 'metric_0', job: 'api', pod: 'pod-0', zone: 'z0' },
      samples: [{ timestampMs: T0 + 1, value: 1 }],
    },
  ]);
  t.equal(head.writeRemoteWrite(body, 1).stored, 1);
  const selection = head.select({
    ...ALL,
    matchers: [
      { type: '=~', name: 'pod', value: 'pod-1.*' },
      { type: '=', name: 'zone', value: 'z1' },
    ],
  });
  t.equal(selection.count, 39);
  t.equal(labelValue(selection.labels(0), 'zone'), 'z1');
  t.equal(selection.labelText(selection.labelCodes('zone')[0]!), 'z1');
  t.strictSame(selection.readHistograms(0, 0, T0 * 2), {
    timesMs: Float64Array.of(T0 + 18_000, T0 + 20_000),
    blobs: [blob, blob],
    before: null,
  });
  const starts = new Float64Array(3);
  t.ok(selection.readStarts(0, Float64Array.of(T0 + 15_000, T0 + 18_000, T0 + 20_000), 3, starts));
  t.strictSame([...starts], [0, T0 - 7, T0 - 5]);
  const into = new SampleBuffer(1);
  t.equal(selection.read(0, 0, T0 * 2, into), 3);
  t.strictSame([...into.timesMs.subarray(0, 3)], [T0, T0 + 7000, T0 + 15_000]);
  selection.freeze();
  t.equal(selection.read(0, T0, T0 * 2, into), 2);
  selection.close();
  t.strictSame(head.labelValues('zone', ALL), ['z0', 'z1', 'z2']);
  clock.advance(2 * HOUR);
  head.enforceRetention();
  t.equal(head.stats().series, 0);
  t.strictSame(head.labelNames(ALL), []);
});

test('long and sparse histories are read whole', async (t) => {
  const { clock, head, append } = setup({ retentionMs: 90 * 24 * HOUR, memoryBytes: 48 * 2 ** 20 });
  const long = head.series(['__name__', 'long']);
  for (let i = 0; i < 80_000; i++) append(long, T0 - 80_000_000 + i * 1000, i * 1.37);
  const into = new SampleBuffer(1);
  const selection = head.select({ ...ALL, matchers: [{ type: '=', name: '__name__', value: 'long' }] });
  t.equal(selection.read(0, 0, T0, into), 80_000);
  t.equal(into.timesMs[0], T0 - 80_000_000);
  t.equal(into.values[79_999], 79_999 * 1.37);
  t.equal(into.values[12_345], 12_345 * 1.37);
  t.equal(selection.samplesMax, 80_000);
  selection.close();
  const sparse = head.series(['__name__', 'sparse']);
  const times = [0, 40, 41, 41.5, 80].map((days) => T0 + days * 24 * HOUR);
  for (const time of times) {
    clock.set(time);
    t.equal(append(sparse, time, time), APPENDED.stored);
  }
  t.equal(append(sparse, T0 + 79.999 * 24 * HOUR, 1), APPENDED.stored, 'out of order behind a long gap');
  const found = head.select({ ...ALL, matchers: [{ type: '=', name: '__name__', value: 'sparse' }] });
  t.equal(found.read(0, 0, T0 * 2, into), 6);
  t.strictSame([...into.timesMs.subarray(0, 4)], times.slice(0, 4));
  found.close();
  head.verify();
});

test('steps of every size between repetitions of every number, in rhythm and out of it', async (t) => {
  const { clock, head, append } = setup({ retentionMs: 24 * HOUR, periodMs: 10 * 60_000, memoryBytes: 48 * 2 ** 20 });
  const ref = head.series(labelsOf(1));
  const steps = [-4096, -18, -17, -16, -15, -1, 0.5, 1, 2, 110, 111, 112, 113, 127, 128, 4096, 2 ** 40, Number.NaN, -0];
  const times: number[] = [];
  const values: number[] = [];
  // Runs of up to 71 samples are past the longest one; what comes every 100 ms fills cells and turns periods.
  for (let turn = 0; turn < 1500; turn++) {
    const step = steps[(turn * 7) % steps.length]!;
    const before = values.at(-1) ?? 0;
    const value = step === 0 || Number.isNaN(step) ? step : (Number.isNaN(before) ? 0 : before) + step;
    for (let repeats = turn % 3 === 0 ? (turn * 31) % 71 : turn % 2; repeats >= 0; repeats--) {
      times.push((times.at(-1) ?? T0) + (turn % 40 === 39 ? 1007 : 1000));
      values.push(value);
      clock.set(times.at(-1)!);
      if (append(ref, times.at(-1)!, value) !== APPENDED.stored) t.fail(`sample ${times.length} was not stored`);
    }
  }
  head.verify();
  const into = new SampleBuffer(1);
  const selection = head.select(ALL);
  t.equal(selection.read(0, 0, T0 * 2, into), times.length);
  t.strictSame([...into.timesMs.subarray(0, times.length)], times);
  const differ = values.findIndex((value, i) => !Object.is(value, into.values[i]));
  t.equal(differ, -1, 'every value came back');
  selection.close();
});

test('histograms of any size and number are read whole', async (t) => {
  const { clock, head } = setup({ retentionMs: 10 * HOUR });
  const ref = head.series(['__name__', 'h']);
  const blobOf = (i: number) => new Uint8Array(i % 1000 === 0 ? layout.HISTOGRAM_BYTES_MAX : i % 40).fill(i);
  for (let i = 0; i < 33_000; i++) head.appendHistogram(ref, T0 - 33_000_000 + i * 1000, blobOf(i % 1001), 0);
  head.verify();
  const selection = head.select(ALL);
  t.equal(selection.samplesMax >= 33_000, true);
  const { timesMs, blobs, before } = selection.readHistograms(0, T0 - 32_900_000, T0);
  t.equal(blobs.length, 32_899);
  t.equal(timesMs[0], T0 - 32_899_000);
  t.equal(
    blobs.findIndex((blob, k) => Buffer.compare(blob, blobOf((k + 101) % 1001)) !== 0),
    -1,
  );
  t.equal(before?.length, 100 % 40);
  selection.close();
  t.throws(() => head.appendHistogram(ref, T0, new Uint8Array(layout.HISTOGRAM_BYTES_MAX + 1)), { code: 'bad_body' });
  clock.advance(11 * HOUR);
  head.enforceRetention();
  t.equal(head.stats().series, 0);
  head.verify();
});

/** The rate family over samples that were read, by the engine's own functions. */
function plainRate(
  kind: RateKind,
  selection: KernelSelection,
  i: number,
  endMs: number,
  rangeMs: number,
): number | null {
  const into = new SampleBuffer(1);
  const count = selection.read(i, endMs - rangeMs, endMs, into);
  const timesMs: number[] = [];
  const values: number[] = [];
  for (let k = 0; k < count; k++) {
    if (into.isStale(k)) continue;
    timesMs.push(into.timesMs[k]!);
    values.push(into.values[k]!);
  }
  if (values.length < 2) return null;
  const window = {
    timesMs: Float64Array.from(timesMs),
    values: Float64Array.from(values),
    lo: 0,
    hi: values.length,
    startMs: endMs - rangeMs,
    endMs,
    absent: false,
  };
  return RATE_KERNELS.get(kind)!.run(window as never);
}

const NASTY = [Number.NaN, Infinity, -Infinity, -5, 0, -0, 1e308, 5e-324];

/** 200 series: pods of a target share their times; values fall, stand still, are nasty now and then, or stale. */
function fillWindows({ head, append }: ReturnType<typeof setup>): void {
  for (let pod = 0; pod < 200; pod++) {
    const ref = head.series(labelsOf(pod));
    let value = pod % 4;
    for (let i = 0; i < 40; i++) {
      const timestampMs = T0 - 600_000 + i * 15_000 + ((Math.floor(pod / 3) * 7) % 5) * 1100;
      if ((i * 13 + pod) % 23 === 0) head.append(ref, timestampMs, STALE_NAN_LOW, STALE_NAN_HIGH);
      else {
        value = (i + pod) % (5 + (pod % 20)) === 0 ? 0.25 : value + ((i * pod) % 9) * 0.1;
        if (!Number.isFinite(value)) value = 1;
        if ((i * 7 + pod * 3) % 61 === 0) value = NASTY[(i + pod) % NASTY.length]!;
        append(ref, timestampMs, value);
      }
    }
  }
}

test('windows give what the engine computes from the same samples', async (t) => {
  const store = setup();
  fillWindows(store);
  const selection = store.head.select(ALL);
  const result = (steps: number) => ({
    values: new Float64Array(200 * steps),
    present: new Uint8Array(200 * steps),
    samples: 0,
    newestMs: 0,
  });
  const f = (kind: RateKind, steps: number, rangeMs: number): void => {
    const got = result(steps);
    const windows = { firstEndMs: T0 - 400_000, stepMs: 60_000, steps, rangeMs };
    t.equal(selection.rates(kind, 0, 200, windows, got), true);
    let wrong = 0;
    for (let at = 0; at < 200 * steps; at++) {
      const [i, k] = [Math.floor(at / steps), at % steps];
      const wanted = plainRate(kind, selection, i, T0 - 400_000 + k * 60_000, rangeMs);
      if (!Object.is(got.present[at] === 1 ? got.values[at]! : null, wanted)) wrong++;
    }
    t.equal(wrong, 0, `${kind} of ${rangeMs} ms, ${steps} steps, ${selection.isFrozen ? 'copies' : 'records'}`);
    const read = samplesIn(selection, T0 - 400_000 - rangeMs, T0 - 400_000 + (steps - 1) * 60_000);
    t.strictSame([got.samples, got.newestMs], read);
  };
  for (const isFrozen of [false, true]) {
    if (isFrozen) selection.freeze();
    for (const kind of ['rate', 'increase', 'delta'] as const) {
      f(kind, 5, 90_000);
      f(kind, 1, 16_000);
      f(kind, 1, 60_000);
      f(kind, 1, 1_000_000);
    }
    const got = result(1);
    selection.lastValues(0, 200, T0 - 100_000, 20_000, got);
    const into = new SampleBuffer(1);
    let wrong = 0;
    for (let i = 0; i < 200; i++) {
      const count = selection.read(i, T0 - 120_000, T0 - 100_000, into);
      const wanted = count === 0 || into.isStale(count - 1) ? null : into.values[count - 1]!;
      if (!Object.is(got.present[i] === 1 ? got.values[i]! : null, wanted)) wrong++;
    }
    t.equal(wrong, 0, 'last values');
    t.equal(
      got.samples,
      got.present.reduce((sum, one) => sum + one, 0),
    );
    t.ok(got.newestMs > T0 - 120_000 && got.newestMs <= T0 - 100_000);
  }
  selection.close();
});

/** Steps between the samples of a series that stands at its interval: as a counter of requests, a slow one, and worse. */
const STEPS: readonly ((i: number, pod: number) => number)[] = [
  (i, pod) => (i * 7 + pod) % 112,
  (i, pod) => Number((i * 5 + pod) % 3 === 0),
  (i, pod) => Number((i + pod) % 11 === 0) * 90,
  (i, pod) => ((i + pod) % 9 === 0 ? -16 : (i * 3) % 20),
  (i, pod) => ((i * pod) % 13 === 0 ? -14 : 15),
  (i, pod) => ((i + pod) % 10 === 0 ? 400 : 111),
  (i, pod) => ((i + pod) % 17 === 0 ? 0.5 : 2),
  () => 0,
];
const BEGINNINGS = [0, 1, -0, -40, 0.1, -500.1, 1e6, 2 ** 52 - 700, 2 ** 53 - 300, 1e300];

test('windows up to the newest sample are right as series grow', async (t) => {
  const { clock, head, append } = setup();
  const rounds = 90;
  const pods = STEPS.length * BEGINNINGS.length * 2;
  const refs = Array.from({ length: pods }, (_, pod) => head.series(labelsOf(pod)));
  const values = refs.map((_, pod) => BEGINNINGS[pod % BEGINNINGS.length]!);
  const got = { values: new Float64Array(pods), present: new Uint8Array(pods), samples: 0, newestMs: 0 };
  for (let round = 0; round < rounds; round++) {
    clock.advance(15_000);
    const timeMs = clock.nowMs();
    refs.forEach((ref, pod) => {
      // Half of them begin late, and one in 40 samples is missing in some.
      if (pod >= pods / 2 && (round < pod % 40 || (round * 3 + pod) % 40 === 0)) return;
      append(ref, timeMs - (pod % 5) * 1000, values[pod]!);
      values[pod]! += STEPS[pod % STEPS.length]!(round, pod);
    });
    const selection = head.select({ ...ALL, fromMs: timeMs - HOUR, toMs: timeMs });
    if (round % 7 === 0) selection.freeze();
    for (const rangeMs of [31_000, 60_000, 121_000, 300_000]) {
      for (const kind of ['rate', 'delta'] as const) {
        const windows = { firstEndMs: timeMs, stepMs: 0, steps: 1, rangeMs };
        t.equal(selection.rates(kind, 0, selection.count, windows, got), true);
        let wrong = 0;
        for (let i = 0; i < selection.count; i++) {
          const wanted = plainRate(kind, selection, i, timeMs, rangeMs);
          if (!Object.is(got.present[i] === 1 ? got.values[i]! : null, wanted)) wrong++;
        }
        if (wrong > 0) t.fail(`${wrong} wrong: ${kind} of ${rangeMs} ms, round ${round}`);
        if (rangeMs === 60_000)
          t.strictSame([got.samples, got.newestMs], samplesIn(selection, timeMs - rangeMs, timeMs));
      }
    }
    selection.close();
    if (round > 40 && round % 20 === 0) head.enforceRetention();
  }
  head.verify();
});

/** Number of samples that are no stale markers, and the newest of them. */
function samplesIn(selection: KernelSelection, fromMs: number, toMs: number): [number, number] {
  const into = new SampleBuffer(1);
  let samples = 0;
  let newestMs = -Infinity;
  for (let i = 0; i < selection.count; i++) {
    const count = selection.read(i, fromMs, toMs, into);
    for (let k = 0; k < count; k++) {
      if (into.isStale(k)) continue;
      samples++;
      newestMs = Math.max(newestMs, into.timesMs[k]!);
    }
  }
  return [samples, newestMs];
}

test('subscribed series are noted when they get samples', async (t) => {
  const { head, append } = setup();
  const a = head.series(labelsOf(1));
  const b = head.series(labelsOf(2));
  head.subscribe(a, true);
  append(a, T0, 1);
  append(b, T0, 1);
  append(a, T0, 1);
  t.strictSame(head.takeTouched(), [a]);
  t.strictSame(head.takeTouched(), []);
  for (let i = 1; i <= layout.RING + 1; i++) append(a, T0 + i, i);
  t.equal(head.takeTouched(), null, 'more than the ring holds');
  head.subscribe(a, false);
  append(a, T0 + 9000, 1);
  t.strictSame(head.takeTouched(), []);
});

test('large selections that are open have ids of their own, and those that are closed have none', async (t) => {
  const { clock, head, append } = setup();
  const refs = Array.from({ length: 18_000 }, (_, pod) => head.series(labelsOf(pod)));
  for (const ref of refs) append(ref, clock.nowMs(), ref);
  const select = (zone: string) => {
    const slices = head.selectSlices({ ...ALL, matchers: [{ name: 'zone', type: '=', value: zone }] });
    for (;;) {
      const step = slices.next();
      if (step.done) return step.value;
    }
  };
  const idsOf = (selection: KernelSelection) => Array.from({ length: selection.count }, (_, i) => selection.ref(i));
  const wanted = [0, 1, 2].map((zone) => refs.filter((_, pod) => pod % 3 === zone));
  let known: object | null = null;
  for (let round = 0; round < 3; round++) {
    const open = wanted.map((_, zone) => select(`z${zone}`));
    t.strictSame(open.map(idsOf), wanted);
    open[1]!.close();
    const again = select('z1');
    t.strictSame(idsOf(again), wanted[1]);
    t.strictSame(idsOf(open[2]!), wanted[2]);
    t.not(open[0]!.identity(), open[2]!.identity());
    t.equal(again.identity(), known ?? again.identity(), 'known again');
    known = again.identity();
    for (const selection of [...open, again]) selection.close();
    t.throws(() => open[0]!.ref(0), /closed/);
  }
  // One that nobody waits for any more gives back what it has so far.
  const abandoned = head.selectSlices(ALL);
  abandoned.next();
  abandoned.return(undefined as never);
  t.strictSame(idsOf(select('z2')), wanted[2]);
});

test('a selection that nobody closes holds retention up only for a while', async (t) => {
  const { clock, head, append } = setup();
  append(head.series(labelsOf(1)), T0, 1);
  const selection = head.select(ALL);
  clock.advance(HOUR);
  const other = head.select({ ...ALL });
  t.equal(head.retentionSlice(), false, 'the second one holds it up');
  t.throws(() => selection.labels(0), /closed/);
  other.close();
  head.enforceRetention();
  t.equal(head.stats().series, 0);
});

test('the README says what the layout says', async (t) => {
  const readme = readFileSync(new URL('../../src/tsdb/kernel/README.md', import.meta.url), 'utf8');
  const constants = layout as unknown as Record<string, number>;
  const rows = [...readme.matchAll(/^\| `([A-Z_0-9]+)` \| (\d+) \|/gm)];
  t.ok(rows.length > 15, `${rows.length} constants`);
  for (const [, name = '', value] of rows) t.equal(Number(value), constants[name], name);
});
