/**
 * Queries of rules as they were filled in for a request, kept for the next of the same: an HPA asks the same question every
 * fifteen seconds, and a template costs more than the answer.
 */
import { LRUCache } from 'lru-cache';
import { LIMITS } from '../../../model/limits.ts';
import type { Rule } from './rules.ts';

/** What a query is made of besides its rule; `request` holds everything else that goes into it. */
export interface FilledFor {
  readonly rule: Rule;
  readonly series: string;
  readonly request: string;
}

export class FilledQueries {
  readonly #queries = new LRUCache<string, { readonly rule: Rule; readonly promql: string }>({
    max: LIMITS.adapterQueriesMax,
    maxSize: LIMITS.adapterQueriesBytesMax,
    sizeCalculation: ({ promql }, key) => 2 * (promql.length + key.length),
  });

  /** PromQL, made if it is not known; a rule that was read again is another rule. */
  promql({ rule, series, request }: FilledFor, make: () => string): string {
    const key = `${series}\uffff${request}`;
    const known = this.#queries.get(key);
    if (known?.rule === rule) return known.promql;
    const promql = make();
    this.#queries.set(key, { rule, promql });
    return promql;
  }
}
