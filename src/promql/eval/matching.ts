/**
 * Vector matching: label sets become integers (signature, output row) before any sample is looked at.
 * Rules: reference section 7.2 and 7.6.
 */
import { type Labels, labelValue, METRIC_NAME } from '../../model/labels.ts';
import type { VectorMatching } from '../syntax/ast.ts';
import { quote } from '../syntax/strings.ts';
import { LabelTable } from './label-table.ts';
import type { Rows } from './rows.ts';
import { isMetadataLabel } from './rows.ts';
import { LABEL_WORK, type Run, type Slices } from './run.ts';

/** Signatures of the rows of both sides: rows match if theirs are equal. */
export interface Signatures {
  readonly count: number;
  readonly left: Int32Array;
  readonly right: Int32Array;
  /** The labels that make up a signature. */
  labels(signature: number): Labels;
}

export function* bindSignatures(run: Run, left: Rows, right: Rows, matching: VectorMatching): Slices<Signatures> {
  const pick = signatureLabels(matching);
  const table = new LabelTable();
  const leftOf = yield* signaturesOf(run, left, pick, table);
  const rightOf = yield* signaturesOf(run, right, pick, table);
  return { count: table.count, left: leftOf, right: rightOf, labels: (signature) => table.labels[signature]! };
}

function* signaturesOf(run: Run, rows: Rows, pick: (labels: Labels) => Labels, table: LabelTable): Slices<Int32Array> {
  const of = new Int32Array(rows.count);
  for (let row = 0; row < rows.count; row++) {
    of[row] = table.rowOf(pick(rows.labels(row)), false);
    if (run.work(LABEL_WORK)) yield;
  }
  return of;
}

/** The part of a label set that is matched on. */
export function signatureLabels({ on, labels }: VectorMatching): (labels: Labels) => Labels {
  const names = new Set(labels ?? []);
  if (on) return (own) => filterLabels(own, (name) => names.has(name));
  return (own) => filterLabels(own, (name) => name !== METRIC_NAME && !names.has(name));
}

export function filterLabels(labels: Labels, keep: (name: string) => boolean): Labels {
  const kept: string[] = [];
  for (let i = 0; i < labels.length; i += 2) if (keep(labels[i]!)) kept.push(labels[i]!, labels[i + 1]!);
  return kept;
}

/** Labels of a result: those of the many side, less the name, less what is not matched on, plus what the one side lends. */
export function resultLabels(many: Labels, one: Labels | null, matching: VectorMatching, dropName: boolean): Labels {
  let labels = dropName ? filterLabels(many, (name) => !isMetadataLabel(name)) : many;
  if (matching.cardinality === 'one-to-one') {
    const names = new Set(matching.labels ?? []);
    labels = filterLabels(labels, (name) => names.has(name) === matching.on);
  }
  for (const name of matching.include ?? [])
    labels = withLabel(labels, name, one === null ? '' : labelValue(one, name));
  return labels;
}

/** The labels with one of them set, or removed by an empty value. */
export function withLabel(labels: Labels, name: string, value: string): Labels {
  const pairs: string[] = [];
  let placed = value === '';
  for (let i = 0; i < labels.length; i += 2) {
    if (!placed && compareNames(labels[i]!, name) > 0) {
      pairs.push(name, value);
      placed = true;
    }
    if (labels[i] !== name) pairs.push(labels[i]!, labels[i + 1]!);
  }
  if (!placed) pairs.push(name, value);
  return pairs;
}

function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Labels as Prometheus' error texts write them: `{__name__="up", job="api"}`. */
export function labelsString(labels: Labels): string {
  const parts: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    const name = /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(labels[i]!) ? labels[i]! : quote(labels[i]!);
    parts.push(`${name}=${quote(labels[i + 1]!)}`);
  }
  return `{${parts.join(', ')}}`;
}
