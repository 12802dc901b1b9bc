/**
 * Go's quoted strings, as PromQL writes them.
 *
 * Go strings are bytes; an escape such as `\xff` may leave UTF-8. Such a byte becomes the lone surrogate U+DC00 + byte
 * here (as Python's surrogateescape does it), which no valid text contains.
 */

/** The value of a quoted string that the scanner accepted, its quotes included. */
export function unquote(image: string): string {
  if (image[0] === '`') return image.slice(1, -1).replaceAll('\r', '');
  const body = image.slice(1, -1);
  return body.includes('\\') ? unescapeBody(body) : body;
}

const SIMPLE: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

function unescapeBody(body: string): string {
  let text = '';
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length > 0) text += bytesToString(bytes);
    bytes = [];
  };
  for (let i = 0; i < body.length; i++) {
    const c = body[i]!;
    const escaped = c === '\\' ? readEscape(body, i + 1) : null;
    if (escaped != null && escaped.byte !== null) bytes.push(escaped.byte);
    else {
      flush();
      text += escaped === null ? c : escaped.text;
    }
    if (escaped !== null) i += escaped.length;
  }
  flush();
  return text;
}

/** One escape after its backslash: the characters it takes, and what it stands for. */
function readEscape(body: string, at: number): { length: number; text: string; byte: number | null } {
  const c = body[at]!;
  const simple = SIMPLE[c];
  if (simple !== undefined) return { length: 1, text: simple, byte: null };
  if (c >= '0' && c <= '7') return { length: 3, text: '', byte: Number.parseInt(body.slice(at, at + 3), 8) };
  if (c === 'x') return { length: 3, text: '', byte: Number.parseInt(body.slice(at + 1, at + 3), 16) };
  const digits = c === 'u' ? 4 : c === 'U' ? 8 : 0;
  if (digits === 0) return { length: 1, text: c, byte: null };
  return {
    length: digits + 1,
    text: String.fromCodePoint(Number.parseInt(body.slice(at + 1, at + 1 + digits), 16)),
    byte: null,
  };
}

/** Bytes as text: valid UTF-8 becomes characters, any other byte a lone surrogate. */
function bytesToString(bytes: readonly number[]): string {
  const buffer = Uint8Array.from(bytes);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let text = '';
  for (let i = 0; i < buffer.length; ) {
    const length = sequenceLength(buffer, i, decoder);
    text += length === 0 ? String.fromCharCode(0xdc00 + buffer[i]!) : decoder.decode(buffer.subarray(i, i + length));
    i += Math.max(1, length);
  }
  return text;
}

/** Length of the valid UTF-8 sequence at i, or 0. */
function sequenceLength(buffer: Uint8Array, i: number, decoder: InstanceType<typeof TextDecoder>): number {
  const first = buffer[i]!;
  const length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (length === 0 || i + length > buffer.length) return 0;
  try {
    decoder.decode(buffer.subarray(i, i + length));
    return length;
  } catch {
    return 0;
  }
}

/** Go's `%q` of a string. */
export function quote(value: string): string {
  let text = '"';
  for (const c of value) text += quoteCharacter(c, '"');
  return `${text}"`;
}

/** Go's `%q` of a character. */
export function quoteRune(c: string): string {
  return `'${quoteCharacter(c, "'")}'`;
}

const NAMED: ReadonlyMap<string, string> = new Map([
  ['\x07', '\\a'],
  ['\b', '\\b'],
  ['\f', '\\f'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\v', '\\v'],
  ['\\', '\\\\'],
]);

function quoteCharacter(c: string, quoteMark: string): string {
  if (c === quoteMark) return `\\${c}`;
  const named = NAMED.get(c);
  if (named !== undefined) return named;
  const code = c.codePointAt(0)!;
  if (code >= 0xdc00 && code < 0xdd00) return `\\x${hex(code - 0xdc00, 2)}`;
  if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
  if (code < 0x7f || /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(c)) return c;
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}
