/**
 * Whole replies beside those of a real Prometheus 3.5 that was fed the same samples: status code and JSON, with what has no
 * order sorted. Every difference is either one that is named here, with its reason, or a failure.
 */
import { isDeepStrictEqual } from 'node:util';
import { test } from 'tap';
import { startDaemon } from '../../support/daemon.ts';
import { temporaryFolder } from '../../support/process.ts';
import { findPrometheus3, push, startPrometheus } from '../../support/real-prometheus.ts';
import { encodeWriteRequest } from '../../support/remote-write-encoder.ts';

const STEP_MS = 15_000;
const NOW_MS = Math.floor(Date.now() / STEP_MS) * STEP_MS;
const [START, END] = [NOW_MS / 1000 - 600, NOW_MS / 1000 - 60];
const RANGE = { start: String(START), end: String(END), step: '30' };
const TIME = { time: String(END) };
const AT = { start: String(START), end: String(END) };

type Parameters = Readonly<Record<string, string>>;
const QUERIES = [
  'up',
  'up == 0',
  '1e-7',
  '1e20',
  '1e21',
  '-0 * 1',
  'Inf',
  'NaN',
  '"text"',
  'vector(1.5)',
  'requests_total{job="a"}[2m]',
  'rate(requests_total[2m])',
  'rate(up[2m])',
  'sum by (job) (requests_total)',
  'topk(1, requests_total)',
  'sort_desc(requests_total)',
  'label_replace(up, "héllo", "$1", "job", "(.*)")',
  'nothing',
  'nothing[5m]',
  'histogram_quantile(2, up)',
  'requests_total offset -1m',
  'up @ 1',
  'sum(',
  'up{',
  'up +',
  'foo(up)',
  'rate(up)',
  'up{job=~"("}',
  '{}',
  '{job=~".*"}',
  'up + on (job) group_left () requests_total',
  '',
  'up[5m] + 1',
  '1 == 1',
  'up offset 5',
  'sum by (job) (up) without (x)',
];
const SYNTAX = [
  'sum(rate(requests_total{job="a"}[5m])) by (job)',
  'a+b*c',
  '-a^2',
  'up{',
  '',
  'foo(',
  'x[5m:1m] offset 1h',
];

/** Path below /api/v1 and parameters. */
const QUESTIONS: readonly (readonly [string, Parameters])[] = [
  ...QUERIES.map((query) => ['query', { query, ...TIME }] as const),
  ...QUERIES.map((query) => ['query_range', { query, ...RANGE }] as const),
  ...SYNTAX.flatMap((query) => [['format_query', { query }] as const, ['parse_query', { query }] as const]),
  ['query', { query: 'up', ...TIME, limit: '1' }],
  ['query', { query: 'up', ...TIME, limit: '-1' }],
  ['query', { query: 'up', ...TIME, limit: 'x' }],
  ['query', { query: 'up', time: 'yesterday' }],
  ['query', { query: 'up', ...TIME, timeout: 'soon' }],
  ['query', { query: 'up', ...TIME, lookback_delta: '-1s' }],
  ['query', { query: 'up', time: new Date(END * 1000).toISOString() }],
  ['query_range', { query: 'up', ...RANGE, limit: '1' }],
  ['query_range', { query: 'up', ...RANGE, step: '0' }],
  ['query_range', { query: 'up', ...RANGE, step: 'x' }],
  ['query_range', { query: 'up', ...RANGE, end: '0' }],
  ['query_range', { query: 'up', ...RANGE, step: '0.001' }],
  ['query_range', { query: 'up', start: RANGE.start, step: '1' }],
  ['labels', AT],
  ['labels', { ...AT, 'match[]': 'up' }],
  ['labels', { ...AT, 'match[]': 'nothing' }],
  ['labels', { ...AT, limit: '1' }],
  ['labels', { ...AT, limit: '-1' }],
  ['labels', { ...AT, 'match[]': 'up{' }],
  ['labels', { ...AT, 'match[]': '{}' }],
  ['labels', { start: 'x' }],
  ['label/job/values', AT],
  ['label/job/values', { ...AT, 'match[]': 'up' }],
  ['label/job/values', { ...AT, limit: '1' }],
  ['label/__name__/values', AT],
  ['label/nothing/values', AT],
  ['label/not-a-name/values', AT],
  ['series', { ...AT, 'match[]': 'up' }],
  ['series', { ...AT, 'match[]': '{job="a"}' }],
  ['series', { ...AT, 'match[]': 'up', limit: '1' }],
  ['series', { ...AT, 'match[]': 'nothing' }],
  ['series', { ...AT, 'match[]': '{}' }],
  ['series', AT],
  ['metadata', { limit: 'x' }],
  ['metadata', { metric: 'nothing' }],
  ['rules', {}],
  ['rules', { type: 'x' }],
  ['alerts', {}],
];

