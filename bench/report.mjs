/** What comes out of the benches: tables for the terminal, result files, and the results section of README.md. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { summarize } from './peers/lib/record.mjs';
import { formatCount } from './peers/lib/stats.mjs';

/** Series in the store for which the targets hold. */
const TARGET_SERIES = 1_000_000;
const atMost = (value) => ({ value, sign: '≤', anySize: false });
const atLeast = (value) => ({ value, sign: '≥', anySize: false });
const always = (target) => ({ ...target, anySize: true });

/** The design's targets, by the name of a row. The ones of queries are meant over HTTP. */
export const TARGETS = new Map([
  ['known series: CPU a sample', atMost(0.2)],
  ['new series: CPU each', atMost(1)],
  ['known series: throughput', atLeast(3_500_000)],
  ['resident memory a series after 21 samples each', atMost(330)],
  ['resident memory a further sample', atMost(2.6)],
  ['probe every 10 ms under full load, p99.9', atMost(20)],
  ['event loop delay under full load, p99.9', atMost(20)],
  ['known series: visible right after the reply', always(atLeast(100))],
  ['new series: visible right after the reply', always(atLeast(100))],
  ['autoscale: sum(rate[2m]) of one service, 400 series', atMost(0.4)],
  ['sum, 10k series', atMost(1)],
  ['sum by (namespace)(rate[1m]), 100k series', atMost(8)],
  ['histogram_quantile(0.99, sum by (le)(rate[1m])), 100k buckets', atMost(8)],
  ['query_range 1h step 15s, sum(rate[1m]), 1k series', atMost(5)],
  ['sum, all series', atMost(25)],
  ['ready after start, empty', always(atMost(500))],
  ['resident memory, empty', always(atMost(80))],
]);

/** Where and on what a bench ran. */
export function environment(root) {
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    commit: commitOf(root),
    node: process.version,
    machine: `${processors.length} × ${processors[0]?.model.trim() ?? 'unknown'}, ${(totalmem() / 2 ** 30).toFixed(1)} GiB, ${type()}`,
  };
}

function commitOf(root) {
  const git = (...args) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--', '.', ':!bench/results', ':!bench/README.md') !== '';
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? ' with changes' : ''}`;
  } catch {
    return 'none yet';
  }
}

/** Writes `<name>-<date>.json`; a later run on the same day takes its place. */
export function writeResults(folder, name, document) {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}-${document.date.slice(0, 10)}.json`);
  writeFileSync(path, `${JSON.stringify(document, null, 2)}\n`);
  return path;
}

/** Rows of one bench as cells of text: name, value, unit, target. */
export function rowCells(rows) {
  return rows.map((row) => [row.name, spread(row), row.unit, targetText(row)]);
}

function targetText({ name, value, series }) {
  const target = TARGETS.get(name);
  if (target === undefined) return '';
  const text = `${target.sign} ${figure(target.value)}`;
  if (series !== TARGET_SERIES && !target.anySize) return `(${text} at ${formatCount(TARGET_SERIES)})`;
  if (value === null) return `${text}: no figure`;
  const reached = target.sign === '≤' ? value <= target.value : value >= target.value;
  return `${text}: ${reached ? 'reached' : 'missed'}`;
}

/** What is compared of the peers' harness: suite, metric, and whether more is better. */
const COMPARED = [
  ['ingest', /^(new series|steady): server CPU per million samples$/],
  ['ingest', /^(new series|steady): throughput$/, true],
  ['ingest', /^RSS per series after \d+ rounds$/],
  ['ingest', /^RSS growth per further sample$/],
  ['query idle', /: p50$/],
  ['query while ingesting', /: p50$/],
  ['freshness', /series: p50$/],
  ['churn', /: server CPU per million samples$/],
  ['start', /^(ready after|RSS idle)$/],
];

/**
 * Measured figures and ratios from the harness' records: one line for each compared metric. `ratios[k]` says how many
 * times better `ours` is than peer k.
 */
export function compare(records, ours = 'tidegauge') {
  const peers = [...new Set(records.map(({ target }) => target))].filter((target) => target !== ours);
  const lines = [];
  for (const [suite, scenarios] of Object.entries(summarize(records))) {
    for (const [scenario, metrics] of Object.entries(scenarios)) {
      for (const [metric, cells] of Object.entries(metrics)) {
        const rule = COMPARED.find(([where, what]) => where === suite && what.test(metric));
        if (rule === undefined) continue;
        const own = cells[ours];
        const ratios = peers.map((peer) => ratioOf(own?.median, cells[peer]?.median, rule[2] === true));
        const figures = [ours, ...peers].map((target) => cells[target] ?? null);
        lines.push({ suite, scenario, metric, unit: Object.values(cells)[0].unit, figures, ratios });
      }
    }
  }
  return { targets: [ours, ...peers], lines };
}

