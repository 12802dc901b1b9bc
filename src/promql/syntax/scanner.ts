/**
 * Text → tokens. Written by hand, because Prometheus' error texts depend on where a character stands (inside braces,
 * inside brackets, outside) and on how far a bad literal reaches; the tokens are Chevrotain's, for grammar.ts.
 *
 * The scanner stops at its first error. The parser first reads the tokens before it: a syntax error there comes first.
 * Source of the rules: prometheus/prometheus, promql/parser/lex.go.
 */
import type { TokenType } from 'chevrotain';
import type { Span } from './ast.ts';
import { isDigit, isLetter, scanNumber } from './numbers.ts';
import { quoteRune } from './strings.ts';
import * as T from './tokens.ts';

export interface Fault extends Span {
  readonly message: string;
}

export interface Scan {
  readonly tokens: T.Token[];
  readonly fault: Fault | null;
  /** Length of the text in bytes of UTF-8. */
  readonly bytes: number;
}

/** Where the scanner is: outside, inside `{}`, at the beginning of a duration in `[]`, or behind its first literal. */
type Mode = 'outside' | 'braces' | 'duration' | 'brackets';

class ScanFault extends Error {
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

export function scan(text: string): Scan {
  const scanner = new Scanner(text);
  const byteAt = byteOffsets(text);
  let fault: Fault | null = null;
  const bytes = byteAt === null ? text.length : byteAt[text.length]!;
  try {
    scanner.run();
  } catch (error) {
    if (!(error instanceof ScanFault)) throw error;
    fault = { message: error.message, start: byteAt === null ? error.at : byteAt[error.at]!, end: bytes };
  }
  if (byteAt !== null) for (const token of scanner.tokens) toBytes(token, byteAt);
  return { tokens: scanner.tokens, fault, bytes };
}

function toBytes(token: T.Token, byteAt: Uint32Array): void {
  token.startOffset = byteAt[token.startOffset]!;
  token.endOffset = byteAt[token.endOffset]!;
}

/** Byte offset of each UTF-16 index, or null for ASCII, where both are the same. */
export function byteOffsets(text: string): Uint32Array | null {
  let ascii = true;
  for (let i = 0; i < text.length && ascii; i++) ascii = text.charCodeAt(i) < 0x80;
  if (ascii) return null;
  const offsets = new Uint32Array(text.length + 1);
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    offsets[i] = bytes;
    const code = text.charCodeAt(i);
    const pair = code >= 0xd800 && code < 0xdc00 && i + 1 < text.length;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : pair ? 4 : 3;
    if (pair) offsets[++i] = bytes;
  }
  offsets[text.length] = bytes;
  return offsets;
}

class Scanner {
  readonly tokens: T.Token[] = [];
  readonly #text: string;
  #at = 0;
  #parens = 0;
  #mode: Mode = 'outside';
  #gotDuration = false;
  #gotColon = false;

  constructor(text: string) {
    this.#text = text;
  }

  run(): void {
    while (this.#step());
  }

  #step(): boolean {
    this.#skipBlank();
    if (this.#mode === 'braces') return this.#insideBraces();
    if (this.#mode === 'duration') return this.#insideDuration();
    return this.#statement();
  }

  /** Skips white space and comments; inside a duration `#` is no comment. */
  #skipBlank(): void {
    const text = this.#text;
    for (; this.#at < text.length; this.#at++) {
      const c = text.charCodeAt(this.#at);
      if (c === 0x23 && this.#mode !== 'duration') {
        const end = text.indexOf('\n', this.#at);
        this.#at = end < 0 ? text.length - 1 : end;
      } else if (c !== 0x20 && c !== 0x09 && c !== 0x0a && c !== 0x0d) return;
    }
  }

  #emit(type: TokenType, length: number): true {
    const start = this.#at;
    const end = start + length;
    this.tokens.push({
      image: this.#text.slice(start, end),
      startOffset: start,
      endOffset: end,
      tokenTypeIdx: type.tokenTypeIdx!,
      tokenType: type,
    });
    this.#at = end;
    return true;
  }

  #fail(message: string, at = this.#at): never {
    throw new ScanFault(message, at);
  }

  /** The character at an index as Go's `%q` shows it. */
  #quoted(at: number): string {
    const code = this.#text.codePointAt(at);
    return quoteRune(code === undefined ? '\ufffd' : String.fromCodePoint(code));
  }

