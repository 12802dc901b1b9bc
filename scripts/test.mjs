/**
 * `npm test [-- files]` and `npm run test:long [-- files]`: installs and builds what is missing, runs the tests, shows a line a
 * file, every failure with its details, what was skipped and why, and closes with `N passed, N failed`. The long form runs
 * what tests do in short form for much longer, two files at a time, shows what they say of it, and keeps all that in
 * test/faults/results/long.txt when it was whole.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from './build.mjs';
import { ensureInstalled, root } from './lib/setup.mjs';

ensureInstalled();
await build();

const runner = join(root, 'node_modules', 'tap', 'dist', 'esm', 'run.mjs');
// Each bounds its own time; all together stay below the hour. Those that mostly wait come beside those that work.
const LONG_FILES = [
  'test/faults/kill.test.ts',
  'test/faults/restarts.test.ts',
  'test/faults/floods.test.ts',
  'test/faults/rolling.test.ts',
  'test/faults/network.test.ts',
  'test/faults/simulation.test.ts',
  'test/faults/storage.test.ts',
  'test/faults/clients.test.ts',
  'test/faults/clock.test.ts',
  'test/tsdb/image.test.ts',
  'test/tsdb/kernel-differential.test.ts',
  'test/tsdb/kernel-ingest.test.ts',
];
const isLong = process.argv[2] === '--long';
const files = process.argv.slice(isLong ? 3 : 2);
const isWhole = isLong && files.length === 0;
const longArgs = isLong ? ['--timeout=2400', '--jobs=2', ...(isWhole ? LONG_FILES : files)] : files;
const beganMs = performance.now();
const shown = [];
const show = (line) => {
  console.log(line);
  shown.push(line);
};
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
  const isSaid = isLong && /^\s+# (?!Subtest|time=|\{)/.test(line);
  if (isFile || isFailure || inFailure || isSaid) show(line);
  // A failing assertion is followed by a block of details between `---` and `...`.
  if (isFailure && !isFile) inFailure = true;
  else if (inFailure && (/^\s*\.\.\.$/.test(line) || /^\s*(?:ok \d|1\.\.)/.test(line))) inFailure = false;
  const skip = /^\s*ok \d+(?: - )?(.*?) # SKIP ?(.*)$/.exec(line);
  if (skip !== null) skipped.push(`${skip[1]}: ${skip[2]}`);
  if (line.startsWith('# { total:')) totals = line;
}

const status = await exited;
const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0);
for (const line of skipped) show(`skipped: ${line}`);
// A file that died without a failing assertion still counts as one failure.
const fault = Math.max(count('fail'), status === 0 ? 0 : 1);
show(`${count('pass')} passed, ${fault} failed`);
if (isWhole) keep();
process.exitCode = fault === 0 ? 0 : 1;

/** Writes what was shown, and where that was. */
function keep() {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const head = [
    `commit ${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : ' and changes'}`,
    `Node ${process.version}, ${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${new Date().toISOString()}, ${Math.round((performance.now() - beganMs) / 60_000)} minutes`,
  ];
  const folder = join(root, 'test', 'faults', 'results');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'long.txt'), `${[...head, '', ...shown].join('\n')}\n`);
}
