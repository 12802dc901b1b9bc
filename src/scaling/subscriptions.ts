/**
 * Subscriptions: who wants to hear at once when a question becomes true. A question is evaluated when samples of series
 * that it reads come in: its first change at once, further ones at most every 10 ms, and at longer intervals when the
 * work for all of them takes more than a tenth of the time. So nobody waits for what others hear.
 *
 *     write ─ wake() ─ series touched, new series with all its labels ─ questions concerned ─ those whose interval is
 *     over, the others when it is ─ evaluate, a few at a time ─ rising edge ─ tell
 *                                     repeats while active: 1, 2, 4 … 30 s after the edge, each evaluated anew
 *
 * Questions that change by the passing of time alone, that read very many series, or whose metrics cannot be told from
 * their matchers are evaluated each second. Nobody is ever told that a question became false.
 */
import type { Clock } from '../model/clock.ts';
import { METRIC_NAME } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import type { Scope } from '../model/scope.ts';
import type { Timers } from '../model/timers.ts';
import type { Registry } from '../telemetry/registry.ts';
import type { Selection, SelectRequest, SeriesRef } from '../tsdb/head.ts';

/** What a head offers to those who listen. */
export interface TouchableHead {
  select(request: SelectRequest): Selection;
  subscribe(ref: SeriesRef, isSubscribed: boolean): void;
  generation(ref: SeriesRef): number;
  /** Subscribed series that got samples since the last call, or null if there were more than could be noted. */
  takeTouched(): readonly SeriesRef[] | null;
  /** Series ever created. */
  readonly seriesCreated: number;
  /** Series ever created and ever removed. */
  seriesVersion(): number;
  /** Series with this label now. */
  seriesOfLabel(name: string, value: string): number;
}

export interface SubscriptionRequest {
  /** What the question reads; looked up anew when a metric gets new series. */
  readonly selectors: () => readonly (readonly Matcher[])[];
  readonly scope: Scope;
  /** True if the answer may change though no sample comes. */
  readonly ticks: boolean;
  /** Whether the question is true now; no answer counts as no. */
  readonly evaluate: () => Promise<boolean>;
  /** Tells the subscriber that the question is true. */
  readonly tell: () => void;
}

export interface SubscriptionsOptions {
  readonly head: TouchableHead;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly registry: Registry;
  /** Longest time between two repeats. */
  readonly repeatMsMax?: number;
}

/** Evaluations that are begun before the event loop turns: about a millisecond of work. */
const EVALUATIONS_PER_TURN = 16;
const INTERVAL_MS_MIN = 10;
const INTERVAL_MS_MAX = 100;
const WORK_SHARE_MAX = 0.1;
/** A look for new series that a collection held up says little about the next one. */
const LOOKS_AVERAGED = 8;
const REPEAT_MS_MIN = 1000;
const TICK_MS = 1000;
const TICKING_SERIES_MIN = 1000;
/** Above so many subscriptions without a fixed name, new series are looked for each second only. */
const NAMELESS_AT_ONCE_MAX = 100;
/** Each subscription looks up its series anew after so many ticks, whatever it heard meanwhile. */
const RESOLVE_TICKS = 60;

/** A selector, as far as new series are told by it, and how many series there were with each of its labels. */
interface Watch {
  readonly name: string;
  /** Series removed by then: from the next one on, the numbers say nothing. */
  readonly removed: number;
  /** Labels that every series of it has; the name is one of them. */
  readonly labels: readonly { readonly name: string; readonly value: string; readonly series: number }[];
}

interface Subscription {
  readonly number: number;
  readonly request: SubscriptionRequest;
  refs: readonly SeriesRef[];
  watches: readonly Watch[];
  /** Metric names that its selectors fix; null if one of them fixes none. */
  names: readonly string[] | null;
  /** Evaluated each second, too. */
  ticks: boolean;
  isActive: boolean;
  isClosed: boolean;
  /** An evaluation is under way; what comes meanwhile makes another. */
  isBusy: boolean;
  isDirty: boolean;
  /** There may be new series of it. */
  isStale: boolean;
  /** When its last evaluation because of a write was begun, in monotonic time. */
  evaluatedMs: number;
  repeatMs: number;
  cancelRepeat: (() => void) | null;
}

