import { test } from 'tap';
import { plainDecimal } from '../../../src/ingest/otlp/series.ts';
import type { Reason } from '../../../src/ingest/reasons.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import {
  type Attributes,
  encodeExportRequest,
  type MetricToEncode,
  type PointToEncode,
} from '../../support/otlp-encoder.ts';
import { bench, dump, metric, NOW_MS, stored } from '../support.ts';

const time = NOW_MS;
const gauge = (name: string, ...points: Partial<PointToEncode>[]): MetricToEncode => ({
  name,
  kind: 'gauge',
  points: points.map((point) => ({ time, value: 1, ...point })),
});

/** What is in a fresh store after one request. */
function store(metrics: MetricToEncode[], resource: Attributes = {}, otlp = {}): string[] {
  const { writer, head } = bench({ otlp });
  const outcome = writer.otlp(encodeExportRequest([{ attributes: resource, metrics }]));
  if (outcome.samplesRefused > 0) throw new Error(outcome.message);
  return dump(head);
}

test('gauges and sums', (t) => {
  const f = (metrics: MetricToEncode[], want: string[]): void => void t.strictSame(store(metrics), want);
  f([], []);
  f([gauge('cpu.load', { value: 0.5 })], ['cpu_load 0.5@0']);
  f([gauge('g', { value: 0 })], ['g 0@0']);
  f([gauge('g', { value: 0n })], ['g 0@0']);
  f([gauge('g', { value: -5n })], ['g -5@0']);
  f([gauge('g', { value: 2n ** 53n - 1n })], ['g 9007199254740991@0']);
  f([gauge('g', { value: 2n ** 63n - 1n })], ['g 9223372036854776000@0']);
  f([gauge('g', { value: -(2n ** 63n) })], ['g -9223372036854776000@0']);
  f([gauge('g', { value: Number.NaN })], ['g NaN@0']);
  f([gauge('g', { value: 3, flags: 1 })], ['g stale@0']);
  f([{ name: 'g', kind: 'gauge', points: [{ time, flags: 1 }] }], ['g stale@0']);
  f([{ name: 'reqs', unit: '1', kind: 'sum', monotonic: true, points: [{ time, value: 7n }] }], ['reqs_total 7@0']);
  f([{ name: 'in.flight', unit: '{request}', kind: 'sum', points: [{ time, value: 7n }] }], ['in_flight 7@0']);
  f([{ ...gauge('used', {}), unit: 'By' }], ['used_bytes 1@0']);
  f(
    [gauge('g', { attributes: { b: '2', a: '1' } }, { attributes: { a: '2' } })],
    ['g{a="1", b="2"} 1@0', 'g{a="2"} 1@0'],
  );
  t.end();
});

test('time is truncated to milliseconds, exactly', (t) => {
  const f = (nanoseconds: bigint, offsetMs: number): void =>
    void t.strictSame(store([gauge('g', { time: nanoseconds })]), [`g 1@${offsetMs}`]);
  const now = BigInt(NOW_MS) * 1_000_000n;
  f(now, 0);
  f(now + 999_999n, 0);
  f(now + 1_000_000n, 1);
  f(now - 1n, -1);
  f(now + 123_456_789n, 123);
  t.end();
});

