/**
 * The functions of Go's text/template, and how its values print. Values are texts, numbers, truth values, lists and maps
 * of texts, which is all that rules of the adapter have. Source: Go, text/template/funcs.go, and fmt for printf.
 */

/** Null stands for what is not there. */
export type Value = string | number | boolean | null | readonly Value[] | ReadonlyMap<string, string>;

/** Whatever goes wrong while a template runs. */
export class ExecError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ExecError';
  }
}

export const NO_VALUE = '<no value>';
const OUTPUT_CHARACTERS_MAX = 1_000_000;

export function isTrue(value: Value): boolean {
  if (value === null) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  return Boolean(value);
}

/** As an action prints it. */
export function textOf(value: Value): string {
  return value === null ? NO_VALUE : goText(value);
}

/** As fmt prints it with %v. */
function goText(value: Value): string {
  if (value === null) return '<nil>';
  if (value instanceof Map) {
    const keys = [...(value as ReadonlyMap<string, string>).keys()].sort();
    return `map[${keys.map((key) => `${key}:${value.get(key)}`).join(' ')}]`;
  }
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`;
  return String(value);
}

export function callFunction(name: string, args: readonly Value[]): Value {
  const call = FUNCTIONS[name];
  if (call === undefined) throw new ExecError(`"${name}" is not a defined function`);
  return call(args, name);
}

type Func = (args: readonly Value[], name: string) => Value;

const FUNCTIONS: Readonly<Record<string, Func>> = {
  not: (args) => !isTrue(one(args, 'not')),
  eq: (args) => equals(args),
  ne: (args) => !equals(args.slice(0, 2)),
  lt: (args) => compare(args) < 0,
  le: (args) => compare(args) <= 0,
  gt: (args) => compare(args) > 0,
  ge: (args) => compare(args) >= 0,
  len: (args) => lengthOf(one(args, 'len')),
  index: (args) => args.slice(1).reduce<Value>(indexInto, args[0] ?? null),
  slice: (args) => sliceOf(args),
  print: (args) => sprint(args),
  println: (args) => `${args.map(goText).join(' ')}\n`,
  printf: (args) => sprintf(args),
  html: (args) => sprint(args).replace(/[&<>"'\0]/g, (c) => HTML[c]!),
  js: (args) => sprint(args).replace(/[\\'"<>&=\n\r\t\0]/g, (c) => JS[c] ?? c),
  urlquery: (args) =>
    encodeURIComponent(sprint(args))
      .replace(/%20/g, '+')
      .replace(/[!'()*]/g, percent),
  call: () => {
    throw new ExecError('error calling call: non-function');
  },
};

const HTML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
  '\0': '\ufffd',
};
const JS: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  "'": "\\'",
  '"': '\\"',
  '<': '\\u003C',
  '>': '\\u003E',
  '&': '\\u0026',
  '=': '\\u003D',
  '\n': '\\u000A',
  '\r': '\\u000D',
  '\t': '\\u0009',
  '\0': '\\u0000',
};

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

function one(args: readonly Value[], name: string): Value {
  if (args.length !== 1) throw new ExecError(`wrong number of args for ${name}: want 1 got ${args.length}`);
  return args[0]!;
}

function equals(args: readonly Value[]): boolean {
  if (args.length < 2) throw new ExecError('error calling eq: missing argument for comparison');
  const [first, ...others] = args as [Value, ...Value[]];
  return others.some((other) => {
    if (isCollection(first) || isCollection(other)) throw new ExecError('error calling eq: non-comparable type');
    if (first !== null && other !== null && typeof first !== typeof other) {
      throw new ExecError('error calling eq: incompatible types for comparison');
    }
    return first === other;
  });
}

function compare(args: readonly Value[]): number {
  const [a, b] = args;
  if (args.length !== 2 || typeof a !== typeof b || (typeof a !== 'string' && typeof a !== 'number')) {
    throw new ExecError('error calling lt: incompatible types for comparison');
  }
  return a === b ? 0 : a < (b as typeof a) ? -1 : 1;
}

function isCollection(value: Value): boolean {
  return Array.isArray(value) || value instanceof Map;
}

function lengthOf(value: Value): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  throw new ExecError(`error calling len: len of type ${typeName(value)}`);
}

/** A key that a map does not hold gives an empty text. */
function indexInto(value: Value, key: Value): Value {
  if (value instanceof Map) {
    if (typeof key !== 'string')
      throw new ExecError(`error calling index: value has type ${typeName(key)}; should be string`);
    return (value as ReadonlyMap<string, string>).get(key) ?? '';
  }
  if (!Array.isArray(value) && typeof value !== 'string') {
    throw new ExecError(`error calling index: can't index item of type ${typeName(value)}`);
  }
  if (typeof key !== 'number')
    throw new ExecError(`error calling index: cannot index slice/array with type ${typeName(key)}`);
  if (key < 0 || key >= value.length) throw new ExecError(`error calling index: index out of range: ${key}`);
  return typeof value === 'string' ? Buffer.from(value)[key]! : (value[key] as Value);
}

