/**
 * One target, scraped again and again: when, what becomes of it, and how it stands. Scrapes of all targets are spread over
 * their interval by the hash of what they are, so a target has the same place in it after every start.
 * Source of the rules: prometheus/prometheus, scrape/scrape.go.
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { type ScrapeCounts, type ScrapedSeries, TextRefused } from '../ingest/scrape/scraped-series.ts';
import type { TextFormat } from '../ingest/text/transcode.ts';
import type { Clock } from '../model/clock.ts';
import { CodedError } from '../model/errors.ts';
import { formatDuration } from '../model/time.ts';
import type { Timers } from '../model/timers.ts';
import type { Agents } from './agents.ts';
import { type ByteBudget, fetchText, SCRAPE_HEADERS, ScrapeError, type ScrapeFailure } from './fetch.ts';
import type { ScrapeMetrics } from './metrics.ts';
import type { Slots } from './slots.ts';
import type { TargetSpec } from './target.ts';

export interface LoopDeps {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: ScrapeMetrics;
  readonly version: string;
  readonly budget: ByteBudget;
  /** Of targets that were well, and of those that were not: who hangs does not hold up the others. */
  readonly slots: { readonly well: Slots; readonly failing: Slots };
  /** How the targets of a pool are reached. */
  agentsOf(spec: TargetSpec): Agents;
}

export interface TargetStatus {
  readonly health: 'unknown' | 'up' | 'down';
  readonly lastError: string;
  /** Null before the first scrape. */
  readonly lastScrapeMs: number | null;
  readonly lastDurationMs: number;
}

/** A scrape may be this late and is still given the time that it was planned for: equal distances compress well. */
const LATE_MS_MAX = 2;
const NOTHING: ScrapeCounts = { scraped: 0, kept: 0, added: 0, refused: 0, message: '' };

export class TargetLoop {
  readonly #deps: LoopDeps;
  readonly #series: ScrapedSeries;
  #spec: TargetSpec;
  #status: TargetStatus = { health: 'unknown', lastError: '', lastScrapeMs: null, lastDurationMs: 0 };
  #cancel: () => void = () => undefined;
  #running: Promise<void> = Promise.resolve();
  /** Gives up the request that is under way. */
  #giveUp = new AbortController();
  #isStopped = false;
  #plannedMs = Number.NEGATIVE_INFINITY;
  #logged = '';

  constructor(spec: TargetSpec, series: ScrapedSeries, deps: LoopDeps) {
    this.#spec = spec;
    this.#series = series;
    this.#deps = deps;
  }

  get spec(): TargetSpec {
    return this.#spec;
  }

  get status(): TargetStatus {
    return this.#status;
  }

  get series(): ScrapedSeries {
    return this.#series;
  }

