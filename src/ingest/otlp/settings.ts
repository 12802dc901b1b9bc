/** What of the translation from OTLP to series can be chosen. */
import { NAMING_STRATEGIES, type NamingStrategy } from './naming.ts';

export interface OtlpSettings {
  readonly strategy: NamingStrategy;
  /** Resource attributes that become labels of every series of the resource; `*` stands for all. */
  readonly promoteResourceAttributes: readonly string[];
  /** Resource attributes that never do. */
  readonly ignoreResourceAttributes: readonly string[];
  /** Name, version, schema and attributes of the scope become labels `otel_scope_*`. */
  readonly promoteScopeMetadata: boolean;
  /** Histograms with explicit bounds become native ones with custom buckets instead of classic ones. */
  readonly convertHistogramsToNhcb: boolean;
  /** Delta points are kept as they came, too, as series whose names end in `:delta`. */
  readonly keepRawDeltas: boolean;
  /** The lookback that `target_info` must bridge inside one request. */
  readonly lookbackMs: number;
}

/** The end of the names of series that hold delta points as they came. */
export const RAW_DELTA_SUFFIX = ':delta';

export const OTLP_DEFAULTS: OtlpSettings = {
  strategy: 'UnderscoreEscapingWithSuffixes',
  promoteResourceAttributes: [
    'k8s.namespace.name',
    'k8s.pod.name',
    'k8s.deployment.name',
    'k8s.statefulset.name',
    'k8s.container.name',
    'k8s.node.name',
    'host.name',
    'service.name',
    'service.namespace',
    'service.version',
    'deployment.environment',
    'deployment.environment.name',
  ],
  ignoreResourceAttributes: [],
  promoteScopeMetadata: false,
  convertHistogramsToNhcb: false,
  keepRawDeltas: true,
  lookbackMs: 300_000,
};

/**
 * Settings from what JSON made of them; those that were not there yet are as they were before there was a choice. Null if
 * another version wrote them and means something by them that is not known here.
 */
export function settingsOf(text: string): OtlpSettings | null {
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof read !== 'object' || read === null) return null;
  const isKnown = Object.entries(read).every(([name, value]) => {
    if (!Object.hasOwn(OTLP_DEFAULTS, name)) return false;
    const usual = OTLP_DEFAULTS[name as keyof OtlpSettings];
    return typeof value === typeof usual && Array.isArray(value) === Array.isArray(usual);
  });
  if (!isKnown) return null;
  const settings = { ...OTLP_DEFAULTS, ...(read as Partial<OtlpSettings>) };
  return NAMING_STRATEGIES.includes(settings.strategy) ? settings : null;
}
