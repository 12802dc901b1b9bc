/** Reads the YAML file: which settings it gives, and the metrics of the Kubernetes APIs. Messages carry `file:line:column`. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import { CodedError } from '../model/errors.ts';
import { nearest } from '../model/nearest.ts';
import { ALL_SETTINGS, type CustomMetric, type ExternalMetric, yamlKeyOf } from './schema.ts';
import { readScrape } from './scrape.ts';
import type { ScrapeConfig } from './scrape-schema.ts';
import { LIST } from './values.ts';
import { YamlNode } from './yaml-node.ts';

export interface FileValue {
  readonly text: string;
  readonly origin: string;
}

export interface FileContent {
  /** By the setting's name. */
  readonly values: ReadonlyMap<string, FileValue>;
  readonly externalMetrics: readonly ExternalMetric[];
  readonly customMetrics: readonly CustomMetric[];
  /** Null if nothing is scraped. */
  readonly scrape: ScrapeConfig | null;
}

const EXTERNAL_METRICS = 'externalMetrics';
const CUSTOM_METRICS = 'customMetrics';
const SCRAPE = 'scrape';
const SETTING_KEYS: readonly string[] = ALL_SETTINGS.map(yamlKeyOf).filter((key) => key !== null);
/** Settings that may be written as a list of texts. */
const LISTS: readonly string[] = ALL_SETTINGS.filter(({ kind }) => kind.name === LIST.name).map(({ name }) => name);
const KNOWN_KEYS: readonly string[] = [
  ...new Set([...SETTING_KEYS, ...SETTING_KEYS.flatMap(groupsOf), EXTERNAL_METRICS, CUSTOM_METRICS, SCRAPE]),
];

/** Throws `bad_config` for text that is not YAML, for unknown keys, and for values of the wrong shape. */
export function parseFile(text: string, path: string): FileContent {
  return new FileReader(text, path).read();
}

/** `otlp.grpc.listen-address` lies in `otlp` and `otlp.grpc`. */
function groupsOf(key: string): string[] {
  const levels = key.split('.');
  return levels.slice(1).map((_, i) => levels.slice(0, i + 1).join('.'));
}

class FileReader {
  readonly #path: string;
  readonly #lines: LineCounter;
  readonly #document: Document.Parsed;
  readonly #values: Map<string, FileValue>;
  #externalMetrics: readonly ExternalMetric[];
  #customMetrics: readonly CustomMetric[];
  #scrape: ScrapeConfig | null;

  constructor(text: string, path: string) {
    this.#path = path;
    this.#lines = new LineCounter();
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    this.#values = new Map();
    this.#externalMetrics = [];
    this.#customMetrics = [];
    this.#scrape = null;
  }

  read(): FileContent {
    const [error] = this.#document.errors;
    if (error !== undefined) throw badConfig(`cannot read ${this.#at(error.pos[0])}: ${error.message}`);
    this.#group(this.#document.contents, '', 0);
    return {
      values: this.#values,
      externalMetrics: this.#externalMetrics,
      customMetrics: this.#customMetrics,
      scrape: this.#scrape,
    };
  }

