/** Types of report.mjs, as far as TypeScript uses it; the descriptions stand there. */
import type { Row } from './support/measure.ts';

export interface HarnessRecord {
  readonly suite: string;
  readonly scenario: string;
  readonly target: string;
  readonly run: number;
  readonly metric: string;
  readonly value: number | string;
  readonly unit: string;
}

export interface Comparison {
  readonly targets: readonly string[];
  readonly lines: readonly { readonly metric: string; readonly ratios: readonly (number | null)[] }[];
}

export function rowCells(rows: readonly Row[]): string[][];
export function compare(records: readonly HarnessRecord[], ours?: string): Comparison;
export function faultsOf(records: readonly HarnessRecord[]): HarnessRecord[];
export function comparisonTables(comparison: Comparison): Readonly<Record<'measured' | 'ratios', string[][]>>;
export function writeResults(folder: string, name: string, document: object): string;
export function updateReadme(path: string, folder: string): void;
