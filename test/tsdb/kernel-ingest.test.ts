/**
 * Bytes into the kernel: snappy against snappyjs, the protobuf walk against the plain decoder, and whatever else
 * anybody may send. Any bytes may be refused, but only as the plain decoder refuses them, and the memory stays whole.
 */
import snappy from 'snappyjs';
import { test } from 'tap';
import { Tally } from '../../src/ingest/tally.ts';
import { CodedError } from '../../src/model/errors.ts';
import { labelsText } from '../../src/model/labels.ts';
import { SampleBuffer } from '../../src/model/sample.ts';
import { KERNEL_WASM_BASE64 } from '../../src/tsdb/kernel/generated/kernel-debug.ts';
import { openKernel } from '../../src/tsdb/kernel/kernel.ts';
import { OUTCOME_TOO_OLD, SB_BODY, SB_IN, SB_RESULT } from '../../src/tsdb/kernel/layout.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { TestClock } from '../support/clock.ts';
import { PlainHead } from '../support/plain-head.ts';
import { storeWriteRequest } from '../support/plain-remote-write.ts';
import { uncompress } from '../support/plain-snappy.ts';
import { encodePlainWriteRequest, encodeWriteRequest, type SeriesToEncode } from '../support/remote-write-encoder.ts';

const isLong = process.env.TIDEGAUGE_LONG === '1';
const T0 = 1_700_000_000_000;
const BODY_MAX = 131_072;

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

function heads() {
  const options = {
    clock: new TestClock(T0),
    retentionMs: 3_600_000,
    outOfOrderMsMax: 300_000,
    futureMsMax: 600_000,
    seriesMax: 5000,
  };
  const kernel = new KernelHead({
    ...options,
    wasm: KERNEL_WASM_BASE64,
    memoryBytes: 32 * 2 ** 20,
    bodyBytesMax: BODY_MAX,
  });
  return { kernel, model: new PlainHead(options) };
}

