/**
 * Remote-write 2.0 into the kernel, against the plain decoder: the same series and samples, the same refusals, and whatever
 * anybody may send is refused only as the plain decoder refuses it, with the memory whole.
 */
import snappy from 'snappyjs';
import { test } from 'tap';
import { storeSeries } from '../../src/ingest/remote-write/decode2.ts';
import { Tally } from '../../src/ingest/tally.ts';
import { defaultExemplars } from '../../src/ingest/write.ts';
import { CodedError } from '../../src/model/errors.ts';
import { labelsText } from '../../src/model/labels.ts';
import { SampleBuffer } from '../../src/model/sample.ts';
import { KERNEL_WASM_BASE64 } from '../../src/tsdb/kernel/generated/kernel-debug.ts';
import { KernelHead, type RequestCounts } from '../../src/tsdb/kernel-head.ts';
import { TestClock } from '../support/clock.ts';
import { PlainHead } from '../support/plain-head.ts';
import { storePlainRequest } from '../support/plain-remote-write-2.ts';
import {
  encodePlainRequest,
  type LabelPairs,
  type RequestOptions,
  type Series2ToEncode,
} from '../support/remote-write-2-encoder.ts';

const isLong = process.env.TIDEGAUGE_LONG === '1';
const T0 = 1_700_000_000_000;

/** Numbers below n, the same ones for a seed. */
function randomOf(seed: number): (n: number) => number {
  let state = seed >>> 0 || 1;
  return (n) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % n;
  };
}

function heads(seriesMax = 5000, bodyBytesMax = 131_072) {
  const clock = new TestClock(T0);
  const options = { clock, retentionMs: 3_600_000, outOfOrderMsMax: 300_000, futureMsMax: 600_000, seriesMax };
  const memoryBytes = 32 * 2 ** 20;
  const kernel = new KernelHead({ ...options, wasm: KERNEL_WASM_BASE64, memoryBytes, bodyBytesMax });
  return { kernel, model: new PlainHead(options) };
}

/** All series with their samples, histograms and start timestamps as sorted text. */
function dump(head: Pick<PlainHead, 'select'> | KernelHead): string[] {
  const into = new SampleBuffer(1);
  const selection = head.select({ matchers: [], fromMs: 0, toMs: T0 + 10 ** 7, scope: null });
  const lines = Array.from({ length: selection.count }, (_, i) => {
    const count = selection.read(i, 0, T0 + 10 ** 7, into);
    const starts = new Float64Array(count);
    if (!selection.readStarts(i, into.timesMs, count, starts)) starts.fill(0);
    const samples = Array.from({ length: count }, (_, k) => {
      return `${into.timesMs[k]}=${into.halves[2 * k]},${into.halves[2 * k + 1]}>${starts[k]}`;
    });
    const { timesMs, blobs } = selection.readHistograms(i, 0, T0 + 10 ** 7);
    const histograms = blobs.map((blob, k) => `${timesMs[k]}#${Buffer.from(blob).toString('hex')}`);
    return `${labelsText(selection.labels(i))} ${samples.join(' ')} ${histograms.join(' ')}`;
  });
  selection.close();
  return lines.sort();
}

/** Stores a plain body in the kernel, and what it leaves as the daemon does. */
function write(kernel: KernelHead, body: Uint8Array, connection = 1): { counts: RequestCounts; tally: Tally } {
  const counts = kernel.writeRequest(new Uint8Array(snappy.compress(body)), connection);
  const tally = new Tally();
  const sink = { head: kernel, exemplars: defaultExemplars(1000), latestMs: Infinity, tally };
  for (const odd of counts.odd) storeSeries({ ...odd, symbols: counts.symbols }, sink);
  return { counts, tally };
}

