/** Questions about samples, through the query engine: newest values, rates, a range query, a histogram's quantile. */
import { labelValue } from '../src/model/labels.ts';
import { SCOPE_ALL } from '../src/model/scope.ts';
import type { QueryValue } from '../src/promql/result.ts';
import { extrapolatedRate } from '../test/journeys/extrapolated-rate.ts';
import type { BenchOptions } from './main.ts';
import { jobsOf } from './peers/lib/queries.mjs';
import { INTERVAL_MS, Load, send } from './support/load.ts';
import { expectEqual, expectNear, type Row, row, wallMillis } from './support/measure.ts';
import { openStore, type Store } from './support/store.ts';

const MINUTE_MS = 60_000;
/** The range query looks back an hour: its job, the first request, was there before the rest. */
const BACKFILL_ROUNDS = 240;
const RANGE_STEPS = 240;
const QUANTILE = 0.99;

/** Answers by group: `''` where there is none. */
type Answers = ReadonlyMap<string, number>;

interface Case {
  readonly name: string;
  /** The job that must be in the dataset whole. */
  readonly needs: string;
  readonly text: string;
  readonly steps?: number;
  /** The label that groups the answer. */
  readonly by?: string;
  readonly expected: (plain: Plain) => Answers;
}

const CASES: readonly Case[] = [
  {
    name: 'autoscale: sum(rate[2m]) of one service, 400 series',
    needs: 'svc-0000',
    text: 'sum(rate(http_requests_total{job="svc-0000"}[2m]))',
    expected: (plain) => plain.rates('http_requests_total', 'svc-0000', 2 * MINUTE_MS, ''),
  },
  ...(['api-1k', 'api-10k', 'api-100k'] as const).map((job) => ({
    name: `sum, ${job.slice(4)} series`,
    needs: job,
    text: `sum(http_requests_total{job="${job}"})`,
    expected: (plain: Plain) => plain.sum(job),
  })),
  {
    name: 'sum by (namespace)(rate[1m]), 100k series',
    needs: 'api-100k',
    text: 'sum by (namespace)(rate(http_requests_total{job="api-100k"}[1m]))',
    by: 'namespace',
    expected: (plain) => plain.rates('http_requests_total', 'api-100k', MINUTE_MS, 'namespace'),
  },
  {
    name: 'histogram_quantile(0.99, sum by (le)(rate[1m])), 100k buckets',
    needs: 'hist-100k',
    text: `histogram_quantile(${QUANTILE}, sum by (le)(rate(http_request_duration_seconds_bucket{job="hist-100k"}[1m])))`,
    expected: (plain) => {
      const buckets = plain.rates('http_request_duration_seconds_bucket', 'hist-100k', MINUTE_MS, 'le');
      return new Map([['', quantileOf(buckets)]]);
    },
  },
  {
    name: 'query_range 1h step 15s, sum(rate[1m]), 1k series',
    needs: 'api-1k',
    text: 'sum(rate(http_requests_total{job="api-1k"}[1m]))',
    steps: RANGE_STEPS,
    expected: (plain) => plain.rates('http_requests_total', 'api-1k', MINUTE_MS, ''),
  },
  {
    name: 'sum, all series',
    needs: 'svc-0000',
    text: 'sum({job=~".+"})',
    expected: (plain) => plain.sum(null),
  },
];

export async function window({ series, rounds, runs }: BenchOptions): Promise<Row[]> {
  const load = new Load({ series });
  const store = await openStore(series);
  for (let round = 0; round < BACKFILL_ROUNDS; round++) send(store, load.encodeRound([0]));
  // rate[2m] wants more than two minutes of samples.
  for (let round = 0; round < Math.max(rounds, 10); round++) send(store, load.encodeRound());

  const plain = new Plain(load);
  const there = jobsOf(series);
  const rows: Row[] = [];
  for (const each of CASES) {
    if (!there.has(each.needs)) continue;
    await check(store, load, plain, each);
    const ask = async () => void (await answer(store, load, each));
    rows.push(row(each.name, 'ms', series, await wallMillis(ask, { runsMin: runs, totalMsMin: 300 })));
  }
  return rows;
}

