/**
 * A short list whose members come and go thousands of times a second.
 *
 * Not a Set: V8 replaces the table of a small one at nearly every removal, and each table points to the next. Once one of
 * them is old, all that follow, and whatever they point to, outlive every scavenge until the next full collection. Under
 * 3,000 questions a second that was nine tenths of the heap.
 */
export class ChurnList<T> {
  /** In the order in which they were added. */
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    this.#items.push(item);
  }

  /** False if it is not in the list. */
  delete(item: T): boolean {
    // What came last mostly goes first.
    const at = this.#items.lastIndexOf(item);
    if (at < 0) return false;
    this.#items.copyWithin(at, at + 1);
    this.#items.pop();
    return true;
  }

  /** Takes all of them out. */
  takeAll(): T[] {
    return this.#items.splice(0);
  }

  /** The first one, or null. */
  get first(): T | null {
    return this.#items[0] ?? null;
  }
}
