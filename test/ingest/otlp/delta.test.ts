/** Deltas: sums that survive reordering and repetition, their bounds, and the points as they came. */
import fc from 'fast-check';
import { test } from 'tap';
import { decodeHistogram } from '../../../src/model/histogram.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { SCOPE_ALL } from '../../../src/model/scope.ts';
import { encodeExportRequest, type MetricToEncode, type PointToEncode } from '../../support/otlp-encoder.ts';
import { type Bench, bench, dump, metric, NOW_MS, stored } from '../support.ts';

const delta = (...points: Partial<PointToEncode>[]): MetricToEncode => ({
  name: 'jobs',
  kind: 'sum',
  temporality: 'delta',
  monotonic: true,
  points: points.map((point) => ({ time: NOW_MS, value: 1n, ...point })),
});
/** The delta of the second before `second`. */
const at = (second: number, value: number) => ({
  start: NOW_MS + (second - 1) * 1000,
  time: NOW_MS + second * 1000,
  value,
});
const send = ({ writer }: Bench, resources: Parameters<typeof encodeExportRequest>[0]) =>
  writer.otlp(encodeExportRequest(resources));
const sendOne = (one: Bench, ...points: Partial<PointToEncode>[]) => send(one, [{ metrics: [delta(...points)] }]);
const lines = ({ head }: Bench) => dump(head);

test('deltas are added up, and kept as they came', (t) => {
  const one = bench();
  t.equal(sendOne(one, at(0, 3)).message, '');
  t.equal(sendOne(one, at(1, 4), { ...at(1, 10), attributes: { queue: 'a' } }).message, '');
  t.equal(sendOne(one, at(2, 0)).message, '');
  t.strictSame(lines(one), [
    'jobs_total 3@0 7@1000 7@2000',
    'jobs_total:delta 3@0 4@1000 0@2000',
    'jobs_total:delta{queue="a"} 10@1000',
    'jobs_total{queue="a"} 10@1000',
  ]);
  // The start of the sum is the start of its first point.
  const selection = one.head.select({
    matchers: [{ type: '=', name: '__name__', value: 'jobs_total' }],
    ...{ fromMs: -Infinity, toMs: Infinity, scope: SCOPE_ALL },
  });
  const i = [0, 1].find((index) => selection.labels(index).length === 2)!;
  const starts = new Float64Array(3);
  selection.readStarts(i, Float64Array.of(NOW_MS, NOW_MS + 1000, NOW_MS + 2000), 3, starts);
  t.strictSame([...starts], Array(3).fill(NOW_MS - 1000));
  selection.close();
  t.end();
});

test('without raw deltas there is the sum alone', (t) => {
  const one = bench({ otlp: { keepRawDeltas: false } });
  sendOne(one, at(0, 3));
  t.strictSame(lines(one), ['jobs_total 3@0']);
  t.end();
});

test('a late point is added right behind the newest sample, a repeated one is not added', (t) => {
  const one = bench();
  for (const point of [at(0, 1), at(2, 2), at(1, 4), at(2, 2), at(1, 4), at(3, 8)]) {
    t.strictSame(sendOne(one, point).message, '');
  }
  t.strictSame(lines(one)[0], 'jobs_total 1@0 3@2000 7@2001 15@3000');
  t.strictSame(lines(one)[1], 'jobs_total:delta 1@0 4@1000 2@2000 8@3000');
  t.end();
});

test('in any order and however often repeated, every delta is added once', (t) => {
  const seed = Date.now() & 0x7fffffff;
  t.comment(`seed ${seed}`);
  const values = fc.array(fc.nat(1000), { minLength: 1, maxLength: LIMITS.deltaPointsRememberedMax });
  const order = values.chain((list) =>
    fc.tuple(
      fc.constant(list),
      fc.shuffledSubarray([...list.keys()], { minLength: list.length }),
      fc.array(fc.nat(list.length - 1), { maxLength: 5 }),
    ),
  );
  fc.assert(
    fc.property(order, ([list, sequence, repeated]) => {
      const one = bench();
      for (const i of [...sequence, ...repeated]) sendOne(one, at(i, list[i]!));
      const { samples } = stored(one.head).find(({ labels }) => labels[1] === 'jobs_total')!;
      const numbers = samples.map(({ value }) => Number(value));
      const sum = list.reduce((total, value) => total + value, 0);
      return numbers.at(-1) === sum && numbers.every((value, i) => i === 0 || value >= numbers[i - 1]!);
    }),
    { seed, numRuns: 60 },
  );
  t.end();
});

