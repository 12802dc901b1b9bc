/** Remote-write 2.0 through the door of ingest: what is stored, what is refused and why, and what is kept beside the store. */
import snappy from 'snappyjs';
import { test } from 'tap';
import type { Reason } from '../../../src/ingest/reasons.ts';
import { decodeHistogram, isStaleHistogram } from '../../../src/model/histogram.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { SCOPE_ALL } from '../../../src/model/scope.ts';
import type { HistogramToEncode } from '../../support/histogram-encoder.ts';
import { encodeRequest, type LabelPairs, type Series2ToEncode } from '../../support/remote-write-2-encoder.ts';
import { encodeWriteRequest } from '../../support/remote-write-encoder.ts';
import { type Bench, bench, dump, metric, NOW_MS } from '../support.ts';

const UP: LabelPairs = [
  ['__name__', 'up'],
  ['job', 'a'],
];
const at = (offsetMs: number, value: number | 'stale' = 1) => ({ timestampMs: NOW_MS + offsetMs, value });

/** Histogram samples of everything in the store, each decoded, with its time relative to NOW_MS. */
function histograms({ head }: Bench) {
  const selection = head.select({ matchers: [], fromMs: 0, toMs: Infinity, scope: SCOPE_ALL });
  const all = Array.from({ length: selection.count }, (_, i) => {
    const { timesMs, blobs } = selection.readHistograms(i, 0, Infinity);
    return blobs.map((blob, k) => ({ blob, offsetMs: timesMs[k]! - NOW_MS, ...decodeHistogram(blob) }));
  }).flat();
  selection.close();
  return all;
}

test('the same series as by 1.0, whatever the order of its labels', (t) => {
  const one = bench();
  const outcome = one.writer.remoteWrite2(
    encodeRequest([
      { labels: UP, samples: [at(0), at(1000, 'stale')] },
      { labels: [...UP].reverse(), samples: [at(2000, 3)] },
      { labels: [...UP, ['empty', '']], samples: [at(3000, 4)] },
    ]),
  );
  t.match(outcome, { samplesStored: 4, histogramsStored: 0, exemplarsStored: 0, samplesRefused: 0 });
  one.writer.remoteWrite(encodeWriteRequest([{ labels: UP, samples: [at(4000, 5)] }]));
  t.strictSame(dump(one.head), ['up{job="a"} 1@0 stale@1000 3@2000 4@3000 5@4000']);
  t.equal(one.head.stats().series, 1);
  t.end();
});

test('refuses series and items by reason, and keeps the rest', (t) => {
  const f = (bad: Series2ToEncode, reason: Reason, count: number, text: string | RegExp): void => {
    const { writer, head, registry } = bench();
    const good: Series2ToEncode = { labels: UP, samples: [at(0)] };
    const outcome = writer.remoteWrite2(encodeRequest([good, bad]));
    t.equal(outcome.samplesRefused, count, reason);
    t.match(outcome.message, text);
    t.equal(
      metric(registry, `tidegauge_ingest_samples_refused_total{protocol="remote_write",reason="${reason}"}`),
      count,
    );
    t.ok(
      dump(head).some((line) => line.startsWith('up{job="a"} 1@0')),
      'the good one is stored',
    );
  };
  const samples = [at(1000), at(2000)];
  f({ labels: [['job', 'x']], samples }, 'missing_metric_name', 2, 'label set without a metric name: 2 refused');
  f({ labels: [...UP, ['job', 'b']], samples }, 'duplicate_label', 2, 'label name that occurs twice');
  f({ labels: [...UP, ['', 'b']], samples }, 'empty_label_name', 2, 'label with an empty name');
  f({ labels: UP, refs: [1, 2, 3], samples }, 'invalid_label_reference', 2, 'label reference without a symbol');
  f({ labels: UP, refs: [1, 2, 3, 77], samples }, 'invalid_label_reference', 2, /the first for up\{job="\?"\}/);
  f({ labels: UP, samples: [at(0, 9)] }, 'duplicate_timestamp', 1, 'duplicate sample for timestamp');
  f({ labels: UP, samples: [at(-LIMITS.outOfOrderMsMax - 1)] }, 'out_of_order', 1, 'the first for up{job="a"}');
  const histogram: HistogramToEncode = {
    timestampMs: NOW_MS + 1,
    count: 99,
    positiveSpans: [[0, 1]],
    positive: [1],
    sum: 1,
  };
  f({ labels: UP, histograms: [histogram] }, 'invalid_histogram', 1, 'native histogram that contradicts itself');
  const wide = Array.from({ length: 40_000 }, (_, i) => (i % 2 === 0 ? 100 : -100));
  const large: HistogramToEncode = {
    timestampMs: NOW_MS + 1,
    count: 2_000_000,
    positiveSpans: [[0, 40_000]],
    positive: wide,
  };
  f({ labels: UP, histograms: [large] }, 'histogram_too_large', 1, 'native histogram with too many buckets');
  const exemplar = (offsetMs: number) => ({ labels: [['t', '1']] as const, value: 1, timestampMs: NOW_MS + offsetMs });
  f(
    { labels: UP, samples: [at(5)], exemplars: [exemplar(0), exemplar(-LIMITS.outOfOrderMsMax - 1)] },
    'out_of_order_exemplar',
    1,
    'out of order exemplar: 1 refused',
  );
  f(
    { labels: UP, exemplars: [exemplar(LIMITS.futureMsMax + 1)] },
    'exemplar_too_far_ahead',
    1,
    /too far in the future/,
  );
  t.end();
});

