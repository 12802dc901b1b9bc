import protobuf from 'protobufjs/minimal.js';
import snappy from 'snappyjs';
import { test } from 'tap';
import type { Reason } from '../../../src/ingest/reasons.ts';
import { CodedError } from '../../../src/model/errors.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { encodeWriteRequest, type SeriesToEncode, tag } from '../../support/remote-write-encoder.ts';
import { bench, dump, metric, NOW_MS, stored } from '../support.ts';

const one = (labels: SeriesToEncode['labels'], ...values: (number | 'stale')[]): SeriesToEncode => ({
  labels,
  samples: values.map((value, i) => ({ timestampMs: NOW_MS + 1000 * i, value })),
});

test('stores what a sender wrote', (t) => {
  const f = (series: SeriesToEncode[], want: string[]): void => {
    const { writer, head } = bench();
    const outcome = writer.remoteWrite(encodeWriteRequest(series));
    const samples = series.reduce((sum, { samples }) => sum + samples.length, 0);
    t.strictSame(outcome, { samplesStored: samples, samplesRefused: 0, message: '' });
    t.strictSame(dump(head), want);
  };
  f([], []);
  f([one({ __name__: 'up', job: 'a' }, 1, 2.5)], ['up{job="a"} 1@0 2.5@1000']);
  f([one({ zone: 'z', __name__: 'up', job: 'a' }, 1)], ['up{job="a", zone="z"} 1@0']);
  f([one({ __name__: 'up', job: '' }, 1)], ['up 1@0']);
  f([one({ __name__: 'up', job: 'a\nb"ü\u{1f30a}' }, 1)], ['up{job="a\\nb\\"ü\u{1f30a}"} 1@0']);
  f([one({ __name__: 'http.requests', 'a.b c': 'x' }, 1)], ['http.requests{a.b c="x"} 1@0']);
  f([one({ __name__: 'up' }, 1, 'stale', Number.NaN)], ['up 1@0 stale@1000 NaN@2000']);
  f([one({ __name__: 'up' }, Infinity, -Infinity, -0.5)], ['up Infinity@0 -Infinity@1000 -0.5@2000']);
  f([one({ __name__: 'up' }), one({ __name__: 'down' }, 0)], ['down 0@0']);
  f([one({ __name__: 'up', a: '1' }, 1), one({ __name__: 'up', a: '2' }, 2)], ['up{a="1"} 1@0', 'up{a="2"} 2@0']);
  t.end();
});

test('keeps characters that decoders like to drop', (t) => {
  const { writer, head } = bench();
  writer.remoteWrite(encodeWriteRequest([one({ __name__: 'up', bom: '\ufeffx', nul: '\0' }, 1)]));
  t.strictSame(stored(head)[0]?.labels, ['__name__', 'up', 'bom', '\ufeffx', 'nul', '\0']);
  t.end();
});

