/**
 * Warnings and infos that travel with a result. Both are sets keyed by their text without the position; the last one
 * added decides the position (reference section 11).
 */
import type { Span } from './syntax/ast.ts';
import { position } from './syntax/parse.ts';

export class Annotations {
  readonly #query: string;
  readonly #warnings = new Map<string, string>();
  readonly #infos = new Map<string, string>();

  /** The text of the query, for line and column. */
  constructor(query: string) {
    this.#query = query;
  }

  warn(message: string, span: Span | null): void {
    this.#warnings.set(message, this.#complete('PromQL warning', message, span));
  }

  info(message: string, span: Span | null): void {
    this.#infos.set(message, this.#complete('PromQL info', message, span));
  }

  get warnings(): readonly string[] {
    return [...this.#warnings.values()];
  }

  get infos(): readonly string[] {
    return [...this.#infos.values()];
  }

  #complete(kind: string, message: string, span: Span | null): string {
    return span === null ? `${kind}: ${message}` : `${kind}: ${message} (${position(this.#query, span.start)})`;
  }
}

/** ` for metric name "x"`, or nothing if no name is known. */
export function forMetric(name: string): string {
  return name === '' ? '' : ` for metric name "${name}"`;
}
