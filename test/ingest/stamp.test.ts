/**
 * The namespace that a sender's identity puts on its series: whatever a sender says, in whichever protocol, its samples are in
 * series of its own namespace, and the same bytes of two senders are two series. Compared with senders that write into a
 * store each, whose series are stamped afterwards, plainly.
 */
import fc from 'fast-check';
import { test } from 'tap';
import type { Writer } from '../../src/ingest/write.ts';
import { labelsFromPairs, labelsText } from '../../src/model/labels.ts';
import { openSite, settle, T0 } from '../faults/site.ts';
import { encodeExportRequest, type MetricToEncode } from '../support/otlp-encoder.ts';
import { encodeRequest } from '../support/remote-write-2-encoder.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { dump as dumpStore } from '../support/store-dump.ts';
import { bench, NOW_MS, stored } from './support.ts';

type Pairs = readonly (readonly [name: string, value: string])[];
const PROTOCOLS = ['remote-write 1', 'remote-write 2', 'text', 'gauge', 'sum', 'histogram', 'delta', 'json'] as const;
type ProtocolOf = (typeof PROTOCOLS)[number];

interface Step {
  readonly sender: number;
  readonly protocol: ProtocolOf;
  readonly series: readonly Pairs[];
  /** Labels in the order of their names, each once, as a correct sender writes them. */
  readonly isProper: boolean;
}

const SENDERS = ['team-a', 'team-b', ''];
const NAMES = [
  'namespace',
  'k8s_namespace_name',
  'k8s.namespace.name',
  'k8s_namespace_nam_',
  'exported_namespace',
  'exported_exported_namespace',
  'exported_k8s_namespace_name',
  'namespac',
  'namespace_',
  '__proto__',
  'constructor',
  'a',
  'zone',
  'ä',
];
const VALUES = [
  'team-a',
  'team-b',
  'other',
  '',
  'n'.repeat(63),
  'n'.repeat(64),
  'ä'.repeat(32),
  'x"}\n<img src=x onerror=alert(1)>',
];

const pair = fc.tuple(fc.constantFrom(...NAMES), fc.constantFrom(...VALUES));
const pairs: fc.Arbitrary<Pairs> = fc.array(pair, { maxLength: 6 });
const step: fc.Arbitrary<Step> = fc.record({
  sender: fc.nat({ max: SENDERS.length - 1 }),
  protocol: fc.constantFrom(...PROTOCOLS),
  series: fc.array(pairs, { minLength: 1, maxLength: 5 }),
  isProper: fc.boolean(),
});

/** Sends a step; all of its samples have one time and one value, so that it does not matter which comes first. */
function send(writer: Writer, { protocol, series, isProper }: Step, time: number, value: number, stamp: string): void {
  const labels = series.map((one) => {
    const given = isProper ? [...new Map(one)].filter(([, text]) => text !== '') : one;
    const named = [['__name__', 'm'] as const, ...given];
    return isProper ? named.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))) : named;
  });
  const samples = [{ timestampMs: time, value }];
  if (protocol === 'remote-write 1') {
    writer.remoteWrite(encodeWriteRequest(labels.map((one) => ({ labels: one, samples }))), 1, stamp);
  } else if (protocol === 'remote-write 2') {
    writer.remoteWrite2(encodeRequest(labels.map((one) => ({ labels: one, samples }))), 1, stamp);
  } else if (protocol === 'text') {
    const line = (one: Pairs): string => {
      const quoted = [...new Map(one)].filter(([name]) => name !== '__name__');
      return `m{${quoted.map(([name, text]) => `${JSON.stringify(name)}=${JSON.stringify(text)}`).join(',')}} ${value} ${time}\n`;
    };
    const format = { isOpenMetrics: false, honorTimestamps: true, labels: [], onConflict: 'replaced' as const };
    writer.text(Buffer.from(labels.map(line).join('')), format, 1, stamp);
  } else if (protocol === 'json') {
    writer.otlpJson(Buffer.from(jsonOf(series, time, value)), stamp);
  } else writer.otlp(otlpOf(protocol, series, time, value), stamp);
}

function otlpOf(protocol: ProtocolOf, series: readonly Pairs[], time: number, value: number): Uint8Array {
  const kind = protocol === 'gauge' || protocol === 'histogram' ? protocol : 'sum';
  const metric: MetricToEncode = {
    name: `otlp_${protocol}`,
    kind,
    monotonic: true,
    temporality: protocol === 'delta' ? 'delta' : 'cumulative',
    // What a delta is added to must not depend on what becomes of its namespace.
    points: series.map((one, i) => ({
      time,
      start: T0,
      attributes: protocol === 'delta' ? [...withoutNamespaces(one), ['i', `${i}`] as const] : one,
      ...(kind === 'histogram'
        ? { count: value, sum: value, bucketCounts: [value, 0], explicitBounds: [1] }
        : { value }),
    })),
  };
  const attributes: Pairs = [['service.name', 's'], ['more', 'm'], ...(protocol === 'delta' ? [] : (series[0] ?? []))];
  return encodeExportRequest([{ attributes, metrics: [metric] }]);
}