test('refuses by reason and keeps the rest', (t) => {
  const good = one({ __name__: 'good' }, 1);
  const f = (bad: SeriesToEncode, reason: Reason, count: number, message: string): void => {
    const { writer, head, registry } = bench({ seriesMax: 3 });
    const outcome = writer.remoteWrite(encodeWriteRequest([bad, good]));
    t.equal(outcome.samplesRefused, count, reason);
    t.ok(outcome.message.startsWith(message), `${outcome.message}\nwants ${message}`);
    t.ok(dump(head).includes('good 1@0'), 'the good one is kept');
    t.equal(
      metric(registry, `tidegauge_ingest_samples_refused_total{protocol="remote_write",reason="${reason}"}`),
      count,
    );
    t.equal(metric(registry, 'tidegauge_ingest_requests_total{protocol="remote_write",outcome="partial"}'), 1);
    t.equal(metric(registry, 'tidegauge_ingest_samples_total{protocol="remote_write"}'), outcome.samplesStored);
  };
  const labels = { __name__: 'bad', job: 'a' };
  const at = (...offsets: number[]): SeriesToEncode => ({
    labels,
    samples: offsets.map((offset, value) => ({ timestampMs: NOW_MS + offset, value })),
  });
  f(
    one({ job: 'a' }, 1, 2),
    'missing_metric_name',
    2,
    'label set without a metric name: 2 refused, the first for {job="a"}',
  );
  f(one({ __name__: '' }, 1), 'missing_metric_name', 1, 'label set without a metric name: 1 refused');
  f(one({ ...labels, '': 'x' }, 1), 'empty_label_name', 1, 'label with an empty name: 1 refused');
  f(
    one(
      [
        ['__name__', 'bad'],
        ['a', '1'],
        ['a', '1'],
      ],
      1,
    ),
    'duplicate_label',
    1,
    'label name that occurs twice: 1 refused',
  );
  f(
    one(
      [
        ['a', ''],
        ['__name__', 'bad'],
        ['a', '1'],
      ],
      1,
    ),
    'duplicate_label',
    1,
    'label name that occurs twice: 1 refused',
  );
  f(
    one({ ...labels, ['n'.repeat(LIMITS.labelNameBytesMax + 1)]: 'x' }, 1),
    'label_name_too_long',
    1,
    'label name that is too long',
  );
  f(
    one({ ...labels, v: 'ü'.repeat(LIMITS.labelValueBytesMax / 2 + 1) }, 1),
    'label_value_too_long',
    1,
    'label value that is too long',
  );
  const many = Object.fromEntries(Array.from({ length: LIMITS.labelsPerSeriesMax }, (_, i) => [`l${i}`, 'x']));
  f(one({ ...many, __name__: 'bad' }, 1), 'too_many_labels', 1, 'too many labels: 1 refused');
  f(
    at(0, LIMITS.futureMsMax + 1),
    'too_far_ahead',
    1,
    'out of bounds: timestamp is too far in the future: 1 refused, the first for bad{job="a"}',
  );
  f(at(-7_200_001, 0), 'too_old', 1, 'too old sample: 1 refused');
  f(at(0, -LIMITS.outOfOrderMsMax - 1), 'out_of_order', 1, 'out of order sample: 1 refused');
  f(at(0, 0), 'duplicate_timestamp', 1, 'duplicate sample for timestamp: 1 refused');
  f(
    { ...at(0), histograms: 2 },
    'invalid_histogram',
    2,
    'native histogram that contradicts itself: 2 refused, the first for bad{job="a"}',
  );
  f({ ...at(), histograms: 1 }, 'invalid_histogram', 1, 'native histogram that contradicts itself');
  t.end();
});

test('accepts labels and values of just the maximal size', (t) => {
  const many = Array.from({ length: LIMITS.labelsPerSeriesMax - 2 }, (_, i) => [`l${i}`, 'x'] as const);
  const name = 'n'.repeat(LIMITS.labelNameBytesMax);
  const value = 'ü'.repeat(LIMITS.labelValueBytesMax / 2);
  const { writer, head } = bench();
  const outcome = writer.remoteWrite(encodeWriteRequest([one([['__name__', 'up'], [name, value], ...many], 1)]));
  t.strictSame(outcome, { samplesStored: 1, samplesRefused: 0, message: '' });
  t.equal(stored(head)[0]?.labels.length, 2 * LIMITS.labelsPerSeriesMax);
  t.end();
});

test('timestamps are exact 64-bit integers', (t) => {
  const f = (timestampMs: bigint, reason: Reason): void => {
    const { writer, registry } = bench();
    writer.remoteWrite(encodeWriteRequest([{ labels: { __name__: 'up' }, samples: [{ timestampMs, value: 1 }] }]));
    t.equal(metric(registry, `tidegauge_ingest_samples_refused_total{protocol="remote_write",reason="${reason}"}`), 1);
  };
  f(2n ** 63n - 1n, 'too_far_ahead');
  f(-(2n ** 63n), 'too_old');
  f(-1n, 'too_old');
  f(0n, 'too_old');
  // One less than now is one less, and not what its lower 32 bits say.
  const { writer, head } = bench();
  writer.remoteWrite(
    encodeWriteRequest([{ labels: { __name__: 'up' }, samples: [{ timestampMs: BigInt(NOW_MS) - 1n, value: 3 }] }]),
  );
  t.strictSame(dump(head), ['up 3@-1']);
  t.end();
});

test('a repeated request is stored once and counts as stored', (t) => {
  const { writer, head } = bench();
  const body = encodeWriteRequest([one({ __name__: 'up' }, 1, 'stale')]);
  for (let i = 0; i < 2; i++)
    t.strictSame(writer.remoteWrite(body), { samplesStored: 2, samplesRefused: 0, message: '' });
  t.equal(head.stats().samples, 2);
  t.end();
});

