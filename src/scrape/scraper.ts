/**
 * All targets, by pool: which are scraped follows from what discovery found last. Who stays is not disturbed by who comes
 * and goes.
 */
import type { Logger } from 'pino';
import type { ScrapeJob } from '../config/scrape-schema.ts';
import { ScrapedSeries, type ScrapedSeriesOptions } from '../ingest/scrape/scraped-series.ts';
import type { Clock } from '../model/clock.ts';
import { LIMITS } from '../model/limits.ts';
import type { Timers } from '../model/timers.ts';
import type { Registry } from '../telemetry/registry.ts';
import { Agents } from './agents.ts';
import { type ScrapeMetrics, scrapeMetrics } from './metrics.ts';
import { Slots } from './slots.ts';
import { type Discovered, type Pool, populator, type TargetSpec } from './target.ts';
import { type LoopDeps, TargetLoop, type TargetStatus } from './target-loop.ts';

export interface ScraperDeps extends Omit<ScrapedSeriesOptions, 'connection'> {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly version: string;
}

/** A target as it stands. */
export interface ActiveTarget {
  readonly spec: TargetSpec;
  readonly status: TargetStatus;
}

export interface DroppedTarget {
  readonly pool: string;
  readonly discovered: Discovered;
}

interface PoolState {
  pool: Pool;
  readonly agents: { job: ScrapeJob; agents: Agents };
  readonly loops: Map<string, TargetLoop>;
  dropped: readonly Discovered[];
  droppedCount: number;
  /** Targets that cannot be used, and why the first of them. */
  faults: number;
  fault: string;
  overLimit: number;
}

/** What discovery says of objects; see kubernetes.ts. */
export interface DiscoveryGauges {
  readonly objects: number;
  unsupported(): Iterable<{ readonly labels: readonly string[]; readonly value: number }>;
}

export class Scraper {
  readonly metrics: ScrapeMetrics;
  readonly #deps: ScraperDeps;
  readonly #loopDeps: LoopDeps;
  readonly #pools = new Map<string, PoolState>();
  readonly #stops = new Set<Promise<void>>();
  #connections = 0;
  #targets = 0;

