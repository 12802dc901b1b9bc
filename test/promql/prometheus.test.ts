/**
 * The daemon beside a real Prometheus 3: both get the same samples by remote-write and are asked the compliance queries, and
 * more of our own. Every difference is either one that is named here, with its reason, or a failure.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/process.ts';
import { findPrometheus3, push, startPrometheus } from '../support/real-prometheus.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { demoRequests } from './demo-series.ts';

const SEED = 20_231_114;
const MINUTE_MS = 60_000;
/** Prometheus adds up in the order of its series, which is another one. */
const ROUNDING = 1e-12;

/**
 * Differences between Prometheus 3.5 and the language of 3.14 that we follow; docs/promql-support.md lists them. Each must
 * come up: what no longer does is no difference any more.
 */
const KNOWN: readonly { readonly when: (query: string, reason: string) => boolean; readonly why: string }[] = [
  {
    when: (query, reason) =>
      query.includes('histogram_quantile(') && /^got infos .*for monotonicity .*, from buckets /.test(reason),
    why: 'The info about buckets that had to be made monotonic says which and how much; 3.5 only says that.',
  },
  {
    when: (query) => query.startsWith('topk(NaN'),
    why: 'A parameter of `topk` and its like that is NaN is an error since 3.6.',
  },
  {
    when: (query) => query.includes('[1m + 1m]'),
    why: 'Arithmetic in durations is on by default since 3.14.',
  },
];

/** More than the compliance list asks for. */
const OWN_QUERIES = [
  'topk(3, demo_memory_usage_bytes)',
  'bottomk by (type) (1, demo_memory_usage_bytes)',
  'quantile by (job) (0.9, rate(demo_cpu_usage_seconds_total[1m]))',
  'stddev by (instance) (demo_memory_usage_bytes)',
  'count_values("v", demo_num_cpus)',
  'histogram_quantile(0.9, sum by (le) (rate(demo_api_request_duration_seconds_bucket[2m])))',
  'sum by (job) (rate(demo_cpu_usage_seconds_total[1m])) / on (job) group_right () sum by (job, mode) (rate(demo_cpu_usage_seconds_total[1m]))',
  'max_over_time(rate(demo_cpu_usage_seconds_total[1m])[10m:30s])',
  'demo_intermittent_metric unless demo_intermittent_metric offset 2m',
  'demo_intermittent_metric or demo_num_cpus',
  'avg_over_time(demo_intermittent_metric[7m])',
  'last_over_time(demo_intermittent_metric[3m]) - demo_intermittent_metric',
  'resets(demo_cpu_usage_seconds_total[1h])',
  'predict_linear(demo_disk_usage_bytes[10m], 3600)',
  'demo_memory_usage_bytes @ start() - demo_memory_usage_bytes @ end()',
  'sum_over_time(demo_memory_usage_bytes[1m] @ end())',
  'clamp(demo_cpu_usage_seconds_total, 10, 1000)',
  'round(rate(demo_cpu_usage_seconds_total[1m]), 0.1)',
  'timestamp(demo_num_cpus)',
  'absent_over_time(demo_intermittent_metric[1m])',
  'sum by (le) (rate({__name__=~"demo_api_request_duration_seconds_bucket"}[1m]))',
  'demo_num_cpus + on (instance) group_left (type) demo_memory_usage_bytes{type="free"}',
  'demo_memory_usage_bytes + demo_num_cpus',
  'demo_memory_usage_bytes * on (instance) demo_num_cpus',
  'scalar(sum(demo_num_cpus)) * demo_num_cpus',
  'day_of_week(demo_batch_last_success_timestamp_seconds)',
  'time() - demo_batch_last_success_timestamp_seconds',
  'increase(demo_api_request_duration_seconds_count[5m])',
  'irate(demo_cpu_usage_seconds_total[1m]) > 0.5',
  'changes(demo_batch_last_success_timestamp_seconds[20m])',
  'deriv(demo_disk_usage_bytes[10m])',
  'sum(rate(demo_cpu_usage_seconds_total[1m])',
  'rate(demo_num_cpus)',
  'topk(NaN, demo_num_cpus)',
  'rate(demo_cpu_usage_seconds_total[1m + 1m])',
  'histogram_quantile(1.2, demo_api_request_duration_seconds_bucket)',
];

interface Asked {
  readonly status: number;
  readonly reply: Reply;
}

interface Reply {
  readonly status: string;
  readonly errorType?: string;
  readonly error?: string;
  readonly warnings?: readonly string[];
  readonly infos?: readonly string[];
  readonly data?: { readonly resultType: string; readonly result: readonly Series[] };
}

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

