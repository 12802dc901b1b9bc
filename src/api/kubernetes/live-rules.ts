/**
 * The adapter's rules as they are in force: read from their file, read again when it changes, with the last good ones kept,
 * and the catalog of what they serve, which follows the store's index.
 *
 * Making a catalog costs more the more series there are, so it takes a twentieth of the time at most: a cheap one is made
 * at once, an expensive one in the background, slice by slice, while the last one is served. Whoever asks for a name that
 * the last one does not hold waits for the next, so that a new series is a metric at once.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../model/clock.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { Cell, Family, Registry } from '../../telemetry/registry.ts';
import {
  buildCatalog,
  type Catalog,
  type CustomEntry,
  type ExternalEntry,
  type SeriesIndex,
} from './adapter/catalog.ts';
import { type AdapterConfig, EMPTY_ADAPTER_CONFIG } from './adapter/config.ts';
import type { Kinds } from './adapter/kinds.ts';
import { compileRules, type RuleSet } from './adapter/rules.ts';

export interface AdapterSource {
  /** The file's text as it is now; throws if it cannot be read. */
  text(): string;
  /** Throws `bad_config`. */
  parse(text: string): AdapterConfig;
}

export interface LiveRulesOptions {
  /** Null serves no rules. */
  readonly source: AdapterSource | null;
  readonly kinds: Kinds;
  readonly index: SeriesIndex;
  readonly parseSelector: (text: string) => readonly Matcher[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
}

/** A catalog may take this part of the time. */
const SHARE = 20;
/** What takes longer than this is made in the background. */
const FOREGROUND_MS_MAX = 5;
const EMPTY_CATALOG: Catalog = { external: new Map(), custom: new Map() };

export class LiveRules {
  readonly #options: LiveRulesOptions;
  readonly #reloads: Family<Cell>;
  #kinds: Kinds;
  #text: string;
  #config: AdapterConfig;
  #rules: RuleSet;
  #catalog: Catalog = EMPTY_CATALOG;
  /** Of the index when the catalog was made; null before the first. */
  #version: number | null = null;
  #madeMs = 0;
  #costMs = 0;
  /** Of the catalog in the making. */
  #building: Promise<void> | null = null;

  /** Throws `bad_config` if the file cannot be used at all. */
  constructor(options: LiveRulesOptions) {
    this.#options = options;
    this.#kinds = options.kinds;
    this.#text = options.source?.text() ?? '';
    this.#config = options.source?.parse(this.#text) ?? EMPTY_ADAPTER_CONFIG;
    this.#rules = this.#compile();
    this.#reloads = options.registry.counter(
      'tidegauge_kubernetes_rule_reloads_total',
      'Times that the file of adapter rules changed, by outcome: applied, or refused with the last good rules kept.',
      'outcome',
    );
    options.registry.computed(
      'gauge',
      'tidegauge_kubernetes_bad_rules',
      'Adapter rules that cannot be used and are left out.',
      () => this.#rules.bad.length,
    );
    options.registry.computed(
      'gauge',
      'tidegauge_kubernetes_metrics',
      'Metrics that adapter rules serve at this moment.',
      () => this.#catalog.external.size + this.#catalog.custom.size,
    );
  }

  get rules(): RuleSet {
    return this.#rules;
  }

  get kinds(): Kinds {
    return this.#kinds;
  }

  /** More kinds of objects are known now, so a rule that was bad may be good. */
  learn(kinds: Kinds): void {
    this.#kinds = kinds;
    this.#rules = this.#compile();
    this.#version = null;
  }

