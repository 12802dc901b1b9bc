/**
 * `npm run bench:peers [-- flags]`: the same load against Prometheus, VictoriaMetrics and this daemon, alternating in one
 * run. Unpacks the peers into .bench/peers when they are missing (`--peers=DIR` names another folder), builds the
 * daemon, runs bench/peers/bench-peers.mjs, prints what was measured and by how much the daemon is better, and writes
 * the comparison to bench/results/ (or `--results=DIR`). Other flags go on to the harness and win over the defaults
 * below; `node bench/peers/bench-peers.mjs --help` lists them.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ensureInstalled, root } from './lib/setup.mjs';

const HARNESS = join(root, 'bench', 'peers');
const given = process.argv.slice(2);
const PEERS = take('peers', join(root, '.bench', 'peers'));
const RESULTS = take('results', join(root, 'bench', 'results'));
const RECORDS = join(root, '.bench', 'peers.jsonl');
const TABLES = join(root, '.bench', 'peers.md');
/** The figures of the design: a million series, 21 samples each, medians of three. Takes about 40 minutes. */
const DEFAULTS = {
  sizes: '1M:20',
  'query-size': '1M',
  suites: 'ingest,query,fresh,start',
  runs: '3',
  'loaded-rounds': '0',
};

const programs = [
  { package: 'prometheus', path: join(PEERS, 'prometheus', 'usr', 'bin', 'prometheus') },
  { package: 'victoria-metrics', path: join(PEERS, 'victoria-metrics', 'usr', 'bin', 'victoria-metrics') },
];

ensureInstalled();
const { comparisonTables, compare, environment, faultsOf, textTable, writeResults } = await import(
  '../bench/report.mjs'
);
const { Recorder } = await import('../bench/peers/lib/record.mjs');
const { build } = await import('./build.mjs');

fetchPeers();
await build();
mkdirSync(join(root, '.bench'), { recursive: true });
rmSync(RECORDS, { force: true });
const flags = [...Object.entries(DEFAULTS).map(([name, value]) => `--${name}=${value}`), ...given];
const status = harness([
  '--targets',
  join(HARNESS, 'targets.json'),
  `--project=${root}`,
  `--peers=${PEERS}`,
  `--data=${join(root, '.bench', 'data')}`,
  `--out=${RECORDS}`,
  ...flags,
]);
process.exitCode = status === 0 ? report() : status;

/** Takes a flag of this script, `--name=value`, out of the ones that go on to the harness. */
function take(name, fallback) {
  const at = given.findIndex((flag) => flag.startsWith(`--${name}=`));
  return at < 0 ? fallback : resolve(given.splice(at, 1)[0].slice(name.length + 3));
}

/** The binaries come as Debian's packages, unpacked; nothing is installed. */
function fetchPeers() {
  const missing = programs.filter(({ path }) => !existsSync(path));
  if (missing.length === 0) return;
  const names = missing.map((program) => program.package);
  console.error(`fetching ${names.join(', ')} ...`);
  execFileSync(join(HARNESS, 'get-peers'), [PEERS, ...names], { stdio: ['ignore', 2, 2] });
}

/** Runs the harness; its own, longer tables go to a file. */
function harness(args) {
  const tables = openSync(TABLES, 'w');
  const { status } = spawnSync(process.execPath, [join(HARNESS, 'bench-peers.mjs'), ...args], {
    stdio: ['ignore', tables, 'inherit'],
  });
  closeSync(tables);
  console.error(`all figures of the harness: ${TABLES}`);
  return status ?? 1;
}

/** Prints and writes the comparison; returns the exit code. */
function report() {
  const { records } = Recorder.load([RECORDS]);
  const faults = faultsOf(records);
  for (const { target, scenario, metric, value } of faults)
    console.error(`wrong: ${target}, ${scenario}, ${metric}: ${value}`);
  const comparison = compare(records);
  const { measured, ratios } = comparisonTables(comparison);
  console.log(`${textTable(measured)}\n\n${textTable(ratios)}\n`);
  if (faults.length > 0) return 1;
  const sizes = sizesOf(flags);
  const document = {
    title: `peers, ${sizes}`,
    ...environment(root),
    command: ['npm run bench:peers', ...(given.length === 0 ? [] : ['--', ...given])].join(' '),
    peers: programs.map(versionOf),
    comparison,
  };
  console.error(`written to ${writeResults(RESULTS, `peers-${sizes.replaceAll(/[:,]/g, '_')}`, document)}`);
  return 0;
}

/** The last of the sizes given, as the harness takes it. */
function sizesOf(args) {
  const at = args.findLastIndex((flag) => flag === '--sizes' || flag.startsWith('--sizes='));
  return args[at].startsWith('--sizes=') ? args[at].slice('--sizes='.length) : args[at + 1];
}

/** Debian's version, which the binaries themselves do not all know. */
function versionOf({ package: name, path }) {
  const changes = join(PEERS, name, 'usr', 'share', 'doc', name, 'changelog.Debian.gz');
  if (existsSync(changes)) {
    const { stdout } = spawnSync('zcat', [changes], { encoding: 'utf8' });
    const version = /\(([^)]+)\)/.exec(stdout)?.[1];
    if (version !== undefined) return `${name} ${version}`;
  }
  const { stdout, stderr } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  return `${name} ${/\d+\.\d+\.\d+\S*/.exec(`${stdout}${stderr}`)?.[0] ?? 'of unknown version'}`;
}
