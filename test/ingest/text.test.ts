/** Text formats → remote-write bodies: lines, labels, numbers, exemplars, metadata, and what is refused. */
import fc from 'fast-check';
import protobuf from 'protobufjs/minimal.js';
import { test } from 'tap';
import { readFloat } from '../../src/ingest/text/number.ts';
import { type TextFormat, type Transcoded, transcodeText } from '../../src/ingest/text/transcode.ts';
import { uncompress } from '../support/plain-snappy.ts';

const FORMAT: TextFormat = {
  isOpenMetrics: false,
  timestampMs: 1000,
  honorTimestamps: true,
  labels: [],
  onConflict: 'replaced',
};

/** What the bodies say, a line a series or metadata entry, read by protobufjs' reader. */
function said({ bodies }: Transcoded): string[] {
  const lines: string[] = [];
  for (const body of bodies) {
    const reader = protobuf.Reader.create(uncompress(body, 1 << 26));
    while (reader.pos < reader.len) {
      const field = reader.uint32() >>> 3;
      const message = protobuf.Reader.create(reader.bytes());
      lines.push(field === 1 ? series(message) : metadata(message));
    }
  }
  return lines;
}

function series(reader: protobuf.Reader): string {
  const labels: string[] = [];
  let rest = '';
  while (reader.pos < reader.len) {
    const field = reader.uint32() >>> 3;
    const part = protobuf.Reader.create(reader.bytes());
    if (field === 1) labels.push(label(part));
    else if (field === 2) rest += ` ${sample(part)}`;
    else rest += ` # ${exemplar(part)}`;
  }
  return `{${labels.join(',')}}${rest}`;
}

function label(reader: protobuf.Reader): string {
  reader.uint32();
  const name = reader.string();
  reader.uint32();
  return `${name}=${JSON.stringify(reader.string())}`;
}

function sample(reader: protobuf.Reader): string {
  reader.uint32();
  const value = reader.double();
  reader.uint32();
  return `${Object.is(value, -0) ? '-0' : value}@${reader.int64()}`;
}

function exemplar(reader: protobuf.Reader): string {
  const labels: string[] = [];
  let value = '';
  let time = '';
  while (reader.pos < reader.len) {
    const field = reader.uint32() >>> 3;
    if (field === 1) labels.push(label(protobuf.Reader.create(reader.bytes())));
    else if (field === 2) value = String(reader.double());
    else time = String(reader.int64());
  }
  return `{${labels.join(',')}} ${value}@${time}`;
}

function metadata(reader: protobuf.Reader): string {
  const parts: string[] = [];
  while (reader.pos < reader.len) {
    const field = reader.uint32() >>> 3;
    parts.push(field === 1 ? `type ${reader.int32()}` : `${field} ${reader.string()}`);
  }
  return parts.join('; ');
}

test('lines become series', async (t) => {
  const f = (text: string, want: string[], format: Partial<TextFormat> = {}) => {
    const got = transcodeText(Buffer.from(text), { ...FORMAT, ...format });
    t.strictSame(said(got), want, text);
    t.equal(got.firstRefused, '', text);
  };
  f('up 1', ['{__name__="up"} 1@1000']);
  f('up 1 \n\n# a remark\n  down\t-2.5   77\r\n', ['{__name__="up"} 1@1000', '{__name__="down"} -2.5@77']);
  f('m{b="2", a = "1",} 3', ['{__name__="m",a="1",b="2"} 3@1000']);
  f('m{} 3', ['{__name__="m"} 3@1000']);
  f('m {a="1"} 3', ['{__name__="m",a="1"} 3@1000']);
  f('m{a="",Z="1"} 3', ['{Z="1",__name__="m"} 3@1000']);
  f('m{a="q\\"n\\nb\\\\, }"} 1', ['{__name__="m",a="q\\"n\\nb\\\\, }"} 1@1000']);
  f('{"a.b",le="0.5","x.y"="ü"} 1', ['{__name__="a.b",le="0.5",x.y="ü"} 1@1000']);
  f('m -0\nm NaN\nm +Inf\nm -inf\nm 1e-3 -5', [
    '{__name__="m"} -0@1000',
    '{__name__="m"} NaN@1000',
    '{__name__="m"} Infinity@1000',
    '{__name__="m"} -Infinity@1000',
    '{__name__="m"} 0.001@-5',
  ]);
  f('# HELP m What it is.\n# TYPE m counter\n# UNIT m bytes\n# TYPE "a.b" strange', [
    'type 1; 2 m; 4 What it is.; 5 bytes',
    '2 a.b',
  ]);
  f('# TYPE m gauge\nm 1\n# HELP m a\\\\b\\nc\n# HELP n x', [
    '{__name__="m"} 1@1000',
    'type 2; 2 m; 4 a\\b\nc',
    '2 n; 4 x',
  ]);
  f('m 1 2', ['{__name__="m"} 1@1000'], { honorTimestamps: false });
  const added = [
    ['job', 'j'],
    ['instance', 'i'],
  ] as const;
  f('m{job="own"} 1', ['{__name__="m",instance="i",job="j"} 1@1000'], { labels: added });
  f('m{job="own"} 1', ['{__name__="m",instance="i",job="own"} 1@1000'], { labels: added, onConflict: 'kept' });
  f('m{job="own"} 1', ['{__name__="m",exported_job="own",instance="i",job="j"} 1@1000'], {
    labels: added,
    onConflict: 'renamed',
  });
  f(
    'm{job="a",exported_job="b"} 1',
    ['{__name__="m",exported_exported_job="a",exported_job="b",instance="i",job="j"} 1@1000'],
    {
      labels: added,
      onConflict: 'renamed',
    },
  );
  const isOpenMetrics = true;
  f('m 1 1.5\n# EOF\nnot read', ['{__name__="m"} 1@1500'], { isOpenMetrics });
  f(
    'm_bucket{le="1"} 2 # {trace_id="t",a="b"} 0.7 1.25\n# EOF',
    ['{__name__="m_bucket",le="1"} 2@1000 # {a="b",trace_id="t"} 0.7@1250'],
    { isOpenMetrics },
  );
  f('m 2 3 # {} 0.7\n# EOF', ['{__name__="m"} 2@3000 # {} 0.7@3000'], { isOpenMetrics });
});