  /** Reads the file again if it changed; what cannot be used leaves the rules as they are. */
  reload(): void {
    const { source, logger } = this.#options;
    if (source === null) return;
    let text = this.#text;
    try {
      text = source.text();
      if (text === this.#text) return;
      this.#config = source.parse(text);
    } catch (error) {
      // The same fault is told once.
      if (text !== this.#text) this.#reloads.with('refused').value++;
      this.#text = text;
      logger.error(`cannot reload the adapter's rules, the last good ones stay in force: ${(error as Error).message}`);
      return;
    }
    this.#text = text;
    this.#rules = this.#compile();
    this.#version = null;
    this.#reloads.with('applied').value++;
    logger.info('the rules of the adapter were reloaded');
  }

  /** As it was made last; it follows the index as its price allows. */
  catalog(): Catalog {
    if (this.#isCurrent || this.#building !== null || this.#isTooEarly) return this.#catalog;
    if (this.#isCheap) this.#buildNow();
    else void this.#build();
    return this.#catalog;
  }

  /** The same for a document that lists everything: one that may be made anew is waited for. */
  async freshCatalog(): Promise<Catalog> {
    if (!this.#isTooEarly) await this.#catchUp();
    return this.#catalog;
  }

  /** A metric that is known answers from the catalog as it is; another may have come since. */
  async external(metric: string): Promise<ExternalEntry | null> {
    const known = this.catalog().external.get(metric);
    if (known !== undefined || this.#isCurrent) return known ?? null;
    await this.#catchUp();
    return this.#catalog.external.get(metric) ?? null;
  }

  async custom(resource: string, metric: string): Promise<CustomEntry | null> {
    const name = `${resource}/${metric}`;
    const known = this.catalog().custom.get(name);
    if (known !== undefined || this.#isCurrent) return known ?? null;
    await this.#catchUp();
    return this.#catalog.custom.get(name) ?? null;
  }

  get #isCurrent(): boolean {
    return this.#options.index.version() === this.#version;
  }

  /** The first, and those that took little the last time. */
  get #isCheap(): boolean {
    return this.#version === null || this.#costMs <= FOREGROUND_MS_MAX;
  }

  get #isTooEarly(): boolean {
    if (this.#version === null) return false;
    return this.#options.clock.monotonicMs() - this.#madeMs < SHARE * this.#costMs;
  }

  /** Until the catalog holds every series of this moment. One that is in the making was begun before it. */
  async #catchUp(): Promise<void> {
    if (this.#building !== null) await this.#building;
    if (this.#isCurrent) return;
    if (this.#isCheap) this.#buildNow();
    // Of all who waited for the same one, the first begins the next.
    else await (this.#building ?? this.#build());
  }

  #buildNow(): void {
    const { index, clock } = this.#options;
    const version = index.version();
    const beganMs = clock.monotonicMs();
    const build = buildCatalog(this.#rules, index);
    let step = build.next();
    while (!step.done) step = build.next();
    this.#take(step.value, version, clock.monotonicMs() - beganMs);
  }

  /** Slice by slice, with other work between them. */
  #build(): Promise<void> {
    const { index } = this.#options;
    const rules = this.#rules;
    const building = this.#buildSlices(buildCatalog(rules, index), index.version(), rules).finally(() => {
      this.#building = null;
    });
    this.#building = building;
    return building;
  }

  async #buildSlices(build: Generator<void, Catalog>, version: number, rules: RuleSet): Promise<void> {
    const { clock } = this.#options;
    let spentMs = 0;
    for (;;) {
      await new Promise<void>((resolve) => void setImmediate(resolve));
      // Rules that were reloaded meanwhile begin anew with the next question.
      if (rules !== this.#rules) return;
      const beganMs = clock.monotonicMs();
      const step = build.next();
      spentMs += clock.monotonicMs() - beganMs;
      if (step.done) return this.#take(step.value, version, spentMs);
    }
  }

  /** A catalog with the same names stays the same object, so that what is made of it can be kept. */
  #take(catalog: Catalog, version: number, costMs: number): void {
    this.#version = version;
    this.#madeMs = this.#options.clock.monotonicMs();
    this.#costMs = costMs;
    if (!isSame(catalog, this.#catalog)) this.#catalog = catalog;
  }

  #compile(): RuleSet {
    const rules = compileRules(this.#config, this.#kinds, this.#options.parseSelector);
    for (const { section, index, reason } of rules.bad) {
      this.#options.logger.error(`cannot use ${section}[${index}] of the adapter's rules, the others go on: ${reason}`);
    }
    return rules;
  }
}

function isSame(a: Catalog, b: Catalog): boolean {
  return isSameMap(a.external, b.external) && isSameMap(a.custom, b.custom);
}

function isSameMap(a: ReadonlyMap<string, ExternalEntry>, b: ReadonlyMap<string, ExternalEntry>): boolean {
  if (a.size !== b.size) return false;
  for (const [name, { rule, series }] of a) {
    const other = b.get(name);
    if (other?.rule !== rule || other.series !== series) return false;
  }
  return true;
}
