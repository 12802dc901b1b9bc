/**
 * Go's text/template, third part: tree and data → text. Nothing here loops without an end: ranges are over lists, maps
 * and small numbers, templates that call themselves are cut off, and so is text beyond a bound.
 * Source: Go, text/template/exec.go.
 */
import { callFunction, ExecError, isTrue, textOf, type Value } from './functions.ts';
import type { Command, ControlNode, Operand, Pipe, Template, TemplateNode } from './parse.ts';

/** Fields that a template may name, by name. */
export type TemplateData = Readonly<Record<string, Value>>;

type Dot = Value | TemplateData;

interface Variable {
  readonly name: string;
  value: Dot;
}

const CALLS_MAX = 100;
const OUTPUT_CHARACTERS_MAX = 1_000_000;
const STEPS_MAX = 100_000;

/** Throws `ExecError`. `typeName` is what Go would call the data in its messages. */
export function executeTemplate(template: Template, data: TemplateData, typeName: string): string {
  const run = new Execution(template, typeName);
  run.call(template.body, data);
  return run.output;
}

class Execution {
  readonly #template: Template;
  readonly #typeName: string;
  output: string;
  #variables: Variable[];
  #calls: number;
  #steps: number;

  constructor(template: Template, typeName: string) {
    this.#template = template;
    this.#typeName = typeName;
    this.output = '';
    this.#variables = [];
    this.#calls = 0;
    this.#steps = 0;
  }

  /** A template of its own: it sees the data as `$` and no variable of its caller. */
  call(nodes: readonly TemplateNode[], dot: Dot): void {
    if (++this.#calls > CALLS_MAX) throw new ExecError('exceeded maximum template depth');
    const outer = this.#variables;
    this.#variables = [{ name: '$', value: dot }];
    this.#walkAll(nodes, dot);
    this.#variables = outer;
    this.#calls--;
  }

  /** Returns why a range has to stop, if it has to. */
  #walkAll(nodes: readonly TemplateNode[], dot: Dot): 'break' | 'continue' | null {
    for (const node of nodes) {
      const jump = this.#walk(node, dot);
      if (jump !== null) return jump;
    }
    return null;
  }