test('histograms become classic ones', (t) => {
  const f = (point: Partial<PointToEncode>, want: string[]): void => {
    const metrics: MetricToEncode[] = [{ name: 'latency', unit: 's', kind: 'histogram', points: [{ time, ...point }] }];
    t.strictSame(store(metrics), want);
  };
  const buckets = { count: 6, sum: 7.5, bucketCounts: [1, 2, 0, 3], explicitBounds: [0.005, 1, 10] };
  const want = [
    'latency_seconds_bucket{le="+Inf"} 6@0',
    'latency_seconds_bucket{le="0.005"} 1@0',
    'latency_seconds_bucket{le="1"} 3@0',
    'latency_seconds_bucket{le="10"} 3@0',
    'latency_seconds_count 6@0',
    'latency_seconds_sum 7.5@0',
  ];
  f(buckets, want);
  f({ ...buckets, unpacked: true }, want);
  f(
    { ...buckets, flags: 1 },
    want.map((line) => line.replace(/ [^ ]*@/, ' stale@')),
  );
  f({ explicitBounds: [1, 2], flags: 1 }, [
    'latency_seconds_bucket{le="+Inf"} stale@0',
    'latency_seconds_bucket{le="1"} stale@0',
    'latency_seconds_bucket{le="2"} stale@0',
    'latency_seconds_count stale@0',
  ]);
  f({ count: 2 }, ['latency_seconds_bucket{le="+Inf"} 2@0', 'latency_seconds_count 2@0']);
  f({ count: 2, sum: -1, bucketCounts: [2] }, [
    'latency_seconds_bucket{le="+Inf"} 2@0',
    'latency_seconds_count 2@0',
    'latency_seconds_sum -1@0',
  ]);
  // Counts are added up as integers of 64 bits: in floats, 2^53 + 1 + 1 would be 2^53.
  f({ count: 2n ** 53n + 2n, bucketCounts: [2n ** 53n, 1, 1], explicitBounds: [1, 2] }, [
    `latency_seconds_bucket{le="+Inf"} ${2 ** 53 + 2}@0`,
    `latency_seconds_bucket{le="1"} ${2 ** 53}@0`,
    `latency_seconds_bucket{le="2"} ${2 ** 53}@0`,
    `latency_seconds_count ${2 ** 53 + 2}@0`,
  ]);
  f({ count: 3n * 2n ** 32n, bucketCounts: [2n ** 32n - 1n, 2n ** 32n - 1n, 2n ** 32n + 2n], explicitBounds: [1, 2] }, [
    `latency_seconds_bucket{le="+Inf"} ${3 * 2 ** 32}@0`,
    `latency_seconds_bucket{le="1"} ${2 ** 32 - 1}@0`,
    `latency_seconds_bucket{le="2"} ${2 * (2 ** 32 - 1)}@0`,
    `latency_seconds_count ${3 * 2 ** 32}@0`,
  ]);
  t.end();
});

test('summaries', (t) => {
  const metrics: MetricToEncode[] = [
    {
      name: 'rpc',
      unit: 'ms',
      kind: 'summary',
      points: [
        {
          time,
          count: 9,
          sum: 4.5,
          quantiles: [
            [0.5, 1],
            [0.999, 2.5],
          ],
        },
      ],
    },
    { name: 'empty', kind: 'summary', points: [{ time }] },
  ];
  t.strictSame(store(metrics), [
    'empty_count 0@0',
    'empty_sum 0@0',
    'rpc_milliseconds_count 9@0',
    'rpc_milliseconds_sum 4.5@0',
    'rpc_milliseconds{quantile="0.5"} 1@0',
    'rpc_milliseconds{quantile="0.999"} 2.5@0',
  ]);
  t.end();
});

test('bounds are plain decimals', (t) => {
  const f = (value: number, want: string): void => void t.equal(plainDecimal(value), want);
  f(0, '0');
  f(0.1, '0.1');
  f(-2.5, '-2.5');
  f(1e6, '1000000');
  f(1e21, '1000000000000000000000');
  f(1.25e22, '12500000000000000000000');
  f(-1e21, '-1000000000000000000000');
  f(1e-7, '0.0000001');
  f(1.5e-10, '0.00000000015');
  f(-1.5e-10, '-0.00000000015');
  f(Number.MAX_SAFE_INTEGER, '9007199254740991');
  f(Infinity, '+Inf');
  f(-Infinity, '-Inf');
  f(Number.NaN, 'NaN');
  for (const value of [5e-324, 1.7976931348623157e308, 123456789.123]) t.equal(Number(plainDecimal(value)), value);
  t.end();
});

