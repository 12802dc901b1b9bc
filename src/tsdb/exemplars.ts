/**
 * Exemplars: samples that name the trace behind them, in a ring of a bounded number and size beside the head. The oldest
 * arrivals go first. They are kept by the labels of their series, whether or not the head has it: an exemplar may come in
 * a message of its own, before the sample.
 */
import { type Labels, labelsKey, labelValue } from '../model/labels.ts';
import { compileMatcher, type Matcher } from '../model/matcher.ts';
import { inScope, type Scope } from '../model/scope.ts';

export interface Exemplar {
  readonly labels: Labels;
  readonly value: number;
  readonly timestampMs: number;
}

/** Exemplars of one series, ascending in time. */
export interface ExemplarSeries {
  readonly labels: Labels;
  readonly exemplars: readonly Exemplar[];
}

export interface ExemplarsOptions {
  /** How many are kept; 0 keeps none. */
  readonly countMax: number;
  readonly bytesMax: number;
  /** Characters of the names and values of one exemplar's labels together. */
  readonly labelCharactersMax: number;
  /** How far behind the newest exemplar of its series one may be. */
  readonly outOfOrderMsMax: number;
}

/** What became of an exemplar. `off` and `tooLong` are not kept, and no fault that a sender could mend. */
export type ExemplarAdded = 'stored' | 'duplicate' | 'outOfOrder' | 'tooLong' | 'off';

interface Series extends ExemplarSeries {
  readonly key: string;
  readonly exemplars: Stored[];
  readonly bytes: number;
}

interface Stored extends Exemplar {
  readonly series: Series;
  readonly bytes: number;
}

/** What an object, and a string beside its characters, weigh about. */
const OBJECT_BYTES = 96;
const STRING_BYTES = 24;

export class Exemplars {
  readonly #options: ExemplarsOptions;
  readonly #series = new Map<string, Series>();
  /** By arrival; the oldest stands at `#first`, what lies before is free. */
  #ring: (Stored | null)[] = [];
  #first = 0;
  #bytes = 0;

  constructor(options: ExemplarsOptions) {
    this.#options = options;
  }

  /** True if none is kept. */
  get isOff(): boolean {
    return this.#options.countMax === 0;
  }

  /** Exemplars in the ring. */
  get count(): number {
    return this.#ring.length - this.#first;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(seriesLabels: Labels, exemplar: Exemplar): ExemplarAdded {
    const { countMax, labelCharactersMax, outOfOrderMsMax } = this.#options;
    if (countMax === 0) return 'off';
    if (charactersOf(exemplar.labels) > labelCharactersMax) return 'tooLong';
    const key = labelsKey(seriesLabels);
    const series = this.#series.get(key) ?? newSeries(key, seriesLabels);
    const known = series.exemplars;
    const newest = known.at(-1);
    if (newest !== undefined && exemplar.timestampMs < newest.timestampMs - outOfOrderMsMax) return 'outOfOrder';
    let at = known.length;
    while (at > 0 && known[at - 1]!.timestampMs >= exemplar.timestampMs) {
      if (isSame(known[at - 1]!, exemplar)) return 'duplicate';
      at--;
    }
    while (at < known.length && known[at]!.timestampMs === exemplar.timestampMs) at++;
    this.#put(series, at, exemplar);
    return 'stored';
  }

  /** Exemplars with fromMs <= t <= toMs of the series that one of the selectors matches and that may be seen. */
  select(
    selectors: readonly (readonly Matcher[])[],
    fromMs: number,
    toMs: number,
    scope: Scope,
  ): readonly ExemplarSeries[] {
    const predicates = selectors.map((matchers) =>
      matchers.map((matcher) => ({ name: matcher.name, accepts: compileMatcher(matcher) })),
    );
    const found: ExemplarSeries[] = [];
    for (const { labels, exemplars } of this.#series.values()) {
      const isAsked = predicates.some((all) => all.every(({ name, accepts }) => accepts(labelValue(labels, name))));
      if (!isAsked || !inScope(labels, scope)) continue;
      const within = exemplars.filter(({ timestampMs }) => timestampMs >= fromMs && timestampMs <= toMs);
      if (within.length > 0) found.push({ labels, exemplars: within });
    }
    return found;
  }

  #put(series: Series, at: number, { labels, value, timestampMs }: Exemplar): void {
    const stored: Stored = { labels, value, timestampMs, series, bytes: OBJECT_BYTES + bytesOf(labels) };
    if (series.exemplars.length === 0) {
      this.#series.set(series.key, series);
      this.#bytes += series.bytes;
    }
    series.exemplars.splice(at, 0, stored);
    this.#ring.push(stored);
    this.#bytes += stored.bytes;
    // One that is larger than all the room goes at once.
    while (this.count > this.#options.countMax || this.#bytes > this.#options.bytesMax) this.#dropOldest();
  }

  #dropOldest(): void {
    const oldest = this.#ring[this.#first]!;
    this.#ring[this.#first++] = null;
    const { series } = oldest;
    series.exemplars.splice(series.exemplars.indexOf(oldest), 1);
    this.#bytes -= oldest.bytes;
    if (series.exemplars.length === 0) {
      this.#series.delete(series.key);
      this.#bytes -= series.bytes;
    }
    // Moving the rest down once in a while costs less than a step each.
    if (this.#first > 1024 && this.#first * 2 > this.#ring.length) {
      this.#ring = this.#ring.slice(this.#first);
      this.#first = 0;
    }
  }
}

function newSeries(key: string, labels: Labels): Series {
  return { key, labels, exemplars: [], bytes: 2 * OBJECT_BYTES + 2 * key.length + bytesOf(labels) };
}

function isSame(a: Exemplar, b: Exemplar): boolean {
  return a.timestampMs === b.timestampMs && Object.is(a.value, b.value) && labelsKey(a.labels) === labelsKey(b.labels);
}

/** Unicode characters of all names and values. */
function charactersOf(labels: Labels): number {
  let characters = 0;
  for (const text of labels) for (const _character of text) characters++;
  return characters;
}

function bytesOf(labels: Labels): number {
  let bytes = 0;
  for (const text of labels) bytes += STRING_BYTES + 2 * text.length;
  return bytes;
}