test('native histograms of every kind arrive as they were sent, by 2.0 and by 1.0', (t) => {
  const integer: HistogramToEncode = {
    timestampMs: NOW_MS,
    count: 12,
    sum: 18.5,
    schema: 2,
    zeroThreshold: 0.001,
    zeroCount: 2,
    positiveSpans: [
      [-2, 2],
      [3, 1],
    ],
    positive: [1, 1, 2],
    negativeSpans: [[5, 1]],
    negative: [3],
    resetHint: 2,
  };
  const float: HistogramToEncode = {
    timestampMs: NOW_MS + 1,
    isFloat: true,
    count: 4.5,
    sum: -1,
    zeroCount: 0.5,
    positiveSpans: [[0, 2]],
    positive: [1.5, 2.5],
    resetHint: 3,
    unpacked: true,
  };
  const custom: HistogramToEncode = {
    timestampMs: NOW_MS + 2,
    count: 6,
    sum: 7,
    schema: -53,
    positiveSpans: [[0, 3]],
    positive: [1, 1, 1],
    customValues: [0.5, 2],
  };
  // Schema 10: buckets 1..4 are one of schema 8, bucket 5 is the next, bucket 9 the one after the next.
  const fine: HistogramToEncode = {
    timestampMs: NOW_MS + 3,
    count: 6,
    sum: 7,
    schema: 10,
    positiveSpans: [
      [1, 2],
      [1, 2],
      [3, 1],
    ],
    positive: [1, 0, 0, 0, 1],
    unpacked: true,
  };
  const stale: HistogramToEncode = { timestampMs: NOW_MS + 4, sum: 'stale' };
  const all = [integer, float, custom, fine, stale];
  const f = (name: string, write: (one: Bench) => void): void => {
    const one = bench();
    write(one);
    const got = histograms(one);
    t.strictSame(
      got.map(({ offsetMs }) => offsetMs),
      [0, 1, 2, 3, 4],
      name,
    );
    const [first, second, third, fourth, last] = got;
    t.match(first, { schema: 2, count: 12, sum: 18.5, zeroCount: 2, zeroThreshold: 0.001, hint: 2 });
    t.strictSame([...first!.positive.spans, ...first!.positive.counts], [-2, 2, 3, 1, 1, 2, 4]);
    t.strictSame([...first!.negative.spans, ...first!.negative.counts], [5, 1, 3]);
    t.match(second, { schema: 0, count: 4.5, sum: -1, zeroCount: 0.5, hint: 3 });
    t.strictSame([...second!.positive.counts], [1.5, 2.5]);
    t.match(third, { schema: -53, count: 6 });
    t.strictSame([...third!.customValues, ...third!.positive.counts], [0.5, 2, 1, 2, 3]);
    t.match(fourth, { schema: 8, count: 6 });
    t.strictSame([...fourth!.positive.spans, ...fourth!.positive.counts], [1, 3, 3, 1, 2]);
    t.ok(isStaleHistogram(last!.blob));
    t.equal(
      got.slice(0, 4).some(({ blob }) => isStaleHistogram(blob)),
      false,
    );
  };
  f('2.0', ({ writer }) => {
    const outcome = writer.remoteWrite2(encodeRequest([{ labels: UP, histograms: all }]));
    t.match(outcome, { samplesStored: 5, histogramsStored: 5, samplesRefused: 0, message: '' });
  });
  f('1.0', ({ writer, registry }) => {
    const outcome = writer.remoteWrite(encodeWriteRequest([{ labels: UP, samples: [], histograms: all }]));
    t.match(outcome, { samplesStored: 5, samplesRefused: 0, message: '' });
    t.equal(metric(registry, 'tidegauge_ingest_histograms_total{protocol="remote_write"}'), 5);
  });
  t.end();
});