function codeOf(act: () => unknown): string {
  try {
    act();
    return 'stored';
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
}

function at(ms: number, value: number | 'stale' = 1) {
  return { timestampMs: T0 + ms, value };
}

const NAME: LabelPairs = [['__name__', 'm']];

test('what the kernel takes by itself is what the plain decoder takes', async (t) => {
  const f = (name: string, odd: number, series: readonly Series2ToEncode[], options: RequestOptions = {}): void => {
    const { kernel, model } = heads(5000, 2 ** 20);
    const body = encodePlainRequest(series, options);
    // Three times: new, known by its labels, and predicted.
    for (const connection of [1, 2, 1]) {
      storePlainRequest(body, model, new Tally());
      const { counts } = write(kernel, body, connection);
      t.equal(counts.odd.length, odd, `${name}: odd ones`);
      t.strictSame(dump(kernel), dump(model), name);
      kernel.verify();
    }
  };
  const two: LabelPairs = [...NAME, ['a', 'x']];
  f('one sample', 0, [{ labels: NAME, samples: [at(0)] }]);
  f('several series', 0, [
    { labels: two, samples: [at(0)] },
    { labels: [...NAME, ['a', 'y']], samples: [at(0)] },
    { labels: [...NAME, ['a', 'm']], samples: [at(0)] },
  ]);
  f('a value under two names', 0, [
    { labels: [...NAME, ['a', 'x'], ['b', 'x']], samples: [at(0)] },
    { labels: [...NAME, ['b', 'x'], ['c', 'x']], samples: [at(0)] },
  ]);
  // Behind the same series once `a="y"` and once `b="y"`: what was remembered of y holds for one name only.
  f('a value that was just seen under another name', 0, [
    { labels: [...NAME, ['p', '1']], samples: [at(0)] },
    { labels: [...NAME, ['a', 'y']], samples: [at(0)] },
    { labels: [...NAME, ['p', '1']], samples: [at(1)] },
    { labels: [...NAME, ['a', 'y']], samples: [at(1)] },
    { labels: [...NAME, ['p', '1']], samples: [at(2)] },
    { labels: [...NAME, ['b', 'y']], samples: [at(2)] },
  ]);
  f('names and values that differ only in where they part', 0, [
    { labels: [...NAME, ['ab', 'c']], samples: [at(0)] },
    { labels: [...NAME, ['a', 'bc']], samples: [at(0)] },
  ]);
  f('references of two bytes', 0, [{ labels: two, samples: [at(0)] }], { padding: 200 });
  f('references of one and two bytes', 0, [{ labels: [...two, ['b', 'y']], samples: [at(0)] }], { padding: 122 });
  f('references of three bytes', 0, [{ labels: two, samples: [at(0)] }], { padding: 17_000 });
  f('references of two and three bytes', 0, [{ labels: [...two, ['b', 'y']], samples: [at(0)] }], { padding: 16_378 });
  f('symbols behind the series', 0, [{ labels: two, samples: [at(0)] }], { symbolsLast: true });
  f('several samples, a stale one', 0, [{ labels: NAME, samples: [at(0), at(1), at(2, 'stale')] }]);
  f('metadata', 0, [{ labels: two, samples: [at(0)], metadata: { type: 1, help: 'h', unit: 'u' } }]);
  f('nothing but metadata', 0, [{ labels: two, metadata: { type: 1, help: 'h', unit: 'u' } }]);
  f('labels that are long', 0, [{ labels: [...NAME, ['a'.repeat(200), 'v'.repeat(4000)]], samples: [at(0)] }]);
  f('a start timestamp', 0, [
    { labels: NAME, samples: [{ ...at(0), startTimestampMs: T0 - 5000 }] },
    { labels: NAME, samples: [{ ...at(1000), startTimestampMs: T0 - 5000 }] },
  ]);
  f('characters beyond ASCII', 0, [{ labels: [...NAME, ['ü', '\u{1f30a}']], samples: [at(0)] }]);
  f('no labels', 1, [{ labels: [], samples: [at(0)] }]);
  f('no name', 1, [{ labels: [['a', 'x']], samples: [at(0)] }]);
  f('unsorted labels', 1, [{ labels: [['a', 'x'], ...NAME], samples: [at(0)] }]);
  f('an empty value', 1, [{ labels: [...NAME, ['a', '']], samples: [at(0)] }]);
  f('a repeated name', 1, [{ labels: [...two, ['a', 'y']], samples: [at(0)] }]);
  f('a label too long', 1, [{ labels: [...NAME, ['a', 'v'.repeat(4097)]], samples: [at(0)] }]);
  f('a reference too many', 1, [{ labels: NAME, refs: [1, 2, 3], samples: [at(0)] }]);
  f('a reference to nothing', 1, [{ labels: NAME, refs: [1, 999], samples: [at(0)] }]);
  f('references one at a time', 1, [{ labels: two, unpacked: true, samples: [at(0)] }]);
  f('the draft time of creation', 1, [{ labels: NAME, samples: [at(0)], createdMs: T0 - 1000 }]);
  f('an exemplar', 1, [
    { labels: NAME, samples: [at(0)], exemplars: [{ labels: [['t', '1']], value: 1, timestampMs: T0 }] },
  ]);
  f('histograms', 3, [
    { labels: NAME, histograms: [{ timestampMs: T0, count: 1, positiveSpans: [[0, 1]], positive: [1], sum: 3 }] },
    { labels: NAME, histograms: [{ timestampMs: T0 + 1, sum: 'stale' }] },
    { labels: NAME, histograms: [{ timestampMs: T0 + 2, count: 3, startTimestampMs: T0 - 9 }] },
  ]);
  const many = Array.from({ length: 2500 }, (_, i) => ({
    labels: [['b', `${i % 7}`] as const, ...NAME],
    samples: [at(i)],
  }));
  f('more odd ones than the list holds', 2500, many);
});

test('known and new series in any order, under other numbers of their symbols each time', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = randomOf(seed * 2654435761);
    const { kernel, model } = heads(5000, 2 ** 20);
    for (let round = 0; round < 12; round++) {
      const metadata = { type: 1, help: 'What it counts.', unit: random(2) === 0 ? '' : 'seconds' };
      const series: Series2ToEncode[] = Array.from({ length: 10 + random(60) }, (_, i) => {
        // Mostly the next one, now and then any other; more of them each round.
        const number = random(12) === 0 ? random(20 + 8 * round) : i;
        const labels: LabelPairs = [...NAME, ['a', `${number}`], ['b', `${number >> 3}`], ['c', 'm']];
        const samples = Array.from({ length: random(15) === 0 ? random(3) : 1 }, (_, k) =>
          at(round * 1000 + k, number),
        );
        return { labels, samples, ...(random(3) > 0 ? { metadata } : {}), unpacked: random(40) === 0 };
      });
      const padding = [0, 0, 110, 200, 16_370][random(5)]!;
      const body = encodePlainRequest(series, { padding, symbolsLast: random(8) === 0 });
      storePlainRequest(body, model, new Tally());
      write(kernel, body, 1 + random(2));
      t.strictSame(dump(kernel), dump(model), `seed ${seed}, round ${round}`);
    }
    kernel.verify();
  }
});

