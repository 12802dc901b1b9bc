/**
 * Warnings and infos that travel with a result. Both are sets keyed by their text without the position; the last one
 * added decides the position (reference section 11).
 */
import { formatG, formatG2 } from './functions/format.ts';
import type { Repair } from './functions/histogram-quantile.ts';
import type { Span } from './syntax/ast.ts';
import { position } from './syntax/parse.ts';

interface Repairs extends Omit<Repair, 'forced'> {
  readonly count: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly span: Span;
}

export class Annotations {
  readonly #query: string;
  readonly #warnings = new Map<string, string>();
  readonly #infos = new Map<string, string>();
  readonly #repairs = new Map<string, Repairs>();
  readonly #overlaps = new Map<string, { count: number; span: Span }>();

  /** The text of the query, for line and column. */
  constructor(query: string) {
    this.#query = query;
  }

  warn(message: string, span: Span | null): void {
    this.#warnings.set(message, this.#complete('PromQL warning', message, span));
  }

  info(message: string, span: Span | null): void {
    this.#infos.set(message, this.#complete('PromQL info', message, span));
  }

  /** A histogram's buckets had to be made monotonic at a step: one info a metric, with all its repairs put together. */
  repaired(name: string, timeMs: number, { minBucket, maxBucket, maxDiff }: Repair, span: Span): void {
    const known = this.#repairs.get(name);
    this.#repairs.set(name, {
      minBucket: Math.min(minBucket, known?.minBucket ?? Infinity),
      maxBucket: Math.max(maxBucket, known?.maxBucket ?? -Infinity),
      maxDiff: Math.max(maxDiff, known?.maxDiff ?? -Infinity),
      count: (known?.count ?? 0) + 1,
      fromMs: Math.min(timeMs, known?.fromMs ?? Infinity),
      toMs: Math.max(timeMs, known?.toMs ?? -Infinity),
      span,
    });
  }

  /** A sample's start lies before the sample before it: one warning a metric, with how often that was seen. */
  overlapping(name: string, span: Span): void {
    this.#overlaps.set(name, { count: (this.#overlaps.get(name)?.count ?? 0) + 1, span });
  }

  get warnings(): readonly string[] {
    return [
      ...this.#warnings.values(),
      ...[...this.#overlaps].map(([name, { count, span }]) => {
        const times = count === 1 ? '' : ` (${count} occurrences)`;
        const message = `sample has start time that overlaps with previous sample timestamp for metric "${name}"${times}`;
        return this.#complete('PromQL warning', message, span);
      }),
    ];
  }

  get infos(): readonly string[] {
    return [...this.#infos.values(), ...[...this.#repairs].map(([name, repair]) => this.#repairText(name, repair))];
  }

  #repairText(name: string, { minBucket, maxBucket, maxDiff, count, fromMs, toMs, span }: Repairs): string {
    const message =
      'input to histogram_quantile needed to be fixed for monotonicity ' +
      `(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)${forMetric(name)}, ` +
      `from buckets ${formatG(minBucket)} to ${formatG(maxBucket)}, with a max diff of ${formatG2(maxDiff)}, ` +
      `over ${count} samples from ${rfc3339(fromMs)} to ${rfc3339(toMs)}`;
    return this.#complete('PromQL info', message, span);
  }

  #complete(kind: string, message: string, span: Span | null): string {
    return span === null ? `${kind}: ${message}` : `${kind}: ${message} (${position(this.#query, span.start)})`;
  }
}

/** ` for metric name "x"`, or nothing if no name is known. */
export function forMetric(name: string): string {
  return name === '' ? '' : ` for metric name "${name}"`;
}

/** Go's time.RFC3339Nano in UTC, to the millisecond. */
function rfc3339(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/\.?0*Z$/, 'Z');
}
