import fc from 'fast-check';
import { pino } from 'pino';
import protobuf from 'protobufjs/minimal.js';
import snappyNative from 'snappy';
import { test } from 'tap';
import { buildHttp } from '../../../src/api/http.ts';
import { registerPrometheus } from '../../../src/api/prometheus/prometheus.ts';
import { crc32c } from '../../../src/api/prometheus/read/crc32c.ts';
import { compressSnappy, uncompressSnappy } from '../../../src/api/prometheus/read/snappy.ts';
import { encodeXorChunk } from '../../../src/api/prometheus/read/xor.ts';
import { defaultExemplars } from '../../../src/ingest/write.ts';
import { CodedError } from '../../../src/model/errors.ts';
import { EMPTY_HISTOGRAM } from '../../../src/model/histogram.ts';
import { QueryEngine } from '../../../src/promql/engine.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { Metadata } from '../../../src/tsdb/metadata.ts';
import { feed, headAt } from '../../support/fed-head.ts';
import { decodeXorChunk } from '../../support/xor-chunk.ts';

const NOW_MS = 1_700_000_000_500;
const clock = { nowMs: () => NOW_MS, monotonicMs: () => 0 };
const STALE_BITS = 0x7ff0000000000002n;
const HISTOGRAM = {
  ...EMPTY_HISTOGRAM,
  schema: 1,
  count: 6,
  sum: 2.5,
  zeroThreshold: 0.001,
  zeroCount: 1,
  positive: { spans: Int32Array.of(-2, 2, 1, 1), counts: Float64Array.of(1, 2, 2) },
};

const head = headAt(NOW_MS);
feed(
  head,
  { __name__: 'up', job: 'b' },
  Array.from({ length: 300 }, (_, i) => [NOW_MS - 300_000 + i * 1000, i % 7 === 0 ? 'stale' : Math.sqrt(i)] as const),
);
feed(head, { __name__: 'up', job: 'a' }, [[NOW_MS - 10_000, 1]]);
feed(head, { __name__: 'latency', job: 'a' }, [[NOW_MS - 5000, HISTOGRAM]]);

const app = buildHttp({ logger: pino({ level: 'silent' }) });
registerPrometheus(app, {
  engine: new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: 300_000 }),
  head,
  exemplars: defaultExemplars(0),
  metadata: new Metadata(),
  clock,
  isReady: () => true,
  version: '0',
  flags: {},
  queryTimeoutMs: 120_000,
  lookbackMs: 300_000,
  retentionMs: 7_200_000,
  startTimeMs: NOW_MS,
});

interface Asked {
  readonly startMs?: number;
  readonly endMs?: number;
  /** Type, name, value. */
  readonly matchers: readonly (readonly [number, string, string])[];
}

/** Written apart from the code under test: protobufjs and the native snappy. */
function body(queries: readonly Asked[], accepted: readonly number[]): Buffer {
  const writer = protobuf.Writer.create();
  for (const { startMs = NOW_MS - 3_600_000, endMs = NOW_MS, matchers } of queries) {
    writer.uint32(10).fork().uint32(8).int64(startMs).uint32(16).int64(endMs);
    for (const [type, name, value] of matchers) {
      writer.uint32(26).fork().uint32(8).int32(type).uint32(18).string(name).uint32(26).string(value).ldelim();
    }
    // 4 hints { 1 step_ms }: to be left aside.
    writer.uint32(34).fork().uint32(8).int64(15_000).ldelim().ldelim();
  }
  if (accepted.length > 0) {
    writer.uint32(18).fork();
    for (const type of accepted) writer.int32(type);
    writer.ldelim();
  }
  return snappyNative.compressSync(Buffer.from(writer.finish()));
}

async function read(queries: readonly Asked[], accepted: readonly number[] = []) {
  return app.inject({ method: 'POST', url: '/api/v1/read', payload: body(queries, accepted) });
}

type Fields = Map<number, (Uint8Array | bigint)[]>;

/** All fields of a message by number; varints and 64-bit values as bigints. */
function fieldsOf(bytes: Uint8Array): Fields {
  const reader = protobuf.Reader.create(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const wire = tag & 7;
    const value =
      wire === 2 ? reader.bytes() : wire === 0 ? BigInt(String(reader.int64())) : BigInt(String(reader.fixed64()));
    const list = fields.get(tag >>> 3) ?? [];
    list.push(value);
    fields.set(tag >>> 3, list);
  }
  return fields;
}