test('a time is not taken for one of six bytes because the time before was shorter or longer', async (t) => {
  const { kernel, model } = heads();
  const body = (timestampMs: number) =>
    encodePlainRequest(
      ['x', 'y'].map((a) => ({ labels: [...NAME, ['a', a] as const], samples: [{ timestampMs, value: 1 }] })),
    );
  for (const [timeMs, bytes] of [
    [2 ** 34, 5],
    [T0, 6],
    [2 ** 44, 7],
  ] as const) {
    for (let k = 0; k < 2; k++) write(kernel, body(T0 + k));
    const plain = body(timeMs);
    const behind = plain.length - bytes;
    const other = Uint8Array.from([...plain, 0x2a].slice(0, behind + 6));
    // The second sample's length and its series' say six bytes of time.
    for (const place of [behind - 11, behind - 19]) other[place]! += 6 - bytes;
    const want = codeOf(() => storePlainRequest(other, model, new Tally()));
    t.equal(want, bytes === 6 ? 'stored' : 'bad_body');
    const got = codeOf(() => write(kernel, other));
    t.equal(got, want, `six bytes of time behind ${bytes}`);
  }
});

test('metadata is noted once a metric, and only when it says something new', async (t) => {
  const { kernel } = heads();
  const seen = new Set<string>();
  const isSeen = (low: number, high: number): boolean => {
    const key = `${low} ${high}`;
    const known = seen.has(key);
    seen.add(key);
    return known;
  };
  const f = (name: string, series: readonly Series2ToEncode[], want: readonly string[]): void => {
    const { counts } = write(kernel, encodePlainRequest(series));
    const got = kernel.lastMetadata(isSeen).map(({ symbol, message }) => {
      return `${counts.symbols.text(symbol)} ${Buffer.from(message).toString('hex')}`;
    });
    t.strictSame(got.sort(), [...want], name);
  };
  const metric = (name: string, a: string, type: number, help: string): Series2ToEncode => ({
    labels: [
      ['__name__', name],
      ['a', a],
    ],
    samples: [at(0)],
    metadata: { type, help, unit: '' },
  });
  const both = [metric('m', '1', 1, 'h'), metric('m', '2', 1, 'h'), metric('n', '1', 1, 'h')];
  f('two metrics', both, ['m 080118052000', 'n 080118052000']);
  f('the same again', both, []);
  f('another help', [metric('m', '1', 1, 'i'), metric('n', '1', 1, 'h')], ['m 080118052000']);
  f('another type', [metric('n', '1', 2, 'h')], ['n 080218052000']);
  f(
    'a histogram, which is odd',
    [{ labels: [['__name__', 'h']], histograms: [], exemplars: [], metadata: { type: 3, help: 'h', unit: '' } }],
    ['h 080318022000'],
  );
});

