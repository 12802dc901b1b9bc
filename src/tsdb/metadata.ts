/**
 * Metadata of metrics: type, help and unit as their senders describe them, for people and editors. A bounded number of
 * families; the ones that were described longest ago go first. Senders repeat it with every series, so what was seen before
 * is recognised by a hash of what it says, before a string is made of it.
 */
import { LIMITS } from '../model/limits.ts';

/** By the numbers of the protocols (0 to 7). */
export const METRIC_TYPES = [
  'unknown',
  'counter',
  'gauge',
  'histogram',
  'gaugehistogram',
  'summary',
  'info',
  'stateset',
] as const;
export type MetricType = (typeof METRIC_TYPES)[number];

export interface MetricMetadata {
  readonly type: MetricType;
  readonly help: string;
  readonly unit: string;
}

/** Places for hashes that were seen; a hash that lost its place costs one more look at the strings. */
const SEEN_PLACES = 8192;
/** Names that series of a family have beside the family's own. */
const FAMILY_SUFFIXES: Readonly<Partial<Record<MetricType, RegExp>>> = {
  histogram: /_(?:bucket|count|sum)$/,
  gaugehistogram: /_(?:bucket|gcount|gsum)$/,
  summary: /_(?:count|sum)$/,
};

export class Metadata {
  /** In the order in which they were last described. */
  readonly #families = new Map<string, readonly MetricMetadata[]>();
  readonly #seen = new Uint32Array(2 * SEEN_PLACES);
  #textBytes = 0;

  get families(): number {
    return this.#families.size;
  }

  /** Of texts and of what was seen, about. */
  get bytes(): number {
    return this.#seen.byteLength + this.#textBytes;
  }

  /** True if metadata of this hash was added and is still known; else notes the hash: `add` comes next. */
  isSeen(low: number, high: number): boolean {
    const at = 2 * (low % SEEN_PLACES);
    // A hash may collide: what is lost then is one description, until its sender changes it.
    if (this.#seen[at] === low && this.#seen[at + 1] === high) return true;
    this.#seen[at] = low;
    this.#seen[at + 1] = high;
    return false;
  }

  /** Adds what was said of a family; false if that is too long to be kept. */
  add(family: string, metadata: MetricMetadata): boolean {
    const { metadataTextLengthMax, metadataVariantsMax, metadataFamiliesMax } = LIMITS;
    if (family.length + metadata.help.length + metadata.unit.length > metadataTextLengthMax) return false;
    const known = this.#families.get(family) ?? [];
    const others = known.filter((other) => !isSame(other, metadata));
    const variants = [...others, metadata].slice(-metadataVariantsMax);
    this.#families.delete(family);
    this.#families.set(family, variants);
    this.#textBytes += textBytes(family, variants) - textBytes(family, known);
    if (this.#families.size > metadataFamiliesMax) this.#dropOldest();
    return true;
  }

  /** What is known of one family, the newest last. */
  of(family: string): readonly MetricMetadata[] {
    return this.#families.get(family) ?? [];
  }

  /** Families and what is known of each. */
  entries(): IterableIterator<[string, readonly MetricMetadata[]]> {
    return this.#families.entries();
  }

  #dropOldest(): void {
    for (const [family, variants] of this.#families) {
      this.#textBytes -= textBytes(family, variants);
      this.#families.delete(family);
      break;
    }
    // Its sender may well describe it again.
    this.#seen.fill(0);
  }
}

/** Objects and entries beside the texts count for something, too. */
const ENTRY_BYTES = 100;

function textBytes(family: string, variants: readonly MetricMetadata[]): number {
  let bytes = variants.length === 0 ? 0 : ENTRY_BYTES + family.length;
  for (const { help, unit } of variants) bytes += ENTRY_BYTES + help.length + unit.length;
  return bytes;
}

/** The family of a series by this name: histograms and summaries have several series each. */
export function familyOf(seriesName: string, type: MetricType): string {
  const suffix = FAMILY_SUFFIXES[type];
  return suffix === undefined ? seriesName : seriesName.replace(suffix, '');
}

/** The type that a protocol's number stands for. */
export function metricTypeOf(number: number): MetricType {
  return METRIC_TYPES[number] ?? 'unknown';
}

function isSame(a: MetricMetadata, b: MetricMetadata): boolean {
  return a.type === b.type && a.help === b.help && a.unit === b.unit;
}