/** All series and samples as sorted text. */
function dump(head: Pick<PlainHead, 'select'> | KernelHead): string[] {
  const into = new SampleBuffer(1);
  const selection = head.select({ matchers: [], fromMs: 0, toMs: T0 + 10 ** 7, scope: null });
  const lines = Array.from({ length: selection.count }, (_, i) => {
    const count = selection.read(i, 0, T0 + 10 ** 7, into);
    const samples = Array.from({ length: count }, (_, k) => {
      return `${into.timesMs[k]}=${into.halves[2 * k]},${into.halves[2 * k + 1]}`;
    });
    return `${labelsText(selection.labels(i))} ${samples.join(' ')}`;
  });
  selection.close();
  return lines.sort();
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

function randomBytes(random: (n: number) => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const alphabet = [2, 4, 256][random(3)]!;
  for (let i = 0; i < length; i++) bytes[i] = random(alphabet);
  // Long stretches of the same, near and far: copies of every kind.
  for (let k = random(6); k > 0 && length > 8; k--) {
    const from = random(length);
    const count = random(Math.min(length - from, 4000));
    bytes.copyWithin(random(length), from, from + count);
  }
  return bytes;
}

test('snappy blocks are decoded as the oracle decodes them, or refused as it refuses them', async (t) => {
  const kernel = openKernel({
    memoryBytes: 32 * 2 ** 20,
    seriesMax: 100,
    bodyBytesMax: BODY_MAX,
    periodMs: 60_000,
    outOfOrderMsMax: 0,
    labelsMax: 40,
    nameBytesMax: 256,
    valueBytesMax: 4096,
    hashKeys: new Uint32Array(8),
    wasm: KERNEL_WASM_BASE64,
  });
  const source = kernel.u32[SB_IN >> 2]!;
  const target = kernel.u32[SB_BODY >> 2]!;
  const decode = (block: Uint8Array): { status: number; bytes: Buffer } => {
    kernel.u8.fill(0xee, source, source + block.length + 64);
    kernel.u8.set(block, source);
    kernel.u8.fill(0xee, target, target + BODY_MAX + 128);
    const status = kernel.snappyDecode(source, block.length, target, BODY_MAX, SB_RESULT);
    const length = kernel.u32[SB_RESULT >> 2]!;
    // Wide copies may run over by less than 64 bytes, never further.
    if (status === 0)
      t.notOk(kernel.u8.subarray(target + length + 64, target + BODY_MAX + 128).some((b) => b !== 0xee));
    return { status, bytes: Buffer.from(kernel.u8.subarray(target, target + (status === 0 ? length : 0))) };
  };
  const random = randomOf(7);
  let refused = 0;
  for (let i = 0; i < (isLong ? 20_000 : 400); i++) {
    const plain = randomBytes(random, random(i % 10 === 0 ? BODY_MAX : 3000));
    const block = new Uint8Array(snappy.compress(plain));
    const whole = decode(block);
    if (whole.status !== 0 || !whole.bytes.equals(plain))
      t.fail(`block ${i} of ${plain.length} bytes is decoded wrongly`);
    for (let k = random(4) + 1; k > 0 && block.length > 0; k--) block[random(block.length)] = random(256);
    const cut = random(4) === 0 ? block.subarray(0, random(block.length + 1)) : block;
    const got = decode(cut);
    let wanted: Uint8Array | null = null;
    const code = codeOf(() => {
      wanted = uncompress(cut, BODY_MAX);
    });
    if (code !== 'stored') refused++;
    if ((got.status === 0) !== (code === 'stored')) t.fail(`damaged block ${i}: ${code}, but status ${got.status}`);
    if (wanted !== null && !got.bytes.equals(wanted)) t.fail(`damaged block ${i} is decoded wrongly`);
  }
  t.ok(refused > 100, `${refused} damaged blocks were refused`);
  const f = (bytes: number[], status: number) =>
    t.equal(decode(Uint8Array.from(bytes)).status, status, bytes.join(' '));
  f([], 2);
  f([0], 0);
  f([0xff, 0xff, 0xff, 0xff, 0x0f], 3);
  f([0xff, 0xff, 0xff, 0xff, 0xff, 1], 2);
  f([1], 4);
  f([1, 0, 65, 0, 66], 4); // one byte more than declared
  f([4, 0, 65, 0x05, 0], 4); // a copy of offset 0
  f([4, 0, 65, 0x05, 2], 4); // a copy from before the beginning
  f([5, 0, 65, 0x01, 1], 0);
  f([5, 0xfc, 0xff, 0xff, 0xff, 0xff, 65], 4); // a literal of 2^32 bytes
  f([5, 0xfc, 0xfa, 0xff, 0xff, 0xff, 65], 4);
});

const NAME = { __name__: 'm' };
const at = (ms: number, value: number | 'stale' = 1) => ({ timestampMs: T0 + ms, value });

test('a time is not taken for one of six bytes because the time before was shorter or longer', async (t) => {
  const { kernel, model } = heads();
  const body = (ms: number) =>
    encodePlainWriteRequest(
      ['x', 'y'].map((a) => ({ labels: { __name__: 'm', a }, samples: [{ timestampMs: ms, value: 1 }] })),
    );
  const write = (plain: Uint8Array) => kernel.writeRemoteWrite(new Uint8Array(snappy.compress(plain)), 1);
  for (const [timeMs, bytes] of [
    [2 ** 34, 5],
    [T0, 6],
    [2 ** 44, 7],
  ] as const) {
    for (let k = 0; k < 2; k++) write(body(T0 + k));
    const plain = body(timeMs);
    // The second sample's length and its series' say six bytes of time.
    const behind = plain.length - bytes;
    const other = Uint8Array.from([...plain, 0x0a].slice(0, behind + 6));
    for (const at of [behind - 11, plain.length / 2 + 1]) other[at]! += 6 - bytes;
    const want = codeOf(() => storeWriteRequest(other, model, new Tally()));
    t.equal(want, bytes === 6 ? 'stored' : 'bad_body');
    t.equal(
      codeOf(() => write(other)),
      want,
      `six bytes of time behind ${bytes}`,
    );
  }
});

test('bodies leave the same series and samples as with the plain decoder', async (t) => {
  // Each case once more with series whose lengths take two bytes.
  const f = (what: string, ...bodies: (readonly SeriesToEncode[])[]) => {
    t.equal(g(`${what}, longer`, ...bodies.map((body) => body.map(longer))), g(what, ...bodies));
    return g(what, ...bodies);
  };
  const g = (what: string, ...bodies: (readonly SeriesToEncode[])[]) => {
    const { kernel, model } = heads();
    let oddCount = 0;
    for (const body of bodies) {
      const tally = new Tally();
      storeWriteRequest(encodePlainWriteRequest(body), model, tally);
      const counts = kernel.writeRemoteWrite(encodeWriteRequest(body), 1);
      const odd = new Tally();
      for (const one of counts.odd) storeWriteRequest(frame(one), kernel as unknown as PlainHead, odd);
      oddCount += counts.odd.length;
      t.equal(counts.stored + counts.duplicate + odd.samplesStored, tally.samplesStored, `${what}: stored`);
    }
    kernel.verify();
    t.strictSame(dump(kernel), dump(model), what);
    return oddCount;
  };
  t.equal(f('plain', [{ labels: NAME, samples: [at(0)] }], [{ labels: NAME, samples: [at(1)] }]), 0);
  t.equal(f('several samples', [{ labels: NAME, samples: [at(0), at(5), at(3), at(5)] }]), 0);
  t.equal(
    f('exemplars', [
      { labels: NAME, samples: [at(0)], exemplars: 2 },
      { labels: NAME, samples: [], exemplars: 1 },
    ]),
    2,
  );
  t.equal(f('a successor that changed', [one('a'), one('b')], [one('a'), one('c'), one('b')], [one('b'), one('a')]), 0);
  t.equal(
    f(
      'a known one behind new ones',
      [one('a'), one('b'), one('c'), one('d')],
      [one('a', 1), ...'123456'.split('').map((a) => one(a)), one('b', 1), one('c', 1), one('7'), one('d', 1)],
    ),
    0,
  );
  t.equal(f('the same series twice', [one('a'), one('a', 5), one('b'), one('a', 9)]), 0);
  t.equal(f('one label more', [one('a')], [{ labels: { __name__: 'm', a: 'a', b: '1' }, samples: [at(0)] }]), 0);
  t.equal(
    f('longest labels', [{ labels: { __name__: 'm', a: 'v'.repeat(4096), ['n'.repeat(256)]: 'x' }, samples: [at(0)] }]),
    0,
  );
  t.equal(
    f('lengths of two bytes', [
      { labels: { __name__: 'm', a: 'v'.repeat(118), b: 'v'.repeat(125) }, samples: [at(0)] },
    ]),
    0,
  );
  t.equal(g('UTF-8', [{ labels: { __name__: 'mätric', é: 'ü\u{1f30a}' }, samples: [at(0)] }]), 0);
  t.equal(f('a name that sorts before __name__', [{ labels: { Zone: 'a', __name__: 'm' }, samples: [at(0)] }]), 0);
  t.equal(f('unsorted', [{ labels: { job: 'a', __name__: 'm' }, samples: [at(0)] }]), 1);
  t.equal(f('an empty value', [{ labels: { __name__: 'm', a: '' }, samples: [at(0)] }]), 1);
  t.equal(f('no name', [{ labels: { a: 'm' }, samples: [at(0)] }]), 1);
  t.equal(
    f('a repeated name', [
      {
        labels: [
          ['__name__', 'm'],
          ['a', '1'],
          ['a', '2'],
        ],
        samples: [at(0)],
      },
    ]),
    1,
  );
  t.equal(f('a label too long', [{ labels: { __name__: 'm', a: 'v'.repeat(4097) }, samples: [at(0)] }]), 1);
  t.equal(f('a histogram', [{ labels: NAME, samples: [at(0)], histograms: 1 }]), 1);
  t.equal(
    f('odd times', [
      {
        labels: NAME,
        samples: [
          { timestampMs: -1n, value: 1 },
          { timestampMs: 2n ** 62n, value: 1 },
        ],
      },
    ]),
    0,
  );
  t.equal(
    g(
      'more odd ones than the list holds',
      Array.from({ length: 2500 }, () => ({ labels: { b: '1', __name__: 'm' }, samples: [at(0)] })),
    ),
    2500,
  );
  t.equal(f('stale', [{ labels: NAME, samples: [at(0), at(1, 'stale')] }]), 0);
});

/** With a label more that sorts behind all others. */
function longer({ labels, ...rest }: SeriesToEncode): SeriesToEncode {
  const pairs = Array.isArray(labels) ? labels : Object.entries(labels);
  return { ...rest, labels: [...pairs, ['~'.repeat(60), 'v'.repeat(70)]] };
}

function one(a: string, ms = 0): SeriesToEncode {
  return { labels: { __name__: 'm', a }, samples: [at(ms, ms)] };
}

/** A body of one TimeSeries message. */
function frame(timeSeries: Uint8Array): Uint8Array {
  const length: number[] = [0x0a];
  let rest = timeSeries.length;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) length.push((rest % 128) | 0x80);
  length.push(rest);
  return Uint8Array.from([...length, ...timeSeries]);
}

