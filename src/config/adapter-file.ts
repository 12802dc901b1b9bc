/**
 * Reads a configuration file of prometheus-adapter: the same keys, just as strict, and the same messages.
 * Source: kubernetes-sigs/prometheus-adapter, pkg/config, and the messages of Go's YAML reader.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, type YAMLMap } from 'yaml';
import { CodedError } from '../model/errors.ts';
import { tryParseDuration } from '../model/time.ts';

export interface AdapterGroupResource {
  readonly group: string;
  readonly resource: string;
}

export interface AdapterResources {
  readonly template: string;
  /** By label. */
  readonly overrides: ReadonlyMap<string, AdapterGroupResource>;
  /** Null if it is not set, which means true. */
  readonly namespaced: boolean | null;
}

export interface AdapterFilter {
  readonly is: string;
  readonly isNot: string;
}

export interface AdapterRule {
  readonly seriesQuery: string;
  readonly seriesFilters: readonly AdapterFilter[];
  readonly resources: AdapterResources;
  readonly name: { readonly matches: string; readonly as: string };
  readonly metricsQuery: string;
}

export interface AdapterResourceRule {
  readonly containerQuery: string;
  readonly nodeQuery: string;
  readonly resources: AdapterResources;
  readonly containerLabel: string;
}

export interface AdapterResourceRules {
  readonly cpu: AdapterResourceRule;
  readonly memory: AdapterResourceRule;
  readonly windowMs: number;
}

export interface AdapterFile {
  readonly rules: readonly AdapterRule[];
  readonly externalRules: readonly AdapterRule[];
  readonly resourceRules: AdapterResourceRules | null;
}

/** Throws `bad_config`. */
export function parseAdapterFile(text: string): AdapterFile {
  return new AdapterReader(text).read();
}

type Read<T> = (reader: AdapterReader, node: Node | null) => T;
type Fields<T> = { readonly [K in keyof T]-?: Read<T[K]> };

const NO_RESOURCES: AdapterResources = { template: '', overrides: new Map(), namespaced: null };

class AdapterReader {
  readonly #lines: LineCounter;
  readonly #root: Node | null;
  readonly #document: ReturnType<typeof parseDocument>;
  readonly #faults: string[];