test('attributes become labels', (t) => {
  const f = (attributes: Attributes, want: Record<string, string>, otlp = {}): void => {
    const { writer, head } = bench({ otlp });
    writer.otlp(encodeExportRequest([{ metrics: [gauge('g', { attributes })] }]));
    const labels = stored(head)[0]?.labels ?? [];
    const names = Object.entries({ __name__: 'g', ...want }).sort(([a], [b]) => (a < b ? -1 : 1));
    t.strictSame([...labels], names.flat());
  };
  f({ 'http.method': 'GET', 'http.status': 200 }, { http_method: 'GET', http_status: '200' });
  f(
    { yes: true, no: false, big: 2n ** 63n - 1n, less: -1n },
    { yes: 'true', no: 'false', big: '9223372036854775807', less: '-1' },
  );
  f(
    { half: 0.5, small: 1e-7, nan: Number.NaN, inf: Infinity },
    { half: '0.5', small: '1e-7', nan: 'NaN', inf: '+Inf' },
  );
  f({ empty: '', none: null }, {});
  f(
    { list: ['a', 1, true, null, 0.5, 2n ** 60n], map: { b: 1, a: ['<'] } },
    {
      list: '["a",1,true,null,0.5,1152921504606846976]',
      map: '{"a":["\\u003c"],"b":1}',
    },
  );
  f({ bytes: Uint8Array.of(1, 2, 3), nested: [Uint8Array.of(255)] }, { bytes: 'AQID', nested: '["/w=="]' });
  // Names that collide are joined in order of their keys, under escaping strategies only.
  f(
    [
      ['a_b', '2'],
      ['a.b', '1'],
      ['a-b', '0'],
    ],
    { a_b: '0;1;2' },
  );
  f({ 'a.b': '1', a_b: '2' }, { 'a.b': '1', a_b: '2' }, { strategy: 'NoTranslation' });
  f({ __name__: 'other', le: 'x' }, { le: 'x' });
  t.end();
});

test('the resource names job and instance, and promoted attributes fill', (t) => {
  const f = (resource: Attributes, attributes: Attributes, want: string, otlp = {}): void => {
    const lines = store([gauge('g', { attributes })], resource, otlp);
    t.equal(
      lines.find((line) => line.startsWith('g')),
      want,
    );
  };
  f({ 'service.name': 's' }, {}, 'g{job="s", service_name="s"} 1@0');
  f({ 'service.name': 's', 'service.namespace': 'n' }, {}, 'g{job="n/s", service_name="s", service_namespace="n"} 1@0');
  f({ 'service.name': 's', 'service.namespace': '' }, {}, 'g{job="s", service_name="s"} 1@0');
  f({ 'service.instance.id': 'i' }, {}, 'g{instance="i"} 1@0');
  f({ 'service.namespace': 'n' }, {}, 'g{service_namespace="n"} 1@0');
  f({ 'service.name': 7 }, { job: 'mine', instance: 'mine' }, 'g{instance="mine", job="7", service_name="7"} 1@0');
  f(
    { 'k8s.namespace.name': 'shop', 'k8s.pod.name': 'p-1', 'k8s.pod.uid': 'u' },
    {},
    'g{k8s_namespace_name="shop", k8s_pod_name="p-1"} 1@0',
  );
  f({ 'k8s.pod.name': 'p-1' }, { 'k8s.pod.name': 'own' }, 'g{k8s_pod_name="own"} 1@0');
  f({ 'k8s.pod.name': 'p-1' }, { 'k8s.pod.name': '' }, 'g{k8s_pod_name="p-1"} 1@0');
  f({ 'k8s.pod.name': 'p-1' }, {}, 'g{k8s.pod.name="p-1"} 1@0', { strategy: 'NoTranslation' });
  f({ 'service.name': 's', zone: 'z' }, {}, 'g{job="s", zone="z"} 1@0', { promoteResourceAttributes: ['zone'] });
  t.end();
});