test('refused samples are named', async (t) => {
  const { kernel } = heads();
  const counts = kernel.writeRemoteWrite(encodeWriteRequest([one('a', -3_600_000), one('b', 0)]), 1);
  t.equal(counts.tooOld, 1);
  t.equal(counts.stored, 1);
  t.equal(counts.refusals.length, 1);
  t.equal(counts.refusals[0]?.outcome, OUTCOME_TOO_OLD);
  t.equal(counts.refusals[0]?.timestampMs, T0 - 3_600_000);
  t.match(Buffer.from(counts.refusals[0]?.timeSeries ?? []).toString('latin1'), /__name__.*m.*a.*a/s);
  t.throws(() => kernel.writeRemoteWrite(new Uint8Array(2 * BODY_MAX), 1), { code: 'body_too_large' });
  const large = new Uint8Array(snappy.compress(new Uint8Array(BODY_MAX + 1)));
  t.throws(() => kernel.writeRemoteWrite(large, 1), { code: 'body_too_large' });
});

/** A body, plain, with a few bytes damaged, cut or inserted. */
function damaged(random: (n: number) => number, body: Uint8Array): Uint8Array {
  const bytes = [...body];
  for (let k = random(3) + 1; k > 0; k--) {
    const where = random(bytes.length + 1);
    const act = random(4);
    if (act === 0) bytes.splice(where, random(4));
    else if (act === 1) bytes.splice(where, 0, ...Array.from({ length: random(4) }, () => random(256)));
    else if (act === 2) bytes[where] = [0, 0x0a, 0x12, 0x7f, 0x80, 0xff, 0x0b, 0x0c][random(8)]!;
    else bytes[where] = random(256);
  }
  return Uint8Array.from(bytes);
}

