/**
 * `node scripts/mutants.mjs [WORDS]`: shows that the tests of Readings can fail. Each mutant of test/mutants/mutants.json
 * is a change that would let an autoscaler be told something wrong; it is made in a copy of the sources, and the test that
 * it names must fail there. With words, only mutants whose names have them all. Closes with `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureInstalled, root } from './lib/setup.mjs';

const COPIED = ['src', 'test', 'package.json', 'tsconfig.json', '.taprc'];
const RUN_MS_MAX = 300_000;

ensureInstalled();
const words = process.argv.slice(2);
const list = JSON.parse(readFileSync(join(root, 'test', 'mutants', 'mutants.json'), 'utf8'));
const mutants = list.filter(({ name }) => words.every((word) => name.includes(word)));
const folder = mkdtempSync(join(tmpdir(), 'tidegauge-mutants-'));
let passed = 0;
let failed = 0;
try {
  for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const mutant of mutants) {
    const complaint = complaintOf(mutant);
    if (complaint === null) passed++;
    else failed++;
    process.stdout.write(`${complaint === null ? 'killed  ' : 'SURVIVED'} ${mutant.name}${complaint ?? ''}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/** Null if the named test fails because of the mutant. */
function complaintOf({ file, find, replace, test, fails }) {
  const path = join(folder, file);
  const source = readFileSync(path, 'utf8');
  if (source.split(find).length !== 2) return `: ${file} does not have its text exactly once`;
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
  try {
    const tap = join('node_modules', '.bin', 'tap');
    const { stdout } = spawnSync(tap, [test, '--reporter=tap'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: RUN_MS_MAX,
      maxBuffer: 256 * 1024 * 1024,
      env: { ...process.env, TIDEGAUGE_SIM_RUNS: process.env.TIDEGAUGE_SIM_RUNS ?? '30' },
    });
    const line = new RegExp(`^ {4}not ok \\d+ - ${quoted(fails)}( |$)`, 'm');
    return line.test(stdout) ? null : `: "${fails}" of ${test} did not fail`;
  } finally {
    writeFileSync(path, source);
  }
}

function quoted(text) {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
