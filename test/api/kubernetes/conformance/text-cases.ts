/** Cases of the corpora that need no server: selectors and quantities. */

import { fulfils, parseLabelSelector, parseRequirements } from '../../../../src/api/kubernetes/label-selector.ts';
import { labelSelectorObject } from '../../../../src/api/kubernetes/lists.ts';
import {
  canonicalQuantity,
  formatBinary,
  formatDecimal,
  formatQuantity,
  parseQuantity,
} from '../../../../src/scaling/quantity.ts';
import { type CaseResult, expectEqual, messageOf, runCase } from './result.ts';

interface SelectorCase {
  readonly id: string;
  readonly selector: string;
  readonly query?: string;
  readonly matchers?: readonly { readonly label: string; readonly op: string; readonly value: string }[];
  readonly error?: {
    readonly kind: string;
    readonly message?: string;
    readonly messageContains?: string;
    readonly detailContains?: string;
  };
}

interface LabelSelectorCase {
  readonly id: string;
  readonly labelSelector: { readonly matchLabels?: Readonly<Record<string, string>> } | null;
  readonly selector: string;
}

export interface SelectorFile {
  readonly selectors: readonly SelectorCase[];
  readonly fromLabelSelector: readonly LabelSelectorCase[];
}

export async function runSelectors(file: SelectorFile): Promise<CaseResult[]> {
  const parsed = file.selectors.map((one) => runCase(one.id, () => runSelector(one)));
  const sent = file.fromLabelSelector.map((one) => runCase(one.id, () => runLabelSelector(one)));
  return Promise.all([...parsed, ...sent]);
}

function runSelector({ selector, query, matchers, error }: SelectorCase): string | null {
  const sent = query === undefined ? selector : new URLSearchParams(query).get('labelSelector');
  if (sent !== selector) return `the query says ${sent}`;
  if (matchers !== undefined) {
    // The cases write values as prometheus-adapter does, which escapes nothing.
    const got = parseLabelSelector(selector).map(({ name, type, value }) => ({
      label: name,
      op: type,
      value: value.replaceAll('\\', ''),
    }));
    return expectEqual(got, matchers);
  }
  const message = messageOf(() => parseLabelSelector(selector)) ?? 'no error';
  if (error?.message !== undefined && message !== error.message) return `got ${message}`;
  const parts = [error?.messageContains, error?.detailContains].filter((part) => part !== undefined);
  const missing = parts.find((part) => !message.includes(part));
  return missing === undefined ? null : `got ${message}, want ${missing}`;
}

/** The string that an HPA sends means the same as its object. */
function runLabelSelector({ labelSelector, selector }: LabelSelectorCase): string | null {
  const requirements = parseRequirements(selector);
  const { matchLabels = {} } = labelSelector ?? {};
  const got = labelSelectorObject(requirements) as { readonly matchLabels?: Readonly<Record<string, string>> };
  const fault = expectEqual(sortedEntries(got.matchLabels ?? {}), sortedEntries(matchLabels));
  if (fault !== null) return fault;
  const isPlain = requirements.every(({ operator }) => operator === '=');
  return !isPlain || fulfils(matchLabels, requirements) ? null : 'its own labels do not fulfil it';
}

function sortedEntries(labels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

interface FormatCase {
  readonly id: string;
  readonly kind: 'float' | 'milli' | 'bytes' | 'nano';
  readonly value: number | string;
  readonly expect: string | null;
}

interface ParseCase {
  readonly input: string;
  readonly canonical?: string;
  readonly milli?: string;
  readonly error?: string;
}

export interface QuantityFile {
  readonly format: readonly FormatCase[];
  readonly parse: readonly ParseCase[];
}

export async function runQuantities(file: QuantityFile): Promise<CaseResult[]> {
  const formatted = file.format.map((one) => runCase(one.id, () => runFormat(one)));
  const parsed = file.parse.map((one) => runCase(`parse ${JSON.stringify(one.input)}`, () => runParse(one)));
  return Promise.all([...formatted, ...parsed]);
}

function runFormat({ kind, value, expect }: FormatCase): string | null {
  if (expect === null) return messageOf(() => formatQuantity(Number(value))) === null ? 'it was written' : null;
  if (kind === 'float') return expectEqual(formatQuantity(Number(value)), expect);
  if (kind === 'bytes') return expectEqual(formatBinary(BigInt(value)), expect);
  return expectEqual(formatDecimal(BigInt(value), kind === 'milli' ? -3 : -9), expect);
}

function runParse({ input, canonical, milli, error }: ParseCase): string | null {
  if (error !== undefined)
    return expectEqual(
      messageOf(() => parseQuantity(input)),
      error,
    );
  const nano = parseQuantity(input);
  if (milli !== undefined && milliAwayFromZero(nano) !== BigInt(milli))
    return `got ${milliAwayFromZero(nano)} thousandths`;
  return canonical === undefined ? null : expectEqual(canonicalQuantity(input), canonical);
}

function milliAwayFromZero(nano: bigint): bigint {
  return nano >= 0n ? (nano + 999_999n) / 1_000_000n : (nano - 999_999n) / 1_000_000n;
}
