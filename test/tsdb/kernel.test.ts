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
  const { clock, head, append } = setup();
  const bytes: number[] = [];
  for (let hour = 0, pod = 0; hour < 14; hour++) {
    // 1,500 series an hour, none of which lives longer than the hour, with values that take room.
    const refs = Array.from({ length: 1500 }, () => head.series(labelsOf(pod++)));
    for (let minute = 0; minute < 60; minute += 2) {
      clock.advance(2 * 60_000);
      for (const ref of refs) append(ref, clock.nowMs(), Math.sin(ref + minute) * 1e6);
      if (minute % 20 === 0) head.enforceRetention();
    }
    head.enforceRetention();
    head.verify();
    bytes.push(head.stats().bytes);
  }
  const later = bytes.slice(5);
  t.ok(Math.max(...later) <= Math.min(...later) + 4 * layout.PAGE_BYTES, `bytes from hour 5 on: ${later.join(' ')}`);
  t.equal(head.stats().seriesCreated, 14 * 1500);
  t.ok(head.stats().series <= 3100);
  t.equal(head.labelValues('pod', { ...ALL, fromMs: clock.nowMs() - HOUR }).length, 1500);
});

test('at the limit of memory new series are refused and known series go on', async (t) => {
  const { clock, head, append } = setup({ seriesMax: 60_000, memoryBytes: 36 * 2 ** 20 });
  const refs: SeriesRef[] = [];
  const create = (): string | null => {
    try {
      refs.push(head.series(labelsFromObject({ __name__: 'm', unique: `value-${refs.length}-${'x'.repeat(900)}` })));
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
  for (let minute = 0; minute < 90; minute++) {
    clock.advance(60_000);
    for (const ref of refs) if (append(ref, clock.nowMs(), Math.random()) === APPENDED.stored) stored++;
    if (minute % 30 === 0) head.verify();
  }
  t.equal(stored, 90 * refs.length, 'every sample of a known series was taken');
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

test('addresses above 2 GiB are addresses', async (t) => {
  // So many records that the heap begins behind 2 GiB; nothing of it is touched.
  const { clock, head, append } = setup({ seriesMax: 34_000_000, memoryBytes: 4 * 2 ** 30 });
  for (let pod = 0; pod < 300; pod++) append(head.series(labelsOf(pod)), T0, pod);
  for (let pod = 0; pod < 300; pod++) append(head.series(labelsOf(pod)), T0 + 15_000, pod + 0.5);
  for (let pod = 0; pod < 300; pod++) t.equal(append(head.series(labelsOf(pod)), T0 + 7000, -1), APPENDED.stored);
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

test('windows give what the engine computes from the same samples', async (t) => {
  const { head, append } = setup();
  for (let pod = 0; pod < 200; pod++) {
    const ref = head.series(labelsOf(pod));
    let value = pod;
    for (let i = 0; i < 40; i++) {
      const timestampMs = T0 - 600_000 + i * 15_000 + ((pod * 7) % 5);
      if ((i * 13 + pod) % 23 === 0) head.append(ref, timestampMs, STALE_NAN_LOW, STALE_NAN_HIGH);
      else {
        value = (i + pod) % 17 === 0 ? 0.25 : value + ((i * pod) % 9) * 0.1;
        append(ref, timestampMs, value);
      }
    }
  }
  const selection = head.select(ALL);
  const steps = 7;
  const result = {
    values: new Float64Array(200 * steps),
    present: new Uint8Array(200 * steps),
    samples: 0,
    newestMs: 0,
  };
  for (const isFrozen of [false, true]) {
    if (isFrozen) selection.freeze();
    for (const kind of ['rate', 'increase', 'delta'] as const) {
      t.equal(
        selection.rates(kind, 0, 200, { firstEndMs: T0 - 500_000, stepMs: 60_000, steps, rangeMs: 90_000 }, result),
        true,
      );
      let wrong = 0;
      for (let i = 0; i < 200; i++) {
        for (let k = 0; k < steps; k++) {
          const wanted = plainRate(kind, selection, i, T0 - 500_000 + k * 60_000, 90_000);
          const at = i * steps + k;
          const got = result.present[at] === 1 ? result.values[at]! : null;
          if (!Object.is(got, wanted)) wrong++;
        }
      }
      t.equal(wrong, 0, `${kind}, ${isFrozen ? 'copies' : 'records'}`);
    }
    selection.lastValues(0, 200, T0 - 100_000, 20_000, result);
    const into = new SampleBuffer(1);
    let wrong = 0;
    for (let i = 0; i < 200; i++) {
      const count = selection.read(i, T0 - 120_000, T0 - 100_000, into);
      const wanted = count === 0 || into.isStale(count - 1) ? null : into.values[count - 1]!;
      if (!Object.is(result.present[i] === 1 ? result.values[i]! : null, wanted)) wrong++;
    }
    t.equal(wrong, 0, 'last values');
  }
  selection.close();
});

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
