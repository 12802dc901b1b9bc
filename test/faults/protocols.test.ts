/**
 * What comes back of each protocol, and by each way through the walks: the store after a restart is the store before it,
 * to the bit, though the clock went on and the limits are others. A replay that judged again would take what was refused.
 */
import { test } from 'tap';
import type { WriteOutcome } from '../../src/ingest/write.ts';
import { encodeExportRequest, type PointToEncode } from '../support/otlp-encoder.ts';
import { encodeRequest } from '../support/remote-write-2-encoder.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { dump } from '../support/store-dump.ts';
import { openSite, type Site, T0 } from './site.ts';

const TOO_FAR = 700_000;
const HOUR = 3_600_000;

/** Samples refused, once the body is in the log. */
async function wait(outcome: WriteOutcome): Promise<number> {
  if (outcome.logged !== undefined) await outcome.logged;
  return outcome.samplesRefused;
}

/** The site after a restart ten minutes later, with room for all and for any order. */
function restart({ disk, clock }: Site): Promise<Site> {
  clock.advance(TOO_FAR);
  return openSite({ disk: disk.copy(), clock, head: { outOfOrderMsMax: HOUR, seriesMax: 500 } });
}

const contents = ({ head }: Site): unknown => [...dump(head)].sort();

/** Times of one round of five series: the third is refused, in the middle of known series. */
const ROUNDS: readonly (readonly number[])[] = [
  [0, 0, 0, 0, 0],
  [1000, 1000, TOO_FAR, 1000, 1000],
  [2000, -400_000, TOO_FAR + 1, 1000, 2000],
  [3000, 3000, 3000, TOO_FAR + 2, TOO_FAR + 3],
];

const seriesOf = (round: readonly number[]) =>
  round.map((ms, i) => ({ labels: { __name__: 'm', s: `${i}` }, samples: [{ timestampMs: T0 + ms, value: ms + i }] }));

const series2Of = (round: readonly number[]) =>
  seriesOf(round).map(({ labels, samples }) => ({ labels: Object.entries(labels), samples }));

const gauges = (round: readonly number[]) =>
  encodeExportRequest([
    {
      attributes: { 'service.name': 'shop' },
      metrics: [
        {
          name: 'm',
          kind: 'gauge',
          points: round.map((ms, i) => ({ attributes: { s: `${i}` }, time: T0 + ms, value: ms + i })),
        },
      ],
    },
  ]);

const gaugesJson = (round: readonly number[]) =>
  Buffer.from(
    JSON.stringify({
      resourceMetrics: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
          scopeMetrics: [
            {
              metrics: [
                {
                  name: 'm',
                  gauge: {
                    dataPoints: round.map((ms, i) => ({
                      attributes: [{ key: 's', value: { stringValue: `${i}` } }],
                      timeUnixNano: `${T0 + ms}000000`,
                      asDouble: ms + i,
                    })),
                  },
                },
              ],
            },
          ],
        },
      ],
    }),
  );

const linesOf = (round: readonly number[]) =>
  Buffer.from(round.map((ms, i) => `m{s="${i}"} ${ms + i} ${T0 + ms}\n`).join(''));

const TEXT = { isOpenMetrics: false, honorTimestamps: true, labels: [], onConflict: 'replaced' } as const;

const SENDERS: Readonly<Record<string, (site: Site, round: readonly number[]) => WriteOutcome>> = {
  'remote-write 1.0': ({ writer }, round) => writer.remoteWrite(encodeWriteRequest(seriesOf(round))),
  'remote-write 2.0': ({ writer }, round) => writer.remoteWrite2(encodeRequest(series2Of(round))),
  'OTLP protobuf': ({ writer }, round) => writer.otlp(gauges(round)),
  'OTLP JSON': ({ writer }, round) => writer.otlpJson(gaugesJson(round)),
  text: ({ writer }, round) => writer.text(linesOf(round), TEXT),
};

for (const [name, send] of Object.entries(SENDERS)) {
  test(`${name}: a restart brings back what was stored, and nothing that was refused`, async (t) => {
    const site = await openSite();
    const refused: number[] = [];
    for (const round of ROUNDS) refused.push(await wait(send(site, round)));
    t.strictSame(refused.slice(0, 2), [0, 1]);
    t.ok(refused[2]! >= 2 && refused[3] === 2, refused.join());
    const other = await restart(site);
    t.strictSame(contents(other), contents(site));
    t.equal(other.storage.recovery.records > 0 && other.storage.recovery.unread === 0, true);
    other.head.verify();
  });

  test(`${name}: series that were above the limit stay out`, async (t) => {
    const site = await openSite({ head: { seriesMax: 3 } });
    t.ok((await wait(send(site, ROUNDS[0]!))) >= 2);
    t.ok((await wait(send(site, ROUNDS[1]!))) >= 2);
    t.strictSame(contents(await restart(site)), contents(site));
  });
}

test('a refused sample in the middle of hundreds of known ones is found again', async (t) => {
  const site = await openSite();
  const round = (ms: number, far: readonly number[]) =>
    encodeWriteRequest(
      Array.from({ length: 300 }, (_, i) => ({
        labels: { __name__: 'm', s: `${i}` },
        samples: [{ timestampMs: T0 + (far.includes(i) ? TOO_FAR : ms), value: i }],
      })),
    );
  await wait(site.writer.remoteWrite(round(0, [])));
  for (const [i, far] of [[7], [0, 8, 9, 299], [150]].entries()) {
    t.equal(await wait(site.writer.remoteWrite(round(1000 * (i + 1), far))), far.length);
  }
  t.strictSame(contents(await restart(site)), contents(site));
});

const delta = (second: number, value: number): PointToEncode => ({
  start: T0 + (second - 1) * 1000,
  time: T0 + second * 1000,
  value,
});
const deltas = (...points: readonly PointToEncode[]) =>
  encodeExportRequest([{ metrics: [{ name: 'jobs', kind: 'sum', temporality: 'delta', monotonic: true, points }] }]);

test('sums of deltas go on where they were, with an image and without', async (t) => {
  for (const hasImage of [false, true]) {
    const site = await openSite();
    const push = async ({ writer, clock }: Site, second: number, value: number): Promise<void> => {
      clock.advance(1000);
      t.equal(await wait(writer.otlp(deltas(delta(second, value)))), 0);
    };
    for (let second = 1; second <= 3; second++) await push(site, second, second);
    if (hasImage) t.equal(await site.storage.takeImage(), true);
    for (let second = 4; second <= 6; second++) await push(site, second, second);
    const other = await openSite({ disk: site.disk.copy(), clock: site.clock });
    t.strictSame(contents(other), contents(site), `image: ${hasImage}`);
    for (const one of [site, other]) await push(one, 7, 7);
    t.strictSame(contents(other), contents(site), 'and they are the same sums from there on');
  }
});

test('sums that were forgotten for want of use are forgotten by a replay, too', async (t) => {
  for (const hasImage of [false, true]) {
    const site = await openSite();
    await wait(site.writer.otlp(deltas(delta(1, 5))));
    if (hasImage) t.equal(await site.storage.takeImage(), true);
    site.clock.advance(6 * 60_000);
    await wait(site.writer.otlp(deltas(delta(360, 2))));
    const other = await openSite({ disk: site.disk.copy(), clock: site.clock });
    t.strictSame(contents(other), contents(site), `image: ${hasImage}`);
  }
});
