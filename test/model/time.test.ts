import { test } from 'tap';
import { formatDuration, tryParseDuration } from '../../src/model/time.ts';

test('durations are parsed and printed as Prometheus does', async (t) => {
  const f = (text: string, ms: number | null) => t.equal(tryParseDuration(text), ms, text);
  f('0', 0);
  f('15s', 15_000);
  f('1h30m', 5_400_000);
  f('250ms', 250);
  f('1y1w1d', (365 + 7 + 1) * 86_400_000);
  f('1.5h', null);
  f('5m1m', null);
  f('1s1m', null);
  f('', null);
  f('5', null);
  f('300y', null);
  const g = (ms: number, text: string) => t.equal(formatDuration(ms), text, text);
  g(0, '0s');
  g(5_400_000, '1h30m');
  g(7 * 86_400_000, '1w');
  g(8 * 86_400_000, '8d');
  g(-1500, '-1s500ms');
});
