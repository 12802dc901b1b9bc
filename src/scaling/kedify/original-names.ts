/**
 * Names as OTLP senders spell them, and where the store keeps them. `metricQuery` speaks of the original names and
 * attribute keys; the store holds what the naming rules made of them. Whoever translates bodies knows the mapping and
 * hands it in; {@link namesByRules} works from the rules alone, for what came by other ways and for tests.
 */
import { METRIC_NAME } from '../../model/labels.ts';
import { kedifyName } from './metric-query.ts';

/** Where the samples of a metric are. */
export interface StoredMetric {
  /** `__name__` of its series. */
  readonly name: string;
  /** The float itself, or a part of a native histogram. */
  readonly part: 'float' | 'count' | 'sum';
  /** Samples are delta points as they were sent: a rate is their sum by the time that they span. */
  readonly isDelta: boolean;
}

export interface OriginalNames {
  /** Where a metric of this name (`.` and `/` as `_`) is; empty if it was never seen. */
  find(name: string): readonly StoredMetric[];
  /** Labels that an attribute key may have become, the first that a series carries counts. */
  labelNames(key: string): readonly string[];
  /** True for a label that comes from the resource, not from the point: it may be asked for, and need not be. */
  isOfResource(labelName: string): boolean;
  /** Names by which the metrics that are stored under `storedName` can be asked for. */
  namesOf(storedName: string): readonly string[];
  /** The key that a label was made of. */
  keyOf(labelName: string): string;
}

/** Labels that a resource gives, under either spelling, and those that say where a point comes from. */
const RESOURCE_KEYS: readonly string[] = [
  'k8s.namespace.name',
  'k8s.pod.name',
  'k8s.pod.uid',
  'k8s.deployment.name',
  'k8s.statefulset.name',
  'k8s.container.name',
  'k8s.node.name',
  'host.name',
  'service.name',
  'service.namespace',
  'service.version',
  'service.instance.id',
  'deployment.environment',
  'deployment.environment.name',
];
const RESOURCE_LABELS: ReadonlySet<string> = new Set([
  METRIC_NAME,
  'job',
  'instance',
  'le',
  'quantile',
  ...RESOURCE_KEYS,
  ...RESOURCE_KEYS.map(escaped),
]);

/** Where else a key is looked for if no attribute has its name. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['namespace', 'k8s.namespace.name'],
  ['pod', 'k8s.pod.name'],
  ['deployment', 'k8s.deployment.name'],
  ['host.name', 'k8s.pod.name'],
]);

/** Words that translation may have put behind a name: a unit, then `_total` or `_ratio`. */
const UNITS: readonly string[] = [
  ...['seconds', 'milliseconds', 'microseconds', 'nanoseconds', 'minutes', 'hours', 'days'],
  ...['bytes', 'kibibytes', 'mebibytes', 'gibibytes', 'kilobytes', 'megabytes', 'gigabytes'],
  ...['percent', 'bytes_per_second', 'celsius', 'hertz', 'volts', 'amperes', 'joules', 'watts', 'meters', 'grams'],
];
const PARTS = ['count', 'sum'] as const;

/** Finds names by the rules of translation: as it is, else escaped, else with the suffixes of its type and unit. */
export function namesByRules(hasMetric: (name: string) => boolean): OriginalNames {
  return {
    find(name) {
      const found = candidates(name).find((one) => hasMetric(one));
      if (found !== undefined) return [{ name: found, part: 'float', isDelta: false }];
      for (const part of PARTS) {
        if (!name.endsWith(`_${part}`)) continue;
        const base = name.slice(0, -part.length - 1);
        for (const native of withUnits(escapedName(base))) {
          if (hasMetric(`${native}_${part}`)) return [{ name: `${native}_${part}`, part: 'float', isDelta: false }];
          if (hasMetric(native)) return [{ name: native, part, isDelta: false }];
        }
      }
      return [];
    },
    labelNames: labelNamesByRules,
    isOfResource: (labelName) => RESOURCE_LABELS.has(labelName) || labelName.startsWith('otel_scope_'),
    namesOf: (storedName) => [kedifyName(storedName)],
    keyOf: (labelName) => labelName,
  };
}

export function labelNamesByRules(key: string): readonly string[] {
  const alias = ALIASES.get(key);
  const keys = alias === undefined ? [key] : [key, alias];
  return [...new Set(keys.flatMap((one) => [escaped(one), one]))];
}

function candidates(name: string): readonly string[] {
  const base = escapedName(name);
  return [name, ...withUnits(base), ...withUnits(base).map((one) => `${one}_total`), `${base}_ratio`];
}

function withUnits(base: string): readonly string[] {
  return [base, ...UNITS.map((unit) => `${base}_${unit}`)];
}

function escapedName(name: string): string {
  const words = name.split(/[^A-Za-z0-9:]+/).filter((word) => word !== '');
  const joined = words.join('_');
  return /^[0-9]/.test(joined) ? `_${joined}` : joined;
}

/** As Prometheus escapes the keys of attributes. */
function escaped(key: string): string {
  const name = key.replace(/[^A-Za-z0-9]/gu, '_');
  if (/^[0-9]/.test(name)) return `key_${name}`;
  return /^_(?!_)/.test(name) && !/^_+$/.test(name) ? `key${name}` : name;
}