test('deltas that are known by their bytes add up to the same', (t) => {
  const seed = Date.now() & 0x7fffffff;
  t.comment(`seed ${seed}`);
  const point = fc.record({
    attributes: fc.constantFrom({}, { queue: 'a' }, { queue: 'b' }, { queue: 'c', n: 7 }),
    // Late, repeated, too far in the future, without a value, the end of a series: mostly neither.
    offset: fc.constantFrom(0, 0, 0, 0, 0, 0, -1, -2, -40, 3600),
    start: fc.constantFrom(1, 1, 1, 2, 0),
    flags: fc.constantFrom(0, 0, 0, 0, 0, 1),
    exemplars: fc.constantFrom(0, 0, 0, 1),
    value: fc.constantFrom<number | bigint>(1, 2.5, 0, 7n, -3),
  });
  const body = fc.record({
    pod: fc.constantFrom('x', 'x', 'x', 'y'),
    isIdle: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
    isMonotonic: fc.boolean(),
    stamp: fc.constantFrom('', '', 'team'),
    points: fc.uniqueArray(point, { selector: ({ attributes }) => attributes, minLength: 1, maxLength: 4 }),
  });
  const settings = fc.record({ keepRawDeltas: fc.boolean() });
  let known = 0;
  fc.assert(
    fc.property(fc.array(body, { minLength: 4, maxLength: 30 }), settings, (bodies, otlp) => {
      let nowMs = NOW_MS;
      const [one, plain] = [0, 1].map(() => bench({ otlp, nowMs: () => nowMs })) as [Bench, Bench];
      for (const { pod, isIdle, isMonotonic, stamp, points } of bodies) {
        nowMs += isIdle ? LIMITS.deltaIdleMsMax + 1000 : 1000;
        for (const each of [one, plain]) each.advance(isIdle ? LIMITS.deltaIdleMsMax + 1000 : 1000);
        const timed = points.map(({ offset, start, ...rest }) => {
          const time = nowMs + offset * 1000;
          return { ...rest, time, start: start === 0 ? 0 : time - start * 1000 };
        });
        const sum = { ...delta(...timed), monotonic: isMonotonic, name: isMonotonic ? 'jobs' : 'busy' };
        const resource = { attributes: { 'k8s.pod.uid': pod }, metrics: [sum] };
        const before = metric(one.registry, 'tidegauge_otlp_identities') ?? 0;
        const got = one.writer.otlp(encodeExportRequest([resource]), stamp);
        const want = plain.writer.otlp(encodeExportRequest([{ ...resource, unknownField: true }]), stamp);
        if (metric(one.registry, 'tidegauge_otlp_identities') === before && before > 0) known++;
        if (got.samplesRefused !== want.samplesRefused || got.samplesStored !== want.samplesStored)
          throw new Error(`${JSON.stringify(got)} instead of ${JSON.stringify(want)}`);
      }
      one.head.verify();
      t.strictSame(stored(one.head), stored(plain.head));
    }),
    { seed, numRuns: 40 },
  );
  t.ok(known > 30, `${known} bodies brought nothing that was not known`);
  t.end();
});

test('two resources of the same labels add to one sum', (t) => {
  const one = bench();
  const from = (pod: string) => ({ attributes: { 'k8s.pod.uid': pod }, metrics: [delta(at(0, 5))] });
  t.equal(send(one, [from('a'), from('b')]).message, '');
  t.equal(send(one, [from('a'), from('b')]).message, '');
  t.strictSame(lines(one)[0], 'jobs_total 5@0 10@1');
  t.end();
});

test('a repeated delta is known again in a body of another layout', (t) => {
  const one = bench();
  const resource = (second: number, value: number) => ({
    attributes: { 'service.name': 's' },
    metrics: [delta(at(second, value))],
  });
  const before = { attributes: { filler: 'x'.repeat(300) }, metrics: [delta({ ...at(1, 1), attributes: { q: '1' } })] };
  for (const resources of [[resource(0, 1)], [before, resource(1, 2)], [resource(1, 2)]]) send(one, resources);
  t.strictSame(
    lines(one).find((line) => line.startsWith('jobs_total{job=')),
    'jobs_total{job="s", service_name="s"} 1@0 3@1000',
  );
  t.end();
});

