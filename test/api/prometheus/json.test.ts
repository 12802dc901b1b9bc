import fc from 'fast-check';
import { test } from 'tap';
import {
  encodeLabelSets,
  encodeString,
  encodeStrings,
  encodeValue,
  exceedsLimit,
  formatPlain,
  formatSample,
  formatTimestamp,
  PIECE_LENGTH,
} from '../../../src/api/prometheus/json.ts';
import { type Buckets, EMPTY_HISTOGRAM, type FloatHistogram } from '../../../src/model/histogram.ts';
import type { MatrixResult, VectorResult } from '../../../src/promql/result.ts';

const join = (pieces: Iterable<string>): string => [...pieces].join('');

const buckets = (offset: number, ...counts: number[]): Buckets => ({
  spans: Int32Array.of(offset, counts.length),
  counts: Float64Array.from(counts),
});

test('histograms list their populated buckets in ascending order, with the ends that belong to each', async (t) => {
  const f = (histogram: Partial<FloatHistogram>, want: string) => {
    const value: VectorResult = {
      kind: 'vector',
      timeMs: 1500,
      labels: [['a', 'b']],
      values: Float64Array.of(Number.NaN),
      histograms: [{ ...EMPTY_HISTOGRAM, ...histogram }],
    };
    const text = `{"resultType":"vector","result":[{"metric":{"a":"b"},"histogram":[1.500,${want}]}]}`;
    t.equal(join(encodeValue(value, 0)), text, want);
  };
  f({}, '{"count":"0","sum":"0"}');
  f(
    { count: 3, sum: 4.5, positive: buckets(0, 1, 0, 2) },
    '{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"2","4","2"]]}',
  );
  f(
    { count: 6, sum: -1, zeroThreshold: 0.001, zeroCount: 3, negative: buckets(1, 1, 2) },
    '{"count":"6","sum":"-1","buckets":[[1,"-4","-2","2"],[1,"-2","-1","1"],[3,"-0.001","0.001","3"]]}',
  );
  f(
    { schema: -53, count: 3, sum: 1e21, customValues: Float64Array.of(-2, 5), positive: buckets(0, 1, 1, 1) },
    '{"count":"3","sum":"1e+21","buckets":[[3,"-Inf","-2","1"],[0,"-2","5","1"],[0,"5","+Inf","1"]]}',
  );
});

test('a series with histograms has them in a list of their own, and no empty list beside it', async (t) => {
  const f = (timesMs: number[], want: string) => {
    const points = {
      labels: [],
      timesMs: Float64Array.from(timesMs),
      values: Float64Array.from(timesMs),
      histograms: { timesMs: Float64Array.of(3000, 4000), values: [EMPTY_HISTOGRAM, EMPTY_HISTOGRAM] },
    };
    const empty = '{"count":"0","sum":"0"}';
    const text = `{"resultType":"matrix","result":[{"metric":{}${want},"histograms":[[3,${empty}],[4,${empty}]]}]}`;
    t.equal(join(encodeValue({ kind: 'matrix', series: [points] }, 0)), text);
  };
  f([], '');
  f([1000], ',"values":[[1,"1000"]]');
});

test('sample values are the shortest decimal, with an exponent only far from 1', async (t) => {
  const f = (value: number, want: string) => t.equal(formatSample(value), want, want);
  f(0, '0');
  f(-0, '-0');
  f(1, '1');
  f(0.1, '0.1');
  f(1e-6, '0.000001');
  f(1e-7, '1e-07');
  f(-1.5e-9, '-1.5e-09');
  f(1e-10, '1e-10');
  f(5e-324, '5e-324');
  f(1e20, '100000000000000000000');
  f(1e21, '1e+21');
  f(1.5e21, '1.5e+21');
  f(1.7976931348623157e308, '1.7976931348623157e+308');
  f(Number.NaN, 'NaN');
  f(Infinity, '+Inf');
  f(-Infinity, '-Inf');
});

test('scalar values never have an exponent', async (t) => {
  const f = (value: number, want: string) => t.equal(formatPlain(value), want, want);
  f(1e-7, '0.0000001');
  f(-1.25e-9, '-0.00000000125');
  f(1e21, '1000000000000000000000');
  f(1.5e22, '15000000000000000000000');
  f(-2e25, '-20000000000000000000000000');
  f(1.5, '1.5');
  f(-0, '-0');
  f(Number.NaN, 'NaN');
  f(-Infinity, '-Inf');
});

test('every finite value reads back the same from both forms', async (t) => {
  const seed = Date.now();
  const value = fc.double({ noNaN: true, noDefaultInfinity: true });
  const property = fc.property(
    value,
    (x) =>
      Object.is(Number(formatSample(x)), x) && Object.is(Number(formatPlain(x)), x) && !formatPlain(x).includes('e'),
  );
  t.doesNotThrow(() => fc.assert(property, { seed, numRuns: 2000 }), `seed ${seed}`);
});