interface Asked {
  readonly status: number;
  readonly reply: unknown;
}

async function ask(web: string, path: string, parameters: Parameters): Promise<Asked> {
  const response = await fetch(`http://${web}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  return { status: response.status, reply: sorted((await response.json()) as Reply, path, parameters) };
}

interface Reply {
  readonly data?: unknown;
  readonly warnings?: readonly string[];
  readonly infos?: readonly string[];
}

/** Vectors and series have no order but that of `sort` and `topk`; warnings have none. */
function sorted(reply: Reply, path: string, { query = '' }: Parameters): Reply {
  const byText = <T>(list: readonly T[]): readonly T[] =>
    [...list].sort((a, b) => (JSON.stringify(keyed(a)) < JSON.stringify(keyed(b)) ? -1 : 1));
  const { data, warnings, infos } = reply;
  const result = (data as { readonly result?: unknown } | null | undefined)?.result;
  const isVector =
    Array.isArray(result) && result.every((one) => typeof one === 'object') && !/^sort|^topk/.test(query);
  return {
    ...reply,
    ...(isVector && { data: { ...(data as object), result: byText(result) } }),
    ...(path === 'series' && Array.isArray(data) && { data: byText(data) }),
    ...(warnings && { warnings: [...warnings].sort() }),
    ...(infos && { infos: [...infos].sort() }),
  };
}

/** Keys in ascending order: JSON objects have none. */
function keyed(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, keyed(one)]),
  );
}

/** Fields of the tree that came after 3.5, with the syntax that they are for; unused by all that 3.5 can parse. */
const UNUSED: readonly unknown[] = [null, false, { lhs: null, rhs: null }];
const NEW_FIELDS = ['offsetExpr', 'rangeExpr', 'stepExpr', 'anchored', 'smoothed', 'fillValues'];

function withoutNewFields(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(withoutNewFields);
  const isUnused = (one: unknown): boolean => UNUSED.some((unused) => isDeepStrictEqual(one, unused));
  const kept = Object.entries(value).filter(([key, one]) => !NEW_FIELDS.includes(key) || !isUnused(one));
  return Object.fromEntries(kept.map(([key, one]) => [key, withoutNewFields(one)]));
}

/** What differs and why: what `alike` makes of our reply must be what Prometheus says. Each must come up. */
const KNOWN: readonly {
  readonly is: (path: string, parameters: Parameters) => boolean;
  readonly why: string;
  readonly alike: (reply: unknown) => unknown;
}[] = [
  {
    is: (path) => path === 'parse_query',
    why: 'the tree has fields for syntax that came after 3.5',
    alike: withoutNewFields,
  },
  {
    is: (path, { query = '' }) => path === 'query_range' && query.startsWith('sort'),
    why: 'that sorting a range query changes nothing is a warning that came after 3.5',
    alike: (reply) => {
      const { warnings: _, ...rest } = reply as Reply;
      return rest;
    },
  },
];

const PROGRAM = await findPrometheus3();

test('whole replies as Prometheus gives them', {
  skip: PROGRAM === null ? 'no Prometheus of version 3' : false,
}, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const { running, web } = await startPrometheus(PROGRAM!, folder.path);
  t.teardown(() => running.stop());
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const series = ['a', 'b', 'c'].flatMap((job, i) =>
    ['up', 'requests_total'].map((name) => ({
      labels: { __name__: name, instance: `host-${i}`, job },
      samples: Array.from({ length: 60 }, (_, k) => ({
        timestampMs: NOW_MS - (59 - k) * STEP_MS,
        value: name === 'up' ? i % 2 : k * (i + 1) * 7,
      })),
    })),
  );
  const body = encodeWriteRequest(series);
  await push(web, body);
  await push(daemon.listen.web, body);
  const seen = new Set<string>();
  for (const [path, parameters] of QUESTIONS) {
    const [want, got] = await Promise.all([ask(web, path, parameters), ask(daemon.listen.web, path, parameters)]);
    const what = `${path} ${JSON.stringify(parameters)}`;
    if (isDeepStrictEqual(got, want)) {
      t.pass(what);
      continue;
    }
    const known = KNOWN.find(
      ({ is, alike }) => is(path, parameters) && isDeepStrictEqual({ ...got, reply: alike(got.reply) }, want),
    );
    if (known === undefined) t.fail(what, { got: JSON.stringify(got), want: JSON.stringify(want) });
    else seen.add(known.why);
  }
  t.strictSame([...seen].sort(), [...new Set(KNOWN.map(({ why }) => why))].sort(), 'every known difference came up');
});
