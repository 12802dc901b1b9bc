/**
 * Subscriptions: who wants to hear at once when a question becomes true. A question is evaluated when samples of series
 * that it reads come in: the first change at once, then together at most every 10 ms, and at longer intervals when the
 * work takes more than a tenth of the time.
 *
 *     write ─ wake() ─ series touched, new series of a metric ─ questions concerned ─ evaluate ─ rising edge ─ tell
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
  /** Series of this metric name now. */
  seriesOfMetric(name: string): number;
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

const INTERVAL_MS_MIN = 10;
const INTERVAL_MS_MAX = 100;
const WORK_SHARE_MAX = 0.1;
const REPEAT_MS_MIN = 1000;
const TICK_MS = 1000;
const TICKING_SERIES_MIN = 1000;
/** Above so many subscriptions without a fixed name, new series are looked for each second only. */
const NAMELESS_AT_ONCE_MAX = 100;
/** Each subscription looks up its series anew after so many ticks, whatever it heard meanwhile. */
const RESOLVE_TICKS = 60;

interface Subscription {
  readonly number: number;
  readonly request: SubscriptionRequest;
  refs: readonly SeriesRef[];
  /** Metric names that its selectors fix; null if one of them fixes none. */
  names: readonly string[] | null;
  /** Evaluated each second, too. */
  ticks: boolean;
  isActive: boolean;
  isClosed: boolean;
  /** An evaluation is under way; what comes meanwhile makes another. */
  isBusy: boolean;
  isDirty: boolean;
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
  #subscribed = 0;
  #ticks = 0;
  #isScheduled = false;
  #flushedMs = -Infinity;
  #intervalMs = INTERVAL_MS_MIN;
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
      names: [],
      ticks: request.ticks,
      isActive: false,
      isClosed: false,
      isBusy: false,
      isDirty: false,
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
    if (this.#all.size === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    const waitMs = Math.max(0, this.#flushedMs + this.#intervalMs - this.#options.clock.monotonicMs());
    this.#options.timers.after(waitMs, () => this.#flush());
  }

  /** Finds the series that a question reads now, and says so to the head. */
  #resolve(subscription: Subscription): void {
    const { head } = this.#options;
    const selectors = subscription.request.selectors();
    const refs = new Set<SeriesRef>();
    const names = new Set<string>();
    let isNamed = selectors.length > 0;
    for (const matchers of selectors) {
      const name = matchers.find((one) => one.name === METRIC_NAME && one.type === '=')?.value;
      if (name === undefined) isNamed = false;
      else names.add(name);
      this.#collect(matchers, subscription.request.scope, refs);
    }
    const reads = refs.size > TICKING_SERIES_MIN ? [] : [...refs];
    this.#forget(subscription);
    subscription.ticks = subscription.request.ticks || refs.size > TICKING_SERIES_MIN;
    subscription.refs = reads;
    subscription.names = isNamed ? [...names] : null;
    for (const ref of reads) this.#read(ref, subscription);
    if (!isNamed) this.#nameless.add(subscription);
    for (const name of names) this.#watch(name, head.seriesOfMetric(name)).subscriptions.add(subscription);
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
    this.#all.delete(subscription);
    if (this.#all.size > 0) return;
    this.#cancelTick?.();
    this.#cancelTick = null;
  }

  /** Evaluates whatever the writes since the last time may have changed. */
  #flush(): void {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    this.#isScheduled = false;
    this.#flushedMs = startedMs;
    const concerned = new Set<Subscription>();
    this.#findNewSeries(concerned);
    const touched = this.#options.head.takeTouched();
    if (touched === null) for (const one of this.#all) concerned.add(one);
    for (const ref of touched ?? []) for (const one of this.#byRef.get(ref)?.readers ?? []) concerned.add(one);
    const evaluations = [...concerned].map((one) => this.#evaluate(one));
    if (evaluations.length > 0) void Promise.all(evaluations).then(() => this.#pace(clock.monotonicMs() - startedMs));
  }

  /** The interval in which the work that was just done is a tenth. */
  #pace(workMs: number): void {
    this.#intervalMs = Math.min(INTERVAL_MS_MAX, Math.max(INTERVAL_MS_MIN, workMs / WORK_SHARE_MAX));
  }

  /** New series match through the name of their metric; who fixes no name looks again whenever there is a new one. */
  #findNewSeries(concerned: Set<Subscription>): void {
    const { head } = this.#options;
    if (head.seriesCreated === this.#seriesCreated) return;
    this.#seriesCreated = head.seriesCreated;
    const stale = new Set(this.#nameless.size <= NAMELESS_AT_ONCE_MAX ? this.#nameless : []);
    for (const [name, watched] of this.#byName) {
      const series = head.seriesOfMetric(name);
      if (series === watched.series) continue;
      watched.series = series;
      for (const one of watched.subscriptions) stale.add(one);
    }
    for (const one of stale) {
      this.#resolve(one);
      concerned.add(one);
    }
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
