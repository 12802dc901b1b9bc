/**
 * Go's text/template, first part: text → tokens. Actions stand between `<<` and `>>`; `<<- ` and ` ->>` take the white
 * space around an action away; a comment is an action that is nothing but `/* … *\/`.
 *
 * Source of the rules and of the error texts: Go, text/template/parse/lex.go.
 */

export type TokenKind =
  | 'text'
  | 'left'
  | 'right'
  | 'space'
  | 'field'
  | 'dot'
  | 'variable'
  | 'word'
  | 'string'
  | 'number'
  | 'char'
  | '|'
  | ':='
  | '='
  | ','
  | '('
  | ')'
  | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** Of a field without its dot, of a string without quotes and escapes, else as written. */
  readonly text: string;
  readonly line: number;
}

/** A fault of a template, with Go's words; whoever knows its name completes the message. */
export class TemplateError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = 'TemplateError';
    this.line = line;
  }
}

const LEFT = '<<';
const RIGHT = '>>';
const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

export function tokenize(text: string): Token[] {
  return new Lexer(text).tokens();
}

class Lexer {
  readonly #text: string;
  readonly #tokens: Token[];
  #position: number;
  #parens: number;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = [];
    this.#position = 0;
    this.#parens = 0;
  }

  tokens(): Token[] {
    let trimNext = false;
    for (;;) {
      const at = this.#text.indexOf(LEFT, this.#position);
      let text = this.#text.slice(this.#position, at < 0 ? undefined : at);
      if (trimNext) text = text.trimStart();
      const trimsBefore = at >= 0 && /^-[ \t\r\n]/.test(this.#text.slice(at + LEFT.length, at + LEFT.length + 2));
      if (trimsBefore) text = text.trimEnd();
      if (text !== '') this.#push('text', text);
      if (at < 0) break;
      this.#position = at + LEFT.length + (trimsBefore ? 2 : 0);
      trimNext = this.#text.startsWith('/*', this.#position) ? this.#comment() : this.#action();
    }
    this.#position = this.#text.length;
    this.#push('end', '');
    return this.#tokens;
  }

  #push(kind: TokenKind, text: string): void {
    this.#tokens.push({ kind, text, line: this.#line() });
  }

  #line(): number {
    return this.#text.slice(0, this.#position).split('\n').length;
  }

  #fail(message: string): never {
    throw new TemplateError(this.#line(), message);
  }

  /** True if white space after the action goes too. */
  #comment(): boolean {
    const close = this.#text.indexOf('*/', this.#position);
    if (close < 0) this.#fail('unclosed comment');
    this.#position = close + 2;
    const end = this.#atRight();
    if (end === null) this.#fail('comment ends before closing delimiter');
    this.#position = end.next;
    return end.trims;
  }

  #action(): boolean {
    this.#push('left', LEFT);
    this.#parens = 0;
    for (;;) {
      const end = this.#atRight();
      if (end !== null) {
        if (this.#parens > 0) this.#fail('unclosed left paren');
        this.#push('right', RIGHT);
        this.#position = end.next;
        return end.trims;
      }
      if (this.#position >= this.#text.length) this.#fail('unclosed action');
      this.#insideAction();
    }
  }

  #atRight(): { readonly next: number; readonly trims: boolean } | null {
    const rest = this.#text.slice(this.#position, this.#position + 5);
    if (rest.startsWith(RIGHT)) return { next: this.#position + RIGHT.length, trims: false };
    const trimmed = /^[ \t\r\n]->>/.exec(rest);
    return trimmed === null ? null : { next: this.#position + trimmed[0].length, trims: true };
  }

  #insideAction(): void {
    const rest = this.#text.slice(this.#position);
    const symbol = /^(?::=|[|=,()])/.exec(rest)?.[0];
    if (symbol !== undefined) {
      if (symbol === '(') this.#parens++;
      if (symbol === ')' && --this.#parens < 0) this.#fail('unexpected right paren');
      this.#take(symbol as TokenKind, symbol, symbol.length);
      return;
    }
    for (const [kind, pattern] of PATTERNS) {
      const match = pattern.exec(rest);
      if (match === null) continue;
      this.#take(kind, match[1] ?? match[0], match[0].length);
      return;
    }
    if (rest.startsWith('"')) this.#quoted('"', 'unterminated quoted string', 'string');
    else if (rest.startsWith("'")) this.#quoted("'", 'unterminated character constant', 'char');
    else if (rest.startsWith('`')) this.#raw();
    else this.#unrecognized(rest);
  }

  #unrecognized(rest: string): never {
    const code = rest.codePointAt(0)!;
    const point = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
    this.#fail(`unrecognized character in action: ${point} '${String.fromCodePoint(code)}'`);
  }

  #take(kind: TokenKind, text: string, length: number): void {
    this.#push(kind, text);
    this.#position += length;
  }

  #quoted(quote: string, fault: string, kind: 'string' | 'char'): void {
    let value = '';
    let at = this.#position + 1;
    for (;;) {
      const character = this.#text[at];
      if (character === undefined || character === '\n') this.#fail(fault);
      at++;
      if (character === quote) break;
      if (character !== '\\') {
        value += character;
        continue;
      }
      const found = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))/s.exec(
        this.#text.slice(at, at + 9),
      );
      if (found === null || found[5] === '\n') this.#fail(fault);
      const hex = found[1] ?? found[2] ?? found[3];
      if (hex !== undefined) value += codePoint(Number.parseInt(hex, 16));
      else if (found[4] !== undefined) value += codePoint(Number.parseInt(found[4], 8));
      else if (found[5]! in ESCAPES) value += ESCAPES[found[5]!];
      else this.#fail('invalid syntax');
      at += found[0].length;
    }
    this.#take(kind, value, at - this.#position);
  }

  #raw(): void {
    const close = this.#text.indexOf('`', this.#position + 1);
    if (close < 0) this.#fail('unterminated raw quoted string');
    this.#take('string', this.#text.slice(this.#position + 1, close), close + 1 - this.#position);
  }
}

const PATTERNS: readonly (readonly [TokenKind, RegExp])[] = [
  ['space', /^[ \t\r\n]+/],
  [
    'number',
    /^[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*\.?[\d_]*(?:[eE][+-]?\d+)?|\.\d[\d_]*(?:[eE][+-]?\d+)?)/,
  ],
  ['field', /^\.([\p{L}_][\p{L}\p{N}_]*)/u],
  ['dot', /^\./],
  ['variable', /^\$[\p{L}\p{N}_]*/u],
  ['word', /^[\p{L}_][\p{L}\p{N}_]*/u],
];

/** As Go reads it: `_` parts digits, and a whole number that begins with 0 is octal. */
export function numberOf(text: string): number {
  const [, sign = '', digits = ''] = /^([+-]?)(.*)$/.exec(text.replaceAll('_', ''))!;
  const value = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  return sign === '-' ? -value : value;
}

function codePoint(code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
}
