/**
 * Labels: the identity of a series, as names and values by turns, sorted by name, no name twice, no empty value
 * (an empty value equals an absent label). `['__name__', 'up', 'job', 'api']`.
 *
 * Sorting is by Unicode code point, as bytes of UTF-8 sort; JavaScript's `<` on strings differs only for characters
 * outside the Basic Multilingual Plane, so the comparison below has a fast path and a correct one.
 */
export type Labels = readonly string[];

export const METRIC_NAME = '__name__';
export const EMPTY_LABELS: Labels = Object.freeze([]);

/** Value of a label, or '' if it is absent. */
export function labelValue(labels: Labels, name: string): string {
  for (let i = 0; i < labels.length; i += 2) if (labels[i] === name) return labels[i + 1]!;
  return '';
}

/** Labels from pairs in any order: sorted, empty values left out. On a repeated name the last one wins. */
export function labelsFromPairs(pairs: Iterable<readonly [name: string, value: string]>): Labels {
  const byName = new Map<string, string>();
  for (const [name, value] of pairs) byName.set(name, value);
  const names = [...byName.keys()].filter((name) => byName.get(name) !== '').sort(compareCodePoints);
  const labels: string[] = [];
  for (const name of names) labels.push(name, byName.get(name)!);
  return labels;
}

/** Labels from a plain object; see {@link labelsFromPairs}. */
export function labelsFromObject(object: Readonly<Record<string, string>>): Labels {
  return labelsFromPairs(Object.entries(object));
}

/** The labels as a plain object without a prototype (label names may be `__proto__`). */
export function labelsToObject(labels: Labels): Record<string, string> {
  const object: Record<string, string> = Object.create(null);
  for (let i = 0; i < labels.length; i += 2) object[labels[i]!] = labels[i + 1]!;
  return object;
}

/** A string that is equal for equal labels and for no others (0xff never occurs in UTF-8, U+FFFF is not a character). */
export function labelsKey(labels: Labels): string {
  return labels.join('\uffff');
}

/** `{a="1", b="2"}`, with the metric name in front: the form of error texts and logs. */
export function labelsText(labels: Labels): string {
  const parts: string[] = [];
  let name = '';
  for (let i = 0; i < labels.length; i += 2) {
    if (labels[i] === METRIC_NAME) name = labels[i + 1]!;
    else parts.push(`${labels[i]}=${JSON.stringify(labels[i + 1])}`);
  }
  return parts.length === 0 && name !== '' ? name : `${name}{${parts.join(', ')}}`;
}

/** Order of label sets: pairwise name then value, then the shorter first. Negative, zero or positive. */
export function compareLabels(a: Labels, b: Labels): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const order = compareCodePoints(a[i]!, b[i]!);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** Order of strings by code point (the order of their UTF-8 bytes). */
export function compareCodePoints(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // A surrogate (0xd800-0xdfff) stands for a code point above every BMP character, 0xe000-0xffff included.
    const xSurrogate = x >= 0xd800 && x <= 0xdfff;
    const ySurrogate = y >= 0xd800 && y <= 0xdfff;
    if (xSurrogate !== ySurrogate) return xSurrogate ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}

/** True for a metric name that can be written without quotes: `[a-zA-Z_:][a-zA-Z0-9_:]*`. */
export function isLegacyMetricName(name: string): boolean {
  return /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
}

/** True for a label name that can be written without quotes: `[a-zA-Z_][a-zA-Z0-9_]*`. */
export function isLegacyLabelName(name: string): boolean {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);
}