test('target_info tells what else is known of the resource', (t) => {
  const f = (resource: Attributes, metrics: MetricToEncode[], want: string[]): void => {
    t.strictSame(
      store(metrics, resource, { promoteResourceAttributes: [] }).filter((line) => line.startsWith('target_info')),
      want,
    );
  };
  const g = gauge('g', {});
  f({ 'service.name': 's', 'host.name': 'h' }, [g], ['target_info{host_name="h", job="s"} 1@0']);
  f({ 'service.instance.id': 'i', 'host.name': 'h' }, [g], ['target_info{host_name="h", instance="i"} 1@0']);
  f({ 'service.name': 's' }, [g], []);
  f({ 'host.name': 'h' }, [g], []);
  f({ 'service.name': 's', 'host.name': 'h' }, [], []);
  f({ 'service.name': 's', 'host.name': 'h', 世: 'w' }, [g], ['target_info{host_name="h", job="s"} 1@0']);
  // From the earliest point to the latest, never further apart than half of the lookback.
  const span = gauge('g', { time: time - 400_000 }, { time }, { time: time - 100_000 });
  f(
    { 'service.name': 's', 'host.name': 'h' },
    [span],
    ['target_info{host_name="h", job="s"} 1@-400000 1@-250000 1@-100000 1@0'],
  );
  t.end();
});

test('refuses point by point and keeps the rest', (t) => {
  const good = gauge('good', {});
  const f = (
    bad: MetricToEncode,
    reason: Reason,
    count: number,
    message: RegExp | string,
    kept: string[] = [],
  ): void => {
    const { writer, head, registry } = bench({ seriesMax: 50 });
    const outcome = writer.otlp(encodeExportRequest([{ metrics: [bad, good] }]));
    t.equal(outcome.samplesRefused, count, reason);
    t.match(outcome.message, message);
    t.strictSame(dump(head), [...kept, 'good 1@0'].sort());
    t.equal(metric(registry, `tidegauge_ingest_samples_refused_total{protocol="otlp",reason="${reason}"}`), count);
    t.equal(metric(registry, 'tidegauge_ingest_requests_total{protocol="otlp",outcome="partial"}'), 1);
  };
  const sum: MetricToEncode = {
    name: 'reqs',
    kind: 'sum',
    monotonic: true,
    points: [
      { time, value: 1 },
      { time, value: 2 },
    ],
  };
  const histogram = (point: Partial<PointToEncode>): MetricToEncode => ({
    name: 'h',
    kind: 'histogram',
    points: [{ time, count: 1, ...point }],
  });
  f({ ...sum, temporality: 'unspecified' }, 'temporality_unspecified', 2, /^aggregation temporality is unspecified/);
  f(
    { ...histogram({}), kind: 'exponential_histogram' },
    'malformed_buckets',
    1,
    /^bucket counts and bounds that do not fit together: 1 refused, the first for "h"/,
  );
  f(gauge('g', { time: 0 }, {}), 'timestamp_unset', 1, /^data point without a timestamp/, ['g 1@0']);
  f({ name: 'g', kind: 'gauge', points: [{ time }] }, 'value_unset', 1, /^data point without a value/);
  f(gauge('@', {}, {}), 'invalid_metric_name', 2, /the first for "@"/);
  f(gauge('g', { attributes: { 世: 'x' } }, {}), 'invalid_attribute_name', 1, /^attribute name that no translation/, [
    'g 1@0',
  ]);
  f(gauge('g', { attributes: { '': 'x' } }), 'invalid_attribute_name', 1, /^attribute name/);
  f(
    gauge('g', { attributes: { a: 'x'.repeat(LIMITS.labelValueBytesMax + 1) } }),
    'label_value_too_long',
    1,
    /^label value/,
  );
  const many = Object.fromEntries(Array.from({ length: LIMITS.labelsPerSeriesMax }, (_, i) => [`l${i}`, 'x']));
  f(gauge('g', { attributes: many }), 'too_many_labels', 1, /^too many labels/);
  f(histogram({ bucketCounts: [1, 1], explicitBounds: [1, 2] }), 'malformed_buckets', 1, /^bucket counts/);
  f(histogram({ explicitBounds: [1, 2] }), 'malformed_buckets', 1, /^bucket counts/);
  f(histogram({ bucketCounts: [1, 1, 1], explicitBounds: [2, 1] }), 'malformed_buckets', 1, /^bucket counts/);
  f(histogram({ bucketCounts: [1, 1, 1], explicitBounds: [1, Infinity] }), 'malformed_buckets', 1, /^bucket counts/);
  f(histogram({ bucketCounts: [1, 1], explicitBounds: [Number.NaN] }), 'malformed_buckets', 1, /^bucket counts/);
  f(
    histogram({ bucketCounts: Array(LIMITS.bucketsPerPointMax + 1).fill(1) }),
    'too_many_buckets',
    1,
    /^too many buckets/,
  );
  f(gauge('g', { time: time + LIMITS.futureMsMax + 1 }), 'too_far_ahead', 1, /the first for g/);
  f(gauge('g', { time: time - 7_200_000 }), 'too_old', 1, /the first for g/);
  f(gauge('g', { time }, { time, value: 2 }), 'duplicate_timestamp', 1, /^duplicate sample for timestamp/, ['g 1@0']);
  f(gauge('g', {}, { time: time - LIMITS.outOfOrderMsMax - 1 }), 'out_of_order', 1, /^out of order sample/, ['g 1@0']);
  f(gauge('g', { time: 2n ** 64n - 1n }), 'too_far_ahead', 1, /the first for g/);
  t.end();
});

