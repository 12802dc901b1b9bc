/**
 * Label selectors as they arrive in `labelSelector`, and the matchers that they mean.
 *
 *   requirement {"," requirement}       requirement: key | "!" key | key ("=" | "==" | "!=") [value]
 *                                                  | key ("in" | "notin") "(" values ")" | key (">" | "<") integer
 *
 * White space is free; `in` and `notin` are ordinary words wherever a word is wanted; empty values are values. The
 * result is sorted by key. Error texts are Kubernetes' own, since they end up in the HPA's conditions.
 * Source: kubernetes/apimachinery, pkg/labels/selector.go.
 */
import { CodedError } from '../../model/errors.ts';
import { compareCodePoints } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';

export type Operator = 'exists' | 'absent' | 'in' | 'notin' | '=' | '!=' | '>' | '<';

export interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  /** Sorted, each once. */
  readonly values: readonly string[];
}

interface Token {
  readonly kind: 'word' | 'symbol' | 'end';
  readonly text: string;
}

/** Matchers of a selector; throws `bad_data` with the message for the caller. */
export function parseLabelSelector(text: string): Matcher[] {
  return parseRequirements(text).map(toMatcher);
}

/** The same before it becomes matchers. */
export function parseRequirements(text: string): Requirement[] {
  return writtenRequirements(text).map(unescaped);
}

/** The same as they stand there, for whoever knows nothing of our escape. */
export function writtenRequirements(text: string): Requirement[] {
  return new SelectorParser(tokenize(text)).requirements();
}

/**
 * Values that label selectors cannot carry are written in hexadecimal, under a key with this prefix:
 * `hex.tidegauge.dev/uri=2f6c6f67696e` means `uri="/login"`.
 */
const HEX_PREFIX = 'hex.tidegauge.dev/';

function unescaped(requirement: Requirement): Requirement {
  const { key, values } = requirement;
  if (!key.startsWith(HEX_PREFIX)) return requirement;
  return { ...requirement, key: key.slice(HEX_PREFIX.length), values: values.map((value) => fromHex(key, value)) };
}

function fromHex(key: string, value: string): string {
  const text = /^(?:[0-9a-fA-F]{2})*$/.test(value) ? Buffer.from(value, 'hex').toString('utf8') : null;
  if (text === null || text.includes('\ufffd')) {
    throw fault(`cannot read the value of ${key}: got ${JSON.stringify(value)}, want UTF-8 in hexadecimal`);
  }
  return text;
}

/** True if an object with these labels fulfils all requirements. */
export function fulfils(labels: Readonly<Record<string, string>>, requirements: readonly Requirement[]): boolean {
  return requirements.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key]! : null;
    switch (operator) {
      case 'exists':
        return value !== null;
      case 'absent':
        return value === null;
      case '=':
      case 'in':
        return value !== null && values.includes(value);
      case '!=':
      case 'notin':
        return value === null || !values.includes(value);
      default: {
        const number = value !== null && /^[+-]?\d+$/.test(value) ? BigInt(value) : null;
        if (number === null) return false;
        return operator === '>' ? number > BigInt(values[0]!) : number < BigInt(values[0]!);
      }
    }
  });
}

/** One matcher each: label selectors and PromQL agree that an absent label and an empty one are the same. */
export function toMatcher({ key: name, operator, values }: Requirement): Matcher {
  switch (operator) {
    case 'exists':
      return { type: '!=', name, value: '' };
    case 'absent':
      return { type: '=', name, value: '' };
    case '=':
    case '!=':
      return { type: operator, name, value: values[0]! };
    case 'in':
    case 'notin':
      return { type: operator === 'in' ? '=~' : '!~', name, value: values.map(quoteRegex).join('|') };
    default:
      throw new CodedError('bad_data', `operator ${JSON.stringify(operator)} is not supported: label values are text`);
  }
}

/** The expression that matches just this text. Values are of letters, digits, `-`, `_` and `.`; the others cost nothing. */
export function quoteRegex(text: string): string {
  return text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');
}

/** `=`, `==`, `!=` are one token each; any other run of symbols falls into single ones. */
function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  for (const [token, symbol] of text.matchAll(/(==|!=|[=!(),<>])|[^\s=!(),<>]+/g)) {
    tokens.push({ kind: symbol === undefined ? 'word' : 'symbol', text: token });
  }
  tokens.push({ kind: 'end', text: '' });
  return tokens;
}