test('damaged bodies are refused exactly where the plain decoder refuses them, and leave the memory whole', async (t) => {
  const seed = 11;
  const random = randomOf(seed);
  const { kernel, model } = heads();
  let refused = 0;
  const rounds = isLong ? 40_000 : 1200;
  for (let i = 0; i < rounds; i++) {
    const series = Array.from({ length: random(5) + 1 }, (): SeriesToEncode => {
      const labels: Record<string, string> = { __name__: `m${random(4)}`, a: `${random(9)}` };
      if (random(4) === 0) labels.b = 'x'.repeat(random(200));
      const samples = Array.from({ length: random(8) === 0 ? 3 : 1 }, () => at(random(60_000), random(100)));
      return { labels, samples, exemplars: random(9) === 0 ? 1 : 0, histograms: random(20) === 0 ? 1 : 0 };
    });
    const plain = encodePlainWriteRequest(series, random(2));
    const body = random(5) === 0 ? plain : damaged(random, plain);
    const before = i % 50 === 0 ? dump(kernel) : null;
    const wanted = codeOf(() => storeWriteRequest(body, model, new Tally()));
    const got = codeOf(() => {
      const counts = kernel.writeRemoteWrite(new Uint8Array(snappy.compress(body)), random(4));
      for (const timeSeries of counts.odd)
        storeWriteRequest(frame(timeSeries), kernel as unknown as PlainHead, new Tally());
    });
    if (wanted !== 'stored') refused++;
    if (wanted !== got)
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
  const random = randomOf(23);
  const { kernel } = heads();
  const seen = new Map<string, number>();
  for (let i = 0; i < (isLong ? 50_000 : 3000); i++) {
    const bytes = randomBytes(random, random(300));
    const code = codeOf(() =>
      kernel.writeRemoteWrite(random(2) === 0 ? bytes : new Uint8Array(snappy.compress(bytes)), i),
    );
    seen.set(code, (seen.get(code) ?? 0) + 1);
  }
  kernel.verify();
  t.ok((seen.get('bad_body') ?? 0) > 100, JSON.stringify([...seen]));
});
