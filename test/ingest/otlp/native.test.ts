/** Histograms of OTLP that become native ones: exponential ones, and those with explicit bounds where that is chosen. */
import { test } from 'tap';
import { CUSTOM_BUCKETS_SCHEMA, decodeHistogram, isStaleHistogram } from '../../../src/model/histogram.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { SCOPE_ALL } from '../../../src/model/scope.ts';
import type { KernelHead } from '../../../src/tsdb/kernel-head.ts';
import { encodeExportRequest, type MetricToEncode, type PointToEncode } from '../../support/otlp-encoder.ts';
import { bench, NOW_MS } from '../support.ts';

const time = NOW_MS;

/** The only series of a head, its histograms and their start timestamps. */
function histograms(head: KernelHead) {
  const selection = head.select({ matchers: [], fromMs: -Infinity, toMs: Infinity, scope: SCOPE_ALL });
  const { timesMs, blobs } = selection.readHistograms(0, -Infinity, Infinity);
  const starts = new Float64Array(timesMs.length);
  selection.readStarts(0, timesMs, timesMs.length, starts);
  const labels = [...selection.labels(0)];
  const read = Array.from(blobs, (blob, i) => {
    const { schema, count, sum, zeroCount, zeroThreshold, positive, negative, customValues } = decodeHistogram(blob);
    return {
      ...{ at: timesMs[i]! - NOW_MS, start: starts[i]! === 0 ? 0 : starts[i]! - NOW_MS, stale: isStaleHistogram(blob) },
      ...{ schema, count, sum, zeroCount, zeroThreshold },
      positive: [[...positive.spans], [...positive.counts]],
      negative: [[...negative.spans], [...negative.counts]],
      customValues: [...customValues],
    };
  });
  const { count } = selection;
  selection.close();
  return { labels, count, read };
}

const exponential = (...points: Partial<PointToEncode>[]): MetricToEncode => ({
  name: 'latency',
  unit: 's',
  kind: 'exponential_histogram',
  points: points.map((point) => ({ time, ...point })),
});

function storeOne(metric: MetricToEncode, otlp = {}) {
  const { writer, head } = bench({ otlp });
  const outcome = writer.otlp(encodeExportRequest([{ metrics: [metric] }]));
  return { outcome, head };
}

test('exponential histograms become native ones', (t) => {
  const f = (point: Partial<PointToEncode>, want: object): void => {
    for (const unpacked of [false, true]) {
      const { outcome, head } = storeOne(exponential({ ...point, unpacked }));
      t.equal(outcome.message, '');
      const { labels, count, read } = histograms(head);
      t.strictSame([labels, count, read.length], [['__name__', 'latency_seconds'], 1, 1]);
      t.match(read[0], { at: 0, stale: false, zeroThreshold: 1e-128, ...want });
    }
  };
  // Bucket i of OTLP is bucket i + 1 of a native histogram.
  f(
    { count: 6, sum: 9.5, scale: 1, zeroCount: 1, positive: { offset: -1, counts: [2, 3] } },
    {
      schema: 1,
      count: 6,
      sum: 9.5,
      zeroCount: 1,
      positive: [
        [0, 2],
        [2, 3],
      ],
    },
  );
  f(
    { count: 3, sum: -3, negative: { offset: 2, counts: [3] } },
    { schema: 0, count: 3, sum: -3, positive: [[], []], negative: [[3, 1], [3]] },
  );
  // A gap of up to two empty buckets stays inside a span; empty ends do not count.
  f(
    { count: 4, positive: { offset: 0, counts: [0, 1, 0, 0, 1, 0, 0, 0, 2, 0] } },
    {
      count: 4,
      sum: 0,
      positive: [
        [2, 4, 3, 1],
        [1, 0, 0, 1, 2],
      ],
    },
  );
  // Scale 10 to 8: four neighbours become one; with negative indexes they are rounded down.
  f(
    { count: 36, scale: 10, positive: { offset: -3, counts: [1, 2, 3, 4, 5, 6, 7, 8] } },
    {
      schema: 8,
      positive: [
        [0, 3],
        [6, 22, 8],
      ],
    },
  );
  f(
    { count: 2, scale: 20, positive: { offset: -1, counts: [1, 1] } },
    {
      schema: 8,
      positive: [
        [0, 2],
        [1, 1],
      ],
    },
  );
  f({ count: 0 }, { schema: 0, count: 0, sum: 0, positive: [[], []] });
  f({ count: 2n ** 53n - 1n, scale: -4, positive: { offset: 0, counts: [2n ** 53n - 1n] } }, { schema: -4 });
  t.end();
});

test('exponential histograms that cannot be native ones are refused', (t) => {
  const f = (point: Partial<PointToEncode>, message: RegExp): void => {
    const { outcome, head } = storeOne(exponential(point));
    t.equal(outcome.samplesRefused, 1);
    t.match(outcome.message, message);
    t.equal(head.stats().series, 0);
  };
  f({ count: 1, scale: -5, positive: { offset: 0, counts: [1] } }, /scale below -4/);
  f({ count: 3, positive: { offset: 0, counts: [1] } }, /do not fit together/);
  f({ count: 1, positive: { offset: 2 ** 31 - 1, counts: [1] } }, /do not fit together/);
  f({ count: 0, positive: { offset: 0, counts: Array(LIMITS.bucketsPerPointMax + 1).fill(0) } }, /too many buckets/);
  f({ count: 1, time: 0 }, /without a timestamp/);
  t.end();
});

test('a point without a recorded value is a stale histogram; the start comes with it', (t) => {
  const points = [
    { start: time - 5000, count: 1, positive: { offset: 0, counts: [1] } },
    { time: time + 1000, flags: 1 },
  ];
  const { read } = histograms(storeOne(exponential(...points)).head);
  t.match(read, [
    { at: 0, start: -5000, stale: false },
    { at: 1000, start: 0, stale: true },
  ]);
  t.end();
});

test('histograms with explicit bounds as custom buckets', (t) => {
  const f = (point: Partial<PointToEncode>, want: object): void => {
    const metric: MetricToEncode = { name: 'h', kind: 'histogram', points: [{ time, ...point }] };
    const { outcome, head } = storeOne(metric, { convertHistogramsToNhcb: true });
    t.equal(outcome.message, '');
    t.match(histograms(head).read[0], { schema: CUSTOM_BUCKETS_SCHEMA, zeroThreshold: 0, ...want });
  };
  f(
    { count: 6, sum: 7, bucketCounts: [0, 2, 0, 4], explicitBounds: [0.5, 1, 2] },
    {
      count: 6,
      sum: 7,
      positive: [
        [1, 3],
        [2, 0, 4],
      ],
      customValues: [0.5, 1, 2],
    },
  );
  f({ count: 3 }, { count: 3, positive: [[0, 1], [3]], customValues: [] });
  f({ count: 0, bucketCounts: [0, 0], explicitBounds: [1] }, { count: 0, positive: [[], []], customValues: [1] });
  f({ flags: 1 }, { stale: true });
  t.end();
});
