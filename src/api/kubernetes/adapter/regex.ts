/** Regular expressions as the adapter uses them: RE2, not anchored, and Go's way of filling in groups. */
import { RE2JS } from 're2js';

export interface Regex {
  readonly groupCount: number;
  matches(text: string): boolean;
  /** Groups of the first match by number, or null; and by name. */
  find(text: string): Groups | null;
}

export interface Groups {
  readonly byNumber: readonly string[];
  readonly byName: Readonly<Record<string, string>>;
}

/** Throws an Error with Go's message: `error parsing regexp: …`. */
export function compileRegex(pattern: string): Regex {
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new Error(detail.startsWith('error parsing regexp') ? detail : `error parsing regexp: ${detail}`, { cause });
  }
  const names = compiled.namedGroups() as Readonly<Record<string, number>>;
  return {
    groupCount: compiled.groupCount(),
    matches: (text) => compiled.matcher(text).find(),
    find(text) {
      const matcher = compiled.matcher(text);
      if (!matcher.find()) return null;
      const byNumber = Array.from({ length: compiled.groupCount() + 1 }, (_, i) => matcher.group(i) ?? '');
      const byName = Object.fromEntries(Object.entries(names).map(([name, i]) => [name, byNumber[i] ?? '']));
      return { byNumber, byName };
    },
  };
}

/**
 * Fills in `$name`, `${name}` and `$$`. A name is as long as it can be; unknown ones are empty; what is malformed stays.
 * Source: Go, regexp.Regexp.Expand.
 */
export function expandTemplate(template: string, groups: Groups): string {
  return template.replace(/\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})/g, (all, plain?: string, braced?: string) => {
    if (all === '$$') return '$';
    const name = plain ?? braced!;
    return (/^\d+$/.test(name) ? groups.byNumber[Number(name)] : groups.byName[name]) ?? '';
  });
}