test('start timestamps, of samples, of histograms, and of the whole series in the drafts', (t) => {
  const one = bench();
  const start = NOW_MS - 60_000;
  one.writer.remoteWrite2(
    encodeRequest([
      { labels: [['__name__', 'a']], samples: [{ ...at(0), startTimestampMs: start }] },
      { labels: [['__name__', 'b']], samples: [at(0)], createdMs: start },
      { labels: [['__name__', 'c']], histograms: [{ timestampMs: NOW_MS, startTimestampMs: start }] },
      { labels: [['__name__', 'd']], histograms: [{ timestampMs: NOW_MS }], createdMs: start },
    ]),
  );
  const selection = one.head.select({ matchers: [], fromMs: 0, toMs: Infinity, scope: SCOPE_ALL });
  t.equal(selection.count, 4);
  for (let i = 0; i < 4; i++) {
    const starts = new Float64Array(1);
    t.ok(selection.readStarts(i, Float64Array.of(NOW_MS), 1, starts), selection.labels(i).join());
    t.equal(starts[0], start);
  }
  selection.close();
  t.end();
});

test('exemplars and metadata are kept beside the store, idempotently', (t) => {
  const { writer, exemplars, metadata, registry } = bench();
  const body = encodeRequest([
    {
      labels: [
        ['__name__', 'requests_bucket'],
        ['le', '1'],
      ],
      samples: [at(0)],
      exemplars: [{ labels: [['trace_id', 'ü1']], value: 0.5, timestampMs: NOW_MS }],
      metadata: { type: 3, help: 'How long\nit took', unit: 'seconds' },
    },
    {
      labels: [['__name__', 'lonely']],
      exemplars: [{ labels: [['x', 'y'.repeat(LIMITS.exemplarLabelCharactersMax)]], value: 1, timestampMs: NOW_MS }],
      metadata: { type: 0, help: '', unit: '' },
    },
  ]);
  for (let i = 0; i < 2; i++) t.match(writer.remoteWrite2(body), { exemplarsStored: 1, samplesRefused: 0 });
  t.equal(exemplars.count, 1);
  const matchers = [{ type: '=', name: '__name__', value: 'requests_bucket' }] as const;
  t.strictSame(exemplars.select([matchers], NOW_MS, NOW_MS, SCOPE_ALL), [
    {
      labels: ['__name__', 'requests_bucket', 'le', '1'],
      exemplars: exemplars.select([matchers], 0, Infinity, SCOPE_ALL)[0]!.exemplars,
    },
  ]);
  t.match(exemplars.select([matchers], 0, Infinity, SCOPE_ALL)[0]!.exemplars, [
    { labels: ['trace_id', 'ü1'], value: 0.5, timestampMs: NOW_MS },
  ]);
  t.strictSame(
    [...metadata.entries()],
    [['requests', [{ type: 'histogram', help: 'How long\nit took', unit: 'seconds' }]]],
  );
  t.equal(metric(registry, 'tidegauge_ingest_exemplars_ignored_total{protocol="remote_write"}'), 2, 'too long a one');
  t.end();
});

test('a body that cannot be decoded leaves no trace', (t) => {
  const { writer, head } = bench();
  const good = encodeRequest([{ labels: UP, samples: [at(0)] }]);
  const broken = snappy.compress(Buffer.concat([snappy.uncompress(good), Uint8Array.of(0x2a, 2, 0x12, 5)]));
  t.throws(() => writer.remoteWrite2(new Uint8Array(broken)), { code: 'bad_body' });
  t.throws(() => writer.remoteWrite2(Buffer.from('not snappy')), { code: 'bad_body' });
  t.throws(() => writer.remoteWrite2(encodeWriteRequest([{ labels: UP, samples: [at(0)] }])), { code: 'bad_body' });
  t.strictSame(dump(head), []);
  t.match(writer.remoteWrite2(good), { samplesStored: 1 });
  t.match(writer.remoteWrite2(encodeRequest([])), { samplesStored: 0, samplesRefused: 0 });
  t.end();
});
