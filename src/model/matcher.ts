/**
 * Label matchers. Regular expressions are RE2 (linear time, anchored, `.` matches a newline), never JavaScript's own:
 * a matcher comes from whoever may query. Common shapes (literal, alternation of literals, prefix, suffix, contains)
 * need no engine at all.
 */
import { RE2JS } from 're2js';
import { CodedError } from './errors.ts';

export type MatchType = '=' | '!=' | '=~' | '!~';

export interface Matcher {
  readonly type: MatchType;
  readonly name: string;
  readonly value: string;
}

/** A compiled matcher: says whether a label value (absent is '') fulfils it. */
export type ValuePredicate = (value: string) => boolean;

/** Compiles a matcher. Throws `bad_data` for an invalid regular expression. */
export function compileMatcher(matcher: Matcher): ValuePredicate {
  const { type, value: wanted } = matcher;
  if (type === '=') return (value) => value === wanted;
  if (type === '!=') return (value) => value !== wanted;
  const matches = compileRegex(wanted);
  return type === '=~' ? matches : (value) => !matches(value);
}

/** The strings that `=` or an alternation of literals asks for, or null where only a predicate will do. */
export function matcherLiterals(matcher: Matcher): readonly string[] | null {
  if (matcher.type === '=') return [matcher.value];
  if (matcher.type === '=~') return literalAlternatives(matcher.value);
  return null;
}

/** True if the matcher accepts the empty string, and so also series without the label. */
export function matchesEmpty(matcher: Matcher): boolean {
  return compileMatcher(matcher)('');
}

/** Compiles an anchored RE2 expression, by a fast path where its shape allows. Throws `bad_data` if it is invalid. */
export function compileRegex(pattern: string): ValuePredicate {
  const literals = literalAlternatives(pattern);
  if (literals !== null) {
    if (literals.length === 1) return (value) => value === literals[0];
    const set = new Set(literals);
    return (value) => set.has(value);
  }
  const shape = /^(\.[*+])?((?:[^\\.+*?()|[\]{}^$])*)(\.[*+])?$/s.exec(pattern);
  if (shape !== null) return compileAffix(shape[1] ?? '', shape[2] ?? '', shape[3] ?? '');
  const compiled = compileRe2(pattern);
  return (value) => compiled.matches(value);
}

/** The RE2 engine itself, anchored by `matches()`; also used by label functions that need groups. */
export function compileRe2(pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern, RE2JS.DOTALL);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError(
      'bad_data',
      detail.startsWith('error parsing regexp') ? detail : `error parsing regexp: ${detail}`,
      { cause },
    );
  }
}

/** `.*x.*` and its relatives: `before` and `after` are '', '.*' or '.+'. */
function compileAffix(before: string, text: string, after: string): ValuePredicate {
  const min = text.length + (before === '.+' ? 1 : 0) + (after === '.+' ? 1 : 0);
  if (before === '' && after === '') return (value) => value === text;
  if (before === '') return (value) => value.length >= min && value.startsWith(text);
  if (after === '') return (value) => value.length >= min && value.endsWith(text);
  if (text === '') return (value) => value.length >= min;
  const from = before === '.+' ? 1 : 0;
  const tail = after === '.+' ? 1 : 0;
  return (value) => {
    const at = value.indexOf(text, from);
    return at >= 0 && at + text.length + tail <= value.length;
  };
}

/** `a|b|c` without any operator, or null. A group around the whole is looked through. */
function literalAlternatives(pattern: string): readonly string[] | null {
  const inner = /^\((?:\?:)?([^()]*)\)$/s.exec(pattern)?.[1] ?? pattern;
  return /[\\.+*?()[\]{}^$]/.test(inner) ? null : inner.split('|');
}
