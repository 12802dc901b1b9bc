/** The alerts are valid, and name metrics that the daemon has. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { runProgram } from './support/process.ts';

const path = fileURLToPath(new URL('../deploy/prometheus/rules.yaml', import.meta.url));
const metrics = fileURLToPath(new URL('../docs/metrics.md', import.meta.url));

test('the alerts name metrics that there are', async (t) => {
  const known = readFileSync(metrics, 'utf8');
  const names = new Set(readFileSync(path, 'utf8').match(/\btidegauge_\w+/g));
  t.ok(names.size > 5);
  for (const name of names) {
    // The parts of a histogram go by its name.
    const listed = [name, name.replace(/_(?:bucket|sum|count)$/, '')].some((one) => known.includes(`| \`${one}\` |`));
    t.ok(listed, name);
  }
});

test('promtool takes the alerts', async (t) => {
  const checked = await runProgram('promtool', ['check', 'rules', path]).catch(() => null);
  if (checked === null) {
    if (process.env.TIDEGAUGE_REQUIRE_PROGRAMS === '1') t.fail('promtool is missing');
    else t.comment('SKIP: promtool is missing');
    return;
  }
  t.equal(checked.code, 0, checked.stdout + checked.stderr);
});
