/** The benches' load: what it sends is what it says that it sends, in every variant. */

import protobuf from 'protobufjs/minimal.js';
import snappy from 'snappyjs';
import { test } from 'tap';
import { Load, type LoadOptions } from '../../bench/support/load.ts';
import { labelsKey, labelValue } from '../../src/model/labels.ts';

const SERIES = 2500;
const PER_REQUEST = 300;

interface Received {
  readonly labels: readonly string[];
  readonly timeMs: number;
  readonly value: number;
}

test('every variant sends what it says', async (t) => {
  const f = (kind: Omit<LoadOptions, 'series'>) => {
    const load = new Load({ ...kind, series: SERIES, seriesPerRequest: PER_REQUEST });
    for (let round = 0; round < 3; round++) {
      const { sendings, samples, timeMs } = load.encodeRound();
      const received = new Map(sendings.flatMap(({ body }) => decode(body)).map((one) => [labelsKey(one.labels), one]));
      t.equal(samples, SERIES);
      t.equal(received.size, SERIES, `${JSON.stringify(kind)}: each series once`);
      let sum = 0;
      for (let i = 0; i < SERIES; i++) {
        const one = received.get(labelsKey(load.dataset.labelsOf(i)));
        if (one === undefined) return t.fail(`series ${i} was not sent`);
        if (one.timeMs !== load.dataset.timestampOf(i, timeMs)) return t.fail(`series ${i} has another timestamp`);
        if (one.value !== load.dataset.values()[i]) return t.fail(`series ${i} has another value`);
        sum += one.value;
      }
      t.equal(sum, load.dataset.expectedSum(), `${JSON.stringify(kind)}: sum`);
    }
    return t.strictSame(load.pointsOf(0, 0, load.endMs).length, 3);
  };
  f({});
  f({ variant: 'shuffled' });
  f({ variant: 'shuffled', lanes: 4 });
  f({ variant: 'unique' });
  f({ variant: 'fractional' });
  f({ variant: 'decimal' });
  f({ senders: 3 });
});

test('labels are sorted, ten of them, and one more that is unique', async (t) => {
  for (const { labels } of receive({})[0]!) {
    const names = labels.filter((_label, k) => k % 2 === 0);
    if (names.length !== 10) t.fail(`${names.length} labels`);
    if (names.join() !== [...names].sort().join()) t.fail(`not sorted: ${names}`);
  }
  const unique = receive({ variant: 'unique' })[0]!.map(({ labels }) => labelValue(labels, 'uuid'));
  t.equal(new Set(unique).size, SERIES);
});

test('the order is the same each round, or another one', async (t) => {
  const order = (round: readonly Received[]) => round.map(({ labels }) => labelsKey(labels)).join('\n');
  const [first, second] = receive({}).map(order);
  t.equal(first, second);
  const [one, other] = receive({ variant: 'shuffled' }).map(order);
  t.not(one, other);
});

test('values have the digits that they are named after', async (t) => {
  const all = (kind: Omit<LoadOptions, 'series'>) => receive(kind)[1]!.map(({ value }) => value);
  t.ok(all({}).every(Number.isInteger));
  t.notOk(all({ variant: 'decimal' }).every(Number.isInteger));
  t.ok(all({ variant: 'decimal' }).every((value) => Number(value.toFixed(2)) === value));
  t.notOk(all({ variant: 'fractional' }).every((value) => Number(value.toFixed(6)) === value));
});

test('shuffling keeps a series on its connection, and senders keep their order', async (t) => {
  const lanes = 4;
  const load = new Load({ series: SERIES, seriesPerRequest: PER_REQUEST, variant: 'shuffled', lanes });
  const laneOf = new Map<string, number>();
  for (let round = 0; round < 3; round++) {
    for (const [request, { body }] of load.encodeRound().sendings.entries()) {
      for (const { labels } of decode(body)) {
        const lane = laneOf.get(labelsKey(labels)) ?? request % lanes;
        if (lane !== request % lanes) t.fail('a series changed its connection');
        laneOf.set(labelsKey(labels), lane);
      }
    }
  }
  t.equal(laneOf.size, SERIES);

  const senders = new Load({ series: SERIES, seriesPerRequest: PER_REQUEST, senders: 3 });
  const bodiesOf = (connection: number) =>
    senders
      .encodeRound()
      .sendings.filter((one) => one.connection === connection)
      .map(({ body }) => labelsKey(decode(body)[0]!.labels));
  t.strictSame(bodiesOf(1), bodiesOf(1));
});

/** Two rounds of a kind, in the order in which they were sent. */
function receive(kind: Omit<LoadOptions, 'series'>): Received[][] {
  const load = new Load({ ...kind, series: SERIES, seriesPerRequest: PER_REQUEST });
  return [load.encodeRound(), load.encodeRound()].map(({ sendings }) => sendings.flatMap(({ body }) => decode(body)));
}

/** A remote-write body read with protobufjs. */
function decode(body: Uint8Array): Received[] {
  const reader = protobuf.Reader.create(snappy.uncompress(new Uint8Array(body)));
  const all: Received[] = [];
  while (reader.pos < reader.len) {
    reader.uint32();
    const end = reader.uint32() + reader.pos;
    all.push(decodeSeries(reader, end));
  }
  return all;
}

function decodeSeries(reader: protobuf.Reader, end: number): Received {
  const labels: string[] = [];
  let timeMs = 0;
  let value = 0;
  while (reader.pos < end) {
    const field = reader.uint32() >>> 3;
    const inner = reader.uint32() + reader.pos;
    while (reader.pos < inner) {
      const tag = reader.uint32();
      if (field === 1) labels.push(reader.string());
      else if (tag >>> 3 === 1) value = reader.double();
      else timeMs = Number(reader.int64());
    }
  }
  return { labels, timeMs, value };
}
