/** What was refused, by reason, with an example each: the latest, at most one a second, cut, and nothing for what is stored. */
import { test } from 'tap';
import { LIMITS } from '../../src/model/limits.ts';
import { bench, NOW_MS } from './support.ts';

const FORMAT = { isOpenMetrics: false, honorTimestamps: true, labels: [], onConflict: 'renamed' } as const;

test('rejects by protocol and reason, with the latest example', async (t) => {
  let nowMs = NOW_MS;
  const { writer } = bench({ nowMs: () => nowMs });
  const send = (text: string): unknown => writer.text(Buffer.from(text), FORMAT);
  t.strictSame(writer.rejects(), []);
  send('up{job="web"} 1\n');
  t.strictSame(writer.rejects(), [], 'what is stored leaves no trace');

  send(`up{job="a"} 1 ${NOW_MS + 3_600_000}\nup{job="b"} 1 ${NOW_MS + 3_600_000}\n`);
  const reject = { protocol: 'text', what: 'samples', reason: 'too_far_ahead' };
  t.strictSame(writer.rejects(), [{ ...reject, count: 2, example: 'up{job="a"}', timeMs: NOW_MS }]);

  nowMs = NOW_MS + LIMITS.rejectExampleMsMin - 1;
  send(`up{job="c"} 1 ${NOW_MS + 3_600_000}\n`);
  t.strictSame(
    writer.rejects(),
    [{ ...reject, count: 3, example: 'up{job="a"}', timeMs: NOW_MS }],
    'counted, not shown',
  );
  nowMs = NOW_MS + LIMITS.rejectExampleMsMin;
  send(`up{job="d"} 1 ${NOW_MS + 3_600_000}\n`);
  t.strictSame(writer.rejects(), [{ ...reject, count: 4, example: 'up{job="d"}', timeMs: nowMs }]);

  send('a line that nobody can read\n');
  t.match(writer.rejects()[1], { reason: 'malformed_line', count: 1, example: /a line that/ });
});

test('a request that is refused whole says why; examples are cut', async (t) => {
  const { writer } = bench();
  t.throws(() => writer.remoteWrite(Buffer.from('no snappy')));
  writer.countRefused('otlp', 'unsupported_media_type', 'x'.repeat(100_000));
  const [broken, unsupported, ...others] = writer.rejects();
  t.strictSame(others, []);
  t.match(broken, {
    protocol: 'remote_write',
    what: 'requests',
    reason: 'bad_body',
    count: 1,
    example: /./,
    timeMs: NOW_MS,
  });
  t.match(unsupported, { protocol: 'otlp', what: 'requests', reason: 'unsupported_media_type', count: 1 });
  t.equal(unsupported!.example, `${'x'.repeat(LIMITS.rejectExampleLengthMax)}…`);
});