  start(): void {
    if (this.#isStopped) return;
    const { clock, timers } = this.#deps;
    const nowMs = clock.nowMs();
    const { intervalMs, key } = this.#spec;
    // A timer may run a little early: that must not plan the same scrape again.
    const isEarly = this.#plannedMs > nowMs && this.#plannedMs - nowMs < intervalMs;
    const atMs = nextScrapeMs(key, intervalMs, isEarly ? this.#plannedMs : nowMs);
    this.#plannedMs = atMs;
    this.#cancel = timers.after(atMs - nowMs, () => {
      this.#running = this.#scrape(atMs).catch((err: unknown) => {
        this.#deps.logger.error({ err }, 'a fault of the daemon while it scraped');
      });
      void this.#running.then(() => this.start());
    });
  }

  /** The same target, otherwise scraped. */
  update(spec: TargetSpec): void {
    const isRescheduled = spec.intervalMs !== this.#spec.intervalMs;
    this.#spec = spec;
    if (!isRescheduled) return;
    // While a scrape is under way nothing is planned, and it plans the next one itself.
    this.#cancel();
    const running = this.#running;
    void running.then(() => {
      if (running === this.#running) {
        this.#cancel();
        this.start();
      }
    });
  }

  /** Ends it: what is under way is given up. Its series are ended only if nobody takes them over. */
  async stop(endsSeries: boolean): Promise<void> {
    this.#cancel();
    this.#isStopped = true;
    this.#giveUp.abort(new ScrapeError('unreachable', 'the target is watched no more'));
    await this.#running;
    if (!endsSeries) return;
    try {
      await this.#drive(this.#series.endAll(this.#deps.clock.nowMs()));
    } catch (error) {
      this.#deps.logger.warn({ err: error }, 'cannot end the series of a target that is watched no more');
    }
  }

  async #scrape(plannedMs: number): Promise<void> {
    const { slots, clock } = this.#deps;
    const lane = this.#status.health === 'down' ? slots.failing : slots.well;
    await lane.take();
    try {
      if (this.#isStopped) return;
      const nowMs = clock.nowMs();
      const isPunctual = Math.abs(nowMs - plannedMs) <= Math.min(LATE_MS_MAX, this.#spec.intervalMs / 100);
      await this.#scrapeAt(isPunctual ? plannedMs : nowMs);
    } finally {
      lane.leave();
    }
  }

  async #scrapeAt(timestampMs: number): Promise<void> {
    const { clock, metrics } = this.#deps;
    const beganMs = clock.monotonicMs();
    let counts = NOTHING;
    let failure: ScrapeError | null = null;
    try {
      counts = await this.#fetchAndStore(timestampMs);
    } catch (error) {
      failure = failureOf(error);
      if (error instanceof TextRefused) counts = error.counts;
    }
    // The target went while it was asked; whoever stops it ends its series.
    if (this.#isStopped) return;
    try {
      if (failure !== null && failure.kind !== 'overloaded') await this.#drive(this.#series.endScraped(timestampMs));
      const seconds = (clock.monotonicMs() - beganMs) / 1000;
      this.#series.report({ isUp: failure === null, seconds, ...counts }, timestampMs, this.#spec.labels);
    } catch (error) {
      failure ??= failureOf(error);
    }
    const durationMs = clock.monotonicMs() - beganMs;
    metrics.count(failure?.kind ?? 'scraped', durationMs / 1000, counts);
    this.#note(failure, counts, timestampMs, durationMs);
  }

  async #fetchAndStore(timestampMs: number): Promise<ScrapeCounts> {
    const { job } = this.#spec.pool;
    const { text, isOpenMetrics } = await this.#fetch();
    this.#deps.metrics.bodyBytes.value += text.length;
    const enforced = new Set(this.#spec.enforced.map(([name]) => name));
    const format: TextFormat = {
      isOpenMetrics,
      timestampMs,
      honorTimestamps: job.honorTimestamps,
      labels: this.#spec.labels.filter(([name]) => !enforced.has(name)),
      onConflict: job.honorLabels ? 'kept' : 'renamed',
      enforced: this.#spec.enforced,
      ...(this.#spec.metricRelabel === null ? {} : { relabel: this.#spec.metricRelabel }),
    };
    return this.#drive(this.#series.store(text, format, job.samplesMax));
  }

  async #fetch(): Promise<Awaited<ReturnType<typeof fetchText>>> {
    const { url, timeoutMs, pool } = this.#spec;
    const { timers, clock, budget, version } = this.#deps;
    const giveUp = new AbortController();
    this.#giveUp = giveUp;
    const cancel = timers.after(timeoutMs, () => {
      giveUp.abort(new ScrapeError('timeout', `the target did not answer within ${formatDuration(timeoutMs)}`));
    });
    try {
      const agents = this.#deps.agentsOf(this.#spec);
      const headers = {
        ...SCRAPE_HEADERS,
        'user-agent': `Tidegauge/${version}`,
        'x-prometheus-scrape-timeout-seconds': String(timeoutMs / 1000),
        ...agents.credentials(),
      };
      const { bodyBytesMax, followRedirects } = pool.job;
      const agent = agents.agentFor(url, clock.monotonicMs());
      return await fetchText({ url, headers, agent, bodyBytesMax, followRedirects, budget, signal: giveUp.signal });
    } finally {
      cancel();
    }
  }

  /** Runs slices of work, and lets others have the thread between two of them. */
  async #drive<T>(slices: Generator<void, T, void>): Promise<T> {
    for (;;) {
      const { done, value } = slices.next();
      if (done) return value;
      await new Promise<void>((resolve) => this.#deps.timers.after(0, resolve));
    }
  }

  /** How the target stands now; in the log only when that is another thing than before. */
  #note(failure: ScrapeError | null, counts: ScrapeCounts, lastScrapeMs: number, lastDurationMs: number): void {
    const lastError = failure?.message ?? '';
    const before = this.#status.health;
    this.#status = { health: failure === null ? 'up' : 'down', lastError, lastScrapeMs, lastDurationMs };
    const state = failure === null ? (counts.refused > 0 ? 'partial' : 'up') : failure.kind;
    if (state === this.#logged) return;
    this.#logged = state;
    const { logger } = this.#deps;
    const what = { event: 'scrape', pool: this.#spec.pool.name, url: this.#spec.url, state };
    if (failure !== null) logger.warn({ ...what, error: lastError }, 'a target cannot be scraped');
    else if (counts.refused > 0)
      logger.warn({ ...what, refused: counts.message }, 'some samples of a scrape were refused');
    else if (before === 'down') logger.info(what, 'a target can be scraped again');
  }
}

/** The next time of a target after now: the same place in every interval. */
export function nextScrapeMs(key: string, intervalMs: number, nowMs: number): number {
  const offsetMs = createHash('sha256').update(key).digest().readUIntBE(0, 6) % intervalMs;
  return nowMs + intervalMs - ((((nowMs - offsetMs) % intervalMs) + intervalMs) % intervalMs);
}

const KINDS: Readonly<Partial<Record<string, ScrapeFailure>>> = {
  bad_body: 'malformed',
  body_too_large: 'too_large',
  overloaded: 'overloaded',
};

function failureOf(error: unknown): ScrapeError {
  if (error instanceof ScrapeError) return error;
  const kind = error instanceof CodedError ? KINDS[error.code] : undefined;
  // What is left is a file that cannot be read, or an address that cannot be asked.
  return new ScrapeError(kind ?? 'unreachable', error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}