const all = (fields: Fields, field: number): Uint8Array[] => (fields.get(field) ?? []) as Uint8Array[];
const labelsOf = (series: Fields): string =>
  all(series, 1)
    .map((label) =>
      all(fieldsOf(label), 1)
        .concat(all(fieldsOf(label), 2))
        .map((b) => Buffer.from(b).toString())
        .join('='),
    )
    .join(',');
const UP = { matchers: [[0, '__name__', 'up']] } as const;

test('samples: one result a query, series sorted, both ends inclusive, stale markers as they are', async (t) => {
  const reply = await read([
    UP,
    {
      matchers: [
        [2, 'job', 'a|x'],
        [1, '__name__', 'latency'],
      ],
      startMs: NOW_MS - 10_000,
      endMs: NOW_MS - 10_000,
    },
    { matchers: [[0, 'job', 'nobody']] },
  ]);
  t.strictSame(
    [reply.statusCode, reply.headers['content-type'], reply.headers['content-encoding']],
    [200, 'application/x-protobuf', 'snappy'],
  );
  const response = snappyNative.uncompressSync(reply.rawPayload) as Buffer;
  const [first, second, third] = all(fieldsOf(response), 1).map(fieldsOf);
  const series = all(first!, 1).map(fieldsOf);
  t.strictSame(series.map(labelsOf), ['__name__=up,job=a', '__name__=up,job=b']);
  const samples = all(series[1]!, 2).map(fieldsOf);
  t.equal(samples.length, 300);
  t.strictSame([samples[0]!.get(1), samples[0]!.get(2)], [[STALE_BITS], [BigInt(NOW_MS - 300_000)]]);
  t.equal(new Float64Array(BigUint64Array.of(samples[2]!.get(1)![0] as bigint).buffer)[0], Math.sqrt(2));
  t.strictSame(
    all(second!, 1).map((bytes) => labelsOf(fieldsOf(bytes))),
    ['__name__=up,job=a'],
  );
  t.equal(third!.size, 0);
});

test('samples: native histograms', async (t) => {
  // Whoever takes chunks first and samples too gets samples: histogram chunks are a format of their own.
  for (const accepted of [[0], [1, 0]]) {
    const reply = await read([{ matchers: [[0, '__name__', 'latency']] }], accepted);
    const [result] = all(fieldsOf(snappyNative.uncompressSync(reply.rawPayload) as Buffer), 1).map(fieldsOf);
    const [histogram] = all(fieldsOf(all(result!, 1)[0]!), 4).map(fieldsOf);
    const double = (field: number) =>
      new Float64Array(BigUint64Array.of(histogram!.get(field)![0] as bigint).buffer)[0];
    t.strictSame([double(2), double(3), double(5), double(7)], [6, 2.5, 0.001, 1]);
    t.strictSame([histogram!.get(4), histogram!.get(15)], [[2n], [BigInt(NOW_MS - 5000)]], 'schema 1, zigzag; time');
    t.equal(all(histogram!, 11).length, 2);
    t.strictSame([...new Float64Array(Uint8Array.from(all(histogram!, 13)[0]!).buffer)], [1, 2, 2]);
  }
  const chunksOnly = await read([{ matchers: [[0, '__name__', 'latency']] }], [1]);
  t.strictSame([chunksOnly.statusCode, chunksOnly.headers['content-type']], [422, 'text/plain; charset=utf-8']);
  t.match(chunksOnly.body, 'accept SAMPLES');
});

test('streamed chunks: frames with their sum, chunks of 120 samples', async (t) => {
  const reply = await read([UP, UP], [7, 1, 0]);
  t.equal(reply.headers['content-type'], 'application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse');
  const seen: string[] = [];
  const bytes = reply.rawPayload;
  for (let at = 0; at < bytes.length; ) {
    const reader = protobuf.Reader.create(bytes.subarray(at));
    const length = reader.uint32();
    const start = at + reader.pos + 4;
    const message = bytes.subarray(start, start + length);
    t.equal(bytes.readUInt32BE(at + reader.pos), crc32c(message));
    at = start + length;
    const fields = fieldsOf(message);
    for (const one of all(fields, 1).map(fieldsOf)) {
      const chunks = all(one, 2).map(fieldsOf);
      const samples = chunks.flatMap((chunk) => decodeXorChunk(all(chunk, 4)[0]!));
      const types = chunks.map((chunk) => chunk.get(3)![0]);
      seen.push(`${fields.get(2)?.[0] ?? 0n} ${labelsOf(one)} ${chunks.length} ${samples.length} ${types.join()}`);
      t.equal(BigInt(samples[0]!.timeMs), chunks[0]!.get(1)![0]);
      t.equal(BigInt(samples.at(-1)!.timeMs), chunks.at(-1)!.get(2)![0]);
      if (samples.length === 300) {
        t.strictSame(samples.filter(({ bits }) => bits === STALE_BITS).length, 43);
        t.strictSame(
          samples.map(({ timeMs }) => timeMs),
          Array.from({ length: 300 }, (_, i) => NOW_MS - 300_000 + i * 1000),
        );
      }
    }
  }
  const once = (index: number) => [`${index} __name__=up,job=a 1 1 1`, `${index} __name__=up,job=b 3 300 1,1,1`];
  t.strictSame(seen, [...once(0), ...once(1)]);
});

