/** Any bytes may be refused, but only with one of our own errors, and a body that is refused stores nothing. */
import fc from 'fast-check';
import snappy from 'snappyjs';
import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { encodeExportRequest } from '../support/otlp-encoder.ts';
import { encodePlainRequest } from '../support/remote-write-2-encoder.ts';
import { encodePlainWriteRequest } from '../support/remote-write-encoder.ts';
import { bench, NOW_MS } from './support.ts';

const at = { timestampMs: NOW_MS, value: 1 };
const WRITE_REQUEST = encodePlainWriteRequest(
  [
    {
      labels: { __name__: 'up', job: 'a', emoji: '\u{1f30a}' },
      samples: [at, { timestampMs: NOW_MS + 1, value: 'stale' }],
      exemplars: 1,
    },
    { labels: { __name__: 'h' }, samples: [], histograms: 1 },
  ],
  1,
);
const REQUEST = encodePlainRequest([
  {
    labels: [
      ['__name__', 'up'],
      ['job', 'a'],
      ['emoji', '\u{1f30a}'],
    ],
    samples: [at, { timestampMs: NOW_MS + 1, value: 'stale' }],
    metadata: { type: 1, help: 'h', unit: 'u' },
  },
  { labels: [['__name__', 'x']], samples: [at], exemplars: [{ labels: [['t', '1']], value: 1, timestampMs: NOW_MS }] },
  {
    labels: [['__name__', 'h']],
    histograms: [
      { timestampMs: NOW_MS, count: 3, positiveSpans: [[0, 2]], positive: [1, 1], startTimestampMs: NOW_MS - 1 },
      { timestampMs: NOW_MS + 1, isFloat: true, count: 3, negativeSpans: [[0, 2]], negative: [1, 1], unpacked: true },
      { timestampMs: NOW_MS + 2, schema: -53, count: 2, positiveSpans: [[0, 1]], positive: [2], customValues: [1, 2] },
    ],
  },
]);
const time = NOW_MS;
const EXEMPLAR = { time, value: 0.5, traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 2), attributes: { a: [1] } };
const EXPORT_REQUEST = encodeExportRequest([
  {
    attributes: {
      'service.name': 's',
      'service.instance.id': 'i',
      list: [1, 'a', { b: [true, null, 2.5] }],
      raw: Uint8Array.of(1, 2),
    },
    metrics: [
      {
        name: 'g',
        unit: 'By',
        kind: 'gauge',
        points: [
          { time, value: 1.5, attributes: { 'a.b': 'c' } },
          { time, value: 7n, flags: 1 },
        ],
      },
      { name: 's', kind: 'sum', monotonic: true, points: [{ time, value: 3, exemplars: [EXEMPLAR] }] },
      {
        name: 'h',
        unit: 's',
        kind: 'histogram',
        description: 'h',
        points: [
          { ...{ time, count: 3, sum: 2, bucketCounts: [1, 1, 1], explicitBounds: [0.1, 1] }, exemplars: [EXEMPLAR] },
        ],
      },
      {
        name: 'u',
        kind: 'histogram',
        points: [{ time, count: 1, bucketCounts: [1, 0], explicitBounds: [5], unpacked: true }],
      },
      {
        name: 'q',
        kind: 'summary',
        points: [
          {
            time,
            count: 3,
            sum: 2,
            quantiles: [
              [0.5, 1],
              [0.99, 2],
            ],
          },
        ],
      },
      {
        name: 'e',
        kind: 'exponential_histogram',
        points: [
          { time, count: 3, sum: 2, scale: 10, positive: { offset: -2, counts: [1, 0, 2] } },
          { time, count: 1, negative: { offset: 5, counts: [1] }, unpacked: true },
        ],
      },
      { name: 'd', kind: 'sum', temporality: 'delta', points: [{ time, value: 3 }] },
    ],
  },
]);

const EXPORT_REQUEST_JSON = Buffer.from(
  JSON.stringify({
    resourceMetrics: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: 's\u00e9' } }] },
        scopeMetrics: [
          {
            scope: { name: 'x', version: null },
            metrics: [
              { name: 'g', unit: 'By', gauge: { dataPoints: [{ timeUnixNano: `${time}000000`, asDouble: 'NaN' }] } },
              {
                name: 'h',
                histogram: {
                  aggregationTemporality: 2,
                  dataPoints: [
                    {
                      ...{
                        timeUnixNano: `${time}000000`,
                        count: '3',
                        sum: 2.5,
                        bucketCounts: ['1', 2],
                        explicitBounds: [1],
                      },
                      attributes: [
                        { key: 'a', value: { arrayValue: { values: [{ intValue: '-7' }, { boolValue: true }] } } },
                        { key: 'b', value: { kvlistValue: { values: [{ key: 'c', value: { bytesValue: 'AQI=' } }] } } },
                      ],
                      exemplars: [
                        { traceId: '0AF7651916CD43DD8448EB211C80319C', spanId: 'b7ad6b7169203331', asInt: 1 },
                      ],
                    },
                  ],
                },
              },
              {
                name: 'e',
                exponentialHistogram: {
                  aggregationTemporality: 1,
                  dataPoints: [
                    {
                      ...{ timeUnixNano: `${time}000000`, count: 2, scale: 21, zeroCount: 0 },
                      positive: { offset: -3, bucketCounts: ['1', '1'] },
                    },
                  ],
                },
              },
            ],
          },
        ],
      },
    ],
  }),
);