  /** A level of the file; a key with nothing below it is an empty level. */
  #group(node: Node | null, prefix: string, offset: number): void {
    for (const pair of this.#pairs(node, prefix === '' ? 'the file' : prefix, offset)) {
      const key = `${prefix === '' ? '' : `${prefix}.`}${pair.key}`;
      if (SETTING_KEYS.includes(key)) this.#set(key, pair);
      else if (key === EXTERNAL_METRICS) this.#externalMetrics = this.#externals(pair);
      else if (key === CUSTOM_METRICS) this.#customMetrics = this.#customs(pair);
      else if (key === SCRAPE) this.#scrape = this.#readScrape(pair);
      else if (KNOWN_KEYS.includes(key)) this.#group(pair.value, key, pair.offset);
      else throw this.#unknownKey(key, pair.offset, KNOWN_KEYS);
    }
  }

  /** `web.listen-address: x` and `web: {listen-address: x}` are the same key, so it can stand there twice. */
  #set(key: string, pair: KeyValue): void {
    const earlier = this.#values.get(key);
    if (earlier !== undefined) {
      throw badConfig(
        `cannot use ${key} at ${this.#at(pair.offset)}: got it twice, want it once (first at ${earlier.origin})`,
      );
    }
    this.#values.set(key, { text: this.#scalar(pair, key), origin: this.#at(pair.offset) });
  }

  #readScrape({ value, offset }: KeyValue): ScrapeConfig | null {
    if (value === null) return null;
    const source = { resolve: (node: Node | null) => this.#resolve(node), at: (place: number) => this.#at(place) };
    return readScrape(new YamlNode(source, SCRAPE, value, offset), this.#path, value.toJS(this.#document));
  }

  #externals(list: KeyValue): readonly ExternalMetric[] {
    const metrics: ExternalMetric[] = [];
    for (const item of this.#items(list, EXTERNAL_METRICS, 'a list of metrics, each with name and query')) {
      const metric = this.#metric({
        ...item,
        list: EXTERNAL_METRICS,
        keys: METRIC_KEYS,
        want: 'name and query',
      }).metric;
      const earlier = metrics.find((one) => one.name === metric.name);
      if (earlier !== undefined) throw this.#twice(EXTERNAL_METRICS, metric, earlier, `the name ${quote(metric.name)}`);
      metrics.push(metric);
    }
    return metrics;
  }

  #customs(list: KeyValue): readonly CustomMetric[] {
    const want = 'name, resource and query';
    const metrics: CustomMetric[] = [];
    for (const item of this.#items(list, CUSTOM_METRICS, `a list of metrics, each with ${want}`)) {
      const read = { ...item, list: CUSTOM_METRICS, keys: CUSTOM_METRIC_KEYS, want };
      const { metric: common, given } = this.#metric(read);
      const metric = {
        ...common,
        resource: this.#requiredText(given, 'resource', read),
        label: this.#text(given, 'label'),
        namespaceLabel: this.#text(given, 'namespaceLabel'),
      };
      const earlier = metrics.find((one) => one.name === metric.name && one.resource === metric.resource);
      if (earlier !== undefined)
        throw this.#twice(CUSTOM_METRICS, metric, earlier, `${quote(metric.name)} of ${metric.resource}`);
      metrics.push(metric);
    }
    return metrics;
  }

  #items({ value, offset }: KeyValue, key: string, want: string): readonly ItemAt[] {
    if (value === null) return [];
    if (!isSeq<Node>(value)) throw this.#wrong(key, { key, value, offset }, want);
    return value.items.map((item) => {
      const node = this.#resolve(item);
      return { node, offset: node?.range?.[0] ?? offset };
    });
  }

  #twice(list: string, again: ExternalMetric, { origin }: ExternalMetric, what: string): CodedError {
    return badConfig(
      `cannot define ${list} at ${again.origin}: got ${what} again, want each once (first at ${origin})`,
    );
  }

  /** What every metric has, and all that is given of it. */
  #metric(read: MetricToRead): { readonly metric: ExternalMetric; readonly given: ReadonlyMap<string, KeyValue> } {
    const { node, offset, list, keys } = read;
    const given = new Map<string, KeyValue>();
    for (const pair of this.#pairs(node, `an item of ${list}`, offset)) {
      if (!keys.includes(pair.key)) throw this.#unknownKey(pair.key, pair.offset, keys);
      given.set(pair.key, pair);
    }
    const name = this.#requiredText(given, 'name', read);
    if (!isMetricName(name)) throw this.#wrong('name', given.get('name')!, METRIC_NAME_WANT);
    const query = this.#requiredText(given, 'query', read);
    const policy = this.#policy(given);
    const metric = { name, query, namespaced: this.#flag(given.get('namespaced')), policy, origin: this.#at(offset) };
    return { metric, given };
  }

  #policy(given: ReadonlyMap<string, KeyValue>): Readonly<Record<string, string>> {
    const policy: Record<string, string> = {};
    for (const key of METRIC_POLICY_KEYS) {
      const pair = given.get(key);
      if (pair !== undefined) policy[key] = this.#scalar(pair, key);
    }
    return policy;
  }

  #requiredText(
    given: ReadonlyMap<string, KeyValue>,
    key: string,
    { list, offset, want }: Pick<MetricToRead, 'list' | 'offset' | 'want'>,
  ): string {
    if (given.has(key)) return this.#text(given, key);
    throw badConfig(`cannot define ${list} at ${this.#at(offset)}: got no ${key}, want ${want}`);
  }

  /** '' if the key is not given. */
  #text(given: ReadonlyMap<string, KeyValue>, key: string): string {
    const pair = given.get(key);
    if (pair === undefined) return '';
    if (!isScalar(pair.value) || typeof pair.value.value !== 'string' || pair.value.value.trim() === '') {
      throw this.#wrong(key, pair, 'a text that is not empty');
    }
    return pair.value.value;
  }

  #flag(pair: KeyValue | undefined): boolean {
    if (pair === undefined) return true;
    if (!isScalar(pair.value) || typeof pair.value.value !== 'boolean')
      throw this.#wrong(pair.key, pair, 'true or false');
    return pair.value.value;
  }

  /** The text of a value as it was written, so that `2h`, `512MiB` and `0` are read by the same rules as a flag's. */
  #scalar(pair: KeyValue, key: string): string {
    if (pair.value === null) return '';
    if (isSeq<Node>(pair.value) && LISTS.includes(key)) return this.#listText(pair.value.items, pair, key);
    if (!isScalar(pair.value)) throw this.#wrong(key, pair, 'one value');
    const { value, source } = pair.value;
    return typeof value === 'string' ? value : (source ?? String(value));
  }

  /** A list as the text that a flag would have. */
  #listText(items: readonly Node[], pair: KeyValue, key: string): string {
    const texts = items.map((item) => this.#resolve(item));
    if (!texts.every((item) => isScalar(item) && !String(item.value).includes(',')))
      throw this.#wrong(key, pair, 'texts without commas');
    return texts.map((item) => (isScalar(item) ? String(item.value) : '')).join(',');
  }

  #pairs(node: Node | null, what: string, offset: number): KeyValue[] {
    if (isEmpty(node)) return [];
    if (!isMap(node))
      throw badConfig(
        `cannot read ${what} at ${this.#at(node.range?.[0] ?? offset)}: got ${shapeOf(node)}, want keys and values`,
      );
    return (node as YAMLMap<Node, Node | null>).items.map((pair) => this.#keyValue(pair, offset));
  }

  #keyValue(pair: Pair<Node, Node | null>, offset: number): KeyValue {
    const key = this.#resolve(pair.key);
    const keyOffset = pair.key.range?.[0] ?? offset;
    if (!isScalar(key))
      throw badConfig(`cannot read the key at ${this.#at(keyOffset)}: got ${shapeOf(key)}, want a word`);
    const value = this.#resolve(pair.value);
    return { key: String(key.value), value: isEmpty(value) ? null : value, offset: keyOffset };
  }

  #unknownKey(key: string, offset: number, known: readonly string[]): CodedError {
    return badConfig(
      `cannot use the key ${quote(key)} at ${this.#at(offset)}: it is not known; the nearest known key is ${quote(nearest(key, known))}`,
    );
  }

  #wrong(key: string, { value, offset }: KeyValue, want: string): CodedError {
    return badConfig(`cannot use ${key} at ${this.#at(offset)}: got ${shapeOf(value)}, want ${want}`);
  }

  #resolve(node: Node | null): Node | null {
    return isAlias(node) ? (node.resolve(this.#document) ?? null) : node;
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#path}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
  }
}