  constructor(text: string) {
    this.#lines = new LineCounter();
    // The adapter's reader knows YAML 1.1.
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      uniqueKeys: false,
      version: '1.1',
    });
    this.#root = this.#document.contents as Node | null;
    this.#faults = [];
  }

  read(): AdapterFile {
    const [error] = this.#document.errors;
    if (error !== undefined) throw unreadable(`yaml: line ${this.#line(error.pos[0])}: ${error.message}`);
    const file = this.struct<AdapterFile>('MetricsDiscoveryConfig', FILE, EMPTY_FILE, this.#root);
    if (this.#faults.length > 0) throw unreadable(`yaml: unmarshal errors:\n  ${this.#faults.join('\n  ')}`);
    return file;
  }

  /** A map with known keys. What is not in it has its value in `empty`. */
  struct<T extends object>(type: string, fields: Fields<T>, empty: T, node: Node | null): T {
    const found: Partial<Record<keyof T, unknown>> = {};
    for (const { key, value, at } of this.#pairs(node, `config.${type}`)) {
      if (!Object.hasOwn(fields, key)) this.fault(at, `field ${key} not found in type config.${type}`);
      else if (Object.hasOwn(found, key)) this.fault(at, `field ${key} already set in type config.${type}`);
      else found[key as keyof T] = fields[key as keyof T](this, value);
    }
    return { ...empty, ...found };
  }

  list<T>(node: Node | null, type: string, read: Read<T>): readonly T[] {
    if (node === null) return [];
    if (!isSeq<Node>(node)) {
      this.#mismatch(node, `[]${type}`);
      return [];
    }
    return node.items.map((item) => read(this, this.#resolve(item)));
  }

  map<T>(node: Node | null, type: string, read: Read<T>): ReadonlyMap<string, T> {
    const found = new Map<string, T>();
    for (const { key, value, at } of this.#pairs(node, `map[string]${type}`)) {
      if (found.has(key)) this.fault(at, `key "${key}" already set in map`);
      else found.set(key, read(this, value));
    }
    return found;
  }

  text(node: Node | null): string {
    if (node === null) return '';
    if (!isScalar(node)) {
      this.#mismatch(node, 'string');
      return '';
    }
    return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
  }

  flag(node: Node | null): boolean | null {
    if (node === null) return null;
    if (isScalar(node) && typeof node.value === 'boolean') return node.value;
    this.#mismatch(node, 'bool');
    return null;
  }

  durationMs(node: Node | null): number {
    const text = this.text(node);
    const ms = text === '' ? 0 : tryParseDuration(text);
    if (ms !== null) return ms;
    this.fault(node?.range?.[0] ?? 0, `not a valid duration string: ${JSON.stringify(text)}`);
    return 0;
  }

  fault(offset: number, message: string): void {
    this.#faults.push(`line ${this.#line(offset)}: ${message}`);
  }

  #pairs(
    node: Node | null,
    type: string,
  ): { readonly key: string; readonly value: Node | null; readonly at: number }[] {
    if (node === null) return [];
    if (!isMap(node)) {
      this.#mismatch(node, type);
      return [];
    }
    return (node as YAMLMap<Node, Node | null>).items.map((pair: Pair<Node, Node | null>) => ({
      key: this.text(this.#resolve(pair.key)),
      value: this.#resolve(pair.value),
      at: pair.key.range?.[0] ?? 0,
    }));
  }

  #mismatch(node: Node, type: string): void {
    const got = isMap(node)
      ? '!!map'
      : isSeq(node)
        ? '!!seq'
        : `!!str ${JSON.stringify(String((node as { value?: unknown }).value))}`;
    this.fault(node.range?.[0] ?? 0, `cannot unmarshal ${got} into ${type}`);
  }

  /** An empty value and an explicit null are nothing. */
  #resolve(node: Node | null): Node | null {
    const found = isAlias(node) ? ((node.resolve(this.#document) as Node | undefined) ?? null) : node;
    return isScalar(found) && found.value === null ? null : found;
  }

  #line(offset: number): number {
    return Math.max(1, this.#lines.linePos(offset).line);
  }
}

const text: Read<string> = (reader, node) => reader.text(node);

const GROUP_RESOURCE: Fields<AdapterGroupResource> = { group: text, resource: text };
const groupResource: Read<AdapterGroupResource> = (reader, node) =>
  reader.struct('GroupResource', GROUP_RESOURCE, { group: '', resource: '' }, node);

const RESOURCES: Fields<AdapterResources> = {
  template: text,
  overrides: (reader, node) => reader.map(node, 'config.GroupResource', groupResource),
  namespaced: (reader, node) => reader.flag(node),
};
const resources: Read<AdapterResources> = (reader, node) =>
  reader.struct('ResourceMapping', RESOURCES, NO_RESOURCES, node);

const FILTER: Fields<AdapterFilter> = { is: text, isNot: text };
const NAME: Fields<AdapterRule['name']> = { matches: text, as: text };
const NO_NAME: AdapterRule['name'] = { matches: '', as: '' };

const RULE: Fields<AdapterRule> = {
  seriesQuery: text,
  seriesFilters: (reader, node) =>
    reader.list(node, 'config.RegexFilter', (_, item) =>
      reader.struct<AdapterFilter>('RegexFilter', FILTER, { is: '', isNot: '' }, item),
    ),
  resources,
  name: (reader, node) => reader.struct<AdapterRule['name']>('NameMapping', NAME, NO_NAME, node),
  metricsQuery: text,
};
const EMPTY_RULE: AdapterRule = {
  seriesQuery: '',
  seriesFilters: [],
  resources: NO_RESOURCES,
  name: NO_NAME,
  metricsQuery: '',
};
const rules: Read<readonly AdapterRule[]> = (reader, node) =>
  reader.list(node, 'config.DiscoveryRule', (_, item) => reader.struct('DiscoveryRule', RULE, EMPTY_RULE, item));

const RESOURCE_RULE: Fields<AdapterResourceRule> = {
  containerQuery: text,
  nodeQuery: text,
  resources,
  containerLabel: text,
};
const EMPTY_RESOURCE_RULE: AdapterResourceRule = {
  containerQuery: '',
  nodeQuery: '',
  resources: NO_RESOURCES,
  containerLabel: '',
};
const resourceRule: Read<AdapterResourceRule> = (reader, node) =>
  reader.struct('ResourceRule', RESOURCE_RULE, EMPTY_RESOURCE_RULE, node);

interface WrittenResourceRules {
  readonly cpu: AdapterResourceRule;
  readonly memory: AdapterResourceRule;
  readonly window: number;
}
const RESOURCE_RULES: Fields<WrittenResourceRules> = {
  cpu: resourceRule,
  memory: resourceRule,
  window: (reader, node) => reader.durationMs(node),
};

const FILE: Fields<AdapterFile> = {
  rules,
  externalRules: rules,
  resourceRules: (reader, node) => {
    if (node === null) return null;
    const empty = { cpu: EMPTY_RESOURCE_RULE, memory: EMPTY_RESOURCE_RULE, window: 0 };
    const { cpu, memory, window } = reader.struct<WrittenResourceRules>('ResourceRules', RESOURCE_RULES, empty, node);
    return { cpu, memory, windowMs: window };
  },
};
const EMPTY_FILE: AdapterFile = { rules: [], externalRules: [], resourceRules: null };

function unreadable(message: string): CodedError {
  return new CodedError('bad_config', `unable to parse metrics discovery config: ${message}`);
}
