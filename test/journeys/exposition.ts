/**
 * Prometheus' text exposition format 0.0.4, read by code of its own: what an exporter says is compared with what the daemon
 * answers. https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */

export interface ExposedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?/y;

export function parseExposition(text: string): readonly ExposedSample[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const match = LINE.exec(line);
    if (match === null) throw new Error(`cannot read exposition line: ${line}`);
    return { name: match[1]!, labels: parseLabels(match[2] ?? ''), value: parseValue(match[3]!) };
  });
}

/** The sum of all samples of a metric whose labels include these. */
export function sumOf(
  samples: readonly ExposedSample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const wanted = Object.entries(labels);
  const matching = samples.filter((s) => s.name === name && wanted.every(([key, value]) => s.labels[key] === value));
  if (matching.length === 0) throw new Error(`no sample of ${name} ${JSON.stringify(labels)} was exposed`);
  return matching.reduce((sum, s) => sum + s.value, 0);
}

/** One text for one label set, whatever the order of the labels. A label with an empty value is as good as none. */
export function seriesKey(name: string, labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels)
    .filter(([, value]) => value !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([name, ...pairs]);
}

function parseLabels(text: string): Readonly<Record<string, string>> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const match = LABEL.exec(text);
    if (match === null) throw new Error(`cannot read labels: ${text}`);
    labels[match[1]!] = match[2]!.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return labels;
}

/** Numbers as the format and the query API write them. */
export function parseValue(text: string): number {
  if (text === '+Inf' || text === 'Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  if (text === 'NaN') return NaN;
  const value = Number(text);
  if (text === '' || Number.isNaN(value)) throw new Error(`cannot read number: ${text}`);
  return value;
}
