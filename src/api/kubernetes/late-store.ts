/**
 * The store as this surface knows it, which may come later than the port: a cluster whose discovery fails cannot delete namespaces,
 * however long it takes to read what was stored. Until it is there, nothing is asked of it.
 */
import type { QueryEngine } from '../../promql/engine.ts';
import type { Readings } from '../../scaling/reading.ts';
import type { SeriesIndex } from './adapter/catalog.ts';
import { StatusError } from './status.ts';

export interface StoreParts {
  readonly readings: Pick<Readings, 'read' | 'readList'>;
  readonly engine: Pick<QueryEngine, 'selectors'>;
  readonly index?: SeriesIndex;
  /** False until every surface listens, and again while stopping. */
  readonly isReady: () => boolean;
}

export class LateStore {
  #parts: StoreParts | null = null;

  get isThere(): boolean {
    return this.#parts !== null;
  }

  take(parts: StoreParts): void {
    this.#parts = parts;
  }

  isReady(): boolean {
    return this.#parts?.isReady() ?? false;
  }

  readonly readings: StoreParts['readings'] = {
    read: async (request) => this.#readings.read(request),
    readList: async (request, options) => this.#readings.readList(request, options),
  };

  readonly index: SeriesIndex = {
    metricNames: (matchers) => this.#parts?.index?.metricNames(matchers) ?? [],
    labelNames: (matchers) => this.#parts?.index?.labelNames(matchers) ?? [],
    version: () => this.#parts?.index?.version() ?? -1,
  };

  get #readings(): StoreParts['readings'] {
    if (this.#parts === null) throw starting();
    return this.#parts.readings;
  }
}

export function starting(): StatusError {
  return new StatusError(503, 'ServiceUnavailable', 'the daemon is starting: what was stored is being read');
}
