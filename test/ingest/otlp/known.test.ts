/** Points that are known by their bytes: whatever is sent, the store holds what it would hold without that knowledge. */
import fc from 'fast-check';
import { test } from 'tap';
import { OtlpDecoder } from '../../../src/ingest/otlp/decode.ts';
import { Identities } from '../../../src/ingest/otlp/identities.ts';
import { NAMING_STRATEGIES } from '../../../src/ingest/otlp/naming.ts';
import { OTLP_DEFAULTS } from '../../../src/ingest/otlp/settings.ts';
import { Tally } from '../../../src/ingest/tally.ts';
import { type Labels, labelsText, labelValue } from '../../../src/model/labels.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import type { SeriesRef } from '../../../src/tsdb/head.ts';
import {
  type Attributes,
  type AttributeValue,
  encodeExportRequest,
  type MetricToEncode,
  type PointToEncode,
  type ResourceToEncode,
} from '../../support/otlp-encoder.ts';
import { bench, dump, metric, NOW_MS } from '../support.ts';

const identities = (one: ReturnType<typeof bench>) => metric(one.registry, 'tidegauge_otlp_identities');
const gauge = (name: string, ...points: Partial<PointToEncode>[]): MetricToEncode => ({
  name,
  kind: 'gauge',
  points: points.map((point) => ({ time: NOW_MS, value: 1, ...point })),
});

test('what was seen before is known, whatever its value', (t) => {
  const one = bench();
  const send = (second: number, ...more: MetricToEncode[]) => {
    const time = NOW_MS + second * 1000;
    const metrics: MetricToEncode[] = [
      gauge('g', { time, value: second + 0.5, attributes: { a: '1', b: 'x' } }, { time, value: -1n }),
      {
        ...{ name: 'c', kind: 'sum', monotonic: true, unit: 'By' },
        points: [{ time, start: NOW_MS - 9000, value: BigInt(second), attributes: { a: '1' }, exemplars: 1 }],
      },
      ...more,
    ];
    return one.writer.otlp(encodeExportRequest([{ attributes: { 'service.name': 's', zone: 'z' }, metrics }]));
  };
  t.equal(send(0).samplesStored, 4);
  t.equal(identities(one), 3);
  t.equal(send(1).samplesStored, 4);
  t.equal(send(2, gauge('new', { time: NOW_MS + 2000 })).samplesStored, 5);
  t.equal(identities(one), 4);
  const labels = 'job="s", service_name="s"';
  t.strictSame(dump(one.head), [
    `c_bytes_total{a="1", ${labels}} 0@0 1@1000 2@2000`,
    `g{a="1", b="x", ${labels}} 0.5@0 1.5@1000 2.5@2000`,
    `g{${labels}} -1@0 -1@1000 -1@2000`,
    `new{${labels}} 1@2000`,
    'target_info{job="s", zone="z"} 1@0 1@1000 1@2000',
  ]);
  t.equal(metric(one.registry, 'tidegauge_ingest_exemplars_ignored_total{protocol="otlp"}'), 3);
  // Refused by the store, with a message of the same kind.
  const late = send(-400);
  t.equal(late.samplesRefused, 3);
  t.match(late.message, /^out of order sample: 3 refused, the first for "g"/);
  t.match(send(3600).message, /^out of bounds: timestamp is too far in the future: 3 refused/);
  t.end();
});

