/** `targets` and `scrape_pools`: what the daemon scrapes itself, and how each target stands. */
import { CodedError } from '../../model/errors.ts';
import { formatDuration } from '../../model/time.ts';
import { type Answer, plain } from './envelope.ts';
import { textOf } from './parameters.ts';

type Pairs = Iterable<readonly [name: string, value: string]>;

/** A target as the daemon knows it. */
export interface Target {
  readonly spec: {
    readonly pool: { readonly name: string };
    readonly url: string;
    readonly labels: Pairs;
    readonly discovered: Pairs;
    readonly intervalMs: number;
    readonly timeoutMs: number;
  };
  readonly status: {
    readonly health: 'unknown' | 'up' | 'down';
    readonly lastError: string;
    readonly lastScrapeMs: number | null;
    readonly lastDurationMs: number;
  };
}

export interface TargetDeps {
  /** Absent where nothing is scraped. */
  readonly targets?: {
    active(): readonly Target[];
    dropped(): readonly { readonly pool: string; readonly discovered: Pairs }[];
    /** Names of the pools, each with how many targets relabelling dropped there. */
    pools(): readonly (readonly [name: string, dropped: number])[];
  };
}

/** Go's zero time: never. */
const NEVER = '0001-01-01T00:00:00Z';
const STATES = ['', 'any', 'active', 'dropped'];

export function answerTargets({ targets }: TargetDeps, form: URLSearchParams): Answer {
  const state = textOf(form, 'state').toLowerCase();
  const pool = textOf(form, 'scrapePool');
  if (!STATES.includes(state)) {
    throw new CodedError('bad_data', `cannot take state: got ${JSON.stringify(state)}, want active, dropped or any`);
  }
  const isAsked = (name: string): boolean => pool === '' || name === pool;
  const active = state === 'dropped' ? [] : (targets?.active() ?? []).filter(({ spec }) => isAsked(spec.pool.name));
  const dropped = state === 'active' ? [] : (targets?.dropped() ?? []).filter((one) => isAsked(one.pool));
  return plain({
    activeTargets: active.map(activeTarget),
    droppedTargets: dropped.map((one) => ({ discoveredLabels: objectOf(one.discovered), scrapePool: one.pool })),
    droppedTargetCounts: Object.fromEntries((targets?.pools() ?? []).filter(([name]) => isAsked(name))),
  });
}

export function answerScrapePools({ targets }: TargetDeps): Answer {
  return plain({ scrapePools: (targets?.pools() ?? []).map(([name]) => name).sort() });
}

function activeTarget({ spec, status }: Target): object {
  const { lastScrapeMs } = status;
  return {
    discoveredLabels: objectOf(spec.discovered),
    labels: objectOf(spec.labels),
    scrapePool: spec.pool.name,
    scrapeUrl: spec.url,
    globalUrl: spec.url,
    lastError: status.lastError,
    lastScrape: lastScrapeMs === null ? NEVER : new Date(lastScrapeMs).toISOString(),
    lastScrapeDuration: status.lastDurationMs / 1000,
    health: status.health,
    scrapeInterval: formatDuration(spec.intervalMs),
    scrapeTimeout: formatDuration(spec.timeoutMs),
  };
}

function objectOf(pairs: Pairs): Record<string, string> {
  const object: Record<string, string> = Object.create(null);
  for (const [name, value] of pairs) object[name] = value;
  return object;
}
