/**
 * The door of scraping, a part of the composition root: from what the configuration says to targets that are scraped, and what
 * changes in it while the daemon runs.
 */
import { readFileSync } from 'node:fs';
import type { ApiServer } from '../api/kubernetes/cluster/client.ts';
import { parseFile } from '../config/file.ts';
import type { ScrapeConfig } from '../config/scrape-schema.ts';
import type { Timers } from '../model/timers.ts';
import { ClusterDiscovery } from './kubernetes/discovery.ts';
import type { MonitoredPool } from './kubernetes/monitors.ts';
import { type ActiveTarget, type DroppedTarget, Scraper, type ScraperDeps } from './scraper.ts';
import type { Discovered, Pool } from './target.ts';

export interface ScrapingOptions extends ScraperDeps {
  /** Null scrapes nothing, until the file says something else. */
  readonly config: ScrapeConfig | null;
  /** Where the configuration stands; '' if there is no file. */
  readonly configFile: string;
  /** Null outside of a cluster. */
  readonly server: () => ApiServer | null;
  readonly ownNamespace: string | null;
}

/** What is scraped, for whoever shows it. */
export interface TargetsView {
  active(): readonly ActiveTarget[];
  dropped(): readonly DroppedTarget[];
  pools(): readonly (readonly [name: string, dropped: number])[];
}

const RELOAD_MS = 5000;

export class Scraping {
  readonly targets: TargetsView;
  readonly #options: ScrapingOptions;
  readonly #scraper: Scraper;
  #config: ScrapeConfig | null = null;
  #discovery: ClusterDiscovery | null = null;
  /** Pools of monitors of the cluster. */
  #monitored: ReadonlySet<string> = new Set();
  #fileText: string | null = null;
  #cancel: () => void = () => undefined;

  constructor(options: ScrapingOptions) {
    this.#options = options;
    const discovery = (): ClusterDiscovery | null => this.#discovery;
    this.#scraper = new Scraper(options, {
      get objects() {
        return discovery()?.objects ?? 0;
      },
      unsupported: () => discovery()?.unsupported() ?? [],
    });
    this.targets = this.#scraper;
  }

  /** What is in force now. */
  get config(): ScrapeConfig | null {
    return this.#config;
  }

  start(): void {
    this.#fileText = this.#readFile();
    this.#apply(this.#options.config);
    if (this.#options.configFile !== '') this.#plan(this.#options.timers);
  }

  /** Takes over what the file says now; the last good configuration stays in force if it cannot be used. */
  reload(): void {
    const { configFile, logger } = this.#options;
    const text = this.#readFile();
    if (text === null || text === this.#fileText) return;
    this.#fileText = text;
    try {
      const { scrape } = parseFile(text, configFile);
      if (JSON.stringify(scrape) === JSON.stringify(this.#config)) return;
      this.#apply(scrape);
      this.#scraper.metrics.reloaded('applied');
      logger.info({ event: 'scrape_config' }, 'what is to be scraped was read again');
    } catch (error) {
      this.#scraper.metrics.reloaded('refused');
      const reason = (error as Error).message;
      logger.error({ event: 'scrape_config' }, `cannot use what is to be scraped, the last good one stays: ${reason}`);
    }
  }

  async close(): Promise<void> {
    this.#cancel();
    this.#discovery?.stop();
    await this.#scraper.close();
  }

  #plan(timers: Timers): void {
    this.#cancel = timers.after(RELOAD_MS, () => {
      this.reload();
      this.#plan(timers);
    });
  }

  /** Null if there is none, or it cannot be read at this moment. */
  #readFile(): string | null {
    const { configFile } = this.#options;
    if (configFile === '') return null;
    try {
      return readFileSync(configFile, 'utf8');
    } catch {
      return null;
    }
  }

  #apply(config: ScrapeConfig | null): void {
    this.#config = config;
    this.#discovery?.stop();
    this.#discovery = null;
    if (config === null || (config.serviceMonitors === null && config.podMonitors === null))
      this.#monitored = new Set();
    this.#keepPools();
    if (config === null) return;
    for (const job of config.jobs) {
      // Of pods nothing is known yet; those that are scraped go on until it is.
      if (job.pods.length === 0 || !this.#scraper.has(job.name))
        this.#scraper.sync(poolOf(job), staticTargets(config, job.name));
    }
    if (needsCluster(config)) this.#discover(config);
  }

  #discover(config: ScrapeConfig): void {
    const { server, ownNamespace, timers, logger } = this.#options;
    const reached = server();
    if (reached === null) {
      logger.error({ event: 'scrape_discovery' }, 'cannot find targets in a cluster: there is no API server to ask');
      return;
    }
    this.#discovery = new ClusterDiscovery({
      server: reached,
      ownNamespace,
      config,
      timers,
      logger,
      onJobs: (targets) => this.#syncJobs(config, targets),
      onMonitors: (pools) => this.#syncMonitors(pools),
      onFailure: () => void this.#scraper.metrics.discoveryFailures.value++,
    });
    this.#discovery.start();
  }

  #syncJobs({ jobs }: ScrapeConfig, targets: ReadonlyMap<string, readonly Discovered[]>): void {
    for (const job of jobs) {
      const found = targets.get(job.name);
      if (found === undefined) continue;
      this.#scraper.sync(poolOf(job), [...staticTargets({ jobs }, job.name), ...found]);
    }
  }

  #syncMonitors(pools: readonly MonitoredPool[]): void {
    this.#monitored = new Set(pools.map(({ pool }) => pool.name));
    this.#keepPools();
    for (const { pool, targets } of pools) this.#scraper.sync(pool, targets);
  }

  #keepPools(): void {
    const jobs = this.#config?.jobs.map(({ name }) => name) ?? [];
    this.#scraper.keepPools(new Set([...jobs, ...this.#monitored]));
  }
}

function poolOf(job: ScrapeConfig['jobs'][number]): Pool {
  return { name: job.name, job, isForeign: false, enforceNamespace: false };
}

function staticTargets({ jobs }: Pick<ScrapeConfig, 'jobs'>, name: string): Discovered[] {
  const groups = jobs.find((job) => job.name === name)?.staticTargets ?? [];
  return groups.flatMap(({ targets, labels }) =>
    targets.map((target) => new Map([['__address__', target], ...Object.entries(labels)])),
  );
}

function needsCluster({ jobs, serviceMonitors, podMonitors }: ScrapeConfig): boolean {
  return serviceMonitors !== null || podMonitors !== null || jobs.some(({ pods }) => pods.length > 0);
}