async function answer({ engine }: Store, { endMs }: Load, { text, steps }: Case): Promise<QueryValue> {
  const query = { text, scope: SCOPE_ALL };
  if (steps === undefined) return (await engine.instant({ ...query, timeMs: endMs })).value;
  const startMs = endMs - (steps - 1) * INTERVAL_MS;
  return (await engine.range({ ...query, startMs, endMs, stepMs: INTERVAL_MS })).value;
}

async function check(store: Store, load: Load, plain: Plain, each: Case): Promise<void> {
  const value = await answer(store, load, each);
  if (value.kind === 'matrix') {
    const points = value.series[0]?.values ?? new Float64Array();
    expectEqual(`${each.name}: steps`, points.length, RANGE_STEPS);
    for (const step of [0, 1, RANGE_STEPS >> 1, RANGE_STEPS - 1]) {
      const timeMs = load.endMs - (RANGE_STEPS - 1 - step) * INTERVAL_MS;
      expectNear(`${each.name}, step ${step}`, points[step]!, each.expected(plain.at(timeMs)).get('')!);
    }
    return;
  }
  if (value.kind !== 'vector') throw new Error(`wrong answer for ${each.name}: got a ${value.kind}`);
  const expected = each.expected(plain);
  expectEqual(`${each.name}: groups`, value.labels.length, expected.size);
  value.labels.forEach((labels, i) => {
    const group = each.by === undefined ? '' : labelValue(labels, each.by);
    expectNear(`${each.name} ${group}`, value.values[i]!, expected.get(group) ?? Number.NaN);
  });
}

/** The same questions answered from what was sent, one series after the other. */
class Plain {
  readonly #load: Load;
  readonly #timeMs: number;

  constructor(load: Load, timeMs = load.endMs) {
    this.#load = load;
    this.#timeMs = timeMs;
  }

  at(timeMs: number): Plain {
    return new Plain(this.#load, timeMs);
  }

  /** The newest values of a job, or of all jobs, added up. */
  sum(job: string | null): Answers {
    const { dataset } = this.#load;
    const values = dataset.values();
    let sum = 0;
    for (let i = 0; i < dataset.series; i++)
      if (job === null || labelValue(dataset.labelsOf(i), 'job') === job) sum += values[i]!;
    return new Map([['', sum]]);
  }

  rates(metric: string, job: string, rangeMs: number, by: string): Answers {
    const { dataset } = this.#load;
    const sums = new Map<string, number>();
    for (let i = 0; i < dataset.series; i++) {
      const labels = dataset.labelsOf(i);
      if (labelValue(labels, '__name__') !== metric || labelValue(labels, 'job') !== job) continue;
      const points = this.#load.pointsOf(i, this.#timeMs - rangeMs, this.#timeMs);
      const group = labelValue(labels, by);
      sums.set(group, (sums.get(group) ?? 0) + extrapolatedRate(points, this.#timeMs, rangeMs));
    }
    return sums;
  }
}

/** Prometheus' quantile of classic buckets: linear within the bucket that holds the rank. */
function quantileOf(buckets: Answers): number {
  const bounds = [...buckets.keys()].sort((a, b) => boundOf(a) - boundOf(b));
  const rank = QUANTILE * buckets.get('+Inf')!;
  const at = bounds.findIndex((bound) => buckets.get(bound)! >= rank);
  if (at === bounds.length - 1) return boundOf(bounds[at - 1]!);
  const lower = at === 0 ? 0 : boundOf(bounds[at - 1]!);
  const below = at === 0 ? 0 : buckets.get(bounds[at - 1]!)!;
  return lower + ((boundOf(bounds[at]!) - lower) * (rank - below)) / (buckets.get(bounds[at]!)! - below);
}

function boundOf(le: string): number {
  return le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
}
