/** OTLP as JSON: what its mapping allows, and what it does not. */
import { test } from 'tap';
import { bench, dump, NOW_MS } from '../support.ts';

const timeUnixNano = `${NOW_MS}000000`;
const gauge = (point: object) => ({ name: 'g', gauge: { dataPoints: [{ timeUnixNano, asDouble: 1, ...point }] } });
const request = (...metrics: object[]) => ({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] });

function write(value: unknown, text = JSON.stringify(value)) {
  const one = bench();
  return { outcome: one.writer.otlpJson(Buffer.from(text)), ...one };
}

test('what is written in any legal way is what is stored', (t) => {
  const f = (metrics: object[], want: string[]): void => {
    const { outcome, head } = write(request(...metrics));
    t.equal(outcome.message, '');
    t.strictSame(dump(head), want);
  };
  f([], []);
  f([gauge({ asDouble: 1.5 })], ['g 1.5@0']);
  f([gauge({ asDouble: 'NaN' })], ['g NaN@0']);
  f([gauge({ asDouble: '-Infinity' })], ['g -Infinity@0']);
  f([gauge({ asDouble: null, asInt: '-9007199254740993' })], ['g -9007199254740992@0']);
  f([gauge({ asDouble: null, asInt: 7 })], ['g 7@0']);
  f([gauge({ timeUnixNano: NOW_MS * 1e6 })], ['g 1@0']);
  f([gauge({ flags: 1 })], ['g stale@0']);
  f([gauge({ attributes: null, unknown: { deep: [1] }, time_unix_nano: 'x' })], ['g 1@0']);
  f([gauge({ attributes: [{ key: 'h', value: { intValue: '200' } }, { key: 'e' }] })], ['g{h="200"} 1@0']);
  f([gauge({ attributes: [{ key: 'h', value: { doubleValue: 0.5 } }] })], ['g{h="0.5"} 1@0']);
  f([gauge({ attributes: [{ key: 'h', value: { bytesValue: '/-8=' } }] })], ['g{h="/+8="} 1@0']);
  f([gauge({ attributes: [{ key: 'h', value: { stringValue: '\u{1f30a}' } }] })], ['g{h="\u{1f30a}"} 1@0']);
  f(
    [
      {
        name: 'r',
        unit: 's',
        sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ timeUnixNano, asInt: 3 }] },
      },
    ],
    ['r_seconds_total 3@0'],
  );
  f(
    [{ name: 'd', sum: { aggregationTemporality: 1, dataPoints: [{ timeUnixNano, asInt: 3 }] } }],
    ['d 3@0', 'd:delta 3@0'],
  );
  const histogram = { timeUnixNano, count: '3', sum: 2, bucketCounts: ['1', 2], explicitBounds: [0.5] };
  f(
    [{ name: 'h', histogram: { aggregationTemporality: 2, dataPoints: [histogram] } }],
    ['h_bucket{le="+Inf"} 3@0', 'h_bucket{le="0.5"} 1@0', 'h_count 3@0', 'h_sum 2@0'],
  );
  const summary = { timeUnixNano, count: 3, sum: 2, quantileValues: [{ quantile: 0.5, value: 1 }] };
  f([{ name: 'q', summary: { dataPoints: [summary] } }], ['q_count 3@0', 'q_sum 2@0', 'q{quantile="0.5"} 1@0']);
  t.end();
});

test('the same bytes of identity as protobuf: known in either form', (t) => {
  const { writer, head } = bench();
  for (let second = 0; second < 3; second++) {
    const point = { timeUnixNano: `${NOW_MS + second * 1000}000000`, asDouble: second };
    t.equal(writer.otlpJson(Buffer.from(JSON.stringify(request(gauge(point))))).samplesStored, 1);
  }
  t.strictSame(dump(head), ['g 0@0 1@1000 2@2000']);
  t.end();
});

test('what is wrong is said with its place, and nothing is stored', (t) => {
  const f = (value: unknown, message: RegExp, text?: string): void => {
    const { writer, head } = bench();
    t.throws(() => writer.otlpJson(Buffer.from(text ?? JSON.stringify(value))), { code: 'bad_body', message });
    t.equal(head.stats().series, 0);
  };
  f(null, /^cannot decode body as JSON: /, '{');
  f(null, /^cannot decode body: it is null, want an object/);
  f([], /^cannot decode body: it is \[\], want an object/);
  f({ resourceMetrics: {} }, /^cannot decode body: resourceMetrics is \{\}, want an array/);
  const at = 'resourceMetrics.scopeMetrics.metrics.gauge.dataPoints';
  f(request(gauge({}), gauge({ asInt: 1.5 })), new RegExp(`^cannot decode body: ${at}.asInt is 1.5, want an integer`));
  f(
    request(gauge({ asInt: '9223372036854775808' })),
    /want an integer from -9223372036854775808 to 9223372036854775807/,
  );
  f(request(gauge({ timeUnixNano: '-1' })), /timeUnixNano is "-1", want an integer from 0/);
  f(request(gauge({ asDouble: 'much' })), /asDouble is "much", want a number/);
  f(request(gauge({ exemplars: [{ traceId: 'xyz' }] })), /traceId is "xyz", want a string of hex/);
  f(request({ name: 'g', gauge: [] }), /gauge is \[\], want an object/);
  f(request({ name: 7 }), /name is 7, want a string/);
  let value: object = { stringValue: 'x' };
  for (let i = 0; i < 100; i++) value = { arrayValue: { values: [value] } };
  f(request(gauge({ attributes: [{ key: 'a', value }] })), /messages nested deeper than 64/);
  f(null, /^cannot decode body as JSON: /, `${'['.repeat(100_000)}`);
  t.end();
});
