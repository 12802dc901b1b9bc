/**
 * `npm test [-- files]` and `npm run test:long`: installs and builds what is missing, runs the tests, shows a line a file, every failure with
 * its details, what was skipped and why, and closes with `N passed, N failed`.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from './build.mjs';
import { ensureInstalled, root } from './lib/setup.mjs';
import { runMutants } from './mutants.mjs';

ensureInstalled();
await build();

const runner = join(root, 'node_modules', 'tap', 'dist', 'esm', 'run.mjs');
// The long form runs the same differential and fuzz tests with many more rounds, and then the mutants.
const isLong = process.argv[2] === '--long';
const files = process.argv.slice(isLong ? 3 : 2);
const longArgs = isLong
  ? [
      '--timeout=1800',
      ...(files.length > 0 ? files : ['test/tsdb/kernel-differential.test.ts', 'test/tsdb/kernel-ingest.test.ts']),
    ]
  : files;
const tap = spawn(process.execPath, [runner, '--reporter=tap', ...longArgs], {
  cwd: root,
  env: isLong ? { ...process.env, TIDEGAUGE_LONG: '1' } : process.env,
  stdio: ['ignore', 'pipe', 'inherit'],
});
const exited = new Promise((resolve) => tap.once('exit', (code) => resolve(code ?? 1)));

const skipped = [];
let totals = '';
let inFailure = false;
for await (const line of createInterface({ input: tap.stdout })) {
  const isFile = /^(?:not )?ok \d+ - /.test(line);
  const isFailure = /^\s*not ok \d+/.test(line);
  if (isFile || isFailure || inFailure) console.log(line);
  // A failing assertion is followed by a block of details between `---` and `...`.
  if (isFailure && !isFile) inFailure = true;
  else if (inFailure && (/^\s*\.\.\.$/.test(line) || /^\s*(?:ok \d|1\.\.)/.test(line))) inFailure = false;
  const skip = /^\s*ok \d+(?: - )?(.*?) # SKIP ?(.*)$/.exec(line);
  if (skip !== null) skipped.push(`${skip[1]}: ${skip[2]}`);
  if (line.startsWith('# { total:')) totals = line;
}

const status = await exited;
const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0);
for (const line of skipped) console.log(`skipped: ${line}`);
// A file that died without a failing assertion still counts as one failure.
const fault = Math.max(count('fail'), status === 0 ? 0 : 1);
const mutants = isLong && files.length === 0 ? await runMutants() : { passed: 0, failed: 0 };
const failed = fault + mutants.failed;
console.log(`${count('pass') + mutants.passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
