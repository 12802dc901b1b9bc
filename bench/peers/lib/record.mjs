/** Measurements as flat records, and their summary as Markdown tables. */
import fs from 'node:fs';
import { median } from './stats.mjs';

export class Recorder {
  /** @param {string} [file] JSON-lines file that each record is appended to at once */
  constructor(file) {
    this.file = file;
    this.records = [];
  }

  add(base, metric, value, unit) {
    const record = { ...base, metric, value, unit };
    this.records.push(record);
    if (this.file) fs.appendFileSync(this.file, `${JSON.stringify(record)}\n`);
  }

  static load(files) {
    const recorder = new Recorder();
    for (const file of files) {
      for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
        if (line) recorder.records.push(JSON.parse(line));
      }
    }
    return recorder;
  }
}

function show(x) {
  if (!Number.isFinite(x)) return String(x);
  const abs = Math.abs(x);
  if (abs >= 1e5) return x.toLocaleString('en-US', { maximumFractionDigits: 0 });
  if (abs >= 1000) return x.toFixed(0);
  if (abs >= 100) return x.toFixed(0);
  if (abs >= 10) return x.toFixed(1);
  if (abs >= 0.1 || abs === 0) return x.toFixed(2);
  return x.toFixed(3);
}

/** suite -> scenario -> metric -> target -> {median, min, max, n, unit} */
export function summarize(records) {
  const out = {};
  for (const { suite, scenario, metric, target, value, unit } of records) {
    out[suite] ??= {};
    out[suite][scenario] ??= {};
    out[suite][scenario][metric] ??= {};
    out[suite][scenario][metric][target] ??= { unit, values: [] };
    out[suite][scenario][metric][target].values.push(value);
  }
  for (const scenarios of Object.values(out)) {
    for (const metrics of Object.values(scenarios)) {
      for (const targets of Object.values(metrics)) {
        for (const [name, { unit, values }] of Object.entries(targets)) {
          const numbers = values.filter((v) => typeof v === 'number');
          targets[name] = numbers.length
            ? { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers), n: numbers.length, unit }
            : { text: [...new Set(values)].join('; '), n: values.length, unit };
        }
      }
    }
  }
  return out;
}

export function markdown(records) {
  const lines = [];
  const summary = summarize(records);
  for (const [suite, scenarios] of Object.entries(summary)) {
    const targets = [...new Set(records.filter((r) => r.suite === suite).map((r) => r.target))];
    for (const [scenario, metrics] of Object.entries(scenarios)) {
      lines.push(
        `### ${suite}: ${scenario}`,
        '',
        `| metric | unit | ${targets.join(' | ')} |`,
        `|---|---|${'---|'.repeat(targets.length)}`,
      );
      for (const [metric, cells] of Object.entries(metrics)) {
        const unit = Object.values(cells)[0].unit ?? '';
        const row = targets.map((target) => {
          const cell = cells[target];
          if (!cell) return '–';
          if (cell.text !== undefined) return cell.text;
          return cell.n > 1 ? `${show(cell.median)} (${show(cell.min)}–${show(cell.max)})` : show(cell.median);
        });
        lines.push(`| ${metric} | ${unit} | ${row.join(' | ')} |`);
      }
      lines.push('');
    }
  }
  return lines.join('\n');
}