interface Watched {
  readonly subscriptions: Set<Subscription>;
  series: number;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #repeatMsMax: number;
  readonly #all = new Set<Subscription>();
  /** Who reads a series, and which life of it. */
  readonly #byRef = new Map<SeriesRef, { readonly generation: number; readonly readers: Set<Subscription> }>();
  readonly #byName = new Map<string, Watched>();
  /** Subscriptions without a fixed name: any new series may be theirs. */
  readonly #nameless = new Set<Subscription>();
  readonly #told: { value: number };
  #seriesCreated = 0;
  /** Series removed by the last look for new ones: the numbers of series by name are of then. */
  #removedByLook = 0;
  #subscribed = 0;
  #ticks = 0;
  /** What writes may have changed and is not evaluated yet, in the order in which it is due. */
  readonly #due = new Set<Subscription>();
  /** A look at what was written is planned for the next turn of the event loop. */
  #isWoken = false;
  /** The look that is planned for later, because somebody's interval is not over. */
  #later: { readonly atMs: number; readonly cancel: () => void } | null = null;
  /** What a look for new series takes of late. */
  #lookMs = 0;
  /** When new series may be looked for again: what that takes is a tenth of the time, too. */
  #nextLookMs = -Infinity;
  #intervalMs = INTERVAL_MS_MIN;
  /** When the interval was last set, and the work since. */
  #pacedMs = -Infinity;
  #workMs = 0;
  #cancelTick: (() => void) | null = null;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#repeatMsMax = options.repeatMsMax ?? LIMITS.pushRepeatMsMax;
    const { registry } = options;
    registry.computed('gauge', 'tidegauge_push_subscriptions', 'Open push streams of autoscalers.', () => this.size);
    registry.computed('gauge', 'tidegauge_push_series', 'Series that open push streams read.', () => this.#byRef.size);
    this.#told = registry
      .counter('tidegauge_push_messages_total', 'Messages to push streams: a trigger is active.')
      .with();
  }

  get size(): number {
    return this.#all.size;
  }

  /** Evaluates at once, and then on every write that may matter. Returns what ends it. */
  subscribe(request: SubscriptionRequest): () => void {
    const subscription: Subscription = {
      number: this.#subscribed++,
      request,
      refs: [],
      watches: [],
      names: [],
      ticks: request.ticks,
      isActive: false,
      isClosed: false,
      isBusy: false,
      isDirty: false,
      isStale: false,
      evaluatedMs: -Infinity,
      repeatMs: REPEAT_MS_MIN,
      cancelRepeat: null,
    };
    if (this.#all.size === 0) {
      // Nobody listened: what was touched before concerns nobody.
      this.#options.head.takeTouched();
      this.#seriesCreated = this.#options.head.seriesCreated;
    }
    this.#all.add(subscription);
    this.#resolve(subscription);
    this.#evaluate(subscription);
    this.#tick();
    return () => this.#close(subscription);
  }

  /** To be called after every write. Cheap, and does nothing else while nobody listens. */
  wake(): void {
    if (this.#all.size === 0 || this.#isWoken) return;
    this.#isWoken = true;
    this.#options.timers.after(0, () => this.#look());
  }

  /** Finds the series that a question reads now, and says so to the head. */
  #resolve(subscription: Subscription): void {
    const { head } = this.#options;
    const selectors = subscription.request.selectors();
    const refs = new Set<SeriesRef>();
    const watches = selectors.map((matchers) => this.#watchOf(matchers)).filter((one) => one !== null);
    const names = new Set(watches.map(({ name }) => name));
    const isNamed = selectors.length > 0 && watches.length === selectors.length;
    for (const matchers of selectors) this.#collect(matchers, subscription.request.scope, refs);
    const reads = refs.size > TICKING_SERIES_MIN ? [] : [...refs];
    this.#forget(subscription);
    subscription.ticks = subscription.request.ticks || refs.size > TICKING_SERIES_MIN;
    subscription.isStale = false;
    subscription.refs = reads;
    subscription.watches = watches;
    subscription.names = isNamed ? [...names] : null;
    for (const ref of reads) this.#read(ref, subscription);
    if (!isNamed) this.#nameless.add(subscription);
    for (const name of names) {
      this.#watch(name, head.seriesOfLabel(METRIC_NAME, name)).subscriptions.add(subscription);
    }
  }

  /** Null for a selector that fixes no metric name. */
  #watchOf(matchers: readonly Matcher[]): Watch | null {
    const name = matchers.find((one) => one.name === METRIC_NAME && one.type === '=')?.value;
    if (name === undefined) return null;
    const { head } = this.#options;
    const labels = matchers
      .filter((one) => one.type === '=' && one.value !== '')
      .map((one) => ({ name: one.name, value: one.value, series: head.seriesOfLabel(one.name, one.value) }));
    return { name, labels, removed: this.#removed };
  }

  get #removed(): number {
    const { head } = this.#options;
    return head.seriesVersion() - head.seriesCreated;
  }