test('a new point in the plain form costs no word; any other is asked for by its labels', (t) => {
  const one = bench();
  const asked: string[] = [];
  const head = new Proxy(one.head, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (name !== 'series') return typeof value === 'function' ? value.bind(target) : value;
      return (labels: Labels) => {
        if (labelValue(labels, '__name__') !== 'target_info') asked.push(labelsText(labels));
        return target.series(labels);
      };
    },
  });
  const decoder = new OtlpDecoder({
    ...{ head, registry: new Registry(), settings: OTLP_DEFAULTS, exemplars: one.exemplars, metadata: one.metadata },
    clock: { nowMs: () => NOW_MS, monotonicMs: () => 0 },
  });
  const f = (attributes: Attributes, labels: string, isAsked = false, resource: Attributes = {}, stamp = '') => {
    asked.length = 0;
    const tally = new Tally();
    // The second of a metric, when all keys are known, and the first of another.
    for (const name of ['m', `n${t.count}`]) {
      const metrics = [gauge(name, { attributes, exemplars: 1 })];
      decoder.store(encodeExportRequest([{ attributes: resource, metrics }]), tally, stamp);
      const series = labels === '' ? name : `${name}{${labels}}`;
      t.ok(dump(one.head).includes(`${series} 1@0`), series);
    }
    t.equal(tally.message(), '');
    t.equal(asked.length, isAsked ? 2 : 0, `${asked}`);
  };
  f({}, '');
  f({ b: '2', a: '1', 'c.d': 'x' }, 'a="1", b="2", c_d="x"');
  f(
    { no: false, yes: true, zero: 0, low: -(2n ** 63n), high: 2n ** 63n - 1n },
    ['high="9223372036854775807", low="-9223372036854775808", no="false", yes="true", zero="0"'].join(),
  );
  f({ gone: '', none: null, stays: '1' }, 'stays="1"');
  f({ emoji: '\u{1f30a}', long: 'x'.repeat(4096) }, `emoji="\u{1f30a}", long="${'x'.repeat(4096)}"`);
  const resource = { 'service.name': 's', 'k8s.pod.name': 'p' };
  const promoted = 'job="s", k8s_pod_name="p", service_name="s"';
  f({ a: '1', z: '2' }, `a="1", ${promoted}, z="2"`, false, resource);
  f({ job: 'own', service_name: 'own' }, 'job="s", k8s_pod_name="p", service_name="own"', false, resource);
  f({ job: '', service_name: '' }, promoted, false, resource);
  f(
    { a: '1' },
    `a="1", exported_k8s_namespace_name="other", namespace="team"`,
    false,
    { 'k8s.namespace.name': 'other' },
    'team',
  );
  f({ namespace: 'team' }, 'namespace="team"', true, {}, 'team');
  f({ list: [1, 2] }, 'list="[1,2]"', true);
  f({ half: 0.5 }, 'half="0.5"', true);
  f({ 'a.b': '1', a_b: '2' }, 'a_b="1;2"', true);
  f({ __name__: 'other' }, '', true);
  one.head.verify();
  t.end();
});