function withoutNamespaces(labels: Pairs): Pairs {
  return labels.filter(([name]) => name.startsWith('z') || name === 'a');
}

function jsonOf(series: readonly Pairs[], time: number, value: number): string {
  const attributes = (list: Pairs) => list.map(([key, text]) => ({ key, value: { stringValue: text } }));
  const dataPoints = series.map((one) => ({
    timeUnixNano: `${time}000000`,
    asDouble: value,
    attributes: attributes(one),
  }));
  const metrics = [{ name: 'json', gauge: { dataPoints } }];
  const resource = {
    attributes: attributes([
      ['service.name', 's'],
      ['k8s.namespace.name', 'other'],
    ]),
  };
  return JSON.stringify({ resourceMetrics: [{ resource, scopeMetrics: [{ metrics }] }] });
}

/** What a stamp does, said in the plainest way. */
function plainlyStamped(labels: readonly string[], stamp: string): readonly string[] {
  if (stamp === '') return labels;
  const given = new Map<string, string>();
  for (let i = 0; i < labels.length; i += 2) given.set(labels[i]!, labels[i + 1]!);
  for (const name of ['namespace', 'k8s_namespace_name', 'k8s.namespace.name']) {
    const value = given.get(name);
    if (value === undefined || value === stamp) continue;
    given.delete(name);
    let free = `exported_${name}`;
    while (given.has(free)) free = `exported_${free}`;
    given.set(free, value);
  }
  given.set('namespace', stamp);
  return labelsFromPairs(given);
}

/** `series → time → value`, of series that become one, too. */
type Content = Map<string, Map<number, number | 'stale'>>;

function contentOf(head: ReturnType<typeof bench>['head'], stamp: string | null, into: Content = new Map()): Content {
  for (const { labels, samples } of stored(head)) {
    const key = labelsText(stamp === null ? labels : plainlyStamped(labels, stamp));
    const values = into.get(key) ?? new Map();
    for (const { timestampMs, value } of samples) values.set(timestampMs, value);
    into.set(key, values);
  }
  return into;
}

test('no sender gets out of its namespace, and what it sends is kept', (t) => {
  let conflicts = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const together = bench();
      const apart = SENDERS.map(() => bench());
      steps.forEach((one, i) => {
        const time = NOW_MS - 60_000 + i * 1000;
        send(together.writer, one, time, i + 1, SENDERS[one.sender]!);
        send(apart[one.sender]!.writer, one, time, i + 1, '');
      });
      together.head.verify();
      const want: Content = new Map();
      for (const [i, stamp] of SENDERS.entries()) contentOf(apart[i]!.head, stamp, want);
      t.strictSame(contentOf(together.head, null), want);
      for (const key of want.keys()) if (key.includes('exported_namespace')) conflicts++;
    }),
    { numRuns: 40, verbose: 1 },
  );
  t.ok(conflicts > 20, `${conflicts} series had another namespace than their sender's`);
  t.end();
});

test('the same bytes of two senders are two series, also when they are known', (t) => {
  const { writer, head } = bench();
  const proper: Pairs[] = [
    [['job', 'api']],
    [
      ['job', 'api'],
      ['zone', 'z'],
    ],
    [
      ['a', 'b'],
      ['namespace', 'team-a'],
    ],
  ];
  for (const protocol of PROTOCOLS) {
    for (let round = 0; round < 3; round++) {
      SENDERS.forEach((stamp, sender) => {
        const one = { sender, protocol, series: proper, isProper: true };
        send(writer, one, NOW_MS + round * 1000, sender + 1, stamp);
      });
    }
  }
  for (const { labels, samples } of stored(head)) {
    const text = labelsText(labels);
    const sender = SENDERS.findIndex((name) => name !== '' && text.includes(`namespace="${name}"`));
    // The one without a stamp says `team-a` of itself in one of its series: that is the sender whom one trusts.
    if (text.includes('namespace="team-a"') && text.includes('a="b"')) continue;
    if (text.includes('target_info') || text.includes('histogram') || text.includes('delta')) continue;
    const want = sender < 0 ? 3 : sender + 1;
    t.ok(
      samples.every(({ value }) => value === want),
      text,
    );
  }
  t.end();
});