/** Lines of every kind that text has, native and not. */
const TEXT = Buffer.from(`# HELP jobs_total What \\\\ it\\n is.
# TYPE jobs_total counter
# UNIT jobs_total s
jobs_total{queue="a\\"b\\n",emoji="\u{1f30a}",} 1.5e3 ${NOW_MS}
{"a.b",'x'} 1
{"dotted.name","label.name"="v"} NaN
h_bucket{le="+Inf"} 0x1p-3
h_sum -Inf
# a comment
up 1
`);
const OPEN_METRICS = Buffer.from(`# TYPE jobs counter
# UNIT jobs seconds
# HELP jobs Jobs.
jobs_total{queue="a"} 17 ${NOW_MS / 1000}.25 # {trace_id="0af7"} 0.67 ${NOW_MS / 1000}.1
jobs_created{queue="a"} 1.5e9
# TYPE s stateset
s{s="on"} 1
# EOF
`);

interface Target {
  readonly name: string;
  readonly body: Uint8Array;
  readonly write: (body: Uint8Array) => void;
}

const { writer, head } = bench();

/** Writes to the store; true if the body was taken, false if it was refused as it should be. */
function attempt(write: 'remoteWrite' | 'remoteWrite2' | 'otlp' | 'otlpJson', body: Uint8Array): boolean {
  return isTaken(() => writer[write](body));
}

function attemptText(body: Uint8Array, isOpenMetrics: boolean): boolean {
  return isTaken(() =>
    writer.text(body, { isOpenMetrics, honorTimestamps: true, labels: [['job', 'cron']], onConflict: 'renamed' }),
  );
}

function isTaken(write: () => unknown): boolean {
  const before = head.stats();
  try {
    write();
    return true;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    const after = head.stats();
    const left = after.seriesCreated - before.seriesCreated + after.samplesAppended - before.samplesAppended;
    if (left > 0) throw new Error('a refused body left something behind');
    return false;
  }
}

const TARGETS: readonly Target[] = [
  {
    name: 'remote-write, compressed',
    body: snappy.compress(WRITE_REQUEST),
    write: (body) => void attempt('remoteWrite', body),
  },
  {
    name: 'remote-write, decompressed',
    body: WRITE_REQUEST,
    write: (body) => void attempt('remoteWrite', snappy.compress(body)),
  },
  {
    name: 'remote-write 2.0, compressed',
    body: snappy.compress(REQUEST),
    write: (body) => void attempt('remoteWrite2', body),
  },
  {
    name: 'remote-write 2.0, decompressed',
    body: REQUEST,
    write: (body) => void attempt('remoteWrite2', snappy.compress(body)),
  },
  { name: 'OTLP', body: EXPORT_REQUEST, write: (body) => void attempt('otlp', body) },
  { name: 'OTLP as JSON', body: EXPORT_REQUEST_JSON, write: (body) => void attempt('otlpJson', body) },
  { name: 'text', body: TEXT, write: (body) => void attemptText(body, false) },
  { name: 'OpenMetrics', body: OPEN_METRICS, write: (body) => void attemptText(body, true) },
];

test('the bodies to be spoilt are good', (t) => {
  t.ok(attempt('remoteWrite', snappy.compress(WRITE_REQUEST)));
  t.ok(attempt('remoteWrite2', snappy.compress(REQUEST)));
  t.ok(attempt('otlp', EXPORT_REQUEST));
  t.ok(attempt('otlpJson', EXPORT_REQUEST_JSON));
  t.ok(attemptText(TEXT, false));
  t.ok(attemptText(OPEN_METRICS, true));
  t.notOk(attemptText(TEXT, true));
  t.notOk(attempt('otlp', Uint8Array.of(0xff)));
  t.end();
});

for (const { name, body, write } of TARGETS) {
  test(`${name}: every prefix`, (t) => {
    for (let length = 0; length < body.length; length++) {
      t.doesNotThrow(() => write(body.subarray(0, length)), `${length} of ${body.length} bytes`);
    }
    t.end();
  });

  test(`${name}: flipped bits and foreign bytes`, (t) => {
    const seed = Date.now() & 0x7fffffff;
    t.comment(`seed ${seed}`);
    const flips = fc.array(fc.integer({ min: 0, max: body.length * 8 - 1 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(flips, (bits) => {
        const spoilt = Uint8Array.from(body);
        for (const bit of bits) spoilt[bit >> 3] = spoilt[bit >> 3]! ^ (1 << (bit & 7));
        write(spoilt);
      }),
      { seed, numRuns: 3000 },
    );
    const splice = fc.tuple(fc.nat(body.length), fc.nat(20), fc.uint8Array({ maxLength: 20 }));
    fc.assert(
      fc.property(splice, ([start, dropped, inserted]) => {
        write(Buffer.concat([body.subarray(0, start), inserted, body.subarray(start + dropped)]));
      }),
      { seed, numRuns: 2000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), write), { seed, numRuns: 2000 });
    head.verify();
    t.end();
  });
}