test('what is refused is counted and named', async (t) => {
  const { kernel } = heads(3);
  const series = (a: string, ms: number): Series2ToEncode => ({ labels: [...NAME, ['a', a]], samples: [at(ms)] });
  const { counts } = write(
    kernel,
    encodePlainRequest([series('1', 0), series('1', 0), series('2', -3_600_000), series('3', 600_001), series('4', 0)]),
  );
  t.equal(counts.stored, 1);
  t.equal(counts.duplicate, 1);
  t.equal(counts.tooOld, 1);
  t.equal(counts.tooFarAhead, 1);
  t.equal(counts.seriesLimit, 1);
  t.equal(counts.refusals.length, 3);
  t.equal(counts.seriesCreated, 3);
  t.throws(() => kernel.writeRequest(new Uint8Array(300_000), 1), { code: 'body_too_large' });
  const symbols = Uint8Array.from({ length: 40_000 }, (_, i) => (i % 2 === 0 ? 0x22 : 0));
  t.throws(() => write(kernel, symbols), { code: 'body_too_large', message: /more than \d+ symbols/ });
  // A 1.0 body: fields 1 and 3 are no fields of 2.0, and must not be taken for nothing at all.
  t.throws(() => write(kernel, Uint8Array.of(0x0a, 0)), { code: 'bad_body' });
});