test('a stamp counts as a label, and a namespace may be written in any way', (t) => {
  const { writer, head } = bench();
  const labels = (count: number): Pairs => [
    ['__name__', 'm'],
    ...Array.from({ length: count - 1 }, (_, i) => [`l${String(i).padStart(2, '0')}`, 'v'] as const),
  ];
  const at = [{ timestampMs: NOW_MS, value: 1 }];
  const of = (count: number) => encodeWriteRequest([{ labels: labels(count), samples: at }]);
  t.equal(writer.remoteWrite(of(39), 1, 'team-a').samplesStored, 1);
  t.match(writer.remoteWrite(of(40), 1, 'team-a').message, /too many labels/);
  t.equal(writer.remoteWrite(of(40), 1).samplesStored, 1);
  const twice: Pairs = [
    ['__name__', 'twice'],
    ['namespace', 'team-a'],
    ['namespace', 'team-a'],
  ];
  t.match(
    writer.remoteWrite(encodeWriteRequest([{ labels: twice, samples: at }]), 1, 'team-a').message,
    /occurs twice/,
  );
  const longest = 'n'.repeat(63);
  t.equal(writer.remoteWrite(of(3), 1, longest).samplesStored, 1);
  t.equal(writer.remoteWrite(of(3), 1, longest).samplesStored, 1);
  t.equal(stored(head).filter(({ labels: [...all] }) => all.includes(longest)).length, 1);
  t.end();
});

test('what names another namespace is decided by its bytes: TypeScript sees only what is rare', (t) => {
  const { head } = bench();
  const named = (namespace: string, ...more: Pairs): Pairs => [['__name__', 'm'], ...more, ['namespace', namespace]];
  const taken: Pairs = [['exported_namespace', 'mine']];
  const cases = [
    { labels: named('other'), odd: 0 },
    { labels: [...named('other', ['k8s_namespace_name', 'third']), ['zone', 'z'] as const], odd: 0 },
    { labels: named('n'.repeat(63)), odd: 0 },
    { labels: named('n'.repeat(64)), odd: 1 },
    { labels: named('other', ...taken), odd: 1 },
    { labels: named('team-a', ...taken), odd: 0 },
  ];
  for (const { labels, odd } of cases) {
    for (let round = 0; round < 3; round++) {
      const series = [{ labels, samples: [{ timestampMs: NOW_MS + round, value: 1 }] }];
      const text = `${labels.map(([name]) => name)}, round ${round}`;
      t.equal(head.writeRemoteWrite(encodeWriteRequest(series), 1, 'team-a').odd.length, odd, text);
      const again = [{ labels, samples: [{ timestampMs: NOW_MS + 10 + round, value: 1 }] }];
      t.equal(head.writeRequest(encodeRequest(again), 1, 'team-a').odd.length, odd, `${text}, 2.0`);
    }
  }
  t.equal(head.stats().series, cases.filter(({ odd }) => odd === 0).length);
  head.verify();
  t.end();
});

test('exemplars are kept under the labels of the stamped series', (t) => {
  const { writer, exemplars } = bench();
  const labels: Pairs = [
    ['__name__', 'm'],
    ['namespace', 'other'],
  ];
  const body = encodeRequest([
    {
      labels,
      samples: [{ timestampMs: NOW_MS, value: 1 }],
      exemplars: [{ labels: [['trace_id', '1']], value: 1, timestampMs: NOW_MS }],
    },
  ]);
  t.equal(writer.remoteWrite2(body, 1, 'team-a').exemplarsStored, 1);
  t.equal(exemplars.count, 1);
  t.equal(writer.remoteWrite2(body, 1, 'team-b').exemplarsStored, 1);
  t.equal(exemplars.count, 2, 'they are those of two series');
  t.end();
});

test('the log and an image bring stamped series back', async (t) => {
  const steps = fc.sample(step, { numRuns: 60, seed: 7 });
  const site = await openSite();
  let i = 0;
  const sendSome = (count: number): void => {
    for (const one of steps.slice(i, i + count)) send(site.writer, one, T0 + i * 1000, ++i, SENDERS[one.sender]!);
  };
  sendSome(30);
  await settle(site);
  t.ok(await site.storage.takeImage());
  sendSome(30);
  await settle(site);
  site.head.verify();
  const again = await openSite({ disk: site.disk.copy(), clock: site.clock });
  t.strictSame([...dumpStore(again.head)].sort(), [...dumpStore(site.head)].sort());
  t.ok([...dumpStore(again.head).keys()].some((key) => key.includes('namespace\uffffteam-a')));
  // What was known stays known: no series is made anew.
  const { series } = again.head.stats();
  const repeated = steps.find(({ protocol, sender }) => protocol === 'remote-write 1' && sender === 0)!;
  send(again.writer, repeated, T0 + 100_000, 1, 'team-a');
  t.equal(again.head.stats().series, series);
});
