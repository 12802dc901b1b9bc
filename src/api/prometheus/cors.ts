/** Which pages of other origins a browser may let read our replies. */
import { compileRegex, type ValuePredicate } from '../../model/matcher.ts';

export interface CorsOrigins {
  readonly any: boolean;
  readonly matches: ValuePredicate;
}

/** From a regular expression that an origin must match as a whole; `.*` is any. Throws `bad_data`. */
export function corsOrigins(pattern: string): CorsOrigins {
  return { any: pattern === '.*', matches: compileRegex(pattern) };
}

/** What `Access-Control-Allow-Origin` says, or null. */
export function originAllowed(origins: CorsOrigins | undefined, origin: string): string | null {
  if (origins === undefined || origins.any) return '*';
  return origins.matches(origin) ? origin : null;
}
