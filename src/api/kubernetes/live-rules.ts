/**
 * The adapter's rules as they are in force: read from their file, read again when it changes, with the last good ones kept,
 * and the catalog of what they serve, which follows the store's index.
 *
 * Making a catalog costs more the more series there are, so it takes a twentieth of the time at most: a cheap one is made
 * at once, an expensive one in the background, slice by slice, while the last one is served.
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
  #isBuilding = false;

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

  catalog(): Catalog {
    const { index, clock } = this.#options;
    const version = index.version();
    if (version === this.#version || this.#isBuilding) return this.#catalog;
    const isFirst = this.#version === null;
    if (!isFirst && clock.monotonicMs() - this.#madeMs < SHARE * this.#costMs) return this.#catalog;
    const build = buildCatalog(this.#rules, index);
    if (isFirst || this.#costMs <= FOREGROUND_MS_MAX) this.#buildNow(build, version);
    else this.#buildLater(build, version, this.#rules, 0);
    return this.#catalog;
  }

  external(metric: string): ExternalEntry | null {
    return this.catalog().external.get(metric) ?? null;
  }

  custom(resource: string, metric: string): CustomEntry | null {
    return this.catalog().custom.get(`${resource}/${metric}`) ?? null;
  }

  #buildNow(build: Generator<void, Catalog>, version: number): void {
    const beganMs = this.#options.clock.monotonicMs();
    let step = build.next();
    while (!step.done) step = build.next();
    this.#take(step.value, version, this.#options.clock.monotonicMs() - beganMs);
  }

  #buildLater(build: Generator<void, Catalog>, version: number, rules: RuleSet, spentMs: number): void {
    this.#isBuilding = true;
    setImmediate(() => {
      const { clock } = this.#options;
      const beganMs = clock.monotonicMs();
      const step = build.next();
      const totalMs = spentMs + clock.monotonicMs() - beganMs;
      // Rules that were reloaded meanwhile begin anew with the next question.
      if (!step.done && rules === this.#rules) return this.#buildLater(build, version, rules, totalMs);
      this.#isBuilding = false;
      if (step.done && rules === this.#rules) this.#take(step.value, version, totalMs);
    });
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
