/** Compares an answer with what a case expects: only the listed fields, and the matchers that begin with `$`. */

type Matcher = (want: unknown, got: unknown, path: string) => string | null;

/** Why it does not match, or null. A field that is missing is `undefined`. */
export function mismatch(want: unknown, got: unknown, path = ''): string | null {
  if (Array.isArray(want)) return mismatchOfList(want, got, path);
  if (typeof want !== 'object' || want === null) return Object.is(want, got) ? null : differ(want, got, path);
  const matchers = Object.keys(want).filter((key) => key.startsWith('$'));
  for (const name of matchers) {
    const matcher = MATCHERS[name];
    if (matcher === undefined) return `${path}: no such matcher: ${name}`;
    const fault = matcher((want as Readonly<Record<string, unknown>>)[name], got, path);
    if (fault !== null) return fault;
  }
  if (matchers.length > 0) return null;
  if (typeof got !== 'object' || got === null || Array.isArray(got)) return differ(want, got, path);
  for (const [key, value] of Object.entries(want)) {
    const fault = mismatch(value, (got as Readonly<Record<string, unknown>>)[key], `${path}.${key}`);
    if (fault !== null) return fault;
  }
  return null;
}

function mismatchOfList(want: readonly unknown[], got: unknown, path: string): string | null {
  if (!Array.isArray(got) || got.length !== want.length) return differ(want, got, path);
  for (const [i, item] of want.entries()) {
    const fault = mismatch(item, got[i], `${path}[${i}]`);
    if (fault !== null) return fault;
  }
  return null;
}

const MATCHERS: Readonly<Record<string, Matcher>> = {
  $any: (_, got, path) => (got === undefined ? `${path}: is missing` : null),
  $absent: (_, got, path) => (got === undefined ? null : `${path}: is there: ${text(got)}`),
  $absentOrEmpty: (_, got, path) =>
    got === undefined || got === null || got === '' ? null : `${path}: is there: ${text(got)}`,
  $regex: (want, got, path) =>
    typeof got === 'string' && new RegExp(want as string).test(got) ? null : differ(want, got, path),
  $unordered: (want, got, path) => {
    const items = [...listOf(got)];
    if (!Array.isArray(want) || items.length !== want.length) return differ(want, got, path);
    for (const wanted of want) {
      const at = items.findIndex((item) => mismatch(wanted, item) === null);
      if (at < 0) return `${path}: ${text(wanted)} is not in ${text(got)}`;
      items.splice(at, 1);
    }
    return null;
  },
  $contains: (want, got, path) => {
    for (const wanted of listOf(want)) {
      const faults = listOf(got).map((item) => mismatch(wanted, item, path));
      if (!faults.includes(null))
        return `${path}: ${text(wanted)} is not in ${text(got)}; ${faults[0] ?? 'it is empty'}`;
    }
    return null;
  },
  $excludes: (want, got, path) => {
    const found = listOf(got).find((item) => listOf(want).some((wanted) => mismatch(wanted, item) === null));
    return found === undefined ? null : `${path}: ${text(found)} is in ${text(got)}`;
  },
  $each: (want, got, path) => {
    for (const [i, item] of listOf(got).entries()) {
      const fault = mismatch(want, item, `${path}[${i}]`);
      if (fault !== null) return fault;
    }
    return null;
  },
  $length: (want, got, path) => (listOf(got).length === want && Array.isArray(got) ? null : differ(want, got, path)),
  $minLength: (want, got, path) => (listOf(got).length >= (want as number) ? null : differ(want, got, path)),
  $uniqueBy: (want, got, path) => {
    const values = listOf(got).map((item) => (item as Readonly<Record<string, unknown>>)[want as string]);
    return new Set(values).size === values.length ? null : `${path}: ${want} is not unique: ${text(values)}`;
  },
  $sameScopePerParent: (_, got, path) => {
    const scopes = new Map<string, boolean>();
    for (const { name, namespaced } of listOf(got) as { name: string; namespaced: boolean }[]) {
      const parent = name.split('/')[0]!;
      if ((scopes.get(parent) ?? namespaced) !== namespaced) return `${path}: ${parent} has two scopes`;
      scopes.set(parent, namespaced);
    }
    return null;
  },
};

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function differ(want: unknown, got: unknown, path: string): string {
  return `${path}: got ${text(got)}, want ${text(want)}`;
}

function text(value: unknown): string {
  const written = JSON.stringify(value) ?? 'nothing';
  return written.length > 600 ? `${written.slice(0, 600)}…` : written;
}