  #collect(matchers: readonly Matcher[], scope: Scope, into: Set<SeriesRef>): void {
    const selection = this.#options.head.select({ matchers, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, scope });
    for (let i = 0; i < selection.count && into.size <= TICKING_SERIES_MIN; i++) into.add(selection.ref(i));
    selection.close();
  }

  #read(ref: SeriesRef, subscription: Subscription): void {
    const { head } = this.#options;
    const generation = head.generation(ref);
    let known = this.#byRef.get(ref);
    if (known === undefined || known.generation !== generation) {
      known = { generation, readers: new Set() };
      this.#byRef.set(ref, known);
      head.subscribe(ref, true);
    }
    known.readers.add(subscription);
  }

  #watch(name: string, series: number): Watched {
    let watched = this.#byName.get(name);
    if (watched === undefined) {
      watched = { subscriptions: new Set(), series };
      this.#byName.set(name, watched);
    }
    return watched;
  }

  #forget(subscription: Subscription): void {
    const { head } = this.#options;
    for (const ref of subscription.refs) {
      const known = this.#byRef.get(ref);
      if (known === undefined || !known.readers.delete(subscription) || known.readers.size > 0) continue;
      this.#byRef.delete(ref);
      if (head.generation(ref) === known.generation) head.subscribe(ref, false);
    }
    for (const name of subscription.names ?? []) {
      const watched = this.#byName.get(name);
      watched?.subscriptions.delete(subscription);
      if (watched?.subscriptions.size === 0) this.#byName.delete(name);
    }
    this.#nameless.delete(subscription);
  }

  #close(subscription: Subscription): void {
    if (subscription.isClosed) return;
    subscription.isClosed = true;
    subscription.cancelRepeat?.();
    this.#forget(subscription);
    this.#due.delete(subscription);
    this.#all.delete(subscription);
    if (this.#all.size > 0) return;
    this.#cancelTick?.();
    this.#cancelTick = null;
    this.#later?.cancel();
    this.#later = null;
  }

  /** Notes whatever the writes since the last time may have changed, and evaluates what is due of it. */
  #look(): void {
    this.#isWoken = false;
    if (this.#all.size === 0) return;
    const nowMs = this.#options.clock.monotonicMs();
    const isSoonEnough = this.#findNewSeries(nowMs);
    const touched = this.#options.head.takeTouched();
    if (touched === null) for (const one of this.#all) this.#due.add(one);
    for (const ref of touched ?? []) for (const one of this.#byRef.get(ref)?.readers ?? []) this.#due.add(one);
    this.#work(nowMs, isSoonEnough ? Infinity : this.#nextLookMs);
  }

  /** Evaluates a few of those that are due, and comes back for the others: at `laterMs`, or earlier. */
  #work(nowMs: number, laterMs: number): void {
    const begun: Promise<void>[] = [];
    let againMs = laterMs;
    for (const one of this.#due) {
      const fromMs = one.evaluatedMs + this.#intervalMs;
      if (fromMs > nowMs) againMs = Math.min(againMs, fromMs);
      else if (begun.length === EVALUATIONS_PER_TURN) {
        this.wake();
        break;
      } else {
        this.#due.delete(one);
        one.evaluatedMs = nowMs;
        if (one.isStale) this.#resolve(one);
        begun.push(this.#evaluate(one));
      }
    }
    this.#comeBack(againMs - nowMs, againMs);
    const { clock } = this.#options;
    if (begun.length > 0) void Promise.all(begun).then(() => this.#pace(clock.monotonicMs() - nowMs, nowMs));
  }

  #comeBack(waitMs: number, atMs: number): void {
    if (waitMs === Infinity || (this.#later !== null && this.#later.atMs <= atMs)) return;
    this.#later?.cancel();
    const cancel = this.#options.timers.after(waitMs, () => {
      this.#later = null;
      this.#look();
    });
    this.#later = { atMs, cancel };
  }

  /** Once in an interval, the next one is set: so long that the work that was done is a tenth of it. */
  #pace(workMs: number, nowMs: number): void {
    this.#workMs += workMs;
    if (nowMs - this.#pacedMs < this.#intervalMs) return;
    this.#intervalMs = Math.min(INTERVAL_MS_MAX, Math.max(INTERVAL_MS_MIN, this.#workMs / WORK_SHARE_MAX));
    this.#pacedMs = nowMs;
    this.#workMs = 0;
  }

  /** Looks for new series if it is time to; false if it is too early. */
  #findNewSeries(nowMs: number): boolean {
    const { head, clock } = this.#options;
    if (head.seriesCreated === this.#seriesCreated) return true;
    if (nowMs < this.#nextLookMs) return false;
    this.#seriesCreated = head.seriesCreated;
    for (const one of this.#findStale()) {
      one.isStale = true;
      this.#due.add(one);
    }
    const tookMs = clock.monotonicMs() - nowMs;
    this.#lookMs += (tookMs - this.#lookMs) / LOOKS_AVERAGED;
    this.#nextLookMs = nowMs + Math.min(INTERVAL_MS_MAX, this.#lookMs / WORK_SHARE_MAX);
    return true;
  }

  /**
   * Whose series there may be more of: a selector that fixes a name, if there are not as many series of each of its labels
   * as there were; who fixes no name.
   */
  #findStale(): readonly Subscription[] {
    const { head } = this.#options;
    const removed = this.#removed;
    const counts = new LabelCounts(head, removed);
    const stale = [...(this.#nameless.size <= NAMELESS_AT_ONCE_MAX ? this.#nameless : [])];
    for (const [name, watched] of this.#byName) {
      const series = head.seriesOfLabel(METRIC_NAME, name);
      if (series === watched.series && removed === this.#removedByLook) continue;
      watched.series = series;
      for (const one of watched.subscriptions) if (one.watches.some((watch) => counts.differ(watch))) stale.push(one);
    }
    this.#removedByLook = removed;
    return stale;
  }

  #tick(): void {
    this.#cancelTick ??= this.#options.timers.after(TICK_MS, () => {
      this.#cancelTick = null;
      this.#ticks++;
      for (const one of this.#all) if (this.#isDue(one)) void this.#evaluate(one);
      if (this.#all.size > 0) this.#tick();
    });
  }

  /** Whether a tick evaluates it; looks up its series where that is due. */
  #isDue(one: Subscription): boolean {
    const isCrowded = this.#nameless.size > NAMELESS_AT_ONCE_MAX && this.#nameless.has(one);
    const isTurn = (this.#ticks + one.number) % RESOLVE_TICKS === 0;
    if (isCrowded || isTurn) this.#resolve(one);
    return one.ticks || isCrowded || isTurn;
  }

  async #evaluate(subscription: Subscription): Promise<void> {
    if (subscription.isBusy) {
      subscription.isDirty = true;
      return;
    }
    subscription.isBusy = true;
    do {
      subscription.isDirty = false;
      const isActive = await subscription.request.evaluate().catch(() => false);
      this.#settle(subscription, isActive);
    } while (subscription.isDirty && !subscription.isClosed);
    subscription.isBusy = false;
  }

  #settle(subscription: Subscription, isActive: boolean): void {
    if (subscription.isClosed || isActive === subscription.isActive) return;
    subscription.isActive = isActive;
    subscription.cancelRepeat?.();
    subscription.cancelRepeat = null;
    if (!isActive) return;
    subscription.repeatMs = REPEAT_MS_MIN;
    this.#tell(subscription);
  }

  /** Tells now, and again later while it stays true. */
  #tell(subscription: Subscription): void {
    this.#told.value++;
    subscription.request.tell();
    const waitMs = subscription.repeatMs;
    subscription.repeatMs = Math.min(this.#repeatMsMax, waitMs * 2);
    subscription.cancelRepeat = this.#options.timers.after(waitMs, () => void this.#repeat(subscription));
  }

  /** Samples age without any write: what was true is asked again before it is repeated. */
  async #repeat(subscription: Subscription): Promise<void> {
    subscription.cancelRepeat = null;
    await this.#evaluate(subscription);
    const isIdle = subscription.cancelRepeat === null;
    if (!subscription.isClosed && subscription.isActive && isIdle) this.#tell(subscription);
  }
}

/** How many series there are with a label now, each asked once. */
class LabelCounts {
  readonly #head: Pick<TouchableHead, 'seriesOfLabel'>;
  readonly #removed: number;
  readonly #known = new Map<string, Map<string, number>>();

  constructor(head: Pick<TouchableHead, 'seriesOfLabel'>, removed: number) {
    this.#head = head;
    this.#removed = removed;
  }

  /** False if no new series can be the selector's: one of its labels has as many as it had. */
  differ({ labels, removed }: Watch): boolean {
    if (removed !== this.#removed) return true;
    // The last ones are the rarest, mostly: the name comes first.
    for (let i = labels.length - 1; i >= 0; i--) {
      const { name, value, series } = labels[i]!;
      if (this.#of(name, value) === series) return false;
    }
    return true;
  }

  #of(name: string, value: string): number {
    let values = this.#known.get(name);
    if (values === undefined) {
      values = new Map();
      this.#known.set(name, values);
    }
    let series = values.get(value);
    if (series === undefined) {
      series = this.#head.seriesOfLabel(name, value);
      values.set(value, series);
    }
    return series;
  }
}
