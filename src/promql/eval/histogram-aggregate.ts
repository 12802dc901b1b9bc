/**
 * The histograms of an aggregation: sum and avg add them up, beside the floats that the float accumulator takes; the
 * others leave them out and say so (reference section 8.4). Made when the first histogram comes along.
 */
import { labelValue, METRIC_NAME } from '../../model/labels.ts';
import { HistogramMean, HistogramSum } from '../histogram/sums.ts';
import type { AggregateExpr } from '../syntax/ast.ts';
import { ABSENT, type Column, FLOAT, HISTOGRAM, putHistogram } from './column.ts';
import { HistogramNotes } from './histogram-notes.ts';
import type { Rows } from './rows.ts';
import type { Run } from './run.ts';

type Total = HistogramSum | HistogramMean;

export class HistogramGroups {
  readonly #expr: AggregateExpr;
  readonly #rows: Rows;
  readonly #steps: number;
  readonly #notes: HistogramNotes;
  /** By slot (group × steps); null where it has come to nothing. */
  readonly #totals = new Map<number, Total | null>();

  constructor(run: Run, expr: AggregateExpr, rows: Rows, steps: number) {
    this.#expr = expr;
    this.#rows = rows;
    this.#steps = steps;
    this.#notes = new HistogramNotes(run, expr.expr);
  }

  take(row: number, group: number, { present, histograms }: Column): void {
    const { op } = this.#expr;
    if (histograms === null || op === 'count' || op === 'group') return;
    if (op !== 'sum' && op !== 'avg') {
      if (present.includes(HISTOGRAM)) this.#notes.ignoredInAggregation(op);
      return;
    }
    for (let k = 0; k < this.#steps; k++) {
      if (present[k] !== HISTOGRAM) continue;
      const slot = group * this.#steps + k;
      const known = this.#totals.get(slot);
      const total: Total | null = known === undefined ? this.#newTotal(slot) : known;
      if (total === null || total.add(histograms[k]!)) continue;
      this.#notes.name = labelValue(this.#rows.labels(row), METRIC_NAME);
      this.#notes.mixedSchemas();
      this.#totals.set(slot, null);
    }
  }

  #newTotal(slot: number): Total {
    const total = this.#expr.op === 'sum' ? new HistogramSum() : new HistogramMean();
    this.#totals.set(slot, total);
    return total;
  }

  /** Puts the histograms of a group beside its floats; where both are, there is neither. */
  finish(group: number, into: Column): void {
    for (let k = 0; k < this.#steps; k++) {
      const total = this.#totals.get(group * this.#steps + k);
      if (total === undefined) continue;
      if (into.present[k] === FLOAT) {
        this.#notes.mixedAggregation();
        into.present[k] = ABSENT;
      } else if (total !== null) {
        if (total.conflict) this.#notes.conflictingResets('aggregation');
        if (total.reconciled) this.#notes.reconciledBounds('aggregation');
        putHistogram(into, k, total.value());
      }
    }
  }
}