async function ask(web: string, parameters: Record<string, string>): Promise<Asked> {
  const response = await fetch(`http://${web}/api/v1/query_range`, {
    method: 'POST',
    body: new URLSearchParams(parameters),
  });
  return { status: response.status, reply: (await response.json()) as Reply };
}

/** Null if the replies agree. */
function difference(want: Asked, got: Asked): string | null {
  if (want.status !== got.status || want.reply.errorType !== got.reply.errorType)
    return `got ${got.status} ${got.reply.error}, want ${want.status} ${want.reply.error}`;
  if (want.reply.error !== got.reply.error) return `got error ${got.reply.error}, want ${want.reply.error}`;
  for (const notes of ['warnings', 'infos'] as const) {
    const [a, b] = [want.reply[notes] ?? [], got.reply[notes] ?? []].map((list) => [...list].sort().join('; '));
    if (a !== b) return `got ${notes} ${b}, want ${a}`;
  }
  if (want.reply.data === undefined || got.reply.data === undefined) return null;
  return seriesDifference(want.reply.data.result, got.reply.data.result);
}

function seriesDifference(want: readonly Series[], got: readonly Series[]): string | null {
  const names = (list: readonly Series[]): string => list.map(({ metric }) => nameOf(metric)).join(' ');
  if (names(want) !== names(got)) return `got series ${names(got)}, want ${names(want)}`;
  for (const [i, { metric, values }] of want.entries()) {
    const own = got[i]!.values;
    if (own.length !== values.length) return `${nameOf(metric)}: got ${own.length} points, want ${values.length}`;
    for (const [k, [time, value]] of values.entries()) {
      const [ownTime, ownValue] = own[k]!;
      if (
        time !== ownTime ||
        !isClose(Number(value.replace('Inf', 'Infinity')), Number(ownValue.replace('Inf', 'Infinity')))
      )
        return `${nameOf(metric)}: got ${ownValue} at ${ownTime}, want ${value} at ${time}`;
    }
  }
  return null;
}

function nameOf(metric: Series['metric']): string {
  return JSON.stringify(Object.entries(metric).sort());
}

function isClose(a: number, b: number): boolean {
  return Object.is(a, b) || a === b || Math.abs(a - b) <= ROUNDING * Math.max(Math.abs(a), Math.abs(b));
}

function complianceQueries(): readonly string[] {
  const folder = process.env.TIDEGAUGE_CONFORMANCE;
  const path = folder === undefined ? '' : join(folder, 'promql', 'compliance-queries.json');
  if (!existsSync(path)) return [];
  const { queries } = JSON.parse(readFileSync(path, 'utf8')) as { queries: readonly { query: string }[] };
  return queries.map(({ query }) => query);
}

test('docs/promql-support.md lists every known difference', async (t) => {
  const text = readFileSync(new URL('../../docs/promql-support.md', import.meta.url), 'utf8').replaceAll(/\s+/g, ' ');
  for (const { why } of KNOWN) t.ok(text.includes(`* ${why}`), why);
});

const PROGRAM = await findPrometheus3();

test('the daemon answers as Prometheus 3 does', {
  skip: PROGRAM === null ? 'no Prometheus of version 3' : false,
}, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const { running, web } = await startPrometheus(PROGRAM!, folder.path);
  t.teardown(() => running.stop());
  const daemon = await startDaemon(['--query.timeout=1m']);
  t.teardown(() => daemon.stop());
  const nowMs = Math.floor(Date.now() / 1000) * 1000;
  const endMs = nowMs - 12 * MINUTE_MS;
  t.comment(`seed ${SEED}, end ${endMs}`);
  for (const request of demoRequests(nowMs - 90 * MINUTE_MS, nowMs, 4 * MINUTE_MS, SEED)) {
    const body = encodeWriteRequest(request);
    await push(web, body);
    await push(daemon.listen.web, body);
  }
  const compliance = complianceQueries();
  if (compliance.length === 0) t.comment('TIDEGAUGE_CONFORMANCE names no folder with the compliance queries');
  const range = { start: String(endMs / 1000 - 600), end: String(endMs / 1000), step: '10' };
  let agreed = 0;
  const seen = new Set<string>();
  for (const query of [...OWN_QUERIES, ...compliance]) {
    const [want, got] = await Promise.all([ask(web, { query, ...range }), ask(daemon.listen.web, { query, ...range })]);
    const reason = difference(want, got);
    const known = reason === null ? undefined : KNOWN.find(({ when }) => when(query, reason));
    if (reason === null) agreed++;
    else if (known === undefined) t.fail(`${query}: ${reason}`);
    else seen.add(known.why);
  }
  t.ok(agreed > OWN_QUERIES.length / 2, `${agreed} queries agree`);
  t.strictSame([...seen].sort(), KNOWN.map(({ why }) => why).sort(), 'every known difference came up');
});
