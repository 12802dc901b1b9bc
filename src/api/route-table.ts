/** Which methods each routed path takes: fastify itself only knows whether one method of a path is routed. */

interface Route {
  /** Segments of the path; null stands for a parameter. */
  readonly segments: readonly (string | null)[];
  /** The pattern ends in `*`, which takes any rest. */
  readonly open: boolean;
  readonly methods: readonly string[];
}

export class RouteTable {
  readonly #routes: Route[] = [];

  /** Adds a route by fastify's pattern: `/label/:name/values`, `/files/*`. */
  add(pattern: string, methods: readonly string[]): void {
    const open = pattern.endsWith('*');
    const segments = (open ? pattern.slice(0, -1).replace(/\/$/, '') : pattern).split('/');
    this.#routes.push({
      segments: segments.map((segment) => (segment.startsWith(':') ? null : segment)),
      open,
      methods,
    });
  }

  /** Methods of all routes that fit a request's URL, sorted; none if the path is unknown. */
  methodsOf(url: string): readonly string[] {
    const segments = url.replace(/[?#].*$/s, '').split('/');
    const methods = new Set<string>();
    for (const route of this.#routes)
      if (fits(route, segments)) for (const method of route.methods) methods.add(method);
    return [...methods].sort();
  }
}

function fits({ segments: wanted, open }: Route, segments: readonly string[]): boolean {
  if (open ? segments.length <= wanted.length : segments.length !== wanted.length) return false;
  return wanted.every((segment, i) => segment === null || segment === segments[i]);
}
