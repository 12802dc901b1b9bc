/** What becomes of figures: targets, ratios, faults, and the results section of the README. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import {
  compare,
  comparisonTables,
  faultsOf,
  type HarnessRecord,
  rowCells,
  updateReadme,
  writeResults,
} from '../../bench/report.mjs';

test('a target is reached or missed at its size only', async (t) => {
  const f = (name: string, value: number, series: number, want: string) =>
    t.equal(rowCells([{ name, value, min: value, max: value, n: 1, unit: '', series }])[0]![3], want);
  f('known series: CPU a sample', 0.19, 1e6, '≤ 0.20: reached');
  f('known series: CPU a sample', 0.21, 1e6, '≤ 0.20: missed');
  f('known series: CPU a sample', 0.19, 1e5, '(≤ 0.20 at 1M)');
  f('known series: throughput', 3.6e6, 1e6, '≥ 3,500,000: reached');
  f('known series: throughput', 3.4e6, 1e6, '≥ 3,500,000: missed');
  f('ready after start, empty', 400, 10, '≤ 500: reached');
  f('something else', 1, 1e6, '');
});

const record = (metric: string, target: string, value: number | string, suite = 'ingest'): HarnessRecord => ({
  suite,
  scenario: 's',
  target,
  run: 1,
  metric,
  value,
  unit: '',
});

test('a ratio says how many times better we are, whichever way better is', async (t) => {
  const f = (metric: string, ours: number, theirs: number, want: number | null) => {
    const records = [record(metric, 'tidegauge', ours), record(metric, 'peer', theirs)];
    t.strictSame(compare(records).lines[0]!.ratios, [want]);
  };
  f('steady: server CPU per million samples', 0.2, 2, 10);
  f('steady: throughput', 3, 1.5, 2);
  f('RSS growth per further sample', 2, -7, null);
});

test('medians are compared, and peers that were not measured leave a gap', async (t) => {
  const metric = 'new series: server CPU per million samples';
  const records = [1, 9, 2].map((value) => record(metric, 'tidegauge', value));
  const comparison = compare([...records, record(metric, 'a', 8), record('settled after', 'b', 8)]);
  t.strictSame(comparison.targets, ['tidegauge', 'a', 'b']);
  t.strictSame(comparison.lines[0]!.ratios, [4, null]);
  t.strictSame(comparisonTables(comparison).ratios[1], [`ingest, s: ${metric}`, '4×', '–']);
});

test('errors and wrong answers are faults', async (t) => {
  const f = (one: HarnessRecord, want: boolean) => t.equal(faultsOf([one]).length === 1, want, one.metric);
  f(record('error', 'a', 'it ended', 'failure'), true);
  f(record('steady: errors', 'a', '3: 500'), true);
  f(record('write errors', 'a', '3: 500'), true);
  f(record('sum: empty answer', 'a', 1), true);
  f(record('sum: p50', 'a', '422'), true);
  f(record('sum: p50', 'a', 1.5), false);
  f(record('sum: answer / expected', 'a', 0.99), true);
  f(record('sum: answer / expected', 'a', 1), false);
});

test('the README shows the newest results of each name', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegauge-bench-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const document = (name: string, date: string, value: number) =>
    writeResults(folder, name, {
      title: name,
      date: `${date} 10:00`,
      commit: 'c0ffee',
      node: 'v20',
      machine: 'two cores',
      command: `npm run bench -- ${name}`,
      rows: [{ name: 'a row', value, min: value, max: value, n: 1, unit: 'ms', series: 10 }],
    });
  document('append-1M', '2026-01-02', 22);
  document('append-1M', '2026-01-01', 11);
  document('append-10k', '2026-01-01', 33);
  const readme = join(folder, 'README.md');
  const begin = '<!-- results: begin (made by npm run bench -- --update-readme) -->';
  writeFileSync(readme, `before\n\n${begin}\n\nold\n\n<!-- results: end -->\n\nafter\n`);
  updateReadme(readme, folder);
  const text = readFileSync(readme, 'utf8');
  t.match(text, /^before\n/);
  t.match(text, /after\n$/);
  t.match(text, '`npm run bench -- append-1M`, 2026-01-02 10:00 UTC, commit c0ffee, Node v20, two cores');
  t.match(text, '| a row | 22 | ms |  |');
  t.match(text, '| a row | 33 | ms |  |');
  t.notMatch(text, '| a row | 11 |');
  t.notMatch(text, 'old');
  updateReadme(readme, folder);
  t.equal(readFileSync(readme, 'utf8'), text, 'and twice is as good as once');
});
