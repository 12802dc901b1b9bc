/**
 * The pages of docs/, examples/ and deploy/: links lead somewhere, what they name exists in the code, and each command is run, or,
 * where it needs a cluster, what can be run of it without one.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { ALL_SETTINGS, flagOf } from '../src/config/schema.ts';
import { ERRORS } from '../src/model/errors.ts';
import { startDaemon } from './support/daemon.ts';
import { runProgram } from './support/process.ts';
import { skipWithout } from './support/real-programs.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const UPDATE = process.env.TIDEGAUGE_UPDATE_DOCS === '1';
const scripts = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object }).scripts;

/** Pages by their path from the root. */
const pages = new Map(
  ['README.md', ...['docs', 'examples', 'deploy'].flatMap((folder) => markdownBelow(folder))].map((path) => [
    path,
    readFileSync(join(root, path), 'utf8'),
  ]),
);

function markdownBelow(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => join(folder, path))
    .sort();
}

test('links lead somewhere', async (t) => {
  for (const [path, text] of pages) {
    for (const [, target] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g))
      t.ok(existsSync(join(root, dirname(path), target!)), `${path}: ${target}`);
  }
});

test('flags that pages name are flags', async (t) => {
  const known = new Set(ALL_SETTINGS.map(flagOf));
  for (const [path, text] of pages) {
    // Only ours have a dot.
    for (const [flag] of text.matchAll(/(?<![\w-])--[a-z]+\.[a-z0-9.-]*[a-z0-9]/g))
      t.ok(known.has(flag) || notOurs(text, flag), `${path}: ${flag}`);
  }
});

/** A line that calls another program may give it flags with dots. */
function notOurs(text: string, flag: string): boolean {
  return text.split('\n').some((line) => line.includes(flag) && /^(?:prometheus|helm|vmagent|kubectl) /.test(line));
}

test('error codes that pages name are codes', async (t) => {
  const text = pages.get('docs/troubleshooting.md')!;
  const codes = [...text.matchAll(/^\| `([a-z]+(?:_[a-z]+)*)` \|/gm)]
    .map((match) => match[1]!)
    .filter((code) => code.includes('_'));
  t.ok(codes.length >= 4);
  for (const code of [...codes, 'stale', 'ambiguous']) t.ok(code in ERRORS, code);
});

