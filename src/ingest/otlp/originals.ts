/**
 * What OTLP names were before they were translated: metrics by both of their names, attribute keys by both of theirs. For
 * whoever asks in the words of the sender (`http.server.requests`, `http.route`) instead of Prometheus'.
 *
 * Bounded by `originalNamesMax`, metrics and keys each: what comes after that is not remembered, and `forgotten` counts it.
 */
import { LIMITS } from '../../model/limits.ts';

export type OriginalKind = 'gauge' | 'sum' | 'histogram' | 'exponential_histogram' | 'summary';

/** A metric as it was sent, and where its samples are. */
export interface OriginalMetric {
  /** As the sender wrote it: `http.server.requests`. */
  readonly original: string;
  /** The name of its series, for histograms and summaries without `_bucket`, `_sum` and `_count`. */
  readonly name: string;
  readonly unit: string;
  readonly kind: OriginalKind;
  /** The name of the series with its delta points as they came, or null if it sends none or they are not kept. */
  readonly rawDeltas: string | null;
}

/** One to many, in both directions: two originals may become one name, and one original several (by unit and kind). */
export class Originals {
  readonly #metrics = new Map<string, OriginalMetric>();
  readonly #byOriginal = new Map<string, OriginalMetric[]>();
  readonly #byName = new Map<string, OriginalMetric[]>();
  readonly #labelsOfKey = new Map<string, Set<string>>();
  readonly #keysOfLabel = new Map<string, Set<string>>();
  #forgotten = 0;
  #keys = 0;

  /** Metrics remembered. */
  get metricCount(): number {
    return this.#metrics.size;
  }

  /** Attribute keys remembered. */
  get keyCount(): number {
    return this.#keys;
  }

  /** Metrics and keys that came after the limit was reached, each time they came. */
  get forgotten(): number {
    return this.#forgotten;
  }

  noteMetric(metric: OriginalMetric): void {
    const { original, name, unit, kind, rawDeltas } = metric;
    const key = `${original}\uffff${name}\uffff${unit}\uffff${kind}\uffff${rawDeltas ?? ''}`;
    if (this.#metrics.has(key)) return;
    if (this.#metrics.size >= LIMITS.originalNamesMax) {
      this.#forgotten++;
      return;
    }
    this.#metrics.set(key, metric);
    push(this.#byOriginal, original, metric);
    push(this.#byName, name, metric);
  }

  /** Notes the label that an attribute key became. */
  noteKey(original: string, label: string): void {
    const labels = this.#labelsOfKey.get(original);
    if (labels?.has(label)) return;
    if (this.#keys >= LIMITS.originalNamesMax) {
      this.#forgotten++;
      return;
    }
    this.#keys++;
    add(this.#labelsOfKey, original, label);
    add(this.#keysOfLabel, label, original);
  }

  /** The metrics that a sender calls so. */
  metricsByOriginal(original: string): readonly OriginalMetric[] {
    return this.#byOriginal.get(original) ?? [];
  }

  /** The metrics whose series are called so. */
  metricsByName(name: string): readonly OriginalMetric[] {
    return this.#byName.get(name) ?? [];
  }

  /** Every metric that is remembered, in the order in which they came. */
  metrics(): Iterable<OriginalMetric> {
    return this.#metrics.values();
  }

  /** The labels that an attribute with this key became. */
  labelsOfKey(original: string): readonly string[] {
    return [...(this.#labelsOfKey.get(original) ?? [])];
  }

  /** The attribute keys that became this label. */
  keysOfLabel(label: string): readonly string[] {
    return [...(this.#keysOfLabel.get(label) ?? [])];
  }
}

function push(map: Map<string, OriginalMetric[]>, key: string, metric: OriginalMetric): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [metric]);
  else known.push(metric);
}

function add(map: Map<string, Set<string>>, key: string, value: string): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, new Set([value]));
  else known.add(value);
}