function randomSeries(random: (n: number) => number): Series2ToEncode {
  const labels: [string, string][] = [
    ['__name__', `m${random(4)}`],
    ['a', `${random(9)}`],
  ];
  if (random(4) === 0) labels.push(['b', 'x'.repeat(random(200))]);
  if (random(12) === 0) labels.reverse();
  const time = () => random(60_000);
  const start = random(6) === 0 ? { startTimestampMs: T0 - random(3) * 1000 } : {};
  const samples = Array.from({ length: random(8) === 0 ? 3 : 1 }, () => ({ ...at(time(), random(100)), ...start }));
  const histogram = {
    timestampMs: T0 + time(),
    count: 3,
    sum: 1,
    positiveSpans: [[0, 2]] as const,
    positive: [1, 1],
    ...start,
  };
  return {
    labels,
    ...(random(15) === 0 ? { histograms: [histogram] } : { samples }),
    ...(random(9) === 0 && { exemplars: [{ labels: [['t', 'x'] as const], value: 1, timestampMs: T0 + time() }] }),
    ...(random(3) === 0 && { metadata: { type: random(9), help: `help ${random(3)}`, unit: '' } }),
    ...(random(20) === 0 && { createdMs: T0 - 1000 }),
    ...(random(20) === 0 && { unpacked: true }),
  };
}

/** A body, plain, with a few bytes damaged, cut or inserted. */
function damaged(random: (n: number) => number, body: Uint8Array): Uint8Array {
  const bytes = [...body];
  for (let k = random(3) + 1; k > 0; k--) {
    const where = random(bytes.length + 1);
    const act = random(4);
    if (act === 0) bytes.splice(where, random(4));
    else if (act === 1) bytes.splice(where, 0, ...Array.from({ length: random(4) }, () => random(256)));
    else if (act === 2) bytes[where] = [0, 0x0a, 0x12, 0x7f, 0x80, 0xff, 0x2a, 0x22, 0x1a, 0x08][random(10)]!;
    else bytes[where] = random(256);
  }
  return Uint8Array.from(bytes);
}

test('damaged bodies are refused exactly where the plain decoder refuses them, and leave the memory whole', async (t) => {
  const seed = 17;
  const random = randomOf(seed);
  const { kernel, model } = heads();
  let refused = 0;
  const rounds = isLong ? 40_000 : 1500;
  for (let i = 0; i < rounds; i++) {
    const series = Array.from({ length: random(5) + 1 }, () => randomSeries(random));
    const plain = encodePlainRequest(series, { padding: random(3) * 70, symbolsLast: random(9) === 0 });
    const body = random(3) === 0 ? plain : damaged(random, plain);
    const before = i % 50 === 0 ? dump(kernel) : null;
    const wantedTally = new Tally();
    const wanted = codeOf(() => storePlainRequest(body, model, wantedTally));
    let stored = 0;
    const got = codeOf(() => {
      const { counts, tally } = write(kernel, body, random(4));
      stored = counts.stored + counts.duplicate + tally.samplesStored;
    });
    if (wanted !== 'stored') refused++;
    if (wanted !== got || stored !== wantedTally.samplesStored)
      t.fail(`seed ${seed}, body ${i}: want ${wanted}, got ${got}: ${Buffer.from(body).toString('hex')}`);
    if (before !== null && got !== 'stored') t.strictSame(dump(kernel), before, 'a refused body leaves no trace');
    if (i % 100 === 0) kernel.verify();
    if (i % 500 === 499 && dump(kernel).join('\n') !== dump(model).join('\n'))
      t.fail(`seed ${seed}: stores differ after ${i}`);
  }
  kernel.verify();
  t.ok(refused > rounds / 10, `${refused} of ${rounds} bodies were refused`);
});

test('any bytes are refused or stored, and leave the memory whole', async (t) => {
  const random = randomOf(29);
  const { kernel } = heads();
  const seen = new Map<string, number>();
  for (let i = 0; i < (isLong ? 50_000 : 3000); i++) {
    const bytes = Uint8Array.from({ length: random(300) }, () => [random(256), 0x2a, 0x22, random(8)][random(4)]!);
    const code = codeOf(() => (random(2) === 0 ? kernel.writeRequest(bytes, i) : write(kernel, bytes, i)));
    seen.set(code, (seen.get(code) ?? 0) + 1);
  }
  kernel.verify();
  t.ok((seen.get('bad_body') ?? 0) > 100, JSON.stringify([...seen]));
});