test('what the store refuses of new points is refused by its reason', (t) => {
  const one = bench({ seriesMax: 3 });
  const points = (time: number, ...names: string[]) =>
    gauge('g', ...names.map((n) => ({ time, attributes: { n } }) satisfies Partial<PointToEncode>));
  const f = (sent: MetricToEncode, stored: number, message: RegExp) => {
    const outcome = one.writer.otlp(encodeExportRequest([{ metrics: [sent] }]));
    t.equal(outcome.samplesStored, stored);
    t.match(outcome.message, message);
  };
  f(points(NOW_MS, 'a', 'b'), 2, /^$/);
  f(
    points(NOW_MS, 'c', 'd', 'a', 'e'),
    2,
    /^new series above the limit of series or memory: 2 refused, the first for g\{n="d"/,
  );
  f({ ...points(NOW_MS, 'a', 'b'), unit: 's' }, 0, /^new series above the limit.*: 2 refused/);
  // Known series, by the bytes of another metric.
  f(
    { ...points(NOW_MS + 3_600_000, 'a'), description: 'other' },
    0,
    /^out of bounds.*: 1 refused, the first for g\{n="a"/,
  );
  f({ ...points(NOW_MS - 3_600_000, 'a'), description: 'another' }, 0, /^out of order sample: 1 refused/);
  t.strictSame(dump(one.head), ['g{n="a"} 1@0', 'g{n="b"} 1@0', 'g{n="c"} 1@0']);
  one.head.verify();
  t.end();
});

test('bytes that are no UTF-8 refuse a new point alone', (t) => {
  const one = bench();
  const body = encodeExportRequest([
    { metrics: [gauge('g', ...['one', 'two', 'six'].map((n) => ({ attributes: { n } })))] },
  ]);
  body[Buffer.from(body).indexOf('two')] = 0xff;
  const outcome = one.writer.otlp(body);
  t.match(outcome, { samplesStored: 2, samplesRefused: 1, message: /not valid UTF-8/ });
  t.strictSame(dump(one.head), ['g{n="one"} 1@0', 'g{n="six"} 1@0']);
  t.end();
});

test('a stale point, and one without a time or value', (t) => {
  const one = bench();
  const send = (point: Partial<PointToEncode>) =>
    one.writer.otlp(encodeExportRequest([{ metrics: [gauge('g', point)] }])).message;
  t.equal(send({}), '');
  t.equal(send({ time: NOW_MS + 1, flags: 1 }), '');
  t.match(send({ time: 0 }), /^data point without a timestamp/);
  const empty: MetricToEncode = { name: 'g', kind: 'gauge', points: [{ time: NOW_MS + 2 }] };
  t.match(one.writer.otlp(encodeExportRequest([{ metrics: [empty] }])).message, /^data point without a value/);
  t.strictSame(dump(one.head), ['g 1@0 stale@1']);
  t.end();
});

test('a series that was removed is made anew', (t) => {
  let nowMs = NOW_MS;
  const one = bench({ nowMs: () => nowMs });
  const send = () =>
    one.writer.otlp(encodeExportRequest([{ metrics: [gauge('g', { time: nowMs }), gauge('h', { time: nowMs })] }]));
  send();
  nowMs += 3 * 3_600_000;
  one.head.enforceRetention();
  t.equal(one.head.stats().series, 0);
  for (let i = 0; i < 2; i++) {
    nowMs += 1000;
    t.strictSame(send(), { samplesStored: 2, samplesRefused: 0, message: '' });
  }
  t.strictSame(dump(one.head, nowMs), ['g 1@-1000 1@0', 'h 1@-1000 1@0']);
  one.head.verify();
  t.end();
});

test('labels that the store gave back are not named again', (t) => {
  let nowMs = NOW_MS;
  const one = bench({ nowMs: () => nowMs });
  const send = (...values: number[]) => {
    const points = values.map((n) => ({ time: nowMs, value: n, attributes: { n: `${n}` } }));
    return one.writer.otlp(encodeExportRequest([{ metrics: [gauge('g', ...points)] }])).samplesStored;
  };
  const list = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  for (let round = 0; round < 4; round++) {
    nowMs += 3 * 3_600_000;
    one.head.enforceRetention();
    // The labels of before, in the places that those of the round before have left, between new ones.
    const values = [...list(100 * round, 100 * round + 60), ...list(0, 40).reverse(), ...list(1000, 1000 + 10 * round)];
    t.equal(send(...values), values.length);
    const want = [...new Set(values)].map((n) => `g{n="${n}"} ${n}@0`).sort();
    t.strictSame(dump(one.head, nowMs), want);
    one.head.verify();
  }
  t.end();
});

test('when there is no more room, all is forgotten and learnt anew', (t) => {
  const small = new Identities({ bytesMax: 1 << 20 });
  const body = (n: number) =>
    encodeExportRequest([{ metrics: [gauge('g', { attributes: { n: `${n}`.repeat(200) } })] }]);
  let [learnt, resets] = [0, 0];
  for (let n = 0; n < 20_000 && resets === 0; n++) {
    if (small.makeRoom()) resets++;
    const [resource] = small.walk(body(n))!;
    const identity = small.learnResource(resource!.resourceStart, resource!.resourceEnd);
    const context = identity === 0 ? 0 : small.learnMetric(identity, resource!.odd[0]!);
    const positions = resource!.odd[0]!.identity === 0 ? [] : [...resource!.odd[0]!.points];
    for (const position of positions) small.learnPoint(context, position, (n + 1) as SeriesRef, 1);
    learnt = Math.max(learnt, small.count);
  }
  t.equal(resets, 1);
  t.ok(learnt > 100 && learnt < 20_000, `${learnt} learnt before`);
  t.end();
});

function manyAttributes(count: number): [string, AttributeValue][] {
  return Array.from({ length: count }, (_, i) => [`m${(i * 7) % count}`, `${i}`]);
}

/** What a point says depends on its time alone: which of two for the same time is stored first, is not told. */
function pointAt(n: number, { offset, isInteger, ...rest }: { offset: number; isInteger: boolean; start: number }) {
  const second = n + offset;
  const value = isInteger ? BigInt(second) : second;
  return { ...rest, value, flags: second % 5 === 0 ? 1 : 0, time: NOW_MS + 1000 * second };
}

test('the same requests, with nothing known, leave the same store', (t) => {
  const seed = Date.now() & 0x7fffffff;
  t.comment(`seed ${seed}`);
  const attribute = fc.tuple(
    fc.constantFrom(
      ...['a', 'b', 'http.route', 'http_route', 'x y', 'caf\u00e9', '9', ''],
      ...['__name__', '..name..', 'job', 'k8s.pod.name', 'otel.scope.version', 'otel_scope_name', '__'],
      ...['namespace', 'k8s.namespace.name', 'exported_k8s_namespace_name'],
      'k'.repeat(257),
    ),
    fc.constantFrom<AttributeValue>(
      ...['1', '2', '', '\u{1f30a}', 'v'.repeat(200), 'w'.repeat(4097), 7, 0n, -(2n ** 63n), 2n ** 63n - 1n],
      ...[true, false, 1.5, null, ['x'], { y: 1 }, Uint8Array.of(1)],
    ),
  );
  const point = fc.record({
    attributes: fc.oneof(
      { arbitrary: fc.array(attribute, { maxLength: 4 }), weight: 9 },
      { arbitrary: fc.integer({ min: 34, max: 41 }).map(manyAttributes), weight: 1 },
    ),
    isInteger: fc.boolean(),
    start: fc.constantFrom(0, NOW_MS - 60_000, NOW_MS + 60_000),
    exemplars: fc.constantFrom(0, 0, 1),
    offset: fc.integer({ min: -2, max: 2 }),
  });
  const oneMetric = fc.record({
    name: fc.constantFrom('m', 'n.o', '@'),
    unit: fc.constantFrom('', 's', '1'),
    kind: fc.constantFrom('gauge' as const, 'sum' as const),
    monotonic: fc.boolean(),
    temporality: fc.constantFrom('cumulative' as const, 'cumulative' as const, 'unspecified' as const),
    points: fc.array(point, { maxLength: 4 }),
  });
  const resource = fc.record({
    attributes: fc.constantFrom<Attributes>(
      ...[{}, { 'service.name': 's' }, { 'service.name': 's', 'k8s.pod.name': 'p', zone: 'z' }],
      ...[{ 'k8s.namespace.name': 'other', 'service.name': 's' }, { 'k8s.namespace.name': 'team' }],
    ),
    metrics: fc.array(oneMetric, { maxLength: 3 }),
    scope: fc.constantFrom({ name: 'one' }, { name: 'two', version: '1' }),
  });
  const requests = fc.array(fc.array(resource, { maxLength: 3 }), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(
      requests,
      fc.boolean(),
      fc.constantFrom(...NAMING_STRATEGIES),
      fc.constantFrom('', 'team'),
      (list, promoteScopeMetadata, strategy, stamp) => {
        const otlp = { promoteScopeMetadata, strategy };
        const [known, plain] = [bench({ otlp }), bench({ otlp })];
        for (const [n, resources] of list.entries()) {
          const timed = resources.map((one) => ({
            ...one,
            metrics: one.metrics.map((each) => ({
              ...each,
              points: each.points.map((one) => pointAt(n, one)),
            })),
          })) satisfies ResourceToEncode[];
          const got = known.writer.otlp(encodeExportRequest(timed), stamp);
          const want = plain.writer.otlp(
            encodeExportRequest(timed.map((one) => ({ ...one, unknownField: true }))),
            stamp,
          );
          if (got.samplesRefused !== want.samplesRefused) throw new Error(`${got.message} instead of ${want.message}`);
          if (got.samplesStored !== want.samplesStored)
            throw new Error(`stored ${got.samplesStored}, not ${want.samplesStored}`);
        }
        known.head.verify();
        const [got, want] = [dump(known.head), dump(plain.head)];
        if (JSON.stringify(got) !== JSON.stringify(want))
          throw new Error(`${got.join('\n')}\ninstead of\n${want.join('\n')}`);
      },
    ),
    { seed, numRuns: 100 },
  );
  t.end();
});

test('original names, in both directions', (t) => {
  const { writer } = bench();
  const send = (...metrics: MetricToEncode[]) => writer.otlp(encodeExportRequest([{ metrics }]));
  for (let i = 0; i < 2; i++) {
    send(
      { ...gauge('http.server.load', { attributes: { 'http.route': '/', http_route: 'x' } }), unit: '1' },
      {
        name: 'http.requests',
        kind: 'sum',
        temporality: 'delta',
        monotonic: true,
        points: [{ time: NOW_MS + i, value: 1 }],
      },
    );
  }
  const originals = writer.otlpOriginals;
  const load = {
    original: 'http.server.load',
    name: 'http_server_load_ratio',
    unit: '1',
    kind: 'gauge',
    rawDeltas: null,
  };
  const name = 'http_requests_total';
  const requests = { original: 'http.requests', name, unit: '', kind: 'sum', rawDeltas: `${name}:delta` };
  t.strictSame(originals.metricsByOriginal('http.server.load'), [load]);
  t.strictSame(originals.metricsByName('http_server_load_ratio'), [load]);
  t.strictSame([...originals.metrics()], [load, requests]);
  t.strictSame(originals.labelsOfKey('http.route'), ['http_route']);
  t.strictSame(originals.keysOfLabel('http_route'), ['http.route', 'http_route']);
  t.strictSame(originals.metricsByName('nothing'), []);
  t.end();
});
