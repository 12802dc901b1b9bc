/**
 * `node scripts/mutants.mjs [WORDS]`: shows that the tests of Readings can fail. Each mutant of test/mutants/mutants.json
 * is a change that would let an autoscaler be told something wrong; the test that it names is bundled with that change
 * (the sources stay as they are) and must fail at once. With words, only mutants whose names have them all. Two run at a
 * time. Closes with `N passed, N failed`.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { ensureInstalled, root } from './lib/setup.mjs';

const RUN_MS_MAX = 180_000;
const AT_A_TIME = 2;

/** Runs them all; how many died and how many did not. */
async function runMutants(words = []) {
  const list = JSON.parse(readFileSync(join(root, 'test', 'mutants', 'mutants.json'), 'utf8'));
  const waiting = list.filter(({ name }) => words.every((word) => name.includes(word)));
  // Below the project, so that the bundles find what is installed.
  mkdirSync(join(root, 'build'), { recursive: true });
  const folder = mkdtempSync(join(root, 'build', 'mutants-'));
  let passed = 0;
  let failed = 0;
  const work = async () => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const complaint = await complaintOf(mutant, join(folder, `${waiting.length}.mjs`));
      if (complaint === null) passed++;
      else failed++;
      process.stdout.write(`${complaint === null ? 'killed  ' : 'SURVIVED'} ${mutant.name}${complaint ?? ''}\n`);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_A_TIME }, work));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { passed, failed };
}

/** Null if the named test fails because of the mutant. */
async function complaintOf({ file, find, replace, test, fails }, outfile) {
  const path = join(root, file);
  const source = readFileSync(path, 'utf8');
  if (source.split(find).length !== 2) return `: ${file} does not have its text exactly once`;
  const mutated = source.replace(find, () => replace);
  const swap = {
    name: 'mutant',
    setup: (build) =>
      build.onLoad({ filter: /\.ts$/ }, ({ path: loaded }) =>
        loaded === path ? { contents: mutated, loader: 'ts' } : undefined,
      ),
  };
  const { bundle } = await import('./lib/bundle.mjs');
  await bundle(join(root, test), outfile, { external: ['tap'], plugins: [swap] });
  const fault = await firstFault(outfile, fails);
  return fault === 'failed' ? null : `: "${fails}" of ${test} ${fault}`;
}

/** `failed` as soon as an assertion of the one test has failed, else what became of it. */
async function firstFault(bundled, name) {
  const child = spawn(process.execPath, [bundled], {
    cwd: root,
    env: { ...process.env, TAP_GREP: `/^${quoted(name)}$/` },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS_MAX);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  let fault = 'did not run';
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === `# Subtest: ${name}`) fault = 'did not fail';
    if (fault === 'did not fail' && /^ +not ok /.test(line)) {
      fault = 'failed';
      break;
    }
  }
  child.kill('SIGKILL');
  await exited;
  clearTimeout(timer);
  return fault;
}

function quoted(text) {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  ensureInstalled();
  const { buildKernel } = await import('./build-kernel.mjs');
  await buildKernel();
  const { passed, failed } = await runMutants(process.argv.slice(2));
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}