test('new series above the limit are refused, known ones go on', (t) => {
  const { writer, head } = bench({ seriesMax: 1 });
  const f = (labels: Record<string, string>, timestampMs: number, refused: number): void => {
    const outcome = writer.remoteWrite(encodeWriteRequest([{ labels, samples: [{ timestampMs, value: 1 }] }]));
    t.equal(outcome.samplesRefused, refused);
    if (refused > 0) t.match(outcome.message, /^new series above the limit/);
  };
  f({ __name__: 'a' }, NOW_MS, 0);
  f({ __name__: 'b' }, NOW_MS, 1);
  f({ __name__: 'a' }, NOW_MS + 1, 0);
  t.strictSame(dump(head), ['a 1@0 1@1']);
  t.end();
});

test('the message names the most frequent reason first', (t) => {
  const { writer } = bench();
  const { message } = writer.remoteWrite(
    encodeWriteRequest([
      one({ job: 'x' }, 1),
      one(
        [
          ['__name__', 'd'],
          ['a', '1'],
          ['a', '2'],
        ],
        1,
        2,
      ),
      one({ __name__: 'ok' }, 1),
    ]),
  );
  t.equal(
    message,
    'label name that occurs twice: 2 refused, the first for d{a="1", a="2"}; label set without a metric name: 1 refused, the first for {job="x"}',
  );
  t.end();
});

test('metadata and exemplars are kept beside the store', (t) => {
  const { writer, registry, head, exemplars, metadata } = bench();
  t.strictSame(writer.remoteWrite(encodeWriteRequest([], 3)), { samplesStored: 0, samplesRefused: 0, message: '' });
  const withExemplars = [
    { ...one({ __name__: 'up' }, 1), exemplars: 2 },
    { ...one({ __name__: 'only' }), exemplars: 1 },
  ];
  t.strictSame(writer.remoteWrite(encodeWriteRequest(withExemplars)), {
    samplesStored: 1,
    samplesRefused: 0,
    message: '',
  });
  t.equal(metric(registry, 'tidegauge_ingest_metadata_ignored_total{protocol="remote_write"}'), 0);
  t.strictSame(metadata.of('family_1'), [{ type: 'counter', help: 'help', unit: '' }]);
  t.equal(metric(registry, 'tidegauge_ingest_exemplars_total{protocol="remote_write"}'), 3, 'one of them came twice');
  t.equal(exemplars.count, 2);
  t.strictSame(dump(head), ['up 1@0'], 'a series of nothing but exemplars leaves no trace');
  t.end();
});

/** Compresses what the callback writes. */
function body(write: (writer: protobuf.Writer) => void): Uint8Array {
  const writer = protobuf.Writer.create();
  write(writer);
  return snappy.compress(new Uint8Array(writer.finish()));
}

const label = (writer: protobuf.Writer, name: string, value: string): void => {
  writer.uint32(tag(1, 2)).fork().uint32(tag(1, 2)).string(name).uint32(tag(2, 2)).string(value).ldelim();
};
const sample = (writer: protobuf.Writer): void => {
  writer.uint32(tag(2, 2)).fork().uint32(tag(1, 1)).double(1).uint32(tag(2, 0)).int64(NOW_MS).ldelim();
};

test('reads the wire as protobuf allows it to be written', (t) => {
  const f = (write: (writer: protobuf.Writer) => void, want: string[]): void => {
    const { writer, head } = bench();
    writer.remoteWrite(body(write));
    t.strictSame(dump(head), want);
  };
  // Samples before labels, and labels around them.
  f(
    (w) => {
      w.uint32(tag(1, 2)).fork();
      sample(w);
      label(w, 'job', 'a');
      label(w, '__name__', 'up');
      w.ldelim();
    },
    ['up{job="a"} 1@0'],
  );
  // Unknown fields of every wire type, groups in groups included.
  f(
    (w) => {
      w.uint32(tag(9, 0))
        .uint32(7)
        .uint32(tag(10, 1))
        .double(1)
        .uint32(tag(11, 2))
        .string('x')
        .uint32(tag(12, 5))
        .float(1);
      w.uint32(tag(1, 2)).fork();
      label(w, '__name__', 'up');
      w.uint32(tag(13, 3)).uint32(tag(14, 3)).uint32(tag(1, 2)).string('in').uint32(tag(14, 4)).uint32(tag(13, 4));
      sample(w);
      w.ldelim();
    },
    ['up 1@0'],
  );
  // A scalar seen twice: the last wins. A field number of the largest size.
  f(
    (w) => {
      w.uint32(tag(0x1fffffff, 0)).uint32(1).uint32(tag(1, 2)).fork();
      w.uint32(tag(1, 2)).fork().uint32(tag(1, 2)).string('no').uint32(tag(1, 2)).string('__name__');
      w.uint32(tag(2, 2)).string('up').ldelim();
      w.uint32(tag(2, 2)).fork().uint32(tag(1, 1)).double(5).uint32(tag(1, 1)).double(6);
      w.uint32(tag(2, 0)).int64(NOW_MS).ldelim().ldelim();
    },
    ['up 6@0'],
  );
  t.end();
});

