/** What is counted of scrapes: all metrics begin with `tidegauge_scrape_`. */
import type { ScrapeCounts } from '../ingest/scrape/scraped-series.ts';
import type { Cell, Registry } from '../telemetry/registry.ts';
import { SCRAPE_FAILURES, type ScrapeFailure } from './fetch.ts';

/** What is read when the metrics are. */
export interface ScrapeGauges {
  targets(health: 'unknown' | 'up' | 'down'): number;
  readonly dropped: number;
  readonly overLimit: number;
  readonly series: number;
  readonly inFlight: number;
  readonly waiting: number;
  readonly bytesInFlight: number;
  readonly objects: number;
  unsupported(): Iterable<{ readonly labels: readonly string[]; readonly value: number }>;
}

const DURATION_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface ScrapeMetrics {
  readonly bodyBytes: Cell;
  readonly discoveryFailures: Cell;
  reloaded(outcome: 'applied' | 'refused'): void;
  count(outcome: ScrapeFailure | 'scraped', seconds: number, counts: ScrapeCounts): void;
}

export function scrapeMetrics(registry: Registry, gauges: ScrapeGauges): ScrapeMetrics {
  const name = (what: string): string => `tidegauge_scrape_${what}`;
  const gauge = (what: string, help: string, read: () => number): void =>
    registry.computed('gauge', name(what), help, read);
  registry.collected('gauge', name('targets'), 'Targets that are scraped, by their health.', ['health'], () =>
    (['up', 'down', 'unknown'] as const).map((health) => ({ labels: [health], value: gauges.targets(health) })),
  );
  gauge('dropped_targets', 'Targets that relabelling dropped.', () => gauges.dropped);
  gauge(
    'targets_over_limit',
    'Targets that are not scraped because there are too many, or they cannot be used.',
    () => gauges.overLimit,
  );
  gauge('series', 'Series that stale markers are owed to when they disappear.', () => gauges.series);
  gauge('in_flight', 'Scrapes under way.', () => gauges.inFlight);
  gauge('waiting', 'Scrapes that wait for others to end.', () => gauges.waiting);
  gauge('bytes_in_flight', 'Bytes of bodies that are being received.', () => gauges.bytesInFlight);
  gauge('objects', 'Objects of the cluster that are known to find targets.', () => gauges.objects);
  registry.collected(
    'gauge',
    name('unsupported_fields'),
    'Monitors of the cluster with a field that is not supported, by kind and field.',
    ['kind', 'field'],
    () => gauges.unsupported(),
  );
  const scrapes = registry.counter(
    'tidegauge_scrapes_total',
    'Scrapes by outcome: scraped, or why they failed.',
    'outcome',
  );
  for (const outcome of ['scraped', ...SCRAPE_FAILURES]) scrapes.with(outcome);
  const duration = registry.histogram(name('duration_seconds'), 'How long scrapes took.', DURATION_BOUNDS).with();
  const samples = registry.counter(name('samples_total'), 'Samples that targets answered.').with();
  const reloads = registry.counter(
    name('config_reloads_total'),
    'Times that what is to be scraped changed in the configuration file, by outcome: applied, or refused with the last good one kept.',
    'outcome',
  );
  for (const outcome of ['applied', 'refused']) reloads.with(outcome);
  return {
    bodyBytes: registry.counter(name('body_bytes_total'), 'Bytes that targets answered, decompressed.').with(),
    discoveryFailures: registry
      .counter(name('discovery_failures_total'), 'Times that objects of the cluster could not be listed.')
      .with(),
    reloaded: (outcome) => void reloads.with(outcome).value++,
    count(outcome, seconds, { scraped }) {
      scrapes.with(outcome).value++;
      duration.observe(seconds);
      samples.value += scraped;
    },
  };
}
