import { test } from 'tap';
import { decodeHistogram, EMPTY_HISTOGRAM, encodeHistogram } from '../../src/model/histogram.ts';
import { labelsFromObject, labelsText, labelValue } from '../../src/model/labels.ts';
import type { Matcher } from '../../src/model/matcher.ts';
import { float64High, float64Low, SampleBuffer, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import type { Scope } from '../../src/model/scope.ts';
import { APPENDED, type Appended } from '../../src/tsdb/head.ts';
import { TestClock } from '../support/clock.ts';
import { PlainHead } from '../support/plain-head.ts';

const T0 = 1_700_000_000_000;
const HOUR = 3_600_000;

function setup(options: { seriesMax?: number } = {}) {
  const clock = new TestClock(T0);
  const head = new PlainHead({
    clock,
    retentionMs: 2 * HOUR,
    outOfOrderMsMax: 300_000,
    futureMsMax: 600_000,
    seriesMax: options.seriesMax ?? 1000,
  });
  const append = (labels: Record<string, string>, timestampMs: number, value: number): Appended =>
    head.append(head.series(labelsFromObject(labels)), timestampMs, float64Low(value), float64High(value));
  return { clock, head, append };
}

function select(head: PlainHead, matchers: readonly Matcher[], scope: Scope = null): string[] {
  const selection = head.select({ matchers, fromMs: 0, toMs: T0 + HOUR, scope });
  return Array.from({ length: selection.count }, (_, i) => labelsText(selection.labels(i))).sort();
}

function samples(head: PlainHead, name: string, fromMs = 0, toMs = T0 + HOUR): [number, number][] {
  const selection = head.select({
    matchers: [{ type: '=', name: '__name__', value: name }],
    fromMs,
    toMs,
    scope: null,
  });
  const into = new SampleBuffer(1);
  const count = selection.count === 0 ? 0 : selection.read(0, fromMs, toMs, into);
  return Array.from({ length: count }, (_, i) => [into.timesMs[i]!, into.values[i]!]);
}

test('a sample is stored, sorted, idempotent or refused with its reason', async (t) => {
  const { head, append, clock } = setup();
  const f = (timestampMs: number, value: number, want: Appended) =>
    t.equal(append({ __name__: 'm' }, timestampMs, value), want, `${timestampMs - T0} ${value}`);
  f(T0, 1, APPENDED.stored);
  f(T0 + 1000, 2, APPENDED.stored);
  f(T0 + 1000, 2, APPENDED.duplicate);
  f(T0 + 1000, 3, APPENDED.conflicting);
  f(T0 + 500, 1.5, APPENDED.stored);
  f(T0 - 299_000, 0, APPENDED.stored);
  f(T0 - 299_001, 0, APPENDED.outOfOrder);
  f(T0 + 600_000, 9, APPENDED.stored);
  f(T0 + 600_001, 9, APPENDED.tooFarAhead);
  f(T0 - 2 * HOUR, 9, APPENDED.tooOld);
  t.strictSame(samples(head, 'm'), [
    [T0 - 299_000, 0],
    [T0, 1],
    [T0 + 500, 1.5],
    [T0 + 1000, 2],
    [T0 + 600_000, 9],
  ]);
  t.strictSame(samples(head, 'm', T0, T0 + 500), [[T0 + 500, 1.5]], 'left-open, right-closed');
  clock.advance(1);
  t.equal(head.stats().samples, 5);
});

test('values keep their bits, the stale marker and -0 included', async (t) => {
  const { head } = setup();
  const ref = head.series(['__name__', 'm']);
  head.append(ref, T0, STALE_NAN_LOW, STALE_NAN_HIGH);
  head.append(ref, T0 + 1, float64Low(-0), float64High(-0));
  head.append(ref, T0 + 2, float64Low(Number.NaN), float64High(Number.NaN));
  const into = new SampleBuffer(1);
  const selection = head.select({ matchers: [], fromMs: 0, toMs: T0 + 10, scope: null });
  t.equal(selection.read(0, 0, T0 + 10, into), 3);
  t.equal(into.isStale(0), true);
  t.ok(Object.is(into.values[1], -0));
  t.equal(into.isStale(2), false);
  t.ok(Number.isNaN(into.values[2]));
});

test('selections match labels, scopes and time', async (t) => {
  const { head, append } = setup();
  append({ __name__: 'up', job: 'a', namespace: 'shop' }, T0, 1);
  append({ __name__: 'up', job: 'b', namespace: 'bank' }, T0, 1);
  append({ __name__: 'up', job: 'c' }, T0, 1);
  append({ __name__: 'old', job: 'a' }, T0 - HOUR, 1);
  const name = (value: string): Matcher => ({ type: '=', name: '__name__', value });
  const f = (matchers: Matcher[], want: string[], scope: Scope = null) =>
    t.strictSame(
      select(head, matchers, scope).map((text) => /job="(.)"/.exec(text)?.[1]),
      want,
    );
  f([name('up')], ['a', 'b', 'c']);
  f([name('up'), { type: '!=', name: 'job', value: 'a' }], ['b', 'c']);
  f([name('up'), { type: '=~', name: 'job', value: 'a|c' }], ['a', 'c']);
  f([name('up'), { type: '!~', name: 'job', value: 'a|c' }], ['b']);
  f([name('up'), { type: '=', name: 'namespace', value: '' }], ['c']);
  f([name('up'), { type: '=~', name: 'namespace', value: '.+' }], ['a', 'b']);
  f([name('up')], ['a'], ['shop']);
  f([name('nope')], []);
  const late = head.select({ matchers: [], fromMs: T0 - 1, toMs: T0, scope: null });
  t.equal(late.count, 3, 'a series without samples in the range is left out');
  t.equal(late.samplesMax, 3);
  t.strictSame(head.labelNames({ matchers: [], fromMs: 0, toMs: T0, scope: ['shop'] }), [
    '__name__',
    'job',
    'namespace',
  ]);
  t.strictSame(head.labelValues('job', { matchers: [name('up')], fromMs: 0, toMs: T0, scope: null }), ['a', 'b', 'c']);
  t.equal(head.hasMetric('old'), true);
  t.equal(head.hasMetric('nope'), false);
});

test('a selection is a snapshot', async (t) => {
  const { head, append } = setup();
  for (let i = 0; i < 16; i++) append({ __name__: 'm' }, T0 + i * 1000, i);
  const selection = head.select({ matchers: [], fromMs: 0, toMs: T0 + HOUR, scope: null });
  append({ __name__: 'm' }, T0 + 500, 0.5);
  append({ __name__: 'm' }, T0 + 99_000, 99);
  append({ __name__: 'n' }, T0, 1);
  const into = new SampleBuffer(1);
  t.equal(selection.count, 1);
  t.equal(selection.read(0, 0, T0 + HOUR, into), 16);
  t.equal(into.timesMs[1], T0 + 1000);
  t.equal(samples(head, 'm').length, 18);
});

test('retention drops samples, then series, and their refs are used again', async (t) => {
  const { head, append, clock } = setup({ seriesMax: 2 });
  append({ __name__: 'm', a: '1' }, T0, 1);
  append({ __name__: 'n' }, T0, 1);
  t.throws(() => append({ __name__: 'o' }, T0, 1), { code: 'series_limit' });
  clock.advance(HOUR);
  for (let i = 0; i < 4; i++) append({ __name__: 'm', a: '1' }, T0 + HOUR + i, 1);
  clock.advance(HOUR);
  head.enforceRetention();
  t.equal(head.hasMetric('n'), false);
  t.equal(head.stats().series, 1);
  clock.advance(HOUR / 2);
  head.enforceRetention();
  t.equal(head.stats().samples, 5, 'few old samples wait for company');
  append({ __name__: 'o' }, T0 + 2 * HOUR, 1);
  t.equal(head.stats().series, 2);
  t.strictSame(select(head, [{ type: '=', name: '__name__', value: 'n' }]), []);
  clock.advance(HOUR);
  head.enforceRetention();
  t.equal(head.hasMetric('m'), false);
  t.equal(
    labelValue(head.select({ matchers: [], fromMs: 0, toMs: T0 + 9 * HOUR, scope: null }).labels(0), '__name__'),
    'o',
  );
});

// ── Histograms and start timestamps ─────────────────────────────────────────────────────────────────────────────────

const blob = (count: number): Uint8Array => encodeHistogram({ ...EMPTY_HISTOGRAM, count });
const everything = { matchers: [], fromMs: 0, toMs: T0 + HOUR, scope: null };

function histograms(
  head: PlainHead,
  fromMs: number,
  toMs: number,
): { points: [number, number][]; before: number | null } {
  const selection = head.select(everything);
  const { timesMs, blobs, before } = selection.readHistograms(0, fromMs, toMs);
  return {
    points: blobs.map((bytes, i) => [timesMs[i]! - T0, decodeHistogram(bytes).count]),
    before: before === null ? null : decodeHistogram(before).count,
  };
}

test('a histogram is stored beside the floats of its series, sorted, idempotent or refused', async (t) => {
  const { head, append } = setup();
  const ref = head.series(labelsFromObject({ __name__: 'm' }));
  const f = (timestampMs: number, count: number, want: Appended) =>
    t.equal(head.appendHistogram(ref, timestampMs, blob(count)), want, `${timestampMs - T0} ${count}`);
  f(T0, 1, APPENDED.stored);
  f(T0 + 2000, 3, APPENDED.stored);
  f(T0 + 2000, 3, APPENDED.duplicate);
  f(T0 + 2000, 4, APPENDED.conflicting);
  f(T0 + 1000, 2, APPENDED.stored);
  f(T0 + 600_001, 9, APPENDED.tooFarAhead);
  f(T0 - 2 * HOUR, 9, APPENDED.tooOld);
  f(T0 - 298_001, 0, APPENDED.outOfOrder);
  t.equal(append({ __name__: 'm' }, T0 + 1000, 5), APPENDED.conflicting);
  t.equal(append({ __name__: 'm' }, T0 + 1500, 5), APPENDED.stored);
  f(T0 + 1500, 5, APPENDED.conflicting);
  t.strictSame(samples(head, 'm'), [[T0 + 1500, 5]]);
  const all: [number, number][] = [
    [0, 1],
    [1000, 2],
    [2000, 3],
  ];
  t.strictSame(histograms(head, 0, T0 + HOUR), { points: all, before: null });
  t.strictSame(histograms(head, T0, T0 + 1000), { points: [[1000, 2]], before: 1 });
  // A float lies between the last histogram and the one before it.
  t.strictSame(histograms(head, T0 + 1000, T0 + 2000), { points: [[2000, 3]], before: null });
  t.match(head.stats(), { samples: 4, samplesAppended: 4, minTimeMs: T0, maxTimeMs: T0 + 2000 });
});

test('a selection says whether it holds histograms, and keeps what it knew', async (t) => {
  const { head, append } = setup();
  append({ __name__: 'float' }, T0, 1);
  t.notOk(head.select(everything).anyHistograms);
  const ref = head.series(labelsFromObject({ __name__: 'histogram' }));
  head.appendHistogram(ref, T0, blob(1));
  const selection = head.select(everything);
  t.ok(selection.anyHistograms);
  const has = Array.from({ length: 2 }, (_, i) => [labelsText(selection.labels(i)), selection.hasHistograms(i)]);
  t.strictSame(has, [
    ['float', false],
    ['histogram', true],
  ]);
  head.appendHistogram(ref, T0 + 2000, blob(3));
  head.appendHistogram(ref, T0 + 1000, blob(2));
  t.strictSame([...selection.readHistograms(1, 0, T0 + HOUR).timesMs], [T0]);
  t.equal(head.select({ ...everything, fromMs: T0 + 1999 }).count, 1);
  t.equal(head.select({ ...everything, fromMs: T0 + 2000 }).count, 0);
});

test('start timestamps are kept with their samples, floats or histograms', async (t) => {
  const { head, append } = setup();
  append({ __name__: 'none' }, T0, 1);
  const ref = head.series(labelsFromObject({ __name__: 'some' }));
  head.append(ref, T0, float64Low(1), float64High(1), T0 - 5000);
  head.append(ref, T0 + 1000, float64Low(2), float64High(2));
  head.appendHistogram(ref, T0 + 2000, blob(1), T0 + 1500);
  const selection = head.select(everything);
  t.ok(selection.anyStarts);
  const into = new Float64Array(3);
  t.notOk(selection.readStarts(0, Float64Array.of(T0), 1, into));
  t.ok(selection.readStarts(1, Float64Array.of(T0, T0 + 1000, T0 + 2000), 3, into));
  t.strictSame([...into], [T0 - 5000, 0, T0 + 1500]);
});

test('histograms leave with retention, and take their series with them', async (t) => {
  const { head, clock } = setup();
  const ref = head.series(labelsFromObject({ __name__: 'm' }));
  const empty = head.stats().bytes;
  for (let i = 0; i < 4; i++) head.appendHistogram(ref, T0 + i * 1000, blob(i), T0 + i);
  clock.advance(2 * HOUR + 1500);
  head.enforceRetention();
  t.match(head.stats(), { series: 1, samples: 2, minTimeMs: T0 + 2000 });
  clock.advance(HOUR);
  head.enforceRetention();
  t.match(head.stats(), { series: 0, samples: 0, minTimeMs: null, maxTimeMs: null });
  t.ok(head.stats().bytes < empty);
});