test('a resource that is not UTF-8 costs its own points only', (t) => {
  const { writer, head } = bench();
  const body = encodeExportRequest([
    { attributes: { 'service.name': 'XXXX' }, metrics: [gauge('bad', {}, {})] },
    { attributes: { 'service.name': 'ok' }, metrics: [gauge('good', {})] },
  ]);
  const at = Buffer.from(body).indexOf('XXXX');
  body[at] = 0xff;
  const outcome = writer.otlp(body);
  t.equal(outcome.samplesRefused, 2);
  t.match(outcome.message, /not valid UTF-8: 2 refused, the first for "bad"/);
  t.strictSame(dump(head), ['good{job="ok", service_name="ok"} 1@0']);
  t.end();
});

test('a repeated request counts as stored; exemplars are counted', (t) => {
  const { writer, registry, head } = bench();
  const body = encodeExportRequest([{ metrics: [gauge('g', { exemplars: 2 })] }]);
  for (let i = 0; i < 2; i++) t.strictSame(writer.otlp(body), { samplesStored: 1, samplesRefused: 0, message: '' });
  t.equal(head.stats().samples, 1);
  t.equal(metric(registry, 'tidegauge_ingest_exemplars_ignored_total{protocol="otlp"}'), 4);
  t.equal(metric(registry, 'tidegauge_ingest_samples_total{protocol="otlp"}'), 2);
  t.equal(metric(registry, 'tidegauge_ingest_requests_total{protocol="otlp",outcome="stored"}'), 2);
  t.equal(metric(registry, 'tidegauge_ingest_body_bytes_total{protocol="otlp"}'), 2 * body.length);
  t.end();
});

test('values nested too deeply make the body undecodable', (t) => {
  const { writer, head } = bench();
  let value: import('../../support/otlp-encoder.ts').AttributeValue = 'x';
  for (let i = 0; i < 100; i++) value = [value];
  const body = encodeExportRequest([{ metrics: [gauge('g', { attributes: { value } })] }]);
  t.throws(() => writer.otlp(body), { code: 'bad_body', message: /messages nested deeper than 64/ });
  t.equal(head.stats().series, 0);
  t.end();
});