function sliceOf([value = null, from = 0, to]: readonly Value[]): Value {
  if (!Array.isArray(value) && typeof value !== 'string') {
    throw new ExecError(`error calling slice: can't slice item of type ${typeName(value)}`);
  }
  const end = to === undefined ? value.length : to;
  if (typeof from !== 'number' || typeof end !== 'number' || from < 0 || end > value.length || from > end) {
    throw new ExecError('error calling slice: index out of range');
  }
  return value.slice(from, end) as Value;
}

/** As fmt.Sprint: a blank only between two that are no texts. */
function sprint(args: readonly Value[]): string {
  let text = '';
  for (const [i, arg] of args.entries()) {
    if (i > 0 && typeof arg !== 'string' && typeof args[i - 1] !== 'string') text += ' ';
    text += goText(arg);
  }
  return text;
}

/** The verbs v s q d x t f, with flags, width and precision. */
function sprintf(args: readonly Value[]): string {
  const [format, ...rest] = args;
  if (typeof format !== 'string') throw new ExecError('error calling printf: wrong type for format; want string');
  let next = 0;
  let text = format.replace(
    /%([-+# 0]*)(\d*)(?:\.(\d+))?(.)/gs,
    (_, flags: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%';
      if (next >= rest.length) return `%!${verb}(MISSING)`;
      return padded(verbText(verb, rest[next++]!, precision), flags, Number(width));
    },
  );
  if (next < rest.length) {
    const extra = rest.slice(next).map((value) => `${typeName(value)}=${goText(value)}`);
    text += `%!(EXTRA ${extra.join(', ')})`;
  }
  if (text.length > OUTPUT_CHARACTERS_MAX) throw new ExecError('error calling printf: the text is too long');
  return text;
}

function verbText(verb: string, value: Value, precision: string | undefined): string {
  const cut = (text: string): string => (precision === undefined ? text : text.slice(0, Number(precision)));
  if (verb === 'v') return goText(value);
  if (verb === 's' && (typeof value === 'string' || isCollection(value))) return cut(goText(value));
  if (verb === 'q' && typeof value === 'string') return goQuote(cut(value));
  if (verb === 'q' && Array.isArray(value)) return `[${value.map((one) => verbText(verb, one, precision)).join(' ')}]`;
  if (verb === 'd' && typeof value === 'number') return String(value);
  if (verb === 't' && typeof value === 'boolean') return String(value);
  if (verb === 'x' && typeof value === 'string') return Buffer.from(value).toString('hex');
  if (verb === 'x' && typeof value === 'number') return value.toString(16);
  if (verb === 'f' && typeof value === 'number') return value.toFixed(Math.min(Number(precision ?? 6), 100));
  return `%!${verb}(${typeName(value)}=${goText(value)})`;
}

function padded(text: string, flags: string, width: number): string {
  const bounded = Math.min(width, 1000);
  if (flags.includes('-')) return text.padEnd(bounded);
  return text.padStart(bounded, flags.includes('0') ? '0' : ' ');
}

/** A text as Go writes it between quotes. */
export function goQuote(text: string): string {
  return `"${text.replace(/["\\\p{Cc}]/gu, (c) => QUOTED[c] ?? `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)}"`;
}

const QUOTED: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\t': '\\t',
  '\r': '\\r',
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\v': '\\v',
};

function typeName(value: Value): string {
  if (value === null) return 'nil';
  if (Array.isArray(value)) return '[]string';
  if (value instanceof Map) return 'map[string]string';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float64';
  return typeof value === 'boolean' ? 'bool' : 'string';
}