test('timestamps are seconds with three decimals, or none', async (t) => {
  const f = (timestampMs: number, want: string) => t.equal(formatTimestamp(timestampMs), want, want);
  f(0, '0');
  f(1_435_781_451_781, '1435781451.781');
  f(1050, '1.050');
  f(-1, '-0.001');
  f(-1500, '-1.500');
  f(5000, '5');
  f(-5000, '-5');
  f(1.7e15, '1700000000000');
});

test('strings carry the escapes of Go', async (t) => {
  const f = (text: string, want: string) => t.equal(encodeString(text), want, want);
  f('plain', '"plain"');
  f('a"b\\c\n', '"a\\"b\\\\c\\n"');
  f('<a>&', '"\\u003ca\\u003e\\u0026"');
  f('\u2028\u2029', '"\\u2028\\u2029"');
  f('ü😀', '"ü😀"');
});

test('every string reads back the same and cannot end a script', async (t) => {
  const seed = Date.now();
  const property = fc.property(fc.string({ unit: 'binary' }), (text) => {
    const encoded = encodeString(text);
    return JSON.parse(encoded) === text && !/[<>&\u2028\u2029]/.test(encoded);
  });
  t.doesNotThrow(() => fc.assert(property, { seed, numRuns: 2000 }), `seed ${seed}`);
});

test('the four shapes of a result', async (t) => {
  const f = (pieces: Iterable<string>, want: string) => t.equal(join(pieces), want, want);
  f(
    encodeValue({ kind: 'scalar', timeMs: 1050, value: 1e-7 }, 0),
    '{"resultType":"scalar","result":[1.05,"0.0000001"]}',
  );
  f(encodeValue({ kind: 'string', timeMs: 4000, value: '<' }, 0), '{"resultType":"string","result":[4,"\\u003c"]}');
  const vector: VectorResult = {
    kind: 'vector',
    timeMs: 1050,
    labels: [['__name__', 'up', 'job', 'a"b'], []],
    values: Float64Array.of(1e-7, -Infinity),
  };
  f(
    encodeValue(vector, 0),
    '{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a\\"b"},"value":[1.050,"1e-07"]},{"metric":{},"value":[1.050,"-Inf"]}]}',
  );
  f(encodeValue({ ...vector, labels: [], values: new Float64Array() }, 0), '{"resultType":"vector","result":[]}');
  const matrix: MatrixResult = {
    kind: 'matrix',
    series: [
      { labels: ['a', 'b'], timesMs: Float64Array.of(1000, 1500), values: Float64Array.of(-0, Number.NaN) },
      { labels: [], timesMs: Float64Array.of(2000), values: Float64Array.of(1e21) },
    ],
  };
  f(
    encodeValue(matrix, 0),
    '{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"-0"],[1.500,"NaN"]]},{"metric":{},"values":[[2,"1e+21"]]}]}',
  );
  f(
    encodeValue(matrix, 1),
    '{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"-0"],[1.500,"NaN"]]}]}',
  );
  f(encodeValue({ kind: 'matrix', series: [] }, 0), '{"resultType":"matrix","result":[]}');
  f(encodeStrings([]), '[]');
  f(encodeStrings(['a', '>']), '["a","\\u003e"]');
  f(encodeLabelSets([['a', 'b', 'c', 'd'], []]), '[{"a":"b","c":"d"},{}]');
  const g = (limit: number, want: boolean) =>
    t.equal(exceedsLimit(vector, limit) && exceedsLimit(matrix, limit), want, String(limit));
  g(0, false);
  g(1, true);
  g(2, false);
  t.equal(exceedsLimit({ kind: 'scalar', timeMs: 0, value: 1 }, 1), false);
});

test('a large result comes in pieces of bounded length that are together the whole', async (t) => {
  const count = 20_000;
  const vector: VectorResult = {
    kind: 'vector',
    timeMs: 1000,
    labels: Array.from({ length: count }, (_, i) => ['__name__', 'm', 'i', String(i)]),
    values: Float64Array.from({ length: count }, (_, i) => i / 8),
  };
  const points = { labels: ['a', 'b'], timesMs: vector.values.map((_, i) => i * 1000), values: vector.values };
  for (const value of [vector, { kind: 'matrix', series: [points, points] } as const]) {
    const pieces = [...encodeValue(value, 0)];
    t.ok(pieces.length > 5 && pieces.every((piece) => piece.length < PIECE_LENGTH + 200), `${pieces.length} pieces`);
    const { result } = JSON.parse(pieces.join(''));
    t.equal(result.length, value.kind === 'vector' ? count : 2);
    if (value.kind === 'vector')
      t.strictSame(result[count - 1], { metric: { __name__: 'm', i: '19999' }, value: [1, '2499.875'] });
    else t.strictSame(result[1].values[count - 1], [19_999, '2499.875']);
  }
});
