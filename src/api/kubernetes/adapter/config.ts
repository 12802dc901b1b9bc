/** What rules of prometheus-adapter say, as they come from its file (config/adapter-file.ts). */

export interface GroupResource {
  /** '' for the core group. */
  readonly group: string;
  readonly resource: string;
}

export interface ResourceMapping {
  readonly template: string;
  /** By label. */
  readonly overrides: ReadonlyMap<string, GroupResource>;
  /** Null means true. */
  readonly namespaced: boolean | null;
}

export interface DiscoveryRule {
  readonly seriesQuery: string;
  readonly seriesFilters: readonly { readonly is: string; readonly isNot: string }[];
  readonly resources: ResourceMapping;
  readonly name: { readonly matches: string; readonly as: string };
  readonly metricsQuery: string;
}

export interface ResourceRule {
  readonly containerQuery: string;
  readonly nodeQuery: string;
  readonly resources: ResourceMapping;
  readonly containerLabel: string;
}

export interface AdapterConfig {
  readonly rules: readonly DiscoveryRule[];
  readonly externalRules: readonly DiscoveryRule[];
  readonly resourceRules: {
    readonly cpu: ResourceRule;
    readonly memory: ResourceRule;
    readonly windowMs: number;
  } | null;
}

export const EMPTY_ADAPTER_CONFIG: AdapterConfig = { rules: [], externalRules: [], resourceRules: null };