test('what is remembered is bounded', (t) => {
  let nowMs = NOW_MS;
  const one = bench({ nowMs: () => nowMs });
  for (let i = 0; i <= LIMITS.deltaPointsRememberedMax; i++) sendOne(one, at(i, 1));
  t.match(sendOne(one, at(-1, 1)).message, /^delta point older than those that its sum still remembers/);
  t.equal(metric(one.registry, 'tidegauge_otlp_delta_series'), 1);
  // A series that was silent for long begins anew.
  nowMs += LIMITS.deltaIdleMsMax + 60_000;
  one.advance(LIMITS.deltaIdleMsMax + 60_000);
  sendOne(one, at(LIMITS.deltaIdleMsMax / 1000 + 60, 7));
  t.match(lines(one)[0], / 17@16000 7@360000$/);
  t.end();
});

test('a point that the store refuses is not added', (t) => {
  const one = bench();
  sendOne(one, at(0, 1));
  t.match(sendOne(one, at(3600, 5)).message, /too far in the future/);
  sendOne(one, at(1, 2));
  t.strictSame(lines(one)[0], 'jobs_total 1@0 3@1000');
  t.end();
});

test('gauges in disguise, stale points, no value', (t) => {
  const one = bench();
  const updown = { ...delta(at(0, 3), at(1, -5)), name: 'busy', monotonic: false };
  t.equal(send(one, [{ metrics: [updown] }]).message, '');
  t.equal(sendOne(one, at(0, 1), { time: NOW_MS + 1000, flags: 1 }).message, '');
  t.strictSame(lines(one), [
    'busy 3@0 -2@1000',
    'busy:delta 3@0 -5@1000',
    'jobs_total 1@0 stale@1000',
    'jobs_total:delta 1@0',
  ]);
  const empty = { ...delta(), points: [{ time: NOW_MS }] };
  t.match(send(one, [{ metrics: [empty] }]).message, /^data point without a value/);
  t.end();
});

test('histograms', (t) => {
  const one = bench();
  const histogram = (point: Partial<PointToEncode>): MetricToEncode => ({
    ...{ name: 'h', kind: 'histogram', temporality: 'delta' },
    points: [{ time: NOW_MS, ...point }],
  });
  const buckets = { count: 3, sum: 2.5, bucketCounts: [1, 2], explicitBounds: [1] };
  for (const second of [0, 1]) send(one, [{ metrics: [histogram({ ...at(second, 0), ...buckets })] }]);
  // Other bounds begin a new sum.
  send(one, [{ metrics: [histogram({ ...at(2, 0), count: 1, bucketCounts: [1, 0], explicitBounds: [2] })] }]);
  t.strictSame(lines(one), [
    'h_bucket{le="+Inf"} 3@0 6@1000 1@2000',
    'h_bucket{le="1"} 1@0 2@1000',
    'h_bucket{le="2"} 1@2000',
    'h_count 3@0 6@1000 1@2000',
    'h_count:delta 3@0 3@1000 1@2000',
    'h_sum 2.5@0 5@1000',
    'h_sum:delta 2.5@0 2.5@1000',
  ]);
  t.end();
});

test('exponential histograms of different scales', (t) => {
  const one = bench({ otlp: { keepRawDeltas: false } });
  const exponential = (point: Partial<PointToEncode>): MetricToEncode => ({
    ...{ name: 'e', kind: 'exponential_histogram', temporality: 'delta' },
    points: [{ time: NOW_MS, ...point }],
  });
  const first = { count: 4, sum: 1, scale: 1, zeroCount: 1, positive: { offset: 0, counts: [1, 1, 1] } };
  const second = { count: 5, sum: 2, scale: 0, positive: { offset: 1, counts: [2, 3] } };
  for (const point of [
    { ...at(0, 0), ...first },
    { ...at(1, 0), ...second },
  ])
    t.equal(send(one, [{ metrics: [exponential(point)] }]).message, '');
  const selection = one.head.select({ matchers: [], fromMs: -Infinity, toMs: Infinity, scope: SCOPE_ALL });
  const { blobs } = selection.readHistograms(0, -Infinity, Infinity);
  const { schema, count, sum, zeroCount, positive } = decodeHistogram(blobs[1]!);
  t.match({ schema, count, sum, zeroCount }, { schema: 0, count: 9, sum: 3, zeroCount: 1 });
  // Scale 1: [0, 1] → bucket 0, [2] → bucket 1; then bucket 1 and 2 are added.
  t.strictSame(
    [[...positive.spans], [...positive.counts]],
    [
      [1, 3],
      [2, 3, 3],
    ],
  );
  selection.close();
  t.end();
});
