/** What OTLP brings beside samples: exemplars, by the series they belong to, and what metrics are. */
import { test } from 'tap';
import { labelsText } from '../../../src/model/labels.ts';
import { SCOPE_ALL } from '../../../src/model/scope.ts';
import { type ExemplarToEncode, encodeExportRequest, type MetricToEncode } from '../../support/otlp-encoder.ts';
import { type Bench, bench, metric, NOW_MS } from '../support.ts';

const time = NOW_MS;
const TRACE = Buffer.from('0af7651916cd43dd8448eb211c80319c', 'hex');
const SPAN = Buffer.from('b7ad6b7169203331', 'hex');
const ids = `trace_id="${TRACE.toString('hex')}", span_id="${SPAN.toString('hex')}"`;

/** A line an exemplar: `series <- {labels} value@time`. */
function kept({ exemplars }: Bench): string[] {
  return exemplars
    .select([[]], -Infinity, Infinity, SCOPE_ALL)
    .flatMap(({ labels, exemplars: list }) =>
      list.map((one) => `${labelsText(labels)} <- ${labelsText(one.labels)} ${one.value}@${one.timestampMs - NOW_MS}`),
    );
}

const ignored = (one: Bench) => metric(one.registry, 'tidegauge_ingest_exemplars_ignored_total{protocol="otlp"}');

function send(one: Bench, ...metrics: MetricToEncode[]) {
  const outcome = one.writer.otlp(encodeExportRequest([{ attributes: { 'service.name': 's' }, metrics }]));
  if (outcome.samplesRefused > 0) throw new Error(outcome.message);
}

test('an exemplar belongs to the series that its value went into', (t) => {
  const exemplar = (value: number | bigint): ExemplarToEncode => ({ time, value, traceId: TRACE, spanId: SPAN });
  const f = (metrics: MetricToEncode[], want: string[], lost = 0, otlp = {}) => {
    const one = bench({ otlp: { promoteResourceAttributes: [], ...otlp } });
    // Points that are known give what new ones give: nothing is kept twice.
    for (let i = 0; i < 2; i++) send(one, ...metrics);
    t.strictSame(kept(one), want);
    t.equal(ignored(one), 2 * lost);
  };
  const sum = (kind: 'sum' | 'gauge', exemplars: ExemplarToEncode[]): MetricToEncode => ({
    ...{ name: 'n', kind, monotonic: kind === 'sum' },
    points: [{ time, value: 1, attributes: { a: 'b' }, exemplars }],
  });
  const series = 'n_total{a="b", job="s"}';
  f([sum('sum', [exemplar(2.5)])], [`${series} <- {${ids}} 2.5@0`]);
  f([sum('sum', [exemplar(-7n)])], [`${series} <- {${ids}} -7@0`]);
  f([sum('gauge', [exemplar(1)])], [], 1);
  const histogram: MetricToEncode = {
    ...{ name: 'h', unit: 's', kind: 'histogram' },
    points: [
      {
        ...{ time, count: 4, sum: 9, bucketCounts: [1, 1, 2], explicitBounds: [1, 5] },
        exemplars: [exemplar(0.5), exemplar(1), exemplar(1.5), exemplar(70)],
      },
    ],
  };
  const bucket = (le: string) => `h_seconds_bucket{job="s", le="${le}"}`;
  const inBuckets = [
    `${bucket('1')} <- {${ids}} 0.5@0`,
    `${bucket('1')} <- {${ids}} 1@0`,
    `${bucket('5')} <- {${ids}} 1.5@0`,
    `${bucket('+Inf')} <- {${ids}} 70@0`,
  ];
  f([histogram], inBuckets);
  f([{ ...histogram, temporality: 'delta' }], inBuckets, 2);
  const inOne = [0.5, 1, 1.5, 70].map((value) => `h_seconds{job="s"} <- {${ids}} ${value}@0`);
  f([histogram], inOne, 0, { convertHistogramsToNhcb: true });
  const exponential: MetricToEncode = {
    ...{ name: 'e', kind: 'exponential_histogram' },
    points: [{ time, count: 1, sum: 2, scale: 0, positive: { offset: 0, counts: [1] }, exemplars: [exemplar(2)] }],
  };
  f([exponential], [`e{job="s"} <- {${ids}} 2@0`]);
  t.end();
});

