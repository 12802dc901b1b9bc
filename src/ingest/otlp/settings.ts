/** What of the translation from OTLP to series can be chosen. */
import type { NamingStrategy } from './naming.ts';

export interface OtlpSettings {
  readonly strategy: NamingStrategy;
  /** Resource attributes that become labels of every series of the resource. */
  readonly promoteResourceAttributes: readonly string[];
  /** The lookback that `target_info` must bridge inside one request. */
  readonly lookbackMs: number;
}

export const OTLP_DEFAULTS: OtlpSettings = {
  strategy: 'UnderscoreEscapingWithSuffixes',
  promoteResourceAttributes: [
    'k8s.namespace.name',
    'k8s.pod.name',
    'k8s.deployment.name',
    'k8s.statefulset.name',
    'k8s.container.name',
    'k8s.node.name',
    'service.name',
    'service.namespace',
    'service.version',
    'deployment.environment',
    'deployment.environment.name',
  ],
  lookbackMs: 300_000,
};