test('what cannot be read is refused in plain text', async (t) => {
  const f = async (payload: Buffer, want: RegExp, status = 400) => {
    const reply = await app.inject({ method: 'POST', url: '/api/v1/read', payload });
    t.strictSame([reply.statusCode, reply.headers['content-type']], [status, 'text/plain; charset=utf-8']);
    t.match(reply.body, want);
  };
  await f(Buffer.from('nonsense'), /cannot decode snappy block/);
  await f(snappyNative.compressSync(Buffer.from([10, 200, 1])), /cannot decode ReadRequest/);
  await f(body([UP], [2, 9]), /got the response types 2, 9, want 0 or 1/);
  await f(body([{ matchers: [[5, 'a', 'b']] }], []), /matcher type 5/);
  await f(body([{ matchers: [[2, 'a', '(']] }], []), /regular expression|regexp|missing/);
  await f(
    body(
      Array.from({ length: 101 }, () => UP),
      [],
    ),
    /got 101 queries/,
  );
  // Six bytes that declare four gigabytes.
  await f(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0]), /want at most/, 413);
});

test('snappy, both ways, against the native one', async (t) => {
  const seed = Date.now();
  t.comment(`seed ${seed}`);
  const text = fc.array(fc.constantFrom('a', 'bc', 'label_name', '0123456789', '\u0000'), { maxLength: 400 });
  const blocks = fc.oneof(
    fc.uint8Array({ maxLength: 500 }),
    text.map((parts) => new Uint8Array(Buffer.from(parts.join('')))),
  );
  fc.assert(
    fc.property(blocks, (bytes) => {
      const back = snappyNative.uncompressSync(Buffer.from(compressSnappy(bytes))) as Buffer;
      const ours = uncompressSnappy(snappyNative.compressSync(Buffer.from(bytes)), 1e6);
      return back.equals(bytes) && Buffer.from(ours).equals(bytes);
    }),
    { seed },
  );
  const large = new Uint8Array(300_000).map((_, i) => (i * i) >> (i % 11));
  t.ok((snappyNative.uncompressSync(compressSnappy(large)) as Buffer).equals(large));
  t.ok(compressSnappy(new Uint8Array(300_000)).length < 20_000, 'repeats are found');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        uncompressSnappy(bytes, 10_000);
        return true;
      } catch (error) {
        return error instanceof CodedError;
      }
    }),
    { seed, numRuns: 2000 },
  );
});

test('XOR chunks of any samples read back bit by bit', async (t) => {
  const seed = Date.now();
  t.comment(`seed ${seed}`);
  const sample = fc.tuple(
    fc.oneof(fc.integer({ min: 0, max: 40_000 }), fc.integer({ min: 0, max: 2 ** 31 })),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.integer({ min: 0, max: 3 }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: -1e12, max: 2e12 }),
      fc.array(sample, { minLength: 1, maxLength: 120 }),
      (startMs, list) => {
        const timesMs = new Float64Array(list.length);
        const values = new BigUint64Array(list.length);
        let timeMs = startMs;
        for (const [i, [gapMs, bits, like]] of list.entries()) {
          timesMs[i] = timeMs;
          timeMs += gapMs;
          // Like its neighbour, like a small number, or anything.
          values[i] = like === 0 && i > 0 ? values[i - 1]! : like === 1 ? 0x4059000000000000n + (bits & 0xff00n) : bits;
        }
        const chunk = encodeXorChunk(timesMs, new Uint32Array(values.buffer), 0, list.length);
        const back = decodeXorChunk(chunk);
        return (
          back.length === list.length &&
          back.every(({ timeMs, bits }, i) => timeMs === timesMs[i] && bits === values[i])
        );
      },
    ),
    { seed, numRuns: 500 },
  );
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283, 'the check value of RFC 3720');
});
