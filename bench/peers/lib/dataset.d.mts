/** Types of dataset.mjs, as far as TypeScript uses it; the descriptions stand there. */
export type Variant = 'base' | 'shuffled' | 'unique' | 'fractional' | 'decimal';
export const VARIANTS: readonly Variant[];

export interface DatasetOptions {
  readonly series: number;
  readonly seriesPerRequest?: number;
  readonly seed?: number;
  readonly intervalMs?: number;
  readonly variant?: Variant;
  readonly lanes?: number;
}

export interface EncodedRound {
  readonly bodies: readonly Uint8Array[];
  readonly samples: number;
  readonly bytes: number;
  readonly rawBytes: number;
}

export class Dataset {
  constructor(options: DatasetOptions);
  readonly series: number;
  readonly intervalMs: number;
  /** Before compression; changed in place by each round. */
  readonly requests: readonly { readonly buf: Uint8Array; readonly first: number; readonly count: number }[];
  reset(): void;
  churn(fraction: number): number;
  encodeRound(ts: number, only?: readonly number[]): EncodedRound;
  expectedSum(first?: number, count?: number): number;
  values(): Float64Array;
  timestampOf(i: number, ts: number): number;
  labelsOf(i: number): string[];
}
