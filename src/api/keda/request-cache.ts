/** What requests say, kept by their bytes: bounded by entries, and by the bytes of all of them. */
import { LRUCache } from 'lru-cache';
import { LIMITS } from '../../model/limits.ts';

/** What an entry costs beside its bytes, about: the strings and objects that were made of them. */
const ENTRY_BYTES = 1024;

export class RequestCache<T extends object> {
  readonly #read: (request: Uint8Array) => T;
  readonly #known = new LRUCache<string, T>({
    max: LIMITS.kedaRequestCacheEntriesMax,
    maxSize: LIMITS.kedaRequestCacheBytesMax,
    sizeCalculation: (_, key) => ENTRY_BYTES + 2 * key.length,
  });

  constructor(read: (request: Uint8Array) => T) {
    this.#read = read;
  }

  /** Throws what reading throws. */
  get(request: Uint8Array): T {
    const key = Buffer.from(request.buffer, request.byteOffset, request.length).toString('latin1');
    let known = this.#known.get(key);
    if (known === undefined) {
      known = this.#read(request);
      this.#known.set(key, known);
    }
    return known;
  }
}