class SelectorParser {
  readonly #tokens: readonly Token[];
  #position = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  requirements(): Requirement[] {
    const found: Requirement[] = [];
    if (this.#peek().kind === 'end') return found;
    if (!this.#startsRequirement())
      throw fault(`found '${this.#peek().text}', expected: !, identifier, or 'end of string'`);
    for (;;) {
      found.push(this.#requirement());
      const next = this.#take();
      if (next.kind === 'end') return found.sort((a, b) => compareCodePoints(a.key, b.key));
      if (next.text !== ',') throw fault(`found '${next.text}', expected: ',' or 'end of string'`);
      if (!this.#startsRequirement()) throw fault(`found '${this.#peek().text}', expected: identifier after ','`);
    }
  }

  #startsRequirement(): boolean {
    return this.#peek().kind === 'word' || this.#peek().text === '!';
  }

  #requirement(): Requirement {
    const negated = this.#peek().text === '!';
    if (negated) this.#take();
    const token = this.#take();
    if (token.kind !== 'word') throw requirementFault(`found '${token.text}', expected: identifier`);
    const key = token.text;
    checkKey(key);
    if (negated) return { key, operator: 'absent', values: [] };
    const next = this.#peek();
    if (next.kind === 'end' || next.text === ',') return { key, operator: 'exists', values: [] };
    const operator = this.#operator();
    const values = operator === 'in' || operator === 'notin' ? this.#list() : [this.#value()];
    checkValues(key, operator, values);
    return { key, operator, values };
  }

  #operator(): Operator {
    const { text } = this.#take();
    switch (text) {
      case '==':
        return '=';
      case '=':
      case '!=':
      case '<':
      case '>':
      case 'in':
      case 'notin':
        return text;
      default:
        throw requirementFault(`found '${text}', expected: in, notin, =, ==, !=, gt, lt`);
    }
  }

  #value(): string {
    const token = this.#peek();
    if (token.kind === 'end' || token.text === ',') return '';
    if (token.kind !== 'word') throw requirementFault(`found '${token.text}', expected: identifier`);
    return this.#take().text;
  }

  /** Between any two commas, and before the first and after the last, stands a value, which may be empty. */
  #list(): string[] {
    const open = this.#take();
    if (open.text !== '(') throw requirementFault(`found '${open.text}' expected: '('`);
    const values = new Set<string>();
    for (;;) {
      values.add(this.#peek().kind === 'word' ? this.#take().text : '');
      const next = this.#take();
      if (next.text === ')') return [...values].sort(compareCodePoints);
      if (next.text !== ',') throw requirementFault(`found '${next.text}', expected: ',' or ')'`);
    }
  }

  #peek(): Token {
    return this.#tokens[this.#position]!;
  }

  /** The end stays where it is. */
  #take(): Token {
    const token = this.#peek();
    if (token.kind !== 'end') this.#position++;
    return token;
  }
}

const CHARACTERS_MAX = 63;
const PREFIX_CHARACTERS_MAX = 253;
const WORD = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const DNS_NAME = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const ALPHABET = "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

function checkKey(key: string): void {
  const reasons = keyFaults(key);
  if (reasons.length > 0) throw requirementFault(`<nil>: Invalid value: ${JSON.stringify(key)}: ${reasons.join('; ')}`);
}

function keyFaults(key: string): string[] {
  const parts = key.split('/');
  if (parts.length > 2)
    return [`a qualified name must consist of ${ALPHABET}, with an optional DNS subdomain prefix and '/'`];
  const name = parts.at(-1)!;
  const reasons = parts.length === 2 ? prefixFaults(parts[0]!) : [];
  if (name === '') reasons.push('name part must be non-empty');
  else if (name.length > CHARACTERS_MAX) reasons.push(`name part must be no more than ${CHARACTERS_MAX} bytes`);
  if (name !== '' && !WORD.test(name)) reasons.push(`name part must consist of ${ALPHABET}`);
  return reasons;
}

function prefixFaults(prefix: string): string[] {
  if (prefix === '') return ['prefix part must be non-empty'];
  if (prefix.length > PREFIX_CHARACTERS_MAX) return [`prefix part must be no more than ${PREFIX_CHARACTERS_MAX} bytes`];
  if (DNS_NAME.test(prefix)) return [];
  return [
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  ];
}

function checkValues(key: string, operator: Operator, values: readonly string[]): void {
  if ((operator === '>' || operator === '<') && !/^[+-]?\d+$/.test(values[0]!)) {
    throw requirementFault(
      `values[0]: Invalid value: ${JSON.stringify(values[0])}: for 'Gt', 'Lt' operators, the value must be an integer`,
    );
  }
  for (const [i, value] of values.entries()) {
    const reason = valueFault(value);
    if (reason !== null)
      throw requirementFault(`values[${i}][${key}]: Invalid value: ${JSON.stringify(value)}: ${reason}`);
  }
}

function valueFault(value: string): string | null {
  if (value.length > CHARACTERS_MAX) return `must be no more than ${CHARACTERS_MAX} bytes`;
  return value === '' || WORD.test(value) ? null : `a valid label must be an empty string or consist of ${ALPHABET}`;
}

function requirementFault(message: string): CodedError {
  return fault(`unable to parse requirement: ${message}`);
}

function fault(message: string): CodedError {
  return new CodedError('bad_data', message);
}
