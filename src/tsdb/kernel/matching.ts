/**
 * Matchers into bitmaps. A matcher is resolved into the pairs of its name that it accepts, or, where it also accepts
 * series without the label, into those that it rejects; then all is OR, AND and AND NOT in the kernel.
 */
import { LRUCache } from 'lru-cache';
import { LIMITS } from '../../model/limits.ts';
import { compileMatcher, type Matcher, matcherLiterals, type ValuePredicate } from '../../model/matcher.ts';
import { NAMESPACE_LABELS, type Scope } from '../../model/scope.ts';
import type { Kernel } from './kernel.ts';
import type { LabelTexts } from './label-text.ts';
import {
  NAME_BYTES,
  NAME_EPOCH,
  NAME_LENGTH,
  PAIR_COUNT,
  SB_COLUMN_BYTES,
  SB_COLUMNS,
  SB_ID_MAX,
  SB_IDS,
  SB_NAME_NEXT,
  SB_NAMES,
} from './layout.ts';
import { newWords, setWords } from './words.ts';

/** The bitmap that a match leaves its result in, and the others. */
export const RESULT = 0;
const OPERAND = 1;
const SEEN = 2;
const UNDECIDED = 3;
const NAMESPACED = 4;

/** Pairs that cached regular expressions may hold together. */
const CACHED_PAIRS_MAX = 4_000_000;
const BATCH = 8192;
/** Twice the number of values that are asked between two pauses, and what one of them weighs beside a series. */
const SCANNED_AT_ONCE = 512;
const VALUE_WORK = 32;
/** Tries in slices before a name whose values change all the time is scanned at once. */
const SCAN_ATTEMPTS = 3;

/** What a matcher comes to. `pairs` null: all pairs of the name. */
interface Resolved {
  readonly name: number;
  /** Series without the label are accepted, and `pairs` are those that are not. */
  readonly rejects: boolean;
  readonly pairs: Uint32Array | null;
}

/** A regular expression over the values of a name. */
interface Scan {
  readonly name: number;
  readonly positive: Matcher;
  readonly acceptsEmpty: boolean;
}

interface CachedPairs {
  readonly epoch: number;
  readonly pairs: Uint32Array;
}

