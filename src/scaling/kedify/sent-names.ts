/**
 * Names as the senders of OTLP spelled them, remembered while their bodies were translated; what came by other ways is found
 * by the rules (original-names.ts).
 */
import { kedifyName } from './metric-query.ts';
import type { OriginalNames, StoredMetric } from './original-names.ts';

/** A metric as it was sent, and the name that its series begin with. */
interface SentMetric {
  readonly original: string;
  readonly name: string;
  readonly kind: 'gauge' | 'sum' | 'histogram' | 'exponential_histogram' | 'summary';
  /** What the series of its delta points are called, for histograms without `_count` or `_sum`; null if there are none. */
  readonly rawDeltas: string | null;
}

/** What ingest remembers. */
export interface SentNames {
  readonly metricCount: number;
  metrics(): Iterable<SentMetric>;
  metricsByName(name: string): readonly SentMetric[];
  labelsOfKey(original: string): readonly string[];
  keysOfLabel(label: string): readonly string[];
}

const PARTS = ['count', 'sum'] as const;
const SUFFIX = /_(?:bucket|count|sum)$/;
const DELTA = ':delta';

export function namesAsSent(sent: SentNames, rules: OriginalNames): OriginalNames {
  let index: ReadonlyMap<string, readonly StoredMetric[]> = new Map();
  let indexed = 0;
  return {
    find(name) {
      // Names are only ever added.
      if (indexed !== sent.metricCount) {
        index = indexOf(sent.metrics());
        indexed = sent.metricCount;
      }
      return index.get(name) ?? rules.find(name);
    },
    labelNames(key) {
      const labels = sent.labelsOfKey(key);
      return labels.length === 0 ? rules.labelNames(key) : [...new Set([...labels, ...rules.labelNames(key)])];
    },
    isOfResource: (labelName) => rules.isOfResource(labelName),
    namesOf(storedName) {
      const stored = storedName.replace(/:delta$/, '');
      const whole = sent.metricsByName(stored).flatMap(askedNames);
      const [suffix = ''] = SUFFIX.exec(stored) ?? [];
      const parts =
        suffix === '' ? [] : sent.metricsByName(stored.slice(0, -suffix.length)).filter((one) => !isNumber(one));
      // Buckets cannot be asked for there.
      if (suffix === '_bucket' && parts.length > 0) return [...new Set(whole)];
      const names = [...new Set([...whole, ...parts.map(({ original }) => `${kedifyName(original)}${suffix}`)])];
      return names.length === 0 ? rules.namesOf(storedName) : names;
    },
    keyOf: (labelName) => sent.keysOfLabel(labelName)[0] ?? rules.keyOf(labelName),
  };
}

/** Where each metric is, by the name that it is asked for. */
function indexOf(metrics: Iterable<SentMetric>): Map<string, StoredMetric[]> {
  const index = new Map<string, StoredMetric[]>();
  const add = (name: string, stored: StoredMetric): void => {
    const known = index.get(name);
    if (known === undefined) index.set(name, [stored]);
    else if (!known.some((one) => one.name === stored.name && one.part === stored.part)) known.push(stored);
  };
  for (const metric of metrics) {
    const asked = kedifyName(metric.original);
    if (isNumber(metric)) add(asked, floats(metric, ''));
    else for (const part of PARTS) add(`${asked}_${part}`, partOf(metric, part));
  }
  return index;
}

function isNumber({ kind }: SentMetric): boolean {
  return kind === 'gauge' || kind === 'sum';
}

/** Of histograms and summaries only these two numbers can be asked for. */
function askedNames(metric: SentMetric): readonly string[] {
  const asked = kedifyName(metric.original);
  return isNumber(metric) ? [asked] : PARTS.map((part) => `${asked}_${part}`);
}

function partOf(metric: SentMetric, part: 'count' | 'sum'): StoredMetric {
  if (metric.kind !== 'exponential_histogram' || metric.rawDeltas !== null) return floats(metric, `_${part}`);
  return { name: metric.name, part, isDelta: false };
}

/** Delta points as they came where they are kept: sums that were added up would not be what the sender said. */
function floats({ name, rawDeltas }: SentMetric, suffix: string): StoredMetric {
  if (rawDeltas === null) return { name: `${name}${suffix}`, part: 'float', isDelta: false };
  return { name: `${name}${suffix}${DELTA}`, part: 'float', isDelta: true };
}
