/** The demo, with a short day: replicas go up and come down again, and every change has its why. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { runProgram } from '../support/process.ts';

const DEMO = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'scripts', 'demo.mjs');

test('a day in half a minute', async (t) => {
  const { code, stdout, stderr } = await runProgram(process.execPath, [DEMO, '--seconds=30', '--free-ports']);
  t.equal(code, 0, stderr);
  const changes = [...stdout.matchAll(/(\d) → (\d) {2}(.*)$/gm)].map(([, from, to, why]) => ({
    step: Number(to) - Number(from),
    why: why!,
  }));
  t.ok(
    changes.some(({ step }) => step > 0),
    `up\n${stdout}`,
  );
  t.ok(
    changes.some(({ step }) => step < 0),
    `down\n${stdout}`,
  );
  for (const { why } of changes) t.match(why, /^wants ceil\(\d+ \/ 12\) = \d|stays at/);
  t.match(stdout, /Replicas went from 1 to [4-8] and are at [12] now/);
  t.notMatch(stdout, /stale|ambiguous|unknown_metric/, 'the senders were heard all the time');
});

test('a wrong length is refused', async (t) => {
  const { code, stderr } = await runProgram(process.execPath, [DEMO, '--seconds=soon']);
  t.equal(code, 1);
  t.match(stderr, /cannot use --seconds: got soon, want a whole number from 10/);
});
