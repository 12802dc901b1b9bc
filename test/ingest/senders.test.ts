/** Senders: their accounts, rates over a minute, and how one makes room for another. */
import { test } from 'tap';
import type { Origin } from '../../src/ingest/senders.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { bench, metric, NOW_MS } from './support.ts';

const FORMAT = { isOpenMetrics: false, honorTimestamps: true, labels: [], onConflict: 'renamed' } as const;
const origin = (userAgent: string): Origin => ({ peer: '192.0.2.1', name: '', namespace: '', userAgent });

test('rates are those of the last minute', async (t) => {
  let nowMs = NOW_MS;
  const { writer } = bench({ nowMs: () => nowMs });
  const send = (text: string) => writer.text(Buffer.from(text), FORMAT, 0, '', writer.senders.of('text', origin('a')));
  const f = (samples: number, requests: number, what: string): void => {
    const [{ samplesPerSecond, requestsPerSecond } = { samplesPerSecond: -1, requestsPerSecond: -1 }] =
      writer.senders.list();
    t.strictSame([samplesPerSecond, requestsPerSecond], [samples, requests], what);
  };
  send('a 1\nb 1\n');
  f(2, 1, 'what came at once counts as a second');
  nowMs += 10_000;
  send('a 1\n');
  f(0.3, 0.2, 'three samples of two requests in ten seconds');
  nowMs = NOW_MS + 90_000;
  f(1.5 / 60, 1 / 60, 'half of the minute before');
  nowMs += 60_000;
  f(0, 0, 'nothing of what is older');
  nowMs = NOW_MS - 60_000;
  send('a 1\n');
  f(1, 1, 'a clock that was put back begins anew');
});

test('refusals are counted by reason on the account of who caused them', async (t) => {
  const { writer } = bench();
  const send = (agent: string, text: string): void => {
    try {
      writer.text(Buffer.from(text), FORMAT, 0, '', writer.senders.of('text', origin(agent)));
    } catch {
      // Counted.
    }
  };
  send('good', 'a 1\n');
  send('bad', `a 1 ${NOW_MS + 86_400_000}\nb 1\n`);
  send('bad', `a 1 ${NOW_MS + 86_400_000}\n`);
  writer.countRefused('text', 'body_too_large', 'too large', writer.senders.of('text', origin('bad')));
  const [bad, good] = ['bad', 'good'].map((agent) => writer.senders.list().find((one) => one.userAgent === agent));
  t.match(good, { requests: 1, samplesStored: 1, refused: [] });
  t.match(bad, {
    requests: 3,
    samplesStored: 1,
    refused: [
      { what: 'samples', reason: 'too_far_ahead', count: 2 },
      { what: 'requests', reason: 'body_too_large', count: 1 },
    ],
  });
});

test('whoever has been silent for longest makes room, and its sums stay', async (t) => {
  const { writer, registry } = bench();
  const { senders } = writer;
  const send = (agent: string) => writer.text(Buffer.from('a 1\n'), FORMAT, 0, '', senders.of('text', origin(agent)));
  for (let i = 0; i < LIMITS.sendersMax; i++) send(`agent ${i}`);
  send('agent 0');
  t.strictSame(senders.forgotten, { senders: 0, requests: 0, samplesStored: 0 });
  for (let i = 0; i < 1000; i++) send(`flood ${i} ${'x'.repeat(5000)}`);
  const list = senders.list();
  t.equal(list.length, LIMITS.sendersMax);
  t.strictSame(senders.forgotten, { senders: 1000, requests: 1001, samplesStored: 1001 });
  t.ok(list.every(({ userAgent }) => userAgent.length <= LIMITS.senderTextLengthMax + 1));
  t.equal(metric(registry, 'tidegauge_ingest_senders'), LIMITS.sendersMax);
  t.equal(metric(registry, 'tidegauge_ingest_senders_forgotten_total'), 1000);
  senders.of('text', origin(`flood 999 ${'x'.repeat(6000)}`));
  t.equal(senders.forgotten.senders, 1000, 'two that are cut alike are one');
});
