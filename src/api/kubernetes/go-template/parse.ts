/**
 * Go's text/template, second part: tokens → tree. All actions are there; functions are only known by name here.
 * Source of the rules and of the error texts: Go, text/template/parse/parse.go.
 */
import { numberOf, TemplateError, type Token, type TokenKind, tokenize } from './tokens.ts';

export type Operand =
  | { readonly kind: 'dot' }
  | { readonly kind: 'nil' }
  | { readonly kind: 'literal'; readonly value: string | number | boolean }
  | { readonly kind: 'field'; readonly path: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly path: readonly string[] }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'chain'; readonly of: Operand; readonly path: readonly string[] }
  | { readonly kind: 'pipe'; readonly pipe: Pipe };

export interface Command {
  readonly operands: readonly Operand[];
  readonly line: number;
}

export interface Pipe {
  /** Variables that it sets: one, or two in a range. */
  readonly variables: readonly string[];
  readonly declares: boolean;
  readonly commands: readonly Command[];
}

export type TemplateNode =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe }
  | ControlNode
  | { readonly kind: 'template'; readonly name: string; readonly pipe: Pipe | null; readonly line: number }
  | { readonly kind: 'break' }
  | { readonly kind: 'continue' };

export interface ControlNode {
  readonly kind: 'if' | 'with' | 'range';
  readonly pipe: Pipe;
  readonly body: readonly TemplateNode[];
  readonly otherwise: readonly TemplateNode[];
}

export interface Template {
  readonly body: readonly TemplateNode[];
  readonly defined: ReadonlyMap<string, readonly TemplateNode[]>;
}

export const FUNCTION_NAMES: ReadonlySet<string> = new Set(
  'and or not eq ne lt le gt ge len index slice print printf println html js urlquery call'.split(' '),
);
const KEYWORDS: ReadonlySet<string> = new Set('if else end range with define template block break continue'.split(' '));
const DEPTH_MAX = 64;

/** Throws `TemplateError`. */
export function parseTemplate(text: string): Template {
  return new Parser(tokenize(text)).template();
}