test('own metrics that pages name are exposed', async (t) => {
  const listed = readFileSync(join(root, 'docs/metrics.md'), 'utf8');
  for (const [path, text] of pages) {
    for (const [name] of text.matchAll(/\btidegauge_[a-z_]+[a-z]\b(?![{*…])/g))
      t.ok(listed.includes(`\`${name}\``), `${path}: ${name}`);
  }
});

interface Command {
  readonly path: string;
  readonly line: string;
}

const PROGRAMS = /^(?:npm|curl|helm|kubectl|node|docker|kind) /;

/** Commands of fenced blocks without a language or of shells; a backslash at the end goes on. */
function commands(): readonly Command[] {
  return [...pages].flatMap(([path, text]) =>
    [...text.matchAll(/^```(?:sh|console)?\n([\s\S]*?)^```/gm)].flatMap(([, block]) =>
      block!
        .replaceAll(/\\\n\s*/g, '')
        .split(/\n(?!')/)
        .map((line) =>
          line
            .replace(/ +#.*$/, '')
            .replace(/ &$/, '')
            .trim(),
        )
        .filter((line) => PROGRAMS.test(line))
        .map((line) => ({ path, line })),
    ),
  );
}

const starting = (...prefixes: readonly string[]): readonly Command[] =>
  commands().filter(({ line }) => prefixes.some((prefix) => line.startsWith(prefix)));

/** What only a cluster or a container engine can run; its arguments are looked at by nobody. */
const NEEDS_A_CLUSTER =
  /^(?:docker build|kind load|helm uninstall|kubectl (?:-n \S+ )?(?:get|port-forward|describe|logs)|kubectl --server)/;

test('every command is of a kind that is tried', async (t) => {
  const tried = /^(?:npm (?:start|test|run|pack|sbom)|curl |node |helm install|kubectl apply)/;
  t.ok(commands().length > 20, `${commands().length} commands`);
  for (const { path, line } of commands()) t.ok(tried.test(line) || NEEDS_A_CLUSTER.test(line), `${path}: ${line}`);
});

test('npm and node commands', async (t) => {
  for (const { path, line } of starting('npm run ')) t.ok(line.split(' ')[2]! in scripts, `${path}: ${line}`);
  for (const { path, line } of starting('node ')) t.ok(existsSync(join(root, line.split(' ')[1]!)), `${path}: ${line}`);
  for (const { path, line } of starting('npm start -- --')) {
    if (line.includes('--help')) continue;
    const flags = line.split(' ').slice(3);
    const done = await runProgram(process.execPath, [join(root, 'dist/main.js'), '--check-config', ...flags], {
      cwd: root,
    });
    t.equal(done.code, 0, `${path}: ${line}: ${done.stderr}`);
  }
});

test('curl commands reach what they ask for', { skip: skipWithout('curl', 'sh') }, async (t) => {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  for (const { path, line } of starting('curl ')) {
    if (!line.includes('127.0.0.1:9090')) continue;
    const shell = `${line.replaceAll('127.0.0.1:9090', daemon.listen.web)} -o /dev/null -w '%{http_code}'`;
    const done = await runProgram('sh', ['-c', shell]);
    t.match(done.stdout, /^2/, `${path}: ${line}: ${done.stdout}`);
  }
});

test('helm and kubectl commands render', { skip: skipWithout('helm', 'kubectl', 'sh') }, async (t) => {
  for (const { path, line } of starting('helm install ')) {
    const shell = line
      .replace('helm install', 'helm template')
      .replace('--create-namespace', '')
      // A file of the reader's own.
      .replace('=config.yaml', '=examples/hpa-pods-latency/adapter.yaml')
      .replace('image.repository=…', 'image.repository=x');
    const done = await runProgram('sh', ['-c', shell], { cwd: root });
    t.equal(done.code, 0, `${path}: ${line}: ${done.stderr}`);
  }
  for (const { path, line } of starting('kubectl apply ')) {
    for (const [, option, target] of line.matchAll(/ -([kf]) (\S+)/g)) {
      t.ok(existsSync(join(root, target!)), `${path}: ${target}`);
      if (option === 'k')
        t.equal((await runProgram('kubectl', ['kustomize', join(root, target!)])).code, 0, `${path}: ${target}`);
    }
  }
});

/** Rows of docs/operations.md, and the row of bench/README.md that each repeats. */
const FIGURES: readonly (readonly [row: string, bench: RegExp, unit: string])[] = [
  ['resident memory a series, after 21 samples, all in', /RSS per series after 21 rounds \| B \| ([\d.,-]+)/, ' B'],
  ['each further sample of a series', /RSS growth per further sample \| B \| ([\d.,-]+)/, ' B'],
  [
    'CPU seconds a million samples of known series',
    /steady: server CPU per million samples \| CPU-s \| ([\d.,-]+)/,
    '',
  ],
  [
    "CPU seconds a million new series' first samples",
    /new series: server CPU per million samples \| CPU-s \| ([\d.,-]+)/,
    '',
  ],
];

test('figures of docs/operations.md are those of the benches', async (t) => {
  const bench = readFileSync(join(root, 'bench/README.md'), 'utf8');
  const file = join(root, 'docs/operations.md');
  let text = readFileSync(file, 'utf8');
  for (const [row, pattern, unit] of FIGURES) {
    const measured = pattern.exec(bench)?.[1];
    t.ok(measured, `bench/README.md has ${pattern}`);
    const wanted = `| ${row} | ${measured}${unit} |`;
    if (UPDATE) text = text.replace(new RegExp(`^\\| ${row} \\|.*$`, 'm'), wanted);
    t.ok(text.includes(wanted), `${wanted}: TIDEGAUGE_UPDATE_DOCS=1 writes it anew`);
  }
  if (UPDATE) writeFileSync(file, text);
});

test('each folder of deploy/ that the chart takes files from is in it', async (t) => {
  for (const [folder, inChart] of [
    ['deploy/grafana', 'dashboards'],
    ['deploy/prometheus', 'rules'],
  ] as const) {
    if (!existsSync(join(root, folder))) continue;
    const chart = join(root, 'deploy/helm/tidegauge', inChart);
    const command = `ln -s ../../${relative('deploy', folder)} deploy/helm/tidegauge/${inChart}`;
    t.ok(existsSync(chart), `missing; "${command}" adds it`);
    if (existsSync(chart)) t.strictSame(readdirSync(chart).sort(), readdirSync(join(root, folder)).sort());
  }
});