interface KeyValue {
  readonly key: string;
  /** Null for a key without a value. */
  readonly value: Node | null;
  /** Offset of the key in the text. */
  readonly offset: number;
}

interface ItemAt {
  readonly node: Node | null;
  readonly offset: number;
}

interface MetricToRead extends ItemAt {
  /** The key whose item it is, for messages. */
  readonly list: string;
  readonly keys: readonly string[];
  readonly want: string;
}

/** How Readings of the metric are made; what their values mean is known where they are made. */
const METRIC_POLICY_KEYS: readonly string[] = ['noData', 'freshness', 'reduce', 'clampMin', 'clampMax', 'window'];
const METRIC_KEYS: readonly string[] = ['name', 'query', 'namespaced', ...METRIC_POLICY_KEYS];
const CUSTOM_METRIC_KEYS: readonly string[] = [...METRIC_KEYS, 'resource', 'label', 'namespaceLabel'];
const METRIC_NAME_WANT =
  "a name that can stand in a URL's path: no space, / or %, not . or .., not watch, proxy, status or finalize";
/** Kubernetes reads these segments of a path as something else than a metric. */
const METRIC_NAMES_TAKEN: readonly string[] = ['.', '..', 'watch', 'proxy', 'status', 'finalize'];

function isMetricName(name: string): boolean {
  return /^[^\s/%\p{Cc}]{1,253}$/u.test(name) && !METRIC_NAMES_TAKEN.includes(name);
}

function shapeOf(node: Node | null): string {
  if (isMap(node)) return 'keys and values';
  if (isSeq(node)) return 'a list';
  return isScalar(node) ? quote(String(node.value)) : 'nothing';
}

/** A key without a value, or with an explicit null. */
function isEmpty(node: Node | null): node is null {
  return node === null || (isScalar(node) && node.value === null);
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function badConfig(message: string): CodedError {
  return new CodedError('bad_config', message);
}