test('lines that cannot be read are refused, and the others kept', async (t) => {
  const f = (line: string, want: string, format: Partial<TextFormat> = {}) => {
    const got = transcodeText(Buffer.from(`a 1\n${line}\nb 2\n`), { ...FORMAT, ...format });
    t.strictSame(said(got), ['{__name__="a"} 1@1000', '{__name__="b"} 2@1000'], line);
    t.equal(got.refusedLines, 1, line);
    t.equal(got.firstRefused, `line 2: ${want}: ${JSON.stringify(line)}`);
  };
  f('m', 'want a value');
  f('m{', 'want the name of a label');
  f('m{a}', 'want = behind the name of a label');
  f('m{a="1" b="2"} 1', 'want , or } behind a label');
  f('m{a=1} 1', 'want a label value in quotes');
  f('m{a="1} 1', 'want a closing quote');
  f('m{a="\\x"} 1', 'want \\\\, \\" or \\n behind a backslash');
  f('m one', 'want a value');
  f('m 1_000', 'want a value');
  f('m 1 2 3', 'want the end of the line');
  f('m 1 1.5', 'want a timestamp that is a whole number of milliseconds');
  f('m 1 NaN', 'want a timestamp that is a whole number of milliseconds', { isOpenMetrics: true });
  f('1m 1', 'want a metric name');
  f('# TYPE', 'TYPE without a metric name');
  f('m 1 # {a="b"} 1', 'want the end of the line');
  f('m 1 # a 1', 'want the labels of an exemplar', { isOpenMetrics: true });
  const labels = Array.from({ length: 200 }, (_, i) => `l${i}="1"`).join();
  t.match(transcodeText(Buffer.from(`m{${labels}} 1`), FORMAT).firstRefused, /want at most 160 labels/);
  t.equal(transcodeText(Buffer.from('m 1\n'), { ...FORMAT, isOpenMetrics: true }).isComplete, false);
  t.equal(transcodeText(Buffer.from('m 1\n# EOF\n'), { ...FORMAT, isOpenMetrics: true }).isComplete, true);
});

test('a long text becomes several bodies', async (t) => {
  const lines = Array.from({ length: 60_000 }, (_, i) => `metric_${i}{some_label="some value"} ${i}\n`);
  const got = transcodeText(Buffer.from(lines.join('')), FORMAT);
  t.ok(got.bodies.length > 2, `${got.bodies.length} bodies`);
  t.equal(got.samples, lines.length);
  t.strictSame(
    said(got),
    lines.map((_, i) => `{__name__="metric_${i}",some_label="some value"} ${i}@1000`),
  );
});

test('numbers are read to the bit', async (t) => {
  const f = (text: string, want: number | undefined) => {
    const bytes = Buffer.from(`x${text}y`);
    t.ok(Object.is(readFloat(bytes, 1, bytes.length - 1), want), `${text}: ${readFloat(bytes, 1, bytes.length - 1)}`);
  };
  for (const text of ['0', '-0', '+7', '.5', '5.', '1e3', '1E-7', '9007199254740993', '0.1', '123456789.123456789']) {
    f(text, Number(text));
  }
  f('0x1p-2', 0.25);
  f('-0x1.8P1', -3);
  f('Infinity', Infinity);
  for (const text of ['', '.', '-', 'e5', '1e', '0x', '0x1', '1,5', ' 1', 'nanx', '1__0']) f(text, undefined);
  fc.assert(
    fc.property(fc.double({ noNaN: true }), fc.nat(20), (value, digits) => {
      for (const text of [
        String(value),
        value.toExponential(digits),
        Math.abs(value) < 1e20 ? value.toFixed(digits) : '1',
      ]) {
        const bytes = Buffer.from(text);
        if (!Object.is(readFloat(bytes, 0, bytes.length), Number(text))) return false;
      }
      return true;
    }),
  );
});

test('any bytes are read or refused', async () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom('m', '{', '}', '"', '\\', '=', ',', ' ', '\n', '#', '1', 'le', '# EOF', '\u{1f30a}', 'NaN'),
        {
          maxLength: 60,
        },
      ),
      fc.boolean(),
      (parts, isOpenMetrics) => {
        const got = transcodeText(Buffer.from(parts.join('')), { ...FORMAT, isOpenMetrics });
        return said(got).length >= got.samples;
      },
    ),
    { numRuns: 2000 },
  );
});