test('labels of an exemplar: the ids, then the filtered attributes if there is room for all', (t) => {
  const f = (exemplar: Partial<ExemplarToEncode>, want: string | null) => {
    const one = bench({ otlp: { promoteResourceAttributes: [] } });
    const points = [{ time, value: 1, exemplars: [{ time, value: 3, ...exemplar }] }];
    send(one, { name: 'n', kind: 'sum', points });
    t.strictSame(kept(one), want === null ? [] : [`n{job="s"} <- ${want} 3@0`]);
    t.equal(ignored(one), want === null ? 1 : 0);
  };
  f({}, '{}');
  f({ traceId: TRACE }, `{trace_id="${TRACE.toString('hex')}"}`);
  f({ traceId: new Uint8Array(16), spanId: new Uint8Array(0) }, '{}');
  f({ attributes: { 'http.route': '/', n: 7n } }, '{http.route="/", n="7"}');
  f({ spanId: SPAN, attributes: { span_id: 'other', a: '1' } }, `{span_id="${SPAN.toString('hex')}", a="1"}`);
  // The ids take 8 + 32 + 7 + 16 characters of the 128.
  const both = { traceId: TRACE, spanId: SPAN };
  f({ ...both, attributes: { a: 'x'.repeat(64) } }, `{${ids}, a="${'x'.repeat(64)}"}`);
  f({ ...both, attributes: { a: 'x'.repeat(65) } }, `{${ids}}`);
  f({ time: 0 }, null);
  f({ time: NOW_MS + 3_600_000 }, null);
  t.end();
});

test('what cannot be read as an exemplar is counted, and its point is kept', (t) => {
  const one = bench();
  const body = encodeExportRequest([
    { metrics: [{ name: 'n', kind: 'sum', points: [{ time, value: 1, exemplars: [{ time, value: 3 }] }] }] },
  ]);
  // The tag of the exemplar's value: a group that ends where none began.
  const at = Buffer.from(body).indexOf(Buffer.from([0x19, 0, 0, 0, 0, 0, 0, 8, 0x40]));
  body[at] = 0x1c;
  t.equal(one.writer.otlp(body).samplesStored, 1);
  t.strictSame(kept(one), []);
  t.equal(ignored(one), 1);
  t.end();
});

test('metadata is that of the translated family', (t) => {
  const f = (
    metrics: MetricToEncode[],
    want: Record<string, [type: string, help: string, unit: string]>,
    otlp = {},
  ) => {
    const one = bench({ otlp });
    for (let i = 0; i < 2; i++) send(one, ...metrics);
    const got = [...one.metadata.entries()].map(([family, list]) => [family, list]);
    const lines = Object.entries(want).map(([family, [type, help, unit]]) => [family, [{ type, help, unit }]]);
    t.strictSame(got, lines);
  };
  const points = [{ time, value: 1 }];
  const description = 'What it is.';
  f([{ name: 'cpu.load', kind: 'gauge', description, points }], { cpu_load: ['gauge', description, ''] });
  f([{ name: 'in', unit: 'By/s', kind: 'sum', monotonic: true, description, points }], {
    in_bytes_per_second_total: ['counter', description, 'bytes_per_second'],
  });
  f([{ name: 'd', kind: 'sum', monotonic: true, temporality: 'delta', points }], { d_total: ['counter', '', ''] });
  f([{ name: 'depth', unit: '{item}', kind: 'sum', points }], { depth: ['gauge', '', ''] });
  f([{ name: 'h', unit: 'ms', kind: 'histogram', points: [{ time, count: 0 }] }], {
    h_milliseconds: ['histogram', '', 'milliseconds'],
  });
  f([{ name: 'e', kind: 'exponential_histogram', points: [{ time, count: 0 }] }], { e: ['histogram', '', ''] });
  f([{ name: 'q', kind: 'summary', points: [{ time, count: 0 }] }], { q: ['summary', '', ''] });
  f(
    [{ name: 'a.b', unit: 'By', kind: 'gauge', points }],
    { 'a.b': ['gauge', '', 'bytes'] },
    { strategy: 'NoTranslation' },
  );
  const one = bench();
  const resource = { 'service.name': 's', zone: 'z' };
  one.writer.otlp(encodeExportRequest([{ attributes: resource, metrics: [{ name: 'g', kind: 'gauge', points }] }]));
  t.strictSame(one.metadata.of('target_info'), [{ type: 'gauge', help: 'Target metadata', unit: '' }]);
  const long: MetricToEncode = { name: 'l', kind: 'gauge', description: 'x'.repeat(3000), points };
  one.writer.otlp(encodeExportRequest([{ metrics: [long] }]));
  t.equal(metric(one.registry, 'tidegauge_ingest_metadata_ignored_total{protocol="otlp"}'), 1);
  t.end();
});
