/** What there is to be said about histograms on the way: warnings and infos of reference section 11. */
import type { AggregateOp, BinaryOp, Span } from '../syntax/ast.ts';
import type { Run } from './run.ts';

/** How histograms came together. */
export type HistogramOperation = 'addition' | 'subtraction' | 'aggregation';

/** Notes of one call, operator or aggregation, all about one place of the query. */
export class HistogramNotes {
  readonly #run: Run;
  readonly #span: Span;
  /** Metric name of the series at hand. */
  name = '';

  constructor(run: Run, span: Span) {
    this.#run = run;
    this.#span = span;
  }

  /** No result, because floats and histograms cannot be computed together. */
  mixedSamples(): void {
    this.#warn(`encountered a mix of histograms and floats for metric name "${this.name}"`);
  }

  mixedAggregation(): void {
    this.#warn('encountered a mix of histograms and floats for aggregation');
  }

  mixedSchemas(): void {
    this.#warn(
      `vector contains a mix of histograms with exponential and custom buckets schemas for metric name "${this.name}"`,
    );
  }

  incompatibleLayouts(op: BinaryOp): void {
    this.#warn(`incompatible bucket layout encountered for binary operator ${op}`);
  }

  notCounter(): void {
    this.#warn(`this native histogram metric is not a counter: "${this.name}"`);
  }

  notGauge(): void {
    this.#warn(`this native histogram metric is not a gauge: "${this.name}"`);
  }

  conflictingResets(operation: HistogramOperation): void {
    this.#warn(`conflicting counter resets during histogram ${operation}`);
  }

  reconciledBounds(operation: HistogramOperation): void {
    this.#info(`mismatched custom buckets were reconciled during ${operation}`);
  }

  ignoredInRange(): void {
    this.#info(`ignored histograms in a range containing both floats and histograms for metric name "${this.name}"`);
  }

  ignoredInAggregation(op: AggregateOp): void {
    this.#info(`ignored histogram in ${op} aggregation`);
  }

  incompatibleTypes(left: string, op: BinaryOp, right: string): void {
    this.#info(`incompatible sample types encountered for binary operator "${op}": ${left} ${op} ${right}`);
  }

  /** A start timestamp lies before the sample before it. */
  overlappingStarts(): void {
    this.#run.annotations.overlapping(this.name, this.#span);
  }

  #warn(message: string): void {
    this.#run.annotations.warn(message, this.#span);
  }

  #info(message: string): void {
    this.#run.annotations.info(message, this.#span);
  }
}
