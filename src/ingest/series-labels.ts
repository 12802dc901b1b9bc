/**
 * Label sets at the edge: what senders write becomes `Labels` here, or a reason why it cannot. Behind this file labels
 * are sorted, unique, valid, without empty values, and within the limits.
 */
import { compareCodePoints, type Labels, labelValue, METRIC_NAME } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import type { Reason } from './reasons.ts';

/** Names and values by turns, in any order. Names that repeat are refused even where a value is empty. */
export function canonicalLabels(received: readonly string[]): Labels | Reason {
  const sorted = isSorted(received) ? received : sortByName(received);
  for (let i = 0; i < sorted.length; i += 2) {
    if (sorted[i] === '') return 'empty_label_name';
    if (i > 0 && sorted[i] === sorted[i - 2]) return 'duplicate_label';
  }
  const labels = withoutEmptyValues(sorted);
  return labelsRefusal(labels) ?? labels;
}

/** Why labels that are sorted, unique and without empty values cannot be those of a series; null if they can. */
export function labelsRefusal(labels: Labels): Reason | null {
  if (labels.length > 2 * LIMITS.labelsPerSeriesMax) return 'too_many_labels';
  for (let i = 0; i < labels.length; i += 2) {
    if (exceedsBytes(labels[i]!, LIMITS.labelNameBytesMax)) return 'label_name_too_long';
    if (exceedsBytes(labels[i + 1]!, LIMITS.labelValueBytesMax)) return 'label_value_too_long';
  }
  return labelValue(labels, METRIC_NAME) === '' ? 'missing_metric_name' : null;
}

/** The labels with one more, which replaces one of the same name. */
export function withLabel(labels: Labels, name: string, value: string): Labels {
  let at = 0;
  while (at < labels.length && compareCodePoints(labels[at]!, name) < 0) at += 2;
  const after = labels[at] === name ? at + 2 : at;
  return [...labels.slice(0, at), name, value, ...labels.slice(after)];
}

function isSorted(labels: readonly string[]): boolean {
  for (let i = 2; i < labels.length; i += 2) if (compareCodePoints(labels[i - 2]!, labels[i]!) > 0) return false;
  return true;
}

function sortByName(labels: readonly string[]): string[] {
  const order: number[] = [];
  for (let i = 0; i < labels.length; i += 2) order.push(i);
  order.sort((a, b) => compareCodePoints(labels[a]!, labels[b]!));
  return order.flatMap((i) => [labels[i]!, labels[i + 1]!]);
}

function withoutEmptyValues(labels: readonly string[]): Labels {
  for (let i = 1; i < labels.length; i += 2) {
    if (labels[i] !== '') continue;
    return labels.filter((_, j) => labels[j | 1] !== '');
  }
  return labels;
}

function exceedsBytes(text: string, bytesMax: number): boolean {
  // A UTF-16 unit takes at most three bytes of UTF-8: most strings need no counting.
  return text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax;
}