interface Ended {
  readonly nodes: readonly TemplateNode[];
  readonly by: 'end' | 'else' | 'eof';
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #defined: Map<string, readonly TemplateNode[]>;
  #position: number;
  #variables: string[];
  #rangeDepth: number;
  #depth: number;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
    this.#defined = new Map();
    this.#position = 0;
    this.#variables = ['$'];
    this.#rangeDepth = 0;
    this.#depth = 0;
  }

  template(): Template {
    const { nodes, by } = this.#list();
    if (by !== 'eof') this.#fail(`unexpected {{${by}}}`);
    return { body: nodes, defined: this.#defined };
  }

  /** Nodes up to an `end`, an `else` or the end of the text; the word itself is taken. */
  #list(): Ended {
    const nodes: TemplateNode[] = [];
    for (;;) {
      const token = this.#next();
      if (token.kind === 'end') return { nodes, by: 'eof' };
      if (token.kind === 'text') {
        nodes.push({ kind: 'text', text: token.text });
        continue;
      }
      const word = this.#peekAfterSpace();
      if (word.kind === 'word' && (word.text === 'end' || word.text === 'else')) {
        this.#nextAfterSpace();
        if (word.text === 'end') this.#expectRight('end');
        return { nodes, by: word.text };
      }
      const node = this.#action();
      if (node !== null) nodes.push(node);
    }
  }

  #action(): TemplateNode | null {
    const word = this.#peekAfterSpace();
    if (word.kind !== 'word' || !KEYWORDS.has(word.text)) return { kind: 'action', pipe: this.#pipe('command') };
    this.#nextAfterSpace();
    switch (word.text) {
      case 'if':
      case 'with':
      case 'range':
        return this.#control(word.text);
      case 'define':
        return this.#define();
      case 'block':
        return this.#block(word.line);
      case 'template':
        return this.#call(word.line);
      case 'break':
      case 'continue':
        if (this.#rangeDepth === 0) this.#fail(`{{${word.text}}} outside {{range}}`);
        this.#expectRight(word.text);
        return { kind: word.text };
      default:
        return this.#fail(`unexpected {{${word.text}}}`);
    }
  }

  #control(kind: 'if' | 'with' | 'range'): TemplateNode {
    if (++this.#depth > DEPTH_MAX) this.#fail('nested too deeply');
    const known = this.#variables.length;
    const pipe = this.#pipe(kind);
    if (kind === 'range') this.#rangeDepth++;
    const body = this.#list();
    if (kind === 'range') this.#rangeDepth--;
    const otherwise = body.by === 'else' ? this.#otherwise(kind) : [];
    if (body.by === 'eof') this.#fail('unexpected EOF');
    this.#variables.length = known;
    this.#depth--;
    return { kind, pipe, body: body.nodes, otherwise };
  }

  /** `else if` and `else with` stand for an `else` with that inside, which shares its `end`. */
  #otherwise(kind: string): readonly TemplateNode[] {
    const word = this.#peekAfterSpace();
    if (word.kind === 'word' && word.text === kind && kind !== 'range') {
      this.#nextAfterSpace();
      return [this.#control(kind as 'if' | 'with')];
    }
    this.#expectRight('else');
    const rest = this.#list();
    if (rest.by === 'eof') this.#fail('unexpected EOF');
    if (rest.by === 'else') this.#fail('expected end; found {{else}}');
    return rest.nodes;
  }

  #define(): null {
    const name = this.#name('define clause');
    this.#expectRight('define clause');
    this.#defined.set(name, this.#definition('define clause'));
    return null;
  }

  #block(line: number): TemplateNode {
    const name = this.#name('block clause');
    const pipe = this.#pipe('block clause');
    this.#defined.set(name, this.#definition('block clause'));
    return { kind: 'template', name, pipe, line };
  }

  /** A body of its own: variables and loops from outside are not seen in it. */
  #definition(context: string): readonly TemplateNode[] {
    const outer = { variables: this.#variables, rangeDepth: this.#rangeDepth };
    this.#variables = ['$'];
    this.#rangeDepth = 0;
    const { nodes, by } = this.#list();
    if (by === 'eof') this.#fail('unexpected EOF');
    if (by === 'else') this.#fail(`unexpected {{else}} in ${context}`);
    this.#variables = outer.variables;
    this.#rangeDepth = outer.rangeDepth;
    return nodes;
  }

  #call(line: number): TemplateNode {
    const name = this.#name('template clause');
    if (this.#peekAfterSpace().kind === 'right') {
      this.#nextAfterSpace();
      return { kind: 'template', name, pipe: null, line };
    }
    return { kind: 'template', name, pipe: this.#pipe('template clause'), line };
  }

  #name(context: string): string {
    const token = this.#nextAfterSpace();
    if (token.kind !== 'string') this.#unexpected(token, context);
    return token.text;
  }

  /** Up to and with the closing delimiter. */
  #pipe(context: string, closing: TokenKind = 'right'): Pipe {
    const { variables, declares } = this.#declarations(context);
    const commands: Command[] = [];
    for (;;) {
      const token = this.#nextAfterSpace();
      if (token.kind === closing) {
        if (commands.length === 0) this.#fail(`missing value for ${context}`);
        return { variables, declares, commands };
      }
      if (!STARTS_OPERAND.has(token.kind)) this.#unexpected(token, context);
      this.#position--;
      commands.push(this.#command(token.line));
    }
  }

  #declarations(context: string): { readonly variables: string[]; readonly declares: boolean } {
    const begin = this.#position;
    const variables: string[] = [];
    for (let token = this.#peekAfterSpace(); token.kind === 'variable'; token = this.#peekAfterSpace()) {
      this.#nextAfterSpace();
      variables.push(token.text);
      const next = this.#peekAfterSpace();
      if (next.kind === ',' && context === 'range' && variables.length === 1) {
        this.#nextAfterSpace();
        continue;
      }
      if (next.kind !== ':=' && next.kind !== '=') break;
      this.#nextAfterSpace();
      if (next.kind === ':=') this.#variables.push(...variables);
      return { variables, declares: next.kind === ':=' };
    }
    this.#position = begin;
    return { variables: [], declares: false };
  }

  #command(line: number): Command {
    const operands: Operand[] = [];
    for (;;) {
      this.#skipSpace();
      const operand = this.#operand();
      if (operand !== null) operands.push(operand);
      const token = this.#next();
      if (token.kind === 'space') continue;
      if (token.kind === '|') {
        if (!STARTS_OPERAND.has(this.#peekAfterSpace().kind)) this.#fail('missing value for command');
        break;
      }
      if (token.kind === 'right' || token.kind === ')') {
        this.#position--;
        break;
      }
      this.#unexpected(token, 'operand');
    }
    if (operands.length === 0) this.#fail('empty command');
    return { operands, line };
  }

  #operand(): Operand | null {
    const term = this.#term();
    if (term === null || this.#peek().kind !== 'field') return term;
    const path: string[] = [];
    while (this.#peek().kind === 'field') path.push(this.#next().text);
    if (term.kind === 'field') return { kind: 'field', path: [...term.path, ...path] };
    if (term.kind === 'variable') return { ...term, path: [...term.path, ...path] };
    if (term.kind === 'literal' || term.kind === 'nil') this.#fail(`unexpected . after term`);
    return { kind: 'chain', of: term, path };
  }

  #term(): Operand | null {
    const token = this.#next();
    switch (token.kind) {
      case 'dot':
        return { kind: 'dot' };
      case 'field':
        return { kind: 'field', path: [token.text] };
      case 'variable':
        if (!this.#variables.includes(token.text)) this.#fail(`undefined variable "${token.text}"`);
        return { kind: 'variable', name: token.text, path: [] };
      case 'string':
        return { kind: 'literal', value: token.text };
      case 'char':
        return { kind: 'literal', value: token.text.codePointAt(0) ?? 0 };
      case 'number':
        return { kind: 'literal', value: numberOf(token.text) };
      case '(':
        return { kind: 'pipe', pipe: this.#pipe('parenthesized pipeline', ')') };
      case 'word':
        return this.#word(token);
      default:
        this.#position--;
        return null;
    }
  }

  #word({ text }: Token): Operand {
    if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
    if (text === 'nil') return { kind: 'nil' };
    if (!FUNCTION_NAMES.has(text)) this.#fail(`function "${text}" not defined`);
    return { kind: 'function', name: text };
  }

  #expectRight(context: string): void {
    const token = this.#nextAfterSpace();
    if (token.kind !== 'right') this.#unexpected(token, context);
  }

  #peek(): Token {
    return this.#tokens[this.#position]!;
  }

  /** The end stays where it is. */
  #next(): Token {
    const token = this.#peek();
    if (token.kind !== 'end') this.#position++;
    return token;
  }

  #skipSpace(): void {
    while (this.#peek().kind === 'space') this.#position++;
  }

  #peekAfterSpace(): Token {
    this.#skipSpace();
    return this.#peek();
  }

  #nextAfterSpace(): Token {
    this.#skipSpace();
    return this.#next();
  }

  #unexpected(token: Token, context: string): never {
    if (token.kind === 'end') this.#fail('unexpected EOF');
    const what = token.kind === 'right' ? '">>"' : `<${token.text}>`;
    this.#fail(`unexpected ${what} in ${context}`);
  }

  #fail(message: string): never {
    throw new TemplateError(this.#tokens[Math.max(0, this.#position - 1)]!.line, message);
  }
}

const STARTS_OPERAND: ReadonlySet<TokenKind> = new Set([
  'dot',
  'field',
  'variable',
  'word',
  'string',
  'char',
  'number',
  '(',
]);
