/**
 * The `metricQuery` of Kedify's OTel scaler: a small language of its own, not PromQL.
 *
 *     sum(http_server_requests{namespace=shop, http.route="/cart"})
 *     aggregator, one of sum (default), avg, min, max, count; a metric; labels that must be equal
 *
 * What that scaler takes and silently misreads is refused here, with the reason: an operator other than `=`, a second
 * aggregation, arithmetic. What it refuses is refused with its words.
 * Source: kedify/otel-add-on v0.1.4, metric/parser.go; observed by running it.
 */
import { CodedError } from '../../model/errors.ts';
import { quoted } from '../policy.ts';

export const AGGREGATORS = ['sum', 'avg', 'min', 'max', 'count'] as const;
export type Aggregator = (typeof AGGREGATORS)[number];

export const OPERATIONS = ['last_one', 'min', 'max', 'avg', 'rate', 'count'] as const;
export type Operation = (typeof OPERATIONS)[number];

export interface MetricQuery {
  readonly aggregator: Aggregator;
  /** With `.` and `/` as `_`, as that scaler keeps names. */
  readonly metric: string;
  /** By key; keys as senders spell them. */
  readonly labels: ReadonlyMap<string, string>;
  /** What was taken, but may not mean what its author thinks; '' for nothing. */
  readonly warning: string;
}

/** Throws `bad_metadata`. */
export function parseMetricQuery(text: string): MetricQuery {
  const { aggregator, rest } = takeAggregators(text.trim());
  const open = rest.indexOf('{');
  const close = rest.lastIndexOf('}');
  if (rest === '' || open < 0 !== close < 0 || close < open) throw unparsable(text);
  const name = (open < 0 ? rest : rest.slice(0, open)).trim();
  const after = open < 0 ? '' : rest.slice(close + 1).trim();
  if (after !== '') throw unparsable(text, `got ${quoted(after)} after the labels`);
  checkName(name, text);
  const warning = name.includes('/') ? `"/" in a name stands for "_": this is the metric ${kedifyName(name)}` : '';
  const labels = open < 0 ? NO_LABELS : parseLabels(rest.slice(open + 1, close));
  return { aggregator, metric: kedifyName(name), labels, warning };
}

/** The operation of that name, or null: then `last_one` is used, as there. */
export function operationOf(text: string): Operation | null {
  return OPERATIONS.find((operation) => operation === text) ?? null;
}

/** The form in which that scaler keeps and looks up the names of metrics. */
export function kedifyName(name: string): string {
  return name.replace(/[./]/g, '_');
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();

/** Strips `sum(…)`, then `avg(…)` and so on, each once at most and in this order: of several, the last stripped counts. */
function takeAggregators(text: string): { readonly aggregator: Aggregator; readonly rest: string } {
  let aggregator: Aggregator = 'sum';
  let rest = text;
  for (const one of AGGREGATORS) {
    if (!rest.startsWith(`${one}(`) || !rest.endsWith(')')) continue;
    aggregator = one;
    rest = rest.slice(one.length + 1, -1).trim();
  }
  return { aggregator, rest };
}

/** There, a name that no sender can have is a metric that is never found, and so a 0. */
function checkName(name: string, text: string): void {
  if (/^[\p{L}\p{N}_:./-]+$/u.test(name)) return;
  if (name.includes('(')) throw unparsable(text, 'one aggregation is all there is, in lower case');
  throw unparsable(text, `${quoted(name)} is no name of a metric; for PromQL use the key "query"`);
}

function parseLabels(text: string): ReadonlyMap<string, string> {
  const inner = text.trim();
  if (inner === '') throw new CodedError('bad_metadata', `unable to parse labels: ${inner}`);
  const labels = new Map<string, string>();
  for (const part of inner.split(',')) {
    const sides = part.split('=');
    if (sides.length !== 2) throw badLabels(inner);
    const key = trimmed(sides[0]!);
    if (key === '') throw badLabels(inner);
    if (/[!~]\s*$/.test(sides[0]!) || /^\s*~/.test(sides[1]!)) {
      throw badLabels(inner, 'only = is known here; for !=, =~ and !~ use PromQL under the key "query"');
    }
    labels.set(key, trimmed(sides[1]!));
  }
  return labels;
}

function trimmed(text: string): string {
  return text.replace(/^["' ]+|["' ]+$/g, '');
}

function unparsable(text: string, why = ''): CodedError {
  const reason = why === '' ? '' : ` (${why})`;
  return new CodedError('bad_metadata', `unable to parse metric query: ${clipped(text)}${reason}`);
}

function badLabels(text: string, why = ''): CodedError {
  const reason = why === '' ? '' : ` (${why})`;
  return new CodedError(
    'bad_metadata',
    `unable to parse labels, labels are expected at form {key1=val1, key2=val2}, but got: ${clipped(text)}${reason}`,
  );
}

const CLIPPED_CHARACTERS_MAX = 200;

function clipped(text: string): string {
  return text.length > CLIPPED_CHARACTERS_MAX ? `${text.slice(0, CLIPPED_CHARACTERS_MAX)}…` : text;
}
