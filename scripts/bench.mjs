/**
 * `npm run bench [-- names] [--series=1M] [--rounds=20] [--runs=3] [--variants=LIST] [--results=DIR] [--update-readme]`:
 * builds what is missing, runs each bench in a process of its own, prints its table, and writes its results to
 * bench/results/. `--update-readme` alone runs nothing and puts the newest results into bench/README.md.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureInstalled, root } from './lib/setup.mjs';

/** What a bench takes without flags: all of them together take about two minutes. */
const DEFAULTS = {
  decode: { series: '20k', rounds: 4, runs: 3 },
  append: { series: '50k', rounds: 4, runs: 3 },
  otlp: { series: '20k', rounds: 4, runs: 3 },
  select: { series: '250k', rounds: 2, runs: 5 },
  window: { series: '250k', rounds: 10, runs: 5 },
  plan: { series: '1', rounds: 3, runs: 5 },
  readings: { series: '1k', rounds: 5, runs: 5 },
  scaler: { series: '10k', rounds: 1, runs: 5 },
  kubernetes: { series: '10k', rounds: 10, runs: 1 },
  http: { series: '100k', rounds: 20, runs: 1 },
  recovery: { series: '250k', rounds: 10, runs: 3 },
  log: { series: '100k', rounds: 40, runs: 1 },
  keda: { series: '10k', rounds: 20, runs: 1 },
};
const HTTP_VARIANTS = ['base', 'shuffled', 'senders', 'unique', 'fractional', 'decimal'];

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    series: { type: 'string' },
    rounds: { type: 'string' },
    runs: { type: 'string' },
    variants: { type: 'string', default: 'base' },
    results: { type: 'string', default: join(root, 'bench', 'results') },
    'update-readme': { type: 'boolean', default: false },
  },
});

ensureInstalled();
// Not before this: they need what was installed.
const { environment, ROW_HEAD, rowCells, textTable, updateReadme, writeResults } = await import('../bench/report.mjs');
const { formatCount, parseCount } = await import('../bench/peers/lib/stats.mjs');

const onlyReadme = flags['update-readme'] && positionals.length === 0;
const names = onlyReadme ? [] : positionals.length > 0 ? positionals : Object.keys(DEFAULTS);
const unknown = names.find((name) => !(name in DEFAULTS));
if (unknown !== undefined) fail(`no bench ${unknown}, want some of ${Object.keys(DEFAULTS).join(', ')}`);
const variants = flags.variants === 'all' ? HTTP_VARIANTS : flags.variants.split(',');
const strange = variants.find((variant) => !HTTP_VARIANTS.includes(variant));
if (strange !== undefined) fail(`no variant ${strange}, want all or some of ${HTTP_VARIANTS.join(', ')}`);

if (names.length > 0) await prepare();
let failed = false;
for (const name of names) await run(name);
if (flags['update-readme']) updateReadme(join(root, 'bench', 'README.md'), flags.results);
process.exitCode = failed ? 1 : 0;

/** The daemon, and the benches as one bundle in .bench/, so that both are the code at hand. */
async function prepare() {
  const { build } = await import('./build.mjs');
  await build();
  const { bundle } = await import('./lib/bundle.mjs');
  await bundle(join(root, 'bench', 'main.ts'), join(root, '.bench', 'main.js'), { external: ['snappy'] });
}

async function run(name) {
  const options = optionsOf(name);
  const began = performance.now();
  console.error(`${name}, ${formatCount(options.series)} series ...`);
  const isWhole = ['http', 'log', 'recovery', 'keda', 'kubernetes'].includes(name);
  const program = isWhole ? [join(root, 'bench', `${name}.mjs`)] : [join(root, '.bench', 'main.js'), name];
  const rows = await rowsOf(['--max-old-space-size=8192', ...program, JSON.stringify(options)]);
  if (rows === null) {
    failed = true;
    console.error(`${name} failed`);
    return;
  }
  console.log(
    `\n${textTable([[`${name}, ${formatCount(options.series)} series`, ...ROW_HEAD.slice(1)], ...rowCells(rows)])}\n`,
  );
  const document = {
    title: `${name}, ${formatCount(options.series)} series`,
    ...environment(root),
    command: `npm run bench -- ${name} ${flagsOf(name, options)}`,
    seconds: Math.round((performance.now() - began) / 1000),
    rows,
  };
  const path = writeResults(flags.results, `${name}-${formatCount(options.series)}`, document);
  console.error(`${document.seconds} s, written to ${path}`);
}

function optionsOf(name) {
  const { series, rounds, runs } = DEFAULTS[name];
  const numbers = {
    series: parseCount(flags.series ?? series),
    rounds: Number(flags.rounds ?? rounds),
    runs: Number(flags.runs ?? runs),
  };
  for (const [flag, value] of Object.entries(numbers)) {
    if (!(Number.isInteger(value) && value > 0)) fail(`--${flag}: want a whole number above 0`);
  }
  return name === 'http' ? { ...numbers, variants } : numbers;
}

function flagsOf(name, { series, rounds, runs }) {
  const own = `--series=${formatCount(series)} --rounds=${rounds} --runs=${runs}`;
  return name === 'http' ? `${own} --variants=${variants.join(',')}` : own;
}

/** Runs one bench; its rows are the one line that it prints. Null if it failed. */
async function rowsOf(args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const stop = () => child.kill('SIGTERM');
  process.once('exit', stop);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  process.removeListener('exit', stop);
  return code === 0 ? JSON.parse(output) : null;
}

function fail(message) {
  console.error(`bench: ${message}`);
  process.exit(2);
}
