/**
 * Own metrics: counters, gauges and histograms, written as Prometheus text (format 0.0.4).
 *
 * A metric hands out one `Cell` for each combination of label values; hot paths keep their cell and add to a number.
 * Names follow Prometheus: `tidegauge_` in front, base units, `_total` on counters.
 */

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** One number of a metric. */
export interface Cell {
  value: number;
}

export interface HistogramCell {
  /** Observations a bucket, not cumulative; `counts.length === bounds.length + 1`, the last is +Inf. */
  readonly counts: Float64Array;
  sum: number;
  /** Adds one observation. */
  observe(value: number): void;
}

/** A counter or gauge with one cell for each combination of its label values. */
export interface Family<C> {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly labelNames: readonly string[];
  /** The cell of these label values (`values.length === labelNames.length`), made at the first call. */
  with(...values: string[]): C;
}

interface Registered {
  readonly family: Family<unknown>;
  write(lines: string[]): void;
}

/** Of answers, in seconds: an autoscaler's takes well below a millisecond, and none is waited for longer than the last. */
export const DURATION_BOUNDS: readonly number[] = [
  0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60,
];

export class Registry {
  readonly #registered = new Map<string, Registered>();

  /** Registers a counter. Its name ends in `_total`. */
  counter(name: string, help: string, ...labelNames: string[]): Family<Cell> {
    return this.#numbers('counter', name, help, labelNames);
  }

  gauge(name: string, help: string, ...labelNames: string[]): Family<Cell> {
    return this.#numbers('gauge', name, help, labelNames);
  }

  /** Registers a metric without labels whose value is read when it is scraped. */
  computed(type: 'counter' | 'gauge', name: string, help: string, read: () => number): void {
    const family: Family<never> = { name, help, type, labelNames: [], with: () => unsupported(name) };
    this.#add(family, (lines) => lines.push(`${name} ${formatValue(read())}`));
  }

  /** Registers a metric whose cells are all read when it is scraped; those that are not given have gone. */
  collected(
    type: 'counter' | 'gauge',
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<{ readonly labels: readonly string[]; readonly value: number }>,
  ): void {
    const family: Family<never> = { name, help, type, labelNames, with: () => unsupported(name) };
    this.#add(family, (lines) => {
      for (const { labels, value } of read()) {
        const texts = labelNames.map((label, i) => `${label}="${escapeValue(labels[i]!)}"`);
        lines.push(`${name}${labelText(texts)} ${formatValue(value)}`);
      }
    });
  }

  /** Registers a histogram; `bounds` ascend and leave out +Inf. */
  histogram(name: string, help: string, bounds: readonly number[], ...labelNames: string[]): Family<HistogramCell> {
    const cells = new Map<string, { labels: string[]; cell: HistogramCell }>();
    const family: Family<HistogramCell> = {
      name,
      help,
      type: 'histogram',
      labelNames,
      with: (...values) => cellOf(cells, name, labelNames, values, () => histogramCell(bounds)),
    };
    this.#add(family, (lines) => {
      for (const { labels, cell } of cells.values()) writeHistogram(lines, name, bounds, labels, cell);
    });
    return family;
  }

  /** Names, types and help texts of everything registered, in order of registration. */
  families(): readonly Family<unknown>[] {
    return [...this.#registered.values()].map((registered) => registered.family);
  }

  /** The exposition text. */
  expose(): string {
    const lines: string[] = [];
    for (const { family, write } of this.#registered.values()) {
      lines.push(`# HELP ${family.name} ${family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`);
      lines.push(`# TYPE ${family.name} ${family.type}`);
      write(lines);
    }
    return `${lines.join('\n')}\n`;
  }

  #numbers(type: 'counter' | 'gauge', name: string, help: string, labelNames: readonly string[]): Family<Cell> {
    const cells = new Map<string, { labels: string[]; cell: Cell }>();
    const family: Family<Cell> = {
      name,
      help,
      type,
      labelNames,
      with: (...values) => cellOf(cells, name, labelNames, values, () => ({ value: 0 })),
    };
    if (labelNames.length === 0) family.with();
    this.#add(family, (lines) => {
      for (const { labels, cell } of cells.values())
        lines.push(`${name}${labelText(labels)} ${formatValue(cell.value)}`);
    });
    return family;
  }

  #add(family: Family<unknown>, write: (lines: string[]) => void): void {
    if (this.#registered.has(family.name)) throw new Error(`metric registered twice: ${family.name}`);
    this.#registered.set(family.name, { family, write });
  }
}

function unsupported(name: string): never {
  throw new Error(`${name} is computed and has no cells`);
}

function cellOf<C>(
  cells: Map<string, { labels: string[]; cell: C }>,
  name: string,
  labelNames: readonly string[],
  values: readonly string[],
  make: () => C,
): C {
  if (values.length !== labelNames.length)
    throw new Error(`${name} wants ${labelNames.length} label values, got ${values.length}`);
  const key = values.join('\uffff');
  const known = cells.get(key);
  if (known !== undefined) return known.cell;
  const cell = make();
  cells.set(key, { labels: labelNames.map((label, i) => `${label}="${escapeValue(values[i]!)}"`), cell });
  return cell;
}

function histogramCell(bounds: readonly number[]): HistogramCell {
  const counts = new Float64Array(bounds.length + 1);
  const cell: HistogramCell = {
    counts,
    sum: 0,
    observe(value) {
      let i = 0;
      while (i < bounds.length && value > bounds[i]!) i++;
      counts[i] = counts[i]! + 1;
      cell.sum += value;
    },
  };
  return cell;
}

function writeHistogram(
  lines: string[],
  name: string,
  bounds: readonly number[],
  labels: string[],
  cell: HistogramCell,
): void {
  let cumulative = 0;
  for (let i = 0; i <= bounds.length; i++) {
    cumulative += cell.counts[i]!;
    const le = i === bounds.length ? '+Inf' : formatValue(bounds[i]!);
    lines.push(`${name}_bucket${labelText([...labels, `le="${le}"`])} ${cumulative}`);
  }
  lines.push(
    `${name}_sum${labelText(labels)} ${formatValue(cell.sum)}`,
    `${name}_count${labelText(labels)} ${cumulative}`,
  );
}

function labelText(labels: readonly string[]): string {
  return labels.length === 0 ? '' : `{${labels.join(',')}}`;
}

function escapeValue(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function formatValue(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  return String(value);
}