  #walk(node: TemplateNode, dot: Dot): 'break' | 'continue' | null {
    if (++this.#steps > STEPS_MAX) throw new ExecError('exceeded maximum number of steps');
    switch (node.kind) {
      case 'text':
        this.#write(node.text);
        return null;
      case 'action': {
        const value = this.#pipe(node.pipe, dot);
        if (node.pipe.variables.length === 0) this.#write(textOf(asValue(value)));
        return null;
      }
      case 'template':
        this.#callNamed(node.name, node.pipe === null ? null : this.#pipe(node.pipe, dot));
        return null;
      case 'break':
      case 'continue':
        return node.kind;
      case 'range':
        return this.#scoped(() => this.#range(node, dot));
      default:
        return this.#scoped(() => {
          const value = this.#pipe(node.pipe, dot);
          const holds = isData(value) || isTrue(value);
          const inner = holds && node.kind === 'with' ? value : dot;
          return this.#walkAll(holds ? node.body : node.otherwise, inner);
        });
    }
  }

  #scoped<T>(walk: () => T): T {
    const known = this.#variables.length;
    const result = walk();
    this.#variables.length = known;
    return result;
  }

  #range(node: ControlNode, dot: Dot): 'break' | 'continue' | null {
    const items = itemsOf(asValue(this.#pipe({ ...node.pipe, variables: [] }, dot)));
    if (items.length === 0) return this.#walkAll(node.otherwise, dot);
    for (const [key, value] of items) {
      const jump = this.#scoped(() => {
        this.#setRange(node.pipe, key, value);
        return this.#walkAll(node.body, value);
      });
      if (jump === 'break') break;
    }
    return null;
  }

  /** One variable is the element; of two, the first is the index or key. */
  #setRange({ variables, declares }: Pipe, key: Value, value: Value): void {
    const values = variables.length === 2 ? [key, value] : [value];
    for (const [i, name] of variables.entries()) this.#set(name, values[i]!, declares);
  }

  #callNamed(name: string, dot: Dot): void {
    const nodes = this.#template.defined.get(name);
    if (nodes === undefined) throw new ExecError(`template "${name}" not defined`);
    this.call(nodes, dot);
  }

  #set(name: string, value: Dot, declares: boolean): void {
    if (declares) {
      this.#variables.push({ name, value });
      return;
    }
    this.#variable(name).value = value;
  }

  #variable(name: string): Variable {
    const found = this.#variables.findLast((variable) => variable.name === name);
    if (found === undefined) throw new ExecError(`undefined variable: ${name}`);
    return found;
  }

  #pipe({ commands, variables, declares }: Pipe, dot: Dot): Dot {
    let value: Dot | undefined;
    for (const command of commands) value = this.#command(command, dot, value);
    for (const name of variables) this.#set(name, value!, declares);
    return value!;
  }

  /** What a pipe hands on is the last argument of the next command. */
  #command({ operands }: Command, dot: Dot, piped: Dot | undefined): Dot {
    const [first, ...rest] = operands as [Operand, ...Operand[]];
    if (first.kind !== 'function') {
      if (rest.length > 0 || piped !== undefined) throw new ExecError("can't give argument to non-function");
      return this.#operand(first, dot);
    }
    if (first.name === 'and' || first.name === 'or') return this.#lazily(first.name, rest, dot, piped);
    const args = rest.map((operand) => asValue(this.#operand(operand, dot)));
    if (piped !== undefined) args.push(asValue(piped));
    return callFunction(first.name, args);
  }

  /** Arguments behind the one that decides are not looked at. */
  #lazily(name: 'and' | 'or', rest: readonly Operand[], dot: Dot, piped: Dot | undefined): Dot {
    const args = rest.map((operand) => () => this.#operand(operand, dot));
    if (piped !== undefined) args.push(() => piped);
    if (args.length === 0) throw new ExecError(`wrong number of args for ${name}: want at least 1 got 0`);
    let value: Dot = null;
    for (const arg of args) {
      value = arg();
      if ((isData(value) || isTrue(value)) === (name === 'or')) return value;
    }
    return value;
  }

  #operand(operand: Operand, dot: Dot): Dot {
    switch (operand.kind) {
      case 'dot':
        return dot;
      case 'nil':
        throw new ExecError('nil is not a command');
      case 'literal':
        return operand.value;
      case 'field':
        return this.#fields(dot, operand.path);
      case 'variable':
        return this.#fields(this.#variable(operand.name).value, operand.path);
      case 'chain':
        return this.#fields(this.#operand(operand.of, dot), operand.path);
      case 'pipe':
        return this.#pipe(operand.pipe, dot);
      default:
        return this.#command({ operands: [operand], line: 0 }, dot, undefined);
    }
  }

  /** A key that a map does not hold is no value; a field that the data does not have is a fault. */
  #fields(from: Dot, path: readonly string[]): Dot {
    let value = from;
    for (const name of path) {
      if (value instanceof Map) value = (value as ReadonlyMap<string, string>).get(name) ?? null;
      else if (isData(value) && Object.hasOwn(value, name)) value = value[name]!;
      else throw new ExecError(`can't evaluate field ${name} in type ${isData(value) ? this.#typeName : typeof value}`);
    }
    return value;
  }

  #write(text: string): void {
    this.output += text;
    if (this.output.length > OUTPUT_CHARACTERS_MAX) throw new ExecError('the text is too long');
  }
}

function isData(dot: Dot): dot is TemplateData {
  return typeof dot === 'object' && dot !== null && !Array.isArray(dot) && !(dot instanceof Map);
}

function asValue(dot: Dot): Value {
  if (isData(dot)) throw new ExecError('cannot use the data itself as a value');
  return dot;
}

const RANGE_MAX = 10_000;

function itemsOf(value: Value): (readonly [Value, Value])[] {
  if (value === null) return [];
  if (value instanceof Map) {
    const map = value as ReadonlyMap<string, string>;
    return [...map.keys()].sort().map((key) => [key, map.get(key)!]);
  }
  if (Array.isArray(value)) return value.map((item, i) => [i, item as Value]);
  if (typeof value === 'number' && value <= RANGE_MAX) return Array.from({ length: value }, (_, i) => [i, i]);
  throw new ExecError(`range can't iterate over ${textOf(value)}`);
}