test('invalid UTF-8 is the fault of its series alone', (t) => {
  const { writer, head, registry } = bench();
  const outcome = writer.remoteWrite(
    body((w) => {
      w.uint32(tag(1, 2)).fork();
      label(w, '__name__', 'up');
      w.uint32(tag(1, 2))
        .fork()
        .uint32(tag(1, 2))
        .string('job')
        .uint32(tag(2, 2))
        .bytes(Uint8Array.of(0x61, 0xff))
        .ldelim();
      sample(w);
      w.ldelim().uint32(tag(1, 2)).fork();
      label(w, '__name__', 'good');
      sample(w);
      w.ldelim();
    }),
  );
  t.equal(outcome.samplesRefused, 1);
  t.equal(metric(registry, 'tidegauge_ingest_samples_refused_total{protocol="remote_write",reason="invalid_utf8"}'), 1);
  t.strictSame(dump(head), ['good 1@0']);
  t.end();
});

test('a body that cannot be decoded stores nothing', (t) => {
  // What exactly is wrong is written beside each case for us; a sender is told that the protobuf is malformed.
  const f = (write: (writer: protobuf.Writer) => void, what: RegExp): void => {
    const { writer, head, registry } = bench();
    const bytes = body((w) => {
      w.uint32(tag(1, 2)).fork();
      label(w, '__name__', 'up');
      sample(w);
      w.ldelim();
      write(w);
    });
    t.throws(() => writer.remoteWrite(bytes), { code: 'bad_body', message: /malformed protobuf/ }, what.source);
    t.equal(head.stats().series, 0);
    t.equal(metric(registry, 'tidegauge_ingest_requests_total{protocol="remote_write",outcome="bad_body"}'), 1);
    t.equal(metric(registry, 'tidegauge_ingest_body_bytes_total{protocol="remote_write"}'), bytes.length);
  };
  f((w) => w.uint32(tag(1, 2)).uint32(100), /a length that reaches beyond its message at byte \d+ of \d+/);
  f((w) => w.uint32(tag(1, 0)).uint32(1), /wire type 0 for field 1/);
  f((w) => w.uint32(tag(0, 0)).uint32(1), /a field number of 0/);
  f((w) => w.uint64(2 ** 40), /a field number that is too large/);
  f((w) => w.uint32(tag(9, 0)).raw(Uint8Array.of(0x80, 0x80)), /a varint that is cut off/);
  f((w) => w.uint32(tag(9, 0)).raw(new Uint8Array(11).fill(0xff)), /a varint of more than 64 bits/);
  f((w) => w.uint32(tag(9, 0)).raw(Uint8Array.of(...Array(9).fill(0xff), 2)), /a varint of more than 64 bits/);
  f((w) => w.uint32(tag(9, 6)), /wire type 6 where a field begins/);
  f((w) => w.uint32(tag(9, 4)), /wire type 4 where a field begins/);
  f((w) => w.uint32(tag(9, 3)), /a group without its end/);
  f((w) => w.uint32(tag(9, 3)).uint32(tag(8, 4)), /the end of a group that was not open/);
  f((w) => {
    for (let i = 0; i < 1000; i++) w.uint32(tag(9, 3));
  }, /groups nested deeper than 64/);
  f((w) => w.uint32(tag(9, 1)).uint32(1), /a value that is cut off/);
  f((w) => w.uint32(tag(9, 5)).uint32(1), /a value that is cut off/);
  f(
    (w) => w.uint32(tag(1, 2)).fork().uint32(tag(2, 2)).fork().uint32(tag(1, 0)).uint32(1).ldelim().ldelim(),
    /wire type 0 for field 1/,
  );
  t.throws(() => bench().writer.remoteWrite(new Uint8Array(0)), CodedError);
  t.end();
});
