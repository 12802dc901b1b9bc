/**
 * What an asker may choose about its answer. All of it is text where it comes from (trigger metadata, the configuration
 * file, a URL) and is read here once, with one message for all of them. docs/readings.md explains each key.
 *
 *     noData        error (default) | last | last:<duration> | zero | <number>
 *     freshness     <duration>: how old a source's newest sample may be; by default 2 of its intervals and 5 s
 *     reduce        sum | avg | min | max | count: makes one value of several
 *     clampMin, clampMax   bounds of the value
 *     window        <duration>: the average of the query over that long instead of its value now
 */
import { CodedError } from '../model/errors.ts';
import { formatDuration, tryParseDuration } from '../model/time.ts';
import { parseQuantity } from './quantity.ts';

export const REDUCERS = ['sum', 'avg', 'min', 'max', 'count'] as const;
export type Reducer = (typeof REDUCERS)[number];

/** What is answered where there is no data. */
export type NoData =
  | { readonly kind: 'error' }
  | { readonly kind: 'last'; readonly maxAgeMs: number }
  | { readonly kind: 'number'; readonly value: number };

export interface Policy {
  readonly noData: NoData;
  /** Null for what is learned of each series. */
  readonly freshnessMs: number | null;
  readonly reduce: Reducer | null;
  readonly clampMin: number | null;
  readonly clampMax: number | null;
  readonly windowMs: number | null;
}

export const POLICY_KEYS = ['noData', 'freshness', 'reduce', 'clampMin', 'clampMax', 'window'] as const;
export type PolicyKey = (typeof POLICY_KEYS)[number];

export const DEFAULT_POLICY: Policy = Object.freeze({
  noData: Object.freeze({ kind: 'error' }),
  freshnessMs: null,
  reduce: null,
  clampMin: null,
  clampMax: null,
  windowMs: null,
} as const);

/** How old the value of `last` may be if no duration is given. */
export const LAST_MS_DEFAULT = 300_000;

/** Reads a policy from the text of its keys (null if a key is absent); throws `bad_metadata` naming the key. */
export function parsePolicy(textOf: (key: PolicyKey) => string | null): Policy {
  const clampMin = parsed(textOf, 'clampMin', parseNumber);
  const clampMax = parsed(textOf, 'clampMax', parseNumber);
  if (clampMin !== null && clampMax !== null && clampMin > clampMax) {
    throw new CodedError(
      'bad_metadata',
      `cannot read clampMax: got ${clampMax}, want at least the ${clampMin} of clampMin`,
    );
  }
  return {
    noData: parsed(textOf, 'noData', parseNoData) ?? DEFAULT_POLICY.noData,
    freshnessMs: parsed(textOf, 'freshness', parsePositiveDuration),
    reduce: parsed(textOf, 'reduce', parseReducer),
    clampMin,
    clampMax,
    windowMs: parsed(textOf, 'window', parsePositiveDuration),
  };
}

/** A decimal number as Go writes floats, or a Kubernetes quantity; throws `bad_metadata`. */
export function parseNumber(key: string, text: string): number {
  const number = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : numberOfQuantity(text);
  if (Number.isFinite(number)) return number;
  throw wrong(key, text, 'a number or a quantity such as 500m');
}

/** The keys that differ from the default, as they could be written: `noData=last:5m reduce=max`. */
export function policyText(policy: Policy): string {
  const parts: string[] = [];
  const add = (key: PolicyKey, text: string | number | null) => text !== null && parts.push(`${key}=${text}`);
  add('noData', noDataText(policy.noData));
  add('freshness', policy.freshnessMs === null ? null : formatDuration(policy.freshnessMs));
  add('reduce', policy.reduce);
  add('clampMin', policy.clampMin);
  add('clampMax', policy.clampMax);
  add('window', policy.windowMs === null ? null : formatDuration(policy.windowMs));
  return parts.join(' ');
}

/** Longest part of a value that a message repeats. */
const QUOTED_CHARACTERS_MAX = 100;

export function quoted(text: string): string {
  return JSON.stringify(text.length > QUOTED_CHARACTERS_MAX ? `${text.slice(0, QUOTED_CHARACTERS_MAX)}…` : text);
}

function noDataText(noData: NoData): string | null {
  if (noData.kind === 'error') return null;
  return noData.kind === 'last' ? `last:${formatDuration(noData.maxAgeMs)}` : String(noData.value);
}

function parsed<T>(
  textOf: (key: PolicyKey) => string | null,
  key: PolicyKey,
  parse: (key: PolicyKey, text: string) => T,
): T | null {
  const text = textOf(key);
  return text === null ? null : parse(key, text.trim());
}

function parseNoData(key: string, text: string): NoData {
  if (text === 'error') return { kind: 'error' };
  if (text === 'zero') return { kind: 'number', value: 0 };
  if (text === 'last') return { kind: 'last', maxAgeMs: LAST_MS_DEFAULT };
  const maxAgeMs = text.startsWith('last:') ? tryParseDuration(text.slice('last:'.length)) : null;
  if (maxAgeMs !== null && maxAgeMs > 0) return { kind: 'last', maxAgeMs };
  const value = /^[\d.]/.test(text) ? parseNumberOrNaN(text) : Number.NaN;
  if (Number.isFinite(value)) return { kind: 'number', value };
  throw wrong(key, text, 'error, last, last:5m, zero or a number from 0');
}

function parsePositiveDuration(key: string, text: string): number {
  const ms = tryParseDuration(text);
  if (ms !== null && ms > 0) return ms;
  throw wrong(key, text, 'a duration above 0 such as 30s or 5m');
}

function parseReducer(key: string, text: string): Reducer {
  const reducer = REDUCERS.find((one) => one === text);
  if (reducer !== undefined) return reducer;
  throw wrong(key, text, `one of ${REDUCERS.join(', ')}`);
}

function parseNumberOrNaN(text: string): number {
  try {
    return parseNumber('', text);
  } catch {
    return Number.NaN;
  }
}

function numberOfQuantity(text: string): number {
  try {
    return Number(parseQuantity(text)) / 1e9;
  } catch {
    return Number.NaN;
  }
}

function wrong(key: string, text: string, want: string): CodedError {
  return new CodedError('bad_metadata', `cannot read ${key}: got ${quoted(text)}, want ${want}`);
}
