/** A node of a YAML file that is read by what is wanted there; faults carry `file:line:column` and name the nearest known key. */
import { isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap } from 'yaml';
import { CodedError } from '../model/errors.ts';
import { nearest } from '../model/nearest.ts';
import { formatDuration, tryParseDuration } from '../model/time.ts';

/** What the reader of the file lends. */
export interface YamlSource {
  resolve(node: Node | null): Node | null;
  /** `file:line:column` */
  at(offset: number): string;
}

export type Read<T> = (node: YamlNode) => T;
export type Fields<T> = { readonly [K in keyof T]-?: Read<T[K]> };

export class YamlNode {
  /** The way to it, for messages: `scrape_configs[0].tls_config`. */
  readonly name: string;
  readonly #source: YamlSource;
  readonly #node: Node | null;
  readonly #offset: number;

  constructor(source: YamlSource, name: string, node: Node | null, offset: number) {
    this.name = name;
    this.#source = source;
    this.#node = source.resolve(node);
    this.#offset = this.#node?.range?.[0] ?? offset;
  }

  get isEmpty(): boolean {
    return this.#node === null || (isScalar(this.#node) && this.#node.value === null);
  }

  /** Keys and values of which the keys are known; what is not there is not in the result. */
  struct<T extends object>(fields: Fields<T>): Partial<T> {
    const found: Partial<T> = {};
    for (const [key, value] of this.#entries()) {
      if (!Object.hasOwn(fields, key)) throw value.unknown(key, Object.keys(fields));
      found[key as keyof T] = fields[key as keyof T](value);
    }
    return found;
  }

  map<T>(read: Read<T>): Readonly<Record<string, T>> {
    return Object.fromEntries(this.#entries().map(([key, value]) => [key, read(value)]));
  }

  list<T>(read: Read<T>): readonly T[] {
    if (this.isEmpty) return [];
    if (!isSeq<Node>(this.#node)) throw this.wrong('a list');
    return this.#node.items.map((item, i) =>
      read(new YamlNode(this.#source, `${this.name}[${i}]`, item, this.#offset)),
    );
  }

  text(): string {
    if (!isScalar(this.#node) || this.#node.value === null) throw this.wrong('a text');
    const { value, source } = this.#node;
    return typeof value === 'string' ? value : (source ?? String(value));
  }

  /** A text that has this form. */
  textOf(form: RegExp, want: string): string {
    const text = this.text();
    if (!form.test(text)) throw this.wrong(want);
    return text;
  }

  choice<C extends string>(choices: readonly C[]): C {
    const text = this.text();
    const found = choices.find((choice) => choice === text.toLowerCase());
    if (found === undefined) throw this.wrong(choices.join(', '));
    return found;
  }

  flag(): boolean {
    if (!isScalar(this.#node) || typeof this.#node.value !== 'boolean') throw this.wrong('true or false');
    return this.#node.value;
  }

  count(max = Number.MAX_SAFE_INTEGER): number {
    const text = this.text();
    if (!/^\d{1,16}$/.test(text) || Number(text) > max) throw this.wrong(`a whole number from 0 to ${max}`);
    return Number(text);
  }

  durationMs(min: number): number {
    const ms = tryParseDuration(this.text());
    if (ms === null || ms < min) throw this.wrong(`a duration of at least ${formatDuration(min)}, such as 15s`);
    return ms;
  }

  /** In Prometheus' units, which are powers of two: 10MB are 10 MiB. */
  bytes(max: number): number {
    const match = /^(\d{1,9})(B|([KMG])i?B)?$/i.exec(this.text());
    const power = match === null ? -1 : ' KMG'.indexOf((match[3] ?? ' ').toUpperCase());
    const bytes = match === null ? -1 : Number(match[1]) * 1024 ** power;
    if (bytes < 0 || bytes > max) throw this.wrong(`bytes such as 10MB, at most ${max}`);
    return bytes;
  }

  /** The cause as a fault of this place. */
  fault(message: string): CodedError {
    return new CodedError('bad_config', `cannot use ${this.name} at ${this.#at()}: ${message}`);
  }

  wrong(want: string): CodedError {
    return this.fault(`got ${this.#shape()}, want ${want}`);
  }

  unknown(key: string, known: readonly string[]): CodedError {
    const hint = JSON.stringify(nearest(key, known));
    return new CodedError(
      'bad_config',
      `cannot use the key ${JSON.stringify(key)} at ${this.#at()}: it is not supported here; the nearest known key is ${hint}`,
    );
  }

  #entries(): [key: string, value: YamlNode][] {
    if (this.isEmpty) return [];
    if (!isMap(this.#node)) throw this.wrong('keys and values');
    return (this.#node as YAMLMap<Node, Node | null>).items.map((pair: Pair<Node, Node | null>) => {
      const key = this.#source.resolve(pair.key);
      const text = isScalar(key) ? String(key.value) : '';
      const node = this.#source.resolve(pair.value);
      const offset = pair.key.range?.[0] ?? this.#offset;
      return [text, new YamlNode(this.#source, `${this.name}.${text}`, node, offset)];
    });
  }

  #at(): string {
    return this.#source.at(this.#offset);
  }

  #shape(): string {
    if (isMap(this.#node)) return 'keys and values';
    if (isSeq(this.#node)) return 'a list';
    if (this.isEmpty) return 'nothing';
    return JSON.stringify(String((this.#node as { value?: unknown }).value));
  }
}