/** Records that say that a server failed or answered wrongly: the figures beside them compare nothing. */
export function faultsOf(records) {
  return records.filter(
    ({ suite, metric, value }) =>
      suite === 'failure' ||
      /errors$|: empty answer$/.test(metric) ||
      (metric.endsWith(': p50') && typeof value !== 'number') ||
      (metric.endsWith('answer / expected') && !(Math.abs(value - 1) < 1e-9)),
  );
}

function ratioOf(own, peer, moreIsBetter) {
  // Memory that shrank meanwhile has no ratio.
  if (own === undefined || peer === undefined || own <= 0 || peer <= 0) return null;
  return moreIsBetter ? own / peer : peer / own;
}

/** The two tables of a comparison, as lists of a heading and lines of cells. */
export function comparisonTables({ targets, lines }) {
  const name = ({ suite, scenario, metric }) => `${suite}, ${scenario}: ${metric}`;
  const cell = (one) => (one === null ? '–' : (one.text ?? spread({ value: one.median, ...one })));
  const ratio = (one) => (one === null ? '–' : `${figure(one)}×`);
  return {
    measured: [
      ['measured', 'unit', ...targets],
      ...lines.map((line) => [name(line), line.unit, ...line.figures.map(cell)]),
    ],
    ratios: [
      [`${targets[0]} is better by`, ...targets.slice(1)],
      ...lines
        .filter(({ ratios }) => ratios.some((one) => one !== null))
        .map((line) => [name(line), ...line.ratios.map(ratio)]),
    ],
  };
}

/** Columns side by side for a terminal; all but the first to the right. */
export function textTable(lines) {
  const widths = lines[0].map((_cell, column) => Math.max(...lines.map((line) => line[column].length)));
  const pad = (cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]));
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n');
}

export function markdownTable([head, ...lines]) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|---|${'---:|'.repeat(head.length - 1)}`, ...lines.map(line)].join('\n');
}

export const ROW_HEAD = ['what', 'median (min–max)', 'unit', 'target'];
const BEGIN = '<!-- results: begin (made by npm run bench -- --update-readme) -->';
const END = '<!-- results: end -->';

/** Rewrites what stands between the two marks of the README from the newest file of each name. */
export function updateReadme(path, folder) {
  const text = readFileSync(path, 'utf8');
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`cannot update ${path}: want the lines ${BEGIN} and ${END}`);
  const sections = newestResults(folder).map(section);
  const body = sections.length === 0 ? 'None yet.' : sections.join('\n\n');
  writeFileSync(path, `${text.slice(0, begin + BEGIN.length)}\n\n${body}\n\n${text.slice(end)}`);
}

/** The newest document of each name, the names in order. */
export function newestResults(folder) {
  const byName = new Map();
  for (const file of readdirSync(folder).sort()) {
    const parts = /^(.+)-\d{4}-\d{2}-\d{2}\.json$/.exec(file);
    if (parts !== null) byName.set(parts[1], JSON.parse(readFileSync(join(folder, file), 'utf8')));
  }
  return [...byName].sort(([a], [b]) => a.localeCompare(b, 'en')).map(([, document]) => document);
}

function section(document) {
  const { title, date, commit, node, machine, command } = document;
  const origin = `\`${command}\`, ${date} UTC, commit ${commit}, Node ${node}, ${machine}`;
  const head = `### ${title}\n\n${origin}${document.peers === undefined ? '' : `. Peers: ${document.peers.join('; ')}`}`;
  if (document.rows !== undefined) return `${head}\n\n${markdownTable([ROW_HEAD, ...rowCells(document.rows)])}`;
  const { measured, ratios } = comparisonTables(document.comparison);
  return `${head}\n\n${markdownTable(ratios)}\n\n${markdownTable(measured)}`;
}

function spread({ value, min, max, n }) {
  if (value === null) return 'no figure';
  return n > 1 ? `${figure(value)} (${figure(min)}–${figure(max)})` : figure(value);
}

/** Three digits or so; thousands apart. */
export function figure(x) {
  const size = Math.abs(x);
  if (size >= 1000) return Math.round(x).toLocaleString('en-US');
  if (size >= 100 || Number.isInteger(x)) return String(Math.round(x));
  return size >= 10 ? x.toFixed(1) : size >= 0.1 ? x.toFixed(2) : x.toFixed(3);
}