  constructor(deps: ScraperDeps, discovery: DiscoveryGauges) {
    this.#deps = deps;
    const slots = { well: new Slots(LIMITS.scrapesInFlightMax), failing: new Slots(LIMITS.scrapesFailingInFlightMax) };
    const budget = { used: 0 };
    this.metrics = scrapeMetrics(deps.registry, this.#gauges(slots, budget, discovery));
    const { clock, timers, logger, version } = deps;
    const { metrics } = this;
    const agentsOf = ({ pool }: TargetSpec): Agents => this.#stateOf(pool).agents.agents;
    this.#loopDeps = { clock, timers, logger, version, metrics, slots, budget, agentsOf };
  }

  /** These, and no others, are the targets of the pool from now on. Throws `bad_data` if its rules cannot be used. */
  sync(pool: Pool, found: Iterable<Discovered>): void {
    const populated = populator(pool);
    const state = this.#stateOf(pool);
    state.pool = pool;
    this.#renewAgents(state, pool.job);
    const wanted = new Map<string, TargetSpec>();
    const dropped: Discovered[] = [];
    const faults: string[] = [];
    state.droppedCount = 0;
    for (const one of found) {
      const result = populated(one);
      if (result.kind === 'target') wanted.set(result.spec.key, result.spec);
      else if (result.kind === 'fault') faults.push(result.reason);
      else if (++state.droppedCount <= LIMITS.scrapeDroppedTargetsMax) dropped.push(result.discovered);
    }
    state.dropped = dropped;
    this.#noteFaults(state, faults);
    this.#change(state, wanted);
  }

  /** Ends the targets of all pools but these. */
  keepPools(names: ReadonlySet<string>): void {
    for (const [name, state] of this.#pools) {
      if (names.has(name)) continue;
      this.#change(state, new Map());
      state.agents.agents.close();
      this.#pools.delete(name);
    }
  }

  has(pool: string): boolean {
    return this.#pools.has(pool);
  }

  active(): ActiveTarget[] {
    return [...this.#pools.values()].flatMap(({ loops }) =>
      [...loops.values()].map(({ spec, status }) => ({ spec, status })),
    );
  }

  dropped(): DroppedTarget[] {
    return [...this.#pools].flatMap(([pool, state]) => state.dropped.map((discovered) => ({ pool, discovered })));
  }

  /** Names of the pools, each with how many targets were dropped there. */
  pools(): readonly (readonly [name: string, dropped: number])[] {
    return [...this.#pools].map(([name, { droppedCount }]) => [name, droppedCount] as const);
  }

  /** Gives up what is under way. Series stay as they are: after a restart they go on. */
  async close(): Promise<void> {
    const loops = [...this.#pools.values()].flatMap(({ loops }) => [...loops.values()]);
    await Promise.all([...loops.map((loop) => loop.stop(false)), ...this.#stops]);
    for (const { agents } of this.#pools.values()) agents.agents.close();
  }

  #change(state: PoolState, wanted: ReadonlyMap<string, TargetSpec>): void {
    const leaving = new Set<TargetLoop>();
    for (const [key, loop] of state.loops) {
      const spec = wanted.get(key);
      if (spec !== undefined) loop.update(spec);
      else {
        state.loops.delete(key);
        this.#targets--;
        leaving.add(loop);
      }
    }
    state.overLimit = 0;
    for (const [key, spec] of wanted) {
      if (state.loops.has(key)) continue;
      if (this.#targets >= LIMITS.scrapeTargetsMax) {
        state.overLimit++;
        continue;
      }
      this.#targets++;
      const before = [...leaving].find((loop) => loop.spec.labelsKey === spec.labelsKey) ?? null;
      if (before !== null) leaving.delete(before);
      state.loops.set(key, this.#open(spec, before));
    }
    for (const loop of leaving) this.#await(loop.stop(true));
    if (state.overLimit > 0) {
      const { logger } = this.#deps;
      const { name } = state.pool;
      logger.error(
        { event: 'scrape', pool: name },
        `${state.overLimit} targets are left out: there are ${this.#targets}`,
      );
    }
  }

  /** A target whose series have the labels of one that leaves goes on with them. */
  #open(spec: TargetSpec, before: TargetLoop | null): TargetLoop {
    const { writer, head } = this.#deps;
    const series = new ScrapedSeries({ writer, head, connection: ++this.#connections });
    const loop = new TargetLoop(spec, series, this.#loopDeps);
    if (before === null) loop.start();
    else {
      const takeOver = before.stop(false).then(() => {
        series.inherit(before.series);
        loop.start();
      });
      this.#await(takeOver);
    }
    return loop;
  }

  #await(stop: Promise<void>): void {
    this.#stops.add(stop);
    void stop.finally(() => this.#stops.delete(stop));
  }

  #stateOf(pool: Pool): PoolState {
    let state = this.#pools.get(pool.name);
    if (state === undefined) {
      const agents = { job: pool.job, agents: new Agents(pool.job) };
      const none = { dropped: [], droppedCount: 0, faults: 0, fault: '', overLimit: 0 };
      state = { pool, agents, loops: new Map(), ...none };
      this.#pools.set(pool.name, state);
    }
    return state;
  }

  /** Connections are kept unless they would be made otherwise now. */
  #renewAgents({ agents }: PoolState, job: ScrapeJob): void {
    const means = ({ tls, basicAuth, authorization }: ScrapeJob): string =>
      JSON.stringify([tls, basicAuth, authorization]);
    if (means(agents.job) !== means(job)) agents.agents = new Agents(job);
    agents.job = job;
  }

  #noteFaults(state: PoolState, faults: readonly string[]): void {
    state.faults = faults.length;
    const [first = ''] = faults;
    if (first === state.fault) return;
    state.fault = first;
    if (first === '') return;
    const what = { event: 'scrape', pool: state.pool.name };
    this.#deps.logger.warn(what, `cannot scrape ${faults.length} targets, the first: ${first}`);
  }

  #gauges(slots: LoopDeps['slots'], budget: LoopDeps['budget'], discovery: DiscoveryGauges) {
    const sum = (of: (state: PoolState) => number): number => {
      let total = 0;
      for (const state of this.#pools.values()) total += of(state);
      return total;
    };
    const sumOfLoops = (of: (loop: TargetLoop) => number): number =>
      sum(({ loops }) => [...loops.values()].reduce((total, loop) => total + of(loop), 0));
    return {
      targets: (health: string) => sumOfLoops(({ status }) => Number(status.health === health)),
      get dropped() {
        return sum(({ droppedCount }) => droppedCount);
      },
      get overLimit() {
        return sum(({ overLimit, faults }) => overLimit + faults);
      },
      get series() {
        return sumOfLoops(({ series }) => series.count);
      },
      get inFlight() {
        return slots.well.taken + slots.failing.taken;
      },
      get waiting() {
        return slots.well.waiting + slots.failing.waiting;
      },
      get bytesInFlight() {
        return budget.used;
      },
      get objects() {
        return discovery.objects;
      },
      unsupported: () => discovery.unsupported(),
    };
  }
}
