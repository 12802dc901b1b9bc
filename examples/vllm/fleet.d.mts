export const REPLICA_RATE: number;

export interface FleetSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class Fleet {
  constructor(options?: { readonly model?: string; readonly namespace?: string; readonly replicas?: number });
  get replicas(): number;
  get waiting(): number;
  scale(replicas: number): string[];
  advance(seconds: number, rate: number): void;
  series(): FleetSeries[];
  labelsOf(podName: string): Readonly<Record<string, string>>[];
  expose(): string;
  exposeServer(): string;
}

export type Load = readonly (readonly [seconds: number, rate: number])[];
export function rateAt(load: Load, seconds: number): number;