  #statement(): boolean {
    const text = this.#text;
    const c = text[this.#at];
    if (c === undefined) return this.#endOfInput();
    const code = text.charCodeAt(this.#at);
    if (isLetter(code) || c === ':') return this.#mode === 'brackets' ? this.#bracketWord() : this.#word();
    if (isDigit(code) || (c === '.' && isDigit(text.charCodeAt(this.#at + 1)))) return this.#number();
    if (c === '"' || c === "'" || c === '`') return this.#string(c);
    const single = SINGLE.get(c);
    if (single !== undefined) return this.#emit(single, 1);
    return this.#operator(c);
  }

  #endOfInput(): false {
    if (this.#parens !== 0) this.#fail('unclosed left parenthesis');
    if (this.#mode === 'brackets') this.#fail('unclosed left bracket');
    return false;
  }

  #operator(c: string): boolean {
    const next = this.#text[this.#at + 1];
    switch (c) {
      case '=':
        if (next === '=') return this.#emit(T.Compare, 2);
        if (next === '~') this.#fail(`unexpected character after '=': ${this.#quoted(this.#at + 1)}`);
        return this.#emit(T.Equal, 1);
      case '!':
        if (next === '=') return this.#emit(T.NotEqual, 2);
        return this.#fail(`unexpected character after '!': ${this.#quoted(this.#at + 1)}`);
      case '<':
        return this.#emit(T.Compare, next === '=' || next === '/' ? 2 : 1);
      case '>':
        return this.#emit(T.Compare, next === '=' || next === '/' ? 2 : 1);
      default:
        return this.#bracket(c);
    }
  }

  #bracket(c: string): boolean {
    switch (c) {
      case '(':
        this.#parens++;
        return this.#emit(T.LeftParen, 1);
      case ')':
        return this.#closeParen();
      case '{':
        this.#mode = 'braces';
        return this.#emit(T.LeftBrace, 1);
      case '[':
        if (this.#mode === 'brackets') this.#fail(`unexpected left bracket ${quoteRune(c)}`);
        this.#mode = 'duration';
        this.#gotColon = false;
        this.#gotDuration = false;
        return this.#emit(T.LeftBracket, 1);
      case ']':
        if (this.#mode !== 'brackets') this.#fail(`unexpected right bracket ${quoteRune(c)}`);
        this.#mode = 'outside';
        return this.#emit(T.RightBracket, 1);
      default:
        return this.#fail(`unexpected character: ${this.#quoted(this.#at)}`);
    }
  }

  #closeParen(): true {
    // Prometheus puts this error behind the parenthesis, in whose place it stands.
    if (this.#parens === 0) this.#fail("unexpected right parenthesis ')'", this.#at + 1);
    this.#parens--;
    return this.#emit(T.RightParen, 1);
  }

  #insideDuration(): boolean {
    const text = this.#text;
    const c = text[this.#at];
    if (c === undefined) return this.#fail('unexpected end of input in duration expression');
    const code = text.charCodeAt(this.#at);
    if (isDigit(code) || (c === '.' && isDigit(text.charCodeAt(this.#at + 1)))) {
      this.#gotDuration = true;
      this.#mode = 'brackets';
      return this.#number();
    }
    if (c === ':') return this.#colon();
    if (c === ']') {
      this.#mode = 'outside';
      return this.#emit(T.RightBracket, 1);
    }
    if (c === '(') return this.#bracket(c);
    if (c === ')') return this.#closeParen();
    if ('+-*/%^,'.includes(c)) return this.#emit(SINGLE.get(c)!, 1);
    if (isLetter(code) && this.#durationWord()) {
      this.#gotDuration = true;
      return true;
    }
    return this.#fail(`unexpected character in duration expression: ${this.#quoted(this.#at)}`);
  }

  #colon(): true {
    if (!this.#gotDuration) this.#fail('unexpected colon before duration in duration expression');
    if (this.#gotColon) this.#fail("unexpected colon ':'");
    this.#gotColon = true;
    return this.#emit(T.Colon, 1);
  }

  #bracketWord(): boolean {
    if (this.#text[this.#at] === ':') return this.#colon();
    if (this.#durationWord()) return true;
    return this.#fail(`unexpected character: ${this.#quoted(this.#at)}, expected ':'`);
  }

  /** `step`, `range`, `min_of` or `max_of`. */
  #durationWord(): boolean {
    const end = this.#wordEnd(false);
    const type = T.KEYWORDS.get(this.#text.slice(this.#at, end).toLowerCase());
    if (type !== T.StepOrRange && type !== T.MinMaxOf) return false;
    return this.#emit(type, end - this.#at);
  }

  #wordEnd(colons: boolean): number {
    const text = this.#text;
    let end = this.#at;
    for (; end < text.length; end++) {
      const code = text.charCodeAt(end);
      if (!isLetter(code) && !isDigit(code) && !(colons && code === 0x3a)) break;
    }
    return end;
  }

  #word(): true {
    const end = this.#wordEnd(true);
    const word = this.#text.slice(this.#at, end);
    const keyword = T.KEYWORDS.get(word.toLowerCase());
    if (keyword !== undefined && (!FILLS.has(keyword) || this.#parenthesisFollows(end)))
      return this.#emit(keyword, word.length);
    return this.#emit(word.includes(':') ? T.MetricIdentifier : T.Identifier, word.length);
  }

  #parenthesisFollows(at: number): boolean {
    let next = at;
    while (' \t\r\n'.includes(this.#text[next] ?? '!')) next++;
    return this.#text[next] === '(';
  }

  #number(): true {
    const { kind, end } = scanNumber(this.#text, this.#at);
    if (kind === 'bad') this.#fail(`bad number or duration syntax: "${this.#text.slice(this.#at, end)}"`);
    return this.#emit(kind === 'number' ? T.NumberToken : T.DurationToken, end - this.#at);
  }

  #insideBraces(): boolean {
    const text = this.#text;
    const c = text[this.#at];
    const next = text[this.#at + 1];
    if (c === undefined) return this.#fail('unexpected end of input inside braces');
    if (isLetter(text.charCodeAt(this.#at))) return this.#emit(T.Identifier, this.#wordEnd(false) - this.#at);
    if (c === ',') return this.#emit(T.Comma, 1);
    if (c === '"' || c === "'" || c === '`') return this.#string(c);
    if (c === '=') return next === '~' ? this.#emit(T.EqualRegex, 2) : this.#emit(T.Equal, 1);
    if (c === '!' && next === '=') return this.#emit(T.NotEqual, 2);
    if (c === '!' && next === '~') return this.#emit(T.NotEqualRegex, 2);
    if (c === '!') return this.#fail(`unexpected character after '!' inside braces: ${this.#quoted(this.#at + 1)}`);
    if (c === '{') return this.#fail("unexpected left brace '{'", this.#at);
    if (c !== '}') return this.#fail(`unexpected character inside braces: ${this.#quoted(this.#at)}`);
    this.#mode = 'outside';
    return this.#emit(T.RightBrace, 1);
  }

  #string(quoteMark: string): true {
    const text = this.#text;
    let at = this.#at + 1;
    for (; text[at] !== quoteMark; at++) {
      const c = text[at];
      if (c === undefined || (c === '\n' && quoteMark !== '`')) {
        this.#fail(quoteMark === '`' ? 'unterminated raw string' : 'unterminated quoted string');
      }
      if (c === '\ufffd') this.#fail('invalid UTF-8 rune');
      if (c === '\\' && quoteMark !== '`') at = this.#escape(at + 1, quoteMark);
    }
    return this.#emit(T.StringToken, at + 1 - this.#at);
  }

  /** Checks the escape behind a backslash; returns the index of its last character. */
  #escape(at: number, quoteMark: string): number {
    const c = this.#text[at];
    if (c === undefined) this.#fail('escape sequence not terminated');
    if (c === quoteMark || 'abfnrtv\\'.includes(c)) return at;
    if (c >= '0' && c <= '7') return this.#digits(at, 3, 8, 255);
    if (c === 'x') return this.#digits(at + 1, 2, 16, 255);
    if (c === 'u') return this.#digits(at + 1, 4, 16, 0x10ffff);
    if (c === 'U') return this.#digits(at + 1, 8, 16, 0x10ffff);
    return this.#fail(`unknown escape sequence ${this.#unicode(at)}`);
  }

  #digits(from: number, count: number, base: number, max: number): number {
    let value = 0;
    for (let at = from; at < from + count; at++) {
      const c = this.#text[at];
      if (c === undefined) this.#fail('escape sequence not terminated');
      const digit = /[0-9a-fA-F]/.test(c) ? Number.parseInt(c, 16) : 16;
      if (digit >= base) this.#fail(`illegal character ${this.#unicode(at)} in escape sequence`);
      value = value * base + digit;
    }
    if (value > max || (value >= 0xd800 && value < 0xe000))
      this.#fail('escape sequence is an invalid Unicode code point');
    return from + count - 1;
  }

  /** Go's `%#U`: `U+0063 'c'`. */
  #unicode(at: number): string {
    const code = this.#text.codePointAt(at)!;
    return `U+${code.toString(16).toUpperCase().padStart(4, '0')} '${String.fromCodePoint(code)}'`;
  }
}

const FILLS: ReadonlySet<TokenType> = new Set([T.Fill, T.FillLeft, T.FillRight]);

const SINGLE: ReadonlyMap<string, TokenType> = new Map([
  [',', T.Comma],
  ['+', T.Plus],
  ['-', T.Minus],
  ['*', T.Times],
  ['/', T.Divide],
  ['%', T.Modulo],
  ['^', T.Power],
  ['@', T.AtSign],
]);