export class Matching {
  readonly #kernel: Kernel;
  readonly #texts: LabelTexts;
  readonly #cache = new LRUCache<string, CachedPairs>({
    max: LIMITS.matcherCacheEntriesMax,
    maxSize: CACHED_PAIRS_MAX,
    sizeCalculation: (entry) => entry.pairs.length + 1,
  });

  /** Compiled regular expressions. */
  readonly #predicates = new LRUCache<string, ValuePredicate>({ max: LIMITS.matcherCacheEntriesMax });

  constructor(kernel: Kernel, texts: LabelTexts) {
    this.#kernel = kernel;
    this.#texts = texts;
  }

  /**
   * Runs the regular expressions of matchers over the values of their labels in slices, ahead of `match`, which then finds
   * what they accept. Names that get new values all the while are left to `match` in the end.
   */
  *prepare(matchers: readonly Matcher[]): Generator<number, void> {
    for (const matcher of matchers) {
      const scan = this.#scanOf(matcher);
      if (scan === null || this.#cached(scan) !== null) continue;
      for (let attempt = 0; attempt < SCAN_ATTEMPTS; attempt++) if (yield* this.#scanSlowly(scan)) break;
    }
  }

  /** Sets the bits of all series that fulfil the matchers within the scope; false if there can be none. */
  match(matchers: readonly Matcher[], scope: Scope): boolean {
    const kernel = this.#kernel;
    kernel.selectBegin();
    const resolved = matchers.map((matcher) => this.#resolve(matcher)).sort((a, b) => this.#cost(a) - this.#cost(b));
    if (resolved.every((one) => one.rejects)) kernel.bitmapFill(RESULT, 0xff);
    let first = true;
    for (const one of resolved) {
      if (!this.#apply(one, first)) return false;
      first &&= one.rejects;
    }
    return scope === null || this.#applyScope(scope);
  }

  /** Ids of all label names in use. */
  names(): number[] {
    const { u32 } = this.#kernel;
    const names: number[] = [];
    for (let name = 1; name < u32[SB_NAME_NEXT >>> 2]!; name++) {
      if (u32[(u32[SB_NAMES >>> 2]! + name * NAME_BYTES + NAME_LENGTH) >>> 2] !== 0) names.push(name);
    }
    return names;
  }

  /** Calls back with each pair of a name and its blob. The callback must not use the kernel's columns. */
  forPairs(name: number, each: (pair: number, blob: number) => void): void {
    const { u32 } = this.#kernel;
    const out = u32[SB_COLUMNS >>> 2]!;
    const batch = Math.min(BATCH, u32[SB_COLUMN_BYTES >>> 2]! >>> 3);
    for (let after = 0, count = batch; count === batch; ) {
      count = this.#kernel.pairsOf(name, after, out, batch);
      const pairs = u32.slice(out >>> 2, (out >>> 2) + count);
      const blobs = u32.slice((out >>> 2) + batch, (out >>> 2) + batch + count);
      for (let i = 0; i < count; i++) each(pairs[i]!, blobs[i]!);
      if (count > 0) after = pairs[count - 1]!;
    }
  }

  #resolve(matcher: Matcher): Resolved {
    const name = this.#texts.findName(matcher.name);
    const negated = matcher.type === '!=' || matcher.type === '!~';
    const positive: Matcher = negated ? { ...matcher, type: matcher.type === '!=' ? '=' : '=~' } : matcher;
    const literals = matcherLiterals(positive);
    const acceptsEmpty = literals === null ? this.#predicate(positive)('') : literals.includes('');
    const rejects = acceptsEmpty !== negated;
    if (name === 0) return { name, rejects, pairs: EMPTY };
    if (literals !== null && !acceptsEmpty) return { name, rejects, pairs: this.#literalPairs(matcher.name, literals) };
    if (literals?.length === 1) return { name, rejects, pairs: null };
    if (matcher.value === '.+') return { name, rejects, pairs: null };
    if (matcher.value === '.*') return { name, rejects, pairs: EMPTY };
    return { name, rejects, pairs: this.#scan({ name, positive, acceptsEmpty }) };
  }

  /** What is to be asked of each value of a label, or null if `match` comes by without. */
  #scanOf(matcher: Matcher): Scan | null {
    if (matcher.type !== '=~' && matcher.type !== '!~') return null;
    const name = this.#texts.findName(matcher.name);
    const positive: Matcher = { ...matcher, type: '=~' };
    if (name === 0 || matcher.value === '.+' || matcher.value === '.*' || matcherLiterals(positive) !== null)
      return null;
    return { name, positive, acceptsEmpty: this.#predicate(positive)('') };
  }

  /** One go over all values as they are now; false if there are others in the end. */
  *#scanSlowly({ name, positive, acceptsEmpty }: Scan): Generator<number, boolean> {
    const epoch = this.#epoch(name);
    const holds = this.#predicate(positive);
    const all: number[] = [];
    this.forPairs(name, (pair, blob) => all.push(pair, blob));
    const found: number[] = [];
    for (let i = 0; i < all.length; i += 2) {
      if (i % SCANNED_AT_ONCE === 0 && i > 0) {
        yield SCANNED_AT_ONCE * VALUE_WORK;
        if (this.#epoch(name) !== epoch) return false;
      }
      if (holds(this.#texts.valueText(all[i + 1]!)) !== acceptsEmpty) found.push(all[i]!);
    }
    this.#cache.set(`${name} ${positive.value}`, { epoch, pairs: Uint32Array.from(found) });
    return true;
  }

  #epoch(name: number): number {
    const { u32 } = this.#kernel;
    return u32[(u32[SB_NAMES >>> 2]! + name * NAME_BYTES + NAME_EPOCH) >>> 2]!;
  }

  #cached({ name, positive }: Scan): Uint32Array | null {
    const known = this.#cache.get(`${name} ${positive.value}`);
    return known !== undefined && known.epoch === this.#epoch(name) ? known.pairs : null;
  }

  #predicate(matcher: Matcher): ValuePredicate {
    const known = this.#predicates.get(matcher.value);
    if (known !== undefined) return known;
    const predicate = compileMatcher(matcher);
    this.#predicates.set(matcher.value, predicate);
    return predicate;
  }

  #literalPairs(name: string, literals: readonly string[]): Uint32Array {
    if (literals.length === 1) {
      const pair = this.#texts.findPair(name, literals[0]!);
      return pair === 0 ? EMPTY : newWords(1).fill(pair);
    }
    const pairs = [...new Set(literals)].map((value) => this.#texts.findPair(name, value));
    return Uint32Array.from(pairs.filter((pair) => pair !== 0));
  }

  /**
   * Pairs of a name whose values an expression accepts, or, if it accepts '', those that it does not: the set that is
   * needed for either polarity of the matcher.
   */
  #scan(scan: Scan): Uint32Array {
    const known = this.#cached(scan);
    if (known !== null) return known;
    const { name, positive, acceptsEmpty } = scan;
    const holds = this.#predicate(positive);
    const found: number[] = [];
    this.forPairs(name, (pair, blob) => {
      if (holds(this.#texts.valueText(blob)) !== acceptsEmpty) found.push(pair);
    });
    const pairs = Uint32Array.from(found);
    this.#cache.set(`${name} ${positive.value}`, { epoch: this.#epoch(name), pairs });
    return pairs;
  }

  /** Narrow lists first; what only takes away comes last. */
  #cost({ rejects, pairs, name }: Resolved): number {
    if (rejects) return Infinity;
    if (pairs === null) return name === 0 ? 0 : Number.MAX_VALUE;
    let cost = 0;
    for (const pair of pairs) cost += this.#kernel.u32[(pair + PAIR_COUNT) >>> 2]!;
    return cost;
  }

  #apply({ name, rejects, pairs }: Resolved, first: boolean): boolean {
    const kernel = this.#kernel;
    if (name === 0 || pairs?.length === 0) return rejects;
    const into = first && !rejects ? RESULT : OPERAND;
    kernel.bitmapFill(into, 0);
    this.#or(into, name, pairs);
    if (rejects) kernel.bitmapAndNot(RESULT, OPERAND);
    else if (!first) kernel.bitmapAnd(RESULT, OPERAND);
    return kernel.bitmapNarrow(RESULT) !== 0;
  }

  #or(slot: number, name: number, pairs: Uint32Array | null): void {
    const { u32 } = this.#kernel;
    if (pairs === null) {
      this.#kernel.bitmapOrName(slot, name);
      return;
    }
    const list = u32[SB_IDS >>> 2]!;
    const batch = u32[SB_ID_MAX >>> 2]!;
    for (let from = 0; from < pairs.length; from += batch) {
      const part = pairs.subarray(from, from + batch);
      setWords(u32, list >>> 2, part);
      this.#kernel.bitmapOrPairs(slot, list, part.length);
    }
  }

  /** Keeps series whose namespace is in the scope: the first namespace label that a series carries decides. */
  #applyScope(scope: readonly string[]): boolean {
    const kernel = this.#kernel;
    kernel.bitmapFill(SEEN, 0);
    kernel.bitmapFill(UNDECIDED, 0xff);
    for (const label of NAMESPACE_LABELS) {
      const name = this.#texts.findName(label);
      if (name === 0) continue;
      kernel.bitmapFill(NAMESPACED, 0);
      this.#or(NAMESPACED, name, this.#literalPairs(label, scope));
      kernel.bitmapAnd(NAMESPACED, UNDECIDED);
      kernel.bitmapOr(SEEN, NAMESPACED);
      kernel.bitmapFill(NAMESPACED, 0);
      kernel.bitmapOrName(NAMESPACED, name);
      kernel.bitmapAndNot(UNDECIDED, NAMESPACED);
    }
    kernel.bitmapAnd(RESULT, SEEN);
    return kernel.bitmapNarrow(RESULT) !== 0;
  }
}

const EMPTY = new Uint32Array(0);
